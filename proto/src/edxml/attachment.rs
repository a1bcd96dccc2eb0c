//! Attachments on their way from base64 to the caller's sink: unwrapped, measured, hashed, in constant memory.
//!
//! Whether a ZIP is the document itself or only its wrapping is decided here. The SDK goes by ContentType alone; real
//! packets carry wrapping ZIPs under any type, and .docx or .xlsx files, which are ZIPs themselves, unwrapped.

use std::io;

use super::{
    base64::{Base64Defect, Decoder},
    error::{Defect, ZipDefect},
    model::{Attachment, Form, Message, extension_of},
    scanner::Fault,
    unzip::{LocalHeader, Unzip},
};
use crate::{
    Digest, Hasher,
    limits::{ATTACHMENT_BYTES_MAX, ZIP_NAME_BYTES_MAX},
};

/// What is known of an attachment when its content begins; senders may write the rest behind the content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachmentStart {
    /// Its place in the packet, from 0.
    pub index: usize,
    /// ContentId without `cid:`.
    pub content_id: Option<String>,
    /// AttachmentName, or the manifest's at the same place.
    pub name: Option<String>,
    /// ContentType.
    pub content_type: Option<String>,
}

/// Where decoded attachments go. Called strictly begin, write…, finish for one attachment after the other.
pub trait AttachmentSink {
    /// The header is complete; attachments that come before it are given before this.
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops.
    fn header(&mut self, message: &Message) -> io::Result<()> {
        let _ = message;
        Ok(())
    }

    /// An attachment's content begins.
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops.
    fn begin(&mut self, start: &AttachmentStart) -> io::Result<()>;

    /// The next decoded bytes.
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The attachment is complete and whole.
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops.
    fn finish(&mut self, attachment: &Attachment) -> io::Result<()>;

    /// A second AttachmentEncoded begins: all attachments so far are void (in the SDK the last one wins).
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops.
    fn reset(&mut self) -> io::Result<()>;
}

/// Keeps nothing: for checks that want names, lengths and hashes only.
#[derive(Debug, Default, Clone, Copy)]
pub struct Discard;

impl AttachmentSink for Discard {
    fn begin(&mut self, _: &AttachmentStart) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &Attachment) -> io::Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps every content in memory, in order; for packets known to be small.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collect(pub Vec<Vec<u8>>);

impl AttachmentSink for Collect {
    fn begin(&mut self, _: &AttachmentStart) -> io::Result<()> {
        self.0.push(Vec::new());
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().into_iter().for_each(|content| content.extend_from_slice(bytes));
        Ok(())
    }
    fn finish(&mut self, _: &Attachment) -> io::Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}

/// What an attachment's content turned out to be.
pub(super) struct Content {
    pub(super) form: Form,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
    pub(super) junk: u64,
    /// Declared application/zip, but no ZIP.
    pub(super) not_zip: bool,
    /// What the first bytes said, for a second look once all metadata is known.
    entry: Option<LocalHeader>,
}

impl Content {
    /// Whether name and type, known in full only now, would have led to the same reading.
    pub(super) fn agrees_with(&self, name: Option<&str>, content_type: Option<&str>) -> bool {
        let wrapped = matches!(self.form, Form::Zipped { .. });
        self.entry.as_ref().is_none_or(|entry| is_wrapping(name, content_type, entry) == wrapped)
    }

    /// Whether existing clients would unzip what is kept here as it is, and follow a path: they know `zip` in lower case alone.
    pub(super) fn misleads_clients(&self, name: &str, content_type: Option<&str>) -> bool {
        let unzipped_there = is_zip_type(content_type) && !name.ends_with(".zip");
        let kept_here = matches!(self.form, Form::Raw);
        unzipped_there && kept_here && self.entry.as_ref().is_some_and(|entry| !entry.is_plainly_named())
    }
}

enum Stage {
    Sniffing(Vec<u8>),
    Raw,
    Zipped(Box<Unzip>),
}

pub(super) struct Payload {
    decoder: Decoder,
    body: Body,
}

struct Body {
    start: AttachmentStart,
    stage: Stage,
    entry: Option<LocalHeader>,
    hasher: Hasher,
    bytes: u64,
}

impl Payload {
    pub(super) fn new(start: AttachmentStart) -> Self {
        let stage = Stage::Sniffing(Vec::new());
        let body = Body { start, stage, entry: None, hasher: Hasher::default(), bytes: 0 };
        Self { decoder: Decoder::new(), body }
    }

    pub(super) fn push(&mut self, text: &[u8], sink: &mut dyn AttachmentSink) -> Result<(), Fault> {
        let Self { decoder, body } = self;
        let number = body.start.index + 1;
        decoder.push(text, &mut |plain| body.push(plain, sink)).map_err(|trouble: Either| trouble.fault(number))
    }

    pub(super) fn finish(mut self, sink: &mut dyn AttachmentSink) -> Result<Content, Fault> {
        let Self { decoder, body } = &mut self;
        let number = body.start.index + 1;
        decoder.finish(&mut |plain| body.push(plain, sink)).map_err(|trouble: Either| trouble.fault(number))?;
        let junk = self.decoder.junk;
        self.body.finish(junk, sink)
    }
}

/// Carries a fault out through the decoder, which knows only its own.
enum Either {
    Base64(Base64Defect),
    Fault(Fault),
}

impl From<Base64Defect> for Either {
    fn from(defect: Base64Defect) -> Self {
        Self::Base64(defect)
    }
}

impl Either {
    fn fault(self, number: usize) -> Fault {
        match self {
            Self::Base64(Base64Defect::AfterPadding) => Fault::Defect(Defect::Base64AfterPadding { number }),
            Self::Base64(Base64Defect::Truncated) => Fault::Defect(Defect::Base64Truncated { number }),
            Self::Fault(fault) => fault,
        }
    }
}

enum Unzipping {
    Zip(ZipDefect),
    Fault(Fault),
}

impl From<ZipDefect> for Unzipping {
    fn from(defect: ZipDefect) -> Self {
        Self::Zip(defect)
    }
}

impl Body {
    fn push(&mut self, plain: &[u8], sink: &mut dyn AttachmentSink) -> Result<(), Either> {
        self.take(plain, sink).map_err(Either::Fault)
    }

    fn take(&mut self, plain: &[u8], sink: &mut dyn AttachmentSink) -> Result<(), Fault> {
        let Stage::Sniffing(held) = &mut self.stage else { return self.pass(plain, sink) };
        held.extend_from_slice(plain);
        match sniff(held) {
            Sniff::More => Ok(()),
            Sniff::NoZip => self.decide(None, sink),
            Sniff::Empty if self.must_be_zip() => Err(self.zip(ZipDefect::NoEntry)),
            Sniff::Empty => self.decide(None, sink),
            Sniff::Zip(entry) => self.decide(Some(entry), sink),
        }
    }

    fn decide(&mut self, entry: Option<LocalHeader>, sink: &mut dyn AttachmentSink) -> Result<(), Fault> {
        let (name, kind) = (self.start.name.as_deref(), self.start.content_type.as_deref());
        let wrapped = entry.as_ref().is_some_and(|entry| is_wrapping(name, kind, entry));
        let next = if wrapped { Stage::Zipped(Box::new(Unzip::new())) } else { Stage::Raw };
        self.entry = entry;
        match std::mem::replace(&mut self.stage, next) {
            Stage::Sniffing(held) => self.pass(&held, sink),
            _ => Ok(()),
        }
    }

    fn pass(&mut self, plain: &[u8], sink: &mut dyn AttachmentSink) -> Result<(), Fault> {
        let Self { start, stage, hasher, bytes, .. } = self;
        let number = start.index + 1;
        let mut out = |plain: &[u8]| {
            *bytes = bytes.saturating_add(u64::try_from(plain.len()).unwrap_or(u64::MAX));
            if *bytes > ATTACHMENT_BYTES_MAX {
                return Err(Fault::Defect(Defect::AttachmentTooLong { number }));
            }
            hasher.update(plain);
            sink.write(plain).map_err(Fault::Sink)
        };
        let Stage::Zipped(unzip) = stage else { return out(plain) };
        unzip.push(plain, &mut |plain| out(plain).map_err(Unzipping::Fault)).map_err(|trouble| match trouble {
            Unzipping::Zip(defect) => Fault::Defect(Defect::Zip { number, defect }),
            Unzipping::Fault(fault) => fault,
        })
    }

    fn finish(mut self, junk: u64, sink: &mut dyn AttachmentSink) -> Result<Content, Fault> {
        if let Stage::Sniffing(held) = &self.stage {
            if held.starts_with(b"PK\x03\x04") && self.must_be_zip() {
                return Err(self.zip(ZipDefect::Truncated));
            }
            self.decide(None, sink)?;
        }
        let not_zip = self.entry.is_none() && self.must_be_zip();
        let form = match std::mem::replace(&mut self.stage, Stage::Raw) {
            Stage::Zipped(unzip) => {
                let entry = unzip.entry_name().unwrap_or_default();
                unzip.finish().map_err(|defect| self.zip(defect))?;
                Form::Zipped { entry }
            }
            _ => Form::Raw,
        };
        Ok(Content { form, bytes: self.bytes, sha256: self.hasher.finish(), junk, not_zip, entry: self.entry })
    }

    fn must_be_zip(&self) -> bool {
        is_zip_type(self.start.content_type.as_deref()) && !is_named_zip(self.start.name.as_deref())
    }

    fn zip(&self, defect: ZipDefect) -> Fault {
        Fault::Defect(Defect::Zip { number: self.start.index + 1, defect })
    }
}

enum Sniff {
    More,
    NoZip,
    Empty,
    Zip(LocalHeader),
}

fn sniff(held: &[u8]) -> Sniff {
    match held.get(..4) {
        None => Sniff::More,
        Some(b"PK\x05\x06") => Sniff::Empty,
        Some(b"PK\x03\x04") => match LocalHeader::parse(held) {
            Some(entry) => Sniff::Zip(entry),
            // A name longer than any real one: let the unzipper refuse it, or keep it as the file it is.
            None if held.len() > 64 * ZIP_NAME_BYTES_MAX => Sniff::NoZip,
            None => Sniff::More,
        },
        Some(_) => Sniff::NoZip,
    }
}

fn is_zip_type(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/zip"))
}

fn is_named_zip(name: Option<&str>) -> bool {
    name.and_then(extension_of).is_some_and(|extension| extension == "zip")
}

/// File types that are ZIPs themselves.
const ZIP_BASED: [&str; 22] = [
    "docx", "docm", "dotx", "xlsx", "xlsm", "xltx", "xlsb", "pptx", "pptm", "ppsx", "vsdx", "odt", "ods", "odp", "odg",
    "epub", "jar", "apk", "kmz", "asice", "asics", "sce",
];

/// Whether a ZIP is only the wrapping of the document, going by name, type and the first entry's name.
fn is_wrapping(name: Option<&str>, content_type: Option<&str>, entry: &LocalHeader) -> bool {
    if is_named_zip(name) {
        return false;
    }
    if is_zip_type(content_type) {
        return true;
    }
    let extension = name.and_then(extension_of);
    // A bare .docx begins with `[Content_Types].xml` or a folder, a wrapped one with `<uuid>.docx`.
    let same = entry.extension() == extension && !entry.name.contains(&b'/');
    same || !extension.is_some_and(|extension| ZIP_BASED.contains(&extension.as_str()))
}
