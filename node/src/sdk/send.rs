//! sendEdoc: a packet, or a status packet, is taken whole, held against its hash, and handed to the service.
//!
//! When a connection ends without a reply, the client's HTTP library sends the same packet once more by itself. So the idempotency key is
//! what the packet is: the same file from the same system for the same agencies leads to the first DocId, however often it comes.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use truc_proto::{
    AgencyId, Digest, EnvelopeId, Reason, StatusCode,
    edxml::{self, Discard, Message, StatusPacket},
    limits::{SDK_PACKET_BYTES_MAX, SDK_STATUS_BYTES_MAX, STATUS_TEXT_CHARS_MAX},
    node_v1::{
        PacketForm, SendHeader, SendReply, SetStatusRequest, WithdrawReply, send_header::Form, send_reply::State,
    },
    sdk::{ErrorCode, FileHash, MessageType, PacketHasher, Reply},
};

use super::{
    Face,
    body::{BodyError, Reading},
    failed,
    http::Call,
    parameter_missing,
};
use crate::{
    pipe::Spool,
    pipeline::Part,
    service::{Error, found, send, status, withdraw},
};

/// Bytes of a packet that are handed on at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What a call says of its packet.
struct Told {
    from: AgencyId,
    message: MessageType,
    hash: FileHash,
    /// None: whoever the packet names.
    to: Vec<AgencyId>,
}

pub(super) async fn send(face: &Arc<Face>, call: &Call, reading: &mut Reading) -> Result<Reply, BodyError> {
    let told = match told(face, call) {
        Ok(told) => told,
        Err(reply) => {
            reading.discard().await?;
            return Ok(reply);
        }
    };
    let Ok(_permit) = face.packets.acquire().await else {
        return Ok(failed(&Error::unavailable("the node stops")));
    };
    let (file, digest) = match take(face, &told, reading).await? {
        Ok(taken) => taken,
        Err(reply) => return Ok(reply),
    };
    let key = idempotency_key(&call.system.id, &told, &digest);
    let sent = match told.message {
        MessageType::Document => document(face, call, told, key, file).await,
        MessageType::Status => business_status(face, call, &told, &key, file).await,
    };
    Ok(sent.unwrap_or_else(|reply| reply))
}

fn told(face: &Face, call: &Call) -> Result<Told, Reply> {
    let parameters = &call.parameters;
    let from = parameters.text("from").ok_or_else(|| parameter_missing("from"))?;
    let message =
        parameters.text("messagetype").and_then(MessageType::read).ok_or_else(|| parameter_missing("messagetype"))?;
    let hash = parameters.text("hash-file").and_then(FileHash::read).ok_or_else(|| parameter_missing("hash-file"))?;
    let in_directory = |found: Result<Option<AgencyId>, Error>, written: &str| -> Result<AgencyId, Reply> {
        found.map_err(|error| failed(&error))?.ok_or_else(|| {
            let words = format!(
                "Danh bạ của trục không có mã định danh {written:?}; hãy cập nhật danh mục cơ quan rồi gửi lại."
            );
            Reply::fail(ErrorCode::Refused, words)
        })
    };
    let from = in_directory(face.agency(from), from)?;
    if !call.grant.allows(&from) {
        let words = format!(
            "Hệ thống {} không được gửi thay mã {from}; hãy kiểm tra mã gửi, hoặc xin quản trị viên của nút bổ sung mã này cho hệ thống.",
            call.system.id
        );
        return Err(Reply::fail(ErrorCode::NotEntitled, words));
    }
    let to = parameters.list("to").map_err(|_| parameter_missing("to"))?.unwrap_or_default();
    let recipient = |code: &String| match message {
        MessageType::Document => in_directory(face.agency(code), code),
        MessageType::Status => in_directory(face.counterpart(code), code),
    };
    let mut to = to.iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
    to.sort();
    to.dedup();
    Ok(Told { from, message, hash, to })
}

/// A packet that came whole and is the one whose hash was signed.
struct File {
    spool: Spool,
    /// How many of the spool's bytes are the file: the client adds a line break.
    length: u64,
}

/// Takes the body into a spool, in constant memory; whatever is wrong with it, it is read to its end first.
async fn take(face: &Face, told: &Told, reading: &mut Reading) -> Result<Result<(File, Digest), Reply>, BodyError> {
    let bytes_max = match told.message {
        MessageType::Document => SDK_PACKET_BYTES_MAX,
        MessageType::Status => SDK_STATUS_BYTES_MAX,
    };
    let (pieces, mut incoming) = mpsc::channel::<Bytes>(4);
    let folder = face.spool.clone();
    // Encrypting and writing block; a bounded number of packets comes in at once.
    let spooling = tokio::task::spawn_blocking(move || {
        let (mut spool, mut hasher) = (Spool::new(&folder), PacketHasher::default());
        while let Some(piece) = incoming.blocking_recv() {
            hasher.update(&piece);
            spool.push(&piece)?;
        }
        Ok::<_, io::Error>((spool, hasher.finish()))
    });
    let (mut length, mut fits) = (0_u64, true);
    while let Some(piece) = reading.next().await? {
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        fits &= length <= bytes_max;
        // A closed channel: the disk failed, which the end tells.
        if fits && pieces.send(piece).await.is_err() {
            reading.discard().await?;
            break;
        }
    }
    drop(pieces);
    if !fits {
        let words = format!("Gói tin lớn hơn {} MB; hãy bớt hoặc nén tệp đính kèm rồi gửi lại.", bytes_max >> 20);
        return Ok(Err(Reply::fail(ErrorCode::File, words)));
    }
    let (spool, digests) = match spooling.await {
        Ok(Ok(spooled)) => spooled,
        Ok(Err(error)) => {
            tracing::error!(%error, "a packet could not be kept while it came in");
            return Ok(Err(failed(&Error::unavailable(error.to_string()))));
        }
        Err(_) => return Ok(Err(failed(&Error::internal("taking a packet broke off")))),
    };
    Ok(match digests.named(&told.hash) {
        Some((digest, length)) => Ok((File { spool, length }, digest)),
        None => {
            let words = "Tệp nhận được không khớp mã băm đã ký (hash-file): tệp bị thay đổi hoặc thiếu trên đường truyền; hãy gửi lại.";
            Err(Reply::fail(ErrorCode::File, words))
        }
    })
}

/// What a packet is: the system, the sender, the kind, the file, and for whom.
fn idempotency_key(system: &str, told: &Told, file: &Digest) -> String {
    let mut parts = vec![system.to_owned(), told.from.to_string(), told.message.as_str().to_owned(), file.to_string()];
    parts.extend(told.to.iter().map(ToString::to_string));
    // None of them holds a line break.
    format!("sdk-{}", Digest::of(format!("truc/sdk-request/1\n{}", parts.join("\n")).as_bytes()))
}

async fn document(face: &Arc<Face>, call: &Call, told: Told, key: String, file: File) -> Result<Reply, Reply> {
    let header = SendHeader {
        idempotency_key: key,
        sender: told.from.to_string(),
        recipients: told.to.iter().map(ToString::to_string).collect(),
        priority_from_packet: true,
        // The SDK knows no levels and its listener opens on the ordinary lane alone.
        level: "ordinary".into(),
        form: Some(Form::Packet(PacketForm { length: file.length })),
        ..SendHeader::default()
    };
    let (sender, parts) = mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        let mut out = Handing { sender, left: file.length };
        if let Err(error) = file.spool.drain_to(&mut out) {
            let _ = out.sender.blocking_send(Err(error)); // nobody listens any more
        }
    });
    let reply = send::send(&face.shell, &call.grant, header, parts).await;
    // It ends by itself: its channel is closed.
    drop(reading);
    answer(reply.map_err(|error| failed(&error))?)
}

fn answer(reply: SendReply) -> Result<Reply, Reply> {
    if reply.state() != State::Refused {
        return Ok(Reply::ok().with_doc_id(&reply.envelope));
    }
    let refused = reply.refused.unwrap_or_default();
    let code =
        if refused.reason == Reason::NotEntitled.to_string() { ErrorCode::NotEntitled } else { ErrorCode::Refused };
    let mut words = if refused.vietnamese.is_empty() { refused.english } else { refused.vietnamese };
    if !refused.successor.is_empty() && !words.contains(&refused.successor) {
        words = format!("{words} (mã thay thế: {})", refused.successor);
    }
    if !refused.nearest.is_empty() {
        words = format!("{words} (mã gần giống: {})", refused.nearest.join(", "));
    }
    Err(Reply::fail(code, words))
}

/// Hands the file's bytes on, and no more than those.
struct Handing {
    sender: mpsc::Sender<io::Result<Part>>,
    left: u64,
}

impl io::Write for Handing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let given = bytes.len().min(PIECE_BYTES);
        let of_file = given.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if of_file > 0 {
            let piece = Bytes::copy_from_slice(bytes.get(..of_file).unwrap_or_default());
            self.left -= u64::try_from(of_file).unwrap_or(u64::MAX);
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.sender.blocking_send(Ok(Part::Data(piece))).map_err(gone)?;
        }
        Ok(given)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A status packet becomes a status of the document that it answers.
async fn business_status(face: &Arc<Face>, call: &Call, told: &Told, key: &str, file: File) -> Result<Reply, Reply> {
    let packet = read_status(file).await?;
    let refused = |words: String| Reply::fail(ErrorCode::Refused, words);
    let written = packet.from.organ_id.as_ref().map_or("", |code| code.as_str());
    if face.agency(written).map_err(|error| failed(&error))?.as_ref() != Some(&told.from) {
        return Err(refused(format!(
            "Gói trạng thái ghi nơi gửi {written:?} nhưng được gửi với mã {}; hãy tạo lại gói cho đúng.",
            told.from
        )));
    }
    let code = packet.status_code.clone().unwrap_or_default();
    let known = code.parse::<StatusCode>().ok().filter(|code| code.is_known());
    let code = known.ok_or_else(|| {
        refused(format!("Mã trạng thái {code:?} không có trong QCVN 102 (01 đến 06, 13, 15, 16); hãy tạo lại gói."))
    })?;
    let Some(document_id) = packet.response_for.document_id.clone().filter(|id| !id.trim().is_empty()) else {
        let words = "Gói trạng thái không ghi DocumentId của văn bản được trả lời (ResponseFor); hãy tạo lại gói.";
        return Err(refused(words.to_owned()));
    };
    let issuer = packet.response_for.organ_id.as_ref().map_or("", |code| code.as_str());
    let issuer = face.counterpart(issuer).map_err(|error| failed(&error))?;
    let issuer = issuer.ok_or_else(|| {
        refused("Gói trạng thái không ghi mã cơ quan ban hành văn bản (ResponseFor/OrganId); hãy tạo lại gói.".into())
    })?;
    let asked = Asked { told, code, document_id, issuer, packet, key };
    if asked.code.is_from_sender() {
        return asked.withdraw(face, call).await;
    }
    let request = asked.request(face).await.map_err(|error| failed(&error))?.ok_or_else(|| asked.unknown())?;
    let set = status::set(&face.shell, &call.grant, request).await.map_err(|error| failed(&error))?;
    Ok(Reply::ok().with_doc_id(&set.envelope))
}

async fn read_status(file: File) -> Result<StatusPacket, Reply> {
    let read = move || {
        let mut bytes = Vec::new();
        file.spool.drain_to(&mut bytes).map_err(|error| failed(&Error::unavailable(error.to_string())))?;
        bytes.truncate(usize::try_from(file.length).unwrap_or(usize::MAX));
        let parsed = edxml::read(bytes.as_slice(), &mut Discard)
            .map_err(|error| Reply::fail(ErrorCode::Refused, error.vietnamese()))?;
        match parsed.message {
            Message::Status(packet) => Ok(*packet),
            Message::Document(_) => {
                let words = "Đây là gói văn bản, không phải gói trạng thái; hãy gửi với messagetype là edoc.";
                Err(Reply::fail(ErrorCode::Refused, words))
            }
        }
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(failed(&Error::internal("reading a status packet broke off"))))
}

/// A status packet, understood.
struct Asked<'a> {
    told: &'a Told,
    code: StatusCode,
    document_id: String,
    issuer: AgencyId,
    packet: StatusPacket,
    key: &'a str,
}

impl Asked<'_> {
    fn unknown(&self) -> Reply {
        Reply::fail(
            ErrorCode::NotFound,
            format!(
                "Không tìm thấy văn bản {:?} của {} mà gói trạng thái trả lời; hãy kiểm tra DocumentId và mã cơ quan trong ResponseFor.",
                self.document_id, self.issuer
            ),
        )
    }

    /// Code 13: takes the document back from those whom the call names, or all. What has not left is withdrawn at once.
    async fn withdraw(&self, face: &Arc<Face>, call: &Call) -> Result<Reply, Reply> {
        let (shell, from) = (&face.shell, &self.told.from);
        if self.issuer != *from {
            return Err(self.unknown());
        }
        let found = withdraw::by_document_id(shell, from, &self.document_id, &self.told.to).await;
        let sent = found.map_err(|error| failed(&error))?.ok_or_else(|| self.unknown())?;
        let wish = withdraw::Wish {
            from: from.clone(),
            envelope: sent.key.envelope,
            recipients: self.told.to.iter().filter(|to| sent.pairs.contains_key(*to)).cloned().collect(),
            reason: short(self.packet.description.as_ref()),
            staff: short(self.packet.staff.staff.as_ref()),
            idempotency_key: self.key.to_owned(),
        };
        let reply = withdraw::carry_out(shell, &call.grant, wish).await.map_err(|error| failed(&error))?;
        withdrawn(&reply, &sent.key.envelope)
    }

    /// The status to set; none when the document is not there. Correlated on the document's id and both agencies; of several documents under
    /// one id the newest is meant.
    async fn request(&self, face: &Arc<Face>) -> Result<Option<SetStatusRequest>, Error> {
        let from = &self.told.from;
        for envelope in found::by_document_id(&face.shell, false, &self.issuer, &self.document_id).await? {
            let received = found::received_for(&face.shell, envelope, from, Some(&self.issuer)).await?;
            let consigned = |code: &crate::core::Code| code.consigned_at.is_some();
            if received.is_some_and(|received| received.codes.get(from).is_some_and(consigned)) {
                return Ok(Some(SetStatusRequest {
                    envelope: envelope.to_string(),
                    from: from.to_string(),
                    to: self.issuer.to_string(),
                    code: self.code.to_string(),
                    reason: short(self.packet.description.as_ref()),
                    staff: short(self.packet.staff.staff.as_ref()),
                    idempotency_key: self.key.to_owned(),
                    sender: self.issuer.to_string(),
                }));
            }
        }
        Ok(None)
    }
}

fn short(text: Option<&String>) -> String {
    text.map_or("", |text| text.trim()).chars().take(STATUS_TEXT_CHARS_MAX).collect()
}

/// The first request's envelope, which the sent list shows; the document's own where nobody had to be asked.
fn withdrawn(reply: &WithdrawReply, document: &EnvelopeId) -> Result<Reply, Reply> {
    let failures = reply.recipients.iter().filter(|recipient| recipient.outcome == "failed");
    if let Some(first) = failures.clone().next()
        && failures.count() == reply.recipients.len()
    {
        return Err(Reply::fail(ErrorCode::NotNow, first.text.clone()));
    }
    let asked = reply.recipients.iter().map(|recipient| &recipient.status_envelope).find(|status| !status.is_empty());
    Ok(Reply::ok().with_doc_id(&asked.cloned().unwrap_or_else(|| document.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_packet_is_what_it_is() {
        let told = |from: &str, message, to: &[&str]| Told {
            from: from.parse().unwrap(),
            message,
            hash: FileHash::read(&"1".repeat(64)).unwrap(),
            to: to.iter().map(|code| code.parse().unwrap()).collect(),
        };
        let file = Digest::of(b"file");
        let key = idempotency_key("a", &told("H26", MessageType::Document, &["G22"]), &file);
        assert_eq!(key, idempotency_key("a", &told("H26", MessageType::Document, &["G22"]), &file));
        assert!(key.len() <= truc_proto::limits::IDEMPOTENCY_KEY_CHARS_MAX && key.is_ascii());
        for other in [
            idempotency_key("b", &told("H26", MessageType::Document, &["G22"]), &file),
            idempotency_key("a", &told("H27", MessageType::Document, &["G22"]), &file),
            idempotency_key("a", &told("H26", MessageType::Status, &["G22"]), &file),
            idempotency_key("a", &told("H26", MessageType::Document, &[]), &file),
            idempotency_key("a", &told("H26", MessageType::Document, &["G22"]), &Digest::of(b"other")),
        ] {
            assert_ne!(other, key);
        }
    }
}
