//! What the demo found: every promise with whether it held.

use std::time::Duration;

use serde_json::{Value, json};

use crate::output::{Output, Tone};

/// One promise.
#[derive(Debug, Clone)]
struct Promise {
    what: String,
    held: bool,
    detail: String,
}

/// The demo's account.
#[derive(Debug, Default)]
pub(in crate::commands) struct Account {
    promises: Vec<Promise>,
    facts: serde_json::Map<String, Value>,
    pub(in crate::commands) took: Duration,
}

impl Account {
    /// Notes whether a promise held.
    pub(in crate::commands) fn promise(&mut self, what: &str, held: bool, detail: impl Into<String>) {
        self.promises.push(Promise { what: what.to_owned(), held, detail: detail.into() });
    }

    /// Notes a fact for `--json`.
    pub(in crate::commands) fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// True when there was something to hold and all of it held.
    pub(in crate::commands) fn all_held(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|p| p.held)
    }

    pub(in crate::commands) fn json(&self) -> Value {
        let promises: Vec<_> =
            self.promises.iter().map(|p| json!({ "what": p.what, "held": p.held, "detail": p.detail })).collect();
        let mut value = json!({ "held": self.all_held(), "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX), "promises": promises });
        if let Some(object) = value.as_object_mut() {
            object.extend(self.facts.clone());
        }
        value
    }

    pub(in crate::commands) fn print(&self, output: &Output) {
        output.line(output.paint(Tone::Strong, "\nAccount"));
        let width = self.promises.iter().map(|promise| promise.what.chars().count()).max().unwrap_or_default();
        for promise in &self.promises {
            let mark =
                if promise.held { output.paint(Tone::Good, "held  ") } else { output.paint(Tone::Bad, "BROKEN") };
            output.line(format!("  {mark}  {:<width$}  {}", promise.what, promise.detail));
        }
        let held = self.promises.iter().filter(|p| p.held).count();
        let tone = if self.all_held() { Tone::Good } else { Tone::Bad };
        let text = format!("{held} of {} promises held, in {:.1} s", self.promises.len(), self.took.as_secs_f64());
        output.line(output.paint(tone, text));
    }
}
