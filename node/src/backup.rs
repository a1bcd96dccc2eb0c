//! What a backup of a node takes along.

use std::path::{Path, PathBuf};

use truc_evidence::{BackupMade, BackupSource};
use truc_proto::{BackupKind, Timestamp};

use crate::settings::Settings;

/// Of the node with these settings.
#[must_use]
pub fn source(settings: &Settings, documents: bool) -> BackupSource {
    BackupSource {
        kind: BackupKind::Node,
        axis: settings.axis.clone(),
        lane: settings.lane,
        id: settings.id.clone(),
        origin: settings.origin(),
        tag: settings.store_tag(),
        folder: settings.folder.clone(),
        outside: settings.files_outside(),
        documents,
    }
}

/// Makes a backup of the node with these settings.
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
    let _one_epoch = crate::storage_key::guard::hold(settings)?;
    truc_custody::backup::make(&source(settings, documents), target, administrators, now)
}
