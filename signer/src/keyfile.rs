//! The key file: what documents' secrets of earlier storage-key epochs became (see the module `storage`).
//!
//! Secrets of documents lie wrapped in journal records. When the epoch changes, what is to be kept of them is wrapped
//! again into one file, sorted by id; what is left out is destroyed with the old epoch's key. Entries are of one size and
//! looked up by binary search on the disk, so a file of ten million costs no memory. What ids and secrets mean is the
//! node's business (`docs/FORMATS.md`, "Storage key and key file").

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use truc_proto::{Digest, Hasher, Timestamp};
use zeroize::Zeroizing;

use crate::{
    files::{self, FileError},
    storage::{StorageKey, WRAP_OVERHEAD_BYTES, WrapError},
};

const MAGIC: &[u8; 8] = b"TRUCKEY2";
/// Magic, epoch, when, journal position, two counts, names.
const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 8 + WRAPPED_NAMES_BYTES;
const NAMES_BYTES: usize = 32;
const WRAPPED_NAMES_BYTES: usize = NAMES_BYTES + WRAP_OVERHEAD_BYTES;
const NAMES_CONTEXT: &[u8] = b"truc/index-words/1";
const ID_BYTES: usize = 32;
/// Length of the secret of one document.
pub const SECRET_BYTES: usize = 76;
const WRAPPED_BYTES: usize = SECRET_BYTES + WRAP_OVERHEAD_BYTES;
const ENTRY_BYTES: usize = ID_BYTES + WRAPPED_BYTES;
const CHECKSUM_BYTES: usize = 32;

/// A wrapped secret, as it lies in a key file.
pub type WrappedSecret = [u8; WRAPPED_BYTES];

/// Why a key file could not be written, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Damaged or cut short.
    #[error("the key file {path} is damaged; restore it from the backup, nothing was changed", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Ids must come in rising order; the caller's fault.
    #[error("entry {id} of the key file does not come in rising order")]
    Order {
        /// The entry.
        id: Digest,
    },
    /// Something in it does not open under the storage key.
    #[error("entry {id} of the key file does not open with the storage key")]
    Entry {
        /// The entry.
        id: Digest,
        /// What is wrong with it.
        source: WrapError,
    },
    /// The key that names lists of the index does not open under the storage key.
    #[error("the key file {path} does not open with the storage key", path = path.display())]
    Names {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: WrapError,
    },
}

/// What a key file says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFileHead {
    /// Epoch of the storage key that its entries are wrapped under.
    pub epoch: u32,
    /// When that epoch began.
    pub made: Timestamp,
    /// Journal records before this position were looked at: what they had of secrets is here, or gone.
    pub position: u64,
}

/// An open key file.
#[derive(Debug)]
pub struct KeyFile {
    file: File,
    path: PathBuf,
    head: KeyFileHead,
    count: u64,
    whole: u64,
    names: [u8; WRAPPED_NAMES_BYTES],
}

impl KeyFile {
    /// Opens a key file by its header and length: an entry that is damaged shows when it is unwrapped.
    ///
    /// # Errors
    /// When it cannot be read or is not one.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let read_failed = |source| FileError::Read { path: path.into(), source };
        let damaged = || KeyFileError::Damaged { path: path.into() };
        let file = File::open(path).map_err(read_failed)?;
        let length = file.metadata().map_err(read_failed)?.len();
        let mut header = [0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
            other => other.map_err(read_failed)?,
        }
        let Header { head, count, whole, names } = Header::parse(&header).ok_or_else(damaged)?;
        let around = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
        let expected = count.checked_mul(ENTRY_BYTES as u64).and_then(|n| n.checked_add(around));
        if expected != Some(length) || whole > count {
            return Err(damaged());
        }
        Ok(Self { file, path: path.into(), head, count, whole, names })
    }

    /// Reads it to its last byte.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn check(&self) -> Result<(), KeyFileError> {
        let read_failed = |source| FileError::Read { path: self.path.clone(), source };
        let end = (HEADER_BYTES as u64) + self.count * ENTRY_BYTES as u64;
        let mut checksum = [0; CHECKSUM_BYTES];
        self.file.read_exact_at(&mut checksum, end).map_err(read_failed)?;
        let rising = self.entries().try_fold(None, |previous: Option<Digest>, entry| {
            let (id, _) = entry?;
            Ok::<_, KeyFileError>(match previous {
                Some(previous) if previous >= id => return Err(KeyFileError::Order { id }),
                _ => Some(id),
            })
        });
        let sum = hash_of(At { file: &self.file, at: 0, end }).map_err(read_failed)?;
        match rising {
            Ok(_) if sum == Digest(checksum) => Ok(()),
            Err(KeyFileError::File(error)) => Err(error.into()),
            _ => Err(KeyFileError::Damaged { path: self.path.clone() }),
        }
    }

    /// What it says of itself.
    #[must_use]
    pub const fn head(&self) -> KeyFileHead {
        self.head
    }

    /// How many entries it holds.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of its entries open a document.
    #[must_use]
    pub const fn whole(&self) -> u64 {
        self.whole
    }

    /// The secret of this entry; `None` when there is none (never was, or left out).
    ///
    /// # Errors
    /// When the file cannot be read, or the entry does not open.
    pub fn find(&self, id: Digest, key: &StorageKey) -> Result<Option<Zeroizing<Vec<u8>>>, KeyFileError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, wrapped) = self.entry(middle)?;
            match found.cmp(&id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return unwrapped(key, id, &wrapped).map(Some),
            }
        }
        Ok(None)
    }

    /// The secret from which lists of the index have their names.
    ///
    /// # Errors
    /// When it does not open.
    pub fn names(&self, key: &StorageKey) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        key.unwrap(&self.names, NAMES_CONTEXT).map_err(|source| KeyFileError::Names { path: self.path.clone(), source })
    }

    /// All entries in rising order of their ids, still wrapped.
    pub fn entries(&self) -> impl Iterator<Item = Result<(Digest, WrappedSecret), KeyFileError>> + '_ {
        let from = HEADER_BYTES as u64;
        let at = At { file: &self.file, at: from, end: from + self.count * ENTRY_BYTES as u64 };
        let mut reader = BufReader::with_capacity(256 * 1024, at);
        (0..self.count).map(move |_| {
            let mut entry = [0; ENTRY_BYTES];
            reader.read_exact(&mut entry).map_err(|source| FileError::Read { path: self.path.clone(), source })?;
            Ok(split_entry(&entry))
        })
    }

    fn entry(&self, position: u64) -> Result<(Digest, WrappedSecret), KeyFileError> {
        let mut entry = [0; ENTRY_BYTES];
        self.file
            .read_exact_at(&mut entry, HEADER_BYTES as u64 + position * ENTRY_BYTES as u64)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        Ok(split_entry(&entry))
    }
}

/// The secret of an entry of a key file.
///
/// # Errors
/// When it does not open with this key.
pub fn unwrapped(key: &StorageKey, id: Digest, wrapped: &WrappedSecret) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let secret = key
        .unwrap(wrapped, id.as_bytes())
        .and_then(|secret| if secret.len() == SECRET_BYTES { Ok(secret) } else { Err(WrapError::Failed) });
    secret.map_err(|source| KeyFileError::Entry { id, source })
}

/// Reads a file from a place of its own, whatever others do with the handle.
struct At<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let got = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

fn hash_of(mut from: impl Read) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; 256 * 1024]);
    loop {
        let count = from.read(&mut buffer)?;
        match buffer.get(..count) {
            Some(read @ [_, ..]) => hasher.update(read),
            _ => return Ok(hasher.finish()),
        }
    }
}

/// Writes a key file beside its target and links it into place when whole.
pub struct KeyFileWriter<'k> {
    target: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    key: &'k StorageKey,
    header: Header,
    previous: Option<Digest>,
}

impl<'k> KeyFileWriter<'k> {
    /// A key file of this key's epoch; `names` is the secret from which lists of the index have their names.
    ///
    /// # Errors
    /// When the target exists, or beside it nothing can be written.
    pub fn create(
        target: &Path,
        key: &'k StorageKey,
        (made, position): (Timestamp, u64),
        names: &[u8; NAMES_BYTES],
    ) -> Result<Self, KeyFileError> {
        if target.exists() {
            return Err(FileError::Exists { path: target.into() }.into());
        }
        let wrapped = key.wrap(names, NAMES_CONTEXT).and_then(|names| names.try_into().map_err(|_| WrapError::Failed));
        let names = wrapped.map_err(|source| KeyFileError::Names { path: target.into(), source })?;
        let temporary = files::temporary_beside(target);
        let file =
            files::create_secret(&temporary).map_err(|source| FileError::Write { path: target.into(), source })?;
        let head = KeyFileHead { epoch: key.epoch(), made, position };
        let mut writer = Self {
            target: target.into(),
            temporary,
            out: BufWriter::with_capacity(256 * 1024, file),
            key,
            header: Header { head, count: 0, whole: 0, names },
            previous: None,
        };
        writer.write(&[0; HEADER_BYTES])?;
        Ok(writer)
    }

    /// The next entry; `whole`: it opens a document.
    ///
    /// # Errors
    /// When ids do not rise, or it cannot be wrapped or written.
    pub fn push(&mut self, id: Digest, secret: &[u8; SECRET_BYTES], whole: bool) -> Result<(), KeyFileError> {
        if self.previous.is_some_and(|previous| previous >= id) {
            return Err(KeyFileError::Order { id });
        }
        self.previous = Some(id);
        self.header.count += 1;
        self.header.whole += u64::from(whole);
        let wrapped = self.key.wrap(secret, id.as_bytes()).map_err(|source| KeyFileError::Entry { id, source })?;
        self.write(id.as_bytes())?;
        self.write(&wrapped)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), KeyFileError> {
        self.out.write_all(bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> KeyFileError {
        FileError::Write { path: self.target.clone(), source }.into()
    }

    /// The counts are known only now: header, then the checksum over what really lies there, then into place. On return
    /// the file is on the device whole; before, the target does not exist.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<KeyFile, KeyFileError> {
        self.out.flush().map_err(|source| self.failed(source))?;
        self.seal().map_err(|source| self.failed(source))?;
        // link, unlike rename, fails where the target exists.
        fs::hard_link(&self.temporary, &self.target).map_err(|source| self.failed(source))?;
        fs::remove_file(&self.temporary).map_err(|source| self.failed(source))?;
        files::sync_directory_of(&self.target).map_err(|source| self.failed(source))?;
        KeyFile::open(&self.target)
    }

    fn seal(&self) -> io::Result<()> {
        let out = self.out.get_ref();
        out.write_all_at(&self.header.encode(), 0)?;
        let end = out.metadata()?.len();
        let sum = hash_of(File::open(&self.temporary)?)?;
        out.write_all_at(sum.as_bytes(), end)?;
        out.sync_all()
    }
}

impl std::fmt::Debug for KeyFileWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFileWriter({})", self.target.display())
    }
}

struct Header {
    head: KeyFileHead,
    count: u64,
    whole: u64,
    names: [u8; WRAPPED_NAMES_BYTES],
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let made = self.head.made.unix_ms().to_be_bytes();
        let numbers = [made, self.head.position.to_be_bytes(), self.count.to_be_bytes(), self.whole.to_be_bytes()];
        [MAGIC, self.head.epoch.to_be_bytes().as_slice(), numbers.concat().as_slice(), &self.names].concat()
    }

    fn parse(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (epoch, rest) = header.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (made, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (whole, names) = rest.split_first_chunk()?;
        let made = Timestamp::from_unix_ms(i64::from_be_bytes(*made));
        let head = KeyFileHead { epoch: u32::from_be_bytes(*epoch), made, position: u64::from_be_bytes(*position) };
        let (count, whole) = (u64::from_be_bytes(*count), u64::from_be_bytes(*whole));
        Some(Self { head, count, whole, names: names.try_into().ok()? })
    }
}

fn split_entry(entry: &[u8; ENTRY_BYTES]) -> (Digest, WrappedSecret) {
    let (id, wrapped) = entry.split_first_chunk::<ID_BYTES>().expect("an entry begins with its id");
    (Digest(*id), wrapped.try_into().expect("an entry is an id and a wrapped secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (Timestamp, u64) {
        (Timestamp::from_unix_s(1_790_000_000), 77)
    }

    fn write(path: &Path, key: &StorageKey, entries: &[u8]) -> Result<KeyFile, KeyFileError> {
        let mut writer = KeyFileWriter::create(path, key, made(), &[9; 32])?;
        for n in entries {
            writer.push(Digest([*n; 32]), &[*n; SECRET_BYTES], n % 2 == 0)?;
        }
        writer.finish()
    }

    #[test]
    fn what_was_written_is_found_and_opens_with_its_key_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let key = StorageKey::generate(2).unwrap();
        let all: Vec<u8> = (0..200).filter(|n| *n != 42).collect();
        write(&path, &key, &all).unwrap();
        let file = KeyFile::open(&path).unwrap();
        file.check().unwrap();
        assert_eq!(file.head(), KeyFileHead { epoch: 2, made: made().0, position: 77 });
        assert_eq!((file.len(), file.whole()), (199, 99));
        assert_eq!(&**file.names(&key).unwrap(), [9; 32]);
        for n in 0..=255 {
            let found = file.find(Digest([n; 32]), &key).unwrap().map(|secret| secret[0]);
            assert_eq!(found, all.contains(&n).then_some(n));
        }
        let ids: Vec<Digest> = file.entries().map(|entry| entry.unwrap().0).collect();
        assert!(ids.len() == 199 && ids.is_sorted());
        let other = StorageKey::generate(2).unwrap();
        assert!(matches!(file.find(Digest([7; 32]), &other), Err(KeyFileError::Entry { .. })));
        assert!(matches!(file.names(&other), Err(KeyFileError::Names { .. })));
    }

    #[test]
    fn an_entry_in_anothers_place_does_not_open() {
        let key = StorageKey::generate(1).unwrap();
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        let wrapped = key.wrap(&[1; SECRET_BYTES], one.as_bytes()).unwrap().try_into().unwrap();
        assert!(unwrapped(&key, one, &wrapped).is_ok());
        assert!(unwrapped(&key, two, &wrapped).is_err());
    }

    #[test]
    fn damage_anywhere_and_truncation_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let key = StorageKey::generate(2).unwrap();
        write(&path, &key, &[0, 1, 2]).unwrap();
        let bytes = fs::read(&path).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            fs::write(&path, &changed).unwrap();
            let seen = KeyFile::open(&path).and_then(|file| file.check());
            assert!(matches!(seen, Err(KeyFileError::Damaged { .. })), "byte {position}");
            fs::write(&path, &bytes[..position]).unwrap();
            assert!(KeyFile::open(&path).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn what_is_not_finished_leaves_no_target_and_an_existing_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let key = StorageKey::generate(2).unwrap();
        for unordered in [[2, 1], [1, 1]] {
            assert!(matches!(write(&path, &key, &unordered), Err(KeyFileError::Order { .. })));
            assert!(!path.exists());
        }
        fs::write(&path, b"precious").unwrap();
        assert!(write(&path, &key, &[1]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
