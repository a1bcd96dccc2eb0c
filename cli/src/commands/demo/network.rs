//! A network in this process: PKI, operator's folder, a relay and nodes on loopback. The demo's has three nodes, the sandbox's two;
//! another of one node plays today's axis.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use truc_certs_dev::{
    AgencyPlan, KeyFiles, Plan, TokenPlan, Tree, Tsa,
    tsa::{Answer, TsaServer},
    write_tree,
};
use truc_evidence::{CodeList, Confirmation, Directory, LEVEL1_CODES, PinnedOperator};
use truc_link::endpoint::Endpoint;
use truc_link::{ConnectSettings, Connected, Identity, Link, LinkTrust, StampServer};
use truc_node::{
    gateway::{self, Axis},
    init::AgencyInit,
    sdk::{self, SecretText},
    settings::{GatewaySettings, KeySource, RestSettings, SdkSettings, StampSettings, TrustFiles},
};
use truc_proto::{AxisId, CallerRole, Digest, Lane, NodeId, Raw, SignedBinding, node_v1::StatusRequest};
use truc_signer::{Certificate, SoftKey, TrustStore, storage::StorageKey};

use crate::{
    args::NodeArgs,
    client::{self, Administration, Node},
    clock::now,
    commands::directory::publish_to,
    operator::{OperatorFolder, Trust},
};

const RELAY: &str = "RELAY";
const LANE: Lane = Lane::Ordinary;
/// Where the SDK listeners answer, as a client's configuration has it.
const SDK_PATH: &str = "/api/v1";
/// Longest silence within a call of a document system.
const SILENCE: Duration = Duration::from_secs(10);

/// Who plays: an axis of its own, so that nothing of it means anything elsewhere, and nodes.
#[derive(Clone)]
pub(in crate::commands) struct Cast {
    /// Trust domain.
    pub(in crate::commands) axis: &'static str,
    /// The nodes.
    pub(in crate::commands) nodes: Vec<NodePlan>,
    /// A list of further codes, as `truc directory import` reads it.
    pub(in crate::commands) codes: &'static str,
    /// A list of what is different from there.
    pub(in crate::commands) changes: Option<&'static str>,
    /// An authority stamps what relay, nodes and operator sign (RFC 3161).
    pub(in crate::commands) stamps: bool,
}

/// A node to be.
#[derive(Clone)]
pub(in crate::commands) struct NodePlan {
    /// Its id.
    pub(in crate::commands) id: &'static str,
    /// Codes and names of its agencies.
    pub(in crate::commands) agencies: Vec<(&'static str, &'static str)>,
    /// Where its local API listens.
    pub(in crate::commands) local: SocketAddr,
    /// Its REST listener, if it has one.
    pub(in crate::commands) rest: Option<RestSettings>,
    /// Document systems that speak the axis SDK: their ids and their codes. With any, it has a listener for them.
    pub(in crate::commands) systems: Vec<(&'static str, Vec<&'static str>)>,
    /// Its account on another axis, if it is a gateway to one.
    pub(in crate::commands) gateway: Option<Account>,
}

impl NodePlan {
    /// A node with a local API on a free port.
    pub(in crate::commands) fn new(id: &'static str, agencies: Vec<(&'static str, &'static str)>) -> Self {
        Self { id, agencies, local: anywhere(), rest: None, systems: Vec::new(), gateway: None }
    }
}

/// What a document system's administrator enters into its configuration: three lines.
#[derive(Clone)]
pub(in crate::commands) struct Account {
    endpoint: Endpoint,
    system: &'static str,
    secret: Arc<SecretText>,
}

impl Account {
    /// The document system.
    pub(super) fn client(&self) -> anyhow::Result<Axis> {
        // What the gateway's client does, any document system's does.
        Axis::new(self.endpoint.clone(), self.system, self.secret.expose().as_bytes(), &[], SILENCE)
    }
}

/// The document system of H26, which speaks the axis SDK.
pub(super) const H26_SYSTEM: &str = "qlvb.h26";
/// The document system of H17, which is still on today's axis.
pub(super) const H17_SYSTEM: &str = "qlvb.h17";
/// How today's axis knows the gateway of G22.
pub(super) const GATEWAY_SYSTEM: &str = "truc.g22";
/// The route of a code that has not moved. Columns: docs/DIRECTORY.md.
const ON_TODAYS_AXIS: &str = "code,name,route\nH17,UBND thành phố Đà Nẵng,legacy\n";

impl Cast {
    /// Three agencies of the real list, each with a node, on free ports; a fourth code is reached through today's axis.
    pub(super) fn demo(gateway: Account) -> Self {
        let rest = RestSettings { listen: anywhere(), tls: None, webhooks: Vec::new(), webhook_anchors: None };
        let nodes = vec![
            NodePlan { gateway: Some(gateway), ..NodePlan::new("G22", vec![("G22", "Văn phòng Chính phủ")]) },
            NodePlan {
                systems: vec![(H26_SYSTEM, vec!["H26"])],
                ..NodePlan::new("H26", vec![("H26", "UBND thành phố Hà Nội")])
            },
            NodePlan { rest: Some(rest), ..NodePlan::new("H37", vec![("H37", "UBND tỉnh Lạng Sơn")]) },
        ];
        Self { axis: "vn-demo", nodes, codes: LEVEL1_CODES, changes: Some(ON_TODAYS_AXIS), stamps: true }
    }

    /// What plays today's axis: whoever speaks the SDK to it cannot tell the difference.
    pub(super) fn today() -> Self {
        let agencies = vec![("G22", "Văn phòng Chính phủ"), ("H17", "UBND thành phố Đà Nẵng")];
        let systems = vec![(GATEWAY_SYSTEM, vec!["G22"]), (H17_SYSTEM, vec!["H17"])];
        let nodes = vec![NodePlan { systems, ..NodePlan::new("TODAY", agencies) }];
        Self { axis: "vn-today", nodes, codes: LEVEL1_CODES, changes: None, stamps: false }
    }

    fn pki(&self) -> Plan {
        let of = |node: &NodePlan| {
            let id = node.id.to_owned();
            let plan = |(code, name): &(&str, &str)| AgencyPlan { node: id.clone(), ..AgencyPlan::new(code, name) };
            node.agencies.iter().map(plan).collect::<Vec<_>>()
        };
        Plan { agencies: self.nodes.iter().flat_map(of).collect(), relay: RELAY.to_owned(), ..Plan::default() }
    }
}

/// A free port of this machine.
pub(in crate::commands) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// How long relay and nodes may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// A time-stamping authority of the development PKI.
struct Authority {
    tsa: Arc<Tsa>,
    server: TsaServer,
}

impl Authority {
    fn start(files: &KeyFiles) -> anyhow::Result<Self> {
        let tsa = Arc::new(Tsa::load(files).context("load the time-stamping authority")?);
        let answering = Arc::clone(&tsa);
        let answer = move |request: &[u8]| answering.answer(request, now()).map_or(Answer::Status(500), Answer::Reply);
        Ok(Self { tsa, server: TsaServer::start(answer).context("start the time-stamping authority")? })
    }

    /// As settings name it.
    fn servers(&self) -> anyhow::Result<Vec<StampServer>> {
        Ok(vec![StampServer::new(&self.server.url(), None)?])
    }

    /// A token over a signature's value.
    fn token(&self, signature: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.tsa.token(&Digest::of(signature), &TokenPlan::at(now()))?)
    }
}

/// A node of the network.
struct RunningNode {
    running: Running,
    api: NodeArgs,
    rest: Option<SocketAddr>,
}

/// Everything that runs.
pub(in crate::commands) struct Network {
    cast: Cast,
    dir: PathBuf,
    tree: Tree,
    authority: Option<Authority>,
    codes: usize,
    relay_address: SocketAddr,
    relay: Option<Running>,
    nodes: BTreeMap<String, RunningNode>,
    /// Accounts of the document systems that speak the SDK.
    accounts: BTreeMap<&'static str, Account>,
}

impl Network {
    /// Makes and starts everything, and waits until the nodes are connected.
    pub(in crate::commands) async fn start(dir: &Path, cast: Cast) -> anyhow::Result<Self> {
        let (folder, plan) = (dir.join("pki"), cast.pki());
        let tree = tokio::task::spawn_blocking(move || write_tree(&folder, &plan))
            .await?
            .context("make the development PKI")?;
        let authority = if cast.stamps { Some(Authority::start(&tree.files("services/tsa"))?) } else { None };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay_address = listener.local_addr()?;
        let mut network = Self {
            cast,
            dir: dir.to_owned(),
            tree,
            authority,
            codes: 0,
            relay_address,
            relay: None,
            nodes: BTreeMap::new(),
            accounts: BTreeMap::new(),
        };
        let directory = Arc::new(network.init_all()?);
        network.codes = directory.agencies().len();
        network.serve_relay(listener)?;
        network.publish(&directory).await?;
        for node in network.cast.nodes.clone() {
            network.serve_node(&node).await?;
        }
        network.wait_connected().await?;
        Ok(network)
    }

    pub(in crate::commands) fn relay_address(&self) -> SocketAddr {
        self.relay_address
    }

    /// Codes in the directory.
    pub(super) fn codes(&self) -> usize {
        self.codes
    }

    pub(in crate::commands) fn anchors(&self) -> PathBuf {
        self.tree.anchors()
    }

    pub(in crate::commands) fn operator(&self) -> PathBuf {
        self.tree.operator_certificate()
    }

    /// A client of the node that serves `code`, with its document system's token.
    pub(in crate::commands) async fn node(&self, code: &str) -> anyhow::Result<Node> {
        let node = self.nodes.get(code).with_context(|| format!("no node serves {code}"))?;
        client::connect(&node.api).await.map_err(|failure| failure.source)
    }

    pub(in crate::commands) async fn stop_relay(&mut self) -> anyhow::Result<()> {
        self.relay.take().context("the relay does not run")?.stop().await.context("stop the relay")
    }

    pub(in crate::commands) async fn start_relay(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.relay_address).await.context("listen where the relay did")?;
        self.serve_relay(listener)
    }

    pub(in crate::commands) async fn stop_node(&mut self, id: &str) -> anyhow::Result<()> {
        self.nodes
            .remove(id)
            .context("the node does not run")?
            .running
            .stop()
            .await
            .with_context(|| format!("stop {id}"))
    }

    /// Starts a node again, where it listens now.
    pub(in crate::commands) async fn start_node(&mut self, id: &str) -> anyhow::Result<()> {
        let plan = self.cast.nodes.iter().find(|node| node.id == id).with_context(|| format!("no node {id}"))?.clone();
        self.serve_node(&plan).await
    }

    /// A cipher administrator of a node, with a token of his own.
    pub(in crate::commands) async fn administrator(&self, id: &str) -> anyhow::Result<Administration> {
        let (file, node) = (self.dir.join(format!("{id}.admin.token")), &self.doors(id)?.0.node);
        if !file.exists() {
            let tokens = self.dir.join(id).join("keys/tokens");
            let quota = truc_node::quota::Quota::default();
            let made =
                truc_node::tokens::add_token(&tokens, "drill", CallerRole::CipherAdmin, BTreeSet::new(), quota, now());
            write_token(&file, made.context("make a token for a cipher administrator")?.expose())?;
        }
        let args = NodeArgs::local(node.clone(), file);
        client::administer(&args).await.map_err(|failure| failure.source)
    }

    /// The authority's answer to a request: the certificate with those above it.
    pub(in crate::commands) fn answer(&self, request_pem: &str) -> anyhow::Result<String> {
        self.tree.answer(request_pem, now()).context("the authority does not answer")
    }

    /// Connects to the relay with a node's first TLS key, as whoever has a copy of it; the connection stays as long as what is given.
    pub(in crate::commands) async fn connect_with_copy(&self, id: &str) -> anyhow::Result<(Link, Connected)> {
        let (identity, trust) = self.link_of(&self.tree.node(id, "tls"))?;
        let relay: NodeId = RELAY.parse()?;
        let anybody = relay.clone();
        let link = Link::new(LANE, identity, trust, move |_: &Digest| Ok(anybody.clone()));
        let connected = link.connect(&self.relay_address.to_string(), &relay, ConnectSettings::default()).await?;
        Ok((link, connected))
    }

    fn link_of(&self, tls: &KeyFiles) -> anyhow::Result<(Identity, LinkTrust)> {
        let identity = Identity::from_pem(&std::fs::read(&tls.certificate)?, &std::fs::read(&tls.key)?)?;
        let lists = self.tree.crls().iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?.concat();
        let (anchors, authorities) = (std::fs::read(self.tree.anchors())?, std::fs::read(self.tree.intermediates())?);
        Ok((identity, LinkTrust::from_pem(&anchors, &authorities, &lists)?))
    }

    /// The operator changes the draft and signs it as the next version.
    pub(in crate::commands) fn sign_next(
        &self,
        change: impl FnOnce(&OperatorFolder, &Trust) -> anyhow::Result<()>,
    ) -> anyhow::Result<Arc<Directory>> {
        let (folder, trust) = (OperatorFolder::open(&self.dir.join("operator"))?, self.trust()?);
        change(&folder, &trust)?;
        let key = self.tree.operator();
        let signed = folder.sign(&SoftKey::load_pem(&key.certificate, &key.key)?, &trust, 30, now(), |_| Ok(None))?;
        Ok(Arc::new(signed))
    }

    /// The operator's newest version.
    pub(in crate::commands) fn newest_version(&self) -> anyhow::Result<u64> {
        let newest = OperatorFolder::open(&self.dir.join("operator"))?.newest(&self.trust()?, now())?;
        Ok(newest.context("the operator has no version")?.version())
    }

    /// Whose cosignatures an auditor may ask for, as the operator's newest version lists them: `truc directory policy`.
    pub(super) fn witness_policy(&self) -> anyhow::Result<String> {
        let newest = OperatorFolder::open(&self.dir.join("operator"))?.newest(&self.trust()?, now())?;
        Ok(newest.context("the operator has no version")?.witness_policy(None)?)
    }

    /// How to reach a node: its local API with a token, and REST.
    pub(in crate::commands) fn doors(&self, id: &str) -> anyhow::Result<(&NodeArgs, Option<SocketAddr>)> {
        let node = self.nodes.get(id).with_context(|| format!("no node {id}"))?;
        Ok((&node.api, node.rest))
    }

    /// The account of a document system that speaks the SDK.
    pub(super) fn account(&self, system: &str) -> anyhow::Result<Account> {
        self.accounts.get(system).cloned().with_context(|| format!("no document system {system}"))
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
            if let Some(rest) = node.rest {
                lines.push(format!(
                    "http://{rest}/api/v1/docs   # REST of {code}, in a browser, with the token in {token}"
                ));
            }
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
    pub(in crate::commands) async fn stop(self) {
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
        for node in &self.cast.nodes {
            bindings.push(self.init_node(node)?);
        }
        let bindings: Vec<_> = bindings.into_iter().map(Raw::<SignedBinding>::parse).collect::<Result<_, _>>()?;
        let folder = OperatorFolder::open(&self.dir.join("operator"))?;
        let trust = self.trust()?;
        let confirmed = Confirmation { sealing: true, endorsement: true };
        folder.add(&bindings, Some(&CodeList::parse(self.cast.codes.as_bytes())?), confirmed, &trust, now())?;
        if let Some(changes) = self.cast.changes {
            let (_, taken) = folder.import(&CodeList::parse(changes.as_bytes())?, false, &trust, now())?;
            ensure!(taken, "the list of changes was not taken");
        }
        let key = self.tree.operator();
        let stamp = |signature: &[u8]| self.authority.as_ref().map(|one| one.token(signature)).transpose();
        folder.sign(&SoftKey::load_pem(&key.certificate, &key.key)?, &trust, 30, now(), stamp)
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let read = |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let anchors = Certificate::from_pem(&read(self.tree.anchors())?)?;
        let intermediates = Certificate::from_pem(&read(self.tree.intermediates())?)?;
        let operator = PinnedOperator::from_file_bytes(&read(self.tree.operator_certificate())?)?;
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
            policies: truc_signer::PolicySettings::default(),
            operator: self.tree.operator_certificate(),
        }
    }

    fn init_relay(&self) -> anyhow::Result<Vec<u8>> {
        let (tls, node) = (self.tree.relay("tls"), self.tree.relay("node"));
        let made = truc_relay::init(&truc_relay::InitOptions {
            dir: self.dir.join("relay"),
            axis: self.cast.axis.parse()?,
            lane: LANE,
            id: RELAY.parse()?,
            listen: self.relay_address,
            tls: KeySource::Pem { certificate: tls.certificate, key: tls.key },
            node: KeySource::Pem { certificate: node.certificate, key: node.key },
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
        let time_stamps = self
            .authority
            .as_ref()
            .map(Authority::servers)
            .transpose()?
            .map(|servers| truc_relay::StampSettings { servers, every: Duration::from_secs(1), anchors: None });
        let settings = truc_relay::Settings { time_stamps, ..settings };
        let (shutdown, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(truc_relay::run(settings, listener, async { _ = ended.await }));
        self.relay = Some(Running { shutdown, task });
        Ok(())
    }

    fn init_node(&self, node: &NodePlan) -> anyhow::Result<Vec<u8>> {
        let pem = |files: truc_certs_dev::KeyFiles| KeySource::Pem { certificate: files.certificate, key: files.key };
        let agency = |(code, name): &(&str, &str)| {
            let (service, sealing) = (self.tree.agency(code, "service"), self.tree.agency(code, "sealing"));
            let name = Some((*name).to_owned());
            Ok(AgencyInit { code: code.parse()?, name, service: pem(service), sealing: pem(sealing) })
        };
        let made = truc_node::init(truc_node::InitRequest {
            folder: self.dir.join(node.id),
            axis: self.cast.axis.parse::<AxisId>()?,
            lane: LANE,
            id: node.id.parse::<NodeId>()?,
            agencies: node.agencies.iter().map(agency).collect::<anyhow::Result<_>>()?,
            tls: pem(self.tree.node(node.id, "tls")),
            node_key: pem(self.tree.node(node.id, "node")),
            trust: self.trust_files(),
            relay: self.relay_address.to_string(),
            relay_id: RELAY.parse()?,
            local: node.local,
            now: now(),
        })?;
        write_token(&self.token_file(node.id), made.token.expose())?;
        Ok(made.binding_bytes)
    }

    /// The token of a node's document system.
    pub(in crate::commands) fn token_file(&self, code: &str) -> PathBuf {
        self.dir.join(format!("{code}.token"))
    }

    async fn serve_node(&mut self, node: &NodePlan) -> anyhow::Result<()> {
        let code = node.id;
        let settings = truc_node::Settings::load(&self.dir.join(code))?;
        let (local, address) = listen(node.local).await?;
        let mut doors = truc_node::run::Doors::from(local);
        let mut rest = None;
        if let Some(section) = &node.rest {
            let (listener, address) = listen(section.listen).await?;
            (doors.rest, rest) = (Some(listener), Some(address));
        }
        let mut sdk = None;
        if !node.systems.is_empty() {
            let (listener, address) = listen(anywhere()).await?;
            (doors.sdk, sdk) =
                (Some(listener), Some(SdkSettings { listen: address, path: SDK_PATH.to_owned(), tls: None }));
            self.add_systems(node, &settings, address)?;
        }
        let gateway = node.gateway.as_ref().map(|account| connect_gateway(account, &settings)).transpose()?;
        let time_stamps = self.authority.as_ref().map(Authority::servers).transpose()?;
        let time_stamps =
            time_stamps.map(|servers| StampSettings { servers, every: Duration::from_secs(1), anchors: None });
        let settings = truc_node::Settings { rest: node.rest.clone(), sdk, gateway, time_stamps, ..settings };
        let (shutdown, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(truc_node::run(settings, doors, async { _ = ended.await }));
        let api = NodeArgs::local(format!("http://{address}"), self.token_file(code));
        self.nodes.insert(code.to_owned(), RunningNode { running: Running { shutdown, task }, api, rest });
        Ok(())
    }

    /// As `truc-node sdk add` does.
    fn add_systems(&mut self, node: &NodePlan, settings: &truc_node::Settings, at: SocketAddr) -> anyhow::Result<()> {
        let key = StorageKey::load(&settings.storage_key)?;
        let endpoint: Endpoint = format!("http://{at}{SDK_PATH}").parse()?;
        for (system, codes) in &node.systems {
            let codes = codes.iter().map(|code| code.parse()).collect::<Result<_, _>>()?;
            let secret = sdk::add_system(&settings.sdk_systems(), &key, system, codes, now())?;
            self.accounts.insert(system, Account { endpoint: endpoint.clone(), system, secret: Arc::new(secret) });
        }
        Ok(())
    }

    pub(in crate::commands) async fn publish(&mut self, directory: &Arc<Directory>) -> anyhow::Result<()> {
        let (identity, trust) = self.link_of(&self.tree.relay("tls"))?;
        let address = self.relay_address.to_string();
        let published = publish_to(directory, identity, trust, &address, &RELAY.parse()?).await;
        let Err(failure) = published else { return Ok(()) };
        // Where the relay itself gave up, its reason is the one that helps.
        match self.relay.take_if(|relay| relay.task.is_finished()) {
            Some(relay) => relay.stop().await.context("the relay did not start"),
            None => Err(failure.source),
        }
    }

    async fn wait_connected(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        for code in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let code = code.as_str();
            loop {
                // Where the node itself gave up, its reason is the one that helps.
                if self.nodes.get(code).is_some_and(|node| node.running.task.is_finished())
                    && let Some(node) = self.nodes.remove(code)
                {
                    node.running.stop().await.with_context(|| format!("node {code} did not start"))?;
                    bail!("node {code} ended by itself");
                }
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

/// A token is a secret of the document system: for its owner alone.
fn write_token(path: &Path, token: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(writeln!(file, "{token}")?)
}

async fn listen(at: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await.with_context(|| format!("listen on {at}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// As `truc-node gateway secret` and the section `[gateway]` do.
fn connect_gateway(account: &Account, settings: &truc_node::Settings) -> anyhow::Result<GatewaySettings> {
    let key = StorageKey::load(&settings.storage_key)?;
    gateway::keep_secret(&settings.gateway_secret(), &key, account.system, account.secret.expose())?;
    Ok(GatewaySettings {
        endpoint: account.endpoint.clone(),
        system: account.system.to_owned(),
        codes: settings.codes().cloned().collect(),
        anchors: None,
        poll: Duration::from_secs(1),
        timeout: SILENCE,
    })
}
