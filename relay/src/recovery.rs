//! `truc-relay recover`: a ledger put back from an old copy goes on under a new origin, which names the checkpoint that nodes hold and this relay has
//! lost.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use anyhow::{Context as _, bail};
use clap::Args;
use truc_evidence::{NewOrigin, forget_behind, forget_restored, last_known, ledger_origin};
use truc_ledger::{Fold, FoldError, LedgerKey, Record, Replayed, volume::DirVolume};
use truc_proto::{Checkpoint, LoggedCheckpoint, Raw, Timestamp, limits::ADMINISTRATION_WHY_CHARS_MAX};
use truc_signer::SoftKey;

use crate::{
    SETTINGS_FILE, Settings,
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
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who asked for it.
    #[arg(long, value_name = "NAME")]
    who: String,
}

/// A new origin, begun.
#[derive(Debug)]
pub struct Begun {
    /// The request to be bound, for the axis operator.
    pub binding: PathBuf,
    /// The new origin.
    pub origin: String,
    /// The last checkpoint known of the old one.
    pub known: Checkpoint,
    /// Leaves of the old one that the new one continues.
    pub kept: u64,
}

/// Carries out `truc-relay recover`.
///
/// # Errors
/// What stands against it; the relay is as it was then.
#[expect(clippy::print_stdout, reason = "what the administrator asked for")]
pub(crate) fn recover(arguments: &RecoverArgs, now: Timestamp) -> anyhow::Result<()> {
    let settings = Settings::load(&arguments.dir)?;
    let begun = begin(&settings, arguments.without_peer, &arguments.who, &arguments.why, now)?;
    let (old, new) = (begun.known.origin(), &begun.origin);
    let (size, kept, binding) = (begun.known.size, begun.kept, begun.binding.display());
    println!(
        "The ledger goes on as {new}. Of {old} the last known checkpoint has {size} leaves; {kept} of them are here.\n\
         1. Start the relay. The operator publishes again, in their order, directory versions that it lost, if there are any.\n\
         2. {binding}: `truc directory add`, `sign`, `publish`. From that version on nodes take the new ledger, and hand over again what was lost.\n\
         Sổ tiếp tục với tên {new}. Điểm chốt cuối được biết của {old} có {size} dòng; ở đây còn {kept} dòng.\n\
         1. Khởi động trục. Đơn vị vận hành công bố lại, đúng thứ tự, các phiên bản danh bạ bị mất, nếu có.\n\
         2. {binding}: `truc directory add`, `sign`, `publish`. Từ phiên bản đó các nút nhận sổ mới và nộp lại những gì bị mất."
    );
    Ok(())
}

/// Begins a new origin epoch: a new ledger key, the request to be bound with it, a leaf with the last known checkpoint, and settings that say so. Cut
/// off anywhere, it can be done again.
///
/// # Errors
/// What stands against it; the relay is as it was then.
pub fn begin(settings: &Settings, without_peer: bool, who: &str, why: &str, now: Timestamp) -> anyhow::Result<Begun> {
    if who.trim().is_empty() || why.trim().is_empty() || why.chars().count() > ADMINISTRATION_WHY_CHARS_MAX {
        bail!("say who and why, in at most {ADMINISTRATION_WHY_CHARS_MAX} characters");
    }
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
    let soft =
        |name: &str| SoftKey::load_pem(&settings.key(&format!("{name}.pem")), &settings.key(&format!("{name}.key")));
    let (node, tls) = (soft("node").context("load the node key")?, soft("tls").context("load the TLS key")?);
    let witness = Some(settings.key("witness.key")).filter(|path| path.exists());
    let witness =
        witness.map(|path| LedgerKey::from_file(&origin, &path)).transpose().context("load the witness key")?;
    let new = NewOrigin {
        axis: &settings.axis,
        lane: settings.lane,
        id: &settings.id,
        relay: true,
        epoch,
        ledger: &key,
        witness: witness.as_ref(),
        nodes: &[&node],
        tls: std::slice::from_ref(tls.certificate()),
    };
    let binding = settings.dir.join(format!("{}-{epoch}.binding", settings.id));
    replace(&binding, new.request(now).context("make the binding request")?.bytes())?;

    let (size, root) = (known.size, known.root);
    let leaf = LoggedCheckpoint { node: settings.id.clone(), origin: known.origin().to_owned(), size, root, time: now };
    let leaf = Raw::write(leaf)?.bytes().to_vec();
    let begun =
        OriginBegun { time_ms: now.unix_ms(), origin: origin.clone(), who: who.to_owned(), why: why.to_owned() };
    let record = Record::with_leaf(records::RelayRecord::encoded(Body::OriginBegun(begun)), leaf);
    let (done, waits) = mpsc::channel();
    ledger.submit(vec![record], Box::new(move |_| _ = done.send(())))?;
    waits.recv().context("the journal did not take the record")?;
    ledger.close();
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
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().with_context(|| format!("write {}", path.display()))
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
