//! Whether a peer's certificate chain is good for TLS: path, use of the key, revocation.

use std::fmt;

use der::{Decode, Reader, SliceReader, asn1::AnyRef};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime,
    pem::{self, PemObject},
};
use truc_proto::{
    NodeId,
    limits::{CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX, CRL_BYTES_MAX, TRUST_STORE_ITEMS_MAX},
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::{
    Certificate,
    der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
    ext::pkix::{ExtendedKeyUsage, KeyUsage as KeyUsageExtension},
    time::Time,
};

use crate::{admission::NotAdmitted, identity::provider, registry::Side};

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
    /// No list of the issuer at hand.
    NoList,
    /// The list is past its next update.
    StaleList,
    /// The list's signature or form is bad.
    UnusableList,
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Unknown(WhyUnknown::NoList) => "unknown: no revocation list of the issuer",
            Self::Unknown(WhyUnknown::StaleList) => "unknown: the revocation list is past its next update",
            Self::Unknown(WhyUnknown::UnusableList) => "unknown: the revocation list cannot be used",
        })
    }
}

/// Why files do not make a [`LinkTrust`].
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("the {what} file is not PEM text of the expected kind")]
    Pem {
        /// Which file.
        what: &'static str,
        /// What the reader said.
        source: pem::Error,
    },
    /// PEM, but what is in it is none.
    #[error("item {index} of the {what} file cannot be used: {source}")]
    Item {
        /// Which file.
        what: &'static str,
        /// Counted from 1.
        index: usize,
        /// What the parser said.
        source: webpki::Error,
    },
    /// Too many or too large.
    #[error("the {what} file holds more than {TRUST_STORE_ITEMS_MAX} items, or one that is too large")]
    TooMuch {
        /// Which file.
        what: &'static str,
    },
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
    Path(webpki::Error),
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

/// Anchors, sub-CAs and revocation lists of one lane.
pub struct LinkTrust {
    anchors: Vec<TrustAnchor<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    crls: Vec<CertRevocationList<'static>>,
}

impl LinkTrust {
    /// From PEM texts: root certificates, sub-CA certificates (may be empty), revocation lists (may be empty). Of several
    /// lists of one issuer the newest counts; delta lists and indirect ones are passed over. Parsing a list of 200,000 entries takes a third of a second.
    ///
    /// # Errors
    /// When a text is not what it should be, or there is no anchor.
    pub fn from_pem(anchors: &[u8], intermediates: &[u8], crls: &[u8]) -> Result<Self, TrustError> {
        let roots: Vec<CertificateDer<'static>> = items("trust anchors", anchors, CERTIFICATE_BYTES_MAX)?;
        if roots.is_empty() {
            return Err(TrustError::NoAnchor);
        }
        let anchor = |(index, root)| {
            let refused = |source| TrustError::Item { what: "trust anchors", index, source };
            webpki::anchor_from_trusted_cert(root).map(|anchor| anchor.to_owned()).map_err(refused)
        };
        let lists: Vec<CertificateRevocationListDer<'static>> = items("revocation lists", crls, CRL_BYTES_MAX)?;
        Ok(Self {
            anchors: (1..).zip(&roots).map(anchor).collect::<Result<_, _>>()?,
            intermediates: items("sub-CA certificates", intermediates, CERTIFICATE_BYTES_MAX)?,
            crls: newest_of_each_issuer(&lists)?,
        })
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
        check_use(leaf, side)?;
        let end = EndEntityCert::try_from(leaf).map_err(|_| PeerRefused::Malformed)?;
        let intermediates: Vec<_> =
            sent.iter().chain(&self.intermediates).map(|one| CertificateDer::from(one.as_ref())).collect();
        let path = |revocation| {
            let algorithms = provider().signature_verification_algorithms.all;
            // The purpose was checked on the leaf: asked here, it would be asked of sub-CAs too.
            let purpose = match side {
                Side::Accepted => KeyUsage::client_auth(),
                Side::Dialled => KeyUsage::server_auth(),
            };
            end.verify_for_usage(algorithms, &self.anchors, &intermediates, now, purpose, revocation, None).map(drop)
        };
        let lists: Vec<_> = self.crls.iter().collect();
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else {
            return path(None).map_err(PeerRefused::Path).map(|()| Revocation::Unknown(WhyUnknown::NoList));
        };
        let options = options.with_depth(RevocationCheckDepth::Chain);
        let strict =
            options.with_status_policy(UnknownStatusPolicy::Deny).with_expiration_policy(ExpirationPolicy::Enforce);
        // The usual case ends here, after one look at lists that may be megabytes.
        let Err(strict) = path(Some(strict.build())) else { return Ok(Revocation::Good) };
        path(None).map_err(PeerRefused::Path)?;
        let why = why_unknown(&strict)?;
        // What a stale list revokes, or one list of several, stays revoked.
        let lenient =
            options.with_status_policy(UnknownStatusPolicy::Allow).with_expiration_policy(ExpirationPolicy::Ignore);
        match path(Some(lenient.build())) {
            Err(webpki::Error::CertRevoked) => Err(PeerRefused::Revoked),
            _ => Ok(Revocation::Unknown(why)),
        }
    }
}

impl fmt::Debug for LinkTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anchors, subs, lists) = (self.anchors.len(), self.intermediates.len(), self.crls.len());
        write!(f, "LinkTrust({anchors} anchors, {subs} sub-CAs, {lists} revocation lists)")
    }
}

/// The path is known to be good, so what else fails is for want of a good list.
fn why_unknown(error: &webpki::Error) -> Result<WhyUnknown, PeerRefused> {
    match error {
        webpki::Error::CertRevoked => Err(PeerRefused::Revoked),
        webpki::Error::UnknownRevocationStatus => Ok(WhyUnknown::NoList),
        webpki::Error::CrlExpired { .. } => Ok(WhyUnknown::StaleList),
        _ => Ok(WhyUnknown::UnusableList),
    }
}

/// webpki does not look at a leaf's keyUsage, and takes a leaf without extended usages for anything.
fn check_use(leaf: &CertificateDer<'_>, side: Side) -> Result<(), PeerRefused> {
    let certificate = Certificate::from_der(leaf).map_err(|_| PeerRefused::Malformed)?;
    let tbs = certificate.tbs_certificate();
    let signs = match tbs.get_extension::<KeyUsageExtension>() {
        Ok(usage) => usage.is_none_or(|(_, usage)| usage.digital_signature()),
        Err(_) => return Err(PeerRefused::Malformed),
    };
    if !signs {
        return Err(PeerRefused::WrongUse { lacks: "keyUsage digitalSignature" });
    }
    let (purpose, lacks) = match side {
        Side::Accepted => (ID_KP_CLIENT_AUTH, "extended key usage clientAuth"),
        Side::Dialled => (ID_KP_SERVER_AUTH, "extended key usage serverAuth"),
    };
    match tbs.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, usages))) if usages.0.contains(&purpose) => Ok(()),
        Ok(_) => Err(PeerRefused::WrongUse { lacks }),
        Err(_) => Err(PeerRefused::Malformed),
    }
}

fn items<T: PemObject + AsRef<[u8]>>(what: &'static str, text: &[u8], bytes_max: usize) -> Result<Vec<T>, TrustError> {
    let read: Result<Vec<T>, _> = T::pem_slice_iter(text).take(TRUST_STORE_ITEMS_MAX + 1).collect();
    let read = read.map_err(|source| TrustError::Pem { what, source })?;
    if read.len() > TRUST_STORE_ITEMS_MAX || read.iter().any(|one| one.as_ref().len() > bytes_max) {
        return Err(TrustError::TooMuch { what });
    }
    Ok(read)
}

/// webpki takes the first list that fits, so an old one in front would hide what a newer one revokes, or restores.
fn newest_of_each_issuer(
    lists: &[CertificateRevocationListDer<'_>],
) -> Result<Vec<CertRevocationList<'static>>, TrustError> {
    let mut newest: Vec<(OwnedCertRevocationList, u64)> = Vec::new();
    for (index, list) in (1..).zip(lists) {
        let refused = |source| TrustError::Item { what: "revocation lists", index, source };
        let parsed = match OwnedCertRevocationList::from_der(list) {
            Ok(parsed) => parsed,
            // What such a list says counts for documents; for connections the others do, and the directory.
            Err(error) if is_partial(&error) => continue,
            Err(error) => return Err(refused(error)),
        };
        let made = this_update(list).map_err(|_| refused(webpki::Error::BadDer))?;
        newest.push((parsed, made));
    }
    newest.sort_by_key(|(_, made)| std::cmp::Reverse(*made));
    let mut lists: Vec<CertRevocationList<'static>> = Vec::new();
    for (list, _) in newest {
        let list = CertRevocationList::from(list);
        let same = |other: &CertRevocationList<'_>| {
            other.issuer() == list.issuer() && other.issuing_distribution_point() == list.issuing_distribution_point()
        };
        if !lists.iter().any(same) {
            lists.push(list);
        }
    }
    Ok(lists)
}

/// Delta lists, indirect ones, and those of some reasons: webpki knows whole ones only.
const fn is_partial(error: &webpki::Error) -> bool {
    matches!(
        error,
        webpki::Error::UnsupportedDeltaCrl
            | webpki::Error::UnsupportedIndirectCrl
            | webpki::Error::UnsupportedRevocationReasonsPartitioning
            | webpki::Error::UnsupportedCrlIssuingDistributionPoint
    )
}

/// CertificateList → TBSCertList → { version, signature, issuer, **thisUpdate** } (RFC 5280 5.1), in seconds since 1970.
fn this_update(list: &[u8]) -> der::Result<u64> {
    let outer = AnyRef::from_der(list)?;
    let tbs = AnyRef::decode(&mut SliceReader::new(outer.value())?)?;
    let mut fields = SliceReader::new(tbs.value())?;
    let first = AnyRef::decode(&mut fields)?;
    // The version is optional: a v1 list starts with the algorithm.
    if der::Tagged::tag(&first) == der::Tag::Integer {
        AnyRef::decode(&mut fields)?;
    }
    AnyRef::decode(&mut fields)?;
    let made: Time = fields.decode()?;
    Ok(made.to_unix_duration().as_secs())
}
