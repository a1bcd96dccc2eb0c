//! Search in a directory version, and versions whose entries stay on the disk.

use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use truc_evidence::{
    Directory, DirectoryDelta, DirectoryFileError, DirectoryQuery, DirectoryReadError, DirectoryWriter, HitClass,
};
use truc_proto::{
    AgencyEntry, Entry, KeyUse, Lane, Route, SignedDirectory,
    limits::{DIRECTORY_DELTA_BYTES_MAX, DIRECTORY_HITS_MAX},
};

use crate::world::{DAY_MS, WORLD, after, at, axis, bytes_of, code, sign_directory};

fn agency(text: &str, name: &str) -> AgencyEntry {
    AgencyEntry {
        code: code(text),
        names: vec![name.to_owned()],
        parent: None,
        old_codes: vec![],
        valid_from: after(-400 * DAY_MS),
        valid_to: None,
        serves_until: None,
        successor: None,
        route: Route::Native,
        node: None,
        lanes: vec![Lane::Ordinary],
        certificates: vec![],
    }
}

fn signed(agencies: Vec<AgencyEntry>) -> SignedDirectory {
    let mut entries = WORLD.entries();
    entries.extend(agencies.into_iter().map(Entry::Agency));
    entries.sort_by_key(Entry::key);
    let entries = entries.iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
    sign_directory(entries, WORLD.root(), &WORLD.operator.key)
}

fn verified(agencies: Vec<AgencyEntry>) -> Directory {
    let signed = signed(agencies);
    Directory::verify(signed, &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at()).unwrap()
}

fn ministries() -> Directory {
    let closed = AgencyEntry {
        valid_to: Some(after(-DAY_MS)),
        successor: Some(code("H05")),
        ..agency("H02", "UBND tỉnh Bắc Giang")
    };
    let moved = AgencyEntry {
        old_codes: vec!["000.00.00.K05".parse().unwrap()],
        names: vec!["UBND tỉnh Bắc Ninh".into(), "Tỉnh Kinh Bắc".into()],
        ..agency("H05", "")
    };
    verified(vec![
        agency("G18", "Bộ Y tế"),
        agency("K26.19", "Sở Y\u{200B} tế thành phố Hà Nội"),
        agency("K26.19.4", "Trung tâm Y tế, quận Hoàn Kiếm"),
        agency("K47", "UBND tỉnh Đắk Lắk"),
        agency("K48", "UBND tỉnh Đắk Nông"),
        agency("H02.9", "Sở Tài chính Bắc Giang"),
        closed,
        moved,
    ])
}

/// The codes found, the best first.
fn found(directory: &Directory, text: &str) -> Vec<String> {
    let query = DirectoryQuery { text, under: None, limit: DIRECTORY_HITS_MAX, at: at() };
    let (hits, total) = directory.search(&query);
    assert_eq!(hits.len(), total);
    hits.iter().map(|hit| hit.agency.code.to_string()).collect()
}

#[test]
fn names_are_found_without_diacritics_in_any_order_and_by_beginnings() {
    let directory = ministries();
    for text in ["đắk lắk", "dak lak", "LAK Dak ubnd", "la da tinh", "UBND tỉnh  Đắk-Lắk"] {
        assert_eq!(found(&directory, text), ["K47"], "{text}");
    }
    assert_eq!(found(&directory, "dak"), ["K47", "K48"]);
    // A name that holds an invisible space, as real lists do; the shorter name first.
    assert_eq!(found(&directory, "y te"), ["G18", "K26.19", "K26.19.4"]);
    assert_eq!(found(&directory, "kinh bac"), ["H05"]);
    assert!(found(&directory, "y te dak").is_empty());
    assert!(found(&directory, "?!").is_empty());
}

#[test]
fn codes_come_before_names_and_open_before_closed() {
    let directory = ministries();
    let classes = |text: &str| {
        let query = DirectoryQuery { text, under: None, limit: 10, at: at() };
        directory.search(&query).0.iter().map(|hit| (hit.agency.code.to_string(), hit.class)).collect::<Vec<_>>()
    };
    assert_eq!(
        classes("k26.19"),
        [("K26.19".to_owned(), HitClass::Code), ("K26.19.4".to_owned(), HitClass::CodePrefix)]
    );
    // A closed code asked for by name of the code is still what was asked for.
    assert_eq!(classes("H02")[0], ("H02".to_owned(), HitClass::Code));
    // Both fit; the open one first though its name is as long.
    assert_eq!(found(&directory, "ubnd tinh bac"), ["H05", "H02"]);
    assert_eq!(classes("000.00.00.k05"), [("H05".to_owned(), HitClass::Code)]);
    assert_eq!(classes("000.00"), [("H05".to_owned(), HitClass::CodePrefix)]);
    // Words of a name beside the beginning of a code.
    assert_eq!(found(&directory, "K26 hoan kiem"), ["K26.19.4"]);
    // Whole words before beginnings of words.
    assert_eq!(found(&directory, "ta y")[0], "K26.19.4");
}

#[test]
fn a_search_is_bounded_and_may_look_at_a_part_of_the_tree() {
    let directory = ministries();
    let query = DirectoryQuery { text: "ubnd", under: None, limit: 2, at: at() };
    let (hits, total) = directory.search(&query);
    assert_eq!((hits.len(), total), (2, 4));
    let under = code("K26.19");
    let below = DirectoryQuery { text: "", under: Some(&under), limit: 10, at: at() };
    let codes: Vec<_> = directory.search(&below).0.iter().map(|hit| hit.agency.code.to_string()).collect();
    assert_eq!(codes, ["K26.19", "K26.19.4"]);
    assert_eq!(directory.below(&code("K26.19")).len(), 2);
    assert!(directory.below(&code("K26.1")).is_empty());
    // Whatever is pasted into the field.
    let long = "ha noi ".repeat(100_000);
    assert_eq!(found(&directory, &long), ["K26.19"]);
    let everything = DirectoryQuery { text: " ", under: None, limit: usize::MAX, at: at() };
    assert_eq!(directory.search(&everything).1, directory.agencies().len());
}

#[test]
fn every_name_is_found_by_each_of_its_words() {
    let directory = ministries();
    for agency in directory.agencies() {
        for word in agency.name().split_whitespace() {
            assert!(found(&directory, word).contains(&agency.code.to_string()), "{word}");
        }
        assert_eq!(found(&directory, agency.code.as_str())[0], agency.code.to_string());
    }
}

fn written(folder: &std::path::Path, signed: &SignedDirectory) -> Result<Directory, DirectoryFileError> {
    let mut writer = DirectoryWriter::create(folder, &signed.statement, &signed.cms)?;
    for entry in &signed.entries {
        writer.entry(entry)?;
    }
    writer.finish(&WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at())
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_version_that_comes_in_piece_by_piece_stays_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let signed = signed(vec![agency("G18", "Bộ Y tế")]);
    let directory = written(folder.path(), &signed).unwrap();
    assert_eq!(directory.read_signed().unwrap(), signed);
    let (h26, service) = (code("H26"), WORLD.service_h26.sha256());
    assert_eq!(directory.certificate(&h26, KeyUse::Service, at()).unwrap().sha256(), service);
    assert_eq!(directory.proven("agency/H26").unwrap().unwrap().bytes, signed.entries[2]);
    assert!(matches!(directory.read_entry("operator").unwrap(), Some(Entry::Operator(_))));
    // Kept: the file takes the name that a start looks for, and nothing else stays.
    directory.save(folder.path()).unwrap();
    directory.save(folder.path()).unwrap();
    assert_eq!(files(folder.path()), ["current.directory"]);
    assert_eq!(directory.read_signed().unwrap(), signed);
    // A newer copy takes the name; who holds the older version still reads it.
    let next = WORLD.signed_directory();
    let newer = written(folder.path(), &next).unwrap();
    newer.save(folder.path()).unwrap();
    assert_eq!(directory.read_signed().unwrap(), signed);
    assert_eq!(newer.read_signed().unwrap(), next);
    // Elsewhere, too: as a whole file of its own.
    let other = tempfile::tempdir().unwrap();
    directory.save(other.path()).unwrap();
    let text = truc_evidence::encode_directory(&signed);
    assert_eq!(std::fs::read(other.path().join("current.directory")).unwrap(), text);
}

#[test]
fn what_came_in_and_was_not_kept_goes() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), &WORLD.signed_directory()).unwrap());
    assert!(files(folder.path()).is_empty());
    let mut forged = WORLD.signed_directory();
    forged.entries.pop();
    assert!(matches!(written(folder.path(), &forged).unwrap_err(), DirectoryFileError::Refused { .. }));
    assert!(files(folder.path()).is_empty());
    // As a crash leaves it.
    std::fs::write(folder.path().join("incoming-1-2"), b"truc/directory/1\n").unwrap();
    std::fs::write(folder.path().join("current.directory"), b"").unwrap();
    DirectoryWriter::clear(folder.path()).unwrap();
    assert_eq!(files(folder.path()), ["current.directory"]);
}

#[test]
fn bytes_changed_on_the_disk_after_they_were_verified_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let directory = written(folder.path(), &WORLD.signed_directory()).unwrap();
    directory.save(folder.path()).unwrap();
    let path = folder.path().join("current.directory");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().nth(3 + 1).unwrap(); // agency/H26
    let start = text.find(line).unwrap() as u64;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // Still base64, still JSON perhaps, not what was verified.
    let changed = if line.as_bytes()[40] == b'A' { b"B" } else { b"A" };
    file.write_all_at(changed, start + 40).unwrap();
    let damaged = |error: &DirectoryReadError| matches!(error, DirectoryReadError::Damaged { place: 1, .. });
    assert!(damaged(&directory.read_entry("agency/H26").unwrap_err()));
    assert!(damaged(&directory.proven("agency/H26").unwrap_err()));
    let unread = directory.certificate(&code("H26"), KeyUse::Service, at()).unwrap_err();
    assert!(matches!(unread, truc_evidence::CertificateLookupError::Unread { .. }));
    // What is in memory still answers, and so do the other entries.
    assert!(directory.resolve(&code("H26"), at()).is_ok());
    assert!(directory.read_entry("agency/H37").unwrap().is_some());
}

#[test]
fn an_unknown_code_is_compared_with_its_own_part_of_the_tree() {
    let directory = ministries();
    let near = |text: &str| {
        let codes = directory.nearest_codes(&text.parse().unwrap(), at());
        codes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(near("K26.91"), ["K26.19"]);
    assert_eq!(near("K49"), ["K47", "K48"]);
    // Closed codes are never offered.
    assert!(!near("H03").contains(&"H02".to_owned()));
    assert!(near("???").is_empty());
}

#[test]
fn a_difference_makes_the_next_version_of_the_one_held() {
    let folder = tempfile::tempdir().unwrap();
    let held = written(folder.path(), &signed(vec![agency("G18", "Bộ Y tế"), agency("K26", "Sở")])).unwrap();
    let target = signed(vec![agency("G19", "Bộ mới"), agency("K26", "Sở khác"), agency("Z01", "Cuối")]);
    let next =
        Directory::verify(target.clone(), &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at()).unwrap();
    let changed = next.keys_changed_since(&held);
    assert_eq!(changed, ["agency/G18", "agency/G19", "agency/K26", "agency/Z01"]);
    assert!(next.keys_changed_since(&next).is_empty());
    let mut delta = DirectoryDelta::default();
    for key in changed {
        match next.read_bytes(&key).unwrap() {
            Some(entry) => delta.change(entry).unwrap(),
            None => delta.remove(key).unwrap(),
        }
    }
    let rebuilt = |delta: &DirectoryDelta| {
        let mut writer = DirectoryWriter::create(folder.path(), &target.statement, &target.cms).unwrap();
        held.write_changed(delta, &mut writer).unwrap();
        writer.finish(&WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at())
    };
    assert_eq!(rebuilt(&delta).unwrap().read_signed().unwrap(), target);
    // One that leaves something out makes no version.
    assert!(matches!(rebuilt(&DirectoryDelta::default()).unwrap_err(), DirectoryFileError::Refused { .. }));
    assert!(delta.change(Bytes::from_static(b"{}")).is_err());
    assert!(delta.remove("x".repeat(DIRECTORY_DELTA_BYTES_MAX)).is_err());
}
