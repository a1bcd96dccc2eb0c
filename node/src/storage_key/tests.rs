//! Rotations of a folder with a journal, secrets and uploads, without a network.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use truc_ledger::{LedgerKey, Record, volume::DirVolume};
use truc_proto::{Administrator, AgencyId, EnvelopeId, Timestamp};
use truc_signer::{StorageKey, storage::wrapped_epoch};

use super::{gather::Mark, install::settle, *};
use crate::{
    pipe::{Carried, Holder},
    records::{Body, Closed, Content, Held, Needless, PayloadRemoved},
    sdk,
    settings::SETTINGS_FILE,
    uploads::{self, Uploads},
    vault::{Vault, VaultError},
    webhooks,
};

const SETTINGS: &str = r#"
axis = "vn-test"
lane = "ordinary"
id = "N-H26"
[local]
listen = "127.0.0.1:1"
[relay]
id = "R1"
address = "localhost:1"
[keys]
ledger = "ledger"
witness = "witness"
storage = "storage"
tokens = "tokens"
tls = { certificate = "t.pem", key = "t.key" }
node = { certificate = "n.pem", key = "n.key" }
[trust]
anchors = "a"
crls = []
operator = "op"
[[agency]]
code = "G22"
service = [{ certificate = "s.pem", key = "s.key" }]
sealing = [{ certificate = "e.pem", key = "e.key" }]
"#;

fn now() -> Timestamp {
    Timestamp::from_unix_s(1_790_000_000)
}

fn sender() -> AgencyId {
    "H26".parse().unwrap()
}

fn envelope(n: u8) -> EnvelopeId {
    EnvelopeId::new(now(), [n; 10])
}

fn settings(folder: &Path) -> Settings {
    Settings::load(folder).unwrap()
}

fn who() -> Administrator {
    at_the_machine(Some("lan".into()))
}

fn rotated(folder: &Path) -> Rotated {
    rotate(&settings(folder), who(), "định kỳ".into(), now()).unwrap()
}

fn failed(folder: &Path) -> String {
    format!("{:#}", rotate(&settings(folder), who(), "định kỳ".into(), now()).unwrap_err())
}

fn epoch(folder: &Path) -> u32 {
    StorageKey::load(&settings(folder).storage_key).unwrap().epoch()
}

/// A document's secrets, all of whose bytes are `n`, as a record of this key holds them.
fn wrapped(key: &StorageKey, n: u8) -> Vec<u8> {
    let context = |label: &str| format!("{label}\nH26\n{}", envelope(n)).into_bytes();
    let rest = [&[n; 7][..], &1_048_576_u32.to_be_bytes(), &[n; 32]].concat();
    let parts =
        [key.wrap(&[n; 32], &context("truc/document-key/1")), key.wrap(&rest, &context("truc/document-secrets/1"))];
    parts.map(Result::unwrap).concat()
}

fn content(key: &StorageKey, n: u8) -> Body {
    let (sender, envelope) = (sender().to_string(), envelope(n).to_string());
    Body::Content(Content { sender, envelope, wrapped: wrapped(key, n), ..Content::default() })
}

fn held(key: &StorageKey, n: u8) -> Body {
    let wrapped = wrapped(key, n);
    assert_eq!(wrapped.len(), 141);
    let body = [&[0x12, 0x8d, 0x01], wrapped.as_slice()].concat();
    Body::Held(Held { sender: "H26".into(), envelope: envelope(n).to_string(), body, ..Held::default() })
}

fn removed(n: u8) -> Body {
    let (sender, envelope) = (sender().to_string(), envelope(n).to_string());
    Body::PayloadRemoved(PayloadRemoved { sender, envelope, needless: Needless::default(), at_ms: 0, kept_ms: 0 })
}

fn closed(n: u8) -> Body {
    let (sender, envelope) = (sender().to_string(), envelope(n).to_string());
    Body::Closed(Closed { sent: true, sender, envelope, ..Closed::default() })
}

fn append(folder: &Path, bodies: Vec<Body>) {
    let settings = settings(folder);
    let origin = settings.origin();
    let key = LedgerKey::from_file(&origin, &settings.ledger_key).unwrap();
    let volume = Arc::new(DirVolume::create(settings.store()).unwrap());
    let of_ledger = truc_ledger::Settings::default();
    let mut core = rotate::Passing;
    let (ledger, _) = truc_ledger::open(volume, settings.store_tag(), origin, key, of_ledger, &mut core).unwrap();
    let (done, wait) = mpsc::channel();
    let records = bodies.into_iter().map(|body| Record { state: body.write(), leaf: None }).collect();
    ledger.submit(records, Box::new(move |_| done.send(()).unwrap())).unwrap();
    wait.recv_timeout(truc_certs_dev::wait::PATIENCE).unwrap();
    ledger.close();
}

/// Documents 1 to 4: received, received and removed, held, held and closed.
fn documents(key: &StorageKey) -> Vec<Body> {
    vec![content(key, 1), content(key, 2), held(key, 3), held(key, 4), removed(2), closed(4)]
}

/// What opens of a document whose record holds these bytes.
#[derive(PartialEq, Eq, Debug)]
enum Opens {
    Whole,
    Salt,
    Nothing,
}

fn opens(folder: &Path, n: u8, wrapped: &[u8]) -> Opens {
    let vault = Vault::open(&settings(folder)).unwrap();
    match Carried::find(wrapped, &vault, &sender(), envelope(n)) {
        Ok(carried) => {
            assert_eq!(carried.bytes()[44..], [n; 32], "its salt");
            if carried.is_whole() {
                assert_eq!(carried.bytes()[1..33], [n; 32], "its key");
                return Opens::Whole;
            }
            assert_eq!(carried.bytes()[1..44], [0; 43]);
            Opens::Salt
        }
        Err(_) => Opens::Nothing,
    }
}

/// A node's folder in its first epoch, the records' wrapped secrets by document, and an upload of which a part came.
struct Machine {
    folder: tempfile::TempDir,
    records: Vec<(u8, Vec<u8>)>,
    upload: uploads::UploadId,
    names: Vec<u8>,
}

fn machine() -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["a", "op", "t.pem", "t.key", "n.pem", "n.key", "s.pem", "s.key", "e.pem", "e.key", "witness", "tokens"]
    {
        fs::write(at.join(name), "x").unwrap();
    }
    fs::create_dir(at.join("keys")).unwrap();
    fs::write(at.join(SETTINGS_FILE), SETTINGS).unwrap();
    crate::tokens::write_private(&at.join("ledger"), &LedgerKey::generate_pkcs8().unwrap()).unwrap();
    let key = StorageKey::create(&at.join("storage"), 1).unwrap();
    let bodies = documents(&key);
    let records = bodies.iter().filter_map(|body| match gather::says(&body.clone().write()).unwrap().remove(0) {
        gather::Says::Secret { wrapped, envelope, .. } => {
            Some(((1..9).find(|n| self::envelope(*n) == envelope).unwrap(), wrapped))
        }
        gather::Says::Mark { .. } => None,
    });
    let records = records.collect();
    append(at, bodies);
    let settings = settings(at);
    sdk::add_system(&settings.sdk_systems(), &key, "VPCP", BTreeSet::from(["G22".parse().unwrap()]), now()).unwrap();
    let names = key.naming_secret(crate::words::NAMES).to_vec();
    let key = Arc::new(key);
    let hooks = webhooks::Store::new(settings.webhooks(), settings.webhook_progress(), Arc::clone(&key));
    hooks.add(hook()).unwrap();
    let uploads = Uploads::open(&settings.uploads(), key).unwrap();
    let about = uploads::About { owner: "first".into(), length: 9, name: "a".into(), content_type: String::new() };
    let upload = uploads.create(about).unwrap();
    for part in [&b"abc"[..], b"def"] {
        upload.append(part).unwrap();
    }
    upload.sync().unwrap();
    Machine { upload: upload.id(), folder, records, names }
}

fn hook() -> webhooks::Hook {
    webhooks::Hook {
        id: String::new(),
        url: "http://127.0.0.1:1/".into(),
        owner: "first".into(),
        codes: BTreeSet::new(),
        events: BTreeSet::from([webhooks::EventType::DocumentReceived]),
        secret: String::new(),
        created: Timestamp::EPOCH,
        from: 0,
    }
}

impl Machine {
    /// A copy, as after a crash.
    fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        copy(self.folder.path(), to.path());
        to
    }

    /// Everything opens in this epoch that is to open.
    fn check(&self, folder: &Path, wanted: u32) {
        assert_eq!(epoch(folder), wanted);
        let settings = settings(folder);
        assert!(left_over(&settings).is_none());
        let fates = self.records.iter().map(|(n, wrapped)| opens(folder, *n, wrapped)).collect::<Vec<_>>();
        let later = [Opens::Whole, Opens::Salt, Opens::Whole, Opens::Nothing];
        let all = [Opens::Whole, Opens::Whole, Opens::Whole, Opens::Whole];
        assert_eq!(fates, if wanted == 1 { all } else { later });
        let vault = Vault::open(&settings).unwrap();
        assert_eq!(*vault.names().unwrap(), self.names, "the index keeps its names");
        let key = Arc::new(StorageKey::load(&settings.storage_key).unwrap());
        let live = sdk::LiveSystems::open(&settings.sdk_systems(), StorageKey::load(&settings.storage_key).unwrap());
        assert!(live.unwrap().current().unwrap().find("VPCP").is_some());
        let hooks = webhooks::Store::new(settings.webhooks(), settings.webhook_progress(), Arc::clone(&key));
        hooks.secret(&hooks.list().unwrap()[0]).unwrap();
        let uploads = Uploads::open(&settings.uploads(), key).unwrap();
        let upload = uploads.find(self.upload, "first").expect("the upload is there");
        assert_eq!(upload.received().unwrap(), 6);
        let notes = fs::read_dir(settings.notes()).map_or(0, Iterator::count);
        assert_eq!(notes, usize::from(wanted > 1), "a note for the ledger, once");
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let at = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&at).unwrap();
            copy(&entry.path(), &at);
        } else {
            fs::copy(entry.path(), &at).unwrap();
        }
    }
}

/// Ends at this step as a crash would: nothing is tidied up.
fn crash(folder: &Path, at: Step) {
    let stop = &mut |step| if step == at { Err(anyhow::anyhow!("crash")) } else { Ok(()) };
    let crashed = rotate_in_steps(&settings(folder), who(), "định kỳ".into(), now(), stop);
    assert_eq!(crashed.unwrap_err().to_string(), "crash", "{at:?}");
}

#[test]
fn a_rotation_keeps_what_is_needed_and_destroys_what_was_removed() {
    let machine = machine();
    let folder = machine.folder.path();
    machine.check(folder, 1);
    let old = fs::read(folder.join("storage")).unwrap();
    let done = rotated(folder);
    assert_eq!((done.epoch, done.kept, done.erased, done.destroyed), (2, 2, 1, 2));
    assert_eq!(done.others, Others { systems: 1, webhooks: 1, gateway: false, uploads: 1 });
    machine.check(folder, 2);
    // Nothing in the folder holds the old key.
    let key = String::from_utf8(old).unwrap().lines().last().unwrap().to_owned();
    assert!(!holds(folder, key.as_bytes()));
    assert!(!holds(folder, &[2; 32]) && !holds(folder, &[1; 32]), "nothing lies in the clear");
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    let mut files: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
            return true;
        }
    }
    false
}

#[test]
fn later_rotations_carry_on_what_earlier_ones_carried_and_destroy_what_was_removed_since() {
    let machine = machine();
    let folder = machine.folder.path();
    rotated(folder);
    let key = StorageKey::load(&folder.join("storage")).unwrap();
    let bodies = vec![content(&key, 5), content(&key, 6), removed(1), removed(6), closed(3)];
    let of = |body: &Body| match body {
        Body::Content(content) => content.wrapped.clone(),
        _ => Vec::new(),
    };
    let (five, six) = (of(&bodies[0]), of(&bodies[1]));
    append(folder, bodies);
    let seen = status(&settings(folder)).unwrap();
    assert_eq!((seen.epoch, seen.since, seen.carried, seen.erased), (Some(2), Some(now()), 2, 1));
    assert_eq!((seen.current, seen.earlier, seen.to_destroy), (2, 4, 3));
    assert!(seen.others.keys().all(|(_, epoch)| *epoch == 2) && seen.others.len() == 3, "{:?}", seen.others);
    let done = rotated(folder);
    // Of 1 to 6: 5 opens; 1, 2 and 6 keep their salt; the drafts are gone.
    assert_eq!((done.epoch, done.kept, done.erased, done.destroyed), (3, 1, 3, 3));
    let fates = machine.records.iter().map(|(n, wrapped)| opens(folder, *n, wrapped)).collect::<Vec<_>>();
    assert_eq!(fates, [Opens::Salt, Opens::Salt, Opens::Nothing, Opens::Nothing]);
    assert_eq!((opens(folder, 5, &five), opens(folder, 6, &six)), (Opens::Whole, Opens::Salt));
    assert_eq!(*Vault::open(&settings(folder)).unwrap().names().unwrap(), machine.names);
    // Nothing was removed since: everything stays as it is.
    assert_eq!((rotated(folder).kept, opens(folder, 5, &five)), (1, Opens::Whole));
    let text = status(&settings(folder)).unwrap().to_string();
    assert!(text.starts_with("epoch 4, since ") && text.contains("nothing / dưới kỳ cũ hơn: không còn gì"), "{text}");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_epoch_or_the_new_one_whole() {
    let machine = machine();
    for at in Step::ALL {
        let folder = machine.copy();
        crash(folder.path(), at);
        let settings = settings(folder.path());
        assert!(left_over(&settings).is_some(), "{at:?}");
        assert!(matches!(Vault::open(&settings), Err(VaultError::Unfinished)), "{at:?}");
        let told = guard::hold(&settings).unwrap_err().to_string();
        assert!(told.contains("interrupted"), "no backup of two epochs: {told}");
        assert!(status(&settings).unwrap().to_string().contains("by itself"));
        finish(&settings).unwrap();
        let counts =
            Step::ALL.iter().position(|step| *step == at) >= Step::ALL.iter().position(|step| *step == Step::Committed);
        machine.check(folder.path(), if counts { 2 } else { 1 });
        finish(&settings).unwrap();
        assert_eq!(rotated(folder.path()).epoch, epoch(folder.path()), "{at:?}: the next one goes through");
    }
}

#[test]
fn a_crash_while_a_crash_is_being_finished_changes_nothing() {
    let machine = machine();
    let from = Step::ALL.iter().position(|step| *step == Step::Committed).unwrap();
    for (first, second) in
        Step::ALL[from..].iter().flat_map(|first| Step::ALL[from + 1..].iter().map(move |second| (*first, *second)))
    {
        let folder = machine.copy();
        crash(folder.path(), first);
        let settings = settings(folder.path());
        let stop = &mut |step| if step == second { Err(anyhow::anyhow!("crash")) } else { Ok(()) };
        let _ = settle(&settings, stop); // where the first was the later one, it is done
        // The next one finishes it before it begins.
        finish(&settings).unwrap();
        machine.check(folder.path(), 2);
    }
}

#[test]
fn what_cannot_be_rotated_stays_as_it_is_and_is_said() {
    let machine = machine();
    let check = |told: String, folder: &Path, wanted: &str| {
        assert!(told.contains(wanted), "{told}");
        machine.check(folder, 1);
    };
    // Somebody uses the store.
    let folder = machine.folder.path();
    let lock = truc_ledger::volume::Volume::lock(&DirVolume::create(folder.join("store")).unwrap()).unwrap();
    check(failed(folder), folder, "must not be running");
    drop(lock);
    // A backup is being made.
    let held = guard::hold(&settings(folder)).unwrap();
    check(failed(folder), folder, "a backup is being made");
    drop(held);
    // A secret that does not open.
    let copied = machine.copy();
    append(copied.path(), vec![content(&StorageKey::generate(1).unwrap(), 5)]);
    check(failed(copied.path()), copied.path(), "nothing was changed");
    // A gateway's secret of which nobody knows whose it is.
    let copied = machine.copy();
    fs::write(settings(copied.path()).gateway_secret(), "x").unwrap();
    check(failed(copied.path()), copied.path(), "no section [gateway]");
    let nobody = rotate(&settings(folder), who(), String::new(), now()).unwrap_err().to_string();
    check(nobody, folder, "nothing was done");
}

#[test]
fn key_and_key_file_of_two_backups_are_noticed() {
    let machine = machine();
    let folder = machine.folder.path();
    rotated(folder);
    let keys = settings(folder).document_keys();
    let kept = fs::read(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    assert!(matches!(Vault::open(&settings(folder)), Err(VaultError::Missing { epoch: 2, .. })));
    fs::write(&keys, kept).unwrap();
    fs::remove_file(folder.join("storage")).unwrap();
    StorageKey::create(&folder.join("storage"), 3).unwrap();
    assert!(matches!(Vault::open(&settings(folder)), Err(VaultError::Epochs { found: 2, held: 3, .. })));
}

#[test]
fn what_becomes_of_secrets_is_decided_by_whose_they_are_and_what_happened() {
    use gather::{Fate, fate};
    let key = StorageKey::generate(1).unwrap();
    let check = |holder, marks: &[Mark], wanted| {
        let wrapped = wrapped(&key, 7);
        assert_eq!(wrapped_epoch(&wrapped), Some(1));
        let carried = Carried::of_record(holder, &wrapped, &key, &sender(), envelope(7)).unwrap();
        assert_eq!(fate(&carried, marks).unwrap(), wanted, "{holder:?} {marks:?}");
    };
    for holder in [Holder::Sent, Holder::Received, Holder::Held] {
        check(holder, &[], Fate::Kept);
    }
    // What this node sends to itself has both kinds under one name.
    check(Holder::Sent, &[Mark::Sealed], Fate::Kept);
    check(Holder::Sent, &[Mark::Sealed, Mark::Removed], Fate::Kept);
    check(Holder::Sent, &[Mark::SentClosed, Mark::Sealed], Fate::Erased);
    check(Holder::Received, &[Mark::SentClosed, Mark::Sealed], Fate::Kept);
    check(Holder::Received, &[Mark::Removed], Fate::Erased);
    check(Holder::Held, &[Mark::Sealed], Fate::Dropped);
    check(Holder::Held, &[Mark::SentClosed], Fate::Dropped);
}
