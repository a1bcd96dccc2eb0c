//! What the world outside has been told, and what must therefore stay true. Knows nothing of how it comes about.

use std::collections::{BTreeMap, BTreeSet};

use truc_ledger::Record;
use truc_node::core::Key;
use truc_proto::{AgencyId, Digest, Event, EventUri, Raw};

/// What one machine has written and let go.
#[derive(Default)]
pub(crate) struct Diary {
    /// Its journal, as a digest per record, and, where a leaf is a hand-over, of what.
    written: Vec<Digest>,
    handed_over: BTreeMap<(Key, AgencyId), Vec<u64>>,
    /// Everything before this position was on the device when something left: it must be there after any cut (I1).
    promised: u64,
    /// Checkpoints that were seen outside: size and root (I5).
    seen: BTreeMap<u64, Digest>,
    /// Which of them was looked at last.
    turn: u64,
}

/// See the module. The first violation is kept.
pub(crate) struct Book {
    violation: Option<String>,
    diaries: Vec<Diary>,
    /// The one RelayAcceptance of the relay per envelope: leaf hash (I4).
    accepted: BTreeMap<Key, Digest>,
    /// What document systems were answered to their keys of idempotency.
    answers: BTreeMap<(AgencyId, String), Key>,
    /// Hand-overs that document systems were told of, by machine (I3).
    confirmed: BTreeSet<(usize, Key, AgencyId)>,
    /// What document systems were shown, by machine.
    shown: BTreeSet<(usize, Key, AgencyId)>,
    /// Documents that their senders were told never left for a recipient.
    withdrawn: BTreeSet<(Key, AgencyId)>,
    pub(crate) counts: Counts,
}

/// How much happened: a world in which nothing does proves nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) cuts: u64,
    pub(crate) starts: u64,
    pub(crate) torn: u64,
    pub(crate) from_snapshot: u64,
    pub(crate) forged: u64,
    pub(crate) checkpoints: u64,
    pub(crate) full: u64,
    /// Codes that asked for keys when their time was over.
    pub(crate) too_late: u64,
    /// Recipients that a document was withdrawn from before it left.
    pub(crate) withdrawn: u64,
}

impl Book {
    pub(crate) fn new(machines: usize) -> Self {
        Self {
            violation: None,
            diaries: (0..machines).map(|_| Diary::default()).collect(),
            accepted: BTreeMap::new(),
            answers: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            shown: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Records went to the journal of a machine.
    pub(crate) fn wrote(&mut self, machine: usize, records: &[Record]) {
        for record in records {
            let position = self.diaries[machine].written.len() as u64;
            self.diaries[machine].written.push(digest_of(record));
            if let Some((key, code)) = hand_over_of(record) {
                let places = self.diaries[machine].handed_over.entry((key.clone(), code.clone())).or_default();
                places.push(position);
                if places.len() > 1 {
                    let places = format!("{places:?}");
                    self.violated(format!(
                        "I3: machine {machine} recorded the hand-over of {key} to {code} more than once, at {places}"
                    ));
                }
            }
        }
    }

    /// Something left that rests on everything before `position`.
    pub(crate) fn promised(&mut self, machine: usize, position: u64) {
        let diary = &mut self.diaries[machine];
        diary.promised = diary.promised.max(position);
    }

    /// Everything before this position must be on the device of a machine that is on.
    pub(crate) fn promised_of(&self, machine: usize) -> u64 {
        self.diaries[machine].promised
    }

    /// The checkpoints seen of a machine, one after the other for ever.
    pub(crate) fn checkpoint_in_turn(&mut self, machine: usize) -> Option<(u64, Digest)> {
        let diary = &mut self.diaries[machine];
        let next = diary.seen.range(diary.turn + 1..).next().or_else(|| diary.seen.first_key_value());
        let (size, root) = next.map(|(size, root)| (*size, *root))?;
        diary.turn = size;
        Some((size, root))
    }

    /// A machine came back with this journal.
    pub(crate) fn recovered(&mut self, machine: usize, records: &[Record]) {
        let found: Vec<Digest> = records.iter().map(digest_of).collect();
        let diary = &mut self.diaries[machine];
        let promised = usize::try_from(diary.promised).expect("a small journal");
        let problem = if found.len() < promised {
            Some(format!(
                "I1: machine {machine} came back with {} records, but {promised} were vouched for by what left it",
                found.len()
            ))
        } else {
            let changed = found.iter().zip(&diary.written).take(promised).position(|(a, b)| a != b);
            changed
                .map(|at| format!("I1: record {at} of machine {machine} changed after something left that rests on it"))
        };
        // What came back is on the device, whether it had been answered or not.
        diary.promised = found.len() as u64;
        diary.written.clear();
        diary.handed_over.clear();
        if let Some(problem) = problem {
            self.violated(problem);
        }
        self.wrote(machine, records);
    }

    /// The checkpoints of a machine that were seen outside.
    pub(crate) fn checkpoints_of(&self, machine: usize) -> Vec<(u64, Digest)> {
        self.diaries[machine].seen.iter().map(|(size, root)| (*size, *root)).collect()
    }

    /// A checkpoint of a machine came to somebody else's eyes.
    pub(crate) fn saw_checkpoint(&mut self, machine: usize, size: u64, root: Digest) {
        self.counts.checkpoints += 1;
        let held = *self.diaries[machine].seen.entry(size).or_insert(root);
        if held != root {
            self.violated(format!("I5: machine {machine} signed two trees of {size} leaves"));
        }
    }

    /// The relay's acceptance of an envelope left it.
    pub(crate) fn relay_accepted(&mut self, key: &Key, leaf: Digest) {
        let held = *self.accepted.entry(key.clone()).or_insert(leaf);
        if held != leaf {
            self.violated(format!("I4: the relay accepted {key} a second time, by another leaf"));
        }
    }

    pub(crate) fn accepted_by_relay(&self) -> impl Iterator<Item = &Key> {
        self.accepted.keys()
    }

    /// A document system was told which envelope its request became.
    pub(crate) fn answered(&mut self, sender: &AgencyId, idempotency: &str, key: &Key) {
        let held = self.answers.entry((sender.clone(), idempotency.to_owned())).or_insert_with(|| key.clone()).clone();
        if held != *key {
            self.violated(format!("I1: request {idempotency} of {sender} became {held} and, asked again, {key}"));
        }
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = (&AgencyId, &Key)> {
        self.answers.iter().map(|((sender, _), key)| (sender, key))
    }

    /// A sender was told that a document never left for a recipient.
    pub(crate) fn was_withdrawn(&mut self, key: Key, code: AgencyId) {
        self.counts.withdrawn += 1;
        if self.shown.iter().any(|(_, shown, to)| *shown == key && *to == code) {
            self.violated(format!("{key} was shown to {code}, and its sender was told that it never left"));
        }
        self.withdrawn.insert((key, code));
    }

    pub(crate) fn was_shown(&mut self, machine: usize, key: Key, code: AgencyId) {
        if self.withdrawn.contains(&(key.clone(), code.clone())) {
            self.violated(format!("{key} was withdrawn from {code} before it left, and is shown there"));
        }
        self.shown.insert((machine, key, code));
    }

    pub(crate) fn shown_at(&self, machine: usize) -> impl Iterator<Item = (&Key, &AgencyId)> {
        self.shown.iter().filter(move |(at, ..)| *at == machine).map(|(_, key, code)| (key, code))
    }

    pub(crate) fn was_confirmed(&mut self, machine: usize, key: Key, code: AgencyId) {
        if !self.shown.contains(&(machine, key.clone(), code.clone())) {
            self.violated(format!("I3: {key} was recorded as handed over to {code} without having been shown"));
        }
        self.confirmed.insert((machine, key, code));
    }

    pub(crate) fn confirmed_at(&self, machine: usize) -> impl Iterator<Item = (&Key, &AgencyId)> {
        self.confirmed.iter().filter(move |(at, ..)| *at == machine).map(|(_, key, code)| (key, code))
    }

    /// How often the journal of a machine has it as handed over.
    pub(crate) fn hand_overs(&self, machine: usize, key: &Key, code: &AgencyId) -> usize {
        self.diaries[machine].handed_over.get(&(key.clone(), code.clone())).map_or(0, Vec::len)
    }
}

fn digest_of(record: &Record) -> Digest {
    let leaf = record.leaf.as_deref();
    Digest::of_parts(&[&record.state, &[u8::from(leaf.is_some())], leaf.unwrap_or_default()])
}

fn hand_over_of(record: &Record) -> Option<(Key, AgencyId)> {
    let leaf = record.leaf.as_ref()?;
    // Most leaves are something else: look before parsing.
    let name = b"Event/ContentHandover\"";
    leaf.windows(name.len()).any(|part| part == name).then_some(())?;
    let event = Raw::<Event>::parse(leaf.clone()).ok()?;
    let of_recipient = event.event == EventUri::ContentHandover;
    of_recipient
        .then(|| Some((Key { sender: event.sender.clone(), envelope: event.envelope? }, event.actor.code.clone()?)))?
}
