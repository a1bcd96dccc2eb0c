//! The checks themselves, one after the other, none depending on another's outcome.

use std::time::Duration;

use truc_ledger::merkle::{leaf_hash, verify_inclusion};
use truc_proto::{
    AgencyEntry, CertificateBinding, Checkpoint, Digest, ENVELOPE_ENTRY, EnvelopeJson, EnvelopeKind, EventUri,
    KeyStatus, KeyUse, NodeEntry, NoteKey, Preamble, ProvenEntry, Role, RootStatement, SignedNote, Timestamp,
    limits::DIRECTORY_GRACE_MS,
};
use truc_signer::{
    Certificate, CertificateUse, CmsError, CmsSignature, PathError, Verdict,
    asic::{ContentSalt, content_commitment},
    path::validate_with,
    verify_detached,
};

use super::{
    BoundDigest, Check, Checks, Document, Outcome, ReceiptReport, ReceiptSummary, ReceiptTrust, Step,
    read::{Facts, LeafFacts, OpeningFacts},
    stamps::Stamps,
    witnesses::{self, Witnessed},
};
use crate::{
    NodeKind,
    checkpoint::{CmsLine, find_cms_line, ledger_origin},
    directory::CodeTimes,
    directory::skew,
};

/// What one check finds.
enum Finding {
    Holds,
    /// Holds, with something worth knowing.
    HoldsAs(String),
    Fails(String),
    Unknown(String),
    NotApplicable,
    /// Nothing to check, with something worth knowing.
    NotApplicableAs(String),
    NotReached,
}
use Finding::{Fails, Holds, HoldsAs, NotApplicable, NotApplicableAs, NotReached, Unknown};

/// `Holds` or `Fails` with the words made only when needed.
fn holds_if(good: bool, otherwise: impl FnOnce() -> String) -> Finding {
    if good { Holds } else { Fails(otherwise()) }
}

/// What was found elsewhere.
impl From<(Outcome, String)> for Finding {
    fn from((outcome, detail): (Outcome, String)) -> Self {
        match outcome {
            Outcome::Passed => HoldsAs(detail),
            Outcome::Failed => Fails(detail),
            Outcome::Unknown => Unknown(detail),
            Outcome::NotApplicable | Outcome::Off if detail.is_empty() => NotApplicable,
            Outcome::NotApplicable | Outcome::Off => NotApplicableAs(detail),
            Outcome::NotReached => NotReached,
        }
    }
}

fn form(refused: Option<&String>) -> Finding {
    refused.map_or(Holds, |why| Fails(why.clone()))
}

/// Unwraps what a check is about, or ends the check: not reached.
macro_rules! need {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return NotReached,
        }
    };
}
/// Unwraps what a check is about, or ends the check: not applicable.
macro_rules! given {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return NotApplicable,
        }
    };
}

pub(super) fn run(
    bytes: &[u8],
    trust: &ReceiptTrust,
    document: Option<&Document>,
    now: Timestamp,
    checks: Checks,
) -> ReceiptReport {
    let facts = match Facts::read(bytes) {
        Ok(facts) => facts,
        Err(why) => return unreadable(&why, checks),
    };
    let signing = Signing::of(&facts, trust, now);
    let operator = Operator::of(&facts, trust, now);
    let judge = Judge { facts: &facts, signing: signing.as_ref(), operator: &operator, trust, document, now };
    let step = |check: &Check| {
        let finding = if checks.contains(*check) { Some(judge.find(*check)) } else { None };
        step_of(*check, finding)
    };
    let steps = Check::ALL.iter().map(step).collect();
    ReceiptReport::of(steps, summary(&facts, signing.as_ref()))
}

fn step_of(check: Check, finding: Option<Finding>) -> Step {
    let (outcome, detail) = match finding {
        None => (Outcome::Off, String::new()),
        Some(Holds) => (Outcome::Passed, String::new()),
        Some(HoldsAs(detail)) => (Outcome::Passed, detail),
        Some(Fails(detail)) => (Outcome::Failed, detail),
        Some(Unknown(detail)) => (Outcome::Unknown, detail),
        Some(NotApplicable) => (Outcome::NotApplicable, String::new()),
        Some(NotApplicableAs(detail)) => (Outcome::NotApplicable, detail),
        Some(NotReached) => (Outcome::NotReached, String::new()),
    };
    Step { check, outcome, detail }
}

/// The report about a file that is no receipt.
fn unreadable(why: &str, checks: Checks) -> ReceiptReport {
    let step = |check: &Check| {
        let finding = if *check == Check::ReceiptForm { Fails(why.to_owned()) } else { NotReached };
        step_of(*check, checks.contains(*check).then_some(finding))
    };
    ReceiptReport::of(Check::ALL.iter().map(step).collect(), None)
}

fn summary(facts: &Facts, signing: Option<&Signing<'_>>) -> Option<ReceiptSummary> {
    let leaf = facts.leaf.value.as_ref()?;
    let agency = facts.agency.as_ref().and_then(|part| part.value.as_ref());
    let preamble = facts.preamble.as_ref().and_then(|part| part.value.as_ref());
    // Whom the envelope is for is stated by its submission; another event speaks of its own recipient.
    let stated = preamble.filter(|_| leaf.submission().is_some());
    let node = facts.node.value.as_ref().map(|(_, node)| node);
    Some(ReceiptSummary {
        event: leaf.event,
        role: leaf.actor.role,
        actor: leaf.actor.code.clone(),
        actor_name: agency.and_then(|agency| agency.names.first().cloned()),
        node: leaf.actor.node.clone(),
        time: leaf.time,
        envelope: leaf.envelope,
        sender: leaf.sender.clone().or_else(|| preamble.map(|p| p.sender.clone())).or_else(|| leaf.actor.code.clone()),
        recipient: leaf.recipient.clone(),
        leaf_hash: leaf.hash,
        hashes: leaf.envelope_hashes(),
        key_envelopes: leaf.key_envelopes(),
        signed_at: signing.and_then(|s| s.cms.as_ref().ok()).and_then(|cms| cms.signing_time),
        proven_by: signing.and_then(|signing| signing.stamps.latest()),
        domain: facts.root.value.as_ref().map(|root| (root.axis.clone(), root.lane)),
        service_certificates: agency.map(|entry| bound_for(KeyUse::Service, &entry.certificates)).unwrap_or_default(),
        node_certificates: node.map(|entry| bound_for(KeyUse::Node, &entry.certificates)).unwrap_or_default(),
        certificate: signing.and_then(|s| s.cms.as_ref().ok()).map(|cms| cms.certificate.sha256()),
        directory_version: facts.root.value.as_ref().map(|root| root.version),
        directory_issued: facts.root.value.as_ref().map(|root| root.issued),
        reason: leaf.said().and_then(|event| event.reason),
        successor: leaf.said().and_then(|event| event.successor.clone()),
        recipients: stated.map(|preamble| preamble.recipients.clone()).unwrap_or_default(),
        legacy: stated.map(|preamble| preamble.legacy.clone()).unwrap_or_default(),
        ledger_key: node.map(|entry| entry.ledger_key),
        checkpoint: facts.checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.clone()),
        levels: Vec::new(), // told by the steps, once they are made
    })
}

fn bound_for(key_use: KeyUse, certificates: &[CertificateBinding]) -> Vec<BoundDigest> {
    let for_it = certificates.iter().filter(|binding| binding.uses.contains(&key_use));
    let bound = |binding: &CertificateBinding| BoundDigest {
        sha256: binding.sha256,
        valid_from: binding.valid_from,
        valid_to: binding.valid_to,
        ended: binding.status_since,
    };
    for_it.map(bound).collect()
}

/// What is known about the certificate's line under the checkpoint.
struct Signing<'a> {
    line: CmsLine<'a>,
    cms: Result<CmsSignature, CmsError>,
    /// The signer's, where the signature holds; else the one that the line points at.
    certificate: Option<Certificate>,
    /// When it signed, as it says; else the event's time.
    at: Timestamp,
    path: Option<Result<Verdict, PathError>>,
    stamps: Stamps,
}

impl<'a> Signing<'a> {
    fn of(facts: &'a Facts, trust: &ReceiptTrust, now: Timestamp) -> Option<Self> {
        let (note, checkpoint) = facts.checkpoint.as_ref()?;
        let (_, node) = facts.node.value.as_ref()?;
        let leaf_time = facts.leaf.value.as_ref()?.time;
        let line = find_cms_line(note, checkpoint.origin(), node, leaf_time)?;
        let bound = Certificate::from_der(&line.binding.der).ok();
        let cms = verify_detached(line.cms, note.text().as_bytes(), bound.as_slice());
        let at = cms.as_ref().ok().and_then(|cms| cms.signing_time).unwrap_or(leaf_time);
        let others = cms.as_ref().map_or(&[][..], |cms| &cms.others);
        let certificate = cms.as_ref().map(|cms| cms.certificate.clone()).ok().or(bound);
        let path = certificate.as_ref().map(|c| path_of(trust, c, others, CertificateUse::Node, at));
        let stamps = cms.as_ref().map(|cms| Stamps::of(cms, at.max(leaf_time), trust, now)).unwrap_or_default();
        Some(Self { line, path, certificate, at, cms, stamps })
    }
}

/// What is known about the signature over the directory root.
struct Operator {
    signature: Result<CmsSignature, CmsError>,
    certificate: Option<Certificate>,
    path: Option<Result<Verdict, PathError>>,
    stamps: Stamps,
}

impl Operator {
    fn of(facts: &Facts, trust: &ReceiptTrust, now: Timestamp) -> Self {
        let signature = trust.root_signature(&facts.body.directory_cms, &facts.body.directory);
        let signer = signature.as_ref().ok().map(|s| s.certificate.clone());
        let certificate = signer.or_else(|| trust.operator().certificates().first().cloned());
        let others = signature.as_ref().map_or(&[][..], |s| &s.others);
        let issued = facts.root.value.as_ref().map(|root| root.issued);
        let path = certificate
            .as_ref()
            .zip(issued)
            .map(|(certificate, at)| path_of(trust, certificate, others, CertificateUse::Operator, at));
        let stamps = signature.as_ref().ok().zip(issued).map(|(cms, issued)| {
            let made = cms.signing_time.map_or(issued, |signed| signed.max(issued));
            Stamps::of(cms, made, trust, now)
        });
        Self { certificate, path, signature, stamps: stamps.unwrap_or_default() }
    }
}

/// The path at the time nearest to `at` at which the certificate is valid: whether it was valid *then* is a check of its own.
fn path_of(
    trust: &ReceiptTrust,
    certificate: &Certificate,
    others: &[Certificate],
    wanted: CertificateUse,
    at: Timestamp,
) -> Result<Verdict, PathError> {
    let at = at.min(certificate.not_after()).max(certificate.not_before());
    validate_with(trust.store(), certificate, others, wanted, at)
}

struct Judge<'a> {
    facts: &'a Facts,
    signing: Option<&'a Signing<'a>>,
    operator: &'a Operator,
    trust: &'a ReceiptTrust,
    document: Option<&'a Document>,
    now: Timestamp,
}

impl<'a> Judge<'a> {
    fn find(&self, check: Check) -> Finding {
        match check {
            Check::ReceiptForm => form(self.facts.refused.as_ref()),
            Check::LeafForm => form(self.facts.leaf.refused.as_ref()),
            Check::RoleFitsEvent => self.role_fits_event(),
            Check::CodeFitsRole => self.code_fits_role(),
            Check::LeafConsistent => self.leaf_consistent(),
            Check::LeafIncluded => self.leaf_included(),
            Check::CheckpointOrigin => self.checkpoint_origin(),
            Check::LedgerSignature => self.ledger_signature(),
            Check::CertificateLine => self.certificate_line(),
            Check::CertificateSignature => self.certificate_signature(),
            Check::CertificateSigner => self.certificate_signer(),
            Check::CertificatePath => self.certificate_path(),
            Check::CertificateTime => self.certificate_time(),
            Check::CertificateBound => self.certificate_bound(),
            Check::CertificateRevocation => self.certificate_revocation(),
            Check::CertificateExpiry => self.certificate_expiry(),
            Check::TimeStamps => self.time_stamps(),
            Check::Witnesses => self.witnesses(),
            Check::RootForm => form(self.facts.root.refused.as_ref()),
            Check::RootSignature => self.root_signature(),
            Check::RootSigner => self.root_signer(),
            Check::OperatorPath => self.operator_path(),
            Check::OperatorTime => self.operator_time(),
            Check::OperatorRevocation => self.operator_revocation(),
            Check::OperatorExpiry => self.operator_expiry(),
            Check::RootTimeStamps => self.root_time_stamps(),
            Check::NodeForm => form(self.facts.node.refused.as_ref()),
            Check::NodeIncluded => self.entry_included(Some(&self.facts.body.node)),
            Check::AgencyForm => self.facts.agency.as_ref().map_or(NotApplicable, |part| form(part.refused.as_ref())),
            Check::AgencyIncluded => self.entry_included(self.facts.body.agency.as_ref()),
            Check::RootIssued => self.root_issued(),
            Check::RootCurrent => self.root_current(),
            Check::RootReliedOn => self.root_relied_on(),
            Check::NodeKind => self.node_kind(),
            Check::NodeIsActor => self.node_is_actor(),
            Check::NodeOrigin => self.node_origin(),
            Check::NodeLane => self.node_lane(),
            Check::AgencyShown => self.agency_shown(),
            Check::AgencyIsActor => self.agency_is_actor(),
            Check::AgencyNode => self.agency_node(),
            Check::AgencyLane => self.agency_lane(),
            Check::CodeInForce => self.code_in_force(),
            Check::PreambleShown => self.preamble_shown(),
            Check::PreambleForm => {
                self.facts.preamble.as_ref().map_or(NotApplicable, |part| form(part.refused.as_ref()))
            }
            Check::PreambleHash => self.preamble_hash(),
            Check::PreambleDomain => self.preamble_domain(),
            Check::PreambleLevel => self.preamble_level(),
            Check::PreambleEnvelope => self.preamble_envelope(),
            Check::PreambleSender => self.preamble_sender(),
            Check::PreambleRecipient => self.preamble_recipient(),
            Check::SubmissionRecipients => self.submission_recipients(),
            Check::PreambleTime => self.preamble_time(),
            Check::SignedAfter => self.signed_after(),
            Check::NotFromFuture => self.not_from_future(),
            Check::OpeningCommitment => self.opening_commitment(),
            Check::ManifestForm => {
                self.opening().map_or(NotApplicable, |opening| form(opening.manifest.refused.as_ref()))
            }
            Check::EnvelopeIncluded => self.envelope_included(),
            Check::EnvelopeForm => {
                self.opening().map_or(NotApplicable, |opening| form(opening.envelope.refused.as_ref()))
            }
            Check::EnvelopePreamble => self.envelope_preamble(),
            Check::EnvelopeFields => self.envelope_fields(),
            Check::EnvelopeRecipients => self.envelope_recipients(),
            Check::Document => self.document(),
        }
    }

    // What is there.

    const fn leaf(&self) -> Option<&'a LeafFacts> {
        self.facts.leaf.value.as_ref()
    }
    const fn root(&self) -> Option<&'a RootStatement> {
        self.facts.root.value.as_ref()
    }
    fn node(&self) -> Option<(NodeKind, &'a NodeEntry)> {
        self.facts.node.value.as_ref().map(|(kind, node)| (*kind, node))
    }
    fn checkpoint(&self) -> Option<(&'a SignedNote, &'a Checkpoint)> {
        self.facts.checkpoint.as_ref().map(|(note, checkpoint)| (note, checkpoint))
    }
    const fn opening(&self) -> Option<&'a OpeningFacts> {
        self.facts.opening.as_ref()
    }

    // The leaf.

    fn role_fits_event(&self) -> Finding {
        let leaf = need!(self.leaf());
        holds_if(role_fits(leaf), || format!("{} in the role {}", leaf.event.name(), leaf.actor.role))
    }

    fn code_fits_role(&self) -> Finding {
        let leaf = need!(self.leaf());
        holds_if(code_fits(leaf), || {
            let [sender, recipient] = [&leaf.sender, &leaf.recipient].map(named);
            format!("{}, sender {sender}, recipient {recipient}", leaf.actor)
        })
    }

    fn leaf_consistent(&self) -> Finding {
        let leaf = need!(self.leaf());
        // The statement's own check asks for role and code, too; those have checks of their own.
        if !role_fits(leaf) || !code_fits(leaf) {
            return NotApplicable;
        }
        leaf.inconsistency().map_or(Holds, Fails)
    }

    // The ledger.

    fn leaf_included(&self) -> Finding {
        let (_, checkpoint) = need!(self.checkpoint());
        let hash = leaf_hash(&self.facts.body.leaf);
        match verify_inclusion(&hash, self.facts.index, checkpoint.size, &self.facts.proof, &checkpoint.root) {
            Ok(()) => HoldsAs(format!("leaf {} of {}", self.facts.index, checkpoint.size)),
            Err(error) => Fails(error.to_string()),
        }
    }

    fn checkpoint_origin(&self) -> Finding {
        let (_, checkpoint) = need!(self.checkpoint());
        let (_, node) = need!(self.node());
        holds_if(checkpoint.origin() == node.origin, || format!("{}, not {}", checkpoint.origin(), node.origin))
    }

    fn ledger_signature(&self) -> Finding {
        let (note, checkpoint) = need!(self.checkpoint());
        let (_, node) = need!(self.node());
        // Under the name that the checkpoint gives itself: whether it is the right name is a check of its own.
        match NoteKey::new(checkpoint.origin(), node.ledger_key).map(|key| key.verify(note)) {
            Ok(Ok(())) => Holds,
            Ok(Err(error)) => Fails(error.to_string()),
            Err(error) => Fails(error.to_string()),
        }
    }

    fn certificate_line(&self) -> Finding {
        let (note, _) = need!(self.checkpoint());
        need!(self.node());
        match note.signatures().len() {
            _ if self.signing.is_some() => Holds,
            ..=1 => Unknown("the checkpoint has no line beside the ledger key's".into()),
            count => Unknown(format!("none of the {count} lines is of a certificate that is bound to this node")),
        }
    }

    fn certificate_signature(&self) -> Finding {
        match &given!(self.signing).cms {
            Ok(cms) => HoldsAs(cms.certificate.subject().to_owned()),
            Err(error) => Fails(error.to_string()),
        }
    }

    fn certificate_signer(&self) -> Finding {
        let signing = given!(self.signing);
        let cms = given!(signing.cms.as_ref().ok());
        holds_if(cms.certificate.sha256() == signing.line.binding.sha256, || {
            format!("signed by {}, sha256 {}", cms.certificate.subject(), cms.certificate.sha256())
        })
    }

    fn certificate_path(&self) -> Finding {
        match &given!(self.signing).path {
            Some(Ok(_)) => Holds,
            Some(Err(error)) => Fails(error.to_string()),
            None => Fails("the bound certificate cannot be read".into()),
        }
    }

    fn certificate_time(&self) -> Finding {
        let signing = given!(self.signing);
        let certificate = given!(signing.certificate.as_ref());
        holds_if(was_valid(certificate, signing.at), || {
            format!("valid {} to {}, signed {}", certificate.not_before(), certificate.not_after(), signing.at)
        })
    }

    fn certificate_bound(&self) -> Finding {
        let signing = given!(self.signing);
        let binding = signing.line.binding;
        // The status is judged with revocation, so that each fault shows under its own name.
        let good =
            binding.uses.contains(&KeyUse::Node) && binding.valid_from <= signing.at && signing.at < binding.valid_to;
        holds_if(good, || format!("bound {} to {}, signed {}", binding.valid_from, binding.valid_to, signing.at))
    }

    /// Directory, lists and answers may all speak; whoever names the earlier end is believed (I11).
    fn certificate_revocation(&self) -> Finding {
        let signing = given!(self.signing);
        let binding = signing.line.binding;
        let by_directory = if binding.status == KeyStatus::Good { None } else { binding.status_since };
        let by_list = match &signing.path {
            Some(Ok(Verdict::Revoked { at, .. })) => Some(*at),
            _ => None,
        };
        match by_directory.into_iter().chain(by_list).min() {
            Some(since) => signing.stamps.revoked(since, signing.at).into(),
            None => HoldsAs(self.revocation_known(signing.path.as_ref())),
        }
    }

    fn certificate_expiry(&self) -> Finding {
        let signing = given!(self.signing);
        let certificate = given!(signing.certificate.as_ref());
        not_expired_since(certificate, signing.at, self.now, &signing.stamps)
    }

    fn time_stamps(&self) -> Finding {
        given!(given!(self.signing).stamps.finding()).into()
    }

    fn witnesses(&self) -> Finding {
        let (note, checkpoint) = need!(self.checkpoint());
        let Some(policy) = self.trust.policy() else {
            return match witnesses::unchecked(note, checkpoint) {
                0 => NotApplicable,
                count => NotApplicableAs(format!("witnessed by {count}, not checked: no policy given")),
            };
        };
        let leaf = need!(self.leaf());
        match witnesses::judge(policy, note, checkpoint, leaf.time, self.now) {
            Witnessed::Met(who) => HoldsAs(who),
            Witnessed::NotAsked => NotApplicableAs("the policy asks for no witness".into()),
            Witnessed::Failed(why) => Fails(why),
        }
    }

    // The directory.

    fn root_signature(&self) -> Finding {
        match &self.operator.signature {
            Ok(signature) => HoldsAs(signature.certificate.subject().to_owned()),
            Err(error) => Fails(error.to_string()),
        }
    }

    fn root_signer(&self) -> Finding {
        let signature = given!(self.operator.signature.as_ref().ok());
        let pinned = self.trust.operator().pins(&signature.certificate.sha256());
        holds_if(pinned, || format!("signed by {}", signature.certificate.subject()))
    }

    fn operator_path(&self) -> Finding {
        match need!(&self.operator.path) {
            Ok(_) => Holds,
            Err(error) => Fails(error.to_string()),
        }
    }

    fn operator_time(&self) -> Finding {
        let issued = need!(self.root()).issued;
        let certificate = given!(self.operator.certificate.as_ref());
        holds_if(was_valid(certificate, issued), || {
            format!("valid {} to {}, issued {issued}", certificate.not_before(), certificate.not_after())
        })
    }

    fn operator_revocation(&self) -> Finding {
        let issued = need!(self.root()).issued;
        match need!(&self.operator.path) {
            Ok(Verdict::Revoked { at, .. }) => self.operator.stamps.revoked(*at, issued).into(),
            path => HoldsAs(self.revocation_known(Some(path))),
        }
    }

    fn operator_expiry(&self) -> Finding {
        let issued = need!(self.root()).issued;
        not_expired_since(given!(self.operator.certificate.as_ref()), issued, self.now, &self.operator.stamps)
    }

    fn root_time_stamps(&self) -> Finding {
        given!(self.operator.stamps.finding()).into()
    }

    fn entry_included(&self, entry: Option<&ProvenEntry>) -> Finding {
        let entry = given!(entry);
        let root = need!(self.root());
        match verify_inclusion(&leaf_hash(&entry.bytes), entry.index, root.size, &entry.proof, &root.root) {
            Ok(()) => Holds,
            Err(error) => Fails(error.to_string()),
        }
    }

    fn root_issued(&self) -> Finding {
        let (root, leaf) = (need!(self.root()), need!(self.leaf()));
        holds_if(root.issued <= leaf.time + skew(), || format!("issued {}, event {}", root.issued, leaf.time))
    }

    fn root_current(&self) -> Finding {
        let (root, leaf) = (need!(self.root()), need!(self.leaf()));
        let grace = Duration::from_millis(u64::try_from(DIRECTORY_GRACE_MS).unwrap_or_default());
        holds_if(leaf.time <= root.valid_until + grace, || {
            format!("valid until {}, event {}", root.valid_until, leaf.time)
        })
    }

    fn root_relied_on(&self) -> Finding {
        let submission = given!(need!(self.leaf()).submission());
        let root = need!(self.root());
        let stated = &submission.directory;
        if root.version > stated.version {
            return Holds;
        }
        let entry = self.facts.body.agency.as_ref().map(|agency| leaf_hash(&agency.bytes));
        let same_entry = entry.is_none_or(|entry| entry == stated.entry);
        // What an entry says does not age with the versions that repeat it; whether the root was current then is another check.
        if root.version < stated.version {
            return holds_if(same_entry, || {
                format!("version {} with another entry than {}", root.version, stated.version)
            });
        }
        holds_if(root.root == stated.root && same_entry, || {
            format!("version {} with another root or entry", root.version)
        })
    }

    // Who may speak.

    fn node_kind(&self) -> Finding {
        let leaf = need!(self.leaf());
        let (kind, node) = need!(self.node());
        holds_if((kind == NodeKind::Relay) == (leaf.actor.role == Role::Relay), || {
            format!("{} as {}", node.id, leaf.actor.role)
        })
    }

    fn node_is_actor(&self) -> Finding {
        let leaf = need!(self.leaf());
        let (_, node) = need!(self.node());
        holds_if(leaf.actor.node == node.id, || format!("{} in the ledger of {}", leaf.actor.node, node.id))
    }

    fn node_origin(&self) -> Finding {
        let root = need!(self.root());
        let (_, node) = need!(self.node());
        let expected = ledger_origin(&root.axis, root.lane, &node.id, node.epoch);
        holds_if(node.origin == expected, || format!("{}, not {expected}", node.origin))
    }

    fn node_lane(&self) -> Finding {
        let root = need!(self.root());
        let (_, node) = need!(self.node());
        holds_if(node.lane == root.lane, || format!("{} in the {} directory", node.lane, root.lane))
    }

    /// The entry of the agency that speaks; the relay needs none.
    fn agency(&self) -> Option<Option<&'a AgencyEntry>> {
        self.facts.agency.as_ref().map(|part| part.value.as_ref())
    }

    fn agency_shown(&self) -> Finding {
        let leaf = need!(self.leaf());
        match (leaf.actor.role, &self.facts.agency) {
            (Role::Relay, _) => NotApplicable,
            (_, agency) => holds_if(agency.is_some(), || format!("{} without entry", leaf.actor)),
        }
    }

    fn agency_is_actor(&self) -> Finding {
        let agency = need!(given!(self.agency()));
        let code = given!(need!(self.leaf()).actor.code.as_ref());
        holds_if(agency.code == *code, || format!("{}, not {code}", agency.code))
    }

    fn agency_node(&self) -> Finding {
        let agency = need!(given!(self.agency()));
        let (_, node) = need!(self.node());
        holds_if(agency.node.as_ref() == Some(&node.id), || {
            format!("{} is at {}, not {}", agency.code, named(&agency.node), node.id)
        })
    }

    fn agency_lane(&self) -> Finding {
        let agency = need!(given!(self.agency()));
        let root = need!(self.root());
        holds_if(agency.lanes.contains(&root.lane), || format!("{} is not in {}", agency.code, root.lane))
    }

    fn code_in_force(&self) -> Finding {
        let agency = need!(given!(self.agency()));
        let leaf = need!(self.leaf());
        let times = CodeTimes::of(agency);
        // New mail is not sent by a code that has closed; the preamble says whether it is new.
        let preamble = self.preamble().flatten().filter(|_| leaf.submission().is_some());
        let conclusion = preamble.is_none_or(|preamble| {
            let status = preamble.kind == EnvelopeKind::Status;
            times.is_conclusion(preamble.created, status, preamble.supersedes.is_some())
        });
        let good =
            agency.is_open(leaf.time) || (conclusion && times.may_state(leaf.actor.role, Some(leaf.event), leaf.time));
        holds_if(good, || {
            format!("{} from {} to {}, event {}", agency.code, agency.valid_from, named(&agency.valid_to), leaf.time)
        })
    }

    // The envelope.

    fn preamble(&self) -> Option<Option<&'a Preamble>> {
        self.facts.preamble.as_ref().map(|part| part.value.as_ref())
    }

    fn preamble_shown(&self) -> Finding {
        let leaf = need!(self.leaf());
        match (&self.facts.preamble, leaf.submission()) {
            (Some(_), _) => Holds,
            (None, Some(_)) => Fails("a submission without preamble".into()),
            (None, None) => NotApplicable,
        }
    }

    fn preamble_hash(&self) -> Finding {
        given!(self.preamble());
        let stated = given!(need!(self.leaf()).preamble);
        let found = Digest::of(&self.facts.body.preamble);
        holds_if(found == stated, || format!("{found}, not {stated}"))
    }

    fn preamble_domain(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        let root = need!(self.root());
        let same = preamble.axis == root.axis && preamble.lane == root.lane;
        holds_if(same, || format!("{} {}, directory {} {}", preamble.axis, preamble.lane, root.axis, root.lane))
    }

    fn preamble_level(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        match preamble.level.on(preamble.lane) {
            Ok(_) => Holds,
            Err(error) => Fails(error.to_string()),
        }
    }

    fn preamble_envelope(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        let stated = given!(need!(self.leaf()).envelope);
        holds_if(preamble.envelope == stated, || format!("{}, not {stated}", preamble.envelope))
    }

    fn preamble_sender(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        let leaf = need!(self.leaf());
        let sender = given!(leaf.sender.as_ref().or(leaf.actor.code.as_ref()));
        holds_if(preamble.sender == *sender, || format!("{}, not {sender}", preamble.sender))
    }

    fn preamble_recipient(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        let recipient = given!(need!(self.leaf()).recipient.as_ref());
        let leaf = need!(self.leaf());
        // What the sender passed on went to an agency of today's axis.
        let passed_on = leaf.event == EventUri::RelayToNonErds;
        let addressed = preamble.legacy.contains(recipient) || (!passed_on && preamble.recipients.contains(recipient));
        holds_if(addressed, || format!("{recipient} is not addressed"))
    }

    fn submission_recipients(&self) -> Finding {
        let submission = given!(need!(self.leaf()).submission());
        let preamble = need!(given!(self.preamble()));
        holds_if(submission.key_envelopes.keys().eq(preamble.recipients.iter()), || {
            format!(
                "{} key envelopes, {} recipients, or not for the same",
                submission.key_envelopes.len(),
                preamble.recipients.len()
            )
        })
    }

    fn preamble_time(&self) -> Finding {
        let preamble = need!(given!(self.preamble()));
        let leaf = need!(self.leaf());
        holds_if(preamble.created <= leaf.time + skew(), || format!("made {}, event {}", preamble.created, leaf.time))
    }

    // Times.

    fn signed_after(&self) -> Finding {
        let leaf = need!(self.leaf());
        let cms = given!(given!(self.signing).cms.as_ref().ok());
        let signed = given!(cms.signing_time);
        holds_if(leaf.time <= signed + skew(), || format!("event {}, signed {signed}", leaf.time))
    }

    fn not_from_future(&self) -> Finding {
        let leaf = need!(self.leaf());
        let signed = self.signing.and_then(|signing| signing.cms.as_ref().ok()).and_then(|cms| cms.signing_time);
        let latest = signed.map_or(leaf.time, |signed| signed.max(leaf.time));
        holds_if(latest <= self.now + skew(), || format!("{latest}, and it is {}", self.now))
    }

    // The document.

    fn opening_commitment(&self) -> Finding {
        let opening = given!(self.opening());
        let stated = need!(need!(self.leaf()).commitment);
        let found = content_commitment(&ContentSalt(opening.salt), &opening.manifest_bytes);
        holds_if(found == stated, || format!("{found}, not {stated}"))
    }

    fn envelope_included(&self) -> Finding {
        let opening = given!(self.opening());
        let name = manifest_name(opening, &opening.envelope_digest);
        holds_if(name.is_some_and(|name| name.is_none_or(|name| name == ENVELOPE_ENTRY)), || {
            format!("the manifest has no {ENVELOPE_ENTRY} with {}", opening.envelope_digest)
        })
    }

    fn envelope(&self) -> Option<Option<&'a EnvelopeJson>> {
        self.opening().map(|opening| opening.envelope.value.as_ref())
    }

    fn envelope_preamble(&self) -> Finding {
        let envelope = need!(given!(self.envelope()));
        let stated = given!(need!(self.leaf()).preamble);
        holds_if(envelope.preamble == stated, || format!("{}, not {stated}", envelope.preamble))
    }

    fn envelope_fields(&self) -> Finding {
        let inside = need!(given!(self.envelope()));
        let outside = need!(given!(self.preamble()));
        let same = [
            ("axis", inside.axis == outside.axis),
            ("envelope", inside.envelope == outside.envelope),
            ("lane", inside.lane == outside.lane),
            ("level", inside.level == outside.level),
            ("kind", inside.kind == outside.kind),
            ("sender", inside.sender == outside.sender),
            ("supersedes", inside.supersedes == outside.supersedes),
        ];
        let different: Vec<&str> = same.iter().filter(|(_, same)| !same).map(|(field, _)| *field).collect();
        holds_if(different.is_empty(), || different.join(", "))
    }

    fn envelope_recipients(&self) -> Finding {
        let inside = need!(given!(self.envelope()));
        let outside = need!(given!(self.preamble()));
        holds_if(inside.recipients.iter().map(|sealed| &sealed.code).eq(outside.recipients.iter()), || {
            let codes: Vec<&str> = inside.recipients.iter().map(|sealed| sealed.code.as_str()).collect();
            format!("signed for {}", codes.join(", "))
        })
    }

    fn document(&self) -> Finding {
        let document = given!(self.document);
        let Some(opening) = self.opening() else {
            return Unknown("the receipt carries no opening; ask its holder for one that does".into());
        };
        if document.manifest.as_ref() == Some(&opening.manifest_bytes) {
            return HoldsAs("the whole container".into());
        }
        if let Some(name) = manifest_name(opening, &document.digest) {
            return HoldsAs(name.unwrap_or_default().to_owned());
        }
        // A file inside a packet is no entry of its own: envelope.json, itself an entry, names the decoded attachments.
        let attachments = opening.envelope.value.as_ref().map_or(&[][..], |envelope| &envelope.attachments);
        match attachments.iter().find(|attachment| attachment.sha256 == document.digest) {
            Some(attachment) => HoldsAs(format!("attachment {}", attachment.name)),
            None => Fails(format!("no entry and no attachment has the SHA-256 {}", document.digest)),
        }
    }

    /// How far revocation is known.
    fn revocation_known(&self, path: Option<&Result<Verdict, PathError>>) -> String {
        let directory = self
            .root()
            .map_or_else(String::new, |root| format!("good as of directory {} of {}", root.version, root.issued));
        match path {
            Some(Ok(Verdict::Good)) => {
                format!("{directory}; not revoked by the revocation lists and OCSP answers at hand")
            }
            Some(Ok(Verdict::Unknown(why)))
                if !self.trust.store().crls().is_empty() || self.trust.store().answers().count() > 0 =>
            {
                format!("{directory}; the revocation lists and OCSP answers given do not tell: {why}")
            }
            _ => format!("{directory}; not checked later"),
        }
    }
}

/// What is not there, as a dash.
fn named<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
}

fn role_fits(leaf: &LeafFacts) -> bool {
    use EventUri as E;
    let role = leaf.actor.role;
    let fits = match leaf.event {
        E::SubmissionAcceptance | E::SubmissionRejection | E::RelayToNonErds => role == Role::Sender,
        E::RelayAcceptance => role != Role::Sender,
        E::RelayRejection | E::RelayFailure => role == Role::Relay,
        E::ContentConsignment
        | E::ContentConsignmentFailure
        | E::ContentHandover
        | E::ContentHandoverFailure
        | E::ReceivedFromNonErds => role == Role::Recipient,
    };
    fits && leaf.submission().is_some() == (leaf.event == E::SubmissionAcceptance)
}

fn code_fits(leaf: &LeafFacts) -> bool {
    let code = leaf.actor.code.as_ref();
    match leaf.actor.role {
        Role::Relay => code.is_none(),
        Role::Recipient => code.is_some() && code == leaf.recipient.as_ref(),
        // A submission's sender stands in the preamble, which has a check of its own.
        Role::Sender => code.is_some() && (leaf.sender.is_none() || code == leaf.sender.as_ref()),
    }
}

fn was_valid(certificate: &Certificate, at: Timestamp) -> bool {
    certificate.not_before() <= at && at <= certificate.not_after()
}

fn not_expired_since(certificate: &Certificate, signed: Timestamp, now: Timestamp, stamps: &Stamps) -> Finding {
    // Signed outside its validity: that is the other check's finding.
    if !was_valid(certificate, signed) {
        return NotApplicable;
    }
    if now <= certificate.not_after() { Holds } else { stamps.expired(certificate).into() }
}

/// The name under which the manifest has this digest: none when it has not; no name when the manifest could only be searched as text.
fn manifest_name<'a>(opening: &'a OpeningFacts, digest: &Digest) -> Option<Option<&'a str>> {
    match &opening.manifest.value {
        Some(manifest) => manifest.find(digest).map(|reference| Some(reference.name.as_str())),
        None => {
            let text = String::from_utf8_lossy(&opening.manifest_bytes);
            text.contains(&digest.to_base64()).then_some(None)
        }
    }
}
