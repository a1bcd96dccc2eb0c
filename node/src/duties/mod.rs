//! What has to be done by when (docs/DUTIES.md): NĐ 30/2020/NĐ-CP and QĐ 28/2018/QĐ-TTg have documents sent and taken the same day,
//! urgent ones at once. Pure; the core decides by it, statistics count by it.

mod calendar;
mod day;

use std::time::Duration;

use truc_proto::{Priority, Timestamp};

pub use calendar::{Calendar, CalendarError, Hours, Rule};
pub use day::{Day, DayError};

/// So many days ahead it is said that the calendar has no holidays of a year.
const NOTICE_DAYS: i64 = 31;

/// A duty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Duty {
    /// What this node accepted is taken by the relay, or by today's axis. Persisted: never change a number.
    Send = 1,
    /// What was consigned here is taken by the document system, and answered with a status.
    Receipt = 2,
    /// What was sent is taken or answered by its recipient.
    Recipients = 3,
}

impl Duty {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Send, Self::Receipt, Self::Recipients];

    /// The word of the local APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receipt => "receipt",
            Self::Recipients => "recipients",
        }
    }

    /// By its number in the journal.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|duty| *duty as u32 == number)
    }
}

/// How a duty goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It has not begun.
    NotYet,
    /// Somebody waits for it.
    Open {
        /// Since when.
        since: Timestamp,
    },
    /// It was done.
    Done {
        /// When it began.
        since: Timestamp,
        /// When it was done.
        at: Timestamp,
    },
    /// Nobody waits for it any more: failed, or withdrawn.
    Ended,
}

/// Where an open duty stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// There is time.
    Early,
    /// Its deadline is near.
    Due,
    /// Its deadline has passed.
    Late,
}

impl Standing {
    /// The word of the local APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Due => "due",
            Self::Late => "late",
        }
    }
}

/// The rules of a node, and the calendar that they go by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DutyRules {
    /// Working days and hours.
    pub calendar: Calendar,
    /// For [`Duty::Send`]; none: it is no duty here.
    pub send: Option<Rule>,
    /// For [`Duty::Receipt`].
    pub receipt: Option<Rule>,
    /// What is taken has to be answered with a status, too (01 and above).
    pub receipt_status: bool,
    /// For [`Duty::Recipients`].
    pub recipients: Option<Rule>,
    /// How long after it came an urgent document has to be dealt with, by priority 1 to 4.
    pub urgent: [Duration; 4],
    /// So long before the deadline it is said that it is near; at the earliest at half of the time.
    pub warn: Duration,
}

impl Default for DutyRules {
    fn default() -> Self {
        Self {
            calendar: Calendar::vietnam(Hours::default()),
            send: Some(Rule::NextMorning),
            receipt: Some(Rule::SameDay),
            receipt_status: true,
            recipients: Some(Rule::SameDay),
            urgent: [60, 30, 15, 15].map(|minutes| Duration::from_secs(minutes * 60)),
            warn: Duration::from_secs(120 * 60),
        }
    }
}

impl DutyRules {
    /// By when a duty is to be done that began then.
    #[must_use]
    pub fn deadline(&self, duty: Duty, since: Timestamp, priority: Priority) -> Option<Timestamp> {
        let rule = match duty {
            Duty::Send => self.send,
            Duty::Receipt => self.receipt,
            Duty::Recipients => self.recipients,
        }?;
        let urgent = usize::from(priority.value()).checked_sub(1).and_then(|at| self.urgent.get(at));
        Some(self.calendar.deadline(since, urgent.map_or(rule, |time| Rule::Within(*time))))
    }

    /// From when on a deadline is near.
    #[must_use]
    pub fn warning(&self, since: Timestamp, deadline: Timestamp) -> Timestamp {
        deadline.before(self.warn.min(deadline.since(since) / 2))
    }

    /// Where a duty stands now, and its deadline; none while nobody waits for it.
    #[must_use]
    pub fn standing(
        &self,
        duty: Duty,
        course: Course,
        priority: Priority,
        now: Timestamp,
    ) -> Option<(Standing, Timestamp)> {
        let Course::Open { since } = course else { return None };
        let deadline = self.deadline(duty, since, priority)?;
        let standing = match now {
            now if now >= deadline => Standing::Late,
            now if now >= self.warning(since, deadline) => Standing::Due,
            _ => Standing::Early,
        };
        Some((standing, deadline))
    }

    /// Whether it was done too late, or is late now.
    #[must_use]
    pub fn was_late(&self, duty: Duty, course: Course, priority: Priority, now: Timestamp) -> bool {
        let (since, at) = match course {
            Course::Open { since } => (since, now),
            Course::Done { since, at } => (since, at),
            Course::NotYet | Course::Ended => return false,
        };
        self.deadline(duty, since, priority).is_some_and(|deadline| at >= deadline)
    }

    /// What a person should know of the calendar now, in both languages: that the holidays of this year, in its last month also those of the next, are
    /// not known.
    #[must_use]
    pub fn notice(&self, now: Timestamp) -> Option<String> {
        let years = [Day::of(now), Day::of(now).plus(NOTICE_DAYS)].map(Day::year);
        let unknown = years.into_iter().find(|year| !self.calendar.knows(*year))?;
        Some(format!(
            "the calendar of working days has no holidays of {unknown}: only Saturdays and Sundays are days off in that year; name a newer calendar in `duties.calendar` / Lịch ngày làm việc chưa có ngày nghỉ lễ, Tết năm {unknown}: trong năm đó chỉ tính thứ Bảy, Chủ nhật là ngày nghỉ; quản trị viên khai báo lịch mới ở `duties.calendar`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("{text}:00+07:00").parse().unwrap()
    }

    #[test]
    fn a_warning_comes_two_hours_ahead_or_at_half_of_a_short_time() {
        let rules = DutyRules::default();
        let since = at("2026-11-20T08:00");
        let deadline = rules.deadline(Duty::Receipt, since, Priority::ORDINARY).unwrap();
        assert_eq!((deadline, rules.warning(since, deadline)), (at("2026-11-20T17:00"), at("2026-11-20T15:00")));
        let urgent = Priority::try_from(1).unwrap();
        let deadline = rules.deadline(Duty::Receipt, since, urgent).unwrap();
        assert_eq!((deadline, rules.warning(since, deadline)), (at("2026-11-20T09:00"), at("2026-11-20T08:30")));
    }

    #[test]
    fn late_is_what_was_done_behind_its_deadline_or_is_still_open_there() {
        let rules = DutyRules::default();
        let since = at("2026-11-20T08:00");
        let late = |course, now| rules.was_late(Duty::Receipt, course, Priority::ORDINARY, at(now));
        assert!(!late(Course::Open { since }, "2026-11-20T16:59") && late(Course::Open { since }, "2026-11-20T17:00"));
        assert!(!late(Course::Done { since, at: at("2026-11-20T16:59") }, "2026-12-01T00:00"));
        assert!(late(Course::Done { since, at: at("2026-11-21T08:00") }, "2026-12-01T00:00"));
        assert!(!late(Course::Ended, "2026-12-01T00:00"));
        let off = DutyRules { receipt: None, ..DutyRules::default() };
        assert!(!off.was_late(Duty::Receipt, Course::Open { since }, Priority::ORDINARY, at("2026-12-01T00:00")));
    }

    #[test]
    fn a_calendar_that_ends_is_said() {
        let rules = DutyRules::default();
        assert_eq!(rules.notice(at("2026-12-31T23:00")), None);
        assert_eq!(rules.notice(at("2027-11-30T23:00")), None);
        for moment in ["2027-12-01T00:00", "2028-01-01T00:00", "2028-11-30T00:00"] {
            let said = rules.notice(at(moment)).unwrap();
            assert!(said.contains("no holidays of 2028") && said.contains("Tết năm 2028"), "{said}");
        }
        let mut calendar = Calendar::vietnam(Hours::default());
        calendar.add("2028-01-26 holiday Tết Nguyên đán Mậu Thân").unwrap();
        let rules = DutyRules { calendar, ..rules };
        assert_eq!(rules.notice(at("2028-01-01T00:00")), None);
        assert!(rules.notice(at("2028-12-15T00:00")).unwrap().contains("2029"));
    }
}
