//! Documents found again.

use axum::{Json, extract::State};
use serde::Serialize;
use truc_proto::node_v1;
use utoipa::ToSchema;

use super::{
    Rest,
    inbox::page_size,
    model::{AgencyCode, PageToken},
    problem::Problem,
    request::{Caller, Query},
};
use crate::service::search as service;

/// Documents found, the newest first. The search goes on while there is a `next_page_token`, even where `items` is short or empty.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentsFound {
    /// The documents.
    items: Vec<DocumentFound>,
    /// Where the search goes on.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    next_page_token: String,
}

/// A document found.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentFound {
    /// sent or received.
    direction: String,
    /// Id of its envelope.
    envelope: String,
    /// The sending agency.
    sender: String,
    /// Of a received document: which agency of the token has it. Of a sent one: at most 20 of its recipients.
    recipients: Vec<String>,
    /// How many recipients there are.
    recipient_count: u32,
    /// edXML DocumentId.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    document_id: String,
    /// Number and notation (số, ký hiệu).
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    number: String,
    /// Its type in words (loại văn bản).
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    type_name: String,
    /// Trích yếu.
    subject: String,
    /// Its day; where it bears none, the day it was sent on.
    #[schema(format = Date)]
    date: String,
    /// Sent: held, sending, relayed or final. Received: consigned, handed-over, handover-failed or withdrawn.
    state: String,
    /// When this node accepted it, or it was consigned here.
    time: String,
    /// It came from today's axis.
    legacy: bool,
}

impl From<node_v1::DocumentFound> for DocumentFound {
    fn from(found: node_v1::DocumentFound) -> Self {
        Self {
            direction: found.direction,
            envelope: found.envelope,
            sender: found.sender,
            recipients: found.recipients,
            recipient_count: found.recipient_count,
            document_id: found.document_id,
            number: found.number,
            type_name: found.type_name,
            subject: found.subject,
            date: found.date,
            state: found.state,
            time: found.time,
            legacy: found.legacy,
        }
    }
}

/// Search documents
///
/// Sent and received, however long ago: by all of the words of `text`, with or without diacritics, in any order. A number is written as
/// on the document (`15/VPCP-KSTT`), or its beginning (`15/VPCP`). Words are whole words of number and notation, type and subject, and the
/// document's year: `nghi dinh 30 2020`. `text` or a time is needed.
#[utoipa::path(
    get,
    path = "/documents/search",
    tag = "Search",
    params(
        ("text" = Option<String>, Query, min_length = 1, max_length = 1000, description = "What the documents have in them", example = "quyet dinh bo nhiem can bo"),
        ("code" = inline(Option<AgencyCode>), Query, description = "Only this agency's, as sender or recipient"),
        ("from" = inline(Option<Day>), Query, description = "From this year, month or day of the document on"),
        ("to" = inline(Option<Day>), Query, description = "To the end of this year, month or day"),
        ("direction" = inline(Option<Direction>), Query, description = "Only what was sent, or received"),
        ("with_withdrawn" = Option<bool>, Query, description = "Received documents too that were withdrawn by agreement"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Entries on a page; 50 when it is not given"),
        ("page_token" = inline(Option<PageToken>), Query, description = "`next_page_token` of the page before"),
    ),
    responses((status = 200, description = "A page", body = DocumentsFound))
)]
pub(super) async fn search(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<DocumentsFound>, Problem> {
    let request = node_v1::SearchDocumentsRequest {
        text: query.text("text"),
        code: query.text("code"),
        from: query.text("from"),
        to: query.text("to"),
        direction: query.text("direction"),
        with_withdrawn: query.boolean("with_withdrawn"),
        page_size: page_size(&mut query),
        page_token: query.text("page_token"),
    };
    query.end()?;
    let reply = service::search(&rest.shell, &grant, request).await?;
    let items = reply.items.into_iter().map(Into::into).collect();
    Ok(Json(DocumentsFound { items, next_page_token: reply.next_page_token }))
}

/// A year, a month or a day.
#[derive(ToSchema)]
#[schema(pattern = r"^(19|2[01])[0-9]{2}(-(0[1-9]|1[0-2])(-(0[1-9]|1[0-9]|2[0-8]))?)?$", example = "2023-05")]
#[expect(dead_code, reason = "stands for its schema; days are read by crate::words")]
struct Day(String);

/// Which way.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for its schema")]
enum Direction {
    /// Đi.
    Sent,
    /// Đến.
    Received,
}
