//! The docId under which a document system knows what it received.
//!
//! One envelope may be for several codes of one system, and someone may copy another's envelope id; a docId names one envelope of one
//! sender for one code, so that taking one item never takes another. It becomes a file's name at the client and stands unquoted in its JSON:
//! it is a UUID, never anything that a sender chose. Its first 48 bits are the envelope's, which is how it is found again; the rest is a hash.

use std::sync::Arc;

use truc_proto::{AgencyId, Digest, Timestamp};

use crate::{
    core::{Key, Received},
    service::{Error, found},
    shell::Shell,
    tokens::Grant,
};

const CONTEXT: &[u8] = b"truc/sdk-doc-id/1\n";

/// The docId of an envelope for one of its recipients: a UUID of version 8 (RFC 9562 5.8).
#[must_use]
pub fn doc_id(key: &Key, recipient: &AgencyId) -> String {
    let parts = [CONTEXT, key.envelope.as_bytes(), key.sender.as_str().as_bytes(), b"/", recipient.as_str().as_bytes()];
    let hash = Digest::of_parts(&parts);
    let mut bytes = [0; 16];
    let from = key.envelope.as_bytes().iter().take(6).chain(hash.as_bytes());
    bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
    groups.join("-")
}

/// The moment that a docId carries; none when it is no docId of ours.
fn made_at(text: &str) -> Option<Timestamp> {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => byte == b'8',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    });
    let digits = text.get(..8)?.to_owned() + text.get(9..13)?;
    (text.len() == 36 && shape).then(|| i64::from_str_radix(&digits, 16).ok()).flatten().map(Timestamp::from_unix_ms)
}

/// A received envelope and which of its codes is meant.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) received: Received,
    pub(super) code: AgencyId,
}

/// What a docId names, in memory or not, among the codes of a grant.
pub(super) async fn find(shell: &Arc<Shell>, grant: &Grant, text: &str) -> Result<Option<Item>, Error> {
    let Some(at) = made_at(text) else { return Ok(None) };
    let (allowed, wanted) = (grant.clone(), text.to_owned());
    let open = shell.engine.ask(move |core| {
        core.received_made_at(at).find_map(|received| {
            let code = meant(&allowed, &wanted, &received.key, received.codes.keys())?;
            Some(Item { received: received.clone(), code })
        })
    });
    if let Some(item) = open.await? {
        return Ok(Some(item));
    }
    let (archive, allowed, wanted) = (shell.archive.clone(), grant.clone(), text.to_owned());
    let closed = move || {
        archive.catch_up();
        for key in archive.received_made_at(at)? {
            let codes = allowed.codes.iter().flatten();
            let Some(code) = meant(&allowed, &wanted, &key, codes) else { continue };
            if let Some(received) = archive.received(&key).filter(|received| received.codes.contains_key(&code)) {
                return Ok(Some(Item { received, code }));
            }
        }
        Ok(None)
    };
    shell.work("looking into the archive", closed).await?.map_err(|error| found::no_answer(&error))
}

fn meant<'a>(
    grant: &Grant,
    wanted: &str,
    key: &Key,
    mut codes: impl Iterator<Item = &'a AgencyId>,
) -> Option<AgencyId> {
    codes.find(|code| grant.allows(code) && doc_id(key, code) == wanted).cloned()
}

#[cfg(test)]
mod tests {
    use truc_proto::EnvelopeId;

    use super::*;

    fn key(sender: &str, random: u8) -> Key {
        let envelope = EnvelopeId::new(Timestamp::from_unix_ms(1_795_392_000_123), [random; 10]);
        Key { envelope, sender: sender.parse().unwrap() }
    }

    #[test]
    fn pitfall_7_a_doc_id_is_a_uuid_and_never_what_a_sender_chose() {
        let (one, code) = (key("G22", 7), "H26".parse::<AgencyId>().unwrap());
        let id = doc_id(&one, &code);
        assert_eq!(id.len(), 36);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'), "{id}");
        assert_eq!(made_at(&id), Some(one.envelope.made_at()));
        assert_eq!(doc_id(&one, &code), id, "always the same");
        for other in
            [doc_id(&one, &"H37".parse().unwrap()), doc_id(&key("G09", 7), &code), doc_id(&key("G22", 8), &code)]
        {
            assert_ne!(other, id);
        }
        for foreign in
            ["", "../../etc/passwd", "x", &one.envelope.to_string(), &id.to_uppercase(), &format!("{id}0"), &id[1..]]
        {
            assert_eq!(made_at(foreign), None, "{foreign}");
        }
    }
}
