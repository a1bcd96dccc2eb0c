use std::io::{Read, Write};

use ring::rand::SystemRandom;

use super::*;

const C: usize = STREAM_CHUNK_BYTES_MIN;

fn key() -> FileKey {
    FileKey::from_slice(&[7; 32]).unwrap()
}

fn small() -> StreamParams {
    StreamParams::new(*b"prefix7", C as u64).unwrap()
}

fn preamble() -> Digest {
    Digest::of(b"preamble")
}

/// Bytes that do not repeat from chunk to chunk.
#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / C * 31 + i * 7) as u8).collect()
}

fn seal(plain: &[u8], params: StreamParams) -> (Vec<u8>, StreamSummary) {
    let mut sealer = StreamSealer::new(&key(), params, preamble(), Vec::new());
    sealer.write_all(plain).unwrap();
    sealer.finish().unwrap()
}

fn open(sealed: &[u8]) -> Result<Vec<u8>, StreamError> {
    open_with(sealed, &key(), small(), preamble())
}

fn open_with(sealed: &[u8], key: &FileKey, params: StreamParams, aad: Digest) -> Result<Vec<u8>, StreamError> {
    let mut opener = Opener::new(key, params, aad);
    let mut plain = Vec::new();
    opener.push(sealed, &mut plain)?;
    opener.finish(&mut plain)?;
    Ok(plain)
}

#[track_caller]
fn refused(sealed: &[u8], chunk: u64, cause: Damage) {
    assert_eq!(open(sealed).unwrap_err(), StreamError::NotAuthentic { chunk, cause });
    let mut out = Vec::new();
    let error = StreamOpener::new(&key(), small(), preamble(), sealed).read_to_end(&mut out).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(out, content(C * 3)[..out.len()], "only authenticated chunks are given out");
}

/// Sealed chunks of three full chunks.
fn three() -> Vec<Vec<u8>> {
    seal(&content(3 * C), small()).0.chunks(C + TAG_BYTES).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_length_around_a_chunk_comes_back() {
    for len in [0, 1, C - 1, C, C + 1, 2 * C - 1, 2 * C, 2 * C + 1, 5 * C + 17] {
        let plain = content(len);
        let (sealed, summary) = seal(&plain, small());
        assert_eq!(open(&sealed).unwrap(), plain, "{len}");
        assert_eq!(small().sealed_len(len as u64), Some(sealed.len() as u64), "{len}");
        assert_eq!(small().plain_len(sealed.len() as u64), Some(len as u64), "{len}");
        assert_eq!(summary.plain_len, len as u64);
        assert_eq!((summary.sealed_len, summary.sealed_digest), (sealed.len() as u64, Digest::of(&sealed)));
    }
}

#[test]
fn suite_s1_comes_back_at_its_own_chunk_size() {
    for len in [STREAM_CHUNK_BYTES - 1, STREAM_CHUNK_BYTES, STREAM_CHUNK_BYTES + 1, 2 * STREAM_CHUNK_BYTES] {
        let plain = content(len);
        let params = StreamParams::s1([9; 7]);
        let (sealed, summary) = seal(&plain, params);
        let mut opener = StreamOpener::new(&key(), params, preamble(), sealed.as_slice());
        let mut out = Vec::new();
        opener.read_to_end(&mut out).unwrap();
        assert!(out == plain, "{len}");
        assert_eq!(opener.finish().unwrap(), summary);
    }
}

#[test]
fn the_pieces_it_arrives_in_do_not_matter() {
    let plain = content(3 * C + 5);
    let (whole, _) = seal(&plain, small());
    for piece in [1, 3, 15, 16, 17, C - 1, C, C + 1, C + 16, C + 17, 2 * C] {
        let mut sealer = StreamSealer::new(&key(), small(), preamble(), Vec::new());
        for bytes in plain.chunks(piece) {
            sealer.write_all(bytes).unwrap();
        }
        assert!(sealer.finish().unwrap().0 == whole, "{piece}");
        let (mut opener, mut out) = (Opener::new(&key(), small(), preamble()), Vec::new());
        for bytes in whole.chunks(piece) {
            opener.push(bytes, &mut out).unwrap();
        }
        opener.finish(&mut out).unwrap();
        assert!(out == plain, "{piece}");
    }
}

/// The construction written out with ring alone, as a reader of the specification would.
#[test]
fn a_stream_is_what_the_specification_says() {
    let plain = content(C + 3);
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut expected = Vec::new();
    for (nonce, chunk) in [(*b"prefix7\0\0\0\0\0", &plain[..C]), (*b"prefix7\0\0\0\x01\x01", &plain[C..])] {
        let mut sealed = chunk.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        aead.seal_in_place_append_tag(nonce, Aad::from(Digest::of(b"preamble").0), &mut sealed).unwrap();
        expected.extend(sealed);
    }
    assert_eq!(seal(&plain, small()).0, expected);
}

#[test]
fn a_stream_cut_anywhere_is_refused() {
    let (sealed, _) = seal(&content(2 * C + 40), small());
    for len in 0..sealed.len() {
        let error = open(&sealed[..len]).unwrap_err();
        assert!(matches!(error, StreamError::NotAuthentic { .. }), "{len}: {error}");
    }
    let chunks = three();
    refused(&chunks[..2].concat(), 1, Damage::CutBetweenChunks);
    refused(&chunks[..1].concat(), 0, Damage::CutBetweenChunks);
    refused(&chunks.concat()[..2 * (C + TAG_BYTES) + 100], 2, Damage::CutInsideChunk);
    refused(&chunks.concat()[..2 * (C + TAG_BYTES) + 3], 2, Damage::CutInsideChunk);
    refused(&[], 0, Damage::CutInsideChunk);
}

#[test]
fn a_stream_that_goes_on_is_refused() {
    let chunks = three();
    let mut extended = chunks.concat();
    extended.push(0);
    refused(&extended, 2, Damage::Extended);
    refused(&[chunks.concat(), chunks[2].clone()].concat(), 2, Damage::Extended);
}

#[test]
fn chunks_reordered_left_out_doubled_or_exchanged_are_refused() {
    let c = three();
    refused(&[&c[1][..], &c[0], &c[2]].concat(), 0, Damage::Altered);
    refused(&[&c[0][..], &c[2]].concat(), 1, Damage::Altered);
    refused(&[&c[0][..], &c[0], &c[1], &c[2]].concat(), 1, Damage::Altered);
    let mut other = StreamSealer::new(&key(), StreamParams { prefix: *b"another", ..small() }, preamble(), Vec::new());
    other.write_all(&content(3 * C)).unwrap();
    let other = other.finish().unwrap().0;
    refused(&[&c[0][..], &other[C + TAG_BYTES..2 * (C + TAG_BYTES)], &c[2]].concat(), 1, Damage::Altered);
}

#[test]
fn every_flipped_bit_is_refused() {
    let (mut sealed, _) = seal(&content(C + 20), small());
    for at in 0..sealed.len() {
        sealed[at] ^= 1 << (at % 8);
        assert!(open(&sealed).is_err(), "byte {at}");
        sealed[at] ^= 1 << (at % 8);
    }
    open(&sealed).unwrap();
}

#[test]
fn another_key_preamble_or_prefix_opens_nothing() {
    let (sealed, _) = seal(b"content", small());
    let other_key = FileKey::generate(&SystemRandom::new()).unwrap();
    assert!(open_with(&sealed, &other_key, small(), preamble()).is_err());
    assert!(open_with(&sealed, &key(), small(), Digest::of(b"another preamble")).is_err());
    assert!(open_with(&sealed, &key(), StreamParams { prefix: [0; 7], ..small() }, preamble()).is_err());
}

#[test]
fn an_empty_last_chunk_after_others_is_refused() {
    let cipher = Cipher::new(&key(), small(), preamble());
    let (mut first, mut last) = (content(C), Vec::new());
    cipher.seal(0, false, &mut first);
    cipher.seal(1, true, &mut last);
    refused(&[first, last].concat(), 1, Damage::EmptyLastChunk);
}

#[test]
fn the_counter_is_never_used_twice() {
    let mut sealer = StreamSealer::starting_at(&key(), small(), preamble(), Vec::new(), u32::MAX);
    sealer.write_all(&content(C)).unwrap();
    let error = sealer.write_all(&[1, 2]).and_then(|()| sealer.finish().map(drop)).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");

    let mut sealer = StreamSealer::starting_at(&key(), small(), preamble(), Vec::new(), u32::MAX);
    sealer.write_all(&content(C)).unwrap();
    let (sealed, _) = sealer.finish().unwrap();
    let (mut opener, mut plain) = (Opener::starting_at(&key(), small(), preamble(), u32::MAX), Vec::new());
    opener.push(&sealed, &mut plain).unwrap();
    opener.finish(&mut plain).unwrap();
    assert_eq!(plain, content(C));
    assert_eq!(small().sealed_len((STREAM_CHUNKS_MAX + 1) * C as u64), None);
    assert_eq!(small().sealed_len(u64::MAX), None);
}

#[test]
fn a_failed_stream_gives_nothing_more() {
    let mut bad = three().concat();
    bad[0] ^= 1;
    let (mut opener, mut plain) = (Opener::new(&key(), small(), preamble()), Vec::new());
    assert!(opener.push(&bad, &mut plain).is_err());
    assert_eq!(opener.push(&bad, &mut plain), Err(StreamError::Spent));
    assert_eq!(opener.finish(&mut plain), Err(StreamError::Spent));
    assert!(plain.is_empty());
    let unread = StreamOpener::new(&key(), small(), preamble(), &b""[..]);
    assert_eq!(unread.finish(), Err(StreamError::Spent));
}

#[test]
fn a_sink_that_failed_is_not_written_again() {
    #[derive(Debug)]
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sealer = StreamSealer::new(&key(), small(), preamble(), Broken);
    sealer.write_all(&content(C)).unwrap();
    assert!(sealer.write_all(b"x").is_err());
    assert!(sealer.finish().unwrap_err().to_string().contains("failed before"));
}

#[test]
fn any_range_opens_without_what_stands_before_it() {
    let plain = content(4 * C + 9);
    let (sealed, _) = seal(&plain, small());
    let ranges = RangeOpener::new(&key(), small(), preamble(), sealed.as_slice(), sealed.len() as u64).unwrap();
    assert_eq!(ranges.plain_len(), plain.len() as u64);
    for (offset, len) in
        [(0, 1), (0, C), (C - 1, 2), (C, C), (2 * C + 3, 2 * C), (4 * C, 9), (4 * C + 8, 100), (0, 9 * C)]
    {
        let mut out = Vec::new();
        let count = ranges.open_range(offset as u64, len as u64, &mut out).unwrap();
        assert_eq!(out, plain[offset..(offset + len).min(plain.len())], "{offset}+{len}");
        assert_eq!(count, out.len() as u64);
    }
    assert_eq!(ranges.open_range(plain.len() as u64 + 5, u64::MAX, &mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_range_of_a_changed_or_cut_payload_is_refused() {
    let (mut sealed, _) = seal(&content(3 * C), small());
    sealed[C + TAG_BYTES + 5] ^= 1;
    let ranges = RangeOpener::new(&key(), small(), preamble(), sealed.as_slice(), sealed.len() as u64).unwrap();
    ranges.open_range(0, C as u64, &mut Vec::new()).unwrap();
    assert!(ranges.open_range(C as u64, 1, &mut Vec::new()).is_err());
    // A cut payload's new last chunk was not sealed as the last.
    let cut = &sealed[..C + TAG_BYTES];
    let ranges = RangeOpener::new(&key(), small(), preamble(), cut, cut.len() as u64).unwrap();
    assert!(ranges.open_range(0, 1, &mut Vec::new()).is_err());
    assert!(RangeOpener::new(&key(), small(), preamble(), cut, 15).is_err());
    assert!(RangeOpener::new(&key(), small(), preamble(), cut, cut.len() as u64 + 16).is_err());
}

#[test]
fn lengths_that_nothing_seals_to_have_no_plaintext() {
    let params = small();
    let whole = (C + TAG_BYTES) as u64;
    for bad in [0, 1, 15, whole + 1, whole + 16, 2 * whole + 15] {
        assert_eq!(params.plain_len(bad), None, "{bad}");
    }
    assert_eq!(params.plain_len(16), Some(0));
    assert_eq!(params.plain_len(u64::MAX), None);
    for bad in [0, 1023, STREAM_CHUNK_BYTES as u64 + 1, u64::MAX] {
        assert_eq!(StreamParams::new([0; 7], bad), Err(StreamError::ChunkBytes { chunk_bytes: bad }));
    }
}

#[test]
fn the_file_key_is_never_printed() {
    assert_eq!(format!("{:?}", key()), "FileKey([redacted])");
    assert!(FileKey::from_slice(&[0; 31]).is_none());
    assert!(key() != FileKey::from_slice(&[8; 32]).unwrap());
}
