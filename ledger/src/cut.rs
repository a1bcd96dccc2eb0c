//! Where a journal can be cut for a copy while its owner goes on writing: everything before the cut is whole and stays as it is.

use std::sync::Arc;

use truc_proto::Digest;

use crate::{
    OpenError, Position, Replayed, StoreTag,
    frame::SEGMENT_HEADER,
    journal::{Anchors, End},
    merkle::{Frontier, leaf_hash},
    opening::{find_identity, io},
    scan::{Scan, ScanError},
    segment::{SegmentFiles, segment_name, segment_numbers},
    volume::{Open, Volume},
};

/// A cut through a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalCut {
    /// The journal's identity.
    pub journal_id: [u8; 16],
    /// Names of the segments' files inside the store, and how many bytes of each lie before the cut.
    pub segments: Vec<(String, u64)>,
    /// The position that the next record has.
    pub next_position: Position,
    /// Leaves before the cut.
    pub leaves: u64,
    /// Root of the tree of these leaves.
    pub root: Digest,
}

/// Reads the whole journal of the store in `volume` and cuts it behind its last whole batch. Takes no lock and changes nothing: the owner may be
/// at work on it. A copy of what lies before the cut opens as the journal did.
///
/// # Errors
/// [`OpenError`]: another store's, damaged, or not readable. What is damaged is not copied as if it were whole.
pub fn journal_cut(volume: &Arc<dyn Volume>, tag: &StoreTag) -> Result<JournalCut, OpenError> {
    read_journal(volume, tag, |_| None::<()>).map(|(cut, _)| cut)
}

/// The same, with what `take` makes of the records before the cut, the oldest first.
///
/// # Errors
/// As [`journal_cut`].
pub fn read_journal<T>(
    volume: &Arc<dyn Volume>,
    tag: &StoreTag,
    mut take: impl FnMut(Replayed<'_>) -> Option<T>,
) -> Result<(JournalCut, Vec<T>), OpenError> {
    let numbers = segment_numbers(volume.as_ref()).map_err(io("list the journal's folder"))?;
    let identity = find_identity(volume.as_ref(), tag, &numbers)?;
    let files = SegmentFiles::new(Arc::clone(volume));
    let (anchors, last) = (Anchors::default(), numbers.last().copied().unwrap_or_default());
    let start = End { offset: SEGMENT_HEADER, sequence: 0, position: 0, leaf: 0, chain: 0 };
    let mut scan = Scan::new(&files, &identity, &anchors, last, 0, start);
    let mut frontier = Frontier::default();
    let (mut vouching, mut taken) = (None, Vec::new());
    loop {
        let (mut grown, mut batch) = (frontier.clone(), Vec::new());
        while scan.whole_batch(&mut |record| {
            batch.extend(take(record));
            if let Some(leaf) = record.leaf {
                grown.push(leaf_hash(leaf), |_, _| {});
            }
            Ok(())
        })? {
            frontier.clone_from(&grown);
            taken.append(&mut batch);
        }
        match vouching {
            Some(sequence) if scan.end.sequence >= sequence => break,
            // It stood there before this was read again.
            Some(vouching) => {
                let (position, segment, offset) = (Position(scan.end.position), scan.segment, scan.end.offset);
                return Err(ScanError::Damaged { position, segment, offset, vouching }.into());
            }
            None => {}
        }
        // A header of a later batch says that what stands before it was on the device: it was written since, or something is damaged.
        vouching = scan.vouching_header(scan.end.sequence + 1)?;
        if vouching.is_none() {
            break;
        }
        scan.forget_window();
    }
    let mut segments = Vec::new();
    for number in 0..=scan.segment {
        let name = segment_name(number);
        let length = if number == scan.segment {
            scan.end.offset
        } else {
            let file = volume.open(&name, Open::Read).map_err(io("open a journal segment"))?;
            file.len().map_err(io("measure a journal segment"))?
        };
        segments.push((name, length));
    }
    let cut = JournalCut {
        journal_id: identity.journal,
        segments,
        next_position: Position(scan.end.position),
        leaves: frontier.size(),
        root: frontier.root(),
    };
    Ok((cut, taken))
}
