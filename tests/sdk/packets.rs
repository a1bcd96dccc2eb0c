//! Packets as a document system's software makes them.

use truc_proto::{
    Timestamp,
    edxml::{
        Business, Date, Dated, FieldLengths, Message, MessageHeader, Organization, OtherInfo, OutgoingAttachment,
        Packet, ResponseFor, StaffInfo, StatusPacket, TraceHeaderList, write_packet,
    },
};

/// DocumentId of number `n` of an agency.
pub(crate) fn document_id(from: &str, n: u32) -> String {
    format!("{from},2026/11/20,{n}/KH-THỬ")
}

fn organ(code: &str) -> Organization {
    Organization {
        organ_id: Some(code.parse().unwrap()),
        organ_name: Some(format!("Cơ quan {code}")),
        ..Organization::default()
    }
}

/// A document with one attachment.
pub(crate) fn document(from: &str, to: &[&str], n: u32, name: &str, file: &[u8]) -> Vec<u8> {
    let business = Business { doc_type: Some(0), reason: Some("Văn bản mới".into()), ..Business::default() };
    changing(from, to, n, name, file, business)
}

/// The same, as its Bussiness says.
pub(crate) fn changing(from: &str, to: &[&str], n: u32, name: &str, file: &[u8], business: Business) -> Vec<u8> {
    let header = header(from, to, n);
    let trace = TraceHeaderList { business: Some(business), ..TraceHeaderList::default() };
    let message = Message::Document(Box::new(Packet { header, trace, ..Packet::default() }));
    let mut content = file;
    let attachment = OutgoingAttachment {
        content_id: "0d0d6f3e-0000-4000-8000-000000000001".into(),
        name: name.into(),
        description: None,
        content: &mut content,
    };
    let mut out = Vec::new();
    write_packet(&message, &mut [attachment], &FieldLengths::default(), &mut out).unwrap();
    out
}

/// A status of `from` about document `n` of `issuer`.
pub(crate) fn status(from: &str, issuer: &str, n: u32, code: &str, words: &str) -> Vec<u8> {
    let message = Message::Status(Box::new(StatusPacket {
        from: organ(from),
        response_for: ResponseFor {
            organ_id: Some(issuer.parse().unwrap()),
            code: Some(format!("{n}/KH-THỬ")),
            document_id: Some(document_id(issuer, n)),
            ..ResponseFor::default()
        },
        staff: StaffInfo { staff: Some("Nguyễn Văn An".into()), ..StaffInfo::default() },
        status_code: Some("03".into()),
        description: Some(words.into()),
        timestamp: Some(Timestamp::from_unix_s(1_795_000_000).into()),
    }));
    let mut out = Vec::new();
    write_packet(&message, &mut [], &FieldLengths::default(), &mut out).unwrap();
    // Any code, those too that we do not write ourselves.
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("StatusCode>03<").count(), 1);
    text.replace("StatusCode>03<", &format!("StatusCode>{code}<")).into_bytes()
}

fn header(from: &str, to: &[&str], n: u32) -> MessageHeader {
    MessageHeader {
        from: organ(from),
        to: to.iter().map(|code| organ(code)).collect(),
        document_id: Some(document_id(from, n)),
        code_number: Some(n.to_string()),
        code_notation: Some("KH-THỬ".into()),
        place: Some("Hà Nội".into()),
        promulgation_date: Some(Dated::<Date>::read("2026/11/20")),
        document_type: Some(1),
        type_name: Some("Kế hoạch".into()),
        subject: Some(format!("V/v thử nghiệm số {n}")),
        other: OtherInfo { priority: Some(1), ..OtherInfo::default() },
        ..MessageHeader::default()
    }
}
