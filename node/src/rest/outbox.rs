//! The outbox and the receipts: what was sent, where it stands, and the proofs.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{
        HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::Response,
};
use truc_proto::{Digest, node_v1};
use utoipa::ToSchema;

use super::{
    Rest,
    inbox::{page_size, streamed},
    model::{AgencyCode, Envelope, Hash, IdempotencyKey, OutboxItem, OutboxPage, PageToken, ReceiptList},
    problem::{Kind, Problem},
    request::{Caller, InPath, NoQuery, Query},
};
use crate::service::{outbox, receipts};

/// List the outbox
///
/// What the agencies of the token sent, newest first; what is under way, or all.
#[utoipa::path(
    get,
    path = "/outbox",
    tag = "Outbox and receipts",
    params(
        ("code" = inline(Option<AgencyCode>), Query, description = "Only this sender"),
        ("with_final" = Option<bool>, Query, description = "Those too whose recipients are all final, however long ago"),
        ("counted" = inline(Option<Counted>), Query, description = "Only documents with a recipient that this counter counts, of those still in memory"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Entries on a page; 50 when it is not given"),
        ("page_token" = inline(Option<PageToken>), Query, description = "`next_page_token` of the page before"),
    ),
    responses((status = 200, description = "A page", body = OutboxPage))
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<OutboxPage>, Problem> {
    let request = node_v1::ListOutboxRequest {
        code: query.text("code"),
        with_final: query.boolean("with_final"),
        page_size: page_size(&mut query),
        page_token: query.text("page_token"),
        envelope: String::new(),
        counted: query.text("counted"),
    };
    query.end()?;
    let reply = outbox::list(&rest.shell, grant, request).await?;
    let items = reply.items.into_iter().map(Into::into).collect();
    Ok(Json(OutboxPage { items, next_page_token: reply.next_page_token }))
}

/// Where a document stands
///
/// One sent document with its ladder of events per recipient.
#[utoipa::path(
    get,
    path = "/outbox/{envelope}",
    tag = "Outbox and receipts",
    params(("envelope" = inline(Envelope), Path, description = "The document")),
    responses((status = 200, description = "The document", body = OutboxItem))
)]
pub(super) async fn one(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<Json<OutboxItem>, Problem> {
    let request = node_v1::ListOutboxRequest { envelope: path.take("envelope"), ..Default::default() };
    let reply = outbox::list(&rest.shell, grant, request).await?;
    let item = reply.items.into_iter().next().ok_or_else(|| Problem::of(Kind::NotFound))?;
    Ok(Json(item.into()))
}

/// List receipts
///
/// Of an envelope, or of what the requests of a sender under an idempotency key led to (a refused one never had an envelope).
#[utoipa::path(
    get,
    path = "/receipts",
    tag = "Outbox and receipts",
    params(
        ("envelope" = inline(Option<Envelope>), Query, description = "The envelope; or `sender` and `idempotency_key`"),
        ("sender" = inline(Option<AgencyCode>), Query, description = "The sender"),
        ("idempotency_key" = inline(Option<IdempotencyKey>), Query, description = "The key that the request came under"),
    ),
    responses((status = 200, description = "The receipts, oldest first", body = ReceiptList))
)]
pub(super) async fn receipts_of(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<ReceiptList>, Problem> {
    let request = node_v1::ListReceiptsRequest {
        envelope: query.text("envelope"),
        sender: query.text("sender"),
        idempotency_key: query.text("idempotency_key").trim_matches('"').to_owned(),
    };
    query.end()?;
    let reply = receipts::list(&rest.shell, grant, &request).await?;
    Ok(Json(ReceiptList {
        items: reply.items.into_iter().map(Into::into).collect(),
        statuses: reply.statuses.into_iter().map(Into::into).collect(),
    }))
}

/// Fetch all receipts about a document as one bundle
///
/// A ZIP (ASiC-E) with every receipt, the certificates and revocation lists as they are now, and what was checked, signed by the agency.
/// It verifies off line with `truc receipt verify`. Of a document that was sent or received.
#[utoipa::path(
    get,
    path = "/documents/{envelope}/bundle",
    tag = "Outbox and receipts",
    params(
        ("envelope" = inline(Envelope), Path, description = "The document"),
        ("sender" = inline(Option<AgencyCode>), Query, description = "Needed where several senders used this id"),
        ("opening" = Option<bool>, Query, description = "Adds what proves single files, and the business statuses; not for everybody's eyes"),
    ),
    responses((status = 200, description = "The bundle", body = String, content_type = "application/vnd.etsi.asic-e+zip"))
)]
pub(super) async fn bundle(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    mut query: Query,
) -> Result<Response, Problem> {
    let request = node_v1::ExportBundleRequest {
        envelope: path.take("envelope"),
        sender: query.text("sender"),
        with_opening: query.boolean("opening"),
    };
    query.end()?;
    let name = format!("{}.zip", request.envelope);
    let chunks = crate::service::bundle::export(&rest.shell, grant, request).await?;
    streamed(chunks, "application/vnd.etsi.asic-e+zip", &name, None).await
}

/// Fetch a receipt
///
/// A file that verifies off line with `truc receipt verify`. It is final about a second after its event.
#[utoipa::path(
    get,
    path = "/receipts/{leaf_hash}",
    tag = "Outbox and receipts",
    params(
        ("leaf_hash" = inline(Hash), Path, description = "The receipt"),
        ("opening" = Option<bool>, Query, description = "Adds what proves single files; not for everybody's eyes"),
    ),
    responses((status = 200, description = "The receipt file", body = String, content_type = "text/plain"))
)]
pub(super) async fn receipt(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    mut query: Query,
) -> Result<Response, Problem> {
    let with_opening = query.boolean("opening");
    query.end()?;
    let leaf: Digest = path.take("leaf_hash").parse().map_err(|error| {
        Problem::invalid(format!("`leaf_hash`: {error}"), "`leaf_hash` là 64 chữ số thập lục phân viết thường")
    })?;
    let request = node_v1::GetReceiptRequest { leaf_hash: leaf.as_bytes().to_vec().into(), with_opening };
    let reply = receipts::fetch(&rest.shell, grant, &request).await?;
    let mut response = Response::new(Body::from(reply.receipt));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", reply.file_name));
    headers.extend(disposition.ok().map(|value| (CONTENT_DISPOSITION, value)));
    Ok(response)
}

/// What is counted, per recipient.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for its schema")]
enum Counted {
    /// Chưa gửi.
    Unsent,
    /// Gửi lỗi.
    Failed,
    /// Bị trả lại.
    Returned,
    /// Lấy lại.
    Withdrawn,
    /// Chậm tiếp nhận.
    Late,
}
