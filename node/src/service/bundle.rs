//! Bundles: all receipts about an envelope, and the business statuses about it, in one file, put together as it streams out, checked on the way, and signed by the agency.

mod report;
mod statuses;

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use bytes::Bytes;
use serde_json::json;
use tokio::{runtime::Handle, sync::mpsc};
use truc_evidence::{
    BundleWriteError, BundleWriter, Check, Directory, ReceiptReport, ReceiptTrust, StatusCheck, StatusJudge,
    StatusReport, Step, verify_receipt,
};
use truc_link::RevocationFolder;
use truc_proto::{
    AgencyId, BUNDLE_REPORT, BundleJson, Digest, Entry, EnvelopeId, Raw, Receipt, ReceiptBody, STATUS_ENTRY,
    STATUS_SIGNATURE, SignedNote,
    limits::{BUNDLE_CERTIFICATES_MAX, BUNDLE_ENTRIES_MAX},
    node_v1,
};
use truc_signer::{
    AddTimeStamp, Certificate, PdfSignature, SignatureBox, TrustStore,
    asic::FinishError,
    certificates_of_stamps,
    cms::{embed_time_stamp, signature_value},
};

use report::Facts;
use statuses::StatusFiles;

use super::{
    Error, envelope_id,
    inbox::{ChannelSink, Replies},
    not_found, receipts,
    roles::May,
};
use crate::{
    pipeline::PipelineError,
    shell::{Shell, Worker, clock, time_stamp},
    tokens::Grant,
};

/// Receipts read ahead of what is written.
const AHEAD: usize = 4;

pub(crate) async fn export(
    shell: &Arc<Shell>,
    grant: Grant,
    request: node_v1::ExportBundleRequest,
) -> Result<Replies<node_v1::FetchChunk>, Error> {
    grant.need(May::Receipts)?;
    let envelope = envelope_id(&request.envelope)?;
    receipts::may_leave(shell)?;
    let directory = shell.directory().ok_or_else(super::send::no_directory)?;
    let Party { sender, by, described } = party(shell, &grant, envelope, &request.sender).await?;
    let wanted = node_v1::ListReceiptsRequest {
        envelope: request.envelope,
        sender: sender.to_string(),
        idempotency_key: String::new(),
    };
    let node_v1::ListReceiptsReply { items, statuses: notes } = receipts::list(shell, grant.clone(), &wanted).await?;
    // Beside the receipts stand bundle.json, README.txt, checked.json, certificates and lists.
    if items.len() + BUNDLE_CERTIFICATES_MAX + 100 > BUNDLE_ENTRIES_MAX {
        return Err(Error::not_now(
            "there are more receipts about this document than one bundle holds; get them one by one / Số biên nhận vượt quá một bộ chứng cứ; hãy lấy từng biên nhận",
        ));
    }
    let room = BUNDLE_ENTRIES_MAX - items.len() - BUNDLE_CERTIFICATES_MAX - 100;
    // What a status says is seen in its opening.
    let (statuses, left_out) = match request.with_opening {
        true => statuses::find(shell, &grant, &notes, room).await?,
        false => (Vec::new(), notes.len()),
    };
    let about = BundleJson {
        axis: shell.axis.clone(),
        lane: shell.lane,
        envelope,
        sender,
        by,
        node: shell.node.clone(),
        made: clock::now(),
        statuses_left_out: left_out as u64,
    };
    let (ready, files) = mpsc::channel(AHEAD);
    let (inner, with_opening) = (Arc::clone(shell), request.with_opening);
    tokio::spawn(async move {
        let fetch = async |leaf_hash| {
            receipts::fetch(&inner, grant.clone(), &node_v1::GetReceiptRequest { leaf_hash, with_opening }).await
        };
        for item in items {
            let receipt = fetch(item.leaf_hash).await.map(|reply| Part::Receipt(reply.file_name, reply.receipt));
            let failed = receipt.is_err();
            // The bundle was given up: it says why.
            if ready.send(receipt).await.is_err() || failed {
                return;
            }
        }
        for StatusFiles { folder, status, signature, receipts } in statuses {
            let mut parts = vec![(STATUS_ENTRY.to_owned(), Bytes::from(status))];
            parts.extend((!signature.is_empty()).then(|| (STATUS_SIGNATURE.to_owned(), Bytes::from(signature))));
            let mut failed = None;
            for (leaf_hash, name) in receipts {
                match fetch(leaf_hash.into()).await {
                    Ok(reply) => parts.push((name, reply.receipt)),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let is_last = failed.is_some();
            let status = failed.map_or(Ok(Part::Status(folder, parts)), Err);
            if ready.send(status).await.is_err() || is_last {
                return;
            }
        }
    });
    let (sender, chunks) = mpsc::channel(4);
    let inner = Arc::clone(shell);
    tokio::spawn(async move {
        let broken = sender.clone();
        let making = Arc::clone(&inner);
        let work = move |worker: &mut Worker| {
            let mut sink = ChannelSink::new(sender, worker);
            let described = described.filter(|_| with_opening);
            let done = write(&making, about, described, files, &directory, &mut sink);
            if let Err(error) = done.and_then(|()| sink.flush().map_err(|error| Error::gone(error.to_string()))) {
                sink.fail(error);
            }
        };
        let failed = match inner.work_with_client("putting a bundle together", work).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.into(),
            None => super::busy(),
        };
        let _ = broken.send(Err(failed)).await; // the caller may be gone
    });
    Ok(chunks)
}

/// For whom a bundle is put together.
struct Party {
    /// The envelope's sender.
    sender: AgencyId,
    /// Who signs for the caller: the sender where it is the caller's, else the first recipient.
    by: AgencyId,
    /// Position of the record that describes the document; none before it was opened.
    described: Option<u64>,
}

async fn party(shell: &Arc<Shell>, grant: &Grant, envelope: EnvelopeId, sender: &str) -> Result<Party, Error> {
    let named = super::found::sender_of(sender)?;
    let meant = |sender: &AgencyId| named.as_ref().is_none_or(|named| named == sender);
    let (sent, _) = super::found::sent(shell, envelope).await?;
    let sent = sent.into_iter().filter(|sent| meant(&sent.key.sender) && grant.allows(&sent.key.sender));
    let sent =
        sent.map(|sent| Party { by: sent.key.sender.clone(), sender: sent.key.sender, described: Some(sent.body) });
    let received =
        super::found::received(shell, envelope).await?.into_iter().filter(|received| meant(&received.key.sender));
    let received = received.filter_map(|received| {
        let code = received.codes.into_keys().find(|code| grant.allows(code))?;
        Some(Party { sender: received.key.sender, by: code, described: received.content })
    });
    let parties: Vec<_> = sent.chain(received).collect();
    super::found::one_sender(envelope, parties.iter().map(|party| &party.sender))?;
    parties.into_iter().next().ok_or_else(not_found)
}

/// What goes in, in this order.
enum Part {
    /// Its file name, and it.
    Receipt(String, Bytes),
    /// A status's folder and its files.
    Status(String, Vec<(String, Bytes)>),
}

type Parts = mpsc::Receiver<Result<Part, Error>>;

fn write(
    shell: &Shell,
    about: BundleJson,
    described: Option<u64>,
    mut files: Parts,
    directory: &Directory,
    sink: &mut ChannelSink<'_>,
) -> Result<(), Error> {
    let described = described.map(|position| shell.bodies().about(position)).transpose();
    let described = described.map_err(|error| Error::internal(crate::chain(&error)))?;
    let trust = ReceiptTrust::new(shell.trust.load_full(), shell.operator.clone());
    let mut writer = BundleWriter::new(sink, about.clone()).map_err(failed)?;
    let (mut found, mut statuses, mut certificates) = (Vec::new(), Vec::new(), Certificates::default());
    certificates.add(trust.operator().certificates());
    certificates.add(trust.store().intermediates());
    certificates.add(trust.store().anchors());
    while let Some(part) = writer.sink_mut().wait(|| files.blocking_recv()) {
        match part? {
            Part::Receipt(name, receipt) => {
                let report = verify_receipt(&receipt, &trust, None, about.made);
                certificates.add_from(&receipt);
                certificates.answers_into(&mut writer, trust.store())?;
                writer.receipt(&name, &receipt).map_err(failed)?;
                found.push((name, report));
            }
            Part::Status(folder, files) => {
                let mut judge = StatusJudge::new(folder);
                for (name, bytes) in files {
                    judge.take(&name, bytes.to_vec(), &trust, about.made);
                    certificates.add_from(&bytes);
                    certificates.answers_into(&mut writer, trust.store())?;
                    writer.of_status(judge.name(), &name, &bytes).map_err(failed)?;
                }
                statuses.push(judge.judge(&trust, about.made).about(Some(&about)));
            }
        }
    }
    let name_of = |code| directory.agency(code).map(|agency| agency.name().to_owned()).unwrap_or_default();
    let facts = Facts {
        sender_name: name_of(&about.sender),
        by_name: name_of(&about.by),
        about: &about,
        document: described.as_ref(),
        receipts: &found,
        statuses: &statuses,
    };
    writer.put(BUNDLE_REPORT, "application/pdf", &signed_report(shell, &facts, directory)?).map_err(failed)?;
    let checked: Vec<_> = found.iter().map(|(name, report)| line_of(name, report)).collect();
    let checks: Vec<_> = Check::ALL
        .iter()
        .map(|check| json!({ "id": check.id(), "vi": check.vietnamese(), "en": check.english() }))
        .collect();
    let status_checks: Vec<_> = StatusCheck::ALL
        .iter()
        .map(|check| json!({ "id": check.id(), "vi": check.vietnamese(), "en": check.english() }))
        .collect();
    let judged: Vec<_> = statuses.iter().map(line_of_status).collect();
    let report = json!({
        "at": about.made, "by": "truc-node", "version": env!("CARGO_PKG_VERSION"), "checks": checks, "receipts": checked,
        "status_checks": status_checks, "statuses": judged,
    });
    let report = serde_json::to_vec_pretty(&report).map_err(|error| Error::internal(error.to_string()))?;
    writer.checked(&report).map_err(failed)?;
    for (name, der) in certificates.files {
        writer.put(&name, "application/pkix-cert", &der).map_err(failed)?;
    }
    let unreadable = |error: &dyn std::error::Error| Error::unavailable(crate::chain(error));
    let mut lists = shell.trust_files.revocation_lists().map_err(|error| unreadable(&error))?;
    for path in RevocationFolder::list_files(&shell.revocation_folder) {
        // One that was replaced meanwhile is as good as one that came later.
        lists.extend(std::fs::read(path));
    }
    for (number, list) in (1..).zip(lists) {
        let (name, media_type) = if list.starts_with(b"-----") {
            ("pem", "application/x-pem-file")
        } else {
            ("crl", "application/pkix-crl")
        };
        writer.put(&format!("revocation/{number}.{name}"), media_type, &list).map_err(failed)?;
    }
    let sign = |manifest: &[u8]| shell.pipeline.sign(&about.by, manifest, directory, clock::now());
    let signed = writer.finish(|manifest| sign(manifest).map(|cms| time_stamped(shell, &cms).unwrap_or(cms)));
    signed.map(drop).map_err(|error| match error {
        FinishError::Sign(error) => unsigned(&error),
        FinishError::Write(error) => failed(error.into()),
    })
}

/// With a time-stamp, where there is one; without it is a bundle, or its report, all the same.
fn time_stamped(shell: &Shell, cms: &[u8]) -> Option<Vec<u8>> {
    let token = Handle::current().block_on(time_stamp(shell, &signature_value(cms).ok()?))?;
    embed_time_stamp(cms, &token).ok()
}

/// The report with the agency's signature in its box.
fn signed_report(shell: &Shell, facts: &Facts<'_>, directory: &Directory) -> Result<Vec<u8>, Error> {
    let internal = |error: truc_report::ReportError| Error::internal(crate::chain(&error));
    let (pdf, place) = truc_report::render_for_signature(&report::report(facts)).map_err(internal)?;
    let (about, now) = (facts.about, clock::now());
    let visible = place.map(|place| SignatureBox {
        page: place.page,
        left_pt: place.left_pt,
        bottom_pt: place.bottom_pt,
        width_pt: place.width_pt,
        height_pt: place.height_pt,
        lines: vec![format!("Ký số: {}", about.by), facts.by_name.clone(), now.in_vietnam()],
        font: truc_report::SERIF,
    });
    let add = |cms: &[u8]| time_stamped(shell, cms);
    let options = PdfSignature {
        name: Some(facts.by_name.clone()),
        reason: Some("Lập bộ chứng cứ giao nhận văn bản".to_owned()),
        location: None,
        visible,
        time_stamp: Some(AddTimeStamp(&add)),
    };
    shell.pipeline.sign_pdf(&about.by, &pdf, &options, directory, now).map_err(|error| unsigned(&error))
}

/// What was found out about a receipt when it was put in.
fn line_of(name: &str, report: &ReceiptReport) -> serde_json::Value {
    let against: Vec<_> = report.against().map(|step| step_of(step, step.check.id())).collect();
    json!({ "receipt": name, "verdict": report.verdict.as_str(), "against": against })
}

fn line_of_status(report: &StatusReport) -> serde_json::Value {
    let against: Vec<_> = report.against().map(|step| step_of(step, step.check.id())).collect();
    let receipts: Vec<_> = report.receipts.iter().map(|(name, report)| line_of(name, report)).collect();
    json!({ "status": report.name, "verdict": report.verdict.as_str(), "against": against, "receipts": receipts })
}

fn step_of<C>(step: &Step<C>, check: &str) -> serde_json::Value {
    json!({ "check": check, "outcome": step.outcome.as_str(), "detail": step.detail })
}

fn failed(error: BundleWriteError) -> Error {
    match error {
        BundleWriteError::Sink(error) => Error::gone(error.to_string()),
        other => Error::internal(crate::chain(&other)),
    }
}

fn unsigned(error: &PipelineError) -> Error {
    match error {
        PipelineError::Failed { what, key_away: true } => Error::unavailable(format!(
            "a bundle goes out signed, and the agency's key does not sign now ({what}); single receipts can be had all the same (`truc receipt get`) / Bộ chứng cứ phải được ký mà khóa của cơ quan hiện không ký được: khóa chưa sẵn sàng, hoặc chứng thư bị thu hồi, tạm dừng; quản trị viên mật mã xem `truc status`. Vẫn lấy được từng biên nhận (`truc receipt get`)"
        )),
        other => Error::unavailable(crate::chain(other)),
    }
}

/// Each certificate once, as `certificates/<SHA-256>.cer`, a bounded number.
#[derive(Default)]
struct Certificates {
    seen: BTreeSet<Digest>,
    /// Signatures whose time-stamps were looked at: many receipts carry the same.
    stamped: BTreeSet<Digest>,
    /// Certificates in them.
    stampers: BTreeSet<Digest>,
    files: Vec<(String, Vec<u8>)>,
    /// How many were looked up for answers.
    answered: usize,
}

impl Certificates {
    fn add(&mut self, certificates: &[Certificate]) {
        certificates.iter().for_each(|certificate| self.put(certificate.sha256(), certificate.der()));
    }

    fn put(&mut self, sha256: Digest, der: &[u8]) {
        if self.files.len() < BUNDLE_CERTIFICATES_MAX && self.seen.insert(sha256) {
            self.files.push((format!("certificates/{sha256}.cer"), der.to_vec()));
        }
    }

    fn add_stampers(&mut self, cms: &[u8]) {
        if self.stamped.insert(Digest::of(cms)) {
            let certificates = certificates_of_stamps(cms);
            self.stampers.extend(certificates.iter().map(Certificate::sha256));
            self.add(&certificates);
        }
    }

    /// Puts in what answers there are about those added since the last time: one counts for what stands behind it.
    fn answers_into<W: std::io::Write>(
        &mut self,
        writer: &mut BundleWriter<W>,
        store: &TrustStore,
    ) -> Result<(), Error> {
        for (name, answer) in self.new_answers(store) {
            writer.put(&name, "application/ocsp-response", &answer).map_err(failed)?;
        }
        Ok(())
    }

    /// The OCSP answers that this node has about those added since the last look, as `revocation/<SHA-256 of the certificate>.ocsp`.
    fn new_answers(&mut self, store: &TrustStore) -> Vec<(String, Vec<u8>)> {
        let first = std::mem::replace(&mut self.answered, self.files.len());
        let new = self.files.iter().skip(first);
        let certificates = new.filter_map(|(_, der)| Certificate::from_der(der).ok());
        let named = certificates.filter_map(|certificate| {
            let mut issuers = store.intermediates().iter().chain(store.anchors());
            let issuer = issuers.find(|issuer| certificate.names_issuer(issuer))?;
            let known = || store.answers().newest(&certificate, issuer);
            // About an authority that stamped a responder may have been asked just now, by the verdict on its receipt.
            let waits = || self.stampers.contains(&certificate.sha256()) && store.answers().settle(&certificate);
            let (answer, _) = known().or_else(|| if waits() { known() } else { None })?;
            Some((format!("revocation/{}.ocsp", certificate.sha256()), answer.der().to_vec()))
        });
        named.collect()
    }

    /// Those that the actor's directory entries in a receipt bind, and those of the authorities that stamped its signatures. Beside the receipts, for openssl:
    /// nothing rests on them.
    fn add_from(&mut self, receipt: &[u8]) {
        let Ok(receipt) = Receipt::parse(receipt) else { return };
        let note = SignedNote::parse(receipt.checkpoint.as_bytes());
        note.iter().flat_map(SignedNote::signatures).for_each(|line| self.add_stampers(&line.signature));
        let Ok(body) = Raw::<ReceiptBody>::parse(receipt.body) else { return };
        self.add_stampers(&body.directory_cms);
        for entry in [Some(&body.node), body.agency.as_ref()].into_iter().flatten() {
            let Ok(entry) = Raw::<Entry>::parse(entry.bytes.clone()) else { continue };
            for binding in entry.certificates() {
                self.put(Digest::of(&binding.der), &binding.der);
            }
        }
    }
}
