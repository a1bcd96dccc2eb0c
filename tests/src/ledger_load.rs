//! A load for the ledger alone: what a worker process writes, and how its store is read back and compared with what it said it had written.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use truc_ledger::{
    Fold, FoldError, Ledger, LedgerKey, OpenError, Record, Recovered, Replayed, Settings, StoreTag,
    blobs::BlobStore,
    volume::{DirVolume, Volume},
};
use truc_proto::Digest;

const ORIGIN: &str = "truc.dev/ledger-load/1";

/// Opens the load's ledger in `volume` and folds it.
///
/// # Errors
/// As the ledger says.
pub fn open(volume: Arc<dyn Volume>) -> Result<(Ledger, Recovered, Written), OpenError> {
    let tag = StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "load".into(), id: "1".into() };
    let key = LedgerKey::from_seed(ORIGIN, &[7; 32]).expect("the origin is good");
    let mut written = Written::default();
    let (ledger, recovered) = truc_ledger::open(volume, tag, ORIGIN.into(), key, Settings::default(), &mut written)?;
    Ok((ledger, recovered, written))
}

/// One submission of the load: which thread's, which one, how many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Thread, from 0.
    pub thread: u32,
    /// Number within the thread, from 0.
    pub number: u64,
}

impl Item {
    /// Its records: one to three, some with a leaf, some naming a blob.
    #[must_use]
    pub fn records(self) -> Vec<Record> {
        let parts = 1 + self.number % 3;
        let blob = self.blob().map_or_else(|| "-".to_owned(), |bytes| Digest::of(&bytes).to_string());
        let one = |part| {
            let head = format!("{} {} {part} {parts} {blob} ", self.thread, self.number);
            let state = [head.as_bytes(), &self.filling(usize::try_from(self.number * 37 % 900).unwrap_or(0))].concat();
            let leaf = (part != 1).then(|| format!("leaf {} {} {part}", self.thread, self.number).into_bytes());
            Record { state, leaf }
        };
        (0..parts).map(one).collect()
    }

    /// The blob that its records name, in some: above the length from which blobs are files.
    #[must_use]
    pub fn blob(self) -> Option<Vec<u8>> {
        (self.number % 16 == 5).then(|| self.filling(100_000))
    }

    fn filling(self, length: usize) -> Vec<u8> {
        let mut seed = crate::seed::Seed::of(u64::from(self.thread) << 40 | self.number);
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&seed.draw().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// What a worker prints when a submission is on the device: `ack THREAD NUMBER POSITION LEAVES ROOT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which.
    pub item: Item,
    /// Position of its first record.
    pub position: u64,
    /// Leaves of the checkpoint that came with the answer.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

impl std::fmt::Display for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { item: Item { thread, number }, position, size, root } = self;
        write!(f, "ack {thread} {number} {position} {size} {root}")
    }
}

impl Ack {
    /// Reads a line.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("ack ")?.split(' ');
        Some(Self {
            item: Item { thread: words.next()?.parse().ok()?, number: words.next()?.parse().ok()? },
            position: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            root: words.next()?.parse().ok()?,
        })
    }
}

/// The fold of the load's journal: position and number of records of every item, in the order of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// By item: position of the first record, and how many came.
    pub items: BTreeMap<Item, (u64, u64)>,
    /// What should never be: items twice, parts out of order, other bytes than were written.
    pub wrong: Vec<String>,
}

impl Written {
    /// The number that `thread` goes on with.
    #[must_use]
    pub fn next_number(&self, thread: u32) -> u64 {
        let last = self.items.range(Item { thread, number: 0 }..=Item { thread, number: u64::MAX }).next_back();
        last.map_or(0, |(item, _)| item.number + 1)
    }

    /// As entries of a snapshot.
    #[must_use]
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let line = |(item, (position, parts)): (&Item, &(u64, u64))| {
            format!("{} {} {position} {parts}", item.thread, item.number)
        };
        self.items.iter().map(|entry| line(entry).into_bytes()).collect()
    }

    fn take(&mut self, replayed: &Replayed<'_>) -> Option<()> {
        let text = replayed.state.split(|&byte| byte == b' ').take(4);
        let mut words = text.map(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
        let mut next = || words.next().flatten();
        let item = Item { thread: u32::try_from(next()?).ok()?, number: next()? };
        let (part, position) = (next()?, replayed.position.0);
        let record = item.records().into_iter().nth(usize::try_from(part).ok()?)?;
        if record.state != replayed.state || record.leaf.as_deref() != replayed.leaf {
            return None;
        }
        let entry = self.items.entry(item).or_insert((position, 0));
        if entry.1 != part || entry.0 + part != position {
            self.wrong.push(format!("part {part} of {item:?} again or out of order, at position {position}"));
        }
        entry.1 += 1;
        Some(())
    }
}

impl Fold for Written {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        for entry in entries {
            let numbers: Vec<u64> =
                std::str::from_utf8(&entry)?.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let &[thread, number, position, parts] = numbers.as_slice() else {
                return Err("not an entry of the load".into());
            };
            self.items.insert(Item { thread: u32::try_from(thread)?, number }, (position, parts));
        }
        Ok(())
    }

    fn apply(&mut self, replayed: Replayed<'_>) -> Result<(), FoldError> {
        if self.take(&replayed).is_none() {
            self.wrong.push(format!("the record at position {} is not one that the load writes", replayed.position));
        }
        Ok(())
    }
}

/// Opens the store as it stands and compares it with what was acknowledged: every line of the result is something lost, doubled or changed.
///
/// # Errors
/// When the folder cannot be read at all.
pub fn complaints(store: &Path, acks: &[Ack]) -> io::Result<Vec<String>> {
    let volume: Arc<dyn Volume> = Arc::new(DirVolume::create(store)?);
    let (ledger, _, written) = match open(Arc::clone(&volume)) {
        Ok(opened) => opened,
        Err(error) => {
            return Ok(vec![format!("the store does not open: {error}: {:?}", std::error::Error::source(&error))]);
        }
    };
    let blobs = Arc::new(BlobStore::open(volume)?);
    let mut found = written.wrong.clone();
    for (&item, &(position, parts)) in &written.items {
        let records = item.records();
        if parts != records.len() as u64 {
            found.push(format!("of {item:?} only {parts} of {} records are there", records.len()));
        }
        // Its fold may have begun behind a snapshot: the journal itself must hold it too.
        if ledger.read(truc_ledger::Position(position)).ok().as_ref() != records.first() {
            found.push(format!("{item:?} does not read back at position {position}"));
        }
        if let Some(bytes) = item.blob()
            && !holds(&blobs, &bytes)
        {
            found.push(format!("the blob of {item:?} is missing or changed"));
        }
    }
    for ack in acks {
        match written.items.get(&ack.item) {
            None => found.push(format!("acknowledged and lost: {:?}", ack.item)),
            Some((position, _)) if *position != ack.position => {
                found.push(format!("moved: {ack:?} stands at {position}"))
            }
            Some(_) => {}
        }
    }
    // A sample is enough: a proof of consistency between two heads covers all leaves before them.
    for ack in acks.iter().step_by(50).chain(acks.last()) {
        match ledger.root_at(ack.size) {
            Ok(root) if root == ack.root => {}
            other => found
                .push(format!("the checkpoint of size {} that came with an answer does not hold: {other:?}", ack.size)),
        }
    }
    ledger.close();
    Ok(found)
}

fn holds(blobs: &Arc<BlobStore>, bytes: &[u8]) -> bool {
    let Ok(reader) = blobs.read(&Digest::of(bytes)) else { return false };
    let mut found = vec![0; bytes.len()];
    reader.length() == bytes.len() as u64
        && reader.read_at(&mut found, 0).is_ok_and(|count| count == bytes.len())
        && found == bytes
}
