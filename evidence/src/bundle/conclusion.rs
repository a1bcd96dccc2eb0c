//! What valid receipts prove together, recipient by recipient.

use std::collections::BTreeMap;

use truc_proto::{AgencyId, EventUri, NodeId, Reason, Role, Timestamp};

use super::ProvenStatus;
use crate::{EvidenceLevel, ReceiptReport, ReceiptSummary, ReceiptVerdict};

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
    /// What its receipt rests on.
    pub levels: Vec<EvidenceLevel>,
}

/// How far a recipient provably is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Nothing of it is proven.
    Nothing,
    /// The sender stated that it sent.
    Sent,
    /// The relay has it.
    Relayed,
    /// Handed over to today's axis, where nothing is signed.
    PassedOn,
    /// The recipient's node has the sealed envelope.
    Taken,
    /// It ended without reaching the recipient; who says so stands with it.
    Failed,
    /// The recipient opened it and found it whole.
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
            Self::Sent => "sent",
            Self::Relayed => "relayed",
            Self::PassedOn => "passed-on",
            Self::Taken => "taken",
            Self::Failed => "failed",
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
            Self::Sent => "The sender alone says that it was sent; whether it left is not proven",
            Self::Relayed => "The relay states that it has it; whether the recipient got it is not proven",
            Self::PassedOn => {
                "The sender states that it handed it over to today's axis, where nothing is signed; whether the recipient got it is not proven"
            }
            Self::Taken => {
                "The recipient states that it holds the sealed document; that it could open it is not proven. It cannot deny having it"
            }
            Self::Failed => "It was not delivered; see who says so, and why",
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
            Self::Sent => "Chỉ bên gửi nêu là đã gửi; chưa chứng minh được văn bản đã rời bên gửi",
            Self::Relayed => "Trục xác nhận đã nhận; chưa chứng minh được nơi nhận đã nhận",
            Self::PassedOn => {
                "Bên gửi nêu đã chuyển sang trục hiện hành, nơi không có giấy báo nhận ký số; chưa chứng minh được nơi nhận đã nhận"
            }
            Self::Taken => {
                "Nơi nhận xác nhận đang giữ văn bản đã niêm phong; chưa chứng minh được đã mở. Nơi nhận không thể chối là đã nhận được gói"
            }
            Self::Failed => "Văn bản không đến nơi; xem bên nào nêu và lý do",
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
    /// Everything proven, the earliest first.
    pub events: Vec<ProvenEvent>,
    /// What it and the sender provably said of the document, the earliest first.
    pub statuses: Vec<ProvenStatus>,
}

/// Adds what statuses prove to the recipients that they are of, the earliest first. It changes nothing of where they stand.
pub fn add_statuses(conclusions: &mut [Conclusion], statuses: &[&ProvenStatus]) {
    for conclusion in conclusions {
        let of_it = |status: &&&ProvenStatus| [&status.from, &status.to].contains(&&conclusion.recipient);
        conclusion.statuses = statuses.iter().filter(of_it).map(|status| (**status).clone()).collect();
        conclusion.statuses.sort_by_key(|status| (status.time, status.sequence));
    }
}

/// Puts together what the valid ones of these receipts prove, all about one envelope. Receipts that are not valid prove nothing here.
#[must_use]
pub fn conclude<'r>(reports: impl IntoIterator<Item = &'r ReceiptReport>) -> Vec<Conclusion> {
    let valid: Vec<&ReceiptSummary> = reports
        .into_iter()
        .filter(|report| report.verdict == ReceiptVerdict::Valid)
        .filter_map(|report| report.summary.as_ref())
        .collect();
    let addressed = valid.iter().flat_map(|summary| &summary.recipients);
    let named = valid.iter().filter_map(|summary| summary.recipient.as_ref());
    let mut found: BTreeMap<&AgencyId, Vec<&ReceiptSummary>> =
        addressed.chain(named).map(|code| (code, Vec::new())).collect();
    for summary in &valid {
        match &summary.recipient {
            Some(recipient) => found.entry(recipient).or_default().push(summary),
            // The submission and the relay's acceptance are about everybody.
            None => found.values_mut().for_each(|events| events.push(summary)),
        }
    }
    found.into_iter().map(|(recipient, events)| concluded(recipient, events)).collect()
}

fn concluded(recipient: &AgencyId, mut found: Vec<&ReceiptSummary>) -> Conclusion {
    found.sort_by_key(|summary| (summary.time, step_of(summary.event, summary.role)));
    let own = found.iter().find(|summary| summary.actor.as_ref() == Some(recipient));
    let name = own.and_then(|summary| summary.actor_name.clone());
    let shown = found.iter().max_by_key(|summary| (step_of(summary.event, summary.role), summary.time));
    Conclusion {
        recipient: recipient.clone(),
        name,
        standing: shown.map_or(Standing::Nothing, |summary| step_of(summary.event, summary.role)),
        shown_by: shown.map(|summary| event_of(summary)),
        events: found.iter().map(|summary| event_of(summary)).collect(),
        statuses: Vec::new(),
    }
}

fn event_of(summary: &ReceiptSummary) -> ProvenEvent {
    ProvenEvent {
        event: summary.event,
        role: summary.role,
        actor: summary.actor.clone(),
        node: summary.node.clone(),
        time: summary.time,
        reason: summary.reason,
        successor: summary.successor.clone(),
        levels: summary.levels.clone(),
    }
}

/// How far an event shows its recipient to be.
const fn step_of(event: EventUri, role: Role) -> Standing {
    match (event, role) {
        (EventUri::ContentHandover, _) => Standing::HandedOver,
        (EventUri::ContentHandoverFailure, _) => Standing::Refused,
        (EventUri::ContentConsignment | EventUri::ReceivedFromNonErds, _) => Standing::Consigned,
        (EventUri::RelayAcceptance, Role::Recipient) => Standing::Taken,
        (EventUri::RelayAcceptance, _) => Standing::Relayed,
        (EventUri::RelayToNonErds, _) => Standing::PassedOn,
        (EventUri::SubmissionAcceptance, _) => Standing::Sent,
        (
            EventUri::SubmissionRejection
            | EventUri::RelayRejection
            | EventUri::RelayFailure
            | EventUri::ContentConsignmentFailure,
            _,
        ) => Standing::Failed,
    }
}
