//! What administrators do to this node stands in its ledger, with who and why.

use std::sync::Arc;

use truc_ledger::merkle::leaf_hash;
use truc_proto::{
    Administration, Digest, Raw, Timestamp,
    limits::ADMINISTRATION_LOGGED_MAX,
    node_v1::{self, AdministrationEntry},
};

use super::{Error, roles::May};
use crate::{
    core::{Answer, Deed, Input},
    shell::{Bodies, BodyError, Shell},
    tokens::Grant,
};

/// So many when the caller does not say.
const LOGGED: usize = 100;

/// Writes down what was done; gives back the position of its record, which is on the device then (I1). `note`: SHA-256 of the file that it was left as.
pub(crate) async fn record(shell: &Shell, deed: Deed, note: Option<Digest>) -> Result<u64, Error> {
    let deed = Box::new(deed);
    match shell.engine.call(|reply| Input::Administer { deed, note, reply }).await? {
        Answer::Administered { position } => Ok(position),
        Answer::Unfit(why) => Err(Error::invalid(format!("{why} / Nội dung ghi sổ chưa đúng: {why}"))),
        other => Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
}

/// What was done, the newest first.
pub(crate) async fn log(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::AdministrationLogRequest,
) -> Result<node_v1::AdministrationLogReply, Error> {
    grant.need(May::Log)?;
    let since = match request.since.as_str() {
        "" => Timestamp::EPOCH,
        text => text.parse().map_err(|error| {
            Error::invalid(format!(
                "`since`: {error} / `since` là thời điểm dạng RFC 3339, ví dụ 2026-11-22T00:00:00+07:00"
            ))
        })?,
    };
    let limit = match usize::try_from(request.limit) {
        Ok(0) | Err(_) => LOGGED,
        Ok(limit) => limit.min(ADMINISTRATION_LOGGED_MAX),
    };
    let newest = shell.engine.ask(|core| core.newest_deed()).await?;
    // A position that the caller made up leads to no record of this kind, or into the log.
    let from = match (request.from, newest) {
        (Some(from), Some(newest)) if from <= newest => Some(from),
        (Some(_), _) => return Err(no_such_place()),
        (None, newest) => newest,
    };
    let bodies = shell.bodies();
    let read = shell.work("reading the administrators' log", move || read(&bodies, from, since, limit)).await?;
    read.map_err(|error| match error {
        BodyError::Other { .. } => no_such_place(),
        error => Error::internal(crate::chain(&error)),
    })
}

fn no_such_place() -> Error {
    Error::invalid(
        "`from` is not what an earlier answer gave as `next` / `from` không phải là `next` của câu trả lời trước",
    )
}

fn read(
    bodies: &Bodies,
    from: Option<u64>,
    since: Timestamp,
    limit: usize,
) -> Result<node_v1::AdministrationLogReply, BodyError> {
    let (mut entries, mut next) = (Vec::new(), from);
    while let Some(position) = next {
        if entries.len() >= limit {
            break;
        }
        let (record, leaf) = bodies.administered(position)?;
        // Written later is not done later where the clock was set back: all that the chain has from here on is older or of that time.
        if leaf.time < since {
            next = None;
            break;
        }
        entries.push(entry(position, &leaf));
        next = record.previous;
    }
    Ok(node_v1::AdministrationLogReply { entries, next })
}

fn entry(position: u64, leaf: &Raw<Administration>) -> AdministrationEntry {
    let second = leaf.approved_by.as_ref();
    AdministrationEntry {
        position,
        leaf_hash: leaf_hash(leaf.bytes()).as_bytes().to_vec().into(),
        time: leaf.time.to_string(),
        done: leaf.done.map(|at| at.to_string()).unwrap_or_default(),
        action: leaf.action.to_string(),
        english: leaf.action.english().to_owned(),
        vietnamese: leaf.action.vietnamese().to_owned(),
        subject: leaf.subject.name.clone(),
        subject_sha256: leaf.subject.sha256.map(|hash| hash.to_string()).unwrap_or_default(),
        who: leaf.who.name.clone(),
        who_role: leaf.who.role.to_string(),
        approved_by: second.map(|second| second.name.clone()).unwrap_or_default(),
        approved_by_role: second.map(|second| second.role.to_string()).unwrap_or_default(),
        why: leaf.why.clone(),
    }
}
