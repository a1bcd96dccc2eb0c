//! Sealed chunks in, plaintext out: only what is authenticated is given out.
//!
//! That a chunk opened says it is the sender's and in its place. That the *stream* is whole is known at its end only, so
//! what was made of the plaintext must wait for [`Opener::finish`].

use std::io::{self, Read};

use truc_proto::Digest;
use zeroize::{Zeroize, Zeroizing};

use super::{Cipher, Damage, FileKey, StreamError, StreamParams, StreamSummary, TAG_BYTES, Tally, make_room};

/// Bytes asked of a source at once.
const READ_BYTES: usize = 64 * 1024;

/// Opens a stream that is pushed into it piece by piece; for callers that must not block.
pub struct Opener {
    cipher: Cipher,
    sealed_chunk_bytes: usize,
    /// Sealed bytes of the chunk that is arriving; opened only when it is known whether another follows.
    chunk: Vec<u8>,
    /// Number of the chunk that is arriving; `None` after the last number was used.
    counter: Option<u32>,
    failed: bool,
    tally: Tally,
}

impl Opener {
    /// Starts opening. `preamble` is the SHA-256 of the preamble's bytes as received.
    #[must_use]
    pub fn new(key: &FileKey, params: StreamParams, preamble: Digest) -> Self {
        Self::starting_at(key, params, preamble, 0)
    }

    pub(super) fn starting_at(key: &FileKey, params: StreamParams, preamble: Digest, counter: u32) -> Self {
        let sealed_chunk_bytes = params.chunk_bytes() + TAG_BYTES;
        Self {
            cipher: Cipher::new(key, params, preamble),
            sealed_chunk_bytes,
            chunk: Vec::new(),
            counter: Some(counter),
            failed: false,
            tally: Tally::default(),
        }
    }

    /// Takes the next sealed bytes and appends to `plain` what they authenticate. Grows `plain` by at most `sealed.len()`
    /// and one chunk.
    ///
    /// # Errors
    /// [`StreamError::NotAuthentic`]; `plain` then holds the chunks before the damage only. After an error: [`StreamError::Spent`].
    pub fn push(&mut self, mut sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), StreamError> {
        self.usable()?;
        while !sealed.is_empty() {
            if self.chunk.len() == self.sealed_chunk_bytes {
                self.open_chunk(false, plain)?;
            }
            let (taken, rest) = sealed.split_at(sealed.len().min(self.sealed_chunk_bytes - self.chunk.len()));
            self.tally.sealed(taken);
            self.chunk.extend_from_slice(taken);
            sealed = rest;
        }
        Ok(())
    }

    /// Says that nothing follows: opens the last chunk. Only now is the stream known to be whole.
    ///
    /// # Errors
    /// [`StreamError::NotAuthentic`] when the stream was cut or its end altered.
    pub fn finish(mut self, plain: &mut Vec<u8>) -> Result<StreamSummary, StreamError> {
        self.end(plain)?;
        Ok(self.tally.finish())
    }

    fn end(&mut self, plain: &mut Vec<u8>) -> Result<(), StreamError> {
        self.usable()?;
        self.open_chunk(true, plain)
    }

    fn usable(&self) -> Result<(), StreamError> {
        if self.failed { Err(StreamError::Spent) } else { Ok(()) }
    }

    fn open_chunk(&mut self, last: bool, plain: &mut Vec<u8>) -> Result<(), StreamError> {
        // The damage that can be seen without the key first.
        let counter = self.counter.ok_or(StreamError::TooLong).inspect_err(|_| self.failed = true)?;
        if self.chunk.len() < TAG_BYTES {
            let nothing_since_a_chunk = self.chunk.is_empty() && counter > 0;
            let cause = if nothing_since_a_chunk { Damage::CutBetweenChunks } else { Damage::CutInsideChunk };
            return Err(self.fail(counter, cause));
        }
        if last && self.chunk.len() == TAG_BYTES && counter > 0 {
            return Err(self.fail(counter, Damage::EmptyLastChunk));
        }
        let before = plain.len();
        make_room(plain, self.chunk.len());
        plain.extend_from_slice(&self.chunk);
        let (_, chunk) = plain.split_at_mut(before);
        let Some(opened) = self.cipher.open(counter, last, chunk) else {
            chunk.zeroize();
            plain.truncate(before);
            let cause = self.diagnose(counter, last);
            return Err(self.fail(counter, cause));
        };
        self.tally.plain(opened);
        plain.truncate(plain.len() - TAG_BYTES);
        self.chunk.clear();
        self.counter = counter.checked_add(1);
        Ok(())
    }

    fn fail(&mut self, counter: u32, cause: Damage) -> StreamError {
        self.failed = true;
        StreamError::NotAuthentic { chunk: u64::from(counter), cause }
    }

    /// The sealed bytes of the chunk are still here: would it open with the other flag?
    fn diagnose(&mut self, counter: u32, last: bool) -> Damage {
        let opens = self.cipher.open(counter, !last, &mut self.chunk).is_some();
        self.chunk.zeroize();
        match (opens, last) {
            (true, true) => Damage::CutBetweenChunks,
            (true, false) => Damage::Extended,
            (false, true) if self.chunk_was_short() => Damage::CutInsideChunk,
            (false, _) => Damage::Altered,
        }
    }

    /// Whether the last chunk was not full: altered or cut cannot be told apart then, and cut is far more common.
    fn chunk_was_short(&self) -> bool {
        let whole = u64::try_from(self.sealed_chunk_bytes).unwrap_or(u64::MAX);
        !self.tally.sealed_len.is_multiple_of(whole)
    }
}

/// Reads the plaintext of a sealed stream. Holds two chunks. Errors are [`io::ErrorKind::InvalidData`] with a
/// [`StreamError`] inside, or the source's own.
pub struct StreamOpener<R: Read> {
    source: R,
    opener: Opener,
    buffer: Vec<u8>,
    plain: Zeroizing<Vec<u8>>,
    given: usize,
    ended: bool,
}

impl<R: Read> StreamOpener<R> {
    /// Starts opening what `source` gives up to its end.
    pub fn new(key: &FileKey, params: StreamParams, preamble: Digest, source: R) -> Self {
        Self {
            source,
            opener: Opener::new(key, params, preamble),
            buffer: vec![0; READ_BYTES],
            plain: Zeroizing::default(),
            given: 0,
            ended: false,
        }
    }

    /// Lengths and digest, once the plaintext was read to its end.
    ///
    /// # Errors
    /// [`StreamError::Spent`] when it was not, or had failed.
    pub fn finish(self) -> Result<StreamSummary, StreamError> {
        self.opener.usable()?;
        if !self.ended || self.given < self.plain.len() {
            return Err(StreamError::Spent);
        }
        Ok(self.opener.tally.finish())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.plain.clear();
        self.given = 0;
        let read = self.source.read(&mut self.buffer)?;
        let (sealed, _) = self.buffer.split_at(read);
        let outcome = if read == 0 {
            self.ended = true;
            self.opener.end(&mut self.plain)
        } else {
            self.opener.push(sealed, &mut self.plain)
        };
        outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<R: Read> Read for StreamOpener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plain.len() && !self.ended && !out.is_empty() {
            self.fill()?;
        }
        let (_, rest) = self.plain.split_at(self.given);
        let count = rest.len().min(out.len());
        let (taken, _) = rest.split_at(count);
        let (target, _) = out.split_at_mut(count);
        target.copy_from_slice(taken);
        self.given += count;
        Ok(count)
    }
}
