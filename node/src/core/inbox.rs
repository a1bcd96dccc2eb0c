//! What we receive: announced → taken (sealed, with our RelayAcceptance) → opened → consigned or failed → handed over.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use truc_proto::{
    Actor, AgencyId, Event, EventUri, Preamble, Raw, Reason, Role, Submission, Timestamp, limits::RECIPIENTS_MAX,
};

use super::{
    Alarm, Answer, Asking, Business, Code, CodeState, Core, Effect, Failure, Hashes, Key, Leased, OwnLeaf, Received,
    Source, Stage, Step, Token, Told, Unsent, Waiting, Work, code_move, event_of, evidence::is_too_old,
    outbox::back_off, outbox::status_about, parsed, submission_of, timers::Due,
};
use crate::records::{About, Body, Closed, CodeFact, Content, Incoming, Place, RecordError};

/// An announced envelope.
#[derive(Clone, Debug)]
pub(super) struct WaitingState {
    priority: u8,
    attempts: u32,
}

impl Core {
    /// The relay announces; doubles and what we have already change nothing.
    pub(super) fn announce(&mut self, announced: Vec<Waiting>) {
        for waiting in announced {
            let known = self.received_keys.contains_key(&waiting.key) || self.waiting.contains_key(&waiting.key);
            if known || self.waiting.len() >= self.policy.waiting_max {
                continue;
            }
            let priority = waiting.priority.value();
            self.waiting_ready.insert((Reverse(priority), waiting.key.clone()));
            self.waiting.insert(waiting.key, WaitingState { priority, attempts: 0 });
        }
    }

    /// The most urgent first; a bounded number at once. What is on our device already goes before what is not.
    pub(super) fn pump_takes(&mut self) {
        while self.connected && self.taking.len() < self.policy.takes_in_flight_max {
            if let Some((_, position)) = self.openable.pop_first() {
                self.open(position);
            } else if self.is_full() {
                return; // it stays at the relay
            } else if let Some((_, key)) = self.waiting_ready.pop_first() {
                self.taking.insert(key.clone());
                self.effects.push(Effect::Take { key });
            } else {
                return;
            }
        }
    }

    /// The payload is on our device: we answer for the sealed envelope before we may open it.
    pub(super) fn leased(&mut self, now: Timestamp, leased: Leased) {
        let mut incoming = leased.incoming;
        incoming.at_ms = now.unix_ms();
        let Ok((key, submission, _)) = read_incoming(&incoming) else {
            return self.effects.push(Effect::Broken("the shell leased an envelope that cannot be read".into()));
        };
        self.waiting.remove(&key);
        if !self.received_keys.contains_key(&key) {
            let codes: Vec<AgencyId> = incoming.codes.iter().filter_map(|code| code.parse().ok()).collect();
            if self.commit(Body::Incoming(incoming), None).is_none() {
                self.taking.remove(&key);
                return;
            }
            for code in codes {
                // The code itself stands in the fold only once this event does: its key envelope is known from the submission.
                let key_envelope = submission.key_envelopes.get(&code).copied();
                let event = self.event_about(now, &key, &code, EventUri::RelayAcceptance, None, key_envelope);
                self.commit_fact(event, Body::Accepted, String::new());
            }
            self.effects.push(Effect::Sign);
        }
        self.taking.remove(&key);
        if let Some(position) = self.received_keys.get(&key).copied() {
            self.open(position);
        }
    }

    fn open(&mut self, position: u64) {
        let Some(received) = self.received.get_mut(&position) else { return };
        if !received.needs_opening() || received.work == Work::Opening {
            return;
        }
        received.work = Work::Opening;
        let acceptances = received
            .steps
            .iter()
            .filter(|step| (step.event, step.role) == (EventUri::RelayAcceptance, Role::Recipient))
            .filter_map(|step| Some((step.actor.clone()?, own_leaf(step, &received.key)?)))
            .filter(|(code, _)| received.codes.get(code).is_some_and(|code| code.state == CodeState::Taken))
            .collect();
        let (key, body) = (received.key.clone(), received.body);
        self.taking.insert(key.clone());
        self.effects.push(Effect::Open { key, body, acceptances });
    }

    pub(super) fn take_failed(&mut self, now: Timestamp, key: &Key, error: String, jitter: u32, gone: bool) {
        self.taking.remove(key);
        if let Some(position) = self.received_keys.get(key).copied() {
            if gone && is_too_old(key, now) {
                return self.give_up(now, key, position);
            }
            let Some(received) = self.received.get_mut(&position) else { return };
            received.attempts = received.attempts.saturating_add(1);
            let at = now + back_off(&self.policy, received.attempts, jitter);
            received.work = Work::BackOff(at);
            self.timers.set(at, Due::Open(position));
        } else if gone {
            self.waiting.remove(key);
            return self.set_alarm(Alarm::Unusable(key.envelope), None);
        } else if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.attempts = waiting.attempts.saturating_add(1);
            let at = now + back_off(&self.policy, waiting.attempts, jitter);
            self.timers.set(at, Due::Take(key.clone()));
        }
        let text = format!("envelope {key} cannot be taken: {error}");
        self.set_alarm(Alarm::Unusable(key.envelope), Some(text));
    }

    /// The relay has lost or forgotten it, and cannot come to have it again: nobody will ever give us its keys.
    fn give_up(&mut self, now: Timestamp, key: &Key, position: u64) {
        let Some(received) = self.received.get(&position) else { return };
        let taken = received.codes.iter().filter(|(_, code)| code.state == CodeState::Taken);
        let detail = "the relay does not have it any more, and its time is over";
        let failure = Failure { reason: Reason::Expired, detail: detail.into() };
        let outcomes = taken.map(|(code, _)| (code.clone(), Err(failure.clone()))).collect();
        self.opened(now, key, None, outcomes);
    }

    pub(super) fn retry_take(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.get(key).filter(|_| !self.taking.contains(key)) {
            self.waiting_ready.insert((Reverse(waiting.priority), key.clone()));
        }
    }

    pub(super) fn retry_open(&mut self, now: Timestamp, position: u64) {
        let Some(received) = self.received.get_mut(&position) else { return };
        if matches!(received.work, Work::BackOff(at) if at <= now) {
            received.work = Work::Idle;
            self.queue_open(position);
        }
    }

    pub(super) fn queue_open(&mut self, position: u64) {
        if let Some(received) = self.received.get(&position).filter(|r| r.needs_opening() && r.work == Work::Idle) {
            self.openable.insert((Reverse(received.priority.value()), position));
        }
    }

    /// Consigned or failed, per code: one code's failure does not hold up another's.
    pub(super) fn opened(
        &mut self,
        now: Timestamp,
        key: &Key,
        content: Option<Content>,
        outcomes: Vec<(AgencyId, Result<(), Failure>)>,
    ) {
        self.taking.remove(key);
        let Some(position) = self.received_keys.get(key).copied() else { return };
        let Some(received) = self.received.get_mut(&position) else { return };
        received.work = Work::Idle;
        received.attempts = 0;
        let has_content = received.content.is_some();
        if let (Some(mut content), false) = (content, has_content) {
            content.index_keys = self.status_strays(&content.status, false);
            if self.commit(Body::Content(content), None).is_none() {
                return;
            }
        }
        let available = self.received.get(&position).is_some_and(|received| received.content.is_some());
        self.alarms.remove(&Alarm::Unusable(key.envelope));
        for (code, outcome) in outcomes {
            let taken = |r: &Received| r.codes.get(&code).is_some_and(|code| code.state == CodeState::Taken);
            if !self.received.get(&position).is_some_and(taken) {
                continue; // told before
            }
            match outcome {
                Ok(()) if available => {
                    let event = self.event(now, key, &code, EventUri::ContentConsignment, None);
                    if self.commit_fact(event, Body::Consigned, String::new()) {
                        self.effects.push(Effect::Arrived { key: key.clone(), code });
                    }
                }
                Ok(()) => self.effects.push(Effect::Broken("an envelope was opened without content".into())),
                Err(failure) => {
                    let event = self.event(now, key, &code, EventUri::ContentConsignmentFailure, Some(failure.reason));
                    self.commit_fact(event, Body::ConsignmentFailed, failure.detail);
                }
            }
        }
        self.effects.push(Effect::Sign);
        self.queue_open(position);
    }

    /// Recorded as handed over exactly once (I3), however often it is confirmed.
    pub(super) fn confirm(
        &mut self,
        now: Timestamp,
        key: &Key,
        code: &AgencyId,
        refused: Option<String>,
        reply: Option<Token>,
    ) {
        let Some(found) = self.find_received(key).and_then(|received| received.codes.get(code)) else {
            return self.reply(reply, Answer::NotFound);
        };
        let wanted = if refused.is_some() { CodeState::HandoverFailed } else { CodeState::HandedOver };
        if let (true, Some(at)) = (found.state == wanted, found.confirmed_at) {
            return self.reply(reply, Answer::Confirmed { at, first: false });
        }
        if found.business.is_withdrawn() && found.state != CodeState::HandedOver {
            let why = "it was withdrawn by agreement (15) and is no current document any more / Văn bản đã được lấy lại theo thỏa thuận (15)";
            return self.reply(reply, Answer::NotNow(why));
        }
        let (event, reason) = match refused {
            Some(_) => (EventUri::ContentHandoverFailure, Some(Reason::RefusedBySystem)),
            None => (EventUri::ContentHandover, None),
        };
        if code_move(Some(found.state), event).is_none() {
            let why = match found.state {
                CodeState::Taken => {
                    "it is not opened yet; wait until it stands in the inbox / Chưa mở xong; đợi đến khi có trong hộp thư đến"
                }
                CodeState::Failed => {
                    "it could not be opened; the sender has been told why / Không mở được; bên gửi đã được báo lý do"
                }
                CodeState::HandedOver => {
                    "it was handed over before; set status 02 to refuse it now / Đã bàn giao trước đó; đặt trạng thái 02 để từ chối"
                }
                CodeState::Consigned | CodeState::HandoverFailed => "it was refused before / Đã từ chối trước đó",
            };
            return self.reply(reply, Answer::NotNow(why));
        }
        let event = self.event(now, key, code, event, reason);
        if self.commit_fact(event, Body::HandedOver, refused.unwrap_or_default()) {
            self.effects.push(Effect::Sign);
            self.reply(reply, Answer::Confirmed { at: now, first: true });
        }
    }

    /// The received document with this envelope id for this code. Senders do not share ids, unless one copies another's:
    /// then only `sender` tells which is meant, and without it there is none.
    #[must_use]
    pub fn find_for(
        &self,
        envelope: truc_proto::EnvelopeId,
        code: &AgencyId,
        sender: Option<&AgencyId>,
    ) -> Option<&Received> {
        let meant = |r: &&Received| r.codes.contains_key(code) && sender.is_none_or(|sender| *sender == r.key.sender);
        let mut candidates = self.received_of(envelope).filter(meant);
        candidates.next().filter(|_| candidates.next().is_none())
    }

    /// All received envelopes with this id.
    pub fn received_of(&self, envelope: truc_proto::EnvelopeId) -> impl Iterator<Item = &Received> {
        self.keys_of(&self.received_keys, envelope).filter_map(|position| self.received.get(&position))
    }

    /// All sent envelopes with this id: at most one, since we make them.
    pub fn sent_of(&self, envelope: truc_proto::EnvelopeId) -> impl Iterator<Item = &super::Sent> {
        self.keys_of(&self.sent_keys, envelope).filter_map(|position| self.sent.get(&position))
    }

    fn keys_of<'a>(
        &self,
        keys: &'a BTreeMap<Key, u64>,
        envelope: truc_proto::EnvelopeId,
    ) -> impl Iterator<Item = u64> + 'a {
        let first: AgencyId = "A00".parse().expect("the least code there is");
        let least = Key { envelope, sender: first };
        keys.range(least..).take_while(move |(key, _)| key.envelope == envelope).map(|(_, position)| *position)
    }

    /// An event about a received envelope, as one of our codes says it.
    fn event(
        &self,
        now: Timestamp,
        key: &Key,
        code: &AgencyId,
        event: EventUri,
        reason: Option<Reason>,
    ) -> Option<Raw<Event>> {
        let about_keys = !matches!(event, EventUri::ContentHandover | EventUri::ContentHandoverFailure);
        let known = self.find_received(key)?.codes.get(code).map(|code| code.key_envelope);
        self.event_about(now, key, code, event, reason, known.filter(|_| about_keys))
    }

    fn event_about(
        &self,
        now: Timestamp,
        key: &Key,
        code: &AgencyId,
        event: EventUri,
        reason: Option<Reason>,
        key_envelope: Option<truc_proto::Digest>,
    ) -> Option<Raw<Event>> {
        let hashes = self.find_received(key)?.hashes;
        let actor = Actor { code: Some(code.clone()), node: self.policy.node.clone(), role: Role::Recipient };
        Raw::write(Event {
            event,
            actor,
            time: now,
            envelope: Some(key.envelope),
            sender: key.sender.clone(),
            recipient: Some(code.clone()),
            submission: Some(hashes.submission),
            preamble: Some(hashes.preamble),
            payload: Some(hashes.payload),
            commitment: Some(hashes.commitment),
            key_envelope,
            reason,
            details: None,
            request: None,
            successor: None,
        })
        .ok()
    }

    fn commit_fact(&mut self, event: Option<Raw<Event>>, body: fn(CodeFact) -> Body, detail: String) -> bool {
        match event {
            Some(event) => self.commit(body(CodeFact { detail }), Some(event.bytes().clone())).is_some(),
            None => {
                self.effects.push(Effect::Broken("an event could not be written".into()));
                false
            }
        }
    }

    pub(super) fn close_received(&mut self, now: Timestamp, position: u64) {
        let Some(received) = self.received.get(&position) else { return };
        let at = received.changed_at + Duration::from_millis(self.policy.close_after_ms);
        if !received.is_settled() || at > now || self.unsent.about(&received.key).next().is_some() {
            if received.is_settled() {
                self.timers.set(at.max(now + Duration::from_secs(60)), Due::CloseReceived(position));
            }
            return;
        }
        if let Some(until) = self.kept_for_reader(received).filter(|until| now < *until) {
            return self.keep_for_reader(now, position, until);
        }
        let key = received.key.clone();
        let body = Closed {
            sent: false,
            sender: key.sender.to_string(),
            envelope: key.envelope.to_string(),
            places: received.places.clone(),
            idempotency_key: String::new(),
            leaves: received.steps.iter().map(|step| step.leaf.as_bytes().to_vec()).collect(),
            needless: None, // until its retention has passed
        };
        if self.commit(Body::Closed(body), None).is_some() {
            self.effects.push(Effect::Closed { key, payload: None });
        }
    }

    // The fold.

    pub(super) fn fold_incoming(&mut self, place: Place, record: &Incoming) -> Result<(), RecordError> {
        let (key, submission, hash) = read_incoming(record)?;
        let preamble = read_preamble(record)?;
        let hashes = Hashes {
            submission: hash,
            preamble: submission.preamble,
            payload: submission.payload,
            commitment: submission.commitment,
        };
        let at = Timestamp::from_unix_ms(record.at_ms);
        let mut steps = vec![step_of_submission(&submission, hash, Source::Lease { position: place.position })];
        let acceptance = event_of(Some(record.relay_acceptance.leaf.clone()))?;
        let relay_leaf = truc_ledger::merkle::leaf_hash(&record.relay_acceptance.leaf);
        steps.push(step_of_event(&acceptance, relay_leaf, Source::Lease { position: place.position }));
        for step in &steps {
            self.received_leaves.insert(step.leaf, place.position);
        }
        let mut finals = BTreeMap::new();
        // Between two codes of this node, what came first for the sending side serves this one too.
        let sent = self.sent_keys.get(&key).and_then(|position| self.sent.get(position));
        finals.extend(steps.iter().filter_map(|step| {
            let known = self.parked.remove(&step.leaf).or_else(|| sent?.finals.get(&step.leaf).copied());
            Some((step.leaf, known?))
        }));
        // Sent between two codes of this node: both sides read the one payload.
        if let Some(sent) = self.sent_keys.get(&key).and_then(|position| self.sent.get_mut(position)) {
            sent.shared = true;
        }
        self.received_keys.insert(key.clone(), place.position);
        self.received.insert(
            place.position,
            Received {
                key,
                body: place.position,
                content: None,
                kind: preamble.kind,
                priority: preamble.priority,
                hashes,
                payload_length: record.payload.length,
                codes: BTreeMap::new(),
                steps,
                finals,
                places: vec![place],
                about: None,
                origin: None,
                removed: None,
                changed_at: at,
                work: Work::Idle,
                attempts: 0,
            },
        );
        Ok(())
    }

    /// RelayAcceptance, ContentConsignment, ContentConsignmentFailure, ContentHandover, ContentHandoverFailure of ours.
    pub(super) fn fold_code_fact(&mut self, place: Place, leaf: Option<Bytes>) -> Result<(), RecordError> {
        let inconsistent = |why: &str| RecordError::Inconsistent(why.to_owned());
        let event = event_of(leaf)?;
        let leaf_hash = truc_ledger::merkle::leaf_hash(event.bytes());
        let index = place.leaf.ok_or_else(|| inconsistent("an event without leaf index"))?;
        let (Some(envelope), Some(code)) = (event.envelope, event.actor.code.clone()) else {
            return Err(inconsistent("an event of ours without envelope or code"));
        };
        let key = Key { sender: event.sender.clone(), envelope };
        let position = *self.received_keys.get(&key).ok_or_else(|| inconsistent("an event about no known envelope"))?;
        let received = self.received.get_mut(&position).ok_or_else(|| inconsistent("an envelope lost from memory"))?;
        let before = received.codes.get(&code);
        let state = code_move(before.map(|code| code.state), event.event)
            .ok_or_else(|| inconsistent(&format!("{} cannot follow {before:?}", event.event.name())))?;
        if received.codes.len() > RECIPIENTS_MAX {
            return Err(inconsistent("too many codes in one envelope"));
        }
        let is_new = before.is_none();
        if is_new {
            let key_envelope =
                event.key_envelope.ok_or_else(|| inconsistent("an acceptance that names no key envelope"))?;
            let business = Business::default();
            let fresh = Code {
                state,
                key_envelope,
                reason: None,
                consigned_at: None,
                confirmed_at: None,
                taken_at: None,
                business,
                told: Told::default(),
            };
            received.codes.insert(code.clone(), fresh);
        }
        let entry = received.codes.get_mut(&code).ok_or_else(|| inconsistent("an event about no code of ours"))?;
        entry.state = state;
        entry.reason = event.reason;
        match state {
            CodeState::Consigned => entry.consigned_at = Some(event.time),
            CodeState::HandedOver | CodeState::HandoverFailed => entry.confirmed_at = Some(event.time),
            CodeState::Taken | CodeState::Failed => {}
        }
        let told = (state == CodeState::Consigned).then(|| event.actor.code.clone()).flatten();
        received.steps.push(step_of_event(&event, leaf_hash, Source::Own { position: place.position, index }));
        received.places.push(place);
        received.changed_at = event.time;
        // The keys were given against our acceptance, so the relay has that leaf.
        let acceptance = told.and_then(|code| {
            let is_it = |s: &&Step| {
                (s.event, s.role, s.actor.as_ref()) == (EventUri::RelayAcceptance, Role::Recipient, Some(&code))
            };
            received.steps.iter().find(is_it).and_then(|step| own_leaf(step, &key))
        });
        if let Some(acceptance) = acceptance {
            self.leaf_is_known(acceptance.index);
        }
        // Nobody on today's axis hears of it, and the relay knows nothing of it.
        if self.received.get(&position).is_none_or(|received| received.origin.is_none()) {
            let unsent = Unsent { key: key.clone(), leaf: leaf_hash, position: place.position, stage: Stage::Leaf };
            self.set_unsent(index, unsent);
        }
        self.received_leaves.insert(leaf_hash, position);
        if is_new {
            self.take_early(&key, &code);
        }
        self.note_unread(position);
        self.schedule_received(position);
        if state == CodeState::Consigned {
            self.watch_received(position, event.time);
        }
        Ok(())
    }

    pub(super) fn fold_content(&mut self, place: Place, record: &Content) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        let about = match record.status.as_slice() {
            [] => None,
            bytes => Some(status_about(bytes).map_err(RecordError::Inconsistent)?),
        };
        let envelope = key.envelope;
        let received = self.received_keys.get(&key).copied().and_then(|position| self.received.get_mut(&position));
        if let Some(received) = received {
            received.content = Some(place.position);
            received.about = about;
            let change = asked_by(&record.about);
            received.codes.values_mut().for_each(|code| code.business.change = change);
            received.places.push(place);
        }
        if !record.status.is_empty() {
            self.note_status(&record.status, place, false, envelope)?;
        }
        Ok(())
    }

    pub(super) fn schedule_received(&mut self, position: u64) {
        let Some(received) = self.received.get(&position).filter(|received| received.is_settled()) else { return };
        let at = received.changed_at + Duration::from_millis(self.policy.close_after_ms);
        self.timers.set(at, Due::CloseReceived(position));
    }
}

/// A document that changes an earlier one is a request, answered with 15 or 16.
pub(super) const fn asked_by(about: &About) -> Asking {
    if about.change.is_some() { Asking::Asked } else { Asking::None }
}

fn own_leaf(step: &Step, key: &Key) -> Option<OwnLeaf> {
    match step.source {
        Source::Own { position, index } => {
            Some(OwnLeaf { index, position, leaf: step.leaf, envelope: key.envelope, known: false })
        }
        Source::Peer(_) | Source::Lease { .. } => None,
    }
}

fn read_preamble(record: &Incoming) -> Result<Raw<Preamble>, RecordError> {
    Raw::parse(record.preamble.clone()).map_err(|e| RecordError::Inconsistent(e.to_string()))
}

fn read_incoming(record: &Incoming) -> Result<(Key, Raw<Submission>, truc_proto::Digest), RecordError> {
    let preamble = read_preamble(record)?;
    let hash = truc_ledger::merkle::leaf_hash(&record.submission.leaf);
    let submission = submission_of(record.submission.leaf.clone())?;
    if submission.preamble != preamble.digest() || submission.envelope != preamble.envelope {
        return Err(RecordError::Inconsistent("submission and preamble do not belong together".into()));
    }
    Ok((Key { sender: preamble.sender.clone(), envelope: preamble.envelope }, submission, hash))
}

pub(super) fn step_of_submission(submission: &Submission, leaf: truc_proto::Digest, source: Source) -> Step {
    Step {
        event: EventUri::SubmissionAcceptance,
        role: Role::Sender,
        actor: submission.actor.code.clone(),
        time: submission.time,
        recipient: None,
        reason: None,
        leaf,
        source,
    }
}

pub(super) fn step_of_event(event: &Event, leaf: truc_proto::Digest, source: Source) -> Step {
    Step {
        event: event.event,
        role: event.actor.role,
        actor: event.actor.code.clone(),
        time: event.time,
        recipient: event.recipient.clone(),
        reason: event.reason,
        leaf,
        source,
    }
}
