//! `truc receipt verify`: no node, no network, no configuration.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use serde_json::{Value, json};
use truc_evidence::{
    BundleReport, Document, EvidenceLevel, Outcome, PinnedOperator, ReceiptReport, ReceiptTrust, ReceiptVerdict,
    TwoHistories, conclude, disagreement, verify_receipt,
};
use truc_proto::{Role, Timestamp, limits::RECEIPT_BYTES_MAX};

use super::{
    bundle,
    histories::{Contradictions, Place, write_fork},
};
use crate::{
    args::VerifyArgs,
    clock::now,
    exit::{self, Exit, ExitContext as _, Failure},
    output::{Output, Tone, printable},
    trust,
};

/// A file and what was found.
pub(super) enum Verified {
    Receipt(Box<ReceiptReport>),
    Bundle(Box<BundleReport>),
    /// Nothing: it cannot be read at all.
    Unread(Failure),
}

impl Verified {
    const fn verdict(&self) -> Option<ReceiptVerdict> {
        match self {
            Self::Receipt(report) => Some(report.verdict),
            Self::Bundle(report) => Some(report.verdict),
            Self::Unread(_) => None,
        }
    }
}

fn all(args: &VerifyArgs) -> Result<Vec<(&Path, Verified)>, Failure> {
    let at = args.at.unwrap_or_else(now);
    let store = trust::store(&args.trust, &args.crl)?.with_answers(trust::answers(&args.ocsp, at)?);
    let operator = PinnedOperator::from_file_bytes(&trust::read(&args.operator)?);
    let operator = operator
        .or_exit(Exit::BadData, format!("{} does not hold the operator's certificate", args.operator.display()))?;
    let mut trust = ReceiptTrust::new(store, operator);
    if let Some(path) = &args.policy {
        trust = trust.with_policy(trust::policy(path)?);
    }
    let document = args.document.as_deref().map(open_document).transpose()?;
    let one = |file: &Path| match bundle::verify(file, &trust, document.as_ref(), at)? {
        Some(report) => Ok(Verified::Bundle(Box::new(report))),
        None => Ok(Verified::Receipt(Box::new(verify_receipt(&receipt_bytes(file)?, &trust, document.as_ref(), at)))),
    };
    // Of several files one that cannot be read takes nothing from the others.
    let is_alone = args.files.len() == 1;
    let found = args.files.iter().map(|file| match one(file) {
        Err(failure) if !is_alone => Ok((file.as_path(), Verified::Unread(failure))),
        found => found.map(|found| (file.as_path(), found)),
    });
    found.collect()
}

pub(crate) fn run(args: &VerifyArgs, output: &Output) -> exit::Outcome {
    let reports = all(args)?;
    let found = Contradictions::of(&reports);
    // The verdicts are told, whether the proof can be written or not.
    let written = match (&args.fork_out, &found.forked) {
        (Some(out), Some(forked)) => write_fork(forked, out),
        _ => Ok(()),
    };
    let mut value: Vec<_> = reports
        .iter()
        .map(|(file, verified)| match verified {
            Verified::Receipt(report) => report_json(file, report),
            Verified::Bundle(report) => bundle::json(file, report),
            Verified::Unread(failure) => json!({ "file": file, "verdict": null, "error": failure.to_string() }),
        })
        .collect();
    if let Some(forked) = &found.forked {
        value.push(json!({ "file": null, "verdict": "invalid", "two_histories": fork_json(forked) }));
    }
    if !found.disagreeing.is_empty() {
        value.push(json!({ "file": null, "verdict": "invalid", "not_about_one_thing": found.disagreeing }));
    }
    for (place, outcome, since) in &found.stopped {
        let verdict = if *outcome == Outcome::Failed { "invalid" } else { "cannot-tell" };
        value.push(json!({ "file": null, "verdict": verdict, "revoked_by_a_later_directory": { "receipt": place.to_string(), "since": since } }));
    }
    output.show(&json!(value), |o| {
        for (file, verified) in &reports {
            match verified {
                Verified::Receipt(report) => print(file, report, o),
                Verified::Bundle(report) => bundle::print(file, report, o),
                Verified::Unread(failure) => unread(file, failure, o),
            }
        }
        if reports.len() > 1 {
            let valid = reports.iter().filter(|(_, r)| r.verdict() == Some(ReceiptVerdict::Valid)).count();
            o.line(format!("{valid} of {} files are valid", reports.len()));
        }
        tell(&found, args, o);
    });
    written?;
    Ok(ended(&found, &reports))
}

/// What speaks against several files, or within one.
fn tell(found: &Contradictions<'_>, args: &VerifyArgs, o: &Output) {
    if let Some(forked) = &found.forked {
        tell_fork(forked, args, o);
    }
    tell_disagreeing(&found.disagreeing, o);
    tell_stopped(&found.stopped, o);
}

fn tell_fork(forked: &TwoHistories<'_, Place<'_>>, args: &VerifyArgs, o: &Output) {
    let (first, second) = (printable(&forked.first.to_string()), printable(&forked.second.to_string()));
    let (origin, size) = (printable(forked.origin), forked.size);
    o.line(
        o.paint(Tone::Bad, format!("TWO HISTORIES of {origin} at {size} leaves: {first}; {second}. Who keeps it cannot deny what it signed; believe nothing of it in its own favour")),
    );
    o.line(
        o.paint(Tone::Bad, format!("HAI LỊCH SỬ của {origin} tại {size} lá: {first}; {second}. Bên giữ sổ cái không thể chối điều đã ký; không tin lời nào có lợi cho chính bên đó")),
    );
    match &args.fork_out {
        Some(out) => o.line(format!(
            "  both checkpoints are in {0}: `truc fork show {0}` / cả hai điểm chốt nằm trong {0}",
            out.display()
        )),
        None => o.line(
            "  --fork-out FILE keeps both checkpoints as proof / --fork-out TỆP giữ cả hai điểm chốt làm bằng chứng",
        ),
    }
}

/// `truc receipt show`.
pub(super) fn show(args: &VerifyArgs, output: &Output) -> exit::Outcome {
    let reports = all(args)?;
    let mut shown = Vec::new();
    let found = Contradictions::of(&reports);
    for (of, loose) in by_envelope(&reports) {
        shown.push((of, conclude(loose.into_iter().map(|(_, report)| report), &[], &found.together)));
    }
    for (file, verified) in &reports {
        if let Verified::Bundle(report) = verified {
            // Held against all files, not against itself alone.
            shown.push((file.display().to_string(), report.conclude(&found.together)));
        }
    }
    let left_out: Vec<_> = reports.iter().filter(|(_, r)| r.verdict() != Some(ReceiptVerdict::Valid)).collect();
    let value = json!({
        "two_histories": found.forked.as_ref().map(fork_json), "not_about_one_thing": found.disagreeing,
        "documents": shown.iter().map(|(of, conclusions)| json!({ "of": of, "recipients": bundle::conclusions_json(conclusions) })).collect::<Vec<_>>(),
        "not_valid": left_out.iter().map(|(file, r)| json!({ "file": file, "verdict": r.verdict().map(ReceiptVerdict::as_str) })).collect::<Vec<_>>(),
    });
    output.show(&value, |o| {
        for (of, conclusions) in &shown {
            o.line(printable(of));
            bundle::timeline(conclusions, o);
        }
        for (file, verified) in &left_out {
            let verdict = match verified {
                Verified::Receipt(report) => report.verdict,
                Verified::Bundle(report) => report.verdict,
                Verified::Unread(failure) => {
                    unread(file, failure, o);
                    continue;
                }
            };
            let (tone, words) = verdict_words(verdict);
            let what = "left out above; `truc receipt verify` says why / không tính ở trên; xem `truc receipt verify`";
            o.line(format!("{}  {}: {what}", o.paint(tone, words), file.display()));
        }
        tell(&found, args, o);
    });
    Ok(ended(&found, &reports))
}

/// How it ends: what contradicts itself, and certificates that turn out to have been revoked, make the whole invalid.
fn ended(found: &Contradictions<'_>, reports: &[(&Path, Verified)]) -> Exit {
    let of_stopped = found.stopped.iter().map(|(_, outcome, _)| match outcome {
        Outcome::Failed => Some(ReceiptVerdict::Invalid),
        _ => Some(ReceiptVerdict::CannotTell),
    });
    let is_contradicted = found.forked.is_some() || !found.disagreeing.is_empty();
    let of_forks = is_contradicted.then_some(Some(ReceiptVerdict::Invalid));
    worst(reports.iter().map(|(_, verified)| verified.verdict()).chain(of_stopped).chain(of_forks))
}

fn tell_stopped(stopped: &[(Place<'_>, Outcome, Timestamp)], o: &Output) {
    for (place, outcome, since) in stopped {
        let (place, since) = (printable(&place.to_string()), since.in_vietnam());
        let tone = if *outcome == Outcome::Failed { Tone::Bad } else { Tone::Unsure };
        let (english, vietnamese) = match outcome {
            Outcome::Failed => ("it proves nothing", "biên nhận không có giá trị"),
            _ => ("it cannot be told whether it was signed before", "chưa rõ đã ký trước đó hay không"),
        };
        o.line(o.paint(
            tone,
            format!("A LATER DIRECTORY given with it names the certificate of {place} as revoked or suspended since {since}: {english}"),
        ));
        o.line(o.paint(
            tone,
            format!(
                "DANH BẠ MỚI HƠN đưa kèm nêu chứng thư của {place} bị thu hồi hoặc tạm dừng từ {since}: {vietnamese}"
            ),
        ));
    }
}

/// A file of which nothing can be said.
fn unread(file: &Path, failure: &Failure, o: &Output) {
    let words = o.paint(Tone::Bad, "CANNOT READ / KHÔNG ĐỌC ĐƯỢC");
    o.line(format!("{words}  {}: {}", file.display(), printable(&failure.to_string())));
    if let Some(hint) = failure.vietnamese.as_deref().or(failure.exit.vietnamese()) {
        o.line(format!("    {hint}"));
    }
}

fn fork_json(forked: &TwoHistories<'_, Place<'_>>) -> Value {
    json!({ "ledger": forked.origin, "size": forked.size, "first": forked.first.to_string(), "second": forked.second.to_string() })
}

/// Receipts given as single files, by the envelope they are about: one sender's, on one axis and lane.
fn by_envelope<'r>(reports: &'r [(&Path, Verified)]) -> BTreeMap<String, Vec<(String, &'r ReceiptReport)>> {
    let mut found: BTreeMap<String, Vec<(String, &ReceiptReport)>> = BTreeMap::new();
    for (file, verified) in reports {
        let Verified::Receipt(report) = verified else { continue };
        let Some(summary) = report.summary.as_ref() else { continue };
        if let (Some(envelope), Some(sender), Some((axis, lane))) = (summary.envelope, &summary.sender, &summary.domain)
        {
            found
                .entry(format!("{envelope}  {sender}  {axis} {lane}"))
                .or_default()
                .push((file.display().to_string(), report.as_ref()));
        }
    }
    found
}

/// Single files that are about one envelope id and not about one thing, for people.
pub(super) fn disagreeing(reports: &[(&Path, Verified)]) -> Vec<String> {
    let told = by_envelope(reports)
        .into_values()
        .filter_map(|loose| disagreement(loose.iter().map(|(file, report)| (file.as_str(), *report))));
    told.collect()
}

fn tell_disagreeing(disagreeing: &[String], o: &Output) {
    for told in disagreeing {
        let told = printable(told);
        o.line(o.paint(
            Tone::Bad,
            format!("NOT ABOUT ONE THING, under one number: {told}. Ask the sender which one it sent"),
        ));
        o.line(o.paint(
            Tone::Bad,
            format!("KHÔNG CÙNG MỘT VĂN BẢN dưới cùng một mã gói tin: {told}. Hãy hỏi bên gửi đã gửi văn bản nào"),
        ));
    }
}

/// The verdict in both languages, and how it is shown.
pub(super) const fn verdict_words(verdict: ReceiptVerdict) -> (Tone, &'static str) {
    match verdict {
        ReceiptVerdict::Valid => (Tone::Good, "VALID / HỢP LỆ"),
        ReceiptVerdict::Invalid => (Tone::Bad, "INVALID / KHÔNG HỢP LỆ"),
        ReceiptVerdict::CannotTell => (Tone::Unsure, "CANNOT TELL / CHƯA KẾT LUẬN ĐƯỢC"),
    }
}

/// Invalid outweighs what cannot be read (none), which outweighs "cannot tell", which outweighs valid.
fn worst(verdicts: impl Iterator<Item = Option<ReceiptVerdict>>) -> Exit {
    verdicts.fold(Exit::Good, |worst, verdict| match (worst, verdict) {
        (Exit::Invalid, _) | (_, Some(ReceiptVerdict::Invalid)) => Exit::Invalid,
        (Exit::BadData, _) | (_, None) => Exit::BadData,
        (Exit::CannotTell, _) | (_, Some(ReceiptVerdict::CannotTell)) => Exit::CannotTell,
        (worst, Some(ReceiptVerdict::Valid)) => worst,
    })
}

fn open_document(path: &Path) -> Result<Document, Failure> {
    Document::open(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))
}

/// The file, but no more of it than tells that it is too long for a receipt.
pub(super) fn receipt_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).or_exit(Exit::BadData, cannot())?;
    let mut bytes = Vec::new();
    file.take(RECEIPT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).or_exit(Exit::BadData, cannot())?;
    Ok(bytes)
}

fn print(file: &Path, report: &ReceiptReport, output: &Output) {
    let (tone, words) = verdict_words(report.verdict);
    output.line(format!("{}  {}", output.paint(tone, words), file.display()));
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
        output.line(format!("  {}", bundle::proven_times(summary.signed_at, summary.proven_by)));
        if let Some((axis, lane)) = &summary.domain {
            output.line(format!("  axis {axis}, lane {lane} / trục {axis}, luồng {}", lane.vietnamese()));
        }
        if let Some(envelope) = &summary.envelope {
            let from = summary.sender.as_ref().map_or("-".into(), ToString::to_string);
            let to = summary.recipient.as_ref().map_or("all recipients".into(), ToString::to_string);
            output.line(format!("  envelope {envelope} from {from} to {to}"));
            if summary.role != Role::Sender {
                output.line(format!(
                    "  that {from} sent it is said here by another: only its own SubmissionAcceptance proves it / việc {from} đã gửi chỉ được bên khác nêu ở đây: chỉ biên nhận SubmissionAcceptance của chính {from} chứng minh được"
                ));
            }
        }
        if let Some((english, vietnamese)) = summary.event.border() {
            output.line(format!("  {} / {vietnamese}", output.paint(Tone::Unsure, english)));
        }
        if let (Some(version), Some(issued)) = (summary.directory_version, summary.directory_issued) {
            output.line(format!(
                "  certificates good as of directory {version} of {}, not checked later unless a revocation list or an OCSP answer was at hand",
                issued.in_vietnam()
            ));
        }
    }
    if let Some(line) = report.summary.as_ref().and_then(|summary| levels_line(&summary.levels)) {
        output.line(format!("  {line}"));
    }
    for step in &report.steps {
        print_step(output, step.outcome, mark(step.outcome), (step.english(), step.vietnamese()), &step.detail);
    }
}

/// What a receipt rests on, in both languages; none where it rests on nothing that was proven.
pub(super) fn levels_line(levels: &[EvidenceLevel]) -> Option<String> {
    let joined = |text: fn(EvidenceLevel) -> &'static str| {
        levels.iter().map(|level| text(*level)).collect::<Vec<_>>().join("; ")
    };
    (!levels.is_empty()).then(|| format!("{} / {}", joined(EvidenceLevel::english), joined(EvidenceLevel::vietnamese)))
}

/// The names of the levels, for scripts.
pub(super) fn levels_json(levels: &[EvidenceLevel]) -> Value {
    json!(levels.iter().map(|level| level.as_str()).collect::<Vec<_>>())
}

/// An outcome in a column.
pub(super) const fn mark(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Passed => ("ok     ", Tone::Good),
        Outcome::Failed => ("FAILED ", Tone::Bad),
        Outcome::Unknown => ("unknown", Tone::Unsure),
        Outcome::NotApplicable => ("-      ", Tone::Quiet),
        Outcome::NotReached => ("unread ", Tone::Unsure),
        Outcome::Off => ("off    ", Tone::Unsure),
    }
}

/// A check and what came of it; in Vietnamese too where it stands against the file.
pub(super) fn print_step(
    output: &Output,
    outcome: Outcome,
    (mark, tone): (&str, Tone),
    (english, vietnamese): (&str, &str),
    detail: &str,
) {
    output.line(format!("  {} {english}{}", output.paint(tone, mark), in_brackets(detail)));
    if matches!(outcome, Outcome::Failed | Outcome::Unknown) {
        output.line(format!("          {vietnamese}"));
    }
}

/// Values and causes, where there are any.
pub(super) fn in_brackets(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({})", printable(detail)) }
}

pub(super) fn report_json(file: &Path, report: &ReceiptReport) -> Value {
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
            "axis": s.domain.as_ref().map(|(axis, _)| axis), "lane": s.domain.as_ref().map(|(_, lane)| lane),
            "envelope": s.envelope, "sender": s.sender, "recipient": s.recipient, "leaf": s.leaf_hash,
            "commitment": s.hashes.map(|hashes| hashes.commitment), "signed_at": s.signed_at, "directory_version": s.directory_version,
            "directory_issued": s.directory_issued, "note": s.event.border().map(|(english, _)| english),
            "proven_by": s.proven_by, "note_vi": s.event.border().map(|(_, vietnamese)| vietnamese), "levels": levels_json(&s.levels),
        })
    });
    json!({ "file": file, "verdict": report.verdict.as_str(), "summary": summary, "steps": steps })
}
