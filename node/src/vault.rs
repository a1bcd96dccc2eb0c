//! The storage key in force, and the key file: what documents' secrets that earlier epochs had wrapped became.

use std::path::PathBuf;

use truc_proto::Digest;
use truc_signer::{KeyFile, KeyFileError, StorageKey, StorageKeyError};
use zeroize::Zeroizing;

use crate::{
    settings::Settings,
    storage_key,
    words::{NAMES, WordKey},
};

/// What opens documents that were received or sent here.
#[derive(Debug)]
pub struct Vault {
    key: StorageKey,
    carried: Option<KeyFile>,
}

/// Why documents cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The storage key.
    #[error("load the storage key")]
    Key(#[from] StorageKeyError),
    /// The key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It is gone.
    #[error(
        "the storage key is of epoch {epoch}, and {} is missing: restore both from one backup, without that file no document of before that epoch can be opened",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The key's epoch.
        epoch: u32,
    },
    /// One of both is of another backup.
    #[error(
        "the storage key is of epoch {held}, and {} of epoch {found}: restore both from one backup",
        path.display()
    )]
    Epochs {
        /// The key file.
        path: PathBuf,
        /// Its epoch.
        found: u32,
        /// The key's.
        held: u32,
    },
    /// A rotation was cut off after this process had looked for one.
    #[error("a rotation of the storage key was interrupted: start again, it is finished then")]
    Unfinished,
}

impl Vault {
    /// As settings say where.
    ///
    /// # Errors
    /// When key or key file cannot be read, or are not of one epoch.
    pub fn open(settings: &Settings) -> Result<Self, VaultError> {
        if storage_key::is_unfinished(settings) {
            return Err(VaultError::Unfinished);
        }
        let key = StorageKey::load(&settings.storage_key)?;
        let path = settings.document_keys();
        let carried = if path.exists() { Some(KeyFile::open(&path)?) } else { None };
        match (&carried, key.epoch()) {
            (None, 0 | 1) => {}
            (None, epoch) => return Err(VaultError::Missing { path, epoch }),
            (Some(file), held) => {
                let found = file.head().epoch;
                if found != held {
                    return Err(VaultError::Epochs { path, found, held });
                }
            }
        }
        Ok(Self { key, carried })
    }

    /// The key of the epoch in force.
    #[must_use]
    pub const fn key(&self) -> &StorageKey {
        &self.key
    }

    /// What is left of earlier epochs; none in the first.
    #[must_use]
    pub const fn carried(&self) -> Option<&KeyFile> {
        self.carried.as_ref()
    }

    /// The key that names lists of the index: the same in all epochs, else the index had to be built again.
    ///
    /// # Errors
    /// When the key file does not open.
    pub fn words(&self) -> Result<WordKey, VaultError> {
        Ok(WordKey::named(&self.names()?))
    }

    pub(crate) fn names(&self) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        match &self.carried {
            None => Ok(Zeroizing::new(self.key.naming_secret(NAMES).to_vec())),
            Some(file) => file.names(&self.key),
        }
    }

    /// What was carried over into this epoch under that id.
    pub(crate) fn find(&self, id: Digest) -> Result<Option<Zeroizing<Vec<u8>>>, KeyFileError> {
        self.carried.as_ref().map_or(Ok(None), |file| file.find(id, &self.key))
    }
}

impl From<StorageKey> for Vault {
    /// In the first epoch nothing is carried.
    fn from(key: StorageKey) -> Self {
        Self { key, carried: None }
    }
}
