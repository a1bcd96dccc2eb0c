//! A development PKI shaped like the Government Cipher Committee's; every subject says DEV.
//!
//! Two uses. Tests take a [`Pki`]: in memory, P-256, a millisecond per certificate. `truc-certs-dev` and `truc demo` take
//! [`write_tree`]: a directory of PEM and PKCS#12 files for a relay, nodes and agencies (layout: [`tree`]).
//!
//! Beside it stands what the tests of all crates share: played authorities, tokens, ports that nobody takes away ([`port`]), and waiting ([`wait`]).
//!
//! The shape (NĐ 68/2024/NĐ-CP): root, one sub-CA, subscribers that are agencies, persons, devices and services; CA 20 years,
//! subscribers 5. Certificates carry no agency code, only a name: binding a certificate to a code is the directory's work.

pub mod agencies;
pub mod ocsp;
pub mod port;
pub mod server;
pub mod softhsm;
pub mod tree;
pub mod tsa;
pub mod wait;

mod der;
mod issued;
mod pki;
mod profile;

pub use agencies::{AgencyPlan, Plan};
pub use issued::Issued;
pub use ocsp::{OcspPlan, Responder};
pub use pki::{Issuer, Pki, PkiError, Request};
pub use port::HeldPort;
pub use profile::{KeyKind, Profile, Subject};
pub use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, RevocationReason};
pub use softhsm::{SoftHsm, SoftHsmError, Trick};
pub use tree::{KeyFiles, Tree, TreeError, write_tree};
pub use tsa::{TokenPlan, Tsa};

/// The clock, for the program's binary and for tests that must agree with a TLS library reading it by itself.
#[must_use]
pub fn now() -> truc_proto::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    truc_proto::Timestamp::EPOCH + since
}
