//! Opening a part of a sealed payload without reading what stands before it.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
};

use truc_proto::Digest;
use zeroize::Zeroizing;

use super::{Cipher, Damage, FileKey, StreamError, StreamParams, TAG_BYTES, to_u64};

/// Bytes that can be read at any offset.
pub trait ReadAt {
    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The source's; [`io::ErrorKind::UnexpectedEof`] when it ends before `out` is full.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let to = from.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(self.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Opens ranges of one sealed payload whose length is known.
///
/// Each chunk a range touches is authenticated in its place, and the last one as the last. What lies outside the range is
/// not looked at: for a payload that was never opened whole, a range alone does not say that the rest is there.
pub struct RangeOpener<'a, S: ReadAt + ?Sized> {
    cipher: Cipher,
    params: StreamParams,
    source: &'a S,
    plain_len: u64,
}

impl<'a, S: ReadAt + ?Sized> RangeOpener<'a, S> {
    /// For the `sealed_len` bytes at the start of `source`.
    ///
    /// # Errors
    /// [`StreamError::NotAuthentic`] when nothing seals to that length.
    pub fn new(
        key: &FileKey,
        params: StreamParams,
        preamble: Digest,
        source: &'a S,
        sealed_len: u64,
    ) -> Result<Self, StreamError> {
        let plain_len = params.plain_len(sealed_len).ok_or(StreamError::NotAuthentic {
            chunk: sealed_len / to_u64(params.chunk_bytes() + TAG_BYTES),
            cause: Damage::CutInsideChunk,
        })?;
        Ok(Self { cipher: Cipher::new(key, params, preamble), params, source, plain_len })
    }

    /// Length of the whole plaintext, as the sealed length tells it.
    #[must_use]
    pub const fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Writes the plaintext from `offset` on, at most `len` bytes of it, to `out`. Returns how many there were: fewer than
    /// `len` only where the plaintext ends.
    ///
    /// # Errors
    /// The source's and the sink's; [`StreamError::NotAuthentic`] as [`io::ErrorKind::InvalidData`].
    pub fn open_range(&self, offset: u64, len: u64, out: &mut dyn Write) -> io::Result<u64> {
        let end = offset.saturating_add(len).min(self.plain_len);
        let mut at = offset;
        let longest = to_index(self.plain_len.min(to_u64(self.params.chunk_bytes())))? + TAG_BYTES;
        let mut chunk = Zeroizing::new(Vec::with_capacity(longest));
        while at < end {
            let start = self.open_chunk_at(at, &mut chunk)?;
            let (from, to) = (at - start, (end - start).min(to_u64(chunk.len())));
            let range = to_index(from)?..to_index(to)?;
            out.write_all(chunk.get(range).ok_or(io::ErrorKind::UnexpectedEof)?)?;
            at = start + to;
        }
        Ok(end.saturating_sub(offset))
    }

    /// Opens the chunk that holds plaintext offset `at` into `chunk`; returns the offset of its first byte.
    fn open_chunk_at(&self, at: u64, chunk: &mut Vec<u8>) -> io::Result<u64> {
        let chunk_bytes = to_u64(self.params.chunk_bytes());
        let number = at / chunk_bytes;
        let start = number * chunk_bytes;
        let left = self.plain_len - start;
        let last = left <= chunk_bytes;
        chunk.clear();
        chunk.resize(to_index(left.min(chunk_bytes))? + TAG_BYTES, 0);
        self.source.read_exact_at(start + number * to_u64(TAG_BYTES), chunk)?;
        let counter = u32::try_from(number).map_err(|_| io::Error::other(StreamError::TooLong))?;
        if self.cipher.open(counter, last, chunk).is_none() {
            let error = StreamError::NotAuthentic { chunk: number, cause: Damage::Altered };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        chunk.truncate(chunk.len() - TAG_BYTES);
        Ok(start)
    }
}

fn to_index(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof.into())
}
