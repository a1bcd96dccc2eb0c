//! A service key whose file may be away, on a stick or a share: its certificate is here, so the node starts, takes requests and holds them; it signs
//! by itself when the file is back.

use std::{fs, io, path::Path, sync::OnceLock};

use truc_proto::limits::PEM_BYTES_MAX;
use truc_signer::{
    Certificate, FileError, PemError, SignError, SignatureScheme, SigningKey, SoftKey, SoftKeyError, TokenKey,
};

use super::{KeySource, MaterialError};

/// Signs with the key beside its certificate, once that can be read.
struct AwayKey {
    source: KeySource,
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: OnceLock<SoftKey>,
}

impl KeySource {
    /// As [`KeySource::load`] for a key that signs; that the key's file is not there is no error where its certificate is. What does not fit, or
    /// lies open to others, is one.
    ///
    /// # Errors
    /// When a file is exposed or unusable, or nothing tells which certificate it would be.
    pub(crate) fn load_signing(&self) -> Result<Box<dyn SigningKey>, MaterialError> {
        if let Self::Token(source) = self {
            return Ok(Box::new(source.load(TokenKey::try_signing)?));
        }
        let error = match self.load() {
            Ok(key) => return Ok(Box::new(key)),
            Err(error) => error,
        };
        match self {
            Self::Pem { certificate, key } if is_away(&error, key) => {
                let away = AwayKey::new(self.clone(), certificate)?;
                tracing::warn!(key = %key.display(), "the signing key's file is away; what is to be signed is held until it is back");
                Ok(Box::new(away))
            }
            _ => Err(error),
        }
    }
}

fn is_away(error: &MaterialError, key: &Path) -> bool {
    let MaterialError::Key { source: SoftKeyError::File(FileError::Read { path, source }), .. } = error else {
        return false;
    };
    path == key && source.kind() == io::ErrorKind::NotFound
}

impl AwayKey {
    fn new(source: KeySource, path: &Path) -> Result<Self, MaterialError> {
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
        Ok(Self { source, certificate, chain, key: OnceLock::new() })
    }

    fn key(&self) -> Result<&SoftKey, SignError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let away = |detail: String| SignError::Away { subject: self.certificate.subject().to_owned(), detail };
        let key = self.source.load().map_err(|error| away(crate::chain(&error)))?;
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
