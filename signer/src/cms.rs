//! CAdES-B-B signatures (ETSI EN 319 122-1) in CMS SignedData (RFC 5652): one signer, SHA-256.
//!
//! Written here, verified in `cms::verify`; whether the signer's certificate may be believed is [`crate::path`]'s question.
//! Time-stamps are carried, handed out and added ([`embed_time_stamp`]), and judged in [`crate::timestamp`].

mod attributes;
mod embed;
mod parts;
mod verify;

pub use embed::embed_time_stamp;

pub use verify::{
    CmsError, CmsSignature, has_time_stamp, signature_value, verify_attached, verify_detached, verify_detached_digest,
};
pub(crate) use verify::{SignedToken, explicit_algorithm, is_mgf1_sha256, is_pss_sha256, tokens, verify_token};

use der::asn1::ObjectIdentifier;
use truc_proto::{Digest, Timestamp};
use x509_cert::der::Encode;

use crate::{
    asn1::{self, INTEGER, NULL, OCTET_STRING, SEQUENCE, SET, context},
    certificate::Certificate,
    keys::{SignError, SigningKey},
    oid,
    public_key::SignatureScheme,
};

/// Signs `content`, which stays outside: DER of a CAdES-B-B signature with the signer's certificate and chain inside.
///
/// `at` becomes the signing-time attribute, to the second; PAdES (EN 319 142-1 5.3) wants none.
///
/// # Errors
/// When the key is away or refuses.
pub fn sign_detached(key: &dyn SigningKey, content: &[u8], at: Option<Timestamp>) -> Result<Vec<u8>, SignError> {
    sign_detached_digest(key, Digest::of(content), at)
}

/// As [`sign_detached`], for content whose SHA-256 is known already.
///
/// # Errors
/// When the key is away or refuses.
pub fn sign_detached_digest(
    key: &dyn SigningKey,
    content: Digest,
    at: Option<Timestamp>,
) -> Result<Vec<u8>, SignError> {
    let attributes = signed_attributes(key.certificate(), content, at);
    // The signature covers the SET OF form; in the SignerInfo the same bytes stand under [0] (RFC 5652 5.4).
    let signature = key.sign(&asn1::set_of(SET, attributes.clone()))?;
    let algorithm = match key.scheme() {
        SignatureScheme::RsaPkcs1Sha256 => asn1::algorithm_with(oid::RSA_SHA256, &[NULL, 0]),
        SignatureScheme::EcdsaP256Sha256 => asn1::algorithm(oid::ECDSA_SHA256),
        other => {
            let detail = format!("signatures by {other:?} are not written");
            return Err(SignError::Failed { subject: key.certificate().subject().into(), detail });
        }
    };
    let signer_info = asn1::tlv(
        SEQUENCE,
        &[
            &[INTEGER, 1, 1],
            &issuer_and_serial(key.certificate()),
            &asn1::algorithm(oid::SHA256),
            &asn1::set_of(context(0), attributes),
            &algorithm,
            &asn1::tlv(OCTET_STRING, &[&signature]),
        ],
    );
    let certificates = std::iter::once(key.certificate()).chain(key.chain());
    let signed_data = asn1::tlv(
        SEQUENCE,
        &[
            &[INTEGER, 1, 1],
            &asn1::tlv(SET, &[&asn1::algorithm(oid::SHA256)]),
            &asn1::tlv(SEQUENCE, &[&asn1::oid(oid::DATA)]),
            &asn1::set_of(context(0), certificates.map(|certificate| certificate.der().to_vec()).collect()),
            &asn1::tlv(SET, &[&signer_info]),
        ],
    );
    Ok(content_info(oid::SIGNED_DATA, &signed_data))
}

/// DER of a ContentInfo.
pub(crate) fn content_info(content_type: ObjectIdentifier, content: &[u8]) -> Vec<u8> {
    asn1::tlv(SEQUENCE, &[&asn1::oid(content_type), &asn1::tlv(context(0), &[content])])
}

/// DER of an IssuerAndSerialNumber.
pub(crate) fn issuer_and_serial(certificate: &Certificate) -> Vec<u8> {
    asn1::tlv(SEQUENCE, &[certificate.issuer_der(), &asn1::tlv(INTEGER, &[certificate.serial()])])
}

fn signed_attributes(certificate: &Certificate, content: Digest, at: Option<Timestamp>) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        attribute(oid::CONTENT_TYPE, &asn1::oid(oid::DATA)),
        attribute(oid::MESSAGE_DIGEST, &asn1::tlv(OCTET_STRING, &[content.as_bytes()])),
        // SigningCertificateV2 with one ESSCertIDv2; SHA-256 is the default and must not be written (RFC 5035 4).
        attribute(
            oid::SIGNING_CERTIFICATE_V2,
            &asn1::tlv(
                SEQUENCE,
                &[&asn1::tlv(
                    SEQUENCE,
                    &[&asn1::tlv(SEQUENCE, &[&asn1::tlv(OCTET_STRING, &[certificate.sha256().as_bytes()])])],
                )],
            ),
        ),
    ];
    attributes.extend(at.map(|at| attribute(oid::SIGNING_TIME, &time(at))));
    attributes
}

fn attribute(id: ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    asn1::tlv(SEQUENCE, &[&asn1::oid(id), &asn1::tlv(SET, &[value])])
}

/// UTCTime to 2049, GeneralizedTime after (RFC 5652 11.3), whole seconds.
fn time(at: Timestamp) -> Vec<u8> {
    let seconds = std::time::Duration::from_secs(u64::try_from(at.unix_s()).expect("a Timestamp is never before 1970"));
    der::DateTime::from_unix_duration(seconds)
        .and_then(|date| x509_cert::time::Time::from(date).to_der())
        .expect("a Timestamp is never after 9999, which both encodings reach")
}
