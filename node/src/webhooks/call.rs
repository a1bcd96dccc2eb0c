//! One delivery: a POST on a connection of its own, bounded in time and length.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use truc_link::{
    endpoint::Endpoint,
    http::{Bounds, Client, HttpError, Outgoing},
};
use truc_proto::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_CALL_MS_MAX, WEBHOOK_HEADER_BYTES_MAX};
use truc_signer::Certificate;

use super::Message;

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
#[derive(Clone, Debug)]
pub(super) struct Caller(Client);

impl Caller {
    /// Trusting these certificates alone.
    pub(super) fn new(anchors: &[Certificate]) -> Result<Self, rustls::Error> {
        let limit = Duration::from_millis(WEBHOOK_CALL_MS_MAX);
        let bounds = Bounds { stall: limit, whole: limit, head: WEBHOOK_HEADER_BYTES_MAX };
        Client::new(anchors, concat!("truc-node/", env!("CARGO_PKG_VERSION")), bounds).map(Self)
    }

    /// Delivers a message.
    pub(super) async fn post(&self, endpoint: &Endpoint, message: &Message) -> Outcome {
        match self.attempt(endpoint, message).await {
            Ok(status) => outcome(status),
            Err(error) => Outcome::Failed(crate::chain(&error)),
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, message: &Message) -> Result<u16, HttpError> {
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", message.timestamp.to_string()),
            ("webhook-signature", message.signature.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let body = Outgoing::whole(Bytes::clone(&message.body));
        let mut answer = self.0.call(Method::POST, endpoint, &endpoint.path, &headers, body).await?;
        // Read a little, so that the receiver is not cut off while it writes; what it says does not matter.
        let mut read = 0;
        while read < WEBHOOK_ANSWER_BYTES_MAX {
            match answer.next().await {
                Ok(Some(piece)) => read += piece.len(),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(answer.status())
    }
}

fn outcome(status: u16) -> Outcome {
    let text = || format!("the receiver answered {status}");
    match status {
        200..=299 => Outcome::Taken,
        410 => Outcome::Gone,
        408 | 425 | 429 => Outcome::Failed(text()),
        400..=499 => Outcome::Refused(text()),
        _ => Outcome::Failed(text()),
    }
}
