//! Lists of positions: to which of them does a record belong? Made for words of documents: lists are many, some hold nearly every record, most hold a
//! few, and what is asked for is what several have in common, newest first.
//!
//! The newest part of each list is in memory ([`Recent`]) and is found again from the journal at open. When it has grown it goes to the disk in blocks
//! of up to [`BLOCK_POSITIONS`], so that a word in every tenth document costs one entry of sled for thousands of documents.
//! A block's key is its list and its smallest position, inverted: the first key from `(list, !p)` on is the block that may hold the largest position up
//! to `p`. Blocks of a list do not overlap, and a block written twice after a crash is the same block.

use std::{collections::BTreeMap, sync::PoisonError};

use super::{
    Common,
    sled_driver::{Bad, View},
};
use crate::Position;

/// First byte of a block's key.
const BLOCK: u8 = 2;
/// Positions in one block.
const BLOCK_POSITIONS: usize = 256;
/// Positions in memory, before they go to the disk: about 2 MB.
const KEPT_POSITIONS: usize = 131_072;
/// Records since the last block, at most: what is read again at open.
const KEPT_RECORDS: u64 = 32_768;

/// The newest part of every list.
#[derive(Default)]
pub(super) struct Recent {
    lists: BTreeMap<u64, Vec<u64>>,
    count: usize,
}

impl Recent {
    /// Positions come in rising order.
    pub(super) fn add(&mut self, list: u64, position: u64) {
        let positions = self.lists.entry(list).or_default();
        if positions.last().is_none_or(|last| *last < position) {
            positions.push(position);
            self.count += 1;
        }
    }

    /// Whether it is time for the disk, so many records after the last time.
    pub(super) fn is_full(&self, records: u64) -> bool {
        self.count >= KEPT_POSITIONS || records >= KEPT_RECORDS
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything, as entries of the disk, in the order of their keys.
    pub(super) fn blocks(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let of_list = |(list, positions): (&u64, &Vec<u64>)| {
            let blocks: Vec<_> = positions.chunks(BLOCK_POSITIONS).filter_map(|block| encode(*list, block)).collect();
            blocks.into_iter().rev()
        };
        self.lists.iter().flat_map(of_list).collect()
    }
}

fn key(list: u64, smallest: u64) -> Vec<u8> {
    [&[BLOCK], list.to_be_bytes().as_slice(), &(!smallest).to_be_bytes()].concat()
}

/// The value holds the distance of each position from the one before it; seven bits a byte, the lowest first.
pub(super) fn encode(list: u64, block: &[u64]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut before = *block.first()?;
    let key = key(list, before);
    let mut value = Vec::with_capacity(block.len() * 2);
    for position in block.iter().skip(1) {
        let mut distance = position - before;
        before = *position;
        while distance >= 0x80 {
            value.push(distance.to_le_bytes()[0] | 0x80);
            distance >>= 7;
        }
        value.push(distance.to_le_bytes()[0]);
    }
    Some((key, value))
}

/// The positions of a block, rising. None: it is no block of this list.
pub(super) fn decode(list: u64, key: &[u8], value: &[u8]) -> Option<Vec<u64>> {
    let key = key.strip_prefix(&[BLOCK])?.strip_prefix(&list.to_be_bytes())?;
    let mut last = !u64::from_be_bytes(key.try_into().ok()?);
    let mut positions = vec![last];
    let (mut distance, mut shift) = (0_u64, 0_u32);
    for byte in value {
        distance |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.checked_add(distance)?;
            positions.push(last);
            (distance, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(positions)
}

/// One list, read from the newest position down.
struct Cursor<'a> {
    db: &'a sled::Db,
    list: u64,
    recent: Vec<u64>,
    /// The block read last holds the answer for everything from its first position up to where it was asked for.
    block: Vec<u64>,
    /// Where it stands: the largest position up to what was asked last. None before the first question.
    at: Option<Option<u64>>,
}

impl<'a> Cursor<'a> {
    /// What is in memory is looked at before the disk: a block is on the disk before it leaves memory.
    fn new(db: &'a sled::Db, recent: &Recent, list: u64) -> Self {
        let recent = recent.lists.get(&list).cloned().unwrap_or_default();
        Self { db, list, recent, block: Vec::new(), at: None }
    }

    /// The largest position up to `limit`, which never rises from call to call.
    fn seek(&mut self, limit: u64, blocks: &mut usize) -> Result<Option<u64>, Bad> {
        match self.at {
            Some(None) => return Ok(None),
            Some(Some(at)) if at <= limit => return Ok(Some(at)),
            _ => {}
        }
        let newest = up_to(&self.recent, limit);
        let found = match newest {
            Some(position) => Some(position),
            None => self.on_disk(limit, blocks)?,
        };
        self.at = Some(found);
        Ok(found)
    }

    fn on_disk(&mut self, limit: u64, blocks: &mut usize) -> Result<Option<u64>, Bad> {
        if let Some(position) = up_to(&self.block, limit) {
            return Ok(Some(position));
        }
        *blocks += 1;
        let Some(entry) = self.db.range(key(self.list, limit)..).next() else { return Ok(None) };
        let (found, value) = entry?;
        let Some(prefix) = found.get(..9) else { return Ok(None) };
        if prefix != key(self.list, limit).get(..9).unwrap_or_default() {
            return Ok(None); // another list, or no list
        }
        self.block = decode(self.list, &found, &value).ok_or(Bad::Content)?;
        Ok(up_to(&self.block, limit))
    }
}

fn up_to(positions: &[u64], limit: u64) -> Option<u64> {
    positions.partition_point(|position| *position <= limit).checked_sub(1).and_then(|at| positions.get(at)).copied()
}

/// How much is looked for, and how hard.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Most positions.
    pub hits: usize,
    /// Most blocks read from the disk.
    pub blocks: usize,
}

/// What every group of lists has in common, a group having what any of its lists has.
pub(super) fn common(view: &View, groups: &[Vec<u64>], below: Position, effort: Effort) -> Result<Common, Bad> {
    let mut groups: Vec<Vec<Cursor<'_>>> = {
        let recent = view.recent.read().unwrap_or_else(PoisonError::into_inner);
        let cursors = |lists: &Vec<u64>| lists.iter().map(|list| Cursor::new(&view.db, &recent, *list)).collect();
        groups.iter().map(cursors).collect()
    };
    let mut found = Common { positions: Vec::new(), next: None, blocks: 0 };
    let Some(mut limit) = below.0.checked_sub(1).filter(|_| !groups.is_empty()) else { return Ok(found) };
    loop {
        let mut lowest = limit;
        for group in &mut groups {
            let mut best = None;
            for cursor in group {
                best = best.max(cursor.seek(lowest, &mut found.blocks)?);
            }
            let Some(best) = best else { return Ok(found) };
            lowest = best;
        }
        // Above `lowest` nothing is in all of them.
        if lowest == limit {
            found.positions.push(Position(lowest));
            match lowest.checked_sub(1) {
                Some(next) => limit = next,
                None => return Ok(found),
            }
        } else {
            limit = lowest;
        }
        if found.positions.len() >= effort.hits || found.blocks >= effort.blocks {
            found.next = Some(Position(limit + 1));
            return Ok(found);
        }
    }
}
