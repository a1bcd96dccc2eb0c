//! `truc directory audit`: which certificates were ever bound to a code, proven from every version of the directory.

use std::{collections::BTreeSet, fs::File, io::BufReader, path::Path, time::Duration};

use anyhow::anyhow;
use serde_json::{Value, json};
use truc_evidence::{AuditError, AuditedBinding, DirectoryAudit, VersionAt};
use truc_proto::{AgencyId, Digest, KeyUse, Timestamp, limits::FUTURE_SKEW_MAX_MS, node_v1::AuditDirectoryRequest};
use truc_signer::Certificate;

use super::load_trust;
use crate::{
    args::AuditArgs,
    client::{block_on, connect, failed},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable},
    partial::Partial,
};

/// Uses that an agency's certificates have.
const USES: [KeyUse; 2] = [KeyUse::Service, KeyUse::Sealing];

pub(super) fn run(args: &AuditArgs, output: &Output) -> Outcome {
    let trust = load_trust(&args.trust)?;
    let (own, audit) = match (&args.file, &args.code) {
        (Some(file), _) => (None, verify(file, &trust)?),
        (None, Some(code)) => {
            // Without --out it lies in a folder that goes with it.
            let folder = tempfile::tempdir().or_exit(Exit::BadData, "cannot make a temporary folder")?;
            let out = args.out.clone().unwrap_or_else(|| folder.path().join("audit"));
            let own = fetch(args, code, &out)?;
            (Some(own), verify(&out, &trust)?)
        }
        (None, None) => return Err(Failure::new(Exit::Usage, anyhow!("name a code, or --file"))),
    };
    if let Some(code) = args.code.as_ref().filter(|code| **code != audit.head.code) {
        let what = format!("the audit is about {}, not about {code}", audit.head.code);
        return Err(Failure {
            vietnamese: Some(format!("Bản kiểm tra này là của mã {}, không phải {code}.", audit.head.code)),
            ..Failure::new(Exit::Invalid, anyhow!(what))
        });
    }
    let at = args.at;
    let covers = covers(&audit, at, own.is_some());
    output.show(&as_json(&audit, own.as_ref(), at, covers), |o| {
        print(&audit, own.as_ref(), at, o);
        if let (false, Some(at)) = (covers, at) {
            tell_uncovered(&audit, at, o);
        }
    });
    Ok(if covers { Exit::Good } else { Exit::CannotTell })
}

/// Whether an audit says what was bound at a time: later versions are not in it.
fn covers(audit: &DirectoryAudit, at: Option<Timestamp>, is_fresh: bool) -> bool {
    // Of one's own node: the relay's clock and this one may differ.
    let skew = Duration::from_millis(if is_fresh { FUTURE_SKEW_MAX_MS.unsigned_abs() } else { 0 });
    at.is_none_or(|at| at <= audit.head.made + skew)
}

fn tell_uncovered(audit: &DirectoryAudit, at: Timestamp, o: &Output) {
    let (at, made) = (at.in_vietnam(), audit.head.made.in_vietnam());
    o.line(format!(
        "  {} this audit was made {made} and cannot tell about {at}: later versions may say otherwise; get a new one from a node",
        o.paint(Tone::Unsure, "!")
    ));
    o.line(format!(
        "    bản kiểm tra này lập lúc {made}, không nói được về {at}: phiên bản sau có thể khác; hãy lấy bản mới từ một nút"
    ));
}

/// Gets the audit into `out`; gives the certificates that the node holds.
fn fetch(args: &AuditArgs, code: &AgencyId, out: &Path) -> Result<BTreeSet<Digest>, Failure> {
    Partial::free(out)?;
    block_on(async {
        let mut node = connect(&args.node).await?;
        let request = AuditDirectoryRequest { code: code.to_string() };
        let cannot = |status| failed("audit the directory", &status);
        let mut chunks = node.audit_directory(request).await.map_err(cannot)?.into_inner();
        let (mut file, mut own) = (Partial::create(out)?, BTreeSet::new());
        while let Some(chunk) = chunks.message().await.map_err(cannot)? {
            file.write(&chunk.data)?;
            own.extend(chunk.own_certificates.iter().filter_map(|sha256| Digest::from_slice(sha256).ok()));
        }
        file.finish()?;
        Ok(own)
    })
}

fn verify(path: &Path, trust: &crate::operator::Trust) -> Result<DirectoryAudit, Failure> {
    let file = File::open(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))?;
    let audit = DirectoryAudit::verify(BufReader::with_capacity(1 << 18, file), &trust.operator, &trust.store, now());
    audit.map_err(|error| {
        let (exit, vietnamese) = match &error {
            AuditError::Io(_) | AuditError::Form { .. } => (
                Exit::BadData,
                "Tệp không phải là bản kiểm tra danh bạ còn nguyên vẹn; hãy lấy lại từ nút.",
            ),
            _ => (
                Exit::Invalid,
                "Bản kiểm tra danh bạ KHÔNG đúng với các tệp tin cậy đã đưa. Trước hết kiểm tra --trust và --operator có đúng của trục này không; nếu đúng, không được tin bất cứ điều gì trong bản kiểm tra: giữ lại tệp và báo đơn vị vận hành trục.",
            ),
        };
        Failure {
            vietnamese: Some(vietnamese.to_owned()),
            ..Failure::new(exit, anyhow!(error).context(format!("{} does not hold", path.display())))
        }
    })
}

fn print(audit: &DirectoryAudit, own: Option<&BTreeSet<Digest>>, at: Option<Timestamp>, o: &Output) {
    let name = audit.names.first().map(|name| printable(name)).unwrap_or_default();
    o.line(format!("{}  {name}", audit.head.code));
    o.line(format!(
        "every version of the directory of axis {}, lane {}: {} versions, {} to {}, none left out; each signed by the operator and in the ledger of relay {} ({} leaves)",
        audit.head.axis,
        audit.head.lane,
        audit.versions,
        told(audit.first),
        told(audit.last),
        audit.head.relay,
        audit.checkpoint.size
    ));
    o.line(format!(
        "mọi phiên bản danh bạ, không thiếu phiên bản nào; mỗi phiên bản có chữ ký của đơn vị vận hành và nằm trong sổ cái của trục {}",
        audit.head.relay
    ));
    let rows: Vec<_> = audit.bindings.iter().map(|bound| row(bound, own)).collect();
    o.table(
        ["CERTIFICATE", "USES", "SUBJECT", "NODE", "BOUND FROM", "UNTIL", "STATUS", "HELD HERE"],
        &rows,
        "no certificate was ever bound to this code / chưa từng có chứng thư nào được gắn với mã này",
    );
    let made = audit.head.made.in_vietnam();
    o.line(format!("made {made}: later versions are not in it / lập lúc {made}: không có các phiên bản sau đó"));
    let Some(at) = at else { return };
    o.line(format!("at {} / tại thời điểm {}:", at.in_vietnam(), at.in_vietnam()));
    for key_use in USES {
        let bound: Vec<_> = audit.in_force_at(key_use, at).map(described).collect();
        let (tone, text) = match bound.as_slice() {
            [] => (Tone::Unsure, "none / không có".to_owned()),
            some => (Tone::Good, some.join("; ")),
        };
        o.line(format!("  {key_use}: {}", o.paint(tone, text)));
    }
}

fn row(bound: &AuditedBinding, own: Option<&BTreeSet<Digest>>) -> [String; 8] {
    let binding = &bound.binding;
    let uses: Vec<_> = binding.uses.iter().map(|one| one.as_str()).collect();
    let status = match binding.status_since {
        Some(since) => format!("{} {}", binding.status, since.in_vietnam()),
        None => binding.status.to_string(),
    };
    let held = match own {
        None => "?",
        Some(own) if own.contains(&binding.sha256) => "yes / có",
        Some(_) => "NO / KHÔNG",
    };
    [
        short(&binding.sha256),
        uses.join("+"),
        subject(&binding.der),
        bound.node.as_ref().map_or("-".into(), ToString::to_string),
        told(bound.from),
        bound.until.map_or("-".to_owned(), told),
        status,
        held.to_owned(),
    ]
}

fn described(bound: &AuditedBinding) -> String {
    format!("{} {} (version {})", short(&bound.binding.sha256), subject(&bound.binding.der), bound.from.version)
}

fn told(at: VersionAt) -> String {
    format!("{} ({})", at.version, at.issued.in_vietnam())
}

fn short(sha256: &Digest) -> String {
    sha256.to_string().chars().take(16).collect()
}

fn subject(der: &[u8]) -> String {
    match Certificate::from_der(der) {
        Ok(certificate) => format!("{}, serial {}", printable(certificate.subject()), certificate.serial_text()),
        Err(_) => "(unreadable)".to_owned(),
    }
}

fn as_json(audit: &DirectoryAudit, own: Option<&BTreeSet<Digest>>, at: Option<Timestamp>, covers: bool) -> Value {
    let version = |at: VersionAt| json!({ "version": at.version, "issued": at.issued });
    let binding = |bound: &AuditedBinding| {
        let one = &bound.binding;
        json!({
            "sha256": one.sha256, "subject": subject(&one.der), "uses": one.uses, "node": bound.node,
            "valid_from": one.valid_from, "valid_to": one.valid_to, "status": one.status, "status_since": one.status_since,
            "from": version(bound.from), "until": bound.until.map(version),
            "held": own.map(|own| own.contains(&one.sha256)),
        })
    };
    let in_force = |at: Timestamp| {
        let of_use = |key_use: KeyUse| {
            let bound: Vec<_> = audit.in_force_at(key_use, at).map(|bound| bound.binding.sha256).collect();
            (key_use.as_str().to_owned(), json!(bound))
        };
        let mut uses: serde_json::Map<String, Value> = USES.map(of_use).into_iter().collect();
        uses.insert("at".into(), json!(at));
        uses.insert("covered".into(), json!(covers));
        Value::Object(uses)
    };
    json!({
        "code": audit.head.code, "names": audit.names, "axis": audit.head.axis, "lane": audit.head.lane,
        "relay": audit.head.relay, "made": audit.head.made, "tree_size": audit.checkpoint.size,
        "versions": audit.versions, "first": version(audit.first), "last": version(audit.last),
        "bindings": audit.bindings.iter().map(binding).collect::<Vec<_>>(),
        "in_force": at.map(in_force),
    })
}
