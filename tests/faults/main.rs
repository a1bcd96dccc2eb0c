//! What goes wrong with machines: power cuts, killed processes, full disks, deleted indexes, restored copies. Real processes, real file systems.
//!
//! The power cuts need root and a loop device; without them they say `SKIPPED`, under `TRUC_REQUIRE_TOOLS=1` they fail.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod disk;
mod index;
mod kill;
mod ledger;
mod mail;
mod power;
mod store;
