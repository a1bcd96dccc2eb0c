//! A packet that revokes earlier documents (BussinessDocType 1) takes them back at its recipients: as [`withdraw`] does it, with the packet's
//! reason. The packet itself goes to them, too, as any document; an answer to it (15, 16) is the answer to what was asked.

use std::{collections::BTreeSet, sync::Arc};

use truc_evidence::Directory;
use truc_proto::{
    AgencyId, Digest, EnvelopeId, ForeignCode, Preamble, Raw, StatusCode, limits::IDEMPOTENCY_KEY_CHARS_MAX, node_v1,
};

use super::{Error, found, withdraw};
use crate::{
    core::{Asking, Received},
    pipe::is_code,
    pipeline::Composed,
    records::{About, Change},
    shell::Shell,
    tokens::Grant,
};

/// Of several recipients of whom a warning tells so many are named.
const NAMED_MAX: usize = 20;

/// What a request that is about to be accepted revokes, and for whom.
struct Revocation {
    sender: AgencyId,
    recipients: Vec<AgencyId>,
    change: Change,
}

impl Revocation {
    fn of(composed: &mut Composed) -> Option<(Self, &mut About)> {
        let about = match composed {
            Composed::Sealed(sealed) => &sealed.outgoing.about,
            Composed::Held(request) => &request.held.about,
        };
        let change = about.change.clone().filter(Change::is_revocation)?;
        let (sender, recipients, about) = match composed {
            Composed::Sealed(sealed) => {
                let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).ok()?.into_value();
                let recipients = preamble.recipients.into_iter().chain(preamble.legacy).collect();
                (preamble.sender, recipients, &mut sealed.outgoing.about)
            }
            Composed::Held(request) => {
                let held = &mut request.held;
                let recipients = held.recipients.iter().filter_map(|code| code.parse().ok()).collect();
                (held.sender.parse().ok()?, recipients, &mut held.about)
            }
        };
        Some((Self { sender, recipients, change }, about))
    }
}

/// Hash of the request that a pipeline worked on.
fn request_hash(composed: &Composed) -> Option<Digest> {
    let bytes = match composed {
        Composed::Sealed(sealed) => &sealed.outgoing.request_hash,
        Composed::Held(request) => &request.held.request_hash,
    };
    Digest::from_slice(bytes).ok()
}

/// Takes back what a packet revokes, before it is itself accepted: broken off in between, the caller has no answer, asks again, and
/// nobody is asked twice. What cannot be taken back is said as a warning of the packet. Nothing is done for a request whose key stands for
/// another one; `before`: the one that it stood for long ago.
pub(super) async fn carry_out(
    shell: &Arc<Shell>,
    grant: &Grant,
    composed: &mut Composed,
    idempotency_key: &str,
    before: Option<Digest>,
    directory: &Directory,
) -> Result<(), Error> {
    let hash = request_hash(composed);
    let (Some((revocation, about)), Some(hash)) = (Revocation::of(composed), hash) else { return Ok(()) };
    let Revocation { sender, mut recipients, change } = revocation;
    let (of, key) = (sender.clone(), idempotency_key.to_owned());
    let stands_for_it = shell.engine.ask(move |core| core.may_stand_for(&of, &key, hash)).await?;
    if !stands_for_it || before.is_some_and(|before| before != hash) {
        return Ok(());
    }
    if !change.receivers.is_empty() {
        let named: Vec<ForeignCode> = change.receivers.iter().filter_map(|to| to.code.parse().ok()).collect();
        recipients.retain(|code| named.iter().any(|name| is_code(name, code, directory)));
    }
    if change.document_ids.is_empty() {
        about.warnings.push(
            "the packet revokes a document and names none: nothing is taken back / Gói tin thu hồi nhưng không nêu văn bản nào: chưa lấy lại gì".to_owned(),
        );
    }
    for document_id in &change.document_ids {
        let mut left = recipients.clone();
        while !left.is_empty() {
            let Some(sent) = withdraw::by_document_id(shell, &sender, document_id, &left).await? else { break };
            let (these, others) = left.into_iter().partition(|code| sent.pairs.contains_key(code));
            left = others;
            let wish = withdraw::Wish {
                from: sender.clone(),
                envelope: sent.key.envelope,
                recipients: these,
                reason: change.reason.clone(),
                staff: String::new(),
                idempotency_key: idempotency_key.to_owned(),
            };
            let reply = withdraw::carry_out(shell, grant, wish).await?;
            let failed = reply.recipients.iter().filter(|recipient| recipient.outcome == "failed");
            about.warnings.extend(failed.take(NAMED_MAX).map(|recipient| not_asked(document_id, recipient)));
        }
        if !left.is_empty() {
            about.warnings.push(not_sent(document_id, &left));
        }
    }
    Ok(())
}

fn not_asked(document_id: &str, recipient: &node_v1::WithdrawnRecipient) -> String {
    let english = recipient.refused.as_ref().map(|refused| refused.english.as_str()).unwrap_or_default();
    let (code, vietnamese) = (&recipient.recipient, &recipient.text);
    format!(
        "{code} could not be asked to give {document_id} back: {english} / Chưa yêu cầu được {code} trả lại {document_id}: {vietnamese}"
    )
}

fn not_sent(document_id: &str, codes: &[AgencyId]) -> String {
    let more = if codes.len() > NAMED_MAX { ", …" } else { "" };
    let codes = codes.iter().take(NAMED_MAX).map(AgencyId::as_str).collect::<Vec<_>>().join(", ") + more;
    format!(
        "this node has not sent {document_id} to {codes}: nothing is taken back there, they get the revocation itself / Nút này chưa gửi {document_id} cho {codes}: không có gì để lấy lại, các nơi này vẫn nhận được văn bản thu hồi"
    )
}

/// The requests that an answer (15, 16) to a revocation stands for: about each document that it revokes, that `from` has and whose sender asked
/// it back. Empty: it is an answer to the document that it names.
pub(super) async fn answers(
    shell: &Arc<Shell>,
    request: &node_v1::SetStatusRequest,
    from: &AgencyId,
    document: EnvelopeId,
    code: StatusCode,
) -> Result<Vec<node_v1::SetStatusRequest>, Error> {
    if !matches!(code, StatusCode::WithdrawalAgreed | StatusCode::WithdrawalRefused) {
        return Ok(Vec::new());
    }
    let sender = found::sender_of(&request.sender)?;
    let Some(itself) = found::received_for(shell, document, from, sender.as_ref()).await? else {
        return Ok(Vec::new());
    };
    let sender = itself.key.sender.clone();
    let change = match itself.content {
        Some(content) => found::about(shell, content).await?.change,
        None => None,
    };
    let named = change.filter(Change::is_revocation).map(|change| change.document_ids).unwrap_or_default();
    let mut requests = Vec::new();
    for document_id in named {
        let asked =
            |received: &Received| received.codes.get(from).is_some_and(|code| code.business.withdrawal != Asking::None);
        let target = revoked(shell, &sender, &document_id, asked).await?;
        requests.extend(target.map(|target| node_v1::SetStatusRequest {
            envelope: target.key.envelope.to_string(),
            sender: sender.to_string(),
            idempotency_key: key_for(&request.idempotency_key, target.key.envelope),
            ..request.clone()
        }));
    }
    Ok(requests)
}

fn key_for(idempotency_key: &str, target: EnvelopeId) -> String {
    let key = Digest::of(format!("truc/revoked/1\n{idempotency_key}\n{target}").as_bytes());
    format!("revoked-{key}").chars().take(IDEMPOTENCY_KEY_CHARS_MAX).collect()
}

/// The newest document of this id that fits and is no revocation itself: that one often bears the id of what it revokes.
pub(crate) async fn revoked(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    document_id: &str,
    fits: impl Fn(&Received) -> bool,
) -> Result<Option<Received>, Error> {
    let mut seen = BTreeSet::new();
    for envelope in found::by_document_id(shell, false, sender, document_id).await? {
        for received in found::received(shell, envelope).await? {
            if received.key.sender != *sender || !fits(&received) || !seen.insert(envelope) {
                continue;
            }
            let Some(content) = received.content else { continue };
            if !found::about(shell, content).await?.change.as_ref().is_some_and(Change::is_revocation) {
                return Ok(Some(received));
            }
        }
    }
    Ok(None)
}
