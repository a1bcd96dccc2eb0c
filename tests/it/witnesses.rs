//! Witnesses over sockets: nodes cosign the relay's checkpoints and the relay those of nodes, so that an auditor's policy is met; nobody who is away is
//! waited for; who shows a witness two histories is found out by it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use truc_custody::Asked;
use truc_evidence::{Confirmation, EvidenceLevel, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_ledger::LedgerKey;
use truc_proto::{
    Administrator, BindingRequest, CallerRole, Checkpoint, Digest, Entry, Lane, NodeEntry, NodeId, Policy, Raw,
    SignedBinding, SignedNote,
    relay_v1::{WatchEvent, watch_event::Event},
};

use crate::support::{
    Letter, World,
    liar::{Liar, Lie, relay_key},
    until,
    world::{edit_file, now},
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

/// Waits until every receipt about a document that these nodes hand out is accepted under the policy; nothing new is sent meanwhile.
async fn until_the_policy_accepts_all(world: &World, nodes: &[&str], envelope: &str, count: usize) {
    let trust = trust(world);
    for id in nodes {
        let accepted = || async {
            let mut refused = Vec::new();
            let items = world.api(id).receipts(envelope).await;
            for item in &items {
                let receipt = world.api(id).receipt(&item.leaf_hash, false).await;
                let report = verify_receipt(&receipt, &trust, None, now());
                if report.verdict != ReceiptVerdict::Valid {
                    let against: Vec<_> = report.against().map(|step| format!("{step:?}")).collect();
                    refused.push(format!("{} {}: {:?} {against:?}", item.event, item.role, cosigners(&receipt)));
                }
            }
            if refused.is_empty() && items.len() == count { Ok(()) } else { Err((*id, items.len(), refused)) }
        };
        until("the policy to accept every receipt", accepted).await;
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn what_went_out_while_no_witness_could_be_asked_is_accepted_by_the_policy_once_they_are_back() {
    let mut world = World::start(&NODES).await;
    connected(&world, &["N-G22", "N-H26", "N-H37"]).await;
    let witness_key = world.relay_folder().join("keys/witness.key");
    let aside = witness_key.with_extension("aside");
    // The relay cosigns nothing, and one node alone is there to cosign what the relay signs: a policy made of this directory asks for two.
    world.stop_relay().await;
    std::fs::rename(&witness_key, &aside).unwrap();
    world.stop_node("N-H37").await;
    world.stop_node("N-H26").await;
    world.serve_relay().await;
    connected(&world, &["N-G22"]).await;
    let sender = world.api("N-G22");
    let envelope = sender.accepted(&Letter::new("alone", "G22", &["H26"])).await;
    world.all_receipts_valid("N-G22", &envelope, 2).await;
    let trust = trust(&world);
    for item in sender.receipts(&envelope).await {
        let receipt = sender.receipt(&item.leaf_hash, false).await;
        let report = verify_receipt(&receipt, &trust, None, now());
        assert_eq!(report.verdict, ReceiptVerdict::Invalid, "{}: {:?}", item.event, cosigners(&receipt));
    }
    world.serve_node("N-H26").await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    for id in ["N-G22", "N-H26"] {
        world.all_receipts_valid(id, &envelope, 4).await;
    }

    // Nothing new is sent: that they are back is enough.
    world.stop_relay().await;
    std::fs::rename(&aside, &witness_key).unwrap();
    world.serve_relay().await;
    until_the_policy_accepts_all(&world, &["N-G22", "N-H26"], &envelope, 4).await;
}

/// Draft and files as those have them who began before there were witness keys.
fn without_witness_keys(world: &mut World) {
    let older = |entry: &Entry| match entry {
        Entry::Node(node) => Some(Entry::Node(NodeEntry { witness_key: None, ..node.clone() })),
        Entry::Relay(relay) => Some(Entry::Relay(NodeEntry { witness_key: None, ..relay.clone() })),
        _ => None,
    };
    let older: Vec<Entry> = world.draft.entries().filter_map(older).collect();
    assert_eq!(older.len(), NODES.len() + 1);
    for entry in older {
        world.draft.put(entry).unwrap();
    }
    std::fs::remove_file(world.relay_folder().join("keys/witness.key")).unwrap();
    for (id, _) in NODES {
        std::fs::remove_file(world.node_folder(id).join("keys/witness.pk8")).unwrap();
        let settings = world.node_folder(id).join(truc_node::settings::SETTINGS_FILE);
        edit_file(&settings, |text| {
            text.lines().filter(|line| !line.starts_with("witness")).collect::<Vec<_>>().join("\n")
        });
    }
}

/// Has the key made, and takes the request as the operator does, who has nothing to confirm.
fn bind_witness(world: &mut World, asked: impl Fn() -> anyhow::Result<Asked>) {
    let first = asked().unwrap();
    let made = first.witness_made.clone().unwrap();
    assert!(made.is_file());
    let told = first.told();
    assert!(told.contains("witness key: ") && told.contains("khóa chứng kiến: "), "{told}");
    let key = |asked: &Asked| {
        let request = Raw::<SignedBinding>::parse(std::fs::read(&asked.file).unwrap()).unwrap();
        let entries = Raw::<BindingRequest>::parse(request.request.clone()).unwrap().into_value().entries;
        let [Entry::Node(entry) | Entry::Relay(entry)] = entries.as_slice() else { panic!("{entries:?}") };
        (request, entry.witness_key.clone().unwrap())
    };
    let again = asked().unwrap();
    assert_eq!((again.witness_made.as_ref(), key(&again).1), (None, key(&first).1), "a second time nothing is made");
    assert!(!again.told().contains("witness"));
    world.take(&key(&again).0, Confirmation::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_began_without_a_witness_key_gets_one_and_cosigns_from_the_version_on_that_lists_it() {
    let mut world = World::make(Lane::Ordinary, &NODES).await;
    without_witness_keys(&mut world);
    world.serve_relay().await;
    world.publish().await;
    for (id, _) in NODES {
        world.serve_node(id).await;
    }
    connected(&world, &["N-G22", "N-H26", "N-H37"]).await;
    let envelope = world.api("N-G22").accepted(&Letter::new("before", "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    world.all_receipts_valid("N-G22", &envelope, 4).await;
    for item in world.api("N-G22").receipts(&envelope).await {
        let receipt = world.api("N-G22").receipt(&item.leaf_hash, false).await;
        assert_eq!(cosigners(&receipt), Vec::<String>::new());
    }
    assert!(world.directory().witness_policy(None).is_err());

    // All of them go on running meanwhile.
    let who = || Administrator { name: "lan".into(), role: CallerRole::CipherAdmin };
    let settings = truc_relay::Settings::load(&world.relay_folder()).unwrap();
    bind_witness(&mut world, || truc_relay::bind(&settings, who(), "làm chứng".into(), now()));
    for (id, _) in NODES {
        let settings = truc_node::Settings::load(&world.node_folder(id)).unwrap();
        bind_witness(&mut world, || truc_node::bind::bind(&settings, who(), "làm chứng".into(), now()));
    }
    world.publish_to(&["N-G22", "N-H26", "N-H37"]).await;
    // What went out before is shown again with it, without anything new.
    until_the_policy_accepts_all(&world, &["N-G22", "N-H26"], &envelope, 4).await;
    until_all_are_witnessed(&world, "after").await;
    // What was done stands in the ledgers.
    let deed = || async {
        let log = truc_relay::administration::log(&settings, truc_proto::Timestamp::EPOCH).unwrap();
        log.iter().any(|leaf| leaf.why == "làm chứng" && leaf.subject.name.contains("witness key")).then_some(())
    };
    until("the relay's ledger says so", deed).await;
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
