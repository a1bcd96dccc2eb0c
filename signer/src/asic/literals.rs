//! DEFLATE without matches (RFC 1951): one block of literals under a Huffman code of its own, or one stored block, whichever is shorter.
//!
//! For what a search for matches cannot shorten: packed attachments, and their base64, whose letters carry six bits in eight. Several times as
//! fast as the search, and base64 becomes a quarter shorter. Every block here begins and ends on a byte.

/// Codes of literals and lengths that are described: 256 literals and the end of the block.
const LITERALS: usize = 257;
const END_OF_BLOCK: usize = 256;
/// No code may be longer (RFC 1951 3.2.7).
const CODE_BITS_MAX: u8 = 15;
/// Codes of code lengths, and their longest.
const LENGTH_CODES: usize = 19;
const LENGTH_BITS_MAX: u8 = 7;
/// The order in which their lengths are written.
const LENGTH_ORDER: [usize; LENGTH_CODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Before every stored block: its header's three bits fill a byte here, then length and its complement.
const STORED_HEAD: usize = 5;

/// A Huffman code: per symbol its length (0: it does not occur) and its bits, the first one lowest.
struct Code<const N: usize> {
    bits: [u16; N],
    lengths: [u8; N],
}

/// How a piece is written without matches.
pub(super) struct Plan {
    /// None: stored.
    code: Option<Box<Code<LITERALS>>>,
    /// Bytes it takes.
    pub(super) length: usize,
}

impl Plan {
    /// The shorter way for `piece`, which is at most 65,535 bytes long.
    pub(super) fn of(piece: &[u8]) -> Self {
        let mut counts = [0_u32; LITERALS];
        for byte in piece {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
        if let Some(end) = counts.get_mut(END_OF_BLOCK) {
            *end = 1;
        }
        let lengths = code_lengths(&counts, CODE_BITS_MAX);
        let body: usize =
            counts.iter().zip(&lengths).map(|(count, length)| *count as usize * usize::from(*length)).sum();
        // Header, code lengths at five bits or so each, and the empty block behind.
        let (coded, stored) = (body / 8 + LITERALS * 5 / 8 + 16, piece.len() + STORED_HEAD);
        if coded < stored {
            Self { code: Some(Box::new(Code::new(lengths))), length: coded }
        } else {
            Self { code: None, length: stored }
        }
    }

    /// Appends the block to `out`, which must end on a byte of the stream.
    pub(super) fn write(&self, piece: &[u8], out: &mut Vec<u8>) {
        let mut bits = Bits { out, held: 0, count: 0 };
        match &self.code {
            Some(code) => {
                code.describe(&mut bits);
                code.put_all(piece, &mut bits);
                bits.stored(&[]); // ends on a byte
            }
            None => bits.stored(piece),
        }
    }
}

impl<const N: usize> Code<N> {
    /// The canonical code of these lengths (RFC 1951 3.2.2).
    fn new(lengths: [u8; N]) -> Self {
        let (mut bits, mut next) = ([0; N], 0_u16);
        for length in 1..=CODE_BITS_MAX {
            next <<= 1;
            for (slot, _) in bits.iter_mut().zip(&lengths).filter(|(_, own)| **own == length) {
                *slot = next.reverse_bits() >> (16 - length);
                next += 1;
            }
        }
        Self { bits, lengths }
    }

    fn put(&self, symbol: usize, to: &mut Bits<'_>) {
        let (Some(bits), Some(length)) = (self.bits.get(symbol), self.lengths.get(symbol)) else { return };
        to.put(u64::from(*bits), u32::from(*length));
    }
}

impl Code<LITERALS> {
    /// The block's header: which code follows. Two distance codes of one bit stand there unused, since some readers want any.
    fn describe(&self, to: &mut Bits<'_>) {
        let lengths = || self.lengths.iter().copied().chain([1, 1]);
        let mut counts = [0; LENGTH_CODES];
        for length in lengths() {
            if let Some(count) = counts.get_mut(usize::from(length)) {
                *count += 1;
            }
        }
        let code = Code::new(code_lengths(&counts, LENGTH_BITS_MAX));
        to.put(0b100, 3); // not the last block; code of its own
        to.put(0, 5); // 257 literals and lengths
        to.put(1, 5); // 2 distances
        to.put(LENGTH_CODES as u64 - 4, 4);
        for symbol in LENGTH_ORDER {
            to.put(u64::from(code.lengths.get(symbol).copied().unwrap_or(0)), 3);
        }
        lengths().for_each(|length| code.put(usize::from(length), to));
    }

    fn put_all(&self, piece: &[u8], to: &mut Bits<'_>) {
        for byte in piece {
            self.put(usize::from(*byte), to);
        }
        self.put(END_OF_BLOCK, to);
    }
}

/// Bits of a DEFLATE stream: the first goes lowest.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Appends the lowest `count` bits, at most 16 of them; those above are zero.
    fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.held.to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// A stored block, at most 65,535 bytes (RFC 1951 3.2.4).
    fn stored(&mut self, bytes: &[u8]) {
        self.put(0, 3);
        self.put(0, self.count.wrapping_neg() % 8);
        while self.count > 0 {
            let [first, ..] = self.held.to_le_bytes();
            self.out.push(first);
            self.held >>= 8;
            self.count -= 8;
        }
        let length = u16::try_from(bytes.len()).expect("a piece is shorter than a stored block may be");
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }
}

/// Lengths of a Huffman code for symbols that occur so often, none above `max`. At least one symbol occurs; one alone gets one bit.
fn code_lengths<const N: usize>(counts: &[u32; N], max: u8) -> [u8; N] {
    let mut counts = *counts;
    loop {
        let lengths = huffman(&counts);
        if lengths.iter().all(|length| *length <= max) {
            return lengths;
        }
        // Flatter counts give shorter codes; soon all that occur are alike.
        counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = (*count >> 2) + 1);
    }
}

/// The two rarest are joined, again and again: leaves sorted once, joints come out in order by themselves.
fn huffman<const N: usize>(counts: &[u32; N]) -> [u8; N] {
    let mut leaves: Vec<(u32, usize)> = counts.iter().copied().zip(0..).filter(|(count, _)| *count > 0).collect();
    leaves.sort_unstable();
    // Per tree: its weight and the symbols in it are not kept; parents are, and depths follow from the top.
    let total = (2 * leaves.len()).saturating_sub(1);
    let (mut weights, mut parents) = (Vec::with_capacity(total), vec![0_usize; total]);
    weights.extend(leaves.iter().map(|(count, _)| u64::from(*count)));
    let (mut leaf, mut joint) = (0, leaves.len());
    while weights.len() < total {
        let mut weight = 0;
        for _ in 0..2 {
            let next_leaf = weights.get(leaf).filter(|_| leaf < leaves.len());
            let next_joint = weights.get(joint);
            let takes_leaf = next_leaf.is_some_and(|own| next_joint.is_none_or(|other| own <= other));
            let taken = if takes_leaf { &mut leaf } else { &mut joint };
            weight += weights.get(*taken).copied().unwrap_or(0);
            if let Some(parent) = parents.get_mut(*taken) {
                *parent = weights.len();
            }
            *taken += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0_u8; total];
    for node in (0..total.saturating_sub(1)).rev() {
        let above = parents.get(node).and_then(|parent| depths.get(*parent)).copied().unwrap_or(0);
        if let Some(depth) = depths.get_mut(node) {
            *depth = above + 1;
        }
    }
    let mut lengths = [0; N];
    for ((_, symbol), depth) in leaves.iter().zip(&depths) {
        if let Some(length) = lengths.get_mut(*symbol) {
            *length = (*depth).max(1);
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What an independent reader makes of the block, followed by an empty last one.
    fn inflated(piece: &[u8]) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let plan = Plan::of(piece);
        plan.write(piece, &mut out);
        let written = out.len();
        assert!(written <= plan.length, "{written} of {} planned for {}", plan.length, piece.len());
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        let mut plain = Vec::new();
        flate2::read::DeflateDecoder::new(out.as_slice()).read_to_end(&mut plain).unwrap();
        (plain, written)
    }

    fn noise(length: usize) -> impl Iterator<Item = u32> {
        let mut state = 1_u32;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        })
        .take(length)
    }

    #[test]
    fn any_piece_comes_back() {
        let bytes =
            |length, below: u32| -> Vec<u8> { noise(length).map(|n| u8::try_from(n % below).unwrap()).collect() };
        for length in [0, 1, 2, 3, 100, 4_096, 32_768, 65_535] {
            for below in [1, 2, 3, 64, 255, 256] {
                let piece = bytes(length, below);
                assert_eq!(inflated(&piece).0, piece, "{length} below {below}");
            }
        }
    }

    #[test]
    fn counts_that_grow_like_fibonacci_stay_within_the_longest_code() {
        let (mut piece, mut pair) = (Vec::new(), (1_usize, 1_usize));
        for symbol in 0..22_u8 {
            piece.resize(piece.len() + pair.0, symbol);
            pair = (pair.1, pair.0 + pair.1);
        }
        piece.truncate(65_535);
        assert_eq!(inflated(&piece).0, piece);
    }

    #[test]
    fn base64_is_a_quarter_shorter_and_noise_no_longer() {
        let letters: Vec<u8> = noise(32_768).map(|n| b'0' + u8::try_from(n % 64).unwrap()).collect();
        let (_, written) = inflated(&letters);
        assert!(written < letters.len() * 77 / 100, "{written}");
        let dense: Vec<u8> = noise(32_768).map(|n| u8::try_from(n % 256).unwrap()).collect();
        assert!(inflated(&dense).1 <= dense.len() + STORED_HEAD);
    }
}
