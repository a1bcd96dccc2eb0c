//! `relay-process DIR`: the relay of a folder on a free port of loopback, which it prints; ends in order at SIGTERM.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};

#[tokio::main]
async fn main() -> Result<()> {
    truc_tests::child::log_to_stderr();
    let folder = PathBuf::from(std::env::args_os().nth(1).context("usage: relay-process DIR")?);
    let settings = truc_relay::Settings::load(&folder)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "listening {}", listener.local_addr()?)?;
    truc_relay::run(settings, listener, truc_tests::child::terminated()).await
}
