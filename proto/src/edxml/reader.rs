//! Reads a packet in one pass and constant memory: header into the model, attachments into the caller's sink.
//!
//! Tolerant where real senders are sloppy (order, prefixes, namespaces, dates, ids), strict where tolerance would let two
//! systems see two different documents or where existing clients would be harmed. What is tolerated leaves a warning.

use std::io::Read;

use super::{
    attachment::{AttachmentSink, AttachmentStart, Content, Payload},
    element::Element,
    error::{Defect, ReadError},
    from_element,
    issue::{FieldLengths, missing, overlong},
    model::{Attachment, Message, Reference, extension_of},
    picker::{Picker, excerpt},
    scanner::{NAMESPACE, Scanner, Tag, Token},
    warning::{Warning, WarningKind},
};
use crate::limits::{ATTACHMENTS_MAX, EXTENSION_BYTES_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX, XML_KEPT_BYTES_MAX};

/// A packet that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Which kind it is and what it says.
    pub message: Message,
    /// The attachments, in document order; their contents went to the sink.
    pub attachments: Vec<Attachment>,
    /// What was odd.
    pub warnings: Vec<Warning>,
    /// Whether the envelope is in the namespace that existing clients need.
    pub readable_by_sdk: bool,
}

/// Reads a packet with the usual field lengths.
///
/// # Errors
/// [`ReadError`]: the packet is refused, or source or sink failed. Nothing the sink got may be used then.
pub fn read(source: impl Read, sink: &mut dyn AttachmentSink) -> Result<Parsed, ReadError> {
    read_with(source, sink, &FieldLengths::default())
}

/// Reads a packet; fields longer than `lengths` leave a warning.
///
/// # Errors
/// As [`read()`].
pub fn read_with(
    source: impl Read,
    sink: &mut dyn AttachmentSink,
    lengths: &FieldLengths,
) -> Result<Parsed, ReadError> {
    let mut reader = Reader {
        scanner: Scanner::new(source, false)?,
        sink,
        open: Vec::new(),
        kept: 0,
        enveloped: false,
        envelope_namespace: false,
        message: None,
        references: None,
        attachments: Vec::new(),
        pending: None,
        lists: 0,
    };
    while reader.step()? {}
    reader.finish(lengths)
}

struct Reader<'s, R: Read> {
    scanner: Scanner<R>,
    sink: &'s mut dyn AttachmentSink,
    open: Vec<Element>,
    kept: usize,
    enveloped: bool,
    envelope_namespace: bool,
    message: Option<Message>,
    references: Option<Vec<Reference>>,
    attachments: Vec<Attachment>,
    /// The content of the Attachment that is open.
    pending: Option<(AttachmentStart, Content)>,
    lists: usize,
}

/// Where an element stands, as far as it matters.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Place {
    Envelope,
    Header,
    Body,
    AttachmentList,
    Attachment,
    Content,
    Elsewhere,
}

fn place(path: &[String]) -> Place {
    let names: Vec<&str> = path.iter().map(String::as_str).take(6).collect();
    let below = match names.as_slice() {
        [_, "edXMLEnvelope"] => return Place::Envelope,
        [_, "edXMLEnvelope", "edXMLHeader"] => return Place::Header,
        [_, "edXMLEnvelope", "edXMLBody"] => return Place::Body,
        [_, "edXMLEnvelope", rest @ ..] | [_, rest @ ..] => rest,
        [] => return Place::Elsewhere,
    };
    match below {
        ["AttachmentEncoded"] => Place::AttachmentList,
        ["AttachmentEncoded", "Attachment"] => Place::Attachment,
        ["AttachmentEncoded", "Attachment", "ContentTransferEncoded"] => Place::Content,
        _ => Place::Elsewhere,
    }
}

impl<R: Read> Reader<'_, R> {
    fn step(&mut self) -> Result<bool, ReadError> {
        match self.scanner.next()? {
            Token::Start(tag) => self.start(tag)?,
            Token::Text(text) => self.text(&text)?,
            Token::End => self.end()?,
            Token::Eof => return Ok(false),
        }
        Ok(true)
    }

    fn start(&mut self, tag: Tag) -> Result<(), ReadError> {
        let place = place(self.scanner.path());
        match place {
            Place::Envelope if self.enveloped => return self.duplicate("edXMLEnvelope"),
            Place::Envelope => {
                self.enveloped = true;
                self.envelope_namespace = self.scanner.namespace_of(&tag) == Some(NAMESPACE);
            }
            Place::Header if self.message.is_some() => return self.duplicate("edXMLHeader"),
            Place::Body if self.references.is_some() => return self.duplicate("edXMLBody"),
            Place::AttachmentList => self.begin_list()?,
            Place::Attachment if self.attachments.len() >= ATTACHMENTS_MAX => {
                return Err(self.scanner.refuse(Defect::TooManyAttachments));
            }
            _ => {}
        }
        self.keep(tag.name.len() + tag.attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>())?;
        self.open.push(Element { name: tag.name, attributes: tag.attributes, ..Element::default() });
        if place == Place::Content { self.content() } else { Ok(()) }
    }

    fn duplicate(&self, element: &str) -> Result<(), ReadError> {
        Err(self.scanner.refuse(Defect::DuplicateHeader { element: element.to_owned() }))
    }

    fn begin_list(&mut self) -> Result<(), ReadError> {
        self.lists += 1;
        if self.scanner.path().len() > 2 {
            self.scanner.notes.add("AttachmentEncoded", WarningKind::Misplaced);
        }
        if self.lists > 1 {
            self.scanner.notes.add("AttachmentEncoded", WarningKind::Duplicate);
            self.attachments.clear();
            self.sink.reset().map_err(ReadError::Sink)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), ReadError> {
        self.keep(text.trim().len())?;
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.kept += bytes;
        if self.kept > XML_KEPT_BYTES_MAX { Err(self.scanner.refuse(Defect::TextTooLong)) } else { Ok(()) }
    }

    fn content(&mut self) -> Result<(), ReadError> {
        let number = self.attachments.len() + 1;
        if self.pending.is_some() {
            return Err(self.scanner.refuse(Defect::SecondContent { number }));
        }
        let start = self.known_so_far();
        self.sink.begin(&start).map_err(ReadError::Sink)?;
        let mut payload = Payload::new(start.clone());
        let sink = &mut *self.sink;
        self.scanner.content(number, &mut |_, piece| payload.push(piece, sink))?;
        let content = payload.finish(self.sink).map_err(|fault| self.scanner.fault(fault))?;
        self.pending = Some((start, content));
        Ok(())
    }

    /// Name and type written before the content, else what the manifest says about the same place.
    fn known_so_far(&self) -> AttachmentStart {
        let index = self.attachments.len();
        let open = self.open.iter().rev().nth(1);
        let text = |name: &str| {
            open.and_then(|element| element.last(name)).map(|e| e.text.trim().to_owned()).filter(|t| !t.is_empty())
        };
        let listed = self.references.as_ref().and_then(|references| references.get(index));
        AttachmentStart {
            index,
            content_id: text("ContentId").map(|id| id.trim_start_matches("cid:").to_owned()),
            name: text("AttachmentName").or_else(|| listed.and_then(|reference| reference.name.clone())),
            content_type: text("ContentType"),
        }
    }

    fn end(&mut self) -> Result<(), ReadError> {
        let Some(mut element) = self.open.pop() else { return Ok(()) };
        if !element.children.is_empty() {
            element.text.clear();
        }
        // The scanner has left the element already: its path is the parent's.
        let mut path = self.scanner.path().to_vec();
        path.push(element.name.clone());
        match place(&path) {
            Place::Header => self.header(element)?,
            Place::Body => self.body(element)?,
            Place::Attachment => self.attachment(element)?,
            Place::Envelope | Place::AttachmentList => self.leftovers(&element),
            Place::Content => {}
            Place::Elsewhere if path.len() == 1 => self.leftovers(&element),
            Place::Elsewhere => {
                self.open.last_mut().into_iter().for_each(|parent| parent.children.push(std::mem::take(&mut element)))
            }
        }
        Ok(())
    }

    /// Everything that belongs there was taken out before: what is left is unknown.
    fn leftovers(&mut self, element: &Element) {
        for child in &element.children {
            let path = format!("{}/{}", element.name, child.name);
            self.scanner.notes.add(&path, WarningKind::UnknownElement);
        }
    }

    fn header(&mut self, element: Element) -> Result<(), ReadError> {
        let Some(message) = from_element::message(element, &mut self.scanner.notes) else {
            return Err(self.scanner.refuse(Defect::NoHeader));
        };
        if let Message::Document(packet) = &message
            && packet.header.to.len() > RECIPIENTS_MAX
        {
            return Err(self.scanner.refuse(Defect::TooManyRecipients));
        }
        self.sink.header(&message).map_err(ReadError::Sink)?;
        self.message = Some(message);
        Ok(())
    }

    fn body(&mut self, element: Element) -> Result<(), ReadError> {
        let references = from_element::references(element, &mut self.scanner.notes);
        if references.len() > ATTACHMENTS_MAX {
            return Err(self.scanner.refuse(Defect::TooManyAttachments));
        }
        self.references = Some(references);
        Ok(())
    }

    fn attachment(&mut self, element: Element) -> Result<(), ReadError> {
        let number = self.attachments.len() + 1;
        let path = format!("Attachment[{number}]");
        let Some((start, content)) = self.pending.take() else {
            return Err(self.scanner.refuse(Defect::NoContent { number }));
        };
        let mut pick = Picker::new(element, &path, &mut self.scanner.notes);
        let (written, content_type) = (pick.trimmed("AttachmentName"), pick.trimmed("ContentType"));
        if written.is_none() {
            pick.warn("AttachmentName", WarningKind::Missing);
        }
        let attachment = Attachment {
            content_id: pick.content_id(),
            name: written.clone().or_else(|| start.name.clone()).unwrap_or_default(),
            description: pick.text("Description"),
            field_name: pick.text("FieldName"),
            mime_type: pick.trimmed("MimeType"),
            format: pick.trimmed("Format"),
            content_type,
            form: content.form.clone(),
            bytes: content.bytes,
            sha256: content.sha256,
        };
        if content.not_zip {
            pick.warn("ContentTransferEncoded", WarningKind::NotZip);
        }
        if content.junk > 0 {
            pick.warn("ContentTransferEncoded", WarningKind::Junk(content.junk));
        }
        if attachment.name.contains(is_path_character) {
            pick.warn("AttachmentName", WarningKind::UnsafeName(excerpt(&attachment.name)));
        }
        pick.finish();
        if attachment.name.is_empty() {
            return Err(self.scanner.refuse(Defect::UnnamedAttachment { number }));
        }
        if !content.agrees_with(Some(&attachment.name), attachment.content_type.as_deref()) {
            return Err(self.scanner.refuse(Defect::LateMetadata { number }));
        }
        let misleading = content.misleads_clients(&attachment.name, attachment.content_type.as_deref());
        if is_unsafe(&attachment) || misleading {
            return Err(self.scanner.refuse(Defect::UnsafeName { number }));
        }
        self.sink.finish(&attachment).map_err(ReadError::Sink)?;
        self.attachments.push(attachment);
        Ok(())
    }

    fn finish(self, lengths: &FieldLengths) -> Result<Parsed, ReadError> {
        if !self.enveloped {
            return Err(self.scanner.refuse(Defect::NoEnvelope));
        }
        let Some(mut message) = self.message else { return Err(self.scanner.refuse(Defect::NoHeader)) };
        let references = self.references.unwrap_or_default();
        let attachments = self.attachments;
        let matched = match_references(&references, &attachments)
            .map_err(|name| self.scanner.refuse(Defect::MissingAttachment { name }))?;
        let mut notes = self.scanner.notes;
        for warning in matched {
            notes.add("AttachmentEncoded", warning);
        }
        match &mut message {
            Message::Document(packet) => packet.references = references,
            Message::Status(_) if !attachments.is_empty() => notes.add("AttachmentEncoded", WarningKind::MixedKinds),
            Message::Status(_) => {}
        }
        for path in missing(&message) {
            notes.add(&path, WarningKind::Missing);
        }
        for (path, characters, max) in overlong(&message, &attachments, lengths) {
            notes.add(&path, WarningKind::TooLong { characters, max });
        }
        let warnings = notes.finish();
        Ok(Parsed { message, attachments, warnings, readable_by_sdk: self.envelope_namespace })
    }
}

fn is_path_character(c: char) -> bool {
    c.is_control() || matches!(c, '/' | '\\')
}

/// Existing clients build a file name from the extension or Format: no path may come in that way.
fn is_unsafe(attachment: &Attachment) -> bool {
    let harmful =
        |text: &str| text.len() > EXTENSION_BYTES_MAX || text.contains(is_path_character) || text.contains("..");
    attachment.name.len() > NAME_BYTES_MAX
        || extension_of(&attachment.name).is_some_and(|extension| harmful(&extension))
        || attachment.format.as_deref().is_some_and(harmful)
}

/// Pairs the manifest with what came: by id, else by name, else (for a reference without name) by order.
///
/// A listed file that is missing refuses the packet (`Err` names it): the receiver must check completeness (QĐ 28/2018).
/// A file that is not listed is tolerated, as the SDK tolerates it, with a warning.
fn match_references(references: &[Reference], attachments: &[Attachment]) -> Result<Vec<WarningKind>, String> {
    let mut warnings = Vec::new();
    let mut free: Vec<Option<&Attachment>> = attachments.iter().map(Some).collect();
    let mut take = |matches: &dyn Fn(&Attachment) -> bool| {
        free.iter_mut().find(|slot| slot.is_some_and(matches)).and_then(Option::take).is_some()
    };
    let mut unmatched = Vec::new();
    for reference in references {
        let by_id = reference.content_id.is_some() && take(&|attachment| attachment.content_id == reference.content_id);
        if !by_id {
            unmatched.push(reference);
        }
    }
    let mut nameless = Vec::new();
    for reference in unmatched {
        let label = reference.name.clone().or_else(|| reference.content_id.clone()).unwrap_or_default();
        if reference.name.is_some() && take(&|attachment| Some(&attachment.name) == reference.name.as_ref()) {
            warnings.push(WarningKind::LooseMatch(excerpt(&label)));
        } else {
            nameless.push((reference, label));
        }
    }
    for (reference, label) in nameless {
        let by_order = reference.name.is_none() && references.len() == attachments.len() && take(&|_| true);
        if !by_order {
            return Err(excerpt(&label));
        }
        warnings.push(WarningKind::LooseMatch(excerpt(&label)));
    }
    let unlisted = free.into_iter().flatten();
    warnings.extend(unlisted.map(|attachment| WarningKind::Unlisted(excerpt(&attachment.name))));
    Ok(warnings)
}
