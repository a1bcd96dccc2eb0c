//! What node and relay keep in the same way: how settings name their keys ([`KeySource`]), which of their own keys serve ([`Keyring`]), private files
//! ([`files`]), the witness key ([`Witness`]), requests to be bound ([`OwnEntry`]), backups under two administrators' halves ([`backup`]), counts of signed checkpoints
//! ([`SignedCheckpoints`]), the beginning of a new ledger origin ([`Begun`]), and what is said of a command line that is not understood ([`usage`]).
//!
//! Knows nothing of documents and of what else stands in either's settings.

mod away;
pub mod backup;
mod bind;
pub mod deeds;
pub mod files;
mod keyring;
mod origin;
mod reader;
mod signed;
mod source;
pub mod stopped;
mod token;
mod usage;
mod witness;

pub use bind::{Asked, OwnEntry};
pub use keyring::Keyring;
pub use origin::Begun;
pub use reader::{Away, Reader, SettingsError};
pub use signed::{SignedCheckpoints, WitnessStates, cosignatures, put_stamp};
pub use source::{KeySource, MaterialError, read_certificates, read_file};
pub use token::{PinSource, TokenSource};
pub use truc_proto::chain;
pub use usage::usage;
pub use witness::Witness;
