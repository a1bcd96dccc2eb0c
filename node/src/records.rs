//! What the node writes into its journal. Tags are persisted: never change or reuse one, only add.
//!
//! A record's leaf, where it has one, is the statement beside it in the journal (`truc_ledger::Record::leaf`), so the
//! state part holds only what the leaf does not say. Hashes are 32 bytes, times milliseconds since 1970.

use prost::{Message, Oneof};
use truc_evidence::{Attestation, Attestations, Attested};
use truc_proto::wire_v1::ProvenLeaf;

/// One journal record.
#[derive(Clone, PartialEq, Message)]
pub struct NodeRecord {
    /// Which.
    #[prost(
        oneof = "Body",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28"
    )]
    pub body: Option<Body>,
}

/// The kinds of record.
#[derive(Clone, PartialEq, Oneof)]
pub enum Body {
    /// A sealed envelope of ours. Leaf: the submission.
    #[prost(message, tag = "1")]
    Outgoing(Outgoing),
    /// A request that is on the device but not signed yet.
    #[prost(message, tag = "2")]
    Held(Held),
    /// A request refused with evidence. Leaf: SubmissionRejection.
    #[prost(message, tag = "3")]
    Refused(Refused),
    /// Others' leaves and finalisations about our envelopes, verified.
    #[prost(message, tag = "4")]
    Evidence(Evidence),
    /// An envelope for us whose payload is on the device.
    #[prost(message, tag = "5")]
    Incoming(Incoming),
    /// Leaf: RelayAcceptance in the role recipient.
    #[prost(message, tag = "6")]
    Accepted(CodeFact),
    /// What was found in an opened envelope.
    #[prost(message, tag = "7")]
    Content(Content),
    /// Leaf: ContentConsignment.
    #[prost(message, tag = "8")]
    Consigned(CodeFact),
    /// Leaf: ContentConsignmentFailure.
    #[prost(message, tag = "9")]
    ConsignmentFailed(CodeFact),
    /// Leaf: ContentHandover or ContentHandoverFailure.
    #[prost(message, tag = "10")]
    HandedOver(CodeFact),
    /// Own leaves that the relay has on its device.
    #[prost(message, tag = "11")]
    Pushed(Pushed),
    /// Our newest checkpoint with the node certificate's line.
    #[prost(message, tag = "12")]
    OwnCheckpoint(Note),
    /// A peer's newest checkpoint that was proven consistent with the one before.
    #[prost(message, tag = "13")]
    PeerCheckpoint(PeerNote),
    /// Two checkpoints of a peer that contradict each other.
    #[prost(message, tag = "14")]
    PeerFork(PeerFork),
    /// A directory version taken into use.
    #[prost(message, tag = "15")]
    DirectoryTaken(DirectoryTaken),
    /// An envelope that failed here without a word from the relay.
    #[prost(message, tag = "16")]
    SentFailed(SentFailed),
    /// A document left memory; the look-up index leads to this record.
    #[prost(message, tag = "17")]
    Closed(Closed),
    /// What entitles an actor, from the directory in force: receipts need it later.
    #[prost(message, tag = "18")]
    Entitled(Entitled),
    /// The payload of a received document may go: it was kept as long as settings say. Receipts stay.
    #[prost(message, tag = "19")]
    PayloadRemoved(PayloadRemoved),
    /// A document system took a business status.
    #[prost(message, tag = "20")]
    StatusTaken(StatusTaken),
    /// A receiver group as it is from here on.
    #[prost(message, tag = "21")]
    Group(Group),
    /// A step of handing a document over to today's axis that is no evidence.
    #[prost(message, tag = "22")]
    PassageNote(PassageNote),
    /// Today's axis has a document. Leaf: RelayToNonERDS in the role sender.
    #[prost(message, tag = "23")]
    PassedOn(PassedOn),
    /// A document from today's axis. Leaf: ReceivedFromNonERDS in the role recipient.
    #[prost(message, tag = "24")]
    TakenOver(TakenOver),
    /// It was said that a duty is about to be missed, or that it was.
    #[prost(message, tag = "25")]
    DutyTold(DutyTold),
    /// A peer's checkpoint that this node cosigns as a witness.
    #[prost(message, tag = "26")]
    Cosigned(Cosigned),
    /// What an administrator did to this node. Leaf: Administration.
    #[prost(message, tag = "27")]
    Administered(Administered),
    /// An administrator wants to do what a second one has to agree to.
    #[prost(message, tag = "28")]
    Wished(Wished),
}

/// See [`Body::Wished`].
#[derive(Clone, PartialEq, Message)]
pub struct Wished {
    /// [`crate::core::Deed`] as JSON.
    #[prost(bytes = "vec", tag = "1")]
    pub deed: Vec<u8>,
    /// When.
    #[prost(int64, tag = "2")]
    pub at_ms: i64,
    /// Until then it can be approved.
    #[prost(int64, tag = "3")]
    pub until_ms: i64,
}

/// See [`Body::Administered`]; the leaf says what, who and why.
#[derive(Clone, PartialEq, Message)]
pub struct Administered {
    /// Position of the record before it of this kind.
    #[prost(uint64, optional, tag = "1")]
    pub previous: Option<u64>,
    /// SHA-256 of the note that it was taken from; empty: it was said to the running node.
    #[prost(bytes = "vec", tag = "2")]
    pub note: Vec<u8>,
    /// The request that this carries out or answers, where two had to agree.
    #[prost(uint64, optional, tag = "3")]
    pub wish: Option<u64>,
    /// It answers that request: a second administrator approved, or refused.
    #[prost(bool, optional, tag = "4")]
    pub approved: Option<bool>,
}

/// See [`Body::DutyTold`].
#[derive(Clone, PartialEq, Message)]
pub struct DutyTold {
    /// About one of ours; else about a received one.
    #[prost(bool, tag = "1")]
    pub sent: bool,
    /// Sending agency.
    #[prost(string, tag = "2")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "3")]
    pub envelope: String,
    /// Of a sent one: the recipients; of a received one: our codes.
    #[prost(string, repeated, tag = "4")]
    pub codes: Vec<String>,
    /// A number of [`crate::duties::Duty`].
    #[prost(uint32, tag = "5")]
    pub duty: u32,
    /// Its deadline has passed; else it is near.
    #[prost(bool, tag = "6")]
    pub late: bool,
    /// The deadline.
    #[prost(int64, tag = "7")]
    pub deadline_ms: i64,
    /// When it was said.
    #[prost(int64, tag = "8")]
    pub at_ms: i64,
}

/// See [`Body::Outgoing`].
#[derive(Clone, PartialEq, Message)]
pub struct Outgoing {
    /// The preamble's bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub preamble: Vec<u8>,
    /// One per recipient.
    #[prost(message, repeated, tag = "2")]
    pub key_envelopes: Vec<KeyEnvelope>,
    /// The sealed payload.
    #[prost(message, required, tag = "3")]
    pub payload: Payload,
    /// The file key and the salt, wrapped under the storage key.
    #[prost(bytes = "vec", tag = "4")]
    pub wrapped: Vec<u8>,
    /// For people.
    #[prost(message, required, tag = "5")]
    pub about: About,
    /// The document system's key; empty for envelopes the node made by itself.
    #[prost(string, tag = "6")]
    pub idempotency_key: String,
    /// Hash of the request.
    #[prost(bytes = "vec", tag = "7")]
    pub request_hash: Vec<u8>,
    /// `status.json`, when this is a business status.
    #[prost(bytes = "vec", tag = "8")]
    pub status: Vec<u8>,
    /// Of the agency whose service key signed the container: for receipts with opening.
    #[prost(message, optional, tag = "9")]
    pub opening: Option<OpeningParts>,
    /// Keys of the look-up index that lead here besides the payload's: a status about a document that left memory.
    #[prost(string, repeated, tag = "10")]
    pub index_keys: Vec<String>,
    /// The encrypted content that was held and is of no use from here on.
    #[prost(message, optional, tag = "11")]
    pub held: Option<Needless>,
    /// The envelope of ours that this one goes on for: some of its recipients were withdrawn before it left. Empty: none.
    #[prost(string, tag = "12")]
    pub continues: String,
}

/// A blob that a record does not need any more.
#[derive(Clone, PartialEq, Message)]
pub struct Needless {
    /// Its SHA-256.
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    /// Position of the record that needed it.
    #[prost(uint64, tag = "2")]
    pub position: u64,
}

/// The parts of an opening other than the salt.
#[derive(Clone, PartialEq, Message)]
pub struct OpeningParts {
    /// `META-INF/ASiCManifest.xml`.
    #[prost(bytes = "vec", tag = "1")]
    pub manifest: Vec<u8>,
    /// `envelope.json`.
    #[prost(bytes = "vec", tag = "2")]
    pub envelope: Vec<u8>,
    /// The container's signature, of a business status: a bundle shows it. Empty: of a document, nobody signed, or written before it was kept.
    #[prost(bytes = "vec", tag = "3")]
    pub signature: Vec<u8>,
}

/// A key envelope.
#[derive(Clone, PartialEq, Message)]
pub struct KeyEnvelope {
    /// For which code.
    #[prost(string, tag = "1")]
    pub recipient: String,
    /// CMS AuthEnvelopedData.
    #[prost(bytes = "vec", tag = "2")]
    pub cms: Vec<u8>,
}

/// Where a sealed payload lies: here, or in the blob store under its hash.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// SHA-256 of the ciphertext.
    #[prost(bytes = "vec", tag = "1")]
    pub sha256: Vec<u8>,
    /// Its length in bytes.
    #[prost(uint64, tag = "2")]
    pub length: u64,
    /// The ciphertext itself, when it is short.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub inline: Option<Vec<u8>>,
}

/// What people see of a document in lists.
#[derive(Clone, PartialEq, Message)]
pub struct About {
    /// Trích yếu.
    #[prost(string, tag = "1")]
    pub subject: String,
    /// edXML DocumentId.
    #[prost(string, tag = "2")]
    pub document_id: String,
    /// Its attachments.
    #[prost(message, repeated, tag = "3")]
    pub attachments: Vec<Attachment>,
    /// Length of the container in bytes.
    #[prost(uint64, tag = "4")]
    pub container_length: u64,
    /// What the reader of the packet noticed.
    #[prost(string, repeated, tag = "5")]
    pub warnings: Vec<String>,
    /// What it does to earlier documents.
    #[prost(message, optional, tag = "6")]
    pub change: Option<Change>,
    /// What people ask for it by. None: a status, or written before this was kept.
    #[prost(message, optional, tag = "7")]
    pub particulars: Option<Particulars>,
}

/// What a document's header says of it besides its subject.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Particulars {
    /// Number and notation, as `15/VPCP-KSTT`.
    #[prost(string, tag = "1")]
    pub number: String,
    /// Type in words, as `Nghị định`.
    #[prost(string, tag = "2")]
    pub type_name: String,
    /// Its day, `yyyy/MM/dd`; empty when it bears none that exists.
    #[prost(string, tag = "3")]
    pub date: String,
}

/// A document that revokes, updates or replaces earlier ones of its sender.
#[derive(Clone, PartialEq, Message)]
pub struct Change {
    /// BussinessDocType: 1 revokes, 2 updates, 3 replaces.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// Their edXML DocumentIds, as written.
    #[prost(string, repeated, tag = "2")]
    pub document_ids: Vec<String>,
    /// Why, in its sender's words.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Whom it is for, where it says it.
    #[prost(message, repeated, tag = "4")]
    pub receivers: Vec<ChangeReceiver>,
}

impl Change {
    /// Whether it asks for documents back.
    #[must_use]
    pub const fn is_revocation(&self) -> bool {
        self.kind == 1
    }
}

/// An agency that a change is for.
#[derive(Clone, PartialEq, Message)]
pub struct ChangeReceiver {
    /// Its code, as written.
    #[prost(string, tag = "1")]
    pub code: String,
    /// ReceiverType: dropped or added; none: the change is for it.
    #[prost(bool, optional, tag = "2")]
    pub added: Option<bool>,
}

/// An attachment.
#[derive(Clone, PartialEq, Message)]
pub struct Attachment {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Decoded length in bytes.
    #[prost(uint64, tag = "2")]
    pub length: u64,
    /// SHA-256 of the decoded bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub sha256: Vec<u8>,
}

/// See [`Body::Held`].
#[derive(Clone, PartialEq, Message)]
pub struct Held {
    /// The id that the envelope will have.
    #[prost(string, tag = "1")]
    pub envelope: String,
    /// Sending agency.
    #[prost(string, tag = "2")]
    pub sender: String,
    /// Receiving agencies.
    #[prost(string, repeated, tag = "3")]
    pub recipients: Vec<String>,
    /// Urgency, 0 to 4.
    #[prost(uint32, tag = "4")]
    pub priority: u32,
    /// When it came.
    #[prost(int64, tag = "5")]
    pub held_at_ms: i64,
    /// When it is given up.
    #[prost(int64, tag = "6")]
    pub expires_ms: i64,
    /// The document system's key.
    #[prost(string, tag = "7")]
    pub idempotency_key: String,
    /// Hash of the request.
    #[prost(bytes = "vec", tag = "8")]
    pub request_hash: Vec<u8>,
    /// What the pipeline needs to finish it, encrypted under the storage key.
    #[prost(bytes = "vec", tag = "9")]
    pub body: Vec<u8>,
    /// For people.
    #[prost(message, required, tag = "10")]
    pub about: About,
    /// Blob that holds the encrypted content, if any: 32 bytes.
    #[prost(bytes = "vec", tag = "11")]
    pub blob: Vec<u8>,
    /// `status.json`, when it is a business status.
    #[prost(bytes = "vec", tag = "12")]
    pub status: Vec<u8>,
}

/// See [`Body::Refused`].
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// Sending agency.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// The document system's key, when the refusal is what it leads to; empty when it led to another request before.
    #[prost(string, tag = "2")]
    pub idempotency_key: String,
    /// The key that the request came under, for the index.
    #[prost(string, tag = "3")]
    pub came_under: String,
    /// The leaf's index, since the look-up index leads to positions alone.
    #[prost(uint64, optional, tag = "4")]
    pub leaf_index: Option<u64>,
}

/// See [`Body::Evidence`].
#[derive(Clone, PartialEq, Message)]
pub struct Evidence {
    /// The node or relay whose ledger it is of.
    #[prost(string, tag = "1")]
    pub from: String,
    /// Its signed checkpoint.
    #[prost(bytes = "vec", tag = "2")]
    pub checkpoint: Vec<u8>,
    /// True when the checkpoint carries the certificate's line.
    #[prost(bool, tag = "3")]
    pub cms: bool,
    /// When it came.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
    /// The leaves.
    #[prost(message, repeated, tag = "5")]
    pub items: Vec<EvidenceItem>,
    /// Keys of the look-up index that lead here: what is about documents that left memory, or about none yet.
    #[prost(string, repeated, tag = "6")]
    pub index_keys: Vec<String>,
    /// True when the certificate's line carries a time-stamp.
    #[prost(bool, tag = "7")]
    pub stamped: bool,
    /// True when enough of the witnesses cosigned it that the directory listed when it came.
    #[prost(bool, tag = "8")]
    pub cosigned: bool,
}

impl Evidence {
    /// What others said of a checkpoint with the certificate's line.
    #[must_use]
    pub const fn attested(&self) -> Attested {
        Attested { stamped: self.cms && self.stamped, cosigned: self.cms && self.cosigned }
    }
}

/// One leaf of others.
#[derive(Clone, PartialEq, Message)]
pub struct EvidenceItem {
    /// Its bytes; empty when only its finalisation came.
    #[prost(bytes = "vec", tag = "1")]
    pub leaf: Vec<u8>,
    /// Its hash.
    #[prost(bytes = "vec", tag = "2")]
    pub leaf_hash: Vec<u8>,
    /// Its index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Inclusion proof.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub proof: Vec<Vec<u8>>,
    /// The envelope.
    #[prost(string, tag = "5")]
    pub envelope: String,
}

/// See [`Body::Incoming`].
#[derive(Clone, PartialEq, Message)]
pub struct Incoming {
    /// The preamble's bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub preamble: Vec<u8>,
    /// The sender's leaf with its proof.
    #[prost(message, required, tag = "2")]
    pub submission: ProvenLeaf,
    /// The relay's leaf with its proof.
    #[prost(message, required, tag = "3")]
    pub relay_acceptance: ProvenLeaf,
    /// The sealed payload.
    #[prost(message, required, tag = "4")]
    pub payload: Payload,
    /// Which of our codes are addressed and open.
    #[prost(string, repeated, tag = "5")]
    pub codes: Vec<String>,
    /// When.
    #[prost(int64, tag = "6")]
    pub at_ms: i64,
}

/// A fact about one envelope and one of our codes; the leaf says which.
#[derive(Clone, PartialEq, Message)]
pub struct CodeFact {
    /// Words for people that the leaf does not carry.
    #[prost(string, tag = "1")]
    pub detail: String,
}

/// See [`Body::Content`].
#[derive(Clone, PartialEq, Message)]
pub struct Content {
    /// Sending agency.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "2")]
    pub envelope: String,
    /// The file key and the salt, wrapped under the storage key.
    #[prost(bytes = "vec", tag = "3")]
    pub wrapped: Vec<u8>,
    /// For receipts with opening.
    #[prost(message, required, tag = "4")]
    pub opening: OpeningParts,
    /// For people.
    #[prost(message, required, tag = "5")]
    pub about: About,
    /// `good` or `unknown`: the signing certificate's status when it was checked.
    #[prost(string, tag = "6")]
    pub verdict: String,
    /// What was checked against what, or why it is unknown.
    #[prost(string, tag = "7")]
    pub verdict_text: String,
    /// `status.json`, when it is a business status.
    #[prost(bytes = "vec", tag = "8")]
    pub status: Vec<u8>,
    /// Keys of the look-up index that lead here: a status about a document that left memory.
    #[prost(string, repeated, tag = "9")]
    pub index_keys: Vec<String>,
}

/// See [`Body::Pushed`].
#[derive(Clone, PartialEq, Message)]
pub struct Pushed {
    /// Leaf indices.
    #[prost(uint64, repeated, tag = "1")]
    pub leaves: Vec<u64>,
    /// True when they went with a checkpoint that carries the certificate's line: nothing remains to be sent of them.
    #[prost(bool, tag = "2")]
    pub finally: bool,
    /// True when the relay refused them for good: nothing is sent of them any more.
    #[prost(bool, tag = "3")]
    pub refused: bool,
    /// True when that checkpoint waits for its time-stamp, as earlier versions said it; `stamp` says more.
    #[prost(bool, tag = "4")]
    pub unstamped: bool,
    /// What became of that checkpoint's time-stamp, as [`truc_evidence::Attestation`] counts.
    #[prost(uint32, tag = "5")]
    pub stamp: u32,
    /// The same of its cosignatures.
    #[prost(uint32, tag = "6")]
    pub cosignature: u32,
}

impl Pushed {
    /// What others had said of the checkpoint under which the leaves went.
    #[must_use]
    pub const fn under(&self) -> Attestations {
        let stamp = if self.unstamped { Attestation::Awaited.number() } else { self.stamp };
        Attestations::from_numbers(stamp, self.cosignature)
    }
}

/// A signed note of our own.
#[derive(Clone, PartialEq, Message)]
pub struct Note {
    /// Its bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub note: Vec<u8>,
    /// What became of its time-stamp, as [`truc_evidence::Attestation`] counts.
    #[prost(uint32, tag = "2")]
    pub stamp: u32,
    /// The same of its cosignatures.
    #[prost(uint32, tag = "3")]
    pub cosignature: u32,
}

impl Note {
    /// What others said of it.
    #[must_use]
    pub const fn said(&self) -> Attestations {
        Attestations::from_numbers(self.stamp, self.cosignature)
    }
}

/// A peer's signed note.
#[derive(Clone, PartialEq, Message)]
pub struct PeerNote {
    /// Whose.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Its bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub note: Vec<u8>,
}

/// See [`Body::Cosigned`].
#[derive(Clone, PartialEq, Message)]
pub struct Cosigned {
    /// Whose.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Of which ledger: a recovery begins another.
    #[prost(string, tag = "2")]
    pub origin: String,
    /// Leaves.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Root over them.
    #[prost(bytes = "vec", tag = "4")]
    pub root: Vec<u8>,
}

/// See [`Body::PeerFork`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerFork {
    /// Whose.
    #[prost(string, tag = "1")]
    pub node: String,
    /// What we held.
    #[prost(bytes = "vec", tag = "2")]
    pub held: Vec<u8>,
    /// What it showed.
    #[prost(bytes = "vec", tag = "3")]
    pub shown: Vec<u8>,
    /// When.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
}

/// See [`Body::DirectoryTaken`].
#[derive(Clone, PartialEq, Message)]
pub struct DirectoryTaken {
    /// The version.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// SHA-256 of its root statement.
    #[prost(bytes = "vec", tag = "2")]
    pub statement: Vec<u8>,
}

/// See [`Body::SentFailed`].
#[derive(Clone, PartialEq, Message)]
pub struct SentFailed {
    /// Sending agency.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "2")]
    pub envelope: String,
    /// A reason of the closed list.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// When.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
    /// For which recipients; none: for all that were not settled.
    #[prost(string, repeated, tag = "5")]
    pub recipients: Vec<String>,
    /// Why, in a person's words.
    #[prost(string, tag = "6")]
    pub text: String,
}

/// See [`Body::Closed`].
#[derive(Clone, PartialEq, Message)]
pub struct Closed {
    /// True for what we sent, false for what we received.
    #[prost(bool, tag = "1")]
    pub sent: bool,
    /// Sending agency.
    #[prost(string, tag = "2")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "3")]
    pub envelope: String,
    /// Places of all records about it, in order: folding them gives the document back.
    #[prost(message, repeated, tag = "4")]
    pub places: Vec<Place>,
    /// The document system's key, for the index.
    #[prost(string, tag = "5")]
    pub idempotency_key: String,
    /// Hashes of the leaves of its ladder, for the index.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub leaves: Vec<Vec<u8>>,
    /// What it kept on the device and needs no more.
    #[prost(message, optional, tag = "7")]
    pub needless: Option<Needless>,
}

/// See [`Body::PayloadRemoved`].
#[derive(Clone, PartialEq, Message)]
pub struct PayloadRemoved {
    /// Sending agency.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "2")]
    pub envelope: String,
    /// The blob, and the position of its [`Incoming`].
    #[prost(message, required, tag = "3")]
    pub needless: Needless,
    /// When.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
    /// How long it was to be kept, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub kept_ms: u64,
}

/// See [`Body::Entitled`].
#[derive(Clone, PartialEq, Message)]
pub struct Entitled {
    /// The node or relay.
    #[prost(string, tag = "1")]
    pub node: String,
    /// The agency; empty for the relay.
    #[prost(string, tag = "2")]
    pub code: String,
    /// When the directory's root was issued.
    #[prost(int64, tag = "3")]
    pub issued_ms: i64,
    /// Until when it is valid.
    #[prost(int64, tag = "4")]
    pub valid_until_ms: i64,
    /// Hash over the two entries' bytes: what has to change for a new record.
    #[prost(bytes = "vec", tag = "5")]
    pub entries: Vec<u8>,
    /// `truc_evidence::Entitlement`.
    #[prost(bytes = "vec", tag = "6")]
    pub entitlement: Vec<u8>,
}

/// See [`Body::Group`].
#[derive(Clone, PartialEq, Message)]
pub struct Group {
    /// The agency that sends to it.
    #[prost(string, tag = "1")]
    pub owner: String,
    /// Its name, unique with its owner.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its members, sorted; none: it is gone.
    #[prost(string, repeated, tag = "3")]
    pub codes: Vec<String>,
    /// When.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
}

/// See [`Body::StatusTaken`].
#[derive(Clone, PartialEq, Message)]
pub struct StatusTaken {
    /// Agency that set the status.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// The status's envelope.
    #[prost(string, tag = "2")]
    pub envelope: String,
    /// Which of our codes.
    #[prost(string, tag = "3")]
    pub code: String,
    /// When.
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
    /// The document system could not use it.
    #[prost(bool, tag = "5")]
    pub failed: bool,
}

/// See [`Body::PassageNote`].
#[derive(Clone, PartialEq, Message)]
pub struct PassageNote {
    /// Sending agency.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// Envelope.
    #[prost(string, tag = "2")]
    pub envelope: String,
    /// For whom.
    #[prost(string, tag = "3")]
    pub recipient: String,
    /// 1: about to be posted. 2: that axis cannot have it. 3: given up.
    #[prost(uint32, tag = "4")]
    pub what: u32,
    /// When given up: a reason of the closed list.
    #[prost(string, tag = "5")]
    pub reason: String,
    /// For people.
    #[prost(string, tag = "6")]
    pub detail: String,
    /// When.
    #[prost(int64, tag = "7")]
    pub at_ms: i64,
}

/// See [`Body::PassedOn`]; the leaf says what and for whom.
#[derive(Clone, PartialEq, Message)]
pub struct PassedOn {
    /// That axis's name for it.
    #[prost(string, tag = "1")]
    pub doc_id: String,
}

/// See [`Body::TakenOver`].
#[derive(Clone, PartialEq, Message)]
pub struct TakenOver {
    /// A preamble that this node wrote for itself.
    #[prost(bytes = "vec", tag = "1")]
    pub preamble: Vec<u8>,
    /// The payload, sealed under a key of this node.
    #[prost(message, required, tag = "2")]
    pub payload: Payload,
    /// What is in it.
    #[prost(message, required, tag = "3")]
    pub content: Content,
    /// That axis's name for it.
    #[prost(string, tag = "4")]
    pub doc_id: String,
    /// Its sender as written there.
    #[prost(string, tag = "5")]
    pub from: String,
    /// Which of our codes it is for.
    #[prost(string, tag = "6")]
    pub to: String,
    /// The content commitment.
    #[prost(bytes = "vec", tag = "7")]
    pub commitment: Vec<u8>,
    /// When.
    #[prost(int64, tag = "8")]
    pub at_ms: i64,
}

impl TakenOver {
    /// As the record of an envelope that came through the relay.
    #[must_use]
    pub fn incoming(&self) -> Incoming {
        let (preamble, payload) = (self.preamble.clone(), self.payload.clone());
        Incoming { preamble, payload, codes: vec![self.to.clone()], at_ms: self.at_ms, ..Incoming::default() }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Message, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Its journal position.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    /// Its leaf's index, when it has one.
    #[prost(uint64, optional, tag = "2")]
    pub leaf: Option<u64>,
}

impl NodeRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When the bytes are no record, or one of a later version of the software.
    pub fn read(bytes: &[u8]) -> Result<Body, RecordError> {
        Self::decode(bytes)?.body.ok_or(RecordError::Later)
    }
}

impl Body {
    /// The record's bytes.
    #[must_use]
    pub fn write(self) -> Vec<u8> {
        NodeRecord { body: Some(self) }.encode_to_vec()
    }
}

/// Why a journal record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf.
    #[error("a record of the journal is damaged")]
    Damaged(#[from] prost::DecodeError),
    /// A kind that this version does not know.
    #[error("a record of the journal was written by a later version of truc-node: update this one")]
    Later,
    /// A field or leaf that is not what it should be.
    #[error("a record of the journal does not hold together: {0}")]
    Inconsistent(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Body> {
        let about = About {
            subject: "Kế hoạch".into(),
            document_id: "H26,2026/11/22,7/KH".into(),
            attachments: vec![Attachment { name: "a.pdf".into(), length: 7, sha256: vec![1; 32] }],
            container_length: 99,
            warnings: vec!["w".into()],
            change: Some(Change {
                kind: 2,
                document_ids: vec!["H26,2026/11/01,5/KH".into()],
                reason: "r".into(),
                receivers: vec![ChangeReceiver { code: "H37".into(), added: Some(true) }],
            }),
            particulars: Some(Particulars {
                number: "7/KH".into(),
                type_name: "Kế hoạch".into(),
                date: "2026/11/22".into(),
            }),
        };
        let payload = Payload { sha256: vec![2; 32], length: 3, inline: Some(vec![1, 2, 3]) };
        let parts = OpeningParts { manifest: b"m".to_vec(), envelope: b"e".to_vec(), signature: b"g".to_vec() };
        let leaf = ProvenLeaf {
            leaf: b"l".to_vec().into(),
            index: 4,
            proof: vec![vec![5; 32].into()],
            checkpoint: b"c".to_vec().into(),
        };
        vec![
            Body::Outgoing(Outgoing {
                preamble: b"p".to_vec(),
                key_envelopes: vec![KeyEnvelope { recipient: "H26".into(), cms: b"k".to_vec() }],
                payload: payload.clone(),
                wrapped: b"w".to_vec(),
                about: about.clone(),
                idempotency_key: "i".into(),
                request_hash: vec![3; 32],
                status: b"s".to_vec(),
                opening: Some(parts.clone()),
                index_keys: vec!["k".into()],
                held: Some(Needless { payload: vec![4; 32], position: 8 }),
                continues: "e".into(),
            }),
            Body::Held(Held { envelope: "e".into(), about: about.clone(), body: vec![1], ..Held::default() }),
            Body::Refused(Refused {
                sender: "H26".into(),
                idempotency_key: "i".into(),
                came_under: "i".into(),
                leaf_index: Some(0),
            }),
            Body::Evidence(Evidence {
                from: "R1".into(),
                checkpoint: b"c".to_vec(),
                cms: true,
                stamped: true,
                cosigned: true,
                at_ms: 5,
                items: vec![EvidenceItem {
                    leaf: b"l".to_vec(),
                    leaf_hash: vec![6; 32],
                    index: 7,
                    proof: vec![vec![8; 32]],
                    envelope: "e".into(),
                }],
                index_keys: vec!["k".into()],
            }),
            Body::Incoming(Incoming {
                preamble: b"p".to_vec(),
                submission: leaf.clone(),
                relay_acceptance: leaf,
                payload,
                codes: vec!["H26".into()],
                at_ms: 9,
            }),
            Body::Accepted(CodeFact { detail: String::new() }),
            Body::Content(Content {
                sender: "H26".into(),
                envelope: "e".into(),
                wrapped: b"w".to_vec(),
                opening: parts,
                about,
                verdict: "good".into(),
                verdict_text: "t".into(),
                status: vec![],
                index_keys: vec!["k".into()],
            }),
            Body::Consigned(CodeFact { detail: "d".into() }),
            Body::ConsignmentFailed(CodeFact { detail: "d".into() }),
            Body::HandedOver(CodeFact { detail: "d".into() }),
            Body::Pushed(Pushed {
                leaves: vec![1, 2],
                finally: true,
                refused: true,
                unstamped: true,
                stamp: 2,
                cosignature: 3,
            }),
            Body::OwnCheckpoint(Note { note: b"n".to_vec(), stamp: 1, cosignature: 2 }),
            Body::PeerCheckpoint(PeerNote { node: "R1".into(), note: b"n".to_vec() }),
            Body::PeerFork(PeerFork { node: "R1".into(), held: b"h".to_vec(), shown: b"s".to_vec(), at_ms: 1 }),
            Body::DirectoryTaken(DirectoryTaken { version: 3, statement: vec![9; 32] }),
            Body::SentFailed(SentFailed {
                sender: "H26".into(),
                envelope: "e".into(),
                reason: "expired".into(),
                at_ms: 2,
                recipients: vec!["G22".into()],
                text: "t".into(),
            }),
            Body::Closed(Closed {
                sent: true,
                sender: "H26".into(),
                envelope: "e".into(),
                places: vec![Place { position: 1, leaf: None }, Place { position: 5, leaf: Some(0) }],
                idempotency_key: "i".into(),
                leaves: vec![vec![7; 32]],
                needless: Some(Needless { payload: vec![4; 32], position: 8 }),
            }),
            Body::Entitled(Entitled {
                node: "N1".into(),
                code: "H26".into(),
                issued_ms: 1,
                valid_until_ms: 2,
                entries: vec![1; 32],
                entitlement: b"e".to_vec(),
            }),
            Body::PayloadRemoved(PayloadRemoved {
                sender: "H26".into(),
                envelope: "e".into(),
                needless: Needless { payload: vec![4; 32], position: 8 },
                at_ms: 3,
                kept_ms: 86_400_000,
            }),
            Body::StatusTaken(StatusTaken {
                sender: "H26".into(),
                envelope: "e".into(),
                code: "G22".into(),
                at_ms: 3,
                failed: true,
            }),
            Body::Group(Group {
                owner: "H26".into(),
                name: "Sở, ban, ngành".into(),
                codes: vec!["H26.18".into(), "H26.19".into()],
                at_ms: 5,
            }),
            Body::PassageNote(PassageNote {
                sender: "H26".into(),
                envelope: "e".into(),
                recipient: "G22".into(),
                what: 3,
                reason: "expired".into(),
                detail: "d".into(),
                at_ms: 3,
            }),
            Body::PassedOn(PassedOn { doc_id: "2f1c".into() }),
            Body::TakenOver(TakenOver {
                preamble: b"p".to_vec(),
                payload: Payload { sha256: vec![2; 32], length: 3, inline: None },
                content: Content { sender: "H26".into(), envelope: "e".into(), ..Content::default() },
                doc_id: "2f1c".into(),
                from: "000.00.00.H26".into(),
                to: "G22".into(),
                commitment: vec![3; 32],
                at_ms: 4,
            }),
            Body::DutyTold(DutyTold {
                sent: true,
                sender: "G22".into(),
                envelope: "e".into(),
                codes: vec!["H26".into()],
                duty: 3,
                late: true,
                deadline_ms: 5,
                at_ms: 6,
            }),
            Body::Cosigned(Cosigned { node: "R1".into(), origin: "o".into(), size: 3, root: vec![1; 32] }),
            Body::Administered(Administered {
                previous: Some(7),
                note: vec![2; 32],
                wish: Some(5),
                approved: Some(false),
            }),
            Body::Wished(Wished { deed: b"{}".to_vec(), at_ms: 5, until_ms: 6 }),
        ]
    }

    #[test]
    fn every_record_round_trips_under_its_own_persisted_tag() {
        for (index, body) in every_kind().into_iter().enumerate() {
            let bytes = body.clone().write();
            // The field number of the oneof is the record's persisted identity.
            let (tag, _) = prost::encoding::decode_key(&mut bytes.as_slice()).unwrap();
            assert_eq!(tag as usize, index + 1, "{body:?}");
            assert_eq!(NodeRecord::read(&bytes).unwrap(), body);
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_named_as_such() {
        let unknown = [0xaa, 0x06, 0x00]; // field 101, length-delimited, empty
        assert!(matches!(NodeRecord::read(&unknown), Err(RecordError::Later)));
        assert!(matches!(NodeRecord::read(&[0xff]), Err(RecordError::Damaged(_))));
    }
}
