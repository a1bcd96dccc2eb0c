//! What goes through today's axis: a document of ours for an agency that is still there is handed over once, unsealed, by this
//! node. Nothing signed comes back, so the last evidence is our own RelayToNonERDS.
//!
//! Two records bracket every attempt: *about to post* before a byte leaves, the outcome behind it. What ends without an outcome
//! (the reply was lost, or the process) may have been taken there: it is never posted again before that axis has been asked for
//! it, and when its list does not show it after [`super::Policy::look_ups_max`] look-ups it ends as `legacy-in-doubt`, which a
//! person decides. Better a failure that is said than a document that arrives twice.

use std::{cmp::Reverse, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_proto::{Actor, AgencyId, EnvelopeId, EnvelopeKind, Event, EventUri, Raw, Reason, Role, Timestamp};

use super::{
    Alarm, Core, Delivery, Effect, Key, Move, PairState, Sent, Source, duties, inbox::step_of_event, outbox::back_off,
    pair_move, parsed, timers::Due,
};
use crate::{
    duties::Duty,
    records::{Body, PassageNote, PassedOn, Place, RecordError},
};

/// Refusals of that axis in a row that end a passage: some of its refusals pass.
const REFUSALS_MAX: u32 = 3;

/// How a document stands with a recipient on today's axis.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Passage {
    /// When it was about to be posted, while nothing is known of what came of it.
    pub posting: Option<Timestamp>,
    /// That axis's name for it, once it has it.
    pub doc_id: String,
    /// Words for people: what that axis said when it refused.
    pub detail: String,
    /// What is under way.
    #[serde(skip)]
    pub delivery: Delivery,
    /// Attempts since the last answer.
    #[serde(skip)]
    pub attempts: u32,
    /// Refusals in a row.
    #[serde(skip)]
    pub refusals: u32,
    /// How often that axis was asked for it and did not show it.
    #[serde(skip)]
    pub looked: u32,
    /// What went wrong last, for people.
    #[serde(skip)]
    pub last_error: String,
}

/// What came of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PassOutcome {
    /// That axis has it, as its answer or its list says.
    Taken {
        /// Its name there.
        doc_id: String,
    },
    /// It did not leave whole: that axis cannot have it.
    NotSent {
        /// For people.
        error: String,
    },
    /// That axis says no.
    Refused {
        /// Its words.
        error: String,
    },
    /// It left whole, and no answer came that says anything.
    NoAnswer {
        /// For people.
        error: String,
    },
    /// That axis's list does not show it.
    NotShown,
    /// That axis could not be asked.
    NotAsked {
        /// For people.
        error: String,
    },
}

/// How that axis as a whole is.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Failures in a row; while there are any, one attempt is made at a time.
    failures: u32,
    /// Not tried before.
    until: Option<Timestamp>,
    in_flight: usize,
}

/// What a [`PassageNote`] says. Persisted: never change a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Note {
    Posting = 1,
    NotSent = 2,
    Failed = 3,
}

impl Note {
    fn read(number: u32) -> Option<Self> {
        [Self::Posting, Self::NotSent, Self::Failed].into_iter().find(|note| *note as u32 == number)
    }
}

impl Core {
    /// The most urgent first, then the oldest; a bounded number at once, and one while that axis is in trouble.
    pub(super) fn pump_passages(&mut self, now: Timestamp) {
        if self.outside.until.is_some_and(|until| now < until) {
            return;
        }
        let most = if self.outside.failures > 0 { 1 } else { self.policy.passages_in_flight_max };
        while self.outside.in_flight < most {
            let Some((_, position, recipient)) = self.passable.pop_first() else { return };
            self.pass(now, position, &recipient);
        }
    }

    fn pass(&mut self, now: Timestamp, position: u64, recipient: &AgencyId) {
        let Some(sent) = self.sent.get(&position) else { return };
        let (key, body, expires) = (sent.key.clone(), sent.body, sent.expires);
        let Some(passage) = open_passage(sent, recipient).filter(|passage| passage.delivery == Delivery::Idle) else {
            return;
        };
        let since = passage.posting;
        if expires <= now {
            return self.expire_passages(now, position);
        }
        if since.is_none() && !self.note_passage(now, &key, recipient, Note::Posting, None, String::new()) {
            return;
        }
        if let Some(passage) = self.passage_mut(position, recipient) {
            passage.delivery = Delivery::InFlight;
            self.outside.in_flight += 1;
            self.effects.push(Effect::Pass { key, recipient: recipient.clone(), body, since });
        }
    }

    /// An attempt has ended.
    pub(super) fn passed(
        &mut self,
        now: Timestamp,
        key: &Key,
        recipient: &AgencyId,
        outcome: PassOutcome,
        jitter: u32,
    ) {
        let Some(position) = self.sent_keys.get(key).copied() else { return };
        let Some(passage) = self.passage_mut(position, recipient) else { return };
        if passage.delivery != Delivery::InFlight {
            return;
        }
        passage.delivery = Delivery::Idle;
        self.outside.in_flight = self.outside.in_flight.saturating_sub(1);
        match outcome {
            PassOutcome::Taken { doc_id } => {
                self.outside_answers();
                self.passed_on(now, position, recipient, doc_id);
            }
            PassOutcome::Refused { error } => {
                self.outside_answers();
                let Some(passage) = self.passage_mut(position, recipient) else { return };
                passage.refusals += 1;
                if passage.refusals >= REFUSALS_MAX {
                    self.note_passage(now, key, recipient, Note::Failed, Some(Reason::RefusedByLegacy), error);
                } else {
                    self.note_passage(now, key, recipient, Note::NotSent, None, error.clone());
                    self.passage_waits(now, position, recipient, error, jitter);
                }
            }
            PassOutcome::NotSent { error } => {
                self.outside_fails(now, &error, jitter);
                self.note_passage(now, key, recipient, Note::NotSent, None, error.clone());
                self.passage_waits(now, position, recipient, error, jitter);
            }
            PassOutcome::NoAnswer { error } => {
                self.outside_fails(now, &error, jitter);
                self.passage_waits(now, position, recipient, error, jitter);
            }
            PassOutcome::NotAsked { error } => {
                self.outside_fails(now, &error, jitter);
                self.passage_waits(now, position, recipient, error, jitter);
            }
            PassOutcome::NotShown => {
                self.outside_answers();
                self.not_shown(now, position, key, recipient);
            }
        }
        self.queue_passages(position);
    }

    fn not_shown(&mut self, now: Timestamp, position: u64, key: &Key, recipient: &AgencyId) {
        let (most, first) = (self.policy.look_ups_max, self.policy.look_up_min_ms);
        let Some(passage) = self.passage_mut(position, recipient) else { return };
        passage.looked += 1;
        if passage.looked >= most {
            return self.in_doubt(now, key, recipient);
        }
        let at = now + Duration::from_millis(first.saturating_mul(1 << (passage.looked - 1).min(16)));
        passage.delivery = Delivery::BackOff(at);
        "posted without an answer, and not shown there yet".clone_into(&mut passage.last_error);
        self.timers.set(at, Due::Passage(position));
    }

    fn in_doubt(&mut self, now: Timestamp, key: &Key, recipient: &AgencyId) {
        let detail = "posted without an answer, and that axis's list of sent documents does not show it / đã gửi, không có trả lời, danh sách đã gửi của trục hiện hành không có";
        if self.note_passage(now, key, recipient, Note::Failed, Some(Reason::LegacyInDoubt), detail.to_owned()) {
            let text = format!(
                "{} for {recipient}: today's axis took it without an answer or did not take it; ask {recipient} whether it came before it is sent again",
                key.envelope
            );
            self.set_alarm(Alarm::LegacyInDoubt(key.envelope, recipient.clone()), Some(text));
        }
    }

    fn passed_on(&mut self, now: Timestamp, position: u64, recipient: &AgencyId, doc_id: String) {
        let Some(sent) = self.sent.get(&position) else { return };
        let Some(hashes) = sent.hashes else { return };
        let actor = Actor { code: Some(sent.key.sender.clone()), node: self.policy.node.clone(), role: Role::Sender };
        let event = Raw::write(Event {
            event: EventUri::RelayToNonErds,
            actor,
            time: now,
            envelope: Some(sent.key.envelope),
            sender: sent.key.sender.clone(),
            recipient: Some(recipient.clone()),
            submission: Some(hashes.submission),
            preamble: Some(hashes.preamble),
            payload: Some(hashes.payload),
            commitment: Some(hashes.commitment),
            key_envelope: None,
            reason: None,
            details: None,
            request: None,
            successor: None,
        });
        match event {
            Ok(event) => {
                if self.commit(Body::PassedOn(PassedOn { doc_id }), Some(event.bytes().clone())).is_some() {
                    self.effects.push(Effect::Sign);
                }
            }
            Err(error) => self.effects.push(Effect::Broken(error.to_string())),
        }
    }

    /// What could not be handed over in its time ends visibly (I2); what may have been is said to be in doubt.
    pub(super) fn expire_passages(&mut self, now: Timestamp, position: u64) {
        let Some(sent) = self.sent.get(&position).filter(|sent| sent.expires <= now) else { return };
        let key = sent.key.clone();
        let open: Vec<(AgencyId, bool, bool)> = sent
            .open_passages()
            .map(|(code, passage)| (code.clone(), passage.delivery == Delivery::InFlight, passage.posting.is_some()))
            .collect();
        for (recipient, in_flight, doubtful) in open {
            if in_flight {
                // Its end decides.
                self.timers.set(now + Duration::from_millis(self.policy.retry_max_ms), Due::Expiry(position));
            } else if doubtful {
                self.in_doubt(now, &key, &recipient);
            } else {
                self.note_passage(now, &key, &recipient, Note::Failed, Some(Reason::Expired), String::new());
            }
        }
    }

    /// Puts what may be passed on in its place.
    pub(super) fn queue_passages(&mut self, position: u64) {
        let Some(sent) = self.sent.get(&position) else { return };
        let ready = sent.open_passages().filter(|(_, passage)| passage.delivery == Delivery::Idle);
        let places: Vec<_> = ready.map(|(code, _)| (Reverse(sent.priority.value()), position, code.clone())).collect();
        self.passable.extend(places);
    }

    /// A back-off has ended.
    pub(super) fn retry_passages(&mut self, now: Timestamp, position: u64) {
        let Some(sent) = self.sent.get_mut(&position) else { return };
        for passage in sent.pairs.values_mut().filter_map(|pair| pair.passage.as_mut()) {
            if matches!(passage.delivery, Delivery::BackOff(at) if at <= now) {
                passage.delivery = Delivery::Idle;
            }
        }
        self.queue_passages(position);
    }

    fn passage_waits(&mut self, now: Timestamp, position: u64, recipient: &AgencyId, error: String, jitter: u32) {
        let policy = self.policy.clone();
        let Some(passage) = self.passage_mut(position, recipient) else { return };
        passage.attempts = passage.attempts.saturating_add(1);
        let at = now + back_off(&policy, passage.attempts, jitter);
        passage.delivery = Delivery::BackOff(at);
        passage.last_error = error;
        self.timers.set(at, Due::Passage(position));
    }

    /// That axis said something that makes sense.
    pub(super) fn outside_answers(&mut self) {
        (self.outside.failures, self.outside.until) = (0, None);
        self.set_alarm(Alarm::Gateway, None);
    }

    fn outside_fails(&mut self, now: Timestamp, error: &str, jitter: u32) {
        self.outside.failures = self.outside.failures.saturating_add(1);
        let until = now + back_off(&self.policy, self.outside.failures, jitter);
        self.outside.until = Some(until);
        self.timers.set(until, Due::Outside);
        self.set_alarm(
            Alarm::Gateway,
            Some(format!("today's axis does not take documents: {error}; tried again by itself")),
        );
    }

    fn note_passage(
        &mut self,
        now: Timestamp,
        key: &Key,
        recipient: &AgencyId,
        note: Note,
        reason: Option<Reason>,
        detail: String,
    ) -> bool {
        let record = PassageNote {
            sender: key.sender.to_string(),
            envelope: key.envelope.to_string(),
            recipient: recipient.to_string(),
            what: note as u32,
            reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
            detail,
            at_ms: now.unix_ms(),
        };
        self.commit(Body::PassageNote(record), None).is_some()
    }

    fn passage_mut(&mut self, position: u64, recipient: &AgencyId) -> Option<&mut Passage> {
        self.sent.get_mut(&position)?.pairs.get_mut(recipient)?.passage.as_mut()
    }

    /// Names that today's axis gave to documents of `from` for `to` that are in memory.
    #[must_use]
    pub fn passed_names(&self, from: &AgencyId, to: &AgencyId) -> Vec<String> {
        let of_pair = |sent: &Sent| Some(sent.pairs.get(to)?.passage.as_ref()?.doc_id.clone());
        let named = self.sent.values().filter(|sent| sent.key.sender == *from).filter_map(of_pair);
        named.filter(|name| !name.is_empty()).collect()
    }

    // The fold.

    pub(super) fn fold_passage_note(&mut self, place: Place, record: &PassageNote) -> Result<(), RecordError> {
        let inconsistent = |why: &str| RecordError::Inconsistent(why.to_owned());
        let key = Key {
            sender: parsed(&record.sender, "agency code")?,
            envelope: parsed::<EnvelopeId>(&record.envelope, "envelope id")?,
        };
        let recipient: AgencyId = parsed(&record.recipient, "agency code")?;
        let at = Timestamp::from_unix_ms(record.at_ms);
        let position = *self.sent_keys.get(&key).ok_or_else(|| inconsistent("a passage of no known envelope"))?;
        let sent = self.sent.get_mut(&position).ok_or_else(|| inconsistent("an envelope lost from memory"))?;
        let pair = sent.pairs.get_mut(&recipient).ok_or_else(|| inconsistent("a passage for no recipient"))?;
        let passage = pair.passage.as_mut().ok_or_else(|| inconsistent("a passage for a recipient of this axis"))?;
        match Note::read(record.what).ok_or(RecordError::Later)? {
            Note::Posting => passage.posting = Some(at),
            Note::NotSent => (passage.posting, passage.looked) = (None, 0),
            Note::Failed => {
                passage.posting = None;
                passage.detail.clone_from(&record.detail);
                if !pair.state.is_settled() {
                    pair.state = PairState::Failed;
                    pair.reason = Some(parsed(&record.reason, "reason")?);
                }
                sent.places.push(place);
                sent.changed_at = at;
            }
        }
        self.schedule_sent(position);
        Ok(())
    }

    pub(super) fn fold_passed_on(
        &mut self,
        place: Place,
        record: &PassedOn,
        leaf: Option<Bytes>,
    ) -> Result<(), RecordError> {
        let inconsistent = |why: &str| RecordError::Inconsistent(why.to_owned());
        let event = super::event_of(leaf)?;
        let leaf_hash = truc_ledger::merkle::leaf_hash(event.bytes());
        let index = place.leaf.ok_or_else(|| inconsistent("an event without leaf index"))?;
        let (Some(envelope), Some(recipient)) = (event.envelope, event.recipient.clone()) else {
            return Err(inconsistent("an event of ours without envelope or recipient"));
        };
        let key = Key { sender: event.sender.clone(), envelope };
        let position = *self.sent_keys.get(&key).ok_or_else(|| inconsistent("an event about no known envelope"))?;
        let sent = self.sent.get_mut(&position).ok_or_else(|| inconsistent("an envelope lost from memory"))?;
        let pair = sent.pairs.get_mut(&recipient).ok_or_else(|| inconsistent("passed on for no recipient"))?;
        if let Move::To(state) = pair_move(pair.state, event.event, event.actor.role) {
            pair.state = state;
            pair.reason = None;
        }
        let passage = pair.passage.get_or_insert_default();
        passage.posting = None;
        passage.last_error.clear();
        passage.doc_id.clone_from(&record.doc_id);
        sent.steps.push(step_of_event(&event, leaf_hash, Source::Own { position: place.position, index }));
        sent.places.push(place);
        sent.changed_at = event.time;
        if sent.kind == EnvelopeKind::Document {
            let watch = Due::SentDuty(position);
            duties::watch(&self.policy, &mut self.timers, watch, Duty::Recipients, event.time, sent.priority);
        }
        self.sent_leaves.insert(leaf_hash, position);
        self.schedule_sent(position);
        Ok(())
    }
}

fn open_passage<'s>(sent: &'s Sent, recipient: &AgencyId) -> Option<&'s Passage> {
    let pair = sent.pairs.get(recipient).filter(|pair| !pair.state.is_settled())?;
    pair.passage.as_ref()
}

impl Sent {
    /// Recipients on today's axis that it still has to be handed over for.
    pub fn open_passages(&self) -> impl Iterator<Item = (&AgencyId, &Passage)> {
        let open = self.pairs.iter().filter(|(_, pair)| !pair.state.is_settled());
        open.filter_map(|(code, pair)| Some((code, pair.passage.as_ref()?)))
    }

    /// Whether any recipient is on this axis.
    #[must_use]
    pub fn has_native(&self) -> bool {
        self.pairs.values().any(|pair| pair.passage.is_none())
    }
}
