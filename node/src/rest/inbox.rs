//! The inbox: list, watch, fetch, confirm.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE,
        },
    },
    response::Response,
};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use truc_proto::{
    limits::REST_WAIT_S_MAX,
    node_v1::{self, fetch_request::What},
};

use super::{
    Rest,
    model::{AgencyCode, Arrivals, ConfirmRequest, Confirmed, Envelope, InboxPage, PageToken},
    problem::Problem,
    request::{Caller, InPath, NoQuery, Query, json},
};
use crate::service::{arrivals, inbox};

/// What a file name in a header may hold unescaped (RFC 8187 3.2.1).
const IN_HEADER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// List the inbox
///
/// Documents and statuses that were consigned to the agencies of the token, newest first; those that no document system has
/// confirmed, or all.
#[utoipa::path(
    get,
    path = "/inbox",
    tag = "Inbox",
    params(
        ("code" = inline(Option<AgencyCode>), Query, description = "Only this agency"),
        ("with_confirmed" = Option<bool>, Query, description = "Those too that were confirmed, however long ago"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Entries on a page; 50 when it is not given"),
        ("page_token" = inline(Option<PageToken>), Query, description = "`next_page_token` of the page before"),
    ),
    responses((status = 200, description = "A page", body = InboxPage))
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<InboxPage>, Problem> {
    let request = node_v1::ListInboxRequest {
        code: query.text("code"),
        with_confirmed: query.boolean("with_confirmed"),
        page_size: page_size(&mut query),
        page_token: query.text("page_token"),
    };
    query.end()?;
    let reply = inbox::list(&rest.shell, grant, request).await?;
    let items = reply.items.into_iter().map(Into::into).collect();
    Ok(Json(InboxPage { items, next_page_token: reply.next_page_token }))
}

pub(super) fn page_size(query: &mut Query) -> u32 {
    query.number("page_size", 1..=500).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// Wait for new documents
///
/// A long poll: answers at once when there is something behind `cursor`, else as soon as something comes, or with an empty list
/// after `wait_s`. Without `cursor` it begins with all that is not confirmed. Give the `cursor` of each answer back with the next
/// request: then everything is shown at least once.
#[utoipa::path(
    get,
    path = "/inbox/watch",
    tag = "Inbox",
    params(
        ("code" = inline(Option<AgencyCode>), Query, description = "Only this agency"),
        ("cursor" = inline(Option<PageToken>), Query, description = "`cursor` of the answer before"),
        ("wait_s" = Option<u32>, Query, minimum = 0, maximum = 55, description = "Seconds to wait; 0 when it is not given"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Most envelopes in one answer; 50 when it is not given"),
    ),
    responses((status = 200, description = "What is new, oldest first", body = Arrivals))
)]
pub(super) async fn watch(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<Arrivals>, Problem> {
    let (code, cursor) = (query.text("code"), query.text("cursor"));
    let wait = Duration::from_secs(query.number("wait_s", 0..=u64::from(REST_WAIT_S_MAX)).unwrap_or_default());
    let size = page_size(&mut query);
    query.end()?;
    let found = arrivals::after(&rest.shell, &grant, &code, &cursor, size, wait).await?;
    Ok(Json(Arrivals { items: found.items.into_iter().map(Into::into).collect(), cursor: found.cursor }))
}

/// Fetch a document as an edXML packet
///
/// With its files inside, and the trace headers of its way added. A status comes as an edXML status packet.
#[utoipa::path(
    get,
    path = "/inbox/{envelope}/edxml",
    tag = "Inbox",
    params(
        ("envelope" = inline(Envelope), Path, description = "The document"),
        ("recipient" = inline(AgencyCode), Query, description = "The receiving agency that asks"),
        ("sender" = inline(Option<AgencyCode>), Query, description = "Needed where several senders used this id"),
        ("even_withdrawn" = Option<bool>, Query, description = "The kept copy of a document that was withdrawn by agreement"),
    ),
    responses((status = 200, description = "The packet", body = String, content_type = "application/xml"))
)]
pub(super) async fn edxml(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    mut query: Query,
) -> Result<Response, Problem> {
    let request = asked(&mut path, &mut query, What::Edxml(true));
    query.end()?;
    let name = format!("{}.edxml", request.envelope);
    let chunks = inbox::fetch(&rest.shell, &grant, request).await?;
    streamed(chunks, "application/xml", &name, None).await
}

/// Fetch a document's container
///
/// The signed ASiC-E container as the sender made it. A broken download is resumed with `Range: bytes=N-`.
#[utoipa::path(
    get,
    path = "/inbox/{envelope}/container",
    tag = "Inbox",
    params(
        ("envelope" = inline(Envelope), Path, description = "The document"),
        ("recipient" = inline(AgencyCode), Query, description = "The receiving agency that asks"),
        ("sender" = inline(Option<AgencyCode>), Query, description = "Needed where several senders used this id"),
        ("even_withdrawn" = Option<bool>, Query, description = "The kept copy of a document that was withdrawn by agreement"),
        ("Range" = Option<String>, Header, description = "`bytes=N-`: from byte N on; other ranges get the whole"),
    ),
    responses(
        (status = 200, description = "The container", body = String, content_type = "application/vnd.etsi.asic-e+zip"),
        (status = 206, description = "The container from that byte on", body = String, content_type = "application/vnd.etsi.asic-e+zip"),
    )
)]
pub(super) async fn container(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut request = asked(&mut path, &mut query, What::Container(true));
    query.end()?;
    let from = headers.get(RANGE).and_then(|value| first_byte(value.to_str().ok()?)).filter(|from| *from > 0);
    request.offset = from.unwrap_or_default();
    let name = format!("{}.asice", request.envelope);
    let chunks = inbox::fetch(&rest.shell, &grant, request).await?;
    streamed(chunks, "application/vnd.etsi.asic-e+zip", &name, from).await
}

/// Fetch one file of a document
///
/// Decrypted as it streams; what its sender signed was checked when it was consigned.
#[utoipa::path(
    get,
    path = "/inbox/{envelope}/attachments/{name}",
    tag = "Inbox",
    params(
        ("envelope" = inline(Envelope), Path, description = "The document"),
        ("name" = String, Path, description = "The file, by its name in the inbox"),
        ("recipient" = inline(AgencyCode), Query, description = "The receiving agency that asks"),
        ("sender" = inline(Option<AgencyCode>), Query, description = "Needed where several senders used this id"),
        ("even_withdrawn" = Option<bool>, Query, description = "The kept copy of a document that was withdrawn by agreement"),
    ),
    responses((status = 200, description = "The file's bytes", body = String, content_type = "application/octet-stream"))
)]
pub(super) async fn attachment(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    mut query: Query,
) -> Result<Response, Problem> {
    let name = path.take("name");
    let request = asked(&mut path, &mut query, What::Attachment(name.clone()));
    query.end()?;
    let chunks = inbox::fetch(&rest.shell, &grant, request).await?;
    // Whatever its sender says it is: nothing that a browser would run.
    streamed(chunks, "application/octet-stream", &name, None).await
}

fn asked(path: &mut InPath, query: &mut Query, what: What) -> node_v1::FetchRequest {
    node_v1::FetchRequest {
        envelope: path.take("envelope"),
        recipient: query.wanted("recipient"),
        what: Some(what),
        offset: 0,
        sender: query.text("sender"),
        even_withdrawn: query.boolean("even_withdrawn"),
    }
}

/// The N of `bytes=N-`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The answer is only begun when the first bytes are there, so that what goes wrong before becomes a problem. What goes wrong
/// later ends the connection in the middle: nobody takes the document for whole.
pub(super) async fn streamed(
    mut chunks: inbox::Replies<node_v1::FetchChunk>,
    media_type: &'static str,
    name: &str,
    from: Option<u64>,
) -> Result<Response, Problem> {
    let first = chunks.recv().await.transpose()?.unwrap_or_default();
    let length = first.length;
    let rest = ReceiverStream::new(chunks).map(|chunk| chunk.map(|chunk| chunk.data));
    let bytes = tokio_stream::once(Ok::<Bytes, crate::service::Error>(first.data)).chain(rest);
    let mut response = Response::new(Body::from_stream(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let disposition = format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, IN_HEADER));
    headers.extend(HeaderValue::from_str(&disposition).ok().map(|value| (CONTENT_DISPOSITION, value)));
    if name.ends_with(".asice") {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if length > 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(from) = from.filter(|_| length > 0) {
        let total = from + length;
        let range = format!("bytes {from}-{}/{total}", total - 1);
        headers.extend(HeaderValue::from_str(&range).ok().map(|value| (CONTENT_RANGE, value)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Confirm a document
///
/// Says that the document system has the document safe (ContentHandover), or with `refused` that it does not take it. Idempotent.
/// What is not confirmed stays in the inbox.
#[utoipa::path(
    post,
    path = "/inbox/{envelope}/confirmation",
    tag = "Inbox",
    params(("envelope" = inline(Envelope), Path, description = "The document")),
    request_body = ConfirmRequest,
    responses((status = 200, description = "On record", body = Confirmed))
)]
pub(super) async fn confirm(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<Json<Confirmed>, Problem> {
    let ConfirmRequest { recipient, sender, refused, reason } = json(&headers, body).await?;
    let request = node_v1::ConfirmRequest { envelope: path.take("envelope"), recipient, refused, reason, sender };
    Ok(Json(inbox::confirm(&rest.shell, &grant, request).await?.into()))
}

#[cfg(test)]
mod tests {
    use super::first_byte;

    #[test]
    fn only_a_range_to_the_end_resumes() {
        assert_eq!(first_byte("bytes=1048576-"), Some(1_048_576));
        for whole in ["bytes=0-99", "bytes=-5", "bytes=1-,5-", "items=1-", "bytes=x-", ""] {
            assert_eq!(first_byte(whole), None, "{whole}");
        }
    }
}
