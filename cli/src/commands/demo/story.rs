//! What happens in the demo, in order.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use indicatif::ProgressBar;
use serde_json::json;
use truc_evidence::{EvidenceLevel, ReceiptVerdict, Standing};
use truc_proto::{
    Digest, Hasher, Policy,
    edxml::Date,
    node_v1::{
        ConfirmRequest, DocumentForm, FetchRequest, InboxItem, ListInboxRequest, ListOutboxRequest, OutboxItem,
        PacketForm, SendHeader, SendReply, SetStatusRequest, fetch_request::What, send_header::Form, send_reply::State,
    },
};

use super::{
    account::Account,
    fixture::{self, LARGE_NAME, PDF_NAME, SUBJECT},
    network::{Cast, GATEWAY_SYSTEM, Network},
    receipts::{self, Auditor},
    search,
};
use crate::{
    client::Node,
    clock::now,
    commands::{load::with_a_file, outbox::vietnam_time, send},
    output::{Output, Tone, size},
};

/// How long anything may take before the demo says that it did not happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// When the auditor looks: every certificate of today but the time-stamping authority's has expired.
const SIX_YEARS: Duration = Duration::from_secs(6 * 365 * 86_400);
/// How often the demo looks at the sender's outbox, as a person with a screen would.
const GLANCE: Duration = Duration::from_millis(40);

/// The demo after its story.
pub(super) struct Stage {
    pub(super) network: Network,
    pub(super) today: Network,
    pub(super) account: Account,
}

pub(super) async fn play(dir: &Path, output: &Output) -> anyhow::Result<Stage> {
    let started = Instant::now();
    let mut account = Account::default();
    output.line(format!("Development PKI, directory, relay and nodes in {}", dir.display()));
    let today = dir.join("today");
    std::fs::create_dir_all(&today)?;
    let today = Network::start(&today, Cast::today()).await.context("start what plays today's axis")?;
    let network = Network::start(dir, Cast::demo(today.account(GATEWAY_SYSTEM)?)).await?;
    output.line(format!(
        "relay {} and nodes G22, H26, H37 are up; directory of {} codes published",
        network.relay_address(),
        network.codes()
    ));
    account.fact("dir", json!(dir));
    account.fact("subject", json!(SUBJECT));
    let mut story = Story { dir: dir.to_owned(), network, today, account, output: *output, seen: BTreeSet::new() };
    let large = story.circular_with_a_relay_restart().await?;
    story.duplicate(&large).await?;
    story.closed_code().await?;
    let small = story.answered_with_statuses().await?;
    story.receipts(&[&large.envelope, &small]).await?;
    story.years_later(&large, &small).await?;
    story.one_system_on_each_api().await?;
    story.gateway_both_ways().await?;
    story.relay_is_blind(&large).await?;
    story.account.took = started.elapsed();
    Ok(Stage { network: story.network, today: story.today, account: story.account })
}

pub(super) struct Story {
    pub(super) dir: PathBuf,
    pub(super) network: Network,
    /// Today's axis, as it is played.
    pub(super) today: Network,
    pub(super) account: Account,
    pub(super) output: Output,
    /// Ladder steps already shown.
    seen: BTreeSet<String>,
}

/// The large circular after it arrived.
struct Circular {
    envelope: String,
    packet: PathBuf,
}

impl Story {
    pub(super) fn chapter(&self, text: &str) {
        self.output.line(self.output.paint(Tone::Strong, format!("\n{text}")));
    }

    /// G22 sends a packet with a PDF and 100 MB to H26 and H37; the relay is stopped in the middle and started again.
    async fn circular_with_a_relay_restart(&mut self) -> anyhow::Result<Circular> {
        self.chapter(
            "G22 sends a packet with a PDF and a 100 MB attachment to H26 and H37; the relay restarts in the middle",
        );
        let outgoing = self.dir.join("outgoing");
        std::fs::create_dir_all(&outgoing)?;
        let packet = outgoing.join("ke-hoach-2714.edxml");
        let written = {
            let packet = packet.clone();
            let write = move || -> anyhow::Result<_> {
                let mut file = BufWriter::with_capacity(1 << 20, File::create(&packet)?);
                let to = [("H26", "UBND thành phố Hà Nội"), ("H37", "UBND tỉnh Lạng Sơn")];
                let seed = u64::try_from(now().unix_ms()).unwrap_or(1);
                let written = fixture::packet(("G22", "Văn phòng Chính phủ"), &to, now(), seed, &mut file)?;
                file.flush()?;
                Ok(written)
            };
            tokio::task::spawn_blocking(write).await??
        };
        let reply = self.send_packet(&packet, "demo-circular").await?;
        ensure!(reply.state() == State::Accepted, "the node answered {:?}: {:?}", reply.state(), reply.refused);
        self.account.fact("envelope", json!(reply.envelope));
        self.account.fact("document_id", json!(written.document_id));
        self.output.line(format!(
            "  accepted as {} ({} on disk)",
            reply.envelope,
            size(std::fs::metadata(&packet)?.len())
        ));
        let upload = |item: &OutboxItem| item.bytes_sent >= item.payload_length / 4 || item.state != "sending";
        let middle = self.follow(&reply.envelope, "the upload to begin", upload).await?;
        self.network.stop_relay().await?;
        let sent = middle.bytes_sent;
        self.output.line(format!(
            "  {} after {} of {}",
            self.output.paint(Tone::Unsure, "relay stopped"),
            size(sent),
            size(middle.payload_length)
        ));
        let in_the_middle = sent < middle.payload_length;
        self.network.start_relay().await?;
        self.output.line(format!("  {}", self.output.paint(Tone::Good, "relay started again")));
        let item = self.follow(&reply.envelope, "both recipients to have it", |i| reached(i) == 2).await?;
        let detail = format!("stopped after {} of {}", size(sent), size(item.payload_length));
        self.account.promise(
            "survives a relay restart in the middle of an upload",
            in_the_middle && reached(&item) == 2,
            detail,
        );
        for code in ["H26", "H37"] {
            let same = self.fetch_all(code, &reply.envelope, &written).await?;
            self.account.promise(&format!("{code} received it byte for byte"), same, format!("received/{code}"));
        }
        Ok(Circular { envelope: reply.envelope, packet })
    }

    /// The same request again: the same answer, no second delivery.
    async fn duplicate(&mut self, circular: &Circular) -> anyhow::Result<()> {
        self.chapter("G22's document system sends the same document again");
        let reply = self.send_packet(&circular.packet, "demo-circular").await?;
        let inbox = self.inbox("H26").await?;
        let copies = inbox.iter().filter(|i| i.subject == SUBJECT).count();
        let held = reply.envelope == circular.envelope && copies == 1;
        self.output.line(format!("  answered with the same envelope {}; H26 holds {copies} copy", reply.envelope));
        self.account.promise("a duplicate is answered, never delivered twice", held, format!("{copies} copy at H26"));
        Ok(())
    }

    /// To a code that closed on 30/6/2025.
    async fn closed_code(&mut self) -> anyhow::Result<()> {
        self.chapter("G22 sends to H02 (Bắc Giang), which closed on 30/6/2025");
        let Err(Refused(refusal)) = self.send_file("H02", "demo-closed", "Công văn gửi mã đã đóng").await
        else {
            bail!("the document to H02 was not refused");
        };
        self.output.line(format!("  {} {}", self.output.paint(Tone::Unsure, "refused:"), refusal.vietnamese));
        self.output.line(format!("           {} Successor: {}", refusal.english, refusal.successor));
        let held = refusal.successor == "H05" && refusal.reason == "closed-code";
        self.account.promise(
            "a closed code is refused, naming its successor",
            held,
            format!("H02 -> {}", refusal.successor),
        );
        Ok(())
    }

    /// A small document that H26 answers with 01, 03 and 06.
    async fn answered_with_statuses(&mut self) -> anyhow::Result<String> {
        self.chapter("G22 sends a small document to H26, which answers 01, 03, 06");
        let reply = self
            .send_file("H26", "demo-answered", "Công văn cần trả lời")
            .await
            .map_err(|Refused(r)| anyhow!("refused ({}): {}", r.reason, r.english))?;
        self.follow(&reply.envelope, "H26 to have it", |i| reached(i) == 1).await?;
        for code in ["01", "03", "06"] {
            let request = SetStatusRequest {
                envelope: reply.envelope.clone(),
                from: "H26".into(),
                to: "G22".into(),
                code: code.into(),
                idempotency_key: format!("demo-status-{code}"),
                ..SetStatusRequest::default()
            };
            self.node("H26").await?.set_status(request).await.with_context(|| format!("H26 sets {code}"))?;
            let arrived = |i: &OutboxItem| i.recipients.iter().any(|r| r.business_status == code);
            self.follow(&reply.envelope, "the status to arrive", arrived).await?;
            self.output.line(format!("  G22 reads status {code}"));
        }
        self.account.promise("statuses 01, 03, 06 came back to the sender", true, reply.envelope.clone());
        Ok(reply.envelope)
    }

    /// Hand-over, then all receipts final, written and verified off line.
    async fn receipts(&mut self, envelopes: &[&str]) -> anyhow::Result<()> {
        self.chapter("The document systems confirm; receipts become final and are verified off line");
        for (code, envelope) in [("H26", envelopes.first()), ("H37", envelopes.first()), ("H26", envelopes.get(1))] {
            let envelope = (*envelope.context("an envelope")?).to_owned();
            let request = ConfirmRequest { envelope, recipient: code.into(), ..ConfirmRequest::default() };
            let first = self.node(code).await?.confirm(request.clone()).await?.into_inner().first;
            let again = self.node(code).await?.confirm(request).await?.into_inner().first;
            self.account.promise(
                &format!("hand-over at {code} is recorded exactly once"),
                first && !again,
                String::new(),
            );
        }
        for envelope in envelopes {
            let all_final = |i: &OutboxItem| {
                i.recipients
                    .iter()
                    .all(|r| r.state == "handed-over" && !r.ladder.is_empty() && r.ladder.iter().all(|s| s.r#final))
            };
            self.follow(envelope, "all receipts to be final", all_final).await?;
        }
        let folder = self.dir.join("receipts");
        let files = receipts::write(&mut self.node("G22").await?, envelopes, &folder).await?;
        let verified = receipts::verify(&files, &self.network.anchors(), &self.network.operator(), None)?;
        let detail = format!("{} of {} valid", verified.valid, files.len());
        self.output.line(format!("  {detail}, in {}", folder.display()));
        self.account.promise(
            "all receipts are final and valid off line",
            verified.valid == files.len() && files.len() >= 10,
            detail,
        );
        let document = self.dir.join("received/H26").join(PDF_NAME);
        let circular = envelopes.first().copied().unwrap_or_default();
        let consignment = |file: &PathBuf| {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.contains(circular) && name.contains("ContentConsignment") && name.contains("H26")
        };
        let consignments: Vec<_> = files.iter().filter(|f| consignment(f)).cloned().collect();
        let proven =
            receipts::verify(&consignments, &self.network.anchors(), &self.network.operator(), Some(&document))?;
        let held = proven.valid == 1;
        self.account.promise("a receipt proves the PDF that was received", held, PDF_NAME.to_owned());
        Ok(())
    }

    /// A bundle, the document, the root and the operator's certificate: no relay, no node, and most certificates long expired.
    async fn years_later(&mut self, circular: &Circular, answered: &str) -> anyhow::Result<()> {
        self.chapter(
            "Six years later an auditor has the bundle, the document, the root and the operator's certificate",
        );
        let folder = self.dir.join("bundles");
        std::fs::create_dir_all(&folder)?;
        let (bundle, policy) = (folder.join(format!("{}.zip", circular.envelope)), folder.join("witnesses.policy"));
        let text = self.network.witness_policy()?;
        std::fs::write(&policy, &text)?;
        let (anchors, operator) = (self.network.anchors(), self.network.operator());
        let auditor = Auditor { anchors: &anchors, operator: &operator };
        let document = self.dir.join("received/H26").join(PDF_NAME);
        // A time-stamp that comes late is shown to everybody later; the bundle that is kept is one with all of them.
        let look = async || {
            receipts::export(&mut self.node("G22").await?, &circular.envelope, &bundle).await?;
            let report = auditor.judge(&bundle, Some(&document), None, now())?;
            let levels = report.receipts.iter().filter_map(|(_, receipt)| receipt.summary.as_ref());
            let stamped = levels.filter(|summary| summary.levels.contains(&EvidenceLevel::Stamped)).count();
            Ok((stamped == report.receipts.len()).then_some(report))
        };
        let report = self.until("every receipt to be time-stamped", look).await?;
        let then = now() + SIX_YEARS;
        let later = auditor.judge(&bundle, Some(&document), None, then)?;
        for conclusion in &later.conclusions {
            let shown = conclusion.shown_by.as_ref();
            self.output.line(format!(
                "  {:<4} {}, {}",
                conclusion.recipient.as_str(),
                conclusion.standing.as_str(),
                shown.map_or_else(String::new, |event| format!("{} {}", event.event.name(), event.time.in_vietnam())),
            ));
        }
        let handed_over = later.conclusions.iter().filter(|one| one.standing == Standing::HandedOver).count();
        self.account.promise(
            "a bundle says who received what, six years later, with relay and nodes gone",
            [&report, &later].iter().all(|report| report.verdict == ReceiptVerdict::Valid) && handed_over == 2,
            format!("{} receipts, all time-stamped", later.receipts.len()),
        );
        let witnessed = auditor.judge(&bundle, Some(&document), Some(Policy::parse(text.as_bytes())?), now())?;
        let enough = witnessed.receipts.iter().filter(|(_, receipt)| receipt.verdict == ReceiptVerdict::Valid).count();
        self.output.line(format!("  {enough} of {} receipts are cosigned by enough witnesses", report.receipts.len()));
        let (forged, mut bytes) = (folder.join("forged.zip"), std::fs::read(&bundle)?);
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).context("an empty bundle")? ^= 1;
        std::fs::write(&forged, bytes)?;
        let refused = auditor.judge(&forged, Some(&document), None, now())?.verdict == ReceiptVerdict::Invalid;
        std::fs::remove_file(&forged)?;
        self.account.promise("one changed bit in it is noticed", refused, String::new());
        let bundle_of_answered = folder.join(format!("{answered}.zip"));
        let look = async || {
            receipts::export(&mut self.node("G22").await?, answered, &bundle_of_answered).await?;
            let report = auditor.judge(&bundle_of_answered, None, None, now())?;
            Ok((report.verdict == ReceiptVerdict::Valid).then_some(report))
        };
        let report = self.until("the receipts of the statuses to be final", look).await?;
        let said = report.statuses.iter().filter(|one| one.proven.is_some());
        let said: Vec<_> = said.filter_map(|one| Some(one.status.as_ref()?.code.as_str())).collect();
        self.account.promise(
            "what the recipient said of a document is proven, too",
            said == ["01", "03", "06"],
            format!("statuses {}", said.join(", ")),
        );
        self.output.line(format!(
            "  truc receipt verify {} --trust {} --operator {} --document '{}' --at {then}",
            bundle.display(),
            anchors.display(),
            operator.display(),
            document.display()
        ));
        Ok(())
    }

    /// Nothing readable lies at the relay; the same search finds everything in an unsealed container.
    async fn relay_is_blind(&mut self, circular: &Circular) -> anyhow::Result<()> {
        self.chapter("The relay's folder is searched for plaintext");
        let planted = self.dir.join("unsealed");
        std::fs::create_dir_all(&planted)?;
        self.fetch("H26", &circular.envelope, What::Container(true), &planted.join("container.asice")).await?;
        let needles: Vec<(&str, Vec<u8>)> = vec![
            ("mimetype", b"application/vnd.etsi.asic-e+zip".to_vec()),
            ("entry packet.edxml", b"packet.edxml".to_vec()),
            ("entry envelope.json", b"envelope.json".to_vec()),
            ("entry ASiCManifest.xml", b"META-INF/ASiCManifest.xml".to_vec()),
            ("64-byte marker", fixture::marker().into_bytes()),
            ("subject", SUBJECT.as_bytes().to_vec()),
        ];
        let relay = self.dir.join("relay");
        let find = move |folder: PathBuf, needles: Vec<(&'static str, Vec<u8>)>| async move {
            tokio::task::spawn_blocking(move || search::search(&folder, &needles)).await?.map_err(anyhow::Error::from)
        };
        let control: BTreeSet<_> = find(planted, needles.clone()).await?.into_iter().map(|f| f.what).collect();
        let found = find(relay, needles.clone()).await?;
        self.output.line(format!(
            "  unsealed container: {} of {} found; relay: {} found",
            control.len(),
            needles.len(),
            found.len()
        ));
        let control_held = control.len() == needles.len();
        self.account.promise(
            "the search finds everything in an unsealed container",
            control_held,
            format!("{} of {}", control.len(), needles.len()),
        );
        let detail = found.iter().map(|f| format!("{} in {}", f.what, f.file.display())).collect::<Vec<_>>().join(", ");
        self.account.promise("the relay's folder holds no plaintext", found.is_empty(), detail);
        Ok(())
    }

    pub(super) async fn node(&self, code: &str) -> anyhow::Result<Node> {
        self.network.node(code).await
    }

    async fn send_packet(&self, packet: &Path, key: &str) -> anyhow::Result<SendReply> {
        let header = SendHeader {
            idempotency_key: key.into(),
            sender: "G22".into(),
            priority_from_packet: true,
            level: "ordinary".into(),
            form: Some(Form::Packet(PacketForm { length: std::fs::metadata(packet)?.len() })),
            ..SendHeader::default()
        };
        let mut node = self.node("G22").await?;
        let sent = send::stream(&mut node, header, vec![packet.to_owned()], &ProgressBar::hidden()).await;
        sent.map_err(|failure| failure.source.context("G22's node does not take the packet"))
    }

    pub(super) async fn send_file(&self, to: &str, key: &str, subject: &str) -> Result<SendReply, Refused> {
        let form = DocumentForm {
            subject: subject.into(),
            code_number: "15".into(),
            code_notation: "VPCP-KSTT".into(),
            type_name: "Công văn".into(),
            place: "Hà Nội".into(),
            promulgation_date: Date::of(now()).to_string(),
            ..DocumentForm::default()
        };
        let header = SendHeader {
            idempotency_key: key.into(),
            sender: "G22".into(),
            recipients: vec![to.into()],
            level: "ordinary".into(),
            form: Some(Form::Document(form)),
            ..SendHeader::default()
        };
        let mut node = self.node("G22").await.map_err(Refused::other)?;
        match node.send(tokio_stream::iter(with_a_file(header))).await {
            Ok(reply) => match reply.into_inner() {
                SendReply { refused: Some(refusal), .. } => Err(Refused(refusal)),
                reply => Ok(reply),
            },
            Err(status) => Err(Refused::from(&status)),
        }
    }

    pub(super) async fn inbox(&self, code: &str) -> anyhow::Result<Vec<InboxItem>> {
        let request =
            ListInboxRequest { code: code.into(), with_confirmed: true, page_size: 100, ..ListInboxRequest::default() };
        Ok(self.node(code).await?.list_inbox(request).await?.into_inner().items)
    }

    /// Looks at one envelope until `done`, printing each new step of its ladder.
    pub(super) async fn follow(
        &mut self,
        envelope: &str,
        what: &str,
        done: impl Fn(&OutboxItem) -> bool,
    ) -> anyhow::Result<OutboxItem> {
        let started = Instant::now();
        let mut node = self.node("G22").await?;
        loop {
            let request =
                ListOutboxRequest { envelope: envelope.into(), with_final: true, ..ListOutboxRequest::default() };
            let item = node.list_outbox(request).await?.into_inner().items.into_iter().next();
            let item = item.with_context(|| format!("G22's node does not know {envelope}"))?;
            self.show_new_steps(&item);
            if done(&item) {
                return Ok(item);
            }
            let failed = item.recipients.iter().find(|r| r.state == "failed");
            ensure!(failed.is_none(), "waiting for {what}: {failed:?}");
            ensure!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; last state {item:?}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Looks until there is something.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        look: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            ensure!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn show_new_steps(&mut self, item: &OutboxItem) {
        for recipient in &item.recipients {
            for step in &recipient.ladder {
                let key =
                    format!("{}{}{}{}{}", item.envelope, recipient.recipient, step.event, step.role, step.r#final);
                if !self.seen.insert(key) {
                    continue;
                }
                let proof =
                    if step.r#final { self.output.paint(Tone::Good, "final") } else { "provisional".to_owned() };
                self.output.line(format!(
                    "    {:<4} {:<22} {:<10} {}  {proof}",
                    recipient.recipient,
                    step.event,
                    step.role,
                    vietnam_time(&step.time)
                ));
            }
        }
    }

    /// Fetches packet and attachments of one recipient into `received/<code>/` and compares them with what was written.
    async fn fetch_all(&self, code: &str, envelope: &str, written: &fixture::Written) -> anyhow::Result<bool> {
        let folder = self.dir.join("received").join(code);
        std::fs::create_dir_all(&folder)?;
        self.fetch(code, envelope, What::Edxml(true), &folder.join("packet.edxml")).await?;
        let pdf = self.fetch(code, envelope, What::Attachment(PDF_NAME.into()), &folder.join(PDF_NAME)).await?;
        let large = self.fetch(code, envelope, What::Attachment(LARGE_NAME.into()), &folder.join(LARGE_NAME)).await?;
        Ok(pdf == written.pdf && large == written.large)
    }

    async fn fetch(&self, code: &str, envelope: &str, what: What, to: &Path) -> anyhow::Result<Digest> {
        let request = FetchRequest {
            envelope: envelope.into(),
            recipient: code.into(),
            what: Some(what),
            ..FetchRequest::default()
        };
        self.fetch_request(code, request, to).await
    }

    pub(super) async fn fetch_request(&self, code: &str, request: FetchRequest, to: &Path) -> anyhow::Result<Digest> {
        let mut chunks =
            self.node(code).await?.fetch(request).await.with_context(|| format!("{code} fetches"))?.into_inner();
        let mut file = BufWriter::with_capacity(1 << 20, File::create(to)?);
        let mut hasher = Hasher::default();
        while let Some(chunk) = chunks.message().await.with_context(|| format!("{code} fetches {}", to.display()))? {
            file.write_all(&chunk.data)?;
            hasher.update(&chunk.data);
        }
        file.flush()?;
        Ok(hasher.finish())
    }
}

/// Recipients that have the document.
fn reached(item: &OutboxItem) -> usize {
    item.recipients.iter().filter(|r| matches!(r.state.as_str(), "consigned" | "handed-over")).count()
}

/// A refusal, wherever the node put it.
pub(super) struct Refused(pub(super) truc_proto::wire_v1::Refusal);

impl Refused {
    fn other(error: anyhow::Error) -> Self {
        Self(truc_proto::wire_v1::Refusal { english: format!("{error:#}"), ..Default::default() })
    }
}

impl From<&tonic::Status> for Refused {
    fn from(status: &tonic::Status) -> Self {
        let refusal = prost::Message::decode(status.details()).unwrap_or_default();
        let mut refusal: truc_proto::wire_v1::Refusal = refusal;
        if refusal.english.is_empty() {
            refusal.english = status.message().to_owned();
        }
        Self(refusal)
    }
}
