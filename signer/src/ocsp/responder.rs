//! Who may answer for an issuer (RFC 6960 4.2.2.2): the issuer itself, or whom it appointed with a certificate of its own for that use alone.

use truc_proto::Timestamp;

use super::{OcspAnswer, OcspError};
use crate::{
    asn1::{Algorithm, BIT_STRING, Malformed, SEQUENCE, Tlv},
    certificate::Certificate,
    crl::scheme_of,
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
    pub(super) fn signed_under(&self, issuer: &Certificate) -> Result<NamedIn, OcspError> {
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
        if !is_issued_by(responder, issuer) {
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

/// Whether `issuer` signed it, directly: a path of more certificates does not do (RFC 6960 4.2.2.2).
fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.names_issuer(issuer) && signature_holds(certificate.der(), issuer).is_ok_and(|holds| holds)
}

fn signature_holds(der: &[u8], issuer: &Certificate) -> Result<bool, Malformed> {
    let mut outer = Tlv::parse(der, SEQUENCE)?.reader();
    let tbs = outer.expect(SEQUENCE)?;
    let scheme = scheme_of(&Algorithm::read(&mut outer)?).map_err(|_| Malformed)?;
    let signature = outer.expect(BIT_STRING)?.bit_string()?;
    Ok(issuer.public_key().verify(scheme, tbs.whole, signature).is_ok())
}
