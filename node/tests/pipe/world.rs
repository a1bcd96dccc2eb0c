//! A small axis without network: three nodes, five codes, a directory, and what a relay would hand on.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Request, Subject};
use truc_evidence::{Directory, DirectoryDraft, PinnedOperator, ledger_origin};
use truc_ledger::{
    blobs::{Announced, BlobStore},
    volume::DirVolume,
};
use truc_node::{
    core::Sealed,
    pipe::{AgencyKeys, Keys, Pipes},
    pipeline::{Composed, FetchSink, Moment, Opened, Part, Parts, Pipeline, PipelineError, Resolved},
    records::{Incoming, KeyEnvelope, Outgoing},
    settings::{KeySource, Settings, TrustFiles},
};
use truc_proto::{
    Actor, AgencyEntry, AgencyId, CertificateBinding, Digest, Entry, Event, EventUri, ForeignCode, KeyStatus, KeyUse,
    Lane, NodeEntry, NodeId, Preamble, Raw, Role, Route, SealingAlgorithm, Submission, Timestamp, node_v1,
    wire_v1::ProvenLeaf,
};
use truc_signer::{
    Certificate, Crl, OpeningKey, OpeningKeyError, SignError, SignatureScheme, SigningKey, SoftKey, StorageKey,
    TrustStore,
};

pub(crate) const AXIS: &str = "test";

/// The codes, each with its node and the kind of its keys.
pub(crate) const AGENCIES: [(&str, &str, KeyKind); 5] = [
    ("H26", "N-H26", KeyKind::P256),
    ("H37", "N-H37", KeyKind::P256),
    ("H37.DN.001", "N-H37", KeyKind::Rsa2048),
    ("H49", "N-H49", KeyKind::Rsa2048),
    ("A11", "N-H49", KeyKind::P256),
];

pub(crate) fn code(text: &str) -> AgencyId {
    text.parse().unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_slice(bytes).unwrap()
}

/// A key that can be taken away.
pub(crate) struct Removable {
    key: SoftKey,
    pub(crate) away: AtomicBool,
}

impl SigningKey for Removable {
    fn certificate(&self) -> &Certificate {
        self.key.certificate()
    }
    fn scheme(&self) -> SignatureScheme {
        SigningKey::scheme(&self.key)
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(SignError::Away { subject: "test".into(), detail: "pulled out".into() });
        }
        self.key.sign(message)
    }
}

impl OpeningKey for Removable {
    fn certificate(&self) -> &Certificate {
        self.key.certificate()
    }
    fn decrypt_oaep_sha256(&self, ciphertext: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(OpeningKeyError::Away);
        }
        self.key.decrypt_oaep_sha256(ciphertext)
    }
    fn ecdh(&self, peer_point: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OpeningKeyError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(OpeningKeyError::Away);
        }
        self.key.ecdh(peer_point)
    }
}

pub(crate) struct Agency {
    pub(crate) service_issued: Issued,
    pub(crate) sealing_issued: Issued,
    pub(crate) service: Arc<Removable>,
    pub(crate) sealing: Arc<Removable>,
}

pub(crate) struct Node {
    pub(crate) pipes: Pipes,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) folder: TempDir,
}

pub(crate) struct World {
    pub(crate) pki: Pki,
    pub(crate) now: Timestamp,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) directory: Directory,
    pub(crate) draft: DirectoryDraft,
    operator: SoftKey,
    pub(crate) agencies: BTreeMap<AgencyId, Agency>,
    pub(crate) nodes: BTreeMap<String, Node>,
}

/// Making RSA keys takes most of a second without optimisation, so each is made once.
fn rsa_key(name: &str, profile: Profile) -> Vec<u8> {
    static KEYS: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let make = || {
        let now = Timestamp::from_unix_s(1_800_000_000);
        let pki = Pki::new(KeyKind::P256, now).unwrap();
        pki.issue_with(Request::new(profile, KeyKind::Rsa2048, Subject::new("RSA"))).unwrap().key_pkcs8_der
    };
    KEYS.lock().unwrap().entry(format!("{name} {profile:?}")).or_insert_with(make).clone()
}

pub(crate) fn soft(issued: &Issued) -> SoftKey {
    SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Lane::Ordinary)
    }

    pub(crate) fn on(lane: Lane) -> Self {
        let now = Timestamp::from_unix_s(1_800_000_000);
        let pki = Pki::new(KeyKind::P256, now).unwrap();
        let trust = trust_of(&pki);
        let operator = soft(&pki.issue(Profile::Operator, Subject::new("Vận hành")).unwrap());
        let mut draft = DirectoryDraft::new(AXIS.parse().unwrap(), lane);
        let mut agencies = BTreeMap::new();
        for (name, node, kind) in AGENCIES {
            let subject = || Subject::new(&format!("Cơ quan {name}")).organization(&format!("UBND {name}"));
            let issue = |profile| {
                let key_pkcs8_der = (kind == KeyKind::Rsa2048).then(|| rsa_key(name, profile));
                pki.issue_with(Request { key_pkcs8_der, ..Request::new(profile, kind, subject()) }).unwrap()
            };
            let agency = agency(issue(Profile::Service), issue(Profile::Sealing));
            draft.put(Entry::Agency(agency_entry(name, node, lane, &agency, now))).unwrap();
            agencies.insert(code(name), agency);
        }
        for (id, relay) in [("N-H26", false), ("N-H37", false), ("N-H49", false), ("R1", true)] {
            let entry = node_entry(&pki, id, lane);
            draft.put(if relay { Entry::Relay(entry) } else { Entry::Node(entry) }).unwrap();
        }
        let directory = sign(&draft, &operator, &trust, lane, now);
        let mut world = Self { pki, now, trust, directory, draft, operator, agencies, nodes: BTreeMap::new() };
        for id in ["N-H26", "N-H37", "N-H49"] {
            let node = world.node(id, lane);
            world.nodes.insert(id.to_owned(), node);
        }
        world
    }

    fn node(&self, id: &str, lane: Lane) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let blobs =
            Arc::new(BlobStore::open(Arc::new(DirVolume::create(folder.path().join("store")).unwrap())).unwrap());
        let mut keys = BTreeMap::new();
        for (name, _, _) in AGENCIES.iter().filter(|(_, node, _)| *node == id) {
            let agency = &self.agencies[&code(name)];
            let service: Arc<dyn SigningKey> = Arc::clone(&agency.service) as _;
            let sealing: Arc<dyn OpeningKey> = Arc::clone(&agency.sealing) as _;
            keys.insert(code(name), AgencyKeys { service: vec![service], sealing: vec![sealing] });
        }
        let settings = settings(folder.path().to_owned(), id, lane);
        let storage = StorageKey::generate(1).unwrap();
        let pipes =
            Pipes::new(&settings, Keys::new(keys), storage, Arc::clone(&self.trust), Arc::clone(&blobs)).unwrap();
        Node { pipes, blobs, folder }
    }

    /// Signs the draft as it is now into the directory in force.
    pub(crate) fn publish(&mut self) {
        let lane = self.directory.statement().lane;
        self.directory = sign(&self.draft, &self.operator, &self.trust, lane, self.now);
    }

    pub(crate) fn moment(&self, seed: u8) -> Moment {
        Moment { now: self.now, asked: self.now, random: [seed; 10] }
    }

    pub(crate) fn sender(&self) -> &Node {
        &self.nodes["N-H26"]
    }

    pub(crate) fn compose(
        &self,
        header: node_v1::SendHeader,
        parts: impl IntoIterator<Item = Part>,
    ) -> Result<Composed, PipelineError> {
        self.compose_resolved(header, &Resolved::default(), parts)
    }

    pub(crate) fn compose_resolved(
        &self,
        header: node_v1::SendHeader,
        resolved: &Resolved,
        parts: impl IntoIterator<Item = Part>,
    ) -> Result<Composed, PipelineError> {
        let mut parts = List(parts.into_iter());
        self.sender().pipes.compose(header, resolved, &mut parts, &self.directory, self.moment(1))
    }

    /// Composes what must not be held or refused.
    #[track_caller]
    pub(crate) fn sealed(&self, header: node_v1::SendHeader, parts: impl IntoIterator<Item = Part>) -> Sealed {
        match self.compose(header, parts).unwrap() {
            Composed::Sealed(sealed) => *sealed,
            Composed::Held(held) => panic!("held: {held:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(
        &self,
        header: node_v1::SendHeader,
        parts: impl IntoIterator<Item = Part>,
    ) -> truc_node::pipeline::Refusal {
        match self.compose(header, parts) {
            Err(PipelineError::Refused(refusal)) => *refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// What the relay hands to a node: payload, preamble, the sender's and its own leaf.
    pub(crate) fn deliver(&self, sealed: &Sealed, to: &str) -> (Incoming, Vec<KeyEnvelope>) {
        self.deliver_from(&self.sender().blobs, sealed, to)
    }

    pub(crate) fn deliver_from(
        &self,
        from: &Arc<BlobStore>,
        sealed: &Sealed,
        to: &str,
    ) -> (Incoming, Vec<KeyEnvelope>) {
        let Outgoing { preamble, key_envelopes, payload, .. } = &sealed.outgoing;
        if payload.inline.is_none() {
            carry(from, &self.nodes[to].blobs, digest(&payload.sha256), payload.length);
        }
        let codes: Vec<AgencyId> =
            AGENCIES.iter().filter(|(_, node, _)| *node == to).map(|(name, ..)| code(name)).collect();
        let envelopes: Vec<KeyEnvelope> =
            key_envelopes.iter().filter(|e| codes.contains(&code(&e.recipient))).cloned().collect();
        let incoming = Incoming {
            preamble: preamble.clone(),
            submission: proven(submission(sealed, self.now).bytes().clone()),
            relay_acceptance: proven(acceptance(sealed, self.now).bytes().clone()),
            payload: payload.clone(),
            codes: envelopes.iter().map(|envelope| envelope.recipient.clone()).collect(),
            at_ms: self.now.unix_ms(),
        };
        (incoming, envelopes)
    }

    pub(crate) fn open(&self, node: &str, incoming: &Incoming, envelopes: &[KeyEnvelope]) -> Opened {
        self.nodes[node].pipes.open(incoming, envelopes, &self.directory, self.now).unwrap()
    }

    pub(crate) fn issue(&self, profile: Profile, kind: KeyKind, name: &str) -> Issued {
        self.pki.issue_with(Request::new(profile, kind, Subject::new(name).organization("UBND"))).unwrap()
    }
}

pub(crate) fn trust_of(pki: &Pki) -> Arc<TrustStore> {
    let crls = Crl::from_pem(pki.crls_pem().unwrap().as_bytes()).unwrap();
    let pem = |text: &str| Certificate::from_pem(text.as_bytes()).unwrap();
    Arc::new(TrustStore::new(pem(&pki.anchors_pem), pem(&pki.intermediates_pem), crls).unwrap())
}

pub(crate) fn agency(service_issued: Issued, sealing_issued: Issued) -> Agency {
    let removable = |issued| Arc::new(Removable { key: soft(issued), away: AtomicBool::new(false) });
    Agency { service: removable(&service_issued), sealing: removable(&sealing_issued), service_issued, sealing_issued }
}

pub(crate) fn bound(issued: &Issued, uses: KeyUse) -> CertificateBinding {
    let certificate = Certificate::from_der(&issued.certificate_der).unwrap();
    let algorithm = match truc_signer::SealingAlgorithm::for_certificate(&certificate) {
        Some(truc_signer::SealingAlgorithm::RsaOaepSha256) => SealingAlgorithm::RsaOaepSha256,
        _ => SealingAlgorithm::EcdhP256,
    };
    CertificateBinding {
        uses: vec![uses],
        der: issued.certificate_der.clone(),
        sha256: certificate.sha256(),
        algorithms: if uses == KeyUse::Sealing { vec![algorithm] } else { Vec::new() },
        valid_from: certificate.not_before(),
        valid_to: certificate.not_after(),
        status: KeyStatus::Good,
        status_since: None,
    }
}

pub(crate) fn agency_entry(name: &str, node: &str, lane: Lane, agency: &Agency, now: Timestamp) -> AgencyEntry {
    AgencyEntry {
        code: code(name),
        names: vec![format!("Ủy ban {name}")],
        parent: None,
        old_codes: vec![format!("000.00.00.{name}").parse::<ForeignCode>().unwrap()],
        valid_from: now.before(Duration::from_secs(86_400)),
        valid_to: None,
        serves_until: None,
        successor: None,
        route: Route::Native,
        node: Some(node.parse().unwrap()),
        lanes: vec![lane],
        certificates: vec![
            bound(&agency.service_issued, KeyUse::Service),
            bound(&agency.sealing_issued, KeyUse::Sealing),
        ],
    }
}

fn node_entry(pki: &Pki, id: &str, lane: Lane) -> NodeEntry {
    let issue = |profile| pki.issue(profile, Subject::endpoint(id)).unwrap();
    let node: NodeId = id.parse().unwrap();
    NodeEntry {
        origin: ledger_origin(&AXIS.parse().unwrap(), lane, &node, 1),
        id: node,
        lane,
        epoch: 1,
        ledger_key: *Digest::of(id.as_bytes()).as_bytes(),
        witness_key: None,
        certificates: vec![bound(&issue(Profile::Node), KeyUse::Node), bound(&issue(Profile::Tls), KeyUse::Tls)],
    }
}

fn sign(draft: &DirectoryDraft, operator: &SoftKey, trust: &TrustStore, lane: Lane, now: Timestamp) -> Directory {
    let signed = draft.sign(operator, now, now + Duration::from_secs(90 * 86_400)).unwrap();
    let pinned = PinnedOperator::new(operator.certificate().clone());
    Directory::verify(signed, &pinned, trust, &AXIS.parse().unwrap(), lane, now).unwrap()
}

fn settings(folder: PathBuf, id: &str, lane: Lane) -> Settings {
    let none = || KeySource::beside(&folder.join("none.pem")).unwrap();
    let file = |name: &str| folder.join(name);
    Settings {
        axis: AXIS.parse().unwrap(),
        lane,
        id: id.parse().unwrap(),
        epoch: 1,
        local: "127.0.0.1:0".parse().unwrap(),
        local_tls: None,
        relay: "localhost:1".to_owned(),
        relay_id: "R1".parse().unwrap(),
        agencies: Vec::new(),
        tls_keys: vec![none()],
        node_keys: vec![none()],
        ledger_key: file("ledger"),
        witness_key: file("witness"),
        storage_key: file("storage"),
        tokens: file("tokens"),
        trust: TrustFiles {
            anchors: file("a"),
            intermediates: None,
            crls: Vec::new(),
            policies: truc_signer::PolicySettings::default(),
            operator: file("o"),
        },
        ttl: Duration::from_secs(7 * 86_400),
        retention: None,
        sdk: None,
        rest: None,
        gateway: None,
        duties: truc_node::settings::DutySettings::default(),
        metrics: None,
        two_persons: Default::default(),
        time_stamps: None,
        revocation: None,
        stopped: Default::default(),
        folder,
    }
}

pub(crate) fn submission(sealed: &Sealed, now: Timestamp) -> Raw<Submission> {
    let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    let hashes = sealed.outgoing.key_envelopes.iter().map(|e| (code(&e.recipient), Digest::of(&e.cms)));
    Raw::write(Submission {
        event: EventUri::SubmissionAcceptance,
        actor: Actor { code: Some(preamble.sender.clone()), node: "N-H26".parse().unwrap(), role: Role::Sender },
        time: now,
        envelope: preamble.envelope,
        preamble: preamble.digest(),
        payload: digest(&sealed.outgoing.payload.sha256),
        payload_length: sealed.outgoing.payload.length,
        commitment: sealed.commitment,
        key_envelopes: hashes.collect(),
        directory: sealed.directory.clone(),
    })
    .unwrap()
}

fn acceptance(sealed: &Sealed, now: Timestamp) -> Raw<Event> {
    let submission = submission(sealed, now);
    let preamble = Raw::<Preamble>::parse(sealed.outgoing.preamble.clone()).unwrap();
    Raw::write(Event {
        event: EventUri::RelayAcceptance,
        actor: Actor { code: None, node: "R1".parse().unwrap(), role: Role::Relay },
        time: now,
        envelope: Some(preamble.envelope),
        sender: preamble.sender.clone(),
        recipient: None,
        submission: Some(Digest::of(submission.bytes())),
        preamble: Some(submission.preamble),
        payload: Some(submission.payload),
        commitment: Some(submission.commitment),
        key_envelope: None,
        reason: None,
        details: None,
        request: None,
        successor: None,
    })
    .unwrap()
}

pub(crate) fn proven(leaf: Bytes) -> ProvenLeaf {
    ProvenLeaf { leaf, index: 0, proof: Vec::new(), checkpoint: Bytes::new() }
}

/// Copies a blob from one node's store into another's.
pub(crate) fn carry(from: &Arc<BlobStore>, to: &Arc<BlobStore>, digest: Digest, length: u64) {
    let reader = from.read(&digest).unwrap();
    let mut upload = to.begin("carried", Announced { digest, length }).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    while upload.offset() < length {
        let read = reader.read_at(&mut buffer, upload.offset()).unwrap();
        upload.write(upload.offset(), &buffer[..read]).unwrap();
    }
    upload.finish().unwrap();
}

pub(crate) struct List<I>(pub I);

impl<I: Iterator<Item = Part>> Parts for List<I> {
    fn next(&mut self) -> io::Result<Option<Part>> {
        Ok(self.0.next())
    }
}

#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) length: Option<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl io::Write for Bucket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FetchSink for Bucket {
    fn length(&mut self, bytes: u64) {
        self.length = Some(bytes);
    }
}
