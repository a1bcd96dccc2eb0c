//! `truc-node bind`: the request by which the operator binds the node's own keys, and the witness key for a node that has none. Agencies' keys are bound
//! by `truc cert rotate`.

use std::path::Path;

use truc_custody::{Asked, OwnEntry};
use truc_ledger::LedgerKey;
use truc_proto::{Administrator, Timestamp};
use truc_signer::Certificate;

use crate::settings::Settings;

/// Writes `ID.binding` into the node's folder, the node's entry with its own keys that settings name, and makes the witness key where there is none.
///
/// # Errors
/// When a key cannot be used, or a file not be written.
pub fn bind(settings: &Settings, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Asked> {
    entry(settings).bind(serves(settings, now), who, why, now)
}

/// The same entry under another epoch and ledger key, as a request to be bound.
pub(crate) fn write_request(
    settings: &Settings,
    epoch: u64,
    ledger: &LedgerKey,
    file: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    OwnEntry { epoch, ..entry(settings) }.write_request(ledger, serves(settings, now), file, now).map(drop)
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
    }
}

/// Keys that are over, or were declared stolen or lost, speak for nobody and are left out.
fn serves(settings: &Settings, now: Timestamp) -> impl Fn(&Certificate) -> bool {
    move |certificate| now < certificate.not_after() && !settings.stopped.contains(&certificate.sha256())
}
