//! Webhooks: registered, listed, tried, resumed, deleted by who holds a token.

use std::collections::BTreeSet;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Rest,
    model::AgencyCode,
    problem::Problem,
    request::{Caller, InPath, NoQuery, json},
};
use crate::{
    service,
    webhooks::{self, EventType, Outcome, Progress},
};

/// Id of a webhook.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9a-f]{32}$", example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
#[expect(dead_code, reason = "stands for its schema")]
pub(super) struct WebhookId(String);

/// A webhook to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookRequest {
    /// Where to post to: below an address that the node's administrator allows (`rest.webhooks` in its settings); https, or http on the node's own machine.
    #[schema(max_length = 2000, pattern = "^https?://[^/@ ]+", example = "https://qlvb.example.gov.vn/hooks/truc")]
    url: String,
    /// What to tell; none: everything.
    #[serde(default)]
    events: BTreeSet<EventType>,
    /// The codes it is about; none: all of the token.
    #[serde(default)]
    #[schema(value_type = Vec<AgencyCode>, max_items = 1000)]
    codes: Vec<String>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    /// Names it.
    #[schema(value_type = WebhookId)]
    id: String,
    /// Where it is posted to.
    url: String,
    /// What it tells.
    events: BTreeSet<EventType>,
    /// The codes it is about; none: all of the token.
    codes: Vec<String>,
    /// When it was registered.
    created: String,
    /// Messages that were taken.
    delivered: u64,
    /// Messages that were refused five times (4xx) and passed over.
    passed_over: u64,
    /// Since when the receiver has not taken the message that is due.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    failing_since: String,
    /// What went wrong last.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    last_error: String,
    /// Nothing is sent until it is resumed: the receiver took nothing for three days, or answered 410.
    suspended: bool,
}

impl Webhook {
    fn of(hook: webhooks::Hook, progress: Progress) -> Self {
        Self {
            id: hook.id,
            url: hook.url,
            events: hook.events,
            codes: hook.codes.iter().map(ToString::to_string).collect(),
            created: hook.created.to_string(),
            delivered: progress.delivered,
            passed_over: progress.passed_over,
            failing_since: progress.failing_since.map(|at| at.to_string()).unwrap_or_default(),
            last_error: progress.last_error,
            suspended: progress.suspended,
        }
    }
}

/// A webhook that was registered.
#[derive(Serialize, ToSchema)]
pub(super) struct NewWebhook {
    /// The webhook.
    webhook: Webhook,
    /// What its messages are signed with, in the form of Standard Webhooks. Shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// The webhooks of the token.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookList {
    /// All of them.
    items: Vec<Webhook>,
}

/// What came of a `ping`.
#[derive(Serialize, ToSchema)]
pub(super) struct Pinged {
    /// Whether the receiver took it.
    taken: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    error: String,
}

/// Register a webhook
///
/// From now on the node posts each event to `url` as JSON `{"type", "timestamp", "data"}`, in order, until it is answered with a 2xx. `data`
/// names envelope, sender and recipient, never content: fetch that with the token. Messages are signed by the Standard Webhooks rules
/// (`webhook-id`, `webhook-timestamp`, `webhook-signature`), for which libraries exist; a message that comes twice has the same `webhook-id`.
/// What is not taken is tried again after 0.5 s, 1 s, 2 s … up to an hour, for three days; then the webhook waits until it is resumed, and goes on
/// where it stopped.
#[utoipa::path(
    post,
    path = "/webhooks",
    tag = "Webhooks",
    request_body = WebhookRequest,
    responses((status = 201, description = "Registered; the secret is shown this once", body = NewWebhook))
)]
pub(super) async fn register(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<(StatusCode, Json<NewWebhook>), Problem> {
    let WebhookRequest { url, events, codes } = json(&headers, body).await?;
    let (hook, secret) = service::webhooks::register(&rest.webhooks, &grant, &url, events, &codes).await?;
    let secret = secret.text().to_string();
    Ok((StatusCode::CREATED, Json(NewWebhook { webhook: Webhook::of(hook, Progress::default()), secret })))
}

/// List webhooks
///
/// Those of the token, and how far each got.
#[utoipa::path(
    get,
    path = "/webhooks",
    tag = "Webhooks",
    responses((status = 200, description = "The webhooks", body = WebhookList))
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    _: NoQuery,
) -> Result<Json<WebhookList>, Problem> {
    let found = service::webhooks::list(&rest.webhooks, &grant).await?;
    Ok(Json(WebhookList { items: found.into_iter().map(|(hook, progress)| Webhook::of(hook, progress)).collect() }))
}

/// Delete a webhook
///
/// Nothing more is posted.
#[utoipa::path(
    delete,
    path = "/webhooks/{webhook}",
    tag = "Webhooks",
    params(("webhook" = inline(WebhookId), Path, description = "The webhook")),
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn remove(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    service::webhooks::remove(&rest.webhooks, &grant, &path.take("webhook")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Resume a webhook
///
/// One that is suspended or waits: the message that is due is tried at once, and everything behind it follows.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/resumption",
    tag = "Webhooks",
    params(("webhook" = inline(WebhookId), Path, description = "The webhook")),
    responses((status = 204, description = "It goes on"))
)]
pub(super) async fn resume(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    service::webhooks::resume(&rest.webhooks, &grant, &path.take("webhook")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try a webhook
///
/// Posts a message of type `ping` now, and says what the receiver made of it.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/ping",
    tag = "Webhooks",
    params(("webhook" = inline(WebhookId), Path, description = "The webhook")),
    responses((status = 200, description = "What came of it", body = Pinged))
)]
pub(super) async fn ping(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<Json<Pinged>, Problem> {
    let outcome = service::webhooks::ping(&rest.webhooks, &grant, &path.take("webhook")).await?;
    let (taken, error) = match outcome {
        Outcome::Taken => (true, String::new()),
        Outcome::Gone => (false, "the receiver answered 410 Gone".to_owned()),
        Outcome::Refused(error) | Outcome::Failed(error) => (false, error),
    };
    Ok(Json(Pinged { taken, error }))
}
