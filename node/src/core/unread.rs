//! What document systems have still to take. A document is taken by its hand-over, which is evidence; a business status needs no hand-over,
//! so what a document system has read of them is a record of its own, without a leaf.

use std::{collections::BTreeSet, time::Duration};

use truc_proto::{AgencyId, EnvelopeKind, Timestamp, limits::STATUS_UNREAD_MAX_MS};

use super::{Answer, CodeState, Core, Key, Received, Token, parsed, timers::Due};
use crate::records::{Body, Place, RecordError, StatusTaken};

impl Core {
    /// Documents not yet handed over (or refused, or withdrawn) and statuses not yet taken by the document system of a code, in order of arrival.
    pub fn unread(&self, code: &AgencyId) -> impl Iterator<Item = &Received> {
        self.unread.get(code).into_iter().flatten().filter_map(|position| self.received.get(position))
    }

    /// Envelopes received that were made in the millisecond of `at`.
    pub fn received_made_at(&self, at: Timestamp) -> impl Iterator<Item = &Received> {
        let first: AgencyId = "A00".parse().expect("the least code there is");
        let least = Key { envelope: truc_proto::EnvelopeId::new(at, [0; 10]), sender: first };
        let same = move |key: &Key| key.envelope.made_at() == at;
        let keys = self.received_keys.range(least..).take_while(move |(key, _)| same(key));
        keys.filter_map(|(_, position)| self.received.get(position))
    }

    /// The codes whose document systems take statuses one by one: for them a status stays in memory until it is taken, or for
    /// [`STATUS_UNREAD_MAX_MS`].
    pub(super) fn set_status_readers(&mut self, codes: BTreeSet<AgencyId>) {
        self.status_readers = codes;
    }

    /// Recorded once, however often it is said.
    pub(super) fn status_taken(
        &mut self,
        now: Timestamp,
        key: &Key,
        code: &AgencyId,
        failed: bool,
        reply: Option<Token>,
    ) {
        let found = self.find_received(key).filter(|received| received.kind == EnvelopeKind::Status);
        let Some(found) = found.and_then(|received| received.codes.get(code)) else {
            return self.reply(reply, Answer::NotFound);
        };
        if let Some(at) = found.taken_at {
            return self.reply(reply, Answer::Confirmed { at, first: false });
        }
        if found.state != CodeState::Consigned {
            let why = "it is not opened yet, or could not be / Chưa mở xong, hoặc không mở được";
            return self.reply(reply, Answer::NotNow(why));
        }
        let record = StatusTaken {
            sender: key.sender.to_string(),
            envelope: key.envelope.to_string(),
            code: code.to_string(),
            at_ms: now.unix_ms(),
            failed,
        };
        if self.commit(Body::StatusTaken(record), None).is_some() {
            self.reply(reply, Answer::Confirmed { at: now, first: true });
        }
    }

    pub(super) fn fold_status_taken(&mut self, place: Place, record: &StatusTaken) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        let code: AgencyId = parsed(&record.code, "agency code")?;
        let lost = || RecordError::Inconsistent("a status was taken that is not there".to_owned());
        let position = *self.received_keys.get(&key).ok_or_else(lost)?;
        let received = self.received.get_mut(&position).ok_or_else(lost)?;
        let entry = received.codes.get_mut(&code).ok_or_else(lost)?;
        entry.taken_at.get_or_insert(Timestamp::from_unix_ms(record.at_ms));
        received.places.push(place);
        self.note_unread(position);
        self.schedule_received(position);
        Ok(())
    }

    /// Brings the list of what is unread up to date with one envelope.
    pub(super) fn note_unread(&mut self, position: u64) {
        let Some(received) = self.received.get(&position) else { return };
        for (code, entry) in &received.codes {
            if entry.state == CodeState::Consigned && entry.taken_at.is_none() && !entry.business.is_withdrawn() {
                self.unread.entry(code.clone()).or_default().insert(position);
            } else {
                forget(&mut self.unread, code, position);
            }
        }
    }

    pub(super) fn forget_unread(&mut self, received: &Received) {
        for code in received.codes.keys() {
            forget(&mut self.unread, code, received.body);
        }
    }

    /// Whether a settled envelope stays for a document system that has still to take it, and until when.
    pub(super) fn kept_for_reader(&self, received: &Received) -> Option<Timestamp> {
        let waits = received.kind == EnvelopeKind::Status
            && received.codes.iter().any(|(code, entry)| {
                entry.state == CodeState::Consigned && entry.taken_at.is_none() && self.status_readers.contains(code)
            });
        waits.then(|| received.changed_at + Duration::from_millis(STATUS_UNREAD_MAX_MS))
    }

    /// Looks at a kept envelope again later.
    pub(super) fn keep_for_reader(&mut self, now: Timestamp, position: u64, until: Timestamp) {
        let again = now + Duration::from_millis(self.policy.close_after_ms.max(60_000));
        self.timers.set(again.min(until), Due::CloseReceived(position));
    }
}

fn forget(unread: &mut std::collections::BTreeMap<AgencyId, BTreeSet<u64>>, code: &AgencyId, position: u64) {
    if let Some(positions) = unread.get_mut(code) {
        positions.remove(&position);
        if positions.is_empty() {
            unread.remove(code);
        }
    }
}
