//! A report like those beside a bundle of receipts: a page that answers the question, then the technical annex.

use truc_proto::{Digest, Timestamp};
use truc_report::{Block, Language, Moment, Report, Table, Text};

const RECIPIENTS: u32 = 20;

pub(crate) fn sample() -> Report {
    let mut blocks = first_page();
    blocks.push(Block::PageBreak);
    blocks.extend(annex());
    Report {
        title: "BÁO CÁO KIỂM TRA BIÊN NHẬN VĂN BẢN ĐIỆN TỬ".into(),
        footer: "Biên nhận của Quyết định số 1234/QĐ-UBND ngày 20/11/2026".into(),
        language: Language::Vietnamese,
        created: Timestamp::from_unix_s(1_795_312_800),
        blocks,
    }
}

fn hash(of: &str) -> String {
    Digest::of(of.as_bytes()).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_page() -> Vec<Block> {
    vec![
        Block::Framed(vec![
            Text::strong("Câu hỏi: ").and("Ai đã nhận gì, khi nào, và có thể chối bỏ được không?"),
            Text::strong("Trả lời: ").and(
                "Không. Cả 20 nơi nhận đều đã nhận đúng văn bản này; mỗi nơi đã ký xác nhận và không thể chối bỏ việc nhận.",
            ),
        ]),
        Block::Heading("1. Văn bản".into()),
        Block::Facts(vec![
            ("Trích yếu".into(), "Về việc phê duyệt kế hoạch chuyển đổi số giai đoạn 2026–2030 của thành phố; giao các sở, ban, ngành tổ chức thực hiện".into()),
            ("Số, ký hiệu".into(), "Quyết định số 1234/QĐ-UBND ngày 20/11/2026".into()),
            ("Nơi gửi".into(), "Ủy ban nhân dân thành phố Hà Nội (H26)".into()),
            ("Thời điểm gửi".into(), "20/11/2026 08:30:00 +07:00".into()),
            ("Mã băm SHA-256".into(), Text::mono(hash("content"))),
        ]),
        Block::Heading("2. Diễn biến".into()),
        Block::Timeline(vec![
            Moment { time: "20/11/2026 08:30:00".into(), what: Text::strong("Nơi gửi ký và gửi văn bản").then("Chữ ký số của Ủy ban nhân dân thành phố Hà Nội; ghi vào sổ của nơi gửi, mục số 4711.") },
            Moment { time: "20/11/2026 08:30:02".into(), what: Text::strong("Trục liên thông tiếp nhận").then("Trục xác nhận đã nhận bản niêm phong; trục không đọc được nội dung.") },
            Moment { time: "20/11/2026 08:31:15".into(), what: Text::strong("Nơi nhận đầu tiên nhận văn bản").then("Sở Thử nghiệm số 1 mở niêm phong, tính lại mã băm và ký xác nhận.") },
            Moment { time: "20/11/2026 16:58:40".into(), what: Text::strong("Nơi nhận cuối cùng bàn giao cho văn thư").then("Đủ 20/20 nơi nhận; không có nơi nào trả lại.") },
        ]),
        Block::Heading("3. Vì sao không thể chối bỏ".into()),
        Block::Paragraph("Mỗi bước trên đây được ghi vào sổ chỉ thêm, không sửa của từng bên và được chính bên đó ký bằng chứng thư số còn hiệu lực vào thời điểm ký. Không một bên nào, kể cả đơn vị vận hành trục, có thể xóa, lùi ngày hoặc sửa một mục mà không để lại mâu thuẫn với chữ ký của chính mình.".into()),
        Block::Paragraph(Text::strong("Cách kiểm tra lại: ").and("mở tệp kèm theo bằng trang kiểm tra ngoại tuyến hoặc chạy lệnh sau trên một máy tính không nối mạng:")),
        Block::Lines(vec!["truc receipt verify bien-nhan-1234-QD-UBND.zip --trust goc-tin-cay.pem --operator don-vi-van-hanh.pem --document quyet-dinh-1234.pdf".into()]),
    ]
}

fn annex() -> Vec<Block> {
    let row = |number: u32| {
        vec![
            Text::plain(number.to_string()),
            Text::strong(format!("Sở Thử nghiệm số {number} – phường Nghĩa Đô")).then(format!("H26.{number:03}.DV")),
            Text::plain("Đã nhận vào kho: 20/11/2026 08:31:15 +07:00")
                .then("Văn thư đã lấy: 20/11/2026 09:02:47 +07:00")
                .then("Trạng thái nghiệp vụ: 03 – Đã tiếp nhận"),
            Text::mono(hash(&format!("leaf {number}"))),
        ]
    };
    vec![
        Block::Heading("PHỤ LỤC KỸ THUẬT".into()),
        Block::Subheading("A. Biên nhận theo nơi nhận".into()),
        Block::Table(Table {
            columns: vec![
                ("TT".into(), 7),
                ("Nơi nhận".into(), 30),
                ("Sự kiện và thời điểm".into(), 42),
                ("Mã băm của mục trong sổ".into(), 36),
            ],
            rows: (1..=RECIPIENTS).map(row).collect(),
        }),
        Block::Subheading("B. Chứng thư số đã dùng".into()),
        Block::Facts(vec![
            (
                "Nơi gửi".into(),
                Text::plain("CN=Ủy ban nhân dân thành phố Hà Nội, O=UBND, L=Hà Nội, C=VN")
                    .then(Text::mono(hash("sender"))),
            ),
            (
                "Đơn vị vận hành trục".into(),
                Text::plain("CN=Cục Chuyển đổi số quốc gia, O=Bộ Khoa học và Công nghệ, C=VN")
                    .then(Text::mono(hash("operator"))),
            ),
        ]),
        Block::Subheading("C. Điểm kiểm tra đã ký".into()),
        Block::Lines((1..=6).map(|n| format!("{n:>6} {}", hash(&format!("checkpoint {n}")))).collect()),
    ]
}
