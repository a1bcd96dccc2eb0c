//! The content commitment: what the ledgers say of a document's content without telling it.

use std::fmt;

use ring::rand::SecureRandom;
use truc_proto::Digest;

/// Stands before what is hashed, so that the digest means nothing else anywhere.
pub const CONTENT_CONTEXT: &[u8] = b"truc/content/1";

/// 32 random bytes that keep a commitment from being guessed. Known to sender and recipients, shown in an opening; not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentSalt(pub [u8; 32]);

impl ContentSalt {
    /// A fresh salt from `random`; `None` when the system's random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Option<Self> {
        let mut salt = [0; 32];
        random.fill(&mut salt).ok().map(|()| Self(salt))
    }
}

impl fmt::Debug for ContentSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentSalt([redacted])")
    }
}

/// SHA-256(`truc/content/1` ‖ salt ‖ SHA-256(manifest)), `manifest` being the bytes of `META-INF/ASiCManifest.xml`.
///
/// The manifest holds the digest of every entry, so whoever is shown salt and manifest can prove of any one file that it was
/// part of what was sent.
#[must_use]
pub fn content_commitment(salt: &ContentSalt, manifest: &[u8]) -> Digest {
    Digest::of_parts(&[CONTENT_CONTEXT, &salt.0, Digest::of(manifest).as_bytes()])
}
