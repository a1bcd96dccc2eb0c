//! What the relay writes into its journal. Tags are for ever: a number that was used is never given another meaning.
//!
//! A record holds everything that the fold needs, time included, so that the same journal always gives the same state. Bodies (preamble, key
//! envelopes, evidence) ride along as opaque bytes: the fold does not read them, whoever needs them reads the record by its position.

use bytes::Bytes;
use prost::Message;
use truc_evidence::Attestations;
use truc_proto::{relay_v1::KeyEnvelope, wire_v1::ProvenLeaf};

/// One record of the journal.
#[derive(Clone, PartialEq, Message)]
pub struct RelayRecord {
    /// What happened.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub body: Option<Body>,
}

/// The kinds of record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// An envelope was accepted; its leaf is the relay's RelayAcceptance.
    #[prost(message, tag = "1")]
    Accepted(Accepted),
    /// An envelope, or one recipient of an accepted one, was refused; its leaf is a RelayRejection.
    #[prost(message, tag = "2")]
    Rejected(Rejected),
    /// Evidence of a node arrived; its leaf is an Arrival.
    #[prost(message, tag = "3")]
    Evidence(Evidence),
    /// Proofs into a tree that the certificate signed, for leaves that the other side holds.
    #[prost(message, tag = "4")]
    Finalisation(Finalisation),
    /// A node has deliveries on its device.
    #[prost(message, tag = "5")]
    Acknowledged(Acknowledged),
    /// A recipient was not reached; its leaf is a RelayFailure.
    #[prost(message, tag = "6")]
    Failed(Failed),
    /// The relay's certificate signed a checkpoint.
    #[prost(message, tag = "7")]
    Signed(Signed),
    /// A directory version was published; its leaf is the root statement.
    #[prost(message, tag = "8")]
    Directory(DirectoryPublished),
    /// A node showed a newer checkpoint of its own ledger.
    #[prost(message, tag = "9")]
    PeerCheckpoint(PeerCheckpoint),
    /// A node showed two histories. Both notes are kept for ever.
    #[prost(message, tag = "10")]
    Forked(Forked),
    /// A node proved that its ledger grew, up to a checkpoint seen before.
    #[prost(message, tag = "11")]
    PeerProven(PeerProven),
    /// The relay cosigns a node's checkpoint. Where it has a leaf, that is a `checkpoint`.
    #[prost(message, tag = "12")]
    Cosigned(Cosigned),
    /// The ledger goes on under a new origin. Its leaf is a `checkpoint`: the last one known of the old origin.
    #[prost(message, tag = "13")]
    OriginBegun(OriginBegun),
    /// An administrator did something to the relay; its leaf is an `administration`.
    #[prost(message, tag = "14")]
    Administered(Administered),
}

/// The (sender code, envelope id) that deduplication and every later event key on.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Key {
    /// Sender's agency code.
    #[prost(string, tag = "1")]
    pub sender: String,
    /// 16 bytes of a UUIDv7.
    #[prost(bytes = "vec", tag = "2")]
    pub envelope: Vec<u8>,
}

/// Where a node's ledger stood.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Mark {
    /// Leaves.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Root over them, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub root: Vec<u8>,
}

/// See [`Body::Accepted`].
#[derive(Clone, PartialEq, Message)]
pub struct Accepted {
    /// Relay's clock, milliseconds since 1970.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Which envelope.
    #[prost(message, optional, tag = "2")]
    pub key: Option<Key>,
    /// The node that uploaded it.
    #[prost(string, tag = "3")]
    pub sender_node: String,
    /// Leaf hash of the submission.
    #[prost(bytes = "vec", tag = "4")]
    pub submission: Vec<u8>,
    /// SHA-256 of the preamble.
    #[prost(bytes = "vec", tag = "5")]
    pub preamble: Vec<u8>,
    /// SHA-256 of the payload.
    #[prost(bytes = "vec", tag = "6")]
    pub payload: Vec<u8>,
    /// The content commitment.
    #[prost(bytes = "vec", tag = "7")]
    pub commitment: Vec<u8>,
    /// Bytes of the payload.
    #[prost(uint64, tag = "8")]
    pub payload_length: u64,
    /// True when the payload lies in the blob store, false when it is in `body`.
    #[prost(bool, tag = "9")]
    pub blob: bool,
    /// When the relay stops trying, milliseconds since 1970.
    #[prost(int64, tag = "10")]
    pub expires_ms: i64,
    /// 0 to 4.
    #[prost(uint32, tag = "11")]
    pub priority: u32,
    /// True for a business status.
    #[prost(bool, tag = "12")]
    pub status: bool,
    /// Recipients in the preamble's order.
    #[prost(message, repeated, tag = "13")]
    pub recipients: Vec<Recipient>,
    /// Sender's ledger, as the submission's checkpoint states it.
    #[prost(message, optional, tag = "14")]
    pub mark: Option<Mark>,
    /// An encoded [`AcceptedBody`].
    #[prost(bytes = "bytes", tag = "15")]
    pub body: Bytes,
    /// The envelope that this one replaces for one recipient: that envelope's id (16 bytes).
    #[prost(bytes = "vec", tag = "16")]
    pub supersedes: Vec<u8>,
    /// The recipient of the older envelope.
    #[prost(string, tag = "17")]
    pub superseded_recipient: String,
}

/// A recipient and where it is served.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Recipient {
    /// Agency code.
    #[prost(string, tag = "1")]
    pub code: String,
    /// Its node; empty when the code is closed (a [`Rejected`] record follows).
    #[prost(string, tag = "2")]
    pub node: String,
}

/// What the recipient's node needs of an accepted envelope, beside the payload.
#[derive(Clone, PartialEq, Message)]
pub struct AcceptedBody {
    /// The preamble's bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub preamble: Bytes,
    /// The submission with proof and checkpoint, as received.
    #[prost(message, optional, tag = "2")]
    pub submission: Option<ProvenLeaf>,
    /// Key envelopes by recipient.
    #[prost(message, repeated, tag = "3")]
    pub key_envelopes: Vec<KeyEnvelope>,
    /// The payload, when it is inline.
    #[prost(bytes = "bytes", tag = "4")]
    pub payload: Bytes,
}

/// See [`Body::Rejected`].
#[derive(Clone, PartialEq, Message)]
pub struct Rejected {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Which envelope.
    #[prost(message, optional, tag = "2")]
    pub key: Option<Key>,
    /// The node that offered it.
    #[prost(string, tag = "3")]
    pub sender_node: String,
    /// Identity of the refused content (preamble, payload, commitment).
    #[prost(bytes = "vec", tag = "4")]
    pub content: Vec<u8>,
    /// Only this recipient; empty: the whole envelope.
    #[prost(string, tag = "5")]
    pub recipient: String,
    /// True when the answer to the offer carries the leaf itself; false when it goes through Watch.
    #[prost(bool, tag = "6")]
    pub answered: bool,
}

/// See [`Body::Evidence`].
#[derive(Clone, PartialEq, Message)]
pub struct Evidence {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Which envelope.
    #[prost(message, optional, tag = "2")]
    pub key: Option<Key>,
    /// Whose ledger it is a leaf of.
    #[prost(string, tag = "3")]
    pub from: String,
    /// The node it goes to.
    #[prost(string, tag = "4")]
    pub to: String,
    /// The recipient's code it is about.
    #[prost(string, tag = "5")]
    pub recipient: String,
    /// Which event: [`crate::core::Fact`].
    #[prost(uint32, tag = "6")]
    pub fact: u32,
    /// Leaf hash in the ledger of `from`.
    #[prost(bytes = "vec", tag = "7")]
    pub leaf: Vec<u8>,
    /// Ledger of `from`.
    #[prost(message, optional, tag = "8")]
    pub mark: Option<Mark>,
    /// An encoded `EvidenceBatch` with this one item, as it goes on.
    #[prost(bytes = "bytes", tag = "9")]
    pub batch: Bytes,
    /// True when the envelope had already failed for this recipient.
    #[prost(bool, tag = "10")]
    pub late: bool,
    /// True when `from` holds the relay's RelayAcceptance since the lease and is to get it under the certificate's signature, too.
    #[prost(bool, tag = "11")]
    pub wants_final: bool,
}

/// See [`Body::Finalisation`].
#[derive(Clone, PartialEq, Message)]
pub struct Finalisation {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Whose ledger.
    #[prost(string, tag = "2")]
    pub from: String,
    /// The node it goes to.
    #[prost(string, tag = "3")]
    pub to: String,
    /// Ledger of `from`.
    #[prost(message, optional, tag = "4")]
    pub mark: Option<Mark>,
    /// An encoded `EvidenceBatch`.
    #[prost(bytes = "bytes", tag = "5")]
    pub batch: Bytes,
    /// What it is about, so that the same is not written again. Empty in records of earlier versions.
    #[prost(message, repeated, tag = "6")]
    pub leaves: Vec<FinalLeaf>,
}

/// One leaf of a [`Finalisation`].
#[derive(Clone, PartialEq, Message)]
pub struct FinalLeaf {
    /// Which envelope.
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    /// First eight bytes of a hash over the leaf's hash and the node it went to.
    #[prost(fixed64, tag = "2")]
    pub seen: u64,
}

/// See [`Body::Acknowledged`].
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledged {
    /// Which node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Numbers of the deliveries.
    #[prost(uint64, repeated, tag = "2")]
    pub numbers: Vec<u64>,
}

/// See [`Body::Failed`].
#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Which envelope.
    #[prost(message, optional, tag = "2")]
    pub key: Option<Key>,
    /// Which recipient.
    #[prost(string, tag = "3")]
    pub recipient: String,
    /// True: another envelope took its place; false: it expired, or `ended`.
    #[prost(bool, tag = "4")]
    pub superseded: bool,
    /// True: the recipient's code stopped being served while it waited.
    #[prost(bool, tag = "5")]
    pub ended: bool,
}

/// See [`Body::Signed`].
#[derive(Clone, PartialEq, Message)]
pub struct Signed {
    /// Leaves in the signed tree.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// The note with ledger-key line and CMS line.
    #[prost(bytes = "bytes", tag = "2")]
    pub note: Bytes,
    /// What became of its time-stamp, as [`truc_evidence::Attestation`] counts.
    #[prost(uint32, tag = "3")]
    pub stamp: u32,
    /// The same of its cosignatures.
    #[prost(uint32, tag = "4")]
    pub cosignature: u32,
}

impl Signed {
    /// What others said of it.
    #[must_use]
    pub const fn said(&self) -> Attestations {
        Attestations::from_numbers(self.stamp, self.cosignature)
    }
}

/// See [`Body::Directory`].
#[derive(Clone, PartialEq, Message)]
pub struct DirectoryPublished {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// The version.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// SHA-256 of the root statement.
    #[prost(bytes = "vec", tag = "3")]
    pub statement: Vec<u8>,
    /// Codes that another node serves from now on.
    #[prost(message, repeated, tag = "4")]
    pub moved: Vec<Recipient>,
    /// Nodes whose ledger began a new origin: what was held of the old one no longer binds.
    #[prost(string, repeated, tag = "5")]
    pub renewed: Vec<String>,
    /// The record of the version before; none with the first.
    #[prost(message, optional, tag = "6")]
    pub before: Option<DirectoryBefore>,
}

/// Where the directory version before another one stands.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DirectoryBefore {
    /// Its record.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    /// Index of its leaf.
    #[prost(uint64, tag = "2")]
    pub leaf_index: u64,
}

/// See [`Body::PeerCheckpoint`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerCheckpoint {
    /// Which node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Where its ledger stood.
    #[prost(message, optional, tag = "2")]
    pub mark: Option<Mark>,
    /// The note as received.
    #[prost(bytes = "bytes", tag = "3")]
    pub note: Bytes,
}

/// See [`Body::Forked`].
#[derive(Clone, PartialEq, Message)]
pub struct Forked {
    /// Which node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Position of the record with the note held before.
    #[prost(uint64, tag = "2")]
    pub held_at: u64,
    /// The note that contradicts it.
    #[prost(bytes = "bytes", tag = "3")]
    pub shown: Bytes,
    /// Where it stood.
    #[prost(message, optional, tag = "4")]
    pub mark: Option<Mark>,
}

/// See [`Body::PeerProven`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerProven {
    /// Which node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Leaves in the newest checkpoint that is proven to continue all before it.
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

/// See [`Body::OriginBegun`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OriginBegun {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// The new origin.
    #[prost(string, tag = "2")]
    pub origin: String,
    /// Who did it.
    #[prost(string, tag = "3")]
    pub who: String,
    /// Why.
    #[prost(string, tag = "4")]
    pub why: String,
}

/// See [`Body::Administered`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Administered {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// SHA-256 of the note that it was left as; empty: there was none.
    #[prost(bytes = "vec", tag = "2")]
    pub note: Vec<u8>,
}

/// See [`Body::Cosigned`].
#[derive(Clone, PartialEq, Message)]
pub struct Cosigned {
    /// Relay's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Which node.
    #[prost(string, tag = "2")]
    pub node: String,
    /// Where its ledger stood.
    #[prost(message, optional, tag = "3")]
    pub mark: Option<Mark>,
    /// The note with the ledger key's line.
    #[prost(bytes = "bytes", tag = "4")]
    pub note: Bytes,
}

impl RelayRecord {
    /// Whether written bytes are a [`Body::Administered`], by their tag alone: what looks for those passes over all others quickly.
    #[must_use]
    pub fn is_administered(state: &[u8]) -> bool {
        state.first().is_some_and(|key| key >> 3 == 14)
    }

    /// The bytes that go into the journal.
    #[must_use]
    pub fn encoded(body: Body) -> Vec<u8> {
        Self { body: Some(body) }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Option<Mark> {
        Some(Mark { size: 9, root: vec![8; 32] })
    }

    fn key() -> Option<Key> {
        Some(Key { sender: "H26".into(), envelope: vec![7; 16] })
    }

    #[test]
    fn every_record_round_trips() {
        let bodies = [
            Body::Accepted(Accepted {
                time_ms: 1,
                key: key(),
                sender_node: "N1".into(),
                submission: vec![1; 32],
                preamble: vec![2; 32],
                payload: vec![3; 32],
                commitment: vec![4; 32],
                payload_length: 5,
                blob: true,
                expires_ms: 6,
                priority: 2,
                status: true,
                recipients: vec![Recipient { code: "H37".into(), node: "N2".into() }],
                mark: mark(),
                body: Bytes::from_static(b"body"),
                supersedes: vec![9; 16],
                superseded_recipient: "H02".into(),
            }),
            Body::Rejected(Rejected {
                time_ms: 1,
                key: key(),
                sender_node: "N1".into(),
                content: vec![1; 32],
                recipient: "H02".into(),
                answered: true,
            }),
            Body::Evidence(Evidence {
                time_ms: 1,
                key: key(),
                from: "N2".into(),
                to: "N1".into(),
                recipient: "H37".into(),
                fact: 2,
                leaf: vec![5; 32],
                mark: mark(),
                batch: Bytes::from_static(b"batch"),
                late: true,
                wants_final: true,
            }),
            Body::Finalisation(Finalisation {
                time_ms: 1,
                from: "N2".into(),
                to: "N1".into(),
                mark: mark(),
                batch: Bytes::from_static(b"batch"),
                leaves: vec![FinalLeaf { key: key(), seen: 5 }],
            }),
            Body::Acknowledged(Acknowledged { node: "N1".into(), numbers: vec![1, 3] }),
            Body::Failed(Failed { time_ms: 1, key: key(), recipient: "H37".into(), superseded: true, ended: false }),
            Body::Signed(Signed { size: 4, note: Bytes::from_static(b"note"), stamp: 2, cosignature: 1 }),
            Body::Directory(DirectoryPublished {
                time_ms: 1,
                version: 2,
                statement: vec![6; 32],
                moved: vec![Recipient { code: "H37".into(), node: "N3".into() }],
                renewed: vec!["N2".into()],
                before: Some(DirectoryBefore { position: 3, leaf_index: 1 }),
            }),
            Body::PeerCheckpoint(PeerCheckpoint { node: "N1".into(), mark: mark(), note: Bytes::from_static(b"n") }),
            Body::Forked(Forked { node: "N1".into(), held_at: 8, shown: Bytes::from_static(b"n"), mark: mark() }),
            Body::PeerProven(PeerProven { node: "N1".into(), size: 9 }),
            Body::Cosigned(Cosigned { time_ms: 1, node: "N1".into(), mark: mark(), note: Bytes::from_static(b"n") }),
            Body::OriginBegun(OriginBegun { time_ms: 1, origin: "o".into(), who: "w".into(), why: "y".into() }),
            Body::Administered(Administered { time_ms: 1, note: vec![7; 32] }),
        ];
        for body in bodies {
            let bytes = RelayRecord::encoded(body.clone());
            assert_eq!(RelayRecord::decode(bytes.as_slice()).unwrap().body, Some(body));
        }
    }

    /// The first bytes of each kind are its tag: a change of one breaks every store that exists.
    #[test]
    fn tags_are_those_that_stores_on_disk_carry() {
        let tag = |body| RelayRecord::encoded(body)[0] >> 3;
        assert_eq!(tag(Body::Accepted(Accepted::default())), 1);
        assert_eq!(tag(Body::Rejected(Rejected::default())), 2);
        assert_eq!(tag(Body::Evidence(Evidence::default())), 3);
        assert_eq!(tag(Body::Finalisation(Finalisation::default())), 4);
        assert_eq!(tag(Body::Acknowledged(Acknowledged::default())), 5);
        assert_eq!(tag(Body::Failed(Failed::default())), 6);
        assert_eq!(tag(Body::Signed(Signed::default())), 7);
        assert_eq!(tag(Body::Directory(DirectoryPublished::default())), 8);
        assert_eq!(tag(Body::PeerCheckpoint(PeerCheckpoint::default())), 9);
        assert_eq!(tag(Body::Forked(Forked::default())), 10);
        assert_eq!(tag(Body::PeerProven(PeerProven::default())), 11);
        assert_eq!(tag(Body::Cosigned(Cosigned::default())), 12);
        assert_eq!(tag(Body::OriginBegun(OriginBegun::default())), 13);
        assert_eq!(tag(Body::Administered(Administered::default())), 14);
        assert!(RelayRecord::is_administered(&RelayRecord::encoded(Body::Administered(Administered::default()))));
        assert!(!RelayRecord::is_administered(&RelayRecord::encoded(Body::Signed(Signed::default()))));
    }
}
