//! `truc-node.toml`: what a node is, where its files lie, whom it talks to. All mistakes are told at once, before anything binds.
//!
//! Paths are relative to the node's folder:
//! ```text
//! truc-node.toml   this file
//! keys/            ledger, witness and storage key, tokens, certificates with keys; mode 0700, files 0600
//! trust/           anchors, intermediates, revocation lists, the pinned operator
//! store/           journal, blobs, snapshots, look-up index
//! directory/       the verified copy of the directory
//! ```

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use toml::{Table, Value};
use truc_evidence::{PinnedOperator, ledger_origin};
use truc_ledger::StoreTag;
use truc_proto::{
    AgencyId, AxisId, Lane, NodeId,
    limits::{AGENCY_KEYS_MAX, ENVELOPE_TTL_MAX_MS, NODE_AGENCIES_MAX, SETTINGS_BYTES_MAX},
};
use truc_signer::{Certificate, Crl, CrlError, PemError, SoftKey, SoftKeyError, TrustStore, TrustStoreError};
use zeroize::Zeroizing;

/// Name of the settings file in a node's folder.
pub const SETTINGS_FILE: &str = "truc-node.toml";
/// Days that an envelope lives when its request does not say.
pub const TTL_DAYS_DEFAULT: u64 = 7;
/// Longest password file in bytes.
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// A node, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The node's folder.
    pub folder: PathBuf,
    /// The trust domain.
    pub axis: AxisId,
    /// The one lane it serves, for life.
    pub lane: Lane,
    /// Its id in the directory.
    pub id: NodeId,
    /// Counts up at every recovery that starts a new ledger origin.
    pub epoch: u64,
    /// Where the local API listens; loopback.
    pub local: SocketAddr,
    /// The relay's address, `host:port`.
    pub relay: String,
    /// The relay's id in the directory.
    pub relay_id: NodeId,
    /// The agencies it serves.
    pub agencies: Vec<AgencySettings>,
    /// Certificate and key for the connection to the relay.
    pub tls: KeySource,
    /// Certificate and key that sign checkpoints.
    pub node_key: KeySource,
    /// PKCS#8 DER of the ledger's Ed25519 key.
    pub ledger_key: PathBuf,
    /// PKCS#8 DER of the Ed25519 key that cosigns others' checkpoints.
    pub witness_key: PathBuf,
    /// The storage key.
    pub storage_key: PathBuf,
    /// Bearer tokens of the local API.
    pub tokens: PathBuf,
    /// Whom it trusts.
    pub trust: TrustFiles,
    /// How long an envelope lives when its request does not say.
    pub ttl: Duration,
    /// How long payloads of closed documents are kept; none: for ever.
    pub retention: Option<Duration>,
}

/// An agency's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgencySettings {
    /// The code.
    pub code: AgencyId,
    /// Certificates that sign containers.
    pub service: Vec<KeySource>,
    /// Certificates that mail is sealed to: the current one, and older ones as long as something sealed to them may arrive.
    pub sealing: Vec<KeySource>,
}

/// The files of a certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// PEM: certificate chain and PKCS#8 key.
    Pem {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The key, of mode 0600.
        key: PathBuf,
    },
    /// PKCS#12.
    Pkcs12 {
        /// The file, of mode 0600.
        file: PathBuf,
        /// A file that holds the password.
        password_file: PathBuf,
    },
}

/// Files of anchors and lists, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustFiles {
    /// Root certificates.
    pub anchors: PathBuf,
    /// Authorities between roots and subscribers.
    pub intermediates: Option<PathBuf>,
    /// Revocation lists, PEM or DER; read again when they change.
    pub crls: Vec<PathBuf>,
    /// The pinned operator's certificate.
    pub operator: PathBuf,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file system.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML.
    #[error("{} is not TOML: {why}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// Everything that is wrong with it.
    #[error("{} has {}:{}", path.display(), count(mistakes), Listed(mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// One each.
        mistakes: Vec<String>,
    },
}

/// Why a file that settings name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The file system.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate with its key.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: SoftKeyError,
    },
    /// Certificates.
    #[error("the certificates in {} cannot be used", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// A revocation list.
    #[error("the revocation list in {} cannot be used; fetch it again", path.display())]
    Crl {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: CrlError,
    },
    /// They do not make a trust store.
    #[error("the trust files cannot be used")]
    Trust(#[from] TrustStoreError),
}

fn count(mistakes: &[String]) -> String {
    if mistakes.len() == 1 { "a mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) }
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl Settings {
    /// Reads `truc-node.toml` of a node's folder.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn load(folder: &Path) -> Result<Self, SettingsError> {
        let path = folder.join(SETTINGS_FILE);
        let failed = |source| SettingsError::Read { path: path.clone(), source };
        let length = fs::metadata(&path).map_err(failed)?.len();
        if length > SETTINGS_BYTES_MAX {
            return Err(failed(io::Error::other(format!("longer than {SETTINGS_BYTES_MAX} bytes"))));
        }
        Self::parse(folder, &fs::read_to_string(&path).map_err(failed)?)
    }

    /// Reads settings from their text.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn parse(folder: &Path, text: &str) -> Result<Self, SettingsError> {
        let path = folder.join(SETTINGS_FILE);
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| SettingsError::Syntax { path: path.clone(), why: error.to_string() })?;
        let mut reader = Reader { folder, mistakes: Vec::new() };
        let settings = reader.settings(table);
        match (settings, reader.mistakes) {
            (Some(settings), mistakes) if mistakes.is_empty() => Ok(settings),
            (_, mistakes) => Err(SettingsError::Mistakes { path, mistakes }),
        }
    }

    /// The settings as `truc-node.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut table = Table::new();
        let text = |text: &dyn ToString| Value::String(text.to_string());
        table.insert("axis".into(), text(&self.axis));
        table.insert("lane".into(), text(&self.lane));
        table.insert("id".into(), text(&self.id));
        table.insert("epoch".into(), integer(self.epoch));
        let relay = [("id".to_owned(), text(&self.relay_id)), ("address".to_owned(), text(&self.relay))];
        table.insert("relay".into(), Table::from_iter(relay).into());
        table.insert("local".into(), Table::from_iter([("listen".to_owned(), text(&self.local))]).into());
        let mut send = Table::new();
        send.insert("ttl_days".into(), integer(self.ttl.as_secs() / 86_400));
        send.extend(self.retention.map(|kept| ("retention_days".to_owned(), integer(kept.as_secs() / 86_400))));
        table.insert("documents".into(), send.into());
        let keys = [
            ("ledger", &self.ledger_key),
            ("witness", &self.witness_key),
            ("storage", &self.storage_key),
            ("tokens", &self.tokens),
        ];
        let mut keys = Table::from_iter(keys.map(|(name, path)| (name.to_owned(), self.shown(path))));
        keys.insert("tls".into(), self.key_table(&self.tls));
        keys.insert("node".into(), self.key_table(&self.node_key));
        table.insert("keys".into(), keys.into());
        let mut trust = Table::new();
        trust.insert("anchors".into(), self.shown(&self.trust.anchors));
        trust.extend(self.trust.intermediates.iter().map(|path| ("intermediates".to_owned(), self.shown(path))));
        trust.insert("crls".into(), self.trust.crls.iter().map(|path| self.shown(path)).collect::<Vec<Value>>().into());
        trust.insert("operator".into(), self.shown(&self.trust.operator));
        table.insert("trust".into(), trust.into());
        let agency = |agency: &AgencySettings| {
            let mut table = Table::from_iter([("code".to_owned(), text(&agency.code))]);
            table.insert(
                "service".into(),
                agency.service.iter().map(|key| self.key_table(key)).collect::<Vec<Value>>().into(),
            );
            table.insert(
                "sealing".into(),
                agency.sealing.iter().map(|key| self.key_table(key)).collect::<Vec<Value>>().into(),
            );
            Value::from(table)
        };
        table.insert("agency".into(), self.agencies.iter().map(agency).collect::<Vec<Value>>().into());
        table.to_string()
    }

    /// Origin line of the ledger's checkpoints.
    #[must_use]
    pub fn origin(&self) -> String {
        ledger_origin(&self.axis, self.lane, &self.id, self.epoch)
    }

    /// Whose store it is; another tag does not open it.
    #[must_use]
    pub fn store_tag(&self) -> StoreTag {
        let id = self.id.to_string();
        StoreTag { axis: self.axis.to_string(), lane: self.lane.to_string(), kind: "node".to_owned(), id }
    }

    /// Folder of journal, blobs, snapshots and index.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Folder of the directory's verified copy.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.folder.join("directory")
    }

    /// The codes it serves.
    pub fn codes(&self) -> impl Iterator<Item = &AgencyId> {
        self.agencies.iter().map(|agency| &agency.code)
    }

    fn shown(&self, path: &Path) -> Value {
        Value::String(path.strip_prefix(&self.folder).unwrap_or(path).display().to_string())
    }

    fn key_table(&self, source: &KeySource) -> Value {
        let pairs = match source {
            KeySource::Pem { certificate, key } => [("certificate", certificate), ("key", key)],
            KeySource::Pkcs12 { file, password_file } => [("pkcs12", file), ("password_file", password_file)],
        };
        Table::from_iter(pairs.map(|(name, path)| (name.to_owned(), self.shown(path)))).into()
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

impl KeySource {
    /// The files beside the one that a person names: `X.p12` with `X.password`, `X.pem` with `X.key`.
    #[must_use]
    pub fn beside(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if matches!(extension.as_str(), "p12" | "pfx") {
            Self::Pkcs12 { file: path.to_owned(), password_file: path.with_extension("password") }
        } else {
            Self::Pem { certificate: path.to_owned(), key: path.with_extension("key") }
        }
    }

    /// The file that names it in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Pem { certificate, .. } => certificate,
            Self::Pkcs12 { file, .. } => file,
        }
    }

    /// Loads certificate and key.
    ///
    /// # Errors
    /// When a file is missing, exposed or unusable.
    pub fn load(&self) -> Result<SoftKey, MaterialError> {
        let failed = |source| MaterialError::Key { path: self.path().to_owned(), source };
        match self {
            Self::Pem { certificate, key } => SoftKey::load_pem(certificate, key).map_err(failed),
            Self::Pkcs12 { file, password_file } => {
                let password = read_password(password_file)?;
                SoftKey::load_pkcs12(file, &password).map_err(failed)
            }
        }
    }

    pub(crate) fn files(&self) -> [&Path; 2] {
        match self {
            Self::Pem { certificate, key } => [certificate, key],
            Self::Pkcs12 { file, password_file } => [file, password_file],
        }
    }
}

/// A line end at the end of the file is not part of the password: editors put it there.
fn read_password(path: &Path) -> Result<Zeroizing<String>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > PASSWORD_BYTES_MAX {
        return Err(failed(io::Error::other("too long for a password")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl TrustFiles {
    /// Builds a trust store from the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(&self) -> Result<TrustStore, MaterialError> {
        let anchors = read_certificates(&self.anchors)?;
        let intermediates = self.intermediates.as_deref().map_or(Ok(Vec::new()), read_certificates)?;
        let mut crls = Vec::new();
        for path in &self.crls {
            let bytes = read_file(path)?;
            crls.extend(
                Crl::from_file_bytes(&bytes).map_err(|source| MaterialError::Crl { path: path.clone(), source })?,
            );
        }
        Ok(TrustStore::new(anchors, intermediates, crls)?)
    }

    /// The pinned operator.
    ///
    /// # Errors
    /// When the file cannot be read or names no operator.
    pub fn operator(&self) -> Result<PinnedOperator, MaterialError> {
        let failed = |source| MaterialError::Certificates { path: self.operator.clone(), source };
        PinnedOperator::from_pem(&read_file(&self.operator)?).map_err(failed)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, MaterialError> {
    Certificate::from_pem(&read_file(path)?)
        .map_err(|source| MaterialError::Certificates { path: path.to_owned(), source })
}

/// Bounds on the content are the parsers'; a file larger than any of them is not even read.
fn read_file(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    let length = usize::try_from(fs::metadata(path).map_err(failed)?.len()).unwrap_or(usize::MAX);
    // PEM is a third longer than what it encodes.
    if length > truc_proto::limits::CRL_BYTES_MAX * 3 / 2 {
        return Err(failed(io::Error::other("too large for certificates or revocation lists")));
    }
    fs::read(path).map_err(failed)
}

/// Takes the tables apart and notes everything that is wrong.
struct Reader<'f> {
    folder: &'f Path,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self, mut table: Table) -> Option<Settings> {
        let axis = self.parsed(&mut table, "axis", "");
        let lane = self.parsed(&mut table, "lane", "");
        let id = self.parsed(&mut table, "id", "");
        let epoch = self.number(&mut table, "epoch", "", 1..=u64::from(u32::MAX)).unwrap_or(Some(1));

        let mut local = self.section(&mut table, "local");
        let listen = self.parsed::<SocketAddr>(&mut local, "listen", "local.");
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback()) {
            self.mistakes
                .push(format!("local.listen: {address} is not a loopback address; the local API is for this machine"));
        }
        self.nothing_else(&local, "local.");

        let mut relay = self.section(&mut table, "relay");
        let address = self.text(&mut relay, "address", "relay.").filter(|address| self.is_address(address));
        let relay_id = self.parsed(&mut relay, "id", "relay.");
        self.nothing_else(&relay, "relay.");

        let mut documents = self.optional_section(&mut table, "documents");
        let days_max = u64::try_from(ENVELOPE_TTL_MAX_MS / 86_400_000).unwrap_or_default();
        let ttl = self.number(&mut documents, "ttl_days", "documents.", 1..=days_max).unwrap_or(Some(TTL_DAYS_DEFAULT));
        let retention = self.number(&mut documents, "retention_days", "documents.", 1..=36_500);
        self.nothing_else(&documents, "documents.");

        let mut keys = self.section(&mut table, "keys");
        let ledger_key = self.path(&mut keys, "ledger", "keys.");
        let witness_key = self.path(&mut keys, "witness", "keys.");
        let storage_key = self.path(&mut keys, "storage", "keys.");
        let tokens = self.path(&mut keys, "tokens", "keys.");
        let tls = self.key(keys.remove("tls"), "keys.tls");
        let node_key = self.key(keys.remove("node"), "keys.node");
        self.nothing_else(&keys, "keys.");

        let trust = self.trust(&mut table);
        let agencies = self.agencies(&mut table);
        self.nothing_else(&table, "");
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Some(Settings {
            folder: self.folder.to_owned(),
            axis: axis?,
            lane: lane?,
            id: id?,
            epoch: epoch?,
            local: listen?,
            relay: address?,
            relay_id: relay_id?,
            agencies: agencies?,
            tls: tls?,
            node_key: node_key?,
            ledger_key: ledger_key?,
            witness_key: witness_key?,
            storage_key: storage_key?,
            tokens: tokens?,
            trust: trust?,
            ttl: days(ttl?),
            retention: match retention {
                Some(kept) => Some(days(kept?)),
                None => None,
            },
        })
    }

    fn trust(&mut self, table: &mut Table) -> Option<TrustFiles> {
        let mut trust = self.section(table, "trust");
        let anchors = self.path(&mut trust, "anchors", "trust.");
        let intermediates = if trust.contains_key("intermediates") {
            self.path(&mut trust, "intermediates", "trust.").map(Some)
        } else {
            Some(None)
        };
        let mut crls = Vec::new();
        for (n, value) in self.array(trust.remove("crls"), "trust.crls").into_iter().enumerate() {
            crls.extend(self.path_of(value, &format!("trust.crls[{}]", n + 1)));
        }
        let operator = self.path(&mut trust, "operator", "trust.");
        self.nothing_else(&trust, "trust.");
        Some(TrustFiles { anchors: anchors?, intermediates: intermediates?, crls, operator: operator? })
    }

    fn agencies(&mut self, table: &mut Table) -> Option<Vec<AgencySettings>> {
        let given = self.array(table.remove("agency"), "agency");
        if given.is_empty() || given.len() > NODE_AGENCIES_MAX {
            self.mistakes
                .push(format!("agency: a node serves 1 to {NODE_AGENCIES_MAX} agencies, given are {}", given.len()));
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut agencies = Vec::new();
        for (n, value) in given.into_iter().enumerate() {
            let name = format!("agency[{}]", n + 1);
            let Value::Table(mut table) = value else {
                self.mistakes.push(format!("{name}: a table is wanted"));
                continue;
            };
            let prefix = format!("{name}.");
            let code = self.parsed::<AgencyId>(&mut table, "code", &prefix);
            if let Some(code) = code.as_ref().filter(|code| !seen.insert((*code).clone())) {
                self.mistakes.push(format!("{name}: {code} stands twice"));
            }
            let service = self.keys(table.remove("service"), &format!("{prefix}service"));
            let sealing = self.keys(table.remove("sealing"), &format!("{prefix}sealing"));
            self.nothing_else(&table, &prefix);
            agencies.extend(code.map(|code| AgencySettings { code, service, sealing }));
        }
        Some(agencies)
    }

    fn keys(&mut self, value: Option<Value>, name: &str) -> Vec<KeySource> {
        let given = self.array(value, name);
        if given.is_empty() || given.len() > AGENCY_KEYS_MAX {
            self.mistakes.push(format!(
                "{name}: 1 to {AGENCY_KEYS_MAX} certificates with keys are wanted, given are {}",
                given.len()
            ));
            return Vec::new();
        }
        let named = given.into_iter().enumerate().map(|(n, value)| (format!("{name}[{}]", n + 1), value));
        named.filter_map(|(name, value)| self.key(Some(value), &name)).collect()
    }

    fn key(&mut self, value: Option<Value>, name: &str) -> Option<KeySource> {
        let prefix = format!("{name}.");
        let Some(Value::Table(mut table)) = value else {
            self.mistakes.push(format!(
                "{name}: {{ certificate = \"…\", key = \"…\" }} or {{ pkcs12 = \"…\", password_file = \"…\" }} is wanted"
            ));
            return None;
        };
        let source = if table.contains_key("pkcs12") {
            let file = self.path(&mut table, "pkcs12", &prefix);
            let password_file = self.path(&mut table, "password_file", &prefix);
            Some((file, password_file)).and_then(|(file, password_file)| {
                Some(KeySource::Pkcs12 { file: file?, password_file: password_file? })
            })
        } else {
            let certificate = self.path(&mut table, "certificate", &prefix);
            let key = self.path(&mut table, "key", &prefix);
            Some((certificate, key))
                .and_then(|(certificate, key)| Some(KeySource::Pem { certificate: certificate?, key: key? }))
        };
        self.nothing_else(&table, &prefix);
        source
    }

    fn section(&mut self, table: &mut Table, name: &str) -> Table {
        if !table.contains_key(name) {
            self.mistakes.push(format!("[{name}] is missing"));
        }
        self.optional_section(table, name)
    }

    fn optional_section(&mut self, table: &mut Table, name: &str) -> Table {
        match table.remove(name) {
            Some(Value::Table(section)) => section,
            None => Table::new(),
            Some(_) => {
                self.mistakes.push(format!("{name}: a section [{name}] is wanted"));
                Table::new()
            }
        }
    }

    fn array(&mut self, value: Option<Value>, name: &str) -> Vec<Value> {
        match value {
            Some(Value::Array(values)) => values,
            None => Vec::new(),
            Some(_) => {
                self.mistakes.push(format!("{name}: a list is wanted"));
                Vec::new()
            }
        }
    }

    fn text(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<String> {
        match table.remove(key) {
            Some(Value::String(text)) => Some(text),
            None => {
                self.mistakes.push(format!("{prefix}{key} is missing"));
                None
            }
            Some(_) => {
                self.mistakes.push(format!("{prefix}{key}: a text in quotes is wanted"));
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<T> {
        let text = self.text(table, key, prefix)?;
        text.parse().map_err(|error| self.mistakes.push(format!("{prefix}{key}: {error}"))).ok()
    }

    /// None: not there. Some(None): there and wrong.
    fn number(
        &mut self,
        table: &mut Table,
        key: &str,
        prefix: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Option<u64>> {
        let value = table.remove(key)?;
        let number =
            value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            self.mistakes.push(format!("{prefix}{key}: a number from {from} to {to} is wanted"));
        }
        Some(number)
    }

    fn path(&mut self, table: &mut Table, key: &str, prefix: &str) -> Option<PathBuf> {
        let text = self.text(table, key, prefix)?;
        self.path_of(Value::String(text), &format!("{prefix}{key}"))
    }

    fn path_of(&mut self, value: Value, name: &str) -> Option<PathBuf> {
        let Value::String(text) = value else {
            self.mistakes.push(format!("{name}: a path in quotes is wanted"));
            return None;
        };
        let path = self.folder.join(&text);
        if !path.is_file() {
            self.mistakes.push(format!("{name}: there is no file {}", path.display()));
            return None;
        }
        Some(path)
    }

    fn is_address(&mut self, address: &str) -> bool {
        let good = check_address(address);
        if !good {
            self.mistakes.push(format!("relay.address: {address:?} is not host:port"));
        }
        good
    }

    fn nothing_else(&mut self, table: &Table, prefix: &str) {
        self.mistakes.extend(table.keys().map(|key| format!("{prefix}{key}: there is no such setting")));
    }
}

/// Whether a text is `host:port`.
pub(crate) fn check_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && host.len() <= 255
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
            axis = "Vn"
            lane = "fast"
            epoch = 0
            colour = "red"
            [local]
            listen = "0.0.0.0:7440"
            [relay]
            address = "nowhere"
            [documents]
            ttl_days = 31
            [keys]
            ledger = "keys/none"
            tls = 7
            [trust]
            crls = [1]
            [[agency]]
            code = "not a code"
            service = []
        "#;
        let SettingsError::Mistakes { mistakes, .. } = Settings::parse(folder.path(), text).unwrap_err() else {
            panic!("only mistakes")
        };
        for wanted in [
            "axis: ",
            "lane: ",
            "id is missing",
            "epoch: a number",
            "colour: there is no such setting",
            "local.listen: 0.0.0.0:7440 is not a loopback address",
            "relay.address: ",
            "documents.ttl_days: a number from 1 to 30",
            "keys.ledger: there is no file",
            "keys.witness is missing",
            "keys.tls: ",
            "keys.node: ",
            "trust.anchors is missing",
            "trust.crls[1]: a path",
            "agency[1].code: ",
            "agency[1].service: 1 to",
            "agency[1].sealing: 1 to",
        ] {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(wanted)), "{wanted} not in {mistakes:#?}");
        }
    }

    #[test]
    fn files_beside_the_named_one_are_found_by_their_ending() {
        assert_eq!(
            KeySource::beside(Path::new("a/service.p12")),
            KeySource::Pkcs12 { file: "a/service.p12".into(), password_file: "a/service.password".into() }
        );
        assert_eq!(
            KeySource::beside(Path::new("a/tls.pem")),
            KeySource::Pem { certificate: "a/tls.pem".into(), key: "a/tls.key".into() }
        );
    }
}
