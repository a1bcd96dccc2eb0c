//! The files of whom a node trusts: anchors, revocation lists, the pinned operator.

use std::path::PathBuf;

use truc_custody::{MaterialError, read_certificates, read_file};
use truc_evidence::PinnedOperator;
use truc_signer::{Crl, PolicySettings, TrustStore};

/// Files of anchors and lists, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustFiles {
    /// Root certificates.
    pub anchors: PathBuf,
    /// Authorities between roots and subscribers.
    pub intermediates: Option<PathBuf>,
    /// Revocation lists, PEM or DER; read again when they change.
    pub crls: Vec<PathBuf>,
    /// Under which certificate policies paths must be; the default asks for none.
    pub policies: PolicySettings,
    /// The pinned operator's certificate.
    pub operator: PathBuf,
}

impl TrustFiles {
    /// Builds a trust store from the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(&self) -> Result<TrustStore, MaterialError> {
        self.load_with(Vec::new())
    }

    /// As [`TrustFiles::load`], with further revocation lists.
    ///
    /// # Errors
    /// As there.
    pub fn load_with(&self, mut crls: Vec<Crl>) -> Result<TrustStore, MaterialError> {
        let anchors = read_certificates(&self.anchors)?;
        let intermediates = self.intermediates.as_deref().map_or(Ok(Vec::new()), read_certificates)?;
        for path in &self.crls {
            let bytes = read_file(path)?;
            crls.extend(
                Crl::from_file_bytes(&bytes).map_err(|source| MaterialError::Crl { path: path.clone(), source })?,
            );
        }
        Ok(TrustStore::new(anchors, intermediates, crls)?.under_policies(self.policies.clone()))
    }

    /// The revocation lists' files as they are now.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn revocation_lists(&self) -> Result<Vec<Vec<u8>>, MaterialError> {
        self.crls.iter().map(|path| read_file(path)).collect()
    }

    /// The pinned operator.
    ///
    /// # Errors
    /// When the file cannot be read or names no operator.
    pub fn operator(&self) -> Result<PinnedOperator, MaterialError> {
        let failed = |source| MaterialError::Certificates { path: self.operator.clone(), source };
        PinnedOperator::from_file_bytes(&read_file(&self.operator)?).map_err(failed)
    }
}
