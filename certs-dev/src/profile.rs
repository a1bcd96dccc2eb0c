//! What a certificate is for and whom it names: key usages, extended usages, subjects.

use std::{fmt, str::FromStr};

use rcgen::{DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, RsaKeySize};

/// The kinds of key met in the field (RSA-2048 and RSA-3072 on tokens, some ECDSA P-256).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// ECDSA or ECDH over NIST P-256; made in well under a millisecond.
    P256,
    /// RSA with a 2048-bit modulus.
    Rsa2048,
    /// RSA with a 3072-bit modulus; making one takes a good part of a second.
    Rsa3072,
}

/// A text that names no kind of key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a kind of key is one of rsa2048, rsa3072, p256")]
pub struct KeyKindParseError;

impl FromStr for KeyKind {
    type Err = KeyKindParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "p256" => Ok(Self::P256),
            "rsa2048" => Ok(Self::Rsa2048),
            "rsa3072" => Ok(Self::Rsa3072),
            _ => Err(KeyKindParseError),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "p256",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
        })
    }
}

impl KeyKind {
    pub(crate) fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        }
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Mutual TLS of a node or relay: digitalSignature, EKU serverAuth and clientAuth.
    Tls,
    /// A node's or relay's own signature under checkpoints: digitalSignature, no EKU.
    Node,
    /// An agency's service, which signs containers: digitalSignature and nonRepudiation, EKU emailProtection.
    Service,
    /// What documents are sealed to: keyEncipherment (RSA) or keyAgreement (P-256), no EKU.
    Sealing,
    /// An agency's seal (con dấu) on documents: as [`Profile::Service`].
    Seal,
    /// A person's signature on documents: as [`Profile::Service`].
    Person,
    /// The axis operator, who signs directories: digitalSignature and nonRepudiation, EKU emailProtection.
    Operator,
    /// A time-stamping authority: digitalSignature, EKU timeStamping critical and alone (RFC 3161 2.3).
    TimeStamping,
    /// An OCSP responder: digitalSignature, EKU OCSPSigning, id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2).
    Ocsp,
}

impl Profile {
    pub(crate) fn key_usages(self, key: KeyKind) -> Vec<KeyUsagePurpose> {
        match (self, key) {
            (Self::Tls | Self::Node | Self::TimeStamping | Self::Ocsp, _) => vec![KeyUsagePurpose::DigitalSignature],
            (Self::Service | Self::Seal | Self::Person | Self::Operator, _) => {
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment]
            }
            (Self::Sealing, KeyKind::P256) => vec![KeyUsagePurpose::KeyAgreement],
            (Self::Sealing, KeyKind::Rsa2048 | KeyKind::Rsa3072) => vec![KeyUsagePurpose::KeyEncipherment],
        }
    }

    pub(crate) fn extended_key_usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Tls => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Self::Node | Self::Sealing => vec![],
            Self::Service | Self::Seal | Self::Person | Self::Operator => {
                vec![ExtendedKeyUsagePurpose::EmailProtection]
            }
            Self::TimeStamping => vec![ExtendedKeyUsagePurpose::TimeStamping],
            Self::Ocsp => vec![ExtendedKeyUsagePurpose::OcspSigning],
        }
    }
}

/// Whom a certificate names. The common name always ends in `DEV`, so that no such certificate passes for a real one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    common_name: String,
    organization: Option<String>,
    unit: Option<String>,
    locality: Option<String>,
    email: Option<String>,
    dns: Vec<String>,
}

impl Subject {
    /// `CN=<common_name> DEV, C=VN`; the mark is not added twice.
    #[must_use]
    pub fn new(common_name: &str) -> Self {
        let marked = common_name.split_whitespace().any(|word| word == "DEV");
        let common_name = if marked { common_name.to_owned() } else { format!("{common_name} DEV") };
        Self { common_name, organization: None, unit: None, locality: None, email: None, dns: Vec::new() }
    }

    /// Adds `O=`.
    #[must_use]
    pub fn organization(mut self, name: &str) -> Self {
        self.organization = Some(name.to_owned());
        self
    }

    /// Adds `OU=`.
    #[must_use]
    pub fn unit(mut self, name: &str) -> Self {
        self.unit = Some(name.to_owned());
        self
    }

    /// Adds `L=`.
    #[must_use]
    pub fn locality(mut self, name: &str) -> Self {
        self.locality = Some(name.to_owned());
        self
    }

    /// Adds an rfc822Name to the alternative names, ASCII only.
    #[must_use]
    pub fn email(mut self, address: &str) -> Self {
        self.email = Some(address.to_owned());
        self
    }

    /// Adds a DNS name or an IP address to the alternative names, ASCII only.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.dns.push(name.to_owned());
        self
    }

    /// The TLS subject of a node or relay: its id in lower case, `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn endpoint(id: &str) -> Self {
        Self::new(&format!("TLS {id}"))
            .organization("Trục liên thông văn bản DEV")
            .dns(&id.to_ascii_lowercase())
            .dns("localhost")
            .dns("127.0.0.1")
            .dns("::1")
    }

    pub(crate) fn distinguished_name(&self) -> DistinguishedName {
        // Most significant first in DER; printers show it the other way round, as `CN=…,O=…,L=…,C=VN`.
        let mut name = DistinguishedName::new();
        // PrintableString: RFC 5280 A.1 X520countryName.
        if let Ok(country) = "VN".try_into() {
            name.push(DnType::CountryName, DnValue::PrintableString(country));
        }
        for (kind, value) in [
            (DnType::LocalityName, self.locality.as_deref()),
            (DnType::OrganizationName, self.organization.as_deref()),
            (DnType::OrganizationalUnitName, self.unit.as_deref()),
            (DnType::CommonName, Some(self.common_name.as_str())),
        ] {
            if let Some(value) = value {
                name.push(kind, value);
            }
        }
        name
    }

    pub(crate) fn alternative_names(&self) -> Result<Vec<rcgen::SanType>, rcgen::Error> {
        let mut names = rcgen::CertificateParams::new(self.dns.clone())?.subject_alt_names;
        if let Some(email) = &self.email {
            names.push(rcgen::SanType::Rfc822Name(email.as_str().try_into()?));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_says_dev_once() {
        assert_eq!(Subject::new("BỘ TÀI CHÍNH").common_name, "BỘ TÀI CHÍNH DEV");
        assert_eq!(Subject::new("RootCA DEV chuyên dùng").common_name, "RootCA DEV chuyên dùng");
        assert_eq!(Subject::new("DEVELOPMENT").common_name, "DEVELOPMENT DEV");
    }
}
