//! `truc directory certificate`: the operator states what became of a certificate, in the draft of the next version.

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use truc_evidence::{VerifiedRevocation, verify_revocation};
use truc_proto::{Digest, Entry, KeyStatus, Raw, RevocationRequest, SignedRevocation, Timestamp};
use truc_signer::Certificate;

use super::load_trust;
use crate::{
    args::{CertificateState, OperatorTrust},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    operator::{OperatorFolder, Trust},
    output::{Output, printable},
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

/// What a node asks for, when it is the node's to ask.
pub(super) fn take(dir: &Path, trust: &OperatorTrust, from: &Path, confirmed: bool, output: &Output) -> Outcome {
    let (trust, at) = (load_trust(trust)?, now());
    let signed = Raw::<SignedRevocation>::parse(crate::trust::read(from)?);
    let signed = signed.or_exit(Exit::BadData, format!("{} is no request to revoke", from.display()))?;
    let folder = OperatorFolder::open(dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let newest = folder.newest(&trust, at).or_exit(Exit::Invalid, "read the newest version")?;
    let newest = newest.ok_or_else(|| {
        Failure::new(Exit::Invalid, anyhow!("there is no version yet: nothing is bound that could be revoked"))
    })?;
    let verified = verify_revocation(&signed, &newest, at).or_exit(Exit::Invalid, "the draft is unchanged")?;
    let VerifiedRevocation { request, signers } = &verified;
    if signers.is_empty() && !confirmed {
        let why = anyhow!(
            "only the ledger key of {} signed it: call its cipher administrator on a known number, then say --confirm; the draft is unchanged",
            request.node
        );
        let vietnamese = format!(
            "Yêu cầu chỉ có chữ ký của khóa sổ cái {}: hãy gọi lại quản trị mật mã của nút theo số đã biết, rồi thêm --confirm.",
            request.node
        );
        return Err(Failure { vietnamese: Some(vietnamese), ..Failure::new(Exit::Invalid, why) });
    }
    let certificate = request.certificate;
    let stated = state(&folder, &trust, request, at).or_exit(Exit::Invalid, "the draft is unchanged")?;
    let (version, status, since) = stated;
    let by: Vec<&str> = signers.iter().map(Certificate::subject).collect();
    let value = json!({
        "certificate": certificate, "state": status, "since": since, "node": request.node,
        "why": request.why, "signed_by": by, "version": version,
    });
    output.show(&value, |o| {
        let since = since.in_vietnam();
        o.line(format!("{} asks: {}", request.node, printable(&request.why)));
        by.iter().for_each(|by| o.line(format!("signed by {}", printable(by))));
        o.line(format!("in the draft of version {version} certificate {certificate} is {status} since {since}"));
        o.line("sign it with `truc directory sign`, publish it with `truc directory publish` / ký bằng `truc directory sign`, phát hành bằng `truc directory publish`");
    });
    Ok(Exit::Good)
}

/// States in the draft what a request asks for: the version, and what stands there now.
pub(crate) fn state(
    folder: &OperatorFolder,
    trust: &Trust,
    request: &RevocationRequest,
    at: Timestamp,
) -> anyhow::Result<(u64, KeyStatus, Timestamp)> {
    let (mut status, mut since) = (request.status, request.since);
    let version = folder.change(trust, at, |draft| {
        let bound = draft.entries().flat_map(Entry::certificates).find(|bound| bound.sha256 == request.certificate);
        if let Some((stands, before)) = bound.and_then(|bound| Some((bound.status, bound.status_since?))) {
            // Nothing is made good again that was made in between, and revoked is for ever.
            since = since.min(before);
            status = if stands == KeyStatus::Revoked { stands } else { status };
        }
        draft.set_status(&request.certificate, status, since)
    })?;
    Ok((version, status, since))
}

enum Change {
    Status(KeyStatus, Timestamp),
    Ends(Timestamp),
}
