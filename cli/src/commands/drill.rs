//! `truc drill`: the loss of keys, played on a network of its own from the declaration to the last document, with the time that each part took and a
//! verdict on each promise.
//!
//! What it does goes through the same doors as everybody's: the nodes' local API, the operator's folder, the relay's listener.

mod story;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::demo::{Folder, account::Account};
use crate::{
    args::DrillArgs,
    client::block_on,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

pub(crate) fn run(args: &DrillArgs, output: &Output) -> Outcome {
    let folder = Folder::prepare("truc-drill-", args.dir.as_deref(), args.keep)
        .or_exit(Exit::Usage, "the drill needs a folder of its own")?;
    let drill = block_on(async {
        story::play(folder.path(), Duration::from_secs(1) / args.rate, output)
            .await
            .map_err(|error| Failure::new(Exit::Invalid, error.context("the drill stopped")))
    })?;
    let mut value = drill.account.json();
    if let Some(object) = value.as_object_mut() {
        object.insert("steps".to_owned(), Value::Array(drill.steps.iter().map(Step::json).collect()));
    }
    output.show(&value, |o| drill.account.print(o));
    Ok(if drill.account.all_held() { Exit::Good } else { Exit::Invalid })
}

/// Something that was done or happened, and how long it took.
struct Step {
    took: Duration,
    english: String,
    vietnamese: String,
}

impl Step {
    fn json(&self) -> Value {
        let ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        json!({ "ms": ms, "english": self.english, "vietnamese": self.vietnamese })
    }
}

/// What was seen so far.
struct Drill {
    account: Account,
    steps: Vec<Step>,
    output: Output,
}

impl Drill {
    fn chapter(&self, english: &str, vietnamese: &str) {
        self.output.line(self.output.paint(Tone::Strong, format!("\n{english} / {vietnamese}")));
    }

    /// Notes what has taken the time since `from`.
    fn step(&mut self, from: Instant, english: impl Into<String>, vietnamese: impl Into<String>) {
        let step = Step { took: from.elapsed(), english: english.into(), vietnamese: vietnamese.into() };
        self.output.line(format!("  {:>7} ms  {}", step.took.as_millis(), step.english));
        self.output.line(self.output.paint(Tone::Quiet, format!("              {}", step.vietnamese)));
        self.steps.push(step);
    }

    fn promise(&mut self, english: &str, vietnamese: &str, held: bool, detail: impl Into<String>) {
        self.account.promise(&format!("{english} / {vietnamese}"), held, detail);
    }
}
