//! A TLS key in a PKCS#11 token.
//!
//! rustls signs in the middle of a handshake's poll and waits for it, and a token takes its time: milliseconds, or, when it or the way to it is gone,
//! as long as its driver likes. So the signature is made where blocking is allowed: the runtime's thread hands its other tasks over first
//! (`block_in_place`). A handshake on a thread of its own would do that, too, but strangers who say nothing would then hold threads for as long as a
//! handshake may take; here a thread is held by the token alone. How many may wait for the token at once is bounded, and one more is refused and comes
//! again: whoever can open connections must not queue up in front of the signatures on documents, which the same token may make.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    Error, OtherError, SignatureAlgorithm, SignatureScheme,
    sign::{Signer, SigningKey},
};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::{info, warn};
use truc_proto::limits::TOKEN_HANDSHAKES_MAX;
use truc_signer::{KeyKind, SignError, TokenKey};

/// How the token did lately.
#[derive(Default)]
pub(crate) struct TokenState {
    /// Signatures that are waited for.
    waiting: AtomicUsize,
    /// Why the last one came to nothing.
    fault: Mutex<Option<SignError>>,
}

impl TokenState {
    pub(crate) fn fault(&self) -> Option<SignError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, fault: Option<&SignError>) {
        let mut held = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (held.is_some(), fault) {
            (false, Some(error)) => {
                warn!(%error, "alarm: the TLS key does not sign: no new connection is made until it does; those that are open go on");
            }
            (true, None) => info!("the TLS key signs again"),
            _ => {}
        }
        *held = fault.cloned();
    }
}

/// The key as rustls takes it.
#[derive(Clone)]
pub(crate) struct TokenTls {
    key: Arc<TokenKey>,
    state: Arc<TokenState>,
}

impl TokenTls {
    pub(crate) fn new(key: TokenKey) -> (Self, Arc<TokenState>) {
        let state = Arc::new(TokenState::default());
        (Self { key: Arc::new(key), state: Arc::clone(&state) }, state)
    }
}

impl fmt::Debug for TokenTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// What TLS calls it, and what the signer does, in the order of preference. PKCS#1 is for clients of TLS 1.2 alone.
const RSA: [(SignatureScheme, truc_signer::SignatureScheme); 2] = [
    (SignatureScheme::RSA_PSS_SHA256, truc_signer::SignatureScheme::RsaPssSha256),
    (SignatureScheme::RSA_PKCS1_SHA256, truc_signer::SignatureScheme::RsaPkcs1Sha256),
];
const ECDSA: [(SignatureScheme, truc_signer::SignatureScheme); 1] =
    [(SignatureScheme::ECDSA_NISTP256_SHA256, truc_signer::SignatureScheme::EcdsaP256Sha256)];

impl SigningKey for TokenTls {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let known: &[_] = match self.key.certificate().public_key().kind() {
            KeyKind::Rsa { .. } => &RSA,
            KeyKind::P256 => &ECDSA,
            KeyKind::P384 => &[],
        };
        let (scheme, way) = known.iter().find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { tls: self.clone(), scheme: *scheme, way: *way }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.key.certificate().public_key().spki_der()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.certificate().public_key().kind() {
            KeyKind::Rsa { .. } => SignatureAlgorithm::RSA,
            KeyKind::P256 | KeyKind::P384 => SignatureAlgorithm::ECDSA,
        }
    }
}

#[derive(Debug)]
struct TokenSigner {
    tls: TokenTls,
    scheme: SignatureScheme,
    way: truc_signer::SignatureScheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let TokenTls { key, state } = &self.tls;
        let waiting = state.waiting.fetch_add(1, Ordering::SeqCst);
        let signed = if waiting < TOKEN_HANDSHAKES_MAX {
            let signed = where_blocking_is_allowed(|| key.sign_as(self.way, message));
            state.note(signed.as_ref().err());
            signed
        } else {
            let detail = format!("{waiting} handshakes wait for it already");
            Err(SignError::Away { subject: key.certificate().subject().to_owned(), detail })
        };
        state.waiting.fetch_sub(1, Ordering::SeqCst);
        signed.map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn where_blocking_is_allowed<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // A runtime of one thread has nobody to hand its tasks to; outside of a runtime there are none.
        _ => work(),
    }
}

/// Whether a handshake came to nothing for want of our own key.
pub(crate) fn own_key_failed(error: &io::Error) -> Option<SignError> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::Other(OtherError(inner)) => inner.downcast_ref::<SignError>().cloned(),
        _ => None,
    }
}
