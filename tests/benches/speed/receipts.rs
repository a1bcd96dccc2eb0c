//! P8: verifying a receipt off line, with what the verifier remembers and without. Anchors are parsed beforehand, and there are no revocation lists.

use std::time::Instant;

use anyhow::{Context, ensure};
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Request, Subject};
use truc_evidence::{
    Directory, DirectoryDraft, PinnedOperator, ReceiptParts, ReceiptTrust, ReceiptVerdict, ledger_origin, receipt,
    sign_checkpoint, verify_receipt,
};
use truc_ledger::{LedgerKey, merkle::MemTree};
use truc_proto::{
    Actor, AgencyEntry, AgencyId, AxisId, CertificateBinding, Checkpoint, Digest, Entry, EnvelopeId, Event, EventUri,
    KeyStatus, KeyUse, Lane, NodeEntry, NodeId, OperatorEntry, Raw, Role, Route, Timestamp,
};
use truc_signer::{Certificate, SoftKey, TrustStore};

use crate::report::{Figure, Report, Target, median, milliseconds, scaled};

const DAY_MS: i64 = 86_400_000;
/// Codes in the directory besides the actor's: proofs are as long as in a directory of that size.
const OTHER_CODES: u32 = 4_000;
/// Leaves in the ledger besides the event.
const OTHER_LEAVES: u32 = 100_000;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    for kind in [KeyKind::P256, KeyKind::Rsa3072] {
        let world = World::new(kind).with_context(|| format!("make an axis with {kind} keys"))?;
        let count = scaled(200, 3);
        let receipts = (0..count).map(|n| world.receipt(n)).collect::<anyhow::Result<Vec<_>>>()?;
        let remembered = world.trust()?;
        world.verify(&world.receipt(count)?, &remembered)?;
        let (mut cached, mut cold) = (Vec::new(), Vec::new());
        for text in &receipts {
            let fresh = world.trust()?;
            cold.push(world.verify(text, &fresh)?);
            cached.push(world.verify(text, &remembered)?);
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

struct Party {
    issued: Issued,
    key: SoftKey,
}

/// One axis: a node H26 that consigns what G22 sent.
struct World {
    pki: Pki,
    operator: Party,
    node: Party,
    directory: Directory,
    ledger: LedgerKey,
    now: Timestamp,
}

impl World {
    fn new(kind: KeyKind) -> anyhow::Result<Self> {
        let now = truc_certs_dev::now();
        let pki = Pki::new(kind, now)?;
        let party = |profile, name| -> anyhow::Result<Party> {
            let issued = pki.issue_with(Request::new(profile, kind, Subject::new(name)))?;
            let key = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())?;
            Ok(Party { issued, key })
        };
        let (operator, node) = (party(Profile::Operator, "Vận hành trục")?, party(Profile::Node, "Nút N-H26")?);
        let origin = ledger_origin(&axis()?, Lane::Ordinary, &node_id()?, 1);
        let ledger = LedgerKey::from_seed(&origin, &[3; 32])?;
        let directory = directory(&pki, &operator, &node, &ledger, now)?;
        Ok(Self { pki, operator, node, directory, ledger, now })
    }

    fn trust(&self) -> anyhow::Result<ReceiptTrust> {
        Ok(ReceiptTrust::new(store(&self.pki)?, pinned(&self.operator)?))
    }

    /// The receipt of the `number`th event, each under a checkpoint of its own.
    fn receipt(&self, number: u64) -> anyhow::Result<String> {
        let actor = Actor { code: Some("H26".parse()?), node: node_id()?, role: Role::Recipient };
        let digest = |what: &str| Digest::of(format!("{what} {number}").as_bytes());
        let event = Raw::write(Event {
            event: EventUri::ContentConsignment,
            actor: actor.clone(),
            time: self.now,
            envelope: Some(EnvelopeId::new(self.now, [7; 10])),
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
        let mut tree = MemTree::of((0..OTHER_LEAVES).map(u32::to_le_bytes));
        let index = tree.push(event.bytes());
        let checkpoint = Checkpoint::new(self.ledger.public().name(), tree.size(), tree.root())?;
        let mut note = self.ledger.sign(&checkpoint);
        sign_checkpoint(&mut note, &self.node.key, self.now)?;
        let proof = tree.inclusion(index, tree.size()).context("the leaf is in the tree")?;
        let entitlement = self.directory.entitlement(&actor).context("the actor stands in the directory")?;
        Ok(receipt(ReceiptParts {
            leaf: event.bytes(),
            index,
            proof: &proof,
            checkpoint: &note,
            entitlement: &entitlement,
            preamble: None,
            opening: None,
            timestamps: vec![],
        })?)
    }

    /// Milliseconds.
    fn verify(&self, text: &str, trust: &ReceiptTrust) -> anyhow::Result<f64> {
        let start = Instant::now();
        let report = verify_receipt(text.as_bytes(), trust, None, self.now);
        let took = milliseconds(start.elapsed());
        ensure!(report.verdict == ReceiptVerdict::Valid, "the receipt does not verify: {report:?}");
        Ok(took)
    }
}

fn directory(
    pki: &Pki,
    operator: &Party,
    node: &Party,
    ledger: &LedgerKey,
    now: Timestamp,
) -> anyhow::Result<Directory> {
    let mut draft = DirectoryDraft::new(axis()?, Lane::Ordinary);
    let since = ago(now, 30);
    draft.put(agency("H26".parse()?, Some(node_id()?), since))?;
    for number in 0..OTHER_CODES {
        draft.put(agency(format!("H{:02}.{number}", number % 90 + 10).parse()?, None, since))?;
    }
    draft.put(Entry::Node(node_entry(node_id()?, ledger, binding(node, KeyUse::Node, since))))?;
    let relay = LedgerKey::from_seed(&ledger_origin(&axis()?, Lane::Ordinary, &"R1".parse()?, 1), &[4; 32])?;
    draft.put(Entry::Relay(node_entry("R1".parse()?, &relay, binding(node, KeyUse::Node, since))))?;
    draft.put(Entry::Operator(OperatorEntry {
        name: "Đơn vị vận hành trục DEV".into(),
        certificates: vec![binding(operator, KeyUse::Operator, since)],
    }))?;
    let signed = draft.sign(&operator.key, ago(now, 0), ago(now, -30))?;
    Ok(Directory::verify(signed, &pinned(operator)?, &store(pki)?, &axis()?, Lane::Ordinary, now)?)
}

fn agency(code: AgencyId, node: Option<NodeId>, valid_from: Timestamp) -> Entry {
    let route = if node.is_some() { Route::Native } else { Route::Legacy };
    Entry::Agency(AgencyEntry {
        names: vec![format!("Cơ quan {code}")],
        code,
        parent: None,
        old_codes: vec![],
        valid_from,
        valid_to: None,
        serves_until: None,
        successor: None,
        route,
        node,
        lanes: vec![Lane::Ordinary],
        certificates: vec![],
    })
}

fn node_entry(id: NodeId, ledger: &LedgerKey, certificate: CertificateBinding) -> NodeEntry {
    NodeEntry {
        id,
        lane: Lane::Ordinary,
        ledger_key: *ledger.public().public_key(),
        origin: ledger.public().name().to_owned(),
        epoch: 1,
        witness_key: None,
        certificates: vec![certificate],
    }
}

fn binding(party: &Party, key_use: KeyUse, since: Timestamp) -> CertificateBinding {
    CertificateBinding {
        uses: vec![key_use],
        der: party.issued.certificate_der.clone(),
        sha256: party.issued.fingerprint(),
        algorithms: vec![],
        valid_from: since,
        valid_to: ago(since, -1_000),
        status: KeyStatus::Good,
        status_since: None,
    }
}

fn store(pki: &Pki) -> anyhow::Result<TrustStore> {
    let anchors = Certificate::from_pem(pki.anchors_pem.as_bytes())?;
    Ok(TrustStore::new(anchors, Certificate::from_pem(pki.intermediates_pem.as_bytes())?, vec![])?)
}

fn pinned(operator: &Party) -> anyhow::Result<PinnedOperator> {
    Ok(PinnedOperator::from_pem(operator.issued.leaf_pem().as_bytes())?)
}

fn ago(now: Timestamp, days: i64) -> Timestamp {
    Timestamp::from_unix_ms(now.unix_ms() - days * DAY_MS)
}

fn axis() -> anyhow::Result<AxisId> {
    Ok("dev".parse()?)
}

fn node_id() -> anyhow::Result<NodeId> {
    Ok("N-H26".parse()?)
}
