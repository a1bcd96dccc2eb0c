//! The operations of today's axis that a gateway uses.

use std::{io, time::Duration};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::Method;
use ring::hmac;
use tokio::sync::mpsc;
use truc_link::{
    endpoint::Endpoint,
    http::{self, Bounds, Client, HttpError, Outgoing},
};
use truc_proto::{
    Digest,
    limits::{GATEWAY_ANSWER_BYTES_MAX, GATEWAY_CALL_MS_MAX, GATEWAY_HEADER_BYTES_MAX, SDK_PACKET_BYTES_MAX},
    sdk::{
        EdocError, EdocReply, MessageType, Operation, Progress,
        client::{Answer, AnswerError, Item, Outgoing as Call, SIGNED_KEYS_HEADER, Verdict},
        unpadded_hex,
    },
};
use truc_signer::Certificate;

use crate::{core::PassOutcome, shell::clock};

/// Why that axis could not be asked, or what it said.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    /// The way there.
    #[error("{0}")]
    Way(String),
    /// It answers something else than the protocol has.
    #[error("today's axis does not answer by its protocol (HTTP {status})")]
    Answer {
        /// HTTP's status.
        status: u16,
        /// What came.
        #[source]
        source: AnswerError,
    },
    /// It says no.
    #[error("today's axis refuses: {} {}", .0.code, .0.description)]
    Refused(Verdict),
    /// The packet in its answer.
    #[error(transparent)]
    Packet(EdocError),
    /// The packet is longer than any may be.
    #[error("the packet is longer than {SDK_PACKET_BYTES_MAX} bytes")]
    TooLong,
}

impl From<HttpError> for CallFailed {
    fn from(error: HttpError) -> Self {
        Self::Way(crate::chain(&error))
    }
}

/// Writes a packet, once.
pub type WritePacket = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()> + Send>;

/// A packet that is to be posted.
pub struct Posting {
    /// Sending agency.
    pub from: String,
    /// Receiving agency.
    pub to: String,
    /// Document or status.
    pub message: MessageType,
    /// Its bytes.
    pub packet: WritePacket,
    /// Their SHA-256.
    pub digest: Digest,
    /// How many they are.
    pub length: u64,
}

impl std::fmt::Debug for Posting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Posting({} from {} to {})", self.message.as_str(), self.from, self.to)
    }
}

/// Today's axis, as its client sees it.
pub struct Axis {
    client: Client,
    endpoint: Endpoint,
    system: String,
    secret: hmac::Key,
}

impl std::fmt::Debug for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Axis({}, {}, [redacted])", self.endpoint, self.system)
    }
}

impl Axis {
    /// A client of the axis at `endpoint`, which knows it as `system` by `secret`; `timeout` is the longest silence within a call.
    ///
    /// # Errors
    /// When an anchor cannot be used.
    pub fn new(
        endpoint: Endpoint,
        system: &str,
        secret: &[u8],
        anchors: &[Certificate],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let bounds = Bounds {
            stall: timeout,
            whole: Duration::from_millis(GATEWAY_CALL_MS_MAX),
            head: GATEWAY_HEADER_BYTES_MAX,
        };
        let client = Client::new(anchors, "truc-node gateway", bounds).context("set up TLS")?;
        Ok(Self { client, endpoint, system: system.to_owned(), secret: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    fn new_call(&self, message: MessageType) -> Call {
        Call::new(&self.system, message, clock::now())
    }

    async fn call(&self, operation: Operation, call: &Call, body: Outgoing) -> Result<http::Answer, HttpError> {
        let signed = call.signed();
        let signature = HEXLOWER.encode(hmac::sign(&self.secret, signed.as_bytes()).as_ref());
        let mut headers: Vec<(String, String)> = call.headers().map(|(name, value)| (name, value.to_owned())).collect();
        headers.push((SIGNED_KEYS_HEADER.to_owned(), call.signed_keys()));
        headers.push(("XroadVnpt-sign-header".to_owned(), signed));
        headers.push(("XroadVnpt-hash-header".to_owned(), signature));
        let media = if operation == Operation::SendEdoc { "application/octet-stream" } else { "application/json" };
        headers.push(("Content-Type".to_owned(), media.to_owned()));
        let path = format!("{}/{}", self.endpoint.path.trim_end_matches('/'), operation.name());
        self.client.call(Method::POST, &self.endpoint, &path, &headers, body).await
    }

    async fn ask(&self, operation: Operation, call: &Call, body: Outgoing) -> Result<Answer, CallFailed> {
        let answer = self.call(operation, call, body).await?;
        let status = answer.status();
        let bytes = answer.whole(GATEWAY_ANSWER_BYTES_MAX).await?;
        let answer = Answer::read(&bytes).map_err(|source| CallFailed::Answer { status, source })?;
        if answer.verdict.ok { Ok(answer) } else { Err(CallFailed::Refused(answer.verdict)) }
    }

    /// What waits there for this system.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn received(&self, message: MessageType) -> Result<Vec<Item>, CallFailed> {
        let answer = self.ask(Operation::ReceivedEdocList, &self.new_call(message), Outgoing::Nothing).await?;
        answer.items().ok_or(CallFailed::Answer { status: 200, source: AnswerError::Missing("data") })
    }

    /// What this system sent, as that axis has it.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn sent(&self, message: MessageType) -> Result<Vec<Item>, CallFailed> {
        let answer = self.ask(Operation::SentEdocList, &self.new_call(message), Outgoing::Nothing).await?;
        answer.items().ok_or(CallFailed::Answer { status: 200, source: AnswerError::Missing("data") })
    }

    /// Says how far this system is with a document. Saying it again changes nothing there.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn update(&self, message: MessageType, doc_id: &str, progress: Progress) -> Result<(), CallFailed> {
        let call = self.new_call(message).with("status", progress.as_str()).with("docId", doc_id);
        self.ask(Operation::UpdateStatus, &call, Outgoing::whole("{}")).await.map(drop)
    }

    /// A packet, written to `sink` as it streams by. What was written is of use only when this ends well.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn edoc(
        &self,
        message: MessageType,
        doc_id: &str,
        sink: &mut (dyn io::Write + Send),
    ) -> Result<(), CallFailed> {
        let call = self.new_call(message).with("docId", doc_id);
        let mut answer = self.call(Operation::Edoc, &call, Outgoing::whole("{}")).await?;
        let (status, mut reply, mut length) = (answer.status(), EdocReply::default(), 0_u64);
        let told = |error| match error {
            EdocError::Answer(source) => CallFailed::Answer { status, source },
            EdocError::Refused(verdict) => CallFailed::Refused(verdict),
            other => CallFailed::Packet(other),
        };
        while let Some(piece) = answer.next().await? {
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if length > SDK_PACKET_BYTES_MAX / 3 * 4 + u64::try_from(GATEWAY_ANSWER_BYTES_MAX).unwrap_or(u64::MAX) {
                return Err(CallFailed::TooLong);
            }
            reply.push(&piece, &mut *sink).map_err(told)?;
        }
        reply.finish(&mut *sink).map_err(told)
    }

    /// Posts a packet once. Whatever happens is an outcome that the core can go on from.
    pub async fn post(&self, posting: Posting) -> PassOutcome {
        let Posting { from, to, message, packet, digest, length } = posting;
        let call = self.new_call(message).with("from", &from).with_list("to", &[&to]);
        let call = call.with("hash-file", &unpadded_hex(&digest));
        let (sender, pieces) = mpsc::channel(4);
        let reader = tokio::task::spawn_blocking(move || {
            let mut out = Pieces(&sender);
            // The protocol's clients write two bytes behind the file.
            let done = packet(&mut out).and_then(|()| io::Write::write_all(&mut out, b"\r\n"));
            if let Err(error) = done {
                let _ = sender.blocking_send(Err(error)); // the connection is gone: it says why
            }
        });
        let answer = self.call(Operation::SendEdoc, &call, Outgoing::pieces(pieces, length + 2)).await;
        let outcome = match answer {
            Err(error @ HttpError::Connect { .. }) => PassOutcome::NotSent { error: crate::chain(&error) },
            Err(HttpError::Broken { what, whole: false }) => PassOutcome::NotSent { error: what },
            Err(HttpError::Broken { what, whole: true }) => PassOutcome::NoAnswer { error: what },
            Ok(answer) => {
                let status = answer.status();
                match answer.whole(GATEWAY_ANSWER_BYTES_MAX).await {
                    Err(error) => PassOutcome::NoAnswer { error: crate::chain(&error) },
                    Ok(bytes) => judge(status, &bytes),
                }
            }
        };
        let _ = reader.await; // it ends with the connection
        outcome
    }
}

/// What the answer to sendEdoc means.
fn judge(status: u16, bytes: &[u8]) -> PassOutcome {
    match Answer::read(bytes) {
        Ok(answer) if !answer.verdict.ok => {
            PassOutcome::Refused { error: format!("{} {}", answer.verdict.code, answer.verdict.description) }
        }
        Ok(answer) => match answer.doc_id() {
            Some(doc_id) => PassOutcome::Taken { doc_id },
            None => PassOutcome::NoAnswer { error: "the answer says OK without a usable DocId".to_owned() },
        },
        Err(error) => PassOutcome::NoAnswer { error: format!("HTTP {status}: {error}") },
    }
}

/// Hands bytes to the connection.
struct Pieces<'s>(&'s mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ServerConfig, crypto::aws_lc_rs, version};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;
    use truc_certs_dev::{KeyKind, Pki, Profile, Subject};
    use truc_signer::SoftKey;

    use super::*;

    /// An axis that knows TLS 1.2 alone and answers every call with an empty list; gives its address.
    async fn play(pki: &Pki, subject: Subject) -> String {
        let issued = pki.issue(Profile::Tls, subject).unwrap();
        let key = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
        let (chain, key) = key.tls_identity();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut piece).await {
                        Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                        _ => break,
                    }
                }
                let body = r#"{"status":"OK","ErrorCode":"0","ErrorDesc":"","data":[]}"#;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                // A client that does not trust it is gone.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        format!("https://127.0.0.1:{}/api/v1", address.port())
    }

    async fn list(endpoint: &str, anchor: &Pki) -> Result<Vec<Item>, String> {
        let anchors = [Certificate::from_der(anchor.root_der()).unwrap()];
        let axis = Axis::new(endpoint.parse().unwrap(), "gw", b"secret", &anchors, Duration::from_secs(30)).unwrap();
        axis.received(MessageType::Document).await.map_err(|error| crate::chain(&error))
    }

    #[tokio::test]
    async fn over_https_that_axis_is_trusted_by_the_authority_that_settings_name_and_for_its_own_name_alone() {
        let now = truc_certs_dev::now();
        let (pki, other) = (Pki::new(KeyKind::P256, now).unwrap(), Pki::new(KeyKind::P256, now).unwrap());
        let endpoint = play(&pki, Subject::endpoint("TRUC")).await;
        assert_eq!(list(&endpoint, &pki).await, Ok(Vec::new()));
        let stranger = list(&endpoint, &other).await.unwrap_err();
        assert!(stranger.contains("invalid peer certificate"), "{stranger}");
        let renamed = play(&pki, Subject::new("TLS OTHER").dns("other.example")).await;
        let renamed = list(&renamed, &pki).await.unwrap_err();
        assert!(renamed.contains("not valid for name"), "{renamed}");
    }

    #[test]
    fn only_a_clear_answer_decides() {
        let taken = judge(200, br#"{"status":"OK","ErrorCode":"0","ErrorDesc":"","DocId":"a"}"#);
        assert_eq!(taken, PassOutcome::Taken { doc_id: "a".into() });
        let refused = judge(500, br#"{"status":"FAIL","ErrorCode":"15","ErrorDesc":"x","DocId":""}"#);
        assert_eq!(refused, PassOutcome::Refused { error: "15 x".into() });
        for unclear in [
            b"".as_slice(),
            b"<html>502</html>",
            br#"{"status":"OK","ErrorCode":"0","ErrorDesc":""}"#,
            br#"{"status":"OK","ErrorCode":"0","DocId":"a b"}"#,
            br#"{"status":"OK","ErrorCo"#,
        ] {
            assert!(matches!(judge(200, unclear), PassOutcome::NoAnswer { .. }), "{unclear:?}");
        }
    }
}
