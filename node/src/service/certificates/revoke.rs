//! A key is stolen, lost, or suspected to be: it is out of use from the answer on, and the operator and the authority are told.

use std::sync::Arc;

use truc_custody::stopped::Declared;
use truc_evidence::{Directory, make_revocation};
use truc_ledger::LedgerKey;
use truc_proto::{AdminAction, Digest, KeyStatus, RevocationRequest, Timestamp, node_v1};
use truc_signer::{Certificate, SigningKey};

use super::{Held, digest, disk, keys_folder, named};
use crate::{
    core::Input,
    service::{
        Error,
        administration::{Permit, authorise},
        roles::May,
        send::no_directory,
    },
    settings::edit::KeySlot,
    shell::{Shell, clock},
    tokens::Grant,
};

pub(crate) async fn revoke(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::RevokeCertificateRequest,
) -> Result<node_v1::RevokeCertificateReply, Error> {
    grant.need(May::Administer)?;
    let sha256 = digest(shell, &request.certificate)?;
    let keys: Vec<Held> = shell.held.load().iter().filter(|key| key.certificate.sha256() == sha256).cloned().collect();
    let Some(first) = keys.first() else {
        return Err(Error::not_found(format!(
            "no key here has the certificate {sha256}: `truc cert status` shows those there are; of another node's key its own administrator or the axis operator disposes / Không có khóa nào của chứng thư {sha256}: xem `truc cert status`; khóa của nút khác do quản trị của nút đó hoặc đơn vị vận hành trục xử lý"
        )));
    };
    let subject = named(&first.slot, &first.certificate);
    let now = clock::now();
    let since = since(&request.since, now)?;
    if request.undo {
        may_undo(shell, &keys, &sha256, now)?;
    }
    let action = match (request.undo, request.suspected) {
        (true, _) => AdminAction::CertificateRestored,
        (false, true) => AdminAction::CertificateSuspended,
        (false, false) => AdminAction::CertificateRevoked,
    };
    let permit = authorise(shell, grant, action, subject, &request.why).await?;
    let _one = shell.changing_keys.lock().await;
    let reply = if request.undo {
        undo(shell, &keys, permit).await?
    } else {
        declare(shell, keys, request, since, permit).await?
    };
    tracing::warn!(certificate = %sha256, action = %action, by = grant.name, "a key's standing was declared by an administrator");
    shell.revocation_changed.notify_one(); // the alarm
    Ok(reply)
}

fn since(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let since = match text {
        "" => now,
        text => text.parse().map_err(|error| {
            Error::invalid(format!(
                "`since`: {error} / `since` là thời điểm dạng RFC 3339, ví dụ 2026-11-22T08:00:00+07:00"
            ))
        })?,
    };
    if since > now {
        return Err(Error::invalid(
            "`since` is a moment that has come: what is not yet so cannot be declared / `since` phải là thời điểm đã qua",
        ));
    }
    Ok(since)
}

async fn declare(
    shell: &Arc<Shell>,
    keys: Vec<Held>,
    request: node_v1::RevokeCertificateRequest,
    since: Timestamp,
    permit: Permit,
) -> Result<node_v1::RevokeCertificateReply, Error> {
    let inner = Arc::clone(shell);
    let who = permit.deed().who.name.clone();
    let work = move || take_out_of_use(&inner, &keys, &request, since, &who);
    let reply = shell.work("declaring a key stolen or lost", work).await??;
    permit.done(shell).await?;
    Ok(reply)
}

/// The request is signed first, while the key itself may still say so; then nothing more is done with it.
fn take_out_of_use(
    shell: &Shell,
    keys: &[Held],
    request: &node_v1::RevokeCertificateRequest,
    since: Timestamp,
    who: &str,
) -> Result<node_v1::RevokeCertificateReply, Error> {
    let settings = shell.settings.load_full();
    let [key, ..] = keys else { return Err(Error::internal("no key".to_owned())) };
    let sha256 = key.certificate.sha256();
    // Declared again: it is of the moment that was declared first, and may be worse than was thought.
    let since = settings.stopped.declared(&sha256).map_or(since, |before| before.since.min(since));
    let declared = Declared { since, suspected: request.suspected };
    let signed = request_for_operator(shell, &sha256, &declared, &request.why)?;
    settings.stopped.declare(&keys_folder(&settings), sha256, declared).map_err(disk("declare the key"))?;
    shell.use_keys();
    shell.keys_changed.send_replace(());
    let mut done = Vec::new();
    let directory = shell.directory();
    for Held { slot, certificate, .. } in keys {
        done.push(what_happens(shell, slot, certificate, directory.as_deref()));
    }
    let form = form(shell, key, request, since, who);
    Ok(node_v1::RevokeCertificateReply {
        request: signed.into(),
        form,
        done,
        next: next(shell, keys, request.suspected, since),
        certificate: sha256.to_string(),
        serial: key.certificate.serial_text(),
    })
}

/// Whether another key of the slot serves now.
fn another(shell: &Shell, slot: &KeySlot, certificate: &Certificate, directory: Option<&Directory>) -> bool {
    let now = clock::now();
    shell.held.load().iter().filter(|key| key.slot == *slot && key.certificate != *certificate).any(|key| {
        let bound = directory.and_then(|directory| key.bound(shell, directory));
        bound.is_some_and(|bound| bound.serves(now)) && !shell.is_declared(&key.certificate.sha256())
    })
}

fn what_happens(shell: &Shell, slot: &KeySlot, certificate: &Certificate, directory: Option<&Directory>) -> String {
    let another = another(shell, slot, certificate, directory);
    match (slot, another) {
        (KeySlot::Tls, true) => "tls: not used from now on; connections made with it are closed, another certificate in force is presented / tls: ngừng dùng; đã đóng các kết nối, chuyển sang chứng thư khác đang hiệu lực".to_owned(),
        (KeySlot::Tls, false) => "tls: not used from now on; the connection is closed, and there is none before another certificate is bound. What is sent is kept here, what comes waits at the relay / tls: ngừng dùng; đã đóng kết nối, chỉ nối lại khi có chứng thư khác. Văn bản đi được giữ tại nút, văn bản đến chờ trên trục".to_owned(),
        (KeySlot::Node, true) => "node: signs no checkpoint from now on; another certificate in force does / node: ngừng ký điểm kiểm soát; chứng thư khác đang hiệu lực ký thay".to_owned(),
        (KeySlot::Node, false) => "node: signs no checkpoint from now on; documents go on, receipts stay provisional until another certificate is bound / node: ngừng ký điểm kiểm soát; văn bản vẫn lưu thông, biên nhận còn tạm thời cho đến khi có chứng thư khác".to_owned(),
        (KeySlot::Service(_), true) => format!("{slot}: signs nothing from now on; another certificate in force does / {slot}: ngừng ký; chứng thư khác đang hiệu lực ký thay"),
        (KeySlot::Service(_), false) => format!("{slot}: signs nothing from now on; what is sent is held, and goes out by itself when another certificate is bound / {slot}: ngừng ký; văn bản gửi đi được giữ, tự gửi khi có chứng thư khác"),
        (KeySlot::Sealing(_), true) => format!("{slot}: goes on opening what was sealed to it; once the operator has acted senders seal to another certificate in force / {slot}: vẫn mở văn bản đã niêm; sau khi đơn vị vận hành xử lý, bên gửi niêm theo chứng thư khác đang hiệu lực"),
        (KeySlot::Sealing(_), false) => format!("{slot}: goes on opening what was sealed to it; once the operator has acted senders hold what is for it until another certificate is bound / {slot}: vẫn mở văn bản đã niêm; sau khi đơn vị vận hành xử lý, bên gửi giữ văn bản cho đến khi có chứng thư khác"),
    }
}

fn next(shell: &Shell, keys: &[Held], suspected: bool, since: Timestamp) -> Vec<String> {
    let (state, trang_thai, flag) =
        if suspected { ("suspends", "tạm dừng", "suspended") } else { ("revokes", "thu hồi", "revoked") };
    let certificate = keys.first().map(|key| key.certificate.sha256().to_string()).unwrap_or_default();
    let by_hand = format!("truc directory certificate {certificate} --{flag} {since}");
    let mut next = vec![
        format!("at once: the axis operator takes the request file with `truc directory certificate --from FILE` (by hand: `{by_hand}`), then `sign` and `publish`; from that version on everybody {state} it / ngay: đơn vị vận hành trục nhận tệp yêu cầu bằng `truc directory certificate --from TỆP` (hoặc tự nhập: `{by_hand}`), rồi `sign` và `publish`; từ phiên bản đó mọi bên {trang_thai}"),
        "at once: send the form to the authority that issued the certificate / ngay: gửi mẫu đề nghị cho cơ quan cấp chứng thư".to_owned(),
    ];
    let directory = shell.directory();
    for Held { slot, certificate, .. } in keys {
        if !another(shell, slot, certificate, directory.as_deref()) {
            next.push(format!("then: `truc cert request {slot}`, `truc cert import`, `truc cert rotate` bring another one into use / sau đó: `truc cert request {slot}`, `truc cert import`, `truc cert rotate` để đưa chứng thư khác vào dùng"));
        }
        if let KeySlot::Sealing(_) = slot {
            next.push(format!("when it cannot open any more, or must not: `truc cert retire {}` once the operator has acted; senders seal what comes back anew by themselves / khi khóa không mở được nữa hoặc không được dùng để mở: `truc cert retire {}` sau khi đơn vị vận hành xử lý; bên gửi tự niêm lại", certificate.sha256(), certificate.sha256()));
        }
    }
    if suspected {
        next.push("proves the suspicion wrong: `truc cert revoke --undo` before the operator acts, and behind that once he has restored it / nếu nghi ngờ là sai: `truc cert revoke --undo` trước khi đơn vị vận hành xử lý, hoặc sau khi đơn vị vận hành khôi phục".to_owned());
    }
    next
}

/// Signed by the ledger's key, and by all keys here that still may and can.
fn request_for_operator(shell: &Shell, certificate: &Digest, declared: &Declared, why: &str) -> Result<Vec<u8>, Error> {
    let settings = shell.settings.load_full();
    let mut signing: Vec<Box<dyn SigningKey>> = Vec::new();
    for key in shell.held.load().iter() {
        let sha256 = key.certificate.sha256();
        let signs = matches!(key.slot, KeySlot::Node | KeySlot::Service(_));
        let known = signing.iter().any(|other| other.certificate() == &key.certificate);
        if !signs || known || settings.stopped.contains(&sha256) {
            continue;
        }
        let Some(directory) = shell.directory() else { return Err(no_directory()) };
        let serves = key.bound(shell, &directory).is_some_and(|bound| bound.serves(clock::now()));
        // One that is lost cannot be loaded, and need not be.
        if let (true, Ok(loaded)) = (serves, key.source.load_signing()) {
            signing.push(loaded);
        }
    }
    let origin = settings.origin();
    let ledger = LedgerKey::from_file(&origin, &settings.ledger_key);
    let ledger = ledger.map_err(|error| Error::unavailable(crate::chain(&error)))?;
    let request = RevocationRequest {
        axis: shell.axis.clone(),
        lane: shell.lane,
        node: shell.node.clone(),
        time: clock::now(),
        certificate: *certificate,
        status: if declared.suspected { KeyStatus::Suspended } else { KeyStatus::Revoked },
        since: declared.since,
        why: why.to_owned(),
    };
    let keys: Vec<&dyn SigningKey> = signing.iter().map(AsRef::as_ref).collect();
    let signed = make_revocation(request, &ledger, &keys).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(signed.bytes().to_vec())
}

/// What an authority's form for revoking or suspending asks for (NĐ 68/2024/NĐ-CP).
fn form(shell: &Shell, key: &Held, request: &node_v1::RevokeCertificateRequest, since: Timestamp, who: &str) -> String {
    let (certificate, what) = (&key.certificate, if request.suspected { "TẠM DỪNG" } else { "THU HỒI" });
    format!(
        "ĐỀ NGHỊ {what} CHỨNG THƯ CHỮ KÝ SỐ CHUYÊN DÙNG CÔNG VỤ\n\
         (NĐ 68/2024/NĐ-CP)\n\n\
         Thuê bao / Holder:            {holder}\n\
         Tên trong chứng thư / Subject: {subject}\n\
         Số hiệu / Serial:             {serial}\n\
         Cơ quan cấp / Issuer:         {issuer}\n\
         Vân tay / SHA-256:            {sha256}\n\
         Lý do / Why:                  {why}\n\
         Từ thời điểm / Since:         {since}\n\
         Người đề nghị / Asked by:     {who}\n\
         Ngày lập / Made:              {made}\n",
        holder = super::request::holder(shell, &key.slot),
        subject = certificate.subject(),
        serial = certificate.serial_text(),
        issuer = certificate.issuer(),
        sha256 = certificate.sha256(),
        why = request.why,
        since = since.in_vietnam(),
        made = clock::now().in_vietnam(),
    )
}

/// What the directory says everybody believes: only where it has the certificate good the declaration is this node's alone.
fn may_undo(shell: &Shell, keys: &[Held], sha256: &Digest, now: Timestamp) -> Result<(), Error> {
    if !shell.is_declared(sha256) {
        return Err(Error::not_now(
            "this key is not declared stolen or lost: there is nothing to take back / Khóa này chưa được khai báo mất: không có gì để rút lại",
        ));
    }
    let Some(directory) = shell.directory() else { return Ok(()) };
    let bound = keys.iter().filter_map(|key| key.bound(shell, &directory));
    let acted = bound.filter(|bound| bound.status_since.is_some_and(|since| since <= now)).map(|bound| bound.status);
    match acted.max() {
        None | Some(KeyStatus::Good) => Ok(()),
        Some(KeyStatus::Suspended) => Err(Error::not_now(
            "the directory has it suspended: the axis operator restores it first (`truc directory certificate SHA256 --restored`), then give this command again / Danh bạ đang ghi tạm dừng: đơn vị vận hành trục khôi phục trước (`truc directory certificate SHA256 --restored`), sau đó chạy lại lệnh này",
        )),
        Some(KeyStatus::Revoked) => Err(Error::not_now(
            "the directory has it revoked, and that is for ever: `truc cert request` asks for another one / Danh bạ đã ghi thu hồi, không khôi phục được: hãy chạy `truc cert request` để xin chứng thư khác",
        )),
    }
}

async fn undo(shell: &Arc<Shell>, keys: &[Held], permit: Permit) -> Result<node_v1::RevokeCertificateReply, Error> {
    let settings = shell.settings.load_full();
    let sha256 = keys.first().map(|key| key.certificate.sha256());
    // Written down first: a crash between leaves a key out of use, and the command is given again.
    permit.done(shell).await?;
    let forget = move || {
        let sha256 = sha256.ok_or_else(|| Error::internal("no key".to_owned()))?;
        settings.stopped.forget(&keys_folder(&settings), &sha256).map_err(disk("take the declaration back"))
    };
    shell.work("taking a declaration back", forget).await??;
    shell.use_keys();
    shell.keys_changed.send_replace(());
    shell.engine.tell(Input::KeyBack).await?; // what was held for want of it
    let done = keys
        .iter()
        .map(|key| format!("{}: in use again as the directory says / {}: dùng lại theo danh bạ", key.slot, key.slot));
    Ok(node_v1::RevokeCertificateReply {
        done: done.collect(),
        next: vec!["tell the axis operator and the authority, if they have the request already, that nothing is to be done / nếu đã gửi đề nghị, báo cho đơn vị vận hành trục và cơ quan cấp chứng thư không xử lý nữa".to_owned()],
        ..node_v1::RevokeCertificateReply::default()
    })
}
