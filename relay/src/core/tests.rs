use bytes::Bytes;
use prost::Message as _;
use truc_custody::deeds::Deed;
use truc_evidence::Attestation;
use truc_ledger::Record;
use truc_proto::{
    AdminAction, AdminSubject, Administration, Administrator, CallerRole, Digest, Event, LoggedCheckpoint, NodeId,
    Reason, Supersedes,
    wire_v1::{EvidenceBatch, EvidenceItem},
};

use super::*;
use crate::records::{Body, RelayRecord};

const MINUTE_MS: i64 = 60_000;

struct World {
    core: Core,
    journal: Vec<Record>,
    now: Timestamp,
    last: Vec<Effect>,
}

fn settings() -> CoreSettings {
    CoreSettings { relay: "R1".parse().unwrap(), open_envelopes_max: 1_000, lease_ms: 600_000 }
}

fn id(n: u64) -> truc_proto::EnvelopeId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    truc_proto::EnvelopeId::new(start(), random)
}

fn start() -> Timestamp {
    "2026-11-22T02:00:00Z".parse().unwrap()
}

fn key(n: u64) -> EnvelopeKey {
    EnvelopeKey { sender: "G22".parse().unwrap(), envelope: id(n) }
}

fn open(code: &str, node: &str) -> OfferedRecipient {
    OfferedRecipient::Open { code: code.parse().unwrap(), node: node.parse().unwrap() }
}

fn closed(code: &str, successor: &str) -> OfferedRecipient {
    OfferedRecipient::Closed { code: code.parse().unwrap(), successor: Some(successor.parse().unwrap()) }
}

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn offer(n: u64, recipients: Vec<OfferedRecipient>) -> VerifiedOffer {
    let digest = |what: &str| Digest::of(format!("{what} {n}").as_bytes());
    VerifiedOffer {
        key: key(n),
        sender_node: node("N-G22"),
        submission: digest("submission"),
        preamble: digest("preamble"),
        payload: digest("payload"),
        commitment: digest("commitment"),
        payload_length: 100_000,
        blob: true,
        expires: start() + std::time::Duration::from_millis(3_600_000),
        priority: u8::try_from(n % 5).unwrap(),
        status: false,
        recipients,
        supersedes: None,
        mark: Mark { size: 10 + n, root: digest("root") },
        note: Bytes::from_static(b"note"),
        body: Bytes::from_static(b"body"),
    }
}

fn said(n: u64, code: &str, fact: Fact) -> VerifiedEvidence {
    let leaf = Digest::of(format!("{n} {code} {fact:?}").as_bytes());
    VerifiedEvidence {
        key: key(n),
        recipient: code.parse().unwrap(),
        fact,
        leaf,
        to: node("N-G22"),
        mark: Mark { size: 1, root: Digest::of(b"one") },
        batch: Bytes::from_static(b"batch"),
        recalled: None,
    }
}

impl World {
    fn new() -> Self {
        Self { core: Core::new(settings()), journal: Vec::new(), now: start(), last: Vec::new() }
    }

    fn give(&mut self, input: Input) -> Option<Reply> {
        let effects = self.core.handle(self.now, input);
        let mut reply = None;
        self.last.clear();
        for effect in effects {
            match effect {
                Effect::Append(records) => self.journal.extend(records),
                Effect::Reply(r) => reply = Some(r),
                other => self.last.push(other),
            }
        }
        reply
    }

    #[track_caller]
    fn offer(&mut self, offer: VerifiedOffer) -> OfferOutcome {
        match self.give(Input::Offered(Box::new(offer))) {
            Some(Reply::Offer(Ok(outcome))) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn accepted(&mut self, offer: VerifiedOffer) -> Acceptance {
        match self.offer(offer) {
            OfferOutcome::Accepted(at) => at,
            OfferOutcome::Rejected(at) => panic!("rejected: {at:?}"),
        }
    }

    #[track_caller]
    fn rejected(&mut self, offer: VerifiedOffer) -> Event {
        match self.offer(offer) {
            OfferOutcome::Rejected(at) => self.leaf_at(at.position),
            OfferOutcome::Accepted(at) => panic!("accepted: {at:?}"),
        }
    }

    fn leaf_at(&self, position: Position) -> Event {
        let record = &self.journal[usize::try_from(position.0).unwrap()];
        Raw::<Event>::parse(record.leaf.clone().unwrap()).unwrap().into_value()
    }

    #[track_caller]
    fn evidence(&mut self, from: &str, item: VerifiedEvidence) -> EvidenceOutcome {
        match self.give(Input::Evidence { from: node(from), items: vec![item] }) {
            Some(Reply::Evidence(Ok(outcomes))) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn pull(&mut self, id: &str) -> DeliveryPage {
        match self.give(Input::Pull { node: node(id), cursor: Cursor::default(), limit: 100 }) {
            Some(Reply::Page(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn undelivered(&mut self, id: &str) -> usize {
        match self.give(Input::Undelivered { node: node(id) }) {
            Some(Reply::Undelivered(list)) => list.envelopes.len(),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self, n: u64, code: &str) -> Option<PairState> {
        match self.give(Input::Find(vec![key(n)])) {
            Some(Reply::Found(found)) => {
                let live = found.into_iter().next().flatten()?.live?;
                Some(live.pairs.iter().find(|pair| pair.recipient.as_str() == code)?.state)
            }
            other => panic!("{other:?}"),
        }
    }

    fn later(&mut self, ms: i64) {
        self.now = Timestamp::from_unix_ms(self.now.unix_ms() + ms);
    }

    fn refold(&self) -> Core {
        let mut core = Core::new(settings());
        replay(&mut core, &self.journal, 0, 0);
        core
    }

    #[track_caller]
    fn check_fold(&self) {
        assert_eq!(self.refold().snapshot(), self.core.snapshot(), "fold(journal) is the live state");
    }
}

/// Folds the records from `from` on, counting leaves from `leaves`.
fn replay(core: &mut Core, journal: &[Record], from: usize, mut leaves: u64) {
    for (position, record) in journal.iter().enumerate().skip(from) {
        let leaf = record.leaf.as_ref().map(|_| leaves);
        leaves += u64::from(leaf.is_some());
        core.apply(Position(u64::try_from(position).unwrap()), leaf, &record.state).unwrap();
    }
}

#[test]
fn an_envelope_goes_from_waiting_to_handed_over_and_its_payload_goes_when_it_is_consigned() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    assert_eq!(world.last, [Effect::Wake(node("N-H26"))]);
    assert_eq!(world.pull("N-H26").waiting.len(), 1);
    assert_eq!(world.undelivered("N-H26"), 1);
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::Taken)), EvidenceOutcome::Taken);
    assert_eq!(world.state(1, "H26"), Some(PairState::Taken));
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::Consigned)), EvidenceOutcome::Taken);
    assert!(world.last.contains(&Effect::RemovePayload(Digest::of(b"payload 1"))));
    assert_eq!((world.core.open_envelopes(), world.undelivered("N-H26")), (0, 0));
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::HandedOver)), EvidenceOutcome::Taken);
    assert_eq!(world.state(1, "H26"), None, "complete: only its id is remembered");
    let deliveries = world.pull("N-G22").deliveries;
    assert_eq!(deliveries.len(), 3, "taken, consigned, handed over");
    world.check_fold();
}

/// The journal with another number for the fact of its last record, folded.
fn refolded_with_fact(mut journal: Vec<Record>, number: u32) -> Result<World, ApplyError> {
    let last = journal.last_mut().unwrap();
    let mut record = RelayRecord::decode(last.state.as_slice()).unwrap();
    let Some(Body::Evidence(evidence)) = &mut record.body else { panic!("{record:?}") };
    evidence.fact = number;
    last.state = record.encode_to_vec();
    let (last, before) = journal.split_last().unwrap();
    let mut core = Core::new(settings());
    replay(&mut core, before, 0, 0);
    core.apply(Position(u64::try_from(before.len()).unwrap()), None, &last.state)?;
    Ok(World { core, journal, ..World::new() })
}

#[test]
fn a_record_of_what_recipients_once_passed_on_is_folded_and_moves_nothing() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    world.evidence("N-H26", said(1, "H26", Fact::Taken));
    world.evidence("N-H26", said(1, "H26", Fact::Consigned));
    let mut old = refolded_with_fact(world.journal.clone(), 6).unwrap();
    assert_eq!(old.state(1, "H26"), Some(PairState::Taken));
    assert_eq!(world.state(1, "H26"), Some(PairState::Consigned));
    // Acknowledgements name deliveries by number.
    assert_eq!(old.pull("N-G22").deliveries, world.pull("N-G22").deliveries);
    assert_eq!(old.evidence("N-H26", said(1, "H26", Fact::HandedOver)), EvidenceOutcome::Taken);
    assert_eq!(old.pull("N-G22").deliveries.len(), 3);
    assert!(matches!(refolded_with_fact(world.journal.clone(), 7), Err(ApplyError::Field("fact"))));
}

#[test]
fn the_same_offer_gets_the_one_acceptance_also_after_everything_is_over() {
    let mut world = World::new();
    let first = world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let before = world.journal.len();
    let again = world.accepted(offer(1, vec![open("H26", "N-H26")]));
    assert_eq!((again.position, again.leaf_index, world.journal.len()), (first.position, first.leaf_index, before));
    for fact in [Fact::Taken, Fact::Consigned, Fact::HandedOver] {
        world.evidence("N-H26", said(1, "H26", fact));
    }
    assert_eq!(world.accepted(offer(1, vec![open("H26", "N-H26")])).leaf_index, first.leaf_index);
    world.check_fold();
}

#[test]
fn other_content_under_a_used_id_is_refused_with_one_piece_of_evidence() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let forged = || VerifiedOffer { payload: Digest::of(b"other"), ..offer(1, vec![open("H26", "N-H26")]) };
    let event = world.rejected(forged());
    assert_eq!((event.reason, event.payload), (Some(Reason::IdReused), Some(Digest::of(b"other"))));
    let before = world.journal.len();
    world.rejected(forged());
    assert_eq!(world.journal.len(), before, "asked again, the same refusal");
    assert_eq!(world.state(1, "H26"), Some(PairState::Waiting), "the first one is untouched");
    world.check_fold();
}

#[test]
fn the_same_id_of_another_sender_is_another_envelope() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let mut other = offer(1, vec![open("H26", "N-H26")]);
    other.key.sender = "G13".parse().unwrap();
    other.payload = Digest::of(b"another");
    world.accepted(other);
    assert_eq!(world.pull("N-H26").waiting.len(), 2);
}

#[test]
fn a_closed_code_alone_is_refused_and_beside_open_ones_only_its_pair_fails() {
    let mut world = World::new();
    let event = world.rejected(offer(1, vec![closed("H02", "H05")]));
    assert_eq!((event.reason, event.successor), (Some(Reason::ClosedCode), Some("H05".parse().unwrap())));
    let again = world.journal.len();
    world.rejected(offer(1, vec![closed("H02", "H05")]));
    assert_eq!(world.journal.len(), again);

    world.accepted(offer(2, vec![closed("H02", "H05"), open("H26", "N-H26")]));
    assert_eq!((world.state(2, "H02"), world.state(2, "H26")), (Some(PairState::Closed), Some(PairState::Waiting)));
    let deliveries = world.pull("N-G22").deliveries;
    assert!(matches!(deliveries[..], [(_, DeliveryItem::Own(_))]), "the rejection travels as evidence");
    world.check_fold();
}

#[test]
fn the_urgent_go_first_and_a_cursor_misses_nothing_that_comes_later() {
    let mut world = World::new();
    for n in 1..=10 {
        world.accepted(offer(n, vec![open("H26", "N-H26")]));
    }
    let pull = |world: &mut World, cursor, limit| match world.give(Input::Pull { node: node("N-H26"), cursor, limit }) {
        Some(Reply::Page(page)) => page,
        other => panic!("{other:?}"),
    };
    let page = pull(&mut world, Cursor::default(), 3);
    assert_eq!(page.waiting.iter().map(|item| item.priority).collect::<Vec<_>>(), [4, 4, 3]);
    assert!(page.more);
    world.accepted(offer(14, vec![open("H26", "N-H26")])); // hỏa tốc, while the node still reads on
    let rest = pull(&mut world, page.cursor, 100);
    assert_eq!(rest.waiting.first().unwrap().key, key(14));
    assert_eq!(page.waiting.len() + rest.waiting.len(), 11);
    assert!(pull(&mut world, rest.cursor, 100).waiting.is_empty());
}

#[test]
fn what_is_past_its_time_fails_unless_a_node_is_at_work_on_it() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26"), open("H37", "N-H37")]));
    world.later(59 * MINUTE_MS);
    assert!(matches!(world.give(Input::Lease { node: node("N-H37"), key: key(1) }), Some(Reply::Lease(Ok(_)))));
    world.later(2 * MINUTE_MS);
    world.give(Input::Tick);
    assert_eq!((world.state(1, "H26"), world.state(1, "H37")), (Some(PairState::Expired), Some(PairState::Waiting)));
    let event = world.leaf_at(Position(u64::try_from(world.journal.len()).unwrap() - 1));
    assert_eq!((event.event.name(), event.reason), ("RelayFailure", Some(Reason::Expired)));
    assert_eq!(world.core.next_due(), Some(start() + std::time::Duration::from_secs(69 * 60)), "when the lease ends");
    world.later(9 * MINUTE_MS);
    world.give(Input::Tick);
    assert_eq!(world.state(1, "H37"), Some(PairState::Expired));
    assert_eq!(world.core.open_envelopes(), 0);
    world.check_fold();
}

#[test]
fn a_consignment_after_the_failure_is_kept_as_late() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    world.evidence("N-H26", said(1, "H26", Fact::Taken));
    world.later(61 * MINUTE_MS);
    world.give(Input::Tick);
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::Consigned)), EvidenceOutcome::Taken);
    assert_eq!(world.state(1, "H26"), Some(PairState::ConsignedLate));
    let arrival = world.journal.last().unwrap().leaf.clone().unwrap();
    assert!(Raw::<truc_proto::Arrival>::parse(arrival).unwrap().late);
    world.check_fold();
}

#[test]
fn a_node_that_comes_for_its_keys_too_late_learns_why_and_its_word_is_kept_as_late() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    world.later(61 * MINUTE_MS);
    world.give(Input::Tick);
    assert_eq!(
        world.give(Input::Lease { node: node("N-H26"), key: key(1) }),
        Some(Reply::Lease(Err(Refused::NotWaiting)))
    );
    for fact in [Fact::Taken, Fact::Refused] {
        assert_eq!(world.evidence("N-H26", said(1, "H26", fact)), EvidenceOutcome::Taken);
        let arrival = world.journal.last().unwrap().leaf.clone().unwrap();
        assert!(Raw::<truc_proto::Arrival>::parse(arrival).unwrap().late);
    }
    let Some(Reply::Found(found)) = world.give(Input::Find(vec![key(1)])) else { panic!("not found") };
    let state = |id: &str| found[0].as_ref().unwrap().state_for(&node(id), &"H26".parse().unwrap());
    assert_eq!(state("N-H26").and_then(PairState::given_up), Some(Reason::Expired));
    assert_eq!(state("N-H37"), None, "nobody else is told");
    assert_eq!(world.pull("N-G22").deliveries.len(), 3, "failure, acceptance, failure: all go to the sender");
    world.check_fold();
}

#[test]
fn evidence_is_taken_once_and_only_from_the_node_of_the_recipient() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    assert_eq!(world.evidence("N-H37", said(1, "H26", Fact::Consigned)), EvidenceOutcome::Contradiction);
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::Consigned)), EvidenceOutcome::Taken);
    let before = world.journal.len();
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::Consigned)), EvidenceOutcome::Taken);
    assert_eq!(world.journal.len(), before, "the same leaf changes nothing");
    let second = VerifiedEvidence { leaf: Digest::of(b"second"), ..said(1, "H26", Fact::Consigned) };
    assert_eq!(world.evidence("N-H26", second), EvidenceOutcome::Contradiction);
    assert_eq!(world.evidence("N-H26", said(9, "H26", Fact::Consigned)), EvidenceOutcome::UnknownEnvelope);
    world.check_fold();
}

#[test]
fn of_an_envelope_and_the_one_that_replaces_it_only_one_can_arrive() {
    let mut world = World::new();
    let replacing = |n, old| {
        let supersedes = Some(Supersedes { envelope: id(old), recipient: "H26".parse().unwrap() });
        VerifiedOffer { supersedes, ..offer(n, vec![open("H26", "N-H26")]) }
    };
    world.accepted(offer(1, vec![open("H26", "N-H26"), open("H37", "N-H37")]));
    world.accepted(replacing(2, 1));
    assert_eq!(world.state(1, "H26"), Some(PairState::Superseded));
    assert_eq!(world.rejected(replacing(3, 1)).reason, Some(Reason::Superseded), "one stands in for it already");
    world.evidence("N-H26", said(2, "H26", Fact::Taken));
    assert_eq!(world.rejected(replacing(4, 2)).reason, Some(Reason::Superseded), "its keys are out");
    world.evidence("N-H26", said(2, "H26", Fact::Refused));
    world.accepted(replacing(5, 2));
    world.check_fold();
}

#[test]
fn a_payload_that_two_envelopes_share_goes_with_the_second() {
    let mut world = World::new();
    let same = Digest::of(b"same");
    for n in [1, 2] {
        world.accepted(VerifiedOffer { payload: same, ..offer(n, vec![open("H26", "N-H26")]) });
    }
    world.evidence("N-H26", said(1, "H26", Fact::Consigned));
    assert!(!world.last.contains(&Effect::RemovePayload(same)));
    world.evidence("N-H26", said(2, "H26", Fact::Consigned));
    assert!(world.last.contains(&Effect::RemovePayload(same)));
}

#[test]
fn a_node_that_shows_two_histories_is_heard_no_more() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let other = Mark { size: 11, root: Digest::of(b"another history") };
    let forked = VerifiedOffer { mark: other, ..offer(2, vec![open("H26", "N-H26")]) };
    let reply = world.give(Input::Offered(Box::new(forked)));
    assert!(matches!(reply, Some(Reply::Offer(Err(Refused::Forked { .. })))));
    assert!(world.last.contains(&Effect::Alarm(Alarm::PeerForked { node: node("N-G22") })));
    let before = world.journal.len();
    let reply = world.give(Input::Offered(Box::new(offer(3, vec![open("H26", "N-H26")]))));
    assert!(matches!(reply, Some(Reply::Offer(Err(Refused::Forked { .. })))));
    assert_eq!(world.journal.len(), before, "the proof is kept once");
    world.check_fold();
}

#[test]
fn leaves_of_the_relay_are_delivered_under_the_certificate_once_it_has_signed() {
    let mut world = World::new();
    for n in 1..=3 {
        world.accepted(offer(n, vec![open("H26", "N-H26")]));
    }
    assert_eq!(world.core.unsigned_leaves(), 3);
    world.give(Input::Signed { size: 2, note: Bytes::from_static(b"cms"), said: Attestations::default() });
    assert_eq!(world.core.unsigned_leaves(), 1);
    let page = world.pull("N-G22");
    let [(number, DeliveryItem::Final { size: 2, leaves, .. })] = &page.deliveries[..] else {
        panic!("{:?}", page.deliveries)
    };
    assert_eq!(leaves.iter().map(|leaf| leaf.leaf_index).collect::<Vec<_>>(), [0, 1]);
    world.check_fold();
    world.give(Input::Acknowledged { node: node("N-G22"), numbers: vec![*number, 99] });
    assert!(world.pull("N-G22").deliveries.is_empty());
    world.check_fold();
}

const fn what(stamp: Attestation, cosignature: Attestation) -> Attestations {
    Attestations { stamp, cosignature }
}

fn sign(world: &mut World, size: u64, said: Attestations) {
    world.give(Input::Signed { size, note: Bytes::from_static(b"cms"), said });
}

/// The leaves that are delivered finally, acknowledged.
fn finals(world: &mut World) -> Vec<Vec<u64>> {
    let deliveries = world.pull("N-G22").deliveries;
    let numbers = deliveries.iter().map(|(number, _)| *number).collect();
    world.give(Input::Acknowledged { node: node("N-G22"), numbers });
    let leaves = |item: &DeliveryItem| match item {
        DeliveryItem::Final { leaves, .. } => leaves.iter().map(|leaf| leaf.leaf_index).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    deliveries.iter().map(|(_, item)| leaves(item)).collect()
}

#[test]
fn leaves_that_went_out_without_time_stamp_go_again_under_the_first_stamped_tree() {
    const AWAITED: Attestations = what(Attestation::Awaited, Attestation::NotAsked);
    const STAMPED: Attestations = what(Attestation::There, Attestation::NotAsked);
    let mut world = World::new();
    for n in 1..=3 {
        world.accepted(offer(n, vec![open("H26", "N-H26")]));
    }
    sign(&mut world, 2, AWAITED);
    assert_eq!(finals(&mut world), [[0, 1]]);
    assert_eq!(world.core.unattested_leaves(), 2);
    let before = world.journal.len();
    sign(&mut world, 2, AWAITED);
    assert_eq!(world.journal.len(), before, "the same tree without stamp says nothing new");
    world.check_fold();
    // The same tree is stamped later: nothing new need have happened.
    sign(&mut world, 2, STAMPED);
    assert_eq!(finals(&mut world), [[0, 1]]);
    let before = world.journal.len();
    sign(&mut world, 2, STAMPED);
    assert_eq!((world.journal.len(), world.core.unattested_leaves()), (before, 0));
    // A stamped tree that covers more.
    sign(&mut world, 3, AWAITED);
    assert_eq!(finals(&mut world), [[2]]);
    world.accepted(offer(4, vec![open("H26", "N-H26")]));
    world.check_fold();
    sign(&mut world, 4, STAMPED);
    assert_eq!(finals(&mut world), [[3, 2]]);
    assert_eq!(world.core.unattested_leaves(), 0);
    // Authorities that are taken out of the settings are not waited for.
    world.accepted(offer(5, vec![open("H26", "N-H26")]));
    sign(&mut world, 5, AWAITED);
    world.accepted(offer(6, vec![open("H26", "N-H26")]));
    sign(&mut world, 6, Attestations::default());
    assert_eq!((finals(&mut world), world.core.unattested_leaves()), (vec![vec![4], vec![5]], 0));
    world.check_fold();
}

#[test]
fn leaves_that_went_out_with_less_than_was_wanted_go_again_with_more_and_never_with_less() {
    use Attestation::{Awaited, NobodyYet, There};
    let mut world = World::new();
    for n in 1..=4 {
        world.accepted(offer(n, vec![open("H26", "N-H26")]));
    }
    sign(&mut world, 1, what(Awaited, NobodyYet));
    assert_eq!(finals(&mut world), [[0]]);
    sign(&mut world, 2, what(Awaited, There));
    assert_eq!(finals(&mut world), [[1, 0]]);
    assert_eq!(world.core.unattested_leaves(), 2, "both wait for the time-stamp");
    sign(&mut world, 3, what(There, Awaited));
    assert_eq!(finals(&mut world), [[2]], "another set is not more");
    world.check_fold();
    let before = world.journal.len();
    sign(&mut world, 3, what(Awaited, There));
    assert_eq!(world.journal.len(), before, "the same tree never loses what others said");
    sign(&mut world, 3, what(There, There));
    assert_eq!(finals(&mut world), [[0, 1, 2]]);
    assert_eq!(world.core.unattested_leaves(), 0);
    sign(&mut world, 4, what(There, There));
    assert_eq!((finals(&mut world), world.core.unattested_leaves()), (vec![vec![3]], 0));
    world.check_fold();
}

#[test]
fn a_recipients_node_gets_the_relays_acceptance_under_the_certificate_once_it_has_answered_for_the_envelope() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26"), open("H26.18", "N-H26"), open("H37", "N-H37")]));
    world.give(Input::Signed { size: 1, note: Bytes::from_static(b"cms"), said: Attestations::default() });
    assert_eq!(world.pull("N-H26").deliveries.len(), 0, "it may never take it");
    // Both codes of the node at once; and one node when all is over but for the hand-over.
    for code in ["H26", "H26.18"] {
        world.evidence("N-H26", said(1, code, Fact::Taken));
    }
    assert_eq!(world.core.unsigned_leaves(), 1, "one leaf for one node");
    world.check_fold();
    world.give(Input::Signed {
        size: world.core.next_leaf(),
        note: Bytes::from_static(b"cms"),
        said: Attestations::default(),
    });
    let page = world.pull("N-H26");
    let [(_, DeliveryItem::Final { leaves, .. })] = &page.deliveries[..] else { panic!("{:?}", page.deliveries) };
    assert_eq!(leaves.iter().map(|leaf| leaf.leaf_index).collect::<Vec<_>>(), [0]);
    assert_eq!(world.pull("N-H37").deliveries.len(), 0);
    assert_eq!(world.core.unsigned_leaves(), 0);
    // Too late for its keys, it still holds the leaf.
    world.later(61 * MINUTE_MS);
    world.give(Input::Tick);
    world.evidence("N-H37", said(1, "H37", Fact::Taken));
    world.give(Input::Signed {
        size: world.core.next_leaf(),
        note: Bytes::from_static(b"cms"),
        said: Attestations::default(),
    });
    assert!(matches!(world.pull("N-H37").deliveries[..], [(_, DeliveryItem::Final { .. })]));
    world.check_fold();
}

#[test]
fn what_administrators_did_is_written_once_and_after_the_first_directory() {
    let mut world = World::new();
    let deed = Deed {
        action: AdminAction::BackedUp,
        subject: AdminSubject::named("R1.backup"),
        who: Administrator { name: "lan".into(), role: CallerRole::CipherAdmin },
        approved_by: None,
        why: "hằng ngày".into(),
        done: Some(start()),
    };
    let note = Some(Digest::of(b"note"));
    let given = |deed: &Deed, note| Input::Administered { deed: deed.clone(), note };
    assert!(matches!(world.give(given(&deed, note)), Some(Reply::Done(Err(Refused::NoDirectory)))));
    let by = Some("OPERATOR".parse().unwrap());
    let statement = Bytes::from_static(b"root 1");
    let first =
        NewDirectory { version: 1, statement, previous: None, moved: vec![], renewed: vec![], published_by: by };
    let published = world.give(Input::Published(Box::new(first)));
    assert!(matches!(published, Some(Reply::Published(Ok(Acceptance { leaf_index: 0, .. })))));
    let unfit = Deed { why: "two\nlines".into(), ..deed.clone() };
    assert!(matches!(world.give(given(&unfit, None)), Some(Reply::Done(Err(Refused::UnfitDeed { .. })))));
    for _ in 0..2 {
        // The note's file came back, as after a crash before it was removed.
        assert!(matches!(world.give(given(&deed, note)), Some(Reply::Done(Ok(())))));
    }
    let leaves = world.journal.iter().filter_map(|record| Raw::<Administration>::parse(record.leaf.clone()?).ok());
    let leaves: Vec<_> = leaves.map(|leaf| (leaf.action, leaf.who.name.clone(), leaf.node.to_string())).collect();
    let of = |action, who: &str| (action, who.to_owned(), "R1".to_owned());
    assert_eq!(leaves, [of(AdminAction::DirectoryPublished, "OPERATOR"), of(AdminAction::BackedUp, "lan")]);
    world.check_fold();
}

#[test]
fn the_first_directory_is_leaf_0_and_every_later_one_follows() {
    let mut world = World::new();
    let version = |version, previous| {
        let statement = Bytes::from(format!("root {version}"));
        Input::Published(Box::new(NewDirectory {
            version,
            statement,
            previous,
            moved: vec![],
            renewed: vec![],
            published_by: None,
        }))
    };
    let refused = |reply| matches!(reply, Some(Reply::Published(Err(Refused::VersionDoesNotFollow { .. }))));
    assert!(refused(world.give(version(2, Some(Digest::of(b"root 1"))))));
    assert!(matches!(world.give(version(1, None)), Some(Reply::Published(Ok(Acceptance { leaf_index: 0, .. })))));
    assert!(matches!(world.give(version(1, None)), Some(Reply::Published(Ok(Acceptance { leaf_index: 0, .. })))));
    assert!(refused(world.give(version(2, Some(Digest::of(b"forged"))))));
    assert!(matches!(world.give(version(2, Some(Digest::of(b"root 1")))), Some(Reply::Published(Ok(_)))));
    world.check_fold();
    let mut late = World::new();
    late.accepted(offer(1, vec![open("H26", "N-H26")]));
    assert!(refused(late.give(version(1, None))), "the first root stands before everything else");
}

#[test]
fn what_waits_follows_its_code_to_another_node() {
    let mut world = World::new();
    let moved = vec![("H26".parse().unwrap(), node("N-NEW"))];
    let statement = Bytes::from_static(b"root 1");
    let first =
        NewDirectory { version: 1, statement, previous: None, moved: vec![], renewed: vec![], published_by: None };
    world.give(Input::Published(Box::new(first)));
    world.accepted(offer(1, vec![open("H26", "N-OLD"), open("H37", "N-OLD")]));
    world.accepted(offer(2, vec![open("H26", "N-OLD")]));
    let previous = Some(Digest::of(b"root 1"));
    let statement = Bytes::from_static(b"root 2");
    let second = NewDirectory { version: 2, statement, previous, moved, renewed: vec![], published_by: None };
    world.give(Input::Published(Box::new(second)));
    assert_eq!((world.undelivered("N-NEW"), world.undelivered("N-OLD")), (2, 1));
    assert!(matches!(world.give(Input::Lease { node: node("N-OLD"), key: key(2) }), Some(Reply::Lease(Err(_)))));
    world.check_fold();
}

#[test]
fn more_open_work_than_allowed_is_refused_as_busy() {
    let mut world = World::new();
    world.core.settings.open_envelopes_max = 2;
    for n in 1..=2 {
        world.accepted(offer(n, vec![open("H26", "N-H26")]));
    }
    let reply = world.give(Input::Offered(Box::new(offer(3, vec![open("H26", "N-H26")]))));
    assert!(matches!(reply, Some(Reply::Offer(Err(Refused::Busy)))));
    world.accepted(offer(2, vec![open("H26", "N-H26")])); // what is known is still answered
}

#[test]
fn ids_are_forgotten_by_the_journals_own_clock() {
    let mut world = World::new();
    world.accepted(VerifiedOffer { status: true, ..offer(1, vec![open("H26", "N-H26")]) });
    world.evidence("N-H26", said(1, "H26", Fact::Consigned));
    assert!(matches!(world.give(Input::Find(vec![key(1)])), Some(Reply::Found(found)) if found[0].is_some()));
    world.later(ID_MEMORY_MS + 1);
    let next = EnvelopeKey { envelope: truc_proto::EnvelopeId::new(world.now, [1; 10]), ..key(1) };
    let expires = world.now + std::time::Duration::from_secs(60);
    world.accepted(VerifiedOffer { key: next, expires, ..offer(2, vec![open("H26", "N-H26")]) });
    assert!(matches!(world.give(Input::Find(vec![key(1)])), Some(Reply::Found(found)) if found[0].is_none()));
    let recalled = Some(Recall { position: Position(0) });
    let late = VerifiedEvidence { recalled, ..said(1, "H26", Fact::HandedOver) };
    assert_eq!(world.evidence("N-H26", late), EvidenceOutcome::Taken, "found in the journal by the shell");
    world.check_fold();
}

/// A small generator: the test needs variety that can be repeated, not quality.
struct Dice(u64);
impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn random_step(world: &mut World, dice: &mut Dice) {
    let codes = [("H26", "N-A"), ("H37", "N-A"), ("H05", "N-B"), ("H53", "N-C")];
    let (code, at) = codes[usize::try_from(dice.below(4)).unwrap()];
    let n = dice.below(40);
    let input = match dice.below(10) {
        0..=2 => {
            let recipients = codes.iter().filter(|_| dice.below(2) == 0).map(|(code, at)| open(code, at));
            let mut recipients: Vec<_> = recipients.collect();
            if recipients.is_empty() || dice.below(8) == 0 {
                recipients.push(closed("H02", "H05"));
            }
            let supersedes = (dice.below(4) == 0)
                .then(|| Supersedes { envelope: id(dice.below(40)), recipient: code.parse().unwrap() });
            let blob = dice.below(2) == 0;
            Input::Offered(Box::new(VerifiedOffer { supersedes, blob, ..offer(n, recipients) }))
        }
        3..=6 => {
            let fact = Fact::ALL[usize::try_from(dice.below(5)).unwrap()];
            Input::Evidence { from: node(at), items: vec![said(n, code, fact)] }
        }
        7 => Input::Lease { node: node(at), key: key(n) },
        8 if dice.below(2) == 0 => {
            let leaf = format!("leaf {}", dice.below(6));
            let (from, to) = if dice.below(2) == 0 { (at, "N-G22") } else { ("N-G22", at) };
            Input::Finalised { from: node(from), items: vec![finalised(n, &leaf, to, 1)] }
        }
        8 => Input::Signed {
            size: dice.below(world.core.next_leaf() + 1),
            note: Bytes::from_static(b"cms"),
            said: Attestations::from_numbers(
                u32::try_from(dice.below(3)).unwrap(),
                u32::try_from(dice.below(4)).unwrap(),
            ),
        },
        _ => {
            let id = ["N-A", "N-B", "N-G22"][usize::try_from(dice.below(3)).unwrap()];
            let numbers = (0..dice.below(6)).map(|_| dice.below(100)).collect();
            Input::Acknowledged { node: node(id), numbers }
        }
    };
    world.give(input);
    if dice.below(20) == 0 {
        world.later(i64::try_from(dice.below(20)).unwrap() * MINUTE_MS);
        world.give(Input::Tick);
    }
}

fn out_of_service(world: &mut World, codes: &[(&str, &str)]) {
    let codes = codes.iter().map(|(code, to)| (code.parse().unwrap(), Some(to.parse().unwrap()))).collect();
    assert!(matches!(world.give(Input::OutOfService(codes)), Some(Reply::Done(Ok(())))));
    world.give(Input::Tick);
}

/// The failures in the journal: recipient, reason, successor.
fn failures(world: &World) -> Vec<(String, Reason, Option<String>)> {
    let leaves = world.journal.iter().filter_map(|record| record.leaf.clone());
    let events = leaves.filter_map(|leaf| Raw::<Event>::parse(leaf).ok());
    let failed = events.filter(|event| event.event == truc_proto::EventUri::RelayFailure);
    let name = |code: &AgencyId| code.to_string();
    failed.map(|e| (name(e.recipient.as_ref().unwrap()), e.reason.unwrap(), e.successor.as_ref().map(name))).collect()
}

#[test]
fn what_waits_for_a_code_that_goes_out_of_service_is_refused_with_its_successor() {
    let mut world = World::new();
    let all = || vec![open("H02", "N-H02"), open("H26", "N-H26")];
    (1..=4).for_each(|n| _ = world.accepted(offer(n, all())));
    // One waits, one is leased, of one the keys are out, one is delivered.
    for n in 2..=4 {
        world.give(Input::Lease { node: node("N-H02"), key: key(n) });
    }
    world.evidence("N-H02", said(3, "H02", Fact::Taken));
    world.evidence("N-H02", said(4, "H02", Fact::Taken));
    world.evidence("N-H02", said(4, "H02", Fact::Consigned));
    assert_eq!(failures(&world), []);
    out_of_service(&mut world, &[("H02", "H05"), ("H99", "H05")]);
    let refused = |n: usize| vec![("H02".to_owned(), Reason::ClosedCode, Some("H05".to_owned())); n];
    assert_eq!(failures(&world), refused(1), "nobody is at work on the first alone");
    assert_eq!(world.core.next_due(), Some(world.now + std::time::Duration::from_secs(600)), "the end of the lease");
    // Its acceptance crosses the refusal; there are no keys for it, and nothing contradicts.
    assert_eq!(world.evidence("N-H02", said(1, "H02", Fact::Taken)), EvidenceOutcome::Taken);
    assert_eq!(world.evidence("N-H02", said(1, "H02", Fact::Refused)), EvidenceOutcome::Taken);
    assert_eq!(world.evidence("N-H02", said(1, "H02", Fact::Consigned)), EvidenceOutcome::Contradiction);
    world.later(10 * MINUTE_MS);
    world.give(Input::Tick);
    assert_eq!(failures(&world), refused(2), "the lease is over");
    // What was taken comes to its end, and no second one stands in for it.
    assert_eq!(world.evidence("N-H02", said(3, "H02", Fact::Consigned)), EvidenceOutcome::Taken);
    let stands_in = |n: u64, old: u64| VerifiedOffer {
        supersedes: Some(Supersedes { envelope: id(old), recipient: "H02".parse().unwrap() }),
        ..offer(n, vec![open("H05", "N-H05")])
    };
    world.accepted(stands_in(11, 1));
    world.accepted(stands_in(12, 2));
    assert_eq!(world.rejected(stands_in(13, 3)).reason, Some(Reason::Superseded));
    assert_eq!(world.rejected(stands_in(21, 1)).reason, Some(Reason::Superseded), "one is enough");
    // The others of the same envelopes go on.
    for n in 1..=4 {
        assert_eq!(world.evidence("N-H26", said(n, "H26", Fact::Consigned)), EvidenceOutcome::Taken);
    }
    world.check_fold();
}

#[test]
fn an_upload_that_lasts_beyond_the_end_of_service_is_refused_with_the_successor() {
    let mut world = World::new();
    // The directory was asked when the upload began.
    let begun = offer(1, vec![open("H02", "N-H02")]);
    let shared = offer(2, vec![open("H02", "N-H02"), open("H26", "N-H26")]);
    out_of_service(&mut world, &[("H02", "H05")]);
    let rejection = world.rejected(begun);
    assert_eq!((rejection.reason, rejection.successor), (Some(Reason::ClosedCode), Some("H05".parse().unwrap())));
    world.accepted(shared);
    assert_eq!(world.pull("N-H02").waiting.len(), 0);
    assert_eq!(world.pull("N-H26").waiting.len(), 1);
    // Opened again by a later version.
    out_of_service(&mut world, &[]);
    world.accepted(offer(3, vec![open("H02", "N-H02")]));
    world.check_fold();
}

#[test]
fn after_random_work_a_fold_and_a_snapshot_with_its_tail_give_the_live_state() {
    for seed in 1..=30_u64 {
        let (mut world, mut dice) = (World::new(), Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let mut middle = None;
        for step in 0..400 {
            random_step(&mut world, &mut dice);
            if step == 200 {
                middle = Some((world.core.snapshot(), world.journal.len(), world.core.next_leaf()));
            }
        }
        world.check_fold();
        let (entries, records, leaves) = middle.unwrap();
        let mut core = Core::new(settings());
        core.load_snapshot(&mut entries.into_iter()).unwrap();
        replay(&mut core, &world.journal, records, leaves);
        assert_eq!(core.snapshot(), world.core.snapshot(), "seed {seed}: snapshot + tail");
        assert_eq!(core.open_envelopes(), world.core.open_envelopes(), "seed {seed}");
        assert_eq!(core.unsigned_leaves(), world.core.unsigned_leaves(), "seed {seed}");
        for id in ["N-A", "N-B", "N-C"] {
            assert_eq!(core.pull(&node(id), &Cursor::default(), 1_000), world.pull(id), "seed {seed}");
        }
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_never_panics() {
    let mut world = World::new();
    let mut dice = Dice(7);
    for _ in 0..100 {
        random_step(&mut world, &mut dice);
    }
    let entries = world.core.snapshot();
    let load = |entries: Vec<Vec<u8>>| Core::new(settings()).load_snapshot(&mut entries.into_iter());
    assert!(load(entries[..entries.len() - 1].to_vec()).is_err(), "the last entry is missing");
    assert!(load(entries[1..].to_vec()).is_err(), "the first entry is missing");
    for _ in 0..2_000 {
        let mut damaged = entries.clone();
        let entry = usize::try_from(dice.below(u64::try_from(damaged.len()).unwrap())).unwrap();
        let Some(last) = u64::try_from(damaged[entry].len()).unwrap().checked_sub(1) else { continue };
        let at = usize::try_from(dice.below(last + 1)).unwrap();
        damaged[entry][at] ^= 1 << dice.below(8);
        let _ = load(damaged);
    }
}

#[test]
fn any_bytes_as_a_record_are_refused_or_applied_but_never_panic() {
    let mut dice = Dice(11);
    for _ in 0..20_000 {
        let mut core = Core::new(settings());
        let bytes: Vec<u8> = (0..dice.below(60)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        let _ = core.apply(Position(0), Some(0), &bytes);
    }
    let mut world = World::new();
    for _ in 0..60 {
        random_step(&mut world, &mut dice);
    }
    for (position, record) in world.journal.iter().enumerate() {
        for at in 0..record.state.len() {
            let mut core = Core::new(settings());
            replay(&mut core, &world.journal[..position], 0, 0);
            let mut state = record.state.clone();
            state[at] ^= 1 << dice.below(8);
            let leaves = core.next_leaf();
            let _ = core.apply(Position(u64::try_from(position).unwrap()), Some(leaves), &state);
        }
    }
}

fn finalised(n: u64, leaf: &str, to: &str, size: u64) -> VerifiedFinalisation {
    let (leaf, item) = (Digest::of(leaf.as_bytes()), EvidenceItem { index: n, ..EvidenceItem::default() });
    let items = vec![FinalisedLeaf { keys: vec![key(n)], leaf, item }];
    let mark = Mark { size, root: Digest::of(&size.to_be_bytes()) };
    VerifiedFinalisation { to: node(to), mark, note: Bytes::from_static(b"note"), attested: Attested::NONE, items }
}

#[track_caller]
fn finalise(world: &mut World, from: &str, items: Vec<VerifiedFinalisation>) {
    let reply = world.give(Input::Finalised { from: node(from), items });
    assert!(matches!(reply, Some(Reply::Done(Ok(())))), "{reply:?}");
}

#[test]
fn a_final_proof_is_written_and_passed_on_once() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26"), open("H37", "N-H37")]));
    let deliveries = |world: &mut World, id| world.pull(id).deliveries.len();
    let both = || vec![finalised(1, "s", "N-H26", 20), finalised(1, "s", "N-H37", 20)];
    finalise(&mut world, "N-G22", both());
    assert_eq!((deliveries(&mut world, "N-H26"), deliveries(&mut world, "N-H37")), (1, 1));
    let before = world.journal.len();
    for size in 20..1_020 {
        finalise(&mut world, "N-G22", both());
        // Under a later tree it says nothing more about the leaf.
        finalise(&mut world, "N-G22", vec![finalised(1, "s", "N-H26", size + 1)]);
    }
    finalise(&mut world, "N-G22", vec![finalised(9, "s", "N-H26", 20)]); // an envelope that nobody knows
    assert_eq!(world.journal.len(), before);
    world.check_fold();
    let mut twice = finalised(1, "t", "N-H26", 21);
    twice.items.push(twice.items[0].clone());
    finalise(&mut world, "N-G22", vec![twice]);
    let Body::Finalisation(record) = RelayRecord::decode(&*world.journal.last().unwrap().state).unwrap().body.unwrap()
    else {
        panic!("the last record is the finalisation")
    };
    assert_eq!(record.leaves.len(), 1, "twice in one request is once");
    assert_eq!(EvidenceBatch::decode(record.batch).unwrap().items.len(), 1);
    // After the envelope is complete it is remembered still.
    for fact in [Fact::Taken, Fact::Consigned, Fact::HandedOver] {
        for (code, at) in [("H26", "N-H26"), ("H37", "N-H37")] {
            world.evidence(at, said(1, code, fact));
        }
    }
    finalise(&mut world, "N-H26", vec![finalised(1, "1 H26 HandedOver", "N-G22", 5)]);
    let before = world.journal.len();
    finalise(&mut world, "N-G22", both());
    finalise(&mut world, "N-H26", vec![finalised(1, "1 H26 HandedOver", "N-G22", 6)]);
    assert_eq!(world.journal.len(), before);
    world.check_fold();
}

#[test]
fn a_final_proof_is_passed_on_again_when_others_say_strictly_more_of_it() {
    let [none, stamped, cosigned, both] = Attested::ALL;
    for (first, other) in [(stamped, cosigned), (cosigned, stamped)] {
        let mut world = World::new();
        world.accepted(offer(1, vec![open("H26", "N-H26")]));
        let mut passed_on = |attested, size| {
            let before = world.journal.len();
            let item = VerifiedFinalisation { attested, ..finalised(1, "s", "N-H26", size) };
            finalise(&mut world, "N-G22", vec![item]);
            world.journal.len() - before
        };
        for (attested, wanted) in [(none, 1), (none, 0), (first, 1), (first, 0), (other, 0), (none, 0), (both, 1)] {
            assert_eq!((20..22).map(|size| passed_on(attested, size)).sum::<usize>(), wanted, "{attested:?}");
        }
        assert!(Attested::ALL.into_iter().all(|less| passed_on(less, 30) == 0));
        assert_eq!(world.pull("N-H26").deliveries.len(), 3);
        world.check_fold();
    }
    // In one request, too.
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let item = |attested| VerifiedFinalisation { attested, ..finalised(1, "s", "N-H26", 20) };
    finalise(&mut world, "N-G22", [both, none, stamped, both].map(item).into());
    assert_eq!(world.pull("N-H26").deliveries.len(), 1);
    world.check_fold();
}

#[test]
fn one_node_that_never_stops_finalising_does_not_silence_another() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let before = world.journal.len();
    for n in 0..1_000 {
        finalise(&mut world, "N-H26", vec![finalised(1, &format!("made up {n}"), "N-G22", 9)]);
    }
    assert_eq!(world.journal.len() - before, limits::EVIDENCE_PER_RECIPIENT_MAX);
    finalise(&mut world, "N-G22", vec![finalised(1, "submission", "N-H26", 20)]);
    assert_eq!(world.journal.len() - before, limits::EVIDENCE_PER_RECIPIENT_MAX + 1);
    world.check_fold();
}

#[test]
fn evidence_that_moves_nothing_ends_and_what_moves_is_still_taken() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26"), open("H37", "N-H37")]));
    let another = |n: u64, fact| VerifiedEvidence { leaf: Digest::of(&n.to_be_bytes()), ..said(1, "H26", fact) };
    for fact in [Fact::Taken, Fact::HandoverFailed] {
        let before = world.journal.len();
        let outcomes: Vec<_> = (0..1_000).map(|n| world.evidence("N-H26", another(n, fact))).collect();
        assert!(world.journal.len() - before <= limits::EVIDENCE_PER_RECIPIENT_MAX + 1);
        assert_eq!(outcomes[999], EvidenceOutcome::TooMuch);
    }
    assert_eq!(world.evidence("N-H26", said(1, "H26", Fact::HandedOver)), EvidenceOutcome::Taken);
    assert_eq!(world.evidence("N-H37", said(1, "H37", Fact::Consigned)), EvidenceOutcome::Taken, "not its fault");
    assert_eq!(world.evidence("N-H37", said(1, "H37", Fact::HandedOver)), EvidenceOutcome::Taken);
    let before = world.journal.len();
    for n in 2_000..3_000 {
        world.evidence("N-H26", another(n, Fact::Taken));
    }
    assert!(world.journal.len() - before <= 2 * limits::EVIDENCE_PER_RECIPIENT_MAX, "complete, and bounded still");
    world.check_fold();
}

#[test]
fn contents_invented_under_one_id_are_refused_with_evidence_so_many_times_and_then_by_the_last_one() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    let forged = |n: u64| VerifiedOffer { payload: Digest::of(&n.to_be_bytes()), ..offer(1, vec![]) };
    let before = world.journal.len();
    for turn in 0..500 {
        assert_eq!(world.rejected(forged(turn % 2)).payload, Some(Digest::of(&(turn % 2).to_be_bytes())));
    }
    assert_eq!(world.journal.len() - before, 2, "two contents in turn are refused once each");
    world.check_fold();
    for n in 0..1_000 {
        assert_eq!(world.rejected(forged(n)).reason, Some(Reason::IdReused));
    }
    assert_eq!(world.journal.len() - before, limits::REFUSALS_PER_ID_MAX);
    world.check_fold();
}

#[test]
fn late_evidence_of_a_forgotten_envelope_is_written_once() {
    let mut world = World::new();
    let recalled = Some(Recall { position: Position(0) });
    let late = |fact| VerifiedEvidence { recalled, ..said(1, "H26", fact) };
    for _ in 0..1_000 {
        assert_eq!(world.evidence("N-H26", late(Fact::HandedOver)), EvidenceOutcome::Taken);
    }
    assert_eq!(world.journal.len(), 1);
    assert_eq!(world.evidence("N-H26", late(Fact::Consigned)), EvidenceOutcome::Taken);
    assert_eq!(world.journal.len(), 2);
    world.check_fold();
}

#[test]
fn an_acknowledgement_names_each_delivery_once() {
    let mut world = World::new();
    world.accepted(offer(1, vec![open("H26", "N-H26")]));
    world.evidence("N-H26", said(1, "H26", Fact::Taken));
    let number = world.pull("N-G22").deliveries[0].0;
    let before = world.journal.len();
    for _ in 0..1_000 {
        world.give(Input::Acknowledged { node: node("N-G22"), numbers: vec![number; 1_000] });
    }
    assert_eq!(world.journal.len(), before + 1);
    let record = RelayRecord::decode(&*world.journal.last().unwrap().state).unwrap();
    assert!(matches!(record.body, Some(Body::Acknowledged(said)) if said.numbers == [number]));
    world.check_fold();
}

/// A node's tree of `size` leaves, the same from leaf to leaf unless its `history` is another.
fn tree(history: &str, size: u64) -> truc_ledger::merkle::MemTree {
    let shared = |n: &u64| *n < 4;
    let leaf = |n: u64| if shared(&n) { format!("leaf {n}") } else { format!("{history} {n}") };
    truc_ledger::merkle::MemTree::of((0..size).map(|n| leaf(n).into_bytes()))
}

fn mark_of(history: &str, size: u64) -> Mark {
    Mark { size, root: tree(history, size).root() }
}

fn seen(world: &mut World, history: &str, size: u64) {
    let note = Bytes::from(format!("{history} {size}"));
    let reply = world.give(Input::PeerSeen { node: node("N-A"), mark: mark_of(history, size), note });
    assert!(matches!(reply, Some(Reply::Done(Ok(())))), "{reply:?}");
}

fn show(world: &mut World, history: &str, size: u64, from: &[u64]) -> Result<Vec<u64>, Refused> {
    let whole = tree(history, size);
    let proofs = from.iter().map(|from| (*from, whole.consistency(*from, size).unwrap())).collect();
    let note = Bytes::from(format!("{history} {size}"));
    match world.give(Input::HistoryShown { node: node("N-A"), mark: mark_of(history, size), note, proofs }) {
        Some(Reply::History(wanted)) => wanted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_history_is_proven_from_every_checkpoint_seen_and_written_once() {
    let mut world = World::new();
    assert_eq!(show(&mut world, "a", 9, &[]), Ok(vec![]), "nothing was seen: nothing to prove");
    for size in [0, 3, 5, 8] {
        seen(&mut world, "a", size);
    }
    assert_eq!(show(&mut world, "a", 9, &[]), Ok(vec![3, 5, 8]));
    assert_eq!(show(&mut world, "a", 9, &[3, 8]), Ok(vec![5]));
    assert_eq!(show(&mut world, "a", 4, &[3]), Ok(vec![]), "what it shows is older than the rest: that waits");
    world.check_fold();
    let before = world.journal.len();
    assert_eq!(show(&mut world, "a", 9, &[3, 5, 8]), Ok(vec![]));
    assert_eq!(world.journal.len(), before + 1);
    for _ in 0..1_000 {
        assert_eq!(show(&mut world, "a", 9, &[3, 5, 8]), Ok(vec![]));
    }
    assert_eq!(world.journal.len(), before + 1);
    seen(&mut world, "a", 12);
    assert_eq!(show(&mut world, "a", 12, &[]), Ok(vec![8]));
    world.check_fold();
}

#[test]
fn a_history_that_does_not_continue_one_seen_before_is_a_fork_and_both_are_kept() {
    let mut world = World::new();
    seen(&mut world, "a", 6);
    seen(&mut world, "b", 10); // larger, so its root alone contradicts nothing
    assert_eq!(show(&mut world, "b", 12, &[10]), Ok(vec![6]));
    let forked = Err(Refused::Forked { node: node("N-A") });
    assert_eq!(show(&mut world, "b", 12, &[6, 10]), forked);
    assert_eq!(world.last, [Effect::Alarm(Alarm::PeerForked { node: node("N-A") })]);
    let record = RelayRecord::decode(&*world.journal.last().unwrap().state).unwrap();
    let Some(Body::Forked(fork)) = record.body else { panic!("{record:?}") };
    assert_eq!((fork.held_at, fork.shown), (0, Bytes::from_static(b"b 12")));
    let before = world.journal.len();
    assert_eq!(show(&mut world, "a", 12, &[6]), forked, "also when it tells the first one again");
    assert_eq!(world.journal.len(), before);
    world.check_fold();
}

#[test]
fn of_very_many_checkpoints_the_oldest_and_the_newest_are_kept() {
    let mut world = World::new();
    for size in 1..=100 {
        seen(&mut world, "a", size);
    }
    let wanted = show(&mut world, "a", 101, &[]).unwrap();
    assert_eq!(wanted.len(), limits::PEER_MARKS_MAX);
    assert_eq!((wanted[0], wanted[1], *wanted.last().unwrap()), (1, 2, 100));
    world.check_fold();
    assert_eq!(show(&mut world, "a", 101, &wanted), Ok(vec![]));
    assert_eq!(world.core.held_of(&node("N-A")).unwrap().1, mark_of("a", 100));
    world.check_fold();
}

fn cosign(world: &mut World, history: &str, size: u64, from: &[u64]) -> Result<CosignOutcome, Refused> {
    let whole = tree(history, size);
    let proofs = from.iter().map(|from| (*from, whole.consistency(*from, size).unwrap())).collect();
    let (mark, note) = (mark_of(history, size), Bytes::from(format!("{history} {size}")));
    let input = Input::Cosign { node: node("N-A"), origin: "truc/dev/ordinary/N-A/1".into(), mark, note, proofs };
    match world.give(input) {
        Some(Reply::Cosign(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Sizes of the node's checkpoints in the relay's own ledger.
fn logged(world: &World) -> Vec<u64> {
    let leaves = world.journal.iter().filter_map(|record| record.leaf.clone());
    leaves.map(|leaf| Raw::<LoggedCheckpoint>::parse(leaf).unwrap().into_value().size).collect()
}

#[test]
fn a_witness_cosigns_what_continues_all_that_it_saw_and_its_word_is_in_the_journal_first() {
    let mut world = World::new();
    assert_eq!(cosign(&mut world, "a", 5, &[]), Ok(CosignOutcome::Granted), "nothing was seen: nothing to prove");
    assert_eq!(world.journal.len(), 1);
    seen(&mut world, "a", 7);
    assert_eq!(cosign(&mut world, "a", 9, &[]), Ok(CosignOutcome::Wanted(vec![5, 7])));
    assert_eq!(cosign(&mut world, "a", 9, &[5]), Ok(CosignOutcome::Wanted(vec![7])));
    let before = world.journal.len();
    assert_eq!(cosign(&mut world, "a", 9, &[5, 7]), Ok(CosignOutcome::Granted));
    assert_eq!(world.journal.len(), before + 1);
    world.check_fold();
    // The same again says nothing new.
    assert_eq!(cosign(&mut world, "a", 9, &[]), Ok(CosignOutcome::Granted));
    assert_eq!(world.journal.len(), before + 1);
    assert_eq!(world.core.held_of(&node("N-A")).unwrap().1, mark_of("a", 9), "what it cosigned it holds");
    // What was seen later and not proven does not hinder a smaller one that is.
    seen(&mut world, "a", 20);
    assert_eq!(cosign(&mut world, "a", 12, &[9]), Ok(CosignOutcome::Granted));
    assert_eq!(show(&mut world, "a", 21, &[]), Ok(vec![12, 20]));
    world.check_fold();
}

#[test]
fn a_witness_never_goes_back_also_not_after_a_restart_or_from_a_snapshot() {
    let mut world = World::new();
    cosign(&mut world, "a", 9, &[]).unwrap();
    let refuses = |world: &mut World| {
        let before = world.journal.len();
        assert_eq!(cosign(world, "a", 8, &[]), Ok(CosignOutcome::Behind));
        assert_eq!(cosign(world, "b", 3, &[]), Ok(CosignOutcome::Behind));
        assert_eq!(world.journal.len(), before);
    };
    refuses(&mut world);
    world.core = world.refold();
    refuses(&mut world);
    let entries = world.core.snapshot();
    world.core = Core::new(settings());
    world.core.load_snapshot(&mut entries.into_iter()).unwrap();
    refuses(&mut world);
    let forked = Err(Refused::Forked { node: node("N-A") });
    assert_eq!(cosign(&mut world, "b", 9, &[]), forked, "another tree of the size that it cosigned");
    assert_eq!(cosign(&mut world, "a", 9, &[]), forked, "and nothing more for who showed two histories");
    world.check_fold();
}

#[test]
fn a_witness_finds_out_a_larger_tree_of_another_history() {
    let mut world = World::new();
    cosign(&mut world, "a", 9, &[]).unwrap();
    assert_eq!(cosign(&mut world, "b", 12, &[9]), Err(Refused::Forked { node: node("N-A") }));
    assert_eq!(world.last, [Effect::Alarm(Alarm::PeerForked { node: node("N-A") })]);
    world.check_fold();
}

#[test]
fn at_most_one_checkpoint_of_a_node_a_minute_stands_in_the_relays_ledger() {
    let mut world = World::new();
    cosign(&mut world, "a", 5, &[]).unwrap();
    let mut before = 5;
    for size in 6..=20 {
        world.later(20_000);
        cosign(&mut world, "a", size, &[before]).unwrap();
        before = size;
    }
    assert_eq!(logged(&world), [5, 8, 11, 14, 17, 20]);
    world.core = world.refold();
    cosign(&mut world, "a", 21, &[20]).unwrap();
    assert_eq!(logged(&world).last(), Some(&20), "also after a restart");
    // Shown again later, without a newer one: now it is noted, once.
    world.later(MINUTE_MS);
    for _ in 0..3 {
        cosign(&mut world, "a", 21, &[]).unwrap();
        world.later(MINUTE_MS);
    }
    assert_eq!(logged(&world)[6..], [21]);
    world.check_fold();
}
