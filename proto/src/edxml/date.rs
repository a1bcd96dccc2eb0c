//! Dates and times as edXML writes them, and document ids. What cannot be read is kept as text beside an absent value.

use std::{fmt, str::FromStr};

use crate::{ForeignCode, Timestamp};

/// Vietnam's zone: edXML times carry none and mean this one.
const VIETNAM_OFFSET_MS: i64 = 7 * 3_600_000;

/// A calendar day, text form `yyyy/MM/dd`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date(time::Date);

impl Date {
    /// The day, when it exists.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let month = time::Month::try_from(month).ok()?;
        time::Date::from_calendar_date(i32::from(year), month, day).ok().map(Self)
    }

    /// Year, month and day.
    #[must_use]
    pub fn parts(self) -> (u16, u8, u8) {
        (u16::try_from(self.0.year()).unwrap_or_default(), u8::from(self.0.month()), self.0.day())
    }

    /// The day on Vietnam's calendar at that moment.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        Self(in_vietnam(moment).date())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}/{:02}/{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

/// Not `yyyy/MM/dd` (a day), or not `yyyy/MM/dd HH:mm:ss` (a moment).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day as yyyy/MM/dd, or a time as yyyy/MM/dd HH:mm:ss, that exists")]
pub struct DateError;

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let [year, month, day] = numbers(text, '/', [4, 2, 2]).ok_or(DateError)?;
        let narrow = |n: u16| u8::try_from(n).map_err(|_| DateError);
        Self::new(year, narrow(month)?, narrow(day)?).ok_or(DateError)
    }
}

/// Exactly three numbers of at most the given widths; nothing else.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (value, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.len() <= width && part.bytes().all(|b| b.is_ascii_digit());
        *value = digits.then(|| part.parse().ok()).flatten()?;
    }
    (parts.next().is_none() && text.find(separator)? == widths.first().copied()?.min(text.len())).then_some(found)
}

/// A text and what it means, if it means anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated<T> {
    /// As it was written, trimmed.
    pub text: String,
    /// What it says; absent when it names no day or moment.
    pub value: Option<T>,
}

impl<T> fmt::Display for Dated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Dated<Date> {
    /// Reads a day; never fails, the value may be absent.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self { text: text.trim().to_owned(), value: text.trim().parse().ok() }
    }
}

impl From<Date> for Dated<Date> {
    fn from(value: Date) -> Self {
        Self { text: value.to_string(), value: Some(value) }
    }
}

impl Dated<Timestamp> {
    /// Reads a moment, which has no zone and means +07:00; never fails, the value may be absent.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self { text: text.trim().to_owned(), value: read_moment(text.trim()) }
    }
}

impl From<Timestamp> for Dated<Timestamp> {
    fn from(value: Timestamp) -> Self {
        let t = in_vietnam(value);
        let text = format!("{} {:02}:{:02}:{:02}", Date(t.date()), t.hour(), t.minute(), t.second());
        Self { text, value: Some(Timestamp::from_unix_s(value.unix_s())) }
    }
}

fn read_moment(text: &str) -> Option<Timestamp> {
    let (day, clock) = text.split_once(' ')?;
    let day: Date = day.parse().ok()?;
    let [hour, minute, second] = numbers(clock.trim_start(), ':', [2, 2, 2])?;
    let narrow = |n: u16| u8::try_from(n).ok();
    let local = day.0.with_hms(narrow(hour)?, narrow(minute)?, narrow(second)?).ok()?;
    let ms = local.assume_utc().unix_timestamp().checked_mul(1_000)?.checked_sub(VIETNAM_OFFSET_MS)?;
    (ms >= 0 && ms <= Timestamp::MAX.unix_ms()).then(|| Timestamp::from_unix_ms(ms))
}

fn in_vietnam(moment: Timestamp) -> time::OffsetDateTime {
    let shifted = moment.unix_s().saturating_add(VIETNAM_OFFSET_MS / 1_000);
    time::OffsetDateTime::from_unix_timestamp(shifted).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// What a DocumentId says, read leniently. The text itself stays the key: correlate on it, never on these parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DocumentId {
    /// `OrganId,yyyy/MM/dd,number/notation`
    Parts {
        /// The issuing agency.
        organ: ForeignCode,
        /// The day of issue; its value may be absent (`2014/02/30`).
        date: Dated<Date>,
        /// Before the first slash.
        number: String,
        /// After the first slash; holds Đ, dashes and further slashes.
        notation: String,
    },
    /// A UUID.
    Uuid(uuid::Uuid),
    /// Anything else.
    Other,
}

impl DocumentId {
    /// Reads the text; never fails.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        if let Ok(id) = uuid::Uuid::try_parse(text) {
            return Self::Uuid(id);
        }
        Self::parts(text).unwrap_or(Self::Other)
    }

    fn parts(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ',').map(str::trim);
        let (organ, date, code) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let (number, notation) = code.split_once('/')?;
        let date = Dated::<Date>::read(date);
        Some(Self::Parts { organ, date, number: number.trim().into(), notation: notation.trim().into() })
    }

    /// Writes the usual form.
    #[must_use]
    pub fn compose(organ: &crate::AgencyId, date: Date, number: &str, notation: &str) -> String {
        format!("{organ},{date},{number}/{notation}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_that_exist_are_read() {
        assert_eq!(Dated::<Date>::read(" 2031/02/03 ").value, Date::new(2031, 2, 3));
        assert_eq!(Dated::<Date>::read("2031/2/3").value, Date::new(2031, 2, 3));
        for bad in ["30/10/2020", "2014/02/30", "2031-02-03", "2031/02/03x", "2031/02", "", "2031/02/03/04", "/1/1"] {
            assert_eq!(Dated::<Date>::read(bad).value, None, "{bad}");
        }
    }

    #[test]
    fn moments_mean_vietnams_zone_and_round_trip() {
        let read = Dated::<Timestamp>::read("2031/02/03 00:09:10");
        assert_eq!(read.value.unwrap().to_string(), "2031-02-02T17:09:10.000Z");
        assert_eq!(Dated::from(read.value.unwrap()), read);
        for bad in ["2031/02/03", "2031/02/03 25:00:00", "2031/02/03 08:09", "0001/01/01 00:00:00", "x y"] {
            assert_eq!(Dated::<Timestamp>::read(bad).value, None, "{bad}");
        }
    }

    #[test]
    fn document_ids_are_read_leniently() {
        let DocumentId::Parts { organ, date, number, notation } =
            DocumentId::read("000.00.00.G22,2015/09/30,7816/VPCP-TTĐT/2")
        else {
            panic!("not read as parts")
        };
        assert_eq!((organ.as_str(), date.text.as_str()), ("000.00.00.G22", "2015/09/30"));
        assert_eq!((number.as_str(), notation.as_str()), ("7816", "VPCP-TTĐT/2"));
        assert!(matches!(
            DocumentId::read("H26,2014/02/30,1/A"),
            DocumentId::Parts { date: Dated { value: None, .. }, .. }
        ));
        assert!(matches!(DocumentId::read("2f1c0d1e-0000-4000-8000-000000000001"), DocumentId::Uuid(_)));
        for other in ["", "abc", ",,", "H26,2031/01/01,12"] {
            assert_eq!(DocumentId::read(other), DocumentId::Other, "{other}");
        }
    }
}
