//! Lists in pages, newest first, over what is open and what left memory. A page token is where the next page begins: only
//! what began before that journal position is on it, so that what comes meanwhile moves nothing.

use std::{collections::BTreeMap, sync::Arc};

use super::{Error, found::no_answer};
use crate::{core::Key, shell::Shell};

/// A page has at most so many entries, and this many when the caller does not say.
const PAGE: (usize, usize) = (500, 50);

/// Part of a list: per document where it began and its entries, newest first.
pub(super) struct Part<T> {
    documents: Vec<(u64, Vec<T>)>,
    /// Everything from here on was looked at; none: everything there is.
    down_to: Option<u64>,
}

/// What is open, until `size` entries are found.
pub(super) fn open<D, T>(
    documents: &BTreeMap<u64, D>,
    before: u64,
    size: usize,
    entries: impl Fn(&D) -> Vec<T>,
) -> Part<T> {
    let mut part = Part { documents: Vec::new(), down_to: None };
    let mut count = 0;
    for (begin, document) in documents.range(..before).rev() {
        if count >= size {
            part.down_to = Some(begin + 1);
            break;
        }
        let found = entries(document);
        count += found.len();
        if !found.is_empty() {
            part.documents.push((*begin, found));
        }
    }
    part
}

/// What left memory: at most `size` documents are looked at, so that a page may be shorter than asked, or empty, with more
/// behind it.
pub(super) async fn closed<T: Send + 'static>(
    shell: &Arc<Shell>,
    sent: bool,
    before: u64,
    size: usize,
    entries: impl Fn(&Key) -> Vec<T> + Send + 'static,
) -> Result<Part<T>, Error> {
    let archive = shell.archive.clone();
    let work = move || {
        let hits = archive.closed_before(sent, before, size)?;
        let down_to = hits.last().filter(|_| hits.len() >= size).map(|(begin, _)| *begin);
        let documents = hits.into_iter().map(|(begin, key)| (begin, entries(&key)));
        Ok(Part { documents: documents.filter(|(_, found)| !found.is_empty()).collect(), down_to })
    };
    let found: Result<_, truc_ledger::index::IndexError> = shell.work("looking into the archive", work).await?;
    found.map_err(|error| no_answer(&error))
}

/// One page of both, and where the next one begins. What was closed between the two looks counts once.
pub(super) fn merge<T>(open: Part<T>, closed: Option<Part<T>>, size: usize) -> (Vec<T>, Option<u64>) {
    let parts = [Some(open), closed];
    let floor = parts.iter().flatten().filter_map(|part| part.down_to).max();
    let mut documents = BTreeMap::new();
    for (begin, entries) in parts.into_iter().flatten().flat_map(|part| part.documents) {
        if floor.is_none_or(|floor| begin >= floor) {
            documents.entry(begin).or_insert(entries);
        }
    }
    let mut page = Vec::new();
    for (begin, entries) in documents.into_iter().rev() {
        if page.len() >= size {
            return (page, Some(begin + 1));
        }
        page.extend(entries);
    }
    (page, floor)
}

pub(super) fn token(before: u64) -> String {
    data_encoding::BASE64URL_NOPAD.encode(&before.to_be_bytes())
}

pub(super) fn read_token(token: &str) -> Result<u64, Error> {
    if token.is_empty() {
        return Ok(u64::MAX);
    }
    let bytes = Some(token).filter(|token| token.len() <= 11);
    let bytes = bytes.and_then(|token| data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok());
    bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_be_bytes).ok_or_else(|| {
        Error::invalid(
            "`page_token` is not one of ours; start the list again / `page_token` không hợp lệ; hãy liệt kê lại từ đầu",
        )
    })
}

pub(super) fn size(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE.0) {
        0 => PAGE.1,
        asked => asked.min(PAGE.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ErrorKind;

    /// All pages of what is open at the given positions and closed at the others, each of one entry but 7, of two.
    fn all(open_at: &[u64], closed_at: &[u64], size: usize) -> Vec<u64> {
        let both = |begin: u64| if begin == 7 { vec![begin, begin] } else { vec![begin] };
        let live: BTreeMap<u64, u64> = open_at.iter().map(|at| (*at, *at)).collect();
        let (mut before, mut seen) = (u64::MAX, Vec::new());
        loop {
            let mut hits: Vec<u64> = closed_at.iter().copied().filter(|at| *at < before).collect();
            hits.sort_unstable_by(|a, b| b.cmp(a));
            hits.truncate(size);
            let down_to = hits.last().copied().filter(|_| hits.len() >= size);
            let closed = Part { documents: hits.iter().map(|at| (*at, both(*at))).collect(), down_to };
            let (page, next) = merge(open(&live, before, size, |at| both(*at)), Some(closed), size);
            assert!(page.len() <= size + 1, "{page:?}");
            seen.extend(page);
            match next {
                Some(next) => assert!(std::mem::replace(&mut before, next) > next, "pages go on"),
                None => return seen,
            }
        }
    }

    #[test]
    fn pages_show_everything_once_newest_first_whatever_their_size() {
        // 5 was closed between the look at the one and at the other.
        for size in 1..12 {
            let seen = all(&[1, 5, 6, 20], &[2, 3, 4, 5, 7, 8, 30], size);
            assert_eq!(seen, [30, 20, 8, 7, 7, 6, 5, 4, 3, 2, 1], "size {size}");
        }
    }

    #[test]
    fn a_page_token_is_one_of_ours_or_refused() {
        for before in [0, 1, u64::MAX] {
            assert_eq!(read_token(&token(before)).unwrap(), before);
        }
        assert_eq!(read_token("").unwrap(), u64::MAX);
        for foreign in ["x", "AAAA", &"A".repeat(1 << 20)] {
            assert_eq!(read_token(foreign).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
