//! The request by which the operator binds the keys of a node or relay.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use truc_evidence::{NewOrigin, ledger_origin};
use truc_ledger::LedgerKey;
use truc_proto::{AdminAction, AdminSubject, Administrator, AxisId, Digest, Lane, NodeId, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::{
    KeySource, Witness,
    deeds::{NOTES, done, leave},
    files::replace_private,
};

/// What a request to be bound is called in the ledger; the second, where a witness key was made for it.
const REQUEST: &str = "request to bind the keys of the settings";
const REQUEST_WITH_WITNESS: &str = "request to bind the keys of the settings, and a witness key made for it";

/// A node or relay with all its own keys, as its settings name them.
#[derive(Clone, Debug)]
pub struct OwnEntry<'a> {
    /// Trust domain.
    pub axis: &'a AxisId,
    /// Lane.
    pub lane: Lane,
    /// Its id.
    pub id: &'a NodeId,
    /// Whether it is the relay.
    pub relay: bool,
    /// Epoch of its ledger.
    pub epoch: u64,
    /// Its folder.
    pub folder: &'a Path,
    /// Where its ledger key lies.
    pub ledger_key: PathBuf,
    /// Where its witness key lies, if it has one.
    pub witness_key: PathBuf,
    /// Sign checkpoints.
    pub node_keys: &'a [KeySource],
    /// Of the connections.
    pub tls_keys: &'a [KeySource],
}

impl OwnEntry<'_> {
    /// Writes `ID.binding` into the folder, the entry with those keys that `serves` lets in, and makes the witness key where there is none. It may be running;
    /// nothing changes before the directory binds what is asked for.
    ///
    /// # Errors
    /// When a key cannot be used, or a file not be written.
    pub fn bind(
        &self,
        serves: impl Fn(&Certificate) -> bool,
        who: Administrator,
        why: String,
        now: Timestamp,
    ) -> anyhow::Result<Asked> {
        let deed = |subject| done(AdminAction::CertificateRotated, subject, who.clone(), why.clone(), now);
        deed(AdminSubject::named("rotation")).check(self.id).context("nothing was done; correct --who or --why")?;
        let origin = ledger_origin(self.axis, self.lane, self.id, self.epoch);
        let ledger = LedgerKey::from_file(&origin, &self.ledger_key).context("load the ledger key")?;
        let file = self.folder.join(format!("{}.binding", self.id));
        let made = Witness::make(&origin, &self.witness_key)?;
        let request = self.write_request(&ledger, serves, &file, now)?;
        let what = if made { REQUEST_WITH_WITNESS } else { REQUEST };
        leave(&self.folder.join(NOTES), self.id, &deed(AdminSubject::with_hash(what, request)))
            .context("it was done, but is not in the ledger")?;
        Ok(Asked { file, witness_made: made.then(|| self.witness_key.clone()) })
    }

    /// The entry under its epoch and this ledger key, with those keys that `serves` lets in, as a request to be bound, signed by those that sign checkpoints;
    /// its SHA-256.
    ///
    /// # Errors
    /// When a key cannot be used, or the file not be written.
    pub fn write_request(
        &self,
        ledger: &LedgerKey,
        serves: impl Fn(&Certificate) -> bool,
        file: &Path,
        now: Timestamp,
    ) -> anyhow::Result<Digest> {
        let nodes = self.node_keys.iter().map(KeySource::load_signing).collect::<Result<Vec<_>, _>>();
        let nodes = nodes.context("load the keys that sign checkpoints")?;
        let nodes: Vec<&dyn SigningKey> =
            nodes.iter().map(AsRef::as_ref).filter(|key| serves(key.certificate())).collect();
        let tls = self.tls_keys.iter().map(KeySource::certificate).collect::<Result<Vec<_>, _>>();
        let mut tls = tls.context("load the TLS keys")?;
        tls.retain(serves);
        let witness = Witness::open(ledger.public().name(), &self.witness_key).context("load the witness key")?.key();
        let entry = NewOrigin {
            axis: self.axis,
            lane: self.lane,
            id: self.id,
            relay: self.relay,
            epoch: self.epoch,
            ledger,
            witness: witness.as_deref(),
            nodes: &nodes,
            tls: &tls,
        };
        let request = entry.request(now).context("make the binding request")?;
        replace_private(file, request.bytes()).with_context(|| format!("write {}", file.display()))?;
        Ok(Digest::of(request.bytes()))
    }
}

/// A request to be bound that `bind` wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The file, for the axis operator.
    pub file: PathBuf,
    /// The witness key, where it was made for this request.
    pub witness_made: Option<PathBuf>,
}

impl Asked {
    /// What was done, and what comes next, in English and in Vietnamese.
    #[must_use]
    pub fn told(&self) -> String {
        let file = self.file.display();
        let made = self.witness_made.as_ref().map(|path| {
            let path = path.display();
            format!(
                "witness key: {path} (made now; its cosignatures count from the directory version on that lists it)\n\
                 khóa chứng kiến: {path} (vừa tạo; có giá trị từ phiên bản danh bạ ghi khóa này)\n"
            )
        });
        format!(
            "{}binding: {file} (give it to the axis operator: `truc directory add`, `sign`, `publish`; nothing changes before that version)\n\
             yêu cầu gắn khóa: {file} (gửi đơn vị vận hành trục: `truc directory add`, `sign`, `publish`; trước phiên bản đó không có gì thay đổi)",
            made.unwrap_or_default()
        )
    }
}
