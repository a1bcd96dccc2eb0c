//! Journal, Merkle tree, checkpoints and proofs. Knows nothing of documents.
//!
//! The journal is the truth: everything else in here (tree files, snapshots, look-up index) may be deleted at any time and costs only time to
//! make again. What the owner does with records, and when a signature may leave the process, is the owner's business.

pub mod blobs;
pub mod fork;
pub mod index;
pub mod merkle;
#[cfg(any(feature = "sim", test))]
pub mod simdisk;
pub mod volume;

mod committer;
mod cut;
mod frame;
mod journal;
mod ledger;
mod opening;
mod record;
mod scan;
mod segment;
mod snapshot;
mod tree;

#[cfg(test)]
mod tests;

pub use committer::Driver;
pub use cut::{JournalCut, journal_cut, read_journal};
pub use journal::ReadError;
pub use ledger::{Fatal, Ledger, ProofFailure, Release, Settings, SpaceLeft, SubmitError};
pub use opening::{OpenError, Recovered, open, open_stepped};
pub use record::{Committed, Fold, FoldError, LedgerKey, LedgerKeyError, Position, Record, Replayed, StoreTag};
pub use scan::ScanError;
pub use snapshot::SnapshotError;
