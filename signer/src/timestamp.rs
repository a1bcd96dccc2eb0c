//! Time-stamps (RFC 3161): tokens that prove when a signature was there at the latest. Asked for, read, verified, judged.
//!
//! A token's own signature and what it says are one thing ([`verify_token`]); whether its authority is believed is another ([`TimeStamp::worth`]),
//! and depends on whom the reader trusts and on what became of the authority since. Sending the request is not done here.

mod info;
mod request;

pub use request::{TimeStampNonce, TimeStampPolicy, TimeStampPolicyError, TimeStampRequest};

use std::time::Duration;

use truc_proto::{
    Timestamp,
    limits::{FUTURE_SKEW_MAX_MS, TIME_STAMP_ACCURACY_MS_MAX, TIME_STAMP_BYTES_MAX},
};

use crate::{
    certificate::Certificate,
    cms::{self, CmsError, CmsSignature, SignedToken},
    path::{CertificateUse, PathError, TrustStore, Verdict, validate_with},
};

/// What EN 319 421 asks of every authority; counts where a token does not state its accuracy.
const ACCURACY_DEFAULT: Duration = Duration::from_secs(1);

/// Why a time-stamp is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeStampError {
    /// Larger than the bound.
    #[error("a time-stamp of {bytes} bytes is refused, at most {TIME_STAMP_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not what RFC 3161 prescribes.
    #[error("not a well-formed time-stamp (RFC 3161): {part}")]
    Malformed {
        /// Which part could not be read.
        part: &'static str,
    },
    /// The authority did not stamp.
    #[error("the time-stamping authority refused (status {status}{}): its operator, or the administrator who chose it, must look", .said.as_ref().map_or_else(String::new, |said| format!(", {said}")))]
    Refused {
        /// PKIStatus.
        status: u8,
        /// What it says about it.
        said: Option<String>,
    },
    /// The token's own signature.
    #[error("the signature of the time-stamp does not hold")]
    Signature(#[source] CmsError),
    /// It stamps something else.
    #[error("the time-stamp is of another signature")]
    OtherImprint,
    /// It answers another request.
    #[error("the time-stamp answers another request: its nonce is not the one asked with")]
    OtherNonce,
    /// Another policy than asked.
    #[error("the time-stamp was made under policy {found}, not {wanted}")]
    OtherPolicy {
        /// The one asked for.
        wanted: String,
        /// The one stated.
        found: String,
    },
    /// Vague.
    #[error("the time-stamp is accurate to {} s, which is more than the {} s accepted", .accuracy.as_secs(), TIME_STAMP_ACCURACY_MS_MAX / 1_000)]
    Vague {
        /// What it states.
        accuracy: Duration,
    },
    /// Its clock or ours is wrong.
    #[error("the time-stamp says {time} while it is {now}: the authority's clock or this machine's is wrong")]
    Clock {
        /// What it states.
        time: Timestamp,
        /// Our time.
        now: Timestamp,
    },
    /// Older than what it stamps.
    #[error("the time-stamp says {time}, which is before what it stamps was made, {made}")]
    BeforeSigning {
        /// What it states.
        time: Timestamp,
        /// When the signature was made, as it says.
        made: Timestamp,
    },
    /// Its certificate is not for time-stamps.
    #[error("the certificate of the time-stamping authority may not be used for this")]
    Certificate(#[source] PathError),
    /// Signed outside the validity of its certificate.
    #[error("the certificate of {subject} was not valid when it stamped, at {time}")]
    NotValidThen {
        /// Whose certificate.
        subject: String,
        /// When it stamped.
        time: Timestamp,
    },
    /// Revoked before it stamped.
    #[error("the certificate of {subject} was revoked on {since}, before it stamped")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// Since when.
        since: Timestamp,
    },
    /// Whoever asked does not believe it.
    #[error("the time-stamp proves nothing here")]
    Nothing(#[source] WhyNothing),
}

/// A time-stamp token whose signature holds, over what it was verified with. Says nothing about whether its authority may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// The authority's certificate.
    pub certificate: Certificate,
    /// Further certificates inside: hints for the path.
    pub others: Vec<Certificate>,
    /// genTime, rounded up to the millisecond.
    pub time: Timestamp,
    /// How far that may be off, either way.
    pub accuracy: Duration,
    /// The policy, as dotted OID.
    pub policy: String,
    /// The request's nonce.
    pub nonce: Option<Vec<u8>>,
}

/// What a time-stamp that holds is worth to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// What it stamps existed by [`TimeStamp::latest`].
    Proves,
    /// It proves nothing (any more). Nothing is wrong with what it stamps: that stands as if there were no time-stamp.
    Nothing(WhyNothing),
}

/// Why a time-stamp that holds proves nothing to a reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNothing {
    /// Nobody whom the reader trusts stands behind it.
    #[error("its authority is not believed: {0}")]
    Untrusted(PathError),
    /// Its certificate ran out since; whether the token is as old as it says cannot be told any more.
    #[error("the certificate of its authority has expired on {not_after}")]
    Expired {
        /// When.
        not_after: Timestamp,
    },
    /// Its certificate was revoked since; whoever has the key may date back.
    #[error("the certificate of its authority is revoked since {since}")]
    RevokedSince {
        /// Since when.
        since: Timestamp,
    },
}

/// Verifies a token over `stamped`: its signature, and that it is of these bytes.
///
/// # Errors
/// See [`TimeStampError`].
pub fn verify_token(token: &[u8], stamped: &[u8]) -> Result<TimeStamp, TimeStampError> {
    if token.len() > TIME_STAMP_BYTES_MAX {
        return Err(TimeStampError::TooLarge { bytes: token.len() });
    }
    let SignedToken { certificate, others, info } = cms::verify_token(token).map_err(TimeStampError::Signature)?;
    let info = info::TstInfo::read(&info).map_err(|_| TimeStampError::Malformed { part: "TSTInfo" })?;
    if info.imprint != info.hash.of(stamped) {
        return Err(TimeStampError::OtherImprint);
    }
    let accuracy = info.accuracy.unwrap_or(ACCURACY_DEFAULT);
    if accuracy > Duration::from_millis(TIME_STAMP_ACCURACY_MS_MAX) {
        return Err(TimeStampError::Vague { accuracy });
    }
    Ok(TimeStamp { certificate, others, time: info.time, accuracy, policy: info.policy, nonce: info.nonce })
}

/// The certificates in the time-stamps on a signature that hold over it, those of the authorities and those beside: whom a reader may want to know more
/// about. Whether an authority is believed is another question; what cannot be read is passed over.
#[must_use]
pub fn certificates_of_stamps(cms: &[u8]) -> Vec<Certificate> {
    let Ok((signature, tokens)) = cms::tokens(cms) else { return Vec::new() };
    let stamps = tokens.iter().filter_map(|token| verify_token(token, &signature).ok());
    stamps.flat_map(|stamp| std::iter::once(stamp.certificate).chain(stamp.others)).collect()
}

/// Whether a time-stamp on a signature that came in, made at `made` or later by its own account, is wrong: who keeps and passes on such a signature would
/// hold something that every verifier refuses, though anybody on the way may have put it in. What only proves nothing is let through, and so is one by an
/// authority that had been revoked, which not everybody knows at once.
///
/// # Errors
/// What is wrong with the first such.
pub fn refuse_wrong(
    signature: &CmsSignature,
    made: Timestamp,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(), TimeStampError> {
    let judged = |token: &Vec<u8>| verify_token(token, &signature.signature)?.worth(trust, made, now);
    let wrong = signature.time_stamp_tokens.iter().filter_map(|token| judged(token).err());
    wrong.filter(|error| !matches!(error, TimeStampError::Revoked { .. })).map(Err).next().unwrap_or(Ok(()))
}

impl TimeStamp {
    /// The latest moment at which what it stamps came into being.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.time + self.accuracy
    }

    /// What it is worth to who trusts these authorities, as of `now`, over something made at `made` or later by its own account.
    ///
    /// # Errors
    /// When it contradicts itself, the clock or what it stamps: then it is wrong, whoever reads it.
    pub fn worth(&self, trust: &TrustStore, made: Timestamp, now: Timestamp) -> Result<Worth, TimeStampError> {
        let skew = Duration::from_millis(FUTURE_SKEW_MAX_MS.unsigned_abs());
        let (time, certificate) = (self.time, &self.certificate);
        let subject = || certificate.subject().to_owned();
        if time > now + skew {
            return Err(TimeStampError::Clock { time, now });
        }
        if time + skew < made {
            return Err(TimeStampError::BeforeSigning { time, made });
        }
        if time < certificate.not_before() || time > certificate.not_after() {
            return Err(TimeStampError::NotValidThen { subject: subject(), time });
        }
        match validate_with(trust, certificate, &self.others, CertificateUse::TimeStamping, time) {
            Err(error @ PathError::WrongUse { .. }) => Err(TimeStampError::Certificate(error)),
            Err(error) => Ok(Worth::Nothing(WhyNothing::Untrusted(error))),
            Ok(Verdict::Revoked { at: since, .. }) if since <= time => {
                Err(TimeStampError::Revoked { subject: subject(), since })
            }
            Ok(Verdict::Revoked { at: since, .. }) => Ok(Worth::Nothing(WhyNothing::RevokedSince { since })),
            Ok(_) if now > certificate.not_after() => {
                Ok(Worth::Nothing(WhyNothing::Expired { not_after: certificate.not_after() }))
            }
            Ok(_) => Ok(Worth::Proves),
        }
    }
}
