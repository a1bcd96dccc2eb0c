//! `truc-node bind`: the request by which the operator binds the node's own keys, and the witness key for a node that has none. Agencies' keys are bound
//! by `truc cert rotate`.

use std::path::Path;

use truc_custody::{Asked, OwnEntry};
use truc_ledger::LedgerKey;
use truc_proto::{Administrator, Timestamp};

use crate::settings::Settings;

/// Writes `ID.binding` into the node's folder, the node's entry with its own keys that settings name, and makes the witness key where there is none.
///
/// # Errors
/// When a key cannot be used, or a file not be written.
pub fn bind(settings: &Settings, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Asked> {
    entry(settings).bind(who, why, now)
}

/// The same entry under another epoch and ledger key, as a request to be bound.
pub(crate) fn write_request(
    settings: &Settings,
    epoch: u64,
    ledger: &LedgerKey,
    file: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    OwnEntry { epoch, ..entry(settings) }.write_request(ledger, file, now)
}

fn entry(settings: &Settings) -> OwnEntry<'_> {
    OwnEntry {
        axis: &settings.axis,
        lane: settings.lane,
        id: &settings.id,
        relay: false,
        epoch: settings.epoch,
        folder: &settings.folder,
        ledger_key: settings.ledger_key.clone(),
        witness_key: settings.witness_key.clone(),
        node_keys: &settings.node_keys,
        tls_keys: &settings.tls_keys,
        stopped: Some(&settings.stopped),
    }
}
