//! OCSPRequest (RFC 6960 4.1), and whether what came is an answer to it.

use std::time::Duration;

use truc_proto::{Timestamp, limits::FUTURE_SKEW_MAX_MS};

use super::{OcspAnswer, OcspError, OcspStatement};
use crate::{
    asn1::{self, INTEGER, NULL, OCTET_STRING, SEQUENCE, context},
    certificate::Certificate,
    hash::Hash,
    oid,
};

/// A random number by which an answer is known to be one to this request (RFC 9654 asks for 32 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OcspNonce([u8; 32]);

impl OcspNonce {
    /// From random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A question to an OCSP responder: is this certificate revoked?
#[derive(Clone, Debug)]
pub struct OcspRequest {
    certificate: Certificate,
    issuer: Certificate,
    nonce: Option<OcspNonce>,
}

impl OcspRequest {
    /// About a certificate that `issuer` issued.
    #[must_use]
    pub const fn new(certificate: Certificate, issuer: Certificate, nonce: Option<OcspNonce>) -> Self {
        Self { certificate, issuer, nonce }
    }

    /// DER of the OCSPRequest. The certificate is named under SHA-1, which every responder knows: it is only a name here.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let octets = |bytes: &[u8]| asn1::tlv(OCTET_STRING, &[bytes]);
        let certificate = asn1::tlv(
            SEQUENCE,
            &[
                &asn1::algorithm_with(oid::SHA1, &[NULL, 0]),
                &octets(&Hash::Sha1.of(self.certificate.issuer_der())),
                &octets(&Hash::Sha1.of(self.issuer.public_key().raw())),
                &asn1::tlv(INTEGER, &[self.certificate.serial()]),
            ],
        );
        let list = asn1::tlv(SEQUENCE, &[&asn1::tlv(SEQUENCE, &[&certificate])]);
        let extensions = self.nonce.map_or_else(Vec::new, |nonce| {
            let nonce = asn1::tlv(SEQUENCE, &[&asn1::oid(oid::OCSP_NONCE), &octets(&octets(&nonce.0))]);
            asn1::tlv(context(2), &[&asn1::tlv(SEQUENCE, &[&nonce])])
        });
        asn1::tlv(SEQUENCE, &[&asn1::tlv(SEQUENCE, &[&list, &extensions])])
    }

    /// Reads and checks the answer that came at `now`. A responder may leave the nonce out (RFC 6960 4.4.1), for answers signed ahead; then its
    /// freshness alone tells it from an old one, unless `require_nonce`.
    ///
    /// # Errors
    /// See [`OcspError`]; "unknown" is no error but what the responder says.
    pub fn accept(
        &self,
        response: &[u8],
        require_nonce: bool,
        now: Timestamp,
    ) -> Result<(OcspAnswer, OcspStatement), OcspError> {
        let answer = OcspAnswer::from_der(response)?;
        let (statement, _) = answer.says(&self.certificate, &self.issuer)?;
        match (&self.nonce, &answer.0.nonce) {
            (Some(asked), Some(found)) if asked.0 != **found => return Err(OcspError::OtherNonce),
            (_, None) if require_nonce => return Err(OcspError::NoNonce),
            _ => {}
        }
        let skew = Duration::from_millis(FUTURE_SKEW_MAX_MS.unsigned_abs());
        let time = statement.this_update.max(answer.produced_at());
        if time > now + skew {
            return Err(OcspError::FromFuture { time, now });
        }
        let until = statement.until();
        if until + skew < now {
            return Err(OcspError::Stale { until, now });
        }
        Ok((answer, statement))
    }
}
