//! What a directory keeps in memory of an agency: everything but the certificates' bytes, which lie with the entry on the disk.

use truc_proto::{
    AgencyEntry, AgencyId, CertificateBinding, Digest, EventUri, ForeignCode, KeyStatus, KeyUse, Lane, NodeId, Role,
    Route, SealingAlgorithm, Timestamp, limits::ENVELOPE_TTL_MAX_MS,
};

/// An agency's code as its verified entry says, without certificates' bytes ([`super::Directory::certificate`] reads those).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agency {
    /// The code.
    pub code: AgencyId,
    /// Names, the official one first.
    pub names: Box<[Box<str>]>,
    /// The superior agency, where the entry names one; else the code says it.
    pub parent: Option<AgencyId>,
    /// Older forms of the code.
    pub old_codes: Box<[ForeignCode]>,
    /// From when on the code is in force.
    pub valid_from: Timestamp,
    /// When it closed or will close.
    pub valid_to: Option<Timestamp>,
    /// Until when the node still opens what was sealed to a closed code.
    pub serves_until: Option<Timestamp>,
    /// Who took over.
    pub successor: Option<AgencyId>,
    /// How mail reaches it.
    pub route: Route,
    /// The node that serves it; absent for a legacy route or a code without a node.
    pub node: Option<NodeId>,
    /// Lanes it takes part in.
    pub lanes: Lanes,
    /// Its certificates, without their bytes.
    pub certificates: Box<[BoundCertificate]>,
}

impl Agency {
    /// The official name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", |name| name)
    }

    /// The superior agency: as the entry says, else as the code does.
    #[must_use]
    pub fn superior(&self) -> Option<AgencyId> {
        self.parent.clone().or_else(|| self.code.parent())
    }

    /// True when mail of a sender with this code may still go at `at`: it is open, or the mail is not new (it was made before the code closed),
    /// a status, or stands in for mail that was refused.
    #[must_use]
    pub fn may_send(&self, created: Timestamp, is_status: bool, supersedes: bool, at: Timestamp) -> bool {
        self.is_open(at) || (self.may_conclude(at) && self.times().is_conclusion(created, is_status, supersedes))
    }

    /// True when the code may be addressed at `at`.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.valid_from <= at && self.valid_to.is_none_or(|end| at < end)
    }

    /// True when mail sealed to the code is still opened at `at`.
    #[must_use]
    pub fn still_serves(&self, at: Timestamp) -> bool {
        self.is_open(at) || self.serves_until.is_some_and(|until| self.valid_from <= at && at < until)
    }

    /// True when at `at` the code is open, or closed so short a time ago that what it began may still come to its end: it answers what it
    /// received, seals anew what was refused it, accounts for what it took. As long, from the end of its service, as an envelope may live.
    #[must_use]
    pub fn may_conclude(&self, at: Timestamp) -> bool {
        self.times().may_conclude(at)
    }

    /// True when mail that was sealed to the code at `sealed` goes to its node at `at`: the code is open, or it still serves and the mail is not
    /// new. A status answers what came before, so it is never new.
    #[must_use]
    pub fn takes(&self, sealed: Timestamp, is_status: bool, at: Timestamp) -> bool {
        let new = !is_status && self.valid_to.is_some_and(|closed| closed <= sealed);
        self.is_open(at) || (self.still_serves(at) && !new)
    }

    /// Whether the code may state `event` in `role` at `at`.
    #[must_use]
    pub fn may_state(&self, role: Role, event: Option<EventUri>, at: Timestamp) -> bool {
        self.times().may_state(role, event, at)
    }

    const fn times(&self) -> CodeTimes {
        CodeTimes { valid_from: self.valid_from, valid_to: self.valid_to, serves_until: self.serves_until }
    }
}

/// When a code opens, closes and stops serving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeTimes {
    valid_from: Timestamp,
    valid_to: Option<Timestamp>,
    serves_until: Option<Timestamp>,
}

impl CodeTimes {
    pub(crate) const fn of(entry: &AgencyEntry) -> Self {
        Self { valid_from: entry.valid_from, valid_to: entry.valid_to, serves_until: entry.serves_until }
    }

    pub(crate) fn may_conclude(self, at: Timestamp) -> bool {
        let end = self.valid_to.map(|closed| self.serves_until.map_or(closed, |until| until.max(closed)));
        self.valid_from <= at && end.is_none_or(|end| at.unix_ms() < end.unix_ms() + ENVELOPE_TTL_MAX_MS)
    }

    /// Whether the code may state `event` in `role` at `at`. New mail of a closed code is the relay's to refuse: it knows the preamble. What was
    /// consigned while there was time may be handed over whenever its agency comes for it.
    pub(crate) fn may_state(self, role: Role, event: Option<EventUri>, at: Timestamp) -> bool {
        match (role, event) {
            (Role::Recipient, Some(EventUri::ContentHandover | EventUri::ContentHandoverFailure)) => {
                self.valid_from <= at
            }
            _ => self.may_conclude(at),
        }
    }

    /// Whether a preamble that was made at `created` is among what a closed code may still send.
    pub(crate) fn is_conclusion(self, created: Timestamp, is_status: bool, supersedes: bool) -> bool {
        is_status || supersedes || self.valid_to.is_none_or(|closed| created < closed)
    }
}

impl From<AgencyEntry> for Agency {
    fn from(entry: AgencyEntry) -> Self {
        Self {
            code: entry.code,
            names: entry.names.into_iter().map(String::into_boxed_str).collect(),
            parent: entry.parent,
            old_codes: entry.old_codes.into(),
            valid_from: entry.valid_from,
            valid_to: entry.valid_to,
            serves_until: entry.serves_until,
            successor: entry.successor,
            route: entry.route,
            node: entry.node,
            lanes: Lanes(bits(&entry.lanes, Lane::ALL)),
            certificates: entry.certificates.iter().map(BoundCertificate::from).collect(),
        }
    }
}

/// The lanes that an agency takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lanes(u8);

impl Lanes {
    /// Whether the lane is one of them.
    #[must_use]
    pub fn contains(self, lane: &Lane) -> bool {
        has(self.0, lane, Lane::ALL)
    }
}

/// A certificate bound to an agency: what the entry says of it, without its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoundCertificate {
    /// SHA-256 of the certificate's DER.
    pub sha256: Digest,
    /// Start of use, by the operator.
    pub valid_from: Timestamp,
    /// End of use, by the operator.
    pub valid_to: Timestamp,
    /// Since when it is revoked or suspended.
    pub status_since: Option<Timestamp>,
    /// Status when the root was issued.
    pub status: KeyStatus,
    uses: u8,
    algorithms: u8,
}

impl BoundCertificate {
    /// For sealing: what the holder can open.
    pub fn algorithms(&self) -> impl Iterator<Item = SealingAlgorithm> {
        SealingAlgorithm::ALL.iter().copied().filter(|one| has(self.algorithms, one, SealingAlgorithm::ALL))
    }

    /// True when the certificate may be used for `key_use` at `at` as far as the directory says.
    #[must_use]
    pub fn serves(&self, key_use: KeyUse, at: Timestamp) -> bool {
        let stopped = self.status_since.is_some_and(|since| since <= at);
        self.is_for(key_use) && self.valid_from <= at && at < self.valid_to && !stopped
    }

    /// Whether it is bound for `key_use`, in force or not.
    #[must_use]
    pub fn is_for(&self, key_use: KeyUse) -> bool {
        has(self.uses, &key_use, KeyUse::ALL)
    }
}

impl From<&CertificateBinding> for BoundCertificate {
    fn from(binding: &CertificateBinding) -> Self {
        Self {
            sha256: binding.sha256,
            valid_from: binding.valid_from,
            valid_to: binding.valid_to,
            status_since: binding.status_since,
            status: binding.status,
            uses: bits(&binding.uses, KeyUse::ALL),
            algorithms: bits(&binding.algorithms, SealingAlgorithm::ALL),
        }
    }
}

/// A bit for each of `given`, by its place in the closed list `all`.
fn bits<T: PartialEq>(given: &[T], all: &[T]) -> u8 {
    all.iter().enumerate().filter(|(_, one)| given.contains(one)).fold(0, |set, (place, _)| set | 1 << place)
}

fn has<T: PartialEq>(set: u8, wanted: &T, all: &[T]) -> bool {
    all.iter().position(|one| one == wanted).is_some_and(|place| set >> place & 1 == 1)
}
