//! Fork files: what they prove, and to whom.

use truc_evidence::{ForkError, ForkFile, ForkFileError, ForkKind, fork_file_name};
use truc_ledger::merkle::MemTree;
use truc_proto::{
    Checkpoint,
    limits::{FORK_BYTES_MAX, FORK_FILES_MAX},
};

use crate::world::ledger_key;

const ORIGIN: &str = "truc/dev/ordinary/N-H26/1";

fn note(origin: &str, seed: u8, leaves: u64, history: &str) -> Vec<u8> {
    let tree = MemTree::of((0..leaves).map(|n| format!("{history} {n}").into_bytes()));
    let checkpoint = Checkpoint::new(origin, tree.size(), tree.root()).unwrap();
    ledger_key(origin, seed).sign(&checkpoint).to_string().into_bytes()
}

#[track_caller]
fn judged(first: &[u8], second: &[u8]) -> Result<ForkKind, ForkError> {
    let file = ForkFile::new(first, second);
    let read = ForkFile::parse(file.to_string().as_bytes()).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.origin().unwrap(), ORIGIN);
    read.judge(ledger_key(ORIGIN, 2).public()).map(|proven| proven.kind)
}

#[test]
fn two_roots_of_one_size_under_one_key_are_a_proof_and_anything_else_says_what_it_is() {
    let ours = note(ORIGIN, 2, 7, "a");
    assert_eq!(judged(&ours, &note(ORIGIN, 2, 7, "b")), Ok(ForkKind::TwoHistories));
    assert_eq!(judged(&note(ORIGIN, 2, 9, "b"), &ours), Ok(ForkKind::Unproven));
    assert_eq!(judged(&ours, &ours), Ok(ForkKind::Same));
    // Whoever makes one up accuses nobody.
    let by_another_key = judged(&ours, &note(ORIGIN, 99, 7, "b"));
    assert!(matches!(by_another_key, Err(ForkError::Signature { which: "second", .. })));
    let of_another_ledger = judged(&ours, &note("truc/dev/ordinary/N-G22/1", 2, 7, "b"));
    assert!(matches!(of_another_ledger, Err(ForkError::Signature { which: "second", .. })));
    let no_note = judged(&ours, b"no note");
    assert!(matches!(no_note, Err(ForkError::File(ForkFileError::Note { which: "second", .. }))));
}

#[test]
fn what_is_not_in_the_one_written_form_is_no_fork_file() {
    let good = ForkFile::new(&note(ORIGIN, 2, 7, "a"), &note(ORIGIN, 2, 7, "b")).to_string();
    assert!(ForkFile::parse(good.as_bytes()).is_ok());
    for bent in [
        good.replace("fork/1", "fork/2"),
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        good.clone() + "more\n",
        good.replacen('\n', "\n\n", 1),
        good.replacen("\n", "\n=", 1),
        String::new(),
    ] {
        assert_eq!(ForkFile::parse(bent.as_bytes()), Err(ForkFileError::Form), "{bent}");
    }
    assert_eq!(ForkFile::parse(&vec![b'a'; FORK_BYTES_MAX + 1]), Err(ForkFileError::TooLong));
    assert_eq!(fork_file_name(ORIGIN), "truc_dev_ordinary_N-H26_1.fork");
    assert_eq!(fork_file_name("../../etc/passwd"), "______etc_passwd.fork");
}

#[test]
fn a_fork_file_is_kept_once_and_the_first_proof_stays() {
    let folder = tempfile::tempdir().unwrap();
    let forks = folder.path().join("forks");
    let first = ForkFile::new(&note(ORIGIN, 2, 7, "a"), &note(ORIGIN, 2, 7, "b"));
    let path = first.keep_in(&forks).unwrap().unwrap();
    assert_eq!(path, forks.join("truc_dev_ordinary_N-H26_1.fork"));
    let second = ForkFile::new(&note(ORIGIN, 2, 8, "a"), &note(ORIGIN, 2, 8, "b"));
    assert_eq!(second.keep_in(&forks).unwrap(), Some(path.clone()));
    assert_eq!(ForkFile::parse(&std::fs::read(path).unwrap()).unwrap(), first);
    assert_eq!(ForkFile::new(b"no", b"note").keep_in(&forks).unwrap(), None);
    for n in 0..FORK_FILES_MAX {
        std::fs::write(forks.join(format!("{n}.fork")), "").unwrap();
    }
    let other = ForkFile::new(&note("o", 2, 7, "a"), &note("o", 2, 7, "b"));
    assert_eq!(other.keep_in(&forks).unwrap(), None, "the journal has it all the same");
}

/// Made by another hand: `proto/testdata/witness/make.py`.
#[test]
fn fork_files_of_another_writer_are_judged_as_their_names_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/testdata/witness");
    let key = ledger_key(ORIGIN, 2);
    let judged = |name: &str| {
        let file = ForkFile::parse(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        file.judge(key.public()).map(|proven| proven.kind)
    };
    assert_eq!(judged("two-histories.fork"), Ok(ForkKind::TwoHistories));
    assert_eq!(judged("unproven.fork"), Ok(ForkKind::Unproven));
    assert!(matches!(judged("made-up.fork"), Err(ForkError::Signature { which: "second", .. })));
}
