//! Business statuses that wait on today's axis: held against the document that they name, and noted with it.
//!
//! They come late, twice and in any order, from systems that count nothing: what repeats or goes backwards is acknowledged and changes
//! nothing.

use std::{io, sync::Arc};

use tracing::info;
use truc_proto::{
    AgencyId, BusinessStatus, EnvelopeId, StatusCode,
    edxml::{self, Discard, Message, StatusPacket},
    limits::{SDK_STATUS_BYTES_MAX, STATUS_TEXT_CHARS_MAX},
    sdk::MessageType,
};

use super::poll::{Poll, Taken, told};
use crate::{
    core::{Answer, Business, Input, Received, status_move},
    gateway::CallFailed,
    pipe::{is_code, sender_of},
    pipeline::Listed,
    records::TakenOver,
    service::{found, revocations},
    shell::clock,
};

impl Poll<'_> {
    /// Takes one status.
    pub(super) async fn take_status(&mut self, listed: &Listed, doc_id: &str) -> Result<Taken, String> {
        let directory = self.shell.directory().ok_or("there is no directory yet")?;
        let mut short = Short(Vec::new());
        match self.gateway.axis.edoc(MessageType::Status, doc_id, &mut short).await {
            Ok(()) => {}
            Err(error @ (CallFailed::Way(_) | CallFailed::Answer { .. })) => return Err(told(error)),
            Err(error @ CallFailed::Refused(_)) => return Ok(Taken::Later(told(error))),
            Err(error) => return Ok(self.is_damaged(doc_id, told(error))),
        }
        let read = self.shell.work("reading a status", move || edxml::read(short.0.as_slice(), &mut Discard)).await;
        let packet = match read.map_err(|error| error.to_string())? {
            Ok(parsed) => match parsed.message {
                Message::Status(packet) => packet,
                Message::Document(_) => {
                    return Ok(Taken::No("it is a document that was listed as a status".to_owned()));
                }
            },
            Err(error) => return Ok(Taken::No(crate::chain(&error))),
        };
        let written = packet.from.organ_id.as_ref().map_or_else(|| listed.from.clone(), ToString::to_string);
        let from = sender_of(&written, &directory);
        let Some(code) = packet.status_code.as_deref().and_then(|code| code.parse::<StatusCode>().ok()) else {
            return Ok(Taken::No(format!("{:?} is no status", packet.status_code)));
        };
        let Some((document, business)) = self.about(&packet, code, &from, &listed.to).await? else {
            return Ok(Taken::No(
                "nothing of its DocumentId went between these agencies through today's axis".to_owned(),
            ));
        };
        if let Err(why) = status_move(business.standing(), code, code.is_from_sender()) {
            info!(doc_id, %document, %why, "a status from today's axis changes nothing");
            return Ok(Taken::Yes);
        }
        let status = status_of(&packet, code, from, listed.to.clone(), document, business.heard + 1);
        self.keep_status(status, listed.clone()).await?;
        Ok(Taken::Yes)
    }

    /// A packet that revokes documents from there asks for them back, as a status 13 about each would: once, before it is itself a document
    /// here. What is not known, or was asked for, stays as it is.
    pub(super) async fn ask_back(&self, record: &TakenOver, listed: &Listed) -> Result<(), String> {
        let (content, to) = (&record.content, &listed.to);
        let Some(change) = content.about.change.as_ref().filter(|change| change.is_revocation()) else { return Ok(()) };
        let sender: AgencyId = content.sender.parse().map_err(|_| "a record names a sender that is no code")?;
        let directory = self.shell.directory().ok_or("there is no directory yet")?;
        let named = |written: &str| written.parse().is_ok_and(|code| is_code(&code, to, &directory));
        if !change.receivers.is_empty() && !change.receivers.iter().any(|receiver| named(&receiver.code)) {
            return Ok(());
        }
        let code = StatusCode::WithdrawalRequested;
        for document_id in &change.document_ids {
            let here = |received: &Received| {
                let consigned = received.codes.get(to).is_some_and(|code| code.consigned_at.is_some());
                consigned && received.origin.is_some()
            };
            let found = revocations::revoked(self.shell, &sender, document_id, here).await;
            let Some(document) = found.map_err(|error| error.text().to_owned())? else { continue };
            let name = format!("revoked:{}:{}", document.key.envelope, listed.doc_id);
            let named = Listed { doc_id: name, ..listed.clone() };
            let Some(business) = document.codes.get(to).map(|code| &code.business) else { continue };
            if status_move(business.standing(), code, true).is_err() || self.is_known(&named).await? {
                continue;
            }
            let words: String = change.reason.chars().take(STATUS_TEXT_CHARS_MAX).collect();
            let status = BusinessStatus {
                status: code.uri(),
                code,
                from: sender.clone(),
                to: to.clone(),
                document: document.key.envelope,
                document_id: Some(document_id.clone()),
                reason: Some(words).filter(|words| !words.trim().is_empty()),
                staff: None,
                sequence: business.heard + 1,
                time: clock::now(),
            };
            self.keep_status(status, named).await?;
        }
        Ok(())
    }

    /// A status from there becomes a record.
    async fn keep_status(&self, status: BusinessStatus, listed: Listed) -> Result<(), String> {
        let pipeline = Arc::clone(&self.shell.pipeline);
        let work = move || pipeline.take_over_status(status, &listed, clock::moment());
        let record = self.shell.work("taking a status over", work).await.map_err(|error| error.to_string())?;
        let record = record.map_err(|error| crate::chain(&error))?;
        let input = |reply| Input::TakeOver { record: Box::new(record), reply };
        match self.shell.engine.call(input).await.map_err(|error| error.to_string())? {
            Answer::Accepted { .. } => Ok(()),
            Answer::Busy => Err("too much is open on this node".to_owned()),
            other => Err(format!("an unexpected answer of the core: {other:?}")),
        }
    }

    /// The newest document between the two through today's axis that the status names, and what was said of it so far.
    async fn about(
        &self,
        packet: &StatusPacket,
        code: StatusCode,
        from: &AgencyId,
        to: &AgencyId,
    ) -> Result<Option<(EnvelopeId, Business)>, String> {
        let Some(document_id) = packet.response_for.document_id.clone().filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let ours = !code.is_from_sender();
        let sender = if ours { to.clone() } else { from.clone() };
        let found = found::by_document_id(self.shell, ours, &sender, &document_id).await;
        for envelope in found.map_err(|error| error.text().to_owned())? {
            let business = if ours {
                let (sent, _) = found::sent(self.shell, envelope).await.map_err(|error| error.text().to_owned())?;
                let pairs = sent.into_iter().filter(|sent| sent.key.sender == sender);
                pairs
                    .filter_map(|mut sent| sent.pairs.remove(from))
                    .find(|pair| pair.passage.is_some())
                    .map(|p| p.business)
            } else {
                let received = found::received(self.shell, envelope).await;
                let received = received.map_err(|error| error.text().to_owned())?.into_iter();
                let from_there = received.filter(|received| received.origin.is_some() && received.key.sender == sender);
                from_there.filter_map(|mut received| received.codes.remove(to)).map(|code| code.business).next()
            };
            if let Some(business) = business {
                return Ok(Some((envelope, business)));
            }
        }
        Ok(None)
    }
}

fn status_of(
    packet: &StatusPacket,
    code: StatusCode,
    from: AgencyId,
    to: AgencyId,
    document: EnvelopeId,
    sequence: u64,
) -> BusinessStatus {
    let cut = |text: &Option<String>| {
        let text: String = text.as_deref().unwrap_or_default().trim().chars().take(STATUS_TEXT_CHARS_MAX).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    // A refusal needs a reason; not everybody there gives one.
    let silent = || (code == StatusCode::Refused).then(|| "(không ghi lý do)".to_owned());
    BusinessStatus {
        status: code.uri(),
        code,
        from,
        to,
        document,
        document_id: cut(&packet.response_for.document_id),
        reason: cut(&packet.description).or_else(silent),
        staff: cut(&packet.staff.staff),
        sequence,
        time: packet.timestamp.as_ref().and_then(|stamp| stamp.value).unwrap_or_else(clock::now),
    }
}

/// Takes what is no longer than a status may be.
struct Short(Vec<u8>);

impl io::Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(self.0.len() + bytes.len()).unwrap_or(u64::MAX);
        if length > SDK_STATUS_BYTES_MAX {
            return Err(io::Error::other("longer than a status may be"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
