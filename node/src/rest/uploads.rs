//! Resumable uploads by the tus protocol, version 1.0.0 (<https://tus.io/protocols/resumable-upload>) with its extensions *creation* and
//! *termination*: clients exist for most languages. What they bring becomes part of a document when a Send names it.

use std::io;

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, LOCATION},
        request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use data_encoding::BASE64;
use tokio_stream::StreamExt as _;
use truc_proto::limits::PACKET_BYTES_MAX;
use utoipa::ToSchema;

use super::{
    BASE, Rest,
    problem::{Kind, Problem},
    request::{Caller, InPath, NoQuery, broken, require_media_type},
};
use crate::service::uploads;

/// The version of the protocol that is spoken.
pub(super) const VERSION: &str = "1.0.0";
const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");

/// Id of an upload.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9a-f]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
#[expect(dead_code, reason = "stands for its schema; ids are read by crate::uploads")]
pub(super) struct UploadName(String);

/// The version of the protocol.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "stands for its schema")]
pub(super) enum TusVersion {
    #[schema(rename = "1.0.0")]
    One,
}

/// Begin an upload
///
/// Of a large file or packet, by the tus protocol 1.0.0. `Upload-Metadata` gives `filename` and `filetype`, each in base64. Go on with
/// PATCH at the `Location` of the answer. An upload that nobody goes on with is kept for 24 hours.
#[utoipa::path(
    post,
    path = "/uploads",
    tag = "Uploads",
    params(
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
        ("Upload-Length" = u64, Header, minimum = 0, maximum = 25_769_803_776_u64, description = "Length of the whole in bytes", example = 104_857_600),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename` and `filetype`, each followed by a space and its value in base64; separated by commas", example = "filename Y29uZy12YW4ucGRm,filetype YXBwbGljYXRpb24vcGRm"),
    ),
    responses((status = 201, description = "Begun; `Location` leads to it", headers(("Location" = String, description = "The upload"))))
)]
pub(super) async fn create(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    headers: HeaderMap,
    _: NoQuery,
    _: Tus,
) -> Result<Response, Problem> {
    let length = number(&headers, &LENGTH)?;
    if length > PACKET_BYTES_MAX {
        return Err(Problem::of(Kind::TooLarge));
    }
    let about = metadata(&headers)?;
    let upload = uploads::create(&rest.shell, &rest.uploads, &grant, about, length).await?;
    let mut response = answer(StatusCode::CREATED, 0);
    if let Ok(location) = HeaderValue::from_str(&format!("{BASE}/uploads/{}", upload.id())) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Where an upload goes on
///
/// `Upload-Offset` says how many bytes are on the device.
#[utoipa::path(
    head,
    path = "/uploads/{upload}",
    tag = "Uploads",
    params(
        ("upload" = inline(UploadName), Path, description = "The upload"),
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
    ),
    responses((status = 200, description = "In `Upload-Offset` and `Upload-Length`"))
)]
pub(super) async fn offset(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
    _: Tus,
) -> Result<Response, Problem> {
    let upload = uploads::find(&rest.uploads, &grant, &path.take("upload"))?;
    let mut response = answer(StatusCode::OK, uploads::received(&upload).await?);
    response.headers_mut().insert(LENGTH, upload.about().length.into());
    Ok(response)
}

/// Go on with an upload
///
/// The body is what follows the bytes that are here. Of a body that breaks off, what came is kept: ask with HEAD where to go on.
#[utoipa::path(
    patch,
    path = "/uploads/{upload}",
    tag = "Uploads",
    params(
        ("upload" = inline(UploadName), Path, description = "The upload"),
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
        ("Upload-Offset" = u64, Header, minimum = 0, maximum = 25_769_803_776_u64, description = "Where the body goes on: as HEAD said, or the answer before", example = 0),
    ),
    request_body(content = String, content_type = "application/offset+octet-stream", description = "The next bytes"),
    responses((status = 204, description = "Everything is on the device; `Upload-Offset` says where it goes on"))
)]
pub(super) async fn append(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    headers: HeaderMap,
    _: NoQuery,
    _: Tus,
    body: Body,
) -> Result<Response, Problem> {
    require_media_type(&headers, "application/offset+octet-stream")?;
    let offset = number(&headers, &OFFSET)?;
    let upload = uploads::find(&rest.uploads, &grant, &path.take("upload"))?;
    let pieces = body.into_data_stream().map(|piece| piece.map_err(io::Error::other));
    let (received, fault) = uploads::append(&rest.shell, &grant, &upload, offset, pieces).await?;
    match fault {
        None => Ok(answer(StatusCode::NO_CONTENT, received)),
        Some(fault) => Err(broken(&fault)),
    }
}

/// Delete an upload
///
/// Whatever was received. Uploads that became part of a document may be deleted, too: the document has its own copy.
#[utoipa::path(
    delete,
    path = "/uploads/{upload}",
    tag = "Uploads",
    params(
        ("upload" = inline(UploadName), Path, description = "The upload"),
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
    ),
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn remove(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
    _: Tus,
) -> Result<Response, Problem> {
    let upload = uploads::find(&rest.uploads, &grant, &path.take("upload"))?;
    uploads::remove(&rest.uploads, &upload).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(RESUMABLE, HeaderValue::from_static(VERSION));
    Ok(response)
}

/// What of the protocol is spoken; open to all, as the protocol has it.
pub(super) async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert("tus-version", HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static("creation,termination"));
    headers.insert("tus-max-size", PACKET_BYTES_MAX.into());
    response
}

fn answer(status: StatusCode, offset: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert(OFFSET, offset.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// That the request is by the protocol's version.
pub(super) struct Tus;

impl<S: Send + Sync> FromRequestParts<S> for Tus {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let spoken = parts.headers.get(RESUMABLE).is_some_and(|version| version == VERSION);
        if spoken { Ok(Self) } else { Err(Problem::of(Kind::UploadProtocol)) }
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Problem> {
    let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| {
        Problem::invalid(
            format!("the header `{name}` is a number of bytes; uploads of unknown length are not taken"),
            format!("Tiêu đề `{name}` phải là số byte; không nhận tệp tải lên chưa biết độ dài"),
        )
    })
}

/// `filename` and `filetype`; other keys are passed over.
fn metadata(headers: &HeaderMap) -> Result<(String, String), Problem> {
    let wrong = || {
        Problem::invalid(
            "`Upload-Metadata` is a list of keys, each followed by a space and its value in base64 of UTF-8; separated by commas",
            "`Upload-Metadata` là danh sách khóa, mỗi khóa theo sau bởi dấu cách và giá trị base64 của chuỗi UTF-8; ngăn cách bằng dấu phẩy",
        )
    };
    let (mut name, mut content_type) = (String::new(), String::new());
    let Some(header) = headers.get(METADATA) else { return Ok((name, content_type)) };
    for pair in header.to_str().map_err(|_| wrong())?.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = BASE64.decode(value.trim().as_bytes()).map_err(|_| wrong())?;
        let text = || String::from_utf8(value).map_err(|_| wrong());
        match key {
            "filename" => name = text()?,
            "filetype" => content_type = text()?,
            _ => {}
        }
    }
    Ok((name, content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_the_protocol_has_it() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(METADATA, HeaderValue::from_str(text).unwrap())]);
            metadata(&headers).ok()
        };
        let both = "filename Y29uZy12xINuLnBkZg==, filetype YXBwbGljYXRpb24vcGRm,is_confidential";
        assert_eq!(of(both), Some(("cong-văn.pdf".into(), "application/pdf".into())));
        assert_eq!(of("filename"), Some((String::new(), String::new())));
        assert_eq!(of("filename ???"), None);
        assert_eq!(of("filename /w=="), None, "not UTF-8");
        assert_eq!(metadata(&HeaderMap::new()).ok(), Some((String::new(), String::new())));
    }
}
