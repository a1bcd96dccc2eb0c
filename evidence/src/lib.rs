//! Builds and verifies submissions, events, receipts and directory roots: the one place where ledger and signer meet.
//!
//! | question | answered by |
//! |---|---|
//! | what does this leaf say? | [`Leaf`] |
//! | does it stand in that node's ledger, and may the node say it? | [`verify_leaf`], [`verify_batch`] |
//! | who holds a code, at which node, with which certificates? | [`Directory`] |
//! | who is it that people mean by these words? | [`Directory::search`] |
//! | how does the operator make the next version? | [`DirectoryDraft`], [`verify_binding`], [`CodeList`] |
//! | does this receipt file prove what it says, years later? | [`verify_receipt`] |
//! | what was ever bound to a code? | [`DirectoryAudit`] |
//! | do these two checkpoints show two histories? | [`ForkFile`] |
//! | how does a machine come back after its disk is lost? | [`make_backup`], [`BackupFile`] |
//! | how does a ledger go on that lost its end? | [`NewOrigin`] |
//! | what do all receipts about a document prove together? | [`verify_bundle`], [`BundleWriter`] |
//!
//! No sockets and no clock: times come in as values. The only files touched are a directory's own ([`Directory::save`], [`Directory::load`], [`Directory::open`], [`DirectoryWriter`])
//! a document shown beside a receipt ([`Document::open`]), the proof of a fork ([`ForkFile::keep_in`]), and backups ([`make_backup`], [`BackupFile`]).

mod attested;
mod audit;
mod backup;
mod binding;
mod bundle;
mod checkpoint;
mod codes;
mod directory;
mod draft;
mod entitlement;
mod fork;
mod leaf;
mod operator;
mod origin;
mod proven;
mod receipt;
mod revocation;
mod verify;

pub use attested::{Attestation, Attestations, Attested, Unattested};
pub use audit::{AuditError, AuditLines, AuditWriteError, AuditedBinding, DirectoryAudit, VersionAt};
pub use backup::{
    BackupContents, BackupError, BackupFile, BackupHalf, BackupKey, BackupMade, BackupSource,
    administrator_certificate, describe_backup, forget_restored, make_backup, restored, tell_half, tell_made,
    tell_restored, tell_verified,
};
pub use binding::{
    BINDING_CONTEXT, BindingError, MakeBindingError, UnprovenSealing, VerifiedBinding, bind_certificate, make_binding,
    verify_binding,
};
pub use bundle::{
    BundleCheck, BundleReport, BundleSigner, BundleWriteError, BundleWriter, Conclusion, JudgedStatus, ProvenEvent,
    ProvenStatus, Remark, Standing, StatusBasis, StatusCheck, StatusJudge, StatusReport, StepRemark, Together,
    TwoHistories, bundled_receipt, conclude, disagreement, is_bundle, two_histories, verify_bundle,
};
pub use checkpoint::{
    CheckpointCmsError, CmsLine, checkpoint_signature, find_cms_line, is_stamped, ledger_origin, sign_checkpoint,
    stamp_checkpoint, verify_checkpoint_cms,
};
pub use codes::{CodeChange, CodeList, CodeListError, CodeProblem, CodeProblems, CodeRow, ImportPlan, LEVEL1_CODES};
pub use directory::{
    AdmissionError, Agency, BindingChange, BoundCertificate, CertificateLookupError, Directory, DirectoryDelta,
    DirectoryError, DirectoryFileError, DirectoryHit, DirectoryQuery, DirectoryReadError, DirectoryWriter, Freshness,
    HitClass, Lanes, Neighbours, NodeKind, ResolveError, VersionFile, WitnessPolicyError, encode_directory, witness_of,
};
pub use draft::{Confirmation, DirectoryDraft, DraftError};
pub use entitlement::Entitlement;
pub use fork::{ForkError, ForkFile, ForkFileError, ForkKind, ProvenFork, fork_file_name};
pub use leaf::{Leaf, LeafError};
pub use operator::PinnedOperator;
pub use origin::{LastKnownError, NewOrigin, forget_behind, keep_behind, last_known};
pub use proven::{EvidenceError, Proven, ProvenBatch, ProvenItem, item_of, prove, verify_batch, verify_leaf};
pub use receipt::{ReceiptParts, ReceiptWriteError, receipt};
pub use revocation::{REVOCATION_CONTEXT, RevocationError, VerifiedRevocation, make_revocation, verify_revocation};
pub use verify::{
    BoundDigest, Check, Checks, Document, EnvelopeHashes, EvidenceLevel, Outcome, ReceiptReport, ReceiptSummary,
    ReceiptTrust, ReceiptVerdict, Step, verify_receipt, verify_receipt_with,
};
