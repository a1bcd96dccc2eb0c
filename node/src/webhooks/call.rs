//! One delivery: a POST on a connection of its own, bounded in time and length. No redirect is followed.

use std::{future::poll_fn, io, pin::Pin, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    body::Body as _,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
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
};
use tokio_rustls::TlsConnector;
use truc_proto::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_CALL_MS_MAX, WEBHOOK_HEADER_BYTES_MAX};
use truc_signer::Certificate;

use super::{Endpoint, Message};

/// What came of a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// 2xx.
    Taken,
    /// 4xx but 408, 410, 425 and 429: the receiver does not want this message.
    Refused(String),
    /// 410: it wants none.
    Gone,
    /// Everything else: later again.
    Failed(String),
}

/// Posts messages.
#[derive(Clone)]
pub(super) struct Caller {
    tls: TlsConnector,
}

impl Caller {
    /// Trusting these certificates alone.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(super) fn new(anchors: &[Certificate]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(CertificateDer::from(anchor.der().to_vec()))?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Delivers a message.
    pub(super) async fn post(&self, endpoint: &Endpoint, message: &Message) -> Outcome {
        let limit = Duration::from_millis(WEBHOOK_CALL_MS_MAX);
        match tokio::time::timeout(limit, self.attempt(endpoint, message)).await {
            Ok(Ok(status)) => outcome(status),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed(format!("no answer within {} s", limit.as_secs())),
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, message: &Message) -> io::Result<StatusCode> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        if !endpoint.tls {
            return exchange(stream, endpoint, message).await;
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        exchange(self.tls.connect(name, stream).await?, endpoint, message).await
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

async fn exchange<S>(stream: S, endpoint: &Endpoint, message: &Message) -> io::Result<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let other = |error: hyper::Error| io::Error::other(crate::chain(&error));
    let handshake = http1::Builder::new().max_buf_size(WEBHOOK_HEADER_BYTES_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(other)?;
    let connection = tokio::spawn(async move {
        let _ = connection.await; // what went wrong shows in the answer
    });
    let _ends = AbortOnDrop(connection);
    let request = Request::post(&endpoint.path)
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, concat!("truc-node/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", message.timestamp)
        .header("webhook-signature", &message.signature)
        .body(Body::from(Bytes::clone(&message.body)))
        .map_err(io::Error::other)?;
    let mut answer = sender.send_request(request).await.map_err(other)?;
    // Read a little, so that the receiver is not cut off while it writes.
    let mut read = 0;
    while read < WEBHOOK_ANSWER_BYTES_MAX {
        let body = answer.body_mut();
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => break,
        }
    }
    Ok(answer.status())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn outcome(status: StatusCode) -> Outcome {
    let text = || format!("the receiver answered {status}");
    match status.as_u16() {
        200..=299 => Outcome::Taken,
        410 => Outcome::Gone,
        408 | 425 | 429 => Outcome::Failed(text()),
        400..=499 => Outcome::Refused(text()),
        _ => Outcome::Failed(text()),
    }
}
