//! The listener: HTTP/1.1, in the clear on this machine alone, else TLS 1.2 and 1.3. Connections are many and idle, so each costs a
//! task and little more, and ends by itself.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::aws_lc_rs, version};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};
use truc_proto::limits::{
    HANDSHAKE_MS_MAX, SDK_CONNECTIONS_MAX, SDK_HEADER_BYTES_MAX, SDK_HEADERS_MAX, SDK_IDLE_MS_MAX,
};
use truc_signer::SoftKey;

use super::{Face, http};

/// After a failed accept (no file descriptors left), before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why a certificate cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of the SDK listener cannot be used")]
pub struct TlsError(#[from] rustls::Error);

/// The certificate of the listener; newer ones are taken into use while it runs.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl Tls {
    /// Over a certificate with its key.
    ///
    /// # Errors
    /// When rustls cannot use it.
    pub fn new(key: &SoftKey) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(key)?))))
    }

    /// Takes a newer certificate into use for connections from now on.
    ///
    /// # Errors
    /// When rustls cannot use it; the old one stays.
    pub fn replace(&self, key: &SoftKey) -> Result<(), TlsError> {
        self.0.store(Arc::new(config(key)?));
        Ok(())
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Clients run on JVMs that may know TLS 1.2 at most; none has a certificate.
fn config(key: &SoftKey) -> Result<ServerConfig, rustls::Error> {
    let (chain, key) = key.tls_identity();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Lets this process open as many files as it may: each connection is one. Gives how many that is.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        warn!(%error, "the number of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Serves until `stopping` says so; calls in progress end then.
pub async fn serve(face: Arc<Face>, listener: TcpListener, tls: Option<Tls>, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(SDK_CONNECTIONS_MAX));
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
                warn!(%error, "the SDK listener could not take a connection");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let (face, tls, stop) = (Arc::clone(&face), tls.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(face, stream, tls, stop).await {
                debug!(%error, "a connection of the SDK listener ended");
            }
        });
    }
    drop(listener);
    // All permits: every connection has ended.
    let all = u32::try_from(SDK_CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ended = room.acquire_many(all).await;
    info!("the SDK listener ended");
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await; // an error: the node is gone already
}

async fn connection(
    face: Arc<Face>,
    stream: TcpStream,
    tls: Option<Tls>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => exchange(face, stream, stopping).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.0.load_full());
            let handshake = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), acceptor.accept(stream));
            let stream = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            exchange(face, stream, stopping).await
        }
    }
}

async fn exchange<S>(face: Arc<Face>, stream: S, mut stopping: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let face = Arc::clone(&face);
        async move { Ok::<_, Infallible>(http::answer(face, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Counts from the last reply on: what is idle longer ends, never within a second of a reply.
        .header_read_timeout(Duration::from_millis(SDK_IDLE_MS_MAX))
        .max_buf_size(SDK_HEADER_BYTES_MAX)
        .max_headers(SDK_HEADERS_MAX)
        // Over http, the client cuts letters with diacritics to bytes that are no header; the call is still answered in words.
        .ignore_invalid_headers(true)
        .half_close(true);
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

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConnection, pki_types::CertificateDer,
    };
    use truc_certs_dev::{KeyKind, Pki, Profile, Subject};

    use super::*;

    fn key(pki: &Pki) -> SoftKey {
        let issued = pki.issue(Profile::Tls, Subject::endpoint("N1")).unwrap();
        SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
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
        let server = config(&key(&pki)).unwrap();
        assert_eq!(version_with(&pki, &server, &version::TLS12), Some(ProtocolVersion::TLSv1_2));
        assert_eq!(version_with(&pki, &server, &version::TLS13), Some(ProtocolVersion::TLSv1_3));
    }

    #[test]
    fn a_newer_certificate_is_taken_into_use() {
        let pki = Pki::new(KeyKind::P256, truc_certs_dev::now()).unwrap();
        let tls = Tls::new(&key(&pki)).unwrap();
        let before = tls.0.load_full();
        tls.replace(&key(&pki)).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.0.load_full()));
    }
}
