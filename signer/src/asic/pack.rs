//! How an entry's bytes are packed: by a compressor that looks for matches, or without it where that gains nothing.

use std::io::{self, Write};

use flate2::{Compress, FlushCompress, Status};
use truc_proto::Hasher;

use super::literals::Plan;

/// Shorter pieces are not worth a block of their own, nor do they tell much.
const TRIED_BYTES_MIN: usize = 4 * 1024;
/// How much goes the way that one piece at its beginning went best.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A sink that knows how much went through it, and its digest.
pub(super) struct Counted<W> {
    pub(super) sink: W,
    pub(super) length: u64,
    pub(super) hasher: Hasher,
}

impl<W: Write> Counted<W> {
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += u64::try_from(bytes.len()).expect("usize has at most 64 bits");
        Ok(())
    }
}

/// How an entry is packed. Most of what travels is packed already, or is base64 of such: a search for matches costs the most there and finds
/// nothing. So one piece in a window is tried both ways, and the rest of the window goes the better one.
#[derive(Default)]
pub(super) struct Packing {
    /// Bytes of the window that are still to come.
    ahead: usize,
    /// Without matches.
    plain: bool,
    /// Scratch for a block without matches.
    block: Vec<u8>,
}

impl Packing {
    /// Packs the next piece of the entry; at most 65,535 bytes.
    pub(super) fn pack<W: Write>(
        &mut self,
        compress: &mut Compress,
        piece: &[u8],
        packed: &mut [u8],
        sink: &mut Counted<W>,
    ) -> io::Result<()> {
        let tried = piece.len() >= TRIED_BYTES_MIN && self.ahead == 0;
        self.ahead = if tried { WINDOW_BYTES } else { self.ahead.saturating_sub(piece.len()) };
        if !tried && (!self.plain || piece.len() < TRIED_BYTES_MIN) {
            return deflate(compress, piece, FlushCompress::None, packed, sink);
        }
        let plan = Plan::of(piece);
        if tried {
            deflate(compress, &[], FlushCompress::Sync, packed, sink)?;
            let before = sink.length;
            deflate(compress, piece, FlushCompress::Sync, packed, sink)?;
            self.plain = sink.length - before > u64::try_from(plan.length).map_err(io::Error::other)?;
            return Ok(());
        }
        // A full flush ends on a byte and makes the compressor forget what it saw, so no later match can reach over the block
        // it does not know of.
        deflate(compress, &[], FlushCompress::Full, packed, sink)?;
        self.block.clear();
        plan.write(piece, &mut self.block);
        sink.write_all(&self.block)
    }
}

/// Feeds `input` to the compressor and its output to the sink, until nothing is left that this flush brings out.
pub(super) fn deflate<W: Write>(
    compress: &mut Compress,
    mut input: &[u8],
    flush: FlushCompress,
    packed: &mut [u8],
    sink: &mut Counted<W>,
) -> io::Result<()> {
    loop {
        let (taken_before, made_before) = (compress.total_in(), compress.total_out());
        let status = compress.compress(input, packed, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(compress.total_in() - taken_before).map_err(io::Error::other)?;
        let made = usize::try_from(compress.total_out() - made_before).map_err(io::Error::other)?;
        let (made_bytes, room) = packed.split_at(made);
        sink.write_all(made_bytes)?;
        input = input.split_at(taken).1;
        let done = match flush {
            FlushCompress::None => input.is_empty(),
            FlushCompress::Finish => status == Status::StreamEnd,
            // zlib.h: repeat a flush while it fills the whole output.
            _ => input.is_empty() && !room.is_empty(),
        };
        if done {
            return Ok(());
        }
    }
}

/// Puts `piece` into the stream as a stored block (RFC 1951 3.2.4). A full flush before it ends on a byte and makes the
/// compressor forget what it saw, so no later match can reach over the block it does not know of.
pub(super) fn store<W: Write>(
    compress: &mut Compress,
    piece: &[u8],
    packed: &mut [u8],
    sink: &mut Counted<W>,
) -> io::Result<()> {
    deflate(compress, &[], FlushCompress::Full, packed, sink)?;
    let len = u16::try_from(piece.len()).map_err(io::Error::other)?;
    let [l0, l1] = len.to_le_bytes();
    let [n0, n1] = (!len).to_le_bytes();
    sink.write_all(&[0, l0, l1, n0, n1])?;
    sink.write_all(piece)
}
