//! The business statuses about a document as a bundle brings them: what was said, as it was sealed, and what proves who said it.

use std::{collections::BTreeSet, sync::Arc};

use truc_proto::{AgencyId, EventUri, Role, limits::BUNDLE_STATUSES_MAX, node_v1};

use super::super::{Error, envelope_id, found};
use crate::{
    core::Step,
    records::{Body, OpeningParts},
    shell::Shell,
    tokens::Grant,
};

/// A status's folder, its files, and the receipts that go with it.
pub(super) struct StatusFiles {
    /// Below `statuses/`.
    pub(super) folder: String,
    /// `status.json`.
    pub(super) status: Vec<u8>,
    /// The signature of its container; empty where it was not kept or nobody signed.
    pub(super) signature: Vec<u8>,
    /// Leaf hash and file name of each.
    pub(super) receipts: Vec<(Vec<u8>, String)>,
}

/// Those of these that go into a bundle with room for so many entries, and how many do not: the latest are in it.
pub(super) async fn find(
    shell: &Arc<Shell>,
    grant: &Grant,
    notes: &[node_v1::StatusNote],
    room: usize,
) -> Result<(Vec<StatusFiles>, usize), Error> {
    let mut found = Vec::new();
    let mut entries = 0;
    // The list is in the order of time.
    for note in notes.iter().rev().take(BUNDLE_STATUSES_MAX) {
        let Some(files) = one(shell, grant, note).await? else { continue };
        entries += files.receipts.len() + 2;
        if entries > room {
            break;
        }
        found.push(files);
    }
    found.reverse();
    let left_out = notes.len() - found.len();
    Ok((found, left_out))
}

/// None: nothing shows what it was, for it is older than the openings.
async fn one(shell: &Arc<Shell>, grant: &Grant, note: &node_v1::StatusNote) -> Result<Option<StatusFiles>, Error> {
    let envelope = envelope_id(&note.envelope)?;
    let from: AgencyId =
        note.from.parse().map_err(|error| Error::internal(format!("a status by no agency code: {error}")))?;
    let (sent, _) = found::sent(shell, envelope).await?;
    let sent = sent.into_iter().find(|sent| sent.key.sender == from && grant.allows(&from));
    let (steps, body) = match sent {
        Some(sent) => (sent.steps, Some(sent.body)),
        None => {
            let received = found::received(shell, envelope).await?.into_iter();
            let mut received = received.filter(|received| received.key.sender == from);
            let Some(received) = received.find(|received| received.codes.keys().any(|code| grant.allows(code))) else {
                return Ok(None);
            };
            (received.steps, received.content)
        }
    };
    let Some(body) = body else { return Ok(None) };
    let bodies = shell.bodies();
    let read = shell.work("reading a status", move || bodies.body(body)).await?;
    let (status, opening) = match read.map_err(|error| Error::internal(crate::chain(&error)))?.0 {
        Body::Outgoing(outgoing) => (outgoing.status, outgoing.opening),
        Body::Content(content) => (content.status, Some(content.opening)),
        Body::TakenOver(taken) => (taken.content.status, Some(taken.content.opening)),
        _ => return Err(Error::internal("a status's record is not where it should be")),
    };
    let Some(OpeningParts { signature, .. }) = opening.filter(|_| !status.is_empty()) else { return Ok(None) };
    let mut seen = BTreeSet::new();
    let receipts = steps.iter().filter(|step| proves(step) && seen.insert(step.event.name()));
    let receipts = receipts.map(|step| (step.leaf.as_bytes().to_vec(), format!("{}.receipt", step.event.name())));
    Ok(Some(StatusFiles { folder: format!("{from}/{envelope}"), status, signature, receipts: receipts.collect() }))
}

/// Who states it, and who has it: what lies between says nothing more about either.
const fn proves(step: &Step) -> bool {
    match step.event {
        EventUri::SubmissionAcceptance | EventUri::ReceivedFromNonErds | EventUri::ContentConsignment => true,
        EventUri::RelayToNonErds => matches!(step.role, Role::Sender),
        _ => false,
    }
}
