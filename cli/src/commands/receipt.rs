//! `truc receipt`: list and get receipts from a node; verify them anywhere, one by one or as a bundle.

mod bundle;
mod histories;
mod verify;

use std::{fs::OpenOptions, io::Write as _, path::Path};

use anyhow::anyhow;
use data_encoding::HEXLOWER;
use serde_json::json;
use truc_proto::node_v1::{GetReceiptRequest, ListReceiptsReply, ListReceiptsRequest, ReceiptItem};

pub(crate) use verify::run as verify;

use crate::{
    args::{ReceiptCommand, ReceiptsOf},
    client::{Node, block_on, connect, failed},
    commands::{
        inbox::note_json,
        outbox::{status_lines, vietnam_time},
    },
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

/// Hexadecimal digits of a leaf hash that tables show.
const SHORT_HASH: usize = 12;

/// All of `truc receipt`.
pub(crate) fn from_node(command: &ReceiptCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            ReceiptCommand::List { node, about } => list(&mut connect(node).await?, about, output).await,
            ReceiptCommand::Get { node, about, leaf, opening, out } => {
                let mut node = connect(node).await?;
                let items = items(&mut node, about).await?;
                get(&mut node, &chosen(items, leaf.as_deref())?, *opening, out, output).await
            }
            ReceiptCommand::Export(args) => bundle::export(args, output).await,
            ReceiptCommand::Verify(args) => verify(args, output),
            ReceiptCommand::Show(args) => verify::show(args, output),
        }
    })
}

async fn items(node: &mut Node, about: &ReceiptsOf) -> Result<Vec<ReceiptItem>, Failure> {
    Ok(of(node, about).await?.items)
}

async fn of(node: &mut Node, about: &ReceiptsOf) -> Result<ListReceiptsReply, Failure> {
    let request = ListReceiptsRequest {
        envelope: about.envelope.map(|envelope| envelope.to_string()).unwrap_or_default(),
        sender: about.sender.as_ref().map(ToString::to_string).unwrap_or_default(),
        idempotency_key: about.idempotency_key.clone().unwrap_or_default(),
    };
    Ok(node.list_receipts(request).await.map_err(|s| failed("list the receipts", &s))?.into_inner())
}

async fn list(node: &mut Node, about: &ReceiptsOf, output: &Output) -> Outcome {
    let ListReceiptsReply { items, statuses } = of(node, about).await?;
    let value: Vec<_> = items
        .iter()
        .map(|i| {
            json!({
                "leaf": HEXLOWER.encode(&i.leaf_hash), "event": i.event, "role": i.role, "actor": i.actor,
                "recipient": i.recipient, "time": i.time, "final": i.r#final,
            })
        })
        .collect();
    let value = json!({ "receipts": value, "statuses": statuses.iter().map(note_json).collect::<Vec<_>>() });
    output.show(&value, |o| {
        let rows: Vec<_> = items
            .iter()
            .map(|i| {
                let proof = if i.r#final { "final" } else { "provisional" };
                [
                    HEXLOWER.encode(&i.leaf_hash).chars().take(SHORT_HASH).collect(),
                    vietnam_time(&i.time),
                    i.event.clone(),
                    i.role.clone(),
                    i.actor.clone(),
                    proof.to_owned(),
                ]
            })
            .collect();
        o.table(["LEAF", "TIME", "EVENT", "ROLE", "ACTOR", "PROOF"], &rows, "there are no receipts of it");
        if !statuses.is_empty() {
            o.line("business statuses / trạng thái xử lý");
        }
        statuses.iter().for_each(|note| status_lines(note, o));
    });
    Ok(if items.is_empty() { Exit::Invalid } else { Exit::Good })
}

fn chosen(items: Vec<ReceiptItem>, leaf: Option<&str>) -> Result<Vec<ReceiptItem>, Failure> {
    let Some(leaf) = leaf else { return Ok(items) };
    let chosen: Vec<_> = items.into_iter().filter(|i| HEXLOWER.encode(&i.leaf_hash).starts_with(leaf)).collect();
    match chosen.len() {
        1 => Ok(chosen),
        0 => Err(Failure::new(Exit::Invalid, anyhow!("none of these receipts begins with {leaf}"))),
        n => Err(Failure::new(Exit::Usage, anyhow!("{n} receipts begin with {leaf}; give more digits"))),
    }
}

async fn get(node: &mut Node, items: &[ReceiptItem], opening: bool, folder: &Path, output: &Output) -> Outcome {
    std::fs::create_dir_all(folder).or_exit(Exit::BadData, format!("cannot create {}", folder.display()))?;
    let mut written = Vec::new();
    for item in items {
        let request = GetReceiptRequest { leaf_hash: item.leaf_hash.clone(), with_opening: opening };
        let reply = node.get_receipt(request).await.map_err(|s| failed("get the receipt", &s))?.into_inner();
        // The name comes from the node; only its last part may choose where we write.
        let name = Path::new(&reply.file_name)
            .file_name()
            .ok_or_else(|| Failure::new(Exit::BadData, anyhow!("the node names a receipt `{}`", reply.file_name)))?;
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file =
            file.or_exit(Exit::BadData, format!("cannot create {} (it must not exist yet)", path.display()))?;
        file.write_all(&reply.receipt).or_exit(Exit::BadData, format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    output.show(&json!(written), |o| {
        for (path, item) in written.iter().zip(items) {
            let tone = if item.r#final { Tone::Good } else { Tone::Unsure };
            o.line(format!(
                "{}  {}",
                o.paint(tone, if item.r#final { "final      " } else { "provisional" }),
                path.display()
            ));
        }
    });
    Ok(if written.is_empty() { Exit::Invalid } else { Exit::Good })
}
