//! The box of a visible signature: a frame and lines of text in the caller's font, of which the used glyphs are embedded.

use std::fmt::Write;

use lopdf::{Document, Object, ObjectId, Stream, dictionary};
use skrifa::{
    FontRef, GlyphId, MetadataProvider,
    instance::{LocationRef, Size},
};
use subsetter::GlyphRemapper;
use truc_proto::{
    Digest,
    limits::{PDF_BOX_LINE_CHARS_MAX, PDF_BOX_LINES_MAX},
};
use unicode_normalization::UnicodeNormalization;

use super::{PdfSignError, form, malformed};

/// Where a signature is to be seen, and what stands there. Lengths are points (1/72 inch).
#[derive(Debug, Clone)]
pub struct SignatureBox<'a> {
    /// The page, from 1.
    pub page: usize,
    /// From the left edge of the page as it is shown.
    pub left_pt: f32,
    /// From its lower edge.
    pub bottom_pt: f32,
    /// Width.
    pub width_pt: f32,
    /// Height.
    pub height_pt: f32,
    /// What it says, a line each. The letters are made as large as fits, 10 points at most.
    pub lines: Vec<String>,
    /// A TrueType font that has their letters, Vietnamese ones included, and may be embedded.
    pub font: &'a [u8],
}

const LETTERS_PT_MAX: f32 = 10.0;
const LETTERS_PT_MIN: f32 = 4.0;
const PADDING_PT: f32 = 4.0;
/// From one baseline to the next, in parts of the letters' size.
const LINE_HEIGHT: f32 = 1.2;
/// From the upper edge of a line to its baseline, likewise.
const ASCENT: f32 = 0.9;
/// Most steps from a page up to the root of the page tree.
const PAGE_TREE_DEPTH_MAX: usize = 64;

/// The page's object, and the box as its rectangle there.
pub(super) fn place(document: &Document, visible: &SignatureBox<'_>) -> Result<(ObjectId, Vec<Object>), PdfSignError> {
    let page = form::page(document, visible.page)?;
    if inherited(document, page, b"Rotate").and_then(|turn| turn.as_i64().ok()).unwrap_or(0) % 360 != 0 {
        return Err(refused(format!("page {} is shown turned", visible.page)));
    }
    let shown = inherited(document, page, b"CropBox").or_else(|| inherited(document, page, b"MediaBox"));
    let edges = shown
        .and_then(|shown| numbers(document, shown))
        .ok_or_else(|| PdfSignError::Malformed { detail: format!("page {} says no size", visible.page) })?;
    let [left, bottom, right, top] = edges;
    let (left, right, bottom, top) = (left.min(right), left.max(right), bottom.min(top), bottom.max(top));
    let rectangle = [
        left + visible.left_pt,
        bottom + visible.bottom_pt,
        left + visible.left_pt + visible.width_pt,
        bottom + visible.bottom_pt + visible.height_pt,
    ];
    let [box_left, box_bottom, box_right, box_top] = rectangle;
    let within = left <= box_left && box_left < box_right && box_right <= right;
    if !(within && bottom <= box_bottom && box_bottom < box_top && box_top <= top) {
        return Err(refused(format!("it does not lie within page {}", visible.page)));
    }
    Ok((page, rectangle.map(Object::Real).to_vec()))
}

/// An entry of a page that its parents may hold for it (ISO 32000-1 7.7.3.4).
fn inherited<'a>(document: &'a Document, page: ObjectId, key: &[u8]) -> Option<&'a Object> {
    let mut node = document.get_dictionary(page).ok()?;
    for _ in 0..PAGE_TREE_DEPTH_MAX {
        if let Ok(found) = node.get_deref(key, document) {
            return Some(found);
        }
        node = node.get_deref(b"Parent", document).and_then(Object::as_dict).ok()?;
    }
    None
}

fn numbers(document: &Document, object: &Object) -> Option<[f32; 4]> {
    let list = object.as_array().ok().filter(|list| list.len() == 4)?;
    let numbers = list.iter().map(|number| document.dereference(number).and_then(|(_, number)| number.as_float()).ok());
    let numbers: Vec<f32> = numbers.collect::<Option<_>>()?;
    <[f32; 4]>::try_from(numbers).ok().filter(|numbers| numbers.iter().all(|number| number.is_finite()))
}

/// Adds the box's drawing and font to the update and says which object the drawing is.
pub(super) fn draw(update: &mut Document, visible: &SignatureBox<'_>) -> Result<ObjectId, PdfSignError> {
    let text = Text::set(visible)?;
    let size = text.size_in(visible)?;
    let mut content = format!(
        "q 0 G 0.6 w 0.3 0.3 {:.2} {:.2} re S Q\nBT 0 g /F {size:.2} Tf\n",
        visible.width_pt - 0.6,
        visible.height_pt - 0.6
    );
    let mut baseline = visible.height_pt - PADDING_PT - ASCENT * size;
    for line in &text.lines {
        let _ = writeln!(content, "1 0 0 1 {PADDING_PT} {baseline:.2} Tm <{}> Tj", hexadecimal(line));
        baseline -= LINE_HEIGHT * size;
    }
    content.push_str("ET\n");
    let font = text.embed(update)?;
    let drawing = dictionary! {
        "Type" => "XObject",
        "Subtype" => "Form",
        "BBox" => vec![0.into(), 0.into(), visible.width_pt.into(), visible.height_pt.into()],
        "Resources" => dictionary! { "Font" => dictionary! { "F" => font } },
    };
    update.try_add_object(Stream::new(drawing, content.into_bytes())).map_err(malformed)
}

/// Lines as glyphs of a subset of the font.
struct Text<'a> {
    font: FontRef<'a>,
    bytes: &'a [u8],
    remapper: GlyphRemapper,
    /// The first letter shown by each glyph of the subset; the first glyph shows none.
    letters: Vec<char>,
    lines: Vec<Vec<u16>>,
}

impl<'a> Text<'a> {
    fn set(visible: &SignatureBox<'a>) -> Result<Self, PdfSignError> {
        if visible.lines.len() > PDF_BOX_LINES_MAX {
            return Err(refused(format!("it has more than {PDF_BOX_LINES_MAX} lines")));
        }
        let font = FontRef::new(visible.font).map_err(|e| refused(format!("its font cannot be read ({e})")))?;
        let mut text =
            Self { font, bytes: visible.font, remapper: GlyphRemapper::new(), letters: vec!['\0'], lines: Vec::new() };
        for line in &visible.lines {
            let line: Vec<char> = line.nfc().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
            if line.len() > PDF_BOX_LINE_CHARS_MAX {
                return Err(refused(format!("a line has more than {PDF_BOX_LINE_CHARS_MAX} characters")));
            }
            let glyphs = line.into_iter().map(|letter| text.glyph(letter)).collect::<Result<_, _>>()?;
            text.lines.push(glyphs);
        }
        Ok(text)
    }

    fn glyph(&mut self, letter: char) -> Result<u16, PdfSignError> {
        let glyph = self.font.charmap().map(letter).and_then(|glyph| u16::try_from(glyph.to_u32()).ok());
        let glyph = glyph.ok_or_else(|| refused(format!("its font has no {letter:?}")))?;
        let glyph = self.remapper.remap(glyph);
        if usize::from(glyph) == self.letters.len() {
            self.letters.push(letter);
        }
        Ok(glyph)
    }

    /// Widths of the subset's glyphs in thousandths of the letters' size.
    fn widths(&self) -> Vec<f32> {
        let metrics = self.font.glyph_metrics(Size::unscaled(), LocationRef::default());
        let original = self.remapper.remapped_gids();
        original.map(|glyph| self.scaled(metrics.advance_width(GlyphId::from(glyph)).unwrap_or(0.0))).collect()
    }

    fn scaled(&self, units: f32) -> f32 {
        let per_em = f32::from(self.font.metrics(Size::unscaled(), LocationRef::default()).units_per_em.max(1));
        (units * 1000.0 / per_em).round()
    }

    /// The size of letters at which all lines fit.
    fn size_in(&self, visible: &SignatureBox<'_>) -> Result<f32, PdfSignError> {
        let widths = self.widths();
        let width = |line: &Vec<u16>| line.iter().filter_map(|glyph| widths.get(usize::from(*glyph))).sum::<f32>();
        let widest = self.lines.iter().map(width).fold(1.0, f32::max);
        let lines: f32 = self.lines.iter().map(|_| LINE_HEIGHT).sum::<f32>().max(LINE_HEIGHT);
        let room = |length: f32| length - 2.0 * PADDING_PT;
        let size = LETTERS_PT_MAX.min(room(visible.width_pt) * 1000.0 / widest).min(room(visible.height_pt) / lines);
        if size < LETTERS_PT_MIN {
            return Err(refused(format!("its text fits only in letters under {LETTERS_PT_MIN} points")));
        }
        Ok(size)
    }

    /// A composite font with Identity-H and ToUnicode (ISO 32000-1 9.7), so that the text can be found and copied.
    fn embed(&self, update: &mut Document) -> Result<ObjectId, PdfSignError> {
        let subset = subsetter::subset(self.bytes, 0, &self.remapper)
            .map_err(|e| refused(format!("its font cannot be embedded ({e})")))?;
        let metrics = self.font.metrics(Size::unscaled(), LocationRef::default());
        let bounds = metrics.bounds.unwrap_or_default();
        let name = format!("{}+SignatureText", tag(&subset));
        let length = i64::try_from(subset.len()).unwrap_or(i64::MAX);
        let mut add = |object: Object| update.try_add_object(object).map_err(malformed);
        let file = add(Stream::new(dictionary! { "Length1" => length }, subset).into())?;
        let edges = [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max];
        let descriptor = dictionary! {
            "Type" => "FontDescriptor",
            "FontName" => Object::Name(name.clone().into_bytes()),
            "Flags" => 4, // Symbolic: its glyphs are named by number
            "FontBBox" => edges.map(|edge| Object::Real(self.scaled(edge))).to_vec(),
            "ItalicAngle" => 0,
            "Ascent" => self.scaled(metrics.ascent),
            "Descent" => self.scaled(metrics.descent),
            "CapHeight" => self.scaled(metrics.cap_height.unwrap_or(metrics.ascent)),
            "StemV" => 80,
            "FontFile2" => file,
        };
        let descriptor = add(descriptor.into())?;
        let widths = self.widths().into_iter().map(Object::Real).collect::<Vec<_>>();
        let descendant = dictionary! {
            "Type" => "Font",
            "Subtype" => "CIDFontType2",
            "BaseFont" => Object::Name(name.clone().into_bytes()),
            "CIDSystemInfo" => dictionary! {
                "Registry" => Object::string_literal("Adobe"),
                "Ordering" => Object::string_literal("Identity"),
                "Supplement" => 0,
            },
            "FontDescriptor" => descriptor,
            "DW" => 0,
            "W" => vec![0.into(), Object::Array(widths)],
            "CIDToGIDMap" => "Identity",
        };
        let descendant = add(descendant.into())?;
        let to_unicode = add(Stream::new(dictionary! {}, self.to_unicode().into_bytes()).into())?;
        add(dictionary! {
            "Type" => "Font",
            "Subtype" => "Type0",
            "BaseFont" => Object::Name(name.into_bytes()),
            "Encoding" => "Identity-H",
            "DescendantFonts" => vec![descendant.into()],
            "ToUnicode" => to_unicode,
        }
        .into())
    }

    fn to_unicode(&self) -> String {
        let mut map = String::from(
            "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
             /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n/CMapName /Adobe-Identity-UCS def\n\
             /CMapType 2 def\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n",
        );
        let letters: Vec<_> = self.letters.iter().enumerate().skip(1).collect();
        // At most a hundred in a block (Adobe Technical Note 5411).
        for block in letters.chunks(100) {
            let _ = writeln!(map, "{} beginbfchar", block.len());
            for (glyph, letter) in block {
                let _ = writeln!(map, "<{glyph:04X}> <{}>", hexadecimal(letter.encode_utf16(&mut [0; 2])));
            }
            map.push_str("endbfchar\n");
        }
        map.push_str("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n");
        map
    }
}

fn hexadecimal(units: &[u16]) -> String {
    units.iter().fold(String::new(), |mut text, unit| {
        let _ = write!(text, "{unit:04X}");
        text
    })
}

/// Six letters that tell subsets of one font apart (ISO 32000-1 9.6.4).
fn tag(subset: &[u8]) -> String {
    Digest::of(subset).as_bytes().iter().take(6).map(|byte| char::from(b'A' + byte % 26)).collect()
}

fn refused(detail: String) -> PdfSignError {
    PdfSignError::Box { detail }
}
