//! How long sealed payloads stay on the device. A record says first that one may go; receipts and facts stay for ever.

use truc_proto::{Digest, Timestamp};

use super::{Core, Effect, Kept, Key, Removal, Sent, parsed};
use crate::records::{Body, Needless, PayloadRemoved, Place, RecordError};

impl Core {
    /// A payload that was kept long enough may go, unless its document is open.
    pub(super) fn kept(&mut self, now: Timestamp, kept: Kept) {
        let Some(retention) = self.policy.retention else { return };
        if now < kept.changed_at + retention || self.received_keys.contains_key(&kept.key) {
            return;
        }
        let record = PayloadRemoved {
            sender: kept.key.sender.to_string(),
            envelope: kept.key.envelope.to_string(),
            needless: needless(&kept.payload, kept.body),
            at_ms: now.unix_ms(),
            kept_ms: u64::try_from(retention.as_millis()).unwrap_or(u64::MAX),
        };
        if self.commit(Body::PayloadRemoved(record), None).is_some() {
            let payload = kept.alone.then_some(kept.payload);
            self.effects.push(Effect::Closed { key: kept.key, payload });
        }
    }

    pub(super) fn fold_payload_removed(&mut self, place: Place, record: &PayloadRemoved) -> Result<(), RecordError> {
        let key =
            Key { sender: parsed(&record.sender, "agency code")?, envelope: parsed(&record.envelope, "envelope id")? };
        // In memory only while what left it is folded again.
        let received = self.received_keys.get(&key).and_then(|position| self.received.get_mut(position));
        if let Some(received) = received {
            received.removed = Some(Removal { at: Timestamp::from_unix_ms(record.at_ms), kept_ms: record.kept_ms });
            received.places.push(place);
        }
        Ok(())
    }
}

/// What a document of ours keeps on the device, and the record that says so.
pub(super) fn needless_of(sent: &Sent) -> Option<Needless> {
    let payload = sent.held_blob.or(sent.hashes.map(|hashes| hashes.payload))?;
    Some(needless(&payload, sent.body))
}

fn needless(payload: &Digest, position: u64) -> Needless {
    Needless { payload: payload.as_bytes().to_vec(), position }
}
