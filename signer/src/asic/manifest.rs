//! `META-INF/ASiCManifest.xml` (ETSI EN 319 162-1 A.4): which entries the signature covers, by digest.
//!
//! Written in one form; read strictly: no DOCTYPE, comment, CDATA, entity, extension or foreign element, SHA-256 alone.

use std::fmt::Write as _;

use quick_xml::{
    NsReader, XmlVersion,
    events::{BytesStart, Event, attributes::Attribute},
    name::{Namespace, PrefixDeclaration, ResolveResult},
};
use truc_proto::{
    Digest,
    limits::{ASIC_MANIFEST_BYTES_MAX, ASIC_MANIFEST_NAMESPACES_MAX, CONTAINER_ENTRIES_MAX, MEDIA_TYPE_BYTES_MAX},
};

use super::{
    SIGNATURE_NAME,
    name::{EntryName, EntryNameError},
};

const ASIC_NAMESPACE: &str = "http://uri.etsi.org/02918/v1.2.1#";
const DS_NAMESPACE: &str = "http://www.w3.org/2000/09/xmldsig#";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const SIGNATURE_TYPE: &str = "application/pkcs7-signature"; // RFC 8551 3.2.1
/// The same type as other software writes it.
const SIGNATURE_TYPE_OLD: &str = "application/x-pkcs7-signature";

/// XML's white space (XML 1.0 2.3).
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A manifest as it was read, with its bytes: they are what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsicManifest {
    bytes: Vec<u8>,
    references: Vec<DataObjectReference>,
}

/// One entry the signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataObjectReference {
    /// Name of the entry.
    pub name: EntryName,
    /// Its media type, where the manifest gives one; said by the sender, checked by nobody.
    pub media_type: Option<Box<str>>,
    /// SHA-256 of the entry's decoded bytes.
    pub digest: Digest,
}

/// Why a manifest is refused. The sender's software must be corrected: retrying cannot help.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than [`ASIC_MANIFEST_BYTES_MAX`] bytes, or more references than entries are allowed.
    #[error("the manifest has more than {} bytes or more references than allowed", ASIC_MANIFEST_BYTES_MAX)]
    TooLarge,
    /// Not UTF-8, or declared to be something else.
    #[error("the manifest is not UTF-8")]
    Encoding,
    /// Not well-formed.
    #[error("the manifest is not well-formed XML")]
    Xml(#[source] quick_xml::Error),
    /// XML that has no place in a manifest: DOCTYPE, entity, comment, CDATA, processing instruction, text between elements.
    #[error("the manifest holds {what}, which has no place there")]
    Forbidden {
        /// What was found.
        what: &'static str,
    },
    /// Another element than the one that comes next.
    #[error("the manifest holds `{found}` where {expected} must stand")]
    Structure {
        /// What the schema has here.
        expected: &'static str,
        /// What was found, or `the end`.
        found: String,
    },
    /// An attribute that is missing, unknown, or has another value than the profile's.
    #[error("attribute `{name}` of `{element}` is missing, unknown, or not what this profile has")]
    Attribute {
        /// The element.
        element: &'static str,
        /// The attribute.
        name: String,
    },
    /// A URI that is not the percent-encoded name of an entry.
    #[error("the manifest's reference `{uri}` is not the percent-encoded name of an entry")]
    Uri {
        /// As read.
        uri: String,
        /// Why, where its decoded form is no name.
        source: Option<EntryNameError>,
    },
    /// A digest that is not base64 of 32 bytes.
    #[error("the manifest's digest of {name} is not a SHA-256 in base64")]
    Digest {
        /// Of which entry.
        name: EntryName,
    },
    /// Two references to the same entry.
    #[error("the manifest names {name} twice")]
    Duplicate {
        /// The entry.
        name: EntryName,
    },
}

impl AsicManifest {
    /// Writes the manifest over `references`, in their order.
    pub(super) fn write(references: &[DataObjectReference]) -> Vec<u8> {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<asic:ASiCManifest xmlns:asic=\"{ASIC_NAMESPACE}\" xmlns:ds=\"{DS_NAMESPACE}\">\
             <asic:SigReference URI=\"{SIGNATURE_NAME}\" MimeType=\"{SIGNATURE_TYPE}\"/>"
        );
        for reference in references {
            let uri = percent_encode(reference.name.as_str());
            let _ = write!(xml, "<asic:DataObjectReference URI=\"{uri}\"");
            if let Some(media_type) = &reference.media_type {
                let _ = write!(xml, " MimeType=\"{}\"", quick_xml::escape::escape(media_type.as_ref()));
            }
            let _ = write!(
                xml,
                "><ds:DigestMethod Algorithm=\"{SHA256}\"/><ds:DigestValue>{}</ds:DigestValue></asic:DataObjectReference>",
                reference.digest.to_base64()
            );
        }
        xml.push_str("</asic:ASiCManifest>\n");
        xml.into_bytes()
    }

    /// Reads a manifest and keeps its bytes.
    ///
    /// # Errors
    /// [`ManifestError`], by rule.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        Self::parse_with(bytes, CONTAINER_ENTRIES_MAX)
    }

    pub(super) fn parse_with(bytes: Vec<u8>, references_max: usize) -> Result<Self, ManifestError> {
        if bytes.len() > ASIC_MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let text = str::from_utf8(&bytes).map_err(|_| ManifestError::Encoding)?;
        check_characters(text)?;
        let references = Parser::new(text).manifest(references_max)?;
        Ok(Self { bytes, references })
    }

    /// The bytes as received: what the signature is over, and what the content commitment hashes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it covers, in its order.
    #[must_use]
    pub fn references(&self) -> &[DataObjectReference] {
        &self.references
    }

    /// The entry with this content, if it is covered: how an auditor finds the one file he holds.
    #[must_use]
    pub fn find(&self, content: &Digest) -> Option<&DataObjectReference> {
        self.references.iter().find(|reference| reference.digest == *content)
    }
}

/// What quick-xml passes over and other readers do not, or the other way round: what is signed must read in one way.
fn check_characters(text: &str) -> Result<(), ManifestError> {
    let what = if text.starts_with('\u{feff}') {
        "a byte order mark"
    } else if text.chars().any(|found| !is_xml_character(found)) {
        "a character that XML does not have"
    } else if text.contains("&#") {
        "a reference by number"
    } else {
        return Ok(());
    };
    Err(ManifestError::Forbidden { what })
}

/// XML 1.0 2.2.
const fn is_xml_character(found: char) -> bool {
    matches!(found, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// One element's two attributes that matter; everything else is refused.
struct Attributes {
    uri: String,
    media_type: Option<Box<str>>,
}

struct Parser<'a> {
    reader: NsReader<&'a [u8]>,
    at_start: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, at_start: true }
    }

    fn manifest(mut self, references_max: usize) -> Result<Vec<DataObjectReference>, ManifestError> {
        let root = self.open(ASIC_NAMESPACE, "ASiCManifest")?;
        no_attributes(&root, "ASiCManifest")?;
        self.signature_reference()?;
        let mut references = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(start) = self.open_or_close(ASIC_NAMESPACE, "DataObjectReference")? {
            let reference = self.reference(&start)?;
            if !seen.insert(reference.name.clone()) {
                return Err(ManifestError::Duplicate { name: reference.name });
            }
            if references.len() == references_max {
                return Err(ManifestError::TooLarge);
            }
            references.push(reference);
        }
        match self.next()? {
            Token::End => Ok(references),
            other => Err(structure("the end", &other)),
        }
    }

    fn signature_reference(&mut self) -> Result<(), ManifestError> {
        let start = self.open(ASIC_NAMESPACE, "SigReference")?;
        let attributes = attributes(&start, "SigReference")?;
        if percent_decode(&attributes.uri)?.as_str() != SIGNATURE_NAME {
            return Err(attribute("SigReference", "URI"));
        }
        if !matches!(attributes.media_type.as_deref(), None | Some(SIGNATURE_TYPE | SIGNATURE_TYPE_OLD)) {
            return Err(attribute("SigReference", "MimeType"));
        }
        self.close()
    }

    fn reference(&mut self, start: &BytesStart<'a>) -> Result<DataObjectReference, ManifestError> {
        let Attributes { uri, media_type } = attributes(start, "DataObjectReference")?;
        let name = percent_decode(&uri)?;
        self.digest_method()?;
        let value = self.open(DS_NAMESPACE, "DigestValue")?;
        no_attributes(&value, "DigestValue")?;
        let digest = match self.next()? {
            Token::Text(text) => Digest::from_base64(text.trim_matches(SPACE)).ok(),
            _ => None,
        };
        let digest = digest.ok_or(ManifestError::Digest { name: name.clone() })?;
        self.close()?;
        self.close()?;
        Ok(DataObjectReference { name, media_type, digest })
    }

    fn digest_method(&mut self) -> Result<(), ManifestError> {
        let start = self.open(DS_NAMESPACE, "DigestMethod")?;
        let mut algorithm = None;
        for (name, value) in plain_attributes(&start, "DigestMethod")? {
            if name != "Algorithm" {
                return Err(attribute("DigestMethod", &name));
            }
            algorithm = Some(value);
        }
        if algorithm.as_deref() != Some(SHA256) {
            return Err(attribute("DigestMethod", "Algorithm"));
        }
        self.close()
    }

    /// The next thing is the start of this element.
    fn open(&mut self, namespace: &'static str, local: &'static str) -> Result<BytesStart<'a>, ManifestError> {
        match self.next_tag()? {
            Token::Start(found, start) if found == namespace && start.local_name().as_ref() == local => Ok(start),
            other => Err(structure(local, &other)),
        }
    }

    /// The next thing is the start of this element, or the end of its parent.
    fn open_or_close(
        &mut self,
        namespace: &'static str,
        local: &'static str,
    ) -> Result<Option<BytesStart<'a>>, ManifestError> {
        match self.next_tag()? {
            Token::Start(found, start) if found == namespace && start.local_name().as_ref() == local => Ok(Some(start)),
            Token::Close => Ok(None),
            other => Err(structure(local, &other)),
        }
    }

    /// The next thing is the end of the element that is open; quick-xml checks which that is.
    fn close(&mut self) -> Result<(), ManifestError> {
        match self.next_tag()? {
            Token::Close => Ok(()),
            other => Err(structure("the end of an element", &other)),
        }
    }

    fn next_tag(&mut self) -> Result<Token<'a>, ManifestError> {
        match self.next()? {
            Token::Text(_) => Err(ManifestError::Forbidden { what: "text between elements" }),
            token => Ok(token),
        }
    }

    /// The next token that is not white space.
    fn next(&mut self) -> Result<Token<'a>, ManifestError> {
        loop {
            let (namespace, event) = self.reader.read_resolved_event().map_err(ManifestError::Xml)?;
            let at_start = std::mem::replace(&mut self.at_start, false);
            let what = match event {
                Event::Start(start) => {
                    let namespace =
                        if let ResolveResult::Bound(Namespace(name)) = namespace { known(name) } else { "" };
                    return Ok(Token::Start(namespace, start));
                }
                Event::End(_) => return Ok(Token::Close),
                Event::Text(text) => {
                    let text = text.into_inner();
                    if text.trim_matches(SPACE).is_empty() {
                        continue;
                    }
                    return Ok(Token::Text(text.into_owned()));
                }
                Event::Decl(declaration) if at_start => {
                    check_declaration(&declaration)?;
                    continue;
                }
                Event::Eof => return Ok(Token::End),
                Event::Empty(_) => "an empty element",
                Event::Decl(_) => "a second XML declaration",
                Event::PI(_) => "a processing instruction",
                Event::DocType(_) => "a DOCTYPE",
                Event::GeneralRef(_) => "an entity",
                Event::Comment(_) => "a comment",
                Event::CData(_) => "a CDATA section",
            };
            return Err(ManifestError::Forbidden { what });
        }
    }
}

enum Token<'a> {
    Start(&'static str, BytesStart<'a>),
    Close,
    Text(String),
    End,
}

fn known(namespace: &str) -> &'static str {
    [ASIC_NAMESPACE, DS_NAMESPACE].into_iter().find(|known| *known == namespace).unwrap_or("")
}

fn check_declaration(declaration: &quick_xml::events::BytesDecl<'_>) -> Result<(), ManifestError> {
    if declaration.xml_version().map_err(ManifestError::Xml)? != XmlVersion::Explicit1_0 {
        return Err(ManifestError::Forbidden { what: "another version of XML" });
    }
    // quick-xml looks for what it knows and passes over the rest (XML 1.0 2.8).
    let fields = declaration.strip_prefix("xml").and_then(spaced).unwrap_or_default();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let standalone = fields.iter().find(|(name, _)| *name == "standalone").map(|(_, value)| *value);
    let orders: [&[&str]; 4] =
        [&["version"], &["version", "encoding"], &["version", "standalone"], &["version", "encoding", "standalone"]];
    if !orders.contains(&names.as_slice()) || !matches!(standalone, None | Some("yes" | "no")) {
        return Err(ManifestError::Forbidden { what: "an XML declaration that is none" });
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("UTF-8") => Ok(()),
        Some(_) => Err(ManifestError::Encoding),
    }
}

fn attributes(start: &BytesStart<'_>, element: &'static str) -> Result<Attributes, ManifestError> {
    let (mut uri, mut media_type) = (None, None);
    for (name, value) in plain_attributes(start, element)? {
        match name.as_str() {
            "URI" => uri = Some(value),
            "MimeType" if value.len() <= MEDIA_TYPE_BYTES_MAX => media_type = Some(value.into_boxed_str()),
            _ => return Err(attribute(element, &name)),
        }
    }
    Ok(Attributes { uri: uri.ok_or_else(|| attribute(element, "URI"))?, media_type })
}

/// Names and values as they stand, each after white space as XML demands (XML 1.0 3.1), which quick-xml does not; `None` where that is not so.
fn spaced(text: &str) -> Option<Vec<(&str, &str)>> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        let next = rest.trim_start_matches(SPACE);
        if next.is_empty() {
            return Some(found);
        }
        if next.len() == rest.len() {
            return None;
        }
        let (name, value) = next.split_once('=')?;
        let value = value.trim_start_matches(SPACE);
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, behind) = value.strip_prefix(quote)?.split_once(quote)?;
        found.push((name.trim_end_matches(SPACE), value));
        rest = behind;
    }
}

fn no_attributes(start: &BytesStart<'_>, element: &'static str) -> Result<(), ManifestError> {
    match plain_attributes(start, element)?.into_iter().next() {
        None => Ok(()),
        Some((name, _)) => Err(attribute(element, &name)),
    }
}

/// The attributes without namespace declarations: at most two, since no element of a manifest has more.
fn plain_attributes(start: &BytesStart<'_>, element: &'static str) -> Result<Vec<(String, String)>, ManifestError> {
    if spaced(start.attributes_raw()).is_none() {
        return Err(ManifestError::Forbidden { what: "attributes without white space between them" });
    }
    if start.attributes_raw().contains('<') {
        return Err(ManifestError::Forbidden { what: "`<` in an attribute" });
    }
    let (mut found, mut declared) = (Vec::new(), 0);
    for item in start.attributes() {
        let item: Attribute<'_> = item.map_err(|error| ManifestError::Xml(error.into()))?;
        if let Some(binding) = item.key.as_namespace_binding() {
            if !may_be_declared(&binding, &item.value) {
                return Err(ManifestError::Forbidden { what: "a namespace that cannot be declared so" });
            }
            if item.value.contains('&') {
                return Err(ManifestError::Forbidden { what: "an entity in a namespace" });
            }
            declared += 1;
            if declared > ASIC_MANIFEST_NAMESPACES_MAX {
                return Err(ManifestError::Forbidden { what: "too many namespaces" });
            }
            continue;
        }
        let name = item.key.0.to_owned();
        if found.len() == 2 {
            return Err(attribute(element, &name));
        }
        let value = item.normalized_value(XmlVersion::Explicit1_0).map_err(ManifestError::Xml)?;
        found.push((name, value.into_owned()));
    }
    Ok(found)
}

/// Whether a namespace is declared in a way that every reader takes alike (Namespaces in XML 1.0, 3).
fn may_be_declared(binding: &PrefixDeclaration<'_>, namespace: &str) -> bool {
    const KEPT: [&str; 2] = ["http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"];
    let is_prefix = |prefix: &str| {
        let begins = prefix.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let is_plain = |found: char| found.is_ascii_alphanumeric() || matches!(found, '_' | '-' | '.');
        begins && prefix.chars().all(is_plain) && !["xml", "xmlns"].contains(&prefix)
    };
    let is_named_well = match binding {
        PrefixDeclaration::Default => true,
        PrefixDeclaration::Named(prefix) => is_prefix(prefix),
    };
    is_named_well && !KEPT.contains(&namespace)
}

fn attribute(element: &'static str, name: &str) -> ManifestError {
    ManifestError::Attribute { element, name: shortened(name) }
}

fn structure(expected: &'static str, found: &Token<'_>) -> ManifestError {
    let found = match found {
        Token::Start(_, start) => shortened(start.name().0),
        Token::Close => "the end of an element".to_owned(),
        Token::Text(_) => "text".to_owned(),
        Token::End => "the end".to_owned(),
    };
    ManifestError::Structure { expected, found }
}

/// What a stranger wrote, short enough for a message.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Every byte but letters, digits, `-._~` and `/` as `%XX` (RFC 3986 2.1, 2.3).
fn percent_encode(name: &str) -> String {
    let mut uri = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// The entry a URI names. Refused: what RFC 3986 does not allow in a relative path, and queries and fragments.
fn percent_decode(uri: &str) -> Result<EntryName, ManifestError> {
    let refused = |source| ManifestError::Uri { uri: shortened(uri), source };
    let mut name = Vec::with_capacity(uri.len());
    let mut bytes = uri.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(refused(None)),
            },
            _ if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) => byte,
            _ => return Err(refused(None)),
        };
        name.push(decoded);
    }
    EntryName::from_bytes(&name).map_err(|source| refused(Some(source)))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
