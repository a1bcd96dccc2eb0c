//! What can be wrong with a list of codes, each with its line, for the person who made the list.

use truc_proto::{AgencyId, ForeignCode, limits::CODE_LIST_PROBLEMS_MAX};

/// Why a file is no list of codes at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeListError {
    /// More bytes than any list has.
    #[error("the list is larger than any list of codes; check the file")]
    TooLarge,
    /// More lines than a directory has entries.
    #[error("the list has more codes than a directory may have; check the file")]
    TooManyRows,
    /// Not text.
    #[error("line {line} is not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\")")]
    NotUtf8 {
        /// Where, from 1.
        line: usize,
    },
    /// Nothing in it.
    #[error("the list is empty; its first line names the columns: code,name,valid_from,valid_to,successor")]
    Empty,
    /// A column that means nothing.
    #[error(
        "there is no column {name:?}; columns are code, name, valid_from, valid_to, serves_until, successor, parent, old_codes, route, basis"
    )]
    UnknownColumn {
        /// As written.
        name: String,
    },
    /// A column twice.
    #[error("the column {name:?} stands twice; remove one")]
    ColumnTwice {
        /// As written.
        name: String,
    },
    /// A column that a list must have.
    #[error("the column {name:?} is missing; the first line names the columns")]
    MissingColumn {
        /// Which.
        name: &'static str,
    },
}

impl CodeListError {
    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::TooLarge => "Tệp lớn quá mức của một danh sách mã; hãy kiểm tra lại tệp.".into(),
            Self::TooManyRows => "Danh sách có nhiều mã hơn mức danh bạ cho phép; hãy kiểm tra lại tệp.".into(),
            Self::NotUtf8 { line } => {
                format!("Dòng {line} không phải UTF-8; hãy lưu tệp dạng UTF-8 (trong Excel: \"CSV UTF-8\").")
            }
            Self::Empty => "Danh sách trống; dòng đầu ghi tên các cột: code,name,valid_from,valid_to,successor.".into(),
            Self::UnknownColumn { name } => format!("Không có cột {name:?}; xem tên các cột trong tài liệu."),
            Self::ColumnTwice { name } => format!("Cột {name:?} có hai lần; hãy bỏ một."),
            Self::MissingColumn { name } => format!("Thiếu cột {name:?}; dòng đầu ghi tên các cột."),
        }
    }
}

/// What is wrong with one line. Nothing of a list with any such line is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeProblem {
    /// Not CSV.
    #[error("line {line}: {why}; correct the quotes or fields (RFC 4180)")]
    Csv {
        /// Where.
        line: usize,
        /// What.
        why: &'static str,
    },
    /// More or fewer fields than columns.
    #[error(
        "line {line}: {found} fields, the first line names {expected} columns; correct the commas, quote names that hold one"
    )]
    Fields {
        /// Where.
        line: usize,
        /// As many as there are columns.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
    /// A field that cannot be read.
    #[error("line {line}: `{column}` is {text:?}: {why}")]
    Field {
        /// Where.
        line: usize,
        /// Which.
        column: &'static str,
        /// As written, its beginning.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A new code without a start.
    #[error("line {line}: {code} is new and has no `valid_from`; write since when it is in force")]
    NoStart {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
    },
    /// The entry contradicts itself.
    #[error("line {line}: {code} cannot be entered: {why}")]
    Contradiction {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// What.
        why: String,
    },
    /// The same code in two lines.
    #[error("line {line}: {code} stands in line {first} already; keep one")]
    Twice {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// The line before.
        first: usize,
    },
    /// The same code in two lines, with different successors.
    #[error(
        "line {line}: {code} has the successor {successor} here and {other} in line {first}; there can be one, keep the right line"
    )]
    TwoSuccessors {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// The line before.
        first: usize,
        /// By this line.
        successor: AgencyId,
        /// By the line before.
        other: AgencyId,
    },
    /// An old code of two agencies.
    #[error(
        "line {line}: the old code {old} of {code} is one of {other}, too; mail that carries it could go to either, keep one"
    )]
    OldCodeTaken {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// The old code.
        old: ForeignCode,
        /// Who has it.
        other: AgencyId,
    },
    /// Nobody has the successor's code.
    #[error(
        "line {line}: {code} has the successor {successor}, which is neither in the directory nor in this list; add it or correct the code"
    )]
    UnknownSuccessor {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// As written.
        successor: AgencyId,
    },
    /// Successors that lead back to where they began.
    #[error("line {line}: the successors run in a circle: {}; one of these codes must stay open", path(.codes))]
    SuccessorCycle {
        /// Where.
        line: usize,
        /// From a code to itself.
        codes: Vec<AgencyId>,
    },
    /// Nobody has the parent's code.
    #[error(
        "line {line}: {code} belongs to {parent}, which is neither in the directory nor in this list; add it or correct the code"
    )]
    UnknownParent {
        /// Where.
        line: usize,
        /// Which code.
        code: AgencyId,
        /// As written, or as the code says.
        parent: AgencyId,
    },
    /// An agency above itself.
    #[error("line {line}: the superior agencies run in a circle: {}; correct a parent", path(.codes))]
    ParentCycle {
        /// Where.
        line: usize,
        /// From a code to itself.
        codes: Vec<AgencyId>,
    },
}

fn path(codes: &[AgencyId]) -> String {
    codes.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(" → ")
}

impl CodeProblem {
    /// The line it is in, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::Csv { line, .. }
            | Self::Fields { line, .. }
            | Self::Field { line, .. }
            | Self::NoStart { line, .. }
            | Self::Contradiction { line, .. }
            | Self::Twice { line, .. }
            | Self::TwoSuccessors { line, .. }
            | Self::OldCodeTaken { line, .. }
            | Self::UnknownSuccessor { line, .. }
            | Self::SuccessorCycle { line, .. }
            | Self::UnknownParent { line, .. }
            | Self::ParentCycle { line, .. } => *line,
        }
    }

    /// For programs: `conflict`, `cycle`, `orphan` or `unreadable`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Csv { .. } | Self::Fields { .. } | Self::Field { .. } | Self::NoStart { .. } => "unreadable",
            Self::Contradiction { .. }
            | Self::Twice { .. }
            | Self::TwoSuccessors { .. }
            | Self::OldCodeTaken { .. } => "conflict",
            Self::SuccessorCycle { .. } | Self::ParentCycle { .. } => "cycle",
            Self::UnknownSuccessor { .. } | Self::UnknownParent { .. } => "orphan",
        }
    }

    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        let line = self.line();
        let what = match self {
            Self::Csv { .. } => "không đúng dạng CSV (RFC 4180); hãy sửa dấu ngoặc kép hoặc dấu phẩy".to_owned(),
            Self::Fields { expected, found, .. } => {
                format!(
                    "có {found} trường trong khi dòng đầu ghi {expected} cột; hãy sửa dấu phẩy, đặt tên có dấu phẩy trong ngoặc kép"
                )
            }
            Self::Field { column, text, .. } => format!("cột `{column}` ghi {text:?}, không đọc được; hãy sửa"),
            Self::NoStart { code, .. } => {
                format!("mã {code} là mã mới nhưng thiếu `valid_from`; hãy ghi ngày có hiệu lực")
            }
            Self::Contradiction { code, why, .. } => format!("mã {code} có nội dung mâu thuẫn ({why}); hãy sửa"),
            Self::Twice { code, first, .. } => format!("mã {code} đã có ở dòng {first}; chỉ giữ một dòng"),
            Self::TwoSuccessors { code, first, successor, other, .. } => {
                format!(
                    "mã {code} có mã kế thừa {successor} ở đây nhưng {other} ở dòng {first}; chỉ được một, hãy giữ dòng đúng"
                )
            }
            Self::OldCodeTaken { code, old, other, .. } => {
                format!("mã cũ {old} của {code} cũng là mã cũ của {other}; hãy giữ một")
            }
            Self::UnknownSuccessor { code, successor, .. } => {
                format!("mã kế thừa {successor} của {code} không có trong danh bạ và danh sách; hãy thêm hoặc sửa")
            }
            Self::SuccessorCycle { codes, .. } => {
                format!("các mã kế thừa tạo thành vòng: {}; phải có một mã còn mở", path(codes))
            }
            Self::UnknownParent { code, parent, .. } => {
                format!("cơ quan cấp trên {parent} của {code} không có trong danh bạ và danh sách; hãy thêm hoặc sửa")
            }
            Self::ParentCycle { codes, .. } => {
                format!("quan hệ cấp trên tạo thành vòng: {}; hãy sửa một mã cấp trên", path(codes))
            }
        };
        format!("Dòng {line}: {what}.")
    }
}

/// The problems of one list: so many as a person can look at, the rest counted.
#[derive(Clone, Debug, Default)]
pub struct CodeProblems {
    named: Vec<CodeProblem>,
    count: usize,
}

impl CodeProblems {
    pub(super) fn add(&mut self, problem: CodeProblem) {
        self.count += 1;
        if self.named.len() < CODE_LIST_PROBLEMS_MAX {
            self.named.push(problem);
        }
    }

    pub(super) fn sort(&mut self) {
        self.named.sort_by_key(CodeProblem::line);
    }

    /// Those that are named, by line.
    #[must_use]
    pub fn named(&self) -> &[CodeProblem] {
        &self.named
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}
