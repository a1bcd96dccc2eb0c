//! Plaintext in, sealed chunks out.

use std::io::{self, Write};

use truc_proto::Digest;
use zeroize::Zeroizing;

use super::{Cipher, FileKey, StreamError, StreamParams, StreamSummary, TAG_BYTES, Tally, make_room};

/// Seals what is written into it and writes the sealed form to `W`. Holds one chunk.
///
/// Without [`StreamSealer::finish`] the stream has no last chunk, and nobody will open it.
pub struct StreamSealer<W: Write> {
    sink: W,
    cipher: Cipher,
    chunk_bytes: usize,
    /// Plaintext of the chunk that is being filled; sealed only when it is known whether another follows.
    chunk: Zeroizing<Vec<u8>>,
    /// Number of the chunk being filled; `None` after the last number was used.
    counter: Option<u32>,
    failed: bool,
    tally: Tally,
}

impl<W: Write> StreamSealer<W> {
    /// Starts a stream. `preamble` is the SHA-256 of the preamble's bytes. The pair (key, prefix) must be used once only.
    pub fn new(key: &FileKey, params: StreamParams, preamble: Digest, sink: W) -> Self {
        Self::starting_at(key, params, preamble, sink, 0)
    }

    pub(super) fn starting_at(key: &FileKey, params: StreamParams, preamble: Digest, sink: W, counter: u32) -> Self {
        Self {
            sink,
            cipher: Cipher::new(key, params, preamble),
            chunk_bytes: params.chunk_bytes(),
            chunk: Zeroizing::default(),
            counter: Some(counter),
            failed: false,
            tally: Tally::default(),
        }
    }

    /// Where the sealed form goes; for a sink that is emptied from outside.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Writes the last chunk and flushes. Gives the sink back with lengths and digest.
    ///
    /// # Errors
    /// The sink's; [`StreamError::TooLong`] and [`StreamError::Spent`] inside an [`io::Error`].
    pub fn finish(mut self) -> io::Result<(W, StreamSummary)> {
        self.usable()?;
        self.seal_chunk(true)?;
        self.sink.flush()?;
        Ok((self.sink, self.tally.finish()))
    }

    fn usable(&self) -> io::Result<()> {
        // A write that failed half-way left an unknown part of a chunk in the sink.
        if self.failed { Err(io::Error::other(StreamError::Spent)) } else { Ok(()) }
    }

    fn seal_chunk(&mut self, last: bool) -> io::Result<()> {
        let Some(counter) = self.counter else {
            self.failed = true;
            return Err(io::Error::other(StreamError::TooLong));
        };
        self.tally.plain(&self.chunk);
        make_room(&mut self.chunk, TAG_BYTES);
        self.cipher.seal(counter, last, &mut self.chunk);
        self.tally.sealed(&self.chunk);
        let written = self.sink.write_all(&self.chunk);
        self.failed = written.is_err();
        self.chunk.clear(); // sealed: no secret any more
        self.counter = counter.checked_add(1);
        written
    }
}

impl<W: Write> Write for StreamSealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.usable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.chunk.len() == self.chunk_bytes {
            self.seal_chunk(false)?;
        }
        let (taken, _) = bytes.split_at(bytes.len().min(self.chunk_bytes - self.chunk.len()));
        make_room(&mut self.chunk, taken.len());
        self.chunk.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// Flushes the sink; a chunk that is not full stays here, since it may be the last.
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
