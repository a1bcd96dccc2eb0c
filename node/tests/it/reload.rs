//! Keys, certificates and revocation lists are exchanged while the node runs.

use truc_node::settings::KeySource;
use truc_proto::node_v1::StatusReply;

use crate::{
    flows::{accepted, status},
    world::{World, document, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_trust_files_are_read_again_on_demand_and_the_old_ones_stay_while_one_is_broken() {
    let world = World::start().await;
    let mut a = world.client("N-A").await;
    let settings = world.settings("N-A");
    let file_of = |source: &KeySource| match source {
        KeySource::Pem { key, .. } => key.clone(),
        KeySource::Pkcs12 { file, .. } => file.clone(),
        KeySource::Token(_) => panic!("a key in a file"),
    };
    let files =
        [file_of(&settings.agencies[0].service[0]), file_of(&settings.tls_keys[0]), settings.trust.anchors.clone()];
    for (n, file) in files.iter().enumerate() {
        let good = std::fs::read(file).unwrap();
        std::fs::write(file, "broken").unwrap();
        world.reload("N-A");
        let told = |s: &StatusReply| s.alarms.iter().any(|text| text.contains("the old ones stay in force"));
        let shown = until("it is told", || status(&world, "N-A"), told).await;
        assert!(shown.alarms.iter().any(|text| text.contains("bản cũ vẫn có hiệu lực")), "{:?}", shown.alarms);
        accepted(&world, &mut a, document(&format!("b{n}"), "G22", &["H26"], "Vẫn gửi được", &[])).await;
        std::fs::write(file, good).unwrap();
        world.reload("N-A");
        until("it is well", || status(&world, "N-A"), |s| s.alarms.is_empty()).await;
    }
    let state = status(&world, "N-A").await.relay_state;
    assert!(state.contains("connected to R1") && state.contains(" / đã kết nối với R1"), "{state}");
}
