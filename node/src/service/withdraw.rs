//! Taking sent documents back, from one recipient or all: what has not left is withdrawn here at once, the others are asked (status 13).

use std::{collections::BTreeMap, sync::Arc};

use tracing::info;
use truc_proto::{
    AgencyId, Digest, EnvelopeId, EnvelopeKind, Reason, StatusCode,
    limits::{RECIPIENTS_MAX, STATUS_TEXT_CHARS_MAX},
    node_v1, wire_v1,
};

use super::{Error, envelope_id, not_found, roles::May, send, status};
use crate::{
    core::{Answer, Input, Sent, Withdrawing, withdrawing},
    records::Change,
    shell::Shell,
    tokens::Grant,
};

/// A replacement is not replaced again, but what is left of a divided envelope may be divided again.
const REPLACED_MAX: usize = 8;

/// What is to be taken back, by whom, from whom and why.
pub(crate) struct Wish {
    pub(crate) from: AgencyId,
    pub(crate) envelope: EnvelopeId,
    /// None: all.
    pub(crate) recipients: Vec<AgencyId>,
    pub(crate) reason: String,
    pub(crate) staff: String,
    pub(crate) idempotency_key: String,
}

pub(crate) async fn withdraw(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::WithdrawRequest,
) -> Result<node_v1::WithdrawReply, Error> {
    grant.need(May::Send)?;
    let envelope = envelope_id(&request.envelope)?;
    let from = match request.from.as_str() {
        "" => sender_of(shell, grant, envelope).await?,
        from => super::code(grant, from, "from")?,
    };
    if request.recipients.len() > RECIPIENTS_MAX {
        return Err(Error::invalid(format!("`recipients` names at most {RECIPIENTS_MAX} agencies")));
    }
    let recipients = request.recipients.iter().map(|code| code.parse()).collect::<Result<Vec<_>, _>>();
    let recipients = recipients.map_err(|error: truc_proto::AgencyIdError| {
        Error::invalid(format!("`recipients`: {error} / {}", error.vietnamese()))
    })?;
    send::check_idempotency_key(&request.idempotency_key)?;
    let (reason, staff) = (request.reason.trim().to_owned(), request.staff.trim().to_owned());
    let idempotency_key = request.idempotency_key;
    carry_out(shell, grant, Wish { from, envelope, recipients, reason, staff, idempotency_key }).await
}

/// The only sender of that name among the codes of the token.
async fn sender_of(shell: &Arc<Shell>, grant: &Grant, envelope: EnvelopeId) -> Result<AgencyId, Error> {
    let (sent, _) = super::found::sent(shell, envelope).await?;
    let mut senders = sent.into_iter().map(|sent| sent.key.sender).filter(|sender| grant.allows(sender));
    senders.next().ok_or_else(not_found)
}

/// The newest document of `from` with this edXML DocumentId that was sent to any of `recipients` (none: to anybody). Not what took
/// its place for some of them: the document itself leads there; and no revocation, which often bears the id of what it revokes.
pub(crate) async fn by_document_id(
    shell: &Arc<Shell>,
    from: &AgencyId,
    document_id: &str,
    recipients: &[AgencyId],
) -> Result<Option<Sent>, Error> {
    for envelope in super::found::by_document_id(shell, true, from, document_id).await? {
        let (sent, _) = super::found::sent(shell, envelope).await?;
        let is_it = |sent: &Sent| {
            sent.key.sender == *from
                && sent.supersedes.is_none()
                && sent.continues.is_none()
                && (recipients.is_empty() || recipients.iter().any(|to| sent.pairs.contains_key(to)))
        };
        if let Some(sent) = sent.into_iter().find(is_it) {
            let change = super::found::about(shell, sent.body).await?.change;
            if !change.as_ref().is_some_and(Change::is_revocation) {
                return Ok(Some(sent));
            }
        }
    }
    Ok(None)
}

/// As [`withdraw`], for a caller who may act for `wish.from`.
pub(crate) async fn carry_out(shell: &Arc<Shell>, grant: &Grant, wish: Wish) -> Result<node_v1::WithdrawReply, Error> {
    if wish.reason.is_empty() {
        return Err(Error::invalid(
            "`reason` says why the document is taken back; recipients and records need it / Phải ghi lý do lấy lại văn bản (`reason`)",
        ));
    }
    if [&wish.reason, &wish.staff].iter().any(|text| text.chars().count() > STATUS_TEXT_CHARS_MAX) {
        return Err(Error::invalid(format!(
            "`reason` and `staff` have at most {STATUS_TEXT_CHARS_MAX} characters / `reason` và `staff` dài tối đa {STATUS_TEXT_CHARS_MAX} ký tự"
        )));
    }
    let mut reply = node_v1::WithdrawReply::default();
    // Envelopes and the recipients meant of each; a replaced one leads to the next.
    let mut open = vec![(wish.envelope, wish.recipients.clone())];
    let mut looked_at = 0;
    while let Some((envelope, recipients)) = open.pop() {
        looked_at += 1;
        let mut replaced: BTreeMap<EnvelopeId, Vec<AgencyId>> = BTreeMap::new();
        for (recipient, outcome) in decide(shell, &wish, envelope, recipients).await? {
            match outcome {
                Withdrawing::Replaced(by) => replaced.entry(by).or_default().push(recipient),
                outcome => reply.recipients.push(one(shell, grant, &wish, envelope, &recipient, outcome).await?),
            }
        }
        if looked_at > REPLACED_MAX + RECIPIENTS_MAX {
            break;
        }
        for (by, recipients) in replaced {
            let (sent, _) = super::found::sent(shell, by).await?;
            let Some(sent) = sent.into_iter().find(|sent| sent.key.sender == wish.from) else { continue };
            // A successor stands for the recipient in its replacement, which has no other.
            let same = recipients.iter().all(|recipient| sent.pairs.contains_key(recipient));
            open.push((by, if same { recipients } else { Vec::new() }));
        }
    }
    reply.recipients.sort_by(|a, b| a.recipient.cmp(&b.recipient));
    info!(envelope = %wish.envelope, sender = %wish.from, recipients = reply.recipients.len(), "taken back or asked for");
    Ok(reply)
}

/// What becomes of each recipient; what has not left is withdrawn with that.
async fn decide(
    shell: &Arc<Shell>,
    wish: &Wish,
    envelope: EnvelopeId,
    recipients: Vec<AgencyId>,
) -> Result<BTreeMap<AgencyId, Withdrawing>, Error> {
    let key = crate::core::Key { sender: wish.from.clone(), envelope };
    let (named, text) = (recipients.clone(), wish.reason.clone());
    let input = |reply| Input::Withdraw { key, recipients: named, text, reply };
    match shell.engine.call(input).await? {
        Answer::Withdrawing(outcomes) => return Ok(outcomes),
        Answer::NotFound => {}
        other => return Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
    // It left memory, or is none of ours.
    let (sent, _) = super::found::sent(shell, envelope).await?;
    let is_it = |sent: &Sent| sent.key.sender == wish.from && sent.kind == EnvelopeKind::Document;
    let sent = sent.into_iter().find(is_it).ok_or_else(not_found)?;
    if let Some(other) = recipients.iter().find(|code| !sent.pairs.contains_key(*code)) {
        return Err(Error::not_found(format!(
            "{envelope} was not sent to {other} / Gói tin {envelope} không được gửi cho {other}"
        )));
    }
    let meant = |code: &AgencyId| recipients.is_empty() || recipients.contains(code);
    let pairs = sent.pairs.iter().filter(|(code, _)| meant(code));
    Ok(pairs.map(|(code, pair)| (code.clone(), withdrawing(&sent, code, pair))).collect())
}

async fn one(
    shell: &Arc<Shell>,
    grant: &Grant,
    wish: &Wish,
    envelope: EnvelopeId,
    recipient: &AgencyId,
    outcome: Withdrawing,
) -> Result<node_v1::WithdrawnRecipient, Error> {
    let mut shown = node_v1::WithdrawnRecipient {
        recipient: recipient.to_string(),
        document: envelope.to_string(),
        ..node_v1::WithdrawnRecipient::default()
    };
    let (word, text) = match outcome {
        Withdrawing::Withdrawn => ("withdrawn", Reason::Withdrawn.vietnamese().to_owned()),
        Withdrawing::Ask => match ask(shell, grant, wish, envelope, recipient).await {
            Ok(status) => {
                shown.status_envelope = status;
                ("asked", "Đã gửi yêu cầu lấy lại (13); chờ bên nhận trả lời.".to_owned())
            }
            Err(error) => {
                shown.refused = Some(refusal_of(&error));
                ("failed", error.vietnamese())
            }
        },
        Withdrawing::Asked => {
            // The same request gets the same answer; another one asks nobody twice.
            shown.status_envelope = ask(shell, grant, wish, envelope, recipient).await.unwrap_or_default();
            ("asked", "Đã yêu cầu lấy lại trước đó; chờ bên nhận trả lời.".to_owned())
        }
        Withdrawing::Agreed => ("agreed", "Bên nhận đã đồng ý lấy lại trước đó.".to_owned()),
        Withdrawing::NotThere(reason) => {
            let why = reason.map(Reason::vietnamese).unwrap_or_default();
            ("not-there", format!("Văn bản chưa đến bên nhận nên không cần lấy lại. {why}").trim_end().to_owned())
        }
        Withdrawing::Replaced(by) => ("not-there", format!("→ {by}")),
    };
    (shown.outcome, shown.text) = (word.to_owned(), text);
    Ok(shown)
}

/// Asks one recipient; the same request asks once.
async fn ask(
    shell: &Arc<Shell>,
    grant: &Grant,
    wish: &Wish,
    envelope: EnvelopeId,
    recipient: &AgencyId,
) -> Result<String, Error> {
    let key = Digest::of(format!("truc/withdraw/1\n{}\n{envelope}\n{recipient}", wish.idempotency_key).as_bytes());
    let request = node_v1::SetStatusRequest {
        envelope: envelope.to_string(),
        from: wish.from.to_string(),
        to: recipient.to_string(),
        code: StatusCode::WithdrawalRequested.to_string(),
        reason: wish.reason.clone(),
        staff: wish.staff.clone(),
        idempotency_key: format!("withdraw-{key}"),
        sender: wish.from.to_string(),
    };
    Ok(status::set(shell, grant, request).await?.envelope)
}

fn refusal_of(error: &Error) -> wire_v1::Refusal {
    error.refusal().cloned().unwrap_or_else(|| wire_v1::Refusal {
        reason: Reason::Invalid.to_string(),
        english: error.text().to_owned(),
        vietnamese: error.vietnamese(),
        ..wire_v1::Refusal::default()
    })
}
