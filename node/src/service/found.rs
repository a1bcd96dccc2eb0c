//! Finds documents wherever they are: in memory, or, once they left it, through the archive.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use truc_ledger::index::IndexError;
use truc_proto::{AgencyId, Digest, EnvelopeId};

use super::Error;
use crate::{
    archive::{Archive, Rejected},
    core::{Key, OwnCheckpoint, Received, Sent},
    records::About,
    shell::Shell,
};

/// What we sent under this envelope id.
pub(crate) async fn sent(
    shell: &Arc<Shell>,
    envelope: EnvelopeId,
) -> Result<(Vec<Sent>, Option<OwnCheckpoint>), Error> {
    let found =
        shell.engine.ask(move |core| (core.sent_of(envelope).cloned().collect::<Vec<_>>(), core.own_checkpoint()));
    let (mut sent, own) = found.await?;
    if sent.is_empty() {
        let archive = shell.archive.clone();
        let found = shell.work("looking into the archive", move || look(&archive, true, envelope)).await?;
        sent = found.map_err(|error| no_answer(&error))?.0;
    }
    Ok((sent, own))
}

/// What is not in memory may have left it this moment: then the index is waited for.
fn look(archive: &Archive, gone: bool, envelope: EnvelopeId) -> Result<(Vec<Sent>, Vec<Received>), IndexError> {
    if gone {
        archive.catch_up();
    }
    archive.of_envelope(envelope)
}

/// Not known now is not the same as not there.
pub(crate) fn no_answer(error: &IndexError) -> Error {
    Error::unavailable(format!(
        "documents closed long ago cannot be looked up now: {error}; those still open can / Chưa thể tra cứu các văn bản đã đóng: chỉ mục đang được dựng lại; hãy thử lại sau"
    ))
}

/// Envelopes with documents of `sender` that carry this edXML DocumentId, newest first: what we sent, or what we received.
pub(crate) async fn by_document_id(
    shell: &Shell,
    sent: bool,
    sender: &AgencyId,
    document_id: &str,
) -> Result<Vec<EnvelopeId>, Error> {
    let (archive, of, name) = (shell.archive.clone(), sender.clone(), document_id.to_owned());
    let look = move || archive.of_document_id(sent, &of, &name);
    shell.work("looking up a document", look).await?.map_err(|error| no_answer(&error))
}

/// How the document at this position of the journal is described.
pub(crate) async fn about(shell: &Shell, position: u64) -> Result<About, Error> {
    let bodies = shell.bodies();
    let read = shell.work("reading a document's description", move || bodies.about(position)).await?;
    read.map_err(|error| Error::internal(crate::chain(&error)))
}

/// What we received under this envelope id, from whatever sender: what is open, and what left memory.
pub(crate) async fn received(shell: &Arc<Shell>, envelope: EnvelopeId) -> Result<Vec<Received>, Error> {
    let found = shell.engine.ask(move |core| core.received_of(envelope).cloned().collect::<Vec<_>>());
    let mut received = found.await?;
    let archive = shell.archive.clone();
    let gone = received.is_empty();
    let closed = shell.work("looking into the archive", move || look(&archive, gone, envelope)).await?;
    let closed = match closed {
        Ok((_, closed)) => closed,
        // What is open can be dealt with meanwhile.
        Err(_) if !received.is_empty() => Vec::new(),
        Err(error) => return Err(no_answer(&error)),
    };
    let open: HashSet<Key> = received.iter().map(|received| received.key.clone()).collect();
    received.extend(closed.into_iter().filter(|closed| !open.contains(&closed.key)));
    Ok(received)
}

/// The received document with this envelope id for this code. Without `sender` it must be the only one of that name.
pub(crate) async fn received_for(
    shell: &Arc<Shell>,
    envelope: EnvelopeId,
    code: &AgencyId,
    sender: Option<&AgencyId>,
) -> Result<Option<Received>, Error> {
    one_for(received(shell, envelope).await?, envelope, code, sender)
}

fn one_for(
    mut found: Vec<Received>,
    envelope: EnvelopeId,
    code: &AgencyId,
    sender: Option<&AgencyId>,
) -> Result<Option<Received>, Error> {
    found.retain(|received| received.codes.contains_key(code) && sender.is_none_or(|s| *s == received.key.sender));
    // A copied id on something that never became a document must not stand in the way of the document.
    let readable = |received: &Received| received.codes.get(code).is_some_and(|code| code.consigned_at.is_some());
    if found.iter().any(readable) {
        found.retain(readable);
    }
    one_sender(envelope, found.iter().map(|received| &received.key.sender))?;
    Ok(found.into_iter().next())
}

/// An envelope id alone names a document only while one sender used it.
pub(crate) fn one_sender<'a>(
    envelope: EnvelopeId,
    senders: impl IntoIterator<Item = &'a AgencyId>,
) -> Result<(), Error> {
    let senders: BTreeSet<&AgencyId> = senders.into_iter().collect();
    if senders.len() <= 1 {
        return Ok(());
    }
    let names = senders.into_iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ");
    Err(Error::not_now(format!(
        "several senders used the envelope id {envelope}: {names}; say whose is meant in `sender` (truc: --sender) / Mã gói tin {envelope} được nhiều bên gửi dùng: {names}; hãy nêu bên gửi trong `sender` (truc: --sender)"
    )))
}

/// The optional `sender` of a request.
pub(crate) fn sender_of(text: &str) -> Result<Option<AgencyId>, Error> {
    let read = |text: &str| text.parse().map_err(|error| Error::invalid(format!("`sender`: {error}")));
    (!text.is_empty()).then(|| read(text)).transpose()
}

/// The document that a leaf is about: sent, received.
pub(crate) async fn by_leaf(
    shell: &Arc<Shell>,
    leaf: Digest,
) -> Result<(Option<Sent>, Option<Received>, Option<OwnCheckpoint>), Error> {
    let found = shell.engine.ask(move |core| {
        (core.sent_by_leaf(&leaf).cloned(), core.received_by_leaf(&leaf).cloned(), core.own_checkpoint())
    });
    let (sent, received, own) = found.await?;
    if sent.is_some() || received.is_some() {
        return Ok((sent, received, own));
    }
    let archive = shell.archive.clone();
    let look = move || {
        archive.catch_up();
        archive.by_leaf(&leaf)
    };
    let found = shell.work("looking into the archive", look).await?;
    let (sent, received) = found.map_err(|error| no_answer(&error))?;
    Ok((sent, received, own))
}

/// What requests of `sender` under this key led to: an envelope, and rejections.
pub(crate) async fn by_request(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    idempotency_key: &str,
) -> Result<(Option<Sent>, Vec<Rejected>, Option<OwnCheckpoint>), Error> {
    let (of, name) = (sender.clone(), idempotency_key.to_owned());
    let open = shell.engine.ask(move |core| (core.sent_by_request(&of, &name).cloned(), core.own_checkpoint()));
    let (sent, own) = open.await?;
    let (archive, of, name) = (shell.archive.clone(), sender.clone(), idempotency_key.to_owned());
    let look = move || {
        archive.catch_up();
        let rejections = archive.rejections(&of, &name)?;
        Ok((sent.or_else(|| archive.sent(&archive.request(&of, &name)?.0)), rejections))
    };
    let found: Result<_, IndexError> = shell.work("looking into the archive", look).await?;
    let (sent, rejections) = found.map_err(|error| no_answer(&error))?;
    Ok((sent, rejections, own))
}

/// The rejection that a leaf is.
pub(crate) async fn rejection(shell: &Arc<Shell>, leaf: Digest) -> Result<Option<Rejected>, Error> {
    let archive = shell.archive.clone();
    let look = move || {
        archive.catch_up();
        archive.rejection(&leaf)
    };
    let found = shell.work("looking into the archive", look).await?;
    found.map_err(|error| no_answer(&error))
}
