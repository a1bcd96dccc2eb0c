//! What a backup says of itself in the clear (docs/FORMATS.md, "Backup").

use serde::{Deserialize, Serialize};

use crate::{
    AxisId, Digest, Lane, NodeId, Statement, Timestamp,
    ids::closed,
    json::base64,
    limits::{KEY_ENVELOPE_BYTES_MAX, STREAM_CHUNK_BYTES},
};

closed! {
    /// Whose backup it is.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    BackupKind, "whose backup it is: `node` or `relay`" {
        /// A node's.
        Node = "node",
        /// The relay's.
        Relay = "relay",
    }
}

/// The first line of a backup: whose it is, how far it goes, and who opens it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupHead {
    /// Drawn at random: which halves belong to which backup.
    #[serde(with = "base64")]
    pub id: [u8; 16],
    /// Whose it is.
    pub kind: BackupKind,
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// Id in the directory.
    pub node: NodeId,
    /// Origin of the ledger.
    pub origin: String,
    /// When it was made.
    pub made: Timestamp,
    /// Records of the journal that are in it.
    pub records: u64,
    /// Leaves of the ledger that are in it.
    pub leaves: u64,
    /// Root over these leaves.
    pub root: Digest,
    /// Whether sealed documents are in it.
    pub documents: bool,
    /// Prefix of the nonces.
    #[serde(with = "base64")]
    pub prefix: [u8; 7],
    /// Plaintext bytes of a chunk.
    pub chunk_bytes: u64,
    /// The halves of the key, one for each administrator.
    pub halves: Vec<SealedHalf>,
}

/// Half of a backup's key, sealed to one administrator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedHalf {
    /// Whom the certificate names.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
    /// The CMS key envelope.
    #[serde(with = "base64")]
    pub envelope: Vec<u8>,
}

impl Statement for BackupHead {
    const TYPE: &'static str = "backup";

    fn check(&self) -> Result<(), String> {
        let [one, other] = self.halves.as_slice() else { return Err("`halves` are two".into()) };
        if one.certificate == other.certificate {
            return Err("the `halves` are sealed to two certificates".into());
        }
        if self.halves.iter().any(|half| half.envelope.len() > KEY_ENVELOPE_BYTES_MAX) {
            return Err(format!("an `envelope` has at most {KEY_ENVELOPE_BYTES_MAX} bytes"));
        }
        if self.chunk_bytes != STREAM_CHUNK_BYTES as u64 {
            return Err(format!("`chunk_bytes` is {STREAM_CHUNK_BYTES}"));
        }
        if self.leaves > self.records {
            return Err("there are no more `leaves` than `records`".into());
        }
        Ok(())
    }
}

/// What a machine that was made from a backup keeps of it until its peers have said whether they know of anything newer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restored {
    /// Of the backup.
    #[serde(with = "base64")]
    pub backup: [u8; 16],
    /// When the backup was made.
    pub made: Timestamp,
    /// When it was restored.
    pub restored: Timestamp,
    /// Origin of the ledger in it.
    pub origin: String,
    /// Leaves of the ledger in it.
    pub leaves: u64,
    /// Root over them.
    pub root: Digest,
}

impl Statement for Restored {
    const TYPE: &'static str = "restored";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Raw;

    fn head() -> BackupHead {
        let half = |n: u8| SealedHalf { subject: format!("CN={n}"), certificate: Digest([n; 32]), envelope: vec![n] };
        BackupHead {
            id: [1; 16],
            kind: BackupKind::Node,
            axis: "vn".parse().unwrap(),
            lane: Lane::Ordinary,
            node: "N-H26".parse().unwrap(),
            origin: "truc/vn/ordinary/N-H26/1".into(),
            made: Timestamp::from_unix_s(1_770_000_000),
            records: 9,
            leaves: 4,
            root: Digest([7; 32]),
            documents: true,
            prefix: [2; 7],
            chunk_bytes: STREAM_CHUNK_BYTES as u64,
            halves: vec![half(1), half(2)],
        }
    }

    #[test]
    fn a_head_reads_back_and_contradictions_are_refused() {
        let raw = Raw::write(head()).unwrap();
        assert_eq!(*Raw::<BackupHead>::parse(raw.bytes().clone()).unwrap(), head());
        let bad = |change: fn(&mut BackupHead)| {
            let mut head = head();
            change(&mut head);
            Raw::write(head).unwrap_err().to_string()
        };
        assert!(bad(|head| head.halves.truncate(1)).contains("two"));
        assert!(bad(|head| head.halves[1].certificate = head.halves[0].certificate).contains("two certificates"));
        assert!(bad(|head| head.halves[0].envelope = vec![0; KEY_ENVELOPE_BYTES_MAX + 1]).contains("envelope"));
        assert!(bad(|head| head.chunk_bytes = 1_024).contains("chunk_bytes"));
        assert!(bad(|head| head.leaves = 10).contains("leaves"));
    }
}
