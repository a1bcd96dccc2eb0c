//! Working days and hours. Pure: a table of days, and what follows from it.

use std::{collections::BTreeMap, time::Duration};

use truc_proto::{
    Timestamp,
    limits::{CALENDAR_BYTES_MAX, CALENDAR_DAYS_MAX},
};

use super::Day;

/// Vietnam's public holidays, as far as they are known.
const VIETNAM: &str = include_str!("vietnam.txt");
const NOON: u32 = 12 * 60;
/// No stretch of days off is longer; what says so is no calendar.
const DAYS_OFF_MAX: i64 = 60;

/// What a day of the table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Holiday,
    Working,
}

/// When something has to be done that came at a certain time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// By the end of that working day; what comes behind its hours, or on a day off, by the end of the next one.
    SameDay,
    /// By noon of the next working day.
    NextMorning,
    /// So long after it came, at any hour of any day.
    Within(Duration),
}

/// The working hours of a day, in minutes from midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// When they begin.
    pub begin: u32,
    /// When they end.
    pub end: u32,
}

impl Default for Hours {
    /// 07:30 to 17:00.
    fn default() -> Self {
        Self { begin: 7 * 60 + 30, end: 17 * 60 }
    }
}

impl std::str::FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minutes = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let two = |text: &str, below: u32| {
                let good = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                text.parse::<u32>().ok().filter(|number| good && *number < below)
            };
            Some(two(hour, 24)? * 60 + two(minute, 60)?)
        };
        let hours = text
            .split_once('-')
            .and_then(|(begin, end)| Some(Self { begin: minutes(begin.trim())?, end: minutes(end.trim())? }));
        hours
            .filter(|hours| hours.begin < NOON && NOON < hours.end)
            .ok_or_else(|| format!("{text:?} are no working hours such as 07:30-17:00, with noon between them"))
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { begin, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

/// A line of a calendar's file that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// It names its line.
    #[error(
        "line {line}: {why}; a line is a day, `holiday` or `working`, and a name: 2027-09-03 holiday Quốc khánh / Dòng {line} sai: mỗi dòng gồm ngày, `holiday` (nghỉ) hoặc `working` (làm bù), và tên"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// More than a calendar needs.
    #[error("it is longer than {CALENDAR_BYTES_MAX} bytes or {CALENDAR_DAYS_MAX} days / Tệp lịch quá dài")]
    TooLong,
}

/// Working days and hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar {
    days: BTreeMap<Day, Kind>,
    hours: Hours,
}

impl Calendar {
    /// Vietnam's, as far as its holidays are known.
    #[must_use]
    pub fn vietnam(hours: Hours) -> Self {
        let mut calendar = Self { days: BTreeMap::new(), hours };
        // The table is ours: a test reads it whole.
        let _ = calendar.add(VIETNAM);
        calendar
    }

    /// Adds the days of a file, which override those that are there.
    ///
    /// # Errors
    /// Naming the line that says nothing; then nothing is added.
    pub fn add(&mut self, text: &str) -> Result<(), CalendarError> {
        if text.len() > CALENDAR_BYTES_MAX {
            return Err(CalendarError::TooLong);
        }
        let mut days = self.days.clone();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| CalendarError::Line { line: at + 1, why };
            let mut words = line.split_whitespace();
            let day: Day =
                words.next().unwrap_or_default().parse().map_err(|error: super::DayError| wrong(error.to_string()))?;
            let kind = match words.next() {
                Some("holiday") => Kind::Holiday,
                Some("working") => Kind::Working,
                other => {
                    return Err(wrong(format!("{:?} is neither `holiday` nor `working`", other.unwrap_or_default())));
                }
            };
            if words.next().is_none() {
                return Err(wrong("the name is missing".to_owned()));
            }
            days.insert(day, kind);
        }
        if days.len() > CALENDAR_DAYS_MAX {
            return Err(CalendarError::TooLong);
        }
        self.days = days;
        Ok(())
    }

    /// Whether it knows the holidays of this year: those of a year without its Tết are not known, whatever else somebody added. Then only weekends count.
    #[must_use]
    pub fn knows(&self, year: u16) -> bool {
        let day = |text: &str| format!("{year:04}-{text}").parse::<Day>().ok();
        // The first day of Tết lies between 21 January and 20 February.
        let Some((first, last)) = day("01-21").zip(day("02-20")) else { return false };
        self.days.range(first..=last).any(|(_, kind)| *kind == Kind::Holiday)
    }

    /// Whether this day is worked.
    #[must_use]
    pub fn is_working(&self, day: Day) -> bool {
        self.days.get(&day).map_or_else(|| !day.is_weekend(), |kind| *kind == Kind::Working)
    }

    /// The first working day behind this one.
    fn next_working(&self, day: Day) -> Day {
        let days = (1..=DAYS_OFF_MAX).map(|days| day.plus(days));
        days.into_iter().find(|day| self.is_working(*day)).unwrap_or_else(|| day.plus(DAYS_OFF_MAX))
    }

    /// Until when what came at `from` has to be done.
    #[must_use]
    pub fn deadline(&self, from: Timestamp, rule: Rule) -> Timestamp {
        let day = Day::of(from);
        match rule {
            Rule::SameDay if self.is_working(day) && from < day.at(self.hours.end) => day.at(self.hours.end),
            Rule::SameDay => self.next_working(day).at(self.hours.end),
            Rule::NextMorning => self.next_working(day).at(NOON),
            Rule::Within(time) => from + time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, rule: Rule, deadline: &str) {
        let calendar = Calendar::vietnam(Hours::default());
        let read = |text: &str| format!("{text}:00+07:00").parse::<Timestamp>().unwrap();
        assert_eq!(calendar.deadline(read(from), rule).in_vietnam(), read(deadline).in_vietnam(), "{from}");
    }

    #[test]
    fn the_same_day_ends_with_its_hours() {
        check("2026-11-20T09:00", Rule::SameDay, "2026-11-20T17:00");
        check("2026-11-20T05:00", Rule::SameDay, "2026-11-20T17:00");
        // Friday evening, and the weekend.
        check("2026-11-20T17:00", Rule::SameDay, "2026-11-23T17:00");
        check("2026-11-21T10:00", Rule::SameDay, "2026-11-23T17:00");
        check("2026-11-22T23:59", Rule::SameDay, "2026-11-23T17:00");
    }

    #[test]
    fn the_next_morning_ends_at_noon_of_a_working_day() {
        check("2026-11-19T23:00", Rule::NextMorning, "2026-11-20T12:00");
        check("2026-11-20T09:00", Rule::NextMorning, "2026-11-23T12:00");
        check("2026-11-21T09:00", Rule::NextMorning, "2026-11-23T12:00");
    }

    #[test]
    fn at_once_means_at_any_hour() {
        check("2026-02-17T00:10", Rule::Within(Duration::from_secs(1_800)), "2026-02-17T00:40");
    }

    #[test]
    fn nobody_works_at_tet_and_swapped_days_are_worked() {
        // The last working day before Tết Bính Ngọ is Friday the 13th, the first one behind it Monday the 23rd.
        check("2026-02-13T16:59", Rule::SameDay, "2026-02-13T17:00");
        check("2026-02-13T17:30", Rule::SameDay, "2026-02-23T17:00");
        check("2026-02-13T09:00", Rule::NextMorning, "2026-02-23T12:00");
        check("2026-02-17T09:00", Rule::SameDay, "2026-02-23T17:00");
        // 2/1/2026 is off, and Saturday 10/1 worked instead.
        check("2026-01-01T09:00", Rule::SameDay, "2026-01-05T17:00");
        check("2026-01-09T18:00", Rule::SameDay, "2026-01-10T17:00");
        check("2026-01-10T09:00", Rule::SameDay, "2026-01-10T17:00");
        // Quốc khánh from 29/8 to 2/9, with Saturday 22/8 worked.
        check("2026-08-28T18:00", Rule::NextMorning, "2026-09-03T12:00");
        check("2026-08-21T18:00", Rule::NextMorning, "2026-08-22T12:00");
        check("2025-04-30T08:00", Rule::SameDay, "2025-05-05T17:00");
        // Ngày Văn hóa Việt Nam, from 2026 on.
        check("2026-11-23T18:00", Rule::SameDay, "2026-11-25T17:00");
        check("2027-11-23T09:00", Rule::NextMorning, "2027-11-25T12:00");
        // Tết Đinh Mùi, as far as it is certain.
        check("2027-02-05T09:00", Rule::NextMorning, "2027-02-11T12:00");
    }

    #[test]
    fn in_a_year_that_is_not_known_only_weekends_count_until_its_tet_is_added() {
        let mut calendar = Calendar::vietnam(Hours::default());
        let known = |calendar: &Calendar| (2024..2030).filter(|year| calendar.knows(*year)).collect::<Vec<_>>();
        assert_eq!(known(&calendar), [2025, 2026, 2027]);
        // Tết 2028 is not known.
        check("2028-01-26T09:00", Rule::SameDay, "2028-01-26T17:00");
        check("2028-01-29T09:00", Rule::SameDay, "2028-01-31T17:00");
        calendar.add("2028-06-01 holiday Ngày truyền thống\n2028-02-12 working Làm bù").unwrap();
        assert!(!calendar.knows(2028), "a day of one's own is no year");
        calendar.add("2028-01-26 holiday Tết Nguyên đán Mậu Thân").unwrap();
        assert_eq!(known(&calendar), [2025, 2026, 2027, 2028]);
    }

    #[test]
    fn a_file_adds_days_and_overrides_them_or_says_which_line_is_wrong() {
        let mut calendar = Calendar::vietnam(Hours::default());
        calendar
            .add("\u{feff}# Nghỉ riêng của tỉnh\n\n2026-11-23  holiday Ngày truyền thống\r\n2026-09-01 working Trực")
            .unwrap();
        assert!(!calendar.is_working("2026-11-23".parse().unwrap()));
        assert!(calendar.is_working("2026-09-01".parse().unwrap()));
        let before = calendar.clone();
        for (bad, line) in [
            ("2026-11-24 holiday a\n2026-02-30 holiday x", 2),
            ("24/11/2026 holiday x", 1),
            ("\n\n2026-11-24 nghỉ x", 3),
            ("2026-11-24 holiday", 1),
            ("2026-11-24", 1),
        ] {
            match calendar.add(bad) {
                Err(CalendarError::Line { line: named, .. }) => assert_eq!(named, line, "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert_eq!(calendar.add(&"#".repeat(CALENDAR_BYTES_MAX + 1)), Err(CalendarError::TooLong));
        assert_eq!(calendar, before);
    }

    #[test]
    fn the_table_of_vietnam_is_read_whole_and_says_nothing_twice() {
        let mut calendar = Calendar { days: BTreeMap::new(), hours: Hours::default() };
        calendar.add(VIETNAM).unwrap();
        let lines = VIETNAM.lines().filter(|line| line.starts_with("20")).count();
        assert_eq!(calendar.days.len(), lines);
        // Only a Saturday or Sunday has to be said to be worked.
        for (day, kind) in &calendar.days {
            assert!(*kind == Kind::Holiday || day.is_weekend(), "{day}");
        }
        for year in ["2025", "2026", "2027"] {
            for day in ["01-01", "04-30", "05-01", "09-02"] {
                assert!(!calendar.is_working(format!("{year}-{day}").parse().unwrap()), "{year}-{day}");
            }
        }
    }

    #[test]
    fn a_calendar_without_working_days_still_gives_a_deadline() {
        let mut calendar = Calendar::vietnam(Hours::default());
        let first: Day = "2026-11-01".parse().unwrap();
        let lines: Vec<String> = (0..400).map(|n| format!("{} holiday x", first.plus(n))).collect();
        calendar.add(&lines.join("\n")).unwrap();
        let from = first.at(600);
        assert!(calendar.deadline(from, Rule::SameDay) > from);
    }

    #[test]
    fn hours_have_noon_between_them() {
        assert_eq!("07:30-17:00".parse::<Hours>().unwrap(), Hours::default());
        assert_eq!(Hours::default().to_string(), "07:30-17:00");
        for bad in
            ["", "7:30-17:00", "07:30", "13:00-17:00", "08:00-11:00", "08:00-24:00", "17:00-07:30", "08:60-17:00"]
        {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }
}
