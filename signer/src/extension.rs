//! Extensions of certificates, revocation lists and their entries (RFC 5280 4.2, 5.2, 5.3), as slices of what was received.

use std::collections::HashSet;

use der::asn1::ObjectIdentifier;

use crate::asn1::{Malformed, OCTET_STRING, OID, Reader, Tlv};

/// One extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) id: Tlv<'a>,
    pub(crate) critical: bool,
    /// What the OCTET STRING wraps.
    pub(crate) value: &'a [u8],
}

impl Extension<'_> {
    pub(crate) fn is(&self, id: ObjectIdentifier) -> bool {
        self.id.is_oid(id)
    }

    /// Not critical, or one of these.
    pub(crate) fn is_passable(&self, known: &[ObjectIdentifier]) -> bool {
        !self.critical || known.iter().any(|id| self.is(*id))
    }

    /// The OID in dotted form, for messages.
    pub(crate) fn name(&self) -> String {
        ObjectIdentifier::from_bytes(self.id.content)
            .map_or_else(|_| "a malformed extension".into(), |id| id.to_string())
    }
}

/// All extensions of a SEQUENCE's content; none may stand there twice.
pub(crate) fn all(content: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut reader = Reader::new(content);
    let mut seen = HashSet::new();
    let mut extensions = Vec::new();
    while !reader.is_empty() {
        let mut fields = reader.sequence()?;
        let id = fields.expect(OID)?;
        let critical = fields.default_false()?;
        let value = fields.expect(OCTET_STRING)?.content;
        fields.finish()?;
        if !seen.insert(id.content) {
            return Err(Malformed);
        }
        extensions.push(Extension { id, critical, value });
    }
    Ok(extensions)
}
