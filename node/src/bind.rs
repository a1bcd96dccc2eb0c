//! `truc-node bind`: the request by which the operator binds the node's own keys, and the witness key for a node that has none. Agencies' keys are bound
//! by `truc cert rotate`.

use std::path::Path;

use anyhow::Context as _;
use truc_custody::{Asked, REQUEST, REQUEST_WITH_WITNESS, Witness, files::replace_private};
use truc_evidence::{NewOrigin, ledger_origin};
use truc_ledger::LedgerKey;
use truc_proto::{AdminAction, AdminSubject, Administrator, Digest, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::{
    administration::done,
    command::note,
    settings::{KeySource, Settings},
};

/// Writes `ID.binding` into the node's folder, the node's entry with all its own keys that settings name, signed by those that sign checkpoints. Makes the
/// witness key where there is none. The node may be running; nothing changes before the directory binds what is asked for.
///
/// # Errors
/// When a key cannot be used, or a file not be written.
pub fn bind(settings: &Settings, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Asked> {
    let deed = |subject| done(AdminAction::CertificateRotated, subject, who.clone(), why.clone(), now);
    deed(AdminSubject::named("rotation")).check(&settings.id).context("nothing was done; correct --who or --why")?;
    let key = LedgerKey::from_file(&settings.origin(), &settings.ledger_key).context("load the ledger key")?;
    let file = settings.folder.join(format!("{}.binding", settings.id));
    let (_, made) = Witness::make(&settings.origin(), &settings.witness_key)?;
    let request = write_request(settings, settings.epoch, &key, &file, now)?;
    let what = if made { REQUEST_WITH_WITNESS } else { REQUEST };
    note(settings, &deed(AdminSubject::with_hash(what, request)))?;
    Ok(Asked { file, witness_made: made.then(|| settings.witness_key.clone()) })
}

/// The node's entry under this epoch and ledger key, with its own keys that settings name, as a request to be bound; its SHA-256. Keys that are over, or
/// were declared stolen or lost, speak for nobody and are left out.
pub(crate) fn write_request(
    settings: &Settings,
    epoch: u64,
    ledger: &LedgerKey,
    file: &Path,
    now: Timestamp,
) -> anyhow::Result<Digest> {
    let serves =
        |certificate: &Certificate| now < certificate.not_after() && !settings.stopped.contains(&certificate.sha256());
    let nodes = settings.node_keys.iter().map(KeySource::load_signing).collect::<Result<Vec<_>, _>>();
    let nodes = nodes.context("load the node's keys")?;
    let nodes: Vec<&dyn SigningKey> = nodes.iter().map(AsRef::as_ref).filter(|key| serves(key.certificate())).collect();
    let tls = settings.tls_keys.iter().map(KeySource::certificate).collect::<Result<Vec<_>, _>>();
    let mut tls = tls.context("load the TLS keys")?;
    tls.retain(serves);
    let origin = ledger_origin(&settings.axis, settings.lane, &settings.id, epoch);
    let witness = Witness::open(&origin, &settings.witness_key).context("load the witness key")?.key();
    let entry = NewOrigin {
        axis: &settings.axis,
        lane: settings.lane,
        id: &settings.id,
        relay: false,
        epoch,
        ledger,
        witness: witness.as_deref(),
        nodes: &nodes,
        tls: &tls,
    };
    let request = entry.request(now).context("make the binding request")?;
    replace_private(file, request.bytes()).with_context(|| format!("write {}", file.display()))?;
    Ok(Digest::of(request.bytes()))
}
