//! `truc directory import`: a list of codes against the draft, shown first and taken when nothing is wrong.

use anyhow::anyhow;
use serde_json::{Value, json};
use truc_evidence::{CodeChange, CodeList, ImportPlan, LEVEL1_CODES};

use super::load_trust;
use crate::{
    args::ImportArgs,
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    operator::OperatorFolder,
    output::{Output, Tone, printable},
    trust,
};

/// Changes of one kind that are shown to people; a program gets all.
const SHOWN_MAX: usize = 200;

pub(super) fn run(args: &ImportArgs, output: &Output) -> Outcome {
    let (name, bytes) = match &args.file {
        Some(file) => (file.display().to_string(), trust::read(file)?),
        None => ("the built-in list of level-1 codes".to_owned(), LEVEL1_CODES.as_bytes().to_vec()),
    };
    let list = read_list(&name, &bytes)?;
    let trust = load_trust(&args.trust)?;
    let folder = OperatorFolder::open(&args.dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let (plan, taken) =
        folder.import(&list, args.dry_run, &trust, now()).or_exit(Exit::Invalid, "the draft is unchanged")?;
    output.show(&plan_json(&plan, taken), |o| show(&plan, taken, args.dry_run, o));
    Ok(if plan.problems().is_empty() { Exit::Good } else { Exit::Invalid })
}

pub(super) fn read_list(name: &str, bytes: &[u8]) -> Result<CodeList, Failure> {
    CodeList::parse(bytes).map_err(|error| Failure {
        vietnamese: Some(error.vietnamese()),
        ..Failure::new(Exit::BadData, anyhow!(error).context(format!("{name} is not a list of codes")))
    })
}

fn plan_json(plan: &ImportPlan, taken: bool) -> Value {
    let changes = plan.changes().iter().map(|change| {
        json!({
            "kind": change.kind(), "line": change.line(), "code": change.code(), "english": change.to_string(),
            "vietnamese": change.vietnamese(),
        })
    });
    let problems = plan.problems().named().iter().map(|problem| {
        json!({
            "kind": problem.kind(), "line": problem.line(), "english": problem.to_string(),
            "vietnamese": problem.vietnamese(),
        })
    });
    json!({
        "taken": taken, "unchanged": plan.unchanged(), "changes": changes.collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(), "problem_count": plan.problems().count(),
    })
}

fn show(plan: &ImportPlan, taken: bool, dry_run: bool, o: &Output) {
    for (kind, english, vietnamese) in [
        ("addition", "additions", "thêm mới"),
        ("closing", "closings", "đóng mã"),
        ("reopening", "reopenings", "mở lại"),
        ("renaming", "renamings", "đổi tên"),
        ("alteration", "other changes", "thay đổi khác"),
    ] {
        let changes: Vec<&CodeChange> = plan.changes().iter().filter(|change| change.kind() == kind).collect();
        if changes.is_empty() {
            continue;
        }
        o.line(format!("{} {english} / {vietnamese}", changes.len()));
        for change in changes.iter().take(SHOWN_MAX) {
            o.line(format!("  {}", printable(&change.to_string())));
            o.line(format!("  {}", printable(&change.vietnamese())));
        }
        if changes.len() > SHOWN_MAX {
            o.line(format!("  and {} more; --json lists all", changes.len() - SHOWN_MAX));
        }
    }
    o.line(format!("{} codes are as the list says / không đổi", plan.unchanged()));
    let problems = plan.problems();
    if !problems.is_empty() {
        o.line(o.paint(Tone::Bad, format!("{} problems; nothing is taken / có lỗi, không nhận gì", problems.count())));
        for problem in problems.named() {
            o.line(format!("  {} ({})", printable(&problem.to_string()), problem.kind()));
            o.line(format!("  {}", printable(&problem.vietnamese())));
        }
        return;
    }
    let end = match (taken, dry_run) {
        (true, _) => "the draft is changed; sign it with `truc directory sign`",
        (false, true) => "nothing was changed: this was a dry run",
        (false, false) => "there is nothing to change",
    };
    o.line(o.paint(Tone::Good, end));
}
