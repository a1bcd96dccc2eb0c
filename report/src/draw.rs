//! Pages to PDF/A-2u by `krilla`, tagged, so that it can be read aloud and taken apart.

use krilla::{
    Document, SerializeSettings,
    color::luma,
    configure::{Archival, ConfigurationBuilder},
    error::KrillaError,
    geom::{PathBuilder, Point, Rect},
    metadata::{DateTime, Metadata},
    page::PageSettings,
    paint::Fill,
    surface::Surface,
    tagging::{
        Artifact, ArtifactType, ContentTag, Identifier, ListNumbering, Node, SpanTag, TableHeaderScope, Tag, TagGroup,
        TagKind, TagTree,
    },
    text::{GlyphId, KrillaGlyph},
};
use truc_proto::Timestamp;

use crate::{
    Report, ReportError,
    layout::{FOOTER_PT, Item, Kind, LEFT_PT, PAGE_HEIGHT_PT, PAGE_WIDTH_PT, Part, PartId, RIGHT_PT, Set},
    text::{Fonts, Fragment, Line},
};

const FOOTER_LETTERS_PT: f32 = 9.0;

/// Writes the pages.
pub(crate) fn write(report: &Report, set: Set) -> Result<Vec<u8>, ReportError> {
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_U).finish();
    let configuration = configuration.map_err(|e| ReportError::Write { detail: format!("{e:?}") })?;
    let mut document = Document::new_with(SerializeSettings {
        configuration,
        enable_tagging: true,
        compress_content_streams: true,
        ..SerializeSettings::default()
    });
    let mut pen = Pen { fonts: Fonts::new(), leaves: set.parts.iter().map(|_| Vec::new()).collect() };
    document.set_metadata(metadata(report, &pen.fonts));
    let pages = set.pages.len();
    for (index, items) in set.pages.iter().enumerate() {
        let settings = PageSettings::from_wh(PAGE_WIDTH_PT, PAGE_HEIGHT_PT).expect("A4 has a size");
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        for item in items {
            pen.item(&mut surface, item);
        }
        pen.footer(&mut surface, report, index + 1, pages);
        surface.finish();
        page.finish();
    }
    document.set_tag_tree(tag_tree(&set.parts, pen.leaves).with_lang(Some(report.language.tag().into())));
    document.finish().map_err(|e| ReportError::Write { detail: said(&e) })
}

/// Validation errors say what they are only in their debug form.
fn said(error: &KrillaError) -> String {
    match error {
        KrillaError::Validation(errors) => {
            format!("{:?}", errors.iter().map(|(error, _)| error).take(3).collect::<Vec<_>>())
        }
        other => other.to_string(),
    }
}

fn metadata(report: &Report, fonts: &Fonts) -> Metadata {
    Metadata::new()
        .title(fonts.shown(&report.title))
        .description(fonts.shown(&report.footer))
        .language(report.language.tag().into())
        .creator("truc".into())
        .creation_date(date(report.created))
}

/// In UTC.
fn date(at: Timestamp) -> DateTime {
    // `YYYY-MM-DDThh:mm:ss…`
    let text = at.to_string();
    let field = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u8>().ok()).unwrap_or(0);
    DateTime::new(text.get(..4).and_then(|year| year.parse().ok()).unwrap_or(1970))
        .month(field(5, 7))
        .day(field(8, 10))
        .hour(field(11, 13))
        .minute(field(14, 16))
        .second(field(17, 19))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

struct Pen {
    fonts: Fonts,
    /// What was drawn for each part.
    leaves: Vec<Vec<Identifier>>,
}

impl Pen {
    fn item(&mut self, surface: &mut Surface<'_>, item: &Item) {
        match item {
            Item::Line { x, baseline, size, line, part } => self.line(surface, *x, *baseline, *size, line, *part),
            Item::Area { x, y, width, height, gray } => {
                surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
                area(surface, [*x, *y, *width, *height], *gray);
                surface.end_tagged();
            }
        }
    }

    fn line(&mut self, surface: &mut Surface<'_>, x: f32, baseline: f32, size: f32, line: &Line, part: Option<PartId>) {
        let tag = match part {
            Some(_) => ContentTag::Span(SpanTag::empty()),
            None => ContentTag::Artifact(Artifact::with_kind(ArtifactType::PaginationOther)),
        };
        let leaf = surface.start_tagged(tag);
        surface.set_fill(Some(fill(0)));
        let mut x = x;
        for fragment in line {
            self.fragment(surface, Point::from_xy(x, baseline), size, fragment);
            x += fragment.width * size;
        }
        surface.end_tagged();
        if let Some(leaves) = part.and_then(|part| self.leaves.get_mut(part)) {
            leaves.push(leaf);
        }
    }

    fn fragment(&self, surface: &mut Surface<'_>, start: Point, size: f32, fragment: &Fragment) {
        let face = self.fonts.face(fragment.style);
        let size = size * fragment.style.scale();
        let glyph = |(at, letter): (usize, char)| {
            let (glyph, width) = face.glyph(letter)?;
            let range = at..at + letter.len_utf8();
            Some(KrillaGlyph::new(GlyphId::new(glyph), width, 0.0, 0.0, 0.0, range, None))
        };
        let glyphs: Vec<_> = fragment.text.char_indices().filter_map(glyph).collect();
        surface.draw_glyphs(start, &glyphs, face.font.clone(), &fragment.text, size, false);
    }

    fn footer(&mut self, surface: &mut Surface<'_>, report: &Report, page: usize, pages: usize) {
        surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::PaginationOther)));
        area(surface, [LEFT_PT, FOOTER_PT, RIGHT_PT - LEFT_PT, 0.4], 120);
        surface.end_tagged();
        let baseline = FOOTER_PT + 3.0 + FOOTER_LETTERS_PT;
        let size = FOOTER_LETTERS_PT;
        let number = self.fonts.cut(&report.language.page_of(page, pages), size, RIGHT_PT - LEFT_PT);
        let number_left = RIGHT_PT - number.iter().map(|fragment| fragment.width).sum::<f32>() * size;
        let name = self.fonts.cut(&report.footer, size, number_left - LEFT_PT - 12.0);
        self.line(surface, LEFT_PT, baseline, size, &name, None);
        self.line(surface, number_left, baseline, size, &number, None);
    }
}

fn area(surface: &mut Surface<'_>, [x, y, width, height]: [f32; 4], gray: u8) {
    let Some(rectangle) = Rect::from_xywh(x, y, width, height) else { return };
    let mut path = PathBuilder::new();
    path.push_rect(rectangle);
    if let Some(path) = path.finish() {
        surface.set_fill(Some(fill(gray)));
        surface.draw_path(&path);
    }
}

fn fill(gray: u8) -> Fill {
    Fill { paint: luma::Color::new(gray).into(), ..Fill::default() }
}

/// The parts as a tree, each with what was drawn for it. Parts follow those that they stand within.
fn tag_tree(parts: &[Part], leaves: Vec<Vec<Identifier>>) -> TagTree {
    let mut groups: Vec<TagGroup> = Vec::with_capacity(parts.len());
    for (part, leaves) in parts.iter().zip(leaves) {
        groups.push(TagGroup::with_children(kind(part.kind), leaves.into_iter().map(Node::from).collect()));
    }
    // From the last to the first, so that each is whole before it is given to the one around it.
    let mut tree = Vec::new();
    while let Some(mut group) = groups.pop() {
        // Its own children were pushed from the last to the first.
        if parts.get(groups.len()).is_some_and(|part| holds_parts(part.kind)) {
            group.children.reverse();
        }
        match parts.get(groups.len()).and_then(|part| part.within).and_then(|within| groups.get_mut(within)) {
            Some(around) => around.push(group),
            None => tree.push(Node::from(group)),
        }
    }
    tree.reverse();
    TagTree::from(tree)
}

/// Whether a part consists of parts; else it consists of text.
fn holds_parts(kind: Kind) -> bool {
    matches!(kind, Kind::Table | Kind::Row | Kind::List | Kind::Entry)
}

fn kind(kind: Kind) -> TagKind {
    let level = |level: u16| std::num::NonZeroU16::new(level).expect("levels count from 1");
    match kind {
        Kind::Title => Tag::Hn(level(1), None).into(),
        Kind::Heading => Tag::Hn(level(2), None).into(),
        Kind::Subheading => Tag::Hn(level(3), None).into(),
        Kind::Paragraph => Tag::P.into(),
        Kind::Lines => Tag::Code.into(),
        Kind::Table => Tag::Table.into(),
        Kind::Row => Tag::TR.into(),
        Kind::HeaderCell => Tag::TH(TableHeaderScope::Column).into(),
        Kind::LabelCell => Tag::TH(TableHeaderScope::Row).into(),
        Kind::Cell => Tag::TD.into(),
        Kind::List => Tag::L(ListNumbering::None).into(),
        Kind::Entry => Tag::LI.into(),
        Kind::EntryBody => Tag::LBody.into(),
    }
}
