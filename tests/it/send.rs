//! The main job over real sockets: send, consign, fetch, confirm, receipts; many recipients, many codes, broken uploads, restarts.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use truc_evidence::{Document, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::node_v1::{fetch_request::What, send_reply::State};

use crate::support::{
    Letter, World,
    api::noise,
    forger::packet,
    liar::{Liar, Lie, Truth},
    until, world,
};

/// Event and role, as every document's receipts have them at its sender when one recipient has taken it over.
const LADDER: [(&str, &str); 5] = [
    ("ContentConsignment", "recipient"),
    ("ContentHandover", "recipient"),
    ("RelayAcceptance", "recipient"),
    ("RelayAcceptance", "relay"),
    ("SubmissionAcceptance", "sender"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_from_one_node_to_another_and_all_its_receipts_verify_offline() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let letter = Letter::new("first", "G22", &["H26"]);

    let envelope = sender.accepted(&letter).await;
    let item = recipient.until_consigned(&envelope, "H26").await;
    assert_eq!((item.sender.as_str(), item.subject.as_str()), ("G22", letter.subject.as_str()));
    assert_eq!((item.verdict.as_str(), item.confirmed), ("good", false), "{item:?}");

    let (name, bytes) = &letter.files[0];
    assert_eq!(&recipient.attachment(&envelope, "H26", name).await, bytes);
    let container = recipient.fetch(&envelope, "H26", What::Container(true)).await.unwrap();
    assert_eq!(container.len() as u64, item.container_length);

    assert!(recipient.confirm(&envelope, "H26").await.first);
    assert!(!recipient.confirm(&envelope, "H26").await.first, "a second confirmation is not a second hand-over");
    sender.until_state(&envelope, "H26", "handed-over").await;

    let receipts = world.all_receipts_valid("N-G22", &envelope, LADDER.len()).await;
    let names: Vec<_> = receipts.iter().map(|(event, role, _)| (event.as_str(), role.as_str())).collect();
    assert_eq!(names, LADDER);
    // The recipient holds the same, the relay's word too, and all of it is final.
    assert_eq!(world.all_receipts_valid("N-H26", &envelope, LADDER.len()).await, receipts);
    let items = recipient.receipts(&envelope).await;
    // With its opening a receipt proves the container and each single file, and no other file.
    let trust = ReceiptTrust::new(world.trust(), world.pinned());
    let consigned = items.iter().find(|item| item.event == "ContentConsignment").unwrap();
    let receipt = recipient.receipt(&consigned.leaf_hash, true).await;
    let shown = |document: &[u8]| Document::read(std::io::Cursor::new(document.to_vec())).unwrap();
    let check = |document: &[u8]| verify_receipt(&receipt, &trust, Some(&shown(document)), world::now()).verdict;
    assert_eq!(
        [check(&container), check(bytes), check(b"another")],
        [ReceiptVerdict::Valid, ReceiptVerdict::Valid, ReceiptVerdict::Invalid]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circular_reaches_every_code_and_a_node_downloads_it_once_however_many_of_its_codes_are_addressed() {
    let world =
        World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18", "H26.19"]), ("N-H37", &["H37"])]).await;
    let liar = Liar::between(&world, &["N-G22", "N-H26", "N-H37"], Truth).await;
    for node in ["N-G22", "N-H26", "N-H37"] {
        world.api(node).until_connected().await;
    }
    let letter = Letter::new("circular", "G22", &["H26", "H26.18", "H26.19", "H37"])
        .with_file("lớn.bin", noise("circular", 3_000_000));
    let sender = world.api("N-G22");
    let envelope = sender.accepted(&letter).await;
    for (node, code) in [("N-H26", "H26"), ("N-H26", "H26.18"), ("N-H26", "H26.19"), ("N-H37", "H37")] {
        let api = world.api(node);
        api.until_consigned(&envelope, code).await;
        assert_eq!(api.attachment(&envelope, code, "lớn.bin").await, letter.files[0].1);
        assert!(api.confirm(&envelope, code).await.first);
        sender.until_state(&envelope, code, "handed-over").await;
    }
    // What came as files is rendered as a packet that carries them, and the stamps of all hops: sender, relay, recipient.
    let rendered = world.api("N-H37").fetch(&envelope, "H37", What::Edxml(true)).await.unwrap();
    let parsed = truc_proto::edxml::read(rendered.as_slice(), &mut truc_proto::edxml::Discard).unwrap();
    assert_eq!(parsed.attachments[0].sha256, truc_proto::Digest::of(&letter.files[0].1));
    let truc_proto::edxml::Message::Document(packet) = parsed.message else { panic!("a status was rendered") };
    let hops: Vec<_> = packet.trace.traces.iter().map(|hop| hop.organ_id.as_ref().unwrap().as_str()).collect();
    assert_eq!(hops, ["G22", "RELAY", "H37"]);
    let item = sender.sent(&envelope).await.unwrap();
    let (served, downloads) = (liar.counts.served.load(Ordering::SeqCst), liar.counts.downloads.load(Ordering::SeqCst));
    assert_eq!((served, downloads), (2 * item.payload_length, 2), "each node took the payload once");
    assert_eq!(liar.counts.uploaded.load(Ordering::SeqCst), item.payload_length, "one upload serves all");
    // Of the relay one acceptance for all, of each recipient three events; the sender's own is the first.
    let receipts = world.all_receipts_valid("N-G22", &envelope, 1 + 1 + 4 * 3).await;
    let of_h37 = receipts.iter().filter(|(_, _, recipient)| recipient == "H37").count();
    assert_eq!(of_h37, 3, "{receipts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_arrives_byte_for_byte_and_its_rendering_carries_the_trace() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let bytes = packet("G22", &["H26"], "V/v thử nghiệm");
    let letter = Letter { recipients: Vec::new(), ..Letter::new("packet", "G22", &[]).packet(bytes.clone()) };
    let envelope = world.api("N-G22").accepted(&letter).await;
    let api = world.api("N-H26");
    let item = api.until_consigned(&envelope, "H26").await;
    assert_eq!((item.subject.as_str(), item.document_id.as_str()), ("V/v thử nghiệm", "G22,2026/11/20,45/KH-THU"));
    let container = api.fetch(&envelope, "H26", What::Container(true)).await.unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("vb.asice");
    std::fs::write(&path, &container).unwrap();
    match std::process::Command::new("unzip").arg("-p").arg(&path).arg("packet.edxml").output() {
        Ok(unzipped) => assert_eq!(unzipped.stdout, bytes, "{}", String::from_utf8_lossy(&unzipped.stderr)),
        Err(error) => {
            assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "unzip: {error}");
            eprintln!("SKIPPED: unzip is not installed");
        }
    }
    let rendered = String::from_utf8(api.fetch(&envelope, "H26", What::Edxml(true)).await.unwrap()).unwrap();
    assert!(rendered.contains("V/v thử nghiệm") && rendered.matches("TraceHeader>").count() > 2, "{rendered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_gets_the_same_envelope_and_another_under_its_key_is_refused() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let sender = world.api("N-G22");
    let letter = Letter::new("once", "G22", &["H26"]);
    let first = sender.accepted(&letter).await;
    let (a, b) = tokio::join!(sender.send(&letter), sender.send(&letter));
    assert_eq!([a.unwrap().envelope, b.unwrap().envelope], [first.clone(), first.clone()]);
    world.api("N-H26").until_consigned(&first, "H26").await;
    assert_eq!(sender.accepted(&letter).await, first, "also once it was delivered");

    let other = Letter { subject: "Văn bản khác".into(), ..letter.clone() };
    let refusal = sender.refused(&other, "id-reused").await;
    assert!(refusal.english.contains("new key"), "{refusal:?}");
    let other = letter.clone().with_file("once.pdf", noise("other bytes", 3_000));
    sender.refused(&other, "id-reused").await;
    // Two at once under one new key: one envelope.
    let twins = Letter::new("twins", "G22", &["H26"]);
    let (a, b) = tokio::join!(sender.send(&twins), sender.send(&twins));
    let twin = a.unwrap().envelope;
    assert_eq!(twin, b.unwrap().envelope);
    assert_eq!(sender.outbox().await.len(), 2);
    world.api("N-H26").until_consigned(&twin, "H26").await;
    assert_eq!(world.api("N-H26").inbox("H26", true).await.len(), 2);
}

/// Cuts uploads after so many bytes, so many times.
struct Cuts {
    after: usize,
    times: AtomicUsize,
    passed: Mutex<usize>,
}

impl Lie for Cuts {
    fn upload(&self, bytes: usize) -> bool {
        let mut passed = self.passed.lock().unwrap();
        *passed += bytes;
        if *passed > self.after && self.times.load(Ordering::SeqCst) > 0 {
            self.times.fetch_sub(1, Ordering::SeqCst);
            *passed = 0;
            return false;
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_goes_on_where_it_broke() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let cuts = Arc::new(Cuts { after: 2_500_000, times: AtomicUsize::new(2), passed: Mutex::new(0) });
    let liar = Liar::between(&world, &["N-G22", "N-H26"], Arc::clone(&cuts)).await;
    for node in ["N-G22", "N-H26"] {
        world.api(node).until_connected().await;
    }
    let letter = Letter::new("long", "G22", &["H26"]).with_file("dài.bin", noise("long", 8_000_000));
    let sender = world.api("N-G22");
    let envelope = sender.accepted(&letter).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    assert_eq!(cuts.times.load(Ordering::SeqCst), 0, "it was cut twice");
    assert_eq!(world.api("N-H26").attachment(&envelope, "H26", "dài.bin").await, letter.files[0].1);
    let length = sender.sent(&envelope).await.unwrap().payload_length;
    let twice = liar.counts.uploaded.load(Ordering::SeqCst) - length;
    assert!(twice <= 2 << 20, "{twice} bytes were sent twice in two breaks, at most a chunk each is allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_relay_and_nodes_in_between_lose_and_double_nothing() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    // The recipient is away, then the relay; the sender accepts all the same.
    world.stop_node("N-H26").await;
    let first = world.api("N-G22").accepted(&Letter::new("a", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&first, "H26", "relayed").await;
    world.stop_relay().await;
    world.api("N-G22").until_disconnected().await;
    let second = world.api("N-G22").accepted(&Letter::new("b", "G22", &["H26"])).await;
    world.stop_node("N-G22").await;
    world.serve_relay().await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_consigned(&first, "H26").await;
    world.stop_node("N-H26").await;
    world.serve_node("N-G22").await;
    world.api("N-G22").until_state(&second, "H26", "relayed").await;
    world.stop_relay().await;
    world.serve_relay().await;
    world.serve_node("N-H26").await;
    let api = world.api("N-H26");
    for envelope in [&first, &second] {
        api.until_consigned(envelope, "H26").await;
        assert!(api.confirm(envelope, "H26").await.first);
    }
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    for envelope in [&first, &second] {
        assert!(!world.api("N-H26").confirm(envelope, "H26").await.first, "the hand-over outlives a restart");
        world.api("N-G22").until_state(envelope, "H26", "handed-over").await;
        let receipts = world.all_receipts_valid("N-G22", envelope, LADDER.len()).await;
        assert_eq!(receipts.len(), LADDER.len());
    }
    assert_eq!(world.api("N-H26").inbox("H26", true).await.len(), 2);
    assert_eq!(
        world.api("N-G22").send(&Letter::new("a", "G22", &["H26"])).await.unwrap().envelope,
        first,
        "idempotency outlives restarts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_relay_is_away_documents_are_accepted_and_go_when_it_is_back() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.stop_relay().await;
    let sender = world.api("N-G22");
    let state = sender.until_disconnected().await;
    assert!(!state.relay_state.is_empty());
    let reply = sender.send(&Letter::new("queued", "G22", &["H26"])).await.unwrap();
    assert_eq!(reply.state(), State::Accepted);
    world.serve_relay().await;
    world.api("N-H26").until_consigned(&reply.envelope, "H26").await;
    until("the outbox says so", || async {
        sender
            .sent(&reply.envelope)
            .await
            .filter(|item| item.recipients[0].state == "consigned" && item.last_error.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_signing_key_a_node_holds_and_accepts_by_itself_under_the_same_id_when_the_key_is_back() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let keys = world.node_folder("N-G22").join("keys");
    let (key, away) = (keys.join("G22.service.key"), keys.join("away.key"));
    world.stop_node("N-G22").await;
    std::fs::rename(&key, &away).unwrap();
    world.serve_node("N-G22").await;
    let api = world.api("N-G22");
    api.until_connected().await;

    let letter = Letter::new("held", "G22", &["H26"]).with_file("a.pdf", noise("held", 90_000));
    let held = api.send(&letter).await.unwrap();
    assert_eq!(held.state(), State::Held, "{held:?}");
    assert_eq!(api.send(&letter).await.unwrap().envelope, held.envelope, "asked again: the same id");
    let item = api.sent(&held.envelope).await.unwrap();
    assert_eq!(item.state, "held", "{item:?}");
    let found = api.search("kiem thu held").await;
    assert_eq!((found.len(), found[0].state.as_str()), (1, "held"), "{found:?}");
    assert!(api.receipts(&held.envelope).await.is_empty(), "no SubmissionAcceptance before it is signed");
    // It is on the device: also the next process knows it, and still has no key.
    world.stop_node("N-G22").await;
    world.serve_node("N-G22").await;
    let api = world.api("N-G22");
    let again = api.send(&letter).await.unwrap();
    assert_eq!((again.state(), &again.envelope), (State::Held, &held.envelope));

    // A key of another certificate is none.
    std::fs::copy(world.file("N-G22.node.key"), &key).unwrap();
    until("the node to say what is wrong", || async {
        api.sent(&held.envelope).await.filter(|item| !item.last_error.is_empty())
    })
    .await;
    assert_eq!(api.sent(&held.envelope).await.unwrap().state, "held");
    std::fs::rename(&away, &key).unwrap();
    world.api("N-H26").until_consigned(&held.envelope, "H26").await;
    let found = api.search("kiem thu held").await;
    assert_eq!(found.len(), 1, "sealed at last, it is one document still: {found:?}");
    assert_ne!(found[0].state, "held");
    let after = api.send(&letter).await.unwrap();
    assert_eq!((after.state(), &after.envelope), (State::Accepted, &held.envelope));
    assert_eq!(world.api("N-H26").attachment(&held.envelope, "H26", "a.pdf").await, noise("held", 90_000));
    assert_eq!(world.api("N-H26").inbox("H26", true).await.len(), 1, "one document");
    world.all_receipts_valid("N-G22", &held.envelope, 4).await;
}
