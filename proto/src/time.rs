//! Points in time, to the millisecond. Time comes in as a value; nothing here reads a clock.

use std::{fmt, ops::Add, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
///
/// Text form: RFC 3339. We write UTC with exactly three decimals (`2026-11-22T01:30:00.123Z`); we read any zone,
/// a zone is required, and what is finer than a millisecond is refused rather than rounded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time with a zone, at most to the millisecond, between the years 1970 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time with a zone, to the millisecond at most, e.g. 2026-11-22T08:30:00+07:00")]
pub struct TimestampParseError;

/// 9999-12-31T23:59:59.999Z
const LATEST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self(0);
    /// The last representable moment, 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(LATEST_MS);

    /// From milliseconds since 1970; values outside 1970..=9999 are clamped.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(0, LATEST_MS))
    }

    /// From seconds since 1970; clamped like [`Timestamp::from_unix_ms`].
    #[must_use]
    pub fn from_unix_s(s: i64) -> Self {
        Self::from_unix_ms(s.saturating_mul(1_000))
    }

    /// Milliseconds since 1970, never negative.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, never negative.
    #[must_use]
    pub const fn unix_s(self) -> i64 {
        self.0 / 1_000
    }

    /// How long `earlier` lies before this moment; zero when it does not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The moment `duration` before this one, not before 1970.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// In Vietnam's zone as people read it: `22/11/2026 08:30:00 +07:00` (NĐ 30/2020 Phụ lục I).
    #[must_use]
    pub fn in_vietnam(self) -> String {
        let offset = UtcOffset::from_hms(7, 0, 0).unwrap_or(UtcOffset::UTC);
        let t = self.utc().to_offset(offset);
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        format!("{day:02}/{month:02}/{year:04} {:02}:{:02}:{:02} +07:00", t.hour(), t.minute(), t.second())
    }

    fn utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.utc();
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        let (hour, minute, second, ms) = (t.hour(), t.minute(), t.second(), t.millisecond());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser takes any character between date and time, and drops digits of a second from the tenth on: two texts more for one reader
        // than for another (RFC 3339 5.6).
        let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        if !separated || fraction.bytes().take_while(u8::is_ascii_digit).count() > 9 {
            return Err(TimestampParseError);
        }
        let t = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampParseError)?;
        let ns = t.unix_timestamp_nanos();
        let ms = i64::try_from(ns / 1_000_000).map_err(|_| TimestampParseError)?;
        if ns % 1_000_000 != 0 || !(0..=LATEST_MS).contains(&ms) {
            return Err(TimestampParseError);
        }
        Ok(Self(ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_zone_is_read_and_utc_is_written() {
        let t: Timestamp = "2025-06-30T19:00:00+07:00".parse().unwrap();
        assert_eq!(t.to_string(), "2025-06-30T12:00:00.000Z");
        assert_eq!(t.in_vietnam(), "30/06/2025 19:00:00 +07:00");
        assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
    }

    #[test]
    fn a_time_without_zone_or_too_fine_is_refused() {
        for bad in ["2025-06-30T19:00:00", "2025-06-30", "2025-06-30T19:00:00.0001Z", "1969-12-31T23:59:59Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_that_another_reader_could_read_otherwise_is_refused() {
        assert_eq!("2025-06-30 12:00:00.000000000z".parse(), "2025-06-30T12:00:00Z".parse::<Timestamp>());
        for bad in ["2025-06-30x12:00:00Z", "2025-06-30\n12:00:00Z", "2025-06-30T12:00:00.0000000001Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
