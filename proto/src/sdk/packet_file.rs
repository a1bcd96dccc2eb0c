//! The file of a sendEdoc: its bytes are followed by CR LF, and its hash is written without leading zeros.

use crate::{Digest, Hasher};

const CRLF: [u8; 2] = *b"\r\n";

/// A digest in hexadecimal with the leading zero of each byte left out, as Java's `Integer.toHexString` writes it: `0a 0b` is `ab`.
#[must_use]
pub fn unpadded_hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:x}")).collect()
}

/// Hashes a body as it streams by, once as it is and once without the CR LF that the client adds.
#[derive(Debug, Clone, Default)]
pub struct PacketHasher {
    /// Of all but the last two bytes.
    hasher: Hasher,
    /// At most two bytes.
    held: Vec<u8>,
    length: u64,
}

impl PacketHasher {
    /// Takes more of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let split = bytes.len().saturating_sub(CRLF.len());
        let (first, last) = bytes.split_at(split);
        if last.len() == CRLF.len() {
            self.hasher.update(&self.held);
            self.hasher.update(first);
            self.held.clear();
        }
        self.held.extend_from_slice(last);
        if let Some(over) = self.held.len().checked_sub(CRLF.len()).filter(|over| *over > 0) {
            let kept = self.held.split_off(over);
            self.hasher.update(&self.held);
            self.held = kept;
        }
    }

    /// The digests, at the end of the body.
    #[must_use]
    pub fn finish(self) -> FileDigests {
        let stripped = (self.held == CRLF).then(|| (self.hasher.clone().finish(), self.length - 2));
        let mut whole = self.hasher;
        whole.update(&self.held);
        FileDigests { stripped, whole: (whole.finish(), self.length) }
    }
}

/// What a body may be the file of, with lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigests {
    /// Without CR LF at the end, when it is there.
    pub stripped: Option<(Digest, u64)>,
    /// As it came.
    pub whole: (Digest, u64),
}

impl FileDigests {
    /// Digest and length of the file that `hash` names; none when the body holds another one.
    #[must_use]
    pub fn named(&self, hash: &FileHash) -> Option<(Digest, u64)> {
        self.stripped.iter().chain([&self.whole]).find(|(digest, _)| hash.is_of(digest)).copied()
    }
}

/// The parameter `hash-file`: 32 to 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash(String);

impl FileHash {
    /// Reads it; none when it cannot be a SHA-256 in either form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let good = (32..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then_some(Self(text))
    }

    /// Whether it is of this digest, with or without leading zeros.
    #[must_use]
    pub fn is_of(&self, digest: &Digest) -> bool {
        self.0 == digest.to_string() || self.0 == unpadded_hex(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose SHA-256 has a byte below 16, as 7 in 8 have.
    fn awkward() -> (Vec<u8>, Digest) {
        let files = (0_u32..).map(|n| format!("<edXML n='{n}'/>").into_bytes());
        let mut found = files.map(|file| (Digest::of(&file), file)).filter(|(digest, _)| digest.as_bytes()[0] < 16);
        let (digest, file) = found.next().unwrap();
        (file, digest)
    }

    #[test]
    fn pitfall_5_the_hash_of_a_file_is_known_without_its_leading_zeros() {
        let mut bytes = [0x11; 32];
        (bytes[0], bytes[1], bytes[31]) = (0x0a, 0x0b, 0x00);
        let digest = Digest::from_slice(&bytes).unwrap();
        assert_eq!(unpadded_hex(&digest), format!("ab{}0", "11".repeat(29)));
        assert!(FileHash::read(&unpadded_hex(&digest)).unwrap().is_of(&digest));
        assert!(FileHash::read(&digest.to_string()).unwrap().is_of(&digest));
        assert!(FileHash::read(&digest.to_string().to_uppercase()).unwrap().is_of(&digest));
        let (_, other) = awkward();
        assert!(!FileHash::read(&unpadded_hex(&other)).unwrap().is_of(&digest));
        // All bytes zero: the shortest there is.
        let zero = Digest::from_slice(&[0; 32]).unwrap();
        assert_eq!(unpadded_hex(&zero).len(), 32);
        assert!(FileHash::read(&unpadded_hex(&zero)).is_some());
        for bad in ["", "abc", &"g".repeat(40), &"1".repeat(65), &"1".repeat(31)] {
            assert_eq!(FileHash::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn pitfall_5_the_line_break_behind_the_file_is_not_of_it_however_the_body_is_cut() {
        let (file, digest) = awkward();
        let body = [file.as_slice(), b"\r\n"].concat();
        for step in 1..=body.len() {
            let mut hasher = PacketHasher::default();
            body.chunks(step).for_each(|piece| hasher.update(piece));
            let digests = hasher.finish();
            assert_eq!(digests.stripped, Some((digest, file.len() as u64)), "step {step}");
            assert_eq!(digests.whole, (Digest::of(&body), body.len() as u64), "step {step}");
            let named = digests.named(&FileHash::read(&unpadded_hex(&digest)).unwrap());
            assert_eq!(named, Some((digest, file.len() as u64)));
        }
    }

    #[test]
    fn a_body_without_the_line_break_is_its_own_file() {
        for body in [b"x".as_slice(), b"", b"\n", b"ab\r", b"file\r\n"] {
            let mut hasher = PacketHasher::default();
            hasher.update(body);
            let hash = FileHash::read(&Digest::of(body).to_string()).unwrap();
            assert_eq!(hasher.finish().named(&hash), Some((Digest::of(body), body.len() as u64)), "{body:?}");
        }
        let mut hasher = PacketHasher::default();
        hasher.update(b"another");
        assert_eq!(hasher.finish().named(&FileHash::read(&Digest::of(b"file").to_string()).unwrap()), None);
    }
}
