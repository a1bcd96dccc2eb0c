//! Containers made to deceive: each is refused with an error that names what is wrong, and nothing panics.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test, and lengths are small"
)]

use std::io::{self, Write};

use flate2::{Compression, Crc, write::DeflateEncoder};
use truc_proto::{Digest, limits};
use truc_signer::asic::{
    AsicManifest, ContainerError, ContainerReader, ContainerWriter, EntryNameError, MANIFEST_NAME, MIMETYPE,
    ManifestError, OpenedContainer, SIGNATURE_NAME,
};

const UTF8: u16 = 1 << 11;
const DESCRIPTOR: u16 = 1 << 3;

/// One entry as the test wants it to look, in the local header, the data and the directory.
#[derive(Clone)]
struct File {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    length: u32,
    data: Vec<u8>,
    /// Written after the data.
    descriptor: Vec<u8>,
    local_extra: Vec<u8>,
    central: Central,
}

/// What the directory says otherwise than the entry.
#[derive(Clone, Default)]
struct Central {
    absent: bool,
    name: Option<Vec<u8>>,
    flags: Option<u16>,
    method: Option<u16>,
    time: u16,
    crc: Option<u32>,
    sizes: Option<[u32; 2]>,
    extra: Vec<u8>,
    comment: Vec<u8>,
    attributes: u32,
    offset_delta: u32,
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn stored(name: &str, content: &[u8]) -> File {
    File {
        name: name.as_bytes().to_vec(),
        flags: if name == "mimetype" { 0 } else { UTF8 },
        method: 0,
        crc: crc(content),
        packed: content.len() as u32,
        length: content.len() as u32,
        data: content.to_vec(),
        descriptor: Vec::new(),
        local_extra: Vec::new(),
        central: Central::default(),
    }
}

fn deflated(name: &str, content: &[u8]) -> File {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(content).unwrap();
    let data = packer.finish().unwrap();
    File { method: 8, packed: data.len() as u32, data, ..stored(name, content) }
}

/// As we write them: sizes behind the data.
fn streamed(name: &str, content: &[u8]) -> File {
    let mut file = deflated(name, content);
    file.central.crc = Some(file.crc);
    file.central.sizes = Some([file.packed, file.length]);
    file.descriptor = le32(&[0x0807_4b50, file.crc, file.packed, file.length]);
    file.flags |= DESCRIPTOR;
    (file.crc, file.packed, file.length) = (0, 0, 0);
    file
}

fn le16(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn le32(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn zip(files: &[File]) -> Vec<u8> {
    let (mut out, mut directory, mut count) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let offset = out.len() as u32 + file.central.offset_delta;
        out.extend(le32(&[0x0403_4b50]));
        out.extend(le16(&[20, file.flags, file.method, 0, 33]));
        out.extend(le32(&[file.crc, file.packed, file.length]));
        out.extend(le16(&[file.name.len() as u16, file.local_extra.len() as u16]));
        for part in [&file.name, &file.local_extra, &file.data, &file.descriptor] {
            out.extend_from_slice(part);
        }
        let central = &file.central;
        if central.absent {
            continue;
        }
        count += 1;
        let name = central.name.as_ref().unwrap_or(&file.name);
        let [packed, length] = central.sizes.unwrap_or([file.packed, file.length]);
        directory.extend(le32(&[0x0201_4b50]));
        let (flags, method) = (central.flags.unwrap_or(file.flags), central.method.unwrap_or(file.method));
        directory.extend(le16(&[20, 20, flags, method, central.time, 33]));
        directory.extend(le32(&[central.crc.unwrap_or(file.crc), packed, length]));
        directory.extend(le16(&[name.len() as u16, central.extra.len() as u16, central.comment.len() as u16, 0, 0]));
        directory.extend(le32(&[central.attributes, offset]));
        for part in [name, &central.extra, &central.comment] {
            directory.extend_from_slice(part);
        }
    }
    let start = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend(le32(&[0x0605_4b50]));
    out.extend(le16(&[0, 0, count, count]));
    out.extend(le32(&[directory.len() as u32, start]));
    out.extend(le16(&[0]));
    out
}

fn manifest(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let references: String =
        entries.iter().map(|(uri, content)| reference(uri, &Digest::of(content).to_base64())).collect();
    document(&format!("{SIG_REFERENCE}{references}"))
}

const SIG_REFERENCE: &str =
    r#"<a:SigReference URI="META-INF/signature001.p7s" MimeType="application/pkcs7-signature"/>"#;

fn reference(uri: &str, digest: &str) -> String {
    format!(
        r#"<a:DataObjectReference URI="{uri}"><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><d:DigestValue>{digest}</d:DigestValue></a:DataObjectReference>"#
    )
}

fn document(inside: &str) -> Vec<u8> {
    format!(
        r#"<a:ASiCManifest xmlns:a="http://uri.etsi.org/02918/v1.2.1#" xmlns:d="http://www.w3.org/2000/09/xmldsig#">{inside}</a:ASiCManifest>"#
    )
    .into_bytes()
}

/// A whole container; `a.txt` is the entry that the tests change.
fn good() -> Vec<File> {
    vec![
        stored("mimetype", MIMETYPE.as_bytes()),
        streamed("a.txt", b"content of a"),
        deflated("b.txt", b"content of b"),
        stored(MANIFEST_NAME, &manifest(&[("a.txt", b"content of a"), ("b.txt", b"content of b")])),
        stored(SIGNATURE_NAME, b"signature"),
    ]
}

fn changed(change: impl FnOnce(&mut Vec<File>)) -> Vec<u8> {
    let mut files = good();
    change(&mut files);
    zip(&files)
}

fn read(container: &[u8]) -> Result<OpenedContainer, ContainerError> {
    ContainerReader::new(container)?.read(&mut ())
}

macro_rules! refused {
    ($container:expr, $pattern:pat $(if $guard:expr)?) => {
        match read(&$container) {
            Err($pattern) $(if $guard)? => {}
            Err(other) => panic!("refused for another reason: {other:?}"),
            Ok(_) => panic!("accepted"),
        }
    };
}

use ContainerError as E;

#[test]
fn the_container_the_others_are_made_from_is_read() {
    let opened = read(&zip(&good())).unwrap();
    assert_eq!(opened.entries.len(), 2);
    assert_eq!(opened.signature, b"signature");
}

#[test]
fn what_does_not_begin_as_asic_e_is_refused() {
    refused!(Vec::new(), E::Truncated { offset: 0 });
    refused!(*b"%PDF-1.7 and more", E::Mimetype { .. });
    refused!(changed(|files| files.swap(0, 1)), E::Mimetype { .. });
    refused!(changed(|files| drop(files.remove(0))), E::Mimetype { .. });
    refused!(changed(|files| files[0] = deflated("mimetype", MIMETYPE.as_bytes())), E::Mimetype { .. });
    refused!(changed(|files| files[0] = stored("mimetype", b"application/vnd.etsi.asic-s+zip")), E::Mimetype { .. });
    refused!(changed(|files| files[0] = stored("mimetype", b"application/zip")), E::Mimetype { .. });
    refused!(
        changed(|files| files[0] = stored("mimetype", &[MIMETYPE.as_bytes(), b"\n"].concat())),
        E::Mimetype { .. }
    );
    refused!(changed(|files| files[0].local_extra = le16(&[0x7075, 0])), E::Mimetype { .. });
    let prefixed = [b"junk".to_vec(), zip(&good())].concat();
    refused!(prefixed, E::Mimetype { .. });
}

#[test]
fn unsafe_names_are_refused() {
    for (name, rule) in [
        ("../a.txt", EntryNameError::Path),
        ("x/../../a.txt", EntryNameError::Path),
        ("/etc/passwd", EntryNameError::Path),
        ("C:a.txt", EntryNameError::Path),
        ("folder/", EntryNameError::Path),
        ("..\\a.txt", EntryNameError::Character),
        ("a\0.txt", EntryNameError::Character),
        ("a\u{202E}fdp.exe", EntryNameError::Character),
        ("va\u{306}n.txt", EntryNameError::Normalisation),
        ("", EntryNameError::Length),
    ] {
        let container = changed(|files| files[1].name = name.as_bytes().to_vec());
        refused!(container, E::Name { source, .. } if source == rule);
    }
    refused!(changed(|files| files[1].name = vec![0xff]), E::Name { source: EntryNameError::Encoding, .. });
    let long = vec![b'a'; limits::ENTRY_NAME_BYTES_MAX + 1];
    refused!(changed(|files| files[1].name = long), E::Name { source: EntryNameError::Length, .. });
    let unmarked = changed(|files| (files[1].name, files[1].flags) = ("ă.txt".into(), DESCRIPTOR));
    refused!(unmarked, E::Feature { .. });
}

#[test]
fn features_outside_the_profile_are_refused() {
    for flag in [1 << 0, 1 << 4, 1 << 5, 1 << 6, 1 << 13] {
        refused!(changed(|files| files[1].flags |= flag), E::Feature { .. });
    }
    for method in [1, 9, 12, 14, 93, 99] {
        refused!(changed(|files| files[2].method = method), E::Feature { .. });
    }
    refused!(changed(|files| files[2] = File { flags: DESCRIPTOR | UTF8, ..stored("b.txt", b"") }), E::Feature { .. });
    refused!(changed(|files| files[1].length = 12), E::Feature { .. });
    refused!(changed(|files| files[1].central.attributes = 0o120_777 << 16), E::Feature { .. });
    refused!(changed(|files| files[1].central.attributes = 0x10), E::Feature { .. });
    refused!(changed(|files| files[1].central.comment = b"hello".to_vec()), E::Feature { .. });
    let unicode_path = [le16(&[0x7075, 5]), vec![1, 0, 0, 0, 0]].concat();
    refused!(changed(|files| files[1].local_extra = unicode_path.clone()), E::Extra { .. });
    refused!(changed(|files| files[1].central.extra = unicode_path), E::Extra { .. });
}

#[test]
fn zip64_fields_that_do_not_belong_are_refused() {
    let zip64 = |length: u64, packed: u64| {
        [le16(&[1, 16]), length.to_le_bytes().to_vec(), packed.to_le_bytes().to_vec()].concat()
    };
    // Beside sizes that need none.
    refused!(changed(|files| files[2].local_extra = zip64(12, 14)), E::Extra { .. });
    // Sizes that send the reader to a field that is not there.
    refused!(changed(|files| (files[2].packed, files[2].length) = (u32::MAX, u32::MAX)), E::Extra { .. });
    // A field that lies.
    let lying = changed(|files| {
        let (packed, length) = (files[2].packed, files[2].length);
        files[2].local_extra = zip64(u64::from(length) + 1, packed.into());
        files[2].central.sizes = Some([packed, length]);
        (files[2].packed, files[2].length) = (u32::MAX, u32::MAX);
    });
    refused!(lying, E::Sizes { .. });
    // A field that claims more than there is.
    let endless = changed(|files| {
        files[2] = stored("b.txt", b"content of b");
        files[2].local_extra = zip64(u64::MAX, u64::MAX);
        (files[2].packed, files[2].length) = (u32::MAX, u32::MAX);
    });
    refused!(endless, E::Truncated { .. });
}

#[test]
fn sizes_checksums_and_descriptors_that_lie_are_refused() {
    for at in 4..16 {
        let container = changed(|files| files[1].descriptor[at] ^= 1);
        refused!(container, E::Sizes { .. } | E::Checksum { .. });
    }
    refused!(changed(|files| files[1].descriptor[0] ^= 1), E::Descriptor { .. });
    refused!(changed(|files| files[1].descriptor.clear()), E::Descriptor { .. });
    refused!(changed(|files| files[2].crc ^= 1), E::Checksum { .. });
    refused!(changed(|files| files[2].length += 1), E::Sizes { .. });
    refused!(changed(|files| files[2].packed -= 1), E::Deflate { .. });
    refused!(changed(|files| files[2].packed += 1), E::Sizes { .. });
    refused!(changed(|files| files[2].data[0] = 0xff), E::Deflate { .. });
    refused!(changed(|files| files[3].length += 1), E::Sizes { .. });
}

#[test]
fn a_directory_that_disagrees_with_the_entries_is_refused() {
    refused!(changed(|files| files[1].central.name = Some(b"b.pdf".to_vec())), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.flags = Some(UTF8)), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.method = Some(0)), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.time = 1), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.crc = Some(1)), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.sizes = Some([1, 12])), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[1].central.absent = true), E::DirectoryDisagrees { .. });
    refused!(changed(|files| files[4].central.absent = true), E::DirectoryDisagrees { .. });
    // Overlapping: two names for one place.
    refused!(changed(|files| files[2].central.offset_delta = 1), E::DirectoryDisagrees { .. });
    let mut twice = zip(&good());
    let directory = twice.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let header = twice[directory..directory + 46 + 8].to_vec();
    let end = twice.len() - 22;
    twice.splice(end..end, header);
    refused!(twice, E::DirectoryEnd { .. });
}

#[test]
fn an_end_that_lies_or_goes_on_is_refused() {
    let good = zip(&good());
    let end = good.len() - 22;
    for at in [4, 6, 8, 10, 12, 16] {
        let mut lying = good.clone();
        lying[end + at] ^= 1;
        refused!(lying, E::DirectoryEnd { .. });
    }
    let commented = [&good[..good.len() - 2], &[2, 0], b"hi"].concat();
    refused!(commented, E::DirectoryEnd { .. });
    refused!([&good[..], b"\n"].concat(), E::TrailingBytes { .. });
    refused!([&good[..], &good[..]].concat(), E::TrailingBytes { .. });
    let without_directory = good[..good.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap()].to_vec();
    refused!([&without_directory[..], &good[end..]].concat(), E::UnknownRecord { .. });
    refused!([&without_directory[..], b"padding."].concat(), E::UnknownRecord { .. });
    let mut sentinel = good.clone();
    sentinel[end + 8..end + 12].fill(0xff);
    refused!(sentinel, E::DirectoryEnd { .. });
}

#[test]
fn entries_and_manifest_must_cover_each_other() {
    refused!(changed(|files| files.insert(1, stored("extra.txt", b"not signed"))), E::Uncovered { name } if name.as_str() == "extra.txt");
    refused!(changed(|files| drop(files.remove(1))), E::Absent { name } if name.as_str() == "a.txt");
    refused!(changed(|files| files[1] = streamed("a.txt", b"other content")), E::Altered { name } if name.as_str() == "a.txt");
    refused!(changed(|files| files[1].name = b"A.TXT".to_vec()), E::Uncovered { .. });
    refused!(changed(|files| files.insert(2, stored("a.txt", b"content of a"))), E::Duplicate { .. });
    refused!(changed(|files| files.push(stored(SIGNATURE_NAME, b"another"))), E::Duplicate { .. });
    refused!(changed(|files| files.push(stored("mimetype", MIMETYPE.as_bytes()))), E::Duplicate { .. });
    refused!(changed(|files| files.push(stored("MIMETYPE", b""))), E::Reserved { .. });
    for reserved in ["META-INF/signature002.p7s", "META-INF/ASiCManifest2.xml", "meta-inf/x", "META-INF"] {
        refused!(changed(|files| files.push(stored(reserved, b""))), E::Reserved { .. });
    }
    refused!(changed(|files| drop(files.remove(3))), E::Missing { name: MANIFEST_NAME });
    refused!(changed(|files| drop(files.remove(4))), E::Missing { name: SIGNATURE_NAME });
}

#[test]
fn what_unpacks_to_far_too_much_is_refused_early() {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        packer.write_all(&vec![0; 1024 * 1024]).unwrap();
    }
    let bomb = packer.finish().unwrap();
    let container = changed(|files| (files[1].data, files[1].descriptor) = (bomb, vec![]));
    struct Count(u64);
    impl truc_signer::asic::Visitor for Count {
        fn begin(&mut self, _: &truc_signer::asic::EntryHeader) -> Result<(), truc_signer::asic::VisitorError> {
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<(), truc_signer::asic::VisitorError> {
            self.0 += bytes.len() as u64;
            Ok(())
        }
        fn end(&mut self, _: &truc_signer::asic::Entry) -> Result<(), truc_signer::asic::VisitorError> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let error = ContainerReader::new(container.as_slice()).unwrap().read(&mut count).unwrap_err();
    assert!(matches!(error, E::Bomb), "{error:?}");
    assert!(count.0 < 80 * 1024 * 1024, "{} bytes came out", count.0);
}

#[test]
fn too_many_entries_and_too_large_a_manifest_or_signature_are_refused() {
    let many = changed(|files| files.extend((0..1_000).map(|number| stored(&format!("{number}"), b""))));
    refused!(many, E::TooLarge { .. });
    let signature = vec![0; limits::ASIC_SIGNATURE_BYTES_MAX + 1];
    refused!(changed(|files| files[4] = stored(SIGNATURE_NAME, &signature)), E::TooLarge { .. });
    let xml = vec![b' '; limits::ASIC_MANIFEST_BYTES_MAX + 1];
    refused!(changed(|files| files[3] = stored(MANIFEST_NAME, &xml)), E::TooLarge { .. });
    assert!(matches!(AsicManifest::parse(xml), Err(ManifestError::TooLarge)));
}

#[test]
fn a_source_that_fails_is_not_taken_for_a_bad_container() {
    struct Fails;
    impl io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let source = io::Read::chain(&b"PK\x03\x04"[..], Fails);
    assert!(matches!(ContainerReader::new(source).map(drop), Err(E::Source(_))));
}

#[track_caller]
fn manifest_error(inside: &str) -> ManifestError {
    AsicManifest::parse(document(inside)).unwrap_err()
}

#[test]
fn a_manifest_that_is_no_well_formed_xml_is_refused_however_much_of_it_could_be_read() {
    let good = String::from_utf8(manifest(&[("a", b"a")])).unwrap();
    let good = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{good}");
    AsicManifest::parse(good.clone().into_bytes()).unwrap();
    for (from, to) in [
        (" MimeType=", "MimeType="),
        (" xmlns:d=", "xmlns:d="),
        (" encoding=", "encoding="),
        (" encoding=", " encodig="),
        ("encoding=\"UTF-8\"", "encoding=\"UTF-8\" x"),
        ("encoding=\"UTF-8\"", "standalone=\"maybe\""),
        ("<?xml version", "<?xml encoding=\"UTF-8\" version"),
    ] {
        let bent = good.replacen(from, to, 1);
        assert_ne!(bent, good, "{from}");
        assert!(AsicManifest::parse(bent.clone().into_bytes()).is_err(), "{bent}");
    }
}

#[test]
fn manifests_outside_the_profile_are_refused() {
    use ManifestError as M;
    let digest = Digest::of(b"").to_base64();
    let one = reference("a.txt", &digest);
    AsicManifest::parse(document(&format!("{SIG_REFERENCE}{one}"))).unwrap();
    AsicManifest::parse(document(&format!("\n {SIG_REFERENCE}\n {one} \n"))).unwrap();

    let doctype = [b"<!DOCTYPE x [<!ENTITY e 'x'>]>".to_vec(), document(SIG_REFERENCE)].concat();
    assert!(matches!(AsicManifest::parse(doctype), Err(M::Forbidden { what: "a DOCTYPE" })));
    let utf16 = [b"<?xml version='1.0' encoding='UTF-16'?>".to_vec(), document(SIG_REFERENCE)].concat();
    assert!(matches!(AsicManifest::parse(utf16), Err(M::Encoding)));
    assert!(matches!(AsicManifest::parse(vec![0xff, 0xfe]), Err(M::Encoding)));
    let version = [b"<?xml version='1.1'?>".to_vec(), document(SIG_REFERENCE)].concat();
    assert!(matches!(AsicManifest::parse(version), Err(M::Forbidden { .. })));
    let after = [document(SIG_REFERENCE), b"<x/>".to_vec()].concat();
    assert!(matches!(AsicManifest::parse(after), Err(M::Structure { .. })));
    let open = document(SIG_REFERENCE);
    assert!(AsicManifest::parse(open[..open.len() - 10].to_vec()).is_err());
    for cut in 0..open.len() {
        assert!(AsicManifest::parse(open[..cut].to_vec()).is_err(), "{cut}");
    }

    let bent = |from: &str, to: &str| {
        AsicManifest::parse(document(&format!("{SIG_REFERENCE}{}", one.replacen(from, to, 1)))).unwrap_err()
    };
    let mark = [b"\xef\xbb\xbf".to_vec(), document(SIG_REFERENCE)].concat();
    assert!(matches!(AsicManifest::parse(mark), Err(M::Forbidden { what: "a byte order mark" })));
    for (to, what) in [
        ("URI=\"a\0\"", "a character that XML does not have"),
        ("URI=\"a\u{ffff}\"", "a character that XML does not have"),
        ("URI=\"&#97;\"", "a reference by number"),
        ("MimeType=\"<\" URI=\"a\"", "`<` in an attribute"),
        ("xmlns:z=\"&amp;\" URI=\"a\"", "an entity in a namespace"),
    ] {
        let error = bent("URI=\"a.txt\"", to);
        assert!(matches!(error, M::Forbidden { what: found } if found == what), "{to}: {error:?}");
    }
    for what in ["<!-- c -->", "<?pi x?>", "text", "<![CDATA[x]]>", "&lt;", "&#65;"] {
        assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}{what}{one}")), M::Forbidden { .. }), "{what}");
    }
    assert!(matches!(manifest_error(""), M::Structure { .. }));
    assert!(matches!(manifest_error(&one), M::Structure { .. }));
    assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}{SIG_REFERENCE}{one}")), M::Structure { .. }));
    assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}<a:ASiCManifestExtensions/>")), M::Structure { .. }));
    assert!(matches!(
        manifest_error(&format!("{SIG_REFERENCE}{}", one.replace("d:Digest", "a:Digest"))),
        M::Structure { .. }
    ));
    assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}{one}{one}")), M::Duplicate { .. }));
    assert!(matches!(manifest_error(&SIG_REFERENCE.replace("001", "002")), M::Attribute { .. }));
    assert!(matches!(manifest_error(&SIG_REFERENCE.replace("pkcs7", "jose")), M::Attribute { .. }));
    assert!(matches!(
        manifest_error(&format!("{SIG_REFERENCE}{}", one.replace("xmlenc#sha256", "xmlenc#sha1"))),
        M::Attribute { .. }
    ));
    assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}{}", one.replace("URI", "Uri"))), M::Attribute { .. }));
    assert!(matches!(
        manifest_error(&format!("{SIG_REFERENCE}{}", one.replace("URI", "Rootfile=\"true\" URI"))),
        M::Attribute { .. }
    ));
    for bad in ["AAAA", "", &digest[1..], "%%%%"] {
        let error = manifest_error(&format!("{SIG_REFERENCE}{}", reference("a.txt", bad)));
        assert!(matches!(error, M::Digest { .. }), "{bad}: {error}");
    }
    for uri in ["", "a b", "%", "%4", "%zz", "%2E%2E/a", "../a", "/a", "a%5Cb", "a%00", "a?b", "a#b", "ă", "%FF"] {
        let error = manifest_error(&format!("{SIG_REFERENCE}{}", reference(uri, &digest)));
        assert!(matches!(error, M::Uri { .. }), "{uri}: {error}");
    }
    let deep = format!("{SIG_REFERENCE}{}", "<x>".repeat(100_000));
    assert!(matches!(manifest_error(&deep), M::Structure { .. }));
    let many: String = (0..=limits::CONTAINER_ENTRIES_MAX).map(|n| reference(&n.to_string(), &digest)).collect();
    assert!(matches!(manifest_error(&format!("{SIG_REFERENCE}{many}")), M::TooLarge));
}

/// Repeatable changes: a failure prints the seed, and the seed is the test.
#[test]
fn no_mutation_panics_or_passes_for_another_content() {
    let ours = {
        let mut writer = ContainerWriter::new(Vec::new()).unwrap();
        for (name, content) in [("a.txt", "content of a"), ("văn bản.txt", "nội dung")] {
            writer.begin_entry(name, "text/plain", None).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
            writer.end_entry().unwrap();
        }
        writer.finish(|_| Ok::<_, io::Error>(b"signature".to_vec())).unwrap().sink
    };
    for (base, rounds) in [(ours, 20_000), (zip(&good()), 20_000)] {
        let original = read(&base).unwrap();
        for seed in 1..=rounds {
            let mutated = mutate(&base, seed);
            if let Ok(opened) = read(&mutated) {
                let same = opened.entries == original.entries && opened.manifest == original.manifest;
                assert!(same && opened.signature == original.signature, "seed {seed}");
            }
            let mut xml = original.manifest.bytes().to_vec();
            xml = mutate(&xml, seed);
            if let Ok(parsed) = AsicManifest::parse(xml.clone()) {
                assert_eq!(parsed.bytes(), xml, "seed {seed}");
            }
        }
    }
}

fn mutate(base: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound.max(1)
    };
    let mut bytes = base.to_vec();
    for _ in 0..=next(3) {
        let at = next(bytes.len());
        match next(6) {
            0 => bytes[at] ^= 1 << next(8),
            1 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'P', b'<'][next(6)],
            2 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
            3 => {
                let from = next(bytes.len());
                let piece = bytes[from..(from + next(60)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => bytes.truncate(at),
            _ => bytes.insert(at, next(256) as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}
