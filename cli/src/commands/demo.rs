//! `truc demo`: the whole thing on one machine, and a check of every promise it makes.
//!
//! A development PKI, a directory of real level-1 codes, a relay and three nodes in this process on free loopback ports.
//! What it does to them goes through the same doors as everybody's: the local API of the nodes, the operator's folder,
//! the offline verifier.

pub(super) mod account;
mod apis;
mod fixture;
pub(super) mod network;
mod receipts;
mod rest;
mod search;
mod story;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{
    args::DemoArgs,
    client::block_on,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

pub(crate) fn run(args: &DemoArgs, output: &Output) -> Outcome {
    let folder = Folder::prepare("truc-demo-", args.dir.as_deref(), args.keep)
        .or_exit(Exit::Usage, "the demo needs a folder of its own")?;
    let stage = block_on(async {
        let stage = story::play(folder.path(), output)
            .await
            .map_err(|e| Failure::new(Exit::Invalid, e.context("the demo stopped")))?;
        output.show(&stage.account.json(), |o| stage.account.print(o));
        if args.keep {
            output.line(output.paint(Tone::Strong, "\nStill running. Talk to it from another terminal:"));
            for line in stage.network.how_to_talk() {
                output.line(format!("  {line}"));
            }
            output.line("Ctrl-C ends it.");
            // Whatever ends the wait ends the demo.
            let _ = tokio::signal::ctrl_c().await;
        }
        stage.network.stop().await;
        stage.today.stop().await;
        Ok(stage.account)
    })?;
    Ok(if stage.all_held() { Exit::Good } else { Exit::Invalid })
}

/// The folder of a demo or a sandbox: the one asked for, which stays, or a temporary one, which goes.
pub(super) enum Folder {
    Asked(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    pub(super) fn prepare(prefix: &str, dir: Option<&Path>, keep: bool) -> anyhow::Result<Self> {
        let Some(dir) = dir else {
            let temporary =
                tempfile::Builder::new().prefix(prefix).tempdir().context("cannot make a temporary folder")?;
            return Ok(if keep { Self::Asked(temporary.keep()) } else { Self::Temporary(temporary) });
        };
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        if std::fs::read_dir(dir)?.next().is_some() {
            bail!("{} is not empty, and nothing is ever overwritten: name a new folder", dir.display());
        }
        Ok(Self::Asked(dir.canonicalize()?))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Asked(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
