//! Document systems as they are: one on each API, and one that is still on today's axis.

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use truc_node::{
    core::PassOutcome,
    gateway::{Axis, Posting},
};
use truc_proto::{
    Digest,
    edxml::{self, Date, Discard, Message, Packet},
    node_v1::{ConfirmRequest, FetchRequest, InboxItem, OutboxItem, fetch_request::What},
    sdk::{MessageType, Progress},
};

use super::{
    fixture,
    network::{H17_SYSTEM, H26_SYSTEM},
    rest::RestSystem,
    story::{Refused, Story},
};
use crate::clock::now;

/// The file of each letter.
const FILE_NAME: &str = "cong-van.txt";

/// A state that a sender waits for, at its only recipient.
const HANDED_OVER: &str = "handed-over";

impl Story {
    /// Once around: gRPC to SDK, SDK to REST, REST to gRPC; each one sees that its document was taken.
    pub(super) async fn one_system_on_each_api(&mut self) -> anyhow::Result<()> {
        self.chapter("One document system on each API: G22 speaks gRPC, H26 the axis SDK, H37 REST");
        let h26 = self.network.account(H26_SYSTEM)?.client()?;
        let (_, rest) = self.network.doors("H37")?;
        let base = format!("http://{}/api/v1", rest.context("H37 has a REST listener")?);
        let h37 = RestSystem::new(&base, &self.network.token_file("H37"))?;

        let subject = "Đề nghị báo cáo chuyển đổi số";
        let envelope = self.send("H26", "demo-to-sdk", subject).await?;
        let packet = self.taken_by_sdk(&h26, "G22", subject).await?;
        self.follow(&envelope, "H26's SDK system to take it", |item| all_are(item, HANDED_OVER)).await?;
        self.account.promise("gRPC to axis SDK: sent, listed, fetched, acknowledged", true, named(&packet));

        let file = b"Bao cao cua thanh pho.\n";
        let (from, to) = (("H26", "UBND thành phố Hà Nội"), ("H37", "UBND tỉnh Lạng Sơn"));
        let (doc_id, document_id) = post(&h26, from, to, "318", "Báo cáo chuyển đổi số", file).await?;
        self.output.line(format!("  H26 sendEdoc: DocId {doc_id}"));
        let same = self.taken_by_rest(&h37, &document_id, file).await?;
        self.seen_by_sdk(&h26, &doc_id).await?;
        self.account.promise("axis SDK to REST: the same file, and the sender sees it taken", same, document_id);

        let file = b"Gop y cua tinh.\n";
        let document = json!({
            "sender": "H37", "recipients": ["G22"], "level": "ordinary", "subject": "Góp ý dự thảo kế hoạch",
            "code_number": "204", "code_notation": "UBND-KSTT", "promulgation_date": Date::of(now()).to_string(),
        });
        let sent = h37.send("demo-from-rest", &document, FILE_NAME, file).await?;
        let envelope = text(&sent, "envelope");
        self.output.line(format!("  H37 POST /documents: {envelope}"));
        let item = self.arrived(&envelope).await?;
        let same = self.take(&item, file).await?;
        let outbox = format!("/outbox/{envelope}");
        let taken = async || {
            let item = h37.get(&outbox).await?;
            let recipients = item.get("recipients").and_then(Value::as_array).cloned().unwrap_or_default();
            Ok(recipients.iter().all(|recipient| text(recipient, "state") == HANDED_OVER).then_some(()))
        };
        self.until("H37 to see it taken", taken).await?;
        self.account.promise("REST to gRPC: the same file, and the sender sees it taken", same, item.subject);
        Ok(())
    }

    /// H17 has not moved: out to it and in from it, by the SDK's protocol.
    pub(super) async fn gateway_both_ways(&mut self) -> anyhow::Result<()> {
        self.chapter("H17 (Đà Nẵng) is still on today's axis; G22's node is its gateway there");
        let h17 = self.today.account(H17_SYSTEM)?.client()?;

        let subject = "Thông báo kết luận cuộc họp";
        let envelope = self.send("H17", "demo-to-today", subject).await?;
        let item = self.follow(&envelope, "today's axis to have it", |item| all_are(item, "passed-on")).await?;
        let packet = self.taken_by_sdk(&h17, "G22", subject).await?;
        let recipient = item.recipients.first().context("a recipient")?;
        self.output.line(format!("  {}", recipient.text));
        let said = recipient.legacy && recipient.ladder.iter().any(|step| step.event == "RelayToNonERDS");
        self.account.promise("through the gateway to today's axis, and it says so", said, named(&packet));

        let file = b"De nghi cua thanh pho.\n";
        let (from, to) = (("H17", "UBND thành phố Đà Nẵng"), ("G22", "Văn phòng Chính phủ"));
        let (doc_id, document_id) = post(&h17, from, to, "77", "Đề nghị cho ý kiến", file).await?;
        self.output.line(format!("  H17 sendEdoc on today's axis: DocId {doc_id}"));
        let came = async || Ok(self.inbox("G22").await?.into_iter().find(|item| item.document_id == document_id));
        let item = self.until("it to come through the gateway", came).await?;
        self.output.line(format!("  {}", item.verdict_text));
        let same = self.take(&item, file).await?;
        self.seen_by_sdk(&h17, &doc_id).await?;
        let copies = self.inbox("G22").await?.into_iter().filter(|item| item.document_id == document_id).count();
        let held = same && item.legacy && copies == 1;
        self.account.promise("through the gateway from today's axis, once, byte for byte", held, document_id);
        Ok(())
    }

    async fn send(&mut self, to: &str, key: &str, subject: &str) -> anyhow::Result<String> {
        let sent = self.send_file(to, key, subject).await;
        let reply = sent.map_err(|Refused(refusal)| anyhow!("refused ({}): {}", refusal.reason, refusal.english))?;
        self.output.line(format!("  G22 Send to {to}: {}", reply.envelope));
        Ok(reply.envelope)
    }

    /// Lists, fetches and acknowledges what came from `from`, as an SDK client does in its loop.
    async fn taken_by_sdk(&self, system: &Axis, from: &str, subject: &str) -> anyhow::Result<Packet> {
        let listed = async || {
            let items = system.received(MessageType::Document).await?;
            Ok(items.into_iter().find(|item| item.text("from") == from))
        };
        let doc_id = self.until("it to stand in getReceivedEdocList", listed).await?.text("docId");
        let mut bytes = Vec::new();
        system.edoc(MessageType::Document, &doc_id, &mut bytes).await?;
        let packet = document(&bytes)?;
        ensure!(packet.header.subject.as_deref() == Some(subject), "another document was listed: {}", named(&packet));
        system.update(MessageType::Document, &doc_id, Progress::Done).await?;
        self.output.line(format!("  getReceivedEdocList, getEdoc, updateStatus done: {doc_id}"));
        Ok(packet)
    }

    /// Waits until the sender's list says that its document was taken.
    async fn seen_by_sdk(&self, system: &Axis, doc_id: &str) -> anyhow::Result<()> {
        let taken = async || {
            let items = system.sent(MessageType::Document).await?;
            let own = |item: &&truc_proto::sdk::client::Item| item.text("senderDocId") == doc_id;
            Ok(items.iter().find(own).filter(|item| item.text("sendStatus") == HANDED_OVER).map(drop))
        };
        self.until("getSentEdocList to say handed-over", taken).await
    }

    /// Lists, fetches and confirms over REST; says whether the file is the one that was sent.
    async fn taken_by_rest(&self, system: &RestSystem, document_id: &str, file: &[u8]) -> anyhow::Result<bool> {
        let listed = async || {
            let page = system.get("/inbox?code=H37").await?;
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            Ok(items.into_iter().find(|item| text(item, "document_id") == document_id))
        };
        let item = self.until("it to stand in H37's inbox", listed).await?;
        let envelope = text(&item, "envelope");
        let packet = system.fetch(&format!("/inbox/{envelope}/edxml?recipient=H37")).await?;
        let same = edxml::read(packet.as_slice(), &mut Discard)?.attachments.first().map(|found| found.sha256);
        let confirmation = json!({ "recipient": "H37" });
        system.post(&format!("/inbox/{envelope}/confirmation"), &confirmation).await?;
        self.output.line(format!("  H37 GET /inbox, GET …/edxml, POST …/confirmation: {envelope}"));
        Ok(same == Some(Digest::of(file)))
    }

    /// Waits for an envelope in G22's inbox.
    async fn arrived(&self, envelope: &str) -> anyhow::Result<InboxItem> {
        let came = async || Ok(self.inbox("G22").await?.into_iter().find(|item| item.envelope == envelope));
        self.until("it to come to G22", came).await
    }

    /// Fetches the file of an inbox item at G22 and confirms it; says whether it is the one that was sent.
    async fn take(&self, item: &InboxItem, file: &[u8]) -> anyhow::Result<bool> {
        let folder = self.dir.join("received/G22");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}-{FILE_NAME}", item.envelope));
        let request = FetchRequest {
            envelope: item.envelope.clone(),
            recipient: "G22".into(),
            sender: item.sender.clone(),
            what: Some(What::Attachment(FILE_NAME.into())),
            ..FetchRequest::default()
        };
        let found = self.fetch_request("G22", request, &path).await?;
        let (envelope, sender) = (item.envelope.clone(), item.sender.clone());
        let request = ConfirmRequest { envelope, sender, recipient: "G22".into(), ..ConfirmRequest::default() };
        let confirmed = self.node("G22").await?.confirm(request).await?.into_inner();
        self.output.line(format!("  G22 ListInbox, Fetch, Confirm: {}", item.envelope));
        Ok(confirmed.first && found == Digest::of(file))
    }
}

/// sendEdoc of a letter with one file: the DocId that answers it, and the letter's DocumentId.
async fn post(
    system: &Axis,
    from: (&str, &str),
    to: (&str, &str),
    number: &str,
    subject: &str,
    file: &[u8],
) -> anyhow::Result<(String, String)> {
    let (packet, document_id) = fixture::letter(from, to, number, subject, (FILE_NAME, file), now())?;
    let posting = Posting {
        from: from.0.to_owned(),
        to: to.0.to_owned(),
        message: MessageType::Document,
        digest: Digest::of(&packet),
        length: u64::try_from(packet.len())?,
        packet: Box::new(move |out| out.write_all(&packet)),
    };
    match system.post(posting).await {
        PassOutcome::Taken { doc_id } => Ok((doc_id, document_id)),
        other => Err(anyhow!("sendEdoc was not answered with a DocId: {other:?}")),
    }
}

fn document(bytes: &[u8]) -> anyhow::Result<Packet> {
    match edxml::read(bytes, &mut Discard)?.message {
        Message::Document(packet) => Ok(*packet),
        Message::Status(_) => Err(anyhow!("a status came instead of a document")),
    }
}

fn named(packet: &Packet) -> String {
    packet.header.subject.clone().unwrap_or_default()
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn all_are(item: &OutboxItem, state: &str) -> bool {
    !item.recipients.is_empty() && item.recipients.iter().all(|recipient| recipient.state == state)
}
