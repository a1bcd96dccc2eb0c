//! What a document is found by: the words of its subject, its type and its number and notation, its year and month, and which way it went. Pure.
//!
//! In the index a word is a list whose name is an HMAC of the word under a key of this node, so that the folder tells nobody what documents are about.

use std::{collections::BTreeSet, fmt};

use ring::hmac;
use truc_proto::{
    EnvelopeId,
    edxml::{Date, DocumentId},
    fold_for_search,
    limits::{DOCUMENT_WORDS_MAX, SEARCH_CHARS_MAX, SEARCH_WORDS_MAX},
    words_of,
};
use truc_signer::StorageKey;

use crate::records::{About, Particulars};

/// Most words of a number and notation, or anything else that begins with a digit, that stand together.
const JOINED_WORDS_MAX: usize = 6;
/// What the secret is derived for that words have their names from.
pub(crate) const NAMES: &str = "truc/index-words/1";
/// Years that documents are of; what says another is taken for a mistake.
const YEARS: std::ops::RangeInclusive<u16> = 1900..=2199;

/// Names lists of the index after words.
#[derive(Clone)]
pub struct WordKey(hmac::Key);

impl WordKey {
    /// Of a node's first storage key.
    #[must_use]
    pub fn of(storage: &StorageKey) -> Self {
        Self::named(&*storage.naming_secret(NAMES))
    }

    /// Of the secret that the first storage key gave, and later ones keep.
    pub(crate) fn named(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Tells indexes of one key and version of keys from others.
    pub(crate) fn schema(&self, version: u32) -> u32 {
        let [a, b, c, d, ..] = self.list("schema", &version.to_string()).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn list(&self, kind: &str, text: &str) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        let tag = context.sign();
        u64::from_be_bytes(tag.as_ref().first_chunk().copied().unwrap_or_default())
    }

    fn word(&self, word: &str) -> u64 {
        self.list("word", word)
    }

    fn year(&self, year: u16) -> u64 {
        self.list("year", &year.to_string())
    }

    fn month(&self, year: u16, month: u8) -> u64 {
        self.list("month", &format!("{year}-{month}"))
    }

    fn direction(&self, sent: bool) -> u64 {
        self.list("direction", if sent { "sent" } else { "received" })
    }

    /// The lists that a document is on.
    pub(crate) fn lists(&self, document: &Described<'_>) -> Vec<u64> {
        let (year, month, _) = document.day().parts();
        let others = [self.year(year), self.month(year, month), self.direction(document.sent)];
        document.words().iter().map(|word| self.word(word)).chain(others).collect()
    }
}

impl fmt::Debug for WordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WordKey([redacted])")
    }
}

/// A document as the journal describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described<'a> {
    pub(crate) sent: bool,
    pub(crate) envelope: EnvelopeId,
    pub(crate) about: &'a About,
}

impl Described<'_> {
    /// Number and notation, as written.
    pub(crate) fn number(&self) -> String {
        let own = self.about.particulars.as_ref().map(|particulars| particulars.number.clone());
        own.filter(|number| !number.is_empty()).unwrap_or_else(|| match DocumentId::read(&self.about.document_id) {
            DocumentId::Parts { number, notation, .. } => format!("{number}/{notation}"),
            DocumentId::Uuid(_) | DocumentId::Other => String::new(),
        })
    }

    /// The day it bears; where it bears none, the day it was sent on.
    pub(crate) fn day(&self) -> Date {
        let sensible = |day: &Date| YEARS.contains(&day.parts().0);
        let own =
            self.about.particulars.as_ref().and_then(|particulars| particulars.date.parse().ok()).filter(sensible);
        let named = || match DocumentId::read(&self.about.document_id) {
            DocumentId::Parts { date, .. } => date.value.filter(sensible),
            DocumentId::Uuid(_) | DocumentId::Other => None,
        };
        own.or_else(named).unwrap_or_else(|| Date::of(self.envelope.made_at()))
    }

    /// Its words, at most [`DOCUMENT_WORDS_MAX`]; number and type before the subject, so that a long one does not push them out.
    pub(crate) fn words(&self) -> BTreeSet<String> {
        let mut words = Words::default();
        let number: String = self.number().split_whitespace().collect();
        words.add(&number);
        words.add(&self.day().parts().0.to_string());
        if let Some(Particulars { type_name, .. }) = &self.about.particulars {
            words.add(type_name);
        }
        words.add(&self.about.subject);
        words.0
    }
}

#[derive(Default)]
struct Words(BTreeSet<String>);

impl Words {
    fn add(&mut self, text: &str) {
        for token in fold_for_search(text).split(' ') {
            let parts: Vec<&str> = words_of(token).map(plain).collect();
            // `15/VPCP-KSTT` is found as a whole, too, and from its beginning: `15/VPCP`.
            let joined = if is_number(&parts) { parts.len().min(JOINED_WORDS_MAX) } else { 1 };
            let wholes = (2..=joined).filter_map(|count| Some(parts.get(..count)?.join("/")));
            for word in wholes.chain(parts.iter().map(|part| (*part).to_owned())) {
                if self.0.len() < DOCUMENT_WORDS_MAX {
                    self.0.insert(word);
                }
            }
        }
    }
}

/// `05` and `5` are one number.
fn plain(word: &str) -> &str {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word;
    }
    match word.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}

fn is_number(parts: &[&str]) -> bool {
    parts.first().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()))
}

/// A search that cannot be done: in English and Vietnamese.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too long.
    #[error(
        "a search has at most {SEARCH_CHARS_MAX} characters and {SEARCH_WORDS_MAX} words; leave some out / Nội dung tìm có tối đa {SEARCH_CHARS_MAX} ký tự và {SEARCH_WORDS_MAX} từ; hãy bớt từ"
    )]
    TooLong,
    /// Nothing.
    #[error("say at least one word, a number, or a time / Hãy nhập ít nhất một từ, số ký hiệu hoặc khoảng thời gian")]
    Nothing,
    /// A time that is none.
    #[error(
        "`{0}` is no year, month or day: write 2023, 2023-05 or 2023-05-17 / `{0}` không phải năm, tháng hay ngày: hãy viết 2023, 2023-05 hoặc 2023-05-17"
    )]
    Time(String),
    /// The end is before the beginning.
    #[error("the time ends before it begins / Khoảng thời gian kết thúc trước khi bắt đầu")]
    Backwards,
}

/// What is searched for: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentQuery {
    words: BTreeSet<String>,
    days: Option<(Date, Date)>,
    sent: Option<bool>,
}

impl DocumentQuery {
    /// Words with or without diacritics, in any order; from the beginning of `from` to the end of `to` (a year, month or day each, or empty); sent,
    /// received, or both.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn read(text: &str, from: &str, to: &str, sent: Option<bool>) -> Result<Self, QueryError> {
        if text.chars().nth(SEARCH_CHARS_MAX).is_some() {
            return Err(QueryError::TooLong);
        }
        let words = asked(&fold_for_search(text));
        let first = days(from)?.map(|(first, _)| first);
        let last = days(to)?.map(|(_, last)| last);
        let bounds = (Date::new(*YEARS.start(), 1, 1), Date::new(*YEARS.end(), 12, 31));
        let days = match (first.is_some() || last.is_some(), first.or(bounds.0), last.or(bounds.1)) {
            (true, Some(first), Some(last)) => Some((first, last)),
            _ => None,
        };
        match days {
            Some((first, last)) if first > last => Err(QueryError::Backwards),
            None if words.is_empty() => Err(QueryError::Nothing),
            _ if words.len() > SEARCH_WORDS_MAX => Err(QueryError::TooLong),
            _ => Ok(Self { words, days, sent }),
        }
    }

    /// Lists of the index: what is searched for is on one of each group.
    pub(crate) fn groups(&self, key: &WordKey) -> Vec<Vec<u64>> {
        let words = self.words.iter().map(|word| vec![key.word(word)]);
        let days = self.days.iter().map(|(first, last)| months(key, *first, *last));
        words.chain(days).chain(self.sent.iter().map(|sent| vec![key.direction(*sent)])).collect()
    }

    /// Whether it is what is searched for.
    pub(crate) fn fits(&self, document: &Described<'_>) -> bool {
        let day = document.day();
        self.sent.is_none_or(|sent| sent == document.sent)
            && self.days.is_none_or(|(first, last)| (first..=last).contains(&day))
            && self.words.is_subset(&document.words())
    }
}

fn asked(folded: &str) -> BTreeSet<String> {
    let tokens: Vec<Vec<&str>> = folded.split(' ').map(|token| words_of(token).map(plain).collect()).collect();
    let mut words = BTreeSet::new();
    for (index, parts) in tokens.iter().enumerate() {
        let before_number = tokens.get(index + 1).is_some_and(|next| is_number(next));
        match parts.as_slice() {
            // "số 15", "năm 2020": people say so, documents need not.
            ["so" | "nam" | "thang" | "ngay"] if before_number => {}
            [_, _, ..] if is_number(parts) => {
                _ = words.insert(parts.iter().take(JOINED_WORDS_MAX).copied().collect::<Vec<_>>().join("/"));
            }
            _ => words.extend(parts.iter().map(|part| (*part).to_owned())),
        }
    }
    words
}

/// First and last day of a year, month or day.
fn days(text: &str) -> Result<Option<(Date, Date)>, QueryError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || QueryError::Time(text.chars().take(40).collect());
    let numbers: Option<Vec<u16>> = text.split(['-', '/']).map(number).collect();
    let range = match numbers.as_deref() {
        Some([year]) => (Date::new(*year, 1, 1), Date::new(*year, 12, 31)),
        Some([year, month]) => {
            let month = u8::try_from(*month).map_err(|_| wrong())?;
            (Date::new(*year, month, 1), (28..=31).rev().find_map(|day| Date::new(*year, month, day)))
        }
        Some([year, month, day]) => {
            let narrow = |number: u16| u8::try_from(number).map_err(|_| wrong());
            let day = Date::new(*year, narrow(*month)?, narrow(*day)?);
            (day, day)
        }
        _ => (None, None),
    };
    match range {
        (Some(first), Some(last)) if YEARS.contains(&first.parts().0) => Ok(Some((first, last))),
        _ => Err(wrong()),
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Whole years by their own lists, the rest by months.
fn months(key: &WordKey, first: Date, last: Date) -> Vec<u64> {
    let ((from_year, from_month, _), (to_year, to_month, _)) = (first.parts(), last.parts());
    let mut lists = Vec::new();
    for year in from_year..=to_year {
        let from = if year == from_year { from_month } else { 1 };
        let to = if year == to_year { to_month } else { 12 };
        if (from, to) == (1, 12) {
            lists.push(key.year(year));
        } else {
            lists.extend((from..=to).map(|month| key.month(year, month)));
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> EnvelopeId {
        EnvelopeId::new("2024-12-31T18:00:00Z".parse().unwrap(), [1; 10])
    }

    fn about(subject: &str, document_id: &str, particulars: Option<(&str, &str, &str)>) -> About {
        let particulars = particulars.map(|(number, type_name, date)| Particulars {
            number: number.into(),
            type_name: type_name.into(),
            date: date.into(),
        });
        About { subject: subject.into(), document_id: document_id.into(), particulars, ..About::default() }
    }

    #[track_caller]
    fn check(about: &About, query: &str, expected: bool) {
        let described = Described { sent: true, envelope: envelope(), about };
        let query = DocumentQuery::read(query, "", "", None).unwrap();
        assert_eq!(query.fits(&described), expected, "{query:?} and {:?}", described.words());
        // The index says the same.
        let key = WordKey::of(&StorageKey::generate(1).unwrap());
        let lists = key.lists(&described);
        let found = query.groups(&key).iter().all(|group| group.iter().any(|list| lists.contains(list)));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_document_is_found_as_people_ask_for_it() {
        let decree = about(
            "Về công tác văn thư",
            "G22,2020/03/05,30/2020/NĐ-CP",
            Some(("30/2020/NĐ-CP", "Nghị định", "2020/03/05")),
        );
        for found in [
            "nghi dinh 30 2020",
            "Nghị định số 30/2020/NĐ-CP",
            "30/2020/nd-cp",
            "30/2020",
            "nd-cp van thu",
            "VĂN THƯ công tác",
            "nghị định 30 năm 2020",
            "nghị định số 030 ngày 2020",
        ] {
            check(&decree, found, true);
        }
        for not in ["30/2021", "0/2020/nd-cp", "2020/nd-cp", "nghi dinh 31", "van thu luu tru", "ngay"] {
            check(&decree, not, false);
        }
        let letter = about("V/v bổ nhiệm cán bộ theo Quyết định số 05/QĐ-UBND", "H26,2023/05/17,15/VPCP-KSTT", None);
        for found in
            ["15/VPCP-KSTT", "15/vpcp", "15/VPCP–KSTT", "15 2023", "bo nhiem can bo", "5/qd-ubnd", "QĐ-UBND 05"]
        {
            check(&letter, found, true);
        }
        for not in ["15/UBND", "15/VPCP-KSTT-X", "5/VPCP", "quyet dinh bo nhiem can bo 16"] {
            check(&letter, not, false);
        }
    }

    #[test]
    fn a_time_is_a_year_a_month_or_a_day_of_the_document() {
        let dated = about("a", "H26,2023/05/17,1/A", None);
        let undated = about("a", "6a1a7a3e-8f0e-4f7c-9d3c-0d3a3a3a3a3a", None);
        let mistaken = about("a", "H26,0203/05/17,1/A", None);
        let fits = |about: &About, from: &str, to: &str| {
            let described = Described { sent: false, envelope: envelope(), about };
            let query = DocumentQuery::read("", from, to, Some(false)).unwrap();
            let key = WordKey::of(&StorageKey::generate(1).unwrap());
            let lists = key.lists(&described);
            let found = query.groups(&key).iter().all(|group| group.iter().any(|list| lists.contains(list)));
            assert!(found || !query.fits(&described), "the index leaves nothing out");
            query.fits(&described)
        };
        for (from, to) in
            [("2023", ""), ("", "2023"), ("2023-05", "2023/05"), ("2023-05-17", "2023-05-17"), ("2019-11", "2026-06")]
        {
            assert!(fits(&dated, from, to), "{from} {to}");
        }
        for (from, to) in [("2024", ""), ("", "2022"), ("2023-06", ""), ("2023-05-18", ""), ("", "2023-05-16")] {
            assert!(!fits(&dated, from, to), "{from} {to}");
        }
        // In Vietnam it was the next year already.
        for about in [&undated, &mistaken] {
            assert!(fits(about, "2025-01-01", "2025-01-01"));
            assert!(!fits(about, "", "2024"));
        }
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_and_said_why() {
        let read = |text: &str, from: &str, to: &str| DocumentQuery::read(text, from, to, None).unwrap_err();
        assert_eq!(read("", "", ""), QueryError::Nothing);
        assert_eq!(read("– / …", "", ""), QueryError::Nothing);
        assert_eq!(read(&"a".repeat(SEARCH_CHARS_MAX + 1), "", ""), QueryError::TooLong);
        let many: Vec<String> = (0..=SEARCH_WORDS_MAX).map(|number| number.to_string()).collect();
        assert_eq!(read(&many.join(" "), "", ""), QueryError::TooLong);
        assert_eq!(read("a", "2024", "2023"), QueryError::Backwards);
        for bad in ["x", "2023-13", "2023-02-30", "1", "1899", "2200", "2023-1-1-1", "-", "20230517", "+2023"] {
            assert!(matches!(read("a", bad, ""), QueryError::Time(_)), "{bad}");
            assert!(matches!(read("a", "", bad), QueryError::Time(_)), "{bad}");
        }
    }

    #[test]
    fn a_long_subject_neither_makes_more_words_than_allowed_nor_pushes_out_the_number() {
        let long: String = (0..2 * DOCUMENT_WORDS_MAX).map(|number| format!("w{number} ")).collect();
        let about = about(&long, "H26,2023/05/17,15/VPCP-KSTT", Some(("15/VPCP-KSTT", "Công văn", "2023/05/17")));
        let described = Described { sent: true, envelope: envelope(), about: &about };
        assert_eq!(described.words().len(), DOCUMENT_WORDS_MAX);
        check(&about, "cong van 15/VPCP-KSTT w7", true);
    }

    #[test]
    fn lists_of_the_index_tell_nothing_without_the_key() {
        let about = about("bổ nhiệm", "", None);
        let described = Described { sent: true, envelope: envelope(), about: &about };
        let [one, same, other] = [[1; 32], [1; 32], [2; 32]]
            .map(|bytes| WordKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)).lists(&described));
        assert_eq!(one, same);
        assert!(one.iter().all(|list| !other.contains(list)));
        let key = WordKey(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]));
        assert_ne!(key.word("2023"), key.year(2023), "a word is no year");
        assert_ne!(key.schema(1), key.schema(2));
        assert_eq!(format!("{key:?}"), "WordKey([redacted])");
    }
}
