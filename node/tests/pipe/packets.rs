//! Requests and packets that the tests send.

use bytes::Bytes;
use truc_node::pipeline::Part;
use truc_proto::{
    edxml::{
        self, Date, Dated, FieldLengths, Message, MessageHeader, Organization, OtherInfo, OutgoingAttachment, Packet,
    },
    node_v1::{DocumentForm, FileHeader, PacketForm, SendHeader, send_header::Form},
};

pub(crate) fn packet_header(key: &str) -> SendHeader {
    SendHeader {
        idempotency_key: key.to_owned(),
        sender: "H26".to_owned(),
        recipients: Vec::new(),
        groups: Vec::new(),
        priority: 0,
        priority_from_packet: true,
        level: "ordinary".to_owned(),
        ttl_s: 0,
        form: Some(Form::Packet(PacketForm { length: 0 })),
    }
}

pub(crate) fn document_header(key: &str, recipients: &[&str]) -> SendHeader {
    SendHeader {
        recipients: recipients.iter().map(ToString::to_string).collect(),
        priority: 2,
        priority_from_packet: false,
        form: Some(Form::Document(DocumentForm {
            subject: "Kế hoạch ứng phó bão số 9".to_owned(),
            code_number: "17".to_owned(),
            code_notation: "KH-UBND".to_owned(),
            promulgation_date: "2026/11/22".to_owned(),
            place: "Hà Nội".to_owned(),
            type_name: "Kế hoạch".to_owned(),
            ..DocumentForm::default()
        })),
        ..packet_header(key)
    }
}

pub(crate) fn file(name: &str, content: &[u8]) -> Vec<Part> {
    let header = FileHeader { name: name.to_owned(), content_type: String::new(), length: content.len() as u64 };
    std::iter::once(Part::File(header)).chain(pieces(content)).collect()
}

/// In pieces that fall anywhere.
pub(crate) fn pieces(bytes: &[u8]) -> Vec<Part> {
    bytes.chunks(997).map(|piece| Part::Data(Bytes::copy_from_slice(piece))).collect()
}

pub(crate) struct PacketOf<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a [&'a str],
    pub(crate) subject: &'a str,
    pub(crate) type_name: &'a str,
}

impl Default for PacketOf<'_> {
    fn default() -> Self {
        Self { from: "H26", to: &["H37", "H37.DN.001", "H49"], subject: "Công văn thử", type_name: "Công văn" }
    }
}

impl PacketOf<'_> {
    pub(crate) fn message(&self) -> Message {
        let organization = |code: &str| Organization {
            organ_id: Some(code.parse().unwrap()),
            organ_name: Some(format!("Cơ quan {code}")),
            ..Organization::default()
        };
        let header = MessageHeader {
            from: organization(self.from),
            to: self.to.iter().map(|to| organization(to)).collect(),
            document_id: Some("H26,2026/11/22,1/CV".to_owned()),
            code_number: Some("1".to_owned()),
            code_notation: Some("CV".to_owned()),
            promulgation_date: Some(Dated::from(Date::new(2026, 11, 22).unwrap())),
            type_name: Some(self.type_name.to_owned()),
            subject: Some(self.subject.to_owned()),
            other: OtherInfo { priority: Some(3), ..OtherInfo::default() },
            ..MessageHeader::default()
        };
        Message::Document(Box::new(Packet { header, ..Packet::default() }))
    }

    /// The packet's bytes, as an existing client writes them. Codes of an older form are put in afterwards: nobody issues them.
    pub(crate) fn bytes(&self, files: &[(&str, &[u8])]) -> Vec<u8> {
        let message = Self { from: "H26", ..*self }.message();
        let mut contents: Vec<&[u8]> = files.iter().map(|(_, content)| *content).collect();
        let mut attachments: Vec<OutgoingAttachment<'_>> = files
            .iter()
            .zip(&mut contents)
            .enumerate()
            .map(|(n, ((name, _), content))| OutgoingAttachment {
                content_id: format!("c{n}"),
                name: (*name).to_owned(),
                description: None,
                content,
            })
            .collect();
        let mut bytes = Vec::new();
        edxml::write_packet(&message, &mut attachments, &FieldLengths::default(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.replacen("OrganId>H26<", &format!("OrganId>{}<", self.from), 1).into_bytes()
    }

    /// The same, with the attachments in front of the envelope.
    pub(crate) fn attachments_first(&self, files: &[(&str, &[u8])]) -> Vec<u8> {
        let text = String::from_utf8(self.bytes(files)).unwrap();
        let from = text.find("  <AttachmentEncoded>").unwrap();
        let to = text.find("</AttachmentEncoded>\r\n").unwrap() + "</AttachmentEncoded>\r\n".len();
        let envelope = text.find("  <edXML:edXMLEnvelope").unwrap();
        format!("{}{}{}{}", &text[..envelope], &text[from..to], &text[envelope..from], &text[to..]).into_bytes()
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
