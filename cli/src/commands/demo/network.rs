//! The demo's network: PKI, operator's folder, a relay and three nodes in this process, on free loopback ports.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use truc_certs_dev::{AgencyPlan, Plan, Tree, write_tree};
use truc_evidence::{CodeList, Confirmation, Directory, LEVEL1_CODES, PinnedOperator};
use truc_link::{Identity, LinkTrust};
use truc_node::{
    init::AgencyInit,
    settings::{KeySource, TrustFiles},
};
use truc_proto::{AxisId, Lane, NodeId, Raw, SignedBinding, node_v1::StatusRequest};
use truc_signer::{Certificate, SoftKey, TrustStore};

use crate::{
    args::NodeArgs,
    client::{self, Node},
    clock::now,
    commands::directory::publish_to,
    operator::{OperatorFolder, Trust},
};

/// The demo's axis: a trust domain of its own, so that nothing of it means anything elsewhere.
const AXIS: &str = "vn-demo";
const RELAY: &str = "RELAY";
const LANE: Lane = Lane::Ordinary;
/// Agencies with a node of their own.
const AGENCIES: [(&str, &str); 3] =
    [("G22", "Văn phòng Chính phủ"), ("H26", "UBND thành phố Hà Nội"), ("H37", "UBND tỉnh Lạng Sơn")];
/// How long relay and nodes may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A part that runs in this process, and how to end it.
struct Running {
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn stop(self) -> anyhow::Result<()> {
        // It may have ended by itself; then the task says why.
        let _ = self.shutdown.send(());
        self.task.await.context("a part of the network panicked")?
    }
}

/// A node of the network.
struct RunningNode {
    running: Running,
    api: NodeArgs,
}

/// Everything that runs.
pub(super) struct Network {
    dir: PathBuf,
    tree: Tree,
    codes: usize,
    relay_address: SocketAddr,
    relay: Option<Running>,
    nodes: BTreeMap<String, RunningNode>,
}

impl Network {
    /// Makes and starts everything, and waits until the nodes are connected.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (folder, plan) = (dir.join("pki"), plan());
        let tree = tokio::task::spawn_blocking(move || write_tree(&folder, &plan))
            .await?
            .context("make the development PKI")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay_address = listener.local_addr()?;
        let mut network =
            Self { dir: dir.to_owned(), tree, codes: 0, relay_address, relay: None, nodes: BTreeMap::new() };
        let directory = Arc::new(network.init_all()?);
        network.codes = directory.agencies().len();
        network.serve_relay(listener)?;
        network.publish(&directory).await?;
        for (code, _) in AGENCIES {
            network.serve_node(code).await?;
        }
        network.wait_connected().await?;
        Ok(network)
    }

    pub(super) fn relay_address(&self) -> SocketAddr {
        self.relay_address
    }

    /// Codes in the directory.
    pub(super) fn codes(&self) -> usize {
        self.codes
    }

    pub(super) fn anchors(&self) -> PathBuf {
        self.tree.anchors()
    }

    pub(super) fn operator(&self) -> PathBuf {
        self.tree.operator_certificate()
    }

    /// A client of the node that serves `code`, with its document system's token.
    pub(super) async fn node(&self, code: &str) -> anyhow::Result<Node> {
        let node = self.nodes.get(code).with_context(|| format!("no node serves {code}"))?;
        client::connect(&node.api).await.map_err(|failure| failure.source)
    }

    pub(super) async fn stop_relay(&mut self) -> anyhow::Result<()> {
        self.relay.take().context("the relay does not run")?.stop().await.context("stop the relay")
    }

    pub(super) async fn start_relay(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.relay_address).await.context("listen where the relay did")?;
        self.serve_relay(listener)
    }

    /// Commands for another terminal.
    pub(super) fn how_to_talk(&self) -> Vec<String> {
        let truc = std::env::current_exe().map_or_else(|_| "truc".into(), |p| p.display().to_string());
        let mut lines = Vec::new();
        for (code, node) in &self.nodes {
            let token = node.api.token_file.as_deref().map(|t| t.display().to_string()).unwrap_or_default();
            let api = format!("--node {} --token-file {token}", node.api.node);
            lines.push(format!("{truc} status {api}"));
            lines.push(format!("{truc} inbox list --all {api}   # {code}"));
        }
        if let Some(node) = self.nodes.get("G22") {
            let token = node.api.token_file.as_deref().map(|t| t.display().to_string()).unwrap_or_default();
            lines.push(format!(
                "{truc} send --node {} --token-file {token} --from G22 --to H26 --subject 'Thử' --number 1 --notation VPCP --file README.md --wait",
                node.api.node
            ));
        }
        lines
    }

    /// Ends everything, relay last.
    pub(super) async fn stop(self) {
        let nodes = self.nodes.into_values().map(|n| n.running);
        for part in nodes.chain(self.relay) {
            if let Err(error) = part.stop().await {
                tracing::warn!(error = format!("{error:#}"), "a part of the demo did not stop well");
            }
        }
    }

    /// Relay, nodes, and version 1 of the directory.
    fn init_all(&self) -> anyhow::Result<Directory> {
        let mut bindings = vec![self.init_relay()?];
        for (code, name) in AGENCIES {
            bindings.push(self.init_node(code, name)?);
        }
        let bindings: Vec<_> = bindings.into_iter().map(Raw::<SignedBinding>::parse).collect::<Result<_, _>>()?;
        let folder = OperatorFolder::open(&self.dir.join("operator"))?;
        let trust = self.trust()?;
        let confirmed = Confirmation { sealing: true, endorsement: true };
        folder.add(&bindings, Some(&CodeList::parse(LEVEL1_CODES.as_bytes())?), confirmed, &trust, now())?;
        let key = self.tree.operator();
        folder.sign(&SoftKey::load_pem(&key.certificate, &key.key)?, &trust, 30, now())
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let read = |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let anchors = Certificate::from_pem(&read(self.tree.anchors())?)?;
        let intermediates = Certificate::from_pem(&read(self.tree.intermediates())?)?;
        let operator = PinnedOperator::from_pem(&read(self.tree.operator_certificate())?)?;
        Ok(Trust { store: TrustStore::new(anchors, intermediates, Vec::new())?, operator })
    }

    /// Anchors and sub-CA in one file.
    fn chain(&self) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("trust.pem");
        let files = [self.tree.anchors(), self.tree.intermediates()];
        let pem = files.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?.concat();
        std::fs::write(&path, pem)?;
        Ok(path)
    }

    fn trust_files(&self) -> TrustFiles {
        TrustFiles {
            anchors: self.tree.anchors(),
            intermediates: Some(self.tree.intermediates()),
            crls: self.tree.crls().to_vec(),
            operator: self.tree.operator_certificate(),
        }
    }

    fn init_relay(&self) -> anyhow::Result<Vec<u8>> {
        let (tls, node) = (self.tree.relay("tls"), self.tree.relay("node"));
        let made = truc_relay::init(&truc_relay::InitOptions {
            dir: self.dir.join("relay"),
            axis: AXIS.parse()?,
            lane: LANE,
            id: RELAY.parse()?,
            listen: self.relay_address,
            tls_certificate: tls.certificate,
            tls_key: tls.key,
            node_certificate: node.certificate,
            node_key: node.key,
            anchors: self.chain()?,
            operator: self.tree.operator_certificate(),
            crls: self.tree.crls().to_vec(),
            now: now(),
        })?;
        Ok(made.binding.bytes().to_vec())
    }

    fn serve_relay(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        let settings = truc_relay::Settings::load(&self.dir.join("relay"))?;
        // Stopped in the middle means stopped: an upload that is under way is not waited for.
        let settings = truc_relay::Settings { drain: Duration::from_millis(100), ..settings };
        let (shutdown, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(truc_relay::run(settings, listener, async { _ = ended.await }));
        self.relay = Some(Running { shutdown, task });
        Ok(())
    }

    fn init_node(&self, code: &str, name: &str) -> anyhow::Result<Vec<u8>> {
        let pem = |files: truc_certs_dev::KeyFiles| KeySource::Pem { certificate: files.certificate, key: files.key };
        let made = truc_node::init(truc_node::InitRequest {
            folder: self.dir.join(code),
            axis: AXIS.parse::<AxisId>()?,
            lane: LANE,
            id: code.parse::<NodeId>()?,
            agencies: vec![AgencyInit {
                code: code.parse()?,
                name: Some(name.to_owned()),
                service: pem(self.tree.agency(code, "service")),
                sealing: pem(self.tree.agency(code, "sealing")),
            }],
            tls: pem(self.tree.node(code, "tls")),
            node_key: pem(self.tree.node(code, "node")),
            trust: self.trust_files(),
            relay: self.relay_address.to_string(),
            relay_id: RELAY.parse()?,
            local: SocketAddr::from(([127, 0, 0, 1], 0)),
            now: now(),
        })?;
        write_token(&self.token_file(code), made.token.expose())?;
        Ok(made.binding_bytes)
    }

    fn token_file(&self, code: &str) -> PathBuf {
        self.dir.join(format!("{code}.token"))
    }

    async fn serve_node(&mut self, code: &str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let settings = truc_node::Settings::load(&self.dir.join(code))?;
        let (shutdown, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(truc_node::run(settings, listener, async { _ = ended.await }));
        let api = NodeArgs { node: format!("http://{address}"), token_file: Some(self.token_file(code)) };
        self.nodes.insert(code.to_owned(), RunningNode { running: Running { shutdown, task }, api });
        Ok(())
    }

    async fn publish(&mut self, directory: &Arc<Directory>) -> anyhow::Result<()> {
        let tls = self.tree.relay("tls");
        let identity = Identity::from_pem(&std::fs::read(tls.certificate)?, &std::fs::read(tls.key)?)?;
        let lists = self.tree.crls().iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?.concat();
        let (anchors, authorities) = (std::fs::read(self.tree.anchors())?, std::fs::read(self.tree.intermediates())?);
        let trust = LinkTrust::from_pem(&anchors, &authorities, &lists)?;
        let address = self.relay_address.to_string();
        let published = publish_to(directory, identity, trust, &address, &RELAY.parse()?).await;
        let Err(failure) = published else { return Ok(()) };
        // Where the relay itself gave up, its reason is the one that helps.
        match self.relay.take_if(|relay| relay.task.is_finished()) {
            Some(relay) => relay.stop().await.context("the relay did not start"),
            None => Err(failure.source),
        }
    }

    async fn wait_connected(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        for code in self.nodes.keys() {
            loop {
                let state = match self.node(code).await {
                    Ok(mut node) => node.status(StatusRequest {}).await?.into_inner(),
                    Err(error) if started.elapsed() > PATIENCE => return Err(error),
                    Err(_) => Default::default(),
                };
                if state.connected && state.directory_version > 0 {
                    break;
                }
                ensure!(started.elapsed() < PATIENCE, "node {code} does not come up: {}", state.relay_state);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

fn plan() -> Plan {
    let agencies = AGENCIES.iter().map(|(code, name)| AgencyPlan::new(code, name)).collect();
    Plan { agencies, relay: RELAY.to_owned(), ..Plan::default() }
}

/// A token is a secret of the document system: for its owner alone.
fn write_token(path: &Path, token: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(writeln!(file, "{token}")?)
}
