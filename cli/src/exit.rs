//! How a command ends: the exit codes that scripts rely on, and the one error type of the tool.

use std::{fmt, process::ExitCode};

/// Exit codes. 64 and above are those of BSD `sysexits.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// It was done, or everything checked is valid.
    Good = 0,
    /// What was checked is invalid, or what was asked was refused.
    Invalid = 1,
    /// What was checked can be neither confirmed nor refuted with what is at hand.
    CannotTell = 2,
    /// The command line is wrong.
    Usage = 64,
    /// A file is not what it should be.
    BadData = 65,
    /// The node, relay or a file cannot be reached.
    Unavailable = 69,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not succeed: the exit code, what happened, what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) source: anyhow::Error,
    /// In Vietnamese, where a person reads it.
    pub(crate) vietnamese: Option<String>,
    /// Closed-list reason, for `--json`.
    pub(crate) reason: Option<String>,
}

/// What commands return.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, source: impl Into<anyhow::Error>) -> Self {
        Self { exit, source: source.into(), vietnamese: None, reason: None }
    }
}

impl Exit {
    /// What a failure of this kind means and who acts, where nobody said it better.
    pub(crate) const fn vietnamese(self) -> Option<&'static str> {
        match self {
            Self::Good => None,
            Self::Invalid => Some("Không hợp lệ hoặc bị từ chối; lý do ở dòng trên."),
            Self::CannotTell => Some("Chưa thể khẳng định với những gì đang có; lý do ở dòng trên."),
            Self::Usage => Some("Lệnh chưa đúng; xem `truc --help` hoặc thêm `--help` sau lệnh."),
            Self::BadData => Some("Tệp không đọc được hoặc không đúng loại; kiểm tra lại đường dẫn và nội dung tệp."),
            Self::Unavailable => Some("Chưa kết nối được; kiểm tra dịch vụ có đang chạy và địa chỉ, rồi thử lại."),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

/// Chooses the exit code of an error where it happens.
pub(crate) trait ExitContext<T> {
    /// Ends the command with `exit` and `what` as the headline.
    fn or_exit(self, exit: Exit, what: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> ExitContext<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, what: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|e| Failure::new(exit, e.into().context(what)))
    }
}
