//! The header of a Send: everything that can be refused before the first byte of the document is read.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;
use truc_proto::{
    AgencyId, AttachmentDigest, Digest, Hasher, Priority, Reason, WireLevel,
    limits::{ENVELOPE_TTL_MAX_MS, IDEMPOTENCY_KEY_CHARS_MAX, RECIPIENTS_MAX},
    node_v1,
    node_v1::send_header::Form,
};

use super::{Pipes, error::ComposeError};

const REQUEST_CONTEXT: &[u8] = b"truc/request/1\n";

/// A request's header, checked.
pub(super) struct Request {
    pub(super) header: node_v1::SendHeader,
    pub(super) sender: AgencyId,
    pub(super) recipients: Vec<AgencyId>,
    pub(super) priority: Option<Priority>,
    pub(super) level: WireLevel,
    pub(super) ttl: Duration,
}

impl Request {
    /// `grouped`: the codes that the header's groups stand for. Their names are part of what is asked, their members are not.
    pub(super) fn read(pipes: &Pipes, header: node_v1::SendHeader, grouped: &[AgencyId]) -> Result<Self, ComposeError> {
        let key = &header.idempotency_key;
        let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_CHARS_MAX || !printable {
            return Err(ComposeError::request(
                Reason::Invalid,
                format!(
                    "an idempotency key has 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters; give one per document"
                ),
                format!(
                    "Khóa chống trùng gồm 1 đến {IDEMPOTENCY_KEY_CHARS_MAX} ký tự ASCII in được; mỗi văn bản một khóa."
                ),
            ));
        }
        let sender = parse_code(&header.sender)?;
        if !pipes.keys().serves(&sender) {
            return Err(ComposeError::request(
                Reason::NotEntitled,
                format!("this node does not serve {sender}; send from its own node"),
                format!("Nút này không phục vụ mã {sender}; hãy gửi từ nút của mã đó."),
            ));
        }
        if header.recipients.len() > RECIPIENTS_MAX {
            return Err(too_many_recipients());
        }
        let mut recipients = header.recipients.iter().map(|code| parse_code(code)).collect::<Result<Vec<_>, _>>()?;
        if recipients.contains(&sender) {
            return Err(to_itself(&sender));
        }
        let written: BTreeSet<AgencyId> = recipients.iter().cloned().collect();
        recipients.extend(grouped.iter().filter(|code| !written.contains(code)).cloned());
        if recipients.len() > RECIPIENTS_MAX {
            return Err(too_many_recipients());
        }
        if recipients.is_empty() && !header.groups.is_empty() {
            return Err(only_itself(&sender));
        }
        let level: WireLevel = header.level.parse().map_err(|error: truc_proto::IdParseError| {
            ComposeError::request(
                Reason::Invalid,
                format!("{error}; the level must be named, nothing is assumed"),
                "Phải ghi rõ độ mật: ordinary, mat hoặc toi-mat.",
            )
        })?;
        if let Err(refused) = level.on(pipes.lane) {
            return Err(ComposeError::Level { what: refused.to_string(), request: header_hash(&header) });
        }
        Ok(Self { priority: priority(&header)?, ttl: ttl(pipes, header.ttl_s)?, sender, recipients, level, header })
    }

    /// Of everything that makes the request what it is, but not its key: the same key with another hash is refused.
    pub(super) fn hash(&self, files: impl IntoIterator<Item = AttachmentDigest>) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(REQUEST_CONTEXT);
        hasher.update(header_hash(&self.header).as_bytes());
        for file in files {
            hasher.update(Digest::of(file.name.as_bytes()).as_bytes());
            hasher.update(file.sha256.as_bytes());
        }
        hasher.finish()
    }
}

pub(super) fn header_hash(header: &node_v1::SendHeader) -> Digest {
    let header = node_v1::SendHeader { idempotency_key: String::new(), ..header.clone() };
    Digest::of_parts(&[REQUEST_CONTEXT, &header.encode_to_vec()])
}

fn priority(header: &node_v1::SendHeader) -> Result<Option<Priority>, ComposeError> {
    if header.priority_from_packet && matches!(header.form, Some(Form::Packet(_))) {
        return Ok(None);
    }
    let number = u8::try_from(header.priority).ok().and_then(|number| Priority::try_from(number).ok());
    number.map(Some).ok_or_else(|| {
        ComposeError::request(
            Reason::Invalid,
            format!("{} is no urgency; give 0 (thường) to 4 (hỏa tốc hẹn giờ)", header.priority),
            format!("Độ khẩn {} không hợp lệ; chọn từ 0 (thường) đến 4 (hỏa tốc hẹn giờ).", header.priority),
        )
    })
}

fn ttl(pipes: &Pipes, ttl_s: u64) -> Result<Duration, ComposeError> {
    let seconds_max = u64::try_from(ENVELOPE_TTL_MAX_MS / 1_000).unwrap_or_default();
    match ttl_s {
        0 => Ok(pipes.ttl),
        seconds if seconds <= seconds_max => Ok(Duration::from_secs(seconds)),
        _ => Err(ComposeError::request(
            Reason::Invalid,
            format!("an envelope lives at most {seconds_max} seconds; give a shorter time"),
            format!("Gói tin tồn tại tối đa {seconds_max} giây; hãy đặt thời hạn ngắn hơn."),
        )),
    }
}

fn parse_code(text: &str) -> Result<AgencyId, ComposeError> {
    text.parse().map_err(|error: truc_proto::AgencyIdError| {
        ComposeError::request(Reason::UnknownCode, error.to_string(), error.vietnamese())
    })
}

fn too_many_recipients() -> ComposeError {
    ComposeError::request(
        Reason::TooLarge,
        format!("an envelope goes to at most {RECIPIENTS_MAX} agencies; split the list"),
        format!("Mỗi gói tin gửi tối đa {RECIPIENTS_MAX} cơ quan; hãy tách danh sách."),
    )
}

fn to_itself(sender: &AgencyId) -> ComposeError {
    ComposeError::request(
        Reason::Invalid,
        format!("{sender} cannot send to itself; take it from the recipients"),
        format!("{sender} không thể gửi cho chính mình; hãy bỏ khỏi nơi nhận."),
    )
}

fn only_itself(sender: &AgencyId) -> ComposeError {
    ComposeError::request(
        Reason::Invalid,
        format!("the groups have no member but {sender} itself; add whom it is for"),
        format!("Các nhóm chỉ có chính {sender}; hãy thêm nơi nhận."),
    )
}
