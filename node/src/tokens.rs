//! Bearer tokens of the local API: 256 random bits each, kept as SHA-256 only, limited to agency codes.
//!
//! Nothing can be guessed from the hash of 256 random bits, so no slow password hash is needed. The file is of mode 0600,
//! replaced whole; a running node sees changes at the next call.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use truc_proto::{
    AgencyId, CallerRole, Digest, Timestamp,
    limits::{TOKEN_FILE_BYTES_MAX, TOKEN_NAME_CHARS_MAX, TOKENS_MAX},
};
use zeroize::Zeroizing;

pub(crate) use truc_custody::files::{replace_private, write_private};

use crate::{
    quota::{Meter, Quota},
    shell::lock,
};

const PREFIX: &str = "truc_";
const SECRET_BYTES: usize = 32;

/// A token's text, shown to a person once. Not printed otherwise.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    fn generate() -> Result<Self, TokenError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(&mut *secret).map_err(|_| TokenError::Random)?;
        let encoded = Zeroizing::new(BASE64URL_NOPAD.encode(&*secret));
        Ok(Self(Zeroizing::new(format!("{PREFIX}{}", *encoded))))
    }

    /// The text to be given to the document system.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText([redacted])")
    }
}

/// Why tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file system.
    #[error("cannot {what} the token file {}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Group or world may read it.
    #[error("others may access the token file {} (mode {mode:04o}); its owner must run `chmod 600` on it", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a token file.
    #[error("{} is not a token file: {why}; restore it, or make new tokens", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The name is taken or unusable.
    #[error(
        "a token is named by 1 to {TOKEN_NAME_CHARS_MAX} of a-z, 0-9 and -, each name once; {name:?} cannot be used"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// More than the bound.
    #[error("there are {TOKENS_MAX} tokens already; revoke those not in use")]
    TooMany,
    /// No such token.
    #[error("there is no token named {name:?}; list them to see the names")]
    Unknown {
        /// As given.
        name: String,
    },
    /// The certificate is let in under another name.
    #[error("this certificate is let in already, as {name:?}; revoke that first")]
    CertificateKnown {
        /// Under which.
        name: String,
    },
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// What a token allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The token's name, for logs.
    pub name: String,
    /// What it is there for.
    pub role: CallerRole,
    /// The codes it is limited to; none: all of the node's.
    pub codes: Option<BTreeSet<AgencyId>>,
    /// What it may use, and has used.
    pub meter: Arc<Meter>,
}

impl Grant {
    /// Whether the token may act for a code.
    #[must_use]
    pub fn allows(&self, code: &AgencyId) -> bool {
        self.codes.as_ref().is_none_or(|codes| codes.contains(code))
    }
}

/// A token as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What people call it.
    pub name: String,
    /// SHA-256 of its text, or of the client certificate that it is.
    pub sha256: Digest,
    /// It is a client certificate, shown in the handshake, and no text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificate: bool,
    /// What it is there for; tokens of before there were roles may what they could.
    #[serde(default = "before_roles")]
    pub role: CallerRole,
    /// The codes it is limited to; empty: all of the node's.
    #[serde(default)]
    pub codes: BTreeSet<AgencyId>,
    /// When it was made.
    pub created: Timestamp,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
}

const fn before_roles() -> CallerRole {
    CallerRole::Officer
}

impl Token {
    fn grant(&self, meter: Arc<Meter>) -> Grant {
        let codes = (!self.codes.is_empty()).then(|| self.codes.clone());
        Grant { name: self.name.clone(), role: self.role, codes, meter }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    token: Vec<Token>,
}

/// The tokens of a file, as of one moment.
#[derive(Clone, Default, Debug)]
pub struct Tokens {
    tokens: Vec<Token>,
}

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// When it cannot be read, is exposed, or is no token file.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        read(path).map(|(tokens, _)| tokens)
    }

    /// All of them, without their texts, which nobody knows.
    #[must_use]
    pub fn list(&self) -> &[Token] {
        &self.tokens
    }

    /// The token with this text. Every token is compared, in constant time.
    fn find(&self, bearer: &str) -> Option<&Token> {
        let shown = Digest::of(bearer.as_bytes());
        let mut found = None;
        for token in self.tokens.iter().filter(|token| !token.certificate) {
            if bool::from(token.sha256.as_bytes().ct_eq(shown.as_bytes())) {
                found = Some(token);
            }
        }
        found
    }

    /// What the bearer of this text may do, with full buckets of its own; none: nothing.
    #[must_use]
    pub fn authorise(&self, bearer: &str) -> Option<Grant> {
        self.find(bearer).map(|token| token.grant(Arc::new(Meter::new(token.quota))))
    }

    /// The client certificate with this SHA-256.
    fn of_certificate(&self, sha256: &Digest) -> Option<&Token> {
        self.tokens.iter().find(|token| token.certificate && token.sha256 == *sha256)
    }

    fn add(&mut self, token: Token) -> Result<(), TokenError> {
        let name = token.name.as_str();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let plain = !name.is_empty() && name.len() <= TOKEN_NAME_CHARS_MAX && name.chars().all(good);
        if !plain || self.tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Name { name: name.to_owned() });
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        if let Some(known) = self.of_certificate(&token.sha256).filter(|_| token.certificate) {
            return Err(TokenError::CertificateKnown { name: known.name.clone() });
        }
        self.tokens.push(token);
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<(), TokenError> {
        let text = toml::to_string(&FileForm { token: self.tokens.clone() })
            .map_err(|error| TokenError::Malformed { path: path.to_owned(), why: error.to_string() })?;
        replace_private(path, text.as_bytes()).map_err(|source| TokenError::Io {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }
}

/// Adds a token to a file, which is made when it is not there. The text is given back this once.
///
/// # Errors
/// When the name is taken, there are too many, or the file cannot be read or written.
pub fn add_token(
    path: &Path,
    name: &str,
    role: CallerRole,
    codes: BTreeSet<AgencyId>,
    quota: Quota,
    now: Timestamp,
) -> Result<TokenText, TokenError> {
    let text = TokenText::generate()?;
    let sha256 = Digest::of(text.expose().as_bytes());
    let name = name.to_owned();
    add(path, Token { name, sha256, certificate: false, role, codes, created: now, quota })?;
    Ok(text)
}

/// Lets a client certificate in, as [`add_token`] does a token.
///
/// # Errors
/// As there; also when the certificate is let in already.
pub fn add_certificate(
    path: &Path,
    name: &str,
    sha256: Digest,
    role: CallerRole,
    codes: BTreeSet<AgencyId>,
    quota: Quota,
    now: Timestamp,
) -> Result<(), TokenError> {
    add(path, Token { name: name.to_owned(), sha256, certificate: true, role, codes, created: now, quota })
}

fn add(path: &Path, token: Token) -> Result<(), TokenError> {
    let mut tokens = if path.exists() { Tokens::load(path)? } else { Tokens::default() };
    tokens.add(token)?;
    tokens.save(path)
}

/// Takes a token away. A running node refuses it from the next call on.
///
/// # Errors
/// When there is none of that name, or the file cannot be read or written.
pub fn revoke_token(path: &Path, name: &str) -> Result<(), TokenError> {
    let mut tokens = Tokens::load(path)?;
    let before = tokens.tokens.len();
    tokens.tokens.retain(|token| token.name != name);
    if tokens.tokens.len() == before {
        return Err(TokenError::Unknown { name: name.to_owned() });
    }
    tokens.save(path)
}

/// Gives a token other limits. A running node follows from the next call on, and keeps what was used.
///
/// # Errors
/// When there is none of that name, or the file cannot be read or written.
pub fn limit_token(path: &Path, name: &str, quota: Quota) -> Result<(), TokenError> {
    let mut tokens = Tokens::load(path)?;
    let token = tokens.tokens.iter_mut().find(|token| token.name == name);
    token.ok_or_else(|| TokenError::Unknown { name: name.to_owned() })?.quota = quota;
    tokens.save(path)
}

/// The token file of a running node: read again whenever it was replaced.
pub struct LiveTokens {
    path: PathBuf,
    state: Mutex<(FileStamp, Arc<Tokens>)>,
    /// By token's name; as many as there are tokens.
    meters: Mutex<HashMap<String, Arc<Meter>>>,
}

impl LiveTokens {
    /// Opens a token file.
    ///
    /// # Errors
    /// As [`Tokens::load`].
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let (tokens, stamp) = read(path)?;
        Ok(Self { path: path.to_owned(), state: Mutex::new((stamp, Arc::new(tokens))), meters: Mutex::default() })
    }

    /// As [`Tokens::authorise`], on the file as it is now.
    ///
    /// # Errors
    /// When the file was replaced by something that cannot be read: then nobody is let in.
    pub fn authorise(&self, bearer: &str) -> Result<Option<Grant>, TokenError> {
        let tokens = self.current()?;
        Ok(tokens.find(bearer).map(|token| token.grant(self.meter(&tokens, token))))
    }

    /// What the holder of a client certificate may do; none: it is not let in. Whether the certificate is believed is not asked here.
    ///
    /// # Errors
    /// As [`LiveTokens::authorise`].
    pub fn by_certificate(&self, sha256: &Digest) -> Result<Option<Grant>, TokenError> {
        let tokens = self.current()?;
        Ok(tokens.of_certificate(sha256).map(|token| token.grant(self.meter(&tokens, token))))
    }

    /// What a token of this name may do now; none: it was revoked.
    ///
    /// # Errors
    /// As [`LiveTokens::authorise`].
    pub fn by_name(&self, name: &str) -> Result<Option<Grant>, TokenError> {
        let tokens = self.current()?;
        let token = tokens.tokens.iter().find(|token| token.name == name);
        Ok(token.map(|token| token.grant(self.meter(&tokens, token))))
    }

    /// Takes a token away, as [`revoke_token`] does.
    ///
    /// # Errors
    /// As there.
    pub fn withdraw(&self, name: &str) -> Result<(), TokenError> {
        revoke_token(&self.path, name)
    }

    fn meter(&self, tokens: &Tokens, token: &Token) -> Arc<Meter> {
        let mut meters = lock(&self.meters);
        match meters.get(&token.name) {
            Some(meter) if meter.quota() == token.quota => return Arc::clone(meter),
            Some(meter) => {
                let changed = Arc::new(meter.changed(tokio::time::Instant::now(), token.quota));
                meters.insert(token.name.clone(), Arc::clone(&changed));
                return changed;
            }
            None => {}
        }
        if meters.len() >= TOKENS_MAX {
            meters.retain(|name, _| tokens.tokens.iter().any(|token| token.name == *name));
        }
        Arc::clone(meters.entry(token.name.clone()).or_insert_with(|| Arc::new(Meter::new(token.quota))))
    }

    fn current(&self) -> Result<Arc<Tokens>, TokenError> {
        let failed = |source| TokenError::Io { what: "read", path: self.path.clone(), source };
        let now = FileStamp::of(&fs::metadata(&self.path).map_err(failed)?);
        let mut state = lock(&self.state);
        if state.0 != now {
            let (tokens, stamp) = read(&self.path)?;
            *state = (stamp, Arc::new(tokens));
        }
        Ok(Arc::clone(&state.1))
    }
}

impl fmt::Debug for LiveTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveTokens({})", self.path.display())
    }
}

/// What changes when a file is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileStamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { inode: metadata.ino(), length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

fn read(path: &Path) -> Result<(Tokens, FileStamp), TokenError> {
    let failed = |source| TokenError::Io { what: "read", path: path.to_owned(), source };
    let malformed = |why: String| TokenError::Malformed { path: path.to_owned(), why };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Exposed { path: path.to_owned(), mode });
    }
    let (text, stamp) = read_private(path, TOKEN_FILE_BYTES_MAX).map_err(failed)?;
    let form: FileForm = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
    if form.token.len() > TOKENS_MAX {
        return Err(malformed(format!("it holds more than {TOKENS_MAX} tokens")));
    }
    Ok((Tokens { tokens: form.token }, stamp))
}

/// The text of a private file of a bounded length, and what it was when it was read. Refused when group or world may access it.
pub(crate) fn read_private(path: &Path, bytes_max: u64) -> io::Result<(String, FileStamp)> {
    let (text, metadata) = truc_custody::files::read_private(path, bytes_max)?;
    Ok((text, FileStamp::of(&metadata)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::quota::Measure;

    fn code(text: &str) -> AgencyId {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_opens_its_codes_only_and_its_text_is_nowhere_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let all = add_token(
            &path,
            "first",
            CallerRole::Officer,
            BTreeSet::new(),
            Quota::default(),
            Timestamp::from_unix_s(5),
        )
        .unwrap();
        let one = add_token(
            &path,
            "one",
            CallerRole::Officer,
            BTreeSet::from([code("H26")]),
            Quota::default(),
            Timestamp::from_unix_s(6),
        )
        .unwrap();
        let tokens = Tokens::load(&path).unwrap();
        assert!(tokens.authorise(all.expose()).unwrap().allows(&code("H37.DN.001")));
        let grant = tokens.authorise(one.expose()).unwrap();
        assert!(grant.allows(&code("H26")) && !grant.allows(&code("H37")));
        assert_eq!(tokens.authorise("truc_x"), None);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(one.expose()) && !text.contains(&one.expose()[PREFIX.len()..]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn a_revoked_token_is_refused_by_a_running_node_and_a_name_stands_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let text = add_token(&path, "first", CallerRole::Officer, BTreeSet::new(), Quota::default(), Timestamp::EPOCH)
            .unwrap();
        let live = LiveTokens::open(&path).unwrap();
        assert!(live.authorise(text.expose()).unwrap().is_some());
        assert!(matches!(
            add_token(&path, "first", CallerRole::Officer, BTreeSet::new(), Quota::default(), Timestamp::EPOCH),
            Err(TokenError::Name { .. })
        ));
        revoke_token(&path, "first").unwrap();
        assert_eq!(live.authorise(text.expose()).unwrap(), None);
        assert!(matches!(revoke_token(&path, "first"), Err(TokenError::Unknown { .. })));
    }

    #[test]
    fn limits_belong_to_the_token_and_change_while_the_node_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let limited = Quota { documents_per_day: std::num::NonZeroU32::new(2), ..Quota::default() };
        let text = add_token(&path, "first", CallerRole::Officer, BTreeSet::new(), limited, Timestamp::EPOCH).unwrap();
        let free = add_token(&path, "second", CallerRole::Officer, BTreeSet::new(), Quota::default(), Timestamp::EPOCH)
            .unwrap();
        let live = LiveTokens::open(&path).unwrap();
        let take = |text: &TokenText| {
            let grant = live.authorise(text.expose()).unwrap().unwrap();
            grant.meter.take(tokio::time::Instant::now(), Measure::Documents)
        };
        assert!(take(&text).is_ok() && take(&text).is_ok() && take(&text).is_err());
        assert!((0..10).all(|_| take(&free).is_ok()));
        limit_token(&path, "first", Quota { documents_per_day: std::num::NonZeroU32::new(4), ..limited }).unwrap();
        assert!(take(&text).is_ok() && take(&text).is_ok() && take(&text).is_err(), "two of four were used");
        limit_token(&path, "first", Quota::default()).unwrap();
        assert!(take(&text).is_ok());
        assert!(!fs::read_to_string(&path).unwrap().contains("quota"));
        assert!(matches!(limit_token(&path, "none", limited), Err(TokenError::Unknown { .. })));
        assert_eq!(live.by_name("first").unwrap().map(|grant| grant.name).as_deref(), Some("first"));
        assert_eq!(live.by_name("none").unwrap(), None);
    }

    #[test]
    fn a_token_of_before_there_were_roles_may_what_it_could_and_a_new_one_what_its_role_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let add = |name, role| add_token(&path, name, role, BTreeSet::new(), Quota::default(), Timestamp::EPOCH);
        let old = add("old", CallerRole::Officer).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("role = \"officer\"\n"), "{text}");
        replace_private(&path, text.replace("role = \"officer\"\n", "").as_bytes()).unwrap();
        let keys = add("keys", CallerRole::CipherAdmin).unwrap();
        let tokens = Tokens::load(&path).unwrap();
        let role = |text: &TokenText| tokens.authorise(text.expose()).unwrap().role;
        assert_eq!((role(&old), role(&keys)), (CallerRole::Officer, CallerRole::CipherAdmin));
    }

    #[test]
    fn an_exposed_or_broken_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        add_token(&path, "first", CallerRole::Officer, BTreeSet::new(), Quota::default(), Timestamp::EPOCH).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Tokens::load(&path), Err(TokenError::Exposed { mode: 0o640, .. })));
        fs::remove_file(&path).unwrap();
        write_private(&path, b"[[token]]\nname = 1").unwrap();
        assert!(matches!(Tokens::load(&path), Err(TokenError::Malformed { .. })));
    }
}
