//! Bundles: got from a node, verified anywhere.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _},
    path::Path,
};

use serde_json::{Value, json};
use truc_evidence::{
    BundleCheck, BundleReport, Check, Conclusion, Document, Outcome as Found, ProvenEvent, ProvenStatus, ReceiptReport,
    ReceiptTrust, StatusReport, is_bundle, verify_bundle,
};
use truc_proto::{Timestamp, node_v1::ExportBundleRequest};

use super::verify::{in_brackets, levels_json, levels_line, mark, print_step, report_json, verdict_words};
use crate::{
    args::ExportArgs,
    client::{connect, failed},
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable, size},
    partial::Partial,
};

/// `truc receipt export`.
pub(super) async fn export(args: &ExportArgs, output: &Output) -> Outcome {
    Partial::free(&args.out)?;
    let mut node = connect(&args.node).await?;
    let request = ExportBundleRequest {
        envelope: args.document.to_string(),
        sender: args.sender.as_ref().map(ToString::to_string).unwrap_or_default(),
        with_opening: args.opening,
    };
    let chunks = node.export_bundle(request).await.map_err(|s| failed("export the receipts", &s))?;
    let mut chunks = chunks.into_inner();
    let mut file = Partial::create(&args.out)?;
    while let Some(chunk) = chunks.message().await.map_err(|s| failed("export the receipts", &s))? {
        file.write(&chunk.data)?;
    }
    let length = file.finish()?;
    output.show(&json!({ "file": args.out, "length": length }), |o| {
        o.line(format!("{}  {}", size(length), args.out.display()));
    });
    Ok(Exit::Good)
}

/// The report on a file that is a bundle; none when it is none.
pub(super) fn verify(
    path: &Path,
    trust: &ReceiptTrust,
    document: Option<&Document>,
    at: Timestamp,
) -> Result<Option<BundleReport>, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let mut first = Vec::new();
    let mut file = File::open(path).or_exit(Exit::BadData, cannot())?;
    (&file).take(4).read_to_end(&mut first).or_exit(Exit::BadData, cannot())?;
    if !is_bundle(&first) {
        return Ok(None);
    }
    file.rewind().or_exit(Exit::BadData, cannot())?;
    Ok(Some(verify_bundle(BufReader::with_capacity(1 << 18, file), trust, document, at)))
}

pub(super) fn print(file: &Path, report: &BundleReport, output: &Output) {
    let (tone, words) = verdict_words(report.verdict);
    output.line(format!("{}  {}", output.paint(tone, words), file.display()));
    if let Some(about) = &report.about {
        output.line(format!("  envelope {} from {}, {} receipts", about.envelope, about.sender, report.receipts.len()));
        output.line(format!(
            "  axis {0}, lane {1} / trục {0}, luồng {2}",
            about.axis,
            about.lane,
            about.lane.vietnamese()
        ));
        let (by, node, made) = (&about.by, &about.node, about.made.in_vietnam());
        let is_shown = report.steps.iter().any(|s| s.check == BundleCheck::Maker && s.outcome == Found::Passed);
        output.line(if is_shown {
            format!("  put together by {by} (at node {node}, as it says), {made} / do {by} lập (tại nút {node}, theo lời tự nêu), {made}")
        } else {
            format!(
                "  says of itself that {by} put it together at node {node}, {made} / tự nêu là do {by} lập tại nút {node}, {made}"
            )
        });
        if about.statuses_left_out > 0 {
            let count = about.statuses_left_out;
            output.line(format!("  {count} business statuses were left out / {count} trạng thái xử lý không kèm theo"));
        }
    }
    if let Some(signer) = &report.signer {
        let at = signer.signed_at.map_or("-".to_owned(), Timestamp::in_vietnam);
        output.line(format!("  signed by {}, {at}", printable(&signer.subject)));
    }
    if is_of_other_trust(report) {
        output.line(output.paint(
            Tone::Bad,
            "  no receipt in it fits the trust files given: very likely --trust or --operator is the wrong file; give those of this axis and verify again",
        ));
        output.line(output.paint(
            Tone::Bad,
            "  mọi biên nhận trong đó đều không khớp với các tệp tin cậy: rất có thể đã chọn nhầm tệp --trust hoặc --operator; hãy đưa đúng tệp của trục này rồi kiểm tra lại",
        ));
    }
    for step in &report.steps {
        // What cannot be read of a bundle cannot be told.
        let shown = if step.outcome == Found::NotReached { Found::Unknown } else { step.outcome };
        print_step(output, step.outcome, mark(shown), (step.english(), step.vietnamese()), &step.detail);
    }
    for (name, receipt) in &report.receipts {
        let (tone, words) = verdict_words(receipt.verdict);
        output.line(format!("  {}  {}", output.paint(tone, words), printable(name)));
        for step in receipt.against() {
            output.line(format!("      {}{}", step.english(), in_brackets(&step.detail)));
            output.line(format!("      {}", step.vietnamese()));
        }
    }
    for status in &report.statuses {
        print_status(status, output);
    }
    if let Some(proven) = document_proven(report) {
        output.line(format!("  {proven}"));
    }
    if !report.others.is_empty() {
        let names: Vec<_> = report.others.iter().map(|(name, _)| printable(name)).collect();
        output.line(format!(
            "  also covered by the signature, as the word of who put it together alone / chữ ký còn bao trùm, chỉ là lời của bên lập: {}",
            shortened(&names)
        ));
    }
    timeline(&report.conclusions, output);
}

/// Whether every receipt fails where somebody else's authority or operator is trusted.
fn is_of_other_trust(report: &BundleReport) -> bool {
    const OF_TRUST: [Check; 4] = [Check::CertificatePath, Check::OperatorPath, Check::RootSignature, Check::RootSigner];
    let fails = |receipt: &ReceiptReport| {
        receipt.steps.iter().any(|step| step.outcome == Found::Failed && OF_TRUST.contains(&step.check))
    };
    !report.receipts.is_empty() && report.receipts.iter().all(|(_, receipt)| fails(receipt))
}

fn print_status(status: &StatusReport, output: &Output) {
    let (tone, words) = verdict_words(status.verdict);
    let said = status.status.as_ref();
    let said = said.map_or_else(String::new, |said| format!("status {} {}, ", said.code, said.code.english()));
    output.line(format!("  {}  {said}{}", output.paint(tone, words), printable(&status.name)));
    for step in status.against() {
        output.line(format!("      {}{}", step.english(), in_brackets(&step.detail)));
        output.line(format!("      {}", step.vietnamese()));
    }
}

/// What the receipts say of the document that was shown; none when none was.
fn document_proven(report: &BundleReport) -> Option<String> {
    let outcomes = report.receipts.iter().flat_map(|(_, receipt)| &receipt.steps);
    let shown: Vec<_> = outcomes.filter(|step| step.check == Check::Document).map(|step| step.outcome).collect();
    let proven = shown.iter().filter(|outcome| **outcome == Found::Passed).count();
    let asked = shown.iter().any(|outcome| !matches!(outcome, Found::NotApplicable | Found::Off));
    asked.then(|| {
        let all = report.receipts.len();
        format!("the document shown is the one that {proven} of {all} receipts are about / văn bản đưa ra đúng với {proven} trong {all} biên nhận")
    })
}

/// A few names, and how many more.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}

/// What is proven, recipient by recipient, the earliest event first.
pub(super) fn timeline(conclusions: &[Conclusion], output: &Output) {
    for conclusion in conclusions {
        let name = conclusion.name.as_deref().map(printable).unwrap_or_default();
        output.line(output.paint(Tone::Strong, format!("\n{} {name}", conclusion.recipient)));
        for event in &conclusion.events {
            let actor = event
                .actor
                .as_ref()
                .map_or_else(|| event.node.to_string(), |code| format!("{code}, node {}", event.node));
            output.line(format!(
                "  {}  {:<26} {:<10} {actor}",
                event.time.in_vietnam(),
                event.event.name(),
                event.role
            ));
            if let Some(reason) = event.reason {
                output.line(format!("      {} / {}", reason.english(), reason.vietnamese()));
            }
            if let Some(successor) = &event.successor {
                output.line(format!("      successor {successor} / mã kế thừa {successor}"));
            }
            output.line(format!("      {}", proven_times(event.signed_at, event.proven_by)));
            if let Some(line) = levels_line(&event.levels) {
                output.line(format!("      {line}"));
            }
            for remark in &event.remarks {
                output.line(format!("      {} {}", output.paint(Tone::Bad, "!"), remark.english()));
                output.line(format!("        {}", remark.vietnamese()));
            }
        }
        for status in &conclusion.statuses {
            said(status, output);
        }
        let tone = match conclusion.standing.as_str() {
            "consigned" | "handed-over" => Tone::Good,
            "failed" | "not-sent" | "not-opened" | "refused" => Tone::Bad,
            _ => Tone::Unsure,
        };
        output.line(format!("  {} {}", output.paint(tone, "→"), conclusion.standing.english()));
        output.line(format!("    {}", conclusion.standing.vietnamese()));
        for remark in &conclusion.remarks {
            output.line(format!("  {} {}", output.paint(Tone::Bad, "!"), remark.english()));
            output.line(format!("    {}", remark.vietnamese()));
        }
    }
}

/// What stands beside an event's own time: when it was signed, by the same clock, and by when an independent authority saw it.
pub(super) fn proven_times(signed_at: Option<Timestamp>, proven_by: Option<Timestamp>) -> String {
    let (mut english, mut vietnamese) = (String::new(), String::new());
    if let Some(at) = signed_at.map(Timestamp::in_vietnam) {
        english = format!("signed {at} by the same clock; ");
        vietnamese = format!("ký lúc {at} theo cùng đồng hồ; ");
    }
    match proven_by.map(Timestamp::in_vietnam) {
        Some(at) => format!(
            "{english}there by {at}, as a time-stamp shows / {vietnamese}dấu thời gian chứng tỏ đã có trước {at}"
        ),
        None => format!("{english}no independent time / {vietnamese}không có dấu thời gian độc lập"),
    }
}

/// What an agency provably said of the document.
fn said(status: &ProvenStatus, output: &Output) {
    let ProvenStatus { code, from, to, .. } = status;
    let words = format!("{code} {} / {}", code.english(), code.vietnamese());
    output.line(format!("  {}  status {words} – {from} → {to}", status.time.in_vietnam()));
    for text in [&status.reason, &status.staff].into_iter().flatten() {
        output.line(format!("      {}", printable(text)));
    }
    output.line(format!("      {} / {}", status.basis.english(), status.basis.vietnamese()));
    let stated = status.stated.in_vietnam();
    output.line(format!("      stated {stated} / được nêu lúc {stated}"));
    for remark in &status.remarks {
        output.line(format!("      {} {}", output.paint(Tone::Bad, "!"), remark.english()));
        output.line(format!("        {}", remark.vietnamese()));
    }
    if let Some(at) = status.received {
        let at = at.in_vietnam();
        output.line(format!("      reached {to} {at} / đến {to} lúc {at}"));
    }
}

pub(super) fn json(file: &Path, report: &BundleReport) -> Value {
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|s| json!({ "check": s.check.id(), "outcome": s.outcome.as_str(), "english": s.english(), "vietnamese": s.vietnamese(), "detail": s.detail }))
        .collect();
    let receipts: Vec<_> =
        report.receipts.iter().map(|(name, receipt)| report_json(Path::new(name), receipt)).collect();
    json!({
        "file": file, "verdict": report.verdict.as_str(),
        "bundle": report.about.as_ref().map(|about| json!({
            "axis": about.axis, "lane": about.lane, "envelope": about.envelope, "sender": about.sender, "by": about.by, "node": about.node, "made": about.made,
            "statuses_left_out": about.statuses_left_out,
        })),
        "signer": report.signer.as_ref().map(|signer| json!({ "subject": signer.subject, "signed_at": signer.signed_at })),
        "steps": steps, "receipts": receipts, "statuses": report.statuses.iter().map(status_report_json).collect::<Vec<_>>(),
        "conclusions": conclusions_json(&report.conclusions),
        "others": report.others.iter().map(|(name, length)| json!({ "name": name, "length": length })).collect::<Vec<_>>(),
    })
}

fn status_report_json(status: &StatusReport) -> Value {
    let steps: Vec<_> = status
        .steps
        .iter()
        .map(|s| json!({ "check": s.check.id(), "outcome": s.outcome.as_str(), "english": s.english(), "vietnamese": s.vietnamese(), "detail": s.detail }))
        .collect();
    let receipts: Vec<_> =
        status.receipts.iter().map(|(name, receipt)| report_json(Path::new(name), receipt)).collect();
    json!({
        "status": status.name, "verdict": status.verdict.as_str(), "steps": steps, "receipts": receipts,
        "says": status.proven.as_ref().map(status_json),
    })
}

fn status_json(status: &ProvenStatus) -> Value {
    json!({
        "code": status.code, "english": status.code.english(), "vietnamese": status.code.vietnamese(),
        "from": status.from, "to": status.to, "time": status.time, "sequence": status.sequence, "reason": status.reason,
        "staff": status.staff, "envelope": status.envelope, "basis": status.basis.as_str(), "received": status.received,
        "stated": status.stated, "remarks": status.remarks.iter().map(|remark| remark.as_str()).collect::<Vec<_>>(),
    })
}

pub(super) fn conclusions_json(conclusions: &[Conclusion]) -> Value {
    let event = |event: &ProvenEvent| {
        json!({
            "event": event.event, "role": event.role, "actor": event.actor, "node": event.node, "time": event.time,
            "reason": event.reason, "successor": event.successor, "signed_at": event.signed_at, "proven_by": event.proven_by,
            "levels": levels_json(&event.levels), "remarks": event.remarks.iter().map(|remark| remark.as_str()).collect::<Vec<_>>(),
        })
    };
    let one = |conclusion: &Conclusion| {
        json!({
            "recipient": conclusion.recipient, "name": conclusion.name, "standing": conclusion.standing.as_str(),
            "english": conclusion.standing.english(), "vietnamese": conclusion.standing.vietnamese(),
            "remarks": conclusion.remarks.iter().map(|r| json!({ "remark": r.as_str(), "english": r.english(), "vietnamese": r.vietnamese() })).collect::<Vec<_>>(),
            "events": conclusion.events.iter().map(event).collect::<Vec<_>>(),
            "statuses": conclusion.statuses.iter().map(status_json).collect::<Vec<_>>(),
        })
    };
    json!(conclusions.iter().map(one).collect::<Vec<_>>())
}
