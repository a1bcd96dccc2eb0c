//! The directory: who holds a code, at which node, with which certificates; signed as a whole by the axis operator.
//!
//! A directory version is a sorted list of entries; entry *i* is leaf *i* of an RFC 6962 tree; the operator signs the
//! root statement with a detached CMS. Entries are kept as the bytes that were hashed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    AgencyId, AxisId, Digest, ForeignCode, Lane, NodeId, Statement, Timestamp,
    administration::line,
    ids::closed,
    json::base64,
    limits::{
        ADMINISTRATION_WHY_CHARS_MAX, CERTIFICATE_BYTES_MAX, ENTRY_LIST_MAX, ENTRY_NAME_CHARS_MAX, ORIGIN_BYTES_MAX,
    },
};

closed! {
    /// What a certificate in the directory is for.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    KeyUse, "a key use: `service`, `sealing`, `node`, `tls` or `operator`" {
        /// Signs containers for an agency.
        Service = "service",
        /// Content is sealed to it.
        Sealing = "sealing",
        /// Signs a node's or relay's checkpoints.
        Node = "node",
        /// Connects.
        Tls = "tls",
        /// Signs directory roots.
        Operator = "operator",
    }
}

closed! {
    /// Status of a certificate as the operator knew it when the root was issued.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    KeyStatus, "a key status: `good`, `revoked` or `suspended`" {
        /// In force.
        Good = "good",
        /// Revoked for ever, from `status_since` on.
        Revoked = "revoked",
        /// Not to be used, from `status_since` on, until restored.
        Suspended = "suspended",
    }
}

closed! {
    /// A sealing algorithm that a certificate's holder can open.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    SealingAlgorithm, "a sealing algorithm: `rsa-oaep-sha256` or `ecdh-p256-sha256kdf-aes256-wrap`" {
        /// RSAES-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017).
        RsaOaepSha256 = "rsa-oaep-sha256",
        /// dhSinglePass-stdDH-sha256kdf on P-256 with AES-256 key wrap (RFC 5753).
        EcdhP256 = "ecdh-p256-sha256kdf-aes256-wrap",
    }
}

closed! {
    /// How mail reaches a code.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    Route, "a route: `native` or `legacy`" {
        /// Through a node of this axis.
        Native = "native",
        /// Through the older axis: no sealing, no signed receipt beyond that point.
        Legacy = "legacy",
    }
}

/// A certificate bound to an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateBinding {
    /// What it is for: one use or, by the operator's policy, several.
    pub uses: Vec<KeyUse>,
    /// The certificate's DER.
    #[serde(with = "base64")]
    pub der: Vec<u8>,
    /// SHA-256 of `der`.
    pub sha256: Digest,
    /// For sealing: what the holder can open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<SealingAlgorithm>,
    /// Start of use, by the operator; not before the certificate's own.
    pub valid_from: Timestamp,
    /// End of use, by the operator; not after the certificate's own.
    pub valid_to: Timestamp,
    /// Status when the root was issued.
    pub status: KeyStatus,
    /// Since when it is revoked or suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_since: Option<Timestamp>,
}

impl CertificateBinding {
    fn check(&self) -> Result<(), String> {
        if self.uses.is_empty() || self.uses.len() > KeyUse::ALL.len() {
            return Err("a certificate has at least one use".into());
        }
        if self.der.len() > CERTIFICATE_BYTES_MAX {
            return Err(format!("a certificate has at most {CERTIFICATE_BYTES_MAX} bytes"));
        }
        if Digest::of(&self.der) != self.sha256 {
            return Err(format!("certificate bytes do not hash to {}", self.sha256));
        }
        if self.valid_to <= self.valid_from {
            return Err("a certificate's `valid_to` must lie after `valid_from`".into());
        }
        if (self.status == KeyStatus::Good) != self.status_since.is_none() {
            return Err("`status_since` stands with `revoked` and `suspended`, and only there".into());
        }
        if self.uses.contains(&KeyUse::Sealing) == self.algorithms.is_empty() {
            return Err("`algorithms` stand with the use `sealing`, and only there".into());
        }
        Ok(())
    }

    /// True when the certificate may be used for `key_use` at `at` as far as the directory says.
    #[must_use]
    pub fn serves(&self, key_use: KeyUse, at: Timestamp) -> bool {
        let stopped = self.status_since.is_some_and(|since| since <= at);
        self.uses.contains(&key_use) && self.valid_from <= at && at < self.valid_to && !stopped
    }
}

/// An agency's code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgencyEntry {
    /// The code.
    pub code: AgencyId,
    /// Names, the official one first (NFC, no zero-width spaces).
    pub names: Vec<String>,
    /// The superior agency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<AgencyId>,
    /// Older forms of the code, for mail that still carries them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_codes: Vec<ForeignCode>,
    /// From when on the code is in force.
    pub valid_from: Timestamp,
    /// When it closed or will close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// Until when the node still opens what was sealed to a closed code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves_until: Option<Timestamp>,
    /// Who took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<AgencyId>,
    /// How mail reaches it.
    pub route: Route,
    /// The node that serves it; absent for a legacy route or a code without a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Lanes it takes part in.
    pub lanes: Vec<Lane>,
    /// Service and sealing certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateBinding>,
}

impl AgencyEntry {
    /// True when the code may be addressed at `at`.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.valid_from <= at && self.valid_to.is_none_or(|end| at < end)
    }

    /// The superior agency: as the entry says, else as the code does.
    #[must_use]
    pub fn superior(&self) -> Option<AgencyId> {
        self.parent.clone().or_else(|| self.code.parent())
    }

    /// True when mail sealed to the code is still opened at `at`.
    #[must_use]
    pub fn still_serves(&self, at: Timestamp) -> bool {
        self.is_open(at) || self.serves_until.is_some_and(|until| self.valid_from <= at && at < until)
    }
}

/// A node or the relay: its ledger, its certificates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The id.
    pub id: NodeId,
    /// The one lane it serves.
    pub lane: Lane,
    /// Origin line of its ledger's checkpoints.
    pub origin: String,
    /// Counts up at every recovery that starts a new origin.
    pub epoch: u64,
    /// The Ed25519 public key that signs its checkpoints at once.
    #[serde(with = "base64")]
    pub ledger_key: [u8; 32],
    /// The Ed25519 public key with which it cosigns others' checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_key: Option<WitnessKey>,
    /// Node and TLS certificates.
    pub certificates: Vec<CertificateBinding>,
}

/// An Ed25519 public key in base64.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WitnessKey(#[serde(with = "base64")] pub [u8; 32]);

/// The axis operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorEntry {
    /// Name for people.
    pub name: String,
    /// Certificates that sign directory roots.
    pub certificates: Vec<CertificateBinding>,
}

/// One entry; its written bytes are a leaf of the directory tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// An agency's code.
    Agency(AgencyEntry),
    /// A node.
    Node(NodeEntry),
    /// The relay.
    Relay(NodeEntry),
    /// The axis operator.
    Operator(OperatorEntry),
}

impl Entry {
    /// The key that entries are sorted by and that stands once in a directory: `agency/H26`, `node/N-H26`, `relay/R1`, `operator`.
    ///
    /// An agency code that was closed and opened anew keeps one entry; its history is the directory's older versions.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Agency(agency) => format!("agency/{}", agency.code),
            Self::Node(node) => format!("node/{}", node.id),
            Self::Relay(relay) => format!("relay/{}", relay.id),
            Self::Operator(_) => "operator".to_owned(),
        }
    }

    /// The certificates bound to it.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateBinding] {
        match self {
            Self::Agency(agency) => &agency.certificates,
            Self::Node(node) | Self::Relay(node) => &node.certificates,
            Self::Operator(operator) => &operator.certificates,
        }
    }

    /// Node id of a node or relay.
    #[must_use]
    pub const fn as_node(&self) -> Option<&NodeEntry> {
        match self {
            Self::Node(node) | Self::Relay(node) => Some(node),
            Self::Agency(_) | Self::Operator(_) => None,
        }
    }

    /// The agency, when it is one.
    #[must_use]
    pub const fn as_agency(&self) -> Option<&AgencyEntry> {
        match self {
            Self::Agency(agency) => Some(agency),
            _ => None,
        }
    }
}

impl Statement for Entry {
    const TYPE: &'static str = "entry";

    fn check(&self) -> Result<(), String> {
        let uses: &[KeyUse] = match self {
            Self::Agency(agency) => {
                check_agency(agency)?;
                &[KeyUse::Service, KeyUse::Sealing]
            }
            Self::Node(node) | Self::Relay(node) => {
                check_text("origin", &node.origin, ORIGIN_BYTES_MAX)?;
                &[KeyUse::Node, KeyUse::Tls]
            }
            Self::Operator(operator) => {
                check_text("name", &operator.name, ENTRY_NAME_CHARS_MAX)?;
                &[KeyUse::Operator]
            }
        };
        if self.certificates().len() > ENTRY_LIST_MAX {
            return Err(format!("at most {ENTRY_LIST_MAX} certificates"));
        }
        for certificate in self.certificates() {
            certificate.check()?;
            if let Some(wrong) = certificate.uses.iter().find(|u| !uses.contains(u)) {
                return Err(format!("a certificate for `{wrong}` does not belong to {}", self.key()));
            }
        }
        Ok(())
    }
}

fn check_agency(agency: &AgencyEntry) -> Result<(), String> {
    if agency.names.is_empty() || agency.names.len() > ENTRY_LIST_MAX || agency.old_codes.len() > ENTRY_LIST_MAX {
        return Err(format!("1 to {ENTRY_LIST_MAX} names and at most {ENTRY_LIST_MAX} old codes"));
    }
    for name in &agency.names {
        check_text("name", name, ENTRY_NAME_CHARS_MAX)?;
    }
    if agency.valid_to.is_some_and(|end| end <= agency.valid_from) {
        return Err("`valid_to` must lie after `valid_from`".into());
    }
    if agency.successor.as_ref() == Some(&agency.code) {
        return Err(format!("{} cannot succeed itself", agency.code));
    }
    if agency.serves_until.is_some() && agency.valid_to.is_none() {
        return Err("`serves_until` stands only with a closed code".into());
    }
    if agency.lanes.is_empty() || agency.lanes.len() > Lane::ALL.len() {
        return Err("an agency takes part in one or two lanes".into());
    }
    Ok(())
}

fn check_text(field: &str, text: &str, chars_max: usize) -> Result<(), String> {
    if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(format!("`{field}` has 1 to {chars_max} characters and no control character"));
    }
    Ok(())
}

/// What the operator signs: a whole directory version by its Merkle root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootStatement {
    /// The trust domain.
    pub axis: AxisId,
    /// The lane whose directory it is.
    pub lane: Lane,
    /// Grows by at least one.
    pub version: u64,
    /// When it was issued.
    pub issued: Timestamp,
    /// After this moment a newer one should be there.
    pub valid_until: Timestamp,
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root over the entries' bytes, sorted by [`Entry::key`].
    pub root: Digest,
    /// SHA-256 of the statement before; absent in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

impl Statement for RootStatement {
    const TYPE: &'static str = "directory-root";

    fn check(&self) -> Result<(), String> {
        if self.version == 0 || (self.version == 1) != self.previous.is_none() {
            return Err("versions start at 1; every later one names the one before".into());
        }
        if self.valid_until <= self.issued {
            return Err("`valid_until` must lie after `issued`".into());
        }
        Ok(())
    }
}

/// A request to be bound: what `init` writes and the operator checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BindingRequest {
    /// The trust domain.
    pub axis: AxisId,
    /// The lane.
    pub lane: Lane,
    /// When it was made.
    pub time: Timestamp,
    /// The entries asked for: a node or relay and the agencies it serves.
    pub entries: Vec<Entry>,
}

impl Statement for BindingRequest {
    const TYPE: &'static str = "binding-request";

    fn check(&self) -> Result<(), String> {
        if self.entries.is_empty() || self.entries.len() > ENTRY_LIST_MAX {
            return Err(format!("a binding request has 1 to {ENTRY_LIST_MAX} entries"));
        }
        self.entries.iter().try_for_each(Statement::check)
    }
}

/// A node asks the operator to state that one of its certificates is revoked or suspended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RevocationRequest {
    /// The trust domain.
    pub axis: AxisId,
    /// The lane.
    pub lane: Lane,
    /// Who asks: the certificate is its own, or one of its agencies'.
    pub node: NodeId,
    /// When it was made.
    pub time: Timestamp,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
    /// Revoked or suspended.
    pub status: KeyStatus,
    /// From when on nothing counts that is made with it.
    pub since: Timestamp,
    /// In the administrator's words.
    pub why: String,
}

impl Statement for RevocationRequest {
    const TYPE: &'static str = "revocation-request";

    fn check(&self) -> Result<(), String> {
        if self.status == KeyStatus::Good || self.since > self.time {
            return Err("it asks for `revoked` or `suspended`, since a moment that has come".into());
        }
        line("why", &self.why, ADMINISTRATION_WHY_CHARS_MAX)
    }
}

/// A `*.revocation` file: the request's bytes, and who says so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedRevocation {
    /// Bytes of a [`RevocationRequest`].
    #[serde(with = "base64")]
    pub request: Vec<u8>,
    /// Ed25519 signature by the ledger key over `truc/revocation/1` ‖ 0x0A ‖ request bytes.
    #[serde(with = "base64")]
    pub ledger_signature: Vec<u8>,
    /// By the certificate itself, or others of the node and its agencies. May be empty: they may all be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Possession>,
}

impl Statement for SignedRevocation {
    const TYPE: &'static str = "revocation";
}

/// One proof of possession in a `*.binding` file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Possession {
    /// SHA-256 of the certificate whose key signed.
    pub certificate: Digest,
    /// Detached CMS over the request's bytes.
    #[serde(with = "base64")]
    pub cms: Vec<u8>,
}

/// A `*.binding` file: the request's bytes and the proofs that its keys are held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedBinding {
    /// Bytes of a [`BindingRequest`].
    #[serde(with = "base64")]
    pub request: Vec<u8>,
    /// Ed25519 signature by the ledger key over `truc/binding/1` ‖ 0x0A ‖ request bytes.
    #[serde(with = "base64")]
    pub ledger_signature: Vec<u8>,
    /// By every signing certificate in the request, and, for a new binding of a known code, by its current or parent key.
    pub possession: Vec<Possession>,
}

impl Statement for SignedBinding {
    const TYPE: &'static str = "binding";
}

/// A whole directory version as it travels and lies on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedDirectory {
    /// Bytes of a [`RootStatement`].
    pub statement: Bytes,
    /// Detached CMS of the operator over `statement`.
    pub cms: Bytes,
    /// Bytes of every [`Entry`], sorted by [`Entry::key`].
    pub entries: Vec<Bytes>,
}
