//! `truc-relay backup` and `truc-relay restore`: a relay's folder as one encrypted file, and back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use truc_evidence::{
    BackupFile, BackupHalf, BackupKey, BackupMade, BackupSource, administrator_certificate, describe_backup,
    make_backup, tell_half, tell_made, tell_restored, tell_verified,
};
use truc_proto::{BackupHead, BackupKind, Timestamp};
use truc_signer::SoftKey;

use crate::Settings;

/// `truc-relay backup`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    /// Folder of the relay; it may be running.
    #[arg(long, value_name = "FOLDER", required = true)]
    dir: Option<PathBuf>,
    /// The file to write, outside that folder.
    #[arg(long, value_name = "FILE", required = true)]
    to: Option<PathBuf>,
    /// Certificates of the two administrators who each get one half of the key, PEM: name it twice.
    #[arg(long = "admin", value_name = "CERT.pem", required = true)]
    administrators: Vec<PathBuf>,
    /// Leave sealed documents out: the ledger, receipts and who had what remain; documents cannot be opened any more after a restore.
    #[arg(long)]
    without_documents: bool,
    #[command(subcommand)]
    action: Option<BackupAction>,
}

#[derive(Subcommand, Debug)]
enum BackupAction {
    /// What a backup says of itself, and whether it is what was written. With both halves: whether everything is in it.
    Verify {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Open one's own half of a backup's key, to carry it to the machine that is restored. Without the other half it says nothing.
    OpenHalf {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The administrator's key: X.p12 with X.password beside it, or X.pem with X.key.
        #[arg(long, value_name = "FILE")]
        admin_key: PathBuf,
        /// Where the half goes; delete it after the restore.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Two halves, opened here or elsewhere.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// An administrator's key: X.p12 with X.password beside it, or X.pem with X.key. Repeat for the other's.
    #[arg(long = "admin-key", value_name = "FILE")]
    admin_keys: Vec<PathBuf>,
    /// A half that `backup open-half` wrote. Repeat for the other one.
    #[arg(long = "half", value_name = "FILE")]
    halves: Vec<PathBuf>,
}

/// `truc-relay restore`.
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder of the relay to be; must not exist, or be empty.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

impl Keys {
    /// None: none are given.
    fn join(&self, head: &BackupHead) -> anyhow::Result<Option<BackupKey>> {
        let mut halves = Vec::new();
        for path in &self.halves {
            halves.push(BackupHalf::load(path)?);
        }
        for path in &self.admin_keys {
            halves.push(BackupHalf::open(head, &load_key(path)?)?);
        }
        match halves.as_slice() {
            [] => Ok(None),
            [one, other] => Ok(Some(BackupHalf::join(head, one, other)?)),
            _ => bail!("two halves are wanted, of two administrators: name two --admin-key or --half"),
        }
    }
}

fn load_key(path: &Path) -> anyhow::Result<SoftKey> {
    let load = || -> anyhow::Result<SoftKey> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !matches!(ending, "p12" | "pfx") {
            return Ok(SoftKey::load_pem(path, &path.with_extension("key"))?);
        }
        let password = zeroize::Zeroizing::new(std::fs::read_to_string(path.with_extension("password"))?);
        Ok(SoftKey::load_pkcs12(path, password.trim_end_matches(['\r', '\n']))?)
    };
    load().with_context(|| format!("load the administrator's key {}", path.display()))
}

/// Carries out `truc-relay backup`.
///
/// # Errors
/// What stands against it; no file is left behind then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn backup(arguments: BackupArgs, now: Timestamp) -> anyhow::Result<()> {
    match arguments.action {
        Some(BackupAction::Verify { file, keys }) => verify(&file, &keys),
        Some(BackupAction::OpenHalf { file, admin_key, out }) => {
            let opened = BackupFile::open(&file)?;
            BackupHalf::open(opened.head(), &load_key(&admin_key)?)?.save(&out)?;
            println!("{}", tell_half(&out));
            Ok(())
        }
        None => {
            let folder = arguments.dir.context("--dir is wanted")?;
            let target = arguments.to.context("--to is wanted")?;
            let settings = Settings::load(&folder).context("read the settings")?;
            let made = make(&settings, &target, &arguments.administrators, !arguments.without_documents, now)?;
            println!("{}", tell_made(&made, &target));
            Ok(())
        }
    }
}

/// Makes a backup of the relay with these settings.
///
/// # Errors
/// What stands against it; no file is left behind then.
pub fn make(
    settings: &Settings,
    target: &Path,
    administrators: &[PathBuf],
    documents: bool,
    now: Timestamp,
) -> anyhow::Result<BackupMade> {
    let [one, other] = administrators else { bail!("name two administrators: --admin CERT.pem --admin CERT.pem") };
    let (one, other) = (administrator_certificate(one)?, administrator_certificate(other)?);
    let anchors = settings.time_stamps.iter().filter_map(|stamps| stamps.anchors.clone());
    let anchors = anchors.chain(settings.revocation.iter().filter_map(|revocation| revocation.anchors.clone()));
    let source = BackupSource {
        kind: BackupKind::Relay,
        axis: settings.axis.clone(),
        lane: settings.lane,
        id: settings.id.clone(),
        origin: settings.origin(),
        tag: settings.store_tag(),
        folder: settings.dir.clone(),
        outside: anchors.filter(|path| !path.starts_with(&settings.dir)).collect(),
        documents,
    };
    Ok(make_backup(&source, target, [&one, &other], now)?)
}

#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
fn verify(path: &Path, keys: &Keys) -> anyhow::Result<()> {
    let file = BackupFile::open(path)?;
    println!("{}", describe_backup(file.head()));
    file.check()?;
    let contents = keys.join(file.head())?.map(|key| file.verify(&key)).transpose()?;
    println!("{}", tell_verified(contents));
    Ok(())
}

/// Carries out `truc-relay restore`.
///
/// # Errors
/// What stands against it; nothing is left behind then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn restore(arguments: &RestoreArgs, now: Timestamp) -> anyhow::Result<()> {
    let file = BackupFile::open(&arguments.file)?;
    if file.head().kind != BackupKind::Relay {
        bail!("this is the backup of a {}; `truc-{0} restore` takes it", file.head().kind);
    }
    let key = arguments.keys.join(file.head())?;
    let key = key.context("both halves of the key are wanted: two of --admin-key and --half")?;
    let (contents, outside) = file.restore(&key, &arguments.to, now)?;
    println!("{}", tell_restored(&arguments.to, file.head(), contents, &outside));
    Ok(())
}
