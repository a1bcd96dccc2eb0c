//! Who may do what, in one table: `docs/ROLES.md` is held together with it by a test.

use truc_proto::CallerRole;

use super::Error;
use crate::tokens::Grant;

use CallerRole::{Auditor, CipherAdmin, Officer, System};

/// What a caller may do at a node, with its token's codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum May {
    /// Send documents and statuses, take documents back.
    Send,
    /// Take documents with their content, and confirm them.
    Receive,
    /// See which documents were sent and received.
    List,
    /// Be called when something happens.
    Webhooks,
    /// Receipts and bundles.
    Receipts,
    /// Counters and deadlines.
    Duties,
    /// Statistics.
    Statistics,
    /// Receiver groups.
    Groups,
    /// The directory.
    Directory,
    /// The node's state.
    State,
    /// What administrators did.
    Log,
    /// Keys, certificates, tokens, backup.
    Administer,
}

impl May {
    /// The rows of the table.
    pub const ALL: [Self; 12] = [
        Self::Send,
        Self::Receive,
        Self::List,
        Self::Webhooks,
        Self::Receipts,
        Self::Duties,
        Self::Statistics,
        Self::Groups,
        Self::Directory,
        Self::State,
        Self::Log,
        Self::Administer,
    ];

    /// The roles that may.
    #[must_use]
    pub const fn roles(self) -> &'static [CallerRole] {
        match self {
            Self::Send | Self::Receive | Self::Webhooks => &[System, Officer],
            Self::List => &[System, Officer, Auditor],
            Self::Receipts | Self::Statistics => &[Officer, Auditor],
            Self::Duties | Self::Groups => &[Officer],
            Self::Directory | Self::State => CallerRole::ALL,
            Self::Log => &[CipherAdmin, Auditor],
            Self::Administer => &[CipherAdmin],
        }
    }

    /// In English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::Send => "send documents, set statuses, take documents back, upload files",
            Self::Receive => "take documents with their content, and confirm them",
            Self::List => "see which documents were sent and received, and search them, without their content",
            Self::Webhooks => "register webhooks",
            Self::Receipts => "get receipts and bundles",
            Self::Duties => "see counters and deadlines",
            Self::Statistics => "make statistics",
            Self::Groups => "keep receiver groups",
            Self::Directory => "search and audit the directory",
            Self::State => "see the node's state and alarms, and the own token's limits",
            Self::Log => "read what administrators did",
            Self::Administer => "administer keys, certificates, tokens and backups, and approve what others ask for",
        }
    }

    /// In Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::Send => "gửi văn bản, đặt trạng thái, lấy lại văn bản, tải tệp lên",
            Self::Receive => "nhận văn bản kèm nội dung và xác nhận",
            Self::List => "xem danh sách và tìm văn bản đã gửi, đã nhận, không kèm nội dung",
            Self::Webhooks => "đăng ký webhook",
            Self::Receipts => "lấy giấy báo nhận và gói bằng chứng",
            Self::Duties => "xem số đếm và thời hạn",
            Self::Statistics => "lập thống kê",
            Self::Groups => "quản lý nhóm nơi nhận",
            Self::Directory => "tra cứu và kiểm tra danh bạ",
            Self::State => "xem trạng thái, cảnh báo của nút và hạn mức của thẻ",
            Self::Log => "đọc nhật ký quản trị",
            Self::Administer => "quản trị khóa, chứng thư số, thẻ truy cập, sao lưu, và chấp thuận đề nghị",
        }
    }
}

impl Grant {
    /// Refuses what this caller's role does not cover.
    pub(crate) fn need(&self, what: May) -> Result<(), Error> {
        if what.roles().contains(&self.role) {
            return Ok(());
        }
        let (name, role) = (&self.name, self.role);
        let roles: Vec<&str> = what.roles().iter().map(|role| role.as_str()).collect();
        let first = roles.first().copied().unwrap_or_default();
        Err(Error::wrong_role(format!(
            "the token `{name}` is of the role {role} ({}), which may not {}; use a token of the role {}: the node's administrator makes one with `truc-node token add NAME --role {first}` / Thẻ `{name}` thuộc vai trò {role} ({}), không được {}; hãy dùng thẻ có vai trò {}: quản trị viên của nút tạo bằng `truc-node token add TÊN --role {first}`",
            role.english(),
            what.english(),
            roles.join(" or "),
            role.vietnamese(),
            what.vietnamese(),
            roles.join(" hoặc "),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: CallerRole) -> Grant {
        Grant { name: "t".into(), role, codes: None, meter: std::sync::Arc::default() }
    }

    #[test]
    fn the_document_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ROLES.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let mut wanted = vec![
            "| may | được | `system` | `officer` | `cipher-admin` | `auditor` |".to_owned(),
            "|---|---|---|---|---|---|".to_owned(),
        ];
        wanted.extend(May::ALL.map(|may| {
            let cell = |role| if may.roles().contains(role) { " yes |" } else { " |" };
            let cells: String = CallerRole::ALL.iter().map(cell).collect();
            format!("| {} | {} |{cells}", may.english(), may.vietnamese())
        }));
        assert_eq!(rows, wanted);
    }

    #[test]
    fn nobody_who_keeps_keys_or_audits_sees_a_document_and_only_who_keeps_keys_changes_them() {
        for may in [May::Send, May::Receive] {
            assert!(of(CipherAdmin).need(may).is_err() && of(Auditor).need(may).is_err());
        }
        assert!(of(CipherAdmin).need(May::List).is_err() && of(CipherAdmin).need(May::Receipts).is_err());
        for role in [System, Officer, Auditor] {
            assert!(of(role).need(May::Administer).is_err(), "{role}");
        }
    }

    #[test]
    fn a_refusal_names_both_roles_and_who_makes_such_a_token_in_both_languages() {
        let refused = of(Officer).need(May::Administer).unwrap_err();
        assert_eq!(refused.kind(), super::super::ErrorKind::WrongRole);
        let (english, vietnamese) = refused.text().split_once(" / ").unwrap();
        for text in [english, vietnamese] {
            assert!(text.contains("officer") && text.contains("--role cipher-admin"), "{text}");
        }
        assert!(vietnamese.contains("quản trị khóa") && refused.vietnamese() == vietnamese);
    }
}
