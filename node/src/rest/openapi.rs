//! The OpenAPI document, generated from the handlers, and a page that shows it. The page loads nothing from elsewhere.

use std::sync::LazyLock;

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::Response,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    path::Operation,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

use super::{
    operations,
    problem::{Details, MEDIA_TYPE, Words},
};

const TOKEN: &str = "token";

const DESCRIPTION: &str = "Documents between agencies over the national document axis, through this node.\n\n\
Every request but this page carries `Authorization: Bearer <token>`; the node's administrator makes tokens with `truc-node token add`, \
each for certain agencies. What is no success is `application/problem+json` (RFC 9457) in Vietnamese and English; `docs/ERRORS.md` lists \
every kind.\n\n\
**Send** a document with its files (`POST /documents`) or an edXML packet (`POST /packets`). Large files can come \
in pieces before (`POST /uploads`). **Receive**: wait for what is new (`GET /inbox/watch`) or be called (`POST /webhooks`), fetch it, \
confirm it. **Prove**: every event has a receipt that verifies off line: with `truc receipt verify`, or in a browser on the page `/verify` of this address, \
which needs no token and sends nothing anywhere.";

/// Who it is, before its operations.
pub(super) fn head() -> OpenApi {
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of this node, as for the gRPC API"))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(token))
        .schema_from::<Details>()
        .schema_from::<Words>()
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("truc")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(utoipa::openapi::LicenseBuilder::new().name("Apache-2.0").build()))
                .build(),
        )
        .components(Some(components))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]))
        .tags(Some([
            tag("Send", "Hand documents over."),
            tag("Uploads", "Large files in pieces, by the tus protocol 1.0.0: a broken connection costs nothing. Name them in `uploads` of a document."),
            tag("Inbox", "What was consigned to the agencies of the token."),
            tag("Statuses", "Business statuses 01 … 16 (QĐ 28/2018/QĐ-TTg)."),
            tag("Outbox and receipts", "What was sent, where it stands, and the proofs."),
            tag("Search", "Find a document again, sent or received, however long ago."),
            tag("Deadlines and statistics", "What has not been sent or taken in time, and the tables for the office."),
            tag("Directory", "Agencies that documents can be sent to."),
            tag("Webhooks", "The node calls your system when something happens: see `POST /webhooks`."),
            tag("Node", "The node itself."),
        ]))
        .build()
}

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let (_, mut document) = operations().split_for_parts();
    for item in document.paths.paths.values_mut() {
        for operation in
            [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
        {
            add_problems(operation);
        }
        // Answers to HEAD have no body.
        for operation in item.head.iter_mut() {
            for (range, description) in RANGES {
                let response = ResponseBuilder::new().description(description).build();
                operation.responses.responses.insert(range.into(), response.into());
            }
        }
    }
    document
}

const RANGES: [(&str, &str); 2] =
    [("4XX", "The request's fault: `type` says which"), ("5XX", "The node's fault, or it is busy: send again later")];

fn add_problems(operation: &mut Operation) {
    let problem = |description: &str| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build()
    };
    let responses = &mut operation.responses.responses;
    responses.extend(RANGES.map(|(range, description)| (range.into(), problem(description).into())));
}

static JSON: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

pub(super) async fn json() -> Response {
    resource("application/json", JSON.as_str())
}

pub(super) async fn page() -> Response {
    resource("text/html; charset=utf-8", include_str!("page/page.html"))
}

pub(super) async fn script() -> Response {
    resource("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

pub(super) async fn style() -> Response {
    resource("text/css; charset=utf-8", include_str!("page/page.css"))
}

fn resource(media_type: &'static str, text: &'static str) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    under_policy(HeaderValue::from_static(POLICY), media_type, text)
}

/// Something that a browser shows, under a policy of what it may do there.
pub(super) fn under_policy(policy: HeaderValue, media_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, policy),
        (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    ];
    response.headers_mut().extend(headers);
    response
}
