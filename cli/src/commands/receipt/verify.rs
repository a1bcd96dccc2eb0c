//! `truc receipt verify`: no node, no network, no configuration.

use std::path::Path;

use anyhow::anyhow;
use serde_json::{Value, json};
use truc_evidence::{Document, Outcome, PinnedOperator, ReceiptReport, ReceiptTrust, ReceiptVerdict, verify_receipt};
use truc_proto::limits::RECEIPT_BYTES_MAX;

use crate::{
    args::VerifyArgs,
    clock::now,
    exit::{self, Exit, ExitContext as _, Failure},
    output::{Output, Tone, printable},
    trust,
};

pub(crate) fn run(args: &VerifyArgs, output: &Output) -> exit::Outcome {
    let store = trust::store(&args.trust, &args.crl)?;
    let operator = PinnedOperator::from_pem(&trust::read(&args.operator)?);
    let operator = operator
        .or_exit(Exit::BadData, format!("{} does not hold the operator's certificate", args.operator.display()))?;
    let trust = ReceiptTrust::new(store, operator);
    let document = args.document.as_deref().map(open_document).transpose()?;
    let at = args.at.unwrap_or_else(now);
    let mut reports = Vec::new();
    for file in &args.files {
        reports.push((file.as_path(), verify_receipt(&receipt_bytes(file)?, &trust, document.as_ref(), at)));
    }
    let value: Vec<_> = reports.iter().map(|(file, report)| report_json(file, report)).collect();
    output.show(&json!(value), |o| {
        for (file, report) in &reports {
            print(file, report, o);
        }
        if reports.len() > 1 {
            let valid = reports.iter().filter(|(_, r)| r.verdict == ReceiptVerdict::Valid).count();
            o.line(format!("{valid} of {} receipts are valid", reports.len()));
        }
    });
    Ok(worst(reports.iter().map(|(_, r)| r.verdict)))
}

/// Invalid outweighs "cannot tell", which outweighs valid.
fn worst(verdicts: impl Iterator<Item = ReceiptVerdict>) -> Exit {
    verdicts.fold(Exit::Good, |worst, verdict| match (worst, verdict) {
        (Exit::Invalid, _) | (_, ReceiptVerdict::Invalid) => Exit::Invalid,
        (Exit::CannotTell, _) | (_, ReceiptVerdict::CannotTell) => Exit::CannotTell,
        (worst, ReceiptVerdict::Valid) => worst,
    })
}

fn open_document(path: &Path) -> Result<Document, Failure> {
    Document::open(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))
}

fn receipt_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let about = std::fs::metadata(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))?;
    if about.len() > RECEIPT_BYTES_MAX as u64 {
        let why = anyhow!("{} has {} bytes; a receipt has at most {RECEIPT_BYTES_MAX}", path.display(), about.len());
        return Err(Failure::new(Exit::BadData, why));
    }
    trust::read(path)
}

fn print(file: &Path, report: &ReceiptReport, output: &Output) {
    let (tone, english, vietnamese) = match report.verdict {
        ReceiptVerdict::Valid => (Tone::Good, "VALID", "HỢP LỆ"),
        ReceiptVerdict::Invalid => (Tone::Bad, "INVALID", "KHÔNG HỢP LỆ"),
        ReceiptVerdict::CannotTell => (Tone::Unsure, "CANNOT TELL", "CHƯA KẾT LUẬN ĐƯỢC"),
    };
    output.line(format!("{}  {}", output.paint(tone, format!("{english} / {vietnamese}")), file.display()));
    if let Some(summary) = &report.summary {
        let actor = match (&summary.actor, &summary.actor_name) {
            (Some(code), Some(name)) => format!("{code} {}", printable(name)),
            (Some(code), None) => code.to_string(),
            _ => summary.node.to_string(),
        };
        output.line(format!(
            "  {} by {actor} as {}, node {}, {}",
            summary.event.name(),
            summary.role,
            summary.node,
            summary.time.in_vietnam()
        ));
        if let Some(envelope) = &summary.envelope {
            let from = summary.sender.as_ref().map_or("-".into(), ToString::to_string);
            let to = summary.recipient.as_ref().map_or("all recipients".into(), ToString::to_string);
            output.line(format!("  envelope {envelope} from {from} to {to}"));
        }
        if let Some((english, vietnamese)) = summary.event.border() {
            output.line(format!("  {} / {vietnamese}", output.paint(Tone::Unsure, english)));
        }
        if let (Some(version), Some(issued)) = (summary.directory_version, summary.directory_issued) {
            output.line(format!(
                "  certificates good as of directory {version} of {}, not checked later unless a CRL was given",
                issued.in_vietnam()
            ));
        }
    }
    for step in &report.steps {
        let (mark, tone) = match step.outcome {
            Outcome::Passed => ("ok     ", Tone::Good),
            Outcome::Failed => ("FAILED ", Tone::Bad),
            Outcome::Unknown => ("unknown", Tone::Unsure),
            Outcome::NotApplicable => ("-      ", Tone::Quiet),
            Outcome::NotReached => ("unread ", Tone::Unsure),
            Outcome::Off => ("off    ", Tone::Unsure),
        };
        let detail = if step.detail.is_empty() { String::new() } else { format!(" ({})", printable(&step.detail)) };
        output.line(format!("  {} {}{detail}", output.paint(tone, mark), step.english()));
        if matches!(step.outcome, Outcome::Failed | Outcome::Unknown) {
            output.line(format!("          {}", step.vietnamese()));
        }
    }
}

fn report_json(file: &Path, report: &ReceiptReport) -> Value {
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|s| {
            json!({
                "check": format!("{:?}", s.check), "outcome": s.outcome.as_str(), "english": s.english(),
                "vietnamese": s.vietnamese(), "detail": s.detail,
            })
        })
        .collect();
    let summary = report.summary.as_ref().map(|s| {
        json!({
            "event": s.event, "role": s.role, "actor": s.actor, "actor_name": s.actor_name, "node": s.node, "time": s.time,
            "envelope": s.envelope, "sender": s.sender, "recipient": s.recipient, "leaf": s.leaf_hash,
            "commitment": s.commitment, "signed_at": s.signed_at, "directory_version": s.directory_version,
            "directory_issued": s.directory_issued, "note": s.event.border().map(|(english, _)| english),
            "note_vi": s.event.border().map(|(_, vietnamese)| vietnamese),
        })
    });
    json!({ "file": file, "verdict": report.verdict.as_str(), "summary": summary, "steps": steps })
}
