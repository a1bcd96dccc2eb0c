//! The service between nodes and relay: gRPC over mutual TLS.
//!
//! Every signature and hash is checked here, on blocking threads, before the core hears of anything; what leaves is proven from the ledger. Who
//! the caller is, its TLS certificate says; until it has said Hello on its connection it hears nothing that carries a signature.

mod audit;
mod changes;
mod cosign;
mod directory;
pub(crate) use directory::is_the_one;
pub use offer::offered_recipient;
mod evidence;
mod fetch;
mod forks;
mod hello;
mod offer;
mod proofs;
mod refuse;
mod restored;
mod sealed;
mod undelivered;
mod upload;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use truc_custody::Witness;
use truc_evidence::{Directory, PinnedOperator};
use truc_ledger::LedgerKey;
use truc_link::Peer;
use truc_proto::{
    AxisId, Digest, Lane, NodeId, NoteKey, Timestamp,
    limits::{CONNECTIONS_MAX, MESSAGE_BYTES_MAX},
    relay_v1::{self as wire, relay_server},
};
use truc_signer::TrustStore;

use crate::{
    core::{DirectoryMark, EnvelopeKey, VerifiedOffer},
    store::{Store, StoreError},
};
use refuse::Refusal;

/// Deliveries acknowledged by one record.
const ACKNOWLEDGED_AT_ONCE: usize = 16_384;
/// Audits of the directory at the same time.
const AUDITS_MAX: usize = 2;

/// What the service is given once.
pub struct ServiceSettings {
    /// Trust domain.
    pub axis: AxisId,
    /// Lane.
    pub lane: Lane,
    /// This relay.
    pub relay: NodeId,
    /// Checks this relay's own checkpoints.
    pub ledger_key: NoteKey,
    /// Signs undelivered statements and audits of the directory.
    pub statements: LedgerKey,
    /// Cosigns nodes' checkpoints; none: this relay never is a witness.
    pub witness: Option<Witness>,
    /// Whose signature makes a directory.
    pub operator: PinnedOperator,
    /// The store, where the relay was restored from a backup and its peers have not confirmed that nothing newer is known.
    pub restored: Option<PathBuf>,
    /// The store's folder.
    pub store: PathBuf,
    /// Which origin of its ledger this is.
    pub epoch: u64,
    /// Where directory versions are kept, one folder each.
    pub directories: PathBuf,
    /// How long a lease holds, in milliseconds.
    pub lease_ms: u64,
    /// How often the undelivered statement is made.
    pub statement_every: Duration,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// What all calls share.
pub struct Service<S> {
    settings: ServiceSettings,
    store: Arc<S>,
    trust: RwLock<Arc<TrustStore>>,
    directory: tokio::sync::watch::Sender<Option<Arc<Directory>>>,
    /// Connections on which Hello succeeded.
    greeted: Mutex<HashSet<(Digest, SocketAddr)>>,
    /// Offers that wait for their payload.
    uploads: Mutex<HashMap<EnvelopeKey, PendingUpload>>,
    /// Roots of undelivered lists by node, with the count of changes they are of.
    roots: Mutex<HashMap<NodeId, (u64, Digest)>>,
    /// A peer holds a later state of our ledger than we do: nothing signed leaves any more.
    silenced: AtomicBool,
    /// Whom this relay waits for since it was restored.
    unheard: Option<restored::Unheard>,
    publishing: tokio::sync::Mutex<()>,
    changes: Mutex<changes::ChangeHistory>,
    in_force: Mutex<Option<DirectoryMark>>,
    /// Audits read every version there was: a few at a time.
    audits: Arc<tokio::sync::Semaphore>,
    stopping: tokio::sync::watch::Sender<bool>,
    witnesses: cosign::Witnesses,
}

struct PendingUpload {
    node: NodeId,
    offer: VerifiedOffer,
    since: Timestamp,
}

type Reply<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl<S: Store> Service<S> {
    /// A service over `store`, with the directory version that is in force.
    #[must_use]
    pub fn new(
        settings: ServiceSettings,
        store: Arc<S>,
        trust: Arc<TrustStore>,
        directory: Option<(Arc<Directory>, DirectoryMark)>,
    ) -> Arc<Self> {
        let (directory, in_force) = directory.unzip();
        let unheard = settings.restored.clone().zip(directory.as_ref());
        let unheard = unheard.map(|(store, directory)| restored::Unheard::of(store, directory));
        let version = directory.as_ref().map_or(0, |directory| directory.version());
        let changes = changes::ChangeHistory::load(&settings.directories, version);
        Arc::new(Self {
            settings,
            store,
            trust: RwLock::new(trust),
            directory: tokio::sync::watch::Sender::new(directory),
            greeted: Mutex::default(),
            uploads: Mutex::default(),
            roots: Mutex::default(),
            silenced: AtomicBool::new(false),
            unheard,
            publishing: tokio::sync::Mutex::new(()),
            changes: Mutex::new(changes),
            in_force: Mutex::new(in_force),
            audits: Arc::new(tokio::sync::Semaphore::new(AUDITS_MAX)),
            stopping: tokio::sync::watch::Sender::new(false),
            witnesses: cosign::Witnesses::default(),
        })
    }

    /// The tonic service.
    #[must_use]
    pub fn server(self: &Arc<Self>) -> relay_server::RelayServer<Calls<S>> {
        relay_server::RelayServer::new(Calls(Arc::clone(self)))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(2 * MESSAGE_BYTES_MAX)
    }

    /// Ends the Watch streams, so that a drain need not wait for them.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Uses other anchors and revocation lists from now on.
    pub fn replace_trust(&self, trust: Arc<TrustStore>) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    /// Follows the directory in force.
    #[must_use]
    pub fn directories(&self) -> tokio::sync::watch::Receiver<Option<Arc<Directory>>> {
        self.directory.subscribe()
    }

    /// The relay's id.
    #[must_use]
    pub const fn relay_id(&self) -> &NodeId {
        &self.settings.relay
    }

    /// True when a peer has shown that this ledger is an old copy, or while peers that may show it have not been heard.
    #[must_use]
    pub fn is_silenced(&self) -> bool {
        !self.may_publish() || !self.is_listed()
    }

    /// Whether directory versions are taken.
    fn may_publish(&self) -> bool {
        !self.silenced.load(Ordering::Acquire) && self.unheard().is_empty()
    }

    /// Whether the directory in force names this ledger: else nobody could believe what it signs.
    fn is_listed(&self) -> bool {
        let own = self.settings.ledger_key.name();
        self.directory.borrow().as_ref().is_none_or(|directory| directory.relay().origin == own)
    }

    /// Nodes that a restored relay waits for.
    fn unheard(&self) -> Vec<NodeId> {
        self.unheard.as_ref().map(restored::Unheard::nodes).unwrap_or_default()
    }

    /// Why nothing signed leaves.
    fn why_silenced(&self) -> Refusal {
        match self.unheard() {
            _ if self.silenced.load(Ordering::Acquire) => Refusal::silenced(),
            nodes if nodes.is_empty() => Refusal::new_origin(),
            nodes => Refusal::restored(&nodes),
        }
    }

    pub(crate) fn trust(&self) -> Arc<TrustStore> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Timestamp {
        (self.settings.clock)()
    }

    fn current_directory(&self) -> Result<Arc<Directory>, Refusal> {
        self.directory.borrow().clone().ok_or_else(Refusal::no_directory)
    }

    /// Who calls, once its connection has passed Hello.
    fn caller<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let peer = peer(request)?;
        let greeted = lock(&self.greeted).contains(&(peer.fingerprint, peer.address));
        if self.is_silenced() {
            return Err(self.why_silenced().into());
        }
        if greeted { Ok(peer.name) } else { Err(Refusal::no_hello().into()) }
    }

    fn greet(&self, peer: &Peer) {
        let mut greeted = lock(&self.greeted);
        // Connections that ended leave their mark here; starting over costs the living ones a Hello.
        if greeted.len() >= 4 * CONNECTIONS_MAX {
            greeted.clear();
        }
        greeted.insert((peer.fingerprint, peer.address));
    }
}

fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| Status::unauthenticated("this service is reached over the axis's own TLS link only"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what computes or reads the disk off the network's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request ended in a panic");
        Status::internal("the request could not be processed; the relay's operator finds the cause in its log")
    })
}

/// The calls of `truc.relay.v1`, each in its own module.
pub struct Calls<S>(Arc<Service<S>>);

#[tonic::async_trait]
impl<S: Store> relay_server::Relay for Calls<S> {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Reply<wire::HelloReply> {
        let peer = peer(&request)?;
        self.0.hello(&peer, request.into_inner()).await.map(Response::new)
    }

    async fn offer(&self, request: Request<wire::OfferRequest>) -> Reply<wire::OfferReply> {
        let node = self.0.caller(&request)?;
        self.0.offer(node, request.into_inner()).await.map(Response::new)
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadChunk>>) -> Reply<wire::UploadReply> {
        let node = self.0.caller(&request)?;
        self.0.upload(node, request.into_inner()).await.map(Response::new)
    }

    type WatchStream = Streamed<wire::WatchEvent>;
    async fn watch(&self, request: Request<wire::WatchRequest>) -> Reply<Self::WatchStream> {
        let node = self.0.caller(&request)?;
        Ok(Response::new(self.0.watch(node)))
    }

    async fn lease(&self, request: Request<wire::LeaseRequest>) -> Reply<wire::LeaseReply> {
        let node = self.0.caller(&request)?;
        self.0.lease(node, request.into_inner()).await.map(Response::new)
    }

    type PayloadStream = Streamed<wire::PayloadChunk>;
    async fn payload(&self, request: Request<wire::PayloadRequest>) -> Reply<Self::PayloadStream> {
        let node = self.0.caller(&request)?;
        self.0.payload(node, request.into_inner()).await.map(Response::new)
    }

    async fn take_keys(&self, request: Request<wire::TakeKeysRequest>) -> Reply<wire::TakeKeysReply> {
        let node = self.0.caller(&request)?;
        self.0.take_keys(node, request.into_inner()).await.map(Response::new)
    }

    async fn push_evidence(&self, request: Request<wire::PushEvidenceRequest>) -> Reply<wire::PushEvidenceReply> {
        let node = self.0.caller(&request)?;
        self.0.push_evidence(node, request.into_inner()).await.map(Response::new)
    }

    async fn acknowledge_evidence(
        &self,
        request: Request<wire::AcknowledgeEvidenceRequest>,
    ) -> Reply<wire::AcknowledgeEvidenceReply> {
        let node = self.0.caller(&request)?;
        for numbers in request.into_inner().numbers.chunks(ACKNOWLEDGED_AT_ONCE) {
            self.0.store.acknowledge(node.clone(), numbers.to_vec()).await.map_err(Refusal::from)?;
        }
        Ok(Response::new(wire::AcknowledgeEvidenceReply {}))
    }

    async fn undelivered(&self, request: Request<wire::UndeliveredRequest>) -> Reply<wire::UndeliveredReply> {
        let node = self.0.caller(&request)?;
        self.0.undelivered(node, request.into_inner()).await.map(Response::new)
    }

    async fn sealed_to(&self, request: Request<wire::SealedToRequest>) -> Reply<wire::SealedToReply> {
        let node = self.0.caller(&request)?;
        self.0.sealed_to(node, request.into_inner()).await.map(Response::new)
    }

    type AuditDirectoryStream = Streamed<wire::AuditChunk>;
    async fn audit_directory(
        &self,
        request: Request<wire::AuditDirectoryRequest>,
    ) -> Reply<Self::AuditDirectoryStream> {
        self.0.caller(&request)?;
        self.0.audit_directory(&request.into_inner().code).map(Response::new)
    }

    type DirectoryStream = Streamed<wire::DirectoryChunk>;
    async fn directory(&self, request: Request<wire::DirectoryRequest>) -> Reply<Self::DirectoryStream> {
        self.0.caller(&request)?;
        self.0.serve_directory(request.into_inner()).await.map(Response::new)
    }

    async fn publish_directory(
        &self,
        request: Request<Streaming<wire::DirectoryChunk>>,
    ) -> Reply<wire::PublishDirectoryReply> {
        // Without Hello: the operator has no ledger of its own, and what counts is its signature on the directory.
        let peer = peer(&request)?;
        if !self.0.may_publish() {
            return Err(self.0.why_silenced().into());
        }
        self.0.publish(&peer.name, request.into_inner()).await.map(Response::new)
    }

    async fn checkpoint(&self, request: Request<wire::CheckpointRequest>) -> Reply<wire::CheckpointReply> {
        self.0.caller(&request)?;
        self.0.checkpoint(request.into_inner()).await.map(Response::new)
    }

    async fn reconcile(&self, request: Request<wire::ReconcileRequest>) -> Reply<wire::ReconcileReply> {
        self.0.caller(&request)?;
        self.0.reconcile(request.into_inner()).await.map(Response::new)
    }

    async fn prove_history(&self, request: Request<wire::ProveHistoryRequest>) -> Reply<wire::ProveHistoryReply> {
        let node = self.0.caller(&request)?;
        self.0.prove_history(node, request.into_inner()).await.map(Response::new)
    }

    async fn cosign(&self, request: Request<wire::CosignRequest>) -> Reply<wire::CosignReply> {
        let node = self.0.caller(&request)?;
        self.0.cosign(node, request.into_inner()).await.map(Response::new)
    }

    async fn cosigned(&self, request: Request<wire::CosignedRequest>) -> Reply<wire::CosignedReply> {
        let node = self.0.caller(&request)?;
        self.0.cosigned(&node, request.into_inner()).map(Response::new)
    }
}

/// Reads what names an envelope on the wire.
fn envelope_key(sender: &str, envelope: &str) -> Result<EnvelopeKey, Refusal> {
    let sender = sender.parse().map_err(|error| Refusal::invalid(format!("the sender is no agency code: {error}")))?;
    let envelope = envelope.parse().map_err(|error| Refusal::invalid(format!("the envelope is no id: {error}")))?;
    Ok(EnvelopeKey { sender, envelope })
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}
