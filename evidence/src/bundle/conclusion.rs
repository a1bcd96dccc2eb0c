//! What valid receipts prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use truc_proto::{AgencyId, Digest, EventUri, NodeId, Reason, Role, Timestamp, limits::PROVEN_LATE_MS};

use super::{ProvenStatus, Remark, StatusReport, StepRemark, Together, agreement::is_submission};
use crate::{EnvelopeHashes, EvidenceLevel, ReceiptReport, ReceiptSummary, directory::skew};

/// An event that a valid receipt proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenEvent {
    /// What happened.
    pub event: EventUri,
    /// In which role it is stated.
    pub role: Role,
    /// The agency that states it; none for the relay.
    pub actor: Option<AgencyId>,
    /// Its node, or the relay.
    pub node: NodeId,
    /// When, by its clock.
    pub time: Timestamp,
    /// Why, in refusals and failures.
    pub reason: Option<Reason>,
    /// With a closed code: who took over.
    pub successor: Option<AgencyId>,
    /// When its checkpoint was signed, by the same clock.
    pub signed_at: Option<Timestamp>,
    /// By when it provably was signed, as a time-stamp shows.
    pub proven_by: Option<Timestamp>,
    /// What its receipt rests on.
    pub levels: Vec<EvidenceLevel>,
    /// What is strange about its time.
    pub remarks: Vec<StepRemark>,
}

/// How far a recipient provably is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Nothing of it is proven.
    Nothing,
    /// The sender stated that it did not send it.
    NotSent,
    /// The sender stated that it sent.
    Sent,
    /// The relay has it.
    Relayed,
    /// The relay states that it did not reach the recipient.
    Failed,
    /// The sender states that it handed it over to today's axis, where nothing is signed.
    PassedOn,
    /// The recipient states that it has the sealed envelope. All that follows is its own word, too.
    Taken,
    /// It has it, and could not open it.
    NotOpened,
    /// It opened it and found it whole.
    Consigned,
    /// The recipient's document system refused it.
    Refused,
    /// The recipient's document system took it.
    HandedOver,
}

impl Standing {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NotSent => "not-sent",
            Self::Sent => "sent",
            Self::Relayed => "relayed",
            Self::Failed => "failed",
            Self::PassedOn => "passed-on",
            Self::Taken => "taken",
            Self::NotOpened => "not-opened",
            Self::Consigned => "consigned",
            Self::Refused => "refused",
            Self::HandedOver => "handed-over",
        }
    }

    /// What it means, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::Nothing => "Nothing is proven about this recipient",
            Self::NotSent => "The sender states that it did not send it; see why",
            Self::Sent => "The sender alone says that it was sent; whether it left is not proven",
            Self::Relayed => "The relay states that it has it; whether the recipient got it is not proven",
            Self::PassedOn => {
                "The sender states that it handed it over to today's axis, where nothing is signed; whether the recipient got it is not proven"
            }
            Self::Taken => {
                "The recipient states that it holds the sealed document; that it could open it is not proven. It cannot deny having it"
            }
            Self::Failed => "The relay states that it was not delivered; see why. Of the recipient there is no word",
            Self::NotOpened => {
                "The recipient states that it holds the sealed document and could not open it or did not accept its content; see why. It cannot deny having it"
            }
            Self::Consigned => "The recipient states that it received and opened the document. It cannot deny that",
            Self::Refused => {
                "The recipient received and opened it, and its document system refused it. It cannot deny having received it"
            }
            Self::HandedOver => {
                "The recipient received and opened it, and its document system took it. It cannot deny that"
            }
        }
    }

    /// What it means, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::Nothing => "Chưa có gì chứng minh về nơi nhận này",
            Self::NotSent => "Bên gửi nêu là không gửi; xem lý do",
            Self::Sent => "Chỉ bên gửi nêu là đã gửi; chưa chứng minh được văn bản đã rời bên gửi",
            Self::Relayed => "Trục xác nhận đã nhận; chưa chứng minh được nơi nhận đã nhận",
            Self::PassedOn => {
                "Bên gửi nêu đã chuyển sang trục hiện hành, nơi không có giấy báo nhận ký số; chưa chứng minh được nơi nhận đã nhận"
            }
            Self::Taken => {
                "Nơi nhận xác nhận đang giữ văn bản đã niêm phong; chưa chứng minh được đã mở. Nơi nhận không thể chối là đã nhận được gói"
            }
            Self::Failed => "Trục nêu là không giao được; xem lý do. Chưa có lời nào của nơi nhận",
            Self::NotOpened => {
                "Nơi nhận xác nhận đang giữ văn bản đã niêm phong nhưng không mở được hoặc không tiếp nhận nội dung; xem lý do. Nơi nhận không thể chối là đã nhận được gói"
            }
            Self::Consigned => "Nơi nhận xác nhận đã nhận và mở được văn bản. Nơi nhận không thể chối",
            Self::Refused => {
                "Nơi nhận đã nhận và mở được, hệ thống của nơi nhận từ chối. Nơi nhận không thể chối là đã nhận"
            }
            Self::HandedOver => {
                "Nơi nhận đã nhận, mở được, và hệ thống của nơi nhận đã tiếp nhận. Nơi nhận không thể chối"
            }
        }
    }
}

/// What is proven about one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// The recipient.
    pub recipient: AgencyId,
    /// Its official name, where a receipt of its own says it.
    pub name: Option<String>,
    /// How far it provably is.
    pub standing: Standing,
    /// The event that shows it, when there is one.
    pub shown_by: Option<ProvenEvent>,
    /// What does not go together in it.
    pub remarks: Vec<Remark>,
    /// Everything proven, the earliest first.
    pub events: Vec<ProvenEvent>,
    /// What it and the sender provably said of the document, the earliest first.
    pub statuses: Vec<ProvenStatus>,
}

/// At most so many events of one content that name no recipient are told: the earliest. A relay writes one, and one more after it was recovered.
const OF_ALL_MAX: usize = 64;

/// An event once, however many receipts prove it, with the earliest proof.
#[derive(Clone)]
struct Proof<'r> {
    summary: &'r ReceiptSummary,
    signed_at: Option<Timestamp>,
    proven_by: Option<Timestamp>,
    levels: BTreeSet<EvidenceLevel>,
    /// Whether a ledger with two histories is all that proves it.
    is_forked: bool,
}

impl<'r> Proof<'r> {
    fn of(summary: &'r ReceiptSummary, is_forked: bool) -> Self {
        let (signed_at, proven_by) = (summary.signed_at, summary.proven_by);
        Self { summary, signed_at, proven_by, levels: summary.levels.iter().copied().collect(), is_forked }
    }

    fn add(&mut self, other: &Self) {
        self.signed_at = self.signed_at.into_iter().chain(other.signed_at).min();
        self.proven_by = self.proven_by.into_iter().chain(other.proven_by).min();
        self.levels.extend(&other.levels);
        self.is_forked &= other.is_forked;
    }

    fn standing(&self) -> Standing {
        standing_of(self.summary)
    }

    fn is_own(&self) -> bool {
        self.summary.role == Role::Recipient
    }
}

/// Puts together what the valid ones of these receipts prove, all said to be about one envelope of one sender, and what the valid ones of these statuses say.
/// Nothing counts that is signed with a certificate which others of them, `together`, show to have been stopped.
#[must_use]
pub fn conclude<'r>(
    reports: impl IntoIterator<Item = &'r ReceiptReport>,
    statuses: &[StatusReport],
    together: &Together,
) -> Vec<Conclusion> {
    let mut proofs: Vec<Proof<'r>> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    for report in reports.into_iter().filter(|report| together.counts(report)) {
        let Some(summary) = &report.summary else { continue };
        let proof = Proof::of(summary, together.is_forked(report));
        match places.get(&summary.leaf_hash).and_then(|place| proofs.get_mut(*place)) {
            Some(known) => known.add(&proof),
            None => {
                places.insert(summary.leaf_hash, proofs.len());
                proofs.push(proof);
            }
        }
    }
    let all = All::of(&proofs);
    let mut conclusions: Vec<_> = all.recipients().into_iter().filter_map(|code| all.concluded(code)).collect();
    let said = said(statuses, together);
    for conclusion in &mut conclusions {
        let of_it = |status: &&ProvenStatus| [&status.from, &status.to].contains(&&conclusion.recipient);
        conclusion.statuses = said.iter().filter(of_it).cloned().collect();
    }
    conclusions
}

/// What agencies provably said, by time.
fn said(statuses: &[StatusReport], together: &Together) -> Vec<ProvenStatus> {
    let stands = statuses.iter().filter(|status| status.receipts.iter().all(|(_, report)| together.counts(report)));
    let proven = stands.filter_map(|status| {
        let mut proven = status.proven.clone()?;
        let is_forked = status.receipts.iter().any(|(_, report)| together.is_forked(report));
        proven.remarks.extend(is_forked.then_some(StepRemark::TwoHistories));
        Some(proven)
    });
    let mut said: Vec<_> = proven.collect();
    said.sort_by_key(|status| (status.time, status.sequence));
    said
}

/// Everything proven about one envelope id, by what it is about.
#[derive(Default)]
struct All<'p, 'r> {
    submissions: BTreeMap<Option<EnvelopeHashes>, &'p Proof<'r>>,
    /// Those that name an agency, the earliest first.
    naming: BTreeMap<&'r AgencyId, Vec<&'p Proof<'r>>>,
    /// What names nobody, but submissions: the relay's acceptance. The earliest first, so many of each content.
    of_all: BTreeMap<Option<EnvelopeHashes>, Vec<&'p Proof<'r>>>,
    named: BTreeMap<&'r AgencyId, Vec<&'p Proof<'r>>>,
}

impl<'p, 'r> All<'p, 'r> {
    fn of(proofs: &'p [Proof<'r>]) -> Self {
        let mut sorted: Vec<_> = proofs.iter().collect();
        sorted.sort_by_key(|proof| (proof.summary.time, proof.summary.leaf_hash));
        let mut all = Self::default();
        for proof in sorted {
            let Proof { summary, .. } = proof;
            match &summary.recipient {
                _ if is_submission(summary) => {
                    all.submissions.insert(summary.hashes, proof);
                    for code in summary.recipients.iter().chain(&summary.legacy) {
                        all.naming.entry(code).or_default().push(proof);
                    }
                }
                Some(recipient) => all.named.entry(recipient).or_default().push(proof),
                None => {
                    let of_one_content = all.of_all.entry(summary.hashes).or_default();
                    if of_one_content.len() < OF_ALL_MAX {
                        of_one_content.push(proof);
                    }
                }
            }
        }
        all
    }

    fn recipients(&self) -> BTreeSet<&'r AgencyId> {
        self.naming.keys().chain(self.named.keys()).copied().collect()
    }

    /// What is proven about one; none where only others name somebody whom the submission does not.
    fn concluded(&self, recipient: &'r AgencyId) -> Option<Conclusion> {
        let of =
            |some: &'_ BTreeMap<&'r AgencyId, Vec<&'p Proof<'r>>>| some.get(recipient).cloned().unwrap_or_default();
        let (named, naming) = (of(&self.named), of(&self.naming));
        let measure = self.measure(&named, &naming);
        let agrees = |proof: &&&Proof<'_>| proof.summary.hashes.is_none() || proof.summary.hashes == measure;
        let submission = measure.and_then(|_| self.submissions.get(&measure)).copied();
        let names_it =
            |found: &Proof<'_>| naming.iter().any(|proof| proof.summary.leaf_hash == found.summary.leaf_hash);
        let is_addressed = submission.is_none_or(names_it);
        let is_outside = submission.is_some_and(|found| found.summary.legacy.contains(recipient));
        let mut own = named.iter().filter(|proof| proof.is_own());
        if !is_addressed && !own.clone().any(|proof| agrees(&proof)) {
            return None;
        }
        // Of one whom the submission does not name its own word alone counts, and what was passed on went to an agency of today's axis.
        let counts = |proof: &&&Proof<'_>| {
            let is_passed_on = proof.summary.event == EventUri::RelayToNonErds;
            proof.is_own() || (is_addressed && (!is_passed_on || submission.is_none() || is_outside))
        };
        // What the relay has is not for those whom it never reaches.
        let reaches = |proof: &&&Proof<'_>| proof.summary.role != Role::Relay || !is_outside;
        let contents: BTreeSet<_> = [None, measure].into();
        let of_all = contents.iter().filter_map(|hashes| self.of_all.get(hashes)).flatten().filter(reaches);
        let told = named.iter().filter(agrees).filter(counts);
        let mut found: Vec<_> = submission.into_iter().chain(of_all.copied()).chain(told.copied()).collect();
        found.sort_by_key(|proof| (proof.summary.time, proof.standing(), proof.summary.leaf_hash));
        let mut told = concluded(recipient, &found);
        told.remarks.extend((self.submissions.len() > 1).then_some(Remark::TwoSubmissions));
        told.remarks.extend((!is_addressed).then_some(Remark::NotAddressed));
        let is_other = submission.is_none() && !naming.is_empty();
        told.remarks.extend((is_other || own.any(|proof| !agrees(&proof))).then_some(Remark::OtherContent));
        // A submission of another content is one, too.
        let is_sent = !naming.is_empty() || found.iter().any(|proof| proof.summary.role == Role::Sender);
        told.remarks.extend((!is_sent).then_some(Remark::NoSubmission));
        told.remarks.sort();
        Some(told)
    }

    /// Which of several contents is told of a recipient: that of its own word, first where it was sent to it; else the one sent to it of which others than
    /// the sender know; else the first sent to it; else what others say at all.
    fn measure(&self, named: &[&Proof<'_>], naming: &[&Proof<'_>]) -> Option<EnvelopeHashes> {
        let is_of = |one: &Proof<'_>, other: &Proof<'_>| one.summary.hashes == other.summary.hashes;
        let furthest = |own: &dyn Fn(&&&Proof<'_>) -> bool| {
            let own = named.iter().filter(|proof| proof.is_own()).filter(|proof| own(proof));
            own.max_by_key(|proof| (proof.standing(), proof.summary.time, proof.summary.leaf_hash)).copied()
        };
        let sent = furthest(&|proof| naming.iter().any(|found| is_of(found, proof)));
        let is_known = |found: &&&Proof<'_>| {
            let of_all = self.of_all.get(&found.summary.hashes).into_iter().flatten();
            of_all.chain(named).any(|proof| proof.summary.role != Role::Sender && is_of(found, proof))
        };
        let of_all = || self.of_all.keys().find_map(|hashes| *hashes);
        let own = sent.or_else(|| furthest(&|_| true));
        let found = own.or_else(|| naming.iter().find(is_known).or(naming.first()).copied());
        let found = found.and_then(|proof| proof.summary.hashes);
        found.or_else(|| named.iter().find_map(|proof| proof.summary.hashes)).or_else(of_all)
    }
}

fn concluded(recipient: &AgencyId, found: &[&Proof<'_>]) -> Conclusion {
    let own = found.iter().find(|proof| proof.summary.actor.as_ref() == Some(recipient));
    let name = own.and_then(|proof| proof.summary.actor_name.clone());
    // The earliest statement of each step: a relay that was recovered states its own once more.
    let mut steps: BTreeMap<u8, Timestamp> = BTreeMap::new();
    for proof in found.iter().filter(|proof| leads(proof.summary)) {
        let earliest = steps.entry(step_of(proof.summary)).or_insert(proof.summary.time);
        *earliest = proof.summary.time.min(*earliest);
    }
    let events: Vec<_> = found.iter().map(|proof| event_of(proof, &steps)).collect();
    let shown = found.iter().zip(&events).max_by_key(|(proof, _)| (proof.standing(), proof.summary.time));
    Conclusion {
        recipient: recipient.clone(),
        name,
        standing: shown.map_or(Standing::Nothing, |(proof, _)| proof.standing()),
        shown_by: shown.map(|(_, event)| event.clone()),
        remarks: remarks(found),
        events,
        statuses: Vec::new(),
    }
}

fn event_of(proof: &Proof<'_>, steps: &BTreeMap<u8, Timestamp>) -> ProvenEvent {
    let Proof { summary, signed_at, proven_by, levels, .. } = proof;
    let mut before = steps.range(..step_of(summary));
    let is_early = before.any(|(_, time)| *time > summary.time + skew());
    let found =
        [(is_early, StepRemark::OutOfOrder), (is_late(summary.time, proven_by.or(*signed_at)), StepRemark::ProvenLate)];
    ProvenEvent {
        event: summary.event,
        role: summary.role,
        actor: summary.actor.clone(),
        node: summary.node.clone(),
        time: summary.time,
        reason: summary.reason,
        successor: summary.successor.clone(),
        signed_at: *signed_at,
        proven_by: *proven_by,
        levels: levels.iter().copied().collect(),
        remarks: found.into_iter().filter_map(|(is, remark)| is.then_some(remark)).collect(),
    }
}

/// Whether something was stated, signed or proven long after the time that it names.
pub(super) fn is_late(named: Timestamp, proven: Option<Timestamp>) -> bool {
    let most = Duration::from_millis(u64::try_from(PROVEN_LATE_MS).unwrap_or_default());
    proven.is_some_and(|proven| proven > named + most)
}

fn remarks(found: &[&Proof<'_>]) -> Vec<Remark> {
    let any = |wanted: EventUri| found.iter().any(|proof| proof.summary.event == wanted);
    let is_own = found.iter().any(|proof| proof.is_own());
    let took = found.iter().filter(|proof| proof.summary.event == EventUri::ContentHandover);
    let took = took.map(|proof| proof.summary.time).min();
    let refused_later = |proof: &&Proof<'_>| {
        proof.summary.event == EventUri::ContentHandoverFailure && took.is_some_and(|took| proof.summary.time > took)
    };
    let opened = any(EventUri::ContentConsignment) || any(EventUri::ReceivedFromNonErds);
    let all = [
        (found.iter().any(|proof| proof.is_forked), Remark::TwoHistories),
        (is_own && any(EventUri::RelayRejection), Remark::RelayDenies),
        (is_own && any(EventUri::RelayFailure), Remark::DeliveredLate),
        (opened && any(EventUri::ContentConsignmentFailure), Remark::OpenedAndNot),
        (found.iter().any(refused_later), Remark::TookAndRefused),
    ];
    all.into_iter().filter_map(|(is, remark)| is.then_some(remark)).collect()
}

/// How far an event shows its recipient to be. From `Taken` on it is the recipient itself that states it.
const fn standing_of(summary: &ReceiptSummary) -> Standing {
    match (summary.event, summary.role) {
        (EventUri::ContentHandover, _) => Standing::HandedOver,
        (EventUri::ContentHandoverFailure, _) => Standing::Refused,
        (EventUri::ContentConsignment | EventUri::ReceivedFromNonErds, _) => Standing::Consigned,
        (EventUri::ContentConsignmentFailure, _) => Standing::NotOpened,
        (EventUri::RelayAcceptance, Role::Recipient) => Standing::Taken,
        (EventUri::RelayToNonErds, _) => Standing::PassedOn,
        (EventUri::RelayRejection | EventUri::RelayFailure, _) => Standing::Failed,
        (EventUri::RelayAcceptance, _) => Standing::Relayed,
        (EventUri::SubmissionAcceptance, _) => Standing::Sent,
        (EventUri::SubmissionRejection, _) => Standing::NotSent,
    }
}

/// Which step of the way an event is.
const fn step_of(summary: &ReceiptSummary) -> u8 {
    match (summary.event, summary.role) {
        (EventUri::SubmissionAcceptance | EventUri::SubmissionRejection, _) => 0,
        (EventUri::RelayAcceptance, Role::Recipient) | (EventUri::ReceivedFromNonErds | EventUri::RelayFailure, _) => 2,
        (EventUri::RelayAcceptance | EventUri::RelayRejection | EventUri::RelayToNonErds, _) => 1,
        (EventUri::ContentConsignment | EventUri::ContentConsignmentFailure, _) => 3,
        (EventUri::ContentHandover | EventUri::ContentHandoverFailure, _) => 4,
    }
}

/// Whether another step can only come behind it.
const fn leads(summary: &ReceiptSummary) -> bool {
    matches!(
        summary.event,
        EventUri::SubmissionAcceptance
            | EventUri::RelayAcceptance
            | EventUri::ReceivedFromNonErds
            | EventUri::ContentConsignment
            | EventUri::ContentHandover
    )
}
