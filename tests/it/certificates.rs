//! Certificates: who is let in, whose are believed, and what happens when one is stopped.

use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
use truc_evidence::sign_checkpoint;
use truc_link::{ConnectSettings, Identity, Link};
use truc_proto::{
    EventUri, KeyId, KeyStatus, NodeId, NoteSignature, Raw,
    node_v1::send_reply::State,
    relay_v1::PushEvidenceRequest,
    wire_v1::{EvidenceBatch, EvidenceItem},
};

use crate::support::{
    Letter, World,
    forger::{Forger, Forgery, from_now},
    refusal_in, until, world,
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_the_directory_for_tls_and_in_force_are_let_in() {
    let mut world = World::make(truc_proto::Lane::Ordinary, &NODES).await;
    let mut issue = |name: &str, profile, edit: &dyn Fn(&mut Request)| {
        let mut request = Request::new(profile, KeyKind::P256, Subject::endpoint("N-G22"));
        edit(&mut request);
        world.issue(name, request);
    };
    issue("unlisted", Profile::Tls, &|_| {});
    issue("expired", Profile::Tls, &|request| {
        (request.not_before, request.not_after) = (Some(from_now(-9 * 86_400_000)), Some(from_now(-60_000)));
    });
    issue("wrong-use", Profile::Service, &|_| {});
    world.serve_relay().await;
    let stopped = world.issued("N-H26.tls").fingerprint();
    world.draft.set_status(&stopped, KeyStatus::Suspended, from_now(-1_000)).unwrap();
    // Listed, so that only the certificate itself stands against it.
    let mut node =
        world.draft.entries().find(|e| e.key() == "node/N-G22").and_then(truc_proto::Entry::as_node).unwrap().clone();
    for name in ["expired", "wrong-use"] {
        let mut binding = node.certificates[1].clone();
        binding.der.clone_from(&world.issued(name).certificate_der);
        binding.sha256 = world.issued(name).fingerprint();
        binding.uses = vec![truc_proto::KeyUse::Tls];
        node.certificates.push(binding);
    }
    world.draft.put(truc_proto::Entry::Node(node)).unwrap();
    world.publish().await;

    Forger::dial(&world, "N-G22.tls").await.unwrap();
    for name in ["unlisted", "expired", "wrong-use", "N-H26.tls", "operator"] {
        assert!(Forger::dial(&world, name).await.is_err(), "{name} was let in");
    }
    let strange =
        Pki::unrelated(KeyKind::P256, world::now()).unwrap().issue(Profile::Tls, Subject::endpoint("N-G22")).unwrap();
    let identity = Identity::from_pem(strange.certificate_pem.as_bytes(), strange.key_pem.as_bytes()).unwrap();
    let relay: NodeId = world::RELAY.parse().unwrap();
    let admitted = relay.clone();
    let link = Link::new(world.lane, identity, world.link_trust(), move |_: &truc_proto::Digest| Ok(admitted.clone()));
    let address = world.relay_address().to_string();
    assert!(link.connect(&address, &relay, ConnectSettings::default()).await.is_err(), "a stranger was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_that_comes_while_connected_closes_the_link_of_the_revoked_alone() {
    let mut world = World::start(&NODES).await;
    world.revoke("N-H26.tls", from_now(-60_000));
    world.push_lists_to_relay();
    let said = world.api("N-H26").until_disconnected().await;
    until("it hears why", || async { world.api("N-H26").status().await.filter(|s| s.relay_state.contains("revoked")) })
        .await;
    assert!(!said.connected);
    assert!(world.api("N-G22").status().await.unwrap().connected);
    // What is sent to it meanwhile waits, and is not lost.
    let envelope = world.api("N-G22").accepted(&Letter::new("waits", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&envelope, "H26", "relayed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_stops_a_tls_certificate_at_once() {
    let mut world = World::start(&NODES).await;
    let stopped = world.issued("N-H26.tls").fingerprint();
    world.draft.set_status(&stopped, KeyStatus::Revoked, from_now(-1_000)).unwrap();
    world.publish().await;
    world.api("N-H26").until_disconnected().await;
    assert!(world.api("N-G22").until_connected().await.connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_talk_to_a_relay_whose_certificate_is_revoked() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H26").await;
    world.revoke("relay.tls", from_now(-60_000));
    world.push_lists_to_node("N-H26");
    world.serve_node("N-H26").await;
    let api = world.api("N-H26");
    let said =
        until("it says why", || async { api.status().await.filter(|s| s.relay_state.contains("revoked")) }).await;
    assert!(!said.connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_certificates_neither_sign_nor_are_sealed_to_and_what_needs_them_is_held() {
    let mut world = World::start(&NODES).await;
    world.revoke("H26.sealing", from_now(-60_000));
    world.stop_node("N-G22").await;
    world.push_lists_to_node("N-G22");
    world.serve_node("N-G22").await;
    world.api("N-G22").until_connected().await;
    let reply = world.api("N-G22").send(&Letter::new("to", "G22", &["H26"])).await.unwrap();
    assert_eq!(reply.state(), State::Held, "{reply:?}");
    assert!(reply.warnings.iter().any(|text| text.contains("H26") && text.contains("revoked")), "{reply:?}");

    world.revoke("H26.service", from_now(-60_000));
    world.stop_node("N-H26").await;
    world.push_lists_to_node("N-H26");
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let reply = world.api("N-H26").send(&Letter::new("from", "H26", &["G22"])).await.unwrap();
    assert_eq!(reply.state(), State::Held, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_refuses_certificates_for_another_use_expired_or_revoked_and_leaves_nothing_behind() {
    let mut world = World::make(truc_proto::Lane::Ordinary, &NODES).await;
    world.issue("X.service", Request::new(Profile::Tls, KeyKind::P256, Subject::endpoint("x")));
    world.issue("Y.service", {
        let mut request = Request::new(Profile::Service, KeyKind::P256, Subject::new("Hết hạn"));
        (request.not_before, request.not_after) = (Some(from_now(-9 * 86_400_000)), Some(from_now(-60_000)));
        request
    });
    world.issue("Z.service", Request::new(Profile::Service, KeyKind::P256, Subject::new("Thu hồi")));
    world.revoke("Z.service", from_now(-60_000));
    std::fs::write(world.file("lists.pem"), world.pki.crls_pem().unwrap()).unwrap();
    for (name, said) in [("X.service", "cannot be used"), ("Y.service", "cannot be used"), ("Z.service", "revoked")] {
        let mut request = world.node_request("N-H26", &["H26"]);
        request.folder = world.node_folder("N-NEW");
        request.agencies[0].service = world.key_source(name);
        let error = truc_node::init(request).unwrap_err();
        assert!(truc_node::chain(&error).contains(said), "{name}: {error}");
        assert!(!world.node_folder("N-NEW").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_current_revocation_list_documents_are_consigned_and_shown_as_unknown_never_as_good() {
    let mut world = World::start(&NODES).await;
    world.stop_node("N-H26").await;
    let stale = world.pki.crls_pem_between(from_now(-3 * 86_400_000), from_now(-86_400_000)).unwrap();
    std::fs::write(world.node_folder("N-H26").join("trust/crl-1.crl"), stale).unwrap();
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let envelope = world.api("N-G22").accepted(&Letter::new("unknown", "G22", &["H26"])).await;
    let item = world.api("N-H26").until_consigned(&envelope, "H26").await;
    assert_eq!(item.verdict, "unknown");
    assert!(!item.verdict_text.is_empty(), "it says why");
}

/// Certificate of agency B's node under node A's checkpoint: not believed by the relay, so no receipt becomes final by it.
#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_certificate_under_a_checkpoint_makes_nothing_final() {
    let mut world = World::make(truc_proto::Lane::Ordinary, &NODES).await;
    world.serve_relay().await;
    world.publish().await;
    let mut forger = Forger::connect(&world, "N-G22").await;
    let sealed = Forgery::new(&world, "G22", &["H26"]).seal(&world);
    forger.deliver(&sealed).await;

    let head = forger.ledger.head();
    let mut note = head.note.clone();
    sign_checkpoint(&mut note, &world.soft_key("N-H26.node"), world::now()).unwrap();
    // The line says that it is by node A's own certificate.
    let origin = world.directory().node(&forger.node).unwrap().1.origin.clone();
    let own = KeyId::cms(&origin, &world.issued("N-G22.node").fingerprint());
    let theirs =
        note.find(&origin, KeyId::cms(&origin, &world.issued("N-H26.node").fingerprint())).unwrap().signature.clone();
    let mut forged = head.note.clone();
    forged.add_signature(NoteSignature { name: origin, key_id: own, signature: theirs }).unwrap();
    let leaf = Raw::write(sealed.submission.clone()).unwrap();
    let proof = forger.ledger.inclusion(0, head.size).unwrap();
    let item = EvidenceItem {
        leaf: bytes::Bytes::new(),
        leaf_hash: truc_ledger::merkle::leaf_hash(leaf.bytes()).as_bytes().to_vec().into(),
        index: 0,
        proof: proof.iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
        envelope: sealed.id(),
    };
    let batch = EvidenceBatch { checkpoint: forged.to_string().into(), items: vec![item] };
    let refused = forger.relay.push_evidence(PushEvidenceRequest { batches: vec![batch] }).await.unwrap_err();
    let refusal = refusal_in(&refused);
    assert_eq!(refusal.reason, "certificate-refused", "{refusal:?}");
    assert_eq!(EventUri::SubmissionAcceptance, sealed.submission.event);
}
