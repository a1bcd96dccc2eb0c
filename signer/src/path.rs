//! Certificate paths: may this certificate be believed for this use at this time, and was it revoked?
//!
//! RFC 5280 section 6 at a given time: a path is searched (`build`), its constraints and policies are kept (`rules`), the leaf's uses are its own
//! (`usage`), and revocation has three values: an outage of a CRL must never look like either answer.

mod answers;
mod build;
mod constraints;
mod lists;
mod policies;
mod revocation;
mod rules;
mod trust;
mod usage;

pub use answers::{OcspAnswers, OcspAsker, OcspWish};
pub use lists::{ListKept, ListRefused, ListState, RevocationSource, keep_list};
pub use policies::{NoPolicy, PolicySettings};
pub use trust::{TrustStore, TrustStoreError};
pub use usage::CertificateUse;
pub(crate) use usage::check as check_use;

use truc_proto::Timestamp;

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
    /// The only list is dated in the future.
    #[error(
        "the revocation list of {issuer} is dated {this_update}, which is still to come; check the clock, or fetch the list again"
    )]
    FutureCrl {
        /// Whose list.
        issuer: String,
        /// Its date.
        this_update: Timestamp,
    },
    /// Lists there are, and none of them speaks of this certificate.
    #[error(
        "the revocation lists of {issuer} that are loaded do not cover this certificate (distribution point, kind of certificate, \
         reasons, or a delta list without its base); the administrator must fetch the others"
    )]
    PartialCrl {
        /// Whose lists.
        issuer: String,
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
    let remembered = path_and_revocation(store, certificate, others, at)?;
    let verdict = remembered.verdict.clone();
    store.remember(certificate, wanted, remembered);
    Ok(verdict)
}

/// As [`validate_with`], whatever the certificate is used for: an authority's own, or one that is looked at by administrators. Not remembered.
///
/// # Errors
/// When no valid path exists at this time.
pub fn validate_for_any_use(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
) -> Result<Verdict, PathError> {
    check_time(certificate, at)?;
    path_and_revocation(store, certificate, others, at).map(|remembered| remembered.verdict)
}

/// As [`validate_with`], but where revocation is unknown and somebody is being asked, waits for that as long as anybody may be kept waiting. Blocks.
///
/// # Errors
/// As [`validate`].
pub fn validate_settled(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    wanted: CertificateUse,
    at: Timestamp,
) -> Result<Verdict, PathError> {
    match validate_with(store, certificate, others, wanted, at)? {
        Verdict::Unknown(_) if store.answers().settle(certificate) => {
            validate_with(store, certificate, others, wanted, at)
        }
        verdict => Ok(verdict),
    }
}

fn path_and_revocation(
    store: &TrustStore,
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
) -> Result<Remembered, PathError> {
    let path = build::build(store, certificate, others, at)?;
    Ok(revocation::judge(store, &path, others, at))
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

/// A checked path: the certificate, what is above it, and the anchor last.
type Path = Vec<Certificate>;

/// basicConstraints and keyCertSign (RFC 5280 6.1.4 (k), (n)).
fn may_issue(authority: &Certificate) -> bool {
    authority.is_ca() && authority.key_usage().is_none_or(KeyUsage::key_cert_sign)
}
