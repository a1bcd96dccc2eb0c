//! A node made by hand: it signs what it is told to, right or wrong.

use std::{path::Path, sync::mpsc, time::Duration};

use truc_certs_dev::{Issued, Pki, Profile, Subject, wait::PATIENCE};
use truc_evidence::{item_of, prove, sign_checkpoint};
use truc_ledger::{Ledger, LedgerKey, Record, merkle::leaf_hash};
use truc_proto::{
    Actor, AgencyId, Digest, DirectoryRef, EnvelopeId, EnvelopeKind, Event, EventUri, KeyUse, Lane, NodeEntry, NodeId,
    Preamble, Priority, Raw, Role, Statement, Submission, Suite, Supersedes, Timestamp, WireLevel, relay_v1 as wire,
    wire_v1,
};
use truc_relay::clock;
use truc_signer::SoftKey;

use crate::world::{axis, bind, ledger};

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) codes: Vec<String>,
    pub(crate) tls: Issued,
    certificate: Issued,
    pub(crate) ledger: Ledger,
    entry: NodeEntry,
    ledger_key: Vec<u8>,
    next_leaf: std::sync::atomic::AtomicU64,
}

/// What a test wants to send; the defaults are right.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) envelope: EnvelopeId,
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) lane: Lane,
    pub(crate) level: WireLevel,
    pub(crate) created: Timestamp,
    pub(crate) life: Duration,
    pub(crate) supersedes: Option<Supersedes>,
}

pub(crate) fn draft(n: u8, recipients: &[&str], payload: Vec<u8>) -> Draft {
    let now = clock();
    Draft {
        envelope: EnvelopeId::new(now, [n; 10]),
        sender: "G22".into(),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        payload,
        lane: Lane::Ordinary,
        level: WireLevel::Ordinary,
        created: now,
        life: Duration::from_secs(3_600),
        supersedes: None,
    }
}

impl Node {
    pub(crate) fn new(pki: &Pki, folder: &Path, id: &str, codes: &[&str]) -> Self {
        let ledger_key = LedgerKey::generate_pkcs8().unwrap();
        let (ledger, entry) = ledger(folder, id, &ledger_key);
        Self {
            id: id.parse().unwrap(),
            codes: codes.iter().map(ToString::to_string).collect(),
            tls: pki.issue(Profile::Tls, Subject::endpoint(id)).unwrap(),
            certificate: pki.issue(Profile::Node, Subject::new(&format!("Node {id}"))).unwrap(),
            ledger,
            entry,
            ledger_key: ledger_key.to_vec(),
            next_leaf: 0.into(),
        }
    }

    /// The same node with the same key and another ledger, empty: from now on it tells another history.
    pub(crate) fn forget(&mut self, folder: &Path) {
        let (ledger, entry) = ledger(folder, self.id.as_str(), &self.ledger_key);
        assert_eq!(entry.ledger_key, self.entry.ledger_key);
        self.ledger = ledger;
        self.next_leaf = 0.into();
    }

    /// The newest checkpoint, with proofs from these sizes on.
    pub(crate) fn history(&self, from: &[u64]) -> wire::ProveHistoryRequest {
        let head = self.ledger.head();
        let proof = |from: &u64| wire::ConsistencyProof {
            from: *from,
            hashes: self.ledger.consistency(*from, head.size).unwrap().iter().map(|h| h.0.to_vec().into()).collect(),
        };
        let checkpoint = head.note.to_string().into_bytes().into();
        wire::ProveHistoryRequest { checkpoint, proofs: from.iter().map(proof).collect() }
    }

    pub(crate) fn entry(&self) -> NodeEntry {
        let certificates = vec![bind(&self.certificate, KeyUse::Node), bind(&self.tls, KeyUse::Tls)];
        NodeEntry { certificates, ..self.entry.clone() }
    }

    pub(crate) fn hello(&self) -> wire::HelloRequest {
        let mine = self.ledger.head().note.to_string().into_bytes().into();
        wire::HelloRequest {
            axis: axis().to_string(),
            lane: "ordinary".into(),
            node: self.id.to_string(),
            mine,
            ..Default::default()
        }
    }

    /// Appends a leaf and waits until it is on the device.
    pub(crate) fn append(&self, leaf: &[u8]) -> u64 {
        let (sender, receiver) = mpsc::channel();
        let release = Box::new(move |_: &truc_ledger::Committed| sender.send(()).unwrap());
        self.ledger.submit(vec![Record::with_leaf(vec![1], leaf.to_vec())], release).unwrap();
        receiver.recv_timeout(PATIENCE).unwrap();
        self.next_leaf.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) fn offer(&self, draft: &Draft) -> wire::OfferRequest {
        let mut recipients: Vec<AgencyId> = draft.recipients.iter().map(|code| code.parse().unwrap()).collect();
        recipients.sort();
        let sender: AgencyId = draft.sender.parse().unwrap();
        let preamble = Preamble {
            axis: axis(),
            suite: Suite::S1,
            envelope: draft.envelope,
            lane: draft.lane,
            level: draft.level,
            sender: sender.clone(),
            recipients: recipients.clone(),
            legacy: Vec::new(),
            kind: EnvelopeKind::Document,
            priority: Priority::ORDINARY,
            created: draft.created,
            expires: draft.created + draft.life,
            supersedes: draft.supersedes.clone(),
        };
        let preamble = Raw::write(preamble).unwrap();
        let key_envelope = |code: &AgencyId| format!("key for {code}").into_bytes();
        let submission = Submission {
            event: EventUri::SubmissionAcceptance,
            actor: Actor { code: Some(sender), node: self.id.clone(), role: Role::Sender },
            time: clock(),
            envelope: draft.envelope,
            preamble: preamble.digest(),
            payload: Digest::of(&draft.payload),
            payload_length: draft.payload.len() as u64,
            commitment: Digest::of(b"commitment"),
            key_envelopes: recipients.iter().map(|code| (code.clone(), Digest::of(&key_envelope(code)))).collect(),
            directory: DirectoryRef { version: 1, root: Digest::of(b"root"), entry: Digest::of(b"entry") },
        };
        let leaf = Raw::write(submission).unwrap().bytes().to_vec();
        let index = self.append(&leaf);
        let submission = prove(&self.ledger, leaf, index, &self.ledger.head()).unwrap();
        let inline = draft.payload.len() < truc_proto::limits::INLINE_PAYLOAD_BYTES_MAX;
        wire::OfferRequest {
            packed_key_envelopes: Default::default(),
            preamble: preamble.bytes().clone(),
            submission: Some(submission),
            key_envelopes: recipients
                .iter()
                .map(|code| wire::KeyEnvelope { recipient: code.to_string(), cms: key_envelope(code).into() })
                .collect(),
            payload: if inline { draft.payload.clone().into() } else { bytes::Bytes::new() },
        }
    }

    /// What this node, as a recipient, says about an offer that reached it.
    pub(crate) fn says(&self, offer: &wire::OfferRequest, code: &str, event: EventUri) -> wire_v1::EvidenceBatch {
        self.says_with(offer, code, event, |_| ())
    }

    pub(crate) fn says_with(
        &self,
        offer: &wire::OfferRequest,
        code: &str,
        event: EventUri,
        change: impl FnOnce(&mut Event),
    ) -> wire_v1::EvidenceBatch {
        let leaf = offer.submission.as_ref().unwrap().leaf.clone();
        let submission = Raw::<Submission>::parse(leaf.clone()).unwrap();
        let recipient: AgencyId = code.parse().unwrap();
        let mut said = Event {
            event,
            actor: Actor { code: Some(recipient.clone()), node: self.id.clone(), role: Role::Recipient },
            time: clock(),
            envelope: Some(submission.envelope),
            sender: submission.actor.code.clone().unwrap(),
            recipient: Some(recipient.clone()),
            submission: Some(leaf_hash(&leaf)),
            preamble: Some(submission.preamble),
            payload: Some(submission.payload),
            commitment: Some(submission.commitment),
            key_envelope: submission.key_envelopes.get(&recipient).copied(),
            reason: None,
            details: None,
            request: None,
            successor: None,
        };
        change(&mut said);
        self.batch(said)
    }

    pub(crate) fn batch<T: Statement>(&self, statement: T) -> wire_v1::EvidenceBatch {
        let leaf = Raw::write(statement).unwrap().bytes().to_vec();
        let index = self.append(&leaf);
        let head = self.ledger.head();
        let proof = self.ledger.inclusion(index, head.size).unwrap();
        let item = item_of(Some(&leaf), leaf_hash(&leaf), index, &proof, None);
        wire_v1::EvidenceBatch { checkpoint: head.note.to_string().into_bytes().into(), items: vec![item] }
    }

    /// The same leaf again, without its bytes, under a checkpoint that the certificate signed.
    pub(crate) fn finalise(&self, leaf: &[u8], index: u64, envelope: EnvelopeId) -> wire_v1::EvidenceBatch {
        let head = self.ledger.head();
        let mut note = head.note.clone();
        let key = SoftKey::from_pem(self.certificate.certificate_pem.as_bytes(), self.certificate.key_pem.as_bytes())
            .unwrap();
        sign_checkpoint(&mut note, &key, clock()).unwrap();
        let proof = self.ledger.inclusion(index, head.size).unwrap();
        let item = item_of(None, leaf_hash(leaf), index, &proof, Some(envelope));
        wire_v1::EvidenceBatch { checkpoint: note.to_string().into_bytes().into(), items: vec![item] }
    }
}
