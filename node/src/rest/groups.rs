//! Receiver groups: an agency's named lists of codes.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use truc_proto::node_v1;
use utoipa::ToSchema;

use super::{
    Rest,
    directory::Unreachable,
    model::AgencyCode,
    problem::{Kind, Problem},
    request::{Caller, InPath, NoQuery, Query, json},
};
use crate::service::groups;

/// Name of a group, in one line.
#[derive(ToSchema)]
#[schema(pattern = r"^[^\u0000-\u0020\u007f-\u00a0][^\u0000-\u001f\u007f-\u009f]{0,99}$", example = "Sở ngành")]
#[expect(dead_code, reason = "stands for its schema; names are read by crate::service::groups")]
pub(super) struct GroupName(String);

/// A group without its members.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupHead {
    /// The agency that sends to it.
    owner: String,
    /// Its name.
    name: String,
    /// How many members it has.
    count: u32,
    /// When it was put last.
    changed_at: String,
}

/// A group.
#[derive(Serialize, ToSchema)]
pub(super) struct ReceiverGroup {
    /// The agency that sends to it.
    owner: String,
    /// Its name.
    name: String,
    /// When it was put last.
    changed_at: String,
    /// Who is in it.
    members: Vec<Member>,
}

/// A member of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct Member {
    /// Its code.
    code: String,
    /// Its name in the directory; empty when the directory does not know the code any more.
    name: String,
    /// Why nothing can be sent to it now; a send to the group is refused while that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<Unreachable>,
}

/// Groups, by owner and name.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupList {
    /// All of them.
    items: Vec<GroupHead>,
}

/// The codes of a group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupCodes {
    /// Codes of the directory, present or older forms; kept in their present form.
    #[schema(value_type = Vec<AgencyCode>, min_items = 1, max_items = 1000)]
    codes: Vec<String>,
}

impl From<node_v1::ReceiverGroup> for ReceiverGroup {
    fn from(group: node_v1::ReceiverGroup) -> Self {
        let member = |member: node_v1::GroupMember| Member {
            code: member.code,
            name: member.agency_name,
            unreachable: member.unreachable.map(Into::into),
        };
        Self {
            owner: group.owner,
            name: group.name,
            changed_at: group.changed_at,
            members: group.members.into_iter().map(member).collect(),
        }
    }
}

/// List receiver groups
///
/// Of one agency, or of all that the token covers.
#[utoipa::path(
    get,
    path = "/groups",
    tag = "Directory",
    params(("owner" = inline(Option<AgencyCode>), Query, description = "Only this agency's")),
    responses((status = 200, description = "The groups", body = GroupList))
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut query: Query,
) -> Result<Json<GroupList>, Problem> {
    let request = node_v1::ListGroupsRequest { owner: query.text("owner"), name: String::new() };
    query.end()?;
    let reply = groups::list(&rest.shell, &grant, request).await?;
    let head = |group: node_v1::ReceiverGroup| GroupHead {
        owner: group.owner,
        name: group.name,
        count: group.count,
        changed_at: group.changed_at,
    };
    Ok(Json(GroupList { items: reply.groups.into_iter().map(head).collect() }))
}

/// One receiver group
///
/// With its members, and which of them nothing can be sent to now.
#[utoipa::path(
    get,
    path = "/groups/{owner}/{name}",
    tag = "Directory",
    params(
        ("owner" = inline(AgencyCode), Path, description = "The agency that sends to it"),
        ("name" = inline(GroupName), Path, description = "The group"),
    ),
    responses((status = 200, description = "The group", body = ReceiverGroup))
)]
pub(super) async fn one(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<Json<ReceiverGroup>, Problem> {
    let request = node_v1::ListGroupsRequest { owner: path.take("owner"), name: path.take("name") };
    let reply = groups::list(&rest.shell, &grant, request).await?;
    let group = reply.groups.into_iter().next().ok_or_else(|| Problem::of(Kind::NotFound))?;
    Ok(Json(group.into()))
}

/// Make or change a receiver group
///
/// Puts this list in the place of an older one. Documents name the group in `groups` and go to who is in it when they are first sent.
#[utoipa::path(
    put,
    path = "/groups/{owner}/{name}",
    tag = "Directory",
    params(
        ("owner" = inline(AgencyCode), Path, description = "The agency that sends to it"),
        ("name" = inline(GroupName), Path, description = "The group"),
    ),
    request_body = GroupCodes,
    responses(
        (status = 200, description = "Changed", body = ReceiverGroup),
        (status = 201, description = "Made", body = ReceiverGroup),
    )
)]
pub(super) async fn put(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    headers: HeaderMap,
    _: NoQuery,
    body: Body,
) -> Result<(StatusCode, Json<ReceiverGroup>), Problem> {
    let GroupCodes { codes } = json(&headers, body).await?;
    let request = node_v1::PutGroupRequest { owner: path.take("owner"), name: path.take("name"), codes };
    let reply = groups::put(&rest.shell, &grant, request).await?;
    let status = if reply.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(reply.group.unwrap_or_default().into())))
}

/// Delete a receiver group
///
/// What was sent to it stays as it is.
#[utoipa::path(
    delete,
    path = "/groups/{owner}/{name}",
    tag = "Directory",
    params(
        ("owner" = inline(AgencyCode), Path, description = "The agency that sends to it"),
        ("name" = inline(GroupName), Path, description = "The group"),
    ),
    responses((status = 204, description = "There is none of that name"))
)]
pub(super) async fn remove(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    mut path: InPath,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let request = node_v1::DeleteGroupRequest { owner: path.take("owner"), name: path.take("name") };
    groups::delete(&rest.shell, &grant, request).await?;
    Ok(StatusCode::NO_CONTENT)
}
