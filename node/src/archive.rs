//! Documents that left memory: found through the look-up index, and folded again from their records. Every hit is read
//! from the journal and checked, so that a wrong entry cannot be served.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use truc_ledger::{
    Ledger, Position, Record,
    index::{Effort, Extract, Index, IndexChange, IndexError, IndexSettings, SledIndex},
    merkle::leaf_hash,
};
use truc_proto::{AgencyId, Digest, EnvelopeId, EnvelopeKind, Event, Preamble, Raw, Timestamp};

use crate::{
    core::{Core, Kept, Key, Policy, Received, Sent, Source, Step},
    duties::DutyRules,
    records::{About, Body, Incoming, NodeRecord, Place},
    words::{Described, DocumentQuery, WordKey},
};

/// Keys by the DocumentId that a document bears, sent and received.
const SENT_AS: &str = "ds";
const RECEIVED_AS: &str = "dr";
/// Keys by the DocumentIds that a document changes, sent and received.
const SENT_ABOUT: &str = "us";
const RECEIVED_ABOUT: &str = "ur";
/// Grows when the keys change.
const SCHEMA: u32 = 8;
/// Memory for the index's cache, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// A list waits at most so long for the index to take in what was closed just now.
const APPLIED_WITHIN: Duration = Duration::from_secs(5);
/// Most senders of one envelope id that are looked at.
const SENDERS_MAX: usize = 64;
/// Most rejections under one idempotency key that are listed.
const REJECTIONS_MAX: usize = 100;
/// Most envelopes with one edXML DocumentId, or of one millisecond, that are looked at.
const NAMESAKES_MAX: usize = 64;
/// Most later records about one document that left memory.
const LATER_MAX: usize = 1_000;

/// The index and the journal it leads into.
#[derive(Clone)]
pub struct Archive {
    index: Arc<SledIndex>,
    ledger: Ledger,
    policy: Policy,
    words: WordKey,
}

impl Archive {
    /// Opens or builds the index in `folder`, in the background. Under another key for words it is built again.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(ledger: Ledger, folder: PathBuf, policy: Policy, words: WordKey) -> std::io::Result<Self> {
        let (key, schema) = (words.clone(), words.schema(SCHEMA));
        let extract: Extract = Arc::new(move |position, record| changes(&key, position, record));
        let settings = IndexSettings { ledger: ledger.clone(), folder, cache_bytes: CACHE_BYTES, extract, schema };
        Ok(Self { index: Arc::new(SledIndex::follow(settings)?), ledger, policy, words })
    }

    /// For people.
    #[must_use]
    pub fn state(&self) -> String {
        self.index.state().to_string()
    }

    /// Waits until everything durable is in the index, or it cannot be built. Blocks.
    pub fn wait(&self) {
        self.index.wait_applied();
    }

    /// Says that the journal grew: what left memory is to be found within milliseconds. Never blocks.
    pub fn advance(&self) {
        self.index.advance();
    }

    /// Waits shortly until what was closed just now is in the index. Blocks.
    pub fn catch_up(&self) {
        let _ = self.index.wait_applied_within(APPLIED_WITHIN); // or it says itself that it cannot answer
    }

    /// As [`Archive::catch_up`], for what must not leave anything out.
    fn applied(&self) -> Result<(), IndexError> {
        if self.index.wait_applied_within(APPLIED_WITHIN) {
            return Ok(());
        }
        Err(IndexError::Unavailable { state: self.index.state() })
    }

    /// Stops following.
    pub fn close(&self) {
        self.index.close();
    }

    /// Documents that left memory and began before journal position `before`, newest first: where each began, and its name.
    /// Waits shortly for what the index has not taken in yet. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now: never the same as none.
    pub fn closed_before(&self, sent: bool, before: u64, limit: usize) -> Result<Vec<(u64, Key)>, IndexError> {
        self.applied()?;
        let prefix = time_prefix(sent);
        // Behind everything that began there.
        let after = format!("{prefix}{:020}/~", u64::MAX - before);
        let hits = self.index.scan(prefix.as_bytes(), Some(after.as_bytes()), limit)?;
        let read = |name: &[u8]| {
            let (begin, key) = std::str::from_utf8(name).ok()?.strip_prefix(prefix)?.split_once('/')?;
            Some((u64::MAX - begin.parse::<u64>().ok()?, read_key(key)?))
        };
        Ok(hits.iter().filter_map(|(name, _)| read(name)).collect())
    }

    /// Envelopes, whether in memory or not, with documents of `sender` whose packet has this DocumentId, newest first. Waits shortly
    /// for what the index has not taken in yet. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now: never the same as none.
    pub fn of_document_id(
        &self,
        sent: bool,
        sender: &AgencyId,
        document_id: &str,
    ) -> Result<Vec<EnvelopeId>, IndexError> {
        self.applied()?;
        self.related(sent, false, sender, document_id)
    }

    /// As [`Archive::of_document_id`], of what the index has taken in: with `changing`, the documents of `sender` that update, replace
    /// or revoke the one of this DocumentId.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn related(
        &self,
        sent: bool,
        changing: bool,
        sender: &AgencyId,
        document_id: &str,
    ) -> Result<Vec<EnvelopeId>, IndexError> {
        let (borne, changed) = document_kinds(sent);
        let prefix = document_prefix(if changing { changed } else { borne }, sender.as_str(), document_id);
        let hits = self.index.scan(prefix.as_bytes(), None, NAMESAKES_MAX)?;
        let read = |name: &[u8]| std::str::from_utf8(name).ok()?.rsplit_once('/')?.1.parse::<EnvelopeId>().ok();
        let mut found: Vec<EnvelopeId> = hits.iter().filter_map(|(name, _)| read(name)).collect();
        // One that was held first stands there twice, its later record first.
        let mut seen = BTreeSet::new();
        found.retain(|envelope| seen.insert(*envelope));
        Ok(found)
    }

    /// Documents that fit, whether in memory or not, described below journal position `below`, newest first: of at most so many that the index
    /// names. Waits shortly for what the index has not taken in yet. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now: never the same as none.
    pub fn search(&self, query: &DocumentQuery, below: u64, effort: Effort) -> Result<HitPage, IndexError> {
        self.applied()?;
        let found = self.index.common(&query.groups(&self.words), Position(below), effort)?;
        let looked_at = found.positions.len();
        let hit = |position: &Position| {
            let hit = Hit::read(position.0, self.body(position.0)?)?;
            query.fits(&hit.described()).then_some(hit) // else two words have one name, or a wrong entry
        };
        let hits = found.positions.iter().filter_map(hit).collect();
        Ok(HitPage { hits, looked_at, next: found.next.map(|next| next.0), blocks: found.blocks })
    }

    /// Names of received envelopes that left memory and were made in the millisecond of `at`. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn received_made_at(&self, at: Timestamp) -> Result<Vec<Key>, IndexError> {
        let envelope = EnvelopeId::new(at, [0; 10]).to_string();
        // The first 48 bits of a UUIDv7 are its millisecond: twelve digits and a hyphen.
        let prefix = format!("er/{}", envelope.get(..13).unwrap_or_default());
        let hits = self.index.scan(prefix.as_bytes(), None, NAMESAKES_MAX)?;
        let read = |name: &[u8]| {
            let (envelope, sender) = std::str::from_utf8(name).ok()?.strip_prefix("er/")?.split_once('/')?;
            Some(Key { envelope: envelope.parse().ok()?, sender: sender.parse().ok()? })
        };
        Ok(hits.iter().filter_map(|(name, _)| read(name)).collect())
    }

    /// Whether a document of today's axis was taken over for this code, however long ago. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now: never the same as no.
    pub fn taken_over(&self, doc_id: &str, to: &AgencyId) -> Result<bool, IndexError> {
        self.applied()?;
        let hit = self.index.find(gateway_key(doc_id, to.as_str()).as_bytes())?;
        let record = hit.and_then(|position| self.body(position.0));
        Ok(matches!(record, Some(Body::TakenOver(taken)) if taken.doc_id == doc_id && taken.to == to.as_str()))
    }

    /// A sent document that left memory. Blocks.
    #[must_use]
    pub fn sent(&self, key: &Key) -> Option<Sent> {
        self.fold(true, key)?.find_sent(key).cloned()
    }

    /// A received document that left memory. Blocks.
    #[must_use]
    pub fn received(&self, key: &Key) -> Option<Received> {
        self.fold(false, key)?.find_received(key).cloned()
    }

    /// All documents with this envelope id that left memory. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn of_envelope(&self, envelope: EnvelopeId) -> Result<(Vec<Sent>, Vec<Received>), IndexError> {
        let keys = |kind: &str| -> Result<Vec<Key>, IndexError> {
            let prefix = format!("e{kind}/{envelope}/");
            let hits = self.index.scan(prefix.as_bytes(), None, SENDERS_MAX)?;
            let sender = |name: &[u8]| std::str::from_utf8(name).ok()?.strip_prefix(&prefix)?.parse::<AgencyId>().ok();
            Ok(hits.iter().filter_map(|(name, _)| Some(Key { envelope, sender: sender(name)? })).collect())
        };
        let sent = keys("s")?.iter().filter_map(|key| self.sent(key)).collect();
        Ok((sent, keys("r")?.iter().filter_map(|key| self.received(key)).collect()))
    }

    /// The document that a leaf is about. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn by_leaf(&self, leaf: &Digest) -> Result<(Option<Sent>, Option<Received>), IndexError> {
        let key = |kind: &str| -> Result<Option<Key>, IndexError> {
            let prefix = format!("l{kind}/{leaf}/");
            let hits = self.index.scan(prefix.as_bytes(), None, 1)?;
            let name = hits.first().and_then(|(name, _)| std::str::from_utf8(name).ok());
            Ok(name.and_then(|name| read_key(name.strip_prefix(&prefix)?)))
        };
        let (sent, received) = (key("s")?, key("r")?);
        Ok((sent.and_then(|key| self.sent(&key)), received.and_then(|key| self.received(&key))))
    }

    /// The envelope that an idempotency key led to.
    #[must_use]
    pub fn request(&self, sender: &AgencyId, idempotency_key: &str) -> Option<(Key, Digest)> {
        let hit = self.index.find(format!("i/{sender}/{idempotency_key}").as_bytes()).ok()??;
        let Body::Closed(closed) = self.body(hit.0)? else { return None };
        let key = Key { sender: closed.sender.parse().ok()?, envelope: closed.envelope.parse().ok()? };
        if key.sender != *sender || closed.idempotency_key != idempotency_key {
            return None; // a wrong entry
        }
        let sent = self.sent(&key)?;
        match self.body(sent.body)? {
            Body::Outgoing(outgoing) => Some((key, Digest::from_slice(&outgoing.request_hash).ok()?)),
            _ => None,
        }
    }

    /// Rejections of requests of `sender` that came under this key. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn rejections(&self, sender: &AgencyId, came_under: &str) -> Result<Vec<Rejected>, IndexError> {
        let hits = self.index.scan(format!("x/{sender}/{came_under}/").as_bytes(), None, REJECTIONS_MAX)?;
        let found = hits.iter().filter_map(|(_, position)| self.rejected(*position));
        Ok(found.filter(|(found, under)| found.sender == *sender && under == came_under).map(|(r, _)| r).collect())
    }

    /// The rejection that a leaf is. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn rejection(&self, leaf: &Digest) -> Result<Option<Rejected>, IndexError> {
        let hit = self.index.find(format!("lx/{leaf}").as_bytes())?;
        Ok(hit.and_then(|position| self.rejected(position)).map(|(r, _)| r).filter(|r| r.step.leaf == *leaf))
    }

    fn rejected(&self, position: Position) -> Option<(Rejected, String)> {
        let record = self.ledger.read(position).ok()?;
        let Body::Refused(refused) = NodeRecord::read(&record.state).ok()? else { return None };
        let event = Raw::<Event>::parse(record.leaf?).ok()?;
        let source = Source::Own { position: position.0, index: refused.leaf_index? };
        let step = Step {
            event: event.event,
            role: event.actor.role,
            actor: event.actor.code.clone(),
            time: event.time,
            recipient: None,
            reason: event.reason,
            leaf: leaf_hash(event.bytes()),
            source,
        };
        let rejected = Rejected { sender: event.sender.clone(), request: event.request?, step };
        Some((rejected, refused.came_under))
    }

    /// Whether any record needs this payload. Unknown counts as needed.
    #[must_use]
    pub fn needs_payload(&self, payload: &Digest) -> bool {
        !matches!(self.index.scan(format!("b/{payload}/").as_bytes(), None, 1).as_deref(), Ok([]))
    }

    /// How long payloads are kept.
    #[must_use]
    pub const fn retention(&self) -> Option<Duration> {
        self.policy.retention
    }

    /// What has to be done by when.
    #[must_use]
    pub fn duties(&self) -> Option<Arc<DutyRules>> {
        self.policy.duties.clone()
    }

    /// Payloads of received documents that left memory, of those that came by `until` and behind journal position `after`,
    /// oldest first, and where to go on: of at most `limit` documents, open ones counted. Blocks.
    ///
    /// # Errors
    /// When the index does not answer now.
    pub fn kept(&self, until: Timestamp, after: Option<u64>, limit: usize) -> Result<KeptPage, IndexError> {
        self.applied()?;
        let after = after.map(payload_key);
        let hits = self.index.scan(b"p/", after.as_ref().map(String::as_bytes), limit)?;
        let mut page = KeptPage { kept: Vec::new(), next: None };
        for (_, position) in &hits {
            let incoming = match self.body(position.0) {
                Some(Body::Incoming(incoming)) => incoming,
                Some(Body::TakenOver(taken)) => taken.incoming(),
                _ => continue,
            };
            if incoming.at_ms > until.unix_ms() {
                return Ok(page); // what came later is no older
            }
            page.kept.extend(self.kept_of(position.0, &incoming)?);
        }
        page.next = hits.last().filter(|_| hits.len() >= limit).map(|(_, position)| position.0);
        Ok(page)
    }

    fn kept_of(&self, body: u64, incoming: &Incoming) -> Result<Option<Kept>, IndexError> {
        let (Ok(preamble), Ok(payload)) =
            (Raw::<Preamble>::parse(incoming.preamble.clone()), Digest::from_slice(&incoming.payload.sha256))
        else {
            return Ok(None);
        };
        let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
        let Some(received) = self.received(&key).filter(|received| received.body == body) else { return Ok(None) };
        // Somebody may have sent the same sealed bytes under another name: they go with the last one.
        let needed = self.index.scan(format!("b/{payload}/").as_bytes(), None, 2)?;
        let blob = incoming.payload.inline.is_none();
        let alone = blob && needed.iter().all(|(_, position)| position.0 == body);
        Ok(Some(Kept { key, body, payload, changed_at: received.changed_at, alone }))
    }

    /// Folds the records of one document into a core of its own.
    fn fold(&self, sent: bool, key: &Key) -> Option<Core> {
        let kind = if sent { "s" } else { "r" };
        let closed_at = self.index.find(format!("c{kind}/{key}").as_bytes()).ok()??;
        let Body::Closed(closed) = self.body(closed_at.0)? else { return None };
        let same =
            closed.sent == sent && closed.sender == key.sender.as_str() && closed.envelope == key.envelope.to_string();
        if !same {
            return None; // a wrong entry
        }
        let mut places: BTreeMap<u64, Place> = closed.places.iter().map(|place| (place.position, *place)).collect();
        let later = self.index.scan(format!("{kind}/{key}/").as_bytes(), None, LATER_MAX).unwrap_or_default();
        let finals = closed.leaves.iter().filter_map(|leaf| Digest::from_slice(leaf).ok());
        let finals = finals.filter_map(|leaf| self.index.find(format!("f/{leaf}").as_bytes()).ok()?);
        for position in later.into_iter().map(|(_, position)| position).chain(finals) {
            places.entry(position.0).or_insert(Place { position: position.0, leaf: None });
        }
        let mut core = Core::new(self.policy.clone());
        for place in places.values() {
            let record = self.ledger.read(Position(place.position)).ok()?;
            // Of a status about this document only what it says about it: its own envelope is another one.
            if core.apply_status_about(key, *place, &NodeRecord::read(&record.state).ok()?).ok()? {
                continue;
            }
            core.apply(*place, &record.state, record.leaf.as_deref()).ok()?;
        }
        Some(core)
    }

    fn body(&self, position: u64) -> Option<Body> {
        NodeRecord::read(&self.ledger.read(Position(position)).ok()?.state).ok()
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive({})", self.state())
    }
}

/// A document as a record of the journal describes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// Where: of a held document there is a later one, once it is sealed.
    pub position: u64,
    /// Sent, or received.
    pub sent: bool,
    /// Its name.
    pub key: Key,
    /// What it is.
    pub about: About,
}

impl Hit {
    /// None for statuses, and for records that describe nothing.
    fn read(position: u64, body: Body) -> Option<Self> {
        let (sent, sender, envelope, about) = match body {
            Body::Outgoing(record) if record.status.is_empty() => {
                let preamble = Raw::<Preamble>::parse(record.preamble).ok()?;
                let key = Key { sender: preamble.sender.clone(), envelope: preamble.envelope };
                return Some(Self { position, sent: true, key, about: record.about });
            }
            Body::Held(record) if record.status.is_empty() => (true, record.sender, record.envelope, record.about),
            Body::Content(record) if record.status.is_empty() => (false, record.sender, record.envelope, record.about),
            Body::TakenOver(record) if record.content.status.is_empty() => {
                let content = record.content;
                (false, content.sender, content.envelope, content.about)
            }
            _ => return None,
        };
        let key = Key { sender: sender.parse().ok()?, envelope: envelope.parse().ok()? };
        Some(Self { position, sent, key, about })
    }

    /// For those who compare words.
    pub(crate) const fn described(&self) -> Described<'_> {
        Described { sent: self.sent, envelope: self.key.envelope, about: &self.about }
    }
}

/// Part of what a search finds.
#[derive(Clone, PartialEq, Debug)]
pub struct HitPage {
    /// What fits, newest first.
    pub hits: Vec<Hit>,
    /// Documents that were read for it.
    pub looked_at: usize,
    /// Where to go on; none: that is all.
    pub next: Option<u64>,
    /// Blocks of the index that were read for it.
    pub blocks: usize,
}

/// A request that this node refused with evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// For whom it was to be sent.
    pub sender: AgencyId,
    /// Hash of the request.
    pub request: Digest,
    /// The SubmissionRejection.
    pub step: Step,
}

/// Payloads that are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptPage {
    /// They.
    pub kept: Vec<Kept>,
    /// Where to go on; none: that is all.
    pub next: Option<u64>,
}

fn payload_key(position: u64) -> String {
    format!("p/{position:020}")
}

fn need_key(payload: &[u8], position: u64) -> String {
    format!("b/{}/{position:020}", data_encoding::HEXLOWER.encode(payload))
}

/// The texts of DocumentIds are of any length and hold anything.
fn document_prefix(kind: &str, sender: &str, document_id: &str) -> String {
    let name = Digest::of(document_id.as_bytes()).to_string();
    format!("{kind}/{sender}/{}/", name.get(..32).unwrap_or_default())
}

/// Kinds of keys: by the DocumentId that a document bears, and by those that it changes.
const fn document_kinds(sent: bool) -> (&'static str, &'static str) {
    if sent { (SENT_AS, SENT_ABOUT) } else { (RECEIVED_AS, RECEIVED_ABOUT) }
}

/// Under the DocumentIds that a document bears and that it changes.
fn document_keys(sent: bool, sender: &str, about: &About, envelope: &str, position: Position) -> Vec<String> {
    let (borne, changed) = document_kinds(sent);
    let changes = about.change.iter().flat_map(|change| &change.document_ids).map(|id| (changed, id));
    let all = std::iter::once((borne, &about.document_id)).chain(changes).filter(|(_, id)| !id.is_empty());
    let key = |(kind, id): (&str, &String)| {
        format!("{}{:020}/{envelope}", document_prefix(kind, sender, id), u64::MAX - position.0)
    };
    all.map(key).collect()
}

/// Names that another axis gives are of any form.
fn gateway_key(doc_id: &str, to: &str) -> String {
    format!("g/{to}/{}", Digest::of(doc_id.as_bytes()))
}

const fn time_prefix(sent: bool) -> &'static str {
    if sent { "ts/" } else { "tr/" }
}

/// `<sender>/<envelope>`, as a [`Key`] is written.
fn read_key(text: &str) -> Option<Key> {
    let (sender, envelope) = text.split_once('/')?;
    Some(Key { sender: sender.parse().ok()?, envelope: envelope.parse().ok()? })
}

/// The keys of the index are its schema:
///
/// | key | leads to |
/// |---|---|
/// | `cs/<sender>/<envelope>`, `cr/…` | the `Closed` record of a sent, received document |
/// | `s/<sender>/<envelope>/<position>`, `r/…` | a later record about it |
/// | `es/<envelope>/<sender>`, `er/…` | the `Closed` record, by envelope id |
/// | `ls/<leaf>/<sender>/<envelope>`, `lr/…` | the `Closed` record, by a leaf of its ladder |
/// | `f/<leaf>` | a finalisation of a leaf that was not in memory |
/// | `i/<sender>/<idempotency key>` | the `Closed` record, by the request's key |
/// | `ts/<2^64 - 1 - position>/<sender>/<envelope>`, `tr/…` | the `Closed` record, newest document first by its first record |
/// | `ds/<sender>/<hash of DocumentId>/<2^64 - 1 - position>/<envelope>`, `dr/…` | the `Held`, `Outgoing`, `Content` record of a document, newest first |
/// | `us/…`, `ur/…`, as `ds`, `dr` | that of a document that updates, replaces or revokes the one of this DocumentId |
/// | `g/<code>/<hash of docId>` | the `TakenOver` record of a document of today's axis |
/// | `x/<sender>/<idempotency key>/<position>`, `lx/<leaf>` | a `Refused` record, by the key that its request came under, by its leaf |
/// | `b/<payload>/<position>` | a record that needs this blob; removed by the record that says it does not any more |
/// | `p/<position>` | the `Incoming` or `TakenOver` record of a document whose payload is kept, blob or not; removed likewise |
///
/// Lists are named by [`WordKey`]; on them are the `Held`, `Outgoing`, `Content` and `TakenOver` records of documents.
fn changes(words: &WordKey, position: Position, record: &Record) -> Vec<IndexChange> {
    let Ok(body) = NodeRecord::read(&record.state) else { return Vec::new() };
    let mut lists = Vec::new();
    let mut describe = |sent: bool, envelope: Option<EnvelopeId>, about: &About| {
        lists = envelope.map(|envelope| words.lists(&Described { sent, envelope, about })).unwrap_or_default();
    };
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let mut gone = Vec::new();
    let keys = match body {
        Body::Closed(closed) => {
            let kind = if closed.sent { "s" } else { "r" };
            let name = format!("{}/{}", closed.sender, closed.envelope);
            gone.extend(closed.needless.map(|needless| need_key(&needless.payload, needless.position)));
            let mut keys = vec![format!("c{kind}/{name}"), format!("e{kind}/{}/{}", closed.envelope, closed.sender)];
            keys.extend(closed.leaves.iter().map(|leaf| format!("l{kind}/{}/{name}", hex(leaf))));
            if let Some(begin) = closed.places.iter().map(|place| place.position).min() {
                keys.push(format!("{}{:020}/{name}", time_prefix(closed.sent), u64::MAX - begin));
            }
            if !closed.idempotency_key.is_empty() {
                keys.push(format!("i/{}/{}", closed.sender, closed.idempotency_key));
            }
            keys
        }
        Body::Outgoing(outgoing) => {
            gone.extend(outgoing.held.map(|held| need_key(&held.payload, held.position)));
            let mut keys = outgoing.index_keys;
            let preamble = outgoing.status.is_empty().then(|| Raw::<Preamble>::parse(outgoing.preamble).ok()).flatten();
            describe(true, preamble.as_ref().map(|preamble| preamble.envelope), &outgoing.about);
            keys.extend(preamble.into_iter().flat_map(|preamble| {
                let (sender, envelope) = (preamble.sender.as_str(), preamble.envelope.to_string());
                document_keys(true, sender, &outgoing.about, &envelope, position)
            }));
            if outgoing.payload.inline.is_none() {
                keys.push(need_key(&outgoing.payload.sha256, position.0));
            }
            keys
        }
        Body::Held(held) => {
            if held.status.is_empty() {
                describe(true, held.envelope.parse().ok(), &held.about);
            }
            let need = (!held.blob.is_empty()).then(|| need_key(&held.blob, position.0));
            let document = held.status.is_empty().then_some(&held.about);
            let named = document
                .into_iter()
                .flat_map(|about| document_keys(true, &held.sender, about, &held.envelope, position));
            need.into_iter().chain(named).collect()
        }
        Body::Incoming(incoming) if incoming.payload.inline.is_none() => {
            vec![need_key(&incoming.payload.sha256, position.0), payload_key(position.0)]
        }
        // Short documents lie in the journal, and are kept as long as others.
        Body::Incoming(incoming) => {
            let preamble = Raw::<Preamble>::parse(incoming.preamble).ok();
            let document = preamble.filter(|preamble| preamble.kind == EnvelopeKind::Document);
            document.map(|_| payload_key(position.0)).into_iter().collect()
        }
        Body::PayloadRemoved(removed) => {
            gone.push(need_key(&removed.needless.payload, removed.needless.position));
            gone.push(payload_key(removed.needless.position));
            vec![format!("r/{}/{}/{:020}", removed.sender, removed.envelope, position.0)]
        }
        Body::Refused(refused) => {
            let leaf = record.leaf.iter().map(|leaf| format!("lx/{}", leaf_hash(leaf)));
            let mut keys: Vec<String> = leaf.collect();
            if !refused.came_under.is_empty() {
                keys.push(format!("x/{}/{}/{:020}", refused.sender, refused.came_under, position.0));
            }
            keys
        }
        Body::Content(content) => {
            let mut keys = content.index_keys;
            if content.status.is_empty() {
                describe(false, content.envelope.parse().ok(), &content.about);
                keys.extend(document_keys(false, &content.sender, &content.about, &content.envelope, position));
            }
            keys
        }
        Body::TakenOver(taken) => {
            let content = &taken.content;
            let mut keys = vec![gateway_key(&taken.doc_id, &taken.to)];
            keys.extend(content.index_keys.iter().cloned());
            if content.status.is_empty() {
                describe(false, content.envelope.parse().ok(), &content.about);
                keys.extend(document_keys(false, &content.sender, &content.about, &content.envelope, position));
            }
            if taken.payload.inline.is_none() {
                keys.extend([need_key(&taken.payload.sha256, position.0), payload_key(position.0)]);
            } else if content.status.is_empty() {
                keys.push(payload_key(position.0));
            }
            keys
        }
        Body::Evidence(evidence) => evidence.index_keys,
        _ => Vec::new(),
    };
    let put = keys.into_iter().map(|key| IndexChange::Put { key: key.into_bytes(), position });
    let post = lists.into_iter().map(|list| IndexChange::Post { list });
    put.chain(post).chain(gone.into_iter().map(|key| IndexChange::Remove { key: key.into_bytes() })).collect()
}
