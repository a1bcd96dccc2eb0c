//! Webhooks as they are kept: one private file of what was registered, and for each a small file of how far it got.
//!
//! The journal itself is the queue: a webhook is a place in it. So an event is never lost between journal and webhook, and a receiver that
//! was away for a day gets all of them.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::{BASE64, HEXLOWER};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use truc_proto::{
    AgencyId, Timestamp,
    limits::{TOKEN_FILE_BYTES_MAX, WEBHOOKS_MAX, WEBHOOKS_PER_TOKEN_MAX},
};
use truc_signer::storage::{StorageKey, WrapError};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::tokens::{read_private, replace_private};

const SECRET_BYTES: usize = 32;
const CONTEXT: &str = "truc/webhook/1\n";
/// Before the secret's text, as Standard Webhooks have it.
const SECRET_PREFIX: &str = "whsec_";

/// What a webhook tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookEvent)]
pub enum EventType {
    /// A document was consigned to an agency of the token.
    #[serde(rename = "document.received")]
    DocumentReceived,
    /// A business status came about a document that was sent, or the wish to withdraw one that was received.
    #[serde(rename = "status.received")]
    StatusReceived,
    /// Something happened to a document that was sent, at the relay or with a recipient.
    #[serde(rename = "delivery.changed")]
    DeliveryChanged,
    /// The deadline of a duty is near: something has not been sent, taken here, or taken there yet.
    #[serde(rename = "duty.due")]
    DutyDue,
    /// It has passed.
    #[serde(rename = "duty.late")]
    DutyLate,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::DocumentReceived, Self::StatusReceived, Self::DeliveryChanged, Self::DutyDue, Self::DutyLate];
}

/// A webhook as it was registered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// 128 random bits in hexadecimal.
    pub id: String,
    /// Where it is posted to.
    pub url: String,
    /// Name of the token that registered it: it tells no more than that token may see, and nothing once that is revoked.
    pub owner: String,
    /// The codes it is about; empty: all that the token covers.
    #[serde(default)]
    pub codes: BTreeSet<AgencyId>,
    /// What it tells.
    pub events: BTreeSet<EventType>,
    /// The secret under the storage key, in base64.
    pub secret: String,
    /// When it was registered.
    pub created: Timestamp,
    /// Where in the journal it began.
    pub from: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    webhook: Vec<Hook>,
}

/// How far a webhook got.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Everything before this place in the journal was told.
    pub next: u64,
    /// Messages that the receiver took.
    #[serde(default)]
    pub delivered: u64,
    /// Messages that it refused again and again, and that were passed over.
    #[serde(default)]
    pub passed_over: u64,
    /// Since when it has not taken the message that is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Attempts at that message.
    #[serde(default)]
    pub attempts: u32,
    /// What went wrong last, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// Nothing is sent until somebody asks for it again.
    #[serde(default)]
    pub suspended: bool,
}

/// Why webhooks could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a file of webhooks.
    #[error("{} is not a file of webhooks: {why}; restore it, or remove it and register the webhooks anew", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A secret does not open with the storage key.
    #[error(
        "the secret of a webhook does not open with this node's storage key; remove the webhook and register it anew"
    )]
    Secret(#[source] WrapError),
    /// More than the bound.
    #[error("there are {WEBHOOKS_PER_TOKEN_MAX} webhooks of this token, or {WEBHOOKS_MAX} in all; delete one first")]
    TooMany,
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// A webhook's secret, shown once. Not printed otherwise.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// As libraries for Standard Webhooks take it.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(BASE64.encode(&self.0));
        Zeroizing::new(format!("{SECRET_PREFIX}{}", *encoded))
    }

    /// The key that messages are signed with.
    #[must_use]
    pub fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// The files of a node's webhooks.
pub struct Store {
    file: PathBuf,
    folder: PathBuf,
    key: Arc<StorageKey>,
}

impl Store {
    /// Over the file of registrations and the folder of progress.
    #[must_use]
    pub const fn new(file: PathBuf, folder: PathBuf, key: Arc<StorageKey>) -> Self {
        Self { file, folder, key }
    }

    /// All that are registered. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, is exposed, or is something else.
    pub fn list(&self) -> Result<Vec<Hook>, StoreError> {
        list(&self.file)
    }

    /// Registers one; its id and secret are drawn here. Blocks.
    ///
    /// # Errors
    /// When there are too many, or it cannot be written.
    pub fn add(&self, hook: Hook) -> Result<(Hook, Secret), StoreError> {
        let mut hooks = self.list()?;
        let of_owner = hooks.iter().filter(|other| other.owner == hook.owner).count();
        if hooks.len() >= WEBHOOKS_MAX || of_owner >= WEBHOOKS_PER_TOKEN_MAX {
            return Err(StoreError::TooMany);
        }
        let mut id = [0; 16];
        let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
        let random = SystemRandom::new();
        random.fill(&mut id).and_then(|()| random.fill(&mut secret)).map_err(|_| StoreError::Random)?;
        let id = HEXLOWER.encode(&id);
        let wrapped = self.key.wrap(&secret, context(&id).as_bytes()).map_err(StoreError::Secret)?;
        let hook = Hook { id, secret: BASE64.encode(&wrapped), ..hook };
        self.save_progress(&hook.id, &Progress { next: hook.from, ..Progress::default() })?;
        hooks.push(hook.clone());
        self.save(hooks)?;
        Ok((hook, Secret(secret)))
    }

    /// Forgets one; false: there was none. Blocks.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let mut hooks = self.list()?;
        let before = hooks.len();
        hooks.retain(|hook| hook.id != id);
        if hooks.len() == before {
            return Ok(false);
        }
        self.save(hooks)?;
        let path = self.progress_path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("write", &path, error)),
            _ => Ok(true),
        }
    }

    /// The secret of a webhook.
    ///
    /// # Errors
    /// When it does not open.
    pub fn secret(&self, hook: &Hook) -> Result<Secret, StoreError> {
        let wrapped = BASE64.decode(hook.secret.as_bytes()).map_err(|_| StoreError::Secret(WrapError::Failed))?;
        self.key.unwrap(&wrapped, context(&hook.id).as_bytes()).map(Secret).map_err(StoreError::Secret)
    }

    /// How far a webhook got; from its beginning when that is not known. Blocks.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn progress(&self, hook: &Hook) -> Result<Progress, StoreError> {
        let path = self.progress_path(&hook.id);
        let begin = Progress { next: hook.from, ..Progress::default() };
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(webhook = hook.id, %error, "how far this webhook got is not known; it begins where it was registered");
                begin
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(begin),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Keeps how far a webhook got. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_progress(&self, id: &str, progress: &Progress) -> Result<(), StoreError> {
        let path = self.progress_path(id);
        let bytes = serde_json::to_vec(progress)
            .map_err(|error| StoreError::Malformed { path: path.clone(), why: error.to_string() })?;
        let write = fs::create_dir_all(&self.folder).and_then(|()| replace_private(&path, &bytes));
        write.map_err(|error| failed("write", &path, error))
    }

    fn progress_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn save(&self, hooks: Vec<Hook>) -> Result<(), StoreError> {
        let text = text_of(&self.file, hooks)?;
        replace_private(&self.file, text.as_bytes()).map_err(|error| failed("write", &self.file, error))
    }
}

/// All that are registered in a file; none when there is no file. Blocks.
pub(crate) fn list(file: &Path) -> Result<Vec<Hook>, StoreError> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let (text, _) = read_private(file, TOKEN_FILE_BYTES_MAX).map_err(|error| failed("read", file, error))?;
    let malformed = |why: String| StoreError::Malformed { path: file.to_owned(), why };
    let form: FileForm = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
    if form.webhook.len() > WEBHOOKS_MAX {
        return Err(malformed(format!("it holds more than {WEBHOOKS_MAX} webhooks")));
    }
    Ok(form.webhook)
}

/// The file with every secret under another storage key, and how many there are; none when there is no file.
pub(crate) fn rewrapped(file: &Path, old: &StorageKey, new: &StorageKey) -> Result<Option<(String, u64)>, StoreError> {
    if !file.exists() {
        return Ok(None);
    }
    let mut hooks = list(file)?;
    for hook in &mut hooks {
        let wrapped = BASE64.decode(hook.secret.as_bytes()).map_err(|_| StoreError::Secret(WrapError::Failed))?;
        let again = old.rewrap(&wrapped, context(&hook.id).as_bytes(), new).map_err(StoreError::Secret)?;
        hook.secret = BASE64.encode(&again);
    }
    let count = hooks.len() as u64;
    Ok(Some((text_of(file, hooks)?, count)))
}

fn text_of(file: &Path, hooks: Vec<Hook>) -> Result<String, StoreError> {
    toml::to_string(&FileForm { webhook: hooks })
        .map_err(|error| StoreError::Malformed { path: file.to_owned(), why: error.to_string() })
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.file.display())
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { what, path: path.to_owned(), source }
}

fn context(id: &str) -> String {
    format!("{CONTEXT}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(owner: &str) -> Hook {
        Hook {
            id: String::new(),
            url: "http://127.0.0.1:1/".into(),
            owner: owner.into(),
            codes: BTreeSet::from(["H26".parse().unwrap()]),
            events: BTreeSet::from([EventType::StatusReceived]),
            secret: String::new(),
            created: Timestamp::EPOCH,
            from: 7,
        }
    }

    #[test]
    fn a_webhook_is_kept_with_its_secret_sealed_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let key = || Arc::new(StorageKey::load(&folder.path().join("key")).unwrap());
        StorageKey::create(&folder.path().join("key"), 1).unwrap();
        let store = || Store::new(folder.path().join("webhooks.toml"), folder.path().join("progress"), key());
        assert!(store().list().unwrap().is_empty());
        let (kept, secret) = store().add(hook("first")).unwrap();
        assert!(secret.text().starts_with("whsec_") && !format!("{secret:?}").contains(&secret.text()[6..]));
        assert_eq!(store().list().unwrap(), std::slice::from_ref(&kept));
        assert_eq!(store().secret(&kept).unwrap().text(), secret.text());
        let text = fs::read_to_string(folder.path().join("webhooks.toml")).unwrap();
        assert!(!text.contains(&secret.text()[6..]));
        let foreign = Hook { id: "0".repeat(32), ..kept.clone() };
        assert!(store().secret(&foreign).is_err(), "a secret belongs to its webhook");

        assert_eq!(store().progress(&kept).unwrap().next, 7);
        let later = Progress { next: 20, delivered: 3, ..Progress::default() };
        store().save_progress(&kept.id, &later).unwrap();
        assert_eq!(store().progress(&kept).unwrap(), later);
        fs::write(folder.path().join(format!("progress/{}.json", kept.id)), b"{").unwrap();
        assert_eq!(store().progress(&kept).unwrap().next, 7);

        for _ in 1..WEBHOOKS_PER_TOKEN_MAX {
            store().add(hook("first")).unwrap();
        }
        assert!(matches!(store().add(hook("first")), Err(StoreError::TooMany)));
        store().add(hook("second")).unwrap();
        assert!(store().remove(&kept.id).unwrap() && !store().remove(&kept.id).unwrap());
        assert!(!folder.path().join(format!("progress/{}.json", kept.id)).exists());
    }
}
