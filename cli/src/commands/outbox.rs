//! `truc outbox`: what was sent, and how far every recipient is.

use serde_json::{Value, json};
use truc_proto::{
    Digest, Timestamp,
    node_v1::{ListOutboxRequest, OutboxItem, RecipientState, StatusNote, WithdrawRequest, WithdrawnRecipient},
};

use crate::{
    args::{NodeArgs, OutboxArgs, OutboxCommand},
    client::{block_on, connect, failed},
    commands::inbox::{change_json, change_text, changed_by_json, changed_by_text, note_json},
    exit::{Exit, Outcome},
    output::{Output, Tone, printable, size},
};

pub(crate) fn run(args: &OutboxArgs, output: &Output) -> Outcome {
    if let Some(OutboxCommand::Withdraw { node, envelope, reason, to, from, staff }) = &args.command {
        let request = WithdrawRequest {
            envelope: envelope.to_string(),
            from: from.as_ref().map(ToString::to_string).unwrap_or_default(),
            recipients: to.iter().map(ToString::to_string).collect(),
            reason: reason.clone(),
            staff: staff.clone(),
            idempotency_key: withdrawal_key(&envelope.to_string(), reason),
        };
        return block_on(withdraw(node, request, output));
    }
    block_on(async {
        let mut node = connect(&args.node).await?;
        let mut items = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListOutboxRequest {
                code: args.code.as_ref().map(ToString::to_string).unwrap_or_default(),
                with_final: args.all || args.envelope.is_some(),
                page_size: 200,
                page_token,
                envelope: args.envelope.map(|e| e.to_string()).unwrap_or_default(),
                counted: args.state.clone().unwrap_or_default(),
            };
            let reply = node.list_outbox(request).await.map_err(|s| failed("list what was sent", &s))?.into_inner();
            items.extend(reply.items);
            page_token = reply.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let value = json!(items.iter().map(item_json).collect::<Vec<_>>());
        output.show(&value, |o| match args.envelope {
            Some(envelope) if items.is_empty() => {
                o.line(format!("nothing was sent from here as {envelope}, by a code that this token may see: check the id"));
                o.line(format!("không có văn bản gửi đi nào mang mã {envelope} mà mã truy cập này được xem: kiểm tra lại mã gói tin"));
            }
            Some(_) => items.iter().for_each(|item| ladder(item, o)),
            None => table(&items, o),
        });
        Ok(if args.envelope.is_some() && items.is_empty() { Exit::Invalid } else { Exit::Good })
    })
}

/// The same words about the same document ask each recipient once, also one that refused; other words ask it again.
fn withdrawal_key(envelope: &str, reason: &str) -> String {
    format!("sha256-{}", Digest::of(format!("withdraw\n{envelope}\n{reason}").as_bytes()))
}

async fn withdraw(args: &NodeArgs, request: WithdrawRequest, output: &Output) -> Outcome {
    let mut node = connect(args).await?;
    let reply = node.withdraw(request).await.map_err(|s| failed("take the document back", &s))?.into_inner();
    let shown = |r: &WithdrawnRecipient| {
        json!({
            "recipient": r.recipient, "outcome": r.outcome, "text": r.text, "document": r.document, "status_envelope": r.status_envelope,
            "reason": r.refused.as_ref().map(|refused| &refused.reason),
        })
    };
    output.show(&json!(reply.recipients.iter().map(shown).collect::<Vec<_>>()), |o| {
        for recipient in &reply.recipients {
            let tone = match recipient.outcome.as_str() {
                "withdrawn" | "agreed" => Tone::Good,
                "failed" => Tone::Bad,
                _ => Tone::Unsure,
            };
            let outcome = o.paint(tone, &recipient.outcome);
            o.line(format!("{}  {outcome}  {}", printable(&recipient.recipient), printable(&recipient.text)));
        }
    });
    let all = reply.recipients.iter().all(|recipient| recipient.outcome != "failed");
    Ok(if all { Exit::Good } else { Exit::Invalid })
}

fn table(items: &[OutboxItem], output: &Output) {
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let reached = item
                .recipients
                .iter()
                .filter(|r| matches!(r.state.as_str(), "consigned" | "handed-over" | "passed-on"))
                .count();
            let failed = item.recipients.iter().filter(|r| r.state == "failed").count();
            [
                item.envelope.clone(),
                item.sender.clone(),
                item.state.clone(),
                format!("{reached}/{}", item.recipients.len()),
                failed.to_string(),
                size(item.payload_length),
                item.subject.clone(),
            ]
        })
        .collect();
    output.table(["ENVELOPE", "FROM", "STATE", "REACHED", "FAILED", "SIZE", "SUBJECT"], &rows, "nothing is on its way");
}

/// One envelope with every step of every recipient.
pub(crate) fn ladder(item: &OutboxItem, output: &Output) {
    output.line(format!("{}  {}  {}", item.envelope, item.state, printable(&item.subject)));
    let changes = item.change.iter().map(change_text).chain(item.changed_by.iter().map(changed_by_text));
    changes.for_each(|text| output.line(format!("  {}", printable(&text))));
    for warning in &item.warnings {
        output.line(format!("  {} {}", output.paint(Tone::Unsure, "warning:"), printable(warning)));
    }
    for recipient in &item.recipients {
        let tone = match recipient.state.as_str() {
            "failed" => Tone::Bad,
            "consigned" | "handed-over" => Tone::Good,
            _ => Tone::Unsure,
        };
        let late = if recipient.late { "  (late)" } else { "" };
        output.line(format!(
            "  {}  {}{late}  {}",
            recipient.recipient,
            output.paint(tone, &recipient.state),
            recipient.text
        ));
        for step in &recipient.ladder {
            let proof = if step.r#final {
                output.paint(Tone::Good, "final")
            } else {
                output.paint(Tone::Unsure, "provisional")
            };
            output.line(format!("    {}  {:<26} {:<10} {proof}", vietnam_time(&step.time), step.event, step.role));
            output.line(format!("      {}", step.text));
            if !step.reason.is_empty() {
                output.line(format!("      {}: {}", step.reason, step.reason_text));
            }
        }
        if !recipient.legacy_doc_id.is_empty() {
            output.line(format!("    docId on today's axis: {}", printable(&recipient.legacy_doc_id)));
        }
        recipient.statuses.iter().for_each(|note| status_lines(note, output));
        if recipient.statuses.is_empty() && !recipient.business_status.is_empty() {
            output.line(format!("    status {}", recipient.business_status));
        }
    }
    if !item.last_error.is_empty() {
        output.line(format!("  {} {}", output.paint(Tone::Unsure, "last error:"), printable(&item.last_error)));
    }
}

/// A business status: what it means, why, who said it, and the envelope whose receipts prove it.
pub(crate) fn status_lines(note: &StatusNote, output: &Output) {
    let late = if note.late { "  (changed nothing / không làm thay đổi)" } else { "" };
    let of = if note.staff.is_empty() { note.from.clone() } else { format!("{}, {}", note.from, note.staff) };
    let said = format!("{} {} / {}", note.code, note.english, note.text);
    output.line(format!("    {}  {}  {}{late}", vietnam_time(&note.time), printable(&said), printable(&of)));
    if !note.reason.is_empty() {
        output.line(format!("      {}", printable(&note.reason)));
    }
    if !note.envelope.is_empty() {
        output.line(format!("      {}", output.paint(Tone::Quiet, format!("truc receipt list {}", note.envelope))));
    }
}

/// A statement's time as people here read it.
pub(crate) fn vietnam_time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| printable(text), Timestamp::in_vietnam)
}

fn item_json(item: &OutboxItem) -> Value {
    json!({
        "envelope": item.envelope, "sender": item.sender, "kind": item.kind, "accepted_at": item.accepted_at,
        "subject": item.subject, "state": item.state, "payload_length": item.payload_length, "bytes_sent": item.bytes_sent,
        "last_error": item.last_error, "recipients": recipients_json(item), "document_id": item.document_id,
        "warnings": item.warnings, "change": item.change.as_ref().map(change_json),
        "changed_by": item.changed_by.iter().map(changed_by_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn recipients_json(item: &OutboxItem) -> Value {
    json!(item.recipients.iter().map(recipient_json).collect::<Vec<_>>())
}

fn recipient_json(recipient: &RecipientState) -> Value {
    let ladder: Vec<_> = recipient
        .ladder
        .iter()
        .map(|s| json!({ "event": s.event, "role": s.role, "time": s.time, "reason": s.reason, "final": s.r#final, "text": s.text, "reason_text": s.reason_text }))
        .collect();
    json!({
        "legacy": recipient.legacy, "legacy_doc_id": recipient.legacy_doc_id,
        "recipient": recipient.recipient, "state": recipient.state, "reason": recipient.reason, "text": recipient.text,
        "late": recipient.late, "business_status": recipient.business_status, "ladder": ladder,
        "statuses": recipient.statuses.iter().map(note_json).collect::<Vec<_>>(), "withdrawal": recipient.withdrawal,
        "change": recipient.change,
    })
}
