//! Hands one document over to today's axis, or looks for it there.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use tracing::{info, warn};
use truc_proto::{
    AgencyId, BusinessStatus, ForeignCode, Hasher, Raw, Timestamp,
    edxml::{Dated, DocumentId},
    limits::FUTURE_SKEW_MAX_MS,
    sdk::{MessageType, client::Item, client::is_doc_id},
};

use super::{Gateway, axis::Posting};
use crate::{
    core::{Input, Key, PassOutcome},
    pipe::{Spool, is_unlisted, status_packet},
    pipeline::{FetchSink, FetchWhat, Pipeline},
    records::{Content, Incoming, Outgoing},
    service::found,
    shell::{Shell, clock},
};

/// Runs one attempt to its end and tells the core.
pub(crate) async fn pass(shell: Arc<Shell>, key: Key, recipient: AgencyId, body: u64, since: Option<Timestamp>) {
    let outcome = match (shell.gateway.clone(), since) {
        (None, None) => PassOutcome::NotSent { error: "this node has no [gateway] in its settings".to_owned() },
        (None, Some(_)) => PassOutcome::NotAsked { error: "this node has no [gateway] in its settings".to_owned() },
        (Some(gateway), None) => post(&shell, &gateway, &key, &recipient, body).await,
        (Some(gateway), Some(since)) => look_up(&shell, &gateway, &key, &recipient, body, since).await,
    };
    match &outcome {
        PassOutcome::Taken { doc_id } => {
            info!(envelope = %key.envelope, %recipient, doc_id, "passed on to today's axis")
        }
        other => warn!(envelope = %key.envelope, %recipient, outcome = ?other, "not passed on"),
    }
    let _ = shell.engine.tell(Input::Passed { key, recipient, outcome, jitter: clock::jitter() }).await;
}

async fn post(shell: &Arc<Shell>, gateway: &Gateway, key: &Key, recipient: &AgencyId, body: u64) -> PassOutcome {
    match rendered(shell, gateway, recipient, body).await {
        Ok((to, message, File { spool, hasher, length })) => {
            let posting = Posting {
                from: key.sender.to_string(),
                to,
                message,
                packet: Box::new(|out| spool.drain_to(out)),
                digest: hasher.finish(),
                length,
            };
            gateway.axis.post(posting).await
        }
        Err(error) => PassOutcome::NotSent { error },
    }
}

/// The recipient as that axis writes it, and what is to be posted.
async fn rendered(
    shell: &Arc<Shell>,
    gateway: &Gateway,
    recipient: &AgencyId,
    body: u64,
) -> Result<(String, MessageType, File), String> {
    let outgoing = read(shell, body).await?;
    let written = written(shell, &outgoing, recipient).await?;
    let to = written.as_ref().map_or_else(|| recipient.to_string(), ToString::to_string);
    let (pipeline, message) = (Arc::clone(&shell.pipeline), message_of(&outgoing));
    let mut file = File { spool: Spool::new(&gateway.spool), hasher: Hasher::default(), length: 0 };
    let render = move || match message {
        MessageType::Document => render(&*pipeline, outgoing, &mut file).map(|()| file),
        MessageType::Status => {
            let packet = status_packet(&outgoing.status, written.as_ref()).map_err(|error| crate::chain(&error))?;
            file.write_all(&packet).map_err(|error| error.to_string())?;
            Ok(file)
        }
    };
    let file = shell.work("rendering a packet", render).await.map_err(|error| error.to_string()).flatten()?;
    Ok((to, message, file))
}

async fn read(shell: &Arc<Shell>, body: u64) -> Result<Outgoing, String> {
    let bodies = shell.bodies();
    let read = move || bodies.outgoing(body).map_err(|error| crate::chain(&error));
    shell.work("reading a document", read).await.map_err(|error| error.to_string()).flatten()
}

/// How that axis writes a recipient that the directory does not list: as the sender of the document was written that a status answers.
async fn written(shell: &Arc<Shell>, outgoing: &Outgoing, recipient: &AgencyId) -> Result<Option<ForeignCode>, String> {
    if !is_unlisted(recipient) {
        return Ok(None);
    }
    let status = Raw::<BusinessStatus>::parse(outgoing.status.clone()).map_err(|error| error.to_string())?;
    let received = found::received(shell, status.document).await.map_err(|error| error.text().to_owned())?;
    let answered = received.into_iter().find(|received| received.key.sender == *recipient);
    let from = answered.and_then(|received| received.origin).map(|origin| origin.from);
    let from = from.ok_or("the document that the status answers is not known any more")?;
    from.parse().map(Some).map_err(|error| format!("{from:?} cannot be written as a recipient: {error}"))
}

fn message_of(outgoing: &Outgoing) -> MessageType {
    if outgoing.status.is_empty() { MessageType::Document } else { MessageType::Status }
}

/// The packet's bytes as they came from the document system; else as the axis's own software writes them.
fn render(pipeline: &dyn Pipeline, outgoing: Outgoing, file: &mut File) -> Result<(), String> {
    let Outgoing { preamble, payload, wrapped, about, opening, .. } = outgoing;
    let opening = opening.ok_or("a sent envelope has no manifest")?;
    let incoming = Incoming { preamble, payload, ..Incoming::default() };
    let content = Content { wrapped, about, opening, ..Content::default() };
    pipeline.fetch(&incoming, &content, &FetchWhat::Packet, file).map_err(|error| crate::chain(&error))
}

struct File {
    spool: Spool,
    hasher: Hasher,
    length: u64,
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.push(bytes)?;
        self.hasher.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FetchSink for File {
    fn length(&mut self, _: u64) {}
}

/// The reply was lost, or this process ended before it was on the device: that axis is asked, nothing is posted.
async fn look_up(
    shell: &Arc<Shell>,
    gateway: &Gateway,
    key: &Key,
    recipient: &AgencyId,
    body: u64,
    since: Timestamp,
) -> PassOutcome {
    let outgoing = match read(shell, body).await {
        Ok(outgoing) => outgoing,
        Err(error) => return PassOutcome::NotAsked { error },
    };
    let written = match written(shell, &outgoing, recipient).await {
        Ok(written) => written,
        Err(error) => return PassOutcome::NotAsked { error },
    };
    let (from, to) = (key.sender.clone(), recipient.clone());
    let known = match shell.engine.ask(move |core| core.passed_names(&from, &to)).await {
        Ok(known) => known,
        Err(error) => return PassOutcome::NotAsked { error: error.to_string() },
    };
    match gateway.axis.sent(message_of(&outgoing)).await {
        Err(error) => PassOutcome::NotAsked { error: crate::chain(&error) },
        Ok(items) => {
            let wanted = Wanted {
                from: key.sender.as_str(),
                to: written.as_ref().map_or(recipient.as_str(), ForeignCode::as_str),
                title: &outgoing.about.subject,
                document_id: &outgoing.about.document_id,
                since,
            };
            match wanted.find(&items, &known) {
                Some(doc_id) => PassOutcome::Taken { doc_id },
                None => PassOutcome::NotShown,
            }
        }
    }
}

/// What a list is searched for.
struct Wanted<'w> {
    from: &'w str,
    to: &'w str,
    title: &'w str,
    document_id: &'w str,
    since: Timestamp,
}

impl Wanted<'_> {
    /// The one item that must be it: same agencies, same title and number, not sent before, and none that another document of ours has
    /// already. Of several nobody can tell: then it counts as not shown.
    fn find(&self, items: &[Item], known: &[String]) -> Option<String> {
        let mut found = items.iter().filter(|item| self.is_it(item)).map(|item| item.text("senderDocId"));
        let mut new = found.by_ref().filter(|id| is_doc_id(id) && !known.contains(id));
        let first = new.next()?;
        new.all(|other| other == first).then_some(first)
    }

    fn is_it(&self, item: &Item) -> bool {
        let notation = match DocumentId::read(self.document_id) {
            DocumentId::Parts { number, notation, .. } => format!("{number}/{notation}"),
            DocumentId::Uuid(_) | DocumentId::Other => String::new(),
        };
        let (title, shown) = (item.text("title"), item.text("notation"));
        let same_number = notation.is_empty() || shown.is_empty() || shown == notation;
        let named = !shown.is_empty() || !title.is_empty();
        // A clock there may be minutes off; a time that cannot be read tells nothing.
        let sent = Dated::<Timestamp>::read(&item.text("sentTime")).value;
        let earliest = self.since.unix_ms() - FUTURE_SKEW_MAX_MS;
        item.text("fromCode") == self.from
            && item.text("toCode") == self.to
            && named
            && same_number
            && (title.is_empty() || title == self.title.trim())
            && sent.is_none_or(|at| at.unix_ms() >= earliest)
    }
}

#[cfg(test)]
mod tests {
    use truc_proto::sdk::client::Answer;

    use super::*;

    fn items(list: &str) -> Vec<Item> {
        let answer = format!(r#"{{"status":"OK","ErrorCode":"0","ErrorDesc":"","data":{list}}}"#);
        Answer::read(answer.as_bytes()).unwrap().items().unwrap()
    }

    #[test]
    fn a_posted_document_is_found_again_by_what_it_is_and_by_nothing_less() {
        let wanted = Wanted {
            from: "G22",
            to: "H37",
            title: "Kế hoạch",
            document_id: "G22,2026/11/22,15/VPCP-KSTT",
            since: Dated::<Timestamp>::read("2026/11/22 10:00:00").value.unwrap(),
        };
        let item = |id: &str, to: &str, title: &str, number: &str, time: &str| {
            format!(
                r#"{{"senderDocId":"{id}","fromCode":"G22","toCode":"{to}","title":"{title}","notation":"{number}","sentTime":"{time}"}}"#
            )
        };
        let it = item("a", "H37", "Kế hoạch", "15/VPCP-KSTT", "2026/11/22 10:00:02");
        let others = [
            item("b", "H26", "Kế hoạch", "15/VPCP-KSTT", "2026/11/22 10:00:02"),
            item("c", "H37", "Kế hoạch", "16/VPCP-KSTT", "2026/11/22 10:00:02"),
            item("d", "H37", "Khác", "15/VPCP-KSTT", "2026/11/22 10:00:02"),
            item("e", "H37", "Kế hoạch", "15/VPCP-KSTT", "2026/11/21 10:00:02"),
        ];
        let list = format!("[{},{it}]", others.join(","));
        assert_eq!(wanted.find(&items(&list), &[]).as_deref(), Some("a"));
        assert_eq!(wanted.find(&items(&list), &["a".to_owned()]), None, "it is another document's");
        assert_eq!(wanted.find(&items(&format!("[{}]", others.join(","))), &[]), None);
        let twice = format!("[{it},{}]", it.replace("\"a\"", "\"f\""));
        assert_eq!(wanted.find(&items(&twice), &[]), None, "of two nobody can tell");
        assert_eq!(wanted.find(&items(&format!("[{it},{it}]")), &[]).as_deref(), Some("a"), "listed twice");
        let hostile = it.replace("\"a\"", "\"../x\\n\"");
        assert_eq!(wanted.find(&items(&format!("[{}]", hostile.replace("\\n", "\\u0001"))), &[]), None);
    }
}
