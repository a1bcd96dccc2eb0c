//! Which entries changed from version to version, so that a node which holds an older one need not fetch all of the newest.
//!
//! An optimisation and no more: who has a gap here gets the whole version, and what a node makes of a difference it verifies as a whole.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use truc_evidence::Directory;
use truc_proto::limits::{AGENCY_ID_BYTES_MAX, DIRECTORY_CHANGES_KEPT_MAX, DIRECTORY_DELTA_BYTES_MAX};

const FILE: &str = "changes";
const HEADER: &str = "truc/directory-changes/1";
/// Longest line of the file: a key.
const KEY_BYTES_MAX: usize = AGENCY_ID_BYTES_MAX + 64;

/// What a node that holds `base` has to hear.
pub(super) struct Difference {
    pub(super) base: u64,
    /// Entries that are new, other or gone.
    pub(super) keys: BTreeSet<String>,
}

/// The newest steps, each from a version to the next one in force.
#[derive(Default)]
pub(super) struct ChangeHistory {
    steps: VecDeque<Step>,
    keys: usize,
}

struct Step {
    from: u64,
    to: u64,
    keys: Vec<String>,
}

impl ChangeHistory {
    /// The steps that lead to `version`, as far back as there are files of them.
    pub(super) fn load(folder: &Path, version: u64) -> Self {
        let mut history = Self::default();
        let mut to = version;
        while let Some(step) = read(folder, to) {
            if history.keys + step.keys.len() > DIRECTORY_CHANGES_KEPT_MAX {
                break;
            }
            to = step.from;
            history.keys += step.keys.len();
            history.steps.push_front(step);
        }
        history
    }

    /// A version came into force: its step, when there is a file of it.
    pub(super) fn follow(&mut self, folder: &Path, version: u64) {
        let Some(step) = read(folder, version) else {
            *self = Self::default();
            return;
        };
        if self.steps.back().is_some_and(|last| last.to == version) {
            return;
        }
        if self.steps.back().is_some_and(|last| last.to != step.from) {
            *self = Self::default();
        }
        self.keys += step.keys.len();
        self.steps.push_back(step);
        while self.keys > DIRECTORY_CHANGES_KEPT_MAX
            && let Some(oldest) = self.steps.pop_front()
        {
            self.keys -= oldest.keys.len();
        }
    }

    /// What the version that follows `held` changed, and its number; none when that is not known any more.
    pub(super) fn after(&self, held: u64) -> Option<(u64, Difference)> {
        let step = self.steps.iter().find(|step| step.from == held && held != 0)?;
        let keys: BTreeSet<String> = step.keys.iter().cloned().collect();
        travels(&keys).then_some((step.to, Difference { base: held, keys }))
    }

    /// The difference from `held` to `current`; none when the whole version is to be sent.
    pub(super) fn since(&self, held: u64, current: &Directory) -> Option<Difference> {
        self.steps.back().filter(|last| last.to == current.version())?;
        let from = self.steps.iter().position(|step| step.from == held && held != 0)?;
        let keys: BTreeSet<String> = self.steps.iter().skip(from).flat_map(|step| step.keys.iter().cloned()).collect();
        // Reading entry by entry pays for a part of a directory only.
        (keys.len() <= current.size() / 2 && travels(&keys)).then_some(Difference { base: held, keys })
    }
}

/// Whether so many entries, of a few kilobytes each, are a difference and no whole version.
fn travels(keys: &BTreeSet<String>) -> bool {
    keys.len() <= DIRECTORY_DELTA_BYTES_MAX / (16 * 1024)
}

/// Writes beside a version which entries changed. Without the file nodes fetch the whole.
pub(super) fn keep(folder: &Path, before: &Directory, after: &Directory) {
    if before.version() >= after.version() {
        return;
    }
    let keys = after.keys_changed_since(before);
    let written = || -> io::Result<()> {
        let mut text = format!("{HEADER} {}\n", before.version());
        keys.iter().for_each(|key| text.extend([key, "\n"]));
        let temporary = folder.join(format!("{FILE}.tmp"));
        fs::File::create(&temporary)?.write_all(text.as_bytes())?;
        fs::rename(&temporary, folder.join(FILE))
    };
    if let Err(error) = written() {
        tracing::warn!(%error, "cannot keep what changed in the directory; nodes fetch it whole");
    }
}

fn read(folder: &Path, version: u64) -> Option<Step> {
    let file = fs::File::open(folder.join(version.to_string()).join(FILE)).ok()?;
    let limit = u64::try_from(DIRECTORY_CHANGES_KEPT_MAX * KEY_BYTES_MAX).ok()?;
    let mut text = String::new();
    file.take(limit).read_to_string(&mut text).ok()?;
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let from: u64 = lines.next()?.strip_prefix(HEADER)?.trim().parse().ok()?;
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    (from < version && keys.len() <= DIRECTORY_CHANGES_KEPT_MAX).then_some(Step { from, to: version, keys })
}
