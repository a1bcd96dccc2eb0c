//! One key in a token, with its certificate.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use aws_lc_rs::{
    agreement,
    rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey},
};
use cryptoki::{
    error::Error,
    mechanism::{
        Mechanism, MechanismType,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use data_encoding::HEXLOWER_PERMISSIVE;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use super::{Token, TokenError, connection::Failure, oaep};
use crate::{
    asn1::{self, INTEGER, OCTET_STRING, SEQUENCE},
    certificate::Certificate,
    keys::{OpeningKey, OpeningKeyError, SignError, SigningKey},
    public_key::{KeyKind, SignatureScheme},
    softkey::chain_above,
};

/// DigestInfo of SHA-256 without the hash (RFC 8017 9.2 note 1).
const SHA256_INFO: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
/// SHA-256 in bytes, as PKCS#11 counts.
const HASH: u64 = 32;
/// A coordinate of P-256.
const COORDINATE: usize = 32;

/// A salt as long as the hash, as TLS 1.3 wants it (RFC 8446 4.2.3).
fn pss() -> PkcsPssParams {
    PkcsPssParams { hash_alg: MechanismType::SHA256, mgf: PkcsMgfType::MGF1_SHA256, s_len: HASH.into() }
}

/// Which of a token's keys: by its CKA_ID or its CKA_LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    /// CKA_ID.
    Id(Vec<u8>),
    /// CKA_LABEL.
    Label(String),
}

/// Not the name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is named by `id:` and hexadecimal digits, or by `label:` and its label")]
pub struct ObjectNameError;

impl FromStr for ObjectName {
    type Err = ObjectNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(digits) = text.strip_prefix("id:") {
            let id = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| ObjectNameError)?;
            return if id.is_empty() { Err(ObjectNameError) } else { Ok(Self::Id(id)) };
        }
        match text.strip_prefix("label:") {
            Some(label) if !label.is_empty() => Ok(Self::Label(label.to_owned())),
            _ => Err(ObjectNameError),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id:{}", HEXLOWER_PERMISSIVE.encode(id)),
            Self::Label(label) => write!(f, "label:{label}"),
        }
    }
}

impl ObjectName {
    fn attribute(&self) -> Attribute {
        match self {
            Self::Id(id) => Attribute::Id(id.clone()),
            Self::Label(label) => Attribute::Label(label.clone().into_bytes()),
        }
    }
}

/// How a token does what it is asked, found out by trying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenWay {
    /// CKM_SHA256_RSA_PKCS.
    HashAndSignRsa,
    /// CKM_RSA_PKCS over a DigestInfo that we make.
    SignRsa,
    /// CKM_SHA256_RSA_PKCS_PSS.
    HashAndSignPss,
    /// CKM_RSA_PKCS_PSS over a hash that we make.
    SignPss,
    /// CKM_ECDSA over a hash that we make.
    SignEcdsa,
    /// CKM_RSA_PKCS_OAEP with SHA-256.
    OpenOaep,
    /// CKM_RSA_X_509, the padding taken off here.
    OpenRaw,
    /// CKM_ECDH1_DERIVE with the peer's point as it is.
    AgreePoint,
    /// CKM_ECDH1_DERIVE with the peer's point in an OCTET STRING.
    AgreeWrapped,
}

/// A private key in a token, by the certificate it belongs to. Works again by itself when the token comes back.
pub struct TokenKey {
    token: Arc<Token>,
    object: ObjectName,
    certificate: Certificate,
    chain: Vec<Certificate>,
    signs: OnceLock<TokenWay>,
    signs_pss: OnceLock<TokenWay>,
    opens: OnceLock<TokenWay>,
    /// The object's handle in the connection of this number.
    handle: Mutex<Option<(u64, ObjectHandle)>>,
}

/// What an operation came to nothing for.
enum Stopped {
    Token(TokenError),
    Operation(String),
}

impl TokenKey {
    /// The key named `object`, of `certificate`; of `others` those above it are carried beside signatures. The token need not be there.
    #[must_use]
    pub fn new(token: Arc<Token>, object: ObjectName, certificate: Certificate, others: Vec<Certificate>) -> Self {
        let chain = chain_above(&certificate, others);
        let (signs, signs_pss, opens) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { token, object, certificate, chain, signs, signs_pss, opens, handle: Mutex::new(None) }
    }

    /// The same, with the certificate that lies beside the key in the token.
    ///
    /// # Errors
    /// When the token is away, or holds no usable certificate of that name.
    pub fn with_own_certificate(token: Arc<Token>, object: ObjectName) -> Result<Self, TokenError> {
        let wanted = [Attribute::Class(ObjectClass::CERTIFICATE), object.attribute()];
        let read = |session: &Session, _| {
            let found = session.find_objects(&wanted)?;
            let [one] = found.as_slice() else { return Ok(Err(found.len())) };
            let values = session.get_attributes(*one, &[AttributeType::Value])?;
            let value = values.into_iter().find_map(|value| match value {
                Attribute::Value(der) => Some(der),
                _ => None,
            });
            Ok(Ok(value.unwrap_or_default()))
        };
        let (label, name) = (token.label().to_owned(), object.to_string());
        let unusable = |why: String| TokenError::Certificate { token: label.clone(), object: name.clone(), why };
        let der = match token.with(read) {
            Ok(Ok(der)) => der,
            Ok(Err(count)) => {
                return Err(TokenError::Object { token: label, what: "certificate", object: name, count });
            }
            Err(Failure::Token(error)) => return Err(error),
            Err(Failure::Operation(error)) => return Err(unusable(error.to_string())),
        };
        let certificate = Certificate::from_der(&der).map_err(|error| unusable(error.to_string()))?;
        Ok(Self::new(token, object, certificate, Vec::new()))
    }

    /// The certificate of the key.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs something and verifies it with the certificate: how the token signs, whatever it says it can.
    ///
    /// # Errors
    /// When the token is away, the key is not there or not the certificate's, or nothing tried works.
    pub fn try_signing(&self) -> Result<TokenWay, TokenError> {
        self.try_scheme(self.scheme())
    }

    /// The same as connections sign (RFC 8446 4.2.3): with an RSA key that is PSS, which not every token does that signs documents.
    ///
    /// # Errors
    /// As [`TokenKey::try_signing`].
    pub fn try_connecting(&self) -> Result<TokenWay, TokenError> {
        self.try_scheme(match self.scheme() {
            SignatureScheme::RsaPkcs1Sha256 => SignatureScheme::RsaPssSha256,
            other => other,
        })
    }

    /// Signs `message` by this scheme: what [`SigningKey::scheme`] says, or [`SignatureScheme::RsaPssSha256`] with an RSA key.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn sign_as(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let subject = || self.certificate.subject().to_owned();
        let refused = |error: TokenError| match error {
            TokenError::Unable { .. } | TokenError::Mismatch { .. } | TokenError::EveryTime { .. } => {
                SignError::Failed { subject: subject(), detail: error.to_string() }
            }
            // Whatever a person has to mend at the token: what was to be signed waits.
            error => SignError::Away { subject: subject(), detail: error.to_string() },
        };
        let way = self.try_scheme(scheme).map_err(refused)?;
        self.sign_by(way, message).map_err(|stopped| match stopped {
            Stopped::Token(error) => refused(error),
            Stopped::Operation(detail) => SignError::Failed { subject: subject(), detail },
        })
    }

    fn try_scheme(&self, scheme: SignatureScheme) -> Result<TokenWay, TokenError> {
        use SignatureScheme as S;
        let known = if scheme == S::RsaPssSha256 { &self.signs_pss } else { &self.signs };
        if let Some(way) = known.get() {
            return Ok(*way);
        }
        let ways: &[TokenWay] = match (self.certificate.public_key().kind(), scheme) {
            (KeyKind::Rsa { .. }, S::RsaPkcs1Sha256) => &[TokenWay::HashAndSignRsa, TokenWay::SignRsa],
            (KeyKind::Rsa { .. }, S::RsaPssSha256) => &[TokenWay::HashAndSignPss, TokenWay::SignPss],
            (KeyKind::P256, S::EcdsaP256Sha256) => &[TokenWay::SignEcdsa],
            (KeyKind::P384, _) => return Err(self.unable("sign", "the key is on P-384".into())),
            (kind, scheme) => return Err(self.unable("sign", format!("{scheme:?} is not for {kind:?}"))),
        };
        let challenge = random::<32>();
        let mut said = Vec::new();
        for way in ways {
            match self.sign_by(*way, &challenge) {
                Ok(signature) if self.certificate.public_key().verify(scheme, &challenge, &signature).is_ok() => {
                    return Ok(*known.get_or_init(|| *way));
                }
                Ok(_) => return Err(self.mismatch()),
                Err(Stopped::Token(error)) => return Err(error),
                Err(Stopped::Operation(why)) => said.push(format!("{way:?}: {why}")),
            }
        }
        Err(self.unable("sign", said.join("; ")))
    }

    /// Seals something to the certificate and opens it: how the token opens, whatever it says it can.
    ///
    /// # Errors
    /// As [`TokenKey::try_signing`].
    pub fn try_opening(&self) -> Result<TokenWay, TokenError> {
        if let Some(way) = self.opens.get() {
            return Ok(*way);
        }
        let unsealed = || self.unable("open", "nothing can be sealed to its certificate".into());
        let (sealed, secret, ways): (_, _, &[TokenWay]) = match self.certificate.public_key().kind() {
            KeyKind::Rsa { .. } => {
                let secret = random::<32>().to_vec();
                let sealed = self.seal(&secret).ok_or_else(unsealed)?;
                (sealed, secret, &[TokenWay::OpenOaep, TokenWay::OpenRaw])
            }
            KeyKind::P256 => {
                let (point, secret) = self.agree().ok_or_else(unsealed)?;
                (point, secret, &[TokenWay::AgreePoint, TokenWay::AgreeWrapped])
            }
            KeyKind::P384 => return Err(self.unable("open", "the key is on P-384".into())),
        };
        let (mut said, mut opened) = (Vec::new(), false);
        for way in ways {
            match self.open_by(*way, &sealed) {
                Ok(found) if *found == secret => return Ok(*self.opens.get_or_init(|| *way)),
                Ok(_) => opened = true,
                Err(Stopped::Token(error)) => return Err(error),
                Err(Stopped::Operation(why)) => said.push(format!("{way:?}: {why}")),
            }
        }
        Err(if opened { self.mismatch() } else { self.unable("open", said.join("; ")) })
    }

    fn seal(&self, secret: &[u8]) -> Option<Vec<u8>> {
        let key = PublicEncryptingKey::from_der(self.certificate.public_key().spki_der()).ok()?;
        let key = OaepPublicEncryptingKey::new(key).ok()?;
        let mut sealed = vec![0; key.ciphertext_size()];
        let length = key.encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut sealed, None).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    /// A peer's point, and what it agrees on with the certificate's key.
    fn agree(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let own = agreement::PrivateKey::generate(&agreement::ECDH_P256).ok()?;
        let point = own.compute_public_key().ok()?.as_ref().to_vec();
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, self.certificate.public_key().raw());
        let secret = agreement::agree(&own, peer, (), |secret| Ok(secret.to_vec())).ok()?;
        Some((point, secret))
    }

    fn sign_by(&self, way: TokenWay, message: &[u8]) -> Result<Vec<u8>, Stopped> {
        match way {
            TokenWay::HashAndSignRsa => {
                self.operate(|session, key| session.sign(&Mechanism::Sha256RsaPkcs, key, message))
            }
            TokenWay::SignRsa => {
                let info = [&SHA256_INFO, digest(&SHA256, message).as_ref()].concat();
                self.operate(|session, key| session.sign(&Mechanism::RsaPkcs, key, &info))
            }
            TokenWay::HashAndSignPss => {
                self.operate(|session, key| session.sign(&Mechanism::Sha256RsaPkcsPss(pss()), key, message))
            }
            TokenWay::SignPss => {
                let hash = digest(&SHA256, message);
                self.operate(|session, key| session.sign(&Mechanism::RsaPkcsPss(pss()), key, hash.as_ref()))
            }
            _ => {
                let hash = digest(&SHA256, message);
                let raw = self.operate(|session, key| session.sign(&Mechanism::Ecdsa, key, hash.as_ref()))?;
                ecdsa_der(&raw).ok_or_else(|| Stopped::Operation(format!("a signature of {} bytes", raw.len())))
            }
        }
    }

    fn open_by(&self, way: TokenWay, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Stopped> {
        match way {
            TokenWay::OpenOaep => {
                let parameters =
                    PkcsOaepParams::new(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, PkcsOaepSource::empty());
                let opened =
                    self.operate(|session, key| session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, sealed))?;
                Ok(Zeroizing::new(opened))
            }
            TokenWay::OpenRaw => {
                let raw = self.operate(|session, key| session.decrypt(&Mechanism::RsaX509, key, sealed))?;
                let raw = Zeroizing::new(raw);
                // Some tokens leave leading zeros out.
                let missing = sealed.len().checked_sub(raw.len());
                let missing = missing.ok_or_else(|| Stopped::Operation("more than the modulus".into()))?;
                let encoded = Zeroizing::new([vec![0; missing].as_slice(), &raw].concat());
                oaep::unpad(&encoded).ok_or_else(|| Stopped::Operation("refused".into()))
            }
            TokenWay::AgreePoint => self.derive(sealed),
            _ => self.derive(&asn1::tlv(OCTET_STRING, &[sealed])),
        }
    }

    fn derive(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, Stopped> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(u64::try_from(COORDINATE).unwrap_or_default().into()),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let derived = self.operate(|session, key| {
            let parameters = Ecdh1DeriveParams::new(EcKdf::null(), point);
            let secret = session.derive_key(&Mechanism::Ecdh1Derive(parameters), key, &template)?;
            let values = session.get_attributes(secret, &[AttributeType::Value]);
            session.destroy_object(secret)?;
            Ok(values?.into_iter().find_map(|value| match value {
                Attribute::Value(bytes) => Some(bytes),
                _ => None,
            }))
        })?;
        match derived.map(Zeroizing::new) {
            Some(secret) if secret.len() == COORDINATE => Ok(secret),
            _ => Err(Stopped::Operation("the agreed secret cannot be read".into())),
        }
    }

    /// Runs an operation with the key.
    fn operate<T>(&self, operation: impl Fn(&Session, ObjectHandle) -> Result<T, Error>) -> Result<T, Stopped> {
        let run = |session: &Session, generation: u64| match self.find(session, generation)? {
            Ok(key) => operation(session, key).map(Ok),
            Err(error) => Ok(Err(error)),
        };
        match self.token.with(run) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) | Err(Failure::Token(error)) => Err(Stopped::Token(error)),
            Err(Failure::Operation(error)) => Err(Stopped::Operation(error.to_string())),
        }
    }

    fn find(&self, session: &Session, generation: u64) -> Result<Result<ObjectHandle, TokenError>, Error> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, handle)) = handle.filter(|(of, _)| *of == generation) {
            return Ok(Ok(handle));
        }
        let (token, object) = (self.token.label().to_owned(), self.object.to_string());
        let found = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), self.object.attribute()])?;
        let [key] = found.as_slice() else {
            return Ok(Err(TokenError::Object { token, what: "private key", object, count: found.len() }));
        };
        // Not every token knows the attribute.
        let every_time = session.get_attributes(*key, &[AttributeType::AlwaysAuthenticate]);
        if every_time.is_ok_and(|values| values.contains(&Attribute::AlwaysAuthenticate(true))) {
            return Ok(Err(TokenError::EveryTime { token, object }));
        }
        *handle = Some((generation, *key));
        Ok(Ok(*key))
    }

    fn unable(&self, what: &'static str, why: String) -> TokenError {
        TokenError::Unable { token: self.token.label().to_owned(), what, object: self.object.to_string(), why }
    }

    fn mismatch(&self) -> TokenError {
        TokenError::Mismatch {
            token: self.token.label().to_owned(),
            object: self.object.to_string(),
            subject: self.certificate.subject().to_owned(),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} of {:?}, {})", self.object, self.token, self.certificate.subject())
    }
}

impl SigningKey for TokenKey {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::written_by(self.certificate.public_key().kind())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign_as(self.scheme(), message)
    }
}

impl OpeningKey for TokenKey {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn decrypt_oaep_sha256(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        match self.try_opening() {
            Ok(way @ (TokenWay::OpenOaep | TokenWay::OpenRaw)) => self.opened(way, ciphertext),
            Ok(_) => Err(OpeningKeyError::Failed),
            Err(error) => Err(opening(&error)),
        }
    }

    fn ecdh(&self, peer_point: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        // Uncompressed points on the curve only: a token need not look.
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, peer_point);
        if peer_point.len() != 65
            || peer_point.first() != Some(&4)
            || agreement::ParsedPublicKey::try_from(&peer).is_err()
        {
            return Err(OpeningKeyError::Failed);
        }
        match self.try_opening() {
            Ok(way @ (TokenWay::AgreePoint | TokenWay::AgreeWrapped)) => self.opened(way, peer_point),
            Ok(_) => Err(OpeningKeyError::Failed),
            Err(error) => Err(opening(&error)),
        }
    }
}

impl TokenKey {
    fn opened(&self, way: TokenWay, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpeningKeyError> {
        self.open_by(way, sealed).map_err(|stopped| match stopped {
            Stopped::Token(error) => opening(&error),
            Stopped::Operation(_) => OpeningKeyError::Failed,
        })
    }
}

const fn opening(error: &TokenError) -> OpeningKeyError {
    match error {
        TokenError::Unable { .. } | TokenError::Mismatch { .. } | TokenError::EveryTime { .. } => {
            OpeningKeyError::Failed
        }
        _ => OpeningKeyError::Away,
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The system's generator does not fail once it has begun; zeros would do for a test of this kind.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

/// r and s, as tokens put them together, as X9.62 wants them.
fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 2 * COORDINATE {
        return None;
    }
    let (r, s) = raw.split_at(COORDINATE);
    Some(asn1::tlv(SEQUENCE, &[&unsigned(r), &unsigned(s)]))
}

/// A positive INTEGER in as few bytes as it takes.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len() - 1);
    let digits = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    asn1::tlv(INTEGER, &[sign, digits])
}
