//! The few file operations that the ledger needs, as traits, so that the simulator can stand in for the disk; and the real ones.
//!
//! Names are relative, with `/` between parts. What a power cut may take away is part of the contract: bytes until [`VolumeFile::sync_data`],
//! a file's name until [`Volume::sync_dir`] on its folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// For reading and writing; made when it is not there.
    Create,
    /// For reading and writing; made empty, whatever stood there.
    Truncate,
}

/// How much room a volume has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

impl Space {
    /// Whether less than a tenth is free: then no new work is taken on, so that receipts of the old still find room.
    #[must_use]
    pub const fn is_low(self) -> bool {
        self.free_bytes < self.total_bytes / 10
    }
}

/// A folder on a disk, or what the simulator shows as one.
pub trait Volume: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&self, name: &str, mode: Open) -> io::Result<Arc<dyn VolumeFile>>;
    /// The names in a folder, files and folders, sorted. A folder that is not there is empty.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Removes a file. That it is not there is no error.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file over whatever had the new name.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes a folder that survives a power cut: its parent is synced. That it is there is no error.
    ///
    /// # Errors
    /// As the file system says.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a folder survive a power cut.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_dir(&self, name: &str) -> io::Result<()>;
    /// How much room there is.
    ///
    /// # Errors
    /// As the file system says.
    fn space(&self) -> io::Result<Space>;
    /// Takes the store for this process alone, until the lock is dropped.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    fn lock(&self) -> Result<Lock, LockError>;
}

/// An open file. All methods may be called from several threads.
pub trait VolumeFile: Send + Sync {
    /// Reads at `offset`; short only at the end of the file.
    ///
    /// # Errors
    /// As the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the file system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on the device.
    ///
    /// # Errors
    /// As the file system says. After an error the state of the file is unknown: it must never be retried.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether it is empty.
    ///
    /// # Errors
    /// As the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends it.
    ///
    /// # Errors
    /// As the file system says.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn VolumeFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let got = file.read_at(buffer, offset)?;
    if got == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Holds a store for this process; dropping it lets go.
pub struct Lock(#[expect(dead_code, reason = "held for its drop, which gives the lock back")] Box<dyn Send + Sync>);

impl Lock {
    /// A lock that `guard` gives back when it is dropped.
    #[must_use]
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

/// Why a store could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process works in it.
    #[error("another process is using the store {store}: stop it first, or give this one its own folder")]
    Held {
        /// Which store.
        store: String,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock the store {store}")]
    Io {
        /// Which store.
        store: String,
        /// What the file system said.
        source: io::Error,
    },
}

/// A folder on a real disk.
#[derive(Debug, Clone)]
pub struct DirVolume(PathBuf);

const LOCK_FILE: &str = "lock";

impl DirVolume {
    /// The store in `folder`, which is made (readable by its owner alone) when it is not there.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        make_dir(&folder)?;
        Ok(Self(folder))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Volume for DirVolume {
    fn open(&self, name: &str, mode: Open) -> io::Result<Arc<dyn VolumeFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            Open::Read => {}
            Open::Write => _ = options.write(true),
            Open::Create => _ = options.write(true).create(true).truncate(false),
            Open::Truncate => _ = options.write(true).create(true).truncate(true),
        }
        Ok(Arc::new(DirFile(options.open(self.at(name))?)))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let name = |entry: io::Result<fs::DirEntry>| entry.map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        make_dir(&self.at(name))
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        File::open(self.at(name))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.0)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self) -> Result<Lock, LockError> {
        let store = || self.0.display().to_string();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.at(LOCK_FILE));
        let file = file.map_err(|source| LockError::Io { store: store(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock::new(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { store: store() }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { store: store(), source }),
        }
    }
}

/// Makes `folder` and what is missing above it; every folder that gained a name is synced, else a power cut could take the whole store.
fn make_dir(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(parent)?;
    match std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    File::open(folder)?.sync_all()?;
    File::open(parent)?.sync_all()
}

struct DirFile(File);

impl VolumeFile for DirFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
