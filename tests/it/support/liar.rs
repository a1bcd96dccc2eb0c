//! A relay that lies: it stands between nodes and the true relay with the true relay's own keys, passes every call on, and changes what a
//! [`Lie`] says. So every lie is told by somebody who could tell it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Channel};
use truc_ledger::LedgerKey;
use truc_link::{AcceptSettings, Identity, Link, LinkServer, LinkTrust, NotAdmitted, Peer};
use truc_proto::{
    Digest, NodeId,
    relay_v1::{self as wire, relay_client::RelayClient, relay_server},
};

use super::{World, world};

type Client = RelayClient<Channel>;
type Reply<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What is changed on the way. Everything else goes through as it is.
pub(crate) trait Lie: Send + Sync + 'static {
    fn hello(&self, _node: &NodeId, _reply: &mut wire::HelloReply) {}
    fn event(&self, _node: &NodeId, event: wire::WatchEvent) -> Vec<wire::WatchEvent> {
        vec![event]
    }
    fn lease(&self, _node: &NodeId, _reply: &mut wire::LeaseReply) {}
    fn payload(&self, _node: &NodeId, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    fn keys(&self, _node: &NodeId, _reply: &mut wire::TakeKeysReply) {}
    fn directory(&self, _chunks: &mut Vec<wire::DirectoryChunk>) {}
    fn checkpoint(&self, _reply: &mut wire::CheckpointReply) {}
    fn undelivered(&self, _reply: &mut wire::UndeliveredReply) {}
    fn offer(&self, _node: &NodeId, _reply: &mut wire::OfferReply) {}
    /// True: evidence is not taken now.
    fn blocks_evidence(&self) -> bool {
        false
    }
    /// True: key envelopes are not asked for now.
    fn blocks_keys(&self) -> bool {
        false
    }
    /// True: this piece of an upload is passed on; false: the upload breaks here.
    fn upload(&self, _bytes: usize) -> bool {
        true
    }
}

impl<L: Lie> Lie for Arc<L> {
    fn hello(&self, node: &NodeId, reply: &mut wire::HelloReply) {
        L::hello(self, node, reply);
    }
    fn event(&self, node: &NodeId, event: wire::WatchEvent) -> Vec<wire::WatchEvent> {
        L::event(self, node, event)
    }
    fn lease(&self, node: &NodeId, reply: &mut wire::LeaseReply) {
        L::lease(self, node, reply);
    }
    fn payload(&self, node: &NodeId, bytes: Vec<u8>) -> Vec<u8> {
        L::payload(self, node, bytes)
    }
    fn keys(&self, node: &NodeId, reply: &mut wire::TakeKeysReply) {
        L::keys(self, node, reply);
    }
    fn directory(&self, chunks: &mut Vec<wire::DirectoryChunk>) {
        L::directory(self, chunks);
    }
    fn checkpoint(&self, reply: &mut wire::CheckpointReply) {
        L::checkpoint(self, reply);
    }
    fn undelivered(&self, reply: &mut wire::UndeliveredReply) {
        L::undelivered(self, reply);
    }
    fn offer(&self, node: &NodeId, reply: &mut wire::OfferReply) {
        L::offer(self, node, reply);
    }
    fn blocks_evidence(&self) -> bool {
        L::blocks_evidence(self)
    }
    fn blocks_keys(&self) -> bool {
        L::blocks_keys(self)
    }
    fn upload(&self, bytes: usize) -> bool {
        L::upload(self, bytes)
    }
}

/// The truth.
pub(crate) struct Truth;

impl Lie for Truth {}

/// What went through.
#[derive(Default)]
pub(crate) struct Counts {
    /// Payload bytes served to recipients.
    pub(crate) served: AtomicU64,
    /// Calls of Payload.
    pub(crate) downloads: AtomicU64,
    /// Hellos, by whomever.
    pub(crate) hellos: AtomicU64,
    /// Payload bytes that senders uploaded.
    pub(crate) uploaded: AtomicU64,
    /// Checkpoints from which nodes proved their own ledgers, and the relay was content.
    pub(crate) proven: AtomicUsize,
}

struct Shared {
    lie: Box<dyn Lie>,
    counts: Arc<Counts>,
    /// By the peer's address: a connection here is a connection there.
    upstreams: Mutex<HashMap<SocketAddr, Client>>,
    identities: HashMap<NodeId, (Vec<u8>, Vec<u8>)>,
    anchors: (Vec<u8>, Vec<u8>),
    lane: truc_proto::Lane,
    relay: SocketAddr,
    relay_tls: Digest,
}

/// The liar; dropping it ends it.
pub(crate) struct Liar {
    pub(crate) counts: Arc<Counts>,
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
    _server: Arc<LinkServer>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Liar {
    /// Stands between the nodes and the relay from now on: connections to the relay are closed, nodes come back to the liar.
    pub(crate) async fn between(world: &World, nodes: &[&str], lie: impl Lie) -> Self {
        let pems = |name: &str| {
            let issued = world.issued(name);
            (issued.certificate_pem.clone().into_bytes(), issued.key_pem.clone().into_bytes())
        };
        let identities: HashMap<NodeId, _> =
            nodes.iter().map(|id| (id.parse().unwrap(), pems(&format!("{id}.tls")))).collect();
        let admitted: HashMap<Digest, NodeId> =
            nodes.iter().map(|id| (world.issued(&format!("{id}.tls")).fingerprint(), id.parse().unwrap())).collect();
        let counts = Arc::new(Counts::default());
        let shared = Arc::new(Shared {
            lie: Box::new(lie),
            counts: Arc::clone(&counts),
            upstreams: Mutex::default(),
            identities,
            anchors: (world.pki.anchors_pem.clone().into_bytes(), world.pki.intermediates_pem.clone().into_bytes()),
            lane: world.lane,
            relay: world.relay_address(),
            relay_tls: world.issued("relay.tls").fingerprint(),
        });
        let admission =
            move |fingerprint: &Digest| admitted.get(fingerprint).cloned().ok_or(NotAdmitted::Unlisted(*fingerprint));
        let link = Link::new(world.lane, world.identity("relay.tls"), world.link_trust(), admission);
        let (listener, address) = world::free_port().await;
        let (server, incoming) = link.listen(listener, AcceptSettings::default());
        let service = relay_server::RelayServer::new(Calls(shared))
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20);
        let serving = tokio::spawn(async move {
            let _ = LinkServer::http().add_service(service).serve_with_incoming(incoming).await;
        });
        world.front.lead_to(Some(address));
        Self { counts, address, serving, _server: Arc::new(server) }
    }
}

/// The true relay's ledger key: a lying relay has it.
pub(crate) fn relay_key(world: &World) -> LedgerKey {
    let origin = world.directory().relay().origin.clone();
    LedgerKey::from_file(&origin, &world.relay_folder().join("keys/ledger.key")).unwrap()
}

struct Calls(Arc<Shared>);

impl Calls {
    /// Who calls, and its connection to the true relay, made with its own keys.
    async fn up<T>(&self, request: &Request<T>) -> Result<(NodeId, Client), Status> {
        let peer = request.extensions().get::<Peer>().cloned().ok_or_else(|| Status::unauthenticated("no peer"))?;
        let shared = &self.0;
        let mut upstreams = shared.upstreams.lock().await;
        if let Some(client) = upstreams.get(&peer.address) {
            return Ok((peer.name, client.clone()));
        }
        let (certificate, key) =
            shared.identities.get(&peer.name).ok_or_else(|| Status::unauthenticated("a stranger"))?;
        let identity = Identity::from_pem(certificate, key).map_err(|e| Status::internal(e.to_string()))?;
        let trust = LinkTrust::from_pem(&shared.anchors.0, &shared.anchors.1, &[])
            .map_err(|e| Status::internal(e.to_string()))?;
        let relay_tls = shared.relay_tls;
        let admission = move |fingerprint: &Digest| {
            let relay: NodeId = world::RELAY.parse().unwrap();
            if *fingerprint == relay_tls { Ok(relay) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
        };
        let link = Link::new(shared.lane, identity, trust, admission);
        let relay = world::RELAY.parse().unwrap();
        let connected = link.connect(&shared.relay.to_string(), &relay, world::patiently()).await;
        let connected = connected.map_err(|e| Status::unavailable(e.to_string()))?;
        let client =
            RelayClient::new(connected.channel).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
        upstreams.insert(peer.address, client.clone());
        Ok((peer.name, client))
    }
}

async fn collect<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.push(message);
    }
    Ok(all)
}

fn streamed<T: Send + 'static>(items: Vec<T>) -> Streamed<T> {
    Box::pin(tokio_stream::iter(items.into_iter().map(Ok)))
}

#[tonic::async_trait]
impl relay_server::Relay for Calls {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Reply<wire::HelloReply> {
        let (node, mut up) = self.up(&request).await?;
        let mut reply = up.hello(request.into_inner()).await?.into_inner();
        self.0.counts.hellos.fetch_add(1, Ordering::SeqCst);
        self.0.lie.hello(&node, &mut reply);
        Ok(Response::new(reply))
    }

    async fn offer(&self, request: Request<wire::OfferRequest>) -> Reply<wire::OfferReply> {
        let (node, mut up) = self.up(&request).await?;
        let mut reply = up.offer(request.into_inner()).await?.into_inner();
        self.0.lie.offer(&node, &mut reply);
        Ok(Response::new(reply))
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadChunk>>) -> Reply<wire::UploadReply> {
        let (_, mut up) = self.up(&request).await?;
        let mut chunks = request.into_inner();
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let forward = tokio::spawn(async move { up.upload(ReceiverStream::new(receiver)).await });
        while let Some(chunk) = chunks.message().await? {
            let bytes = chunk.data.len();
            if !self.0.lie.upload(bytes) {
                // What the relay has by now is on its device before the sender hears that the upload broke.
                drop(sender);
                let _ = forward.await;
                return Err(Status::unavailable("the cable was cut"));
            }
            self.0.counts.uploaded.fetch_add(bytes as u64, Ordering::SeqCst);
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
        drop(sender);
        forward.await.map_err(|e| Status::internal(e.to_string()))?
    }

    type WatchStream = Streamed<wire::WatchEvent>;
    async fn watch(&self, request: Request<wire::WatchRequest>) -> Reply<Self::WatchStream> {
        let (node, mut up) = self.up(&request).await?;
        let mut events = up.watch(request.into_inner()).await?.into_inner();
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                match events.message().await {
                    Ok(Some(event)) => {
                        for event in shared.lie.event(&node, event) {
                            if sender.send(Ok(event)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Ok(None) => return,
                    Err(status) => {
                        let _ = sender.send(Err(status)).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn lease(&self, request: Request<wire::LeaseRequest>) -> Reply<wire::LeaseReply> {
        let (node, mut up) = self.up(&request).await?;
        let mut reply = up.lease(request.into_inner()).await?.into_inner();
        self.0.lie.lease(&node, &mut reply);
        Ok(Response::new(reply))
    }

    type PayloadStream = Streamed<wire::PayloadChunk>;
    async fn payload(&self, request: Request<wire::PayloadRequest>) -> Reply<Self::PayloadStream> {
        let (node, mut up) = self.up(&request).await?;
        let mut bytes = Vec::new();
        for chunk in collect(up.payload(request.into_inner()).await?.into_inner()).await? {
            bytes.extend_from_slice(&chunk.data);
        }
        let bytes = self.0.lie.payload(&node, bytes);
        self.0.counts.downloads.fetch_add(1, Ordering::SeqCst);
        self.0.counts.served.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let chunks = bytes.chunks(256 * 1024).map(|data| wire::PayloadChunk { data: Bytes::copy_from_slice(data) });
        Ok(Response::new(streamed(chunks.collect())))
    }

    async fn take_keys(&self, request: Request<wire::TakeKeysRequest>) -> Reply<wire::TakeKeysReply> {
        let (node, mut up) = self.up(&request).await?;
        if self.0.lie.blocks_keys() {
            return Err(Status::unavailable("not now"));
        }
        let mut reply = up.take_keys(request.into_inner()).await?.into_inner();
        self.0.lie.keys(&node, &mut reply);
        Ok(Response::new(reply))
    }

    async fn push_evidence(&self, request: Request<wire::PushEvidenceRequest>) -> Reply<wire::PushEvidenceReply> {
        let (_, mut up) = self.up(&request).await?;
        if self.0.lie.blocks_evidence() {
            return Err(Status::unavailable("not now"));
        }
        up.push_evidence(request.into_inner()).await
    }

    async fn acknowledge_evidence(
        &self,
        request: Request<wire::AcknowledgeEvidenceRequest>,
    ) -> Reply<wire::AcknowledgeEvidenceReply> {
        let (_, mut up) = self.up(&request).await?;
        up.acknowledge_evidence(request.into_inner()).await
    }

    async fn sealed_to(&self, request: Request<wire::SealedToRequest>) -> Reply<wire::SealedToReply> {
        let (_, mut up) = self.up(&request).await?;
        up.sealed_to(request.into_inner()).await
    }

    async fn undelivered(&self, request: Request<wire::UndeliveredRequest>) -> Reply<wire::UndeliveredReply> {
        let (_, mut up) = self.up(&request).await?;
        let mut reply = up.undelivered(request.into_inner()).await?.into_inner();
        self.0.lie.undelivered(&mut reply);
        Ok(Response::new(reply))
    }

    type DirectoryStream = Streamed<wire::DirectoryChunk>;
    async fn directory(&self, request: Request<wire::DirectoryRequest>) -> Reply<Self::DirectoryStream> {
        let (_, mut up) = self.up(&request).await?;
        // Always the whole, as a relay may: there is more of it to lie about.
        let request = wire::DirectoryRequest { held: 0, ..request.into_inner() };
        let mut chunks = collect(up.directory(request).await?.into_inner()).await?;
        self.0.lie.directory(&mut chunks);
        Ok(Response::new(streamed(chunks)))
    }

    type AuditDirectoryStream = Streamed<wire::AuditChunk>;
    async fn audit_directory(&self, _: Request<wire::AuditDirectoryRequest>) -> Reply<Self::AuditDirectoryStream> {
        Err(Status::unimplemented("nothing here lies about the past"))
    }

    async fn publish_directory(
        &self,
        _: Request<Streaming<wire::DirectoryChunk>>,
    ) -> Reply<wire::PublishDirectoryReply> {
        Err(Status::unimplemented("the operator goes to the relay itself"))
    }

    async fn checkpoint(&self, request: Request<wire::CheckpointRequest>) -> Reply<wire::CheckpointReply> {
        let (_, mut up) = self.up(&request).await?;
        let mut reply = up.checkpoint(request.into_inner()).await?.into_inner();
        self.0.lie.checkpoint(&mut reply);
        Ok(Response::new(reply))
    }

    async fn reconcile(&self, request: Request<wire::ReconcileRequest>) -> Reply<wire::ReconcileReply> {
        let (_, mut up) = self.up(&request).await?;
        up.reconcile(request.into_inner()).await
    }

    async fn prove_history(&self, request: Request<wire::ProveHistoryRequest>) -> Reply<wire::ProveHistoryReply> {
        let (_, mut up) = self.up(&request).await?;
        let request = request.into_inner();
        let proofs = request.proofs.len();
        let reply = up.prove_history(request).await?;
        if reply.get_ref().wanted.is_empty() {
            self.0.counts.proven.fetch_add(proofs, Ordering::SeqCst);
        }
        Ok(reply)
    }

    async fn cosign(&self, request: Request<wire::CosignRequest>) -> Reply<wire::CosignReply> {
        let (_, mut up) = self.up(&request).await?;
        up.cosign(request.into_inner()).await
    }

    async fn cosigned(&self, request: Request<wire::CosignedRequest>) -> Reply<wire::CosignedReply> {
        let (_, mut up) = self.up(&request).await?;
        up.cosigned(request.into_inner()).await
    }
}
