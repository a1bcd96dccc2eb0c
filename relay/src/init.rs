//! `truc-relay init`: makes a relay's folder. Nothing that is there is ever overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use truc_evidence::{PinnedOperator, bind_certificate, ledger_origin, make_binding};
use truc_ledger::LedgerKey;
use truc_proto::{
    AxisId, BindingRequest, Entry, KeyUse, Lane, NodeEntry, NodeId, Raw, SignedBinding, Timestamp, WitnessKey,
};
use truc_signer::SoftKey;

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
    /// TLS certificate and chain, PEM.
    pub tls_certificate: PathBuf,
    /// Its key, PKCS#8 PEM, readable by its owner alone.
    pub tls_key: PathBuf,
    /// The certificate that signs checkpoints, with chain, PEM.
    pub node_certificate: PathBuf,
    /// Its key.
    pub node_key: PathBuf,
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
    let tls =
        SoftKey::load_pem(&options.tls_certificate, &options.tls_key).context("load the TLS certificate and key")?;
    let node =
        SoftKey::load_pem(&options.node_certificate, &options.node_key).context("load the node certificate and key")?;
    let operator = fs::read(&options.operator).with_context(|| format!("read {}", options.operator.display()))?;
    PinnedOperator::from_pem(&operator).context("read the operator's certificate")?;
    let origin = ledger_origin(&options.axis, options.lane, &options.id, 1);
    let ledger_pkcs8 = LedgerKey::generate_pkcs8().context("make the ledger key")?;
    let ledger = LedgerKey::from_pkcs8(&origin, &ledger_pkcs8).context("make the ledger key")?;
    let witness_pkcs8 = LedgerKey::generate_pkcs8().context("make the witness key")?;
    let witness = LedgerKey::from_pkcs8(&origin, &witness_pkcs8).context("make the witness key")?;
    let binding = request(options, &origin, (&ledger, &witness), &tls, &node)?;

    for folder in ["", "keys", "store", "directory", "trust", "trust/crl"] {
        make_folder(&dir.join(folder))?;
    }
    write_new(&dir.join("keys/ledger.key"), &ledger_pkcs8, 0o600)?;
    write_new(&dir.join("keys/witness.key"), &witness_pkcs8, 0o600)?;
    copy(&options.tls_certificate, &dir.join("keys/tls.pem"), 0o644)?;
    copy(&options.tls_key, &dir.join("keys/tls.key"), 0o600)?;
    copy(&options.node_certificate, &dir.join("keys/node.pem"), 0o644)?;
    copy(&options.node_key, &dir.join("keys/node.key"), 0o600)?;
    copy(&options.anchors, &dir.join("trust/anchors.pem"), 0o644)?;
    write_new(&dir.join("trust/operator.pem"), &operator, 0o644)?;
    for (number, crl) in (1..).zip(&options.crls) {
        copy(crl, &dir.join(format!("trust/crl/{number}.crl")), 0o644)?;
    }
    let settings = SettingsFile::new(&options.axis, options.lane, &options.id, options.listen);
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
    tls: &SoftKey,
    node: &SoftKey,
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
