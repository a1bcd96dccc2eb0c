//! What waits for a node, under the relay's signature: withholding leaves proof.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tonic::Status;
use truc_ledger::merkle::MemTree;
use truc_proto::{
    Digest, EnvelopeId, NodeId, Raw, UndeliveredStatement, limits::UNDELIVERED_PAGE_MAX, relay_v1 as wire,
};

use super::{Service, blocking, lock, refuse::Refusal};
use crate::{
    core::Undelivered,
    store::{Store, StoreError},
};

impl<S: Store> Service<S> {
    /// The signed statement about what waits for `node` now.
    pub(super) async fn undelivered_note(self: &Arc<Self>, node: &NodeId) -> Result<Bytes, Status> {
        let list = self.store.undelivered(node.clone()).await?;
        self.note_over(node, list).await.map(|(note, _)| note)
    }

    async fn note_over(self: &Arc<Self>, node: &NodeId, list: Undelivered) -> Result<(Bytes, Undelivered), Status> {
        let (service, node) = (Arc::clone(self), node.clone());
        let made = blocking(move || service.sign_statement(&node, &list).map(|note| (note, list))).await?;
        Ok(made.map_err(Refusal::from)?)
    }

    fn sign_statement(&self, node: &NodeId, list: &Undelivered) -> Result<Bytes, StoreError> {
        let ids: BTreeSet<EnvelopeId> = list.envelopes.iter().map(|(id, _)| *id).collect();
        let statement = UndeliveredStatement {
            relay: self.settings.relay.clone(),
            node: node.clone(),
            time: self.now(),
            tree_size: self.store.head().size,
            count: u64::try_from(ids.len()).unwrap_or(u64::MAX),
            root: self.root_over(node, list.changes, &ids),
        };
        let broken = |error: String| StoreError::Corrupt(format!("cannot state what is undelivered: {error}"));
        let raw = Raw::write(statement).map_err(|error| broken(error.to_string()))?;
        let text = std::str::from_utf8(raw.bytes()).map_err(|error| broken(error.to_string()))?;
        let note = self.settings.statements.sign_statement(text).map_err(|error| broken(error.to_string()))?;
        Ok(note.to_string().into_bytes().into())
    }

    /// A long list is hashed once for each time it changes.
    fn root_over(&self, node: &NodeId, changes: u64, ids: &BTreeSet<EnvelopeId>) -> Digest {
        if let Some((of, root)) = lock(&self.roots).get(node)
            && *of == changes
        {
            return *root;
        }
        let root = MemTree::of(ids.iter().map(|id| *id.as_bytes())).root();
        lock(&self.roots).insert(node.clone(), (changes, root));
        root
    }

    /// One page of the list, with a statement over the whole of it.
    pub(super) async fn undelivered(
        self: &Arc<Self>,
        node: NodeId,
        request: wire::UndeliveredRequest,
    ) -> Result<wire::UndeliveredReply, Status> {
        let after = match request.after.as_ref() {
            [] => None,
            bytes => {
                let id = EnvelopeId::from_bytes(bytes);
                Some(id.map_err(|error| Refusal::invalid(format!("`after` is no envelope id: {error}")))?)
            }
        };
        let list = self.store.undelivered(node.clone()).await?;
        let (statement, list) = self.note_over(&node, list).await?;
        let mut rest = list.envelopes.into_iter().filter(|(id, _)| after.is_none_or(|after| *id > after)).peekable();
        let (mut envelopes, mut senders, mut last) = (Vec::new(), Vec::new(), None);
        // Two senders may use one id: both stand on the same page, so that paging by id misses none.
        while let Some((id, sender)) =
            rest.next_if(|(id, _)| envelopes.len() < UNDELIVERED_PAGE_MAX || Some(*id) == last)
        {
            envelopes.push(Bytes::copy_from_slice(id.as_bytes()));
            senders.push(sender.to_string());
            last = Some(id);
        }
        Ok(wire::UndeliveredReply { envelopes, senders, more: rest.peek().is_some(), statement })
    }
}
