//! `truc duties`: what should soon be done, or should have been.

use serde_json::{Value, json};
use truc_proto::node_v1::{DutyItem, ListDutiesRequest};

use super::outbox::vietnam_time;
use crate::{
    args::DutiesArgs,
    client::{block_on, connect, failed},
    exit::{Exit, Outcome},
    output::Output,
};

pub(crate) fn run(args: &DutiesArgs, output: &Output) -> Outcome {
    block_on(async {
        let mut node = connect(&args.node).await?;
        let request = ListDutiesRequest {
            code: args.code.as_ref().map(ToString::to_string).unwrap_or_default(),
            r#box: args.of.clone().unwrap_or_default(),
            state: args.state.clone().unwrap_or_default(),
            limit: args.limit.max(1),
        };
        let reply = node.list_duties(request).await.map_err(|s| failed("list what is due", &s))?.into_inner();
        let value = json!({ "items": reply.items.iter().map(item_json).collect::<Vec<_>>(), "total": reply.total });
        output.show(&value, |o| {
            let rows: Vec<_> = reply.items.iter().map(row).collect();
            let header = ["STATE", "DEADLINE", "DUTY", "FROM", "TO", "ENVELOPE", "SUBJECT"];
            o.table(header, &rows, "nothing is due or late / Không có việc sắp đến hạn hoặc quá hạn");
            if reply.total > reply.items.len() as u64 {
                o.line(format!(
                    "{} more: --limit / Còn {0} việc nữa: dùng --limit",
                    reply.total - reply.items.len() as u64
                ));
            }
        });
        Ok(Exit::Good)
    })
}

fn row(item: &DutyItem) -> [String; 7] {
    let state = if item.state == "late" { "quá hạn" } else { "sắp đến hạn" };
    let duty = match item.duty.as_str() {
        "send" => "gửi đi",
        "receipt" => "tiếp nhận",
        _ => "bên nhận tiếp nhận",
    };
    [
        state.to_owned(),
        vietnam_time(&item.deadline),
        duty.to_owned(),
        item.sender.clone(),
        item.recipient.clone(),
        item.envelope.clone(),
        item.subject.clone(),
    ]
}

fn item_json(item: &DutyItem) -> Value {
    json!({
        "envelope": item.envelope, "sender": item.sender, "recipient": item.recipient, "box": item.r#box, "duty": item.duty,
        "state": item.state, "since": item.since, "deadline": item.deadline, "priority": item.priority,
        "subject": item.subject,
    })
}
