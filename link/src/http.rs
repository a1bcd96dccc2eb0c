//! A small HTTP/1.1 client: one connection for each call, every wait and every length bounded, no redirect followed.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
pub use hyper::Method;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
    header::{HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};
use tokio_rustls::TlsConnector;
use truc_proto::{chain, limits::HANDSHAKE_MS_MAX};
use truc_signer::Certificate;

use crate::endpoint::Endpoint;

/// Where a call stopped.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection: nothing left this machine.
    #[error("{endpoint} cannot be reached")]
    Connect {
        /// Where to.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// It broke off or stalled.
    #[error("{what}")]
    Broken {
        /// For people.
        what: String,
        /// Everything that was to be sent had left.
        whole: bool,
    },
}

/// How long a call may take, and how much head its answer may have.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Without progress.
    pub stall: Duration,
    /// Altogether.
    pub whole: Duration,
    /// In bytes.
    pub head: usize,
}

/// Calls over HTTP.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    agent: &'static str,
    bounds: Bounds,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.agent)
    }
}

impl Client {
    /// Trusts these certificates alone.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(anchors: &[Certificate], agent: &'static str, bounds: Bounds) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(CertificateDer::from(anchor.der().to_vec()))?;
        }
        // Others may know TLS 1.2 at most.
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), agent, bounds })
    }

    /// Asks for a path of the endpoint's host, and waits for the answer's head.
    ///
    /// # Errors
    /// Where it stopped.
    pub async fn call(
        &self,
        method: Method,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(String, String)],
        body: Outgoing,
    ) -> Result<Answer, HttpError> {
        let until = Instant::now() + self.bounds.whole;
        let shake = Duration::from_millis(HANDSHAKE_MS_MAX).min(self.bounds.stall);
        let unreachable = |source| HttpError::Connect { endpoint: endpoint.to_string(), source };
        let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
        let request = self
            .request(method, endpoint, path, headers, body)
            .map_err(|error| unreachable(io::Error::other(error)))?;
        let connect = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        let stream = tokio::time::timeout(shake, connect).await.map_err(slow).flatten().map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !endpoint.tls {
            return self.exchange(stream, request, until).await;
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| unreachable(io::Error::other(error)))?;
        let handshake = tokio::time::timeout(shake, self.tls.connect(name, stream));
        let stream = handshake.await.map_err(slow).flatten().map_err(unreachable)?;
        self.exchange(stream, request, until).await
    }

    fn request(
        &self,
        method: Method,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(String, String)],
        body: Outgoing,
    ) -> Result<Request<Outgoing>, hyper::http::Error> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, endpoint.authority()).header(USER_AGENT, self.agent);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(body)
    }

    async fn exchange<S>(&self, stream: S, request: Request<Outgoing>, until: Instant) -> Result<Answer, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let progress = request.body().progress();
        let broken = |what: &str, error: &hyper::Error| HttpError::Broken {
            what: format!("{what}: {}", chain(error)),
            whole: progress.is_whole(),
        };
        let handshake = http1::Builder::new()
            .max_buf_size(self.bounds.head)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) =
            handshake.await.map_err(|error| broken("the connection could not be used", &error))?;
        // Ends with the answer's body, or when the caller lets go of it.
        tokio::spawn(async move {
            let _ = connection.await; // what went wrong shows in the answer
        });
        let mut answer = pin!(sender.send_request(request));
        let mut seen = progress.sent();
        loop {
            let wait = (Instant::now() + self.bounds.stall).min(until);
            match tokio::time::timeout_at(wait, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(Answer { response, stall: self.bounds.stall, until }),
                Ok(Err(error)) => return Err(broken("the connection broke off before an answer came", &error)),
                Err(_) if progress.sent() != seen && Instant::now() < until => seen = progress.sent(),
                Err(_) => {
                    let what = format!("no answer within {} s", self.bounds.stall.as_secs());
                    return Err(HttpError::Broken { what, whole: progress.is_whole() });
                }
            }
        }
    }
}

/// An answer whose head has come.
pub struct Answer {
    response: Response<Incoming>,
    stall: Duration,
    until: Instant,
}

impl Answer {
    /// HTTP's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// When it breaks off or stalls.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let broken = |what: String| HttpError::Broken { what, whole: true };
        loop {
            let wait = (Instant::now() + self.stall).min(self.until);
            let body = self.response.body_mut();
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            match tokio::time::timeout_at(wait, frame).await {
                Err(_) => return Err(broken(format!("the answer stalled for {} s", self.stall.as_secs()))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broken(format!("the answer broke off: {}", chain(&error)))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, when it is no longer than this.
    ///
    /// # Errors
    /// When it is longer, breaks off or stalls.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > bytes_max {
                let what = format!("the answer is longer than {bytes_max} bytes");
                return Err(HttpError::Broken { what, whole: true });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// How much of a body has been given to the connection.
#[derive(Clone)]
pub struct Progress {
    sent: Arc<AtomicU64>,
    length: u64,
}

impl Progress {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Once its last byte was given away nobody here knows whether it arrived.
    fn is_whole(&self) -> bool {
        self.sent() >= self.length
    }
}

/// A request's body.
pub enum Outgoing {
    /// None.
    Nothing,
    /// All of it; none once it is given away.
    Whole(Option<Bytes>),
    /// Pieces of a known length, together.
    Pieces {
        /// They.
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        /// How much is gone.
        progress: Progress,
    },
}

impl Outgoing {
    /// A body that is here.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// A body that comes in pieces, `length` bytes altogether.
    #[must_use]
    pub fn pieces(pieces: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Self {
        Self::Pieces { pieces, progress: Progress { sent: Arc::default(), length } }
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Pieces { progress, .. } => progress.clone(),
            Self::Nothing | Self::Whole(_) => Progress { sent: Arc::default(), length: 0 },
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces { pieces, progress } => pieces.poll_recv(cx).map(|piece| {
                let piece = piece?;
                if let Ok(bytes) = &piece {
                    progress.sent.fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Ordering::AcqRel);
                }
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing | Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Pieces { progress, .. } => SizeHint::with_exact(progress.length.saturating_sub(progress.sent())),
        }
    }
}
