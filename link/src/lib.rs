//! Mutual TLS between nodes and relay: who may connect, on which lane, under which certificate, and for how long.
//!
//! A [`Link`] is one process's side of its lane: its [`Identity`], whom it trusts ([`LinkTrust`]) and whom the directory
//! admits ([`Admission`]). All three are swapped while running; what a swap no longer allows is closed at once.
//! [`Link::listen`] takes connections for a tonic server, [`Link::connect`] makes a tonic channel.
//!
//! TLS 1.3 only, X25519MLKEM768 first, no resumption (every connection proves its certificate anew), the lane in the
//! ALPN name. A peer passes when its chain leads to an anchor, its key may be used for TLS, it is not revoked, and the
//! directory lists its fingerprint. A missing or stale revocation list lets it pass as [`Revocation::Unknown`], and says so.
//!
//! Beside it, for calls to others: a small HTTP client ([`http`]) that bounds every wait and length, and over it the client of time-stamping authorities
//! ([`stamper`]), and of OCSP responders and publishers of revocation lists ([`revocation`]).
//!
//! Knows nothing of documents, and nothing of gRPC beyond carrying it. The shell's, so it reads the clock.

mod accept;
mod admission;
mod breaker;
mod connect;
pub mod endpoint;
mod handshake;
pub mod http;
mod identity;
mod link;
mod local;
mod metrics;
mod registry;
pub mod revocation;
pub mod stamper;
mod stream;
mod token;
mod trust;

pub use accept::{AcceptRefusal, AcceptSettings, Incoming, LinkServer, OnRefused};
pub use admission::{Admission, AdmissionList, NotAdmitted};
pub use breaker::{Breaker, due};
pub use connect::{ConnectError, ConnectSettings, Connected};
pub use identity::{Identity, IdentityError};
pub use link::Link;
pub use local::{LocalError, connect_local};
pub use metrics::{Figures, serve_metrics};
pub use registry::Side;
pub use revocation::{Learnt, RevocationFile, RevocationFolder, RevocationSettings, Revocations};
pub use stamper::{ServerRecord, StampError, StampServer, Stamped, Stamper};
pub use stream::{LinkStream, Peer};
pub use trust::{LinkTrust, PeerRefused, Revocation, TrustError, WhyUnknown};

use truc_proto::Lane;

/// The ALPN name of a lane. HTTP/2 is agreed by having this name: both ends are ours.
#[must_use]
pub const fn lane_protocol(lane: Lane) -> &'static [u8] {
    match lane {
        Lane::Ordinary => b"truc-ordinary/1",
        Lane::Classified => b"truc-classified/1",
    }
}
