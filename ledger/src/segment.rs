//! Segment files: their names, how one is made, and reading from them with read-ahead.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use truc_proto::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

use crate::{
    frame::{SEGMENT_HEADER, SegmentHeader},
    volume::{Open, Volume, VolumeFile},
};

/// Folder of the journal inside the store.
pub(crate) const JOURNAL_DIR: &str = "journal";
/// Under this name a segment is zeroed before it joins the journal.
const NEXT_SEGMENT: &str = "journal/next.tmp";
/// Zeroes are written and synced in portions, so that the journal's own syncs do not wait behind a whole segment.
const ZEROES: usize = 1024 * 1024;
/// Open segment files kept for reading.
const FILES_KEPT: usize = 128;

/// A segment ready to take batches.
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn VolumeFile>,
    pub(crate) length: u64,
}

/// The name of segment `number`.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{JOURNAL_DIR}/{number:010}.seg")
}

/// The numbers of the segments there are, in order.
pub(crate) fn segment_numbers(volume: &dyn Volume) -> io::Result<Vec<u32>> {
    let names = volume.list(JOURNAL_DIR)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect())
}

/// Makes a segment: written with zeroes (a file that grows costs a third of the speed), synced, then named.
/// It is shorter than planned when the disk is nearly full, but never shorter than `needed` bytes of batches ask for.
///
/// # Errors
/// `StorageFull` when there is no room for it, else as the volume says.
pub(crate) fn make_segment(volume: &dyn Volume, header: &SegmentHeader, needed: u64) -> io::Result<Segment> {
    let least = (SEGMENT_HEADER + needed).max(SEGMENT_BYTES_MIN);
    let planned = SEGMENT_BYTES_MIN << header.number.min(16);
    let mut length = planned.min(SEGMENT_BYTES_MAX).max(least);
    let free = volume.space()?.free_bytes;
    while length > free / 2 && length > least {
        length = (length / 2).max(least);
    }
    if length > free {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let name = segment_name(header.number);
    let made = write_segment(volume, header, length);
    if made.is_err() {
        // What was written so far would keep room from those who need it.
        let _ = volume.remove(NEXT_SEGMENT);
    }
    let file = made?;
    volume.rename(NEXT_SEGMENT, &name)?;
    volume.sync_dir(JOURNAL_DIR)?;
    Ok(Segment { number: header.number, file, length })
}

fn write_segment(volume: &dyn Volume, header: &SegmentHeader, length: u64) -> io::Result<Arc<dyn VolumeFile>> {
    let file = volume.open(NEXT_SEGMENT, Open::Truncate)?;
    let zeroes = vec![0; ZEROES];
    let mut at = 0;
    while at < length {
        let portion = usize::try_from(length - at).unwrap_or(ZEROES).min(ZEROES);
        file.write_at(zeroes.get(..portion).unwrap_or(&zeroes), at)?;
        at += portion as u64;
        if at % (8 * ZEROES as u64) == 0 {
            file.sync_data()?;
        }
    }
    file.write_at(&header.encode(), 0)?;
    file.sync_data()?;
    Ok(file)
}

/// Removes what an interrupted [`make_segment`] left.
pub(crate) fn remove_unfinished(volume: &dyn Volume) -> io::Result<()> {
    volume.remove(NEXT_SEGMENT)
}

/// Segment files opened for reading, a bounded number of them.
pub(crate) struct SegmentFiles {
    volume: Arc<dyn Volume>,
    open: Mutex<HashMap<u32, Arc<dyn VolumeFile>>>,
}

impl SegmentFiles {
    pub(crate) fn new(volume: Arc<dyn Volume>) -> Self {
        Self { volume, open: Mutex::default() }
    }

    pub(crate) fn get(&self, number: u32) -> io::Result<Arc<dyn VolumeFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        if open.len() >= FILES_KEPT {
            open.clear();
        }
        let file = self.volume.open(&segment_name(number), Open::Read)?;
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }
}

/// What is read ahead first; who reads on gets twice as much each time.
const FIRST_AHEAD: usize = 16 * 1024;

/// Bytes of one file with read-ahead: `at(offset, n)` is a slice of the file.
pub(crate) struct Window {
    file: Arc<dyn VolumeFile>,
    ahead: usize,
    ahead_max: usize,
    start: u64,
    held: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn VolumeFile>, ahead_max: usize) -> Self {
        Self { file, ahead: ahead_max.min(FIRST_AHEAD), ahead_max, start: 0, held: Vec::new() }
    }

    /// `count` bytes from `offset`; fewer at the end of the file.
    pub(crate) fn at(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let inside = offset >= self.start && offset + count as u64 <= self.start + self.held.len() as u64;
        if !inside {
            self.held.resize(count.max(self.ahead), 0);
            let got = self.file.read_at(&mut self.held, offset)?;
            self.held.truncate(got);
            self.start = offset;
            self.ahead = (2 * self.ahead).min(self.ahead_max);
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.held.get(from..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }
}
