//! Texts, their fonts, and how they are broken into lines.

use std::{collections::HashMap, fmt::Write};

use krilla::{Data, text::Font};
use skrifa::{
    FontRef, GlyphId, MetadataProvider,
    instance::{LocationRef, Size},
};
use unicode_normalization::UnicodeNormalization;

/// Liberation Serif, which has the widths of Times New Roman (SIL OFL 1.1, `fonts/OFL.txt`).
pub const SERIF: &[u8] = include_bytes!("../fonts/LiberationSerif-Regular.ttf");
const SERIF_BOLD: &[u8] = include_bytes!("../fonts/LiberationSerif-Bold.ttf");
const MONO: &[u8] = include_bytes!("../fonts/LiberationMono-Regular.ttf");

/// The letters of a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Strong,
    Mono,
}

/// A line or paragraph in one or more kinds of letters.
///
/// Any string may be given. It is brought to Unicode's composed form (NFC). A letter that is not shown as itself, because
/// it controls, is invisible, turns the direction of writing, sits on another letter, or is not in the font, is written by
/// its number: `[U+202E]`. So what stands on paper is what was in the name, and nothing can hide.
#[derive(Debug, Clone, Default)]
pub struct Text(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Run(Style, String),
    Break,
}

impl Text {
    /// In upright letters.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Piece::Run(Style::Plain, text.into())])
    }

    /// In bold letters.
    pub fn strong(text: impl Into<String>) -> Self {
        Self(vec![Piece::Run(Style::Strong, text.into())])
    }

    /// In letters of one width, somewhat smaller than the others.
    pub fn mono(text: impl Into<String>) -> Self {
        Self(vec![Piece::Run(Style::Mono, text.into())])
    }

    /// Followed by `next` on the same line.
    #[must_use]
    pub fn and(mut self, next: impl Into<Self>) -> Self {
        self.0.extend(next.into().0);
        self
    }

    /// Followed by `next` on a new line.
    #[must_use]
    pub fn then(mut self, next: impl Into<Self>) -> Self {
        self.0.push(Piece::Break);
        self.0.extend(next.into().0);
        self
    }

    pub(crate) fn bytes(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Run(_, text) => text.len(),
            Piece::Break => 1,
        };
        self.0.iter().map(length).sum()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

impl Style {
    /// The size of its letters in parts of the text's: those of one width look larger than they are.
    pub(crate) const fn scale(self) -> f32 {
        match self {
            Self::Plain | Self::Strong => 1.0,
            Self::Mono => 0.85,
        }
    }
}

/// Letters of one style on one line, in the order in which they are read.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    pub(crate) style: Style,
    pub(crate) text: String,
    /// In parts of the text's size.
    pub(crate) width: f32,
}

/// A line after breaking. Empty for an empty line.
pub(crate) type Line = Vec<Fragment>;

/// One of the three fonts.
pub(crate) struct Face {
    pub(crate) font: Font,
    /// The glyph of each letter and its width in parts of the letters' size.
    glyphs: HashMap<char, (u32, f32)>,
}

impl Face {
    fn new(bytes: &'static [u8]) -> Self {
        let reader = FontRef::new(bytes).expect("the fonts in this crate can be read");
        // At size 1 the metrics are in parts of the size.
        let metrics = reader.glyph_metrics(Size::new(1.0), LocationRef::default());
        let glyph = |(letter, glyph): (u32, GlyphId)| {
            Some((char::from_u32(letter)?, (glyph.to_u32(), metrics.advance_width(glyph)?)))
        };
        let glyphs = reader.charmap().mappings().filter_map(glyph).filter(|(_, (glyph, _))| *glyph != 0).collect();
        Self { font: Font::new(Data::from(bytes), 0).expect("the fonts in this crate can be read"), glyphs }
    }

    /// The glyph of a letter and its width in parts of the letters' size.
    pub(crate) fn glyph(&self, letter: char) -> Option<(u32, f32)> {
        self.glyphs.get(&letter).copied()
    }
}

/// The fonts of a report.
pub(crate) struct Fonts {
    plain: Face,
    strong: Face,
    mono: Face,
}

impl Fonts {
    pub(crate) fn new() -> Self {
        Self { plain: Face::new(SERIF), strong: Face::new(SERIF_BOLD), mono: Face::new(MONO) }
    }

    pub(crate) fn face(&self, style: Style) -> &Face {
        match style {
            Style::Plain => &self.plain,
            Style::Strong => &self.strong,
            Style::Mono => &self.mono,
        }
    }

    /// `text` in lines of at most `width` points, in letters of `size` points.
    pub(crate) fn lines(&self, text: &Text, size: f32, width: f32) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut letters = Vec::new();
        for piece in &text.0 {
            match piece {
                Piece::Run(style, text) => self.letters(*style, text, &mut letters),
                Piece::Break => {
                    break_lines(&letters, width / size, &mut lines);
                    letters.clear();
                }
            }
        }
        break_lines(&letters, width / size, &mut lines);
        lines
    }

    /// `text` with its treacherous letters named, for places that are not drawn.
    pub(crate) fn shown(&self, text: &str) -> String {
        let mut letters = Vec::new();
        self.letters(Style::Plain, text, &mut letters);
        letters.iter().map(|letter| letter.letter).collect()
    }

    /// `text` on one line, its end given up for `…` where it does not fit.
    pub(crate) fn cut(&self, text: &str, size: f32, width: f32) -> Line {
        let mut letters = Vec::new();
        self.letters(Style::Plain, text, &mut letters);
        let room = width / size;
        if letters.iter().map(|letter| letter.width).sum::<f32>() > room {
            let mut end = Vec::new();
            self.letters(Style::Plain, "…", &mut end);
            let mut left = room - end.iter().map(|letter| letter.width).sum::<f32>();
            let fitting = letters.iter().take_while(|letter| {
                left -= letter.width;
                left >= 0.0
            });
            let fitting = fitting.count();
            letters.truncate(fitting);
            letters.append(&mut end);
        }
        fragments(&letters)
    }

    fn letters(&self, style: Style, text: &str, letters: &mut Vec<Letter>) {
        let face = self.face(style);
        let mut push = |letter, width: f32| letters.push(Letter { letter, style, width: width * style.scale() });
        for letter in text.nfc() {
            match face.glyph(letter).filter(|_| !is_treacherous(letter)) {
                Some((_, width)) => push(letter, width),
                None => {
                    let mut mark = String::new();
                    let _ = write!(mark, "[U+{:04X}]", u32::from(letter));
                    for letter in mark.chars() {
                        push(letter, face.glyph(letter).map_or(0.5, |(_, width)| width));
                    }
                }
            }
        }
    }
}

/// What must not be drawn as it is: controls, invisible letters, those that reorder, and those written from the right,
/// which readers reorder by themselves.
fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || matches!(u32::from(letter),
            0xad                       // soft hyphen: seen or not, as the reader likes
            | 0x300..=0x36f            // marks that NFC left alone: no letter of the language has them
            | 0x590..=0x8ff            // Hebrew, Arabic, Syriac and the like
            | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x3164 | 0xffa0 // blank or unseen
            | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f // marks
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f // zero width, line and direction controls
            | 0xe000..=0xf8ff          // private use
            | 0xfb1d..=0xfdff | 0xfe00..=0xfe0f | 0xfe70..=0xfeff | 0xfff0..=0xffff
            | 0x1_0800..=0x1_0fff | 0x1_e800..=0x1_efff | 0xe_0000..)
}

/// A letter that is drawn as it is.
#[derive(Clone, Copy)]
struct Letter {
    letter: char,
    style: Style,
    /// In parts of the text's size.
    width: f32,
}

/// Breaks at blanks; where there is none behind a sign that joins (`/`, `-`, `@`); else anywhere.
fn break_lines(letters: &[Letter], room: f32, lines: &mut Vec<Line>) {
    let mut rest = letters;
    loop {
        let (line, next) = rest.split_at(first_line(rest, room));
        lines.push(fragments(trim(line)));
        rest = next.get(next.iter().take_while(|letter| letter.letter == ' ').count()..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
    }
}

/// How many letters stand on the first line; at least one, if there is any.
fn first_line(letters: &[Letter], room: f32) -> usize {
    let (mut width, mut blank, mut joint) = (0.0, None, None);
    for (index, letter) in letters.iter().enumerate() {
        width += letter.width;
        if letter.letter == ' ' {
            // A time stays with its zone: `08:30:00 +07:00`.
            if letters.get(index + 1).is_none_or(|next| next.letter != '+') {
                blank = Some(index);
            }
        } else if width > room {
            return blank.filter(|at| *at > 0).or(joint).unwrap_or(index.max(1));
        } else if matches!(letter.letter, '/' | '-' | '–' | '@' | '.' | ',' | ':' | ';' | '_' | '&' | '=' | '?') {
            joint = Some(index + 1);
        }
    }
    letters.len()
}

fn trim(line: &[Letter]) -> &[Letter] {
    let blanks = line.iter().rev().take_while(|letter| letter.letter == ' ').count();
    line.get(..line.len() - blanks).unwrap_or_default()
}

fn fragments(letters: &[Letter]) -> Line {
    let same = letters.chunk_by(|before, after| before.style == after.style);
    let fragment = |letters: &[Letter]| Fragment {
        style: letters.first().map_or(Style::Plain, |letter| letter.style),
        text: letters.iter().map(|letter| letter.letter).collect(),
        width: letters.iter().map(|letter| letter.width).sum(),
    };
    same.map(fragment).collect()
}
