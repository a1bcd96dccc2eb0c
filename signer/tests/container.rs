//! Containers there and back, and what other people's tools make of them.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests: a panic is a failed test, and lengths are small"
)]

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use truc_proto::{Digest, KeyManifest, Raw};
use truc_signer::{
    asic::{
        AsicManifest, ContainerError, ContainerReader, ContainerWriteError, ContainerWriter, ContentSalt, Entry,
        EntryHeader, ExtractError, FinishError, MANIFEST_NAME, OpenedContainer, SIGNATURE_NAME, Visitor, VisitorError,
        WrittenContainer, content_commitment, extract, list,
    },
    stream::{FileKey, StreamOpener, StreamParams, StreamSealer},
};

const NAMES: [&str; 4] =
    ["document.edxml", "attachments/Công văn số 12 & phụ lục.pdf", "attachments/a+b=c%20.txt", "envelope.json"];

fn contents() -> [Vec<u8>; 4] {
    [b"<edXML/>".repeat(5_000), mixed(), Vec::new(), b"{}".to_vec()]
}

/// Packed bytes, text, base64, and packed bytes again: every way of packing, and every change between them.
fn mixed() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let dense: Vec<u8> = (0..700_000).map(|_| byte()).collect();
    let text: String = (0..40_000).map(|row| format!("<row r=\"{row}\"/>Kế hoạch\n")).collect();
    let base64 = data_encoding::BASE64.encode(&dense);
    [dense.as_slice(), text.as_bytes(), base64.as_bytes(), &dense].concat()
}

fn write(sign: impl FnOnce(&[u8]) -> io::Result<Vec<u8>>) -> WrittenContainer<Vec<u8>> {
    let mut writer = ContainerWriter::new(Vec::new()).unwrap();
    for (name, content) in NAMES.iter().zip(contents()) {
        writer.begin_entry(name, "application/octet-stream", None).unwrap();
        writer.write_all(&content).unwrap();
        let entry = writer.end_entry().unwrap();
        assert_eq!((entry.length, entry.digest), (content.len() as u64, Digest::of(&content)));
    }
    writer.finish(sign).unwrap()
}

fn written() -> WrittenContainer<Vec<u8>> {
    write(|_| Ok(b"a signature".to_vec()))
}

fn read(container: &[u8]) -> Result<OpenedContainer, ContainerError> {
    ContainerReader::new(container)?.read(&mut ())
}

/// Keeps everything it is shown.
#[derive(Default)]
struct Everything(Vec<(String, Vec<u8>)>);

impl Visitor for Everything {
    fn begin(&mut self, header: &EntryHeader) -> Result<(), VisitorError> {
        self.0.push((header.name.to_string(), Vec::new()));
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<(), VisitorError> {
        self.0.last_mut().ok_or("data before an entry")?.1.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, entry: &Entry) -> Result<(), VisitorError> {
        assert_eq!(entry.digest, Digest::of(&self.0.last().ok_or("end before an entry")?.1));
        Ok(())
    }
}

#[test]
fn a_container_comes_back_as_it_was_written() {
    let container = written();
    let mut seen = Everything::default();
    let opened = ContainerReader::new(container.sink.as_slice()).unwrap().read(&mut seen).unwrap();
    assert_eq!(opened.manifest.bytes(), container.manifest);
    assert_eq!(opened.signature, b"a signature");
    assert_eq!(opened.entries, container.entries);
    assert_eq!((opened.length, opened.digest), (container.sink.len() as u64, Digest::of(&container.sink)));
    assert_eq!((container.length, container.digest), (opened.length, opened.digest));
    let expected: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).zip(contents()).collect();
    assert!(seen.0 == expected);
    assert_eq!(list(container.sink.as_slice()).unwrap(), container.entries);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    assert!(written().sink == written().sink);
}

#[test]
fn every_length_around_the_buffers_comes_back() {
    for len in [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 200_001] {
        let content: Vec<u8> = (0..len).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> (i % 25)) as u8).collect();
        let mut writer = ContainerWriter::new(Vec::new()).unwrap();
        writer.begin_entry("content", "text/plain", Some(len.into())).unwrap();
        for piece in content.chunks(777) {
            writer.write_all(piece).unwrap();
        }
        writer.end_entry().unwrap();
        let container = writer.finish(|_| Ok::<_, io::Error>(vec![])).unwrap();
        let mut seen = Everything::default();
        ContainerReader::new(container.sink.as_slice()).unwrap().read(&mut seen).unwrap();
        assert!(seen.0[0].1 == content, "{len}");
    }
}

#[test]
fn a_container_is_sealed_and_opened_in_one_pass() {
    let (key, params) = (FileKey::from_slice(&[3; 32]).unwrap(), StreamParams::new([1; 7], 4_096).unwrap());
    let preamble = Digest::of(b"preamble");
    let sealer = StreamSealer::new(&key, params, preamble, Vec::new());
    let mut writer = ContainerWriter::new(sealer).unwrap();
    for (name, content) in NAMES.iter().zip(contents()) {
        writer.begin_entry(name, "text/plain", None).unwrap();
        writer.write_all(&content).unwrap();
        writer.end_entry().unwrap();
    }
    let container = writer.finish(|_| Ok::<_, io::Error>(vec![1])).unwrap();
    let (mut sealed, summary) = container.sink.finish().unwrap();
    assert_eq!(summary.plain_len, container.length);

    let opener = StreamOpener::new(&key, params, preamble, sealed.as_slice());
    let opened = ContainerReader::new(opener).unwrap().read(&mut ()).unwrap();
    assert_eq!(opened.entries, container.entries);
    assert_eq!(opened.digest, container.digest);

    // Damage in the sealed stream is the source's failure, not the sender's.
    sealed.truncate(sealed.len() - 10);
    let opener = StreamOpener::new(&key, params, preamble, sealed.as_slice());
    let error = ContainerReader::new(opener).and_then(|reader| reader.read(&mut ())).unwrap_err();
    assert!(matches!(error, ContainerError::Source(_)), "{error}");
}

#[test]
fn one_entry_is_taken_out_by_name_and_digest() {
    let container = written();
    let wanted = &container.entries[1];
    let mut out = Vec::new();
    let entry = extract(container.sink.as_slice(), &wanted.name, &wanted.digest, &mut out).unwrap();
    assert_eq!(&entry, wanted);
    assert!(out == contents()[1]);
    // What stands behind it is not needed.
    let half = &container.sink[..container.sink.len() - 600];
    extract(half, &wanted.name, &wanted.digest, &mut io::sink()).unwrap();

    let other = Digest::of(b"something else");
    let error = extract(container.sink.as_slice(), &wanted.name, &other, &mut io::sink()).unwrap_err();
    assert!(matches!(error, ExtractError::Altered { .. }), "{error}");
    for absent in ["absent.txt", MANIFEST_NAME, "mimetype"] {
        let error = extract(container.sink.as_slice(), &absent.parse().unwrap(), &other, &mut io::sink()).unwrap_err();
        assert!(matches!(error, ExtractError::Absent { .. }), "{error}");
    }
}

#[test]
fn a_visitor_that_refuses_stops_the_reading() {
    struct Refuses;
    impl Visitor for Refuses {
        fn begin(&mut self, _: &EntryHeader) -> Result<(), VisitorError> {
            Err("no room".into())
        }
        fn data(&mut self, _: &[u8]) -> Result<(), VisitorError> {
            unreachable!("begin refused")
        }
        fn end(&mut self, _: &Entry) -> Result<(), VisitorError> {
            unreachable!("begin refused")
        }
    }
    let error = ContainerReader::new(written().sink.as_slice()).unwrap().read(&mut Refuses).unwrap_err();
    assert!(matches!(&error, ContainerError::Visitor(source) if source.to_string() == "no room"), "{error}");
}

#[test]
fn names_that_are_unsafe_reserved_or_used_are_not_written() {
    let mut writer = ContainerWriter::new(Vec::new()).unwrap();
    let decomposed = "Co\u{302}ng va\u{306}n.pdf";
    for unsafe_name in
        ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "C:a", "a\nb", "fdp\u{202E}exe.pdf", decomposed]
    {
        let error = writer.begin_entry(unsafe_name, "text/plain", None).unwrap_err();
        assert!(matches!(error, ContainerWriteError::Name { .. }), "{unsafe_name:?}: {error}");
    }
    for reserved in ["mimetype", "MimeType", "META-INF/manifest.xml", "meta-inf/ASiCManifest.xml", SIGNATURE_NAME] {
        let error = writer.begin_entry(reserved, "text/plain", None).unwrap_err();
        assert!(matches!(error, ContainerWriteError::Reserved { .. }), "{reserved}: {error}");
    }
    writer.begin_entry("a", "text/plain", None).unwrap();
    assert!(matches!(writer.begin_entry("b", "text/plain", None), Err(ContainerWriteError::Order(_))));
    writer.end_entry().unwrap();
    assert!(matches!(writer.begin_entry("a", "text/plain", None), Err(ContainerWriteError::Duplicate { .. })));
    assert!(matches!(writer.begin_entry("b", "text\n", None), Err(ContainerWriteError::MediaType { .. })));
    assert!(matches!(writer.end_entry(), Err(ContainerWriteError::Order(_))));
    assert!(writer.write_all(b"no entry is open").is_err());
}

#[test]
fn more_entries_than_the_bound_are_not_written() {
    let mut writer = ContainerWriter::new(io::sink()).unwrap();
    for number in 0..truc_proto::limits::CONTAINER_ENTRIES_MAX - 3 {
        writer.begin_entry(&format!("{number}"), "text/plain", None).unwrap();
        writer.end_entry().unwrap();
    }
    assert!(matches!(writer.begin_entry("one more", "text/plain", None), Err(ContainerWriteError::TooLarge { .. })));
    writer.finish(|_| Ok::<_, io::Error>(vec![])).unwrap();
}

#[test]
fn a_signature_that_cannot_be_made_ends_the_container() {
    let writer = ContainerWriter::new(io::sink()).unwrap();
    let error = writer.finish(|_| Err(io::Error::other("the token is away"))).unwrap_err();
    assert!(matches!(&error, FinishError::Sign(source) if source.to_string() == "the token is away"), "{error}");
}

#[test]
fn a_full_disk_is_the_sinks_error_and_the_container_is_spent() {
    #[derive(Debug)]
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = ContainerWriter::new(Full(10_000)).unwrap();
    writer.begin_entry("a", "text/plain", None).unwrap();
    let error = writer.write_all(&contents()[1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(matches!(writer.end_entry(), Err(ContainerWriteError::Spent)));
    assert!(matches!(
        writer.finish(|_| Ok::<_, io::Error>(vec![])),
        Err(FinishError::Write(ContainerWriteError::Spent))
    ));
}

#[test]
fn the_commitment_is_the_one_openssl_and_python_computed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/formats");
    let manifest = fs::read(folder.join("ASiCManifest.xml")).unwrap();
    let key = Raw::<KeyManifest>::parse(fs::read(folder.join("key-H37.json")).unwrap()).unwrap();
    let commitment = content_commitment(&ContentSalt(key.value().salt), &manifest);
    let expected = fs::read_to_string(folder.join("expect.json")).unwrap();
    assert!(expected.contains(&format!("\"commitment\": \"{commitment}\"")), "{commitment}");

    let manifest = AsicManifest::parse(manifest).unwrap();
    let envelope = fs::read(folder.join("envelope.json")).unwrap();
    assert_eq!(manifest.find(&Digest::of(&envelope)).unwrap().name.as_str(), "envelope.json");
    assert!(manifest.find(&Digest::of(b"another file")).is_none());
}

#[test]
fn unzip_tests_the_container_and_finds_every_file() {
    let Some(folder) = folder_with_container("unzip", &written().sink) else { return };
    let output = run(Command::new("unzip").arg("-t").arg(folder.path().join("container.asice")));
    assert!(output.contains("No errors detected"), "{output}");
}

#[test]
fn sha256sum_of_the_unpacked_files_is_what_the_manifest_says() {
    let container = written();
    let Some(folder) = folder_with_container("python3", &container.sink) else { return };
    let script = "import hashlib, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in z.infolist(): print(i.file_size, hashlib.sha256(z.read(i)).hexdigest(), i.compress_type, i.filename)";
    let output = run(Command::new("python3")
        .env("PYTHONIOENCODING", "utf-8")
        .args(["-c", script])
        .arg(folder.path().join("container.asice")));
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].ends_with(" 0 mimetype"), "{output}");
    for (line, entry) in lines[1..].iter().zip(&container.entries) {
        assert_eq!(*line, format!("{} {} 8 {}", entry.length, entry.digest, entry.name));
    }
    let manifest = AsicManifest::parse(container.manifest).unwrap();
    for (reference, entry) in manifest.references().iter().zip(&container.entries) {
        assert_eq!((&reference.name, &reference.digest), (&entry.name, &entry.digest));
    }
    assert_eq!(manifest.references().len(), container.entries.len());
}

#[test]
fn java_reads_the_container_as_a_stream() {
    let container = written();
    let Some(folder) = folder_with_container("javac", &container.sink) else { return };
    fs::write(folder.path().join("Unpack.java"), include_str!("container_tools/Unpack.java")).unwrap();
    run(Command::new("javac").arg("-d").arg(folder.path()).arg(folder.path().join("Unpack.java")));
    let output = run(Command::new("java")
        .args(["-Dfile.encoding=UTF-8", "-Dsun.stdout.encoding=UTF-8", "-cp"])
        .arg(folder.path())
        .arg("Unpack")
        .arg(folder.path().join("container.asice")));
    let expected: String =
        container.entries.iter().map(|entry| format!("{} {} {}\n", entry.length, entry.digest, entry.name)).collect();
    assert!(output.starts_with("31 ") && output.contains(&expected), "{output}");
    assert_eq!(output.lines().count(), container.entries.len() + 3);
}

#[test]
fn openssl_verifies_the_signature_over_the_manifest() {
    let pki = truc_certs_dev::Pki::new(truc_certs_dev::KeyKind::P256, truc_certs_dev::now()).unwrap();
    let subject = truc_certs_dev::Subject::new("Văn phòng Ủy ban nhân dân DEV");
    let issued = pki.issue(truc_certs_dev::Profile::Service, subject).unwrap();
    let key = truc_signer::SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
    let container =
        write(|manifest| truc_signer::sign_detached(&key, manifest, Some(pki.now())).map_err(io::Error::other));
    let opened = read(&container.sink).unwrap();
    truc_signer::verify_detached(&opened.signature, opened.manifest.bytes(), &[]).unwrap();

    let Some(folder) = folder_with_container("openssl", &container.sink) else { return };
    let path = |name: &str| folder.path().join(name);
    fs::write(path("anchors.pem"), &pki.anchors_pem).unwrap();
    fs::write(path("sub.pem"), &pki.intermediates_pem).unwrap();
    let unpack = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
    if !has_tool("python3") {
        return;
    }
    run(Command::new("python3").args(["-c", unpack]).arg(path("container.asice")).arg(folder.path()));
    let mut verify = Command::new("openssl");
    verify.args([
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-purpose",
        "any",
        "-cades",
        "-out",
        "/dev/null",
        "-in",
    ]);
    verify.arg(path(SIGNATURE_NAME)).arg("-content").arg(path(MANIFEST_NAME));
    verify.arg("-CAfile").arg(path("anchors.pem")).arg("-certfile").arg(path("sub.pem"));
    run(&mut verify);
}

#[test]
fn containers_that_python_packed_in_this_profile_are_read() {
    if !has_tool("python3") {
        return;
    }
    for way in ["seekable", "stream", "stored", "zip64"] {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("pack.py");
        fs::write(&script, include_str!("container_tools/pack.py")).unwrap();
        let path = folder.path().join("container.asice");
        run(Command::new("python3").arg(&script).arg(way).arg(&path));
        let opened = read(&fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(opened.entries[0].name.as_str(), "tài liệu.txt");
        assert_eq!(opened.entries[0].digest, Digest::of("nội dung".as_bytes()));
        assert_eq!(opened.signature, b"signature");
    }
}

/// A folder with the container in it; `None` when the tool that is to read it is missing.
fn folder_with_container(tool: &str, container: &[u8]) -> Option<tempfile::TempDir> {
    has_tool(tool).then(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("container.asice"), container).unwrap();
        folder
    })
}

fn has_tool(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    assert!(found || std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "{tool} is missing");
    if !found {
        eprintln!("SKIPPED: {tool} is missing");
    }
    found
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
