//! Blocks to pages: what stands where, and which part of the report it belongs to.

use std::collections::VecDeque;

use truc_proto::limits::REPORT_PAGES_MAX;

use crate::{
    Block, Moment, Report, ReportError, SignaturePlace, Table,
    text::{Fonts, Line, Text},
    too_many_pages,
};

/// A4.
pub(crate) const PAGE_WIDTH_PT: f32 = 595.28;
pub(crate) const PAGE_HEIGHT_PT: f32 = 841.89;
const MM_PT: f32 = 72.0 / 25.4;
// NĐ 30/2020 Phụ lục I: left 30–35 mm, right 15–20 mm, above and below 20–25 mm.
pub(crate) const LEFT_PT: f32 = 30.0 * MM_PT;
pub(crate) const RIGHT_PT: f32 = PAGE_WIDTH_PT - 15.0 * MM_PT;
const TOP_PT: f32 = 20.0 * MM_PT;
const BOTTOM_PT: f32 = PAGE_HEIGHT_PT - 22.0 * MM_PT;
/// The rule above the footer.
pub(crate) const FOOTER_PT: f32 = BOTTOM_PT + 14.0;

const TITLE_PT: f32 = 15.0;
const HEADING_PT: f32 = 13.0;
const SUBHEADING_PT: f32 = 12.0;
const BODY_PT: f32 = 12.0;
const TABLE_PT: f32 = 10.0;
const LINES_PT: f32 = 10.0;
/// From one baseline to the next, in parts of the letters' size.
const LEADING: f32 = 1.25;
/// From a line's upper edge to its baseline, likewise.
const ASCENT: f32 = 0.95;
/// Between a cell's edge and its text, left and right, above and below.
const CELL_X_PT: f32 = 4.0;
const CELL_Y_PT: f32 = 2.5;
/// Between blocks.
const GAP_PT: f32 = 6.0;
const HAIRLINE_PT: f32 = 0.4;
const SIGNATURE_WIDTH_PT: f32 = 230.0;
/// The labels' share of the width. What is left takes a SHA-256 in hexadecimal digits on one line.
const LABEL_SHARE: f32 = 0.28;
/// The column of a timeline that says when, and that of its dots.
const TIME_WIDTH_PT: f32 = 118.0;
const DOT_WIDTH_PT: f32 = 16.0;

/// A part of the report in the sense of tagged PDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Title,
    Heading,
    Subheading,
    Paragraph,
    Table,
    Row,
    HeaderCell,
    LabelCell,
    Cell,
    List,
    Entry,
    EntryBody,
    Lines,
}

/// The number of a part in [`Set::parts`].
pub(crate) type PartId = usize;

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) within: Option<PartId>,
}

/// Something on a page. Lengths in points from the upper left corner.
#[derive(Debug)]
pub(crate) enum Item {
    /// Text of a part; of none where it repeats what stands elsewhere.
    Line { x: f32, baseline: f32, size: f32, line: Line, part: Option<PartId> },
    /// A straight line or filled area.
    Area { x: f32, y: f32, width: f32, height: f32, gray: u8 },
}

/// A report as pages.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) pages: Vec<Vec<Item>>,
    pub(crate) parts: Vec<Part>,
    pub(crate) signature: Option<SignaturePlace>,
}

/// Sets a report that was checked.
pub(crate) fn set(report: &Report) -> Result<Set, ReportError> {
    let mut layout = Layout { fonts: Fonts::new(), set: Set::default(), y: TOP_PT };
    layout.set.pages.push(Vec::new());
    layout.centred(&report.title)?;
    for block in &report.blocks {
        layout.block(block)?;
    }
    Ok(layout.set)
}

struct Layout {
    fonts: Fonts,
    set: Set,
    /// Where the next line's upper edge will be.
    y: f32,
}

type Cell = (f32, f32, VecDeque<Line>);

/// Cells side by side, broken into lines of one height.
struct Row {
    /// Left edge, width, lines.
    cells: Vec<Cell>,
    parts: Vec<Option<PartId>>,
    gray: u8,
    size: f32,
    frame: bool,
}

const WHITE: u8 = 255;
const LIGHT: u8 = 235;
const BLACK: u8 = 0;
const GRAY: u8 = 120;

impl Layout {
    fn block(&mut self, block: &Block) -> Result<(), ReportError> {
        match block {
            Block::Heading(head) => self.head(Kind::Heading, HEADING_PT, head),
            Block::Subheading(head) => self.head(Kind::Subheading, SUBHEADING_PT, head),
            Block::Paragraph(text) => self.paragraph(text),
            Block::Framed(texts) => self.framed(texts),
            Block::Facts(facts) => self.facts(facts),
            Block::Table(table) => self.table(table),
            Block::Timeline(moments) => self.timeline(moments),
            Block::Lines(lines) => self.mono_lines(lines),
            Block::PageBreak if self.page_is_empty() => Ok(()),
            Block::PageBreak => self.next_page(),
            Block::SignatureSpace(height) => self.signature_space(*height),
        }
    }

    fn part(&mut self, kind: Kind, within: Option<PartId>) -> PartId {
        self.set.parts.push(Part { kind, within });
        self.set.parts.len() - 1
    }

    fn page(&mut self) -> &mut Vec<Item> {
        self.set.pages.last_mut().expect("there is a first page from the start")
    }

    fn page_is_empty(&self) -> bool {
        self.set.pages.last().is_some_and(Vec::is_empty)
    }

    fn next_page(&mut self) -> Result<(), ReportError> {
        if self.set.pages.len() == REPORT_PAGES_MAX {
            return Err(too_many_pages());
        }
        self.set.pages.push(Vec::new());
        self.y = TOP_PT;
        Ok(())
    }

    /// Goes to the next page where less than `height` is left of this one.
    fn need(&mut self, height: f32) -> Result<(), ReportError> {
        if self.y + height > BOTTOM_PT && !self.page_is_empty() {
            self.next_page()?;
        }
        Ok(())
    }

    fn gap(&mut self, height: f32) {
        if !self.page_is_empty() {
            self.y += height;
        }
    }

    fn put(&mut self, x: f32, line: Line, size: f32, part: Option<PartId>) {
        let baseline = self.y + ASCENT * size;
        if !line.is_empty() {
            self.page().push(Item::Line { x, baseline, size, line, part });
        }
        self.y += LEADING * size;
    }

    fn centred(&mut self, title: &str) -> Result<(), ReportError> {
        let part = self.part(Kind::Title, None);
        for line in self.fonts.lines(&Text::strong(title), TITLE_PT, RIGHT_PT - LEFT_PT) {
            self.need(LEADING * TITLE_PT)?;
            let width = line.iter().map(|fragment| fragment.width).sum::<f32>() * TITLE_PT;
            self.put((LEFT_PT + RIGHT_PT - width) / 2.0, line, TITLE_PT, Some(part));
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn head(&mut self, kind: Kind, size: f32, head: &str) -> Result<(), ReportError> {
        let lines = self.fonts.lines(&Text::strong(head), size, RIGHT_PT - LEFT_PT);
        self.gap(GAP_PT);
        // A head is never the last thing on a page: some lines of what it heads stay with it.
        let lines_high = lines.iter().map(|_| LEADING * size).sum::<f32>();
        self.need((lines_high + 4.0 * LEADING * BODY_PT).min(BOTTOM_PT - TOP_PT))?;
        let part = self.part(kind, None);
        for line in lines {
            self.need(LEADING * size)?;
            self.put(LEFT_PT, line, size, Some(part));
        }
        self.gap(GAP_PT / 2.0);
        Ok(())
    }

    fn paragraph(&mut self, text: &Text) -> Result<(), ReportError> {
        let part = self.part(Kind::Paragraph, None);
        for line in self.fonts.lines(text, BODY_PT, RIGHT_PT - LEFT_PT) {
            self.need(LEADING * BODY_PT)?;
            self.put(LEFT_PT, line, BODY_PT, Some(part));
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn mono_lines(&mut self, lines: &[String]) -> Result<(), ReportError> {
        let part = self.part(Kind::Lines, None);
        for text in lines {
            for line in self.fonts.lines(&Text::mono(text.as_str()), LINES_PT, RIGHT_PT - LEFT_PT) {
                self.need(LEADING * LINES_PT)?;
                self.put(LEFT_PT, line, LINES_PT, Some(part));
            }
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn framed(&mut self, texts: &[Text]) -> Result<(), ReportError> {
        let width = RIGHT_PT - LEFT_PT;
        let part = self.part(Kind::Paragraph, None);
        let lines = texts.iter().flat_map(|text| self.fonts.lines(text, BODY_PT, width - 2.0 * CELL_X_PT)).collect();
        let row = Row {
            cells: vec![(LEFT_PT, width, lines)],
            parts: vec![Some(part)],
            gray: LIGHT,
            size: BODY_PT,
            frame: true,
        };
        self.row(row, None)?;
        self.gap(GAP_PT);
        Ok(())
    }

    fn facts(&mut self, facts: &[(String, Text)]) -> Result<(), ReportError> {
        let table = self.part(Kind::Table, None);
        let label_width = (RIGHT_PT - LEFT_PT) * LABEL_SHARE;
        for (label, value) in facts {
            let part = self.part(Kind::Row, Some(table));
            let parts = vec![Some(self.part(Kind::LabelCell, Some(part))), Some(self.part(Kind::Cell, Some(part)))];
            let cells = [
                (LEFT_PT, label_width, &Text::strong(label.as_str())),
                (LEFT_PT + label_width, RIGHT_PT - LEFT_PT - label_width, value),
            ];
            let row = Row { cells: self.cells(cells), parts, gray: WHITE, size: TABLE_PT, frame: true };
            self.row(row, None)?;
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), ReportError> {
        let shares: f32 = table.columns.iter().map(|(_, share)| f32::from(*share)).sum();
        let mut left = LEFT_PT;
        let mut columns = Vec::new();
        for (_, share) in &table.columns {
            let width = (RIGHT_PT - LEFT_PT) * f32::from(*share) / shares;
            columns.push((left, width));
            left += width;
        }
        let whole = self.part(Kind::Table, None);
        let heads: Vec<Text> = table.columns.iter().map(|(head, _)| Text::strong(head.as_str())).collect();
        let head = |layout: &mut Self, parts: Vec<Option<PartId>>| {
            let cells = columns.iter().zip(&heads).map(|((left, width), head)| (*left, *width, head));
            Row { cells: layout.cells(cells), parts, gray: LIGHT, size: TABLE_PT, frame: true }
        };
        let part = self.part(Kind::Row, Some(whole));
        let parts = columns.iter().map(|_| Some(self.part(Kind::HeaderCell, Some(part)))).collect();
        let first = head(self, parts);
        // The header is never the last row on a page.
        self.need((first.height() + 3.0 * LEADING * TABLE_PT).min(BOTTOM_PT - TOP_PT))?;
        self.row(first, None)?;
        let again = head(self, vec![None; columns.len()]);
        // A header that takes half the page is not worth repeating.
        let again = Some(again).filter(|head| head.height() < (BOTTOM_PT - TOP_PT) / 2.0);
        for row in &table.rows {
            let part = self.part(Kind::Row, Some(whole));
            let parts = row.iter().map(|_| Some(self.part(Kind::Cell, Some(part)))).collect();
            let cells = self.cells(columns.iter().zip(row).map(|((left, width), cell)| (*left, *width, cell)));
            self.row(Row { cells, parts, gray: WHITE, size: TABLE_PT, frame: true }, again.as_ref())?;
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn timeline(&mut self, moments: &[Moment]) -> Result<(), ReportError> {
        let list = self.part(Kind::List, None);
        let what_left = LEFT_PT + TIME_WIDTH_PT + DOT_WIDTH_PT;
        for moment in moments {
            let entry = self.part(Kind::Entry, Some(list));
            let body = Some(self.part(Kind::EntryBody, Some(entry)));
            let time = Text::strong(moment.time.as_str());
            let cells = [(LEFT_PT, TIME_WIDTH_PT, &time), (what_left, RIGHT_PT - what_left, &moment.what)];
            let row =
                Row { cells: self.cells(cells), parts: vec![body, body], gray: WHITE, size: TABLE_PT, frame: false };
            self.row(row, None)?;
        }
        self.gap(GAP_PT);
        Ok(())
    }

    fn signature_space(&mut self, height: f32) -> Result<(), ReportError> {
        let fits = height > 0.0 && height <= BOTTOM_PT - TOP_PT;
        if !fits || self.set.signature.is_some() {
            return Err(ReportError::SignatureSpace);
        }
        self.need(height)?;
        self.set.signature = Some(SignaturePlace {
            page: self.set.pages.len(),
            left_pt: RIGHT_PT - SIGNATURE_WIDTH_PT,
            bottom_pt: PAGE_HEIGHT_PT - self.y - height,
            width_pt: SIGNATURE_WIDTH_PT,
            height_pt: height,
        });
        self.y += height + GAP_PT;
        Ok(())
    }

    /// Cells of the table's letters: left edge, width, lines.
    fn cells<'a>(&self, cells: impl IntoIterator<Item = (f32, f32, &'a Text)>) -> Vec<Cell> {
        let broken = |(left, width, text): (f32, f32, &Text)| {
            (left, width, self.fonts.lines(text, TABLE_PT, width - 2.0 * CELL_X_PT).into())
        };
        cells.into_iter().map(broken).collect()
    }

    /// Draws a row: whole on this page or the next, and in pieces only where no page could hold it. `head` stands above
    /// what goes on to another page.
    fn row(&mut self, mut row: Row, head: Option<&Row>) -> Result<(), ReportError> {
        let head_height = head.map_or(0.0, Row::height);
        loop {
            let left = BOTTOM_PT - self.y;
            if row.height() <= left {
                self.piece(&mut row, usize::MAX);
                return Ok(());
            }
            let whole_page = BOTTOM_PT - TOP_PT - head_height;
            let fitting = row.lines_in(left);
            let fresh = self.y <= TOP_PT + head_height;
            // Two lines at least, lest a row leaves a single one behind.
            if fresh || (row.height() > whole_page && fitting >= 2) {
                self.piece(&mut row, fitting.max(1));
            }
            self.next_page()?;
            if let Some(head) = head {
                self.piece(&mut head.repeated(), usize::MAX);
            }
        }
    }

    /// Draws the first `count` lines of a row's cells and takes them away.
    fn piece(&mut self, row: &mut Row, count: usize) {
        let (size, top) = (row.size, self.y);
        let drawn = row.most_lines().min(count);
        let height = row.height_of(drawn);
        let edges: Vec<(f32, f32)> = row.cells.iter().map(|(left, width, _)| (*left, *width)).collect();
        if row.gray != WHITE {
            for (x, width) in &edges {
                self.page().push(Item::Area { x: *x, y: top, width: *width, height, gray: row.gray });
            }
        }
        for ((left, _, lines), part) in row.cells.iter_mut().zip(&row.parts) {
            self.y = top + CELL_Y_PT;
            for line in lines.drain(..lines.len().min(count)) {
                self.put(*left + CELL_X_PT, line, size, *part);
            }
        }
        if row.frame {
            edges.iter().for_each(|(x, width)| self.frame(*x, top, *width, height));
        } else if let [_, (x, _)] = edges.as_slice() {
            self.dot(x - DOT_WIDTH_PT / 2.0, top, height, size);
        }
        self.y = top + height;
    }

    fn frame(&mut self, x: f32, y: f32, width: f32, height: f32) {
        let line = HAIRLINE_PT;
        let sides = [
            // The right and lower side lie where the next cell has its left and upper one.
            (x, y, width + line, line),
            (x, y + height, width + line, line),
            (x, y, line, height),
            (x + width, y, line, height),
        ];
        self.page().extend(sides.map(|(x, y, width, height)| Item::Area { x, y, width, height, gray: GRAY }));
    }

    /// A point of a timeline with its piece of the line.
    fn dot(&mut self, x: f32, y: f32, height: f32, size: f32) {
        let middle = y + CELL_Y_PT + 0.65 * size;
        let side = 5.0;
        self.page().push(Item::Area { x: x - 0.5, y, width: 1.0, height, gray: GRAY });
        self.page().push(Item::Area {
            x: x - side / 2.0,
            y: middle - side / 2.0,
            width: side,
            height: side,
            gray: BLACK,
        });
    }
}

impl Row {
    fn most_lines(&self) -> usize {
        self.cells.iter().map(|(_, _, lines)| lines.len()).max().unwrap_or(0)
    }

    fn height_of(&self, lines: usize) -> f32 {
        let lines = u16::try_from(lines).unwrap_or(u16::MAX);
        2.0 * CELL_Y_PT + f32::from(lines) * LEADING * self.size
    }

    fn height(&self) -> f32 {
        self.height_of(self.most_lines())
    }

    /// How many lines stand in a piece of this height.
    fn lines_in(&self, height: f32) -> usize {
        // No page has a thousand lines.
        (0..1_000).take_while(|lines| self.height_of(lines + 1) <= height).count()
    }

    /// The row once more, as something that belongs to no part.
    fn repeated(&self) -> Self {
        let parts = vec![None; self.parts.len()];
        Self { cells: self.cells.clone(), parts, gray: self.gray, size: self.size, frame: self.frame }
    }
}
