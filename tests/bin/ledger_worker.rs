//! `ledger-worker STORE [--ignore-sync]`: writes the load of `truc_tests::ledger_load` as fast as it goes and prints an `ack` line for everything that the
//! ledger released, until it is killed. `--ignore-sync` is the negative control: the disk is told nothing, so a power cut must lose what was answered.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use truc_ledger::{
    Fold, Ledger, Position, Replayed,
    blobs::{Announced, BlobStore},
    volume::{DirVolume, Lock, LockError, Open, Space, Volume, VolumeFile},
};
use truc_proto::Digest;
use truc_tests::ledger_load::{Ack, Item, Written, open};

const THREADS: u32 = 8;
/// A snapshot after this many submissions of the first thread.
const SNAPSHOT_EVERY: u64 = 60;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let store = PathBuf::from(arguments.next().context("usage: ledger-worker STORE [--ignore-sync]")?);
    let ignore = match arguments.next() {
        None => false,
        Some(word) if word == "--ignore-sync" => true,
        Some(word) => bail!("unknown argument {}", word.display()),
    };
    let disk = DirVolume::create(store).context("make the store's folder")?;
    let volume: Arc<dyn Volume> = if ignore { Arc::new(Unsynced(disk)) } else { Arc::new(disk) };
    let (ledger, recovered, written) = open(Arc::clone(&volume)).context("open the ledger")?;
    let blobs = Arc::new(BlobStore::open(volume)?);
    let (acks, printed) = channel::<Ack>();
    let state = State { written, position: recovered.next_position.0, leaf: recovered.next_leaf };
    let load = Arc::new(Load { ledger, blobs, state: Mutex::new(state), acks: Mutex::new(acks) });
    for number in 0..THREADS {
        let load = Arc::clone(&load);
        thread::spawn(move || load.run(number));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "ready {}", recovered.next_position)?;
    for ack in printed {
        writeln!(out, "{ack}")?;
        out.flush()?;
    }
    Ok(())
}

struct Load {
    ledger: Ledger,
    blobs: Arc<BlobStore>,
    state: Mutex<State>,
    acks: Mutex<Sender<Ack>>,
}

struct State {
    written: Written,
    position: u64,
    leaf: u64,
}

impl Load {
    fn run(&self, thread: u32) {
        let mut number = self.state().written.next_number(thread);
        loop {
            if let Err(why) = self.write(Item { thread, number }) {
                // A cut disk: the ledger aborts the process by itself; a full one ends the load.
                let _ = writeln!(io::stderr(), "thread {thread} stops: {why:#}");
                return;
            }
            if thread == 0
                && number % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1
                && let Err(why) = self.snapshot()
            {
                let _ = writeln!(io::stderr(), "no snapshot: {why:#}");
            }
            number += 1;
        }
    }

    /// One submission, through to its answer.
    fn write(&self, item: Item) -> Result<()> {
        let blob = item.blob().map(|bytes| {
            let announced = Announced { digest: Digest::of(&bytes), length: bytes.len() as u64 };
            let mut upload = self.blobs.begin(&format!("upload-{}", item.thread), announced)?;
            let offset = upload.offset();
            upload.write(offset, bytes.get(usize::try_from(offset)?..).unwrap_or_default())?;
            anyhow::Ok(upload.finish()?)
        });
        let held = blob.transpose().context("store the blob")?;
        let acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, wait) = channel();
        {
            let mut state = self.state();
            let position = state.position;
            let records = item.records();
            let release = Box::new(move |committed: &truc_ledger::Committed| {
                let _ = acks.send(Ack { item, position, size: committed.size, root: committed.root });
                let _ = done.send(());
            });
            self.ledger.submit(records.clone(), release)?;
            for record in &records {
                let leaf_index = record.leaf.is_some().then_some(state.leaf);
                let replayed = Replayed {
                    position: Position(state.position),
                    leaf_index,
                    state: &record.state,
                    leaf: record.leaf.as_deref(),
                };
                state.written.apply(replayed).map_err(|error| anyhow::anyhow!(error))?;
                state.position += 1;
                state.leaf += u64::from(record.leaf.is_some());
            }
        }
        wait.recv().context("the ledger stopped")?;
        drop(held);
        Ok(())
    }

    fn snapshot(&self) -> Result<()> {
        let (done, wait) = channel();
        let (position, entries) = {
            let state = self.state();
            self.ledger.submit(Vec::new(), Box::new(move |_| _ = done.send(())))?;
            (state.position, state.written.entries())
        };
        wait.recv()?;
        Ok(self.ledger.snapshot(Position(position), entries.into_iter())?)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk on which syncing a file does nothing.
struct Unsynced(DirVolume);

struct UnsyncedFile(Arc<dyn VolumeFile>);

impl Volume for Unsynced {
    fn open(&self, name: &str, mode: Open) -> io::Result<Arc<dyn VolumeFile>> {
        Ok(Arc::new(UnsyncedFile(self.0.open(name, mode)?)))
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.0.create_dir(name)
    }
    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.0.sync_dir(name)
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
    fn lock(&self) -> Result<Lock, LockError> {
        self.0.lock()
    }
}

impl VolumeFile for UnsyncedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
