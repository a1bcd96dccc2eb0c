//! The relay's statement about what waits for a node: signed regularly, so that withholding leaves proof.

use serde::{Deserialize, Serialize};

use crate::{Digest, EnvelopeId, NodeId, Statement, Timestamp};

/// What the relay says is undelivered. Signed by its ledger key as a C2SP signed note whose text is this JSON and a newline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UndeliveredStatement {
    /// The relay.
    pub relay: NodeId,
    /// The node it is about.
    pub node: NodeId,
    /// When it was made.
    pub time: Timestamp,
    /// Size of the relay's ledger at that time.
    pub tree_size: u64,
    /// How many envelopes wait.
    pub count: u64,
    /// RFC 6962 root over the sorted 16-byte envelope ids; the root of the empty tree when none wait.
    pub root: Digest,
}

impl Statement for UndeliveredStatement {
    const TYPE: &'static str = "undelivered";
}

/// Sorts ids as the statement's tree wants them.
#[must_use]
pub fn sorted_ids(mut ids: Vec<EnvelopeId>) -> Vec<EnvelopeId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
