//! A node: its core on its journal, and as much shell as the core needs. Calls to the relay stand in `node_calls`, document systems in `documents`.

use std::{collections::BTreeMap, time::Duration};

use prost::{Message as _, bytes::Bytes};
use truc_evidence::Attested;
use truc_ledger::{Fold, FoldError, Record, Replayed, simdisk::SimDisk};
use truc_node::{
    core::{Answer, CodeState, Core, Effect, HeldRequest, Input, Key, OwnLeaf, Policy, Sealed, Token},
    records::{self, Body, NodeRecord, Outgoing},
};
use truc_proto::{
    AgencyId, Digest, EnvelopeId, EnvelopeKind, Lane, Preamble, Priority, Raw, Suite, Supersedes, Timestamp, WireLevel,
};
use truc_relay::core::Cursor;

use crate::{
    context::{Context, Event, Sabotage},
    documents::Office,
    network::{Caller, Message, Request},
    store::{Brain, Dead, Store},
    wire,
};

impl Brain for Core {
    fn load(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Fold::load_snapshot(self, entries)
    }

    fn take(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        Fold::apply(self, record)
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        self.snapshot().collect()
    }

    fn place(&self) -> (u64, u64) {
        (self.next_position(), self.next_leaf())
    }

    fn recovered(&mut self) {
        Self::recovered(self);
    }

    fn forgets(state: &[u8], sabotage: Sabotage) -> Option<Vec<u8>> {
        let lost = sabotage == Sabotage::DoubleHandOver && matches!(NodeRecord::read(state), Ok(Body::HandedOver(_)));
        lost.then(|| Body::Pushed(records::Pushed::default()).write())
    }
}

/// What a call waits for.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    Hello,
    Offer(Key),
    Take(Key),
    Open { key: Key, body: u64 },
    Push { leaves: Vec<u64>, finals: Vec<u64> },
    Pull,
    Acknowledge,
    Reconcile,
    Undelivered,
    Checkpoint { seen: Option<(u64, Digest)> },
    Forged,
}

/// A node as a machine that can be on or off.
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) disk: SimDisk,
    pub(crate) life: u64,
    pub(crate) live: Option<Live>,
    pub(crate) skew_ms: i64,
    pub(crate) key_away: bool,
    pub(crate) office: Office,
}

/// The node's process.
pub(crate) struct Live {
    pub(crate) store: Store<Core, Vec<Effect>>,
    pub(crate) may_sign: bool,
    pub(crate) connected: bool,
    pub(crate) session: u64,
    pub(crate) calls: BTreeMap<u64, Pending>,
    pub(crate) next_call: u64,
    pub(crate) wants_sign: bool,
    pub(crate) cursor: Cursor,
    pub(crate) beats: u64,
    signed_at: Timestamp,
    /// More came while a page was on its way.
    pub(crate) wants_pull: bool,
    /// A checkpoint of the relay seen under evidence, to be proven.
    pub(crate) seen: Option<(u64, Digest)>,
}

/// What is to be sent.
pub(crate) struct Draft {
    pub(crate) sender: AgencyId,
    pub(crate) recipients: Vec<AgencyId>,
    pub(crate) kind: EnvelopeKind,
    pub(crate) priority: u8,
    pub(crate) life_ms: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) inline: bool,
    pub(crate) supersedes: Option<Supersedes>,
    pub(crate) idempotency: String,
    pub(crate) request_hash: Digest,
}

fn policy(cx: &Context, id: usize) -> Policy {
    Policy {
        consignment_deadline_ms: 600_000,
        close_after_ms: 24 * 3_600_000,
        retry_max_ms: 20_000,
        offers_in_flight_max: 4,
        takes_in_flight_max: 4,
        duties: Some(std::sync::Arc::default()),
        ..Policy::new(cx.map.name(id).clone())
    }
}

impl Node {
    pub(crate) fn new(id: usize) -> Self {
        let office = Office::default();
        Self { id, disk: SimDisk::new(256 << 20), life: 0, live: None, skew_ms: 0, key_away: false, office }
    }

    pub(crate) fn clock(&self, cx: &Context) -> Timestamp {
        Timestamp::from_unix_ms(cx.now.unix_ms() + self.skew_ms)
    }

    /// Switches it on.
    pub(crate) fn start(&mut self, cx: &mut Context) -> Result<(), Dead> {
        self.life += 1;
        let policy = policy(cx, self.id);
        let store = Store::open(cx, self.id, self.life, &self.disk, &move || Core::new(policy.clone()))?;
        self.live = Some(Live {
            store,
            may_sign: false,
            connected: false,
            session: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            wants_sign: true,
            cursor: Cursor::default(),
            beats: 0,
            signed_at: cx.now,
            wants_pull: false,
            seen: None,
        });
        cx.after(100, Event::Beat { machine: self.id, life: self.life });
        self.check_facts(cx);
        self.office.system_restarted();
        // Held from before the restart: as the shell does once it has key and directory.
        if self.key_away { Ok(()) } else { self.input(cx, Input::KeyBack) }
    }

    /// Whatever document systems were told is still so (I1, I3).
    fn check_facts(&mut self, cx: &mut Context) {
        let Some(live) = &self.live else { return };
        let core = &live.store.core;
        let state = |key: &Key, code: &AgencyId| Some(core.find_received(key)?.codes.get(code)?.state);
        let mut wrong = Vec::new();
        for (sender, key) in cx.book.answers().filter(|(sender, _)| cx.map.codes.get(*sender) == Some(&self.id)) {
            if core.find_sent(key).is_none() {
                wrong.push(format!("I1: {sender} was told that {key} is accepted, and its node has forgotten it"));
            }
        }
        for (key, code) in cx.book.shown_at(self.id) {
            if !matches!(
                state(key, code),
                Some(CodeState::Consigned | CodeState::HandedOver | CodeState::HandoverFailed)
            ) {
                wrong.push(format!("I1: {code} was shown {key}, and its node has forgotten it"));
            }
        }
        for (key, code) in cx.book.confirmed_at(self.id).filter(|_| cx.sabotage != Sabotage::DoubleHandOver) {
            if state(key, code) != Some(CodeState::HandedOver) {
                wrong.push(format!("I3: the hand-over of {key} to {code} was confirmed and is forgotten"));
            }
        }
        // What came back is on the device: all of it may be shown.
        let inbox = core
            .received()
            .values()
            .flat_map(|received| received.codes.iter().map(move |(code, held)| (&received.key, code, held.state)));
        let shown: Vec<_> = inbox
            .filter(|(.., state)| !matches!(state, CodeState::Taken | CodeState::Failed))
            .map(|(key, code, _)| (key.clone(), code.clone()))
            .collect();
        wrong.into_iter().for_each(|why| cx.book.violated(why));
        for (key, code) in shown {
            cx.book.was_shown(self.id, key.clone(), code.clone());
            self.office.arrived(key, code);
        }
    }

    pub(crate) fn input(&mut self, cx: &mut Context, input: Input) -> Result<(), Dead> {
        let now = self.clock(cx);
        let Some(live) = &mut self.live else { return Ok(()) };
        let (mut records, mut rest): (Vec<Record>, Vec<Effect>) = (Vec::new(), Vec::new());
        let effects = live.store.core.handle(now, input);
        if effects.is_empty() {
            return Ok(());
        }
        for effect in effects {
            match effect {
                Effect::Append(appended) => records.extend(appended),
                other => rest.push(other),
            }
        }
        live.store.submit(cx, records, rest)
    }

    /// The journal made a step.
    pub(crate) fn disk_step(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        for effects in live.store.step(cx)? {
            for effect in effects {
                self.carry_out(cx, effect)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, cx: &mut Context, effect: Effect) -> Result<(), Dead> {
        match effect {
            Effect::Append(_) => Ok(()),
            Effect::Reply { token, answer } => self.answered(cx, token, answer),
            Effect::Offer { key, body, .. } => self.offer(cx, key, body),
            Effect::Take { key } => self.call(cx, Pending::Take(key.clone()), Request::Lease(key)),
            Effect::Open { key, body, acceptances } => self.open(cx, key, body, &acceptances),
            Effect::Push { leaves, finals } => self.push(cx, &leaves, finals),
            Effect::Sign => {
                if let Some(live) = &mut self.live {
                    live.wants_sign = true;
                }
                Ok(())
            }
            Effect::Acknowledge(numbers) => self.call(cx, Pending::Acknowledge, Request::Acknowledge(numbers)),
            Effect::Reconcile(keys) => self.call(cx, Pending::Reconcile, Request::Reconcile(keys)),
            Effect::Arrived { key, code } => {
                cx.book.was_shown(self.id, key.clone(), code.clone());
                self.office.arrived(key, code);
                Ok(())
            }
            Effect::Reseal { key, body, recipient, to } => self.reseal(cx, &key, body, &recipient, to),
            Effect::Divide { key, body, recipients } => self.divide(cx, key, body, recipients),
            Effect::FinishHeld { key, body, recipients } => self.finish_held(cx, key, body, recipients),
            // The simulated axis has no codes on today's.
            Effect::Closed { .. } | Effect::Pass { .. } => Ok(()),
            Effect::Broken(why) => {
                cx.book.violated(format!("node {} calls itself broken: {why}", self.id));
                Ok(())
            }
        }
    }

    fn answered(&mut self, cx: &mut Context, token: Token, answer: Answer) -> Result<(), Dead> {
        let Some(next) = self.office.answered(cx, self.id, token, answer) else { return Ok(()) };
        self.send_draft(cx, next, Some(token))
    }

    /// Once in a while: timers, connection, signer.
    pub(crate) fn beat(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let (now, id, life) = (self.clock(cx), self.id, self.life);
        let Some(live) = &mut self.live else { return Ok(()) };
        let pause = 200 + cx.random.below(800);
        cx.after(pause, Event::Beat { machine: id, life });
        live.beats += 1;
        let (beats, connected) = (live.beats, live.connected);
        let idle = |live: &Live, is: fn(&Pending) -> bool| !live.calls.values().any(is);
        let hello = !connected && idle(live, |call| matches!(call, Pending::Hello));
        let pull = connected && beats % 8 == 0;
        let due = live.store.core.next_due().is_some_and(|at| at <= now);
        let head = live.store.ledger.head();
        let own = live.store.core.own_checkpoint();
        let newer = own.is_none_or(|own| own.size < head.size) && head.size > 0;
        // The same tree keeps what others said of it.
        let had = own.filter(|own| head.size <= own.size).map_or(Attested::NONE, |own| own.said.there());
        let said = cx.said(id, connected, had);
        let again = own.is_some_and(|own| said.there().exceeds(own.said.there()));
        let sign = ((live.wants_sign && newer) || again)
            && live.may_sign
            && !self.key_away
            && live.signed_at + Duration::from_secs(1) <= cx.now;
        if sign {
            live.wants_sign = false;
            live.signed_at = cx.now;
            let note = wire::certify(id, &head.note, said.there());
            self.input(cx, Input::CheckpointSigned { note, said })?;
        }
        if due {
            self.input(cx, Input::Tick)?;
        }
        if hello {
            self.hello(cx)?;
        }
        if pull {
            self.pull(cx)?;
        }
        if connected && beats % 97 == 0 {
            self.call(cx, Pending::Undelivered, Request::Undelivered)?;
        }
        if connected && beats % 61 == 0 {
            self.prove_seen(cx)?;
        }
        if connected && beats % 43 == 0 && !cx.healed {
            self.forge(cx)?;
        }
        Ok(())
    }

    /// Somebody at this node, or in its place, sends other content under an id that the relay has accepted.
    fn forge(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let ours = cx.book.accepted_by_relay().filter(|key| cx.map.codes.get(&key.sender) == Some(&self.id));
        let keys: Vec<Key> = ours.cloned().collect();
        if keys.is_empty() || cx.faults.blow_every_ms == 0 {
            return Ok(());
        }
        let key = keys[cx.index(keys.len())].clone();
        self.call(cx, Pending::Forged, Request::Forged(key))
    }

    pub(crate) fn call(&mut self, cx: &mut Context, pending: Pending, request: Request) -> Result<(), Dead> {
        let (node, life) = (self.id, self.life);
        let Some(live) = &mut self.live else { return Ok(()) };
        let call = live.next_call;
        live.next_call += 1;
        live.calls.insert(call, pending);
        let from = Caller { node, life, session: live.session, call };
        cx.after(15_000, Event::Timeout { node, life, call });
        cx.send(node, Message::Call { from, request });
        Ok(())
    }

    // The pipeline: what it would seal stands for itself.

    /// Seals and hands to the core, or holds while the key is away.
    pub(crate) fn send_draft(&mut self, cx: &mut Context, draft: Draft, reply: Option<Token>) -> Result<(), Dead> {
        let now = self.clock(cx);
        let envelope = EnvelopeId::new(now, cx.bytes());
        let outgoing = compose(now, envelope, &draft);
        if !self.key_away {
            let sealed = Box::new(seal(cx, outgoing, &draft.content));
            return self.input(cx, Input::Prepared { sealed, reply });
        }
        let held = records::Held {
            envelope: envelope.to_string(),
            sender: draft.sender.to_string(),
            recipients: draft.recipients.iter().map(ToString::to_string).collect(),
            priority: draft.priority.into(),
            held_at_ms: 0,
            expires_ms: now.unix_ms() + i64::try_from(draft.life_ms).expect("days"),
            idempotency_key: draft.idempotency,
            request_hash: draft.request_hash.0.to_vec(),
            body: outgoing.encode_to_vec(),
            about: records::About::default(),
            blob: draft.content,
            status: outgoing.status,
        };
        self.input(cx, Input::Held { request: Box::new(HeldRequest { held }), reply })
    }

    fn finish_held(&mut self, cx: &mut Context, key: Key, body: u64, recipients: Vec<AgencyId>) -> Result<(), Dead> {
        let Some(Body::Held(held)) = self.record(body) else {
            cx.book.violated(format!("I1: node {} cannot read what it holds of {key}", self.id));
            return Ok(());
        };
        if self.key_away {
            let jitter = cx.jitter();
            return self.input(cx, Input::HeldFailed { key, error: "the key is away".into(), jitter });
        }
        let mut outgoing = Outgoing::decode(held.body.as_slice()).expect("the simulator's own bytes");
        let preamble = Raw::<Preamble>::parse(outgoing.preamble.clone()).expect("the simulator's own bytes");
        outgoing.key_envelopes.retain(|envelope| recipients.iter().any(|code| code.as_str() == envelope.recipient));
        let left = Raw::write(Preamble { recipients, ..preamble.into_value() }).expect("fewer recipients");
        outgoing.preamble = left.bytes().to_vec();
        let sealed = Box::new(seal(cx, outgoing, &held.blob));
        self.input(cx, Input::Prepared { sealed, reply: None })
    }

    fn reseal(
        &mut self,
        cx: &mut Context,
        key: &Key,
        body: u64,
        recipient: &AgencyId,
        to: AgencyId,
    ) -> Result<(), Dead> {
        let Some(Body::Outgoing(old)) = self.record(body) else { return Ok(()) };
        let preamble = Raw::<Preamble>::parse(old.preamble).expect("the simulator's own bytes");
        // As the pipeline: the relay alone does not say who took over.
        if self.key_away || cx.once_in(5) || !cx.map.took_over(self.id, recipient, &to, self.clock(cx)) {
            let (key, recipient) = (key.clone(), recipient.clone());
            return self.input(cx, Input::ResealFailed { key, recipient, error: "not now".into() });
        }
        let draft = Draft {
            sender: key.sender.clone(),
            recipients: vec![to],
            kind: preamble.kind,
            priority: preamble.priority.value(),
            life_ms: 3_600_000,
            content: if old.status.is_empty() { old.wrapped } else { old.status },
            inline: true,
            supersedes: Some(Supersedes { envelope: key.envelope, recipient: recipient.clone() }),
            idempotency: String::new(),
            request_hash: Digest::of(b"reseal"),
        };
        self.send_draft(cx, draft, None)
    }

    fn divide(&mut self, cx: &mut Context, key: Key, body: u64, recipients: Vec<AgencyId>) -> Result<(), Dead> {
        let Some(Body::Outgoing(old)) = self.record(body) else { return Ok(()) };
        let preamble = Raw::<Preamble>::parse(old.preamble).expect("the simulator's own bytes");
        if self.key_away || cx.once_in(5) {
            return self.input(cx, Input::DivideFailed { key, error: "not now".into() });
        }
        let draft = Draft {
            sender: key.sender.clone(),
            recipients,
            kind: preamble.kind,
            priority: preamble.priority.value(),
            life_ms: 3_600_000,
            content: old.wrapped,
            inline: true,
            supersedes: None,
            idempotency: String::new(),
            request_hash: Digest::of(b"divide"),
        };
        let envelope = EnvelopeId::new(self.clock(cx), cx.bytes());
        let mut outgoing = compose(self.clock(cx), envelope, &draft);
        outgoing.continues = key.envelope.to_string();
        let sealed = Box::new(seal(cx, outgoing, &draft.content));
        self.input(cx, Input::Prepared { sealed, reply: None })
    }

    pub(crate) fn record(&self, position: u64) -> Option<Body> {
        let record = self.live.as_ref()?.store.ledger.read(truc_ledger::Position(position)).ok()?;
        NodeRecord::read(&record.state).ok()
    }

    pub(crate) fn leaf_at(&self, leaf: &OwnLeaf) -> Option<Vec<u8>> {
        self.live.as_ref()?.store.ledger.read(truc_ledger::Position(leaf.position)).ok()?.leaf
    }
}

/// "Sealed": readable, so that the other side can open it without keys.
fn compose(now: Timestamp, envelope: EnvelopeId, draft: &Draft) -> Outgoing {
    let mut recipients = draft.recipients.clone();
    recipients.sort();
    let preamble = Raw::write(Preamble {
        axis: "sim".parse().expect("an axis"),
        suite: Suite::S1,
        envelope,
        lane: Lane::Ordinary,
        level: WireLevel::Ordinary,
        sender: draft.sender.clone(),
        recipients: recipients.clone(),
        legacy: Vec::new(),
        kind: draft.kind,
        priority: Priority::try_from(draft.priority).expect("0 to 4"),
        created: now,
        expires: now + Duration::from_millis(draft.life_ms),
        supersedes: draft.supersedes.clone(),
    })
    .expect("a preamble of checked values");
    let sealed = Bytes::from([envelope.as_bytes(), draft.content.as_slice()].concat());
    let keys = recipients.iter().map(|code| records::KeyEnvelope {
        recipient: code.to_string(),
        cms: format!("key of {envelope} for {code}").into_bytes(),
    });
    Outgoing {
        preamble: preamble.bytes().to_vec(),
        key_envelopes: keys.collect(),
        payload: records::Payload {
            sha256: Digest::of(&sealed).0.to_vec(),
            length: sealed.len() as u64,
            inline: draft.inline.then(|| sealed.to_vec()),
        },
        wrapped: draft.content.clone(),
        about: records::About::default(),
        idempotency_key: draft.idempotency.clone(),
        request_hash: draft.request_hash.0.to_vec(),
        status: if draft.kind == EnvelopeKind::Status { draft.content.clone() } else { Vec::new() },
        opening: None,
        ..Default::default()
    }
}

fn seal(cx: &Context, outgoing: Outgoing, content: &[u8]) -> Sealed {
    let preamble = Raw::<Preamble>::parse(outgoing.preamble.clone()).expect("just written");
    let directory = cx.map.reference(&preamble.sender);
    Sealed { outgoing, commitment: commitment(content), directory }
}

pub(crate) fn commitment(content: &[u8]) -> Digest {
    Digest::of_parts(&[b"sim/commitment", content])
}
