//! Words as searches compare them: folded texts taken apart. The directory and the node's documents are searched by the same words.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::agency::is_zero_width;

/// Folds a name, code or subject for search as people type it: no diacritics, no case, `đ` as `d`, single spaces, nothing invisible.
#[must_use]
pub fn fold_for_search(text: &str) -> String {
    let letters = text.nfkd().filter(|c| !is_combining_mark(*c) && !is_zero_width(*c));
    let folded: String = letters.flat_map(char::to_lowercase).map(|c| if c == 'đ' { 'd' } else { c }).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words of a folded text: what stands between anything that is neither letter nor digit.
pub fn words_of(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_diacritics() {
        assert_eq!(fold_for_search("Ủy ban  nhân dân Tỉnh Đắk\u{200B} Lắk"), "uy ban nhan dan tinh dak lak");
        assert_eq!(fold_for_search("U\u{0309}Y BAN"), fold_for_search("Ủy ban"));
    }

    #[test]
    fn words_stand_between_what_is_neither_letter_nor_digit() {
        let words = |text: &str| words_of(&fold_for_search(text)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            words("V/v: Nghị định 30/2020/NĐ-CP (mới)"),
            ["v", "v", "nghi", "dinh", "30", "2020", "nd", "cp", "moi"]
        );
        assert_eq!(words(" –/… "), [""; 0]);
    }
}
