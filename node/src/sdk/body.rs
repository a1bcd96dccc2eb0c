//! Bodies: what comes in is read to its end under limits of size and time, what goes out is whole or streamed.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{sync::mpsc, time::Instant};
use truc_proto::limits::{SDK_BODY_BYTES_MAX, SDK_BODY_MS_MAX, SDK_STALL_MS_MAX};

/// Why a body did not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the client broke off in the middle of a call's body")]
    Broken,
    #[error("a call's body made no progress for {SDK_STALL_MS_MAX} ms, or took longer than {SDK_BODY_MS_MAX} ms")]
    Slow,
}

/// A body as it comes in.
pub(super) struct Reading {
    body: Incoming,
    until: Instant,
}

impl Reading {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, until: Instant::now() + Duration::from_millis(SDK_BODY_MS_MAX) }
    }

    /// The next piece; none at the end. Asking for the first one sends "100 Continue" to a client that waits for it.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let stall = (Instant::now() + Duration::from_millis(SDK_STALL_MS_MAX)).min(self.until);
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            match tokio::time::timeout_at(stall, frame).await {
                Err(_) => return Err(BodyError::Slow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(BodyError::Broken),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Reads the rest and throws it away: a client that is answered before it has sent everything sees no answer at all.
    pub(super) async fn discard(&mut self) -> Result<(), BodyError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// A short body; none when it is longer than any call's but sendEdoc's.
    pub(super) async fn short(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > SDK_BODY_BYTES_MAX {
                self.discard().await?;
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }
}

/// A streamed reply that breaks off: the connection ends in the middle of it, so that the client does not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the reply broke off")]
pub(super) struct Broken;

pub(super) type Pieces = mpsc::Receiver<Result<Bytes, Broken>>;

/// A reply's body.
pub(super) enum Content {
    Whole(Option<Bytes>),
    Streamed(Pieces),
}

impl Content {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Streamed(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| u64::try_from(b.len()).unwrap_or(u64::MAX)))
            }
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}
