//! What these tests stand on: a world of its own for each test, a document system's client, a node made by hand that may lie, a relay that lies.

pub(crate) mod api;
pub(crate) mod forger;
pub(crate) mod liar;
pub(crate) mod world;

pub(crate) use api::{Api, Letter};
pub(crate) use world::World;

use prost::Message as _;
use tonic::Status;
use truc_proto::wire_v1::Refusal;
pub(crate) use truc_tests::wait::{in_time, until_async as until};

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
