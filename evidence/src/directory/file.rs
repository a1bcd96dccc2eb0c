//! A directory version as a file: for a node to start from off line, and for the operator to carry around.
//!
//! Lines: `truc/directory/1`, then base64 of the root statement, of the operator's CMS, and of every entry. A line is read at a time, so that a
//! version of national size passes through little memory; a version that was read from a file leaves its entries' bytes there.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use data_encoding::BASE64;
use truc_proto::{
    AxisId, Lane, SignedDirectory, Timestamp,
    json::base64,
    limits::{CMS_BYTES_MAX, DIRECTORY_BYTES_MAX, DIRECTORY_ENTRIES_MAX},
};
use truc_signer::TrustStore;

use super::{
    Directory, DirectoryError, DirectoryFileError, Reading,
    store::{DiskEntries, EntryStore, Incoming, lock},
};
use crate::PinnedOperator;

const HEADER: &str = "truc/directory/1";
/// Name of the verified copy inside a store's `directory/`.
pub(super) const FILE: &str = "current.directory";
/// Names of copies that are coming in begin so.
const INCOMING: &str = "incoming-";
/// Longest line: base64 of the longest part, and its line feed.
const LINE_BYTES_MAX: u64 = CMS_BYTES_MAX as u64 / 3 * 4 + 8;

/// A directory version as the bytes of a `*.directory` file.
#[must_use]
pub fn encode_directory(signed: &SignedDirectory) -> Vec<u8> {
    let mut file = version_head(&signed.statement, &signed.cms);
    for part in &signed.entries {
        write_line(&mut file, part).expect("memory takes what is written");
    }
    file
}

/// The lines before the entries.
pub(super) fn version_head(statement: &[u8], cms: &[u8]) -> Vec<u8> {
    let mut file = format!("{HEADER}\n").into_bytes();
    for part in [statement, cms] {
        write_line(&mut file, part).expect("memory takes what is written");
    }
    file
}

fn write_line(to: &mut impl Write, part: &[u8]) -> io::Result<()> {
    to.write_all(BASE64.encode(part).as_bytes())?;
    to.write_all(b"\n")
}

impl Directory {
    /// Makes this version the copy to start from off line in `dir`: whole or not at all.
    ///
    /// # Errors
    /// As the file system says; the copy before stays.
    pub fn save(&self, dir: &Path) -> Result<(), DirectoryFileError> {
        let path = dir.join(FILE);
        let failed = |source| DirectoryFileError::Io { what: "write", path: path.display().to_string(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let temporary = dir.join(format!("{FILE}.tmp"));
        let written = || -> io::Result<()> {
            if let EntryStore::Disk(disk) = &self.store {
                if disk.is(&path)? {
                    return Ok(());
                }
                // It came in under a name of its own: that is all there is to change, unless it lies on another file system.
                let kept = |came: &mut Incoming| fs::rename(came.path(), &path).is_ok();
                if lock(&disk.incoming).take_if(kept).is_some() {
                    return File::open(dir)?.sync_all();
                }
            }
            let mut file = BufWriter::new(File::create(&temporary)?);
            self.write(&mut file)?;
            file.into_inner()?.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(failed)
    }

    /// Writes the version in the form of a `*.directory` file, an entry at a time.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&version_head(self.statement().bytes(), self.cms()))?;
        for entry in self.read_all() {
            write_line(to, &entry.map_err(io::Error::other)?)?;
        }
        to.flush()
    }

    /// Reads and verifies the copy in `dir`; none when there is none yet. Entries' bytes stay in the file.
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
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirectoryFileError::Io { what: "read", path: path.display().to_string(), source }),
            Ok(file) => read(file, path, None, operator, trust, Some((axis, lane)), now).map(Some),
        }
    }

    /// Reads and verifies a `*.directory` file of whichever axis and lane its root names. Entries' bytes stay in the file.
    ///
    /// # Errors
    /// When the file cannot be read or what it holds does not verify.
    pub fn open(
        path: &Path,
        operator: &PinnedOperator,
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<Self, DirectoryFileError> {
        let failed = |source| DirectoryFileError::Io { what: "read", path: path.display().to_string(), source };
        read(File::open(path).map_err(failed)?, path.to_owned(), None, operator, trust, None, now)
    }
}

/// A directory version that comes in piece by piece, kept on the disk and not yet believed.
///
/// The file goes with the writer, or with the version made of it, unless [`Directory::save`] keeps it.
pub struct DirectoryWriter {
    file: BufWriter<File>,
    incoming: Incoming,
    entries: usize,
    bytes: usize,
}

impl DirectoryWriter {
    /// Begins a version in `dir`, where it may be kept.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(dir: &Path, statement: &[u8], cms: &[u8]) -> Result<Self, DirectoryFileError> {
        /// Several may come at once; names need only differ within the process that owns the folder.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{INCOMING}{}-{number}", std::process::id()));
        let made = || -> io::Result<BufWriter<File>> {
            fs::create_dir_all(dir)?;
            let mut file =
                BufWriter::new(File::options().read(true).write(true).create(true).truncate(true).open(&path)?);
            file.write_all(&version_head(statement, cms))?;
            Ok(file)
        };
        let incoming = Incoming::new(path.clone());
        let file = made().map_err(|source| write_failed(&path, source))?;
        Ok(Self { file, incoming, entries: 0, bytes: 0 })
    }

    /// The next entry.
    ///
    /// # Errors
    /// As the file system says, or when there are more than any directory has.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<(), DirectoryFileError> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.entries > DIRECTORY_ENTRIES_MAX || self.bytes > DIRECTORY_BYTES_MAX {
            let path = self.incoming.path().display().to_string();
            return Err(DirectoryFileError::Refused {
                path,
                source: DirectoryError::TooLarge { entries: self.entries },
            });
        }
        write_line(&mut self.file, bytes).map_err(|source| write_failed(self.incoming.path(), source))
    }

    /// Verifies what came, as [`Directory::verify`] does.
    ///
    /// # Errors
    /// When the file cannot be written or read again, or what it holds does not verify.
    pub fn finish(
        self,
        operator: &PinnedOperator,
        trust: &TrustStore,
        axis: &AxisId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Directory, DirectoryFileError> {
        let Self { file, incoming, .. } = self;
        let path = incoming.path().to_owned();
        let written = || -> io::Result<File> {
            let mut file = file.into_inner()?;
            file.sync_all()?;
            io::Seek::rewind(&mut file)?;
            Ok(file)
        };
        let file = written().map_err(|source| write_failed(&path, source))?;
        read(file, path, Some(incoming), operator, trust, Some((axis, lane)), now)
    }

    /// Removes from `dir` what came in when the process ended before. For the start, when nothing else writes there.
    ///
    /// # Errors
    /// As the file system says.
    pub fn clear(dir: &Path) -> Result<(), DirectoryFileError> {
        let cleared = || -> io::Result<()> {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        match cleared() {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(write_failed(dir, source)),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for DirectoryWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DirectoryWriter({}, {} entries)", self.incoming.path().display(), self.entries)
    }
}

fn write_failed(path: &Path, source: io::Error) -> DirectoryFileError {
    DirectoryFileError::Io { what: "write", path: path.display().to_string(), source }
}

impl DiskEntries {
    /// Whether the file at `path` is this one.
    fn is(&self, path: &Path) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|other| (other.dev(), other.ino()) == (own.dev(), own.ino())),
        }
    }
}

/// Reads a file line by line and verifies it; its entries stay where they are.
fn read(
    file: File,
    path: PathBuf,
    incoming: Option<Incoming>,
    operator: &PinnedOperator,
    trust: &TrustStore,
    domain: Option<(&AxisId, Lane)>,
    now: Timestamp,
) -> Result<Directory, DirectoryFileError> {
    let name = path.display().to_string();
    let refused = |source| DirectoryFileError::Refused { path: name.clone(), source };
    let mut lines = Lines::of(&file, 256 * 1024, &name);
    let (statement, cms) = lines.head()?;
    let mut reading = Reading::start(statement, cms, operator, trust, domain, now).map_err(refused)?;
    let mut starts = vec![lines.at];
    while let Some(entry) = lines.part()? {
        reading.take(&entry).map_err(refused)?;
        starts.push(lines.at);
    }
    drop(lines);
    starts.shrink_to_fit();
    let disk = DiskEntries { file, path, starts, incoming: Mutex::new(incoming) };
    reading.finish(EntryStore::Disk(disk)).map_err(refused)
}

struct Lines<'a> {
    file: BufReader<&'a File>,
    /// Where the next line starts.
    at: u64,
    line: Vec<u8>,
    path: &'a str,
}

/// Root statement and signature of the version in a file; the rest is not looked at.
pub(super) fn read_head(file: &File, path: &Path) -> Result<(Bytes, Bytes), DirectoryFileError> {
    Lines::of(file, 16 * 1024, &path.display().to_string()).head()
}

impl<'a> Lines<'a> {
    fn of(file: &'a File, buffer: usize, path: &'a str) -> Self {
        Self { file: BufReader::with_capacity(buffer, file), at: 0, line: Vec::new(), path }
    }

    /// What stands before the entries: root statement and signature.
    fn head(&mut self) -> Result<(Bytes, Bytes), DirectoryFileError> {
        if !self.next()? || self.line != HEADER.as_bytes() {
            return Err(self.malformed("its first line is not `truc/directory/1`"));
        }
        let statement = self.part()?.ok_or_else(|| self.malformed("the root statement is missing"))?;
        let cms = self.part()?.ok_or_else(|| self.malformed("the operator's signature is missing"))?;
        Ok((statement, cms))
    }

    /// Reads a line without its line feed; false at the end.
    fn next(&mut self) -> Result<bool, DirectoryFileError> {
        self.line.clear();
        let read = self.file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        let read =
            read.map_err(|source| DirectoryFileError::Io { what: "read", path: self.path.to_owned(), source })?;
        if read == 0 {
            return Ok(false);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(self.malformed("a line is cut or too long"));
        }
        self.at += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(true)
    }

    fn part(&mut self) -> Result<Option<Bytes>, DirectoryFileError> {
        if !self.next()? {
            return Ok(None);
        }
        base64::decode(&self.line).map(|bytes| Some(bytes.into())).ok_or_else(|| self.malformed("a line is not base64"))
    }

    fn malformed(&self, why: &'static str) -> DirectoryFileError {
        DirectoryFileError::Malformed { path: self.path.to_owned(), why }
    }
}
