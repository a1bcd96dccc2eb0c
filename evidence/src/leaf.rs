//! What stands in ledgers: every kind of leaf, read strictly, with its bytes kept.

use bytes::Bytes;
use truc_ledger::merkle::leaf_hash;
use truc_proto::{
    Actor, Administration, Arrival, Digest, EnvelopeId, Event, EventUri, Raw, RootStatement, Statement, StatementError,
    Submission, Timestamp, json::Framed,
};

/// A leaf of a node's or relay's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The sender's SubmissionAcceptance.
    Submission(Raw<Submission>),
    /// Every other event about an envelope.
    Event(Raw<Event>),
    /// The relay's record of evidence that reached it.
    Arrival(Raw<Arrival>),
    /// A directory root, logged by the relay.
    Root(Raw<RootStatement>),
    /// What an administrator did to the node.
    Administration(Raw<Administration>),
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a statement, or not a valid one of its kind.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A statement that no ledger holds, or that a later version introduced.
    #[error("a `{0}` is not a kind of leaf that this version knows; update the software that reads it")]
    Kind(String),
}

impl Leaf {
    /// Reads a leaf, keeping its bytes.
    ///
    /// # Errors
    /// When the bytes are no valid statement of a kind that stands in ledgers.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, LeafError> {
        let framed = Framed::read(bytes)?;
        match framed.kind() {
            Submission::TYPE => Ok(Self::Submission(framed.parse()?)),
            Event::TYPE => Ok(Self::Event(framed.parse()?)),
            Arrival::TYPE => Ok(Self::Arrival(framed.parse()?)),
            RootStatement::TYPE => Ok(Self::Root(framed.parse()?)),
            Administration::TYPE => Ok(Self::Administration(framed.parse()?)),
            other => Err(LeafError::Kind(other.chars().take(40).collect())),
        }
    }

    /// The bytes that the ledger holds.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Submission(raw) => raw.bytes(),
            Self::Event(raw) => raw.bytes(),
            Self::Arrival(raw) => raw.bytes(),
            Self::Root(raw) => raw.bytes(),
            Self::Administration(raw) => raw.bytes(),
        }
    }

    /// RFC 6962 hash of the leaf.
    #[must_use]
    pub fn hash(&self) -> Digest {
        leaf_hash(self.bytes())
    }

    /// Who speaks, in leaves that are evidence about envelopes; the relay's own records and what administrators did name nobody.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        match self {
            Self::Submission(submission) => Some(&submission.actor),
            Self::Event(event) => Some(&event.actor),
            Self::Arrival(_) | Self::Root(_) | Self::Administration(_) => None,
        }
    }

    /// The event, in leaves that are evidence.
    #[must_use]
    pub fn event(&self) -> Option<EventUri> {
        match self {
            Self::Submission(submission) => Some(submission.event),
            Self::Event(event) => Some(event.event),
            Self::Arrival(_) | Self::Root(_) | Self::Administration(_) => None,
        }
    }

    /// When, by its writer's clock.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Submission(submission) => submission.time,
            Self::Event(event) => event.time,
            Self::Arrival(arrival) => arrival.time,
            Self::Root(root) => root.issued,
            Self::Administration(done) => done.time,
        }
    }

    /// The envelope it is about.
    #[must_use]
    pub fn envelope(&self) -> Option<EnvelopeId> {
        match self {
            Self::Submission(submission) => Some(submission.envelope),
            Self::Event(event) => event.envelope,
            Self::Arrival(arrival) => Some(arrival.envelope),
            Self::Root(_) | Self::Administration(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use truc_proto::{AdminAction, AdminSubject, Administrator};

    use super::*;

    #[test]
    fn what_an_administrator_did_is_a_leaf_about_no_envelope() {
        let node = "N-H26".parse().unwrap();
        let who = Administrator::node(&node);
        let statement = Administration {
            node,
            time: Timestamp::from_unix_s(7),
            action: AdminAction::KeyDestroyed,
            subject: AdminSubject::named("keys/sealing-2021.p12"),
            who,
            approved_by: None,
            why: "nothing sealed to it can arrive any more".into(),
            done: None,
        };
        let bytes = Raw::write(statement).unwrap().bytes().clone();
        let leaf = Leaf::parse(bytes.clone()).unwrap();
        assert_eq!((leaf.bytes(), leaf.time()), (&bytes, Timestamp::from_unix_s(7)));
        assert_eq!((leaf.actor(), leaf.event(), leaf.envelope()), (None, None, None));
    }

    #[test]
    fn other_statements_are_no_leaves() {
        assert_eq!(
            Leaf::parse(&br#"{"type":"preamble","v":1}"#[..]).unwrap_err(),
            LeafError::Kind("preamble".to_owned())
        );
        assert!(matches!(Leaf::parse(&b"{}"[..]).unwrap_err(), LeafError::Statement(_)));
        assert!(matches!(Leaf::parse(&br#"{"type":"event","v":1}"#[..]).unwrap_err(), LeafError::Statement(_)));
    }
}
