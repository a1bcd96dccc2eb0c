//! Keys from files: PEM (PKCS#8 key beside a certificate chain) and PKCS#12. The file counterpart of a PKCS#11 token.

use std::{fmt, path::Path};

use aws_lc_rs::{agreement, rsa, signature as aws_signature};
use der::asn1::ObjectIdentifier;
use p12_keystore::{KeyStore, KeyStoreEntry};
use ring::{rand::SystemRandom, signature as ring_signature};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use truc_proto::limits::{CMS_CERTIFICATES_MAX, PEM_BYTES_MAX, PKCS12_BYTES_MAX};
use zeroize::Zeroizing;

use crate::{
    asn1::{self, Algorithm, INTEGER, Malformed, OCTET_STRING, SEQUENCE, Tlv, context},
    certificate::{Certificate, CertificateError, PemError, pem_blocks},
    files::{self, FileError},
    keys::{OpeningKey, OpeningKeyError, SignError, SigningKey},
    oid,
    public_key::{KeyKind, SignatureScheme},
};

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SoftKeyError {
    /// The file could not be read, or others may read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not PEM, or without the expected blocks.
    #[error("cannot read the PEM of a key or its certificates")]
    Pem(#[from] PemError),
    /// The key block is not unencrypted PKCS#8.
    #[error(
        "the private key is not unencrypted PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`, or use the PKCS#12 file"
    )]
    NotPkcs8,
    /// Neither RSA nor P-256, or damaged.
    #[error(
        "the private key for {subject} is damaged or of an unsupported kind; RSA of 2048 bits and more and P-256 are supported"
    )]
    Key {
        /// Whose certificate it came with.
        subject: String,
    },
    /// No certificate beside the key belongs to it.
    #[error(
        "the private key does not belong to the certificate of {subject}; key and certificate must come from the same request"
    )]
    Mismatch {
        /// The certificate that was expected to fit.
        subject: String,
    },
    /// Larger than the bound.
    #[error("a PKCS#12 file of {bytes} bytes is refused, at most {PKCS12_BYTES_MAX} are read")]
    Pkcs12TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The integrity check failed: the password is wrong or the file was altered.
    #[error("the password does not open the PKCS#12 file (or the file is damaged); check the password and try again")]
    WrongPassword,
    /// Not a PKCS#12 file we can read.
    #[error("not a readable PKCS#12 file: {detail}")]
    Pkcs12 {
        /// What the reader said.
        detail: String,
    },
    /// It holds no private key with its certificate, or more than one.
    #[error(
        "the PKCS#12 file holds {count} private keys with a certificate, exactly one is expected; export the one wanted"
    )]
    Pkcs12Keys {
        /// How many.
        count: usize,
    },
    /// A certificate in it cannot be used.
    #[error("a certificate in the PKCS#12 file cannot be used")]
    Certificate(#[from] CertificateError),
}

/// A private key from a file, with its certificate and the certificates above it. Secrets are zeroised on drop.
///
/// Whether a certificate may sign or open is decided by its keyUsage through [`crate::path`], not here.
pub struct SoftKey {
    certificate: Certificate,
    chain: Vec<Certificate>,
    pkcs8: Zeroizing<Vec<u8>>,
    operations: Operations,
}

/// The key as the libraries take it. aws-lc-rs does RSA (its signing is 1.5 to 2 times as fast as ring's at 2048 bits,
/// and ring has no OAEP) and static ECDH; ring does ECDSA.
enum Operations {
    Rsa { sign: Box<aws_signature::RsaKeyPair>, open: rsa::OaepPrivateDecryptingKey },
    P256 { sign: Box<ring_signature::EcdsaKeyPair>, agree: agreement::PrivateKey },
}

impl SoftKey {
    /// From PEM text: a certificate chain, leaf first, and an unencrypted PKCS#8 key.
    ///
    /// # Errors
    /// When either is unreadable, unsupported, or they do not belong together.
    pub fn from_pem(certificates_pem: &[u8], key_pem: &[u8]) -> Result<Self, SoftKeyError> {
        let certificates = Certificate::from_pem(certificates_pem)?;
        let blocks = pem_blocks::<PrivateKeyDer<'static>>(key_pem, "PRIVATE KEY", PEM_BYTES_MAX)?;
        match <[PrivateKeyDer<'static>; 1]>::try_from(blocks) {
            Ok([PrivateKeyDer::Pkcs8(mut key)]) => {
                let result = Self::from_pkcs8(certificates, key.secret_pkcs8_der());
                zeroize::Zeroize::zeroize(&mut key);
                result
            }
            _ => Err(SoftKeyError::NotPkcs8),
        }
    }

    /// From a PKCS#12 file's bytes.
    ///
    /// # Errors
    /// When the password is wrong, the file is unreadable, or does not hold exactly one key with its certificate.
    pub fn from_pkcs12(bytes: &[u8], password: &str) -> Result<Self, SoftKeyError> {
        if bytes.len() > PKCS12_BYTES_MAX {
            return Err(SoftKeyError::Pkcs12TooLarge { bytes: bytes.len() });
        }
        let store = KeyStore::from_pkcs12(bytes, password).map_err(|error| match error {
            p12_keystore::error::Error::MacError(_) | p12_keystore::error::Error::UnpadError => {
                SoftKeyError::WrongPassword
            }
            other => SoftKeyError::Pkcs12 { detail: other.to_string() },
        })?;
        let chains: Vec<_> = store
            .entries()
            .filter_map(|(_, entry)| match entry {
                KeyStoreEntry::PrivateKeyChain(chain) => Some(chain),
                _ => None,
            })
            .collect();
        let [chain] = chains.as_slice() else {
            return Err(SoftKeyError::Pkcs12Keys { count: chains.len() });
        };
        let certificates = chain.chain().iter().map(|c| Certificate::from_der(c.as_der())).collect::<Result<_, _>>()?;
        Self::from_pkcs8(certificates, chain.key())
    }

    /// Whether a PKCS#12 file is encrypted with the ciphers of 1999 (RFC 7292 appendix C: RC4, 3DES, RC2): read, since tokens' tools still write them, and
    /// no protection worth the name against who has the file.
    #[must_use]
    pub fn pkcs12_is_old(bytes: &[u8]) -> bool {
        // pkcs-12PbeIds 1 to 6, as OBJECT IDENTIFIER.
        const OLD: [u8; 11] = [6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
        bytes
            .windows(OLD.len() + 1)
            .any(|window| window.split_last().is_some_and(|(last, before)| before == OLD && (1..=6).contains(last)))
    }

    /// Reads PEM files. The key file must belong to one user alone.
    ///
    /// # Errors
    /// As [`SoftKey::from_pem`]; also when a file cannot be read or group or world may read the key.
    pub fn load_pem(certificates: &Path, key: &Path) -> Result<Self, SoftKeyError> {
        let certificates_pem = files::read(certificates, PEM_BYTES_MAX)?;
        let key_pem = files::read_secret(key, PEM_BYTES_MAX)?;
        Self::from_pem(&certificates_pem, &key_pem)
    }

    /// Reads a PKCS#12 file. It must belong to one user alone: a password is no reason to leave it lying open.
    ///
    /// # Errors
    /// As [`SoftKey::from_pkcs12`]; also when the file cannot be read or group or world may read it.
    pub fn load_pkcs12(path: &Path, password: &str) -> Result<Self, SoftKeyError> {
        Self::from_pkcs12(&files::read_secret(path, PKCS12_BYTES_MAX)?, password)
    }

    /// From certificates (the key's own first, or anywhere among them) and PKCS#8 DER.
    ///
    /// # Errors
    /// When the key is unsupported or none of the certificates is its own.
    pub fn from_pkcs8(mut certificates: Vec<Certificate>, pkcs8: &[u8]) -> Result<Self, SoftKeyError> {
        let first = certificates.first().ok_or(PemError::Empty { wanted: "CERTIFICATE" })?.subject().to_owned();
        let material = Material::read(pkcs8).map_err(|Malformed| SoftKeyError::Key { subject: first.clone() })?;
        let own = certificates.iter().position(|certificate| material.fits(certificate));
        let certificate = certificates.remove(own.ok_or_else(|| SoftKeyError::Mismatch { subject: first.clone() })?);
        let operations = material.operations(&certificate).map_err(|Malformed| SoftKeyError::Key { subject: first })?;
        let chain = chain_above(&certificate, certificates);
        Ok(Self { certificate, chain, pkcs8: material.to_pkcs8(), operations })
    }

    /// The certificate of the key.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The chain and key in the form rustls takes. The key leaves this type, so keep the result short-lived.
    #[must_use]
    pub fn tls_identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = std::iter::once(&self.certificate)
            .chain(&self.chain)
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
            .collect();
        (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec())))
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftKey({}, key [redacted])", self.certificate.subject())
    }
}

impl SigningKey for SoftKey {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::written_by(self.certificate.public_key().kind())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = || SignError::Failed { subject: self.certificate.subject().into(), detail: "software key".into() };
        match &self.operations {
            Operations::Rsa { sign, .. } => {
                let mut signature = vec![0; sign.public_modulus_len()];
                let random = aws_lc_rs::rand::SystemRandom::new();
                sign.sign(&aws_signature::RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| failed())?;
                Ok(signature)
            }
            Operations::P256 { sign, .. } => {
                let signature = sign.sign(&SystemRandom::new(), message).map_err(|_| failed())?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl OpeningKey for SoftKey {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn decrypt_oaep_sha256(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        let Operations::Rsa { open, .. } = &self.operations else { return Err(OpeningKeyError::Failed) };
        let mut plaintext = Zeroizing::new(vec![0; open.min_output_size()]);
        let length = open
            .decrypt(&rsa::OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, None)
            .map_err(|_| OpeningKeyError::Failed)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    fn ecdh(&self, peer_point: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        let Operations::P256 { agree, .. } = &self.operations else { return Err(OpeningKeyError::Failed) };
        // Uncompressed points only: aws-lc-rs would take other encodings, too.
        if peer_point.len() != 65 || peer_point.first() != Some(&4) {
            return Err(OpeningKeyError::Failed);
        }
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, peer_point);
        agreement::agree(agree, peer, OpeningKeyError::Failed, |secret| Ok(Zeroizing::new(secret.to_vec())))
    }
}

/// What is carried beside signatures and in handshakes: the authorities above, in order, without the root, which the
/// other side must hold anyway. Each certificate is taken once, so names in a circle end.
pub(crate) fn chain_above(certificate: &Certificate, mut others: Vec<Certificate>) -> Vec<Certificate> {
    let mut chain = Vec::new();
    let mut below = certificate.clone();
    while let Some(position) = others.iter().position(|other| below.names_issuer(other) && !other.is_self_issued())
        && chain.len() + 1 < CMS_CERTIFICATES_MAX
    {
        below = others.swap_remove(position);
        chain.push(below.clone());
    }
    chain
}

/// The key proper, taken out of its PKCS#8 wrapping: exports differ in attributes and optional fields, libraries in what they take.
enum Material {
    /// RSAPrivateKey DER (RFC 8017 A.1.2).
    Rsa(Zeroizing<Vec<u8>>),
    /// The scalar, 32 bytes.
    P256(Zeroizing<Vec<u8>>),
}

impl Material {
    fn read(pkcs8: &[u8]) -> Result<Self, Malformed> {
        // RFC 5958: version, algorithm, key, then attributes [0] and public key [1] we have no use for.
        let mut info = Tlv::parse(pkcs8, SEQUENCE)?.reader();
        info.small_integer()?;
        let algorithm = Algorithm::read(&mut info)?;
        let key = info.expect(OCTET_STRING)?.content;
        if algorithm.is_plain(oid::RSA) {
            Tlv::parse(key, SEQUENCE)?;
            return Ok(Self::Rsa(Zeroizing::new(key.to_vec())));
        }
        let is_p256 = algorithm.parameters.is_some_and(|parameters| parameters.is_oid(oid::P256));
        if !algorithm.oid.is_oid(oid::EC_PUBLIC_KEY) || !is_p256 {
            return Err(Malformed);
        }
        // RFC 5915: ECPrivateKey ::= SEQUENCE { version 1, privateKey OCTET STRING, ... }
        let mut private = Tlv::parse(key, SEQUENCE)?.reader();
        if private.small_integer()? != 1 {
            return Err(Malformed);
        }
        let scalar = private.expect(OCTET_STRING)?.content;
        if scalar.len() == 32 { Ok(Self::P256(Zeroizing::new(scalar.to_vec()))) } else { Err(Malformed) }
    }

    /// Whether the certificate holds the public half.
    fn fits(&self, certificate: &Certificate) -> bool {
        let public = certificate.public_key();
        match (self, public.kind()) {
            (Self::Rsa(key), KeyKind::Rsa { .. }) => rsa_public_key(key).is_ok_and(|own| own == public.raw()),
            (Self::P256(scalar), KeyKind::P256) => {
                agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar)
                    .and_then(|key| {
                        key.compute_public_key()
                            .map_err(|_| aws_lc_rs::error::KeyRejected::from(aws_lc_rs::error::Unspecified))
                    })
                    .is_ok_and(|own| own.as_ref() == public.raw())
            }
            _ => false,
        }
    }

    fn operations(&self, certificate: &Certificate) -> Result<Operations, Malformed> {
        match self {
            Self::Rsa(key) => {
                let sign = aws_signature::RsaKeyPair::from_der(key).map_err(|_| Malformed)?;
                let open = rsa::PrivateDecryptingKey::from_pkcs8(&self.to_pkcs8()).map_err(|_| Malformed)?;
                let open = rsa::OaepPrivateDecryptingKey::new(open).map_err(|_| Malformed)?;
                Ok(Operations::Rsa { sign: Box::new(sign), open })
            }
            Self::P256(scalar) => {
                let sign = ring_signature::EcdsaKeyPair::from_private_key_and_public_key(
                    &ring_signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                    scalar,
                    certificate.public_key().raw(),
                    &SystemRandom::new(),
                )
                .map_err(|_| Malformed)?;
                let agree =
                    agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar).map_err(|_| Malformed)?;
                Ok(Operations::P256 { sign: Box::new(sign), agree })
            }
        }
    }

    /// Plain PKCS#8 version 0, the form every library takes.
    fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let version = [INTEGER, 1, 0];
        let wrap = |algorithm: &[u8], key: &[u8]| {
            let octets = Zeroizing::new(asn1::tlv(OCTET_STRING, &[key]));
            Zeroizing::new(asn1::tlv(SEQUENCE, &[&version, algorithm, &octets]))
        };
        match self {
            Self::Rsa(key) => wrap(&asn1::algorithm_with(oid::RSA, &[asn1::NULL, 0]), key),
            Self::P256(scalar) => {
                let octets = Zeroizing::new(asn1::tlv(OCTET_STRING, &[scalar]));
                let named: ObjectIdentifier = oid::P256;
                let parameters = asn1::tlv(context(0), &[&asn1::oid(named)]);
                let key = Zeroizing::new(asn1::tlv(SEQUENCE, &[&[INTEGER, 1, 1], &octets, &parameters]));
                wrap(&asn1::algorithm_with(oid::EC_PUBLIC_KEY, &asn1::oid(named)), &key)
            }
        }
    }
}

/// RSAPublicKey DER from RSAPrivateKey DER.
fn rsa_public_key(private: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Tlv::parse(private, SEQUENCE)?.reader();
    reader.small_integer()?;
    let modulus = reader.expect(INTEGER)?.whole;
    let exponent = reader.expect(INTEGER)?.whole;
    Ok(asn1::tlv(SEQUENCE, &[modulus, exponent]))
}
