//! The key with which node and relay cosign others' checkpoints. Those made before there was one have none until `bind` makes it; the directory says
//! from when on its cosignatures count.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context as _;
use truc_ledger::{LedgerKey, LedgerKeyError};

use crate::files::replace_private;

/// The key, as soon as its file is there.
#[derive(Debug)]
pub struct Witness {
    origin: String,
    path: PathBuf,
    held: RwLock<Option<Arc<LedgerKey>>>,
}

impl Witness {
    /// The key in this file, under the name of this ledger.
    ///
    /// # Errors
    /// When the file is there and is no such key.
    pub fn open(origin: &str, path: &Path) -> Result<Self, LedgerKeyError> {
        let witness = Self { origin: origin.to_owned(), path: path.to_owned(), held: RwLock::default() };
        witness.look()?;
        Ok(witness)
    }

    /// The key; none: this process cosigns nothing.
    #[must_use]
    pub fn key(&self) -> Option<Arc<LedgerKey>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for the file where there was none before. Blocks.
    ///
    /// # Errors
    /// When the file is there and is no such key.
    pub fn look(&self) -> Result<(), LedgerKeyError> {
        if self.key().is_some() || !self.path.exists() {
            return Ok(());
        }
        let key = LedgerKey::from_file(&self.origin, &self.path)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
        Ok(())
    }

    /// Makes the key in this file if there is none, and says whether it did. One that is there is never replaced.
    ///
    /// # Errors
    /// When it cannot be made, written or read.
    pub(crate) fn make(origin: &str, path: &Path) -> anyhow::Result<bool> {
        let missing = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            found => found.map(|_| false).with_context(|| format!("look for {}", path.display()))?,
        };
        if missing {
            let pkcs8 = LedgerKey::generate_pkcs8().context("make the witness key")?;
            replace_private(path, &pkcs8).with_context(|| format!("write {}", path.display()))?;
        }
        LedgerKey::from_file(origin, path).context("load the witness key")?;
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_seen_by_who_began_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let (origin, path) = ("truc/vn-test/ordinary/R1/1", folder.path().join("witness.key"));
        let witness = Witness::open(origin, &path).unwrap();
        witness.look().unwrap();
        assert!(witness.key().is_none());
        assert!(Witness::make(origin, &path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        witness.look().unwrap();
        let made = fs::read(&path).unwrap();
        assert_eq!(witness.key().unwrap().public(), LedgerKey::from_file(origin, &path).unwrap().public());
        assert!(!Witness::make(origin, &path).unwrap() && fs::read(&path).unwrap() == made, "one that is there stays");
        fs::write(&path, b"no key").unwrap();
        assert!(Witness::open(origin, &path).is_err() && Witness::make(origin, &path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"no key");
    }
}
