//! What a document does to earlier ones of its sender: which ones it names, and whose they are.

use std::sync::Arc;

use truc_evidence::Directory;
use truc_proto::{
    AgencyId, EnvelopeId, EnvelopeKind, Reason,
    edxml::{BusinessKind, DocumentId},
    limits::{CHANGE_REASON_CHARS_MAX, CHANGE_TARGETS_MAX},
    node_v1,
};

use super::{Error, found, withdraw};
use crate::{
    core::Sent,
    pipe::is_code,
    pipeline::{Changing, Refusal, Target},
    shell::Shell,
};

/// What a document given by fields does to earlier ones of `sender`; none: nothing.
pub(super) async fn of_form(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    form: &node_v1::DocumentForm,
    directory: &Directory,
) -> Result<Result<Option<Changing>, Refusal>, Error> {
    let reason = form.change_reason.trim().to_owned();
    let (kind, named) = match (form.updates.as_str(), form.replaces.as_slice()) {
        ("", []) if reason.is_empty() => return Ok(Ok(None)),
        ("", []) => return Ok(Err(no_target())),
        (updates, []) => (BusinessKind::Update, vec![updates]),
        ("", replaces) => (BusinessKind::Replace, replaces.iter().map(String::as_str).collect()),
        _ => return Ok(Err(both())),
    };
    if reason.is_empty() || reason.chars().count() > CHANGE_REASON_CHARS_MAX {
        return Ok(Err(no_reason()));
    }
    if named.len() > CHANGE_TARGETS_MAX {
        return Ok(Err(too_many()));
    }
    let mut targets: Vec<Target> = Vec::with_capacity(named.len());
    for name in named {
        match target(shell, sender, name.trim(), directory).await? {
            Some(target) if targets.iter().any(|other| other.document_id == target.document_id) => {}
            Some(target) => targets.push(target),
            None => return Ok(Err(not_own(name, sender))),
        }
    }
    Ok(Ok(Some(Changing { kind, targets, reason })))
}

/// A document of `sender`, by the envelope it went in or by its edXML DocumentId; none: it is not, or nobody can say.
async fn target(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    name: &str,
    directory: &Directory,
) -> Result<Option<Target>, Error> {
    if let Ok(envelope) = name.parse::<EnvelopeId>() {
        let (sent, _) = found::sent(shell, envelope).await?;
        let is_it = |sent: &Sent| sent.key.sender == *sender && sent.kind == EnvelopeKind::Document;
        if let Some(sent) = sent.into_iter().find(is_it) {
            let document_id = found::about(shell, sent.body).await?.document_id;
            return Ok(Some(document_id).filter(|id| !id.is_empty()).map(|id| known(id, &sent)));
        }
    }
    let named = DocumentId::read(name);
    if matches!(&named, DocumentId::Parts { organ, .. } if !is_code(organ, sender, directory)) {
        return Ok(None);
    }
    let sent = withdraw::by_document_id(shell, sender, name, &[]).await?;
    // It may be older than this node; of a name that says nothing of its agency only what is here is known to be the sender's own.
    let older =
        || matches!(named, DocumentId::Parts { .. }).then(|| Target { document_id: name.into(), recipients: None });
    Ok(sent.map(|sent| known(name.into(), &sent)).or_else(older))
}

fn known(document_id: String, sent: &Sent) -> Target {
    Target { document_id, recipients: Some(sent.pairs.keys().cloned().collect()) }
}

fn refusal(reason: Reason, english: impl Into<String>, vietnamese: impl Into<String>) -> Refusal {
    Refusal { vietnamese: vietnamese.into(), ..Refusal::new(reason, english) }
}

fn no_target() -> Refusal {
    refusal(
        Reason::Invalid,
        "`change_reason` says why an earlier document is updated or replaced, and none is named; name it in `updates` or `replaces`",
        "Có lý do (`change_reason`) nhưng không nêu văn bản được cập nhật (`updates`) hoặc bị thay thế (`replaces`); hãy nêu văn bản đó.",
    )
}

fn both() -> Refusal {
    refusal(
        Reason::Invalid,
        "a document updates an earlier one or replaces earlier ones, not both; send two documents",
        "Một văn bản hoặc cập nhật, hoặc thay thế văn bản trước, không làm cả hai; hãy gửi hai văn bản.",
    )
}

fn no_reason() -> Refusal {
    refusal(
        Reason::Invalid,
        format!(
            "`change_reason` says in 1 to {CHANGE_REASON_CHARS_MAX} characters why the earlier document is updated or replaced"
        ),
        format!("Phải ghi lý do cập nhật hoặc thay thế (`change_reason`), từ 1 đến {CHANGE_REASON_CHARS_MAX} ký tự."),
    )
}

fn too_many() -> Refusal {
    refusal(
        Reason::TooLarge,
        format!("a document replaces at most {CHANGE_TARGETS_MAX} earlier ones; send several"),
        format!("Một văn bản thay thế tối đa {CHANGE_TARGETS_MAX} văn bản trước; hãy gửi nhiều văn bản."),
    )
}

fn not_own(name: &str, sender: &AgencyId) -> Refusal {
    let shown: String = name.chars().take(100).collect();
    refusal(
        Reason::NotEntitled,
        format!(
            "{shown:?} is no document of {sender}: an agency updates and replaces its own; name it by the envelope it went in, or as {sender},yyyy/mm/dd,number/notation"
        ),
        format!(
            "{shown:?} không phải văn bản của {sender}: cơ quan chỉ cập nhật, thay thế văn bản của chính mình; hãy ghi mã gói tin đã gửi, hoặc {sender},yyyy/mm/dd,số/ký hiệu."
        ),
    )
}
