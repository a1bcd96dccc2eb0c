//! The only place where the node reads a clock or the system's randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use truc_proto::Timestamp;

use crate::pipeline::Moment;

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Random bytes for ids and back-offs.
///
/// # Panics
/// When the system has no randomness: nothing can be sealed on such a machine anyway.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("an operating system gives random bytes, or TLS would not have started");
    bytes
}

/// A random number for a back-off.
#[must_use]
pub fn jitter() -> u32 {
    u32::from_le_bytes(random())
}

/// What a pipeline needs of clock and randomness.
#[must_use]
pub fn moment() -> Moment {
    let now = now();
    Moment { now, asked: now, random: random() }
}
