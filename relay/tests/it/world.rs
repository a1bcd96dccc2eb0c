//! A development PKI, a relay in a temporary folder, and nodes that exist only as keys and ledgers.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Subject, wait::until_async};
use truc_evidence::{Directory, DirectoryDraft, PinnedOperator, ledger_origin};
use truc_ledger::{Ledger, LedgerKey, StoreTag, volume::DirVolume};
use truc_link::{ConnectSettings, Identity, Link, LinkTrust};
use truc_proto::{
    AgencyEntry, AxisId, BindingRequest, CertificateBinding, Entry, KeyUse, Lane, NodeEntry, NodeId, Raw, Route,
    SignedDirectory, Timestamp, relay_v1 as wire, relay_v1::relay_client::RelayClient,
};
use truc_relay::{
    InitOptions, KeySource, Settings, clock,
    core::CoreSettings,
    init, run,
    store::{Embedded, EmbeddedSettings},
};
use truc_signer::{Certificate, Crl, SoftKey, TrustStore};

use crate::client::Node;

pub(crate) type Channel = tonic::transport::Channel;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pki: Pki,
    operator: SoftKey,
    operator_pem: String,
    relay_tls: Issued,
    pub(crate) relay_entry: Entry,
    entries: Vec<Entry>,
    pub(crate) directory: Arc<Directory>,
    running: Option<(oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>, SocketAddr)>,
}

pub(crate) fn axis() -> AxisId {
    "vn-test".parse().unwrap()
}

pub(crate) fn relay_id() -> NodeId {
    "R1".parse().unwrap()
}

fn key_of(issued: &Issued) -> SoftKey {
    SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

pub(crate) fn bind(issued: &Issued, key_use: KeyUse) -> CertificateBinding {
    let certificate = Certificate::from_der(&issued.certificate_der).unwrap();
    truc_evidence::bind_certificate(&certificate, vec![key_use])
}

impl World {
    /// A relay's folder, not running yet; a directory with nodes `N-A` (G22), `N-B` (H26, H37) and the code H02, closed in favour of H05.
    pub(crate) fn new() -> (Self, Vec<Node>) {
        let now = clock();
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(KeyKind::P256, now).unwrap();
        let operator = pki.issue(Profile::Operator, Subject::new("Operator")).unwrap();
        let relay_tls = pki.issue(Profile::Tls, Subject::endpoint("R1")).unwrap();
        let relay_node = pki.issue(Profile::Node, Subject::new("Relay R1")).unwrap();
        let files = folder.path().join("given");
        std::fs::create_dir(&files).unwrap();
        let put = |name: &str, text: &str| {
            let path = files.join(name);
            std::fs::write(&path, text).unwrap();
            std::os::unix::fs::PermissionsExt::set_mode(&mut std::fs::metadata(&path).unwrap().permissions(), 0o600);
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            path
        };
        let made = init(&InitOptions {
            dir: folder.path().join("relay"),
            axis: axis(),
            lane: Lane::Ordinary,
            id: relay_id(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: KeySource::Pem {
                certificate: put("tls.pem", &relay_tls.certificate_pem),
                key: put("tls.key", &relay_tls.key_pem),
            },
            node: KeySource::Pem {
                certificate: put("node.pem", &relay_node.certificate_pem),
                key: put("node.key", &relay_node.key_pem),
            },
            anchors: put("anchors.pem", &anchors(&pki)),
            operator: put("operator.pem", &operator.leaf_pem()),
            crls: vec![put("all.crl", &pki.crls_pem().unwrap())],
            now,
        })
        .unwrap();
        let request = Raw::<BindingRequest>::parse(made.binding.request.clone()).unwrap();
        let relay_entry = request.entries[0].clone();
        let nodes = vec![
            Node::new(&pki, folder.path(), "N-A", &["G22"]),
            Node::new(&pki, folder.path(), "N-B", &["H26", "H37"]),
        ];
        let mut entries = vec![relay_entry.clone(), closed("H02", "H05", now)];
        for node in &nodes {
            entries.push(Entry::Node(node.entry()));
            entries.extend(node.codes.iter().map(|code| agency(code, Some(&node.id), now)));
        }
        let operator_pem = operator.leaf_pem();
        let operator = key_of(&operator);
        let mut world = Self {
            directory: Arc::new(sign(&pki, &operator, &operator_pem, &entries, None)),
            folder,
            pki,
            operator,
            operator_pem,
            relay_tls,
            relay_entry,
            entries,
            running: None,
        };
        world.running = None;
        (world, nodes)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::load(&self.folder.path().join("relay")).unwrap()
    }

    /// The relay's store, while no relay runs on it.
    pub(crate) fn store(&self) -> Embedded {
        let settings = self.settings();
        let key = LedgerKey::from_file(&settings.origin(), &self.relay_dir().join("keys/ledger.key")).unwrap();
        let tag = StoreTag {
            axis: settings.axis.to_string(),
            lane: settings.lane.to_string(),
            kind: "relay".into(),
            id: settings.id.to_string(),
        };
        let core = CoreSettings {
            relay: settings.id.clone(),
            open_envelopes_max: settings.open_envelopes_max,
            lease_ms: 1_000,
        };
        let (ledger, origin) = (truc_ledger::Settings::default(), settings.origin());
        let embedded = EmbeddedSettings { core, tag, origin, snapshot_every: 1_000_000, clock, ledger, index: None };
        Embedded::open(Arc::new(DirVolume::create(settings.store_dir()).unwrap()), key, embedded).unwrap()
    }

    pub(crate) async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = self.settings();
        let running = tokio::spawn(run(settings, listener, async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, running, address));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, running, _) = self.running.take().unwrap();
        let _ = stop.send(());
        running.await.unwrap().unwrap();
    }

    /// A started relay with directory version 1 in force and both nodes past Hello.
    pub(crate) async fn ready() -> (Self, Vec<Node>, Vec<RelayClient<Channel>>) {
        let (mut world, nodes) = Self::new();
        world.start().await;
        let directory = Arc::clone(&world.directory);
        let reply = world.publish(directory.read_signed().unwrap()).await;
        directory.verify_logged(&reply.logged.unwrap()).unwrap();
        let clients = world.greet(&nodes).await;
        (world, nodes, clients)
    }

    pub(crate) async fn greet(&self, nodes: &[Node]) -> Vec<RelayClient<Channel>> {
        let mut clients = Vec::new();
        for node in nodes {
            let mut client = self.connect(&node.tls).await;
            client.hello(node.hello()).await.unwrap();
            clients.push(client);
        }
        clients
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().2
    }

    pub(crate) async fn connect(&self, tls: &Issued) -> RelayClient<Channel> {
        let identity = Identity::from_pem(tls.certificate_pem.as_bytes(), tls.key_pem.as_bytes()).unwrap();
        let crls = self.pki.crls_pem().unwrap();
        let trust = LinkTrust::from_pem(
            pem_of(self.pki.root_der()).as_bytes(),
            pem_of(self.pki.sub_der()).as_bytes(),
            crls.as_bytes(),
        );
        let (relay, id) = (self.relay_tls.fingerprint(), relay_id());
        let admit = move |fingerprint: &truc_proto::Digest| {
            if *fingerprint == relay { Ok(id.clone()) } else { Err(truc_link::NotAdmitted::Unlisted(*fingerprint)) }
        };
        let link = Link::new(Lane::Ordinary, identity, trust.unwrap(), admit);
        // The listener is bound, but the store may still be opening: the link waits in the accept queue, and is tried again where that takes long.
        let (address, relay) = (self.address().to_string(), relay_id());
        let dial = || link.connect(&address, &relay, ConnectSettings::default());
        let connected = until_async("a link to the relay", dial).await;
        RelayClient::new(connected.channel)
    }

    pub(crate) async fn publish(&self, signed: SignedDirectory) -> wire::PublishDirectoryReply {
        let mut client = self.connect(&self.relay_tls).await;
        let head = wire::DirectoryChunk { statement: signed.statement, cms: signed.cms, ..Default::default() };
        let entries = wire::DirectoryChunk { entries: signed.entries, ..Default::default() };
        client.publish_directory(tokio_stream::iter([head, entries])).await.unwrap().into_inner()
    }

    pub(crate) fn next_directory(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Directory {
        let mut entries = self.entries.clone();
        change(&mut entries);
        sign(&self.pki, &self.operator, &self.operator_pem, &entries, Some(&self.directory))
    }

    pub(crate) fn trust(&self) -> TrustStore {
        trust(&self.pki)
    }

    pub(crate) fn relay_dir(&self) -> PathBuf {
        self.folder.path().join("relay")
    }
}

fn anchors(pki: &Pki) -> String {
    pem_of(pki.root_der()) + &pem_of(pki.sub_der())
}

fn pem_of(der: &[u8]) -> String {
    Certificate::from_der(der).unwrap().to_pem()
}

fn trust(pki: &Pki) -> TrustStore {
    let certificate = |der| Certificate::from_der(der).unwrap();
    let crls = Crl::from_pem(pki.crls_pem().unwrap().as_bytes()).unwrap();
    TrustStore::new(vec![certificate(pki.root_der())], vec![certificate(pki.sub_der())], crls).unwrap()
}

fn sign(
    pki: &Pki,
    operator: &SoftKey,
    operator_pem: &str,
    entries: &[Entry],
    previous: Option<&Directory>,
) -> Directory {
    let now = clock();
    let mut draft = match previous {
        Some(previous) => DirectoryDraft::following(previous).unwrap(),
        None => DirectoryDraft::new(axis(), Lane::Ordinary),
    };
    for entry in entries {
        draft.put(entry.clone()).unwrap();
    }
    let signed = draft.sign(operator, now, now + std::time::Duration::from_secs(86_400)).unwrap();
    let pinned = PinnedOperator::from_file_bytes(operator_pem.as_bytes()).unwrap();
    Directory::verify(signed, &pinned, &trust(pki), &axis(), Lane::Ordinary, now).unwrap()
}

pub(crate) fn agency(code: &str, node: Option<&NodeId>, now: Timestamp) -> Entry {
    Entry::Agency(AgencyEntry {
        code: code.parse().unwrap(),
        names: vec![format!("Agency {code}")],
        parent: None,
        old_codes: vec![],
        valid_from: now.before(std::time::Duration::from_secs(86_400)),
        valid_to: None,
        serves_until: None,
        successor: None,
        route: Route::Native,
        node: node.cloned(),
        lanes: vec![Lane::Ordinary],
        certificates: vec![],
    })
}

fn closed(code: &str, successor: &str, now: Timestamp) -> Entry {
    let Entry::Agency(mut entry) = agency(code, None, now) else { panic!("an agency") };
    entry.valid_to = Some(now.before(std::time::Duration::from_secs(3_600)));
    entry.successor = Some(successor.parse().unwrap());
    Entry::Agency(entry)
}

/// A node's ledger in a folder of its own.
pub(crate) fn ledger(folder: &std::path::Path, id: &str, key: &[u8]) -> (Ledger, NodeEntry) {
    struct Nothing;
    impl truc_ledger::Fold for Nothing {
        fn reset(&mut self) {}
        fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), truc_ledger::FoldError> {
            Ok(())
        }
        fn apply(&mut self, _: truc_ledger::Replayed<'_>) -> Result<(), truc_ledger::FoldError> {
            Ok(())
        }
    }
    let node: NodeId = id.parse().unwrap();
    let origin = ledger_origin(&axis(), Lane::Ordinary, &node, 1);
    let key = LedgerKey::from_pkcs8(&origin, key).unwrap();
    let ledger_key = *key.public().public_key();
    let volume = DirVolume::create(folder.join(id)).unwrap();
    let tag = StoreTag { axis: axis().to_string(), lane: "ordinary".into(), kind: "node".into(), id: id.into() };
    let settings = truc_ledger::Settings::default();
    let (ledger, _) = truc_ledger::open(Arc::new(volume), tag, origin.clone(), key, settings, &mut Nothing).unwrap();
    let entry = NodeEntry {
        id: node,
        lane: Lane::Ordinary,
        origin,
        epoch: 1,
        ledger_key,
        witness_key: None,
        certificates: vec![],
    };
    (ledger, entry)
}
