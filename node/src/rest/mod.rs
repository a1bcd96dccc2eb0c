//! REST/JSON under `/api/v1`, for document systems that speak plain HTTP: a thin face over [`crate::service`]. It knows who asks,
//! reads and writes JSON, and puts errors into problem details. The OpenAPI document is generated from the handlers.

mod directory;
mod documents;
mod duties;
mod groups;
mod inbox;
mod layer;
mod model;
mod node;
mod openapi;
mod outbox;
mod problem;
mod request;
mod search;
mod uploads;
mod verify_page;
mod webhooks;

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request, middleware, routing::get};
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt as _;
use truc_proto::limits::{
    REST_CONNECTIONS_MAX, REST_HEADER_BYTES_MAX, REST_HEADERS_MAX, REST_IDLE_MS_MAX, REST_STALL_MS_MAX,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    door::{Door, Manners},
    shell::Shell,
    tokens::LiveTokens,
    uploads::Uploads,
    webhooks::Webhooks,
};
use problem::{Kind, Problem};

pub use openapi::document;
pub use problem::{
    Kind as ProblemKind, MEDIA_TYPE as PROBLEM_MEDIA_TYPE, TYPE_PREFIX as PROBLEM_TYPE_PREFIX, catalogue,
};

/// Before every path.
pub const BASE: &str = "/api/v1";

pub(crate) const MANNERS: Manners = Manners {
    name: "REST",
    connections: REST_CONNECTIONS_MAX,
    head_bytes: REST_HEADER_BYTES_MAX,
    headers: REST_HEADERS_MAX,
    idle_ms: REST_IDLE_MS_MAX,
    stall_ms: Some(REST_STALL_MS_MAX),
    lenient: false,
    certificates: true,
};

/// The face over a running node.
#[derive(Clone)]
pub struct Rest {
    shell: Arc<Shell>,
    tokens: Arc<LiveTokens>,
    uploads: Arc<Uploads>,
    webhooks: Arc<Webhooks>,
}

impl Rest {
    /// Over a running node; tokens are those of the gRPC API.
    #[must_use]
    pub const fn new(
        shell: Arc<Shell>,
        tokens: Arc<LiveTokens>,
        uploads: Arc<Uploads>,
        webhooks: Arc<Webhooks>,
    ) -> Self {
        Self { shell, tokens, uploads, webhooks }
    }

    pub(crate) const fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// Serves until `stopping` says so; requests in progress end then.
    pub(crate) async fn serve(self, door: Door, stopping: watch::Receiver<bool>) {
        let router = self.router();
        let answer = move |request: hyper::Request<Incoming>| {
            let answered = router.clone().oneshot(request.map(Body::new));
            async move { answered.await.unwrap_or_else(|never| match never {}) }
        };
        door.serve(answer, stopping).await;
    }

    /// All paths, with everything around them.
    pub fn router(self) -> Router {
        let (router, _) = operations().split_for_parts();
        let open = Router::new()
            .route(&format!("{BASE}/uploads"), axum::routing::options(uploads::options))
            .route(&format!("{BASE}/openapi.json"), get(openapi::json))
            .route(&format!("{BASE}/docs"), get(openapi::page))
            .route(&format!("{BASE}/docs/page.js"), get(openapi::script))
            .route(&format!("{BASE}/docs/page.css"), get(openapi::style))
            .route(verify_page::PATH, get(verify_page::page));
        router
            .with_state(self)
            .merge(open)
            .fallback(async || Problem::of(Kind::NoSuchPath))
            .method_not_allowed_fallback(async |_: Request| Problem::of(Kind::MethodNotAllowed))
            .layer(middleware::from_fn(layer::around))
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

/// Handlers and their description, bound to each other.
fn operations() -> OpenApiRouter<Rest> {
    let operations = OpenApiRouter::new()
        .routes(routes!(documents::send_document))
        .routes(routes!(documents::send_packet))
        .routes(routes!(documents::set_status))
        .routes(routes!(documents::withdraw))
        .routes(routes!(uploads::create))
        .routes(routes!(uploads::offset, uploads::append, uploads::remove))
        .routes(routes!(inbox::list))
        .routes(routes!(inbox::watch))
        .routes(routes!(inbox::edxml))
        .routes(routes!(inbox::container))
        .routes(routes!(inbox::attachment))
        .routes(routes!(inbox::confirm))
        .routes(routes!(outbox::list))
        .routes(routes!(outbox::one))
        .routes(routes!(search::search))
        .routes(routes!(outbox::receipts_of))
        .routes(routes!(outbox::receipt))
        .routes(routes!(outbox::bundle))
        .routes(routes!(directory::search))
        .routes(routes!(directory::one))
        .routes(routes!(groups::list))
        .routes(routes!(groups::one, groups::put, groups::remove))
        .routes(routes!(webhooks::register))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::remove))
        .routes(routes!(webhooks::resume))
        .routes(routes!(webhooks::ping))
        .routes(routes!(duties::counters))
        .routes(routes!(duties::list))
        .routes(routes!(duties::table))
        .routes(routes!(node::state))
        .routes(routes!(node::token));
    OpenApiRouter::with_openapi(openapi::head()).nest(BASE, operations)
}
