//! A software token for tests: SoftHSM 2 with a token folder of its own, behind a module that a test can pull, break and make lie.
//!
//! Nothing of the system's SoftHSM configuration is touched: each token has its own folder, configuration and copy of the library.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Where Debian puts SoftHSM's module.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];
const SHIM: &str = include_str!("softhsm.c");
/// The SO PIN of every such token.
const SO_PIN: &str = "87654321";

/// What a test does to a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trick {
    /// It is pulled; undone, it is back.
    Pulled,
    /// It is pulled in the middle of the next signature.
    PulledMidway,
    /// It lists CKM_SHA256_RSA_PKCS and refuses it.
    NoHash,
    /// Its signatures do not hold.
    Wrong,
}

impl Trick {
    const fn file(self) -> &'static str {
        match self {
            Self::Pulled => "pulled",
            Self::PulledMidway => "midway",
            Self::NoHash => "no-hash",
            Self::Wrong => "wrong",
        }
    }
}

/// Why there is no such token.
#[derive(Debug, thiserror::Error)]
pub enum SoftHsmError {
    /// Not installed.
    #[error("{0} is not there: install softhsm2, opensc and a C compiler")]
    Missing(&'static str),
    /// A tool did not do what it was asked.
    #[error("{tool}: {said}")]
    Tool {
        /// Which.
        tool: &'static str,
        /// What it said.
        said: String,
    },
    /// The file system.
    #[error("the token's folder")]
    Io(#[from] io::Error),
}

/// A token in a folder.
#[derive(Debug)]
pub struct SoftHsm {
    folder: PathBuf,
    label: String,
    pin: String,
}

impl SoftHsm {
    /// Makes a token labelled `label` in `folder`, which must be there and empty.
    ///
    /// # Errors
    /// [`SoftHsmError::Missing`] where SoftHSM, OpenSC or a C compiler is not installed; else what went wrong.
    pub fn make(folder: &Path, label: &str, pin: &str) -> Result<Self, SoftHsmError> {
        let real = MODULES.iter().map(Path::new).find(|path| path.exists());
        let real = real.ok_or(SoftHsmError::Missing("libsofthsm2.so"))?;
        // A copy, so that several tokens can be in one process, each with its own configuration.
        fs::copy(real, folder.join("libsofthsm2.so"))?;
        fs::create_dir(folder.join("tokens"))?;
        let shown = folder.display();
        fs::write(
            folder.join("softhsm2.conf"),
            format!("directories.tokendir = {shown}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"),
        )?;
        fs::write(folder.join("shim.c"), SHIM)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-std=gnu11", "-w", "-o"]).arg(folder.join("shim.so"));
        compile.arg(format!("-DDIR=\"{shown}\"")).arg(folder.join("shim.c")).arg("-ldl");
        run("cc", &mut compile)?;
        let hsm = Self { folder: folder.to_owned(), label: label.to_owned(), pin: pin.to_owned() };
        let mut make = Command::new("softhsm2-util");
        make.args(["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", SO_PIN]);
        run("softhsm2-util", make.env("SOFTHSM2_CONF", folder.join("softhsm2.conf")))?;
        Ok(hsm)
    }

    /// The same for a test, which is skipped, loudly, where the tools are not installed; with `TRUC_REQUIRE_TOOLS=1` it fails.
    ///
    /// # Panics
    /// When there is no such token.
    #[must_use]
    #[expect(clippy::panic, clippy::print_stderr, reason = "for tests, which fail and skip so")]
    pub fn or_skip(folder: &Path, label: &str, pin: &str) -> Option<Self> {
        match Self::make(folder, label, pin) {
            Ok(hsm) => Some(hsm),
            Err(error @ SoftHsmError::Missing(_))
                if std::env::var_os("TRUC_REQUIRE_TOOLS").is_none_or(|wanted| wanted != "1") =>
            {
                eprintln!("SKIPPED: {error}");
                None
            }
            Err(error) => panic!("{error} (`.ci/run` installs what is missing)"),
        }
    }

    /// The module to load.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.folder.join("shim.so")
    }

    /// The token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Puts a private key (PEM, PKCS#8) into the token, named by `label` and `id` (hexadecimal).
    ///
    /// # Errors
    /// When SoftHSM does not take it.
    pub fn import(&self, key_pem: &str, label: &str, id: &str) -> Result<(), SoftHsmError> {
        self.write(
            key_pem.as_bytes(),
            &["--type", "privkey", "--usage-sign", "--usage-decrypt", "--usage-derive"],
            label,
            id,
        )
    }

    /// Puts a certificate (DER) beside the key of that name.
    ///
    /// # Errors
    /// When SoftHSM does not take it.
    pub fn import_certificate(&self, der: &[u8], label: &str, id: &str) -> Result<(), SoftHsmError> {
        self.write(der, &["--type", "cert"], label, id)
    }

    fn write(&self, object: &[u8], what: &[&str], label: &str, id: &str) -> Result<(), SoftHsmError> {
        let file = self.folder.join("import");
        fs::write(&file, object)?;
        let mut command = Command::new("pkcs11-tool");
        command.arg("--module").arg(self.folder.join("libsofthsm2.so")).arg("--write-object").arg(&file).args(what);
        command.args(["--login", "--token-label", &self.label, "--pin", &self.pin, "--label", label, "--id", id]);
        let taken = run("pkcs11-tool", command.env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf")));
        fs::remove_file(file)?;
        taken
    }

    /// Does something to the token.
    ///
    /// # Errors
    /// The file system's.
    pub fn play(&self, trick: Trick) -> io::Result<()> {
        fs::write(self.folder.join(trick.file()), "")
    }

    /// Undoes it.
    ///
    /// # Errors
    /// The file system's.
    pub fn undo(&self, trick: Trick) -> io::Result<()> {
        fs::remove_file(self.folder.join(trick.file()))
    }

    /// How often somebody tried to log in.
    #[must_use]
    pub fn logins(&self) -> u64 {
        fs::metadata(self.folder.join("logins")).map_or(0, |file| file.len())
    }
}

fn run(tool: &'static str, command: &mut Command) -> Result<(), SoftHsmError> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(SoftHsmError::Tool { tool, said: String::from_utf8_lossy(&output.stderr).into_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SoftHsmError::Missing(tool)),
        Err(error) => Err(error.into()),
    }
}
