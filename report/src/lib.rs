//! Reports for people to read: a plain model in, a PDF with its fonts inside out.
//!
//! A4 with the margins of administrative documents (NĐ 30/2020 Phụ lục I), a serif face in which Vietnamese reads as it is
//! typed, a footer with the document's name and "page x of y". The file is PDF/A-2u: whole in itself, tagged, and its text
//! can be found, copied and read aloud. The same report gives the same bytes.
//!
//! Texts may come from strangers: letters that would hide, reorder or run over others are shown by their number
//! ([`Text`]). Nothing is signed here; `signer::pades` signs what this writes, and [`SERIF`] is a font for its box.

mod draw;
mod layout;
mod text;

pub use text::{SERIF, Text};

use truc_proto::{
    Timestamp,
    limits::{REPORT_COLUMNS_MAX, REPORT_PAGES_MAX, REPORT_PARAGRAPH_BYTES_MAX, REPORT_TEXT_BYTES_MAX},
};

/// A report before it is set.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it is, in large letters at the start of its first page; readers show it as the window's title.
    pub title: String,
    /// The name in the footer of each page, e.g. which document the report is about. Cut off where it is too long.
    pub footer: String,
    /// The language of the footer, and of the text as readers aloud should take it.
    pub language: Language,
    /// When it was made, as the file says it.
    pub created: Timestamp,
    /// What it says, from above to below.
    pub blocks: Vec<Block>,
}

/// A language that reports are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Tiếng Việt.
    Vietnamese,
    /// English.
    English,
}

impl Language {
    /// As RFC 3066 names it.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }

    pub(crate) fn page_of(self, page: usize, pages: usize) -> String {
        match self {
            Self::Vietnamese => format!("Trang {page}/{pages}"),
            Self::English => format!("Page {page} of {pages}"),
        }
    }
}

/// A part of a report.
#[derive(Debug, Clone)]
pub enum Block {
    /// The head of a part, e.g. `PHỤ LỤC KỸ THUẬT`.
    Heading(String),
    /// The head of a section in a part.
    Subheading(String),
    /// Lines of text as wide as the page.
    Paragraph(Text),
    /// The same in a frame, for what must be seen first.
    Framed(Vec<Text>),
    /// What is called how: labels on the left, values on the right.
    Facts(Vec<(String, Text)>),
    /// A table. Cells wrap; the header stands on each page that the table goes on to.
    Table(Table),
    /// What happened when, from above to below.
    Timeline(Vec<Moment>),
    /// Lines of one letter width, e.g. hashes and commands. Broken at the margin, at any letter.
    Lines(Vec<String>),
    /// What follows begins on a new page.
    PageBreak,
    /// Room for a signature's box at the right, so many points high: see [`render_for_signature`]. At most one.
    SignatureSpace(f32),
}

/// Rows of cells under a header.
#[derive(Debug, Clone)]
pub struct Table {
    /// Each column's head and its share of the width, in whatever unit the shares have in common.
    pub columns: Vec<(String, u16)>,
    /// Rows of as many cells as there are columns.
    pub rows: Vec<Vec<Text>>,
}

/// A point of a timeline.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When, e.g. `22/11/2026 08:30:00`.
    pub time: String,
    /// What happened, and below it what proves it.
    pub what: Text,
}

/// Where a [`Block::SignatureSpace`] came to lie. Lengths are points (1/72 inch), from the lower left corner of the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignaturePlace {
    /// The page, from 1.
    pub page: usize,
    /// From the left edge.
    pub left_pt: f32,
    /// From the lower edge.
    pub bottom_pt: f32,
    /// Width.
    pub width_pt: f32,
    /// Height.
    pub height_pt: f32,
}

/// Why a report was not set.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// More text than is set.
    #[error("the report has {bytes} bytes of text and at most {max} are set; report on fewer documents at once")]
    TooMuchText {
        /// How much.
        bytes: usize,
        /// [`REPORT_TEXT_BYTES_MAX`].
        max: usize,
    },
    /// A text that belongs in no report.
    #[error("a paragraph or cell of the report has {bytes} bytes and at most {max} are set; shorten it")]
    LongParagraph {
        /// How long.
        bytes: usize,
        /// [`REPORT_PARAGRAPH_BYTES_MAX`].
        max: usize,
    },
    /// More pages than are set.
    #[error("the report has more than {max} pages; report on fewer documents at once")]
    TooManyPages {
        /// [`REPORT_PAGES_MAX`].
        max: usize,
    },
    /// A table that cannot be drawn: the caller's mistake.
    #[error("a table of the report cannot be drawn: {detail}")]
    Table {
        /// What is wrong with it.
        detail: String,
    },
    /// The space for a signature does not fit on a page, or there are two: the caller's mistake.
    #[error("the report asks for a space for a signature that no page has, or for two")]
    SignatureSpace,
    /// The PDF could not be written by the rules of PDF/A.
    #[error("the report cannot be written as PDF/A: {detail}")]
    Write {
        /// What the writer said.
        detail: String,
    },
}

/// The report as PDF.
///
/// # Errors
/// When it is too large, or a table has no sense.
pub fn render(report: &Report) -> Result<Vec<u8>, ReportError> {
    Ok(render_for_signature(report)?.0)
}

/// The report as PDF, and where its [`Block::SignatureSpace`] lies if it has one.
///
/// # Errors
/// As [`render`].
pub fn render_for_signature(report: &Report) -> Result<(Vec<u8>, Option<SignaturePlace>), ReportError> {
    check(report)?;
    let set = layout::set(report)?;
    let place = set.signature;
    Ok((draw::write(report, set)?, place))
}

/// The bounds that need no layout.
fn check(report: &Report) -> Result<(), ReportError> {
    let mut bytes = 0;
    let texts =
        [report.title.len(), report.footer.len()].into_iter().chain(report.blocks.iter().flat_map(Block::lengths));
    for length in texts {
        if length > REPORT_PARAGRAPH_BYTES_MAX {
            return Err(ReportError::LongParagraph { bytes: length, max: REPORT_PARAGRAPH_BYTES_MAX });
        }
        // An empty one counts too, lest there are any number of them.
        bytes += length.max(1);
    }
    if bytes > REPORT_TEXT_BYTES_MAX {
        return Err(ReportError::TooMuchText { bytes, max: REPORT_TEXT_BYTES_MAX });
    }
    for block in &report.blocks {
        let Block::Table(table) = block else { continue };
        let columns = table.columns.len();
        let shares = table.columns.iter().all(|(_, share)| *share > 0);
        if columns == 0 || columns > REPORT_COLUMNS_MAX || !shares {
            let detail =
                format!("it has {columns} columns of {REPORT_COLUMNS_MAX} at most, each with a share of the width");
            return Err(ReportError::Table { detail });
        }
        if let Some(row) = table.rows.iter().find(|row| row.len() != columns) {
            return Err(ReportError::Table { detail: format!("a row has {} cells for {columns} columns", row.len()) });
        }
    }
    Ok(())
}

impl Block {
    /// The lengths of its texts in bytes.
    fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Heading(head) | Self::Subheading(head) => vec![head.len()],
            Self::Paragraph(paragraph) => vec![paragraph.bytes()],
            Self::Framed(texts) => texts.iter().map(Text::bytes).collect(),
            Self::Facts(facts) => facts.iter().flat_map(|(label, value)| [label.len(), value.bytes()]).collect(),
            Self::Table(table) => {
                let heads = table.columns.iter().map(|(head, _)| head.len());
                heads.chain(table.rows.iter().flatten().map(Text::bytes)).collect()
            }
            Self::Timeline(moments) => moments.iter().flat_map(|at| [at.time.len(), at.what.bytes()]).collect(),
            Self::Lines(lines) => lines.iter().map(String::len).collect(),
            Self::PageBreak | Self::SignatureSpace(_) => vec![0],
        }
    }
}

pub(crate) fn too_many_pages() -> ReportError {
    ReportError::TooManyPages { max: REPORT_PAGES_MAX }
}
