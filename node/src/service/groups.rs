//! Receiver groups: an agency's named lists of codes. The node keeps them; Send takes their names and means the codes that are in them then.

use std::{collections::BTreeSet, sync::Arc};

use truc_evidence::{Directory, ResolveError};
use truc_proto::{
    AgencyId, ForeignCode, Reason, Timestamp,
    limits::{GROUP_CODES_MAX, GROUP_NAME_CHARS_MAX, GROUPS_PER_REQUEST_MAX},
    node_v1,
};
use unicode_normalization::UnicodeNormalization as _;

use super::{Error, ErrorKind, roles::May, send::no_directory};
use crate::{
    core::{Answer, Core, Group, Input},
    pipeline::Refusal,
    shell::{Shell, clock},
    tokens::Grant,
};

/// Of several members that cannot be sent to so many are named.
const NAMED_MAX: usize = 20;

pub(crate) async fn list(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::ListGroupsRequest,
) -> Result<node_v1::ListGroupsReply, Error> {
    grant.need(May::Groups)?;
    let owner = match request.owner.as_str() {
        "" => None,
        owner => Some(super::code(grant, owner, "owner")?),
    };
    if !request.name.is_empty() {
        let owner = owner.ok_or_else(|| Error::invalid("`name` needs `owner`: whose group is it"))?;
        let name = name(&request.name)?;
        let group = find(shell, &owner, &name).await?.ok_or_else(|| no_group(&owner, &name))?;
        let directory = shell.directory().ok_or_else(no_directory)?;
        let shown = shell.work("describing a group", move || with_members(&directory, &owner, name, &group)).await?;
        return Ok(node_v1::ListGroupsReply { groups: vec![shown] });
    }
    let grant = grant.clone();
    let all = move |core: &Core| {
        let wanted = |of: &AgencyId| owner.as_ref().map_or_else(|| grant.allows(of), |owner| owner == of);
        core.groups().filter(|(of, ..)| wanted(of)).map(|(of, name, group)| shown(of, name, group)).collect()
    };
    Ok(node_v1::ListGroupsReply { groups: shell.engine.ask(all).await? })
}

pub(crate) async fn put(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::PutGroupRequest,
) -> Result<node_v1::PutGroupReply, Error> {
    grant.need(May::Groups)?;
    let (owner, name) = (owner(shell, grant, &request.owner)?, name(&request.name)?);
    if !(1..=GROUP_CODES_MAX).contains(&request.codes.len()) {
        return Err(Error::invalid(format!(
            "a group has 1 to {GROUP_CODES_MAX} codes; delete it where it should be empty / Nhóm có 1 đến {GROUP_CODES_MAX} mã; muốn bỏ thì hãy xóa nhóm"
        )));
    }
    let directory = shell.directory().ok_or_else(no_directory)?;
    let read = Arc::clone(&directory);
    let codes = shell.work("reading a group", move || members(&read, &request.codes)).await??;
    let (of, called, kept) = (owner.clone(), name.clone(), codes.clone());
    let answer = shell.engine.call(|reply| Input::PutGroup { owner: of, name: called, codes: kept, reply }).await?;
    match answer {
        Answer::Group { existed, at } => {
            let group = Group { codes: codes.into(), changed_at: at };
            let describe = move || with_members(&directory, &owner, name, &group);
            let group = Some(shell.work("describing a group", describe).await?);
            Ok(node_v1::PutGroupReply { group, created: !existed })
        }
        Answer::NotNow(why) => Err(Error::not_now(why)),
        other => Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
}

pub(crate) async fn delete(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::DeleteGroupRequest,
) -> Result<node_v1::DeleteGroupReply, Error> {
    grant.need(May::Groups)?;
    // As it was written: also where the owner is not served here any more.
    let (owner, name) = (super::code(grant, &request.owner, "owner")?, name(&request.name)?);
    match shell.engine.call(|reply| Input::PutGroup { owner, name, codes: Vec::new(), reply }).await? {
        Answer::Group { existed, .. } => Ok(node_v1::DeleteGroupReply { existed }),
        other => Err(Error::internal(format!("an unexpected answer of the core: {other:?}"))),
    }
}

/// The codes that the groups of a request stand for, but for the sender's own. Every member must take mail that was asked for at `asked`.
pub(super) async fn expand(
    shell: &Arc<Shell>,
    sender: &AgencyId,
    names: &[String],
    directory: &Arc<Directory>,
    asked: Timestamp,
) -> Result<Result<Vec<AgencyId>, Refusal>, Error> {
    if names.len() > GROUPS_PER_REQUEST_MAX {
        return Err(Error::invalid(format!(
            "a request names at most {GROUPS_PER_REQUEST_MAX} groups / Mỗi yêu cầu ghi tối đa {GROUPS_PER_REQUEST_MAX} nhóm"
        )));
    }
    let mut codes = BTreeSet::new();
    for written in names {
        let name = name(written)?;
        let group = find(shell, sender, &name).await?.ok_or_else(|| no_group(sender, &name))?;
        let (directory, read, sender) = (Arc::clone(directory), group.clone(), sender.clone());
        let looked = move || check_members(&directory, &sender, &name, &read, asked);
        if let Some(refusal) = shell.work("resolving a group", looked).await? {
            return Ok(Err(refusal));
        }
        codes.extend(group.codes);
    }
    codes.remove(sender);
    Ok(Ok(codes.into_iter().collect()))
}

/// The refusal where members cannot be sent to: all of them are named at once, a closed one with its successor.
fn check_members(
    directory: &Directory,
    sender: &AgencyId,
    name: &str,
    group: &Group,
    asked: Timestamp,
) -> Option<Refusal> {
    let others = group.codes.iter().filter(|code| *code != sender);
    // Whether this node passes on to today's axis is the pipeline's to know.
    let fails = |error: &ResolveError| !matches!(error, ResolveError::Legacy { .. });
    let failed: Vec<ResolveError> =
        others.filter_map(|code| directory.resolve(code, asked).err().filter(fails)).collect();
    let first = failed.first()?;
    let more = failed.len().saturating_sub(NAMED_MAX);
    let told = |text: fn(&ResolveError) -> String, and: String| {
        let mut told: Vec<String> = failed.iter().take(NAMED_MAX).map(text).collect();
        told.extend((more > 0).then_some(and));
        told.join("; ")
    };
    let english = told(ToString::to_string, format!("and {more} more"));
    let vietnamese = told(ResolveError::vietnamese, format!("và {more} mã khác"));
    let mut refusal = Refusal::new(
        first.reason(),
        format!("group {name:?} has members that nothing can be sent to; change the group: {english}"),
    );
    refusal.vietnamese = format!("Nhóm {name:?} có mã không gửi được; hãy sửa nhóm: {vietnamese}");
    if let ResolveError::Closed { successor, .. } = first {
        refusal.successor.clone_from(successor);
    }
    Some(refusal)
}

async fn find(shell: &Shell, owner: &AgencyId, name: &str) -> Result<Option<Group>, Error> {
    let (owner, name) = (owner.clone(), name.to_owned());
    Ok(shell.engine.ask(move |core| core.groups_of(&owner)?.get(&name).cloned()).await?)
}

/// A code of the caller's that this node serves.
fn owner(shell: &Shell, grant: &Grant, text: &str) -> Result<AgencyId, Error> {
    let owner = super::code(grant, text, "owner")?;
    let directory = shell.directory().ok_or_else(no_directory)?;
    if directory.codes_of(&shell.node).contains(&owner) {
        return Ok(owner);
    }
    let refusal = Refusal {
        vietnamese: format!("Nút này không phục vụ mã {owner}; hãy đặt nhóm ở nút của mã đó."),
        ..Refusal::new(
            Reason::NotEntitled,
            format!("this node does not serve {owner}; keep its groups at its own node"),
        )
    };
    Err(Error::refused(ErrorKind::NotEntitled, &refusal))
}

/// A group's name, as it is compared: one form of the same letters, no spaces around it.
fn name(text: &str) -> Result<String, Error> {
    let name: String = text.trim().chars().take(4 * GROUP_NAME_CHARS_MAX).nfc().collect();
    let good = (1..=GROUP_NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if good {
        return Ok(name);
    }
    Err(Error::invalid(format!(
        "a group is named by 1 to {GROUP_NAME_CHARS_MAX} characters in one line / Tên nhóm gồm 1 đến {GROUP_NAME_CHARS_MAX} ký tự trên một dòng"
    )))
}

/// Codes as the directory has them, sorted, each once. A code that is not there is more likely a slip than an agency to come.
fn members(directory: &Directory, written: &[String]) -> Result<Vec<AgencyId>, Error> {
    let now = clock::now();
    let mut codes = BTreeSet::new();
    for text in written {
        let invalid = |why: String| Error::invalid(format!("`codes`: {why}"));
        let foreign: ForeignCode = text.trim().parse().map_err(|error| invalid(format!("{text:?}: {error}")))?;
        if let Some(agency) = directory.agency_by_any_code(&foreign) {
            codes.insert(agency.code.clone());
            continue;
        }
        let unknown = match foreign.as_agency() {
            Some(code) => directory.resolve(&code, now).err(),
            None => None,
        };
        let unknown = unknown.map(|error| error.to_wire()).unwrap_or_else(|| {
            let refusal = Refusal {
                vietnamese: format!("Mã {foreign} không có trong danh bạ; hãy kiểm tra lại."),
                nearest: directory.nearest_codes(&foreign, now),
                ..Refusal::new(Reason::UnknownCode, format!("the directory has no code {foreign}; check it"))
            };
            refusal.to_wire()
        });
        return Err(Error::of_wire(ErrorKind::Invalid, unknown));
    }
    Ok(codes.into_iter().collect())
}

fn shown(owner: &AgencyId, name: &str, group: &Group) -> node_v1::ReceiverGroup {
    node_v1::ReceiverGroup {
        owner: owner.to_string(),
        name: name.to_owned(),
        count: u32::try_from(group.codes.len()).unwrap_or(u32::MAX),
        changed_at: group.changed_at.to_string(),
        members: Vec::new(),
    }
}

fn with_members(directory: &Directory, owner: &AgencyId, name: String, group: &Group) -> node_v1::ReceiverGroup {
    let now = clock::now();
    let member = |code: &AgencyId| node_v1::GroupMember {
        code: code.to_string(),
        agency_name: directory.agency(code).map(|agency| agency.name().to_owned()).unwrap_or_default(),
        unreachable: directory.resolve(code, now).err().map(|error| error.to_wire()),
    };
    node_v1::ReceiverGroup { members: group.codes.iter().map(member).collect(), ..shown(owner, &name, group) }
}

fn no_group(owner: &AgencyId, name: &str) -> Error {
    Error::not_found(format!(
        "{owner} has no group {name:?}; list its groups to see their names / {owner} không có nhóm {name:?}; hãy xem danh sách nhóm"
    ))
}
