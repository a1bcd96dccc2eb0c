//! `truc admin`: what administrators did to a node.

use serde_json::{Value, json};
use truc_proto::{
    Timestamp,
    node_v1::{
        AdministrationEntry, AdministrationLogRequest, AnswerApprovalRequest, GivePinRequest, PendingApproval,
        PendingApprovalsRequest, WithdrawTokenRequest,
    },
};

use super::outbox::vietnam_time;
use crate::{
    args::{AdminCommand, AnswerArgs, NodeArgs, PinArgs},
    client::{block_on, connect_oversight, failed},
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, printable},
};

pub(crate) fn run(command: &AdminCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            AdminCommand::Log { node, since, limit } => log(node, *since, *limit, output).await,
            AdminCommand::Pending(node) => pending(node, output).await,
            AdminCommand::Approve(args) => answer(args, true, output).await,
            AdminCommand::Refuse(args) => answer(args, false, output).await,
            AdminCommand::WithdrawToken { node, name, why } => {
                let request = WithdrawTokenRequest { name: name.clone(), why: why.clone() };
                let reply = connect_oversight(node).await?.withdraw_token(request).await;
                let reply = reply.map_err(|s| failed("withdraw the token", &s))?.into_inner();
                output.show(&json!({ "position": reply.position }), |o| {
                    let name = printable(name);
                    o.line(format!("the token {name} is let in no more; it stands in the ledger / Thẻ {name} không còn hiệu lực; đã ghi vào sổ"));
                });
                Ok(Exit::Good)
            }
        }
    })
}

async fn log(node: &NodeArgs, since: Option<Timestamp>, limit: u32, output: &Output) -> Outcome {
    let entries = fetch(node, since, limit.max(1)).await?;
    let value = json!({ "entries": entries.iter().map(entry_json).collect::<Vec<_>>() });
    output.show(&value, |o| {
        let rows: Vec<_> = entries.iter().map(row).collect();
        let header = ["TIME", "WHO", "WHAT", "SUBJECT", "APPROVED BY", "WHY"];
        o.table(header, &rows, "nothing was done yet / Chưa có việc quản trị nào");
    });
    Ok(Exit::Good)
}

/// Page after page, until there is no more or enough.
async fn fetch(node: &NodeArgs, since: Option<Timestamp>, limit: u32) -> Result<Vec<AdministrationEntry>, Failure> {
    let mut node = connect_oversight(node).await?;
    let mut entries: Vec<AdministrationEntry> = Vec::new();
    let mut from = None;
    loop {
        let left = limit.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let since = since.map(|since| since.to_string()).unwrap_or_default();
        let request = AdministrationLogRequest { since, from, limit: left };
        let reply = node.administration_log(request).await;
        let reply = reply.map_err(|s| failed("read what administrators did", &s))?.into_inner();
        entries.extend(reply.entries);
        from = reply.next;
        if from.is_none() || u32::try_from(entries.len()).is_ok_and(|count| count >= limit) {
            return Ok(entries);
        }
    }
}

pub(crate) fn pin(args: &PinArgs, output: &Output) -> Outcome {
    let prompt = format!("PIN of the token {} / Mã PIN của thiết bị {0}", args.token);
    let cannot = "the PIN cannot be read; type it at a terminal, or write it to standard input";
    let asked = truc_node::terminal::ask(&prompt).or_exit(Exit::Usage, cannot)?;
    let pin = match asked {
        Some(pin) => pin,
        None => truc_node::terminal::read_line(std::io::stdin()).or_exit(Exit::Usage, cannot)?,
    };
    block_on(async {
        let pin = pin.as_bytes().to_vec().into();
        let request = GivePinRequest { token: args.token.clone(), pin, why: args.why.clone() };
        let reply = connect_oversight(&args.node).await?.give_pin(request).await;
        let reply = reply.map_err(|s| failed("give the PIN", &s))?.into_inner();
        output.show(&json!({ "position": reply.position }), |o| {
            o.line("the token is open; what waited for it goes on / Thiết bị đã mở; việc đang chờ được tiếp tục");
        });
        Ok(Exit::Good)
    })
}

async fn pending(node: &NodeArgs, output: &Output) -> Outcome {
    let reply = connect_oversight(node).await?.pending_approvals(PendingApprovalsRequest {}).await;
    let items = reply.map_err(|s| failed("list what waits for a second administrator", &s))?.into_inner().items;
    let value = json!({ "items": items.iter().map(pending_json).collect::<Vec<_>>() });
    output.show(&value, |o| {
        let rows: Vec<_> = items.iter().map(pending_row).collect();
        let header = ["NUMBER", "STATE", "UNTIL", "WHO", "WHAT", "SUBJECT", "WHY", "ANSWER"];
        o.table(header, &rows, "nothing waits for a second administrator / Không có đề nghị nào chờ người thứ hai");
    });
    Ok(Exit::Good)
}

fn pending_row(item: &PendingApproval) -> [String; 8] {
    let state = match item.state.as_str() {
        "waits" => "waits / đang chờ",
        "approved" => "approved / đã chấp thuận",
        "refused" => "refused / bị từ chối",
        _ => "expired / hết hạn",
    };
    let answer =
        if item.answered_by.is_empty() { String::new() } else { format!("{}: {}", item.answered_by, item.answer) };
    [
        item.number.to_string(),
        state.to_owned(),
        vietnam_time(&item.until),
        printable(&item.who),
        format!("{} / {}", item.english, item.vietnamese),
        printable(&item.subject),
        printable(&item.why),
        printable(&answer),
    ]
}

fn pending_json(item: &PendingApproval) -> Value {
    json!({
        "number": item.number, "state": item.state, "asked": item.asked, "until": item.until, "action": item.action,
        "subject": item.subject, "subject_sha256": item.subject_sha256, "who": item.who, "why": item.why,
        "answered_by": item.answered_by, "answer": item.answer,
    })
}

async fn answer(args: &AnswerArgs, approve: bool, output: &Output) -> Outcome {
    let request = AnswerApprovalRequest { number: args.number, approve, why: args.why.clone() };
    let reply = connect_oversight(&args.node).await?.answer_approval(request).await;
    let reply = reply.map_err(|s| failed("answer the request", &s))?.into_inner();
    let (english, vietnamese) = if approve {
        (
            "approved; who asked gives his command again within 24 hours",
            "đã chấp thuận; người đề nghị chạy lại lệnh trong vòng 24 giờ",
        )
    } else {
        ("refused; it is not carried out", "đã từ chối; sẽ không thực hiện")
    };
    output.show(&json!({ "position": reply.position }), |o| o.line(format!("{english} / {vietnamese}")));
    Ok(Exit::Good)
}

fn row(entry: &AdministrationEntry) -> [String; 6] {
    let person = |name: &str, role: &str| if name.is_empty() { String::new() } else { format!("{name} ({role})") };
    let when = if entry.done.is_empty() { &entry.time } else { &entry.done };
    let hash: String = entry.subject_sha256.chars().take(16).collect();
    let subject = if hash.is_empty() { entry.subject.clone() } else { format!("{} [{hash}…]", entry.subject) };
    [
        vietnam_time(when),
        printable(&person(&entry.who, &entry.who_role)),
        format!("{} / {}", entry.english, entry.vietnamese),
        printable(&subject),
        printable(&person(&entry.approved_by, &entry.approved_by_role)),
        printable(&entry.why),
    ]
}

fn entry_json(entry: &AdministrationEntry) -> Value {
    json!({
        "position": entry.position, "leaf_hash": data_encoding::HEXLOWER.encode(&entry.leaf_hash), "time": entry.time,
        "done": entry.done, "action": entry.action, "english": entry.english, "vietnamese": entry.vietnamese,
        "subject": entry.subject, "subject_sha256": entry.subject_sha256,
        "who": { "name": entry.who, "role": entry.who_role },
        "approved_by": (!entry.approved_by.is_empty())
            .then(|| json!({ "name": entry.approved_by, "role": entry.approved_by_role })),
        "why": entry.why,
    })
}
