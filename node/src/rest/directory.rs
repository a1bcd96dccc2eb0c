//! The directory in force: whom documents can be sent to.

use axum::{Json, extract::State};
use serde::Serialize;
use truc_proto::{limits::DIRECTORY_HITS_MAX, node_v1, wire_v1};
use utoipa::ToSchema;

use super::{
    Rest,
    model::AgencyCode,
    problem::Problem,
    request::{Caller, InPath, NoQuery, Query},
};
use crate::service::{directory, roles::May};

/// Agencies that fit, the best first.
#[derive(Serialize, ToSchema)]
pub(super) struct Agencies {
    /// The best.
    items: Vec<Agency>,
    /// How many fit in all.
    total: u64,
    /// Version of the directory that says so.
    directory_version: u64,
}

/// An agency of the directory.
#[derive(Serialize, ToSchema)]
pub(super) struct Agency {
    /// Its code.
    code: String,
    /// Its names, the official one first.
    names: Vec<String>,
    /// The superior agency, as the entry or the code says.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    parent: String,
    /// Older forms of the code.
    old_codes: Vec<String>,
    /// From when on the code is in force.
    valid_from: String,
    /// When it closed or will close.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    valid_to: String,
    /// Until when its node still opens what was sealed to a closed code.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    serves_until: String,
    /// Who took over from it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    successor: String,
    /// How mail reaches it: native or legacy.
    route: String,
    /// The node that serves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    node: String,
    /// Whether documents can be sent to it now.
    reachable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<Unreachable>,
}

/// Why nothing can be sent to an agency.
#[derive(Serialize, ToSchema)]
pub(super) struct Unreachable {
    /// By the list of `docs/ERRORS.md`.
    reason: String,
    /// In Vietnamese.
    vi: String,
    /// In English.
    en: String,
}

impl From<node_v1::DirectoryEntry> for Agency {
    fn from(entry: node_v1::DirectoryEntry) -> Self {
        Self {
            code: entry.code,
            names: entry.names,
            parent: entry.parent,
            old_codes: entry.old_codes,
            valid_from: entry.valid_from,
            valid_to: entry.valid_to,
            serves_until: entry.serves_until,
            successor: entry.successor,
            route: entry.route,
            node: entry.node,
            reachable: entry.unreachable.is_none(),
            unreachable: entry.unreachable.map(Into::into),
        }
    }
}

impl From<wire_v1::Refusal> for Unreachable {
    fn from(refusal: wire_v1::Refusal) -> Self {
        Self { reason: refusal.reason, vi: refusal.vietnamese, en: refusal.english }
    }
}

/// Search agencies
///
/// By beginnings of codes, old codes or words of names, in any order, with or without diacritics; the best first.
#[utoipa::path(
    get,
    path = "/directory/agencies",
    tag = "Directory",
    params(
        ("text" = Option<String>, Query, min_length = 1, max_length = 200, description = "What to search for", example = "so tai chinh ha noi"),
        ("under" = inline(Option<AgencyCode>), Query, description = "Only this code and the codes below it; alone, that part of the tree"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Most entries wanted; 20 when it is not given"),
    ),
    responses((status = 200, description = "What was found", body = Agencies))
)]
pub(super) async fn search(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<Agencies>, Problem> {
    grant.need(May::Directory)?;
    let limit = query.number("limit", 1..=u64::try_from(DIRECTORY_HITS_MAX).unwrap_or(u64::MAX));
    let request = node_v1::SearchDirectoryRequest {
        text: query.text("text"),
        under: query.text("under"),
        limit: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or_default(),
    };
    query.end()?;
    let reply = directory::search(&rest.shell, request).await?;
    let items = reply.entries.into_iter().map(Into::into).collect();
    Ok(Json(Agencies { items, total: reply.total, directory_version: reply.directory_version }))
}

/// Look an agency up
///
/// By its code or an old form of it: names, successor, and whether documents can be sent to it now.
#[utoipa::path(
    get,
    path = "/directory/agencies/{code}",
    tag = "Directory",
    params(("code" = String, Path, description = "The code, or an old form of it", example = "H02")),
    responses((status = 200, description = "The agency", body = Agency))
)]
pub(super) async fn one(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<Json<Agency>, Problem> {
    grant.need(May::Directory)?;
    Ok(Json(directory::look_up(&rest.shell, &path.take("code"))?.into()))
}
