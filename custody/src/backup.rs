//! `truc-node backup` and `restore`, and the relay's: a folder as one encrypted file, under a key of which two administrators hold one half each, and back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use truc_evidence::{
    BackupFile, BackupHalf, BackupKey, BackupMade, BackupSource, administrator_certificate, describe_backup,
    make_backup, tell_half, tell_made, tell_restored, tell_verified,
};
use truc_proto::{AdminAction, AdminSubject, BackupHead, BackupKind, Timestamp};
use truc_signer::OpeningKey;

use crate::{
    KeySource,
    deeds::{NOTES, Reasoned, at_the_machine, done, leave},
};

/// `backup`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupArgs {
    /// The folder; what runs on it may go on.
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
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT", default_value = "sao lưu định kỳ")]
    why: String,
    /// Who asked for it. Default: the user of this session.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
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
        /// The administrator's key: X.p12 with X.password beside it, X.pem with X.key, or X.token.
        #[arg(long, value_name = "FILE")]
        admin_key: PathBuf,
        /// Where the half goes; delete it after the restore.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Two halves, opened here or elsewhere.
#[derive(Args, Debug)]
struct Keys {
    /// An administrator's key: X.p12 with X.password beside it, X.pem with X.key, or X.token. Repeat for the other's.
    #[arg(long = "admin-key", value_name = "FILE")]
    admin_keys: Vec<PathBuf>,
    /// A half that `backup open-half` wrote. Repeat for the other one.
    #[arg(long = "half", value_name = "FILE")]
    halves: Vec<PathBuf>,
}

/// `restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The folder to be; must not exist, or be empty.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    reason: Reasoned,
}

impl Keys {
    /// None: none are given.
    fn join(&self, head: &BackupHead) -> anyhow::Result<Option<BackupKey>> {
        let mut halves = Vec::new();
        for path in &self.halves {
            halves.push(BackupHalf::load(path)?);
        }
        for path in &self.admin_keys {
            halves.push(BackupHalf::open(head, load_key(path)?.as_ref())?);
        }
        match halves.as_slice() {
            [] => Ok(None),
            [one, other] => Ok(Some(BackupHalf::join(head, one, other)?)),
            _ => bail!("two halves are wanted, of two administrators: name two --admin-key or --half"),
        }
    }
}

fn load_key(path: &Path) -> anyhow::Result<Box<dyn OpeningKey>> {
    let load = || -> anyhow::Result<Box<dyn OpeningKey>> { Ok(KeySource::beside(path)?.load_opening()?) };
    load().with_context(|| format!("load the administrator's key {}", path.display()))
}

/// Carries out `backup`; `source` says of a folder, and whether documents are to be in it, what is to be backed up.
///
/// # Errors
/// What stands against it; no file is left behind then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub fn backup(
    arguments: BackupArgs,
    now: Timestamp,
    source: impl FnOnce(&Path, bool) -> anyhow::Result<BackupSource>,
) -> anyhow::Result<()> {
    match arguments.action {
        Some(BackupAction::Verify { file, keys }) => verify(&file, &keys),
        Some(BackupAction::OpenHalf { file, admin_key, out }) => {
            let opened = BackupFile::open(&file)?;
            BackupHalf::open(opened.head(), load_key(&admin_key)?.as_ref())?.save(&out)?;
            println!("{}", tell_half(&out));
            Ok(())
        }
        None => {
            let folder = arguments.dir.context("--dir is wanted")?;
            let target = arguments.to.context("--to is wanted")?;
            let source = source(&folder, !arguments.without_documents)?;
            let who = at_the_machine(arguments.who);
            let deed = |subject| done(AdminAction::BackedUp, subject, who.clone(), arguments.why.clone(), now);
            deed(AdminSubject::named("backup"))
                .check(&source.id)
                .context("nothing was done; correct --who or --why")?;
            let made = make(&source, &target, &arguments.administrators, now)?;
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            leave(&source.folder.join(NOTES), &source.id, &deed(AdminSubject::with_hash(name, made.sha256)))
                .context("it was done, but is not in the ledger")?;
            println!("{}", tell_made(&made, &target));
            Ok(())
        }
    }
}

/// Makes a backup for two administrators.
///
/// # Errors
/// What stands against it; no file is left behind then.
pub fn make(
    source: &BackupSource,
    target: &Path,
    administrators: &[PathBuf],
    now: Timestamp,
) -> anyhow::Result<BackupMade> {
    let [one, other] = administrators else { bail!("name two administrators: --admin CERT.pem --admin CERT.pem") };
    let (one, other) = (administrator_certificate(one)?, administrator_certificate(other)?);
    Ok(make_backup(source, target, [&one, &other], now)?)
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

/// Carries out `restore` of a backup of this kind.
///
/// # Errors
/// What stands against it; nothing is left behind then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub fn restore(arguments: RestoreArgs, kind: BackupKind, now: Timestamp) -> anyhow::Result<()> {
    let file = BackupFile::open(&arguments.file)?;
    if file.head().kind != kind {
        bail!("this is the backup of a {}; `truc-{0} restore` takes it", file.head().kind);
    }
    let key = arguments.keys.join(file.head())?;
    let key = key.context("both halves of the key are wanted: two of --admin-key and --half")?;
    let name = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    let subject = AdminSubject::with_hash(name, file.head_digest());
    let id = file.head().node.clone();
    let deed = arguments.reason.deed(&id, AdminAction::Restored, subject, now)?;
    let (contents, outside) = file.restore(&key, &arguments.to, now)?;
    // Its settings may name files that are not back in their places yet: the folder is what is known.
    leave(&arguments.to.join(NOTES), &id, &deed).context("it was restored, but its ledger will not say so")?;
    println!("{}", tell_restored(&arguments.to, file.head(), contents, &outside));
    Ok(())
}
