//! The files that settings name: keys with their certificates, anchors, revocation lists, the pinned operator.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use truc_evidence::PinnedOperator;
use truc_signer::{Certificate, Crl, CrlError, PemError, SoftKey, SoftKeyError, TrustStore, TrustStoreError};
use zeroize::Zeroizing;

/// Longest password file in bytes.
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// The files of a certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// PEM: certificate chain and PKCS#8 key.
    Pem {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The key, of mode 0600.
        key: PathBuf,
    },
    /// PKCS#12.
    Pkcs12 {
        /// The file, of mode 0600.
        file: PathBuf,
        /// A file that holds the password.
        password_file: PathBuf,
    },
}

/// Files of anchors and lists, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustFiles {
    /// Root certificates.
    pub anchors: PathBuf,
    /// Authorities between roots and subscribers.
    pub intermediates: Option<PathBuf>,
    /// Revocation lists, PEM or DER; read again when they change.
    pub crls: Vec<PathBuf>,
    /// The pinned operator's certificate.
    pub operator: PathBuf,
}

/// Why a file that settings name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The file system.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate with its key.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: SoftKeyError,
    },
    /// Certificates.
    #[error("the certificates in {} cannot be used", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// A revocation list.
    #[error("the revocation list in {} cannot be used; fetch it again", path.display())]
    Crl {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: CrlError,
    },
    /// They do not make a trust store.
    #[error("the trust files cannot be used")]
    Trust(#[from] TrustStoreError),
}

impl KeySource {
    /// The files beside the one that a person names: `X.p12` with `X.password`, `X.pem` with `X.key`.
    #[must_use]
    pub fn beside(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if matches!(extension.as_str(), "p12" | "pfx") {
            Self::Pkcs12 { file: path.to_owned(), password_file: path.with_extension("password") }
        } else {
            Self::Pem { certificate: path.to_owned(), key: path.with_extension("key") }
        }
    }

    /// The file that names it in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Pem { certificate, .. } => certificate,
            Self::Pkcs12 { file, .. } => file,
        }
    }

    /// Loads certificate and key.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable.
    pub fn load(&self) -> Result<SoftKey, MaterialError> {
        let failed = |source| MaterialError::Key { path: self.path().to_owned(), source };
        match self {
            Self::Pem { certificate, key } => SoftKey::load_pem(certificate, key).map_err(failed),
            Self::Pkcs12 { file, password_file } => {
                let password = read_password(password_file)?;
                SoftKey::load_pkcs12(file, &password).map_err(failed)
            }
        }
    }

    pub(crate) fn files(&self) -> [&Path; 2] {
        match self {
            Self::Pem { certificate, key } => [certificate, key],
            Self::Pkcs12 { file, password_file } => [file, password_file],
        }
    }
}

/// A line end at the end of the file is not part of the password: editors put it there.
fn read_password(path: &Path) -> Result<Zeroizing<String>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > PASSWORD_BYTES_MAX {
        return Err(failed(io::Error::other("too long for a password")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl TrustFiles {
    /// Builds a trust store from the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(&self) -> Result<TrustStore, MaterialError> {
        let anchors = read_certificates(&self.anchors)?;
        let intermediates = self.intermediates.as_deref().map_or(Ok(Vec::new()), read_certificates)?;
        let mut crls = Vec::new();
        for path in &self.crls {
            let bytes = read_file(path)?;
            crls.extend(
                Crl::from_file_bytes(&bytes).map_err(|source| MaterialError::Crl { path: path.clone(), source })?,
            );
        }
        Ok(TrustStore::new(anchors, intermediates, crls)?)
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
        PinnedOperator::from_pem(&read_file(&self.operator)?).map_err(failed)
    }
}

pub(super) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, MaterialError> {
    Certificate::from_pem(&read_file(path)?)
        .map_err(|source| MaterialError::Certificates { path: path.to_owned(), source })
}

/// Bounds on the content are the parsers'; a file larger than any of them is not even read.
fn read_file(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    let length = usize::try_from(fs::metadata(path).map_err(failed)?.len()).unwrap_or(usize::MAX);
    // PEM is a third longer than what it encodes.
    if length > truc_proto::limits::CRL_BYTES_MAX * 3 / 2 {
        return Err(failed(io::Error::other("too large for certificates or revocation lists")));
    }
    fs::read(path).map_err(failed)
}
