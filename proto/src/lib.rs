//! Bytes to types and back: agency codes, edXML, signed statements, receipts, the gRPC schema.
//!
//! No I/O, no clock, no keys: everything here is a function of its arguments.

pub mod limits;

mod digest;
mod time;

pub use digest::{Digest, DigestParseError, Hasher};
pub use time::{Timestamp, TimestampParseError};
