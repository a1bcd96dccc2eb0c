//! PAdES-B-B signatures (ETSI EN 319 142-1) on PDF files, with a time-stamp B-T ones, by an incremental update: the bytes that were there stay.
//!
//! Written here, not verified: readers of PDF do that. What may not be updated safely is refused instead of repaired: a
//! file that a reader only opens by guessing would get a signature over something that others read differently.
//! Who asks for the time-stamp is the caller; long-term data (B-LT) are not added.
//!
//! The input is bounded, and each stream unpacked on the way; yet this is for PDFs that the caller made or has read, in a
//! task of its own: a hostile one may cost seconds.

mod appearance;
mod form;

pub use appearance::SignatureBox;

use std::fmt;

use lopdf::{Dictionary, Document, IncrementalDocument, LoadOptions, Object, ObjectId, StringFormat, dictionary};
use truc_proto::{
    Digest, Timestamp,
    limits::{PDF_SIGN_BYTES_MAX, PDF_SIGNATURE_BYTES_MAX, PDF_STREAM_BYTES_MAX},
};

use crate::{
    cms::sign_detached_digest,
    keys::{SignError, SigningKey},
};

/// What a signature says besides itself. All of it is optional and is covered by the signature.
#[derive(Debug, Clone, Default)]
pub struct PdfSignature<'a> {
    /// The signer's name as readers show it; the certificate's subject decides, not this.
    pub name: Option<String>,
    /// Why it was signed.
    pub reason: Option<String>,
    /// Where it was signed.
    pub location: Option<String>,
    /// The box to be seen on a page; without it the signature shows in the reader's list alone.
    pub visible: Option<SignatureBox<'a>>,
    /// Where the signature gets a time-stamp from; without it, or without an answer, it goes without.
    pub time_stamp: Option<AddTimeStamp<'a>>,
}

/// Gives a CMS signature back with a time-stamp in it, or nothing.
#[derive(Clone, Copy)]
pub struct AddTimeStamp<'a>(pub &'a dyn Fn(&[u8]) -> Option<Vec<u8>>);

impl fmt::Debug for AddTimeStamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddTimeStamp")
    }
}

/// Why a PDF was not signed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PdfSignError {
    /// Larger than we handle.
    #[error("the PDF has {bytes} bytes and at most {max} are signed; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`PDF_SIGN_BYTES_MAX`].
        max: usize,
    },
    /// It does not start with `%PDF-`.
    #[error("this is no PDF file: it does not start with %PDF-; remove what stands before it or export it again")]
    NotPdf,
    /// Readers would have to guess what it holds.
    #[error("the PDF is damaged or not written by the rules ({detail}); export it again from the program that made it")]
    Malformed {
        /// Where it breaks the rules.
        detail: String,
    },
    /// Encrypted, with the empty password too.
    #[error("the PDF is encrypted; remove the protection before it is signed")]
    Encrypted,
    /// An earlier signature forbids it.
    #[error("an earlier signature of the PDF allows no further change; another signature would break it")]
    Locked,
    /// An XFA form, which readers draw anew and whose signatures they do not agree on.
    #[error("the PDF is a dynamic form (XFA); print it to a plain PDF and sign that")]
    DynamicForm,
    /// The box is asked for on a page that is not there.
    #[error("the signature is to be seen on page {page}, and the PDF has {pages}; name another page")]
    NoSuchPage {
        /// The page asked for, from 1.
        page: usize,
        /// How many there are.
        pages: usize,
    },
    /// The box cannot be drawn as asked.
    #[error("the signature's box cannot be drawn: {detail}; change the box or sign without one")]
    Box {
        /// What does not fit.
        detail: String,
    },
    /// The signature with its certificates does not fit where it must stand.
    #[error(
        "the signature has {bytes} bytes and at most {max} fit into the PDF; carry fewer certificates in the key's chain"
    )]
    SignatureTooLarge {
        /// Its size.
        bytes: usize,
        /// [`PDF_SIGNATURE_BYTES_MAX`].
        max: usize,
    },
    /// The key's part.
    #[error(transparent)]
    Key(#[from] SignError),
}

/// Signs `pdf` as of `now`: the same bytes with an update behind them that holds the signature.
///
/// Signs with SHA-256 over everything but the signature itself. `now` is what readers show as the claimed time (`/M`, to
/// the second; EN 319 142-1 5.3 wants it there and not in the CMS). Earlier signatures stay valid.
///
/// # Errors
/// See [`PdfSignError`].
pub fn sign_pdf(
    pdf: &[u8],
    key: &dyn SigningKey,
    options: &PdfSignature<'_>,
    now: Timestamp,
) -> Result<Vec<u8>, PdfSignError> {
    let document = load(pdf)?;
    let mut update = IncrementalDocument::create_from(pdf.to_vec(), document);
    form::refuse_locked(update.get_prev_documents())?;
    tidy_trailer(&mut update.new_document.trailer, pdf);

    let (page, rectangle) = match &options.visible {
        Some(visible) => appearance::place(update.get_prev_documents(), visible)?,
        None => (form::page(update.get_prev_documents(), 1)?, vec![0.into(); 4]),
    };
    let drawn =
        options.visible.as_ref().map(|visible| appearance::draw(&mut update.new_document, visible)).transpose()?;
    let field = form::add_field(&mut update, page, rectangle, drawn)?;
    // Last, so that it has the highest number and is written behind all other objects: see `fill`.
    let signature = update.new_document.try_add_object(signature_dictionary(options, now)).map_err(malformed)?;
    form::set_value(&mut update, field, signature)?;

    let mut signed = Vec::with_capacity(pdf.len() + 4 * PDF_SIGNATURE_BYTES_MAX);
    update.save_to(&mut signed).map_err(|e| PdfSignError::Malformed { detail: e.to_string() })?;
    fill(&mut signed, pdf.len(), signature, key, options.time_stamp)?;
    Ok(signed)
}

fn load(pdf: &[u8]) -> Result<Document, PdfSignError> {
    if pdf.len() > PDF_SIGN_BYTES_MAX {
        return Err(PdfSignError::TooLarge { bytes: pdf.len(), max: PDF_SIGN_BYTES_MAX });
    }
    if !pdf.starts_with(b"%PDF-") {
        return Err(PdfSignError::NotPdf);
    }
    let options =
        LoadOptions { strict: true, max_decompressed_size: Some(PDF_STREAM_BYTES_MAX), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(pdf, options).map_err(malformed)?;
    // The empty password is tried at load, after which the file no longer says that it is encrypted.
    if document.is_encrypted() || document.encryption_state.is_some() || document.trailer.has(b"Encrypt") {
        return Err(PdfSignError::Encrypted);
    }
    // Without a place to point /Prev to, the update would hide everything before it.
    if document.xref_start == 0 || document.xref_recovery.is_some() {
        return Err(PdfSignError::Malformed { detail: "its cross-reference table is not where it says".into() });
    }
    // A hybrid file has a second table that only some readers look at.
    if document.trailer.has(b"XRefStm") {
        return Err(PdfSignError::Malformed { detail: "it has two cross-reference tables".into() });
    }
    Ok(document)
}

/// Only what an update needs, and no text of the file's own: `fill` searches what is appended.
fn tidy_trailer(trailer: &mut Dictionary, pdf: &[u8]) {
    let reference = |key: &[u8]| trailer.get(key).ok().filter(|object| object.as_reference().is_ok()).cloned();
    let (root, info) = (reference(b"Root"), reference(b"Info"));
    let previous = trailer.get(b"Prev").ok().cloned();
    let digest = Digest::of(pdf);
    let revision = digest.as_bytes().get(..16).unwrap_or_default();
    let first = trailer.get(b"ID").and_then(Object::as_array).ok().and_then(|id| id.first()?.as_str().ok());
    // The first part names the document and stays, the second names this revision (ISO 32000-1 14.4).
    let first = first.filter(|bytes| bytes.len() <= 64).unwrap_or(revision).to_vec();
    let hexadecimal = |bytes: Vec<u8>| Object::String(bytes, StringFormat::Hexadecimal);
    let id = Object::Array(vec![hexadecimal(first), hexadecimal(revision.to_vec())]);
    let entries = [("Root", root), ("Info", info), ("Prev", previous), ("ID", Some(id))];
    *trailer = Dictionary::new();
    for (key, value) in entries {
        if let Some(value) = value {
            trailer.set(key, value);
        }
    }
}

/// Stands for a number of `/ByteRange` until all are known: ten digits, so that nothing moves.
const UNKNOWN_OFFSET: i64 = 9_999_999_999;

fn signature_dictionary(options: &PdfSignature<'_>, now: Timestamp) -> Dictionary {
    let unknown = || Object::Integer(UNKNOWN_OFFSET);
    let mut dictionary = dictionary! {
        "Type" => "Sig",
        "Filter" => "Adobe.PPKLite",
        "SubFilter" => "ETSI.CAdES.detached",
        "ByteRange" => vec![Object::Integer(0), unknown(), unknown(), unknown()],
        "Contents" => Object::String(vec![0; PDF_SIGNATURE_BYTES_MAX], StringFormat::Hexadecimal),
        "M" => Object::string_literal(date(now)),
    };
    for (key, value) in [("Name", &options.name), ("Reason", &options.reason), ("Location", &options.location)] {
        if let Some(value) = value {
            dictionary.set(key, text(value));
        }
    }
    dictionary
}

/// Writes `/ByteRange`, signs, writes `/Contents`.
///
/// The dictionary is found behind the last `N 0 obj` of its number. Nothing of the file's own stands behind that: the
/// signature is the last object and the trailer holds numbers and hexadecimal strings alone.
fn fill(
    signed: &mut [u8],
    before: usize,
    signature: ObjectId,
    key: &dyn SigningKey,
    time_stamp: Option<AddTimeStamp<'_>>,
) -> Result<(), PdfSignError> {
    let object = find_last(signed, before, format!("\n{} {} obj", signature.0, signature.1).as_bytes());
    let range_key = find(signed, object, b"/ByteRange");
    let range_start = find(signed, range_key, b"[");
    let range_end = find(signed, range_start, b"]") + 1;
    let contents_key = find(signed, object, b"/Contents");
    let start = find(signed, contents_key, b"<");
    let end = find(signed, start, b">") + 1;

    let numbers = format!("[0 {start} {end} {}", signed.len() - end);
    let room = signed.get_mut(range_start..range_end).expect("both were found in it");
    let padded = format!("{numbers:width$}]", width = room.len() - 1);
    room.copy_from_slice(padded.as_bytes());

    let parts = [signed.get(..start), signed.get(end..)].map(Option::unwrap_or_default);
    let cms = sign_detached_digest(key, Digest::of_parts(&parts), None)?;
    if cms.len() > PDF_SIGNATURE_BYTES_MAX {
        return Err(PdfSignError::SignatureTooLarge { bytes: cms.len(), max: PDF_SIGNATURE_BYTES_MAX });
    }
    let stamped = time_stamp.and_then(|AddTimeStamp(add)| add(&cms));
    // An authority's chain may be too long for the room: a signature without time-stamp is better than none.
    let cms = stamped.filter(|stamped| stamped.len() <= PDF_SIGNATURE_BYTES_MAX).unwrap_or(cms);
    let hexadecimal = data_encoding::HEXUPPER.encode(&cms);
    let room = signed.get_mut(start + 1..start + 1 + hexadecimal.len());
    room.expect("twice PDF_SIGNATURE_BYTES_MAX digits were written").copy_from_slice(hexadecimal.as_bytes());
    Ok(())
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.windows(what.len()).position(|window| window == what).expect("the signature's dictionary holds it")
}

fn find_last(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.windows(what.len()).rposition(|window| window == what).expect("the signature's object was written")
}

/// A PDF date in UTC (ISO 32000-1 7.9.4).
fn date(at: Timestamp) -> String {
    let seconds = std::time::Duration::from_secs(u64::try_from(at.unix_s()).expect("a Timestamp is never before 1970"));
    let date = der::DateTime::from_unix_duration(seconds).expect("a Timestamp is never after 9999");
    let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
    format!("D:{:04}{:02}{:02}{hour:02}{minute:02}{second:02}Z", date.year(), date.month(), date.day())
}

/// A PDF text string: UTF-16BE behind its mark, in hexadecimal digits.
fn text(value: &str) -> Object {
    let units = std::iter::once(0xfeff).chain(value.encode_utf16());
    Object::String(units.flat_map(u16::to_be_bytes).collect(), StringFormat::Hexadecimal)
}

fn malformed(error: lopdf::Error) -> PdfSignError {
    PdfSignError::Malformed { detail: error.to_string() }
}
