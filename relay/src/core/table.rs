//! The one closed table by which an envelope's state for one recipient moves.

use truc_proto::{EventUri, Reason};

/// How far an envelope has come for one recipient. The numbers stand in snapshots and never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PairState {
    /// Waits for the recipient's node.
    Waiting = 0,
    /// The node has the sealed payload and was given the key envelope.
    Taken = 1,
    /// Opened, checked and made available.
    Consigned = 2,
    /// The node could not open it or refused the content.
    Refused = 3,
    /// The document system has it.
    HandedOver = 4,
    /// The document system did not take it.
    HandoverFailed = 5,
    /// Not delivered in time.
    Expired = 6,
    /// Another envelope took its place.
    Superseded = 7,
    /// The recipient's code was closed when the envelope came.
    Closed = 8,
    /// Consigned after it had expired or been replaced; both events stay.
    ConsignedLate = 9,
    /// The recipient's code stopped being served while the envelope waited: its keys never left, and another one goes to the successor.
    Ended = 10,
}

impl PairState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Taken,
        Self::Consigned,
        Self::Refused,
        Self::HandedOver,
        Self::HandoverFailed,
        Self::Expired,
        Self::Superseded,
        Self::Closed,
        Self::ConsignedLate,
        Self::Ended,
    ];

    /// From its number in a snapshot.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// True while the relay must keep the payload for this recipient.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Taken)
    }

    /// Why the relay gave this recipient up, when it did: no key envelope leaves it any more.
    #[must_use]
    pub const fn given_up(self) -> Option<Reason> {
        match self {
            Self::Expired => Some(Reason::Expired),
            Self::Superseded => Some(Reason::Superseded),
            Self::Ended => Some(Reason::ClosedCode),
            _ => None,
        }
    }

    /// True when the document reached the recipient.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Self::Consigned | Self::HandedOver | Self::HandoverFailed | Self::ConsignedLate)
    }

    /// True when nothing more is expected. What failed by time or replacement may still be consigned late, so it is not among them.
    #[must_use]
    pub const fn is_complete(self, status: bool) -> bool {
        match self {
            Self::HandedOver | Self::Refused | Self::Closed => true,
            Self::Consigned => status, // a business status ends at its consignment
            _ => false,
        }
    }
}

/// What a recipient's node may say. The numbers stand in records and never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Fact {
    /// RelayAcceptance by the recipient's node.
    Taken = 1,
    /// ContentConsignment.
    Consigned = 2,
    /// ContentConsignmentFailure.
    Refused = 3,
    /// ContentHandover.
    HandedOver = 4,
    /// ContentHandoverFailure.
    HandoverFailed = 5,
    // 6 was RelayToNonERDS by a recipient (see `PASSED_ON`); never reuse.
}

/// Number of a fact that records of earlier versions may name: RelayToNonERDS by a recipient. It moved no state, and none is taken any more.
pub(super) const PASSED_ON: u32 = 6;

impl Fact {
    /// Every fact.
    pub const ALL: [Self; 5] = [Self::Taken, Self::Consigned, Self::Refused, Self::HandedOver, Self::HandoverFailed];

    /// From its number in a record.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| *fact as u32 == number)
    }

    /// What an event written in the role of a recipient states; none for events that recipients do not write.
    #[must_use]
    pub const fn of_recipient(event: EventUri) -> Option<Self> {
        match event {
            EventUri::RelayAcceptance => Some(Self::Taken),
            EventUri::ContentConsignment => Some(Self::Consigned),
            EventUri::ContentConsignmentFailure => Some(Self::Refused),
            EventUri::ContentHandover => Some(Self::HandedOver),
            EventUri::ContentHandoverFailure => Some(Self::HandoverFailed),
            EventUri::SubmissionAcceptance
            | EventUri::SubmissionRejection
            | EventUri::RelayRejection
            | EventUri::RelayFailure
            | EventUri::RelayToNonErds
            | EventUri::ReceivedFromNonErds => None,
        }
    }
}

/// What a fact does to a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Moves on.
    To(PairState),
    /// Is kept and forwarded; the state stays (it came out of order, or says nothing new).
    Keep,
    /// As [`Step::To`], after the relay had already reported failure.
    Late(PairState),
    /// As [`Step::Keep`], after the relay had already reported failure.
    KeepLate,
    /// Cannot be true together with what the same node signed before; refused.
    Contradiction,
}

impl Step {
    /// Where it leads; none where the state stays.
    #[must_use]
    pub const fn next(self) -> Option<PairState> {
        match self {
            Self::To(next) | Self::Late(next) => Some(next),
            Self::Keep | Self::KeepLate | Self::Contradiction => None,
        }
    }
}

/// Where a fact leads from `state`; none where it moves nothing. Decision and fold both go by it.
#[must_use]
pub(super) fn moved(state: PairState, fact: Fact) -> Option<PairState> {
    step(state, fact).next().filter(|next| *next != state)
}

/// The table. Facts may come out of order, since each travels on its own; a node that says two things that exclude each other is refused.
#[must_use]
pub const fn step(state: PairState, fact: Fact) -> Step {
    use {Fact as F, PairState as S};
    match (state, fact) {
        (S::Closed, _) => Step::Contradiction, // its key envelope was never handed out

        (S::Waiting | S::Taken, F::Taken) => Step::To(S::Taken),
        (S::Waiting | S::Taken, F::Consigned) => Step::To(S::Consigned),
        (S::Waiting | S::Taken, F::Refused) => Step::To(S::Refused),
        (S::Waiting | S::Taken | S::Consigned, F::HandedOver) => Step::To(S::HandedOver),
        (S::Waiting | S::Taken | S::Consigned, F::HandoverFailed) => Step::To(S::HandoverFailed),

        (S::Expired | S::Superseded, F::Consigned) => Step::Late(S::ConsignedLate),
        // Not as consigned: the consignment itself may come behind it, and is no second one.
        (S::Expired | S::Superseded, F::HandoverFailed) => Step::Late(S::HandoverFailed),
        (S::Expired | S::Superseded, F::HandedOver) => Step::Late(S::HandedOver),
        (S::Expired | S::Superseded, F::Taken | F::Refused) => Step::KeepLate,
        (S::ConsignedLate, F::HandedOver) => Step::Late(S::HandedOver),
        (S::ConsignedLate, F::Taken | F::HandoverFailed) => Step::KeepLate,

        // Its acceptance crossed our rejection, or says that no keys came; without keys nothing was opened.
        (S::Ended, F::Taken | F::Refused) => Step::KeepLate,
        (S::Ended, _) => Step::Contradiction,

        // A second consignment or hand-over by another leaf would be two of what happens once (I3).
        (S::Consigned | S::ConsignedLate, F::Consigned) | (S::HandedOver, F::HandedOver) => Step::Contradiction,
        (S::Consigned | S::ConsignedLate | S::HandedOver | S::HandoverFailed, F::Refused) => Step::Contradiction,
        (S::Refused, F::Consigned | F::Refused | F::HandedOver | F::HandoverFailed) => Step::Contradiction,

        // The document system refused first and took it later.
        (S::HandoverFailed, F::HandedOver) => Step::To(S::HandedOver),
        (S::HandedOver, F::Consigned | F::HandoverFailed) | (S::HandoverFailed, F::Consigned | F::HandoverFailed) => {
            Step::Keep
        }
        (S::Consigned | S::Refused | S::HandedOver | S::HandoverFailed, F::Taken) => Step::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivered_state_never_becomes_open_or_failed() {
        for state in PairState::ALL.into_iter().filter(|s| s.is_delivered()) {
            for fact in Fact::ALL {
                if let Step::To(next) | Step::Late(next) = step(state, fact) {
                    assert!(next.is_delivered(), "{state:?} + {fact:?} -> {next:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_reopens_what_was_closed_for_the_payload() {
        for state in PairState::ALL.into_iter().filter(|s| !s.is_open()) {
            for fact in Fact::ALL {
                if let Step::To(next) | Step::Late(next) = step(state, fact) {
                    assert!(!next.is_open(), "{state:?} + {fact:?} -> {next:?}");
                }
            }
        }
    }

    #[test]
    fn hand_over_happens_once_and_failure_and_consignment_exclude_each_other() {
        assert_eq!(step(PairState::Consigned, Fact::HandedOver), Step::To(PairState::HandedOver));
        assert_eq!(step(PairState::HandedOver, Fact::HandedOver), Step::Contradiction);
        assert_eq!(step(PairState::Refused, Fact::Consigned), Step::Contradiction);
        assert_eq!(step(PairState::Consigned, Fact::Refused), Step::Contradiction);
        assert_eq!(step(PairState::Expired, Fact::Consigned), Step::Late(PairState::ConsignedLate));
    }

    #[test]
    fn what_is_said_once_each_is_believed_in_any_order_also_late() {
        let said = [
            &[Fact::Taken, Fact::Consigned, Fact::HandedOver][..],
            &[Fact::Taken, Fact::Consigned, Fact::HandoverFailed, Fact::HandedOver],
            &[Fact::Taken, Fact::Refused],
        ];
        for facts in said {
            for start in [PairState::Waiting, PairState::Expired, PairState::Superseded] {
                for order in orders(facts.to_vec()) {
                    let mut state = start;
                    for fact in &order {
                        let step = step(state, *fact);
                        assert_ne!(step, Step::Contradiction, "{start:?}: {fact:?} of {order:?} in {state:?}");
                        state = step.next().unwrap_or(state);
                    }
                }
            }
        }
    }

    fn orders(facts: Vec<Fact>) -> Vec<Vec<Fact>> {
        let Some((first, rest)) = facts.split_first() else { return vec![Vec::new()] };
        let shorter = orders(rest.to_vec());
        let with = |order: &Vec<Fact>, at: usize| {
            let mut longer = order.clone();
            longer.insert(at, *first);
            longer
        };
        shorter.iter().flat_map(|order| (0..=order.len()).map(move |at| with(order, at))).collect()
    }

    #[test]
    fn numbers_are_those_that_stores_on_disk_carry() {
        assert_eq!(PairState::ALL.map(|s| s as u8), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(Fact::ALL.map(|f| f as u8), [1, 2, 3, 4, 5]);
        assert_eq!(Fact::from_number(PASSED_ON), None, "its number names no other fact");
        for state in PairState::ALL {
            assert_eq!(PairState::from_number(state as u8), Some(state));
        }
    }
}
