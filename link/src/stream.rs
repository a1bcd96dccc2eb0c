//! One established connection, as hyper reads and writes it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, oneshot},
    time::Sleep,
};
use tokio_rustls::TlsStream;
use truc_proto::{Digest, Lane, NodeId};

use crate::{link::Inner, trust::Revocation};

/// Who is at the other end. Handlers of tonic find it in the request's extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// SHA-256 of its TLS certificate.
    pub fingerprint: Digest,
    /// Who that is, by the directory.
    pub name: NodeId,
    /// The lane both ends agreed on.
    pub lane: Lane,
    /// Key exchange group, e.g. `X25519MLKEM768`.
    pub group: String,
    /// What was known about revocation at the handshake.
    pub revocation: Revocation,
    /// Where it is.
    pub address: SocketAddr,
}

/// An established connection. Ends with an error when its certificate is no longer good, its age is over, or we drain.
pub struct LinkStream {
    stream: TlsStream<TcpStream>,
    /// Bytes that were read to learn that the peer took our certificate.
    first: Vec<u8>,
    closed: oneshot::Receiver<()>,
    age: Pin<Box<Sleep>>,
    peer: Peer,
    _registered: Registered,
    _permits: Option<OwnedSemaphorePermit>,
}

/// Takes the connection out of the registry when it ends.
pub(crate) struct Registered {
    pub(crate) link: Arc<Inner>,
    pub(crate) id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.link.registry.remove(self.id);
    }
}

impl LinkStream {
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        registered: Registered,
        closed: oneshot::Receiver<()>,
        age: Sleep,
        permits: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let age = Box::pin(age);
        Self { stream, first: Vec::new(), closed, age, peer, _registered: registered, _permits: permits }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Gives bytes back that were read ahead.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        self.first = bytes.to_vec();
    }

    /// hyper polls reading and writing from one task, so one waker serves both.
    fn check_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if Pin::new(&mut self.closed).poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link was closed on this side"));
        }
        if self.age.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link reached its greatest age"));
        }
        Ok(())
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        let rest = self.first.split_off(length);
        buffer.put_slice(&self.first);
        self.first = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl tonic::transport::server::Connected for LinkStream {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl std::fmt::Debug for LinkStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkStream({:?})", self.peer)
    }
}
