//! Where the entries' bytes are: in memory as they came, or in the verified copy on the disk.
//!
//! What is read from the disk later is not believed because it was once verified: its hash must be the leaf's.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use data_encoding::BASE64;
use truc_ledger::merkle::{MemTree, leaf_hash};

/// Why an entry of a verified directory cannot be read again from the disk.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryReadError {
    /// The disk.
    #[error("cannot read entry {place} of the directory's copy {path}; check the disk, then restart")]
    Io {
        /// Which file.
        path: String,
        /// Counted from 0.
        place: usize,
        /// What the file system said.
        source: io::Error,
    },
    /// Other bytes than were verified.
    #[error(
        "entry {place} of the directory's copy {path} is not what was verified: the file was changed or the disk is damaged; restart, so that the directory is fetched anew"
    )]
    Damaged {
        /// Which file.
        path: String,
        /// Counted from 0.
        place: usize,
    },
}

/// The bytes of a version's entries, by place.
pub(super) enum EntryStore {
    Memory(Vec<Bytes>),
    Disk(DiskEntries),
}

/// Lines of base64 in a `*.directory` file that stays open: a newer version may take its name, not its content.
pub(super) struct DiskEntries {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Where each entry's line starts, and where the last one ends.
    pub(super) starts: Vec<u64>,
    /// While the file has a name of its own, which [`super::Directory::save`] gives away.
    pub(super) incoming: Mutex<Option<Incoming>>,
}

impl EntryStore {
    /// The bytes of an entry, the same that were verified.
    pub(super) fn read(&self, place: usize, tree: &MemTree) -> Result<Bytes, DirectoryReadError> {
        match self {
            Self::Memory(entries) => Ok(entries.get(place).cloned().expect("a place of this version's entries")),
            Self::Disk(disk) => disk.read(place, tree),
        }
    }
}

impl DiskEntries {
    pub(super) fn read(&self, place: usize, tree: &MemTree) -> Result<Bytes, DirectoryReadError> {
        let path = || self.path.display().to_string();
        let damaged = || DirectoryReadError::Damaged { path: path(), place };
        let (Some(start), Some(end)) = (self.starts.get(place), self.starts.get(place + 1)) else {
            return Err(damaged());
        };
        // The line without its line feed.
        let length = usize::try_from(end - start - 1).map_err(|_| damaged())?;
        let mut line = vec![0; length];
        let failed = |source| DirectoryReadError::Io { path: path(), place, source };
        self.file.read_exact_at(&mut line, *start).map_err(failed)?;
        let bytes = BASE64.decode(&line).map_err(|_| damaged())?;
        let wanted = u64::try_from(place).ok().and_then(|place| tree.leaf(place));
        if wanted == Some(leaf_hash(&bytes)) { Ok(bytes.into()) } else { Err(damaged()) }
    }
}

/// The name of a file that goes when nobody keeps it.
#[derive(Debug)]
pub(super) struct Incoming(PathBuf);

impl Incoming {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What stays behind after a crash is cleared at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
