//! Every certificate of a node is exchanged while mail flows: nothing is lost, doubled or refused.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use truc_certs_dev::{KeyKind, Profile, Request, Subject};
use truc_evidence::Confirmation;
use truc_node::settings::Settings;
use truc_proto::{
    Raw, SignedBinding,
    node_v1::{
        CertificatesRequest, ImportCertificateRequest, KeyState, RequestCertificateRequest, RetireCertificateRequest,
        RotateRequest, key_state::State,
    },
    relay_v1::SealedToRequest,
};

use crate::support::{
    Api, Letter, World,
    forger::Forger,
    world::{Administration, now},
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26"])];
const SLOTS: [&str; 4] = ["tls", "node", "service:H26", "sealing:H26"];

/// What an authority gives for a key of N-H26.
pub(crate) fn granted(slot: &str) -> Request {
    let of_agency = |what: &str| Subject::new(&format!("{what} H26")).organization("Cơ quan H26 DEV");
    let (profile, subject) = match slot {
        "tls" => (Profile::Tls, Subject::endpoint("N-H26")),
        "node" => (Profile::Node, Subject::new("Nút trục N-H26").organization("Trục DEV")),
        "service:H26" => (Profile::Service, of_agency("Dịch vụ")),
        _ => (Profile::Sealing, of_agency("Niêm")),
    };
    // Younger than those before, as certificates of a later day are.
    let not_before = Some(now().before(Duration::from_secs(60)));
    let not_after = Some(now() + Duration::from_secs(6 * 365 * 86_400));
    Request { not_before, not_after, ..Request::new(profile, KeyKind::P256, subject) }
}

pub(crate) async fn keys(node: &mut Administration) -> Vec<KeyState> {
    node.certificates(CertificatesRequest {}).await.unwrap().into_inner().keys
}

pub(crate) fn of_slot<'k>(keys: &'k [KeyState], slot: &str, state: State) -> &'k KeyState {
    let found = keys.iter().find(|key| key.slot == slot && key.state() == state);
    found.unwrap_or_else(|| panic!("no {state:?} key of {slot}: {keys:#?}"))
}

/// Sends one document after the other until told to stop: ids, and the longest time that one took to be accepted.
fn load(api: Api, from: &'static str, to: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<(Vec<String>, Duration)> {
    tokio::spawn(async move {
        let (mut sent, mut longest) = (Vec::new(), Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let letter = Letter::new(&format!("{from}-{}", sent.len()), from, &[to]);
            let started = Instant::now();
            sent.push(api.accepted(&letter).await);
            longest = longest.max(started.elapsed());
        }
        (sent, longest)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_certificate_of_a_node_is_exchanged_under_load_and_nothing_is_lost_doubled_or_refused() {
    let mut world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let before: BTreeMap<String, String> =
        keys(&mut admin).await.into_iter().map(|key| (key.slot.clone(), key.certificate)).collect();
    assert_eq!(before.len(), 4);
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let there = load(world.api("N-G22"), "G22", "H26", Arc::clone(&stop));
    let back = load(world.api("N-H26"), "H26", "G22", Arc::clone(&stop));

    for slot in SLOTS {
        let why = "chứng thư sắp hết hạn".to_owned();
        let request = RequestCertificateRequest { slot: slot.into(), why: why.clone(), ..Default::default() };
        let reply = admin.request_certificate(request).await.unwrap().into_inner();
        assert!(reply.form.contains("ĐỀ NGHỊ CẤP MỚI"), "{}", reply.form);
        of_slot(&keys(&mut admin).await, slot, State::Requested);
        let certificates = world.pki.answer(&reply.request_pem, &granted(slot)).unwrap().into_bytes().into();
        let request = ImportCertificateRequest { certificates, why, ..Default::default() };
        let reply = admin.import_certificate(request).await.unwrap().into_inner();
        assert_eq!(reply.key.unwrap().state(), State::Imported);
    }
    let request = RotateRequest { overlap_days: 30, why: "luân chuyển".into(), ..Default::default() };
    let plan = admin.plan_rotation(request.clone()).await.unwrap().into_inner();
    assert!(plan.steps.len() >= 9, "{plan:#?}");
    let reply = admin.rotate(request).await.unwrap().into_inner();
    assert!(reply.unproven.is_empty(), "{:?}", reply.unproven);
    // Nothing has changed before the operator's version is here.
    for slot in SLOTS {
        let now = keys(&mut admin).await;
        assert_eq!(of_slot(&now, slot, State::InUse).certificate, before[slot]);
    }
    // The operator needs to confirm nothing: keys in force speak for the new ones.
    let binding = Raw::<SignedBinding>::parse(reply.binding).unwrap();
    world.take(&binding, Confirmation::default());
    world.publish_to(&["N-G22", "N-H26"]).await;
    let after = keys(&mut admin).await;
    for slot in SLOTS {
        let (new, old) = (of_slot(&after, slot, State::InUse), of_slot(&after, slot, State::Overlapping));
        assert_eq!(old.certificate, before[slot]);
        assert!(old.days_left <= 30 && new.days_left > 1_000, "{old:#?}");
    }

    // Mail goes on under the new ones; those before are ended, and what was sealed to the old key still opens.
    let reached = world.api("N-G22").accepted(&Letter::new("after", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&reached, "H26").await;
    for certificate in before.values() {
        world.draft.end_certificate(&certificate.parse().unwrap(), now(), now()).unwrap();
    }
    world.publish_to(&["N-G22", "N-H26"]).await;
    stop.store(true, Ordering::Relaxed);
    let (there, longest_there) = there.await.unwrap();
    let (back, longest_back) = back.await.unwrap();
    let elapsed = started.elapsed();
    let count = there.len() + back.len();
    eprintln!(
        "{count} documents in {:.1} s ({:.0}/s), longest acceptance {:.0} ms",
        elapsed.as_secs_f64(),
        count as f64 / elapsed.as_secs_f64(),
        longest_there.max(longest_back).as_secs_f64() * 1e3
    );
    let (g22, h26) = (world.api("N-G22"), world.api("N-H26"));
    for (sent, to, code) in [(&there, &h26, "H26"), (&back, &g22, "G22")] {
        for envelope in sent {
            to.until_consigned(envelope, code).await;
        }
        let items = to.inbox(code, true).await;
        let mut ids: Vec<_> = items.iter().map(|item| item.envelope.clone()).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "nothing comes twice");
    }
    world.all_receipts_valid("N-H26", &reached, 4).await;

    retire(&world, &mut admin, &before).await;
    // What the settings say is what a start finds.
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;
    let last = world.api("N-G22").accepted(&Letter::new("last", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&last, "H26").await;
}

/// Those that ended are destroyed; the sealing key only once nothing can arrive for it, or on the administrator's word.
async fn retire(world: &World, admin: &mut Administration, before: &BTreeMap<String, String>) {
    let why = "đã có chứng thư mới".to_owned();
    let in_force = of_slot(&keys(admin).await, "node", State::InUse).certificate.clone();
    let request =
        |certificate: &str, now| RetireCertificateRequest { certificate: certificate.into(), now, why: why.clone() };
    let refused = admin.retire_certificate(request(&in_force, true)).await.unwrap_err();
    assert!(refused.message().contains("in force until"), "{refused}");
    for slot in ["tls", "node", "service:H26"] {
        let done = admin.retire_certificate(request(&before[slot], false)).await.unwrap().into_inner().done;
        assert!(done.iter().any(|line| line.contains("destroyed")), "{done:?}");
    }
    let sealing = &before["sealing:H26"];
    of_slot(&keys(admin).await, "sealing:H26", State::Kept);
    let refused = admin.retire_certificate(request(sealing, false)).await.unwrap_err();
    assert!(refused.message().contains("may still arrive"), "{refused}");
    admin.retire_certificate(request(sealing, true)).await.unwrap();
    let left = keys(admin).await;
    assert!(left.len() == 4 && left.iter().all(|key| key.state() == State::InUse), "{left:#?}");
    let home = world.node_folder("N-H26");
    let settings = Settings::load(&home).unwrap();
    assert_eq!((settings.tls_keys.len(), settings.node_keys.len()), (1, 1));
    let files =
        std::fs::read_dir(home.join("keys")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: Vec<_> = files.collect();
    for gone in ["tls.key", "node.key", "H26.service.key", "H26.sealing.key"] {
        assert!(!files.iter().any(|file| file == gone), "{gone} is in {files:?}");
    }
    assert!(!files.iter().any(|file| file.ends_with(".destroying") || file.ends_with(".request")), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_says_what_is_still_sealed_to_an_old_key() {
    let mut world = World::make(truc_proto::Lane::Ordinary, &NODES).await;
    world.serve_relay().await;
    world.publish().await;
    world.serve_node("N-G22").await;
    world.api("N-G22").until_connected().await;
    for n in 0..3 {
        let waits = world.api("N-G22").accepted(&Letter::new(&format!("waits{n}"), "G22", &["H26"])).await;
        world.api("N-G22").until_state(&waits, "H26", "relayed").await;
    }
    let of = |name: &str| bytes::Bytes::from(world.issued(name).certificate_der.clone());
    let request = SealedToRequest { certificates: vec![of("H26.sealing"), of("H26.service"), of("G22.sealing")] };
    let mut relay = Forger::dial(&world, "N-H26.tls").await.unwrap();
    let refused = relay.sealed_to(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "before Hello: {refused}");
    let mut node = Forger::connect(&world, "N-H26").await;
    let reply = node.relay.sealed_to(request).await.unwrap().into_inner();
    let [count] = reply.counts.as_slice() else { panic!("{reply:?}") };
    assert_eq!((count.sender.as_str(), count.envelopes, reply.more), ("G22", 3, false));
    assert_eq!(count.certificate.as_ref(), world.issued("H26.sealing").fingerprint().as_bytes());
    let nonsense = SealedToRequest { certificates: vec![bytes::Bytes::from_static(b"none")] };
    assert!(node.relay.sealed_to(nonsense).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_what_to_do() {
    let world = World::start(&NODES).await;
    let mut admin = world.administration("N-H26").await;
    let request =
        |slot: &str, why: &str| RequestCertificateRequest { slot: slot.into(), why: why.into(), ..Default::default() };
    for (slot, why, said) in [
        ("service:G22", "x", "does not serve"),
        ("root", "x", "no key of a node"),
        ("node", " ", "`why`"),
        ("node", "hai\ndòng", "`why`"),
    ] {
        let refused = admin.request_certificate(request(slot, why)).await.unwrap_err();
        assert!(refused.message().contains(said) && refused.message().contains(" / "), "{refused}");
    }
    let reply = admin.request_certificate(request("service:H26", "mới")).await.unwrap().into_inner();
    // The right key, and a certificate for another use, an old one, one of another key, and none at all.
    let wrong_use = world.pki.answer(&reply.request_pem, &granted("tls")).unwrap();
    let expired = Request {
        not_before: Some(now().before(Duration::from_secs(200_000))),
        not_after: Some(now().before(Duration::from_secs(100_000))),
        ..granted("service:H26")
    };
    let expired = world.pki.answer(&reply.request_pem, &expired).unwrap();
    let other = world.pki.issue(Profile::Service, Subject::new("Dịch vụ H26")).unwrap().certificate_pem;
    for (pem, said) in [
        (wrong_use, "may not be used"),
        (expired, "expired"),
        (other, "no key that was requested here"),
        ("nonsense".to_owned(), "CERTIFICATE"),
    ] {
        let request =
            ImportCertificateRequest {
                certificates: pem.into_bytes().into(), why: "mới".into(), ..Default::default()
            };
        let refused = admin.import_certificate(request).await.unwrap_err();
        assert!(refused.message().contains(said), "{said}: {refused}");
    }
    let refused = admin.rotate(RotateRequest { why: "x".into(), ..Default::default() }).await.unwrap_err();
    assert!(refused.message().contains("binds all keys"), "{refused}");
    // It is still asked for, and the right one is taken.
    let right = world.pki.answer(&reply.request_pem, &granted("service:H26")).unwrap();
    let request =
        ImportCertificateRequest { certificates: right.into_bytes().into(), why: "mới".into(), ..Default::default() };
    let taken = admin.import_certificate(request.clone()).await.unwrap().into_inner();
    assert!(taken.warnings.is_empty(), "{:?}", taken.warnings);
    assert!(admin.import_certificate(request).await.is_err(), "it is here already");
}
