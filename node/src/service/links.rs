//! What documents do to each other: an update, replacement or revocation shows the documents that it names, and those show it.
//!
//! Both are found by DocumentId and sender in the look-up index, whichever came first and whether in memory or not, and each hit is held
//! against the document's own record. Only documents of one sender are linked, and only those that the same agency has.

use std::collections::{BTreeMap, BTreeSet};

use truc_ledger::index::IndexError;
use truc_proto::{AgencyId, EnvelopeId, limits::CHANGES_SHOWN_MAX, node_v1};

use super::{Error, view};
use crate::{
    archive::Archive,
    core::{Asking, Core, Key, Received, Sent},
    records::{About, Change},
    shell::{Bodies, BodyError, Shell},
};

/// Adds to each entry of the inbox what it changes and what changes it.
pub(super) async fn of_received(shell: &Shell, items: &mut [node_v1::InboxItem]) -> Result<(), Error> {
    let linked = items.iter_mut().map(|item| Linked {
        envelope: &item.envelope,
        sender: &item.sender,
        recipient: Some(item.recipient.as_str()),
        document_id: &item.document_id,
        is_document: item.status.is_none(),
        warnings: &mut item.warnings,
        change: &mut item.change,
        changed_by: &mut item.changed_by,
        recipients: &mut [],
    });
    link::<Received>(shell, linked.collect()).await
}

/// As [`of_received`], of the outbox.
pub(super) async fn of_sent(shell: &Shell, items: &mut [node_v1::OutboxItem]) -> Result<(), Error> {
    let linked = items.iter_mut().map(|item| Linked {
        envelope: &item.envelope,
        sender: &item.sender,
        recipient: None,
        document_id: &item.document_id,
        is_document: item.kind == truc_proto::EnvelopeKind::Document.to_string(),
        warnings: &mut item.warnings,
        change: &mut item.change,
        changed_by: &mut item.changed_by,
        recipients: &mut item.recipients,
    });
    link::<Sent>(shell, linked.collect()).await
}

/// Waits shortly for what the index has not taken in: a list shows what changes its documents, however late that came.
pub(super) async fn catch_up(shell: &Shell) -> Result<(), Error> {
    let archive = shell.archive.clone();
    Ok(shell.work("waiting for the index", move || archive.catch_up()).await?)
}

/// An entry of a list, as far as links go.
struct Linked<'i> {
    envelope: &'i str,
    sender: &'i str,
    recipient: Option<&'i str>,
    document_id: &'i str,
    is_document: bool,
    warnings: &'i mut Vec<String>,
    change: &'i mut Option<node_v1::Change>,
    changed_by: &'i mut Vec<node_v1::ChangedBy>,
    /// Of an entry of the outbox.
    recipients: &'i mut [node_v1::RecipientState],
}

/// What is asked of the index for one entry.
struct Question {
    sender: AgencyId,
    document_id: String,
    targets: Vec<String>,
}

/// Its answer: envelopes, the newest first.
#[derive(Default)]
struct Candidates {
    changing: Vec<EnvelopeId>,
    targets: Vec<Vec<EnvelopeId>>,
}

async fn link<D: Document>(shell: &Shell, mut linked: Vec<Linked<'_>>) -> Result<(), Error> {
    linked.retain(|item| item.is_document && (!item.document_id.is_empty() || item.change.is_some()));
    let mut questions = Vec::with_capacity(linked.len());
    for item in &linked {
        let targets = item.change.as_ref().map(|change| change.document_ids.clone()).unwrap_or_default();
        let sender = item.sender.parse().map_err(|_| Error::internal("a list names a sender that is no code"))?;
        questions.push(Question { sender, document_id: item.document_id.to_owned(), targets });
    }
    if questions.is_empty() {
        return Ok(());
    }
    let archive = shell.archive.clone();
    let ask = move || {
        // What came just now may name what came a moment before.
        if questions.iter().any(|question| !question.targets.is_empty()) {
            archive.catch_up();
        }
        let candidates = questions.iter().map(|question| candidates::<D>(&archive, question)).collect();
        (candidates, questions)
    };
    let (answer, questions): (Result<Vec<Candidates>, IndexError>, _) =
        shell.work("looking for documents that belong together", ask).await?;
    let candidates = match answer {
        Ok(candidates) => candidates,
        Err(error) => {
            // The list itself does not need the index.
            let warning = format!(
                "earlier and later documents that belong to it cannot be looked up now: {error} / Chưa thể tra cứu các văn bản liên quan trước và sau"
            );
            linked.iter_mut().for_each(|item| item.warnings.push(warning.clone()));
            return Ok(());
        }
    };
    let keys = questions.iter().zip(&candidates).flat_map(|(question, found)| {
        let all = found.changing.iter().chain(found.targets.iter().flatten());
        all.map(|envelope| Key { envelope: *envelope, sender: question.sender.clone() })
    });
    let documents = documents::<D>(shell, keys.collect()).await?;
    for ((item, question), found) in linked.into_iter().zip(&questions).zip(&candidates) {
        fill(item, question, found, &documents);
    }
    Ok(())
}

fn candidates<D: Document>(archive: &Archive, question: &Question) -> Result<Candidates, IndexError> {
    let Question { sender, document_id, targets } = question;
    let named = |changing, id: &str| match id {
        "" => Ok(Vec::new()),
        id => archive.related(D::SENT, changing, sender, id),
    };
    let changing = named(true, document_id)?;
    let targets = targets.iter().map(|id| named(false, id)).collect::<Result<_, _>>()?;
    Ok(Candidates { changing, targets })
}

/// Documents by their names, in memory or not, with what they are about.
async fn documents<D: Document>(shell: &Shell, keys: BTreeSet<Key>) -> Result<BTreeMap<Key, (D, About)>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let find = move |core: &Core| keys.into_iter().map(|key| (D::in_memory(core, &key), key)).collect::<Vec<_>>();
    let found = shell.engine.ask(find).await?;
    let (archive, bodies) = (shell.archive.clone(), shell.bodies());
    let read = move || {
        let mut documents = BTreeMap::new();
        for (open, key) in found {
            let Some(document) = open.or_else(|| D::closed(&archive, &key)) else { continue };
            if let Some(about) = document.about(&bodies)? {
                documents.insert(key, (document, about));
            }
        }
        Ok::<_, BodyError>(documents)
    };
    let documents = shell.work("reading documents that belong together", read).await?;
    documents.map_err(|error| Error::internal(crate::chain(&error)))
}

fn fill<D: Document>(item: Linked<'_>, question: &Question, found: &Candidates, documents: &BTreeMap<Key, (D, About)>) {
    let itself = item.envelope.parse::<EnvelopeId>().ok();
    let recipient = item.recipient.and_then(|code| code.parse::<AgencyId>().ok());
    let look = |envelope: &EnvelopeId| {
        let key = Key { envelope: *envelope, sender: question.sender.clone() };
        let (document, about) = documents.get(&key).filter(|_| Some(*envelope) != itself)?;
        Some((*envelope, document.shown_since(recipient.as_ref())?, about))
    };
    let is_revocation = |about: &About| about.change.as_ref().is_some_and(Change::is_revocation);
    let revokes = item.change.as_ref().is_some_and(|change| change.kind == "revokes");
    if let Some(change) = item.change {
        let target = |(id, envelopes): (&String, &Vec<EnvelopeId>)| {
            let hit = envelopes.iter().filter_map(look).find(|(_, _, about)| {
                // A revocation often bears the DocumentId of what it revokes.
                about.document_id == *id && !is_revocation(about)
            });
            node_v1::ChangeTarget {
                document_id: id.clone(),
                envelope: hit.map(|(envelope, ..)| envelope.to_string()).unwrap_or_default(),
            }
        };
        change.targets = question.targets.iter().zip(&found.targets).map(target).collect();
        // A revocation is answered where it asks: on what it revokes.
        let hits = if revokes { change.targets.as_slice() } else { &[] };
        let hits = hits.iter().filter_map(|target| target.envelope.parse().ok()).filter_map(|envelope| {
            documents.get(&Key { envelope, sender: question.sender.clone() }).map(|(document, _)| document)
        });
        let hits: Vec<&D> = hits.collect();
        let answer = |code: &AgencyId| hits.iter().map(|document| document.asked(code)).find(|a| *a != Asking::None);
        if let Some(answer) = recipient.as_ref().and_then(answer) {
            change.answer = answer.as_str().into();
        }
        for state in item.recipients {
            if let Some(answer) = state.recipient.parse().ok().as_ref().and_then(answer) {
                state.change = answer.as_str().into();
            }
        }
    }
    let later = found.changing.iter().filter(|_| !revokes).filter_map(look).filter_map(|(envelope, time, about)| {
        let change = about.change.as_ref().filter(|change| change.document_ids.contains(&question.document_id))?;
        Some(node_v1::ChangedBy {
            kind: view::kind_of_change(change).into(),
            envelope: envelope.to_string(),
            document_id: about.document_id.clone(),
            reason: change.reason.clone(),
            time,
        })
    });
    *item.changed_by = later.take(CHANGES_SHOWN_MAX).collect();
}

/// A document of either box.
trait Document: Sized + Send + 'static {
    const SENT: bool;

    fn in_memory(core: &Core, key: &Key) -> Option<Self>;

    fn closed(archive: &Archive, key: &Key) -> Option<Self>;

    fn about(&self, bodies: &Bodies) -> Result<Option<About>, BodyError>;

    /// Since when this agency has it for a current document; none: it has not.
    fn shown_since(&self, recipient: Option<&AgencyId>) -> Option<String>;

    /// Whether it was asked back from this recipient, and what that answered.
    fn asked(&self, recipient: &AgencyId) -> Asking;
}

impl Document for Received {
    const SENT: bool = false;

    fn in_memory(core: &Core, key: &Key) -> Option<Self> {
        core.find_received(key).cloned()
    }

    fn closed(archive: &Archive, key: &Key) -> Option<Self> {
        archive.received(key)
    }

    fn about(&self, bodies: &Bodies) -> Result<Option<About>, BodyError> {
        self.content.map(|at| bodies.about(at)).transpose()
    }

    fn shown_since(&self, recipient: Option<&AgencyId>) -> Option<String> {
        let code = self.codes.get(recipient?)?;
        code.consigned_at.map(|at| at.to_string())
    }

    fn asked(&self, recipient: &AgencyId) -> Asking {
        self.codes.get(recipient).map_or(Asking::None, |code| code.business.withdrawal)
    }
}

impl Document for Sent {
    const SENT: bool = true;

    fn in_memory(core: &Core, key: &Key) -> Option<Self> {
        core.find_sent(key).cloned()
    }

    fn closed(archive: &Archive, key: &Key) -> Option<Self> {
        archive.sent(key)
    }

    fn about(&self, bodies: &Bodies) -> Result<Option<About>, BodyError> {
        bodies.about(self.body).map(Some)
    }

    /// What was sealed anew is the same document: the first envelope stands for it.
    fn shown_since(&self, _: Option<&AgencyId>) -> Option<String> {
        (self.supersedes.is_none() && self.continues.is_none()).then(|| self.accepted_at.to_string())
    }

    fn asked(&self, recipient: &AgencyId) -> Asking {
        self.pairs.get(recipient).map_or(Asking::None, |pair| pair.business.withdrawal)
    }
}
