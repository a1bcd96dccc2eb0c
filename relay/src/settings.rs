//! The relay's settings: a TOML file that becomes typed values, every mistake told at once, before anything binds.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use truc_custody::{Away, KeySource, Reader, TokenSource};
use truc_evidence::ledger_origin;
use truc_ledger::StoreTag;
use truc_link::{RevocationFile, RevocationSettings, StampServer};
use truc_proto::{
    AxisId, Digest, Lane, NodeId,
    limits::{OPEN_ENVELOPES_MAX, TIME_STAMP_EVERY_S_MAX, TIME_STAMP_SERVERS_MAX},
};
use truc_signer::PolicySettings;

/// Name of the settings file in a relay's folder.
pub const SETTINGS_FILE: &str = "truc-relay.toml";
/// Largest settings file in bytes.
const SETTINGS_BYTES_MAX: u64 = 64 * 1024;
/// Longest lease.
const LEASE_S_MAX: u64 = 86_400;

/// Settings of one relay. Files are named relative to its folder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The relay's folder.
    pub dir: PathBuf,
    /// Trust domain.
    pub axis: AxisId,
    /// The one lane it serves.
    pub lane: Lane,
    /// Its id in the directory.
    pub id: NodeId,
    /// Counts up when a recovery begins a new ledger.
    pub epoch: u64,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How long a lease holds without a sign of life.
    pub lease: Duration,
    /// How often each node gets a signed statement of what waits for it.
    pub statement_every: Duration,
    /// Most envelopes open at once.
    pub open_envelopes_max: usize,
    /// Records between two snapshots.
    pub snapshot_every: u64,
    /// Certificates and keys for connections; the directory says which one serves ([`truc_custody::Keyring`]).
    pub tls_keys: Vec<KeySource>,
    /// Certificates and keys that sign checkpoints; as above.
    pub node_keys: Vec<KeySource>,
    /// SHA-256 of TLS certificates that may connect to publish a directory, beside those that the directory lists.
    pub operator_tls: Vec<Digest>,
    /// Under which certificate policies the paths of signers' certificates must be; the default asks for none.
    pub policies: PolicySettings,
    /// How long calls in progress have when the relay stops.
    pub drain: Duration,
    /// Where figures for monitoring are served, in the clear; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where time-stamps come from; none: receipts have none.
    pub time_stamps: Option<StampSettings>,
    /// Where revocation is found out; none: from the files in `trust/crl` alone.
    pub revocation: Option<RevocationSettings>,
}

/// Authorities that stamp the relay's signed checkpoints (RFC 3161).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampSettings {
    /// In the order in which they are asked.
    pub servers: Vec<StampServer>,
    /// How often a checkpoint is signed and stamped while there is something new.
    pub every: Duration,
    /// Whom servers over https are trusted by; none: `trust/anchors.pem`. Tokens are always judged by that.
    pub anchors: Option<PathBuf>,
}

/// What is wrong with the settings: all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    path: PathBuf,
    mistakes: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used; correct:", self.path.display())?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// The file as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsFile {
    pub(crate) axis: String,
    pub(crate) lane: String,
    pub(crate) id: String,
    #[serde(default = "one")]
    pub(crate) epoch: u64,
    pub(crate) listen: String,
    #[serde(default = "lease_s")]
    pub(crate) lease_s: u64,
    #[serde(default = "statement_s")]
    pub(crate) statement_s: u64,
    #[serde(default = "open_envelopes_max")]
    pub(crate) open_envelopes_max: usize,
    #[serde(default = "snapshot_every")]
    pub(crate) snapshot_every: u64,
    #[serde(default)]
    pub(crate) operator_tls: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trust_policies: Vec<String>,
    #[serde(default = "drain_s")]
    pub(crate) drain_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<MetricsFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_stamps: Option<StampsFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation: Option<RevocationFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<toml::Table>,
}

/// `[metrics]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsFile {
    pub(crate) listen: String,
}

/// Section `[time_stamps]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StampsFile {
    servers: Vec<StampServerFile>,
    #[serde(default = "one")]
    every_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchors: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StampServerFile {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl StampsFile {
    fn read(self, dir: &Path, mistakes: &mut Vec<String>) -> StampSettings {
        let count = self.servers.len();
        if !(1..=TIME_STAMP_SERVERS_MAX).contains(&count) {
            mistakes.push(format!(
                "`time_stamps.servers` must name 1 to {TIME_STAMP_SERVERS_MAX} authorities, not {count}"
            ));
        }
        if !(1..=TIME_STAMP_EVERY_S_MAX).contains(&self.every_s) {
            mistakes.push(format!(
                "`time_stamps.every_s` must lie between 1 and {TIME_STAMP_EVERY_S_MAX}, not {}",
                self.every_s
            ));
        }
        let mut servers = Vec::new();
        for StampServerFile { url, policy } in self.servers {
            match StampServer::new(&url, policy.as_deref()) {
                Ok(server) => servers.push(server),
                Err(error) => mistakes.push(format!("`time_stamps.servers`: {url}: {error}")),
            }
        }
        let anchors = self.anchors.map(|path| dir.join(path));
        StampSettings { servers, every: Duration::from_secs(self.every_s), anchors }
    }
}

const fn one() -> u64 {
    1
}
const fn lease_s() -> u64 {
    600
}
const fn statement_s() -> u64 {
    60
}
const fn open_envelopes_max() -> usize {
    OPEN_ENVELOPES_MAX
}
const fn snapshot_every() -> u64 {
    500_000
}
const fn drain_s() -> u64 {
    20
}

impl SettingsFile {
    pub(crate) fn new(axis: &AxisId, lane: Lane, id: &NodeId, listen: SocketAddr) -> Self {
        Self {
            axis: axis.to_string(),
            lane: lane.to_string(),
            id: id.to_string(),
            epoch: one(),
            listen: listen.to_string(),
            lease_s: lease_s(),
            statement_s: statement_s(),
            open_envelopes_max: open_envelopes_max(),
            snapshot_every: snapshot_every(),
            operator_tls: Vec::new(),
            trust_policies: Vec::new(),
            drain_s: drain_s(),
            metrics: None,
            time_stamps: None,
            revocation: None,
            keys: None,
        }
    }
}

impl Settings {
    /// Reads the settings of the relay in `dir`.
    ///
    /// # Errors
    /// [`SettingsError`] with every mistake.
    pub fn load(dir: &Path) -> Result<Self, SettingsError> {
        let path = dir.join(SETTINGS_FILE);
        let wrong = |mistakes| SettingsError { path: path.clone(), mistakes };
        let length = fs::metadata(&path).map(|file| file.len());
        if length.as_ref().is_ok_and(|length| *length > SETTINGS_BYTES_MAX) {
            return Err(wrong(vec![format!("the file is longer than {SETTINGS_BYTES_MAX} bytes")]));
        }
        let text = fs::read_to_string(&path);
        let text = text
            .map_err(|error| wrong(vec![format!("the file cannot be read ({error}); `truc-relay init` makes one")]))?;
        Self::parse(dir, &text).map_err(wrong)
    }

    fn parse(dir: &Path, text: &str) -> Result<Self, Vec<String>> {
        let file: SettingsFile = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut mistakes = Vec::new();
        let axis = field(&mut mistakes, "axis", &file.axis);
        let lane = field(&mut mistakes, "lane", &file.lane);
        let id = field(&mut mistakes, "id", &file.id);
        let listen = field(&mut mistakes, "listen", &file.listen);
        let tls: Vec<Option<Digest>> =
            file.operator_tls.iter().map(|text| field(&mut mistakes, "operator_tls", text)).collect();
        let metrics = file.metrics.as_ref().map(|metrics| field(&mut mistakes, "metrics.listen", &metrics.listen));
        let policies =
            PolicySettings::demanding(file.trust_policies.iter().map(String::as_str)).unwrap_or_else(|error| {
                mistakes.push(format!("`trust_policies`: {error}"));
                PolicySettings::default()
            });
        let time_stamps = file.time_stamps.map(|stamps| stamps.read(dir, &mut mistakes));
        let revocation = file.revocation.map(|section| section.read(dir, &mut mistakes));
        let (tls_keys, node_keys) = own_keys(dir, file.keys.unwrap_or_default(), &mut mistakes);
        let mut within = |name: &str, value: u64, from: u64, to: u64| {
            if !(from..=to).contains(&value) {
                mistakes.push(format!("`{name}` must lie between {from} and {to}, not {value}"));
            }
        };
        within("epoch", file.epoch, 1, u64::from(u32::MAX));
        within("lease_s", file.lease_s, 10, LEASE_S_MAX);
        within("statement_s", file.statement_s, 1, 3_600);
        within("drain_s", file.drain_s, 0, 3_600);
        within("snapshot_every", file.snapshot_every, 1_000, u64::MAX);
        let open = u64::try_from(file.open_envelopes_max).unwrap_or(u64::MAX);
        within("open_envelopes_max", open, 1, u64::try_from(OPEN_ENVELOPES_MAX).unwrap_or(u64::MAX));
        let (Some(axis), Some(lane), Some(id), Some(listen), true) = (axis, lane, id, listen, mistakes.is_empty())
        else {
            return Err(mistakes);
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            axis,
            lane,
            id,
            epoch: file.epoch,
            listen,
            lease: Duration::from_secs(file.lease_s),
            statement_every: Duration::from_secs(file.statement_s),
            open_envelopes_max: file.open_envelopes_max,
            snapshot_every: file.snapshot_every,
            tls_keys,
            node_keys,
            operator_tls: tls.into_iter().flatten().collect(),
            policies,
            drain: Duration::from_secs(file.drain_s),
            metrics: metrics.flatten(),
            time_stamps,
            revocation,
        })
    }

    /// Origin of its ledger.
    #[must_use]
    pub fn origin(&self) -> String {
        ledger_origin(&self.axis, self.lane, &self.id, self.epoch)
    }

    /// Whose store it is; another tag does not open it.
    #[must_use]
    pub fn store_tag(&self) -> StoreTag {
        let id = self.id.to_string();
        StoreTag { axis: self.axis.to_string(), lane: self.lane.to_string(), kind: "relay".into(), id }
    }

    /// Journal, snapshots and payloads.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Proofs that a node showed two histories, as files to hand on.
    #[must_use]
    pub fn forks_dir(&self) -> PathBuf {
        self.store_dir().join("forks")
    }

    /// The look-up index: may be removed at any time.
    #[must_use]
    pub fn index_dir(&self) -> PathBuf {
        self.dir.join("index")
    }

    /// Directory versions.
    #[must_use]
    pub fn directories_dir(&self) -> PathBuf {
        self.dir.join("directory")
    }

    /// Folder of revocation lists and OCSP answers that were fetched or imported.
    #[must_use]
    pub fn revocations_dir(&self) -> PathBuf {
        self.store_dir().join("revocation")
    }

    /// The ledger's key: each epoch has its own.
    pub(crate) fn ledger_key(&self) -> PathBuf {
        self.ledger_key_of(self.epoch)
    }

    pub(crate) fn witness_key(&self) -> PathBuf {
        self.key("witness.key")
    }

    pub(crate) fn ledger_key_of(&self, epoch: u64) -> PathBuf {
        if epoch == 1 { self.key("ledger.key") } else { self.key(&format!("ledger-{epoch}.key")) }
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.join("keys").join(name)
    }

    pub(crate) fn trust(&self, name: &str) -> PathBuf {
        self.dir.join("trust").join(name)
    }
}

/// What `[keys]` names for connections and for checkpoints: one of each, or a list while one takes over from another. What it does not name lies where
/// `init` puts it.
fn own_keys(dir: &Path, mut table: toml::Table, mistakes: &mut Vec<String>) -> (Vec<KeySource>, Vec<KeySource>) {
    let mut reader = Reader::new(dir);
    let mut own = |name: &str| match table.remove(name) {
        Some(value) => reader.own_keys(Some(value), &format!("keys.{name}"), Away::May),
        None => vec![KeySource::beside_name(&dir.join("keys"), name)],
    };
    let (tls, node) = (own("tls"), own("node"));
    reader.nothing_else(&table, "keys.");
    mistakes.append(&mut reader.mistakes);
    if !TokenSource::prompted(tls.iter().chain(&node)).is_empty() {
        mistakes.push(
            "keys: a relay starts without a person, so nobody is asked for a PIN: name a pin_file or a pin_credential"
                .to_owned(),
        );
    }
    (tls, node)
}

fn field<T: FromStr>(mistakes: &mut Vec<String>, name: &str, text: &str) -> Option<T>
where
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| mistakes.push(format!("`{name}`: {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "axis = \"vn\"\nlane = \"ordinary\"\nid = \"R1\"\nlisten = \"127.0.0.1:7443\"\n";

    #[test]
    fn defaults_stand_in_for_what_is_not_said() {
        let settings = Settings::parse(Path::new("/r"), GOOD).unwrap();
        assert_eq!((settings.epoch, settings.lease), (1, Duration::from_secs(600)));
        assert_eq!(settings.origin(), "truc/vn/ordinary/R1/1");
        assert_eq!(settings.policies, PolicySettings::default());
        assert_eq!(settings.tls_keys, [KeySource::beside_name(Path::new("/r/keys"), "tls")]);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = GOOD.replace("ordinary", "secret").replace("R1", "r 1").replace(":7443", "")
            + "lease_s = 1\ntrust_policies = [\"x\"]\n[keys]\ntls = 7\nnode = []\nspare = {}\n";
        let text = text
            + "[metrics]\nlisten = \"everywhere\"\n[time_stamps]\nservers = [{ url = \"ftp://a/\" }, { url = \"http://a/\", policy = \"x\" }]\nevery_s = 61\n";
        let mistakes = Settings::parse(Path::new("/r"), &text).unwrap_err();
        let stamps = ["`time_stamps.servers`: ftp", "`time_stamps.servers`: http", "`time_stamps.every_s`"];
        let keys = ["keys.tls: ", "keys.node: ", "keys.spare: "];
        let names = ["`lane`", "`id`", "`listen`", "`lease_s`", "`trust_policies`", "`metrics.listen`"];
        let names = [&names[..], &stamps, &keys].concat();
        assert_eq!(mistakes.len(), names.len(), "{mistakes:?}");
        assert!(names.iter().all(|name| mistakes.iter().any(|mistake| mistake.starts_with(name))), "{mistakes:?}");
        assert!(
            Settings::parse(Path::new("/r"), &(GOOD.to_owned() + "colour = 1\n")).is_err(),
            "unknown names are refused"
        );
    }
}
