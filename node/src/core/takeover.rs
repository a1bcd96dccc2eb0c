//! What comes from today's axis: in the inbox once it is on the device, with ReceivedFromNonERDS as the first thing known of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_proto::{Actor, AgencyId, Digest, Event, EventUri, Preamble, Raw, Role, Timestamp};

use super::{
    Answer, Business, Code, Core, Effect, Hashes, Key, Received, Source, Token, Work, code_move, digest,
    inbox::{asked_by, step_of_event},
    outbox::status_about,
    parsed,
};
use crate::records::{Body, Place, RecordError, TakenOver};

/// Where a received document came from, when it was today's axis.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// That axis's name for it.
    pub doc_id: String,
    /// Its sender as written there.
    pub from: String,
}

impl Core {
    /// Once, whatever how often that axis lists it. The answer comes when it is on the device: then that axis may forget it.
    pub(super) fn take_over(&mut self, now: Timestamp, mut record: TakenOver, reply: Option<Token>) {
        let Ok(to) = record.to.parse::<AgencyId>() else {
            return self.effects.push(Effect::Broken("the gateway took something over for no code".into()));
        };
        if let Some(key) = self.taken_over(&record.doc_id, &to).cloned() {
            return self.reply(reply, Answer::Accepted { key, first: false });
        }
        if self.is_full() {
            return self.reply(reply, Answer::Busy);
        }
        record.at_ms = now.unix_ms();
        record.content.index_keys = self.status_strays(&record.content.status, false);
        match self.taking_over(now, &record, &to) {
            Ok((key, event)) => {
                let body = Body::TakenOver(record);
                if self.commit(body, Some(event.bytes().clone())).is_some() {
                    self.effects.push(Effect::Sign);
                    self.effects.push(Effect::Arrived { key: key.clone(), code: to });
                    self.reply(reply, Answer::Accepted { key, first: true });
                }
            }
            Err(why) => self.effects.push(Effect::Broken(why)),
        }
    }

    fn taking_over(&self, now: Timestamp, record: &TakenOver, to: &AgencyId) -> Result<(Key, Raw<Event>), String> {
        let preamble = Raw::<Preamble>::parse(record.preamble.clone()).map_err(|error| error.to_string())?;
        let hash = |bytes: &[u8]| Digest::from_slice(bytes).map_err(|error| error.to_string());
        let event = Raw::write(Event {
            event: EventUri::ReceivedFromNonErds,
            actor: Actor { code: Some(to.clone()), node: self.policy.node.clone(), role: Role::Recipient },
            time: now,
            envelope: Some(preamble.envelope),
            sender: preamble.sender.clone(),
            recipient: Some(to.clone()),
            submission: None,
            preamble: Some(preamble.digest()),
            payload: Some(hash(&record.payload.sha256)?),
            commitment: Some(hash(&record.commitment)?),
            key_envelope: None,
            reason: None,
            details: None,
            request: None,
            successor: None,
        });
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        Ok((key, event.map_err(|error| error.to_string())?))
    }

    /// What that axis's document is here, while it is in memory.
    #[must_use]
    pub fn taken_over(&self, doc_id: &str, to: &AgencyId) -> Option<&Key> {
        self.taken_over.get(&(doc_id.to_owned(), to.clone()))
    }

    // The fold.

    pub(super) fn fold_taken_over(
        &mut self,
        place: Place,
        record: &TakenOver,
        leaf: Option<Bytes>,
    ) -> Result<(), RecordError> {
        let inconsistent = |why: &str| RecordError::Inconsistent(why.to_owned());
        let event = super::event_of(leaf)?;
        let leaf_hash = truc_ledger::merkle::leaf_hash(event.bytes());
        let index = place.leaf.ok_or_else(|| inconsistent("an event without leaf index"))?;
        let preamble = Raw::<Preamble>::parse(record.preamble.clone())
            .map_err(|error| RecordError::Inconsistent(error.to_string()))?;
        let to: AgencyId = parsed(&record.to, "agency code")?;
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        let about = match record.content.status.as_slice() {
            [] => None,
            bytes => Some(status_about(bytes).map_err(RecordError::Inconsistent)?),
        };
        let state = code_move(None, event.event).ok_or_else(|| inconsistent("another event than was to be"))?;
        let payload = digest(&record.payload.sha256, "payload")?;
        // Its own leaf stands where the submission's does with others: later events name it.
        let hashes = Hashes {
            submission: leaf_hash,
            preamble: preamble.digest(),
            payload,
            commitment: digest(&record.commitment, "commitment")?,
        };
        let code = Code {
            state,
            key_envelope: payload,
            reason: None,
            consigned_at: Some(event.time),
            confirmed_at: None,
            taken_at: None,
            business: Business { change: asked_by(&record.content.about), ..Business::default() },
            told: super::Told::default(),
        };
        let position = place.position;
        self.received.insert(
            position,
            Received {
                key: key.clone(),
                body: position,
                content: Some(position),
                kind: preamble.kind,
                priority: preamble.priority,
                hashes,
                payload_length: record.payload.length,
                codes: BTreeMap::from([(to.clone(), code)]),
                steps: vec![step_of_event(&event, leaf_hash, Source::Own { position, index })],
                finals: BTreeMap::new(),
                places: vec![place],
                about,
                origin: Some(Origin { doc_id: record.doc_id.clone(), from: record.from.clone() }),
                removed: None,
                changed_at: event.time,
                work: Work::Idle,
                attempts: 0,
            },
        );
        self.received_keys.insert(key.clone(), position);
        self.received_leaves.insert(leaf_hash, position);
        self.taken_over.insert((record.doc_id.clone(), to), key);
        if !record.content.status.is_empty() {
            self.note_status(&record.content.status, place, false, preamble.envelope)?;
        }
        self.note_unread(position);
        self.schedule_received(position);
        self.watch_received(position, event.time);
        Ok(())
    }

    pub(super) fn note_origin(&mut self, received: &Received) {
        for code in received.codes.keys() {
            if let Some(origin) = &received.origin {
                self.taken_over.insert((origin.doc_id.clone(), code.clone()), received.key.clone());
            }
        }
    }

    pub(super) fn forget_origin(&mut self, received: &Received) {
        for code in received.codes.keys() {
            if let Some(origin) = &received.origin {
                self.taken_over.remove(&(origin.doc_id.clone(), code.clone()));
            }
        }
    }
}
