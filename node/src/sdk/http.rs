//! From an HTTP request to an operation with its verified parameters, and back.
//!
//! The client ignores HTTP's status and shows its user three JSON fields, so failures are HTTP 200 with JSON, too. downloadEdoc alone
//! differs: whatever is not empty there is saved as a document and reported as a success, so its failures are an empty 404.

use std::sync::Arc;

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue},
    http::request::Parts,
};
use tracing::{info, warn};
use truc_proto::sdk::{ErrorCode, Operation, Parameters, Reply, SIGNATURE_HEADER, SIGNED_HEADER, read_signature};

use super::{
    Face, agencies,
    body::{BodyError, Content, Pieces, Reading},
    fetch, lists, send,
    systems::System,
    update,
};
use crate::tokens::Grant;

/// A call whose signature held.
pub(super) struct Call {
    pub(super) system: Arc<System>,
    pub(super) parameters: Parameters,
    pub(super) grant: Grant,
}

/// What a call leads to.
pub(super) enum Answer {
    Reply(Reply),
    /// JSON that is written as it is read.
    Json(Pieces),
    /// A packet as it is.
    Packet(Pieces),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

pub(super) async fn answer(face: Arc<Face>, request: Request<Incoming>) -> Response<Content> {
    let (parts, body) = request.into_parts();
    let operation = Operation::of_path(parts.uri.path(), &face.prefix);
    let mut reading = Reading::of(body);
    let name = operation.map_or("", Operation::name);
    let (answer, whole) = match meet(&face, operation, &parts, &mut reading).await {
        Ok(answer) => (answer, true),
        Err(error) => {
            warn!(operation = name, %error, "a call's body did not come whole");
            let words = "Dữ liệu gửi lên bị gián đoạn hoặc quá chậm; hãy kiểm tra đường truyền rồi gửi lại.";
            (Reply::fail(ErrorCode::File, words).into(), false)
        }
    };
    let mut response = match answer {
        Answer::Reply(reply) => {
            if !reply.is_ok() {
                warn!(operation = name, code = reply.code().as_str(), why = reply.description(), "a call failed");
            }
            match operation {
                Some(Operation::DownloadEdoc) => empty(),
                Some(Operation::SendEdoc) if !reply.is_ok() => json(Content::whole(reply.with_doc_id("").to_json())),
                _ => json(Content::whole(reply.to_json())),
            }
        }
        Answer::Json(pieces) => json(Content::Streamed(pieces)),
        Answer::Packet(pieces) => {
            let mut response = Response::new(Content::Streamed(pieces));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            response
        }
    };
    if !whole {
        // What of the body has not come cannot be told from a next call.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn json(content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    response
}

fn empty() -> Response<Content> {
    let mut response = Response::new(Content::Whole(None));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Carries a call out. Its body is read to the end before any answer, whatever the answer is.
async fn meet(
    face: &Arc<Face>,
    operation: Option<Operation>,
    parts: &Parts,
    reading: &mut Reading,
) -> Result<Answer, BodyError> {
    let call = match identify(face, operation, parts) {
        Ok(call) => call,
        Err(reply) => {
            reading.discard().await?;
            return Ok(reply.into());
        }
    };
    let (operation, call) = call;
    if operation == Operation::SendEdoc {
        let reply = send::send(face, &call, reading).await?;
        info!(system = call.system.id, operation = operation.name(), code = reply.code().as_str(), "answered");
        return Ok(reply.into());
    }
    let Some(body) = reading.short().await? else {
        let words = "Phần thân của lời gọi quá dài; lời gọi này chỉ nhận tham số ở phần đầu (header).";
        return Ok(Reply::fail(ErrorCode::Parameter, words).into());
    };
    let answer = carry_out(face, operation, &call, &body).await;
    if let Answer::Reply(reply) = &answer {
        tracing::debug!(
            system = call.system.id,
            operation = operation.name(),
            code = reply.code().as_str(),
            "answered"
        );
    }
    Ok(answer)
}

async fn carry_out(face: &Arc<Face>, operation: Operation, call: &Call, body: &[u8]) -> Answer {
    match operation {
        Operation::AgenciesList => agencies::list(face, agencies::Form::Plain),
        Operation::AgenciesListQd20 => agencies::list_of_level(face, &call.parameters),
        Operation::SynchronizeUnit => agencies::list(face, agencies::Form::Unit),
        Operation::RegisterAgency => agencies::register(face, call, body).await.into(),
        Operation::DeleteAgency => agencies::delete(face, call).await.into(),
        Operation::ReceivedEdocList => lists::received(face, call).await.into(),
        Operation::SentEdocList => lists::sent(face, call).await.into(),
        Operation::CountReceiveEdoc => lists::count(face, call, truc_proto::EnvelopeKind::Document).await.into(),
        Operation::CountReceiveStatus => lists::count(face, call, truc_proto::EnvelopeKind::Status).await.into(),
        Operation::Edoc => fetch::in_json(face, call).await,
        Operation::DownloadEdoc => fetch::as_it_is(face, call).await,
        Operation::UpdateStatus => update::update(face, call).await.into(),
        // Dealt with before its body is read.
        Operation::SendEdoc => Reply::fail(ErrorCode::Internal, "sendEdoc").into(),
    }
}

/// Which operation, by which system, with which parameters. The path says the first: headers are full of what earlier calls left there.
fn identify(face: &Face, operation: Option<Operation>, parts: &Parts) -> Result<(Operation, Call), Reply> {
    let operation = operation.ok_or_else(|| {
        let words = "Địa chỉ này không có thao tác nào; hãy kiểm tra địa chỉ (service.endpoint) trong cấu hình.";
        Reply::fail(ErrorCode::Operation, words)
    })?;
    let changes = matches!(
        operation,
        Operation::SendEdoc | Operation::UpdateStatus | Operation::RegisterAgency | Operation::DeleteAgency
    );
    if !(parts.method == Method::POST || parts.method == Method::GET && !changes) {
        let words = format!("Thao tác {} phải gọi bằng POST.", operation.name());
        return Err(Reply::fail(ErrorCode::Operation, words));
    }
    let signed = only(&parts.headers, SIGNED_HEADER).ok_or_else(unsigned)?;
    let signature = only(&parts.headers, SIGNATURE_HEADER).and_then(read_signature).ok_or_else(unsigned)?;
    let parameters = Parameters::read(signed).map_err(|error| {
        warn!(%error, "a signed header cannot be read");
        mistrusted()
    })?;
    let systems = face.systems().map_err(|error| {
        tracing::error!(error = crate::chain(&error), "document systems cannot be read; nobody is let in");
        let words = "Nút không đọc được danh sách hệ thống; hãy báo quản trị viên của nút xem nhật ký.";
        Reply::fail(ErrorCode::Internal, words)
    })?;
    // Nothing of the parameters is believed before the signature held but under whose name to check it.
    let system = parameters.text("systemid").and_then(|id| systems.find(id)).ok_or_else(mistrusted)?;
    if !system.signed(signed, &signature) {
        return Err(mistrusted());
    }
    Ok((operation, Call { system: Arc::clone(system), grant: system.grant(), parameters }))
}

/// The bytes of a header that stands there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

fn unsigned() -> Reply {
    Reply::fail(
        ErrorCode::Signature,
        "Lời gọi thiếu chữ ký (XroadVnpt-sign-header, XroadVnpt-hash-header) hoặc chữ ký bị hỏng trên đường truyền. Nếu tham số có chữ tiếng Việt có dấu (ví dụ thư mục filePath), hãy dùng địa chỉ https hoặc thư mục không dấu.",
    )
}

/// One answer for an unknown system and a wrong secret: it tells a stranger nothing.
fn mistrusted() -> Reply {
    Reply::fail(
        ErrorCode::Signature,
        "Mã hệ thống (systemid) hoặc khóa bí mật (secret) không đúng; hãy kiểm tra hai dòng này trong cấu hình, hoặc xin quản trị viên của nút cấp lại. Nếu chỉ sai khi tham số có chữ tiếng Việt có dấu (ví dụ thư mục filePath), hãy dùng địa chỉ https hoặc thư mục không dấu.",
    )
}
