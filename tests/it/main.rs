//! Tests over real sockets and real folders: each starts what it needs on port 0 and waits on predicates.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod api_rules;
mod bundles;
mod certificates;
mod changes;
mod client_certificates;
mod closings;
mod dependencies;
mod directories;
mod expiry;
mod groups;
mod lanes;
mod lying_relay;
mod lying_sender;
mod own_proofs;
mod recovery;
mod rotation;
mod send;
mod stamps;
mod statuses;
mod stolen;
mod storage;
mod support;
mod tokens;
mod two_histories;
mod withdrawals;
mod witnesses;
