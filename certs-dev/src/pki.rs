//! The authorities: root, sub-CA, what they issue and revoke.
//!
//! Knows nothing of files. Nothing here is fast or careful enough for a real CA, and it is not meant to be one.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    CertifiedIssuer, CrlDistributionPoint, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use truc_proto::Timestamp;

use crate::{
    issued::{Issued, pem},
    ocsp::Responder,
    profile::{KeyKind, Profile, Subject},
};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(86_400 * 365);
/// Names in the reserved domain `.invalid` (RFC 2606): nothing is ever fetched from there.
const CRL_ADDRESS: &str = "http://crl.dev.invalid/";
const OCSP_ADDRESS: &str = "http://ocsp.dev.invalid/";

/// Why a certificate, revocation list or PKCS#12 file was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A name that cannot stand in a certificate, or a key that the library refuses.
    #[error("cannot make the certificate or revocation list")]
    Certificate(#[from] rcgen::Error),
    /// The PKCS#12 library refused.
    #[error("cannot make the PKCS#12 file")]
    Pkcs12(#[from] p12_keystore::error::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
    /// A given private key is not PKCS#8 of the kind asked for.
    #[error("the given private key is not a PKCS#8 key")]
    Key,
}

/// Which authority signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Issuer {
    /// The sub-CA, as for every subscriber.
    #[default]
    Sub,
    /// The root itself, which no subscriber's certificate should come from.
    Root,
}

/// Everything about one certificate; [`Request::new`] gives the profile's, and hostile tests change what they need.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is for.
    pub profile: Profile,
    /// Kind of the key that is made for it.
    pub key: KeyKind,
    /// Whom it names.
    pub subject: Subject,
    /// First moment of validity; `None`: a day before the PKI's time.
    pub not_before: Option<Timestamp>,
    /// Last moment of validity; `None`: five years after the PKI's time.
    pub not_after: Option<Timestamp>,
    /// Other key usages than the profile's; empty leaves the extension out.
    pub key_usages: Option<Vec<KeyUsagePurpose>>,
    /// Other extended usages than the profile's; empty leaves the extension out.
    pub extended_key_usages: Option<Vec<ExtendedKeyUsagePurpose>>,
    /// Says it is a CA itself.
    pub authority: bool,
    /// Who signs it.
    pub issuer: Issuer,
    /// Where it says an OCSP responder answers; `None`: nowhere that exists.
    pub ocsp_address: Option<String>,
    /// Where it says its issuer's revocation lists are; `None`: nowhere that exists.
    pub crl_address: Option<String>,
    /// A PKCS#8 key (DER) to certify instead of a new one, as in a renewal.
    pub key_pkcs8_der: Option<Vec<u8>>,
}

impl Request {
    /// A request with everything as the profile says.
    #[must_use]
    pub fn new(profile: Profile, key: KeyKind, subject: Subject) -> Self {
        Self {
            profile,
            key,
            subject,
            not_before: None,
            not_after: None,
            key_usages: None,
            extended_key_usages: None,
            authority: false,
            issuer: Issuer::Sub,
            ocsp_address: None,
            crl_address: None,
            key_pkcs8_der: None,
        }
    }
}

/// Root and sub-CA with their keys and what they revoked.
pub struct Pki {
    /// The root certificate, PEM: the trust anchor.
    pub anchors_pem: String,
    /// The sub-CA certificate, PEM.
    pub intermediates_pem: String,
    root: Authority,
    sub: Authority,
    now: Timestamp,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    crl_address: String,
    revoked: Vec<RevokedCertParams>,
    crl_number: std::sync::atomic::AtomicU64,
}

impl Pki {
    /// Root and sub-CA with keys of the given kind, named like the Cipher Committee's. Tests take [`KeyKind::P256`].
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn new(authority_keys: KeyKind, now: Timestamp) -> Result<Self, PkiError> {
        let root = Subject::new("RootCA DEV chuyên dùng Chính phủ").organization("Ban Cơ yếu Chính phủ DEV");
        let sub = Subject::new("CA DEV phục vụ các cơ quan Nhà nước").organization("Ban Cơ yếu Chính phủ DEV");
        Self::named(authority_keys, now, &root, &sub)
    }

    /// A PKI with names and keys of its own, which nobody has reason to trust.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn unrelated(authority_keys: KeyKind, now: Timestamp) -> Result<Self, PkiError> {
        let root = Subject::new("RootCA lạ").organization("Công ty chứng thư lạ DEV");
        let sub = Subject::new("CA lạ").organization("Công ty chứng thư lạ DEV");
        Self::named(authority_keys, now, &root, &sub)
    }

    /// A PKI whose authorities carry the given names.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn named(keys: KeyKind, now: Timestamp, root: &Subject, sub: &Subject) -> Result<Self, PkiError> {
        let root_address = format!("{CRL_ADDRESS}root.crl");
        let root = CertifiedIssuer::self_signed(
            authority_params(root, now, BasicConstraints::Unconstrained)?,
            keys.generate()?,
        )?;
        let mut params = authority_params(sub, now, BasicConstraints::Constrained(0))?;
        params.use_authority_key_identifier_extension = true;
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![root_address.clone()] }];
        let sub = CertifiedIssuer::signed_by(params, keys.generate()?, &root)?;
        Ok(Self {
            anchors_pem: pem("CERTIFICATE", root.der()),
            intermediates_pem: pem("CERTIFICATE", sub.der()),
            root: Authority::new(root, root_address),
            sub: Authority::new(sub, format!("{CRL_ADDRESS}sub.crl")),
            now,
        })
    }

    /// The moment this PKI was made for.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        self.root.issuer.der()
    }

    /// The sub-CA certificate, DER.
    #[must_use]
    pub fn sub_der(&self) -> &[u8] {
        self.sub.issuer.der()
    }

    /// What the sub-CA answers with by OCSP when it answers itself.
    ///
    /// # Errors
    /// When its key does not sign.
    pub fn own_responder(&self) -> Result<Responder, PkiError> {
        Responder::of(self.sub.issuer.der(), &self.sub.issuer.key().serialize_der())
    }

    /// The private keys of root and sub-CA, PKCS#8 PEM.
    #[must_use]
    pub fn authority_keys_pem(&self) -> [String; 2] {
        [&self.root, &self.sub].map(|authority| pem("PRIVATE KEY", &authority.issuer.key().serialize_der()))
    }

    /// Issues a certificate with a new P-256 key, valid from a day ago for five years.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue(&self, profile: Profile, subject: Subject) -> Result<Issued, PkiError> {
        self.issue_with(Request::new(profile, KeyKind::P256, subject))
    }

    /// Issues exactly what is asked, sensible or not.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate, or a given key is none.
    pub fn issue_with(&self, request: Request) -> Result<Issued, PkiError> {
        let authority = match request.issuer {
            Issuer::Sub => &self.sub,
            Issuer::Root => &self.root,
        };
        let key = match &request.key_pkcs8_der {
            None => request.key.generate()?,
            Some(der) => KeyPair::try_from(der.as_slice()).map_err(|_| PkiError::Key)?,
        };
        let serial = random_serial()?;
        let mut params = leaf_params(&request, self.now, &authority.crl_address)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, &authority.issuer)?;
        Ok(Issued::new(
            certificate.der().to_vec(),
            authority.issuer.der().to_vec(),
            key.serialize_der(),
            serial,
            request.issuer == Issuer::Root,
        ))
    }

    /// Answers a request (PKCS#10, PEM): the certificate of its key and the sub-CA's, PEM. Subject and uses are those of `request`, as an authority
    /// decides them by its own registers and not by what it is asked.
    ///
    /// # Errors
    /// When the request cannot be read, or its signature does not hold.
    pub fn answer(&self, csr_pem: &str, request: &Request) -> Result<String, PkiError> {
        let asked = CertificateSigningRequestParams::from_pem(csr_pem)?;
        let mut params = leaf_params(request, self.now, &self.sub.crl_address)?;
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        let certificate = params.signed_by(&asked.public_key, &self.sub.issuer)?;
        Ok(format!("{}{}", pem("CERTIFICATE", certificate.der()), pem("CERTIFICATE", self.sub.issuer.der())))
    }

    /// Revokes a certificate: it stands in every revocation list made from now on.
    pub fn revoke(&mut self, issued: &Issued, at: Timestamp, reason: RevocationReason) {
        let authority = if issued.by_root { &mut self.root } else { &mut self.sub };
        authority.revoked.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&issued.serial),
            revocation_time: date(at),
            reason_code: Some(reason),
            invalidity_date: None,
        });
    }

    /// The revocation lists of root and sub-CA in force between the two moments, DER, in this order.
    ///
    /// # Errors
    /// When `next_update` does not lie after `this_update`.
    pub fn crls(&self, this_update: Timestamp, next_update: Timestamp) -> Result<[Vec<u8>; 2], PkiError> {
        Ok([self.root.crl(this_update, next_update)?, self.sub.crl(this_update, next_update)?])
    }

    /// Both revocation lists in one PEM text, in force from the hour before the PKI's time for a year.
    ///
    /// # Errors
    /// When they cannot be signed.
    pub fn crls_pem(&self) -> Result<String, PkiError> {
        self.crls_pem_between(self.now.before(Duration::from_secs(3_600)), self.now + YEAR)
    }

    /// Both revocation lists in one PEM text, in force between the two moments.
    ///
    /// # Errors
    /// When `next_update` does not lie after `this_update`.
    pub fn crls_pem_between(&self, this_update: Timestamp, next_update: Timestamp) -> Result<String, PkiError> {
        Ok(self.crls(this_update, next_update)?.iter().map(|list| pem("X509 CRL", list)).collect())
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pki(root {}, keys [redacted])", truc_proto::Digest::of(self.root_der()))
    }
}

impl Authority {
    fn new(issuer: CertifiedIssuer<'static, KeyPair>, crl_address: String) -> Self {
        Self { issuer, crl_address, revoked: Vec::new(), crl_number: 1.into() }
    }

    fn crl(&self, this_update: Timestamp, next_update: Timestamp) -> Result<Vec<u8>, PkiError> {
        let number = self.crl_number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let list = CertificateRevocationListParams {
            this_update: date(this_update),
            next_update: date(next_update),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.clone(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.der().to_vec())
    }
}

/// A list by the authority of this certificate and key that names these serial numbers, for a lost key; its number grows with its time.
pub(crate) fn list_of(
    certificate: &[u8],
    key_pkcs8: &[u8],
    revoked: &[(&[u8], Timestamp)],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<u8>, PkiError> {
    let key = KeyPair::try_from(key_pkcs8).map_err(|_| PkiError::Key)?;
    let issuer = rcgen::Issuer::from_ca_cert_der(&certificate.to_vec().into(), key)?;
    let named = |(serial, at): &(&[u8], Timestamp)| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date(*at),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date(from),
        next_update: date(to),
        crl_number: u64::try_from(from.unix_s()).unwrap_or_default().into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(named).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&issuer)?.der().to_vec())
}

/// The certificate for a request as it stands, by an authority of which certificate and key are given, and the authority's own; PEM.
pub(crate) fn answer_of(
    certificate: &[u8],
    key_pkcs8: &[u8],
    request_pem: &str,
    now: Timestamp,
) -> Result<String, PkiError> {
    let key = KeyPair::try_from(key_pkcs8).map_err(|_| PkiError::Key)?;
    let issuer = rcgen::Issuer::from_ca_cert_der(&certificate.to_vec().into(), key)?;
    let mut asked = CertificateSigningRequestParams::from_pem(request_pem)?;
    asked.params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    asked.params.use_authority_key_identifier_extension = true;
    (asked.params.not_before, asked.params.not_after) =
        (date(now.before(Duration::from_secs(60))), date(now + YEAR * 4));
    let made = asked.signed_by(&issuer)?;
    Ok(format!("{}{}", pem("CERTIFICATE", made.der()), pem("CERTIFICATE", certificate)))
}

fn authority_params(name: &Subject, now: Timestamp, is: BasicConstraints) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name.distinguished_name();
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.not_before = date(now.before(DAY));
    // NĐ 68/2024/NĐ-CP: a CA's certificate lives 20 years.
    params.not_after = date(now + YEAR * 20);
    params.is_ca = IsCa::Ca(is);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf_params(request: &Request, now: Timestamp, crl_address: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = request.subject.distinguished_name();
    params.subject_alt_names = request.subject.alternative_names()?;
    params.not_before = date(request.not_before.unwrap_or(now.before(DAY)));
    // NĐ 68/2024/NĐ-CP: a new subscriber's certificate lives at most 5 years.
    params.not_after = date(request.not_after.unwrap_or(now + (YEAR * 5).saturating_sub(DAY)));
    // "Explicit": with an empty basicConstraints and, what matters more, a subject key identifier.
    params.is_ca = if request.authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.use_authority_key_identifier_extension = true;
    let crl_address = request.crl_address.clone().unwrap_or_else(|| crl_address.to_owned());
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![crl_address] }];
    params.key_usages = request.key_usages.clone().unwrap_or_else(|| request.profile.key_usages(request.key));
    params.custom_extensions.push(ocsp_address(request.ocsp_address.as_deref().unwrap_or(OCSP_ADDRESS)));
    let extended = &request.extended_key_usages;
    match request.profile {
        // rcgen writes extended usages non-critical only; RFC 3161 2.3 wants this one critical.
        Profile::TimeStamping if extended.is_none() => params.custom_extensions.push(critical_time_stamping()),
        profile => params.extended_key_usages = extended.clone().unwrap_or_else(|| profile.extended_key_usages()),
    }
    if request.profile == Profile::Ocsp {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 5], vec![5, 0]));
    }
    Ok(params)
}

/// EKU { id-kp-timeStamping }, critical.
fn critical_time_stamping() -> CustomExtension {
    let usages = vec![0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], usages);
    extension.set_criticality(true);
    extension
}

/// authorityInfoAccess with one OCSP address (RFC 5280 4.2.2.1). All lengths are below 128: one length byte each.
fn ocsp_address(address: &str) -> CustomExtension {
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
    let description = [&method[..], &tagged(0x86, address.as_bytes())].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tagged(0x30, &tagged(0x30, &description)))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|n| *n < 128).expect("constant contents are short");
    [&[tag, length], content].concat()
}

/// 16 random bytes, positive and without a leading zero.
fn random_serial() -> Result<Vec<u8>, PkiError> {
    let mut serial = vec![0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| PkiError::Random)?;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    Ok(serial)
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.unix_s()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
