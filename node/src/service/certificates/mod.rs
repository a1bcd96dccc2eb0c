//! The node's keys and certificates, for cipher administrators: what there is and in which state, requests, imports, rotation, retirement.
//!
//! One rule carries it: settings name the keys that are here, the directory says which of them serve. Nothing here decides by itself when a key comes
//! into use; it comes into use everywhere at the version of the directory that binds it.

mod request;
mod retire;
mod revoke;
mod rotation;
mod watch;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use truc_evidence::Directory;
use truc_proto::{
    AdminSubject, AgencyId, Digest, KeyStatus, KeyUse, Timestamp,
    limits::{ADMINISTRATION_SUBJECT_CHARS_MAX, ENVELOPE_TTL_MAX_MS, FUTURE_SKEW_MAX_MS, NODE_KEYS_ASKED_MAX},
    node_v1::{self, key_state::State},
    relay_v1,
};
use truc_signer::{Certificate, KeyKind};

use super::{Error, roles::May};
use crate::{
    settings::{KeySource, MaterialError, Settings, edit::KeySlot},
    shell::{Shell, clock},
    tokens::Grant,
};

pub(crate) use request::{import, request};
pub(crate) use retire::{destroy, finish_destroying, overwrite, retire};
pub(crate) use revoke::revoke;
pub(crate) use rotation::{plan, rotate};
pub(crate) use watch::{days_left, watch};

/// How long after its end something sealed to a certificate may still arrive: the longest life of an envelope, and the clocks.
const ARRIVES_FOR: Duration = Duration::from_millis((ENVELOPE_TTL_MAX_MS + FUTURE_SKEW_MAX_MS).cast_unsigned());
/// How long the relay may take to look through what waits.
const RELAY_ANSWERS_IN: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 86_400_000;
/// So much of a certificate's SHA-256 names it for a person.
const PREFIX_CHARS: usize = 12;

/// A key that settings name, with its certificate.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) slot: KeySlot,
    source: KeySource,
    pub(crate) certificate: Certificate,
}

/// How the directory binds a certificate to its entry.
#[derive(Clone, Copy)]
struct Bound {
    from: Timestamp,
    to: Timestamp,
    status: KeyStatus,
    status_since: Option<Timestamp>,
}

impl Bound {
    /// From when on it is not used any more, whatever comes.
    fn end(&self) -> Timestamp {
        self.status_since.map_or(self.to, |since| since.min(self.to))
    }

    fn serves(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.end()
    }
}

impl Held {
    /// All that settings name, slot by slot. Reads every key: the shell keeps what was read last.
    pub(crate) fn all(settings: &Settings) -> Result<Vec<Self>, MaterialError> {
        let mut held = Vec::new();
        for slot in KeySlot::all(settings) {
            for source in slot.sources(settings) {
                held.push(Self { slot: slot.clone(), source: source.clone(), certificate: source.certificate()? });
            }
        }
        Ok(held)
    }

    fn bound(&self, shell: &Shell, directory: &Directory) -> Option<Bound> {
        let sha256 = self.certificate.sha256();
        match self.slot.code() {
            Some(code) => directory.binding_of(code, &sha256).map(|bound| Bound {
                from: bound.valid_from,
                to: bound.valid_to,
                status: bound.status,
                status_since: bound.status_since,
            }),
            None => {
                let (_, entry) = directory.node(&shell.node)?;
                entry.certificates.iter().find(|bound| bound.sha256 == sha256).map(|bound| Bound {
                    from: bound.valid_from,
                    to: bound.valid_to,
                    status: bound.status,
                    status_since: bound.status_since,
                })
            }
        }
    }

    /// Until when something that is sealed to it may arrive; none for keys that open nothing.
    fn keep_until(&self, bound: &Bound) -> Option<Timestamp> {
        (self.slot.key_use() == KeyUse::Sealing).then(|| bound.end() + ARRIVES_FOR)
    }

    fn file_name(&self) -> String {
        match &self.source {
            KeySource::Token(source) => source.to_string(),
            file => file.path().display().to_string(),
        }
    }
}

pub(crate) async fn list(shell: &Arc<Shell>, grant: &Grant) -> Result<node_v1::CertificatesReply, Error> {
    grant.need(May::Administer)?;
    let inner = Arc::clone(shell);
    let mut keys = shell.work("reading the certificates", move || states(&inner)).await??;
    if let Some(fault) = shell.link.key_fault() {
        let presented = shell.link.fingerprint().to_string();
        for key in keys.iter_mut().filter(|key| key.slot == "tls" && key.certificate == presented) {
            key.notes.push(format!("no new connection can be made: {fault} / không kết nối mới được: khóa hoặc thiết bị lưu khóa không dùng được"));
        }
    }
    waiting(shell, &mut keys).await;
    Ok(node_v1::CertificatesReply { keys })
}

/// All keys, as they stand now.
fn key_states(shell: &Shell) -> Vec<node_v1::KeyState> {
    let (held, directory, now) = (shell.held.load(), shell.directory(), clock::now());
    let slots = held.chunk_by(|one, next| one.slot == next.slot);
    slots.flat_map(|slot| slot.iter().map(|key| state(shell, key, slot, directory.as_deref(), now))).collect()
}

/// All keys and requests, as they stand now.
fn states(shell: &Shell) -> Result<Vec<node_v1::KeyState>, Error> {
    let mut states = key_states(shell);
    let requested = request::pending(&shell.settings.load()).map_err(|error| Error::internal(crate::chain(&error)))?;
    states.extend(requested.into_iter().map(|pending| node_v1::KeyState {
        slot: pending.slot.to_string(),
        state: State::Requested.into(),
        r#where: pending.key_file().display().to_string(),
        notes: vec![format!(
            "requested on {made}; send {name}.csr to the authority, then `truc cert import` / đã lập yêu cầu ngày {made}; gửi {name}.csr cho cơ quan cấp chứng thư, rồi `truc cert import`",
            made = pending.made.in_vietnam(),
            name = pending.name
        )],
        ..Default::default()
    }));
    Ok(states)
}

/// `slot`: the keys of the same slot, this one among them.
fn state(shell: &Shell, key: &Held, slot: &[Held], directory: Option<&Directory>, now: Timestamp) -> node_v1::KeyState {
    let bound = directory.and_then(|directory| key.bound(shell, directory));
    let keep_until = bound.as_ref().and_then(|bound| key.keep_until(bound));
    let bound_of = |other: &Held| directory.and_then(|directory| other.bound(shell, directory));
    let usable = slot.iter().filter(|other| !shell.is_declared(&other.certificate.sha256()));
    let serving: Vec<Bound> = usable.filter_map(bound_of).filter(|theirs| theirs.serves(now)).collect();
    let declared = shell.settings.load().stopped.declared(&key.certificate.sha256());
    let state = match &bound {
        bound if declared.is_some() && bound.is_none_or(|bound| now < bound.end()) => State::Declared,
        None => State::Imported,
        Some(bound) if bound.status != KeyStatus::Good && bound.end() <= now => State::Stopped,
        Some(bound) if now < bound.from => State::Pending,
        Some(bound) if bound.serves(now) => {
            if serving.iter().any(|theirs| theirs.from > bound.from) {
                State::Overlapping
            } else {
                State::InUse
            }
        }
        Some(_) if keep_until.is_some_and(|until| now < until) => State::Kept,
        Some(_) => State::Ended,
    };
    let end = bound.map_or(key.certificate.not_after(), |bound| bound.end().min(key.certificate.not_after()));
    let days_left = (end.unix_ms() - now.unix_ms()).div_euclid(DAY_MS);
    let (from, to) = (bound.map(|bound| bound.from.to_string()), bound.map(|bound| bound.end().to_string()));
    node_v1::KeyState {
        slot: key.slot.to_string(),
        certificate: key.certificate.sha256().to_string(),
        subject: key.certificate.subject().to_owned(),
        serial: key.certificate.serial_text(),
        issuer: key.certificate.issuer().to_owned(),
        not_before: key.certificate.not_before().to_string(),
        not_after: key.certificate.not_after().to_string(),
        days_left,
        r#where: key.file_name(),
        state: state.into(),
        bound_from: from.unwrap_or_default(),
        bound_to: to.unwrap_or_default(),
        keep_until: keep_until.map(|until| until.to_string()).unwrap_or_default(),
        waiting: None,
        key: match key.certificate.public_key().kind() {
            KeyKind::Rsa { bits } => format!("RSA {bits}"),
            KeyKind::P256 => "P-256".to_owned(),
            KeyKind::P384 => "P-384".to_owned(),
        },
        notes: note(&key.slot, state, days_left, keep_until, !serving.is_empty()).into_iter().collect(),
        declared: declared.map(|declared| declared.since.to_string()).unwrap_or_default(),
    }
}

/// What to do next, where something is to be done.
fn note(
    slot: &KeySlot,
    state: State,
    days_left: i64,
    keep_until: Option<Timestamp>,
    another_serves: bool,
) -> Option<String> {
    Some(match state {
        State::Imported => "here and not bound by the directory yet: `truc cert rotate`, then the operator publishes / đã có nhưng danh bạ chưa gắn: chạy `truc cert rotate`, rồi đơn vị vận hành phát hành danh bạ".to_owned(),
        State::InUse if days_left < watch::FIRST_WARNING_DAYS => format!(
            "ends in {days_left} days: `truc cert request {slot}` / còn {days_left} ngày: chạy `truc cert request {slot}`"
        ),
        State::Declared if another_serves => "declared stolen or lost: it is not used here, another one is; the operator states it for everybody: `truc directory certificate --from` / đã khai báo mất: nút không dùng nữa mà dùng chứng thư khác; đơn vị vận hành ghi vào danh bạ: `truc directory certificate --from`".to_owned(),
        State::Declared => format!(
            "declared stolen or lost: it is not used here; the operator states it for everybody: `truc directory certificate --from`; `truc cert request {slot}` for a new one / đã khai báo mất: nút không dùng nữa; đơn vị vận hành ghi vào danh bạ: `truc directory certificate --from`; chạy `truc cert request {slot}` để xin chứng thư mới"
        ),
        State::Stopped if another_serves => "revoked or suspended: it is not used; `truc cert retire` / bị thu hồi hoặc tạm dừng: không dùng nữa; chạy `truc cert retire`".to_owned(),
        State::Stopped => format!(
            "revoked or suspended: it is not used; `truc cert request {slot}` for a new one / bị thu hồi hoặc tạm dừng: không dùng nữa; chạy `truc cert request {slot}` để xin chứng thư mới"
        ),
        State::Kept => {
            let until = keep_until.map(Timestamp::in_vietnam).unwrap_or_default();
            format!("opens what was sealed to it; destroyed by itself after {until} / giữ để mở văn bản đã niêm theo nó; tự hủy sau {until}")
        }
        State::Ended => "nothing needs it any more: `truc cert retire` / không còn cần đến: chạy `truc cert retire`".to_owned(),
        _ => return None,
    })
}

/// What lies at the relay sealed to these keys. Without the relay the states say nothing of it.
async fn waiting(shell: &Arc<Shell>, keys: &mut [node_v1::KeyState]) {
    let held = shell.held.load_full();
    let sealing = held.iter().filter(|key| key.slot.key_use() == KeyUse::Sealing);
    let certificates: Vec<_> = sealing.map(|key| key.certificate.clone()).collect();
    for asked in certificates.chunks(NODE_KEYS_ASKED_MAX) {
        let Some(reply) = sealed_to(shell, asked).await else { return };
        for certificate in asked.iter().map(Certificate::sha256) {
            let of = reply.counts.iter().filter(|count| count.certificate.as_ref() == certificate.as_bytes());
            let senders: Vec<_> = of
                .map(|count| node_v1::WaitingFrom { sender: count.sender.clone(), envelopes: count.envelopes })
                .collect();
            let envelopes = senders.iter().map(|from| from.envelopes).sum();
            let name = certificate.to_string();
            for key in keys.iter_mut().filter(|key| key.certificate == name && key.slot.starts_with("sealing:")) {
                key.waiting = Some(node_v1::Waiting { envelopes, senders: senders.clone(), more: reply.more });
            }
        }
    }
}

/// How many envelopes that wait at the relay are sealed to a certificate; none: nobody could say, or not for sure.
async fn waiting_for(shell: &Shell, certificate: &Certificate) -> Option<u64> {
    let reply = sealed_to(shell, std::slice::from_ref(certificate)).await?;
    let count = reply.counts.iter().map(|count| count.envelopes).sum();
    (count > 0 || !reply.more).then_some(count)
}

async fn sealed_to(shell: &Shell, certificates: &[Certificate]) -> Option<relay_v1::SealedToReply> {
    let certificates = certificates.iter().map(|certificate| certificate.der().to_vec().into()).collect();
    let mut relay = shell.relay()?;
    let asked = relay.sealed_to(relay_v1::SealedToRequest { certificates });
    match tokio::time::timeout(RELAY_ANSWERS_IN, asked).await {
        Ok(Ok(reply)) => Some(reply.into_inner()),
        Ok(Err(status)) => {
            tracing::debug!(%status, "the relay does not say what is sealed to which certificate");
            None
        }
        Err(_) => None,
    }
}

/// A certificate in the ledger's words.
fn named(slot: &KeySlot, certificate: &Certificate) -> AdminSubject {
    let name: String =
        format!("{slot}: {}", certificate.subject()).chars().take(ADMINISTRATION_SUBJECT_CHARS_MAX).collect();
    AdminSubject::with_hash(name, certificate.sha256())
}

/// A certificate of a key here by its SHA-256, or the beginning of it that means one alone.
fn digest(shell: &Shell, text: &str) -> Result<Digest, Error> {
    let wanted = |error: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "`certificate`: {error}: the SHA-256 that `truc cert status` shows is wanted, or its first {PREFIX_CHARS} characters and more / Cần mã SHA-256 mà `truc cert status` hiện ra, hoặc ít nhất {PREFIX_CHARS} ký tự đầu"
        ))
    };
    match text.parse() {
        Ok(whole) => Ok(whole),
        Err(error) if text.len() < PREFIX_CHARS => Err(wanted(&error)),
        Err(error) => {
            let held = shell.held.load();
            let named =
                held.iter().map(|key| key.certificate.sha256()).filter(|sha256| sha256.to_string().starts_with(text));
            let named: BTreeSet<Digest> = named.collect();
            match (named.len(), named.first()) {
                (1, Some(one)) => Ok(*one),
                (0, _) => Err(wanted(&error)),
                _ => Err(wanted(&"this is the beginning of several")),
            }
        }
    }
}

fn slot(settings: &Settings, text: &str) -> Result<KeySlot, Error> {
    let slot: KeySlot =
        text.parse().map_err(|error: crate::settings::edit::KeySlotError| Error::invalid(error.to_string()))?;
    let own = |code: &AgencyId| settings.codes().any(|own| own == code);
    if slot.code().is_some_and(|code| !own(code)) {
        return Err(Error::not_found(format!(
            "this node does not serve the agency of {slot} / Nút này không phục vụ mã cơ quan trong {slot}"
        )));
    }
    Ok(slot)
}

/// Folder of keys.
fn keys_folder(settings: &Settings) -> PathBuf {
    settings.folder.join("keys")
}

/// What lies in a folder; one that is not there is empty: keys may lie elsewhere.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// A fault of the disk.
fn disk(what: &str) -> impl Fn(io::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::internal(format!("cannot {what}: {error}"))
}
