//! `truc-node.toml`: what a node is, where its files lie, whom it talks to. All mistakes are told at once, before anything binds.
//!
//! Paths are relative to the node's folder:
//! ```text
//! truc-node.toml   this file
//! keys/            ledger, witness and storage key, tokens, certificates with keys; mode 0700, files 0600
//! trust/           anchors, intermediates, revocation lists, the pinned operator
//! store/           journal, blobs, snapshots, look-up index
//! directory/       the verified copy of the directory
//! sdk-requests.jsonl  what document systems ask of the axis operator
//! ```

mod duties;
pub mod edit;
mod files;
mod gateway;
mod material;
mod read;
mod revocation;
mod service_key;
mod stamps;
mod token_key;

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{Table, Value};
use truc_evidence::ledger_origin;
use truc_ledger::StoreTag;
use truc_proto::{AdminAction, AgencyId, AxisId, Lane, NodeId, limits::SETTINGS_BYTES_MAX};
use truc_signer::Certificate;

use truc_link::{RevocationSettings, endpoint::Endpoint};

pub use duties::DutySettings;
pub use gateway::GatewaySettings;
pub(crate) use material::read_certificates;
pub use material::{KeySource, MaterialError, TrustFiles};
use read::Reader;
pub use stamps::StampSettings;
pub use token_key::{PinSource, TokenSource};

/// Name of the settings file in a node's folder.
pub const SETTINGS_FILE: &str = "truc-node.toml";
/// Where notes for the ledger lie in a node's folder.
pub(crate) const NOTES: &str = "store/administration";
/// Days that an envelope lives when its request does not say.
pub const TTL_DAYS_DEFAULT: u64 = 7;

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
    /// Certificates and keys for the connection to the relay; the directory says which one serves ([`crate::keyring`]).
    pub tls_keys: Vec<KeySource>,
    /// Certificates and keys that sign checkpoints; as above.
    pub node_keys: Vec<KeySource>,
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
    /// How long payloads of received documents are kept after they were handed over; none: for ever.
    pub retention: Option<Duration>,
    /// The listener for document systems that speak the axis SDK; none: there is none.
    pub sdk: Option<SdkSettings>,
    /// The REST listener; none: there is none.
    pub rest: Option<RestSettings>,
    /// The gateway to today's axis; none: who is still there cannot be reached.
    pub gateway: Option<GatewaySettings>,
    /// By when documents have to be sent, taken and answered.
    pub duties: DutySettings,
    /// Where figures for monitoring are served, in the clear; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// What a second administrator has to agree to.
    pub two_persons: BTreeSet<AdminAction>,
    /// Where time-stamps come from; none: receipts have none.
    pub time_stamps: Option<StampSettings>,
    /// Where revocation is found out; none: from the files of `[trust]` alone.
    pub revocation: Option<RevocationSettings>,
}

/// The listener for document systems that speak the axis SDK.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SdkSettings {
    /// Where it listens; without a certificate a loopback address.
    pub listen: SocketAddr,
    /// Path before the operations' names, e.g. `/api/v1`; empty: none.
    pub path: String,
    /// Certificate and key for https, from an authority that the clients' JVMs know; none: http.
    pub tls: Option<KeySource>,
}

/// The REST listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestSettings {
    /// Where it listens; without a certificate a loopback address.
    pub listen: SocketAddr,
    /// Certificate and key for https; none: http.
    pub tls: Option<KeySource>,
    /// Where webhooks may be posted to.
    pub webhooks: Vec<Endpoint>,
    /// PEM file of the certificates that receivers of webhooks over https are trusted by.
    pub webhook_anchors: Option<PathBuf>,
}

impl RestSettings {
    /// Whom receivers of webhooks are trusted by.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn webhook_trust(&self) -> Result<Vec<Certificate>, MaterialError> {
        self.webhook_anchors.as_deref().map_or(Ok(Vec::new()), material::read_certificates)
    }
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

    /// Reads a file that says where a key is, in the words of the settings: `X.token` for [`KeySource::Token`]. Paths are as seen from its folder.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn load_key(path: &Path) -> Result<KeySource, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > SETTINGS_BYTES_MAX {
            return Err(failed(io::Error::other(format!("longer than {SETTINGS_BYTES_MAX} bytes"))));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut reader = Reader { folder, mistakes: Vec::new() };
        match (reader.key(Some(Value::Table(table)), "key"), reader.mistakes) {
            (Some(source), mistakes) if mistakes.is_empty() => Ok(source),
            (_, mistakes) => Err(SettingsError::Mistakes { path: path.to_owned(), mistakes }),
        }
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
        if let Some(sdk) = &self.sdk {
            let mut section = Table::from_iter([("listen".to_owned(), text(&sdk.listen))]);
            section.extend((!sdk.path.is_empty()).then(|| ("path".to_owned(), text(&sdk.path))));
            section.extend(sdk.tls.iter().map(|tls| ("tls".to_owned(), self.key_table(tls))));
            table.insert("sdk".into(), section.into());
        }
        if let Some(rest) = &self.rest {
            let mut section = Table::from_iter([("listen".to_owned(), text(&rest.listen))]);
            section.extend(rest.tls.iter().map(|tls| ("tls".to_owned(), self.key_table(tls))));
            if !rest.webhooks.is_empty() {
                section.insert("webhooks".into(), Value::Array(rest.webhooks.iter().map(|to| text(to)).collect()));
            }
            section.extend(rest.webhook_anchors.iter().map(|path| ("webhook_anchors".to_owned(), self.shown(path))));
            table.insert("rest".into(), section.into());
        }
        let gateway = self.gateway.as_ref().map(|gateway| gateway.to_table(|path| self.shown(path)));
        table.extend(gateway.map(|section| ("gateway".to_owned(), section.into())));
        let duties = self.duties.to_table(|path| self.shown(path));
        table.extend((!duties.is_empty()).then(|| ("duties".to_owned(), duties.into())));
        let metrics = self.metrics.map(|listen| Table::from_iter([("listen".to_owned(), text(&listen))]));
        table.extend(metrics.map(|section| ("metrics".to_owned(), section.into())));
        if !self.two_persons.is_empty() {
            let actions = Value::Array(self.two_persons.iter().map(|action| text(action)).collect());
            table.insert("administration".into(), Table::from_iter([("two_persons".to_owned(), actions)]).into());
        }
        let stamps = self.time_stamps.as_ref().map(|stamps| stamps.to_table(|path| self.shown(path)));
        table.extend(stamps.map(|section| ("time_stamps".to_owned(), section.into())));
        let revocation =
            self.revocation.as_ref().and_then(|section| revocation::to_value(section, |path| self.shown(path)));
        table.extend(revocation.map(|section| ("revocation".to_owned(), section)));
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
        for (name, sources) in [("tls", &self.tls_keys), ("node", &self.node_keys)] {
            let mut tables = sources.iter().map(|source| self.key_table(source));
            let value = match (tables.next(), sources.len()) {
                (Some(only), 1) => only,
                (first, _) => first.into_iter().chain(tables).collect::<Vec<Value>>().into(),
            };
            keys.insert(name.to_owned(), value);
        }
        table.insert("keys".into(), keys.into());
        let mut trust = Table::new();
        trust.insert("anchors".into(), self.shown(&self.trust.anchors));
        trust.extend(self.trust.intermediates.iter().map(|path| ("intermediates".to_owned(), self.shown(path))));
        trust.insert("crls".into(), self.trust.crls.iter().map(|path| self.shown(path)).collect::<Vec<Value>>().into());
        let policies: Vec<Value> = self.trust.policies.named().map(Value::from).collect();
        trust.extend((!policies.is_empty()).then(|| ("policies".to_owned(), policies.into())));
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

    /// Document systems that speak the axis SDK, with their secrets under the storage key.
    #[must_use]
    pub fn sdk_systems(&self) -> PathBuf {
        self.folder.join("keys").join("sdk-systems")
    }

    /// The gateway's secret on today's axis, under the storage key.
    #[must_use]
    pub fn gateway_secret(&self) -> PathBuf {
        self.folder.join("keys").join("gateway.secret")
    }

    /// What such systems ask of the axis operator.
    #[must_use]
    pub fn sdk_requests(&self) -> PathBuf {
        self.folder.join("sdk-requests.jsonl")
    }

    /// What is registered of webhooks.
    #[must_use]
    pub fn webhooks(&self) -> PathBuf {
        self.folder.join("webhooks.toml")
    }

    /// Folder of how far each webhook got.
    #[must_use]
    pub fn webhook_progress(&self) -> PathBuf {
        self.store().join("webhooks")
    }

    /// Folder of uploads in pieces, encrypted under the storage key.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.store().join("uploads")
    }

    /// Folder for what is on its way in, encrypted under keys that exist in memory alone.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.store().join("spool")
    }

    /// Folder of revocation lists and OCSP answers that were fetched or imported.
    #[must_use]
    pub fn revocations(&self) -> PathBuf {
        self.store().join("revocation")
    }

    /// Folder of proofs that somebody showed two histories, as files to hand on.
    #[must_use]
    pub fn forks(&self) -> PathBuf {
        self.store().join("forks")
    }

    /// Folder of notes on what was done at the machine, which a running node writes into its ledger.
    #[must_use]
    pub fn notes(&self) -> PathBuf {
        self.folder.join(NOTES)
    }

    /// The codes it serves.
    pub fn codes(&self) -> impl Iterator<Item = &AgencyId> {
        self.agencies.iter().map(|agency| &agency.code)
    }

    /// The tokens with keys of this node whose PIN a person gives.
    #[must_use]
    pub fn prompted(&self) -> Vec<&TokenSource> {
        let agencies = self.agencies.iter().flat_map(|agency| agency.service.iter().chain(&agency.sealing));
        TokenSource::prompted(agencies.chain(&self.node_keys))
    }

    fn shown(&self, path: &Path) -> Value {
        Value::String(path.strip_prefix(&self.folder).unwrap_or(path).display().to_string())
    }

    fn key_table(&self, source: &KeySource) -> Value {
        let pairs = self.key_pairs(source).into_iter();
        pairs.map(|(name, value)| (name, Value::String(value))).collect::<Table>().into()
    }

    /// What a key is named by.
    fn key_pairs(&self, source: &KeySource) -> Vec<(String, String)> {
        let shown = |path: &Path| path.strip_prefix(&self.folder).unwrap_or(path).display().to_string();
        let of_files = |pairs: [(&str, &PathBuf); 2]| pairs.map(|(name, path)| (name.to_owned(), shown(path))).into();
        match source {
            KeySource::Pem { certificate, key } => of_files([("certificate", certificate), ("key", key)]),
            KeySource::Pkcs12 { file, password_file } => of_files([("pkcs12", file), ("password_file", password_file)]),
            KeySource::Token(source) => {
                let TokenSource { module, token, object, pin, certificate } = source.as_ref();
                let pin = match pin {
                    PinSource::File(path) => ("pin_file", shown(path)),
                    PinSource::Credential(name) => ("pin_credential", name.clone()),
                    PinSource::Prompt => ("pin", "prompt".to_owned()),
                };
                let certificate = certificate.as_ref().map(|path| ("certificate", shown(path)));
                let own = [("pkcs11", shown(module)), ("token", token.clone()), ("object", object.to_string()), pin];
                own.into_iter().chain(certificate).map(|(name, value)| (name.to_owned(), value)).collect()
            }
        }
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
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
            [sdk]
            listen = "0.0.0.0:7445"
            path = "a b"
            [rest]
            listen = "0.0.0.0:7450"
            path = "/api"
            webhooks = ["https://qlvb.example.gov.vn/", "http://10.0.0.1/", 7]
            [metrics]
            listen = "nowhere"
            [administration]
            two_persons = ["token-made", "eaten", 7]
            [duties]
            send = "soon"
            [time_stamps]
            servers = [
                { url = "ftp://tsa.example/" },
                { url = "http://tsa.example/", policy = "1.2.x" },
                "http://tsa.example/",
                { policy = "1.2.3" },
            ]
            every_s = 61
            anchors = "none.pem"
            [keys]
            ledger = "keys/none"
            tls = 7
            [trust]
            crls = [1]
            policies = ["1.2.704", "1.2.x"]
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
            "sdk.listen: 0.0.0.0:7445 is not a loopback address",
            "sdk.path: ",
            "rest.listen: 0.0.0.0:7450 is not a loopback address",
            "rest.path: there is no such setting",
            "rest.webhooks: \"http://10.0.0.1/\": http is spoken with this machine alone",
            "rest.webhooks: 7: an address in quotes is wanted",
            "rest.webhook_anchors is missing",
            "time_stamps.servers[1]: not an address",
            "time_stamps.servers[2]: a policy is an OID",
            "time_stamps.servers[3]: { url",
            "time_stamps.servers[4].url is missing",
            "time_stamps.every_s: a number from 1 to 60",
            "time_stamps.anchors: there is no file",
            "keys.ledger: there is no file",
            "keys.witness is missing",
            "keys.tls: ",
            "keys.node: ",
            "trust.anchors is missing",
            "trust.crls[1]: a path",
            "trust.policies: a policy is an OID, as \"2.16.704.1.1\", and \"1.2.x\" is none",
            "metrics.listen: ",
            "administration.two_persons: \"token-made\"",
            "administration.two_persons: \"eaten\"",
            "administration.two_persons: 7",
            "duties.send: ",
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
            KeySource::beside(Path::new("a/service.p12")).unwrap(),
            KeySource::Pkcs12 { file: "a/service.p12".into(), password_file: "a/service.password".into() }
        );
        assert_eq!(
            KeySource::beside(Path::new("a/tls.pem")).unwrap(),
            KeySource::Pem { certificate: "a/tls.pem".into(), key: "a/tls.key".into() }
        );
    }

    #[test]
    fn a_key_in_a_token_is_named_by_a_file_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (module, pin) = (file("driver.so", ""), file("pin", "1234"));
        let good = "pkcs11 = \"driver.so\"\ntoken = \"HSM 1\"\nobject = \"id:0a01\"\npin_file = \"pin\"\n";
        let source = |pin| TokenSource {
            module: module.clone(),
            token: "HSM 1".into(),
            object: truc_signer::ObjectName::Id(vec![10, 1]),
            pin,
            certificate: None,
        };
        let named = |text: &str| KeySource::beside(&file("key.token", text));
        assert_eq!(named(good).unwrap(), KeySource::Token(Box::new(source(PinSource::File(pin.clone())))));
        let credential = good.replace("pin_file = \"pin\"", "pin_credential = \"hsm\"");
        assert_eq!(
            named(&credential).unwrap(),
            KeySource::Token(Box::new(source(PinSource::Credential("hsm".into()))))
        );
        let asked = good.replace("pin_file = \"pin\"", "pin = \"prompt\"");
        assert!(named(&asked).unwrap_err().to_string().contains("certificate"), "without its PIN the token shows none");
        file("chain.pem", "");
        let KeySource::Token(asked) = named(&format!("{asked}certificate = \"chain.pem\"\n")).unwrap() else {
            panic!("a token")
        };
        assert_eq!(asked.pin, PinSource::Prompt);
        let of_all = [KeySource::Token(asked.clone()), KeySource::Token(asked.clone())];
        assert_eq!(TokenSource::prompted(&of_all), [asked.as_ref()], "each token is asked for once");
        let bad = "pkcs11 = \"gone.so\"\nobject = \"01\"\npin_credential = \"../x\"\nlabel = \"k\"\n";
        let said = named(bad).unwrap_err().to_string();
        for mistake in ["gone.so", "token is missing", "object", "pin_credential", "label"] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
        let unnamed = KeySource::Token(Box::new(source(PinSource::Credential("truc-test".into()))));
        if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() {
            assert!(matches!(unnamed.load_signing().err(), Some(MaterialError::NoCredentials { .. })));
        }
        assert!(matches!(unnamed.load(), Err(MaterialError::NotInFile { .. })), "connections need a key in a file");
    }
}
