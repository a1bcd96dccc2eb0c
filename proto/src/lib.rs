//! Bytes to types and back: agency codes, edXML, signed statements, receipts, the gRPC schema.
//!
//! No I/O, no clock, no keys: everything here is a function of its arguments.

pub mod edxml;
pub mod json;
pub mod limits;
pub mod sdk;

mod administration;
mod agency;
mod audit;
mod backup;
mod bundle;
mod chain;
mod checkpoint;
mod content;
mod digest;
mod directory;
mod event;
mod grpc;
mod ids;

mod note;
mod packed;
mod policy;
mod preamble;
mod receipt;
mod time;
mod undelivered;
mod words;

pub use administration::{AdminAction, AdminSubject, Administration, Administrator, CallerRole};
pub use agency::{AgencyId, AgencyIdError, ForeignCode, ForeignCodeError, nearest, tidy_name};
pub use audit::{AuditEnd, AuditedVersion, DirectoryAuditHead};
pub use backup::{BackupHead, BackupKind, Restored, SealedHalf};
pub use bundle::{
    BUNDLE_CHECKED, BUNDLE_ENTRY, BUNDLE_RECEIPTS, BUNDLE_REPORT, BUNDLE_STATUSES, BundleJson, STATUS_SIGNATURE,
    is_bundled_answer,
};
pub use chain::chain;
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointNoteError};
pub use content::{
    ATTACHMENTS_FOLDER, AttachmentDigest, BusinessStatus, DOCUMENT_ENTRY, ENVELOPE_ENTRY, EnvelopeJson, KeyManifest,
    PACKET_ENTRY, STATUS_ENTRY, STATUS_URI_PREFIX, SealedTo, StatusCode, TraceStamp,
};
pub use digest::{Digest, DigestParseError, Hasher};
pub use directory::{
    AgencyEntry, BindingRequest, CertificateBinding, Entry, KeyStatus, KeyUse, NodeEntry, OperatorEntry, Possession,
    RevocationRequest, RootStatement, Route, SealingAlgorithm, SignedBinding, SignedDirectory, SignedRevocation,
    WitnessKey,
};
pub use event::{Actor, Arrival, DirectoryRef, Event, EventUri, LoggedCheckpoint, Reason, Role, Submission};
pub use grpc::{DESCRIPTORS, node_v1, relay_v1, wire_v1};
pub use ids::{AxisId, EnvelopeId, IdParseError, Lane, LevelRefused, NodeId, Priority, SecrecyLevel, WireLevel};
pub use json::{Raw, Statement, StatementError};
pub use note::{
    KeyId, NoteError, NoteKey, NoteKeyParseError, NoteSignature, NoteVerifyError, SignedNote, cosignature_line,
    cosigned_message,
};
pub use packed::{UnpackError, pack_key_envelopes, unpack_key_envelopes};
pub use policy::{Policy, PolicyError, PolicyFault};
pub use preamble::{EnvelopeKind, Preamble, Suite, Supersedes};
pub use receipt::{Opening, ProvenEntry, Receipt, ReceiptBody, ReceiptParseError};
pub use time::{Timestamp, TimestampParseError};
pub use undelivered::{UndeliveredStatement, sorted_ids};
pub use words::{fold_for_search, words_of};
