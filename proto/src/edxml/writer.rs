//! Writes a packet as the SDK's builder does: order, prefixes, CRLF, two spaces; attachments stream from their readers.

use std::io::{self, Read, Write};

use data_encoding::BASE64;
use flate2::{Compression, Crc, write::DeflateEncoder};

use super::{
    element::Element,
    issue::{FieldLengths, IssueError, is_xml_character, issue_check},
    model::{Message, extension_of},
    scanner::NAMESPACE,
    to_element::header_element,
};
use crate::limits::{ATTACHMENTS_MAX, EXTENSION_BYTES_MAX, NAME_BYTES_MAX};

/// A file to send with a packet.
pub struct OutgoingAttachment<'a> {
    /// ContentId without `cid:`; unique in the packet, letters, digits and dashes (a UUID).
    pub content_id: String,
    /// AttachmentName, with its extension.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// The file.
    pub content: &'a mut dyn Read,
}

/// Why a packet was not written (to its end).
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The packet may not be issued; nothing was written.
    #[error("refused to issue")]
    Refused(#[from] IssueError),
    /// A file has no name we may issue; nothing was written.
    #[error(
        "attachment {number} cannot be sent as {name:?}: give it a plain name with an extension, and an id of its own"
    )]
    Attachment {
        /// Which, from 1.
        number: usize,
        /// Its name.
        name: String,
    },
    /// More files than a packet carries, or files with a status; nothing was written.
    #[error("{0} attachments do not go with this packet: a document takes at most {ATTACHMENTS_MAX}, a status none")]
    Count(usize),
    /// A file that must be zipped is 4 GiB or more, which the SDK cannot read.
    #[error("attachment {name:?} is too large to be zipped: send it as .zip or .pdf")]
    TooLong {
        /// Its name.
        name: String,
    },
    /// Reading a file failed.
    #[error("cannot read attachment {name:?}")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write the packet")]
    Sink(#[from] io::Error),
}

/// Extensions that the SDK sends as they are, `xsl` and `xslx` (sic) included; all others go as a ZIP of one entry.
const RAW: [&str; 6] = ["pdf", "doc", "docx", "xsl", "xslx", "zip"];

/// Checks and writes a packet; the manifest is made from `attachments`, `packet.references` is not used.
///
/// # Errors
/// [`WriteError`]; refusals come before the first byte.
pub fn write_packet(
    message: &Message,
    attachments: &mut [OutgoingAttachment<'_>],
    lengths: &FieldLengths,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    issue_check(message, lengths)?;
    check_attachments(message, attachments)?;
    write!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<edXML xmlns=\"{NAMESPACE}\">\r\n")?;
    write!(out, "  <edXML:edXMLEnvelope xmlns:edXML=\"{NAMESPACE}\">\r\n")?;
    write_element(out, &header_element(message), "edXML:", 2)?;
    if matches!(message, Message::Status(_)) {
        write!(out, "  </edXML:edXMLEnvelope>\r\n</edXML>\r\n")?;
        return Ok(());
    }
    write_element(out, &manifest(attachments), "edXML:", 2)?;
    write!(out, "  </edXML:edXMLEnvelope>\r\n")?;
    if attachments.is_empty() {
        write!(out, "  <AttachmentEncoded />\r\n")?;
    } else {
        write!(out, "  <AttachmentEncoded>\r\n")?;
        for attachment in attachments {
            write_attachment(out, attachment)?;
        }
        write!(out, "  </AttachmentEncoded>\r\n")?;
    }
    write!(out, "</edXML>\r\n")?;
    Ok(())
}

fn check_attachments(message: &Message, attachments: &[OutgoingAttachment<'_>]) -> Result<(), WriteError> {
    let count = attachments.len();
    if count > ATTACHMENTS_MAX || count > 0 && matches!(message, Message::Status(_)) {
        return Err(WriteError::Count(count));
    }
    let mut ids = std::collections::BTreeSet::new();
    for (n, attachment) in attachments.iter().enumerate() {
        let id = &attachment.content_id;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let good_id = !id.is_empty() && id.len() <= 100 && id.chars().all(plain) && ids.insert(id);
        let bad = |c: char| matches!(c, '/' | '\\' | '\t' | '\r' | '\n') || c.is_control() || !is_xml_character(c);
        let good_name = attachment.name.len() <= NAME_BYTES_MAX
            && attachment.name == attachment.name.trim()
            && !attachment.name.contains(bad)
            && attachment.description.as_deref().is_none_or(|text| text.chars().all(is_xml_character))
            && extension_of(&attachment.name).is_some_and(|extension| extension.len() <= EXTENSION_BYTES_MAX);
        if !good_id || !good_name {
            return Err(WriteError::Attachment { number: n + 1, name: attachment.name.clone() });
        }
    }
    Ok(())
}

fn is_raw(name: &str) -> bool {
    extension_of(name).is_some_and(|extension| RAW.contains(&extension.as_str()))
}

fn content_type(name: &str) -> String {
    match extension_of(name) {
        Some(extension) if is_raw(name) => format!("application/{extension}"),
        _ => "application/zip".to_owned(),
    }
}

fn manifest(attachments: &[OutgoingAttachment<'_>]) -> Element {
    let references = attachments.iter().map(|attachment| {
        Element::new("Reference")
            .leaf("ContentId", Some(format!("cid:{}", attachment.content_id)))
            .leaf("ContentType", Some(content_type(&attachment.name)))
            .leaf("Description", attachment.description.as_ref())
            .leaf("AttachmentName", Some(&attachment.name))
    });
    let manifest = Element::new("edXMLManifest").attribute("version", Some("1.0"));
    Element::new("edXMLBody").child(references.fold(manifest, Element::child))
}

fn write_attachment(out: &mut dyn Write, attachment: &mut OutgoingAttachment<'_>) -> Result<(), WriteError> {
    let kind = content_type(&attachment.name);
    write!(out, "    <Attachment>\r\n")?;
    let fields = Element::new("")
        .leaf("ContentId", Some(format!("cid:{}", attachment.content_id)))
        .leaf("AttachmentName", Some(&attachment.name))
        .leaf("Description", attachment.description.as_ref())
        .leaf("ContentType", Some(&kind));
    for field in &fields.children {
        write_element(out, field, "", 3)?;
    }
    write!(out, "      <edXML:ContentTransferEncoded xmlns:edXML=\"{NAMESPACE}\">")?;
    let mut encoder = Base64Writer { out, held: Vec::with_capacity(3) };
    let name = attachment.name.clone();
    if is_raw(&name) {
        copy(attachment.content, &mut encoder, &name)?;
    } else {
        zip(attachment, &mut encoder)?;
    }
    let out = encoder.finish()?;
    write!(out, "</edXML:ContentTransferEncoded>\r\n    </Attachment>\r\n")?;
    Ok(())
}

/// Reads to the end; returns how many bytes and their CRC.
fn copy(from: &mut dyn Read, to: &mut dyn Write, name: &str) -> Result<(u64, u32), WriteError> {
    let (mut buffer, mut crc, mut length) = (vec![0; 64 * 1024], Crc::new(), 0_u64);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((length, crc.sum())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(WriteError::Source { name: name.to_owned(), source }),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        crc.update(piece);
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        to.write_all(piece)?;
    }
}

/// One DEFLATE entry with a data descriptor, as Java's ZipOutputStream writes it; dated 1980-01-01, so that the same
/// file always gives the same bytes.
fn zip(attachment: &mut OutgoingAttachment<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    let name = attachment.name.clone();
    let extension = extension_of(&name).unwrap_or_default();
    let plain = extension.len() <= 20 && extension.chars().all(|c| c.is_ascii_alphanumeric());
    let entry = format!("{}.{}", attachment.content_id, if plain { &extension } else { "bin" });
    let entry_bytes = u16::try_from(entry.len()).unwrap_or(u16::MAX).to_le_bytes();
    // Version 2.0, flags: descriptor (8) and UTF-8 name (0x800), method DEFLATE, time 0, date 1980-01-01.
    let common = [20, 0, 8, 8, 8, 0, 0, 0, 0x21, 0];
    out.write_all(b"PK\x03\x04")?;
    out.write_all(&common)?;
    out.write_all(&[0; 12])?;
    out.write_all(&entry_bytes)?;
    out.write_all(&[0, 0])?;
    out.write_all(entry.as_bytes())?;
    let mut deflater = DeflateEncoder::new(Counted { out, bytes: 0 }, Compression::default());
    let (length, crc) = copy(attachment.content, &mut deflater, &name)?;
    let Counted { out, bytes: packed } = deflater.finish()?;
    let narrow = |n: u64| u32::try_from(n).map_err(|_| WriteError::TooLong { name: name.clone() });
    let (packed, length) = (narrow(packed)?, narrow(length)?);
    let sizes = [crc.to_le_bytes(), packed.to_le_bytes(), length.to_le_bytes()].concat();
    out.write_all(b"PK\x07\x08")?;
    out.write_all(&sizes)?;
    let header_bytes = u32::try_from(30 + entry.len()).unwrap_or(u32::MAX);
    let directory_at = header_bytes.checked_add(packed).and_then(|at| at.checked_add(16));
    let directory_at = directory_at.ok_or(WriteError::TooLong { name })?;
    out.write_all(b"PK\x01\x02\x14\x00")?;
    out.write_all(&common)?;
    out.write_all(&sizes)?;
    out.write_all(&entry_bytes)?;
    out.write_all(&[0; 16])?;
    out.write_all(entry.as_bytes())?;
    let directory_bytes = u32::try_from(46 + entry.len()).unwrap_or(u32::MAX);
    out.write_all(b"PK\x05\x06\0\0\0\0\x01\0\x01\0")?;
    out.write_all(&directory_bytes.to_le_bytes())?;
    out.write_all(&directory_at.to_le_bytes())?;
    out.write_all(&[0, 0])?;
    Ok(())
}

struct Counted<'o> {
    out: &'o mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Base64 in one line, three bytes at a time.
struct Base64Writer<'o> {
    out: &'o mut dyn Write,
    held: Vec<u8>,
}

impl<'o> Base64Writer<'o> {
    fn finish(self) -> io::Result<&'o mut dyn Write> {
        self.out.write_all(BASE64.encode(&self.held).as_bytes())?;
        Ok(self.out)
    }
}

impl Write for Base64Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let whole = self.held.len() / 3 * 3;
        let rest = self.held.split_off(whole);
        self.out.write_all(BASE64.encode(&self.held).as_bytes())?;
        self.held = rest;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes an element on lines of its own. Signatures go without prefix, as the SDK writes them.
pub(super) fn write_element(out: &mut dyn Write, element: &Element, prefix: &str, depth: usize) -> io::Result<()> {
    let prefix = if element.name == "Signature" { "" } else { prefix };
    let (indent, name) = (2 * depth, &element.name);
    write!(out, "{:indent$}<{prefix}{name}", "")?;
    for (key, value) in &element.attributes {
        write!(out, " {key}=\"{}\"", escaped(value, true))?;
    }
    if element.children.is_empty() && element.text.is_empty() {
        return write!(out, " />\r\n");
    }
    if element.children.is_empty() {
        return write!(out, ">{}</{prefix}{name}>\r\n", escaped(&element.text, false));
    }
    write!(out, ">\r\n")?;
    for child in &element.children {
        write_element(out, child, prefix, depth + 1)?;
    }
    write!(out, "{:indent$}</{prefix}{name}>\r\n", "")
}

fn escaped(text: &str, attribute: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' if attribute => escaped.push_str("&quot;"),
            // A parser would turn it into LF.
            '\r' => escaped.push_str("&#xD;"),
            '\n' if attribute => escaped.push_str("&#xA;"),
            '\t' if attribute => escaped.push_str("&#x9;"),
            c => escaped.push(c),
        }
    }
    escaped
}
