//! C2SP tlog-checkpoint: the signed text that states a ledger's size and root.

use std::{fmt, str::FromStr};

use crate::{Digest, NoteError, SignedNote, limits::ORIGIN_BYTES_MAX};

/// Origin, size and root of a ledger at one moment: the text of a checkpoint note.
///
/// Text form: three lines `origin`, size in decimal, root in base64. Extension lines are refused: this axis defines none, and a checkpoint
/// with lines that nobody here understands must not be believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
}

/// Why a text is not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not three lines.
    #[error("a checkpoint is three lines: origin, size, root")]
    NotThreeLines,
    /// An origin that is empty, too long, or holds spaces, plus signs or control characters.
    #[error(
        "the origin {origin:?} is not 1 to {ORIGIN_BYTES_MAX} bytes without spaces, plus signs and control characters"
    )]
    BadOrigin {
        /// What stood there, shortened.
        origin: String,
    },
    /// Not a decimal number without leading zeros, below 2^63.
    #[error("the size is not a decimal number without leading zeros, below 2^63")]
    BadSize,
    /// Not 32 bytes in base64.
    #[error("the root is not base64 of 32 bytes")]
    BadRoot,
}

impl Checkpoint {
    /// A checkpoint of the ledger `origin`.
    ///
    /// # Errors
    /// When the origin cannot stand in a checkpoint or as the name of its key, or the size is out of range.
    pub fn new(origin: impl Into<String>, size: u64, root: Digest) -> Result<Self, CheckpointError> {
        let origin = origin.into();
        check_origin(&origin)?;
        if i64::try_from(size).is_err() {
            return Err(CheckpointError::BadSize);
        }
        Ok(Self { origin, size, root })
    }

    /// Which ledger: unique for ever, also the name of its key.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// When it is not exactly what `Display` writes.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::NotThreeLines)?.split('\n');
        let (origin, size, root, rest) = (lines.next(), lines.next(), lines.next(), lines.next());
        let (Some(origin), Some(size), Some(root), None) = (origin, size, root, rest) else {
            return Err(CheckpointError::NotThreeLines);
        };
        let digits = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let size = size.parse().ok().filter(|_| digits).ok_or(CheckpointError::BadSize)?;
        Self::new(origin, size, Digest::from_base64(root).map_err(|_| CheckpointError::BadRoot)?)
    }

    /// The note over this checkpoint, not signed yet.
    #[must_use]
    pub fn to_note(&self) -> SignedNote {
        SignedNote::unsigned(self.to_string()).expect("three lines of checked text are a note")
    }

    /// Reads a note over a checkpoint from the bytes received. It says nothing about the note's signatures.
    ///
    /// # Errors
    /// When the bytes are no signed note, or its text is no checkpoint.
    pub fn parse_note(bytes: &[u8]) -> Result<(SignedNote, Self), CheckpointNoteError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Self::of_note(&note)?;
        Ok((note, checkpoint))
    }

    /// The checkpoint that a note states. It says nothing about the note's signatures.
    ///
    /// # Errors
    /// When the note's text is not a checkpoint.
    pub fn of_note(note: &SignedNote) -> Result<Self, CheckpointError> {
        Self::parse(note.text())
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        Self::parse(text)
    }
}

/// Why bytes are not a note over a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointNoteError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A signed note over something else.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX || origin.chars().any(bad) {
        return Err(CheckpointError::BadOrigin { origin: origin.chars().take(ORIGIN_BYTES_MAX).collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; // of the empty tree

    #[test]
    fn checkpoint_round_trips() {
        let text = format!("truc.dev/relay/R1\n0\n{ROOT}\n");
        let checkpoint: Checkpoint = text.parse().unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size), ("truc.dev/relay/R1", 0));
        assert_eq!(checkpoint.root, Digest::of(b""));
        assert_eq!(checkpoint.to_string(), text);
        assert_eq!(checkpoint.to_note().text(), text);
    }

    #[track_caller]
    fn refused(text: &str, expected: &CheckpointError) {
        assert_eq!(&text.parse::<Checkpoint>().unwrap_err(), expected, "{text:?}");
    }

    #[test]
    fn loose_forms_are_refused() {
        refused(&format!("o\n1\n{ROOT}"), &CheckpointError::NotThreeLines);
        refused(&format!("o\n1\n{ROOT}\nextension\n"), &CheckpointError::NotThreeLines);
        refused(&format!("o\n01\n{ROOT}\n"), &CheckpointError::BadSize);
        refused(&format!("o\n+1\n{ROOT}\n"), &CheckpointError::BadSize);
        refused(&format!("o\n9223372036854775808\n{ROOT}\n"), &CheckpointError::BadSize);
        refused("o\n1\nabcd\n", &CheckpointError::BadRoot);
        refused(&format!("a b\n1\n{ROOT}\n"), &CheckpointError::BadOrigin { origin: "a b".into() });
        refused(&format!("\n1\n{ROOT}\n"), &CheckpointError::BadOrigin { origin: String::new() });
    }
}
