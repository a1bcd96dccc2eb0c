//! Who writes or copies what lies under the storage key does so under one epoch from beginning to end: a rotation keeps others away.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, bail};
use truc_ledger::volume::DirVolume;

use super::is_unfinished;
use crate::settings::Settings;

const LOCK: &str = "storage-key.lock";

/// Holds the epoch; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Guard(#[expect(dead_code, reason = "held for its drop, which gives the lock back")] File);

/// For backups, and commands that wrap something: several at once, no rotation meanwhile.
pub(crate) fn hold(settings: &Settings) -> anyhow::Result<Guard> {
    let file = open(settings)?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("the storage key is being rotated; try again when that is done"),
        Err(TryLockError::Error(source)) => return Err(source).context("lock the storage key's epoch"),
    }
    if is_unfinished(settings) {
        bail!("a rotation of the storage key was interrupted: start the node, which finishes it, and try again");
    }
    Ok(Guard(file))
}

/// For the rotation: nobody else.
pub(super) fn hold_alone(settings: &Settings) -> anyhow::Result<Guard> {
    let file = open(settings)?;
    match file.try_lock() {
        Ok(()) => Ok(Guard(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("a backup is being made, or another command writes secrets; try again when that is done")
        }
        Err(TryLockError::Error(source)) => Err(source).context("lock the storage key's epoch"),
    }
}

fn open(settings: &Settings) -> anyhow::Result<File> {
    let open = || -> io::Result<File> {
        let store = settings.store();
        DirVolume::create(&store)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(store.join(LOCK))
    };
    open().context("open store/storage-key.lock")
}
