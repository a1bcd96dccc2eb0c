//! The bytes under the XML parser: counted, bounded per piece, peekable, UTF-16 turned into UTF-8.

use std::io::{self, BufRead, Read};

use super::error::Position;
use crate::limits::PACKET_BYTES_MAX;

const BUFFER_BYTES: usize = 64 * 1024;

/// Why the source stopped by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The piece's budget is used up.
    Budget,
    /// The packet is too large.
    Total,
    /// Broken UTF-16.
    Utf16,
}

pub(super) struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    eof: bool,
    /// Bytes the current piece may still take.
    budget: usize,
    pub(super) stop: Option<Stop>,
    pub(super) position: Position,
    /// Present when consumed bytes are to be copied on.
    pub(super) record: Option<Vec<u8>>,
    utf16: Option<Utf16>,
    taken: u64,
}

struct Utf16 {
    big_endian: bool,
    odd: Option<u8>,
    high: Option<u16>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        let position = Position { byte: 0, line: 1, column: 1 };
        let buffer = Vec::with_capacity(BUFFER_BYTES / 4);
        let (start, eof, budget, taken) = (0, false, usize::MAX, 0);
        Self { inner, buffer, start, eof, budget, stop: None, position, record: None, utf16: None, taken }
    }

    /// Looks for a byte order mark of UTF-16; call first.
    pub(super) fn detect(&mut self) -> io::Result<()> {
        let big_endian = match self.peek(2)? {
            [0xFE, 0xFF] => true,
            [0xFF, 0xFE] => false,
            _ => return Ok(()),
        };
        let raw = self.buffer.split_off(2);
        self.buffer.clear();
        self.utf16 = Some(Utf16 { big_endian, odd: None, high: None });
        self.append(&raw)
    }

    pub(super) fn is_utf16(&self) -> bool {
        self.utf16.is_some()
    }

    /// Grants the next piece so many bytes.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.budget = bytes;
    }

    /// The next `wanted` bytes, or fewer at the end.
    pub(super) fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while !self.eof && self.buffer.len() - self.start < wanted {
            self.refill()?;
        }
        let held = self.buffer.get(self.start..).unwrap_or_default();
        Ok(held.get(..wanted).unwrap_or(held))
    }

    /// What was consumed since the last call, for copying on.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        self.record.replace(Vec::new()).unwrap_or_default()
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let mut raw = [0; BUFFER_BYTES / 4];
        let read = loop {
            match self.inner.read(&mut raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.taken = self.taken.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if self.taken > PACKET_BYTES_MAX {
            return Err(self.stopped(Stop::Total));
        }
        self.eof = read == 0;
        if self.eof && self.utf16.as_ref().is_some_and(|utf16| utf16.odd.is_some() || utf16.high.is_some()) {
            return Err(self.stopped(Stop::Utf16));
        }
        self.append(raw.get(..read).unwrap_or_default())
    }

    fn append(&mut self, raw: &[u8]) -> io::Result<()> {
        let Some(utf16) = &mut self.utf16 else {
            self.buffer.extend_from_slice(raw);
            return Ok(());
        };
        let (bytes, buffer) = (utf16.odd.take().into_iter().chain(raw.iter().copied()), &mut self.buffer);
        let mut held = None;
        for byte in bytes {
            let Some(first) = held.take() else {
                held = Some(byte);
                continue;
            };
            let pair = [first, byte];
            let unit = if utf16.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
            let units = [utf16.high.take(), Some(unit)];
            if units == [None, Some(unit)] && (0xD800..0xDC00).contains(&unit) {
                utf16.high = Some(unit);
                continue;
            }
            for decoded in char::decode_utf16(units.into_iter().flatten()) {
                let Ok(character) = decoded else {
                    self.stop = Some(Stop::Utf16);
                    return Err(io::Error::other("not UTF-16"));
                };
                buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        utf16.odd = held;
        Ok(())
    }

    fn stopped(&mut self, stop: Stop) -> io::Error {
        self.stop = Some(stop);
        io::Error::other("the packet's source stopped at a bound")
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // Four bytes, so that a byte order mark is never seen in halves.
        if self.peek(4)?.is_empty() {
            return Ok(&[]);
        }
        if self.budget == 0 {
            return Err(self.stopped(Stop::Budget));
        }
        let held = self.buffer.get(self.start..).unwrap_or_default();
        Ok(held.get(..self.budget).unwrap_or(held))
    }

    fn consume(&mut self, amount: usize) {
        let end = self.start.saturating_add(amount).min(self.buffer.len());
        let consumed = self.buffer.get(self.start..end).unwrap_or_default();
        advance(&mut self.position, consumed);
        if let Some(record) = &mut self.record {
            record.extend_from_slice(consumed);
        }
        self.budget = self.budget.saturating_sub(consumed.len());
        self.start = end;
    }
}

fn advance(position: &mut Position, consumed: &[u8]) {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    position.byte += count(consumed.len());
    let mut line = consumed;
    if let Some(last) = consumed.iter().rposition(|b| *b == b'\n') {
        position.line += count(consumed.iter().filter(|b| **b == b'\n').count());
        position.column = 1;
        line = consumed.get(last + 1..).unwrap_or_default();
    }
    // Continuation bytes of UTF-8 do not start a character.
    position.column += count(line.iter().filter(|b| **b & 0xC0 != 0x80).count());
}
