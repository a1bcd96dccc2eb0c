//! A disk held in memory that can be cut, filled and broken, for the simulator and for tests. It loses what a real one may lose and nothing else:
//! sectors written and not synced, lengths not synced, names whose folder was not synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::volume::{Lock, LockError, Open, Space, Volume, VolumeFile};

const SECTOR_LENGTH: usize = 512;
const SECTOR: u64 = SECTOR_LENGTH as u64;

/// The disk. Clones are the same disk, as a process sees it after the last crash.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Grows at every crash: handles from before are dead.
    life: u64,
    locked: bool,
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
    /// Changes of names that their folder's sync has not covered: what to put back, newest last.
    unsynced_names: Vec<(String, NameChange)>,
    capacity: u64,
    syncs: u64,
    fail_sync_at: Option<u64>,
    /// The file that cannot be synced any more.
    failing: Option<u64>,
}

#[derive(Clone)]
enum NameChange {
    /// The name stood for this file before (or for none).
    Was { name: String, file: Option<u64> },
    /// Renamed: both names change back together.
    Moved { from: String, to: String, file: u64, over: Option<u64> },
}

#[derive(Clone, Default)]
struct FileState {
    bytes: Vec<u8>,
    /// Old contents of sectors written since the last sync.
    undo: BTreeMap<u64, Vec<u8>>,
    /// What the device holds of sectors whose sync failed: they count as clean, later syncs pass over them, and readers see what was
    /// written until the power goes (as Linux does it). Writing one again makes it dirty again.
    lost: BTreeMap<u64, Vec<u8>>,
    durable_length: u64,
}

/// Small deterministic random numbers (SplitMix64), so that a seed is a whole story.
#[derive(Debug, Clone)]
pub struct SimRandom(u64);

impl SimRandom {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is above 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new(u64::MAX / 4)
    }
}

impl SimDisk {
    /// An empty disk with room for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let state = State {
            life: 0,
            locked: false,
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            unsynced_names: Vec::new(),
            capacity,
            syncs: 0,
            fail_sync_at: None,
            failing: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power cut: every sector, length and name that was not synced survives or not, as the seed says. Open handles and the lock are dead.
    pub fn crash(&self, seed: u64) {
        let mut random = SimRandom::new(seed);
        let mut state = self.state();
        state.life += 1;
        state.locked = false;
        // Nothing survives, everything does, or each by itself.
        let mood = random.below(4);
        let mut keeps = move || match mood {
            0 => false,
            1 => true,
            _ => random.draw() & 1 == 0,
        };
        // Names change in order: what is lost is a suffix.
        let mut changes = std::mem::take(&mut state.unsynced_names);
        while !changes.is_empty() && !keeps() {
            if let Some((_, change)) = changes.pop() {
                state.take_back(change);
            }
        }
        for file in state.files.values_mut() {
            for (sector, old) in std::mem::take(&mut file.undo) {
                if !keeps() {
                    file.put(sector * SECTOR, &old);
                }
            }
            for (sector, old) in std::mem::take(&mut file.lost) {
                file.put(sector * SECTOR, &old);
            }
            if file.bytes.len() as u64 != file.durable_length && !keeps() {
                file.bytes.resize(usize::try_from(file.durable_length).unwrap_or(usize::MAX), 0);
            }
            file.durable_length = file.bytes.len() as u64;
        }
    }

    /// The process dies, the machine does not: handles and lock are dead, nothing is lost, and nothing is synced either.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        state.locked = false;
    }

    /// The `count`-th sync from now (1 is the next) fails. What it should have covered is read as if it were there, is not on the device, and no
    /// later sync writes it, in this process or the next; only writing it again does.
    pub fn fail_sync(&self, count: u64) {
        let mut state = self.state();
        state.fail_sync_at = Some(state.syncs + count);
    }

    /// From now on no sync of this file succeeds. For stores with threads of their own, where nobody can say whose sync is the next one.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn fail_syncs_of(&self, name: &str) {
        let mut state = self.state();
        let file = state.names.get(name).copied();
        assert!(file.is_some(), "no file {name}");
        state.failing = file;
    }

    /// Changes how many bytes fit.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// A disk of its own with the same contents, as if all were synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(self.state().capacity);
        {
            let (from, mut to) = (self.state(), copy.state());
            to.files = from.files.clone();
            for file in to.files.values_mut() {
                file.undo.clear();
                file.lost.clear();
                file.durable_length = file.bytes.len() as u64;
            }
            (to.next_file, to.names, to.dirs) = (from.next_file, from.names.clone(), from.dirs.clone());
        }
        copy
    }

    /// The names of all files.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's bytes.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.files.get(state.names.get(name)?)?.bytes.clone())
    }

    /// Damages or replaces a file behind everybody's back; `None` removes it.
    pub fn tamper(&self, name: &str, contents: Option<Vec<u8>>) {
        let mut state = self.state();
        match (state.names.get(name).copied(), contents) {
            (Some(_), None) => _ = state.names.remove(name),
            (Some(file), Some(bytes)) => {
                let durable_length = bytes.len() as u64;
                state.files.insert(file, FileState { bytes, durable_length, ..FileState::default() });
            }
            (None, _) => {}
        }
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk({} bytes)", self.used())
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().filter_map(|file| self.files.get(file)).map(|file| file.bytes.len() as u64).sum()
    }

    fn take_back(&mut self, change: NameChange) {
        let mut set = |name: String, file: Option<u64>| match file {
            Some(file) => _ = self.names.insert(name, file),
            None => _ = self.names.remove(&name),
        };
        match change {
            NameChange::Was { name, file } => set(name, file),
            NameChange::Moved { from, to, file, over } => {
                set(to, over);
                set(from, Some(file));
            }
        }
    }

    fn changed(&mut self, dir: &str, change: NameChange) {
        self.unsynced_names.push((dir.to_owned(), change));
    }

    /// Counts a sync; the chosen one fails.
    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if self.fail_sync_at == Some(self.syncs) {
            Err(io::Error::other("simulated: the device failed"))
        } else {
            Ok(())
        }
    }
}

impl FileState {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let slot = self.bytes.get_mut(start..).unwrap_or_default();
        let count = slot.len().min(bytes.len());
        if let (Some(to), Some(from)) = (slot.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
    }

    fn remember(&mut self, offset: u64, length: u64) {
        for sector in offset / SECTOR..(offset + length).div_ceil(SECTOR) {
            let start = usize::try_from(sector * SECTOR).unwrap_or(usize::MAX);
            let old = self.bytes.get(start..).unwrap_or_default();
            let old = old.get(..SECTOR_LENGTH).unwrap_or(old).to_vec();
            // What a failed sync left behind is older still.
            let old = self.lost.remove(&sector).unwrap_or(old);
            // A sector that was never written reads as zeroes.
            self.undo.entry(sector).or_insert_with(|| {
                let mut old = old;
                old.resize(SECTOR_LENGTH, 0);
                old
            });
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Volume for SimDisk {
    fn open(&self, name: &str, mode: Open) -> io::Result<Arc<dyn VolumeFile>> {
        let mut state = self.state();
        let known = state.names.get(name).copied();
        let file = match (known, mode) {
            (Some(file), Open::Read | Open::Write | Open::Create) => file,
            (None, Open::Read | Open::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), Open::Truncate) => {
                if let Some(slot) = state.files.get_mut(&file) {
                    slot.remember(0, slot.bytes.len() as u64);
                    slot.bytes.clear();
                }
                file
            }
            (None, Open::Create | Open::Truncate) => {
                let dir = parent(name).to_owned();
                if !dir.is_empty() && !state.dirs.contains(&dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let file = state.next_file;
                state.next_file += 1;
                state.files.insert(file, FileState::default());
                state.names.insert(name.to_owned(), file);
                state.changed(&dir, NameChange::Was { name: name.to_owned(), file: None });
                file
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), life: state.life, file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let names = state.names.keys().chain(&state.dirs).filter(|name| !name.is_empty() && parent(name) == dir);
        let mut names: Vec<String> = names.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(file) = state.names.remove(name) {
            state.changed(parent(name), NameChange::Was { name: name.to_owned(), file: Some(file) });
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let over = state.names.insert(to.to_owned(), file);
        state.changed(parent(to), NameChange::Moved { from: from.to_owned(), to: to.to_owned(), file, over });
        Ok(())
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let mut at = name;
        while !at.is_empty() {
            state.dirs.insert(at.to_owned());
            at = parent(at);
        }
        Ok(())
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        state.unsynced_names.retain(|(dir, _)| dir != name);
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state();
        Ok(Space { free_bytes: state.capacity.saturating_sub(state.used()), total_bytes: state.capacity })
    }

    fn lock(&self) -> Result<Lock, LockError> {
        let mut state = self.state();
        if state.locked {
            return Err(LockError::Held { store: "simulated".into() });
        }
        state.locked = true;
        Ok(Lock::new(SimLock { disk: self.clone(), life: state.life }))
    }
}

struct SimLock {
    disk: SimDisk,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

struct SimFile {
    disk: SimDisk,
    life: u64,
    file: u64,
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life == self.life {
            work(&mut state, self.file)
        } else {
            Err(io::Error::other("simulated: the process is dead"))
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl VolumeFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, file| {
            let bytes = &state.files.get(&file).ok_or_else(gone)?.bytes;
            let rest = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                to.copy_from_slice(from);
            }
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state, file| {
            let end = offset + bytes.len() as u64;
            let held = state.files.get(&file).ok_or_else(gone)?.bytes.len() as u64;
            if state.used() + end.saturating_sub(held) > state.capacity && end > held {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let slot = state.files.get_mut(&file).ok_or_else(gone)?;
            slot.remember(offset, bytes.len() as u64);
            if end > held {
                slot.bytes.resize(usize::try_from(end).unwrap_or(usize::MAX), 0);
            }
            slot.put(offset, bytes);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, file| {
            let mut outcome = state.sync();
            if state.failing == Some(file) {
                outcome = Err(io::Error::other("simulated: the device failed"));
            }
            let slot = state.files.get_mut(&file).ok_or_else(gone)?;
            let unsynced = std::mem::take(&mut slot.undo);
            if outcome.is_err() {
                slot.lost.extend(unsynced);
            } else {
                slot.durable_length = slot.bytes.len() as u64;
            }
            outcome
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(state.files.get(&file).ok_or_else(gone)?.bytes.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|state, file| {
            let slot = state.files.get_mut(&file).ok_or_else(gone)?;
            if length < slot.bytes.len() as u64 {
                slot.remember(length, slot.bytes.len() as u64 - length);
            }
            slot.bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            Ok(())
        })
    }
}
