//! The verify page, `docs/verify.html`, for whoever has a receipt and a browser: open to all, static, and complete in itself.

use std::sync::LazyLock;

use axum::{http::HeaderValue, response::Response};

use super::openapi::under_policy;

/// Where it stands; not below the API, of which it uses nothing.
pub(super) const PATH: &str = "/verify";

const PAGE: &str = include_str!("../../../docs/verify.html");

/// The policy that the page states itself, by the hashes of its script and style, and that nobody may frame it, which only a header can say.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let own =
        PAGE.split_once("http-equiv=\"Content-Security-Policy\" content=\"").and_then(|(_, rest)| rest.split_once('"'));
    let policy = format!("{}; frame-ancestors 'none'", own.map_or("default-src 'none'", |(policy, _)| policy));
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

pub(super) async fn page() -> Response {
    under_policy(POLICY.clone(), "text/html; charset=utf-8", PAGE)
}
