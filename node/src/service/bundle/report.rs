//! The report in a bundle: a page that a judge reads, then the technical annex. In Vietnamese; what it says comes from valid receipts alone.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use truc_evidence::{
    Conclusion, ProvenEvent, ProvenStatus, ReceiptReport, ReceiptVerdict, Standing, StatusReport, Together, conclude,
};
use truc_proto::BundleJson;
use truc_report::{Block, Language, Moment, Report, Table, Text};

use crate::records::About;

/// Recipients that the first page names; of more it says how many are where.
const NAMED_ON_FIRST_PAGE: usize = 8;
/// Recipients with a timeline of their own in the annex, and receipts in its table: the rest stands in the bundle.
const IN_ANNEX: usize = 1_000;
/// Points of height for the signature's box.
const SIGNATURE_HEIGHT_PT: f32 = 72.0;

/// What the report is made of.
pub(super) struct Facts<'f> {
    pub(super) about: &'f BundleJson,
    /// Of the sender, where the directory knows it.
    pub(super) sender_name: String,
    /// Of who puts the bundle together.
    pub(super) by_name: String,
    /// The document's description, where its readers may see it.
    pub(super) document: Option<&'f About>,
    /// File names and reports.
    pub(super) receipts: &'f [(String, ReceiptReport)],
    /// The business statuses.
    pub(super) statuses: &'f [StatusReport],
}

pub(super) fn report(facts: &Facts<'_>) -> Report {
    let of_statuses = facts.statuses.iter().flat_map(|status| &status.receipts);
    let all = facts.receipts.iter().chain(of_statuses).map(|(name, report)| (name.as_str(), report));
    let conclusions = conclude(facts.receipts.iter().map(|(_, report)| report), facts.statuses, &Together::of(all));
    let mut blocks = first_page(facts, &conclusions);
    blocks.push(Block::PageBreak);
    blocks.extend(annex(facts, &conclusions));
    Report {
        title: "BÁO CÁO CHỨNG CỨ GIAO NHẬN VĂN BẢN ĐIỆN TỬ".to_owned(),
        footer: format!("Gói tin {} của {}", facts.about.envelope, facts.about.sender),
        language: Language::Vietnamese,
        created: facts.about.made,
        blocks,
    }
}

fn first_page(facts: &Facts<'_>, conclusions: &[Conclusion]) -> Vec<Block> {
    let about = facts.about;
    let valid = facts.receipts.iter().filter(|(_, report)| report.verdict == ReceiptVerdict::Valid).count();
    let mut details = vec![
        ("Bên gửi".to_owned(), Text::plain(format!("{} {}", about.sender, facts.sender_name))),
        ("Gói tin".to_owned(), Text::mono(about.envelope.to_string())),
        ("Trục, luồng".to_owned(), Text::plain(format!("{}, {}", about.axis, about.lane.vietnamese()))),
    ];
    if let Some(document) = facts.document {
        let named = [("Mã văn bản", &document.document_id), ("Trích yếu", &document.subject)];
        let named = named.into_iter().filter(|(_, text)| !text.is_empty());
        details.extend(named.map(|(label, text)| (label.to_owned(), Text::plain(cut(text)))));
        let files = document.attachments.iter().take(NAMED_ON_FIRST_PAGE);
        details.extend(files.map(|file| {
            let hash = Text::mono(HEXLOWER.encode(&file.sha256));
            ("Tệp (SHA-256)".to_owned(), Text::plain(cut(&file.name)).then(hash))
        }));
    }
    details.push(("Biên nhận".to_owned(), Text::plain(format!("{valid} hợp lệ trong {}", facts.receipts.len()))));
    let statuses = facts.statuses.iter().filter(|status| status.verdict == ReceiptVerdict::Valid).count();
    let left_out = match about.statuses_left_out {
        0 => String::new(),
        count => format!("; {count} trạng thái khác không kèm theo"),
    };
    if !facts.statuses.is_empty() || !left_out.is_empty() {
        let text = format!("{statuses} hợp lệ trong {}{left_out}", facts.statuses.len());
        details.push(("Trạng thái xử lý".to_owned(), Text::plain(text)));
    }
    details.push(("Lập bởi".to_owned(), Text::plain(format!("{} {}, nút {}", about.by, facts.by_name, about.node))));
    details.push(("Lập lúc".to_owned(), Text::plain(about.made.in_vietnam())));
    vec![
        Block::Subheading("Ai đã nhận, lúc nào, có thể chối không?".to_owned()),
        Block::Framed(answer(conclusions)),
        Block::Subheading("Văn bản".to_owned()),
        Block::Facts(details),
        Block::Paragraph(Text::plain(
            "Báo cáo này tóm tắt các biên nhận trong bộ chứng cứ kèm theo; giá trị chứng minh nằm ở chính các biên nhận. Mỗi biên nhận do bên thực hiện ký bằng chứng thư số chuyên dùng công vụ, kiểm tra được không cần mạng, không cần hỏi bên nào, kể cả khi trục và các nút không còn, bằng lệnh “truc receipt verify” hoặc trang kiểm tra “verify.html”, với chứng thư gốc và chứng thư của đơn vị vận hành trục lấy từ nguồn tin cậy.",
        )),
        Block::SignatureSpace(SIGNATURE_HEIGHT_PT),
    ]
}

/// One sentence for each recipient, or how many are where.
fn answer(conclusions: &[Conclusion]) -> Vec<Text> {
    if conclusions.is_empty() {
        return vec![Text::strong("Chưa có gì được chứng minh: không có biên nhận nào vừa hợp lệ vừa được tính.")];
    }
    if conclusions.len() <= NAMED_ON_FIRST_PAGE {
        return conclusions.iter().map(sentence).collect();
    }
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    conclusions.iter().for_each(|conclusion| *counts.entry(conclusion.standing).or_default() += 1);
    let total = Text::strong(format!("{} nơi nhận; từng nơi ở phụ lục.", conclusions.len()));
    let lines = counts
        .iter()
        .rev()
        .map(|(standing, count)| Text::strong(format!("{count} nơi nhận: ")).and(Text::plain(standing.vietnamese())));
    let strange = conclusions.iter().filter(|conclusion| is_strange(conclusion)).count();
    let strange = (strange > 0).then(|| {
        Text::strong(format!("{strange} nơi nhận: ")).and(Text::plain("có điểm không khớp cần hỏi lại; xem phụ lục."))
    });
    std::iter::once(total).chain(lines).chain(strange).collect()
}

/// Whether something in it does not go together.
fn is_strange(conclusion: &Conclusion) -> bool {
    !conclusion.remarks.is_empty() || conclusion.events.iter().any(|event| !event.remarks.is_empty())
}

fn sentence(conclusion: &Conclusion) -> Text {
    let at = conclusion.shown_by.as_ref().map_or_else(String::new, |event| {
        let own = format!(" Lúc {} theo đồng hồ của {}", event.time.in_vietnam(), clock_of(event));
        let strange: String = event.remarks.iter().map(|remark| format!(" Lưu ý: {}.", remark.vietnamese())).collect();
        match event.proven_by {
            Some(by) => format!("{own}; dấu thời gian chứng tỏ trước {}.{strange}", by.in_vietnam()),
            None => format!("{own}; không có dấu thời gian độc lập.{strange}"),
        }
    });
    let said = conclusion.statuses.last().map_or_else(String::new, |status| {
        let (code, time) = (status.code, status.time.in_vietnam());
        format!(" Trạng thái gần nhất: {code} {}, {} báo lúc {time}.", code.vietnamese(), status.from)
    });
    Text::strong(format!("{}: ", named(conclusion))).and(Text::plain(format!(
        "{}.{at}{said}{}",
        conclusion.standing.vietnamese(),
        remarks(conclusion)
    )))
}

/// Whose clock an event's time is by.
fn clock_of(event: &ProvenEvent) -> String {
    event.actor.as_ref().map_or_else(|| format!("trục ({})", event.node), ToString::to_string)
}

/// What does not go together, behind a sentence.
fn remarks(conclusion: &Conclusion) -> String {
    conclusion.remarks.iter().map(|remark| format!(" Lưu ý: {}.", remark.vietnamese())).collect()
}

fn named(conclusion: &Conclusion) -> String {
    match &conclusion.name {
        Some(name) => format!("{} {}", conclusion.recipient, cut(name)),
        None => conclusion.recipient.to_string(),
    }
}

fn annex(facts: &Facts<'_>, conclusions: &[Conclusion]) -> Vec<Block> {
    let mut blocks = vec![Block::Heading("PHỤ LỤC KỸ THUẬT".to_owned())];
    for conclusion in conclusions.iter().take(IN_ANNEX) {
        blocks.push(Block::Subheading(named(conclusion)));
        let standing = format!("{}.{}", conclusion.standing.vietnamese(), remarks(conclusion));
        blocks.push(Block::Paragraph(Text::plain(standing)));
        let events = conclusion.events.iter().map(|event| (event.time, of_event(event)));
        let mut moments: Vec<_> =
            events.chain(conclusion.statuses.iter().map(|status| (status.time, of_status(status)))).collect();
        moments.sort_by_key(|(time, _)| *time);
        blocks.push(Block::Timeline(moments.into_iter().map(|(_, moment)| moment).collect()));
    }
    blocks.extend(status_table(facts.statuses));
    blocks.push(Block::Subheading("Biên nhận trong bộ chứng cứ".to_owned()));
    let rows = facts.receipts.iter().take(IN_ANNEX).map(|(name, report)| {
        let leaf = report.summary.as_ref().map(|summary| summary.leaf_hash.to_string()).unwrap_or_default();
        let against = report.against().map(|step| step.vietnamese()).collect::<Vec<_>>().join(" ");
        let mut result = Text::plain(verdict_words(report.verdict));
        let levels = report.summary.iter().flat_map(|summary| &summary.levels);
        let levels = levels.map(|level| level.vietnamese()).collect::<Vec<_>>().join("; ");
        if !levels.is_empty() {
            result = result.then(Text::plain(levels));
        }
        if !against.is_empty() {
            result = result.then(Text::plain(against));
        }
        vec![Text::plain(cut(name)).then(Text::mono(leaf)), result]
    });
    let columns = vec![("Tệp, mã băm của sự kiện".to_owned(), 3), ("Kết quả".to_owned(), 1)];
    blocks.push(Block::Table(Table { columns, rows: rows.collect() }));
    let more = conclusions.len().max(facts.receipts.len()).max(facts.statuses.len()).saturating_sub(IN_ANNEX);
    if more > 0 {
        let text = format!("Phần còn lại ({more} dòng) xem trong bộ chứng cứ: receipts/, statuses/ và checked.json.");
        blocks.push(Block::Paragraph(Text::plain(text)));
    }
    blocks.push(Block::Subheading("Cách kiểm tra".to_owned()));
    blocks.push(Block::Paragraph(Text::plain(
        "Kết quả trên được nút lập báo cáo xét tại thời điểm lập, theo chứng thư gốc, danh sách thu hồi và trả lời OCSP của nút, không theo chính sách bên chứng kiến nào: chữ ký của bên chứng kiến chỉ được đếm. Muốn xét theo chính sách của mình, dùng tham số --policy.",
    )));
    blocks.push(Block::Lines(vec![
        "truc receipt verify BO-CHUNG-CU.zip --trust GOC.pem --operator VAN-HANH.pem --document VAN-BAN".to_owned(),
        "openssl cms -verify -binary -inform DER -in META-INF/signature001.p7s -content META-INF/ASiCManifest.xml -CAfile GOC.pem -purpose any -out /dev/null".to_owned(),
    ]));
    blocks
}

fn of_event(event: &ProvenEvent) -> Moment {
    let actor =
        event.actor.as_ref().map_or_else(|| event.node.to_string(), |code| format!("{code}, nút {}", event.node));
    let mut what = Text::plain(event.event.vietnamese(event.role));
    if let Some(reason) = event.reason {
        what = what.then(Text::plain(format!("Lý do: {}", reason.vietnamese())));
    }
    if let Some(successor) = &event.successor {
        what = what.then(Text::plain(format!("Mã kế thừa: {successor}")));
    }
    what = what.then(Text::plain(format!("{} – {actor}", event.event.name())));
    let signed =
        event.signed_at.map_or_else(String::new, |at| format!("Ký lúc {} theo cùng đồng hồ; ", at.in_vietnam()));
    let proven = event.proven_by.map_or_else(
        || "không có dấu thời gian độc lập".to_owned(),
        |by| format!("dấu thời gian chứng tỏ đã có trước {}", by.in_vietnam()),
    );
    what = what.then(Text::plain(format!("{signed}{proven}")));
    for remark in &event.remarks {
        what = what.then(Text::plain(format!("Lưu ý: {}", remark.vietnamese())));
    }
    Moment { time: event.time.in_vietnam(), what }
}

/// What an agency said, in its words and ours.
fn of_status(status: &ProvenStatus) -> Moment {
    let code = status.code;
    let mut what = Text::plain(format!("Trạng thái {code}: {} ({})", code.vietnamese(), code.english()));
    if let Some(reason) = &status.reason {
        what = what.then(Text::plain(format!("Nội dung: {}", cut(reason))));
    }
    if let Some(staff) = &status.staff {
        what = what.then(Text::plain(format!("Người xử lý: {}", cut(staff))));
    }
    let received =
        status.received.map_or_else(String::new, |at| format!("; đến {} lúc {}", status.to, at.in_vietnam()));
    let stated = status.stated.in_vietnam();
    let basis =
        format!("{} báo {} – {}; được nêu lúc {stated}{received}", status.from, status.to, status.basis.vietnamese());
    what = what.then(Text::plain(basis));
    for remark in &status.remarks {
        what = what.then(Text::plain(format!("Lưu ý: {}", remark.vietnamese())));
    }
    Moment { time: status.time.in_vietnam(), what }
}

/// Each status and what was found of it; none where there are none.
fn status_table(statuses: &[StatusReport]) -> Vec<Block> {
    if statuses.is_empty() {
        return Vec::new();
    }
    let rows = statuses.iter().take(IN_ANNEX).map(|report| {
        let said = report.status.as_ref().map_or_else(String::new, |status| {
            format!("{} {}, {}", status.code, status.code.vietnamese(), status.time.in_vietnam())
        });
        let against = report.against().map(|step| step.vietnamese()).collect::<Vec<_>>().join(" ");
        let mut result = Text::plain(verdict_words(report.verdict));
        if let Some(proven) = &report.proven {
            result = result.then(Text::plain(proven.basis.vietnamese()));
        }
        if !against.is_empty() {
            result = result.then(Text::plain(against));
        }
        vec![Text::plain(said).then(Text::mono(cut(&report.name))), result]
    });
    let columns = vec![("Trạng thái, gói tin của trạng thái".to_owned(), 3), ("Kết quả".to_owned(), 1)];
    vec![
        Block::Subheading("Trạng thái xử lý trong bộ chứng cứ".to_owned()),
        Block::Table(Table { columns, rows: rows.collect() }),
    ]
}

const fn verdict_words(verdict: ReceiptVerdict) -> &'static str {
    match verdict {
        ReceiptVerdict::Valid => "hợp lệ",
        ReceiptVerdict::Invalid => "không hợp lệ",
        ReceiptVerdict::CannotTell => "chưa kết luận được",
    }
}

/// Words of others, no longer than people read.
fn cut(text: &str) -> String {
    const SHOWN: usize = 500;
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
