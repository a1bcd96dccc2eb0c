//! getEdoc and downloadEdoc: a received packet as edXML, as Fetch renders it. It was read whole by our own reader before it was
//! consigned: no DOCTYPE, attachments in ZIPs of one plainly named entry. Fetching changes nothing; a client may crash before it saves.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use tokio::sync::mpsc;
use truc_proto::{
    node_v1::{FetchChunk, FetchRequest, fetch_request::What},
    sdk::Reply,
};

use super::{
    Face,
    body::Broken,
    doc_id, failed,
    http::{Answer, Call},
    no_such_document, parameter_missing,
};
use crate::service::{Error, inbox};

/// In JSON, base64.
pub(super) async fn in_json(face: &Arc<Face>, call: &Call) -> Answer {
    let (first, rest) = match open(face, call).await {
        Ok(opened) => opened,
        Err(reply) => return reply.into(),
    };
    let (pieces, body) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut held = BytesMut::new();
        let head = format!("{},\"data\":\"", Reply::ok().head());
        let mut encode = |data: &[u8], last: bool| {
            held.extend_from_slice(data);
            // Groups of three bytes: the parts of one base64 text can be written one behind the other.
            let whole = if last { held.len() } else { held.len() - held.len() % 3 };
            Bytes::from(BASE64.encode(&held.split_to(whole)))
        };
        if pieces.send(Ok(Bytes::from(head))).await.is_err() || pieces.send(Ok(encode(&first, false))).await.is_err() {
            return;
        }
        if !pass(rest, &pieces, |data| encode(data, false)).await {
            return;
        }
        let mut end = BytesMut::from(&*encode(&[], true));
        end.extend_from_slice(b"\"}");
        let _ = pieces.send(Ok(end.freeze())).await; // the client may be gone
    });
    Answer::Json(body)
}

/// As it is.
pub(super) async fn as_it_is(face: &Arc<Face>, call: &Call) -> Answer {
    let (first, rest) = match open(face, call).await {
        Ok(opened) => opened,
        Err(reply) => return reply.into(),
    };
    let (pieces, body) = mpsc::channel(2);
    tokio::spawn(async move {
        if pieces.send(Ok(first)).await.is_ok() {
            pass(rest, &pieces, Bytes::copy_from_slice).await;
        }
    });
    Answer::Packet(body)
}

/// Passes the rest on; false when it broke off, which the client then notices, or the client is gone.
async fn pass(
    mut rest: inbox::Replies<FetchChunk>,
    pieces: &mpsc::Sender<Result<Bytes, Broken>>,
    mut change: impl FnMut(&[u8]) -> Bytes,
) -> bool {
    while let Some(chunk) = rest.recv().await {
        let piece = chunk.map(|chunk| change(&chunk.data)).map_err(|error| {
            tracing::warn!(error = error.text(), "a packet broke off while it was given out");
            Broken
        });
        let broken = piece.is_err();
        if pieces.send(piece).await.is_err() || broken {
            return false;
        }
    }
    true
}

/// The packet's first piece, which shows that it can be given out, and what follows.
async fn open(face: &Arc<Face>, call: &Call) -> Result<(Bytes, inbox::Replies<FetchChunk>), Reply> {
    let doc_id = call.parameters.text("docId").ok_or_else(|| parameter_missing("docId"))?;
    let found = doc_id::find(&face.shell, &call.grant, doc_id).await.map_err(|error| failed(&error))?;
    let item = found.ok_or_else(no_such_document)?;
    let request = FetchRequest {
        envelope: item.received.key.envelope.to_string(),
        recipient: item.code.to_string(),
        sender: item.received.key.sender.to_string(),
        what: Some(What::Edxml(true)),
        offset: 0,
        even_withdrawn: false,
    };
    let mut rest = inbox::fetch(&face.shell, &call.grant, request).await.map_err(|error| failed(&error))?;
    match rest.recv().await {
        Some(Ok(first)) if !first.data.is_empty() => Ok((first.data, rest)),
        Some(Err(error)) => Err(failed(&error)),
        Some(Ok(_)) | None => Err(failed(&Error::internal("the packet is empty"))),
    }
}
