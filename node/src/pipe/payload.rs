//! Sealed payloads: short ones stay inline, longer ones go to the blob store while they are made.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use truc_ledger::blobs::{Announced, BlobError, BlobReader, BlobStore, Upload};
use truc_proto::{
    Digest,
    limits::{BLOB_BYTES_MAX, INLINE_PAYLOAD_BYTES_MAX},
};
use truc_signer::stream::ReadAt;

use crate::records::Payload;

/// Names of uploads that a pipeline writes; what is left of them after a crash is of no use.
const UPLOAD_PREFIX: &str = "compose-";

/// Throws away what an earlier process did not finish.
pub(super) fn clear_left_overs(blobs: &BlobStore) -> Result<(), BlobError> {
    for name in blobs.uploads()? {
        if name.starts_with(UPLOAD_PREFIX) {
            blobs.abandon(&name)?;
        }
    }
    Ok(())
}

/// Takes a sealed payload while it is made. Dropped unfinished, it leaves nothing behind.
pub(super) struct PayloadSink {
    blobs: Arc<BlobStore>,
    held: Vec<u8>,
    upload: Option<(String, Upload)>,
}

impl PayloadSink {
    pub(super) fn new(blobs: Arc<BlobStore>) -> Self {
        Self { blobs, held: Vec::new(), upload: None }
    }

    /// The payload, which has this digest; durable when it is a blob. `as_blob`: also when it is short.
    pub(super) fn finish(mut self, digest: Digest, as_blob: bool) -> io::Result<Payload> {
        if as_blob {
            self.use_blob()?;
        }
        let Some((_, upload)) = self.upload.take() else {
            let inline = std::mem::take(&mut self.held);
            let (sha256, length) = (digest.as_bytes().to_vec(), length(inline.len()));
            return Ok(Payload { sha256, length, inline: Some(inline) });
        };
        let stored = upload.finish_as_written().map_err(io_error)?;
        Ok(Payload { sha256: stored.digest.as_bytes().to_vec(), length: stored.length, inline: None })
    }

    fn use_blob(&mut self) -> io::Result<()> {
        if self.upload.is_some() {
            return Ok(());
        }
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let name = format!("{UPLOAD_PREFIX}{}", HEXLOWER.encode(&random));
        let announced = Announced { digest: Digest([0; 32]), length: BLOB_BYTES_MAX };
        let mut upload = self.blobs.begin(&name, announced).map_err(io_error)?;
        upload.write(0, &std::mem::take(&mut self.held)).map_err(io_error)?;
        self.upload = Some((name, upload));
        Ok(())
    }
}

impl Write for PayloadSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.upload.is_none() && self.held.len() + bytes.len() < INLINE_PAYLOAD_BYTES_MAX {
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.use_blob()?;
        if let Some((_, upload)) = &mut self.upload {
            upload.write(upload.offset(), bytes).map_err(io_error)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PayloadSink {
    fn drop(&mut self) {
        if let Some((name, upload)) = self.upload.take() {
            drop(upload);
            // Failing leaves ciphertext under a key nobody has; the next start clears it.
            let _ = self.blobs.abandon(&name);
        }
    }
}

fn io_error(error: BlobError) -> io::Error {
    match error {
        BlobError::Io(error) => error,
        other => io::Error::other(other),
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A stored payload, at any offset.
pub(super) enum StoredPayload<'a> {
    Inline(&'a [u8]),
    Blob(BlobReader),
}

impl<'a> StoredPayload<'a> {
    /// Finds it. Length and, inline, digest are checked; a blob's digest is by what streams through it.
    pub(super) fn find(payload: &'a Payload, blobs: &Arc<BlobStore>) -> io::Result<Self> {
        let digest = Digest::from_slice(&payload.sha256).map_err(io::Error::other)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("the stored payload {digest} is damaged"));
        if let Some(inline) = &payload.inline {
            let whole = length(inline.len()) == payload.length && Digest::of(inline) == digest;
            return if whole { Ok(Self::Inline(inline)) } else { Err(damaged()) };
        }
        let reader = blobs.read(&digest).map_err(io_error)?;
        if reader.length() == payload.length { Ok(Self::Blob(reader)) } else { Err(damaged()) }
    }

    /// From the front.
    pub(super) const fn reader(&self) -> PayloadReader<'_> {
        PayloadReader { payload: self, offset: 0 }
    }
}

impl ReadAt for StoredPayload<'_> {
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Inline(bytes) => bytes.read_exact_at(offset, out),
            Self::Blob(reader) => {
                let mut filled = 0;
                while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                    let read = reader.read_at(rest, offset.saturating_add(length(filled)))?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    filled += read;
                }
                Ok(())
            }
        }
    }
}

/// Reads a payload from the front.
pub(super) struct PayloadReader<'a> {
    payload: &'a StoredPayload<'a>,
    offset: u64,
}

impl Read for PayloadReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match self.payload {
            StoredPayload::Inline(bytes) => {
                let from = usize::try_from(self.offset).unwrap_or(usize::MAX);
                let mut rest = bytes.get(from..).unwrap_or_default();
                rest.read(out)?
            }
            StoredPayload::Blob(reader) => reader.read_at(out, self.offset)?,
        };
        self.offset += length(read);
        Ok(read)
    }
}
