//! The end of a key: out of use first, then destroyed, so that a crash between leaves a key that nothing uses, never a use without a key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use truc_proto::{AdminAction, KeyStatus, KeyUse, Timestamp, limits::SETTINGS_BYTES_MAX, node_v1};

use super::{Bound, Held, digest, disk, files_in, keys_folder, named};
use crate::{
    core::Deed,
    service::{
        Error,
        administration::{authorise, record},
        roles::May,
        send::no_directory,
    },
    settings::{
        KeySource, Settings,
        edit::{KeySlot, files_of, remove_key},
    },
    shell::{Shell, clock},
    tokens::{Grant, replace_private},
};

/// Names the files of a key that is being destroyed, a line each.
const DESTROYING: &str = "destroying";

pub(crate) async fn retire(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::RetireCertificateRequest,
) -> Result<node_v1::RetireCertificateReply, Error> {
    grant.need(May::Administer)?;
    let sha256 = digest(shell, &request.certificate)?;
    let _one = shell.changing_keys.lock().await;
    let directory = shell.directory().ok_or_else(no_directory)?;
    let key = shell.held.load().iter().find(|key| key.certificate.sha256() == sha256).cloned();
    let key = key.ok_or_else(|| {
        Error::not_found(format!("no key here has the certificate {sha256} / Không có khóa nào của chứng thư {sha256}"))
    })?;
    let bound = key.bound(shell, &directory);
    let now = clock::now();
    let waiting =
        if key.slot.key_use() == KeyUse::Sealing { super::waiting_for(shell, &key.certificate).await } else { Some(0) };
    may_end(&key, bound.as_ref(), waiting, request.now, now)?;
    let subject = named(&key.slot, &key.certificate);
    let permit = authorise(shell, grant, AdminAction::CertificateRetired, subject, &request.why).await?;
    let deed = permit.deed().clone();
    // Written down before it happens, since it cannot be undone, and after.
    permit.done(shell).await?;
    let done = end_and_record(shell, key, deed).await?;
    tracing::info!(certificate = %sha256, by = grant.name, "key retired and destroyed");
    Ok(node_v1::RetireCertificateReply { done })
}

/// Ends a key, and writes down that it is gone.
pub(super) async fn end_and_record(shell: &Arc<Shell>, key: Held, deed: Deed) -> Result<Vec<String>, Error> {
    let in_token = matches!(key.source, KeySource::Token(_));
    let inner = Arc::clone(shell);
    let done = shell.work("retiring a key", move || end(&inner, &key)).await??;
    if !in_token {
        record(shell, Deed { action: AdminAction::KeyDestroyed, ..deed }, None).await?;
    }
    Ok(done)
}

/// Nothing needs it, or the administrator says that what does is to be made anew.
fn may_end(
    key: &Held,
    bound: Option<&Bound>,
    waiting: Option<u64>,
    regardless: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(bound) = bound else { return Ok(()) };
    let slot = &key.slot;
    if bound.serves(now) {
        let end = bound.end().in_vietnam();
        return Err(Error::not_now(format!(
            "the directory has this certificate of {slot} in force until {end}: `truc cert rotate --overlap-days` ends it with its successor; the axis operator ends or revokes it at once with `truc directory certificate` / Danh bạ còn ghi chứng thư này của {slot} có hiệu lực đến {end}: dùng `truc cert rotate --overlap-days` để kết thúc khi có chứng thư thay thế; đơn vị vận hành trục dừng ngay bằng `truc directory certificate`"
        )));
    }
    if now < bound.from {
        return Err(Error::not_now(format!(
            "the directory has this certificate of {slot} in force later / Danh bạ ghi chứng thư này của {slot} sẽ có hiệu lực"
        )));
    }
    // Whose key may be in other hands must not open anything: what was sealed to it is sealed anew.
    let stolen = bound.status == KeyStatus::Revoked;
    let Some(until) = key.keep_until(bound).filter(|_| !regardless && !stolen) else { return Ok(()) };
    if now < until {
        let until = until.in_vietnam();
        return Err(Error::not_now(format!(
            "until {until} something sealed to it may still arrive; with --now its senders seal it anew by themselves / Đến {until} vẫn có thể có văn bản niêm theo chứng thư này; thêm --now thì bên gửi tự niêm lại"
        )));
    }
    match waiting {
        Some(0) => Ok(()),
        Some(count) => Err(Error::not_now(format!(
            "{count} envelopes at the relay are sealed to it and not delivered yet; with --now their senders seal them anew / Trên trục còn {count} văn bản niêm theo nó chưa giao; thêm --now thì bên gửi tự niêm lại"
        ))),
        None => Err(Error::unavailable(
            "the relay is not there to say whether something sealed to it waits; try again when it is, or use --now / Chưa hỏi được trục còn văn bản nào niêm theo nó không; hãy thử lại sau, hoặc thêm --now",
        )),
    }
}

/// Out of the settings, out of memory, off the disk.
fn end(shell: &Shell, key: &Held) -> Result<Vec<String>, Error> {
    let settings = shell.settings.load_full();
    let files: Vec<PathBuf> = files_of(&key.source).into_iter().map(Path::to_owned).collect();
    let elsewhere = |file: &PathBuf| {
        let mut others = KeySlot::all(&settings).into_iter().flat_map(|slot| slot.sources(&settings).to_vec());
        others.any(|other| other != key.source && files_of(&other).contains(&file.as_path()))
    };
    // What a token's certificate was copied from belongs to others.
    let folder = keys_folder(&settings);
    let ours = |file: &PathBuf| !matches!(key.source, KeySource::Token(_)) || file.starts_with(&folder);
    let own: Vec<PathBuf> = files.into_iter().filter(|file| ours(file) && !elsewhere(file)).collect();
    let list: String = own.iter().map(|file| format!("{}\n", file.display())).collect();
    let note = keys_folder(&settings).join(format!("{}.{DESTROYING}", key.certificate.sha256()));
    replace_private(&note, list.as_bytes()).map_err(disk("note which files are to go"))?;
    remove_key(&settings, &key.slot, &key.source).map_err(|error| {
        let _ = fs::remove_file(&note); // at the next start it is seen that the settings still name them
        Error::not_now(crate::chain(&error))
    })?;
    shell.reload_keys().map_err(|error| Error::internal(format!("{error:#}")))?;
    let mut done = vec![format!("{} is out of use / đã ngừng dùng {}", key.slot, key.slot)];
    if let KeySource::Token(source) = &key.source {
        done.push(format!(
            "the key itself is in the token: delete {source} there with the token's own tool / khóa nằm trong thiết bị: hãy xóa {source} bằng công cụ của thiết bị"
        ));
    }
    for file in &own {
        destroy(file).map_err(disk(&format!("destroy {}", file.display())))?;
        done.push(format!("destroyed {} / đã hủy {}", file.display(), file.display()));
    }
    fs::remove_file(&note).map_err(disk("clear the note of which files are to go"))?;
    let sha256 = key.certificate.sha256();
    if !shell.held.load().iter().any(|held| held.certificate.sha256() == sha256) {
        settings.stopped.forget(&folder, &sha256).map_err(disk("forget what was declared of the key"))?;
    }
    Ok(done)
}

/// Overwritten and removed. What a solid-state disk or a copying file system kept of it, only the disk's own encryption protects; docs/ROTATION.md says so.
pub(crate) fn destroy(file: &Path) -> io::Result<()> {
    match overwrite(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        overwritten => overwritten?,
    }
    fs::remove_file(file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Zeroes in place of what was there, on the device.
pub(crate) fn overwrite(file: &Path) -> io::Result<()> {
    let mut open = OpenOptions::new().write(true).open(file)?;
    let length = usize::try_from(open.metadata()?.len()).unwrap_or(usize::MAX).min(1 << 20);
    open.write_all(&vec![0; length])?;
    open.sync_all()
}

/// Carries out what a crash interrupted: files that settings name no more are destroyed, others stay.
///
/// # Errors
/// When a file cannot be read or removed.
pub(crate) fn finish_destroying(settings: &Settings) -> io::Result<()> {
    let named: Vec<KeySource> =
        KeySlot::all(settings).into_iter().flat_map(|slot| slot.sources(settings).to_vec()).collect();
    for note in files_in(&keys_folder(settings))? {
        if note.extension().is_none_or(|ending| ending != DESTROYING) || fs::metadata(&note)?.len() > SETTINGS_BYTES_MAX
        {
            continue;
        }
        for file in fs::read_to_string(&note)?.lines().map(PathBuf::from) {
            if !named.iter().any(|source| files_of(source).contains(&file.as_path())) {
                destroy(&file)?;
            }
        }
        fs::remove_file(&note)?;
    }
    Ok(())
}
