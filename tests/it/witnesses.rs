//! Witnesses over sockets: nodes cosign the relay's checkpoints and the relay those of nodes, so that an auditor's policy is met; nobody who is away is
//! waited for; who shows a witness two histories is found out by it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use truc_evidence::{EvidenceLevel, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_ledger::LedgerKey;
use truc_proto::{
    Checkpoint, Digest, NodeId, Policy, SignedNote,
    relay_v1::{WatchEvent, watch_event::Event},
};

use crate::support::{
    Letter, World,
    liar::{Liar, Lie, relay_key},
    until,
    world::now,
};

const NODES: [(&str, &[&str]); 3] = [("N-G22", &["G22"]), ("N-H26", &["H26"]), ("N-H37", &["H37"])];

async fn connected(world: &World, ids: &[&str]) {
    for id in ids {
        world.api(id).until_connected().await;
    }
}

/// The relay, or two nodes: as `truc directory policy` writes it.
fn trust(world: &World) -> ReceiptTrust {
    let policy = world.directory().witness_policy(Some(2)).unwrap();
    ReceiptTrust::new(world.trust(), world.pinned()).with_policy(Policy::parse(policy.as_bytes()).unwrap())
}

/// Sends documents until one's receipts at the sender are all witnessed as the policy asks; on a machine under load a line may come too late for one.
async fn until_all_are_witnessed(world: &World, name: &str) -> Vec<Vec<u8>> {
    let (sender, trust) = (world.api("N-G22"), trust(world));
    for n in 0..20 {
        let envelope = sender.accepted(&Letter::new(&format!("{name}-{n}"), "G22", &["H26"])).await;
        world.api("N-H26").until_consigned(&envelope, "H26").await;
        world.all_receipts_valid("N-G22", &envelope, 4).await;
        let mut receipts = Vec::new();
        for item in sender.receipts(&envelope).await {
            receipts.push(sender.receipt(&item.leaf_hash, false).await);
        }
        let reports: Vec<_> = receipts.iter().map(|receipt| verify_receipt(receipt, &trust, None, now())).collect();
        if reports.iter().all(|report| report.verdict == ReceiptVerdict::Valid) {
            for report in reports {
                let levels = report.summary.unwrap().levels;
                assert_eq!(levels, [EvidenceLevel::Signed, EvidenceLevel::Witnessed]);
            }
            return receipts;
        }
    }
    panic!("no document of twenty was witnessed")
}

fn cosigners(receipt: &[u8]) -> Vec<String> {
    let receipt = truc_proto::Receipt::parse(receipt).unwrap();
    let note: SignedNote = receipt.checkpoint.parse().unwrap();
    let origin = Checkpoint::of_note(&note).unwrap().origin().to_owned();
    note.signatures().iter().filter(|line| line.name != origin).map(|line| line.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_nodes_come_out_cosigned_by_the_relay_and_those_of_the_relay_by_nodes() {
    let mut world = World::start(&NODES).await;
    connected(&world, &["N-G22", "N-H26", "N-H37"]).await;
    let receipts = until_all_are_witnessed(&world, "all").await;
    let of = |origin: &str| {
        receipts
            .iter()
            .map(|receipt| cosigners(receipt))
            .filter(|names| names.iter().any(|name| name == origin))
            .count()
    };
    let relay = world.directory().relay().origin.clone();
    assert_eq!(of(&relay), 3, "submission, acceptance and consignment stand in nodes' ledgers");
    let by_nodes = receipts.iter().map(|receipt| cosigners(receipt)).filter(|names| names.len() >= 2);
    assert_eq!(by_nodes.count(), 1, "the relay's own acceptance stands in the relay's");

    // Who is away is neither asked nor waited for; a witness comes back and goes on, over a restart of the relay, too.
    world.stop_node("N-H37").await;
    until_all_are_witnessed(&world, "without-one").await;
    world.stop_relay().await;
    world.serve_relay().await;
    connected(&world, &["N-G22", "N-H26"]).await;
    until_all_are_witnessed(&world, "after-a-restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_a_witness_key_goes_on_as_before() {
    let mut world = World::start(&NODES[..2]).await;
    connected(&world, &["N-G22", "N-H26"]).await;
    world.stop_relay().await;
    std::fs::remove_file(world.relay_folder().join("keys/witness.key")).unwrap();
    world.serve_relay().await;
    connected(&world, &["N-G22", "N-H26"]).await;
    let envelope = world.api("N-G22").accepted(&Letter::new("old", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
}

/// Asks one witness to cosign another tree than all others, of the same size.
struct AsksForAnother {
    of: NodeId,
    key: LedgerKey,
    forged: Mutex<Option<Checkpoint>>,
    asked: AtomicUsize,
}

impl Lie for AsksForAnother {
    fn event(&self, node: &NodeId, mut event: WatchEvent) -> Vec<WatchEvent> {
        if let Some(Event::Cosign(note)) = &event.event
            && *node == self.of
        {
            let (_, honest) = Checkpoint::parse_note(note).unwrap();
            let forged = Checkpoint::new(honest.origin(), honest.size, Digest::of(b"another history")).unwrap();
            event.event = Some(Event::Cosign(Bytes::from(self.key.sign(&forged).to_string())));
            *self.forged.lock().unwrap() = Some(forged);
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        vec![event]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_has_two_histories_cosigned_is_found_out_by_the_witness_that_it_lies_to() {
    let world = World::start(&NODES).await;
    connected(&world, &["N-G22", "N-H26", "N-H37"]).await;
    let lie = Arc::new(AsksForAnother {
        of: "N-H37".parse().unwrap(),
        key: relay_key(&world),
        forged: Mutex::default(),
        asked: AtomicUsize::new(0),
    });
    let _liar = Liar::between(&world, &["N-G22", "N-H26", "N-H37"], Arc::clone(&lie)).await;
    connected(&world, &["N-G22", "N-H26", "N-H37"]).await;
    let sender = world.api("N-G22");
    let envelope = sender.accepted(&Letter::new("lie", "G22", &["H26"])).await;
    sender.until_state(&envelope, "H26", "consigned").await;
    until("the lie is told", || async { (lie.asked.load(Ordering::SeqCst) > 0).then_some(()) }).await;
    let alarm = world.api("N-H37").until_alarm(&[crate::support::world::RELAY, "two histories"]).await;
    assert!(alarm.contains("operator"), "{alarm}");
    // Under what others get, its name does not stand.
    let envelope = sender.accepted(&Letter::new("after", "G22", &["H26"])).await;
    sender.until_state(&envelope, "H26", "consigned").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    for item in sender.receipts(&envelope).await {
        let names = cosigners(&sender.receipt(&item.leaf_hash, false).await);
        assert!(!names.iter().any(|name| name.contains("N-H37")), "{names:?}");
    }
}
