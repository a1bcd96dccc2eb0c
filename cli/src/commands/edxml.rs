//! `truc edxml check`: every field read, and each warning.

use std::{fs::File, io::BufReader, path::Path};

use serde_json::json;
use truc_proto::edxml::{Discard, ReadError, Report, read};

use crate::{
    args::EdxmlCommand,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable},
};

pub(crate) fn run(command: &EdxmlCommand, output: &Output) -> Outcome {
    let EdxmlCommand::Check { file } = command;
    let report = check(file)?;
    output.show(&json!(report), |o| {
        let width = report.fields.iter().map(|f| f.path.chars().count()).max().unwrap_or(0);
        o.line(format!("{:width$}  {}", "kind", report.kind));
        for field in &report.fields {
            o.line(format!("{:width$}  {}", printable(&field.path), printable(&field.value)));
        }
        for warning in &report.warnings {
            o.line(format!("{} {}", o.paint(Tone::Unsure, "warning"), printable(&warning.to_string())));
            o.line(format!("        {}: {}", printable(&warning.path), printable(&warning.kind.vietnamese())));
        }
        let count = report.warnings.len();
        o.line(format!("{} {} fields, {count} warnings", o.paint(Tone::Good, "readable:"), report.fields.len()));
    });
    Ok(Exit::Good)
}

fn check(path: &Path) -> Result<Report, Failure> {
    let file = File::open(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))?;
    let parsed = read(BufReader::new(file), &mut Discard).map_err(|error| {
        let exit = if matches!(error, ReadError::Refused { .. }) { Exit::BadData } else { Exit::Unavailable };
        let vietnamese = Some(error.vietnamese());
        let source = anyhow::Error::from(error).context(path.display().to_string());
        Failure { vietnamese, ..Failure::new(exit, source) }
    })?;
    Ok(Report::of(&parsed))
}
