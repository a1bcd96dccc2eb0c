//! How the listener meets its clients: their connections are many and idle.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::warn;
use truc_proto::limits::{SDK_CONNECTIONS_MAX, SDK_HEADER_BYTES_MAX, SDK_HEADERS_MAX, SDK_IDLE_MS_MAX};

use super::{Face, http};
use crate::door::{Door, Manners};

pub(crate) const MANNERS: Manners = Manners {
    name: "SDK",
    connections: SDK_CONNECTIONS_MAX,
    head_bytes: SDK_HEADER_BYTES_MAX,
    headers: SDK_HEADERS_MAX,
    idle_ms: SDK_IDLE_MS_MAX,
    // Its clients have no time-outs, and read a download byte by byte.
    stall_ms: None,
    // Over http, the client cuts letters with diacritics to bytes that are no header; the call is still answered in words.
    lenient: true,
    certificates: false,
};

/// Serves until `stopping` says so; calls in progress end then.
pub(crate) async fn serve(face: Arc<Face>, door: Door, stopping: watch::Receiver<bool>) {
    door.serve(move |request| http::answer(Arc::clone(&face), request), stopping).await;
}

/// Lets this process open as many files as it may: each connection is one. Gives how many that is.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        warn!(%error, "the number of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
