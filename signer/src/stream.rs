//! Sealing of payloads, suite S1: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: *Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance*, CRYPTO 2015) over AES-256-GCM.
//!
//! The plaintext is cut into chunks; each is sealed on its own with the nonce `prefix(7) ‖ counter(u32, big endian) ‖ last(0 | 1)`
//! and, as associated data, the SHA-256 of the preamble. So a chunk that is changed, moved, left out, added, or taken from
//! another envelope does not open, and memory stays at about one chunk whatever the length. An empty plaintext is one empty
//! last chunk; no other chunk may be empty, so one plaintext has one sealed form.
//!
//! Left out: who may have the file key ([`crate`]'s key envelopes) and where the bytes lie.

mod open;
mod range;
mod seal;
#[cfg(test)]
mod tests;

use std::fmt;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey},
    rand::SecureRandom,
};
use subtle::ConstantTimeEq;
use truc_proto::{
    Digest, Hasher,
    limits::{STREAM_CHUNK_BYTES, STREAM_CHUNK_BYTES_MIN, STREAM_CHUNKS_MAX},
};
use zeroize::{Zeroize as _, Zeroizing};

pub use open::{Opener, StreamOpener};
pub use range::{RangeOpener, ReadAt};
pub use seal::StreamSealer;

/// Bytes that sealing adds to each chunk: the GCM tag.
pub const TAG_BYTES: usize = MAX_TAG_LEN;

/// The random key one payload is sealed under. Zeroised when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct FileKey(Zeroizing<[u8; 32]>);

impl FileKey {
    /// A fresh key from `random`.
    ///
    /// # Errors
    /// [`StreamError::NoRandomness`] when the system's random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, StreamError> {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice()).map_err(|_| StreamError::NoRandomness)?;
        Ok(Self(key))
    }

    /// From exactly 32 bytes, as they come out of a key envelope; `None` at any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The 32 bytes, for a key envelope or for wrapping under the storage key; nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for FileKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for FileKey {}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey([redacted])")
    }
}

/// How a payload is cut and numbered; stands in the key envelope beside the file key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamParams {
    prefix: [u8; 7],
    chunk_bytes: usize,
}

impl StreamParams {
    /// Suite S1: chunks of [`STREAM_CHUNK_BYTES`].
    #[must_use]
    pub const fn s1(prefix: [u8; 7]) -> Self {
        Self { prefix, chunk_bytes: STREAM_CHUNK_BYTES }
    }

    /// Suite S1 with a fresh prefix.
    ///
    /// # Errors
    /// [`StreamError::NoRandomness`] when the system's random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, StreamError> {
        let mut prefix = [0; 7];
        random.fill(&mut prefix).map_err(|_| StreamError::NoRandomness)?;
        Ok(Self::s1(prefix))
    }

    /// With chunks of `chunk_bytes`, as read from a key envelope.
    ///
    /// # Errors
    /// [`StreamError::ChunkBytes`] outside [`STREAM_CHUNK_BYTES_MIN`]`..=`[`STREAM_CHUNK_BYTES`].
    pub fn new(prefix: [u8; 7], chunk_bytes: u64) -> Result<Self, StreamError> {
        match usize::try_from(chunk_bytes) {
            Ok(bytes) if (STREAM_CHUNK_BYTES_MIN..=STREAM_CHUNK_BYTES).contains(&bytes) => {
                Ok(Self { prefix, chunk_bytes: bytes })
            }
            _ => Err(StreamError::ChunkBytes { chunk_bytes }),
        }
    }

    /// The part of every nonce that is the same in the whole stream.
    #[must_use]
    pub const fn prefix(&self) -> &[u8; 7] {
        &self.prefix
    }

    /// Plaintext bytes of every chunk but the last.
    #[must_use]
    pub const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Length of the sealed form of `plain_len` bytes; `None` when the counter cannot number that many chunks.
    #[must_use]
    pub fn sealed_len(&self, plain_len: u64) -> Option<u64> {
        let chunks = plain_len.div_ceil(to_u64(self.chunk_bytes)).max(1);
        if chunks > STREAM_CHUNKS_MAX {
            return None;
        }
        plain_len.checked_add(chunks.checked_mul(to_u64(TAG_BYTES))?)
    }

    /// Length of the plaintext inside `sealed_len` bytes; `None` when no plaintext seals to that length.
    #[must_use]
    pub fn plain_len(&self, sealed_len: u64) -> Option<u64> {
        let chunks = sealed_len.div_ceil(to_u64(self.chunk_bytes + TAG_BYTES));
        let plain = sealed_len.checked_sub(chunks.checked_mul(to_u64(TAG_BYTES))?)?;
        (self.sealed_len(plain) == Some(sealed_len)).then_some(plain)
    }
}

/// Why a payload cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The bytes are not those that were sealed under this key, prefix and preamble. The cause is for logs and tests only.
    #[error(
        "the sealed payload was changed, cut short, or belongs to another envelope (chunk {chunk}); fetch it again, and if it fails again ask the sender to send anew"
    )]
    NotAuthentic {
        /// Which chunk did not open, from 0.
        chunk: u64,
        /// What seems to have happened.
        cause: Damage,
    },
    /// More chunks than the counter can number.
    #[error(
        "the payload is longer than {} chunks, the most that one key may seal; split the document",
        STREAM_CHUNKS_MAX
    )]
    TooLong,
    /// A chunk size no suite has.
    #[error(
        "the key envelope names chunks of {chunk_bytes} bytes, which no suite has; the sender's node must be corrected"
    )]
    ChunkBytes {
        /// As read.
        chunk_bytes: u64,
    },
    /// The system's random source failed.
    #[error("the system gave no random bytes, so nothing can be sealed; check the machine")]
    NoRandomness,
    /// The stream was used after it had failed.
    #[error("this stream has failed before and gives nothing more")]
    Spent,
}

/// What seems to have been done to a sealed payload; never told to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A chunk was altered, moved, exchanged, or sealed for another preamble.
    Altered,
    /// The stream stops after a whole chunk that was not the last.
    CutBetweenChunks,
    /// The stream stops inside a chunk.
    CutInsideChunk,
    /// Something follows the last chunk.
    Extended,
    /// An empty last chunk follows others: a second sealed form of the same plaintext.
    EmptyLastChunk,
}

/// Lengths of both forms of a stream that was sealed or opened to its end, and the digest of the sealed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSummary {
    /// Bytes of plaintext.
    pub plain_len: u64,
    /// Bytes of the sealed form.
    pub sealed_len: u64,
    /// SHA-256 of the sealed form.
    pub sealed_digest: Digest,
}

/// Runs along both forms of a stream.
#[derive(Default)]
struct Tally {
    plain_len: u64,
    sealed: Hasher,
    sealed_len: u64,
}

impl Tally {
    fn plain(&mut self, bytes: &[u8]) {
        self.plain_len += to_u64(bytes.len());
    }

    fn sealed(&mut self, bytes: &[u8]) {
        self.sealed.update(bytes);
        self.sealed_len += to_u64(bytes.len());
    }

    fn finish(self) -> StreamSummary {
        StreamSummary { plain_len: self.plain_len, sealed_len: self.sealed_len, sealed_digest: self.sealed.finish() }
    }
}

/// The key and everything of the nonce but counter and flag.
struct Cipher {
    key: LessSafeKey,
    prefix: [u8; 7],
    aad: Digest,
}

impl Cipher {
    fn new(key: &FileKey, params: StreamParams, aad: Digest) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("an AES-256 key has 32 bytes");
        Self { key: LessSafeKey::new(key), prefix: params.prefix, aad }
    }

    fn nonce(&self, counter: u32, last: bool) -> Nonce {
        let [p0, p1, p2, p3, p4, p5, p6] = self.prefix;
        let [c0, c1, c2, c3] = counter.to_be_bytes();
        Nonce::assume_unique_for_key([p0, p1, p2, p3, p4, p5, p6, c0, c1, c2, c3, u8::from(last)])
    }

    /// Seals the chunk in place and appends its tag.
    fn seal(&self, counter: u32, last: bool, chunk: &mut Vec<u8>) {
        self.key
            .seal_in_place_append_tag(self.nonce(counter, last), Aad::from(self.aad.as_bytes()), chunk)
            .expect("a chunk is far shorter than AES-GCM's limit");
    }

    /// Opens the chunk in place; what is left in `chunk` after a failure is not plaintext to be used.
    fn open<'a>(&self, counter: u32, last: bool, chunk: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let aad = Aad::from(self.aad.as_bytes());
        self.key.open_in_place(self.nonce(counter, last), aad, chunk).ok()
    }
}

/// Room for `more` bytes of plaintext; what a larger buffer leaves behind is wiped. Buffers begin empty and grow with what they hold: to touch
/// and wipe a whole chunk for a page of text would cost more than sealing it.
fn make_room(buffer: &mut Vec<u8>, more: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let mut larger = Vec::with_capacity(needed.max((2 * buffer.capacity()).min(STREAM_CHUNK_BYTES + TAG_BYTES)));
        larger.extend_from_slice(buffer);
        std::mem::replace(buffer, larger).zeroize();
    }
}

/// Lossless: no platform we build for has addresses above 64 bits.
fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("usize has at most 64 bits")
}
