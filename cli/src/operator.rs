//! The operator's folder: signed directory versions and the draft of the next one.
//!
//! ```text
//! DIR/versions/00000001.directory   every version signed, never changed
//! DIR/current.directory             the newest, for `directory show` and `publish`
//! DIR/draft                         line 1 `truc/draft/1 <axis> <lane>`, then one entry a line (JSON)
//! ```

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use truc_evidence::{
    CodeList, Confirmation, Directory, DirectoryDraft, DraftError, ImportPlan, PinnedOperator, VerifiedBinding,
    encode_directory, verify_binding,
};
use truc_proto::{Entry, Raw, RootStatement, SignedBinding, Timestamp};
use truc_signer::{
    SigningKey, TrustStore,
    cms::{embed_time_stamp, signature_value},
};

const DRAFT_HEADER: &str = "truc/draft/1";
const CURRENT: &str = "current.directory";

/// What the operator's folder needs to believe its own versions.
pub(crate) struct Trust {
    pub(crate) store: TrustStore,
    pub(crate) operator: PinnedOperator,
}

/// What went into a draft.
pub(crate) struct Taken {
    /// Keys of the entries: those of the requests first.
    pub(crate) keys: Vec<String>,
    /// How many of them came from a code list.
    pub(crate) codes: usize,
}

/// The operator's folder.
pub(crate) struct OperatorFolder {
    path: PathBuf,
}

impl OperatorFolder {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path.join("versions")).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// The newest signed version, verified; none before the first.
    pub(crate) fn newest(&self, trust: &Trust, now: Timestamp) -> anyhow::Result<Option<Directory>> {
        let path = self.path.join(CURRENT);
        if !path.try_exists().with_context(|| format!("cannot read {}", path.display()))? {
            return Ok(None);
        }
        let verified = Directory::open(&path, &trust.operator, &trust.store, now);
        verified.context("the operator's newest version does not verify; restore the folder from its backup").map(Some)
    }

    /// A version that was signed before, verified.
    pub(crate) fn version(&self, version: u64, trust: &Trust, now: Timestamp) -> anyhow::Result<Directory> {
        let verified = Directory::open(&self.path.join(version_file(version)), &trust.operator, &trust.store, now);
        verified.with_context(|| {
            format!("version {version} is missing among the versions that were signed, or does not verify; restore the folder from its backup")
        })
    }

    /// The draft as saved, or a fresh one after the newest version; none when there is neither.
    fn draft(&self, previous: Option<&Directory>) -> anyhow::Result<Option<DirectoryDraft>> {
        let path = self.path.join("draft");
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return previous.map(DirectoryDraft::following).transpose().map_err(Into::into);
            }
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut lines = text.lines();
        let header: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
        let [DRAFT_HEADER, axis, lane] = header.as_slice() else { bail!("{} is not a draft", path.display()) };
        let mut draft = match previous {
            Some(previous) => DirectoryDraft::following(previous)?,
            None => DirectoryDraft::new(axis.parse()?, lane.parse()?),
        };
        for line in lines {
            draft.put(Raw::<Entry>::parse(line.as_bytes().to_vec())?.into_value())?;
        }
        Ok(Some(draft))
    }

    fn save_draft(&self, draft: &DirectoryDraft) -> anyhow::Result<()> {
        let (axis, lane) = draft.domain();
        let mut text = format!("{DRAFT_HEADER} {axis} {lane}\n").into_bytes();
        for entry in draft.entries() {
            text.extend_from_slice(Raw::write(entry.clone())?.bytes());
            text.push(b'\n');
        }
        self.write_whole("draft", &text)
    }

    fn write_whole(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, temporary) = (self.path.join(name), self.path.join("writing"));
        let written = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(path.parent().unwrap_or(&self.path))?.sync_all()
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes binding requests and code lists into the draft.
    pub(crate) fn add(
        &self,
        bindings: &[Raw<SignedBinding>],
        codes: Option<&CodeList>,
        confirmed: Confirmation,
        trust: &Trust,
        now: Timestamp,
    ) -> anyhow::Result<Taken> {
        let previous = self.newest(trust, now)?;
        let mut draft = self.draft(previous.as_ref())?;
        let mut domain = previous.as_ref().map(|p| (p.statement().axis.clone(), p.statement().lane));
        let mut keys = Vec::new();
        let mut listed = 0;
        for binding in bindings {
            let request = Raw::<truc_proto::BindingRequest>::parse(binding.request.clone())?;
            let (axis, lane) = domain.get_or_insert_with(|| (request.axis.clone(), request.lane)).clone();
            let verified: VerifiedBinding = verify_binding(binding, previous.as_ref(), &trust.store, &axis, lane, now)?;
            let draft = draft.get_or_insert_with(|| DirectoryDraft::new(axis, lane));
            draft.add(&verified, confirmed)?;
            keys.extend(verified.request().entries.iter().map(Entry::key));
        }
        let Some(mut draft) = draft else {
            bail!("the first version needs a binding request, which says for which axis and lane it is");
        };
        if let Some(list) = codes {
            let plan = draft.plan_import(list);
            ensure!(plan.problems().is_empty(), problems_of(&plan));
            let plan = plan.additions_only();
            listed = plan.changes().len();
            keys.extend(plan.changes().iter().map(|change| format!("agency/{}", change.code())));
            draft.import(&plan)?;
        }
        self.save_draft(&draft)?;
        Ok(Taken { keys, codes: listed })
    }

    /// Changes the draft of the next version; tells which version that is.
    pub(crate) fn change(
        &self,
        trust: &Trust,
        now: Timestamp,
        change: impl FnOnce(&mut DirectoryDraft) -> Result<(), DraftError>,
    ) -> anyhow::Result<u64> {
        let previous = self.newest(trust, now)?;
        let Some(mut draft) = self.draft(previous.as_ref())? else {
            bail!("there is no version yet: `truc directory add` first");
        };
        change(&mut draft)?;
        self.save_draft(&draft)?;
        Ok(draft.version())
    }

    /// Compares a list of codes with the draft, and takes it when nothing speaks against it. Tells whether the draft changed.
    pub(crate) fn import(
        &self,
        list: &CodeList,
        dry_run: bool,
        trust: &Trust,
        now: Timestamp,
    ) -> anyhow::Result<(ImportPlan, bool)> {
        let previous = self.newest(trust, now)?;
        let Some(mut draft) = self.draft(previous.as_ref())? else {
            bail!(
                "the first version needs a binding request, which says for which axis and lane it is: `truc directory add` first"
            );
        };
        let plan = draft.plan_import(list);
        let takes = !dry_run && plan.problems().is_empty() && !plan.changes().is_empty();
        if takes {
            draft.import(&plan)?;
            self.save_draft(&draft)?;
        }
        Ok((plan, takes))
    }

    /// Signs the draft and makes it the newest version. `stamp` may give a time-stamp token over the signature value.
    pub(crate) fn sign(
        &self,
        key: &dyn SigningKey,
        trust: &Trust,
        valid_days: u64,
        now: Timestamp,
        stamp: impl FnOnce(&[u8]) -> anyhow::Result<Option<Vec<u8>>>,
    ) -> anyhow::Result<Directory> {
        let previous = self.newest(trust, now)?;
        let draft = self.draft(previous.as_ref())?;
        let mut draft = draft.ok_or_else(|| anyhow!("there is no draft; add binding requests first"))?;
        ensure!(
            trust.operator.pins(&key.certificate().sha256()),
            "the signing certificate is not the pinned operator's"
        );
        draft.put_operator(key.certificate())?;
        let mut signed = draft.sign(key, now, now + Duration::from_secs(valid_days * 86_400))?;
        if let Some(token) = stamp(&signature_value(&signed.cms)?)? {
            signed.cms = embed_time_stamp(&signed.cms, &token)?.into();
        }
        let statement = Raw::<RootStatement>::parse(signed.statement.clone())?;
        let bytes = encode_directory(&signed);
        let directory = Directory::verify(signed, &trust.operator, &trust.store, &statement.axis, statement.lane, now)
            .context("the new version would be refused by every node; correct the draft")?;
        self.write_whole(&version_file(statement.version), &bytes)?;
        self.write_whole(CURRENT, &bytes)?;
        // The draft is this version now. Were it left behind by a crash here, it would only be signed again unchanged.
        let _ = fs::remove_file(self.path.join("draft"));
        Ok(directory)
    }
}

fn version_file(version: u64) -> String {
    format!("versions/{version:08}.directory")
}

/// The first problems in words.
fn problems_of(plan: &ImportPlan) -> String {
    let first: Vec<String> = plan.problems().named().iter().take(5).map(ToString::to_string).collect();
    format!("the code list has {} problems: {}", plan.problems().count(), first.join("; "))
}
