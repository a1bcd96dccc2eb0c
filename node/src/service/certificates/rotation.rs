//! From keys that are here to keys that serve: the request by which the operator binds them, and what happens when.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use truc_evidence::{Directory, ledger_origin, make_binding};
use truc_ledger::LedgerKey;
use truc_proto::{
    AdminAction, AdminSubject, BindingRequest, CertificateBinding, Digest, Entry, KeyStatus, KeyUse, Timestamp,
    WitnessKey, limits::AGENCY_KEYS_MAX, node_v1,
};
use truc_signer::{Certificate, SigningKey};

use super::{ARRIVES_FOR, Held, digest};
use crate::{
    init::binding,
    service::{Error, administration::authorise, roles::May, send::no_directory},
    settings::edit::KeySlot,
    shell::{Shell, clock},
    tokens::Grant,
};

/// Longest overlap in days.
const OVERLAP_DAYS_MAX: u32 = 366;

/// Keys that are to be bound, and those that they follow.
struct Rotation {
    directory: Arc<Directory>,
    held: Arc<Vec<Held>>,
    /// Places in `held`.
    new: Vec<usize>,
    /// When those before end; none: as they are bound now.
    old_ends: Option<Timestamp>,
    now: Timestamp,
}

pub(crate) async fn plan(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::RotateRequest,
) -> Result<node_v1::RotationPlan, Error> {
    grant.need(May::Administer)?;
    let inner = Arc::clone(shell);
    shell.work("planning a rotation", move || Ok(Rotation::of(&inner, &request)?.plan(&inner))).await?
}

pub(crate) async fn rotate(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::RotateRequest,
) -> Result<node_v1::RotateReply, Error> {
    let subject = AdminSubject::named("rotation");
    let permit = authorise(shell, grant, AdminAction::CertificateRotated, subject, &request.why).await?;
    let _one = shell.changing_keys.lock().await;
    let inner = Arc::clone(shell);
    let work = move || {
        let rotation = Rotation::of(&inner, &request)?;
        let (binding, unproven) = rotation.binding(&inner)?;
        let slots: Vec<String> = rotation.slots().into_iter().map(ToString::to_string).collect();
        let subject = AdminSubject::with_hash(format!("rotation of {}", slots.join(", ")), Digest::of(&binding));
        let reply = node_v1::RotateReply { binding: binding.into(), plan: Some(rotation.plan(&inner)), unproven };
        Ok::<_, Error>((reply, subject))
    };
    let (reply, subject) = shell.work("writing a binding request", work).await??;
    tracing::info!(keys = subject.name, by = grant.name, "rotation requested of the operator");
    permit.done_to(shell, subject).await?;
    Ok(reply)
}

impl Rotation {
    fn of(shell: &Shell, request: &node_v1::RotateRequest) -> Result<Self, Error> {
        if request.overlap_days > OVERLAP_DAYS_MAX {
            return Err(Error::invalid(format!(
                "certificates overlap for at most {OVERLAP_DAYS_MAX} days / Hai chứng thư dùng chung tối đa {OVERLAP_DAYS_MAX} ngày"
            )));
        }
        let wanted: BTreeSet<Digest> =
            request.certificates.iter().map(|text| digest(shell, text)).collect::<Result<_, _>>()?;
        let directory = shell.directory().ok_or_else(no_directory)?;
        let held = shell.held.load_full();
        let known = |sha256: &Digest| held.iter().any(|key| key.certificate.sha256() == *sha256);
        if let Some(unknown) = wanted.iter().find(|sha256| !known(sha256)) {
            return Err(Error::not_found(format!(
                "no key here has the certificate {unknown}: `truc cert import` it first / Không có khóa nào của chứng thư {unknown}: hãy chạy `truc cert import` trước"
            )));
        }
        let is_new = |key: &Held| {
            let chosen = wanted.is_empty() || wanted.contains(&key.certificate.sha256());
            chosen && key.bound(shell, &directory).is_none() && !shell.is_declared(&key.certificate.sha256())
        };
        let new: Vec<usize> = held.iter().enumerate().filter(|(_, key)| is_new(key)).map(|(place, _)| place).collect();
        if new.is_empty() {
            return Err(Error::not_now(
                "the directory binds all keys that are here: `truc cert request` and `truc cert import` a new one first / Danh bạ đã gắn mọi khóa hiện có: hãy chạy `truc cert request` rồi `truc cert import` trước",
            ));
        }
        let now = clock::now();
        let days = u64::from(request.overlap_days);
        let old_ends = (days > 0).then(|| now + Duration::from_secs(days * 86_400));
        Ok(Self { directory, held, new, old_ends, now })
    }

    fn fresh(&self) -> impl Iterator<Item = &Held> {
        self.new.iter().filter_map(|place| self.held.get(*place))
    }

    /// Those in force that a new one follows.
    fn followed<'r>(&'r self, shell: &'r Shell, slot: &'r KeySlot) -> impl Iterator<Item = (&'r Held, super::Bound)> {
        let bound = move |key: &'r Held| Some((key, key.bound(shell, &self.directory)?));
        let here = self.held.iter().filter(move |key| key.slot == *slot).filter_map(bound);
        here.filter(|(_, bound)| bound.status == KeyStatus::Good && bound.serves(self.now))
    }

    fn slots(&self) -> BTreeSet<&KeySlot> {
        self.fresh().map(|key| &key.slot).collect()
    }

    /// The entries as they stand, with the new certificates and earlier ends of the old ones.
    fn entries(&self, shell: &Shell) -> Result<Vec<Entry>, Error> {
        shell.witness.look().map_err(|error| Error::unavailable(crate::chain(&error)))?;
        let mut keys: BTreeSet<String> = BTreeSet::new();
        for key in self.fresh() {
            keys.insert(match key.slot.code() {
                Some(code) => format!("agency/{code}"),
                None => format!("node/{}", shell.node),
            });
        }
        let mut entries = Vec::new();
        for name in keys {
            let read = self.directory.read_entry(&name).map_err(|error| Error::internal(crate::chain(&error)))?;
            let mut entry = read.ok_or_else(|| {
                Error::not_now(format!("the directory has no {name} yet: the operator takes the first binding request of this node / Danh bạ chưa có {name}: đơn vị vận hành cần tiếp nhận yêu cầu gắn mã đầu tiên của nút"))
            })?;
            let is_own = |key: &&Held| match key.slot.code() {
                Some(code) => name == format!("agency/{code}"),
                None => name.starts_with("node/"),
            };
            // One that was made meanwhile, and that the operator may have taken already.
            if let (Entry::Node(node), Some(witness)) = (&mut entry, shell.witness.key()) {
                node.witness_key = Some(WitnessKey(*witness.public().public_key()));
            }
            let certificates = match &mut entry {
                Entry::Agency(agency) => &mut agency.certificates,
                Entry::Node(node) | Entry::Relay(node) => &mut node.certificates,
                Entry::Operator(operator) => &mut operator.certificates,
            };
            // What is not said of them stays as it is; those that are over say nothing any more.
            certificates.retain(|bound| bound.status == KeyStatus::Good && self.now < bound.valid_to);
            certificates.retain(|bound| self.held.iter().any(|key| key.certificate.sha256() == bound.sha256));
            // What was declared stolen or lost speaks for nobody.
            certificates.retain(|bound| !shell.is_declared(&bound.sha256));
            let rotated: Vec<KeyUse> = self.fresh().filter(is_own).map(|key| key.slot.key_use()).collect();
            if let Some(ends) = self.old_ends {
                let ends_earlier = |bound: &&mut CertificateBinding| {
                    bound.uses.iter().all(|key_use| rotated.contains(key_use)) && bound.valid_from < ends
                };
                certificates
                    .iter_mut()
                    .filter(ends_earlier)
                    .for_each(|bound| bound.valid_to = bound.valid_to.min(ends));
            }
            for key in self.fresh().filter(is_own) {
                let sha256 = key.certificate.sha256();
                let mut uses = vec![key.slot.key_use()];
                // One certificate for both uses is bound once.
                if let Some(place) = certificates.iter().position(|bound| bound.sha256 == sha256) {
                    uses.extend(certificates.remove(place).uses);
                }
                certificates.push(binding(&key.certificate, uses));
            }
            if certificates.len() > 2 * AGENCY_KEYS_MAX {
                return Err(Error::not_now(
                    "the entry would have too many certificates: retire those that ended first / Mục danh bạ sẽ có quá nhiều chứng thư: hãy loại bỏ chứng thư đã hết hạn trước",
                ));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The request for the operator, signed by the ledger's key, by the new keys and by those in force: whoever may speak for the entry today.
    fn binding(&self, shell: &Shell) -> Result<(Vec<u8>, Vec<String>), Error> {
        let settings = shell.settings.load();
        let entries = self.entries(shell)?;
        let named: BTreeSet<Digest> = entries.iter().flat_map(Entry::certificates).map(|bound| bound.sha256).collect();
        let mut unproven = Vec::new();
        let mut keys: Vec<Box<dyn SigningKey>> = Vec::new();
        for key in self.held.iter().filter(|key| named.contains(&key.certificate.sha256())) {
            let signs = !matches!(key.slot, KeySlot::Sealing(_));
            if !signs || keys.iter().any(|other| other.certificate() == &key.certificate) {
                continue;
            }
            // A key for connections proves itself at each handshake.
            if key.slot == KeySlot::Tls {
                continue;
            }
            let loaded = key.source.load_signing().map_err(|error| Error::unavailable(crate::chain(&error)))?;
            keys.push(loaded);
        }
        for entry in &entries {
            let by_old = keys.iter().any(|key| {
                let sha256 = key.certificate().sha256();
                let old = |held: &Held| {
                    held.certificate.sha256() == sha256
                        && held.bound(shell, &self.directory).is_some_and(|bound| bound.serves(self.now))
                };
                entry.certificates().iter().any(|bound| bound.sha256 == sha256) && self.held.iter().any(old)
            });
            if !by_old {
                unproven.push(format!(
                    "{}: no key in force signs for it; the operator has to confirm it (--confirm-endorsement) / không có khóa đang hiệu lực ký xác nhận; đơn vị vận hành phải tự xác nhận (--confirm-endorsement)",
                    entry.key()
                ));
            }
        }
        let origin = ledger_origin(&shell.axis, shell.lane, &shell.node, settings.epoch);
        let ledger = LedgerKey::from_file(&origin, &settings.ledger_key);
        let ledger = ledger.map_err(|error| Error::unavailable(crate::chain(&error)))?;
        let request = BindingRequest { axis: shell.axis.clone(), lane: shell.lane, time: self.now, entries };
        let keys: Vec<&dyn SigningKey> = keys.iter().map(AsRef::as_ref).collect();
        let signed = make_binding(request, &ledger, &keys).map_err(|error| {
            Error::unavailable(format!(
                "{}; nothing was written, give the command again when it is there / Chưa lập yêu cầu: khóa mới phải ký được mới gắn vào danh bạ; hãy kiểm tra thiết bị lưu khóa rồi chạy lại",
                crate::chain(&error)
            ))
        })?;
        Ok((signed.bytes().to_vec(), unproven))
    }

    fn plan(&self, shell: &Shell) -> node_v1::RotationPlan {
        let step = |when: Option<Timestamp>, english: String, vietnamese: String| node_v1::RotationStep {
            when: when.map(|when| when.to_string()).unwrap_or_default(),
            english,
            vietnamese,
        };
        let mut steps = vec![step(
            None,
            "give the request to the axis operator: `truc directory add`, `sign`, `publish`; nothing changes before that version is here".to_owned(),
            "gửi yêu cầu cho đơn vị vận hành trục: `truc directory add`, `sign`, `publish`; trước phiên bản danh bạ đó không có gì thay đổi".to_owned(),
        )];
        for slot in self.slots() {
            let what = |english: &str, vietnamese: &str| (english.to_owned(), vietnamese.to_owned());
            for key in self.fresh().filter(|key| key.slot == *slot) {
                let from = key.certificate.not_before();
                let when = (self.now < from).then_some(from);
                let (does, lam) = match slot {
                    KeySlot::Node => what("signs the checkpoints", "ký điểm kiểm soát"),
                    KeySlot::Tls => what("is presented on new connections", "dùng cho kết nối mới"),
                    KeySlot::Service(_) => what("signs containers", "ký gói văn bản"),
                    KeySlot::Sealing(_) => what(
                        "is sealed to by every sender that has the version",
                        "được mọi bên gửi có phiên bản mới dùng để niêm",
                    ),
                };
                let name = short(&key.certificate);
                steps.push(step(
                    when,
                    format!("{slot}: {name} {does}, until {}", key.certificate.not_after().in_vietnam()),
                    format!("{slot}: {name} {lam}, đến {}", key.certificate.not_after().in_vietnam()),
                ));
            }
            for (old, bound) in self.followed(shell, slot) {
                let end = self.old_ends.map_or(bound.end(), |ends| ends.min(bound.end()));
                let name = short(&old.certificate);
                steps.push(step(
                    Some(end),
                    format!("{slot}: {name} is over; until then both are good"),
                    format!("{slot}: {name} hết hiệu lực; trước đó cả hai đều dùng được"),
                ));
                if slot.key_use() == KeyUse::Sealing {
                    steps.push(step(
                        Some(end + ARRIVES_FOR),
                        format!("{slot}: the key of {name} is destroyed by itself once nothing sealed to it lies at the relay"),
                        format!("{slot}: khóa của {name} tự hủy khi trên trục không còn văn bản niêm theo nó"),
                    ));
                } else {
                    steps.push(step(
                        Some(end),
                        format!("{slot}: `truc cert retire {}` destroys its key", old.certificate.sha256()),
                        format!("{slot}: `truc cert retire {}` để hủy khóa", old.certificate.sha256()),
                    ));
                }
            }
        }
        steps.get_mut(1..).unwrap_or_default().sort_by(|a, b| a.when.cmp(&b.when));
        node_v1::RotationPlan { steps }
    }
}

/// A certificate in a few characters, for people.
fn short(certificate: &Certificate) -> String {
    certificate.sha256().to_string().chars().take(12).collect()
}
