//! The open connections, so that what a swap no longer allows can be closed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls_pki_types::CertificateDer;
use tokio::sync::oneshot;
use truc_proto::{NodeId, limits::CONNECTIONS_PER_PEER_MAX};

use crate::stream::Peer;

/// Which end opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The peer did: it is a TLS client.
    Accepted,
    /// We did: it is a TLS server.
    Dialled,
}

#[derive(Default)]
pub(crate) struct Registry(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Entry>,
}

struct Entry {
    peer: Peer,
    side: Side,
    chain: Vec<CertificateDer<'static>>,
    /// Never sent on: dropping it closes the connection.
    _close: oneshot::Sender<()>,
}

/// One peer holds too many connections already.
pub(crate) struct TooManyOfPeer(pub(crate) NodeId);

impl Registry {
    pub(crate) fn add(
        &self,
        peer: Peer,
        side: Side,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<(u64, oneshot::Receiver<()>), TooManyOfPeer> {
        let mut open = self.lock();
        let same = |entry: &&Entry| entry.side == side && entry.peer.name == peer.name;
        if side == Side::Accepted && open.connections.values().filter(same).count() >= CONNECTIONS_PER_PEER_MAX {
            return Err(TooManyOfPeer(peer.name));
        }
        let id = open.next;
        open.next += 1;
        let (close, closed) = oneshot::channel();
        open.connections.insert(id, Entry { peer, side, chain, _close: close });
        Ok((id, closed))
    }

    pub(crate) fn remove(&self, id: u64) {
        self.lock().connections.remove(&id);
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.lock().connections.values().map(|entry| entry.peer.clone()).collect()
    }

    /// Closes what `keep` refuses; returns how many that were. Path validation takes a millisecond per connection, so it
    /// runs outside the lock: handshakes go on meanwhile.
    pub(crate) fn close_unless(&self, keep: impl Fn(&Peer, Side, &[CertificateDer<'static>]) -> bool) -> usize {
        let all: Vec<_> = {
            let open = self.lock();
            open.connections.iter().map(|(id, e)| (*id, e.peer.clone(), e.side, e.chain.clone())).collect()
        };
        let refused = all.iter().filter(|(_, peer, side, chain)| !keep(peer, *side, chain));
        refused.filter(|(id, ..)| self.lock().connections.remove(id).is_some()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
