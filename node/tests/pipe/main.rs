//! The pipelines, from request to rendered document, and everything they refuse.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "helpers of tests: a panic is a failed test, and lengths are small"
)]

mod changes;
mod forge;
mod forged;
mod held;
mod init;
mod packets;
mod refused;
mod round_trip;
mod world;
