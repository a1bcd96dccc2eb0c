//! The witnesses that a signed directory lists, and the policy that relies on them.

use std::fmt::Write as _;

use truc_proto::{NodeEntry, NoteKey};

use super::Directory;
use crate::NodeKind;

/// Why no policy can be made of a directory.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WitnessPolicyError {
    /// No entry has a witness key.
    #[error("the directory lists no witness: no entry of a node or of the relay has a witness key")]
    NoWitness,
    /// More nodes are asked for than there are.
    #[error("the directory lists {found} nodes with a witness key; {wanted} cannot be asked for")]
    TooFew {
        /// With a key.
        found: usize,
        /// Asked for.
        wanted: usize,
    },
}

/// How many nodes a policy asks for where nobody says otherwise, or all where there are fewer.
const NODES_ASKED_FOR: usize = 2;

/// The key of this entry as a witness, under the name of its ledger.
#[must_use]
pub fn witness_of(entry: &NodeEntry) -> Option<NoteKey> {
    NoteKey::new(entry.origin.as_str(), entry.witness_key.as_ref()?.0).ok()
}

impl Directory {
    /// A witness policy (C2SP tlog-policy) of those whom this version lists: enough are the relay, or so many nodes. The relay cosigns what nodes sign, nodes
    /// cosign what the relay signs, and nobody counts for its own ledger; so the one policy fits receipts of both.
    ///
    /// # Errors
    /// [`WitnessPolicyError`] when there are not so many.
    pub fn witness_policy(&self, nodes_wanted: Option<usize>) -> Result<String, WitnessPolicyError> {
        let listed = |wanted: NodeKind| {
            let of_kind = self.nodes().filter(move |(kind, _)| *kind == wanted);
            of_kind.filter_map(|(_, entry)| witness_of(entry)).collect::<Vec<_>>()
        };
        let (relay, nodes) = (listed(NodeKind::Relay), listed(NodeKind::Node));
        if relay.is_empty() && nodes.is_empty() {
            return Err(WitnessPolicyError::NoWitness);
        }
        let wanted = nodes_wanted.unwrap_or(NODES_ASKED_FOR.min(nodes.len()));
        if wanted > nodes.len() {
            return Err(WitnessPolicyError::TooFew { found: nodes.len(), wanted });
        }
        let statement = self.statement();
        let mut text = format!(
            "# Witnesses of axis {}, lane {}, as directory version {} of {} lists them.\n# Bên chứng kiến của trục theo danh bạ phiên bản này.\n",
            statement.axis, statement.lane, statement.version, statement.issued
        );
        for key in relay.iter().chain(&nodes) {
            let _ = writeln!(text, "witness {} {}", key.name(), key.cosignature_vkey());
        }
        let mut enough: Vec<&str> = relay.iter().map(NoteKey::name).collect();
        if wanted > 0 {
            let names: Vec<&str> = nodes.iter().map(NoteKey::name).collect();
            let _ = writeln!(text, "group nodes {wanted} {}", names.join(" "));
            enough.push("nodes");
        }
        if enough.is_empty() {
            return Ok(text + "quorum none\n");
        }
        let _ = writeln!(text, "group enough any {}\nquorum enough", enough.join(" "));
        Ok(text)
    }
}
