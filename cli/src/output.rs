//! What people and scripts read: aligned tables and coloured verdicts on a terminal, one JSON value with `--json`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::exit::Failure;

/// When to colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A verdict's colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Unsure,
    Quiet,
    Strong,
}

/// Where output goes and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    coloured: bool,
}

impl Output {
    pub(crate) fn new(json: bool, colour: Colour) -> Self {
        let coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal(),
        };
        Self { json, coloured: coloured && !json }
    }

    /// Prints `value` with `--json`, else what `human` prints.
    pub(crate) fn show(&self, value: &Value, human: impl FnOnce(&Self)) {
        if self.json {
            put(format_args!("{value:#}"));
        } else {
            human(self);
        }
    }

    /// One line for people.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            put(format_args!("{}", text.as_ref()));
        }
    }

    /// Text in a colour, where colours are on.
    pub(crate) fn paint(&self, tone: Tone, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if !self.coloured {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Unsure => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// An aligned table; the header is left out when there are no rows and `empty` is said instead.
    pub(crate) fn table<const N: usize>(&self, header: [&str; N], rows: &[[String; N]], empty: &str) {
        if rows.is_empty() {
            return self.line(empty);
        }
        let mut widths = header.map(|h| h.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(printable(cell).chars().count());
            }
        }
        self.line(self.paint(Tone::Strong, aligned(&header.map(str::to_owned), &widths)));
        for row in rows {
            self.line(aligned(row, &widths));
        }
    }

    /// Says on standard error why a command failed, in English and in Vietnamese.
    #[expect(clippy::print_stderr, reason = "the tool's own failure message")]
    pub(crate) fn failure(&self, failure: &Failure) {
        let vietnamese = failure.vietnamese.as_deref().or_else(|| failure.exit.vietnamese());
        if self.json {
            let reason = failure.reason.as_deref();
            let said = json!({ "error": failure.to_string(), "vietnamese": vietnamese, "reason": reason, "exit": failure.exit as u8 });
            return put(format_args!("{said:#}"));
        }
        eprintln!("{} {failure}", self.paint(Tone::Bad, "truc:"));
        if let Some(text) = vietnamese {
            eprintln!("      {text}");
        }
    }
}

/// A line on standard output. Whoever ends the pipe, as `head` does, has read enough.
fn put(text: std::fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.expect("standard output can be written"),
    }
}

/// Control characters of other people's text must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn aligned<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = printable(cell);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    line.trim_end().to_owned()
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes;
    let mut tenths = 0;
    let mut unit = "B";
    for name in UNITS {
        if scaled < 1024 {
            break;
        }
        tenths = (scaled % 1024) * 10 / 1024;
        scaled /= 1024;
        unit = name;
    }
    format!("{scaled}.{tenths} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [size(0), size(1023), size(1024), size(1_572_864), size(100 << 20)],
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "100.0 MiB"]
        );
    }

    #[test]
    fn a_hostile_subject_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
