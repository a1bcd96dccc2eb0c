//! The command line of `truc-relay`. A function, so that tests can run the same process under their own name.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use truc_proto::{AxisId, Lane, NodeId};

use crate::{
    InitOptions, Settings,
    backup::{self, BackupArgs, RestoreArgs},
    clock, init,
    recovery::{self, RecoverArgs},
    reindex, revocation, run,
};

/// Exit code for bad usage (sysexits `EX_USAGE`).
const USAGE: u8 = 64;

/// The central store-and-forward relay of a document axis. It cannot read what it carries.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a relay's folder: settings, ledger key, and the binding request for the axis operator.
    Init(Box<InitArgs>),
    /// Run the relay. SIGTERM and SIGINT stop it after calls in progress; SIGHUP reads certificates and revocation lists again.
    Serve(DirArgs),
    /// Make a backup of a relay, running or not: one encrypted file, under a key of which two administrators hold one half each.
    Backup(Box<BackupArgs>),
    /// Make a relay's folder of a backup. It finds out from the nodes whether it is behind before it signs anything.
    Restore(RestoreArgs),
    /// Begin a new ledger origin: for a relay whose nodes hold newer checkpoints than its store has.
    Recover(RecoverArgs),
    /// Throw the look-up index away and build it again from the journal. The relay must not be running.
    Reindex(DirArgs),
    /// Revocation lists.
    Crl {
        #[command(flatten)]
        dir: DirArgs,
        #[command(subcommand)]
        action: CrlAction,
    },
}

#[derive(Subcommand, Debug)]
enum CrlAction {
    /// Take a list from a file, for networks that fetch none: it must be signed by a trusted authority, of now, and not older than the one held.
    Import {
        /// The list, PEM or DER.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct DirArgs {
    /// The relay's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Args, Debug)]
struct InitArgs {
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Trust domain, e.g. `vn-test`.
    #[arg(long)]
    axis: AxisId,
    /// ordinary | classified, for the life of the store.
    #[arg(long)]
    lane: Lane,
    /// The relay's id, e.g. `R1`.
    #[arg(long)]
    id: NodeId,
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// TLS certificate and chain, PEM.
    #[arg(long = "tls", value_name = "CERT.pem")]
    tls_certificate: PathBuf,
    /// Its private key, PKCS#8 PEM. Default: beside the certificate, ending in `.key`.
    #[arg(long, value_name = "KEY.pem")]
    tls_key: Option<PathBuf>,
    /// Certificate that signs checkpoints, with chain, PEM.
    #[arg(long = "node-cert", value_name = "CERT.pem")]
    node_certificate: PathBuf,
    /// Its private key, PKCS#8 PEM. Default: beside the certificate, ending in `.key`.
    #[arg(long, value_name = "KEY.pem")]
    node_key: Option<PathBuf>,
    /// Trust anchors and sub-CAs, PEM.
    #[arg(long, value_name = "ANCHORS.pem")]
    anchors: PathBuf,
    /// The axis operator's certificate, to be pinned, PEM.
    #[arg(long, value_name = "CERT.pem")]
    operator: PathBuf,
    /// Revocation lists, PEM or DER.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    crl: Vec<PathBuf>,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match perform(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => {
            let made = init(&(*args).into())?;
            tracing::info!(binding = %made.binding_path.display(), "relay made; give the binding request to the axis operator (`truc directory add`)");
            Ok(())
        }
        Command::Serve(args) => serve(Settings::load(&args.dir)?),
        Command::Backup(args) => backup::backup(*args, clock()),
        Command::Restore(args) => backup::restore(&args, clock()),
        Command::Recover(args) => recovery::recover(&args, clock()),
        Command::Reindex(args) => reindex(&Settings::load(&args.dir)?),
        Command::Crl { dir, action: CrlAction::Import { file } } => import(&Settings::load(&dir.dir)?, &file),
    }
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn import(settings: &Settings, file: &std::path::Path) -> anyhow::Result<()> {
    for taken in revocation::import(settings, file)? {
        println!("{}", taken.told("relay"));
    }
    Ok(())
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(settings.listen).await;
        let listener = listener.with_context(|| format!("listen on {}", settings.listen))?;
        run(settings, listener, stop_signal()?).await
    })
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}

impl From<InitArgs> for InitOptions {
    fn from(args: InitArgs) -> Self {
        let beside =
            |key: Option<PathBuf>, certificate: &PathBuf| key.unwrap_or_else(|| certificate.with_extension("key"));
        Self {
            tls_key: beside(args.tls_key, &args.tls_certificate),
            node_key: beside(args.node_key, &args.node_certificate),
            dir: args.dir,
            axis: args.axis,
            lane: args.lane,
            id: args.id,
            listen: args.listen,
            tls_certificate: args.tls_certificate,
            node_certificate: args.node_certificate,
            anchors: args.anchors,
            operator: args.operator,
            crls: args.crl,
            now: clock(),
        }
    }
}
