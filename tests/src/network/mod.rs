//! A whole network on loopback: a relay and nodes, in this process or as processes that can be killed, with a PKI and a directory of their own.
//!
//! ```ignore
//! let layout = Layout::new(&[("N-G22", &["G22"]), ("N-H26", &["H26", "H26.18"])]);
//! let network = Network::start(layout).await;
//! let reply = network.client("G22").send(&Document::new("first", "G22", &["H26"], 10_000)).await?;
//! network.wait_consigned("G22", &reply.envelope).await;
//! ```

pub mod client;
pub mod front;

mod making;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use truc_certs_dev::{KeyKind, Tree};
use truc_evidence::{Directory, ReceiptReport, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::{
    SignedDirectory,
    node_v1::{OutboxItem, ReceiptItem},
};

use crate::{
    child::Process,
    wait::{PATIENCE, until_async},
};
use client::Client;
use front::Front;
pub use making::{AXIS, NodePlan, RELAY, now, receipt_trust};

/// The programs of a network of processes: `DIR` is their argument, `listening ADDRESS` their first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The relay's.
    pub relay: PathBuf,
    /// The nodes'.
    pub node: PathBuf,
}

/// A network to be made.
#[derive(Debug)]
pub struct Layout {
    /// Where everything lies that has no place of its own; removed in the end.
    pub root: TempDir,
    /// The relay's folder.
    pub relay: PathBuf,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// Kind of all subscribers' keys.
    pub keys: KeyKind,
    /// None: everything runs in this process.
    pub programs: Option<Programs>,
    /// Nodes in this process have an SDK listener under this path.
    pub sdk: Option<String>,
    /// Codes that the directory says are still on today's axis.
    pub legacy: Vec<String>,
}

impl Layout {
    /// Nodes by id and codes, P-256 keys, everything in this process and in one temporary folder.
    ///
    /// # Panics
    /// When the temporary folder cannot be made.
    #[must_use]
    pub fn new(nodes: &[(&str, &[&str])]) -> Self {
        let root = TempDir::with_prefix("truc-network-").expect("a temporary folder");
        let plan = |&(id, codes): &(&str, &[&str])| NodePlan {
            id: id.into(),
            codes: codes.iter().map(|&code| code.into()).collect(),
            folder: root.path().join(id),
        };
        let (relay, nodes) = (root.path().join("relay"), nodes.iter().map(plan).collect());
        Self { root, relay, nodes, keys: KeyKind::P256, programs: None, sdk: None, legacy: Vec::new() }
    }

    /// The same with processes.
    #[must_use]
    pub fn of_processes(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// The same with an SDK listener at each node, in this process.
    #[must_use]
    pub fn with_sdk(mut self, path: &str) -> Self {
        self.sdk = Some(path.to_owned());
        self
    }

    /// The same with codes that are still on today's axis.
    #[must_use]
    pub fn with_legacy(mut self, codes: &[&str]) -> Self {
        self.legacy = codes.iter().map(|&code| code.into()).collect();
        self
    }

    /// The plan of a node.
    ///
    /// # Panics
    /// When there is none of that id.
    pub fn node_mut(&mut self, id: &str) -> &mut NodePlan {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a node of the layout")
    }
}

/// A running network; dropping it ends every process of it.
///
/// All of it works through a shared reference, so that one task can kill what others talk to. Addresses stay the same however often what is
/// behind them is started again.
pub struct Network {
    layout: Layout,
    pki: Tree,
    directory: (SignedDirectory, Directory),
    trust: ReceiptTrust,
    relay: Host,
    nodes: BTreeMap<String, NodeHost>,
}

struct NodeHost {
    host: Host,
    /// Keeps the address of the SDK listener.
    sdk: std::net::TcpListener,
    token: String,
}

/// Where a relay or node runs, if it does.
struct Host {
    door: Door,
    running: Mutex<Running>,
}

/// What keeps an address.
enum Door {
    /// In front of processes, which get another port each time.
    Front(Front),
    /// For what runs in this process: a copy of the socket each time.
    Held(std::net::TcpListener),
}

enum Running {
    No,
    Child(Process),
    Task { stop: oneshot::Sender<()>, task: JoinHandle<anyhow::Result<()>> },
}

impl Host {
    async fn new(of_processes: bool) -> Self {
        let door = if of_processes { Door::Front(Front::open().await) } else { Door::Held(held_socket()) };
        Self { door, running: Mutex::new(Running::No) }
    }

    fn address(&self) -> SocketAddr {
        match &self.door {
            Door::Front(front) => front.address(),
            Door::Held(listener) => listener.local_addr().expect("it is bound"),
        }
    }

    fn lead_to(&self, behind: Option<SocketAddr>) {
        if let Door::Front(front) = &self.door {
            front.lead_to(behind);
        }
    }

    /// Starts a program on a folder and waits for its address.
    fn start_child(&self, program: &Path, folder: &Path, prepare: impl FnOnce(&mut Command)) {
        let mut command = Command::new(program);
        command.arg(folder);
        prepare(&mut command);
        let process = Process::start(&mut command);
        let line = process.line(PATIENCE);
        let address =
            line.as_deref().and_then(|line| line.strip_prefix("listening ")).and_then(|address| address.parse().ok());
        let why = || panic!("{} on {} said {line:?}:\n{}", program.display(), folder.display(), process.stderr());
        let address: SocketAddr = address.unwrap_or_else(why);
        *lock(&self.running) = Running::Child(process);
        self.lead_to(Some(address));
    }

    fn start_task<F: Future<Output = anyhow::Result<()>> + Send + 'static>(
        &self,
        run: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) {
        let Door::Held(listener) = &self.door else { unreachable!("tasks have held doors") };
        let listener =
            TcpListener::from_std(listener.try_clone().expect("a socket can be copied")).expect("a runtime is there");
        let (stop, stopped) = oneshot::channel();
        *lock(&self.running) = Running::Task { stop, task: tokio::spawn(run(listener, stopped)) };
    }

    async fn stop(&self) {
        self.lead_to(None);
        let running = std::mem::replace(&mut *lock(&self.running), Running::No);
        match running {
            Running::No => {}
            Running::Child(mut process) => {
                process.terminate();
                let status = process.wait(PATIENCE);
                assert!(status.success(), "a process asked to stop ended with {status}:\n{}", process.stderr());
            }
            Running::Task { stop, task, .. } => {
                let _ = stop.send(());
                task.await.expect("it does not panic").expect("it stops in order");
            }
        }
    }

    /// What it wrote to stderr until then.
    fn kill(&self) -> String {
        self.lead_to(None);
        match std::mem::replace(&mut *lock(&self.running), Running::No) {
            Running::Child(mut process) => {
                process.kill();
                process.stderr()
            }
            Running::No | Running::Task { .. } => panic!("only a running process can be killed"),
        }
    }

    fn log(&self) -> String {
        match &*lock(&self.running) {
            Running::Child(process) => process.stderr(),
            Running::No | Running::Task { .. } => String::new(),
        }
    }
}

fn held_socket() -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.set_nonblocking(true).expect("a socket can be told");
    listener
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    /// Makes PKI, folders and directory, starts everything, and waits until every node is connected and has the directory.
    ///
    /// # Panics
    /// When any of it fails.
    pub async fn start(layout: Layout) -> Self {
        let network = Self::make(layout).await;
        network.start_all().await;
        network
    }

    /// Makes PKI, folders and directory; nothing runs yet.
    ///
    /// # Panics
    /// When any of it fails.
    pub async fn make(layout: Layout) -> Self {
        let of_processes = layout.programs.is_some();
        let relay = Host::new(of_processes).await;
        let pki = making::make_pki(&layout.root.path().join("pki"), &layout.nodes, layout.keys).expect("make the PKI");
        let mut bindings = vec![making::init_relay(&pki, &layout.relay).expect("make the relay")];
        let mut nodes = BTreeMap::new();
        for plan in &layout.nodes {
            let made = making::init_node(&pki, plan, relay.address()).unwrap_or_else(|error| panic!("{error:#}"));
            bindings.push(made.binding_bytes);
            let host = Host::new(of_processes).await;
            nodes.insert(plan.id.clone(), NodeHost { host, sdk: held_socket(), token: made.token.expose().into() });
        }
        let directory = making::sign_directory(&pki, &bindings, &layout.legacy).expect("sign the directory");
        let trust = receipt_trust(&pki).expect("read the PKI");
        Self { layout, pki, directory, trust, relay, nodes }
    }

    /// Starts what [`Network::make`] made: relay, directory, nodes.
    ///
    /// # Panics
    /// When any of it fails.
    pub async fn start_all(&self) {
        self.start_relay();
        self.publish().await;
        for id in self.ids() {
            self.start_node(&id);
        }
        for id in self.ids() {
            self.wait_connected(&id).await;
        }
    }

    /// The ids of the nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// The development PKI.
    #[must_use]
    pub const fn pki(&self) -> &Tree {
        &self.pki
    }

    /// The directory that was published.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory.1
    }

    /// What an offline verifier of receipts has.
    #[must_use]
    pub const fn receipt_trust(&self) -> &ReceiptTrust {
        &self.trust
    }

    /// The relay's folder.
    #[must_use]
    pub fn relay_folder(&self) -> &Path {
        &self.layout.relay
    }

    /// A node's folder.
    ///
    /// # Panics
    /// When there is none of that id.
    #[must_use]
    pub fn node_folder(&self, id: &str) -> &Path {
        let plan = self.layout.nodes.iter().find(|node| node.id == id);
        &plan.expect("a node of the network").folder
    }

    /// Where nodes find the relay.
    #[must_use]
    pub fn relay_address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// The id of the node that serves a code.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn node_of(&self, code: &str) -> &str {
        let serves = |node: &&NodePlan| node.codes.iter().any(|served| served == code);
        &self.layout.nodes.iter().find(serves).expect("a code of the network").id
    }

    /// Starts the relay.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_relay(&self) {
        self.start_relay_with(|_| {});
    }

    /// As [`Network::start_relay`]; a relay that is a process is started with what `prepare` adds to its command.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_relay_with(&self, prepare: impl FnOnce(&mut Command)) {
        let folder = &self.layout.relay;
        if let Some(programs) = &self.layout.programs {
            return self.relay.start_child(&programs.relay, folder, prepare);
        }
        let settings = truc_relay::Settings::load(folder).expect("the relay's settings");
        self.relay.start_task(|listener, stopped| truc_relay::run(settings, listener, async { _ = stopped.await }));
    }

    /// Starts a node.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_node(&self, id: &str) {
        self.start_node_with(id, |_| {});
    }

    /// As [`Network::start_node`]; a node that is a process is started with what `prepare` adds to its command.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_node_with(&self, id: &str, prepare: impl FnOnce(&mut Command)) {
        let (folder, host) = (self.node_folder(id), self.host(id));
        if let Some(programs) = &self.layout.programs {
            return host.start_child(&programs.node, folder, prepare);
        }
        let mut settings = truc_node::Settings::load(folder).expect("the node's settings");
        let sdk = self.layout.sdk.as_ref().map(|path| {
            let (path, listen) = (path.clone(), self.sdk_address(id));
            settings.sdk = Some(truc_node::settings::SdkSettings { listen, path, tls: None });
            let door = self.nodes.get(id).expect("a node of the network").sdk.try_clone();
            TcpListener::from_std(door.expect("a socket can be copied")).expect("a runtime is there")
        });
        host.start_task(|local, stopped| async move {
            let doors = truc_node::run::Doors { local, sdk, rest: None };
            truc_node::run(settings, doors, async { _ = stopped.await }).await
        });
    }

    /// Stops the relay in order.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop_relay(&self) {
        self.relay.stop().await;
    }

    /// Stops a node in order.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop_node(&self, id: &str) {
        self.host(id).stop().await;
    }

    /// Kills the relay's process with SIGKILL; gives its last words.
    ///
    /// # Panics
    /// When it is no running process.
    pub fn kill_relay(&self) -> String {
        self.relay.kill()
    }

    /// Kills a node's process with SIGKILL; gives its last words.
    ///
    /// # Panics
    /// When it is no running process.
    pub fn kill_node(&self, id: &str) -> String {
        self.host(id).kill()
    }

    /// What the process of a node, or of the relay under its id, wrote to stderr lately.
    ///
    /// # Panics
    /// When there is none of that id.
    #[must_use]
    pub fn log(&self, id: &str) -> String {
        if id == RELAY { self.relay.log() } else { self.host(id).log() }
    }

    /// Brings the directory to the relay, until the relay has it.
    ///
    /// # Panics
    /// When it refuses, or does not answer in time.
    pub async fn publish(&self) {
        let published = until_async("the relay to take the directory", || async {
            making::publish(&self.pki, &self.directory.0, &self.directory.1, self.relay.address()).await
        });
        published.await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// A document system of the node that serves `code`, with a token for all its codes.
    #[must_use]
    pub fn client(&self, code: &str) -> Client {
        self.client_of(self.node_of(code))
    }

    /// A document system of a node.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn client_of(&self, id: &str) -> Client {
        let node = self.nodes.get(id).expect("a node of the network");
        Client::new(node.host.address(), &node.token)
    }

    /// The text of a node's bearer token.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn token(&self, id: &str) -> &str {
        &self.nodes.get(id).expect("a node of the network").token
    }

    /// Where a node's local API is found.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn local_address(&self, id: &str) -> SocketAddr {
        self.host(id).address()
    }

    /// Where a node's SDK listener is found.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn sdk_address(&self, id: &str) -> SocketAddr {
        self.nodes.get(id).expect("a node of the network").sdk.local_addr().expect("it is bound")
    }

    /// Adds a document system to a node; gives its secret.
    ///
    /// # Panics
    /// When it cannot be added.
    #[must_use]
    pub fn add_system(&self, id: &str, system: &str, codes: &[&str]) -> String {
        let settings = truc_node::Settings::load(self.node_folder(id)).expect("the node's settings");
        let key = truc_signer::storage::StorageKey::load(&settings.storage_key).expect("the storage key");
        let codes = codes.iter().map(|code| code.parse().expect("a code")).collect();
        let secret = truc_node::sdk::add_system(&settings.sdk_systems(), &key, system, codes, now());
        secret.expect("a new system").expose().to_owned()
    }

    /// Waits until a node says that it is connected and has the directory.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_connected(&self, id: &str) {
        let client = self.client_of(id);
        until_async(&format!("{id} to be connected"), || {
            let mut client = client.clone();
            async move {
                let status = client.status().await;
                if status.as_ref().is_ok_and(|s| s.connected && s.directory_version > 0) { Ok(()) } else { Err(status) }
            }
        })
        .await;
    }

    /// Waits until a node has noticed that the relay is away.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_disconnected(&self, id: &str) {
        let client = self.client_of(id);
        until_async(&format!("{id} to be disconnected"), || {
            let mut client = client.clone();
            async move {
                let status = client.status().await;
                if status.as_ref().is_ok_and(|s| !s.connected) { Ok(()) } else { Err(status) }
            }
        })
        .await;
    }

    /// Waits until every recipient of a document has it (or has failed), as the sender sees it.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_consigned(&self, sender: &str, envelope: &str) -> OutboxItem {
        let reached = |state: &str| ["consigned", "handed-over", "passed-on", "failed"].contains(&state);
        self.wait_sent("its recipients to have it", sender, envelope, |item| {
            item.recipients.iter().all(|r| reached(&r.state))
        })
        .await
    }

    /// Waits until every event of a document is covered by a certificate's signature, and every recipient was reached or failed.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_final(&self, sender: &str, envelope: &str) -> OutboxItem {
        self.wait_consigned(sender, envelope).await;
        let is_final = |item: &OutboxItem| {
            item.recipients.iter().all(|r| !r.ladder.is_empty() && r.ladder.iter().all(|step| step.r#final))
        };
        self.wait_sent("its receipts to be final", sender, envelope, is_final).await
    }

    /// Waits until a document in the outbox of `sender` looks as wanted.
    ///
    /// # Panics
    /// When that does not happen; shows how the document looks instead.
    pub async fn wait_sent(
        &self,
        what: &str,
        sender: &str,
        envelope: &str,
        wanted: impl Fn(&OutboxItem) -> bool,
    ) -> OutboxItem {
        let client = self.client(sender);
        let look = || async {
            match client.clone().sent(envelope).await {
                Ok(Some(item)) if wanted(&item) => Ok(item),
                other => Err(other),
            }
        };
        until_async(&format!("{envelope} of {sender}: {what}"), look).await
    }

    /// All receipts of a document, with their files.
    ///
    /// # Errors
    /// The calls'.
    pub async fn receipts(&self, sender: &str, envelope: &str) -> Result<Vec<(ReceiptItem, Vec<u8>)>, tonic::Status> {
        let mut client = self.client(sender);
        let mut files = Vec::new();
        for item in client.receipts(envelope).await? {
            let file = client.receipt(&item.leaf_hash).await?;
            files.push((item, file));
        }
        Ok(files)
    }

    /// What an offline verifier says of a receipt.
    #[must_use]
    pub fn verify(&self, receipt: &[u8]) -> ReceiptReport {
        verify_receipt(receipt, &self.trust, None, now())
    }

    /// Asserts that a receipt is valid, without network.
    ///
    /// # Panics
    /// When it is not; shows which checks speak against it.
    #[track_caller]
    pub fn assert_valid(&self, receipt: &[u8]) {
        let report = self.verify(receipt);
        let against = report.against().collect::<Vec<_>>();
        assert!(
            report.verdict == ReceiptVerdict::Valid,
            "{:?}: {against:?}\n{}",
            report.verdict,
            String::from_utf8_lossy(receipt)
        );
    }

    /// Stops everything in order.
    ///
    /// # Panics
    /// When something does not stop, or fails in stopping.
    pub async fn stop(self) {
        for id in self.ids() {
            self.stop_node(&id).await;
        }
        self.stop_relay().await;
    }

    fn host(&self, id: &str) -> &Host {
        &self.nodes.get(id).expect("a node of the network").host
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({:?})", self.layout.root.path())
    }
}
