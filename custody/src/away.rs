//! A signing key whose file may be away, on a stick or a share: its certificate is here, so the process starts, takes requests and holds them; it
//! signs by itself when the file is back.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use truc_proto::limits::PEM_BYTES_MAX;
use truc_signer::{
    Certificate, FileError, PemError, SignError, SignatureScheme, SigningKey, SoftKey, SoftKeyError, TokenKey,
};

use crate::{KeySource, MaterialError};

/// Signs with the key beside its certificate, once that can be read.
struct AwayKey {
    source: KeySource,
    /// Of the chain, and of the key.
    files: (PathBuf, PathBuf),
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: OnceLock<SoftKey>,
}

impl KeySource {
    /// The key, to sign. That its own file or token is away is no error where its certificate lies in a file. What does not fit, or lies open to
    /// others, is one.
    ///
    /// # Errors
    /// When a file is exposed or unusable, or nothing tells which certificate it would be.
    pub fn load_signing(&self) -> Result<Box<dyn SigningKey>, MaterialError> {
        Ok(match self {
            Self::Token(source) => Box::new(source.load(TokenKey::try_signing)?),
            Self::Pkcs12 { file, password_file } => Box::new(self.load_pkcs12(file, password_file)?),
            Self::Pem { certificate, key } => match self.load_pem(certificate, key) {
                Ok(key) => Box::new(key),
                Err(error) if is_away(&error, key) => {
                    let away = AwayKey::new(self, certificate, key)?;
                    tracing::warn!(key = %key.display(), "the signing key's file is away; what is to be signed is held until it is back");
                    Box::new(away)
                }
                Err(error) => return Err(error),
            },
        })
    }
}

fn is_away(error: &MaterialError, key: &Path) -> bool {
    let MaterialError::Key { source: SoftKeyError::File(FileError::Read { path, source }), .. } = error else {
        return false;
    };
    path == key && source.kind() == io::ErrorKind::NotFound
}

impl AwayKey {
    fn new(source: &KeySource, path: &Path, key: &Path) -> Result<Self, MaterialError> {
        let failed = |source| MaterialError::Read { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if usize::try_from(length).is_ok_and(|length| length > PEM_BYTES_MAX) {
            return Err(failed(io::Error::other("too long for a certificate chain")));
        }
        let pem = fs::read(path).map_err(failed)?;
        let unusable = |source| MaterialError::Certificates { path: path.to_owned(), source };
        // Without the key only the order tells which one is its own: leaf first.
        let mut chain = Certificate::from_pem(&pem).map_err(unusable)?.into_iter();
        let certificate = chain.next().ok_or_else(|| unusable(PemError::Empty { wanted: "CERTIFICATE" }))?;
        let chain = chain.collect();
        let files = (path.to_owned(), key.to_owned());
        Ok(Self { source: source.clone(), files, certificate, chain, key: OnceLock::new() })
    }

    fn key(&self) -> Result<&SoftKey, SignError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let away = |detail: String| SignError::Away { subject: self.certificate.subject().to_owned(), detail };
        let (chain, key) = &self.files;
        let key = self.source.load_pem(chain, key).map_err(|error| away(crate::chain(&error)))?;
        if key.certificate() != &self.certificate {
            return Err(away("the key file that is there now belongs to another certificate".into()));
        }
        tracing::info!(subject = self.certificate.subject(), "the signing key is back");
        Ok(self.key.get_or_init(|| key))
    }
}

impl SigningKey for AwayKey {
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
        self.key()?.sign(message)
    }
}
