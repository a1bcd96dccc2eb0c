//! Where the relay keeps what it was given: the operations that the service needs, whatever engine is behind them.
//!
//! Contract: an answer is durable when it comes; records of one ledger have gapless order; nothing is promised across ledgers; no cursor of the
//! engine shows through. [`Embedded`] keeps a journal, its fold in memory, blobs in files and a look-up index that may be lost at any time.

mod embedded;
mod engine;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use truc_custody::deeds::Deed;
use truc_evidence::Attestations;
use truc_ledger::{Committed, Position, ProofFailure, blobs::BlobStore};
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId, Reason};

use crate::{
    core::{
        Acceptance, CosignOutcome, Cursor, DeliveryPage, EnvelopeKey, EvidenceOutcome, Found, Input, Mark,
        NewDirectory, OfferOutcome, Refused, Reply, Undelivered, VerifiedEvidence, VerifiedFinalisation, VerifiedOffer,
    },
    records::Body,
};

pub use embedded::{Claim, Embedded, EmbeddedSettings, OpenStoreError};

/// Why an operation gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much waits; try again soon.
    #[error("the relay is busy; try again soon")]
    Busy,
    /// Nobody can say now whether it happened: ask again after the restart. Operations are idempotent.
    #[error("the relay's store stopped before it could answer; ask again when the relay is back")]
    Indeterminate,
    /// Less than a tenth of the disk is free: no new work, receipts still go.
    #[error("the relay's disk is nearly full; it takes no new envelopes until its operator makes room")]
    Full,
    /// What the store gives back is not what was put there.
    #[error("the relay's store is damaged ({0}); its operator must look into it")]
    Corrupt(String),
    /// Decided against.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// A record as it is read back.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// What it says.
    pub body: Body,
    /// Its leaf.
    pub leaf: Option<Bytes>,
}

/// The storage of a relay.
pub trait Store: Send + Sync + 'static {
    /// Decides about `input` and answers when everything that follows from it is durable.
    fn ask(&self, input: Input) -> impl Future<Output = Result<Reply, StoreError>> + Send;

    /// A durable record.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], or [`StoreError::Indeterminate`] when the disk does not answer.
    fn read(&self, position: Position) -> Result<StoredRecord, StoreError>;

    /// The accepted record of an envelope that the fold has forgotten, found through the look-up index and checked against its key.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while the index is being built: that is no word about the envelope.
    fn look_up(&self, key: &EnvelopeKey) -> Result<Option<Position>, StoreError>;

    /// The leaf index of a durable record.
    ///
    /// # Errors
    /// As [`Store::read`]; also when it has no leaf.
    fn leaf_index(&self, position: Position) -> Result<u64, StoreError>;

    /// The newest durable checkpoint.
    fn head(&self) -> Arc<Committed>;

    /// A leaf's hash with its inclusion proof.
    ///
    /// # Errors
    /// [`ProofFailure`].
    fn proven_leaf(&self, leaf_index: u64, size: u64) -> Result<(Digest, Vec<Digest>), ProofFailure>;

    /// Consistency proof.
    ///
    /// # Errors
    /// [`ProofFailure`].
    fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ProofFailure>;

    /// Root of the first `size` leaves.
    ///
    /// # Errors
    /// [`ProofFailure`].
    fn root_at(&self, size: u64) -> Result<Digest, ProofFailure>;

    /// Payloads that are not inline.
    fn blobs(&self) -> &Arc<BlobStore>;

    /// Keeps a payload from being removed while an offer counts on it. Take it before looking whether the payload is there.
    fn claim(&self, payload: &Digest) -> Claim;

    /// Changes whenever there is something new for `node`.
    fn news(&self, node: &NodeId) -> tokio::sync::watch::Receiver<u64>;

    /// What is known of these envelopes.
    fn find(&self, keys: Vec<EnvelopeKey>) -> impl Future<Output = Result<Vec<Option<Found>>, StoreError>> + Send {
        async move {
            match self.ask(Input::Find(keys)).await? {
                Reply::Found(found) => Ok(found),
                _ => Err(mismatch()),
            }
        }
    }

    /// What is known under these ids.
    fn find_ids(
        &self,
        ids: Vec<EnvelopeId>,
    ) -> impl Future<Output = Result<Vec<Vec<(EnvelopeKey, Found)>>, StoreError>> + Send {
        async move {
            match self.ask(Input::FindIds(ids)).await? {
                Reply::FoundIds(found) => Ok(found),
                _ => Err(mismatch()),
            }
        }
    }

    /// Accepts a verified offer once.
    fn accept(&self, offer: VerifiedOffer) -> impl Future<Output = Result<OfferOutcome, StoreError>> + Send {
        async move { offer_reply(self.ask(Input::Offered(Box::new(offer))).await?) }
    }

    /// Refuses a genuine offer with evidence.
    fn refuse(
        &self,
        offer: VerifiedOffer,
        reason: Reason,
        successor: Option<AgencyId>,
    ) -> impl Future<Output = Result<OfferOutcome, StoreError>> + Send {
        async move { offer_reply(self.ask(Input::OfferRefused { offer: Box::new(offer), reason, successor }).await?) }
    }

    /// Takes an envelope for delivery, or shows that the node is still at it.
    fn lease(&self, node: NodeId, key: EnvelopeKey) -> impl Future<Output = Result<Found, StoreError>> + Send {
        async move {
            match self.ask(Input::Lease { node, key }).await? {
                Reply::Lease(found) => Ok(found?),
                _ => Err(mismatch()),
            }
        }
    }

    /// Appends evidence.
    fn append_evidence(
        &self,
        from: NodeId,
        items: Vec<VerifiedEvidence>,
    ) -> impl Future<Output = Result<Vec<EvidenceOutcome>, StoreError>> + Send {
        async move {
            match self.ask(Input::Evidence { from, items }).await? {
                Reply::Evidence(outcomes) => Ok(outcomes?),
                _ => Err(mismatch()),
            }
        }
    }

    /// Appends final proofs.
    fn append_finalisations(
        &self,
        from: NodeId,
        items: Vec<VerifiedFinalisation>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::Finalised { from, items }).await?) }
    }

    /// A node has deliveries on its device.
    fn acknowledge(&self, node: NodeId, numbers: Vec<u64>) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::Acknowledged { node, numbers }).await?) }
    }

    /// A node's own checkpoint was seen.
    fn peer_seen(&self, node: NodeId, mark: Mark, note: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::PeerSeen { node, mark, note }).await?) }
    }

    /// A node showed its newest checkpoint and proofs; the sizes from which one is still wanted.
    fn history_shown(
        &self,
        node: NodeId,
        mark: Mark,
        note: Bytes,
        proofs: Vec<(u64, Vec<Digest>)>,
    ) -> impl Future<Output = Result<Vec<u64>, StoreError>> + Send {
        async move {
            match self.ask(Input::HistoryShown { node, mark, note, proofs }).await? {
                Reply::History(wanted) => Ok(wanted?),
                _ => Err(mismatch()),
            }
        }
    }

    /// A node wants its checkpoint cosigned; granted when that is on the device.
    fn cosign(
        &self,
        node: NodeId,
        origin: String,
        mark: Mark,
        note: Bytes,
        proofs: Vec<(u64, Vec<Digest>)>,
    ) -> impl Future<Output = Result<CosignOutcome, StoreError>> + Send {
        async move {
            match self.ask(Input::Cosign { node, origin, mark, note, proofs }).await? {
                Reply::Cosign(outcome) => Ok(outcome?),
                _ => Err(mismatch()),
            }
        }
    }

    /// The certificate signed a checkpoint.
    fn signed(
        &self,
        size: u64,
        note: Bytes,
        said: Attestations,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::Signed { size, note, said }).await?) }
    }

    /// A directory version is in force from now on.
    fn publish(&self, directory: NewDirectory) -> impl Future<Output = Result<Acceptance, StoreError>> + Send {
        async move {
            match self.ask(Input::Published(Box::new(directory))).await? {
                Reply::Published(at) => Ok(at?),
                _ => Err(mismatch()),
            }
        }
    }

    /// An administrator did something to the relay; done when it is on the device.
    fn administer(&self, deed: Deed, note: Option<Digest>) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::Administered { deed, note }).await?) }
    }

    /// The directory and the clock say that these codes take nothing more.
    fn out_of_service(
        &self,
        codes: Vec<(AgencyId, Option<AgencyId>)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { done(self.ask(Input::OutOfService(codes)).await?) }
    }

    /// What waits for a node.
    fn pull(
        &self,
        node: NodeId,
        cursor: Cursor,
        limit: usize,
    ) -> impl Future<Output = Result<DeliveryPage, StoreError>> + Send {
        async move {
            match self.ask(Input::Pull { node, cursor, limit }).await? {
                Reply::Page(page) => Ok(page),
                _ => Err(mismatch()),
            }
        }
    }

    /// Ids that wait for a node.
    fn undelivered(&self, node: NodeId) -> impl Future<Output = Result<Undelivered, StoreError>> + Send {
        async move {
            match self.ask(Input::Undelivered { node }).await? {
                Reply::Undelivered(list) => Ok(list),
                _ => Err(mismatch()),
            }
        }
    }

    /// Nodes that showed two histories, with the record of what contradicts the note held.
    fn forks(&self) -> impl Future<Output = Result<Vec<(NodeId, Position)>, StoreError>> + Send {
        async move {
            match self.ask(Input::Forks).await? {
                Reply::Forks(forks) => Ok(forks),
                _ => Err(mismatch()),
            }
        }
    }

    /// Changes whenever a node has shown two histories.
    fn forked(&self) -> tokio::sync::watch::Receiver<u64>;

    /// The record with the newest checkpoint held of a node.
    fn held_of(&self, node: NodeId) -> impl Future<Output = Result<Option<(Position, Mark)>, StoreError>> + Send {
        async move {
            match self.ask(Input::HeldOf { node }).await? {
                Reply::Held(held) => Ok(held),
                _ => Err(mismatch()),
            }
        }
    }
}

fn offer_reply(reply: Reply) -> Result<OfferOutcome, StoreError> {
    match reply {
        Reply::Offer(outcome) => Ok(outcome?),
        _ => Err(mismatch()),
    }
}

fn done(reply: Reply) -> Result<(), StoreError> {
    match reply {
        Reply::Done(done) => Ok(done?),
        _ => Err(mismatch()),
    }
}

fn mismatch() -> StoreError {
    StoreError::Corrupt("an answer to another question".into())
}
