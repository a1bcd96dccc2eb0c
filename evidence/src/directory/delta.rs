//! From one version to the next by what changed: a day's changes are a few entries, a national directory is hundreds of megabytes.
//!
//! Nothing here is believed. What a delta makes of the version held is verified like any version that came whole.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use truc_proto::{Entry, Raw, limits::DIRECTORY_DELTA_BYTES_MAX};

use super::{Directory, DirectoryFileError, DirectoryWriter};

/// What changed: new and other entries, and keys that are gone.
#[derive(Clone, Default, Debug)]
pub struct DirectoryDelta {
    changed: BTreeMap<String, Bytes>,
    removed: HashSet<String>,
    bytes: usize,
}

impl DirectoryDelta {
    /// Takes an entry that is new or other than before.
    ///
    /// # Errors
    /// When it is no entry, or there is more than a delta may have.
    pub fn change(&mut self, entry: Bytes) -> Result<(), DirectoryFileError> {
        self.grow(entry.len())?;
        let key = Raw::<Entry>::parse(entry.clone()).map_err(|_| malformed("a changed entry is none"))?.key();
        self.changed.insert(key, entry);
        Ok(())
    }

    /// Takes the key of an entry that is gone.
    ///
    /// # Errors
    /// When there is more than a delta may have.
    pub fn remove(&mut self, key: String) -> Result<(), DirectoryFileError> {
        self.grow(key.len())?;
        self.removed.insert(key);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), DirectoryFileError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > DIRECTORY_DELTA_BYTES_MAX {
            Err(malformed("there is more than a delta may have"))
        } else {
            Ok(())
        }
    }
}

const fn malformed(why: &'static str) -> DirectoryFileError {
    DirectoryFileError::Malformed { path: String::new(), why }
}

impl Directory {
    /// Writes the entries of the version that `delta` makes of this one, in order.
    ///
    /// # Errors
    /// As the disk says.
    pub fn write_changed(
        &self,
        delta: &DirectoryDelta,
        writer: &mut DirectoryWriter,
    ) -> Result<(), DirectoryFileError> {
        let mut changed = delta.changed.iter().peekable();
        for place in 0..self.size() {
            let key = self.key_at(place);
            while let Some((_, entry)) = changed.next_if(|(new, _)| **new < key) {
                writer.entry(entry)?;
            }
            if let Some((_, entry)) = changed.next_if(|(new, _)| **new == key) {
                writer.entry(entry)?;
            } else if !delta.removed.contains(&key) {
                writer.entry(&self.read_at(place)?)?;
            }
        }
        changed.try_for_each(|(_, entry)| writer.entry(entry))
    }

    /// Keys of the entries that are new, other or gone since `previous`, sorted.
    #[must_use]
    pub fn keys_changed_since(&self, previous: &Self) -> Vec<String> {
        let (mut old, mut new, mut changed) = (0, 0, Vec::new());
        while old < previous.size() || new < self.size() {
            let was = (old < previous.size()).then(|| previous.key_at(old));
            let is = (new < self.size()).then(|| self.key_at(new));
            match (was, is) {
                (Some(was), Some(is)) if was == is => {
                    if previous.leaf_at(old) != self.leaf_at(new) {
                        changed.push(is);
                    }
                    old += 1;
                    new += 1;
                }
                (Some(was), Some(is)) if is < was => {
                    changed.push(is);
                    new += 1;
                }
                (Some(was), _) => {
                    changed.push(was);
                    old += 1;
                }
                (None, is) => {
                    changed.extend(is);
                    new += 1;
                }
            }
        }
        changed
    }
}
