//! `truc directory search`: agencies by code, old code or words of their names, from a node or from a file.

use anyhow::anyhow;
use serde_json::json;
use truc_evidence::DirectoryQuery;
use truc_proto::node_v1::{DirectoryEntry, SearchDirectoryRequest};

use super::{find, load_trust, open};
use crate::{
    args::{OperatorTrust, SearchArgs},
    client::{block_on, connect, failed},
    clock::now,
    exit::{Exit, Failure, Outcome},
    output::{Output, Tone, printable},
};

/// What was found, wherever.
struct Found {
    entries: Vec<DirectoryEntry>,
    total: u64,
    version: u64,
}

pub(super) fn run(args: &SearchArgs, output: &Output) -> Outcome {
    let text = args.words.join(" ");
    let found = match &args.dir {
        Some(_) => in_file(args, &text)?,
        None => at_node(args, text)?,
    };
    let value = json!({
        "version": found.version, "total": found.total,
        "entries": found.entries.iter().map(entry_json).collect::<Vec<_>>(),
    });
    output.show(&value, |o| {
        let rows: Vec<_> = found.entries.iter().map(row).collect();
        o.table(["CODE", "NAME", "NODE", "STATE"], &rows, "nothing fits / không tìm thấy");
        let rest = found.total.saturating_sub(found.entries.len() as u64);
        if rest > 0 {
            o.line(o.paint(Tone::Unsure, format!("and {rest} more: add a word, or raise --limit")));
        }
    });
    Ok(if found.entries.is_empty() { Exit::Invalid } else { Exit::Good })
}

fn at_node(args: &SearchArgs, text: String) -> Result<Found, Failure> {
    block_on(async {
        let mut node = connect(&args.node).await?;
        let request = SearchDirectoryRequest {
            text,
            under: args.under.as_ref().map(ToString::to_string).unwrap_or_default(),
            limit: args.limit,
        };
        let reply = node.search_directory(request).await.map_err(|s| failed("search the directory", &s))?.into_inner();
        Ok(Found { entries: reply.entries, total: reply.total, version: reply.directory_version })
    })
}

fn in_file(args: &SearchArgs, text: &str) -> Result<Found, Failure> {
    let (Some(dir), Some(trust), Some(operator)) = (&args.dir, &args.trust, &args.operator) else {
        return Err(Failure::new(Exit::Usage, anyhow!("--dir needs --trust and --operator to be believed")));
    };
    let trust = OperatorTrust { trust: trust.clone(), operator: operator.clone(), crl: args.crl.clone() };
    let directory = open(&find(dir)?, &load_trust(&trust)?)?;
    let at = now();
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (hits, total) = directory.search(&DirectoryQuery { text, under: args.under.as_ref(), limit, at });
    Ok(Found {
        entries: hits.iter().map(|hit| directory.described(hit.agency, at)).collect(),
        total: total as u64,
        version: directory.version(),
    })
}

fn entry_json(entry: &DirectoryEntry) -> serde_json::Value {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "code": entry.code, "names": entry.names, "parent": given(&entry.parent), "old_codes": entry.old_codes,
        "valid_from": entry.valid_from, "valid_to": given(&entry.valid_to), "serves_until": given(&entry.serves_until),
        "successor": given(&entry.successor), "route": entry.route, "node": given(&entry.node),
        "unreachable": entry.unreachable.as_ref().map(|why| json!({
            "reason": why.reason, "english": why.english, "vietnamese": why.vietnamese,
        })),
    })
}

fn row(entry: &DirectoryEntry) -> [String; 4] {
    let state = match (&entry.unreachable, entry.successor.as_str()) {
        (None, _) => "open".to_owned(),
        (Some(why), "") => why.reason.clone(),
        (Some(why), successor) => format!("{}, successor {successor}", why.reason),
    };
    let node = if entry.node.is_empty() { "-" } else { &entry.node };
    let name = entry.names.first().map(|name| printable(name)).unwrap_or_default();
    [entry.code.clone(), name, node.to_owned(), state]
}
