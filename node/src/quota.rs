//! What one bearer token may use: requests in a minute, documents and bytes in a day. So one document system that runs wild
//! leaves room for the others.
//!
//! Each limit is a bucket that refills evenly (the generic cell rate algorithm, ITU-T I.371): after a day's worth is used up, the next
//! document may go a moment later, not at midnight. Levels live in memory; after a start all buckets are full.

use std::{num::NonZeroU32, sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::shell::lock;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Of a megabyte as people say it.
const MEGABYTE: u64 = 1_000_000;
/// No debt is deeper than so many periods.
const PERIODS_MAX: u128 = 1_000;

/// The limits of a token; none: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests of any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Documents accepted or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_per_day: Option<NonZeroU32>,
    /// Content handed over, in 1,000,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub megabytes_per_day: Option<NonZeroU32>,
}

impl Quota {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What a token may use of something in its period; none: as much as it likes.
    #[must_use]
    pub fn limit(&self, what: Measure) -> Option<u64> {
        let limit = match what {
            Measure::Requests => self.requests_per_minute,
            Measure::Documents => self.documents_per_day,
            Measure::Bytes => self.megabytes_per_day,
        };
        let unit = if what == Measure::Bytes { MEGABYTE } else { 1 };
        limit.map(|limit| u64::from(limit.get()) * unit)
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Measure {
    /// Requests of any kind, per minute.
    Requests,
    /// Documents accepted or held, per day.
    Documents,
    /// Bytes of content handed over, per day.
    Bytes,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Documents, Self::Bytes];

    /// For programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Documents => "documents",
            Self::Bytes => "bytes",
        }
    }

    /// In which time its limit may be used up.
    #[must_use]
    pub const fn period(self) -> Duration {
        match self {
            Self::Requests => MINUTE,
            Self::Documents | Self::Bytes => DAY,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::Documents => 1,
            Self::Bytes => 2,
        }
    }
}

/// A limit is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted {
    /// Which.
    pub what: Measure,
    /// The limit in its period.
    pub limit: u64,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

/// How much a token has used. Shared by all its requests.
#[derive(Debug, Default)]
pub struct Meter {
    quota: Quota,
    /// When each bucket will be full again; none: it is.
    full_at: Mutex<[Option<Instant>; 3]>,
}

impl Meter {
    /// With full buckets.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { quota, full_at: Mutex::default() }
    }

    /// With other limits, and what was used so far.
    #[must_use]
    pub fn changed(&self, now: Instant, quota: Quota) -> Self {
        let mut levels = *self.levels();
        for what in Measure::ALL {
            let Some(level) = levels.get_mut(what.index()) else { continue };
            // The same amount takes another time to refill.
            *level = match (level.take(), self.quota.limit(what), quota.limit(what)) {
                (Some(full_at), Some(before), Some(after)) => {
                    let missing = full_at.saturating_duration_since(now).as_nanos();
                    let missing = missing.saturating_mul(u128::from(before)) / u128::from(after.max(1));
                    let missing = missing.min(what.period().as_nanos().saturating_mul(PERIODS_MAX));
                    Some(now + Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)))
                }
                _ => None,
            };
        }
        Self { quota, full_at: Mutex::new(levels) }
    }

    /// The limits.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes one request or document out of its bucket.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn take(&self, now: Instant, what: Measure) -> Result<(), Exhausted> {
        self.charge(now, what, 1, true)
    }

    /// That the bucket is not empty, before a document's content is read: it is never cut off in the middle.
    ///
    /// # Errors
    /// When it is empty, or in debt.
    pub fn check(&self, now: Instant, what: Measure) -> Result<(), Exhausted> {
        self.charge(now, what, 0, true)
    }

    /// Takes out what was used, into debt where there is not so much.
    pub fn use_up(&self, now: Instant, what: Measure, amount: u64) {
        let _ = self.charge(now, what, amount, false); // never refused
    }

    /// Puts one back: what was taken led to nothing new.
    pub fn give_back(&self, what: Measure) {
        let Some(limit) = self.quota.limit(what) else { return };
        let mut levels = self.levels();
        if let Some(level) = levels.get_mut(what.index()) {
            *level = level.and_then(|level| level.checked_sub(time_of(1, limit, what.period())));
        }
    }

    /// What is left of a limit; none: there is no limit.
    #[must_use]
    pub fn left(&self, now: Instant, what: Measure) -> Option<u64> {
        let limit = self.quota.limit(what)?;
        let full_at = self.levels().get(what.index()).copied().flatten();
        let missing = full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        let used = (missing.as_nanos() * u128::from(limit)).div_ceil(what.period().as_nanos().max(1));
        Some(limit.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX)))
    }

    fn charge(&self, now: Instant, what: Measure, amount: u64, refusing: bool) -> Result<(), Exhausted> {
        let Some(limit) = self.quota.limit(what) else { return Ok(()) };
        let period = what.period();
        let mut levels = self.levels();
        let Some(level) = levels.get_mut(what.index()) else { return Ok(()) };
        let from = level.map_or(now, |full_at| full_at.max(now));
        let after = from + time_of(amount, limit, period);
        // The bucket is empty when a whole period is missing; a check wants room for one more.
        let wanted = if amount == 0 { from + time_of(1, limit, period) } else { after };
        let excess = wanted.saturating_duration_since(now + period);
        if refusing && !excess.is_zero() {
            return Err(Exhausted { what, limit, retry_after: excess });
        }
        *level = Some(after);
        Ok(())
    }

    fn levels(&self) -> std::sync::MutexGuard<'_, [Option<Instant>; 3]> {
        lock(&self.full_at)
    }
}

/// Meters are told apart by their limits alone: a grant is the same grant whatever was used under it.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        self.quota == other.quota
    }
}

impl Eq for Meter {}

/// How long the bucket takes to refill by so much.
fn time_of(amount: u64, limit: u64, period: Duration) -> Duration {
    let nanos = period.as_nanos() * u128::from(amount) / u128::from(limit.max(1));
    let most = period.as_nanos().saturating_mul(PERIODS_MAX);
    Duration::from_nanos(u64::try_from(nanos.min(most)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(requests: u32, documents: u32, megabytes: u32) -> Quota {
        Quota {
            requests_per_minute: NonZeroU32::new(requests),
            documents_per_day: NonZeroU32::new(documents),
            megabytes_per_day: NonZeroU32::new(megabytes),
        }
    }

    #[test]
    fn a_bucket_gives_its_limit_at_once_and_then_one_for_each_part_of_the_period() {
        let (meter, start) = (Meter::new(quota(6, 0, 0)), Instant::now());
        for _ in 0..6 {
            meter.take(start, Measure::Requests).unwrap();
        }
        let error = meter.take(start, Measure::Requests).unwrap_err();
        assert_eq!((error.what, error.limit, error.retry_after), (Measure::Requests, 6, Duration::from_secs(10)));
        assert_eq!(meter.left(start, Measure::Requests), Some(0));
        meter.take(start + Duration::from_secs(10), Measure::Requests).unwrap();
        assert!(meter.take(start + Duration::from_secs(10), Measure::Requests).is_err());
        assert_eq!(
            meter.left(start + Duration::from_secs(600), Measure::Requests),
            Some(6),
            "never more than its limit"
        );
        // What is not limited is not counted.
        assert_eq!(meter.left(start, Measure::Documents), None);
        meter.use_up(start, Measure::Bytes, u64::MAX);
        meter.check(start, Measure::Bytes).unwrap();
    }

    #[test]
    fn a_large_document_may_overdraw_the_bucket_and_the_next_waits() {
        let (meter, start) = (Meter::new(quota(0, 0, 24)), Instant::now());
        meter.check(start, Measure::Bytes).unwrap();
        meter.use_up(start, Measure::Bytes, 36 * MEGABYTE);
        let error = meter.check(start, Measure::Bytes).unwrap_err();
        let twelve_hours = Duration::from_secs(12 * 3_600);
        assert!(error.retry_after.abs_diff(twelve_hours) < Duration::from_secs(1), "{error:?}");
        meter.check(start + twelve_hours + Duration::from_secs(1), Measure::Bytes).unwrap();
    }

    #[test]
    fn what_led_to_nothing_is_given_back_and_other_limits_keep_what_was_used() {
        let (meter, start) = (Meter::new(quota(0, 2, 0)), Instant::now());
        meter.take(start, Measure::Documents).unwrap();
        meter.take(start, Measure::Documents).unwrap();
        meter.give_back(Measure::Documents);
        assert_eq!(meter.left(start, Measure::Documents), Some(1));
        let wider = meter.changed(start, quota(0, 4, 0));
        assert_eq!(wider.left(start, Measure::Documents), Some(3), "one of four was used");
        assert_eq!(wider.changed(start, quota(0, 1, 0)).left(start, Measure::Documents), Some(0));
        Meter::default().give_back(Measure::Documents);
    }
}
