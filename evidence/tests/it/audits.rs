//! Audits of the directory: what holds, and every way in which one may be bent.

use std::path::Path;

use bytes::Bytes;
use truc_evidence::{AuditError, AuditLines, Directory, DirectoryAudit, VersionFile};
use truc_ledger::merkle::MemTree;
use truc_proto::{
    AuditEnd, AuditedVersion, Checkpoint, Digest, DirectoryAuditHead, Entry, KeyUse, Lane, ProvenEntry, Raw,
    RootStatement, SignedDirectory, Statement, json::base64,
};

use crate::{cases::agency, world::*};

/// When the versions were issued.
const DAYS: [i64; 4] = [-40, -30, -20, -10];

/// Four versions: H26's first sealing certificate, another one's in version 2 alone, revoked in version 4; H37 is there from version 3 on.
fn versions() -> Vec<SignedDirectory> {
    let mut previous = None;
    let sign = |(number, day): (u64, i64)| {
        let mut entries = WORLD.entries();
        if number < 3 {
            entries.retain(|entry| entry.key() != "agency/H37");
        }
        let h26 = agency(&mut entries, "H26");
        if number == 2 {
            h26.certificates.push(binding(&WORLD.service_g22, KeyUse::Service));
        }
        if number == 4 {
            let sealing = h26.certificates.iter_mut().find(|one| one.uses.contains(&KeyUse::Sealing)).unwrap();
            sealing.status = truc_proto::KeyStatus::Revoked;
            sealing.status_since = Some(after(-12 * DAY_MS));
        }
        let root = RootStatement {
            version: number,
            issued: after(day * DAY_MS),
            valid_until: after((day + 30) * DAY_MS),
            previous,
            ..WORLD.root()
        };
        let bytes = entries.iter().map(|entry| Bytes::from(bytes_of(entry))).collect();
        let signed = sign_directory(bytes, root, &WORLD.operator.key);
        previous = Some(Digest::of(&signed.statement));
        signed
    };
    (1..).zip(DAYS).map(sign).collect()
}

/// The versions as a relay keeps them.
fn keep(folder: &Path, versions: &[SignedDirectory]) -> Vec<VersionFile> {
    let kept = versions.iter().enumerate().map(|(number, signed)| {
        let dir = folder.join(number.to_string());
        let directory =
            Directory::verify(signed.clone(), &WORLD.pinned(), &WORLD.store(), &axis(), Lane::Ordinary, at()).unwrap();
        directory.save(&dir).unwrap();
        directory.save_places(&dir).unwrap();
        VersionFile::open(&dir).unwrap()
    });
    kept.collect()
}

/// An audit of `code` as the relay writes it, in parts that a test may bend.
struct Audit {
    head: DirectoryAuditHead,
    versions: Vec<AuditedVersion>,
    end: AuditEnd,
}

impl Audit {
    fn of(text: &str) -> Self {
        Self::of_first(4, text)
    }

    /// When there were so many versions.
    fn of_first(count: usize, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kept = keep(folder.path(), &versions()[..count]);
        let mut tree = MemTree::default();
        // Other leaves stand between them; version 1 is the first of all.
        let indices: Vec<u64> = kept
            .iter()
            .map(|version| {
                let index = tree.push(version.statement());
                tree.push(b"other");
                index
            })
            .collect();
        let origin = "truc/dev/ordinary/R1/1";
        let checkpoint = Checkpoint::new(origin, tree.size(), tree.root()).unwrap();
        let head = DirectoryAuditHead {
            axis: axis(),
            lane: Lane::Ordinary,
            code: code(text),
            relay: node_id("R1"),
            made: at(),
            checkpoint: ledger_key(origin, 4).sign(&checkpoint).to_string(),
        };
        let (mut lines, start) = AuditLines::start(head).unwrap();
        let mut file = start;
        for (version, index) in kept.iter().zip(indices) {
            file.extend(lines.version(version, index, tree.inclusion(index, tree.size()).unwrap()).unwrap());
        }
        file.extend(lines.end(kept.last().unwrap(), &ledger_key(origin, 4)).unwrap());
        Self::read(&file)
    }

    fn read(file: &[u8]) -> Self {
        let text = std::str::from_utf8(file).unwrap();
        let part = |line: &str| Bytes::from(base64::decode(line.split_once(' ').unwrap().1.as_bytes()).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        fn of<T: Statement>(bytes: Bytes) -> T {
            Raw::<T>::parse(bytes).unwrap().into_value()
        }
        let versions = lines[2..lines.len() - 1].iter().map(|line| of(part(line))).collect();
        Self { head: of(part(lines[1])), versions, end: of(part(lines.last().unwrap())) }
    }

    fn write(&self) -> Vec<u8> {
        fn line<T: Statement + Clone>(word: &str, statement: &T) -> String {
            format!("{word} {}\n", data_encoding::BASE64.encode(&bytes_of(statement)))
        }
        let versions: String = self.versions.iter().map(|version| line("version", version)).collect();
        let text = format!("truc/directory-audit/1\n{}{versions}{}", line("head", &self.head), line("end", &self.end));
        text.into_bytes()
    }

    /// With the relay's signature over what it is now: a relay that lies itself.
    fn signed(mut self) -> Self {
        let whole = self.write();
        let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let signed = format!("sha256 {}", Digest::of(&whole[..end]));
        let origin = "truc/dev/ordinary/R1/1";
        self.end.ledger_signature = ledger_key(origin, 4).sign_message("truc/directory-audit/1", signed.as_bytes());
        self
    }

    fn verify(&self) -> Result<DirectoryAudit, AuditError> {
        DirectoryAudit::verify(self.write().as_slice(), &WORLD.pinned(), &WORLD.store(), at())
    }

    fn refused(code: &str, bend: impl FnOnce(&mut Self)) -> String {
        let mut audit = Self::of(code);
        bend(&mut audit);
        assert!(audit.verify().is_err());
        let error = audit.signed().verify().unwrap_err();
        truc_proto::chain(&error)
    }
}

#[test]
fn an_audit_tells_every_binding_there_ever_was_and_which_was_in_force_when() {
    let audit = Audit::of("H26").verify().unwrap();
    assert_eq!((audit.versions, audit.first.version, audit.last.version), (4, 1, 4));
    assert_eq!(audit.names, ["Cơ quan H26"]);
    let told: Vec<_> = audit
        .bindings
        .iter()
        .map(|bound| (bound.binding.sha256, bound.from.version, bound.until.map(|until| until.version)))
        .collect();
    let (service, sealing, foreign) =
        (WORLD.service_h26.sha256(), WORLD.sealing_h26.sha256(), WORLD.service_g22.sha256());
    assert_eq!(told, [(service, 1, None), (sealing, 1, Some(4)), (foreign, 2, Some(3)), (sealing, 4, None)]);
    let services = |at| audit.in_force_at(KeyUse::Service, at).map(|bound| bound.binding.sha256).collect::<Vec<_>>();
    assert_eq!(services(after(-35 * DAY_MS)), [service]);
    assert_eq!(services(after(-25 * DAY_MS)), [service, foreign], "the false one, while it stood");
    assert_eq!(services(after(-15 * DAY_MS)), [service]);
    assert!(services(after(-41 * DAY_MS)).is_empty(), "there was no version yet");
    assert_eq!(audit.in_force_at(KeyUse::Sealing, after(-11 * DAY_MS)).count(), 1, "no version said so yet");
    assert_eq!(audit.in_force_at(KeyUse::Sealing, after(-DAY_MS)).count(), 0, "revoked");
}

#[test]
fn nobody_but_the_relay_makes_an_audit_shorter_or_older() {
    // The end of an audit that was made before version 4, behind the head and the versions before of one that was made since.
    let older = Audit::of_first(3, "H26");
    assert_eq!(older.verify().unwrap().versions, 3);
    let refused = |audit: &Audit| truc_proto::chain(&audit.verify().unwrap_err());
    let mut cut = Audit::of("H26");
    cut.versions.pop();
    cut.end = older.end.clone();
    assert!(refused(&cut).contains("did not sign these lines"), "{}", refused(&cut));
    assert_eq!(cut.signed().verify().unwrap().versions, 3, "that the relay leaves none out is its own word");
    let mut later = Audit::of("H26");
    later.head.made = after(DAY_MS);
    assert!(refused(&later).contains("did not sign these lines"));
    // Nor does the relay itself date it after now, or before its last version.
    assert!(refused(&later.signed()).contains("it says that it was made"));
    let mut earlier = Audit::of("H26");
    earlier.head.made = after(-11 * DAY_MS);
    assert!(refused(&earlier.signed()).contains("it says that it was made"));
}

#[test]
fn a_code_without_entry_is_proven_to_have_none_wherever_it_would_stand() {
    for text in ["A01", "G22.5", "H37", "Y99"] {
        let audit = Audit::of(text).verify().unwrap_or_else(|error| panic!("{text}: {}", truc_proto::chain(&error)));
        assert!(audit.bindings.is_empty() && audit.versions == 4, "{text}");
        assert_eq!(audit.names.is_empty(), text != "H37");
    }
}

#[test]
fn what_is_bent_is_refused_and_says_what_does_not_hold() {
    let entry = |audit: &Audit, version: usize, key: &str| -> ProvenEntry {
        let all = [&audit.versions[version].entry, &audit.versions[version].before, &audit.versions[version].after];
        let found = all.into_iter().flatten().find(|one| Raw::<Entry>::parse(one.bytes.clone()).unwrap().key() == key);
        found.unwrap_or_else(|| panic!("{key} is not shown")).clone()
    };
    type Bend = fn(&mut Audit);
    let cases: [(&str, Bend, &str); 16] = [
        ("a version left out", |audit| _ = audit.versions.remove(1), "version 3 does not continue"),
        ("the first version left out", |audit| _ = audit.versions.remove(0), "does not begin with version 1"),
        ("the last version left out", |audit| _ = audit.versions.pop(), "another number of versions"),
        ("a version twice", |audit| audit.versions.insert(1, audit.versions[1].clone()), "does not continue"),
        ("another operator's signature", |audit| audit.versions[2].cms = audit.versions[1].cms.clone(), "version 3"),
        ("another leaf index", |audit| audit.versions[2].index += 1, "its place in the relay's ledger"),
        ("no log proof", |audit| audit.versions[2].proof.clear(), "its place in the relay's ledger"),
        (
            "the entry of the version before",
            |audit| audit.versions[2].entry = audit.versions[1].entry.clone(),
            "version 3",
        ),
        (
            "a changed entry",
            |audit| {
                let entry = audit.versions[1].entry.as_mut().unwrap();
                let text = String::from_utf8(entry.bytes.clone()).unwrap().replace("Cơ quan H26", "Cơ quan H27");
                entry.bytes = text.into_bytes();
            },
            "an entry is not proven",
        ),
        ("another code", |audit| audit.head.code = code("G22"), "agency/H26 is shown"),
        ("another axis", |audit| audit.head.axis = "prod".parse().unwrap(), "version 1 of the directory is refused"),
        ("another relay", |audit| audit.head.relay = node_id("R2"), "to be of R2"),
        (
            "another ledger's key",
            |audit| {
                let (_, checkpoint) = Checkpoint::parse_note(audit.head.checkpoint.as_bytes()).unwrap();
                audit.head.checkpoint = ledger_key(checkpoint.origin(), 5).sign(&checkpoint).to_string();
            },
            "the relay's checkpoint is refused",
        ),
        (
            "a node for the relay",
            |audit| audit.end.relay = audit.versions[3].entry.clone().unwrap(),
            "shown is agency/H26",
        ),
        ("no version at all", |audit| audit.versions.clear(), "there is none"),
        ("a checkpoint that is none", |audit| audit.head.checkpoint = "x".into(), "checkpoint is refused"),
    ];
    for (name, bend, said) in cases {
        let text = Audit::refused("H26", bend);
        assert!(text.contains(said), "{name}: {text}");
    }
    // A code that is there cannot be shown as absent, whatever neighbours are shown.
    let (before, after) = {
        let (g22, between) = (Audit::of("G22.5"), Audit::of("H26.1"));
        (entry(&g22, 0, "agency/G22"), entry(&between, 0, "agency/H26.18"))
    };
    let hide = |before: Option<ProvenEntry>, after: Option<ProvenEntry>| {
        Audit::refused("H26", |audit| {
            audit.versions[0].entry = None;
            (audit.versions[0].before, audit.versions[0].after) = (before, after);
        })
    };
    assert!(hide(Some(before.clone()), Some(after.clone())).contains("no neighbours"));
    assert!(hide(Some(before.clone()), None).contains("not the last one"));
    assert!(hide(None, Some(after.clone())).contains("no neighbours"));
    assert!(hide(Some(after.clone()), None).contains("lies behind it"));
    assert!(hide(None, Some(before)).contains("lies before it"));
}

#[test]
fn a_file_that_is_cut_or_goes_on_is_no_audit() {
    let whole = Audit::of("H26").write();
    let verify = |file: &[u8]| DirectoryAudit::verify(file, &WORLD.pinned(), &WORLD.store(), at());
    verify(&whole).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for end in &ends[..ends.len() - 1] {
        assert!(verify(&whole[..=*end]).is_err() && verify(&whole[..*end]).is_err());
    }
    assert!(verify(&[]).is_err() && verify(&whole[..whole.len() - 1]).is_err());
    let text = truc_proto::chain(&verify(&[whole.as_slice(), b"version x\n"].concat()).unwrap_err());
    assert!(text.contains("something follows the end"), "{text}");
    // From the future, or of an operator that is not pinned: refused as any version is.
    let early = DirectoryAudit::verify(whole.as_slice(), &WORLD.pinned(), &WORLD.store(), after(-41 * DAY_MS));
    assert!(early.is_err());
    let other =
        truc_evidence::PinnedOperator::from_file_bytes(WORLD.other_operator.issued.leaf_pem().as_bytes()).unwrap();
    assert!(DirectoryAudit::verify(whole.as_slice(), &other, &WORLD.store(), at()).is_err());
}

#[test]
fn a_damaged_copy_gives_no_wrong_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(folder.path(), &versions());
    let whole = kept[0].read("agency/H26").unwrap().unwrap();
    assert_eq!(Raw::<Entry>::parse(whole).unwrap().key(), "agency/H26");
    assert!(kept[0].read("agency/H37").unwrap().is_none() && kept[2].read("agency/H37").unwrap().is_some());
    let dir = folder.path().join("0");
    let copy = std::fs::read_to_string(dir.join("current.directory")).unwrap();
    // The entries alone: a bent root would not let it be opened.
    let bend = |(place, line): (usize, &str)| if place < 3 { line.to_owned() } else { line.replace('A', "B") };
    let bent: Vec<_> = copy.split('\n').enumerate().map(bend).collect();
    std::fs::write(dir.join("current.directory"), bent.join("\n")).unwrap();
    assert!(VersionFile::open(&dir).unwrap().read("agency/H26").is_err());
    let places = std::fs::read_to_string(dir.join("places")).unwrap();
    for bent in [places[..places.len() / 2].to_owned(), places.replacen(' ', "", 1), String::new()] {
        std::fs::write(dir.join("places"), bent).unwrap();
        assert!(VersionFile::open(&dir).is_err());
    }
}
