//! New keys, the requests for their certificates, and what the authority sends back.

use std::{fs, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use truc_proto::{
    AdminAction, AdminSubject, Digest, Timestamp,
    limits::{PEM_BYTES_MAX, SETTINGS_BYTES_MAX},
    node_v1,
};
use truc_signer::{Certificate, NewKey, NewKeyKind, SignError, SoftKey, Verdict, validate};

use super::{Held, disk, files_in, keys_folder, named, slot};
use crate::{
    service::{Error, administration::authorise},
    settings::{
        KeySource, Settings,
        edit::{KeySlot, add_key},
    },
    shell::{Shell, clock},
    tokens::{Grant, replace_private, write_private},
};

const REQUEST: &str = "request";
/// Requests that may be open at once.
const PENDING_MAX: usize = 256;

/// A key whose certificate was asked for: `NAME.key`, `NAME.csr` and this, `NAME.request`, in the folder of keys.
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) slot: KeySlot,
    pub(super) made: Timestamp,
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Written {
    slot: String,
    made: Timestamp,
}

impl Pending {
    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    pub(super) fn key_file(&self) -> PathBuf {
        self.file("key")
    }
}

/// What is asked for and not there yet.
pub(super) fn pending(settings: &Settings) -> std::io::Result<Vec<Pending>> {
    let folder = keys_folder(settings);
    let mut found = Vec::new();
    for path in files_in(&folder)? {
        let (Some(name), Some(REQUEST)) =
            (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|ending| ending.to_str()))
        else {
            continue;
        };
        if fs::metadata(&path)?.len() > SETTINGS_BYTES_MAX {
            continue;
        }
        // A file that is none of ours is left alone.
        let Ok(written) = toml::from_str::<Written>(&fs::read_to_string(&path)?) else { continue };
        let Ok(slot) = written.slot.parse() else { continue };
        found.push(Pending { name: name.to_owned(), slot, made: written.made, folder: folder.clone() });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub(crate) async fn request(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::RequestCertificateRequest,
) -> Result<node_v1::RequestCertificateReply, Error> {
    let _one = shell.changing_keys.lock().await;
    let settings = shell.settings.load_full();
    let slot = slot(&settings, &request.slot)?;
    let subject = AdminSubject::named(format!("{slot}: {}", request.algorithm));
    let permit = authorise(shell, grant, AdminAction::CertificateRequested, subject, &request.why).await?;
    let kind = match request.algorithm.as_str() {
        "" => None,
        "rsa-3072" => Some(NewKeyKind::Rsa3072),
        "p-256" => Some(NewKeyKind::P256),
        other => {
            return Err(Error::invalid(format!(
                "keys are made as `rsa-3072` or `p-256`, not {other:?} / Khóa chỉ tạo theo `rsa-3072` hoặc `p-256`"
            )));
        }
    };
    let now = clock::now();
    let made = slot.clone();
    let held = shell.held.load_full();
    let make = move || make(&settings, &held, &slot, kind, now);
    let (name, request_pem, like) = shell.work("making a key", make).await??;
    let subject = AdminSubject::with_hash(format!("{made}: {name}.csr"), Digest::of(request_pem.as_bytes()));
    permit.done_to(shell, subject).await?;
    tracing::info!(slot = %made, name, by = grant.name, "certificate requested");
    let form = form(shell, &made, &like, &request_pem, now);
    Ok(node_v1::RequestCertificateReply { name, request_pem, form })
}

fn make(
    settings: &Settings,
    held: &[Held],
    slot: &KeySlot,
    kind: Option<NewKeyKind>,
    now: Timestamp,
) -> Result<(String, String, Certificate), Error> {
    let open = pending(settings).map_err(disk("look for open requests"))?;
    if open.len() >= PENDING_MAX {
        return Err(Error::busy(
            "there are too many open requests: remove those not wanted from the folder `keys` / Có quá nhiều yêu cầu chứng thư đang mở: hãy xóa bớt trong thư mục `keys`",
        ));
    }
    let like = newest(held, slot).ok_or_else(|| {
        Error::not_found(format!("settings name no key of {slot} / Cấu hình không có khóa nào cho {slot}"))
    })?;
    let kind = kind.unwrap_or_else(|| NewKeyKind::after(&like));
    let key = NewKey::generate(kind).map_err(|error| Error::internal(error.to_string()))?;
    let request_pem = key.request_pem(&like).map_err(|error| Error::internal(error.to_string()))?;
    let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(17).collect();
    let name = format!("{}-{digits}", slot.file_stem());
    let pending = Pending { name: name.clone(), slot: slot.clone(), made: now, folder: keys_folder(settings) };
    key.store(&pending.key_file()).map_err(|error| Error::internal(crate::chain(&error)))?;
    let written = toml::to_string(&Written { slot: slot.to_string(), made: now });
    let written = written.map_err(|error| Error::internal(error.to_string()))?;
    // The key first: a request without its key would be worth nothing, a key without its request only takes room.
    write_private(&pending.file("csr"), request_pem.as_bytes()).map_err(disk("write the request"))?;
    replace_private(&pending.file(REQUEST), written.as_bytes()).map_err(disk("write the request"))?;
    Ok((name, request_pem, like))
}

/// The certificate of a slot that lives longest: what a new one is to be like.
fn newest(held: &[Held], slot: &KeySlot) -> Option<Certificate> {
    let certificates = held.iter().filter(|key| key.slot == *slot).map(|key| &key.certificate);
    certificates.max_by_key(|certificate| certificate.not_after()).cloned()
}

/// What an authority's form for a device's, service's or software's certificate asks for (NĐ 68/2024/NĐ-CP).
fn form(shell: &Shell, slot: &KeySlot, like: &Certificate, request_pem: &str, now: Timestamp) -> String {
    let holder = holder(shell, slot);
    let purpose = match slot {
        KeySlot::Node => "Ký số điểm kiểm soát sổ cái của nút trục (checkpoints)",
        KeySlot::Tls => "Xác thực kết nối với trục (TLS)",
        KeySlot::Service(_) => "Ký số gói văn bản điện tử của cơ quan (service)",
        KeySlot::Sealing(_) => "Nhận văn bản được mã hóa (sealing)",
    };
    format!(
        "ĐỀ NGHỊ CẤP MỚI CHỨNG THƯ CHỮ KÝ SỐ CHUYÊN DÙNG CÔNG VỤ\n\
         cho thiết bị, dịch vụ, phần mềm (NĐ 68/2024/NĐ-CP)\n\n\
         Thuê bao / Holder:            {holder}\n\
         Tên trong chứng thư / Subject: {subject}\n\
         Mục đích / Purpose:           {purpose}\n\
         Thay cho chứng thư / Replaces: {serial} ({issuer})\n\
         Hết hạn / Expires:            {expires}\n\
         Ngày lập / Made:              {made}\n\
         SHA-256 của tệp yêu cầu / of the request file: {sha256}\n",
        subject = like.subject(),
        serial = like.serial_text(),
        issuer = like.issuer(),
        expires = like.not_after().in_vietnam(),
        made = now.in_vietnam(),
        sha256 = Digest::of(request_pem.as_bytes()),
    )
}

/// Whom a key's certificate is for, as an authority's form has it.
pub(super) fn holder(shell: &Shell, slot: &KeySlot) -> String {
    match slot.code() {
        Some(code) => {
            let directory = shell.directory();
            let name = directory.as_ref().and_then(|directory| Some(directory.agency(code)?.name().to_owned()));
            format!("{} (mã định danh {code})", name.unwrap_or_default())
        }
        None => format!("Nút trục {}", shell.node),
    }
}

pub(crate) async fn import(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::ImportCertificateRequest,
) -> Result<node_v1::ImportCertificateReply, Error> {
    let given = Digest::of_parts(&[&request.certificates, &request.pkcs12, request.token.as_bytes()]);
    let subject = AdminSubject::with_hash(format!("certificate {}", request.slot).trim(), given);
    let permit = authorise(shell, grant, AdminAction::CertificateImported, subject, &request.why).await?;
    let _one = shell.changing_keys.lock().await;
    let inner = Arc::clone(shell);
    let (slot, certificate, warnings) = shell.work("importing a certificate", move || take(&inner, &request)).await??;
    permit.done_to(shell, named(&slot, &certificate)).await?;
    tracing::info!(%slot, certificate = %certificate.sha256(), subject = certificate.subject(), by = grant.name, "certificate imported");
    let (inner, sha256) = (Arc::clone(shell), certificate.sha256().to_string());
    let states = shell.work("reading the certificates", move || super::states(&inner)).await??;
    let key = states.into_iter().find(|key| key.certificate == sha256);
    Ok(node_v1::ImportCertificateReply { key, warnings })
}

/// Files first, then the settings that name them, then they are read: a crash between leaves files that nobody names, and importing again goes on.
fn take(
    shell: &Shell,
    request: &node_v1::ImportCertificateRequest,
) -> Result<(KeySlot, Certificate, Vec<String>), Error> {
    let settings = shell.settings.load_full();
    let given = [!request.certificates.is_empty(), !request.pkcs12.is_empty(), !request.token.is_empty()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Error::invalid(
            "give a certificate, a PKCS#12 file or a token, one of them / Cần đúng một trong: chứng thư, tệp PKCS#12, khóa trong thiết bị",
        ));
    }
    let (slot, source, answered) = if !request.certificates.is_empty() {
        let (pending, source) = answer(shell, &settings, &request.certificates)?;
        (pending.slot.clone(), source, Some(pending))
    } else {
        let slot = slot(&settings, &request.slot)?;
        let source = with_key(shell, &settings, &slot, request)?;
        (slot, source, None)
    };
    let certificate = source.certificate().map_err(|error| Error::invalid(crate::chain(&error)))?;
    let mut warnings = warnings(shell, &slot, &certificate);
    if SoftKey::pkcs12_is_old(&request.pkcs12) {
        warnings.push("the PKCS#12 file is encrypted with old ciphers, which protect nothing: delete its copies, and ask for files with AES / Tệp PKCS#12 dùng thuật toán mã hóa cũ, không còn an toàn: hãy xóa các bản sao và đề nghị cấp tệp mã hóa AES".to_owned());
    }
    if let Some(why) = away(&source, &slot) {
        warnings.push(format!("the key was not tried, because it cannot be reached from this node now: {why} / chưa thử được khóa vì nút chưa truy cập được thiết bị lưu khóa"));
    }
    add_key(&settings, &slot, &source).map_err(|error| Error::internal(crate::chain(&error)))?;
    shell.reload_keys().map_err(|error| Error::internal(format!("{error:#}")))?;
    if let Some(pending) = answered {
        for ending in [REQUEST, "csr"] {
            fs::remove_file(pending.file(ending)).map_err(disk("clear the request"))?;
        }
    }
    Ok((slot, certificate, warnings))
}

/// The certificate for a key that was requested here.
fn answer(shell: &Shell, settings: &Settings, pem: &[u8]) -> Result<(Pending, KeySource), Error> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(Error::invalid("too long for a certificate chain / Tệp quá lớn, không phải chuỗi chứng thư"));
    }
    let chain = Certificate::from_pem(pem).map_err(|error| Error::invalid(crate::chain(&error)))?;
    for pending in pending(settings).map_err(disk("look for open requests"))? {
        let key = fs::read(pending.key_file()).map(zeroize::Zeroizing::new).map_err(disk("read a requested key"))?;
        let Ok(key) = SoftKey::from_pem(pem, &key) else { continue };
        check(shell, &pending.slot, key.certificate())?;
        let own = std::iter::once(key.certificate());
        let above = chain.iter().filter(|certificate| *certificate != key.certificate());
        let text: String = own.chain(above).map(Certificate::to_pem).collect();
        let file = pending.file("pem");
        replace_private(&file, text.as_bytes()).map_err(disk("write the certificate"))?;
        let source = KeySource::Pem { certificate: file, key: pending.key_file() };
        return Ok((pending, source));
    }
    Err(Error::not_found(
        "no key that was requested here belongs to this certificate: give the certificate made from the newest request, or the PKCS#12 file / Không có khóa nào do nút này lập yêu cầu khớp với chứng thư: hãy đưa chứng thư cấp theo yêu cầu mới nhất, hoặc tệp PKCS#12",
    ))
}

/// A certificate that comes with its key.
fn with_key(
    shell: &Shell,
    settings: &Settings,
    slot: &KeySlot,
    request: &node_v1::ImportCertificateRequest,
) -> Result<KeySource, Error> {
    let digits: String = clock::now().to_string().chars().filter(char::is_ascii_digit).take(17).collect();
    let stem = keys_folder(settings).join(format!("{}-{digits}", slot.file_stem()));
    let file = |ending: &str| PathBuf::from(format!("{}.{ending}", stem.display()));
    let unusable = |error: &dyn std::error::Error| Error::invalid(crate::chain(error));
    if !request.token.is_empty() {
        let path = file("token");
        write_private(&path, request.token.as_bytes()).map_err(disk("write what names the token"))?;
        let source = KeySource::named_by(&path).map_err(|error| unusable(&error));
        fs::remove_file(&path).map_err(disk("remove a temporary file"))?;
        let source = source?;
        let KeySource::Token(_) = &source else {
            return Err(Error::invalid("this names no key in a token / Tệp này không chỉ tới khóa trong thiết bị"));
        };
        // Tried, so that a wrong PIN or object is told now and not when the first document waits.
        match slot {
            KeySlot::Sealing(_) => drop(source.load_opening().map_err(|error| unusable(&error))?),
            KeySlot::Tls => drop(source.load_identity().map_err(|error| unusable(&error))?),
            KeySlot::Node | KeySlot::Service(_) => drop(source.load_signing().map_err(|error| unusable(&error))?),
        }
        check(shell, slot, &source.certificate().map_err(|error| unusable(&error))?)?;
        return Ok(source);
    }
    let key = SoftKey::from_pkcs12(&request.pkcs12, &request.password).map_err(|error| unusable(&error))?;
    check(shell, slot, key.certificate())?;
    let source = KeySource::Pkcs12 { file: file("p12"), password_file: file("password") };
    write_private(&file("password"), request.password.as_bytes()).map_err(disk("write the password"))?;
    write_private(&file("p12"), &request.pkcs12).map_err(disk("write the PKCS#12 file"))?;
    Ok(source)
}

/// Why a key in a token that signs cannot be reached now; none: it can, or it is no such key.
fn away(source: &KeySource, slot: &KeySlot) -> Option<String> {
    let (KeySource::Token(_), KeySlot::Node | KeySlot::Service(_)) = (source, slot) else { return None };
    let key = source.load_signing().ok()?;
    match key.sign(b"truc: is the key there?") {
        Err(error @ SignError::Away { .. }) => Some(error.to_string()),
        _ => None,
    }
}

/// Believed for its use, not revoked, and not here already.
fn check(shell: &Shell, slot: &KeySlot, certificate: &Certificate) -> Result<(), Error> {
    let verdict = validate(&shell.trust.load(), certificate, slot.certificate_use(), clock::now());
    match verdict.map_err(|error| Error::invalid(error.to_string()))? {
        Verdict::Good | Verdict::Unknown(_) => {}
        Verdict::Revoked { at, .. } => {
            let at = at.in_vietnam();
            return Err(Error::invalid(format!(
                "this certificate is revoked since {at}: ask for a new one / Chứng thư này đã bị thu hồi từ {at}: hãy xin chứng thư mới"
            )));
        }
    }
    let held = shell.held.load();
    match held.iter().find(|held| held.slot == *slot && held.certificate == *certificate) {
        Some(held) => Err(Error::not_now(format!(
            "this certificate is here already, in {} / Chứng thư này đã có tại {}",
            held.file_name(),
            held.file_name()
        ))),
        None => Ok(()),
    }
}

/// What a person should look at before it is used: it may be right.
fn warnings(shell: &Shell, slot: &KeySlot, certificate: &Certificate) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(before) = newest(&shell.held.load(), slot) {
        if before.subject_der() != certificate.subject_der() {
            warnings.push(format!(
                "it names {}, the one before names {}: compare them letter by letter / Tên trong chứng thư là {}, chứng thư trước là {}: hãy so từng chữ",
                certificate.subject(),
                before.subject(),
                certificate.subject(),
                before.subject()
            ));
        }
        if certificate.not_after() <= before.not_after() {
            warnings.push(
                "it does not live longer than the one before / Hạn dùng không dài hơn chứng thư trước".to_owned(),
            );
        }
    }
    if let Ok(Verdict::Unknown(unknown)) =
        validate(&shell.trust.load(), certificate, slot.certificate_use(), clock::now())
    {
        warnings.push(format!(
            "whether it is revoked cannot be told: {unknown} / Chưa xác định được chứng thư có bị thu hồi không"
        ));
    }
    warnings
}
