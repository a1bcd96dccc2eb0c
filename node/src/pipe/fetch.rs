//! Renders a consigned document for a document system, decrypting on the fly in constant memory.
//!
//! The document was verified when it was consigned. What is read again is held against what was verified then (digests of the
//! recorded manifest), so a stored payload that was exchanged shows; who receives the bytes uses them only when the fetch ends well.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use truc_proto::{
    ATTACHMENTS_FOLDER, BusinessStatus, DOCUMENT_ENTRY, Digest, EnvelopeJson, ForeignCode, PACKET_ENTRY, Preamble, Raw,
    edxml::{
        self, Attachment, AttachmentSink, AttachmentStart, DeliveryError, Discard, DocumentId, FieldLengths, Message,
        Organization, OutgoingAttachment, ResponseFor, StaffInfo, StatusPacket, TraceHeader,
    },
    limits::XML_KEPT_BYTES_MAX,
};
use truc_signer::{
    asic::{
        AsicManifest, ContainerError, ContainerReader, Entry, EntryHeader, EntryName, ExtractError, OpenedContainer,
        Visitor, VisitorError, extract,
    },
    stream::{RangeOpener, StreamOpener},
};
use zeroize::Zeroizing;

use super::{
    Pipes, failed,
    payload::{PayloadReader, StoredPayload},
    pump::joined,
    secrets::Secrets,
};
use crate::{
    pipeline::{FetchSink, FetchWhat, PipelineError},
    records::{Content, Incoming},
};

/// Events that may wait between container and packet writer.
const QUEUE_EVENTS: usize = 8;

/// See [`crate::pipeline::Pipeline::fetch`].
pub(super) fn fetch(
    pipes: &Pipes,
    incoming: &Incoming,
    content: &Content,
    what: &FetchWhat,
    sink: &mut dyn FetchSink,
) -> Result<(), PipelineError> {
    let document = Document::find(pipes, incoming, content)?;
    let mut sink = Sink { sink, gone: false };
    match what {
        FetchWhat::Container { offset } => document.container(*offset, &mut sink),
        FetchWhat::Attachment(name) => document.attachment(name, &mut sink),
        FetchWhat::Edxml { .. } | FetchWhat::Packet if !content.status.is_empty() => {
            let packet = status_packet(&content.status, None)?;
            sink.length(u64::try_from(packet.len()).unwrap_or(u64::MAX));
            sink.write_all(&packet).map_err(|error| sink.told(UNREADABLE, error))
        }
        FetchWhat::Packet => match document.reference(PACKET_ENTRY) {
            Some((packet, digest)) => extract(document.stream(), &packet, &digest, &mut sink)
                .map(drop)
                .map_err(|error| extract_failed(error, &sink)),
            None => document.written(&document.traces(&[])?, &mut sink),
        },
        FetchWhat::Edxml { stamps } => {
            let traces = document.traces(stamps)?;
            if document.reference(PACKET_ENTRY).is_some() {
                document.packet(&traces, &mut sink)
            } else {
                document.written(&traces, &mut sink)
            }
        }
    }
}

/// Knows whether it was the receiver that failed.
struct Sink<'s> {
    sink: &'s mut dyn FetchSink,
    gone: bool,
}

impl Sink<'_> {
    fn length(&mut self, bytes: u64) {
        self.sink.length(bytes);
    }

    fn told(&self, what: &str, error: io::Error) -> PipelineError {
        if self.gone { PipelineError::Sink(error) } else { failed(what, &error) }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes).inspect_err(|error| self.gone |= error.kind() != io::ErrorKind::Interrupted)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush().inspect_err(|_| self.gone = true)
    }
}

const UNREADABLE: &str = "the stored document cannot be read";

/// A consigned document and what opens it.
struct Document<'d> {
    preamble: Raw<Preamble>,
    secrets: Secrets,
    payload: StoredPayload<'d>,
    sealed_length: u64,
    manifest: AsicManifest,
    content: &'d Content,
}

impl<'d> Document<'d> {
    fn find(pipes: &Pipes, incoming: &'d Incoming, content: &'d Content) -> Result<Self, PipelineError> {
        let preamble = Raw::<Preamble>::parse(incoming.preamble.clone()).map_err(|e| failed(UNREADABLE, &e))?;
        let secrets = Secrets::unwrap(&content.wrapped, &pipes.storage, &preamble.sender, preamble.envelope)
            .map_err(|e| failed("the document's key cannot be unwrapped", &e))?;
        let payload = StoredPayload::find(&incoming.payload, &pipes.blobs).map_err(|e| failed(UNREADABLE, &e))?;
        let manifest = AsicManifest::parse(content.opening.manifest.clone()).map_err(|e| failed(UNREADABLE, &e))?;
        Ok(Self { preamble, secrets, payload, sealed_length: incoming.payload.length, manifest, content })
    }

    fn stream(&self) -> StreamOpener<PayloadReader<'_>> {
        let Secrets { file_key, params, .. } = &self.secrets;
        StreamOpener::new(file_key, *params, self.preamble.digest(), self.payload.reader())
    }

    /// Name and digest of an entry, as verified.
    fn reference(&self, name: &str) -> Option<(EntryName, Digest)> {
        let found = self.manifest.references().iter().find(|reference| reference.name.as_str() == name)?;
        Some((found.name.clone(), found.digest))
    }

    fn container(&self, offset: u64, sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        let Secrets { file_key, params, .. } = &self.secrets;
        let opener = RangeOpener::new(file_key, *params, self.preamble.digest(), &self.payload, self.sealed_length)
            .map_err(|e| failed(UNREADABLE, &e))?;
        let length = opener.plain_len();
        let left = length
            .checked_sub(offset)
            .ok_or_else(|| PipelineError::NotInDocument(format!("byte {offset}: its container has {length} bytes")))?;
        sink.length(left);
        opener.open_range(offset, left, sink).map(drop).map_err(|error| sink.told(UNREADABLE, error))
    }

    fn attachment(&self, name: &str, sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        let absent = || PipelineError::NotInDocument(format!("attachment named {name:?}"));
        let known = self.content.about.attachments.iter().enumerate();
        let (index, about) = known.into_iter().find(|(_, attachment)| attachment.name == name).ok_or_else(absent)?;
        let digest = Digest::from_slice(&about.sha256).map_err(|e| failed(UNREADABLE, &e))?;
        sink.length(about.length);
        if let Some((packet, packet_digest)) = self.reference(PACKET_ENTRY) {
            return self.attachment_of_packet(&packet, &packet_digest, index, digest, sink);
        }
        let (entry, _) = self.reference(&format!("{ATTACHMENTS_FOLDER}{name}")).ok_or_else(absent)?;
        extract(self.stream(), &entry, &digest, sink).map(drop).map_err(|error| extract_failed(error, sink))
    }

    fn attachment_of_packet(
        &self,
        packet: &EntryName,
        packet_digest: &Digest,
        index: usize,
        digest: Digest,
        sink: &mut Sink<'_>,
    ) -> Result<(), PipelineError> {
        let mut one = OneAttachment { index, sink, open: false, found: None };
        let (extracted, read) = joined(
            |writer| extract(self.stream(), packet, packet_digest, writer),
            |reader| edxml::read(reader, &mut one),
        );
        let OneAttachment { sink, found, .. } = one;
        if found == Some(digest) {
            return Ok(()); // reading stopped there
        }
        if let (false, Some(Err(error))) = (sink.gone, extracted) {
            return Err(extract_failed(error, sink));
        }
        match read {
            Err(error) if found.is_none() => {
                Err(if sink.gone { PipelineError::Sink(io::Error::other(error)) } else { failed(UNREADABLE, &error) })
            }
            // A packet with a second list of attachments, of which the last counts: what was given out belongs to the first.
            _ => Err(PipelineError::Failed {
                what: "the attachment cannot be taken out of this packet alone; fetch the whole packet".to_owned(),
                key_away: false,
            }),
        }
    }

    /// The sender's stamps, then those of later hops.
    fn traces(&self, stamps: &[(String, truc_proto::Timestamp)]) -> Result<Vec<TraceHeader>, PipelineError> {
        let envelope =
            Raw::<EnvelopeJson>::parse(self.content.opening.envelope.clone()).map_err(|e| failed(UNREADABLE, &e))?;
        let own = envelope.trace.iter().map(|stamp| (Some(ForeignCode::from(stamp.organ.clone())), stamp.time));
        let later = stamps.iter().map(|(organ, time)| (organ.parse::<ForeignCode>().ok(), *time));
        Ok(own.chain(later).map(|(organ_id, time)| TraceHeader { organ_id, timestamp: Some(time.into()) }).collect())
    }

    fn packet(&self, traces: &[TraceHeader], sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        let (packet, digest) =
            self.reference(PACKET_ENTRY).ok_or_else(|| PipelineError::NotInDocument("packet".to_owned()))?;
        let (extracted, rendered) = joined(
            |writer| extract(self.stream(), &packet, &digest, writer),
            |reader| edxml::render_delivery(reader, traces, sink),
        );
        match (rendered, extracted) {
            (Err(DeliveryError::Write(error)), _) if sink.gone => Err(PipelineError::Sink(error)),
            (_, None) => Err(broken()),
            // The packet's reader stopping early shows on the other side as a sink that is gone.
            (Err(error), Some(Err(ExtractError::Container(ContainerError::Visitor(_))) | Ok(_))) => {
                Err(failed(UNREADABLE, &error))
            }
            (_, Some(Err(error))) => Err(extract_failed(error, sink)),
            (Ok(()), Some(Ok(_))) => Ok(()),
        }
    }

    /// A packet made of the header that the sender's node wrote and the files beside it.
    fn written(&self, traces: &[TraceHeader], sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        let (sender, events) = sync_channel(QUEUE_EVENTS);
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut stream = self.stream();
                ContainerReader::new(&mut stream).and_then(|reader| reader.read(&mut Events(sender)))
            });
            let written = self.write_packet(&events, traces, sink);
            if written.is_ok() {
                while events.recv().is_ok() {} // to the end, where it is known whether the container is whole
            }
            drop(events);
            let read = reading.join().map_err(|_| broken())?;
            written?;
            self.check_whole(read)
        })
    }

    fn check_whole(&self, read: Result<OpenedContainer, ContainerError>) -> Result<(), PipelineError> {
        let container = read.map_err(|e| failed(UNREADABLE, &e))?;
        if container.manifest.bytes() == self.manifest.bytes() {
            return Ok(());
        }
        let what = "the stored document is not the one that was consigned; the store was tampered with or damaged";
        Err(PipelineError::Failed { what: what.to_owned(), key_away: false })
    }

    fn write_packet(
        &self,
        events: &Receiver<Event>,
        traces: &[TraceHeader],
        sink: &mut Sink<'_>,
    ) -> Result<(), PipelineError> {
        let mut header = Vec::new();
        EntryReader::new(events, DOCUMENT_ENTRY.to_owned())
            .take(u64::try_from(XML_KEPT_BYTES_MAX).unwrap_or(u64::MAX))
            .read_to_end(&mut header)
            .map_err(|e| failed(UNREADABLE, &e))?;
        let parsed = edxml::read(header.as_slice(), &mut Discard).map_err(|e| failed(UNREADABLE, &e))?;
        let mut message = parsed.message;
        if let Message::Document(packet) = &mut message {
            packet.trace.traces.extend_from_slice(traces);
        }
        let attachments = &self.content.about.attachments;
        let entry = |name: &str| EntryReader::new(events, format!("{ATTACHMENTS_FOLDER}{name}"));
        let mut readers: Vec<EntryReader<'_>> = attachments.iter().map(|attachment| entry(&attachment.name)).collect();
        let named = attachments.iter().zip(&mut readers).enumerate();
        let mut outgoing: Vec<OutgoingAttachment<'_>> = named
            .map(|(n, (attachment, content))| OutgoingAttachment {
                content_id: format!("attachment-{}", n + 1),
                name: attachment.name.clone(),
                description: None,
                content,
            })
            .collect();
        edxml::write_packet(&message, &mut outgoing, &FieldLengths::default(), sink).map_err(|error| match error {
            edxml::WriteError::Sink(error) => sink.told(UNREADABLE, error),
            other => {
                failed("the document cannot be written as a packet; fetch its container or its attachments", &other)
            }
        })
    }
}

fn broken() -> PipelineError {
    PipelineError::Failed { what: "reading the stored document made the program fail".to_owned(), key_away: false }
}

fn extract_failed(error: ExtractError, sink: &Sink<'_>) -> PipelineError {
    match error {
        ExtractError::Container(ContainerError::Visitor(error)) if sink.gone => {
            PipelineError::Sink(io::Error::other(error))
        }
        other => failed(UNREADABLE, &other),
    }
}

/// Lets one attachment through, and stops reading behind it.
struct OneAttachment<'o, 's> {
    index: usize,
    sink: &'o mut Sink<'s>,
    open: bool,
    found: Option<Digest>,
}

impl AttachmentSink for OneAttachment<'_, '_> {
    fn begin(&mut self, start: &AttachmentStart) -> io::Result<()> {
        self.open = start.index == self.index;
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        self.sink.write_all(bytes)
    }
    fn finish(&mut self, attachment: &Attachment) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        self.found = Some(attachment.sha256);
        Err(io::Error::other("nothing more is wanted of the packet"))
    }
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a container shows while it is read.
enum Event {
    Begin(String),
    Data(Zeroizing<Vec<u8>>),
    End,
}

struct Events(SyncSender<Event>);

impl Events {
    fn send(&self, event: Event) -> Result<(), VisitorError> {
        self.0.send(event).map_err(|_| "nobody reads on".into())
    }
}

impl Visitor for Events {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        self.send(Event::Begin(header.name.to_string()))
    }
    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        self.send(Event::Data(Zeroizing::new(bytes.to_vec())))
    }
    fn end(&mut self, _: &Entry) -> Result<(), VisitorError> {
        self.send(Event::End)
    }
}

/// Reads one entry; those before it are passed over.
struct EntryReader<'e> {
    events: &'e Receiver<Event>,
    name: String,
    state: EntryState,
}

enum EntryState {
    Before,
    In { piece: Zeroizing<Vec<u8>>, given: usize },
    Behind,
}

impl<'e> EntryReader<'e> {
    const fn new(events: &'e Receiver<Event>, name: String) -> Self {
        Self { events, name, state: EntryState::Before }
    }

    fn next(&self) -> io::Result<Event> {
        self.events
            .recv()
            .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} is not there", self.name)))
    }
}

impl Read for EntryReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                EntryState::Behind => return Ok(0),
                EntryState::In { piece, given } if *given < piece.len() => {
                    let mut rest = piece.get(*given..).unwrap_or_default();
                    let read = rest.read(out)?;
                    *given += read;
                    return Ok(read);
                }
                EntryState::In { .. } => match self.next()? {
                    Event::Data(piece) => self.state = EntryState::In { piece, given: 0 },
                    Event::End | Event::Begin(_) => self.state = EntryState::Behind,
                },
                EntryState::Before => {
                    if matches!(self.next()?, Event::Begin(name) if name == self.name) {
                        self.state = EntryState::In { piece: Zeroizing::default(), given: 0 };
                    }
                }
            }
        }
    }
}

/// A business status as the status packet that existing systems know; `written` is how the document's sender is written there, where that
/// is no code of ours.
pub(crate) fn status_packet(status: &[u8], written: Option<&ForeignCode>) -> Result<Vec<u8>, PipelineError> {
    let status = Raw::<BusinessStatus>::parse(status.to_vec()).map_err(|e| failed(UNREADABLE, &e))?.into_value();
    let issuer = if status.code.is_from_sender() { &status.from } else { &status.to };
    let document_id = status.document_id.clone().unwrap_or_else(|| status.document.to_string());
    let code = match DocumentId::read(&document_id) {
        DocumentId::Parts { number, notation, .. } => format!("{number}/{notation}"),
        DocumentId::Uuid(_) | DocumentId::Other => document_id.clone(),
    };
    let organ = |code: &truc_proto::AgencyId| Some(ForeignCode::from(code.clone()));
    let message = Message::Status(Box::new(StatusPacket {
        from: Organization { organ_id: organ(&status.from), ..Organization::default() },
        response_for: ResponseFor {
            organ_id: written.cloned().or_else(|| organ(issuer)),
            code: Some(code),
            document_id: Some(document_id),
            ..ResponseFor::default()
        },
        staff: StaffInfo { staff: status.staff.clone(), ..StaffInfo::default() },
        status_code: Some(status.code.to_string()),
        description: status.reason.clone(),
        timestamp: Some(status.time.into()),
    }));
    let mut packet = Vec::new();
    edxml::write_packet(&message, &mut [], &FieldLengths::default(), &mut packet)
        .map_err(|e| failed("the status cannot be written as a packet; fetch its container", &e))?;
    Ok(packet)
}
