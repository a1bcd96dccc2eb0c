//! `truc search`: documents found again, sent and received, however long ago.

use serde_json::{Value, json};
use truc_proto::node_v1::{DocumentFound, SearchDocumentsRequest};

use crate::{
    args::DocumentSearchArgs,
    client::{block_on, connect, failed},
    exit::{Exit, Outcome},
    output::Output,
};

/// Entries of one page.
const PAGE: u32 = 200;

pub(crate) fn run(args: &DocumentSearchArgs, output: &Output) -> Outcome {
    block_on(async {
        let mut node = connect(&args.node).await?;
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX).max(1);
        let (mut items, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = request(args, limit - items.len(), page_token);
            let reply = node.search_documents(request).await.map_err(|s| failed("search documents", &s))?.into_inner();
            items.extend(reply.items);
            page_token = reply.next_page_token;
            if page_token.is_empty() || items.len() >= limit {
                break;
            }
        }
        // A document may be for several agencies of the token: then its page is a little longer.
        let more = !page_token.is_empty() || items.len() > limit;
        items.truncate(limit);
        let value = json!({ "items": items.iter().map(item_json).collect::<Vec<_>>(), "more": more });
        output.show(&value, |o| {
            table(&items, o);
            if more {
                o.line(format!(
                    "the newest {limit}; there may be older ones: more words, --from, --to or --limit / {limit} văn bản mới nhất; có thể còn văn bản cũ hơn: thêm từ, hoặc dùng --from, --to, --limit"
                ));
            }
        });
        Ok(if items.is_empty() { Exit::Invalid } else { Exit::Good })
    })
}

fn request(args: &DocumentSearchArgs, wanted: usize, page_token: String) -> SearchDocumentsRequest {
    let direction = match (args.sent, args.received) {
        (true, _) => "sent",
        (_, true) => "received",
        _ => "",
    };
    SearchDocumentsRequest {
        text: args.words.join(" "),
        code: args.code.as_ref().map(ToString::to_string).unwrap_or_default(),
        from: args.from.clone().unwrap_or_default(),
        to: args.to.clone().unwrap_or_default(),
        direction: direction.into(),
        with_withdrawn: args.withdrawn,
        page_size: u32::try_from(wanted).unwrap_or(PAGE).clamp(1, PAGE),
        page_token,
    }
}

fn table(items: &[DocumentFound], output: &Output) {
    let row = |item: &DocumentFound| {
        let recipients = match item.recipients.first() {
            Some(first) if item.recipient_count > 1 => format!("{first} +{}", item.recipient_count - 1),
            Some(first) => first.clone(),
            None => String::new(),
        };
        let way = if item.direction == "sent" { "đi" } else { "đến" };
        let subject = [item.type_name.as_str(), item.subject.as_str()].join(" ").trim().to_owned();
        [
            item.date.clone(),
            way.to_owned(),
            item.number.clone(),
            item.sender.clone(),
            recipients,
            item.state.clone(),
            item.envelope.clone(),
            subject,
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    let header = ["DATE", "WAY", "NUMBER", "FROM", "TO", "STATE", "ENVELOPE", "SUBJECT"];
    output.table(header, &rows, "no document has all of these words / Không có văn bản nào chứa đủ các từ này");
}

fn item_json(item: &DocumentFound) -> Value {
    json!({
        "direction": item.direction, "envelope": item.envelope, "sender": item.sender, "recipients": item.recipients,
        "recipient_count": item.recipient_count, "document_id": item.document_id, "number": item.number,
        "type_name": item.type_name, "subject": item.subject, "date": item.date, "state": item.state, "time": item.time,
        "legacy": item.legacy,
    })
}
