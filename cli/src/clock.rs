//! The clock: the one place of this tool that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use truc_proto::Timestamp;

/// Now.
#[must_use]
pub(crate) fn now() -> Timestamp {
    Timestamp::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
