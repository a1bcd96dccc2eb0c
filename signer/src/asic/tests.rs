use std::io::Write;

use super::{local::Entries, *};

/// A container whose numbers need zip64 from `zip64_from` on, with entries of the given content and declared length.
fn written(zip64_from: u64, entries: &[(&str, &[u8], Option<u64>)]) -> Result<Vec<u8>, ContainerWriteError> {
    let mut writer = ContainerWriter::with_zip64_from(Vec::new(), zip64_from)?;
    for (name, content, length) in entries {
        writer.begin_entry(name, "text/plain", *length)?;
        writer.write_all(content).map_err(|error| error.downcast::<ContainerWriteError>().unwrap())?;
        writer.end_entry()?;
    }
    let done = writer.finish(|_| Ok::<_, std::io::Error>(b"signature".to_vec()));
    match done {
        Ok(container) => Ok(container.sink),
        Err(FinishError::Write(error)) => Err(error),
        Err(FinishError::Sign(error)) => panic!("{error}"),
    }
}

/// Bytes that do not compress.
#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}

#[test]
fn a_declared_length_brings_zip64_and_every_reader_follows() {
    let big = noise(6_000);
    let container = written(5_000, &[("big.bin", &big, Some(6_000)), ("after.txt", b"after", None)]).unwrap();
    let entries = list(container.as_slice()).unwrap();
    assert_eq!(entries[0].length, 6_000);
    assert_eq!(entries[0].digest, Digest::of(&big));
    assert_eq!(entries[1].digest, Digest::of(b"after"));
    // Offsets of what comes after, and of the directory, are zip64 as well.
    assert!(container.windows(4).any(|bytes| bytes == zip::END64.to_le_bytes()));

    let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(*[i.file_size for i in z.infolist()])";
    if let Some(said) = python(script, &container) {
        assert!(said.starts_with("31 6000 5 "), "{said}");
    }
}

#[test]
fn an_entry_that_outgrows_what_was_declared_is_refused_by_name() {
    for declared in [None, Some(100)] {
        let error = written(5_000, &[("big.bin", &noise(6_000), declared)]).unwrap_err();
        assert!(
            matches!(&error, ContainerWriteError::LengthNotDeclared { name } if name.as_str() == "big.bin"),
            "{error}"
        );
    }
}

#[test]
fn zip64_numbers_that_lie_are_refused() {
    let container = written(5_000, &[("big.bin", &noise(6_000), Some(6_000))]).unwrap();
    list(container.as_slice()).unwrap();
    let wide = 6_000_u64.to_le_bytes();
    let places: Vec<usize> = (0..container.len() - 8).filter(|at| container[*at..at + 8] == wide).collect();
    assert_eq!(places.len(), 2, "in the descriptor and in the directory");
    for at in places {
        let mut lying = container.clone();
        lying[at] ^= 1;
        let error = list(lying.as_slice()).unwrap_err();
        let named = matches!(error, ContainerError::Sizes { .. } | ContainerError::DirectoryDisagrees { .. });
        assert!(named, "{error}");
    }
    let end64 = container.windows(4).position(|bytes| bytes == zip::END64.to_le_bytes()).unwrap();
    for at in [4, 16, 24, 32, 40, 48, 56 + 8, 56 + 16] {
        let mut lying = container.clone();
        lying[end64 + at] ^= 1;
        let error = list(lying.as_slice()).unwrap_err();
        assert!(matches!(error, ContainerError::DirectoryEnd { .. }), "{at}: {error}");
    }
}

#[test]
fn what_compresses_too_well_is_stored_in_part_and_still_reads() {
    let zeros = vec![0; 40 * 1024 * 1024];
    let container = written(u64::from(u32::MAX), &[("zeros", &zeros, None)]).unwrap();
    assert!(container.len() > zeros.len() / 200, "a reader would call it a bomb");
    assert!(container.len() < zeros.len() / 50);
    let entries = list(container.as_slice()).unwrap();
    assert_eq!(entries[0].digest, Digest::of(&zeros));
    let script = "import sys, zipfile; assert zipfile.ZipFile(sys.argv[1]).testzip() is None";
    python(script, &container);
}

#[test]
fn text_between_stored_blocks_is_not_lost() {
    // Past the ratio's half-way mark, then content whose matches must not reach over the stored blocks.
    let mut content = vec![b'x'; 12 * 1024 * 1024];
    for line in 0..20_000_u32 {
        content.extend(format!("line {line} of a text that repeats itself a little\n").bytes());
        content.extend([b'x'; 900]);
    }
    let container = written(u64::from(u32::MAX), &[("text", &content, None)]).unwrap();
    assert_eq!(list(container.as_slice()).unwrap()[0].digest, Digest::of(&content));
}

const BEYOND_4_GIB: u64 = 5 * 1024 * 1024 * 1024;

/// 5 GiB of zeros and one entry more.
fn write_beyond_4_gib(sink: impl Write) -> (Entry, Digest) {
    let mut container = ContainerWriter::new(std::io::BufWriter::new(sink)).unwrap();
    container.begin_entry("zeros", "application/octet-stream", Some(BEYOND_4_GIB)).unwrap();
    let block = vec![0; 1024 * 1024];
    for _ in 0..BEYOND_4_GIB / 1024 / 1024 {
        container.write_all(&block).unwrap();
    }
    let entry = container.end_entry().unwrap();
    container.begin_entry("after.txt", "text/plain", None).unwrap();
    container.write_all(b"after").unwrap();
    container.end_entry().unwrap();
    (entry, container.finish(|_| Ok::<_, std::io::Error>(b"signature".to_vec())).unwrap().digest)
}

#[test]
fn an_entry_beyond_4_gib_comes_back() {
    let (reader, writer) = std::io::pipe().unwrap();
    let writing = std::thread::spawn(move || write_beyond_4_gib(writer));
    let opened = ContainerReader::new(reader).unwrap().read(&mut ()).unwrap();
    let (entry, digest) = writing.join().unwrap();
    assert_eq!(entry.length, BEYOND_4_GIB);
    assert_eq!((&opened.entries[0], opened.digest), (&entry, digest));
}

#[test]
#[ignore = "python takes a minute: cargo test -p truc-signer --lib -- --ignored"]
fn an_entry_beyond_4_gib_is_read_by_python_unzip_and_java() {
    let mut container = Vec::new();
    let (entry, _) = write_beyond_4_gib(&mut container);
    let script = "import sys, zipfile, subprocess
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
assert z.infolist()[1].file_size == 5 << 30
subprocess.run(['unzip', '-t', sys.argv[1]], check=True)
print(subprocess.run(['java', 'tests/container_tools/Unpack.java', sys.argv[1]], check=True, capture_output=True, text=True).stdout)";
    if let Some(said) = python(script, &container) {
        assert!(said.contains(&format!("{BEYOND_4_GIB} {} zeros", entry.digest)), "{said}");
        assert!(said.contains(" after.txt"), "{said}");
    }
}

#[test]
fn an_upload_that_stops_is_truncated_wherever_it_stops() {
    let container = written(u64::from(u32::MAX), &[("a.txt", b"content of a", None)]).unwrap();
    for len in 0..container.len() {
        let error = list(&container[..len]).unwrap_err();
        assert!(matches!(error, ContainerError::Truncated { .. }), "{len}: {error}");
    }
}

#[test]
fn entries_are_walked_without_the_directory() {
    let container = written(u64::from(u32::MAX), &[("a.txt", b"a", None), ("b.txt", b"b", None)]).unwrap();
    let mut entries = Entries::new(container.as_slice()).unwrap();
    let mut names = Vec::new();
    while let Some(local) = entries.next().unwrap() {
        names.push(local.record.name.to_string());
        entries.body(local, &mut |_| Ok(())).unwrap();
    }
    assert_eq!(names, ["a.txt", "b.txt", MANIFEST_NAME, SIGNATURE_NAME]);
}

/// Runs a Python script over the container; `None` when there is no Python.
fn python(script: &str, container: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("container.asice");
    std::fs::write(&path, container).unwrap();
    match std::process::Command::new("python3").args(["-c", script]).arg(&path).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "python3: {error}");
            eprintln!("SKIPPED: python3 is missing");
            None
        }
    }
}
