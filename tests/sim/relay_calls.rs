//! What the relay does with calls: verify, ask the core, and, once that is on the device, answer with proofs.

use std::collections::{BTreeMap, BTreeSet};

use prost::{Message as _, bytes::Bytes};
use truc_ledger::{Position, merkle::leaf_hash};
use truc_node::core::Key;
use truc_proto::{
    AgencyId, Checkpoint, Digest, Event as Statement, EventUri, NodeId, Preamble, Raw, Reason, Role, Submission,
    relay_v1::{LeaseReply, OfferRequest},
    wire_v1::{EvidenceBatch, ProvenLeaf},
};
use truc_relay::{
    core::{
        Acceptance, DeliveryItem, Effect, EnvelopeKey, EvidenceOutcome, Fact, FinalisedLeaf, Found, Input, Mark,
        OfferOutcome, OfferedRecipient, OwnProof, Reply as CoreReply, VerifiedEvidence, VerifiedFinalisation,
        VerifiedOffer,
    },
    records::{Accepted, AcceptedBody, Body, RelayRecord},
};

use crate::{
    context::{Context, RELAY},
    network::{Caller, Message, Reply, Request},
    relay::{About, Relay, Waiter, key_of, relay_key},
    store::Dead,
    wire,
};

fn mark(checkpoint: &Checkpoint) -> Mark {
    Mark { size: checkpoint.size, root: checkpoint.root }
}

impl Relay {
    /// A call came out of the network.
    pub(crate) fn call(&mut self, cx: &mut Context, from: Caller, request: Request) -> Result<(), Dead> {
        let Some(live) = &self.live else { return Ok(()) };
        let greeted = live.greeted.contains(&(from.node, from.life, from.session));
        if !greeted && !matches!(request, Request::Hello { .. } | Request::Forged(_)) {
            cx.send(from.node, Message::Answer { to: from, reply: Reply::Refused("say Hello first".into()) });
            return Ok(());
        }
        let outcome = match request {
            Request::Hello { held_of_you, mine } => self.hello(cx, from, &held_of_you, mine),
            Request::Offer { offer, upload } => self.offer(cx, from, offer, upload),
            Request::Forged(key) => self.forged(cx, from, key),
            Request::Pull(cursor) => {
                let node = cx.map.name(from.node).clone();
                self.ask(cx, from, About::Other, Input::Pull { node, cursor, limit: 20 })
            }
            Request::Lease(key) => {
                let node = cx.map.name(from.node).clone();
                let input = Input::Lease { node, key: relay_key(&key) };
                self.ask(cx, from, About::Lease(key), input)
            }
            Request::TakeKeys { key, acceptances } => self.take_keys(cx, from, key, acceptances),
            Request::Push(batches) => self.push(cx, from, batches),
            Request::Acknowledge(numbers) => {
                let node = cx.map.name(from.node).clone();
                self.ask(cx, from, About::Other, Input::Acknowledged { node, numbers })
            }
            Request::Reconcile(keys) => {
                let unknown = self
                    .find(cx, &keys)
                    .into_iter()
                    .zip(keys)
                    .filter(|(found, _)| !found.as_ref().is_some_and(|f| f.accepted));
                let unknown = unknown.map(|(_, key)| key).collect();
                self.behind(cx, from, Reply::Unknown(unknown))
            }
            Request::Undelivered => {
                let node = cx.map.name(from.node).clone();
                self.ask(cx, from, About::Other, Input::Undelivered { node })
            }
            Request::Checkpoint { from: size } => {
                let ledger = &self.live.as_ref().expect("looked above").store.ledger;
                let head = ledger.head();
                let proof = ledger.consistency(size, head.size);
                match proof {
                    Ok(consistency) => self.behind(
                        cx,
                        from,
                        Reply::Checkpoint { checkpoint: head.note.to_string().into(), consistency },
                    ),
                    Err(error) => {
                        cx.book.violated(format!("I5: the relay cannot prove that it grew from {size}: {error}"));
                        return Ok(());
                    }
                }
            }
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Failed::Dead(dead)) => Err(dead),
            Err(Failed::Refused(why)) => {
                cx.send(from.node, Message::Answer { to: from, reply: Reply::Refused(why) });
                Ok(())
            }
        }
    }

    fn ask(&mut self, cx: &mut Context, to: Caller, about: About, input: Input) -> Result<(), Failed> {
        Ok(self.input(cx, input, Some(Waiter { to, about }))?)
    }

    /// Sends `reply` behind everything appended so far.
    fn behind(&mut self, cx: &mut Context, to: Caller, reply: Reply) -> Result<(), Failed> {
        Ok(self.commit(cx, Vec::new(), Some(Waiter { to, about: About::Answer(reply) }))?)
    }

    fn find(&mut self, cx: &Context, keys: &[Key]) -> Vec<Option<Found>> {
        let Some(live) = &mut self.live else { return Vec::new() };
        let found = live.store.core.handle(cx.now, Input::Find(keys.iter().map(relay_key).collect()));
        found
            .into_iter()
            .find_map(|effect| if let Effect::Reply(CoreReply::Found(found)) = effect { Some(found) } else { None })
            .unwrap_or_default()
    }

    fn hello(&mut self, cx: &mut Context, from: Caller, held: &Bytes, mine: Bytes) -> Result<(), Failed> {
        let mut size = 0;
        if !held.is_empty() {
            let (checkpoint, _) = wire::read_checkpoint(cx, RELAY, held)?;
            let ledger = &self.live.as_ref().ok_or("off")?.store.ledger;
            if ledger.root_at(checkpoint.size).ok() != Some(checkpoint.root) {
                cx.book.violated(format!(
                    "I5: node {} holds a tree of the relay with {} leaves that the relay does not have",
                    from.node, checkpoint.size
                ));
                return Err("I am behind".into());
            }
            size = checkpoint.size;
        }
        if !mine.is_empty() {
            let (checkpoint, _) = wire::read_checkpoint(cx, from.node, &mine)?;
            let node = cx.map.name(from.node).clone();
            self.input(cx, Input::PeerSeen { node, mark: mark(&checkpoint), note: mine }, None)?;
        }
        let node = cx.map.name(from.node).clone();
        self.ask(cx, from, About::Hello { held: size }, Input::HeldOf { node })
    }

    fn offer(&mut self, cx: &mut Context, from: Caller, offer: OfferRequest, upload: Bytes) -> Result<(), Failed> {
        if self.low_on_room() {
            return Err("full".into());
        }
        let proven = offer.submission.clone().ok_or("no submission")?;
        let (hash, checkpoint) = wire::verify_leaf(cx, from.node, &proven)?;
        let preamble = Raw::<Preamble>::parse(offer.preamble.clone()).map_err(|e| e.to_string())?;
        let submission = Raw::<Submission>::parse(proven.leaf.clone()).map_err(|e| e.to_string())?;
        let node = cx.map.name(from.node).clone();
        if cx.map.codes.get(&preamble.sender) != Some(&from.node) || submission.actor.node != node {
            return Err("not entitled".into());
        }
        let payload = if offer.payload.is_empty() { upload.clone() } else { offer.payload.clone() };
        if preamble.digest() != submission.preamble || Digest::of(&payload) != submission.payload {
            return Err("hashes do not hold".into());
        }
        let now = self.clock(cx);
        if let Some(why) = Self::refuses_time(now, preamble.envelope, preamble.created) {
            return Err(why.into());
        }
        let recipients = preamble.recipients.iter().map(|code| cx.map.offered(code, &preamble, now)).collect();
        let blob = offer.payload.is_empty();
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        let body = AcceptedBody {
            preamble: offer.preamble.clone(),
            submission: Some(proven.clone()),
            key_envelopes: offer.key_envelopes.clone(),
            payload: offer.payload.clone(),
        };
        let verified = Box::new(VerifiedOffer {
            key: relay_key(&key),
            sender_node: node,
            submission: hash,
            preamble: submission.preamble,
            payload: submission.payload,
            commitment: submission.commitment,
            payload_length: submission.payload_length,
            blob,
            expires: preamble.expires,
            priority: preamble.priority.value(),
            status: preamble.kind == truc_proto::EnvelopeKind::Status,
            recipients,
            supersedes: preamble.supersedes.clone(),
            mark: mark(&checkpoint),
            note: proven.checkpoint.clone(),
            body: body.encode_to_vec().into(),
        });
        let refused = match preamble.expires <= now {
            true => Some(Reason::Expired),
            false => (!cx.map.may_send(&preamble, submission.time)).then_some(Reason::NotEntitled),
        };
        if let Some(reason) = refused {
            let offer = Box::new(VerifiedOffer { body: Bytes::new(), ..*verified });
            return self.ask(cx, from, About::Offer(key), Input::OfferRefused { offer, reason, successor: None });
        }
        if blob {
            self.payloads.insert(submission.payload, payload);
        }
        let (payload, input) = (submission.payload, Input::Offered(verified));
        self.ask(cx, from, About::Offer(key), input)?;
        // A doubled upload of what is served already is swept as the orphan it is.
        if self.live.as_ref().is_some_and(|live| !live.store.core.needs_payload(&payload)) {
            self.payloads.remove(&payload);
        }
        Ok(())
    }

    /// Other content under an id that was accepted: every field but the content as the record has it (I4).
    fn forged(&mut self, cx: &mut Context, from: Caller, key: Key) -> Result<(), Failed> {
        let found = self.find(cx, std::slice::from_ref(&key)).pop().flatten();
        let Some(record) = found.and_then(|found| self.accepted_at(found.position)) else {
            cx.book.violated(format!("I1: the relay does not know {key}, which it accepted"));
            return Ok(());
        };
        let other = |what: &str| Digest::of(format!("{what} {key} {}", from.call % 3).as_bytes());
        let recipients = record.recipients.iter().filter(|recipient| !recipient.node.is_empty()).map(|recipient| {
            OfferedRecipient::Open {
                code: recipient.code.parse().expect("a code of the record"),
                node: recipient.node.parse().expect("a node of the record"),
            }
        });
        let held = record.mark.as_ref().ok_or("no mark")?;
        cx.book.counts.forged += 1;
        let payload = other("payload");
        let offer = VerifiedOffer {
            key: relay_key(&key),
            sender_node: record.sender_node.parse().expect("a node of the record"),
            submission: other("submission"),
            preamble: Digest::from_slice(&record.preamble).map_err(|e| e.to_string())?,
            payload,
            commitment: other("commitment"),
            payload_length: 7,
            blob: false,
            expires: truc_proto::Timestamp::from_unix_ms(record.expires_ms),
            priority: 0,
            status: false,
            recipients: recipients.collect(),
            supersedes: None,
            mark: Mark { size: held.size, root: Digest::from_slice(&held.root).map_err(|e| e.to_string())? },
            note: Bytes::from_static(b"forged"),
            body: Bytes::from_static(b"forged"),
        };
        self.ask(cx, from, About::Forged { key, payload }, Input::Offered(Box::new(offer)))
    }

    /// Evidence with leaves, checked against the record of the envelope it is about.
    fn checked(
        &mut self,
        cx: &mut Context,
        from: &Caller,
        batch: &EvidenceBatch,
    ) -> Result<Vec<VerifiedEvidence>, Failed> {
        let (leaves, checkpoint) = wire::verify_batch(cx, from.node, batch)?;
        let mut items = Vec::new();
        for (item, raw) in leaves.items.iter().zip(&batch.items) {
            let Some(leaf) = &item.leaf else { continue };
            let event = Raw::<Statement>::parse(leaf.clone()).map_err(|e| e.to_string())?;
            let code = event.actor.code.clone().ok_or("no code")?;
            if event.actor.role != Role::Recipient || !cx.map.receives(&code, from.node, event.event, event.time) {
                return Err("not entitled".into());
            }
            let key = Key { sender: event.sender.clone(), envelope: item.envelope };
            let Some(found) = self.find(cx, std::slice::from_ref(&key)).pop().flatten() else {
                cx.book.violated(format!("I1: the relay does not know {key} when {code} says {}", event.event.name()));
                return Err("unknown envelope".into());
            };
            let record = self.accepted_at(found.position).ok_or("not on the device yet")?;
            if event.submission.map(|hash| hash.0.to_vec()) != Some(record.submission.clone()) {
                return Err("about something else".into());
            }
            let alone = EvidenceBatch { checkpoint: batch.checkpoint.clone(), items: vec![raw.clone()] };
            items.push(VerifiedEvidence {
                key: relay_key(&key),
                recipient: code,
                fact: Fact::of_recipient(event.event).ok_or("not a recipient's event")?,
                leaf: item.leaf_hash,
                to: record.sender_node.parse().map_err(|_| "a node")?,
                mark: mark(&checkpoint),
                batch: alone.encode_to_vec().into(),
                recalled: None,
            });
        }
        Ok(items)
    }

    fn take_keys(
        &mut self,
        cx: &mut Context,
        from: Caller,
        key: Key,
        acceptances: EvidenceBatch,
    ) -> Result<(), Failed> {
        let items = self.checked(cx, &from, &acceptances)?;
        let codes = items.iter().map(|item| item.recipient.clone()).collect();
        let node = cx.map.name(from.node).clone();
        // While it is open, whoever asks for its keys holds it.
        self.input(cx, Input::Lease { node: node.clone(), key: relay_key(&key) }, None)?;
        self.ask(cx, from, About::TakeKeys { key, codes }, Input::Evidence { from: node, items })
    }

    fn push(&mut self, cx: &mut Context, from: Caller, batches: Vec<EvidenceBatch>) -> Result<(), Failed> {
        let node = cx.map.name(from.node).clone();
        let mut facts = Vec::new();
        let mut finals = BTreeMap::<NodeId, Vec<VerifiedFinalisation>>::new();
        for batch in &batches {
            facts.extend(self.checked(cx, &from, batch)?);
            let (shown, checkpoint) = wire::verify_batch(cx, from.node, batch)?;
            for item in batch.items.iter().filter(|item| item.leaf.is_empty()) {
                let leaf = Digest::from_slice(&item.leaf_hash).map_err(|e| e.to_string())?;
                for (to, keys) in self.counterparts(cx, &node, item)? {
                    let leaf = FinalisedLeaf { keys, leaf, item: item.clone() };
                    let mark = mark(&checkpoint);
                    let of_node = finals.entry(to.clone()).or_default();
                    match of_node.iter_mut().find(|one| one.mark == mark && one.attested == shown.attested) {
                        Some(one) => one.items.push(leaf),
                        None => {
                            let note = batch.checkpoint.clone();
                            let attested = shown.attested;
                            of_node.push(VerifiedFinalisation { to, mark, note, attested, items: vec![leaf] });
                        }
                    }
                }
            }
        }
        let now = self.clock(cx);
        let live = self.live.as_mut().ok_or("off")?;
        let what: Vec<_> = facts.iter().map(|item| (item.key.clone(), item.recipient.clone(), item.fact)).collect();
        let effects = live.store.core.handle(now, Input::Evidence { from: node.clone(), items: facts });
        let outcomes = effects.iter().find_map(|effect| {
            if let Effect::Reply(CoreReply::Evidence(outcomes)) = effect { Some(outcomes.clone()) } else { None }
        });
        for ((key, code, fact), outcome) in
            what.into_iter().zip(outcomes.ok_or("no answer")?.map_err(|e| e.to_string())?)
        {
            if outcome != EvidenceOutcome::Taken {
                cx.book.violated(format!(
                    "I3: the relay does not believe an honest node: {code} says {fact:?} of {}: {outcome:?}",
                    key_of(&key)
                ));
            }
        }
        self.commit(cx, effects, None)?;
        let items = finals.into_values().flatten().collect();
        self.ask(cx, from, About::Other, Input::Finalised { from: node, items })
    }

    /// Who holds the leaf that is now final: recipients' nodes for a submission, else the sender's node.
    fn counterparts(
        &mut self,
        cx: &Context,
        from: &NodeId,
        item: &truc_proto::wire_v1::EvidenceItem,
    ) -> Result<BTreeMap<NodeId, Vec<EnvelopeKey>>, Failed> {
        let id = item.envelope.parse().map_err(|_| "an envelope id")?;
        let live = self.live.as_mut().ok_or("off")?;
        let effects = live.store.core.handle(cx.now, Input::FindIds(vec![id]));
        let found = effects
            .into_iter()
            .find_map(|effect| if let Effect::Reply(CoreReply::FoundIds(found)) = effect { Some(found) } else { None });
        let mut nodes = BTreeMap::<NodeId, Vec<EnvelopeKey>>::new();
        for (key, found) in found.into_iter().flatten().flatten().filter(|(_, found)| found.accepted) {
            let record: Accepted = self.accepted_at(found.position).ok_or("not on the device yet")?;
            let others: BTreeSet<NodeId> =
                if record.submission == item.leaf_hash.to_vec() && record.sender_node == from.as_str() {
                    record.recipients.iter().filter_map(|recipient| recipient.node.parse().ok()).collect()
                } else {
                    record.sender_node.parse().ok().into_iter().collect()
                };
            for other in others {
                nodes.entry(other).or_default().push(key.clone());
            }
        }
        Ok(nodes)
    }

    /// The core's answer is on the device: what leaves is proven under the newest durable checkpoint.
    pub(crate) fn answer(&mut self, cx: &mut Context, waiter: Waiter, reply: CoreReply) {
        let to = waiter.to;
        let reply = self.made(cx, to, waiter.about, reply).unwrap_or_else(|failed| match failed {
            Failed::Refused(why) => Reply::Refused(why),
            Failed::Dead(Dead(why)) => Reply::Refused(why),
        });
        cx.send(to.node, Message::Answer { to, reply });
    }

    fn made(&mut self, cx: &mut Context, to: Caller, about: About, reply: CoreReply) -> Result<Reply, Failed> {
        match (about, reply) {
            (About::Hello { held }, CoreReply::Held(kept)) => {
                let held_of_you = kept.map(|(position, _)| self.note_at(position)).transpose()?.unwrap_or_default();
                let live = self.live.as_mut().ok_or("off")?;
                let head = live.store.ledger.head();
                let consistency = live.store.ledger.consistency(held, head.size).map_err(|e| e.to_string())?;
                live.greeted.insert((to.node, to.life, to.session));
                Ok(Reply::Hello { held_of_you, checkpoint: head.note.to_string().into(), consistency })
            }
            (About::Offer(key), CoreReply::Offer(outcome)) => {
                let (at, accepted) = match outcome.map_err(|e| e.to_string())? {
                    OfferOutcome::Accepted(at) => (at, true),
                    OfferOutcome::Rejected(at) => (at, false),
                };
                let proven = self.prove(&at)?;
                if accepted {
                    cx.book.relay_accepted(&key, leaf_hash(&proven.leaf));
                }
                Ok(Reply::Decided(proven))
            }
            (About::Forged { key, payload }, CoreReply::Offer(outcome)) => {
                let OfferOutcome::Rejected(at) = outcome.map_err(|e| e.to_string())? else {
                    cx.book.violated(format!("I4: the relay accepted other content as {key}"));
                    return Err("accepted".into());
                };
                let proven = self.prove(&at)?;
                let event = Raw::<Statement>::parse(proven.leaf.clone()).map_err(|e| e.to_string())?;
                let evident = event.event == EventUri::RelayRejection && event.reason == Some(Reason::IdReused);
                // Of several forgeries the newest refusal is kept; an older one is refused anew.
                if !evident || event.payload != Some(payload) {
                    cx.book.violated(format!("I4: other content as {key} was refused, but not with evidence of it"));
                }
                Ok(Reply::Decided(proven))
            }
            (About::Lease(key), CoreReply::Lease(outcome)) => match outcome {
                Ok(found) => self.leased(cx, to, &key, &found),
                Err(_) => Ok(Reply::Gone),
            },
            (About::TakeKeys { key, codes }, CoreReply::Evidence(outcomes)) => {
                self.keys(cx, to, &key, &codes, &outcomes.map_err(|e| e.to_string())?)
            }
            (_, CoreReply::Done(outcome)) => outcome.map(|()| Reply::Done).map_err(|e| e.to_string().into()),
            (_, CoreReply::Page(page)) => {
                let mut deliveries = Vec::new();
                for (number, item) in page.deliveries {
                    let (from, batch) = self.delivery(cx, item)?;
                    deliveries.push((number, from, batch));
                }
                Ok(Reply::Page { waiting: page.waiting, deliveries, cursor: page.cursor })
            }
            (_, CoreReply::Undelivered(list)) => Ok(Reply::Undelivered(
                list.envelopes.into_iter().map(|(envelope, sender)| Key { envelope, sender }).collect(),
            )),
            (about, other) => Err(format!("{about:?} got {other:?}").into()),
        }
    }

    fn prove(&self, at: &Acceptance) -> Result<ProvenLeaf, Failed> {
        let ledger = &self.live.as_ref().ok_or("off")?.store.ledger;
        let leaf = ledger.read(at.position).map_err(|e| e.to_string())?.leaf.ok_or("no leaf")?;
        Ok(truc_evidence::prove(ledger, leaf, at.leaf_index, &ledger.head()).map_err(|e| e.to_string())?)
    }

    /// The note of a node's checkpoint, wherever the record has it.
    fn note_at(&self, position: Position) -> Result<Bytes, Failed> {
        let ledger = &self.live.as_ref().ok_or("off")?.store.ledger;
        let record = ledger.read(position).map_err(|e| e.to_string())?;
        let batch = |bytes: &Bytes| {
            EvidenceBatch::decode(bytes.clone()).map(|batch| batch.checkpoint).map_err(|e| e.to_string())
        };
        Ok(match RelayRecord::decode(record.state.as_slice()).map_err(|e| e.to_string())?.body.ok_or("no body")? {
            Body::Accepted(record) => {
                let body = AcceptedBody::decode(record.body).map_err(|e| e.to_string())?;
                body.submission.ok_or("no submission")?.checkpoint
            }
            Body::Evidence(record) => batch(&record.batch)?,
            Body::Finalisation(record) => batch(&record.batch)?,
            Body::PeerCheckpoint(record) => record.note,
            Body::Cosigned(record) => record.note,
            other => return Err(format!("no checkpoint in {other:?}").into()),
        })
    }

    fn leased(&self, cx: &mut Context, to: Caller, key: &Key, found: &Found) -> Result<Reply, Failed> {
        let record = self.accepted_at(found.position).ok_or("not on the device")?;
        let body = AcceptedBody::decode(record.body.clone()).map_err(|e| e.to_string())?;
        let digest = Digest::from_slice(&record.payload).map_err(|e| e.to_string())?;
        let payload = if record.blob { self.payloads.get(&digest).cloned() } else { Some(body.payload.clone()) };
        let me = cx.map.name(to.node).clone();
        let pairs = found.live.as_ref().map(|live| live.pairs.clone()).unwrap_or_default();
        let open = pairs.iter().filter(|pair| pair.node.as_ref() == Some(&me) && pair.state.is_open());
        let recipients: Vec<String> = open.map(|pair| pair.recipient.to_string()).collect();
        let still_open = self.live.as_ref().is_some_and(|live| !record.blob || live.store.core.needs_payload(&digest));
        let Some(payload) = payload else {
            if still_open {
                cx.book.violated(format!("I2: the payload of {key} is gone before it was served"));
            }
            return Ok(Reply::Gone); // served between the core's answer and its release
        };
        let at = Acceptance { position: found.position, leaf_index: found.leaf_index, leaf: None };
        let reply = LeaseReply {
            preamble: body.preamble,
            submission: body.submission,
            relay_acceptance: Some(self.prove(&at)?),
            recipients,
            payload: Bytes::new(),
            lease_ms: 120_000,
        };
        Ok(Reply::Leased(reply, payload))
    }

    /// Keys for whoever answered for the sealed envelope; not where its time is over or another envelope stands in meanwhile.
    fn keys(
        &mut self,
        cx: &mut Context,
        to: Caller,
        key: &Key,
        codes: &[AgencyId],
        outcomes: &[EvidenceOutcome],
    ) -> Result<Reply, Failed> {
        let found = self.find(cx, std::slice::from_ref(key)).pop().flatten().ok_or("unknown envelope")?;
        let record = self.accepted_at(found.position).ok_or("not on the device")?;
        let body = AcceptedBody::decode(record.body).map_err(|e| e.to_string())?;
        let node = cx.map.name(to.node).clone();
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for (code, outcome) in codes.iter().zip(outcomes) {
            if *outcome != EvidenceOutcome::Taken {
                cx.book.violated(format!("I3: the relay does not believe that {code} took {key}: {outcome:?}"));
                continue;
            }
            let Some(state) = found.state_for(&node, code) else { continue };
            if state.is_open() {
                keys.extend(body.key_envelopes.iter().filter(|envelope| envelope.recipient == code.as_str()).cloned());
            } else if let Some(reason) = state.given_up() {
                cx.book.counts.too_late += 1;
                refused.push((code.clone(), reason));
            }
        }
        Ok(if keys.is_empty() && refused.is_empty() { Reply::Gone } else { Reply::Keys(keys, refused) })
    }

    fn delivery(&self, cx: &Context, item: DeliveryItem) -> Result<(usize, EvidenceBatch), Failed> {
        let ledger = &self.live.as_ref().ok_or("off")?.store.ledger;
        match item {
            DeliveryItem::Forwarded { from, position } => {
                let record = ledger.read(position).map_err(|e| e.to_string())?;
                let batch = match RelayRecord::decode(record.state.as_slice()).map_err(|e| e.to_string())?.body {
                    Some(Body::Evidence(record)) => record.batch,
                    Some(Body::Finalisation(record)) => record.batch,
                    other => return Err(format!("nothing to forward in {other:?}").into()),
                };
                let batch = EvidenceBatch::decode(batch).map_err(|e| e.to_string())?;
                Ok((cx.map.machine(&from).ok_or("an unknown node")?, batch))
            }
            DeliveryItem::Own(leaf) => {
                let head = ledger.head();
                let item = self.item(&leaf, head.size, true)?;
                Ok((RELAY, EvidenceBatch { checkpoint: head.note.to_string().into(), items: vec![item] }))
            }
            DeliveryItem::Final { signed, size, leaves } => {
                let record = ledger.read(signed).map_err(|e| e.to_string())?;
                let Some(Body::Signed(signed)) =
                    RelayRecord::decode(record.state.as_slice()).map_err(|e| e.to_string())?.body
                else {
                    return Err("no signed checkpoint there".into());
                };
                let items = leaves.iter().map(|leaf| self.item(leaf, size, false)).collect::<Result<_, _>>()?;
                Ok((RELAY, EvidenceBatch { checkpoint: signed.note, items }))
            }
        }
    }

    fn item(&self, leaf: &OwnProof, size: u64, whole: bool) -> Result<truc_proto::wire_v1::EvidenceItem, Failed> {
        let ledger = &self.live.as_ref().ok_or("off")?.store.ledger;
        let bytes = ledger.read(leaf.position).map_err(|e| e.to_string())?.leaf.ok_or("no leaf")?;
        let proof = ledger.inclusion(leaf.leaf_index, size).map_err(|e| e.to_string())?;
        let shown = whole.then_some(bytes.as_slice());
        Ok(truc_evidence::item_of(shown, leaf_hash(&bytes), leaf.leaf_index, &proof, Some(leaf.envelope)))
    }
}

/// Why a call got no answer of the core.
pub(crate) enum Failed {
    Refused(String),
    Dead(Dead),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
}

impl From<Dead> for Failed {
    fn from(dead: Dead) -> Self {
        Self::Dead(dead)
    }
}
