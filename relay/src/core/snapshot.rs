//! The state as entries of a snapshot, and back. A snapshot is only a faster way to the same state: tests hold that both ways end alike.

use prost::Message;
use truc_evidence::{Attestations, Attested};
use truc_ledger::Position;
use truc_proto::{AgencyId, Digest, EnvelopeId, NodeId, Timestamp};

use super::{
    Core, DirectoryMark, SignedMark,
    apply::{ApplyError, digest, nodes_of},
    state::{AgencyRef, Cosigned, Delivery, Envelope, Final, KeyRef, NodeRef, OwnLeaf, Pair, Peer, Remembered, Seen},
    table::PairState,
};

/// Counts up when the form of the entries changes; older snapshots are then passed over, and the journal is folded anew.
const FORM: u32 = 1;
/// How many envelopes share one entry: large enough to be quick, small enough to stay far below the bound of an entry.
const ENVELOPES_PER_ENTRY: usize = 256;

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    head: Option<Head>,
    #[prost(message, repeated, tag = "2")]
    envelopes: Vec<EnvelopeRow>,
    #[prost(message, repeated, tag = "3")]
    remembered: Vec<RememberedRow>,
    #[prost(message, repeated, tag = "4")]
    reused: Vec<RememberedRow>,
    #[prost(message, repeated, tag = "5")]
    superseded: Vec<SupersededRow>,
    #[prost(message, repeated, tag = "6")]
    deliveries: Vec<DeliveryRow>,
    #[prost(message, repeated, tag = "7")]
    unsigned: Vec<UnsignedRow>,
    #[prost(message, repeated, tag = "8")]
    peers: Vec<PeerRow>,
    /// Number of entries before this one: set in the last, so that a missing one is noticed.
    #[prost(uint64, tag = "9")]
    entries_before: u64,
    #[prost(message, repeated, tag = "10")]
    recalled: Vec<RecalledRow>,
    #[prost(message, repeated, tag = "11")]
    unattested: Vec<UnsignedRow>,
}

#[derive(Clone, PartialEq, Message)]
struct RecalledRow {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    #[prost(uint32, tag = "2")]
    sender: u32,
    #[prost(fixed64, repeated, tag = "3")]
    evidence: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    next_position: u64,
    #[prost(uint64, tag = "2")]
    next_leaf: u64,
    #[prost(uint64, tag = "3")]
    next_delivery: u64,
    #[prost(int64, tag = "4")]
    clock_ms: i64,
    #[prost(uint64, tag = "5")]
    signed_size: u64,
    #[prost(string, repeated, tag = "6")]
    agencies: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    nodes: Vec<String>,
    #[prost(message, optional, tag = "8")]
    directory: Option<DirectoryRow>,
    #[prost(bytes = "vec", tag = "9")]
    noted: Vec<u8>,
    #[prost(uint32, tag = "10")]
    signed_stamp: u32,
    #[prost(uint32, tag = "11")]
    signed_cosignature: u32,
    /// Position of the record + 1; 0: none.
    #[prost(uint64, tag = "12")]
    signed_at: u64,
    #[prost(uint32, tag = "13")]
    form: u32,
}

#[derive(Clone, PartialEq, Message)]
struct DirectoryRow {
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(bytes = "vec", tag = "2")]
    statement: Vec<u8>,
    #[prost(uint64, tag = "3")]
    position: u64,
    #[prost(uint64, tag = "4")]
    leaf_index: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EnvelopeRow {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    #[prost(uint32, tag = "2")]
    sender: u32,
    #[prost(uint32, tag = "3")]
    sender_node: u32,
    #[prost(uint64, tag = "4")]
    position: u64,
    #[prost(uint64, tag = "5")]
    leaf_index: u64,
    /// Submission, preamble, payload, commitment: 4 × 32 bytes.
    #[prost(bytes = "vec", tag = "6")]
    digests: Vec<u8>,
    #[prost(uint64, tag = "7")]
    payload_length: u64,
    #[prost(int64, tag = "8")]
    expires_ms: i64,
    #[prost(uint32, tag = "9")]
    priority: u32,
    #[prost(bool, tag = "10")]
    status: bool,
    #[prost(bool, tag = "11")]
    blob: bool,
    /// Recipient, node + 1 (0: none) and state of each pair, in turn.
    #[prost(uint32, repeated, tag = "12")]
    pairs: Vec<u32>,
    #[prost(fixed64, repeated, tag = "13")]
    evidence: Vec<u64>,
    /// Beside each pair, how much was kept that moved nothing.
    #[prost(uint32, repeated, tag = "14")]
    kept: Vec<u32>,
    /// 12 bytes each: node, seen.
    #[prost(bytes = "vec", tag = "15")]
    finals: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RememberedRow {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    #[prost(uint32, tag = "2")]
    sender: u32,
    #[prost(bytes = "vec", tag = "3")]
    content: Vec<u8>,
    #[prost(bool, tag = "4")]
    accepted: bool,
    #[prost(uint64, tag = "5")]
    position: u64,
    #[prost(uint64, tag = "6")]
    leaf_index: u64,
    #[prost(uint32, repeated, tag = "7")]
    undelivered: Vec<u32>,
    #[prost(fixed64, repeated, tag = "8")]
    evidence: Vec<u64>,
    #[prost(uint32, tag = "9")]
    recipients: u32,
    /// 12 bytes each: node, seen.
    #[prost(bytes = "vec", tag = "10")]
    finals: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SupersededRow {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    #[prost(uint32, tag = "2")]
    sender: u32,
    #[prost(uint32, tag = "3")]
    recipient: u32,
}

#[derive(Clone, PartialEq, Message)]
struct DeliveryRow {
    #[prost(uint32, tag = "1")]
    node: u32,
    #[prost(uint64, tag = "2")]
    number: u64,
    /// 1 forwarded, 2 own, 3 final.
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint32, tag = "4")]
    from: u32,
    #[prost(uint64, tag = "5")]
    position: u64,
    #[prost(uint64, tag = "6")]
    size: u64,
    #[prost(message, repeated, tag = "7")]
    leaves: Vec<UnsignedRow>,
}

#[derive(Clone, PartialEq, Message)]
struct UnsignedRow {
    #[prost(uint32, tag = "1")]
    node: u32,
    #[prost(uint64, tag = "2")]
    leaf_index: u64,
    #[prost(uint64, tag = "3")]
    position: u64,
    #[prost(bytes = "vec", tag = "4")]
    envelope: Vec<u8>,
    /// Of those that are shown once more: what others had said when they went out.
    #[prost(bool, tag = "5")]
    stamped: bool,
    #[prost(bool, tag = "6")]
    cosigned: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PeerRow {
    #[prost(uint32, tag = "1")]
    node: u32,
    #[prost(uint64, tag = "2")]
    size: u64,
    #[prost(bytes = "vec", tag = "3")]
    root: Vec<u8>,
    #[prost(uint64, tag = "4")]
    position: u64,
    /// Position + 1 of the proof that it forked; 0: it did not.
    #[prost(uint64, tag = "5")]
    fork: u64,
    /// Larger ones, still to be proven.
    #[prost(message, repeated, tag = "6")]
    unproven: Vec<SeenRow>,
    /// The newest that was cosigned.
    #[prost(message, optional, tag = "7")]
    cosigned: Option<CosignedRow>,
}

#[derive(Clone, PartialEq, Message)]
struct CosignedRow {
    #[prost(uint64, tag = "1")]
    size: u64,
    #[prost(bytes = "vec", tag = "2")]
    root: Vec<u8>,
    /// Size of the newest in the relay's own ledger; absent: none is.
    #[prost(uint64, optional, tag = "3")]
    logged: Option<u64>,
    #[prost(int64, tag = "4")]
    logged_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SeenRow {
    #[prost(uint64, tag = "1")]
    size: u64,
    #[prost(bytes = "vec", tag = "2")]
    root: Vec<u8>,
    #[prost(uint64, tag = "3")]
    position: u64,
}

impl Core {
    /// The state before [`Core::next_position`] as entries; the same state always gives the same entries.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut entries = vec![Entry { head: Some(self.head_row()), ..Entry::default() }.encode_to_vec()];
        let envelopes: Vec<_> = self.envelopes.iter().collect();
        entries.extend(envelopes.chunks(ENVELOPES_PER_ENTRY).map(|rows| {
            let envelopes = rows.iter().map(|(key, envelope)| envelope_row(**key, envelope)).collect();
            Entry { envelopes, ..Entry::default() }.encode_to_vec()
        }));
        let remembered: Vec<_> = self.remembered.iter().collect();
        entries.extend(remembered.chunks(ENVELOPES_PER_ENTRY).map(|rows| {
            let remembered = rows.iter().map(|(key, row)| remembered_row(**key, row)).collect();
            Entry { remembered, ..Entry::default() }.encode_to_vec()
        }));
        let recalled: Vec<_> = self.recalled.iter().collect();
        entries.extend(recalled.chunks(ENVELOPES_PER_ENTRY).map(|rows| {
            let recalled = rows.iter().map(|(key, evidence)| RecalledRow {
                envelope: key.envelope.as_bytes().to_vec(),
                sender: key.sender.0,
                evidence: (*evidence).clone(),
            });
            Entry { recalled: recalled.collect(), ..Entry::default() }.encode_to_vec()
        }));
        self.queue_entries(&mut entries);
        let reused = self.reused.iter().flat_map(|(key, rows)| rows.iter().map(|row| remembered_row(*key, row)));
        let reused = reused.collect();
        let superseded = self.superseded.iter().map(|(key, recipient)| SupersededRow {
            envelope: key.envelope.as_bytes().to_vec(),
            sender: key.sender.0,
            recipient: recipient.0,
        });
        let peers = self.peers.iter().map(|(node, peer)| peer_row(*node, peer)).collect();
        let entries_before = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let last = Entry { reused, superseded: superseded.collect(), peers, entries_before, ..Entry::default() };
        entries.push(last.encode_to_vec());
        entries
    }

    fn queue_entries(&self, entries: &mut Vec<Vec<u8>>) {
        let rows = |(node, queue): (&NodeRef, &super::Queue)| -> Vec<DeliveryRow> {
            queue.deliveries.iter().map(|(number, delivery)| delivery_row(*node, *number, delivery)).collect()
        };
        let deliveries: Vec<_> = self.queues.iter().flat_map(rows).collect();
        let of_each = |(node, queue): (&NodeRef, &super::Queue)| -> Vec<UnsignedRow> {
            queue.unsigned.iter().map(|(index, leaf)| unsigned_row(*node, *index, leaf)).collect()
        };
        let unsigned: Vec<_> = self.queues.iter().flat_map(of_each).collect();
        let of_each = |(node, queue): (&NodeRef, &super::Queue)| -> Vec<UnsignedRow> {
            let row = |(had, index, leaf): (Attested, u64, &OwnLeaf)| UnsignedRow {
                stamped: had.stamped,
                cosigned: had.cosigned,
                ..unsigned_row(*node, index, leaf)
            };
            queue.unattested.iter().map(row).collect()
        };
        let unattested: Vec<_> = self.queues.iter().flat_map(of_each).collect();
        for rows in deliveries.chunks(ENVELOPES_PER_ENTRY) {
            entries.push(Entry { deliveries: rows.to_vec(), ..Entry::default() }.encode_to_vec());
        }
        for rows in unsigned.chunks(ENVELOPES_PER_ENTRY) {
            entries.push(Entry { unsigned: rows.to_vec(), ..Entry::default() }.encode_to_vec());
        }
        for rows in unattested.chunks(ENVELOPES_PER_ENTRY) {
            entries.push(Entry { unattested: rows.to_vec(), ..Entry::default() }.encode_to_vec());
        }
    }

    /// Takes the state from a snapshot's entries. `self` must be new.
    ///
    /// # Errors
    /// When an entry is missing or malformed; throw `self` away then.
    pub fn load_snapshot(&mut self, entries: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), ApplyError> {
        let (mut count, mut last) = (0_u64, None);
        for bytes in entries {
            let entry = Entry::decode(bytes.as_slice())?;
            last = Some(entry.entries_before);
            if entry.head.is_none() && count == 0 {
                return Err(ApplyError::Field("head"));
            }
            self.load_entry(entry)?;
            count += 1;
        }
        if last.is_none_or(|before| before + 1 != count) {
            return Err(ApplyError::Field("last entry"));
        }
        Ok(())
    }

    fn load_entry(&mut self, entry: Entry) -> Result<(), ApplyError> {
        if let Some(head) = entry.head {
            self.load_head(&head)?;
        }
        for row in &entry.envelopes {
            self.load_envelope(row)?;
        }
        for row in &entry.remembered {
            let (key, remembered) = self.remembered_of(row)?;
            self.remembered.insert(key, remembered);
        }
        for row in &entry.reused {
            let (key, remembered) = self.remembered_of(row)?;
            self.reused.entry(key).or_default().push(remembered);
        }
        for row in &entry.recalled {
            let key = self.key_ref(&row.envelope, row.sender)?;
            self.recalled.insert(key, row.evidence.clone());
        }
        for row in &entry.superseded {
            let key = self.key_ref(&row.envelope, row.sender)?;
            let recipient = self.agency_ref(row.recipient)?;
            self.superseded.insert((key, recipient));
        }
        for row in &entry.deliveries {
            let (node, delivery) = (self.node_ref(row.node)?, self.delivery_of(row)?);
            self.queue(node).deliveries.insert(row.number, delivery);
        }
        for row in &entry.unsigned {
            let node = self.node_ref(row.node)?;
            self.own_leaf_again(node, row)?;
        }
        for row in &entry.unattested {
            let node = self.node_ref(row.node)?;
            let (leaf_index, leaf) = own_leaf_of(row)?;
            let had = Attested { stamped: row.stamped, cosigned: row.cosigned };
            self.queue(node).unattested.insert(had, leaf_index, leaf);
            self.unattested += 1;
        }
        for row in &entry.peers {
            let node = self.node_ref(row.node)?;
            let seen = |size, root: &[u8], position| {
                Ok::<_, ApplyError>(Seen { size, root: digest(root)?, position: Position(position) })
            };
            let mut peer = Peer::new(seen(row.size, &row.root, row.position)?);
            for row in &row.unproven {
                peer.see(seen(row.size, &row.root, row.position)?);
            }
            peer.fork = row.fork.checked_sub(1).map(Position);
            if let Some(row) = &row.cosigned {
                let logged = row.logged.map(|size| (size, row.logged_ms));
                peer.cosigned = Some(Cosigned { size: row.size, root: digest(&row.root)?, logged });
            }
            self.peers.insert(node, peer);
        }
        Ok(())
    }

    fn load_head(&mut self, head: &Head) -> Result<(), ApplyError> {
        if head.form != FORM {
            return Err(ApplyError::Field("form"));
        }
        self.next_position = Position(head.next_position);
        self.next_leaf = head.next_leaf;
        self.next_delivery = head.next_delivery;
        self.clock = Timestamp::from_unix_ms(head.clock_ms);
        let said = Attestations::from_numbers(head.signed_stamp, head.signed_cosignature);
        let signed_at = head.signed_at.checked_sub(1).map(Position);
        self.signed = signed_at.map(|position| SignedMark { position, size: head.signed_size, said });
        self.noted = if head.noted.is_empty() { None } else { Some(digest(&head.noted)?) };
        for code in &head.agencies {
            self.book.agency(&code.parse::<AgencyId>().map_err(|_| ApplyError::Field("agency code"))?);
        }
        for node in &head.nodes {
            self.book.node(&node.parse::<NodeId>().map_err(|_| ApplyError::Field("node id"))?);
        }
        if let Some(row) = &head.directory {
            self.directory = Some(DirectoryMark {
                version: row.version,
                statement: digest(&row.statement)?,
                position: Position(row.position),
                leaf_index: row.leaf_index,
            });
        }
        Ok(())
    }

    fn load_envelope(&mut self, row: &EnvelopeRow) -> Result<(), ApplyError> {
        let key = self.key_ref(&row.envelope, row.sender)?;
        let mut digests = row.digests.chunks_exact(32).map(digest);
        let mut next = || digests.next().ok_or(ApplyError::Field("digests"))?;
        let (submission, preamble, payload, commitment) = (next()?, next()?, next()?, next()?);
        let mut pairs = Vec::with_capacity(row.pairs.len() / 3);
        let mut kept = row.kept.iter().map(|kept| u8::try_from(*kept).unwrap_or(u8::MAX));
        for triple in row.pairs.chunks_exact(3) {
            let [recipient, node, state] = *triple else { return Err(ApplyError::Field("pairs")) };
            let state = u8::try_from(state).ok().and_then(PairState::from_number);
            pairs.push(Pair {
                recipient: self.agency_ref(recipient)?,
                node: node.checked_sub(1).map(|node| self.node_ref(node)).transpose()?,
                state: state.ok_or(ApplyError::Field("state"))?,
                kept: kept.next().unwrap_or_default(),
            });
        }
        let mut envelope = Envelope {
            sender_node: self.node_ref(row.sender_node)?,
            position: Position(row.position),
            leaf_index: row.leaf_index,
            submission,
            preamble,
            payload,
            commitment,
            payload_length: row.payload_length,
            expires: Timestamp::from_unix_ms(row.expires_ms),
            priority: u8::try_from(row.priority).map_err(|_| ApplyError::Field("priority"))?,
            status: row.status,
            blob: row.blob,
            pairs: pairs.into(),
            evidence: row.evidence.clone(),
            finals: self.finals_of(&row.finals)?,
            counted_open: false,
        };
        envelope.counted_open = envelope.is_open();
        if envelope.counted_open {
            self.open += 1;
            self.due.insert((envelope.expires, key));
            if envelope.blob {
                *self.payloads.entry(payload).or_default() += 1;
            }
            for node in nodes_of(&envelope).into_iter().filter(|node| envelope.waits_at(*node)) {
                let queue = self.queue(node);
                queue.waiting.insert(envelope.rank(), key);
                queue.undelivered.insert(key);
            }
        }
        self.envelopes.insert(key, envelope);
        Ok(())
    }

    fn remembered_of(&self, row: &RememberedRow) -> Result<(KeyRef, Remembered), ApplyError> {
        let undelivered: Result<_, _> = row.undelivered.iter().map(|agency| self.agency_ref(*agency)).collect();
        let remembered = Remembered {
            content: digest(&row.content)?,
            accepted: row.accepted,
            position: Position(row.position),
            leaf_index: row.leaf_index,
            undelivered: undelivered?,
            evidence: row.evidence.clone().into(),
            finals: self.finals_of(&row.finals)?.into(),
            recipients: u16::try_from(row.recipients).map_err(|_| ApplyError::Field("recipients"))?,
        };
        Ok((self.key_ref(&row.envelope, row.sender)?, remembered))
    }

    fn finals_of(&self, rows: &[u8]) -> Result<Vec<Final>, ApplyError> {
        let (rows, rest) = rows.as_chunks::<12>();
        if !rest.is_empty() {
            return Err(ApplyError::Field("finals"));
        }
        let one = |[a, b, c, d, seen @ ..]: &[u8; 12]| {
            Ok(Final { from: self.node_ref(u32::from_be_bytes([*a, *b, *c, *d]))?, seen: *seen })
        };
        rows.iter().map(one).collect()
    }

    fn delivery_of(&self, row: &DeliveryRow) -> Result<Delivery, ApplyError> {
        let position = Position(row.position);
        let leaves: Result<Vec<_>, _> = row.leaves.iter().map(own_leaf_of).collect();
        let leaves = leaves?;
        match row.kind {
            1 => Ok(Delivery::Forwarded { from: self.node_ref(row.from)?, position }),
            2 => {
                let (leaf_index, leaf) = leaves.first().ok_or(ApplyError::Field("leaves"))?;
                Ok(Delivery::Own { position: leaf.position, leaf_index: *leaf_index, envelope: leaf.envelope })
            }
            3 => Ok(Delivery::Final { signed: position, size: row.size, leaves }),
            _ => Err(ApplyError::Field("kind")),
        }
    }

    fn own_leaf_again(&mut self, node: NodeRef, row: &UnsignedRow) -> Result<(), ApplyError> {
        let (leaf_index, leaf) = own_leaf_of(row)?;
        self.unsigned += 1;
        self.queue(node).unsigned.insert(leaf_index, leaf);
        Ok(())
    }

    fn head_row(&self) -> Head {
        Head {
            next_position: self.next_position.0,
            next_leaf: self.next_leaf,
            next_delivery: self.next_delivery,
            clock_ms: self.clock.unix_ms(),
            signed_size: self.signed.map_or(0, |signed| signed.size),
            signed_stamp: self.signed.map_or(0, |signed| signed.said.stamp.number()),
            signed_cosignature: self.signed.map_or(0, |signed| signed.said.cosignature.number()),
            signed_at: self.signed.map_or(0, |signed| signed.position.0 + 1),
            form: FORM,
            agencies: self.book.agencies.all().iter().map(ToString::to_string).collect(),
            nodes: self.book.nodes.all().iter().map(ToString::to_string).collect(),
            directory: self.directory.map(|mark| DirectoryRow {
                version: mark.version,
                statement: mark.statement.0.to_vec(),
                position: mark.position.0,
                leaf_index: mark.leaf_index,
            }),
            noted: self.noted.map(|note| note.as_bytes().to_vec()).unwrap_or_default(),
        }
    }

    fn key_ref(&self, envelope: &[u8], sender: u32) -> Result<KeyRef, ApplyError> {
        let envelope = EnvelopeId::from_bytes(envelope).map_err(|_| ApplyError::Field("envelope"))?;
        Ok(KeyRef { envelope, sender: self.agency_ref(sender)? })
    }

    fn agency_ref(&self, number: u32) -> Result<AgencyRef, ApplyError> {
        let known = usize::try_from(number).is_ok_and(|number| number < self.book.agencies.all().len());
        if known { Ok(AgencyRef(number)) } else { Err(ApplyError::Field("agency number")) }
    }

    fn node_ref(&self, number: u32) -> Result<NodeRef, ApplyError> {
        let known = usize::try_from(number).is_ok_and(|number| number < self.book.nodes.all().len());
        if known { Ok(NodeRef(number)) } else { Err(ApplyError::Field("node number")) }
    }
}

fn envelope_row(key: KeyRef, envelope: &Envelope) -> EnvelopeRow {
    let digests = [envelope.submission, envelope.preamble, envelope.payload, envelope.commitment];
    let pair = |pair: &Pair| [pair.recipient.0, pair.node.map_or(0, |node| node.0 + 1), u32::from(pair.state as u8)];
    EnvelopeRow {
        envelope: key.envelope.as_bytes().to_vec(),
        sender: key.sender.0,
        sender_node: envelope.sender_node.0,
        position: envelope.position.0,
        leaf_index: envelope.leaf_index,
        digests: digests.iter().flat_map(|digest: &Digest| digest.0).collect(),
        payload_length: envelope.payload_length,
        expires_ms: envelope.expires.unix_ms(),
        priority: envelope.priority.into(),
        status: envelope.status,
        blob: envelope.blob,
        pairs: envelope.pairs.iter().flat_map(pair).collect(),
        evidence: envelope.evidence.clone(),
        kept: envelope.pairs.iter().map(|pair| u32::from(pair.kept)).collect(),
        finals: finals_row(&envelope.finals),
    }
}

fn remembered_row(key: KeyRef, remembered: &Remembered) -> RememberedRow {
    RememberedRow {
        envelope: key.envelope.as_bytes().to_vec(),
        sender: key.sender.0,
        content: remembered.content.0.to_vec(),
        accepted: remembered.accepted,
        position: remembered.position.0,
        leaf_index: remembered.leaf_index,
        undelivered: remembered.undelivered.iter().map(|agency| agency.0).collect(),
        evidence: remembered.evidence.to_vec(),
        recipients: remembered.recipients.into(),
        finals: finals_row(&remembered.finals),
    }
}

fn finals_row(finals: &[Final]) -> Vec<u8> {
    finals.iter().flat_map(|one| one.from.0.to_be_bytes().into_iter().chain(one.seen)).collect()
}

fn delivery_row(node: NodeRef, number: u64, delivery: &Delivery) -> DeliveryRow {
    let row = DeliveryRow { node: node.0, number, ..DeliveryRow::default() };
    match delivery {
        Delivery::Forwarded { from, position } => DeliveryRow { kind: 1, from: from.0, position: position.0, ..row },
        Delivery::Own { position, leaf_index, envelope } => {
            let leaf = OwnLeaf { position: *position, envelope: *envelope };
            DeliveryRow { kind: 2, leaves: vec![unsigned_row(node, *leaf_index, &leaf)], ..row }
        }
        Delivery::Final { signed, size, leaves } => {
            let leaves = leaves.iter().map(|(index, leaf)| unsigned_row(node, *index, leaf)).collect();
            DeliveryRow { kind: 3, position: signed.0, size: *size, leaves, ..row }
        }
    }
}

fn unsigned_row(node: NodeRef, leaf_index: u64, leaf: &OwnLeaf) -> UnsignedRow {
    UnsignedRow {
        node: node.0,
        leaf_index,
        position: leaf.position.0,
        envelope: leaf.envelope.as_bytes().to_vec(),
        ..UnsignedRow::default()
    }
}

fn own_leaf_of(row: &UnsignedRow) -> Result<(u64, OwnLeaf), ApplyError> {
    let envelope = EnvelopeId::from_bytes(&row.envelope).map_err(|_| ApplyError::Field("envelope"))?;
    Ok((row.leaf_index, OwnLeaf { position: Position(row.position), envelope }))
}

fn peer_row(node: NodeRef, peer: &Peer) -> PeerRow {
    let row = |seen: &Seen| SeenRow { size: seen.size, root: seen.root.0.to_vec(), position: seen.position.0 };
    PeerRow {
        node: node.0,
        size: peer.proven.size,
        root: peer.proven.root.0.to_vec(),
        position: peer.proven.position.0,
        fork: peer.fork.map_or(0, |position| position.0 + 1),
        unproven: peer.unproven.iter().map(row).collect(),
        cosigned: peer.cosigned.map(|cosigned| CosignedRow {
            size: cosigned.size,
            root: cosigned.root.0.to_vec(),
            logged: cosigned.logged.map(|(size, _)| size),
            logged_ms: cosigned.logged.map_or(0, |(_, at)| at),
        }),
    }
}
