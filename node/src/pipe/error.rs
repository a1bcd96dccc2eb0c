//! Why nothing was composed, and what the caller hears of it.

use std::io;

use truc_evidence::{CertificateLookupError, DirectoryReadError, ResolveError};
use truc_proto::{
    AgencyId, Digest, ForeignCode, Reason, StatementError, Timestamp,
    edxml::{IssueError, ReadError, WriteError},
};
use truc_signer::{
    PathError, SealError, SignError, WrapError,
    asic::{ContainerError, ContainerWriteError, FinishError},
    stream::StreamError,
};

use super::secrets::SecretsError;
use crate::{
    chain,
    pipeline::{PipelineError, Refusal},
};

/// Why nothing was composed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    /// A field of the request.
    #[error("{english}")]
    Request { reason: Reason, english: String, vietnamese: String },
    /// A level, or a mark, that this lane does not carry: refused with evidence.
    #[error("{what}")]
    Level { what: String, request: Digest },
    /// A recipient that cannot be addressed.
    #[error(transparent)]
    Recipient(#[from] ResolveError),
    /// A recipient under a code that no directory form matches.
    #[error("{code} is not in the directory{}; check the code in the packet", did_you_mean(nearest))]
    UnknownForeign { code: ForeignCode, nearest: Vec<AgencyId> },
    /// A recipient to whom nothing can be sealed.
    #[error("nothing can be sealed to {code}")]
    NoSealing {
        code: AgencyId,
        #[source]
        source: CertificateLookupError,
    },
    /// A recipient's certificate that is not believed.
    #[error("the sealing certificate of {code} is not believed")]
    SealingPath {
        code: AgencyId,
        #[source]
        source: PathError,
    },
    /// Whose certificate is revoked or suspended, with no other in force yet. It ends by itself: what is to be signed or sealed waits.
    #[error(
        "the {what} certificate of {code} is revoked or suspended and there is no other yet: what needs one is held, and goes out by itself when its cipher administrator has had a new one bound"
    )]
    TakenAway { code: AgencyId, what: &'static str },
    /// Some of several recipients are without a key: nobody else is kept waiting for them.
    #[error(
        "{} cannot be sealed to now: the sealing certificate is revoked or suspended and there is no other yet; send to the others without, and to each of these alone: that is held, and goes out by itself",
        list(codes)
    )]
    SomeWithoutKey { codes: Vec<AgencyId> },
    /// Sealing itself.
    #[error("cannot seal to {code}")]
    Seal {
        code: AgencyId,
        #[source]
        source: SealError,
    },
    /// Our own certificate.
    #[error(
        "no service key of {code} at this node has its certificate in force in the directory; the cipher administrator must have it bound"
    )]
    OwnCertificate { code: AgencyId },
    /// A successor that the relay alone names.
    #[error(
        "the relay says that {successor} took over {code}, and directory version {version} does not; nothing is sealed until it does"
    )]
    OtherSuccessor { code: AgencyId, successor: AgencyId, version: u64 },
    /// Our own certificate's path.
    #[error("the service certificate of {code} is not believed")]
    OwnPath {
        code: AgencyId,
        #[source]
        source: PathError,
    },
    /// The packet's form.
    #[error("the packet is refused")]
    Packet(#[source] ReadError),
    /// What may be received but not issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The header of a document given by fields.
    #[error("the document's header cannot be written")]
    Header(#[source] WriteError),
    /// The container's bounds and names.
    #[error("the document cannot be put into a container")]
    Container(#[source] ContainerWriteError),
    /// A statement that does not fit its bounds.
    #[error("the document does not fit the form of an envelope")]
    Statement(#[from] StatementError),
    /// Larger than a journal record.
    #[error("the envelope's own data is too large to be recorded: too many recipients or attachments in one; split it")]
    RecordTooLarge,
    /// The caller went away, or sent what cannot follow.
    #[error("what was to be sent did not come to its end")]
    Source(#[source] io::Error),
    /// The key is away, where nothing can be held.
    #[error("the signing key is away")]
    Away(#[source] SignError),
    /// The directory is too old to send by.
    #[error("the directory is past its time since {since}; sending waits for a newer one")]
    DirectoryStale { since: Timestamp },
    /// The key refuses.
    #[error("the container was not signed")]
    Sign(#[source] SignError),
    /// Our disk, where the directory lies.
    #[error("the directory cannot be read")]
    Directory(#[source] DirectoryReadError),
    /// Our disk.
    #[error("cannot store the sealed document")]
    Store(#[source] io::Error),
    /// What was stored before cannot be read.
    #[error("the stored document cannot be read")]
    Stored(#[source] ContainerError),
    /// The same, in its record.
    #[error("the record of the stored document does not hold together: {0}")]
    Record(&'static str),
    /// Sealing has no randomness, or the payload is too long.
    #[error("the document cannot be sealed")]
    Stream(#[from] StreamError),
    /// The storage key.
    #[error("the document's key cannot be wrapped")]
    Wrap(#[from] WrapError),
    /// The same, of a document that is here.
    #[error("the stored document cannot be opened")]
    Secrets(#[from] SecretsError),
}

impl ComposeError {
    /// The request's fault, in both languages.
    pub(super) fn request(reason: Reason, english: impl Into<String>, vietnamese: impl Into<String>) -> Self {
        Self::Request { reason, english: english.into(), vietnamese: vietnamese.into() }
    }

    /// What the caller hears when it is the request's fault; none when it is ours.
    fn refusal(&self) -> Option<Refusal> {
        let english = chain(self);
        Some(match self {
            Self::Request { reason, vietnamese, .. } => {
                Refusal { vietnamese: vietnamese.clone(), ..Refusal::new(*reason, english) }
            }
            Self::Level { request, .. } => {
                Refusal { evidence: Some(*request), ..Refusal::new(Reason::LevelRefused, english) }
            }
            Self::Recipient(error) => {
                let mut refusal = Refusal { vietnamese: error.vietnamese(), ..Refusal::new(error.reason(), english) };
                match error {
                    ResolveError::Unknown { nearest, .. } => refusal.nearest.clone_from(nearest),
                    ResolveError::Closed { successor, .. } => refusal.successor.clone_from(successor),
                    _ => {}
                }
                refusal
            }
            Self::UnknownForeign { code, nearest } => Refusal {
                vietnamese: format!("Mã {code} không có trong danh bạ; hãy kiểm tra lại mã trong gói tin."),
                nearest: nearest.clone(),
                ..Refusal::new(Reason::UnknownCode, english)
            },
            Self::SomeWithoutKey { codes } => Refusal {
                vietnamese: format!(
                    "Chứng thư mã hóa của {} đã bị thu hồi hoặc tạm dừng và chưa có chứng thư khác: hãy gửi riêng cho các nơi còn lại; văn bản gửi riêng từng nơi này sẽ được giữ và tự gửi khi có chứng thư mới.",
                    list(codes)
                ),
                ..Refusal::new(Reason::CertificateRefused, english)
            },
            Self::NoSealing { .. }
            | Self::SealingPath { .. }
            | Self::Seal { .. }
            | Self::OwnCertificate { .. }
            | Self::OwnPath { .. } => Refusal::new(Reason::CertificateRefused, english),
            Self::Packet(error @ ReadError::Refused { .. }) => {
                Refusal { vietnamese: error.vietnamese(), ..Refusal::new(Reason::ContentRefused, english) }
            }
            Self::Issue(error) => Refusal { vietnamese: error.vietnamese(), ..Refusal::new(Reason::Invalid, english) },
            Self::Header(WriteError::Refused(error)) => {
                Refusal { vietnamese: error.vietnamese(), ..Refusal::new(Reason::Invalid, english) }
            }
            Self::Header(WriteError::Attachment { .. } | WriteError::Count(_))
            | Self::Statement(_)
            | Self::Source(_) => Refusal::new(Reason::Invalid, english),
            Self::Container(ContainerWriteError::TooLarge { .. } | ContainerWriteError::LengthNotDeclared { .. })
            | Self::Header(WriteError::TooLong { .. })
            | Self::Stream(StreamError::TooLong)
            | Self::RecordTooLarge => Refusal::new(Reason::TooLarge, english),
            Self::Container(
                ContainerWriteError::Name { .. }
                | ContainerWriteError::Reserved { .. }
                | ContainerWriteError::Duplicate { .. }
                | ContainerWriteError::MediaType { .. },
            ) => Refusal::new(Reason::Invalid, english),
            Self::Packet(ReadError::Source(_) | ReadError::Sink(_))
            | Self::Header(WriteError::Source { .. } | WriteError::Sink(_))
            | Self::Container(
                ContainerWriteError::Sink(_) | ContainerWriteError::Order(_) | ContainerWriteError::Spent,
            )
            | Self::Away(_)
            | Self::TakenAway { .. }
            | Self::OtherSuccessor { .. }
            | Self::DirectoryStale { .. }
            | Self::Sign(_)
            | Self::Directory(_)
            | Self::Store(_)
            | Self::Stored(_)
            | Self::Record(_)
            | Self::Stream(_)
            | Self::Wrap(_)
            | Self::Secrets(_) => return None,
        })
    }
}

impl From<ComposeError> for PipelineError {
    fn from(error: ComposeError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::Refused(Box::new(refusal)),
            None => {
                // Both end by themselves, and what waits for them is tried again.
                let key_away = matches!(
                    error,
                    ComposeError::Away(_) | ComposeError::TakenAway { .. } | ComposeError::DirectoryStale { .. }
                );
                Self::Failed { what: chain(&error), key_away }
            }
        }
    }
}

impl From<ContainerWriteError> for ComposeError {
    fn from(error: ContainerWriteError) -> Self {
        match error {
            ContainerWriteError::Sink(error) => Self::Store(error),
            other => Self::Container(other),
        }
    }
}

impl From<FinishError<SignError>> for ComposeError {
    fn from(error: FinishError<SignError>) -> Self {
        match error {
            FinishError::Write(error) => error.into(),
            FinishError::Sign(error) => Self::Sign(error),
        }
    }
}

/// What a [`io::Write`] into a container fails with.
pub(super) fn of_write(error: io::Error) -> ComposeError {
    match error.downcast::<ContainerWriteError>() {
        Ok(error) => error.into(),
        Err(error) => ComposeError::Store(error),
    }
}

fn list(codes: &[AgencyId]) -> String {
    codes.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ")
}

fn did_you_mean(nearest: &[AgencyId]) -> String {
    let nearest: Vec<&str> = nearest.iter().map(AgencyId::as_str).collect();
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}", nearest.join(", ")) }
}
