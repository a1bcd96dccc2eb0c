//! The accept loop: bounded, patient with nobody, and able to drain.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};
use tokio_stream::Stream;
use tracing::{info, warn};
use truc_proto::{
    Lane, NodeId,
    limits::{
        ACCEPT_PENDING_MAX, CALL_HEADER_BYTES_MAX, CONNECTION_AGE_S_MAX, CONNECTION_CALLS_MAX, CONNECTIONS_MAX,
        CONNECTIONS_PER_PEER_MAX, HANDSHAKE_MS_MAX,
    },
};
use truc_signer::SignError;

use crate::{
    handshake::{Verifier, server_config},
    lane_protocol,
    link::{Inner, NotKept},
    registry::Side,
    stream::LinkStream,
    token::own_key_failed,
    trust::PeerRefused,
};

/// Bounds of one listener, at most those of `limits.rs`, and who hears of refusals.
#[derive(Clone)]
pub struct AcceptSettings {
    /// Most handshakes in progress.
    pub pending_max: usize,
    /// Most connections, those in handshake included.
    pub connections_max: usize,
    /// Longest handshake.
    pub handshake_timeout: Duration,
    /// Hears of every connection that was refused, besides the log.
    pub on_refused: Option<OnRefused>,
}

/// Called with the address and the reason; must not block.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "this struct is the name that the type gets")]
pub struct OnRefused(Arc<dyn Fn(SocketAddr, &AcceptRefusal) + Send + Sync>);

impl OnRefused {
    /// Calls `hear` for each refusal.
    pub fn new(hear: impl Fn(SocketAddr, &AcceptRefusal) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            pending_max: ACCEPT_PENDING_MAX,
            connections_max: CONNECTIONS_MAX,
            handshake_timeout: Duration::from_millis(HANDSHAKE_MS_MAX),
            on_refused: None,
        }
    }
}

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AcceptRefusal {
    /// Nothing or too little came in time.
    #[error("no complete handshake within {0:?}")]
    Timeout(Duration),
    /// A node of the other lane.
    #[error(
        "the peer is on the {theirs} lane, this is the {ours} lane; a connection across lanes is never made: correct the peer's relay address"
    )]
    WrongLane {
        /// The lane served here.
        ours: Lane,
        /// The lane the peer named.
        theirs: Lane,
    },
    /// No node or relay: a browser, a scanner.
    #[error("the peer names no lane of this axis")]
    NoLane,
    /// Its certificate.
    #[error(transparent)]
    Peer(#[from] PeerRefused),
    /// Too many connections of one peer.
    #[error("{0} holds {CONNECTIONS_PER_PEER_MAX} connections already; its administrator must see why")]
    TooManyOfPeer(NodeId),
    /// Our own key did not sign: its token is away.
    #[error("our own TLS key did not sign")]
    OwnKey(#[source] SignError),
    /// The handshake failed otherwise, e.g. no TLS 1.3.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

/// Connections for tonic's `serve_with_incoming_shutdown`. Dropping it ends the accept loop and closes the listener.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<io::Result<LinkStream>>);

impl Stream for Incoming {
    type Item = io::Result<LinkStream>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// A running listener.
#[derive(Debug)]
pub struct LinkServer {
    address: Option<SocketAddr>,
    link: Arc<Inner>,
    draining: watch::Sender<bool>,
    open: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    settings: AcceptSettings,
}

impl LinkServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A tonic server with the link's bounds: HTTP/2 only, calls per connection, header size, age.
    #[must_use]
    pub fn http() -> tonic::transport::Server {
        // No `max_connection_age_grace`: with it tonic 0.14.9 cuts without asking first. The stream itself has the hard end.
        tonic::transport::Server::builder()
            .max_concurrent_streams(CONNECTION_CALLS_MAX)
            .http2_max_header_list_size(CALL_HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .max_connection_age(Duration::from_secs(CONNECTION_AGE_S_MAX))
            .tcp_nodelay(true)
    }

    /// Handshakes in progress.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.settings.pending_max.saturating_sub(self.pending.available_permits())
    }

    /// Connections, those in handshake included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.settings.connections_max.saturating_sub(self.open.available_permits())
    }

    /// Completes when [`LinkServer::drain`] is called; tonic's shutdown signal.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut draining = self.draining.subscribe();
        async move {
            // An error means the server handle is gone: then nobody can drain any more, and serving goes on.
            if draining.wait_for(|draining| *draining).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops accepting, lets calls in progress finish for at most `grace`, then closes what is left. Returns how many
    /// connections had to be closed.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.draining.send_replace(true);
        let all = u32::try_from(self.settings.connections_max).unwrap_or(u32::MAX);
        if timeout(grace, self.open.acquire_many(all)).await.is_ok() {
            return 0;
        }
        let closed = self.link.registry.close_unless(|_, side, _| side != Side::Accepted);
        warn!(closed, ?grace, "links closed: calls did not finish while draining");
        // Their tasks end at once now, and with them the permits; unless the caller neither reads nor drops `Incoming`.
        let _ = timeout(Duration::from_secs(1), self.open.acquire_many(all)).await;
        closed
    }
}

impl std::fmt::Debug for AcceptSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pending_max, connections_max, handshake_timeout, .. } = self;
        write!(
            f,
            "AcceptSettings(pending {pending_max}, connections {connections_max}, handshake {handshake_timeout:?})"
        )
    }
}

pub(crate) fn listen(link: &Arc<Inner>, listener: TcpListener, settings: AcceptSettings) -> (LinkServer, Incoming) {
    let settings = AcceptSettings {
        pending_max: settings.pending_max.clamp(1, ACCEPT_PENDING_MAX),
        connections_max: settings.connections_max.clamp(1, CONNECTIONS_MAX),
        handshake_timeout: settings.handshake_timeout.min(Duration::from_millis(HANDSHAKE_MS_MAX)),
        on_refused: settings.on_refused,
    };
    let (sender, receiver) = mpsc::channel(1);
    let server = LinkServer {
        address: listener.local_addr().ok(),
        link: Arc::clone(link),
        draining: watch::Sender::new(false),
        open: Arc::new(Semaphore::new(settings.connections_max)),
        pending: Arc::new(Semaphore::new(settings.pending_max)),
        settings: settings.clone(),
    };
    let shared =
        Shared { link: Arc::clone(link), settings: Arc::new(settings), sender, draining: server.draining.subscribe() };
    tokio::spawn(accept_all(shared, listener, Arc::clone(&server.open), Arc::clone(&server.pending)));
    (server, Incoming(receiver))
}

#[derive(Clone)]
struct Shared {
    link: Arc<Inner>,
    settings: Arc<AcceptSettings>,
    sender: mpsc::Sender<io::Result<LinkStream>>,
    draining: watch::Receiver<bool>,
}

impl Shared {
    /// Completes when no more connections are wanted.
    async fn over(&mut self) {
        tokio::select! {
            () = self.sender.closed() => {}
            // An error means the handle was dropped: the stream alone decides then.
            Ok(_) = self.draining.wait_for(|draining| *draining) => {}
        }
    }
}

async fn accept_all(mut shared: Shared, listener: TcpListener, open: Arc<Semaphore>, pending: Arc<Semaphore>) {
    loop {
        let next = async {
            // First the permits: who finds none waits in the kernel, where waiting costs us nothing.
            let pending = Arc::clone(&pending).acquire_owned().await.ok()?;
            let open = Arc::clone(&open).acquire_owned().await.ok()?;
            Some((listener.accept().await, pending, open))
        };
        let mut watcher = shared.clone();
        let (accepted, pending, open) = tokio::select! {
            Some(next) = next => next,
            () = watcher.over() => return,
        };
        match accepted {
            Ok((tcp, address)) => {
                tokio::spawn(admit(shared.clone(), tcp, address, pending, open));
            }
            Err(error) => {
                // Out of file descriptors, or the peer is gone already. A pause, so that the former is no busy loop.
                warn!(%error, "cannot accept a connection");
                tokio::select! { () = sleep(Duration::from_millis(100)) => {}, () = shared.over() => return }
            }
        }
    }
}

async fn admit(
    mut shared: Shared,
    tcp: TcpStream,
    address: SocketAddr,
    pending: OwnedSemaphorePermit,
    open: OwnedSemaphorePermit,
) {
    let _ = tcp.set_nodelay(true);
    let limit = shared.settings.handshake_timeout;
    let link = Arc::clone(&shared.link);
    let handshake = async {
        let shaken = timeout(limit, shake(&link, tcp, open)).await;
        shaken.unwrap_or(Err(AcceptRefusal::Timeout(limit)))
    };
    let outcome = {
        let mut watcher = shared.clone();
        tokio::select! { outcome = handshake => outcome, () = watcher.over() => return }
    };
    drop(pending);
    match outcome {
        Ok(stream) => {
            let peer = stream.peer();
            info!(peer = %peer.name, %address, group = peer.group, revocation = %peer.revocation, "link accepted");
            let sender = shared.sender.clone();
            // Nobody takes it while we drain: dropped, which closes it.
            tokio::select! { _ = sender.send(Ok(stream)) => {}, () = shared.over() => {} }
        }
        Err(refusal) => {
            warn!(%address, refusal = %Chain(&refusal), "link refused");
            if let Some(on_refused) = &shared.settings.on_refused {
                (on_refused.0)(address, &refusal);
            }
        }
    }
}

async fn shake(link: &Arc<Inner>, tcp: TcpStream, open: OwnedSemaphorePermit) -> Result<LinkStream, AcceptRefusal> {
    let hello =
        LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await.map_err(AcceptRefusal::Handshake)?;
    let offered: Vec<Vec<u8>> = hello.client_hello().alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    let offers = |lane: &Lane| offered.iter().any(|name| name == lane_protocol(*lane));
    if offered.is_empty() {
        // rustls would go on without a name. Closed in silence: it is nobody of ours.
        return Err(AcceptRefusal::NoLane);
    }
    let verifier = Verifier::new(link, Side::Accepted);
    let config = server_config(link, Arc::clone(&verifier))
        .map_err(|error| AcceptRefusal::Handshake(io::Error::other(error)))?;
    // With another lane's name this fails with the alert no_application_protocol, which the peer understands.
    let shaken = hello.into_stream(Arc::new(config)).await;
    match (shaken, verifier.outcome()) {
        (Ok(stream), Some(Ok(accepted))) => link
            .keep(TlsStream::Server(stream), accepted, Side::Accepted, Some(open))
            .map_err(|not_kept| match not_kept {
                NotKept::Refused(refused) => AcceptRefusal::Peer(refused),
                NotKept::TooMany(of) => AcceptRefusal::TooManyOfPeer(of.0),
            }),
        (Ok(_), None) => Err(AcceptRefusal::Peer(PeerRefused::NoCertificate)),
        (_, Some(Err(refused))) => Err(AcceptRefusal::Peer(refused)),
        (Err(error), _) if offers(&link.lane) => {
            Err(own_key_failed(&error).map_or(AcceptRefusal::Handshake(error), AcceptRefusal::OwnKey))
        }
        (Err(_), _) => Err(Lane::ALL
            .iter()
            .find(|lane| offers(lane))
            .map_or(AcceptRefusal::NoLane, |theirs| AcceptRefusal::WrongLane { ours: link.lane, theirs: *theirs })),
    }
}

/// An error with its sources, once each.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}
