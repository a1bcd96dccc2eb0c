//! What an administrator did to a node: a leaf of that node's own ledger, with who and why.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, NodeId, Statement, Timestamp,
    ids::closed,
    limits::{ADMINISTRATION_SUBJECT_CHARS_MAX, ADMINISTRATION_WHY_CHARS_MAX, ADMINISTRATOR_NAME_CHARS_MAX},
};

closed! {
    /// What a caller of a node's local API is there for.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    CallerRole, "a caller's role: `system`, `officer`, `cipher-admin` or `auditor`" {
        /// A document system.
        System = "system",
        /// A records officer (văn thư).
        Officer = "officer",
        /// Who keeps keys and certificates (quản trị mật mã).
        CipherAdmin = "cipher-admin",
        /// Who checks what was done, and changes nothing.
        Auditor = "auditor",
    }
}

impl CallerRole {
    /// What people call it, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::System => "document system",
            Self::Officer => "records officer",
            Self::CipherAdmin => "cipher administrator",
            Self::Auditor => "auditor",
        }
    }

    /// What people call it, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::System => "hệ thống quản lý văn bản",
            Self::Officer => "văn thư",
            Self::CipherAdmin => "quản trị mật mã",
            Self::Auditor => "kiểm tra, giám sát",
        }
    }
}

closed! {
    /// What was done. Texts for people: [`AdminAction::english`], [`AdminAction::vietnamese`].
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    AdminAction, "an action of docs/FORMATS.md, Administration" {
        /// A key was made and a certificate asked for.
        CertificateRequested = "certificate-requested",
        /// A certificate was taken in.
        CertificateImported = "certificate-imported",
        /// A certificate took over from another.
        CertificateRotated = "certificate-rotated",
        /// A certificate is not used for anything new.
        CertificateRetired = "certificate-retired",
        /// A private key is gone.
        KeyDestroyed = "key-destroyed",
        /// A certificate was revoked.
        CertificateRevoked = "certificate-revoked",
        /// A certificate was suspended.
        CertificateSuspended = "certificate-suspended",
        /// A suspended certificate is in force again.
        CertificateRestored = "certificate-restored",
        /// The storage key has a new epoch.
        StorageKeyRotated = "storage-key-rotated",
        /// A backup was made.
        BackedUp = "backed-up",
        /// The node was made from a backup.
        Restored = "restored",
        /// The ledger goes on under a new origin.
        OriginEpochBegun = "origin-epoch-begun",
        /// A bearer token or client certificate was let in.
        TokenMade = "token-made",
        /// It is let in no more.
        TokenWithdrawn = "token-withdrawn",
        /// A revocation list was taken in by hand.
        RevocationListImported = "revocation-list-imported",
        /// Keys, certificates and trust files were read again.
        SettingsReloaded = "settings-reloaded",
        /// The PIN of a PKCS#11 token was given, by hand.
        PinGiven = "pin-given",
        /// A second administrator agreed to what a first one asked for.
        ApprovalGiven = "approval-given",
        /// A second administrator did not agree, or a first one took back what he asked for.
        ApprovalRefused = "approval-refused",
        /// The relay took a directory version that the operator signed.
        DirectoryPublished = "directory-published",
    }
}

impl AdminAction {
    /// What was done, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::CertificateRequested => "a certificate was requested",
            Self::CertificateImported => "a certificate was imported",
            Self::CertificateRotated => "a certificate took over from another",
            Self::CertificateRetired => "a certificate was retired",
            Self::KeyDestroyed => "a private key was destroyed",
            Self::CertificateRevoked => "a certificate was revoked",
            Self::CertificateSuspended => "a certificate was suspended",
            Self::CertificateRestored => "a suspended certificate was restored",
            Self::StorageKeyRotated => "the storage key was changed",
            Self::BackedUp => "a backup was made",
            Self::Restored => "it was restored from a backup",
            Self::OriginEpochBegun => "the ledger began a new origin epoch",
            Self::TokenMade => "a token was made",
            Self::TokenWithdrawn => "a token was withdrawn",
            Self::RevocationListImported => "a revocation list was imported",
            Self::SettingsReloaded => "keys and trust files were read again",
            Self::PinGiven => "the PIN of a key token was given",
            Self::ApprovalGiven => "a second administrator approved",
            Self::ApprovalRefused => "a request was refused or taken back",
            Self::DirectoryPublished => "a directory version was published",
        }
    }

    /// What was done, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::CertificateRequested => "đã đề nghị cấp chứng thư số",
            Self::CertificateImported => "đã nạp chứng thư số",
            Self::CertificateRotated => "đã thay chứng thư số",
            Self::CertificateRetired => "đã ngừng dùng chứng thư số",
            Self::KeyDestroyed => "đã hủy khóa bí mật",
            Self::CertificateRevoked => "chứng thư số đã bị thu hồi",
            Self::CertificateSuspended => "chứng thư số đã tạm dừng",
            Self::CertificateRestored => "chứng thư số đã khôi phục",
            Self::StorageKeyRotated => "đã thay khóa lưu trữ",
            Self::BackedUp => "đã sao lưu",
            Self::Restored => "đã khôi phục từ bản sao lưu",
            Self::OriginEpochBegun => "sổ đã sang kỳ mới",
            Self::TokenMade => "đã tạo thẻ truy cập",
            Self::TokenWithdrawn => "đã thu hồi thẻ truy cập",
            Self::RevocationListImported => "đã nạp danh sách thu hồi",
            Self::SettingsReloaded => "đã đọc lại khóa và tệp tin cậy",
            Self::PinGiven => "đã nhập mã PIN của thiết bị lưu khóa",
            Self::ApprovalGiven => "người thứ hai đã chấp thuận",
            Self::ApprovalRefused => "đề nghị đã bị từ chối hoặc rút lại",
            Self::DirectoryPublished => "đã phát hành phiên bản danh bạ",
        }
    }
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Administrator {
    /// The name of the token or client certificate; of who sat at the machine, as given; of the node, where it acted by itself.
    pub name: String,
    /// In which role; a node that acts by itself is a `system`.
    pub role: CallerRole,
}

impl Administrator {
    /// The node itself, where it does what its settings say without being asked.
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self { name: node.to_string(), role: CallerRole::System }
    }
}

/// What something was done to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdminSubject {
    /// In words: a certificate's subject, a token's name, a file's, an epoch.
    pub name: String,
    /// SHA-256 of the certificate, the file or the request that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

impl AdminSubject {
    /// Something that a name says enough of.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), sha256: None }
    }

    /// A certificate, a file or a request.
    #[must_use]
    pub fn with_hash(name: impl Into<String>, sha256: Digest) -> Self {
        Self { name: name.into(), sha256: Some(sha256) }
    }
}

/// What an administrator did, and why: a leaf of the ledger of the node that it was done to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Administration {
    /// Whose ledger it stands in.
    pub node: NodeId,
    /// When, by that node's clock.
    pub time: Timestamp,
    /// What was done.
    pub action: AdminAction,
    /// To what.
    pub subject: AdminSubject,
    /// Who asked for it.
    pub who: Administrator,
    /// Who agreed to it, where two had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Administrator>,
    /// Why, in the administrator's words.
    pub why: String,
    /// When it was done, where it was written down later: the node did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
}

impl Statement for Administration {
    const TYPE: &'static str = "administration";

    fn check(&self) -> Result<(), String> {
        line("who.name", &self.who.name, ADMINISTRATOR_NAME_CHARS_MAX)?;
        line("subject.name", &self.subject.name, ADMINISTRATION_SUBJECT_CHARS_MAX)?;
        line("why", &self.why, ADMINISTRATION_WHY_CHARS_MAX)?;
        let Some(second) = &self.approved_by else { return Ok(()) };
        line("approved_by.name", &second.name, ADMINISTRATOR_NAME_CHARS_MAX)?;
        if second.name == self.who.name {
            return Err(format!("`{}` cannot approve what `{0}` asked for", second.name));
        }
        Ok(())
    }
}

/// Text of one line that shows as it is written: nothing empty, no control character, nothing that turns the direction of reading.
pub(crate) fn line(field: &str, text: &str, chars_max: usize) -> Result<(), String> {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(bad) {
        return Err(format!(
            "`{field}` is not 1 to {chars_max} characters in one line, without control and invisible characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Raw, StatementError};

    fn retired() -> Administration {
        let person = |name: &str| Administrator { name: name.into(), role: CallerRole::CipherAdmin };
        Administration {
            node: "N-H26".parse().unwrap(),
            time: Timestamp::from_unix_s(5),
            action: AdminAction::CertificateRetired,
            subject: AdminSubject::with_hash("CN=UBND tỉnh,C=VN", Digest::of(b"certificate")),
            who: person("lan"),
            approved_by: Some(person("minh")),
            why: "hết hạn ngày 01/12".into(),
            done: None,
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Administration), because: &str) {
        let mut statement = retired();
        change(&mut statement);
        match Raw::write(statement) {
            Err(StatementError::Inconsistent { why, .. }) => assert!(why.contains(because), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_done_is_written_with_who_and_why_and_read_back() {
        let raw = Raw::write(retired()).unwrap();
        assert_eq!(*Raw::<Administration>::parse(raw.bytes().clone()).unwrap(), retired());
        let alone = Administration { approved_by: None, ..retired() };
        let text = String::from_utf8(Raw::write(alone).unwrap().bytes().to_vec()).unwrap();
        assert!(
            !text.contains("approved_by") && text.contains(r#""who":{"name":"lan","role":"cipher-admin"}"#),
            "{text}"
        );
    }

    #[test]
    fn nobody_approves_his_own_and_every_text_is_one_readable_line() {
        refused(|s| s.approved_by = Some(s.who.clone()), "cannot approve");
        refused(|s| s.why = "  ".into(), "`why`");
        refused(|s| s.why = "two\nlines".into(), "`why`");
        refused(|s| s.why = "x".repeat(ADMINISTRATION_WHY_CHARS_MAX + 1), "`why`");
        refused(|s| s.subject.name = "a\u{202E}b".into(), "`subject.name`");
        refused(|s| s.who.name = "x".repeat(ADMINISTRATOR_NAME_CHARS_MAX + 1), "`who.name`");
        let action = String::from_utf8(Raw::write(retired()).unwrap().bytes().to_vec()).unwrap();
        let other = action.replace("certificate-retired", "certificate-eaten");
        assert!(matches!(Raw::<Administration>::parse(other.into_bytes()), Err(StatementError::Malformed { .. })));
    }
}
