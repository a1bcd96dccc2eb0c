//! What opens one document: file key, nonce prefix, chunk size and salt, wrapped under the storage key.
//!
//! In a journal record they lie as they were wrapped when it was written. What an earlier epoch wrapped opens no more: of that the key
//! file has what was carried over, under an id that is made of document and record ([`entry_id`]). A document whose content was erased has
//! an entry with its salt alone: its receipts can still be opened to an auditor, its payload cannot.

use ring::rand::SystemRandom;
use truc_proto::{AgencyId, Digest, EnvelopeId, KeyManifest};
use truc_signer::{
    KeyFileError, StorageKey, WrapError,
    asic::ContentSalt,
    keyfile::SECRET_BYTES,
    storage::{WRAP_OVERHEAD_BYTES, wrapped_epoch},
    stream::{FileKey, StreamError, StreamParams},
};
use zeroize::Zeroizing;

use crate::vault::Vault;

const KEY_CONTEXT: &str = "truc/document-key/1";
const REST_CONTEXT: &str = "truc/document-secrets/1";
const WRAPPED_KEY_BYTES: usize = 32 + WRAP_OVERHEAD_BYTES;
/// Prefix, chunk size, salt.
const REST_BYTES: usize = 7 + 4 + 32;
/// What names a document in the ids of a key file.
pub(crate) const DOCUMENT_BYTES: usize = 20;

/// The secrets of one sealed payload.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    pub(super) file_key: FileKey,
    pub(super) params: StreamParams,
    pub(super) salt: ContentSalt,
}

impl Secrets {
    /// Fresh ones, suite S1.
    pub(super) fn generate() -> Result<Self, StreamError> {
        let random = SystemRandom::new();
        Ok(Self {
            file_key: FileKey::generate(&random)?,
            params: StreamParams::generate(&random)?,
            salt: ContentSalt::generate(&random).ok_or(StreamError::NoRandomness)?,
        })
    }

    /// Out of an opened key envelope.
    pub(super) fn of(manifest: &KeyManifest) -> Result<Self, StreamError> {
        let file_key = FileKey::from_slice(&manifest.file_key).expect("the field has 32 bytes");
        let params = StreamParams::new(manifest.prefix, u64::from(manifest.chunk_bytes))?;
        Ok(Self { file_key, params, salt: ContentSalt(manifest.salt) })
    }

    /// The wrapped file key, then the rest, wrapped, too.
    pub(super) fn wrap(
        &self,
        storage: &StorageKey,
        sender: &AgencyId,
        envelope: EnvelopeId,
    ) -> Result<Vec<u8>, WrapError> {
        let mut rest = Zeroizing::new([0; REST_BYTES]);
        let chunk_bytes = u32::try_from(self.params.chunk_bytes()).expect("a chunk has at most a mebibyte");
        let parts = [self.params.prefix().as_slice(), &chunk_bytes.to_be_bytes(), &self.salt.0];
        for (to, from) in rest.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        let mut wrapped = storage.wrap(self.file_key.expose(), &context(KEY_CONTEXT, sender, envelope))?;
        wrapped.extend(storage.wrap(&*rest, &context(REST_CONTEXT, sender, envelope))?);
        Ok(wrapped)
    }

    /// The reverse of [`Secrets::wrap`], whichever epoch it was in.
    pub(super) fn unwrap(
        wrapped: &[u8],
        vault: &Vault,
        sender: &AgencyId,
        envelope: EnvelopeId,
    ) -> Result<Self, SecretsError> {
        let carried = Carried::find(wrapped, vault, sender, envelope)?;
        let (file_key, params) = carried.opens().ok_or(SecretsError::Erased)?;
        Ok(Self { file_key, params, salt: carried.salt() })
    }
}

/// The salt alone, which is there even when the content was erased.
pub(super) fn salt(
    wrapped: &[u8],
    vault: &Vault,
    sender: &AgencyId,
    envelope: EnvelopeId,
) -> Result<ContentSalt, SecretsError> {
    Ok(Carried::find(wrapped, vault, sender, envelope)?.salt())
}

/// Why a document cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    /// Its secrets do not open.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// The key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A draft that became a document, or was given up, before the storage key changed.
    #[error("its key was destroyed with storage key epoch {epoch}")]
    Gone {
        /// That had wrapped it.
        epoch: u32,
    },
    /// Its content was removed before the storage key changed.
    #[error("its content was removed and its key destroyed when the storage key was changed; its receipts stay")]
    Erased,
}

/// Which kind of record the secrets of an entry are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// A sealed envelope of ours.
    Sent = 1,
    /// What came for us.
    Received = 2,
    /// A draft that waits for its signature.
    Held = 3,
}

/// The secrets of a document as a key file holds them: holder ‖ file key 32 ‖ prefix 7 ‖ chunk size u32 BE ‖ salt 32. Where the content was
/// erased, key, prefix and chunk size are zeroes.
#[derive(Clone)]
pub(crate) struct Carried(Zeroizing<[u8; SECRET_BYTES]>);

impl Carried {
    /// As an entry holds it.
    pub(crate) fn read(secret: &[u8]) -> Option<Self> {
        let secret: [u8; SECRET_BYTES] = secret.try_into().ok()?;
        let carried = Self(Zeroizing::new(secret));
        carried.holder().map(|_| carried)
    }

    /// Out of a record whose secrets are wrapped under this key.
    pub(crate) fn of_record(
        holder: Holder,
        wrapped: &[u8],
        key: &StorageKey,
        sender: &AgencyId,
        envelope: EnvelopeId,
    ) -> Result<Self, WrapError> {
        let (file_key, rest) = wrapped.split_at_checked(WRAPPED_KEY_BYTES).ok_or(WrapError::Failed)?;
        if rest.len() != REST_BYTES + WRAP_OVERHEAD_BYTES {
            return Err(WrapError::Failed);
        }
        let file_key = key.unwrap(file_key, &context(KEY_CONTEXT, sender, envelope))?;
        let rest = key.unwrap(rest, &context(REST_CONTEXT, sender, envelope))?;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        let all = [holder as u8].into_iter().chain(file_key.iter().copied()).chain(rest.iter().copied());
        for (to, from) in secret.iter_mut().zip(all) {
            *to = from;
        }
        let carried = Self(secret);
        if carried.opens().is_some() { Ok(carried) } else { Err(WrapError::Failed) }
    }

    /// Of a record, whichever epoch wrapped it.
    pub(crate) fn find(
        wrapped: &[u8],
        vault: &Vault,
        sender: &AgencyId,
        envelope: EnvelopeId,
    ) -> Result<Self, SecretsError> {
        let epoch = wrapped_epoch(wrapped).ok_or(WrapError::Failed)?;
        if epoch >= vault.key().epoch() {
            return Ok(Self::of_record(Holder::Sent, wrapped, vault.key(), sender, envelope)?);
        }
        let found = vault.find(entry_id(sender, envelope, wrapped))?.ok_or(SecretsError::Gone { epoch })?;
        Ok(Self::read(&found).ok_or(WrapError::Failed)?)
    }

    pub(crate) fn holder(&self) -> Option<Holder> {
        [Holder::Sent, Holder::Received, Holder::Held]
            .into_iter()
            .find(|holder| self.0.first() == Some(&(*holder as u8)))
    }

    /// For the entry.
    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Whether it opens the document.
    pub(crate) fn is_whole(&self) -> bool {
        self.opens().is_some()
    }

    /// Without what opens the document.
    pub(crate) fn erase(&mut self) {
        let (content, _salt) = self.0.split_at_mut(SECRET_BYTES - 32);
        content.iter_mut().skip(1).for_each(|byte| *byte = 0);
    }

    fn opens(&self) -> Option<(FileKey, StreamParams)> {
        let (_, rest) = self.0.split_first()?;
        let (file_key, rest) = rest.split_first_chunk::<32>()?;
        let (prefix, rest) = rest.split_first_chunk::<7>()?;
        let (chunk_bytes, _) = rest.split_first_chunk::<4>()?;
        let params = StreamParams::new(*prefix, u64::from(u32::from_be_bytes(*chunk_bytes))).ok()?;
        Some((FileKey::from_slice(file_key)?, params))
    }

    fn salt(&self) -> ContentSalt {
        ContentSalt(*self.0.last_chunk().expect("an entry ends with the salt"))
    }
}

/// What names a document in the ids of a key file.
pub(crate) fn document_name(sender: &AgencyId, envelope: EnvelopeId) -> [u8; DOCUMENT_BYTES] {
    let hash = Digest::of(&context("truc/document/1", sender, envelope));
    *hash.0.first_chunk().expect("a hash is longer")
}

/// Names the entry of what a record holds of a document's secrets: document, then the record's own bytes, since a document may have several.
pub(crate) fn entry_id(sender: &AgencyId, envelope: EnvelopeId, wrapped: &[u8]) -> Digest {
    let (document, record) = (document_name(sender, envelope), Digest::of(wrapped));
    let mut id = [0; 32];
    for (to, from) in id.iter_mut().zip(document.into_iter().chain(record.0)) {
        *to = from;
    }
    Digest(id)
}

/// Codes and ids hold no line end, so no two contexts give the same bytes.
fn context(label: &str, sender: &AgencyId, envelope: EnvelopeId) -> Vec<u8> {
    format!("{label}\n{sender}\n{envelope}").into_bytes()
}

#[cfg(test)]
mod tests {
    use truc_proto::Timestamp;

    use super::*;

    #[test]
    fn secrets_open_for_their_document_only() {
        let storage = StorageKey::generate(1).unwrap();
        let (sender, other): (AgencyId, AgencyId) = ("H26".parse().unwrap(), "H37".parse().unwrap());
        let envelope = EnvelopeId::new(Timestamp::from_unix_s(1), [7; 10]);
        let secrets = Secrets::generate().unwrap();
        let wrapped = secrets.wrap(&storage, &sender, envelope).unwrap();
        let vault = Vault::from(storage);
        let found = Secrets::unwrap(&wrapped, &vault, &sender, envelope).unwrap();
        assert_eq!(
            (found.file_key, found.params, found.salt),
            (secrets.file_key.clone(), secrets.params, secrets.salt.clone())
        );
        assert!(Secrets::unwrap(&wrapped, &vault, &other, envelope).is_err());
        assert!(Secrets::unwrap(&wrapped[..70], &vault, &sender, envelope).is_err());
    }

    #[test]
    fn an_erased_entry_keeps_the_salt_and_opens_nothing() {
        let storage = StorageKey::generate(1).unwrap();
        let sender: AgencyId = "H26".parse().unwrap();
        let envelope = EnvelopeId::new(Timestamp::from_unix_s(1), [7; 10]);
        let secrets = Secrets::generate().unwrap();
        let wrapped = secrets.wrap(&storage, &sender, envelope).unwrap();
        let mut carried = Carried::of_record(Holder::Received, &wrapped, &storage, &sender, envelope).unwrap();
        assert!(carried.is_whole() && carried.holder() == Some(Holder::Received));
        carried.erase();
        assert!(!carried.is_whole() && carried.holder() == Some(Holder::Received));
        assert_eq!(carried.salt(), secrets.salt);
        let key = secrets.file_key.expose();
        assert!(!carried.bytes().windows(8).any(|window| window == &key[..8]));
        assert!(Carried::read(&[0; SECRET_BYTES]).is_none() && Carried::read(&[1; 9]).is_none());
    }
}
