//! The bytes of a container, read once from front to end.

use std::io::{self, Read};

use truc_proto::{Digest, Hasher, limits::CONTAINER_BYTES_MAX};

use super::ContainerError;

const BUFFER_BYTES: usize = 64 * 1024;

/// Reads ahead a little, and knows how much was taken and the digest of everything read.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What of the buffer is read and not taken yet.
    start: usize,
    end: usize,
    taken: u64,
    hasher: Hasher,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, taken: 0, hasher: Hasher::default() }
    }

    /// How many bytes were taken.
    pub(super) const fn position(&self) -> u64 {
        self.taken
    }

    /// Some of the bytes that come next; empty only at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], ContainerError> {
        if self.start == self.end {
            self.fill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Takes `count` of the bytes that [`Source::peek`] showed.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.end - self.start);
        self.taken += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// Takes exactly `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], ContainerError> {
        let mut bytes = [0; N];
        self.take_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes exactly `len` bytes; `len` comes from a 16-bit field, so the space for it is small.
    pub(super) fn take_vec(&mut self, len: u16) -> Result<Vec<u8>, ContainerError> {
        let mut bytes = vec![0; usize::from(len)];
        self.take_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes a little-endian number.
    pub(super) fn take_u32(&mut self) -> Result<u32, ContainerError> {
        self.take().map(u32::from_le_bytes)
    }

    /// The digest of everything, once nothing is left.
    pub(super) fn finish(mut self) -> Result<(u64, Digest), ContainerError> {
        if !self.peek()?.is_empty() {
            return Err(ContainerError::TrailingBytes { offset: self.taken });
        }
        Ok((self.taken, self.hasher.finish()))
    }

    fn take_into(&mut self, mut out: &mut [u8]) -> Result<(), ContainerError> {
        while !out.is_empty() {
            let offset = self.taken;
            let next = self.peek()?;
            if next.is_empty() {
                return Err(ContainerError::Truncated { offset });
            }
            let count = next.len().min(out.len());
            let (filled, rest) = out.split_at_mut(count);
            filled.copy_from_slice(next.split_at(count).0);
            self.consume(count);
            out = rest;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), ContainerError> {
        if self.taken > CONTAINER_BYTES_MAX {
            return Err(ContainerError::TooLarge { what: "8 GiB" });
        }
        let read = loop {
            match self.reader.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ContainerError::Source)?,
            }
        };
        (self.start, self.end) = (0, read);
        self.hasher.update(self.buffer.get(..read).unwrap_or_default());
        Ok(())
    }
}
