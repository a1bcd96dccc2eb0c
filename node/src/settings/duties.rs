//! Section `[duties]`: by when documents have to be sent, taken and answered, and the calendar that this goes by.

use std::{fs, io, path::PathBuf, time::Duration};

use toml::{Table, Value};
use truc_proto::limits::CALENDAR_BYTES_MAX;

use super::read::Reader;
use crate::duties::{Calendar, DutyRules, Hours, Rule};

/// Longest time that an urgent document may be given, and a warning come ahead, in minutes: a week.
const MINUTES_MAX: u64 = 7 * 24 * 60;

/// Deadlines, as configured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DutySettings {
    /// What follows from everything below.
    pub rules: DutyRules,
    /// The file whose days are added to the built-in calendar.
    pub calendar: Option<PathBuf>,
    /// Working hours.
    pub hours: Hours,
}

impl DutySettings {
    /// As it stands in the settings file; what is as by default is left out. `shown` writes paths.
    pub(super) fn to_table(&self, shown: impl Fn(&std::path::Path) -> Value) -> Table {
        let (mut table, default, rules) = (Table::new(), DutyRules::default(), &self.rules);
        table.extend(self.calendar.iter().map(|path| ("calendar".to_owned(), shown(path))));
        let mut put = |name: &str, value: Value, same: bool| {
            if !same {
                table.insert(name.to_owned(), value);
            }
        };
        put("hours", self.hours.to_string().into(), self.hours == Hours::default());
        put("send", word(rules.send).into(), rules.send == default.send);
        put("receipt", word(rules.receipt).into(), rules.receipt == default.receipt);
        put("receipt_status", rules.receipt_status.into(), rules.receipt_status == default.receipt_status);
        put("recipients", word(rules.recipients).into(), rules.recipients == default.recipients);
        let minutes = |time: &Duration| super::integer(time.as_secs() / 60);
        put(
            "urgent_minutes",
            rules.urgent.iter().map(minutes).collect::<Vec<_>>().into(),
            rules.urgent == default.urgent,
        );
        put("warn_minutes", minutes(&rules.warn), rules.warn == default.warn);
        table
    }
}

const fn word(rule: Option<Rule>) -> &'static str {
    match rule {
        Some(Rule::SameDay) => "same-day",
        Some(Rule::NextMorning) => "next-morning",
        Some(Rule::Within(_)) | None => "off",
    }
}

impl Reader<'_> {
    pub(super) fn duties(&mut self, table: &mut Table) -> Option<DutySettings> {
        let mut section = self.optional_section(table, "duties");
        let default = DutyRules::default();
        let hours = if section.contains_key("hours") {
            self.parsed::<Hours>(&mut section, "hours", "duties.")
        } else {
            Some(Hours::default())
        };
        let send = self.rule(&mut section, "send", default.send);
        let receipt = self.rule(&mut section, "receipt", default.receipt);
        let recipients = self.rule(&mut section, "recipients", default.recipients);
        let receipt_status = match section.remove("receipt_status") {
            None => Some(default.receipt_status),
            Some(Value::Boolean(wanted)) => Some(wanted),
            Some(_) => {
                self.mistakes.push("duties.receipt_status: true or false is wanted".to_owned());
                None
            }
        };
        let urgent = match section.remove("urgent_minutes") {
            None => Some(default.urgent),
            Some(value) => self.urgent(&value),
        };
        let minutes = default.warn.as_secs() / 60;
        let warn = self.number(&mut section, "warn_minutes", "duties.", 0..=MINUTES_MAX).unwrap_or(Some(minutes));
        let mut calendar = Calendar::vietnam(hours.unwrap_or_default());
        let file = if section.contains_key("calendar") {
            let file = self.path(&mut section, "calendar", "duties.");
            if let Some(Err(why)) = file.as_ref().map(|file| read(file, &mut calendar)) {
                self.mistakes.push(format!("duties.calendar: {why}"));
            }
            file.map(Some)
        } else {
            Some(None)
        };
        self.nothing_else(&section, "duties.");
        let rules = DutyRules {
            calendar,
            send: send?,
            receipt: receipt?,
            receipt_status: receipt_status?,
            recipients: recipients?,
            urgent: urgent?,
            warn: Duration::from_secs(warn? * 60),
        };
        Some(DutySettings { rules, calendar: file?, hours: hours? })
    }

    #[expect(clippy::option_option, reason = "off and wrong are told apart")]
    fn rule(&mut self, section: &mut Table, name: &str, default: Option<Rule>) -> Option<Option<Rule>> {
        match section.remove(name).as_ref().map(|value| value.as_str().unwrap_or_default()) {
            None => Some(default),
            Some("off") => Some(None),
            Some("same-day") => Some(Some(Rule::SameDay)),
            Some("next-morning") => Some(Some(Rule::NextMorning)),
            Some(_) => {
                self.mistakes.push(format!("duties.{name}: \"same-day\", \"next-morning\" or \"off\" is wanted"));
                None
            }
        }
    }

    fn urgent(&mut self, value: &Value) -> Option<[Duration; 4]> {
        let number = |value: &Value| {
            let number = u64::try_from(value.as_integer()?).ok()?;
            (1..=MINUTES_MAX).contains(&number).then(|| Duration::from_secs(number * 60))
        };
        let times = value.as_array().and_then(|list| list.iter().map(number).collect::<Option<Vec<_>>>());
        let times = times.and_then(|times| <[Duration; 4]>::try_from(times).ok());
        if times.is_none() {
            self.mistakes.push(format!(
                "duties.urgent_minutes: four numbers from 1 to {MINUTES_MAX} are wanted, for the priorities 1 to 4, such as [60, 30, 15, 15]"
            ));
        }
        times
    }
}

fn read(file: &std::path::Path, calendar: &mut Calendar) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", file.display());
    if fs::metadata(file).map_err(failed)?.len() > CALENDAR_BYTES_MAX as u64 {
        return Err(format!("{} is longer than {CALENDAR_BYTES_MAX} bytes", file.display()));
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    calendar.add(&text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<DutySettings>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good.txt"), "2026-11-23 holiday Ngày truyền thống\n").unwrap();
        fs::write(folder.path().join("bad.txt"), "2026-11-23 holiday x\n2026-11-32 holiday x\n").unwrap();
        let mut reader = Reader::new(folder.path());
        let mut table: Table = text.parse().unwrap();
        (reader.duties(&mut table), reader.into_mistakes())
    }

    #[test]
    fn what_is_not_said_is_as_the_decrees_have_it() {
        let (settings, mistakes) = parse("");
        assert_eq!((settings.unwrap(), mistakes), (DutySettings::default(), vec![]));
        assert!(DutySettings::default().to_table(|_| unreachable!("no path")).is_empty());
    }

    #[test]
    fn what_is_said_is_read_and_written_alike() {
        let text = "[duties]\ncalendar = \"good.txt\"\nhours = \"08:00-16:30\"\nsend = \"same-day\"\nreceipt = \"off\"\nreceipt_status = false\nrecipients = \"next-morning\"\nurgent_minutes = [45, 30, 20, 10]\nwarn_minutes = 30\n";
        let (settings, mistakes) = parse(text);
        assert_eq!(mistakes, Vec::<String>::new());
        let settings = settings.unwrap();
        assert_eq!((settings.rules.send, settings.rules.receipt), (Some(Rule::SameDay), None));
        assert!(!settings.rules.calendar.is_working("2026-11-23".parse().unwrap()));
        let table = settings.to_table(|path| path.file_name().unwrap().to_str().unwrap().into());
        assert_eq!(Table::from_iter([("duties".to_owned(), Value::Table(table))]), text.parse::<Table>().unwrap());
    }

    #[test]
    fn every_mistake_is_told_and_a_calendar_names_its_line() {
        let (_, mistakes) = parse(
            "[duties]\ncalendar = \"bad.txt\"\nhours = \"8-5\"\nsend = \"soon\"\nreceipt_status = 1\nurgent_minutes = [1, 2]\nwarn_minutes = -1\ncolour = 1",
        );
        let told = mistakes.join("\n");
        for wanted in [
            "bad.txt: line 2",
            "duties.hours",
            "duties.send",
            "duties.receipt_status",
            "duties.urgent_minutes",
            "duties.warn_minutes",
            "duties.colour",
        ] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
    }
}
