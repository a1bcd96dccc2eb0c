//! Delivers a received packet: the same bytes, with our hops' TraceHeaders put in.
//!
//! Signatures met on the axis cover the whole document and break at the next hop anyway (they prove nothing); what
//! proves origin is the container the packet came in. So a packet is touched in one place only and nowhere else.

use std::io::{self, Read, Write};

use super::{
    error::ReadError,
    model::TraceHeader,
    scanner::{Fault, Scanner, Tag, Token},
    to_element::trace_header,
    writer::write_element,
};

/// Why a packet was not delivered to its end.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The original cannot be read.
    #[error("cannot read the packet to deliver")]
    Read(#[source] ReadError),
    /// Writing failed.
    #[error("cannot write the delivered packet")]
    Write(#[from] io::Error),
}

impl From<ReadError> for DeliveryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sink(error) => Self::Write(error),
            other => Self::Read(other),
        }
    }
}

/// Copies a packet and appends `traces` to its TraceHeaderList, which is made when there is none.
///
/// Everything else keeps its bytes. A status packet has no such list and stays as it is. UTF-16, which existing clients
/// destroy, becomes UTF-8. Constant memory; the packet is held to the same bounds as in [`super::read()`].
///
/// # Errors
/// [`DeliveryError`].
pub fn render_delivery(original: impl Read, traces: &[TraceHeader], out: &mut dyn Write) -> Result<(), DeliveryError> {
    let mut scanner = Scanner::new(original, true)?;
    let mut copy = Copy { out, traces, prefix: String::new(), placed: false, status: false, first: true };
    loop {
        let token = scanner.next()?;
        if let Token::Start(tag) = &token
            && tag.name == "ContentTransferEncoded"
        {
            copy.pass(scanner.source().drain())?;
            let out = &mut *copy.out;
            scanner.content(0, &mut |source, _| out.write_all(&source.drain()).map_err(Fault::Sink))?;
            continue;
        }
        let utf16 = scanner.source().is_utf16();
        let bytes = scanner.source().drain();
        let bytes = if std::mem::take(&mut copy.first) && utf16 { utf8_declaration(&bytes) } else { bytes };
        match token {
            Token::Start(tag) => copy.start(&tag, scanner.path(), bytes)?,
            Token::End => {
                let closed = scanner.closed().to_owned();
                copy.end(&closed, scanner.path(), bytes)?;
            }
            Token::Text(_) => copy.pass(bytes)?,
            Token::Eof => return Ok(copy.pass(bytes)?),
        }
    }
}

struct Copy<'c> {
    out: &'c mut dyn Write,
    traces: &'c [TraceHeader],
    /// With its colon, as the header or list has it: in scope wherever they are.
    prefix: String,
    placed: bool,
    status: bool,
    first: bool,
}

fn is_header(path: &[String]) -> bool {
    matches!(path, [_, envelope, header] if envelope == "edXMLEnvelope" && header == "edXMLHeader")
}

impl Copy<'_> {
    fn pass(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.out.write_all(&bytes)
    }

    fn start(&mut self, tag: &Tag, path: &[String], bytes: Vec<u8>) -> io::Result<()> {
        let (last, parents) = path.split_last().map_or(("", path), |(last, parents)| (last.as_str(), parents));
        let in_message =
            matches!(parents.split_last(), Some((message, header)) if message == "MessageHeader" && is_header(header));
        self.status |= in_message && last == "StatusCode";
        let list = is_header(parents) && last == "TraceHeaderList";
        if is_header(path) || list {
            self.prefix = tag.qualified.strip_suffix(&tag.name).unwrap_or_default().to_owned();
        }
        if !(list && tag.empty) || self.traces.is_empty() {
            return self.pass(bytes);
        }
        // `<TraceHeaderList/>` opens up: the tag's own bytes up to the slash stay.
        let slash = bytes.iter().rposition(|b| *b == b'/').unwrap_or(bytes.len());
        self.out.write_all(bytes.get(..slash).unwrap_or_default().trim_ascii_end())?;
        write!(self.out, ">\r\n      ")?;
        self.place()?;
        write!(self.out, "</{}>", tag.qualified)
    }

    fn end(&mut self, closed: &str, parents: &[String], bytes: Vec<u8>) -> io::Result<()> {
        let list = closed == "TraceHeaderList" && is_header(parents);
        // An empty element was dealt with at its start and has no end tag's bytes.
        if list && !bytes.is_empty() && !self.traces.is_empty() {
            self.place()?;
        }
        let header = closed == "edXMLHeader"
            && matches!(parents, [_, envelope] if envelope == "edXMLEnvelope")
            && !bytes.is_empty();
        if header && !self.placed && !self.status && !self.traces.is_empty() {
            write!(self.out, "  <{}TraceHeaderList>\r\n      ", self.prefix)?;
            self.place()?;
            write!(self.out, "</{}TraceHeaderList>\r\n    ", self.prefix)?;
        }
        self.pass(bytes)
    }

    /// Writes the hops where `      ` (the list's indentation) has just been written.
    fn place(&mut self) -> io::Result<()> {
        self.placed = true;
        for trace in self.traces {
            let mut lines = Vec::new();
            write_element(&mut lines, &trace_header(trace), &self.prefix, 4)?;
            // The first two of its eight spaces complete the six already there.
            self.out.write_all(lines.get(6..).unwrap_or_default())?;
            write!(self.out, "      ")?;
        }
        Ok(())
    }
}

/// The declaration of a packet that was UTF-16, for its UTF-8 form.
fn utf8_declaration(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(2).position(|pair| pair == b"?>").filter(|_| bytes.starts_with(b"<?xml"));
    let rest = bytes.get(end.map_or(0, |end| end + 2)..).unwrap_or_default();
    [b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>", rest].concat()
}
