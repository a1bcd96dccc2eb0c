//! Large ciphertexts as files named by their SHA-256: `tmp` → sync → rename to `b/ab/<sha256>` → sync of the folder; the owner journals the record
//! that names the blob only after that. So a cut leaves at worst a blob without a record, never a record without its blob.
//!
//! An interrupted upload goes on at the last byte received. Beside each unfinished upload lie marks, every MiB one, with the CRC of everything up to
//! there: after a start the longest prefix whose marks hold is kept, whatever the disk lost. At the end the whole is hashed again anyway.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use truc_proto::{
    Digest, Hasher,
    limits::{BLOB_BYTES_MAX, UPLOAD_NAME_BYTES_MAX},
};

use crate::{
    frame::Fields,
    volume::{Open, Volume, VolumeFile},
};

const BLOB_DIR: &str = "b";
const UPLOAD_DIR: &str = "tmp";
/// Distance of marks.
const MARK_EVERY: u64 = 1024 * 1024;
const MARK: usize = 12;
const BUFFER: usize = 256 * 1024;

/// The blobs of one store.
pub struct BlobStore {
    volume: Arc<dyn Volume>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Uploads that somebody writes now.
    busy: BTreeSet<String>,
    /// Uploads interrupted in this process: nothing of them need be read again.
    paused: HashMap<String, Progress>,
    /// Finished blobs whose record is not journaled yet, counted.
    held: HashMap<Digest, usize>,
    /// Blobs that had no record at the last sweep.
    orphans: BTreeSet<Digest>,
}

/// Why a blob was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Longer than [`BLOB_BYTES_MAX`], or than what was announced.
    #[error("the upload is longer than the {announced} bytes announced, or than {BLOB_BYTES_MAX}")]
    TooLong {
        /// What was announced.
        announced: u64,
    },
    /// Bytes that do not continue where the upload stands.
    #[error("the upload stands at byte {stands}, not at {given}: ask where to go on")]
    WrongOffset {
        /// The next byte expected.
        stands: u64,
        /// The offset given.
        given: u64,
    },
    /// Ended early.
    #[error("the upload ended at {stands} of {announced} bytes: go on from there")]
    Incomplete {
        /// Bytes received.
        stands: u64,
        /// What was announced.
        announced: u64,
    },
    /// Other bytes than announced; the upload is thrown away.
    #[error(
        "the bytes received are not those announced (SHA-256 {found} instead of {announced}): upload them again from the start"
    )]
    WrongDigest {
        /// What was announced.
        announced: Digest,
        /// What came.
        found: Digest,
    },
    /// Somebody else writes this upload.
    #[error("upload {name} is being written over another connection: close that one, or try again soon")]
    Busy {
        /// Which.
        name: String,
    },
    /// A name that cannot be a file's.
    #[error("an upload is named by 1 to {UPLOAD_NAME_BYTES_MAX} of a-z, 0-9 and -")]
    BadName,
    /// No such blob.
    #[error("there is no blob {digest}")]
    NotThere {
        /// Which.
        digest: Digest,
    },
    /// The disk's fault, a full one included (`StorageFull`).
    #[error("cannot store or read the blob")]
    Io(#[from] io::Error),
}

/// What an upload will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// SHA-256 over all of it.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}

impl BlobStore {
    /// The blobs in `volume`.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(volume: Arc<dyn Volume>) -> io::Result<Self> {
        volume.create_dir(BLOB_DIR)?;
        volume.create_dir(UPLOAD_DIR)?;
        // Names that a killed process had not yet synced: whoever finds a blob under its name may count on it.
        for dir in volume.list(BLOB_DIR)? {
            volume.sync_dir(&format!("{BLOB_DIR}/{dir}"))?;
        }
        Ok(Self { volume, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the upload `name`, or goes on with it where it stands. One writer at a time. When what it stands at is longer than announced now, it
    /// starts over.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn begin(self: &Arc<Self>, name: &str, announced: Announced) -> Result<Upload, BlobError> {
        check_name(name)?;
        if announced.length > BLOB_BYTES_MAX {
            return Err(BlobError::TooLong { announced: announced.length });
        }
        if !self.state().busy.insert(name.to_owned()) {
            return Err(BlobError::Busy { name: name.to_owned() });
        }
        let mut upload = Upload { store: Arc::clone(self), name: name.to_owned(), announced, progress: None };
        let paused = self.state().paused.remove(name);
        let progress = paused.map_or_else(|| self.resume(name), Ok)?;
        upload.progress = Some(if progress.length > announced.length { self.start_over(name)? } else { progress });
        Ok(upload)
    }

    /// How many bytes of the upload are here; 0 for one never begun.
    ///
    /// # Errors
    /// [`BlobError`]; `Busy` while it is being written.
    pub fn stands_at(self: &Arc<Self>, name: &str) -> Result<u64, BlobError> {
        let upload = self.begin(name, Announced { digest: Digest([0; 32]), length: BLOB_BYTES_MAX })?;
        Ok(upload.offset())
    }

    /// Throws an upload away. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobError`]; `Busy` while it is being written.
    pub fn abandon(&self, name: &str) -> Result<(), BlobError> {
        check_name(name)?;
        let mut state = self.state();
        if state.busy.contains(name) {
            return Err(BlobError::Busy { name: name.to_owned() });
        }
        state.paused.remove(name);
        self.volume.remove(&upload_path(name))?;
        Ok(self.volume.remove(&marks_path(name))?)
    }

    /// The names of all unfinished uploads.
    ///
    /// # Errors
    /// As the file system says.
    pub fn uploads(&self) -> io::Result<Vec<String>> {
        Ok(self
            .volume
            .list(UPLOAD_DIR)?
            .iter()
            .filter_map(|name| Some(name.strip_suffix(".part")?.to_owned()))
            .collect())
    }

    /// The length of a blob; `None` when it is not here.
    ///
    /// # Errors
    /// As the file system says.
    pub fn length(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match self.volume.open(&blob_path(digest), Open::Read) {
            Ok(file) => file.len().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A blob for reading by range; it stays readable when it is removed meanwhile.
    ///
    /// # Errors
    /// [`BlobError::NotThere`], or as the file system says.
    pub fn read(&self, digest: &Digest) -> Result<BlobReader, BlobError> {
        match self.volume.open(&blob_path(digest), Open::Read) {
            Ok(file) => Ok(BlobReader { length: file.len()?, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::NotThere { digest: *digest }),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a blob. The record that says it is no longer needed must be durable before.
    ///
    /// # Errors
    /// As the file system says.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        self.volume.remove(&blob_path(digest))
    }

    /// One sweep: removes the blobs that had no record at this sweep and at the one before, and are not held by an upload that just finished.
    /// Called once a day it never takes a blob younger than a day, without asking any clock. `has_record` is asked for every blob; tells how many went.
    ///
    /// # Errors
    /// As the file system says.
    pub fn sweep(&self, has_record: impl Fn(&Digest) -> bool) -> io::Result<u64> {
        let mut found = BTreeSet::new();
        for dir in self.volume.list(BLOB_DIR)? {
            let names = self.volume.list(&format!("{BLOB_DIR}/{dir}"))?;
            found.extend(names.iter().filter_map(|name| name.parse::<Digest>().ok()));
        }
        let mut removed = 0;
        let without: BTreeSet<Digest> = found.into_iter().filter(|digest| !has_record(digest)).collect();
        let mut state = self.state();
        let old: Vec<Digest> =
            without.iter().filter(|d| state.orphans.contains(d) && !state.held.contains_key(d)).copied().collect();
        for digest in &old {
            self.volume.remove(&blob_path(digest))?;
            removed += 1;
        }
        state.orphans = without.into_iter().filter(|digest| !old.contains(digest)).collect();
        Ok(removed)
    }

    /// Reads what a former process left of an upload, and keeps what its marks prove.
    fn resume(&self, name: &str) -> io::Result<Progress> {
        let (file, marks) = self.open_upload(name)?;
        let mut progress = Progress::new(file, marks);
        let mut kept = progress.clone();
        let (mut buffer, end) = (vec![0; BUFFER], progress.file.len()?);
        while progress.length < end {
            let room = usize::try_from(MARK_EVERY - progress.length % MARK_EVERY).unwrap_or(BUFFER).min(BUFFER);
            let slot = buffer.get_mut(..room).unwrap_or_default();
            let got = progress.file.read_at(slot, progress.length)?;
            if got == 0 {
                break;
            }
            progress.take(slot.get(..got).unwrap_or_default());
            if progress.length.is_multiple_of(MARK_EVERY) || progress.length == end {
                if !progress.next_mark_holds()? {
                    break;
                }
                kept = progress.clone();
            }
        }
        kept.file.set_len(kept.length)?;
        kept.marks.set_len(kept.marks_at)?;
        Ok(kept)
    }

    fn start_over(&self, name: &str) -> io::Result<Progress> {
        let (file, marks) = self.open_upload(name)?;
        file.set_len(0)?;
        marks.set_len(0)?;
        Ok(Progress::new(file, marks))
    }

    fn open_upload(&self, name: &str) -> io::Result<(Arc<dyn VolumeFile>, Arc<dyn VolumeFile>)> {
        Ok((self.volume.open(&upload_path(name), Open::Create)?, self.volume.open(&marks_path(name), Open::Create)?))
    }

    fn hold(self: &Arc<Self>, digest: Digest, length: u64) -> StoredBlob {
        *self.state().held.entry(digest).or_default() += 1;
        StoredBlob { digest, length, store: Arc::clone(self) }
    }
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobStore")
    }
}

/// How far an upload is.
#[derive(Clone)]
struct Progress {
    file: Arc<dyn VolumeFile>,
    marks: Arc<dyn VolumeFile>,
    marks_at: u64,
    length: u64,
    hasher: Hasher,
    crc: u32,
}

impl Progress {
    fn new(file: Arc<dyn VolumeFile>, marks: Arc<dyn VolumeFile>) -> Self {
        Self { file, marks, marks_at: 0, length: 0, hasher: Hasher::default(), crc: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.length += bytes.len() as u64;
    }

    /// Whether the next stored mark says what was read; goes past it.
    fn next_mark_holds(&mut self) -> io::Result<bool> {
        let mut mark = [0; MARK];
        // Marks at the place where a former connection broke are passed over: the next full one covers them.
        while self.marks.read_at(&mut mark, self.marks_at)? == MARK {
            self.marks_at += MARK as u64;
            let mut fields = Fields(&mark);
            let (Some(length), Some(crc)) = (fields.u64(), fields.u32()) else { return Ok(false) };
            if length >= self.length {
                return Ok((length, crc) == (self.length, self.crc));
            }
        }
        Ok(false)
    }

    fn mark(&mut self) -> io::Result<()> {
        let mark = [self.length.to_le_bytes().as_slice(), &self.crc.to_le_bytes()].concat();
        self.marks.write_at(&mark, self.marks_at)?;
        self.marks_at += MARK as u64;
        Ok(())
    }
}

/// An upload being written. Dropping it keeps what came, for the next [`BlobStore::begin`].
pub struct Upload {
    store: Arc<BlobStore>,
    name: String,
    announced: Announced,
    progress: Option<Progress>,
}

impl Upload {
    /// The next byte expected.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.length)
    }

    /// Takes the bytes at `offset`, which must be where the upload stands.
    ///
    /// # Errors
    /// [`BlobError`]; what was taken before stays.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlobError> {
        let announced = self.announced.length;
        let Some(progress) = self.progress.as_mut() else { return Err(BlobError::Busy { name: self.name.clone() }) };
        if offset != progress.length {
            return Err(BlobError::WrongOffset { stands: progress.length, given: offset });
        }
        if offset + bytes.len() as u64 > announced {
            return Err(BlobError::TooLong { announced });
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = usize::try_from(MARK_EVERY - progress.length % MARK_EVERY).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at(room.min(rest.len()));
            progress.file.write_at(part, progress.length)?;
            progress.take(part);
            if progress.length.is_multiple_of(MARK_EVERY) {
                progress.mark()?;
            }
            rest = after;
        }
        Ok(())
    }

    /// As [`Upload::finish`], for bytes of our own making, of which length and digest are known only now. It was begun with
    /// [`BLOB_BYTES_MAX`] as length and any digest.
    ///
    /// # Errors
    /// As the file system says.
    pub fn finish_as_written(mut self) -> Result<StoredBlob, BlobError> {
        if let Some(progress) = &self.progress {
            self.announced = Announced { digest: progress.hasher.clone().finish(), length: progress.length };
        }
        self.finish()
    }

    /// Checks length and digest and makes the blob durable under its name. Blocks on the device: call it off the network's threads.
    /// The blob is safe from sweeps as long as the answer lives: keep it until the record is journaled.
    ///
    /// # Errors
    /// [`BlobError`]; after `WrongDigest` the upload starts over.
    pub fn finish(mut self) -> Result<StoredBlob, BlobError> {
        let (announced, store) = (self.announced, Arc::clone(&self.store));
        let stands = self.offset();
        if stands != announced.length {
            return Err(BlobError::Incomplete { stands, announced: announced.length });
        }
        let Some(progress) = self.progress.take() else { return Err(BlobError::Busy { name: self.name.clone() }) };
        let found = progress.hasher.clone().finish();
        if found != announced.digest {
            store.volume.remove(&upload_path(&self.name))?;
            store.volume.remove(&marks_path(&self.name))?;
            return Err(BlobError::WrongDigest { announced: announced.digest, found });
        }
        // Held before it has its name: no sweep sees it without a holder.
        let held = store.hold(found, announced.length);
        let path = blob_path(&found);
        let dir = path.rsplit_once('/').map_or(BLOB_DIR, |(dir, _)| dir);
        if let Err(error) = progress.file.sync_data() {
            // Nobody knows what is on the device now, and a later sync would not tell: the next upload writes every byte again.
            store.volume.remove(&upload_path(&self.name))?;
            store.volume.remove(&marks_path(&self.name))?;
            return Err(error.into());
        }
        store.volume.create_dir(dir)?;
        store.volume.rename(&upload_path(&self.name), &path)?;
        store.volume.sync_dir(dir)?;
        store.volume.remove(&marks_path(&self.name))?;
        Ok(held)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut progress = self.progress.take();
        // For the next process, should this one end; failing costs only bytes sent again.
        if let Some(progress) = &mut progress
            && !progress.length.is_multiple_of(MARK_EVERY)
        {
            let _ = progress.mark();
        }
        let mut state = self.store.state();
        state.busy.remove(&self.name);
        if let Some(progress) = progress {
            state.paused.insert(std::mem::take(&mut self.name), progress);
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({} at {})", self.name, self.offset())
    }
}

/// A blob on the device, kept from sweeps while this lives.
pub struct StoredBlob {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    store: Arc<BlobStore>,
}

impl Drop for StoredBlob {
    fn drop(&mut self) {
        let mut state = self.store.state();
        if let Some(count) = state.held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.digest);
            }
        }
    }
}

impl fmt::Debug for StoredBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredBlob({}, {} bytes)", self.digest, self.length)
    }
}

/// A blob open for reading.
#[derive(Clone)]
pub struct BlobReader {
    file: Arc<dyn VolumeFile>,
    length: u64,
}

impl BlobReader {
    /// Length in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from `offset`; short only at the end.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobReader({} bytes)", self.length)
    }
}

fn check_name(name: &str) -> Result<(), BlobError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > UPLOAD_NAME_BYTES_MAX || !name.bytes().all(good) {
        Err(BlobError::BadName)
    } else {
        Ok(())
    }
}

fn upload_path(name: &str) -> String {
    format!("{UPLOAD_DIR}/{name}.part")
}

fn marks_path(name: &str) -> String {
    format!("{UPLOAD_DIR}/{name}.marks")
}

fn blob_path(digest: &Digest) -> String {
    let name = digest.to_string();
    format!("{BLOB_DIR}/{}/{name}", name.get(..2).unwrap_or_default())
}

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
