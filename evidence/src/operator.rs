//! The pinned identity of the axis operator: what a verifier is given by configuration and believes nobody else about.

use truc_proto::Digest;
use truc_signer::{Certificate, PemError};

/// The operator's certificates, as configured. Usually one; two while the operator changes its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedOperator {
    certificates: Vec<Certificate>,
}

impl PinnedOperator {
    /// One pinned certificate.
    #[must_use]
    pub fn new(certificate: Certificate) -> Self {
        Self { certificates: vec![certificate] }
    }

    /// The certificates of a file (`operator.pem`, or one in DER). Authorities in it are passed over: pinned are subscribers.
    ///
    /// # Errors
    /// When the file holds no certificate of a subscriber.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, PemError> {
        let certificates: Vec<_> = Certificate::from_file_bytes(bytes)?.into_iter().filter(|c| !c.is_ca()).collect();
        if certificates.is_empty() {
            return Err(PemError::Empty { wanted: "operator's CERTIFICATE" });
        }
        Ok(Self { certificates })
    }

    /// The pinned certificates; at least one.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether the certificate of this SHA-256 is pinned.
    #[must_use]
    pub fn pins(&self, certificate: &Digest) -> bool {
        self.certificates.iter().any(|pinned| pinned.sha256() == *certificate)
    }
}
