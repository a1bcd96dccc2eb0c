//! Taking documents back. What has not left for a recipient is withdrawn here, at once and without asking anybody, and the envelope goes on
//! to the others; for what has left, the recipient is asked (status 13), and closes its copy when it agrees (15).
//!
//! An envelope is taken to have left from its first offer on, and after a restart: nobody can say then what became of an earlier offer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use truc_proto::{AgencyId, EnvelopeId, EnvelopeKind, Preamble, Reason, Timestamp};

use super::{Alarm, Answer, Core, Delivery, Effect, Key, Pair, PairState, Sent, Token, timers::Due};
use crate::records::{Body, SentFailed};

/// What becomes of the wish to take a document back from one recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawing {
    /// It never left for this recipient, and never will.
    Withdrawn,
    /// It has left: the recipient is to be asked.
    Ask,
    /// It was asked before and has not answered.
    Asked,
    /// It agreed before.
    Agreed,
    /// The document never became readable there.
    NotThere(Option<Reason>),
    /// Another envelope took its place for this recipient: that one is meant.
    Replaced(EnvelopeId),
}

/// What becomes of the wish to take `sent` back from its recipient `code`.
#[must_use]
pub fn withdrawing(sent: &Sent, code: &AgencyId, pair: &Pair) -> Withdrawing {
    use super::Asking;
    if let Some(envelope) = pair.superseded_by {
        return Withdrawing::Replaced(envelope);
    }
    match (pair.business.withdrawal, pair.state) {
        (Asking::Agreed, _) => Withdrawing::Agreed,
        (Asking::Asked, _) => Withdrawing::Asked,
        (_, PairState::Failed) if pair.reason == Some(Reason::Withdrawn) => Withdrawing::Withdrawn,
        // A replacement is being made, which has not left.
        (_, PairState::Failed) if sent.replacements().iter().any(|(replaced, _)| replaced == code) => {
            Withdrawing::Withdrawn
        }
        // Posted to today's axis without an answer: it may be there.
        (_, PairState::Failed) if pair.reason == Some(Reason::LegacyInDoubt) => Withdrawing::Ask,
        (_, PairState::Failed) => Withdrawing::NotThere(pair.reason),
        (_, PairState::Held | PairState::Sealed) if stays_here(sent, pair) => Withdrawing::Withdrawn,
        _ => Withdrawing::Ask,
    }
}

/// Whether not a byte of it can have gone to this recipient.
fn stays_here(sent: &Sent, pair: &Pair) -> bool {
    match &pair.passage {
        // Before anything is posted to today's axis a record says so.
        Some(passage) => passage.posting.is_none() && passage.delivery != Delivery::InFlight,
        None => !sent.may_have_left,
    }
}

impl Core {
    /// Says what becomes of each recipient, and withdraws what has not left.
    pub(super) fn withdraw(
        &mut self,
        now: Timestamp,
        key: &Key,
        recipients: &[AgencyId],
        text: String,
        reply: Option<Token>,
    ) {
        let Some(sent) = self.find_sent(key).filter(|sent| sent.kind == EnvelopeKind::Document) else {
            return self.reply(reply, Answer::NotFound);
        };
        let meant = |code: &AgencyId| recipients.is_empty() || recipients.contains(code);
        let pairs = sent.pairs.iter().filter(|(code, _)| meant(code));
        let found: BTreeMap<AgencyId, Withdrawing> =
            pairs.map(|(code, pair)| (code.clone(), withdrawing(sent, code, pair))).collect();
        if recipients.iter().any(|code| !found.contains_key(code)) {
            return self.reply(reply, Answer::NotFound);
        }
        let is_new = |(code, outcome): &(&AgencyId, &Withdrawing)| {
            let known = sent.pairs.get(*code).is_some_and(|pair| pair.reason == Some(Reason::Withdrawn));
            **outcome == Withdrawing::Withdrawn && !known
        };
        let here: Vec<String> = found.iter().filter(is_new).map(|(code, _)| code.to_string()).collect();
        if !here.is_empty() {
            let record = SentFailed {
                sender: key.sender.to_string(),
                envelope: key.envelope.to_string(),
                reason: Reason::Withdrawn.to_string(),
                at_ms: now.unix_ms(),
                recipients: here,
                text,
            };
            if self.commit(Body::SentFailed(record), None).is_none() {
                return;
            }
        }
        self.reply(reply, Answer::Withdrawing(found));
    }

    /// Whether an envelope that was just sealed is still what is wanted. A document that was withdrawn, or gave up, while it was being
    /// signed, sealed anew or divided must not leave.
    pub(super) fn is_wanted(&self, key: &Key, preamble: &Preamble, continues: Option<&Key>) -> bool {
        let to: BTreeSet<&AgencyId> = preamble.recipients.iter().chain(&preamble.legacy).collect();
        if let Some(held) = self.find_sent(key).filter(|sent| sent.is_held()) {
            return held.open_recipients().eq(to);
        }
        if let Some(old) = continues {
            return self.find_sent(old).is_some_and(|sent| sent.divided && sent.open_native().eq(to));
        }
        let Some(supersedes) = &preamble.supersedes else { return true };
        let old = Key { sender: key.sender.clone(), envelope: supersedes.envelope };
        let pair = self.find_sent(&old).and_then(|sent| sent.pairs.get(&supersedes.recipient));
        pair.is_none_or(|pair| pair.reason != Some(Reason::Withdrawn))
    }

    /// The rest of an envelope that some recipients were taken from goes as one of its own.
    pub(super) fn queue_divide(&mut self, position: u64) {
        let Some(sent) = self.sent.get_mut(&position) else { return };
        if !sent.divided || sent.dividing || sent.native_is_settled() {
            return;
        }
        sent.dividing = true;
        let recipients = sent.open_native().cloned().collect();
        self.effects.push(Effect::Divide { key: sent.key.clone(), body: sent.body, recipients });
    }

    pub(super) fn divide_failed(&mut self, now: Timestamp, key: &Key, error: String) {
        let Some(position) = self.sent_keys.get(key).copied() else { return };
        let Some(sent) = self.sent.get_mut(&position) else { return };
        sent.dividing = false;
        let waits = sent.open_native().next().cloned();
        self.timers.set(now + Duration::from_millis(self.policy.retry_max_ms), Due::Reseal(position));
        if let Some(recipient) = waits {
            self.set_alarm(Alarm::Reseal(key.envelope, recipient), Some(error));
        }
    }

    /// Folds that `key` goes on for what was left of `old`.
    pub(super) fn fold_continues(&mut self, place: crate::records::Place, key: &Key, old: EnvelopeId) {
        let old = Key { sender: key.sender.clone(), envelope: old };
        let Some(position) = self.sent_keys.get(&old).copied() else { return };
        let Some(sent) = self.sent.get_mut(&position) else { return };
        let native = |pair: &Pair| pair.passage.is_none() && !pair.state.is_settled();
        for (code, pair) in sent.pairs.iter_mut().filter(|(_, pair)| native(pair)) {
            pair.state = PairState::Failed;
            pair.reason = Some(Reason::Superseded);
            pair.superseded_by = Some(key.envelope);
            self.alarms.remove(&Alarm::Reseal(old.envelope, code.clone()));
        }
        sent.dividing = false;
        sent.places.push(place);
        self.submission_failed(position);
        self.schedule_sent(position);
        self.queue_offer(position);
    }
}
