//! How fast bytes go through: reading a packet with one large attachment, and writing one into a container that is sealed on the way.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use truc_proto::{Digest, edxml};
use truc_signer::{
    asic::ContainerWriter,
    stream::{FileKey, StreamParams, StreamSealer},
};

use crate::report::{Figure, Report, Target, median, scaled};

/// What a node should move at least, so that a large file takes seconds.
const MEGABYTES_PER_SECOND: f64 = 150.0;
const ROUNDS: usize = 3;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let length = usize::try_from(scaled(100, 1) << 20)?;
    let letters = BASE64.encode(&noise(length / 4 * 3)).into_bytes();
    let plain = packet(&letters);
    let wrapped = packet(&letters.chunks(76).collect::<Vec<_>>().join(b"\r\n".as_slice()));
    for (what, packet) in [("edXML read, base64 in one line", plain), ("edXML read, base64 in lines of 76", wrapped)] {
        add(report, what, packet.len(), || {
            let parsed = edxml::read(packet.as_slice(), &mut edxml::Discard)?;
            anyhow::ensure!(parsed.attachments.len() == 1, "the packet has one attachment");
            Ok(None)
        })?;
    }
    add(report, "container written and sealed, base64 text", letters.len(), || seal(&letters))?;
    let dense = noise(length);
    add(report, "container written and sealed, packed bytes", dense.len(), || seal(&dense))?;
    let text = text(length);
    add(report, "container written and sealed, XML text", text.len(), || seal(&text))
}

/// Runs `once` some times; it tells how long its output was, where that matters.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn add(
    report: &mut Report,
    what: &str,
    bytes: usize,
    mut once: impl FnMut() -> anyhow::Result<Option<u64>>,
) -> anyhow::Result<()> {
    let (mut rates, mut packed) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        packed = once()?;
        rates.push(megabytes(bytes) / start.elapsed().as_secs_f64());
    }
    report.add(Figure {
        id: "streams",
        what: what.to_owned(),
        value: median(rates),
        unit: "MB/s",
        target: Some(Target::AtLeast(MEGABYTES_PER_SECOND)),
        from: [
            Some(("of", format!("{:.1} MB", megabytes(bytes)))),
            packed.map(|length| ("packed to", format!("{:.1} MB", length as f64 / 1e6))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn seal(bytes: &[u8]) -> anyhow::Result<Option<u64>> {
    let random = SystemRandom::new();
    let key = FileKey::generate(&random)?;
    let sealer = StreamSealer::new(&key, StreamParams::generate(&random)?, Digest::of(b"preamble"), io::sink());
    let mut writer = ContainerWriter::new(sealer)?;
    writer.begin_entry("packet.edxml", "application/xml", None)?;
    for piece in bytes.chunks(64 * 1024) {
        writer.write_all(piece)?;
    }
    writer.end_entry()?;
    let written = writer.finish(|_| Ok::<_, io::Error>(Vec::new()))?;
    written.sink.finish()?;
    Ok(Some(written.length))
}

/// Bytes that no compressor makes shorter.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Elements that resemble each other, as in a spreadsheet's XML.
fn text(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 128);
    for (number, noise) in noise(length / 8).chunks_exact(4).enumerate() {
        if text.len() >= length {
            break;
        }
        let value = noise.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        text.extend_from_slice(
            format!("<row r=\"{number}\"><c t=\"n\"><v>{value}</v></c><c>Kế hoạch</c></row>\n").as_bytes(),
        );
    }
    text
}

/// A packet of edXML whose one attachment has this base64 content.
pub(crate) fn packet(base64: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(base64.len() + 4_096);
    let mut put = |mut bytes: &[u8]| bytes.read_to_end(&mut packet).map(drop);
    // Reading from memory does not fail.
    let _ = put(HEAD.as_bytes()).and_then(|()| put(base64)).and_then(|()| put(TAIL.as_bytes()));
    packet
}

const HEAD: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n",
    "<edXML:edXML xmlns:edXML=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\"><edXML:edXMLEnvelope><edXML:edXMLHeader>",
    "<edXML:MessageHeader><edXML:From><edXML:OrganId>G22</edXML:OrganId><edXML:OrganName>Bộ Nội vụ</edXML:OrganName>",
    "</edXML:From><edXML:To><edXML:OrganId>H26</edXML:OrganId><edXML:OrganName>UBND thành phố Hà Nội</edXML:OrganName>",
    "</edXML:To><edXML:DocumentId>G22,2026/11/22,1/BNV-VP</edXML:DocumentId>",
    "<edXML:Code><edXML:CodeNumber>1</edXML:CodeNumber><edXML:CodeNotation>BNV-VP</edXML:CodeNotation></edXML:Code>",
    "<edXML:PromulgationInfo><edXML:Place>Hà Nội</edXML:Place>",
    "<edXML:PromulgationDate>2026/11/22</edXML:PromulgationDate></edXML:PromulgationInfo>",
    "<edXML:DocumentType><edXML:Type>2</edXML:Type><edXML:TypeName>Công văn</edXML:TypeName></edXML:DocumentType>",
    "<edXML:Subject>Kế hoạch chuyển đổi số</edXML:Subject></edXML:MessageHeader></edXML:edXMLHeader>",
    "<edXML:edXMLBody><edXML:Manifest><edXML:Reference><edXML:AttachmentName>a.pdf</edXML:AttachmentName>",
    "<edXML:ContentType>pdf</edXML:ContentType></edXML:Reference></edXML:Manifest></edXML:edXMLBody>",
    "</edXML:edXMLEnvelope><edXML:AttachmentEncoded><edXML:Attachment><edXML:ContentType>application/pdf</edXML:ContentType>",
    "<edXML:AttachmentName>a.pdf</edXML:AttachmentName><edXML:ContentTransferEncoded>",
);
const TAIL: &str = "</edXML:ContentTransferEncoded></edXML:Attachment></edXML:AttachmentEncoded></edXML:edXML>\n";
