//! Names of entries: the same rules for what we write and what we read.

use std::{fmt, str::FromStr};

use truc_proto::limits::ENTRY_NAME_BYTES_MAX;
use unicode_normalization::is_nfc;

use super::{MANIFEST_NAME, MIMETYPE_NAME, SIGNATURE_NAME};

/// Name of an entry: a relative path with `/`, in UTF-8 and NFC, that stays inside the folder it is unpacked into on any system.
/// Invariant: 1 to [`ENTRY_NAME_BYTES_MAX`] bytes; no empty, `.` or `..` part; no backslash, drive letter, control, bidirectional
/// control or noncharacter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Box<str>);

/// Why a text cannot be an entry's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryNameError {
    /// Empty, or more than [`ENTRY_NAME_BYTES_MAX`] bytes.
    #[error("a name has 1 to {} bytes", ENTRY_NAME_BYTES_MAX)]
    Length,
    /// Not UTF-8.
    #[error("a name is UTF-8")]
    Encoding,
    /// Not in Unicode normalisation form C.
    #[error("a name is in Unicode normalisation form C")]
    Normalisation,
    /// A character that is not shown, changes the direction of the text, or means something to a file system.
    #[error("a name has no backslash, control, invisible or direction-changing character")]
    Character,
    /// Absolute, upwards, or with an empty part.
    #[error("a name is a relative path without empty, `.` or `..` parts")]
    Path,
}

impl EntryName {
    /// From the bytes of a zip header.
    ///
    /// # Errors
    /// [`EntryNameError`], by rule.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryNameError> {
        if bytes.is_empty() || bytes.len() > ENTRY_NAME_BYTES_MAX {
            return Err(EntryNameError::Length);
        }
        let text = str::from_utf8(bytes).map_err(|_| EntryNameError::Encoding)?;
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the format itself uses the name, in any case of letters: `mimetype` and all of `META-INF`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        let first = self.0.split('/').next().unwrap_or_default();
        first.eq_ignore_ascii_case("META-INF") || self.0.eq_ignore_ascii_case(MIMETYPE_NAME)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.as_str() {
            MIMETYPE_NAME => Kind::Mimetype,
            MANIFEST_NAME => Kind::Manifest,
            SIGNATURE_NAME => Kind::Signature,
            _ if self.is_reserved() => Kind::Unknown,
            _ => Kind::Content,
        }
    }
}

/// What an entry is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mimetype,
    Manifest,
    Signature,
    Content,
    /// Reserved, but not of this profile.
    Unknown,
}

fn check(text: &str) -> Result<(), EntryNameError> {
    if text.chars().any(is_forbidden) {
        return Err(EntryNameError::Character);
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) || has_drive(text) {
        return Err(EntryNameError::Path);
    }
    if !is_nfc(text) {
        return Err(EntryNameError::Normalisation);
    }
    Ok(())
}

fn is_forbidden(c: char) -> bool {
    // Embeddings, overrides and isolates make `fdp.exe` look like `exe.pdf` (Unicode TR 36, 3.2).
    let changes_direction =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let is_invisible = matches!(c, '\u{200B}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{FEFF}');
    let is_noncharacter = matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE;
    c == '\\' || c.is_control() || changes_direction || is_invisible || is_noncharacter
}

/// `C:…`, on Windows a path of its own.
fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

impl FromStr for EntryName {
    type Err = EntryNameError;
    fn from_str(text: &str) -> Result<Self, EntryNameError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
