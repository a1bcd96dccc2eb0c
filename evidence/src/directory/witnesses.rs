//! The witnesses that a signed directory lists, the policy that relies on them, and whether they cosigned a checkpoint.

use std::{collections::BTreeSet, fmt::Write as _};

use truc_proto::{Checkpoint, NodeEntry, NoteKey, NoteVerifyError, SignedNote, Timestamp};

use super::{Directory, skew};
use crate::{Attestation, NodeKind};

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
    /// How many witnesses' lines make a checkpoint of such a ledger cosigned: the relay's under a node's; under the relay's as many nodes' as a policy asks for
    /// where nobody says otherwise. None where this version lists nobody who could.
    #[must_use]
    pub fn cosigners_wanted(&self, ledger: NodeKind) -> Option<usize> {
        match ledger {
            NodeKind::Node => witness_of(self.relay()).map(|_| 1),
            NodeKind::Relay => {
                let nodes = self.nodes().filter(|(kind, entry)| *kind == NodeKind::Node && witness_of(entry).is_some());
                Some(nodes.take(NODES_ASKED_FOR).count()).filter(|nodes| *nodes > 0)
            }
        }
    }

    /// Whether enough of the witnesses that this version lists cosigned the checkpoint of such a ledger, as a policy made of it would have it: a line of any
    /// of them that does not hold, lies in the future, or was made before `signed` spoils it. What others added is not looked at.
    #[must_use]
    pub fn is_cosigned(&self, ledger: NodeKind, note: &SignedNote, signed: Option<Timestamp>, now: Timestamp) -> bool {
        let (Ok(checkpoint), Some(wanted)) = (Checkpoint::of_note(note), self.cosigners_wanted(ledger)) else {
            return false;
        };
        let witness = |name: &str| {
            let (kind, entry) = self.by_origin(name).filter(|_| name != checkpoint.origin())?;
            Some((kind, witness_of(entry)?))
        };
        let names: BTreeSet<&str> = note.signatures().iter().map(|line| line.name.as_str()).collect();
        let mut held = 0;
        for (kind, key) in names.into_iter().filter_map(witness) {
            match key.verify_cosignature(note) {
                Err(NoteVerifyError::NotSigned { .. }) => {}
                Ok(at) if at <= now + skew() && signed.is_none_or(|signed| signed <= at + skew()) => {
                    held += usize::from(kind != ledger);
                }
                Ok(_) | Err(NoteVerifyError::BadSignature { .. }) => return false,
            }
        }
        held >= wanted
    }

    /// What has become of the cosignatures under a checkpoint of such a ledger, for whose it is.
    #[must_use]
    pub fn cosignature(&self, ledger: NodeKind, note: &SignedNote, now: Timestamp) -> Attestation {
        match self.cosigners_wanted(ledger) {
            None => Attestation::NobodyYet,
            Some(_) if self.is_cosigned(ledger, note, None, now) => Attestation::There,
            Some(_) => Attestation::Awaited,
        }
    }

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
