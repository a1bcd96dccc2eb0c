//! What we send: held → sealed → relayed → per recipient taken, consigned, handed over or failed.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use truc_proto::{
    Actor, AgencyId, BusinessStatus, Digest, EnvelopeId, EnvelopeKind, Event, EventUri, Preamble, Priority, Raw,
    Reason, Role, Submission, Timestamp,
};

use super::{
    Alarm, Answer, Asking, Business, Core, Delivery, Effect, Hashes, HeldRequest, Key, Move, Pair, PairState, Request,
    Sealed, Sent, Source, Stage, StatusAbout, Step, Token, Told, Unsent, digest, duties, evidence::is_too_old,
    pair_move, parsed, submission_of, timers::Due,
};
use crate::{
    duties::Duty,
    records::{Body, Closed, Held, Outgoing, Place, RecordError, Refused, SentFailed},
};

/// Ticks handle at most so many due entries, so that one call never takes long.
const DUE_PER_TICK_MAX: usize = 4_096;

impl Core {
    /// A sealed envelope: accepted once, whatever how often the same request comes.
    pub(super) fn prepared(&mut self, now: Timestamp, sealed: Sealed, reply: Option<Token>) {
        let Ok(preamble) = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()) else {
            return self.effects.push(Effect::Broken("the pipeline made a preamble that cannot be read".into()));
        };
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        let finishes_held = self.find_sent(&key).is_some_and(Sent::is_held);
        let continues = sealed.outgoing.continues.parse::<EnvelopeId>().ok();
        let continues = continues.map(|envelope| Key { sender: key.sender.clone(), envelope });
        if !self.is_wanted(&key, &preamble, continues.as_ref()) {
            return self.unwanted(now, &key, &preamble, continues.as_ref(), &sealed);
        }
        if !finishes_held {
            let Some(hash) = request_hash(&sealed.outgoing.request_hash) else {
                return self.effects.push(Effect::Broken("the pipeline made a request hash of another length".into()));
            };
            if let Some(answer) = self.known_request(&key.sender, &sealed.outgoing.idempotency_key, hash) {
                return self.reply(reply, answer);
            }
            // What the node makes by itself stands for something that is open already.
            if self.is_full() && !sealed.outgoing.idempotency_key.is_empty() {
                return self.reply(reply, Answer::Busy);
            }
        }
        match self.submission(now, &preamble, &sealed) {
            Ok(submission) => {
                let leaf = submission.bytes().clone();
                let mut outgoing = sealed.outgoing;
                // The held content was sealed anew; its own encryption is of no use any more.
                let held = self.find_sent(&key).filter(|sent| sent.is_held()).and_then(super::retention::needless_of);
                outgoing.held = held.filter(|held| held.payload != outgoing.payload.sha256);
                let needless = outgoing.held.as_ref().and_then(|held| Digest::from_slice(&held.payload).ok());
                outgoing.index_keys = self.status_strays(&outgoing.status, true);
                if self.commit(Body::Outgoing(outgoing), Some(leaf)).is_some() {
                    self.effects.push(Effect::Sign);
                    if needless.is_some() {
                        self.effects.push(Effect::Closed { key: key.clone(), payload: needless });
                    }
                    self.reply(reply, Answer::Accepted { key, first: true });
                }
            }
            Err(why) => self.effects.push(Effect::Broken(why)),
        }
    }

    /// What was sealed in vain goes; what is still wanted of it is sealed again.
    fn unwanted(&mut self, now: Timestamp, key: &Key, preamble: &Preamble, continues: Option<&Key>, sealed: &Sealed) {
        let payload = Digest::from_slice(&sealed.outgoing.payload.sha256).ok();
        self.effects.push(Effect::Closed { key: key.clone(), payload });
        let old = match (&preamble.supersedes, continues) {
            (Some(supersedes), _) => Key { sender: key.sender.clone(), envelope: supersedes.envelope },
            (None, Some(old)) => old.clone(),
            (None, None) => key.clone(),
        };
        let Some(position) = self.sent_keys.get(&old).copied() else { return };
        if let Some(sent) = self.sent.get_mut(&position) {
            sent.dividing = false;
            sent.pairs.values_mut().for_each(|pair| pair.resealing = false);
            if sent.is_held() {
                sent.delivery = Delivery::Idle;
            }
        }
        self.timers.set(now, Due::Retry(position));
        self.timers.set(now, Due::Reseal(position));
    }

    fn submission(&self, now: Timestamp, preamble: &Raw<Preamble>, sealed: &Sealed) -> Result<Raw<Submission>, String> {
        let mut key_envelopes = BTreeMap::new();
        for envelope in &sealed.outgoing.key_envelopes {
            let code: AgencyId = envelope.recipient.parse().map_err(|_| "a key envelope for no code".to_owned())?;
            key_envelopes.insert(code, Digest::of(&envelope.cms));
        }
        if !key_envelopes.keys().eq(preamble.recipients.iter()) {
            return Err("the pipeline made key envelopes for other codes than the preamble's recipients".into());
        }
        let payload = Digest::from_slice(&sealed.outgoing.payload.sha256).map_err(|e| e.to_string())?;
        let actor = Actor { code: Some(preamble.sender.clone()), node: self.policy.node.clone(), role: Role::Sender };
        Raw::write(Submission {
            event: EventUri::SubmissionAcceptance,
            actor,
            time: now,
            envelope: preamble.envelope,
            preamble: preamble.digest(),
            payload,
            payload_length: sealed.outgoing.payload.length,
            commitment: sealed.commitment,
            key_envelopes,
            directory: sealed.directory.clone(),
        })
        .map_err(|e| e.to_string())
    }

    /// A request that waits for the signing key or the directory.
    pub(super) fn held(&mut self, now: Timestamp, request: HeldRequest, reply: Option<Token>) {
        let mut held = request.held;
        held.held_at_ms = now.unix_ms();
        let (Ok(sender), Ok(envelope)) = (held.sender.parse::<AgencyId>(), held.envelope.parse::<EnvelopeId>()) else {
            return self.effects.push(Effect::Broken("the pipeline held a request without sender or id".into()));
        };
        let Some(hash) = request_hash(&held.request_hash) else {
            return self.effects.push(Effect::Broken("the pipeline made a request hash of another length".into()));
        };
        if let Some(answer) = self.known_request(&sender, &held.idempotency_key, hash) {
            return self.reply(reply, answer);
        }
        if self.is_full() {
            return self.reply(reply, Answer::Busy);
        }
        if self.commit(Body::Held(held), None).is_some() {
            self.reply(reply, Answer::Held { key: Key { sender, envelope }, first: true });
        }
    }

    /// A refusal that is to be evidence (I4, Tuyệt mật).
    pub(super) fn refused(
        &mut self,
        now: Timestamp,
        sender: &AgencyId,
        (came_under, reused): (String, bool),
        request: Digest,
        reason: Reason,
        reply: Option<Token>,
    ) {
        let idempotency_key = if reused { String::new() } else { came_under.clone() };
        if let Some(answer) = self.known_request(sender, &idempotency_key, request) {
            return self.reply(reply, answer);
        }
        let event = Raw::write(Event {
            event: EventUri::SubmissionRejection,
            actor: Actor { code: Some(sender.clone()), node: self.policy.node.clone(), role: Role::Sender },
            time: now,
            envelope: None,
            sender: sender.clone(),
            recipient: None,
            submission: None,
            preamble: None,
            payload: None,
            commitment: None,
            key_envelope: None,
            reason: Some(reason),
            details: None,
            request: Some(request),
            successor: None,
        });
        match event {
            Ok(event) => {
                let (sender, leaf_index) = (sender.to_string(), Some(self.next_leaf));
                let body = Body::Refused(Refused { sender, idempotency_key, came_under, leaf_index });
                let leaf = Some(truc_ledger::merkle::leaf_hash(event.bytes()));
                if self.commit(body, Some(event.bytes().clone())).is_some() {
                    self.effects.push(Effect::Sign);
                    self.reply(reply, Answer::Refused { reason, leaf });
                }
            }
            Err(error) => self.effects.push(Effect::Broken(error.to_string())),
        }
    }

    /// What a request with this idempotency key led to, while it is in memory.
    #[must_use]
    pub fn sent_by_request(&self, sender: &AgencyId, idempotency_key: &str) -> Option<&Sent> {
        let request = self.requests.get(&(sender.clone(), idempotency_key.to_owned()))?;
        self.find_sent(request.key.as_ref()?)
    }

    /// What a request with a known idempotency key is answered.
    /// Whether this request may be carried out under its key: that is new, or led to this very request.
    pub(crate) fn may_stand_for(&self, sender: &AgencyId, idempotency_key: &str, hash: Digest) -> bool {
        let known = self.known_request(sender, idempotency_key, hash);
        known.is_none_or(|answer| matches!(answer, Answer::Accepted { .. } | Answer::Held { .. }))
    }

    pub(super) fn known_request(&self, sender: &AgencyId, idempotency_key: &str, hash: Digest) -> Option<Answer> {
        if idempotency_key.is_empty() {
            return None; // made by the node itself
        }
        let request = self.requests.get(&(sender.clone(), idempotency_key.to_owned()))?;
        if request.hash != hash {
            return Some(Answer::RequestReused);
        }
        Some(match (&request.key, request.reason) {
            (Some(key), _) if self.find_sent(key).is_some_and(Sent::is_held) => {
                Answer::Held { key: key.clone(), first: false }
            }
            (Some(key), _) => Answer::Accepted { key: key.clone(), first: false },
            (None, reason) => Answer::Refused { reason: reason.unwrap_or(Reason::Invalid), leaf: request.leaf },
        })
    }

    /// The relay has decided; its leaf comes as evidence like any other.
    pub(super) fn offered(&mut self, now: Timestamp, key: &Key, acceptance: super::ReceivedLeaves) {
        let Some(position) = self.sent_keys.get(key).copied() else { return };
        self.offering.remove(&position);
        let mut attempts = 0;
        if let Some(sent) = self.sent.get_mut(&position) {
            attempts = sent.attempts;
            (sent.delivery, sent.attempts, sent.lost) = (Delivery::Idle, 0, false);
            sent.bytes_sent = sent.payload_length;
            sent.last_error.clear();
        }
        self.evidence(now, Vec::new(), acceptance);
        let Some(sent) = self.sent.get_mut(&position).filter(|sent| sent.needs_offer()) else { return };
        // An answer about another envelope, or only one of the refusals that will come: asked again, but not at once.
        sent.attempts = attempts;
        self.offer_failed(now, key, "the relay's answer does not say what becomes of it; it is asked again".into(), 0);
    }

    pub(super) fn offer_failed(&mut self, now: Timestamp, key: &Key, error: String, jitter: u32) {
        let Some(position) = self.sent_keys.get(key).copied() else { return };
        self.offering.remove(&position);
        let Some(sent) = self.sent.get_mut(&position) else { return };
        sent.attempts = sent.attempts.saturating_add(1);
        let at = now + back_off(&self.policy, sent.attempts, jitter);
        sent.delivery = Delivery::BackOff(at);
        sent.last_error = error;
        self.timers.set(at, Due::Retry(position));
    }

    pub(super) fn uploaded(&mut self, key: &Key, bytes: u64) {
        let position = self.sent_keys.get(key).copied();
        if let Some(sent) = position.and_then(|p| self.sent.get_mut(&p)) {
            sent.bytes_sent = bytes;
        }
    }

    /// The relay lost them (restored, or cut): the same bytes go again.
    pub(super) fn lost_by_relay(&mut self, keys: &[Key]) {
        for key in keys {
            let Some(position) = self.sent_keys.get(key).copied() else { continue };
            if let Some(sent) = self.sent.get_mut(&position).filter(|sent| !sent.is_settled()) {
                sent.lost = true;
            }
            self.queue_offer(position);
        }
    }

    /// Finish what is held.
    pub(super) fn key_back(&mut self) {
        let held: Vec<u64> = self.sent.iter().filter(|(_, sent)| sent.is_held()).map(|(p, _)| *p).collect();
        for position in held {
            self.finish_held(position);
        }
        // A replacement may have waited for its recipient's new certificate.
        let open: Vec<u64> = self.sent.keys().copied().collect();
        open.into_iter().for_each(|position| self.queue_reseals(position));
    }

    fn finish_held(&mut self, position: u64) {
        let Some(sent) = self.sent.get_mut(&position) else { return };
        if sent.is_held() && sent.delivery != Delivery::InFlight && !sent.is_settled() {
            sent.delivery = Delivery::InFlight;
            let recipients = sent.open_recipients().cloned().collect();
            self.effects.push(Effect::FinishHeld { key: sent.key.clone(), body: sent.body, recipients });
        }
    }

    pub(super) fn reseal_failed(&mut self, now: Timestamp, key: &Key, recipient: &AgencyId, error: String) {
        let Some(position) = self.sent_keys.get(key).copied() else { return };
        if let Some(pair) = self.sent.get_mut(&position).and_then(|sent| sent.pairs.get_mut(recipient)) {
            pair.resealing = false;
            self.timers.set(now + Duration::from_millis(self.policy.retry_max_ms), Due::Reseal(position));
        }
        self.set_alarm(Alarm::Reseal(key.envelope, recipient.clone()), Some(error));
    }

    /// Offers in order of urgency, then age; a bounded number at once.
    pub(super) fn pump_offers(&mut self, now: Timestamp) {
        while self.connected && self.offering.len() < self.policy.offers_in_flight_max {
            let Some((_, position)) = self.ready.pop_first() else { return };
            let Some(sent) = self.sent.get_mut(&position) else { continue };
            if !sent.needs_offer() || sent.delivery != Delivery::Idle {
                continue;
            }
            if sent.is_settled() {
                // Only the relay's answer is missing, and so late it answers nobody.
                if is_too_old(&sent.key, now) {
                    continue;
                }
            } else if sent.expires <= now && sent.relayed_at.is_none() {
                self.expire(now, position);
                continue;
            }
            let own = |step: &Step| match step.source {
                Source::Own { index, position } if position == sent.body => Some(index),
                _ => None,
            };
            let Some(index) = sent.steps.iter().find_map(own) else {
                self.effects.push(Effect::Broken("an envelope to be offered has no submission".into()));
                continue;
            };
            sent.delivery = Delivery::InFlight;
            sent.may_have_left = true;
            self.offering.insert(position);
            self.effects.push(Effect::Offer { key: sent.key.clone(), body: sent.body, index });
        }
    }

    /// Puts it in its place among what waits to be offered.
    pub(super) fn queue_offer(&mut self, position: u64) {
        let Some(sent) = self.sent.get(&position) else { return };
        let place = (Reverse(sent.priority.value()), position);
        if sent.needs_offer() && sent.delivery == Delivery::Idle {
            self.ready.insert(place);
        } else {
            self.ready.remove(&place);
        }
    }

    /// Replacements where [`Sent::replacements`] says so.
    pub(super) fn queue_reseals(&mut self, position: u64) {
        let Some(sent) = self.sent.get_mut(&position) else { return };
        for (recipient, to) in sent.replacements() {
            let Some(pair) = sent.pairs.get_mut(&recipient).filter(|pair| !pair.resealing) else { continue };
            pair.resealing = true;
            self.effects.push(Effect::Reseal { key: sent.key.clone(), body: sent.body, recipient, to });
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        for _ in 0..DUE_PER_TICK_MAX {
            let Some(due) = self.timers.pop(now) else { return };
            match due {
                Due::Retry(position) => self.retry(now, position),
                Due::Deadline(position) => self.deadline(now, position),
                Due::Expiry(position) => {
                    self.expire(now, position);
                    self.expire_passages(now, position);
                }
                Due::Passage(position) => self.retry_passages(now, position),
                Due::Outside => {} // the pump looks at it
                Due::Reseal(position) => {
                    self.queue_reseals(position);
                    self.queue_divide(position);
                }
                Due::Take(key) => self.retry_take(&key),
                Due::Open(position) => self.retry_open(now, position),
                Due::CloseSent(position) => self.close_sent(now, position),
                Due::CloseReceived(position) => self.close_received(now, position),
                Due::SentDuty(position) => self.sent_duties(now, position),
                Due::ReceivedDuty(position) => self.received_duties(now, position),
                Due::Push => self.push_waits = false,
                Due::Deferred => self.deferred.values_mut().for_each(|waits| *waits = false),
                Due::More => {}
            }
        }
        self.timers.set(now, Due::More);
    }

    fn retry(&mut self, now: Timestamp, position: u64) {
        let Some(sent) = self.sent.get_mut(&position) else { return };
        let first_try = sent.is_held() && sent.delivery == Delivery::Idle;
        if !first_try && !matches!(sent.delivery, Delivery::BackOff(at) if at <= now) {
            return;
        }
        sent.delivery = Delivery::Idle;
        if sent.is_held() {
            self.finish_held(position);
        } else {
            self.queue_offer(position);
        }
    }

    fn deadline(&mut self, now: Timestamp, position: u64) {
        let deadline = Duration::from_millis(self.policy.consignment_deadline_ms);
        let Some(sent) = self.sent.get_mut(&position) else { return };
        let passed = sent.relayed_at.is_some_and(|at| at + deadline <= now);
        let mut late = Vec::new();
        let native = |pair: &Pair| pair.passage.is_none() && !pair.state.is_settled();
        for (code, pair) in sent.pairs.iter_mut().filter(|(_, pair)| passed && native(pair)) {
            pair.overdue = true;
            late.push(code.to_string());
        }
        if !late.is_empty() {
            let envelope = sent.key.envelope;
            let text = format!(
                "{envelope} has not been consigned to {} within the deadline: ask the recipient, then the axis operator",
                late.join(", ")
            );
            self.set_alarm(Alarm::Overdue(envelope), Some(text));
        }
    }

    /// Past its life while it never reached the relay: it fails visibly here (I2).
    fn expire(&mut self, now: Timestamp, position: u64) {
        let Some(sent) = self.sent.get(&position) else { return };
        // What the relay has may yet be delivered: its own record decides.
        let native = sent.pairs.values().any(|pair| pair.passage.is_none() && !pair.state.is_settled());
        if !native || sent.relayed_at.is_some() || sent.expires > now || self.offering.contains(&position) {
            return;
        }
        let reason = if sent.is_held() { Reason::HeldTooLong } else { Reason::Expired };
        let (sender, envelope) = (sent.key.sender.to_string(), sent.key.envelope.to_string());
        let (reason, at_ms) = (reason.to_string(), now.unix_ms());
        let body = SentFailed { sender, envelope, reason, at_ms, ..SentFailed::default() };
        self.commit(Body::SentFailed(body), None);
    }

    /// Leaves memory when nothing more is expected; the index leads back to it.
    fn close_sent(&mut self, now: Timestamp, position: u64) {
        let Some(sent) = self.sent.get(&position) else { return };
        let rest = Duration::from_millis(self.policy.close_after_ms);
        let at = sent.changed_at + rest;
        // Its content is still needed for a replacement, as long as that would not come too late anyway.
        let replaces = sent.expires + rest > now && !sent.replacements().is_empty();
        if !sent.is_settled() || at > now || replaces || self.unsent.about(&sent.key).next().is_some() {
            if sent.is_settled() {
                self.timers.set(at.max(now + Duration::from_secs(60)), Due::CloseSent(position));
            }
            return;
        }
        let key = sent.key.clone();
        let needless = super::retention::needless_of(sent);
        let payload = needless.as_ref().filter(|_| !sent.shared);
        let payload = payload.and_then(|needless| Digest::from_slice(&needless.payload).ok());
        let body = Closed {
            sent: true,
            sender: key.sender.to_string(),
            envelope: key.envelope.to_string(),
            places: sent.places.clone(),
            idempotency_key: sent.idempotency_key.clone(),
            leaves: sent.steps.iter().map(|step| step.leaf.as_bytes().to_vec()).collect(),
            needless,
        };
        if self.commit(Body::Closed(body), None).is_some() {
            self.effects.push(Effect::Closed { key, payload });
        }
    }

    pub(super) fn set_alarm(&mut self, alarm: Alarm, text: Option<String>) {
        match text {
            Some(text) => _ = self.alarms.insert(alarm, text),
            None => _ = self.alarms.remove(&alarm),
        }
    }

    // The fold.

    pub(super) fn fold_outgoing(
        &mut self,
        place: Place,
        record: &Outgoing,
        leaf: Option<Bytes>,
    ) -> Result<(), RecordError> {
        let inconsistent = |why: String| RecordError::Inconsistent(why);
        let leaf = leaf.ok_or_else(|| inconsistent("a submission's leaf is missing".into()))?;
        let leaf_hash = truc_ledger::merkle::leaf_hash(&leaf);
        let submission = submission_of(leaf)?;
        let preamble = Raw::<Preamble>::parse(record.preamble.clone()).map_err(|e| inconsistent(e.to_string()))?;
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        let hashes = Hashes {
            submission: leaf_hash,
            preamble: submission.preamble,
            payload: submission.payload,
            commitment: submission.commitment,
        };
        let about = match record.status.as_slice() {
            [] => None,
            bytes => Some(status_about(bytes).map_err(inconsistent)?),
        };
        let held = self.sent_keys.get(&key).copied();
        let position = held.unwrap_or(place.position);
        let mut sent = held.and_then(|p| self.sent.remove(&p)).unwrap_or_else(|| {
            new_sent(key.clone(), place, preamble.kind, preamble.priority, submission.time, preamble.expires)
        });
        sent.body = place.position;
        sent.idempotency_key.clone_from(&record.idempotency_key);
        sent.hashes = Some(hashes);
        sent.held_blob = None;
        sent.payload_length = record.payload.length;
        sent.supersedes.clone_from(&preamble.supersedes);
        sent.continues = record.continues.parse().ok();
        sent.expires = preamble.expires;
        sent.changed_at = submission.time;
        sent.delivery = Delivery::Idle;
        // Who was withdrawn while it was held stays in sight.
        sent.pairs.retain(|_, pair| pair.state == PairState::Failed);
        sent.pairs.extend(submission.key_envelopes.iter().map(|(code, hash)| (code.clone(), new_pair(Some(*hash)))));
        sent.pairs.extend(
            preamble
                .legacy
                .iter()
                .map(|code| (code.clone(), Pair { passage: Some(super::Passage::default()), ..new_pair(None) })),
        );
        if record.about.change.is_some() {
            let asked = sent.pairs.values_mut().filter(|pair| pair.state != PairState::Failed);
            asked.for_each(|pair| pair.business.change = Asking::Asked);
        }
        sent.about.clone_from(&about);
        if sent.places.last() != Some(&place) {
            sent.places.push(place);
        }
        let index = place.leaf.ok_or_else(|| inconsistent("a submission without leaf index".into()))?;
        sent.steps.push(Step {
            event: EventUri::SubmissionAcceptance,
            role: Role::Sender,
            actor: Some(key.sender.clone()),
            time: submission.time,
            recipient: None,
            reason: None,
            leaf: leaf_hash,
            source: Source::Own { position: place.position, index },
        });
        self.note_request(&key.sender, &record.idempotency_key, &record.request_hash, key.clone(), place)?;
        // Nobody on this axis has to hear of what goes through today's axis alone.
        if !preamble.recipients.is_empty() {
            let unsent =
                Unsent { key: key.clone(), leaf: leaf_hash, position: place.position, stage: Stage::WithOffer };
            self.set_unsent(index, unsent);
        }
        self.sent_leaves.insert(leaf_hash, position);
        self.sent_keys.insert(key.clone(), position);
        self.sent.insert(position, sent);
        if let Some(supersedes) = &preamble.supersedes {
            self.mark_superseded(place, &key, supersedes);
        }
        if !record.continues.is_empty() {
            self.fold_continues(place, &key, parsed(&record.continues, "envelope id")?);
        }
        if !record.status.is_empty() {
            self.note_status(&record.status, place, true, key.envelope)?;
        }
        self.schedule_sent(position);
        self.watch_sent(position);
        self.queue_offer(position);
        self.queue_passages(position);
        Ok(())
    }

    fn mark_superseded(&mut self, place: Place, key: &Key, supersedes: &truc_proto::Supersedes) {
        let old = Key { sender: key.sender.clone(), envelope: supersedes.envelope };
        let position = self.sent_keys.get(&old).copied();
        if let Some(sent) = position.and_then(|position| self.sent.get_mut(&position))
            && let Some(pair) = sent.pairs.get_mut(&supersedes.recipient)
        {
            pair.superseded_by = Some(key.envelope);
            pair.resealing = false;
            sent.places.push(place);
        }
        self.alarms.remove(&Alarm::Reseal(supersedes.envelope, supersedes.recipient.clone()));
    }

    pub(super) fn fold_held(&mut self, place: Place, record: &Held) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        let priority = u8::try_from(record.priority).ok().and_then(|p| Priority::try_from(p).ok());
        let kind = if record.status.is_empty() { EnvelopeKind::Document } else { EnvelopeKind::Status };
        let mut sent = new_sent(
            key.clone(),
            place,
            kind,
            priority.unwrap_or(Priority::ORDINARY),
            Timestamp::from_unix_ms(record.held_at_ms),
            Timestamp::from_unix_ms(record.expires_ms),
        );
        sent.idempotency_key.clone_from(&record.idempotency_key);
        sent.held_blob = Digest::from_slice(&record.blob).ok();
        for code in &record.recipients {
            let mut pair = new_pair(None);
            pair.state = PairState::Held;
            sent.pairs.insert(parsed(code, "agency code")?, pair);
        }
        self.note_request(&key.sender, &record.idempotency_key, &record.request_hash, key.clone(), place)?;
        self.sent_keys.insert(key, place.position);
        self.sent.insert(place.position, sent);
        self.schedule_sent(place.position);
        self.watch_sent(place.position);
        Ok(())
    }

    pub(super) fn fold_refused(
        &mut self,
        place: Place,
        record: Refused,
        leaf: Option<Bytes>,
    ) -> Result<(), RecordError> {
        let leaf_hash = leaf.as_ref().map(|leaf| truc_ledger::merkle::leaf_hash(leaf));
        let event = super::event_of(leaf)?;
        let hash = event.request.ok_or_else(|| RecordError::Inconsistent("a rejection without request".into()))?;
        let sender: AgencyId = parsed(&record.sender, "agency code")?;
        if !record.idempotency_key.is_empty() {
            let request = Request { hash, key: None, reason: event.reason, leaf: leaf_hash, place };
            self.requests.insert((sender, record.idempotency_key), request);
        }
        Ok(())
    }

    fn note_request(
        &mut self,
        sender: &AgencyId,
        idempotency_key: &str,
        hash: &[u8],
        key: Key,
        place: Place,
    ) -> Result<(), RecordError> {
        if !idempotency_key.is_empty() {
            let request = Request { hash: digest(hash, "request")?, key: Some(key), reason: None, leaf: None, place };
            self.requests.insert((sender.clone(), idempotency_key.to_owned()), request);
        }
        Ok(())
    }

    pub(super) fn fold_sent_failed(&mut self, place: Place, record: &SentFailed) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        let reason: Reason = parsed(&record.reason, "reason")?;
        let Some(position) = self.sent_keys.get(&key).copied() else { return Ok(()) };
        let Some(sent) = self.sent.get_mut(&position) else { return Ok(()) };
        let named = |code: &AgencyId| record.recipients.iter().any(|name| name == code.as_str());
        let mut of_envelope = false;
        for (code, pair) in &mut sent.pairs {
            let meant = if record.recipients.is_empty() {
                // What goes through today's axis ends by itself.
                pair.passage.is_none() && !pair.state.is_settled()
            } else {
                named(code)
            };
            // One that failed may still have been about to get a replacement.
            let arrived = matches!(pair.state, PairState::PassedOn | PairState::Consigned | PairState::HandedOver);
            if meant && !arrived {
                (pair.state, pair.reason, pair.words) = (PairState::Failed, Some(reason), Some(place.position));
                of_envelope |= pair.passage.is_none();
            }
        }
        // Its recipients are signed and sealed: for some of them alone it cannot go.
        sent.divided |= of_envelope && !sent.is_held() && !sent.native_is_settled();
        sent.changed_at = Timestamp::from_unix_ms(record.at_ms);
        sent.places.push(place);
        if self.sent.get(&position).is_some_and(Sent::native_is_settled) {
            self.submission_failed(position);
        }
        self.schedule_sent(position);
        self.queue_offer(position);
        self.queue_divide(position);
        Ok(())
    }

    pub(super) fn fold_closed(&mut self, record: &Closed) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        self.alarms.remove(&Alarm::EvidenceRefused(key.envelope));
        if record.sent {
            if let Some(position) = self.sent_keys.get(&key) {
                self.warned.sent.remove(position);
            }
            if let Some(sent) = self.sent_keys.remove(&key).and_then(|position| self.sent.remove(&position)) {
                sent.steps.iter().for_each(|step| _ = self.sent_leaves.remove(&step.leaf));
                self.requests.remove(&(key.sender.clone(), sent.idempotency_key));
                self.alarms.remove(&Alarm::Overdue(key.envelope));
                for code in sent.pairs.keys() {
                    self.alarms.remove(&Alarm::LegacyInDoubt(key.envelope, code.clone()));
                }
            }
        } else if let Some(received) = self.received_keys.remove(&key).and_then(|p| self.received.remove(&p)) {
            received.steps.iter().for_each(|step| _ = self.received_leaves.remove(&step.leaf));
            self.warned.received.remove(&received.body);
            self.forget_unread(&received);
            self.forget_origin(&received);
        }
        Ok(())
    }

    /// Evidence moves the recipients' states by the closed table. The event has been checked against the document.
    pub(super) fn move_pairs(&mut self, position: u64, event: &Event) {
        let deadline = Duration::from_millis(self.policy.consignment_deadline_ms);
        let Some(sent) = self.sent.get_mut(&position) else { return };
        if (event.event, event.actor.role) == (EventUri::RelayAcceptance, Role::Relay) {
            sent.relayed_at.get_or_insert(event.time);
            self.timers.set(event.time + deadline, Due::Deadline(position));
            if sent.kind == EnvelopeKind::Document {
                let watch = Due::SentDuty(position);
                duties::watch(&self.policy, &mut self.timers, watch, Duty::Recipients, event.time, sent.priority);
            }
        }
        let gave_up = |steps: &[Step], code: &AgencyId| {
            steps.iter().any(|s| s.event == EventUri::RelayFailure && s.recipient.as_ref().is_none_or(|r| r == code))
        };
        for (code, pair) in &mut sent.pairs {
            if pair.passage.is_some() || event.recipient.as_ref().is_some_and(|recipient| recipient != code) {
                continue;
            }
            if let Move::To(state) = pair_move(pair.state, event.event, event.actor.role) {
                pair.state = state;
                if state == PairState::Failed {
                    pair.reason = event.reason;
                    pair.successor.clone_from(&event.successor);
                } else {
                    pair.reason = None;
                }
            }
            // Late whichever of the two events came first.
            pair.late =
                matches!(pair.state, PairState::Consigned | PairState::HandedOver) && gave_up(&sent.steps, code);
        }
        if sent.is_settled() {
            self.alarms.remove(&Alarm::Overdue(sent.key.envelope));
        }
    }

    /// Sets the timers of a document, after a change and at start.
    pub(super) fn schedule_sent(&mut self, position: u64) {
        let Some(sent) = self.sent.get(&position) else { return };
        if sent.open_passages().next().is_some() {
            self.timers.set(sent.expires, Due::Expiry(position));
        }
        if sent.is_settled() {
            let at = sent.changed_at + Duration::from_millis(self.policy.close_after_ms);
            self.timers.set(at, Due::CloseSent(position));
        } else if let Some(at) = sent.relayed_at {
            let deadline = Duration::from_millis(self.policy.consignment_deadline_ms);
            self.timers.set(at + deadline, Due::Deadline(position));
        } else {
            let held = sent.is_held().then(|| sent.changed_at + Duration::from_millis(self.policy.retry_min_ms));
            self.timers.set(sent.expires, Due::Expiry(position));
            // Nobody says that a key is back: it is tried.
            if let Some(at) = held {
                self.timers.set(at, Due::Retry(position));
            }
        }
    }
}

/// Reads what a `status.json` says about which document.
pub(super) fn status_about(bytes: &[u8]) -> Result<StatusAbout, String> {
    let status = Raw::<BusinessStatus>::parse(bytes.to_vec()).map_err(|e| e.to_string())?;
    // 13 goes from the document's sender to its receiver, all others back.
    let by_sender = status.code.is_from_sender();
    let sender = if by_sender { status.from.clone() } else { status.to.clone() };
    let document = Key { sender, envelope: status.document };
    Ok(StatusAbout { document, code: status.code, sequence: status.sequence })
}

pub(super) fn back_off(policy: &super::Policy, attempts: u32, jitter: u32) -> Duration {
    let doubled = policy.retry_min_ms.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(policy.retry_max_ms);
    // Between half and the whole of it, so that nodes do not come back together.
    let half = doubled / 2;
    Duration::from_millis(half + half * u64::from(jitter) / u64::from(u32::MAX))
}

fn request_hash(bytes: &[u8]) -> Option<Digest> {
    Digest::from_slice(bytes).ok()
}

fn new_pair(key_envelope: Option<Digest>) -> Pair {
    Pair {
        state: PairState::Sealed,
        reason: None,
        successor: None,
        late: false,
        superseded_by: None,
        key_envelope,
        business: Business::default(),
        passage: None,
        words: None,
        told: Told::default(),
        resealing: false,
        overdue: false,
    }
}

fn new_sent(
    key: Key,
    place: Place,
    kind: EnvelopeKind,
    priority: Priority,
    accepted_at: Timestamp,
    expires: Timestamp,
) -> Sent {
    Sent {
        key,
        body: place.position,
        idempotency_key: String::new(),
        kind,
        priority,
        accepted_at,
        expires,
        hashes: None,
        payload_length: 0,
        supersedes: None,
        continues: None,
        relayed_at: None,
        pairs: BTreeMap::new(),
        steps: Vec::new(),
        finals: BTreeMap::new(),
        places: vec![place],
        about: None,
        shared: false,
        held_blob: None,
        divided: false,
        changed_at: accepted_at,
        may_have_left: false,
        dividing: false,
        delivery: Delivery::Idle,
        lost: false,
        attempts: 0,
        last_error: String::new(),
        bytes_sent: 0,
    }
}
