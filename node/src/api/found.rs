//! Finds documents wherever they are: in memory, or, once they left it, through the archive.

use std::sync::Arc;

use tonic::Status;
use truc_proto::{AgencyId, Digest, EnvelopeId};

use super::{broke_off, stopped};
use crate::{
    core::{Key, OwnCheckpoint, Received, Sent},
    shell::Shell,
};

/// What we sent under this envelope id.
pub(super) async fn sent(
    shell: &Arc<Shell>,
    envelope: EnvelopeId,
) -> Result<(Vec<Sent>, Option<OwnCheckpoint>), Status> {
    let found =
        shell.engine.ask(move |core| (core.sent_of(envelope).cloned().collect::<Vec<_>>(), core.own_checkpoint()));
    let (mut sent, own) = found.await.map_err(stopped)?;
    if sent.is_empty() {
        let archive = shell.archive.clone();
        sent =
            shell.work("looking into the archive", move || archive.of_envelope(envelope).0).await.map_err(broke_off)?;
    }
    Ok((sent, own))
}

/// What we received under this envelope id.
pub(super) async fn received(shell: &Arc<Shell>, envelope: EnvelopeId) -> Result<Vec<Received>, Status> {
    let found = shell.engine.ask(move |core| core.received_of(envelope).cloned().collect::<Vec<_>>());
    let mut received = found.await.map_err(stopped)?;
    if received.is_empty() {
        let archive = shell.archive.clone();
        received =
            shell.work("looking into the archive", move || archive.of_envelope(envelope).1).await.map_err(broke_off)?;
    }
    Ok(received)
}

/// The received document with this envelope id for this code; of several senders' the first that was taken.
pub(super) async fn received_for(
    shell: &Arc<Shell>,
    envelope: EnvelopeId,
    code: &AgencyId,
) -> Result<Option<Received>, Status> {
    let found = received(shell, envelope).await?.into_iter();
    Ok(found.filter(|received| received.codes.contains_key(code)).min_by_key(|received| received.body))
}

/// The document that a leaf is about: sent, received.
pub(super) async fn by_leaf(
    shell: &Arc<Shell>,
    leaf: Digest,
) -> Result<(Option<Sent>, Option<Received>, Option<OwnCheckpoint>), Status> {
    let found = shell.engine.ask(move |core| {
        (core.sent_by_leaf(&leaf).cloned(), core.received_by_leaf(&leaf).cloned(), core.own_checkpoint())
    });
    let (sent, received, own) = found.await.map_err(stopped)?;
    if sent.is_some() || received.is_some() {
        return Ok((sent, received, own));
    }
    let archive = shell.archive.clone();
    let (sent, received) =
        shell.work("looking into the archive", move || archive.by_leaf(&leaf)).await.map_err(broke_off)?;
    Ok((sent, received, own))
}

/// What an idempotency key led to, when that has left memory: the envelope and the request's hash.
pub(super) async fn request(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    idempotency_key: &str,
) -> Result<Option<(Key, Digest)>, Status> {
    let (archive, sender, name) = (shell.archive.clone(), sender.clone(), idempotency_key.to_owned());
    shell.work("looking into the archive", move || archive.request(&sender, &name)).await.map_err(broke_off)
}
