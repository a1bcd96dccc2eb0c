//! REST/JSON under `/api/v1`, for document systems that speak plain HTTP: a thin face over [`crate::service`]. It knows who asks,
//! reads and writes JSON, and puts errors into problem details. The OpenAPI document is generated from the handlers.

mod directory;
mod documents;
mod groups;
mod inbox;
mod layer;
mod listener;
mod model;
mod node;
mod openapi;
mod outbox;
mod problem;
mod request;
mod uploads;
mod webhooks;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};
use axum::{Router, extract::Request, middleware, routing::get};
use tokio::{net::TcpListener, sync::watch};
use tracing::info;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{settings::RestSettings, shell::Shell, tokens::LiveTokens, uploads::Uploads, webhooks::Webhooks};
use listener::Tls;
use problem::{Kind, Problem};

pub use openapi::document;
pub use problem::{
    Kind as ProblemKind, MEDIA_TYPE as PROBLEM_MEDIA_TYPE, TYPE_PREFIX as PROBLEM_TYPE_PREFIX, catalogue,
};

/// Before every path.
pub const BASE: &str = "/api/v1";

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

    /// All paths, with everything around them.
    pub fn router(self) -> Router {
        let (router, _) = operations().split_for_parts();
        let open = Router::new()
            .route(&format!("{BASE}/uploads"), axum::routing::options(uploads::options))
            .route(&format!("{BASE}/openapi.json"), get(openapi::json))
            .route(&format!("{BASE}/docs"), get(openapi::page))
            .route(&format!("{BASE}/docs/page.js"), get(openapi::script))
            .route(&format!("{BASE}/docs/page.css"), get(openapi::style));
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

/// The listener, bound and ready to serve.
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Door {
    /// Binds where the settings say, unless it is bound already.
    ///
    /// # Errors
    /// When the address is taken, others could listen in, or the certificate cannot be used.
    pub async fn open(settings: &RestSettings, bound: Option<TcpListener>) -> anyhow::Result<Self> {
        let listen = settings.listen;
        let listener = match bound {
            Some(listener) => listener,
            None => TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} (rest)"))?,
        };
        let address = listener.local_addr().context("read the REST listener's address")?;
        if settings.tls.is_none() && !address.ip().is_loopback() {
            bail!(
                "the REST listener is on {address} without a certificate; set `rest.tls`, or `rest.listen` to a loopback address"
            );
        }
        let tls = match settings.tls.clone() {
            Some(source) => Some(tokio::task::spawn_blocking(move || Tls::load(source)).await??),
            None => None,
        };
        info!(%address, https = tls.is_some(), "the REST listener is open");
        Ok(Self { address, listener, tls })
    }

    /// Serves until `stopping` says so; requests in progress end then.
    pub async fn serve(self, rest: Rest, stopping: watch::Receiver<bool>) {
        listener::serve(rest.router(), self.listener, self.tls, stopping).await;
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({})", self.address)
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
        .routes(routes!(outbox::receipts_of))
        .routes(routes!(outbox::receipt))
        .routes(routes!(directory::search))
        .routes(routes!(directory::one))
        .routes(routes!(groups::list))
        .routes(routes!(groups::one, groups::put, groups::remove))
        .routes(routes!(webhooks::register))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::remove))
        .routes(routes!(webhooks::resume))
        .routes(routes!(webhooks::ping))
        .routes(routes!(node::state))
        .routes(routes!(node::token));
    OpenApiRouter::with_openapi(openapi::head()).nest(BASE, operations)
}
