//! Partners that answer by themselves, through the same local API as every document system.

use anyhow::Context as _;
use truc_proto::node_v1::{
    ConfirmRequest, DocumentForm, FileHeader, InboxItem, SendHeader, SendRequest, SetStatusRequest, WatchInboxRequest,
    send_header::Form, send_request::Part,
};

use crate::client::Node;

/// A test code and its manners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Partner {
    /// Takes everything and works through it.
    Takes,
    /// Refuses everything.
    Refuses,
    /// Never takes anything.
    Silent,
    /// Takes everything and writes back.
    Answers,
}

pub(super) const ALL: [Partner; 4] = [Partner::Takes, Partner::Refuses, Partner::Silent, Partner::Answers];

impl Partner {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Takes => "Z99.NHAN",
            Self::Refuses => "Z99.TUCHOI",
            Self::Silent => "Z99.IM",
            Self::Answers => "Z99.TRALOI",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Takes => "Đối tác tiếp nhận",
            Self::Refuses => "Đối tác từ chối",
            Self::Silent => "Đối tác im lặng",
            Self::Answers => "Đối tác trả lời",
        }
    }

    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Takes => "takes what you send, then 01, 03, 06; agrees (15) to a withdrawal",
            Self::Refuses => "takes what you send, then 02 with a reason; refuses (16) a withdrawal",
            Self::Silent => "never fetches anything: documents stay consigned",
            Self::Answers => "takes what you send, 03, and sends a document with one file back",
        }
    }

    /// The statuses it answers a document with, each with its reason.
    const fn statuses(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Takes => &[("01", ""), ("03", ""), ("06", "")],
            Self::Refuses => &[("02", "Văn bản gửi nhầm nơi nhận (thử nghiệm)")],
            Self::Silent => &[],
            Self::Answers => &[("03", "")],
        }
    }
}

/// Answers whatever comes, until the node stops.
pub(super) async fn play(partner: Partner, mut node: Node) -> anyhow::Result<()> {
    let watch = WatchInboxRequest { code: partner.code().to_owned() };
    let mut inbox = node.watch_inbox(watch).await?.into_inner();
    while let Some(item) = inbox.message().await? {
        let envelope = item.envelope.clone();
        if let Err(error) = answer(partner, &mut node, item).await {
            // What is odd about one document must not silence the partner.
            tracing::warn!(
                partner = partner.code(),
                envelope,
                error = format!("{error:#}"),
                "a partner could not answer"
            );
        }
    }
    Ok(())
}

async fn answer(partner: Partner, node: &mut Node, item: InboxItem) -> anyhow::Result<()> {
    if partner == Partner::Silent {
        return Ok(());
    }
    let confirm = ConfirmRequest {
        envelope: item.envelope.clone(),
        recipient: partner.code().to_owned(),
        sender: item.sender.clone(),
        ..ConfirmRequest::default()
    };
    node.confirm(confirm).await?;
    if let Some(status) = item.status {
        if status.code != "13" {
            return Ok(());
        }
        let (code, reason) = match partner {
            Partner::Refuses => ("16", "Văn bản đã được xử lý (thử nghiệm)"),
            _ => ("15", ""),
        };
        return say(partner, node, (&status.document, &item.sender), code, reason).await;
    }
    for (code, reason) in partner.statuses() {
        say(partner, node, (&item.envelope, &item.sender), code, reason).await?;
    }
    if partner == Partner::Answers {
        write_back(partner, node, &item).await?;
    }
    Ok(())
}

async fn say(
    partner: Partner,
    node: &mut Node,
    (document, sender): (&str, &str),
    code: &str,
    reason: &str,
) -> anyhow::Result<()> {
    let request = SetStatusRequest {
        envelope: document.to_owned(),
        from: partner.code().to_owned(),
        code: code.to_owned(),
        reason: reason.to_owned(),
        staff: partner.name().to_owned(),
        idempotency_key: format!("sandbox/{document}/{}/{code}", partner.code()),
        sender: sender.to_owned(),
        ..SetStatusRequest::default()
    };
    node.set_status(request).await.with_context(|| format!("status {code}"))?;
    Ok(())
}

async fn write_back(partner: Partner, node: &mut Node, item: &InboxItem) -> anyhow::Result<()> {
    let form = DocumentForm {
        subject: format!("Trả lời: {}", item.subject).chars().take(500).collect(),
        code_number: "1".to_owned(),
        code_notation: "TN-TL".to_owned(),
        promulgation_date: item.consigned_at.get(..10).unwrap_or_default().replace('-', "/"),
        place: "Hà Nội".to_owned(),
        type_name: "Công văn".to_owned(),
        ..DocumentForm::default()
    };
    let header = SendHeader {
        idempotency_key: format!("sandbox/{}/answer", item.envelope),
        sender: partner.code().to_owned(),
        recipients: vec![item.sender.clone()],
        level: "ordinary".to_owned(),
        form: Some(Form::Document(form)),
        ..SendHeader::default()
    };
    let text = format!("{} đã nhận văn bản {} ({}).\n", partner.name(), item.document_id, item.envelope);
    let file = FileHeader { name: "tra-loi.txt".to_owned(), content_type: "text/plain".to_owned(), length: 0 };
    let parts = [Part::Header(header), Part::File(file), Part::Data(text.into_bytes().into())];
    let requests: Vec<_> = parts.into_iter().map(|part| SendRequest { part: Some(part) }).collect();
    let reply = node.send(tokio_stream::iter(requests)).await?.into_inner();
    match reply.refused {
        Some(refusal) => anyhow::bail!("{}", refusal.english),
        None => Ok(()),
    }
}
