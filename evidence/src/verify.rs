//! Does a receipt file prove what it says? Off line, with nothing but the trust anchors and the operator's pinned identity (I7).
//!
//! Every [`Check`] is made by itself, over the bytes in the file, and says what it found: one that fails hides no other. What a check cannot see because
//! something is not there at all is *not applicable* where another check demands that thing, and *not reached* where bytes cannot be read.

pub(crate) mod check;
mod document;
mod level;
mod read;
mod report;
pub(crate) mod stamps;
mod steps;
mod trust;
mod witnesses;

pub use check::{Check, Checks};
pub use document::Document;
pub use level::EvidenceLevel;
pub use report::{BoundDigest, EnvelopeHashes, Outcome, ReceiptReport, ReceiptSummary, ReceiptVerdict, Step};
pub use trust::ReceiptTrust;

use truc_proto::Timestamp;

/// Verifies a receipt file as of `now`, with the document if one is shown.
#[must_use]
pub fn verify_receipt(
    bytes: &[u8],
    trust: &ReceiptTrust,
    document: Option<&Document>,
    now: Timestamp,
) -> ReceiptReport {
    verify_receipt_with(bytes, trust, document, now, Checks::all())
}

/// As [`verify_receipt`], with a choice of checks: for tests, and for studying a receipt that is refused. A verdict with a check left out means nothing.
#[must_use]
pub fn verify_receipt_with(
    bytes: &[u8],
    trust: &ReceiptTrust,
    document: Option<&Document>,
    now: Timestamp,
    checks: Checks,
) -> ReceiptReport {
    steps::run(bytes, trust, document, now, checks)
}
