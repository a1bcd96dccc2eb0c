//! `truc admin`: what administrators did to a node.

use serde_json::{Value, json};
use truc_proto::{
    Timestamp,
    node_v1::{AdministrationEntry, AdministrationLogRequest},
};

use super::outbox::vietnam_time;
use crate::{
    args::{AdminCommand, NodeArgs},
    client::{block_on, connect_oversight, failed},
    exit::{Exit, Failure, Outcome},
    output::{Output, printable},
};

pub(crate) fn run(command: &AdminCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            AdminCommand::Log { node, since, limit } => log(node, *since, *limit, output).await,
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
