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

/// What a request to be bound is called in the ledger.
pub const REQUEST: &str = "request to bind the keys of the settings";
/// The same, where a witness key was made for it.
pub const REQUEST_WITH_WITNESS: &str = "request to bind the keys of the settings, and a witness key made for it";

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

    /// The key in this file, and whether it was made now, because there was none. One that is there is never replaced.
    ///
    /// # Errors
    /// When it cannot be made, written or read.
    pub fn make(origin: &str, path: &Path) -> anyhow::Result<(LedgerKey, bool)> {
        let missing = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            found => found.map(|_| false).with_context(|| format!("look for {}", path.display()))?,
        };
        if missing {
            let pkcs8 = LedgerKey::generate_pkcs8().context("make the witness key")?;
            replace_private(path, &pkcs8).with_context(|| format!("write {}", path.display()))?;
        }
        Ok((LedgerKey::from_file(origin, path).context("load the witness key")?, missing))
    }
}

/// A request to be bound that `bind` wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The file, for the axis operator.
    pub file: PathBuf,
    /// The witness key, where it was made for this request.
    pub witness_made: Option<PathBuf>,
}

impl Asked {
    /// What was done, and what comes next, in English and in Vietnamese.
    #[must_use]
    pub fn told(&self) -> String {
        let file = self.file.display();
        let made = self.witness_made.as_ref().map(|path| {
            let path = path.display();
            format!(
                "witness key: {path} (made now; its cosignatures count from the directory version on that lists it)\n\
                 khóa chứng kiến: {path} (vừa tạo; có giá trị từ phiên bản danh bạ ghi khóa này)\n"
            )
        });
        format!(
            "{}binding: {file} (give it to the axis operator: `truc directory add`, `sign`, `publish`; nothing changes before that version)\n\
             yêu cầu gắn khóa: {file} (gửi đơn vị vận hành trục: `truc directory add`, `sign`, `publish`; trước phiên bản đó không có gì thay đổi)",
            made.unwrap_or_default()
        )
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
        let (made, new) = Witness::make(origin, &path).unwrap();
        assert!(new);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        witness.look().unwrap();
        assert_eq!(witness.key().unwrap().public(), made.public());
        let (again, new) = Witness::make(origin, &path).unwrap();
        assert!(!new && again.public() == made.public(), "one that is there stays");
        fs::write(&path, b"no key").unwrap();
        assert!(Witness::open(origin, &path).is_err() && Witness::make(origin, &path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"no key");
    }
}
