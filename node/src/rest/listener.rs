//! The listener: HTTP/1.1, in the clear on this machine alone, else TLS 1.2 and 1.3. Who is silent or does not take its answer is cut off.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use axum::{Router, body::Body};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::aws_lc_rs, version};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Instant, Sleep},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};
use truc_proto::limits::{
    HANDSHAKE_MS_MAX, REST_CONNECTIONS_MAX, REST_HEADER_BYTES_MAX, REST_HEADERS_MAX, REST_IDLE_MS_MAX,
    REST_STALL_MS_MAX,
};

use crate::settings::KeySource;

/// After a failed accept (no file descriptors left), before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Between two looks at the certificate's file.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);

/// TLS over a certificate with its key, both read again when their file changes. Document systems may be old enough to know TLS 1.2
/// at most; none has a certificate.
pub(super) struct Tls {
    source: KeySource,
    config: Arc<ServerConfig>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Tls {
    /// Blocks.
    pub(super) fn load(source: KeySource) -> anyhow::Result<Self> {
        let changed = changed(&source);
        let config = config(&source)?;
        Ok(Self { source, config, changed, looked: Instant::now() })
    }

    /// What is in force for a connection that comes now; a file that cannot be used changes nothing.
    async fn current(&mut self) -> Arc<ServerConfig> {
        if self.looked.elapsed() >= CERTIFICATE_EVERY {
            self.looked = Instant::now();
            let (source, before) = (self.source.clone(), self.changed);
            let look = move || {
                let now = changed(&source);
                (now != before).then(|| (now, config(&source)))
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(Some((now, Ok(config)))) => {
                    (self.changed, self.config) = (now, config);
                    info!("the REST listener's certificate was loaded again");
                }
                Ok(Some((_, Err(error)))) => {
                    warn!(error = format!("{error:#}"), "the REST listener keeps its old certificate");
                }
                Ok(None) | Err(_) => {}
            }
        }
        Arc::clone(&self.config)
    }
}

fn changed(source: &KeySource) -> Option<SystemTime> {
    let file = match source {
        KeySource::Pem { certificate, .. } => certificate,
        KeySource::Pkcs12 { file, .. } => file,
    };
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn config(source: &KeySource) -> anyhow::Result<Arc<ServerConfig>> {
    let key = source.load().context("load the REST listener's key")?;
    let (chain, key) = key.tls_identity();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the REST listener's certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until `stopping` says so; requests in progress end then.
pub(super) async fn serve(
    router: Router,
    listener: TcpListener,
    mut tls: Option<Tls>,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(REST_CONNECTIONS_MAX));
    let stop = stopping.clone();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the REST listener could not take a connection");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let tls = match &mut tls {
            Some(tls) => Some(tls.current().await),
            None => None,
        };
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(router, stream, tls, stop).await {
                debug!(%error, "a connection of the REST listener ended");
            }
        });
    }
    drop(listener);
    // All permits: every connection has ended.
    let all = u32::try_from(REST_CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ended = room.acquire_many(all).await;
    info!("the REST listener ended");
}

async fn connection(
    router: Router,
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => exchange(router, stream, stopping).await,
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls).accept(stream);
            let handshake = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), handshake);
            let stream = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            exchange(router, stream, stopping).await
        }
    }
}

async fn exchange<S>(router: Router, stream: S, mut stopping: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Counts from the last answer on: what is idle longer ends.
        .header_read_timeout(Duration::from_millis(REST_IDLE_MS_MAX))
        .max_buf_size(REST_HEADER_BYTES_MAX)
        .max_headers(REST_HEADERS_MAX);
    let stream = Taken { stream, patience: Duration::from_millis(REST_STALL_MS_MAX), stalled: None };
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

/// A stream whose peer takes what is written to it, or is cut off.
struct Taken<S> {
    stream: S,
    patience: Duration,
    /// Ends when nothing could be written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = || Box::pin(tokio::time::sleep(self.patience));
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
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_take_its_answer_is_cut_off() {
        let (near, far) = tokio::io::duplex(16);
        let mut taken = Taken { stream: near, patience: Duration::ZERO, stalled: None };
        let error = taken.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
