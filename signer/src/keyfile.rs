//! The key file: what survives a change of storage-key epoch (see the module `storage`).
//!
//! File keys of documents lie wrapped in journal records. When the epoch changes, the surviving ones are wrapped again
//! into one file, sorted by id; an entry left out is destroyed with the old epoch's key. Entries are of one size and
//! looked up by binary search on the disk, so a file of ten million costs no memory.
//!
//! Form: magic 8 bytes ‖ epoch u32 BE ‖ count u64 BE ‖ count × (id 32 ‖ wrapped key) ‖ SHA-256 of all before.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    iter::Peekable,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use truc_proto::{Digest, Hasher};

use crate::{
    files::{self, FileError},
    storage::{StorageKey, WRAP_OVERHEAD_BYTES, WrapError},
};

const MAGIC: &[u8; 8] = b"TRUCKEY1";
const HEADER_BYTES: usize = 8 + 4 + 8;
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 32;
const WRAPPED_BYTES: usize = SECRET_BYTES + WRAP_OVERHEAD_BYTES;
const ENTRY_BYTES: usize = ID_BYTES + WRAPPED_BYTES;

/// A wrapped 32-byte key, as it lies in a key file or a journal record.
pub type WrappedKey = [u8; WRAPPED_BYTES];

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
    /// An entry does not open under the old key.
    #[error("the key of {id} does not open under the old storage key; nothing was changed")]
    Entry {
        /// The entry.
        id: Digest,
        /// What is wrong with it.
        source: WrapError,
    },
}

/// An open key file, checked whole when opened.
#[derive(Debug)]
pub struct KeyFile {
    file: File,
    path: PathBuf,
    epoch: u32,
    count: u64,
}

impl KeyFile {
    /// Opens a key file and checks it to its last byte.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let read_failed = |source| FileError::Read { path: path.into(), source };
        let damaged = || KeyFileError::Damaged { path: path.into() };
        let file = File::open(path).map_err(read_failed)?;
        let length = file.metadata().map_err(read_failed)?.len();
        let mut reader = BufReader::new(&file);
        let mut header = [0; HEADER_BYTES];
        let mut take = |buffer: &mut [u8]| match reader.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
            other => other.map_err(|source| read_failed(source).into()),
        };
        take(&mut header)?;
        let (epoch, count) = parse_header(&header).ok_or_else(damaged)?;
        let expected = count.checked_mul(ENTRY_BYTES as u64).and_then(|n| n.checked_add((HEADER_BYTES + 32) as u64));
        if expected != Some(length) {
            return Err(damaged());
        }
        let mut hasher = Hasher::default();
        hasher.update(&header);
        let mut entry = [0; ENTRY_BYTES];
        let mut previous: Option<[u8; ID_BYTES]> = None;
        for _ in 0..count {
            take(&mut entry)?;
            hasher.update(&entry);
            let (id, _) = split_entry(&entry);
            if previous.is_some_and(|previous| previous >= id) {
                return Err(damaged());
            }
            previous = Some(id);
        }
        let mut checksum = [0; 32];
        take(&mut checksum)?;
        if hasher.finish() != Digest(checksum) {
            return Err(damaged());
        }
        Ok(Self { file, path: path.into(), epoch, count })
    }

    /// The epoch of the storage key its entries are wrapped under.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
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

    /// The wrapped key of this entry; `None` when there is none (never was, or erased).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find(&self, id: Digest) -> Result<Option<WrappedKey>, KeyFileError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, wrapped) = self.entry(middle)?;
            match found.cmp(&id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(wrapped)),
            }
        }
        Ok(None)
    }

    /// All entries in rising order of their ids.
    pub fn entries(&self) -> impl Iterator<Item = Result<(Digest, WrappedKey), KeyFileError>> + '_ {
        (0..self.count).map(|position| self.entry(position))
    }

    fn entry(&self, position: u64) -> Result<(Digest, WrappedKey), KeyFileError> {
        let mut entry = [0; ENTRY_BYTES];
        self.file
            .read_exact_at(&mut entry, HEADER_BYTES as u64 + position * ENTRY_BYTES as u64)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        let (id, wrapped) = split_entry(&entry);
        Ok((Digest(id), wrapped))
    }
}

/// One storage key replaced by another.
#[derive(Debug, Clone, Copy)]
pub struct EpochChange<'a> {
    /// The key the entries are wrapped under now.
    pub old: &'a StorageKey,
    /// The key they will be wrapped under.
    pub new: &'a StorageKey,
}

/// Writes the key file of a new epoch: the entries of the old file and those added since (rising ids), each wrapped
/// again under the new key if `keep` says so. The id is the wrapping context. On return the file is on the device whole;
/// on error the target does not exist. Destroying the old key afterwards destroys what was not kept.
///
/// # Errors
/// When a file cannot be read or written, the target exists, or an entry does not open under the old key.
pub fn rewrap(
    target: &Path,
    change: EpochChange<'_>,
    old_file: Option<&KeyFile>,
    added: impl IntoIterator<Item = (Digest, WrappedKey)>,
    mut keep: impl FnMut(Digest) -> bool,
) -> Result<KeyFile, KeyFileError> {
    let mut writer = Writer::create(target, change.new.epoch())?;
    let old_entries: Box<dyn Iterator<Item = _>> = match old_file {
        Some(file) => Box::new(file.entries()),
        None => Box::new(std::iter::empty()),
    };
    for entry in merged(old_entries.peekable(), added.into_iter().peekable()) {
        let (id, wrapped) = entry?;
        if keep(id) {
            let again = rewrap_one(change, id, &wrapped).map_err(|source| KeyFileError::Entry { id, source })?;
            writer.push(id, &again)?;
        }
    }
    writer.finish()?;
    KeyFile::open(target)
}

fn rewrap_one(change: EpochChange<'_>, id: Digest, wrapped: &WrappedKey) -> Result<WrappedKey, WrapError> {
    let secret = change.old.unwrap(wrapped, id.as_bytes())?;
    change.new.wrap(&secret, id.as_bytes())?.try_into().map_err(|_| WrapError::Failed)
}

/// Two rising sequences as one. Where both name an id the added one wins: it is the younger.
fn merged<E>(
    mut old: Peekable<impl Iterator<Item = Result<(Digest, WrappedKey), E>>>,
    mut added: Peekable<impl Iterator<Item = (Digest, WrappedKey)>>,
) -> impl Iterator<Item = Result<(Digest, WrappedKey), E>> {
    std::iter::from_fn(move || {
        let (old_id, added_id) = match (old.peek(), added.peek()) {
            (Some(Ok((old_id, _))), Some((added_id, _))) => (*old_id, *added_id),
            (Some(_), _) => return old.next(),
            (None, _) => return added.next().map(Ok),
        };
        if old_id == added_id {
            old.next();
        }
        if old_id < added_id { old.next() } else { added.next().map(Ok) }
    })
}

/// Writes beside the target and links it into place when whole.
struct Writer {
    target: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    epoch: u32,
    count: u64,
    previous: Option<Digest>,
}

impl Writer {
    fn create(target: &Path, epoch: u32) -> Result<Self, KeyFileError> {
        if target.exists() {
            return Err(FileError::Exists { path: target.into() }.into());
        }
        let temporary = files::temporary_beside(target);
        let file =
            files::create_secret(&temporary).map_err(|source| FileError::Write { path: target.into(), source })?;
        let mut writer =
            Self { target: target.into(), temporary, out: BufWriter::new(file), epoch, count: 0, previous: None };
        writer.write(&[0; HEADER_BYTES])?;
        Ok(writer)
    }

    fn push(&mut self, id: Digest, wrapped: &WrappedKey) -> Result<(), KeyFileError> {
        if self.previous.is_some_and(|previous| previous >= id) {
            return Err(KeyFileError::Order { id });
        }
        self.previous = Some(id);
        self.count += 1;
        self.write(id.as_bytes())?;
        self.write(wrapped)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), KeyFileError> {
        self.out.write_all(bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> KeyFileError {
        FileError::Write { path: self.target.clone(), source }.into()
    }

    /// The count is known only now: header, then the checksum over what really lies there, then into place.
    fn finish(mut self) -> Result<(), KeyFileError> {
        self.out.flush().map_err(|source| self.failed(source))?;
        self.seal().map_err(|source| self.failed(source))?;
        // link, unlike rename, fails where the target exists.
        fs::hard_link(&self.temporary, &self.target).map_err(|source| self.failed(source))?;
        fs::remove_file(&self.temporary).map_err(|source| self.failed(source))?;
        files::sync_directory_of(&self.target).map_err(|source| self.failed(source))
    }

    fn seal(&self) -> io::Result<()> {
        let header = header(self.epoch, self.count);
        self.out.get_ref().write_all_at(&header, 0)?;
        let mut written = BufReader::new(File::open(&self.temporary)?);
        let mut hasher = Hasher::default();
        let mut buffer = [0; 64 * 1024];
        loop {
            let count = written.read(&mut buffer)?;
            let Some(read @ [_, ..]) = buffer.get(..count) else { break };
            hasher.update(read);
        }
        let end = self.out.get_ref().metadata()?.len();
        self.out.get_ref().write_all_at(hasher.finish().as_bytes(), end)?;
        self.out.get_ref().sync_all()
    }
}

fn header(epoch: u32, count: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    for (to, from) in header.iter_mut().zip(MAGIC.iter().copied().chain(epoch.to_be_bytes()).chain(count.to_be_bytes()))
    {
        *to = from;
    }
    header
}

fn parse_header(header: &[u8; HEADER_BYTES]) -> Option<(u32, u64)> {
    let rest = header.strip_prefix(MAGIC)?;
    let (epoch, count) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*epoch), u64::from_be_bytes(count.try_into().ok()?)))
}

fn split_entry(entry: &[u8; ENTRY_BYTES]) -> ([u8; ID_BYTES], WrappedKey) {
    let (id, wrapped) = entry.split_first_chunk::<ID_BYTES>().expect("an entry begins with its id");
    (*id, wrapped.try_into().expect("an entry is an id and a wrapped key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(key: &StorageKey, n: u8) -> (Digest, WrappedKey) {
        let id = Digest([n; 32]);
        (id, key.wrap(&[n; 32], id.as_bytes()).unwrap().try_into().unwrap())
    }

    fn secret_of(file: &KeyFile, key: &StorageKey, n: u8) -> Option<u8> {
        let id = Digest([n; 32]);
        let wrapped = file.find(id).unwrap()?;
        Some(key.unwrap(&wrapped, id.as_bytes()).unwrap()[0])
    }

    #[test]
    fn kept_keys_open_under_the_new_epoch_and_others_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let keys: Vec<StorageKey> = (1..=3).map(|epoch| StorageKey::generate(epoch).unwrap()).collect();
        let path = |epoch: u32| directory.path().join(format!("keys.{epoch}"));

        let change = EpochChange { old: &keys[0], new: &keys[1] };
        let second =
            rewrap(&path(2), change, None, (0..100).map(|n| wrapped(&keys[0], n)), |id| id.0[0] != 42).unwrap();
        assert_eq!((second.epoch(), second.len()), (2, 99));
        assert_eq!(secret_of(&second, &keys[1], 7), Some(7));
        assert_eq!(secret_of(&second, &keys[1], 42), None);

        let change = EpochChange { old: &keys[1], new: &keys[2] };
        let added = [50, 150, 200].map(|n| wrapped(&keys[1], n));
        let third = rewrap(&path(3), change, Some(&second), added, |id| id.0[0] != 7).unwrap();
        assert_eq!(third.len(), 100);
        assert_eq!(secret_of(&third, &keys[2], 7), None);
        assert_eq!([0, 50, 99, 150, 200].map(|n| secret_of(&third, &keys[2], n)), [0, 50, 99, 150, 200].map(Some));
        let rising: Vec<Digest> = third.entries().map(|entry| entry.unwrap().0).collect();
        assert!(rising.is_sorted());
    }

    #[test]
    fn damage_anywhere_and_truncation_are_noticed_at_opening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let (old, new) = (StorageKey::generate(1).unwrap(), StorageKey::generate(2).unwrap());
        rewrap(&path, EpochChange { old: &old, new: &new }, None, (0..3).map(|n| wrapped(&old, n)), |_| true).unwrap();
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(matches!(KeyFile::open(&path), Err(KeyFileError::Damaged { .. })), "byte {position}");
            fs::write(&path, &whole[..position]).unwrap();
            assert!(KeyFile::open(&path).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_failed_rewrap_leaves_no_target_and_an_existing_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let (old, new) = (StorageKey::generate(1).unwrap(), StorageKey::generate(2).unwrap());
        let change = EpochChange { old: &old, new: &new };
        let foreign = StorageKey::generate(1).unwrap();
        let result = rewrap(&path, change, None, [wrapped(&foreign, 1)], |_| true);
        assert!(matches!(result, Err(KeyFileError::Entry { .. })));
        assert!(!path.exists());
        let unordered = [wrapped(&old, 2), wrapped(&old, 1)];
        assert!(matches!(rewrap(&path, change, None, unordered, |_| true), Err(KeyFileError::Order { .. })));
        assert!(!path.exists());
        fs::write(&path, b"precious").unwrap();
        assert!(rewrap(&path, change, None, [wrapped(&old, 1)], |_| true).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
