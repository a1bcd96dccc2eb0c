//! What these tests stand on: a world of its own for each test, a document system's client, a node made by hand that may lie, a relay that lies.

pub(crate) mod api;
pub(crate) mod forger;
pub(crate) mod liar;
pub(crate) mod world;

pub(crate) use api::{Api, Letter};
pub(crate) use world::World;

use std::time::Duration;

use prost::Message as _;
use tonic::Status;
use truc_proto::wire_v1::Refusal;

/// Longest that anything here may take before the test fails; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a fact that is asked for over the network; never for a time.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, fact: impl FnMut() -> F) -> T {
    truc_tests::wait::until_async(what, PATIENCE, fact).await
}

/// What a person and a program hear of a refusal in a gRPC status: reason, both languages, and who must do what.
#[track_caller]
pub(crate) fn refusal_in(status: &Status) -> Refusal {
    let refusal = Refusal::decode(status.details()).unwrap();
    check_refusal(&refusal);
    refusal
}

/// Every refusal that a person reads stands in both languages, and they differ.
#[track_caller]
pub(crate) fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.reason.is_empty(), "{refusal:?}");
    assert!(refusal.english.len() > 20 && refusal.vietnamese.len() > 20, "{refusal:?}");
    assert!(!refusal.vietnamese.is_ascii(), "{refusal:?}");
}
