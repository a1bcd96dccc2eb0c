//! The columns of the tables that officers get.

use truc_proto::node_v1::StatisticsRow;

use super::add;

/// What stands in a cell.
pub(super) enum Cell {
    Text(String),
    Number(u64),
}

/// A column: its heading, and what it takes from a row.
pub(super) type Column = (&'static str, fn(&StatisticsRow) -> Cell);

/// All columns, in their order.
pub(super) const COLUMNS: [Column; 25] = [
    ("Ngày", |row| Cell::Text(row.day.clone())),
    ("Mã cơ quan", |row| Cell::Text(row.code.clone())),
    ("Tên cơ quan", |row| Cell::Text(row.agency_name.clone())),
    ("Văn bản đi", |row| Cell::Number(row.sent_documents)),
    ("Lượt nơi nhận", |row| Cell::Number(row.sent_recipients)),
    ("VB đi khẩn", |row| Cell::Number(row.sent_urgent)),
    ("Dung lượng đi (byte)", |row| Cell::Number(row.sent_bytes)),
    ("Nơi nhận đã nhận", |row| Cell::Number(row.sent_handed_over)),
    ("Chưa gửi", |row| Cell::Number(row.sent_unsent)),
    ("Gửi lỗi", |row| Cell::Number(row.sent_failed)),
    ("Bị trả lại", |row| Cell::Number(row.sent_returned)),
    ("Lấy lại", |row| Cell::Number(row.sent_withdrawn)),
    ("Gửi chậm", |row| Cell::Number(row.sent_late)),
    ("Chậm tiếp nhận", |row| Cell::Number(row.recipients_late)),
    ("TB đến khi bên nhận nhận (giây)", |row| Cell::Number(row.sent_handover_s)),
    ("Văn bản đến", |row| Cell::Number(row.received_documents)),
    ("VB đến khẩn", |row| Cell::Number(row.received_urgent)),
    ("Dung lượng đến (byte)", |row| Cell::Number(row.received_bytes)),
    ("Đã tiếp nhận vào hệ thống", |row| Cell::Number(row.received_handed_over)),
    ("Từ chối tiếp nhận", |row| Cell::Number(row.received_refused)),
    ("Không mở được", |row| Cell::Number(row.received_failed)),
    ("Bên gửi lấy lại", |row| Cell::Number(row.received_withdrawn)),
    ("Tiếp nhận chậm", |row| Cell::Number(row.received_late)),
    ("Trạng thái đã gửi", |row| Cell::Number(row.statuses_sent)),
    ("TB đến khi tiếp nhận (giây)", |row| Cell::Number(row.received_handover_s)),
];

/// All rows of an agency together, by code.
pub(super) fn totals(rows: &[StatisticsRow]) -> Vec<StatisticsRow> {
    let mut totals: std::collections::BTreeMap<&str, StatisticsRow> = std::collections::BTreeMap::new();
    for row in rows {
        let total = totals.entry(&row.code).or_insert_with(|| StatisticsRow {
            code: row.code.clone(),
            agency_name: row.agency_name.clone(),
            ..StatisticsRow::default()
        });
        // Means come together by their weights.
        let mean = |a: (u64, u64), b: (u64, u64)| {
            let sum = a.0.saturating_mul(a.1).saturating_add(b.0.saturating_mul(b.1));
            sum.checked_div(a.1 + b.1).unwrap_or_default()
        };
        total.sent_handover_s =
            mean((total.sent_handover_s, total.sent_handed_over), (row.sent_handover_s, row.sent_handed_over));
        total.received_handover_s = mean(
            (total.received_handover_s, total.received_handed_over),
            (row.received_handover_s, row.received_handed_over),
        );
        add(total, row);
    }
    totals.into_values().collect()
}
