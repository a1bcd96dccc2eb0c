//! Certificate paths: may this certificate be believed for this use at this time, and was it revoked?
//!
//! rustls-webpki builds and checks the path; keyUsage and extended key usage of the leaf are ours (webpki ignores the
//! former), and so is revocation, which has three values here: an outage of a CRL must never look like either answer.

mod answers;
mod revocation;
mod trust;
mod usage;

pub use answers::{OcspAnswers, OcspWish};
pub use trust::{TrustStore, TrustStoreError};
pub use usage::CertificateUse;
pub(crate) use usage::check as check_use;

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use truc_proto::Timestamp;
use webpki::{EndEntityCert, Error as WebpkiError, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use crate::{certificate::Certificate, crl::RevocationReason};
use trust::Remembered;
use x509_cert::ext::pkix::KeyUsage;

/// What is known about revocation of a path whose signatures, times and uses are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No certificate of the path is on a current list of its issuer.
    Good,
    /// A certificate of the path is revoked, now; whether a signature was made before is the caller's comparison.
    Revoked {
        /// From when on.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
        /// The certificate concerned: the one asked about, or an authority above it.
        subject: String,
    },
    /// It cannot be told.
    Unknown(WhyUnknown),
}

/// Why revocation could not be told (it stops nothing: connect and consign, show it, raise an alarm).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyUnknown {
    /// There is no usable revocation list of this issuer.
    #[error("no revocation list of {issuer} is loaded; the administrator must fetch it")]
    MissingCrl {
        /// Whose list.
        issuer: String,
    },
    /// The newest list is past its next update.
    #[error(
        "the revocation list of {issuer} was due to be replaced on {next_update}; the administrator must fetch the new one"
    )]
    StaleCrl {
        /// Whose list.
        issuer: String,
        /// When its successor was due.
        next_update: Timestamp,
    },
    /// The list there is does not come from the issuer.
    #[error(
        "the revocation list under the name of {issuer} is not signed by it; the administrator must fetch it again"
    )]
    ForeignCrl {
        /// Whose list it claims to be.
        issuer: String,
    },
    /// No list, and whoever was asked by OCSP did not tell.
    #[error("whether {issuer} revoked the certificate could not be found out: {why}")]
    NoAnswer {
        /// Who issued the certificate.
        issuer: String,
        /// What became of asking.
        why: String,
    },
}

/// Why a certificate is not believed, whatever revocation says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Past its end.
    #[error("the certificate of {subject} expired on {not_after}; its owner must get a new one")]
    Expired {
        /// Whose certificate: the one asked about or an authority above it.
        subject: String,
        /// Its end.
        not_after: Timestamp,
    },
    /// Before its beginning.
    #[error("the certificate of {subject} is valid only from {not_before}; check the clock, or wait")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its beginning.
        not_before: Timestamp,
    },
    /// keyUsage or extended key usage forbids it.
    #[error(
        "the certificate of {subject} may not be used for {wanted}: {detail}; its owner must present the right certificate"
    )]
    WrongUse {
        /// Whose certificate.
        subject: String,
        /// The use asked for.
        wanted: CertificateUse,
        /// What is missing.
        detail: &'static str,
    },
    /// No path to an anchor.
    #[error(
        "the certificate of {subject} was issued by {issuer}, from which no path leads to a trusted authority; \
         the administrator must add the missing authority if it is to be trusted"
    )]
    UnknownIssuer {
        /// Whose certificate.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// An authority of that name exists and did not sign it.
    #[error("a signature on the path of the certificate of {subject} does not hold: it is forged or damaged")]
    BadSignature {
        /// Whose certificate.
        subject: String,
    },
    /// Anything else RFC 5280 forbids.
    #[error("the path of the certificate of {subject} breaks RFC 5280: {detail}")]
    Refused {
        /// Whose certificate.
        subject: String,
        /// What the path validator said.
        detail: String,
    },
}

/// Decides on `certificate` for `wanted` at `at`, against anchors, intermediates and revocation lists of `store`.
///
/// # Errors
/// When no valid path for this use exists at this time. Revocation is no error but a [`Verdict`].
pub fn validate(
    store: &TrustStore,
    certificate: &Certificate,
    wanted: CertificateUse,
    at: Timestamp,
) -> Result<Verdict, PathError> {
    validate_with(store, certificate, &[], wanted, at)
}

/// As [`validate`], with certificates that came along (in a CMS signature or a handshake) as further intermediates.
///
/// # Errors
/// As [`validate`].
pub fn validate_with(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    wanted: CertificateUse,
    at: Timestamp,
) -> Result<Verdict, PathError> {
    if let Some(verdict) = store.recall(certificate, wanted, at) {
        return Ok(verdict);
    }
    check_time(certificate, at)?;
    usage::check(certificate, wanted)?;
    let path = build(store, certificate, others, at)?;
    let remembered = revocation::judge(store, &path, at);
    let verdict = remembered.verdict.clone();
    store.remember(certificate, wanted, remembered);
    Ok(verdict)
}

fn check_time(certificate: &Certificate, at: Timestamp) -> Result<(), PathError> {
    let subject = || certificate.subject().to_owned();
    if at < certificate.not_before() {
        Err(PathError::NotYetValid { subject: subject(), not_before: certificate.not_before() })
    } else if at > certificate.not_after() {
        Err(PathError::Expired { subject: subject(), not_after: certificate.not_after() })
    } else {
        Ok(())
    }
}

/// The signatures a path may be built with. Closed; SHA-1 is not among them.
static PATH_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
    webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
];

/// A checked path: the certificate, what is above it, and the anchor last.
type Path = Vec<Certificate>;

fn build(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
) -> Result<Path, PathError> {
    let refused = |error: WebpkiError| refusal(store, certificate, others, at, error);
    let leaf_der = CertificateDer::from(certificate.der());
    let leaf = EndEntityCert::try_from(&leaf_der).map_err(refused)?;
    let supplied = store.intermediates().iter().chain(others).filter(|candidate| may_issue(candidate));
    let intermediates: Vec<CertificateDer<'_>> = supplied.map(|ca| CertificateDer::from(ca.der())).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.unix_s()).unwrap_or(0)));
    let verified = leaf
        .verify_for_usage(PATH_ALGORITHMS, store.webpki_anchors(), &intermediates, now, AnyPurpose, None, None)
        .map_err(refused)?;

    let unreadable = |detail: &str| PathError::Refused { subject: certificate.subject().into(), detail: detail.into() };
    let mut path = vec![certificate.clone()];
    for intermediate in verified.intermediate_certificates() {
        path.push(Certificate::from_der(&intermediate.der()).map_err(|error| unreadable(&error.to_string()))?);
    }
    path.push(store.anchor_of(verified.anchor()).ok_or_else(|| unreadable("its anchor is not in the trust store"))?);
    Ok(path)
}

/// webpki checks basicConstraints of authorities and leaves their keyUsage alone (RFC 5280 6.1.4 (n) wants keyCertSign).
fn may_issue(authority: &Certificate) -> bool {
    authority.is_ca() && authority.key_usage().is_none_or(KeyUsage::key_cert_sign)
}

/// Extended key usage is judged on the leaf by [`usage`]; webpki would ask sub-authorities for it, too.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), WebpkiError> {
        for purpose in purposes {
            purpose?;
        }
        Ok(())
    }
}

/// Says what webpki found in terms of who must act.
fn refusal(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
    error: WebpkiError,
) -> PathError {
    let subject = certificate.subject().to_owned();
    match error {
        // The leaf's own time is checked before, so this is an authority above it; name it.
        WebpkiError::CertExpired { .. } | WebpkiError::CertNotValidYet { .. } => store
            .intermediates()
            .iter()
            .chain(others)
            .find_map(|ca| check_time(ca, at).err().filter(|_| certificate.names_issuer(ca)))
            .unwrap_or(PathError::Refused { subject, detail: "an authority on it is expired or not yet valid".into() }),
        WebpkiError::UnknownIssuer => PathError::UnknownIssuer { subject, issuer: certificate.issuer().into() },
        WebpkiError::InvalidSignatureForPublicKey => PathError::BadSignature { subject },
        other => PathError::Refused { subject, detail: other.to_string() },
    }
}
