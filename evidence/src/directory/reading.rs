//! From the parts of a version as they come to a verified [`Directory`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, OnceLock},
};

use bytes::Bytes;
use truc_ledger::merkle::MemTree;
use truc_proto::{
    AgencyId, AxisId, Entry, KeyUse, Lane, NodeEntry, NodeId, Raw, RootStatement, Timestamp,
    limits::{DIRECTORY_BYTES_MAX, DIRECTORY_ENTRIES_MAX},
};
use truc_signer::{
    Certificate, CertificateUse, TrustStore, Verdict, path::validate_with, timestamp::refuse_wrong, verify_detached,
};

use super::{Agency, Directory, DirectoryError, NodeKind, old_code_of, skew, store::EntryStore};
use crate::PinnedOperator;

/// A directory version while its entries come in.
pub(super) struct Reading {
    statement: Raw<RootStatement>,
    cms: Bytes,
    operator: Certificate,
    operator_verdict: Verdict,
    agencies: Vec<Agency>,
    others: Vec<(String, Entry)>,
    tree: MemTree,
    last: String,
    bytes: usize,
}

impl Reading {
    /// Believes the statement or refuses it. Without a domain that of the statement is taken: for tools, which serve none.
    pub(super) fn start(
        statement: Bytes,
        cms: Bytes,
        operator: &PinnedOperator,
        trust: &TrustStore,
        domain: Option<(&AxisId, Lane)>,
        now: Timestamp,
    ) -> Result<Self, DirectoryError> {
        let statement = Raw::<RootStatement>::parse(statement)?;
        let (axis, lane) = domain.unwrap_or((&statement.axis, statement.lane));
        check_domain(&statement, axis, lane, now)?;
        let (certificate, operator_verdict) = verify_operator(&statement, &cms, operator, trust, now)?;
        Ok(Self {
            statement,
            cms,
            operator: certificate,
            operator_verdict,
            agencies: Vec::new(),
            others: Vec::new(),
            tree: MemTree::default(),
            last: String::new(),
            bytes: 0,
        })
    }

    /// How many entries the statement says there are.
    pub(super) fn size(&self) -> u64 {
        self.statement.size
    }

    /// The next entry.
    pub(super) fn take(&mut self, bytes: &Bytes) -> Result<(), DirectoryError> {
        let number = self.agencies.len() + self.others.len();
        self.bytes += bytes.len();
        if number == DIRECTORY_ENTRIES_MAX || self.bytes > DIRECTORY_BYTES_MAX {
            return Err(DirectoryError::TooLarge { entries: number + 1 });
        }
        let entry = Raw::<Entry>::parse(bytes.clone()).map_err(|source| DirectoryError::Entry { number, source })?;
        let key = entry.key();
        if key <= self.last {
            return Err(DirectoryError::Order { key });
        }
        self.tree.push(bytes);
        self.last.clone_from(&key);
        match entry.into_value() {
            Entry::Agency(agency) => self.agencies.push(agency.into()),
            other => self.others.push((key, other)),
        }
        Ok(())
    }

    /// All came: their number, the tree, and that no answer is ambiguous.
    pub(super) fn finish(mut self, store: EntryStore) -> Result<Directory, DirectoryError> {
        let found = self.tree.size();
        if self.statement.size != found {
            return Err(DirectoryError::Size { stated: self.statement.size, found });
        }
        if self.tree.root() != self.statement.root {
            return Err(DirectoryError::Root { stated: self.statement.root, found: self.tree.root() });
        }
        self.agencies.shrink_to_fit();
        let mut directory = Directory {
            statement: self.statement,
            cms: self.cms,
            agencies: self.agencies,
            others: self.others,
            store,
            tree: self.tree,
            operator: self.operator,
            operator_verdict: self.operator_verdict,
            relay: 0,
            by_tls: HashMap::new(),
            by_origin: HashMap::new(),
            by_old_code: Vec::new(),
            codes: BTreeMap::new(),
            search: OnceLock::new(),
            certificates: Mutex::default(),
            checked: Mutex::default(),
        };
        directory.index()?;
        Ok(directory)
    }
}

impl Directory {
    /// Fills the look-up tables and refuses what would make an answer ambiguous.
    fn index(&mut self) -> Result<(), DirectoryError> {
        let others = std::mem::take(&mut self.others);
        let mut relays = 0_usize;
        for (place, (_, entry)) in others.iter().enumerate() {
            match entry {
                Entry::Node(node) => self.index_node(place, node)?,
                Entry::Relay(relay) => {
                    relays += 1;
                    self.relay = place;
                    self.index_node(place, relay)?;
                }
                Entry::Agency(_) | Entry::Operator(_) => {}
            }
        }
        self.others = others;
        let ids = |kind: NodeKind| self.nodes().filter(move |(own, _)| *own == kind).map(|(_, node)| &node.id);
        if let Some(twice) = ids(NodeKind::Relay).find(|id| self.other(&format!("node/{id}")).is_some()) {
            return Err(DirectoryError::Ambiguous { what: format!("id {twice}") });
        }
        if relays != 1 {
            return Err(DirectoryError::Relays { count: relays });
        }
        self.index_agencies()
    }

    fn index_agencies(&mut self) -> Result<(), DirectoryError> {
        let mut old_codes = Vec::new();
        let mut codes: BTreeMap<NodeId, Vec<AgencyId>> = BTreeMap::new();
        for (place, agency) in self.agencies.iter().enumerate() {
            let place = u32::try_from(place).map_err(|_| DirectoryError::TooLarge { entries: place })?;
            // At most `ENTRY_LIST_MAX` of them: a byte counts them.
            old_codes.extend((0_u8..).take(agency.old_codes.len()).map(|which| (place, which)));
            let Some(node) = &agency.node else { continue };
            match codes.get_mut(node) {
                Some(codes) => codes.push(agency.code.clone()),
                None if self.other(&format!("node/{node}")).is_some() => {
                    codes.insert(node.clone(), vec![agency.code.clone()]);
                }
                None => return Err(DirectoryError::UnknownNode { code: agency.code.clone() }),
            }
        }
        old_codes.sort_unstable_by_key(|key| old_code_of(&self.agencies, *key));
        for pair in old_codes.windows(2) {
            if let [one, other] = pair
                && self.old_code(*one) == self.old_code(*other)
            {
                let what = self.old_code(*one).map(|code| format!("old code {code}")).unwrap_or_default();
                return Err(DirectoryError::Ambiguous { what });
            }
        }
        (self.by_old_code, self.codes) = (old_codes, codes);
        Ok(())
    }

    fn index_node(&mut self, place: usize, node: &NodeEntry) -> Result<(), DirectoryError> {
        let ambiguous = |what: String| Err(DirectoryError::Ambiguous { what });
        if node.lane != self.statement.lane {
            return Err(DirectoryError::NodeLane { node: node.id.clone(), lane: node.lane });
        }
        if self.by_origin.insert(node.origin.clone(), place).is_some() {
            return ambiguous(format!("ledger origin {}", node.origin));
        }
        for binding in node.certificates.iter().filter(|binding| binding.uses.contains(&KeyUse::Tls)) {
            if self.by_tls.insert(binding.sha256, place).is_some_and(|other| other != place) {
                return ambiguous(format!("TLS certificate {}", binding.sha256));
            }
        }
        Ok(())
    }
}

pub(crate) fn check_domain(
    root: &RootStatement,
    axis: &AxisId,
    lane: Lane,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    if root.axis != *axis || root.lane != lane {
        let stated = format!("{} {}", root.axis, root.lane);
        return Err(DirectoryError::Domain { stated, expected: format!("{axis} {lane}") });
    }
    if root.issued > now + skew() {
        return Err(DirectoryError::FromFuture { issued: root.issued });
    }
    Ok(())
}

pub(crate) fn verify_operator(
    statement: &Raw<RootStatement>,
    cms: &[u8],
    operator: &PinnedOperator,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(Certificate, Verdict), DirectoryError> {
    let signature =
        verify_detached(cms, statement.bytes(), operator.certificates()).map_err(DirectoryError::Signature)?;
    if !operator.pins(&signature.certificate.sha256()) {
        return Err(DirectoryError::NotOperator { subject: signature.certificate.subject().to_owned() });
    }
    let made = signature.signing_time.map_or(statement.issued, |signed| signed.max(statement.issued));
    refuse_wrong(&signature, made, trust, now).map_err(DirectoryError::TimeStamp)?;
    let verdict =
        validate_with(trust, &signature.certificate, &signature.others, CertificateUse::Operator, statement.issued)
            .map_err(DirectoryError::OperatorPath)?;
    match verdict {
        // Even when signed before that date: whoever has the key can date a root back, and a newer root is easily made.
        Verdict::Revoked { at, subject, .. } => Err(DirectoryError::OperatorRevoked { subject, at }),
        verdict => Ok((signature.certificate, verdict)),
    }
}
