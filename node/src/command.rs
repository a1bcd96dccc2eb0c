//! The command line of `truc-node`.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{
    InitArgs, Settings, administration,
    core::{Core, Deed, Policy},
    quota::{Measure, Quota},
    recovery::{self, RecoverArgs},
    sdk,
    settings::TokenSource,
    shell::clock::now,
    storage_key::{self, guard},
    tokens::{Tokens, add_certificate, add_token, limit_token, revoke_token},
    vault::Vault,
};
use truc_custody::{
    backup::{BackupArgs, RestoreArgs, backup, restore},
    deeds::Reasoned,
    usage,
};
use truc_proto::{AdminAction, AdminSubject, AgencyId, BackupKind, CallerRole, Digest};
use truc_signer::{path::ListKept, storage::StorageKey};

/// The agency's node of the document axis: stamps, signs, seals, sends and receives.
#[derive(Parser, Debug)]
#[command(name = "truc-node", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a node: folder, keys, settings, a first token, and the request to be bound in the directory.
    Init(Box<InitArgs>),
    /// Run a node until SIGTERM or SIGINT.
    ///
    /// SIGHUP has it read the TLS key, the agencies' keys, trust anchors and revocation lists again at once, under the
    /// names that the settings give; where one cannot be read, all old ones stay in force and `truc status` shows the
    /// alarm. Changed trust files are noticed within half a minute without it. The settings themselves, the node's key
    /// and the ledger key are read at a start only.
    Serve {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
    /// Bearer tokens of the local API: a running node notices changes at once.
    Token {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Document systems that speak the axis SDK: a running node notices changes within seconds.
    Sdk {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(subcommand)]
        action: SdkAction,
    },
    /// The gateway to today's axis, for codes that are still reached there (section `[gateway]` of the settings).
    Gateway {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(subcommand)]
        action: GatewayAction,
    },
    /// The key that everything on the node's disk lies under.
    StorageKey {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(subcommand)]
        action: StorageKeyAction,
    },
    /// Revocation lists.
    Crl {
        /// Folder of the node.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(subcommand)]
        action: CrlAction,
    },
    /// Make a backup of a node, running or not: one encrypted file, under a key of which two administrators hold one half each.
    Backup(Box<BackupArgs>),
    /// Make a node's folder of a backup. It finds out from the relay whether it is behind before it signs anything.
    Restore(Box<RestoreArgs>),
    /// Write the request by which the operator binds the node's own keys (connection, checkpoints, witness). A node without a witness key gets one.
    /// Agencies' keys are bound by `truc cert rotate`.
    Bind {
        /// Folder of the node, running or not.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(flatten)]
        reason: Reasoned,
    },
    /// Begin a new ledger origin: for a node whose relay holds newer checkpoints than its store has.
    Recover(Box<RecoverArgs>),
    /// Remove the look-up index and the snapshots: both are built again from the journal, which is read whole to check it.
    Reindex {
        /// Folder of the node; it must not be running.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum StorageKeyAction {
    /// Its epoch, since when, what lies under it, and what a rotation would destroy. The node may be running; its journal is read whole.
    Status,
    /// Begin a new epoch; the node must not be running. What is to stay readable is wrapped anew; the old key is destroyed, and with it the keys of
    /// documents that were removed or closed. Interrupted at any point, the node's next start finishes or undoes it. Make a backup behind it.
    Rotate {
        #[command(flatten)]
        reason: Reasoned,
    },
}

#[derive(Subcommand, Debug)]
enum CrlAction {
    /// Take a list from a file, for networks that fetch none: it must be signed by a trusted authority, of now, and not older than the one held.
    Import {
        /// The list, PEM or DER.
        file: PathBuf,
        #[command(flatten)]
        reason: Reasoned,
    },
}

#[derive(Subcommand, Debug)]
enum TokenAction {
    /// Make a token; it is shown once and kept as a hash.
    Add {
        /// What people call it, e.g. the document system's name.
        name: String,
        /// What it is there for: `system`, `officer`, `cipher-admin` or `auditor`; docs/ROLES.md says what each may do.
        #[arg(long, value_name = "ROLE", default_value_t = CallerRole::Officer)]
        role: CallerRole,
        /// A code it is limited to; repeat for further ones. None: all codes of the node.
        #[arg(long = "code", value_name = "CODE")]
        codes: Vec<AgencyId>,
        /// A client certificate, PEM, to let in instead of making a token: whoever shows it over TLS (`local.tls`, `rest.tls`) is this.
        #[arg(long, value_name = "CERT.pem")]
        certificate: Option<PathBuf>,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        reason: Reasoned,
    },
    /// Give a token other limits; without options it has none. A running node keeps count of what was used.
    Limit {
        /// Its name.
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Names, roles, codes and limits of all tokens.
    List,
    /// Make a token useless.
    Revoke {
        /// Its name.
        name: String,
        #[command(flatten)]
        reason: Reasoned,
    },
}

/// Leaves a note for the ledger; a running node takes it within seconds, else the next start does.
pub(crate) fn note(settings: &Settings, deed: &Deed) -> anyhow::Result<()> {
    administration::leave(&settings.notes(), &settings.id, deed).context("it was done, but is not in the ledger")
}

/// What a token may use; what is not given is not limited. Each limit refills evenly over its period.
#[derive(clap::Args, Debug)]
struct Limits {
    /// Requests of any kind in a minute.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<NonZeroU32>,
    /// Documents accepted in a day.
    #[arg(long, value_name = "N")]
    documents_per_day: Option<NonZeroU32>,
    /// Content handed over in a day, in megabytes.
    #[arg(long, value_name = "N")]
    megabytes_per_day: Option<NonZeroU32>,
}

impl From<Limits> for Quota {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_minute, documents_per_day, megabytes_per_day } = limits;
        Self { requests_per_minute, documents_per_day, megabytes_per_day }
    }
}

#[derive(Subcommand, Debug)]
enum SdkAction {
    /// Add a document system; its secret is shown once, for its configuration, and kept encrypted under the storage key.
    Add {
        /// What the client's configuration calls `systemid`: letters, digits, dot, hyphen, underscore.
        #[arg(long, value_name = "ID")]
        system: String,
        /// The codes it acts for.
        #[arg(long, value_name = "CODE,CODE", value_delimiter = ',', required = true)]
        codes: Vec<AgencyId>,
    },
    /// Ids, codes and dates of all document systems.
    List,
    /// Let a document system in no more.
    Remove {
        /// Its id.
        #[arg(long, value_name = "ID")]
        system: String,
    },
    /// What document systems asked of the axis operator (registerAgency, deleteAgency): nothing of it is done by itself.
    Requests {
        /// The request with this number was dealt with: show it no more.
        #[arg(long, value_name = "NUMBER")]
        done: Option<u64>,
    },
}

#[derive(Subcommand, Debug)]
enum GatewayAction {
    /// Keep the secret that today's axis gave this node's system id: read from standard input, kept encrypted under the
    /// storage key. Takes effect at the node's next start.
    Secret,
    /// Ask today's axis, as the running node does, what waits there; nothing is taken.
    Check,
    /// Remove the secret.
    Forget,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match carry_out(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(arguments) => init(*arguments),
        Command::Serve { dir } => serve(Settings::load(&dir).context("read the settings")?),
        Command::Token { dir, action } => token(&Settings::load(&dir).context("read the settings")?, action),
        Command::Sdk { dir, action } => sdk(&Settings::load(&dir).context("read the settings")?, action),
        Command::Gateway { dir, action } => gateway(&Settings::load(&dir).context("read the settings")?, &action),
        Command::StorageKey { dir, action } => {
            storage_key::carry_out(&Settings::load(&dir).context("read the settings")?, action)
        }
        Command::Crl { dir, action: CrlAction::Import { file, reason } } => {
            import(&Settings::load(&dir).context("read the settings")?, &file, reason)
        }
        Command::Backup(arguments) => {
            let one_epoch = std::cell::OnceCell::new();
            backup(*arguments, now(), |folder, documents| {
                let settings = Settings::load(folder).context("read the settings")?;
                let _ = one_epoch.set(guard::hold(&settings)?); // asked once
                Ok(crate::backup::source(&settings, documents))
            })
        }
        Command::Restore(arguments) => restore(*arguments, BackupKind::Node, now()),
        Command::Bind { dir, reason } => bind(&Settings::load(&dir).context("read the settings")?, reason),
        Command::Recover(arguments) => recovery::recover(*arguments, now()),
        Command::Reindex { dir } => reindex(&Settings::load(&dir).context("read the settings")?),
    }
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn bind(settings: &Settings, reason: Reasoned) -> anyhow::Result<()> {
    ask_for_pins(&TokenSource::prompted(&settings.node_keys))?;
    let asked = crate::bind::bind(settings, administration::at_the_machine(reason.who), reason.why, now())?;
    println!("{}", asked.told());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn import(settings: &Settings, file: &Path, reason: Reasoned) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let subject = AdminSubject::with_hash(name, Digest::of(&bytes));
    let deed = reason.deed(&settings.id, AdminAction::RevocationListImported, subject, now())?;
    let all =
        crate::revocation::import(settings, &bytes).with_context(|| format!("{} is not taken", file.display()))?;
    for taken in &all {
        println!("{}", taken.told("node"));
    }
    if all.iter().any(|taken| taken.kept == ListKept::New) { note(settings, &deed) } else { Ok(()) }
}

/// Standard output gets the token and nothing else, so that it can go straight into a file of the document system.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what the administrator asked for")]
fn init(arguments: InitArgs) -> anyhow::Result<()> {
    let request = arguments.request(now())?;
    let agencies = request.agencies.iter().flat_map(|agency| [&agency.service, &agency.sealing]);
    ask_for_pins(&TokenSource::prompted(agencies.chain([&request.node_key, &request.tls])))?;
    let made = crate::init(request)?;
    eprintln!("node:    {}", made.settings.folder.display());
    eprintln!("binding: {} (give it to the axis operator)", made.binding.display());
    eprintln!("token:   on standard output, once; give it to the document system, in a file that it alone can read");
    println!("{}", made.token.expose());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the administrator asked to see")]
fn token(settings: &Settings, action: TokenAction) -> anyhow::Result<()> {
    let path = &settings.tokens;
    match action {
        TokenAction::Add { name, role, codes, certificate, limits, reason } => {
            if let Some(foreign) = codes.iter().find(|code| settings.codes().all(|own| own != *code)) {
                anyhow::bail!("this node does not serve {foreign}; name codes of its own");
            }
            let codes = codes.into_iter().collect();
            let named = format!("{name} ({role})");
            if let Some(file) = certificate {
                let certificate = truc_custody::read_certificates(&file)?
                    .into_iter()
                    .next()
                    .context("there is no certificate in it")?;
                let sha256 = certificate.sha256();
                let subject = AdminSubject::with_hash(format!("{named}: {}", certificate.subject()), sha256);
                let deed = reason.deed(&settings.id, AdminAction::TokenMade, subject, now())?;
                add_certificate(path, &name, sha256, role, codes, limits.into(), now())?;
                note(settings, &deed)?;
                println!("{sha256}");
                return Ok(());
            }
            let deed = reason.deed(&settings.id, AdminAction::TokenMade, AdminSubject::named(named), now())?;
            let text = add_token(path, &name, role, codes, limits.into(), now())?;
            note(settings, &deed)?;
            println!("{}", text.expose());
        }
        TokenAction::List => {
            for token in Tokens::load(path)?.list() {
                let codes: Vec<&str> = token.codes.iter().map(AgencyId::as_str).collect();
                let codes = if codes.is_empty() { "all codes".to_owned() } else { codes.join(" ") };
                let limits = Measure::ALL.map(|what| {
                    let limit = token.quota.limit(what);
                    limit.map_or_else(String::new, |limit| {
                        format!("\t{limit} {}/{} s", what.as_str(), what.period().as_secs())
                    })
                });
                let certificate =
                    if token.certificate { format!("\tcertificate {}", token.sha256) } else { String::new() };
                println!("{}\t{}\t{codes}\t{}{}{certificate}", token.name, token.role, token.created, limits.concat());
            }
        }
        TokenAction::Limit { name, limits } => limit_token(path, &name, limits.into())?,
        TokenAction::Revoke { name, reason } => {
            let deed = reason.deed(&settings.id, AdminAction::TokenWithdrawn, AdminSubject::named(&name), now())?;
            revoke_token(path, &name)?;
            note(settings, &deed)?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the administrator asked to see")]
fn sdk(settings: &Settings, action: SdkAction) -> anyhow::Result<()> {
    let (path, now) = (settings.sdk_systems(), now());
    match action {
        SdkAction::Add { system, codes } => {
            if let Some(foreign) = codes.iter().find(|code| settings.codes().all(|own| own != *code)) {
                anyhow::bail!("this node does not serve {foreign}; name codes of its own");
            }
            let _one_epoch = guard::hold(settings)?;
            let key = StorageKey::load(&settings.storage_key).context("load the storage key")?;
            let secret = sdk::add_system(&path, &key, &system, codes.into_iter().collect(), now)?;
            if settings.sdk.is_none() {
                tracing::warn!("the settings have no section [sdk]: no document system can connect before it is added");
            }
            println!("{}", secret.expose());
        }
        SdkAction::List => {
            for system in sdk::list_systems(&path)? {
                let codes: Vec<&str> = system.codes.iter().map(AgencyId::as_str).collect();
                println!("{}\t{}\t{}", system.id, codes.join(" "), system.created);
            }
        }
        SdkAction::Remove { system } => {
            let _one_epoch = guard::hold(settings)?;
            sdk::remove_system(&path, &system)?;
        }
        SdkAction::Requests { done } => {
            let requests = sdk::AgencyRequests::of(&settings.sdk_requests());
            if let Some(number) = done {
                requests.done(number, now)?;
            }
            for request in requests.open()? {
                let sdk::AgencyText { code, pcode, name, mail, mobile, fax } = request.agency;
                let about = [code, pcode, name, mail, mobile, fax].join("\t");
                println!("{}\t{}\t{}\t{}\t{about}", request.number, request.kind, request.system, request.at);
            }
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the administrator asked to see")]
fn gateway(settings: &Settings, action: &GatewayAction) -> anyhow::Result<()> {
    use truc_proto::sdk::MessageType;
    let path = settings.gateway_secret();
    let section = || {
        settings
            .gateway
            .as_ref()
            .context("the settings have no section [gateway]; add endpoint, system and codes first")
    };
    match action {
        GatewayAction::Secret => {
            let section = section()?;
            let _one_epoch = guard::hold(settings)?;
            let key = StorageKey::load(&settings.storage_key).context("load the storage key")?;
            let mut secret = zeroize::Zeroizing::new(String::new());
            std::io::stdin().read_line(&mut secret).context("read the secret from standard input")?;
            crate::gateway::keep_secret(&path, &key, &section.system, &secret)?;
            println!("kept for {} at {}", section.system, section.endpoint);
        }
        GatewayAction::Check => {
            section()?;
            let opened = crate::gateway::Gateway::open(settings)?.context("there is no gateway")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            for message in [MessageType::Document, MessageType::Status] {
                let items = runtime.block_on(opened.axis.received(message)).map_err(anyhow::Error::from);
                let items = items.with_context(|| format!("ask {} what waits", opened.settings.endpoint))?;
                println!("{}\t{} wait", message.as_str(), items.len());
            }
        }
        GatewayAction::Forget => {
            let _one_epoch = guard::hold(settings)?;
            crate::gateway::forget_secret(&path)?;
        }
    }
    Ok(())
}

/// Asks for the PINs that nothing but a person knows. Without a terminal the node starts without them, and waits for `truc pin`.
fn ask_for_pins(tokens: &[&TokenSource]) -> anyhow::Result<()> {
    for source in tokens {
        let prompt = format!("PIN of the token {} / Mã PIN của thiết bị {0}", source.token);
        let given = crate::terminal::ask(&prompt).context("ask for a PIN")?;
        let Some(pin) = given.filter(|pin| !pin.is_empty()) else {
            tracing::warn!(token = source.token, "no PIN was given; what needs its keys waits for `truc pin`");
            continue;
        };
        if let Err(error) = source.give_pin(&pin) {
            tracing::warn!(token = source.token, %error, "the token is not of use now; what needs its keys waits for `truc pin`");
        }
    }
    Ok(())
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    ask_for_pins(&settings.prompted())?;
    if settings.sdk.is_some() {
        tracing::info!(files = sdk::raise_file_limit(), "connections of the SDK listener are open files");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let local = TcpListener::bind(settings.local).await.with_context(|| format!("listen on {}", settings.local))?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        crate::run(settings, local, shutdown).await
    })
}

/// sled and snapshots may be deleted at any time (I12); this does it under the store's lock, and checks the journal.
fn reindex(settings: &Settings) -> anyhow::Result<()> {
    storage_key::finish(settings).context("finish the rotation of the storage key")?;
    let store = settings.store();
    let origin = settings.origin();
    let key = truc_ledger::LedgerKey::from_file(&origin, &settings.ledger_key).context("load the ledger key")?;
    let volume =
        std::sync::Arc::new(truc_ledger::volume::DirVolume::create(&store).context("open the store's folder")?);
    {
        use truc_ledger::volume::Volume as _;
        let _lock = volume.lock().context("take the store")?;
        for folder in ["index", "snapshots"] {
            match std::fs::remove_dir_all(store.join(folder)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", store.join(folder).display()));
                }
                _ => {}
            }
        }
    }
    let policy = Policy::new(settings.id.clone());
    let mut core = Core::new(policy.clone());
    let settings_of_ledger = truc_ledger::Settings::default();
    let (ledger, recovered) =
        truc_ledger::open(volume, settings.store_tag(), origin, key, settings_of_ledger, &mut core)
            .context("open the journal")?;
    tracing::info!(records = recovered.next_position.0, leaves = recovered.next_leaf, "journal read whole");
    ledger.snapshot(recovered.next_position, core.snapshot()).context("write a snapshot")?;
    let words = Vault::open(settings)?.words()?;
    let archive =
        crate::archive::Archive::open(ledger.clone(), store.join("index"), policy, words).context("open the index")?;
    archive.wait();
    tracing::info!(state = archive.state(), "look-up index built");
    archive.close();
    ledger.close();
    Ok(())
}
