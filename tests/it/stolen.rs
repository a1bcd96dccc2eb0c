//! Keys that are stolen or lost: out of use from the answer on, nothing lost, doubled or refused, and everything goes on under another one.

use truc_evidence::{Confirmation, verify_revocation};
use truc_proto::{
    Digest, KeyStatus, Raw, SignedBinding, SignedRevocation,
    node_v1::{
        ImportCertificateRequest, RequestCertificateRequest, RetireCertificateRequest, RevokeCertificateReply,
        RevokeCertificateRequest, RotateRequest, key_state::State, send_reply,
    },
};

use crate::{
    rotation::{granted, keys, of_slot},
    support::{
        Letter, World, until,
        world::{Administration, now},
    },
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
const BOTH: [&str; 2] = ["N-G22", "N-H26"];

fn stolen(certificate: &str) -> RevokeCertificateRequest {
    RevokeCertificateRequest {
        certificate: certificate.into(),
        why: "mất máy tính có khóa".into(),
        ..RevokeCertificateRequest::default()
    }
}

/// Declares the key of a slot stolen.
async fn declare(admin: &mut Administration, slot: &str) -> (String, RevokeCertificateReply) {
    let certificate = of_slot(&keys(admin).await, slot, State::InUse).certificate.clone();
    let reply = admin.revoke_certificate(stolen(&certificate)).await.unwrap().into_inner();
    of_slot(&keys(admin).await, slot, State::Declared);
    (certificate, reply)
}

/// The operator takes the request as `truc directory certificate --from` does. Who signed it.
fn operator_takes(world: &mut World, reply: &RevokeCertificateReply) -> usize {
    let signed = Raw::<SignedRevocation>::parse(reply.request.clone()).unwrap();
    let verified = verify_revocation(&signed, &world.directory(), now()).unwrap();
    let request = &verified.request;
    world.draft.set_status(&request.certificate, request.status, request.since).unwrap();
    verified.signers.len()
}

/// Another key for the slot, and the request to bind it.
pub(crate) async fn successor(world: &World, admin: &mut Administration, slot: &str) -> Raw<SignedBinding> {
    let why = "thay khóa bị mất".to_owned();
    let request = RequestCertificateRequest { slot: slot.into(), why: why.clone(), ..Default::default() };
    let asked = admin.request_certificate(request).await.unwrap().into_inner();
    let certificates = world.pki.answer(&asked.request_pem, &granted(slot)).unwrap().into_bytes().into();
    let request = ImportCertificateRequest { certificates, why: why.clone(), ..Default::default() };
    admin.import_certificate(request).await.unwrap();
    let reply = admin.rotate(RotateRequest { why, ..Default::default() }).await.unwrap().into_inner();
    Raw::parse(reply.binding).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stolen_service_key_signs_nothing_more_and_what_is_sent_is_held_until_another_one_is_bound() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let (certificate, reply) = declare(&mut admin, "service:H26").await;
    assert!(reply.form.contains("ĐỀ NGHỊ THU HỒI") && reply.form.contains(&certificate), "{}", reply.form);
    assert!(reply.next.iter().any(|line| line.contains("--from")), "{:?}", reply.next);
    world.api("N-H26").until_alarm(&["declared stolen or lost", "truc cert status"]).await;
    let first = world.api("N-H26").send(&Letter::new("held", "H26", &["G22"])).await.unwrap();
    assert_eq!(first.state(), send_reply::State::Held);

    // It outlives the process.
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let mut admin = world.administration("N-H26").await;
    of_slot(&keys(&mut admin).await, "service:H26", State::Declared);
    let second = world.api("N-H26").send(&Letter::new("held-too", "H26", &["G22"])).await.unwrap();
    assert_eq!(second.state(), send_reply::State::Held);

    // The node's key and the stolen one itself, before it was put away, say so.
    assert_eq!(operator_takes(&mut world, &reply), 2);
    world.publish_to(&BOTH).await;
    of_slot(&keys(&mut admin).await, "service:H26", State::Stopped);
    let third = world.api("N-H26").send(&Letter::new("after", "H26", &["G22"])).await.unwrap();
    assert_eq!(third.state(), send_reply::State::Held, "refused is nothing");

    let binding = successor(&world, &mut admin, "service:H26").await;
    // The stolen key speaks for nobody: the operator makes sure by other means.
    world.take(&binding, Confirmation { endorsement: true, ..Confirmation::default() });
    world.publish_to(&BOTH).await;
    for held in [&first, &second, &third] {
        world.api("N-G22").until_consigned(&held.envelope, "G22").await;
    }
    assert_eq!(world.api("N-G22").inbox("G22", true).await.len(), 3, "each once");
    world.all_receipts_valid("N-H26", &first.envelope, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_certificate_that_the_operator_alone_revokes_is_told_of_and_a_bundle_says_why_it_cannot_be_made() {
    let mut world = World::start(&NODES).await;
    let api = world.api("N-H26");
    let envelope = api.accepted(&Letter::new("before", "H26", &["G22"])).await;
    world.api("N-G22").until_consigned(&envelope, "G22").await;
    let mut admin = world.administration("N-H26").await;
    let certificate: Digest =
        of_slot(&keys(&mut admin).await, "service:H26", State::InUse).certificate.parse().unwrap();
    world.draft.set_status(&certificate, KeyStatus::Revoked, now()).unwrap();
    world.publish_to(&BOTH).await;
    api.until_alarm(&["revoked or suspended", "as the directory says", "truc cert status"]).await;
    let refused = api.bundle(&envelope).await.unwrap_err();
    let said = refused.message();
    assert!(said.contains("revoked or suspended") && said.contains("truc receipt get"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_stolen_tls_key_the_node_is_gone_at_once_and_back_by_itself_under_another_one() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let (_, reply) = declare(&mut admin, "tls").await;
    let said = world.api("N-H26").until_disconnected().await;
    assert!(!said.connected);
    until("it says why", || async {
        world.api("N-H26").status().await.filter(|status| status.relay_state.contains("declared stolen or lost"))
    })
    .await;
    let out = world.api("N-H26").accepted(&Letter::new("out", "H26", &["G22"])).await;
    let into = world.api("N-G22").accepted(&Letter::new("into", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&into, "H26", "relayed").await;

    let binding = successor(&world, &mut admin, "tls").await;
    assert_eq!(operator_takes(&mut world, &reply), 2, "the node's key and the agency's");
    world.take(&binding, Confirmation::default());
    // The node hears of the version only behind the connection that the version allows.
    world.publish_to(&BOTH).await;
    world.api("N-H26").until_consigned(&into, "H26").await;
    world.api("N-G22").until_consigned(&out, "G22").await;
    let all = keys(&mut admin).await;
    of_slot(&all, "tls", State::Stopped);
    of_slot(&all, "tls", State::InUse);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mail_to_a_code_without_a_sealing_key_is_held_and_a_lost_key_leads_to_one_new_sealing() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    // Sealed to the key, and at the relay when it is lost.
    world.stop_node("N-H26").await;
    let waits = world.api("N-G22").accepted(&Letter::new("waits", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&waits, "H26", "relayed").await;
    let sealing = world.issued("H26.sealing").fingerprint();
    world.draft.set_status(&sealing, KeyStatus::Revoked, now()).unwrap();
    world.publish_to(&["N-G22"]).await;
    let held = world.api("N-G22").send(&Letter::new("held", "G22", &["H26"])).await.unwrap();
    assert_eq!(held.state(), send_reply::State::Held);
    assert!(held.warnings.iter().any(|warning| warning.contains("H26")), "{:?}", held.warnings);

    drop(admin);
    // As where its token is broken: the settings name it no more before anything is opened with it.
    let other = world.issue("H26.sealing.other", granted("sealing:H26"));
    world.write_key("H26.sealing.other", &other);
    let settings = world.node_folder("N-H26").join("truc-node.toml");
    crate::support::world::edit_file(&settings, |text| text.replace("H26.sealing", "H26.sealing.none"));
    let (from, to) = (world.file("H26.sealing.other.pem"), world.node_folder("N-H26").join("keys"));
    std::fs::copy(&from, to.join("H26.sealing.none.pem")).unwrap();
    std::fs::copy(from.with_extension("key"), to.join("H26.sealing.none.key")).unwrap();
    world.serve_node("N-H26").await;
    world.api("N-G22").until_state(&waits, "H26", "failed").await;

    admin = world.administration("N-H26").await;
    let reply = admin.rotate(RotateRequest { why: "thay".into(), ..Default::default() }).await.unwrap().into_inner();
    world.take(&Raw::parse(reply.binding).unwrap(), Confirmation::default());
    world.publish_to(&BOTH).await;
    world.api("N-H26").until_consigned(&held.envelope, "H26").await;
    // The one that could not be opened came again, once, by itself.
    until("both are there", || async {
        Some(world.api("N-H26").inbox("H26", true).await).filter(|items| items.len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_nodes_key_documents_go_on_and_receipts_become_final_under_another_one() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let (certificate, reply) = declare(&mut admin, "node").await;
    let sent = world.api("N-H26").accepted(&Letter::new("sent", "H26", &["G22"])).await;
    world.api("N-G22").until_consigned(&sent, "G22").await;
    world.api("N-H26").until_alarm(&["does not sign", "declared stolen or lost"]).await;
    let own = |steps: Vec<truc_proto::node_v1::ReceiptItem>| {
        steps.into_iter().filter(|item| item.actor == "H26").all(|item| !item.r#final)
    };
    assert!(own(world.api("N-H26").receipts(&sent).await), "nothing is final by a stolen key");

    operator_takes(&mut world, &reply);
    world.publish_to(&BOTH).await;
    let binding = successor(&world, &mut admin, "node").await;
    world.take(&binding, Confirmation { endorsement: true, ..Confirmation::default() });
    world.publish_to(&BOTH).await;
    world.all_receipts_valid("N-H26", &sent, 4).await;
    // Nobody needs it: it is destroyed, with what was declared of it.
    let request = RetireCertificateRequest { certificate: certificate.clone(), why: "đã thay".into(), now: false };
    admin.retire_certificate(request).await.unwrap();
    let left = std::fs::read_dir(world.node_folder("N-H26").join("keys")).unwrap();
    assert!(left.map(|file| file.unwrap().file_name()).all(|name| !name.to_string_lossy().contains(&certificate)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspicion_that_proves_wrong_is_taken_back_but_not_against_the_directory() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let certificate = of_slot(&keys(&mut admin).await, "service:H26", State::InUse).certificate.clone();
    let undo = RevokeCertificateRequest { undo: true, ..stolen(&certificate) };
    let suspected = RevokeCertificateRequest { suspected: true, ..stolen(&certificate) };
    let ahead = RevokeCertificateRequest { since: "2999-01-01T00:00:00Z".into(), ..stolen(&certificate) };
    let unknown = stolen(&"ab".repeat(32));
    for (request, said) in [
        (undo.clone(), "nothing to take back"),
        (ahead, "has come"),
        (unknown, "no key here"),
        (stolen("none"), "SHA-256"),
        (RevokeCertificateRequest { why: " ".into(), ..stolen(&certificate) }, "why"),
    ] {
        let refused = admin.revoke_certificate(request).await.unwrap_err();
        assert!(refused.message().contains(said) && refused.message().contains(" / "), "{said}: {refused}");
    }
    of_slot(&keys(&mut admin).await, "service:H26", State::InUse);

    // Before the operator acts: at once.
    admin.revoke_certificate(suspected.clone()).await.unwrap();
    let held = world.api("N-H26").send(&Letter::new("held", "H26", &["G22"])).await.unwrap();
    assert_eq!(held.state(), send_reply::State::Held);
    admin.revoke_certificate(undo.clone()).await.unwrap();
    of_slot(&keys(&mut admin).await, "service:H26", State::InUse);
    world.api("N-G22").until_consigned(&held.envelope, "G22").await;

    // Behind that: as the directory says.
    let reply = admin.revoke_certificate(suspected).await.unwrap().into_inner();
    operator_takes(&mut world, &reply);
    world.publish_to(&BOTH).await;
    let refused = admin.revoke_certificate(undo.clone()).await.unwrap_err();
    assert!(refused.message().contains("has it suspended"), "{refused}");
    let certificate = certificate.parse().unwrap();
    world.draft.set_status(&certificate, KeyStatus::Good, now()).unwrap();
    world.publish_to(&BOTH).await;
    of_slot(&keys(&mut admin).await, "service:H26", State::Declared);
    admin.revoke_certificate(undo.clone()).await.unwrap();
    let sent = world.api("N-H26").accepted(&Letter::new("again", "H26", &["G22"])).await;
    world.api("N-G22").until_consigned(&sent, "G22").await;

    let reply = admin.revoke_certificate(stolen(&undo.certificate)).await.unwrap().into_inner();
    operator_takes(&mut world, &reply);
    world.publish_to(&BOTH).await;
    let refused = admin.revoke_certificate(undo).await.unwrap_err();
    assert!(refused.message().contains("for ever"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_takes_a_request_to_revoke_from_the_certificates_own_node_alone() {
    let world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let (_, reply) = declare(&mut admin, "sealing:H26").await;
    let signed = Raw::<SignedRevocation>::parse(reply.request.clone()).unwrap();
    let directory = world.directory();
    let verified = verify_revocation(&signed, &directory, now()).unwrap();
    assert_eq!((verified.signers.len(), verified.request.status), (2, KeyStatus::Revoked));
    let judged = |change: &dyn Fn(&mut SignedRevocation)| {
        let mut changed = signed.value().clone();
        change(&mut changed);
        let changed = Raw::write(changed).unwrap();
        verify_revocation(&changed, &directory, now()).map(|verified| verified.signers.len())
    };
    // All that could sign may be lost: then the ledger key alone says so, and the operator asks.
    assert_eq!(judged(&|signed| signed.signatures.clear()).unwrap(), 0);
    let said = |change: &dyn Fn(&mut SignedRevocation)| judged(change).unwrap_err().to_string();
    let other = world.issued("G22.service").fingerprint().to_string();
    let own = world.issued("H26.sealing").fingerprint().to_string();
    let bend = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |signed: &mut SignedRevocation| {
            let text = String::from_utf8(signed.request.clone()).unwrap();
            assert!(text.contains(&from), "{from} is not in {text}");
            signed.request = text.replace(&from, &to).into_bytes();
        }
    };
    assert!(said(&bend(&own, &other)).contains("ledger key"), "another certificate");
    assert!(said(&bend("N-H26", "N-G22")).contains("ledger key"), "another node");
    assert!(said(&bend("N-H26", "N-NONE")).contains("no node"));
    assert!(said(&bend("\"revoked\"", "\"good\"")).contains("`revoked` or `suspended`"));
    assert!(said(&|signed| signed.ledger_signature[0] ^= 1).contains("ledger key"));
    let stranger = world.issued("G22.service").fingerprint();
    assert!(said(&|signed| signed.signatures[0].certificate = stranger).contains("binds neither"));
    assert!(
        said(&|signed| {
            let cms = signed.signatures[1].cms.clone();
            signed.signatures[0].cms = cms;
        })
        .contains("does not hold")
    );
}
