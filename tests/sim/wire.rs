//! What both sides check of what they are shown: ledger-key lines, inclusion, leaf hashes. Real proofs, with a stand-in for the certificate's line.

use prost::bytes::Bytes;
use truc_evidence::Attested;
use truc_ledger::merkle::{leaf_hash, verify_inclusion};
use truc_node::core::{ReceivedItem, ReceivedLeaves};
use truc_proto::{
    Checkpoint, Digest, KeyId, NoteSignature, SignedNote,
    wire_v1::{EvidenceBatch, EvidenceItem, ProvenLeaf},
};

use crate::context::{Context, origin};

fn certificate(machine: usize) -> Digest {
    Digest::of(format!("certificate of machine {machine}").as_bytes())
}

/// The certificate's line: a keyed hash, since nobody lies here and a real signature would not be the same twice.
pub(crate) fn certify(machine: usize, note: &SignedNote, there: Attested) -> Bytes {
    let mut note = note.clone();
    let name = origin(machine);
    let mut signature =
        Digest::of_parts(&[certificate(machine).as_bytes(), note.text().as_bytes()]).as_bytes().to_vec();
    if there.stamped {
        signature.push(STAMP);
    }
    let key_id = KeyId::cms(&name, &certificate(machine));
    note.add_signature(NoteSignature { name, key_id, signature }).expect("a second line");
    if there.cosigned {
        note.add_signature(witness(machine, &note)).expect("a third line");
    }
    note.to_string().into()
}

/// The line of who witnesses a machine's ledger: a keyed hash, too.
fn witness(machine: usize, note: &SignedNote) -> NoteSignature {
    let name = format!("{}/witness", origin(machine));
    let signature = Digest::of_parts(&[name.as_bytes(), note.text().as_bytes()]).as_bytes().to_vec();
    NoteSignature { key_id: KeyId::cosignature(&name, &[1; 32]), name, signature }
}

/// Stands behind the certificate's signature for a time-stamp.
const STAMP: u8 = 0x7f;

/// What others said of a checkpoint.
fn attested(machine: usize, note: &[u8]) -> Attested {
    let Ok(note) = SignedNote::parse(note) else { return Attested::NONE };
    let name = origin(machine);
    let certified = note.find(&name, KeyId::cms(&name, &certificate(machine)));
    Attested {
        stamped: certified.is_some_and(|line| line.signature.len() > 32),
        cosigned: note.signatures().contains(&witness(machine, &note)),
    }
}

/// A checkpoint of `machine` as somebody else reads it; whoever reads it has seen it (I5). True: the certificate vouches for it too.
pub(crate) fn read_checkpoint(cx: &mut Context, machine: usize, note: &[u8]) -> Result<(Checkpoint, bool), String> {
    let (note, checkpoint) = Checkpoint::parse_note(note).map_err(|e| e.to_string())?;
    let key = cx.map.key(machine);
    if checkpoint.origin() != key.name() {
        return Err(format!("a checkpoint of {}", checkpoint.origin()));
    }
    key.verify(&note).map_err(|e| e.to_string())?;
    cx.book.saw_checkpoint(machine, checkpoint.size, checkpoint.root);
    let certified = note.find(key.name(), KeyId::cms(key.name(), &certificate(machine))).is_some();
    Ok((checkpoint, certified))
}

pub(crate) fn digests(hashes: &[Bytes]) -> Result<Vec<Digest>, String> {
    hashes.iter().map(|hash| Digest::from_slice(hash).map_err(|e| e.to_string())).collect()
}

/// A leaf of `machine` with its proof: its hash and the checkpoint it is proven into.
pub(crate) fn verify_leaf(
    cx: &mut Context,
    machine: usize,
    proven: &ProvenLeaf,
) -> Result<(Digest, Checkpoint), String> {
    let (checkpoint, _) = read_checkpoint(cx, machine, &proven.checkpoint)?;
    let hash = leaf_hash(&proven.leaf);
    let proof = digests(&proven.proof)?;
    verify_inclusion(&hash, proven.index, checkpoint.size, &proof, &checkpoint.root).map_err(|e| e.to_string())?;
    Ok((hash, checkpoint))
}

/// A batch of leaves of `machine`, every item proven.
pub(crate) fn verify_batch(
    cx: &mut Context,
    machine: usize,
    batch: &EvidenceBatch,
) -> Result<(ReceivedLeaves, Checkpoint), String> {
    let (checkpoint, cms) = read_checkpoint(cx, machine, &batch.checkpoint)?;
    let mut items = Vec::new();
    for item in &batch.items {
        let hash = Digest::from_slice(&item.leaf_hash).map_err(|e| e.to_string())?;
        if !item.leaf.is_empty() && leaf_hash(&item.leaf) != hash {
            return Err("a leaf with another hash".into());
        }
        let proof = digests(&item.proof)?;
        verify_inclusion(&hash, item.index, checkpoint.size, &proof, &checkpoint.root).map_err(|e| e.to_string())?;
        items.push(ReceivedItem {
            leaf: (!item.leaf.is_empty()).then(|| item.leaf.clone()),
            leaf_hash: hash,
            index: item.index,
            proof,
            envelope: item.envelope.parse().map_err(|_| "an item without envelope")?,
        });
    }
    Ok((
        ReceivedLeaves {
            from: cx.map.name(machine).clone(),
            checkpoint: batch.checkpoint.clone(),
            cms,
            attested: attested(machine, &batch.checkpoint),
            items,
        },
        checkpoint,
    ))
}

/// One proven leaf as a batch.
pub(crate) fn batch_of(proven: &ProvenLeaf, envelope: truc_proto::EnvelopeId) -> EvidenceBatch {
    let leaf_hash = leaf_hash(&proven.leaf).as_bytes().to_vec().into();
    let item = EvidenceItem {
        leaf: proven.leaf.clone(),
        leaf_hash,
        index: proven.index,
        proof: proven.proof.clone(),
        envelope: envelope.to_string(),
    };
    EvidenceBatch { checkpoint: proven.checkpoint.clone(), items: vec![item] }
}
