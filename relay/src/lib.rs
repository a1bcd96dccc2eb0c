//! The relay: stores what nodes seal and hands it on. It sees who, when, how large and how urgent, and nothing of what is inside.
//!
//! [`core`] decides and knows no I/O; [`store`] keeps; [`service`] checks what comes and proves what goes; [`run`] wires it all.

pub mod command;
pub mod core;
pub mod records;
pub mod recovery;
pub mod service;
pub mod store;

pub mod administration;
pub mod backup;
mod init;
mod keys;
mod metrics;
mod revocation;
mod run;
mod settings;

pub use init::{InitOptions, Initialised, init};
pub use keys::bind;
pub use run::{clock, reindex, run};
pub use settings::{SETTINGS_FILE, Settings, SettingsError, StampSettings};
pub use truc_custody::KeySource;
