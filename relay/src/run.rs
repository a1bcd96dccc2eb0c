//! The one wiring of a relay: keys, trust, store, link, service, signer. Called by the binary, the demo and the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use truc_custody::{Keyring, SignedCheckpoints, Witness, cosignatures, deeds::NOTES, put_stamp};
use truc_evidence::{
    Attestation, Attestations, Directory, DirectoryWriter, NodeKind, PinnedOperator, checkpoint_signature,
    find_cms_line, sign_checkpoint,
};
use truc_ledger::{LedgerKey, volume::DirVolume};
use truc_link::{
    AcceptSettings, Link, LinkServer, LinkTrust, NotAdmitted, RevocationFolder, Revocations, StampError, Stamper, due,
};
use truc_proto::{
    Digest, KeyUse, NodeId, SignedNote, Timestamp,
    limits::{CRL_BYTES_MAX, PEM_BYTES_MAX, PKCS12_BYTES_MAX},
};
use truc_signer::{Certificate, CertificateUse, Crl, OcspAnswers, SigningKey, TrustStore, Verdict, validate};

use crate::{
    administration::{self, take_notes},
    core::{CoreSettings, DirectoryMark, SignedMark},
    keys::OwnKeys,
    metrics::Around,
    records::Body,
    revocation,
    service::{Service, ServiceSettings, is_the_one},
    settings::Settings,
    store::{Embedded, EmbeddedSettings, Store},
};

/// The operator's tool as the link names it, where its certificate is not in the directory.
const OPERATOR_TOOL: &str = "OPERATOR";
/// At least this long between two signatures of the certificate.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// Longest pause before the signer tries again while the key is away.
const SIGN_RETRY_MAX: Duration = Duration::from_secs(60);
/// How often the look-up index takes in what is new.
const INDEX_EVERY: Duration = Duration::from_secs(60);
/// How often files of certificates and revocation lists are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// How often payloads without a record are collected.
const SWEEP_EVERY: Duration = Duration::from_secs(86_400);

/// The machine's clock: the shell's, handed down as values.
#[must_use]
pub fn clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The trust store of the files as they are now.
pub(crate) fn trust_of(settings: &Settings) -> anyhow::Result<TrustStore> {
    let mut mistakes = Vec::new();
    let anchors = read(&settings.trust("anchors.pem"), PEM_BYTES_MAX, &mut Vec::new(), &mut mistakes);
    let lists = read_crls(settings, &mut Vec::new(), &mut mistakes);
    if let Some(mistake) = mistakes.first() {
        bail!("{mistake}");
    }
    trust_store(&anchors, &lists)
}

/// Keys and trust as the files say now.
struct Materials {
    keyring: Keyring,
    trust: Arc<TrustStore>,
    operator: PinnedOperator,
    /// Of all files, to see a change.
    digest: Digest,
}

/// Runs the relay until `shutdown` completes, then lets calls in progress finish and closes the store.
///
/// # Errors
/// When the settings, keys, store and directory do not fit together (all mistakes with files at once), or serving fails.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    // Before anything else: a SIGHUP that finds no handler ends the process.
    let hang_up = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let settings = Arc::new(settings);
    let starting = Arc::clone(&settings);
    let revocations = revocation::open(&settings)?;
    let answers = revocations.as_ref().map(|revocations| Arc::clone(revocations.answers()));
    let starting_answers = answers.clone();
    let (materials, store, directory) =
        tokio::task::spawn_blocking(move || prepare(&starting, starting_answers)).await??;
    let store = Arc::new(store);
    let service = make_service(&settings, &store, &materials, directory)?;
    let Materials { keyring, digest, trust, .. } = materials;
    let in_force = service.directories().borrow().clone();
    let (keys, identity) = OwnKeys::new(keyring, in_force.as_deref(), clock())?;
    let keys = Arc::new(keys);
    let link = Link::new(
        settings.lane,
        identity,
        LinkTrust::from(Arc::clone(&trust)),
        admission(&settings, &service, Arc::clone(&keys))?,
    );

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(follow_directory(link.clone(), Arc::clone(&service), Arc::clone(&keys), Arc::clone(&store)));
    tasks.spawn(follow_closings(Arc::clone(&store), service.directories(), clock));
    let signing = Arc::new(Signing {
        stamper: open_stamper(&settings, &trust)?,
        every: settings.time_stamps.as_ref().map_or(SIGN_EVERY, |stamps| stamps.every),
        signed: SignedCheckpoints::default(),
    });
    tasks.spawn(sign(Arc::clone(&store), Arc::clone(&service), Arc::clone(&keys), Arc::clone(&signing)));
    let lists_changed = Arc::new(tokio::sync::Notify::new());
    if let Some(revocations) = &revocations {
        let (revocations, changed) = (Arc::clone(revocations), Arc::clone(&lists_changed));
        tasks.spawn(revocation::fetch(revocations, Arc::clone(&service), link.clone(), changed));
    }
    tasks.spawn(revocation::look(Arc::clone(&service)));
    let reloading = Reloading { settings: Arc::clone(&settings), answers, lists_changed, store: Arc::clone(&store) };
    tasks.spawn(reload(reloading, hang_up, digest, link.clone(), Arc::clone(&service), keys));
    tasks.spawn(sweep(Arc::clone(&store)));
    tasks.spawn(advance_index(Arc::clone(&store)));
    tasks.spawn(take_notes(Arc::clone(&store), settings.dir.join(NOTES)));
    tasks.spawn(Arc::clone(&service).keep_forks(settings.forks_dir()));

    if let Some(address) = settings.metrics {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address} (metrics)"))?;
        let seen = Seen { link: link.clone(), revocations, signing, service: Arc::clone(&service) };
        tasks.spawn(metrics(listener, Arc::clone(&settings), seen, Arc::clone(&store)));
    }

    let (server, incoming) = link.listen(listener, AcceptSettings::default());
    tracing::info!(relay = %settings.id, lane = %settings.lane, address = ?server.address(), "relay ready");
    let serving =
        LinkServer::http().add_service(service.server()).serve_with_incoming_shutdown(incoming, server.draining());
    let serving = tokio::spawn(serving);
    let told = tokio::select! { () = shutdown => true, () = store.died() => false };
    tracing::info!("relay stopping");
    service.stop();
    server.drain(settings.drain).await;
    let served = serving.await;
    tasks.shutdown().await;
    let closing = Arc::clone(&store);
    tokio::task::spawn_blocking(move || closing.close()).await?;
    served?.context("serve")?;
    tracing::info!("relay stopped");
    if told { Ok(()) } else { Err(anyhow!("the store stopped by itself; the log says why; start the relay again")) }
}

/// Where figures for monitoring are read, besides the store.
struct Seen {
    link: Link,
    revocations: Option<Arc<Revocations>>,
    signing: Arc<Signing>,
    service: Arc<Service<Embedded>>,
}

async fn metrics(listener: TcpListener, settings: Arc<Settings>, seen: Seen, store: Arc<Embedded>) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics in the clear at /metrics");
    }
    let Seen { link, revocations, signing, service } = seen;
    let directories = service.directories();
    let figures = move || {
        let around = Around {
            nodes: link.peers().len(),
            directory: directories.borrow().as_ref().map_or(0, |directory| directory.version()),
            silenced: service.is_silenced(),
            key_away: link.key_fault().is_some(),
            lists: service.trust().lists(),
            answers: revocations.as_ref().map(|revocations| revocations.outcomes()).unwrap_or_default(),
            signed: &signing.signed,
            stamper: signing.stamper.as_ref(),
            witnesses: service.witness_states(),
        };
        let text = crate::metrics::figures(&store, settings.id.as_str(), settings.lane.as_str(), &around);
        std::future::ready(Some(text))
    };
    truc_link::serve_metrics(listener, figures).await;
}

/// `truc-relay reindex`: throws the look-up index away and builds it again. Blocks until it is whole.
///
/// # Errors
/// When the store does not open, or a relay is running on it.
pub fn reindex(settings: &Settings) -> anyhow::Result<()> {
    let lock_first = open_store(settings, false)?;
    match fs::remove_dir_all(settings.index_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", settings.index_dir().display()));
        }
        _ => {}
    }
    lock_first.close();
    drop(lock_first);
    let store = open_store(settings, true)?;
    store.wait_indexed();
    let state = store.index_state();
    store.close();
    if state.starts_with("ready") { Ok(()) } else { Err(anyhow!("the look-up index is not whole: {state}")) }
}

type InForce = Option<(Arc<Directory>, DirectoryMark)>;

fn prepare(settings: &Settings, answers: Option<Arc<OcspAnswers>>) -> anyhow::Result<(Materials, Embedded, InForce)> {
    let materials = load(settings, answers)?;
    let store = open_store(settings, true)?;
    let recovered = store.recovered();
    tracing::info!(
        records = recovered.next_position.0,
        leaves = recovered.next_leaf,
        cut_bytes = recovered.cut_bytes,
        "store open"
    );
    let directory = load_directory(settings, &store, &materials)?;
    Ok((materials, store, directory))
}

/// Reads every file, and says everything that is wrong with any of them.
fn load(settings: &Settings, answers: Option<Arc<OcspAnswers>>) -> anyhow::Result<Materials> {
    let mut mistakes = Vec::new();
    let mut all = Vec::new();
    for path in settings.tls_keys.iter().chain(&settings.node_keys).flat_map(|key| key.files()) {
        // A signing key's own file may be away; whether it may is said when it is loaded.
        read(path, PKCS12_BYTES_MAX, &mut all, &mut Vec::new());
    }
    all.extend(format!("{:?}{:?}", settings.tls_keys, settings.node_keys).into_bytes());
    let anchors_pem = read(&settings.trust("anchors.pem"), PEM_BYTES_MAX, &mut all, &mut mistakes);
    let operator_pem = read(&settings.trust("operator.pem"), PEM_BYTES_MAX, &mut all, &mut mistakes);
    let lists = read_crls(settings, &mut all, &mut mistakes);

    let mut keep = |what: &str, result: anyhow::Result<()>| {
        if let Err(error) = result {
            mistakes.push(format!("{what}: {error:#}"));
        }
    };
    let mut keyring = None;
    keep(
        "keys",
        Keyring::load(&settings.tls_keys, &settings.node_keys, &Arc::default()).map(|read| keyring = Some(read)),
    );
    let mut operator = None;
    keep(
        "trust/operator.pem",
        PinnedOperator::from_file_bytes(&operator_pem).map(|read| operator = Some(read)).map_err(Into::into),
    );
    let mut trust = None;
    let with_answers = |store: TrustStore| match answers {
        Some(answers) => store.with_answers(answers),
        None => store,
    };
    let policies = settings.policies.clone();
    let made = trust_store(&anchors_pem, &lists).map(|read| read.as_of(clock()).under_policies(policies));
    keep("trust", made.map(|read| trust = Some(with_answers(read))));
    if let (Some(trust), Some(keyring)) = (&trust, &keyring) {
        for (key_use, certificate_use) in [(KeyUse::Tls, CertificateUse::Tls), (KeyUse::Node, CertificateUse::Node)] {
            let certificates = keyring.certificates(key_use);
            for (certificate, judged) in
                certificates.iter().map(|one| (one, check_certificate(trust, one, certificate_use)))
            {
                match judged {
                    // One of several may be over: another serves.
                    Err(error) if certificates.len() > 1 => {
                        tracing::warn!(
                            certificate = certificate.subject(),
                            error = format!("{error:#}"),
                            "alarm: one of our own certificates is of no use"
                        );
                    }
                    judged => keep(certificate.subject(), judged),
                }
            }
        }
    }
    match (keyring, operator, trust, mistakes.is_empty()) {
        (Some(keyring), Some(operator), Some(trust), true) => {
            Ok(Materials { keyring, trust: Arc::new(trust), operator, digest: Digest::of(&all) })
        }
        _ => bail!("the relay in {} cannot start; correct:\n  - {}", settings.dir.display(), mistakes.join("\n  - ")),
    }
}

fn check_certificate(trust: &TrustStore, certificate: &Certificate, key_use: CertificateUse) -> anyhow::Result<()> {
    match validate(trust, certificate, key_use, clock())? {
        Verdict::Good => Ok(()),
        Verdict::Revoked { at, .. } => bail!("the certificate is revoked since {at}; put a new one in its place"),
        Verdict::Unknown(why) => {
            tracing::warn!(certificate = certificate.subject(), %why, "alarm: revocation status of our own certificate is unknown");
            Ok(())
        }
    }
}

fn trust_store(anchors_pem: &[u8], lists: &[Vec<u8>]) -> anyhow::Result<TrustStore> {
    let (anchors, intermediates) =
        Certificate::from_pem(anchors_pem)?.into_iter().partition(Certificate::is_self_issued);
    let mut crls = Vec::new();
    for list in lists {
        crls.extend(Crl::from_file_bytes(list)?);
    }
    Ok(TrustStore::new(anchors, intermediates, crls)?)
}

fn read(path: &Path, bytes_max: usize, all: &mut Vec<u8>, mistakes: &mut Vec<String>) -> Vec<u8> {
    let length = fs::metadata(path).map(|file| usize::try_from(file.len()).unwrap_or(usize::MAX));
    if length.as_ref().is_ok_and(|length| *length > bytes_max) {
        mistakes.push(format!("{}: longer than {bytes_max} bytes", path.display()));
        return Vec::new();
    }
    match fs::read(path) {
        Ok(bytes) => {
            all.extend_from_slice(&Digest::of(&bytes).0);
            bytes
        }
        Err(error) => {
            mistakes.push(format!("{}: {error}", path.display()));
            Vec::new()
        }
    }
}

fn read_crls(settings: &Settings, all: &mut Vec<u8>, mistakes: &mut Vec<String>) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(settings.trust("crl")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.extend(RevocationFolder::list_files(&settings.revocations_dir()));
    paths.iter().map(|path| read(path, CRL_BYTES_MAX, all, mistakes)).filter(|list| !list.is_empty()).collect()
}

fn open_store(settings: &Settings, with_index: bool) -> anyhow::Result<Embedded> {
    let origin = settings.origin();
    let key = LedgerKey::from_file(&origin, &settings.ledger_key())?;
    let volume =
        DirVolume::create(settings.store_dir()).with_context(|| format!("open {}", settings.store_dir().display()))?;
    let core = CoreSettings {
        relay: settings.id.clone(),
        open_envelopes_max: settings.open_envelopes_max,
        lease_ms: u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX),
    };
    let embedded = EmbeddedSettings {
        core,
        tag: settings.store_tag(),
        origin,
        snapshot_every: settings.snapshot_every,
        clock,
        ledger: truc_ledger::Settings::default(),
        index: with_index.then(|| settings.index_dir()),
    };
    Embedded::open(Arc::new(volume), key, embedded).context("open the store")
}

/// The version that the journal says is in force, and nothing else.
fn load_directory(settings: &Settings, store: &Embedded, materials: &Materials) -> anyhow::Result<InForce> {
    DirectoryWriter::clear(&settings.directories_dir()).context("clear the folder of directory versions")?;
    let Some(mark) = store.directory_at_start() else { return Ok(None) };
    let folder = settings.directories_dir().join(mark.version.to_string());
    let loaded =
        Directory::load(&folder, &materials.operator, &materials.trust, &settings.axis, settings.lane, clock());
    let directory = loaded.context("load the directory in force")?;
    let Some(directory) = directory else {
        bail!(
            "directory version {} is in force but {} is gone; put it back from a node's copy or the operator's",
            mark.version,
            folder.display()
        );
    };
    if !is_the_one(&directory, &mark) {
        bail!(
            "{} is not directory version {} that the journal names; put the right one back",
            folder.display(),
            mark.version
        );
    }
    let relay = directory.relay();
    let begun = relay.epoch < settings.epoch;
    if begun {
        tracing::warn!(
            directory = relay.origin,
            settings = settings.origin(),
            "the ledger has a new origin that the directory does not name yet: the operator must publish it"
        );
    }
    if relay.id != settings.id || (relay.origin != settings.origin() && !begun) {
        bail!(
            "the directory binds relay {} with ledger {}, the settings say {} with {}",
            relay.id,
            relay.origin,
            settings.id,
            settings.origin()
        );
    }
    Ok(Some((Arc::new(directory), mark)))
}

fn make_service(
    settings: &Settings,
    store: &Arc<Embedded>,
    materials: &Materials,
    directory: InForce,
) -> anyhow::Result<Arc<Service<Embedded>>> {
    let service = ServiceSettings {
        axis: settings.axis.clone(),
        lane: settings.lane,
        relay: settings.id.clone(),
        ledger_key: store.ledger().public_key().clone(),
        statements: LedgerKey::from_file(&settings.origin(), &settings.ledger_key())?,
        witness: Some(witness_key(settings)?),
        operator: materials.operator.clone(),
        restored: restored(settings, directory.is_some())?,
        store: settings.store_dir(),
        epoch: settings.epoch,
        directories: settings.directories_dir(),
        lease_ms: u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX),
        statement_every: settings.statement_every,
        clock,
    };
    Ok(Service::new(service, Arc::clone(store), Arc::clone(&materials.trust), directory))
}

/// The store, if the relay was restored from a backup and its peers have to be heard. Without a directory there are none.
fn restored(settings: &Settings, peers: bool) -> anyhow::Result<Option<PathBuf>> {
    let store = settings.store_dir();
    let restored = truc_evidence::restored(&store).context("look whether this relay was restored")?;
    let Some(restored) = restored else { return Ok(None) };
    if !peers {
        truc_evidence::forget_restored(&store)?;
        return Ok(None);
    }
    tracing::warn!(made = %restored.made, leaves = restored.leaves, "restored from a backup: nothing is signed before every node of the directory has shown what it holds of this relay");
    Ok(Some(store))
}

/// The key that cosigns nodes' checkpoints. Relays made before there was one go on without, until `truc-relay bind` makes it.
fn witness_key(settings: &Settings) -> anyhow::Result<Witness> {
    let path = settings.witness_key();
    let witness = Witness::open(&settings.origin(), &path).context("load the witness key")?;
    if witness.key().is_none() {
        tracing::warn!(file = %path.display(), "no witness key, as in relays made before there was one: this relay does not cosign nodes' checkpoints; `truc-relay bind` makes it, and nothing else changes");
    }
    Ok(witness)
}

/// Whom the directory lists may connect; beside them only the relay's own certificate and the operator's tool, to publish.
fn admission(
    settings: &Settings,
    service: &Arc<Service<Embedded>>,
    own: Arc<OwnKeys>,
) -> anyhow::Result<impl Fn(&Digest) -> Result<NodeId, NotAdmitted> + Send + Sync + 'static> {
    let directories = service.directories();
    let id = settings.id.clone();
    let tools = settings.operator_tls.clone();
    let operator: NodeId = OPERATOR_TOOL.parse().context("name the operator's tool")?;
    Ok(move |fingerprint: &Digest| {
        if let Some(directory) = directories.borrow().as_ref() {
            match directory.admit(fingerprint, clock()) {
                Ok((_, entry)) => return Ok(entry.id.clone()),
                Err(truc_evidence::AdmissionError::NotInForce { node }) => {
                    let why = "revoked, suspended or outside its time".into();
                    return Err(NotAdmitted::NotInForce { fingerprint: *fingerprint, name: node, why });
                }
                Err(truc_evidence::AdmissionError::Unknown { .. }) => {}
            }
        }
        if own.presents(fingerprint) {
            return Ok(id.clone());
        }
        if tools.contains(fingerprint) { Ok(operator.clone()) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
    })
}

async fn follow_directory(link: Link, service: Arc<Service<Embedded>>, keys: Arc<OwnKeys>, store: Arc<Embedded>) {
    let mut directories = service.directories();
    while directories.changed().await.is_ok() {
        let in_force = directories.borrow().clone();
        let took_over = keys.use_those_in_force(in_force.as_deref(), clock(), &link);
        write_down(&store, service.relay_id(), took_over).await;
        let (link, looking) = (link.clone(), Arc::clone(&service));
        let reviewed = tokio::task::spawn_blocking(move || {
            looking.look_for_witness();
            link.review()
        })
        .await;
        if let Ok(closed @ 1..) = reviewed {
            tracing::warn!(closed, "links closed: the new directory does not list them");
        }
    }
}

/// When the store was too busy to hear of it.
const CLOSINGS_RETRY: Duration = Duration::from_secs(1);
/// Longest sleep until the next closing: a clock that was set must not put it off for ever.
const NAP_MAX: Duration = Duration::from_secs(60);

/// Tells the store at each second at which codes go out of service, and with each new version, which they are: what waits for them is rejected
/// then, and goes to their successors.
async fn follow_closings<S: Store>(
    store: Arc<S>,
    mut directories: tokio::sync::watch::Receiver<Option<Arc<Directory>>>,
    clock: impl Fn() -> Timestamp,
) {
    let mut told: Option<(u64, usize)> = None;
    loop {
        let directory = directories.borrow_and_update().clone();
        let mut nap = NAP_MAX;
        if let Some(directory) = directory {
            let now = clock();
            let (out, next) = directory.out_of_service(now);
            nap = next.map_or(NAP_MAX, |next| next.since(clock()).min(NAP_MAX));
            // Codes only ever join as time passes; one that opens again comes with a version.
            let state = (directory.version(), out.len());
            if told.is_none_or(|(version, codes)| version != state.0 || codes < state.1) {
                let codes = out.len();
                match store.out_of_service(out).await {
                    Ok(()) => {
                        told = Some(state);
                        tracing::info!(version = state.0, codes, "codes out of service");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "codes that went out of service are told again");
                        nap = CLOSINGS_RETRY;
                    }
                }
            }
        }
        tokio::select! {
            changed = directories.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(nap) => {}
        }
    }
}

/// What signing with the certificate goes by, and what became of it.
struct Signing {
    stamper: Option<Stamper>,
    /// Least time between two signatures.
    every: Duration,
    signed: SignedCheckpoints,
}

/// Signs the newest durable checkpoint with the certificate, at most every second, when a node waits for it.
async fn sign(store: Arc<Embedded>, service: Arc<Service<Embedded>>, keys: Arc<OwnKeys>, signing: Arc<Signing>) {
    let every = signing.every;
    let mut pause = every;
    loop {
        tokio::select! {
            () = store.to_sign() => {}
            () = gain_due(&store, &service, signing.stamper.as_ref()) => {}
        }
        if service.is_silenced() {
            tokio::time::sleep(every).await;
            continue;
        }
        // The same tree keeps its signature and gains by what others say of it, so that nothing is lost by it.
        let signed = match store.signed_mark().filter(|signed| store.head().size <= signed.size) {
            Some(signed) => complete(&store, &service, signed, &signing).await,
            None => sign_newest(&store, &service, keys.signing(), &signing).await,
        };
        match signed {
            Ok(()) => pause = every,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    retry_s = pause.as_secs(),
                    "alarm: receipts stay provisional: the checkpoint is not signed"
                );
                pause = (pause * 2).min(SIGN_RETRY_MAX);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn sign_newest(
    store: &Embedded,
    service: &Service<Embedded>,
    key: Arc<dyn SigningKey>,
    signing: &Signing,
) -> anyhow::Result<()> {
    let head = store.head();
    let (size, mut note) = (head.size, head.note.clone());
    let certificate = key.certificate().sha256();
    let trust = service.trust();
    // Where no leaf waits for its first signature, there is time for witnesses.
    let urgent = store.unsigned() > 0;
    let signed = tokio::task::spawn_blocking(move || -> anyhow::Result<SignedNote> {
        // What a revoked certificate signs nobody believes; the ledger key's line stands.
        if let Ok(Verdict::Revoked { at, .. }) = validate(&trust, key.certificate(), CertificateUse::Node, clock()) {
            bail!("the relay's certificate is revoked since {at}; put a new one in its place");
        }
        sign_checkpoint(&mut note, key.as_ref(), clock())?;
        Ok(note)
    });
    let asked = Asked { size, urgent, stamp: Attestation::NotAsked };
    let (note, said) =
        with_what_others_say(service, signed.await??, &certificate, asked, signing.stamper.as_ref()).await;
    let cosignatures = cosignatures(&note);
    store.signed(size, note.to_string().into_bytes().into(), said).await?;
    signing.signed.add(said, cosignatures);
    store.gauges().signed_at.store(u64::try_from(clock().unix_s()).unwrap_or_default(), Ordering::Relaxed);
    Ok(())
}

/// Adds to a checkpoint that is signed what others did not say when it went out.
async fn complete(
    store: &Arc<Embedded>,
    service: &Service<Embedded>,
    signed: SignedMark,
    signing: &Signing,
) -> anyhow::Result<()> {
    let (reading, directory) = (Arc::clone(store), service.directories().borrow().clone());
    let read = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let Body::Signed(record) = reading.read(signed.position)?.body else {
            bail!("the signed checkpoint is not where it should be");
        };
        let note = SignedNote::parse(&record.note).context("read the signed checkpoint")?;
        let entry = directory.as_ref().map(|directory| directory.relay());
        // Another key may have taken over since.
        let line = entry.and_then(|entry| find_cms_line(&note, &entry.origin, entry, clock()));
        let certificate = line.map(|line| line.binding.sha256);
        Ok((note, certificate))
    });
    let (note, Some(certificate)) = read.await?? else { return Ok(()) };
    let asked = Asked { size: signed.size, urgent: false, stamp: signed.said.stamp };
    let (note, said) = with_what_others_say(service, note, &certificate, asked, signing.stamper.as_ref()).await;
    if said.there().exceeds(signed.said.there()) {
        let cosignatures = cosignatures(&note);
        store.signed(signed.size, note.to_string().into_bytes().into(), said).await?;
        signing.signed.completed(said, cosignatures);
    }
    Ok(())
}

/// What others are asked to say of a checkpoint.
struct Asked {
    size: u64,
    /// Proofs wait for it.
    urgent: bool,
    /// What is known of its time-stamp.
    stamp: Attestation,
}

/// What others add to a signed checkpoint before it is published: all are asked at once for what is not there, each within a budget of its own. Whatever does
/// not come in time is left out, and no call waits for any of this. With it goes what became of all.
async fn with_what_others_say(
    service: &Service<Embedded>,
    note: SignedNote,
    certificate: &Digest,
    asked: Asked,
    stamper: Option<&Stamper>,
) -> (SignedNote, Attestations) {
    let Asked { size, urgent, stamp } = asked;
    let stamping = async {
        if stamp == Attestation::There {
            return None;
        }
        time_stamp(&note, certificate, stamper, service.trust()).await
    };
    let (mut cosigned, token) = tokio::join!(service.cosigned_by_nodes(size, note.clone(), urgent), stamping);
    let stamp = put_stamp(&mut cosigned, certificate, stamp, stamper.is_some(), token);
    let directory = service.directories().borrow().clone();
    let cosignature = directory
        .map_or(Attestation::NobodyYet, |directory| directory.cosignature(NodeKind::Relay, &cosigned, clock()));
    (cosigned, Attestations { stamp, cosignature })
}

/// Completes when nodes have proofs with less than was wanted, and there is somebody to ask for what the newest checkpoint lacks.
async fn gain_due(store: &Embedded, service: &Service<Embedded>, stamper: Option<&Stamper>) {
    let is_due = || {
        let signed = store.signed_mark().filter(|_| store.unattested() > 0);
        signed.is_some_and(|signed| may_gain(service, stamper, signed.said))
    };
    due(|| std::future::ready(is_due())).await;
}

fn may_gain(service: &Service<Embedded>, stamper: Option<&Stamper>, said: Attestations) -> bool {
    said.may_gain(|| stamper.is_some_and(|stamper| !stamper.rests()), || service.may_ask_witnesses())
}

/// A time-stamp over the certificate's signature, where settings name authorities and one answers.
async fn time_stamp(
    note: &SignedNote,
    certificate: &Digest,
    stamper: Option<&Stamper>,
    trust: Arc<TrustStore>,
) -> Option<Vec<u8>> {
    let signature = checkpoint_signature(note, certificate)?;
    match stamper?.stamp(&signature, &trust).await {
        Ok(stamped) => Some(stamped.token),
        Err(StampError::Resting) => None,
        Err(error) => {
            tracing::warn!(%error, "alarm: receipts go out without time-stamps");
            None
        }
    }
}

fn open_stamper(settings: &Settings, trust: &TrustStore) -> anyhow::Result<Option<Stamper>> {
    let Some(stamps) = &settings.time_stamps else { return Ok(None) };
    let own = stamps.anchors.as_ref().map(|path| {
        let pem = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Certificate::from_pem(&pem).with_context(|| format!("read the certificates in {}", path.display()))
    });
    let own = own.transpose().context("load time_stamps.anchors")?;
    let anchors = own.as_deref().unwrap_or(trust.anchors());
    let agent = concat!("truc-relay/", env!("CARGO_PKG_VERSION"));
    Stamper::new(stamps.servers.iter().cloned(), anchors, agent)
        .map(Some)
        .context("open the way to time-stamping authorities")
}

/// What is read again, and when.
struct Reloading {
    settings: Arc<Settings>,
    answers: Option<Arc<OcspAnswers>>,
    lists_changed: Arc<tokio::sync::Notify>,
    store: Arc<Embedded>,
}

/// Takes new certificates, anchors and revocation lists over while running.
async fn reload(
    reloading: Reloading,
    mut hang_up: Signal,
    mut digest: Digest,
    link: Link,
    service: Arc<Service<Embedded>>,
    keys: Arc<OwnKeys>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RELOAD_EVERY) => {}
            () = reloading.lists_changed.notified() => {}
            _ = hang_up.recv() => {}
        }
        let (reading, link, service, keys) =
            (Arc::clone(&reloading.settings), link.clone(), Arc::clone(&service), Arc::clone(&keys));
        let (before, answers) = (digest, reloading.answers.clone());
        let relay = &reloading.settings.id;
        let loaded = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            // Which keys there are may have changed; everything else is read at the start alone.
            let named = Settings::load(&reading.dir)?;
            let reading =
                Settings { tls_keys: named.tls_keys, node_keys: named.node_keys, ..Settings::clone(&reading) };
            let materials = load(&reading, answers)?;
            let directory = service.directories().borrow().clone();
            if materials.digest != before {
                keys.replace(materials.keyring);
                let closed = link.replace_trust(LinkTrust::from(Arc::clone(&materials.trust)));
                service.replace_trust(materials.trust);
                tracing::info!(closed, "certificates and revocation lists taken over");
            }
            // A certificate's time may have come.
            let took_over = keys.use_those_in_force(directory.as_deref(), clock(), &link);
            Ok((materials.digest, took_over))
        });
        match loaded.await {
            Ok(Ok((new, took_over))) => {
                digest = new;
                write_down(&reloading.store, relay, took_over).await;
            }
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "new files are not used; the ones before stay in force")
            }
            Err(error) => tracing::error!(%error, "reading files ended in a panic"),
        }
    }
}

/// Keys that took over from others stand in the ledger. Without it they serve all the same: the directory says so, too.
async fn write_down(store: &Embedded, relay: &NodeId, took_over: Vec<(KeyUse, Certificate)>) {
    for (key_use, certificate) in took_over {
        if let Err(error) = store.administer(administration::took_over(relay, key_use, &certificate), None).await {
            tracing::warn!(%error, "that another key serves is not in the ledger");
        }
    }
}

/// Else the index would have only what was in the journal when the relay started.
async fn advance_index(store: Arc<Embedded>) {
    loop {
        tokio::time::sleep(INDEX_EVERY).await;
        store.advance_index();
    }
}

async fn sweep(store: Arc<Embedded>) {
    loop {
        match store.sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "payloads without a record removed"),
            Err(error) => tracing::warn!(%error, "payloads without a record were not collected"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
