//! What can be wrong with a directory, and with a question to it.

use truc_proto::{AgencyId, Digest, KeyUse, Lane, NodeId, Reason, StatementError, Timestamp, wire_v1};
use truc_signer::{CertificateError, CmsError, PathError, TimeStampError};

use super::store::DirectoryReadError;

/// Why a directory version is refused. The version before it stays in force; the axis operator must publish a right one.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The root statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// More than the bounds of `truc_proto::limits`.
    #[error("the directory has {entries} entries or more bytes than any directory needs; it is refused")]
    TooLarge {
        /// How many were shown.
        entries: usize,
    },
    /// Another trust domain or lane.
    #[error("the directory is for {stated}, this process is for {expected}; check the relay's address and the lane")]
    Domain {
        /// What it says.
        stated: String,
        /// What it must be.
        expected: String,
    },
    /// Issued ahead of our clock.
    #[error("the directory was issued at {issued}, ahead of this machine's clock; set the clock, or the operator's")]
    FromFuture {
        /// When it says it was issued.
        issued: Timestamp,
    },
    /// The operator's CMS.
    #[error("the operator's signature over the directory root does not hold; a right one must be published")]
    Signature(#[source] CmsError),
    /// Somebody else signed.
    #[error(
        "the directory is signed by {subject}, who is not the pinned operator; do not use it, and ask the operator"
    )]
    NotOperator {
        /// Who signed.
        subject: String,
    },
    /// The operator's certificate is not believed.
    #[error("the operator's certificate is not believed")]
    OperatorPath(#[source] PathError),
    /// The operator's certificate is revoked.
    #[error("the operator's certificate of {subject} is revoked since {at}; the operator must publish under a new one")]
    OperatorRevoked {
        /// Whose certificate of the path.
        subject: String,
        /// Since when.
        at: Timestamp,
    },
    /// A time-stamp on the operator's signature that cannot be right.
    #[error(
        "a time-stamp on the operator's signature is wrong; whoever brought it put it in, or the operator must sign again"
    )]
    TimeStamp(#[source] TimeStampError),
    /// Another number of entries than stated.
    #[error("the directory states {stated} entries, {found} came")]
    Size {
        /// In the root statement.
        stated: u64,
        /// That came.
        found: u64,
    },
    /// An entry that is none.
    #[error("entry {number} of the directory is refused")]
    Entry {
        /// Counted from 0.
        number: usize,
        /// What is wrong with it.
        source: StatementError,
    },
    /// Not sorted, or twice the same key.
    #[error("the entry {key} is out of order or stands twice in the directory")]
    Order {
        /// Its key.
        key: String,
    },
    /// The entries are not those of the signed root.
    #[error("the directory's entries hash to {found}, signed is {stated}")]
    Root {
        /// Signed.
        stated: Digest,
        /// Over the entries that came.
        found: Digest,
    },
    /// A lane has exactly one relay.
    #[error("the directory names {count} relays, exactly one is needed")]
    Relays {
        /// How many.
        count: usize,
    },
    /// A node of another lane.
    #[error("{node} is of the {lane} lane and does not belong in this directory")]
    NodeLane {
        /// Which.
        node: NodeId,
        /// Its lane.
        lane: Lane,
    },
    /// Two entries share what must name one.
    #[error("two entries of the directory share the {what}")]
    Ambiguous {
        /// What.
        what: String,
    },
    /// An agency at a node that is not there.
    #[error("the directory binds {code} to a node that it does not know")]
    UnknownNode {
        /// Whose entry.
        code: AgencyId,
    },
    /// Versions only grow.
    #[error("version {offered} of the directory was offered, {held} is held; versions only grow")]
    NotGrowing {
        /// Held.
        held: u64,
        /// Offered.
        offered: u64,
    },
    /// The hash of the version before is another.
    #[error(
        "version {version} of the directory does not follow the one held: the operator signed two histories; keep both and raise the alarm"
    )]
    Chain {
        /// The version offered.
        version: u64,
    },
    /// The relay's ledger does not hold the root.
    #[error("version {version} of the directory is not proven in the relay's ledger: {why}")]
    NotLogged {
        /// The version offered.
        version: u64,
        /// What does not hold.
        why: String,
    },
}

/// Why a directory's file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryFileError {
    /// The file system.
    #[error("cannot {what} {path}")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Not the form of a directory file.
    #[error("{path} is not a directory file: {why}; fetch the directory again")]
    Malformed {
        /// Which file; empty when it was no file.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The version held.
    #[error("the directory held cannot be read")]
    Held(#[from] DirectoryReadError),
    /// It reads, and does not verify.
    #[error("the directory in {path} is refused")]
    Refused {
        /// Which file.
        path: String,
        /// Why.
        source: DirectoryError,
    },
}

/// Why mail cannot go to a code. Always the asker's to correct, before anything is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Not in the directory.
    #[error("{code} is not in the directory{}; check the code", did_you_mean(nearest))]
    Unknown {
        /// As asked.
        code: AgencyId,
        /// Those most like it, nearest first.
        nearest: Vec<AgencyId>,
    },
    /// Closed.
    #[error("{code} closed on {closed}; {}", send_to(successor.as_ref()))]
    Closed {
        /// As asked.
        code: AgencyId,
        /// When.
        closed: Timestamp,
        /// Who took over.
        successor: Option<AgencyId>,
    },
    /// Not open yet.
    #[error("{code} is in force only from {from}; send then")]
    NotYet {
        /// As asked.
        code: AgencyId,
        /// From when on.
        from: Timestamp,
    },
    /// Reached by the older axis only.
    #[error(
        "{code} is still reached through today's axis alone, and this node is no gateway to it for the sender; its administrator may set up [gateway], or send there as before"
    )]
    Legacy {
        /// As asked.
        code: AgencyId,
    },
    /// Not on this lane.
    #[error("{code} does not take part in the {lane} lane; ask the agency or the axis operator")]
    WrongLane {
        /// As asked.
        code: AgencyId,
        /// The directory's lane.
        lane: Lane,
    },
    /// No node serves it.
    #[error("no node serves {code} yet; ask the axis operator")]
    NoNode {
        /// As asked.
        code: AgencyId,
    },
}

impl ResolveError {
    /// The code of the closed list of reasons.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Closed { .. } => Reason::ClosedCode,
            Self::WrongLane { .. } => Reason::WrongLane,
            Self::Unknown { .. } | Self::NotYet { .. } | Self::Legacy { .. } | Self::NoNode { .. } => {
                Reason::UnknownCode
            }
        }
    }

    /// As the asker's program hears it, with both languages for people.
    #[must_use]
    pub fn to_wire(&self) -> wire_v1::Refusal {
        let successor = match self {
            Self::Closed { successor, .. } => successor.as_ref(),
            _ => None,
        };
        wire_v1::Refusal {
            reason: self.reason().as_str().to_owned(),
            english: self.to_string(),
            vietnamese: self.vietnamese(),
            successor: successor.map(ToString::to_string).unwrap_or_default(),
            ..wire_v1::Refusal::default()
        }
    }

    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Unknown { code, nearest } if nearest.is_empty() => {
                format!("Mã {code} không có trong danh bạ; hãy kiểm tra lại mã.")
            }
            Self::Unknown { code, nearest } => {
                format!("Mã {code} không có trong danh bạ; có phải {}? Hãy kiểm tra lại mã.", list(nearest))
            }
            Self::Closed { code, closed, successor: Some(successor) } => {
                format!("Mã {code} đã đóng ngày {}; hãy gửi tới mã kế thừa {successor}.", closed.in_vietnam())
            }
            Self::Closed { code, closed, successor: None } => {
                format!(
                    "Mã {code} đã đóng ngày {}, không có mã kế thừa; hãy hỏi đơn vị vận hành trục.",
                    closed.in_vietnam()
                )
            }
            Self::NotYet { code, from } => format!("Mã {code} chỉ có hiệu lực từ {}; hãy gửi sau.", from.in_vietnam()),
            Self::Legacy { code } => format!(
                "Mã {code} chỉ nhận qua trục hiện hành và nút này chưa làm cổng nối cho mã gửi; quản trị viên cấu hình [gateway], hoặc gửi như trước đây."
            ),
            Self::WrongLane { code, lane } => {
                format!("Mã {code} không tham gia luồng {lane}; hãy hỏi cơ quan đó hoặc đơn vị vận hành trục.")
            }
            Self::NoNode { code } => format!("Chưa có nút phục vụ mã {code}; hãy hỏi đơn vị vận hành trục."),
        }
    }
}

fn list(codes: &[AgencyId]) -> String {
    codes.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ")
}

fn did_you_mean(nearest: &[AgencyId]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}", list(nearest)) }
}

fn send_to(successor: Option<&AgencyId>) -> String {
    match successor {
        Some(code) => format!("send to its successor {code}"),
        None => "it has no successor; ask the axis operator".to_owned(),
    }
}

/// Why the directory has no certificate to offer.
#[derive(Debug, thiserror::Error)]
pub enum CertificateLookupError {
    /// No such code.
    #[error("{code} is not in the directory; check the code")]
    UnknownCode {
        /// As asked.
        code: AgencyId,
    },
    /// None in force.
    #[error("{code} has no certificate for {key_use} in force at {at}; its cipher administrator must have one bound")]
    None {
        /// As asked.
        code: AgencyId,
        /// As asked.
        key_use: KeyUse,
        /// As asked.
        at: Timestamp,
    },
    /// Another certificate than those bound.
    #[error(
        "the directory does not bind the certificate {certificate} to {code}; its cipher administrator must have it bound"
    )]
    NotBound {
        /// As asked.
        code: AgencyId,
        /// As asked.
        certificate: Digest,
    },
    /// The copy on the disk.
    #[error("the certificate bound to {code} cannot be read; this machine's administrator must look at the disk")]
    Unread {
        /// As asked.
        code: AgencyId,
        /// What happened.
        source: DirectoryReadError,
    },
    /// Bound, and unreadable.
    #[error("the certificate bound to {code} cannot be used; the operator must bind another")]
    Unusable {
        /// As asked.
        code: AgencyId,
        /// What is wrong with it.
        source: CertificateError,
    },
}

/// Why a TLS peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Not on the list.
    #[error(
        "no node or relay of this directory has the TLS certificate {certificate}; its operator must have it bound"
    )]
    Unknown {
        /// SHA-256 of the certificate shown.
        certificate: Digest,
    },
    /// On the list, and not in force.
    #[error(
        "the TLS certificate of {node} is revoked, suspended or out of its time in the directory; {node} must have a new one bound"
    )]
    NotInForce {
        /// Whose.
        node: NodeId,
    },
}
