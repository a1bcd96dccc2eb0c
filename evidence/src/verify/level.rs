//! What a receipt rests on.

use super::{Check, Outcome, Step};

/// On whose word a receipt rests: each is proven by itself, by checks that passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EvidenceLevel {
    /// The certificate of the node that acted signed its ledger with the event in it.
    Signed,
    /// As many others cosigned that state of the ledger as the policy asks for: its owner cannot show another.
    Witnessed,
    /// Time-stamps by an authority of its own show when it was signed.
    Stamped,
}

impl EvidenceLevel {
    /// All, in rising order.
    pub const ALL: [Self; 3] = [Self::Signed, Self::Witnessed, Self::Stamped];

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Witnessed => "witnessed",
            Self::Stamped => "stamped",
        }
    }

    /// What it means, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::Signed => "signed by the node's certificate",
            Self::Witnessed => "witnessed by as many others as the policy asks for",
            Self::Stamped => "time-stamped by an independent authority",
        }
    }

    /// What it means, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::Signed => "ký bằng chứng thư số của nút",
            Self::Witnessed => "đủ bên chứng kiến theo chính sách",
            Self::Stamped => "có dấu thời gian của bên thứ ba",
        }
    }

    /// The checks that must all have passed.
    const fn rests_on(self) -> &'static [Check] {
        match self {
            Self::Signed => &[Check::LedgerSignature, Check::CertificateSignature, Check::CertificateSigner],
            Self::Witnessed => &[Check::Witnesses],
            Self::Stamped => &[Check::TimeStamps],
        }
    }

    /// Those that these outcomes prove. Worth as much as the verdict beside them.
    pub(super) fn of(steps: &[Step]) -> Vec<Self> {
        let passed = |check: &Check| steps.iter().any(|step| step.check == *check && step.outcome == Outcome::Passed);
        Self::ALL.into_iter().filter(|level| level.rests_on().iter().all(passed)).collect()
    }
}
