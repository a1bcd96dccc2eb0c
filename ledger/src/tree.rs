//! The tree's inner hashes on disk: one flat file per level, 32 bytes an entry. Derived from the journal, never synced on the answer's path and
//! never believed: every proof is checked against a root that comes from the journal before it leaves, and a wrong one makes the tree anew.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use truc_proto::Digest;

use crate::{
    merkle::{Frontier, Nodes},
    volume::{Open, Volume, VolumeFile, read_exact_at},
};

const TREE_DIR: &str = "tree";
const HASH: usize = 32;
/// Hashes of each level that stay in memory: proofs of fresh leaves then touch no file.
const RECENT: usize = 4_096;

/// The stored hashes. Appended by one owner, read by any thread.
pub(crate) struct TreeFiles {
    volume: Arc<dyn Volume>,
    levels: RwLock<Vec<Arc<Level>>>,
    /// A write failed (a full disk, say): what is on file has gaps.
    gaps: Mutex<bool>,
}

struct Level {
    file: Arc<dyn VolumeFile>,
    recent: RwLock<Recent>,
}

#[derive(Default)]
struct Recent {
    first: u64,
    hashes: VecDeque<Digest>,
}

/// New hashes of each level, collected for one write per level.
#[derive(Default)]
pub(crate) struct Growth(Vec<(u64, Vec<u8>)>);

impl Growth {
    /// Appends a leaf to `frontier` and keeps what closes.
    pub(crate) fn push(&mut self, frontier: &mut Frontier, leaf: Digest) {
        let index = frontier.size();
        frontier.push(leaf, |level, hash| {
            let slot = level as usize;
            self.0.resize_with(self.0.len().max(slot + 1), Default::default);
            if let Some((first, bytes)) = self.0.get_mut(slot) {
                if bytes.is_empty() {
                    *first = index >> level;
                }
                bytes.extend_from_slice(hash.as_bytes());
            }
        });
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(|(_, bytes)| bytes.clear());
    }
}

impl TreeFiles {
    pub(crate) fn open(volume: Arc<dyn Volume>) -> io::Result<Self> {
        volume.create_dir(TREE_DIR)?;
        Ok(Self { volume, levels: RwLock::default(), gaps: Mutex::new(false) })
    }

    /// Stores what closed and forgets it. Never fails: what cannot be written is made again when a proof needs it.
    pub(crate) fn write(&self, growth: &mut Growth) {
        self.store(growth, true);
    }

    /// As [`TreeFiles::write`], for hashes of old leaves: those in memory stay what they are.
    pub(crate) fn write_past(&self, growth: &mut Growth) {
        self.store(growth, false);
    }

    fn store(&self, growth: &mut Growth, fresh: bool) {
        for (level, (first, bytes)) in growth.0.iter().enumerate().filter(|(_, (_, bytes))| !bytes.is_empty()) {
            let written = self.level(level).and_then(|slot| {
                if fresh {
                    slot.remember(*first, bytes);
                }
                slot.file.write_at(bytes, first * HASH as u64)
            });
            if let Err(error) = written {
                tracing::warn!(level, %error, "tree file not written, will be made again from the journal");
                *self.gaps.lock().unwrap_or_else(PoisonError::into_inner) = true;
            }
        }
        growth.clear();
    }

    /// Makes what is written survive a power cut; with gaps it fails, since then it is not worth keeping.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if *self.gaps.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(io::Error::other("the tree files have gaps"));
        }
        let levels = self.levels.read().unwrap_or_else(PoisonError::into_inner).clone();
        levels.iter().try_for_each(|level| level.file.sync_data())?;
        self.volume.sync_dir(TREE_DIR)
    }

    /// Says that all hashes were written again.
    pub(crate) fn mended(&self) {
        *self.gaps.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Forgets what is held in memory, so that the files alone answer.
    pub(crate) fn forget_recent(&self) {
        for level in self.levels.read().unwrap_or_else(PoisonError::into_inner).iter() {
            *level.recent.write().unwrap_or_else(PoisonError::into_inner) = Recent::default();
        }
    }

    /// The frontier of the first `size` leaves, as the files have it.
    pub(crate) fn frontier(&self, size: u64) -> io::Result<Frontier> {
        let (mut roots, mut start) = (Vec::new(), 0);
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(self.node(level, start >> level)?);
            start += 1 << level;
        }
        Ok(Frontier::from_roots(size, roots).expect("one root per bit of the size"))
    }

    fn level(&self, level: usize) -> io::Result<Arc<Level>> {
        if let Some(slot) = self.levels.read().unwrap_or_else(PoisonError::into_inner).get(level) {
            return Ok(Arc::clone(slot));
        }
        let mut levels = self.levels.write().unwrap_or_else(PoisonError::into_inner);
        while levels.len() <= level {
            let file = self.volume.open(&format!("{TREE_DIR}/{:02}", levels.len()), Open::Create)?;
            levels.push(Arc::new(Level { file, recent: RwLock::default() }));
        }
        levels.get(level).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Level {
    fn remember(&self, first: u64, bytes: &[u8]) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        if recent.first + recent.hashes.len() as u64 != first {
            *recent = Recent { first, hashes: VecDeque::new() };
        }
        recent.hashes.extend(bytes.chunks_exact(HASH).filter_map(|hash| Digest::from_slice(hash).ok()));
        let extra = recent.hashes.len().saturating_sub(RECENT);
        recent.hashes.drain(..extra);
        recent.first += extra as u64;
    }

    fn recent(&self, index: u64) -> Option<Digest> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(index.checked_sub(recent.first)?).ok()?;
        recent.hashes.get(at).copied()
    }
}

impl Nodes for TreeFiles {
    type Error = io::Error;
    fn node(&self, level: u32, index: u64) -> io::Result<Digest> {
        let level = self.level(level as usize)?;
        if let Some(hash) = level.recent(index) {
            return Ok(hash);
        }
        let mut hash = [0; HASH];
        read_exact_at(level.file.as_ref(), &mut hash, index * HASH as u64)?;
        Ok(Digest(hash))
    }
}
