//! A trust domain of its own for one test: a PKI in memory, folders made by the products' own `init`, an operator who signs, a relay and
//! nodes in this process. Everything can be stopped, started, bent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::Channel,
};
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Request, RevocationReason, Subject};
use truc_evidence::{
    Confirmation, Directory, DirectoryDraft, PinnedOperator, ReceiptReport, ReceiptTrust, ReceiptVerdict,
    verify_binding, verify_receipt,
};
use truc_link::{ConnectSettings, Identity, Link, LinkTrust, NotAdmitted};
use truc_node::{
    quota::Quota,
    settings::{KeySource, TrustFiles},
    tokens::add_token,
};
use truc_proto::{
    AxisId, CallerRole, Digest, Lane, NodeId, Raw, SignedBinding, SignedDirectory, Timestamp,
    node_v1::administration_client::AdministrationClient,
    relay_v1::{DirectoryChunk, PublishDirectoryReply, relay_client::RelayClient},
};
use truc_relay::InitOptions;
use truc_signer::{Certificate, Crl, SoftKey, TrustStore};
use truc_tests::{network::front::Front, wait::PATIENCE};

use super::{Api, in_time, until};

type Authorize = Box<dyn FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Send>;
/// The client of what cipher administrators do.
pub(crate) type Administration = AdministrationClient<InterceptedService<Channel, Authorize>>;

pub(crate) const AXIS: &str = "dev-it";
pub(crate) const RELAY: &str = "RELAY";
/// Names of administrators' tokens, each its own.
static ADMINISTRATORS: AtomicU32 = AtomicU32::new(0);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn now() -> Timestamp {
    truc_certs_dev::now()
}

/// A part that runs in this process.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

struct NodeState {
    token: String,
    running: Option<Running>,
}

/// The whole trust domain.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) pki: Pki,
    pub(crate) lane: Lane,
    operator: SoftKey,
    issued: BTreeMap<String, Issued>,
    pub(crate) draft: DirectoryDraft,
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) front: Front,
    pub(crate) relay: Option<Running>,
    nodes: BTreeMap<String, NodeState>,
}

impl World {
    /// Makes relay and nodes (id, codes), publishes version 1, starts everything, waits until all are connected.
    pub(crate) async fn start(nodes: &[(&str, &[&str])]) -> Self {
        Self::start_with(Lane::Ordinary, nodes, |settings| settings).await
    }

    /// The same on a lane, with other settings of the relay.
    pub(crate) async fn start_with(lane: Lane, nodes: &[(&str, &[&str])], settings: impl Fn(String) -> String) -> Self {
        let mut world = Self::make(lane, nodes).await;
        edit_file(&world.relay_folder().join(truc_relay::SETTINGS_FILE), settings);
        world.serve_relay().await;
        world.publish().await;
        for (id, _) in nodes {
            world.serve_node(id).await;
        }
        for (id, _) in nodes {
            world.api(id).until_connected().await;
        }
        world
    }

    /// Makes everything; nothing runs, nothing is published.
    pub(crate) async fn make(lane: Lane, nodes: &[(&str, &[&str])]) -> Self {
        let folder = TempDir::with_prefix("truc-it-").unwrap();
        let pki = Pki::new(KeyKind::P256, now()).unwrap();
        let operator = pki.issue(Profile::Operator, Subject::new("Đơn vị vận hành").organization("Trục DEV")).unwrap();
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(keys.join("operator.pem"), operator.leaf_pem()).unwrap();
        std::fs::write(keys.join("root.pem"), &pki.anchors_pem).unwrap();
        std::fs::write(keys.join("sub.pem"), &pki.intermediates_pem).unwrap();
        std::fs::write(keys.join("anchors.pem"), format!("{}{}", pki.anchors_pem, pki.intermediates_pem)).unwrap();
        std::fs::write(keys.join("lists.pem"), pki.crls_pem().unwrap()).unwrap();
        let mut world = Self {
            operator: SoftKey::from_pem(operator.certificate_pem.as_bytes(), operator.key_pem.as_bytes()).unwrap(),
            issued: BTreeMap::from([("operator".to_owned(), operator)]),
            draft: DirectoryDraft::new(AXIS.parse().unwrap(), lane),
            directory: None,
            front: Front::open().await,
            relay: None,
            nodes: BTreeMap::new(),
            folder,
            pki,
            lane,
        };
        let certificate = world.operator.certificate().clone();
        world.draft.put_operator(&certificate).unwrap();
        world.make_relay();
        for (id, codes) in nodes {
            world.make_node(id, codes);
        }
        world
    }

    fn axis() -> AxisId {
        AXIS.parse().unwrap()
    }

    /// Issues a certificate and writes it as `keys/NAME.pem` and `.key`.
    pub(crate) fn issue(&mut self, name: &str, request: Request) -> Issued {
        let issued = self.pki.issue_with(request).unwrap();
        self.write_key(name, &issued);
        self.issued.insert(name.to_owned(), issued.clone());
        issued
    }

    pub(crate) fn write_key(&self, name: &str, issued: &Issued) {
        let stem = self.folder.path().join("keys").join(name);
        std::fs::write(path_with(&stem, "pem"), &issued.certificate_pem).unwrap();
        write_private(&path_with(&stem, "key"), issued.key_pem.as_bytes());
    }

    pub(crate) fn issued(&self, name: &str) -> &Issued {
        self.issued.get(name).unwrap_or_else(|| panic!("no certificate {name}"))
    }

    pub(crate) fn soft_key(&self, name: &str) -> SoftKey {
        let issued = self.issued(name);
        SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    }

    pub(crate) fn key_source(&self, name: &str) -> KeySource {
        let stem = self.folder.path().join("keys").join(name);
        KeySource::Pem { certificate: path_with(&stem, "pem"), key: path_with(&stem, "key") }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(name)
    }

    pub(crate) fn node_folder(&self, id: &str) -> PathBuf {
        self.folder.path().join(id)
    }

    pub(crate) fn relay_folder(&self) -> PathBuf {
        self.folder.path().join("relay")
    }

    fn make_relay(&mut self) {
        self.issue("relay.tls", Request::new(Profile::Tls, KeyKind::P256, Subject::endpoint(RELAY)));
        self.issue(
            "relay.node",
            Request::new(Profile::Node, KeyKind::P256, Subject::new("Máy chuyển tiếp").organization("Trục DEV")),
        );
        let made = truc_relay::init(&self.relay_options(&self.relay_folder(), self.lane)).unwrap();
        self.bind(made.binding);
    }

    pub(crate) fn relay_options(&self, dir: &Path, lane: Lane) -> InitOptions {
        InitOptions {
            dir: dir.to_owned(),
            axis: Self::axis(),
            lane,
            id: RELAY.parse().unwrap(),
            listen: ([127, 0, 0, 1], 0).into(),
            tls: KeySource::Pem { certificate: self.file("relay.tls.pem"), key: self.file("relay.tls.key") },
            node: KeySource::Pem { certificate: self.file("relay.node.pem"), key: self.file("relay.node.key") },
            anchors: self.file("anchors.pem"),
            operator: self.file("operator.pem"),
            crls: vec![self.file("lists.pem")],
            now: now(),
        }
    }

    /// Issues what a node needs, makes its folder, and puts its request into the draft.
    pub(crate) fn make_node(&mut self, id: &str, codes: &[&str]) {
        self.issue(&format!("{id}.tls"), Request::new(Profile::Tls, KeyKind::P256, Subject::endpoint(id)));
        let subject = Subject::new(&format!("Nút trục {id}")).organization("Trục DEV");
        self.issue(&format!("{id}.node"), Request::new(Profile::Node, KeyKind::P256, subject));
        for code in codes {
            let subject =
                |what: &str| Subject::new(&format!("{what} {code}")).organization(&format!("Cơ quan {code} DEV"));
            self.issue(&format!("{code}.service"), Request::new(Profile::Service, KeyKind::P256, subject("Dịch vụ")));
            self.issue(&format!("{code}.sealing"), Request::new(Profile::Sealing, KeyKind::P256, subject("Niêm")));
        }
        let made = truc_node::init(self.node_request(id, codes))
            .unwrap_or_else(|error| panic!("{}", truc_node::chain(&error)));
        self.bind(Raw::<SignedBinding>::parse(made.binding_bytes).unwrap());
        self.nodes.insert(id.to_owned(), NodeState { token: made.token.expose().to_owned(), running: None });
    }

    pub(crate) fn node_request(&self, id: &str, codes: &[&str]) -> truc_node::InitRequest {
        let agency = |code: &&str| truc_node::init::AgencyInit {
            code: code.parse().unwrap(),
            name: None,
            service: self.key_source(&format!("{code}.service")),
            sealing: self.key_source(&format!("{code}.sealing")),
        };
        truc_node::InitRequest {
            folder: self.node_folder(id),
            axis: Self::axis(),
            lane: self.lane,
            id: id.parse().unwrap(),
            agencies: codes.iter().map(agency).collect(),
            tls: self.key_source(&format!("{id}.tls")),
            node_key: self.key_source(&format!("{id}.node")),
            trust: TrustFiles {
                anchors: self.file("root.pem"),
                intermediates: Some(self.file("sub.pem")),
                crls: vec![self.file("lists.pem")],
                policies: truc_signer::PolicySettings::default(),
                operator: self.file("operator.pem"),
            },
            relay: self.front.address().to_string(),
            relay_id: RELAY.parse().unwrap(),
            local: ([127, 0, 0, 1], 0).into(),
            now: now(),
        }
    }

    /// Puts a request into the draft, as the operator does who has checked it.
    pub(crate) fn bind(&mut self, binding: Raw<SignedBinding>) {
        self.take(&binding, Confirmation { sealing: true, endorsement: true });
    }

    /// Takes a binding request into the draft, with what the operator confirms.
    pub(crate) fn take(&mut self, binding: &Raw<SignedBinding>, confirmed: Confirmation) {
        let verified =
            verify_binding(binding, self.directory.as_deref(), &self.trust(), &Self::axis(), self.lane, now());
        self.draft.add(&verified.unwrap(), confirmed).unwrap();
    }

    /// Anchors, sub-CA and the newest revocation lists.
    pub(crate) fn trust(&self) -> TrustStore {
        let anchors = Certificate::from_pem(self.pki.anchors_pem.as_bytes()).unwrap();
        let intermediates = Certificate::from_pem(self.pki.intermediates_pem.as_bytes()).unwrap();
        let lists = Crl::from_pem(self.pki.crls_pem().unwrap().as_bytes()).unwrap();
        TrustStore::new(anchors, intermediates, lists).unwrap()
    }

    pub(crate) fn pinned(&self) -> PinnedOperator {
        PinnedOperator::new(truc_signer::SigningKey::certificate(&self.operator).clone())
    }

    /// The operator's certificate, as whoever verifies is given it.
    pub(crate) fn pinned_der(&self) -> Vec<u8> {
        truc_signer::SigningKey::certificate(&self.operator).der().to_vec()
    }

    pub(crate) fn link_trust(&self) -> LinkTrust {
        LinkTrust::from_pem(self.pki.anchors_pem.as_bytes(), self.pki.intermediates_pem.as_bytes(), &[]).unwrap()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let issued = self.issued(name);
        Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    }

    /// Signs the draft as the next version.
    pub(crate) fn sign(&self) -> SignedDirectory {
        self.sign_until(now() + 30 * DAY)
    }

    pub(crate) fn sign_until(&self, valid_until: Timestamp) -> SignedDirectory {
        self.draft.sign(&self.operator, now(), valid_until).unwrap()
    }

    /// Signs the draft as issued at another moment.
    pub(crate) fn sign_as_of(&self, issued: Timestamp) -> SignedDirectory {
        self.draft.sign(&self.operator, issued, issued + 30 * DAY).unwrap()
    }

    /// The same, verified.
    pub(crate) fn verified(&self, signed: SignedDirectory) -> Directory {
        Directory::verify(signed, &self.pinned(), &self.trust(), &Self::axis(), self.lane, now()).unwrap()
    }

    /// Signs the draft, brings it to the relay, and takes it as the base of the next version.
    pub(crate) async fn publish(&mut self) {
        self.publish_signed(self.sign()).await;
    }

    /// As [`World::publish`], with a version that is signed.
    pub(crate) async fn publish_signed(&mut self, signed: SignedDirectory) {
        let reply = self.bring(signed.clone()).await;
        assert!(reply.refused.is_none(), "{:?}", reply.refused);
        let directory = self.verified(signed);
        directory.verify_logged(&reply.logged.unwrap()).unwrap();
        self.draft = DirectoryDraft::following(&directory).unwrap();
        self.directory = Some(Arc::new(directory));
    }

    /// Publishes a version and waits until these nodes use it.
    pub(crate) async fn publish_to(&mut self, nodes: &[&str]) {
        self.publish_signed_to(self.sign(), nodes).await;
    }

    /// As [`World::publish_to`], with a version that is signed.
    pub(crate) async fn publish_signed_to(&mut self, signed: SignedDirectory, nodes: &[&str]) {
        self.publish_signed(signed).await;
        let version = self.directory().version();
        for id in nodes {
            let api = self.api(id);
            until("the node uses the new directory", || async {
                api.status().await.filter(|s| s.directory_version == version)
            })
            .await;
        }
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(self.directory.as_ref().unwrap())
    }

    /// Brings a signed version to the relay as the operator does.
    pub(crate) async fn bring(&self, signed: SignedDirectory) -> PublishDirectoryReply {
        let relay = self.issued("relay.tls").fingerprint();
        let admission = move |fingerprint: &Digest| {
            if *fingerprint == relay {
                Ok(RELAY.parse::<NodeId>().unwrap())
            } else {
                Err(NotAdmitted::Unlisted(*fingerprint))
            }
        };
        let link = Link::new(self.lane, self.identity("relay.tls"), self.link_trust(), admission);
        let address = self.relay_address().to_string();
        let relay_id = RELAY.parse().unwrap();
        let connected = until("a link to the relay", || link.connect(&address, &relay_id, patiently())).await;
        let mut chunks =
            vec![DirectoryChunk { statement: signed.statement, cms: signed.cms, ..DirectoryChunk::default() }];
        chunks.push(DirectoryChunk { entries: signed.entries, ..DirectoryChunk::default() });
        RelayClient::new(connected.channel).publish_directory(tokio_stream::iter(chunks)).await.unwrap().into_inner()
    }

    /// Where the relay itself listens, not the address that nodes know.
    pub(crate) fn relay_address(&self) -> SocketAddr {
        self.relay.as_ref().unwrap().address
    }

    pub(crate) async fn serve_relay(&mut self) {
        let settings = truc_relay::Settings::load(&self.relay_folder()).unwrap();
        let (listener, address) = free_port().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { truc_relay::run(settings, listener, async { _ = stopped.await }).await });
        self.relay = Some(Running { stop, task, address });
        self.front.lead_to(Some(address));
    }

    /// What the relay says instead of starting.
    pub(crate) async fn relay_refuses_to_start(&self) -> String {
        let settings = match truc_relay::Settings::load(&self.relay_folder()) {
            Ok(settings) => settings,
            Err(error) => return error.to_string(),
        };
        let (listener, _) = free_port().await;
        let ended = in_time("the relay to refuse", truc_relay::run(settings, listener, std::future::pending())).await;
        format!("{:#}", ended.unwrap_err())
    }

    /// What a node says instead of starting.
    pub(crate) async fn node_refuses_to_start(&self, id: &str) -> String {
        let settings = match truc_node::Settings::load(&self.node_folder(id)) {
            Ok(settings) => settings,
            Err(error) => return error.to_string(),
        };
        let (listener, _) = free_port().await;
        let ended = in_time("the node to refuse", truc_node::run(settings, listener, std::future::pending())).await;
        format!("{:#}", ended.unwrap_err())
    }

    pub(crate) async fn stop_relay(&mut self) {
        self.front.lead_to(None);
        self.relay.take().unwrap().stop().await;
    }

    pub(crate) async fn serve_node(&mut self, id: &str) {
        let settings = truc_node::Settings::load(&self.node_folder(id)).unwrap();
        let (listener, address) = free_port().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { truc_node::run(settings, listener, async { _ = stopped.await }).await });
        self.nodes.get_mut(id).unwrap().running = Some(Running { stop, task, address });
    }

    pub(crate) async fn stop_node(&mut self, id: &str) {
        self.nodes.get_mut(id).unwrap().running.take().unwrap().stop().await;
    }

    pub(crate) fn node_address(&self, id: &str) -> SocketAddr {
        self.nodes[id].running.as_ref().unwrap().address
    }

    /// A token for all codes of a node.
    pub(crate) fn token(&self, id: &str) -> &str {
        &self.nodes[id].token
    }

    /// A document system of a node, with a token for all its codes.
    pub(crate) fn api(&self, id: &str) -> Api {
        Api::new(self.node_address(id), Some(&self.nodes[id].token))
    }

    /// The cipher administrator of a node.
    pub(crate) async fn administration(&self, id: &str) -> Administration {
        let channel =
            Channel::from_shared(format!("http://{}", self.node_address(id))).unwrap().connect().await.unwrap();
        let tokens = self.node_folder(id).join("keys/tokens");
        let name = format!("lan-{}", ADMINISTRATORS.fetch_add(1, Ordering::Relaxed));
        let codes = std::collections::BTreeSet::new();
        let token = add_token(&tokens, &name, CallerRole::CipherAdmin, codes, Quota::default(), now()).unwrap();
        let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.expose()).parse().unwrap();
        AdministrationClient::with_interceptor(
            channel,
            Box::new(move |mut request: tonic::Request<()>| {
                request.metadata_mut().insert("authorization", bearer.clone());
                Ok(request)
            }),
        )
    }

    /// Puts a certificate on the revocation list.
    pub(crate) fn revoke(&mut self, name: &str, at: Timestamp) {
        let issued = self.issued(name).clone();
        self.pki.revoke(&issued, at, RevocationReason::KeyCompromise);
    }

    /// Writes the newest revocation lists into a node's folder.
    pub(crate) fn push_lists_to_node(&self, id: &str) {
        replace(&self.node_folder(id).join("trust/crl-1.crl"), self.newest_lists().as_bytes());
    }

    /// Writes the newest revocation lists into the relay's folder and tells it to read them.
    pub(crate) fn push_lists_to_relay(&self) {
        replace(&self.relay_folder().join("trust/crl/1.crl"), self.newest_lists().as_bytes());
        hang_up();
    }

    fn newest_lists(&self) -> String {
        self.pki.crls_pem_between(now(), now() + 30 * DAY).unwrap()
    }

    /// What an offline verifier of receipts says, with what was revoked when the world was made.
    pub(crate) fn verify(&self, receipt: &[u8]) -> ReceiptReport {
        verify_receipt(receipt, &ReceiptTrust::new(self.trust(), self.pinned()), None, now())
    }

    #[track_caller]
    pub(crate) fn assert_valid(&self, receipt: &[u8]) -> ReceiptReport {
        let report = self.verify(receipt);
        let against = report.against().collect::<Vec<_>>();
        assert!(
            report.verdict == ReceiptVerdict::Valid,
            "{:?}: {against:?}\n{}",
            report.verdict,
            String::from_utf8_lossy(receipt)
        );
        report
    }

    /// Waits until a party's list of receipts for an envelope has `count` entries, all final; asserts that each is valid off line. Gives
    /// (event, role, recipient), sorted.
    pub(crate) async fn all_receipts_valid(
        &self,
        id: &str,
        envelope: &str,
        count: usize,
    ) -> Vec<(String, String, String)> {
        let api = self.api(id);
        let fact = || async {
            let items = api.receipts(envelope).await;
            if items.len() == count && items.iter().all(|item| item.r#final) { Ok(items) } else { Err(items) }
        };
        let items = until(&format!("{count} final receipts of {envelope} at {id}"), fact).await;
        let mut named = Vec::new();
        for item in items {
            let receipt = api.receipt(&item.leaf_hash, false).await;
            let report = self.assert_valid(&receipt);
            assert_eq!(report.summary.unwrap().envelope.unwrap().to_string(), envelope);
            named.push((item.event, item.role, item.recipient));
        }
        named.sort();
        named
    }
}

/// Changes a text file.
pub(crate) fn edit_file(path: &Path, edit: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, edit(text)).unwrap();
}

/// Dials as often does who is in no hurry: what it calls may be busy with other things.
pub(crate) fn patiently() -> ConnectSettings {
    ConnectSettings { timeout: PATIENCE, ..ConnectSettings::default() }
}

/// SIGHUP to this process: every relay and node in it reads its files again.
pub(crate) fn hang_up() {
    // Before the first of them listens for it, it would end the process.
    let _listens = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
}

/// Never half: readers see the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    assert!(path.exists(), "{} is not where the product reads it", path.display());
    let beside = path_with(path, "new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Appends an extension: codes have dots in them.
fn path_with(stem: &Path, extension: &str) -> PathBuf {
    let mut name = stem.file_name().unwrap().to_owned();
    name.push(".");
    name.push(extension);
    stem.with_file_name(name)
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

pub(crate) async fn free_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
