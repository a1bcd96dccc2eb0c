//! Opening a journal: reading it from the start or from a snapshot's place, telling a torn tail from damage, and cutting the tail.
//!
//! The rule: a batch header is written only after the batch before it was synced. So a bad frame with a later valid header anywhere behind it is
//! damage to what was acknowledged, and stops the start; without one it is the torn end of the last batch, and is cut at the first record of the
//! submission it belongs to. What lay behind the cut is zeroed and synced before anything new is written.

use std::{io, sync::Arc};

use crate::{
    FoldError, Position, Record, Replayed,
    frame::{BATCH_HEADER, BATCH_MAGIC, BatchHeader, FRAME_HEADER, FrameHeader, SEGMENT_HEADER},
    journal::{Anchor, Anchors, End, Identity, SCAN_AHEAD},
    segment::{JOURNAL_DIR, SegmentFiles, Window, segment_name},
    volume::{Open, Volume, read_exact_at},
};

/// Why a scan stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The disk does not answer.
    #[error("cannot read journal segment {segment}")]
    Io {
        /// Which segment.
        segment: u32,
        /// What the file system said.
        source: io::Error,
    },
    /// Records that were on the device are not readable any more.
    #[error(
        "the journal is damaged: record {position} (segment {segment}, byte {offset}) was on the device, since batch {vouching} was written \
         after it, but it cannot be read; nothing was changed: check the disk, then restore the store from its backup"
    )]
    Damaged {
        /// The first record lost.
        position: Position,
        /// Which segment.
        segment: u32,
        /// Where in the segment.
        offset: u64,
        /// The batch whose header proves it.
        vouching: u64,
    },
    /// The owner of the ledger cannot read a record.
    #[error(
        "record {position} of the journal is whole, but this version cannot read it: start the version that wrote it"
    )]
    Fold {
        /// Which record.
        position: Position,
        /// What the owner said.
        source: FoldError,
    },
}

/// Takes what is read.
pub(crate) type Sink<'a> = dyn FnMut(Replayed<'_>) -> Result<(), FoldError> + 'a;

/// Reads batches one after the other.
pub(crate) struct Scan<'a> {
    files: &'a SegmentFiles,
    identity: &'a Identity,
    anchors: &'a Anchors,
    /// The last segment there is.
    last: u32,
    pub(crate) segment: u32,
    /// What was read last, and of which segment.
    window: Option<(u32, Window)>,
    pub(crate) end: End,
    /// Segment and place of the last batch's header, and what the batch continues.
    last_batch: Option<(u32, u64, End)>,
}

impl<'a> Scan<'a> {
    /// From `end` in `segment` on, up to segment `last`.
    pub(crate) fn new(
        files: &'a SegmentFiles,
        identity: &'a Identity,
        anchors: &'a Anchors,
        last: u32,
        segment: u32,
        end: End,
    ) -> Self {
        Self { files, identity, anchors, last, segment, window: None, end, last_batch: None }
    }

    /// Reads everything that holds, hands records on whole submissions at a time, and leaves the scan at the place where the next batch goes.
    pub(crate) fn run(&mut self, sink: &mut Sink<'_>) -> Result<(), ScanError> {
        while let Some(header) = self.next_header()? {
            self.batch(&header, sink)?;
        }
        match self.vouching_header(self.end.sequence)? {
            None => Ok(()),
            Some(vouching) => Err(ScanError::Damaged {
                position: Position(self.end.position),
                segment: self.segment,
                offset: self.end.offset,
                vouching,
            }),
        }
    }

    /// Reads the next batch if all of it is there; else stays before it, whatever of it `sink` has seen.
    pub(crate) fn whole_batch(&mut self, sink: &mut Sink<'_>) -> Result<bool, ScanError> {
        let Some(header) = self.next_header()? else { return Ok(false) };
        let before = self.end;
        self.batch(&header, sink)?;
        let whole = self.end.offset == before.offset + BATCH_HEADER as u64 + u64::from(header.bytes);
        if !whole {
            self.end = before;
        }
        Ok(whole)
    }

    /// What is read from now on is read anew.
    pub(crate) fn forget_window(&mut self) {
        self.window = None;
    }

    /// The header that continues what was read: here, or at the start of the next segment.
    fn next_header(&mut self) -> Result<Option<BatchHeader>, ScanError> {
        if let Some(header) = self.header_at(self.segment, self.end.offset)? {
            return Ok(Some(header));
        }
        if self.segment >= self.last {
            return Ok(None);
        }
        let header = self.header_at(self.segment + 1, SEGMENT_HEADER)?;
        if header.is_some() {
            self.segment += 1;
            self.end.offset = SEGMENT_HEADER;
        }
        Ok(header)
    }

    fn header_at(&mut self, segment: u32, offset: u64) -> Result<Option<BatchHeader>, ScanError> {
        let End { sequence, position, leaf, chain, .. } = self.end;
        let journal = self.identity.journal;
        let header = BatchHeader::decode(self.bytes(segment, offset, BATCH_HEADER)?);
        Ok(header.filter(|h| {
            (h.journal, h.sequence, h.first_position, h.first_leaf, h.chain_before)
                == (journal, sequence, position, leaf, chain)
        }))
    }

    fn bytes(&mut self, segment: u32, offset: u64, count: usize) -> Result<&[u8], ScanError> {
        let io = |source| ScanError::Io { segment, source };
        let held = self.window.take().filter(|(of, _)| *of == segment);
        let held =
            held.map_or_else(|| Ok((segment, Window::new(self.files.get(segment).map_err(io)?, SCAN_AHEAD))), Ok)?;
        let (_, window) = self.window.insert(held);
        window.at(offset, count).map_err(io)
    }

    /// Reads one batch, or as much of it as holds.
    fn batch(&mut self, header: &BatchHeader, sink: &mut Sink<'_>) -> Result<(), ScanError> {
        let start = self.end.offset;
        self.last_batch = Some((self.segment, start, self.end));
        let limit = start + BATCH_HEADER as u64 + u64::from(header.bytes);
        self.end =
            End { offset: start + BATCH_HEADER as u64, sequence: header.sequence + 1, chain: header.crc, ..self.end };
        let batch = u32::try_from(start).unwrap_or(u32::MAX);
        // `reading` runs ahead of `self.end` by the records of a submission that is not whole yet.
        let (mut reading, mut part) = (self.end, Vec::new());
        for _ in 0..header.count {
            let Some((frame, bytes)) = self.frame(&reading, limit)? else { break };
            let data = bytes.get(FRAME_HEADER..).unwrap_or_default();
            let (state, leaf) = data.split_at_checked(frame.state).unwrap_or((data, &[]));
            let leaf = frame.leaf.map(|_| leaf);
            let anchor = Anchor {
                position: reading.position,
                leaf: reading.leaf,
                segment: 0, // filled in below: the borrow of the bytes must end first
                offset: u32::try_from(reading.offset).unwrap_or(u32::MAX),
                batch,
                chain: reading.chain,
            };
            let replayed =
                Replayed { position: Position(reading.position), leaf_index: leaf.map(|_| reading.leaf), state, leaf };
            reading = End {
                offset: reading.offset + bytes.len() as u64,
                position: reading.position + 1,
                leaf: reading.leaf + u64::from(leaf.is_some()),
                chain: frame.crc,
                ..reading
            };
            let failed = |source| ScanError::Fold { position: Position(anchor.position), source };
            if frame.more || !part.is_empty() {
                part.push((anchor, Record { state: state.to_vec(), leaf: leaf.map(<[u8]>::to_vec) }));
            } else {
                sink(replayed).map_err(failed)?;
                self.anchors.note(Anchor { segment: self.segment, ..anchor });
            }
            if !frame.more {
                self.whole(std::mem::take(&mut part), sink)?;
                self.end = reading;
            }
        }
        Ok(())
    }

    /// Hands on the records of a submission that turned out whole.
    fn whole(&self, part: Vec<(Anchor, Record)>, sink: &mut Sink<'_>) -> Result<(), ScanError> {
        for (anchor, record) in part {
            let position = Position(anchor.position);
            let leaf_index = record.leaf.as_ref().map(|_| anchor.leaf);
            let replayed = Replayed { position, leaf_index, state: &record.state, leaf: record.leaf.as_deref() };
            sink(replayed).map_err(|source| ScanError::Fold { position, source })?;
            self.anchors.note(Anchor { segment: self.segment, ..anchor });
        }
        Ok(())
    }

    /// The frame at `at`, if it continues the chain and ends before `limit`.
    fn frame(&mut self, at: &End, limit: u64) -> Result<Option<(FrameHeader, &[u8])>, ScanError> {
        let segment = self.segment;
        let Some(header) = FrameHeader::decode(self.bytes(segment, at.offset, FRAME_HEADER)?) else { return Ok(None) };
        let length = FRAME_HEADER + header.data();
        if at.offset + length as u64 > limit {
            return Ok(None);
        }
        let bytes = self.bytes(segment, at.offset, length)?;
        Ok((bytes.len() == length && header.holds(at.chain, bytes)).then_some((header, bytes)))
    }

    /// Looks behind the end of what holds for a header of batch `sequence` or a later one: its sequence, if there is one.
    pub(crate) fn vouching_header(&self, sequence: u64) -> Result<Option<u64>, ScanError> {
        let journal = self.identity.journal;
        let mut found = None;
        self.tail(&mut |_, _, bytes| {
            let mut headers = batch_magics(bytes).filter_map(|at| BatchHeader::decode(bytes.get(at..)?));
            found =
                found.or_else(|| headers.find(|h| h.journal == journal && h.sequence >= sequence).map(|h| h.sequence));
        })?;
        Ok(found)
    }

    /// Writes the last batch again, as it was read, and syncs it: only then is it believed.
    ///
    /// No header vouches for it, so its sync may have failed; that ended the process that wrote it, but Linux counts pages whose write-back failed
    /// as clean. A later process of the same kernel reads them from the cache, and a sync finds nothing to do. Written again they are dirty again.
    pub(crate) fn write_last_again(&self, volume: &dyn Volume) -> Result<(), ScanError> {
        let Some((segment, start, before)) = self.last_batch else { return Ok(()) };
        let io = |source| ScanError::Io { segment, source };
        let file = volume.open(&segment_name(segment), Open::Write).map_err(io)?;
        let length = usize::try_from(self.end.offset - start).unwrap_or_default();
        let mut bytes = vec![0; length];
        read_exact_at(file.as_ref(), &mut bytes, start).map_err(io)?;
        // The cache may have let a page go since the scan read it: then other bytes stand here now.
        if chain_over(&bytes, before.chain) != Some(self.end.chain) {
            return Err(io(io::Error::other(
                "the last batch reads differently than a moment ago: the device lost what the system had not yet \
                 written; start again, and check the disk",
            )));
        }
        file.write_at(&bytes, start).map_err(io)?;
        file.sync_data().map_err(io)
    }

    /// Zeroes what lies behind the end and syncs that. Tells how many bytes were not zero before.
    pub(crate) fn zero_tail(&mut self, volume: &dyn Volume) -> Result<u64, ScanError> {
        let mut dirty: Vec<(u32, u64, usize)> = Vec::new();
        let mut cut = 0;
        self.tail(&mut |segment, offset, bytes| {
            if let Some(last) = last_written(bytes) {
                cut += last as u64 + 1;
                dirty.push((segment, offset, last + 1));
            }
        })?;
        for (segment, offset, length) in dirty {
            let io = |source| ScanError::Io { segment, source };
            let file = volume.open(&segment_name(segment), Open::Write).map_err(io)?;
            file.write_at(&vec![0; length], offset).map_err(io)?;
            file.sync_data().map_err(io)?;
        }
        self.window = None;
        Ok(cut)
    }

    /// Shows everything behind the end in pieces that overlap by less than a header (the first of each segment may be seen whole in one piece).
    fn tail(&self, see: &mut dyn FnMut(u32, u64, &[u8])) -> Result<(), ScanError> {
        let mut buffer = vec![0; SCAN_AHEAD];
        for segment in self.segment..=self.last {
            let io = |source| ScanError::Io { segment, source };
            let file = self.files.get(segment).map_err(io)?;
            let mut at = if segment == self.segment { self.end.offset } else { SEGMENT_HEADER };
            loop {
                let got = file.read_at(&mut buffer, at).map_err(io)?;
                see(segment, at, buffer.get(..got).unwrap_or_default());
                if got < buffer.len() {
                    break;
                }
                at += (got - (BATCH_HEADER - 1)) as u64;
            }
        }
        Ok(())
    }
}

/// The chain's value behind a batch that continues `before`; none when something in it does not hold.
fn chain_over(batch: &[u8], before: u32) -> Option<u32> {
    let header = BatchHeader::decode(batch).filter(|header| header.chain_before == before)?;
    let (mut chain, mut rest) = (header.crc, batch.get(BATCH_HEADER..)?);
    while !rest.is_empty() {
        let frame = FrameHeader::decode(rest)?;
        let (bytes, after) = rest.split_at_checked(FRAME_HEADER + frame.data())?;
        if !frame.holds(chain, bytes) {
            return None;
        }
        (chain, rest) = (frame.crc, after);
    }
    Some(chain)
}

/// Most of a tail is zeroes: pages of them are passed over whole.
const PAGE: usize = 4096;
static ZEROES: [u8; PAGE] = [0; PAGE];

fn is_zero(page: &[u8]) -> bool {
    ZEROES.get(..page.len()) == Some(page)
}

/// The place of the last byte that is not zero.
fn last_written(bytes: &[u8]) -> Option<usize> {
    let (index, page) = bytes.chunks(PAGE).enumerate().rfind(|(_, page)| !is_zero(page))?;
    page.iter().rposition(|byte| *byte != 0).map(|at| index * PAGE + at)
}

/// Where a batch header may begin.
fn batch_magics(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let magic = BATCH_MAGIC.to_le_bytes();
    let pages = bytes.chunks(PAGE).enumerate().filter(|(_, page)| !is_zero(page));
    let places = pages.flat_map(|(index, page)| index * PAGE..index * PAGE + page.len());
    places.filter(move |at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(&magic)))
}

/// Syncs the segments that may hold bytes which are only in the page cache (after kill -9), and their names, before anything read from them is
/// believed. What a failed sync left there is not helped by that: see [`Scan::write_last_again`].
pub(crate) fn sync_segments(volume: &dyn Volume, numbers: &[u32]) -> Result<(), ScanError> {
    let newest = numbers.last().copied().unwrap_or_default();
    volume.sync_dir(JOURNAL_DIR).map_err(|source| ScanError::Io { segment: newest, source })?;
    for &segment in numbers.iter().rev().take(2) {
        let io = |source| ScanError::Io { segment, source };
        let file: Arc<_> = volume.open(&segment_name(segment), Open::Write).map_err(io)?;
        file.sync_data().map_err(io)?;
    }
    Ok(())
}
