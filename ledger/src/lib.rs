//! Journal, Merkle tree, checkpoints and proofs. Knows nothing of documents.
//!
//! The journal is the truth: everything else in here (tree files, snapshots, look-up index) may be deleted at any time and costs only time to
//! make again. What the owner does with records, and when a signature may leave the process, is the owner's business.

pub mod merkle;
pub mod volume;

mod ledger;
mod record;

pub use ledger::{
    CloseError, Driver, Fatal, Ledger, OpenError, ProofFailure, ReadError, Recovered, Release, Settings, SnapshotError, SpaceLeft, SubmitError, open,
    open_stepped,
};
pub use record::{Committed, Fold, FoldError, LedgerKey, LedgerKeyError, Position, Record, Replayed, StoreTag};
