//! What valid receipts prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use truc_proto::{AgencyId, EventUri, NodeId, Reason, Role, Timestamp, limits::PROVEN_LATE_MS};

use super::{ProvenStatus, StatusReport, Together, agreement::agreeing};
use crate::{EvidenceLevel, ReceiptReport, ReceiptSummary, ReceiptVerdict, directory::skew};

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

/// What is strange about an event, or about a business status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StepRemark {
    /// A step before it names a later time.
    OutOfOrder,
    /// It was signed, or is proven to have been there, only long after.
    ProvenLate,
    /// A status that the other side of the document sets.
    WrongSide,
}

impl StepRemark {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out-of-order",
            Self::ProvenLate => "proven-late",
            Self::WrongSide => "wrong-side",
        }
    }

    /// What it means and what to do, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::OutOfOrder => {
                "this time lies before that of the step before it: a clock was wrong, or the time is not true; ask who states it"
            }
            Self::ProvenLate => {
                "signed, or proven to have been there, only long after the time it names; do not rely on that time alone"
            }
            Self::WrongSide => {
                "this status is for the other side of the document to set: it is what that agency said, and changes nothing"
            }
        }
    }

    /// What it means and what to do, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::OutOfOrder => {
                "giờ này sớm hơn giờ của bước trước đó: có đồng hồ sai hoặc giờ nêu không đúng; hỏi lại bên nêu"
            }
            Self::ProvenLate => {
                "chỉ được ký, hoặc chỉ chứng minh được là đã có, muộn hơn nhiều so với giờ tự nêu; không dựa riêng vào giờ đó"
            }
            Self::WrongSide => {
                "trạng thái này do bên kia của văn bản đặt: cơ quan đó có nêu như vậy, nhưng không làm thay đổi gì"
            }
        }
    }
}

/// What does not go together in what is proven about a recipient.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Remark {
    /// No word of the sender is among it.
    NoSubmission,
    /// The relay denies what the recipient states.
    RelayDenies,
    /// The recipient states that it could open it, and that it could not.
    OpenedAndNot,
    /// The recipient's document system took it, and refused it later.
    TookAndRefused,
}

impl Remark {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSubmission => "no-submission",
            Self::RelayDenies => "relay-denies",
            Self::OpenedAndNot => "opened-and-not",
            Self::TookAndRefused => "took-and-refused",
        }
    }

    /// What it means and what to do, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::NoSubmission => {
                "There is no receipt of the sender here: that it sent this is the word of others; where that matters, ask the sender"
            }
            Self::RelayDenies => {
                "The relay states that it was not delivered, the recipient's own signed word that it has it: the recipient's word counts; ask both why they differ"
            }
            Self::OpenedAndNot => {
                "The recipient states both that it opened the document and that it could not: ask the recipient which holds"
            }
            Self::TookAndRefused => {
                "The recipient states that its document system took it, and later that it refused it: ask the recipient which holds"
            }
        }
    }

    /// What it means and what to do, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::NoSubmission => {
                "Ở đây không có biên nhận của bên gửi: việc bên đó đã gửi chỉ là lời của bên khác; khi cần hãy hỏi bên gửi"
            }
            Self::RelayDenies => {
                "Trục nêu không giao được, còn chính nơi nhận ký xác nhận đã nhận: tính theo lời nơi nhận; hãy hỏi cả hai bên vì sao khác nhau"
            }
            Self::OpenedAndNot => {
                "Nơi nhận vừa nêu đã mở được vừa nêu không mở được văn bản: hãy hỏi nơi nhận lời nào đúng"
            }
            Self::TookAndRefused => {
                "Nơi nhận nêu hệ thống đã tiếp nhận, sau đó lại nêu hệ thống từ chối: hãy hỏi nơi nhận lời nào đúng"
            }
        }
    }
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

/// Puts together what the valid ones of these receipts prove, all said to be about one envelope of one sender, and what the valid ones of these statuses say.
/// Nothing counts that others of them `together` speak against, nor what does not agree on what the envelope is.
#[must_use]
pub fn conclude<'r>(
    reports: impl IntoIterator<Item = &'r ReceiptReport>,
    statuses: &[StatusReport],
    together: &Together,
) -> Vec<Conclusion> {
    let counts = |report: &&ReceiptReport| report.verdict == ReceiptVerdict::Valid && together.counts(report);
    let valid = reports.into_iter().filter(counts).filter_map(|report| report.summary.as_ref());
    let agreed = agreeing(valid.collect());
    let addressed = agreed.iter().flat_map(|summary| summary.recipients.iter().chain(&summary.legacy));
    let named = agreed.iter().filter_map(|summary| summary.recipient.as_ref());
    let mut found: BTreeMap<&AgencyId, Vec<&ReceiptSummary>> =
        addressed.chain(named).map(|code| (code, Vec::new())).collect();
    let outside: BTreeSet<&AgencyId> = agreed.iter().flat_map(|summary| &summary.legacy).collect();
    for summary in &agreed {
        match &summary.recipient {
            Some(recipient) => found.entry(recipient).or_default().push(summary),
            // The submission is about everybody; what the relay has of it is not for those whom it never reaches.
            None => found
                .iter_mut()
                .filter(|(code, _)| summary.role != Role::Relay || !outside.contains(*code))
                .for_each(|(_, events)| events.push(summary)),
        }
    }
    let mut conclusions: Vec<_> = found.into_iter().map(|(recipient, events)| concluded(recipient, events)).collect();
    let stands = |status: &&StatusReport| status.receipts.iter().all(|(_, report)| together.counts(report));
    let said: Vec<_> = statuses.iter().filter(stands).filter_map(|status| status.proven.as_ref()).collect();
    add_statuses(&mut conclusions, &said);
    conclusions
}

/// Tells statuses with the recipients that they are of, the earliest first. They change nothing of where one stands.
fn add_statuses(conclusions: &mut [Conclusion], statuses: &[&ProvenStatus]) {
    for conclusion in conclusions {
        let of_it = |status: &&&ProvenStatus| [&status.from, &status.to].contains(&&conclusion.recipient);
        conclusion.statuses = statuses.iter().filter(of_it).map(|status| (**status).clone()).collect();
        conclusion.statuses.sort_by_key(|status| (status.time, status.sequence));
    }
}

fn concluded(recipient: &AgencyId, mut found: Vec<&ReceiptSummary>) -> Conclusion {
    found.sort_by_key(|summary| (summary.time, standing_of(summary)));
    let own = found.iter().find(|summary| summary.actor.as_ref() == Some(recipient));
    let name = own.and_then(|summary| summary.actor_name.clone());
    let events: Vec<_> = found.iter().map(|summary| event_of(summary, &found)).collect();
    let shown = found.iter().zip(&events).max_by_key(|(summary, _)| (standing_of(summary), summary.time));
    Conclusion {
        recipient: recipient.clone(),
        name,
        standing: shown.map_or(Standing::Nothing, |(summary, _)| standing_of(summary)),
        shown_by: shown.map(|(_, event)| event.clone()),
        remarks: remarks(&found),
        events,
        statuses: Vec::new(),
    }
}

fn event_of(summary: &ReceiptSummary, all: &[&ReceiptSummary]) -> ProvenEvent {
    ProvenEvent {
        event: summary.event,
        role: summary.role,
        actor: summary.actor.clone(),
        node: summary.node.clone(),
        time: summary.time,
        reason: summary.reason,
        successor: summary.successor.clone(),
        signed_at: summary.signed_at,
        proven_by: summary.proven_by,
        levels: summary.levels.clone(),
        remarks: time_remarks(summary, all),
    }
}

fn time_remarks(summary: &ReceiptSummary, all: &[&ReceiptSummary]) -> Vec<StepRemark> {
    let place = step_of(summary);
    let before = |other: &&&ReceiptSummary| leads(other) && step_of(other) < place;
    let is_early = all.iter().filter(before).any(|other| other.time > summary.time + skew());
    let is_late = is_late(summary.time, summary.proven_by.or(summary.signed_at));
    let found = [(is_early, StepRemark::OutOfOrder), (is_late, StepRemark::ProvenLate)];
    found.into_iter().filter_map(|(is, remark)| is.then_some(remark)).collect()
}

/// Whether something was stated, signed or proven long after the time that it names.
pub(super) fn is_late(named: Timestamp, proven: Option<Timestamp>) -> bool {
    let most = Duration::from_millis(u64::try_from(PROVEN_LATE_MS).unwrap_or_default());
    proven.is_some_and(|proven| proven > named + most)
}

fn remarks(found: &[&ReceiptSummary]) -> Vec<Remark> {
    let any = |wanted: &[Standing]| found.iter().any(|summary| wanted.contains(&standing_of(summary)));
    let took =
        found.iter().filter(|summary| summary.event == EventUri::ContentHandover).map(|summary| summary.time).min();
    let refused_later = |summary: &&ReceiptSummary| {
        summary.event == EventUri::ContentHandoverFailure && took.is_some_and(|took| summary.time > took)
    };
    let all = [
        (!any(&[Standing::Sent]), Remark::NoSubmission),
        (any(&[Standing::Failed]) && found.iter().any(|summary| summary.role == Role::Recipient), Remark::RelayDenies),
        (any(&[Standing::Consigned]) && any(&[Standing::NotOpened]), Remark::OpenedAndNot),
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
