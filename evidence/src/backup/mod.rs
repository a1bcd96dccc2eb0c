//! Backups of a node's or relay's folder: one encrypted file under a key of which two administrators hold one half each (docs/FORMATS.md, "Backup").
//!
//! | question | answered by |
//! |---|---|
//! | how is one made while the machine runs? | [`make_backup`] |
//! | is this file what was written? | [`BackupFile::check`], without keys |
//! | who opens it? | [`BackupHalf`]: each administrator opens his own, neither half says anything alone |
//! | is everything in it? | [`BackupFile::verify`] |
//! | how does the machine come back? | [`BackupFile::restore`] |
//!
//! Whether a restored machine may sign is not decided here: it keeps a note that it was restored ([`restored`]) until its peers have been asked.

mod half;
mod read;
mod tar;
mod words;
mod write;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use truc_ledger::OpenError as StoreOpenError;
use truc_proto::{Digest, Raw, Restored, StatementError, limits::RESTORED_BYTES_MAX};
use truc_signer::{OpenError, SealError};

pub use half::{BackupHalf, BackupKey};
pub use read::{BackupContents, BackupFile};
pub use words::{administrator_certificate, describe_backup, tell_half, tell_made, tell_restored, tell_verified};
pub use write::{BackupMade, BackupSource, make_backup};

/// First line of a backup.
const MAGIC: &str = "truc/backup/1";
/// The last file in the archive: SHA-256, two spaces, path, a line for every file before it.
const MANIFEST: &str = "MANIFEST";
/// Where files that settings name outside the machine's folder lie in the archive, and after a restore.
const OUTSIDE: &str = "outside";
/// The note of a machine that was restored, in its store.
const RESTORED: &str = "restored";

/// Why a backup was not made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target is there.
    #[error("{} is there already and is not overwritten: name another", path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// The journal.
    #[error("the journal cannot be copied")]
    Journal(#[from] Box<StoreOpenError>),
    /// Somebody who cannot be given a half.
    #[error("{subject} cannot hold a half of the key: {why}")]
    Administrator {
        /// Whose certificate.
        subject: String,
        /// What speaks against it.
        why: String,
    },
    /// A half was not sealed.
    #[error("a half of the key cannot be sealed")]
    Seal(#[from] SealError),
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
    /// A statement that contradicts itself.
    #[error("{} is no backup, or one that this version does not know", path.display())]
    Head {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: StatementError,
    },
    /// No backup at all.
    #[error("{} is no backup: {why}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its bytes are not those that were written.
    #[error("{} was cut or changed: its hash is not the one at its end. Take another copy of it", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// What is in it is not what its manifest says.
    #[error("{} does not hold what it says: {why}. Take another backup", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A half that is not one.
    #[error("{} is no half of a backup's key: {why}", path.display())]
    NoHalf {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key that no half is sealed to.
    #[error("no half of this backup's key is sealed to {subject}; its halves are for {}", holders.join(" and "))]
    NotHolder {
        /// Whose key was tried.
        subject: String,
        /// Who has the halves.
        holders: Vec<String>,
    },
    /// A half did not open.
    #[error("the half of {subject} does not open")]
    Open {
        /// Whose half.
        subject: String,
        /// Why.
        source: OpenError,
    },
    /// Halves of other backups, or one half twice.
    #[error("these are not the two halves of this backup's key: {why}")]
    Halves {
        /// What does not fit.
        why: &'static str,
    },
    /// A file changed while it was copied.
    #[error("{} changed while it was copied; run the backup again", path.display())]
    Moved {
        /// Which file.
        path: PathBuf,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { what, path, source }
}

/// The note that says from which backup the machine with this store was made; none once its peers have confirmed that nothing newer is known, or
/// where it never was restored.
///
/// # Errors
/// When it cannot be read, which must not be taken for its absence.
pub fn restored(store: &Path) -> Result<Option<Raw<Restored>>, BackupError> {
    let path = store.join(RESTORED);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
        Ok(file) if file.len() > RESTORED_BYTES_MAX as u64 => {
            return Err(BackupError::Form { path, why: "too long for the note of a restored machine".into() });
        }
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    Raw::parse(bytes).map(Some).map_err(|source| BackupError::Head { path, source })
}

/// Removes the note of [`restored`]: peers have confirmed, or the ledger goes on under a new origin.
///
/// # Errors
/// When it cannot be removed.
pub fn forget_restored(store: &Path) -> Result<(), BackupError> {
    let path = store.join(RESTORED);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
        _ => {}
    }
    sync_folder(store)
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

/// A new file for its owner alone.
fn create_private(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Occupied { path: path.to_owned() }
        } else {
            failed("write", path)(source)
        }
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = create_private(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// One line of the manifest, as `sha256sum -c` reads it.
fn manifest_line(hash: &Digest, path: &str) -> String {
    format!("{hash}  {path}\n")
}
