//! Lists of codes as CSV: read, compared with a draft, and taken into it when nothing is wrong.
//!
//! A list says what agencies there are, not who serves them: nodes and certificates come by binding requests alone, and stay as they are.

mod csv;
mod plan;
mod problem;

pub use plan::{CodeChange, ImportPlan};
pub use problem::{CodeListError, CodeProblem, CodeProblems};

use truc_proto::{AgencyId, ForeignCode, Route, Timestamp, limits::DIRECTORY_ENTRIES_MAX, tidy_name};

use csv::{Record, Records};

/// Level-1 codes with their closings and successors: the product's own table of facts, in the form that [`CodeList::parse`] reads.
pub const LEVEL1_CODES: &str = include_str!("../data/agencies-level1.csv");

/// What one line says of a code. What its list has no column for is `None`, and an entry keeps what it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeRow {
    /// Line of the file, from 1.
    pub line: usize,
    /// The code.
    pub code: AgencyId,
    /// Its official name.
    pub name: String,
    /// From when on it is in force; a new code must say it.
    pub valid_from: Option<Timestamp>,
    /// When it closed or will close.
    pub valid_to: Option<Option<Timestamp>>,
    /// Until when mail sealed to it is still opened.
    pub serves_until: Option<Option<Timestamp>>,
    /// Who took over.
    pub successor: Option<Option<AgencyId>>,
    /// The superior agency.
    pub parent: Option<Option<AgencyId>>,
    /// Older forms of the code.
    pub old_codes: Option<Vec<ForeignCode>>,
    /// How mail reaches it.
    pub route: Option<Route>,
}

/// A list as read: the lines that are right, and what is wrong with the others.
#[derive(Clone, Debug)]
pub struct CodeList {
    rows: Vec<CodeRow>,
    problems: CodeProblems,
}

/// Names of the columns; the first line of a list says which of them it has, in any order.
const COLUMNS: [&str; 10] =
    ["code", "name", "valid_from", "valid_to", "serves_until", "successor", "parent", "old_codes", "route", "basis"];

impl CodeList {
    /// Reads a CSV file: RFC 4180, UTF-8 with or without a byte order mark; lines that begin with `#` are comments.
    ///
    /// # Errors
    /// When it is no such file at all. What is wrong with single lines is in [`CodeList::problems`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodeListError> {
        let mut problems = CodeProblems::default();
        let mut records = Records::over(bytes)?;
        let header = records.next_record(&mut problems).ok_or(CodeListError::Empty)?;
        let columns = Columns::of(&header)?;
        let mut rows = Vec::new();
        while let Some(record) = records.next_record(&mut problems) {
            if rows.len() == DIRECTORY_ENTRIES_MAX {
                return Err(CodeListError::TooManyRows);
            }
            match columns.row(&record) {
                Ok(row) => rows.push(row),
                Err(problem) => problems.add(problem),
            }
        }
        Ok(Self { rows, problems })
    }

    /// The lines that could be read, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[CodeRow] {
        &self.rows
    }

    /// What is wrong with single lines.
    #[must_use]
    pub const fn problems(&self) -> &CodeProblems {
        &self.problems
    }
}

/// Which field of a line is which column.
struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Columns {
    fn of(header: &Record) -> Result<Self, CodeListError> {
        let mut places = [None; COLUMNS.len()];
        for (place, name) in header.fields.iter().enumerate() {
            let name = name.trim().to_ascii_lowercase();
            let known = COLUMNS.iter().position(|column| *column == name).and_then(|known| places.get_mut(known));
            match known {
                None => return Err(CodeListError::UnknownColumn { name }),
                Some(Some(_)) => return Err(CodeListError::ColumnTwice { name }),
                Some(free) => *free = Some(place),
            }
        }
        let columns = Self { places, count: header.fields.len() };
        for needed in ["code", "name"] {
            if columns.place(needed).is_none() {
                return Err(CodeListError::MissingColumn { name: needed });
            }
        }
        Ok(columns)
    }

    fn place(&self, column: &str) -> Option<usize> {
        let known = COLUMNS.iter().position(|name| *name == column)?;
        *self.places.get(known)?
    }

    /// The field of a column; none when the list has no such column.
    fn field<'a>(&self, record: &'a Record, column: &str) -> Option<&'a str> {
        record.fields.get(self.place(column)?).map(|text| text.trim())
    }

    fn row(&self, record: &Record) -> Result<CodeRow, CodeProblem> {
        let line = record.line;
        if record.fields.len() != self.count {
            return Err(CodeProblem::Fields { line, expected: self.count, found: record.fields.len() });
        }
        let field = |column| self.field(record, column);
        let reader = Reader { line };
        Ok(CodeRow {
            line,
            code: reader.read("code", field("code").unwrap_or_default())?,
            name: tidy_name(field("name").unwrap_or_default()),
            valid_from: reader.optional("valid_from", field("valid_from"))?.flatten(),
            valid_to: reader.optional("valid_to", field("valid_to"))?,
            serves_until: reader.optional("serves_until", field("serves_until"))?,
            successor: reader.optional("successor", field("successor"))?,
            parent: reader.optional("parent", field("parent"))?,
            old_codes: reader.list("old_codes", field("old_codes"))?,
            route: reader.optional("route", field("route"))?.map(|route| route.unwrap_or(Route::Native)),
        })
    }
}

struct Reader {
    line: usize,
}

impl Reader {
    fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
        text: &str,
    ) -> Result<T, CodeProblem> {
        let wrong = |why: T::Err| {
            let text = text.chars().take(80).collect();
            CodeProblem::Field { line: self.line, column, text, why: why.to_string() }
        };
        text.parse().map_err(wrong)
    }

    /// No column, an empty field, or a value.
    fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
        field: Option<&str>,
    ) -> Result<Option<Option<T>>, CodeProblem> {
        match field {
            None => Ok(None),
            Some("") => Ok(Some(None)),
            Some(text) => self.read(column, text).map(|value| Some(Some(value))),
        }
    }

    /// Several old codes stand behind each other with `;` between.
    fn list(&self, column: &'static str, field: Option<&str>) -> Result<Option<Vec<ForeignCode>>, CodeProblem> {
        let Some(field) = field else { return Ok(None) };
        let codes = field.split(';').map(str::trim).filter(|code| !code.is_empty());
        codes.map(|code| self.read(column, code)).collect::<Result<_, _>>().map(Some)
    }
}
