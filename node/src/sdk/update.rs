//! updateStatus: a document system says what became of an item of its list.
//!
//! `done` of a document is its hand-over, `fail` the failure of it, both evidence that goes back to the sender; of a status it is a
//! mark that it was taken. `processing` is a claim and changes nothing: a client that crashes must find the item again.

use std::sync::Arc;

use tracing::info;
use truc_proto::{
    EnvelopeKind,
    node_v1::ConfirmRequest,
    sdk::{Progress, Reply},
};

use super::{Face, doc_id, failed, http::Call, no_such_document, parameter_missing};
use crate::{
    core::{Answer, Input},
    service::{Error, inbox},
};

const NOT_TAKEN: &str = "hệ thống văn bản báo không nhận được (updateStatus fail)";

pub(super) async fn update(face: &Arc<Face>, call: &Call) -> Reply {
    let Some(progress) = call.parameters.text("status").and_then(Progress::read) else {
        return parameter_missing("status");
    };
    // Earlier calls leave a docId behind; the vendor's own example writes docid here.
    let Some(doc_id) = call.parameters.first(&["docid", "docId"]) else { return parameter_missing("docId") };
    match carry_out(face, call, doc_id, progress).await {
        Ok(Some(())) => Reply::ok(),
        Ok(None) => no_such_document(),
        Err(error) => failed(&error),
    }
}

async fn carry_out(face: &Arc<Face>, call: &Call, text: &str, progress: Progress) -> Result<Option<()>, Error> {
    let Some(item) = doc_id::find(&face.shell, &call.grant, text).await? else { return Ok(None) };
    if progress == Progress::Processing {
        return Ok(Some(()));
    }
    let fails = progress == Progress::Fail;
    let doc_id::Item { received, code } = item;
    if received.kind == EnvelopeKind::Document {
        let request = ConfirmRequest {
            envelope: received.key.envelope.to_string(),
            recipient: code.to_string(),
            refused: fails,
            reason: if fails { NOT_TAKEN.to_owned() } else { String::new() },
            sender: received.key.sender.to_string(),
        };
        return inbox::confirm(&face.shell, &call.grant, request).await.map(|_| Some(()));
    }
    let (key, envelope) = (received.key.clone(), received.key.envelope);
    let taken = received.codes.get(&code).is_some_and(|entry| entry.taken_at.is_some());
    let mark = |reply| Input::StatusTaken { key, code, failed: fails, reply };
    match face.shell.engine.call(mark).await? {
        Answer::Confirmed { first, .. } => {
            info!(%envelope, first, fails, system = call.system.id, "status taken");
            Ok(Some(()))
        }
        Answer::NotNow(why) => Err(Error::not_now(why)),
        // It left memory: nothing is listed any more, and saying so again changes nothing.
        Answer::NotFound if taken || received.content.is_some() => Ok(Some(())),
        _ => Ok(None),
    }
}
