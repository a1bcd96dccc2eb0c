//! The agency's node: stamps, signs, seals, sends and receives; local gRPC API.
//!
//! [`core`] decides and is pure; everything else acts: the shell owns journal, keys, sockets and timers.

pub mod core;
pub mod records;
pub mod pipeline;
