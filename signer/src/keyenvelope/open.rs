//! Opening key envelopes: the structure is checked and the recipient found before the private key is touched,
//! and after that every failure is the same failure.

use super::*;
use crate::{
    asn1::{Algorithm, Malformed, Reader, Tlv},
    cms::{explicit_algorithm, is_mgf1_sha256},
    keys::OpeningKey,
};
use truc_proto::limits::{KEY_ENVELOPE_BYTES_MAX, KEY_ENVELOPE_RECIPIENTS_MAX};

/// Why a key envelope was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Larger than the bound.
    #[error("a key envelope of {bytes} bytes is refused, at most {KEY_ENVELOPE_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not an AuthEnvelopedData of suite S1. Told before the private key is used, so it gives nothing away.
    #[error(
        "not a key envelope of suite S1 (AES-256-GCM, RSA-OAEP-SHA256 or ECDH P-256); the sender's software must be corrected"
    )]
    Malformed,
    /// Sealed to another certificate.
    #[error("the key envelope is not sealed to the certificate of {subject} ({serial}); it needs another key")]
    NotForUs {
        /// Our certificate.
        subject: String,
        /// Its serial number in hexadecimal.
        serial: String,
    },
    /// The key cannot be reached now.
    #[error("the decryption key is away; connect the token or module, the envelope is kept")]
    Away,
    /// It does not open. One error for every cause (RFC 5652 14, RSA-OAEP and unwrap failures alike).
    #[error("the key envelope does not open with the key of its certificate; the sender must seal again")]
    Failed,
}

/// Opens a key envelope with the key of the certificate it is sealed to.
///
/// # Errors
/// See [`OpenError`].
pub fn open_key(envelope: &[u8], key: &dyn OpeningKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if envelope.len() > KEY_ENVELOPE_BYTES_MAX {
        return Err(OpenError::TooLarge { bytes: envelope.len() });
    }
    let der = asn1::normalise(envelope).map_err(|Malformed| OpenError::Malformed)?;
    let parts = Parts::read(&der).map_err(|Malformed| OpenError::Malformed)?;
    let certificate = key.certificate();
    let recipient = parts
        .recipients
        .iter()
        .find_map(|recipient| recipient.locked_for(certificate).transpose())
        .ok_or_else(|| OpenError::NotForUs {
            subject: certificate.subject().into(),
            serial: certificate.serial_text(),
        })?
        .map_err(|Malformed| OpenError::Malformed)?;

    let content_key = recipient.unlock(key).map_err(|error| match error {
        OpeningKeyError::Away => OpenError::Away,
        OpeningKeyError::Failed => OpenError::Failed,
    })?;
    parts.decrypt(&content_key).ok_or(OpenError::Failed)
}

/// Whether one of the recipients of a key envelope is this certificate. Nothing is decrypted: who carries envelopes may ask. What is no key envelope is
/// sealed to nobody.
#[must_use]
pub fn is_sealed_to(envelope: &[u8], certificate: &Certificate) -> bool {
    if envelope.len() > KEY_ENVELOPE_BYTES_MAX {
        return false;
    }
    let Ok(der) = asn1::normalise(envelope) else { return false };
    let Ok(parts) = Parts::read(&der) else { return false };
    parts.recipients.iter().any(|recipient| matches!(recipient.locked_for(certificate), Ok(Some(_))))
}

struct Parts<'a> {
    recipients: Vec<RecipientInfo<'a>>,
    nonce: [u8; 12],
    ciphertext: Vec<u8>,
    attributes: Option<Tlv<'a>>,
    tag: &'a [u8],
}

/// A RecipientInfo of a kind we know: by tag, not yet taken apart.
#[derive(Clone, Copy)]
enum RecipientInfo<'a> {
    Transport(Tlv<'a>),
    Agreement(Tlv<'a>),
    Other,
}

/// The content key as it lies there for our certificate.
enum LockedKey<'a> {
    Oaep { encrypted: &'a [u8] },
    Ecdh { point: &'a [u8], ukm: Option<&'a [u8]>, wrapped: &'a [u8] },
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut info = Tlv::parse(der, SEQUENCE)?.reader();
        info.oid(oid::AUTH_ENVELOPED_DATA)?;
        let content = info.expect(context(0))?.content;
        info.finish()?;
        let mut data = Tlv::parse(content, SEQUENCE)?.reader();
        if data.small_integer()? != 0 {
            return Err(Malformed);
        }
        data.optional(context(0))?; // originatorInfo: certificates we do not need
        let recipients = read_recipients(data.expect(SET)?.reader())?;
        let mut encrypted = data.sequence()?;
        encrypted.oid(oid::DATA)?;
        let nonce = gcm_nonce(&Algorithm::read(&mut encrypted)?)?;
        let ciphertext = asn1::implicit_octets(encrypted.any()?, 0)?;
        encrypted.finish()?;
        let attributes = data.optional(context(1))?;
        let tag = data.expect(OCTET_STRING)?.content;
        data.optional(context(2))?;
        data.finish()?;
        // Other tag lengths are legal in RFC 5084 and weaker.
        if tag.len() != AES_256_GCM.tag_len() || ciphertext.len() > KEY_MANIFEST_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(Self { recipients, nonce, ciphertext, attributes, tag })
    }

    fn decrypt(&self, content_key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // RFC 5083 2.2: authenticated attributes enter as their SET OF encoding.
        let aad = self.attributes.map(|attributes| asn1::tlv(SET, &[attributes.content])).unwrap_or_default();
        let mut sealed = Zeroizing::new(Vec::with_capacity(self.ciphertext.len() + self.tag.len()));
        sealed.extend_from_slice(&self.ciphertext);
        sealed.extend_from_slice(self.tag);
        let length = gcm(content_key)?
            .open_in_place(Nonce::assume_unique_for_key(self.nonce), Aad::from(aad), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn read_recipients(mut reader: Reader<'_>) -> Result<Vec<RecipientInfo<'_>>, Malformed> {
    let mut recipients = Vec::new();
    while !reader.is_empty() {
        if recipients.len() == KEY_ENVELOPE_RECIPIENTS_MAX {
            return Err(Malformed);
        }
        let info = reader.any()?;
        recipients.push(match info.tag {
            SEQUENCE => RecipientInfo::Transport(info),
            tag if tag == context(1) => RecipientInfo::Agreement(info),
            _ => RecipientInfo::Other,
        });
    }
    Ok(recipients)
}

/// GCMParameters with a 12-byte nonce and a 16-byte tag.
fn gcm_nonce(algorithm: &Algorithm<'_>) -> Result<[u8; 12], Malformed> {
    let parameters = algorithm.parameters.filter(|_| algorithm.oid.is_oid(oid::AES256_GCM)).ok_or(Malformed)?;
    let mut parameters = Tlv::parse(parameters.whole, SEQUENCE)?.reader();
    let nonce = parameters.expect(OCTET_STRING)?.content;
    if parameters.small_integer()? != 16 {
        return Err(Malformed);
    }
    parameters.finish()?;
    nonce.try_into().map_err(|_| Malformed)
}

impl<'a> RecipientInfo<'a> {
    /// What lies here for `certificate`; `None` when it is for somebody else.
    fn locked_for(self, certificate: &Certificate) -> Result<Option<LockedKey<'a>>, Malformed> {
        match self {
            Self::Transport(info) => transport_for(info, certificate),
            Self::Agreement(info) => agreement_for(info, certificate),
            Self::Other => Ok(None),
        }
    }
}

fn transport_for<'a>(info: Tlv<'a>, certificate: &Certificate) -> Result<Option<LockedKey<'a>>, Malformed> {
    let mut info = info.reader();
    let version = info.small_integer()?;
    let recipient = info.any()?;
    let is_ours = match version {
        0 => recipient.whole == cms::issuer_and_serial(certificate),
        2 => recipient.tag == context_primitive(0) && certificate.subject_key_id() == Some(recipient.content),
        _ => return Err(Malformed),
    };
    if !is_ours {
        return Ok(None);
    }
    let algorithm = Algorithm::read(&mut info)?;
    let encrypted = info.expect(OCTET_STRING)?.content;
    info.finish()?;
    let parameters = algorithm.parameters.filter(|_| algorithm.oid.is_oid(oid::RSA_OAEP)).ok_or(Malformed)?;
    if oaep_is_ours(parameters)? { Ok(Some(LockedKey::Oaep { encrypted })) } else { Err(Malformed) }
}

/// RSAES-OAEP-params for SHA-256 with MGF1-SHA-256 and no label.
fn oaep_is_ours(parameters: Tlv<'_>) -> Result<bool, Malformed> {
    let mut reader = Tlv::parse(parameters.whole, SEQUENCE)?.reader();
    let hash = explicit_algorithm(reader.expect(context(0))?)?;
    let mask = explicit_algorithm(reader.expect(context(1))?)?;
    reader.finish()?;
    Ok(hash.is_plain(oid::SHA256) && is_mgf1_sha256(&mask)?)
}

fn agreement_for<'a>(info: Tlv<'a>, certificate: &Certificate) -> Result<Option<LockedKey<'a>>, Malformed> {
    let mut info = info.reader();
    if info.small_integer()? != 3 {
        return Err(Malformed);
    }
    let originator = info.expect(context(0))?.content;
    let ukm = match info.optional(context(1))? {
        Some(explicit) => Some(Tlv::parse(explicit.content, OCTET_STRING)?.content),
        None => None,
    };
    let algorithm = Algorithm::read(&mut info)?;
    let mut keys = info.sequence()?;
    info.finish()?;
    let Some(wrapped) = wrapped_for(&mut keys, certificate)? else { return Ok(None) };
    let wrap = algorithm.parameters.filter(|_| algorithm.oid.is_oid(oid::STD_DH_SHA256_KDF)).ok_or(Malformed)?;
    // The KDF binds the wrap algorithm in the form without parameters, so no other form is read (RFC 5753 7.2, RFC 3565).
    if wrap.whole != asn1::algorithm(oid::AES256_WRAP) {
        return Err(Malformed);
    }
    Ok(Some(LockedKey::Ecdh { point: originator_point(originator)?, ukm, wrapped }))
}

/// The wrapped key whose identifier is ours.
fn wrapped_for<'a>(keys: &mut Reader<'a>, certificate: &Certificate) -> Result<Option<&'a [u8]>, Malformed> {
    for _ in 0..KEY_ENVELOPE_RECIPIENTS_MAX {
        if keys.is_empty() {
            break;
        }
        let mut key = keys.sequence()?;
        let recipient = key.any()?;
        let wrapped = key.expect(OCTET_STRING)?.content;
        key.finish()?;
        let is_ours = if recipient.tag == context(0) {
            let id = recipient.reader().expect(OCTET_STRING)?.content;
            certificate.subject_key_id() == Some(id)
        } else {
            recipient.whole == cms::issuer_and_serial(certificate)
        };
        if is_ours {
            return Ok(Some(wrapped));
        }
    }
    Ok(None)
}

/// OriginatorPublicKey; its curve may be left out, as it is the recipient's (RFC 5753 3.1.1).
fn originator_point(originator: &[u8]) -> Result<&[u8], Malformed> {
    let mut key = Tlv::parse(originator, context(1))?.reader();
    let algorithm = Algorithm::read(&mut key)?;
    let point = key.expect(BIT_STRING)?.bit_string()?;
    key.finish()?;
    let curve_fits = algorithm.has_no_parameters() || algorithm.parameters.is_some_and(|curve| curve.is_oid(oid::P256));
    if algorithm.oid.is_oid(oid::EC_PUBLIC_KEY) && curve_fits { Ok(point) } else { Err(Malformed) }
}

impl LockedKey<'_> {
    fn unlock(&self, key: &dyn OpeningKey) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        let content_key = match *self {
            Self::Oaep { encrypted } => key.decrypt_oaep_sha256(encrypted)?,
            Self::Ecdh { point, ukm, wrapped } => {
                let key_encryption_key = derive_kek(&key.ecdh(point)?, ukm);
                unwrap_key(&*key_encryption_key, wrapped).ok_or(OpeningKeyError::Failed)?
            }
        };
        if content_key.len() == AES_256_GCM.key_len() { Ok(content_key) } else { Err(OpeningKeyError::Failed) }
    }
}

fn unwrap_key(key_encryption_key: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut content_key = Zeroizing::new(vec![0; 32]);
    if wrapped.len() != content_key.len() + 8 {
        return None;
    }
    AesKek::new(&AES_256, key_encryption_key).ok()?.unwrap(wrapped, &mut content_key).ok()?;
    Some(content_key)
}
