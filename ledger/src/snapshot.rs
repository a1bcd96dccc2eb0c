//! Snapshots of the fold: written beside the journal so that a start need not read all of it. An optimisation only: one that is missing, damaged
//! or foreign is passed over for the one before it, or for the whole journal.
//!
//! ```text
//! snapshot := magic (8) · SHA-256 of the rest (32) · journal (16) · position (u64) · chain (u32) · segment (u32) · batch offset (u32)
//!             · leaves (u64) · frontier hashes (32 each, one per bit of leaves) · anchors (u64) · anchor (32 each)
//!             · entry* · 0xffffffff (u32) · entry count (u64)      entry := length (u32) · bytes
//! ```

use std::{io, sync::Arc};

use truc_proto::{Digest, Hasher, limits::SNAPSHOT_ENTRY_BYTES_MAX};

use crate::{
    Position,
    frame::Fields,
    journal::Anchor,
    merkle::Frontier,
    volume::{Open, Volume, VolumeFile},
};

const SNAPSHOT_DIR: &str = "snapshots";
const UNFINISHED: &str = "snapshots/new.tmp";
const MAGIC: &[u8; 8] = b"trucsnp1";
/// Magic and digest.
const PROLOGUE_LENGTH: usize = 40;
const PROLOGUE: u64 = PROLOGUE_LENGTH as u64;
const KEPT: usize = 2;
const BUFFER: usize = 1024 * 1024;

/// Where a snapshot ties into the journal, and what the ledger itself needs to go on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    pub(crate) journal: [u8; 16],
    /// The first position that the snapshot does not cover.
    pub(crate) position: u64,
    /// The CRC that the frame at `position` continues.
    pub(crate) chain: u32,
    /// The segment and offset of a batch header at or before `position`.
    pub(crate) segment: u32,
    pub(crate) batch: u32,
    pub(crate) frontier: Frontier,
    pub(crate) anchors: Vec<Anchor>,
}

/// Why a snapshot was not written. The journal has everything; only the next start is slower.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The journal is not on the device that far.
    #[error("a snapshot at {position} must wait: the journal is durable up to {durable}")]
    NotDurable {
        /// The position asked for.
        position: Position,
        /// How far the journal is.
        durable: Position,
    },
    /// An entry beyond [`SNAPSHOT_ENTRY_BYTES_MAX`].
    #[error("entry {index} of the snapshot is longer than {SNAPSHOT_ENTRY_BYTES_MAX} bytes")]
    EntryTooLong {
        /// Counted from 0.
        index: u64,
    },
    /// The journal could not be read at the snapshot's place.
    #[error("cannot tie the snapshot to the journal")]
    Journal(#[from] crate::ReadError),
    /// The disk does not take it.
    #[error("cannot write the snapshot")]
    Io(#[from] io::Error),
}

/// The positions of the snapshots there are, newest first.
pub(crate) fn list(volume: &dyn Volume) -> io::Result<Vec<u64>> {
    let names = volume.list(SNAPSHOT_DIR)?;
    let mut positions: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".snap")?.parse().ok()).collect();
    positions.sort_unstable_by(|a, b| b.cmp(a));
    Ok(positions)
}

fn name(position: u64) -> String {
    format!("{SNAPSHOT_DIR}/{position:020}.snap")
}

/// Writes a snapshot: temp, sync, rename, sync of the folder; then removes all but the newest two.
pub(crate) fn write(
    volume: &dyn Volume,
    head: &SnapshotHead,
    entries: impl Iterator<Item = Vec<u8>>,
) -> Result<(), SnapshotError> {
    volume.create_dir(SNAPSHOT_DIR)?;
    let file = volume.open(UNFINISHED, Open::Truncate)?;
    let mut writer =
        Writer { file: Arc::clone(&file), at: PROLOGUE, hasher: Hasher::default(), buffer: Vec::with_capacity(BUFFER) };
    writer.put(&encode_head(head))?;
    let mut count: u64 = 0;
    for entry in entries {
        let length = u32::try_from(entry.len()).ok().filter(|_| entry.len() <= SNAPSHOT_ENTRY_BYTES_MAX);
        writer.put(&length.ok_or(SnapshotError::EntryTooLong { index: count })?.to_le_bytes())?;
        writer.put(&entry)?;
        count += 1;
    }
    // The count stands last, since entries are not counted beforehand.
    writer.put(&u32::MAX.to_le_bytes())?;
    writer.put(&count.to_le_bytes())?;
    let digest = writer.finish()?;
    file.write_at(&[MAGIC.as_slice(), digest.as_bytes()].concat(), 0)?;
    file.sync_data()?;
    volume.rename(UNFINISHED, &name(head.position))?;
    volume.sync_dir(SNAPSHOT_DIR)?;
    for old in list(volume)?.into_iter().skip(KEPT) {
        volume.remove(&name(old))?;
    }
    Ok(())
}

/// A snapshot whose checksum held.
pub(crate) struct Snapshot {
    pub(crate) head: SnapshotHead,
    file: Arc<dyn VolumeFile>,
    entries_at: u64,
    length: u64,
}

/// Why a snapshot is passed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its checksum does not hold")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Snapshot {
    /// Opens the snapshot at `position` and checks all of it.
    pub(crate) fn open(volume: &dyn Volume, position: u64) -> Result<Self, Unusable> {
        let file = volume.open(&name(position), Open::Read)?;
        let length = file.len()?;
        let mut prologue = [0; PROLOGUE_LENGTH];
        let got = file.read_at(&mut prologue, 0)?;
        let (magic, digest) =
            prologue.get(..got).and_then(|bytes| bytes.split_first_chunk::<8>()).ok_or(Unusable::Checksum)?;
        if magic != MAGIC || hash_from(file.as_ref(), PROLOGUE)?.as_bytes() != digest {
            return Err(Unusable::Checksum);
        }
        let mut reader = Reader::new(Arc::clone(&file), PROLOGUE);
        let head = decode_head(&mut reader).ok_or(Unusable::Checksum)?;
        let entries_at = reader.at;
        Ok(Self { head, file, entries_at, length })
    }

    /// The entries in order. The checksum held, so that the end is where the count says; a read error ends them early and is told by `bool`.
    pub(crate) fn entries(&self) -> Entries {
        Entries {
            reader: Reader::new(Arc::clone(&self.file), self.entries_at),
            end: self.length,
            complete: false,
            count: 0,
        }
    }
}

/// Iterates over entries; `complete` once the closing count was met.
pub(crate) struct Entries {
    reader: Reader,
    end: u64,
    count: u64,
    pub(crate) complete: bool,
}

impl Iterator for Entries {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.complete || self.reader.at >= self.end {
            return None;
        }
        match self.reader.u32()? {
            u32::MAX => {
                self.complete = self.reader.u64()? == self.count;
                None
            }
            length => {
                self.count += 1;
                let length = usize::try_from(length).ok().filter(|length| *length <= SNAPSHOT_ENTRY_BYTES_MAX)?;
                self.reader.take(length)
            }
        }
    }
}

fn hash_from(file: &dyn VolumeFile, start: u64) -> io::Result<Digest> {
    let (mut hasher, mut buffer, mut at) = (Hasher::default(), vec![0; BUFFER], start);
    loop {
        let got = file.read_at(&mut buffer, at)?;
        hasher.update(buffer.get(..got).unwrap_or_default());
        if got < buffer.len() {
            return Ok(hasher.finish());
        }
        at += got as u64;
    }
}

fn encode_head(head: &SnapshotHead) -> Vec<u8> {
    let mut out = head.journal.to_vec();
    out.extend_from_slice(&head.position.to_le_bytes());
    for number in [head.chain, head.segment, head.batch] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&head.frontier.size().to_le_bytes());
    head.frontier.roots().iter().for_each(|root| out.extend_from_slice(root.as_bytes()));
    out.extend_from_slice(&(head.anchors.len() as u64).to_le_bytes());
    for anchor in &head.anchors {
        out.extend_from_slice(&anchor.position.to_le_bytes());
        out.extend_from_slice(&anchor.leaf.to_le_bytes());
        for number in [anchor.segment, anchor.offset, anchor.batch, anchor.chain] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out
}

fn decode_head(reader: &mut Reader) -> Option<SnapshotHead> {
    let journal = reader.take(16)?.try_into().ok()?;
    let (position, chain, segment, batch) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u32()?);
    let leaves = reader.u64()?;
    let roots =
        (0..leaves.count_ones()).map(|_| Digest::from_slice(&reader.take(32)?).ok()).collect::<Option<Vec<_>>>()?;
    let frontier = Frontier::from_roots(leaves, roots)?;
    let count = reader.u64()?;
    let mut anchors = Vec::new();
    for _ in 0..count {
        let bytes = reader.take(32)?;
        let mut fields = Fields(&bytes);
        anchors.push(Anchor {
            position: fields.u64()?,
            leaf: fields.u64()?,
            segment: fields.u32()?,
            offset: fields.u32()?,
            batch: fields.u32()?,
            chain: fields.u32()?,
        });
    }
    Some(SnapshotHead { journal, position, chain, segment, batch, frontier, anchors })
}

struct Writer {
    file: Arc<dyn VolumeFile>,
    at: u64,
    hasher: Hasher,
    buffer: Vec<u8>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Digest> {
        self.flush()?;
        Ok(self.hasher.finish())
    }
}

struct Reader {
    file: Arc<dyn VolumeFile>,
    at: u64,
    held: Vec<u8>,
    start: u64,
}

impl Reader {
    fn new(file: Arc<dyn VolumeFile>, at: u64) -> Self {
        Self { file, at, held: Vec::new(), start: at }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let inside = usize::try_from(self.at - self.start).ok()?;
        if self.held.len() < inside + count {
            self.held.resize(count.max(BUFFER), 0);
            let got = self.file.read_at(&mut self.held, self.at).ok()?;
            self.held.truncate(got);
            self.start = self.at;
        }
        let from = usize::try_from(self.at - self.start).ok()?;
        let bytes = self.held.get(from..from + count)?.to_vec();
        self.at += count as u64;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Fields(&self.take(4)?).u32()
    }

    fn u64(&mut self) -> Option<u64> {
        Fields(&self.take(8)?).u64()
    }
}
