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
        (E::ContentConsignment, Role::Recipient) => rise(S::Consigned),
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
        (None, E::ReceivedFromNonErds) => Some(S::Consigned),
        (Some(S::Taken), E::ContentConsignment) => Some(S::Consigned),
        (Some(S::Taken), E::ContentConsignmentFailure) => Some(S::Failed),
        (Some(S::Consigned | S::HandoverFailed), E::ContentHandover) => Some(S::HandedOver),
        (Some(S::Consigned), E::ContentHandoverFailure) => Some(S::HandoverFailed),
        _ => None,
    }
}

/// Why a business status may not be set now, or changes nothing when it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StatusRefused {
    /// Nobody says what it means.
    #[error(
        "status {0} has no meaning on the axis: it is shown when it comes, and not set; use 01 to 06, 13, 15 or 16"
    )]
    Unknown(StatusCode),
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
    #[error("status {0} answers a request to withdraw (13) or an update, and none is open")]
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
            Self::Unknown(code) => format!(
                "Trạng thái {code} không có nghĩa trên trục: nhận được thì hiển thị, không được đặt; dùng 01 đến 06, 13, 15 hoặc 16."
            ),
            Self::WrongSide(code) => {
                format!("Trạng thái {code} do bên kia của văn bản đặt: 13 do bên gửi, các trạng thái khác do bên nhận.")
            }
            Self::Backwards { before, now } => format!(
                "Trạng thái {now} không thể đứng sau {before}: trạng thái không quay lui, 02 và 06 là trạng thái cuối."
            ),
            Self::NothingAsked(code) => {
                format!(
                    "Trạng thái {code} trả lời yêu cầu lấy lại (13) hoặc cập nhật, nhưng không có yêu cầu nào đang chờ."
                )
            }
            Self::AskedAlready => "Đã có một yêu cầu lấy lại (13) đang chờ; đợi trả lời (15 hoặc 16).".to_owned(),
            Self::Closed => "Văn bản đã được lấy lại theo thỏa thuận (15): không đặt thêm trạng thái nữa.".to_owned(),
            Self::NoSuchDocument => {
                "Nút này không có văn bản đó giữa hai cơ quan; kiểm tra mã gói tin và mã hai cơ quan.".to_owned()
            }
        }
    }
}

/// What a sender asked of a recipient and what it was answered: to give the document back (13), or to take one that changes an
/// earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Asking {
    /// Never asked.
    #[default]
    None,
    /// It stands unanswered.
    Asked,
    /// 15.
    Agreed,
    /// 16.
    Refused,
}

impl Asking {
    /// The word of the local API; empty when nothing was asked.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Asked => "asked",
            Self::Agreed => "agreed",
            Self::Refused => "refused",
        }
    }
}

/// Where a document stands between its sender and one recipient, as far as the next status depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Last of the receiver's 01 … 06.
    pub progress: Option<StatusCode>,
    /// Of the document itself; agreed, it is closed.
    pub withdrawal: Asking,
    /// Of what the document does to an earlier one, when it does.
    pub change: Asking,
}

/// The closed table of business statuses, for those that we set and those that come: where the document stands after `now`.
///
/// # Errors
/// [`StatusRefused`] says why it may not be set; one that comes all the same changes nothing.
pub fn status_move(from: Standing, now: StatusCode, by_sender: bool) -> Result<Standing, StatusRefused> {
    use StatusCode as C;
    if !now.is_known() {
        return Err(StatusRefused::Unknown(now));
    }
    if now.is_from_sender() != by_sender {
        return Err(StatusRefused::WrongSide(now));
    }
    if from.withdrawal == Asking::Agreed {
        return Err(StatusRefused::Closed);
    }
    let answered = if now == C::WithdrawalAgreed { Asking::Agreed } else { Asking::Refused };
    match now {
        C::WithdrawalRequested if from.withdrawal == Asking::Asked => Err(StatusRefused::AskedAlready),
        C::WithdrawalRequested => Ok(Standing { withdrawal: Asking::Asked, ..from }),
        // A request to withdraw is about the update, too: it is answered first.
        C::WithdrawalAgreed | C::WithdrawalRefused if from.withdrawal == Asking::Asked => {
            Ok(Standing { withdrawal: answered, ..from })
        }
        C::WithdrawalAgreed | C::WithdrawalRefused if from.change == Asking::Asked => {
            Ok(Standing { change: answered, ..from })
        }
        C::WithdrawalAgreed | C::WithdrawalRefused => Err(StatusRefused::NothingAsked(now)),
        _ => match from.progress {
            Some(before) if !follows(before, now) => Err(StatusRefused::Backwards { before, now }),
            _ => Ok(Standing { progress: Some(now), ..from }),
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

    fn standing(progress: Option<StatusCode>) -> Standing {
        Standing { progress, ..Standing::default() }
    }

    /// Every pair of the receiver's codes, and what the table says of it: the whole of it, written out.
    #[test]
    fn the_receivers_statuses_skip_but_never_go_back() {
        use StatusCode as C;
        let ladder = [C::Arrived, C::Refused, C::Accepted, C::Assigned, C::InProgress, C::Done];
        let allowed = [
            (None, "01 02 03 04 05 06"),
            (Some(C::Arrived), "02 03 04 05 06"),
            (Some(C::Refused), ""),
            (Some(C::Accepted), "04 05 06"),
            (Some(C::Assigned), "05 06"),
            (Some(C::InProgress), "06"),
            (Some(C::Done), ""),
        ];
        for (before, allowed) in allowed {
            for now in ladder {
                let moved = status_move(standing(before), now, false);
                if allowed.contains(now.as_str()) {
                    assert_eq!(moved, Ok(standing(Some(now))), "{before:?} {now}");
                } else {
                    let before = before.unwrap();
                    assert_eq!(moved, Err(StatusRefused::Backwards { before, now }));
                }
            }
        }
    }

    #[test]
    fn codes_without_a_meaning_are_set_by_nobody_and_change_nothing() {
        let unknown: Vec<_> = StatusCode::ALL.iter().filter(|code| !code.is_known()).copied().collect();
        assert_eq!(unknown.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" "), "07 08 09 10 11 12 14");
        for code in unknown {
            for by_sender in [false, true] {
                assert_eq!(status_move(Standing::default(), code, by_sender), Err(StatusRefused::Unknown(code)));
            }
        }
    }

    /// Every state of a withdrawal against every code that moves it, whatever the receiver said before.
    #[test]
    fn a_withdrawal_is_asked_by_the_sender_answered_once_and_closes_when_agreed() {
        use Asking as A;
        use StatusCode as C;
        for progress in [None, Some(C::Arrived), Some(C::Refused), Some(C::Done)] {
            let at = |withdrawal| Standing { withdrawal, ..standing(progress) };
            for from in [A::None, A::Refused] {
                assert_eq!(status_move(at(from), C::WithdrawalRequested, true), Ok(at(A::Asked)));
                for answer in [C::WithdrawalAgreed, C::WithdrawalRefused] {
                    assert_eq!(status_move(at(from), answer, false), Err(StatusRefused::NothingAsked(answer)));
                }
            }
            assert_eq!(status_move(at(A::Asked), C::WithdrawalRequested, true), Err(StatusRefused::AskedAlready));
            assert_eq!(status_move(at(A::Asked), C::WithdrawalAgreed, false), Ok(at(A::Agreed)));
            assert_eq!(status_move(at(A::Asked), C::WithdrawalRefused, false), Ok(at(A::Refused)));
            for code in StatusCode::ALL.iter().copied().filter(|code| code.is_known()) {
                let closed = status_move(at(A::Agreed), code, code.is_from_sender());
                assert_eq!(closed, Err(StatusRefused::Closed), "{code}");
            }
        }
        // While it is asked, work goes on.
        let asked = Standing { withdrawal: A::Asked, ..standing(Some(C::Accepted)) };
        assert_eq!(status_move(asked, C::Done, false).map(|to| to.withdrawal), Ok(A::Asked));
        for code in StatusCode::ALL.iter().copied().filter(|code| code.is_known()) {
            let wrong = status_move(Standing::default(), code, !code.is_from_sender());
            assert_eq!(wrong, Err(StatusRefused::WrongSide(code)));
        }
    }

    #[test]
    fn what_changes_an_earlier_document_is_answered_once_too_and_stays_open() {
        use Asking as A;
        use StatusCode as C;
        let asked = Standing { change: A::Asked, ..standing(Some(C::Accepted)) };
        for (answer, change) in [(C::WithdrawalAgreed, A::Agreed), (C::WithdrawalRefused, A::Refused)] {
            let answered = status_move(asked, answer, false).unwrap();
            assert_eq!(answered, Standing { change, ..asked });
            assert_eq!(status_move(answered, answer, false), Err(StatusRefused::NothingAsked(answer)));
            assert_eq!(status_move(answered, C::Done, false).map(|to| to.progress), Ok(Some(C::Done)));
        }
        // Asked back meanwhile: the answer is to that.
        let both = Standing { withdrawal: A::Asked, ..asked };
        assert_eq!(status_move(both, C::WithdrawalAgreed, false), Ok(Standing { withdrawal: A::Agreed, ..both }));
    }
}
