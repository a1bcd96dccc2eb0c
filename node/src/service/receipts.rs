//! Receipts: which there are for an envelope, and each as a file that verifies off line.

use std::{collections::BTreeMap, sync::Arc};

use truc_evidence::{Directory, Entitlement, Leaf, ReceiptParts, receipt};
use truc_proto::{
    Actor, AgencyId, Checkpoint, Digest, Entry, NodeEntry, Opening, Raw, RootStatement, SignedNote, Timestamp, node_v1,
    wire_v1,
};

use super::{Error, envelope_id, not_found, roles::May, view::Statuses};
use crate::{
    core::{ItemRef, Key, Source, Step, is_final},
    records::{Body, OpeningParts},
    shell::{Bodies, Shell},
    tokens::Grant,
};

mod own;

pub(crate) async fn list(
    shell: &Arc<Shell>,
    grant: Grant,
    request: &node_v1::ListReceiptsRequest,
) -> Result<node_v1::ListReceiptsReply, Error> {
    grant.need(May::Receipts)?;
    if !request.idempotency_key.is_empty() {
        return of_request(shell, &grant, request).await;
    }
    let (envelope, sender) = (envelope_id(&request.envelope)?, super::found::sender_of(&request.sender)?);
    let meant = |key: &Key| sender.as_ref().is_none_or(|sender| *sender == key.sender);
    let (mut sent, own) = super::found::sent(shell, envelope).await?;
    sent.retain(|sent| meant(&sent.key) && grant.allows(&sent.key.sender));
    let mut received = super::found::received(shell, envelope).await?;
    received.retain(|received| meant(&received.key) && received.codes.keys().any(|code| grant.allows(code)));
    let keys = sent.iter().map(|sent| &sent.key).chain(received.iter().map(|received| &received.key));
    super::found::one_sender(envelope, keys.map(|key| &key.sender))?;
    let mut items = Vec::new();
    for sent in &sent {
        items.extend(sent.steps.iter().map(|step| item(step, is_final(own, step, &sent.finals))));
    }
    for received in &received {
        items.extend(received.steps.iter().map(|step| item(step, is_final(own, step, &received.finals))));
    }
    items.sort_by(|a, b| (&a.time, &a.leaf_hash).cmp(&(&b.time, &b.leaf_hash)));
    items.dedup_by(|a, b| a.leaf_hash == b.leaf_hash);
    if items.is_empty() {
        return Err(not_found());
    }
    let of_sent = sent.iter().flat_map(|sent| {
        sent.pairs.iter().map(|(code, pair)| Statuses::of(&pair.business, &sent.key, code)).collect::<Vec<_>>()
    });
    let of_received = received.iter().flat_map(|received| {
        let own = received.codes.iter().filter(|(code, _)| grant.allows(code));
        own.map(|(code, entry)| Statuses::of(&entry.business, &received.key, code)).collect::<Vec<_>>()
    });
    let all: Vec<Statuses> = of_sent.chain(of_received).collect();
    let bodies = shell.bodies();
    let read = move || all.into_iter().map(|statuses| statuses.read(&bodies)).collect::<Result<Vec<_>, _>>();
    let statuses = shell.work("reading statuses", read).await?;
    let mut statuses = statuses.map_err(|error| Error::internal(crate::chain(&error)))?.concat();
    // Between two codes of this node both sides have them.
    statuses.sort_by(|a, b| (&a.time, &a.envelope).cmp(&(&b.time, &b.envelope)));
    statuses.dedup_by(|a, b| a.envelope == b.envelope);
    Ok(node_v1::ListReceiptsReply { items, statuses })
}

/// By the request: what was refused never had an envelope.
async fn of_request(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: &node_v1::ListReceiptsRequest,
) -> Result<node_v1::ListReceiptsReply, Error> {
    if !request.envelope.is_empty() {
        return Err(Error::invalid(
            "give `envelope`, or `sender` and `idempotency_key`, not both / hãy nêu `envelope`, hoặc `sender` và `idempotency_key`, không nêu cả hai",
        ));
    }
    let sender = super::code(grant, &request.sender, "sender")?;
    super::send::check_idempotency_key(&request.idempotency_key)?;
    let (sent, rejections, own) = super::found::by_request(shell, &sender, &request.idempotency_key).await?;
    let steps = sent.iter().flat_map(|sent| sent.steps.iter().map(|step| (step, is_final(own, step, &sent.finals))));
    let mut items: Vec<_> = steps.map(|(step, is_final)| item(step, is_final)).collect();
    let none = BTreeMap::new();
    items.extend(rejections.iter().map(|rejected| item(&rejected.step, is_final(own, &rejected.step, &none))));
    items.sort_by(|a, b| (&a.time, &a.leaf_hash).cmp(&(&b.time, &b.leaf_hash)));
    let statuses = Vec::new(); // they are about an envelope: asked for by that
    if items.is_empty() { Err(not_found()) } else { Ok(node_v1::ListReceiptsReply { items, statuses }) }
}

fn item(step: &Step, is_final: bool) -> node_v1::ReceiptItem {
    node_v1::ReceiptItem {
        leaf_hash: step.leaf.as_bytes().to_vec().into(),
        event: step.event.name().into(),
        role: step.role.to_string(),
        actor: step.actor.as_ref().map(ToString::to_string).unwrap_or_default(),
        recipient: step.recipient.as_ref().map(ToString::to_string).unwrap_or_default(),
        time: step.time.to_string(),
        r#final: is_final,
    }
}

/// Where the parts of a receipt stand.
struct Places {
    document: Document,
    step: Step,
    finalised: Option<ItemRef>,
    own_checkpoint: Option<crate::core::OwnCheckpoint>,
}

/// What a receipt is about.
enum Document {
    Envelope {
        key: Key,
        /// The record with preamble, secrets and opening: `Outgoing`, or `Incoming` and `Content`.
        body: u64,
        content: Option<u64>,
    },
    /// A request that never became an envelope, by its hash.
    Rejected(Digest),
}

async fn find(shell: &Arc<Shell>, leaf: Digest, grant: &Grant) -> Result<Option<Places>, Error> {
    let (sent, received, own_checkpoint) = super::found::by_leaf(shell, leaf).await?;
    if let Some(sent) = sent.filter(|sent| grant.allows(&sent.key.sender)) {
        let finalised = sent.finals.get(&leaf).copied();
        let step = sent.steps.into_iter().find(|step| step.leaf == leaf);
        let document = Document::Envelope { key: sent.key, body: sent.body, content: None };
        return Ok(step.map(|step| Places { document, step, finalised, own_checkpoint }));
    }
    if received.is_none() {
        let rejected = super::found::rejection(shell, leaf).await?.filter(|rejected| grant.allows(&rejected.sender));
        return Ok(rejected.map(|rejected| {
            let document = Document::Rejected(rejected.request);
            Places { document, step: rejected.step, finalised: None, own_checkpoint }
        }));
    }
    let received = received.filter(|received| received.codes.keys().any(|code| grant.allows(code)));
    Ok(received.and_then(|received| {
        let finalised = received.finals.get(&leaf).copied();
        let step = received.steps.into_iter().find(|step| step.leaf == leaf)?;
        let document = Document::Envelope { key: received.key, body: received.body, content: received.content };
        Some(Places { document, step, finalised, own_checkpoint })
    }))
}

/// Our ledger's signatures leave only after the relay has shown what it holds of us (docs/ARCHITECTURE.md, No fork).
pub(super) fn may_leave(shell: &Shell) -> Result<(), Error> {
    if shell.may_sign() {
        return Ok(());
    }
    Err(Error::unavailable(
        "receipts leave this node once it has exchanged checkpoints with the relay; try again when it is connected",
    ))
}

pub(crate) async fn fetch(
    shell: &Arc<Shell>,
    grant: Grant,
    request: &node_v1::GetReceiptRequest,
) -> Result<node_v1::GetReceiptReply, Error> {
    grant.need(May::Receipts)?;
    let leaf = Digest::from_slice(&request.leaf_hash).map_err(|_| Error::invalid("`leaf_hash` has 32 bytes"))?;
    may_leave(shell)?;
    let places = find(shell, leaf, &grant).await?.ok_or_else(not_found)?;
    let (inner, with_opening) = (Arc::clone(shell), request.with_opening);
    let work = move || -> Result<_, String> {
        let leaf = leaf_of(&inner, &places)?;
        let (preamble, opening) = private_parts(&inner, &places, with_opening)?;
        let statement = Leaf::parse(leaf.leaf.clone()).map_err(|e| crate::chain(&e))?;
        let actor = statement.actor().cloned().ok_or("a leaf without actor is no receipt")?;
        let relied = match &statement {
            Leaf::Submission(submission) => submission.directory.version,
            _ => 0,
        };
        Ok((leaf, preamble, opening, (actor, statement.time(), relied), places))
    };
    let made = shell.work("reading a receipt", work).await?;
    let (leaf, preamble, opening, (actor, at, relied), places) = made.map_err(Error::internal)?;
    let file_name = file_name(&places, &actor);
    let told = actor.to_string();
    let entitled = Entitled::of(shell, actor, at, relied).await?;
    let inner = Arc::clone(shell);
    let made = shell.work("proving a leaf", move || proven(&inner, &places, leaf, &entitled)).await?;
    let (leaf, note, entitlement) = made.map_err(Error::internal)?;
    let entitlement =
        entitlement.ok_or_else(|| Error::not_now(format!("no directory that this node has seen entitles {told}")))?;
    let proof: Result<Vec<Digest>, _> = leaf.proof.iter().map(|hash| Digest::from_slice(hash)).collect();
    let proof = proof.map_err(|e| Error::internal(e.to_string()))?;
    let text = receipt(ReceiptParts {
        leaf: &leaf.leaf,
        index: leaf.index,
        proof: &proof,
        checkpoint: &note,
        entitlement: &entitlement,
        preamble: preamble.as_deref(),
        opening,
    })
    .map_err(|e| Error::internal(crate::chain(&e)))?;
    Ok(node_v1::GetReceiptReply { receipt: text.into_bytes().into(), file_name })
}

/// The leaf as its record has it. What others made stands under the best proof that came; what is ours is proven by [`own`].
fn leaf_of(shell: &Shell, places: &Places) -> Result<wire_v1::ProvenLeaf, String> {
    let bodies = shell.bodies();
    let mut leaf = match places.step.source {
        Source::Own { position, index } => {
            let leaf = bodies.body(position).map_err(|e| crate::chain(&e))?.1.ok_or("the leaf is not in its record")?;
            return Ok(wire_v1::ProvenLeaf { leaf: leaf.into(), index, ..wire_v1::ProvenLeaf::default() });
        }
        Source::Peer(at) => evidence_item(&bodies, at)?,
        Source::Lease { position } => {
            let incoming = bodies.incoming(position).map_err(|e| crate::chain(&e))?;
            let is_it = |leaf: &wire_v1::ProvenLeaf| truc_ledger::merkle::leaf_hash(&leaf.leaf) == places.step.leaf;
            [incoming.submission, incoming.relay_acceptance]
                .into_iter()
                .find(is_it)
                .ok_or("the leaf is not in its record")?
        }
    };
    if let Some(at) = places.finalised {
        let under = evidence_item(&bodies, at)?;
        (leaf.index, leaf.proof, leaf.checkpoint) = (under.index, under.proof, under.checkpoint);
    }
    Ok(leaf)
}

/// The leaf with the best proof there is, and what entitled its actor under the ledger that it is proven into.
fn proven(
    shell: &Shell,
    places: &Places,
    leaf: wire_v1::ProvenLeaf,
    entitled: &Entitled,
) -> Result<(wire_v1::ProvenLeaf, SignedNote, Option<Entitlement>), String> {
    if let Source::Own { position, .. } = places.step.source {
        return own::proven(shell, position, places.own_checkpoint, leaf, entitled);
    }
    let (note, checkpoint) = Checkpoint::parse_note(&leaf.checkpoint).map_err(|e| e.to_string())?;
    let shown = entitled.under(checkpoint.origin())?;
    Ok((leaf, note, shown.map(|shown| shown.entitlement)))
}

fn evidence_item(bodies: &Bodies, at: ItemRef) -> Result<wire_v1::ProvenLeaf, String> {
    let Body::Evidence(record) = bodies.body(at.position).map_err(|e| crate::chain(&e))?.0 else {
        return Err("evidence is not where it should be".into());
    };
    let number = usize::try_from(at.item).map_err(|e| e.to_string())?;
    let item = record.items.into_iter().nth(number).ok_or("evidence is not where it should be")?;
    Ok(wire_v1::ProvenLeaf {
        leaf: item.leaf.into(),
        index: item.index,
        proof: item.proof.into_iter().map(Into::into).collect(),
        checkpoint: record.checkpoint.into(),
    })
}

type Private = (Option<Vec<u8>>, Option<Opening>);

fn private_parts(shell: &Shell, places: &Places, with_opening: bool) -> Result<Private, String> {
    let Document::Envelope { key, body, content } = &places.document else { return Ok((None, None)) };
    let bodies = shell.bodies();
    let (preamble, wrapped, parts): (Vec<u8>, Vec<u8>, Option<OpeningParts>) =
        match bodies.body(*body).map_err(|e| crate::chain(&e))?.0 {
            Body::Outgoing(outgoing) => (outgoing.preamble, outgoing.wrapped, outgoing.opening),
            Body::TakenOver(taken) => (taken.preamble, taken.content.wrapped, Some(taken.content.opening)),
            Body::Incoming(incoming) => match content {
                Some(content) => {
                    let content = bodies.content(*content).map_err(|e| crate::chain(&e))?;
                    (incoming.preamble, content.wrapped, Some(content.opening))
                }
                None => (incoming.preamble, Vec::new(), None),
            },
            _ => return Err("the document's record is not where it should be".into()),
        };
    let Some(parts) = parts.filter(|_| with_opening) else { return Ok((Some(preamble), None)) };
    let salt = shell.pipeline.salt(&wrapped, &key.sender, key.envelope).map_err(|e| crate::chain(&e))?;
    Ok((Some(preamble), Some(Opening { salt, manifest: parts.manifest, envelope: parts.envelope })))
}

/// What entitled an actor when it spoke: what was kept of it, best first, and what entitles it now.
struct Entitled {
    bodies: Bodies,
    positions: Vec<u64>,
    directory: Option<Arc<Directory>>,
    actor: Actor,
    at: Timestamp,
    /// The version that a submission relied on.
    relied: u64,
}

/// What a receipt shows of its actor, with the entry of its node read.
struct Shown {
    entitlement: Entitlement,
    node: NodeEntry,
}

impl Entitled {
    async fn of(shell: &Arc<Shell>, actor: Actor, at: Timestamp, relied: u64) -> Result<Self, Error> {
        let (node, code): (_, Option<AgencyId>) = (actor.node.clone(), actor.code.clone());
        let positions = shell.engine.ask(move |core| core.entitlement_of(&node, code.as_ref(), at)).await?;
        Ok(Self { bodies: shell.bodies(), positions, directory: shell.directory(), actor, at, relied })
    }

    /// That under a root no older than the version relied on, where its entry is of the ledger that signed. Else what entitles the actor now: its entries
    /// did not change with that version, so nothing was kept of it, or a recovery has begun another origin since.
    fn under(&self, origin: &str) -> Result<Option<Shown>, String> {
        for position in &self.positions {
            if let Body::Entitled(record) = self.bodies.body(*position).map_err(|e| crate::chain(&e))?.0
                && let Some(kept) = Entitlement::from_bytes(&record.entitlement).ok().and_then(Shown::of)
                && kept.node.origin == origin
                && kept.version().is_some_and(|version| version >= self.relied)
            {
                return Ok(Some(kept));
            }
        }
        let now = self.directory.as_ref().map(|directory| directory.entitlement(&self.actor)).transpose();
        Ok(now.map_err(|error| crate::chain(&error))?.flatten().and_then(Shown::of))
    }
}

impl Shown {
    fn of(entitlement: Entitlement) -> Option<Self> {
        let entry = Raw::<Entry>::parse(entitlement.node.bytes.clone()).ok()?;
        let node = entry.as_node()?.clone();
        Some(Self { entitlement, node })
    }

    fn version(&self) -> Option<u64> {
        Raw::<RootStatement>::parse(self.entitlement.directory.clone()).ok().map(|root| root.version)
    }
}

fn file_name(places: &Places, actor: &Actor) -> String {
    let (step, what) = (
        &places.step,
        match &places.document {
            Document::Envelope { key, .. } => key.envelope.to_string(),
            Document::Rejected(request) => format!("request-{}", request.to_string().get(..16).unwrap_or_default()),
        },
    );
    let who = actor.code.as_ref().map_or_else(|| actor.node.to_string(), ToString::to_string);
    format!("{what}-{}-{}-{who}.receipt", step.event.name(), step.role)
}
