//! A key in a PKCS#11 token, as settings name it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::{info, warn};
use truc_signer::{Certificate, ObjectName, Pin, Token, TokenError, TokenKey, TokenWay};
use zeroize::Zeroizing;

use crate::{KeySource, MaterialError, read_certificates, source::read_password};

/// Where systemd puts a service's credentials (systemd.exec, LoadCredential=).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a token's PIN comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PinSource {
    /// A file.
    File(PathBuf),
    /// A credential of the service, by its name.
    Credential(String),
    /// A person: asked at the start where there is a terminal, else through the local API (`truc pin`).
    Prompt,
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
    /// Those of these keys' tokens whose PIN a person gives, each once.
    #[must_use]
    pub fn prompted<'k>(keys: impl IntoIterator<Item = &'k KeySource>) -> Vec<&'k Self> {
        let mut asked: Vec<&Self> = Vec::new();
        for key in keys {
            if let KeySource::Token(source) = key
                && source.pin == PinSource::Prompt
                && !asked.iter().any(|known| known.module == source.module && known.token == source.token)
            {
                asked.push(source);
            }
        }
        asked
    }

    /// Takes the PIN that a person gave at the terminal; it is shown to the token when that is first used.
    ///
    /// # Errors
    /// When the token is away, or does not take it.
    pub fn give_pin(&self, pin: &Zeroizing<String>) -> Result<(), TokenError> {
        Token::prompted(&self.module, &self.token).give_pin(Pin::new(pin))
    }

    /// The file that names it in messages.
    pub(crate) fn path(&self) -> &Path {
        self.certificate.as_deref().unwrap_or(&self.module)
    }

    /// What an `X.token` file says of it, with whole paths.
    ///
    /// # Errors
    /// When a file that it names is not there.
    pub fn to_toml(&self) -> std::io::Result<String> {
        let whole = |path: &Path| Ok::<_, std::io::Error>(path.canonicalize()?.display().to_string());
        let mut table = toml::Table::new();
        let mut put = |name: &str, text: String| _ = table.insert(name.to_owned(), toml::Value::String(text));
        put("pkcs11", whole(&self.module)?);
        put("token", self.token.clone());
        put("object", self.object.to_string());
        match &self.pin {
            PinSource::File(path) => put("pin_file", whole(path)?),
            PinSource::Credential(name) => put("pin_credential", name.clone()),
            PinSource::Prompt => put("pin", "prompt".to_owned()),
        }
        if let Some(path) = &self.certificate {
            put("certificate", whole(path)?);
        }
        Ok(table.to_string())
    }

    pub(crate) fn certificate(&self) -> Result<Certificate, MaterialError> {
        Ok(self.key()?.certificate().clone())
    }

    /// The key, tried. A token that is away, or does not take its PIN, is no error where its certificate lies in a file: what waits for it waits.
    pub(crate) fn load(
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
        let token: Arc<Token> = match self.pin.file()? {
            Some(file) => Token::shared(&self.module, &self.token, Pin::new(&read_password(&file)?)),
            None => Token::prompted(&self.module, &self.token),
        };
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
    /// None: a person gives it.
    fn file(&self) -> Result<Option<PathBuf>, MaterialError> {
        match self {
            Self::Prompt => Ok(None),
            Self::File(path) => Ok(Some(path.clone())),
            Self::Credential(name) => match env::var_os(CREDENTIALS) {
                Some(folder) => Ok(Some(PathBuf::from(folder).join(name))),
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
