//! Takes a receipt apart into facts, each as far as it can be read.
//!
//! What the strict reader refuses is read a second time, loosely: the refusal stands as a failed form check, and all other checks still say what
//! they find. Nothing loose can make a receipt valid.

use std::collections::BTreeMap;

use truc_ledger::merkle::leaf_hash;
use truc_proto::{
    Actor, AgencyEntry, AgencyId, Checkpoint, Digest, Entry, EnvelopeId, EnvelopeJson, Event, EventUri, NodeEntry,
    Preamble, Raw, Receipt, ReceiptBody, RootStatement, SignedNote, Statement, StatementError, Submission, Timestamp,
    json::Framed,
};
use truc_signer::asic::AsicManifest;

use super::EnvelopeHashes;
use crate::NodeKind;

/// Something read, and why the strict reader refused it if it did.
pub(super) struct Part<T> {
    pub(super) value: Option<T>,
    pub(super) refused: Option<String>,
}

impl<T> Part<T> {
    fn and_then<U>(self, want: &str, take: impl FnOnce(T) -> Option<U>) -> Part<U> {
        let was_read = self.value.is_some();
        let value = self.value.and_then(take);
        let refused = self.refused.or_else(|| (was_read && value.is_none()).then(|| format!("it is not {want}")));
        Part { value, refused }
    }
}

/// What the leaf says, whether submission or event.
pub(super) struct LeafFacts {
    pub(super) statement: LeafStatement,
    pub(super) event: EventUri,
    pub(super) actor: Actor,
    pub(super) time: Timestamp,
    pub(super) envelope: Option<EnvelopeId>,
    /// Absent in a submission, whose sender stands in the preamble.
    pub(super) sender: Option<AgencyId>,
    pub(super) recipient: Option<AgencyId>,
    pub(super) preamble: Option<Digest>,
    pub(super) commitment: Option<Digest>,
    pub(super) hash: Digest,
}

pub(super) enum LeafStatement {
    Submission(Submission),
    Event(Event),
}

impl LeafFacts {
    /// The event, where it is no submission.
    pub(super) const fn said(&self) -> Option<&Event> {
        match &self.statement {
            LeafStatement::Event(event) => Some(event),
            LeafStatement::Submission(_) => None,
        }
    }

    /// What the envelope is, where all of it is named.
    pub(super) fn envelope_hashes(&self) -> Option<EnvelopeHashes> {
        let (submission, preamble, payload, commitment) = match &self.statement {
            LeafStatement::Submission(own) => {
                (Some(self.hash), Some(own.preamble), Some(own.payload), Some(own.commitment))
            }
            LeafStatement::Event(event) => {
                // What was never submitted here begins with who took it over.
                let own = (event.event == EventUri::ReceivedFromNonErds).then_some(self.hash);
                (event.submission.or(own), event.preamble, event.payload, event.commitment)
            }
        };
        Some(EnvelopeHashes {
            submission: submission?,
            preamble: preamble?,
            payload: payload?,
            commitment: commitment?,
        })
    }

    /// The key envelopes it names, by recipient.
    pub(super) fn key_envelopes(&self) -> BTreeMap<AgencyId, Digest> {
        match &self.statement {
            LeafStatement::Submission(submission) => submission.key_envelopes.clone(),
            LeafStatement::Event(event) => event.recipient.clone().zip(event.key_envelope).into_iter().collect(),
        }
    }

    /// The statement's own check of its fields.
    pub(super) fn inconsistency(&self) -> Option<String> {
        match &self.statement {
            LeafStatement::Submission(submission) => submission.check().err(),
            LeafStatement::Event(event) => event.check().err(),
        }
    }

    pub(super) const fn submission(&self) -> Option<&Submission> {
        match &self.statement {
            LeafStatement::Submission(submission) => Some(submission),
            LeafStatement::Event(_) => None,
        }
    }
}

/// The opening, taken apart.
pub(super) struct OpeningFacts {
    pub(super) salt: [u8; 32],
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) manifest: Part<AsicManifest>,
    pub(super) envelope_digest: Digest,
    pub(super) envelope: Part<EnvelopeJson>,
}

/// A receipt as far as it can be read.
pub(super) struct Facts {
    /// Why the strict reader refused the file, if it did.
    pub(super) refused: Option<String>,
    pub(super) index: u64,
    pub(super) proof: Vec<Digest>,
    pub(super) checkpoint: Option<(SignedNote, Checkpoint)>,
    pub(super) body: ReceiptBody,
    pub(super) leaf: Part<LeafFacts>,
    pub(super) root: Part<RootStatement>,
    pub(super) node: Part<(NodeKind, NodeEntry)>,
    pub(super) agency: Option<Part<AgencyEntry>>,
    pub(super) preamble: Option<Part<Preamble>>,
    pub(super) opening: Option<OpeningFacts>,
}

impl Facts {
    /// Takes the file apart.
    ///
    /// # Errors
    /// Why it is no receipt at all.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (receipt, file_refused) = read_file(bytes)?;
        let body = statement::<ReceiptBody>(&receipt.body);
        let Some(read) = body.value else { return Err(body.refused.unwrap_or_default()) };
        let checkpoint = Checkpoint::parse_note(receipt.checkpoint.as_bytes());
        let checkpoint_refused = checkpoint.as_ref().err().map(ToString::to_string);
        let opening = read.opening.as_ref().map(|opening| OpeningFacts {
            salt: opening.salt,
            manifest: read_manifest(&opening.manifest),
            manifest_bytes: opening.manifest.clone(),
            envelope_digest: Digest::of(&opening.envelope),
            envelope: statement(&opening.envelope),
        });
        Ok(Self {
            refused: file_refused.or(body.refused).or(checkpoint_refused),
            index: receipt.index,
            proof: receipt.proof,
            checkpoint: checkpoint.ok(),
            leaf: read_leaf(&read.leaf),
            root: statement(&read.directory),
            node: statement::<Entry>(&read.node.bytes).and_then("a node's or relay's entry", into_node),
            agency: read
                .agency
                .as_ref()
                .map(|entry| statement::<Entry>(&entry.bytes).and_then("an agency's entry", into_agency)),
            preamble: (!read.preamble.is_empty()).then(|| statement(&read.preamble)),
            opening,
            body: read,
        })
    }
}

/// The file's lines; a file with carriage returns is refused and read without them.
fn read_file(bytes: &[u8]) -> Result<(Receipt, Option<String>), String> {
    match Receipt::parse(bytes) {
        Ok(receipt) => Ok((receipt, None)),
        Err(refused) => {
            let refused = refused.to_string();
            let text =
                std::str::from_utf8(bytes).ok().filter(|text| text.contains("\r\n")).ok_or_else(|| refused.clone())?;
            let receipt = Receipt::parse(text.replace("\r\n", "\n").as_bytes()).map_err(|_| refused.clone())?;
            Ok((receipt, Some(refused)))
        }
    }
}

/// A statement read strictly; what is refused is read loosely, contradictions and all.
fn statement<T: Statement>(bytes: &[u8]) -> Part<T> {
    match Raw::<T>::parse(bytes.to_vec()) {
        Ok(raw) => Part { value: Some(raw.into_value()), refused: None },
        Err(error @ StatementError::TooLarge { .. }) => Part { value: None, refused: Some(error.to_string()) },
        Err(error) => Part { value: serde_json::from_slice(bytes).ok(), refused: Some(error.to_string()) },
    }
}

fn read_leaf(bytes: &[u8]) -> Part<LeafFacts> {
    let hash = leaf_hash(bytes);
    match loose_type(bytes).as_deref() {
        Some(Submission::TYPE) => {
            form_of(statement::<Submission>(bytes)).and_then("a submission", |s| Some(of_submission(s, hash)))
        }
        Some(Event::TYPE) => form_of(statement::<Event>(bytes)).and_then("an event", |e| Some(of_event(e, hash))),
        _ => {
            let refused = match Framed::read(bytes.to_vec()) {
                Ok(framed) => format!("a `{}` is no evidence", framed.kind()),
                Err(error) => error.to_string(),
            };
            Part { value: None, refused: Some(refused) }
        }
    }
}

fn loose_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_slice::<Typed>(bytes).ok().map(|typed| typed.kind)
}

/// Form alone: whether the fields contradict each other is a check of its own.
fn form_of<T: Statement>(part: Part<T>) -> Part<T> {
    let inconsistent = part.value.as_ref().and_then(|value| value.check().err());
    let only_that =
        inconsistent.is_some_and(|why| part.refused.as_ref().is_some_and(|refused| refused.ends_with(&why)));
    Part { refused: part.refused.filter(|_| !only_that), value: part.value }
}

fn of_submission(submission: Submission, hash: Digest) -> LeafFacts {
    LeafFacts {
        event: submission.event,
        actor: submission.actor.clone(),
        time: submission.time,
        envelope: Some(submission.envelope),
        sender: None,
        recipient: None,
        preamble: Some(submission.preamble),
        commitment: Some(submission.commitment),
        hash,
        statement: LeafStatement::Submission(submission),
    }
}

fn of_event(event: Event, hash: Digest) -> LeafFacts {
    LeafFacts {
        event: event.event,
        actor: event.actor.clone(),
        time: event.time,
        envelope: event.envelope,
        sender: Some(event.sender.clone()),
        recipient: event.recipient.clone(),
        preamble: event.preamble,
        commitment: event.commitment,
        hash,
        statement: LeafStatement::Event(event),
    }
}

fn into_node(entry: Entry) -> Option<(NodeKind, NodeEntry)> {
    match entry {
        Entry::Node(node) => Some((NodeKind::Node, node)),
        Entry::Relay(relay) => Some((NodeKind::Relay, relay)),
        Entry::Agency(_) | Entry::Operator(_) => None,
    }
}

fn into_agency(entry: Entry) -> Option<AgencyEntry> {
    match entry {
        Entry::Agency(agency) => Some(agency),
        _ => None,
    }
}

fn read_manifest(bytes: &[u8]) -> Part<AsicManifest> {
    match AsicManifest::parse(bytes.to_vec()) {
        Ok(manifest) => Part { value: Some(manifest), refused: None },
        Err(error) => Part { value: None, refused: Some(error.to_string()) },
    }
}
