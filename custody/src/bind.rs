//! The request by which the operator binds the keys of a node or relay.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use truc_evidence::{NewOrigin, ledger_origin};
use truc_ledger::LedgerKey;
use truc_proto::{AdminAction, AdminSubject, Administrator, AxisId, Digest, Lane, NodeId, Timestamp};
use truc_signer::{Certificate, SigningKey};

use crate::{
    KeySource, Witness,
    deeds::{NOTES, done, leave},
    files::replace_private,
    stopped::Stopped,
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
    /// What was declared of its keys, where that can be done.
    pub stopped: Option<&'a Stopped>,
}

impl OwnEntry<'_> {
    /// Writes `ID.binding` into the folder, the entry with its keys, and makes the witness key where there is none. It may be running; nothing changes before
    /// the directory binds what is asked for. Keys that are over, or were declared stolen or lost, speak for nobody and are left out.
    ///
    /// # Errors
    /// When a key cannot be used, or a file not be written.
    pub fn bind(&self, who: Administrator, why: String, now: Timestamp) -> anyhow::Result<Asked> {
        let deed = |subject| done(AdminAction::CertificateRotated, subject, who.clone(), why.clone(), now);
        deed(AdminSubject::named("rotation")).check(self.id).context("nothing was done; correct --who or --why")?;
        let origin = ledger_origin(self.axis, self.lane, self.id, self.epoch);
        let ledger = LedgerKey::from_file(&origin, &self.ledger_key).context("load the ledger key")?;
        let file = self.folder.join(format!("{}.binding", self.id));
        let keys = self.keys(now)?;
        let made = Witness::make(&origin, &self.witness_key)?;
        let request = self.write(&ledger, &keys, &file, now)?;
        let what = if made { REQUEST_WITH_WITNESS } else { REQUEST };
        leave(&self.folder.join(NOTES), self.id, &deed(AdminSubject::with_hash(what, request)))
            .context("it was done, but is not in the ledger")?;
        Ok(Asked { file, witness_made: made.then(|| self.witness_key.clone()) })
    }

    /// The entry under its epoch and this ledger key, with the keys that are neither over nor stopped, as a request to be bound, signed by those that sign
    /// checkpoints.
    ///
    /// # Errors
    /// When a key cannot be used, none is left, or the file not be written.
    pub fn write_request(&self, ledger: &LedgerKey, file: &Path, now: Timestamp) -> anyhow::Result<()> {
        self.write(ledger, &self.keys(now)?, file, now).map(drop)
    }

    /// Those that are to be bound.
    fn keys(&self, now: Timestamp) -> anyhow::Result<Keys> {
        let serves = |certificate: &Certificate| {
            let stopped = self.stopped.is_some_and(|stopped| stopped.contains(&certificate.sha256()));
            now < certificate.not_after() && !stopped
        };
        let nodes = self.node_keys.iter().map(KeySource::load_signing).collect::<Result<Vec<_>, _>>();
        let mut nodes = nodes.context("load the keys that sign checkpoints")?;
        nodes.retain(|key| serves(key.certificate()));
        let tls = self.tls_keys.iter().map(KeySource::certificate).collect::<Result<Vec<_>, _>>();
        let mut tls = tls.context("load the TLS keys")?;
        tls.retain(serves);
        ensure!(
            !(nodes.is_empty() && tls.is_empty()),
            "nothing is left to be bound: every certificate that the settings name has ended, or its key was declared stolen or lost; name new ones first"
        );
        Ok(Keys { nodes, tls })
    }

    /// Gives the request's SHA-256.
    fn write(&self, ledger: &LedgerKey, keys: &Keys, file: &Path, now: Timestamp) -> anyhow::Result<Digest> {
        let witness = Witness::open(ledger.public().name(), &self.witness_key).context("load the witness key")?.key();
        let nodes: Vec<&dyn SigningKey> = keys.nodes.iter().map(AsRef::as_ref).collect();
        let entry = NewOrigin {
            axis: self.axis,
            lane: self.lane,
            id: self.id,
            relay: self.relay,
            epoch: self.epoch,
            ledger,
            witness: witness.as_deref(),
            nodes: &nodes,
            tls: &keys.tls,
        };
        let request = entry.request(now).context("make the binding request")?;
        replace_private(file, request.bytes()).with_context(|| format!("write {}", file.display()))?;
        Ok(Digest::of(request.bytes()))
    }
}

/// Own keys that are to be bound.
struct Keys {
    nodes: Vec<Box<dyn SigningKey>>,
    tls: Vec<Certificate>,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
    use truc_proto::{BindingRequest, CallerRole, Entry, KeyUse, Raw, SignedBinding};

    use super::*;
    use crate::stopped::Declared;

    /// A folder with two keys for each use: the first ends in ten days.
    struct World {
        folder: tempfile::TempDir,
        now: Timestamp,
        nodes: Vec<KeySource>,
        tls: Vec<KeySource>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = truc_certs_dev::now();
            let pki = Pki::new(KeyKind::P256, now).unwrap();
            let issue = |name: &str, profile, not_after| {
                let request = Request { not_after, ..Request::new(profile, KeyKind::P256, Subject::endpoint("R1")) };
                let issued = pki.issue_with(request).unwrap();
                let [certificate, key] = ["pem", "key"].map(|ending| folder.path().join(format!("{name}.{ending}")));
                std::fs::write(&certificate, &issued.certificate_pem).unwrap();
                replace_private(&key, issued.key_pem.as_bytes()).unwrap();
                KeySource::Pem { certificate, key }
            };
            let soon = Some(now + DAY * 10);
            let nodes = vec![issue("node-1", Profile::Node, soon), issue("node-2", Profile::Node, None)];
            let tls = vec![issue("tls-1", Profile::Tls, soon), issue("tls-2", Profile::Tls, None)];
            replace_private(&folder.path().join("ledger.key"), &LedgerKey::generate_pkcs8().unwrap()).unwrap();
            Self { folder, now, nodes, tls }
        }

        fn certificate(source: &KeySource) -> Digest {
            source.certificate().unwrap().sha256()
        }

        /// The certificates in the request that is written at this time: those that sign checkpoints, those of connections.
        fn asked(&self, now: Timestamp, stopped: &Stopped) -> anyhow::Result<[Vec<Digest>; 2]> {
            let (axis, id) = ("vn-test".parse().unwrap(), "R1".parse().unwrap());
            let folder = self.folder.path();
            let entry = OwnEntry {
                axis: &axis,
                lane: Lane::Ordinary,
                id: &id,
                relay: true,
                epoch: 1,
                folder,
                ledger_key: folder.join("ledger.key"),
                witness_key: folder.join("witness.key"),
                node_keys: &self.nodes,
                tls_keys: &self.tls,
                stopped: Some(stopped),
            };
            let who = Administrator { name: "lan".into(), role: CallerRole::CipherAdmin };
            let asked = entry.bind(who, "chứng thư mới".into(), now)?;
            let signed = Raw::<SignedBinding>::parse(std::fs::read(asked.file).unwrap()).unwrap();
            let request = Raw::<BindingRequest>::parse(signed.request.clone()).unwrap();
            let [Entry::Relay(entry)] = &*request.entries else { panic!("{:?}", request.entries) };
            Ok([KeyUse::Node, KeyUse::Tls].map(|key_use| {
                let bound = entry.certificates.iter().filter(|bound| bound.uses.contains(&key_use));
                bound.map(|bound| bound.sha256).collect()
            }))
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn what_has_ended_or_was_stolen_is_not_asked_for() {
        let world = World::new();
        let [nodes, tls] =
            [&world.nodes, &world.tls].map(|keys| keys.iter().map(World::certificate).collect::<Vec<_>>());
        let stopped = Stopped::default();
        assert_eq!(world.asked(world.now, &stopped).unwrap(), [nodes.clone(), tls.clone()]);
        let [later, far] = [11, 4_000].map(|days| world.now + DAY * days);
        assert_eq!(world.asked(later, &stopped).unwrap(), [vec![nodes[1]], vec![tls[1]]]);
        let declared = Declared { since: world.now, suspected: false };
        stopped.declare(&world.folder.path().join("keys"), nodes[1], declared).unwrap();
        assert_eq!(world.asked(world.now, &stopped).unwrap(), [vec![nodes[0]], tls]);

        let file = world.folder.path().join("R1.binding");
        let before = std::fs::read(&file).unwrap();
        let refused = world.asked(far, &stopped).unwrap_err();
        assert!(format!("{refused:#}").contains("nothing is left to be bound"), "{refused:#}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
