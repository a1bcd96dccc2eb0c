//! Lists of agencies from the directory in force, and requests to change it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::info;
use truc_evidence::{Agency as DirectoryAgency, Directory};
use truc_proto::{
    AgencyId, Timestamp,
    edxml::Dated,
    limits::SDK_AGENCY_TEXT_CHARS_MAX,
    sdk::{Agency, AgencyQd20, ErrorCode, Parameters, Reply, Unit, ascii},
};

use super::{
    AgencyText, Face, RequestKind, RequestsError, failed,
    http::{Answer, Call},
    parameter_missing,
};
use crate::{service::send::no_directory, shell::clock};

/// About so many bytes go out at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Which fields an item has, and which agencies are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Those in force, with old codes.
    Plain,
    /// Those in force of one level; none: of all.
    Level(Option<usize>),
    /// All, with their validity.
    Unit,
}

/// The list as one reply, written as it is made: there are 125,000 agencies in the country.
pub(super) fn list(face: &Face, form: Form) -> Answer {
    let Some(directory) = face.shell.directory() else { return failed(&no_directory()).into() };
    let (pieces, body) = mpsc::channel(2);
    let now = clock::now();
    tokio::task::spawn_blocking(move || {
        let mut text = format!("{},\"data\":[", Reply::ok().head());
        let mut first = true;
        for item in directory.agencies().iter().filter_map(|agency| shown(&directory, agency, form, now)) {
            if !std::mem::take(&mut first) {
                text.push(',');
            }
            text.push_str(&item);
            if text.len() >= PIECE_BYTES && pieces.blocking_send(Ok(Bytes::from(std::mem::take(&mut text)))).is_err() {
                return; // the client is gone
            }
        }
        text.push_str("]}");
        let _ = pieces.blocking_send(Ok(Bytes::from(text))); // as above
    });
    Answer::Json(body)
}

/// The agencies of the level that the call names: 1 is `H26`, 2 `H26.18`.
pub(super) fn list_of_level(face: &Face, parameters: &Parameters) -> Answer {
    match parameters.text("level") {
        None => list(face, Form::Level(None)),
        Some(text) => match text.parse::<usize>() {
            Ok(level) => list(face, Form::Level(Some(level))),
            Err(_) => parameter_missing("level").into(),
        },
    }
}

fn shown(directory: &Directory, agency: &DirectoryAgency, form: Form, now: Timestamp) -> Option<String> {
    let open = agency.is_open(now);
    let (code, name) = (agency.code.to_string(), agency.names.first().map(ToString::to_string).unwrap_or_default());
    let parent = agency.superior().map(|code| code.to_string()).unwrap_or_default();
    let old_code = agency.old_codes.first().map(ToString::to_string).unwrap_or_default();
    match form {
        Form::Plain => open.then(|| json(&Agency { id: code.clone(), pid: parent, code, name, old_code }))?,
        Form::Level(level) => {
            let wanted = open && level.is_none_or(|level| agency.code.groups().count() == level);
            wanted.then(|| json(&AgencyQd20 { id: code.clone(), code, name, code102: old_code }))?
        }
        Form::Unit => json(&Unit {
            id: code.clone(),
            pid: parent,
            code,
            name,
            version: i32::try_from(directory.version()).unwrap_or(i32::MAX),
            center_code: agency.code.level1().to_string(),
            deleted: agency.valid_to.is_some_and(|end| end <= now),
            modify_date: Dated::<Timestamp>::from(agency.valid_to.filter(|_| !open).unwrap_or(agency.valid_from)).text,
            is_agency: true,
        }),
    }
}

fn json(item: &impl Serialize) -> Option<String> {
    serde_json::to_string(item).ok().map(|text| ascii(&text))
}

/// Asks the axis operator for a new agency. The body is whatever the caller wrote: the client does not look at it.
pub(super) async fn register(face: &Arc<Face>, call: &Call, body: &[u8]) -> Reply {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else {
        let words = "Nội dung đăng ký không phải là một đối tượng JSON; hãy kiểm tra phần mềm quản lý văn bản.";
        return Reply::fail(ErrorCode::Parameter, words);
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let agency = AgencyText {
        code: text("code"),
        pcode: text("pcode"),
        name: text("name"),
        mail: text("mail"),
        mobile: text("mobile"),
        fax: text("fax"),
    };
    if agency.name.is_empty() {
        return Reply::fail(ErrorCode::Parameter, "Đăng ký cơ quan phải có tên (name); hãy bổ sung rồi gửi lại.");
    }
    ask(face, call, RequestKind::Register, agency).await
}

/// Asks the axis operator to close an agency.
pub(super) async fn delete(face: &Arc<Face>, call: &Call) -> Reply {
    let Some(code) = call.parameters.first(&["AgencyCode", "agencyCode", "agencycode"]) else {
        return parameter_missing("AgencyCode");
    };
    ask(face, call, RequestKind::Delete, AgencyText { code: code.to_owned(), ..AgencyText::default() }).await
}

async fn ask(face: &Arc<Face>, call: &Call, kind: RequestKind, agency: AgencyText) -> Reply {
    let texts = [&agency.code, &agency.pcode, &agency.name, &agency.mail, &agency.mobile, &agency.fax];
    if texts.iter().any(|text| text.chars().count() > SDK_AGENCY_TEXT_CHARS_MAX || text.chars().any(char::is_control)) {
        let words =
            format!("Một trường dài quá {SDK_AGENCY_TEXT_CHARS_MAX} ký tự hoặc có ký tự điều khiển; hãy sửa lại.");
        return Reply::fail(ErrorCode::Parameter, words);
    }
    if let Err(error) = agency.code.parse::<AgencyId>() {
        return Reply::fail(ErrorCode::Parameter, error.vietnamese());
    }
    let (inner, system) = (Arc::clone(face), call.system.id.clone());
    let work = move || inner.requests.ask(kind, &system, agency, clock::now());
    match face.shell.work("keeping a request to the axis operator", work).await {
        Ok(Ok(request)) => {
            info!(number = request.number, %kind, system = call.system.id, "asked of the axis operator");
            Reply::ok()
        }
        Ok(Err(RequestsError::Full)) => {
            let words = "Có quá nhiều yêu cầu chờ đơn vị vận hành trục xử lý; hãy thử lại sau.";
            Reply::fail(ErrorCode::TryAgain, words)
        }
        Ok(Err(error)) => {
            tracing::error!(error = crate::chain(&error), "a request to the axis operator was not kept");
            Reply::fail(ErrorCode::Internal, "Nút không lưu được yêu cầu; hãy báo quản trị viên của nút xem nhật ký.")
        }
        Err(error) => failed(&error.into()),
    }
}
