//! `truc cert`: a node's keys and certificates, for its cipher administrator.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use truc_node::settings::KeySource;
use truc_proto::{
    limits::{PEM_BYTES_MAX, PKCS12_BYTES_MAX},
    node_v1::{
        CertificatesRequest, ImportCertificateRequest, KeyState, RequestCertificateRequest, RetireCertificateRequest,
        RevokeCertificateRequest, RotateRequest, RotationPlan, key_state::State,
    },
};

use crate::{
    args::{CertCommand, CertImportArgs, CertRequestArgs, CertRevokeArgs, CertRotateArgs},
    client::{Administration, administer, block_on, failed},
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable},
    partial,
};

pub(crate) fn run(command: &CertCommand, output: &Output) -> Outcome {
    block_on(async {
        match command {
            CertCommand::Status { node, notes } => status(&mut administer(node).await?, *notes, output).await,
            CertCommand::Request(args) => request(&mut administer(&args.node).await?, args, output).await,
            CertCommand::Import(args) => import(&mut administer(&args.node).await?, args, output).await,
            CertCommand::Rotate(args) => rotate(&mut administer(&args.node).await?, args, output).await,
            CertCommand::Revoke(args) => revoke(&mut administer(&args.node).await?, args, output).await,
            CertCommand::Retire { node, certificate, now, why } => {
                let request =
                    RetireCertificateRequest { certificate: certificate.clone(), now: *now, why: why.clone() };
                let mut node = administer(node).await?;
                let reply = node.retire_certificate(request).await.map_err(|s| failed("retire the certificate", &s))?;
                let done = reply.into_inner().done;
                output.show(&json!({ "done": done }), |o| done.iter().for_each(|line| o.line(printable(line))));
                Ok(Exit::Good)
            }
        }
    })
}

async fn status(node: &mut Administration, notes: bool, output: &Output) -> Outcome {
    let reply = node.certificates(CertificatesRequest {}).await.map_err(|s| failed("read the certificates", &s))?;
    let keys = reply.into_inner().keys;
    output.show(&json!({ "keys": keys.iter().map(key_json).collect::<Vec<_>>() }), |o| {
        let rows: Vec<_> = keys.iter().map(|key| row(key, o)).collect();
        let header = ["KEY", "CERTIFICATE", "STATE", "ENDS", "DAYS", "STILL NEEDED", "WHERE"];
        o.table(header, &rows, "no keys / chưa có khóa nào");
        for key in keys.iter().filter(|key| notes || key.state() != State::Kept) {
            for note in &key.notes {
                o.line(format!("{} {}: {}", o.paint(Tone::Unsure, "*"), printable(&key.slot), printable(note)));
            }
        }
    });
    Ok(Exit::Good)
}

fn row(key: &KeyState, output: &Output) -> [String; 7] {
    let (state, tone) = words(key.state());
    let ends = if key.bound_to.is_empty() { &key.not_after } else { &key.bound_to };
    let days = if key.certificate.is_empty() { String::new() } else { key.days_left.to_string() };
    let needed = match (&key.waiting, key.slot.starts_with("sealing:")) {
        (_, false) => "-".to_owned(),
        (None, true) => "?".to_owned(),
        (Some(waiting), true) => {
            let from = waiting.senders.iter().map(|from| from.sender.as_str()).take(3).collect::<Vec<_>>().join(" ");
            let more = if waiting.more { "+" } else { "" };
            if waiting.envelopes == 0 && !waiting.more {
                "no".to_owned()
            } else {
                format!("{}{more} from {from}", waiting.envelopes)
            }
        }
    };
    let short: String = key.certificate.chars().take(16).collect();
    let day = |text: &str| text.chars().take(10).collect::<String>();
    [key.slot.clone(), short, output.paint(tone, state), day(ends), days, printable(&needed), printable(&key.r#where)]
}

const fn words(state: State) -> (&'static str, Tone) {
    match state {
        State::Unspecified => ("?", Tone::Unsure),
        State::Requested => ("requested", Tone::Unsure),
        State::Imported => ("not bound", Tone::Unsure),
        State::Pending => ("bound later", Tone::Unsure),
        State::InUse => ("in use", Tone::Good),
        State::Overlapping => ("overlapping", Tone::Good),
        State::Kept => ("kept", Tone::Good),
        State::Ended => ("ended", Tone::Unsure),
        State::Stopped => ("stopped", Tone::Bad),
        State::Declared => ("declared", Tone::Bad),
    }
}

fn key_json(key: &KeyState) -> Value {
    let waiting = key.waiting.as_ref().map(|waiting| {
        let senders = waiting.senders.iter().map(|from| json!({ "sender": from.sender, "envelopes": from.envelopes }));
        json!({ "envelopes": waiting.envelopes, "more": waiting.more, "senders": senders.collect::<Vec<_>>() })
    });
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "key": key.slot, "certificate": some(&key.certificate), "subject": some(&key.subject), "serial": some(&key.serial),
        "issuer": some(&key.issuer), "not_before": some(&key.not_before), "not_after": some(&key.not_after),
        "days_left": some(&key.certificate).map(|_| key.days_left), "where": key.r#where, "state": words(key.state()).0,
        "bound_from": some(&key.bound_from), "bound_to": some(&key.bound_to), "keep_until": some(&key.keep_until),
        "kind": some(&key.key), "declared": some(&key.declared), "waiting": waiting, "notes": key.notes,
    })
}

async fn request(node: &mut Administration, args: &CertRequestArgs, output: &Output) -> Outcome {
    let form = args.out.with_extension("txt");
    free([&args.out, &form])?;
    let request = RequestCertificateRequest {
        slot: args.key.clone(),
        algorithm: args.algorithm.clone().unwrap_or_default(),
        why: args.why.clone(),
    };
    let reply = node.request_certificate(request).await.map_err(|s| failed("request a certificate", &s))?.into_inner();
    partial::write_new(&args.out, reply.request_pem.as_bytes())?;
    partial::write_new(&form, reply.form.as_bytes())?;
    let value = json!({ "name": reply.name, "request": args.out, "form": form });
    output.show(&value, |o| {
        o.line(o.paint(Tone::Good, format!("{}: the key is in the node's folder, the request in {}", reply.name, args.out.display())));
        o.line(format!("what the authority's form asks for: {}", form.display()));
        o.line("next: send both to the authority; `truc cert import` takes what comes back / tiếp theo: gửi cả hai cho cơ quan cấp chứng thư; nhận về thì chạy `truc cert import`");
    });
    Ok(Exit::Good)
}

async fn import(node: &mut Administration, args: &CertImportArgs, output: &Output) -> Outcome {
    let mut request = ImportCertificateRequest {
        slot: args.key.clone().unwrap_or_default(),
        why: args.why.clone(),
        ..ImportCertificateRequest::default()
    };
    if let Some(path) = &args.certificate {
        request.certificates = read(path, PEM_BYTES_MAX)?.into();
    }
    if let (Some(path), Some(password)) = (&args.pkcs12, &args.password_file) {
        request.pkcs12 = read(path, PKCS12_BYTES_MAX)?.into();
        let text = read(password, 4_096)?;
        let text = String::from_utf8(text).or_exit(Exit::BadData, format!("{} is not text", password.display()))?;
        request.password = text.trim_end_matches(['\r', '\n']).to_owned();
    }
    if let Some(path) = &args.token {
        request.token = token(path)?;
    }
    let reply = node.import_certificate(request).await.map_err(|s| failed("import the certificate", &s))?.into_inner();
    let key = reply.key.unwrap_or_default();
    output.show(&json!({ "key": key_json(&key), "warnings": reply.warnings }), |o| {
        o.line(o.paint(Tone::Good, format!("{}: {} is here, until {}", key.slot, printable(&key.subject), key.not_after)));
        o.line(format!("SHA-256 {}", key.certificate));
        for warning in &reply.warnings {
            o.line(o.paint(Tone::Unsure, printable(warning)));
        }
        o.line("next: `truc cert rotate --plan`, then `truc cert rotate` / tiếp theo: `truc cert rotate --plan`, rồi `truc cert rotate`");
    });
    Ok(Exit::Good)
}

/// What an `X.token` file says, as the node can read it: its paths are as seen from here.
fn token(path: &Path) -> Result<String, Failure> {
    let cannot = || format!("{} names no key in a token", path.display());
    let KeySource::Token(source) = KeySource::named_by(path).or_exit(Exit::BadData, cannot())? else {
        return Err(Failure::new(Exit::BadData, anyhow!(cannot())));
    };
    let text = source.to_toml().or_exit(Exit::BadData, cannot())?;
    Ok(text)
}

async fn rotate(node: &mut Administration, args: &CertRotateArgs, output: &Output) -> Outcome {
    let request = RotateRequest {
        certificates: args.certificates.clone(),
        overlap_days: args.overlap_days,
        why: args.why.clone().unwrap_or_default(),
    };
    if args.plan {
        let plan = node.plan_rotation(request).await.map_err(|s| failed("plan the rotation", &s))?.into_inner();
        output.show(&plan_json(&plan), |o| show_plan(&plan, o));
        return Ok(Exit::Good);
    }
    let Some(out) = &args.out else {
        let why = anyhow!(
            "name the file that the operator's request is to be written to with --out, or ask with --plan what would happen"
        );
        return Err(Failure::new(Exit::Usage, why));
    };
    let reply = node.rotate(request).await.map_err(|s| failed("rotate the certificates", &s))?.into_inner();
    partial::write_new(out, &reply.binding)?;
    let plan = reply.plan.unwrap_or_default();
    output.show(&json!({ "binding": out, "plan": plan_json(&plan), "unproven": reply.unproven }), |o| {
        o.line(o.paint(
            Tone::Good,
            format!(
                "the request for the axis operator is in {} / yêu cầu gửi đơn vị vận hành trục ở {}",
                out.display(),
                out.display()
            ),
        ));
        for text in &reply.unproven {
            o.line(o.paint(Tone::Unsure, printable(text)));
        }
        show_plan(&plan, o);
    });
    Ok(Exit::Good)
}

/// Before anything is asked of the node: afterwards its answer must not be lost for want of a place.
fn free<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Result<(), Failure> {
    let Some(there) = files.into_iter().find(|path| path.exists()) else { return Ok(()) };
    let why =
        anyhow!("{} is there already, and nothing is ever overwritten: name another file with --out", there.display());
    let vietnamese = format!("Đã có tệp {}: hãy chọn tên khác bằng --out; không tệp nào bị ghi đè.", there.display());
    Err(Failure { vietnamese: Some(vietnamese), ..Failure::new(Exit::Usage, why) })
}

async fn revoke(node: &mut Administration, args: &CertRevokeArgs, output: &Output) -> Outcome {
    // Behind its name: the form of the request for another one is `.txt` by itself.
    let form = args.out.as_ref().map(|out| {
        let mut form = out.clone().into_os_string();
        form.push(".txt");
        PathBuf::from(form)
    });
    free(args.out.iter().chain(&form))?;
    let request = RevokeCertificateRequest {
        certificate: args.certificate.clone(),
        suspected: args.suspected,
        undo: args.undo,
        why: args.why.clone(),
        since: args.since.clone().unwrap_or_default(),
    };
    let what = if args.undo { "take the declaration back" } else { "declare the key stolen or lost" };
    let reply = node.revoke_certificate(request).await.map_err(|s| failed(what, &s))?.into_inner();
    if let (Some(out), Some(form)) = (&args.out, &form) {
        partial::write_new(out, &reply.request)?;
        partial::write_new(form, reply.form.as_bytes())?;
    }
    let serial = Some(&reply.serial).filter(|serial| !serial.is_empty());
    let value = json!({
        "certificate": Some(&reply.certificate).filter(|name| !name.is_empty()), "serial": serial, "request": args.out, "form": form, "done": reply.done,
        "next": reply.next,
    });
    output.show(&value, |o| {
        reply.done.iter().for_each(|line| o.line(o.paint(Tone::Good, printable(line))));
        if let (Some(out), Some(form)) = (&args.out, &form) {
            o.line(format!("serial {}, SHA-256 {}", printable(&reply.serial), printable(&reply.certificate)));
            o.line(format!("for the axis operator: {} / gửi đơn vị vận hành trục: {}", out.display(), out.display()));
            o.line(format!("for the authority: {} / gửi cơ quan cấp chứng thư: {}", form.display(), form.display()));
        }
        for (place, line) in reply.next.iter().enumerate() {
            o.line(format!("{}. {}", place + 1, printable(line)));
        }
    });
    Ok(Exit::Good)
}

fn show_plan(plan: &RotationPlan, output: &Output) {
    let rows: Vec<_> = plan
        .steps
        .iter()
        .map(|step| [if step.when.is_empty() { "-".to_owned() } else { step.when.clone() }, printable(&step.english)])
        .collect();
    output.table(["WHEN", "WHAT HAPPENS"], &rows, "nothing");
    for step in &plan.steps {
        output.line(format!("  {}", printable(&step.vietnamese)));
    }
}

fn plan_json(plan: &RotationPlan) -> Value {
    let steps = plan.steps.iter().map(|step| {
        json!({ "when": Some(&step.when).filter(|when| !when.is_empty()), "english": step.english, "vietnamese": step.vietnamese })
    });
    json!({ "steps": steps.collect::<Vec<_>>() })
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let length = std::fs::metadata(path).or_exit(Exit::BadData, cannot())?.len();
    if length > bytes_max as u64 {
        return Err(Failure::new(Exit::BadData, anyhow!("{} is longer than {bytes_max} bytes", path.display())));
    }
    std::fs::read(path).with_context(cannot).map_err(|error| Failure::new(Exit::BadData, error))
}
