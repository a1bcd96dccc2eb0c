//! What a certificate may be used for: keyUsage (RFC 5280 4.2.1.3) and extended key usage (4.2.1.12) of the leaf.

use std::fmt;

use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::KeyUsage;

use super::PathError;
use crate::{certificate::Certificate, oid, public_key::KeyKind};

/// What a certificate is wanted for. Certificates have separate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateUse {
    /// TLS between nodes and relay, either side.
    Tls,
    /// A node or relay signing its checkpoints.
    Node,
    /// An agency's service signing containers.
    Service,
    /// Receiving sealed documents.
    Sealing,
    /// The axis operator signing the directory.
    Operator,
    /// A time-stamping authority (RFC 3161).
    TimeStamping,
    /// An OCSP responder (RFC 6960).
    Ocsp,
    /// A person signing a document.
    PersonSignature,
    /// An agency's seal (con dấu) on a document.
    Seal,
}

impl fmt::Display for CertificateUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Node => "signing checkpoints",
            Self::Service => "signing containers",
            Self::Sealing => "receiving sealed documents",
            Self::Operator => "signing the directory",
            Self::TimeStamping => "time-stamping",
            Self::Ocsp => "answering OCSP",
            Self::PersonSignature => "a person's signature",
            Self::Seal => "an agency's seal",
        })
    }
}

/// Purposes that fit signing and sealing of documents, where the extension is there at all.
const DOCUMENT_PURPOSES: &[ObjectIdentifier] =
    &[oid::EKU_EMAIL_PROTECTION, oid::EKU_DOCUMENT_SIGNING, oid::EKU_MS_DOCUMENT_SIGNING, oid::EKU_ANY];

pub(crate) fn check(certificate: &Certificate, wanted: CertificateUse) -> Result<(), PathError> {
    let wrong = |detail| Err(PathError::WrongUse { subject: certificate.subject().into(), wanted, detail });
    if certificate.is_ca() {
        return wrong("it is the certificate of an authority, whose key signs certificates only");
    }
    // Absent keyUsage means "anything" in RFC 5280. Here every use is separate, so a certificate must say its own.
    let Some(usage) = certificate.key_usage() else {
        return wrong("it carries no keyUsage, so it does not say what it is for");
    };
    if let Err(detail) = check_key_usage(usage, certificate.public_key().kind(), wanted) {
        return wrong(detail);
    }
    match check_purposes(certificate, wanted) {
        Ok(()) => Ok(()),
        Err(detail) => wrong(detail),
    }
}

fn check_key_usage(usage: &KeyUsage, kind: KeyKind, wanted: CertificateUse) -> Result<(), &'static str> {
    let signs = usage.digital_signature() || usage.non_repudiation();
    match wanted {
        CertificateUse::Tls | CertificateUse::Node => {
            usage.digital_signature().then_some(()).ok_or("its keyUsage lacks digitalSignature")
        }
        CertificateUse::Service
        | CertificateUse::Operator
        | CertificateUse::TimeStamping
        | CertificateUse::Ocsp
        | CertificateUse::PersonSignature
        | CertificateUse::Seal => signs.then_some(()).ok_or("its keyUsage lacks digitalSignature and nonRepudiation"),
        CertificateUse::Sealing => match kind {
            KeyKind::Rsa { .. } => usage.key_encipherment().then_some(()).ok_or("its keyUsage lacks keyEncipherment"),
            KeyKind::P256 => usage.key_agreement().then_some(()).ok_or("its keyUsage lacks keyAgreement"),
            KeyKind::P384 => Err("documents are sealed to RSA and P-256 keys only"),
        },
    }
}

fn check_purposes(certificate: &Certificate, wanted: CertificateUse) -> Result<(), &'static str> {
    let purposes = certificate.extended_key_usage();
    let has = |accepted: &[ObjectIdentifier]| purposes.is_some_and(|all| all.iter().any(|one| accepted.contains(one)));
    match wanted {
        CertificateUse::Tls => {
            has(&[oid::EKU_SERVER_AUTH, oid::EKU_CLIENT_AUTH]).then_some(()).ok_or("its extended key usage lacks TLS")
        }
        // RFC 3161 2.3: critical, and nothing else.
        CertificateUse::TimeStamping => (purposes == Some(&[oid::EKU_TIME_STAMPING])
            && certificate.extended_key_usage_is_critical())
        .then_some(())
        .ok_or("its extended key usage is not timeStamping, critical and alone"),
        CertificateUse::Ocsp => {
            has(&[oid::EKU_OCSP_SIGNING]).then_some(()).ok_or("its extended key usage lacks OCSPSigning")
        }
        CertificateUse::Node
        | CertificateUse::Service
        | CertificateUse::Sealing
        | CertificateUse::Operator
        | CertificateUse::PersonSignature
        | CertificateUse::Seal => (purposes.is_none() || has(DOCUMENT_PURPOSES))
            .then_some(())
            .ok_or("its extended key usage is there and names neither emailProtection nor document signing"),
    }
}
