//! `truc container verify`: form, digests, signature and certificate of a container, without a node.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::anyhow;
use serde_json::json;
use truc_proto::{ENVELOPE_ENTRY, EnvelopeJson, Raw, Timestamp, limits::STATEMENT_BYTES_MAX};
use truc_signer::{
    CertificateUse, TrustStore, Verdict,
    asic::{ContainerError, ContainerReader, Entry, EntryHeader, OpenedContainer, Visitor, VisitorError},
    validate_with, verify_detached,
};

use crate::{
    args::ContainerCommand,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone, printable, size},
    trust,
};

pub(crate) fn run(command: &ContainerCommand, output: &Output) -> Outcome {
    let ContainerCommand::Verify { file, trust: anchors, crl, at } = command;
    let store = trust::store(anchors, crl)?;
    let (container, envelope) = open(file)?;
    let signature = verify_detached(&container.signature, container.manifest.bytes(), store.intermediates());
    let signature = signature.or_exit(Exit::Invalid, "the signature over the manifest does not hold")?;
    let at = at.or(signature.signing_time).unwrap_or_else(|| Timestamp::from_unix_ms(i64::MAX));
    let verdict = verdict(&store, &signature.certificate, &signature.others, at)?;
    let (exit, tone, text) = match &verdict {
        Verdict::Good => (Exit::Good, Tone::Good, "good".to_owned()),
        Verdict::Revoked { at: revoked, reason, .. } if *revoked <= at => {
            (Exit::Invalid, Tone::Bad, format!("revoked since {} ({reason:?})", revoked.in_vietnam()))
        }
        // Revoked after it signed, but the signing time is only the signer's own word.
        Verdict::Revoked { at: revoked, .. } => (
            Exit::CannotTell,
            Tone::Unsure,
            format!("revoked later, at {}; no time-stamp proves it signed before", revoked.in_vietnam()),
        ),
        Verdict::Unknown(why) => (Exit::CannotTell, Tone::Unsure, format!("revocation unknown: {why}")),
    };
    let entries: Vec<_> = container
        .entries
        .iter()
        .map(|e| json!({ "name": e.name.to_string(), "length": e.length, "sha256": e.digest }))
        .collect();
    let value = json!({
        "container": container.digest, "length": container.length, "entries": entries,
        "signer": signature.certificate.subject(), "signed_at": signature.signing_time, "certificate": text,
        "envelope": envelope.as_ref().map(|e| e.value()), "exit": exit as u8,
    });
    output.show(&value, |o| {
        o.line(format!("{}  {}  sha256 {}", file.display(), size(container.length), container.digest));
        for entry in &container.entries {
            o.line(format!("  {}  {:>10}  {}", entry.digest, size(entry.length), printable(&entry.name.to_string())));
        }
        if let Some(envelope) = &envelope {
            let to: Vec<_> = envelope.recipients.iter().map(|r| r.code.to_string()).collect();
            o.line(format!(
                "envelope     {} from {} to {}, level {}",
                envelope.envelope,
                envelope.sender,
                to.join(" "),
                envelope.level
            ));
        }
        o.line(format!("signer       {}", printable(signature.certificate.subject())));
        o.line(format!("signed at    {}", signature.signing_time.map_or("-".into(), Timestamp::in_vietnam)));
        o.line(format!("certificate  {}", o.paint(tone, text)));
    });
    Ok(exit)
}

fn verdict(
    store: &TrustStore,
    certificate: &truc_signer::Certificate,
    others: &[truc_signer::Certificate],
    at: Timestamp,
) -> Result<Verdict, Failure> {
    validate_with(store, certificate, others, CertificateUse::Service, at)
        .or_exit(Exit::Invalid, "the signer's certificate is not believed")
}

/// Reads the container once; keeps `envelope.json`.
fn open(path: &Path) -> Result<(OpenedContainer, Option<Raw<EnvelopeJson>>), Failure> {
    let file = File::open(path).or_exit(Exit::BadData, format!("cannot read {}", path.display()))?;
    let mut keeper = KeepEnvelope::default();
    let opened = ContainerReader::new(BufReader::new(file)).and_then(|reader| reader.read(&mut keeper));
    let opened = opened.map_err(|e| {
        let exit = if matches!(e, ContainerError::Source(_)) { Exit::Unavailable } else { Exit::Invalid };
        let what = format!(
            "{} is no whole container; give an .asice file as `truc inbox fetch --what container` writes it",
            path.display()
        );
        let vietnamese =
            "Tệp không phải gói văn bản (.asice) hoàn chỉnh; hãy lấy lại bằng `truc inbox fetch --what container`.";
        Failure { vietnamese: Some(vietnamese.to_owned()), ..Failure::new(exit, anyhow!(e).context(what)) }
    })?;
    let envelope =
        keeper.bytes.map(Raw::parse).transpose().or_exit(Exit::Invalid, "its envelope.json is not readable")?;
    Ok((opened, envelope))
}

#[derive(Default)]
struct KeepEnvelope {
    current: bool,
    bytes: Option<Vec<u8>>,
}

impl Visitor for KeepEnvelope {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        self.current = header.name.to_string() == ENVELOPE_ENTRY;
        if self.current {
            self.bytes = Some(Vec::new());
        }
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        if let (true, Some(kept)) = (self.current, &mut self.bytes) {
            if kept.len() + bytes.len() > STATEMENT_BYTES_MAX {
                return Err("its envelope.json is larger than any statement".into());
            }
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }
    fn end(&mut self, _: &Entry) -> Result<(), VisitorError> {
        Ok(())
    }
}
