//! A packet as a flat, ordered list of fields, for people and for tools: what `truc edxml check` prints.

use std::fmt;

use serde::Serialize;

use super::{
    element::Element,
    model::{Form, Message},
    reader::Parsed,
    to_element::header_element,
    warning::Warning,
};

/// One field read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Path of local names; repeated ones are numbered from 1: `MessageHeader/To[2]/OrganId`.
    pub path: String,
    /// Its text.
    pub value: String,
}

/// Everything read from a packet, in the order the SDK writes it, and every warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `document` or `status`.
    pub kind: &'static str,
    /// The fields.
    pub fields: Vec<Field>,
    /// The warnings.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// Lists what was read.
    #[must_use]
    pub fn of(parsed: &Parsed) -> Self {
        let mut fields = Vec::new();
        let mut list = |element: &Element| {
            element.walk("", &mut |path, leaf| {
                let path = path.trim_start_matches('/').to_owned();
                fields.push(Field { path, value: leaf.text.clone() });
            });
        };
        list(&header_element(&parsed.message));
        if let Message::Document(packet) = &parsed.message {
            let references = packet.references.iter().map(|reference| {
                Element::new("Reference")
                    .leaf("ContentId", reference.content_id.as_ref())
                    .leaf("ContentType", reference.content_type.as_ref())
                    .leaf("Description", reference.description.as_ref())
                    .leaf("AttachmentName", reference.name.as_ref())
            });
            list(&references.fold(Element::new("edXMLManifest"), Element::child));
        }
        let attachments = parsed.attachments.iter().map(|attachment| {
            let form = match &attachment.form {
                Form::Raw => "raw".to_owned(),
                Form::Zipped { entry } => format!("zip, entry {entry}"),
            };
            Element::new("Attachment")
                .leaf("ContentId", attachment.content_id.as_ref())
                .leaf("AttachmentName", Some(&attachment.name))
                .leaf("Description", attachment.description.as_ref())
                .leaf("FieldName", attachment.field_name.as_ref())
                .leaf("MimeType", attachment.mime_type.as_ref())
                .leaf("Format", attachment.format.as_ref())
                .leaf("ContentType", attachment.content_type.as_ref())
                .leaf("form", Some(form))
                .leaf("bytes", Some(attachment.bytes))
                .leaf("sha256", Some(attachment.sha256))
        });
        list(&attachments.fold(Element::new("AttachmentEncoded"), Element::child));
        fields.retain(|field| !field.path.is_empty());
        let kind = match parsed.message {
            Message::Document(_) => "document",
            Message::Status(_) => "status",
        };
        Self { kind, fields, warnings: parsed.warnings.clone() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.fields.iter().map(|field| field.path.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:width$}  {}", "kind", self.kind)?;
        for Field { path, value } in &self.fields {
            // One field, one line: control characters from the packet must not reach a terminal.
            let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            writeln!(f, "{path:width$}  {value}")?;
        }
        for warning in &self.warnings {
            let line: String = warning.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            writeln!(f, "warning  {line}")?;
        }
        Ok(())
    }
}
