//! An audit of the directory: what one code was bound to in every version there ever was (docs/FORMATS.md, "Directory audit").

use serde::{Deserialize, Serialize};

use crate::{
    AgencyId, AxisId, Digest, Lane, NodeId, ProvenEntry, Statement, Timestamp,
    json::base64,
    limits::{AUDIT_STATEMENT_BYTES_MAX, PROOF_HASHES_MAX},
};

/// What an audit is about, and the relay's checkpoint that its versions are proven into.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DirectoryAuditHead {
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// The code looked for.
    pub code: AgencyId,
    /// Whose ledger holds the roots.
    pub relay: NodeId,
    /// When, by that relay's clock.
    pub made: Timestamp,
    /// Text of the relay's signed note.
    pub checkpoint: String,
}

impl Statement for DirectoryAuditHead {
    const TYPE: &'static str = "directory-audit";
    const BYTES_MAX: usize = AUDIT_STATEMENT_BYTES_MAX;
}

/// One version, with the code's entry in it or the proof that there is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditedVersion {
    /// Bytes of the root statement.
    #[serde(with = "base64")]
    pub root: Vec<u8>,
    /// The operator's detached CMS over it.
    #[serde(with = "base64")]
    pub cms: Vec<u8>,
    /// Index of the root statement in the relay's ledger.
    pub index: u64,
    /// Its inclusion proof to the head's checkpoint.
    pub proof: Vec<Digest>,
    /// The code's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<ProvenEntry>,
    /// Where there is none: the entry before its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ProvenEntry>,
    /// Where there is none: the entry behind its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ProvenEntry>,
}

impl Statement for AuditedVersion {
    const TYPE: &'static str = "audited-version";
    const BYTES_MAX: usize = AUDIT_STATEMENT_BYTES_MAX;

    fn check(&self) -> Result<(), String> {
        let entries = [&self.entry, &self.before, &self.after];
        let proofs = entries.into_iter().flatten().map(|entry| entry.proof.len());
        if proofs.chain([self.proof.len()]).any(|hashes| hashes > PROOF_HASHES_MAX) {
            return Err(format!("an inclusion proof has at most {PROOF_HASHES_MAX} hashes"));
        }
        if self.entry.is_some() == (self.before.is_some() || self.after.is_some()) {
            return Err("either the code's `entry` stands here or its neighbours `before` and `after`".into());
        }
        Ok(())
    }
}

/// The last line: how many versions there are, whose key signs the checkpoint, and that key's signature over all lines before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEnd {
    /// Versions shown.
    pub versions: u64,
    /// The relay's entry in the last one.
    pub relay: ProvenEntry,
    /// Ed25519 signature by the relay's ledger key over `truc/directory-audit/1` ‖ 0x0A ‖ `sha256 ` and the SHA-256 of all lines before this one in
    /// hexadecimal: nobody else can leave the last versions out.
    #[serde(with = "base64")]
    pub ledger_signature: Vec<u8>,
}

impl Statement for AuditEnd {
    const TYPE: &'static str = "audit-end";
    const BYTES_MAX: usize = AUDIT_STATEMENT_BYTES_MAX;

    fn check(&self) -> Result<(), String> {
        if self.relay.proof.len() > PROOF_HASHES_MAX {
            return Err(format!("an inclusion proof has at most {PROOF_HASHES_MAX} hashes"));
        }
        Ok(())
    }
}
