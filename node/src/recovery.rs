//! `truc-node recover`: a ledger put back from an old copy goes on under a new origin, which names the checkpoint that the relay holds and this node
//! has lost.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use clap::Args;
pub use truc_custody::Begun;
use truc_custody::{
    deeds::Reasoned,
    files::{replace_private, write_private},
};
use truc_evidence::{forget_behind, forget_restored, last_known, ledger_origin};
use truc_ledger::{
    LedgerKey, journal_cut,
    volume::{DirVolume, Volume},
};
use truc_proto::{AdminAction, AdminSubject, Administrator, Checkpoint, Digest, Timestamp};

use crate::{
    administration::{at_the_machine, done},
    bind::write_request,
    command::note,
    settings::{SETTINGS_FILE, Settings},
};

/// `truc-node recover`.
#[derive(Args, Debug)]
pub(crate) struct RecoverArgs {
    /// Folder of the node; it must not be running.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// No peer has shown a newer checkpoint, and none can be asked: the relay holds none, or holds two histories (`forked`). The new origin then
    /// continues what this store has.
    #[arg(long)]
    without_peer: bool,
    #[command(flatten)]
    reason: Reasoned,
}

/// Carries out `truc-node recover`.
///
/// # Errors
/// What stands against it; the node is as it was then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn recover(arguments: RecoverArgs, now: Timestamp) -> anyhow::Result<()> {
    let settings = Settings::load(&arguments.dir).context("read the settings")?;
    let Reasoned { why, who } = arguments.reason;
    let begun = begin(&settings, arguments.without_peer, at_the_machine(who), why, now)?;
    println!(
        "{}",
        begun.told([
            (
                "Give {binding} to the axis operator, who checks with you by voice that this recovery is yours, then `truc directory add`, `sign`, `publish`.",
                "Gửi {binding} cho đơn vị vận hành trục; đơn vị vận hành gọi lại xác nhận việc khôi phục này, rồi chạy `truc directory add`, `sign`, `publish`.",
            ),
            (
                "Start the node: it works, and signs once the directory names its new ledger. Receipts of before stay valid.",
                "Khởi động nút: nút làm việc, và ký khi danh bạ ghi sổ mới. Biên nhận cũ vẫn có giá trị.",
            ),
        ])
    );
    Ok(())
}

/// Begins a new origin epoch: a new ledger key, the request to be bound with it, the note for the ledger that names the last known checkpoint, and
/// settings that say so. Cut off anywhere, it can be done again.
///
/// # Errors
/// What stands against it; the node is as it was then.
pub fn begin(
    settings: &Settings,
    without_peer: bool,
    who: Administrator,
    why: String,
    now: Timestamp,
) -> anyhow::Result<Begun> {
    let store = settings.store();
    let volume = Arc::new(DirVolume::create(&store).context("open the store's folder")?);
    let _lock = volume.lock().context("take the store: the node must not be running")?;
    let old_origin = settings.origin();
    let old_key = LedgerKey::from_file(&old_origin, &settings.ledger_key).context("load the ledger key")?;
    let cut = journal_cut(&(volume as _), &settings.store_tag()).context("read the journal")?;
    let shown = last_known(&store, &old_key).context("read what the relay has shown, store/behind.note")?;
    let (known, known_hash) = match shown {
        Some(known) => known,
        None if without_peer => {
            let known = Checkpoint::new(old_origin.as_str(), cut.leaves, cut.root)?;
            (known.clone(), Digest::of(known.to_string().as_bytes()))
        }
        None => bail!(
            "no peer has shown a newer checkpoint of this ledger: start the node and let it meet the relay first. Where the relay holds none, or \
             two histories, say --without-peer"
        ),
    };
    let epoch = settings.epoch + 1;
    let origin = ledger_origin(&settings.axis, settings.lane, &settings.id, epoch);
    let what = format!("{origin}, after {} with {} leaves and root {}", known.origin(), known.size, known.root);
    let deed = done(AdminAction::OriginEpochBegun, AdminSubject::with_hash(what, known_hash), who, why, now);
    deed.check(&settings.id).context("nothing was done; correct --who or --why")?;

    let ledger_key = settings.ledger_key.with_file_name(format!("ledger-{epoch}.pk8"));
    if !ledger_key.exists() {
        let pkcs8 = LedgerKey::generate_pkcs8().context("make the new ledger key")?;
        write_private(&ledger_key, &pkcs8).with_context(|| format!("write {}", ledger_key.display()))?;
    }
    let key = LedgerKey::from_file(&origin, &ledger_key).context("load the new ledger key")?;
    let binding = settings.folder.join(format!("{}-{epoch}.binding", settings.id));
    write_request(settings, epoch, &key, &binding, now)?;
    note(settings, &deed)?;
    // From here on it is the new epoch.
    let next = Settings { epoch, ledger_key, ..settings.clone() };
    let file = settings.folder.join(SETTINGS_FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    replace_private(&file, edited(&text, &next).as_bytes()).with_context(|| format!("write {}", file.display()))?;
    forget_restored(&store)?;
    forget_behind(&store).context("remove what the relay has shown")?;
    Ok(Begun { binding, origin, known, kept: cut.leaves })
}

/// The settings' text with the epoch and the ledger key of `next`: comments and order stay where the text is plain enough for that.
fn edited(text: &str, next: &Settings) -> String {
    let shown = next.ledger_key.strip_prefix(&next.folder).unwrap_or(&next.ledger_key).display().to_string();
    let (mut out, mut section, mut has_epoch) = (String::new(), String::new(), false);
    for line in text.lines() {
        let name = line.split('=').next().unwrap_or_default().trim();
        if line.trim_start().starts_with('[') {
            section = line.trim().to_owned();
        }
        match (section.as_str(), name) {
            ("", "epoch") => {
                has_epoch = true;
                out.push_str(&format!("epoch = {}\n", next.epoch));
            }
            ("[keys]", "ledger") => out.push_str(&format!("ledger = {}\n", toml::Value::String(shown.clone()))),
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    if !has_epoch {
        out = format!("epoch = {}\n{out}", next.epoch);
    }
    match Settings::parse(&next.folder, &out) {
        Ok(read) if read == *next => out,
        _ => next.to_toml(),
    }
}
