//! The rotation itself: everything is prepared beside what serves, read back with the key as it lies on the device, and then counts at once.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use truc_ledger::{Fold, FoldError, Ledger, LedgerKey, Replayed, volume::DirVolume};
use truc_proto::{AdminAction, AdminSubject, Administrator, Digest, Timestamp};
use truc_signer::{
    KeyFile, KeyFileWriter, StorageKey,
    keyfile::{WrappedSecret, unwrapped},
};

use super::{
    LeftOver, Others, Step, changes,
    gather::{Fate, Gathered, fate, gather},
    guard,
    install::{CHANGES, DOCUMENT_KEYS, KEY, commit, discard, install, settle, staged},
};
use crate::{
    administration::{self, done},
    core::Deed,
    pipe::Carried,
    settings::Settings,
    tokens::write_private,
    vault::Vault,
};

/// What a rotation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// The new epoch.
    pub epoch: u32,
    /// Documents whose keys were carried over.
    pub kept: u64,
    /// Documents of which the salt alone was carried over, in this rotation or an earlier one.
    pub erased: u64,
    /// Keys that were destroyed with the old epoch's: of documents that were removed or closed, and of drafts that became documents.
    pub destroyed: u64,
    /// What else got the new key.
    pub others: Others,
}

/// Rotates the storage key of a node that is not running.
///
/// # Errors
/// What stands against it. Unless it says that the rotation will be finished, the node is as it was.
pub fn rotate(settings: &Settings, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Rotated> {
    let say = &mut |step: Step| {
        tracing::info!(step = step.as_str(), "rotating the storage key");
        Ok(())
    };
    alone(settings, who, why, now, say, |error| match super::left_over(settings) {
        Some(LeftOver::Staged) => match discard(settings) {
            Ok(()) => error,
            Err(left) => error.context(format!("{left:#}; the next start of the node removes what was prepared")),
        },
        Some(_) => error.context(
            "the rotation counts and is not finished: mend what follows and start the node, which finishes it",
        ),
        None => error,
    })
}

/// The same; `step` is told of each step when it is done, and what it refuses ends everything there, as a crash would.
///
/// # Errors
/// As [`rotate`], and when `step` refuses.
pub fn rotate_in_steps(
    settings: &Settings,
    who: Administrator,
    why: String,
    now: Timestamp,
    step: &mut dyn FnMut(Step) -> anyhow::Result<()>,
) -> anyhow::Result<Rotated> {
    alone(settings, who, why, now, step, |error| error)
}

/// Takes epoch and store, and gives them back when everything is done, or tidied up.
fn alone(
    settings: &Settings,
    who: Administrator,
    why: String,
    now: Timestamp,
    step: &mut dyn FnMut(Step) -> anyhow::Result<()>,
    tidy_up: impl FnOnce(anyhow::Error) -> anyhow::Error,
) -> anyhow::Result<Rotated> {
    let deed =
        |what: String| done(AdminAction::StorageKeyRotated, AdminSubject::named(what), who.clone(), why.clone(), now);
    deed("epoch".into()).check(&settings.id).context("nothing was done; correct --who or --why")?;
    let _alone = guard::hold_alone(settings)?;
    // It holds the store, so that no node starts meanwhile.
    let ledger = open_journal(settings)?;
    let rotated = carry_through(settings, &ledger, &deed, now, step).map_err(tidy_up);
    ledger.close();
    rotated
}

fn carry_through(
    settings: &Settings,
    ledger: &Ledger,
    deed: &dyn Fn(String) -> Deed,
    now: Timestamp,
    step: &mut dyn FnMut(Step) -> anyhow::Result<()>,
) -> anyhow::Result<Rotated> {
    settle(settings, &mut |_| Ok(()))?;
    let vault = Vault::open(settings)?;
    if let Some(file) = vault.carried() {
        file.check()?;
    }
    let old = vault.key();
    let epoch = old.epoch().checked_add(1).context("there is no epoch after this one")?;

    let folder = staged(settings);
    DirBuilder::new().mode(0o700).create(&folder).context("make a folder for what is prepared")?;
    let new = StorageKey::create(&folder.join(KEY), epoch).context("make the new storage key")?;
    check_place(&settings.storage_key, &folder.join(KEY))?;
    step(Step::KeyMade)?;

    let from = vault.carried().map_or(0, |file| file.head().position);
    let mut gathered = gather(ledger, from, old, &folder)?;
    step(Step::Gathered)?;
    let names = vault.names()?;
    let names = names.as_slice().try_into().context("the key of the index has another length")?;
    let path = folder.join(DOCUMENT_KEYS);
    let mut tally = Rotated { epoch, kept: 0, erased: 0, destroyed: 0, others: Others::default() };
    let mut writer = KeyFileWriter::create(&path, &new, (now, gathered.position), names)?;
    carry_over(&vault, &mut gathered, &mut writer, &mut tally)?;
    writer.finish()?;
    step(Step::KeyFileWritten)?;

    let Rotated { kept, destroyed, .. } = tally;
    let deed = deed(format!("epoch {epoch}: {kept} documents' keys carried over, {destroyed} destroyed"));
    let note = administration::draft(&settings.notes(), &settings.id, &deed)?;
    tally.others = changes::write(&folder.join(CHANGES), settings, (old, &new), (note.name, &note.bytes))?;
    step(Step::SecretsWritten)?;
    check(&folder, tally)?;
    step(Step::Checked)?;

    commit(settings).context("commit the rotation")?;
    step(Step::Committed)?;
    install(settings, step)?;
    discard(settings)?;
    Ok(tally)
}

/// Takes a journal as it is; what it says is read later.
pub(super) struct Passing;

impl Fold for Passing {
    fn reset(&mut self) {}

    fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(())
    }

    fn apply(&mut self, _: Replayed<'_>) -> Result<(), FoldError> {
        Ok(())
    }
}

/// Opened as for a start: a torn end, of which nothing was acknowledged, is settled before anything is read.
fn open_journal(settings: &Settings) -> anyhow::Result<Ledger> {
    let origin = settings.origin();
    let key = LedgerKey::from_file(&origin, &settings.ledger_key).context("load the ledger key")?;
    let volume = Arc::new(DirVolume::create(settings.store()).context("open the store's folder")?);
    let ledger_settings = truc_ledger::Settings::default();
    let opened = truc_ledger::open(volume, settings.store_tag(), origin, key, ledger_settings, &mut Passing);
    let (ledger, _) = opened.context("open the journal; the node must not be running")?;
    Ok(ledger)
}

/// The old key's folder takes the new one, and it will be its owner's.
fn check_place(place: &Path, made: &Path) -> anyhow::Result<()> {
    let (owner, own) = (fs::metadata(place)?.uid(), fs::metadata(made)?.uid());
    if owner != own {
        bail!(
            "{} belongs to another user, number {owner}: run this command as that user, else the node could not read what it writes",
            place.display()
        );
    }
    let probe = place.with_extension("probe.tmp");
    let written = write_private(&probe, b"").and_then(|()| fs::remove_file(&probe));
    written.with_context(|| {
        format!(
            "the new storage key cannot be written into the folder of {}: name a place in `[keys] storage` that this command can write to, move the key there, and rotate again",
            place.display()
        )
    })
}

/// The entries of the old key file and the secrets of the journal, as one rising sequence, each as its document's fate wants it.
fn carry_over(
    vault: &Vault,
    gathered: &mut Gathered,
    writer: &mut KeyFileWriter<'_>,
    tally: &mut Rotated,
) -> anyhow::Result<()> {
    let mut entries = vault.carried().into_iter().flat_map(KeyFile::entries);
    let open = |entry: Option<Result<(Digest, WrappedSecret), _>>| -> anyhow::Result<Option<(Digest, Carried)>> {
        let Some((id, wrapped)) = entry.transpose()? else { return Ok(None) };
        let carried = Carried::read(&unwrapped(vault.key(), id, &wrapped)?);
        Ok(Some((id, carried.context("an entry of the key file is of no kind that this version knows")?)))
    };
    let (mut older, mut younger) = (open(entries.next())?, gathered.next()?);
    let mut last = None;
    loop {
        let from_file = match (&older, &younger) {
            (None, None) => return Ok(()),
            (Some((older, _)), Some((younger, _))) => older <= younger,
            (older, _) => older.is_some(),
        };
        let entry = if from_file {
            std::mem::replace(&mut older, open(entries.next())?)
        } else {
            std::mem::replace(&mut younger, gathered.next()?)
        };
        // A record that was written twice.
        let Some((id, mut carried)) = entry.filter(|(id, _)| last != Some(*id)) else { continue };
        last = Some(id);
        let was_whole = carried.is_whole();
        match fate(&carried, gathered.marks_of(id)?)? {
            Fate::Kept => {}
            Fate::Erased => carried.erase(),
            Fate::Dropped => {
                tally.destroyed += 1;
                continue;
            }
        }
        let whole = carried.is_whole();
        writer.push(id, carried.bytes(), whole)?;
        *(if whole { &mut tally.kept } else { &mut tally.erased }) += 1;
        tally.destroyed += u64::from(was_whole && !whole);
    }
}

/// Nothing of the old is given up before all of the new opens with the key as it lies on the device.
fn check(folder: &Path, tally: Rotated) -> anyhow::Result<()> {
    let key = StorageKey::load(&folder.join(KEY)).context("read back the new storage key")?;
    let file = KeyFile::open(&folder.join(DOCUMENT_KEYS))?;
    file.check()?;
    file.names(&key)?;
    for entry in file.entries() {
        let (id, wrapped) = entry?;
        unwrapped(&key, id, &wrapped)?;
    }
    if (file.len(), file.whole()) != (tally.kept + tally.erased, tally.kept) {
        bail!("the new key file holds {} entries of {}; check the disk", file.len(), tally.kept + tally.erased);
    }
    File::open(folder)?.sync_all().context("sync what was prepared")
}
