//! Base64 on the fly, as lax as the SDK's decoder: wrapped, unpadded, URL-safe, junk skipped (and counted).
//!
//! One thing is stricter: data after the padding is refused, because decoders disagree on whether it counts. Whole groups of clean letters,
//! wrapped or not, are decoded at once; anything else letter by letter.

use data_encoding::BASE64;

/// Why the text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base64Defect {
    /// More letters after `=`.
    AfterPadding,
    /// One letter is left over: the end is missing.
    Truncated,
}

/// Letters per round of the fast path; a multiple of four.
const ROUND: usize = 16 * 1024;

pub(crate) struct Decoder {
    bits: u32,
    letters: u8,
    padded: bool,
    /// Characters that are neither letters nor white space nor padding.
    pub(crate) junk: u64,
    out: Vec<u8>,
    /// Scratch: a round without its white space.
    unwrapped: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder") // never what it decodes
    }
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { bits: 0, letters: 0, padded: false, junk: 0, out: vec![0; ROUND / 4 * 3], unwrapped: Vec::new() }
    }

    /// Decodes the next piece; `take` gets plain bytes.
    pub(crate) fn push<E: From<Base64Defect>>(
        &mut self,
        mut text: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(ROUND));
            if now.iter().any(is_white_space) {
                let mut letters = std::mem::take(&mut self.unwrapped);
                unwrap(now, &mut letters);
                let outcome = self.round(&letters, take);
                self.unwrapped = letters;
                outcome?;
            } else {
                self.round(now, take)?;
            }
            text = later;
        }
        Ok(())
    }

    /// Decodes one round: the letters that complete a group begun before, then whole groups at once, then what is left.
    fn round<E: From<Base64Defect>>(
        &mut self,
        text: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let begun = usize::from((4 - self.letters % 4) % 4).min(text.len());
        let (first, rest) = text.split_at(begun);
        self.slow(first, take)?;
        let (groups, left) = rest.split_at(rest.len() / 4 * 4);
        let written = self.fast(groups);
        if written > 0 {
            take(self.out.get(..written).unwrap_or_default())?;
        } else {
            self.slow(groups, take)?;
        }
        self.slow(left, take)
    }

    /// How many bytes a clean, aligned, unpadded piece gave; 0 when it is not such a piece and nothing was taken.
    fn fast(&mut self, text: &[u8]) -> usize {
        if self.letters != 0 || self.padded || !text.len().is_multiple_of(4) || text.contains(&b'=') {
            return 0;
        }
        let Some(out) = self.out.get_mut(..text.len() / 4 * 3) else { return 0 };
        BASE64.decode_mut(text, out).unwrap_or(0)
    }

    fn slow<E: From<Base64Defect>>(
        &mut self,
        text: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if text.is_empty() {
            return Ok(());
        }
        let mut plain = Vec::with_capacity(text.len() / 4 * 3 + 3);
        for byte in text {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    self.padded = true;
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                _ => {
                    self.junk += 1;
                    continue;
                }
            };
            if self.padded {
                return Err(Base64Defect::AfterPadding.into());
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.letters += 1;
            if self.letters == 4 {
                let [_, a, b, c] = self.bits.to_be_bytes();
                plain.extend([a, b, c]);
                (self.bits, self.letters) = (0, 0);
            }
        }
        if plain.is_empty() { Ok(()) } else { take(&plain) }
    }

    /// The last bytes of an unpadded or padded end.
    pub(crate) fn finish<E: From<Base64Defect>>(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [_, a, b, _] = (self.bits << (6 * (4 - u32::from(self.letters.min(4))))).to_be_bytes();
        match self.letters {
            0 => Ok(()),
            2 => take(&[a]),
            3 => take(&[a, b]),
            _ => Err(Base64Defect::Truncated.into()),
        }
    }
}

const fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `text` without white space, line by line: a copy costs far less than decoding letter by letter.
fn unwrap(mut text: &[u8], letters: &mut Vec<u8>) {
    letters.clear();
    while let Some(end) = text.iter().position(is_white_space) {
        let (line, rest) = text.split_at(end);
        letters.extend_from_slice(line);
        text = rest.split_first().map_or(&[], |(_, rest)| rest);
    }
    letters.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, u64), Base64Defect> {
        let (mut decoder, mut plain) = (Decoder::new(), Vec::new());
        let mut take = |bytes: &[u8]| {
            plain.extend_from_slice(bytes);
            Ok(())
        };
        for piece in pieces {
            decoder.push::<Base64Defect>(piece, &mut take)?;
        }
        decoder.finish::<Base64Defect>(&mut take)?;
        Ok((plain, decoder.junk))
    }

    #[test]
    fn every_cut_of_every_form_decodes_alike() {
        let plain: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let standard = BASE64.encode(&plain);
        let unpadded = standard.trim_end_matches('=').to_owned();
        let wrapped =
            standard.as_bytes().chunks(76).map(|l| String::from_utf8(l.to_vec()).unwrap()).collect::<Vec<_>>();
        let url = unpadded.replace('+', "-").replace('/', "_");
        for form in [standard, unpadded, wrapped.join("\r\n"), url] {
            for cut in [0, 1, 2, 3, 5, 77, 400, form.len()] {
                let (a, b) = form.as_bytes().split_at(cut);
                assert_eq!(decode(&[a, b]), Ok((plain.clone(), 0)), "{cut}");
            }
        }
    }

    #[test]
    fn junk_is_counted_and_ambiguity_refused() {
        assert_eq!(decode(&[b"aGV*sbG8\""]), Ok((b"hello".to_vec(), 2)));
        assert_eq!(decode(&[b"aGVs=", b"bG8="]), Err(Base64Defect::AfterPadding));
        assert_eq!(decode(&[b"aGVsb"]), Err(Base64Defect::Truncated));
        assert_eq!(decode(&[]), Ok((vec![], 0)));
    }
}
