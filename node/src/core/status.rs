//! Business statuses 01 … 16: numbered per document and agency, correlated on the document and both codes, never
//! backwards; after 15 the document is closed (docs/FORMATS.md).

use truc_proto::{
    AgencyId, BusinessStatus, EnvelopeId, Preamble, Raw,
    limits::{EARLY_STATUSES_MAX, STATUS_NOTES_MAX},
};

use super::{
    Answer, Business, CodeState, Core, EarlyStatus, Key, Standing, StatusNote, StatusRefused, StatusRequest, Token,
    status_move,
};
use crate::records::{Body, Place, RecordError};

impl Core {
    /// Says whether a status may be set, and under which number; the number is not given out again.
    pub(super) fn reserve_status(&mut self, request: &StatusRequest, reply: Option<Token>) {
        let answer = match self.known_request(&request.from, &request.idempotency_key, request.request_hash) {
            Some(Answer::Accepted { key, .. } | Answer::Held { key, .. }) => {
                let sequence =
                    self.find_sent(&key).and_then(|sent| sent.about.as_ref()).map_or(0, |about| about.sequence);
                Answer::StatusKnown { key, sequence }
            }
            Some(other) => other,
            None => self.reserve(request).unwrap_or_else(Answer::StatusRefused),
        };
        self.reply(reply, answer);
    }

    fn reserve(&mut self, request: &StatusRequest) -> Result<Answer, StatusRefused> {
        let by_sender = request.code.is_from_sender();
        let Some((document, to, body)) = self.locate(request, by_sender) else {
            let other_side = self.locate(request, !by_sender).is_some();
            return Err(if other_side {
                StatusRefused::WrongSide(request.code)
            } else {
                StatusRefused::NoSuchDocument
            });
        };
        let other = if by_sender { &to } else { &request.from };
        let business = self.business_mut(&document, other, by_sender).ok_or(StatusRefused::NoSuchDocument)?;
        status_move(business.standing(), request.code, by_sender)?;
        let sequence = business.said.max(business.reserved) + 1;
        business.reserved = sequence;
        Ok(Answer::StatusReserved { sequence, document, to, body })
    }

    /// The document, the counterpart, and where its description stands.
    fn locate(&self, request: &StatusRequest, by_sender: bool) -> Option<(Key, AgencyId, u64)> {
        if by_sender {
            let key = Key { sender: request.from.clone(), envelope: request.document };
            let sent = self.find_sent(&key).filter(|_| request.sender.as_ref().is_none_or(|s| *s == request.from))?;
            let to = match &request.to {
                Some(to) => to.clone(),
                None if sent.pairs.len() == 1 => sent.pairs.keys().next()?.clone(),
                None => return None,
            };
            sent.pairs.contains_key(&to).then_some((key, to, sent.body))
        } else {
            let received = self.find_for(request.document, &request.from, request.sender.as_ref())?;
            let readable =
                |state| matches!(state, CodeState::Consigned | CodeState::HandedOver | CodeState::HandoverFailed);
            let right = request.to.as_ref().is_none_or(|to| *to == received.key.sender)
                && received.codes.get(&request.from).is_some_and(|code| readable(code.state));
            let body = received.content.filter(|_| right)?;
            Some((received.key.clone(), received.key.sender.clone(), body))
        }
    }

    /// The statuses between the sender of `document` and `recipient`, as the sender's or the recipient's side keeps them.
    fn business_mut(&mut self, document: &Key, recipient: &AgencyId, as_sender: bool) -> Option<&mut Business> {
        if as_sender {
            let position = self.sent_keys.get(document)?;
            Some(&mut self.sent.get_mut(position)?.pairs.get_mut(recipient)?.business)
        } else {
            let position = self.received_keys.get(document)?;
            Some(&mut self.received.get_mut(position)?.codes.get_mut(recipient)?.business)
        }
    }

    /// Folds a status that we set (`ours`) or that came.
    pub(super) fn note_status(
        &mut self,
        bytes: &[u8],
        place: Place,
        ours: bool,
        envelope: EnvelopeId,
    ) -> Result<(), RecordError> {
        let status =
            Raw::<BusinessStatus>::parse(bytes.to_vec()).map_err(|e| RecordError::Inconsistent(e.to_string()))?;
        let by_sender = status.code.is_from_sender();
        let (sender, recipient) = if by_sender { (&status.from, &status.to) } else { (&status.to, &status.from) };
        let document = Key { sender: sender.clone(), envelope: status.document };
        // We keep the document as its sender when we set a 13 or hear anything else, else as its receiver.
        let as_sender = ours == by_sender;
        let note = StatusNote {
            envelope,
            code: status.code,
            from: status.from.clone(),
            sequence: status.sequence,
            time: status.time,
            position: place.position,
            late: false,
        };
        match self.business_mut(&document, recipient, as_sender) {
            Some(business) => {
                add(business, note, ours);
                self.noted(&document, place, as_sender);
            }
            // A request to withdraw may overtake its document, which is larger.
            None if by_sender && !ours => self.keep_early(document, recipient.clone(), EarlyStatus { note, place }),
            // What is about a document that left memory is found through the index, by the keys in its record.
            None => {}
        }
        Ok(())
    }

    /// The document's own records name this one from now on, and an agreed withdrawal settles it.
    fn noted(&mut self, document: &Key, place: Place, as_sender: bool) {
        if as_sender {
            let sent = self.sent_keys.get(document).and_then(|position| self.sent.get_mut(position));
            sent.into_iter().for_each(|sent| sent.places.push(place));
        } else if let Some(position) = self.received_keys.get(document).copied() {
            self.received.get_mut(&position).into_iter().for_each(|received| received.places.push(place));
            self.note_unread(position);
            self.schedule_received(position);
        }
    }

    /// Waits for its document; the last one said for a pair is what counts, and of too many the oldest go.
    fn keep_early(&mut self, document: Key, recipient: AgencyId, early: EarlyStatus) {
        let kept = self.early.get(&(document.clone(), recipient.clone()));
        if kept.is_none_or(|kept| kept.note.sequence < early.note.sequence) {
            self.early.insert((document, recipient), early);
        }
        if self.early.len() > EARLY_STATUSES_MAX {
            let oldest = self.early.iter().min_by_key(|(_, early)| early.place.position).map(|(key, _)| key.clone());
            oldest.map(|key| self.early.remove(&key));
        }
    }

    /// What was asked about a document before it came.
    pub(super) fn take_early(&mut self, document: &Key, recipient: &AgencyId) {
        let Some(early) = self.early.remove(&(document.clone(), recipient.clone())) else { return };
        if let Some(business) = self.business_mut(document, recipient, false) {
            add(business, early.note, false);
            self.noted(document, early.place, false);
        }
    }

    /// Folds what a status says about a document that left memory, and nothing of the status's own envelope. True when `body` is one
    /// about another envelope than `document`.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn apply_status_about(&mut self, document: &Key, place: Place, body: &Body) -> Result<bool, RecordError> {
        let (key, status, ours) = match body {
            Body::Outgoing(outgoing) => {
                let preamble = Raw::<Preamble>::parse(outgoing.preamble.clone());
                let preamble = preamble.map_err(|error| RecordError::Inconsistent(error.to_string()))?;
                (Key { sender: preamble.sender.clone(), envelope: preamble.envelope }, &outgoing.status, true)
            }
            Body::Content(content) => {
                let sender = super::parsed(&content.sender, "agency code")?;
                (Key { sender, envelope: super::parsed(&content.envelope, "envelope id")? }, &content.status, false)
            }
            Body::TakenOver(taken) => {
                let content = &taken.content;
                let sender = super::parsed(&content.sender, "agency code")?;
                (Key { sender, envelope: super::parsed(&content.envelope, "envelope id")? }, &content.status, false)
            }
            _ => return Ok(false),
        };
        if status.is_empty() || key == *document {
            return Ok(false);
        }
        self.note_status(status, place, ours, key.envelope)?;
        Ok(true)
    }

    /// The index key of the document that a status is about, when that document is not in memory.
    pub(super) fn status_strays(&mut self, bytes: &[u8], ours: bool) -> Vec<String> {
        let Ok(status) = Raw::<BusinessStatus>::parse(bytes.to_vec()) else { return Vec::new() };
        let by_sender = status.code.is_from_sender();
        let (sender, recipient) = if by_sender { (&status.from, &status.to) } else { (&status.to, &status.from) };
        let document = Key { sender: sender.clone(), envelope: status.document };
        let as_sender = ours == by_sender;
        match self.business_mut(&document, recipient, as_sender) {
            Some(_) => Vec::new(),
            None => vec![super::stray_key(as_sender, &document, self.next_position)],
        }
    }
}

/// A higher number of the same agency counts, where the table lets it follow; any other is kept as late and changes nothing; an equal one
/// is a double.
fn add(business: &mut Business, mut note: StatusNote, ours: bool) {
    let known = |other: &StatusNote| other.from == note.from && other.sequence == note.sequence;
    if business.notes.len() >= STATUS_NOTES_MAX || business.notes.iter().any(known) {
        return;
    }
    let last = if ours { &mut business.said } else { &mut business.heard };
    let newer = note.sequence > *last;
    *last = (*last).max(note.sequence);
    let moved = status_move(business.standing(), note.code, note.code.is_from_sender()).ok().filter(|_| newer);
    note.late = moved.is_none();
    if let Some(Standing { progress, withdrawal, change }) = moved {
        business.current = Some(note.code);
        (business.progress, business.withdrawal, business.change) = (progress, withdrawal, change);
    }
    business.notes.push(note);
}
