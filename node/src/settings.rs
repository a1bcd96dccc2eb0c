//! `truc-node.toml`: what a node is, where its files lie, whom it talks to. All mistakes are told at once, before anything binds.
//!
//! Paths are relative to the node's folder:
//! ```text
//! truc-node.toml   this file
//! keys/            ledger, witness and storage key, tokens, certificates with keys, what was declared stolen or lost; mode 0700, files 0600
//! trust/           anchors, intermediates, revocation lists, the pinned operator
//! store/           journal, blobs, snapshots, look-up index
//! directory/       the verified copy of the directory
//! sdk-requests.jsonl  what document systems ask of the axis operator
//! ```

mod duties;
pub mod edit;
mod files;
mod gateway;
mod read;
mod revocation;
mod stamps;
mod trust;

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use toml::{Table, Value};
use truc_evidence::ledger_origin;
use truc_ledger::StoreTag;
use truc_proto::{AdminAction, AgencyId, AxisId, Lane, NodeId, limits::SETTINGS_BYTES_MAX};
use truc_signer::Certificate;

use truc_link::{RevocationSettings, endpoint::Endpoint};

use truc_custody::stopped::Stopped;

pub use duties::DutySettings;
pub use gateway::GatewaySettings;
use read::Reader;
pub use stamps::StampSettings;
use truc_custody::read_certificates;
pub use truc_custody::{KeySource, MaterialError, PinSource, SettingsError, TokenSource};
pub use trust::TrustFiles;

/// Name of the settings file in a node's folder.
pub const SETTINGS_FILE: &str = "truc-node.toml";
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
    /// Where the local API listens; without a certificate a loopback address.
    pub local: SocketAddr,
    /// Certificate and key for the local API over TLS, where clients may show certificates; none: in the clear.
    pub local_tls: Option<KeySource>,
    /// The relay's address, `host:port`.
    pub relay: String,
    /// The relay's id in the directory.
    pub relay_id: NodeId,
    /// The agencies it serves.
    pub agencies: Vec<AgencySettings>,
    /// Certificates and keys for the connection to the relay; the directory says which one serves ([`truc_custody::Keyring`]).
    pub tls_keys: Vec<KeySource>,
    /// Certificates and keys that sign checkpoints; as above.
    pub node_keys: Vec<KeySource>,
    /// PKCS#8 DER of the ledger's Ed25519 key.
    pub ledger_key: PathBuf,
    /// PKCS#8 DER of the Ed25519 key that cosigns others' checkpoints; without the file this node is no witness.
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
    /// Keys that were declared stolen or lost.
    pub stopped: Arc<Stopped>,
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
        self.webhook_anchors.as_deref().map_or(Ok(Vec::new()), read_certificates)
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
        let settings = Self::parse(folder, &fs::read_to_string(&path).map_err(failed)?)?;
        let keys = folder.join("keys");
        let stopped = Stopped::load(&keys).map_err(|source| SettingsError::Read { path: keys, source })?;
        Ok(Self { stopped: Arc::new(stopped), ..settings })
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
        let mut reader = Reader::new(folder);
        let settings = reader.settings(table);
        match (settings, reader.into_mistakes()) {
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
        let mut local = Table::from_iter([("listen".to_owned(), text(&self.local))]);
        local.extend(self.local_tls.iter().map(|tls| ("tls".to_owned(), self.key_table(tls))));
        table.insert("local".into(), local.into());
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

    /// What documents' secrets of earlier epochs became under the storage key.
    #[must_use]
    pub fn document_keys(&self) -> PathBuf {
        self.store().join("document-keys")
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
        self.folder.join(truc_custody::deeds::NOTES)
    }

    /// The codes it serves.
    pub fn codes(&self) -> impl Iterator<Item = &AgencyId> {
        self.agencies.iter().map(|agency| &agency.code)
    }

    /// The tokens with keys of this node whose PIN a person gives.
    #[must_use]
    pub fn prompted(&self) -> Vec<&TokenSource> {
        let agencies = self.agencies.iter().flat_map(|agency| agency.service.iter().chain(&agency.sealing));
        let doors = self.sdk.iter().filter_map(|sdk| sdk.tls.as_ref());
        let doors = doors.chain(&self.local_tls).chain(self.rest.iter().filter_map(|rest| rest.tls.as_ref()));
        TokenSource::prompted(agencies.chain(&self.node_keys).chain(&self.tls_keys).chain(doors))
    }

    fn shown(&self, path: &Path) -> Value {
        Value::String(path.strip_prefix(&self.folder).unwrap_or(path).display().to_string())
    }

    fn key_table(&self, source: &KeySource) -> Value {
        source.to_value(&self.folder)
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
}
