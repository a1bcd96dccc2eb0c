//! Constant memory: a document far larger than the memory that sending, opening and fetching it may take.
//!
//! One test in a process of its own: the kernel's high-water mark is the process's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "helpers of tests: a panic is a failed test, and lengths are small"
)]

#[expect(dead_code, reason = "shared with the other tests of the pipelines")]
#[path = "pipe/packets.rs"]
mod packets;
#[expect(dead_code, reason = "shared with the other tests of the pipelines")]
#[path = "pipe/world.rs"]
mod world;

use std::{fs, io};

use bytes::Bytes;
use truc_node::pipeline::{FetchSink, FetchWhat, Part, Parts, Pipeline, Resolved};
use truc_proto::{Digest, Hasher};

use packets::{PacketOf, document_header, packet_header};
use world::{World, code};

const MEBIBYTE: u64 = 1024 * 1024;
/// Length of the attachment.
const ATTACHMENT_BYTES: u64 = 64 * MEBIBYTE;
/// The bound of 64 MiB for one 4 GiB document, less what a real relay and node need around it.
const GROWTH_BYTES_MAX: u64 = 24 * MEBIBYTE;

/// An attachment nobody holds: mostly zeros, with a number in every block.
fn block(number: u64) -> Bytes {
    let mut block = vec![0; 64 * 1024];
    block[..8].copy_from_slice(&number.to_le_bytes());
    // A quarter does not compress, so that the payload is long, too.
    block[1024..17 * 1024].copy_from_slice(&packets::noise(16 * 1024, number + 1));
    Bytes::from(block)
}

fn blocks() -> u64 {
    ATTACHMENT_BYTES / (64 * 1024)
}

fn attachment_digest() -> Digest {
    let mut hasher = Hasher::default();
    (0..blocks()).for_each(|number| hasher.update(&block(number)));
    hasher.finish()
}

/// Base64 of the attachment inside a packet.
struct PacketParts {
    before: Option<Bytes>,
    number: u64,
    held: Vec<u8>,
    after: Option<Bytes>,
}

impl PacketParts {
    fn new(attachments_first: bool) -> Self {
        let packet = PacketOf { to: &["H37"], ..PacketOf::default() };
        let files: [(&str, &[u8]); 1] = [("big.pdf", b"@@@")];
        let text = if attachments_first { packet.attachments_first(&files) } else { packet.bytes(&files) };
        let text = String::from_utf8(text).unwrap();
        let (before, after) = text.split_once("QEBA").unwrap();
        Self {
            before: Some(Bytes::from(before.to_owned())),
            number: 0,
            held: Vec::new(),
            after: Some(Bytes::from(after.to_owned())),
        }
    }
}

impl Parts for PacketParts {
    fn next(&mut self) -> io::Result<Option<Part>> {
        if let Some(before) = self.before.take() {
            return Ok(Some(Part::Data(before)));
        }
        if self.number < blocks() {
            self.held.extend_from_slice(&block(self.number));
            self.number += 1;
            let whole = if self.number == blocks() { self.held.len() } else { self.held.len() / 3 * 3 };
            let rest = self.held.split_off(whole);
            let encoded = data_encoding::BASE64.encode(&self.held);
            self.held = rest;
            return Ok(Some(Part::Data(Bytes::from(encoded))));
        }
        Ok(self.after.take().map(Part::Data))
    }
}

struct FileParts(u64);

impl Parts for FileParts {
    fn next(&mut self) -> io::Result<Option<Part>> {
        self.0 += 1;
        let header =
            truc_proto::node_v1::FileHeader { name: "big.pdf".into(), length: ATTACHMENT_BYTES, ..Default::default() };
        Ok(match self.0 {
            1 => Some(Part::File(header)),
            n if n <= blocks() + 1 => Some(Part::Data(block(n - 2))),
            _ => None,
        })
    }
}

/// Hashes what comes, keeps nothing.
#[derive(Default)]
struct Drain(Hasher, u64);

impl io::Write for Drain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FetchSink for Drain {
    fn length(&mut self, _: u64) {}
}

/// The high-water mark of memory, from now on.
fn reset_peak() -> Option<()> {
    fs::write("/proc/self/clear_refs", "5").ok()
}

fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Runs one step and tells how far memory rose above where it stood.
#[track_caller]
fn within<T>(what: &str, step: impl FnOnce() -> T) -> T {
    if reset_peak().is_none() {
        eprintln!("SKIPPED: the kernel does not reset the high-water mark of memory ({what})");
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "CI needs /proc/self/clear_refs");
        return step();
    }
    let before = peak_bytes().unwrap();
    let outcome = step();
    let growth = peak_bytes().unwrap().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{what} took {} MiB", growth / MEBIBYTE);
    outcome
}

#[test]
fn sixty_four_mebibytes_pass_in_constant_memory_in_every_form() {
    let world = World::new();
    let wanted = attachment_digest();
    let forms: [(&str, truc_proto::node_v1::SendHeader, Box<dyn Parts>); 3] = [
        ("a packet", packet_header("k1"), Box::new(PacketParts::new(false))),
        ("a packet with its attachment in front", packet_header("k2"), Box::new(PacketParts::new(true))),
        ("a file", document_header("k3", &["H37"]), Box::new(FileParts(0))),
    ];
    for (n, (form, header, mut parts)) in forms.into_iter().enumerate() {
        let composed = within(&format!("composing {form}"), || {
            world
                .sender()
                .pipes
                .compose(header, &Resolved::default(), &mut *parts, &world.directory, world.moment(n as u8))
                .unwrap()
        });
        let truc_node::pipeline::Composed::Sealed(sealed) = composed else { panic!("sealed") };
        assert!(sealed.outgoing.payload.length > ATTACHMENT_BYTES / 5);
        let (incoming, envelopes) = world.deliver(&sealed, "N-H37");
        let opened = within(&format!("opening {form}"), || world.open("N-H37", &incoming, &envelopes));
        assert_eq!(opened.outcomes, [(code("H37"), Ok(()))]);
        let content = opened.content.unwrap();
        let attachment = &content.about.attachments[0];
        assert_eq!((attachment.length, attachment.sha256.as_slice()), (ATTACHMENT_BYTES, wanted.as_bytes().as_slice()));
        for (what, length) in [
            (FetchWhat::Attachment("big.pdf".into()), ATTACHMENT_BYTES),
            (FetchWhat::Edxml { stamps: Vec::new() }, ATTACHMENT_BYTES / 3 * 4),
            (FetchWhat::Container { offset: 0 }, content.about.container_length),
        ] {
            let mut drain = Drain::default();
            within(&format!("fetching {what:?} of {form}"), || {
                world.nodes["N-H37"].pipes.fetch(&incoming, &content, &what, &mut drain).unwrap();
            });
            assert!(drain.1 >= length, "{what:?}");
            if matches!(what, FetchWhat::Attachment(_)) {
                assert_eq!(drain.0.finish(), wanted);
            }
        }
    }
}
