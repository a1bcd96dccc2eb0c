//! One development PKI for the whole run, and small helpers.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use truc_certs_dev::{Issued, KeyKind, Pki, Profile, Request, Subject};
use truc_proto::Timestamp;
use truc_signer::{Certificate, Crl, SoftKey, TrustStore};

pub(crate) static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_unix_s(truc_certs_dev::now().unix_s()));
pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::new(KeyKind::P256, *NOW).unwrap());

pub(crate) const KINDS: [KeyKind; 3] = [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::P256];

pub(crate) fn issue(profile: Profile, key: KeyKind) -> Issued {
    let subject = Subject::new("UBND THÀNH PHỐ HÀ NỘI").organization("UBND, thành phố \"Hà Nội\"").locality("Hà Nội");
    PKI.issue_with(Request::new(profile, key, subject)).unwrap()
}

pub(crate) fn soft(issued: &Issued) -> SoftKey {
    SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

pub(crate) fn certificate(issued: &Issued) -> Certificate {
    Certificate::from_der(&issued.certificate_der).unwrap()
}

/// Anchors and intermediates of `pki` with these lists.
pub(crate) fn store(pki: &Pki, crls: Vec<Crl>) -> TrustStore {
    let pem = |text: &str| Certificate::from_pem(text.as_bytes()).unwrap();
    TrustStore::new(pem(&pki.anchors_pem), pem(&pki.intermediates_pem), crls).unwrap()
}

/// A small deterministic generator: mutations must be the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// Some random damage: bytes replaced, removed, doubled, or the end cut off.
pub(crate) fn mutate(original: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, u8::try_from(dice.below(256)).unwrap()),
            3 => {
                let end = (at + 1 + dice.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ if at > 0 => bytes.truncate(at),
            _ => {}
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// A directory with files for a foreign tool, and the tool's verdict.
pub(crate) struct Bench(tempfile::TempDir);

impl Bench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` in the directory; success and what it said.
    pub(crate) fn openssl(&self, arguments: &str) -> (bool, String) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a program in the directory; success and all that it said.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(program).args(arguments).current_dir(self.0.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    pub(crate) fn openssl_succeeds(&self, arguments: &str) {
        let (success, said) = self.openssl(arguments);
        assert!(success, "openssl {arguments}\n{said}");
    }
}

/// Whether `openssl` is there. Missing tools are counted as skipped, unless CI demands them.
pub(crate) fn openssl_is_there() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("TRUC_REQUIRE_TOOLS").is_none(), "openssl is missing and TRUC_REQUIRE_TOOLS is set");
        eprintln!("SKIPPED: openssl is not installed");
    }
    there
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
