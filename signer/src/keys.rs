//! What a private key can do for us, wherever it lives: in a file, in a PKCS#11 token, in a remote module.

use zeroize::Zeroizing;

use crate::{certificate::Certificate, public_key::SignatureScheme};

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key cannot be reached now; what was to be signed is held and signed later.
    #[error("the signing key of {subject} is away, nothing was lost: {detail}")]
    Away {
        /// Whose key.
        subject: String,
        /// What the key store said.
        detail: String,
    },
    /// The key was reached and did not sign.
    #[error("the signing key of {subject} refused to sign: {detail}")]
    Failed {
        /// Whose key.
        subject: String,
        /// What the key store said.
        detail: String,
    },
}

/// Why a private-key decryption or key agreement gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpeningKeyError {
    /// The key cannot be reached now; try again when it is back. Known without looking at the ciphertext.
    #[error("the decryption key is away; connect the token or module")]
    Away,
    /// The operation failed. Deliberately one error for every cause: telling them apart would make a decryption oracle.
    #[error("the private-key operation failed")]
    Failed,
}

/// A private key that signs.
pub trait SigningKey: Send + Sync {
    /// The certificate of the key.
    fn certificate(&self) -> &Certificate;

    /// Certificates between [`SigningKey::certificate`] and the anchor, to be carried beside signatures. May be empty.
    fn chain(&self) -> &[Certificate] {
        &[]
    }

    /// What [`SigningKey::sign`] makes.
    fn scheme(&self) -> SignatureScheme;

    /// Signs `message` (hashing included). ECDSA signatures are DER-encoded.
    ///
    /// # Errors
    /// When the key is away or refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A private key that opens what was sealed to its certificate.
pub trait OpeningKey: Send + Sync {
    /// The certificate of the key.
    fn certificate(&self) -> &Certificate;

    /// RSA-OAEP with SHA-256 and MGF1-SHA-256, empty label (RFC 8017 7.1.2).
    ///
    /// # Errors
    /// [`OpeningKeyError::Away`], or [`OpeningKeyError::Failed`] for everything else.
    fn decrypt_oaep_sha256(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError>;

    /// Static ECDH on P-256 with the uncompressed point of the peer: the x-coordinate, 32 bytes (SEC 1 3.3.1).
    ///
    /// # Errors
    /// [`OpeningKeyError::Away`], or [`OpeningKeyError::Failed`] for everything else, a point off the curve included.
    fn ecdh(&self, peer_point: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError>;
}
