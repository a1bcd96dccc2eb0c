//! A node whose keys are in a PKCS#11 token: nothing is lost and nothing fails while the token is away.

use std::collections::BTreeSet;

use tonic::{Code, transport::Endpoint};
use truc_certs_dev::{KeyKind, Profile, Request, SoftHsm, Subject, Trick};
use truc_evidence::{Confirmation, checkpoint_signature};
use truc_link::Link;
use truc_node::{
    quota::Quota,
    settings::{KeySource, PinSource, Settings, TokenSource},
    tokens::add_token,
};
use truc_proto::{
    AdminAction, Administrator, CallerRole, Lane, Raw, SignedBinding, SignedNote, Timestamp,
    node_v1::{
        AdministrationLogRequest, CertificatesRequest, GivePinRequest, oversight_client::OversightClient,
        send_reply::State,
    },
};

use truc_signer::Certificate;

use crate::support::{
    Letter, World,
    forger::from_now,
    until,
    world::{hang_up, now, patiently, replace},
};

const PIN: &str = "135790";

/// N-H26 with its keys in a token, those for connections too where `tls` says so; without a PIN a person has to give it. None where SoftHSM is not
/// installed.
async fn world(pin: Option<&str>, tls: bool) -> Option<(World, SoftHsm, tempfile::TempDir)> {
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
    if tls {
        moved("N-H26.tls", "04", &mut settings.tls_keys[0]);
    }
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
    let Some((world, hsm, _folder)) = world(Some(PIN), true).await else { return };
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
    h26.until_well().await;
    world.all_receipts_valid("N-H26", &waits, 5).await;
    assert_eq!(hsm.logins(), 2, "once at the start, once when it was back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_its_connection_while_its_token_is_away_and_makes_a_new_one_when_it_is_back() {
    let Some((mut world, hsm, _folder)) = world(Some(PIN), true).await else { return };
    let h26 = world.api("N-H26");
    hsm.play(Trick::Pulled).unwrap();
    let letter = Letter::new("held", "H26", &["G22"]);
    let held = h26.send(&letter).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    assert!(h26.status().await.unwrap().connected, "the connection goes on");

    world.stop_relay().await;
    world.serve_relay().await;
    world.api("N-G22").until_connected().await;
    h26.until_alarm(&["no connection to the relay can be made", "is away", "Khóa dùng cho kết nối"]).await;
    assert!(!h26.status().await.unwrap().connected);
    let keys =
        world.administration("N-H26").await.certificates(CertificatesRequest {}).await.unwrap().into_inner().keys;
    let tls = keys.iter().find(|key| key.slot == "tls").unwrap();
    assert_eq!(tls.r#where, "id:04 in token N-H26");
    assert!(tls.notes.iter().any(|note| note.contains("no new connection can be made")), "{tls:?}");

    hsm.undo(Trick::Pulled).unwrap();
    h26.until_connected().await;
    world.api("N-G22").until_consigned(&held.envelope, "G22").await;
    h26.until_well().await;
}

/// Names the relay's keys of these certificates in its settings; those that are in the token of `hsm`, with its PIN in a file.
fn name_relay_keys(world: &World, hsm: &SoftHsm, tls: &[&str], node: &[&str]) {
    let home = world.relay_folder();
    std::fs::write(home.join("keys/token.pin"), PIN).unwrap();
    let source = |name: &str| {
        let certificate = home.join("keys").join(format!("{name}.pem"));
        std::fs::write(&certificate, &world.issued(name).certificate_pem).unwrap();
        let source = TokenSource {
            module: hsm.module(),
            token: hsm.label().into(),
            object: format!("label:{name}").parse().unwrap(),
            pin: PinSource::File(home.join("keys/token.pin")),
            certificate: Some(certificate),
        };
        KeySource::Token(Box::new(source)).to_value(&home)
    };
    let list = |names: &[&str]| toml::Value::Array(names.iter().map(|name| source(name)).collect());
    let keys = toml::Table::from_iter([("tls".to_owned(), list(tls)), ("node".to_owned(), list(node))]);
    let path = home.join(truc_relay::SETTINGS_FILE);
    let mut settings: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    settings.insert("keys".into(), keys.into());
    std::fs::write(path, settings.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_its_keys_in_a_token_goes_over_to_new_ones_with_a_directory_version_and_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Some(hsm) = SoftHsm::or_skip(folder.path(), "R1", PIN) else { return };
    let mut world = World::make(Lane::Ordinary, &[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    for (name, id) in [("relay.tls", "01"), ("relay.node", "02")] {
        hsm.import(&world.issued(name).key_pem, name, id).unwrap();
        let file = if name == "relay.tls" { "keys/tls.key" } else { "keys/node.key" };
        std::fs::remove_file(world.relay_folder().join(file)).unwrap();
    }
    name_relay_keys(&world, &hsm, &["relay.tls"], &["relay.node"]);
    let settings = truc_relay::Settings::load(&world.relay_folder()).unwrap();
    assert!(truc_relay::administration::log(&settings, Timestamp::EPOCH).unwrap().is_empty(), "it has never run");
    world.serve_relay().await;
    world.publish().await;
    for id in ["N-G22", "N-H26"] {
        world.serve_node(id).await;
        world.api(id).until_connected().await;
    }
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    let first = g22.accepted(&Letter::new("first", "G22", &["H26"])).await;
    h26.until_consigned(&first, "H26").await;

    // While the token is away receipts are provisional; nothing else changes for who is connected.
    hsm.play(Trick::Pulled).unwrap();
    let second = g22.accepted(&Letter::new("second", "G22", &["H26"])).await;
    h26.until_consigned(&second, "H26").await;
    hsm.undo(Trick::Pulled).unwrap();
    world.all_receipts_valid("N-G22", &second, 4).await;

    let later = Some(from_now(-3_600_000));
    for (name, profile, subject, id) in [
        ("relay.tls.2", Profile::Tls, Subject::endpoint("RELAY"), "03"),
        ("relay.node.2", Profile::Node, Subject::new("Máy chuyển tiếp").organization("Trục DEV"), "04"),
    ] {
        let issued =
            world.issue(name, Request { not_before: later, ..Request::new(profile, KeyKind::Rsa2048, subject) });
        hsm.import(&issued.key_pem, name, id).unwrap();
    }
    name_relay_keys(&world, &hsm, &["relay.tls", "relay.tls.2"], &["relay.node", "relay.node.2"]);
    hang_up();
    let settings = truc_relay::Settings::load(&world.relay_folder()).unwrap();
    let lan = Administrator { name: "lan".into(), role: CallerRole::CipherAdmin };
    let binding =
        std::fs::read(truc_relay::bind(&settings, lan.clone(), "chứng thư mới".into(), now()).unwrap().file).unwrap();
    // The old key signs for the new ones: the operator has nothing to confirm.
    world.take(&Raw::<SignedBinding>::parse(binding).unwrap(), Confirmation::default());
    world.publish().await;
    let new = Certificate::from_pem(world.issued("relay.node.2").certificate_pem.as_bytes()).unwrap()[0].sha256();
    let third = g22.accepted(&Letter::new("third", "G22", &["H26"])).await;
    h26.until_consigned(&third, "H26").await;
    world.all_receipts_valid("N-G22", &third, 4).await;
    let items = g22.receipts(&third).await;
    let of_relay = items.iter().find(|item| item.event.ends_with("RelayAcceptance")).unwrap();
    let receipt = String::from_utf8(g22.receipt(&of_relay.leaf_hash, false).await).unwrap();
    let note: SignedNote = receipt.split_once("\n\n").unwrap().1.parse().unwrap();
    assert!(checkpoint_signature(&note, &new).is_some(), "{receipt}");
    // New connections are made under the new certificate.
    let known = move |_: &truc_proto::Digest| Ok("RELAY".parse().unwrap());
    let link = Link::new(world.lane, world.identity("N-H26.tls"), world.link_trust(), known);
    let relay = "RELAY".parse().unwrap();
    let address = world.relay_address().to_string();
    let connected = until("a link to the relay", || link.connect(&address, &relay, patiently())).await;
    assert_eq!(connected.peer.fingerprint, world.issued("relay.tls.2").fingerprint());

    // All of it stands in the relay's ledger, readable while it runs.
    let deeds = until("what was done to stand in the ledger", || async {
        let log = truc_relay::administration::log(&settings, Timestamp::EPOCH).unwrap();
        (log.iter().filter(|leaf| leaf.action == AdminAction::CertificateRotated).count() == 3).then_some(log)
    })
    .await;
    let published = deeds.iter().filter(|leaf| leaf.action == AdminAction::DirectoryPublished).count();
    assert_eq!(published, 2);
    assert!(
        deeds.iter().any(|leaf| leaf.who == lan && leaf.why == "chứng thư mới" && leaf.done.is_some()),
        "{deeds:?}"
    );
    let itself = Administrator::node(&relay);
    let swapped: Vec<_> =
        deeds.iter().filter(|leaf| leaf.who == itself).map(|leaf| leaf.subject.name.as_str()).collect();
    assert!(
        swapped.iter().any(|name| name.starts_with("tls: ")) && swapped.iter().any(|name| name.starts_with("node: ")),
        "{swapped:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_locks_nothing_and_the_right_one_is_taken_over_while_the_node_runs() {
    let Some((world, hsm, _folder)) = world(Some("000000"), false).await else { return };
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    let held = h26.send(&Letter::new("held", "H26", &["G22"])).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    let said = |item: &truc_proto::node_v1::OutboxItem| item.last_error.contains("does not take the PIN");
    until("the node to say why", || async { h26.sent(&held.envelope).await.filter(said) }).await;
    h26.until_alarm(&["1 request of H26 is held", "does not take the PIN", "đang được giữ"]).await;
    assert_eq!(hsm.logins(), 1, "three keys, one attempt");
    // Never half: a part of a PIN is a wrong one.
    replace(&world.node_folder("N-H26").join("keys/token.pin"), PIN.as_bytes());
    hang_up();
    g22.until_consigned(&held.envelope, "G22").await;
    world.all_receipts_valid("N-H26", &held.envelope, 4).await;
    h26.until_well().await;
    assert_eq!(hsm.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_nobody_but_a_person_knows_is_given_while_the_node_runs_and_a_wrong_one_is_shown_once() {
    let Some((world, hsm, _folder)) = world(None, false).await else { return };
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
