//! Makes a node: its folder with keys, trust files, settings, a first token, and the request to be bound in the directory.
//!
//! Everything is checked first and written into a folder beside the final one, which takes its place at the end: a node is there
//! whole or not at all. Nothing is ever overwritten.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use truc_evidence::{MakeBindingError, bind_certificate, ledger_origin, make_binding};
use truc_ledger::{LedgerKey, LedgerKeyError};
use truc_proto::{
    AgencyEntry, AgencyId, AxisId, BindingRequest, CallerRole, CertificateBinding, Entry, KeyUse, Lane, NodeEntry,
    NodeId, NoteKey, Route, SealingAlgorithm, Timestamp, WitnessKey, limits::NODE_AGENCIES_MAX,
};
use truc_signer::{
    Certificate, CertificateUse, KeyKind, PathError, PolicySettings, SigningKey, StorageKey, StorageKeyError,
    TrustStore, Verdict, validate,
};

use crate::{
    quota::Quota,
    settings::{
        AgencySettings, KeySource, MaterialError, SETTINGS_FILE, Settings, SettingsError, TTL_DAYS_DEFAULT, TrustFiles,
        check_address,
    },
    tokens::{TokenError, TokenText, add_token, write_private},
};

/// Where the local API listens unless said otherwise.
pub const LOCAL_DEFAULT: &str = "127.0.0.1:7440";
/// Name of the token that `init` makes.
pub const FIRST_TOKEN: &str = "first";

/// `truc-node init`: what the administrator gives.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// Folder of the node; must not exist, or be empty.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Trust domain, e.g. `vn`; test networks have names of their own.
    #[arg(long)]
    pub axis: AxisId,
    /// Lane, for life: ordinary or classified.
    #[arg(long)]
    pub lane: Lane,
    /// Id of the node in the directory, e.g. N-H26.
    #[arg(long)]
    pub id: NodeId,
    /// An agency with its service and sealing certificates: CODE=SERVICE,SEALING. Files are X.p12 with X.password beside it,
    /// X.pem with X.key, or X.token, which says where in a PKCS#11 token the key is. Repeat for further agencies.
    #[arg(long = "agency", value_name = "CODE=SERVICE,SEALING", required = true)]
    pub agencies: Vec<AgencyArg>,
    /// Certificate and key of the connection to the relay.
    #[arg(long, value_name = "FILE")]
    pub tls: PathBuf,
    /// Certificate and key that sign the node's checkpoints; may be an X.token.
    #[arg(long, value_name = "FILE")]
    pub node_key: PathBuf,
    /// Root certificates, PEM.
    #[arg(long, value_name = "FILE")]
    pub anchors: PathBuf,
    /// Authorities between roots and subscribers, PEM.
    #[arg(long, value_name = "FILE")]
    pub intermediates: Option<PathBuf>,
    /// Revocation list, PEM or DER. Repeat for further ones.
    #[arg(long = "crl", value_name = "FILE")]
    pub crls: Vec<PathBuf>,
    /// The axis operator's certificate, PEM: whose directory is believed.
    #[arg(long, value_name = "FILE")]
    pub operator: PathBuf,
    /// The relay's address.
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: String,
    /// The relay's id in the directory.
    #[arg(long, value_name = "ID")]
    pub relay_id: NodeId,
    /// Where the local API listens.
    #[arg(long, value_name = "ADDRESS", default_value = LOCAL_DEFAULT)]
    pub local: SocketAddr,
}

/// `CODE=SERVICE,SEALING` of the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgencyArg {
    /// The code.
    pub code: AgencyId,
    /// The service certificate's file.
    pub service: PathBuf,
    /// The sealing certificate's file.
    pub sealing: PathBuf,
}

impl std::str::FromStr for AgencyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (code, files) = text.split_once('=')?;
            let (service, sealing) = files.split_once(',')?;
            (!service.is_empty() && !sealing.is_empty()).then_some((code, service, sealing))
        };
        let (code, service, sealing) =
            parts().ok_or("CODE=SERVICE,SEALING is wanted, e.g. H26=service.p12,sealing.p12")?;
        let code = code.parse().map_err(|error: truc_proto::AgencyIdError| error.to_string())?;
        Ok(Self { code, service: service.into(), sealing: sealing.into() })
    }
}

impl InitArgs {
    /// The same as a request.
    ///
    /// # Errors
    /// When an `X.token` that it names cannot be read.
    pub fn request(self, now: Timestamp) -> Result<InitRequest, SettingsError> {
        let agency = |agency: AgencyArg| -> Result<AgencyInit, SettingsError> {
            Ok(AgencyInit {
                code: agency.code,
                name: None,
                service: KeySource::beside(&agency.service)?,
                sealing: KeySource::beside(&agency.sealing)?,
            })
        };
        Ok(InitRequest {
            folder: self.dir,
            axis: self.axis,
            lane: self.lane,
            id: self.id,
            agencies: self.agencies.into_iter().map(agency).collect::<Result<_, _>>()?,
            tls: KeySource::beside(&self.tls)?,
            node_key: KeySource::beside(&self.node_key)?,
            trust: TrustFiles {
                anchors: self.anchors,
                intermediates: self.intermediates,
                crls: self.crls,
                policies: PolicySettings::default(),
                operator: self.operator,
            },
            relay: self.relay,
            relay_id: self.relay_id,
            local: self.local,
            now,
        })
    }
}

/// A node to be made. All files named are copied into its folder.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// Its folder; must not exist, or be empty.
    pub folder: PathBuf,
    /// The trust domain.
    pub axis: AxisId,
    /// The lane, for life.
    pub lane: Lane,
    /// Its id.
    pub id: NodeId,
    /// The agencies it serves.
    pub agencies: Vec<AgencyInit>,
    /// Certificate and key for the connection to the relay.
    pub tls: KeySource,
    /// Certificate and key that sign checkpoints.
    pub node_key: KeySource,
    /// Whom it trusts.
    pub trust: TrustFiles,
    /// The relay's address, `host:port`.
    pub relay: String,
    /// The relay's id in the directory.
    pub relay_id: NodeId,
    /// Where the local API listens; loopback. Port 0 is for tests.
    pub local: SocketAddr,
    /// Now.
    pub now: Timestamp,
}

/// An agency of a node to be made.
#[derive(Clone, Debug)]
pub struct AgencyInit {
    /// The code.
    pub code: AgencyId,
    /// Its name in the directory; none: the organisation in its service certificate.
    pub name: Option<String>,
    /// Certificate and key that sign containers.
    pub service: KeySource,
    /// Certificate and key that mail is sealed to.
    pub sealing: KeySource,
}

/// A node that was made.
#[derive(Debug)]
pub struct Initialised {
    /// What it is.
    pub settings: Settings,
    /// The request to be bound, for the operator: a file in the node's folder.
    pub binding: PathBuf,
    /// Its bytes.
    pub binding_bytes: Vec<u8>,
    /// The first bearer token of the local API, good for all codes. It cannot be shown again.
    pub token: TokenText,
}

/// Why no node was made. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something stands where the node would go.
    #[error("{} is there already and not empty; keys are never overwritten: name another folder, or move that away", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The request contradicts itself.
    #[error("{what}")]
    Request {
        /// How, and what to do.
        what: String,
    },
    /// A certificate, key or list.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A certificate that does not fit its use, or is not believed.
    #[error("the certificate in {} cannot be used", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: PathError,
    },
    /// A revoked certificate.
    #[error("the certificate in {} is revoked since {at}; ask the authority for a new one", path.display())]
    Revoked {
        /// Which file.
        path: PathBuf,
        /// Since when.
        at: Timestamp,
    },
    /// The ledger's or witness key.
    #[error(transparent)]
    LedgerKey(#[from] LedgerKeyError),
    /// The storage key.
    #[error(transparent)]
    StorageKey(#[from] StorageKeyError),
    /// The first token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The binding request.
    #[error(transparent)]
    Binding(#[from] MakeBindingError),
    /// The file system.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a node.
///
/// # Errors
/// [`InitError`]; nothing is left behind then.
pub fn init(request: InitRequest) -> Result<Initialised, InitError> {
    check(&request)?;
    let loaded = Loaded::load(&request)?;
    let draft = Draft::create(&request.folder)?;
    let made = write_node(&request, &loaded, &draft)?;
    draft.take_place()?;
    Ok(made)
}

fn check(request: &InitRequest) -> Result<(), InitError> {
    let wrong = |what: String| Err(InitError::Request { what });
    let folder = &request.folder;
    if folder.file_name().is_none() {
        return wrong(format!("{} cannot be a node's folder; name one to be made", folder.display()));
    }
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(InitError::Occupied { path: folder.clone() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Err(InitError::Occupied { path: folder.clone() }),
    }
    if request.agencies.is_empty() || request.agencies.len() > NODE_AGENCIES_MAX {
        return wrong(format!("a node serves 1 to {NODE_AGENCIES_MAX} agencies; name them with --agency"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = request.agencies.iter().find(|agency| !seen.insert(&agency.code)) {
        return wrong(format!("{} is named twice; name each agency once", twice.code));
    }
    if !check_address(&request.relay) {
        return wrong(format!("the relay's address {:?} is not host:port; correct it", request.relay));
    }
    if !request.local.ip().is_loopback() {
        return wrong(format!("{} is not a loopback address; the local API is for this machine", request.local));
    }
    Ok(())
}

/// All certificates with their keys, believed for their uses.
struct Loaded {
    tls: Certificate,
    node: Box<dyn SigningKey>,
    /// Service key and sealing certificate of each.
    agencies: Vec<(Box<dyn SigningKey>, Certificate)>,
}

impl Loaded {
    fn load(request: &InitRequest) -> Result<Self, InitError> {
        let trust = request.trust.load()?;
        request.trust.operator()?;
        let believed = |source: &KeySource, certificate: &Certificate, wanted| {
            check_use(source.path(), certificate, wanted, &trust, request.now)
        };
        let mut agencies = Vec::with_capacity(request.agencies.len());
        for agency in &request.agencies {
            let (service, sealing) = (agency.service.load_signing()?, agency.sealing.load_opening()?);
            believed(&agency.service, service.certificate(), CertificateUse::Service)?;
            believed(&agency.sealing, sealing.certificate(), CertificateUse::Sealing)?;
            agencies.push((service, sealing.certificate().clone()));
        }
        let ((tls, _), node) = (request.tls.load_identity()?, request.node_key.load_signing()?);
        believed(&request.tls, &tls, CertificateUse::Tls)?;
        believed(&request.node_key, node.certificate(), CertificateUse::Node)?;
        Ok(Self { tls, node, agencies })
    }
}

fn check_use(
    path: &Path,
    certificate: &Certificate,
    wanted: CertificateUse,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(), InitError> {
    let path = || path.to_owned();
    match validate(trust, certificate, wanted, now) {
        // A missing revocation list is shown by the running node; it is no reason not to make one.
        Ok(Verdict::Good | Verdict::Unknown(_)) => Ok(()),
        Ok(Verdict::Revoked { at, .. }) => Err(InitError::Revoked { path: path(), at }),
        Err(source) => Err(InitError::Certificate { path: path(), source }),
    }
}

/// The folder that is being filled, beside the final one; removed when dropped before it took its place.
struct Draft {
    at: PathBuf,
    place: PathBuf,
    done: bool,
}

impl Draft {
    fn create(place: &Path) -> Result<Self, InitError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".init-{}", std::process::id()));
        let at = place.with_file_name(name);
        if let Some(parent) = place.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|source| InitError::Write { path: parent.to_owned(), source })?;
        }
        private_folder(&at)?;
        let draft = Self { at, place: place.to_owned(), done: false };
        for folder in ["keys", "trust", "store", "directory"] {
            private_folder(&draft.at.join(folder))?;
        }
        Ok(draft)
    }

    fn take_place(mut self) -> Result<(), InitError> {
        let failed = |source| InitError::Write { path: self.place.clone(), source };
        for folder in ["keys", "trust", "."] {
            File::open(self.at.join(folder)).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        // Onto nothing or an empty folder; a folder that was filled meanwhile makes this fail.
        fs::rename(&self.at, &self.place).map_err(failed)?;
        self.done = true;
        let parent = self.place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|file| file.sync_all()).map_err(failed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            // It holds fresh keys that nobody has seen: best effort is enough.
            let _ = fs::remove_dir_all(&self.at);
        }
    }
}

fn private_folder(path: &Path) -> Result<(), InitError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|source| InitError::Write { path: path.to_owned(), source })
}

fn write_node(request: &InitRequest, loaded: &Loaded, draft: &Draft) -> Result<Initialised, InitError> {
    let here = |name: &str| draft.at.join(name);
    let origin = ledger_origin(&request.axis, request.lane, &request.id, 1);
    let ledger_pkcs8 = LedgerKey::generate_pkcs8()?;
    let witness_pkcs8 = LedgerKey::generate_pkcs8()?;
    let ledger = LedgerKey::from_pkcs8(&origin, &ledger_pkcs8)?;
    let witness = LedgerKey::from_pkcs8(&origin, &witness_pkcs8)?;
    write(&here("keys/ledger.pk8"), &ledger_pkcs8)?;
    write(&here("keys/witness.pk8"), &witness_pkcs8)?;
    StorageKey::create(&here("keys/storage.key"), 1)?;
    let token = add_token(
        &here("keys/tokens"),
        FIRST_TOKEN,
        CallerRole::Officer,
        BTreeSet::new(),
        Quota::default(),
        request.now,
    )?;

    let mut copier = Copier { draft };
    let settings = Settings {
        folder: request.folder.clone(),
        axis: request.axis.clone(),
        lane: request.lane,
        id: request.id.clone(),
        epoch: 1,
        local: request.local,
        relay: request.relay.clone(),
        relay_id: request.relay_id.clone(),
        agencies: copier.agencies(&request.agencies)?,
        tls_keys: vec![copier.key(&request.tls, "tls")?],
        node_keys: vec![copier.key(&request.node_key, "node")?],
        ledger_key: request.folder.join("keys/ledger.pk8"),
        witness_key: request.folder.join("keys/witness.pk8"),
        storage_key: request.folder.join("keys/storage.key"),
        tokens: request.folder.join("keys/tokens"),
        trust: copier.trust(&request.trust)?,
        ttl: Duration::from_secs(TTL_DAYS_DEFAULT * 86_400),
        retention: None,
        local_tls: None,
        sdk: None,
        rest: None,
        gateway: None,
        duties: crate::settings::DutySettings::default(),
        metrics: None,
        two_persons: BTreeSet::new(),
        time_stamps: None,
        revocation: None,
        stopped: std::sync::Arc::default(),
    };
    write(&here(SETTINGS_FILE), settings.to_toml().as_bytes())?;

    let entries = entries(request, loaded, &origin, ledger.public(), witness.public());
    let time = request.now;
    let binding = BindingRequest { axis: request.axis.clone(), lane: request.lane, time, entries };
    let mut keys: Vec<&dyn SigningKey> = vec![loaded.node.as_ref()];
    keys.extend(loaded.agencies.iter().map(|(service, _)| service.as_ref()));
    let binding_bytes = make_binding(binding, &ledger, &keys)?.bytes().to_vec();
    let name = format!("{}.binding", request.id);
    write(&here(&name), &binding_bytes)?;
    Ok(Initialised { settings, binding: request.folder.join(name), binding_bytes, token })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InitError> {
    write_private(path, bytes).map_err(|source| InitError::Write { path: path.to_owned(), source })
}

/// Copies files into the draft and tells where they will be.
struct Copier<'d> {
    draft: &'d Draft,
}

impl Copier<'_> {
    fn file(&mut self, from: &Path, to: &str) -> Result<PathBuf, InitError> {
        let bytes = fs::read(from)
            .map(zeroize::Zeroizing::new)
            .map_err(|source| MaterialError::Read { path: from.to_owned(), source })?;
        write(&self.draft.at.join(to), &bytes)?;
        Ok(self.draft.place.join(to))
    }

    fn key(&mut self, source: &KeySource, name: &str) -> Result<KeySource, InitError> {
        source.copied(|path, ending| self.file(path, &format!("keys/{name}.{ending}")))
    }

    fn agencies(&mut self, agencies: &[AgencyInit]) -> Result<Vec<AgencySettings>, InitError> {
        let copied = agencies.iter().map(|agency| {
            let service = vec![self.key(&agency.service, &format!("{}.service", agency.code))?];
            let sealing = vec![self.key(&agency.sealing, &format!("{}.sealing", agency.code))?];
            Ok(AgencySettings { code: agency.code.clone(), service, sealing })
        });
        copied.collect()
    }

    fn trust(&mut self, trust: &TrustFiles) -> Result<TrustFiles, InitError> {
        let anchors = self.file(&trust.anchors, "trust/anchors.pem")?;
        let intermediates = match &trust.intermediates {
            Some(path) => Some(self.file(path, "trust/intermediates.pem")?),
            None => None,
        };
        let mut crls = Vec::with_capacity(trust.crls.len());
        for (n, path) in trust.crls.iter().enumerate() {
            crls.push(self.file(path, &format!("trust/crl-{}.crl", n + 1))?);
        }
        let operator = self.file(&trust.operator, "trust/operator.pem")?;
        Ok(TrustFiles { anchors, intermediates, crls, policies: trust.policies.clone(), operator })
    }
}

/// The directory entries asked for.
fn entries(request: &InitRequest, loaded: &Loaded, origin: &str, ledger: &NoteKey, witness: &NoteKey) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(request.agencies.len() + 1);
    for (agency, (service, sealing)) in request.agencies.iter().zip(&loaded.agencies) {
        entries.push(Entry::Agency(AgencyEntry {
            code: agency.code.clone(),
            names: vec![agency.name.clone().unwrap_or_else(|| name_in(service.certificate()))],
            parent: agency.code.parent(),
            old_codes: Vec::new(),
            valid_from: request.now,
            valid_to: None,
            serves_until: None,
            successor: None,
            route: Route::Native,
            node: Some(request.id.clone()),
            lanes: vec![request.lane],
            certificates: bindings(service.certificate(), KeyUse::Service, sealing, KeyUse::Sealing),
        }));
    }
    entries.push(Entry::Node(NodeEntry {
        id: request.id.clone(),
        lane: request.lane,
        origin: origin.to_owned(),
        epoch: 1,
        ledger_key: *ledger.public_key(),
        witness_key: Some(WitnessKey(*witness.public_key())),
        certificates: bindings(loaded.node.certificate(), KeyUse::Node, &loaded.tls, KeyUse::Tls),
    }));
    entries
}

/// Two certificates, or one that does both.
fn bindings(one: &Certificate, one_use: KeyUse, other: &Certificate, other_use: KeyUse) -> Vec<CertificateBinding> {
    if one == other {
        return vec![binding(one, vec![one_use, other_use])];
    }
    vec![binding(one, vec![one_use]), binding(other, vec![other_use])]
}

pub(crate) fn binding(certificate: &Certificate, uses: Vec<KeyUse>) -> CertificateBinding {
    let algorithm = match certificate.public_key().kind() {
        KeyKind::Rsa { .. } => Some(SealingAlgorithm::RsaOaepSha256),
        KeyKind::P256 => Some(SealingAlgorithm::EcdhP256),
        KeyKind::P384 => None,
    };
    let algorithms = algorithm.filter(|_| uses.contains(&KeyUse::Sealing)).into_iter().collect();
    CertificateBinding { algorithms, ..bind_certificate(certificate, uses) }
}

/// The organisation, else the common name, else the whole subject. The operator sees and may correct it.
fn name_in(certificate: &Certificate) -> String {
    let subject = certificate.subject();
    let part = |wanted: &str| {
        let mut found = None;
        let mut rest = subject;
        while !rest.is_empty() {
            let end = end_of_part(rest);
            let (part, after) = rest.split_at(end);
            if let Some(value) = part.trim_start().strip_prefix(wanted) {
                found.get_or_insert_with(|| value.replace('\\', ""));
            }
            rest = after.strip_prefix(',').unwrap_or_default();
        }
        found.filter(|value| !value.trim().is_empty())
    };
    part("O=").or_else(|| part("CN=")).unwrap_or_else(|| subject.to_owned())
}

/// Up to the next comma that no backslash stands before (RFC 4514).
fn end_of_part(text: &str) -> usize {
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => return place,
            _ => {}
        }
    }
    text.len()
}
