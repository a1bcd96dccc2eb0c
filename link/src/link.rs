//! One process's side of its lane: identity, trust and admission, swapped while connections run.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{Duration, sleep},
};
use tokio_rustls::TlsStream;
use tracing::{info, warn};
use truc_proto::{
    Digest, Lane, NodeId,
    limits::{CONNECTION_AGE_S_MAX, CONNECTION_GRACE_S_MAX},
};
use truc_signer::SignError;

use crate::{
    accept::{AcceptSettings, Incoming, LinkServer, listen},
    admission::Admission,
    connect::{ConnectError, ConnectSettings, Connected, connect},
    identity::Identity,
    registry::{Registry, Side, TooManyOfPeer},
    stream::{LinkStream, Peer, Registered},
    trust::{LinkTrust, PeerRefused, Revocation},
};

/// A handle; clones share everything.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) lane: Lane,
    pub(crate) registry: Registry,
    identity: ArcSwap<Identity>,
    trust: ArcSwap<LinkTrust>,
    admission: ArcSwap<Box<dyn Admission>>,
    /// Own certificates that are not presented any more, whoever dials.
    stopped: ArcSwap<BTreeSet<Digest>>,
    /// Counts swaps: what was decided under an older number is decided again.
    generation: AtomicU64,
}

/// A peer that passed, and under which generation.
pub(crate) struct Accepted {
    pub(crate) name: NodeId,
    fingerprint: Digest,
    revocation: Revocation,
    chain: Vec<CertificateDer<'static>>,
    generation: u64,
}

/// Why a connection that passed its handshake is not kept.
pub(crate) enum NotKept {
    Refused(PeerRefused),
    TooMany(TooManyOfPeer),
}

impl Link {
    /// A side of `lane`.
    pub fn new(lane: Lane, identity: Identity, trust: LinkTrust, admission: impl Admission) -> Self {
        Self(Arc::new(Inner {
            lane,
            registry: Registry::default(),
            identity: ArcSwap::from_pointee(identity),
            trust: ArcSwap::from_pointee(trust),
            admission: ArcSwap::from_pointee(Box::new(admission)),
            stopped: ArcSwap::default(),
            generation: AtomicU64::new(0),
        }))
    }

    /// The lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.0.lane
    }

    /// SHA-256 of the certificate that it presents.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.0.identity.load().fingerprint()
    }

    /// Whether it is this very identity that is presented: a certificate may come again with its key loaded anew.
    #[must_use]
    pub fn presents(&self, identity: &Identity) -> bool {
        self.0.identity.load().is(identity)
    }

    /// Why its key did not sign when a handshake last wanted it to; none: it did, or was not asked yet.
    #[must_use]
    pub fn key_fault(&self) -> Option<SignError> {
        self.0.identity.load().fault()
    }

    /// Uses another certificate and key from the next handshake on; open connections go on under the old ones.
    pub fn replace_identity(&self, identity: Identity) {
        info!(fingerprint = %identity.fingerprint(), "link identity replaced");
        self.0.identity.store(Arc::new(identity));
    }

    /// Uses other anchors, sub-CAs and revocation lists, and closes every open connection that they refuse. Returns how
    /// many those were. Takes about a millisecond per open connection.
    pub fn replace_trust(&self, trust: LinkTrust) -> usize {
        self.0.trust.store(Arc::new(trust));
        self.review()
    }

    /// Asks another admission from now on, and closes every open connection that it refuses. Returns how many.
    pub fn replace_admission(&self, admission: impl Admission) -> usize {
        self.0.admission.store(Arc::new(Box::new(admission)));
        self.review()
    }

    /// Checks every open connection again, as after the directory behind the admission changed. Returns how many were closed.
    pub fn review(&self) -> usize {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        let now = UnixTime::now();
        let closed = self.0.registry.close_unless(|peer, side, chain| {
            match self.0.authorize(chain.to_vec(), side, now) {
                Ok(accepted) if accepted.name == peer.name => true,
                Ok(accepted) => {
                    warn!(peer = %peer.name, now = %accepted.name, "link closed: its certificate is another node's now");
                    false
                }
                Err(refused) => {
                    warn!(peer = %peer.name, %refused, "link closed: no longer allowed");
                    false
                }
            }
        });
        info!(closed, "links reviewed");
        closed
    }

    /// Presents none of these own certificates any more: their keys may be in other hands. Where there is one among them that there was not before,
    /// every open connection is closed; what dials again by itself does so with another identity, or not at all. Returns how many were closed.
    pub fn stop_presenting(&self, certificates: BTreeSet<Digest>) -> usize {
        let now = Arc::new(certificates);
        let before = self.0.stopped.swap(Arc::clone(&now));
        if now.is_subset(&before) {
            return 0;
        }
        let closed = self.0.registry.close_unless(|_, _, _| false);
        info!(closed, "links closed: an own certificate is not presented any more");
        closed
    }

    /// Who is connected now, both ways.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.0.registry.peers()
    }

    /// Starts to accept on `listener`. Needs a tokio runtime. The stream goes to tonic's `serve_with_incoming_shutdown`
    /// together with [`LinkServer::draining`].
    #[must_use]
    pub fn listen(&self, listener: TcpListener, settings: AcceptSettings) -> (LinkServer, Incoming) {
        listen(&self.0, listener, settings)
    }

    /// Connects to `address` and makes sure that `expected` is there and takes our certificate.
    ///
    /// # Errors
    /// When nobody answers in time, or either side refuses the other; the error says which and why.
    pub async fn connect(
        &self,
        address: &str,
        expected: &NodeId,
        settings: ConnectSettings,
    ) -> Result<Connected, ConnectError> {
        connect(&self.0, address, expected, settings).await
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({} lane, {} connections)", self.lane, self.registry.peers().len())
    }
}

impl Inner {
    /// The certificate that is presented now, where it may be.
    pub(crate) fn presented(&self) -> Option<Digest> {
        let presented = self.identity.load().fingerprint();
        (!self.is_stopped(&presented)).then_some(presented)
    }

    pub(crate) fn is_stopped(&self, certificate: &Digest) -> bool {
        self.stopped.load().contains(certificate)
    }

    pub(crate) fn identity(&self) -> Arc<CertifiedKey> {
        self.identity.load().certified()
    }

    pub(crate) fn authorize(
        &self,
        chain: Vec<CertificateDer<'static>>,
        side: Side,
        now: UnixTime,
    ) -> Result<Accepted, PeerRefused> {
        // Read first: a swap between here and the look at it is then noticed in `keep`.
        let generation = self.generation.load(Ordering::SeqCst);
        let revocation = self.trust.load().check(&chain, side, now)?;
        let fingerprint = chain.first().map(|leaf| Digest::of(leaf)).ok_or(PeerRefused::NoCertificate)?;
        let name = self.admission.load().admit(&fingerprint)?;
        Ok(Accepted { name, fingerprint, revocation, chain, generation })
    }

    /// Registers an established connection.
    pub(crate) fn keep(
        self: &Arc<Self>,
        stream: TlsStream<TcpStream>,
        accepted: Accepted,
        side: Side,
        permits: Option<OwnedSemaphorePermit>,
    ) -> Result<LinkStream, NotKept> {
        let (tcp, tls) = stream.get_ref();
        let unspecified = || std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = Peer {
            fingerprint: accepted.fingerprint,
            name: accepted.name,
            lane: self.lane,
            group: tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())).unwrap_or_default(),
            revocation: accepted.revocation,
            address: tcp.peer_addr().unwrap_or_else(|_| unspecified()),
        };
        if let Revocation::Unknown(_) = peer.revocation {
            warn!(peer = %peer.name, revocation = %peer.revocation, "revocation of a peer could not be checked");
        }
        let (id, closed) = self.registry.add(peer.clone(), side, accepted.chain.clone()).map_err(NotKept::TooMany)?;
        let registered = Registered { link: Arc::clone(self), id };
        // A swap that came after the check and before the registration has not seen this connection.
        if self.generation.load(Ordering::SeqCst) != accepted.generation {
            let again = self.authorize(accepted.chain, side, UnixTime::now()).map_err(NotKept::Refused)?;
            if again.name != peer.name {
                let (expected, found) = (peer.name, again.name);
                return Err(NotKept::Refused(PeerRefused::WrongPeer { expected, found }));
            }
        }
        let age = sleep(Duration::from_secs(CONNECTION_AGE_S_MAX + CONNECTION_GRACE_S_MAX));
        Ok(LinkStream::new(stream, peer, registered, closed, age, permits))
    }
}
