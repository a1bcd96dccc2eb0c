//! A node whose keys are in a PKCS#11 token: nothing is lost and nothing fails while the token is away.

use std::collections::BTreeSet;

use tonic::{Code, transport::Endpoint};
use truc_certs_dev::{SoftHsm, Trick};
use truc_node::{
    quota::Quota,
    settings::{KeySource, PinSource, Settings, TokenSource},
    tokens::add_token,
};
use truc_proto::{
    CallerRole,
    node_v1::{AdministrationLogRequest, GivePinRequest, oversight_client::OversightClient, send_reply::State},
};

use crate::support::{
    Letter, World, until,
    world::{hang_up, now},
};

const PIN: &str = "135790";

/// N-H26 with its node, service and sealing keys in a token; without a PIN a person has to give it. None where SoftHSM is not installed.
async fn world(pin: Option<&str>) -> Option<(World, SoftHsm, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::or_skip(folder.path(), "N-H26", PIN)?;
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.stop_node("N-H26").await;
    let home = world.node_folder("N-H26");
    let pin_source = match pin {
        Some(pin) => {
            std::fs::write(home.join("keys/token.pin"), pin).unwrap();
            PinSource::File(home.join("keys/token.pin"))
        }
        None => PinSource::Prompt,
    };
    let mut settings = Settings::load(&home).unwrap();
    let moved = |name: &str, id: &str, source: &mut KeySource| {
        hsm.import(&world.issued(name).key_pem, name, id).unwrap();
        let KeySource::Pem { certificate, key } = source else { panic!("PEM") };
        // The node has no other copy of the key.
        std::fs::remove_file(&*key).unwrap();
        *source = KeySource::Token(Box::new(TokenSource {
            module: hsm.module(),
            token: hsm.label().into(),
            object: format!("id:{id}").parse().unwrap(),
            pin: pin_source.clone(),
            certificate: Some(certificate.clone()),
        }));
    };
    moved("N-H26.node", "01", &mut settings.node_keys[0]);
    moved("H26.service", "02", &mut settings.agencies[0].service[0]);
    moved("H26.sealing", "03", &mut settings.agencies[0].sealing[0]);
    std::fs::write(home.join("truc-node.toml"), settings.to_toml()).unwrap();
    assert_eq!(Settings::load(&home).unwrap(), settings);
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    Some((world, hsm, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_its_keys_in_a_token_holds_what_needs_them_and_goes_on_when_it_is_back() {
    let Some((world, hsm, _folder)) = world(Some(PIN)).await else { return };
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    let there = g22.accepted(&Letter::new("there", "G22", &["H26"])).await;
    h26.until_consigned(&there, "H26").await;
    let back = h26.accepted(&Letter::new("back", "H26", &["G22"])).await;
    g22.until_consigned(&back, "G22").await;

    hsm.play(Trick::Pulled).unwrap();
    let letter = Letter::new("held", "H26", &["G22"]);
    let held = h26.send(&letter).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    let waits = g22.accepted(&Letter::new("waits", "G22", &["H26"])).await;
    h26.until_alarm(&["key does not sign", "Khóa ký"]).await;
    h26.until_alarm(&[&waits, "decryption key is away"]).await;
    assert!(h26.item(&waits, "H26").await.is_none(), "nothing opens it");
    assert_eq!(h26.send(&letter).await.unwrap().envelope, held.envelope);

    hsm.undo(Trick::Pulled).unwrap();
    g22.until_consigned(&held.envelope, "G22").await;
    h26.until_consigned(&waits, "H26").await;
    h26.confirm(&waits, "H26").await;
    until("the alarms are over", || async {
        let alarms = h26.status().await?.alarms;
        alarms.is_empty().then_some(())
    })
    .await;
    world.all_receipts_valid("N-H26", &waits, 5).await;
    assert_eq!(hsm.logins(), 2, "once at the start, once when it was back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_locks_nothing_and_the_right_one_is_taken_over_while_the_node_runs() {
    let Some((world, hsm, _folder)) = world(Some("000000")).await else { return };
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    let held = h26.send(&Letter::new("held", "H26", &["G22"])).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    let said = |item: &truc_proto::node_v1::OutboxItem| item.last_error.contains("does not take the PIN");
    until("the node to say why", || async { h26.sent(&held.envelope).await.filter(said) }).await;
    h26.until_alarm(&["1 request of H26 is held", "does not take the PIN", "đang được giữ"]).await;
    assert_eq!(hsm.logins(), 1, "three keys, one attempt");
    std::fs::write(world.node_folder("N-H26").join("keys/token.pin"), PIN).unwrap();
    hang_up();
    g22.until_consigned(&held.envelope, "G22").await;
    world.all_receipts_valid("N-H26", &held.envelope, 4).await;
    assert!(h26.status().await.unwrap().alarms.is_empty());
    assert_eq!(hsm.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_nobody_but_a_person_knows_is_given_while_the_node_runs_and_a_wrong_one_is_shown_once() {
    let Some((world, hsm, _folder)) = world(None).await else { return };
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    let held = h26.send(&Letter::new("held", "H26", &["G22"])).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    let waits = g22.accepted(&Letter::new("waits", "G22", &["H26"])).await;
    h26.until_alarm(&["1 request of H26 is held", "truc pin", "đang được giữ"]).await;
    assert_eq!(hsm.logins(), 0);

    let tokens = world.node_folder("N-H26").join("keys/tokens");
    let keys = add_token(&tokens, "lan", CallerRole::CipherAdmin, BTreeSet::new(), Quota::default(), now()).unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", world.node_address("N-H26"))).unwrap();
    let oversight = OversightClient::new(channel.connect().await.unwrap());
    let give = async |token: &str, pin: &str| {
        let message =
            GivePinRequest { token: token.into(), pin: pin.as_bytes().to_vec().into(), why: "khởi động".into() };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", keys.expose()).parse().unwrap());
        oversight.clone().give_pin(request).await
    };
    assert_eq!(give("another", PIN).await.unwrap_err().code(), Code::NotFound);
    for _ in 0..2 {
        let refused = give(hsm.label(), "000000").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(" / Thiết bị không nhận mã PIN"), "{refused:?}");
        assert!(!refused.message().contains("000000"));
    }
    assert_eq!(hsm.logins(), 1);
    until("the token to be asked again", || async { give(hsm.label(), PIN).await.ok() }).await;
    g22.until_consigned(&held.envelope, "G22").await;
    h26.until_consigned(&waits, "H26").await;
    world.all_receipts_valid("N-H26", &held.envelope, 4).await;
    assert_eq!(hsm.logins(), 2);
    let mut request = tonic::Request::new(AdministrationLogRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {}", keys.expose()).parse().unwrap());
    let log = oversight.clone().administration_log(request).await.unwrap().into_inner().entries;
    assert_eq!(
        (log[0].action.as_str(), log[0].who.as_str(), log[0].subject.as_str()),
        ("pin-given", "lan", hsm.label())
    );
}
