//! What the shell asks of the pipelines that turn a request into a sealed envelope and a sealed envelope into a document.
//!
//! All of it blocks, streams, and runs on threads of its own; nothing here knows the journal's state or the network.
//! [`crate::pipe`] implements it over the real keys; tests may stand in something simpler.

use std::io::{self, Write};

use bytes::Bytes;
use truc_evidence::Directory;
use truc_proto::{
    AgencyId, BusinessStatus, Digest, EnvelopeId, Reason, Timestamp, WireLevel, edxml::BusinessKind, node_v1, wire_v1,
};
use truc_signer::PdfSignature;

use crate::{
    core::{Failure, HeldRequest, Sealed},
    records::{Content, Held, Incoming, KeyEnvelope, Outgoing, TakenOver},
};

/// What arrives behind the header of a Send.
#[derive(Clone, Debug)]
pub enum Part {
    /// A file begins (form `document` only).
    File(node_v1::FileHeader),
    /// Bytes of the packet, or of the file begun last.
    Data(Bytes),
}

/// The parts, one after the other. Blocks.
pub trait Parts {
    /// The next one; none at the end.
    ///
    /// # Errors
    /// When the caller went away or sent what cannot follow.
    fn next(&mut self) -> io::Result<Option<Part>>;
}

/// Moments and random numbers, so that pipelines have neither clock nor source of their own ids.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// When the request first came: whom it addresses was open then. Earlier than now when it is asked again.
    pub asked: Timestamp,
    /// Random bits of the envelope's id.
    pub random: [u8; 10],
}

/// What was looked up for a request, whose header only names it.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The codes that the header's groups stand for.
    pub grouped: Vec<AgencyId>,
    /// What a document given by fields does to earlier ones.
    pub change: Option<Changing>,
}

/// What a document does to earlier ones of its sender.
#[derive(Clone, Debug)]
pub struct Changing {
    /// Updates or replaces.
    pub kind: BusinessKind,
    /// Those documents: one of an update.
    pub targets: Vec<Target>,
    /// Why.
    pub reason: String,
}

/// An earlier document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its edXML DocumentId.
    pub document_id: String,
    /// To whom it went; none: this node does not know it.
    pub recipients: Option<Vec<AgencyId>>,
}

/// A request after its pipeline.
#[derive(Debug)]
pub enum Composed {
    /// Signed and sealed; a payload that is not inline is in the blob store already.
    Sealed(Box<Sealed>),
    /// On the device, encrypted; the signing key is away, or the directory does not allow sending now.
    Held(Box<HeldRequest>),
}

/// A request that is refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Of the closed list.
    pub reason: Reason,
    /// What happened, why, and who must do what, in English.
    pub english: String,
    /// The same in Vietnamese.
    pub vietnamese: String,
    /// Successor of a closed code.
    pub successor: Option<AgencyId>,
    /// Codes like an unknown one.
    pub nearest: Vec<AgencyId>,
    /// When the refusal is to be evidence (SubmissionRejection): the hash of the request.
    pub evidence: Option<Digest>,
}

impl Refusal {
    /// A refusal in the words of its reason and `detail`.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            english: detail.into(),
            vietnamese: reason.vietnamese().to_owned(),
            successor: None,
            nearest: Vec::new(),
            evidence: None,
        }
    }

    /// As peers and callers hear it.
    #[must_use]
    pub fn to_wire(&self) -> wire_v1::Refusal {
        wire_v1::Refusal {
            reason: self.reason.to_string(),
            english: self.english.clone(),
            vietnamese: self.vietnamese.clone(),
            evidence: None,
            successor: self.successor.as_ref().map(ToString::to_string).unwrap_or_default(),
            nearest: self.nearest.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What went wrong in a pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The request's fault.
    #[error("{}", .0.english)]
    Refused(Box<Refusal>),
    /// Ours: disk, key, program. Trying again may help.
    #[error("{what}")]
    Failed {
        /// What was being done and what happened.
        what: String,
        /// The key is away: what can be held is held, the rest is tried again when it is back.
        key_away: bool,
    },
    /// The document's fault, told while fetching: what was asked for is not in it.
    #[error("the document has no {0}")]
    NotInDocument(String),
    /// The receiver of a Fetch went away.
    #[error("the caller went away")]
    Sink(#[from] io::Error),
}

/// What a Fetch wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchWhat {
    /// The whole container, from this byte on.
    Container {
        /// First byte.
        offset: u64,
    },
    /// The edXML packet with attachments inside and trace headers added.
    Edxml {
        /// Trace stamps of hops after the sender: code or relay, and when.
        stamps: Vec<(String, Timestamp)>,
    },
    /// The packet's bytes as they came from the document system; a document that came otherwise, as a packet.
    Packet,
    /// One attachment, by name.
    Attachment(String),
}

/// Where a fetch writes.
pub trait FetchSink: Write {
    /// Called once before the first byte when the length is known.
    fn length(&mut self, bytes: u64);
}

/// An opened envelope.
#[derive(Debug)]
pub struct Opened {
    /// What was found, when any code could open it.
    pub content: Option<Content>,
    /// Per code that had a key envelope.
    pub outcomes: Vec<(AgencyId, Result<(), Failure>)>,
}

/// What today's axis lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// That axis's name for it.
    pub doc_id: String,
    /// Its sender as listed; may be empty.
    pub from: String,
    /// Which of our codes it is for.
    pub to: AgencyId,
}

/// The pipelines.
pub trait Pipeline: Send + Sync + 'static {
    /// From a document system's request to a sealed envelope, in one pass.
    ///
    /// # Errors
    /// [`PipelineError::Refused`] before anything is stored.
    fn compose(
        &self,
        header: node_v1::SendHeader,
        resolved: &Resolved,
        parts: &mut dyn Parts,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError>;

    /// A business status, sealed to `status.to`.
    ///
    /// # Errors
    /// As [`Pipeline::compose`].
    fn compose_status(
        &self,
        status: BusinessStatus,
        level: WireLevel,
        idempotency_key: &str,
        request_hash: Digest,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError>;

    /// A new envelope with the content of an old one, for one recipient; names what it supersedes.
    ///
    /// # Errors
    /// As [`Pipeline::compose`].
    fn reseal(
        &self,
        old: &Outgoing,
        recipient: &AgencyId,
        to: &AgencyId,
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError>;

    /// A new envelope with the content of one of which only these recipients are left; the old one never leaves.
    ///
    /// # Errors
    /// As [`Pipeline::compose`].
    fn divide(
        &self,
        old: &Outgoing,
        recipients: &[AgencyId],
        directory: &Directory,
        moment: Moment,
    ) -> Result<Composed, PipelineError>;

    /// A detached CMS over `bytes` by the service certificate of one of our agencies.
    ///
    /// # Errors
    /// [`PipelineError::Failed`], with `key_away` while the key is; as [`Pipeline::compose`] when the certificate may not sign.
    fn sign(
        &self,
        agency: &AgencyId,
        bytes: &[u8],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Vec<u8>, PipelineError>;

    /// A PDF with the signature of the service certificate of one of our agencies behind it (PAdES).
    ///
    /// # Errors
    /// As [`Pipeline::sign`].
    fn sign_pdf(
        &self,
        agency: &AgencyId,
        pdf: &[u8],
        options: &PdfSignature<'_>,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Vec<u8>, PipelineError>;

    /// Signs and seals what was held, under the id it was given, for those of its recipients that are left. `Composed::Held` never comes
    /// back.
    ///
    /// # Errors
    /// [`PipelineError::Failed`] with `key_away` while it cannot be done.
    fn finish(
        &self,
        held: &Held,
        recipients: &[AgencyId],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Sealed, PipelineError>;

    /// Opens a received envelope for each code that has a key envelope; everything that can be checked without a private
    /// key is checked before one is used.
    ///
    /// # Errors
    /// Only [`PipelineError::Failed`]: what is wrong with the envelope is an outcome, not an error.
    fn open(
        &self,
        incoming: &Incoming,
        key_envelopes: &[KeyEnvelope],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Opened, PipelineError>;

    /// Decrypts on the fly what a document system asks for.
    ///
    /// # Errors
    /// When it is not in the document, or cannot be read.
    fn fetch(
        &self,
        incoming: &Incoming,
        content: &Content,
        what: &FetchWhat,
        sink: &mut dyn FetchSink,
    ) -> Result<(), PipelineError>;

    /// A packet from today's axis becomes a document of ours; its payload is on the device then.
    ///
    /// # Errors
    /// [`PipelineError::Refused`] when the packet cannot be taken.
    fn take_over(
        &self,
        packet: &mut crate::pipe::Stored,
        listed: &Listed,
        directory: &Directory,
        moment: Moment,
    ) -> Result<TakenOver, PipelineError>;

    /// A business status from today's axis, understood, becomes one of ours.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn take_over_status(
        &self,
        status: BusinessStatus,
        listed: &Listed,
        moment: Moment,
    ) -> Result<TakenOver, PipelineError>;

    /// The salt of a content commitment, for receipts with opening. `wrapped` as in [`Outgoing`] or [`Content`].
    ///
    /// # Errors
    /// When it cannot be unwrapped.
    fn salt(&self, wrapped: &[u8], sender: &AgencyId, envelope: EnvelopeId) -> Result<[u8; 32], PipelineError>;
}
