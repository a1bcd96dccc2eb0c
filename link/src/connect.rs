//! Dialling a peer, and the tonic channel over it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tracing::info;
use truc_proto::{Lane, NodeId, limits::HANDSHAKE_MS_MAX};
use truc_signer::SignError;

use crate::{
    handshake::{Verifier, alert_meaning, client_config},
    lane_protocol,
    link::{Inner, NotKept},
    registry::Side,
    stream::{LinkStream, Peer},
    token::own_key_failed,
    trust::PeerRefused,
};

/// Bounds of dialling.
#[derive(Clone, Copy, Debug)]
pub struct ConnectSettings {
    /// Longest time until the peer has taken us, TCP connection and handshake included.
    pub timeout: Duration,
    /// How often an idle connection is asked whether it lives.
    pub keep_alive: Duration,
}

impl Default for ConnectSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(HANDSHAKE_MS_MAX * 2), keep_alive: Duration::from_secs(30) }
    }
}

/// Why a peer was not reached. Both sides' reasons are here; what to retry is the caller's decision.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Ours: the certificate that would be presented is not to be used any more, and there is no other.
    #[error("{expected} is not called: our own TLS certificate is not used any more, and there is no other")]
    OwnStopped {
        /// Whom we would call.
        expected: NodeId,
    },
    /// The network's or the peer's fault; retry later.
    #[error("cannot reach {expected} at {address}")]
    Unreachable {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reached, but it did not take us in time: it is full, or no peer of ours.
    #[error("{expected} at {address} did not take the connection within {after:?}")]
    Timeout {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// How long we waited.
        after: Duration,
    },
    /// It serves the other lane, or is no peer of ours.
    #[error("what listens at {address} does not serve the {lane} lane; correct the address of {expected}")]
    WrongLane {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// Our lane.
        lane: Lane,
    },
    /// We refuse its certificate.
    #[error("{expected} at {address} is refused")]
    Refused {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// Why.
        source: PeerRefused,
    },
    /// It refuses ours.
    #[error("{expected} at {address} refuses us: {}", alert_meaning(*alert))]
    RefusesUs {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// The TLS alert it sent.
        alert: AlertDescription,
    },
    /// Our own key did not sign: its token is away.
    #[error("our own TLS key did not sign, so {expected} at {address} was not connected to")]
    OwnKey {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// What the token said.
        source: SignError,
    },
    /// The handshake failed otherwise.
    #[error("the TLS handshake with {expected} at {address} failed")]
    Handshake {
        /// Whom we called.
        expected: NodeId,
        /// Where.
        address: String,
        /// What the library said.
        source: io::Error,
    },
}

/// A peer that is there, whom we trust, and that took us.
#[derive(Clone, Debug)]
pub struct Connected {
    /// For generated clients. When the connection breaks, the next call dials again, with the identity and the lists of
    /// that moment; when that fails, the call does.
    pub channel: Channel,
    /// Who it was on the first connection.
    pub peer: Peer,
}

pub(crate) async fn connect(
    link: &Arc<Inner>,
    address: &str,
    expected: &NodeId,
    settings: ConnectSettings,
) -> Result<Connected, ConnectError> {
    let dialler = Dialler { link: Arc::clone(link), address: address.into(), expected: expected.clone(), settings };
    let stream = dialler.dial().await?;
    let peer = stream.peer().clone();
    info!(peer = %peer.name, address, group = peer.group, revocation = %peer.revocation, "link connected");

    // The first connection is made already, with an error that says everything; tonic's own would be opaque.
    let first = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: Uri| {
        let (dialler, ready) = (dialler.clone(), first.lock().unwrap_or_else(PoisonError::into_inner).take());
        async move {
            match ready {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dialler.dial().await.map(TokioIo::new),
            }
        }
    });
    let handshake = |source: tonic::transport::Error| ConnectError::Handshake {
        expected: expected.clone(),
        address: address.to_owned(),
        source: io::Error::other(source),
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", expected.dns_name()))
        .map_err(handshake)?
        .http2_keep_alive_interval(settings.keep_alive)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect_with_connector(connector).await.map_err(handshake)?;
    Ok(Connected { channel, peer })
}

#[derive(Clone)]
struct Dialler {
    link: Arc<Inner>,
    address: Arc<str>,
    expected: NodeId,
    settings: ConnectSettings,
}

impl Dialler {
    async fn dial(&self) -> Result<LinkStream, ConnectError> {
        let after = self.settings.timeout;
        let (expected, address) = (self.expected.clone(), self.address.to_string());
        let late = |_| ConnectError::Timeout { expected, address, after };
        timeout(after, self.shake()).await.map_err(late)?
    }

    async fn shake(&self) -> Result<LinkStream, ConnectError> {
        let (expected, address) = (self.expected.clone(), self.address.to_string());
        let unreachable = |source| ConnectError::Unreachable { expected, address, source };
        let presented = self.link.presented().ok_or_else(|| self.stopped())?;
        let tcp = TcpStream::connect(&*self.address).await.map_err(unreachable)?;
        let _ = tcp.set_nodelay(true);
        let verifier = Verifier::new(&self.link, Side::Dialled);
        let config =
            client_config(&self.link, Arc::clone(&verifier)).map_err(|error| self.failed(io::Error::other(error)))?;
        let name =
            ServerName::try_from(self.expected.dns_name()).map_err(|error| self.failed(io::Error::other(error)))?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let (stream, accepted) = match (shaken, verifier.outcome()) {
            (_, Some(Err(refused))) => return Err(self.refused(refused)),
            (Ok(stream), Some(Ok(accepted))) => (stream, accepted),
            (Err(error), _) => return Err(self.failed(error)),
            (Ok(_), None) => return Err(self.refused(PeerRefused::NoCertificate)),
        };
        // rustls takes a server that names no protocol at all.
        if stream.get_ref().1.alpn_protocol() != Some(lane_protocol(self.link.lane)) {
            return Err(self.wrong_lane());
        }
        if accepted.name != self.expected {
            let (expected, found) = (self.expected.clone(), accepted.name);
            return Err(self.refused(PeerRefused::WrongPeer { expected, found }));
        }
        let kept = self.link.keep(TlsStream::Client(stream), accepted, Side::Dialled, None);
        let mut stream = kept.map_err(|not_kept| match not_kept {
            NotKept::Refused(refused) => self.refused(refused),
            NotKept::TooMany(_) => self.failed(io::Error::other("too many connections to this peer")),
        })?;
        // Kept before this is asked: whoever stops presenting it in between closes what is kept.
        if self.link.is_stopped(&presented) {
            return Err(self.stopped());
        }
        self.wait_until_taken(&mut stream).await?;
        Ok(stream)
    }

    /// In TLS 1.3 the client is done before the server has seen its certificate. An HTTP/2 server speaks first, so its
    /// first bytes, or its alert, tell whether it took us.
    async fn wait_until_taken(&self, stream: &mut LinkStream) -> Result<(), ConnectError> {
        let mut first = [0; 1024];
        let length = stream.read(&mut first).await.map_err(|error| self.failed(error))?;
        match first.get(..length) {
            None | Some([]) => Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
            Some(bytes) => {
                stream.unread(bytes);
                Ok(())
            }
        }
    }

    fn failed(&self, error: io::Error) -> ConnectError {
        let (expected, address) = (self.expected.clone(), self.address.to_string());
        if let Some(source) = own_key_failed(&error) {
            return ConnectError::OwnKey { expected, address, source };
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => self.wrong_lane(),
            Some(rustls::Error::AlertReceived(alert)) => ConnectError::RefusesUs { expected, address, alert: *alert },
            _ => ConnectError::Handshake { expected, address, source: error },
        }
    }

    fn stopped(&self) -> ConnectError {
        ConnectError::OwnStopped { expected: self.expected.clone() }
    }

    fn refused(&self, source: PeerRefused) -> ConnectError {
        ConnectError::Refused { expected: self.expected.clone(), address: self.address.to_string(), source }
    }

    fn wrong_lane(&self) -> ConnectError {
        ConnectError::WrongLane {
            expected: self.expected.clone(),
            address: self.address.to_string(),
            lane: self.link.lane,
        }
    }
}
