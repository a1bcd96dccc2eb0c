//! The content of a container that is here already, put into a new one: what was held is signed, what could not be opened, or is left of
//! an envelope that some recipients were withdrawn from, is sealed again. The content's bytes stay as they are; `envelope.json` and the signature are new.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use prost::Message;
use truc_evidence::Directory;
use truc_proto::{
    ATTACHMENTS_FOLDER, AgencyId, Digest, ENVELOPE_ENTRY, EnvelopeId, EnvelopeJson, EnvelopeKind, Preamble, Raw,
    Supersedes, Timestamp, limits::STATEMENT_BYTES_MAX,
};
use truc_signer::{
    asic::{AsicManifest, ContainerError, ContainerReader, Entry, EntryHeader, Visitor, VisitorError},
    stream::StreamOpener,
};

use super::{
    Pipes,
    assembly::{Addressed, Assembly, Draft, Finished, Labels, Signer},
    compose::{Shape, preamble},
    error::{ComposeError, of_write},
    payload::StoredPayload,
    secrets::Secrets,
};
use crate::{
    core::{HeldRequest, Sealed},
    pipeline::{Composed, Moment},
    records::{About, Held, Outgoing, Payload},
};

/// What finishes a held request; persisted in [`Held::body`], so tags never change.
#[derive(Clone, PartialEq, Message)]
struct HeldBody {
    /// The preamble's bytes: it stays as it is.
    #[prost(bytes = "vec", tag = "1")]
    preamble: Vec<u8>,
    /// The draft's secrets, wrapped under the storage key.
    #[prost(bytes = "vec", tag = "2")]
    wrapped: Vec<u8>,
    /// `META-INF/ASiCManifest.xml` of the draft.
    #[prost(bytes = "vec", tag = "3")]
    manifest: Vec<u8>,
    /// The draft.
    #[prost(message, required, tag = "4")]
    payload: Payload,
}

/// What the core records of a draft.
pub(super) fn hold(draft: Draft) -> HeldRequest {
    let Draft { preamble, manifest, payload, wrapped, about, labels, .. } = draft;
    let blob = payload.sha256.clone();
    let body = HeldBody { preamble: preamble.bytes().to_vec(), wrapped, manifest, payload };
    HeldRequest {
        held: Held {
            envelope: preamble.envelope.to_string(),
            sender: preamble.sender.to_string(),
            recipients: preamble.recipients.iter().chain(&preamble.legacy).map(ToString::to_string).collect(),
            priority: u32::from(preamble.priority.value()),
            held_at_ms: preamble.created.unix_ms(),
            expires_ms: preamble.expires.unix_ms(),
            idempotency_key: labels.idempotency_key,
            request_hash: labels.request_hash,
            body: body.encode_to_vec(),
            about,
            blob,
            status: labels.status,
        },
    }
}

/// The draft's secrets, wrapped, as a change of the storage key carries them over.
pub(crate) fn held_secrets(held: &Held) -> Option<Vec<u8>> {
    HeldBody::decode(held.body.as_slice()).ok().map(|body| body.wrapped)
}

/// See [`crate::pipeline::Pipeline::finish`].
pub(super) fn finish(
    pipes: &Pipes,
    held: &Held,
    recipients: &[AgencyId],
    directory: &Directory,
    now: Timestamp,
) -> Result<Sealed, ComposeError> {
    let body =
        HeldBody::decode(held.body.as_slice()).map_err(|_| ComposeError::Record("a held request cannot be read"))?;
    let preamble = Raw::<Preamble>::parse(body.preamble)?;
    let signer = pipes.signer(&preamble.sender, directory, now)?;
    // A code that closed meanwhile: the relay lets its node open it, or names the successor, to whom it is sealed anew.
    let sealed = (preamble.created, preamble.kind == EnvelopeKind::Status);
    let addressed = pipes.address(&preamble.sender, recipients.iter().cloned(), directory, sealed, now)?;
    signer.ready()?;
    addressed.ready()?;
    let labels = Labels {
        subject: held.about.subject.clone(),
        document_id: held.about.document_id.clone(),
        change: held.about.change.clone(),
        particulars: held.about.particulars.clone(),
        warnings: held.about.warnings.clone(),
        idempotency_key: held.idempotency_key.clone(),
        request_hash: held.request_hash.clone(),
        status: held.status.clone(),
    };
    let old = Old {
        preamble: &preamble,
        payload: &body.payload,
        wrapped: &body.wrapped,
        manifest: &body.manifest,
        about: &held.about,
    };
    // A code may have moved to this axis, or off it, or been withdrawn from, while the request was held; nothing of it was signed yet.
    let after = Raw::write(readdress(&preamble, &addressed))?;
    let assembly = Assembly::start(pipes, after, addressed.recipients)?;
    match repack(pipes, &old, assembly, labels, &signer)? {
        Finished::Sealed(sealed) => Ok(*sealed),
        Finished::Draft(draft) => {
            forget(pipes, &draft.payload);
            Err(draft.why)
        }
    }
}

fn readdress(before: &Preamble, addressed: &Addressed) -> Preamble {
    Preamble {
        recipients: addressed.recipients.iter().map(|recipient| recipient.code.clone()).collect(),
        legacy: addressed.legacy.clone(),
        ..before.clone()
    }
}

/// See [`crate::pipeline::Pipeline::reseal`].
pub(super) fn reseal(
    pipes: &Pipes,
    old: &Outgoing,
    recipient: &AgencyId,
    to: &AgencyId,
    directory: &Directory,
    moment: Moment,
) -> Result<Composed, ComposeError> {
    // The relay says who took over; the directory that the operator signed must say so, too, or the relay could have mail sealed to anybody.
    if to != recipient && !directory.took_over(recipient, to, moment.now) {
        let version = directory.version();
        return Err(ComposeError::OtherSuccessor { code: recipient.clone(), successor: to.clone(), version });
    }
    let replaces = Supersedes { envelope: envelope_of(old)?, recipient: recipient.clone() };
    let request = format!("truc/reseal/1\n{}\n{recipient}\n{to}", replaces.envelope);
    let to = std::slice::from_ref(to);
    Ok(Composed::Sealed(again(pipes, old, to, Some(replaces), &request, directory, moment)?))
}

/// See [`crate::pipeline::Pipeline::divide`].
pub(super) fn divide(
    pipes: &Pipes,
    old: &Outgoing,
    recipients: &[AgencyId],
    directory: &Directory,
    moment: Moment,
) -> Result<Composed, ComposeError> {
    let continues = envelope_of(old)?.to_string();
    let request = format!("truc/divide/1\n{continues}\n{recipients:?}");
    let mut sealed = again(pipes, old, recipients, None, &request, directory, moment)?;
    sealed.outgoing.continues = continues;
    Ok(Composed::Sealed(sealed))
}

fn envelope_of(outgoing: &Outgoing) -> Result<EnvelopeId, ComposeError> {
    Ok(Raw::<Preamble>::parse(outgoing.preamble.clone())?.envelope)
}

/// The content of an envelope in a new one, for these recipients.
fn again(
    pipes: &Pipes,
    old: &Outgoing,
    to: &[AgencyId],
    supersedes: Option<Supersedes>,
    request: &str,
    directory: &Directory,
    moment: Moment,
) -> Result<Box<Sealed>, ComposeError> {
    let before = Raw::<Preamble>::parse(old.preamble.clone())?;
    let opening = old.opening.as_ref().ok_or(ComposeError::Record("a sent envelope has no manifest"))?;
    let signer = pipes.signer(&before.sender, directory, moment.now)?;
    // What goes on for the rest of its recipients was accepted then, like what is held.
    let at = if supersedes.is_some() { moment.now } else { before.created };
    let sealed = (at, before.kind == EnvelopeKind::Status);
    let addressed = pipes.address(&before.sender, to.iter().cloned(), directory, sealed, moment.now)?;
    signer.ready()?;
    addressed.ready()?;
    let shape = Shape {
        kind: before.kind,
        level: before.level,
        priority: before.priority,
        ttl: Duration::from_millis(
            u64::try_from(before.expires.unix_ms() - before.created.unix_ms()).unwrap_or_default(),
        ),
        supersedes,
    };
    let after = preamble(pipes, &before.sender, &addressed, shape, moment)?;
    let labels = Labels {
        subject: old.about.subject.clone(),
        document_id: old.about.document_id.clone(),
        change: old.about.change.clone(),
        particulars: old.about.particulars.clone(),
        warnings: addressed.warnings,
        idempotency_key: String::new(),
        request_hash: Digest::of(request.as_bytes()).as_bytes().to_vec(),
        status: old.status.clone(),
    };
    let source = Old {
        preamble: &before,
        payload: &old.payload,
        wrapped: &old.wrapped,
        manifest: &opening.manifest,
        about: &old.about,
    };
    let assembly = Assembly::start(pipes, after, addressed.recipients)?;
    match repack(pipes, &source, assembly, labels, &signer)? {
        Finished::Sealed(sealed) => Ok(sealed),
        // Nothing is lost: the old envelope is here, and this is tried again.
        Finished::Draft(draft) => {
            forget(pipes, &draft.payload);
            Err(draft.why)
        }
    }
}

/// A draft that nobody will ask for. Failing costs space until the next sweep.
fn forget(pipes: &Pipes, payload: &Payload) {
    if let Ok(digest) = Digest::from_slice(&payload.sha256) {
        let _ = pipes.blobs.remove(&digest);
    }
}

/// The container that the content comes from.
struct Old<'a> {
    preamble: &'a Raw<Preamble>,
    payload: &'a Payload,
    wrapped: &'a [u8],
    manifest: &'a [u8],
    about: &'a About,
}

fn repack(
    pipes: &Pipes,
    old: &Old<'_>,
    assembly: Assembly<'_>,
    labels: Labels,
    signer: &Signer,
) -> Result<Finished, ComposeError> {
    let secrets = Secrets::unwrap(old.wrapped, &pipes.storage, &old.preamble.sender, old.preamble.envelope)?;
    let stored = StoredPayload::find(old.payload, &pipes.blobs).map_err(ComposeError::Store)?;
    let mut stream = StreamOpener::new(&secrets.file_key, secrets.params, old.preamble.digest(), stored.reader());
    let manifest = AsicManifest::parse(old.manifest.to_vec())
        .map_err(|_| ComposeError::Record("the manifest of a stored document cannot be read"))?;
    let references = manifest.references().iter();
    let media_types =
        references.filter_map(|r| Some((r.name.as_str().to_owned(), r.media_type.as_deref()?.to_owned())));
    let mut copy = Copy {
        assembly,
        media_types: media_types.collect(),
        about: old.about,
        envelope: None,
        in_envelope: false,
        failure: None,
    };
    let read = ContainerReader::new(&mut stream).and_then(|reader| reader.read(&mut copy));
    let Copy { assembly, envelope, failure, .. } = copy;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let opened = read.map_err(ComposeError::Stored)?;
    if opened.manifest.bytes() != old.manifest {
        return Err(ComposeError::Record("a stored document is not the one that was accepted"));
    }
    stream.finish()?;
    let envelope = Raw::<EnvelopeJson>::parse(envelope.unwrap_or_default())?;
    assembly.finish(envelope.attachments.clone(), envelope.trace.clone(), labels, signer)
}

/// Copies entries; keeps `envelope.json` for itself.
struct Copy<'p, 'a> {
    assembly: Assembly<'p>,
    media_types: BTreeMap<String, String>,
    about: &'a About,
    envelope: Option<Vec<u8>>,
    in_envelope: bool,
    failure: Option<ComposeError>,
}

impl Copy<'_, '_> {
    fn note<T>(&mut self, outcome: Result<T, ComposeError>) -> Result<T, VisitorError> {
        outcome.map_err(|failure| {
            self.failure.get_or_insert(failure);
            "the entry was not copied".into()
        })
    }

    /// Only 4 GiB and more must be declared; a packet is longer than its attachments, in base64 by a third.
    fn length(&self, name: &str) -> Option<u64> {
        let attachments = &self.about.attachments;
        match name.strip_prefix(ATTACHMENTS_FOLDER) {
            Some(name) => {
                attachments.iter().find(|attachment| attachment.name == name).map(|attachment| attachment.length)
            }
            None => Some(attachments.iter().map(|attachment| attachment.length.saturating_mul(2)).sum()),
        }
    }
}

impl Visitor for Copy<'_, '_> {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        let name = header.name.as_str();
        if name == ENVELOPE_ENTRY {
            self.envelope = Some(Vec::new());
            self.in_envelope = true;
            return Ok(());
        }
        let media_type = self.media_types.get(name).map_or("application/octet-stream", String::as_str);
        let length = self.length(name);
        let begun = self.assembly.container().begin_entry(name, media_type, length).map_err(ComposeError::from);
        self.note(begun)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        if let (true, Some(envelope)) = (self.in_envelope, &mut self.envelope) {
            if envelope.len() + bytes.len() > STATEMENT_BYTES_MAX {
                return Err(ContainerError::TooLarge { what: "an envelope.json may have" }.into());
            }
            envelope.extend_from_slice(bytes);
            return Ok(());
        }
        let written = self.assembly.container().write_all(bytes).map_err(of_write);
        self.note(written)
    }

    fn end(&mut self, entry: &Entry) -> Result<(), VisitorError> {
        if entry.name.as_str() == ENVELOPE_ENTRY {
            self.in_envelope = false;
            return Ok(());
        }
        let ended = self.assembly.container().end_entry().map(drop).map_err(ComposeError::from);
        self.note(ended)
    }
}
