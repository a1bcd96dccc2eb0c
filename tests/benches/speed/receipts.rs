//! P8: verifying a receipt off line, with what the verifier remembers and without. Anchors are parsed beforehand, and there are no revocation lists.

use std::time::Instant;

use anyhow::{Context, ensure};
use truc_certs_dev::KeyKind;
use truc_evidence::{ReceiptParts, ReceiptTrust, ReceiptVerdict, receipt, sign_checkpoint, verify_receipt};
use truc_ledger::merkle::MemTree;
use truc_proto::{Actor, Checkpoint, Digest, EnvelopeId, Event, EventUri, Raw, Role};

use crate::{
    axis::Axis,
    report::{Figure, Report, Target, median, milliseconds, scaled},
};

/// Codes in the directory besides the actor's.
const OTHER_CODES: u32 = 4_000;
/// Leaves in the ledger besides the event.
const OTHER_LEAVES: u32 = 100_000;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    for kind in [KeyKind::P256, KeyKind::Rsa3072] {
        let axis = Axis::new(kind, OTHER_CODES).with_context(|| format!("make an axis with {kind} keys"))?;
        let mut tree = MemTree::of((0..OTHER_LEAVES).map(u32::to_le_bytes));
        let count = scaled(200, 3);
        let receipts = (0..count).map(|n| make(&axis, &mut tree, n)).collect::<anyhow::Result<Vec<_>>>()?;
        let trust = || -> anyhow::Result<_> { Ok(ReceiptTrust::new(axis.trust()?, axis.pinned()?)) };
        let remembered = trust()?;
        verify(&axis, &make(&axis, &mut tree, count)?, &remembered)?;
        let (mut cached, mut cold) = (Vec::new(), Vec::new());
        for text in &receipts {
            cold.push(verify(&axis, text, &trust()?)?);
            cached.push(verify(&axis, text, &remembered)?);
        }
        for (what, times, target) in [("verdict cached", cached, 2.0), ("cold", cold, 10.0)] {
            report.add(Figure {
                id: "P8",
                what: format!("receipt verified, {kind}, {what}"),
                value: median(times),
                unit: "ms",
                target: Some(Target::AtMost(target)),
                from: vec![("receipts", count.to_string())],
            });
        }
    }
    Ok(())
}

/// The receipt of the `number`th event of H26's node, each under a checkpoint of its own.
fn make(axis: &Axis, tree: &mut MemTree, number: u64) -> anyhow::Result<String> {
    let actor = Actor { code: Some("H26".parse()?), node: axis.recipient.id.clone(), role: Role::Recipient };
    let digest = |what: &str| Digest::of(format!("{what} {number}").as_bytes());
    let event = Raw::write(Event {
        event: EventUri::ContentConsignment,
        actor: actor.clone(),
        time: axis.now,
        envelope: Some(EnvelopeId::new(axis.now, [7; 10])),
        sender: "G22".parse()?,
        recipient: Some("H26".parse()?),
        submission: Some(digest("submission")),
        preamble: Some(digest("preamble")),
        payload: Some(digest("payload")),
        commitment: Some(digest("commitment")),
        key_envelope: Some(digest("key envelope")),
        reason: None,
        details: None,
        request: None,
        successor: None,
    })?;
    let index = tree.push(event.bytes());
    let checkpoint = Checkpoint::new(axis.recipient.origin()?, tree.size(), tree.root())?;
    let mut note = axis.recipient.ledger_key()?.sign(&checkpoint);
    sign_checkpoint(&mut note, &axis.recipient.node.key, axis.now)?;
    let proof = tree.inclusion(index, tree.size()).context("the leaf is in the tree")?;
    let entitlement = axis.directory.entitlement(&actor)?.context("the actor stands in the directory")?;
    Ok(receipt(ReceiptParts {
        leaf: event.bytes(),
        index,
        proof: &proof,
        checkpoint: &note,
        entitlement: &entitlement,
        preamble: None,
        opening: None,
    })?)
}

/// Milliseconds.
fn verify(axis: &Axis, text: &str, trust: &ReceiptTrust) -> anyhow::Result<f64> {
    let start = Instant::now();
    let report = verify_receipt(text.as_bytes(), trust, None, axis.now);
    let took = milliseconds(start.elapsed());
    ensure!(report.verdict == ReceiptVerdict::Valid, "the receipt does not verify: {report:?}");
    Ok(took)
}
