//! Decisions about evidence: taken once, in the order of the table, and passed on; and about nodes' own ledgers.

use bytes::Bytes;
use truc_ledger::Position;
use truc_proto::{Arrival, NodeId, Timestamp};

use super::{
    Core, Turn,
    apply::prefix,
    decide::{record_key, record_mark},
    input::{EvidenceOutcome, Mark, Refused, VerifiedEvidence, VerifiedFinalisation},
    statement,
    table::{Step, step},
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
            self.check_peer(from, &item.mark, &item.batch, turn)?;
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
            return match step(pair.state, item.fact) {
                Step::To(_) | Step::Keep => Ok(false),
                Step::Late(_) | Step::KeepLate => Ok(true),
                Step::Contradiction => Err(EvidenceOutcome::Contradiction),
            };
        }
        if let Some(remembered) = key.and_then(|key| self.remembered.get(&key)) {
            return match (remembered.accepted, remembered.evidence.contains(&seen)) {
                (true, true) => Err(EvidenceOutcome::Taken),
                (true, false) => Ok(false),
                (false, _) => Err(EvidenceOutcome::Contradiction),
            };
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
            self.check_peer(from, &item.mark, &item.batch, turn)?;
            if self.book.known_node(&item.to).is_some_and(|node| self.is_full(node)) {
                return Err(Refused::Busy);
            }
        }
        for item in items {
            let record = records::Finalisation {
                time_ms: now.unix_ms(),
                from: from.to_string(),
                to: item.to.to_string(),
                mark: Some(record_mark(&item.mark)),
                batch: item.batch,
            };
            self.append(Body::Finalisation(record), None, turn);
        }
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, node: &NodeId, mut numbers: Vec<u64>, turn: &mut Turn) {
        let Some(queue) = self.book.known_node(node).and_then(|node| self.queues.get(&node)) else { return };
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
        self.check_peer(node, mark, &note, turn)?;
        let held = self.book.known_node(node).and_then(|node| self.peers.get(&node));
        if held.is_none_or(|held| held.size < mark.size) {
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
        shown: &Bytes,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        let held = self.book.known_node(node).and_then(|node| self.peers.get(&node)).copied();
        let Some(held) = held else { return Ok(()) };
        if held.fork.is_none() {
            if held.size != mark.size || held.root == mark.root {
                return Ok(());
            }
            let record = records::Forked {
                node: node.to_string(),
                held_at: held.position.0,
                shown: shown.clone(),
                mark: Some(record_mark(mark)),
            };
            self.append(Body::Forked(record), None, turn);
        }
        Err(Refused::Forked { node: node.clone() })
    }

    pub(super) fn held_of(&self, node: &NodeId) -> Option<(Position, Mark)> {
        let peer = self.book.known_node(node).and_then(|node| self.peers.get(&node))?;
        Some((peer.position, Mark { size: peer.size, root: peer.root }))
    }
}
