//! A new key and the request for its certificate (PKCS#10, RFC 2986), as a successor of a certificate that is in use.

use std::path::Path;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa, signature as aws_signature,
};
use der::{Decode as _, Encode as _};
use ring::{
    rand::SystemRandom,
    signature::{self as ring_signature, KeyPair as _},
};
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};
use zeroize::Zeroizing;

use crate::{
    asn1::{self, BIT_STRING, INTEGER, NULL, SEQUENCE, SET, context},
    certificate::{Certificate, pem_text},
    files::{self, FileError},
    oid,
    public_key::KeyKind,
};

/// Kinds of keys that are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKeyKind {
    /// RSA of 3,072 bits.
    Rsa3072,
    /// NIST P-256.
    P256,
}

impl NewKeyKind {
    /// The kind to follow a certificate's: never a weaker one.
    #[must_use]
    pub fn after(certificate: &Certificate) -> Self {
        match certificate.public_key().kind() {
            KeyKind::Rsa { .. } => Self::Rsa3072,
            KeyKind::P256 | KeyKind::P384 => Self::P256,
        }
    }
}

/// The library made no key, or did not sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made, or the new key does not sign; try again")]
pub struct NewKeyError;

/// A private key without a certificate yet; zeroised when dropped.
pub struct NewKey {
    pkcs8: Zeroizing<Vec<u8>>,
    spki: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Rsa(Box<aws_signature::RsaKeyPair>),
    P256(Box<ring_signature::EcdsaKeyPair>),
}

impl NewKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate(kind: NewKeyKind) -> Result<Self, NewKeyError> {
        match kind {
            NewKeyKind::Rsa3072 => {
                let pair = aws_signature::RsaKeyPair::generate(rsa::KeySize::Rsa3072).map_err(|_| NewKeyError)?;
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| NewKeyError)?;
                let spki: PublicKeyX509Der<'_> =
                    aws_signature::KeyPair::public_key(&pair).as_der().map_err(|_| NewKeyError)?;
                let (pkcs8, spki) = (Zeroizing::new(pkcs8.as_ref().to_vec()), spki.as_ref().to_vec());
                Ok(Self { pkcs8, spki, pair: Pair::Rsa(Box::new(pair)) })
            }
            NewKeyKind::P256 => {
                let algorithm = &ring_signature::ECDSA_P256_SHA256_ASN1_SIGNING;
                let random = SystemRandom::new();
                let made = ring_signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| NewKeyError)?;
                let pkcs8 = Zeroizing::new(made.as_ref().to_vec());
                let pair =
                    ring_signature::EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).map_err(|_| NewKeyError)?;
                let point = pair.public_key().as_ref();
                let spki = asn1::tlv(
                    SEQUENCE,
                    &[
                        &asn1::algorithm_with(oid::EC_PUBLIC_KEY, &asn1::oid(oid::P256)),
                        &asn1::tlv(BIT_STRING, &[&[0], point]),
                    ],
                );
                Ok(Self { pkcs8, spki, pair: Pair::P256(Box::new(pair)) })
            }
        }
    }

    /// Writes the key as PKCS#8 PEM into a new file of mode 0600.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn store(&self, path: &Path) -> Result<(), FileError> {
        files::write_new_secret(path, Zeroizing::new(pem_text("PRIVATE KEY", &self.pkcs8)).as_bytes())
    }

    /// The request, DER: the subject of `like`, its extended key usage and alternative names, and a keyUsage that fits the key. The key signs it, so it
    /// is proven to be held (RFC 2986 3).
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn request(&self, like: &Certificate) -> Result<Vec<u8>, NewKeyError> {
        let extensions = asn1::tlv(SEQUENCE, &[&self.extensions(like)?]);
        let asked = asn1::tlv(SEQUENCE, &[&asn1::oid(oid::EXTENSION_REQUEST), &asn1::tlv(SET, &[&extensions])]);
        let info =
            asn1::tlv(SEQUENCE, &[&[INTEGER, 1, 0], like.subject_der(), &self.spki, &asn1::tlv(context(0), &[&asked])]);
        let (algorithm, signature) = self.sign(&info)?;
        Ok(asn1::tlv(SEQUENCE, &[&info, &algorithm, &asn1::tlv(BIT_STRING, &[&[0], &signature])]))
    }

    /// [`NewKey::request`] as PEM.
    ///
    /// # Errors
    /// As there.
    pub fn request_pem(&self, like: &Certificate) -> Result<String, NewKeyError> {
        Ok(pem_text("CERTIFICATE REQUEST", &self.request(like)?))
    }

    fn extensions(&self, like: &Certificate) -> Result<Vec<u8>, NewKeyError> {
        let parsed = x509_cert::Certificate::from_der(like.der()).map_err(|_| NewKeyError)?;
        let mut out = Vec::new();
        for extension in parsed.tbs_certificate().extensions().into_iter().flatten() {
            if [oid::EXTENDED_KEY_USAGE, oid::SUBJECT_ALT_NAME].contains(&extension.extn_id) {
                out.extend(extension.to_der().map_err(|_| NewKeyError)?);
            }
        }
        if let Some(usage) = like.key_usage() {
            let usage = self.usage_after(*usage).to_der().map_err(|_| NewKeyError)?;
            let parts: [&[u8]; 3] =
                [&asn1::oid(oid::KEY_USAGE), &[0x01, 1, 0xff], &asn1::tlv(asn1::OCTET_STRING, &[&usage])];
            out.extend(asn1::tlv(SEQUENCE, &parts));
        }
        Ok(out)
    }

    /// What receives keys by transport in RSA does it by agreement on a curve (RFC 5280 4.2.1.3).
    fn usage_after(&self, before: KeyUsage) -> KeyUsage {
        if !before.key_encipherment() && !before.key_agreement() {
            return before;
        }
        let receives = match self.pair {
            Pair::Rsa(_) => KeyUsages::KeyEncipherment,
            Pair::P256(_) => KeyUsages::KeyAgreement,
        };
        KeyUsage((before.0 - (KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement)) | receives)
    }

    fn sign(&self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>), NewKeyError> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = aws_lc_rs::rand::SystemRandom::new();
                pair.sign(&aws_signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| NewKeyError)?;
                Ok((asn1::algorithm_with(oid::RSA_SHA256, &[NULL, 0]), signature))
            }
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| NewKeyError)?;
                Ok((asn1::algorithm(oid::ECDSA_SHA256), signature.as_ref().to_vec()))
            }
        }
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey([redacted])")
    }
}
