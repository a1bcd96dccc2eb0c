//! The command line of `truc-relay`. A function, so that tests can run the same process under their own name.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use truc_custody::{
    Asked, KeySource,
    backup::{BackupArgs, RestoreArgs, backup, restore},
    deeds::{NOTES, Reasoned, at_the_machine, names},
    usage,
};
use truc_proto::{AxisId, BackupKind, Lane, NodeId, Timestamp};

use crate::{
    InitOptions, Settings, administration, bind, clock, init,
    recovery::{self, RecoverArgs},
    reindex, revocation, run,
};

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
    /// Write the request by which the operator binds the keys that settings name under `[keys]`: for new ones, beside those in force. A relay without a
    /// witness key gets one.
    Bind {
        #[command(flatten)]
        dir: DirArgs,
        #[command(flatten)]
        reason: Reasoned,
    },
    /// Begin a new ledger origin: for a relay whose nodes hold newer checkpoints than its store has.
    Recover(RecoverArgs),
    /// Throw the look-up index away and build it again from the journal. The relay must not be running.
    Reindex(DirArgs),
    /// What administrators did to the relay, with who and why.
    Admin {
        #[command(flatten)]
        dir: DirArgs,
        #[command(subcommand)]
        action: AdminAction,
    },
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

#[derive(Subcommand, Debug)]
enum AdminAction {
    /// What was done, the newest last: read from the journal, whether the relay runs or not.
    Log {
        /// Only what is not older.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// As JSON, one statement a line: the leaves as they stand in the ledger.
        #[arg(long)]
        json: bool,
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
    /// TLS certificate with its key: X.pem with X.key, X.p12 with X.password beside it, or X.token, which says where in a PKCS#11 token the key is.
    #[arg(long = "tls", value_name = "CERT")]
    tls_certificate: PathBuf,
    /// The private key of X.pem, PKCS#8 PEM, where it lies elsewhere.
    #[arg(long, value_name = "KEY.pem")]
    tls_key: Option<PathBuf>,
    /// Certificate that signs checkpoints, with its key; as above.
    #[arg(long = "node-cert", value_name = "CERT")]
    node_certificate: PathBuf,
    /// The private key of X.pem, PKCS#8 PEM, where it lies elsewhere.
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
        Err(error) => return usage(&error),
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
            let made = init(&(*args).options()?)?;
            tracing::info!(binding = %made.binding_path.display(), "relay made; give the binding request to the axis operator (`truc directory add`)");
            Ok(())
        }
        Command::Serve(args) => serve(Settings::load(&args.dir)?),
        Command::Backup(args) => {
            backup(*args, clock(), |folder, documents| Ok(crate::backup::source(&Settings::load(folder)?, documents)))
        }
        Command::Restore(args) => restore(args, BackupKind::Relay, clock()),
        Command::Bind { dir, reason } => {
            told(&bind(&Settings::load(&dir.dir)?, at_the_machine(reason.who), reason.why, clock())?);
            Ok(())
        }
        Command::Recover(args) => recovery::recover(&args, clock()),
        Command::Reindex(args) => reindex(&Settings::load(&args.dir)?),
        Command::Admin { dir, action: AdminAction::Log { since, json } } => {
            log(&Settings::load(&dir.dir)?, since.unwrap_or(Timestamp::EPOCH), json)
        }
        Command::Crl { dir, action: CrlAction::Import { file } } => import(&Settings::load(&dir.dir)?, &file),
    }
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn told(asked: &Asked) {
    println!("{}", asked.told());
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn import(settings: &Settings, file: &std::path::Path) -> anyhow::Result<()> {
    for taken in revocation::import(settings, file)? {
        println!("{}", taken.told("relay"));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn log(settings: &Settings, since: Timestamp, json: bool) -> anyhow::Result<()> {
    let leaves = administration::log(settings, since)?;
    for leaf in &leaves {
        println!(
            "{}",
            if json { String::from_utf8_lossy(leaf.bytes()).into_owned() } else { administration::told(leaf) }
        );
    }
    let waiting = names(&settings.dir.join(NOTES)).context("look for notes that wait")?.len();
    if leaves.is_empty() && !json {
        println!("nothing stands there / Chưa có việc nào được ghi");
    }
    if waiting > 0 && !json {
        println!(
            "{waiting} wait to be written: the relay does that while it runs, once a directory version is in force / {waiting} việc chờ ghi: trục ghi khi đang chạy và đã có danh bạ"
        );
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

impl InitArgs {
    fn options(self) -> anyhow::Result<InitOptions> {
        let named = |certificate: PathBuf, key: Option<PathBuf>| match key {
            Some(key) => Ok(KeySource::Pem { certificate, key }),
            None => KeySource::beside(&certificate),
        };
        Ok(InitOptions {
            tls: named(self.tls_certificate, self.tls_key)?,
            node: named(self.node_certificate, self.node_key)?,
            dir: self.dir,
            axis: self.axis,
            lane: self.lane,
            id: self.id,
            listen: self.listen,
            anchors: self.anchors,
            operator: self.operator,
            crls: self.crl,
            now: clock(),
        })
    }
}
