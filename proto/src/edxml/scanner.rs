//! Pull parser with every bound set: quick-xml finds the pieces, this module judges them.
//!
//! quick-xml neither limits depth nor piece size, calls end of input with open elements no error and hands DOCTYPE and
//! unknown references on: all of that is refused here. Names are given without prefix, whatever the prefix is.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use quick_xml::{
    XmlVersion,
    events::{BytesRef, BytesStart, Event},
    reader::Reader,
};

use super::{
    error::{Defect, Position, ReadError},
    source::{Source, Stop},
    warning::{Notes, WarningKind},
};
use crate::limits::{XML_ATTRIBUTES_MAX, XML_DEPTH_MAX, XML_ELEMENTS_MAX, XML_NAME_BYTES_MAX, XML_PIECE_BYTES_MAX};

/// The namespace of QCVN 102:2016.
pub const NAMESPACE: &str = "http://www.mic.gov.vn/TBT/QCVN_102_2016";

/// Namespaces met on real packets that mean the same, and XML-DSig for Signature.
const OTHER_NAMESPACES: [&str; 2] = ["http://www.w3.org/2000/09/xmldsig#", "http://www.w3.org/1999/xlink"];

/// A start tag.
#[derive(Debug, Clone, Default)]
pub(super) struct Tag {
    /// Local name.
    pub(super) name: String,
    /// Name with its prefix.
    pub(super) qualified: String,
    /// Everything but namespace declarations.
    pub(super) attributes: Vec<(String, String)>,
    /// Written `<x/>`.
    pub(super) empty: bool,
}

/// What a taker of content may find.
pub(super) enum Fault {
    Defect(Defect),
    Sink(std::io::Error),
}

/// Takes the next piece of content; the source has given everything before it.
pub(super) type Take<'t, R> = dyn FnMut(&mut Source<R>, &[u8]) -> Result<(), Fault> + 't;

/// What comes next.
#[derive(Debug)]
pub(super) enum Token {
    Start(Tag),
    /// A piece of character data of the open element; pieces follow each other.
    Text(String),
    End,
    Eof,
}

pub(super) struct Scanner<R: Read> {
    reader: Reader<Source<R>>,
    buffer: Vec<u8>,
    /// Local names of the open elements.
    open: Vec<String>,
    /// Local name of the element closed last.
    closed: String,
    /// Prefix, URI and depth of each declaration in scope.
    declared: Vec<(String, String, usize)>,
    pending_end: bool,
    rooted: bool,
    elements: usize,
    mark: Position,
    pub(super) notes: Notes,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(inner: R, record: bool) -> Result<Self, ReadError> {
        let mut source = Source::new(inner);
        source.record = record.then(Vec::new);
        let detected = source.detect();
        let mark = source.position;
        let mut reader = Reader::from_reader(source);
        let config = reader.config_mut();
        config.expand_empty_elements = false;
        config.check_comments = false;
        let (open, declared, notes) = (Vec::new(), Vec::new(), Notes::default());
        let (pending_end, rooted, elements, buffer, closed) = (false, false, 0, Vec::new(), String::new());
        let mut scanner = Self { reader, buffer, open, closed, declared, pending_end, rooted, elements, mark, notes };
        detected.map_err(|error| scanner.io_error(error))?;
        if scanner.reader.get_ref().is_utf16() {
            scanner.notes.add("", WarningKind::Utf16);
        }
        Ok(scanner)
    }

    pub(super) fn source(&mut self) -> &mut Source<R> {
        self.reader.get_mut()
    }

    /// Local names of the open elements, outermost first.
    pub(super) fn path(&self) -> &[String] {
        &self.open
    }

    /// Local name of the element closed last.
    pub(super) fn closed(&self) -> &str {
        &self.closed
    }

    /// A refusal at the place of the piece read last.
    pub(super) fn refuse(&self, defect: Defect) -> ReadError {
        ReadError::Refused { at: self.mark, defect: Box::new(defect) }
    }

    pub(super) fn fault(&self, fault: Fault) -> ReadError {
        match fault {
            Fault::Defect(defect) => self.refuse(defect),
            Fault::Sink(error) => ReadError::Sink(error),
        }
    }

    /// The namespace of the element whose tag was read last.
    pub(super) fn namespace_of(&self, tag: &Tag) -> Option<&str> {
        let prefix = tag.qualified.split_once(':').map_or("", |(prefix, _)| prefix);
        self.declared.iter().rfind(|(declared, ..)| declared == prefix).map(|(_, uri, _)| uri.as_str())
    }

    /// The next token; comments and processing instructions are skipped.
    pub(super) fn next(&mut self) -> Result<Token, ReadError> {
        loop {
            if self.pending_end {
                self.pending_end = false;
                return Ok(self.close());
            }
            if let Some(token) = self.step()? {
                return Ok(token);
            }
        }
    }

    fn step(&mut self) -> Result<Option<Token>, ReadError> {
        self.mark = self.reader.get_ref().position;
        self.reader.get_mut().grant(XML_PIECE_BYTES_MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let event = self.reader.read_event_into(&mut buffer).map(Event::into_owned);
        self.buffer = buffer;
        match event.map_err(|error| self.xml_error(error))? {
            Event::Start(start) => self.start(&start, false).map(Some),
            Event::Empty(start) => self.start(&start, true).map(Some),
            Event::End(_) => Ok(Some(self.close())),
            Event::Text(text) => self.text(text.xml10_content().into_owned()),
            Event::CData(text) => {
                if self.open.is_empty() {
                    return Err(self.outside());
                }
                self.text(text.xml10_content().into_owned())
            }
            Event::GeneralRef(reference) => {
                let character = self.resolve(&reference)?;
                if self.open.is_empty() {
                    return Err(self.outside());
                }
                Ok(Some(Token::Text(character.to_string())))
            }
            Event::Comment(text) => self.characters(&text).map(|()| None),
            Event::PI(instruction) => {
                self.characters(&instruction)?;
                if instruction.target().eq_ignore_ascii_case("xml") {
                    return Err(self.malformed("a second declaration"));
                }
                Ok(None)
            }
            Event::Decl(declaration) => {
                let declared = declaration.encoding().transpose().map_err(|e| self.malformed(&e.to_string()))?;
                self.declaration(declared.unwrap_or_default().into_owned()).map(|()| None)
            }
            Event::DocType(_) => Err(self.refuse(Defect::Doctype)),
            Event::Eof => self.end_of_input().map(Some),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>, empty: bool) -> Result<Token, ReadError> {
        if self.open.is_empty() && self.rooted {
            return Err(self.refuse(Defect::Trailing));
        }
        self.rooted = true;
        self.elements += 1;
        if self.elements > XML_ELEMENTS_MAX {
            return Err(self.refuse(Defect::TooManyElements));
        }
        if self.open.len() >= XML_DEPTH_MAX {
            return Err(self.refuse(Defect::TooDeep));
        }
        let qualified = start.name().as_ref().to_owned();
        let (prefix, name) = self.split_name(&qualified)?;
        let attributes = self.attributes(start, &name)?;
        self.judge_namespace(&prefix, &name);
        self.open.push(name.clone());
        self.pending_end = empty;
        Ok(Token::Start(Tag { name, qualified, attributes, empty }))
    }

    fn split_name(&self, qualified: &str) -> Result<(String, String), ReadError> {
        let (prefix, name) = qualified.split_once(':').unwrap_or(("", qualified));
        let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let good =
            |part: &str| part.chars().all(letter) && part.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if qualified.len() > XML_NAME_BYTES_MAX
            || !good(name)
            || !(good(prefix) || prefix.is_empty() && !qualified.starts_with(':'))
        {
            let shown: String = qualified.chars().take(40).collect();
            return Err(self.malformed(&format!("{shown:?} is no name")));
        }
        Ok((prefix.to_owned(), name.to_owned()))
    }

    fn attributes(&mut self, start: &BytesStart<'_>, element: &str) -> Result<Vec<(String, String)>, ReadError> {
        let mut kept = Vec::new();
        for (count, attribute) in start.attributes().enumerate() {
            if count >= XML_ATTRIBUTES_MAX {
                return Err(self.refuse(Defect::TooManyAttributes { element: element.to_owned() }));
            }
            let attribute = attribute.map_err(|error| self.malformed(&error.to_string()))?;
            let key = attribute.key.as_ref().to_owned();
            self.split_name(&key)?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| self.xml_error(error))?
                .into_owned();
            self.characters(&value)?;
            if attribute.value.contains('<') {
                return Err(self.malformed("< in an attribute"));
            }
            match key.strip_prefix("xmlns").map(|rest| rest.strip_prefix(':').unwrap_or(rest)) {
                Some(prefix) if key == "xmlns" || key.starts_with("xmlns:") => {
                    self.declared.push((prefix.to_owned(), value, self.open.len() + 1));
                }
                _ => kept.push((key, value)),
            }
        }
        Ok(kept)
    }

    /// Only warns: names are taken without their prefix, because real senders declare it in the wrong place.
    fn judge_namespace(&mut self, prefix: &str, name: &str) {
        let uri = self.declared.iter().rfind(|(declared, ..)| declared == prefix).map(|(_, uri, _)| uri.as_str());
        let warning = match uri {
            None if prefix.is_empty() || prefix == "xml" => return,
            None => WarningKind::UndeclaredPrefix(prefix.to_owned()),
            Some(uri) if uri == NAMESPACE || OTHER_NAMESPACES.contains(&uri) => return,
            Some(uri) => WarningKind::OtherNamespace(uri.to_owned()),
        };
        self.notes.add_once(name, warning);
    }

    fn close(&mut self) -> Token {
        let depth = self.open.len();
        self.closed = self.open.pop().unwrap_or_default();
        while self.declared.last().is_some_and(|(.., declared_at)| *declared_at >= depth) {
            self.declared.pop();
        }
        Token::End
    }

    fn text(&mut self, text: String) -> Result<Option<Token>, ReadError> {
        self.characters(&text)?;
        if self.open.is_empty() {
            return if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() { Ok(None) } else { Err(self.outside()) };
        }
        Ok(Some(Token::Text(text)))
    }

    fn outside(&self) -> ReadError {
        self.refuse(if self.rooted { Defect::Trailing } else { Defect::Leading })
    }

    fn resolve(&self, reference: &BytesRef<'_>) -> Result<char, ReadError> {
        let unknown = || self.refuse(Defect::Entity { name: reference.chars().take(40).collect() });
        let character = match &**reference {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => reference.resolve_char_ref().ok().flatten().ok_or_else(unknown)?,
        };
        self.characters(character.encode_utf8(&mut [0; 4]))?;
        Ok(character)
    }

    /// XML 1.0's Char.
    fn characters(&self, text: &str) -> Result<(), ReadError> {
        let bad =
            |c: &char| matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
        match text.chars().find(bad) {
            Some(character) => Err(self.refuse(Defect::ControlCharacter { code: character.into() })),
            None => Ok(()),
        }
    }

    fn declaration(&self, encoding: String) -> Result<(), ReadError> {
        if self.mark.byte > 3 || self.rooted {
            return Err(self.refuse(Defect::Leading));
        }
        let utf16 = self.reader.get_ref().is_utf16();
        let known = match encoding.to_ascii_uppercase().as_str() {
            "" | "UTF-8" | "UTF8" | "US-ASCII" => true,
            "UTF-16" | "UTF-16LE" | "UTF-16BE" => utf16,
            _ => false,
        };
        if known {
            Ok(())
        } else {
            Err(self.refuse(Defect::Encoding { declared: encoding.chars().take(40).collect() }))
        }
    }

    fn end_of_input(&mut self) -> Result<Token, ReadError> {
        match self.open.last() {
            Some(element) => Err(self.refuse(Defect::Unclosed { element: element.clone() })),
            None if !self.rooted => Err(self.refuse(Defect::Empty)),
            None => Ok(Token::Eof),
        }
    }

    /// Hands the character data of the open element to `take` piece by piece, up to its end tag, in constant memory.
    ///
    /// `number` names the attachment in refusals. The end tag itself is the next token.
    pub(super) fn content(&mut self, number: usize, take: &mut Take<'_, R>) -> Result<(), ReadError> {
        while !self.pending_end {
            self.mark = self.reader.get_ref().position;
            self.reader.get_mut().grant(usize::MAX);
            let ahead = match self.reader.get_mut().peek(9) {
                Ok(ahead) => ahead,
                Err(error) => return Err(self.io_error(error)),
            };
            match ahead {
                [b'<', b'/', ..] | [] => return Ok(()),
                [b'<', b'!', b'-', ..] | [b'<', b'?', ..] => {
                    self.step()?;
                }
                b"<![CDATA[" => {
                    self.skip(9);
                    self.until(b"]]>", take)?;
                    self.skip(3);
                }
                [b'<', b'!', ..] => return Err(self.refuse(Defect::Doctype)),
                [b'<', ..] => return Err(self.refuse(Defect::ElementInContent { number })),
                // Wrapped base64 written by Java's serialisers holds &#13; at each line's end.
                [b'&', ..] => match self.step()? {
                    Some(Token::Text(text)) => self.give(text.as_bytes(), take)?,
                    _ => return Err(self.malformed("a lone &")),
                },
                _ => self.until(b"<", take)?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.reader.stream().consume(bytes);
    }

    /// Gives everything before `end`; with a single `<` it also stops at `&`.
    fn until(&mut self, end: &[u8], take: &mut Take<'_, R>) -> Result<(), ReadError> {
        loop {
            self.mark = self.reader.get_ref().position;
            let ahead = match self.reader.get_mut().peek(32 * 1024) {
                Ok(ahead) => ahead,
                Err(error) => return Err(self.io_error(error)),
            };
            if ahead.is_empty() {
                return Ok(());
            }
            let stop = |window: &[u8]| window == end || end == b"<" && window == b"&";
            let first = end.first().copied().unwrap_or_default();
            let found = if end.len() == 1 {
                ahead.iter().position(|b| *b == first || *b == b'&')
            } else {
                ahead.windows(end.len()).position(stop)
            };
            // Without a hit the last bytes may be the beginning of `end`: leave them unless nothing else is there.
            let length = found.unwrap_or_else(|| (ahead.len() + 1).saturating_sub(end.len()).max(1)).min(ahead.len());
            let piece = ahead.get(..length).unwrap_or_default().to_vec();
            self.give(&piece, take)?;
            self.skip(length);
            if found.is_some() {
                return Ok(());
            }
        }
    }

    fn give(&mut self, piece: &[u8], take: &mut Take<'_, R>) -> Result<(), ReadError> {
        let bad = |b: &&u8| !b.is_ascii() || b.is_ascii_control() && !matches!(b, b'\t' | b'\r' | b'\n');
        if let Some(byte) = piece.iter().find(bad) {
            let defect = if byte.is_ascii() { Defect::ControlCharacter { code: (*byte).into() } } else { Defect::Utf8 };
            return Err(self.refuse(defect));
        }
        take(self.reader.get_mut(), piece).map_err(|fault| self.fault(fault))
    }

    fn malformed(&self, reason: &str) -> ReadError {
        self.refuse(Defect::Malformed { reason: reason.chars().take(200).collect() })
    }

    fn xml_error(&self, error: quick_xml::Error) -> ReadError {
        use quick_xml::{Error, errors::IllFormedError, escape::EscapeError};
        match error {
            Error::Io(error) => {
                let error = Arc::try_unwrap(error).unwrap_or_else(|shared| std::io::Error::new(shared.kind(), shared));
                self.io_error(error)
            }
            Error::Encoding(_) => self.refuse(Defect::Utf8),
            Error::Syntax(_) => match self.open.last() {
                // A tag or comment that never ends is a packet cut off inside it.
                Some(element) => self.refuse(Defect::Unclosed { element: element.clone() }),
                None => self.malformed(&error.to_string()),
            },
            Error::Escape(EscapeError::UnrecognizedEntity(_, name)) => self.refuse(Defect::Entity { name }),
            Error::Escape(EscapeError::InvalidCharRef(_)) => self.refuse(Defect::Entity { name: "#".to_owned() }),
            Error::IllFormed(IllFormedError::MissingDoctypeName) => self.refuse(Defect::Doctype),
            other => self.malformed(&other.to_string()),
        }
    }

    fn io_error(&self, error: std::io::Error) -> ReadError {
        let element = || self.open.last().cloned().unwrap_or_else(|| "the document".to_owned());
        match self.reader.get_ref().stop {
            Some(Stop::Budget) => self.refuse(Defect::PieceTooLong { element: element() }),
            Some(Stop::Total) => self.refuse(Defect::PacketTooLong),
            Some(Stop::Utf16) => self.refuse(Defect::Utf8),
            None => ReadError::Source(error),
        }
    }
}
