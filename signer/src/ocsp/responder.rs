//! Who may answer for an issuer (RFC 6960 4.2.2.2): the issuer itself, or whom it appointed with a certificate of its own for that use alone.

use truc_proto::Timestamp;

use super::{OcspAnswer, OcspError};
use crate::{
    certificate::Certificate,
    hash::Hash,
    oid,
    path::{CertificateUse, check_use},
};

/// How an answer names its responder.
#[derive(PartialEq, Eq)]
pub(super) enum Name {
    /// DER of its subject.
    ByName(Box<[u8]>),
    /// SHA-1 of its key.
    ByKey(Box<[u8]>),
}

impl Name {
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::ByName(subject) => **subject == *certificate.subject_der(),
            Self::ByKey(key) => **key == *Hash::Sha1.of(certificate.public_key().raw()),
        }
    }
}

/// Whose word an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedIn {
    /// The issuer's own.
    Issuer,
    /// A responder's that the issuer appointed.
    Appointed {
        /// Its certificate, by the same issuer: it may have been revoked itself.
        certificate: Certificate,
        /// It says that nobody need look (id-pkix-ocsp-nocheck).
        no_check: bool,
    },
}

impl OcspAnswer {
    /// Under whose authority it was signed, as far as `issuer` gave any.
    pub(crate) fn signed_under(&self, issuer: &Certificate) -> Result<NamedIn, OcspError> {
        let refused = |detail| Err(OcspError::Responder { issuer: issuer.subject().to_owned(), detail });
        let fields = &self.0;
        let signed_by = |certificate: &Certificate| {
            certificate.public_key().verify(fields.scheme, &fields.tbs, &fields.signature).is_ok()
        };
        if fields.responder.is(issuer) && signed_by(issuer) {
            return Ok(NamedIn::Issuer);
        }
        let named = fields.certificates.iter().filter(|certificate| fields.responder.is(certificate));
        let Some(responder) = named.clone().find(|certificate| signed_by(certificate)) else {
            return refused("its signature does not hold under the responder that it names");
        };
        // Directly: a path of more certificates does not do (RFC 6960 4.2.2.2).
        if !responder.names_issuer(issuer) || !responder.is_signed_by(issuer) {
            return refused("another authority issued the certificate of the responder");
        }
        if check_use(responder, CertificateUse::Ocsp).is_err() {
            return refused("the certificate of the responder is not for answering OCSP");
        }
        if !is_valid(responder, fields.produced_at) {
            return refused("the certificate of the responder was not valid when it answered");
        }
        let no_check = responder.carries(oid::OCSP_NO_CHECK);
        Ok(NamedIn::Appointed { certificate: responder.clone(), no_check })
    }
}

fn is_valid(certificate: &Certificate, at: Timestamp) -> bool {
    certificate.not_before() <= at && at <= certificate.not_after()
}
