//! Backups: what is in them, who opens them, and that they come back whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Subject};
use truc_evidence::{
    BackupError, BackupFile, BackupHalf, BackupKey, BackupMade, BackupSource, forget_restored, make_backup, restored,
};
use truc_ledger::{Fold, FoldError, Ledger, Record, Replayed, Settings, StoreTag, open, volume::DirVolume};
use truc_proto::{BackupKind, Digest, Lane, Timestamp};
use truc_signer::{Certificate, SoftKey};

use crate::world::{at, ledger_key, node_id};

const ORIGIN: &str = "truc/dev/ordinary/N-H26/1";

#[derive(Default)]
struct Count {
    records: u64,
    leaves: u64,
}

impl Fold for Count {
    fn reset(&mut self) {
        *self = Self::default();
    }
    fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Err("no snapshot is in a backup".into())
    }
    fn apply(&mut self, record: Replayed<'_>) -> Result<(), FoldError> {
        self.records += 1;
        self.leaves += u64::from(record.leaf.is_some());
        Ok(())
    }
}

/// A machine's folder with a running ledger, and two administrators.
struct Machine {
    root: tempfile::TempDir,
    ledger: Ledger,
    administrators: [Issued; 3],
    now: Timestamp,
}

fn tag() -> StoreTag {
    StoreTag { axis: "dev".into(), lane: "ordinary".into(), kind: "node".into(), id: "N-H26".into() }
}

fn opened(folder: &Path) -> (Ledger, Count) {
    let volume = Arc::new(DirVolume::create(folder.join("store")).unwrap());
    let mut count = Count::default();
    let key = ledger_key(ORIGIN, 4);
    let (ledger, _) = open(volume, tag(), ORIGIN.into(), key, Settings::default(), &mut count).unwrap();
    (ledger, count)
}

fn append(ledger: &Ledger, count: u64) {
    for number in 0..count {
        let (sender, receiver) = mpsc::channel();
        let record = if number % 2 == 0 {
            Record::state(vec![1; 700])
        } else {
            Record::with_leaf(vec![2; 30], format!("leaf {number}").into_bytes())
        };
        ledger.submit(vec![record], Box::new(move |_| sender.send(()).unwrap())).unwrap();
        receiver.recv_timeout(truc_certs_dev::wait::PATIENCE).unwrap();
    }
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let now = truc_certs_dev::now();
        let pki = Pki::new(KeyKind::P256, now).unwrap();
        let person = |name: &str| pki.issue(Profile::Sealing, Subject::new(name)).unwrap();
        let rsa = Pki::new(KeyKind::Rsa3072, now).unwrap();
        let administrators = [
            person("Quản trị một"),
            rsa.issue(Profile::Sealing, Subject::new("Quản trị hai")).unwrap(),
            person("Người thứ ba"),
        ];
        let folder = root.path().join("node");
        for (path, bytes) in [
            ("truc-node.toml", b"epoch = 1\n".as_slice()),
            ("keys/ledger.pk8", b"secret"),
            ("keys/empty", b""),
            ("trust/anchors.pem", b"-----"),
            ("store/forks/x.fork", b"two"),
            ("store/index/closed/db", b"made again"),
            ("store/uploads/u1", b"begun"),
            ("store/tmp/begun", b"begun"),
            ("store/snapshots/1.snap", b"made again"),
            ("directory/next.tmp", b"half"),
        ] {
            let at = folder.join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, bytes).unwrap();
        }
        for document in [b"sealed".to_vec(), vec![9; 3 * 1024 * 1024]] {
            let name = Digest::of(&document).to_string();
            let at = folder.join("store/b").join(&name[..2]);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join(name), document).unwrap();
        }
        let (ledger, _) = opened(&folder);
        append(&ledger, 40);
        Self { root, ledger, administrators, now }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("node")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn source(&self) -> BackupSource {
        BackupSource {
            kind: BackupKind::Node,
            axis: "dev".parse().unwrap(),
            lane: Lane::Ordinary,
            id: node_id("N-H26"),
            origin: ORIGIN.into(),
            tag: tag(),
            folder: self.folder(),
            outside: Vec::new(),
            documents: true,
        }
    }

    fn certificate(&self, number: usize) -> Certificate {
        Certificate::from_der(&self.administrators[number].certificate_der).unwrap()
    }

    fn key(&self, number: usize) -> SoftKey {
        let Issued { certificate_pem, key_pem, .. } = &self.administrators[number];
        SoftKey::from_pem(certificate_pem.as_bytes(), key_pem.as_bytes()).unwrap()
    }

    fn backup(&self, source: &BackupSource, name: &str) -> Result<BackupMade, BackupError> {
        make_backup(source, &self.at(name), [&self.certificate(0), &self.certificate(1)], self.now)
    }

    fn opened(&self, file: &BackupFile) -> BackupKey {
        let half = |number| BackupHalf::open(file.head(), &self.key(number)).unwrap();
        BackupHalf::join(file.head(), &half(0), &half(1)).unwrap()
    }
}

fn listed(folder: &Path, under: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(under).unwrap().flatten() {
        if entry.path().is_dir() {
            listed(folder, &entry.path(), into);
        } else {
            let path = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            into.push((path, fs::read(entry.path()).unwrap()));
        }
    }
    into.sort();
}

#[test]
fn a_running_machine_comes_back_with_everything_that_is_not_made_again_by_itself() {
    let machine = Machine::new();
    let made = machine.backup(&machine.source(), "b.backup").unwrap();
    let head = machine.ledger.head();
    assert_eq!((made.head.records, made.head.leaves, made.head.root), (40, head.size, head.root));
    assert_eq!((made.damaged.len(), made.sha256), (0, Digest::of(&fs::read(machine.at("b.backup")).unwrap())));
    append(&machine.ledger, 6);

    let file = BackupFile::open(&machine.at("b.backup")).unwrap();
    file.check().unwrap();
    let key = machine.opened(&file);
    let contents = file.verify(&key).unwrap();
    assert_eq!((contents.files, contents.bytes), (made.files, made.bytes));
    let (back, later) = (machine.at("back"), at());
    let (restored_contents, outside) = file.restore(&key, &back, later).unwrap();
    assert_eq!((restored_contents, outside.len()), (contents, 0));

    let mut files = Vec::new();
    listed(&back, &back, &mut files);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for there in ["truc-node.toml", "keys/ledger.pk8", "keys/empty", "trust/anchors.pem", "store/forks/x.fork"] {
        let (_, bytes) = files.iter().find(|(name, _)| name == there).unwrap();
        assert_eq!(*bytes, fs::read(machine.folder().join(there)).unwrap(), "{there}");
    }
    assert_eq!(names.iter().filter(|name| name.starts_with("store/b/")).count(), 2);
    for gone in ["index", "uploads", "tmp", "snapshots", "tree"] {
        assert!(!names.iter().any(|name| name.contains(gone)), "{gone}: {names:?}");
    }
    let note = restored(&back.join("store")).unwrap().unwrap();
    assert_eq!((note.leaves, note.root, note.restored), (made.head.leaves, made.head.root, later));
    // Its journal opens, has what was there when the backup was made, and goes on.
    let (ledger, count) = opened(&back);
    assert_eq!((count.records, count.leaves), (40, made.head.leaves));
    assert_eq!((ledger.head().size, ledger.head().root), (made.head.leaves, made.head.root));
    append(&ledger, 3);
    ledger.close();
    forget_restored(&back.join("store")).unwrap();
    assert!(restored(&back.join("store")).unwrap().is_none());

    assert!(matches!(file.restore(&key, &back, later), Err(BackupError::Occupied { .. })), "nothing is overwritten");
    assert!(matches!(machine.backup(&machine.source(), "b.backup"), Err(BackupError::Occupied { .. })));
    let inside = machine.folder().join("x.backup");
    let inside =
        make_backup(&machine.source(), &inside, [&machine.certificate(0), &machine.certificate(1)], machine.now);
    assert!(matches!(inside, Err(BackupError::Form { .. })), "not into what is backed up");
    let left: Vec<_> = fs::read_dir(machine.root.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary file stays: {left:?}");
}

#[test]
fn neither_half_opens_anything_alone_and_no_other_persons_key_does() {
    let machine = Machine::new();
    machine.backup(&machine.source(), "one").unwrap();
    machine.backup(&machine.source(), "two").unwrap();
    let (one, two) = (BackupFile::open(&machine.at("one")).unwrap(), BackupFile::open(&machine.at("two")).unwrap());
    let half = |file: &BackupFile, number| BackupHalf::open(file.head(), &machine.key(number));
    let stranger = half(&one, 2).unwrap_err().to_string();
    assert!(
        stranger.contains("Quản trị một") && stranger.contains("Quản trị hai"),
        "it says who holds them: {stranger}"
    );
    let (first, second) = (half(&one, 0).unwrap(), half(&one, 1).unwrap());
    assert!(matches!(BackupHalf::join(one.head(), &first, &first), Err(BackupError::Halves { .. })));
    let foreign = half(&two, 1).unwrap();
    assert!(matches!(BackupHalf::join(one.head(), &first, &foreign), Err(BackupError::Halves { .. })));
    // A half travels as a file that its owner alone may read.
    first.save(&machine.at("first.half")).unwrap();
    let carried = BackupHalf::load(&machine.at("first.half")).unwrap();
    assert!(first.save(&machine.at("first.half")).is_err(), "never over another");
    one.verify(&BackupHalf::join(one.head(), &carried, &second).unwrap()).unwrap();
    assert_eq!(format!("{carried:?}").matches("redacted").count(), 1);
    // The key of another backup opens nothing.
    assert!(matches!(one.verify(&machine.opened(&two)), Err(BackupError::Content { .. })));
    for text in ["", "truc backup half v1\n", "x"] {
        fs::write(machine.at("bad.half"), text).unwrap();
        assert!(matches!(BackupHalf::load(&machine.at("bad.half")), Err(BackupError::NoHalf { .. })));
    }
    let twice =
        make_backup(&machine.source(), &machine.at("x"), [&machine.certificate(0), &machine.certificate(0)], at());
    assert!(matches!(twice, Err(BackupError::Administrator { .. })), "two persons, not one twice");
    let late = Timestamp::from_unix_ms(machine.certificate(0).not_after().unix_ms() + 1);
    let late =
        make_backup(&machine.source(), &machine.at("x"), [&machine.certificate(0), &machine.certificate(1)], late);
    assert!(matches!(late, Err(BackupError::Administrator { .. })), "not to an expired certificate");
    assert!(!machine.at("x").exists());
}

#[test]
fn every_change_and_every_cut_is_noticed_and_nothing_is_restored_of_it() {
    let machine = Machine::new();
    for entry in fs::read_dir(machine.folder().join("store/b")).unwrap().flatten() {
        fs::remove_dir_all(entry.path()).unwrap();
    }
    machine.backup(&machine.source(), "b").unwrap();
    let whole = fs::read(machine.at("b")).unwrap();
    let key = machine.opened(&BackupFile::open(&machine.at("b")).unwrap());
    let bent = machine.at("bent");
    let try_bent = |bytes: &[u8], what: &str| {
        fs::write(&bent, bytes).unwrap();
        let Ok(file) = BackupFile::open(&bent) else { return };
        assert!(matches!(file.check(), Err(BackupError::Changed { .. })), "{what}: unnoticed without keys");
        if file.verify(&key).is_ok() {
            // The trailer is for accidents alone; the archive itself holds.
            assert!(what.parse::<usize>().unwrap() >= whole.len() - 32, "{what}");
            return;
        }
        let target = machine.at("never");
        assert!(file.restore(&key, &target, at()).is_err(), "{what}");
        assert!(!target.exists() && fs::read_dir(machine.root.path()).unwrap().count() == 3, "{what}");
    };
    let step = whole.len() / 60;
    for at in (0..whole.len()).step_by(step).chain(whole.len() - 40..whole.len()) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        try_bent(&changed, &at.to_string());
    }
    for length in (0..whole.len()).step_by(step) {
        try_bent(&whole[..length], "0");
    }
    try_bent(&[whole.as_slice(), b"x"].concat(), "0");
}

#[test]
fn documents_may_be_left_out_rotten_ones_are_named_and_files_elsewhere_are_taken_along() {
    let machine = Machine::new();
    let elsewhere = machine.at("credentials");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("storage.key"), b"the storage key").unwrap();
    let rotten = fs::read_dir(machine.folder().join("store/b")).unwrap().flatten().next().unwrap().path();
    let rotten = fs::read_dir(rotten).unwrap().flatten().next().unwrap().path();
    fs::write(&rotten, b"other bytes").unwrap();
    let source = BackupSource { outside: vec![elsewhere.join("storage.key")], ..machine.source() };
    let made = machine.backup(&source, "with").unwrap();
    assert_eq!(made.damaged.len(), 1);
    assert!(rotten.ends_with(Path::new(&made.damaged[0]).file_name().unwrap()));
    let without = machine.backup(&BackupSource { documents: false, ..source }, "without").unwrap();
    assert!(!without.head.documents && without.files == made.files - 2, "{without:?}");
    let file = BackupFile::open(&machine.at("without")).unwrap();
    let (_, outside) = file.restore(&machine.opened(&file), &machine.at("back"), at()).unwrap();
    let [(lies, belongs)] = outside.as_slice() else { panic!("{outside:?}") };
    assert_eq!(
        (fs::read(lies).unwrap().as_slice(), belongs),
        (b"the storage key".as_slice(), &elsewhere.join("storage.key"))
    );
    assert!(!machine.at("back/store/b").exists());
}

/// The way back without any code of this product's: as docs/FORMATS.md says it.
#[test]
fn openssl_tar_and_sha256sum_open_a_backup_by_the_description() {
    let tools = ["openssl", "tar", "sha256sum"];
    if tools.iter().any(|tool| Command::new(tool).arg("--help").output().is_err()) {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1"), "{tools:?} are wanted");
        eprintln!("SKIPPED: one of {tools:?} is not there");
        return;
    }
    let machine = Machine::new();
    machine.backup(&machine.source(), "b").unwrap();
    let bytes = fs::read(machine.at("b")).unwrap();
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    assert_eq!(lines.next().unwrap(), b"truc/backup/1");
    let head = data_encoding::BASE64.decode(lines.next().unwrap()).unwrap();
    let sealed = lines.next().unwrap();
    let (sealed, trailer) = sealed.split_at(sealed.len() - 32);
    assert_eq!(Digest::of(&bytes[..bytes.len() - 32]).as_bytes(), trailer);
    let said: serde_json::Value = serde_json::from_slice(&head).unwrap();
    let base64 = |value: &serde_json::Value| data_encoding::BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let mut key = [0; 32];
    for (number, issued) in machine.administrators.iter().take(2).enumerate() {
        fs::write(machine.at("half.cms"), base64(&said["halves"][number]["envelope"])).unwrap();
        fs::write(machine.at("half.pem"), issued.leaf_pem()).unwrap();
        fs::write(machine.at("half.key"), &issued.key_pem).unwrap();
        let opened = Command::new("openssl")
            .args(["cms", "-decrypt", "-inform", "DER", "-in", "half.cms", "-inkey", "half.key", "-recip", "half.pem"])
            .current_dir(machine.root.path())
            .output()
            .unwrap();
        let text = String::from_utf8(opened.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("key ")).unwrap_or_else(|| panic!("{text}"));
        for (to, from) in key.iter_mut().zip(data_encoding::BASE64.decode(line.as_bytes()).unwrap()) {
            *to ^= from;
        }
    }
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let chunk = 1024 * 1024 + 16;
    let mut archive = Vec::new();
    for (number, part) in sealed.chunks(chunk).enumerate() {
        let last = u8::from((number + 1) * chunk >= sealed.len());
        let mut nonce = base64(&said["prefix"]);
        nonce.extend(u32::try_from(number).unwrap().to_be_bytes());
        nonce.push(last);
        let mut part = part.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        archive.extend_from_slice(aead.open_in_place(nonce, Aad::from(Digest::of(&head).0), &mut part).unwrap());
    }
    let out = machine.at("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("x.tar"), archive).unwrap();
    for (tool, arguments) in [("tar", ["-xf", "x.tar"]), ("sha256sum", ["-c", "MANIFEST"])] {
        let ran = Command::new(tool).args(arguments).current_dir(&out).output().unwrap();
        assert!(ran.status.success(), "{tool}: {ran:?}");
    }
    assert_eq!(fs::read(out.join("keys/ledger.pk8")).unwrap(), b"secret");
}
