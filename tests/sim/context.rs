//! What everybody in the world shares: time, chance, the queue of what happens next, the log, the book of invariants, and the map of who serves what.

use std::{collections::BTreeMap, fmt, time::Duration};

use truc_evidence::{Agency, Attestation, Attestations, Attested, Directory};
use truc_ledger::{LedgerKey, StoreTag, simdisk::SimRandom};
use truc_proto::{AgencyId, Digest, DirectoryRef, EnvelopeKind, EventUri, NodeId, NoteKey, Preamble, Role, Timestamp};
use truc_relay::{core::OfferedRecipient, service::offered_recipient};

use crate::{book::Book, network::Message};

/// The relay's number among the machines; nodes follow.
pub(crate) const RELAY: usize = 0;

/// What goes wrong, each about once in so many chances; 0: never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) long_delay: u64,
    /// Mean virtual milliseconds between two blows: cuts, kills, partitions, clock jumps, full disks, failing syncs, keys away.
    pub(crate) blow_every_ms: u64,
}

impl Faults {
    pub(crate) const fn all() -> Self {
        Self { drop: 25, duplicate: 20, long_delay: 15, blow_every_ms: 6_000 }
    }

    pub(crate) const fn none() -> Self {
        Self { drop: 0, duplicate: 0, long_delay: 0, blow_every_ms: 0 }
    }
}

/// Bugs put in on purpose, here in the simulator: the product cannot be told to have them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    None,
    /// The journal lets answers go when the batch is written, and syncs afterwards.
    AnswerBeforeSync,
    /// A restarted relay has forgotten some envelopes.
    LostDedupEntry,
    /// A restarted node has forgotten some hand-overs.
    DoubleHandOver,
}

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A message comes out of the network.
    Arrive(Message),
    /// The disk of a machine makes its next step for the journal.
    Disk { machine: usize, life: u64 },
    /// A machine looks at its timers, its signer and its connection.
    Beat { machine: usize, life: u64 },
    /// A call of a node got no answer in time.
    Timeout { node: usize, life: u64, call: u64 },
    /// The document systems at a node do something.
    Office { node: usize },
    /// Something breaks.
    Blow,
    /// A machine is switched on again.
    Start { machine: usize },
    /// The line between a node and the relay is mended.
    Mend { node: usize },
    /// A node notices that its connection is gone.
    Reset { node: usize, life: u64, session: u64 },
    /// A full disk is emptied.
    Room { machine: usize },
    /// A signing key comes back.
    KeyBack { node: usize },
}

/// Who serves what: the directory, as far as cores need it.
pub(crate) struct Map {
    pub(crate) relay: NodeId,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) codes: BTreeMap<AgencyId, usize>,
    /// A closed code and who took over; nodes still have it in older directories.
    pub(crate) closed: (AgencyId, AgencyId),
    /// Where a world is of provinces: what says by the clock who is open.
    provinces: Option<Provinces>,
    keys: Vec<NoteKey>,
}

/// The versions of a directory, and which machine has which.
pub(crate) struct Provinces {
    /// In which nothing closes yet.
    pub(crate) before: Directory,
    pub(crate) after: Directory,
    /// When the later one comes to each machine.
    pub(crate) comes: Vec<Timestamp>,
}

impl Map {
    pub(crate) fn new() -> Self {
        let code = |text: &str| -> AgencyId { text.parse().expect("a code") };
        let nodes: Vec<NodeId> = ["N-A", "N-B", "N-C"].map(|id| id.parse().expect("a node id")).to_vec();
        let served = [("G22", 1), ("G13", 1), ("H26", 2), ("H26.01", 2), ("H37", 3), ("H37.DN.001", 3)];
        let keys = (0..=nodes.len()).map(|machine| ledger_key(machine).public().clone()).collect();
        Self {
            relay: "R1".parse().expect("a relay id"),
            nodes,
            codes: served.into_iter().map(|(text, node)| (code(text), node)).collect(),
            closed: (code("H02"), code("H37")),
            provinces: None,
            keys,
        }
    }

    /// Every province of a directory at one of the three nodes, in turn.
    pub(crate) fn provinces(provinces: Provinces) -> Self {
        let map = Self::new();
        let machine = |agency: &Agency| map.machine(agency.node.as_ref()?);
        let agencies = provinces.after.agencies().iter();
        let codes = agencies.filter_map(|agency| Some((agency.code.clone(), machine(agency)?))).collect();
        Self { codes, provinces: Some(provinces), ..map }
    }

    /// The version that a machine has.
    pub(crate) fn directory(&self, machine: usize, at: Timestamp) -> Option<&Directory> {
        let provinces = self.provinces.as_ref()?;
        Some(if at < provinces.comes[machine] { &provinces.before } else { &provinces.after })
    }

    fn agency(&self, machine: usize, code: &AgencyId, at: Timestamp) -> Option<&Agency> {
        self.directory(machine, at)?.agency(code)
    }

    /// Where the relay takes mail for a code, as its service asks the directory.
    pub(crate) fn offered(&self, code: &AgencyId, preamble: &Preamble, now: Timestamp) -> OfferedRecipient {
        let Some(directory) = self.directory(RELAY, now) else {
            return match self.codes.get(code) {
                Some(at) => OfferedRecipient::Open { code: code.clone(), node: self.name(*at).clone() },
                None => OfferedRecipient::Closed { code: code.clone(), successor: Some(self.closed.1.clone()) },
            };
        };
        let sealed = (preamble.created, preamble.kind == EnvelopeKind::Status);
        offered_recipient(directory, code, sealed, now).unwrap_or_else(|error| panic!("{code}: {error}"))
    }

    /// Whether a node may state an event for a code as its recipient.
    pub(crate) fn receives(&self, code: &AgencyId, node: usize, event: EventUri, at: Timestamp) -> bool {
        let agency = self.agency(RELAY, code, at);
        let may = agency.is_none_or(|agency| agency.may_state(Role::Recipient, Some(event), at));
        self.codes.get(code) == Some(&node) && may
    }

    /// Whether the relay takes from a sender what it submitted at `at`.
    pub(crate) fn may_send(&self, preamble: &Preamble, at: Timestamp) -> bool {
        let status = preamble.kind == EnvelopeKind::Status;
        let agency = self.agency(RELAY, &preamble.sender, at);
        agency.is_none_or(|agency| agency.may_send(preamble.created, status, preamble.supersedes.is_some(), at))
    }

    /// Whether a code is open, as a machine believes.
    pub(crate) fn is_open(&self, machine: usize, code: &AgencyId, at: Timestamp) -> bool {
        self.agency(machine, code, at).is_none_or(|agency| agency.is_open(at))
    }

    /// Whether a machine believes that a code was taken over.
    pub(crate) fn took_over(&self, machine: usize, code: &AgencyId, to: &AgencyId, at: Timestamp) -> bool {
        self.directory(machine, at).is_none_or(|directory| code == to || directory.took_over(code, to, at))
    }

    pub(crate) fn name(&self, machine: usize) -> &NodeId {
        if machine == RELAY { &self.relay } else { &self.nodes[machine - 1] }
    }

    pub(crate) fn machine(&self, id: &NodeId) -> Option<usize> {
        if *id == self.relay { Some(RELAY) } else { Some(self.nodes.iter().position(|node| node == id)? + 1) }
    }

    pub(crate) fn key(&self, machine: usize) -> &NoteKey {
        &self.keys[machine]
    }

    pub(crate) fn codes_of(&self, node: usize) -> Vec<AgencyId> {
        self.codes.iter().filter(|(_, at)| **at == node).map(|(code, _)| code.clone()).collect()
    }

    pub(crate) fn reference(&self, code: &AgencyId) -> DirectoryRef {
        DirectoryRef { version: 1, root: Digest::of(b"directory 1"), entry: Digest::of(code.as_str().as_bytes()) }
    }
}

pub(crate) fn origin(machine: usize) -> String {
    format!("truc.dev/sim/{machine}")
}

pub(crate) fn ledger_key(machine: usize) -> LedgerKey {
    let seed = [u8::try_from(machine).expect("few machines") + 1; 32];
    LedgerKey::from_seed(&origin(machine), &seed).expect("an origin of letters")
}

pub(crate) fn tag(map: &Map, machine: usize) -> StoreTag {
    let kind = if machine == RELAY { "relay" } else { "node" };
    StoreTag { axis: "sim".into(), lane: "ordinary".into(), kind: kind.into(), id: map.name(machine).to_string() }
}

/// See the module.
pub(crate) struct Context {
    pub(crate) now: Timestamp,
    pub(crate) random: SimRandom,
    pub(crate) faults: Faults,
    pub(crate) sabotage: Sabotage,
    /// No new work and no new faults.
    pub(crate) healed: bool,
    /// Checkpoints are time-stamped, by authorities that come and go. Every second seed.
    stamps: bool,
    /// They are cosigned, by witnesses that come and go; at first the directory lists none. Two seeds of three.
    witnesses: bool,
    begun: Timestamp,
    pub(crate) map: Map,
    pub(crate) book: Book,
    pub(crate) log: Vec<String>,
    /// Lines that are cut, by node.
    pub(crate) cut: Vec<bool>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    queued: u64,
}

impl Context {
    pub(crate) fn new(seed: u64, faults: Faults, sabotage: Sabotage) -> Self {
        Self::over(Map::new(), "2026-11-22T02:00:00Z".parse().expect("a time"), seed, faults, sabotage)
    }

    /// With others in the directory, from another time on.
    pub(crate) fn over(map: Map, now: Timestamp, seed: u64, faults: Faults, sabotage: Sabotage) -> Self {
        let machines = map.nodes.len() + 1;
        Self {
            now,
            random: SimRandom::new(seed),
            faults,
            sabotage,
            healed: false,
            stamps: seed.is_multiple_of(2),
            witnesses: !seed.is_multiple_of(3),
            begun: now,
            book: Book::new(machines),
            map,
            log: Vec::new(),
            cut: vec![false; machines],
            queue: BTreeMap::new(),
            queued: 0,
        }
    }

    /// What others say of a checkpoint of `machine` now that had this much; `connected`: the other side is there to cosign.
    pub(crate) fn said(&self, machine: usize, connected: bool, had: Attested) -> Attestations {
        let minute = self.now.unix_s().unsigned_abs() / 60 + machine as u64;
        let stamp = match (self.stamps, self.healed || minute.is_multiple_of(3)) {
            (false, _) => Attestation::NotAsked,
            (true, here) => {
                if here || had.stamped {
                    Attestation::There
                } else {
                    Attestation::Awaited
                }
            }
        };
        let half_minute = self.now.unix_s().unsigned_abs() / 30 + machine as u64;
        let listed = self.healed || self.now > self.begun + Duration::from_secs(60);
        let cosignature = match (self.witnesses, connected && (self.healed || half_minute.is_multiple_of(3))) {
            (false, _) => Attestation::NotAsked,
            (true, _) if !listed => Attestation::NobodyYet,
            (true, here) => {
                if here || had.cosigned {
                    Attestation::There
                } else {
                    Attestation::Awaited
                }
            }
        };
        Attestations { stamp, cosignature }
    }

    /// Queues `event` in so many virtual milliseconds.
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.queue.insert((self.now + Duration::from_millis(ms), self.queued), event);
        self.queued += 1;
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// True once in `n` times; never for 0.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        n > 0 && self.random.below(n) == 0
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.random.below(length as u64)).expect("below a length")
    }

    pub(crate) fn jitter(&mut self) -> u32 {
        u32::try_from(self.random.below(1 << 32)).expect("32 bits")
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| u8::try_from(self.random.below(256)).expect("8 bits"))
    }

    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        let at = self.now.unix_ms() % 100_000_000;
        self.log.push(format!("{at:>8} {line}"));
    }
}
