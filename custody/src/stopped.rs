//! Keys that an administrator declared stolen or lost: from then on nothing is signed with them and no connection is made with them, whoever had loaded
//! them before. What was sealed to one is still opened.
//!
//! A declaration is a file in the folder `keys`, `SHA256.stopped`: it outlives the process, goes with a backup, and ends with the key.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use serde::{Deserialize, Serialize};
use truc_proto::{Digest, Timestamp, limits::SETTINGS_BYTES_MAX};
use truc_signer::{Certificate, SignError, SignatureScheme, SigningKey};

use crate::files::replace_private;

/// Ending of a declaration's file.
const STOPPED: &str = "stopped";

/// What was declared of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Declared {
    /// From when on nothing counts that is made with it.
    pub since: Timestamp,
    /// It may prove wrong: the operator is asked to suspend the certificate, not to revoke it.
    pub suspected: bool,
}

/// What was declared, by the SHA-256 of the certificate. One for the life of a node, however often its keys are read again.
#[derive(Default)]
pub struct Stopped(RwLock<BTreeMap<Digest, Declared>>);

impl Stopped {
    /// What lies in a folder of keys.
    ///
    /// # Errors
    /// When a declaration cannot be read: its key would sign.
    pub fn load(keys: &Path) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        let files = match fs::read_dir(keys) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        for file in files {
            let path = file?.path();
            let Some((stem, ending)) = path.file_name().and_then(|name| name.to_str()?.split_once('.')) else {
                continue;
            };
            let (STOPPED, Ok(certificate)) = (ending, stem.parse::<Digest>()) else { continue };
            let unusable = |why: String| io::Error::other(format!("{}: {why}", path.display()));
            if fs::metadata(&path)?.len() > SETTINGS_BYTES_MAX {
                return Err(unusable("too long".into()));
            }
            let declared = toml::from_str(&fs::read_to_string(&path)?).map_err(|error| unusable(error.to_string()))?;
            found.insert(certificate, declared);
        }
        Ok(Self(RwLock::new(found)))
    }

    /// What was declared of a certificate's key.
    #[must_use]
    pub fn declared(&self, certificate: &Digest) -> Option<Declared> {
        self.read().get(certificate).cloned()
    }

    /// Whether a certificate's key was declared stolen or lost.
    #[must_use]
    pub fn contains(&self, certificate: &Digest) -> bool {
        self.read().contains_key(certificate)
    }

    /// Declares it: on the disk first. When this ends, nothing that was being signed with it is under way any more.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing is declared.
    pub fn declare(&self, keys: &Path, certificate: Digest, declared: Declared) -> io::Result<()> {
        let text = toml::to_string(&declared).map_err(io::Error::other)?;
        fs::create_dir_all(keys)?;
        replace_private(&file(keys, &certificate), text.as_bytes())?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(certificate, declared);
        Ok(())
    }

    /// Takes a declaration back, or forgets that of a key that is gone.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&self, keys: &Path, certificate: &Digest) -> io::Result<()> {
        match fs::remove_file(file(keys, certificate)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(certificate);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Digest, Declared>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(keys: &Path, certificate: &Digest) -> PathBuf {
    keys.join(format!("{certificate}.{STOPPED}"))
}

impl PartialEq for Stopped {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || *self.read() == *other.read()
    }
}

impl Eq for Stopped {}

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.read().keys()).finish()
    }
}

/// A key that signs until it is declared stolen or lost; from then on it is away.
pub struct Guarded {
    key: Box<dyn SigningKey>,
    certificate: Digest,
    stopped: Arc<Stopped>,
}

impl Guarded {
    /// A key, which signs until its certificate is declared in `stopped`.
    #[must_use]
    pub fn new(key: Box<dyn SigningKey>, stopped: &Arc<Stopped>) -> Self {
        Self { certificate: key.certificate().sha256(), key, stopped: Arc::clone(stopped) }
    }
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guarded({})", self.certificate)
    }
}

impl SigningKey for Guarded {
    fn certificate(&self) -> &Certificate {
        self.key.certificate()
    }

    fn chain(&self) -> &[Certificate] {
        self.key.chain()
    }

    fn scheme(&self) -> SignatureScheme {
        self.key.scheme()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // Held while it signs: who declares it waits for that, and what comes later finds it declared.
        let stopped = self.stopped.read();
        if stopped.contains_key(&self.certificate) {
            let subject = self.certificate().subject().to_owned();
            let detail =
                "it was declared stolen or lost; `truc cert status` says how another one comes into use".into();
            return Err(SignError::Away { subject, detail });
        }
        self.key.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use truc_certs_dev::{KeyKind, Pki, Profile, Subject};
    use truc_signer::SoftKey;

    use super::*;

    #[test]
    fn a_declared_key_signs_nothing_more_whoever_holds_it_and_after_a_restart() {
        let keys = tempfile::tempdir().unwrap();
        let pki = Pki::new(KeyKind::P256, truc_certs_dev::now()).unwrap();
        let issued = pki.issue(Profile::Service, Subject::new("Dịch vụ")).unwrap();
        let soft = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
        let certificate = issued.fingerprint();
        let stopped = Arc::new(Stopped::load(keys.path()).unwrap());
        let held = Guarded::new(Box::new(soft), &stopped);
        held.sign(b"before").unwrap();

        let declared = Declared { since: Timestamp::from_unix_s(5), suspected: true };
        stopped.declare(keys.path(), certificate, declared.clone()).unwrap();
        assert!(matches!(held.sign(b"after"), Err(SignError::Away { detail, .. }) if detail.contains("declared")));
        let again = Stopped::load(keys.path()).unwrap();
        assert_eq!((again.declared(&certificate), &again), (Some(declared), stopped.as_ref()));

        stopped.forget(keys.path(), &certificate).unwrap();
        stopped.forget(keys.path(), &certificate).unwrap();
        held.sign(b"it was a mistake").unwrap();
        assert!(!Stopped::load(keys.path()).unwrap().contains(&certificate));
    }

    #[test]
    fn a_declaration_that_cannot_be_read_is_an_error_and_other_files_are_left_alone() {
        let keys = tempfile::tempdir().unwrap();
        assert_eq!(Stopped::load(&keys.path().join("none")).unwrap(), Stopped::default());
        fs::write(keys.path().join("notes.stopped"), "mine").unwrap();
        assert_eq!(Stopped::load(keys.path()).unwrap(), Stopped::default());
        fs::write(file(keys.path(), &Digest::of(b"certificate")), "torn").unwrap();
        assert!(Stopped::load(keys.path()).is_err());
    }
}
