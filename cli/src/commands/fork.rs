//! `truc fork`: who showed two histories, and what proves it. Needs no node and no network.

use std::path::Path;

use anyhow::anyhow;
use serde_json::{Value, json};
use truc_evidence::{Directory, ForkError, ForkFile, ForkKind, ProvenFork, verify_checkpoint_cms};
use truc_proto::{AgencyId, NodeEntry, NoteKey, SignedNote, Timestamp, chain, limits::FORK_BYTES_MAX};
use truc_signer::TrustStore;

use super::directory;
use crate::{
    args::{ForkCommand, ForkShowArgs, OperatorTrust},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable},
    trust,
};

/// Most codes of a node that are named.
const CODES_SHOWN: usize = 12;

pub(crate) fn run(command: &ForkCommand, output: &Output) -> Outcome {
    match command {
        ForkCommand::Show(args) => show(args, output),
    }
}

/// Whose ledger it is, as the signed directory says; none where only a key was given.
struct Owner {
    entry: NodeEntry,
    codes: Vec<AgencyId>,
    store: TrustStore,
}

fn show(args: &ForkShowArgs, output: &Output) -> Outcome {
    let bytes = read(&args.file)?;
    let file = ForkFile::parse(&bytes).or_exit(Exit::BadData, format!("{} is no fork file", args.file.display()))?;
    let origin = file.origin().or_exit(Exit::Invalid, format!("{} proves nothing", args.file.display()))?;
    let (key, owner) = key_of(args, &origin)?;
    let fork = match file.judge(&key) {
        Ok(fork) => fork,
        Err(error) => return made_up(&origin, &error, output),
    };
    let signed = [&fork.first, &fork.second].map(|held| signed_at(held.note(), owner.as_ref()));
    let (exit, tone, [vietnamese, english]) = words(fork.kind);
    output.show(&as_json(&fork, owner.as_ref(), &signed, [vietnamese, english]), |o| {
        o.line(o.paint(tone, vietnamese));
        o.line(english);
        o.line(format!("  sổ cái / ledger  {}", printable(&origin)));
        if let Some(owner) = &owner {
            let codes: Vec<_> = owner.codes.iter().take(CODES_SHOWN).map(ToString::to_string).collect();
            let more = if owner.codes.len() > CODES_SHOWN { ", …" } else { "" };
            o.line(format!("  của / of         {} {}{more}", owner.entry.id, codes.join(", ")));
        }
        for (held, signed) in [&fork.first, &fork.second].into_iter().zip(&signed) {
            let checkpoint = held.checkpoint();
            o.line(format!("  {} lá / leaves, gốc / root {}", checkpoint.size, checkpoint.root));
            o.line(format!("    khóa sổ cái / ledger key: ký đúng / signed; {}", signed.text()));
        }
        for line in what_to_do(fork.kind) {
            o.line(line);
        }
    });
    Ok(exit)
}

/// Notes that the key did not sign accuse nobody: anybody could have written them.
fn made_up(origin: &str, error: &ForkError, output: &Output) -> Outcome {
    let why = chain(error);
    let english = "It accuses nobody: the ledger's key did not sign both. Whoever made the file may have made it up.";
    let vietnamese = "Không buộc lỗi được ai: khóa sổ cái không ký cả hai. Tệp có thể do bên khác dựng lên.";
    output.show(
        &json!({ "verdict": "not-signed", "ledger": origin, "why": why, "english": english, "vietnamese": vietnamese }),
        |o| {
            o.line(o.paint(Tone::Bad, vietnamese));
            o.line(english);
            o.line(format!("  {}: {}", printable(origin), printable(&why)));
        },
    );
    Ok(Exit::Invalid)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let about = std::fs::metadata(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))?;
    if about.len() > FORK_BYTES_MAX as u64 {
        let why = anyhow!("{} has {} bytes; a fork file has at most {FORK_BYTES_MAX}", path.display(), about.len());
        return Err(Failure::new(Exit::BadData, why));
    }
    trust::read(path)
}

fn key_of(args: &ForkShowArgs, origin: &str) -> Result<(NoteKey, Option<Owner>), Failure> {
    if let Some(key) = &args.key {
        return Ok((key.clone(), None));
    }
    let (Some(dir), Some(anchors), Some(operator)) = (&args.dir, &args.trust, &args.operator) else {
        return Err(Failure::new(Exit::Usage, anyhow!("give --key, or --dir with --trust and --operator")));
    };
    let trust = OperatorTrust { trust: anchors.clone(), operator: operator.clone(), crl: args.crl.clone() };
    let directory: Directory = directory::open_at(dir, &trust)?;
    let Some((_, entry)) = directory.by_origin(origin) else {
        return Err(Failure {
            vietnamese: Some(
                "Danh bạ này không có sổ cái đó: nếu nút đã lập sổ mới, hãy dùng phiên bản danh bạ trước đó."
                    .to_owned(),
            ),
            ..Failure::new(
                Exit::CannotTell,
                anyhow!(
                    "directory version {} lists no ledger {origin}; where its owner began a new one since, give an older version",
                    directory.version()
                ),
            )
        });
    };
    let key = NoteKey::new(entry.origin.as_str(), entry.ledger_key)
        .or_exit(Exit::BadData, "the directory's entry names no key")?;
    let codes = directory.codes_of(&entry.id).to_vec();
    Ok((key, Some(Owner { entry: entry.clone(), codes, store: trust::store(anchors, &args.crl)? })))
}

/// What is known about the certificate's line.
enum SignedAt {
    At(Option<Timestamp>, String),
    No(String),
    NotLooked,
}

impl SignedAt {
    fn text(&self) -> String {
        match self {
            Self::At(at, subject) => {
                let at = at.map_or("-".to_owned(), Timestamp::in_vietnam);
                format!("chứng thư / certificate: {} – {at}", printable(subject))
            }
            Self::No(why) => format!("chứng thư / certificate: không / no ({})", printable(why)),
            Self::NotLooked => "chứng thư: chưa kiểm tra / certificate: not checked (--key)".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::At(at, subject) => json!({ "certificate": subject, "signed_at": at }),
            Self::No(why) => json!({ "certificate": null, "why": why }),
            Self::NotLooked => Value::Null,
        }
    }
}

fn signed_at(note: &SignedNote, owner: Option<&Owner>) -> SignedAt {
    let Some(owner) = owner else { return SignedAt::NotLooked };
    match verify_checkpoint_cms(note, &owner.entry, &owner.store, now()) {
        Ok((cms, _)) => SignedAt::At(cms.signing_time, cms.certificate.subject().to_owned()),
        Err(error) => SignedAt::No(chain(&error)),
    }
}

const fn words(kind: ForkKind) -> (Exit, Tone, [&'static str; 2]) {
    match kind {
        ForkKind::TwoHistories => (
            Exit::Good,
            Tone::Bad,
            [
                "HAI LỊCH SỬ: cùng một sổ cái, cùng số lá, hai gốc khác nhau, đều do khóa của sổ cái ký. Chủ sổ cái không thể chối.",
                "TWO HISTORIES: one ledger, one size, two roots, both signed by the ledger's key. Its owner cannot deny it.",
            ],
        ),
        ForkKind::Unproven => (
            Exit::CannotTell,
            Tone::Unsure,
            [
                "CHƯA ĐỦ CHỨNG MINH: hai điểm chốt khác số lá, đều do khóa của sổ cái ký. Bên giữ tệp đã yêu cầu chứng minh điểm sau nối tiếp điểm trước mà không nhận được.",
                "NO PROOF BY ITSELF: two checkpoints of different sizes, both signed by the ledger's key. Whoever kept the file asked for proof that the later continues the earlier, and did not get it.",
            ],
        ),
        ForkKind::Same => (
            Exit::Invalid,
            Tone::Unsure,
            ["KHÔNG CHỨNG MINH GÌ: hai lần cùng một trạng thái.", "PROVES NOTHING: the same state twice."],
        ),
    }
}

const fn what_to_do(kind: ForkKind) -> &'static [&'static str] {
    match kind {
        ForkKind::TwoHistories => &[
            "  Việc cần làm: gửi tệp này cho đơn vị vận hành trục và cơ quan chủ sổ cái; bên giữ sổ cái không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó cho đến khi sổ mới được lập.",
            "  What to do: give this file to the axis operator and to the owner; its owner cannot deny what it signed; believe nothing of it in its own favour until it has begun a new ledger.",
        ],
        ForkKind::Unproven => &[
            "  Việc cần làm: yêu cầu chủ sổ cái chứng minh điểm chốt lớn nối tiếp điểm nhỏ; không chứng minh được thì báo đơn vị vận hành trục kèm tệp này.",
            "  What to do: have the owner prove that the larger continues the smaller; if it cannot, give this file to the axis operator.",
        ],
        ForkKind::Same => &[],
    }
}

fn as_json(
    fork: &ProvenFork,
    owner: Option<&Owner>,
    signed: &[SignedAt; 2],
    [vietnamese, english]: [&str; 2],
) -> Value {
    let verdict = match fork.kind {
        ForkKind::TwoHistories => "two-histories",
        ForkKind::Unproven => "unproven",
        ForkKind::Same => "same",
    };
    let checkpoints = [&fork.first, &fork.second].into_iter().zip(signed).map(|(held, signed)| {
        let checkpoint = held.checkpoint();
        json!({ "size": checkpoint.size, "root": checkpoint.root, "signed": signed.json() })
    });
    json!({
        "verdict": verdict, "ledger": fork.first.checkpoint().origin(), "node": owner.map(|owner| &owner.entry.id),
        "codes": owner.map(|owner| &owner.codes), "checkpoints": checkpoints.collect::<Vec<_>>(), "english": english, "vietnamese": vietnamese,
    })
}
