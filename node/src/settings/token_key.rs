//! A key in a PKCS#11 token, as settings name it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::{info, warn};
use truc_signer::{Certificate, ObjectName, Pin, Token, TokenError, TokenKey, TokenWay};

use super::{
    MaterialError,
    material::{read_certificates, read_password},
};

/// Where systemd puts a service's credentials (systemd.exec, LoadCredential=).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a token's PIN comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PinSource {
    /// A file.
    File(PathBuf),
    /// A credential of the service, by its name.
    Credential(String),
}

/// Which key of which token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenSource {
    /// The driver's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key's name in it.
    pub object: ObjectName,
    /// Its PIN.
    pub pin: PinSource,
    /// The certificate chain, leaf first; none: the certificate beside the key in the token.
    pub certificate: Option<PathBuf>,
}

impl TokenSource {
    /// The file that names it in messages.
    pub(super) fn path(&self) -> &Path {
        self.certificate.as_deref().unwrap_or(&self.module)
    }

    pub(super) fn certificate(&self) -> Result<Certificate, MaterialError> {
        Ok(self.key()?.certificate().clone())
    }

    /// The key, tried. A token that is away, or does not take its PIN, is no error where its certificate lies in a file: what waits for it waits.
    pub(super) fn load(
        &self,
        attempt: impl FnOnce(&TokenKey) -> Result<TokenWay, TokenError>,
    ) -> Result<TokenKey, MaterialError> {
        let key = self.key()?;
        match attempt(&key) {
            Ok(way) => info!(key = %self, ?way, "the key in the token works"),
            Err(error @ (TokenError::Away { .. } | TokenError::Pin { .. })) => {
                warn!(key = %self, %error, "the token is not of use now; what needs it is held until it is");
            }
            Err(error) => return Err(MaterialError::Token(error)),
        }
        Ok(key)
    }

    fn key(&self) -> Result<TokenKey, MaterialError> {
        let pin = Pin::new(&read_password(&self.pin.file()?)?);
        let token: Arc<Token> = Token::shared(&self.module, &self.token, pin);
        let Some(path) = &self.certificate else {
            return Ok(TokenKey::with_own_certificate(token, self.object.clone())?);
        };
        let mut chain = read_certificates(path)?.into_iter();
        let certificate = chain.next().ok_or_else(|| MaterialError::Read {
            path: path.clone(),
            source: std::io::Error::other("there is no certificate in it"),
        })?;
        Ok(TokenKey::new(token, self.object.clone(), certificate, chain.collect()))
    }
}

impl PinSource {
    fn file(&self) -> Result<PathBuf, MaterialError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => match env::var_os(CREDENTIALS) {
                Some(folder) => Ok(PathBuf::from(folder).join(name)),
                None => Err(MaterialError::NoCredentials { name: name.clone() }),
            },
        }
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in token {}", self.object, self.token)
    }
}
