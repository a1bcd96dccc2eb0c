//! What waits for a document system, what became of what it sent, and how much waits.

use std::sync::Arc;

use truc_proto::{
    EnvelopeId, EnvelopeKind, Timestamp,
    edxml::{Dated, DocumentId},
    limits::SDK_LIST_ITEMS_MAX,
    sdk::{self, MessageType, Reply, SERVICE_TYPE},
};

use super::{Face, doc_id::doc_id, failed, http::Call, no_such_document, parameter_missing};
use crate::{
    core::{CodeState, Core, Key, Pair, PairState, Received, Sent},
    records::About,
    service::{Error, found},
    tokens::Grant,
};

const fn kind_of(message: MessageType) -> EnvelopeKind {
    match message {
        MessageType::Document => EnvelopeKind::Document,
        MessageType::Status => EnvelopeKind::Status,
    }
}

fn message_type(call: &Call) -> Result<MessageType, Reply> {
    call.parameters.text("messagetype").and_then(MessageType::read).ok_or_else(|| parameter_missing("messagetype"))
}

/// As clients show times: `2026/11/22 07:30:09`, Vietnam.
fn shown(at: Timestamp) -> String {
    Dated::<Timestamp>::from(at).text
}

/// What waits for any of a system's codes, the oldest first: documents until they are taken or refused, statuses until they are taken.
pub(super) async fn received(face: &Arc<Face>, call: &Call) -> Reply {
    let message = match message_type(call) {
        Ok(message) => message,
        Err(reply) => return reply,
    };
    let grant = call.grant.clone();
    let list = face.shell.engine.ask(move |core| unread(core, &grant, message));
    match list.await {
        Ok(items) => Reply::ok().with_list(&items),
        Err(stopped) => failed(&stopped.into()),
    }
}

fn unread(core: &Core, grant: &Grant, message: MessageType) -> Vec<sdk::Received> {
    let mut found = Vec::new();
    for code in grant.codes.iter().flatten() {
        let of_kind = core.unread(code).filter(|received| received.kind == kind_of(message));
        found.extend(of_kind.take(SDK_LIST_ITEMS_MAX).map(|received| (received.body, code, received)));
    }
    found.sort_by_key(|(position, code, _)| (*position, *code));
    found.truncate(SDK_LIST_ITEMS_MAX);
    found.into_iter().map(|(_, code, received)| item(received, code, message)).collect()
}

fn item(received: &Received, code: &truc_proto::AgencyId, message: MessageType) -> sdk::Received {
    let came = received.codes.get(code).filter(|entry| entry.state == CodeState::Consigned);
    sdk::Received {
        doc_id: doc_id(&received.key, code),
        service_type: SERVICE_TYPE.into(),
        message_type: message.as_str().into(),
        created_time: shown(received.key.envelope.made_at()),
        updated_time: came.and_then(|entry| entry.consigned_at).map(shown).unwrap_or_default(),
        // As its own From says it: answers name it so.
        from: received.origin.as_ref().map_or_else(|| received.key.sender.to_string(), |origin| origin.from.clone()),
        to: code.to_string(),
        status: "initial".into(),
        status_desc: match received.origin {
            Some(_) => "Chờ nhận; đến từ trục hiện hành, không được niêm phong, không có giấy báo nhận ký số".into(),
            None => "Chờ nhận".into(),
        },
    }
}

/// How much waits.
pub(super) async fn count(face: &Arc<Face>, call: &Call, kind: EnvelopeKind) -> Reply {
    let grant = call.grant.clone();
    let count = face.shell.engine.ask(move |core| {
        let of = |code| core.unread(code).filter(|received| received.kind == kind).count();
        grant.codes.iter().flatten().map(of).sum::<usize>()
    });
    match count.await {
        Ok(count) => Reply::ok().with_count(u32::try_from(count).unwrap_or(u32::MAX)),
        Err(stopped) => failed(&stopped.into()),
    }
}

/// Where a sent packet stands with each recipient; without a docId, what was sent last.
pub(super) async fn sent(face: &Arc<Face>, call: &Call) -> Reply {
    let listed = match call.parameters.text("docId") {
        Some(text) => match text.parse::<EnvelopeId>() {
            Ok(envelope) => one(face, call, envelope).await,
            Err(_) => Ok(Vec::new()),
        },
        None => match message_type(call) {
            Ok(message) => last(face, call, message).await,
            Err(reply) => return reply.with_list::<sdk::Sent>(&[]),
        },
    };
    match listed {
        // The vendor's example takes the first item without looking.
        Ok(items) if items.is_empty() && call.parameters.text("docId").is_some() => {
            no_such_document().with_list(&items)
        }
        Ok(items) => Reply::ok().with_list(&items),
        Err(error) => failed(&error).with_list::<sdk::Sent>(&[]),
    }
}

async fn one(face: &Arc<Face>, call: &Call, envelope: EnvelopeId) -> Result<Vec<sdk::Sent>, Error> {
    let (sent, _) = found::sent(&face.shell, envelope).await?;
    fill(face, sent.into_iter().filter(|sent| call.grant.allows(&sent.key.sender)).collect()).await
}

async fn last(face: &Arc<Face>, call: &Call, message: MessageType) -> Result<Vec<sdk::Sent>, Error> {
    let grant = call.grant.clone();
    let sent = face.shell.engine.ask(move |core| {
        let wanted = |sent: &&Sent| sent.kind == kind_of(message) && grant.allows(&sent.key.sender);
        let newest = core.sent().values().rev().filter(wanted);
        let mut items = 0;
        let bounded = newest.take_while(|sent| {
            items += sent.pairs.len();
            items <= SDK_LIST_ITEMS_MAX
        });
        bounded.cloned().collect::<Vec<Sent>>()
    });
    fill(face, sent.await?).await
}

/// Adds what stands in the journal.
async fn fill(face: &Arc<Face>, sent: Vec<Sent>) -> Result<Vec<sdk::Sent>, Error> {
    let bodies = face.shell.bodies();
    let work = move || {
        let mut items = Vec::new();
        for sent in sent {
            let about = bodies.about(sent.body)?;
            items.extend(sent.pairs.iter().map(|(to, pair)| sent_item(&sent, &about, to, pair)));
        }
        Ok::<_, crate::shell::BodyError>(items)
    };
    let items = face.shell.work("reading what was sent", work).await?;
    items.map_err(|error| Error::internal(crate::chain(&error)))
}

fn sent_item(sent: &Sent, about: &About, to: &truc_proto::AgencyId, pair: &Pair) -> sdk::Sent {
    let key: &Key = &sent.key;
    let notation = match DocumentId::read(&about.document_id) {
        DocumentId::Parts { number, notation, .. } => format!("{number}/{notation}"),
        DocumentId::Uuid(_) | DocumentId::Other => String::new(),
    };
    let consigned = sent.steps.iter().find(|step| {
        step.event == truc_proto::EventUri::ContentConsignment && step.recipient.as_ref().is_none_or(|of| of == to)
    });
    let status = pair.business.current;
    let message = if sent.kind == EnvelopeKind::Status { MessageType::Status } else { MessageType::Document };
    sdk::Sent {
        service_type: SERVICE_TYPE.into(),
        message_type: message.as_str().into(),
        sender_doc_id: key.envelope.to_string(),
        receiver_doc_id: doc_id(key, to),
        from_code: key.sender.to_string(),
        to_code: to.to_string(),
        title: about.subject.clone(),
        notation,
        sent_time: shown(sent.accepted_at),
        received_time: consigned.map(|step| shown(step.time)).unwrap_or_default(),
        send_status: pair.state.as_str().into(),
        send_status_desc: state_in_vietnamese(pair),
        receive_status: status.map(|code| code.to_string()).unwrap_or_default(),
        receive_status_desc: status.map(|code| code.vietnamese().to_owned()).unwrap_or_default(),
    }
}

fn state_in_vietnamese(pair: &Pair) -> String {
    let words = match pair.state {
        PairState::Held => "Nút giữ lại, chờ khóa ký hoặc danh bạ",
        PairState::Sealed => "Nút đã nhận, đang gửi lên trục",
        PairState::Relayed => "Trục đã nhận",
        PairState::Taken => "Nút bên nhận đã nhận",
        PairState::PassedOn => truc_proto::EventUri::RelayToNonErds.border().map_or("", |(_, vietnamese)| vietnamese),
        PairState::Consigned => "Đã đến nơi nhận",
        PairState::HandedOver => "Hệ thống bên nhận đã lấy",
        PairState::Failed => "Gửi không thành công",
    };
    match pair.reason {
        Some(reason) => format!("{words}: {}", reason.vietnamese()),
        None => words.to_owned(),
    }
}
