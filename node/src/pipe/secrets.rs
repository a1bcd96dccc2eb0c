//! What opens one document: file key, nonce prefix, chunk size and salt, wrapped under the storage key.
//!
//! The file key is wrapped on its own, in the fixed form that a change of storage-key epoch re-wraps into a key file: an erased
//! document is one whose file key is gone.

use ring::rand::SystemRandom;
use truc_proto::{AgencyId, EnvelopeId, KeyManifest};
use truc_signer::{
    StorageKey, WrapError,
    asic::ContentSalt,
    keyfile::WrappedKey,
    storage::WRAP_OVERHEAD_BYTES,
    stream::{FileKey, StreamError, StreamParams},
};
use zeroize::Zeroizing;

const KEY_CONTEXT: &str = "truc/document-key/1";
const REST_CONTEXT: &str = "truc/document-secrets/1";
/// Prefix, chunk size, salt.
const REST_BYTES: usize = 7 + 4 + 32;

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

    /// The reverse of [`Secrets::wrap`].
    pub(super) fn unwrap(
        wrapped: &[u8],
        storage: &StorageKey,
        sender: &AgencyId,
        envelope: EnvelopeId,
    ) -> Result<Self, WrapError> {
        let (key, rest) = wrapped.split_at_checked(size_of::<WrappedKey>()).ok_or(WrapError::Failed)?;
        if rest.len() != REST_BYTES + WRAP_OVERHEAD_BYTES {
            return Err(WrapError::Failed);
        }
        let key = storage.unwrap(key, &context(KEY_CONTEXT, sender, envelope))?;
        let rest = storage.unwrap(rest, &context(REST_CONTEXT, sender, envelope))?;
        let parts = || {
            let (prefix, rest) = rest.split_first_chunk::<7>()?;
            let (chunk_bytes, rest) = rest.split_first_chunk::<4>()?;
            let params = StreamParams::new(*prefix, u64::from(u32::from_be_bytes(*chunk_bytes))).ok()?;
            let salt = ContentSalt(*rest.first_chunk::<32>()?);
            Some(Self { file_key: FileKey::from_slice(&key)?, params, salt })
        };
        parts().ok_or(WrapError::Failed)
    }
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
        let found = Secrets::unwrap(&wrapped, &storage, &sender, envelope).unwrap();
        assert_eq!(
            (found.file_key, found.params, found.salt),
            (secrets.file_key.clone(), secrets.params, secrets.salt.clone())
        );
        assert!(Secrets::unwrap(&wrapped, &storage, &other, envelope).is_err());
        assert!(Secrets::unwrap(&wrapped[..70], &storage, &sender, envelope).is_err());
        // The first part is what a key file re-wraps.
        assert_eq!(wrapped.len(), size_of::<WrappedKey>() + REST_BYTES + WRAP_OVERHEAD_BYTES);
    }
}
