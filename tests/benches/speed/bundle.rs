//! A bundle of a circular to 500 agencies at 100 nodes: consignment and hand-over of each, verified as an officer would, from nothing.

use std::{io::Cursor, time::Instant};

use anyhow::{Context, ensure};
use truc_certs_dev::KeyKind;
use truc_evidence::{
    BundleWriter, ReceiptParts, ReceiptTrust, ReceiptVerdict, receipt, sign_checkpoint, verify_bundle,
};
use truc_ledger::merkle::MemTree;
use truc_proto::{Actor, AgencyId, BundleJson, Checkpoint, Digest, EnvelopeId, Event, EventUri, Lane, Raw, Role};
use truc_signer::sign_detached;

use crate::{
    axis::{Axis, CODES_PER_NODE, NodeParty, axis, code_of},
    report::{Figure, Report, Target, scaled},
};

const NODES: u64 = 100;
/// Codes in the directory besides.
const OTHER_CODES: u32 = 4_000;
/// Leaves in each node's ledger before the events.
const OTHER_LEAVES: u32 = 10_000;
const SECONDS: f64 = 1.0;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let nodes = u32::try_from(scaled(NODES, 2))?;
    let world = Axis::with_nodes(KeyKind::P256, OTHER_CODES, nodes).context("make an axis")?;
    let about = BundleJson {
        axis: axis()?,
        lane: Lane::Ordinary,
        envelope: EnvelopeId::new(world.now, [7; 10]),
        sender: "G22".parse()?,
        by: "G22".parse()?,
        node: world.sender.id.clone(),
        made: world.now,
        statuses_left_out: 0,
    };
    let envelope = about.envelope;
    let mut writer = BundleWriter::new(Vec::new(), about)?;
    let mut receipts = 0_u32;
    for (number, node) in (0..).zip(&world.others) {
        for (name, text) in of_node(&world, node, number, envelope)? {
            writer.receipt(&name, text.as_bytes())?;
            receipts += 1;
        }
    }
    let signer = &world.operator.key;
    let bundle = writer.finish(|manifest| sign_detached(signer, manifest, Some(world.now)))?;
    let trust = ReceiptTrust::new(world.trust()?, world.pinned()?);
    let length = bundle.len();
    let start = Instant::now();
    let verified = verify_bundle(Cursor::new(bundle), &trust, None, world.now);
    let seconds = start.elapsed().as_secs_f64();
    ensure!(verified.verdict == ReceiptVerdict::Valid, "the bundle does not verify: {:?}", verified.steps);
    ensure!(verified.conclusions.len() == usize::try_from(nodes * CODES_PER_NODE)?, "a recipient is missing");
    report.add(Figure {
        id: "bundle",
        what: "bundle of 500 recipients verified, cold".into(),
        value: seconds,
        unit: "s",
        target: Some(Target::AtMost(SECONDS * f64::from(nodes) / 100.0)),
        from: vec![
            ("recipients", (nodes * CODES_PER_NODE).to_string()),
            ("receipts", receipts.to_string()),
            ("bytes", length.to_string()),
        ],
    });
    Ok(())
}

/// What each code of a node said, all under one checkpoint, as a node signs once a second.
fn of_node(world: &Axis, node: &NodeParty, number: u32, envelope: EnvelopeId) -> anyhow::Result<Vec<(String, String)>> {
    let mut tree = MemTree::of((0..OTHER_LEAVES).map(u32::to_le_bytes));
    let mut leaves = Vec::new();
    for place in 0..CODES_PER_NODE {
        for event in [EventUri::ContentConsignment, EventUri::ContentHandover] {
            let (actor, bytes) = said(world, node, code_of(number, place)?, event, envelope)?;
            leaves.push((format!("{number}-{place}-{}.receipt", event.name()), actor, tree.push(&bytes), bytes));
        }
    }
    let checkpoint = Checkpoint::new(node.origin()?, tree.size(), tree.root())?;
    let mut note = node.ledger_key()?.sign(&checkpoint);
    sign_checkpoint(&mut note, &node.node.key, world.now)?;
    let texts = leaves.into_iter().map(|(name, actor, index, leaf)| {
        let proof = tree.inclusion(index, tree.size()).context("the leaf is in the tree")?;
        let entitlement = world.directory.entitlement(&actor)?.context("the actor stands in the directory")?;
        let text = receipt(ReceiptParts {
            leaf: &leaf,
            index,
            proof: &proof,
            checkpoint: &note,
            entitlement: &entitlement,
            preamble: None,
            opening: None,
        })?;
        Ok((name, text))
    });
    texts.collect()
}

fn said(
    world: &Axis,
    node: &NodeParty,
    code: AgencyId,
    event: EventUri,
    envelope: EnvelopeId,
) -> anyhow::Result<(Actor, Vec<u8>)> {
    let actor = Actor { code: Some(code.clone()), node: node.id.clone(), role: Role::Recipient };
    let digest = |what: &str| Some(Digest::of(what.as_bytes()));
    let event = Raw::write(Event {
        event,
        actor: actor.clone(),
        time: world.now,
        envelope: Some(envelope),
        sender: "G22".parse()?,
        key_envelope: None,
        recipient: Some(code),
        submission: digest("submission"),
        preamble: digest("preamble"),
        payload: digest("payload"),
        commitment: digest("commitment"),
        reason: None,
        details: None,
        request: None,
        successor: None,
    })?;
    Ok((actor, event.bytes().to_vec()))
}
