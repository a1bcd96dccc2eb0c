//! A version on the disk, of which single entries are read and proven without reading and verifying all the others.
//!
//! Beside a version's copy lies `places`: each entry's key, leaf hash and where its line starts. Written from a verified version; nothing that is
//! read through it is believed by who asked, since every answer carries its proof to the signed root.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    sync::Mutex,
};

use bytes::Bytes;
use truc_ledger::merkle::MemTree;
use truc_proto::{Digest, ProvenEntry, limits::DIRECTORY_ENTRIES_MAX};

use super::{
    Directory, DirectoryFileError, DirectoryReadError,
    file::{FILE as COPY, version_head},
    store::{DiskEntries, EntryStore},
};

const FILE: &str = "places";
const HEADER: &str = "truc/directory-places/1";

/// A directory version kept in a folder of its own, with [`Directory::save_places`] beside it. Not verified: what it gives carries proofs.
pub struct VersionFile {
    statement: Bytes,
    cms: Bytes,
    keys: Vec<String>,
    tree: MemTree,
    entries: DiskEntries,
}

/// The entries on either side of the place where a key would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// None where the key would be the first.
    pub before: Option<ProvenEntry>,
    /// None where it would be the last.
    pub after: Option<ProvenEntry>,
}

impl Directory {
    /// Writes beside this version's copy in `dir` where each entry lies, for [`VersionFile::open`].
    ///
    /// # Errors
    /// As the file system says.
    pub fn save_places(&self, dir: &Path) -> Result<(), DirectoryFileError> {
        let path = dir.join(FILE);
        let temporary = dir.join(format!("{FILE}.tmp"));
        let written = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&temporary)?);
            writeln!(file, "{HEADER}")?;
            let starts = self.starts()?;
            for (place, start) in starts.iter().enumerate() {
                match self.leaf_at(place) {
                    Some(leaf) => writeln!(file, "{} {} {start}", self.key_at(place), leaf.to_base64())?,
                    // Where the last one ends.
                    None => writeln!(file, "{start}")?,
                }
            }
            file.into_inner()?.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(|source| DirectoryFileError::Io { what: "write", path: path.display().to_string(), source })
    }

    /// Where each entry's line starts in the form of a file, and where the last one ends.
    fn starts(&self) -> io::Result<Vec<u64>> {
        let entries = match &self.store {
            EntryStore::Disk(disk) => return Ok(disk.starts.clone()),
            EntryStore::Memory(entries) => entries,
        };
        let line = |part: &Bytes| u64::try_from(data_encoding::BASE64.encode_len(part.len()) + 1);
        let mut at = version_head(self.statement().bytes(), self.cms()).len() as u64;
        let mut starts = vec![at];
        for entry in entries {
            at += line(entry).map_err(io::Error::other)?;
            starts.push(at);
        }
        Ok(starts)
    }
}

impl VersionFile {
    /// Opens the version in `dir`.
    ///
    /// # Errors
    /// When the copy or its places are not there or not of their form.
    pub fn open(dir: &Path) -> Result<Self, DirectoryFileError> {
        let (path, places) = (dir.join(COPY), dir.join(FILE));
        let failed =
            |path: &Path, source| DirectoryFileError::Io { what: "read", path: path.display().to_string(), source };
        let file = File::open(&path).map_err(|source| failed(&path, source))?;
        let (statement, cms) = super::file::read_head(&file, &path)?;
        let malformed = |why| DirectoryFileError::Malformed { path: places.display().to_string(), why };
        let mut lines = BufReader::new(File::open(&places).map_err(|source| failed(&places, source))?).lines();
        let mut next = || lines.next().transpose().map_err(|source| failed(&places, source));
        if next()?.as_deref() != Some(HEADER) {
            return Err(malformed("its first line is not `truc/directory-places/1`"));
        }
        let (mut keys, mut tree, mut starts) = (Vec::new(), MemTree::default(), Vec::new());
        while let Some(line) = next()? {
            let number = |text: &str| text.parse::<u64>().map_err(|_| malformed("a place is no number"));
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some(key), Some(leaf), Some(start), None) if keys.len() < DIRECTORY_ENTRIES_MAX => {
                    tree.push_hash(Digest::from_base64(leaf).map_err(|_| malformed("a leaf is no hash"))?);
                    starts.push(number(start)?);
                    keys.push(key.to_owned());
                }
                (Some(end), None, ..) => starts.push(number(end)?),
                _ => return Err(malformed("a line is not a key, a hash and a number")),
            }
        }
        if starts.len() != keys.len() + 1 {
            return Err(malformed("it is cut"));
        }
        let entries = DiskEntries { file, path, starts, incoming: Mutex::new(None) };
        Ok(Self { statement, cms, keys, tree, entries })
    }

    /// Bytes of the root statement.
    #[must_use]
    pub const fn statement(&self) -> &Bytes {
        &self.statement
    }

    /// The operator's detached CMS over it.
    #[must_use]
    pub const fn cms(&self) -> &Bytes {
        &self.cms
    }

    /// The bytes of an entry by its key; none when there is no such entry.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read, or is not what its places say.
    pub fn read(&self, key: &str) -> Result<Option<Bytes>, DirectoryReadError> {
        self.place(key).ok().map(|place| self.entries.read(place, &self.tree)).transpose()
    }

    /// An entry with its proof to the root; or the neighbours that prove that there is none.
    ///
    /// # Errors
    /// When the copy on the disk cannot be read, or is not what its places say.
    pub fn proven(&self, key: &str) -> Result<Result<ProvenEntry, Neighbours>, DirectoryReadError> {
        let at = |place| self.proven_at(place);
        Ok(match self.place(key) {
            Ok(place) => Ok(at(place)?),
            Err(place) => Err(Neighbours {
                before: place.checked_sub(1).map(at).transpose()?,
                after: Some(place).filter(|place| *place < self.keys.len()).map(at).transpose()?,
            }),
        })
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.keys.binary_search_by(|own| own.as_str().cmp(key))
    }

    fn proven_at(&self, place: usize) -> Result<ProvenEntry, DirectoryReadError> {
        let damaged = || DirectoryReadError::Damaged { path: self.entries.path.display().to_string(), place };
        let index = u64::try_from(place).map_err(|_| damaged())?;
        let proof = self.tree.inclusion(index, self.tree.size()).ok_or_else(damaged)?;
        Ok(ProvenEntry { bytes: self.entries.read(place, &self.tree)?.to_vec(), index, proof })
    }
}

impl std::fmt::Debug for VersionFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VersionFile({}, {} entries)", self.entries.path.display(), self.keys.len())
    }
}
