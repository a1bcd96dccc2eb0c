//! From the commit marker to the end. Each step can be done again: a start finishes what a crash cut off, or undoes what was not committed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use truc_ledger::volume::{DirVolume, Volume as _};
use truc_proto::limits::STORAGE_KEY_FILE_BYTES_MAX;
use truc_signer::{KeyFile, StorageKey};

use super::{Step, changes, guard};
use crate::{
    service::certificates::{destroy, overwrite},
    settings::Settings,
    tokens::{read_private, replace_private},
};

/// Where a rotation is prepared.
const STAGED: &str = "rotation.staged";
/// The same folder once it counts: the name is the commit marker.
const COMMITTED: &str = "rotation";
/// The same folder once everything is in its place.
const DONE: &str = "rotation.done";

pub(super) const KEY: &str = "storage.key";
pub(super) const DOCUMENT_KEYS: &str = "document-keys";
pub(super) const CHANGES: &str = "changes";

/// How far a rotation that was interrupted had come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOver {
    /// Nothing counts yet: the next start undoes it.
    Staged,
    /// It counts: the next start finishes it.
    Committed,
    /// Everything is in its place: the next start sweeps up.
    Done,
}

fn folder(settings: &Settings, name: &str) -> PathBuf {
    settings.store().join(name)
}

pub(super) fn staged(settings: &Settings) -> PathBuf {
    folder(settings, STAGED)
}

/// What an interrupted rotation left.
#[must_use]
pub fn left_over(settings: &Settings) -> Option<LeftOver> {
    let found = |(name, what)| folder(settings, name).exists().then_some(what);
    [(COMMITTED, LeftOver::Committed), (STAGED, LeftOver::Staged), (DONE, LeftOver::Done)].into_iter().find_map(found)
}

/// Whether a rotation was interrupted, so that what lies on the disk may be of two epochs.
pub(crate) fn is_unfinished(settings: &Settings) -> bool {
    left_over(settings).is_some()
}

/// Finishes or undoes what a crash cut off; nothing where there is nothing. For starts, before anything is read that lies under the storage key.
///
/// # Errors
/// When another process uses the store, or a file cannot be read or written: the next start tries again.
pub fn finish(settings: &Settings) -> anyhow::Result<()> {
    let Some(found) = left_over(settings) else { return Ok(()) };
    let volume = Arc::new(DirVolume::create(settings.store()).context("open the store's folder")?);
    let _lock = volume.lock().context("take the store")?;
    let _alone = guard::hold_alone(settings)?;
    tracing::warn!(state = ?found, "a rotation of the storage key was interrupted");
    settle(settings, &mut |_| Ok(()))
}

/// The same, of who has store and epoch.
pub(super) fn settle(settings: &Settings, step: &mut dyn FnMut(Step) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if folder(settings, COMMITTED).exists() {
        install(settings, step)?;
        tracing::info!("the rotation of the storage key was finished");
    }
    discard(settings)
}

/// Everything in `staged` counts from here on.
pub(super) fn commit(settings: &Settings) -> io::Result<()> {
    let staged = staged(settings);
    sync(&staged)?;
    fs::rename(&staged, folder(settings, COMMITTED))?;
    sync(&settings.store())
}

/// Puts everything into its place.
pub(super) fn install(settings: &Settings, step: &mut dyn FnMut(Step) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let from = folder(settings, COMMITTED);
    let new = StorageKey::load(&from.join(KEY)).context("load the new storage key")?;
    let (keys, target) = (from.join(DOCUMENT_KEYS), settings.document_keys());
    if keys.exists() {
        fs::rename(&keys, &target).with_context(|| format!("write {}", target.display()))?;
        sync(&settings.store())?;
    }
    let epoch = KeyFile::open(&target)?.head().epoch;
    if epoch != new.epoch() {
        bail!(
            "{} is of epoch {epoch}, the new storage key of {}: restore the node from its backup",
            target.display(),
            new.epoch()
        );
    }
    step(Step::KeyFileInPlace)?;
    changes::apply(&from.join(CHANGES), settings)?;
    step(Step::SecretsInPlace)?;
    let place = &settings.storage_key;
    if StorageKey::load(place).ok().is_none_or(|held| held.epoch() != epoch) {
        // Its name stays: without the file the settings could not even be read.
        overwrite(place).with_context(|| format!("destroy the old key in {}", place.display()))?;
        step(Step::OldKeyDestroyed)?;
        let (text, _) = read_private(&from.join(KEY), STORAGE_KEY_FILE_BYTES_MAX as u64)?;
        let text = zeroize::Zeroizing::new(text);
        replace_private(place, text.as_bytes()).with_context(|| format!("write {}", place.display()))?;
    }
    step(Step::NewKeyInPlace)?;
    fs::rename(&from, folder(settings, DONE)).context("end the rotation")?;
    sync(&settings.store())?;
    step(Step::Ended)
}

/// Removes what was prepared, and what was left of a rotation that ended. A key in it is overwritten: it would open things for ever.
pub(super) fn discard(settings: &Settings) -> anyhow::Result<()> {
    for name in [STAGED, DONE] {
        let folder = folder(settings, name);
        if folder.exists() {
            destroy(&folder.join(KEY)).context("overwrite a copy of the storage key")?;
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
            sync(&settings.store())?;
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
