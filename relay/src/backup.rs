//! What a backup of a relay takes along.

use std::path::{Path, PathBuf};

use truc_evidence::{BackupMade, BackupSource};
use truc_proto::{BackupKind, Timestamp};

use crate::Settings;

/// Of the relay with these settings.
#[must_use]
pub fn source(settings: &Settings, documents: bool) -> BackupSource {
    let anchors = settings.time_stamps.iter().filter_map(|stamps| stamps.anchors.as_deref());
    let anchors = anchors.chain(settings.revocation.iter().filter_map(|revocation| revocation.anchors.as_deref()));
    let keys = settings.tls_keys.iter().chain(&settings.node_keys).flat_map(|key| key.files());
    let outside = anchors.chain(keys).filter(|path| !path.starts_with(&settings.dir));
    let mut outside: Vec<PathBuf> = outside.map(Path::to_owned).collect();
    outside.sort();
    outside.dedup();
    BackupSource {
        kind: BackupKind::Relay,
        axis: settings.axis.clone(),
        lane: settings.lane,
        id: settings.id.clone(),
        origin: settings.origin(),
        tag: settings.store_tag(),
        folder: settings.dir.clone(),
        outside,
        documents,
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
    truc_custody::backup::make(&source(settings, documents), target, administrators, now)
}
