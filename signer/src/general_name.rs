//! GeneralName (RFC 5280 4.2.1.6), as far as paths and revocation lists need to look into one.

use crate::asn1::{Malformed, Reader, SEQUENCE, Tlv, context, context_primitive};

/// One name; the slices are those received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GeneralName<'a> {
    /// rfc822Name.
    Email(&'a str),
    /// dNSName.
    Dns(&'a str),
    /// directoryName: DER of the Name.
    Directory(&'a [u8]),
    /// uniformResourceIdentifier.
    Uri(&'a str),
    /// iPAddress: the octets.
    Ip(&'a [u8]),
    /// otherName, x400Address, ediPartyName or registeredID, by its tag.
    Other(u8),
}

impl<'a> GeneralName<'a> {
    pub(crate) fn of(name: Tlv<'a>) -> Result<Self, Malformed> {
        Ok(match name.tag {
            tag if tag == context_primitive(1) => Self::Email(ascii(name.content)?),
            tag if tag == context_primitive(2) => Self::Dns(ascii(name.content)?),
            // Name is a CHOICE, so its tag is explicit.
            tag if tag == context(4) => Self::Directory(Tlv::parse(name.content, SEQUENCE)?.whole),
            tag if tag == context_primitive(6) => Self::Uri(ascii(name.content)?),
            tag if tag == context_primitive(7) => Self::Ip(name.content),
            tag if [context(0), context(3), context(5), context_primitive(8)].contains(&tag) => Self::Other(tag),
            _ => return Err(Malformed),
        })
    }

    /// All names of a GeneralNames' content; at least one.
    pub(crate) fn all(content: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader::new(content);
        let mut names = Vec::new();
        while !reader.is_empty() {
            names.push(Self::of(reader.any()?)?);
        }
        if names.is_empty() { Err(Malformed) } else { Ok(names) }
    }
}

/// IA5String.
fn ascii(content: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(content).ok().filter(|text| text.is_ascii()).ok_or(Malformed)
}
