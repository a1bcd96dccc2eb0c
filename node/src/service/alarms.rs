//! What needs a person's attention, in the words of both languages. The core and the shell say in English what happened;
//! here stands, per kind of alarm, the Vietnamese with what to do next.

use crate::core::Alarm;

/// The text that people read: English, then Vietnamese.
pub(super) fn bilingual(alarm: &Alarm, english: &str) -> String {
    format!("{english} / {}", vietnamese(alarm))
}

fn vietnamese(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Fork(node) => format!(
            "{node} đưa ra hai lịch sử khác nhau của sổ cái; cả hai điểm chốt được giữ lại (store/forks, xem bằng `truc fork show`) và nút không nhận gì thêm từ đó. Báo ngay đơn vị vận hành trục"
        ),
        Alarm::BehindOwnHistory => "Trục giữ lịch sử mới hơn nút này: nút đã khôi phục từ bản sao cũ và không ký gì nữa. Khôi phục bản mới hơn, hoặc chuyển sổ sang kỳ mới bằng `truc-node recover` (docs/RECOVERY.md)".to_owned(),
        Alarm::Restored => "Nút vừa khôi phục từ bản sao lưu: chưa ký gì cho đến khi trục cho biết có biết lịch sử mới hơn hay không. Kiểm tra kết nối tới trục; nếu trục không có gì để so, xem docs/RECOVERY.md".to_owned(),
        Alarm::NewOrigin => "Sổ của nút đã sang kỳ mới nhưng danh bạ chưa ghi sổ mới: nút chưa ký gì. Gửi tệp .binding của kỳ mới cho đơn vị vận hành trục để công bố".to_owned(),
        Alarm::Withholding => "Danh sách gói tin chưa giao mà trục ký không khớp với bằng chứng của nút. Báo đơn vị vận hành trục".to_owned(),
        Alarm::DirectoryStale => "Danh bạ đã hết hạn hoặc chưa có: văn bản gửi mới có thể bị giữ lại. Kiểm tra kết nối tới trục; nếu vẫn vậy, yêu cầu đơn vị vận hành trục phát hành danh bạ mới".to_owned(),
        Alarm::DirectoryRefused => "Một phiên bản danh bạ không được chấp nhận; bản đang dùng vẫn có hiệu lực. Báo đơn vị vận hành trục".to_owned(),
        Alarm::DirectoryGap => "Danh bạ mới đến mà thiếu các phiên bản ở giữa: nút chưa xem các phiên bản đó gắn gì với mã của mình. Chạy `truc directory audit` cho từng mã của cơ quan".to_owned(),
        Alarm::ForeignBinding(code) => format!(
            "Danh bạ gắn mã {code} với nút hoặc chứng thư không phải của nút này. Nếu cơ quan không yêu cầu việc đó, báo ngay đơn vị vận hành trục"
        ),
        Alarm::Overdue(envelope) => format!(
            "Gói tin {envelope} quá hạn mà chưa đến đủ các bên nhận. Hỏi bên nhận, sau đó báo đơn vị vận hành trục"
        ),
        Alarm::Unusable(envelope) => format!(
            "Gói tin đến {envelope} chưa xử lý được; nút tự thử lại. Nếu kéo dài, quản trị viên xem lý do trong nhật ký"
        ),
        Alarm::Reseal(envelope, code) => format!(
            "Chưa lập được gói tin thay thế {envelope} cho {code}; nút tự thử lại. Kiểm tra khóa ký và danh bạ"
        ),
        Alarm::KeyAway => "Khóa ký hoặc khóa giải mã của nút không dùng được; văn bản chờ đến khi có khóa. Quản trị viên kiểm tra tệp khóa hoặc thiết bị lưu khóa".to_owned(),
        Alarm::TlsKeyAway => "Khóa dùng cho kết nối (TLS) không ký được nên nút không kết nối được với trục; văn bản chờ đến khi có khóa. Quản trị viên kiểm tra tệp khóa hoặc thiết bị lưu khóa".to_owned(),
        Alarm::CertificatesEnd => "Có chứng thư số sắp hết hạn: xem bằng `truc cert status`, xin chứng thư mới bằng `truc cert request`".to_owned(),
        Alarm::TimeStamps => "Chưa lấy được dấu thời gian: biên nhận vẫn được cấp, không có dấu thời gian; nút tự thử lại. Nếu kéo dài, quản trị viên kiểm tra [time_stamps] và mạng".to_owned(),
        Alarm::RevocationUnknown => "Không nạp được khóa, chứng thư tin cậy hoặc danh sách thu hồi; bản cũ vẫn có hiệu lực. Quản trị viên sửa tệp rồi nạp lại (SIGHUP)".to_owned(),
        Alarm::RevocationLate => "Danh sách thu hồi đã quá hạn cập nhật: chứng thư không có tên trong đó chưa rõ tình trạng; văn bản vẫn được chuyển. Quản trị viên tải danh sách mới ([revocation]) hoặc nạp từ tệp (truc-node crl import)".to_owned(),
        Alarm::OwnRevoked => "Chứng thư của chính nút này đã bị thu hồi hoặc tạm dừng và không ký gì nữa. Quản trị viên xin cấp chứng thư mới và thay ngay; nếu lộ khóa, báo đơn vị vận hành trục".to_owned(),
        Alarm::BadEvidence(node) => format!("Bằng chứng của {node} không hợp lệ và không được nhận. Báo đơn vị vận hành trục"),
        Alarm::EvidenceHeld(node) => format!(
            "Bằng chứng của {node} chưa kiểm tra được; nút giữ lại và tự kiểm tra lại. Nếu kéo dài, quản trị viên kiểm tra danh bạ, chứng thư tin cậy và đồng hồ"
        ),
        Alarm::EvidenceRefused(envelope) => format!(
            "Trục từ chối hẳn bằng chứng của nút về gói tin {envelope}; nút không gửi lại, biên nhận vẫn lưu tại nút. Báo đơn vị vận hành trục"
        ),
        Alarm::EvidenceWaits(envelope) => format!(
            "Trục chưa nhận bằng chứng của nút về gói tin {envelope}; nút tự gửi lại. Nếu kéo dài, báo đơn vị vận hành trục"
        ),
        Alarm::Gateway => "Trục hiện hành chưa nhận được văn bản từ nút này; nút tự thử lại. Nếu kéo dài, quản trị viên kiểm tra [gateway], mạng và khóa bí mật (truc-node gateway check)".to_owned(),
        Alarm::GatewayMail => "Chưa lấy được văn bản đến từ trục hiện hành; nút tự thử lại. Nếu kéo dài, quản trị viên kiểm tra [gateway], mạng và khóa bí mật (truc-node gateway check)".to_owned(),
        Alarm::GatewayRefused => "Một văn bản đến từ trục hiện hành bị từ chối vì không an toàn hoặc không đọc được; trục hiện hành đã được báo `fail`. Liên hệ nơi gửi nếu cần".to_owned(),
        Alarm::LegacyInDoubt(envelope, code) => format!(
            "Gói tin {envelope} gửi {code} qua trục hiện hành không có trả lời: có thể đã đến. Hỏi {code} trước khi gửi lại"
        ),
        Alarm::Index => "Chỉ mục tra cứu đang được dựng lại; văn bản đã đóng tạm thời chưa tra cứu được".to_owned(),
        Alarm::DiskFull => "Ổ đĩa của nút gần đầy: không nhận thêm văn bản. Quản trị viên phải giải phóng dung lượng".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_is_told_in_both_languages() {
        let envelope = "01890000-0000-7000-8000-000000000000".parse().unwrap();
        let (node, code): (truc_proto::NodeId, truc_proto::AgencyId) = ("R1".parse().unwrap(), "H26".parse().unwrap());
        for alarm in [
            Alarm::Fork(node.clone()),
            Alarm::BehindOwnHistory,
            Alarm::Restored,
            Alarm::NewOrigin,
            Alarm::Withholding,
            Alarm::DirectoryStale,
            Alarm::DirectoryRefused,
            Alarm::DirectoryGap,
            Alarm::ForeignBinding(code.clone()),
            Alarm::Overdue(envelope),
            Alarm::Unusable(envelope),
            Alarm::Reseal(envelope, code.clone()),
            Alarm::KeyAway,
            Alarm::TlsKeyAway,
            Alarm::TimeStamps,
            Alarm::CertificatesEnd,
            Alarm::RevocationUnknown,
            Alarm::RevocationLate,
            Alarm::OwnRevoked,
            Alarm::BadEvidence(node.clone()),
            Alarm::EvidenceHeld(node),
            Alarm::EvidenceRefused(envelope),
            Alarm::EvidenceWaits(envelope),
            Alarm::Gateway,
            Alarm::GatewayMail,
            Alarm::GatewayRefused,
            Alarm::LegacyInDoubt(envelope, code),
            Alarm::Index,
            Alarm::DiskFull,
        ] {
            let text = bilingual(&alarm, "what happened");
            let vietnamese = text.strip_prefix("what happened / ").unwrap();
            assert!(!vietnamese.is_ascii(), "{alarm:?}: {vietnamese}");
            assert!(Alarm::KINDS.contains(&alarm.kind()), "{alarm:?}");
        }
    }
}
