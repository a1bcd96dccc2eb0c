//! Whether a peer's certificate chain is good for TLS: path, use of the key, revocation.

use std::{fmt, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, UnixTime};
use truc_proto::{
    NodeId, Timestamp,
    limits::{CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX},
};
use truc_signer::{
    Certificate, CertificateUse, Crl, CrlError, PathError, PemError, TrustStore, TrustStoreError, Verdict,
    validate_with,
};
use x509_cert::der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};

use crate::{admission::NotAdmitted, registry::Side};

/// What is known about a certificate's revocation. Revoked is not here: such a peer is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// Not in a current list of its issuer, nor its sub-CAs in theirs.
    Good,
    /// Could not be found out; the link works and the operator should know.
    Unknown(WhyUnknown),
}

/// Why revocation could not be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhyUnknown {
    /// No list of the issuer at hand that covers the certificate.
    NoList,
    /// The list is past its next update.
    StaleList,
    /// The list's signature or form is bad.
    UnusableList,
    /// No list, and whoever was asked by OCSP did not tell.
    NoAnswer,
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Unknown(WhyUnknown::NoList) => "unknown: no revocation list of the issuer",
            Self::Unknown(WhyUnknown::StaleList) => "unknown: the revocation list is past its next update",
            Self::Unknown(WhyUnknown::UnusableList) => "unknown: the revocation list cannot be used",
            Self::Unknown(WhyUnknown::NoAnswer) => "unknown: no revocation list, and no answer by OCSP",
        })
    }
}

/// Why files do not make a [`LinkTrust`].
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM, or a certificate that cannot be used.
    #[error("the {what} file cannot be used")]
    Pem {
        /// Which file.
        what: &'static str,
        /// What is wrong.
        source: PemError,
    },
    /// A revocation list.
    #[error("the revocation lists file cannot be used")]
    List(#[from] CrlError),
    /// Too many of anything, or an anchor that is none.
    #[error("the trust files cannot be used")]
    Store(#[source] TrustStoreError),
    /// Nobody could ever connect.
    #[error("the trust anchors file holds no certificate; give the root certificate of the axis")]
    NoAnchor,
}

/// Why a peer's certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// None sent.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// More or larger certificates than anyone needs.
    #[error("the peer sent more than {CHAIN_CERTIFICATES_MAX} certificates, or one that is too large")]
    ChainTooLarge,
    /// Not a certificate.
    #[error("the peer's certificate cannot be read")]
    Malformed,
    /// No path to an anchor, expired, not yet valid, bad signature, …
    #[error("the peer's certificate does not lead to a trust anchor of this lane: {0}")]
    Path(Box<PathError>),
    /// keyUsage or extended key usage.
    #[error(
        "the peer's certificate is not for TLS: it lacks {lacks}; its administrator must install the TLS certificate"
    )]
    WrongUse {
        /// The missing use.
        lacks: &'static str,
    },
    /// It, or a sub-CA above it, is in a revocation list.
    #[error("the peer's certificate is revoked; its administrator must install a new one and have it published")]
    Revoked,
    /// By the directory.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Admitted, but somebody else than was called.
    #[error("{expected} was expected at this address and {found} answers; correct the address")]
    WrongPeer {
        /// Whom we called.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
}

/// Anchors, sub-CAs, revocation lists and OCSP answers of one lane.
#[derive(Debug)]
pub struct LinkTrust(Arc<TrustStore>);

impl From<Arc<TrustStore>> for LinkTrust {
    fn from(store: Arc<TrustStore>) -> Self {
        Self(store)
    }
}

impl LinkTrust {
    /// From PEM texts: root certificates, sub-CA certificates (may be empty), revocation lists (may be empty). Of several
    /// lists of one issuer the newest counts. Parsing a list of 200,000 entries takes a third of a second.
    ///
    /// # Errors
    /// When a text is not what it should be, or there is no anchor.
    pub fn from_pem(anchors: &[u8], intermediates: &[u8], crls: &[u8]) -> Result<Self, TrustError> {
        let certificates = |what, text: &[u8]| match Certificate::from_pem(text) {
            Ok(certificates) => Ok(certificates),
            Err(PemError::Empty { .. }) => Ok(Vec::new()),
            Err(source) => Err(TrustError::Pem { what, source }),
        };
        let anchors = certificates("trust anchors", anchors)?;
        if anchors.is_empty() {
            return Err(TrustError::NoAnchor);
        }
        let intermediates = certificates("sub-CA certificates", intermediates)?;
        let lists = match Crl::from_pem(crls) {
            Err(CrlError::Pem(PemError::Empty { .. })) => Vec::new(),
            lists => lists?,
        };
        TrustStore::new(anchors, intermediates, lists).map(|store| Self(Arc::new(store))).map_err(TrustError::Store)
    }

    /// Checks the chain, leaf first, of a peer on the given side.
    pub(crate) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<Revocation, PeerRefused> {
        let (leaf, sent) = chain.split_first().ok_or(PeerRefused::NoCertificate)?;
        if chain.len() > CHAIN_CERTIFICATES_MAX || chain.iter().any(|one| one.len() > CERTIFICATE_BYTES_MAX) {
            return Err(PeerRefused::ChainTooLarge);
        }
        let leaf = Certificate::from_der(leaf).map_err(|_| PeerRefused::Malformed)?;
        check_use(&leaf, side)?;
        // One that cannot be read leads nowhere; another may.
        let sent: Vec<_> = sent.iter().filter_map(|one| Certificate::from_der(one).ok()).collect();
        let now = Timestamp::EPOCH + Duration::from_secs(now.as_secs());
        match validate_with(&self.0, &leaf, &sent, CertificateUse::Tls, now) {
            Ok(Verdict::Good) => Ok(Revocation::Good),
            Ok(Verdict::Revoked { .. }) => Err(PeerRefused::Revoked),
            Ok(Verdict::Unknown(why)) => Ok(Revocation::Unknown(WhyUnknown::of(&why))),
            Err(error) => Err(PeerRefused::Path(Box::new(error))),
        }
    }
}

impl WhyUnknown {
    const fn of(why: &truc_signer::WhyUnknown) -> Self {
        use truc_signer::WhyUnknown as Why;
        match why {
            Why::MissingCrl { .. } | Why::PartialCrl { .. } => Self::NoList,
            Why::StaleCrl { .. } => Self::StaleList,
            Why::NoAnswer { .. } => Self::NoAnswer,
            Why::ForeignCrl { .. } | Why::FutureCrl { .. } => Self::UnusableList,
        }
    }
}

/// What TLS asks of a leaf beyond its path: which side it may be.
fn check_use(leaf: &Certificate, side: Side) -> Result<(), PeerRefused> {
    if leaf.key_usage().is_none_or(|usage| !usage.digital_signature()) {
        return Err(PeerRefused::WrongUse { lacks: "keyUsage digitalSignature" });
    }
    let (purpose, lacks) = match side {
        Side::Accepted => (ID_KP_CLIENT_AUTH, "extended key usage clientAuth"),
        Side::Dialled => (ID_KP_SERVER_AUTH, "extended key usage serverAuth"),
    };
    match leaf.extended_key_usage() {
        Some(purposes) if purposes.contains(&purpose) => Ok(()),
        _ => Err(PeerRefused::WrongUse { lacks }),
    }
}
