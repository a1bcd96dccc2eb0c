//! The harness that the tests of the whole share: seeds, waiting, child processes, a load for the ledger alone, a whole network, and today's axis.
//!
//! Knows nothing of what is tested; whoever uses it asserts.

#![expect(clippy::panic, reason = "a harness fails the test that uses it")]

pub mod child;
pub mod ledger_load;
pub mod network;
pub mod old_axis;
pub mod seed;

pub use truc_certs_dev::wait;
