//! Business statuses 01 … 16: numbered per document and agency, correlated on the document and both codes, never
//! backwards; after 15 the document is closed (docs/FORMATS.md).

use truc_proto::{AgencyId, BusinessStatus, EnvelopeId, Raw, StatusCode};

use super::{
    Answer, Business, CodeState, Core, Key, StatusNote, StatusRefused, StatusRequest, Token, Withdrawal, check_status,
};
use crate::records::RecordError;

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
        let before = if by_sender { None } else { business.progress };
        check_status(before, business.withdrawal, request.code, by_sender)?;
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
        position: u64,
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
        // What is about a document that left memory is found through the index, by the keys in its record.
        if let Some(business) = self.business_mut(&document, recipient, as_sender) {
            note(business, &status, position, ours, envelope);
        }
        Ok(())
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

/// A higher number of the same agency counts; a lower one is kept as late and changes nothing; an equal one is a double.
fn note(business: &mut Business, status: &BusinessStatus, position: u64, ours: bool, envelope: EnvelopeId) {
    if business.notes.iter().any(|note| note.from == status.from && note.sequence == status.sequence) {
        return;
    }
    let last = if ours { &mut business.said } else { &mut business.heard };
    let newer = status.sequence > *last;
    *last = (*last).max(status.sequence);
    let counts = newer && business.withdrawal != Withdrawal::Agreed;
    business.notes.push(StatusNote {
        envelope,
        code: status.code,
        from: status.from.clone(),
        sequence: status.sequence,
        time: status.time,
        position,
        late: !counts,
    });
    if !counts {
        return;
    }
    business.current = Some(status.code);
    match status.code {
        StatusCode::WithdrawalRequested => business.withdrawal = Withdrawal::Asked,
        StatusCode::WithdrawalAgreed => business.withdrawal = Withdrawal::Agreed,
        StatusCode::WithdrawalRefused => business.withdrawal = Withdrawal::None,
        progress => business.progress = Some(business.progress.map_or(progress, |before| before.max(progress))),
    }
}
