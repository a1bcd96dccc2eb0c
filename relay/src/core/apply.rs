//! The fold: one record changes the state. The same code runs live, in recovery and in the simulator.

use std::collections::BTreeMap;

use prost::Message;
use truc_ledger::Position;
use truc_proto::{
    AgencyId, Digest, EnvelopeId, NodeId, Timestamp,
    limits::{FINAL_LEAVES_PER_DELIVERY_MAX, RECALLED_ENVELOPES_MAX, RELAY_UNATTESTED_MAX},
};

use super::{
    Core, DirectoryMark, ID_MEMORY_MS, SignedMark,
    input::{Alarm, Effect},
    state::{AgencyRef, Delivery, Envelope, Final, KeyRef, NodeRef, OwnLeaf, Pair, Peer, Remembered, Seen},
    table::{Fact, PASSED_ON, PairState, moved},
};
use crate::records::{self, Body, RelayRecord};

/// A record that this version cannot read: it was written by a later one, or it is not the relay's.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Not a record.
    #[error("not a record of a relay")]
    Decode(#[from] prost::DecodeError),
    /// A kind of record that a later version made.
    #[error("a kind of record that this version does not know; start the version that wrote it")]
    UnknownKind,
    /// A field is missing or is not what it should be.
    #[error("the record's {0} is missing or malformed")]
    Field(&'static str),
    /// Gaps or repetitions.
    #[error("the record stands at position {found}, expected was {expected}")]
    OutOfOrder {
        /// Where it stands.
        found: Position,
        /// Where it should.
        expected: Position,
    },
}

impl Core {
    /// Takes the next record of the journal.
    ///
    /// # Errors
    /// When it cannot be understood; the start must stop then.
    pub fn apply(&mut self, position: Position, leaf_index: Option<u64>, state: &[u8]) -> Result<(), ApplyError> {
        if position != self.next_position {
            return Err(ApplyError::OutOfOrder { found: position, expected: self.next_position });
        }
        let body = RelayRecord::decode(state)?.body.ok_or(ApplyError::UnknownKind)?;
        self.apply_body(position, leaf_index, &body, &mut Vec::new())
    }

    pub(super) fn apply_body(
        &mut self,
        position: Position,
        leaf_index: Option<u64>,
        body: &Body,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        match body {
            Body::Accepted(record) => self.apply_accepted(position, index(leaf_index)?, record, after)?,
            Body::Rejected(record) => self.apply_rejected(position, index(leaf_index)?, record, after)?,
            Body::Evidence(record) => self.apply_evidence(position, record, after)?,
            Body::Finalisation(record) => self.apply_finalisation(position, record, after)?,
            Body::Acknowledged(record) => self.apply_acknowledged(record)?,
            Body::Failed(record) => self.apply_failed(position, index(leaf_index)?, record, after)?,
            Body::Signed(record) => self.apply_signed(position, record, after),
            Body::Directory(record) => self.apply_directory(position, index(leaf_index)?, record, after)?,
            Body::PeerCheckpoint(record) => {
                let node = self.node(&record.node)?;
                self.see_peer(node, record.mark.as_ref(), position)?;
            }
            Body::Forked(record) => self.apply_forked(position, record, after)?,
            Body::PeerProven(record) => {
                let node = self.node(&record.node)?;
                self.peers.get_mut(&node).ok_or(ApplyError::Field("node"))?.prove(record.size);
            }
            Body::Cosigned(record) => self.apply_cosigned(position, leaf_index, record)?,
            Body::OriginBegun(record) => self.advance(record.time_ms),
            Body::Administered(record) => self.apply_administered(record)?,
        }
        self.next_position = position.plus(1);
        if let Some(leaf_index) = leaf_index {
            self.next_leaf = leaf_index + 1;
        }
        Ok(())
    }

    fn apply_accepted(
        &mut self,
        position: Position,
        leaf_index: u64,
        record: &records::Accepted,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let key = self.key(record.key.as_ref())?;
        let sender_node = self.node(&record.sender_node)?;
        let mut pairs = Vec::with_capacity(record.recipients.len());
        for recipient in &record.recipients {
            let node = if recipient.node.is_empty() { None } else { Some(self.node(&recipient.node)?) };
            let state = if node.is_some() { PairState::Waiting } else { PairState::Closed };
            pairs.push(Pair { recipient: self.agency(&recipient.code)?, node, state, kept: 0 });
        }
        if !record.supersedes.is_empty() {
            let envelope = EnvelopeId::from_bytes(&record.supersedes).map_err(|_| ApplyError::Field("supersedes"))?;
            let old = KeyRef { envelope, sender: key.sender };
            let recipient = self.agency(&record.superseded_recipient)?;
            self.superseded.insert((old, recipient));
        }
        let envelope = Envelope {
            sender_node,
            position,
            leaf_index,
            submission: digest(&record.submission)?,
            preamble: digest(&record.preamble)?,
            payload: digest(&record.payload)?,
            commitment: digest(&record.commitment)?,
            payload_length: record.payload_length,
            expires: Timestamp::from_unix_ms(record.expires_ms),
            priority: u8::try_from(record.priority).ok().filter(|p| *p <= 4).ok_or(ApplyError::Field("priority"))?,
            status: record.status,
            blob: record.blob,
            pairs: pairs.into(),
            evidence: Vec::new(),
            finals: Vec::new(),
            counted_open: true,
        };
        self.see_peer(sender_node, record.mark.as_ref(), position)?;
        self.own_leaf(sender_node, leaf_index, OwnLeaf { position, envelope: key.envelope });
        if envelope.blob {
            *self.payloads.entry(envelope.payload).or_default() += 1;
        }
        self.due.insert((envelope.expires, key));
        self.open += 1;
        for node in nodes_of(&envelope) {
            let queue = self.queue(node);
            queue.waiting.insert(envelope.rank(), key);
            queue.undelivered.insert(key);
            queue.changes += 1;
            after.push(Effect::Wake(self.book.node_name(node).clone()));
        }
        let was_open = envelope.is_open();
        self.envelopes.insert(key, envelope);
        if !was_open {
            self.settle(key, after);
        }
        Ok(())
    }

    fn apply_rejected(
        &mut self,
        position: Position,
        leaf_index: u64,
        record: &records::Rejected,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let key = self.key(record.key.as_ref())?;
        let node = self.node(&record.sender_node)?;
        self.own_leaf(node, leaf_index, OwnLeaf { position, envelope: key.envelope });
        if !record.answered {
            self.deliver(node, Delivery::Own { position, leaf_index, envelope: key.envelope }, after);
        }
        if record.recipient.is_empty() || record.answered {
            let refusal = Remembered {
                content: digest(&record.content)?,
                accepted: false,
                position,
                leaf_index,
                undelivered: Box::default(),
                evidence: Box::default(),
                finals: Box::default(),
                recipients: 0,
            };
            if self.envelopes.contains_key(&key) || self.remembered.contains_key(&key) {
                self.reused.entry(key).or_default().push(refusal);
            } else {
                self.remembered.insert(key, refusal);
            }
        }
        Ok(())
    }

    fn apply_evidence(
        &mut self,
        position: Position,
        record: &records::Evidence,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let key = self.key(record.key.as_ref())?;
        let (from, to) = (self.node(&record.from)?, self.node(&record.to)?);
        let recipient = self.agency(&record.recipient)?;
        let fact = Fact::from_number(record.fact);
        // It moves nothing, but was forwarded: deliveries behind it keep their numbers, which acknowledgements name.
        if fact.is_none() && record.fact != PASSED_ON {
            return Err(ApplyError::Field("fact"));
        }
        let seen = prefix(&digest(&record.leaf)?);
        self.see_peer(from, record.mark.as_ref(), position)?;
        self.deliver(to, Delivery::Forwarded { from, position }, after);
        if record.wants_final
            && let Some((position, leaf_index)) = self.acceptance_of(&key)
        {
            self.own_leaf(from, leaf_index, OwnLeaf { position, envelope: key.envelope });
        }
        if let Some(envelope) = self.envelopes.get_mut(&key) {
            envelope.evidence.push(seen);
            let Some(pair) = envelope.pairs.iter_mut().find(|pair| pair.recipient == recipient) else { return Ok(()) };
            match fact.and_then(|fact| moved(pair.state, fact)) {
                Some(next) => {
                    pair.state = next;
                    self.settle(key, after);
                }
                None => pair.kept = pair.kept.saturating_add(1),
            }
        } else if let Some(remembered) = self.remembered.get_mut(&key) {
            let mut evidence = std::mem::take(&mut remembered.evidence).into_vec();
            evidence.push(seen);
            remembered.evidence = evidence.into();
        } else {
            self.recalled.entry(key).or_default().push(seen);
            if self.recalled.len() > RECALLED_ENVELOPES_MAX {
                self.recalled.pop_first();
            }
        }
        Ok(())
    }

    fn apply_finalisation(
        &mut self,
        position: Position,
        record: &records::Finalisation,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let (from, to) = (self.node(&record.from)?, self.node(&record.to)?);
        self.see_peer(from, record.mark.as_ref(), position)?;
        self.deliver(to, Delivery::Forwarded { from, position }, after);
        for leaf in &record.leaves {
            let key = self.key(leaf.key.as_ref())?;
            let passed_on = Final { from, seen: leaf.seen.to_be_bytes() };
            if let Some(envelope) = self.envelopes.get_mut(&key) {
                envelope.finals.push(passed_on);
            } else if let Some(remembered) = self.remembered.get_mut(&key) {
                let mut finals = std::mem::take(&mut remembered.finals).into_vec();
                finals.push(passed_on);
                remembered.finals = finals.into();
            }
        }
        Ok(())
    }

    fn apply_acknowledged(&mut self, record: &records::Acknowledged) -> Result<(), ApplyError> {
        let node = self.node(&record.node)?;
        let queue = self.queue(node);
        for number in &record.numbers {
            queue.deliveries.remove(number);
        }
        Ok(())
    }

    fn apply_failed(
        &mut self,
        position: Position,
        leaf_index: u64,
        record: &records::Failed,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let key = self.key(record.key.as_ref())?;
        let recipient = self.agency(&record.recipient)?;
        let Some(envelope) = self.envelopes.get_mut(&key) else { return Err(ApplyError::Field("key")) };
        let sender_node = envelope.sender_node;
        if let Some(pair) = envelope.pairs.iter_mut().find(|pair| pair.recipient == recipient && pair.state.is_open()) {
            pair.state = match (record.superseded, record.ended) {
                (true, _) => PairState::Superseded,
                (false, true) => PairState::Ended,
                (false, false) => PairState::Expired,
            };
        }
        self.own_leaf(sender_node, leaf_index, OwnLeaf { position, envelope: key.envelope });
        self.deliver(sender_node, Delivery::Own { position, leaf_index, envelope: key.envelope }, after);
        self.settle(key, after);
        Ok(())
    }

    fn apply_signed(&mut self, position: Position, record: &records::Signed, after: &mut Vec<Effect>) {
        let said = record.said();
        if self.signed.is_none_or(|signed| record.size >= signed.size) {
            self.signed = Some(SignedMark { position, size: record.size, said });
        }
        let there = said.there();
        let most = said.waiting_max(RELAY_UNATTESTED_MAX);
        let mut woken = Vec::new();
        for (node, queue) in &mut self.queues {
            let before = queue.unattested.len();
            let mut covered = first_leaves(&mut queue.unsigned, record.size);
            self.unsigned -= covered.len();
            covered.extend(queue.unattested.take_bettered(there, record.size));
            // Authorities that were taken out of the settings will say nothing.
            queue.unattested.keep_those_that_may_gain(said.wanted());
            if said.lacks() {
                covered.iter().for_each(|(index, leaf)| queue.unattested.insert(there, *index, *leaf));
            }
            self.unattested = self.unattested + queue.unattested.len() - before;
            while self.unattested > most && queue.unattested.pop_first().is_some() {
                self.unattested -= 1;
            }
            for leaves in covered.chunks(FINAL_LEAVES_PER_DELIVERY_MAX) {
                let delivery = Delivery::Final { signed: position, size: record.size, leaves: leaves.to_vec() };
                queue.deliveries.insert(self.next_delivery, delivery);
                self.next_delivery += 1;
            }
            if !covered.is_empty() {
                woken.push(*node);
            }
        }
        after.extend(woken.into_iter().map(|node| Effect::Wake(self.book.node_name(node).clone())));
    }

    fn apply_directory(
        &mut self,
        position: Position,
        leaf_index: u64,
        record: &records::DirectoryPublished,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let (version, statement) = (record.version, digest(&record.statement)?);
        self.directory = Some(DirectoryMark { version, statement, position, leaf_index });
        for node in &record.renewed {
            let node = self.node(node)?;
            self.peers.remove(&node);
        }
        let mut moved = BTreeMap::new();
        for code in &record.moved {
            moved.insert(self.agency(&code.code)?, self.node(&code.node)?);
        }
        if !moved.is_empty() {
            self.reroute(&moved, after);
        }
        after.push(Effect::DirectoryChanged(version));
        Ok(())
    }

    /// A code is served elsewhere now: what still waits for it goes there.
    fn reroute(&mut self, moved: &BTreeMap<AgencyRef, NodeRef>, after: &mut Vec<Effect>) {
        let mut changed = Vec::new();
        for (key, envelope) in &mut self.envelopes {
            let rank = envelope.rank();
            let (mut left, mut joined) = (Vec::new(), Vec::new());
            for pair in envelope.pairs.iter_mut().filter(|pair| pair.state.is_open()) {
                if let Some(node) = moved.get(&pair.recipient)
                    && pair.node != Some(*node)
                {
                    left.extend(pair.node);
                    joined.push(*node);
                    pair.node = Some(*node);
                }
            }
            left.retain(|node| !envelope.waits_at(*node));
            if !joined.is_empty() {
                changed.push((*key, rank, left, joined));
            }
        }
        for (key, rank, left, joined) in changed {
            for node in left {
                self.leave(node, key, rank);
            }
            for node in joined {
                let queue = self.queue(node);
                queue.waiting.insert(rank, key);
                queue.undelivered.insert(key);
                queue.changes += 1;
                after.push(Effect::Wake(self.book.node_name(node).clone()));
            }
        }
    }

    fn apply_forked(
        &mut self,
        position: Position,
        record: &records::Forked,
        after: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        let node = self.node(&record.node)?;
        let peer = self.peers.get_mut(&node).ok_or(ApplyError::Field("node"))?;
        peer.fork = Some(position);
        after.push(Effect::Alarm(Alarm::PeerForked { node: self.book.node_name(node).clone() }));
        Ok(())
    }

    /// After a pair's state moved: nodes that are served leave the queues; the payload goes with the last open pair; what is complete shrinks.
    fn settle(&mut self, key: KeyRef, after: &mut Vec<Effect>) {
        let Some(envelope) = self.envelopes.get_mut(&key) else { return };
        let closes = envelope.counted_open && !envelope.is_open();
        envelope.counted_open &= !closes;
        let rank = envelope.rank();
        let envelope = &*envelope;
        let served: Vec<_> = nodes_of(envelope).into_iter().filter(|node| !envelope.waits_at(*node)).collect();
        let (complete, blob, payload) = (envelope.is_complete(), envelope.blob, envelope.payload);
        for node in served {
            self.leave(node, key, rank);
            self.leases.remove(&(key, node));
        }
        if closes {
            self.open -= 1;
            if blob {
                self.release_payload(payload, after);
            }
        }
        if complete && let Some(envelope) = self.envelopes.remove(&key) {
            let lost = |pair: &&Pair| !pair.state.is_delivered();
            let remembered = Remembered {
                content: envelope.content(),
                accepted: true,
                position: envelope.position,
                leaf_index: envelope.leaf_index,
                undelivered: envelope.pairs.iter().filter(lost).map(|pair| pair.recipient).collect(),
                evidence: envelope.evidence.into(),
                finals: envelope.finals.into(),
                recipients: u16::try_from(envelope.pairs.len()).unwrap_or(u16::MAX),
            };
            self.remembered.insert(key, remembered);
        }
    }

    fn leave(&mut self, node: NodeRef, key: KeyRef, rank: (u8, Position)) {
        let queue = self.queue(node);
        queue.waiting.remove(&rank);
        if queue.undelivered.remove(&key) {
            queue.changes += 1;
        }
    }

    fn release_payload(&mut self, payload: Digest, after: &mut Vec<Effect>) {
        let Some(holders) = self.payloads.get_mut(&payload) else { return };
        *holders -= 1;
        if *holders == 0 {
            self.payloads.remove(&payload);
            after.push(Effect::RemovePayload(payload));
        }
    }

    fn deliver(&mut self, node: NodeRef, delivery: Delivery, after: &mut Vec<Effect>) {
        let number = self.next_delivery;
        self.next_delivery += 1;
        self.queue(node).deliveries.insert(number, delivery);
        after.push(Effect::Wake(self.book.node_name(node).clone()));
    }

    /// Record and leaf of our RelayAcceptance, while the envelope is in memory.
    fn acceptance_of(&self, key: &KeyRef) -> Option<(Position, u64)> {
        let live = self.envelopes.get(key).map(|envelope| (envelope.position, envelope.leaf_index));
        let remembered = || self.remembered.get(key).filter(|remembered| remembered.accepted);
        live.or_else(|| remembered().map(|remembered| (remembered.position, remembered.leaf_index)))
    }

    /// A node holds this leaf of ours and gets it under the certificate's signature with the next tree that is signed.
    fn own_leaf(&mut self, node: NodeRef, leaf_index: u64, leaf: OwnLeaf) {
        if self.queue(node).unsigned.insert(leaf_index, leaf).is_none() {
            self.unsigned += 1;
        }
    }

    fn see_peer(&mut self, node: NodeRef, mark: Option<&records::Mark>, position: Position) -> Result<(), ApplyError> {
        let Some(mark) = mark else { return Ok(()) };
        let (size, root) = (mark.size, digest(&mark.root)?);
        let seen = Seen { size, root, position };
        self.peers.entry(node).or_insert_with(|| Peer::new(seen)).see(seen);
        Ok(())
    }

    fn apply_cosigned(
        &mut self,
        position: Position,
        leaf_index: Option<u64>,
        record: &records::Cosigned,
    ) -> Result<(), ApplyError> {
        self.advance(record.time_ms);
        let node = self.node(&record.node)?;
        let mark = record.mark.as_ref().ok_or(ApplyError::Field("mark"))?;
        let seen = Seen { size: mark.size, root: digest(&mark.root)?, position };
        let logged = leaf_index.map(|_| (mark.size, record.time_ms));
        self.peers.entry(node).or_insert_with(|| Peer::new(seen)).cosign(seen, logged);
        Ok(())
    }

    /// Moves the fold's clock and forgets the ids that can no longer come.
    pub(super) fn advance(&mut self, time_ms: i64) {
        let time = Timestamp::from_unix_ms(time_ms);
        if time <= self.clock {
            return;
        }
        self.clock = time;
        let too_old = |key: &KeyRef| key.envelope.made_at().unix_ms() + ID_MEMORY_MS < time_ms;
        while let Some(first) = self.remembered.first_entry().filter(|entry| too_old(entry.key())) {
            first.remove();
        }
        while let Some(first) = self.reused.first_entry().filter(|entry| too_old(entry.key())) {
            first.remove();
        }
        while self.superseded.first().is_some_and(|(key, _)| too_old(key)) {
            self.superseded.pop_first();
        }
        // Envelopes that are served but never confirmed. Open ones have expired long before they are so old.
        while let Some(first) = self.envelopes.first_entry().filter(|entry| too_old(entry.key())) {
            if first.get().is_open() {
                break;
            }
            first.remove();
        }
    }

    fn key(&mut self, key: Option<&records::Key>) -> Result<KeyRef, ApplyError> {
        let key = key.ok_or(ApplyError::Field("key"))?;
        let envelope = EnvelopeId::from_bytes(&key.envelope).map_err(|_| ApplyError::Field("envelope"))?;
        Ok(KeyRef { envelope, sender: self.agency(&key.sender)? })
    }

    fn agency(&mut self, code: &str) -> Result<AgencyRef, ApplyError> {
        let code: AgencyId = code.parse().map_err(|_| ApplyError::Field("agency code"))?;
        Ok(self.book.agency(&code))
    }

    fn node(&mut self, id: &str) -> Result<NodeRef, ApplyError> {
        let id: NodeId = id.parse().map_err(|_| ApplyError::Field("node id"))?;
        Ok(self.book.node(&id))
    }
}

pub(super) fn nodes_of(envelope: &Envelope) -> Vec<NodeRef> {
    let mut nodes: Vec<_> = envelope.pairs.iter().filter_map(|pair| pair.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The first eight bytes of a leaf hash. Only the node that makes a leaf could make two with the same, to its own disadvantage.
pub(super) fn prefix(leaf: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = leaf.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

pub(super) fn digest(bytes: &[u8]) -> Result<Digest, ApplyError> {
    Digest::from_slice(bytes).map_err(|_| ApplyError::Field("digest"))
}

fn index(leaf_index: Option<u64>) -> Result<u64, ApplyError> {
    leaf_index.ok_or(ApplyError::Field("leaf"))
}

/// Takes those out that a tree of this size covers.
fn first_leaves(leaves: &mut BTreeMap<u64, OwnLeaf>, size: u64) -> Vec<(u64, OwnLeaf)> {
    let later = leaves.split_off(&size);
    std::mem::replace(leaves, later).into_iter().collect()
}
