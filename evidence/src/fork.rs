//! Two signed checkpoints of one ledger that cannot both be of one history, as a file that anybody can judge: `*.fork` (docs/FORMATS.md, Fork file).

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use truc_ledger::fork::{HeldCheckpoint, HeldError};
use truc_proto::{
    Checkpoint, NoteKey, SignedNote,
    json::base64,
    limits::{FORK_BYTES_MAX, FORK_FILES_MAX, NOTE_BYTES_MAX},
};

const HEADER: &str = "truc/fork/1";

/// Two notes, as they were received. Nothing of it is verified yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkFile {
    first: Vec<u8>,
    second: Vec<u8>,
}

/// Why bytes are no fork file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForkFileError {
    /// Longer than [`FORK_BYTES_MAX`].
    #[error("the file is longer than the {FORK_BYTES_MAX} bytes that a fork file has")]
    TooLong,
    /// Other lines than the three.
    #[error("the file is not `{HEADER}` and two notes in base64, a line each")]
    Form,
    /// Not a signed note with a checkpoint.
    #[error("the {which} note is no signed checkpoint: {why}")]
    Note {
        /// `first` or `second`.
        which: &'static str,
        /// Why.
        why: String,
    },
}

/// What the two notes come to, once both hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkKind {
    /// One size, two roots: the ledger's key signed two histories. Nothing else is needed to prove it.
    TwoHistories,
    /// Two sizes: whoever kept the file asked for the proof that the larger continues the smaller and did not get it. To others the file proves that
    /// both were signed, and that the owner of the ledger owes that proof.
    Unproven,
    /// The same state twice: it proves nothing.
    Same,
}

/// The two checkpoints, signed by the ledger's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenFork {
    /// What the two come to.
    pub kind: ForkKind,
    /// The smaller, or the first.
    pub first: HeldCheckpoint,
    /// The other.
    pub second: HeldCheckpoint,
}

impl ForkFile {
    /// Of two notes as they were received.
    #[must_use]
    pub fn new(first: &[u8], second: &[u8]) -> Self {
        Self { first: first.to_vec(), second: second.to_vec() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ForkFileError`] when it has another form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ForkFileError> {
        if bytes.len() > FORK_BYTES_MAX {
            return Err(ForkFileError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ForkFileError::Form)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [HEADER, first, second, ""] = lines.as_slice() else { return Err(ForkFileError::Form) };
        let note = |line: &str| base64::decode(line.as_bytes()).filter(|note| note.len() <= NOTE_BYTES_MAX);
        let (first, second) = note(first).zip(note(second)).ok_or(ForkFileError::Form)?;
        Ok(Self { first, second })
    }

    /// Keeps the file in `folder` under [`fork_file_name`], on the device when this comes back; one that is there already stays. None: the folder holds as
    /// many as it may, or the notes are none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_in(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        let Ok(origin) = self.origin() else { return Ok(None) };
        let path = folder.join(fork_file_name(&origin));
        if path.exists() {
            return Ok(Some(path));
        }
        fs::create_dir_all(folder)?;
        if fs::read_dir(folder)?.count() >= FORK_FILES_MAX {
            return Ok(None);
        }
        let part = path.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(Some(path))
    }

    /// The ledger that the first note names: whose key to look for.
    ///
    /// # Errors
    /// [`ForkFileError::Note`] when it is no checkpoint.
    pub fn origin(&self) -> Result<String, ForkFileError> {
        Ok(checkpoint("first", &self.first)?.1.origin().to_owned())
    }

    /// Verifies both notes by the ledger's key, and says what they come to.
    ///
    /// # Errors
    /// [`ForkError`] when the key signed not both of them: then they accuse nobody.
    pub fn judge(&self, key: &NoteKey) -> Result<ProvenFork, ForkError> {
        let held = |which, bytes: &[u8]| -> Result<HeldCheckpoint, ForkError> {
            let (note, _) = checkpoint(which, bytes)?;
            HeldCheckpoint::check(note, key).map_err(|source| ForkError::Signature { which, source })
        };
        let (mut first, mut second) = (held("first", &self.first)?, held("second", &self.second)?);
        if first.checkpoint().size > second.checkpoint().size {
            std::mem::swap(&mut first, &mut second);
        }
        let (a, b) = (first.checkpoint(), second.checkpoint());
        let kind = match (a.size == b.size, a.root == b.root) {
            (true, true) => ForkKind::Same,
            (true, false) => ForkKind::TwoHistories,
            (false, _) => ForkKind::Unproven,
        };
        Ok(ProvenFork { kind, first, second })
    }
}

/// Why a fork file accuses nobody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForkError {
    /// A note is none.
    #[error(transparent)]
    File(#[from] ForkFileError),
    /// Not by that key, or of another ledger.
    #[error("the {which} checkpoint is not one that this ledger's key signed")]
    Signature {
        /// `first` or `second`.
        which: &'static str,
        /// What is wrong with it.
        source: HeldError,
    },
}

fn checkpoint(which: &'static str, bytes: &[u8]) -> Result<(SignedNote, Checkpoint), ForkFileError> {
    Checkpoint::parse_note(bytes).map_err(|error| ForkFileError::Note { which, why: error.to_string() })
}

impl fmt::Display for ForkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\n{}\n{}", BASE64.encode(&self.first), BASE64.encode(&self.second))
    }
}

/// The name of the file about a ledger: `truc/dev/ordinary/R1/1` gives `truc_dev_ordinary_R1_1.fork`. One ledger, one file: the first proof is enough.
#[must_use]
pub fn fork_file_name(origin: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    origin.chars().take(200).map(plain).collect::<String>() + ".fork"
}
