//! An axis in memory: PKI, directory, ledgers, and receipts built with any one thing wrong and everything else hashed and signed for real.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, KeyKind, Pki, Profile, Request, RevocationReason, Subject, TokenPlan, Tsa,
};
use truc_evidence::{Directory, PinnedOperator, ReceiptTrust, ledger_origin};
use truc_ledger::{LedgerKey, merkle::MemTree};
use truc_proto::{
    Actor, AgencyEntry, AgencyId, AxisId, CertificateBinding, Checkpoint, Digest, Entry, EnvelopeId, EnvelopeJson,
    EnvelopeKind, Event, EventUri, KeyId, KeyStatus, KeyUse, Lane, NodeEntry, NodeId, NoteSignature, Opening,
    OperatorEntry, Policy, Preamble, Priority, ProvenEntry, Receipt, ReceiptBody, Role, RootStatement, Route, SealedTo,
    SealingAlgorithm, SignedDirectory, SignedNote, Statement, Submission, Suite, Timestamp, WireLevel,
};
use truc_signer::{
    Certificate, Crl, OcspAnswer, OcspAnswers, SigningKey, SoftKey, TrustStore,
    asic::{ContentSalt, content_commitment},
    cms::embed_time_stamp,
    sign_detached, verify_detached,
};

pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The moment of every event here: 2026-11-22T03:00:00Z.
pub(crate) fn at() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

/// That moment and some milliseconds.
pub(crate) fn after(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(at().unix_ms() + ms)
}

pub(crate) fn code(text: &str) -> AgencyId {
    text.parse().unwrap()
}
pub(crate) fn node_id(text: &str) -> NodeId {
    text.parse().unwrap()
}
pub(crate) fn axis() -> AxisId {
    "dev".parse().unwrap()
}

/// A key with its certificate.
pub(crate) struct Party {
    pub(crate) issued: Issued,
    pub(crate) key: SoftKey,
}

impl Party {
    fn new(issued: Issued) -> Self {
        let key = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
        Self { issued, key }
    }
    pub(crate) fn sha256(&self) -> Digest {
        self.issued.fingerprint()
    }
}

pub(crate) struct World {
    pub(crate) pki: Pki,
    pub(crate) operator: Party,
    pub(crate) other_operator: Party,
    pub(crate) foreign_operator: Party,
    pub(crate) early_operator: Party,
    pub(crate) short_operator: Party,
    pub(crate) misused_operator: Party,
    pub(crate) revoked_operator: Party,
    pub(crate) later_revoked_operator: Party,
    pub(crate) node_g22: Party,
    pub(crate) node_h26: Party,
    pub(crate) node_h37: Party,
    pub(crate) relay: Party,
    pub(crate) foreign_node: Party,
    pub(crate) misused_node: Party,
    pub(crate) future_node: Party,
    pub(crate) expired_node: Party,
    pub(crate) short_node: Party,
    pub(crate) revoked_node: Party,
    pub(crate) later_revoked_node: Party,
    pub(crate) brief_node: Party,
    pub(crate) soon_revoked_node: Party,
    pub(crate) tsa: Tsa,
    pub(crate) foreign_tsa: Tsa,
    pub(crate) short_tsa: Tsa,
    pub(crate) revoked_tsa: Tsa,
    pub(crate) later_revoked_tsa: Tsa,
    /// Whom the issuer appointed to answer OCSP, and revoked since.
    pub(crate) revoked_responder: Issued,
    /// With a certificate that is for mail, too.
    pub(crate) mailing_tsa: Tsa,
    /// With a service's certificate.
    pub(crate) misused_tsa: Tsa,
    pub(crate) tls: Vec<(&'static str, Party)>,
    pub(crate) service_g22: Party,
    pub(crate) service_h26: Party,
    pub(crate) sealing_h26: Party,
    pub(crate) crls_pem: String,
}

/// Made once: certificates cost more than anything else here.
pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| World::new(KeyKind::P256));

impl World {
    /// With keys of this kind for everybody, authorities included.
    pub(crate) fn new(kind: KeyKind) -> Self {
        let made = after(-60 * DAY_MS);
        let mut pki = Pki::new(kind, made).unwrap();
        let foreign = Pki::unrelated(kind, made).unwrap();
        let request = |profile, name: &str| Request::new(profile, kind, Subject::new(name).organization("Trục DEV"));
        let issue = |pki: &Pki, profile, name: &str| Party::new(pki.issue_with(request(profile, name)).unwrap());
        let between = |profile, name: &str, from: Option<Timestamp>, to: Option<Timestamp>| {
            let request = Request { not_before: from, not_after: to, ..request(profile, name) };
            Party::new(pki.issue_with(request).unwrap())
        };
        let early_operator = between(Profile::Operator, "Vận hành sớm", Some(after(-5 * DAY_MS)), None);
        let short_operator = between(Profile::Operator, "Vận hành ngắn", None, Some(after(10 * DAY_MS)));
        let future_node = between(Profile::Node, "Nút tương lai", Some(after(DAY_MS)), None);
        let expired_node = between(Profile::Node, "Nút hết hạn", None, Some(after(-DAY_MS)));
        let short_node = between(Profile::Node, "Nút ngắn hạn", None, Some(after(10 * DAY_MS)));
        let revoked_operator = issue(&pki, Profile::Operator, "Vận hành bị thu hồi");
        let later_revoked_operator = issue(&pki, Profile::Operator, "Vận hành bị thu hồi sau");
        let revoked_node = issue(&pki, Profile::Node, "Nút bị thu hồi");
        let later_revoked_node = issue(&pki, Profile::Node, "Nút bị thu hồi sau");
        let brief_node = between(Profile::Node, "Nút hết hạn trong ngày", None, Some(after(12 * HOUR_MS)));
        let soon_revoked_node = issue(&pki, Profile::Node, "Nút bị thu hồi trong ngày");
        let short_tsa = between(Profile::TimeStamping, "TSA ngắn hạn", None, Some(after(10 * DAY_MS)));
        let stamps = |name: &str| issue(&pki, Profile::TimeStamping, name).issued;
        let revoked_responder = issue(&pki, Profile::Ocsp, "OCSP bị thu hồi").issued;
        let [revoked_tsa, later_revoked_tsa] =
            ["bị thu hồi", "bị thu hồi sau"].map(|name| stamps(&format!("TSA {name}")));
        for (issued, since) in [
            (&revoked_operator.issued, -12 * DAY_MS),
            (&later_revoked_operator.issued, 5 * DAY_MS),
            (&revoked_node.issued, -HOUR_MS),
            (&later_revoked_node.issued, 5 * DAY_MS),
            (&soon_revoked_node.issued, 12 * HOUR_MS),
            (&revoked_tsa, -HOUR_MS),
            (&revoked_responder, -HOUR_MS),
            (&later_revoked_tsa, 5 * DAY_MS),
        ] {
            pki.revoke(issued, after(since), RevocationReason::KeyCompromise);
        }
        let tsa = |issued| Tsa::new(issued).unwrap();
        let mailing = vec![ExtendedKeyUsagePurpose::TimeStamping, ExtendedKeyUsagePurpose::EmailProtection];
        let mailing = Request {
            extended_key_usages: Some(mailing),
            ..request(Profile::TimeStamping, "TSA kiêm thư điện tử")
        };
        let lists = pki.crls(after(6 * DAY_MS), after(60 * DAY_MS)).unwrap();
        let crls_pem = lists.iter().map(|der| pem("X509 CRL", der)).collect();
        let tls = ["N-G22", "N-H26", "N-H37", "R1"]
            .map(|id| (id, Party::new(pki.issue(Profile::Tls, Subject::endpoint(id)).unwrap())));
        Self {
            operator: issue(&pki, Profile::Operator, "Vận hành trục"),
            other_operator: issue(&pki, Profile::Operator, "Vận hành khác"),
            foreign_operator: issue(&foreign, Profile::Operator, "Vận hành lạ"),
            early_operator,
            short_operator,
            misused_operator: issue(&pki, Profile::Sealing, "Vận hành sai mục đích"),
            revoked_operator,
            later_revoked_operator,
            node_g22: issue(&pki, Profile::Node, "Nút N-G22"),
            node_h26: issue(&pki, Profile::Node, "Nút N-H26"),
            node_h37: issue(&pki, Profile::Node, "Nút N-H37"),
            relay: issue(&pki, Profile::Node, "Máy chuyển tiếp R1"),
            foreign_node: issue(&foreign, Profile::Node, "Nút lạ"),
            misused_node: issue(&pki, Profile::Sealing, "Nút sai mục đích"),
            future_node,
            expired_node,
            short_node,
            revoked_node,
            later_revoked_node,
            brief_node,
            soon_revoked_node,
            tsa: tsa(issue(&pki, Profile::TimeStamping, "TSA").issued),
            foreign_tsa: tsa(issue(&foreign, Profile::TimeStamping, "TSA lạ").issued),
            short_tsa: tsa(short_tsa.issued),
            revoked_tsa: tsa(revoked_tsa),
            later_revoked_tsa: tsa(later_revoked_tsa),
            revoked_responder,
            mailing_tsa: tsa(pki.issue_with(mailing).unwrap()),
            misused_tsa: tsa(issue(&pki, Profile::Service, "Dịch vụ đóng dấu thời gian").issued),
            tls: tls.into(),
            service_g22: issue(&pki, Profile::Service, "Dịch vụ G22"),
            service_h26: issue(&pki, Profile::Service, "Dịch vụ H26"),
            sealing_h26: issue(&pki, Profile::Sealing, "Niêm H26"),
            crls_pem,
            pki,
        }
    }

    pub(crate) fn tls_of(&self, id: &str) -> &Party {
        &self.tls.iter().find(|(name, _)| *name == id).unwrap().1
    }

    /// Anchors and sub-CA in one text, as `--trust` takes them.
    pub(crate) fn trust_pem(&self) -> String {
        format!("{}{}", self.pki.anchors_pem, self.pki.intermediates_pem)
    }

    pub(crate) fn store(&self) -> TrustStore {
        store_of(&self.trust_pem(), "")
    }

    /// The entries of the directory that everything here relies on.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let agency = |text: &str, node: &str, certificates| {
            Entry::Agency(AgencyEntry {
                code: code(text),
                names: vec![format!("Cơ quan {text}")],
                parent: None,
                old_codes: vec![],
                valid_from: after(-400 * DAY_MS),
                valid_to: None,
                serves_until: None,
                successor: None,
                route: Route::Native,
                node: Some(node_id(node)),
                lanes: vec![Lane::Ordinary],
                certificates,
            })
        };
        let mut sealing = binding(&self.sealing_h26, KeyUse::Sealing);
        sealing.algorithms = vec![SealingAlgorithm::EcdhP256];
        vec![
            agency("G22", "N-G22", vec![binding(&self.service_g22, KeyUse::Service)]),
            agency("H26", "N-H26", vec![binding(&self.service_h26, KeyUse::Service), sealing]),
            agency("H26.18", "N-H26", vec![]),
            agency("H37", "N-H37", vec![]),
            Entry::Node(self.node_entry("N-G22", 1, &self.node_g22)),
            Entry::Node(self.node_entry("N-H26", 2, &self.node_h26)),
            Entry::Node(self.node_entry("N-H37", 3, &self.node_h37)),
            Entry::Operator(OperatorEntry {
                name: "Đơn vị vận hành trục DEV".into(),
                certificates: vec![binding(&self.operator, KeyUse::Operator)],
            }),
            Entry::Relay(self.node_entry("R1", 4, &self.relay)),
        ]
    }

    pub(crate) fn node_entry(&self, id: &str, seed: u8, party: &Party) -> NodeEntry {
        let origin = ledger_origin(&axis(), Lane::Ordinary, &node_id(id), 1);
        NodeEntry {
            id: node_id(id),
            lane: Lane::Ordinary,
            ledger_key: *ledger_key(&origin, seed).public().public_key(),
            origin,
            epoch: 1,
            witness_key: None,
            certificates: vec![binding(party, KeyUse::Node), binding(self.tls_of(id), KeyUse::Tls)],
        }
    }

    pub(crate) fn root(&self) -> RootStatement {
        RootStatement {
            axis: axis(),
            lane: Lane::Ordinary,
            version: 3,
            issued: after(-10 * DAY_MS),
            valid_until: after(20 * DAY_MS),
            size: 0,
            root: Digest([0; 32]),
            previous: Some(Digest::of(b"version 2")),
        }
    }

    /// The directory in force.
    pub(crate) fn signed_directory(&self) -> SignedDirectory {
        let entries = self.entries().iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
        sign_directory(entries, self.root(), &self.operator.key)
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::verify(self.signed_directory(), &self.pinned(), &self.store(), &axis(), Lane::Ordinary, at())
            .unwrap()
    }

    pub(crate) fn pinned(&self) -> PinnedOperator {
        PinnedOperator::from_file_bytes(self.operator.issued.leaf_pem().as_bytes()).unwrap()
    }
}

pub(crate) fn sign_directory(entries: Vec<Bytes>, mut root: RootStatement, key: &dyn SigningKey) -> SignedDirectory {
    let tree = MemTree::of(&entries);
    root.size = tree.size();
    root.root = tree.root();
    let statement = Bytes::from(bytes_of(&root));
    let cms = sign_detached(key, &statement, Some(root.issued)).unwrap();
    SignedDirectory { statement, cms: cms.into(), entries }
}

pub(crate) fn store_of(trust_pem: &str, crls_pem: &str) -> TrustStore {
    let (anchors, intermediates) =
        Certificate::from_pem(trust_pem.as_bytes()).unwrap().into_iter().partition(Certificate::is_self_issued);
    let crls = if crls_pem.is_empty() { vec![] } else { Crl::from_pem(crls_pem.as_bytes()).unwrap() };
    TrustStore::new(anchors, intermediates, crls).unwrap()
}

/// OCSP answers as a verifier is given them.
pub(crate) fn answers_of(answers: &[Vec<u8>], now: Timestamp) -> Arc<OcspAnswers> {
    let answers = answers.iter().map(|der| OcspAnswer::from_der(der).unwrap());
    Arc::new(OcspAnswers::of(answers).as_of(now))
}

pub(crate) fn binding(party: &Party, key_use: KeyUse) -> CertificateBinding {
    CertificateBinding {
        uses: vec![key_use],
        der: party.issued.certificate_der.clone(),
        sha256: party.sha256(),
        algorithms: vec![],
        valid_from: after(-50 * DAY_MS),
        valid_to: after(1_000 * DAY_MS),
        status: KeyStatus::Good,
        status_since: None,
    }
}

pub(crate) fn ledger_key(origin: &str, seed: u8) -> LedgerKey {
    LedgerKey::from_seed(origin, &[seed; 32]).unwrap()
}

/// A statement's bytes, contradictions and all: `Raw::write` would refuse to write them.
pub(crate) fn bytes_of<T: Statement>(value: &T) -> Vec<u8> {
    let mut json = serde_json::to_value(value).unwrap();
    let object = json.as_object_mut().unwrap();
    object.insert("type".into(), T::TYPE.into());
    object.insert("v".into(), 1.into());
    serde_json::to_vec(&json).unwrap()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A member that a strict reader must not pass over.
pub(crate) fn with_critical(bytes: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    format!(r#"{{"crit":["hold"],"hold":true,{}"#, &text[1..]).into_bytes()
}

/// An object with a name twice where no reader of ours looks.
pub(crate) fn with_double_name(bytes: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    format!(r#"{{"aside":{{"y":1,"y":2}},{}"#, &text[1..]).into_bytes()
}

/// Whose receipt it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// G22's submission.
    Sender,
    /// The relay's RelayAcceptance.
    Relay,
    /// H26's ContentConsignment.
    Recipient,
}

/// In which ledger the leaf stands.
#[derive(Clone, Debug)]
pub(crate) struct LedgerPlan {
    /// Key of the node's or relay's entry.
    pub(crate) entry: &'static str,
    pub(crate) origin: String,
    pub(crate) seed: u8,
}

/// Time-stamps over this signature value.
pub(crate) type Stamps = fn(&World, &[u8]) -> Vec<Vec<u8>>;

/// A time-stamp token of this moment over a signature value.
pub(crate) fn token(tsa: &Tsa, signature: &[u8], ms: i64) -> Vec<u8> {
    tsa.token(&Digest::of(signature), &TokenPlan::at(after(ms))).unwrap()
}

/// A detached CMS over `content` with time-stamps.
pub(crate) fn stamped(world: &World, cms: Vec<u8>, content: &[u8], stamps: Stamps) -> Vec<u8> {
    let signature = verify_detached(&cms, content, &[]).unwrap().signature;
    stamps(world, &signature).iter().fold(cms, |cms, token| embed_time_stamp(&cms, token).unwrap())
}

/// How the certificate signs the checkpoint.
pub(crate) struct CmsPlan<'a> {
    pub(crate) key: Option<&'a SoftKey>,
    pub(crate) signed_at: Timestamp,
    /// Which certificate the line's key id names; none: the signer's own.
    pub(crate) hint: Option<Digest>,
    /// Another text than the checkpoint's.
    pub(crate) text: Option<String>,
}

/// A receipt to build: the defaults give a valid one, each hook bends one thing *before* everything over it is hashed and signed.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) who: Who,
    pub(crate) now: Timestamp,
    pub(crate) with_opening: bool,
    pub(crate) with_preamble: bool,
    pub(crate) with_agency: bool,
    pub(crate) preamble: fn(&mut Preamble),
    pub(crate) preamble_bytes: fn(Vec<u8>) -> Vec<u8>,
    /// After everything was hashed: an exchange in the receipt file.
    pub(crate) preamble_shown: fn(&mut Preamble),
    pub(crate) envelope: fn(&mut EnvelopeJson),
    pub(crate) envelope_bytes: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) manifest_bytes: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) opening_shown: fn(&mut Opening),
    pub(crate) submission: fn(&mut Submission),
    pub(crate) event: fn(&mut Event),
    pub(crate) leaf_bytes: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) leaf_shown: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) index_shown: fn(u64) -> u64,
    pub(crate) ledger: fn(&mut LedgerPlan),
    pub(crate) cms: for<'a> fn(&'a World, &mut CmsPlan<'a>),
    pub(crate) entries: fn(&World, &mut Vec<Entry>),
    pub(crate) entry_bytes: fn(&str, Vec<u8>) -> Vec<u8>,
    pub(crate) root: fn(&mut RootStatement),
    pub(crate) root_bytes: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) root_signed: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) root_signer: fn(&World) -> &Party,
    pub(crate) pinned: fn(&World) -> &Party,
    pub(crate) with_crls: bool,
    pub(crate) agency_entry: Option<&'static str>,
    pub(crate) node_shown: fn(&mut Entry),
    pub(crate) agency_shown: fn(&mut Entry),
    pub(crate) body_bytes: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) stamps: Stamps,
    pub(crate) root_stamps: Stamps,
    pub(crate) file: fn(String) -> String,
    pub(crate) document: Option<&'static [u8]>,
    /// Who cosigned the checkpoint.
    pub(crate) cosigned: Vec<Cosigned>,
    /// The policy that the verifier is given.
    pub(crate) policy: Option<fn() -> String>,
    /// The OCSP answers that the verifier is given.
    pub(crate) answers: Vec<Vec<u8>>,
    /// The content besides `envelope.json`.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Leaves before it in the ledger.
    pub(crate) fillers: u8,
}

/// A line of a witness under the checkpoint.
#[derive(Clone)]
pub(crate) struct Cosigned {
    /// The name of its key, and the seed of the key.
    pub(crate) by: (&'static str, u8),
    /// With this seed's key instead, under the name and id of the one above.
    pub(crate) really_by: Option<u8>,
    /// Milliseconds after the event.
    pub(crate) after_ms: i64,
    /// What it signed, of the checkpoint's text.
    pub(crate) text: fn(&str) -> String,
}

/// By a witness of this name and seed, two seconds after the event.
pub(crate) fn cosigned_by(by: (&'static str, u8)) -> Cosigned {
    Cosigned { by, really_by: None, after_ms: 2_000, text: str::to_owned }
}

/// A policy of these witnesses: so many of them.
pub(crate) fn policy_of(threshold: usize, witnesses: &[(&'static str, u8)]) -> String {
    let line = |(place, (name, seed)): (usize, &(&str, u8))| {
        format!("witness w{place} {}\n", ledger_key(name, *seed).public().cosignature_vkey())
    };
    let lines: String = witnesses.iter().enumerate().map(line).collect();
    let names: String = (0..witnesses.len()).map(|place| format!(" w{place}")).collect();
    format!("# a policy\n{lines}group q {threshold}{names}\nquorum q\n")
}

/// Witnesses, by the name of their key and its seed.
pub(crate) const W_R1: (&str, u8) = ("truc/dev/ordinary/R1/1", 54);
pub(crate) const W_G22: (&str, u8) = ("truc/dev/ordinary/N-G22/1", 51);
pub(crate) const W_H26: (&str, u8) = ("truc/dev/ordinary/N-H26/1", 52);
pub(crate) const W_H37: (&str, u8) = ("truc/dev/ordinary/N-H37/1", 53);

pub(crate) fn cosign(note: &mut SignedNote, line: &Cosigned) {
    let (name, seed) = line.by;
    let mut made =
        ledger_key(name, line.really_by.unwrap_or(seed)).cosign(&(line.text)(note.text()), after(line.after_ms));
    made.key_id = ledger_key(name, seed).public().cosignature_id();
    note.add_signature(made).unwrap();
}

/// The one file of the document, besides `envelope.json`.
pub(crate) const PACKET: &[u8] = "<edXML>Kế hoạch chuyển đổi số</edXML>".as_bytes();

impl Default for Recipe {
    fn default() -> Self {
        Self {
            who: Who::Recipient,
            now: after(DAY_MS),
            with_opening: false,
            with_preamble: true,
            with_agency: true,
            preamble: |_| {},
            preamble_bytes: |bytes| bytes,
            preamble_shown: |_| {},
            envelope: |_| {},
            envelope_bytes: |bytes| bytes,
            manifest_bytes: |bytes| bytes,
            opening_shown: |_| {},
            submission: |_| {},
            event: |_| {},
            leaf_bytes: |bytes| bytes,
            leaf_shown: |bytes| bytes,
            index_shown: |index| index,
            ledger: |_| {},
            cms: |_, _| {},
            entries: |_, _| {},
            entry_bytes: |_, bytes| bytes,
            root: |_| {},
            root_bytes: |bytes| bytes,
            root_signed: |bytes| bytes,
            root_signer: |world| &world.operator,
            pinned: |world| &world.operator,
            with_crls: false,
            agency_entry: None,
            node_shown: |_| {},
            agency_shown: |_| {},
            body_bytes: |bytes| bytes,
            stamps: |_, _| vec![],
            root_stamps: |_, _| vec![],
            file: |text| text,
            document: None,
            cosigned: vec![],
            policy: None,
            answers: vec![],
            files: vec![("packet.edxml", PACKET.to_vec())],
            fillers: 5,
        }
    }
}

/// A receipt file and what its verifier is given.
#[derive(Clone)]
pub(crate) struct Built {
    pub(crate) receipt: String,
    pub(crate) now: Timestamp,
    pub(crate) trust_pem: String,
    pub(crate) operator_pem: String,
    pub(crate) crls_pem: String,
    pub(crate) document: Option<Vec<u8>>,
    pub(crate) policy: Option<String>,
    pub(crate) answers: Vec<Vec<u8>>,
}

impl Built {
    pub(crate) fn trust(&self) -> ReceiptTrust {
        let operator = PinnedOperator::from_file_bytes(self.operator_pem.as_bytes()).unwrap();
        let store = store_of(&self.trust_pem, &self.crls_pem).with_answers(answers_of(&self.answers, self.now));
        let trust = ReceiptTrust::new(store, operator);
        match &self.policy {
            Some(policy) => trust.with_policy(Policy::parse(policy.as_bytes()).unwrap()),
            None => trust,
        }
    }
}

struct Content {
    preamble: Vec<u8>,
    opening: Opening,
    commitment: Digest,
}

impl Recipe {
    pub(crate) fn build(&self, world: &World) -> Built {
        let content = self.content(world);
        let entries = self.directory_entries(world);
        let tree = MemTree::of(&entries);
        let mut root = world.root();
        root.size = tree.size();
        root.root = tree.root();
        (self.root)(&mut root);
        let (leaf, ledger) = self.leaf(&content, &root, &entries);
        let (index, proof, note) = self.log(world, &leaf, &ledger);
        let statement = (self.root_bytes)(bytes_of(&root));
        let signed = (self.root_signed)(statement.clone());
        let directory_cms = sign_detached(&(self.root_signer)(world).key, &signed, Some(root.issued)).unwrap();
        let directory_cms = stamped(world, directory_cms, &signed, self.root_stamps);
        let agency = (self.agency_entry).unwrap_or(if self.who == Who::Sender { "agency/G22" } else { "agency/H26" });
        let with_agency = self.with_agency && self.who != Who::Relay;
        let mut preamble = content.preamble;
        let mut shown = serde_json::from_slice::<Preamble>(&preamble).unwrap();
        let before = shown.clone();
        (self.preamble_shown)(&mut shown);
        if shown != before {
            preamble = bytes_of(&shown);
        }
        let mut opening = content.opening;
        (self.opening_shown)(&mut opening);
        let body = ReceiptBody {
            leaf: (self.leaf_shown)(leaf),
            preamble: if self.with_preamble { preamble } else { vec![] },
            directory: statement,
            directory_cms,
            node: proven(&entries, &tree, ledger.entry, self.node_shown),
            agency: with_agency.then(|| proven(&entries, &tree, agency, self.agency_shown)),
            opening: self.with_opening.then_some(opening),
        };
        let body = (self.body_bytes)(bytes_of(&body)).into();
        let receipt = Receipt { body, index: (self.index_shown)(index), proof, checkpoint: note.to_string() };
        Built {
            receipt: (self.file)(receipt.to_string()),
            now: self.now,
            trust_pem: world.trust_pem(),
            operator_pem: (self.pinned)(world).issued.leaf_pem(),
            crls_pem: if self.with_crls { world.crls_pem.clone() } else { String::new() },
            document: self.document.map(<[u8]>::to_vec),
            policy: self.policy.map(|text| text()),
            answers: self.answers.clone(),
        }
    }

    fn content(&self, world: &World) -> Content {
        let mut preamble = Preamble {
            axis: axis(),
            suite: Suite::S1,
            envelope: EnvelopeId::new(after(-600_000), [7; 10]),
            lane: Lane::Ordinary,
            level: WireLevel::Ordinary,
            sender: code("G22"),
            recipients: vec![code("H26"), code("H37")],
            legacy: Vec::new(),
            kind: EnvelopeKind::Document,
            priority: Priority::ORDINARY,
            created: after(-600_000),
            expires: after(5 * DAY_MS),
            supersedes: None,
        };
        (self.preamble)(&mut preamble);
        let preamble_bytes = (self.preamble_bytes)(bytes_of(&preamble));
        let mut envelope = EnvelopeJson {
            preamble: Digest::of(&preamble_bytes),
            axis: preamble.axis.clone(),
            envelope: preamble.envelope,
            lane: preamble.lane,
            level: preamble.level,
            kind: preamble.kind,
            sender: preamble.sender.clone(),
            recipients: preamble
                .recipients
                .iter()
                .map(|code| SealedTo { code: code.clone(), certificate: world.sealing_h26.sha256() })
                .collect(),
            supersedes: None,
            trace: vec![],
            attachments: vec![],
        };
        (self.envelope)(&mut envelope);
        let envelope = (self.envelope_bytes)(bytes_of(&envelope));
        let files = self.files.iter().map(|(name, content)| (*name, content.as_slice()));
        let files: Vec<_> = files.chain([("envelope.json", envelope.as_slice())]).collect();
        let manifest = (self.manifest_bytes)(manifest(&files));
        let salt = [9; 32];
        let commitment = content_commitment(&ContentSalt(salt), &manifest);
        Content { preamble: preamble_bytes, commitment, opening: Opening { salt, manifest, envelope } }
    }

    fn directory_entries(&self, world: &World) -> Vec<Bytes> {
        let mut entries = world.entries();
        (self.entries)(world, &mut entries);
        entries.iter().map(|entry| (self.entry_bytes)(&entry.key(), bytes_of(entry)).into()).collect()
    }

    fn leaf(&self, content: &Content, root: &RootStatement, entries: &[Bytes]) -> (Vec<u8>, LedgerPlan) {
        let preamble: Preamble = serde_json::from_slice(&content.preamble).unwrap();
        let digest = Digest::of(&content.preamble);
        let sender_entry = entries.iter().find(|bytes| key_of(bytes) == "agency/G22").unwrap();
        let mut submission = Submission {
            event: EventUri::SubmissionAcceptance,
            actor: Actor { code: Some(code("G22")), node: node_id("N-G22"), role: Role::Sender },
            time: at(),
            envelope: preamble.envelope,
            preamble: digest,
            payload: Digest::of(b"sealed payload"),
            payload_length: 14,
            commitment: content.commitment,
            key_envelopes: preamble.recipients.iter().map(|r| (r.clone(), Digest::of(r.as_str().as_bytes()))).collect(),
            directory: truc_proto::DirectoryRef {
                version: root.version,
                root: root.root,
                entry: truc_ledger::merkle::leaf_hash(sender_entry),
            },
        };
        (self.submission)(&mut submission);
        let submission_bytes = bytes_of(&submission);
        let (bytes, mut ledger) = match self.who {
            Who::Sender => (submission_bytes, plan("node/N-G22", "N-G22", 1)),
            Who::Relay | Who::Recipient => {
                let of_relay = self.who == Who::Relay;
                let mut event = Event {
                    event: if of_relay { EventUri::RelayAcceptance } else { EventUri::ContentConsignment },
                    actor: if of_relay {
                        Actor { code: None, node: node_id("R1"), role: Role::Relay }
                    } else {
                        Actor { code: Some(code("H26")), node: node_id("N-H26"), role: Role::Recipient }
                    },
                    time: at(),
                    envelope: Some(submission.envelope),
                    sender: code("G22"),
                    recipient: (!of_relay).then(|| code("H26")),
                    submission: Some(truc_ledger::merkle::leaf_hash(&submission_bytes)),
                    preamble: Some(digest),
                    payload: Some(submission.payload),
                    commitment: Some(content.commitment),
                    key_envelope: (!of_relay).then(|| Digest::of(b"H26")),
                    reason: None,
                    details: None,
                    request: None,
                    successor: None,
                };
                (self.event)(&mut event);
                let plan = if of_relay { plan("relay/R1", "R1", 4) } else { plan("node/N-H26", "N-H26", 2) };
                (bytes_of(&event), plan)
            }
        };
        (self.ledger)(&mut ledger);
        ((self.leaf_bytes)(bytes), ledger)
    }

    fn log(&self, world: &World, leaf: &[u8], ledger: &LedgerPlan) -> (u64, Vec<Digest>, SignedNote) {
        let mut tree = MemTree::default();
        for filler in 0..self.fillers {
            tree.push(&[filler]);
        }
        let index = tree.push(leaf);
        tree.push(b"later");
        let checkpoint = Checkpoint::new(ledger.origin.clone(), tree.size(), tree.root()).unwrap();
        let mut note = ledger_key(&ledger.origin, ledger.seed).sign(&checkpoint);
        let key = match self.who {
            Who::Sender => &world.node_g22,
            Who::Relay => &world.relay,
            Who::Recipient => &world.node_h26,
        };
        let mut cms = CmsPlan { key: Some(&key.key), signed_at: after(1_000), hint: None, text: None };
        (self.cms)(world, &mut cms);
        if let Some(key) = cms.key {
            let text = cms.text.as_deref().unwrap_or(note.text());
            let signature = sign_detached(key, text.as_bytes(), Some(cms.signed_at)).unwrap();
            let signature = stamped(world, signature, text.as_bytes(), self.stamps);
            let hint = cms.hint.unwrap_or(key.certificate().sha256());
            let key_id = KeyId::cms(&ledger.origin, &hint);
            note.add_signature(NoteSignature { name: ledger.origin.clone(), key_id, signature }).unwrap();
        }
        self.cosigned.iter().for_each(|line| cosign(&mut note, line));
        (index, tree.inclusion(index, tree.size()).unwrap(), note)
    }
}

fn plan(entry: &'static str, id: &str, seed: u8) -> LedgerPlan {
    LedgerPlan { entry, origin: ledger_origin(&axis(), Lane::Ordinary, &node_id(id), 1), seed }
}

/// The plan of a node's own ledger.
pub(crate) fn ledger_of(entry: &'static str, id: &str, seed: u8) -> LedgerPlan {
    plan(entry, id, seed)
}

fn key_of(bytes: &[u8]) -> String {
    serde_json::from_slice::<Entry>(bytes).unwrap().key()
}

fn proven(entries: &[Bytes], tree: &MemTree, key: &str, bend: fn(&mut Entry)) -> ProvenEntry {
    let place = entries.iter().position(|bytes| key_of(bytes) == key).unwrap();
    let index = place as u64;
    let mut entry: Entry = serde_json::from_slice(&entries[place]).unwrap();
    let before = entry.clone();
    bend(&mut entry);
    let bytes = if entry == before { entries[place].to_vec() } else { bytes_of(&entry) };
    ProvenEntry { bytes, index, proof: tree.inclusion(index, tree.size()).unwrap() }
}

/// A manifest in the one form of the profile.
pub(crate) fn manifest(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut xml = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\n",
        "  <asic:SigReference URI=\"META-INF/signature001.p7s\" MimeType=\"application/pkcs7-signature\"/>\n",
    ));
    for (name, content) in files {
        let digest = Digest::of(content).to_base64();
        xml.push_str(&format!(
            "  <asic:DataObjectReference URI=\"{name}\">\n    \
             <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/>\n    \
             <ds:DigestValue>{digest}</ds:DigestValue>\n  </asic:DataObjectReference>\n"
        ));
    }
    xml.push_str("</asic:ASiCManifest>\n");
    xml.into_bytes()
}
