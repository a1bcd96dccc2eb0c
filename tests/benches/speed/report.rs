//! What was measured, for people and for programs; and how much is to be done.

use std::{fmt, time::Duration};

/// A bound from the table of targets.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// One figure.
pub(crate) struct Figure {
    /// `P1a`.
    pub(crate) id: &'static str,
    /// `16 in flight`.
    pub(crate) what: String,
    pub(crate) value: f64,
    /// `ratio`, `ms`, `MiB`.
    pub(crate) unit: &'static str,
    /// None: no target was set, the figure is for comparison.
    pub(crate) target: Option<Target>,
    /// What it was computed from: name and value with its unit.
    pub(crate) from: Vec<(&'static str, String)>,
}

/// Prints figures as they come.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) json: bool,
    below: usize,
}

impl Report {
    /// Prints one.
    pub(crate) fn add(&mut self, figure: Figure) {
        let holds = figure.target.is_none_or(|target| target.holds(figure.value));
        self.below += usize::from(!holds);
        if self.json { println!("{}", as_json(&figure, holds)) } else { println!("{}", Line(&figure, holds)) }
    }

    /// A measure that cannot be taken here, and why.
    pub(crate) fn skip(&mut self, id: &str, why: &str) {
        if self.json {
            println!("{}", serde_json::json!({ "id": id, "skipped": why }));
        } else {
            println!("{id:<8}SKIPPED: {why}");
        }
    }

    pub(crate) fn finish(&self) {
        if !self.json && self.below > 0 {
            println!("{} below target", self.below);
        }
    }
}

struct Line<'a>(&'a Figure, bool);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(figure, holds) = self;
        write!(f, "{:<8}{:<44}{:>9} {:<7}", figure.id, figure.what, short(figure.value), figure.unit)?;
        let target = match figure.target {
            Some(Target::AtLeast(bound)) => format!("(target ≥ {})", short(bound)),
            Some(Target::AtMost(bound)) => format!("(target ≤ {})", short(bound)),
            None => String::new(),
        };
        write!(f, "{target:<17}{}", if *holds { "" } else { "below target  " })?;
        for (name, value) in &figure.from {
            write!(f, "{name} {value}  ")?;
        }
        Ok(())
    }
}

fn as_json(figure: &Figure, holds: bool) -> serde_json::Value {
    let (at_least, at_most) = match figure.target {
        Some(Target::AtLeast(bound)) => (Some(bound), None),
        Some(Target::AtMost(bound)) => (None, Some(bound)),
        None => (None, None),
    };
    let from: serde_json::Map<_, _> =
        figure.from.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    serde_json::json!({
        "id": figure.id, "what": figure.what, "value": figure.value, "unit": figure.unit, "at_least": at_least,
        "at_most": at_most, "holds": figure.target.map(|_| holds), "from": from, "percent": percent(),
    })
}

/// Three significant digits or so.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `71.3 k/s`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 1_000.0 {
        format!("{} k/s", short(per_second / 1_000.0))
    } else {
        format!("{} /s", short(per_second))
    }
}

/// `12.3 ms`.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How much is to be done, in per cent of what the targets are set for.
pub(crate) fn percent() -> u64 {
    std::env::var("TRUC_BENCH_PERCENT").ok().and_then(|text| text.parse().ok()).unwrap_or(100).clamp(1, 1_000)
}

/// `full` at 100 per cent; never less than `least`.
pub(crate) fn scaled(full: u64, least: u64) -> u64 {
    (full * percent() / 100).max(least)
}

/// One second at 100 per cent; never less than a tenth.
pub(crate) fn round() -> Duration {
    Duration::from_millis(scaled(1_000, 100))
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
