//! `truc directory certificate`: the operator states what became of a certificate, in the draft of the next version.

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use truc_proto::{Digest, KeyStatus, Timestamp};

use super::load_trust;
use crate::{
    args::{CertificateState, OperatorTrust},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    operator::OperatorFolder,
    output::Output,
};

pub(super) fn run(
    dir: &Path,
    trust: &OperatorTrust,
    certificate: &Digest,
    state: &CertificateState,
    output: &Output,
) -> Outcome {
    let (trust, at) = (load_trust(trust)?, now());
    let moment = |text: &str| match text {
        "now" => Ok(at),
        text => text
            .parse::<Timestamp>()
            .or_exit(Exit::Usage, format!("{text:?} is no time such as 2026-11-22T08:00:00+07:00")),
    };
    let (change, said) = match state {
        CertificateState { revoked: Some(since), .. } => {
            let since = moment(since)?;
            (Change::Status(KeyStatus::Revoked, since), format!("revoked since {}", since.in_vietnam()))
        }
        CertificateState { suspended: Some(since), .. } => {
            let since = moment(since)?;
            (Change::Status(KeyStatus::Suspended, since), format!("suspended since {}", since.in_vietnam()))
        }
        CertificateState { ends: Some(end), .. } => {
            let end = moment(end)?;
            (Change::Ends(end), format!("over from {} on", end.in_vietnam()))
        }
        _ => (Change::Status(KeyStatus::Good, at), "good".to_owned()),
    };
    if let Change::Status(_, since) = &change
        && *since > at
    {
        let why = anyhow!("what is not yet so cannot be stated: give a moment that has come, or --ends");
        return Err(Failure::new(Exit::Usage, why));
    }
    let folder = OperatorFolder::open(dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let entries = folder
        .change(&trust, at, |draft| match &change {
            Change::Status(status, since) => draft.set_status(certificate, *status, *since),
            Change::Ends(end) => draft.end_certificate(certificate, *end, at),
        })
        .or_exit(Exit::Invalid, "the draft is unchanged")?;
    output.show(&json!({ "certificate": certificate, "state": said, "version": entries }), |o| {
        o.line(format!("in the draft of version {entries} certificate {certificate} is {said}"));
        o.line("sign it with `truc directory sign`, publish it with `truc directory publish` / ký bằng `truc directory sign`, phát hành bằng `truc directory publish`");
    });
    Ok(Exit::Good)
}

enum Change {
    Status(KeyStatus, Timestamp),
    Ends(Timestamp),
}
