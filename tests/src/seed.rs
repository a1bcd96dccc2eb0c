//! Numbers that look random and come again with the same seed.

/// A SplitMix64 sequence (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The sequence of the environment variable `FAULTS_SEED`, or of `otherwise`; says on stderr which, so that a failure can be run again.
    ///
    /// # Panics
    /// When the variable holds no number.
    #[must_use]
    #[expect(
        clippy::print_stderr,
        reason = "a failing test shows what it printed, and the seed is what one needs then"
    )]
    pub fn from_env(otherwise: u64) -> Self {
        let given = std::env::var("FAULTS_SEED").ok();
        let seed = given.map_or(otherwise, |text| text.parse().expect("FAULTS_SEED is a number"));
        eprintln!("FAULTS_SEED={seed}");
        Self(seed)
    }

    /// The sequence of one number.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, not including, `high`.
    ///
    /// # Panics
    /// When there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low)
    }
}
