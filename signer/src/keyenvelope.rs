//! Key envelopes: CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084) for one recipient certificate.
//!
//! RSA recipients by RSA-OAEP with SHA-256 (RFC 3560), P-256 recipients by ephemeral-static ECDH
//! (RFC 5753, dhSinglePass-stdDH-sha256kdf with aes256-wrap). `openssl cms -decrypt` opens what is written here.

mod open;

pub use open::{OpenError, is_sealed_to, open_key};

use aws_lc_rs::{
    agreement,
    key_wrap::{AES_256, AesKek, KeyWrap},
    rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use truc_proto::limits::KEY_MANIFEST_BYTES_MAX;
use zeroize::Zeroizing;

use crate::{
    asn1::{self, BIT_STRING, INTEGER, NULL, OCTET_STRING, SEQUENCE, SET, context, context_primitive},
    certificate::Certificate,
    cms,
    keys::OpeningKeyError,
    oid,
    public_key::KeyKind,
};

/// How the content key reaches the recipient. The directory states which of these a certificate takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealingAlgorithm {
    /// RSA-OAEP, SHA-256, MGF1-SHA-256.
    RsaOaepSha256,
    /// ECDH on P-256 with the X9.63 KDF over SHA-256, AES-256 key wrap.
    EcdhP256,
}

impl SealingAlgorithm {
    /// The algorithm that fits the key in `certificate`, if any does.
    #[must_use]
    pub fn for_certificate(certificate: &Certificate) -> Option<Self> {
        match certificate.public_key().kind() {
            KeyKind::Rsa { .. } => Some(Self::RsaOaepSha256),
            KeyKind::P256 => Some(Self::EcdhP256),
            KeyKind::P384 => None,
        }
    }
}

/// Why nothing was sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Larger than the bound.
    #[error("a key manifest of {bytes} bytes is not sealed, at most {KEY_MANIFEST_BYTES_MAX} are")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The algorithm does not fit the recipient's key.
    #[error(
        "cannot seal to {subject} by {algorithm:?}: the key in the certificate is {kind:?}; the directory entry must be corrected"
    )]
    Algorithm {
        /// The recipient.
        subject: String,
        /// What was asked for.
        algorithm: SealingAlgorithm,
        /// What the certificate holds.
        kind: KeyKind,
    },
    /// The cryptographic library refused the recipient's key, or gave no randomness.
    #[error("cannot seal to {subject}: the key in the certificate is not usable")]
    Key {
        /// The recipient.
        subject: String,
    },
}

/// Seals `manifest` to one certificate: DER of an AuthEnvelopedData.
///
/// # Errors
/// When the manifest is too large or the certificate cannot take `algorithm`.
pub fn seal_key(manifest: &[u8], recipient: &Certificate, algorithm: SealingAlgorithm) -> Result<Vec<u8>, SealError> {
    let subject = || recipient.subject().to_owned();
    if manifest.len() > KEY_MANIFEST_BYTES_MAX {
        return Err(SealError::TooLarge { bytes: manifest.len() });
    }
    if SealingAlgorithm::for_certificate(recipient) != Some(algorithm) {
        return Err(SealError::Algorithm { subject: subject(), algorithm, kind: recipient.public_key().kind() });
    }
    seal(manifest, recipient, algorithm).ok_or_else(|| SealError::Key { subject: subject() })
}

fn seal(manifest: &[u8], recipient: &Certificate, algorithm: SealingAlgorithm) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    let mut content_key = Zeroizing::new([0; 32]);
    random.fill(&mut *content_key).ok()?;
    let mut nonce = [0; 12];
    random.fill(&mut nonce).ok()?;

    let recipient_info = match algorithm {
        SealingAlgorithm::RsaOaepSha256 => key_transport(recipient, &content_key)?,
        SealingAlgorithm::EcdhP256 => key_agreement(recipient, &content_key)?,
    };
    let mut ciphertext = manifest.to_vec();
    let tag = gcm(&*content_key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut ciphertext)
        .ok()?;
    // GCMParameters: the tag length is written, its default is 12 (RFC 5084 3.2).
    let parameters = asn1::tlv(SEQUENCE, &[&asn1::tlv(OCTET_STRING, &[&nonce]), &[INTEGER, 1, 16]]);
    let encrypted = asn1::tlv(
        SEQUENCE,
        &[
            &asn1::oid(oid::DATA),
            &asn1::algorithm_with(oid::AES256_GCM, &parameters),
            &asn1::tlv(context_primitive(0), &[&ciphertext]),
        ],
    );
    let enveloped = asn1::tlv(
        SEQUENCE,
        &[&[INTEGER, 1, 0], &asn1::tlv(SET, &[&recipient_info]), &encrypted, &asn1::tlv(OCTET_STRING, &[tag.as_ref()])],
    );
    Some(cms::content_info(oid::AUTH_ENVELOPED_DATA, &enveloped))
}

/// KeyTransRecipientInfo (RFC 5652 6.2.1, RFC 3560).
fn key_transport(recipient: &Certificate, content_key: &[u8; 32]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(recipient.public_key().spki_der()).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut encrypted, None).ok()?;
    let sha256 = asn1::algorithm_with(oid::SHA256, &[NULL, 0]);
    // RSAES-OAEP-params: the defaults are SHA-1, so both stand there (RFC 8017 A.2.1).
    let parameters = asn1::tlv(
        SEQUENCE,
        &[&asn1::tlv(context(0), &[&sha256]), &asn1::tlv(context(1), &[&asn1::algorithm_with(oid::MGF1, &sha256)])],
    );
    Some(asn1::tlv(
        SEQUENCE,
        &[
            &[INTEGER, 1, 0],
            &cms::issuer_and_serial(recipient),
            &asn1::algorithm_with(oid::RSA_OAEP, &parameters),
            &asn1::tlv(OCTET_STRING, &[encrypted]),
        ],
    ))
}

/// KeyAgreeRecipientInfo (RFC 5652 6.2.2, RFC 5753 3.1).
fn key_agreement(recipient: &Certificate, content_key: &[u8; 32]) -> Option<Vec<u8>> {
    let ephemeral = agreement::PrivateKey::generate(&agreement::ECDH_P256).ok()?;
    let ephemeral_public = ephemeral.compute_public_key().ok()?;
    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, recipient.public_key().raw());
    let key_encryption_key = agreement::agree(&ephemeral, peer, (), |secret| Ok(derive_kek(secret, None))).ok()?;
    let mut wrapped = [0; 40];
    let wrapped = AesKek::new(&AES_256, &*key_encryption_key).ok()?.wrap(content_key, &mut wrapped).ok()?;
    let originator = asn1::tlv(
        context(1),
        &[
            &asn1::algorithm_with(oid::EC_PUBLIC_KEY, &asn1::oid(oid::P256)),
            &asn1::tlv(BIT_STRING, &[&[0], ephemeral_public.as_ref()]),
        ],
    );
    let encrypted_key =
        asn1::tlv(SEQUENCE, &[&cms::issuer_and_serial(recipient), &asn1::tlv(OCTET_STRING, &[wrapped])]);
    Some(asn1::tlv(
        context(1),
        &[
            &[INTEGER, 1, 3],
            &asn1::tlv(context(0), &[&originator]),
            &asn1::algorithm_with(oid::STD_DH_SHA256_KDF, &asn1::algorithm(oid::AES256_WRAP)),
            &asn1::tlv(SEQUENCE, &[&encrypted_key]),
        ],
    ))
}

/// X9.63 KDF with SHA-256 (SEC 1 3.6.1) over ECC-CMS-SharedInfo (RFC 5753 7.2): one block is the whole 256-bit key.
fn derive_kek(shared_secret: &[u8], user_keying_material: Option<&[u8]>) -> Zeroizing<[u8; 32]> {
    let entity = user_keying_material.map(|ukm| asn1::tlv(context(0), &[&asn1::tlv(OCTET_STRING, &[ukm])]));
    let supplementary = asn1::tlv(context(2), &[&asn1::tlv(OCTET_STRING, &[&256u32.to_be_bytes()])]);
    let info = asn1::tlv(
        SEQUENCE,
        &[&asn1::algorithm(oid::AES256_WRAP), entity.as_deref().unwrap_or_default(), &supplementary],
    );
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(shared_secret);
    digest.update(&1u32.to_be_bytes());
    digest.update(&info);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(digest.finish().as_ref());
    key
}

fn gcm(key: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}
