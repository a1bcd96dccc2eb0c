//! The document that the demo sends: a packet as a document system writes it, with a PDF and a 100 MB attachment.

use std::{
    io::{self, Read, Write},
    str::FromStr as _,
};

use anyhow::Context as _;
use data_encoding::BASE64;
use flate2::Crc;
use truc_proto::{
    Digest, ForeignCode, Hasher, Timestamp,
    edxml::{
        Business, Date, Dated, DocumentId, FieldLengths, Message, MessageHeader, Organization, OtherInfo,
        OutgoingAttachment, Packet, SignerInfo, StaffInfo, TraceHeader, TraceHeaderList, write_packet,
    },
};

/// Bytes of the large attachment.
pub(super) const LARGE_BYTES: u64 = 100 * 1024 * 1024;
/// Name of the PDF.
pub(super) const PDF_NAME: &str = "Ke hoach 2714.pdf";
/// Name of the large attachment.
pub(super) const LARGE_NAME: &str = "So lieu kem theo.zip";
/// Stands in the subject; must be found in what was received and nowhere at the relay.
pub(super) const SUBJECT: &str = "Kế hoạch chuyển đổi số của cơ quan nhà nước năm 2027";

/// 64 characters that occur in the packet verbatim: base64 of these 48 bytes, which stand where a group of three begins.
const MARKER_BYTES: [u8; 48] = *b"truc demo: this text must not be seen at a relay";

/// The marker as it stands in the packet's base64.
pub(super) fn marker() -> String {
    BASE64.encode(&MARKER_BYTES)
}

/// What was written, for comparison at the other end.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) document_id: String,
    pub(super) pdf: Digest,
    pub(super) large: Digest,
}

/// Writes the packet from `from` to `to`.
pub(super) fn packet(
    from: (&str, &str),
    to: &[(&str, &str)],
    now: Timestamp,
    seed: u64,
    out: &mut dyn Write,
) -> anyhow::Result<Written> {
    let organ: truc_proto::AgencyId = from.0.parse()?;
    let date = Date::of(now);
    let document_id = DocumentId::compose(&organ, date, "2714", "KH-VPCP");
    let header = MessageHeader {
        from: organization(from)?,
        to: to.iter().copied().map(organization).collect::<Result<_, _>>()?,
        document_id: Some(document_id.clone()),
        code_number: Some("2714".into()),
        code_notation: Some("KH-VPCP".into()),
        place: Some("Hà Nội".into()),
        promulgation_date: Some(Dated::from(date)),
        document_type: Some(2),
        type_name: Some("Kế hoạch".into()),
        subject: Some(SUBJECT.into()),
        content: Some("Gửi các bộ, ngành, địa phương để thực hiện".into()),
        signer: SignerInfo {
            competence: Some("KT. BỘ TRƯỞNG, CHỦ NHIỆM".into()),
            position: Some("Phó Chủ nhiệm".into()),
            full_name: Some("Nguyễn Văn Mẫu".into()),
        },
        other: OtherInfo { priority: Some(1), page_amount: Some(1), ..OtherInfo::default() },
        ..MessageHeader::default()
    };
    let trace = TraceHeaderList {
        business: Some(Business {
            doc_type: Some(0),
            reason: Some("Văn bản mới".into()),
            staff: vec![StaffInfo {
                department: Some("Văn thư".into()),
                staff: Some("Trần Thị Thử".into()),
                ..StaffInfo::default()
            }],
            ..Business::default()
        }),
        traces: vec![TraceHeader { organ_id: header.from.organ_id.clone(), timestamp: Some(Dated::from(now)) }],
        ..TraceHeaderList::default()
    };
    let message = Message::Document(Box::new(Packet { header, trace, ..Packet::default() }));
    let pdf = pdf();
    let mut large = Hashed { inner: NoiseZip::new(seed), hasher: Hasher::default() };
    let mut attachments = [
        OutgoingAttachment {
            content_id: "van-ban".into(),
            name: PDF_NAME.into(),
            description: None,
            content: &mut pdf.as_slice(),
        },
        OutgoingAttachment {
            content_id: "so-lieu".into(),
            name: LARGE_NAME.into(),
            description: None,
            content: &mut large,
        },
    ];
    write_packet(&message, &mut attachments, &FieldLengths::default(), out).context("write the demo's packet")?;
    Ok(Written { document_id, pdf: Digest::of(&pdf), large: large.hasher.finish() })
}

fn organization((code, name): (&str, &str)) -> anyhow::Result<Organization> {
    Ok(Organization {
        organ_id: Some(ForeignCode::from_str(code)?),
        organ_name: Some(name.to_owned()),
        ..Organization::default()
    })
}

/// A short packet as a document system writes it: its bytes and its DocumentId.
pub(super) fn letter(
    from: (&str, &str),
    to: (&str, &str),
    number: &str,
    subject: &str,
    file: (&str, &[u8]),
    now: Timestamp,
) -> anyhow::Result<(Vec<u8>, String)> {
    let date = Date::of(now);
    let document_id = DocumentId::compose(&from.0.parse()?, date, number, "UBND-VP");
    let header = MessageHeader {
        from: organization(from)?,
        to: vec![organization(to)?],
        document_id: Some(document_id.clone()),
        code_number: Some(number.to_owned()),
        code_notation: Some("UBND-VP".into()),
        promulgation_date: Some(Dated::from(date)),
        document_type: Some(2),
        type_name: Some("Công văn".into()),
        subject: Some(subject.to_owned()),
        ..MessageHeader::default()
    };
    let business = Business { doc_type: Some(0), reason: Some("Văn bản mới".into()), ..Business::default() };
    let trace = TraceHeaderList { business: Some(business), ..TraceHeaderList::default() };
    let message = Message::Document(Box::new(Packet { header, trace, ..Packet::default() }));
    let mut content = file.1;
    let attachment = OutgoingAttachment {
        content_id: "cong-van".into(),
        name: file.0.to_owned(),
        description: None,
        content: &mut content,
    };
    let mut bytes = Vec::new();
    write_packet(&message, &mut [attachment], &FieldLengths::default(), &mut bytes).context("write a letter")?;
    Ok((bytes, document_id))
}

/// A one-page PDF with a right cross-reference table.
fn pdf() -> Vec<u8> {
    let text = "BT /F1 18 Tf 72 720 Td (Ke hoach so 2714/KH-VPCP) Tj ET";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 4 0 R >> >> /Contents 5 0 R >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
    ];
    let mut pdf = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (number, object) in (1..).zip(&objects) {
        offsets.push(pdf.len());
        pdf.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let xref = pdf.len();
    let count = objects.len() + 1;
    pdf.push_str(&format!("xref\n0 {count}\n0000000000 65535 f \n"));
    for offset in offsets {
        pdf.push_str(&format!("{offset:010} 00000 n \n"));
    }
    pdf.push_str(&format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n"));
    pdf.into_bytes()
}

/// A ZIP of exactly [`LARGE_BYTES`] with one stored entry: a line of text, the marker, then noise that does not compress.
struct NoiseZip {
    state: u64,
    head: io::Cursor<Vec<u8>>,
    left: u64,
    crc: Crc,
    tail: Option<io::Cursor<Vec<u8>>>,
}

const ENTRY: &[u8; 11] = b"so-lieu.bin";
/// Local header, data descriptor, central header and end record around the one entry.
const ZIP_OVERHEAD_BYTES: u64 = (30 + ENTRY.len() + 16 + 46 + ENTRY.len() + 22) as u64;

impl NoiseZip {
    fn new(seed: u64) -> Self {
        let mut head = b"PK\x03\x04\x14\0\x08\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b\0\0\0".to_vec();
        head.extend_from_slice(ENTRY);
        let data = head.len();
        head.extend_from_slice(b"truc demo: noise follows. ");
        // The marker starts at a multiple of three bytes, so that its base64 is always the same text.
        while !head.len().is_multiple_of(3) {
            head.push(b' ');
        }
        head.extend_from_slice(&MARKER_BYTES);
        let text = head.split_at(data).1;
        let mut crc = Crc::new();
        crc.update(text);
        let left = LARGE_BYTES - ZIP_OVERHEAD_BYTES - text.len() as u64;
        Self { state: seed | 1, head: io::Cursor::new(head), left, crc, tail: None }
    }

    /// What stands behind the data (APPNOTE 4.3.9, 4.3.12, 4.3.16).
    fn tail(&self) -> Vec<u8> {
        let data = u32::try_from(LARGE_BYTES - ZIP_OVERHEAD_BYTES).unwrap_or(u32::MAX).to_le_bytes();
        let sums = [self.crc.sum().to_le_bytes(), data, data].concat();
        let mut tail = [b"PK\x07\x08".as_slice(), &sums].concat();
        let directory = u32::try_from(LARGE_BYTES - 22 - 46 - ENTRY.len() as u64).unwrap_or(u32::MAX);
        tail.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\x08\0\0\0\0\0\x21\0");
        tail.extend_from_slice(&sums);
        tail.extend_from_slice(b"\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        tail.extend_from_slice(ENTRY);
        tail.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x39\0\0\0");
        tail.extend_from_slice(&directory.to_le_bytes());
        tail.extend_from_slice(b"\0\0");
        tail
    }

    fn noise(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // xorshift64*: not random enough for anything but filling a demo file.
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            let bytes = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

impl Read for NoiseZip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        if self.left > 0 {
            let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            let (now, _) = buffer.split_at_mut(want);
            self.noise(now);
            self.crc.update(now);
            self.left -= want as u64;
            return Ok(want);
        }
        let tail = self.tail();
        self.tail.get_or_insert_with(|| io::Cursor::new(tail)).read(buffer)
    }
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use truc_proto::edxml::{Discard, read};

    use super::*;

    #[test]
    fn the_packet_reads_back_with_both_attachments_and_holds_the_marker() {
        let mut bytes = Vec::new();
        let now = "2026-11-22T01:30:00Z".parse().unwrap();
        let written =
            packet(("G22", "Văn phòng Chính phủ"), &[("H26", "UBND thành phố Hà Nội")], now, 7, &mut bytes).unwrap();
        let parsed = read(bytes.as_slice(), &mut Discard).unwrap();
        let digests: Vec<_> = parsed.attachments.iter().map(|a| a.sha256).collect();
        assert_eq!(digests, [written.pdf, written.large]);
        assert_eq!(parsed.attachments[1].bytes, LARGE_BYTES);
        assert_eq!(parsed.warnings, []);
        let mut zip = NoiseZip::new(7);
        let mut file = Vec::new();
        zip.read_to_end(&mut file).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.zip"), file).unwrap();
        if let Ok(done) = std::process::Command::new("unzip").arg("-tq").arg(folder.path().join("a.zip")).output() {
            assert!(done.status.success(), "{done:?}");
        }
        let marker = marker();
        assert_eq!(marker.len(), 64);
        assert!(bytes.windows(64).any(|w| w == marker.as_bytes()));
    }
}
