//! The node's storage key: wraps the file keys of opened documents, so that plaintext keys never reach the disk.
//!
//! A storage key has an epoch. Erasing means: a new epoch whose [`crate::keyfile`] leaves the erased entry out, then the
//! old epoch's key destroyed. At start the key comes from a file only its owner can read (a service credential), or is
//! unwrapped from a key envelope by a decryption key, which may live in a token.

use std::{fmt, path::Path};

use data_encoding::BASE64;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use truc_proto::limits::{STORAGE_KEY_FILE_BYTES_MAX, WRAPPED_SECRET_BYTES_MAX};
use zeroize::Zeroizing;

use crate::{
    certificate::Certificate,
    files::{self, FileError},
    keyenvelope::{OpenError, SealError, SealingAlgorithm, open_key, seal_key},
    keys::OpeningKey,
};

/// First byte of a wrapped secret: AES-256-GCM, random nonce.
const WRAP_VERSION: u8 = 1;
/// Version, epoch, nonce.
const WRAP_HEADER_BYTES: usize = 1 + 4 + NONCE_LEN;
/// How much longer a wrapped secret is than the secret.
pub const WRAP_OVERHEAD_BYTES: usize = WRAP_HEADER_BYTES + 16;
const WRAP_LABEL: &[u8] = b"truc/storage-wrap/1";
const FILE_HEADER: &str = "truc storage key v1";

/// Why a storage key could not be made, stored or loaded.
#[derive(Debug, thiserror::Error)]
pub enum StorageKeyError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content is not that of a storage key file.
    #[error("not a storage key file; restore it from the backup, without it the documents it protects stay closed")]
    Malformed,
    /// It could not be sealed to the certificate given.
    #[error("cannot seal the storage key")]
    Seal(#[from] SealError),
    /// It could not be unwrapped.
    #[error("cannot unwrap the storage key")]
    Open(#[from] OpenError),
    /// The certificate cannot receive sealed keys.
    #[error("cannot seal the storage key to {subject}: its key is neither RSA nor P-256")]
    Recipient {
        /// Whose certificate.
        subject: String,
    },
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// Why a secret was not wrapped or unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// Larger than the bound.
    #[error("a secret of {bytes} bytes is not wrapped, at most {WRAPPED_SECRET_BYTES_MAX} are")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
    /// Wrapped under another epoch's key.
    #[error("the secret is wrapped under storage key epoch {found}, and the key at hand is of epoch {held}")]
    Epoch {
        /// The epoch in the wrapped secret.
        found: u32,
        /// The epoch of the key.
        held: u32,
    },
    /// Altered, of another context, or not a wrapped secret at all.
    #[error("the wrapped secret does not open: it was altered or belongs to something else")]
    Failed,
}

/// A 256-bit key under which small secrets are wrapped; zeroised when dropped.
pub struct StorageKey {
    epoch: u32,
    key: Zeroizing<[u8; 32]>,
}

impl StorageKey {
    /// A fresh random key of this epoch.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(epoch: u32) -> Result<Self, StorageKeyError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *key).map_err(|_| StorageKeyError::Random)?;
        Ok(Self { epoch, key })
    }

    /// Which generation of the key it is.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Makes a fresh key and stores it in a new file of mode 0600 (service credential form).
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, epoch: u32) -> Result<Self, StorageKeyError> {
        let key = Self::generate(epoch)?;
        files::write_new_secret(path, key.to_text().as_bytes())?;
        Ok(key)
    }

    /// Loads the service credential form. Refused when group or world may read it.
    ///
    /// # Errors
    /// When the file cannot be read, is exposed, or is not a storage key.
    pub fn load(path: &Path) -> Result<Self, StorageKeyError> {
        Self::from_text(&files::read_secret(path, STORAGE_KEY_FILE_BYTES_MAX)?)
    }

    /// Makes a fresh key and stores it sealed to `recipient` in a new file: nothing on the disk opens it, the token does.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or the certificate cannot receive keys.
    pub fn create_sealed(path: &Path, epoch: u32, recipient: &Certificate) -> Result<Self, StorageKeyError> {
        let key = Self::generate(epoch)?;
        files::write_new_secret(path, &key.seal_to(recipient)?)?;
        Ok(key)
    }

    /// Loads the sealed form with the decryption key it is sealed to.
    ///
    /// # Errors
    /// When the file cannot be read or does not open with `key`.
    pub fn load_sealed(path: &Path, key: &dyn OpeningKey) -> Result<Self, StorageKeyError> {
        Self::open_sealed(&files::read(path, STORAGE_KEY_FILE_BYTES_MAX)?, key)
    }

    /// This key sealed to `recipient` (a CMS key envelope), e.g. for a backup key of the administrator.
    ///
    /// # Errors
    /// When the certificate cannot receive keys.
    pub fn seal_to(&self, recipient: &Certificate) -> Result<Vec<u8>, StorageKeyError> {
        let algorithm = SealingAlgorithm::for_certificate(recipient)
            .ok_or_else(|| StorageKeyError::Recipient { subject: recipient.subject().into() })?;
        Ok(seal_key(self.to_text().as_bytes(), recipient, algorithm)?)
    }

    /// The reverse of [`StorageKey::seal_to`].
    ///
    /// # Errors
    /// When it does not open with `key` or holds no storage key.
    pub fn open_sealed(envelope: &[u8], key: &dyn OpeningKey) -> Result<Self, StorageKeyError> {
        Self::from_text(&open_key(envelope, key)?)
    }

    /// Wraps a small secret. `context` names what it is for and must be given again to unwrap.
    ///
    /// Form: version 1 ‖ epoch u32 BE ‖ nonce 12 ‖ AES-256-GCM ciphertext and tag; the label, header and context are authenticated.
    ///
    /// # Errors
    /// When the secret is too large or the system gives no randomness.
    pub fn wrap(&self, secret: &[u8], context: &[u8]) -> Result<Vec<u8>, WrapError> {
        if secret.len() > WRAPPED_SECRET_BYTES_MAX {
            return Err(WrapError::TooLarge { bytes: secret.len() });
        }
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| WrapError::Random)?;
        // The secret goes to its final place before it is encrypted: no second copy to be zeroised.
        let mut wrapped = Vec::with_capacity(secret.len() + WRAP_OVERHEAD_BYTES);
        wrapped.push(WRAP_VERSION);
        wrapped.extend(self.epoch.to_be_bytes());
        wrapped.extend(nonce);
        let aad = associated_data(&wrapped, context);
        wrapped.extend_from_slice(secret);
        let (_, body) = wrapped.split_at_mut(WRAP_HEADER_BYTES);
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| WrapError::Failed)?;
        wrapped.extend_from_slice(tag.as_ref());
        Ok(wrapped)
    }

    /// Unwraps what [`StorageKey::wrap`] made with the same key and context.
    ///
    /// # Errors
    /// When it is of another epoch, or was altered, or the context differs.
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let found = wrapped_epoch(wrapped).ok_or(WrapError::Failed)?;
        if found != self.epoch {
            return Err(WrapError::Epoch { found, held: self.epoch });
        }
        let (header, body) = wrapped.split_at_checked(WRAP_HEADER_BYTES).ok_or(WrapError::Failed)?;
        if body.len() > WRAPPED_SECRET_BYTES_MAX + AES_256_GCM.tag_len() {
            return Err(WrapError::Failed);
        }
        let nonce = header.last_chunk::<NONCE_LEN>().ok_or(WrapError::Failed)?;
        let mut secret = Zeroizing::new(body.to_vec());
        let length = self
            .cipher()
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(header, context)),
                &mut secret,
            )
            .map_err(|_| WrapError::Failed)?
            .len();
        secret.truncate(length);
        Ok(secret)
    }

    /// Unwraps what this key wrapped, and wraps it under another.
    ///
    /// # Errors
    /// As [`StorageKey::unwrap`] and [`StorageKey::wrap`].
    pub fn rewrap(&self, wrapped: &[u8], context: &[u8], under: &Self) -> Result<Vec<u8>, WrapError> {
        under.wrap(&self.unwrap(wrapped, context)?, context)
    }

    /// A secret for naming things without telling what they are, of this storage key and `label` (HKDF-SHA256, RFC 5869, without salt).
    #[must_use]
    pub fn naming_secret(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&*self.key);
        let info = [label.as_bytes()];
        let key = secret.expand(&info, hkdf::HKDF_SHA256).expect("one hash is never too long for HKDF");
        let mut bytes = Zeroizing::new([0; 32]);
        key.fill(&mut *bytes).expect("the key has the length that was asked for");
        bytes
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*self.key).expect("the key has the 32 bytes AES-256 takes"))
    }

    fn to_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(BASE64.encode(&*self.key));
        Zeroizing::new(format!("{FILE_HEADER}\nepoch {}\nkey {}\n", self.epoch, *key))
    }

    fn from_text(text: &[u8]) -> Result<Self, StorageKeyError> {
        let read = || {
            let mut lines = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n');
            (lines.next()? == FILE_HEADER).then_some(())?;
            let epoch = lines.next()?.strip_prefix("epoch ")?.parse().ok()?;
            let decoded = Zeroizing::new(BASE64.decode(lines.next()?.strip_prefix("key ")?.as_bytes()).ok()?);
            lines.next().is_none().then_some(())?;
            let mut key = Zeroizing::new([0; 32]);
            (decoded.len() == key.len()).then(|| key.copy_from_slice(&decoded))?;
            Some(Self { epoch, key })
        };
        read().ok_or(StorageKeyError::Malformed)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageKey(epoch {}, [redacted])", self.epoch)
    }
}

/// The epoch of the key under which a secret is wrapped; `None` when it is no wrapped secret.
#[must_use]
pub fn wrapped_epoch(wrapped: &[u8]) -> Option<u32> {
    let (version, rest) = wrapped.split_first()?;
    (*version == WRAP_VERSION && wrapped.len() >= WRAP_OVERHEAD_BYTES).then_some(())?;
    rest.first_chunk().map(|epoch| u32::from_be_bytes(*epoch))
}

/// Fixed-length parts first, so that no two contexts give the same bytes.
fn associated_data(header: &[u8], context: &[u8]) -> Vec<u8> {
    [WRAP_LABEL, header, context].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_and_context_only() {
        let key = StorageKey::generate(7).unwrap();
        let wrapped = key.wrap(b"file key", b"document 1").unwrap();
        assert_eq!(wrapped.len(), 8 + WRAP_OVERHEAD_BYTES);
        assert_eq!(wrapped_epoch(&wrapped), Some(7));
        assert_eq!(&**key.unwrap(&wrapped, b"document 1").unwrap(), b"file key");
        assert_eq!(key.unwrap(&wrapped, b"document 2"), Err(WrapError::Failed));
        let other = StorageKey::generate(7).unwrap();
        assert_eq!(other.unwrap(&wrapped, b"document 1"), Err(WrapError::Failed));
        let later = StorageKey::generate(8).unwrap();
        assert_eq!(later.unwrap(&wrapped, b"document 1"), Err(WrapError::Epoch { found: 7, held: 8 }));
        let again = key.rewrap(&wrapped, b"document 1", &later).unwrap();
        assert_eq!(&**later.unwrap(&again, b"document 1").unwrap(), b"file key");
        assert_eq!(key.rewrap(&wrapped, b"document 2", &later), Err(WrapError::Failed));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let key = StorageKey::generate(0).unwrap();
        let wrapped = key.wrap(&[9; 32], b"c").unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.unwrap(&changed, b"c").is_err(), "bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert!(key.unwrap(&wrapped[..length], b"c").is_err(), "length {length}");
        }
    }

    #[test]
    fn a_naming_secret_is_of_one_storage_key_and_one_label_and_always_the_same() {
        let key = StorageKey::generate(7).unwrap();
        let again = StorageKey::from_text(key.to_text().as_bytes()).unwrap();
        let name = |key: &StorageKey, label: &str| key.naming_secret(label);
        assert_eq!(name(&key, "a"), name(&again, "a"));
        assert_ne!(name(&key, "a"), name(&key, "b"));
        assert_ne!(name(&key, "a"), name(&StorageKey::generate(7).unwrap(), "a"));
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        let key = StorageKey::generate(3).unwrap();
        assert_eq!(format!("{key:?}"), "StorageKey(epoch 3, [redacted])");
    }

    #[test]
    fn the_text_form_is_read_strictly() {
        let key = StorageKey::generate(3).unwrap();
        let text = key.to_text();
        assert_eq!(*StorageKey::from_text(text.as_bytes()).unwrap().key, *key.key);
        for bad in [
            text.replace("v1", "v2"),
            text.replace("epoch 3", "epoch x"),
            format!("{}x", *text),
            text.trim().to_owned(),
        ] {
            assert!(matches!(StorageKey::from_text(bad.as_bytes()), Err(StorageKeyError::Malformed)));
        }
    }
}
