//! Lanes and axes never mix: every wrong crossing is refused, and says which.

use truc_evidence::{DirectoryDraft, encode_directory};
use truc_proto::{Entry, Lane, Raw, relay_v1::HelloRequest};

use crate::support::{Letter, World, forger::Forger, refusal_in, until, world};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];

#[tokio::test(flavor = "multi_thread")]
async fn the_classified_lane_carries_mat_and_toi_mat_and_no_lane_carries_tuyet_mat() {
    let world = World::start_with(Lane::Classified, &NODES, |settings| settings).await;
    let sender = world.api("N-G22");
    for level in ["ordinary", "mat", "toi-mat"] {
        let letter = Letter::new(level, "G22", &["H26"]).level(level);
        let envelope = sender.accepted(&letter).await;
        let item = world.api("N-H26").until_consigned(&envelope, "H26").await;
        assert_eq!(item.level, level);
    }
    let refusal = sender.refused(&Letter::new("top", "G22", &["H26"]).level("tuyet-mat"), "level-refused").await;
    assert!(refusal.vietnamese.to_lowercase().contains("mật"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_connect_to_the_relay_of_the_other_lane_and_says_so() {
    let ordinary = World::start(&NODES).await;
    let classified = World::start_with(Lane::Classified, &[("N-G22", &["G22"])], |settings| settings).await;
    ordinary.front.lead_to(Some(classified.relay_address()));
    classified.front.lead_to(Some(ordinary.relay_address()));
    for (world, lane) in [(&ordinary, "ordinary"), (&classified, "classified")] {
        let api = world.api("N-G22");
        let said = format!("does not serve the {lane} lane");
        until(&said, || async { api.status().await.filter(|s| !s.connected && s.relay_state.contains(&said)) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_one_lane_does_not_open_on_the_other() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H26").await;
    world.stop_node("N-G22").await;
    world.stop_relay().await;
    let other = |text: String| text.replace("lane = \"ordinary\"", "lane = \"classified\"");
    world::edit_file(&world.relay_folder().join(truc_relay::SETTINGS_FILE), other);
    world::edit_file(&world.node_folder("N-H26").join("truc-node.toml"), other);
    for said in [world.relay_refuses_to_start().await, world.node_refuses_to_start("N-H26").await] {
        assert!(said.contains("ordinary") && said.contains("classified"), "{said}");
    }
    // Another axis is no better.
    let other = |text: String| text.replace(&format!("axis = \"{}\"", world::AXIS), "axis = \"dev-other\"");
    world::edit_file(&world.node_folder("N-G22").join("truc-node.toml"), other);
    let said = world.node_refuses_to_start("N-G22").await;
    assert!(said.contains("dev-other") && said.contains(world::AXIS), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_the_other_lane_is_refused_by_relay_and_node() {
    let mut world = World::start(&NODES).await;
    let mut draft = DirectoryDraft::new(world::AXIS.parse().unwrap(), Lane::Classified);
    for bytes in world.directory().read_all() {
        let mut entry = Raw::<Entry>::parse(bytes.unwrap()).unwrap().into_value();
        match &mut entry {
            Entry::Node(node) | Entry::Relay(node) => node.lane = Lane::Classified,
            Entry::Agency(agency) => agency.lanes = vec![Lane::Classified],
            Entry::Operator(_) => {}
        }
        draft.put(entry).unwrap();
    }
    let operator = world.soft_key("operator");
    let signed = draft.sign(&operator, world::now(), world::now() + std::time::Duration::from_secs(86_400)).unwrap();
    let refusal = world.bring(signed.clone()).await.refused.expect("the relay refuses it");
    assert!(refusal.english.contains("classified") && refusal.english.contains("ordinary"), "{refusal:?}");
    crate::support::check_refusal(&refusal);

    world.stop_node("N-H26").await;
    std::fs::write(world.node_folder("N-H26").join("directory/current.directory"), encode_directory(&signed)).unwrap();
    let said = world.node_refuses_to_start("N-H26").await;
    assert!(said.contains("classified") && said.contains("ordinary"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_names_lane_axis_and_node_and_nothing_is_answered_before_it() {
    let mut world = World::make(Lane::Ordinary, &NODES).await;
    world.serve_relay().await;
    world.publish().await;
    let mut relay = Forger::dial(&world, "N-G22.tls").await.unwrap();
    let early = relay.undelivered(truc_proto::relay_v1::UndeliveredRequest::default()).await.unwrap_err();
    assert_eq!((early.code(), refusal_in(&early).reason.as_str()), (tonic::Code::FailedPrecondition, "hello-first"));
    let good = HelloRequest {
        axis: world::AXIS.into(),
        lane: "ordinary".into(),
        node: "N-G22".into(),
        ..HelloRequest::default()
    };
    for (hello, reason) in [
        (HelloRequest { lane: "classified".into(), ..good.clone() }, "wrong-lane"),
        (HelloRequest { axis: "dev-other".into(), ..good.clone() }, "wrong-lane"),
        (HelloRequest { node: "N-H26".into(), ..good.clone() }, "not-entitled"),
        (HelloRequest { mine: "no note".into(), ..good.clone() }, "invalid"),
        (HelloRequest { held_of_you: vec![0xff; 100].into(), ..good.clone() }, "invalid"),
        (
            HelloRequest { held_of_you: vec![b'a'; truc_proto::limits::NOTE_BYTES_MAX + 1].into(), ..good.clone() },
            "too-large",
        ),
    ] {
        let refusal = refusal_in(&relay.hello(hello).await.unwrap_err());
        assert_eq!(refusal.reason, reason, "{refusal:?}");
    }
    relay.hello(good).await.unwrap();
}
