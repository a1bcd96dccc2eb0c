//! Decisions about envelopes: accept once, refuse with evidence, lease, expire, replace.

use bytes::Bytes;
use truc_evidence::Attestations;
use truc_ledger::Position;
use truc_proto::{
    Actor, AgencyId, Event, EventUri, Reason, Role, Timestamp,
    limits::{DELIVERIES_PER_NODE_MAX, EXPIRIES_PER_TICK_MAX, REFUSALS_PER_ID_MAX, REMEMBERED_IDS_MAX},
};

use super::{
    Core, Turn,
    input::{Acceptance, EnvelopeKey, Found, NewDirectory, OfferOutcome, OfferedRecipient, Refused, VerifiedOffer},
    state::{AgencyRef, Envelope, KeyRef, NodeRef, Pair},
    statement,
    table::PairState,
};
use crate::records::{self, Body};

/// What every event about an envelope repeats.
struct Facts<'a> {
    key: &'a EnvelopeKey,
    submission: truc_proto::Digest,
    preamble: truc_proto::Digest,
    payload: truc_proto::Digest,
    commitment: truc_proto::Digest,
}

/// Why the relay gives up what it had accepted for a recipient.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Expired,
    /// Another envelope stands in.
    Superseded,
    /// The code stopped being served.
    Ended,
}

impl Core {
    pub(super) fn offered(
        &mut self,
        now: Timestamp,
        mut offer: VerifiedOffer,
        turn: &mut Turn,
    ) -> Result<OfferOutcome, Refused> {
        self.close_ended(&mut offer);
        self.check_peer(&offer.sender_node, &offer.mark, || offer.note.clone(), turn)?;
        if let Some(known) = self.known_offer(now, &offer, turn)? {
            return Ok(known);
        }
        if let Some(reason) = self.superseding_refused(&offer) {
            return self.reject(now, &offer, reason, None, true, turn).map(OfferOutcome::Rejected);
        }
        let closed = |recipient: &&OfferedRecipient| matches!(recipient, OfferedRecipient::Closed { .. });
        if offer.recipients.iter().all(|recipient| closed(&recipient)) {
            return self.all_closed(now, &offer, turn);
        }
        if self.open >= self.settings.open_envelopes_max || self.remembered.len() >= REMEMBERED_IDS_MAX {
            return Err(Refused::Busy);
        }
        let accepted = self.accept(now, &offer, turn);
        for recipient in offer.recipients.iter().filter(closed) {
            if let OfferedRecipient::Closed { code, successor } = recipient {
                self.reject_recipient(now, &offer, code, successor.clone(), false, turn);
            }
        }
        self.supersede(now, &offer, turn);
        Ok(OfferOutcome::Accepted(accepted))
    }

    /// A code may have gone out of service since the directory was asked: an upload takes its time.
    fn close_ended(&self, offer: &mut VerifiedOffer) {
        for recipient in &mut offer.recipients {
            let OfferedRecipient::Open { code, .. } = recipient else { continue };
            if let Some(successor) = self.out_of_service.get(code) {
                *recipient = OfferedRecipient::Closed { code: code.clone(), successor: successor.clone() };
            }
        }
    }

    /// Open envelopes for codes that are out of service are looked at with the next tick.
    pub(super) fn look_for_ended(&mut self, now: Timestamp) {
        let known = self.out_of_service.keys().filter_map(|code| self.book.known_agency(code));
        let ended: std::collections::BTreeSet<_> = known.collect();
        if ended.is_empty() {
            return;
        }
        let waits = |pair: &Pair| pair.state == PairState::Waiting && ended.contains(&pair.recipient);
        let found = self.envelopes.iter().filter(|(_, envelope)| envelope.pairs.iter().any(waits));
        self.due.extend(found.map(|(key, _)| (now, *key)));
    }

    pub(super) fn offer_refused(
        &mut self,
        now: Timestamp,
        offer: &VerifiedOffer,
        reason: Reason,
        successor: Option<AgencyId>,
        turn: &mut Turn,
    ) -> Result<OfferOutcome, Refused> {
        self.check_peer(&offer.sender_node, &offer.mark, || offer.note.clone(), turn)?;
        if let Some(known) = self.known_offer(now, offer, turn)? {
            return Ok(known);
        }
        self.reject(now, offer, reason, successor, true, turn).map(OfferOutcome::Rejected)
    }

    /// The one answer that an id which stands for something already gets (I4).
    fn known_offer(
        &mut self,
        now: Timestamp,
        offer: &VerifiedOffer,
        turn: &mut Turn,
    ) -> Result<Option<OfferOutcome>, Refused> {
        let content = super::content_identity(&offer.preamble, &offer.payload, &offer.commitment);
        let Some(found) = self.find_one(&offer.key) else { return Ok(None) };
        let at = |position, leaf_index| Acceptance { position, leaf_index, leaf: None };
        if found.content == content {
            let at = at(found.position, found.leaf_index);
            return Ok(Some(if found.accepted { OfferOutcome::Accepted(at) } else { OfferOutcome::Rejected(at) }));
        }
        // One refusal for each content, and not for ever: who goes on inventing contents hears the last one again.
        let same = found.reused.iter().find(|(refused, ..)| *refused == content);
        let enough = found.reused.last().filter(|_| found.reused.len() >= REFUSALS_PER_ID_MAX);
        if let Some((_, position, leaf_index)) = same.or(enough) {
            return Ok(Some(OfferOutcome::Rejected(at(*position, *leaf_index))));
        }
        self.reject(now, offer, Reason::IdReused, None, true, turn).map(|at| Some(OfferOutcome::Rejected(at)))
    }

    fn accept(&mut self, now: Timestamp, offer: &VerifiedOffer, turn: &mut Turn) -> Acceptance {
        let facts = Facts::of(offer);
        let leaf = statement(self.event(now, EventUri::RelayAcceptance, &facts, None, None, None));
        let recipients = offer.recipients.iter().map(|recipient| match recipient {
            OfferedRecipient::Open { code, node } => {
                records::Recipient { code: code.to_string(), node: node.to_string() }
            }
            OfferedRecipient::Closed { code, .. } => records::Recipient { code: code.to_string(), node: String::new() },
        });
        let supersedes = offer.supersedes.as_ref();
        let record = records::Accepted {
            time_ms: now.unix_ms(),
            key: Some(record_key(&offer.key)),
            sender_node: offer.sender_node.to_string(),
            submission: offer.submission.0.to_vec(),
            preamble: offer.preamble.0.to_vec(),
            payload: offer.payload.0.to_vec(),
            commitment: offer.commitment.0.to_vec(),
            payload_length: offer.payload_length,
            blob: offer.blob,
            expires_ms: offer.expires.unix_ms(),
            priority: offer.priority.into(),
            status: offer.status,
            recipients: recipients.collect(),
            mark: Some(record_mark(&offer.mark)),
            body: offer.body.clone(),
            supersedes: supersedes.map(|s| s.envelope.as_bytes().to_vec()).unwrap_or_default(),
            superseded_recipient: supersedes.map(|s| s.recipient.to_string()).unwrap_or_default(),
        };
        let (position, leaf_index) = self.append(Body::Accepted(record), Some(leaf.clone()), turn);
        Acceptance { position, leaf_index, leaf: Some(leaf.into()) }
    }

    fn all_closed(&mut self, now: Timestamp, offer: &VerifiedOffer, turn: &mut Turn) -> Result<OfferOutcome, Refused> {
        let mut answer = None;
        for recipient in &offer.recipients {
            if let OfferedRecipient::Closed { code, successor } = recipient {
                let answered = answer.is_none();
                let at = self.reject_recipient(now, offer, code, successor.clone(), answered, turn);
                answer.get_or_insert(at);
            }
        }
        answer.map(OfferOutcome::Rejected).ok_or(Refused::NotWaiting)
    }

    /// Refuses a whole envelope. A node that keeps offering other content under one id must not fill the disk: one refusal per content.
    fn reject(
        &mut self,
        now: Timestamp,
        offer: &VerifiedOffer,
        reason: Reason,
        successor: Option<AgencyId>,
        answered: bool,
        turn: &mut Turn,
    ) -> Result<Acceptance, Refused> {
        if self.remembered.len() >= REMEMBERED_IDS_MAX {
            return Err(Refused::Busy);
        }
        Ok(self.write_rejection(now, offer, reason, None, successor, answered, turn))
    }

    fn reject_recipient(
        &mut self,
        now: Timestamp,
        offer: &VerifiedOffer,
        code: &AgencyId,
        successor: Option<AgencyId>,
        answered: bool,
        turn: &mut Turn,
    ) -> Acceptance {
        self.write_rejection(now, offer, Reason::ClosedCode, Some(code), successor, answered, turn)
    }

    #[expect(clippy::too_many_arguments, reason = "what a rejection states, each from another place")]
    fn write_rejection(
        &mut self,
        now: Timestamp,
        offer: &VerifiedOffer,
        reason: Reason,
        recipient: Option<&AgencyId>,
        successor: Option<AgencyId>,
        answered: bool,
        turn: &mut Turn,
    ) -> Acceptance {
        let facts = Facts::of(offer);
        let event = EventUri::RelayRejection;
        let leaf = statement(self.event(now, event, &facts, recipient.cloned(), Some(reason), successor));
        let record = records::Rejected {
            time_ms: now.unix_ms(),
            key: Some(record_key(&offer.key)),
            sender_node: offer.sender_node.to_string(),
            content: super::content_identity(&offer.preamble, &offer.payload, &offer.commitment).0.to_vec(),
            recipient: recipient.map(ToString::to_string).unwrap_or_default(),
            answered,
        };
        let (position, leaf_index) = self.append(Body::Rejected(record), Some(leaf.clone()), turn);
        Acceptance { position, leaf_index, leaf: Some(leaf.into()) }
    }

    /// One of the old envelope and the new one is delivered, never both: the new one comes in only when the old one cannot arrive.
    fn superseding_refused(&self, offer: &VerifiedOffer) -> Option<Reason> {
        let (old, recipient) = self.superseded_pair(offer)?;
        if self.superseded.contains(&(old, recipient)) {
            return Some(Reason::Superseded);
        }
        if let Some(envelope) = self.envelopes.get(&old) {
            let pair = envelope.pairs.iter().find(|pair| pair.recipient == recipient);
            let Some(pair) = pair else { return Some(Reason::Invalid) };
            // Taken: its keys are out, so it may be open on the other side at this moment.
            return (pair.state == PairState::Taken || pair.state.is_delivered()).then_some(Reason::Superseded);
        }
        let remembered = self.remembered.get(&old)?;
        (remembered.accepted && !remembered.undelivered.contains(&recipient)).then_some(Reason::Superseded)
    }

    fn supersede(&mut self, now: Timestamp, offer: &VerifiedOffer, turn: &mut Turn) {
        let Some((old, recipient)) = self.superseded_pair(offer) else { return };
        let waits = self.envelopes.get(&old).is_some_and(|envelope| {
            envelope.pairs.iter().any(|pair| pair.recipient == recipient && pair.state == PairState::Waiting)
        });
        if waits {
            self.fail(now, old, recipient, Failure::Superseded, turn);
        }
    }

    fn superseded_pair(&self, offer: &VerifiedOffer) -> Option<(KeyRef, AgencyRef)> {
        let supersedes = offer.supersedes.as_ref()?;
        let sender = self.book.known_agency(&offer.key.sender)?;
        let recipient = self.book.known_agency(&supersedes.recipient)?;
        Some((KeyRef { envelope: supersedes.envelope, sender }, recipient))
    }

    pub(super) fn lease(
        &mut self,
        now: Timestamp,
        node: &truc_proto::NodeId,
        key: &EnvelopeKey,
    ) -> Result<Found, Refused> {
        let (key_ref, node_ref) =
            (self.key_of(key).ok_or(Refused::NotWaiting)?, self.book.known_node(node).ok_or(Refused::NotWaiting)?);
        let envelope = self.envelopes.get(&key_ref).ok_or(Refused::NotWaiting)?;
        if !envelope.waits_at(node_ref) {
            return Err(Refused::NotWaiting);
        }
        let until = now + std::time::Duration::from_millis(self.settings.lease_ms);
        self.leases.insert((key_ref, node_ref), until);
        self.find_one(key).ok_or(Refused::NotWaiting)
    }

    /// Lets what is past its time fail, except where a node is at work on it.
    pub(super) fn tick(&mut self, now: Timestamp, turn: &mut Turn) {
        let mut failures = 0;
        while failures < EXPIRIES_PER_TICK_MAX
            && let Some((at, key)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let Some(envelope) = self.envelopes.get(&key).filter(|envelope| envelope.is_open()) else { continue };
            let expired = envelope.expires <= now;
            let (leased, open) = self.open_pairs(key, envelope, now, expired);
            if let Some(until) = leased {
                self.due.insert((until, key));
            }
            failures += open.len();
            let why = if expired { Failure::Expired } else { Failure::Ended };
            for recipient in open {
                self.fail(now, key, recipient, why, turn);
            }
        }
    }

    /// The recipients whose time is over, all when the envelope expired, else those out of service that were given no keys: the end of the last
    /// live lease among them, and those that no node is at work for.
    fn open_pairs(
        &self,
        key: KeyRef,
        envelope: &Envelope,
        now: Timestamp,
        expired: bool,
    ) -> (Option<Timestamp>, Vec<AgencyRef>) {
        let (mut until, mut free) = (None, Vec::new());
        let ended = |pair: &Pair| {
            pair.state == PairState::Waiting && self.out_of_service.contains_key(self.book.agency_name(pair.recipient))
        };
        for pair in envelope.pairs.iter().filter(|pair| pair.state.is_open() && (expired || ended(pair))) {
            let lease = pair.node.and_then(|node| self.leases.get(&(key, node))).filter(|until| **until > now);
            match lease {
                Some(lease) => until = until.max(Some(*lease)),
                None => free.push(pair.recipient),
            }
        }
        (until, free)
    }

    fn fail(&mut self, now: Timestamp, key: KeyRef, recipient: AgencyRef, why: Failure, turn: &mut Turn) {
        let Some(envelope) = self.envelopes.get(&key) else { return };
        let sender = self.book.agency_name(key.sender).clone();
        let envelope_key = EnvelopeKey { sender, envelope: key.envelope };
        let facts = Facts {
            key: &envelope_key,
            submission: envelope.submission,
            preamble: envelope.preamble,
            payload: envelope.payload,
            commitment: envelope.commitment,
        };
        let code = self.book.agency_name(recipient).clone();
        let reason = match why {
            Failure::Expired => Reason::Expired,
            Failure::Superseded => Reason::Superseded,
            Failure::Ended => Reason::ClosedCode,
        };
        let successor = self.out_of_service.get(&code).filter(|_| why == Failure::Ended).cloned().flatten();
        let event = self.event(now, EventUri::RelayFailure, &facts, Some(code.clone()), Some(reason), successor);
        let record = records::Failed {
            time_ms: now.unix_ms(),
            key: Some(record_key(&envelope_key)),
            recipient: code.to_string(),
            superseded: why == Failure::Superseded,
            ended: why == Failure::Ended,
        };
        self.append(Body::Failed(record), Some(statement(event)), turn);
    }

    pub(super) fn published(
        &mut self,
        now: Timestamp,
        directory: NewDirectory,
        turn: &mut Turn,
    ) -> Result<Acceptance, Refused> {
        let digest = truc_proto::Digest::of(&directory.statement);
        let held = self.directory;
        if let Some(held) = held
            && held.version == directory.version
            && held.statement == digest
        {
            return Ok(Acceptance { position: held.position, leaf_index: held.leaf_index, leaf: None });
        }
        let follows = match held {
            // The very first root is leaf 0: whoever starts from the pinned operator finds it there.
            None => directory.version == 1 && self.next_leaf == 0,
            Some(held) => directory.version > held.version && directory.previous == Some(held.statement),
        };
        if !follows {
            let held = held.map_or(0, |held| held.version);
            return Err(Refused::VersionDoesNotFollow { offered: directory.version, held });
        }
        let recipient = |(code, node): &(AgencyId, truc_proto::NodeId)| records::Recipient {
            code: code.to_string(),
            node: node.to_string(),
        };
        let record = records::DirectoryPublished {
            time_ms: now.unix_ms(),
            version: directory.version,
            statement: digest.0.to_vec(),
            moved: directory.moved.iter().map(recipient).collect(),
            renewed: directory.renewed.iter().map(ToString::to_string).collect(),
            before: held
                .map(|held| records::DirectoryBefore { position: held.position.0, leaf_index: held.leaf_index }),
        };
        let leaf = directory.statement.to_vec();
        let (position, leaf_index) = self.append(Body::Directory(record), Some(leaf), turn);
        self.note_publication(now, &directory, turn);
        Ok(Acceptance { position, leaf_index, leaf: Some(directory.statement) })
    }

    /// Kept when it covers more than the one before, or is that one and others say more of it.
    pub(super) fn signed(&mut self, size: u64, note: Bytes, said: Attestations, turn: &mut Turn) {
        let (signed, before) = self.signed_so_far();
        if size > signed || (size == signed && said.there().exceeds(before)) {
            let (stamp, cosignature) = (said.stamp.number(), said.cosignature.number());
            self.append(Body::Signed(records::Signed { size, note, stamp, cosignature }), None, turn);
        }
    }

    /// True when a node has as many deliveries waiting as one may.
    pub(super) fn is_full(&self, node: NodeRef) -> bool {
        self.queues.get(&node).is_some_and(|queue| queue.deliveries.len() >= DELIVERIES_PER_NODE_MAX)
    }

    fn event(
        &self,
        now: Timestamp,
        event: EventUri,
        facts: &Facts<'_>,
        recipient: Option<AgencyId>,
        reason: Option<Reason>,
        successor: Option<AgencyId>,
    ) -> Event {
        Event {
            event,
            actor: Actor { code: None, node: self.settings.relay.clone(), role: Role::Relay },
            time: now,
            envelope: Some(facts.key.envelope),
            sender: facts.key.sender.clone(),
            recipient,
            submission: Some(facts.submission),
            preamble: Some(facts.preamble),
            payload: Some(facts.payload),
            commitment: Some(facts.commitment),
            key_envelope: None,
            reason,
            details: None,
            request: None,
            successor,
        }
    }
}

impl<'a> Facts<'a> {
    fn of(offer: &'a VerifiedOffer) -> Self {
        Self {
            key: &offer.key,
            submission: offer.submission,
            preamble: offer.preamble,
            payload: offer.payload,
            commitment: offer.commitment,
        }
    }
}

pub(super) fn record_key(key: &EnvelopeKey) -> records::Key {
    records::Key { sender: key.sender.to_string(), envelope: key.envelope.as_bytes().to_vec() }
}

pub(super) fn record_mark(mark: &super::Mark) -> records::Mark {
    records::Mark { size: mark.size, root: mark.root.0.to_vec() }
}

/// Position of a record, as a cursor counts it.
pub(super) const fn after(position: Position) -> u64 {
    position.0 + 1
}
