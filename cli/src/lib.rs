//! The tool of officers and cipher administrators: `truc send`, `inbox`, `outbox`, `search`, `receipt`, `container`,
//! `edxml`, `directory`, `group`, `sandbox`, `demo`, `drill`, `load`.
//!
//! Everything that needs no node (`receipt verify`, `container verify`, `edxml check`, `directory add|sign`) runs without
//! network and configuration; the rest speaks the node's local API.

mod args;
mod client;
mod clock;
mod commands;
mod exit;
mod operator;
mod output;
mod partial;
mod trust;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use truc_custody::usage;

use crate::{args::Cli, output::Output};

/// Runs the tool with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.json, cli.colour);
    // Demo and drill stop a relay, or lose keys, on purpose: what the parts say of that is noise unless asked for.
    let quiet = matches!(cli.command, args::Command::Demo(_) | args::Command::Drill(_));
    start_logs(cli.verbose, quiet);
    match commands::run(cli.command, &output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn start_logs(verbose: u8, quiet: bool) {
    let level = match verbose {
        0 if quiet => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TRUC_LOG").unwrap_or_else(|_| level.into());
    // A second call (tests run several commands in one process) keeps the first subscriber.
    let ansi = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).try_init();
}
