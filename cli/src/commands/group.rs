//! `truc group`: an agency's receiver groups at its node.

use std::path::Path;

use serde_json::json;
use truc_proto::{
    limits::GROUP_CODES_MAX,
    node_v1::{DeleteGroupRequest, ListGroupsRequest, PutGroupRequest, ReceiverGroup},
};

use crate::{
    args::GroupCommand,
    client::{block_on, connect, failed},
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable},
};

/// Longest file of codes.
const CODES_FILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(command: &GroupCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            GroupCommand::List { node, owner, name } => {
                let mut node = connect(node).await?;
                let request = ListGroupsRequest {
                    owner: owner.as_ref().map(ToString::to_string).unwrap_or_default(),
                    name: name.clone().unwrap_or_default(),
                };
                let reply = node.list_groups(request).await.map_err(|s| failed("list the groups", &s))?.into_inner();
                show(&reply.groups, name.is_some(), output);
                Ok(Exit::Good)
            }
            GroupCommand::Set { node, owner, name, codes, codes_file } => {
                let codes = match codes_file {
                    Some(file) => read(file)?,
                    None => codes.clone(),
                };
                let mut node = connect(node).await?;
                let request = PutGroupRequest { owner: owner.to_string(), name: name.clone(), codes };
                let reply = node.put_group(request).await.map_err(|s| failed("set the group", &s))?.into_inner();
                let groups: Vec<ReceiverGroup> = reply.group.into_iter().collect();
                show(&groups, true, output);
                Ok(Exit::Good)
            }
            GroupCommand::Delete { node, owner, name } => {
                let mut node = connect(node).await?;
                let request = DeleteGroupRequest { owner: owner.to_string(), name: name.clone() };
                let reply = node.delete_group(request).await.map_err(|s| failed("delete the group", &s))?.into_inner();
                output.show(&json!({ "existed": reply.existed }), |o| {
                    o.line(if reply.existed {
                        "deleted / đã xóa"
                    } else {
                        "there was none / không có nhóm này"
                    });
                });
                Ok(Exit::Good)
            }
        }
    })
}

/// One code a line.
fn read(file: &Path) -> Result<Vec<String>, Failure> {
    let cannot = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).or_exit(Exit::BadData, cannot())?.len();
    if length > CODES_FILE_BYTES_MAX {
        let why =
            anyhow::anyhow!("{} is longer than 1 MiB; a group has at most {GROUP_CODES_MAX} codes", file.display());
        return Err(Failure::new(Exit::BadData, why));
    }
    let text = std::fs::read_to_string(file).or_exit(Exit::BadData, cannot())?;
    let lines = text.trim_start_matches('\u{FEFF}').lines();
    let first = |line: &str| line.split([' ', '\t', ',', ';', '#']).next().unwrap_or_default().trim().to_owned();
    Ok(lines.map(|line| first(line.trim())).filter(|code| !code.is_empty()).collect())
}

fn show(groups: &[ReceiverGroup], with_members: bool, output: &Output) {
    let value = json!({ "groups": groups.iter().map(|group| group_json(group, with_members)).collect::<Vec<_>>() });
    output.show(&value, |o| {
        if !with_members {
            let row =
                |g: &ReceiverGroup| [g.owner.clone(), printable(&g.name), g.count.to_string(), g.changed_at.clone()];
            let rows: Vec<_> = groups.iter().map(row).collect();
            return o.table(["OWNER", "GROUP", "CODES", "CHANGED"], &rows, "no groups / chưa có nhóm nào");
        }
        for group in groups {
            o.line(format!("{}  {}  ({})", group.owner, printable(&group.name), group.count));
            let rows: Vec<_> = group.members.iter().map(|m| [m.code.clone(), printable(&m.agency_name)]).collect();
            o.table(["CODE", "NAME"], &rows, "");
            for (code, why) in group.members.iter().filter_map(|m| Some((&m.code, m.unreachable.as_ref()?))) {
                let text = format!("{code}: {} / {}", why.english, why.vietnamese);
                o.line(format!("  {} {}", o.paint(Tone::Unsure, "unreachable:"), printable(&text)));
            }
        }
    });
}

fn group_json(group: &ReceiverGroup, with_members: bool) -> serde_json::Value {
    let members = group.members.iter().map(|member| {
        json!({
            "code": member.code, "name": member.agency_name,
            "unreachable": member.unreachable.as_ref().map(|why| json!({
                "reason": why.reason, "english": why.english, "vietnamese": why.vietnamese, "successor": why.successor,
            })),
        })
    });
    let members: Option<Vec<_>> = with_members.then(|| members.collect());
    json!({
        "owner": group.owner, "name": group.name, "count": group.count, "changed_at": group.changed_at, "members": members,
    })
}
