//! The relay: its core on its journal, and as much shell as the core needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use prost::{Message as _, bytes::Bytes};
use truc_evidence::Attested;
use truc_ledger::{FoldError, Position, Record, Replayed, simdisk::SimDisk};
use truc_node::core::Key;
use truc_proto::{AgencyId, Digest, EnvelopeId, Timestamp, limits};
use truc_relay::{
    core::{Core, CoreSettings, Effect, EnvelopeKey, Input, NewDirectory, Reply as CoreReply},
    records::{Body, RelayRecord, Signed},
};

use crate::{
    context::{Context, Event, Map, RELAY, Sabotage},
    network::{Caller, Message, Reply},
    store::{Brain, Dead, Store},
    wire,
};

impl Brain for Core {
    fn load(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(self.load_snapshot(entries)?)
    }

    fn take(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        Ok(self.apply(record.position, record.leaf_index, record.state)?)
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        self.snapshot()
    }

    fn place(&self) -> (u64, u64) {
        (self.next_position().0, self.next_leaf())
    }

    fn forgets(state: &[u8], sabotage: Sabotage) -> Option<Vec<u8>> {
        if sabotage != Sabotage::LostDedupEntry {
            return None;
        }
        let key = match RelayRecord::decode(state).ok()?.body? {
            Body::Accepted(record) => record.key,
            Body::Rejected(record) => record.key,
            Body::Failed(record) => record.key,
            _ => None,
        }?;
        let unlucky = key.envelope.last().is_some_and(|byte| byte % 16 == 0);
        unlucky.then(|| RelayRecord::encoded(Body::Signed(Signed::default())))
    }
}

/// Who waits for an answer, and what the shell still has to add to it.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) to: Caller,
    pub(crate) about: About,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Hello { held: u64 },
    Offer(Key),
    Forged { key: Key, payload: Digest },
    Lease(Key),
    TakeKeys { key: Key, codes: Vec<AgencyId> },
    Other,
    Answer(Reply),
}

pub(crate) type Behind = (Vec<Effect>, Option<Waiter>);

/// The relay as a machine that can be on or off.
pub(crate) struct Relay {
    pub(crate) disk: SimDisk,
    pub(crate) life: u64,
    pub(crate) live: Option<Live>,
    pub(crate) skew_ms: i64,
    /// The blob store: what is in it was synced before any record names it (`truc_ledger::blobs` has its own cuts).
    pub(crate) payloads: BTreeMap<Digest, Bytes>,
}

/// The relay's process.
pub(crate) struct Live {
    pub(crate) store: Store<Core, Behind>,
    /// Connections that said Hello.
    pub(crate) greeted: BTreeSet<(usize, u64, u64)>,
    signed_at: Timestamp,
    signing: bool,
    /// Codes out of service that the core was told of.
    out_of_service: usize,
}

fn settings(map: &Map) -> CoreSettings {
    CoreSettings { relay: map.relay.clone(), open_envelopes_max: 10_000, lease_ms: 120_000 }
}

pub(crate) fn key_of(key: &EnvelopeKey) -> Key {
    Key { sender: key.sender.clone(), envelope: key.envelope }
}

pub(crate) fn relay_key(key: &Key) -> EnvelopeKey {
    EnvelopeKey { sender: key.sender.clone(), envelope: key.envelope }
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self { disk: SimDisk::new(256 << 20), life: 0, live: None, skew_ms: 0, payloads: BTreeMap::new() }
    }

    pub(crate) fn clock(&self, cx: &Context) -> Timestamp {
        Timestamp::from_unix_ms(cx.now.unix_ms() + self.skew_ms)
    }

    /// Switches it on.
    pub(crate) fn start(&mut self, cx: &mut Context) -> Result<(), Dead> {
        self.life += 1;
        let settings = settings(&cx.map);
        let store = Store::open(cx, RELAY, self.life, &self.disk, &move || Core::new(settings.clone()))?;
        self.live =
            Some(Live { store, greeted: BTreeSet::new(), signed_at: cx.now, signing: false, out_of_service: 0 });
        self.payloads.retain(|digest, _| self.live.as_ref().is_some_and(|live| live.store.core.needs_payload(digest)));
        cx.after(200, Event::Beat { machine: RELAY, life: self.life });
        self.check_facts(cx);
        if self.live.as_ref().is_some_and(|live| live.store.core.directory().is_none()) {
            let statement = Bytes::from_static(b"directory 1");
            let first = NewDirectory {
                version: 1,
                statement,
                previous: None,
                moved: Vec::new(),
                renewed: Vec::new(),
                published_by: None,
            };
            self.input(cx, Input::Published(Box::new(first)), None)?;
        }
        Ok(())
    }

    /// Whatever the relay said that it accepted, it still knows, by the same leaf (I1).
    fn check_facts(&mut self, cx: &mut Context) {
        let Some(live) = &mut self.live else { return };
        let keys: Vec<Key> = cx.book.accepted_by_relay().cloned().collect();
        let asked = Input::Find(keys.iter().map(relay_key).collect());
        for effect in live.store.core.handle(cx.now, asked) {
            if let Effect::Reply(CoreReply::Found(found)) = effect {
                for (key, found) in keys.iter().zip(found) {
                    if !found.is_some_and(|found| found.accepted) {
                        cx.book.violated(format!("I1: the relay accepted {key} and has forgotten it"));
                    }
                }
            }
        }
    }

    pub(crate) fn input(&mut self, cx: &mut Context, input: Input, waiter: Option<Waiter>) -> Result<(), Dead> {
        let now = self.clock(cx);
        let Some(live) = &mut self.live else { return Ok(()) };
        let effects = live.store.core.handle(now, input);
        self.commit(cx, effects, waiter)
    }

    pub(crate) fn commit(
        &mut self,
        cx: &mut Context,
        effects: Vec<Effect>,
        waiter: Option<Waiter>,
    ) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let (mut records, mut rest): (Vec<Record>, Vec<Effect>) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Append(appended) => records.extend(appended),
                other => rest.push(other),
            }
        }
        live.store.submit(cx, records, (rest, waiter))
    }

    /// The journal made a step.
    pub(crate) fn disk_step(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let Some(live) = &mut self.live else { return Ok(()) };
        for (effects, waiter) in live.store.step(cx)? {
            self.released(cx, effects, waiter);
        }
        Ok(())
    }

    fn released(&mut self, cx: &mut Context, effects: Vec<Effect>, mut waiter: Option<Waiter>) {
        for effect in effects {
            match effect {
                Effect::Append(_) => {}
                Effect::Reply(reply) => {
                    if let Some(waiter) = waiter.take() {
                        self.answer(cx, waiter, reply);
                    }
                }
                Effect::Wake(node) => {
                    if let Some(node) = cx.map.machine(&node) {
                        cx.send(node, Message::Wake { node });
                    }
                }
                Effect::RemovePayload(digest) => {
                    if self.live.as_ref().is_some_and(|live| !live.store.core.needs_payload(&digest)) {
                        self.payloads.remove(&digest);
                    }
                }
                Effect::DirectoryChanged(_) => {}
                Effect::Alarm(alarm) => cx.book.violated(format!("I5: the relay cries wolf: {alarm:?}")),
            }
        }
        if let Some(Waiter { to, about: About::Answer(reply) }) = waiter {
            cx.send(to.node, Message::Answer { to, reply });
        }
    }

    /// Once in a while: expiry, and the certificate's signature over the newest durable checkpoint.
    pub(crate) fn beat(&mut self, cx: &mut Context) -> Result<(), Dead> {
        let now = self.clock(cx);
        let life = self.life;
        let Some(live) = &mut self.live else { return Ok(()) };
        let pause = 200 + cx.random.below(600);
        cx.after(pause, Event::Beat { machine: RELAY, life });
        let head = live.store.ledger.head();
        let due = live.store.core.next_due().is_some_and(|at| at <= now);
        // The same tree keeps what others said of it.
        let signed = live.store.core.signed_mark();
        let had = signed.filter(|signed| head.size <= signed.size).map_or(Attested::NONE, |signed| signed.said.there());
        let said = cx.said(RELAY, !live.greeted.is_empty(), had);
        let newest = signed.map_or(Attested::NONE, |signed| signed.said.there());
        let again = live.store.core.unattested_leaves() > 0 && said.there().exceeds(newest);
        let sign = (live.store.core.unsigned_leaves() > 0 || again)
            && live.signed_at + Duration::from_secs(1) <= cx.now
            && !live.greeted.is_empty();
        if sign {
            live.signed_at = cx.now;
            live.signing = true;
            let note = wire::certify(RELAY, &head.note, said.there());
            self.input(cx, Input::Signed { size: head.size, note, said }, None)?;
        }
        // As the shell follows the directory and the clock.
        let out = cx.map.directory(RELAY, now).map(|directory| directory.out_of_service(now).0).unwrap_or_default();
        if let Some(live) = self.live.as_mut().filter(|live| live.out_of_service != out.len()) {
            live.out_of_service = out.len();
            self.input(cx, Input::OutOfService(out), None)?;
        }
        if due { self.input(cx, Input::Tick, None) } else { Ok(()) }
    }

    /// The record that accepted an envelope, when it is on the device.
    pub(crate) fn accepted_at(&self, position: Position) -> Option<truc_relay::records::Accepted> {
        let record = self.live.as_ref()?.store.ledger.read(position).ok()?;
        match RelayRecord::decode(record.state.as_slice()).ok()?.body? {
            Body::Accepted(accepted) => Some(accepted),
            _ => None,
        }
    }

    /// Too old, or too far ahead.
    pub(crate) fn refuses_time(now: Timestamp, envelope: EnvelopeId, created: Timestamp) -> Option<&'static str> {
        let (now, made) = (now.unix_ms(), envelope.made_at().unix_ms());
        if created.unix_ms() > now + limits::FUTURE_SKEW_MAX_MS || made > now + limits::FUTURE_SKEW_MAX_MS {
            return Some("from the future");
        }
        (made < now - limits::ENVELOPE_TTL_MAX_MS - limits::FUTURE_SKEW_MAX_MS).then_some("too old")
    }

    pub(crate) fn low_on_room(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.store.ledger.space() == truc_ledger::SpaceLeft::Low)
    }
}
