//! Many key envelopes as one deflated piece: their issuers' names, algorithms and keys' parameters are the same again and again.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use prost::Message as _;

use crate::{
    limits::OFFER_BYTES_MAX,
    relay_v1::{KeyEnvelope, KeyEnvelopes},
};

/// Why packed key envelopes are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// Not DEFLATE, or cut off.
    #[error("the packed key envelopes cannot be inflated")]
    Deflate,
    /// More than any offer may have.
    #[error("the packed key envelopes inflate to more than the {OFFER_BYTES_MAX} bytes that an offer may have")]
    TooLong,
    /// Something else inside.
    #[error("what is packed are no key envelopes")]
    Content,
}

/// Packs key envelopes for an offer.
#[must_use]
pub fn pack_key_envelopes(key_envelopes: Vec<KeyEnvelope>) -> Bytes {
    let plain = KeyEnvelopes { key_envelopes }.encode_to_vec();
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(plain.len()), Compression::fast());
    encoder.write_all(&plain).and_then(|()| encoder.finish()).expect("memory takes what is written").into()
}

/// Unpacks them, never to more than an offer may have.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack_key_envelopes(packed: &[u8]) -> Result<Vec<KeyEnvelope>, UnpackError> {
    let mut plain = Vec::new();
    let most = u64::try_from(OFFER_BYTES_MAX).unwrap_or(u64::MAX);
    DeflateDecoder::new(packed).take(most + 1).read_to_end(&mut plain).map_err(|_| UnpackError::Deflate)?;
    if plain.len() > OFFER_BYTES_MAX {
        return Err(UnpackError::TooLong);
    }
    let unpacked = KeyEnvelopes::decode(Bytes::from(plain)).map_err(|_| UnpackError::Content)?;
    Ok(unpacked.key_envelopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: u8) -> Vec<KeyEnvelope> {
        let one = |n| KeyEnvelope { recipient: format!("H26.{n}"), cms: vec![n; 800].into() };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_is_packed_comes_back_shorter_on_the_way() {
        let packed = pack_key_envelopes(some(100));
        assert!(packed.len() < 20_000, "{}", packed.len());
        assert_eq!(unpack_key_envelopes(&packed).unwrap(), some(100));
        assert_eq!(unpack_key_envelopes(&pack_key_envelopes(Vec::new())).unwrap(), []);
    }

    #[test]
    fn a_bomb_a_torn_piece_and_something_else_are_refused() {
        let bomb = KeyEnvelope { recipient: "H26".into(), cms: vec![0; 64 << 20].into() };
        let bomb = pack_key_envelopes(vec![bomb]);
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        assert_eq!(unpack_key_envelopes(&bomb).unwrap_err(), UnpackError::TooLong);
        let packed = pack_key_envelopes(some(9));
        for cut in 0..packed.len() {
            let refused = unpack_key_envelopes(&packed[..cut]).unwrap_err();
            assert!(matches!(refused, UnpackError::Deflate | UnpackError::Content), "{cut}: {refused}");
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"\xff\xff\xff").unwrap();
        assert_eq!(unpack_key_envelopes(&encoder.finish().unwrap()).unwrap_err(), UnpackError::Content);
    }

    #[test]
    fn any_bytes_end_within_the_bound() {
        let packed = pack_key_envelopes(some(5));
        for at in 0..packed.len() {
            let mut bent = packed.to_vec();
            bent[at] ^= 1 << (at % 8);
            let _ = unpack_key_envelopes(&bent);
        }
    }
}
