//! A directory version as a file: for a node to start from off line, and for the operator to carry around.
//!
//! Lines: `truc/directory/1`, then base64 of the root statement, of the operator's CMS, and of every entry.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use bytes::Bytes;
use data_encoding::BASE64;
use truc_proto::{
    AxisId, Lane, SignedDirectory, Timestamp,
    limits::{DIRECTORY_BYTES_MAX, DIRECTORY_ENTRIES_MAX},
};
use truc_signer::TrustStore;

use super::{Directory, DirectoryFileError};
use crate::PinnedOperator;

const HEADER: &str = "truc/directory/1";
/// Name of the verified copy inside a store's `directory/`.
const FILE: &str = "current.directory";

/// A directory version as the bytes of a `*.directory` file.
#[must_use]
pub fn encode_directory(signed: &SignedDirectory) -> Vec<u8> {
    let mut text = format!("{HEADER}\n");
    for part in [&signed.statement, &signed.cms].into_iter().chain(&signed.entries) {
        text.push_str(&BASE64.encode(part));
        text.push('\n');
    }
    text.into_bytes()
}

/// Reads a `*.directory` file. Believes nothing: [`Directory::verify`] does.
///
/// # Errors
/// [`DirectoryFileError::Malformed`].
pub fn decode_directory(bytes: &[u8]) -> Result<SignedDirectory, DirectoryFileError> {
    let malformed = |why| DirectoryFileError::Malformed { path: String::new(), why };
    if bytes.len() > 2 * DIRECTORY_BYTES_MAX {
        return Err(malformed("it is too large"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not text"))?;
    let mut lines = text.strip_suffix('\n').ok_or(malformed("its last line is cut"))?.split('\n');
    if lines.next() != Some(HEADER) {
        return Err(malformed("its first line is not `truc/directory/1`"));
    }
    let mut part = || match lines.next() {
        None => Ok(None),
        Some(line) => match BASE64.decode(line.as_bytes()) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(_) => Err(malformed("a line is not base64")),
        },
    };
    let statement = part()?.ok_or(malformed("the root statement is missing"))?;
    let cms = part()?.ok_or(malformed("the operator's signature is missing"))?;
    let mut entries = Vec::new();
    while let Some(entry) = part()? {
        if entries.len() == DIRECTORY_ENTRIES_MAX {
            return Err(malformed("it has too many entries"));
        }
        entries.push(entry);
    }
    Ok(SignedDirectory { statement, cms, entries })
}

impl Directory {
    /// Writes the copy to start from off line into `dir`: whole or not at all.
    ///
    /// # Errors
    /// As the file system says; the copy before stays.
    pub fn save(&self, dir: &Path) -> Result<(), DirectoryFileError> {
        let path = dir.join(FILE);
        let failed = |source| DirectoryFileError::Io { what: "write", path: path.display().to_string(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let temporary = dir.join(format!("{FILE}.tmp"));
        let written = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&encode_directory(self.signed()))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(failed)
    }

    /// Reads and verifies the copy in `dir`; none when there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read or what it holds does not verify.
    pub fn load(
        dir: &Path,
        operator: &PinnedOperator,
        trust: &TrustStore,
        axis: &AxisId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Self>, DirectoryFileError> {
        let path = dir.join(FILE);
        let name = || path.display().to_string();
        let failed = |source| DirectoryFileError::Io { what: "read", path: name(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(2 * DIRECTORY_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        let signed = decode_directory(&bytes).map_err(|error| match error {
            DirectoryFileError::Malformed { why, .. } => DirectoryFileError::Malformed { path: name(), why },
            other => other,
        })?;
        Self::verify(signed, operator, trust, axis, lane, now)
            .map(Some)
            .map_err(|source| DirectoryFileError::Refused { path: name(), source })
    }
}
