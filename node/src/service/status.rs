//! Business statuses, and the node's own state.

use std::{collections::BTreeMap, sync::Arc};

use truc_proto::{
    AgencyId, BusinessStatus, Digest, EnvelopeId, Preamble, Raw, Reason, StatusCode, WireLevel,
    limits::STATUS_TEXT_CHARS_MAX,
    node_v1::{self, send_reply::State},
};

use super::{Error, ErrorKind, envelope_id, revocations, roles::May, send};
use crate::{
    core::{Answer, Core, Input, StatusRefused, StatusRequest},
    pipeline::Refusal,
    records::Body,
    shell::{Shell, clock},
    tokens::Grant,
};

pub(crate) async fn set(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::SetStatusRequest,
) -> Result<node_v1::SetStatusReply, Error> {
    grant.need(May::Send)?;
    let from = super::code(grant, &request.from, "from")?;
    let document = envelope_id(&request.envelope)?;
    let code: StatusCode = request.code.parse().map_err(|error| Error::invalid(format!("`code`: {error}")))?;
    let mut first: Option<Result<node_v1::SetStatusReply, Error>> = None;
    for request in revocations::answers(shell, &request, &from, document, code).await? {
        let outcome = Box::pin(set_one(shell, &from, code, request)).await;
        // Those answered before may not be answered again; one that can be is enough.
        if first.as_ref().is_none_or(|first| first.is_err() && outcome.is_ok()) {
            first = Some(outcome);
        }
    }
    match first {
        Some(outcome) => outcome,
        None => set_one(shell, &from, code, request).await,
    }
}

async fn set_one(
    shell: &Arc<Shell>,
    from: &AgencyId,
    code: StatusCode,
    request: node_v1::SetStatusRequest,
) -> Result<node_v1::SetStatusReply, Error> {
    let document = envelope_id(&request.envelope)?;
    let to = match request.to.as_str() {
        "" => None,
        to => Some(to.parse().map_err(|error| Error::invalid(format!("`to`: {error}")))?),
    };
    send::check_idempotency_key(&request.idempotency_key)?;
    if [&request.reason, &request.staff].iter().any(|text| text.chars().count() > STATUS_TEXT_CHARS_MAX) {
        return Err(Error::invalid(format!("`reason` and `staff` have at most {STATUS_TEXT_CHARS_MAX} characters")));
    }
    if code == StatusCode::Refused && request.reason.trim().is_empty() {
        return Err(Error::invalid("status 02 (Từ chối tiếp nhận) needs a reason"));
    }
    let directory = shell.directory().ok_or_else(send::no_directory)?;
    send::check_room(shell).await?;
    let request_hash = hash_of(&request);
    let sender = whose(shell, &request, document, from, to.as_ref(), code).await?;
    let asked = StatusRequest {
        document,
        sender,
        from: from.clone(),
        to,
        code,
        idempotency_key: request.idempotency_key.clone(),
        request_hash,
    };
    let again = asked.clone();
    let answer = shell.engine.call(|reply| Input::ReserveStatus { request: asked, reply }).await?;
    let (sequence, key, to, body) = match answer {
        Answer::StatusReserved { sequence, document, to, body } => (sequence, document, to, body),
        Answer::StatusKnown { key, sequence } => {
            return Ok(node_v1::SetStatusReply { envelope: key.envelope.to_string(), sequence });
        }
        Answer::StatusRefused(StatusRefused::NoSuchDocument) => archived(shell, again).await?,
        Answer::StatusRefused(why) => {
            return Err(Error::not_now(format!("{why} / {}", why.vietnamese())));
        }
        Answer::RequestReused => {
            let detail = "this idempotency key was used for another request; send under a new key";
            return Err(Error::refused(ErrorKind::Reused, &Refusal::new(Reason::IdReused, detail)));
        }
        other => return Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    };
    let (level, document_id) = describe(shell, &key, body).await?;
    let status = BusinessStatus {
        status: code.uri(),
        code,
        from: from.clone(),
        to,
        document: key.envelope,
        document_id: Some(document_id).filter(|id| !id.is_empty()),
        reason: Some(request.reason).filter(|text| !text.trim().is_empty()),
        staff: Some(request.staff).filter(|text| !text.trim().is_empty()),
        sequence,
        time: clock::now(),
    };
    let (pipeline, idempotency_key) = (Arc::clone(&shell.pipeline), request.idempotency_key.clone());
    let (archive, of) = (shell.archive.clone(), from.clone());
    let work = move || {
        let made = pipeline.compose_status(status, level, &idempotency_key, request_hash, &directory, clock::moment());
        (made, archive.request(&of, &idempotency_key))
    };
    let (composed, before) = shell.work("sealing a status", work).await?;
    let (reply, _) = send::finish(shell, from, request.idempotency_key, composed, before).await?;
    if reply.state == i32::from(State::Refused) {
        let refusal = reply.refused.unwrap_or_default();
        return Err(Error::of_wire(ErrorKind::NotNow, refusal));
    }
    Ok(node_v1::SetStatusReply { envelope: reply.envelope, sequence })
}

/// The document's sender: as the request says, or the only possible one; code 13 is about the speaker's own document.
async fn whose(
    shell: &Arc<Shell>,
    request: &node_v1::SetStatusRequest,
    document: EnvelopeId,
    from: &AgencyId,
    to: Option<&AgencyId>,
    code: StatusCode,
) -> Result<Option<AgencyId>, Error> {
    let named = super::found::sender_of(&request.sender)?;
    if named.is_some() || code.is_from_sender() {
        return Ok(named);
    }
    let found = super::found::received_for(shell, document, from, to).await?;
    Ok(found.map(|found| found.key.sender))
}

/// As the core does it, for a document that left memory.
async fn archived(shell: &Arc<Shell>, asked: StatusRequest) -> Result<(u64, crate::core::Key, AgencyId, u64), Error> {
    let why = StatusRefused::NoSuchDocument;
    let none = || Error::not_found(format!("{why} / {}", why.vietnamese()));
    let by_sender = asked.code.is_from_sender();
    let (business, key, to, body) = if by_sender {
        let (sent, _) = super::found::sent(shell, asked.document).await?;
        let mut sent = sent.into_iter().find(|sent| sent.key.sender == asked.from).ok_or_else(none)?;
        let only = if sent.pairs.len() == 1 { sent.pairs.keys().next().cloned() } else { None };
        let to = asked.to.or(only).ok_or_else(none)?;
        let pair = sent.pairs.remove(&to).ok_or_else(none)?;
        (pair.business, sent.key, to, sent.body)
    } else {
        let sender = asked.sender.as_ref();
        let found = super::found::received_for(shell, asked.document, &asked.from, sender).await?;
        let mut received = found.ok_or_else(none)?;
        let code = received.codes.remove(&asked.from).filter(|code| code.consigned_at.is_some()).ok_or_else(none)?;
        if asked.to.is_some_and(|to| to != received.key.sender) {
            return Err(none());
        }
        let (to, body) = (received.key.sender.clone(), received.content.ok_or_else(none)?);
        (code.business, received.key, to, body)
    };
    crate::core::status_move(business.standing(), asked.code, by_sender)
        .map_err(|why| Error::not_now(format!("{why} / {}", why.vietnamese())))?;
    let sequence = shell.next_archived_sequence(&key, &asked.from, &to, business.said);
    Ok((sequence, key, to, body))
}

/// The document's level and edXML id, for the status that speaks about it.
async fn describe(shell: &Arc<Shell>, key: &crate::core::Key, body: u64) -> Result<(WireLevel, String), Error> {
    let received = super::found::received(shell, key.envelope).await?;
    let incoming = received.into_iter().find(|received| received.key == *key).map(|received| received.body);
    let bodies = shell.bodies();
    let work = move || -> Result<(Vec<u8>, String), crate::shell::BodyError> {
        match bodies.body(body)?.0 {
            Body::Outgoing(outgoing) => Ok((outgoing.preamble, outgoing.about.document_id)),
            Body::TakenOver(taken) => Ok((taken.preamble, taken.content.about.document_id)),
            Body::Content(content) => match incoming {
                Some(position) => Ok((bodies.incoming(position)?.preamble, content.about.document_id)),
                None => Err(crate::shell::BodyError::Other { position: body }),
            },
            _ => Err(crate::shell::BodyError::Other { position: body }),
        }
    };
    let read = shell.work("reading a document's description", work).await?;
    let (preamble, document_id) = read.map_err(|error| Error::internal(crate::chain(&error)))?;
    let preamble = Raw::<Preamble>::parse(preamble).map_err(|error| Error::internal(error.to_string()))?;
    Ok((preamble.level, document_id))
}

/// Binds the idempotency key to what was asked.
fn hash_of(request: &node_v1::SetStatusRequest) -> Digest {
    let fields = [&request.envelope, &request.from, &request.to, &request.code, &request.reason, &request.staff];
    let mut parts: Vec<Vec<u8>> = vec![b"truc/set-status/1".to_vec()];
    // Only where it is given: requests of before it existed keep their hash.
    let sender = Some(&request.sender).filter(|sender| !sender.is_empty());
    for field in fields.into_iter().chain(sender) {
        // Lengths first, so that no two requests run together to the same bytes.
        parts.push((field.len() as u64).to_be_bytes().to_vec());
        parts.push(field.as_bytes().to_vec());
    }
    Digest::of_parts(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// What the link is doing: the English cause, and in Vietnamese what that means and who acts.
fn relay_state(shell: &Shell) -> String {
    let vietnamese = match (shell.relay().is_some(), shell.may_sign()) {
        (true, _) => format!("đã kết nối với {}", shell.relay_id),
        (false, false) => "chưa kết nối được với trục; nút tự thử lại. Nếu kéo dài, quản trị viên kiểm tra mạng, chứng thư và danh bạ".to_owned(),
        (false, true) => "mất kết nối với trục; nút tự kết nối lại, văn bản đã nhận gửi vẫn chờ trên nút. Nếu kéo dài, quản trị viên kiểm tra mạng, chứng thư và danh bạ".to_owned(),
    };
    format!("{} / {vietnamese}", shell.relay_state.load())
}

/// Which agencies' requests are held, how many, and why: what a key or a token away does not let out.
fn held(core: &Core, grant: &Grant) -> Vec<String> {
    let mut agencies: BTreeMap<&AgencyId, (u64, &str)> = BTreeMap::new();
    let waiting = core.sent().values().filter(|sent| sent.is_held() && !sent.is_settled());
    for sent in waiting.filter(|sent| grant.allows(&sent.key.sender)) {
        let (count, why) = agencies.entry(&sent.key.sender).or_default();
        *count += 1;
        if why.is_empty() {
            *why = &sent.last_error;
        }
    }
    let line = |(code, (count, why)): (&AgencyId, (u64, &str))| {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let (requests, are) = if count == 1 { ("request", "is") } else { ("requests", "are") };
        format!(
            "{count} {requests} of {code} {are} held until they can be signed{why} / {count} văn bản của {code} đang được giữ vì chưa ký được; nút tự ký và gửi khi có khóa. Nếu kéo dài, quản trị viên kiểm tra tệp khóa hoặc thiết bị lưu khóa"
        )
    };
    agencies.into_iter().map(line).collect()
}

pub(crate) async fn of_node(shell: &Arc<Shell>, grant: &Grant) -> Result<node_v1::StatusReply, Error> {
    grant.need(May::State)?;
    let directory = shell.directory();
    let codes = directory.as_ref().map(|d| d.codes_of(&shell.node).to_vec()).unwrap_or_default();
    let seen = grant.clone();
    let counted = shell.engine.ask(move |core| {
        let mut alarms: Vec<String> =
            core.alarms().iter().map(|(alarm, text)| super::alarms::bilingual(alarm, text)).collect();
        alarms.extend(held(core, &seen));
        let outbox = core.sent().values().filter(|sent| !sent.is_settled()).count();
        let inbox = core.received().values().filter(|received| !received.is_settled()).count();
        (alarms, outbox as u64, inbox as u64)
    });
    let (alarms, open_outbox, open_inbox) = counted.await?;
    let counters = match grant.need(May::Duties) {
        Ok(()) => super::duties::counters(shell, grant, node_v1::CountersRequest::default()).await?.agencies,
        Err(_) => Vec::new(),
    };
    let rules = shell.archive.duties();
    Ok(node_v1::StatusReply {
        node: shell.node.to_string(),
        axis: shell.axis.to_string(),
        lane: shell.lane.to_string(),
        codes: codes.iter().filter(|code| grant.allows(code)).map(ToString::to_string).collect(),
        connected: shell.relay().is_some(),
        relay_state: relay_state(shell),
        directory_version: directory.as_ref().map_or(0, |d| d.version()),
        directory_valid_until: directory.map(|d| d.statement().valid_until.to_string()).unwrap_or_default(),
        alarms,
        open_outbox,
        open_inbox,
        index_state: shell.index_state(),
        counters,
        duties_notice: rules.and_then(|rules| rules.notice(clock::now())).unwrap_or_default(),
    })
}
