//! Where a certificate with its key is: in files or in a token.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::Table;
use truc_link::{Identity, IdentityError};
use truc_proto::limits::SETTINGS_BYTES_MAX;
use truc_signer::{
    Certificate, CrlError, OpeningKey, PemError, SoftKey, SoftKeyError, TokenError, TokenKey, TrustStoreError,
};
use zeroize::Zeroizing;

use crate::{PinSource, Reader, SettingsError, TokenSource};

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
        "the PIN is the credential `{name}`, but there is no CREDENTIALS_DIRECTORY: start it as a systemd service with LoadCredential={name}:…, or name a pin_file"
    )]
    NoCredentials {
        /// Its name.
        name: String,
    },
    /// A key that connections cannot use.
    #[error("the key of {} cannot be used for connections", path.display())]
    Identity {
        /// What names it.
        path: PathBuf,
        /// Why.
        source: IdentityError,
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
    /// key is ([`KeySource::named_by`]).
    ///
    /// # Errors
    /// When an `X.token` cannot be read.
    pub fn beside(path: &Path) -> Result<Self, SettingsError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match extension.as_str() {
            "p12" | "pfx" => Self::Pkcs12 { file: path.to_owned(), password_file: path.with_extension("password") },
            "token" => Self::named_by(path)?,
            _ => Self::Pem { certificate: path.to_owned(), key: path.with_extension("key") },
        })
    }

    /// `NAME.pem` with `NAME.key` in a folder.
    #[must_use]
    pub fn beside_name(folder: &Path, name: &str) -> Self {
        Self::Pem { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }

    /// Reads a file that says where a key is, in the words of the settings: `X.token` for [`KeySource::Token`]. Paths are as seen from its folder.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn named_by(path: &Path) -> Result<Self, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > SETTINGS_BYTES_MAX {
            return Err(failed(io::Error::other(format!("longer than {SETTINGS_BYTES_MAX} bytes"))));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let mut reader = Reader::new(path.parent().unwrap_or(Path::new(".")));
        match (reader.key(Some(table.into()), "key"), reader.mistakes) {
            (Some(source), mistakes) if mistakes.is_empty() => Ok(source),
            (_, mistakes) => Err(SettingsError::Mistakes { path: path.to_owned(), mistakes }),
        }
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

    /// The files that it names. A token's driver belongs to the machine and is none of them.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Pem { certificate, key } => vec![certificate, key],
            Self::Pkcs12 { file, password_file } => vec![file, password_file],
            Self::Token(source) => {
                let pin = match &source.pin {
                    PinSource::File(path) => Some(path),
                    PinSource::Credential(_) | PinSource::Prompt => None,
                };
                source.certificate.iter().chain(pin).map(PathBuf::as_path).collect()
            }
        }
    }

    /// The same key with its files elsewhere: `copy` takes a file and an ending, and says where it is then.
    ///
    /// # Errors
    /// Those of `copy`.
    pub fn copied<E>(&self, mut copy: impl FnMut(&Path, &str) -> Result<PathBuf, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Pem { certificate, key } => {
                Self::Pem { certificate: copy(certificate, "pem")?, key: copy(key, "key")? }
            }
            Self::Pkcs12 { file, password_file } => {
                Self::Pkcs12 { file: copy(file, "p12")?, password_file: copy(password_file, "password")? }
            }
            Self::Token(source) => {
                let certificate = source.certificate.as_ref().map(|path| copy(path, "pem")).transpose()?;
                let pin = match &source.pin {
                    PinSource::File(path) => PinSource::File(copy(path, "pin")?),
                    other @ (PinSource::Credential(_) | PinSource::Prompt) => other.clone(),
                };
                Self::Token(Box::new(TokenSource { certificate, pin, ..source.as_ref().clone() }))
            }
        })
    }

    /// What settings in `folder` name it by.
    #[must_use]
    pub fn pairs(&self, folder: &Path) -> Vec<(String, String)> {
        let shown = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let of_files = |pairs: [(&str, &PathBuf); 2]| pairs.map(|(name, path)| (name.to_owned(), shown(path))).into();
        match self {
            Self::Pem { certificate, key } => of_files([("certificate", certificate), ("key", key)]),
            Self::Pkcs12 { file, password_file } => of_files([("pkcs12", file), ("password_file", password_file)]),
            Self::Token(source) => {
                let TokenSource { module, token, object, pin, certificate } = source.as_ref();
                let pin = match pin {
                    PinSource::File(path) => ("pin_file", shown(path)),
                    PinSource::Credential(name) => ("pin_credential", name.clone()),
                    PinSource::Prompt => ("pin", "prompt".to_owned()),
                };
                let certificate = certificate.as_ref().map(|path| ("certificate", shown(path)));
                let own = [("pkcs11", shown(module)), ("token", token.clone()), ("object", object.to_string()), pin];
                own.into_iter().chain(certificate).map(|(name, value)| (name.to_owned(), value)).collect()
            }
        }
    }

    /// As settings in `folder` write it.
    #[must_use]
    pub fn to_value(&self, folder: &Path) -> toml::Value {
        self.pairs(folder).into_iter().map(|(name, value)| (name, toml::Value::String(value))).collect::<Table>().into()
    }

    /// The certificate alone. A key's own file or token may be away where the certificate lies in a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn certificate(&self) -> Result<Certificate, MaterialError> {
        match self {
            Self::Token(source) => source.certificate(),
            Self::Pem { .. } | Self::Pkcs12 { .. } => Ok(self.load_signing()?.certificate().clone()),
        }
    }

    /// The key, to open what is sealed to its certificate.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable, or a token does not do it.
    pub fn load_opening(&self) -> Result<Box<dyn OpeningKey>, MaterialError> {
        Ok(match self {
            Self::Token(source) => Box::new(source.load(TokenKey::try_opening)?),
            Self::Pem { certificate, key } => Box::new(self.load_pem(certificate, key)?),
            Self::Pkcs12 { file, password_file } => Box::new(self.load_pkcs12(file, password_file)?),
        })
    }

    /// The key with its certificate, for connections. Of a key in a token the certificate is enough to begin with where it lies in a file.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable, or a token does not sign for TLS.
    pub fn load_identity(&self) -> Result<(Certificate, Identity), MaterialError> {
        let made = |certificate: &Certificate, identity: Result<Identity, IdentityError>| match identity {
            Ok(identity) => Ok((certificate.clone(), identity)),
            Err(source) => Err(MaterialError::Identity { path: self.path().to_owned(), source }),
        };
        let of_file = |key: SoftKey| made(key.certificate(), Identity::of_key(&key));
        match self {
            Self::Token(source) => {
                let key = source.load(TokenKey::try_connecting)?;
                let certificate = key.certificate().clone();
                made(&certificate, Identity::of_token(key))
            }
            Self::Pem { certificate, key } => of_file(self.load_pem(certificate, key)?),
            Self::Pkcs12 { file, password_file } => of_file(self.load_pkcs12(file, password_file)?),
        }
    }

    pub(crate) fn load_pem(&self, certificate: &Path, key: &Path) -> Result<SoftKey, MaterialError> {
        SoftKey::load_pem(certificate, key).map_err(|source| self.unusable(source))
    }

    pub(crate) fn load_pkcs12(&self, file: &Path, password_file: &Path) -> Result<SoftKey, MaterialError> {
        let password = read_password(password_file)?;
        SoftKey::load_pkcs12(file, &password).map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: SoftKeyError) -> MaterialError {
        MaterialError::Key { path: self.path().to_owned(), source }
    }
}

/// A line end at the end of the file is not part of the password: editors put it there.
pub(crate) fn read_password(path: &Path) -> Result<Zeroizing<String>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > PASSWORD_BYTES_MAX {
        return Err(failed(io::Error::other("too long for a password")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The certificates in a PEM file, or the one in a DER file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, MaterialError> {
    Certificate::from_file_bytes(&read_file(path)?)
        .map_err(|source| MaterialError::Certificates { path: path.to_owned(), source })
}

/// A file of certificates or revocation lists. Bounds on the content are the parsers'; a file larger than any of them is not even read.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    let length = usize::try_from(fs::metadata(path).map_err(failed)?.len()).unwrap_or(usize::MAX);
    // PEM is a third longer than what it encodes.
    if length > truc_proto::limits::CRL_BYTES_MAX * 3 / 2 {
        return Err(failed(io::Error::other("too large for certificates or revocation lists")));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_the_named_one_are_found_by_their_ending() {
        assert_eq!(
            KeySource::beside(Path::new("a/service.p12")).unwrap(),
            KeySource::Pkcs12 { file: "a/service.p12".into(), password_file: "a/service.password".into() }
        );
        assert_eq!(
            KeySource::beside(Path::new("a/tls.pem")).unwrap(),
            KeySource::Pem { certificate: "a/tls.pem".into(), key: "a/tls.key".into() }
        );
    }

    #[test]
    fn a_key_in_a_token_is_named_by_a_file_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (module, pin) = (file("driver.so", ""), file("pin", "1234"));
        let good = "pkcs11 = \"driver.so\"\ntoken = \"HSM 1\"\nobject = \"id:0a01\"\npin_file = \"pin\"\n";
        let source = |pin| TokenSource {
            module: module.clone(),
            token: "HSM 1".into(),
            object: truc_signer::ObjectName::Id(vec![10, 1]),
            pin,
            certificate: None,
        };
        let named = |text: &str| KeySource::beside(&file("key.token", text));
        assert_eq!(named(good).unwrap(), KeySource::Token(Box::new(source(PinSource::File(pin.clone())))));
        let credential = good.replace("pin_file = \"pin\"", "pin_credential = \"hsm\"");
        assert_eq!(
            named(&credential).unwrap(),
            KeySource::Token(Box::new(source(PinSource::Credential("hsm".into()))))
        );
        let asked = good.replace("pin_file = \"pin\"", "pin = \"prompt\"");
        assert!(named(&asked).unwrap_err().to_string().contains("certificate"), "without its PIN the token shows none");
        file("chain.pem", "");
        let KeySource::Token(asked) = named(&format!("{asked}certificate = \"chain.pem\"\n")).unwrap() else {
            panic!("a token")
        };
        assert_eq!(asked.pin, PinSource::Prompt);
        let of_all = [KeySource::Token(asked.clone()), KeySource::Token(asked.clone())];
        assert_eq!(TokenSource::prompted(&of_all), [asked.as_ref()], "each token is asked for once");
        let bad = "pkcs11 = \"gone.so\"\nobject = \"01\"\npin_credential = \"../x\"\nlabel = \"k\"\n";
        let said = named(bad).unwrap_err().to_string();
        for mistake in ["gone.so", "token is missing", "object", "pin_credential", "label"] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
        let unnamed = KeySource::Token(Box::new(source(PinSource::Credential("truc-test".into()))));
        if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() {
            assert!(matches!(unnamed.load_signing().err(), Some(MaterialError::NoCredentials { .. })));
        }
    }
}
