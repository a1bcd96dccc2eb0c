//! The bytes of a journal: segment headers, batch headers, frames. Offsets and little-endian numbers; no I/O.
//!
//! ```text
//! segment := header page (4096) batch* zero*
//! batch   := batch header (64) frame*
//! frame   := state length | MORE (u32) · leaf length or NO_LEAF (u32) · CRC-32C (u32) · state · leaf
//! ```
//! A frame's CRC continues that of the frame before it, the first frame's that of its batch header, and a batch header names the CRC at which the
//! batch before it ended: stale frames behind a torn one therefore never fit. A batch header is written only after the batch before it was synced,
//! so its mere existence vouches for everything before it.

use truc_proto::limits::RECORD_BYTES_MAX;

use crate::{Record, StoreTag};

/// Length of a segment's header page.
pub(crate) const SEGMENT_HEADER: u64 = SEGMENT_PAGE as u64;
/// The same, as a count of bytes in memory.
pub(crate) const SEGMENT_PAGE: usize = 4096;
/// Length of a batch header.
pub(crate) const BATCH_HEADER: usize = 64;
/// Length of a frame before its data.
pub(crate) const FRAME_HEADER: usize = 12;

const SEGMENT_MAGIC: &[u8; 8] = b"trucjnl1";
/// Larger than any frame's first number can be, so that a header in a frame's place is known for one.
pub(crate) const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"TRUB");
/// Set in the state length when the next frame belongs to the same submission: they are recovered all or none.
const MORE: u32 = 1 << 31;
const NO_LEAF: u32 = u32::MAX;

/// Who a segment belongs to and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: [u8; 16],
    pub(crate) number: u32,
    pub(crate) tag: StoreTag,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = self.journal.to_vec();
        body.extend_from_slice(&self.number.to_le_bytes());
        for part in [&self.tag.axis, &self.tag.lane, &self.tag.kind, &self.tag.id] {
            body.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(part.as_bytes().get(..255).unwrap_or(part.as_bytes()));
        }
        body.resize(SEGMENT_PAGE - 12, 0);
        [SEGMENT_MAGIC.as_slice(), &crc32c::crc32c(&body).to_le_bytes(), &body].concat()
    }

    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        let (magic, rest) = page.split_first_chunk::<8>()?;
        let (crc, body) = rest.split_first_chunk::<4>()?;
        if magic != SEGMENT_MAGIC || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (journal, rest) = body.split_first_chunk::<16>()?;
        let (number, mut rest) = rest.split_first_chunk::<4>()?;
        let mut part = || {
            let (length, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        let tag = StoreTag { axis: part()?, lane: part()?, kind: part()?, id: part()? };
        Some(Self { journal: *journal, number: u32::from_le_bytes(*number), tag })
    }
}

/// What precedes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) journal: [u8; 16],
    /// Number of the batch, from 0, without gaps.
    pub(crate) sequence: u64,
    pub(crate) first_position: u64,
    pub(crate) first_leaf: u64,
    /// The CRC at which the batch before this one ended.
    pub(crate) chain_before: u32,
    /// Records in it.
    pub(crate) count: u32,
    /// Bytes of its frames.
    pub(crate) bytes: u32,
    /// Over the header itself; the first frame's CRC continues it.
    pub(crate) crc: u32,
}

impl BatchHeader {
    /// The bytes, with the CRC computed; tells the CRC too.
    pub(crate) fn encode(&self) -> ([u8; BATCH_HEADER], u32) {
        let mut out = [0; BATCH_HEADER];
        let fields: [&[u8]; 7] = [
            &self.journal,
            &self.sequence.to_le_bytes(),
            &self.first_position.to_le_bytes(),
            &self.first_leaf.to_le_bytes(),
            &self.chain_before.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.bytes.to_le_bytes(),
        ];
        let (start, body) = out.split_at_mut(8);
        let mut at = 0;
        for field in fields {
            if let Some(slot) = body.get_mut(at..at + field.len()) {
                slot.copy_from_slice(field);
            }
            at += field.len();
        }
        let crc = crc32c::crc32c(body);
        start.copy_from_slice(&[BATCH_MAGIC.to_le_bytes(), crc.to_le_bytes()].concat());
        (out, crc)
    }

    /// Reads a header if there is an undamaged one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..BATCH_HEADER)?);
        let (magic, crc) = (fields.u32()?, fields.u32()?);
        if magic != BATCH_MAGIC || crc32c::crc32c(fields.0) != crc {
            return None;
        }
        Some(Self {
            journal: fields.take()?,
            sequence: fields.u64()?,
            first_position: fields.u64()?,
            first_leaf: fields.u64()?,
            chain_before: fields.u32()?,
            count: fields.u32()?,
            bytes: fields.u32()?,
            crc,
        })
    }
}

/// Little-endian numbers off the front of some bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What precedes a record's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) state: usize,
    pub(crate) leaf: Option<usize>,
    /// The next frame belongs to the same submission.
    pub(crate) more: bool,
    pub(crate) crc: u32,
}

impl FrameHeader {
    /// Reads a header whose lengths a record may have.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (state, leaf, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let header = Self {
            state: (state & !MORE) as usize,
            leaf: (leaf != NO_LEAF).then_some(leaf as usize),
            more: state & MORE != 0,
            crc,
        };
        (header.state <= RECORD_BYTES_MAX && header.leaf.unwrap_or(0) <= RECORD_BYTES_MAX).then_some(header)
    }

    /// Length of the data that follows.
    pub(crate) fn data(&self) -> usize {
        self.state + self.leaf.unwrap_or(0)
    }

    /// Whether the whole frame, as read, continues the chain.
    pub(crate) fn holds(&self, chain: u32, frame: &[u8]) -> bool {
        let (Some(lengths), Some(data)) = (frame.get(..8), frame.get(FRAME_HEADER..)) else { return false };
        crc32c::crc32c_append(crc32c::crc32c_append(chain, lengths), data) == self.crc
    }
}

/// Appends a record's frame to `out` and tells the chain's next value. `record` is within `RECORD_BYTES_MAX`.
pub(crate) fn encode_frame(record: &Record, more: bool, chain: u32, out: &mut Vec<u8>) -> u32 {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is within RECORD_BYTES_MAX");
    let leaf = record.leaf.as_deref();
    let lengths = [length(&record.state) | if more { MORE } else { 0 }, leaf.map_or(NO_LEAF, length)];
    let mut head = [0; 8];
    let (first, second) = head.split_at_mut(4);
    first.copy_from_slice(&lengths.first().copied().unwrap_or(0).to_le_bytes());
    second.copy_from_slice(&lengths.last().copied().unwrap_or(0).to_le_bytes());
    let crc = [head.as_slice(), &record.state, leaf.unwrap_or_default()].into_iter().fold(chain, crc32c::crc32c_append);
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&record.state);
    out.extend_from_slice(leaf.unwrap_or_default());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_any_flipped_bit_is_seen() {
        let tag = StoreTag { axis: "a".into(), lane: "l".into(), kind: "k".into(), id: "ID".into() };
        let segment = SegmentHeader { journal: [3; 16], number: 7, tag };
        let page = segment.encode();
        assert_eq!((page.len() as u64, SegmentHeader::decode(&page)), (SEGMENT_HEADER, Some(segment)));
        let mut batch = BatchHeader {
            journal: [1; 16],
            sequence: 2,
            first_position: 3,
            first_leaf: 4,
            chain_before: 5,
            count: 6,
            bytes: 7,
            crc: 0,
        };
        let (bytes, crc) = batch.encode();
        batch.crc = crc;
        assert_eq!(BatchHeader::decode(&bytes), Some(batch));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_fits_only_behind_the_one_it_was_written_behind() {
        let mut out = Vec::new();
        let record = Record::with_leaf(b"state".to_vec(), b"leaf".to_vec());
        let crc = encode_frame(&record, true, 42, &mut out);
        let header = FrameHeader::decode(&out).unwrap();
        assert_eq!((header.state, header.leaf, header.more, header.crc), (5, Some(4), true, crc));
        assert!(header.holds(42, &out) && !header.holds(43, &out));
        assert!(FrameHeader::decode(&BATCH_MAGIC.to_le_bytes().repeat(3)).is_none());
    }
}
