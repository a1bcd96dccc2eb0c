//! The ledger as a whole, mostly on the simulated disk.

mod crash;
mod cuts;
mod damage;
mod life;

use std::sync::{Arc, Mutex};

use crate::{simdisk::SimDisk, volume::Volume, *};

pub(crate) const ORIGIN: &str = "truc.dev/test/L1";

pub(crate) fn tag() -> StoreTag {
    StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "relay".into(), id: "R1".into() }
}

pub(crate) fn key() -> LedgerKey {
    LedgerKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

/// The simplest fold: all records, in order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct All {
    pub(crate) records: Vec<Record>,
    pub(crate) leaves: u64,
    pub(crate) applied: u64,
}

impl Fold for All {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        for entry in entries {
            let (&kind, rest) = entry.split_first().ok_or("empty entry")?;
            if kind == 1 {
                let (length, rest) = rest.split_first_chunk::<4>().ok_or("short entry")?;
                let (state, leaf) = rest.split_at(u32::from_le_bytes(*length) as usize);
                self.records.push(Record::with_leaf(state.to_vec(), leaf.to_vec()));
                self.leaves += 1;
            } else {
                self.records.push(Record::state(rest.to_vec()));
            }
        }
        Ok(())
    }

    fn apply(&mut self, r: Replayed<'_>) -> Result<(), FoldError> {
        assert_eq!(r.position.0, self.records.len() as u64);
        assert_eq!(r.leaf_index, r.leaf.map(|_| self.leaves));
        self.leaves += u64::from(r.leaf.is_some());
        self.applied += 1;
        self.records.push(Record { state: r.state.to_vec(), leaf: r.leaf.map(<[u8]>::to_vec) });
        Ok(())
    }
}

impl All {
    /// The records before `position` as snapshot entries.
    pub(crate) fn entries(records: &[Record]) -> impl Iterator<Item = Vec<u8>> + '_ {
        records.iter().map(|record| match &record.leaf {
            Some(leaf) => {
                [&[1], u32::try_from(record.state.len()).unwrap().to_le_bytes().as_slice(), &record.state, leaf]
                    .concat()
            }
            None => [&[0], record.state.as_slice()].concat(),
        })
    }

    pub(crate) fn tree(&self) -> merkle::MemTree {
        merkle::MemTree::of(self.records.iter().filter_map(|record| record.leaf.as_ref()))
    }
}

pub(crate) type Opened = (Ledger, Driver, Recovered, All);

pub(crate) fn settings() -> Settings {
    Settings { journal_id: Some([5; 16]), on_fatal: Arc::new(|_| {}) }
}

pub(crate) fn try_open(disk: &SimDisk) -> Result<Opened, OpenError> {
    let mut all = All::default();
    let (ledger, driver, recovered) =
        open_stepped(Arc::new(disk.clone()), tag(), ORIGIN.into(), key(), settings(), &mut all)?;
    Ok((ledger, driver, recovered, all))
}

#[track_caller]
pub(crate) fn opened(disk: &SimDisk) -> Opened {
    try_open(disk).unwrap_or_else(|error| panic!("does not open: {error}"))
}

/// What was acknowledged, in order.
pub(crate) type Acks = Arc<Mutex<Vec<(u64, Committed)>>>;

/// Submits records whose acknowledgement writes `last` (the position after them) into `acks`.
pub(crate) fn submit(ledger: &Ledger, records: Vec<Record>, last: u64, acks: &Acks) {
    let acks = Arc::clone(acks);
    ledger.submit(records, Box::new(move |committed| acks.lock().unwrap().push((last, committed.clone())))).unwrap();
}

pub(crate) fn record(number: u64) -> Record {
    let body = vec![u8::try_from(number % 251).unwrap(); usize::try_from(number * 37 % 700).unwrap()];
    let state = [number.to_le_bytes().as_slice(), &body].concat();
    if number.is_multiple_of(3) {
        Record::state(state)
    } else {
        Record::with_leaf(state, format!("leaf {number}").into_bytes())
    }
}

/// A ledger with records `0 .. count`, one batch each, closed or not.
pub(crate) fn filled(disk: &SimDisk, count: u64) -> Opened {
    let (ledger, mut driver, recovered, mut all) = opened(disk);
    let acks = Acks::default();
    for number in recovered.next_position.0..count {
        submit(&ledger, vec![record(number)], number + 1, &acks);
        assert!(driver.step());
        all.records.push(record(number));
    }
    (ledger, driver, recovered, all)
}

pub(crate) fn volume(disk: &SimDisk) -> Arc<dyn Volume> {
    Arc::new(disk.clone())
}
