//! TimeStampReq and TimeStampResp (RFC 3161 2.4).

use std::{fmt, str::FromStr};

use der::asn1::ObjectIdentifier;
use truc_proto::{
    Digest, Timestamp,
    limits::{FUTURE_SKEW_MAX_MS, TIME_STAMP_BYTES_MAX, TIME_STAMP_TEXT_CHARS_MAX},
};

use super::{TimeStamp, TimeStampError, Worth, verify_token};
use crate::{
    asn1::{self, BIT_STRING, INTEGER, Malformed, NULL, OCTET_STRING, SEQUENCE, Tlv},
    oid,
    path::TrustStore,
};

const UTF8_STRING: u8 = 0x0c;
const TRUE: &[u8] = &[0x01, 1, 0xff];
/// RFC 3161 2.4.2, PKIFailureInfo.
const FAILURES: [(usize, &str); 8] = [
    (0, "badAlg"),
    (2, "badRequest"),
    (5, "badDataFormat"),
    (14, "timeNotAvailable"),
    (15, "unacceptedPolicy"),
    (16, "unacceptedExtension"),
    (17, "addInfoNotAvailable"),
    (25, "systemFailure"),
];

/// A random number by which an answer is known to be one to this request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeStampNonce([u8; 16]);

impl TimeStampNonce {
    /// From random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        // Positive and without a leading zero: DER writes it as it is.
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Self(bytes)
    }
}

/// The policy that an authority is asked to stamp under, e.g. `1.2.704.1.1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeStampPolicy(ObjectIdentifier);

/// A text that names no policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a policy is an OID in dotted form, e.g. 1.2.704.1.1")]
pub struct TimeStampPolicyError;

impl FromStr for TimeStampPolicy {
    type Err = TimeStampPolicyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ObjectIdentifier::new(text).map(Self).map_err(|_| TimeStampPolicyError)
    }
}

impl fmt::Display for TimeStampPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A question to a time-stamping authority: does this signature exist now?
#[derive(Clone, Debug)]
pub struct TimeStampRequest {
    stamped: Vec<u8>,
    nonce: TimeStampNonce,
    policy: Option<TimeStampPolicy>,
}

impl TimeStampRequest {
    /// About a signature value (RFC 3161 appendix A).
    #[must_use]
    pub fn of_signature(signature: &[u8], nonce: TimeStampNonce, policy: Option<TimeStampPolicy>) -> Self {
        Self { stamped: signature.to_vec(), nonce, policy }
    }

    /// DER of the TimeStampReq: SHA-256, the certificate wanted inside.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let imprint = asn1::tlv(OCTET_STRING, &[Digest::of(&self.stamped).as_bytes()]);
        let message = asn1::tlv(SEQUENCE, &[&asn1::algorithm_with(oid::SHA256, &[NULL, 0]), &imprint]);
        let policy = self.policy.map_or_else(Vec::new, |policy| asn1::oid(policy.0));
        asn1::tlv(SEQUENCE, &[&[INTEGER, 1, 1], &message, &policy, &asn1::tlv(INTEGER, &[&self.nonce.0]), TRUE])
    }

    /// Reads and verifies the answer that came at `now`: the token's DER, fit to be embedded, and what it says. Nothing that a verifier would not
    /// believe later is accepted.
    ///
    /// # Errors
    /// See [`TimeStampError`].
    pub fn accept(
        &self,
        response: &[u8],
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<(Vec<u8>, TimeStamp), TimeStampError> {
        let token = read_response(response)?;
        let stamp = verify_token(&token, &self.stamped)?;
        if stamp.nonce.as_deref() != Some(&self.nonce.0) {
            return Err(TimeStampError::OtherNonce);
        }
        if let Some(wanted) = self.policy.map(|policy| policy.to_string()).filter(|wanted| *wanted != stamp.policy) {
            return Err(TimeStampError::OtherPolicy { wanted, found: stamp.policy });
        }
        if stamp.time.unix_ms().abs_diff(now.unix_ms()) > FUTURE_SKEW_MAX_MS.unsigned_abs() {
            return Err(TimeStampError::Clock { time: stamp.time, now });
        }
        match stamp.worth(trust, stamp.time, now)? {
            Worth::Proves => Ok((token, stamp)),
            Worth::Nothing(why) => Err(TimeStampError::Nothing(why)),
        }
    }
}

/// The token of a TimeStampResp that was granted.
fn read_response(response: &[u8]) -> Result<Vec<u8>, TimeStampError> {
    if response.len() > TIME_STAMP_BYTES_MAX {
        return Err(TimeStampError::TooLarge { bytes: response.len() });
    }
    let malformed = |_: Malformed| TimeStampError::Malformed { part: "TimeStampResp" };
    let der = asn1::normalise(response).map_err(malformed)?;
    let mut reader = Tlv::parse(&der, SEQUENCE).map_err(malformed)?.reader();
    let mut status = reader.sequence().map_err(malformed)?;
    let code = status.small_integer().map_err(malformed)?;
    // granted, grantedWithMods; the others come without token.
    if code > 1 {
        let text = status.optional(SEQUENCE).ok().flatten().and_then(status_text);
        let failure = status.optional(BIT_STRING).ok().flatten().and_then(failure_text);
        let said = [failure, text].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Err(TimeStampError::Refused { status: code, said: Some(said).filter(|said| !said.is_empty()) });
    }
    let token = reader.expect(SEQUENCE).map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    Ok(token.whole.to_vec())
}

/// PKIFreeText, as far as a line takes it.
fn status_text(texts: Tlv<'_>) -> Option<String> {
    let text = texts.reader().expect(UTF8_STRING).ok()?;
    let text = String::from_utf8_lossy(text.content);
    let shown: String = text.chars().filter(|c| !c.is_control()).take(TIME_STAMP_TEXT_CHARS_MAX).collect();
    Some(shown).filter(|shown| !shown.is_empty())
}

fn failure_text(bits: Tlv<'_>) -> Option<String> {
    let (_, bytes) = bits.content.split_first()?;
    let is_set = |bit: usize| bytes.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
    let names: Vec<&str> = FAILURES.iter().filter(|(bit, _)| is_set(*bit)).map(|(_, name)| *name).collect();
    Some(names.join(", ")).filter(|names| !names.is_empty())
}
