//! `truc-relay init`: makes a relay's folder. Nothing that is there is ever overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use truc_custody::KeySource;
use truc_evidence::{PinnedOperator, bind_certificate, ledger_origin, make_binding};
use truc_ledger::LedgerKey;
use truc_proto::{
    AxisId, BindingRequest, Entry, KeyUse, Lane, NodeEntry, NodeId, Raw, SignedBinding, Timestamp, WitnessKey,
};
use truc_signer::SigningKey;

use crate::settings::{SETTINGS_FILE, SettingsFile};

/// What a new relay is made of. Files are copied into its folder.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The folder to make; it must not exist, or be empty.
    pub dir: PathBuf,
    /// Trust domain.
    pub axis: AxisId,
    /// The one lane it will serve, for life.
    pub lane: Lane,
    /// Its id.
    pub id: NodeId,
    /// Where it will listen.
    pub listen: SocketAddr,
    /// For connections; the key of a file is readable by its owner alone.
    pub tls: KeySource,
    /// Signs checkpoints.
    pub node: KeySource,
    /// Trust anchors, PEM; sub-CAs may stand among them.
    pub anchors: PathBuf,
    /// The axis operator's certificate, to be pinned.
    pub operator: PathBuf,
    /// Revocation lists, PEM or DER.
    pub crls: Vec<PathBuf>,
    /// Now.
    pub now: Timestamp,
}

/// What was made.
#[derive(Debug)]
pub struct Initialised {
    /// The file for the operator: `truc directory add` takes it.
    pub binding_path: PathBuf,
    /// Its content.
    pub binding: Raw<SignedBinding>,
}

/// Makes the folder of a relay: settings, keys, trust, and the request to be bound.
///
/// # Errors
/// When something is in the way, or a file given is not what it should be. What was made until then is left to be looked at.
pub fn init(options: &InitOptions) -> anyhow::Result<Initialised> {
    let dir = &options.dir;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty and nothing was written; name another folder", dir.display());
    }
    options.tls.load_identity().context("load the TLS certificate and key")?;
    let tls = options.tls.load_signing().context("load the TLS certificate and key")?;
    let node = options.node.load_signing().context("load the node certificate and key")?;
    let operator = fs::read(&options.operator).with_context(|| format!("read {}", options.operator.display()))?;
    PinnedOperator::from_file_bytes(&operator).context("read the operator's certificate")?;
    let origin = ledger_origin(&options.axis, options.lane, &options.id, 1);
    let ledger_pkcs8 = LedgerKey::generate_pkcs8().context("make the ledger key")?;
    let ledger = LedgerKey::from_pkcs8(&origin, &ledger_pkcs8).context("make the ledger key")?;
    let witness_pkcs8 = LedgerKey::generate_pkcs8().context("make the witness key")?;
    let witness = LedgerKey::from_pkcs8(&origin, &witness_pkcs8).context("make the witness key")?;
    let binding = request(options, &origin, (&ledger, &witness), tls.as_ref(), node.as_ref())?;

    for folder in ["", "keys", "store", "directory", "trust", "trust/crl"] {
        make_folder(&dir.join(folder))?;
    }
    write_new(&dir.join("keys/ledger.key"), &ledger_pkcs8, 0o600)?;
    write_new(&dir.join("keys/witness.key"), &witness_pkcs8, 0o600)?;
    let keys = [("tls", copy_key(dir, &options.tls, "tls")?), ("node", copy_key(dir, &options.node, "node")?)];
    copy(&options.anchors, &dir.join("trust/anchors.pem"), 0o644)?;
    write_new(&dir.join("trust/operator.pem"), &operator, 0o644)?;
    for (number, crl) in (1..).zip(&options.crls) {
        copy(crl, &dir.join(format!("trust/crl/{number}.crl")), 0o644)?;
    }
    let mut settings = SettingsFile::new(&options.axis, options.lane, &options.id, options.listen);
    // What lies where a relay looks for it by itself is not named.
    let elsewhere = keys.iter().filter(|(name, key)| *key != KeySource::beside_name(&dir.join("keys"), name));
    let named: toml::Table = elsewhere.map(|(name, key)| ((*name).to_owned(), key.to_value(dir))).collect();
    settings.keys = Some(named).filter(|named| !named.is_empty());
    let settings = toml::to_string_pretty(&settings).context("write the settings")?;
    write_new(&dir.join(SETTINGS_FILE), settings.as_bytes(), 0o644)?;
    let binding_path = dir.join(format!("{}.binding", options.id));
    write_new(&binding_path, binding.bytes(), 0o644)?;
    Ok(Initialised { binding_path, binding })
}

fn request(
    options: &InitOptions,
    origin: &str,
    (ledger, witness): (&LedgerKey, &LedgerKey),
    tls: &dyn SigningKey,
    node: &dyn SigningKey,
) -> anyhow::Result<Raw<SignedBinding>> {
    let entry = NodeEntry {
        id: options.id.clone(),
        lane: options.lane,
        origin: origin.to_owned(),
        epoch: 1,
        ledger_key: *ledger.public().public_key(),
        witness_key: Some(WitnessKey(*witness.public().public_key())),
        certificates: vec![
            bind_certificate(node.certificate(), vec![KeyUse::Node]),
            bind_certificate(tls.certificate(), vec![KeyUse::Tls]),
        ],
    };
    let request = BindingRequest {
        axis: options.axis.clone(),
        lane: options.lane,
        time: options.now,
        entries: vec![Entry::Relay(entry)],
    };
    make_binding(request, ledger, &[node, tls]).context("make the binding request")
}

fn copy_key(dir: &Path, key: &KeySource, name: &str) -> anyhow::Result<KeySource> {
    key.copied(|from, ending| {
        let to = dir.join("keys").join(format!("{name}.{ending}"));
        copy(from, &to, if ending == "pem" { 0o644 } else { 0o600 })?;
        Ok(to)
    })
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make {}", path.display()))
}

fn copy(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write_new(to, &bytes, mode)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().with_context(|| format!("write {}", path.display()))
}
