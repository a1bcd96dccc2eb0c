//! A look-up index from keys to journal positions. It follows the journal by itself and is never believed: whoever gets a hit reads the record from
//! the journal and compares its key. It may be deleted at any time; then it is built again in the background while everything else goes on.

mod follower;
mod postings;
mod sled_driver;

use std::{fmt, path::PathBuf, sync::Arc};

pub use follower::SledIndex;
pub use postings::Effort;

use crate::{Ledger, Position, Record};

/// What a record changes in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChange {
    /// `key` leads to `position` from now on.
    Put {
        /// At most `INDEX_KEY_BYTES_MAX` bytes; begin it with a tag per kind.
        key: Vec<u8>,
        /// Mostly the record's own.
        position: Position,
    },
    /// `key` leads nowhere any more.
    Remove {
        /// The key.
        key: Vec<u8>,
    },
    /// The record's own position is on this list, for ever.
    Post {
        /// The list.
        list: u64,
    },
}

/// Tells a record's changes: a function of the record alone, since it runs again at every rebuild.
pub type Extract = Arc<dyn Fn(Position, &Record) -> Vec<IndexChange> + Send + Sync>;

/// How the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// Being opened and checked.
    Opening,
    /// Being built from the journal; look-ups answer [`IndexError::Unavailable`].
    Rebuilding {
        /// Records done.
        applied: Position,
        /// Records to do.
        total: Position,
    },
    /// Answers, with everything before this position in it.
    Ready {
        /// The first position that is not in it yet.
        applied: Position,
    },
    /// Cannot be built (its disk, say); tried again by itself.
    Failed {
        /// Why.
        why: String,
    },
    /// Closed.
    Closed,
}

impl fmt::Display for IndexState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::Rebuilding { applied, total } => {
                write!(f, "rebuilding, {} %", applied.0.saturating_mul(100) / total.0.max(1))
            }
            Self::Ready { applied } => write!(f, "ready up to record {applied}"),
            Self::Failed { why } => write!(f, "failed: {why}; trying again"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Why a look-up has no answer. Never the same as "not there".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is being opened or built again.
    #[error("the look-up index does not answer now ({state}): try again later")]
    Unavailable {
        /// How it is.
        state: IndexState,
    },
}

/// What lists have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// The positions, newest first.
    pub positions: Vec<Position>,
    /// Where to go on: everything from here on was looked at. None: that is all.
    pub next: Option<Position>,
    /// Blocks that were read from the disk.
    pub blocks: usize,
}

/// A look-up index. The caller checks every hit against the journal.
pub trait Index: Send + Sync {
    /// The position that `key` leads to.
    ///
    /// # Errors
    /// [`IndexError::Unavailable`].
    fn find(&self, key: &[u8]) -> Result<Option<Position>, IndexError>;
    /// Keys that begin with `prefix`, in order, from behind `after` on, at most `limit` (and `INDEX_HITS_MAX`) of them.
    ///
    /// # Errors
    /// [`IndexError::Unavailable`].
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Position)>, IndexError>;
    /// Positions below `below` that are on a list of each group, newest first. No group: none.
    ///
    /// # Errors
    /// [`IndexError::Unavailable`].
    fn common(&self, groups: &[Vec<u64>], below: Position, effort: Effort) -> Result<Common, IndexError>;
    /// How it is.
    fn state(&self) -> IndexState;
    /// Says that the journal grew. Never blocks.
    fn advance(&self);
    /// Stops following; the next start need not check everything.
    fn close(&self);
}

/// What an index follows and where it lies.
#[derive(Clone)]
pub struct IndexSettings {
    /// The journal.
    pub ledger: Ledger,
    /// A folder of its own; everything in it may be removed by the index.
    pub folder: PathBuf,
    /// Memory for its cache, in bytes.
    pub cache_bytes: u64,
    /// What records change.
    pub extract: Extract,
    /// Differs when `extract` or the keys change: an index of another schema is built again.
    pub schema: u32,
}

impl fmt::Debug for IndexSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexSettings")
            .field("folder", &self.folder)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod postings_tests;
#[cfg(test)]
mod tests;
