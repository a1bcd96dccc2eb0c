//! What stands in a container, looked at while it streams by: names, `envelope.json`, `status.json`, what the packet says.

use std::{
    io::Write as _,
    thread::{Scope, ScopedJoinHandle, scope},
};

use truc_evidence::Directory;
use truc_proto::{
    ATTACHMENTS_FOLDER, AttachmentDigest, BusinessStatus, DOCUMENT_ENTRY, ENVELOPE_ENTRY, EnvelopeJson, EnvelopeKind,
    PACKET_ENTRY, Preamble, Raw, Reason, STATUS_ENTRY,
    edxml::{Message, Parsed, ReadError},
    limits::{PARSED_IN_MEMORY_BYTES_MAX, STATEMENT_BYTES_MAX, XML_KEPT_BYTES_MAX},
};
use truc_signer::asic::{Entry, EntryHeader, OpenedContainer, Visitor, VisitorError};
use zeroize::Zeroizing;

use super::{
    compose::{change_of, digest_of, foreign_targets, is_code, particulars_of, titles},
    pump::{self, PieceWriter},
};
use crate::{
    core::Failure,
    records::{Change, Particulars},
};

/// Looks at every entry of a container.
pub(super) struct Inspector<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    kind: EnvelopeKind,
    current: Current<'scope>,
    inspection: Inspection,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Inspection {
    envelope: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
    /// Of the packet, or of the header that the sender's node wrote.
    parsed: Option<Parsed>,
    is_packet: bool,
    files: Vec<AttachmentDigest>,
    refusal: Option<Failure>,
}

enum Current<'scope> {
    Nothing,
    Envelope(Vec<u8>),
    Status(Vec<u8>),
    Document(Zeroizing<Vec<u8>>),
    /// A packet while it is short.
    Packet(Zeroizing<Vec<u8>>),
    /// A packet that is parsed while it streams.
    Streamed(PieceWriter, ScopedJoinHandle<'scope, Option<Result<Parsed, ReadError>>>),
    File,
}

impl Inspector<'_, '_> {
    /// Gives `read` a visitor, and back what it saw.
    pub(super) fn run<T>(kind: EnvelopeKind, read: impl FnOnce(&mut dyn Visitor) -> T) -> (T, Inspection) {
        scope(|scope| {
            let mut inspector = Inspector { scope, kind, current: Current::Nothing, inspection: Inspection::default() };
            let outcome = read(&mut inspector);
            (outcome, inspector.inspection)
        })
    }

    fn refuse(&mut self, detail: impl Into<String>) -> VisitorError {
        let failure = Failure { reason: Reason::ContentRefused, detail: detail.into() };
        let error = failure.detail.clone().into();
        self.inspection.refusal.get_or_insert(failure);
        error
    }

    fn parsed(&mut self, parsed: Option<Result<Parsed, ReadError>>) -> Result<(), VisitorError> {
        match parsed {
            Some(Ok(parsed)) => {
                self.inspection.parsed = Some(parsed);
                Ok(())
            }
            Some(Err(error)) => Err(self.refuse(format!("the packet: {error}"))),
            None => Err(self.refuse("the packet makes the reader fail")),
        }
    }
}

/// Adds to what is collected, within a bound.
fn collect(to: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) -> Result<(), ()> {
    if to.len() + bytes.len() > bytes_max {
        return Err(());
    }
    to.extend_from_slice(bytes);
    Ok(())
}

impl Visitor for Inspector<'_, '_> {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        let name = header.name.as_str();
        let first = self.inspection.parsed.is_none();
        let (document, is_packet) = (self.kind == EnvelopeKind::Document, self.inspection.is_packet);
        self.current = match name {
            ENVELOPE_ENTRY => Current::Envelope(Vec::new()),
            STATUS_ENTRY if !document => Current::Status(Vec::new()),
            PACKET_ENTRY if document && first && self.inspection.files.is_empty() => {
                self.inspection.is_packet = true;
                Current::Packet(Zeroizing::default())
            }
            DOCUMENT_ENTRY if document && first => Current::Document(Zeroizing::default()),
            name if document && !is_packet && !first && name.starts_with(ATTACHMENTS_FOLDER) => Current::File,
            other => {
                let detail = format!("{other} does not belong into a container of kind {}", self.kind);
                return Err(self.refuse(detail));
            }
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        let fits = match &mut self.current {
            Current::Nothing | Current::File => Ok(()),
            Current::Envelope(held) | Current::Status(held) => collect(held, bytes, STATEMENT_BYTES_MAX),
            Current::Document(held) => collect(held, bytes, XML_KEPT_BYTES_MAX),
            Current::Packet(held) if held.len() + bytes.len() <= PARSED_IN_MEMORY_BYTES_MAX => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            Current::Packet(held) => {
                let (mut writer, reader) = pump::pipe();
                let parser = self.scope.spawn(move || pump::parse(reader));
                // Failing means that the parser has had enough; it says why when it is joined.
                let _ = writer.write_all(held).and_then(|()| writer.write_all(bytes));
                self.current = Current::Streamed(writer, parser);
                Ok(())
            }
            Current::Streamed(writer, _) => match writer.write_all(bytes) {
                Ok(()) => Ok(()),
                Err(_) => return self.end_packet(),
            },
        };
        fits.map_err(|()| self.refuse("an entry is larger than it may be"))
    }

    fn end(&mut self, entry: &Entry) -> Result<(), VisitorError> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => Ok(()),
            Current::Envelope(held) => {
                self.inspection.envelope = Some(held);
                Ok(())
            }
            Current::Status(held) => {
                self.inspection.status = Some(held);
                Ok(())
            }
            Current::Document(held) | Current::Packet(held) => self.parsed(pump::parse(held.as_slice())),
            streamed @ Current::Streamed(..) => {
                self.current = streamed;
                self.end_packet()
            }
            Current::File => {
                let name = entry.name.as_str().strip_prefix(ATTACHMENTS_FOLDER).unwrap_or_default().to_owned();
                self.inspection.files.push(AttachmentDigest { name, length: entry.length, sha256: entry.digest });
                Ok(())
            }
        }
    }
}

impl Inspector<'_, '_> {
    fn end_packet(&mut self) -> Result<(), VisitorError> {
        let Current::Streamed(writer, parser) = std::mem::replace(&mut self.current, Current::Nothing) else {
            return Ok(());
        };
        drop(writer);
        self.parsed(parser.join().ok().flatten())
    }
}

/// A container's content, complete for its kind.
pub(super) struct Found {
    pub(super) envelope: Vec<u8>,
    pub(super) status: Vec<u8>,
    pub(super) subject: String,
    pub(super) document_id: String,
    pub(super) attachments: Vec<AttachmentDigest>,
    pub(super) warnings: Vec<String>,
    pub(super) change: Option<Change>,
    pub(super) particulars: Option<Particulars>,
    message: Option<Message>,
    business: Option<BusinessStatus>,
}

impl Inspection {
    /// Why the visitor stopped, when it was for the content's sake.
    pub(super) fn refusal(&self) -> Option<Failure> {
        self.refusal.clone()
    }

    /// What must be there is there.
    pub(super) fn found(
        self,
        container: &OpenedContainer,
        preamble: &Preamble,
        directory: &Directory,
    ) -> Result<Found, Failure> {
        let refuse = |detail: String| Failure { reason: Reason::ContentRefused, detail };
        let envelope = self.envelope.ok_or_else(|| refuse(format!("the container has no {ENVELOPE_ENTRY}")))?;
        let mut found = Found {
            envelope,
            status: Vec::new(),
            subject: String::new(),
            document_id: String::new(),
            attachments: Vec::new(),
            warnings: Vec::new(),
            change: None,
            particulars: None,
            message: None,
            business: None,
        };
        match (preamble.kind, self.parsed, self.status) {
            (EnvelopeKind::Document, Some(parsed), None) => {
                (found.subject, found.document_id) = titles(&parsed.message);
                found.attachments =
                    if self.is_packet { parsed.attachments.iter().map(digest_of).collect() } else { self.files };
                found.warnings = parsed.warnings.iter().map(ToString::to_string).collect();
                found.change = change_of(&parsed.message);
                found.warnings.extend(foreign_targets(found.change.as_ref(), &preamble.sender, directory));
                found.particulars = particulars_of(&parsed.message);
                found.message = Some(parsed.message);
            }
            (EnvelopeKind::Status, None, Some(bytes)) => {
                let status = Raw::<BusinessStatus>::parse(bytes.clone()).map_err(|error| refuse(error.to_string()))?;
                found.document_id = status.document_id.clone().unwrap_or_default();
                found.business = Some(status.into_value());
                found.status = bytes;
            }
            _ => {
                let count = container.entries.len();
                return Err(refuse(format!("the {count} entries of the container make no {}", preamble.kind)));
            }
        }
        Ok(found)
    }
}

impl Found {
    /// That the content is what `envelope.json` and preamble say it is.
    pub(super) fn check(
        &self,
        envelope: &EnvelopeJson,
        preamble: &Preamble,
        directory: &Directory,
    ) -> Result<(), Failure> {
        let mismatch = |detail: String| Err(Failure { reason: Reason::ContentMismatch, detail });
        if envelope.attachments != self.attachments {
            let differs = envelope.attachments.iter().zip(&self.attachments).find(|(said, found)| said != found);
            return mismatch(match differs {
                Some((said, _)) => format!("attachment {:?} is not the one that {ENVELOPE_ENTRY} names", said.name),
                None => format!(
                    "{ENVELOPE_ENTRY} names {} attachments, {} came",
                    envelope.attachments.len(),
                    self.attachments.len()
                ),
            });
        }
        if let Some(status) = &self.business {
            let to = preamble.recipients.first();
            if status.from != preamble.sender || Some(&status.to) != to {
                return mismatch(format!("the status is from {} to {}", status.from, status.to));
            }
        }
        match &self.message {
            Some(Message::Status(_)) => Err(Failure {
                reason: Reason::ContentRefused,
                detail: "a status packet stands where a document should".into(),
            }),
            Some(message) => {
                let from = message.from().organ_id.as_ref();
                if from.is_some_and(|code| is_code(code, &preamble.sender, directory)) {
                    Ok(())
                } else {
                    mismatch(format!("the packet's From is not {}", preamble.sender))
                }
            }
            None => Ok(()),
        }
    }
}
