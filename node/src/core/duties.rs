//! Deadlines of open documents, and what officers count of them (docs/DUTIES.md). A duty is a function of what the journal says of a document;
//! that its deadline is near, and that it has passed, is said once each, by a record of its own, so that a restart neither repeats nor forgets it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use truc_proto::{AgencyId, EnvelopeKind, EventUri, Priority, Reason, Role, StatusCode, Timestamp};

use super::{
    Business, Code, CodeState, Core, Key, Pair, PairState, Policy, Received, Sent, Step, parsed,
    timers::{Due, Timers},
};
use crate::{
    duties::{Course, Duty, DutyRules, Standing},
    records::{Body, DutyTold, Place, RecordError},
};

/// What was said of a recipient's, or a code's, deadlines: a bit per duty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    due: u8,
    late: u8,
}

impl Told {
    /// Whether it was said that the deadline is near, or, with `late`, that it has passed.
    #[must_use]
    pub const fn has(self, duty: Duty, late: bool) -> bool {
        let bits = if late { self.late } else { self.due };
        bits & (1 << duty as u8) != 0
    }

    const fn set(&mut self, duty: Duty, late: bool) {
        let bits = if late { &mut self.late } else { &mut self.due };
        *bits |= 1 << duty as u8;
    }

    const fn is_any(self) -> bool {
        self.due | self.late != 0
    }
}

/// Positions of documents that something was said about.
#[derive(Debug, Default)]
pub(super) struct Warned {
    pub(super) sent: BTreeSet<u64>,
    pub(super) received: BTreeSet<u64>,
}

/// What officers count, per recipient of what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Chưa gửi.
    Unsent,
    /// Gửi lỗi.
    Failed,
    /// Bị trả lại.
    Returned,
    /// Lấy lại.
    Withdrawn,
    /// Chậm tiếp nhận.
    Late,
}

impl Counted {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unsent, Self::Failed, Self::Returned, Self::Withdrawn, Self::Late];

    /// The word of the local APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Failed => "failed",
            Self::Returned => "returned",
            Self::Withdrawn => "withdrawn",
            Self::Late => "late",
        }
    }
}

/// How many of each, for one agency. `truc.node.v1.AgencyCounters` says what they mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the message of the API that it becomes says it")]
pub struct Counters {
    pub unsent: u64,
    pub failed: u64,
    pub returned: u64,
    pub withdrawn: u64,
    pub late: u64,
    pub unsent_late: u64,
    pub waiting: u64,
    pub waiting_late: u64,
}

/// A duty that is due or late.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenDuty {
    /// The deadline.
    pub deadline: Timestamp,
    /// Since when somebody waits.
    pub since: Timestamp,
    /// The document.
    pub key: Key,
    /// Of a sent one the recipient, of a received one our code.
    pub recipient: AgencyId,
    /// Which duty.
    pub duty: Duty,
    /// Due or late.
    pub standing: Standing,
    /// Urgency of the document.
    pub priority: Priority,
    /// Position of the record that describes it.
    pub body: Option<u64>,
}

impl Business {
    /// When the receiver first said anything of 01 … 06.
    #[must_use]
    pub fn answered_at(&self) -> Option<Timestamp> {
        let says = |code: StatusCode| !code.is_from_sender() && code <= StatusCode::Done;
        self.notes.iter().find(|note| says(note.code) && !note.late).map(|note| note.time)
    }
}

impl Sent {
    /// How a duty goes for one recipient.
    #[must_use]
    pub fn course(&self, code: &AgencyId, pair: &Pair, duty: Duty) -> Course {
        if self.kind != EnvelopeKind::Document {
            return Course::NotYet;
        }
        let step = |event: EventUri, role: Role| {
            let of_it = |step: &&Step| (step.event, step.role, step.recipient.as_ref()) == (event, role, Some(code));
            self.steps.iter().find(of_it).map(|step| step.time)
        };
        let left_at = || match &pair.passage {
            Some(_) => step(EventUri::RelayToNonErds, Role::Sender),
            None => self.relayed_at,
        };
        match (duty, pair.state) {
            (Duty::Receipt, _) => Course::NotYet,
            (_, PairState::Failed) => Course::Ended,
            (Duty::Send, PairState::Held | PairState::Sealed) => Course::Open { since: self.accepted_at },
            (Duty::Send, _) => Course::Done { since: self.accepted_at, at: left_at().unwrap_or(self.accepted_at) },
            (Duty::Recipients, PairState::Held | PairState::Sealed) => Course::NotYet,
            (Duty::Recipients, _) if pair.business.is_withdrawn() => Course::Ended,
            (Duty::Recipients, state) => {
                let since = left_at().unwrap_or(self.accepted_at);
                let taken = if state == PairState::HandedOver {
                    Some(step(EventUri::ContentHandover, Role::Recipient).unwrap_or(since))
                } else {
                    None
                };
                match taken.into_iter().chain(pair.business.answered_at()).min() {
                    Some(at) => Course::Done { since, at },
                    None => Course::Open { since },
                }
            }
        }
    }

    /// Which of the counters this recipient belongs to, lateness aside.
    #[must_use]
    pub fn counted(&self, pair: &Pair) -> Option<Counted> {
        // A status is no document, and what goes on as another envelope is counted there.
        if self.kind != EnvelopeKind::Document || pair.superseded_by.is_some() {
            return None;
        }
        match (pair.state, pair.reason) {
            (PairState::Failed, Some(Reason::Withdrawn)) => Some(Counted::Withdrawn),
            _ if pair.business.is_withdrawn() => Some(Counted::Withdrawn),
            (PairState::Failed, Some(Reason::RefusedBySystem)) => Some(Counted::Returned),
            _ if pair.business.progress == Some(StatusCode::Refused) => Some(Counted::Returned),
            (PairState::Failed, _) => Some(Counted::Failed),
            (PairState::Held | PairState::Sealed, _) => Some(Counted::Unsent),
            _ => None,
        }
    }
}

impl Pair {
    /// The duty that may be open, without a look at the whole ladder.
    const fn open_duty(&self) -> Option<Duty> {
        match self.state {
            PairState::Held | PairState::Sealed => Some(Duty::Send),
            PairState::Relayed | PairState::Taken | PairState::PassedOn | PairState::Consigned => {
                Some(Duty::Recipients)
            }
            PairState::HandedOver | PairState::Failed => None,
        }
    }
}

impl Received {
    /// How [`Duty::Receipt`] goes for one of our codes; with `status`, an answer belongs to it.
    #[must_use]
    pub fn course(&self, code: &Code, status: bool) -> Course {
        if self.kind != EnvelopeKind::Document {
            return Course::NotYet;
        }
        let Some(since) = code.consigned_at else { return Course::NotYet };
        if code.business.is_withdrawn() {
            return Course::Ended;
        }
        let answered = code.business.answered_at();
        match (code.state, code.confirmed_at) {
            (CodeState::Taken, _) => Course::NotYet,
            (CodeState::Failed, _) => Course::Ended,
            // Refused: the sender knows.
            (CodeState::HandoverFailed, Some(at)) => Course::Done { since, at },
            _ if code.business.progress == Some(StatusCode::Refused) => {
                Course::Done { since, at: answered.unwrap_or(since) }
            }
            (CodeState::HandedOver, Some(at)) if !status => Course::Done { since, at },
            (CodeState::HandedOver, Some(at)) => match answered {
                Some(answered) => Course::Done { since, at: at.max(answered) },
                None => Course::Open { since },
            },
            _ => Course::Open { since },
        }
    }
}

/// Looks at a duty again when its deadline is near.
pub(super) fn watch(policy: &Policy, timers: &mut Timers, due: Due, duty: Duty, since: Timestamp, priority: Priority) {
    let Some(rules) = &policy.duties else { return };
    if let Some(deadline) = rules.deadline(duty, since, priority) {
        timers.set(rules.warning(since, deadline), due);
    }
}

/// What is to be said of one document now, by duty, lateness and deadline; and when to look again.
#[derive(Default)]
struct Look {
    say: BTreeMap<(Duty, bool, Timestamp), Vec<String>>,
    next: Option<Timestamp>,
}

impl Look {
    fn at(&mut self, rules: &DutyRules, now: Timestamp, priority: Priority, of: (&AgencyId, Duty, Course, Told)) {
        let (code, duty, course, told) = of;
        let Course::Open { since } = course else { return };
        let Some((standing, deadline)) = rules.standing(duty, course, priority, now) else { return };
        let (late, next) = match standing {
            Standing::Early => (None, Some(rules.warning(since, deadline))),
            Standing::Due => (Some(false), Some(deadline)),
            Standing::Late => (Some(true), None),
        };
        if let Some(late) = late.filter(|late| !told.has(duty, *late)) {
            self.say.entry((duty, late, deadline)).or_default().push(code.to_string());
        }
        self.next = self.next.into_iter().chain(next).min();
    }

    fn of_sent(rules: &DutyRules, now: Timestamp, sent: &Sent) -> Self {
        let mut look = Self::default();
        for (code, pair) in &sent.pairs {
            if let Some(duty) = pair.open_duty() {
                look.at(rules, now, sent.priority, (code, duty, sent.course(code, pair, duty), pair.told));
            }
        }
        look
    }

    fn of_received(rules: &DutyRules, now: Timestamp, received: &Received) -> Self {
        let mut look = Self::default();
        for (code, entry) in &received.codes {
            let course = received.course(entry, rules.receipt_status);
            look.at(rules, now, received.priority, (code, Duty::Receipt, course, entry.told));
        }
        look
    }
}

impl Core {
    /// Has a document of ours that was just accepted or held looked at when its deadline is near.
    pub(super) fn watch_sent(&mut self, position: u64) {
        let Some(sent) = self.sent.get(&position).filter(|sent| sent.kind == EnvelopeKind::Document) else { return };
        let (since, priority) = (sent.accepted_at, sent.priority);
        watch(&self.policy, &mut self.timers, Due::SentDuty(position), Duty::Send, since, priority);
    }

    /// The same of a document that was just consigned here.
    pub(super) fn watch_received(&mut self, position: u64, since: Timestamp) {
        let found = self.received.get(&position).filter(|received| received.kind == EnvelopeKind::Document);
        let Some(priority) = found.map(|received| received.priority) else { return };
        watch(&self.policy, &mut self.timers, Due::ReceivedDuty(position), Duty::Receipt, since, priority);
    }

    /// After a start.
    pub(super) fn resume_sent_duties(&mut self, position: u64) {
        let (Some(rules), Some(sent)) = (&self.policy.duties, self.sent.get(&position)) else { return };
        if sent.pairs.values().any(|pair| pair.told.is_any()) {
            self.warned.sent.insert(position);
        }
        // What time it is now nobody has said yet: what is due is said at the first tick.
        if let Some(next) = Look::of_sent(rules, Timestamp::EPOCH, sent).next {
            self.timers.set(next, Due::SentDuty(position));
        }
    }

    /// After a start.
    pub(super) fn resume_received_duties(&mut self, position: u64) {
        let (Some(rules), Some(received)) = (&self.policy.duties, self.received.get(&position)) else { return };
        if received.codes.values().any(|code| code.told.is_any()) {
            self.warned.received.insert(position);
        }
        if let Some(next) = Look::of_received(rules, Timestamp::EPOCH, received).next {
            self.timers.set(next, Due::ReceivedDuty(position));
        }
    }

    pub(super) fn sent_duties(&mut self, now: Timestamp, position: u64) {
        let (Some(rules), Some(sent)) = (&self.policy.duties, self.sent.get(&position)) else { return };
        let (look, key) = (Look::of_sent(rules, now, sent), sent.key.clone());
        self.say(now, true, &key, look, Due::SentDuty(position));
    }

    pub(super) fn received_duties(&mut self, now: Timestamp, position: u64) {
        let (Some(rules), Some(received)) = (&self.policy.duties, self.received.get(&position)) else { return };
        let (look, key) = (Look::of_received(rules, now, received), received.key.clone());
        self.say(now, false, &key, look, Due::ReceivedDuty(position));
    }

    fn say(&mut self, now: Timestamp, sent: bool, key: &Key, look: Look, due: Due) {
        for ((duty, late, deadline), codes) in look.say {
            let record = DutyTold {
                sent,
                sender: key.sender.to_string(),
                envelope: key.envelope.to_string(),
                codes,
                duty: duty as u32,
                late,
                deadline_ms: deadline.unix_ms(),
                at_ms: now.unix_ms(),
            };
            self.commit(Body::DutyTold(record), None);
        }
        if let Some(next) = look.next {
            self.timers.set(next, due);
        }
    }

    // The fold.

    pub(super) fn fold_duty_told(&mut self, place: Place, record: &DutyTold) -> Result<(), RecordError> {
        let duty = Duty::of_number(record.duty).ok_or(RecordError::Later)?;
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        let codes = record.codes.iter().map(|code| parsed::<AgencyId>(code, "agency code"));
        let codes: Vec<AgencyId> = codes.collect::<Result<_, _>>()?;
        let position = if record.sent { self.sent_keys.get(&key) } else { self.received_keys.get(&key) };
        let Some(position) = position.copied() else { return Ok(()) };
        if let Some(sent) = self.sent.get_mut(&position).filter(|_| record.sent) {
            for code in &codes {
                if let Some(pair) = sent.pairs.get_mut(code) {
                    pair.told.set(duty, record.late);
                }
            }
            sent.places.push(place);
            self.warned.sent.insert(position);
        } else if let Some(received) = self.received.get_mut(&position).filter(|_| !record.sent) {
            for code in &codes {
                if let Some(entry) = received.codes.get_mut(code) {
                    entry.told.set(duty, record.late);
                }
            }
            received.places.push(place);
            self.warned.received.insert(position);
        }
        Ok(())
    }

    // What is asked.

    /// Duties of these agencies that are due or late, in no order.
    #[must_use]
    pub fn duties(&self, now: Timestamp, visible: impl Fn(&AgencyId) -> bool) -> Vec<OpenDuty> {
        let mut open = Vec::new();
        let Some(rules) = &self.policy.duties else { return open };
        for sent in self.warned.sent.iter().filter_map(|position| self.sent.get(position)) {
            for (code, pair) in sent.pairs.iter().filter(|_| visible(&sent.key.sender)) {
                if let Some(duty) = pair.open_duty() {
                    let of = (&sent.key, code, duty, sent.course(code, pair, duty), Some(sent.body));
                    open.extend(open_duty(rules, now, sent.priority, of));
                }
            }
        }
        for received in self.warned.received.iter().filter_map(|position| self.received.get(position)) {
            for (code, entry) in received.codes.iter().filter(|(code, _)| visible(code)) {
                let course = received.course(entry, rules.receipt_status);
                let of = (&received.key, code, Duty::Receipt, course, received.content);
                open.extend(open_duty(rules, now, received.priority, of));
            }
        }
        open
    }

    /// Whether a recipient of ours is late to take what we sent.
    #[must_use]
    pub fn is_late(&self, now: Timestamp, sent: &Sent, code: &AgencyId, pair: &Pair) -> bool {
        let told = pair.told.has(Duty::Recipients, true) && pair.open_duty() == Some(Duty::Recipients);
        let late = |rules: &DutyRules| {
            let course = sent.course(code, pair, Duty::Recipients);
            rules.standing(Duty::Recipients, course, sent.priority, now).is_some_and(|(s, _)| s == Standing::Late)
        };
        told && self.policy.duties.as_deref().is_some_and(late)
    }

    /// Whether a counter counts this recipient.
    #[must_use]
    pub fn counts(&self, now: Timestamp, counted: Counted, sent: &Sent, code: &AgencyId, pair: &Pair) -> bool {
        match counted {
            Counted::Late => self.is_late(now, sent, code, pair),
            other => sent.counted(pair) == Some(other),
        }
    }

    /// What officers count, by agency.
    #[must_use]
    pub fn counters(&self, now: Timestamp, visible: impl Fn(&AgencyId) -> bool) -> BTreeMap<AgencyId, Counters> {
        let mut agencies: BTreeMap<AgencyId, Counters> = BTreeMap::new();
        for sent in self.sent.values().filter(|sent| visible(&sent.key.sender)) {
            for pair in sent.pairs.values() {
                let Some(counted) = sent.counted(pair) else { continue };
                let counters = agencies.entry(sent.key.sender.clone()).or_default();
                match counted {
                    Counted::Unsent => counters.unsent += 1,
                    Counted::Failed => counters.failed += 1,
                    Counted::Returned => counters.returned += 1,
                    Counted::Withdrawn => counters.withdrawn += 1,
                    Counted::Late => {}
                }
            }
        }
        for (code, positions) in self.unread.iter().filter(|(code, _)| visible(code)) {
            // Refused with status 02 it waits for nobody, whether the document system fetches it or not.
            let document = |position: &&u64| {
                self.received.get(position).is_some_and(|received| {
                    let refused = |code: &Code| code.business.progress == Some(StatusCode::Refused);
                    received.kind == EnvelopeKind::Document && !received.codes.get(code).is_some_and(refused)
                })
            };
            let waiting = positions.iter().filter(document).count() as u64;
            if waiting > 0 {
                agencies.entry(code.clone()).or_default().waiting = waiting;
            }
        }
        for open in self.duties(now, visible).into_iter().filter(|open| open.standing == Standing::Late) {
            let agency = if open.duty == Duty::Receipt { open.recipient } else { open.key.sender };
            let counters = agencies.entry(agency).or_default();
            match open.duty {
                Duty::Send => counters.unsent_late += 1,
                Duty::Receipt => counters.waiting_late += 1,
                Duty::Recipients => counters.late += 1,
            }
        }
        agencies
    }
}

fn open_duty(
    rules: &DutyRules,
    now: Timestamp,
    priority: Priority,
    (key, recipient, duty, course, body): (&Key, &AgencyId, Duty, Course, Option<u64>),
) -> Option<OpenDuty> {
    let Course::Open { since } = course else { return None };
    let (standing, deadline) = rules.standing(duty, course, priority, now).filter(|(s, _)| *s != Standing::Early)?;
    let (key, recipient) = (key.clone(), recipient.clone());
    Some(OpenDuty { deadline, since, key, recipient, duty, standing, priority, body })
}

impl Counters {
    /// Adds those of another agency.
    pub fn add(&mut self, other: &Self) {
        self.unsent += other.unsent;
        self.failed += other.failed;
        self.returned += other.returned;
        self.withdrawn += other.withdrawn;
        self.late += other.late;
        self.unsent_late += other.unsent_late;
        self.waiting += other.waiting;
        self.waiting_late += other.waiting_late;
    }
}
