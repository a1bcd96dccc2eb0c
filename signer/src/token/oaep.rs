//! Taking RSAES-OAEP padding off what a token decrypted raw (RFC 8017 7.1.2 step 3), for tokens that know OAEP with SHA-1 alone.
//!
//! Whoever could tell *why* a padding is refused could decrypt with our key (Manger 2001): every byte is looked at whatever the ones before were,
//! and there is one answer for all failures.

use ring::digest::{SHA256, digest};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

const HASH: usize = 32;

/// The message in `encoded`, which is as long as the modulus; SHA-256, MGF1-SHA-256, empty label.
pub(super) fn unpad(encoded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Lengths are the key's, not the message's.
    let (first, rest) = encoded.split_first()?;
    if rest.len() < 2 * HASH + 1 {
        return None;
    }
    let (masked_seed, masked) = rest.split_at(HASH);
    let seed = xor(masked_seed, &mask(masked, HASH));
    let block = xor(masked, &mask(&seed, masked.len()));
    let (label, padded) = block.split_at(HASH);
    let mut good = first.ct_eq(&0) & label.ct_eq(digest(&SHA256, b"").as_ref());
    // Zeros, a one, the message: where the first one is, and that only zeros stand before it.
    let (mut found, mut start) = (Choice::from(0), 0_u32);
    for (place, byte) in (0_u32..).zip(padded) {
        let (zero, one) = (byte.ct_eq(&0), byte.ct_eq(&1));
        good &= found | zero | one;
        start.conditional_assign(&(place + 1), !found & one);
        found |= one;
    }
    good &= found;
    if !bool::from(good) {
        return None;
    }
    let start = usize::try_from(start).ok()?;
    Some(Zeroizing::new(padded.get(start..)?.to_vec()))
}

/// MGF1 with SHA-256 (RFC 8017 B.2.1).
fn mask(seed: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut mask = Zeroizing::new(Vec::with_capacity(length + HASH));
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        let block = Zeroizing::new([seed, &counter.to_be_bytes()].concat());
        mask.extend_from_slice(digest(&SHA256, &block).as_ref());
    }
    mask.truncate(length);
    mask
}

fn xor(one: &[u8], other: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(one.iter().zip(other).map(|(a, b)| a ^ b).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EME-OAEP encoding (RFC 8017 7.1.1 step 2), with what a test wants to bend.
    fn encoded(message: &[u8], length: usize, first: u8, separator: u8, label: &[u8]) -> Vec<u8> {
        let mut block = digest(&SHA256, label).as_ref().to_vec();
        block.resize(length - HASH - 1 - message.len() - 1, 0);
        block.push(separator);
        block.extend_from_slice(message);
        let seed = [7; HASH];
        let masked = xor(&block, &mask(&seed, block.len()));
        let masked_seed = xor(&seed, &mask(&masked, HASH));
        [&[first], masked_seed.as_slice(), &masked].concat()
    }

    #[test]
    fn what_was_padded_comes_off_at_every_length() {
        for length in [128, 256, 384] {
            for message in 0..=length - 2 * HASH - 2 {
                let text: Vec<u8> = (0..message).map(|n| u8::try_from(n % 251).unwrap()).collect();
                assert_eq!(unpad(&encoded(&text, length, 0, 1, b"")).unwrap().as_slice(), text, "{length} {message}");
            }
        }
    }

    #[test]
    fn whatever_is_bent_is_refused() {
        let good = encoded(b"secret", 256, 0, 1, b"");
        assert!(unpad(&encoded(b"secret", 256, 1, 1, b"")).is_none(), "first byte");
        assert!(unpad(&encoded(b"secret", 256, 0, 2, b"")).is_none(), "separator");
        assert!(unpad(&encoded(b"", 256, 0, 0, b"")).is_none(), "no separator");
        assert!(unpad(&encoded(b"secret", 256, 0, 1, b"other")).is_none(), "label");
        for place in 0..good.len() - b"secret".len() {
            let mut bent = good.clone();
            bent[place] ^= 1;
            // A bent seed or block spoils everything behind it; nothing but the message's own bytes may change without being seen.
            assert!(unpad(&bent).is_none(), "{place}");
        }
        for length in 0..2 * HASH + 2 {
            assert!(unpad(&vec![0; length]).is_none());
        }
    }
}
