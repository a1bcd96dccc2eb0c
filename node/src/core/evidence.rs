//! Evidence both ways: what others say about our envelopes, and own leaves until all who need them have them, finally.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use truc_evidence::{Attestations, Attested, fork_file_name};
use truc_proto::{
    Checkpoint, Digest, Event, EventUri, NodeId, Raw, Role, Submission, Timestamp,
    limits::{ENVELOPE_TTL_MAX_MS, FINALS_PARKED_MAX, FUTURE_SKEW_MAX_MS, NODE_UNATTESTED_MAX},
};

use super::{
    Alarm, Answer, Core, Effect, EntitledRef, ItemRef, Key, OwnCheckpoint, OwnLeaf, ReceivedItem, ReceivedLeaves,
    RefusedLeaf, Rejection, Sent, Shown, Source, Stage, Step, Token, Unsent, Work, digest, inbox::step_of_event,
    parsed, timers::Due,
};
use crate::records::{
    Body, Cosigned, DirectoryTaken, Entitled, Evidence, EvidenceItem, Note, PeerFork, PeerNote, Place, Pushed,
    RecordError,
};

/// What a leaf of others is to us.
enum Finding {
    /// New: to be recorded.
    New,
    /// Recorded before.
    Known,
    /// Says something about our envelope that cannot be.
    Contradicts(String),
    /// Nothing that a node keeps.
    Ignored,
}

impl Core {
    /// Verified leaves of others. Deduplicated by leaf hash, in any order; acknowledged once on the device.
    pub(super) fn evidence(&mut self, now: Timestamp, numbers: Vec<u64>, leaves: ReceivedLeaves) {
        let (mut items, mut strays) = (Vec::new(), Vec::new());
        for item in &leaves.items {
            let event = item.leaf.as_ref().and_then(|leaf| Raw::<Event>::parse(leaf.clone()).ok());
            match self.examine(item, event.as_ref(), &leaves) {
                Finding::New => {
                    strays.extend(self.strays(item, event.as_ref()));
                    items.push(EvidenceItem {
                        leaf: item.leaf.as_ref().map(|leaf| leaf.to_vec()).unwrap_or_default(),
                        leaf_hash: item.leaf_hash.as_bytes().to_vec(),
                        index: item.index,
                        proof: item.proof.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
                        envelope: item.envelope.to_string(),
                    });
                }
                Finding::Known | Finding::Ignored => {}
                Finding::Contradicts(why) => {
                    let text = format!("evidence of {} about {} is not believed: {why}", leaves.from, item.envelope);
                    self.set_alarm(Alarm::BadEvidence(leaves.from.clone()), Some(text));
                }
            }
        }
        if !items.is_empty() {
            let record = Evidence {
                from: leaves.from.to_string(),
                checkpoint: leaves.checkpoint.to_vec(),
                cms: leaves.cms,
                stamped: leaves.attested.stamped,
                cosigned: leaves.attested.cosigned,
                at_ms: now.unix_ms(),
                index_keys: strays,
                items,
            };
            if self.commit(Body::Evidence(record), None).is_none() {
                return;
            }
        }
        if !numbers.is_empty() {
            self.effects.push(Effect::Acknowledge(numbers));
        }
    }

    /// Index keys for what is about a document that is not in memory.
    fn strays(&self, item: &ReceivedItem, event: Option<&Raw<Event>>) -> Vec<String> {
        let hash = &item.leaf_hash;
        if item.leaf.is_none() {
            let known = self.sent_by_leaf(hash).is_some() || self.received_by_leaf(hash).is_some();
            return if known { Vec::new() } else { vec![format!("f/{hash}")] };
        }
        let Some((event, envelope)) = event.and_then(|event| Some((event, event.envelope?))) else { return Vec::new() };
        let key = Key { sender: event.sender.clone(), envelope };
        if self.find_sent(&key).is_some() {
            return Vec::new();
        }
        vec![super::stray_key(true, &key, self.next_position), format!("ls/{hash}/{key}")]
    }

    fn examine(&self, item: &ReceivedItem, event: Option<&Raw<Event>>, under: &ReceivedLeaves) -> Finding {
        let known_sent = self.sent_by_leaf(&item.leaf_hash);
        let known_received = self.received_by_leaf(&item.leaf_hash);
        let finals = [
            known_sent.and_then(|sent| sent.finals.get(&item.leaf_hash)),
            known_received.and_then(|received| received.finals.get(&item.leaf_hash)),
        ];
        let finalises = |known: &ItemRef| under.cms && under.attested.exceeds(known.attested);
        let Some(leaf) = &item.leaf else {
            // A finalisation; without the certificate's line it would say nothing new.
            let mut known = finals.into_iter().flatten().chain(self.parked.get(&item.leaf_hash));
            return if under.cms && known.all(finalises) { Finding::New } else { Finding::Known };
        };
        let is_news = under.cms && finals.into_iter().flatten().all(finalises);
        let news = |known: bool| if known && !is_news { Finding::Known } else { Finding::New };
        if let Some(event) = event {
            return match self.contradiction(event) {
                Some(why) => Finding::Contradicts(why),
                None => news(known_sent.is_some()),
            };
        }
        match Raw::<Submission>::parse(leaf.clone()) {
            Ok(_) => news(known_received.is_some()),
            Err(_) => Finding::Ignored, // a leaf about others' work, such as the relay's note of arrival
        }
    }

    /// Every event about an envelope of ours repeats what we sent, else it is about something else (I4, I7).
    fn contradiction(&self, event: &Event) -> Option<String> {
        let key = Key { sender: event.sender.clone(), envelope: event.envelope? };
        let sent = self.find_sent(&key)?;
        let hashes = sent.hashes?;
        let same = event.submission == Some(hashes.submission)
            && event.preamble == Some(hashes.preamble)
            && event.payload == Some(hashes.payload)
            && event.commitment == Some(hashes.commitment);
        if !same {
            return Some(format!("its {} names other hashes than what was sent", event.event.name()));
        }
        let Some(recipient) = &event.recipient else { return None };
        let Some(pair) = sent.pairs.get(recipient).filter(|pair| pair.passage.is_none()) else {
            return Some(format!("{recipient} is not among its recipients"));
        };
        let other_key = event.key_envelope.is_some() && pair.key_envelope != event.key_envelope;
        other_key.then(|| format!("{recipient} names another key envelope than the one made for it"))
    }

    /// Own leaves go to the relay in batches; one batch is under way at a time, the rest gathers meanwhile.
    pub(super) fn pump_pushes(&mut self) {
        if !self.connected || self.push_waits || !self.pushing.is_empty() {
            return;
        }
        let size = self.own_checkpoint.map_or(0, |own| own.size);
        let max = self.policy.push_leaves_max;
        let now = |index: &&u64| self.deferred.get(*index) != Some(&true) && !self.goes_with_keys(**index);
        let leaves = self.wants_leaf.range(size..).filter(now).take(max);
        let leaves: Vec<OwnLeaf> = leaves.filter_map(|i| self.own_leaf(*i)).collect();
        let there = self.own_checkpoint.map_or(Attested::NONE, |own| own.said.there());
        let both = self.wants_leaf.range(..size).chain(self.wants_final.range(..size));
        let finals = both.chain(self.unattested.bettered(there, size)).filter(now).take(max);
        let finals: Vec<OwnLeaf> = finals.filter_map(|i| self.own_leaf(*i)).collect();
        if leaves.is_empty() && finals.is_empty() {
            return;
        }
        self.pushing = leaves.iter().chain(&finals).map(|leaf| leaf.index).collect();
        let under = self.own_checkpoint.filter(|_| !finals.is_empty());
        self.pushing_under = under.map(|own| own.said).unwrap_or_default();
        self.effects.push(Effect::Push { leaves, finals: under.map(|own| (own.position, finals)) });
    }

    /// Our acceptance is shown by the call that takes the keys; it is pushed where that fails.
    fn goes_with_keys(&self, index: u64) -> bool {
        let Some(unsent) = self.unsent.get(index) else { return false };
        let opening = self.find_received(&unsent.key).filter(|received| received.work == Work::Opening);
        let is_it = |step: &Step| {
            step.leaf == unsent.leaf && (step.event, step.role) == (EventUri::RelayAcceptance, Role::Recipient)
        };
        opening.is_some_and(|received| received.steps.iter().any(is_it))
    }

    fn own_leaf(&self, index: u64) -> Option<OwnLeaf> {
        if let Some(Shown { envelope, leaf, position }) = self.unattested.get(index).copied() {
            return Some(OwnLeaf { index, position, leaf, envelope, known: true });
        }
        let unsent = self.unsent.get(index)?;
        let known = unsent.stage == Stage::Final;
        Some(OwnLeaf { index, position: unsent.position, leaf: unsent.leaf, envelope: unsent.key.envelope, known })
    }

    pub(super) fn pushed(&mut self, leaves: Vec<u64>, finally: bool) {
        // One push is answered in two parts, shown and final: it is over with the second.
        for index in &leaves {
            self.pushing.remove(index);
            if let (Some(_), Some(unsent)) = (self.deferred.remove(index), self.unsent.get(*index)) {
                self.alarms.remove(&Alarm::EvidenceWaits(unsent.key.envelope));
            }
        }
        let wanted = |index: &u64| self.unsent.get(*index).is_some() || self.unattested.get(*index).is_some();
        let new: Vec<u64> = leaves.into_iter().filter(wanted).collect();
        if !new.is_empty() {
            let under = if finally { self.pushing_under } else { Attestations::default() };
            let (stamp, cosignature) = (under.stamp.number(), under.cosignature.number());
            self.commit(Body::Pushed(Pushed { leaves: new, finally, stamp, cosignature, ..Pushed::default() }), None);
        }
    }

    /// What the relay will never take is given up and said; what it may take later waits, without holding up the rest.
    pub(super) fn push_refused(&mut self, now: Timestamp, leaves: Vec<RefusedLeaf>) {
        let mut given_up = Vec::new();
        for RefusedLeaf { index, kind, why } in leaves {
            self.pushing.remove(&index);
            if self.unattested.get(index).is_some() {
                // Whoever waits for it has it under the certificate; nobody need be told.
                match kind {
                    Rejection::NotNow => self.defer(now, index),
                    Rejection::Final | Rejection::UnknownEnvelope => given_up.push(index),
                }
                continue;
            }
            let Some(key) = self.unsent.get(index).map(|unsent| unsent.key.clone()) else { continue };
            let ends = match kind {
                Rejection::Final => true,
                Rejection::UnknownEnvelope => is_too_old(&key, now),
                Rejection::NotNow => false,
            };
            let (alarm, next) = if ends {
                given_up.push(index);
                self.alarms.remove(&Alarm::EvidenceWaits(key.envelope));
                let next = "it is not sent again; its receipt stays here: show it to the axis operator";
                (Alarm::EvidenceRefused(key.envelope), next)
            } else {
                self.defer(now, index);
                (Alarm::EvidenceWaits(key.envelope), "it is sent again by itself")
            };
            let what = "the relay does not take our evidence about";
            self.set_alarm(alarm, Some(format!("{what} {key}: {why}; {next}")));
        }
        if !given_up.is_empty() {
            self.commit(Body::Pushed(Pushed { leaves: given_up, refused: true, ..Pushed::default() }), None);
        }
    }

    fn defer(&mut self, now: Timestamp, index: u64) {
        self.deferred.insert(index, true);
        self.timers.set(now + Duration::from_millis(self.policy.retry_max_ms), Due::Deferred);
    }

    pub(super) fn push_failed(&mut self, now: Timestamp) {
        // A relay in trouble is not asked at once again.
        self.pushing.clear();
        self.push_waits = true;
        self.timers.set(now + Duration::from_millis(self.policy.retry_min_ms), Due::Push);
    }

    /// Kept when it covers more than the one before, or is that one and others say more of it.
    pub(super) fn checkpoint_signed(&mut self, note: Bytes, said: Attestations) {
        let Ok((_, checkpoint)) = Checkpoint::parse_note(&note) else { return };
        let says_more = self.own_checkpoint.is_none_or(|own| {
            own.size < checkpoint.size || (own.size == checkpoint.size && said.there().exceeds(own.said.there()))
        });
        if says_more {
            let (stamp, cosignature) = (said.stamp.number(), said.cosignature.number());
            self.commit(Body::OwnCheckpoint(Note { note: note.to_vec(), stamp, cosignature }), None);
        }
    }

    pub(super) fn peer_checkpoint(&mut self, node: NodeId, note: Bytes) {
        if self.peers.get(&node) != Some(&note) {
            self.commit(Body::PeerCheckpoint(PeerNote { node: node.to_string(), note: note.to_vec() }), None);
        }
    }

    /// A witness never goes back: not to a smaller tree than it cosigned, not to another of the same size, and to nobody that showed two histories. The
    /// answer leaves once the record is on the device (I1, I5).
    pub(super) fn cosign(&mut self, node: &NodeId, checkpoint: &Checkpoint, reply: Option<Token>) {
        let before = self.cosigned.get(node).filter(|before| before.origin() == checkpoint.origin());
        let same = before == Some(checkpoint);
        let behind = before.is_some_and(|before| before.size >= checkpoint.size) && !same;
        if behind || self.forks.contains_key(node) {
            return self.reply(
                reply,
                Answer::NotNow("this node cosigned a later state of that ledger, or saw two histories of it"),
            );
        }
        if !same {
            let root = checkpoint.root.as_bytes().to_vec();
            let (node, origin) = (node.to_string(), checkpoint.origin().to_owned());
            self.commit(Body::Cosigned(Cosigned { node, origin, size: checkpoint.size, root }), None);
        }
        self.reply(reply, Answer::Cosigned);
    }

    pub(super) fn fold_cosigned(&mut self, record: &Cosigned) -> Result<(), RecordError> {
        let root = digest(&record.root, "root")?;
        let checkpoint = Checkpoint::new(record.origin.clone(), record.size, root);
        let checkpoint = checkpoint.map_err(|error| RecordError::Inconsistent(error.to_string()))?;
        self.cosigned.insert(parsed(&record.node, "node")?, checkpoint);
        Ok(())
    }

    pub(super) fn peer_fork(&mut self, now: Timestamp, node: NodeId, held: Bytes, shown: Bytes) {
        let file =
            Checkpoint::parse_note(&shown).map_or_else(|_| String::new(), |(_, shown)| fork_file_name(shown.origin()));
        let text = format!(
            "{node} showed two histories of its ledger; both checkpoints are kept (store/forks/{file}, see `truc fork show`). Nothing is accepted from it: call the axis operator"
        );
        if !self.forks.contains_key(&node) {
            let (held, shown) = (held.to_vec(), shown.to_vec());
            let record = PeerFork { node: node.to_string(), held, shown, at_ms: now.unix_ms() };
            self.commit(Body::PeerFork(record), None);
        }
        self.set_alarm(Alarm::Fork(node), Some(text));
    }

    pub(super) fn directory_taken(&mut self, version: u64, statement: Digest) {
        if self.directory != Some((version, statement)) {
            let statement = statement.as_bytes().to_vec();
            self.commit(Body::DirectoryTaken(DirectoryTaken { version, statement }), None);
        }
    }

    /// Kept when it says something new: other entries, or a root that holds longer than the one kept.
    pub(super) fn entitled(&mut self, record: Entitled) {
        let Ok(node) = record.node.parse::<NodeId>() else { return };
        let last = self.entitlements.get(&(node, record.code.clone())).and_then(|refs| refs.last());
        let issued = Timestamp::from_unix_ms(record.issued_ms);
        let same = last.is_some_and(|last| {
            last.entries.as_bytes().as_slice() == record.entries
                && (issued <= last.issued || issued <= last.valid_until)
        });
        if !same {
            self.commit(Body::Entitled(record), None);
        }
    }

    /// What entitled an actor at `at`: positions of records, first that of the newest root issued by then, behind it the older ones, then the later
    /// ones. A few, for the case that the first is of another ledger of that node.
    #[must_use]
    pub fn entitlement_of(&self, node: &NodeId, code: Option<&truc_proto::AgencyId>, at: Timestamp) -> Vec<u64> {
        const FEW: usize = 16;
        let code = code.map(ToString::to_string).unwrap_or_default();
        let refs = self.entitlements.get(&(node.clone(), code)).map(Vec::as_slice).unwrap_or_default();
        let skew = Duration::from_millis(truc_proto::limits::FUTURE_SKEW_MAX_MS.unsigned_abs());
        let (by_then, later) = refs.split_at(refs.partition_point(|entitled| entitled.issued <= at + skew));
        by_then.iter().rev().chain(later).map(|entitled| entitled.position).take(FEW).collect()
    }

    pub(super) fn fold_entitled(&mut self, place: Place, record: &Entitled) -> Result<(), RecordError> {
        let entitled = EntitledRef {
            position: place.position,
            issued: Timestamp::from_unix_ms(record.issued_ms),
            valid_until: Timestamp::from_unix_ms(record.valid_until_ms),
            entries: digest(&record.entries, "entries")?,
        };
        let node = super::parsed(&record.node, "node")?;
        self.entitlements.entry((node, record.code.clone())).or_default().push(entitled);
        Ok(())
    }

    /// The relay is there: what it should hold is compared, what waits here goes on.
    pub(super) fn now_connected(&mut self) {
        self.connected = true;
        self.pushing.clear();
        self.push_waits = false;
        self.deferred.values_mut().for_each(|waits| *waits = false);
        let open = self.sent.values().filter(|sent| sent.relayed_at.is_some() && !sent.is_settled());
        let keys: Vec<Key> = open.map(|sent| sent.key.clone()).collect();
        if !keys.is_empty() {
            self.effects.push(Effect::Reconcile(keys));
        }
        let positions: Vec<u64> = self.received.keys().copied().collect();
        positions.into_iter().for_each(|position| self.queue_open(position));
        // What failed for want of the relay need not wait for its back-off.
        let positions: Vec<u64> = self.sent.keys().copied().collect();
        for position in positions {
            let Some(sent) = self.sent.get_mut(&position) else { continue };
            if matches!(sent.delivery, super::Delivery::BackOff(_)) && !sent.is_held() {
                sent.delivery = super::Delivery::Idle;
            }
            self.queue_offer(position);
            self.queue_reseals(position);
            self.queue_divide(position);
        }
    }

    pub(super) fn now_disconnected(&mut self) {
        self.connected = false;
        // Announcements belong to a connection: the relay makes them again.
        self.waiting.clear();
        self.waiting_ready.clear();
        self.suspects.clear();
    }

    /// The relay's signed list of what waits for us, against what we know of it: what it withholds raises an alarm.
    pub(super) fn undelivered(&mut self, listed: Vec<Key>, complete: bool) {
        if !complete {
            let text = "the relay's list of undelivered envelopes does not hash to the statement it signed".to_owned();
            return self.set_alarm(Alarm::Withholding, Some(text));
        }
        let mut suspects = std::collections::BTreeSet::new();
        let mut unknown = Vec::new();
        for key in listed {
            match self.find_received(&key) {
                Some(received) if !received.needs_opening() && !self.unsent_of(&key) => _ = suspects.insert(key),
                Some(_) => {}
                None => unknown.push(key),
            }
        }
        let again = suspects.iter().find(|key| self.suspects.contains(*key));
        let text = again.map(|key| {
            format!("the relay signs that {key} is undelivered although it took our evidence of its consignment")
        });
        self.set_alarm(Alarm::Withholding, text);
        self.suspects = suspects;
        let priority = truc_proto::Priority::ORDINARY;
        let kind = truc_proto::EnvelopeKind::Document;
        self.announce(
            unknown.into_iter().map(|key| super::Waiting { key, priority, payload_length: 0, kind }).collect(),
        );
    }

    fn unsent_of(&self, key: &Key) -> bool {
        self.unsent.about(key).any(|index| self.wants_leaf.contains(&index))
    }

    // The fold.

    pub(super) fn fold_evidence(&mut self, place: Place, record: &Evidence) -> Result<(), RecordError> {
        self.saw(record);
        for (item, number) in record.items.iter().zip(0u32..) {
            let at = ItemRef { position: place.position, item: number, attested: record.attested() };
            let hash = digest(&item.leaf_hash, "leaf")?;
            if item.leaf.is_empty() {
                self.fold_final(place, hash, at);
                continue;
            }
            if let Ok(event) = Raw::<Event>::parse(item.leaf.clone()) {
                self.fold_event(place, &event, hash, at, record)?;
            }
            if record.cms {
                self.fold_final(place, hash, at);
            }
        }
        Ok(())
    }

    /// What was signed to us is held against its signer at the next connect, proven or not (docs/ARCHITECTURE.md, No fork).
    fn saw(&mut self, record: &Evidence) {
        let (Ok(node), Ok((_, checkpoint))) =
            (record.from.parse::<NodeId>(), Checkpoint::parse_note(&record.checkpoint))
        else {
            return;
        };
        // The first line of a checkpoint is its origin; a recovery begins a new one, with a smaller tree.
        let origin = format!("{}\n", checkpoint.origin());
        let known = self.seen.get(&node).filter(|(_, note)| note.starts_with(origin.as_bytes()));
        if known.is_none_or(|(size, _)| *size < checkpoint.size) {
            self.seen.insert(node, (checkpoint.size, record.checkpoint.clone().into()));
        }
    }

    fn fold_event(
        &mut self,
        place: Place,
        event: &Event,
        hash: Digest,
        at: ItemRef,
        record: &Evidence,
    ) -> Result<(), RecordError> {
        let Some(envelope) = event.envelope else { return Ok(()) };
        let key = Key { sender: event.sender.clone(), envelope };
        // When it left memory, the index leads to it together with this record.
        let Some(position) = self.sent_keys.get(&key).copied() else { return Ok(()) };
        // Between two codes of this node, the receiving side may have taken it already.
        let taken = self.received_by_leaf(&hash).and_then(|received| received.finals.get(&hash)).copied();
        let parked = self.parked.remove(&hash).or(taken);
        let Some(sent) = self.sent.get_mut(&position) else { return Ok(()) };
        if sent.steps.iter().all(|step| step.leaf != hash) {
            sent.steps.push(step_of_event(event, hash, Source::Peer(at)));
            if sent.places.last() != Some(&place) {
                sent.places.push(place);
            }
            if let Some(parked) = parked {
                sent.finals.insert(hash, parked);
            }
            sent.changed_at = Timestamp::from_unix_ms(record.at_ms).max(sent.changed_at);
        }
        self.sent_leaves.insert(hash, position);
        self.move_pairs(position, event);
        self.submission_is_known(position, event.event);
        self.schedule_sent(position);
        self.queue_offer(position);
        self.queue_reseals(position);
        Ok(())
    }

    /// The relay took our submission, as its own word or a recipient's shows, so that only its finalisation is to be
    /// pushed; or it refused it, and nobody waits for more.
    fn submission_is_known(&mut self, position: u64, event: EventUri) {
        let Some(sent) = self.sent.get(&position) else { return };
        let Some((index, own, leaf)) = own_submission(sent) else { return };
        let signs = sent.steps.iter().filter(|step| step.shows_acceptance()).count();
        if event == EventUri::RelayRejection {
            if signs == 0 && sent.is_settled() {
                self.forget_unsent(index);
            }
        } else if signs == 1 {
            // The first sign; the acceptance itself may have been lost on its way, and the envelope given up since.
            let unsent = Unsent { key: sent.key.clone(), leaf, position: own, stage: Stage::Final };
            self.set_unsent(index, unsent);
        }
    }

    /// The relay never took it: nobody waits for its submission.
    pub(super) fn submission_failed(&mut self, position: u64) {
        let Some(sent) = self.sent.get(&position).filter(|sent| !sent.steps.iter().any(Step::shows_acceptance)) else {
            return;
        };
        if let Some((index, ..)) = own_submission(sent) {
            self.forget_unsent(index);
        }
    }

    fn fold_final(&mut self, place: Place, hash: Digest, at: ItemRef) {
        let mut found = false;
        if let Some(sent) = self.sent_leaves.get(&hash).and_then(|position| self.sent.get_mut(position)) {
            put_final(&mut sent.finals, hash, at);
            if sent.places.last() != Some(&place) {
                sent.places.push(place);
            }
            found = true;
        }
        if let Some(received) = self.received_leaves.get(&hash).and_then(|position| self.received.get_mut(position)) {
            put_final(&mut received.finals, hash, at);
            if received.places.last() != Some(&place) {
                received.places.push(place);
            }
            found = true;
        }
        if !found {
            put_final(&mut self.parked, hash, at);
            if self.parked.len() > FINALS_PARKED_MAX {
                let oldest = self.parked.iter().min_by_key(|(_, at)| at.position).map(|(hash, _)| *hash);
                oldest.map(|hash| self.parked.remove(&hash));
            }
        }
    }

    pub(super) fn fold_pushed(&mut self, record: &Pushed) {
        let under = record.under();
        for index in &record.leaves {
            if record.finally || record.refused {
                let again = self.unattested.remove(*index);
                let first = self.unsent.get(*index).map(|Unsent { key, leaf, position, .. }| Shown {
                    envelope: key.envelope,
                    leaf: *leaf,
                    position: *position,
                });
                if let Some(shown) = first.or(again).filter(|_| under.lacks()) {
                    self.unattested.insert(under.there(), *index, shown);
                }
                self.forget_unsent(*index);
            } else {
                self.leaf_is_known(*index);
            }
        }
        self.bound_unattested();
    }

    fn bound_unattested(&mut self) {
        let most = self.own_checkpoint.map_or(NODE_UNATTESTED_MAX, |own| own.said.waiting_max(NODE_UNATTESTED_MAX));
        let mut too_many = self.unattested.len().saturating_sub(most);
        while too_many > 0 && self.unattested.pop_first().is_some() {
            too_many -= 1;
        }
    }

    pub(super) fn fold_own_checkpoint(&mut self, place: Place, record: &Note) -> Result<(), RecordError> {
        let (_, checkpoint) =
            Checkpoint::parse_note(&record.note).map_err(|e| RecordError::Inconsistent(e.to_string()))?;
        let said = record.said();
        // Authorities that were taken out of the settings will say nothing.
        self.unattested.keep_those_that_may_gain(said.wanted());
        self.own_checkpoint = Some(OwnCheckpoint { position: place.position, size: checkpoint.size, said });
        self.bound_unattested();
        Ok(())
    }

    pub(super) fn set_unsent(&mut self, index: u64, unsent: Unsent) {
        self.wants_leaf.remove(&index);
        self.wants_final.remove(&index);
        match unsent.stage {
            Stage::WithOffer => {}
            Stage::Leaf => _ = self.wants_leaf.insert(index),
            Stage::Final => _ = self.wants_final.insert(index),
        }
        self.unsent.insert(index, unsent);
    }

    pub(super) fn leaf_is_known(&mut self, index: u64) {
        if let Some(mut unsent) = self.unsent.get(index).cloned() {
            unsent.stage = Stage::Final;
            self.set_unsent(index, unsent);
        }
    }

    fn forget_unsent(&mut self, index: u64) {
        self.unsent.remove(index);
        self.deferred.remove(&index);
        self.wants_leaf.remove(&index);
        self.wants_final.remove(&index);
    }

    /// Finds the volatile parts again after the last record of the journal.
    pub(super) fn rebuild(&mut self) {
        self.timers.clear();
        self.ready.clear();
        self.passable.clear();
        let sent: Vec<u64> = self.sent.keys().copied().collect();
        for position in sent {
            // What a fold would have had done again is not under way.
            if let Some(sent) = self.sent.get_mut(&position) {
                sent.pairs.values_mut().for_each(|pair| pair.resealing = false);
                sent.dividing = false;
                // A divided one was kept back.
                sent.may_have_left = !sent.is_held() && !sent.divided;
            }
            self.schedule_sent(position);
            self.resume_sent_duties(position);
            self.queue_offer(position);
            self.queue_passages(position);
        }
        let received: Vec<u64> = self.received.keys().copied().collect();
        for position in received {
            self.schedule_received(position);
            self.resume_received_duties(position);
            self.queue_open(position);
        }
        self.effects.clear();
        for node in self.forks.keys() {
            let text = format!(
                "{node} showed two histories of its ledger; both checkpoints are kept (store/forks, see `truc fork show`). Nothing is accepted from it: call the axis operator"
            );
            self.alarms.insert(Alarm::Fork(node.clone()), text);
        }
    }
}

/// The first final proof of a leaf stays, unless others say strictly more of a later one's checkpoint.
fn put_final(finals: &mut BTreeMap<Digest, ItemRef>, leaf: Digest, at: ItemRef) {
    let known = finals.entry(leaf).or_insert(at);
    if at.attested.exceeds(known.attested) {
        *known = at;
    }
}

/// Older than any envelope that a relay still accepts: what it does not know now, it never will.
pub(super) fn is_too_old(key: &Key, now: Timestamp) -> bool {
    key.envelope.made_at().unix_ms() + ENVELOPE_TTL_MAX_MS + FUTURE_SKEW_MAX_MS < now.unix_ms()
}

/// Index, journal position and hash of our submission of it.
fn own_submission(sent: &Sent) -> Option<(u64, u64, Digest)> {
    sent.steps.iter().find_map(|step| match (step.event, step.source) {
        (EventUri::SubmissionAcceptance, Source::Own { index, position }) => Some((index, position, step.leaf)),
        _ => None,
    })
}
