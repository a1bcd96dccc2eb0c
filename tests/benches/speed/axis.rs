//! A small axis: parties with keys and certificates, and a directory that binds them.

use std::sync::Arc;

use anyhow::Context;
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Request, Subject};
use truc_evidence::{Directory, DirectoryDraft, PinnedOperator, ledger_origin};
use truc_ledger::LedgerKey;
use truc_proto::{
    AgencyEntry, AgencyId, AxisId, CertificateBinding, Entry, KeyUse, Lane, NodeEntry, NodeId, OperatorEntry, Route,
    Timestamp,
};
use truc_signer::{Certificate, SoftKey, TrustStore};

const DAY_MS: i64 = 86_400_000;
/// Codes at each of [`Axis::others`].
pub(crate) const CODES_PER_NODE: u32 = 5;

/// A key with its certificate.
pub(crate) struct Party {
    pub(crate) issued: Issued,
    pub(crate) key: SoftKey,
}

impl Party {
    pub(crate) fn new(pki: &Pki, profile: Profile, kind: KeyKind, subject: Subject) -> anyhow::Result<Self> {
        let issued = pki.issue_with(Request::new(profile, kind, subject))?;
        let key = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())?;
        Ok(Self { issued, key })
    }

    /// What binds it in an entry.
    pub(crate) fn binding(&self, key_use: KeyUse) -> anyhow::Result<CertificateBinding> {
        let certificate = Certificate::from_der(&self.issued.certificate_der)?;
        Ok(truc_evidence::bind_certificate(&certificate, vec![key_use]))
    }
}

/// A node or relay: its ledger's key and its two certificates.
pub(crate) struct NodeParty {
    pub(crate) id: NodeId,
    pub(crate) node: Party,
    pub(crate) tls: Party,
    seed: [u8; 32],
}

impl NodeParty {
    pub(crate) fn new(pki: &Pki, kind: KeyKind, id: &str, seed: u8) -> anyhow::Result<Self> {
        Ok(Self {
            id: id.parse()?,
            node: Party::new(pki, Profile::Node, kind, Subject::new(id))?,
            tls: Party::new(pki, Profile::Tls, kind, Subject::endpoint(id))?,
            seed: [seed; 32],
        })
    }

    pub(crate) fn origin(&self) -> anyhow::Result<String> {
        Ok(ledger_origin(&axis()?, Lane::Ordinary, &self.id, 1))
    }

    pub(crate) fn ledger_key(&self) -> anyhow::Result<LedgerKey> {
        Ok(LedgerKey::from_seed(&self.origin()?, &self.seed)?)
    }

    fn entry(&self) -> anyhow::Result<NodeEntry> {
        Ok(NodeEntry {
            id: self.id.clone(),
            lane: Lane::Ordinary,
            ledger_key: *self.ledger_key()?.public().public_key(),
            origin: self.origin()?,
            epoch: 1,
            witness_key: None,
            certificates: vec![self.node.binding(KeyUse::Node)?, self.tls.binding(KeyUse::Tls)?],
        })
    }
}

/// Nodes N-G22 (code G22) and N-H26 (code H26) under a relay R1.
pub(crate) struct Axis {
    pub(crate) pki: Pki,
    pub(crate) now: Timestamp,
    pub(crate) operator: Party,
    pub(crate) relay: NodeParty,
    pub(crate) sender: NodeParty,
    pub(crate) recipient: NodeParty,
    /// Nodes with [`CODES_PER_NODE`] codes each, named by [`code_of`].
    pub(crate) others: Vec<NodeParty>,
    pub(crate) directory: Arc<Directory>,
}

impl Axis {
    /// With `others` more codes in the directory, so that proofs are as long as in one of that size.
    pub(crate) fn new(kind: KeyKind, others: u32) -> anyhow::Result<Self> {
        Self::with_nodes(kind, others, 0)
    }

    /// With so many nodes besides, too.
    pub(crate) fn with_nodes(kind: KeyKind, others: u32, nodes: u32) -> anyhow::Result<Self> {
        let now = truc_certs_dev::now();
        let pki = Pki::new(kind, now)?;
        let operator = Party::new(&pki, Profile::Operator, kind, Subject::new("Vận hành trục"))?;
        let relay = NodeParty::new(&pki, kind, "R1", 1)?;
        let (sender, recipient) = (NodeParty::new(&pki, kind, "N-G22", 2)?, NodeParty::new(&pki, kind, "N-H26", 3)?);
        let mut draft = DirectoryDraft::new(axis()?, Lane::Ordinary);
        for (code, node) in [("G22", &sender), ("H26", &recipient)] {
            draft.put(agency(code.parse()?, Some(node.id.clone()), now))?;
            draft.put(Entry::Node(node.entry()?))?;
        }
        let nodes = (0..nodes).map(|number| NodeParty::new(&pki, kind, &format!("N-{number}"), 4));
        let nodes: Vec<NodeParty> = nodes.collect::<anyhow::Result<_>>()?;
        for (number, node) in (0..).zip(&nodes) {
            for place in 0..CODES_PER_NODE {
                draft.put(agency(code_of(number, place)?, Some(node.id.clone()), now))?;
            }
            draft.put(Entry::Node(node.entry()?))?;
        }
        for number in 0..others {
            draft.put(agency(format!("H{:02}.{number}", number % 90 + 10).parse()?, None, now))?;
        }
        draft.put(Entry::Relay(relay.entry()?))?;
        draft.put(Entry::Operator(OperatorEntry {
            name: "Đơn vị vận hành trục DEV".into(),
            certificates: vec![operator.binding(KeyUse::Operator)?],
        }))?;
        let signed = draft.sign(&operator.key, now, days(now, 30))?;
        let directory =
            Directory::verify(signed, &pinned(&operator)?, &trust_store(&pki)?, &axis()?, Lane::Ordinary, now);
        let directory = Arc::new(directory.context("verify the directory")?);
        Ok(Self { pki, now, operator, relay, sender, recipient, others: nodes, directory })
    }

    pub(crate) fn trust(&self) -> anyhow::Result<TrustStore> {
        trust_store(&self.pki)
    }

    pub(crate) fn pinned(&self) -> anyhow::Result<PinnedOperator> {
        pinned(&self.operator)
    }
}

/// A code at the `number`th of [`Axis::others`].
pub(crate) fn code_of(number: u32, place: u32) -> anyhow::Result<AgencyId> {
    Ok(format!("K01.{number}.{place}").parse()?)
}

pub(crate) fn axis() -> anyhow::Result<AxisId> {
    Ok("dev".parse()?)
}

fn agency(code: AgencyId, node: Option<NodeId>, now: Timestamp) -> Entry {
    let route = if node.is_some() { Route::Native } else { Route::Legacy };
    Entry::Agency(AgencyEntry {
        names: vec![format!("Cơ quan {code}")],
        code,
        parent: None,
        old_codes: vec![],
        valid_from: days(now, -30),
        valid_to: None,
        serves_until: None,
        successor: None,
        route,
        node,
        lanes: vec![Lane::Ordinary],
        certificates: vec![],
    })
}

fn trust_store(pki: &Pki) -> anyhow::Result<TrustStore> {
    let anchors = Certificate::from_pem(pki.anchors_pem.as_bytes())?;
    Ok(TrustStore::new(anchors, Certificate::from_pem(pki.intermediates_pem.as_bytes())?, vec![])?)
}

fn pinned(operator: &Party) -> anyhow::Result<PinnedOperator> {
    Ok(PinnedOperator::from_file_bytes(operator.issued.leaf_pem().as_bytes())?)
}

fn days(now: Timestamp, days: i64) -> Timestamp {
    Timestamp::from_unix_ms(now.unix_ms() + days * DAY_MS)
}
