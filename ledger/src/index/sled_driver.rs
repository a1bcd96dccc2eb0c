//! One sled database that holds one generation of the index, with the guards that sled needs: one tree, a hash over the whole set, announced before
//! what it covers is written, a marker while it is not closed in good order.
//!
//! Measured: 0.34.7 as shipped did not open, or lost data, in 21 of 24 simulated power cuts; one in four of those opened and failed later, on a key. Hence the
//! full check whenever the marker is there.
//!
//! Its batches and transactions are never used. The first of either makes every later call of every sled database in the process take one lock; what
//! gets stuck in a batch holds that lock, and then no new generation can be opened in this process either (spacejam/sled#1412). Batches also roll its
//! buffers twice each, and large ones make it forget its cache limit (10 GB at a million records). Single writes lie in its log in the order in which
//! they were made, so that a crash leaves a prefix of them: what the hash may be after each is written down before.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use truc_proto::{Digest, limits::INDEX_KEY_BYTES_MAX};

use super::{IndexChange, IndexSettings, postings::Recent};
use crate::{Position, ReadError, frame::Fields};

/// The only key without a leading 1.
const META: &[u8] = &[0];
const USER: u8 = 1;
const DIRTY: &str = "DIRTY";
/// Changes that are announced together.
const ANNOUNCED: usize = 16;
/// Behind by more than this, changes are sorted in runs before they are applied: twice as fast.
const FAR_BEHIND: u64 = 4_096;
/// Records in a sorted run.
const RUN_RECORDS: u64 = 16_384;
const LIVE_RECORDS: u64 = 16;

/// A folder that another owner in this process lets go is waited for so long.
const HELD_FOR: Duration = Duration::from_secs(5);
const HELD_LOOK: Duration = Duration::from_millis(20);

/// A key and what is to be there; nothing: it is removed.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// Why a generation is thrown away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    #[error("sled failed: {0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked")]
    Panic,
    #[error("sled made no progress")]
    Stalled,
    #[error("it belongs to another journal or schema")]
    Foreign,
    #[error("it has keys but no position")]
    NoMeta,
    #[error("its position is not one of this journal's")]
    Position,
    #[error("its contents are not those of its position")]
    Content,
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] ReadError),
    #[error("its folder cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// What the index says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meta {
    schema: u32,
    journal: [u8; 16],
    position: u64,
    chain: u32,
    /// Wrapping sum of a hash of every entry.
    set: u64,
    /// What records before this position belong to is on the disk; what came since is in memory, too.
    posted: u64,
    /// `set` after each of the changes that are being written. After a crash it is `set` or one of them.
    announced: Vec<u64>,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.position.to_le_bytes(), self.set.to_le_bytes(), self.posted.to_le_bytes()].concat();
        let announced: Vec<u8> = self.announced.iter().flat_map(|set| set.to_le_bytes()).collect();
        [self.schema.to_le_bytes().as_slice(), &self.chain.to_le_bytes(), &self.journal, &numbers, &announced].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (schema, chain, journal) = (fields.u32()?, fields.u32()?, fields.take()?);
        let (position, set) = (fields.u64()?, fields.u64()?);
        // Written before there were lists: nothing is on any.
        let posted = fields.u64().unwrap_or(position);
        let announced = std::iter::from_fn(|| fields.u64()).collect();
        Some(Self { schema, journal, position, chain, set, posted, announced })
    }
}

/// What look-ups use.
#[derive(Clone)]
pub(super) struct View {
    pub(super) db: sled::Db,
    pub(super) recent: Arc<RwLock<Recent>>,
}

/// One generation, open.
pub(super) struct Generation {
    pub(super) view: View,
    folder: PathBuf,
    meta: Meta,
    dirty: bool,
}

pub(super) fn generation_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("gen-{number:06}"))
}

/// The generations on disk, newest last.
pub(super) fn generations(folder: &Path) -> io::Result<Vec<u64>> {
    fs::create_dir_all(folder)?;
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.to_str()?.strip_prefix("gen-")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Generation {
    /// Opens a generation and checks it against the journal; all of it when it was not closed in good order. `alive` is called as it goes on.
    pub(super) fn open(settings: &IndexSettings, number: u64, alive: &dyn Fn()) -> Result<Self, Bad> {
        let folder = generation_folder(&settings.folder, number);
        let dirty = folder.join(DIRTY).exists();
        let db = open_db(&folder, settings.cache_bytes, alive)?;
        let fresh = Meta {
            schema: settings.schema,
            journal: settings.ledger.journal_id(),
            position: 0,
            chain: 0,
            set: 0,
            posted: 0,
            announced: Vec::new(),
        };
        let checked = check(&db, settings, fresh, dirty, alive).and_then(|meta| {
            let recent = recent(settings, &meta, alive)?;
            Ok((meta, recent))
        });
        match checked {
            Ok((meta, recent)) => {
                Ok(Self { view: View { db, recent: Arc::new(RwLock::new(recent)) }, folder, meta, dirty })
            }
            Err(bad) => {
                std::mem::forget(db); // dropping a damaged database may flush, or block
                Err(bad)
            }
        }
    }

    pub(super) fn applied(&self) -> Position {
        Position(self.meta.position)
    }

    /// Applies the next records, up to a run. True while there are more. `alive` is called as it goes on.
    pub(super) fn advance(&mut self, settings: &IndexSettings, alive: &dyn Fn()) -> Result<bool, Bad> {
        let head = settings.ledger.head().position.0;
        let behind = head.saturating_sub(self.meta.position);
        if behind == 0 {
            return Ok(false);
        }
        self.mark_dirty()?;
        let limit = if behind > FAR_BEHIND { RUN_RECORDS } else { LIVE_RECORDS };
        // The net of a run, in key order.
        let mut net: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut posts = Vec::new();
        let extract = &settings.extract;
        let end = settings.ledger.read_on(self.applied(), limit, |position, _, record| {
            alive();
            for change in extract(position, &record) {
                let (key, to) = match change {
                    IndexChange::Put { key, position } => (key, Some(position.0)),
                    IndexChange::Remove { key } => (key, None),
                    IndexChange::Post { list } => {
                        posts.push((list, position.0));
                        continue;
                    }
                };
                if key.len() <= INDEX_KEY_BYTES_MAX {
                    net.insert([&[USER], key.as_slice()].concat(), to.map(|to| to.to_le_bytes().to_vec()));
                } else {
                    tracing::error!(%position, bytes = key.len(), "index key too long, left out");
                }
            }
        })?;
        let chain = settings.ledger.chain_at(end)?;
        self.apply(&net.into_iter().collect::<Vec<_>>(), alive)?;
        self.settle(|meta| (meta.position, meta.chain) = (end.0, chain))?;
        {
            let mut recent = self.view.recent.write().unwrap_or_else(PoisonError::into_inner);
            posts.into_iter().for_each(|(list, position)| recent.add(list, position));
        }
        if self.recent_is_full() {
            self.post(alive)?;
        }
        Ok(end.0 < head)
    }

    fn recent_is_full(&self) -> bool {
        let recent = self.view.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.is_full(self.meta.position.saturating_sub(self.meta.posted))
    }

    /// Brings the newest parts of the lists to the disk. They leave memory after that, so that nobody misses them.
    fn post(&mut self, alive: &dyn Fn()) -> Result<(), Bad> {
        let blocks = self.view.recent.read().unwrap_or_else(PoisonError::into_inner).blocks();
        let changes: Vec<Change> = blocks.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.apply(&changes, alive)?;
        self.settle(|meta| meta.posted = meta.position)?;
        self.view.recent.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// As far as a crash let it come.
    #[cfg(test)]
    pub(super) fn post_some(&mut self, changes: usize) -> Result<(), Bad> {
        let blocks = self.view.recent.read().unwrap_or_else(PoisonError::into_inner).blocks();
        let blocks: Vec<Change> = blocks.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.apply_until(&blocks, changes, &|| ())
    }

    fn apply(&mut self, changes: &[Change], alive: &dyn Fn()) -> Result<(), Bad> {
        self.apply_until(changes, usize::MAX, alive)
    }

    /// Writes changes, each key at most once among them, at most `end` of them: announced in groups, then one by one. The position follows
    /// when all are there ([`Generation::settle`]), so that it is never ahead of what it covers; after a crash in between, the same changes come
    /// again and end in the same.
    fn apply_until(&mut self, changes: &[Change], end: usize, alive: &dyn Fn()) -> Result<(), Bad> {
        let mut left = end;
        for group in changes.chunks(ANNOUNCED) {
            alive();
            let mut set = self.meta.set;
            let mut announced = Vec::with_capacity(group.len());
            for (key, value) in group {
                if let Some(old) = self.view.db.get(key)? {
                    set = set.wrapping_sub(entry_hash(key, &old));
                }
                if let Some(value) = value {
                    set = set.wrapping_add(entry_hash(key, value));
                }
                announced.push(set);
            }
            self.settle(|meta| meta.announced = announced)?;
            for (key, value) in group {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                match value {
                    Some(value) => _ = self.view.db.insert(key.as_slice(), value.as_slice())?,
                    None => _ = self.view.db.remove(key.as_slice())?,
                }
            }
            self.meta.set = set;
            self.meta.announced.clear();
        }
        Ok(())
    }

    /// Writes what the index says of itself, changed so.
    fn settle(&mut self, change: impl FnOnce(&mut Meta)) -> Result<(), Bad> {
        change(&mut self.meta);
        self.view.db.insert(META, self.meta.encode())?;
        Ok(())
    }

    /// From the first change on, until closed in good order, the next start checks everything.
    fn mark_dirty(&mut self) -> Result<(), Bad> {
        if !self.dirty {
            File::create(self.folder.join(DIRTY))?.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            self.dirty = true;
        }
        Ok(())
    }

    /// Flushes, syncs the files ourselves (sled's flush does not), and takes the marker away.
    pub(super) fn close(mut self, alive: &dyn Fn()) -> Result<(), Bad> {
        if self.dirty {
            self.post(alive)?;
        }
        let Self { view, folder, .. } = self;
        view.db.flush()?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_file() {
                File::open(path)?.sync_all()?;
            }
        }
        File::open(&folder)?.sync_all()?;
        drop(view);
        match fs::remove_file(folder.join(DIRTY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The database's lock lives as long as a write that its threads still do: a folder that was closed just now may be held for a moment.
fn open_db(folder: &Path, cache_bytes: u64, alive: &dyn Fn()) -> Result<sled::Db, sled::Error> {
    let end = Instant::now() + HELD_FOR;
    loop {
        match sled::Config::new().path(folder).cache_capacity(cache_bytes).open() {
            Err(sled::Error::Io(_)) if Instant::now() < end => {
                thread::sleep(HELD_LOOK);
                alive();
            }
            opened => return opened,
        }
    }
}

fn check(db: &sled::Db, settings: &IndexSettings, fresh: Meta, dirty: bool, alive: &dyn Fn()) -> Result<Meta, Bad> {
    let mut meta = match db.get(META)? {
        Some(bytes) => Meta::decode(&bytes).ok_or(Bad::NoMeta)?,
        None if db.is_empty() => return Ok(fresh),
        None => return Err(Bad::NoMeta),
    };
    if (meta.schema, meta.journal) != (fresh.schema, fresh.journal) {
        return Err(Bad::Foreign);
    }
    let end = settings.ledger.head().position;
    if meta.position > end.0 {
        // Applied only after the sync: an index ahead of its journal means that the journal lost records.
        tracing::error!(index = meta.position, journal = %end, "the index knows records that the journal does not have: was the store put back from an old copy?");
        return Err(Bad::Position);
    }
    if settings.ledger.chain_at(Position(meta.position))? != meta.chain {
        return Err(Bad::Position);
    }
    if dirty {
        let mut set: u64 = 0;
        for (index, entry) in db.iter().enumerate() {
            let (key, value) = entry?;
            if &*key != META {
                set = set.wrapping_add(entry_hash(&key, &value));
            }
            if index % 4096 == 0 {
                alive();
            }
        }
        if set != meta.set && !meta.announced.contains(&set) {
            return Err(Bad::Content);
        }
        meta.set = set;
    }
    meta.announced.clear();
    Ok(meta)
}

/// The newest parts of the lists, from the journal.
fn recent(settings: &IndexSettings, meta: &Meta, alive: &dyn Fn()) -> Result<Recent, Bad> {
    let (mut recent, mut at) = (Recent::default(), Position(meta.posted));
    while at.0 < meta.position {
        let limit = RUN_RECORDS.min(meta.position - at.0);
        at = settings.ledger.read_on(at, limit, |position, _, record| {
            for change in (settings.extract)(position, &record) {
                if let IndexChange::Post { list } = change {
                    recent.add(list, position.0);
                }
            }
        })?;
        alive();
    }
    Ok(recent)
}

fn entry_hash(key: &[u8], value: &[u8]) -> u64 {
    let Digest([a, b, c, d, e, f, g, h, ..]) = Digest::of_parts(&[&(key.len() as u64).to_le_bytes(), key, value]);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(super) fn find(db: &sled::Db, key: &[u8]) -> Result<Option<Position>, Bad> {
    db.get([&[USER], key].concat())?.map(|value| position(&value)).transpose()
}

pub(super) fn scan(
    db: &sled::Db,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Position)>, Bad> {
    let prefix = [&[USER], prefix].concat();
    // The first key behind `after` is `after` with a zero byte.
    let from = after.map_or_else(|| prefix.clone(), |after| [&[USER], after, &[0]].concat()).max(prefix.clone());
    let mut hits = Vec::new();
    for entry in db.range(from..).take(limit) {
        let (key, value) = entry?;
        if !key.starts_with(&prefix) {
            break;
        }
        hits.push((key.get(1..).unwrap_or_default().to_vec(), position(&value)?));
    }
    Ok(hits)
}

fn position(value: &[u8]) -> Result<Position, Bad> {
    value.try_into().map(|bytes| Position(u64::from_le_bytes(bytes))).map_err(|_| Bad::Content)
}
