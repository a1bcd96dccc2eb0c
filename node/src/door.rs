//! A listener for document systems: HTTP/1.1, in the clear on this machine alone, else TLS 1.2 and 1.3. Connections may be many and idle, so
//! each costs a task and little more, and ends by itself.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::SingleCertAndKey,
    version,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::transport::server::Connected;
use tracing::{debug, info, warn};
use truc_link::Identity;
use truc_proto::limits::{HANDSHAKE_MS_MAX, LOCAL_CONNECTIONS_MAX};

use crate::{service::caller::Presented, settings::KeySource};

/// After a failed accept (no file descriptors left), before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Between two looks at the certificate's file.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);

/// What a listener is called, and what it bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// In the log; in lower case the section of the settings.
    pub(crate) name: &'static str,
    /// Most connections; further ones wait in the kernel.
    pub(crate) connections: usize,
    /// Largest block of headers of one request, in bytes.
    pub(crate) head_bytes: usize,
    /// Most headers of one request.
    pub(crate) headers: usize,
    /// How long a connection may be silent between requests, and a request's headers may take, in milliseconds.
    pub(crate) idle_ms: u64,
    /// How long a client may take nothing of its answer, in milliseconds; none: as long as it likes.
    pub(crate) stall_ms: Option<u64>,
    /// Header lines that are none are passed over, and clients may close their half first.
    pub(crate) lenient: bool,
    /// Clients may show certificates.
    pub(crate) certificates: bool,
}

/// A listener, bound and ready to serve.
pub(crate) struct Door {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    manners: Manners,
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Door {
    /// Binds where the settings say, unless it is bound already.
    ///
    /// # Errors
    /// When the address is taken, others could listen in, or the certificate cannot be used.
    pub(crate) async fn open(
        manners: Manners,
        listen: SocketAddr,
        tls: Option<KeySource>,
        bound: Option<TcpListener>,
    ) -> anyhow::Result<Self> {
        let (name, section) = (manners.name, manners.name.to_ascii_lowercase());
        let listener = match bound {
            Some(listener) => listener,
            None => TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} ({section})"))?,
        };
        let address = listener.local_addr().with_context(|| format!("read the {name} listener's address"))?;
        if tls.is_none() && !address.ip().is_loopback() {
            bail!(
                "the {name} listener is on {address} without a certificate; set `{section}.tls`, or `{section}.listen` to a loopback address"
            );
        }
        let tls = match tls {
            Some(source) => Some(
                Tls::open(name, source, Speaks { protocol: b"http/1.1", certificates: manners.certificates }).await?,
            ),
            None => None,
        };
        info!(%address, https = tls.is_some(), "the {name} listener is open");
        Ok(Self { address, manners, listener, tls })
    }

    /// Answers requests until `stopping` says so; those in progress end then.
    pub(crate) async fn serve<A, F, B>(self, answer: A, mut stopping: watch::Receiver<bool>)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let Self { manners, listener, mut tls, .. } = self;
        let name = manners.name;
        let room = Arc::new(Semaphore::new(manners.connections));
        let stop = stopping.clone();
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&room).acquire_owned() => permit,
                () = stopped(&mut stopping) => break,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stopping) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "the {name} listener could not take a connection");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            let tls = match &mut tls {
                Some(tls) => Some(tls.current().await),
                None => None,
            };
            let connection = connection(manners, answer.clone(), stream, tls, stop.clone());
            tokio::spawn(async move {
                let _permit = permit;
                if let Err(error) = connection.await {
                    debug!(%error, "a connection of the {name} listener ended");
                }
            });
        }
        drop(listener);
        // All permits: every connection has ended.
        let all = u32::try_from(manners.connections).unwrap_or(u32::MAX);
        let _ended = room.acquire_many(all).await;
        info!("the {name} listener ended");
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({}, {})", self.manners.name, self.address)
    }
}

/// What is agreed in a handshake.
#[derive(Clone, Copy)]
pub(crate) struct Speaks {
    /// The ALPN name.
    pub(crate) protocol: &'static [u8],
    /// Clients may show certificates.
    pub(crate) certificates: bool,
}

/// TLS over a certificate with its key, both read again when their file changes. Document systems may know TLS 1.2 at most.
pub(crate) struct Tls {
    name: &'static str,
    source: KeySource,
    speaks: Speaks,
    config: Arc<ServerConfig>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Tls {
    pub(crate) async fn open(name: &'static str, source: KeySource, speaks: Speaks) -> anyhow::Result<Self> {
        let load = move || {
            let changed = changed(&source);
            let config = load(name, &source, speaks)?;
            Ok(Self { name, source, speaks, config, changed, looked: Instant::now() })
        };
        tokio::task::spawn_blocking(load).await?
    }

    /// What is in force for a connection that comes now; a file that cannot be used changes nothing.
    pub(crate) async fn current(&mut self) -> Arc<ServerConfig> {
        if self.looked.elapsed() >= CERTIFICATE_EVERY {
            self.looked = Instant::now();
            let (name, source, speaks, before) = (self.name, self.source.clone(), self.speaks, self.changed);
            let look = move || {
                let now = changed(&source);
                (now != before).then(|| (now, load(name, &source, speaks)))
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(Some((now, Ok(config)))) => {
                    (self.changed, self.config) = (now, config);
                    info!("the {name} listener's certificate was loaded again");
                }
                Ok(Some((_, Err(error)))) => {
                    warn!(error = format!("{error:#}"), "the {name} listener keeps its old certificate");
                }
                Ok(None) | Err(_) => {}
            }
        }
        Arc::clone(&self.config)
    }
}

fn changed(source: &KeySource) -> Option<SystemTime> {
    std::fs::metadata(source.path()).and_then(|metadata| metadata.modified()).ok()
}

fn load(name: &str, source: &KeySource, speaks: Speaks) -> anyhow::Result<Arc<ServerConfig>> {
    let (_, identity) = source.load_identity().with_context(|| format!("load the {name} listener's key"))?;
    Ok(Arc::new(config(&identity, speaks).with_context(|| format!("use the {name} listener's certificate"))?))
}

fn config(identity: &Identity, speaks: Speaks) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = AnyClient { asked: speaks.certificates, known: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_client_cert_verifier(Arc::new(clients))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![speaks.protocol.to_vec()];
    Ok(config)
}

/// Has the key of a client's certificate proven, where the client shows one. Whom the certificate is of, and whether it is believed, is asked at each
/// request ([`Presented`]): then the answer can say why not, and what was revoked meanwhile is refused.
#[derive(Debug)]
struct AnyClient {
    asked: bool,
    known: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        self.asked
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_schemes()
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await; // an error: the node is gone already
}

async fn connection<A, F, B>(
    manners: Manners,
    answer: A,
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    stream.set_nodelay(true)?;
    match tls {
        None => exchange(manners, answer, stream, None, stopping).await,
        Some(tls) => {
            let stream = shake(tls, stream).await?;
            let presented = Presented::of(stream.get_ref().1.peer_certificates());
            exchange(manners, answer, stream, presented, stopping).await
        }
    }
}

async fn exchange<A, F, B, S>(
    manners: Manners,
    answer: A,
    stream: S,
    presented: Option<Presented>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(presented) = &presented {
            request.extensions_mut().insert(presented.clone());
        }
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Counts from the last answer on: what is idle longer ends, never within a second of an answer.
        .header_read_timeout(Duration::from_millis(manners.idle_ms))
        .max_buf_size(manners.head_bytes)
        .max_headers(manners.headers)
        .ignore_invalid_headers(manners.lenient)
        .half_close(manners.lenient);
    let stream = Taken { stream, patience: manners.stall_ms.map(Duration::from_millis), stalled: None };
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

/// Who is at the other end of a connection of the local API.
#[derive(Clone, Debug)]
pub(crate) struct Client(pub(crate) Option<Presented>);

/// A connection of the local API over TLS.
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    client: Client,
    _room: OwnedSemaphorePermit,
}

/// Takes connections over TLS for tonic's `serve_with_incoming_shutdown`, until `stopping` says so. Handshakes run beside each other; as many connections
/// as there is room for.
pub(crate) fn secured(
    listener: TcpListener,
    mut tls: Tls,
    mut stopping: watch::Receiver<bool>,
) -> impl Stream<Item = io::Result<Secured>> {
    let (sender, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(LOCAL_CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stopping) => return,
            };
            let (stream, permit) = match (accepted, Arc::clone(&room).try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => (stream, permit),
                // Closed at once: who comes again finds room, or that there is none.
                (Ok(_), Err(_)) => continue,
                (Err(error), _) => {
                    warn!(%error, "the local API could not take a connection");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            let (config, sender) = (tls.current().await, sender.clone());
            tokio::spawn(async move {
                match shake(config, stream).await {
                    Ok(stream) => {
                        let client = Client(Presented::of(stream.get_ref().1.peer_certificates()));
                        let _ = sender.send(Ok(Secured { stream, client, _room: permit })).await; // the node is stopping
                    }
                    Err(error) => debug!(%error, "a handshake of the local API came to nothing"),
                }
            });
        }
    });
    ReceiverStream::new(taken)
}

async fn shake(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let handshake = TlsAcceptor::from(config).accept(stream);
    let handshake = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), handshake);
    handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

impl Connected for Secured {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream whose peer takes what is written to it, or is cut off.
struct Taken<S> {
    stream: S,
    /// None: it may take as long as it likes.
    patience: Option<Duration>,
    /// Ends when nothing could be written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(patience) = self.patience.filter(|_| written.is_pending()) else {
            self.stalled = None;
            return written;
        };
        let until = || Box::pin(tokio::time::sleep(patience));
        match self.stalled.get_or_insert_with(until).as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConnection, pki_types::CertificateDer,
    };
    use tokio::io::AsyncWriteExt as _;
    use truc_certs_dev::{KeyKind, Pki, Profile, Subject};

    use super::*;

    fn key(pki: &Pki) -> Identity {
        let issued = pki.issue(Profile::Tls, Subject::endpoint("N1")).unwrap();
        Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    }

    /// Shakes hands with a client that speaks one version.
    fn version_with(
        pki: &Pki,
        server: &ServerConfig,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Option<ProtocolVersion> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(pki.root_der().to_vec())).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server.clone())).unwrap();
        for _ in 0..10 {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut there = there.as_slice();
            while !there.is_empty() {
                server.read_tls(&mut there).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            let mut back = back.as_slice();
            while !back.is_empty() {
                client.read_tls(&mut back).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        (!client.is_handshaking() && !server.is_handshaking()).then(|| client.protocol_version()).flatten()
    }

    #[test]
    fn clients_that_know_tls_1_2_alone_are_served_and_newer_ones_with_1_3() {
        let pki = Pki::new(KeyKind::P256, truc_certs_dev::now()).unwrap();
        let server = config(&key(&pki), Speaks { protocol: b"http/1.1", certificates: false }).unwrap();
        assert_eq!(version_with(&pki, &server, &version::TLS12), Some(ProtocolVersion::TLSv1_2));
        assert_eq!(version_with(&pki, &server, &version::TLS13), Some(ProtocolVersion::TLSv1_3));
    }

    #[tokio::test]
    async fn a_newer_certificate_is_taken_into_use() {
        let (pki, folder) = (Pki::new(KeyKind::P256, truc_certs_dev::now()).unwrap(), tempfile::tempdir().unwrap());
        let [certificate, private] = ["tls.pem", "tls.key"].map(|name| folder.path().join(name));
        let put = |modified_s: u64| {
            let issued = pki.issue(Profile::Tls, Subject::endpoint("N1")).unwrap();
            std::fs::write(&certificate, issued.certificate_pem.as_bytes()).unwrap();
            std::fs::write(&private, issued.key_pem.as_bytes()).unwrap();
            std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified_s);
            std::fs::File::options().append(true).open(&certificate).unwrap().set_modified(modified).unwrap();
        };
        put(1_000);
        let source = KeySource::Pem { certificate: certificate.clone(), key: private.clone() };
        let speaks = Speaks { protocol: b"http/1.1", certificates: false };
        let mut tls = Tls::open("SDK", source, speaks).await.unwrap();
        let before = tls.current().await;
        let look_again = |tls: &mut Tls| tls.looked = Instant::now().checked_sub(CERTIFICATE_EVERY).unwrap();
        look_again(&mut tls);
        assert!(Arc::ptr_eq(&before, &tls.current().await), "nothing has changed");
        put(2_000);
        look_again(&mut tls);
        let after = tls.current().await;
        assert!(!Arc::ptr_eq(&before, &after));
        std::fs::write(&certificate, b"none").unwrap();
        look_again(&mut tls);
        assert!(Arc::ptr_eq(&after, &tls.current().await), "what cannot be used changes nothing");
    }

    #[tokio::test]
    async fn a_client_that_does_not_take_its_answer_is_cut_off() {
        let (near, far) = tokio::io::duplex(16);
        let mut taken = Taken { stream: near, patience: Some(Duration::ZERO), stalled: None };
        let error = taken.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
