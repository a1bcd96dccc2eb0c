//! What the commands of node and relay say to the administrator, in both languages.

use std::path::{Path, PathBuf};

use truc_proto::BackupHead;
use truc_signer::Certificate;

use super::{BackupContents, BackupError, BackupMade, failed};

/// Reads an administrator's certificate, PEM.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn administrator_certificate(path: &Path) -> Result<Certificate, BackupError> {
    let wrong = |why: String| BackupError::Administrator { subject: path.display().to_string(), why };
    let pem = std::fs::read(path).map_err(failed("read", path))?;
    let certificates = Certificate::from_pem(&pem).map_err(|error| wrong(truc_proto::chain(&error)))?;
    certificates.into_iter().next().ok_or_else(|| wrong("there is no certificate in it".into()))
}

/// What a backup says of itself.
#[must_use]
pub fn describe_backup(head: &BackupHead) -> String {
    let BackupHead { kind, node, origin, made, leaves, root, documents, .. } = head;
    let holders: Vec<&str> = head.halves.iter().map(|half| half.subject.as_str()).collect();
    let (holders, english, vietnamese) = match documents {
        true => (holders.join(" | "), "with sealed documents", "có văn bản đã niêm phong"),
        false => (holders.join(" | "), "without documents", "không có văn bản"),
    };
    format!(
        "{kind} {node}, made {made}: ledger {origin} up to leaf {leaves} (root {root}), {english}; halves of the key: {holders}\n\
         {kind} {node}, sao lưu lúc {made}: sổ {origin} đến dòng {leaves}, {vietnamese}; hai nửa khóa: {holders}"
    )
}

/// What to know of a backup that was made.
#[must_use]
pub fn tell_made(made: &BackupMade, target: &Path) -> String {
    let BackupMade { head, sha256, files, bytes, damaged } = made;
    let mut text =
        format!("{}: {files} files, {bytes} bytes, SHA-256 {sha256}\n{}\n", target.display(), describe_backup(head));
    for path in damaged {
        text.push_str(&format!(
            "{path}: its bytes on the disk are not those that were received; check the disk\n\
             {path}: nội dung trên đĩa không còn đúng như khi nhận; kiểm tra ổ đĩa\n"
        ));
    }
    text.push_str(
        "Read back, whole. Keep it away from this machine; `backup verify` checks a copy.\n\
         Đã đọc lại, đủ và đúng. Cất giữ ở nơi khác; kiểm tra bản sao bằng lệnh `backup verify`.",
    );
    text
}

/// What checking a backup showed; without keys little can be told.
#[must_use]
pub fn tell_verified(contents: Option<BackupContents>) -> String {
    match contents {
        Some(BackupContents { files, bytes }) => format!(
            "Whole: {files} files, {bytes} bytes, every hash holds.\n\
             Đủ và đúng: {files} tệp, {bytes} byte, mọi giá trị băm đều khớp."
        ),
        None => "Unchanged since it was written, as far as can be told without keys; both halves show what is in it.\n\
                 Chưa thay đổi từ khi ghi, trong phạm vi kiểm tra được khi không có khóa; cần hai nửa khóa để xem bên trong."
            .to_owned(),
    }
}

/// What to do with a half that was opened.
#[must_use]
pub fn tell_half(out: &Path) -> String {
    let out = out.display();
    format!(
        "{out}: your half of the key. Carry it to the machine that is restored, and delete it after that.\n\
         {out}: nửa khóa của bạn. Mang đến máy được khôi phục, rồi xóa tệp này."
    )
}

/// What to do with a machine that was restored.
#[must_use]
pub fn tell_restored(
    folder: &Path,
    head: &BackupHead,
    contents: BackupContents,
    outside: &[(PathBuf, PathBuf)],
) -> String {
    let mut text = format!(
        "{}\n{}: {} files, {} bytes\n",
        describe_backup(head),
        folder.display(),
        contents.files,
        contents.bytes
    );
    for (lies, belongs) in outside {
        text.push_str(&format!("{} belongs to / thuộc về {}\n", lies.display(), belongs.display()));
    }
    text.push_str(
        "Make sure that the old machine never runs again, then start this one: it signs nothing before its peers have said whether they know of \
         anything newer (docs/RECOVERY.md).\n\
         Bảo đảm máy cũ không bao giờ chạy lại, rồi khởi động máy này: máy không ký gì cho đến khi các bên cho biết có biết gì mới hơn hay không \
         (docs/RECOVERY.md).",
    );
    text
}
