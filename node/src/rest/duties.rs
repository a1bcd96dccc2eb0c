//! What officers look at in the morning: counters, duties, statistics.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use truc_proto::node_v1;
use utoipa::ToSchema;

use super::{
    Rest,
    model::AgencyCode,
    problem::{Kind, Problem},
    request::{Caller, Query},
};
use crate::{service, statistics};

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The counters.
#[derive(Serialize, ToSchema)]
pub(super) struct CounterList {
    /// One per agency of the token, by code.
    items: Vec<Counters>,
    /// All of them together.
    whole: Counters,
}

/// Pairs of document and recipient, among those that are open or were changed in the last days.
#[derive(Serialize, ToSchema)]
pub(super) struct Counters {
    /// The agency.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    code: String,
    /// Chưa gửi: not taken by the relay, or today's axis, yet.
    unsent: u64,
    /// Gửi lỗi.
    failed: u64,
    /// Bị trả lại: refused by the recipient (02), or by its document system.
    returned: u64,
    /// Lấy lại: before it left, or by agreement.
    withdrawn: u64,
    /// Chậm tiếp nhận: sent, and neither taken nor answered in time.
    late: u64,
    /// Of `unsent`, those past their deadline.
    unsent_late: u64,
    /// Chờ tiếp nhận: received here, and not taken yet.
    waiting: u64,
    /// Received here, and not taken or not answered in time.
    waiting_late: u64,
}

impl From<node_v1::AgencyCounters> for Counters {
    fn from(counters: node_v1::AgencyCounters) -> Self {
        Self {
            code: counters.code,
            unsent: counters.unsent,
            failed: counters.failed,
            returned: counters.returned,
            withdrawn: counters.withdrawn,
            late: counters.late,
            unsent_late: counters.unsent_late,
            waiting: counters.waiting,
            waiting_late: counters.waiting_late,
        }
    }
}

/// Duties that are due or late, the earliest deadline first.
#[derive(Serialize, ToSchema)]
pub(super) struct DutyList {
    /// They.
    items: Vec<DutyItem>,
    /// How many there are in all.
    total: u64,
}

/// A duty.
#[derive(Serialize, ToSchema)]
pub(super) struct DutyItem {
    /// The document.
    envelope: String,
    /// The sending agency.
    sender: String,
    /// The receiving one.
    recipient: String,
    /// sent or received.
    r#box: String,
    /// send: the relay takes it; receipt: this side takes and answers it; recipients: the other side does.
    duty: String,
    /// due: the deadline is near; late: it has passed.
    state: String,
    /// Since when somebody waits.
    since: String,
    /// The deadline.
    deadline: String,
    /// Urgency of the document.
    priority: u32,
    /// Trích yếu.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    subject: String,
}

impl From<node_v1::DutyItem> for DutyItem {
    fn from(item: node_v1::DutyItem) -> Self {
        Self {
            envelope: item.envelope,
            sender: item.sender,
            recipient: item.recipient,
            r#box: item.r#box,
            duty: item.duty,
            state: item.state,
            since: item.since,
            deadline: item.deadline,
            priority: item.priority,
            subject: item.subject,
        }
    }
}

/// Statistics, the oldest day first; a day without documents has no row.
#[derive(Serialize, ToSchema)]
pub(super) struct StatisticsTable {
    /// One row per agency and day.
    rows: Vec<StatisticsRow>,
}

/// What became of the documents of one day. Everything about a document counts on the day that it was sent on, or came here on.
#[derive(Serialize, ToSchema)]
pub(super) struct StatisticsRow {
    /// The agency.
    code: String,
    /// Its name in the directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    agency_name: String,
    /// The day in Vietnam.
    #[schema(format = Date)]
    day: String,
    /// Văn bản đi.
    sent_documents: u64,
    /// Their recipients.
    sent_recipients: u64,
    /// Those documents of priority 1 and above.
    sent_urgent: u64,
    /// Sealed bytes.
    sent_bytes: u64,
    /// Recipients whose document systems have it; recipients below, too.
    sent_handed_over: u64,
    /// Gửi lỗi.
    sent_failed: u64,
    /// Bị trả lại.
    sent_returned: u64,
    /// Lấy lại.
    sent_withdrawn: u64,
    /// Chưa gửi.
    sent_unsent: u64,
    /// Taken by the relay, or today's axis, too late or not yet.
    sent_late: u64,
    /// Chậm tiếp nhận: taken and answered too late, or not yet.
    recipients_late: u64,
    /// Mean time from sending to hand-over, in seconds.
    sent_handover_s: u64,
    /// Văn bản đến.
    received_documents: u64,
    /// Those of priority 1 and above.
    received_urgent: u64,
    /// Sealed bytes.
    received_bytes: u64,
    /// Taken by the document system.
    received_handed_over: u64,
    /// Refused by the document system, or with status 02.
    received_refused: u64,
    /// Could not be opened.
    received_failed: u64,
    /// Withdrawn by their senders.
    received_withdrawn: u64,
    /// Taken or answered too late, or not yet.
    received_late: u64,
    /// Business statuses about them.
    statuses_sent: u64,
    /// Mean time from consignment to hand-over, in seconds.
    received_handover_s: u64,
}

impl From<node_v1::StatisticsRow> for StatisticsRow {
    fn from(row: node_v1::StatisticsRow) -> Self {
        Self {
            code: row.code,
            agency_name: row.agency_name,
            day: row.day,
            sent_documents: row.sent_documents,
            sent_recipients: row.sent_recipients,
            sent_urgent: row.sent_urgent,
            sent_bytes: row.sent_bytes,
            sent_handed_over: row.sent_handed_over,
            sent_failed: row.sent_failed,
            sent_returned: row.sent_returned,
            sent_withdrawn: row.sent_withdrawn,
            sent_unsent: row.sent_unsent,
            sent_late: row.sent_late,
            recipients_late: row.recipients_late,
            sent_handover_s: row.sent_handover_s,
            received_documents: row.received_documents,
            received_urgent: row.received_urgent,
            received_bytes: row.received_bytes,
            received_handed_over: row.received_handed_over,
            received_refused: row.received_refused,
            received_failed: row.received_failed,
            received_withdrawn: row.received_withdrawn,
            received_late: row.received_late,
            statuses_sent: row.statuses_sent,
            received_handover_s: row.received_handover_s,
        }
    }
}

/// Count documents
///
/// Chưa gửi, gửi lỗi, bị trả lại, chậm tiếp nhận: how many of each, by agency.
#[utoipa::path(
    get,
    path = "/counters",
    tag = "Deadlines and statistics",
    params(("code" = inline(Option<AgencyCode>), Query, description = "Only this agency's")),
    responses((status = 200, description = "The counters", body = CounterList))
)]
pub(super) async fn counters(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<CounterList>, Problem> {
    let request = node_v1::CountersRequest { code: query.text("code") };
    query.end()?;
    let reply = service::duties::counters(&rest.shell, &grant, request).await?;
    let whole = reply.whole.unwrap_or_default().into();
    Ok(Json(CounterList { items: reply.agencies.into_iter().map(Into::into).collect(), whole }))
}

/// List duties
///
/// What has not been sent, not been taken here or not been taken there, and should soon be, or should have been.
#[utoipa::path(
    get,
    path = "/duties",
    tag = "Deadlines and statistics",
    params(
        ("code" = inline(Option<AgencyCode>), Query, description = "Only of this agency"),
        ("box" = inline(Option<InBox>), Query, description = "Only of what was sent, or received"),
        ("state" = inline(Option<DutyState>), Query, description = "Only what is due, or late"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 5000, description = "Most entries; 500 when it is not given"),
    ),
    responses((status = 200, description = "The duties", body = DutyList))
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<DutyList>, Problem> {
    let request = node_v1::ListDutiesRequest {
        code: query.text("code"),
        r#box: query.text("box"),
        state: query.text("state"),
        limit: query.number("limit", 1..=5_000).and_then(|limit| u32::try_from(limit).ok()).unwrap_or_default(),
    };
    query.end()?;
    let reply = service::duties::list(&rest.shell, &grant, request).await?;
    Ok(Json(DutyList { items: reply.items.into_iter().map(Into::into).collect(), total: reply.total }))
}

/// Statistics by agency and day
///
/// Of at most 366 days, as JSON, as CSV for any spreadsheet, or as an Excel workbook with Vietnamese headings. One at a time for a token.
#[utoipa::path(
    get,
    path = "/statistics",
    tag = "Deadlines and statistics",
    params(
        ("from" = inline(StatisticsDay), Query, description = "The first day, of Vietnam's calendar"),
        ("to" = inline(StatisticsDay), Query, description = "The last day"),
        ("code" = inline(Option<AgencyCode>), Query, description = "Only this agency's"),
        ("format" = inline(Option<Format>), Query, description = "json when it is not given"),
    ),
    responses((status = 200, description = "The table", content(
        (StatisticsTable = "application/json"),
        (String = "text/csv"),
        (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    )))
)]
pub(super) async fn table(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Response, Problem> {
    let request =
        node_v1::StatisticsRequest { from: query.wanted("from"), to: query.wanted("to"), code: query.text("code") };
    let format = match query.text("format").as_str() {
        "" | "json" => Format::Json,
        "csv" => Format::Csv,
        "xlsx" => Format::Xlsx,
        _ => {
            return Err(Problem::invalid(
                "`format` is `json`, `csv` or `xlsx`",
                "`format` là `json`, `csv` hoặc `xlsx`",
            ));
        }
    };
    query.end()?;
    let name = format!("thong-ke-{}-{}", request.from, request.to);
    let rows = service::statistics::collect(&rest.shell, &grant, request).await?;
    let (bytes, media, extension) = match format {
        Format::Json => {
            return Ok(Json(StatisticsTable { rows: rows.into_iter().map(Into::into).collect() }).into_response());
        }
        Format::Csv => (statistics::write_csv(&rows).into_bytes(), "text/csv; charset=utf-8", "csv"),
        Format::Xlsx => {
            let written = rest.shell.work("writing a workbook", move || statistics::write_xlsx(&rows)).await;
            let written = written.map_err(service::Error::from)?;
            let broken = |error: statistics::XlsxError| {
                tracing::error!(error = crate::chain(&error), "no workbook");
                Problem::of(Kind::Internal)
            };
            (written.map_err(broken)?, XLSX, "xlsx")
        }
    };
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}.{extension}\""));
    headers.extend(disposition.ok().map(|value| (CONTENT_DISPOSITION, value)));
    Ok(response)
}

/// A day in Vietnam.
#[derive(ToSchema)]
#[schema(pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$", example = "2026-11-01")]
#[expect(dead_code, reason = "stands for its schema; days are read by crate::duties::Day")]
struct StatisticsDay(String);

/// What the table is written as.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum Format {
    /// For programs.
    Json,
    /// For any spreadsheet.
    Csv,
    /// For Excel.
    Xlsx,
}

/// Đi or đến.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for its schema")]
enum InBox {
    /// Đi.
    Sent,
    /// Đến.
    Received,
}

/// How late it is.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for its schema")]
enum DutyState {
    /// The deadline is near.
    Due,
    /// It has passed.
    Late,
}
