//! Who failed is left in peace for a while, longer each time; whether somebody may be asked again is looked at now and then.

use std::time::Duration;

use tokio::time::Instant;

/// How long somebody who failed is passed over; doubles up to the second.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Between two looks whether what is missing may be asked for.
const AGAIN: Duration = Duration::from_secs(1);

/// Completes when something is missing and there is somebody to ask, as `is_due` says. Looked at once a second.
pub async fn due<F: Future<Output = bool>>(is_due: impl Fn() -> F) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if is_due().await {
            return;
        }
    }
}

/// Since somebody who is asked over the network failed.
#[derive(Debug, Default)]
pub struct Breaker {
    until: Option<Instant>,
    pause: Duration,
}

impl Breaker {
    /// Whether it failed a moment ago: asking now would give nothing.
    #[must_use]
    pub fn rests(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// It failed.
    pub fn fail(&mut self, now: Instant) {
        self.fail_within(now, PAUSE);
    }

    /// It failed, and rests no shorter and no longer than this.
    pub(crate) fn fail_within(&mut self, now: Instant, (shortest, longest): (Duration, Duration)) {
        self.pause = (self.pause * 2).clamp(shortest, longest);
        self.until = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_rests_longer_and_longer_up_to_a_bound() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        assert!(!breaker.rests(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            breaker.fail(now);
            let pause = breaker.pause;
            assert!(breaker.rests(now) && breaker.rests(now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(!breaker.rests(now));
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }
}
