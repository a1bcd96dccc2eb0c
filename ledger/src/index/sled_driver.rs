//! One sled database that holds one generation of the index, with the guards that sled needs: one tree, the applied position in the same batch as
//! what it covers, small batches, a hash over the whole set, a marker while it is not closed in good order.
//!
//! Measured: 0.34.7 as shipped did not open, or lost data, in 21 of 24 simulated power cuts; one in four of those opened and failed later, on a key. Hence the
//! full check whenever the marker is there. Batches above a few records make it forget its cache limit (10 GB at a million records).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use truc_proto::{Digest, limits::INDEX_KEY_BYTES_MAX};

use super::{IndexChange, IndexSettings, postings::Recent};
use crate::{Position, ReadError, frame::Fields};

/// The only key without a leading 1.
const META: &[u8] = &[0];
const USER: u8 = 1;
const DIRTY: &str = "DIRTY";
/// Changes in one sled batch.
const SUB_BATCH: usize = 16;
/// Behind by more than this, changes are sorted in runs before they are applied: twice as fast.
const FAR_BEHIND: u64 = 4_096;
/// Records in a sorted run.
const RUN_RECORDS: u64 = 16_384;
const LIVE_RECORDS: u64 = 16;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta {
    schema: u32,
    journal: [u8; 16],
    position: u64,
    chain: u32,
    /// Wrapping sum of a hash of every entry.
    set: u64,
    /// What records before this position belong to is on the disk; what came since is in memory, too.
    posted: u64,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.position.to_le_bytes(), self.set.to_le_bytes(), self.posted.to_le_bytes()].concat();
        [self.schema.to_le_bytes().as_slice(), &self.chain.to_le_bytes(), &self.journal, &numbers].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (schema, chain, journal) = (fields.u32()?, fields.u32()?, fields.take()?);
        let (position, set) = (fields.u64()?, fields.u64()?);
        // Written before there were lists: nothing is on any.
        let posted = fields.u64().unwrap_or(position);
        Some(Self { schema, journal, position, chain, set, posted })
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
        let db = sled::Config::new().path(&folder).cache_capacity(settings.cache_bytes).open()?;
        let fresh = Meta {
            schema: settings.schema,
            journal: settings.ledger.journal_id(),
            position: 0,
            chain: 0,
            set: 0,
            posted: 0,
        };
        let checked =
            check(&db, settings, fresh, dirty, alive).and_then(|meta| Ok((meta, recent(settings, meta, alive)?)));
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

    /// Applies the next records, up to a run. True while there are more.
    pub(super) fn advance(&mut self, settings: &IndexSettings) -> Result<bool, Bad> {
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
        let done = Meta { position: end.0, chain: settings.ledger.chain_at(end)?, ..self.meta };
        self.apply(net.into_iter().collect(), done)?;
        {
            let mut recent = self.view.recent.write().unwrap_or_else(PoisonError::into_inner);
            posts.into_iter().for_each(|(list, position)| recent.add(list, position));
        }
        if self.recent_is_full() {
            self.post()?;
        }
        Ok(end.0 < head)
    }

    fn recent_is_full(&self) -> bool {
        let recent = self.view.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.is_full(self.meta.position.saturating_sub(self.meta.posted))
    }

    /// Brings the newest parts of the lists to the disk. They leave memory after that, so that nobody misses them.
    fn post(&mut self) -> Result<(), Bad> {
        let blocks = self.view.recent.read().unwrap_or_else(PoisonError::into_inner).blocks();
        let changes = blocks.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.apply(changes, Meta { posted: self.meta.position, ..self.meta })?;
        self.view.recent.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// As far as a crash let it come.
    #[cfg(test)]
    pub(super) fn post_some(&mut self, batches: usize) -> Result<(), Bad> {
        let blocks = self.view.recent.read().unwrap_or_else(PoisonError::into_inner).blocks();
        let some = blocks.into_iter().take(batches * SUB_BATCH).map(|(key, value)| (key, Some(value))).collect();
        self.apply(some, self.meta)
    }

    /// Sub-batches. Each carries the hash over what is there after it, the last one alone the position, so that it is never ahead of what it covers;
    /// after a crash in between, the same changes come again and end in the same.
    fn apply(&mut self, changes: Vec<Change>, done: Meta) -> Result<(), Bad> {
        let mut parts: Vec<&[Change]> = changes.chunks(SUB_BATCH).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let mut batch = sled::Batch::default();
            let mut set = self.meta.set;
            for (key, value) in part {
                if let Some(old) = self.view.db.get(key)? {
                    set = set.wrapping_sub(entry_hash(key, &old));
                }
                match value {
                    Some(value) => {
                        set = set.wrapping_add(entry_hash(key, value));
                        batch.insert(key.as_slice(), value.as_slice());
                    }
                    None => batch.remove(key.as_slice()),
                }
            }
            let meta = Meta { set, ..if index == last { done } else { self.meta } };
            batch.insert(META, meta.encode());
            self.view.db.apply_batch(batch)?;
            self.meta = meta;
        }
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
    pub(super) fn close(mut self) -> Result<(), Bad> {
        if self.dirty {
            self.post()?;
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

fn check(db: &sled::Db, settings: &IndexSettings, fresh: Meta, dirty: bool, alive: &dyn Fn()) -> Result<Meta, Bad> {
    let meta = match db.get(META)? {
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
        if set != meta.set {
            return Err(Bad::Content);
        }
    }
    Ok(meta)
}

/// The newest parts of the lists, from the journal.
fn recent(settings: &IndexSettings, meta: Meta, alive: &dyn Fn()) -> Result<Recent, Bad> {
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
