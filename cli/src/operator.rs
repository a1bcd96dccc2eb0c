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
    Confirmation, Directory, DirectoryDraft, PinnedOperator, VerifiedBinding, decode_directory, encode_directory,
    verify_binding,
};
use truc_proto::{
    AgencyEntry, AgencyId, AxisId, Entry, Lane, Raw, RootStatement, Route, SignedBinding, SignedDirectory, Timestamp,
};
use truc_signer::{SigningKey, TrustStore};

/// Level-1 codes: the product's own table of facts.
pub(crate) const LEVEL1_CODES: &str = include_str!("../data/level1.csv");

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

    /// The newest signed version, not yet verified.
    pub(crate) fn newest(&self) -> anyhow::Result<Option<SignedDirectory>> {
        let path = self.path.join(CURRENT);
        match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(decode_directory(&read.with_context(|| format!("cannot read {}", path.display()))?)?)),
        }
    }

    fn previous(&self, trust: &Trust, now: Timestamp) -> anyhow::Result<Option<Directory>> {
        let Some(signed) = self.newest()? else { return Ok(None) };
        let statement = Raw::<RootStatement>::parse(signed.statement.clone())?;
        let (axis, lane) = (statement.axis.clone(), statement.lane);
        let verified = Directory::verify(signed, &trust.operator, &trust.store, &axis, lane, now);
        Ok(Some(verified.context("the operator's newest version does not verify; restore the folder from its backup")?))
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

    fn save_draft(&self, draft: &DirectoryDraft, axis: &AxisId, lane: Lane) -> anyhow::Result<()> {
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
        codes: Option<&str>,
        confirmed: Confirmation,
        trust: &Trust,
        now: Timestamp,
    ) -> anyhow::Result<Taken> {
        let previous = self.previous(trust, now)?;
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
        let (Some(mut draft), Some((axis, lane))) = (draft, domain.or_else(|| self.draft_domain())) else {
            bail!("the first version needs a binding request, which says for which axis and lane it is");
        };
        if let Some(text) = codes {
            let known: Vec<String> = draft.entries().map(Entry::key).collect();
            for entry in read_codes(text, lane)? {
                if !known.contains(&entry.key()) {
                    keys.push(entry.key());
                    listed += 1;
                    draft.put(entry)?;
                }
            }
        }
        self.save_draft(&draft, &axis, lane)?;
        Ok(Taken { keys, codes: listed })
    }

    /// Axis and lane of a saved draft.
    fn draft_domain(&self) -> Option<(AxisId, Lane)> {
        let text = fs::read_to_string(self.path.join("draft")).ok()?;
        let mut words = text.lines().next()?.split(' ').skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    }

    /// Signs the draft and makes it the newest version.
    pub(crate) fn sign(
        &self,
        key: &dyn SigningKey,
        trust: &Trust,
        valid_days: u64,
        now: Timestamp,
    ) -> anyhow::Result<Directory> {
        let previous = self.previous(trust, now)?;
        let draft = self.draft(previous.as_ref())?;
        let mut draft = draft.ok_or_else(|| anyhow!("there is no draft; add binding requests first"))?;
        ensure!(
            trust.operator.pins(&key.certificate().sha256()),
            "the signing certificate is not the pinned operator's"
        );
        draft.put_operator(key.certificate())?;
        let signed = draft.sign(key, now, now + Duration::from_secs(valid_days * 86_400))?;
        let statement = Raw::<RootStatement>::parse(signed.statement.clone())?;
        let bytes = encode_directory(&signed);
        let directory = Directory::verify(signed, &trust.operator, &trust.store, &statement.axis, statement.lane, now)
            .context("the new version would be refused by every node; correct the draft")?;
        self.write_whole(&format!("versions/{:08}.directory", statement.version), &bytes)?;
        self.write_whole(CURRENT, &bytes)?;
        // The draft is this version now. Were it left behind by a crash here, it would only be signed again unchanged.
        let _ = fs::remove_file(self.path.join("draft"));
        Ok(directory)
    }
}

/// Reads `code,name,valid_from,valid_to,successor`: codes that have no node yet, closed ones with their successors.
pub(crate) fn read_codes(text: &str, lane: Lane) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("code,") {
            continue;
        }
        let entry = read_code(line, lane).with_context(|| format!("line {} of the code list", number + 1))?;
        entries.push(entry);
    }
    Ok(entries)
}

fn read_code(line: &str, lane: Lane) -> anyhow::Result<Entry> {
    // Times and codes hold no comma, so a name may: it is what stands between.
    let (code, rest) = line.split_once(',').ok_or_else(|| anyhow!("not `code,name,valid_from,valid_to,successor`"))?;
    let mut from_right = rest.rsplitn(4, ',');
    let mut field = || from_right.next().map(str::trim).unwrap_or_default();
    let (successor, valid_to, valid_from, name) = (field(), field(), field(), field());
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Entry::Agency(AgencyEntry {
        code: code.trim().parse()?,
        names: vec![name.trim_matches('"').replace("\"\"", "\"")],
        parent: None,
        old_codes: Vec::new(),
        valid_from: valid_from.parse()?,
        valid_to: optional(valid_to).map(|t| t.parse()).transpose()?,
        serves_until: None,
        successor: optional(successor).map(|c| c.parse::<AgencyId>()).transpose()?,
        route: Route::Native,
        node: None,
        lanes: vec![lane],
        certificates: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_codes_are_all_readable_and_know_their_successors() {
        let entries = read_codes(LEVEL1_CODES, Lane::Ordinary).unwrap();
        assert_eq!(entries.len(), 201);
        let find = |code: &str| {
            entries.iter().find(|e| e.key() == format!("agency/{code}")).unwrap().as_agency().unwrap().clone()
        };
        let closed = find("H02");
        assert_eq!(closed.successor, Some("H05".parse().unwrap()));
        assert_eq!(closed.valid_to, Some("2025-06-30T19:00:00+07:00".parse().unwrap()));
        for entry in &entries {
            Raw::write(entry.clone()).unwrap();
            let agency = entry.as_agency().unwrap();
            // Who took over must itself be open.
            if let Some(successor) = &agency.successor {
                assert_eq!(find(successor.as_ref()).valid_to, None, "{} -> {successor}", agency.code);
            }
        }
    }
}
