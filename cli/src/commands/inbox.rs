//! `truc inbox`: what was received; fetch, confirm, answer with a status.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use anyhow::anyhow;
use serde_json::{Value, json};
use truc_proto::{
    AgencyId, Digest, Hasher, StatusCode,
    node_v1::{
        Change, ChangeReceiver, ChangeTarget, ChangedBy, ConfirmRequest, FetchRequest, InboxItem, ListInboxRequest,
        SetStatusRequest, StatusNote, WatchInboxRequest, fetch_request::What,
    },
};

use crate::{
    args::{InboxCommand, NodeArgs},
    client::{block_on, connect, failed},
    commands::outbox::vietnam_time,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable, size},
};

pub(crate) fn run(command: &InboxCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            InboxCommand::List { node, code, all, watch: false } => list(node, code.as_ref(), *all, output).await,
            InboxCommand::List { node, code, watch: true, .. } => watch(node, code.as_ref(), output).await,
            InboxCommand::Fetch { node, envelope, code, what, sender, withdrawn, out } => {
                let request = FetchRequest {
                    envelope: envelope.to_string(),
                    recipient: code.to_string(),
                    sender: named(sender.as_ref()),
                    what: Some(part(what)),
                    offset: 0,
                    even_withdrawn: *withdrawn,
                };
                fetch(node, request, out, output).await
            }
            InboxCommand::Confirm { node, envelope, code, sender, refuse } => {
                let request = ConfirmRequest {
                    envelope: envelope.to_string(),
                    recipient: code.to_string(),
                    sender: named(sender.as_ref()),
                    refused: refuse.is_some(),
                    reason: refuse.clone().unwrap_or_default(),
                };
                confirm(node, request, output).await
            }
            InboxCommand::Status { node, envelope, from, to, sender, code, reason, staff } => {
                // Only where it is named: the same words as before have the same key as before.
                let whose = sender.as_ref().map(|sender| format!("\n{sender}")).unwrap_or_default();
                let request = SetStatusRequest {
                    envelope: envelope.to_string(),
                    from: from.to_string(),
                    to: to.as_ref().map(ToString::to_string).unwrap_or_default(),
                    code: code.to_string(),
                    reason: reason.clone(),
                    staff: staff.clone(),
                    // The same words about the same document are the same status: saying them twice says them once.
                    idempotency_key: format!(
                        "sha256-{}",
                        Digest::of(format!("{envelope}\n{from}\n{to:?}\n{code}\n{reason}\n{staff}{whose}").as_bytes())
                    ),
                    sender: named(sender.as_ref()),
                };
                status(node, request, *code, output).await
            }
        }
    })
}

fn named(sender: Option<&AgencyId>) -> String {
    sender.map(ToString::to_string).unwrap_or_default()
}

fn part(what: &str) -> What {
    match what {
        "container" => What::Container(true),
        "edxml" => What::Edxml(true),
        name => What::Attachment(name.to_owned()),
    }
}

async fn list(args: &NodeArgs, code: Option<&AgencyId>, all: bool, output: &Output) -> Outcome {
    let mut node = connect(args).await?;
    let mut items = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListInboxRequest {
            code: code.map(ToString::to_string).unwrap_or_default(),
            with_confirmed: all,
            page_size: 200,
            page_token,
        };
        let reply = node.list_inbox(request).await.map_err(|s| failed("list what was received", &s))?.into_inner();
        items.extend(reply.items);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output.show(&json!(items.iter().map(item_json).collect::<Vec<_>>()), |o| {
        let rows: Vec<_> = items.iter().map(row).collect();
        o.table(
            ["ENVELOPE", "FROM", "TO", "KIND", "RECEIVED", "STATE", "SIZE", "SUBJECT"],
            &rows,
            "nothing is waiting",
        );
    });
    Ok(Exit::Good)
}

async fn watch(args: &NodeArgs, code: Option<&AgencyId>, output: &Output) -> Outcome {
    let mut node = connect(args).await?;
    let request = WatchInboxRequest { code: code.map(ToString::to_string).unwrap_or_default() };
    let mut items = node.watch_inbox(request).await.map_err(|s| failed("watch what is received", &s))?.into_inner();
    while let Some(item) = items.message().await.map_err(|s| failed("watch what is received", &s))? {
        output.show(&item_json(&item), |o| o.line(row(&item).join("  ")));
    }
    Ok(Exit::Good)
}

fn row(item: &InboxItem) -> [String; 8] {
    let state = match (item.withdrawal.as_str(), item.confirmed, item.verdict.as_str()) {
        ("agreed", ..) => "withdrawn".to_owned(),
        ("asked", true, _) => "confirmed, asked back".to_owned(),
        ("asked", false, _) => "waiting, asked back".to_owned(),
        (_, true, _) => "confirmed".to_owned(),
        (_, false, "good") => "waiting".to_owned(),
        (_, false, _) if item.legacy => "waiting, from today's axis: not sealed, no signed receipt".to_owned(),
        (_, false, verdict) => format!("waiting, certificate {verdict}"),
    };
    let subject = match &item.status {
        Some(status) => format!("{} {} {} of {}", status.code, status.text, status.reason, status.document),
        None if matches!(item.withdrawal.as_str(), "asked" | "agreed") => {
            format!("{} (lấy lại: {})", item.subject, item.withdrawal_reason)
        }
        None => match &item.change {
            Some(change) => format!("{} ({})", item.subject, change_text(change)),
            None => item.subject.clone(),
        },
    };
    let later: Vec<String> = item.changed_by.iter().map(changed_by_text).collect();
    let subject = if later.is_empty() { subject } else { format!("{subject} [{}]", later.join("; ")) };
    [
        item.envelope.clone(),
        item.sender.clone(),
        item.recipient.clone(),
        item.kind.clone(),
        vietnam_time(&item.consigned_at),
        state,
        size(item.container_length),
        subject,
    ]
}

fn item_json(item: &InboxItem) -> Value {
    let attachments: Vec<_> = item
        .attachments
        .iter()
        .map(|a| json!({ "name": a.name, "length": a.length, "sha256": data_encoding::HEXLOWER.encode(&a.sha256) }))
        .collect();
    json!({
        "envelope": item.envelope, "sender": item.sender, "recipient": item.recipient, "kind": item.kind,
        "priority": item.priority, "level": item.level, "subject": item.subject, "document_id": item.document_id,
        "consigned_at": item.consigned_at, "confirmed": item.confirmed, "confirmed_at": item.confirmed_at,
        "legacy": item.legacy, "legacy_doc_id": item.legacy_doc_id,
        "verdict": item.verdict, "verdict_text": item.verdict_text, "container_length": item.container_length,
        "attachments": attachments, "warnings": item.warnings, "status": item.status.as_ref().map(note_json),
        "statuses": item.statuses.iter().map(note_json).collect::<Vec<_>>(),
        "withdrawal": item.withdrawal, "withdrawal_reason": item.withdrawal_reason, "withdrawn_at": item.withdrawn_at,
        "change": item.change.as_ref().map(change_json),
        "changed_by": item.changed_by.iter().map(changed_by_json).collect::<Vec<_>>(),
    })
}

/// What a document does to earlier ones, and which of them are not here.
pub(crate) fn change_text(change: &Change) -> String {
    let (english, vietnamese) = match change.kind.as_str() {
        "revokes" => ("revokes", "thu hồi"),
        "updates" => ("updates", "cập nhật"),
        _ => ("replaces", "thay thế"),
    };
    let target = |target: &ChangeTarget| match target.envelope.as_str() {
        "" => format!("{} (not known here / chưa có tại đây)", target.document_id),
        envelope => format!("{} → {envelope}", target.document_id),
    };
    let targets: Vec<String> = change.targets.iter().map(target).collect();
    let receiver = |receiver: &ChangeReceiver| match receiver.what.as_str() {
        "added" => format!("+{}", receiver.code),
        "dropped" => format!("-{}", receiver.code),
        _ => receiver.code.clone(),
    };
    let receivers: Vec<String> = change.receivers.iter().map(receiver).collect();
    let receivers = if receivers.is_empty() { String::new() } else { format!(", for {}", receivers.join(" ")) };
    format!("{english} / {vietnamese} {}{receivers}", targets.join("; "))
}

/// That a later document changes one, which stays readable all the same.
pub(crate) fn changed_by_text(later: &ChangedBy) -> String {
    let (english, vietnamese) = match later.kind.as_str() {
        "revokes" => ("revoked by", "thu hồi bởi"),
        "updates" => ("updated by", "cập nhật bởi"),
        _ => ("replaced by", "thay thế bởi"),
    };
    format!("{english} / {vietnamese} {} {}: {}", later.document_id, later.envelope, later.reason)
}

pub(crate) fn change_json(change: &Change) -> Value {
    let targets: Vec<Value> = change
        .targets
        .iter()
        .map(|target| json!({ "document_id": target.document_id, "envelope": target.envelope }))
        .collect();
    let receivers: Vec<Value> =
        change.receivers.iter().map(|receiver| json!({ "code": receiver.code, "what": receiver.what })).collect();
    json!({
        "kind": change.kind, "document_ids": change.document_ids, "reason": change.reason, "answer": change.answer,
        "targets": targets, "receivers": receivers,
    })
}

pub(crate) fn changed_by_json(later: &ChangedBy) -> Value {
    json!({
        "kind": later.kind, "envelope": later.envelope, "document_id": later.document_id, "reason": later.reason,
        "time": later.time,
    })
}

pub(crate) fn note_json(note: &StatusNote) -> Value {
    json!({
        "code": note.code, "text": note.text, "from": note.from, "to": note.to, "time": note.time, "reason": note.reason,
        "document": note.document, "sequence": note.sequence, "late": note.late, "english": note.english,
        "staff": note.staff, "envelope": note.envelope,
    })
}

/// Streams to a file that must not exist yet; what arrived is complete or the file is removed.
async fn fetch(args: &NodeArgs, request: FetchRequest, out: &Path, output: &Output) -> Outcome {
    let mut node = connect(args).await?;
    let mut chunks = node.fetch(request).await.map_err(|s| failed("fetch the document", &s))?.into_inner();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .or_exit(Exit::BadData, format!("cannot create {} (it must not exist yet)", out.display()))?;
    let arrived = async {
        let (mut hasher, mut length) = (Hasher::default(), 0_u64);
        while let Some(chunk) = chunks.message().await.map_err(|s| failed("fetch the document", &s))? {
            file.write_all(&chunk.data).or_exit(Exit::BadData, format!("cannot write {}", out.display()))?;
            hasher.update(&chunk.data);
            length += chunk.data.len() as u64;
        }
        file.sync_all().or_exit(Exit::BadData, format!("cannot write {}", out.display()))?;
        Ok::<_, Failure>((hasher.finish(), length))
    };
    let (sha256, length) = match arrived.await {
        Ok(arrived) => arrived,
        Err(failure) => {
            // Half a document must not lie there as if it were one; the failure itself is what matters.
            let _ = std::fs::remove_file(out);
            return Err(failure);
        }
    };
    let value = json!({ "file": out, "length": length, "sha256": sha256 });
    output.show(&value, |o| o.line(format!("{}  {}  sha256 {sha256}", out.display(), size(length))));
    Ok(Exit::Good)
}

async fn confirm(args: &NodeArgs, request: ConfirmRequest, output: &Output) -> Outcome {
    let mut node = connect(args).await?;
    let reply = node.confirm(request).await.map_err(|s| failed("confirm the document", &s))?.into_inner();
    output.show(&json!({ "confirmed_at": reply.confirmed_at, "first": reply.first }), |o| {
        let again = if reply.first { "" } else { " (it was recorded before; nothing changed)" };
        o.line(format!("recorded at {}{again}", vietnam_time(&reply.confirmed_at)));
    });
    Ok(Exit::Good)
}

async fn status(args: &NodeArgs, request: SetStatusRequest, code: StatusCode, output: &Output) -> Outcome {
    if code == StatusCode::Refused && request.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, anyhow!("status 02 (Từ chối tiếp nhận) needs --reason")));
    }
    let mut node = connect(args).await?;
    let reply = node.set_status(request).await.map_err(|s| failed("set the status", &s))?.into_inner();
    output.show(&json!({ "envelope": reply.envelope, "sequence": reply.sequence, "code": code }), |o| {
        let text = format!("{code} {}", code.vietnamese());
        o.line(format!(
            "{}  {} as number {} in envelope {}",
            o.paint(Tone::Good, "sent"),
            printable(&text),
            reply.sequence,
            reply.envelope
        ));
    });
    Ok(Exit::Good)
}
