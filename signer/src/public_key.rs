//! Public keys and the closed list of signature schemes documents are verified with.

use ring::signature as ring_signature;

use crate::{
    asn1::{Algorithm, BIT_STRING, INTEGER, Malformed, SEQUENCE, Tlv},
    oid,
};

/// How a signature is made. Closed: whatever is not here is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSA PKCS#1 v1.5 with SHA-256 (RFC 8017 8.2).
    RsaPkcs1Sha256,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8017 8.1). Verified; written for TLS alone.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1-SHA-384 and a salt of 48 bytes. Verified (time-stamps), never written.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1-SHA-512 and a salt of 64 bytes. Verified (time-stamps), never written.
    RsaPssSha512,
    /// ECDSA on P-256 with SHA-256, DER-encoded (RFC 5758).
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384. Verified (certificates and CRLs of a CA), never written.
    EcdsaP384Sha384,
    /// RSA PKCS#1 v1.5 with SHA-384. Verified (CRLs of a CA), never written.
    RsaPkcs1Sha384,
    /// RSA PKCS#1 v1.5 with SHA-512. Verified (CRLs of a CA), never written.
    RsaPkcs1Sha512,
}

impl SignatureScheme {
    /// What a key of this kind writes here.
    #[must_use]
    pub const fn written_by(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa { .. } => Self::RsaPkcs1Sha256,
            KeyKind::P256 | KeyKind::P384 => Self::EcdsaP256Sha256,
        }
    }
}

/// How a certificate is signed, as far as a path may rest on it: SHA-1 and MD5 are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSignature {
    RsaSha256,
    RsaSha384,
    RsaSha512,
    RsaPssSha256,
    EcdsaSha256,
    EcdsaSha384,
}

impl CertificateSignature {
    /// Parameters as RFC 4055 (RSA: NULL) and RFC 5758 (ECDSA: none) write them.
    pub(crate) fn of(algorithm: &Algorithm<'_>) -> Option<Self> {
        let is_null = algorithm.parameters.is_some() && algorithm.has_no_parameters();
        let rsa = [
            (oid::RSA_SHA256, Self::RsaSha256),
            (oid::RSA_SHA384, Self::RsaSha384),
            (oid::RSA_SHA512, Self::RsaSha512),
        ];
        let ecdsa = [(oid::ECDSA_SHA256, Self::EcdsaSha256), (oid::ECDSA_SHA384, Self::EcdsaSha384)];
        if algorithm.oid.is_oid(oid::RSA_PSS) {
            return crate::cms::is_pss_sha256(algorithm).then_some(Self::RsaPssSha256);
        }
        let rsa = rsa.into_iter().filter(|_| is_null);
        let ecdsa = ecdsa.into_iter().filter(|_| algorithm.parameters.is_none());
        rsa.chain(ecdsa).find(|(id, _)| algorithm.oid.is_oid(*id)).map(|(_, kind)| kind)
    }
}

/// The kind and strength of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with this modulus length.
    Rsa {
        /// Length of the modulus.
        bits: usize,
    },
    /// NIST P-256.
    P256,
    /// NIST P-384 (certification authorities).
    P384,
}

/// Why a public key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not a SubjectPublicKeyInfo.
    #[error("the public key is not a well-formed SubjectPublicKeyInfo (RFC 5280 4.1.2.7)")]
    Malformed,
    /// Neither RSA nor P-256 nor P-384.
    #[error("public key algorithm {algorithm} is not supported; RSA of 2048 bits and more, P-256 and P-384 are")]
    Unsupported {
        /// OID in dotted form.
        algorithm: String,
    },
    /// RSA below 2048 or above 8192 bits.
    #[error("an RSA key of {bits} bits is refused: 2048 to 8192 are accepted; its owner must get a new certificate")]
    RsaStrength {
        /// Length of the modulus.
        bits: usize,
    },
}

/// A signature that does not hold, or a scheme that does not fit the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the signed bytes and the public key")]
pub struct SignatureInvalid;

/// A parsed SubjectPublicKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    spki_der: Box<[u8]>,
    /// RSAPublicKey DER, or the uncompressed point: what the crypto libraries take.
    raw: Box<[u8]>,
}

impl PublicKey {
    /// Reads the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When it is malformed, of another algorithm, or too weak.
    pub fn from_spki_der(spki_der: &[u8]) -> Result<Self, PublicKeyError> {
        let malformed = |_: Malformed| PublicKeyError::Malformed;
        let mut reader = Tlv::parse(spki_der, SEQUENCE).map_err(malformed)?.reader();
        let algorithm = Algorithm::read(&mut reader).map_err(malformed)?;
        let raw = reader.expect(BIT_STRING).and_then(Tlv::bit_string).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        let kind = kind_of(&algorithm, raw)?;
        Ok(Self { kind, spki_der: spki_der.into(), raw: raw.into() })
    }

    /// Kind and strength.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// DER of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The content of the BIT STRING: RSAPublicKey DER, or the uncompressed point of an EC key.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Verifies `signature` over `message`.
    ///
    /// # Errors
    /// When it does not hold or the scheme does not fit this key.
    pub fn verify(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        let algorithm: &'static dyn ring_signature::VerificationAlgorithm = match (scheme, self.kind) {
            (SignatureScheme::RsaPkcs1Sha256, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
            (SignatureScheme::RsaPkcs1Sha384, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
            (SignatureScheme::RsaPkcs1Sha512, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
            // ring demands a salt as long as the hash.
            (SignatureScheme::RsaPssSha256, KeyKind::Rsa { .. }) => &ring_signature::RSA_PSS_2048_8192_SHA256,
            (SignatureScheme::RsaPssSha384, KeyKind::Rsa { .. }) => &ring_signature::RSA_PSS_2048_8192_SHA384,
            (SignatureScheme::RsaPssSha512, KeyKind::Rsa { .. }) => &ring_signature::RSA_PSS_2048_8192_SHA512,
            (SignatureScheme::EcdsaP256Sha256, KeyKind::P256) => &ring_signature::ECDSA_P256_SHA256_ASN1,
            (SignatureScheme::EcdsaP384Sha384, KeyKind::P384) => &ring_signature::ECDSA_P384_SHA384_ASN1,
            _ => return Err(SignatureInvalid),
        };
        self.verify_by(algorithm, message, signature)
    }

    /// Verifies a certificate's signature: of ECDSA the hash and the curve need not be of one size.
    pub(crate) fn verify_certificate(
        &self,
        kind: CertificateSignature,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureInvalid> {
        let algorithm: &'static dyn ring_signature::VerificationAlgorithm = match (kind, self.kind) {
            (CertificateSignature::RsaSha256, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
            (CertificateSignature::RsaSha384, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
            (CertificateSignature::RsaSha512, KeyKind::Rsa { .. }) => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
            (CertificateSignature::RsaPssSha256, KeyKind::Rsa { .. }) => &ring_signature::RSA_PSS_2048_8192_SHA256,
            (CertificateSignature::EcdsaSha256, KeyKind::P256) => &ring_signature::ECDSA_P256_SHA256_ASN1,
            (CertificateSignature::EcdsaSha384, KeyKind::P256) => &ring_signature::ECDSA_P256_SHA384_ASN1,
            (CertificateSignature::EcdsaSha256, KeyKind::P384) => &ring_signature::ECDSA_P384_SHA256_ASN1,
            (CertificateSignature::EcdsaSha384, KeyKind::P384) => &ring_signature::ECDSA_P384_SHA384_ASN1,
            _ => return Err(SignatureInvalid),
        };
        self.verify_by(algorithm, message, signature)
    }

    fn verify_by(
        &self,
        algorithm: &'static dyn ring_signature::VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureInvalid> {
        ring_signature::UnparsedPublicKey::new(algorithm, &self.raw)
            .verify(message, signature)
            .map_err(|_| SignatureInvalid)
    }
}

/// Verifies a bare signature under a SubjectPublicKeyInfo.
///
/// # Errors
/// When the key cannot be used or the signature does not hold.
pub fn verify_raw(
    spki_der: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureInvalid> {
    PublicKey::from_spki_der(spki_der).map_err(|_| SignatureInvalid)?.verify(scheme, message, signature)
}

fn kind_of(algorithm: &Algorithm<'_>, raw: &[u8]) -> Result<KeyKind, PublicKeyError> {
    if algorithm.is_plain(oid::RSA) {
        let bits = modulus_bits(raw).map_err(|_| PublicKeyError::Malformed)?;
        return if (2048..=8192).contains(&bits) {
            Ok(KeyKind::Rsa { bits })
        } else {
            Err(PublicKeyError::RsaStrength { bits })
        };
    }
    let named =
        |curve| algorithm.oid.is_oid(oid::EC_PUBLIC_KEY) && algorithm.parameters.is_some_and(|p| p.is_oid(curve));
    // Only uncompressed points: that is what RFC 5480 demands and all the libraries take.
    let point = |bytes: usize| raw.len() == 1 + 2 * bytes && raw.first() == Some(&4);
    if named(oid::P256) && point(32) {
        Ok(KeyKind::P256)
    } else if named(oid::P384) && point(48) {
        Ok(KeyKind::P384)
    } else {
        Err(PublicKeyError::Unsupported { algorithm: algorithm.name() })
    }
}

fn modulus_bits(rsa_public_key: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Tlv::parse(rsa_public_key, SEQUENCE)?.reader();
    let modulus = reader.expect(INTEGER)?.content;
    reader.expect(INTEGER)?;
    reader.finish()?;
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = digits.first().ok_or(Malformed)?;
    Ok(digits.len() * 8 - first.leading_zeros() as usize)
}
