//! The agency's node: stamps, signs, seals, sends and receives; local gRPC API.
//!
//! [`core`] decides and is pure; everything else acts: the shell owns journal, keys, sockets and timers.

pub mod administration;
pub mod api;
pub mod archive;
pub mod backup;
pub mod bind;
pub mod command;
pub mod core;
mod door;
pub mod duties;
pub mod gateway;
mod metrics;
pub mod pipe;
pub mod pipeline;
pub mod quota;
pub mod records;
pub mod recovery;
pub mod rest;
pub mod retention;
mod revocation;
pub mod run;
pub mod sdk;
pub mod service;
pub mod shell;
pub mod statistics;
pub mod storage_key;
pub mod terminal;

pub mod init;
pub mod settings;
pub mod tokens;
pub mod uploads;
pub mod vault;
pub mod webhooks;
pub mod words;

pub use run::{Running, run, start};
pub use truc_proto::chain;

pub use init::{InitArgs, InitError, InitRequest, Initialised, init};
pub use settings::{Settings, SettingsError};
