//! The words of the ledger: records, positions, store tags, the ledger's key, and what the owner of a ledger supplies.

use std::{error::Error, fmt, path::Path};

use ring::signature::{Ed25519KeyPair, KeyPair};
use truc_proto::{
    Checkpoint, Digest, NoteKey, NoteSignature, SignedNote, Timestamp, cosignature_line, cosigned_message,
};

/// The place of a record in the journal: 0 for the first, without gaps. Independent of leaf indices, since not every record has a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position `count` records later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is appended at once: private state of the store, and, where the fact is to be provable, its leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Never leaves the store.
    pub state: Vec<u8>,
    /// Enters the Merkle tree.
    pub leaf: Option<Vec<u8>>,
}

impl Record {
    /// A record without a leaf.
    #[must_use]
    pub const fn state(state: Vec<u8>) -> Self {
        Self { state, leaf: None }
    }

    /// A record with a leaf.
    #[must_use]
    pub const fn with_leaf(state: Vec<u8>, leaf: Vec<u8>) -> Self {
        Self { state, leaf: Some(leaf) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.len() + self.leaf.as_ref().map_or(0, Vec::len)
    }
}

/// A record as recovery reads it back.
#[derive(Debug, Clone, Copy)]
pub struct Replayed<'a> {
    /// Its place in the journal.
    pub position: Position,
    /// Its leaf's index in the tree, when it has one.
    pub leaf_index: Option<u64>,
    /// Its state part.
    pub state: &'a [u8],
    /// Its leaf.
    pub leaf: Option<&'a [u8]>,
}

/// What a fold may fail with.
pub type FoldError = Box<dyn Error + Send + Sync>;

/// The state that the owner of a ledger folds from its records. The same code must run live and here.
pub trait Fold {
    /// Back to the state before the first record. Called before everything else, and again when a snapshot turns out unusable.
    fn reset(&mut self);
    /// Takes the state from a snapshot's entries, in the order in which they were written.
    ///
    /// # Errors
    /// When an entry cannot be read; the snapshot is then passed over, after a [`Fold::reset`].
    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError>;
    /// Takes the next record.
    ///
    /// # Errors
    /// When the record cannot be understood (written by a later version, for one): this stops the start.
    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError>;
}

/// Whose store a journal is. Stands in every segment; another tag does not open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTag {
    /// Trust domain.
    pub axis: String,
    /// Lane.
    pub lane: String,
    /// `relay`, `node`, …
    pub kind: String,
    /// The owner's identifier.
    pub id: String,
}

impl fmt::Display for StoreTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} lane of axis {})", self.kind, self.id, self.lane, self.axis)
    }
}

/// The newest state of the ledger that is on the device: everything before `position` is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The checkpoint with the ledger key's line.
    pub note: SignedNote,
    /// Leaves in the tree.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// The first position not covered.
    pub position: Position,
}

/// The Ed25519 key that signs checkpoints at once. The name of its lines is the ledger's origin.
pub struct LedgerKey {
    pair: Ed25519KeyPair,
    name: NoteKey,
}

/// Why a ledger key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerKeyError {
    /// Not an Ed25519 key in PKCS#8.
    #[error("not an Ed25519 private key in PKCS#8 DER: make one with `init`, or restore the file from its backup")]
    NotAKey,
    /// The origin cannot be the name of a key.
    #[error("the origin cannot name the ledger key")]
    Origin(#[from] truc_proto::NoteError),
    /// The file cannot be read.
    #[error("cannot read the ledger key {path}")]
    Read {
        /// Which file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
}

impl LedgerKey {
    /// A key from a 32-byte seed.
    ///
    /// # Errors
    /// When the origin cannot name a key.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, LedgerKeyError> {
        Self::of(origin, Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| LedgerKeyError::NotAKey)?)
    }

    /// A key from PKCS#8 DER, version 1 or 2 (RFC 8410).
    ///
    /// # Errors
    /// When the bytes are no such key, or the origin cannot name one.
    pub fn from_pkcs8(origin: &str, der: &[u8]) -> Result<Self, LedgerKeyError> {
        Self::of(origin, Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| LedgerKeyError::NotAKey)?)
    }

    /// A key from a file of PKCS#8 DER.
    ///
    /// # Errors
    /// As [`LedgerKey::from_pkcs8`], or when the file cannot be read.
    pub fn from_file(origin: &str, path: &Path) -> Result<Self, LedgerKeyError> {
        let read = |source| LedgerKeyError::Read { path: path.display().to_string(), source };
        let mut der = std::fs::read(path).map_err(read)?;
        let key = Self::from_pkcs8(origin, &der);
        zeroize::Zeroize::zeroize(&mut der);
        key
    }

    /// A fresh key as PKCS#8 DER, for `init` to write.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_pkcs8() -> Result<zeroize::Zeroizing<Vec<u8>>, LedgerKeyError> {
        let der =
            Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).map_err(|_| LedgerKeyError::NotAKey)?;
        Ok(zeroize::Zeroizing::new(der.as_ref().to_vec()))
    }

    /// What checks this key's lines; its name is the origin.
    #[must_use]
    pub const fn public(&self) -> &NoteKey {
        &self.name
    }

    /// The note over `checkpoint` with this key's line.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> SignedNote {
        let mut note = checkpoint.to_note();
        let signature = self.pair.sign(note.text().as_bytes()).as_ref().to_vec();
        let line = NoteSignature { name: self.name.name().to_owned(), key_id: self.name.key_id(), signature };
        note.add_signature(line).expect("the first line, under a checked name");
        note
    }

    /// This key's line as a witness under another ledger's checkpoint (C2SP tlog-cosignature): it saw this text at that time, and that the ledger only
    /// grew. Whoever calls this has checked that, and has it on the device.
    #[must_use]
    pub fn cosign(&self, text: &str, at: Timestamp) -> NoteSignature {
        let seconds = u64::try_from(at.unix_s()).unwrap_or_default();
        let signature = self.pair.sign(&cosigned_message(text, seconds));
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        cosignature_line(&self.name, seconds, signature)
    }

    /// Signs `context` ‖ 0x0A ‖ `message`: proof that the ledger's key is held (docs/FORMATS.md, "Binding").
    ///
    /// No checkpoint starts with such a context: its second line is a number, a statement starts with `{`.
    #[must_use]
    pub fn sign_message(&self, context: &str, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&[context.as_bytes(), b"\n", message].concat()).as_ref().to_vec()
    }

    /// The note over a statement that is no checkpoint, with this key's line: one line of JSON and a line end (docs/FORMATS.md, "Undelivered").
    /// A statement starts with `{`, as no checkpoint does.
    ///
    /// # Errors
    /// When the text does not start so, or cannot stand in a note.
    pub fn sign_statement(&self, statement: &str) -> Result<SignedNote, truc_proto::NoteError> {
        if !statement.starts_with('{') {
            return Err(truc_proto::NoteError::NotText);
        }
        let mut note = SignedNote::unsigned(format!("{statement}\n"))?;
        let signature = self.pair.sign(note.text().as_bytes()).as_ref().to_vec();
        note.add_signature(NoteSignature { name: self.name.name().to_owned(), key_id: self.name.key_id(), signature })?;
        Ok(note)
    }

    fn of(origin: &str, pair: Ed25519KeyPair) -> Result<Self, LedgerKeyError> {
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes");
        Ok(Self { name: NoteKey::new(origin, public)?, pair })
    }
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerKey({}, [redacted])", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that Python and openssl made with the same keys at the same second (`proto/testdata/witness/make.py`).
    #[test]
    fn a_cosignature_is_the_line_that_another_writer_makes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/witness/cosigned.note");
        let note = SignedNote::parse(&std::fs::read(path).unwrap()).unwrap();
        for (place, name, seed) in [(1, "truc/dev/ordinary/R1/1", 4), (2, "truc/dev/ordinary/N-G22/1", 1)] {
            let key = LedgerKey::from_seed(name, &[seed; 32]).unwrap();
            assert_eq!(key.cosign(note.text(), "2026-11-22T02:00:00.999Z".parse().unwrap()), note.signatures()[place]);
        }
    }
}
