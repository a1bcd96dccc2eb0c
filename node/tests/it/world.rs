//! A development PKI, a relay and nodes in a temporary folder, made and run as an administrator would.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Request, metadata::MetadataValue, transport::Channel};
use truc_certs_dev::{
    AgencyPlan, HeldPort, KeyFiles, KeyKind, Plan, Tree,
    wait::{PATIENCE, in_time, until_async},
    write_tree,
};
use truc_evidence::{Directory, DirectoryDraft, PinnedOperator, verify_binding};
use truc_ledger::{LedgerKey, volume::DirVolume};
use truc_link::{ConnectSettings, Identity, Link, LinkTrust, NotAdmitted};
use truc_node::{
    InitRequest, Running, Settings,
    core::{Core, Effect, Input, Policy},
    init::AgencyInit,
    run::default_pipeline,
    settings::{KeySource, RestSettings, TrustFiles},
    shell::{Shell, clock::now},
};
use truc_proto::{
    AdminAction, AgencyEntry, AgencyId, AxisId, Digest, Entry, Lane, NodeId, Raw, Route, SignedBinding,
    node_v1::{self, node_client::NodeClient, send_request},
    relay_v1::{self as relay_wire, relay_client::RelayClient},
};
use truc_signer::{Certificate, Crl, SoftKey, TrustStore};

use crate::flows::status;

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) tree: Tree,
    relay: Option<(oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>)>,
    relay_address: SocketAddr,
    /// Nobody else gets it while the relay is away.
    _relay_port: HeldPort,
    nodes: BTreeMap<String, Node>,
    relay_metrics: Option<SocketAddr>,
    relay_stamps: Option<truc_relay::StampSettings>,
    draft_bindings: Vec<Raw<SignedBinding>>,
    directory: Option<Directory>,
}

struct Node {
    settings: Settings,
    token: String,
    running: Option<Running>,
}

pub(crate) type Client = NodeClient<Channel>;

fn axis() -> AxisId {
    "vn-test".parse().unwrap()
}

fn relay_id() -> NodeId {
    "R1".parse().unwrap()
}

impl World {
    /// Nodes `N-A` (G22) and `N-B` (H26, H26.18, H37), a relay, and a directory that also knows H02, closed in favour of H05.
    pub(crate) async fn start() -> Self {
        // RUST_LOG=info shows what the processes say.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init(); // the first test did
        let folder = tempfile::tempdir().unwrap();
        let agency = |code: &str, node: &str| AgencyPlan {
            code: code.into(),
            name: format!("Cơ quan {code}"),
            node: node.into(),
        };
        let agencies = vec![agency("G22", "N-A"), agency("H26", "N-B"), agency("H26.18", "N-B"), agency("H37", "N-B")];
        let plan = Plan { agencies, relay: "R1".into(), keys: KeyKind::P256, authority_keys: KeyKind::P256 };
        let tree = write_tree(&folder.path().join("pki"), &plan).unwrap();
        let relay_port = HeldPort::take().unwrap();
        let relay_address = relay_port.address().unwrap();
        let mut world = Self {
            folder,
            tree,
            relay: None,
            relay_address,
            _relay_port: relay_port,
            nodes: BTreeMap::new(),
            relay_metrics: None,
            relay_stamps: None,
            draft_bindings: Vec::new(),
            directory: None,
        };
        world.init_relay();
        world.init_node("N-A", &["G22"]);
        world.init_node("N-B", &["H26", "H26.18", "H37"]);
        world.start_relay().await;
        world.publish_first().await;
        for id in ["N-A", "N-B"] {
            world.start_node(id).await;
        }
        // Before that nothing can be sent, and much cannot be asked.
        for id in ["N-A", "N-B"] {
            until("the directory is there", || status(&world, id), |status| status.directory_version == 1).await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn anchors(&self) -> PathBuf {
        // The relay takes one file for roots and sub-CAs.
        let path = self.path("anchors.pem");
        let both = [self.tree.anchors(), self.tree.intermediates()].map(|path| std::fs::read(path).unwrap()).concat();
        std::fs::write(&path, both).unwrap();
        path
    }

    fn init_relay(&mut self) {
        let (tls, node) = (self.tree.relay("tls"), self.tree.relay("node"));
        let options = truc_relay::InitOptions {
            dir: self.path("relay"),
            axis: axis(),
            lane: Lane::Ordinary,
            id: relay_id(),
            listen: self.relay_address,
            tls: KeySource::Pem { certificate: tls.certificate, key: tls.key },
            node: KeySource::Pem { certificate: node.certificate, key: node.key },
            anchors: self.anchors(),
            operator: self.tree.operator_certificate(),
            crls: self.tree.crls().to_vec(),
            now: now(),
        };
        let made = truc_relay::init(&options).unwrap();
        self.draft_bindings.push(made.binding);
    }

    fn init_node(&mut self, id: &str, codes: &[&str]) {
        let source = |files: KeyFiles| KeySource::Pem { certificate: files.certificate, key: files.key };
        let agencies = codes.iter().map(|code| AgencyInit {
            code: code.parse().unwrap(),
            name: None,
            service: source(self.tree.agency(code, "service")),
            sealing: source(self.tree.agency(code, "sealing")),
        });
        let request = InitRequest {
            folder: self.path(id),
            axis: axis(),
            lane: Lane::Ordinary,
            id: id.parse().unwrap(),
            agencies: agencies.collect(),
            tls: source(self.tree.node(id, "tls")),
            node_key: source(self.tree.node(id, "node")),
            trust: TrustFiles {
                anchors: self.tree.anchors(),
                intermediates: Some(self.tree.intermediates()),
                crls: self.tree.crls().to_vec(),
                policies: truc_signer::PolicySettings::default(),
                operator: self.tree.operator_certificate(),
            },
            relay: self.relay_address.to_string(),
            relay_id: relay_id(),
            local: "127.0.0.1:0".parse().unwrap(),
            now: now(),
        };
        let made = truc_node::init(request).unwrap();
        let binding = Raw::<SignedBinding>::parse(made.binding_bytes.clone()).unwrap();
        self.draft_bindings.push(binding);
        let mut settings = made.settings;
        settings.rest = Some(RestSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            webhooks: Vec::new(),
            webhook_anchors: None,
        });
        settings.metrics = Some("127.0.0.1:0".parse().unwrap());
        let node = Node { settings, token: made.token.expose().to_owned(), running: None };
        self.nodes.insert(id.into(), node);
    }

    fn run_relay(&mut self, listener: TcpListener) {
        let settings = truc_relay::Settings::load(&self.path("relay")).unwrap();
        let settings =
            truc_relay::Settings { metrics: self.relay_metrics, time_stamps: self.relay_stamps.clone(), ..settings };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(truc_relay::run(settings, listener, async {
            let _ = stopped.await;
        }));
        self.relay = Some((stop, running));
    }

    pub(crate) async fn stop_relay(&mut self) {
        let (stop, running) = self.relay.take().unwrap();
        let _ = stop.send(());
        running.await.unwrap().unwrap();
    }

    pub(crate) async fn start_relay(&mut self) {
        let listener = TcpListener::bind(self.relay_address).await.unwrap();
        self.run_relay(listener);
    }

    pub(crate) async fn start_node(&mut self, id: &str) {
        let settings = self.nodes[id].settings.clone();
        let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = truc_node::start(settings, local, default_pipeline()).await.unwrap();
        self.nodes.get_mut(id).unwrap().running = Some(running);
    }

    pub(crate) async fn stop_node(&mut self, id: &str) {
        self.nodes.get_mut(id).unwrap().running.take().unwrap().stop().await;
    }

    /// How long the node keeps payloads; from its next start.
    pub(crate) fn set_retention(&mut self, id: &str, kept: Duration) {
        self.nodes.get_mut(id).unwrap().settings.retention = Some(kept);
    }

    /// What needs a second administrator; from its next start.
    pub(crate) fn two_persons(&mut self, id: &str, actions: &[AdminAction]) {
        self.nodes.get_mut(id).unwrap().settings.two_persons = actions.iter().copied().collect();
    }

    /// By when documents have to be dealt with; from its next start.
    pub(crate) fn set_duties(&mut self, id: &str, rules: truc_node::duties::DutyRules) {
        self.nodes.get_mut(id).unwrap().settings.duties.rules = rules;
    }

    /// Other settings; from its next start.
    pub(crate) fn set(&mut self, id: &str, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.nodes.get_mut(id).unwrap().settings);
    }

    pub(crate) fn settings(&self, id: &str) -> &Settings {
        &self.nodes[id].settings
    }

    pub(crate) fn reload(&self, id: &str) {
        self.nodes[id].running.as_ref().unwrap().reload();
    }

    pub(crate) fn shell(&self, id: &str) -> &Arc<Shell> {
        self.nodes[id].running.as_ref().unwrap().shell()
    }

    /// Sealed payloads on a node's disk.
    pub(crate) fn blobs(&self, id: &str) -> usize {
        let list = |folder: PathBuf| std::fs::read_dir(folder).map(|found| found.map(|entry| entry.unwrap().path()));
        let folders = list(self.path(id).join("store/b")).into_iter().flatten();
        folders.filter_map(|folder| Some(list(folder).ok()?.count())).sum()
    }

    /// What the node would do by itself a month later, with its journal alone: what is settled leaves memory.
    pub(crate) async fn close_settled(&self, id: &str) {
        let settings = self.nodes[id].settings.clone();
        let close = move || {
            let mut core = Core::new(Policy::new(settings.id.clone()));
            let origin = settings.origin();
            let key = LedgerKey::from_file(&origin, &settings.ledger_key).unwrap();
            let volume = Arc::new(DirVolume::create(settings.store()).unwrap());
            let of_ledger = truc_ledger::Settings::default();
            let (ledger, _) =
                truc_ledger::open(volume, settings.store_tag(), origin, key, of_ledger, &mut core).unwrap();
            core.recovered();
            let effects = core.handle(now() + Duration::from_secs(30 * 86_400), Input::Tick);
            assert!(core.sent().is_empty() && core.received().is_empty(), "all of it was settled");
            let append = |effect| if let Effect::Append(records) = effect { Some(records) } else { None };
            let records = effects.into_iter().find_map(append).unwrap();
            let (done, wait) = std::sync::mpsc::channel();
            ledger.submit(records, Box::new(move |_| done.send(()).unwrap())).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
            ledger.close();
        };
        tokio::task::spawn_blocking(close).await.unwrap();
    }

    /// Waits until nobody has anything left to hear from this node.
    pub(crate) async fn until_all_is_told(&self, id: &str) {
        let engine = &self.shell(id).engine;
        let untold = || async { engine.ask(|core| core.unsent().len()).await.unwrap() };
        until("others have all our leaves", untold, |untold| *untold == 0).await;
    }

    /// Waits until the look-up index of a node that was just started has everything.
    pub(crate) async fn until_indexed(&self, id: &str) {
        let archive = self.shell(id).archive.clone();
        in_time("the index", tokio::task::spawn_blocking(move || archive.wait())).await.unwrap();
    }

    /// Has the node look for payloads past their retention, which are so many.
    pub(crate) async fn until_forgotten(&self, id: &str, count: usize) {
        self.until_indexed(id).await;
        assert_eq!(truc_node::retention::pass(self.shell(id)).await, count);
    }

    pub(crate) fn node_folder(&self, id: &str) -> PathBuf {
        self.path(id)
    }

    /// Takes effect with the next start of the node.
    pub(crate) fn allow_webhooks(&mut self, id: &str, below: &str) {
        let rest = self.nodes.get_mut(id).unwrap().settings.rest.as_mut().unwrap();
        rest.webhooks = vec![below.parse().unwrap()];
    }

    /// The files of a node's TLS key.
    pub(crate) fn tls_key(&self, id: &str) -> KeyFiles {
        self.tree.node(id, "tls")
    }

    /// The files of the relay's TLS key.
    pub(crate) fn relay_tls_key(&self) -> KeyFiles {
        self.tree.relay("tls")
    }

    /// Its REST listener speaks https from its next start on.
    pub(crate) fn set_rest_tls(&mut self, id: &str) {
        let files = self.tls_key(id);
        let tls = KeySource::Pem { certificate: files.certificate, key: files.key };
        let rest = self.nodes.get_mut(id).unwrap().settings.rest.as_mut().unwrap();
        rest.tls = Some(tls);
    }

    /// Where its REST listener listens.
    pub(crate) fn rest(&self, id: &str) -> SocketAddr {
        self.nodes[id].running.as_ref().unwrap().rest.unwrap()
    }

    /// Where its figures for monitoring are.
    pub(crate) fn metrics(&self, id: &str) -> SocketAddr {
        self.nodes[id].running.as_ref().unwrap().metrics.unwrap()
    }

    /// Where the relay's figures are, from its next start on.
    pub(crate) fn relay_metrics(&mut self, address: SocketAddr) {
        self.relay_metrics = Some(address);
    }

    /// Who stamps the relay's checkpoints, from its next start on.
    pub(crate) fn relay_stamps(&mut self, stamps: truc_relay::StampSettings) {
        self.relay_stamps = Some(stamps);
    }

    pub(crate) fn token(&self, id: &str) -> &str {
        &self.nodes[id].token
    }

    pub(crate) async fn client(&self, id: &str) -> Client {
        NodeClient::new(self.channel(id).await)
    }

    pub(crate) async fn channel(&self, id: &str) -> Channel {
        let address = self.nodes[id].running.as_ref().unwrap().address;
        Channel::from_shared(format!("http://{address}")).unwrap().timeout(PATIENCE).connect().await.unwrap()
    }

    /// A request with the node's token.
    pub(crate) fn ask<T>(&self, id: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer: MetadataValue<_> = format!("Bearer {}", self.nodes[id].token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    pub(crate) fn trust(&self) -> TrustStore {
        let read = |path: &Path| Certificate::from_pem(&std::fs::read(path).unwrap()).unwrap();
        let crls =
            self.tree.crls().iter().flat_map(|path| Crl::from_pem(&std::fs::read(path).unwrap()).unwrap()).collect();
        TrustStore::new(read(&self.tree.anchors()), read(&self.tree.intermediates()), crls).unwrap()
    }

    pub(crate) fn pinned(&self) -> PinnedOperator {
        PinnedOperator::from_file_bytes(&std::fs::read(self.tree.operator_certificate()).unwrap()).unwrap()
    }

    fn operator(&self) -> SoftKey {
        let files = self.tree.operator();
        SoftKey::load_pem(&files.certificate, &files.key).unwrap()
    }

    async fn publish_first(&mut self) {
        let trust = self.trust();
        let mut draft = DirectoryDraft::new(axis(), Lane::Ordinary);
        let confirmed = truc_evidence::Confirmation { sealing: true, endorsement: true };
        for binding in &self.draft_bindings {
            let verified = verify_binding(binding, None, &trust, &axis(), Lane::Ordinary, now()).unwrap();
            draft.add(&verified, confirmed).unwrap();
        }
        draft.put(closed("H02", "H05")).unwrap();
        self.publish(&draft).await;
    }

    /// The next version, with `change` applied.
    pub(crate) async fn publish_next(&mut self, change: impl FnOnce(&mut DirectoryDraft)) {
        let mut draft = DirectoryDraft::following(self.directory.as_ref().unwrap()).unwrap();
        change(&mut draft);
        self.publish(&draft).await;
    }

    async fn publish(&mut self, draft: &DirectoryDraft) {
        let issued = now();
        let signed = draft.sign(&self.operator(), issued, issued + Duration::from_secs(86_400)).unwrap();
        let directory =
            Directory::verify(signed.clone(), &self.pinned(), &self.trust(), &axis(), Lane::Ordinary, issued).unwrap();
        let files = self.tree.relay("tls");
        let read = |path: &Path| std::fs::read(path).unwrap();
        let identity = Identity::from_pem(&read(&files.certificate), &read(&files.key)).unwrap();
        let anchors = read(&self.tree.anchors());
        let trust = LinkTrust::from_pem(&anchors, &read(&self.tree.intermediates()), &[]).unwrap();
        let relay = directory.relay().clone();
        let admit = move |fingerprint: &Digest| {
            let known = relay.certificates.iter().any(|binding| binding.sha256 == *fingerprint);
            if known { Ok(relay.id.clone()) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
        };
        let link = Link::new(Lane::Ordinary, identity, trust, admit);
        let address = self.relay_address.to_string();
        let relay_id = relay_id();
        let connected =
            until_async("a link to the relay", || link.connect(&address, &relay_id, ConnectSettings::default())).await;
        let head = relay_wire::DirectoryChunk { statement: signed.statement, cms: signed.cms, ..Default::default() };
        let entries = relay_wire::DirectoryChunk { entries: signed.entries, ..Default::default() };
        let chunks = tokio_stream::iter([head, entries]);
        let reply = RelayClient::new(connected.channel).publish_directory(chunks).await.unwrap().into_inner();
        assert!(reply.refused.is_none(), "{:?}", reply.refused);
        directory.verify_logged(&reply.logged.unwrap()).unwrap();
        self.directory = Some(directory);
    }
}

fn closed(code: &str, successor: &str) -> Entry {
    Entry::Agency(AgencyEntry {
        code: code.parse().unwrap(),
        names: vec![format!("Agency {code}")],
        parent: None,
        old_codes: vec![],
        valid_from: now().before(Duration::from_secs(86_400)),
        valid_to: Some(now().before(Duration::from_secs(3_600))),
        serves_until: None,
        successor: Some(successor.parse().unwrap()),
        route: Route::Native,
        node: None,
        lanes: vec![Lane::Ordinary],
        certificates: vec![],
    })
}

/// Asks again until what is wanted is there. Waits on nothing but the answer; gives up in the end with what it saw last.
pub(crate) async fn until<T: std::fmt::Debug, F: Future<Output = T>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let wanted = &wanted;
    until_async(what, || {
        let seen = ask();
        async move {
            let seen = seen.await;
            if wanted(&seen) { Ok(seen) } else { Err(seen) }
        }
    })
    .await
}

/// A document of fields and files.
pub(crate) fn document(
    idempotency_key: &str,
    sender: &str,
    recipients: &[&str],
    subject: &str,
    files: &[(&str, &[u8])],
) -> Vec<node_v1::SendRequest> {
    let form = node_v1::DocumentForm {
        subject: subject.into(),
        code_number: "7816".into(),
        code_notation: "VPCP-TTĐT".into(),
        promulgation_date: "2026/11/22".into(),
        place: "Hà Nội".into(),
        type_name: "Công văn".into(),
        content: subject.into(),
        signer_name: "Nguyễn Văn A".into(),
        signer_position: "Chánh văn phòng".into(),
        ..node_v1::DocumentForm::default()
    };
    let header = node_v1::SendHeader {
        idempotency_key: idempotency_key.into(),
        sender: sender.into(),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        groups: Vec::new(),
        priority: 0,
        priority_from_packet: false,
        level: "ordinary".into(),
        ttl_s: 0,
        form: Some(node_v1::send_header::Form::Document(form)),
    };
    let mut parts = vec![send_request::Part::Header(header)];
    for (name, bytes) in files {
        parts.push(send_request::Part::File(node_v1::FileHeader {
            name: (*name).into(),
            content_type: "application/pdf".into(),
            length: bytes.len() as u64,
        }));
        parts.extend(bytes.chunks(1 << 20).map(|chunk| send_request::Part::Data(chunk.to_vec().into())));
    }
    parts.into_iter().map(|part| node_v1::SendRequest { part: Some(part) }).collect()
}

pub(crate) fn code(text: &str) -> AgencyId {
    text.parse().unwrap()
}
