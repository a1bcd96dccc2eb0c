//! Search in one directory version: by code, old code or name, as people type: without diacritics, words in any order, beginnings of words.
//!
//! Words of names are few (some thousand syllables), so each has a list of the agencies that it stands in; a search unites the lists of a word's
//! continuations, intersects the words' sets and ranks what is left. Codes need no index: agencies are sorted by them.

use std::{collections::HashMap, ops::Range};

use truc_proto::{
    AgencyId, Timestamp, fold_for_search,
    limits::{DIRECTORY_HITS_MAX, DIRECTORY_SEARCH_CHARS_MAX, DIRECTORY_SEARCH_WORDS_MAX},
    node_v1::DirectoryEntry,
    words_of,
};

use super::{Agency, Directory};

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryQuery<'a> {
    /// Words: beginnings of codes, old codes, or words of names. At most `DIRECTORY_SEARCH_CHARS_MAX` characters and
    /// `DIRECTORY_SEARCH_WORDS_MAX` words are looked at.
    pub text: &'a str,
    /// Only this code and what is below it by its form.
    pub under: Option<&'a AgencyId>,
    /// How many to return; at most `DIRECTORY_HITS_MAX`.
    pub limit: usize,
    /// When: open codes come before closed ones.
    pub at: Timestamp,
}

/// How a search found an agency, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HitClass {
    /// A word is its code or one of its old codes.
    Code,
    /// The one word is the beginning of its code or of an old code.
    CodePrefix,
    /// Every word begins a word of its names (or its code).
    Name,
}

/// An agency found.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryHit<'a> {
    /// It.
    pub agency: &'a Agency,
    /// By what.
    pub class: HitClass,
}

/// The index over one version. Made once, never changed.
#[derive(Debug)]
pub(super) struct DirectorySearch {
    names: Words,
    old_codes: Words,
    /// Characters of each agency's official name: of two that fit, the shorter name is the likelier.
    lengths: Box<[u16]>,
}

impl Directory {
    /// The best hits and how many agencies fit in all. An empty text finds everything, sorted by rank: with `under`, a part of the tree.
    #[must_use]
    pub fn search(&self, query: &DirectoryQuery<'_>) -> (Vec<DirectoryHit<'_>>, usize) {
        let agencies = self.agencies();
        let found = self.search_index().find(self, query);
        let total = found.len();
        let limit = query.limit.min(DIRECTORY_HITS_MAX);
        let hit = |rank: Rank| Some(DirectoryHit { agency: agencies.get(rank.place)?, class: rank.class });
        (best(found, limit).into_iter().filter_map(hit).collect(), total)
    }
}

impl Directory {
    /// An agency as it is shown to people and programs, with the reason when mail may not go there at `at`.
    #[must_use]
    pub fn described(&self, agency: &Agency, at: Timestamp) -> DirectoryEntry {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        DirectoryEntry {
            code: agency.code.to_string(),
            names: agency.names.iter().map(ToString::to_string).collect(),
            parent: agency.superior().map(|code| code.to_string()).unwrap_or_default(),
            old_codes: agency.old_codes.iter().map(ToString::to_string).collect(),
            valid_from: agency.valid_from.to_string(),
            valid_to: time(agency.valid_to),
            serves_until: time(agency.serves_until),
            successor: agency.successor.as_ref().map(ToString::to_string).unwrap_or_default(),
            route: agency.route.to_string(),
            node: agency.node.as_ref().map(ToString::to_string).unwrap_or_default(),
            unreachable: self.resolve(&agency.code, at).err().map(|error| error.to_wire()),
        }
    }
}

/// In the order of hits: fields from the weightiest on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: HitClass,
    closed: bool,
    /// Some word is only the beginning of one.
    partial: bool,
    length: u16,
    place: usize,
}

fn best(mut found: Vec<Rank>, limit: usize) -> Vec<Rank> {
    if limit < found.len() {
        found.select_nth_unstable(limit);
        found.truncate(limit);
    }
    found.sort_unstable();
    found
}

impl DirectorySearch {
    /// Over agencies sorted by code.
    pub(super) fn over(agencies: &[Agency]) -> Self {
        let (mut names, mut old_codes) = (WordsDraft::default(), WordsDraft::default());
        let mut lengths = Vec::with_capacity(agencies.len());
        for (place, agency) in agencies.iter().enumerate() {
            for name in &agency.names {
                words_of(&fold_for_search(name)).for_each(|word| names.add(word, place));
            }
            for code in &agency.old_codes {
                old_codes.add(&fold_for_search(code.as_str()), place);
            }
            lengths.push(u16::try_from(agency.name().chars().count()).unwrap_or(u16::MAX));
        }
        Self { names: names.finish(), old_codes: old_codes.finish(), lengths: lengths.into() }
    }

    fn find(&self, directory: &Directory, query: &DirectoryQuery<'_>) -> Vec<Rank> {
        let agencies = directory.agencies();
        let text: String = query.text.chars().take(DIRECTORY_SEARCH_CHARS_MAX).collect();
        let text = fold_for_search(&text);
        let terms: Vec<&str> = text.split(' ').filter(|t| !t.is_empty()).take(DIRECTORY_SEARCH_WORDS_MAX).collect();
        let mut fit = Places::none(agencies.len());
        match query.under {
            None => fit.set(0..agencies.len()),
            Some(code) => fit.set(directory.places_below(code)),
        }
        let mut whole = fit.clone();
        let (mut exact, mut begun) = (Places::none(agencies.len()), Places::none(agencies.len()));
        for term in &terms {
            let by_code = self.by_code(agencies, term);
            let by_name = self.by_name(agencies.len(), term);
            begun.unite(&by_code.begun);
            exact.unite(&by_code.exact);
            fit.intersect(&by_code.begun.united(&by_name.begun));
            whole.intersect(&by_code.begun.united(&by_name.exact));
        }
        let class = |place| match () {
            () if exact.has(place) => HitClass::Code,
            () if terms.len() == 1 && begun.has(place) => HitClass::CodePrefix,
            () => HitClass::Name,
        };
        let rank = |place| {
            Some(Rank {
                class: class(place),
                closed: !agencies.get(place)?.is_open(query.at),
                partial: !whole.has(place),
                length: *self.lengths.get(place)?,
                place,
            })
        };
        fit.iter().filter_map(rank).collect()
    }

    fn by_code(&self, agencies: &[Agency], term: &str) -> Found {
        let mut found = self.old_codes.find(agencies.len(), term);
        let code = term.to_uppercase();
        let start = agencies.partition_point(|agency| agency.code.as_str() < code.as_str());
        let rest = agencies.get(start..).unwrap_or_default();
        let end = start + rest.partition_point(|agency| agency.code.as_str().starts_with(&code));
        found.begun.set(start..end);
        if rest.first().is_some_and(|agency| agency.code.as_str() == code) {
            found.exact.set(start..start + 1);
        }
        found
    }

    /// A term such as `p.kd-cn` is several words of a name, all of which must be there.
    fn by_name(&self, count: usize, term: &str) -> Found {
        let mut all: Option<Found> = None;
        for word in words_of(term) {
            let found = self.names.find(count, word);
            match &mut all {
                None => all = Some(found),
                Some(all) => {
                    all.begun.intersect(&found.begun);
                    all.exact.intersect(&found.exact);
                }
            }
        }
        all.unwrap_or_else(|| Found { begun: Places::none(count), exact: Places::none(count) })
    }
}

/// Agencies with a word that begins with what was asked, and those with exactly that word.
struct Found {
    begun: Places,
    exact: Places,
}

/// Sorted words, each with the sorted places of the agencies that it stands in.
#[derive(Debug)]
struct Words {
    text: Box<str>,
    /// End of each word in `text`, and of its places in `places`.
    ends: Box<[(u32, u32)]>,
    places: Box<[u32]>,
}

impl Words {
    fn find(&self, count: usize, word: &str) -> Found {
        let mut found = Found { begun: Places::none(count), exact: Places::none(count) };
        let start = partition(self.ends.len(), |index| self.word(index) < word);
        for index in start..self.ends.len() {
            if !self.word(index).starts_with(word) {
                break;
            }
            let places = self.places.get(self.range(index, |end| end.1)).unwrap_or_default();
            for place in places {
                found.begun.set_one(*place as usize);
            }
            if self.word(index) == word {
                places.iter().for_each(|place| found.exact.set_one(*place as usize));
            }
        }
        found
    }

    fn word(&self, index: usize) -> &str {
        self.text.get(self.range(index, |end| end.0)).unwrap_or_default()
    }

    fn range(&self, index: usize, of: impl Fn(&(u32, u32)) -> u32) -> Range<usize> {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| of(end) as usize);
        let start = index.checked_sub(1).map_or(0, end);
        start..end(index)
    }
}

/// First index of `0..length` for which `before` no longer holds.
fn partition(length: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[derive(Default)]
struct WordsDraft {
    ids: HashMap<Box<str>, u32>,
    /// (word, place)
    pairs: Vec<(u32, u32)>,
}

impl WordsDraft {
    fn add(&mut self, word: &str, place: usize) {
        let (Ok(next), Ok(place)) = (u32::try_from(self.ids.len()), u32::try_from(place)) else { return };
        let id = match self.ids.get(word) {
            Some(id) => *id,
            None => *self.ids.entry(word.into()).or_insert(next),
        };
        self.pairs.push((id, place));
    }

    fn finish(self) -> Words {
        let mut sorted: Vec<(Box<str>, u32)> = self.ids.into_iter().collect();
        sorted.sort_unstable();
        let mut order = vec![0_u32; sorted.len()];
        for (rank, (_, id)) in (0_u32..).zip(&sorted) {
            if let Some(of) = order.get_mut(*id as usize) {
                *of = rank;
            }
        }
        let mut pairs = self.pairs;
        for (word, _) in &mut pairs {
            *word = order.get(*word as usize).copied().unwrap_or_default();
        }
        pairs.sort_unstable();
        pairs.dedup();
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(sorted.len()));
        let mut at = 0;
        for (rank, (word, _)) in (0_u32..).zip(&sorted) {
            text.push_str(word);
            while pairs.get(at).is_some_and(|(of, _)| *of == rank) {
                at += 1;
            }
            let end =
                |length: usize| u32::try_from(length).expect("400,000 entries of a few hundred bytes fit 32 bits");
            ends.push((end(text.len()), end(at)));
        }
        Words { text: text.into(), ends: ends.into(), places: pairs.into_iter().map(|(_, place)| place).collect() }
    }
}

/// A set of agencies: a bit for each place.
#[derive(Clone)]
struct Places(Vec<u64>);

impl Places {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn set_one(&mut self, place: usize) {
        if let Some(block) = self.0.get_mut(place / 64) {
            *block |= 1 << (place % 64);
        }
    }

    fn set(&mut self, places: Range<usize>) {
        places.for_each(|place| self.set_one(place));
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|block| block >> (place % 64) & 1 == 1)
    }

    fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
    }

    fn united(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own | other).collect())
    }

    fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own &= other);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let blocks = self.0.iter().enumerate().filter(|(_, block)| **block != 0);
        blocks.flat_map(|(index, block)| {
            (0..64).filter(move |bit| block >> bit & 1 == 1).map(move |bit| index * 64 + bit)
        })
    }
}
