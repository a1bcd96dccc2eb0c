//! With the real ledger on a real disk: what it commits, a peer believes.

use std::sync::{Arc, mpsc};

use truc_evidence::{Leaf, prove, verify_leaf};
use truc_ledger::{Fold, FoldError, Record, Replayed, Settings, StoreTag, open, volume::DirVolume};
use truc_proto::{Actor, Digest, EnvelopeId, Event, EventUri, Role};

use crate::world::*;

struct Nothing;

impl Fold for Nothing {
    fn reset(&mut self) {}
    fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(())
    }
    fn apply(&mut self, _: Replayed<'_>) -> Result<(), FoldError> {
        Ok(())
    }
}

#[test]
fn a_committed_leaf_is_proven_to_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Arc::new(DirVolume::create(folder.path()).unwrap());
    let tag = StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "relay".into(), id: "R1".into() };
    let origin = "truc/dev/ordinary/R1/1";
    let opened = open(volume, tag, origin.into(), ledger_key(origin, 4), Settings::default(), &mut Nothing);
    let (ledger, _) = opened.unwrap();
    let event = Event {
        event: EventUri::RelayAcceptance,
        actor: Actor { code: None, node: node_id("R1"), role: Role::Relay },
        time: at(),
        envelope: Some(EnvelopeId::new(at(), [7; 10])),
        sender: code("G22"),
        recipient: None,
        submission: Some(Digest::of(b"submission")),
        preamble: Some(Digest::of(b"preamble")),
        payload: Some(Digest::of(b"payload")),
        commitment: Some(Digest::of(b"commitment")),
        key_envelope: None,
        reason: None,
        details: None,
        request: None,
        successor: None,
    };
    let leaf = bytes_of(&event);
    let (sender, receiver) = mpsc::channel();
    let records = vec![Record::state(b"state".to_vec()), Record::with_leaf(vec![], leaf.clone())];
    ledger.submit(records, Box::new(move |committed| sender.send(committed.clone()).unwrap())).unwrap();
    let head = receiver.recv_timeout(truc_certs_dev::wait::PATIENCE).unwrap();
    let wire = prove(&ledger, leaf.clone(), 0, &head).unwrap();
    let proven = verify_leaf(&wire, &WORLD.directory(), Some(&node_id("R1")), at()).unwrap();
    assert_eq!((proven.leaf, proven.index), (Leaf::parse(leaf).unwrap(), 0));
    ledger.close();
}
