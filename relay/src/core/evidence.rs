//! Decisions about evidence: taken once, in the order of the table, and passed on; and about nodes' own ledgers.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use truc_evidence::Attested;
use truc_ledger::Position;
use truc_proto::{
    Arrival, Digest, NodeId, Timestamp,
    limits::{EVIDENCE_PER_RECIPIENT_MAX, RECALLED_EVIDENCE_MAX},
    wire_v1::EvidenceBatch,
};

use super::{
    Core, Turn,
    apply::prefix,
    decide::{record_key, record_mark},
    input::{EnvelopeKey, EvidenceOutcome, Mark, Refused, VerifiedEvidence, VerifiedFinalisation},
    state::KeyRef,
    statement,
    table::{Fact, Step, moved, step},
    witness::{Judged, judge},
};
use crate::records::{self, Body};

impl Core {
    pub(super) fn evidence(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        items: Vec<VerifiedEvidence>,
        turn: &mut Turn,
    ) -> Result<Vec<EvidenceOutcome>, Refused> {
        for item in &items {
            let note = || checkpoint_of(&item.batch);
            self.check_peer(from, &item.mark, note, turn)?;
            if self.book.known_node(&item.to).is_some_and(|node| self.is_full(node)) {
                return Err(Refused::Busy);
            }
        }
        Ok(items.into_iter().map(|item| self.one_evidence(now, from, item, turn)).collect())
    }

    fn one_evidence(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        item: VerifiedEvidence,
        turn: &mut Turn,
    ) -> EvidenceOutcome {
        let late = match self.judge(from, &item) {
            Ok(late) => late,
            Err(outcome) => return outcome,
        };
        let arrival = Arrival { leaf: item.leaf, node: from.clone(), envelope: item.key.envelope, time: now, late };
        let record = records::Evidence {
            time_ms: now.unix_ms(),
            key: Some(record_key(&item.key)),
            from: from.to_string(),
            to: item.to.to_string(),
            recipient: item.recipient.to_string(),
            fact: item.fact as u32,
            leaf: item.leaf.0.to_vec(),
            mark: Some(record_mark(&item.mark)),
            batch: item.batch,
            late,
            // It answers for what it leased, so it has our acceptance from the lease.
            wants_final: item.fact == Fact::Taken,
        };
        self.append(Body::Evidence(record), Some(statement(arrival)), turn);
        EvidenceOutcome::Taken
    }

    /// Whether to record it, and as late or not; or what to answer without recording anything.
    fn judge(&self, from: &NodeId, item: &VerifiedEvidence) -> Result<bool, EvidenceOutcome> {
        let seen = prefix(&item.leaf);
        let key = self.key_of(&item.key);
        if let Some(envelope) = key.and_then(|key| self.envelopes.get(&key)) {
            if envelope.evidence.contains(&seen) {
                return Err(EvidenceOutcome::Taken);
            }
            let recipient = self.book.known_agency(&item.recipient);
            let pair = envelope.pairs.iter().find(|pair| Some(pair.recipient) == recipient);
            let pair = pair.filter(|pair| pair.node.is_some() && pair.node == self.book.known_node(from));
            let pair = pair.ok_or(EvidenceOutcome::Contradiction)?;
            // What moves the state ends by itself; what does not could be said for ever, each time by another leaf.
            if usize::from(pair.kept) >= EVIDENCE_PER_RECIPIENT_MAX && moved(pair.state, item.fact).is_none() {
                return Err(EvidenceOutcome::TooMuch);
            }
            return match step(pair.state, item.fact) {
                Step::To(_) | Step::Keep => Ok(false),
                Step::Late(_) | Step::KeepLate => Ok(true),
                Step::Contradiction => Err(EvidenceOutcome::Contradiction),
            };
        }
        if let Some(remembered) = key.and_then(|key| self.remembered.get(&key)) {
            let most = EVIDENCE_PER_RECIPIENT_MAX * usize::from(remembered.recipients.max(1));
            return match (remembered.accepted, remembered.evidence.contains(&seen)) {
                (true, true) => Err(EvidenceOutcome::Taken),
                (true, false) if remembered.evidence.len() >= most => Err(EvidenceOutcome::TooMuch),
                (true, false) => Ok(false),
                (false, _) => Err(EvidenceOutcome::Contradiction),
            };
        }
        if let Some(recalled) = key.and_then(|key| self.recalled.get(&key)) {
            if recalled.contains(&seen) {
                return Err(EvidenceOutcome::Taken);
            }
            if recalled.len() >= RECALLED_EVIDENCE_MAX {
                return Err(EvidenceOutcome::TooMuch);
            }
        }
        item.recalled.map(|_| true).ok_or(EvidenceOutcome::UnknownEnvelope)
    }

    pub(super) fn finalised(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        items: Vec<VerifiedFinalisation>,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        for item in &items {
            self.check_peer(from, &item.mark, || item.note.clone(), turn)?;
            if self.book.known_node(&item.to).is_some_and(|node| self.is_full(node)) {
                return Err(Refused::Busy);
            }
        }
        for item in items {
            self.one_finalisation(now, from, item, turn);
        }
        Ok(())
    }

    /// Passes on what was not passed on before. A leaf is final once, and once more whenever others say strictly more of its checkpoint than of every one
    /// before: another tree proves nothing more about it.
    fn one_finalisation(&mut self, now: Timestamp, from: &NodeId, item: VerifiedFinalisation, turn: &mut Turn) {
        let (mut leaves, mut passed_on, mut fresh) = (Vec::new(), Vec::new(), BTreeMap::new());
        for leaf in item.items {
            let shown = Variants::of(&item.to, &leaf.leaf);
            let is_news = |key: &&EnvelopeKey| self.is_news(from, key, &shown, item.attested, &mut fresh);
            let news: Vec<_> = leaf.keys.iter().filter(is_news).collect();
            if news.is_empty() {
                continue;
            }
            let seen = u64::from_be_bytes(shown.seen(item.attested));
            leaves.extend(news.into_iter().map(|key| records::FinalLeaf { key: Some(record_key(key)), seen }));
            passed_on.push(leaf.item);
        }
        if passed_on.is_empty() {
            return;
        }
        let record = records::Finalisation {
            time_ms: now.unix_ms(),
            from: from.to_string(),
            to: item.to.to_string(),
            mark: Some(record_mark(&item.mark)),
            batch: EvidenceBatch { checkpoint: item.note, items: passed_on }.encode_to_vec().into(),
            leaves,
        };
        self.append(Body::Finalisation(record), None, turn);
    }

    /// Whether a final proof says more than all of its leaf that were passed on, and fits. `fresh` is what the same batch brought before it.
    fn is_news(
        &self,
        from: &NodeId,
        key: &EnvelopeKey,
        shown: &Variants,
        attested: Attested,
        fresh: &mut BTreeMap<KeyRef, Vec<[u8; 8]>>,
    ) -> bool {
        let Some(key) = self.key_of(key) else { return false };
        let (finals, recipients) = match (self.envelopes.get(&key), self.remembered.get(&key)) {
            (Some(envelope), _) => (&*envelope.finals, envelope.pairs.len()),
            (None, Some(remembered)) => (&*remembered.finals, usize::from(remembered.recipients.max(1))),
            (None, None) => return false,
        };
        // Unknown so far: then nothing of it was passed on.
        let from = self.book.known_node(from);
        let fresh = fresh.entry(key).or_default();
        let mut of_node = finals.iter().filter(|known| Some(known.from) == from);
        let room = EVIDENCE_PER_RECIPIENT_MAX * recipients;
        if of_node.clone().count() + fresh.len() >= room {
            return false;
        }
        let says_more = |seen: &[u8; 8]| shown.with(seen).is_none_or(|before| attested.exceeds(before));
        if !fresh.iter().all(says_more) || !of_node.all(|known| says_more(&known.seen)) {
            return false;
        }
        fresh.push(shown.seen(attested));
        true
    }

    pub(super) fn acknowledged(&mut self, node: &NodeId, mut numbers: Vec<u64>, turn: &mut Turn) {
        let Some(queue) = self.book.known_node(node).and_then(|node| self.queues.get(&node)) else { return };
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| queue.deliveries.contains_key(number));
        if !numbers.is_empty() {
            self.append(Body::Acknowledged(records::Acknowledged { node: node.to_string(), numbers }), None, turn);
        }
    }

    pub(super) fn peer_seen(
        &mut self,
        node: &NodeId,
        mark: &Mark,
        note: Bytes,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        self.check_peer(node, mark, || note.clone(), turn)?;
        let held = self.book.known_node(node).and_then(|node| self.peers.get(&node));
        if held.is_none_or(|held| held.newest().size < mark.size) {
            let record = records::PeerCheckpoint { node: node.to_string(), mark: Some(record_mark(mark)), note };
            self.append(Body::PeerCheckpoint(record), None, turn);
        }
        Ok(())
    }

    /// Two trees of one size with different roots are two histories: the proof is kept, and nothing more is accepted from that node.
    pub(super) fn check_peer(
        &mut self,
        node: &NodeId,
        mark: &Mark,
        shown: impl FnOnce() -> Bytes,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        let Some(held) = self.book.known_node(node).and_then(|node| self.peers.get(&node)) else { return Ok(()) };
        if held.fork.is_none() {
            let contradicted = held.all().find(|held| held.size == mark.size && held.root != mark.root);
            let Some(contradicted) = contradicted.map(|held| held.position) else { return Ok(()) };
            return Err(self.forked(node, contradicted, mark, shown(), turn));
        }
        Err(Refused::Forked { node: node.clone() })
    }

    /// Keeps both checkpoints.
    pub(super) fn forked(
        &mut self,
        node: &NodeId,
        held_at: Position,
        mark: &Mark,
        shown: Bytes,
        turn: &mut Turn,
    ) -> Refused {
        let record =
            records::Forked { node: node.to_string(), held_at: held_at.0, shown, mark: Some(record_mark(mark)) };
        self.append(Body::Forked(record), None, turn);
        Refused::Forked { node: node.clone() }
    }

    /// A node shows its newest checkpoint and proves that it continues those that were seen. Gives the sizes from which a proof is missing.
    pub(super) fn history_shown(
        &mut self,
        node: &NodeId,
        shown: &Mark,
        note: &Bytes,
        proofs: &[(u64, Vec<Digest>)],
        turn: &mut Turn,
    ) -> Result<Vec<u64>, Refused> {
        self.check_peer(node, shown, || note.clone(), turn)?;
        let Some(peer) = self.book.known_node(node).and_then(|node| self.peers.get(&node)) else {
            return Ok(Vec::new());
        };
        // What is larger than what it shows now cannot be proven by it.
        let Some(newest) = peer.unproven.iter().rfind(|seen| seen.size <= shown.size).copied() else {
            return Ok(Vec::new());
        };
        match judge(peer, shown, proofs) {
            Judged::Contradicts(held_at) => Err(self.forked(node, held_at, shown, note.clone(), turn)),
            Judged::Wanted(from) => Ok(from),
            Judged::Continues => {
                let record = records::PeerProven { node: node.to_string(), size: newest.size };
                self.append(Body::PeerProven(record), None, turn);
                Ok(Vec::new())
            }
        }
    }

    pub(super) fn held_of(&self, node: &NodeId) -> Option<(Position, Mark)> {
        let peer = self.book.known_node(node).and_then(|node| self.peers.get(&node))?;
        let newest = peer.newest();
        Some((newest.position, Mark { size: newest.size, root: newest.root }))
    }
}

/// What tells the final proofs of one leaf to one node apart: what others said of the checkpoint.
struct Variants([([u8; 8], Attested); 4]);

impl Variants {
    fn of(to: &NodeId, leaf: &Digest) -> Self {
        let seen = |attested: Attested| {
            let domain: &[u8] = match (attested.stamped, attested.cosigned) {
                (false, false) => b"truc/relay/final/1",
                (true, false) => b"truc/relay/final-stamped/1",
                (false, true) => b"truc/relay/final-cosigned/1",
                (true, true) => b"truc/relay/final-stamped-cosigned/1",
            };
            prefix(&Digest::of_parts(&[domain, to.as_str().as_bytes(), &leaf.0])).to_be_bytes()
        };
        Self(Attested::ALL.map(|attested| (seen(attested), attested)))
    }

    /// As it is remembered.
    fn seen(&self, attested: Attested) -> [u8; 8] {
        self.0.iter().find(|(_, with)| *with == attested).map(|(seen, _)| *seen).expect("ALL has every set")
    }

    /// What one that is remembered had, where it is of this leaf.
    fn with(&self, seen: &[u8; 8]) -> Option<Attested> {
        self.0.iter().find(|(of, _)| of == seen).map(|(_, attested)| *attested)
    }
}

/// The note under an encoded batch; the bytes themselves where they are none.
fn checkpoint_of(batch: &Bytes) -> Bytes {
    EvidenceBatch::decode(batch.clone()).map_or_else(|_| batch.clone(), |batch| batch.checkpoint)
}
