//! Any bytes: every parser of this crate ends, refuses or reads; and what it reads it writes as something that reads the same. Seeded from the vectors
//! of docs/FORMATS.md; edXML has its own, in `src/edxml/tests.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what a test helper cannot do fails the test"
)]

use std::{fs, path::PathBuf};

use truc_proto::{
    Administration, BusinessStatus, Checkpoint, Entry, EnvelopeJson, Event, KeyManifest, Preamble, Raw, Receipt,
    RootStatement, SignedNote, Statement, Submission,
};

const ROUNDS: u64 = 600;

/// SplitMix64: a failure prints its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    /// Bytes changed, removed, put in, doubled, or the end cut off; or nothing but noise.
    fn bend(&mut self, original: &[u8]) -> Vec<u8> {
        if self.below(20) == 0 {
            return (0..self.below(200)).map(|_| u8::try_from(self.below(256)).unwrap()).collect();
        }
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            // What means something to these formats comes more often than chance would have it.
            let byte = *b"{}[]\",:\\\n\r =\0\xff09eE-+.Zu".get(self.below(26)).unwrap_or(&b'x');
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = byte,
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, byte),
                4 => {
                    let end = (at + 1 + self.below(60)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

fn vectors(extension: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/formats");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no vector *.{extension}");
    found
}

/// Bends every vector of a kind again and again; tells how many were still read.
fn bent(extension: &str, read: impl Fn(&[u8]) -> bool) -> usize {
    let mut well = 0;
    for (name, original) in vectors(extension) {
        for seed in 0..ROUNDS {
            let bytes = Dice(seed).bend(&original);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&bytes)));
            well += usize::from(
                outcome.unwrap_or_else(|_| panic!("{name}, seed {seed}: {:?}", bytes.escape_ascii().to_string())),
            );
        }
    }
    well
}

fn statement<T: Statement + Clone + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(raw) = Raw::<T>::parse(bytes.to_vec()) else { return false };
    assert_eq!(raw.bytes().as_ref(), bytes, "the bytes are kept as received");
    let written = Raw::write(raw.value().clone()).unwrap();
    let again = Raw::<T>::parse(written.bytes().clone()).unwrap();
    assert_eq!((again.value(), again.bytes()), (raw.value(), written.bytes()));
    true
}

#[test]
fn any_bytes_as_a_statement_are_refused_or_read_the_same_again() {
    let well = bent("json", |bytes| {
        [
            statement::<Preamble>(bytes),
            statement::<Submission>(bytes),
            statement::<Event>(bytes),
            statement::<EnvelopeJson>(bytes),
            statement::<KeyManifest>(bytes),
            statement::<RootStatement>(bytes),
            statement::<Entry>(bytes),
            statement::<BusinessStatus>(bytes),
            statement::<Administration>(bytes),
        ]
        .contains(&true)
    });
    assert!(well > 100, "only {well} were read: the test tests nothing but refusals");
}

#[test]
fn any_bytes_as_a_note_are_refused_or_written_byte_for_byte() {
    let well = bent("note", |bytes| {
        let Ok(note) = SignedNote::parse(bytes) else { return false };
        assert_eq!(note.to_string().as_bytes(), bytes, "a note has one written form");
        if let Ok(checkpoint) = Checkpoint::of_note(&note) {
            let (_, again) = Checkpoint::parse_note(bytes).unwrap();
            assert_eq!(again, checkpoint);
        }
        true
    });
    assert!(well > 20, "only {well} were read");
}

#[test]
fn any_bytes_as_a_receipt_are_refused_or_read_the_same_again() {
    let well = bent("receipt", |bytes| {
        let Ok(receipt) = Receipt::parse(bytes) else { return false };
        let written = receipt.to_string();
        assert_eq!(Receipt::parse(written.as_bytes()).unwrap().to_string(), written);
        true
    });
    assert!(well > 5, "only {well} were read");
}
