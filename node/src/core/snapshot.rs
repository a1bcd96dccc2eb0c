//! The fold written down for a fast start. A snapshot that cannot be read is passed over: the journal has everything.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_evidence::Attested;
use truc_ledger::{Fold, FoldError, Replayed};
use truc_proto::{AgencyId, Checkpoint, Digest, NodeId};

use super::{
    Core, EarlyStatus, EntitledRef, Group, ItemRef, Key, OwnCheckpoint, Received, Request, Sent, Shown, Unsent, Wish,
    administration::Newest,
};
use crate::records::Place;

/// Counts up when the form of the entries changes; older snapshots are then passed over.
const FORM: u32 = 3;

#[derive(Serialize, Deserialize)]
enum Entry<'a> {
    Start {
        form: u32,
        next_position: u64,
        next_leaf: u64,
        own: Option<OwnCheckpoint>,
        directory: Option<(u64, Digest)>,
    },
    Sent(std::borrow::Cow<'a, Sent>),
    Received(std::borrow::Cow<'a, Received>),
    Request(AgencyId, String, Request),
    Unsent(u64, Unsent),
    Unattested(Attested, u64, Shown),
    Peer(NodeId, Vec<u8>),
    Seen(NodeId, u64, Vec<u8>),
    Fork(NodeId, u64),
    Cosigned(NodeId, String, u64, Digest),
    Parked(Digest, ItemRef),
    Early(Key, AgencyId, EarlyStatus),
    Entitled(NodeId, String, Vec<EntitledRef>),
    Group(AgencyId, String, Group),
    Deeds(Newest),
    Wish(u64, Wish),
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("it was written by another version")]
    OtherForm,
    #[error("an entry cannot be read")]
    Entry(#[from] serde_json::Error),
    #[error("it is empty")]
    Empty,
}

impl Core {
    /// The state's entries, one at a time.
    pub fn snapshot(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        use std::borrow::Cow::Borrowed;
        let start = Entry::Start {
            form: FORM,
            next_position: self.next_position,
            next_leaf: self.next_leaf,
            own: self.own_checkpoint,
            directory: self.directory,
        };
        let requests =
            self.requests.iter().map(|((code, key), r)| Entry::Request(code.clone(), key.clone(), r.clone()));
        std::iter::once(start)
            .chain(self.sent.values().map(|sent| Entry::Sent(Borrowed(sent))))
            .chain(self.received.values().map(|received| Entry::Received(Borrowed(received))))
            .chain(requests)
            .chain(self.unsent().iter().map(|(index, unsent)| Entry::Unsent(*index, unsent.clone())))
            .chain(self.unattested.iter().map(|(had, index, shown)| Entry::Unattested(had, index, *shown)))
            .chain(self.peers.iter().map(|(node, note)| Entry::Peer(node.clone(), note.to_vec())))
            .chain(self.seen.iter().map(|(node, (size, note))| Entry::Seen(node.clone(), *size, note.to_vec())))
            .chain(self.forks.iter().map(|(node, position)| Entry::Fork(node.clone(), *position)))
            .chain(
                self.cosigned
                    .iter()
                    .map(|(node, at)| Entry::Cosigned(node.clone(), at.origin().to_owned(), at.size, at.root)),
            )
            .chain(self.parked.iter().map(|(hash, at)| Entry::Parked(*hash, *at)))
            .chain(self.early.iter().map(|((key, code), early)| Entry::Early(key.clone(), code.clone(), early.clone())))
            .chain(self.entitlements.iter().map(|((n, c), refs)| Entry::Entitled(n.clone(), c.clone(), refs.clone())))
            .chain(self.groups.iter().map(|(owner, name, g)| Entry::Group(owner.clone(), name.clone(), g.clone())))
            .chain(self.newest_deed().map(|_| Entry::Deeds(self.deeds)))
            .chain(self.wishes.iter().map(|(number, wish)| Entry::Wish(*number, wish.clone())))
            .map(|entry| serde_json::to_vec(&entry).expect("plain data with text keys is always JSON"))
    }

    fn load(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), SnapshotError> {
        let mut started = false;
        for bytes in entries {
            match serde_json::from_slice::<Entry<'static>>(&bytes)? {
                Entry::Start { form, next_position, next_leaf, own, directory } => {
                    if form != FORM {
                        return Err(SnapshotError::OtherForm);
                    }
                    (self.next_position, self.next_leaf) = (next_position, next_leaf);
                    (self.own_checkpoint, self.directory) = (own, directory);
                    started = true;
                }
                _ if !started => return Err(SnapshotError::OtherForm),
                Entry::Sent(sent) => self.load_sent(sent.into_owned()),
                Entry::Received(received) => self.load_received(received.into_owned()),
                Entry::Request(code, key, request) => _ = self.requests.insert((code, key), request),
                Entry::Unsent(index, unsent) => self.set_unsent(index, unsent),
                Entry::Unattested(had, index, shown) => self.unattested.insert(had, index, shown),
                Entry::Peer(node, note) => _ = self.peers.insert(node, Bytes::from(note)),
                Entry::Seen(node, size, note) => _ = self.seen.insert(node, (size, Bytes::from(note))),
                Entry::Fork(node, position) => _ = self.forks.insert(node, position),
                Entry::Cosigned(node, origin, size, root) => {
                    let checkpoint = Checkpoint::new(origin, size, root).map_err(|_| SnapshotError::OtherForm)?;
                    self.cosigned.insert(node, checkpoint);
                }
                Entry::Parked(hash, at) => _ = self.parked.insert(hash, at),
                Entry::Early(key, code, early) => _ = self.early.insert((key, code), early),
                Entry::Entitled(node, code, refs) => _ = self.entitlements.insert((node, code), refs),
                Entry::Group(owner, name, group) => self.groups.put(owner, name, group),
                Entry::Deeds(deeds) => self.deeds = deeds,
                Entry::Wish(number, wish) => _ = self.wishes.insert(number, wish),
            }
        }
        if started { Ok(()) } else { Err(SnapshotError::Empty) }
    }

    fn load_sent(&mut self, sent: Sent) {
        // The first record about it names it in memory.
        let position = sent.places.first().map_or(sent.body, |place| place.position);
        self.sent_keys.insert(sent.key.clone(), position);
        self.sent_leaves.extend(sent.steps.iter().map(|step| (step.leaf, position)));
        self.sent.insert(position, sent);
    }

    fn load_received(&mut self, received: Received) {
        let position = received.body;
        self.received_keys.insert(received.key.clone(), position);
        self.received_leaves.extend(received.steps.iter().map(|step| (step.leaf, position)));
        self.note_origin(&received);
        self.received.insert(position, received);
        self.note_unread(position);
    }
}

impl Fold for Core {
    fn reset(&mut self) {
        *self = Self::new(self.policy.clone());
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(self.load(entries)?)
    }

    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        let place = Place { position: record.position.0, leaf: record.leaf_index };
        Ok(Self::apply(self, place, record.state, record.leaf)?)
    }
}
