//! A relay with real sockets and a hand-made client: what nodes may rely on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod client;
mod flows;
mod histories;
mod packed;
mod repeated;
mod unreadable;
mod world;
