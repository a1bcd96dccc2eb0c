//! `truc-relay recover`: a ledger put back from an old copy goes on under a new origin, which names the checkpoint that nodes hold and this relay has
//! lost.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use anyhow::{Context as _, bail};
use clap::Args;
pub use truc_custody::Begun;
use truc_custody::{
    deeds::{NOTES, Reasoned, at_the_machine, done, leave},
    files::replace_private,
};
use truc_evidence::{forget_behind, forget_restored, last_known, ledger_origin};
use truc_ledger::{Fold, FoldError, LedgerKey, Record, Replayed, volume::DirVolume};
use truc_proto::{AdminAction, AdminSubject, Administrator, Checkpoint, Digest, LoggedCheckpoint, Raw, Timestamp};

use crate::{
    SETTINGS_FILE, Settings,
    keys::write_request,
    records::{self, Body, OriginBegun},
};

/// `truc-relay recover`.
#[derive(Args, Debug)]
pub(crate) struct RecoverArgs {
    /// The relay's folder; it must not be running.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// No node has shown a newer checkpoint, and they cannot all be asked. The new origin then continues what this store has.
    #[arg(long)]
    without_peer: bool,
    #[command(flatten)]
    reason: Reasoned,
}

/// Carries out `truc-relay recover`.
///
/// # Errors
/// What stands against it; the relay is as it was then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn recover(arguments: &RecoverArgs, now: Timestamp) -> anyhow::Result<()> {
    let settings = Settings::load(&arguments.dir)?;
    let begun = {
        let Reasoned { why, who } = arguments.reason.clone();
        begin(&settings, arguments.without_peer, at_the_machine(who), why, now)?
    };
    println!(
        "{}",
        begun.told([
            (
                "Start the relay. The operator publishes again, in their order, directory versions that it lost, if there are any.",
                "Khởi động trục. Đơn vị vận hành công bố lại, đúng thứ tự, các phiên bản danh bạ bị mất, nếu có.",
            ),
            (
                "{binding}: `truc directory add`, `sign`, `publish`. From that version on nodes take the new ledger, and hand over again what was lost.",
                "{binding}: `truc directory add`, `sign`, `publish`. Từ phiên bản đó các nút nhận sổ mới và nộp lại những gì bị mất.",
            ),
        ])
    );
    Ok(())
}

/// Begins a new origin epoch: a new ledger key, the request to be bound with it, a leaf with the last known checkpoint, and settings that say so. Cut
/// off anywhere, it can be done again.
///
/// # Errors
/// What stands against it; the relay is as it was then.
pub fn begin(
    settings: &Settings,
    without_peer: bool,
    who: Administrator,
    why: String,
    now: Timestamp,
) -> anyhow::Result<Begun> {
    let deed = |subject| done(AdminAction::OriginEpochBegun, subject, who.clone(), why.clone(), now);
    deed(AdminSubject::named("origin")).check(&settings.id).context("nothing was done; correct --who or --why")?;
    let store = settings.store_dir();
    let volume = Arc::new(DirVolume::create(&store).with_context(|| format!("open {}", store.display()))?);
    let old_origin = settings.origin();
    let load = |origin: &str| LedgerKey::from_file(origin, &settings.ledger_key()).context("load the ledger key");
    let old_key = load(&old_origin)?;
    let shown = last_known(&store, &old_key).context("read what a node has shown, store/behind.note")?;
    if shown.is_none() && !without_peer {
        bail!(
            "no node has shown a newer checkpoint of this ledger: start the relay and let the nodes call first, or say --without-peer"
        );
    }
    let tag = settings.store_tag();
    let opened =
        truc_ledger::open(volume, tag, old_origin.clone(), old_key, truc_ledger::Settings::default(), &mut Unread);
    let (ledger, _) = opened.context("open the journal: the relay must not be running")?;
    let head = ledger.head();
    let known = match shown {
        Some((known, _)) => known,
        None => Checkpoint::new(old_origin, head.size, head.root)?,
    };

    let epoch = settings.epoch + 1;
    let origin = ledger_origin(&settings.axis, settings.lane, &settings.id, epoch);
    let key_path = settings.ledger_key_of(epoch);
    if !key_path.exists() {
        replace(&key_path, &LedgerKey::generate_pkcs8().context("make the new ledger key")?)?;
    }
    let key = LedgerKey::from_file(&origin, &key_path).context("load the new ledger key")?;
    let binding = settings.dir.join(format!("{}-{epoch}.binding", settings.id));
    write_request(settings, epoch, &key, &binding, now)?;

    let (size, root) = (known.size, known.root);
    let leaf = LoggedCheckpoint { node: settings.id.clone(), origin: known.origin().to_owned(), size, root, time: now };
    let leaf = Raw::write(leaf)?.bytes().to_vec();
    let begun = OriginBegun { time_ms: now.unix_ms(), origin: origin.clone(), who: who.name.clone(), why: why.clone() };
    let record = Record::with_leaf(records::RelayRecord::encoded(Body::OriginBegun(begun)), leaf);
    let (written, waits) = mpsc::channel();
    ledger.submit(vec![record], Box::new(move |_| _ = written.send(())))?;
    waits.recv().context("the journal did not take the record")?;
    ledger.close();
    let what = format!("{origin}, after {} with {size} leaves and root {root}", known.origin());
    let subject = AdminSubject::with_hash(what, Digest::of(known.to_string().as_bytes()));
    leave(&settings.dir.join(NOTES), &settings.id, &deed(subject))
        .context("it is not in the ledger, so it was not done")?;
    // From here on it is the new epoch.
    let file = settings.dir.join(SETTINGS_FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    replace(&file, with_epoch(&text, epoch).as_bytes())?;
    forget_restored(&store)?;
    forget_behind(&store).context("remove what a node has shown")?;
    Ok(Begun { binding, origin, known, kept: head.size })
}

/// The settings' text with another epoch: the first names of the file stand before any section.
fn with_epoch(text: &str, epoch: u64) -> String {
    let mut top = true;
    let others = text.lines().filter(|line| {
        top &= !line.trim_start().starts_with('[');
        !(top && line.split('=').next().is_some_and(|name| name.trim() == "epoch"))
    });
    let others: String = others.map(|line| format!("{line}\n")).collect();
    format!("epoch = {epoch}\n{others}")
}

/// Replaces a private file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace_private(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Only the end of the journal is of interest.
struct Unread;

impl Fold for Unread {
    fn reset(&mut self) {}
    fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(())
    }
    fn apply(&mut self, _: Replayed<'_>) -> Result<(), FoldError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_changed_and_nothing_else() {
        let text = "# ours\naxis = \"vn\"\nepoch = 1\nid = \"R1\"\n[metrics]\nlisten = \"127.0.0.1:1\"\nepoch = 7\n";
        let edited = with_epoch(text, 2);
        assert_eq!(edited, format!("epoch = 2\n{}", text.replacen("epoch = 1\n", "", 1)));
        assert_eq!(with_epoch("id = \"R1\"\n", 3), "epoch = 3\nid = \"R1\"\n");
    }
}
