//! A day of Vietnam's calendar. The zone is +07:00 the whole year.

use std::{fmt, str::FromStr};

use truc_proto::{Timestamp, edxml::Date};

const DAY_MS: i64 = 86_400_000;
const VIETNAM_MS: i64 = 7 * 3_600_000;

/// A day, from midnight to midnight at +07:00. Text form: `2026-11-22`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(i64);

/// Not a day as `yyyy-MM-dd` that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written yyyy-MM-dd, such as 2026-11-22, and must exist")]
pub struct DayError;

impl Day {
    /// The day that this moment lies in.
    #[must_use]
    pub const fn of(moment: Timestamp) -> Self {
        Self((moment.unix_ms() + VIETNAM_MS).div_euclid(DAY_MS))
    }

    /// So many minutes into the day.
    #[must_use]
    pub fn at(self, minutes: u32) -> Timestamp {
        Timestamp::from_unix_ms(self.0 * DAY_MS - VIETNAM_MS + i64::from(minutes) * 60_000)
    }

    /// The day so many days later.
    #[must_use]
    pub const fn plus(self, days: i64) -> Self {
        Self(self.0 + days)
    }

    /// How many days later than `earlier` it is.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Saturday or Sunday.
    #[must_use]
    pub const fn is_weekend(self) -> bool {
        // 1970-01-01 was a Thursday.
        matches!((self.0 + 3).rem_euclid(7), 5 | 6)
    }

    /// Its year.
    #[must_use]
    pub fn year(self) -> u16 {
        Date::of(self.at(0)).parts().0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = Date::of(self.at(0)).parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let plain = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() != 10 || !text.bytes().enumerate().all(plain) {
            return Err(DayError);
        }
        // Noon of it at +07:00, read by the reader of all other times: it knows which days exist.
        let noon: Timestamp = format!("{text}T12:00:00+07:00").parse().map_err(|_| DayError)?;
        Ok(Self::of(noon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_vietnam() {
        let day: Day = "2026-11-22".parse().unwrap();
        assert_eq!(day.at(0).to_string(), "2026-11-21T17:00:00.000Z");
        assert_eq!(Day::of("2026-11-21T16:59:59.999Z".parse().unwrap()), day.plus(-1));
        assert_eq!(Day::of("2026-11-21T17:00:00Z".parse().unwrap()), day);
        assert!(day.is_weekend() && day.plus(-1).is_weekend() && !day.plus(1).is_weekend());
        assert_eq!((day.to_string(), day.year(), day.plus(40).since(day)), ("2026-11-22".into(), 2026, 40));
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for bad in ["2026-02-29", "2026-2-9", "2026/02/09", "2026-02-09T", "", "ngày mai", "2026-13-01", "1969-12-31"]
        {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        assert!("2028-02-29".parse::<Day>().is_ok());
    }
}
