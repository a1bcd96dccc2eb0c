//! The core without journal, network or keys: what it decides, and that its state is a fold of what it wrote.

mod administration;
mod attested;
mod duties;
mod gateway;
mod groups;
mod statuses;
mod unread;
mod withdraw;

use std::collections::BTreeMap;

use truc_evidence::{Attestation, Attested};
use truc_ledger::{Fold, Record, merkle::leaf_hash};
use truc_proto::{
    Actor, BusinessStatus, DirectoryRef, EnvelopeId, EnvelopeKind, EventUri, Lane, Preamble, Priority, Reason, Role,
    StatusCode, Suite, WireLevel, wire_v1::ProvenLeaf,
};

use super::*;
use crate::records::{self, About, Content, Incoming, KeyEnvelope, OpeningParts, Outgoing, Payload};

const START: &str = "2026-11-22T01:00:00Z";

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn after(ms: u64) -> Timestamp {
    start() + std::time::Duration::from_millis(ms)
}

fn code(text: &str) -> AgencyId {
    text.parse().unwrap()
}

fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn id(n: u8) -> EnvelopeId {
    EnvelopeId::new(start(), [n; 10])
}

/// A core with the journal it wrote.
struct Live {
    core: Core,
    journal: Vec<(Place, Record)>,
}

impl Live {
    fn new(name: &str) -> Self {
        let duties = Some(std::sync::Arc::default());
        Self { core: Core::new(Policy { duties, ..Policy::new(node(name)) }), journal: Vec::new() }
    }

    /// Handles an input; what comes back is what may be done once the records are on the device.
    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut effects = self.core.handle(now, input);
        if !effects.is_empty() {
            let Effect::Append(records) = effects.remove(0) else { panic!("the append comes first") };
            for record in records {
                let (position, leaf) = self.journal.last().map_or((0, 0), |(place, _)| {
                    let leaves = self.journal.iter().filter(|(place, _)| place.leaf.is_some()).count() as u64;
                    (place.position + 1, leaves)
                });
                let place = Place { position, leaf: record.leaf.as_ref().map(|_| leaf) };
                self.journal.push((place, record));
            }
        }
        assert!(!effects.iter().any(|e| matches!(e, Effect::Broken(_) | Effect::Append(_))), "{effects:?}");
        effects
    }

    /// The same state, read back from the journal.
    fn refold(&self) -> Core {
        let mut core = Core::new(self.core.policy.clone());
        for (place, record) in &self.journal {
            core.apply(*place, &record.state, record.leaf.as_deref()).unwrap();
        }
        core.recovered();
        core
    }

    #[track_caller]
    fn check_fold(&self) {
        let live: Vec<String> = self.core.snapshot().map(|e| String::from_utf8(e).unwrap()).collect();
        let folded: Vec<String> = self.refold().snapshot().map(|e| String::from_utf8(e).unwrap()).collect();
        assert_eq!(live, folded);
        // Through a snapshot in the middle and the tail of the journal.
        let middle = self.journal.len() / 2;
        let mut first = Core::new(self.core.policy.clone());
        for (place, record) in &self.journal[..middle] {
            first.apply(*place, &record.state, record.leaf.as_deref()).unwrap();
        }
        let mut second = Core::new(self.core.policy.clone());
        second.load_snapshot(&mut first.snapshot().collect::<Vec<_>>().into_iter()).unwrap();
        for (place, record) in &self.journal[middle..] {
            second.apply(*place, &record.state, record.leaf.as_deref()).unwrap();
        }
        let through: Vec<String> = second.snapshot().map(|e| String::from_utf8(e).unwrap()).collect();
        assert_eq!(live, through);
    }

    fn restart(&mut self) {
        self.core = self.refold();
    }

    fn leaf(&self, index: u64) -> Vec<u8> {
        self.journal.iter().find(|(place, _)| place.leaf == Some(index)).unwrap().1.leaf.clone().unwrap()
    }

    fn pair(&self, key: &Key, recipient: &str) -> &Pair {
        &self.core.find_sent(key).unwrap().pairs[&code(recipient)]
    }
}

fn preamble(
    key: &Key,
    recipients: &[&str],
    kind: EnvelopeKind,
    supersedes: Option<truc_proto::Supersedes>,
) -> Raw<Preamble> {
    Raw::write(Preamble {
        axis: "dev".parse().unwrap(),
        suite: Suite::S1,
        envelope: key.envelope,
        lane: Lane::Ordinary,
        level: WireLevel::Ordinary,
        sender: key.sender.clone(),
        recipients: recipients.iter().map(|r| code(r)).collect(),
        legacy: Vec::new(),
        kind,
        priority: Priority::ORDINARY,
        created: start(),
        expires: after(86_400_000),
        supersedes,
    })
    .unwrap()
}

fn sealed(key: &Key, recipients: &[&str], idempotency_key: &str, request: &[u8]) -> Sealed {
    sealed_as(key, &preamble(key, recipients, EnvelopeKind::Document, None), idempotency_key, request, Vec::new())
}

fn sealed_as(key: &Key, preamble: &Raw<Preamble>, idempotency_key: &str, request: &[u8], status: Vec<u8>) -> Sealed {
    let key_envelopes = preamble.recipients.iter();
    Sealed {
        outgoing: Outgoing {
            preamble: preamble.bytes().to_vec(),
            key_envelopes: key_envelopes
                .map(|code| KeyEnvelope { recipient: code.to_string(), cms: format!("{code} {key}").into_bytes() })
                .collect(),
            payload: Payload { sha256: Digest::of(key.to_string().as_bytes()).0.to_vec(), length: 7, inline: None },
            wrapped: vec![1],
            about: About::default(),
            idempotency_key: idempotency_key.into(),
            request_hash: Digest::of(request).0.to_vec(),
            status,
            opening: None,
            index_keys: Vec::new(),
            held: None,
            continues: String::new(),
        },
        commitment: Digest::of(b"commitment"),
        directory: DirectoryRef { version: 1, root: Digest::of(b"r"), entry: Digest::of(b"e") },
    }
}

fn key(sender: &str, n: u8) -> Key {
    Key { sender: code(sender), envelope: id(n) }
}

fn prepare(live: &mut Live, sealed: Sealed) -> Vec<Effect> {
    live.handle(start(), Input::Prepared { sealed: Box::new(sealed), reply: Some(Token(1)) })
}

fn answer(effects: &[Effect]) -> &Answer {
    effects
        .iter()
        .find_map(|e| match e {
            Effect::Reply { answer, .. } => Some(answer),
            _ => None,
        })
        .expect("an answer")
}

/// An event about what `live` sent, by the relay or a recipient.
fn event(live: &Live, key: &Key, uri: EventUri, recipient: Option<&str>, change: impl FnOnce(&mut Event)) -> Vec<u8> {
    let sent = live.core.find_sent(key).unwrap();
    let hashes = sent.hashes.unwrap();
    let by_relay = matches!(uri, EventUri::RelayRejection | EventUri::RelayFailure) || recipient.is_none();
    let actor = if by_relay {
        Actor { code: None, node: node("R1"), role: Role::Relay }
    } else {
        Actor { code: recipient.map(code), node: node("N9"), role: Role::Recipient }
    };
    let failed = matches!(
        uri,
        EventUri::RelayRejection
            | EventUri::RelayFailure
            | EventUri::ContentConsignmentFailure
            | EventUri::ContentHandoverFailure
    );
    let mut event = Event {
        event: uri,
        actor,
        time: after(1_000),
        envelope: Some(key.envelope),
        sender: key.sender.clone(),
        recipient: recipient.map(code),
        submission: Some(hashes.submission),
        preamble: Some(hashes.preamble),
        payload: Some(hashes.payload),
        commitment: Some(hashes.commitment),
        key_envelope: None,
        reason: failed.then_some(Reason::Expired),
        details: None,
        request: None,
        successor: None,
    };
    change(&mut event);
    Raw::write(event).unwrap().bytes().to_vec()
}

fn leaves(from: &str, cms: bool, envelope: EnvelopeId, leaf: Option<&[u8]>, hash: Digest) -> ReceivedLeaves {
    ReceivedLeaves {
        from: node(from),
        checkpoint: Bytes::from_static(b"checkpoint"),
        cms,
        attested: Attested::NONE,
        items: vec![ReceivedItem {
            leaf: leaf.map(Bytes::copy_from_slice),
            leaf_hash: hash,
            index: 3,
            proof: vec![],
            envelope,
        }],
    }
}

fn show(live: &mut Live, key: &Key, leaf: &[u8]) -> Vec<Effect> {
    let leaves = leaves("R1", false, key.envelope, Some(leaf), leaf_hash(leaf));
    live.handle(after(2_000), Input::Evidence { numbers: vec![5], leaves })
}

fn relay_accepts(live: &mut Live, key: &Key) {
    let leaf = event(live, key, EventUri::RelayAcceptance, None, |_| {});
    let acceptance = leaves("R1", false, key.envelope, Some(&leaf), leaf_hash(&leaf));
    live.handle(after(1_500), Input::Offered { key: key.clone(), acceptance });
}

/// What `sender` sent, as it comes to `receiver` for its codes.
fn incoming(sender: &Live, key: &Key, codes: &[&str]) -> Incoming {
    let position = sender.core.find_sent(key).unwrap().body;
    let record = &sender.journal[usize::try_from(position).unwrap()].1;
    let Body::Outgoing(outgoing) = NodeRecord::read(&record.state).unwrap() else { panic!("an outgoing record") };
    let acceptance = event(sender, key, EventUri::RelayAcceptance, None, |_| {});
    let proven = |leaf: Vec<u8>| ProvenLeaf { leaf: leaf.into(), index: 0, proof: vec![], checkpoint: Bytes::new() };
    Incoming {
        preamble: outgoing.preamble,
        submission: proven(record.leaf.clone().unwrap()),
        relay_acceptance: proven(acceptance),
        payload: outgoing.payload,
        codes: codes.iter().map(ToString::to_string).collect(),
        at_ms: 0,
    }
}

fn content(key: &Key, status: Vec<u8>) -> Content {
    Content {
        sender: key.sender.to_string(),
        envelope: key.envelope.to_string(),
        wrapped: vec![2],
        opening: OpeningParts::default(),
        about: About::default(),
        verdict: "good".into(),
        verdict_text: String::new(),
        status,
        index_keys: Vec::new(),
    }
}

/// A sender with one document to H26 and H37, and the receiver of both, who has consigned it.
fn delivered() -> (Live, Live, Key) {
    let (mut sender, mut receiver, key) = (Live::new("N1"), Live::new("N2"), key("G22", 1));
    prepare(&mut sender, sealed(&key, &["H26", "H37"], "a", b"a"));
    let leased = Leased { incoming: incoming(&sender, &key, &["H26", "H37"]) };
    receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let outcomes = vec![(code("H26"), Ok(())), (code("H37"), Ok(()))];
    let content = Some(Box::new(content(&key, Vec::new())));
    receiver.handle(after(200), Input::Opened { key: key.clone(), content, outcomes });
    (sender, receiver, key)
}

#[test]
fn the_same_request_is_accepted_once_and_another_under_its_key_is_refused() {
    let mut live = Live::new("N1");
    let first = prepare(&mut live, sealed(&key("G22", 1), &["H26"], "a", b"request"));
    assert_eq!(answer(&first), &Answer::Accepted { key: key("G22", 1), first: true });
    let again = prepare(&mut live, sealed(&key("G22", 2), &["H26"], "a", b"request"));
    assert_eq!(answer(&again), &Answer::Accepted { key: key("G22", 1), first: false });
    let other = prepare(&mut live, sealed(&key("G22", 3), &["H26"], "a", b"other"));
    assert_eq!(answer(&other), &Answer::RequestReused);
    // Keys belong to the sending agency.
    let elsewhere = prepare(&mut live, sealed(&key("H01", 4), &["H26"], "a", b"other"));
    assert_eq!(answer(&elsewhere), &Answer::Accepted { key: key("H01", 4), first: true });
    assert_eq!(live.core.sent().len(), 2);
    live.restart();
    let after_restart = prepare(&mut live, sealed(&key("G22", 5), &["H26"], "a", b"request"));
    assert_eq!(answer(&after_restart), &Answer::Accepted { key: key("G22", 1), first: false });
    live.check_fold();
}

#[test]
fn a_refusal_with_evidence_is_a_leaf_and_is_repeated_to_the_same_request() {
    let mut live = Live::new("N1");
    let request = Input::Refused {
        sender: code("G22"),
        idempotency_key: "a".into(),
        reused: false,
        request_hash: Digest::of(b"top secret"),
        reason: Reason::LevelRefused,
        reply: Some(Token(1)),
    };
    for _ in 0..2 {
        let effects = live.handle(start(), request.clone());
        let leaf = Some(leaf_hash(&live.leaf(0)));
        assert_eq!(answer(&effects), &Answer::Refused { reason: Reason::LevelRefused, leaf });
    }
    assert_eq!(live.journal.len(), 1);
    let rejection = Raw::<Event>::parse(live.leaf(0)).unwrap();
    assert_eq!((rejection.event, rejection.request), (EventUri::SubmissionRejection, Some(Digest::of(b"top secret"))));
    live.check_fold();
}

#[test]
fn nothing_is_offered_before_the_relay_is_there_and_then_by_urgency_and_age() {
    let mut live = Live::new("N1");
    live.core.policy.offers_in_flight_max = 2;
    for (n, priority) in [(1, 0), (2, 0), (3, 3)] {
        let key = key("G22", n);
        let mut preamble = preamble(&key, &["H26"], EnvelopeKind::Document, None).value().clone();
        preamble.priority = Priority::try_from(priority).unwrap();
        let preamble = Raw::write(preamble).unwrap();
        let effects = prepare(&mut live, sealed_as(&key, &preamble, &n.to_string(), &[n], Vec::new()));
        assert!(!effects.iter().any(|e| matches!(e, Effect::Offer { .. })));
    }
    let offered = |effects: &[Effect]| -> Vec<Key> {
        effects
            .iter()
            .filter_map(|e| match e {
                Effect::Offer { key, .. } => Some(key.clone()),
                _ => None,
            })
            .collect()
    };
    let effects = live.handle(start(), Input::Connected);
    assert_eq!(offered(&effects), [key("G22", 3), key("G22", 1)]);
    let leaf = event(&live, &key("G22", 3), EventUri::RelayAcceptance, None, |_| {});
    let acceptance = leaves("R1", false, id(3), Some(&leaf), leaf_hash(&leaf));
    let effects = live.handle(start(), Input::Offered { key: key("G22", 3), acceptance });
    assert_eq!(offered(&effects), [key("G22", 2)]);
    live.check_fold();
}

#[test]
fn a_failed_offer_waits_longer_each_time_and_the_envelope_fails_visibly_when_it_expires() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    live.handle(start(), Input::Connected);
    let mut now = start();
    let mut last = 0;
    for _ in 0..5 {
        let error = "away".to_owned();
        live.handle(now, Input::OfferFailed { key: key.clone(), error, jitter: u32::MAX });
        let due = live.core.next_due().unwrap();
        assert!(due.unix_ms() - now.unix_ms() > last, "the delay grows");
        last = due.unix_ms() - now.unix_ms();
        assert!(!live.handle(now, Input::Tick).iter().any(|e| matches!(e, Effect::Offer { .. })));
        now = due;
        assert!(live.handle(now, Input::Tick).iter().any(|e| matches!(e, Effect::Offer { .. })));
    }
    live.handle(now, Input::OfferFailed { key: key.clone(), error: "away".into(), jitter: 0 });
    live.handle(after(86_400_001), Input::Tick);
    let pair = live.pair(&key, "H26");
    assert_eq!((pair.state, pair.reason), (PairState::Failed, Some(Reason::Expired)));
    live.check_fold();
}

#[test]
fn evidence_counts_once_and_in_any_order() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26", "H37"], "a", b"a"));
    let handover = event(&live, &key, EventUri::ContentHandover, Some("H26"), |_| {});
    let consigned = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    let effects = show(&mut live, &key, &handover);
    assert!(effects.contains(&Effect::Acknowledge(vec![5])));
    let before = live.journal.len();
    let effects = show(&mut live, &key, &handover);
    assert!(effects.contains(&Effect::Acknowledge(vec![5])), "a double is acknowledged, too");
    assert_eq!(live.journal.len(), before, "and not recorded again");
    show(&mut live, &key, &consigned);
    relay_accepts(&mut live, &key);
    assert_eq!(live.pair(&key, "H26").state, PairState::HandedOver);
    assert_eq!(live.pair(&key, "H37").state, PairState::Relayed);
    assert_eq!(live.core.find_sent(&key).unwrap().steps.len(), 4);
    live.check_fold();
}

#[test]
fn evidence_that_contradicts_what_was_sent_is_not_believed() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    type Change = fn(&mut Event);
    let cases: [Change; 4] = [
        |e| e.commitment = Some(Digest::of(b"another document")),
        |e| e.submission = Some(Digest::of(b"another submission")),
        |e| e.key_envelope = Some(Digest::of(b"another key envelope")),
        |e| {
            e.recipient = Some(code("H01"));
            e.actor.code = Some(code("H01"));
        },
    ];
    for change in cases {
        let leaf = event(&live, &key, EventUri::ContentConsignment, Some("H26"), change);
        let before = live.journal.len();
        show(&mut live, &key, &leaf);
        assert_eq!(live.journal.len(), before);
        assert_eq!(live.pair(&key, "H26").state, PairState::Sealed);
        assert!(live.core.alarms.contains_key(&Alarm::BadEvidence(node("R1"))));
    }
}

#[test]
fn a_delivery_after_the_relay_gave_up_is_late_in_either_order() {
    for failure_first in [true, false] {
        let mut live = Live::new("N1");
        let key = key("G22", 1);
        prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
        let failure = event(&live, &key, EventUri::RelayFailure, Some("H26"), |_| {});
        let consigned = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
        let order = if failure_first { [&failure, &consigned] } else { [&consigned, &failure] };
        order.iter().for_each(|leaf| _ = show(&mut live, &key, leaf));
        let pair = live.pair(&key, "H26");
        assert_eq!((pair.state, pair.late, pair.reason), (PairState::Consigned, true, None), "{failure_first}");
        live.check_fold();
    }
}

#[test]
fn a_finalisation_may_come_before_its_leaf() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    let consigned = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    let hash = leaf_hash(&consigned);
    let finally = leaves("N9", true, key.envelope, None, hash);
    live.handle(after(1), Input::Evidence { numbers: vec![1], leaves: finally });
    show(&mut live, &key, &consigned);
    let sent = live.core.find_sent(&key).unwrap();
    let step = sent.steps.iter().find(|step| step.leaf == hash).unwrap();
    assert!(live.core.is_final(step, &sent.finals));
    live.check_fold();
}

#[test]
fn a_closed_code_leads_to_a_new_envelope_for_its_successor_once() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H02", "H26"], "a", b"a"));
    let rejection = event(&live, &key, EventUri::RelayRejection, Some("H02"), |e| {
        e.actor = Actor { code: None, node: node("R1"), role: Role::Relay };
        e.reason = Some(Reason::ClosedCode);
        e.successor = Some(code("H05"));
    });
    let effects = show(&mut live, &key, &rejection);
    let reseal = effects.iter().find_map(|e| match e {
        Effect::Reseal { recipient, to, .. } => Some((recipient.clone(), to.clone())),
        _ => None,
    });
    assert_eq!(reseal, Some((code("H02"), code("H05"))));
    // A restart asks again, until the new envelope is there.
    live.restart();
    let effects = live.handle(after(3_000), Input::Connected);
    assert!(effects.iter().any(|e| matches!(e, Effect::Reseal { .. })));
    let new = self::key("G22", 2);
    let supersedes = Some(truc_proto::Supersedes { envelope: key.envelope, recipient: code("H02") });
    let preamble = preamble(&new, &["H05"], EnvelopeKind::Document, supersedes);
    prepare(&mut live, sealed_as(&new, &preamble, "", b"", Vec::new()));
    assert_eq!(live.pair(&key, "H02").superseded_by, Some(new.envelope));
    live.restart();
    let effects = live.handle(after(4_000), Input::Connected);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Reseal { .. })));
    live.check_fold();
}

fn closed(live: &Live, key: &Key, recipient: &str, successor: &str) -> Vec<u8> {
    event(live, key, EventUri::RelayFailure, Some(recipient), |e| {
        e.reason = Some(Reason::ClosedCode);
        e.successor = Some(code(successor));
    })
}

fn reseals(effects: &[Effect]) -> Vec<(String, String)> {
    let of = |effect: &Effect| match effect {
        Effect::Reseal { recipient, to, .. } => Some((recipient.to_string(), to.to_string())),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_successor_gets_one_envelope_for_all_that_it_took_over_and_none_when_it_has_the_document() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H02", "H03", "H05", "H26"], "a", b"a"));
    relay_accepts(&mut live, &key);
    let show = |live: &mut Live, key: &Key, recipient: &str, successor: &str| {
        let leaf = closed(live, key, recipient, successor);
        reseals(&show(live, key, &leaf))
    };
    // H05 is a recipient itself.
    assert_eq!(show(&mut live, &key, "H02", "H05"), []);
    let pair = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    assert_eq!(show(&mut live, &key, "H03", "H10"), pair("H03", "H10"));
    assert_eq!(show(&mut live, &key, "H26", "H10"), [], "one for H03 is on its way");
    assert_eq!(live.core.find_sent(&key).unwrap().has(&code("H05")), Some(key.envelope));
    let second = self::key("G22", 2);
    let supersedes = Some(truc_proto::Supersedes { envelope: key.envelope, recipient: code("H03") });
    let preamble = preamble(&second, &["H10"], EnvelopeKind::Document, supersedes);
    prepare(&mut live, sealed_as(&second, &preamble, "", b"", Vec::new()));
    let sent = live.core.find_sent(&key).unwrap();
    assert_eq!((sent.replacements(), sent.has(&code("H10"))), (vec![], Some(second.envelope)));
    // The successor closes as well, before it got it: once more; and nobody sends to itself.
    relay_accepts(&mut live, &second);
    assert_eq!(show(&mut live, &second, "H10", "H11"), pair("H10", "H11"));
    live.restart();
    assert_eq!(reseals(&live.handle(after(3_000), Input::Connected)), pair("H10", "H11"));
    let third = self::key("G22", 3);
    prepare(&mut live, sealed(&third, &["H02"], "c", b"c"));
    relay_accepts(&mut live, &third);
    assert_eq!(show(&mut live, &third, "H02", "G22"), []);
    live.check_fold();
}

#[test]
fn what_cannot_be_opened_is_sealed_anew_once() {
    let mut live = Live::new("N1");
    let first = key("G22", 1);
    prepare(&mut live, sealed(&first, &["H26"], "a", b"a"));
    let cannot = |live: &Live, key: &Key| {
        event(live, key, EventUri::ContentConsignmentFailure, Some("H26"), |e| e.reason = Some(Reason::CannotOpen))
    };
    let leaf = cannot(&live, &first);
    assert!(show(&mut live, &first, &leaf).iter().any(|e| matches!(e, Effect::Reseal { .. })));
    let second = key("G22", 2);
    let supersedes = Some(truc_proto::Supersedes { envelope: first.envelope, recipient: code("H26") });
    let preamble = preamble(&second, &["H26"], EnvelopeKind::Document, supersedes);
    prepare(&mut live, sealed_as(&second, &preamble, "", b"", Vec::new()));
    let leaf = cannot(&live, &second);
    assert!(!show(&mut live, &second, &leaf).iter().any(|e| matches!(e, Effect::Reseal { .. })));
}

#[test]
fn keys_are_asked_for_only_behind_the_journaled_acceptance_of_each_code() {
    let (sender, _, key) = delivered();
    let mut receiver = Live::new("N2");
    let waiting =
        Waiting { key: key.clone(), priority: Priority::ORDINARY, payload_length: 7, kind: EnvelopeKind::Document };
    receiver.handle(start(), Input::Waiting(vec![waiting.clone(), waiting.clone()]));
    let effects = receiver.handle(start(), Input::Connected);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Open { .. })));
    let effects = receiver.handle(start(), Input::Waiting(vec![waiting]));
    assert!(effects.is_empty(), "announced twice, taken once: {effects:?}");
    let leased = Leased { incoming: incoming(&sender, &key, &["H26", "H37"]) };
    let effects = receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let acceptances = effects.iter().find_map(|e| match e {
        Effect::Open { acceptances, .. } => Some(acceptances.clone()),
        _ => None,
    });
    let acceptances = acceptances.expect("open comes behind the append");
    assert_eq!(acceptances.len(), 2);
    for (code, leaf) in acceptances {
        let event = Raw::<Event>::parse(receiver.leaf(leaf.index)).unwrap();
        assert_eq!((event.event, event.recipient.clone()), (EventUri::RelayAcceptance, Some(code)));
        assert_eq!(event.actor.role, Role::Recipient);
    }
    // After a crash here the work goes on from the journal.
    receiver.restart();
    let effects = receiver.handle(after(200), Input::Connected);
    assert!(effects.iter().any(|e| matches!(e, Effect::Open { .. })));
    receiver.check_fold();
}

#[test]
fn one_codes_failure_does_not_hold_up_another() {
    let (sender, _, key) = delivered();
    let mut receiver = Live::new("N2");
    let leased = Leased { incoming: incoming(&sender, &key, &["H26", "H37"]) };
    receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let failure = Failure { reason: Reason::CannotOpen, detail: "no key".into() };
    let outcomes = vec![(code("H26"), Err(failure)), (code("H37"), Ok(()))];
    let content = Some(Box::new(content(&key, Vec::new())));
    let effects = receiver.handle(after(200), Input::Opened { key: key.clone(), content, outcomes });
    let arrived: Vec<&AgencyId> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Arrived { code, .. } => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(arrived, [&code("H37")]);
    let codes = &receiver.core.find_received(&key).unwrap().codes;
    assert_eq!(codes[&code("H26")].state, CodeState::Failed);
    assert_eq!(codes[&code("H37")].state, CodeState::Consigned);
    receiver.check_fold();
}

#[test]
fn a_document_is_recorded_as_handed_over_exactly_once() {
    let (_, mut receiver, key) = delivered();
    let confirm = Input::Confirm { key: key.clone(), code: code("H26"), refused: None, reply: Some(Token(1)) };
    let first = receiver.handle(after(300), confirm.clone());
    assert_eq!(answer(&first), &Answer::Confirmed { at: after(300), first: true });
    let before = receiver.journal.len();
    for restarted in [false, true] {
        if restarted {
            receiver.restart();
        }
        let again = receiver.handle(after(400), confirm.clone());
        assert_eq!(answer(&again), &Answer::Confirmed { at: after(300), first: false });
    }
    assert_eq!(receiver.journal.len(), before);
    let unknown = Input::Confirm { key: self::key("G22", 9), code: code("H26"), refused: None, reply: Some(Token(1)) };
    assert_eq!(answer(&receiver.handle(after(500), unknown)), &Answer::NotFound);
    receiver.check_fold();
}

#[test]
fn own_leaves_are_pushed_until_acknowledged_and_again_under_the_certificates_signature() {
    let (_, mut receiver, key) = delivered();
    let push = |effects: &[Effect]| {
        effects.iter().find_map(|e| match e {
            Effect::Push { leaves, finals } => Some((leaves.clone(), finals.clone())),
            _ => None,
        })
    };
    let effects = receiver.handle(after(300), Input::Connected);
    let (first, finals) = push(&effects).expect("something to push");
    assert!(finals.is_none());
    // Two acceptances went with the keys; two consignments are to be shown.
    assert_eq!(first.len(), 2);
    receiver.handle(after(310), Input::PushFailed);
    assert!(push(&receiver.handle(after(320), Input::KeyBack)).is_none(), "not at once again");
    let effects = receiver.handle(after(3_000), Input::Tick);
    let (again, _) = push(&effects).expect("tried again");
    assert_eq!(again, first);
    receiver.handle(after(3_100), Input::Pushed { leaves: again.iter().map(|l| l.index).collect(), finally: false });
    let note = signed_note(receiver.core.next_leaf());
    let effects = receiver.handle(after(3_200), Input::CheckpointSigned { note, said: Attestations::default() });
    let (leaves, finals) = push(&effects).expect("finalisations");
    let (_, finals) = finals.expect("under the signed checkpoint");
    assert!(leaves.is_empty() && finals.len() == 4 && finals.iter().all(|leaf| leaf.known));
    receiver.handle(after(3_300), Input::Pushed { leaves: finals.iter().map(|l| l.index).collect(), finally: true });
    assert!(receiver.core.unsent().is_empty());
    let received = receiver.core.find_received(&key).unwrap();
    let own = received.steps.iter().filter(|step| matches!(step.source, Source::Own { .. }));
    assert!(own.clone().count() == 4 && own.into_iter().all(|step| receiver.core.is_final(step, &received.finals)));
    receiver.check_fold();
}

#[test]
fn an_acceptance_goes_with_the_call_that_takes_the_keys_and_is_pushed_where_that_fails() {
    let (sender, _, key) = delivered();
    let mut receiver = Live::new("N2");
    let pushed = |effects: &[Effect]| {
        let push =
            effects.iter().find_map(|e| if let Effect::Push { leaves, .. } = e { Some(leaves.clone()) } else { None });
        push.unwrap_or_default().iter().map(|leaf| leaf.index).collect::<Vec<_>>()
    };
    receiver.handle(start(), Input::Connected);
    let leased = Leased { incoming: incoming(&sender, &key, &["H26", "H37"]) };
    let opening = receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let shown = opening.iter().find_map(|e| match e {
        Effect::Open { acceptances, .. } => Some(acceptances.iter().map(|(_, leaf)| leaf.index).collect::<Vec<_>>()),
        _ => None,
    });
    let shown = shown.expect("it is opened at once");
    assert!(shown.len() == 2 && pushed(&opening).is_empty(), "{opening:?}");
    let failed = Input::TakeFailed { key: key.clone(), error: "no answer".into(), jitter: 0, gone: false };
    assert_eq!(pushed(&receiver.handle(after(200), failed)), shown);
    receiver.check_fold();
}

#[test]
fn evidence_that_the_relay_refuses_for_good_ends_and_what_it_may_take_later_waits_alone() {
    let (_, mut receiver, key) = delivered();
    let pushed = |effects: &[Effect]| {
        let push =
            effects.iter().find_map(|e| if let Effect::Push { leaves, .. } = e { Some(leaves.clone()) } else { None });
        push.unwrap_or_default().iter().map(|leaf| leaf.index).collect::<Vec<_>>()
    };
    let refused = |index, kind| RefusedLeaf { index, kind, why: "so it says".into() };
    let first = pushed(&receiver.handle(after(300), Input::Connected));
    let [one, two] = first[..] else { panic!("two consignments: {first:?}") };
    let leaves = vec![refused(one, Rejection::Final), refused(two, Rejection::UnknownEnvelope)];
    assert!(pushed(&receiver.handle(after(310), Input::PushRefused { leaves })).is_empty(), "not at once again");
    let (for_good, for_now) = (Alarm::EvidenceRefused(key.envelope), Alarm::EvidenceWaits(key.envelope));
    assert!(!receiver.core.unsent().contains_key(&one) && receiver.core.unsent().contains_key(&two));
    assert!(receiver.core.alarms()[&for_good].contains("so it says") && receiver.core.alarms().contains_key(&for_now));
    // What comes meanwhile is not held up by it.
    let confirm = Input::Confirm { key: key.clone(), code: code("H26"), refused: None, reply: Some(Token(9)) };
    let next = pushed(&receiver.handle(after(320), confirm));
    assert!(next.len() == 1 && !next.contains(&two));
    receiver.handle(after(330), Input::Pushed { leaves: next, finally: false });
    // Once the relay knows the envelope again, it is taken; what was refused for good stays to be seen.
    let again = pushed(&receiver.handle(after(120_000), Input::Tick));
    assert_eq!(again, [two]);
    receiver.handle(after(120_100), Input::Pushed { leaves: again, finally: false });
    assert!(receiver.core.alarms().contains_key(&for_good) && !receiver.core.alarms().contains_key(&for_now));
    receiver.check_fold();
}

#[test]
fn evidence_about_an_envelope_that_no_relay_can_have_again_is_given_up() {
    let (_, mut receiver, key) = delivered();
    receiver.handle(after(300), Input::Connected);
    let indices: Vec<u64> = receiver.core.unsent().keys().copied().collect();
    let refused = |now, receiver: &mut Live| {
        let why = || "unknown-envelope".to_owned();
        let leaf = |index: &u64| RefusedLeaf { index: *index, kind: Rejection::UnknownEnvelope, why: why() };
        receiver.handle(now, Input::PushRefused { leaves: indices.iter().map(leaf).collect() });
    };
    refused(after(400), &mut receiver);
    assert_eq!(receiver.core.unsent().len(), indices.len());
    refused(after(31 * 86_400_000), &mut receiver);
    assert!(receiver.core.unsent().is_empty());
    assert!(receiver.core.alarms().contains_key(&Alarm::EvidenceRefused(key.envelope)));
    receiver.check_fold();
}

#[test]
fn an_envelope_that_the_relay_lost_for_ever_before_giving_its_keys_fails_visibly() {
    let (mut sender, mut receiver, key) = (Live::new("N1"), Live::new("N2"), key("G22", 1));
    prepare(&mut sender, sealed(&key, &["H26", "H37"], "a", b"a"));
    let leased = Leased { incoming: incoming(&sender, &key, &["H26", "H37"]) };
    receiver.handle(after(100), Input::Leased(Box::new(leased)));
    let gone = |now, receiver: &mut Live| {
        receiver.handle(now, Input::TakeFailed { key: key.clone(), error: "gone".into(), jitter: 0, gone: true });
    };
    gone(after(200), &mut receiver);
    assert!(receiver.core.find_received(&key).unwrap().needs_opening(), "its sender may upload it again");
    assert!(receiver.core.alarms().contains_key(&Alarm::Unusable(key.envelope)));
    gone(after(31 * 86_400_000), &mut receiver);
    let received = receiver.core.find_received(&key).unwrap();
    assert!(
        received.codes.values().all(|code| (code.state, code.reason) == (CodeState::Failed, Some(Reason::Expired)))
    );
    assert!(!receiver.core.alarms().contains_key(&Alarm::Unusable(key.envelope)));
    receiver.check_fold();
}

fn signed_note(size: u64) -> Bytes {
    let key = truc_ledger::LedgerKey::from_seed("truc/dev/ordinary/N2/1", &[7; 32]).unwrap();
    let checkpoint = truc_proto::Checkpoint::new("truc/dev/ordinary/N2/1", size, Digest::of(b"root")).unwrap();
    key.sign(&checkpoint).to_string().into()
}

fn status(from: &str, to: &str, document: EnvelopeId, code: StatusCode, sequence: u64) -> Vec<u8> {
    let reason = (code == StatusCode::Refused).then(|| "thiếu phụ lục".to_owned());
    Raw::write(BusinessStatus {
        status: code.uri(),
        code,
        from: self::code(from),
        to: self::code(to),
        document,
        document_id: None,
        reason,
        staff: None,
        sequence,
        time: start(),
    })
    .unwrap()
    .bytes()
    .to_vec()
}

fn hear(live: &mut Live, n: u8, from: &str, bytes: Vec<u8>) {
    let mut other = Live::new("N7");
    let key = key(from, n);
    let to = Raw::<BusinessStatus>::parse(bytes.clone()).unwrap().to.to_string();
    let preamble = preamble(&key, &[&to], EnvelopeKind::Status, None);
    prepare(&mut other, sealed_as(&key, &preamble, &n.to_string(), &[n], Vec::new()));
    let leased = Leased { incoming: incoming(&other, &key, &[&to]) };
    live.handle(after(500), Input::Leased(Box::new(leased)));
    let content = Some(Box::new(content(&key, bytes)));
    live.handle(after(600), Input::Opened { key, content, outcomes: vec![(code(&to), Ok(()))] });
}

#[test]
fn what_is_held_is_finished_under_its_own_id_and_answered_the_same() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    let held = crate::records::Held {
        envelope: key.envelope.to_string(),
        sender: "G22".into(),
        recipients: vec!["H26".into()],
        expires_ms: after(86_400_000).unix_ms(),
        idempotency_key: "a".into(),
        request_hash: Digest::of(b"a").0.to_vec(),
        about: About::default(),
        blob: Digest::of(b"held").as_bytes().to_vec(),
        ..crate::records::Held::default()
    };
    let request = || Input::Held { request: Box::new(HeldRequest { held: held.clone() }), reply: Some(Token(1)) };
    assert_eq!(answer(&live.handle(start(), request())), &Answer::Held { key: key.clone(), first: true });
    assert_eq!(answer(&live.handle(start(), request())), &Answer::Held { key: key.clone(), first: false });
    assert_eq!(live.core.next_leaf(), 0, "no SubmissionAcceptance before it is signed");
    // Nobody has to say that the key is back: it is tried, also by a process that was started again, and again when it fails.
    let tries = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::FinishHeld { .. }));
    assert!(tries(&live.handle(after(1_000), Input::Tick)));
    assert!(!tries(&live.handle(after(2_000), Input::Tick)), "one at a time");
    live.restart();
    assert!(tries(&live.handle(after(3_000), Input::Tick)));
    live.handle(after(3_100), Input::HeldFailed { key: key.clone(), error: "the key is away".into(), jitter: 0 });
    assert!(tries(&live.handle(after(120_000), Input::Tick)));
    live.handle(after(120_100), Input::HeldFailed { key: key.clone(), error: "the key is away".into(), jitter: 0 });
    let effects = live.handle(after(120_200), Input::KeyBack);
    assert!(tries(&effects), "and at once when something changes");
    let effects = prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    assert_eq!(answer(&effects), &Answer::Accepted { key: key.clone(), first: true });
    let gone = Effect::Closed { key: key.clone(), payload: Some(Digest::of(b"held")) };
    assert!(effects.contains(&gone), "what was held is sealed anew and goes: {effects:?}");
    assert_eq!(live.core.sent().len(), 1);
    assert_eq!(live.pair(&key, "H26").state, PairState::Sealed);
    live.check_fold();
}

#[test]
fn the_relays_own_answer_is_asked_for_also_when_others_evidence_overtook_it() {
    let (mut live, key) = (Live::new("N1"), key("G22", 1));
    let offered = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Offer { .. }));
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    assert!(offered(&live.handle(after(10), Input::Connected)));
    let leaf = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    assert!(!offered(&show(&mut live, &key, &leaf)), "its answer may still come");
    assert!(live.core.find_sent(&key).unwrap().is_settled());
    let lost = Input::OfferFailed { key: key.clone(), error: "the line broke".into(), jitter: 0 };
    live.handle(after(2_100), lost.clone());
    assert!(offered(&live.handle(after(10_000), Input::Tick)));
    // A restart knows it from the journal.
    live.restart();
    assert!(offered(&live.handle(after(10_100), Input::Connected)));
    // An answer about another envelope is none, and does not lead to one offer after the other.
    let other = self::key("G22", 2);
    prepare(&mut live, sealed(&other, &["H26"], "b", b"b"));
    let about_other = event(&live, &other, EventUri::RelayAcceptance, None, |_| {});
    let acceptance = leaves("R1", false, other.envelope, Some(&about_other), leaf_hash(&about_other));
    let effects = live.handle(after(10_200), Input::Offered { key: key.clone(), acceptance });
    assert!(!offered(&effects) && offered(&live.handle(after(20_000), Input::Tick)));
    relay_accepts(&mut live, &key);
    assert!(!live.core.find_sent(&key).unwrap().needs_offer());
    assert_eq!(live.core.find_sent(&key).unwrap().steps.len(), 3);
    live.check_fold();
}

#[test]
fn an_answer_that_no_relay_gives_any_more_is_not_asked_for() {
    let (mut live, key) = (Live::new("N1"), key("G22", 1));
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    let leaf = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    show(&mut live, &key, &leaf);
    let effects = live.handle(after(31 * 86_400_000), Input::Connected);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Offer { .. })), "the id is too old");
}

#[test]
fn an_envelope_that_the_relay_lost_is_offered_again_and_what_it_has_is_compared_at_each_connect() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    relay_accepts(&mut live, &key);
    let effects = live.handle(after(2_000), Input::Connected);
    assert!(effects.contains(&Effect::Reconcile(vec![key.clone()])));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Offer { .. })));
    let effects = live.handle(after(2_100), Input::LostByRelay(vec![key.clone()]));
    assert!(effects.iter().any(|e| matches!(e, Effect::Offer { .. })));
}

#[test]
fn no_consignment_by_the_deadline_raises_an_alarm_that_a_consignment_clears() {
    let mut live = Live::new("N1");
    let key = key("G22", 1);
    prepare(&mut live, sealed(&key, &["H26"], "a", b"a"));
    relay_accepts(&mut live, &key);
    live.handle(after(live.core.policy.consignment_deadline_ms + 5_000), Input::Tick);
    assert!(live.core.alarms.contains_key(&Alarm::Overdue(key.envelope)));
    let consigned = event(&live, &key, EventUri::ContentConsignment, Some("H26"), |_| {});
    show(&mut live, &key, &consigned);
    assert!(live.core.alarms.is_empty());
}

#[test]
fn a_settled_document_leaves_memory_and_its_record_names_all_others() {
    let (mut sender, mut receiver, key) = delivered();
    for recipient in ["H26", "H37"] {
        let leaf = event(&sender, &key, EventUri::ContentConsignment, Some(recipient), |_| {});
        show(&mut sender, &key, &leaf);
        let confirm = Input::Confirm { key: key.clone(), code: code(recipient), refused: None, reply: None };
        receiver.handle(after(400), confirm);
    }
    for live in [&mut sender, &mut receiver] {
        // Not while somebody still has to hear of a leaf.
        live.handle(after(8 * 86_400_000), Input::Tick);
        assert_eq!(live.core.sent().len() + live.core.received().len(), 1);
        live.handle(after(1), Input::Connected);
        let leaves: Vec<u64> = live.core.unsent().keys().copied().collect();
        live.handle(after(2), Input::Pushed { leaves, finally: true });
        live.handle(after(9 * 86_400_000), Input::Tick);
        assert_eq!(live.core.sent().len() + live.core.received().len(), 0);
        let Body::Closed(closed) = NodeRecord::read(&live.journal.last().unwrap().1.state).unwrap() else {
            panic!("the last record closes it")
        };
        // Folding just those records gives the document back.
        let records: BTreeMap<u64, &Record> = live.journal.iter().map(|(place, r)| (place.position, r)).collect();
        let mut again = Core::new(live.core.policy.clone());
        for place in &closed.places {
            let record = records[&place.position];
            again.apply(*place, &record.state, record.leaf.as_deref()).unwrap();
        }
        assert!(again.find_sent(&key).is_some() || again.find_received(&key).is_some());
        live.check_fold();
    }
}

#[test]
fn random_operations_leave_a_state_that_its_journal_folds_to() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let (mut sender, mut receiver) = (Live::new("N1"), Live::new("N2"));
    let recipients = ["H26", "H37"];
    let uris =
        [EventUri::RelayAcceptance, EventUri::ContentConsignment, EventUri::ContentHandover, EventUri::RelayFailure];
    for step in 0..600_u64 {
        let n = u8::try_from(random(20)).unwrap();
        let key = key("G22", n);
        let now = after(step * 1_000);
        let known = sender.core.find_sent(&key).is_some();
        match random(8) {
            0 | 1 => {
                let sealed = sealed(&key, &recipients, &n.to_string(), &[n]);
                sender.handle(now, Input::Prepared { sealed: Box::new(sealed), reply: None });
            }
            2 if known => {
                let recipient = recipients[usize::try_from(random(2)).unwrap()];
                let uri = uris[usize::try_from(random(4)).unwrap()];
                let leaf = event(&sender, &key, uri, Some(recipient), |e| {
                    if uri == EventUri::RelayFailure {
                        e.actor = Actor { code: None, node: node("R1"), role: Role::Relay };
                    }
                });
                show(&mut sender, &key, &leaf);
            }
            3 if known => {
                let leased = Leased { incoming: incoming(&sender, &key, &recipients) };
                receiver.handle(now, Input::Leased(Box::new(leased)));
            }
            4 => {
                let failure = Failure { reason: Reason::ContentMismatch, detail: String::new() };
                let outcome = if random(3) == 0 { Err(failure) } else { Ok(()) };
                let outcomes = vec![(code("H26"), outcome), (code("H37"), Ok(()))];
                let content = Some(Box::new(content(&key, Vec::new())));
                receiver.handle(now, Input::Opened { key, content, outcomes });
            }
            5 => {
                let refused = (random(2) == 0).then(|| "no".to_owned());
                receiver.handle(now, Input::Confirm { key, code: code("H26"), refused, reply: Some(Token(1)) });
            }
            6 => {
                let connected = if random(2) == 0 { Input::Connected } else { Input::Disconnected };
                sender.handle(now, connected.clone());
                receiver.handle(now, connected);
            }
            _ => {
                let leaves: Vec<u64> = receiver.core.unsent().keys().copied().take(3).collect();
                receiver.handle(now, Input::Pushed { leaves, finally: random(2) == 0 });
                receiver.handle(now, Input::Tick);
                sender.handle(now, Input::Tick);
            }
        }
    }
    assert!(receiver.core.received().len() > 5 && sender.core.sent().len() > 5);
    sender.check_fold();
    receiver.check_fold();
}

/// What `live` wrote, in a journal on the disk.
fn ledger_of(live: &Live, folder: &std::path::Path) -> truc_ledger::Ledger {
    let volume = std::sync::Arc::new(truc_ledger::volume::DirVolume::create(folder.join("store")).unwrap());
    let origin = "truc/dev/ordinary/N1/1";
    let tag =
        truc_ledger::StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "node".into(), id: "N1".into() };
    let ledger_key = truc_ledger::LedgerKey::from_seed(origin, &[7; 32]).unwrap();
    let mut nothing = Core::new(Policy::new(node("N1")));
    let settings = truc_ledger::Settings::default();
    let (ledger, _) = truc_ledger::open(volume, tag, origin.into(), ledger_key, settings, &mut nothing).unwrap();
    submit(&ledger, live.journal.iter().map(|(_, record)| record.clone()).collect());
    ledger
}

fn submit(ledger: &truc_ledger::Ledger, records: Vec<Record>) {
    let (done, wait) = std::sync::mpsc::channel();
    ledger.submit(records, Box::new(move |_| done.send(()).unwrap())).unwrap();
    wait.recv_timeout(truc_certs_dev::wait::PATIENCE).unwrap();
}

/// A receiver whose document was handed over by both codes 800 ms after the start, and left memory.
fn handed_over() -> (Live, Key) {
    let (_, mut receiver, key) = delivered();
    for recipient in ["H26", "H37"] {
        let confirm = Input::Confirm { key: key.clone(), code: code(recipient), refused: None, reply: Some(Token(1)) };
        receiver.handle(after(800), confirm);
    }
    let leaves: Vec<u64> = receiver.core.unsent().keys().copied().collect();
    receiver.handle(after(900), Input::Pushed { leaves, finally: true });
    (receiver, key)
}

/// One key, so that an index opened again is its own.
fn word_key() -> crate::words::WordKey {
    static KEY: std::sync::LazyLock<crate::words::WordKey> =
        std::sync::LazyLock::new(|| crate::words::WordKey::of(&truc_signer::StorageKey::generate(1).unwrap()));
    KEY.clone()
}

#[test]
fn a_received_payload_goes_when_its_retention_has_passed_and_never_before() {
    const DAY: u64 = 86_400_000;
    let (mut receiver, key) = handed_over();
    let payload = receiver.core.find_received(&key).unwrap().hashes.payload;
    let body = receiver.core.find_received(&key).unwrap().body;
    let kept = |alone: bool| Input::Kept(Kept { key: key.clone(), body, payload, changed_at: after(800), alone });
    let at = |days: u64, ms: u64| after(days * DAY + ms);
    receiver.core.policy.retention = Some(std::time::Duration::from_millis(30 * DAY));
    assert!(receiver.handle(at(40, 0), kept(true)).is_empty(), "it is open");
    receiver.handle(at(8, 0), Input::Tick);
    assert!(receiver.core.received().is_empty());
    assert!(receiver.handle(at(30, 799), kept(true)).is_empty(), "a millisecond too early");
    receiver.core.policy.retention = None;
    assert!(receiver.handle(at(9_999, 0), kept(true)).is_empty(), "kept for ever");
    receiver.core.policy.retention = Some(std::time::Duration::from_millis(30 * DAY));

    // The walk finds it, once; the record comes before the blob goes.
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger_of(&receiver, folder.path());
    let index = folder.path().join("index");
    let policy = receiver.core.policy.clone();
    let open = || crate::archive::Archive::open(ledger.clone(), index.clone(), policy.clone(), word_key()).unwrap();
    let archive = open();
    assert_eq!(archive.kept(start(), None, 8).unwrap().kept, [], "it came later");
    let page = archive.kept(at(1, 0), None, 1).unwrap();
    let expected = Kept { key: key.clone(), body, payload, changed_at: after(800), alone: true };
    assert_eq!(page, crate::archive::KeptPage { kept: vec![expected], next: Some(body) });
    assert_eq!(archive.kept(at(1, 0), page.next, 1).unwrap().kept, []);
    assert!(archive.needs_payload(&payload));
    archive.close();
    let journaled = receiver.journal.len();
    let effects = receiver.handle(at(30, 800), kept(true));
    assert_eq!(effects, [Effect::Closed { key: key.clone(), payload: Some(payload) }]);
    submit(&ledger, receiver.journal[journaled..].iter().map(|(_, record)| record.clone()).collect());
    for rebuilt in [false, true] {
        let archive = open();
        archive.wait();
        assert_eq!(archive.kept(at(90, 0), None, 8).unwrap().kept, [], "{rebuilt}");
        assert!(!archive.needs_payload(&payload), "the sweep may take it, should the removal have failed");
        let removal = archive.received(&key).unwrap().removed.unwrap();
        assert_eq!((removal.at, removal.kept_ms), (at(30, 800), 30 * DAY));
        assert_eq!(archive.received(&key).unwrap().steps.len(), 8, "the facts stay");
        archive.close();
        std::fs::remove_dir_all(&index).unwrap();
    }
    receiver.check_fold();
    ledger.close();
}

#[test]
fn sealed_bytes_that_another_envelope_repeats_stay_until_the_last_one_goes() {
    let (mut receiver, key) = handed_over();
    // G23 took G22's sealed payload into an envelope of its own.
    let (mut thief, stolen) = (Live::new("N3"), self::key("G23", 9));
    let mut copy = sealed(&stolen, &["H26"], "c", b"c");
    copy.outgoing.payload.sha256 = Digest::of(key.to_string().as_bytes()).0.to_vec();
    prepare(&mut thief, copy);
    let leased = Leased { incoming: incoming(&thief, &stolen, &["H26"]) };
    receiver.handle(after(950), Input::Leased(Box::new(leased)));
    let failure = Failure { reason: Reason::CannotOpen, detail: String::new() };
    let outcomes = vec![(code("H26"), Err(failure))];
    receiver.handle(after(960), Input::Opened { key: stolen.clone(), content: None, outcomes });
    let leaves: Vec<u64> = receiver.core.unsent().keys().copied().collect();
    receiver.handle(after(970), Input::Pushed { leaves, finally: true });
    receiver.handle(after(8 * 86_400_000), Input::Tick);
    assert!(receiver.core.received().is_empty());
    receiver.core.policy.retention = Some(std::time::Duration::from_millis(1));
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger_of(&receiver, folder.path());
    let policy = receiver.core.policy.clone();
    let archive =
        crate::archive::Archive::open(ledger.clone(), folder.path().join("index"), policy, word_key()).unwrap();
    for (left, gone) in [(2, false), (1, true)] {
        let page = archive.kept(after(1_000), None, 8).unwrap();
        assert_eq!(page.kept.len(), left);
        let kept = page.kept[0].clone();
        let journaled = receiver.journal.len();
        let effects = receiver.handle(after(9 * 86_400_000), Input::Kept(kept.clone()));
        let payload = gone.then_some(kept.payload);
        assert_eq!(effects, [Effect::Closed { key: kept.key, payload }], "the genuine one's bytes outlive the copy");
        submit(&ledger, receiver.journal[journaled..].iter().map(|(_, record)| record.clone()).collect());
    }
    archive.close();
    ledger.close();
}

#[test]
fn what_left_memory_is_found_again_with_what_came_later() {
    let (mut sender, _, key) = delivered();
    for recipient in ["H26", "H37"] {
        let leaf = event(&sender, &key, EventUri::ContentConsignment, Some(recipient), |_| {});
        show(&mut sender, &key, &leaf);
    }
    let handover = event(&sender, &key, EventUri::ContentHandover, Some("H26"), |_| {});
    sender.handle(after(1), Input::Connected);
    let leaves: Vec<u64> = sender.core.unsent().keys().copied().collect();
    sender.handle(after(2), Input::Pushed { leaves, finally: true });
    let whole = sender.core.find_sent(&key).unwrap().clone();
    sender.handle(after(9 * 86_400_000), Input::Tick);
    assert!(sender.core.find_sent(&key).is_none());
    // A hand-over and a status that come when the document is no longer in memory.
    show(&mut sender, &key, &handover);
    hear(&mut sender, 70, "H26", status("H26", "G22", key.envelope, StatusCode::Accepted, 1));

    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger_of(&sender, folder.path());
    let index = folder.path().join("index");
    for rebuilt in [false, true] {
        let archive =
            crate::archive::Archive::open(ledger.clone(), index.clone(), Policy::new(node("N1")), word_key()).unwrap();
        archive.wait();
        let found = archive.sent(&key).expect("found through the index");
        assert_eq!(found.hashes, whole.hashes);
        assert_eq!(found.steps.len(), whole.steps.len() + 1, "with the hand-over that came later, {rebuilt}");
        assert_eq!(found.pairs[&code("H26")].state, PairState::HandedOver);
        assert_eq!(found.pairs[&code("H26")].business.current, Some(StatusCode::Accepted));
        assert_eq!(archive.of_envelope(key.envelope).unwrap().0.len(), 1);
        let submission = whole.hashes.unwrap().submission;
        for leaf in [submission, leaf_hash(&handover)] {
            assert_eq!(archive.by_leaf(&leaf).unwrap().0.map(|sent| sent.key), Some(key.clone()));
        }
        assert_eq!(archive.request(&key.sender, "a"), Some((key.clone(), Digest::of(b"a"))));
        assert_eq!(archive.request(&key.sender, "b"), None);
        // A settled envelope of ours needs its payload no more, whether or not its removal came to an end.
        assert!(!archive.needs_payload(&whole.hashes.unwrap().payload));
        archive.close();
        // sled may be deleted at any time (I12).
        std::fs::remove_dir_all(&index).unwrap();
    }
    ledger.close();
}

fn state_of(origin: &str, size: u64, history: &str) -> truc_proto::Checkpoint {
    truc_proto::Checkpoint::new(origin, size, Digest::of(format!("{history} {size}").as_bytes())).unwrap()
}

#[test]
fn a_witness_cosigns_no_earlier_state_and_no_other_of_the_same_size_also_after_a_restart() {
    const ORIGIN: &str = "truc/dev/ordinary/R1/1";
    let mut live = Live::new("N-H26");
    let cosign = |live: &mut Live, checkpoint: truc_proto::Checkpoint| {
        let input = Input::Cosign { node: node("R1"), checkpoint, reply: Some(Token(1)) };
        matches!(answer(&live.handle(start(), input)), Answer::Cosigned)
    };
    assert!(cosign(&mut live, state_of(ORIGIN, 9, "a")));
    assert_eq!(live.journal.len(), 1, "the word is in the journal before the signature");
    for _ in 0..2 {
        assert!(cosign(&mut live, state_of(ORIGIN, 9, "a")), "the same again");
        assert!(!cosign(&mut live, state_of(ORIGIN, 8, "a")));
        assert!(!cosign(&mut live, state_of(ORIGIN, 9, "b")));
        assert_eq!(live.journal.len(), 1);
        live.check_fold();
        live.restart();
    }
    assert!(cosign(&mut live, state_of("truc/dev/ordinary/R1/2", 1, "a")), "a recovery begins another ledger");
    let fork = Input::PeerFork { node: node("R1"), held: Bytes::from_static(b"a"), shown: Bytes::from_static(b"b") };
    live.handle(start(), fork);
    assert!(!cosign(&mut live, state_of("truc/dev/ordinary/R1/2", 5, "a")), "nothing for who showed two histories");
    live.check_fold();
}
