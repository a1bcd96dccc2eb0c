//! An OCSP responder (RFC 6960) for development and tests: honest, unless told to lie.

use std::{fs, io};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use truc_proto::Timestamp;

use crate::{
    KeyFiles, RevocationReason,
    der::{blocks, element, general_time, oid, tlv},
    issued::Issued,
    pki::PkiError,
    server::{Answer, DevServer, Received},
};

const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const HOUR_S: u64 = 3_600;

/// The media type of an OCSPRequest.
pub const REQUEST: &str = "application/ocsp-request";
/// The media type of an OCSPResponse.
pub const RESPONSE: &str = "application/ocsp-response";

/// What a request asks about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// DER of the CertIDs.
    pub certificates: Vec<Vec<u8>>,
    /// The nonce.
    pub nonce: Option<Vec<u8>>,
}

impl Asked {
    /// Reads an OCSPRequest without requestor's name; none when it is another.
    #[must_use]
    pub fn read(request: &[u8]) -> Option<Self> {
        let (0x30, outer, []) = element(request)? else { return None };
        let (0x30, tbs, _) = element(outer)? else { return None };
        let (0x30, mut list, mut rest) = element(tbs)? else { return None };
        let mut asked = Self { certificates: Vec::new(), nonce: None };
        while !list.is_empty() {
            let (0x30, one, after) = element(list)? else { return None };
            let (0x30, _, behind) = element(one)? else { return None };
            asked.certificates.push(one.get(..one.len() - behind.len())?.to_vec());
            list = after;
        }
        if let Some((0xa2, extensions, after)) = element(rest) {
            rest = after;
            let (0x30, extension, _) = element(element(extensions)?.1)? else { return None };
            let (0x06, name, value) = element(extension)? else { return None };
            let (0x04, value, _) = element(value)? else { return None };
            asked.nonce = (name == NONCE).then(|| element(value)).flatten().map(|(_, nonce, _)| nonce.to_vec());
        }
        rest.is_empty().then_some(asked)
    }

    /// The serial number in a CertID.
    #[must_use]
    pub fn serial(certificate: &[u8]) -> Option<&[u8]> {
        let (_, fields, _) = element(certificate)?;
        let (_, _, rest) = element(fields)?;
        let (_, _, rest) = element(rest)?;
        let (_, _, rest) = element(rest)?;
        let (0x02, serial, []) = element(rest)? else { return None };
        Some(serial)
    }
}

/// What an answer says of one certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Not revoked.
    Good,
    /// Revoked, since when and why.
    Revoked(Timestamp, RevocationReason),
    /// The responder does not know it.
    Unknown,
}

/// What an answer is to say.
#[derive(Clone, Debug)]
pub struct OcspPlan {
    /// Of the certificate.
    pub status: Status,
    /// producedAt.
    pub produced_at: Timestamp,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate; none is stated without.
    pub next_update: Option<Timestamp>,
    /// The nonce.
    pub nonce: Option<Vec<u8>>,
    /// Names the responder by the hash of its key, not by its name.
    pub by_key: bool,
    /// Leaves the responder's certificate out.
    pub bare: bool,
}

impl OcspPlan {
    /// An honest answer of this time, good for an hour.
    #[must_use]
    pub fn at(time: Timestamp, status: Status) -> Self {
        let next_update = Some(time + std::time::Duration::from_secs(HOUR_S));
        Self { status, produced_at: time, this_update: time, next_update, nonce: None, by_key: false, bare: false }
    }
}

/// A responder with its key.
pub struct Responder {
    certificate: Vec<u8>,
    key: KeyPair,
}

impl Responder {
    /// One that an authority appointed with this certificate.
    ///
    /// # Errors
    /// When the key is none that it can sign with.
    pub fn new(issued: &Issued) -> Result<Self, PkiError> {
        Self::of(&issued.certificate_der, &issued.key_pkcs8_der)
    }

    /// With the certificate and key of a tree, e.g. `services/ocsp`.
    ///
    /// # Errors
    /// When the files cannot be read, or hold something else.
    pub fn load(files: &KeyFiles) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let first = |path| Ok::<_, io::Error>(blocks(&fs::read_to_string(path)?).into_iter().next());
        let (certificate, key) = (first(&files.certificate)?, first(&files.key)?);
        Self::of(&certificate.ok_or_else(wrong)?, &key.ok_or_else(wrong)?).map_err(|_| wrong())
    }

    /// With a certificate and its key, PKCS#8 DER.
    ///
    /// # Errors
    /// As [`Responder::new`].
    pub fn of(certificate: &[u8], key_pkcs8: &[u8]) -> Result<Self, PkiError> {
        let key = KeyPair::try_from(key_pkcs8).map_err(|_| PkiError::Key)?;
        Ok(Self { certificate: certificate.to_vec(), key })
    }

    /// An answer about the certificate of this CertID.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn answer(&self, certificate: &[u8], plan: &OcspPlan) -> Result<Vec<u8>, PkiError> {
        let time = |at: Timestamp| tlv(0x18, &[general_time(Timestamp::from_unix_ms(at.unix_s() * 1_000)).as_bytes()]);
        let status = match plan.status {
            Status::Good => vec![0x80, 0],
            Status::Revoked(at, reason) => {
                let reason = tlv(0xa0, &[&[0x0a, 1, reason as u8]]);
                tlv(0xa1, &[&time(at), &reason])
            }
            Status::Unknown => vec![0x82, 0],
        };
        let next = plan.next_update.map_or_else(Vec::new, |next| tlv(0xa0, &[&time(next)]));
        let single = tlv(0x30, &[certificate, &status, &time(plan.this_update), &next]);
        let nonce = plan.nonce.as_ref().map_or_else(Vec::new, |nonce| {
            let extension = tlv(0x30, &[&oid(NONCE), &tlv(0x04, &[&tlv(0x04, &[nonce])])]);
            tlv(0xa1, &[&tlv(0x30, &[&extension])])
        });
        let (name, key) = self.names();
        let named = if plan.by_key { tlv(0xa2, &[&tlv(0x04, &[&key])]) } else { tlv(0xa1, &[&name]) };
        let data = tlv(0x30, &[&named, &time(plan.produced_at), &tlv(0x30, &[&single]), &nonce]);
        let algorithm = if self.key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            tlv(0x30, &[&oid(ECDSA_SHA256)])
        } else {
            tlv(0x30, &[&oid(RSA_SHA256), &[5, 0]])
        };
        let signature = tlv(0x03, &[&[0], &self.key.sign(&data)?]);
        let own = if plan.bare { Vec::new() } else { tlv(0xa0, &[&tlv(0x30, &[&self.certificate])]) };
        let basic = tlv(0x30, &[&data, &algorithm, &signature, &own]);
        let bytes = tlv(0x30, &[&oid(BASIC), &tlv(0x04, &[&basic])]);
        Ok(tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])]))
    }

    /// An honest answer to a request at `now`, with its nonce; `status` knows every serial number.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn reply(&self, request: &[u8], now: Timestamp, status: impl Fn(&[u8]) -> Status) -> Result<Vec<u8>, PkiError> {
        let Some(asked) = Asked::read(request) else { return Ok(refusal(1)) };
        let Some(certificate) = asked.certificates.first() else { return Ok(refusal(1)) };
        let status = Asked::serial(certificate).map_or(Status::Unknown, status);
        self.answer(certificate, &OcspPlan { nonce: asked.nonce, ..OcspPlan::at(now, status) })
    }

    /// DER of its subject, and SHA-1 of its key.
    fn names(&self) -> (Vec<u8>, Vec<u8>) {
        let read = || {
            let (_, certificate, _) = element(&self.certificate)?;
            let (_, mut fields, _) = element(certificate)?;
            // Version, serial number, algorithm, issuer, validity.
            for _ in 0..5 {
                fields = element(fields)?.2;
            }
            let (_, _, after) = element(fields)?;
            let subject = fields.get(..fields.len() - after.len())?.to_vec();
            let (_, key, _) = element(after)?;
            let (_, _, key) = element(key)?;
            let (0x03, [0, key @ ..], _) = element(key)? else { return None };
            Some((subject, digest(&SHA1_FOR_LEGACY_USE_ONLY, key).as_ref().to_vec()))
        };
        read().expect("its own certificate is well-formed")
    }
}

/// An error instead of an answer, e.g. 3 for tryLater.
#[must_use]
pub fn refusal(status: u8) -> Vec<u8> {
    tlv(0x30, &[&[0x0a, 1, status]])
}

/// A responder behind HTTP (RFC 6960 appendix A).
#[derive(Debug)]
pub struct OcspServer(DevServer);

impl OcspServer {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let answer = move |received: &Received| match received.posted(REQUEST) {
            Some(request) => answer(request),
            None => Answer::Status(400),
        };
        DevServer::start(RESPONSE, answer).map(Self)
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url("/ocsp")
    }

    /// How many requests came.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.0.asked()
    }
}
