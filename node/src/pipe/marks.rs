//! Secrecy marks in a document's fields (Luật 117/2025/QH15: Mật, Tối mật, Tuyệt mật).
//!
//! edXML has no field for the level, so people write it where they can. Looked at are the fields where a mark is a mark: a kind of
//! document that *is* the mark, and a subject that begins with the mark set apart. `Mật ong rừng` is honey, not a secret.

use truc_proto::edxml::Message;
use unicode_normalization::UnicodeNormalization as _;

/// A mark that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The edXML field.
    pub(super) field: &'static str,
    /// What it says.
    pub(super) text: &'static str,
}

/// Longer ones first: each contains the last.
const MARKS: [&str; 3] = ["TUYỆT MẬT", "TỐI MẬT", "MẬT"];

/// The first mark in a document's fields.
pub(super) fn secret_mark(message: &Message) -> Option<Mark> {
    let Message::Document(packet) = message else { return None };
    let header = &packet.header;
    let whole = [
        ("TypeName", &header.type_name),
        ("OtherInfo/SphereOfPromulgation", &header.other.sphere),
        ("OtherInfo/TyperNotation", &header.other.typer_notation),
    ];
    let whole = whole.into_iter().filter_map(|(field, text)| Some((field, is_mark(text.as_deref()?)?)));
    let opening = [("Subject", &header.subject), ("Content", &header.content)];
    let opening = opening.into_iter().filter_map(|(field, text)| Some((field, begins_with_mark(text.as_deref()?)?)));
    whole.chain(opening).map(|(field, text)| Mark { field, text }).next()
}

fn upper(text: &str) -> String {
    text.trim().nfc().flat_map(char::to_uppercase).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_mark(text: &str) -> Option<&'static str> {
    let text = upper(text);
    let bare = text.trim_matches(|c| matches!(c, '[' | ']' | '(' | ')' | '*'));
    let bare = bare.strip_prefix("ĐỘ ").unwrap_or(bare);
    MARKS.into_iter().find(|mark| bare.trim_start_matches("MẬT: ") == *mark || bare == *mark)
}

/// `[MẬT] …`, `(Tối mật) …`, `MẬT: …`, `TUYỆT MẬT - …`, or nothing but the mark.
fn begins_with_mark(text: &str) -> Option<&'static str> {
    let text = upper(text.get(..text.char_indices().nth(200).map_or(text.len(), |(end, _)| end)).unwrap_or_default());
    MARKS.into_iter().find(|mark| {
        let Some(start) = text.find(mark) else { return false };
        let (before, rest) = text.split_at(start);
        let after = rest.strip_prefix(mark).unwrap_or_default().trim_start();
        match before.trim() {
            "" => after.is_empty() || after.starts_with([':', '-', '–', '—', '/', '|']),
            "[" => after.starts_with(']'),
            "(" => after.starts_with(')'),
            "ĐỘ MẬT:" | "ĐỘ:" => true,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use truc_proto::edxml::{MessageHeader, Packet};

    use super::*;

    fn subject(text: &str) -> Option<&'static str> {
        let header = MessageHeader { subject: Some(text.to_owned()), ..MessageHeader::default() };
        let message = Message::Document(Box::new(Packet { header, ..Packet::default() }));
        secret_mark(&message).map(|mark| mark.text)
    }

    #[test]
    fn a_mark_set_apart_is_found_and_honey_is_not() {
        assert_eq!(subject("[MẬT] Kế hoạch diễn tập"), Some("MẬT"));
        assert_eq!(subject("(Tối mật) Kế hoạch"), Some("TỐI MẬT"));
        assert_eq!(subject("TUYỆT  MẬT - Báo cáo"), Some("TUYỆT MẬT"));
        assert_eq!(subject("Độ mật: Tối mật. Báo cáo"), Some("TỐI MẬT"));
        assert_eq!(subject("Mật"), Some("MẬT"));
        for plain in
            ["Mật ong rừng U Minh", "Về bảo vệ bí mật nhà nước", "Công tác mật mã", "Kế hoạch [mật khẩu] mới", ""]
        {
            assert_eq!(subject(plain), None, "{plain}");
        }
    }

    #[test]
    fn a_kind_of_document_that_is_a_mark_is_found() {
        let header = MessageHeader { type_name: Some("tối mật".to_owned()), ..MessageHeader::default() };
        let message = Message::Document(Box::new(Packet { header, ..Packet::default() }));
        assert_eq!(secret_mark(&message), Some(Mark { field: "TypeName", text: "TỐI MẬT" }));
    }
}
