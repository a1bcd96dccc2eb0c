//! The one wiring of a node: `truc-node serve`, `truc demo` and the tests call it.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, broadcast, mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tracing::{error, info, warn};
use truc_custody::{Keyring, SignedCheckpoints, Witness};
use truc_evidence::{AdmissionError, Directory, DirectoryWriter};
use truc_ledger::{LedgerKey, blobs::BlobStore, volume::DirVolume};
use truc_link::{Link, LinkTrust, NotAdmitted, Stamper};
use truc_proto::{
    Digest, KeyUse, NodeId,
    limits::CLIENT_STREAMS_MAX,
    node_v1::{
        administration_server::AdministrationServer, node_server::NodeServer, oversight_server::OversightServer,
    },
};
use truc_signer::{Certificate, path::TrustStore, storage::StorageKey};

use crate::{
    api::Api,
    archive::Archive,
    core::{Alarm, Core, Input, Policy},
    door::{Door, Speaks, Tls, secured},
    pipe::Pipes,
    pipeline::Pipeline,
    rest::{self, Rest},
    sdk::{self, Face, FaceFiles},
    service::certificates::Held,
    settings::{RestSettings, Settings, StampSettings},
    shell::{self, Shell, clock, engine::Engine},
    tokens::LiveTokens,
    uploads::{self, Uploads},
    vault::Vault,
    webhooks::{Store, Webhooks},
};

/// Most bytes of one message from a document system: 1 MiB of data and its frame.
const LOCAL_MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most calls at once on one local connection.
const LOCAL_CALLS_MAX: u32 = 256;
/// How often files of trust are looked at.
const TRUST_EVERY: Duration = Duration::from_secs(30);
/// What it calls itself to time-stamping authorities.
const AGENT: &str = concat!("truc-node/", env!("CARGO_PKG_VERSION"));
/// How long calls in progress may take at a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Makes the pipelines of a node: [`crate::pipe`]'s, or what a test puts in their place.
pub type MakePipeline =
    Box<dyn FnOnce(&Settings, Arc<BlobStore>, Arc<TrustStore>) -> anyhow::Result<MadePipeline> + Send>;

/// Reads the agencies' keys as settings name them.
pub type ReloadKeys = Box<dyn Fn(&Settings) -> anyhow::Result<()> + Send + Sync>;

/// Pipelines, and how they learn of newer trust files.
pub struct MadePipeline {
    /// The pipelines.
    pub pipeline: Arc<dyn Pipeline>,
    /// Takes newer anchors and revocation lists into use.
    pub set_trust: Box<dyn Fn(Arc<TrustStore>) + Send + Sync>,
    /// Reads the agencies' keys again; the old ones stay when one cannot be read.
    pub reload_keys: ReloadKeys,
}

impl std::fmt::Debug for MadePipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MadePipeline")
    }
}

/// The pipelines over the keys that settings name.
#[must_use]
pub fn default_pipeline() -> MakePipeline {
    Box::new(|settings, blobs, trust| {
        let pipes = Arc::new(Pipes::load(settings, trust, blobs).context("load the agencies' keys")?);
        let (trusting, opening) = (Arc::clone(&pipes), Arc::clone(&pipes));
        Ok(MadePipeline {
            pipeline: pipes,
            set_trust: Box::new(move |trust| trusting.set_trust(trust)),
            reload_keys: Box::new(move |settings| Ok(opening.reload_keys(settings)?)),
        })
    })
}

/// The sockets of a node.
#[derive(Debug)]
pub struct Doors {
    /// The local API's.
    pub local: TcpListener,
    /// The SDK listener's, where settings have one; none: it is bound where they say.
    pub sdk: Option<TcpListener>,
    /// The REST listener's, as above.
    pub rest: Option<TcpListener>,
}

impl From<TcpListener> for Doors {
    fn from(local: TcpListener) -> Self {
        Self { local, sdk: None, rest: None }
    }
}

/// A running node.
pub struct Running {
    /// Where the local API listens.
    pub address: SocketAddr,
    /// Where the SDK listener listens, when there is one.
    pub sdk: Option<SocketAddr>,
    /// Where the REST listener listens, when there is one.
    pub rest: Option<SocketAddr>,
    /// Where figures for monitoring are served, when they are.
    pub metrics: Option<SocketAddr>,
    shell: Arc<Shell>,
    stop: watch::Sender<bool>,
    reload: Arc<Notify>,
    dead: watch::Receiver<bool>,
    servers: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs a node until `shutdown` completes or its journal cannot be written.
///
/// # Errors
/// When it cannot start, with everything that stands against it; or when it had to stop by itself.
pub async fn run(
    settings: Settings,
    doors: impl Into<Doors>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut hang_up = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let running = start(settings, doors, default_pipeline()).await?;
    let mut dead = running.dead.clone();
    let mut shutdown = std::pin::pin!(shutdown);
    let died = loop {
        tokio::select! {
            () = &mut shutdown => break false,
            _ = dead.wait_for(|dead| *dead) => break true,
            Some(()) = hang_up.recv() => running.reload(),
        }
    };
    running.stop().await;
    if died {
        bail!("the journal refused records; see the log, make room on the disk, and start the node again");
    }
    Ok(())
}

/// Starts a node.
///
/// # Errors
/// When it cannot start: settings, keys, store, lane and directory that disagree are named.
pub async fn start(settings: Settings, doors: impl Into<Doors>, pipeline: MakePipeline) -> anyhow::Result<Running> {
    let Doors { local, sdk: sdk_door, rest: rest_door } = doors.into();
    let address = local.local_addr().context("read the local API's address")?;
    if settings.local_tls.is_none() && !address.ip().is_loopback() {
        bail!(
            "the local API listens on {address} without a certificate; set `local.tls`, or `local.listen` to a loopback address"
        );
    }
    let local_tls = match settings.local_tls.clone() {
        Some(source) => Some(Tls::open("local API", source, Speaks { protocol: b"h2", certificates: true }).await?),
        None => None,
    };
    let reload = Arc::new(Notify::new());
    let (stop, stopping) = watch::channel(false);
    let (dead_sender, dead) = watch::channel(false);
    let (effects, effect_receiver) = mpsc::unbounded_channel();
    let tokens = Arc::new(LiveTokens::open(&settings.tokens).context("read the bearer tokens")?);
    let trust_settings = settings.clone();
    let sdk_settings = settings.clone();
    let rest = match settings.rest.clone() {
        Some(rest) => Some((Door::open(rest::MANNERS, rest.listen, rest.tls.clone(), rest_door).await?, rest)),
        None => None,
    };
    let metrics = match settings.metrics {
        Some(address) => {
            Some(TcpListener::bind(address).await.with_context(|| format!("listen on {address} (metrics)"))?)
        }
        None => None,
    };
    let build = move || build(settings, pipeline, effects, stopping, dead_sender);
    let shell = tokio::task::spawn_blocking(build).await.context("open the node")??;
    let shell = Arc::new(shell);
    if shell::lock(&shell.restored).is_some() {
        let text = Some(
            "restored from a backup: nothing is signed before the relay has said whether it knows of anything newer"
                .into(),
        );
        shell.engine.tell(Input::Alarm { alarm: Alarm::Restored, text }).await?;
    }
    // What is not signed yet is signed once checkpoints are exchanged.
    shell.sign.notify_one();
    let sdk = open_sdk(&shell, &sdk_settings, sdk_door).await?;
    let sdk_address = sdk.as_ref().map(|(_, door)| door.address);
    let mut tasks = vec![
        tokio::spawn(shell::run_effects(Arc::clone(&shell), effect_receiver)),
        tokio::spawn(shell::run_timer(Arc::clone(&shell))),
        tokio::spawn(shell::run_signer(Arc::clone(&shell))),
        tokio::spawn(shell::run_witness(Arc::clone(&shell))),
        tokio::spawn(shell::run_link(Arc::clone(&shell))),
        tokio::spawn(crate::revocation::run(Arc::clone(&shell))),
        tokio::spawn(watch_trust(Arc::clone(&shell), trust_settings, Arc::clone(&reload))),
        tokio::spawn(crate::retention::run(Arc::clone(&shell))),
        tokio::spawn(crate::service::certificates::watch(Arc::clone(&shell))),
        tokio::spawn(crate::administration::run(Arc::clone(&shell))),
        tokio::spawn(crate::gateway::run(Arc::clone(&shell))),
    ];
    let mut servers = vec![tokio::spawn(serve(Arc::clone(&shell), Arc::clone(&tokens), local, local_tls))];
    if let Some((face, door)) = sdk {
        tasks.push(tokio::spawn(watch_sdk(Arc::clone(&face), Arc::clone(&shell))));
        servers.push(tokio::spawn(sdk::serve(face, door, shell.stopping.clone())));
    }
    let rest_address = rest.as_ref().map(|(door, _)| door.address);
    if let Some((door, rest)) = rest {
        let face = open_rest(&sdk_settings, rest, tokens, Arc::clone(&shell)).await?;
        tasks.push(tokio::spawn(uploads::sweep_on(Arc::clone(face.uploads()), Arc::clone(&shell))));
        servers.push(tokio::spawn(face.serve(door, shell.stopping.clone())));
    }
    let metrics = match metrics {
        Some(listener) => {
            let address = listener.local_addr().context("read the metrics listener's address")?;
            info!(%address, "metrics in the clear at /metrics");
            let inner = Arc::clone(&shell);
            let figures = move || crate::metrics::figures(Arc::clone(&inner));
            tasks.push(tokio::spawn(truc_link::serve_metrics(listener, figures)));
            Some(address)
        }
        None => None,
    };
    info!(node = %shell.node, lane = %shell.lane, %address, "node started");
    Ok(Running { address, sdk: sdk_address, rest: rest_address, metrics, shell, stop, reload, dead, servers, tasks })
}

impl Running {
    /// What the tasks share, for those that look inside (demo, tests).
    #[must_use]
    pub const fn shell(&self) -> &Arc<Shell> {
        &self.shell
    }

    /// Reads TLS key, agencies' keys and trust files again at once, whether or not they changed.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Stops: no new calls, those in progress end, the journal is closed with a snapshot.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let until = tokio::time::Instant::now() + DRAIN;
        for mut server in self.servers {
            if tokio::time::timeout_at(until, &mut server).await.is_err() {
                warn!("calls of document systems were cut off");
                server.abort();
            }
        }
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            let _ = task.await; // aborted, or ended
        }
        let shell = self.shell;
        let close = move || {
            shell.engine.stop();
            shell.archive.close();
            shell.ledger.clone().close();
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            error!("the journal was not closed cleanly; the next start recovers it");
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({}, {})", self.shell.node, self.address)
    }
}

/// What REST keeps on the disk: uploads and webhooks.
async fn open_rest(
    settings: &Settings,
    rest: RestSettings,
    tokens: Arc<LiveTokens>,
    shell: Arc<Shell>,
) -> anyhow::Result<Rest> {
    let settings = settings.clone();
    let open = move || -> anyhow::Result<_> {
        let key = Arc::new(StorageKey::load(&settings.storage_key).context("load the storage key")?);
        let folder = settings.uploads();
        let uploads = Uploads::open(&folder, Arc::clone(&key));
        let uploads = Arc::new(uploads.with_context(|| format!("open the uploads in {}", folder.display()))?);
        let store = Store::new(settings.webhooks(), settings.webhook_progress(), key);
        let anchors = rest.webhook_trust().context("load rest.webhook_anchors")?;
        let webhooks = Webhooks::open(store, rest.webhooks, &anchors, Arc::clone(&tokens), Arc::clone(&shell));
        Ok(Rest::new(shell, tokens, uploads, webhooks.context("open the webhooks")?))
    };
    tokio::task::spawn_blocking(open).await.context("open REST")?
}

/// How often the SDK's systems are looked at.
const SDK_EVERY: Duration = Duration::from_secs(5);

async fn open_sdk(
    shell: &Arc<Shell>,
    settings: &Settings,
    bound: Option<TcpListener>,
) -> anyhow::Result<Option<(Arc<Face>, Door)>> {
    let Some(sdk) = settings.sdk.clone() else { return Ok(None) };
    let door = Door::open(sdk::MANNERS, sdk.listen, sdk.tls, bound).await?;
    let (inner, settings) = (Arc::clone(shell), settings.clone());
    let open = move || -> anyhow::Result<_> {
        let key = StorageKey::load(&settings.storage_key).context("load the storage key")?;
        let files =
            FaceFiles { systems: settings.sdk_systems(), requests: settings.sdk_requests(), spool: settings.spool() };
        Face::open(inner, files, sdk.path, key).context("read the document systems")
    };
    let face = tokio::task::spawn_blocking(open).await.context("open the SDK listener")??;
    let codes = face.systems().context("read the document systems")?.codes();
    shell.engine.tell(Input::StatusReaders(codes)).await?;
    Ok(Some((Arc::new(face), door)))
}

/// Tells the core whose statuses are read one by one.
async fn watch_sdk(face: Arc<Face>, shell: Arc<Shell>) {
    let mut stopping = shell.stopping.clone();
    let mut known = BTreeSet::new();
    loop {
        match face.systems().map(|systems| systems.codes()) {
            Ok(codes) if codes != known => {
                known.clone_from(&codes);
                if shell.engine.tell(Input::StatusReaders(codes)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => warn!(error = crate::chain(&error), "the document systems cannot be read; nobody is let in"),
        }
        tokio::select! {
            () = tokio::time::sleep(SDK_EVERY) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// Everything that blocks: keys, trust, store, fold.
fn build(
    settings: Settings,
    pipeline: MakePipeline,
    effects: mpsc::UnboundedSender<crate::core::Effect>,
    stopping: watch::Receiver<bool>,
    dead: watch::Sender<bool>,
) -> anyhow::Result<Shell> {
    crate::service::certificates::finish_destroying(&settings).context("destroy the keys that were retired")?;
    crate::storage_key::finish(&settings).context("finish the rotation of the storage key")?;
    let revocations = crate::revocation::open(&settings)?;
    let trust = crate::revocation::trust(&settings, revocations.as_ref()).context("load the trust files")?;
    let trust = Arc::new(ArcSwap::from_pointee(trust));
    let operator = settings.trust.operator().context("load the pinned operator")?;
    let keyring = Keyring::load(&settings.tls_keys, &settings.node_keys, &settings.stopped)?;
    let origin = settings.origin();
    let ledger_key = LedgerKey::from_file(&origin, &settings.ledger_key).context("load the ledger key")?;
    let ledger_public = *ledger_key.public().public_key();
    let witness = Witness::open(&origin, &settings.witness_key).context("load the witness key")?;
    if witness.key().is_none() {
        warn!(file = %settings.witness_key.display(), "no witness key: this node does not cosign the relay's checkpoints; `truc-node bind` makes it, and nothing else changes");
    }
    let volume = Arc::new(DirVolume::create(settings.store()).context("open the store's folder")?);

    let restored = truc_evidence::restored(&settings.store()).context("look whether this node was restored")?;
    let restored = restored.map(|restored| restored.value().clone());
    if let Some(restored) = &restored {
        warn!(made = %restored.made, leaves = restored.leaves, "restored from a backup: nothing is signed before the relay has said whether it knows of anything newer");
    }

    let mut policy = Policy::new(settings.id.clone());
    policy.retention = settings.retention;
    policy.duties = Some(Arc::new(settings.duties.rules.clone()));
    if let Some(notice) = settings.duties.rules.notice(clock::now()) {
        warn!(notice, "the calendar of working days");
    }
    let mut core = Core::new(policy.clone());
    let opened = truc_ledger::open(
        Arc::clone(&volume) as _,
        settings.store_tag(),
        origin.clone(),
        ledger_key,
        truc_ledger::Settings::default(),
        &mut core,
    );
    let (ledger, recovered) = opened.context("open the journal")?;
    core.recovered();
    if core.next_position() != recovered.next_position.0 || core.next_leaf() != recovered.next_leaf {
        bail!(
            "the fold of the journal ends at {} and leaf {}, the journal at {} and leaf {}: this is a defect; remove the folder `snapshots` and start again",
            core.next_position(),
            core.next_leaf(),
            recovered.next_position,
            recovered.next_leaf
        );
    }
    info!(records = core.next_position(), leaves = core.next_leaf(), cut_bytes = recovered.cut_bytes, "journal folded");

    DirectoryWriter::clear(&settings.directory()).context("clear the directory's folder")?;
    let found =
        Directory::load(&settings.directory(), &operator, &trust.load(), &settings.axis, settings.lane, clock::now());
    let found = found.context("load the directory's verified copy; remove its folder to fetch it anew")?;
    if let Some(directory) = &found {
        check_directory(directory, &settings, &origin, &ledger_public, &keyring)?;
        directory.prepare_search();
    }
    let relay_id = settings.relay_id.clone();
    let now = clock::now();
    let entry = found.as_ref().and_then(|directory| directory.node(&settings.id)).map(|(_, entry)| entry);
    let tls = keyring.tls(entry, now).context("choose a TLS key")?.clone();
    let node_key = Arc::clone(keyring.node(entry, now).context("choose a node key")?);
    let directory = Arc::new(ArcSwapOption::from(found.map(Arc::new)));
    let link = Link::new(
        settings.lane,
        tls,
        LinkTrust::from(trust.load_full()),
        admission(Arc::clone(&directory), relay_id.clone()),
    );
    link.stop_presenting(keyring.stopped_tls());
    let blobs = Arc::new(BlobStore::open(volume).context("open the blob store")?);
    let made = pipeline(&settings, Arc::clone(&blobs), trust.load_full())?;
    let words = Vault::open(&settings)?.words()?;
    let archive = Archive::open(ledger.clone(), settings.store().join("index"), policy, words)
        .context("open the look-up index")?;
    let on_dead = move || _ = dead.send_replace(true);
    let engine = Engine::start(core, ledger.clone(), effects, on_dead).context("start the core's thread")?;
    let gateway = crate::gateway::Gateway::open(&settings).context("open the gateway to today's axis")?;
    let stamps = settings.time_stamps.as_ref();
    let stamper = stamps.map(|stamps| stamper(stamps, &trust.load())).transpose()?;
    let held = Held::all(&settings).context("load the certificates")?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2;
    Ok(Shell {
        axis: settings.axis.clone(),
        lane: settings.lane,
        node: settings.id.clone(),
        relay_id,
        relay_address: settings.relay.clone(),
        directory_folder: settings.directory(),
        engine,
        ledger,
        archive,
        blobs,
        gateway,
        pipeline: made.pipeline,
        set_trust: made.set_trust,
        reload_pipeline_keys: made.reload_keys,
        link,
        trust,
        revocations,
        revocation_folder: settings.revocations(),
        lists_changed: Notify::new(),
        revocation_changed: Notify::new(),
        trust_files: settings.trust.clone(),
        operator,
        directory,
        held: ArcSwap::from_pointee(held),
        node_key: RwLock::new(node_key),
        keyring: ArcSwap::from_pointee(keyring),
        changing_keys: tokio::sync::Mutex::default(),
        keys_changed: watch::Sender::new(()),
        directory_taken: Notify::new(),
        settings: ArcSwap::from_pointee(settings.clone()),
        stamper,
        sign_every: stamps.map_or(shell::SIGN_EVERY, |stamps| stamps.every),
        relay: watch::channel(None).0,
        relay_state: ArcSwap::from_pointee("connecting".to_owned()),
        may_sign: AtomicBool::new(false),
        signed_at_ms: AtomicI64::new(0),
        signed: SignedCheckpoints::default(),
        witness_misses: AtomicU32::new(0),
        witness_rests: Mutex::default(),
        store_folder: settings.store(),
        restored: Mutex::new(restored),
        forks_folder: settings.forks(),
        notes_folder: settings.notes(),
        two_persons: settings.two_persons.clone(),
        administering: Arc::default(),
        comparing: tokio::sync::Mutex::default(),
        witness,
        to_cosign: watch::Sender::new(None),
        sign: Notify::new(),
        arrivals: broadcast::channel(1_024).0,
        fresh_blobs: Mutex::new(HashMap::new()),
        workers: Arc::new(Semaphore::new(workers.max(4))),
        streams: Arc::new(Semaphore::new(CLIENT_STREAMS_MAX)),
        stopping,
        seen: Mutex::default(),
        archived_sequences: Mutex::default(),
        statistics: crate::service::statistics::Running::default(),
        entitled: Mutex::default(),
    })
}

fn stamper(settings: &StampSettings, trust: &TrustStore) -> anyhow::Result<Stamper> {
    let anchors = settings.trust().context("load time_stamps.anchors")?;
    let anchors = anchors.as_deref().unwrap_or(trust.anchors());
    Stamper::new(settings.servers.iter().cloned(), anchors, AGENT).context("open the way to time-stamping authorities")
}

/// A process whose lane, store, keys and directory disagree does not start, and says which (docs/ARCHITECTURE.md, lanes).
fn check_directory(
    directory: &Directory,
    settings: &Settings,
    origin: &str,
    ledger_key: &[u8; 32],
    keyring: &Keyring,
) -> anyhow::Result<()> {
    let Some((_, entry)) = directory.node(&settings.id) else {
        // Not bound yet: the operator's next version will have it.
        warn!(node = %settings.id, version = directory.version(), "the directory does not list this node yet");
        return Ok(());
    };
    let mut wrong = Vec::new();
    if entry.lane != settings.lane {
        wrong.push(format!(
            "the directory has {} on the {} lane, the settings on {}",
            settings.id, entry.lane, settings.lane
        ));
    }
    if entry.epoch < settings.epoch {
        warn!(
            directory = entry.origin,
            settings = origin,
            "the ledger has a new origin that the directory does not name yet: nothing is signed before it does"
        );
    } else if entry.origin != origin {
        wrong.push(format!("the directory names the ledger {}, the settings {origin}", entry.origin));
    }
    if entry.epoch >= settings.epoch && entry.ledger_key != *ledger_key {
        wrong.push("the ledger key is not the one that the directory names".into());
    }
    let listed = |sha256: Digest| entry.certificates.iter().any(|binding| binding.sha256 == sha256);
    for key_use in [KeyUse::Node, KeyUse::Tls] {
        for sha256 in keyring.certificates(key_use).iter().map(Certificate::sha256).filter(|sha256| !listed(*sha256)) {
            // Not fatal: a renewed certificate may be ahead of the directory.
            warn!(r#use = %key_use, %sha256, "the directory does not list this certificate for this node");
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("settings and directory version {} disagree: {}", directory.version(), wrong.join("; "))
}

fn admission(
    directory: Arc<ArcSwapOption<Directory>>,
    relay_id: NodeId,
) -> impl Fn(&Digest) -> Result<NodeId, NotAdmitted> + Send + Sync + 'static {
    move |fingerprint: &Digest| match directory.load().as_ref() {
        Some(directory) => match directory.admit(fingerprint, clock::now()) {
            Ok((_, entry)) => Ok(entry.id.clone()),
            Err(AdmissionError::Unknown { .. }) => Err(NotAdmitted::Unlisted(*fingerprint)),
            Err(AdmissionError::NotInForce { node }) => {
                let why = "the directory in force says so".to_owned();
                Err(NotAdmitted::NotInForce { fingerprint: *fingerprint, name: node, why })
            }
        },
        // Before the first directory there is nothing but the chain to the anchors. What comes is believed on the
        // operator's signature alone, and the connection is reviewed against it at once.
        None => Ok(relay_id.clone()),
    }
}

async fn serve(shell: Arc<Shell>, tokens: Arc<LiveTokens>, local: TcpListener, tls: Option<Tls>) {
    let secured_stopping = shell.stopping.clone();
    let mut stopping = shell.stopping.clone();
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let api = Api::new(Arc::clone(&shell), tokens);
    let oversight = OversightServer::new(api.clone());
    let administration = AdministrationServer::new(api.clone()).max_decoding_message_size(LOCAL_MESSAGE_BYTES_MAX);
    let service = NodeServer::new(api).max_decoding_message_size(LOCAL_MESSAGE_BYTES_MAX);
    health_reporter.set_serving::<NodeServer<Api>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(truc_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => reflection,
        Err(error) => return error!(%error, "the schema for reflection cannot be read"),
    };
    let shutdown = async move {
        let _ = stopping.wait_for(|stop| *stop).await; // an error: the node is gone already
    };
    let server = tonic::transport::Server::builder()
        .concurrency_limit_per_connection(LOCAL_CALLS_MAX as usize)
        .max_concurrent_streams(LOCAL_CALLS_MAX)
        .add_service(health)
        .add_service(reflection)
        .add_service(service)
        .add_service(oversight)
        .add_service(administration);
    let served = match tls {
        Some(tls) => server.serve_with_incoming_shutdown(secured(local, tls, secured_stopping), shutdown).await,
        None => server.serve_with_incoming_shutdown(TcpListenerStream::new(local), shutdown).await,
    };
    if let Err(error) = served {
        error!(error = crate::chain(&error), "the local API ended");
    }
}

/// Loads anchors and revocation lists again when their files change; connections that they refuse are closed.
///
/// Asked to (SIGHUP), it does so at once, and reads the TLS keys, the node's and the agencies' keys too, as the settings' file names them now.
async fn watch_trust(shell: Arc<Shell>, settings: Settings, asked: Arc<Notify>) {
    let mut stopping = shell.stopping.clone();
    let mut seen = modified(&settings);
    loop {
        let everything = tokio::select! {
            () = tokio::time::sleep(TRUST_EVERY) => false,
            () = shell.lists_changed.notified() => false,
            () = asked.notified() => true,
            _ = stopping.changed() => return,
        };
        // A certificate's time may have come.
        shell.use_keys();
        let now = modified(&settings);
        if now == seen && !everything {
            continue;
        }
        let (inner, from) = (Arc::clone(&shell), settings.clone());
        let reload = move || -> anyhow::Result<usize> {
            let trust = Arc::new(crate::revocation::trust(&from, inner.revocations.as_ref())?);
            if everything {
                inner.reload_keys()?;
            }
            let closed = inner.link.replace_trust(LinkTrust::from(Arc::clone(&trust)));
            (inner.set_trust)(Arc::clone(&trust));
            inner.trust.store(trust);
            Ok(closed)
        };
        match shell.work("loading trust files", reload).await {
            Ok(Ok(closed)) => {
                seen = now;
                shell.revocation_changed.notify_one();
                info!(closed, keys = everything, "trust files loaded again");
                if everything {
                    let _ = shell.engine.tell(Input::KeyBack).await; // what was held for want of a key
                }
                let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::RevocationUnknown, text: None }).await;
            }
            Ok(Err(error)) => {
                warn!(error = format!("{error:#}"), "keys or trust files not loaded; the old ones stay in force");
                let text = Some(format!("keys or trust files cannot be loaded, the old ones stay in force: {error:#}"));
                let _ = shell.engine.tell(Input::Alarm { alarm: Alarm::RevocationUnknown, text }).await;
            }
            Err(error) => warn!(%error, "trust files not loaded"),
        }
    }
}

fn modified(settings: &Settings) -> Vec<Option<SystemTime>> {
    let trust = &settings.trust;
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let mut times = vec![time(&trust.anchors), trust.intermediates.as_deref().and_then(time)];
    times.extend(trust.crls.iter().map(|path| time(path)));
    // A list that is taken is renamed into it.
    times.push(time(&settings.revocations()));
    times
}
