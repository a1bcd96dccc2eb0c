//! The node itself, and the token that asks.

use axum::{Json, extract::State};
use serde::Serialize;
use tokio::time::Instant;
use truc_proto::{AgencyId, node_v1};
use utoipa::ToSchema;

use super::{
    Rest,
    problem::Problem,
    request::{Caller, NoQuery},
};
use crate::{quota::Measure, service::status, tokens::Grant};

/// The node, for people and monitoring.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeStatus {
    /// Its id.
    node: String,
    /// The axis.
    axis: String,
    /// ordinary or classified.
    lane: String,
    /// The codes that the token covers.
    codes: Vec<String>,
    /// Whether the relay is there.
    connected: bool,
    /// The same in words of both languages.
    relay_state: String,
    /// Version of the directory in force; 0: none yet.
    directory_version: u64,
    /// Until when it is valid.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    directory_valid_until: String,
    /// What needs a person, in both languages.
    alarms: Vec<String>,
    /// Sent documents that are not final.
    open_outbox: u64,
    /// Received documents that are not confirmed.
    open_inbox: u64,
    /// The look-up index, in words.
    index_state: String,
}

impl From<node_v1::StatusReply> for NodeStatus {
    fn from(reply: node_v1::StatusReply) -> Self {
        Self {
            node: reply.node,
            axis: reply.axis,
            lane: reply.lane,
            codes: reply.codes,
            connected: reply.connected,
            relay_state: reply.relay_state,
            directory_version: reply.directory_version,
            directory_valid_until: reply.directory_valid_until,
            alarms: reply.alarms,
            open_outbox: reply.open_outbox,
            open_inbox: reply.open_inbox,
            index_state: reply.index_state,
        }
    }
}

/// What a token may do.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenState {
    /// Its name, as the node's administrator knows it.
    name: String,
    /// What it is there for (`docs/ROLES.md`).
    #[schema(example = "officer")]
    role: &'static str,
    /// The codes it is limited to; none: all of the node's.
    codes: Vec<String>,
    /// What it may use; what is not listed is not limited.
    limits: Vec<Limit>,
}

/// A limit of a token. It refills evenly over its period.
#[derive(Serialize, ToSchema)]
pub(super) struct Limit {
    /// `requests`, `documents` (accepted or held) or `bytes` (of content handed over).
    what: &'static str,
    /// How much in a period.
    limit: u64,
    /// The period in seconds.
    period_s: u64,
    /// What is left now.
    left: u64,
}

impl TokenState {
    fn of(grant: &Grant) -> Self {
        let now = Instant::now();
        let limit = |what: Measure| {
            let limit = grant.meter.quota().limit(what)?;
            let left = grant.meter.left(now, what)?;
            Some(Limit { what: what.as_str(), limit, period_s: what.period().as_secs(), left })
        };
        Self {
            name: grant.name.clone(),
            role: grant.role.as_str(),
            codes: grant.codes.iter().flatten().map(AgencyId::to_string).collect(),
            limits: Measure::ALL.into_iter().filter_map(limit).collect(),
        }
    }
}

/// The node's state
///
/// For people and monitoring: the link to the relay, the directory in force, alarms.
#[utoipa::path(
    get,
    path = "/status",
    tag = "Node",
    responses((status = 200, description = "The state", body = NodeStatus))
)]
pub(super) async fn state(
    State(rest): State<Rest>,
    Caller(grant): Caller,
    _: NoQuery,
) -> Result<Json<NodeStatus>, Problem> {
    Ok(Json(status::of_node(&rest.shell, &grant).await?.into()))
}

/// The token
///
/// What the token of this request may do, and what is left of its limits.
#[utoipa::path(
    get,
    path = "/token",
    tag = "Node",
    responses((status = 200, description = "The token", body = TokenState))
)]
pub(super) async fn token(Caller(grant): Caller, _: NoQuery) -> Result<Json<TokenState>, Problem> {
    Ok(Json(TokenState::of(&grant)))
}
