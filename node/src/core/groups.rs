//! Receiver groups: an agency's named lists of codes, folded from the journal. Who may change them, and what a code is, is the service's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use truc_proto::{
    AgencyId, Timestamp,
    limits::{GROUP_CODES_PER_NODE_MAX, GROUPS_PER_AGENCY_MAX, GROUPS_PER_NODE_MAX},
};

use super::{Answer, Core, Token, parsed};
use crate::records::{self, Body, RecordError};

/// A group's members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Sorted, each once; never empty.
    pub codes: Box<[AgencyId]>,
    /// Since when they are these.
    pub changed_at: Timestamp,
}

/// All groups of a node.
#[derive(Default, Debug)]
pub(super) struct Groups {
    by_owner: BTreeMap<AgencyId, BTreeMap<String, Group>>,
    count: usize,
    codes: usize,
}

impl Groups {
    pub(super) fn put(&mut self, owner: AgencyId, name: String, group: Group) {
        self.remove(&owner, &name);
        self.count += 1;
        self.codes += group.codes.len();
        self.by_owner.entry(owner).or_default().insert(name, group);
    }

    fn remove(&mut self, owner: &AgencyId, name: &str) {
        let Some(groups) = self.by_owner.get_mut(owner) else { return };
        if let Some(old) = groups.remove(name) {
            self.count -= 1;
            self.codes -= old.codes.len();
        }
        if groups.is_empty() {
            self.by_owner.remove(owner);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AgencyId, &String, &Group)> {
        self.by_owner.iter().flat_map(|(owner, groups)| groups.iter().map(move |(name, group)| (owner, name, group)))
    }

    /// Which bound a group with so many codes would go over.
    fn over(&self, owner: &AgencyId, name: &str, codes: usize) -> Option<&'static str> {
        let groups = self.by_owner.get(owner);
        let old = groups.and_then(|groups| groups.get(name));
        let (count, all) = (self.count + usize::from(old.is_none()), self.codes + codes);
        if old.is_none() && groups.is_some_and(|groups| groups.len() >= GROUPS_PER_AGENCY_MAX) {
            return Some(
                "an agency has at most 200 receiver groups; delete one / Mỗi cơ quan có tối đa 200 nhóm nơi nhận; hãy xóa bớt",
            );
        }
        if count > GROUPS_PER_NODE_MAX || all - old.map_or(0, |old| old.codes.len()) > GROUP_CODES_PER_NODE_MAX {
            return Some(
                "this node has no room for more receiver groups; delete some / Nút không còn chỗ cho nhóm nơi nhận; hãy xóa bớt",
            );
        }
        None
    }
}

impl Core {
    /// An agency's groups by name.
    #[must_use]
    pub fn groups_of(&self, owner: &AgencyId) -> Option<&BTreeMap<String, Group>> {
        self.groups.by_owner.get(owner)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = (&AgencyId, &String, &Group)> {
        self.groups.iter()
    }

    /// Puts a list in the place of what has this name; an empty one deletes it. What is so already is not written again.
    pub(super) fn put_group(
        &mut self,
        now: Timestamp,
        owner: &AgencyId,
        name: String,
        codes: &[AgencyId],
        reply: Option<Token>,
    ) {
        let old = self.groups_of(owner).and_then(|groups| groups.get(&name));
        let existed = old.is_some();
        if let Some(at) = old.filter(|old| *old.codes == *codes).map(|old| old.changed_at) {
            return self.reply(reply, Answer::Group { existed, at });
        }
        if !existed && codes.is_empty() {
            return self.reply(reply, Answer::Group { existed, at: now });
        }
        if let Some(why) = self.groups.over(owner, &name, codes.len()).filter(|_| !codes.is_empty()) {
            return self.reply(reply, Answer::NotNow(why));
        }
        let codes = codes.iter().map(ToString::to_string).collect();
        let record = records::Group { owner: owner.to_string(), name, codes, at_ms: now.unix_ms() };
        if self.commit(Body::Group(record), None).is_some() {
            self.reply(reply, Answer::Group { existed, at: now });
        }
    }

    pub(super) fn fold_group(&mut self, record: records::Group) -> Result<(), RecordError> {
        let owner: AgencyId = parsed(&record.owner, "agency code")?;
        if record.codes.is_empty() {
            self.groups.remove(&owner, &record.name);
            return Ok(());
        }
        let codes = record.codes.iter().map(|code| parsed(code, "agency code")).collect::<Result<_, _>>()?;
        let group = Group { codes, changed_at: Timestamp::from_unix_ms(record.at_ms) };
        self.groups.put(owner, record.name, group);
        Ok(())
    }
}
