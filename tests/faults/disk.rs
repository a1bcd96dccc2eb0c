//! A disk whose power can be cut: ext4 in a file, on a loop device of its own.
//!
//! The cut is `EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`, what xfstests use for "power failure": dirty pages and the unwritten part of the file system's
//! journal are gone. Blocks given to the device stay, so that a volatile disk cache is not modelled.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::ioctl::{Setter, ioctl};
use tempfile::TempDir;
use truc_tests::wait::until;

/// `_IOR('X', 125, __u32)`, fs/ext4/ext4.h.
const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// EXT4_GOING_FLAGS_NOLOGFLUSH: neither data nor journal reaches the device.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted file system of its own; unmounted, and its loop device let go, when it is dropped.
pub(crate) struct CutDisk {
    folder: TempDir,
}

impl CutDisk {
    /// Makes one of `mebibytes`, or says why this machine cannot.
    pub(crate) fn make(mebibytes: u64) -> Option<Self> {
        let required = std::env::var("TRUC_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can mount the disk whose power is cut");
            return None;
        }
        let folder = TempDir::with_prefix("truc-faults-").unwrap();
        let disk = Self { folder };
        std::fs::create_dir(disk.path()).unwrap();
        File::create(disk.image()).and_then(|file| file.set_len(mebibytes << 20)).unwrap();
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=1"]).arg(disk.image()));
        match made.and_then(|()| disk.mount()) {
            Ok(()) => Some(disk),
            Err(why) if required => panic!("TRUC_REQUIRE_TOOLS=1, but this root cannot mount a loop device: {why}"),
            Err(why) => {
                eprintln!("SKIPPED: no disk whose power can be cut: {why}");
                None
            }
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Cuts the power: nothing that is not on the device now will ever get there, and every further call to the file system fails.
    #[expect(unsafe_code, reason = "the only way to ask ext4 for it is its ioctl, for which nobody has a safe wrapper")]
    pub(crate) fn cut(&self) {
        let root = File::open(self.path()).unwrap();
        // SAFETY: the opcode takes a pointer to a u32, which `Setter` gives; `root` is open.
        unsafe { ioctl(&root, Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }.unwrap();
    }

    /// After a cut, when every process that had files there is gone: mounts it again, which replays the file system's journal.
    pub(crate) fn power_on(&self) {
        self.unmount();
        self.mount().unwrap();
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// `loop` lets go of the device by itself at unmount. A long commit interval: nothing gets to the device because its time had come.
    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop,commit=300"]).arg(self.image()).arg(self.path()))
    }

    fn unmount(&self) {
        let path = self.path();
        until("the cut disk to be let go", || run(Command::new("umount").arg(&path)));
    }
}

impl Drop for CutDisk {
    fn drop(&mut self) {
        if is_mounted(&self.path()) && run(Command::new("umount").arg(self.path())).is_err() {
            // A test that failed half-way may still have processes there.
            let _ = run(Command::new("umount").arg("-l").arg(self.path()));
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|mounted| Path::new(mounted) == path))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
