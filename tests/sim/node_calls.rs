//! A node's calls to the relay: what it sends, and what it makes of answers, of silence, and of a line that breaks.

use prost::bytes::Bytes;
use truc_ledger::merkle::verify_consistency;
use truc_node::{
    core::{Failure, Input, Key, Leased, OwnLeaf, Source, Waiting},
    records::{self, Body},
};
use truc_proto::{
    AgencyId, Checkpoint, Digest, EnvelopeKind, Event as Statement, EventUri, Preamble, Priority, Raw, Reason,
    Submission,
    relay_v1::{self, LeaseReply, OfferRequest},
    wire_v1::EvidenceBatch,
};
use truc_relay::core::{Cursor, WaitingItem};

use crate::{
    context::{Context, Event, RELAY},
    network::{Caller, Reply, Request},
    node::{Node, Pending, commitment},
    store::Dead,
    wire,
};

/// One push is under way at a time; a connection that comes back early may see the one before.
const PUSHES_MAX: usize = 2;

impl Node {
    pub(crate) fn hello(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        live.session += 1;
        let held_of_you = live.store.core.peer(&cx.map.relay).cloned().unwrap_or_default();
        let mine = if live.may_sign { live.store.ledger.head().note.to_string().into() } else { Bytes::new() };
        self.call(cx, Pending::Hello, Request::Hello { held_of_you, mine })
    }

    pub(crate) fn pull(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        if live.calls.values().any(|call| matches!(call, Pending::Pull)) {
            live.wants_pull = true;
            return Ok(());
        }
        live.wants_pull = false;
        let cursor = live.cursor;
        self.call(cx, Pending::Pull, Request::Pull(cursor))
    }

    pub(crate) fn offer(&mut self, cx: &mut Context, key: Key, body: u64) -> Result<(), Dead> {
        match self.offer_request(&key, body) {
            Ok((offer, upload)) => self.call(cx, Pending::Offer(key), Request::Offer { offer, upload }),
            Err(error) => {
                let jitter = cx.jitter();
                self.input(cx, Input::OfferFailed { key, error, jitter })
            }
        }
    }

    fn offer_request(&self, key: &Key, body: u64) -> Result<(OfferRequest, Bytes), String> {
        let live = self.live.as_ref().filter(|live| live.connected && live.may_sign).ok_or("the relay is away")?;
        let Some(Body::Outgoing(outgoing)) = self.record(body) else { return Err("no body".into()) };
        let index = live.store.core.find_sent(key).into_iter().flat_map(|sent| &sent.steps).find_map(|step| match step
            .source
        {
            Source::Own { index, position } if position == body => Some(index),
            _ => None,
        });
        let ledger = &live.store.ledger;
        let leaf = ledger.read(truc_ledger::Position(body)).map_err(|e| e.to_string())?.leaf.ok_or("no leaf")?;
        let submission =
            truc_evidence::prove(ledger, leaf, index.ok_or("no step")?, &ledger.head()).map_err(|e| e.to_string())?;
        let envelope = |envelope: &records::KeyEnvelope| relay_v1::KeyEnvelope {
            recipient: envelope.recipient.clone(),
            cms: envelope.cms.clone().into(),
        };
        let upload = match &outgoing.payload.inline {
            Some(_) => Bytes::new(),
            None => [key.envelope.as_bytes(), outgoing.wrapped.as_slice()].concat().into(),
        };
        let request = OfferRequest {
            packed_key_envelopes: Default::default(),
            preamble: outgoing.preamble.into(),
            submission: Some(submission),
            key_envelopes: outgoing.key_envelopes.iter().map(envelope).collect(),
            payload: outgoing.payload.inline.unwrap_or_default().into(),
        };
        Ok((request, upload))
    }

    pub(crate) fn open(
        &mut self,
        cx: &mut Context,
        key: Key,
        body: u64,
        acceptances: &[(AgencyId, OwnLeaf)],
    ) -> Result<(), Dead> {
        let leaves: Vec<OwnLeaf> = acceptances.iter().map(|(_, leaf)| leaf.clone()).collect();
        match self.own_batch(&leaves) {
            Ok(acceptances) => {
                self.call(cx, Pending::Open { key: key.clone(), body }, Request::TakeKeys { key, acceptances })
            }
            Err(error) => self.take_failed(cx, key, error, false),
        }
    }

    pub(crate) fn push(
        &mut self,
        cx: &mut Context,
        leaves: &[OwnLeaf],
        finals: Option<(u64, Vec<OwnLeaf>)>,
    ) -> Result<(), Dead> {
        let indices = |leaves: &[OwnLeaf]| leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>();
        // As the shell has it: a leaf shown together with its final place counts as shown only.
        let (known, first): (Vec<OwnLeaf>, Vec<OwnLeaf>) =
            finals.iter().flat_map(|(_, leaves)| leaves).cloned().partition(|leaf| leaf.known);
        let (final_indices, pushed) = (indices(&known), [indices(leaves), indices(&first)].concat());
        let made = || -> Result<Vec<EvidenceBatch>, String> {
            let mut batches = Vec::new();
            if !leaves.is_empty() {
                batches.push(self.own_batch(leaves)?);
            }
            if let Some((position, finals)) = &finals {
                let Some(Body::OwnCheckpoint(note)) = self.record(*position) else {
                    return Err("no signed checkpoint".into());
                };
                let (_, checkpoint) = Checkpoint::parse_note(&note.note).map_err(|e| e.to_string())?;
                batches.push(self.batch_under(finals, note.note.into(), checkpoint.size)?);
            }
            Ok(batches)
        };
        let under_way = self
            .live
            .iter()
            .flat_map(|live| live.calls.values())
            .filter(|call| matches!(call, Pending::Push { .. }))
            .count();
        if under_way > PUSHES_MAX {
            cx.book.violated(format!("I9: node {} has {under_way} pushes under way at once", self.id));
        }
        match made() {
            Ok(batches) => {
                self.call(cx, Pending::Push { leaves: pushed, finals: final_indices }, Request::Push(batches))
            }
            Err(_) => self.input(cx, Input::PushFailed),
        }
    }

    fn own_batch(&self, leaves: &[OwnLeaf]) -> Result<EvidenceBatch, String> {
        let head = self.live.as_ref().ok_or("off")?.store.ledger.head();
        self.batch_under(leaves, head.note.to_string().into(), head.size)
    }

    fn batch_under(&self, leaves: &[OwnLeaf], checkpoint: Bytes, size: u64) -> Result<EvidenceBatch, String> {
        let live = self.live.as_ref().filter(|live| live.may_sign).ok_or("checkpoints are not exchanged yet")?;
        let item = |leaf: &OwnLeaf| {
            let proof = live.store.ledger.inclusion(leaf.index, size).map_err(|e| e.to_string())?;
            let bytes = if leaf.known { None } else { Some(self.leaf_at(leaf).ok_or("no leaf")?) };
            Ok(truc_evidence::item_of(bytes.as_deref(), leaf.leaf, leaf.index, &proof, Some(leaf.envelope)))
        };
        let items = leaves.iter().map(item).collect::<Result<_, String>>()?;
        Ok(EvidenceBatch { checkpoint, items })
    }

    /// Asks for a proof from a checkpoint seen under evidence to the newest.
    pub(crate) fn prove_seen(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let seen = live.seen.take();
        let from = match seen {
            Some((size, _)) => size,
            None => live
                .store
                .core
                .peer(&cx.map.relay)
                .and_then(|note| Checkpoint::parse_note(note).ok())
                .map_or(0, |(_, held)| held.size),
        };
        self.call(cx, Pending::Checkpoint { seen }, Request::Checkpoint { from })
    }

    /// An answer came out of the network.
    pub(crate) fn reply(&mut self, cx: &mut Context, to: Caller, reply: Reply) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        // Answers of a connection that is gone are not heard.
        if to.life != self.life || to.session != live.session {
            return Ok(());
        }
        let Some(pending) = live.calls.remove(&to.call) else { return Ok(()) };
        match (pending, reply) {
            (Pending::Hello, Reply::Hello { held_of_you, checkpoint, consistency }) => {
                self.greeted(cx, &held_of_you, checkpoint, &consistency)
            }
            (Pending::Offer(key), Reply::Decided(proven)) => {
                if wire::verify_leaf(cx, RELAY, &proven).is_err() {
                    cx.book.violated(format!("I5: the relay's answer about {key} does not hold"));
                    return Ok(());
                }
                let batch = wire::batch_of(&proven, key.envelope);
                let (acceptance, _) = wire::verify_batch(cx, RELAY, &batch).expect("just verified");
                self.input(cx, Input::Offered { key, acceptance })
            }
            (Pending::Take(key), Reply::Leased(lease, payload)) => self.leased(cx, key, lease, &payload),
            (Pending::Take(key), Reply::Gone) => self.take_failed(cx, key, "it is gone".into(), true),
            (Pending::Open { key, body }, Reply::Keys(keys, refused)) => self.opened(cx, key, body, &keys, refused),
            (Pending::Open { key, .. }, Reply::Gone) => self.take_failed(cx, key, "there are no keys".into(), true),
            (Pending::Push { leaves, finals }, Reply::Done) => {
                for (leaves, finally) in [(leaves, false), (finals, true)] {
                    if !leaves.is_empty() {
                        self.input(cx, Input::Pushed { leaves, finally })?;
                    }
                }
                Ok(())
            }
            (Pending::Pull, Reply::Page { waiting, deliveries, cursor }) => self.page(cx, waiting, deliveries, cursor),
            (Pending::Reconcile, Reply::Unknown(keys)) => {
                if let Some(key) = keys.first() {
                    cx.book.violated(format!("I1: the relay does not know {key}, which it had accepted"));
                }
                self.input(cx, Input::LostByRelay(keys))
            }
            (Pending::Undelivered, Reply::Undelivered(listed)) => self.compare(cx, listed),
            (Pending::Checkpoint { seen }, Reply::Checkpoint { checkpoint, consistency }) => {
                self.observe(cx, checkpoint, &consistency, seen)
            }
            (Pending::Acknowledge, Reply::Done) | (Pending::Forged, _) => Ok(()),
            (pending, Reply::Refused(why)) => self.failed(cx, pending, why),
            (pending, _) => self.failed(cx, pending, "an answer to something else".into()),
        }
    }

    /// A call got no answer.
    pub(crate) fn timeout(&mut self, cx: &mut Context, call: u64) -> Result<(), Dead> {
        let pending = self.live.as_mut().and_then(|live| live.calls.remove(&call));
        pending.map_or(Ok(()), |pending| self.failed(cx, pending, "no answer".into()))
    }

    /// The connection is gone; everything that waited on it failed.
    pub(crate) fn disconnect(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        live.session += 1;
        live.connected = false;
        let calls = std::mem::take(&mut live.calls);
        for pending in calls.into_values() {
            self.failed(cx, pending, "the line broke".into())?;
        }
        self.input(cx, Input::Disconnected)
    }

    fn failed(&mut self, cx: &mut Context, pending: Pending, error: String) -> Result<(), Dead> {
        let jitter = cx.jitter();
        match pending {
            Pending::Offer(key) => self.input(cx, Input::OfferFailed { key, error, jitter }),
            Pending::Take(key) | Pending::Open { key, .. } => self.take_failed(cx, key, error, false),
            Pending::Push { .. } => self.input(cx, Input::PushFailed),
            // Without these the connection is of no use: the shell closes it.
            Pending::Pull | Pending::Acknowledge => {
                let (node, life) = (self.id, self.life);
                let session = self.live.as_ref().map_or(0, |live| live.session);
                cx.after(1, Event::Reset { node, life, session });
                Ok(())
            }
            Pending::Hello
            | Pending::Reconcile
            | Pending::Undelivered
            | Pending::Checkpoint { .. }
            | Pending::Forged => Ok(()),
        }
    }

    fn take_failed(&mut self, cx: &mut Context, key: Key, error: String, gone: bool) -> Result<(), Dead> {
        let jitter = cx.jitter();
        self.input(cx, Input::TakeFailed { key, error, jitter, gone })
    }

    fn greeted(
        &mut self,
        cx: &mut Context,
        held_of_us: &Bytes,
        checkpoint: Bytes,
        proof: &[Digest],
    ) -> Result<(), Dead> {
        if !held_of_us.is_empty() {
            let shown = wire::read_checkpoint(cx, self.id, held_of_us);
            let Some(live) = &mut self.live else { return Ok(()) };
            let ours = shown.is_ok_and(|(shown, _)| live.store.ledger.root_at(shown.size).ok() == Some(shown.root));
            if !ours {
                cx.book.violated(format!("I5: the relay holds a tree of node {} that the node does not have", self.id));
                return Ok(());
            }
        }
        self.observe(cx, checkpoint, proof, None)?;
        let Some(live) = &mut self.live else { return Ok(()) };
        (live.may_sign, live.connected, live.wants_sign, live.cursor) = (true, true, true, Cursor::default());
        self.input(cx, Input::Connected)?;
        self.pull(cx)
    }

    /// The relay's newest checkpoint, with the proof from `seen`, or else from the one held.
    fn observe(
        &mut self,
        cx: &mut Context,
        note: Bytes,
        proof: &[Digest],
        seen: Option<(u64, Digest)>,
    ) -> Result<(), Dead> {
        let Ok((shown, _)) = wire::read_checkpoint(cx, RELAY, &note) else {
            cx.book.violated("I5: the relay's checkpoint does not hold");
            return Ok(());
        };
        let held = self.live.as_ref().and_then(|live| live.store.core.peer(&cx.map.relay).cloned());
        let held = held.and_then(|note| Checkpoint::parse_note(&note).ok()).map(|(_, held)| (held.size, held.root));
        if let Some((size, root)) = seen.or(held) {
            // An answer that was overtaken on its way shows an older tree; that is compared by root, elsewhere.
            if shown.size < size {
                return Ok(());
            }
            if verify_consistency(size, &root, shown.size, &shown.root, proof).is_err() {
                // Between question and answer another checkpoint may have been taken: then the proof is from another size.
                let asked_from_held = seen.is_some();
                if asked_from_held {
                    cx.book.violated(format!(
                        "I5: the relay's trees of {size} and {} leaves are not one history",
                        shown.size
                    ));
                }
                return Ok(());
            }
        }
        if held.is_none_or(|(size, _)| size < shown.size) && seen.is_none() {
            let node = cx.map.relay.clone();
            return self.input(cx, Input::PeerCheckpoint { node, note });
        }
        Ok(())
    }

    fn page(
        &mut self,
        cx: &mut Context,
        waiting: Vec<WaitingItem>,
        deliveries: Vec<(u64, usize, EvidenceBatch)>,
        cursor: Cursor,
    ) -> Result<(), Dead> {
        let more = !waiting.is_empty() || !deliveries.is_empty();
        let waiting = waiting.into_iter().map(|item| Waiting {
            key: Key { sender: item.key.sender, envelope: item.key.envelope },
            priority: Priority::try_from(item.priority).expect("0 to 4"),
            payload_length: item.payload_length,
            kind: if item.status { EnvelopeKind::Status } else { EnvelopeKind::Document },
        });
        self.input(cx, Input::Waiting(waiting.collect()))?;
        for (number, from, batch) in deliveries {
            match wire::verify_batch(cx, from, &batch) {
                Ok((leaves, checkpoint)) => {
                    if let Some(live) = self.live.as_mut().filter(|_| from == RELAY) {
                        live.seen = Some((checkpoint.size, checkpoint.root));
                    }
                    self.input(cx, Input::Evidence { numbers: vec![number], leaves })?;
                }
                Err(why) => cx.book.violated(format!("I5: evidence of machine {from} does not hold: {why}")),
            }
        }
        let Some(live) = &mut self.live else { return Ok(()) };
        live.cursor = cursor;
        if more || live.wants_pull { self.pull(cx) } else { Ok(()) }
    }

    fn compare(&mut self, cx: &mut Context, listed: Vec<Key>) -> Result<(), Dead> {
        let Some(live) = &self.live else { return Ok(()) };
        let core = &live.store.core;
        let open =
            core.received().values().filter(|received| received.needs_opening()).map(|received| received.key.clone());
        let mut known: Vec<Key> = core.announced().cloned().chain(open).collect();
        known.sort();
        let mut sorted = listed.clone();
        sorted.sort();
        if known == sorted { Ok(()) } else { self.input(cx, Input::Undelivered { listed, complete: true }) }
    }

    fn leased(&mut self, cx: &mut Context, key: Key, lease: LeaseReply, payload: &Bytes) -> Result<(), Dead> {
        match self.incoming(cx, &key, lease, payload) {
            Ok(Some(incoming)) => self.input(cx, Input::Leased(Box::new(Leased { incoming }))),
            Ok(None) => self.take_failed(cx, key, "none of ours is open".into(), true),
            Err(why) => {
                cx.book.violated(format!("I2: what was leased of {key} does not hold: {why}"));
                Ok(())
            }
        }
    }

    fn incoming(
        &self,
        cx: &mut Context,
        key: &Key,
        lease: LeaseReply,
        payload: &Bytes,
    ) -> Result<Option<records::Incoming>, String> {
        let preamble = Raw::<Preamble>::parse(lease.preamble.clone()).map_err(|e| e.to_string())?;
        let proven = lease.submission.ok_or("no submission")?;
        let sender = *cx.map.codes.get(&preamble.sender).ok_or("an unknown sender")?;
        let (hash, _) = wire::verify_leaf(cx, sender, &proven)?;
        let submission = Raw::<Submission>::parse(proven.leaf.clone()).map_err(|e| e.to_string())?;
        let acceptance = lease.relay_acceptance.ok_or("no acceptance")?;
        wire::verify_leaf(cx, RELAY, &acceptance)?;
        let event = Raw::<Statement>::parse(acceptance.leaf.clone()).map_err(|e| e.to_string())?;
        let same = event.event == EventUri::RelayAcceptance
            && event.submission == Some(hash)
            && submission.preamble == preamble.digest()
            && (&preamble.sender, preamble.envelope) == (&key.sender, key.envelope)
            && Digest::of(payload) == submission.payload;
        if !same {
            return Err("its parts do not belong together".into());
        }
        if lease.recipients.is_empty() {
            return Ok(None);
        }
        Ok(Some(records::Incoming {
            preamble: lease.preamble.to_vec(),
            submission: proven,
            relay_acceptance: acceptance,
            payload: records::Payload {
                sha256: submission.payload.0.to_vec(),
                length: submission.payload_length,
                inline: Some(payload.to_vec()),
            },
            codes: lease.recipients,
            at_ms: 0,
        }))
    }

    /// "Opens": content is what stands behind the envelope's id. One in thirty keys does not open, by a rule that both runs of a seed share.
    fn opened(
        &mut self,
        cx: &mut Context,
        key: Key,
        body: u64,
        keys: &[relay_v1::KeyEnvelope],
        refused: Vec<(AgencyId, Reason)>,
    ) -> Result<(), Dead> {
        let Some(Body::Incoming(incoming)) = self.record(body) else { return Ok(()) };
        let preamble = Raw::<Preamble>::parse(incoming.preamble).expect("verified when it came");
        let submission = Raw::<Submission>::parse(incoming.submission.leaf).expect("verified when it came");
        let sealed = incoming.payload.inline.unwrap_or_default();
        let content = sealed.get(16..).unwrap_or_default();
        if commitment(content) != submission.commitment {
            cx.book.violated(format!("I2: {key} was opened and is other content than was committed to"));
        }
        let fails = |code: &AgencyId| Digest::of_parts(&[key.envelope.as_bytes(), code.as_str().as_bytes()]).0[0] < 8;
        let mut outcomes = Vec::new();
        for envelope in keys {
            let code: AgencyId = envelope.recipient.parse().expect("a code of the record");
            let right = submission.key_envelopes.get(&code) == Some(&Digest::of(&envelope.cms));
            if !right {
                cx.book.violated(format!("I2: {code} got another key envelope of {key} than the sender made"));
            }
            let failure = Failure { reason: Reason::CannotOpen, detail: "the key is lost".into() };
            let outcome = if fails(&code) { Err(failure) } else { Ok(()) };
            outcomes.push((code, outcome));
        }
        let failure = |reason| Failure { reason, detail: "the relay gives no keys any more".into() };
        outcomes.extend(refused.into_iter().map(|(code, reason)| (code, Err(failure(reason)))));
        let any = outcomes.iter().any(|(_, outcome)| outcome.is_ok());
        let status = if preamble.kind == EnvelopeKind::Status { content.to_vec() } else { Vec::new() };
        let content = any.then(|| {
            Box::new(records::Content {
                sender: key.sender.to_string(),
                envelope: key.envelope.to_string(),
                wrapped: content.to_vec(),
                opening: records::OpeningParts::default(),
                about: records::About::default(),
                verdict: "good".into(),
                verdict_text: String::new(),
                status,
                ..Default::default()
            })
        });
        self.input(cx, Input::Opened { key, content, outcomes })
    }
}
