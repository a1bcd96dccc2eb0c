//! The files of a document that is given by fields: each becomes an entry beside the header.

use std::io::{self, Write as _};

use truc_proto::{
    ATTACHMENTS_FOLDER, AttachmentDigest, Reason,
    edxml::{self, FieldLengths, Message, OutgoingAttachment},
    limits::ATTACHMENTS_MAX,
    node_v1,
};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    assembly::Assembly,
    compose::other_length,
    error::{ComposeError, of_write},
};
use crate::pipeline::{Part, Parts};

/// Every file that follows becomes an entry.
pub(super) fn files(
    assembly: &mut Assembly<'_>,
    message: &Message,
    parts: &mut dyn Parts,
) -> Result<Vec<AttachmentDigest>, ComposeError> {
    let mut attachments: Vec<AttachmentDigest> = Vec::new();
    let mut open: Option<(String, u64)> = None;
    loop {
        match parts.next().map_err(ComposeError::Source)? {
            Some(Part::Data(bytes)) if open.is_some() => assembly.container().write_all(&bytes).map_err(of_write)?,
            Some(Part::Data(bytes)) if bytes.is_empty() => {}
            Some(Part::Data(_)) => {
                return Err(ComposeError::request(
                    Reason::Invalid,
                    "bytes came before the file that they belong to was named",
                    "Có dữ liệu trước khi nêu tên tệp.",
                ));
            }
            Some(Part::File(file)) => {
                attachments.extend(end_file(assembly, open.take())?);
                if attachments.len() >= ATTACHMENTS_MAX {
                    return Err(ComposeError::request(
                        Reason::TooLarge,
                        format!("a document has at most {ATTACHMENTS_MAX} files; split it"),
                        format!("Mỗi văn bản có tối đa {ATTACHMENTS_MAX} tệp; hãy tách ra."),
                    ));
                }
                open = Some((begin_file(assembly, message, &file)?, file.length));
            }
            None => {
                attachments.extend(end_file(assembly, open.take())?);
                return Ok(attachments);
            }
        }
    }
}

fn begin_file(
    assembly: &mut Assembly<'_>,
    message: &Message,
    file: &node_v1::FileHeader,
) -> Result<String, ComposeError> {
    // Files from some systems carry decomposed names; the same name must have one form.
    let name: String = file.name.nfc().collect();
    check_name(message, &name)?;
    let media_type = if file.content_type.is_empty() { "application/octet-stream" } else { &file.content_type };
    let length = (file.length > 0).then_some(file.length);
    assembly.container().begin_entry(&format!("{ATTACHMENTS_FOLDER}{name}"), media_type, length)?;
    Ok(name)
}

/// That the receiver's system will be able to take the file in a packet: the writer itself says so.
fn check_name(message: &Message, name: &str) -> Result<(), ComposeError> {
    let attachment = OutgoingAttachment {
        content_id: "1".to_owned(),
        name: name.to_owned(),
        description: None,
        content: &mut io::empty(),
    };
    edxml::write_packet(message, &mut [attachment], &FieldLengths::default(), &mut io::sink())
        .map_err(ComposeError::Header)
}

fn end_file(
    assembly: &mut Assembly<'_>,
    open: Option<(String, u64)>,
) -> Result<Option<AttachmentDigest>, ComposeError> {
    let Some((name, declared)) = open else { return Ok(None) };
    let entry = assembly.container().end_entry()?;
    if declared > 0 && declared != entry.length {
        return Err(other_length("file", declared, entry.length));
    }
    Ok(Some(AttachmentDigest { name, length: entry.length, sha256: entry.digest }))
}
