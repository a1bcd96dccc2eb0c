//! The files that settings name: keys with their certificates, anchors, revocation lists, the pinned operator.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use truc_evidence::PinnedOperator;
use truc_signer::{
    Certificate, Crl, CrlError, OpeningKey, PemError, PolicySettings, SoftKey, SoftKeyError, TokenError, TokenKey,
    TrustStore, TrustStoreError,
};
use zeroize::Zeroizing;

use super::{Settings, SettingsError, TokenSource};

/// Longest password file in bytes.
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// Where a certificate with its key is.
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
    /// In a PKCS#11 token.
    Token(Box<TokenSource>),
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
    /// Under which certificate policies paths must be; the default asks for none.
    pub policies: PolicySettings,
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
    /// A key in a token.
    #[error("the key in the token cannot be used")]
    Token(#[from] TokenError),
    /// The PIN is a service's credential, and this is no such service.
    #[error(
        "the PIN is the credential `{name}`, but there is no CREDENTIALS_DIRECTORY: start the node as a systemd service with LoadCredential={name}:…, or name a pin_file"
    )]
    NoCredentials {
        /// Its name.
        name: String,
    },
    /// A token's key where only a key in a file serves.
    #[error("the key for connections lies in a file: a token's key cannot be used for {}", path.display())]
    NotInFile {
        /// What names it.
        path: PathBuf,
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
    /// By the file that a person names: `X.p12` with `X.password` beside it, `X.pem` with `X.key`, or `X.token`, which says where in a token the
    /// key is ([`Settings::load_key`]).
    ///
    /// # Errors
    /// When an `X.token` cannot be read.
    pub fn beside(path: &Path) -> Result<Self, SettingsError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match extension.as_str() {
            "p12" | "pfx" => Self::Pkcs12 { file: path.to_owned(), password_file: path.with_extension("password") },
            "token" => Settings::load_key(path)?,
            _ => Self::Pem { certificate: path.to_owned(), key: path.with_extension("key") },
        })
    }

    /// The file that names it in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Pem { certificate, .. } => certificate,
            Self::Pkcs12 { file, .. } => file,
            Self::Token(source) => source.path(),
        }
    }

    /// The certificate alone. A key's own file or token may be away where the certificate lies in a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn certificate(&self) -> Result<Certificate, MaterialError> {
        match self {
            Self::Token(source) => source.certificate(),
            Self::Pem { .. } | Self::Pkcs12 { .. } => Ok(self.load_signing()?.certificate().clone()),
        }
    }

    /// The key, to open what is sealed to its certificate.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable, or a token does not do it.
    pub(crate) fn load_opening(&self) -> Result<Box<dyn OpeningKey>, MaterialError> {
        Ok(match self {
            Self::Token(source) => Box::new(source.load(TokenKey::try_opening)?),
            Self::Pem { .. } | Self::Pkcs12 { .. } => Box::new(self.load()?),
        })
    }

    /// Loads certificate and key from files.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable, or the key is in a token.
    pub fn load(&self) -> Result<SoftKey, MaterialError> {
        let failed = |source| MaterialError::Key { path: self.path().to_owned(), source };
        match self {
            Self::Pem { certificate, key } => SoftKey::load_pem(certificate, key).map_err(failed),
            Self::Pkcs12 { file, password_file } => {
                let password = read_password(password_file)?;
                SoftKey::load_pkcs12(file, &password).map_err(failed)
            }
            Self::Token(_) => Err(MaterialError::NotInFile { path: self.path().to_owned() }),
        }
    }
}

/// A line end at the end of the file is not part of the password: editors put it there.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<String>, MaterialError> {
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
        PinnedOperator::from_pem(&read_file(&self.operator)?).map_err(failed)
    }
}

pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, MaterialError> {
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
