//! A time-stamping authority (RFC 3161) for development and tests: honest, unless told to lie.

pub use crate::server::Answer;

use std::{fs, io};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use truc_proto::{Digest, Timestamp};

use crate::{
    KeyFiles,
    der::{blocks, element, general_time, oid, tlv},
    issued::Issued,
    pki::PkiError,
    server::{DevServer, Received},
};

/// The policy it stamps under unless told otherwise, below the number for examples (RFC 5612): `1.3.6.1.4.1.32473.1`.
pub const POLICY: &[u8] = &[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 1];

const DATA_TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];
/// A time-stamping authority behind HTTP (RFC 3161 3.4).
#[derive(Debug)]
pub struct TsaServer(DevServer);

impl TsaServer {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let answer = move |received: &Received| match received.posted("application/timestamp-query") {
            Some(query) => answer(query),
            None => Answer::Status(400),
        };
        DevServer::start("application/timestamp-reply", answer).map(Self)
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url("/tsa")
    }

    /// How many requests came.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.0.asked()
    }
}

const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct TokenPlan {
    /// genTime.
    pub time: Timestamp,
    /// Accuracy in seconds; none is stated without.
    pub accuracy_s: Option<u8>,
    /// Content of the policy's OID.
    pub policy: Vec<u8>,
    /// Content of the nonce's INTEGER.
    pub nonce: Option<Vec<u8>>,
    /// Names its certificate as was done before SHA-2: ESSCertID.
    pub old_identifier: bool,
}

impl TokenPlan {
    /// An honest token of this time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { time, accuracy_s: Some(1), policy: POLICY.to_vec(), nonce: None, old_identifier: false }
    }
}

/// What a request asks for, as far as an honest authority needs it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// SHA-256 of what is to be stamped.
    pub imprint: Digest,
    /// Content of the policy's OID.
    pub policy: Option<Vec<u8>>,
    /// Content of the nonce's INTEGER.
    pub nonce: Option<Vec<u8>>,
}

impl Asked {
    /// Reads a TimeStampReq over SHA-256 whose parts are shorter than 128 bytes; none when it is another.
    #[must_use]
    pub fn read(request: &[u8]) -> Option<Self> {
        let (0x30, mut rest, []) = element(request)? else { return None };
        let mut next = || {
            let (tag, content, after) = element(rest)?;
            rest = after;
            Some((tag, content))
        };
        let (0x02, [1]) = next()? else { return None };
        let (0x30, message) = next()? else { return None };
        let (0x30, _, imprint) = element(message)? else { return None };
        let (0x04, imprint, []) = element(imprint)? else { return None };
        let mut asked = Self { imprint: Digest::from_slice(imprint).ok()?, policy: None, nonce: None };
        while let Some((tag, content)) = next() {
            match tag {
                0x06 => asked.policy = Some(content.to_vec()),
                0x02 => asked.nonce = Some(content.to_vec()),
                _ => {}
            }
        }
        Some(asked)
    }
}

/// An authority with its key.
pub struct Tsa {
    certificate: Vec<u8>,
    issuer: Vec<u8>,
    key: KeyPair,
}

impl Tsa {
    /// With this certificate and key.
    ///
    /// # Errors
    /// When the key is none that it can sign with.
    pub fn new(issued: Issued) -> Result<Self, PkiError> {
        let key = KeyPair::try_from(issued.key_pkcs8_der.as_slice()).map_err(|_| PkiError::Key)?;
        Ok(Self { certificate: issued.certificate_der, issuer: issued.issuer_der, key })
    }

    /// With the certificate and key of a tree, e.g. `services/tsa`.
    ///
    /// # Errors
    /// When the files cannot be read, or hold something else.
    pub fn load(files: &KeyFiles) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let mut chain = blocks(&fs::read_to_string(&files.certificate)?).into_iter();
        let key = blocks(&fs::read_to_string(&files.key)?).into_iter().next().ok_or_else(wrong)?;
        let (certificate, issuer) = (chain.next().ok_or_else(wrong)?, chain.next().ok_or_else(wrong)?);
        let key = KeyPair::try_from(key.as_slice()).map_err(|_| wrong())?;
        Ok(Self { certificate, issuer, key })
    }

    /// The answer to a request at `now`, as an honest authority gives it; a refusal (badDataFormat) where it cannot be read.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn answer(&self, request: &[u8], now: Timestamp) -> Result<Vec<u8>, PkiError> {
        let Some(asked) = Asked::read(request) else { return Ok(refusal(5)) };
        let policy = asked.policy.clone().unwrap_or_else(|| POLICY.to_vec());
        let plan = TokenPlan { policy, nonce: asked.nonce.clone(), ..TokenPlan::at(now) };
        Ok(granted(&self.token(&asked.imprint, &plan)?))
    }

    /// A token about what has this SHA-256.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn token(&self, imprint: &Digest, plan: &TokenPlan) -> Result<Vec<u8>, PkiError> {
        let info = info(imprint, plan);
        let message_digest = tlv(0x04, &[digest(&SHA256, &info).as_ref()]);
        let mut attributes = [
            attribute(CONTENT_TYPE, &oid(DATA_TST_INFO)),
            attribute(MESSAGE_DIGEST, &message_digest),
            self.identifier(plan.old_identifier),
        ];
        attributes.sort();
        let attributes = attributes.concat();
        let signature = self.key.sign(&tlv(0x31, &[&attributes]))?;
        let algorithm = if self.key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            tlv(0x30, &[&oid(ECDSA_SHA256)])
        } else {
            tlv(0x30, &[&oid(RSA_SHA256), &[5, 0]])
        };
        let signer = tlv(
            0x30,
            &[
                &[2, 1, 1],
                &self.issuer_and_serial(),
                &sha256(),
                &tlv(0xa0, &[&attributes]),
                &algorithm,
                &tlv(0x04, &[&signature]),
            ],
        );
        let content = tlv(0x30, &[&oid(DATA_TST_INFO), &tlv(0xa0, &[&tlv(0x04, &[&info])])]);
        let mut certificates = [self.certificate.clone(), self.issuer.clone()];
        certificates.sort();
        let data = tlv(
            0x30,
            &[
                &[2, 1, 3],
                &tlv(0x31, &[&sha256()]),
                &content,
                &tlv(0xa0, &[&certificates.concat()]),
                &tlv(0x31, &[&signer]),
            ],
        );
        Ok(tlv(0x30, &[&oid(SIGNED_DATA), &tlv(0xa0, &[&data])]))
    }

    /// signing-certificate-v2 (RFC 5035 5), or signing-certificate (RFC 2634 5.4).
    fn identifier(&self, old: bool) -> Vec<u8> {
        let (name, algorithm) =
            if old { (SIGNING_CERTIFICATE, &SHA1_FOR_LEGACY_USE_ONLY) } else { (SIGNING_CERTIFICATE_V2, &SHA256) };
        let hash = tlv(0x04, &[digest(algorithm, &self.certificate).as_ref()]);
        attribute(name, &tlv(0x30, &[&tlv(0x30, &[&tlv(0x30, &[&hash])])]))
    }

    fn issuer_and_serial(&self) -> Vec<u8> {
        // The fields of the certificate: version, serial number, algorithm, the issuer's name.
        let field = |mut bytes: &[u8], count: usize| -> Option<Vec<u8>> {
            for _ in 0..count {
                bytes = element(bytes)?.2;
            }
            let after = element(bytes)?.2;
            Some(bytes.get(..bytes.len() - after.len())?.to_vec())
        };
        let tbs = element(&self.certificate).and_then(|(_, whole, _)| element(whole)).map(|(_, tbs, _)| tbs);
        let named = tbs.and_then(|tbs| Some([field(tbs, 3)?, field(tbs, 1)?].concat()));
        tlv(0x30, &[&named.expect("its own certificate is well-formed")])
    }
}

/// An answer with a token.
#[must_use]
pub fn granted(token: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&[0x30, 3, 2, 1, 0], token])
}

/// A refusal with this bit of PKIFailureInfo, below 16.
#[must_use]
pub fn refusal(bit: u8) -> Vec<u8> {
    let bits = 0x8000_u16.checked_shr(bit.into()).unwrap_or_default().to_be_bytes();
    tlv(0x30, &[&tlv(0x30, &[&[2, 1, 2], &tlv(0x03, &[&[0], &bits])])])
}

fn info(imprint: &Digest, plan: &TokenPlan) -> Vec<u8> {
    let message = tlv(0x30, &[&sha256(), &tlv(0x04, &[imprint.as_bytes()])]);
    // An INTEGER whose first bit is set would be negative.
    let accuracy = plan.accuracy_s.map_or_else(Vec::new, |seconds| {
        let padding: &[u8] = if seconds < 128 { &[] } else { &[0] };
        tlv(0x30, &[&tlv(0x02, &[padding, &[seconds]])])
    });
    let nonce = plan.nonce.as_ref().map_or_else(Vec::new, |nonce| tlv(0x02, &[nonce]));
    let serial = digest(&SHA256, &[imprint.as_bytes().as_slice(), &plan.time.unix_ms().to_be_bytes()].concat());
    let serial = tlv(0x02, &[&[1], serial.as_ref().get(..8).unwrap_or_default()]);
    tlv(
        0x30,
        &[
            &[2, 1, 1],
            &oid(&plan.policy),
            &message,
            &serial,
            &tlv(0x18, &[general_time(plan.time).as_bytes()]),
            &accuracy,
            &nonce,
        ],
    )
}

fn sha256() -> Vec<u8> {
    tlv(0x30, &[&oid(SHA256_OID), &[5, 0]])
}

fn attribute(name: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&oid(name), &tlv(0x31, &[value])])
}
