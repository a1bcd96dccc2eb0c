//! Document systems that speak the axis SDK: system ids, their secrets, the agency codes they act for.
//!
//! A system signs with its secret, so the node needs the secret itself: it lies encrypted under the storage key, bound to the system's id, in
//! a file of mode 0600 that is replaced whole. A running node sees changes within seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use truc_proto::{
    AgencyId, CallerRole, Timestamp,
    limits::{NODE_AGENCIES_MAX, SDK_SYSTEM_ID_CHARS_MAX, SDK_SYSTEMS_MAX, TOKEN_FILE_BYTES_MAX},
};
use truc_signer::storage::{StorageKey, WrapError};
use zeroize::Zeroizing;

use crate::{
    shell::lock,
    tokens::{FileStamp, Grant, read_private, replace_private},
};

const SECRET_BYTES: usize = 32;
const WRAP_CONTEXT: &str = "truc/sdk-system/1\n";

/// A system's secret, shown to a person once. Not printed otherwise.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    fn generate() -> Result<Self, SystemsError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(&mut *secret).map_err(|_| SystemsError::Random)?;
        Ok(Self(Zeroizing::new(BASE64URL_NOPAD.encode(&*secret))))
    }

    /// The text for the document system's configuration.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText([redacted])")
    }
}

/// Why systems could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SystemsError {
    /// The file system.
    #[error("cannot {what} the file of document systems {}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a file of systems.
    #[error("{} is not a file of document systems: {why}; restore it, or remove it and add the systems anew", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A secret does not open with the storage key.
    #[error(
        "the secret of the document system {system:?} does not open with this node's storage key; remove the system and add it anew"
    )]
    Secret {
        /// Which system.
        system: String,
        /// Why.
        source: WrapError,
    },
    /// The id is taken or unusable.
    #[error(
        "a document system is named by 1 to {SDK_SYSTEM_ID_CHARS_MAX} of a-z, A-Z, 0-9, dot, hyphen and underscore, each name once; {system:?} cannot be used"
    )]
    Name {
        /// As given.
        system: String,
    },
    /// It acts for nobody.
    #[error("a document system acts for 1 to {NODE_AGENCIES_MAX} agency codes; name them with --codes")]
    NoCodes,
    /// More than the bound.
    #[error("there are {SDK_SYSTEMS_MAX} document systems already; remove those not in use")]
    TooMany,
    /// No such system.
    #[error("there is no document system named {system:?}; list them to see the names")]
    Unknown {
        /// As given.
        system: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// A system as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemEntry {
    /// Its id: what the client calls `systemid`.
    pub id: String,
    /// The codes it acts for.
    pub codes: BTreeSet<AgencyId>,
    /// The secret under the storage key, in base64.
    pub secret: String,
    /// When it was added.
    pub created: Timestamp,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    system: Vec<SystemEntry>,
}

/// The systems of a file, without their secrets; none when there is no file.
///
/// # Errors
/// When it cannot be read, is exposed, or is something else.
pub fn list_systems(path: &Path) -> Result<Vec<SystemEntry>, SystemsError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(read(path)?.0)
}

/// Adds a system. The secret is given back this once.
///
/// # Errors
/// When the name is taken, there are too many, or the file cannot be read or written.
pub fn add_system(
    path: &Path,
    key: &StorageKey,
    id: &str,
    codes: BTreeSet<AgencyId>,
    now: Timestamp,
) -> Result<SecretText, SystemsError> {
    let mut systems = list_systems(path)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain = (1..=SDK_SYSTEM_ID_CHARS_MAX).contains(&id.len()) && id.chars().all(good);
    if !plain || systems.iter().any(|system| system.id == id) {
        return Err(SystemsError::Name { system: id.to_owned() });
    }
    if codes.is_empty() || codes.len() > NODE_AGENCIES_MAX {
        return Err(SystemsError::NoCodes);
    }
    if systems.len() >= SDK_SYSTEMS_MAX {
        return Err(SystemsError::TooMany);
    }
    let secret = SecretText::generate()?;
    let wrapped = key
        .wrap(secret.expose().as_bytes(), context(id).as_bytes())
        .map_err(|source| SystemsError::Secret { system: id.to_owned(), source })?;
    systems.push(SystemEntry { id: id.to_owned(), codes, secret: BASE64.encode(&wrapped), created: now });
    write(path, systems)?;
    Ok(secret)
}

/// Takes a system away. A running node refuses it within seconds.
///
/// # Errors
/// When there is none of that id, or the file cannot be read or written.
pub fn remove_system(path: &Path, id: &str) -> Result<(), SystemsError> {
    let mut systems = list_systems(path)?;
    let before = systems.len();
    systems.retain(|system| system.id != id);
    if systems.len() == before {
        return Err(SystemsError::Unknown { system: id.to_owned() });
    }
    write(path, systems)
}

fn context(id: &str) -> String {
    format!("{WRAP_CONTEXT}{id}")
}

/// The file with every secret under another storage key, and how many there are; none when there is no file.
pub(crate) fn rewrapped(
    path: &Path,
    old: &StorageKey,
    new: &StorageKey,
) -> Result<Option<(String, u64)>, SystemsError> {
    if !path.exists() {
        return Ok(None);
    }
    let (mut systems, _) = read(path)?;
    for entry in &mut systems {
        let id = entry.id.clone();
        let wrong = |source| SystemsError::Secret { system: id.clone(), source };
        let wrapped = BASE64.decode(entry.secret.as_bytes()).map_err(|_| wrong(WrapError::Failed))?;
        let again = old.rewrap(&wrapped, context(&id).as_bytes(), new).map_err(wrong)?;
        entry.secret = BASE64.encode(&again);
    }
    let count = systems.len() as u64;
    Ok(Some((text_of(path, systems)?, count)))
}

fn text_of(path: &Path, systems: Vec<SystemEntry>) -> Result<String, SystemsError> {
    toml::to_string(&FileForm { system: systems })
        .map_err(|error| SystemsError::Malformed { path: path.to_owned(), why: error.to_string() })
}

fn write(path: &Path, systems: Vec<SystemEntry>) -> Result<(), SystemsError> {
    let text = text_of(path, systems)?;
    replace_private(path, text.as_bytes()).map_err(|source| SystemsError::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<(Vec<SystemEntry>, FileStamp), SystemsError> {
    let failed = |source| SystemsError::Io { what: "read", path: path.to_owned(), source };
    let malformed = |why: String| SystemsError::Malformed { path: path.to_owned(), why };
    let (text, stamp) = read_private(path, TOKEN_FILE_BYTES_MAX).map_err(failed)?;
    let form: FileForm = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
    if form.system.len() > SDK_SYSTEMS_MAX {
        return Err(malformed(format!("it holds more than {SDK_SYSTEMS_MAX} systems")));
    }
    Ok((form.system, stamp))
}

/// A system, ready to check signatures.
pub struct System {
    /// Its id.
    pub id: String,
    codes: BTreeSet<AgencyId>,
    key: hmac::Key,
}

impl System {
    /// Whether `signature` is this system's over exactly these bytes; compared in constant time.
    #[must_use]
    pub fn signed(&self, bytes: &[u8], signature: &[u8; 32]) -> bool {
        hmac::verify(&self.key, bytes, signature).is_ok()
    }

    /// What it may do.
    #[must_use]
    pub fn grant(&self) -> Grant {
        let (name, codes) = (format!("sdk:{}", self.id), Some(self.codes.clone()));
        Grant { name, role: CallerRole::System, codes, meter: Arc::default() }
    }

    /// The codes it acts for.
    #[must_use]
    pub const fn codes(&self) -> &BTreeSet<AgencyId> {
        &self.codes
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "System({}, [redacted])", self.id)
    }
}

/// The systems of a file, as of one moment.
#[derive(Debug, Default)]
pub struct Systems(BTreeMap<String, Arc<System>>);

impl Systems {
    fn open(entries: Vec<SystemEntry>, key: &StorageKey) -> Result<Self, SystemsError> {
        let open = |entry: SystemEntry| {
            let wrong = |source| SystemsError::Secret { system: entry.id.clone(), source };
            let wrapped = BASE64.decode(entry.secret.as_bytes()).map_err(|_| wrong(WrapError::Failed))?;
            let secret = key.unwrap(&wrapped, context(&entry.id).as_bytes()).map_err(wrong)?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            Ok((entry.id.clone(), Arc::new(System { id: entry.id, codes: entry.codes, key })))
        };
        Ok(Self(entries.into_iter().map(open).collect::<Result<_, SystemsError>>()?))
    }

    /// The system of that id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<System>> {
        self.0.get(id)
    }

    /// All codes that any system acts for.
    #[must_use]
    pub fn codes(&self) -> BTreeSet<AgencyId> {
        self.0.values().flat_map(|system| system.codes.iter().cloned()).collect()
    }
}

/// The file of a running node: read again whenever it was replaced.
pub struct LiveSystems {
    path: PathBuf,
    key: StorageKey,
    state: Mutex<(Option<FileStamp>, Arc<Systems>)>,
}

impl LiveSystems {
    /// Opens the file, which need not be there yet.
    ///
    /// # Errors
    /// As [`list_systems`], or when a secret does not open.
    pub fn open(path: &Path, key: StorageKey) -> Result<Self, SystemsError> {
        let live = Self { path: path.to_owned(), key, state: Mutex::default() };
        live.current()?;
        Ok(live)
    }

    /// The systems as the file has them now.
    ///
    /// # Errors
    /// When the file was replaced by something that cannot be read: then nobody is let in.
    pub fn current(&self) -> Result<Arc<Systems>, SystemsError> {
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => Some(FileStamp::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SystemsError::Io { what: "read", path: self.path.clone(), source }),
        };
        let mut state = lock(&self.state);
        if state.0 != now {
            *state = match now {
                Some(_) => {
                    let (entries, stamp) = read(&self.path)?;
                    (Some(stamp), Arc::new(Systems::open(entries, &self.key)?))
                }
                None => (None, Arc::default()),
            };
        }
        Ok(Arc::clone(&state.1))
    }
}

impl fmt::Debug for LiveSystems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveSystems({})", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn codes(list: &[&str]) -> BTreeSet<AgencyId> {
        list.iter().map(|code| code.parse().unwrap()).collect()
    }

    fn keys() -> (tempfile::TempDir, PathBuf, StorageKey, StorageKey) {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("storage");
        let made = StorageKey::create(&key, 1).unwrap();
        let path = folder.path().join("sdk-systems");
        let loaded = StorageKey::load(&key).unwrap();
        (folder, path, made, loaded)
    }

    #[test]
    fn a_secret_signs_for_its_system_alone_and_stands_nowhere_on_the_disk() {
        let (_folder, path, key, loaded) = keys();
        let secret = add_system(&path, &key, "ioffice.h26", codes(&["H26", "H26.18"]), Timestamp::EPOCH).unwrap();
        let other = add_system(&path, &key, "egov", codes(&["H37"]), Timestamp::EPOCH).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(secret.expose()), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{secret:?}").contains(secret.expose()));
        let systems = LiveSystems::open(&path, loaded).unwrap().current().unwrap();
        let system = systems.find("ioffice.h26").unwrap();
        let signature = |secret: &SecretText, bytes: &[u8]| -> [u8; 32] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
            hmac::sign(&key, bytes).as_ref().try_into().unwrap()
        };
        assert!(system.signed(b"{}", &signature(&secret, b"{}")));
        assert!(!system.signed(b"{ }", &signature(&secret, b"{}")));
        assert!(!system.signed(b"{}", &signature(&other, b"{}")));
        assert!(system.grant().allows(&"H26.18".parse().unwrap()) && !system.grant().allows(&"H37".parse().unwrap()));
        assert_eq!(systems.codes(), codes(&["H26", "H26.18", "H37"]));
    }

    #[test]
    fn a_running_node_sees_systems_come_and_go() {
        let (_folder, path, key, loaded) = keys();
        let live = LiveSystems::open(&path, loaded).unwrap();
        assert!(live.current().unwrap().codes().is_empty(), "no file: nobody");
        add_system(&path, &key, "a", codes(&["H26"]), Timestamp::EPOCH).unwrap();
        assert!(live.current().unwrap().find("a").is_some());
        remove_system(&path, "a").unwrap();
        assert!(live.current().unwrap().find("a").is_none());
        assert!(matches!(remove_system(&path, "a"), Err(SystemsError::Unknown { .. })));
    }

    #[test]
    fn what_cannot_be_a_system_is_refused_with_what_to_do() {
        let (_folder, path, key, _) = keys();
        for bad in ["", "a b", "a/b", "đ", &"x".repeat(SDK_SYSTEM_ID_CHARS_MAX + 1)] {
            let refused = add_system(&path, &key, bad, codes(&["H26"]), Timestamp::EPOCH);
            assert!(matches!(refused, Err(SystemsError::Name { .. })), "{bad:?}");
        }
        assert!(matches!(add_system(&path, &key, "a", codes(&[]), Timestamp::EPOCH), Err(SystemsError::NoCodes)));
        add_system(&path, &key, "a", codes(&["H26"]), Timestamp::EPOCH).unwrap();
        assert!(matches!(
            add_system(&path, &key, "a", codes(&["H26"]), Timestamp::EPOCH),
            Err(SystemsError::Name { .. })
        ));
    }

    #[test]
    fn an_exposed_file_or_another_nodes_lets_nobody_in() {
        let (_folder, path, key, loaded) = keys();
        add_system(&path, &key, "a", codes(&["H26"]), Timestamp::EPOCH).unwrap();
        let foreign = StorageKey::generate(1).unwrap();
        assert!(matches!(LiveSystems::open(&path, foreign), Err(SystemsError::Secret { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(LiveSystems::open(&path, loaded), Err(SystemsError::Io { .. })));
        fs::write(&path, "[[system]]\nid = 1").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(list_systems(&path), Err(SystemsError::Malformed { .. })));
    }
}
