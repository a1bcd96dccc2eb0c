//! The hashes that structures of others may name. A closed list.

use der::asn1::ObjectIdentifier;
use ring::digest;

use crate::{asn1::Algorithm, oid};

/// A hash function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hash {
    /// Names certificates in old structures. No signature may rest on it.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// What signatures may rest on.
    const SHA2: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Of the SHA-2 family, by its AlgorithmIdentifier.
    pub(crate) fn sha2(algorithm: &Algorithm<'_>) -> Option<Self> {
        Self::SHA2.into_iter().find(|hash| algorithm.is_plain(hash.oid()))
    }

    pub(crate) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => oid::SHA1,
            Self::Sha256 => oid::SHA256,
            Self::Sha384 => oid::SHA384,
            Self::Sha512 => oid::SHA512,
        }
    }

    /// How long its values are.
    pub(crate) const fn bytes(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}
