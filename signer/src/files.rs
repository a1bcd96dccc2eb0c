//! Key files on disk: read within bounds, refused when others may read them, written whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system said no.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than the bound.
    #[error("{path} is larger than {bytes_max} bytes and is not read; check that it is the right file", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The bound.
        bytes_max: usize,
    },
    /// Group or world has access to a secret.
    #[error(
        "{path} holds a secret and others may access it (mode {mode:04o}); its owner must run `chmod 600 {path}`, \
         and consider the secret exposed if the machine is shared",
        path = path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It exists and must not be overwritten.
    #[error("{path} exists and is not overwritten; move it away first if it is really to be replaced", path = path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    read_file(path, bytes_max, false).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Reads a secret; refuses it when group or world has any access. Checked on the open file, so nobody can swap it in between.
pub(crate) fn read_secret(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_file(path, bytes_max, true)
}

fn read_file(path: &Path, bytes_max: usize, secret: bool) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if secret && mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.into(), mode });
    }
    // Full capacity at once: a growing buffer would leave unzeroised copies of the secret behind.
    let length = file.metadata().map_err(failed)?.len();
    if length > bytes_max as u64 {
        return Err(FileError::TooLarge { path: path.into(), bytes_max });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(bytes_max) + 1));
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(FileError::TooLarge { path: path.into(), bytes_max });
    }
    Ok(bytes)
}

/// Writes a new file of mode 0600, whole or not at all: temporary file, fsync, link into place, fsync of the directory.
///
/// An existing file is never replaced.
pub(crate) fn write_new_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = create_secret(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        // link, unlike rename, fails where the target exists.
        .and_then(|()| fs::hard_link(&temporary, path));
    // Whatever happened, the secret does not stay under the temporary name.
    let removed = fs::remove_file(&temporary);
    written.and(removed).and_then(|()| sync_directory_of(path)).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.into() },
        _ => FileError::Write { path: path.into(), source },
    })
}

/// Opens a fresh temporary file of mode 0600, dropping a left-over of an earlier attempt.
pub(crate) fn create_secret(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
