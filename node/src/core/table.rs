//! How a document's state moves, per recipient: one closed table, on the sender's side and on the recipient's.
//!
//! Evidence may come in any order and more than once; the outcome depends only on which events came.

use serde::{Deserialize, Serialize};
use truc_proto::{EventUri, Role, StatusCode};

/// Where a document of ours stands with one recipient. Rises; `Failed` stands aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PairState {
    /// On our device, not signed yet.
    Held,
    /// Sealed and accepted by this node.
    Sealed,
    /// The relay has it.
    Relayed,
    /// The recipient's node has the sealed envelope.
    Taken,
    /// Handed over to today's axis, unsealed: nothing signed comes from there.
    PassedOn,
    /// The recipient's node opened it and made it available.
    Consigned,
    /// The recipient's document system took it.
    HandedOver,
    /// It failed, with a reason.
    Failed,
}

impl PairState {
    /// The word of the local API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Sealed => "sealed",
            Self::Relayed => "relayed",
            Self::Taken => "taken",
            Self::PassedOn => "passed-on",
            Self::Consigned => "consigned",
            Self::HandedOver => "handed-over",
            Self::Failed => "failed",
        }
    }

    /// True when nothing more has to be sent for this recipient: passed on, consigned, handed over or failed.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::PassedOn | Self::Consigned | Self::HandedOver | Self::Failed)
    }
}

/// What an event does to a recipient's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// To this state.
    To(PairState),
    /// Known or overtaken: kept as evidence, changes nothing.
    Stay,
    /// Not an event that is written in this role.
    Refused,
}

/// The table for what we sent.
#[must_use]
pub fn pair_move(from: PairState, event: EventUri, role: Role) -> Move {
    use {EventUri as E, PairState as S};
    let rise = |to: S| if from < to { Move::To(to) } else { Move::Stay };
    let fail = |unless: S| if from < unless { Move::To(S::Failed) } else { Move::Stay };
    match (event, role) {
        (E::SubmissionAcceptance, Role::Sender) => rise(S::Sealed),
        (E::RelayToNonErds, Role::Sender) => rise(S::PassedOn),
        (E::RelayAcceptance, Role::Relay) => rise(S::Relayed),
        (E::RelayAcceptance, Role::Recipient) => rise(S::Taken),
        // After a failure it counts, as delivered late: both events stay.
        (E::ContentConsignment, Role::Recipient) if from == S::Failed => Move::To(S::Consigned),
        (E::ContentConsignment | E::RelayToNonErds, Role::Recipient) => rise(S::Consigned),
        (E::ContentHandover, Role::Recipient) if from != S::HandedOver => Move::To(S::HandedOver),
        (E::ContentHandover, Role::Recipient) => Move::Stay,
        (E::SubmissionRejection, Role::Sender) => fail(S::Relayed),
        (E::RelayRejection | E::RelayFailure, Role::Relay) | (E::ContentConsignmentFailure, Role::Recipient) => {
            fail(S::Consigned)
        }
        (E::ContentHandoverFailure, Role::Recipient) => fail(S::HandedOver),
        _ => Move::Refused,
    }
}

/// Where a received document stands with one of our codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum CodeState {
    /// Sealed envelope on our device, its RelayAcceptance journaled.
    Taken,
    /// Opened, checked, available.
    Consigned,
    /// Could not be opened, or was refused.
    Failed,
    /// The document system took it.
    HandedOver,
    /// The document system refused it.
    HandoverFailed,
}

/// The table for what we received; `None`: not allowed from there.
#[must_use]
pub const fn code_move(from: Option<CodeState>, event: EventUri) -> Option<CodeState> {
    use {CodeState as S, EventUri as E};
    match (from, event) {
        (None, E::RelayAcceptance) => Some(S::Taken),
        (Some(S::Taken), E::ContentConsignment) => Some(S::Consigned),
        (Some(S::Taken), E::ContentConsignmentFailure) => Some(S::Failed),
        (Some(S::Consigned | S::HandoverFailed), E::ContentHandover) => Some(S::HandedOver),
        (Some(S::Consigned), E::ContentHandoverFailure) => Some(S::HandoverFailed),
        _ => None,
    }
}

/// Why a business status may not be set now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StatusRefused {
    /// Set by the wrong side.
    #[error("status {0} is set by the other side of the document: 13 by its sender, all others by its receiver")]
    WrongSide(StatusCode),
    /// Not after what was said before.
    #[error("status {now} cannot follow {before}: statuses never go backwards, and 02 and 06 are final")]
    Backwards {
        /// The last one set by this side.
        before: StatusCode,
        /// The one refused.
        now: StatusCode,
    },
    /// Nobody asked.
    #[error("status {0} answers a request to withdraw (13), and none is open")]
    NothingAsked(StatusCode),
    /// One request is open already.
    #[error("a request to withdraw (13) is open already; wait for its answer (15 or 16)")]
    AskedAlready,
    /// Withdrawn.
    #[error("the document was withdrawn by agreement (15): no further status can be set")]
    Closed,
    /// No such document, or not with these two agencies.
    #[error("this node knows no such document between these two agencies; check the envelope id and both codes")]
    NoSuchDocument,
}

impl StatusRefused {
    /// The same for people who read Vietnamese.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::WrongSide(code) => {
                format!("Trạng thái {code} do bên kia của văn bản đặt: 13 do bên gửi, các trạng thái khác do bên nhận.")
            }
            Self::Backwards { before, now } => format!(
                "Trạng thái {now} không thể đứng sau {before}: trạng thái không quay lui, 02 và 06 là trạng thái cuối."
            ),
            Self::NothingAsked(code) => {
                format!("Trạng thái {code} trả lời yêu cầu lấy lại (13), nhưng không có yêu cầu nào đang chờ.")
            }
            Self::AskedAlready => "Đã có một yêu cầu lấy lại (13) đang chờ; đợi trả lời (15 hoặc 16).".to_owned(),
            Self::Closed => "Văn bản đã được lấy lại theo thỏa thuận (15): không đặt thêm trạng thái nữa.".to_owned(),
            Self::NoSuchDocument => {
                "Nút này không có văn bản đó giữa hai cơ quan; kiểm tra mã gói tin và mã hai cơ quan.".to_owned()
            }
        }
    }
}

/// Whether a withdrawal is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Withdrawal {
    /// Never asked, or refused: may be asked (again).
    #[default]
    None,
    /// 13 stands unanswered.
    Asked,
    /// 15: the document is closed.
    Agreed,
}

/// The table of business statuses: may `now` be said after `before` (last of the receiver's 01 … 06)?
///
/// # Errors
/// [`StatusRefused`] says why not.
pub fn check_status(
    before: Option<StatusCode>,
    withdrawal: Withdrawal,
    now: StatusCode,
    by_sender: bool,
) -> Result<(), StatusRefused> {
    use StatusCode as C;
    if now.is_from_sender() != by_sender {
        return Err(StatusRefused::WrongSide(now));
    }
    match (now, withdrawal) {
        (_, Withdrawal::Agreed) => Err(StatusRefused::Closed),
        (C::WithdrawalRequested, Withdrawal::Asked) => Err(StatusRefused::AskedAlready),
        (C::WithdrawalRequested, Withdrawal::None) => Ok(()),
        (C::WithdrawalAgreed | C::WithdrawalRefused, Withdrawal::Asked) => Ok(()),
        (C::WithdrawalAgreed | C::WithdrawalRefused, Withdrawal::None) => Err(StatusRefused::NothingAsked(now)),
        _ => match before {
            Some(before) if !follows(before, now) => Err(StatusRefused::Backwards { before, now }),
            _ => Ok(()),
        },
    }
}

/// 01 → 02 or 03 → 04 → 05 → 06; skips are allowed.
fn follows(before: StatusCode, now: StatusCode) -> bool {
    use StatusCode as C;
    match before {
        C::Refused | C::Done => false,
        C::Arrived => now > C::Arrived,
        _ => now > before && now != C::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PairState as S;

    #[test]
    fn events_in_any_order_end_in_the_same_state() {
        let ladder = [
            (EventUri::SubmissionAcceptance, Role::Sender),
            (EventUri::RelayAcceptance, Role::Relay),
            (EventUri::RelayAcceptance, Role::Recipient),
            (EventUri::ContentConsignment, Role::Recipient),
            (EventUri::ContentHandover, Role::Recipient),
        ];
        for rotation in 0..ladder.len() {
            for reverse in [false, true] {
                let mut order = ladder;
                order.rotate_left(rotation);
                if reverse {
                    order.reverse();
                }
                let end = order.iter().chain(&ladder).fold(S::Sealed, |state, (event, role)| {
                    match pair_move(state, *event, *role) {
                        Move::To(next) => next,
                        Move::Stay => state,
                        Move::Refused => panic!("{event:?} {role:?}"),
                    }
                });
                assert_eq!(end, S::HandedOver);
            }
        }
    }

    #[test]
    fn a_failure_does_not_undo_a_delivery_and_a_late_delivery_counts() {
        assert_eq!(pair_move(S::Consigned, EventUri::RelayFailure, Role::Relay), Move::Stay);
        assert_eq!(pair_move(S::HandedOver, EventUri::ContentConsignmentFailure, Role::Recipient), Move::Stay);
        assert_eq!(pair_move(S::Failed, EventUri::ContentConsignment, Role::Recipient), Move::To(S::Consigned));
        assert_eq!(pair_move(S::Failed, EventUri::RelayAcceptance, Role::Relay), Move::Stay);
    }

    #[test]
    fn every_event_and_role_that_no_statement_may_pair_is_refused() {
        assert_eq!(pair_move(S::Sealed, EventUri::ContentConsignment, Role::Relay), Move::Refused);
        assert_eq!(pair_move(S::Sealed, EventUri::RelayFailure, Role::Recipient), Move::Refused);
        assert_eq!(pair_move(S::Sealed, EventUri::RelayAcceptance, Role::Sender), Move::Refused);
    }

    #[test]
    fn a_document_is_handed_over_at_most_once() {
        let mut state = code_move(None, EventUri::RelayAcceptance);
        state = code_move(state, EventUri::ContentConsignment);
        state = code_move(state, EventUri::ContentHandover);
        assert_eq!(state, Some(CodeState::HandedOver));
        for event in EventUri::ALL {
            assert_eq!(code_move(state, *event), None, "{event:?}");
        }
        assert_eq!(code_move(Some(CodeState::Failed), EventUri::ContentHandover), None);
    }

    #[test]
    fn business_statuses_skip_but_never_go_back() {
        use StatusCode as C;
        let ok = |before, now| check_status(before, Withdrawal::None, now, false).is_ok();
        assert!(ok(None, C::Arrived) && ok(None, C::Done) && ok(Some(C::Arrived), C::Refused));
        assert!(ok(Some(C::Accepted), C::InProgress) && ok(Some(C::Accepted), C::Done));
        assert!(
            !ok(Some(C::Accepted), C::Arrived) && !ok(Some(C::Accepted), C::Refused) && !ok(Some(C::Done), C::Done)
        );
        assert!(!ok(Some(C::Refused), C::Accepted) && !ok(Some(C::InProgress), C::Assigned));
    }

    #[test]
    fn a_withdrawal_is_asked_by_the_sender_and_answered_once() {
        use StatusCode as C;
        let check = |withdrawal, now, by_sender| check_status(Some(C::Done), withdrawal, now, by_sender);
        assert_eq!(check(Withdrawal::None, C::WithdrawalRequested, true), Ok(()));
        assert!(matches!(check(Withdrawal::None, C::WithdrawalRequested, false), Err(StatusRefused::WrongSide(_))));
        assert_eq!(check(Withdrawal::Asked, C::WithdrawalRequested, true), Err(StatusRefused::AskedAlready));
        assert_eq!(check(Withdrawal::Asked, C::WithdrawalAgreed, false), Ok(()));
        assert!(matches!(check(Withdrawal::None, C::WithdrawalRefused, false), Err(StatusRefused::NothingAsked(_))));
        assert_eq!(check(Withdrawal::Agreed, C::Accepted, false), Err(StatusRefused::Closed));
    }
}
