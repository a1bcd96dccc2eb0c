//! The journal while it works: appending batches and reading records back by position. How one is opened stands in `scan`.
//!
//! Nothing here starts a thread or decides when to sync: the committer does, and the simulator through the same code.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use truc_proto::limits::BATCH_BYTES_MAX;

use crate::{
    Position, Record, StoreTag,
    frame::{
        BATCH_HEADER, BATCH_MAGIC, BatchHeader, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, encode_frame,
    },
    segment::{Segment, SegmentFiles, Window, make_segment},
    volume::{Volume, VolumeFile},
};

/// One record in this many is remembered by its place for good; the ones between are found by walking.
const ANCHOR_EVERY: u64 = 32;
/// So many of the newest records are remembered each by its place: what is at work reads those, and walks nowhere.
const RECENT_PLACES: usize = 16_384;
/// Read-ahead of a single look-up.
const LOOKUP_AHEAD: usize = 4 * 1024;
/// Read-ahead of a run over many records.
pub(crate) const SCAN_AHEAD: usize = 1024 * 1024;

/// Where a record stands and what is needed to read on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) position: u64,
    pub(crate) leaf: u64,
    pub(crate) segment: u32,
    /// Of its frame.
    pub(crate) offset: u32,
    /// Of the header of its batch.
    pub(crate) batch: u32,
    /// The CRC that its frame continues.
    pub(crate) chain: u32,
}

/// Map from position to place, shared by writer and readers: sparse, but for the newest records. At 32 records an anchor, ten million records take
/// 10 MB; the newest take less than one.
#[derive(Default)]
pub(crate) struct Anchors(RwLock<Places>);

#[derive(Default)]
struct Places {
    sparse: Vec<Anchor>,
    /// The newest, one for each position, without gaps.
    recent: VecDeque<Anchor>,
}

impl Anchors {
    pub(crate) fn of(anchors: Vec<Anchor>) -> Self {
        Self(RwLock::new(Places { sparse: anchors, recent: VecDeque::new() }))
    }

    /// Remembers the place of a record. For good, if it is far enough from the last one, or the first in its segment: walks never leave a segment.
    pub(crate) fn note(&self, anchor: Anchor) {
        let mut places = self.write();
        let wanted = places
            .sparse
            .last()
            .is_none_or(|last| anchor.position >= last.position + ANCHOR_EVERY || anchor.segment != last.segment);
        if wanted {
            places.sparse.push(anchor);
        }
        places.note_recent(anchor);
    }

    /// The last known place at or before `position`.
    pub(crate) fn before(&self, position: u64) -> Option<Anchor> {
        let places = self.read();
        if let Some(exact) = places.recent_at(position) {
            return Some(exact);
        }
        let after = places.sparse.partition_point(|anchor| anchor.position <= position);
        places.sparse.get(after.checked_sub(1)?).copied()
    }

    /// All places of records before `position` that are remembered for good.
    pub(crate) fn up_to(&self, position: u64) -> Vec<Anchor> {
        self.read().sparse.iter().take_while(|anchor| anchor.position < position).copied().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Places> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Places> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn note_recent(&mut self, anchor: Anchor) {
        // A scan may show a batch twice; what it shows then is what holds.
        if self.recent.back().is_some_and(|last| last.position + 1 != anchor.position) {
            self.recent.clear();
        }
        if self.recent.len() == RECENT_PLACES {
            self.recent.pop_front();
        }
        self.recent.push_back(anchor);
    }

    fn recent_at(&self, position: u64) -> Option<Anchor> {
        let first = self.recent.front()?.position;
        self.recent.get(usize::try_from(position.checked_sub(first)?).ok()?).copied()
    }
}

/// Why a record cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not appended, or not yet on the device.
    #[error("there is no durable record {position} in the journal yet")]
    NotThere {
        /// The position asked for.
        position: Position,
    },
    /// The disk gave back other bytes than were written.
    #[error(
        "record {position} in journal segment {segment} is damaged: check the disk, and restore the store from its backup"
    )]
    Damaged {
        /// The position asked for.
        position: Position,
        /// Which segment file.
        segment: u32,
    },
    /// The disk does not answer.
    #[error("cannot read record {position} in journal segment {segment}")]
    Io {
        /// The position asked for.
        position: Position,
        /// Which segment file.
        segment: u32,
        /// What the file system said.
        source: io::Error,
    },
}

/// Reads records by position. Clone handle for any thread.
#[derive(Clone)]
pub(crate) struct JournalReader {
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) anchors: Arc<Anchors>,
}

/// A record found, with what lies around it.
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) leaf_index: u64,
}

impl JournalReader {
    /// The record at `position`, which the caller knows to be durable.
    pub(crate) fn read(&self, position: Position) -> Result<Found, ReadError> {
        self.run(position, LOOKUP_AHEAD)?.next().unwrap_or(Err(ReadError::NotThere { position }))
    }

    /// Records from `position` on, to the end of the last anchor's reach: the caller stops where the durable ones end.
    pub(crate) fn run(&self, position: Position, ahead: usize) -> Result<Run<'_>, ReadError> {
        let anchor = self.anchors.before(position.0).ok_or(ReadError::NotThere { position })?;
        let mut run = Run::from(self, anchor, ahead)?;
        while run.place.position < position.0 {
            run.pass().ok_or(ReadError::NotThere { position })??;
        }
        Ok(run)
    }
}

/// Walks over records in order.
pub(crate) struct Run<'a> {
    reader: &'a JournalReader,
    window: Window,
    ahead: usize,
    place: Anchor,
}

impl<'a> Run<'a> {
    fn from(reader: &'a JournalReader, place: Anchor, ahead: usize) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { position: Position(place.position), segment: place.segment, source };
        let window = Window::new(reader.files.get(place.segment).map_err(io)?, ahead);
        Ok(Self { reader, window, ahead, place })
    }

    /// Goes to the next frame's header, over batch headers and into the next segment. `None` at the end.
    fn head(&mut self) -> Option<Result<FrameHeader, ReadError>> {
        loop {
            let place = self.place;
            // A segment's first record always has an anchor.
            if let Some(next) = self.reader.anchors.before(place.position).filter(|next| next.segment > place.segment) {
                match Self::from(self.reader, next, self.ahead) {
                    Ok(run) => *self = run,
                    Err(error) => return Some(Err(error)),
                }
                continue;
            }
            let io = |source| ReadError::Io { position: Position(place.position), segment: place.segment, source };
            let bytes = match self.window.at(u64::from(place.offset), BATCH_HEADER) {
                Ok(bytes) => bytes,
                Err(source) => return Some(Err(io(source))),
            };
            if bytes.starts_with(&BATCH_MAGIC.to_le_bytes()) {
                let Some(batch) = BatchHeader::decode(bytes) else { return Some(Err(self.damaged())) };
                self.place.batch = place.offset;
                self.place.chain = batch.crc;
                self.place.offset = self.place.offset.saturating_add(u32::try_from(BATCH_HEADER).unwrap_or(u32::MAX));
                continue;
            }
            return match FrameHeader::decode(bytes) {
                _ if bytes.iter().take(FRAME_HEADER).all(|byte| *byte == 0) => None, // zeroes: nothing was ever written here
                None => Some(Err(self.damaged())),
                Some(header) => Some(Ok(header)),
            };
        }
    }

    /// Goes over one record without reading its data.
    fn pass(&mut self) -> Option<Result<(), ReadError>> {
        let header = match self.head()? {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        self.step(&header);
        Some(Ok(()))
    }

    fn step(&mut self, header: &FrameHeader) {
        // Both are below a segment's length.
        self.place.offset =
            self.place.offset.saturating_add(u32::try_from(FRAME_HEADER + header.data()).unwrap_or(u32::MAX));
        self.place.position += 1;
        self.place.leaf += u64::from(header.leaf.is_some());
        self.place.chain = header.crc;
    }

    fn damaged(&self) -> ReadError {
        ReadError::Damaged { position: Position(self.place.position), segment: self.place.segment }
    }

    /// Where the next record stands.
    pub(crate) fn place(&self) -> Anchor {
        self.place
    }
}

impl Iterator for Run<'_> {
    type Item = Result<Found, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = match self.head()? {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let place = self.place;
        let frame = match self.window.at(u64::from(place.offset), FRAME_HEADER + header.data()) {
            Ok(frame) => frame,
            Err(source) => {
                return Some(Err(ReadError::Io { position: Position(place.position), segment: place.segment, source }));
            }
        };
        if !header.holds(place.chain, frame) {
            return Some(Err(self.damaged()));
        }
        let data = frame.get(FRAME_HEADER..).unwrap_or_default();
        let (state, leaf) = data.split_at_checked(header.state).unwrap_or((data, &[]));
        let record = Record { state: state.to_vec(), leaf: header.leaf.map(|_| leaf.to_vec()) };
        self.step(&header);
        Some(Ok(Found { record, leaf_index: place.leaf }))
    }
}

/// What all segments of a journal have in common.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) journal: [u8; 16],
    pub(crate) tag: StoreTag,
}

impl Identity {
    pub(crate) fn header(&self, number: u32) -> SegmentHeader {
        SegmentHeader { journal: self.journal, number, tag: self.tag.clone() }
    }
}

/// The place where the next batch goes, and the numbers that it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) position: u64,
    pub(crate) leaf: u64,
    pub(crate) chain: u32,
}

/// The writing side. One owner.
pub(crate) struct Journal {
    volume: Arc<dyn Volume>,
    identity: Identity,
    segment: Segment,
    next: Option<Segment>,
    end: End,
    /// The last batch holds records for which no later header vouches yet.
    unvouched: bool,
    anchors: Arc<Anchors>,
    buffer: Vec<u8>,
}

impl Journal {
    pub(crate) fn new(
        volume: Arc<dyn Volume>,
        identity: Identity,
        segment: Segment,
        end: End,
        anchors: Arc<Anchors>,
    ) -> Self {
        let buffer = Vec::with_capacity(BATCH_BYTES_MAX + 64 * 1024);
        Self { volume, identity, segment, next: None, end, unvouched: false, anchors, buffer }
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn is_unvouched(&self) -> bool {
        self.unvouched
    }

    /// The file that the last batch went to; syncing it makes everything appended durable.
    pub(crate) fn file(&self) -> Arc<dyn VolumeFile> {
        Arc::clone(&self.segment.file)
    }

    /// Bytes that still fit into this segment.
    pub(crate) fn room(&self) -> u64 {
        self.segment.length.saturating_sub(self.end.offset)
    }

    /// The number of the segment to prepare, when none is.
    pub(crate) fn wants_segment(&self) -> Option<u32> {
        self.next.is_none().then_some(self.segment.number + 1)
    }

    pub(crate) fn give_segment(&mut self, segment: Segment) {
        if segment.number == self.segment.number + 1 {
            self.next = Some(segment);
        }
    }

    /// Writes one batch of submissions, in one write, without syncing it. What was appended before must be synced: the header says so.
    ///
    /// # Errors
    /// `StorageFull` when the next segment has no room: nothing was written, try again later. Any other error is fatal.
    pub(crate) fn append<'r>(&mut self, submissions: impl Iterator<Item = &'r [Record]> + Clone) -> io::Result<()> {
        let frame = |record: &Record| FRAME_HEADER + record.bytes();
        let (mut count, mut bytes) = (0_u32, 0_usize);
        for record in submissions.clone().flatten() {
            (count, bytes) = (count + 1, bytes + frame(record));
        }
        self.make_room((BATCH_HEADER + bytes) as u64)?;
        let header = BatchHeader {
            journal: self.identity.journal,
            sequence: self.end.sequence,
            first_position: self.end.position,
            first_leaf: self.end.leaf,
            chain_before: self.end.chain,
            count,
            bytes: u32::try_from(bytes).expect("a batch is smaller than a segment"),
            crc: 0,
        };
        self.encode(&header, submissions);
        let (start, written) = (self.end.offset, self.buffer.len() as u64);
        self.segment.file.write_at(&self.buffer, start)?;
        self.end.offset = start + written;
        self.end.sequence += 1;
        self.unvouched = count > 0;
        Ok(())
    }

    fn encode<'r>(&mut self, header: &BatchHeader, submissions: impl Iterator<Item = &'r [Record]>) {
        let (head, crc) = header.encode();
        let batch = u32::try_from(self.end.offset).expect("a segment is below 4 GiB");
        self.buffer.clear();
        self.buffer.extend_from_slice(&head);
        self.end.chain = crc;
        for records in submissions {
            for (index, record) in records.iter().enumerate() {
                let offset = batch + u32::try_from(self.buffer.len()).expect("a batch is smaller than a segment");
                let (position, leaf, chain) = (self.end.position, self.end.leaf, self.end.chain);
                self.anchors.note(Anchor { position, leaf, segment: self.segment.number, offset, batch, chain });
                self.end.chain = encode_frame(record, index + 1 < records.len(), chain, &mut self.buffer);
                self.end.position += 1;
                self.end.leaf += u64::from(record.leaf.is_some());
            }
        }
    }

    /// Goes to the next segment when `needed` bytes do not fit into this one.
    fn make_room(&mut self, needed: u64) -> io::Result<()> {
        if needed <= self.room() {
            return Ok(());
        }
        let fits = |segment: &Segment| needed <= segment.length.saturating_sub(SEGMENT_HEADER);
        let next = match self.next.take().filter(fits) {
            Some(next) => next,
            None => make_segment(self.volume.as_ref(), &self.identity.header(self.segment.number + 1), needed)?,
        };
        self.segment = next;
        self.end.offset = SEGMENT_HEADER;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(position: u64) -> Anchor {
        Anchor {
            position,
            leaf: position,
            segment: 1,
            offset: u32::try_from(100 * position).unwrap(),
            batch: 7,
            chain: 3,
        }
    }

    #[test]
    fn the_newest_places_are_known_one_by_one_and_older_ones_in_steps() {
        let anchors = Anchors::default();
        let count = RECENT_PLACES as u64 + 100;
        (0..count).for_each(|position| anchors.note(anchor(position)));
        for position in [100, 101, count - 1] {
            assert_eq!(anchors.before(position), Some(anchor(position)));
        }
        assert_eq!(anchors.before(99), Some(anchor(96)));
        assert_eq!(anchors.before(count + 5).map(|found| found.position % ANCHOR_EVERY), Some(0));
        assert_eq!(anchors.up_to(65), [0, 32, 64].map(anchor));
    }

    #[test]
    fn what_is_noted_again_takes_the_place_of_what_was() {
        let anchors = Anchors::default();
        (0..40).for_each(|position| anchors.note(anchor(position)));
        let moved = Anchor { offset: 1, ..anchor(38) };
        anchors.note(moved);
        assert_eq!(anchors.before(38), Some(moved));
        assert_eq!(anchors.before(39), Some(anchor(32)), "what stood behind it is not believed");
        anchors.note(anchor(39));
        assert_eq!(anchors.before(39), Some(anchor(39)));
    }
}
