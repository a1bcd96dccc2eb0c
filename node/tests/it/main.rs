//! Nodes and a relay over real sockets, each with its folder, keys and journal.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside test functions, where clippy.toml does not reach"
)]

mod administration;
mod changes;
mod closed;
mod duties;
mod flows;
mod http;
mod metrics;
mod rejected;
mod reload;
mod rest;
mod revocation;
mod roles;
mod schemathesis;
mod search;
mod storage_key;
mod tools;
mod uploads;
mod webhooks;
mod world;
