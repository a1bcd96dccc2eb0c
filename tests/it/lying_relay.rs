//! A relay that lies, with its true keys: whatever it changes is noticed, nothing false is shown to anybody, and what can be proven is kept.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use truc_evidence::{ForkFile, ForkKind, fork_file_name};
use truc_proto::{
    Checkpoint, Digest, NodeId,
    node_v1::StatusReply,
    relay_v1::{self as wire, offer_reply::Outcome, watch_event::Event},
};

use crate::support::{
    Letter, World,
    api::noise,
    liar::{Liar, Lie, Truth, relay_key},
    until,
};

const NODES: [(&str, &[&str]); 2] = [("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])];
const IDS: [&str; 2] = ["N-G22", "N-H26"];

async fn connected(world: &World) {
    for id in IDS {
        world.api(id).until_connected().await;
    }
}

/// Sends one document and waits until it is in the inbox.
async fn delivered(world: &World, key: &str) -> String {
    let envelope = world.api("N-G22").accepted(&Letter::new(key, "G22", &["H26"])).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    envelope
}

/// Shows one node another checkpoint at Hello.
struct Shows {
    to: NodeId,
    checkpoint: Bytes,
}

impl Lie for Shows {
    fn hello(&self, node: &NodeId, reply: &mut wire::HelloReply) {
        if *node == self.to {
            reply.checkpoint = self.checkpoint.clone();
            reply.consistency.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_shows_two_histories_is_not_listened_to_any_more_and_both_checkpoints_are_kept() {
    let mut world = World::start(&NODES).await;
    delivered(&world, "before").await;
    // The node holds what it sees at its next Hello.
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    world.api("N-H26").until_connected().await;

    let key = relay_key(&world);
    let origin = world.directory().relay().origin.clone();
    let forged = Checkpoint::new(origin.clone(), 1_000, Digest::of(b"another history")).unwrap();
    let shown: Bytes = key.sign(&forged).to_string().into_bytes().into();
    let liar = Liar::between(&world, &IDS, Shows { to: "N-H26".parse().unwrap(), checkpoint: shown }).await;
    let alarm = world.api("N-H26").until_alarm(&[crate::support::world::RELAY, "two histories"]).await;
    assert!(alarm.contains("operator"), "it says whom to call: {alarm}");
    let root = data_encoding::BASE64.encode(forged.root.as_bytes());
    let store = world.node_folder("N-H26").join("store");
    until("held and shown stand together in the store", || async { both_kept(&store, &root, &origin).then_some(()) })
        .await;
    let name = fork_file_name(&origin);
    assert!(alarm.contains(&format!("store/forks/{name}")), "it names the file: {alarm}");
    let file = world.node_folder("N-H26").join("store/forks").join(&name);
    let bytes = until("the file is written", || async { std::fs::read(&file).ok() }).await;
    let proven = ForkFile::parse(&bytes).unwrap().judge(key.public()).unwrap();
    assert_eq!(proven.kind, ForkKind::Unproven, "the sizes differ: it is what it is");
    assert_eq!(proven.second.checkpoint(), &forged);
    drop(liar);

    // Honest again: too late. Also after a restart.
    world.stop_node("N-H26").await;
    world.serve_node("N-H26").await;
    let honest = Liar::between(&world, &IDS, Truth).await;
    world.api("N-G22").until_connected().await;
    let after = world.api("N-G22").accepted(&Letter::new("after", "G22", &["H26"])).await;
    world.api("N-G22").until_state(&after, "H26", "relayed").await;
    let said = until("the node says why it does not connect", || async {
        world.api("N-H26").status().await.filter(|s| s.relay_state.contains("another history"))
    })
    .await;
    assert!(!said.connected && said.alarms.iter().any(|text| text.contains("two histories")), "{said:?}");
    assert!(world.api("N-H26").item(&after, "H26").await.is_none(), "acceptance from it has stopped");
    drop(honest);
}

/// One record of the journal holds the forged root, and another checkpoint of the same ledger before it.
fn both_kept(folder: &Path, root: &str, origin: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return both_kept(&path, root, origin);
        }
        let bytes = std::fs::read(&path).unwrap();
        let Some(at) = find(&bytes, root.as_bytes()) else { return false };
        let before = &bytes[at.saturating_sub(4_096)..at];
        count(before, format!("{origin}\n").as_bytes()) >= 2
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// Keeps the first checkpoint that it shows, and shows it again when armed.
#[derive(Default)]
struct Truncates {
    first: Mutex<Option<Bytes>>,
    shown: AtomicUsize,
    armed: AtomicBool,
}

impl Lie for Truncates {
    fn hello(&self, node: &NodeId, reply: &mut wire::HelloReply) {
        if node.as_str() != "N-H26" {
            return;
        }
        let mut first = self.first.lock().unwrap();
        let first = first.get_or_insert_with(|| reply.checkpoint.clone());
        self.shown.fetch_add(1, Ordering::SeqCst);
        if self.armed.load(Ordering::SeqCst) {
            reply.checkpoint = first.clone();
            reply.consistency.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_cuts_its_ledger_back_is_found_out() {
    let world = World::start(&NODES).await;
    let lie = Arc::new(Truncates::default());
    let liar = Liar::between(&world, &IDS, Arc::clone(&lie)).await;
    connected(&world).await;
    delivered(&world, "one").await;
    // One honest Hello more, so that the node holds the longer ledger.
    world.front.lead_to(Some(liar.address));
    until("another Hello", || async { (lie.shown.load(Ordering::SeqCst) >= 2).then_some(()) }).await;
    connected(&world).await;
    lie.armed.store(true, Ordering::SeqCst);
    world.front.lead_to(Some(liar.address));
    world.api("N-H26").until_alarm(&["two histories"]).await;
    world.api("N-H26").until_disconnected().await;
}

/// Spoils the first downloads, each in another way.
#[derive(Default)]
struct SpoilsPayload(AtomicUsize);

impl Lie for SpoilsPayload {
    fn payload(&self, _: &NodeId, mut bytes: Vec<u8>) -> Vec<u8> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => bytes[1_000] ^= 1,
            1 => bytes.rotate_left(4_096),
            2 => bytes.extend_from_slice(b"more"),
            _ => {}
        }
        bytes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_payloads_are_fetched_again_and_never_shown() {
    let world = World::start(&NODES).await;
    let lie = Arc::new(SpoilsPayload::default());
    let _liar = Liar::between(&world, &IDS, Arc::clone(&lie)).await;
    connected(&world).await;
    let letter = Letter::new("big", "G22", &["H26"]).with_file("big.bin", noise("big", 300_000));
    let envelope = world.api("N-G22").accepted(&letter).await;
    until("three lies were told", || async {
        let told = lie.0.load(Ordering::SeqCst);
        assert!(told >= 4 || world.api("N-H26").item(&envelope, "H26").await.is_none(), "shown after {told} downloads");
        (told >= 4).then_some(())
    })
    .await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
    assert_eq!(world.api("N-H26").attachment(&envelope, "H26", "big.bin").await, letter.files[0].1);
}

/// Gives the wrong key envelopes.
#[derive(Default)]
struct WrongKeys {
    told: AtomicUsize,
    kept: Mutex<Option<Bytes>>,
    swap: AtomicBool,
}

impl Lie for WrongKeys {
    fn keys(&self, _: &NodeId, reply: &mut wire::TakeKeysReply) {
        let Some(first) = reply.key_envelopes.first_mut() else { return };
        if self.swap.load(Ordering::SeqCst) {
            if let Some(kept) = self.kept.lock().unwrap().as_ref() {
                first.cms = kept.clone();
            }
            return;
        }
        self.kept.lock().unwrap().get_or_insert_with(|| first.cms.clone());
        match self.told.fetch_add(1, Ordering::SeqCst) {
            0 => first.recipient = "H37".into(),
            1 => reply.key_envelopes.clear(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_key_envelopes_open_nothing_and_fail_visibly() {
    let world = World::start(&NODES).await;
    let lie = Arc::new(WrongKeys::default());
    let _liar = Liar::between(&world, &IDS, Arc::clone(&lie)).await;
    connected(&world).await;
    // For another recipient, then none: asked again until the right one comes.
    delivered(&world, "asked-again").await;
    assert!(lie.told.load(Ordering::SeqCst) >= 3);
    // That of another envelope: evidence of the failure reaches the sender.
    lie.swap.store(true, Ordering::SeqCst);
    let envelope = world.api("N-G22").accepted(&Letter::new("swapped", "G22", &["H26"])).await;
    let state = world.api("N-G22").until_state(&envelope, "H26", "failed").await;
    assert_eq!(state.reason, "invalid");
    assert!(world.api("N-H26").item(&envelope, "H26").await.is_none());
}

/// Answers about other envelopes than asked.
#[derive(Default)]
struct WrongAnswers {
    lease: Mutex<Option<wire::LeaseReply>>,
    offer: Mutex<Option<wire::OfferReply>>,
    told: AtomicUsize,
}

impl Lie for WrongAnswers {
    fn lease(&self, _: &NodeId, reply: &mut wire::LeaseReply) {
        let mut kept = self.lease.lock().unwrap();
        match kept.as_ref() {
            None => *kept = Some(reply.clone()),
            Some(other) if other.preamble != reply.preamble && self.told.fetch_add(1, Ordering::SeqCst) < 2 => {
                *reply = other.clone()
            }
            Some(_) => {}
        }
    }
    fn offer(&self, _: &NodeId, reply: &mut wire::OfferReply) {
        let mut kept = self.offer.lock().unwrap();
        match kept.as_ref() {
            None => *kept = Some(reply.clone()),
            Some(other) if self.told.fetch_add(1, Ordering::SeqCst) < 2 => *reply = other.clone(),
            Some(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_another_envelope_are_not_believed() {
    let world = World::start(&NODES).await;
    let lie = Arc::new(WrongAnswers::default());
    let _liar = Liar::between(&world, &IDS, Arc::clone(&lie)).await;
    connected(&world).await;
    let first = delivered(&world, "first").await;
    let second = delivered(&world, "second").await;
    assert!(lie.told.load(Ordering::SeqCst) >= 2);
    for envelope in [&first, &second] {
        // The answer to the offer was another envelope's: asked again, also when the recipient's evidence came first.
        let events = world.all_receipts_valid("N-G22", envelope, 4).await;
        let by: Vec<_> = events.iter().map(|(event, role, _)| (event.as_str(), role.as_str())).collect();
        assert!(by.contains(&("RelayAcceptance", "relay")), "{events:?}");
    }
    assert!(matches!(lie.offer.lock().unwrap().as_ref().unwrap().outcome, Some(Outcome::Accepted(_))));
}

/// Says everything three times, and all old evidence again with each new event.
#[derive(Default)]
struct Replays(Mutex<Vec<(NodeId, wire::WatchEvent)>>);

impl Lie for Replays {
    fn event(&self, node: &NodeId, event: wire::WatchEvent) -> Vec<wire::WatchEvent> {
        let mut past = self.0.lock().unwrap();
        if matches!(event.event, Some(Event::Evidence(_) | Event::Waiting(_))) {
            past.push((node.clone(), event.clone()));
        }
        let old = past.iter().rev().filter(|(of, _)| of == node).map(|(_, event)| event.clone()).take(20);
        [event.clone(), event].into_iter().chain(old).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_reordered_events_count_once() {
    let world = World::start(&NODES).await;
    let _liar = Liar::between(&world, &IDS, Replays::default()).await;
    connected(&world).await;
    for key in ["one", "two"] {
        let envelope = delivered(&world, key).await;
        assert!(world.api("N-H26").confirm(&envelope, "H26").await.first);
        world.api("N-G22").until_state(&envelope, "H26", "handed-over").await;
        world.all_receipts_valid("N-G22", &envelope, 5).await;
        let ladder = world.api("N-G22").recipient(&envelope, "H26").await.unwrap().ladder;
        assert_eq!(ladder.len(), 5, "{ladder:?}");
    }
    assert_eq!(world.api("N-H26").inbox("H26", true).await.len(), 2);
    world.api("N-G22").until_well().await;
}

/// Never says what waits.
#[derive(Default)]
struct Withholds {
    list: AtomicBool,
    dropped: AtomicUsize,
}

impl Lie for Withholds {
    fn event(&self, node: &NodeId, event: wire::WatchEvent) -> Vec<wire::WatchEvent> {
        if node.as_str() == "N-H26" && matches!(event.event, Some(Event::Waiting(_))) {
            self.dropped.fetch_add(1, Ordering::SeqCst);
            return Vec::new();
        }
        vec![event]
    }
    fn undelivered(&self, reply: &mut wire::UndeliveredReply) {
        if self.list.load(Ordering::SeqCst) {
            reply.envelopes.clear();
            reply.senders.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_does_not_tell_its_signed_statement_tells_and_a_false_list_raises_an_alarm() {
    let often = |settings: String| settings.replace("statement_s = 60", "statement_s = 1");
    let world = World::start_with(truc_proto::Lane::Ordinary, &NODES, often).await;
    let lie = Arc::new(Withholds::default());
    let _liar = Liar::between(&world, &IDS, Arc::clone(&lie)).await;
    connected(&world).await;
    delivered(&world, "withheld").await;
    assert!(lie.dropped.load(Ordering::SeqCst) >= 1);
    lie.list.store(true, Ordering::SeqCst);
    world.api("N-G22").accepted(&Letter::new("hidden", "G22", &["H26"])).await;
    world.api("N-H26").until_alarm(&["undelivered", "signed"]).await;
}

/// How the directory is spoiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spoiled {
    Not,
    WithoutProof,
    OtherIndex,
    OtherLeaf,
    Stale,
    ForgedEntry,
    MissingEntry,
    OtherSignature,
}

struct SpoilsDirectory {
    how: Mutex<Spoiled>,
    first: Mutex<Option<Vec<wire::DirectoryChunk>>>,
}

impl Lie for SpoilsDirectory {
    fn directory(&self, chunks: &mut Vec<wire::DirectoryChunk>) {
        let first = self.first.lock().unwrap().get_or_insert_with(|| chunks.clone()).clone();
        let logged =
            |chunks: &mut Vec<wire::DirectoryChunk>| chunks.iter().position(|chunk| chunk.logged.is_some()).unwrap();
        let entries = chunks.iter().position(|chunk| !chunk.entries.is_empty()).unwrap();
        match *self.how.lock().unwrap() {
            Spoiled::Not => {}
            Spoiled::WithoutProof => chunks.iter_mut().for_each(|chunk| chunk.logged = None),
            Spoiled::OtherIndex => {
                let at = logged(chunks);
                chunks[at].logged.as_mut().unwrap().index ^= 1;
            }
            Spoiled::OtherLeaf => {
                let (at, other) = (logged(chunks), logged(&mut first.clone()));
                chunks[at].logged = first[other].logged.clone();
            }
            Spoiled::Stale => *chunks = first,
            Spoiled::ForgedEntry => {
                let text = String::from_utf8(chunks[entries].entries[0].to_vec()).unwrap();
                chunks[entries].entries[0] =
                    text.replacen("H26", "H27", 1).replacen("G22", "G23", 1).into_bytes().into();
            }
            Spoiled::MissingEntry => drop(chunks[entries].entries.remove(0)),
            Spoiled::OtherSignature => chunks[0].cms = first[0].cms.clone(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_forged_or_unproven_directory_is_not_used_and_raises_an_alarm() {
    let mut world = World::start(&NODES).await;
    // A new node fetches version 1 through the liar, so that the liar has it.
    world.make_node("N-H37", &["H37"]);
    world.publish_to(&IDS).await;
    let lie = Arc::new(SpoilsDirectory { how: Mutex::new(Spoiled::Not), first: Mutex::default() });
    let _liar = Liar::between(&world, &["N-G22", "N-H26", "N-H37"], Arc::clone(&lie)).await;
    world.serve_node("N-H37").await;
    world.api("N-H37").until_connected().await;
    connected(&world).await;
    let in_use = world.directory().version();
    for how in [
        Spoiled::WithoutProof,
        Spoiled::OtherIndex,
        Spoiled::OtherLeaf,
        Spoiled::Stale,
        Spoiled::ForgedEntry,
        Spoiled::MissingEntry,
        Spoiled::OtherSignature,
    ] {
        *lie.how.lock().unwrap() = how;
        world.publish().await;
        let offered = format!("directory version {}", world.directory().version());
        for id in IDS {
            world.api(id).until_alarm(&[&offered, "not used"]).await;
            let status = world.api(id).status().await.unwrap();
            assert_eq!(status.directory_version, in_use, "{how:?} at {id}");
            assert!(status.connected, "{how:?} at {id}: work goes on under the old one");
        }
    }
    delivered(&world, "under the old one".replace(' ', "-").as_str()).await;
    *lie.how.lock().unwrap() = Spoiled::Not;
    world.publish_to(&IDS).await;
    for id in IDS {
        let used = |status: &StatusReply| status.alarms.iter().all(|text| !text.contains("not used"));
        world.api(id).until_status("the alarm is over", used).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_proves_to_the_relay_that_its_own_ledger_only_grew() {
    let world = World::start(&NODES).await;
    delivered(&world, "before").await;
    let liar = Liar::between(&world, &IDS, Truth).await;
    connected(&world).await;
    until("a node's proofs", || async { (liar.counts.proven.load(Ordering::SeqCst) >= 1).then_some(()) }).await;
    delivered(&world, "after").await;
}
