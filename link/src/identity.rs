//! Who we are: certificate chain and key of this process's TLS.

use std::{fmt, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use truc_proto::{Digest, limits::CHAIN_CERTIFICATES_MAX};
use truc_signer::{SignError, SigningKey as _, SoftKey, TokenKey};

use crate::token::{TokenState, TokenTls};

/// Why certificate and key do not make an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not PEM, or nothing of the kind in it.
    #[error("no {what} can be read from the given PEM text; give the file that the {what} was issued in")]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the reader said.
        source: rustls_pki_types::pem::Error,
    },
    /// More certificates than a peer would read.
    #[error(
        "the certificate file holds {0} certificates, at most {CHAIN_CERTIFICATES_MAX} make a chain; leave the leaf and its sub-CAs"
    )]
    ChainTooLong(usize),
    /// The library refuses the key.
    #[error("the TLS key cannot be used; it must be an unencrypted RSA or ECDSA key")]
    Key(#[source] rustls::Error),
    /// They do not belong together, or the certificate cannot be read.
    #[error("certificate and private key do not belong together; give the pair that was issued together")]
    Pair(#[source] rustls::Error),
}

/// A certificate chain, leaf first, and its key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    /// Of a key in a token.
    token: Option<Arc<TokenState>>,
}

impl Identity {
    /// From a PEM chain (leaf, then sub-CAs) and a PEM private key.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).take(CHAIN_CERTIFICATES_MAX + 1).collect();
        let chain = chain.map_err(|source| IdentityError::Pem { what: "certificate", source })?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|source| IdentityError::Pem { what: "private key", source })?;
        let key = provider().key_provider.load_private_key(key).map_err(IdentityError::Key)?;
        Self::new(chain, key)
    }

    /// From a chain and a key that may live elsewhere, as on a token.
    ///
    /// # Errors
    /// When the chain is empty or too long, or the key is not the leaf's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<Self, IdentityError> {
        match chain.len() {
            0 => {
                return Err(IdentityError::Pem {
                    what: "certificate",
                    source: rustls_pki_types::pem::Error::NoItemsFound,
                });
            }
            n if n > CHAIN_CERTIFICATES_MAX => return Err(IdentityError::ChainTooLong(n)),
            _ => {}
        }
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A token's key that cannot tell its public half: the first handshake will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(source) => return Err(IdentityError::Pair(source)),
        }
        Ok(Self { certified: Arc::new(certified), token: None })
    }

    /// From a key in a file, with its chain.
    ///
    /// # Errors
    /// When the chain is too long, or TLS knows no such key.
    pub fn of_key(key: &SoftKey) -> Result<Self, IdentityError> {
        let (chain, key) = key.tls_identity();
        let key = provider().key_provider.load_private_key(key).map_err(IdentityError::Key)?;
        Self::new(chain, key)
    }

    /// From a key in a token, with its chain. The token need not be there: while it is away handshakes fail, and [`Identity::fault`] says why.
    ///
    /// # Errors
    /// When the chain is too long.
    pub fn of_token(key: TokenKey) -> Result<Self, IdentityError> {
        let chain = std::iter::once(key.certificate()).chain(key.chain());
        let chain = chain.map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
        let (key, state) = TokenTls::new(key);
        let identity = Self::new(chain, Arc::new(key))?;
        Ok(Self { token: Some(state), ..identity })
    }

    /// Why its key did not sign when a handshake last wanted it to; none: it did, or was not asked yet.
    #[must_use]
    pub fn fault(&self) -> Option<SignError> {
        self.token.as_ref()?.fault()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certified, &other.certified)
    }

    /// As rustls takes it.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// SHA-256 of the leaf, as the directory lists it.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.certified.cert.first().map_or(Digest([0; 32]), |leaf| Digest::of(leaf))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, key [redacted])", self.fingerprint())
    }
}

/// Always named explicitly: with two providers compiled in, rustls has no default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    let make = || {
        let mut provider = default_provider();
        // The order is the preference: hybrid first, whatever features the library was built with.
        provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
        Arc::new(provider)
    };
    Arc::clone(PROVIDER.get_or_init(make))
}
