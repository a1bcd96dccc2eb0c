//! Online certificate status (RFC 6960, nonces by RFC 9654): the question, the answer, and whether who gave it may.
//!
//! An answer is read by itself ([`OcspAnswer::from_der`]), so that it can be kept as evidence; what it says of a certificate counts only where its issuer,
//! or a responder the issuer appointed, signed it (`OcspAnswer::says`). What came over the network just now is checked further by the request it
//! answers ([`OcspRequest::accept`]). Sending the request is not done here.

mod request;
mod responder;
mod response;

pub use request::{OcspNonce, OcspRequest};
pub(crate) use responder::NamedIn;

use std::{fmt, sync::Arc, time::Duration};

use truc_proto::{
    Digest, Timestamp,
    limits::{OCSP_AGE_MS_MAX, OCSP_BYTES_MAX},
};

use crate::{
    certificate::Certificate,
    crl::{RevocationReason, minimal},
    hash::Hash,
    public_key::SignatureScheme,
};

/// Why an OCSP answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Larger than the bound.
    #[error("an OCSP answer of {bytes} bytes is refused, at most {OCSP_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not what RFC 6960 prescribes.
    #[error("not a well-formed OCSP answer (RFC 6960): {part}")]
    Malformed {
        /// Which part could not be read.
        part: &'static str,
    },
    /// The responder gave an error instead of an answer.
    #[error("the OCSP responder refused: {status}")]
    Refused {
        /// By the name RFC 6960 4.2.1 gives it.
        status: &'static str,
    },
    /// Signed with something outside the closed list.
    #[error("the OCSP answer is signed with the unsupported algorithm {algorithm}")]
    Algorithm {
        /// OID in dotted form.
        algorithm: String,
    },
    /// Neither the issuer nor a responder it appointed.
    #[error("the OCSP answer is not signed by {issuer} nor by a responder that it appointed: {detail}")]
    Responder {
        /// Who issued the certificate asked about.
        issuer: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// About something else.
    #[error("the OCSP answer is not about the certificate of {subject}")]
    OtherCertificate {
        /// Whose certificate was asked about.
        subject: String,
    },
    /// It answers another request.
    #[error("the OCSP answer is one to another request: its nonce is not the one asked with")]
    OtherNonce,
    /// It could be an old one.
    #[error("the OCSP answer carries no nonce, which the settings require")]
    NoNonce,
    /// Its clock or ours is wrong.
    #[error("the OCSP answer says {time} while it is {now}: the responder's clock or this machine's is wrong")]
    FromFuture {
        /// What it states.
        time: Timestamp,
        /// Our time.
        now: Timestamp,
    },
    /// An old one.
    #[error("the OCSP answer counted until {until} and it is {now}: it is an old one, or a clock is wrong")]
    Stale {
        /// Until when it counted.
        until: Timestamp,
        /// Our time.
        now: Timestamp,
    },
}

/// What a responder says of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked or suspended.
    Revoked {
        /// From when on.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// The responder does not know it.
    Unknown,
}

/// One statement of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspStatement {
    /// What it says.
    pub status: OcspStatus,
    /// As of when.
    pub this_update: Timestamp,
    /// When something newer is there at the latest.
    pub next_update: Option<Timestamp>,
}

impl OcspStatement {
    /// The last moment for which it says anything about the present.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.next_update.unwrap_or(self.this_update + Duration::from_millis(OCSP_AGE_MS_MAX))
    }
}

/// An OCSP answer as received. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct OcspAnswer(Arc<Fields>);

#[derive(PartialEq, Eq)]
struct Fields {
    der: Box<[u8]>,
    sha256: Digest,
    tbs: Box<[u8]>,
    scheme: SignatureScheme,
    signature: Box<[u8]>,
    responder: responder::Name,
    produced_at: Timestamp,
    nonce: Option<Box<[u8]>>,
    singles: Vec<Single>,
    /// Those it brings along, as far as they can be read.
    certificates: Vec<Certificate>,
}

#[derive(PartialEq, Eq)]
struct Single {
    hash: Hash,
    issuer_name: Box<[u8]>,
    issuer_key: Box<[u8]>,
    serial: Box<[u8]>,
    statement: OcspStatement,
}

impl OcspAnswer {
    /// The bytes received: an OCSPResponse.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 of the bytes: names the answer a verdict rests on.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.0.sha256
    }

    /// When it was signed, as it says.
    #[must_use]
    pub fn produced_at(&self) -> Timestamp {
        self.0.produced_at
    }

    /// Whether any of its statements names a revocation that cannot be lifted.
    pub(crate) fn revokes(&self) -> bool {
        let lasting = |single: &Single| matches!(single.statement.status, OcspStatus::Revoked { reason, .. } if reason != RevocationReason::CertificateHold);
        self.0.singles.iter().any(lasting)
    }

    /// The serial numbers it speaks of.
    pub(crate) fn serials(&self) -> impl Iterator<Item = &[u8]> {
        self.0.singles.iter().map(|single| &*single.serial)
    }

    /// What it says of a certificate that `issuer` issued, whoever signed it: the newest statement.
    pub(crate) fn statement(&self, certificate: &Certificate, issuer: &Certificate) -> Option<OcspStatement> {
        let serial = minimal(certificate.serial());
        let about = |single: &&Single| {
            *single.serial == *serial
                && *single.hash.of(certificate.issuer_der()) == *single.issuer_name
                && *single.hash.of(issuer.public_key().raw()) == *single.issuer_key
        };
        let found = self.0.singles.iter().filter(about).max_by_key(|single| single.statement.this_update);
        found.map(|single| single.statement)
    }

    /// What it says of a certificate that `issuer` issued. Whether it is still current is the caller's comparison, and so is whether an appointed
    /// responder was revoked itself, which [`NamedIn`] leaves to the lists at hand.
    ///
    /// # Errors
    /// When it is about something else, or signed by somebody who may not.
    pub(crate) fn says(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(OcspStatement, NamedIn), OcspError> {
        let statement = self.statement(certificate, issuer);
        let statement =
            statement.ok_or_else(|| OcspError::OtherCertificate { subject: certificate.subject().to_owned() })?;
        Ok((statement, self.signed_under(issuer)?))
    }
}

impl fmt::Debug for OcspAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OcspAnswer(of {}, sha256 {})", self.produced_at(), self.sha256())
    }
}
