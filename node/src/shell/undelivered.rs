//! The relay signs what it says waits for us; a list that does not agree leaves proof of the lie.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};
use truc_ledger::merkle::MemTree;
use truc_proto::{EnvelopeId, NoteKey, Raw, SignedNote, UndeliveredStatement, relay_v1, sorted_ids};

use super::{Relay, Shell, offer::describe};
use crate::core::{Input, Key};

/// Most pages of one list: 4,096 ids each.
const PAGES_MAX: usize = 1_024;

impl Shell {
    /// Compares in the background: the list may be long.
    pub(super) fn check_undelivered(self: &Arc<Self>, relay: Relay, note: Bytes) {
        let shell = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = shell.compare_undelivered(relay, note).await {
                warn!(error, "the relay's list of undelivered envelopes could not be compared");
            }
        });
    }

    async fn compare_undelivered(&self, mut relay: Relay, note: Bytes) -> Result<(), String> {
        let stated = self.read_statement(&note)?;
        let known = self.engine.ask(|core| {
            let open =
                core.received().values().filter(|received| received.needs_opening()).map(|received| &received.key);
            core.announced().chain(open).map(|key| key.envelope).collect::<Vec<_>>()
        });
        let known = known.await.map_err(|e| e.to_string())?;
        if stated.root == root_of(known) {
            debug!(count = stated.count, "the relay's list agrees with ours");
            return Ok(());
        }
        let (listed, statement) = page_through(&mut relay).await?;
        let statement = self.read_statement(&statement)?;
        let complete = root_of(listed.iter().map(|key| key.envelope).collect()) == statement.root;
        self.engine.tell(Input::Undelivered { listed, complete }).await.map_err(|e| e.to_string())
    }

    /// A note by the relay's ledger key over a statement about this node.
    fn read_statement(&self, note: &[u8]) -> Result<Raw<UndeliveredStatement>, String> {
        let directory = self.directory().ok_or("there is no directory yet")?;
        let note = SignedNote::parse(note).map_err(|e| e.to_string())?;
        let entry = directory.relay();
        let key = NoteKey::new(entry.origin.as_str(), entry.ledger_key).map_err(|e| e.to_string())?;
        key.verify(&note).map_err(|e| e.to_string())?;
        let text = note.text().strip_suffix('\n').unwrap_or(note.text()).to_owned();
        let statement = Raw::<UndeliveredStatement>::parse(text.into_bytes()).map_err(|e| e.to_string())?;
        if statement.node == self.node { Ok(statement) } else { Err("it is about another node".into()) }
    }
}

async fn page_through(relay: &mut Relay) -> Result<(Vec<Key>, Bytes), String> {
    let (mut keys, mut after) = (Vec::new(), Bytes::new());
    for _ in 0..PAGES_MAX {
        let reply = relay.undelivered(relay_v1::UndeliveredRequest { after: after.clone() }).await;
        let reply = reply.map_err(|status| describe(&status))?.into_inner();
        for (id, sender) in reply.envelopes.iter().zip(&reply.senders) {
            let envelope = EnvelopeId::from_bytes(id).map_err(|e| e.to_string())?;
            keys.push(Key { envelope, sender: sender.parse().map_err(|_| "a sender that is no code")? });
        }
        match reply.envelopes.last() {
            Some(last) if reply.more => after = last.clone(),
            _ => return Ok((keys, reply.statement)),
        }
    }
    Err("the list does not end".into())
}

fn root_of(ids: Vec<EnvelopeId>) -> truc_proto::Digest {
    let ids: Vec<[u8; 16]> = sorted_ids(ids).into_iter().map(|id| *id.as_bytes()).collect();
    MemTree::of(&ids).root()
}
