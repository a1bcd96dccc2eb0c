//! One issued certificate with its key, in the forms that people and programs take.

use std::fmt;

use data_encoding::BASE64;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};

use crate::pki::PkiError;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, DER.
    pub certificate_der: Vec<u8>,
    /// The certificate that signed it, DER.
    pub issuer_der: Vec<u8>,
    /// The certificate, then its sub-CA: the chain a peer needs besides the root.
    pub certificate_pem: String,
    /// The private key, PKCS#8 DER, not encrypted.
    pub key_pkcs8_der: Vec<u8>,
    /// The private key, PKCS#8 PEM, not encrypted.
    pub key_pem: String,
    /// The serial number's magnitude, big-endian, 16 bytes.
    pub serial: Vec<u8>,
    pub(crate) by_root: bool,
}

impl Issued {
    pub(crate) fn new(certificate: Vec<u8>, issuer: Vec<u8>, key: Vec<u8>, serial: Vec<u8>, by_root: bool) -> Self {
        let mut certificate_pem = pem("CERTIFICATE", &certificate);
        if !by_root {
            certificate_pem.push_str(&pem("CERTIFICATE", &issuer));
        }
        let key_pem = pem("PRIVATE KEY", &key);
        Self {
            certificate_der: certificate,
            issuer_der: issuer,
            certificate_pem,
            key_pkcs8_der: key,
            key_pem,
            serial,
            by_root,
        }
    }

    /// The certificate alone, PEM.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate_der)
    }

    /// SHA-256 over the DER certificate, the fingerprint that directories list.
    #[must_use]
    pub fn fingerprint(&self) -> truc_proto::Digest {
        truc_proto::Digest::of(&self.certificate_der)
    }

    /// Key and chain as a PKCS#12 file (PBES2, AES-256, HMAC-SHA-256).
    ///
    /// # Errors
    /// When the library cannot encode them.
    pub fn pkcs12(&self, password: &str) -> Result<Vec<u8>, PkiError> {
        let mut chain = vec![Certificate::from_der(&self.certificate_der)?];
        if !self.by_root {
            chain.push(Certificate::from_der(&self.issuer_der)?);
        }
        let mut store = KeyStore::new();
        let identifier = self.fingerprint();
        let entry = PrivateKeyChain::new(&self.key_pkcs8_der, &identifier.as_bytes()[..20], chain);
        store.add_entry("truc dev", KeyStoreEntry::PrivateKeyChain(entry));
        Ok(store.writer(password).write()?)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({}, key [redacted])", self.fingerprint())
    }
}

/// RFC 7468 text: base64 in lines of 64.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text.push_str(&BASE64.encode(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
