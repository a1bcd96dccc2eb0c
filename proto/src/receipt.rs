//! The receipt file: a C2SP tlog-proof (c2sp.org/tlog-proof) whose `extra` line carries the event and what entitles its actor.
//!
//! Parsing believes nothing: `truc-evidence` recomputes every hash and checks every signature.

use std::fmt::Write as _;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Statement,
    json::base64,
    limits::{NOTE_BYTES_MAX, PROOF_HASHES_MAX, RECEIPT_BYTES_MAX},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A directory entry with its place in the signed tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProvenEntry {
    /// The entry's bytes.
    #[serde(with = "base64")]
    pub bytes: Vec<u8>,
    /// Its index in the directory tree.
    pub index: u64,
    /// Inclusion proof to the root statement's root.
    pub proof: Vec<Digest>,
}

/// What lets an auditor with any one file of a document prove that it was part of what was received.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// Salt of the content commitment.
    #[serde(with = "base64")]
    pub salt: [u8; 32],
    /// `META-INF/ASiCManifest.xml`.
    #[serde(with = "base64")]
    pub manifest: Vec<u8>,
    /// `envelope.json`.
    #[serde(with = "base64")]
    pub envelope: Vec<u8>,
}

/// What the `extra` line carries, as a statement of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceiptBody {
    /// The leaf's bytes: a `submission` or an `event`.
    #[serde(with = "base64")]
    pub leaf: Vec<u8>,
    /// The preamble's bytes, where the holder has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64")]
    pub preamble: Vec<u8>,
    /// Bytes of the directory root statement in force.
    #[serde(with = "base64")]
    pub directory: Vec<u8>,
    /// The operator's detached CMS over it.
    #[serde(with = "base64")]
    pub directory_cms: Vec<u8>,
    /// The actor's node or relay entry.
    pub node: ProvenEntry,
    /// The actor's agency entry; absent for the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<ProvenEntry>,
    /// Where its holder may show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

impl Statement for ReceiptBody {
    const TYPE: &'static str = "receipt";
    /// A submission to many agencies with its opening is larger than any other statement; base64 of this fits into a receipt file.
    const BYTES_MAX: usize = RECEIPT_BYTES_MAX / 4 * 3;

    fn check(&self) -> Result<(), String> {
        let proofs = [Some(&self.node), self.agency.as_ref()];
        if proofs.into_iter().flatten().any(|e| e.proof.len() > PROOF_HASHES_MAX) {
            return Err(format!("an inclusion proof has at most {PROOF_HASHES_MAX} hashes"));
        }
        Ok(())
    }
}

/// A receipt file, taken apart but not yet believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Bytes of a [`ReceiptBody`].
    pub body: Bytes,
    /// The leaf's index in the actor's ledger.
    pub index: u64,
    /// Inclusion proof of the leaf.
    pub proof: Vec<Digest>,
    /// The checkpoint's note, with its signature lines.
    pub checkpoint: String,
}

/// Why a text is not a receipt file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptParseError {
    /// Larger than [`RECEIPT_BYTES_MAX`].
    #[error("the receipt has {0} bytes, more than the {RECEIPT_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// Not UTF-8, or not lines of a tlog-proof.
    #[error("not a receipt file: {0}")]
    Malformed(&'static str),
}

impl Receipt {
    /// Takes a receipt file apart.
    ///
    /// # Errors
    /// When it is too large or its lines are not those of a tlog-proof with `extra`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptParseError> {
        use ReceiptParseError::Malformed;
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptParseError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it is not UTF-8 text"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Malformed("no blank line before the checkpoint"))?;
        if checkpoint.len() > NOTE_BYTES_MAX || checkpoint.contains('\r') {
            return Err(Malformed("the checkpoint is too long or has carriage returns"));
        }
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(Malformed("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines.next().and_then(|l| l.strip_prefix("extra ")).ok_or(Malformed("no `extra` line"))?;
        let body = base64::decode(extra.as_bytes()).ok_or(Malformed("the `extra` line is not base64"))?;
        let index = lines.next().and_then(|l| l.strip_prefix("index ")).ok_or(Malformed("no `index` line"))?;
        let index = decimal(index).ok_or(Malformed("the index is not a plain decimal number"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(Malformed("the inclusion proof is too long"));
            }
            proof.push(Digest::from_base64(line).map_err(|_| Malformed("a proof line is not base64 of 32 bytes"))?);
        }
        Ok(Self { body: body.into(), index, proof, checkpoint: checkpoint.to_owned() })
    }
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut hashes = String::new();
        for hash in &self.proof {
            writeln!(hashes, "{}", hash.to_base64())?;
        }
        write!(f, "{HEADER}\nextra {}\nindex {}\n{hashes}\n{}", BASE64.encode(&self.body), self.index, self.checkpoint)
    }
}

/// A decimal number without sign or leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_back_and_bent_ones_do_not() {
        let receipt = Receipt {
            body: Bytes::from_static(b"{}"),
            index: 7,
            proof: vec![Digest::of(b"a"), Digest::of(b"b")],
            checkpoint: "origin\n8\nroot\n\n— origin sig\n".into(),
        };
        let text = receipt.to_string();
        assert_eq!(Receipt::parse(text.as_bytes()).unwrap(), receipt);
        for (from, to) in
            [("index 7", "index 07"), ("index 7", "index +7"), ("extra ", "extra  "), ("@v1", "@v2"), ("\n\n", "\n")]
        {
            assert!(Receipt::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
    }
}
