//! What has to be there before a network can start: a development PKI, folders made by the products' own `init`, a signed directory.

use std::{
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use truc_certs_dev::{KeyFiles, KeyKind, Pki, Profile, Request, Subject, Tree};
use truc_evidence::{Confirmation, Directory, DirectoryDraft, PinnedOperator, ReceiptTrust, verify_binding};
use truc_link::{ConnectError, ConnectSettings, Identity, Link, LinkTrust, NotAdmitted};
use truc_node::settings::{KeySource, TrustFiles};
use truc_proto::{
    AgencyEntry, AxisId, Digest, Entry, Lane, Raw, Route, SignedBinding, SignedDirectory, Timestamp,
    relay_v1::{DirectoryChunk, relay_client::RelayClient},
};
use truc_signer::{Certificate, Crl, SoftKey, TrustStore};

/// Trust domain of every test network.
pub const AXIS: &str = "dev-test";
/// Id of its relay.
pub const RELAY: &str = "RELAY";

/// A node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Its id.
    pub id: String,
    /// The codes it serves.
    pub codes: Vec<String>,
    /// Its folder.
    pub folder: PathBuf,
}

/// Wall-clock time.
#[must_use]
pub fn now() -> Timestamp {
    truc_certs_dev::now()
}

/// A PKI for the nodes' agencies in the layout of [`Tree`], PEM only: making PKCS#12 files takes most of the time that a whole tree does.
pub(super) fn make_pki(folder: &Path, nodes: &[NodePlan], keys: KeyKind) -> Result<Tree> {
    let (pki, tree) = (Pki::new(KeyKind::P256, now())?, Tree { root: folder.to_owned() });
    let issue = |files: KeyFiles, profile: Profile, subject: Subject| -> Result<String> {
        let issued = pki.issue_with(Request::new(profile, keys, subject))?;
        write(&files.certificate, &issued.certificate_pem)?;
        write(&files.key, &issued.key_pem)?;
        Ok(issued.leaf_pem())
    };
    let operator = issue(tree.operator(), Profile::Operator, Subject::new("Đơn vị vận hành DEV"))?;
    write(&tree.operator_certificate(), &operator)?;
    issue(tree.relay("tls"), Profile::Tls, Subject::endpoint(RELAY))?;
    issue(tree.relay("node"), Profile::Node, Subject::new("Máy chuyển tiếp DEV"))?;
    for node in nodes {
        issue(tree.node(&node.id, "tls"), Profile::Tls, Subject::endpoint(&node.id))?;
        issue(tree.node(&node.id, "node"), Profile::Node, Subject::new(&format!("Nút {}", node.id)))?;
        for code in &node.codes {
            let subject =
                |what: &str| Subject::new(&format!("{what} {code}")).organization(&format!("Cơ quan {code} DEV"));
            issue(tree.agency(code, "service"), Profile::Service, subject("Dịch vụ"))?;
            issue(tree.agency(code, "sealing"), Profile::Sealing, subject("Niêm"))?;
        }
    }
    write(&tree.anchors(), &pki.anchors_pem)?;
    write(&tree.intermediates(), &pki.intermediates_pem)?;
    let [root, sub] = pki.crls(now().before(Duration::from_secs(3_600)), now() + Duration::from_secs(30 * 86_400))?;
    for (path, list) in tree.crls().iter().zip([root, sub]) {
        write(path, &pem("X509 CRL", &list))?;
    }
    Ok(tree)
}

/// Keys may be read by their owner alone, else the products refuse them.
fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().context("a file in a folder")?;
    std::fs::create_dir_all(parent)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) fn trust_files(pki: &Tree) -> TrustFiles {
    TrustFiles {
        anchors: pki.anchors(),
        intermediates: Some(pki.intermediates()),
        crls: pki.crls().to_vec(),
        policies: truc_signer::PolicySettings::default(),
        operator: pki.operator_certificate(),
    }
}

pub(super) fn init_node(pki: &Tree, plan: &NodePlan, relay: SocketAddr) -> Result<truc_node::Initialised> {
    let key = |files: truc_certs_dev::KeyFiles| KeySource::beside(&files.certificate);
    let agency = |code: &String| {
        Ok(truc_node::init::AgencyInit {
            code: code.parse()?,
            name: None,
            service: key(pki.agency(code, "service"))?,
            sealing: key(pki.agency(code, "sealing"))?,
        })
    };
    let request = truc_node::InitRequest {
        folder: plan.folder.clone(),
        axis: AXIS.parse()?,
        lane: Lane::Ordinary,
        id: plan.id.parse()?,
        agencies: plan.codes.iter().map(agency).collect::<Result<_>>()?,
        tls: key(pki.node(&plan.id, "tls"))?,
        node_key: key(pki.node(&plan.id, "node"))?,
        trust: trust_files(pki),
        relay: relay.to_string(),
        relay_id: RELAY.parse()?,
        local: SocketAddr::from(([127, 0, 0, 1], 0)),
        now: now(),
    };
    truc_node::init(request).with_context(|| format!("make node {}", plan.id))
}

/// Whom everybody believes.
pub(super) fn trust_store(pki: &Tree) -> Result<TrustStore> {
    let certificates = |path: PathBuf| -> Result<_> { Ok(Certificate::from_pem(&std::fs::read(path)?)?) };
    let crls = pki.crls().iter().map(|path| Ok(Crl::from_pem(&std::fs::read(path)?)?)).collect::<Result<Vec<_>>>()?;
    Ok(TrustStore::new(
        certificates(pki.anchors())?,
        certificates(pki.intermediates())?,
        crls.into_iter().flatten().collect(),
    )?)
}

/// What an offline verifier of receipts is given.
///
/// # Errors
/// When the PKI cannot be read.
pub fn receipt_trust(pki: &Tree) -> Result<ReceiptTrust> {
    Ok(ReceiptTrust::new(trust_store(pki)?, pinned(pki)?))
}

fn pinned(pki: &Tree) -> Result<PinnedOperator> {
    Ok(PinnedOperator::from_file_bytes(&std::fs::read(pki.operator_certificate())?)?)
}

/// Version 1 of the directory, out of the binding requests.
pub(super) fn sign_directory(
    pki: &Tree,
    bindings: &[Vec<u8>],
    legacy: &[String],
) -> Result<(SignedDirectory, Directory)> {
    let axis: AxisId = AXIS.parse()?;
    let (trust, now) = (trust_store(pki)?, now());
    let mut draft = DirectoryDraft::new(axis.clone(), Lane::Ordinary);
    for binding in bindings {
        let binding = Raw::<SignedBinding>::parse(binding.clone())?;
        let verified = verify_binding(&binding, None, &trust, &axis, Lane::Ordinary, now)?;
        draft.add(&verified, Confirmation { sealing: true, endorsement: true })?;
    }
    for code in legacy {
        draft.put(Entry::Agency(AgencyEntry {
            code: code.parse()?,
            names: vec![format!("Cơ quan {code} (trục hiện hành)")],
            parent: None,
            old_codes: Vec::new(),
            valid_from: Timestamp::from_unix_ms(now.unix_ms() - 86_400_000),
            valid_to: None,
            serves_until: None,
            successor: None,
            route: Route::Legacy,
            node: None,
            lanes: vec![Lane::Ordinary],
            certificates: Vec::new(),
        }))?;
    }
    let files = pki.operator();
    let key = SoftKey::load_pem(&files.certificate, &files.key)?;
    draft.put_operator(key.certificate())?;
    let signed = draft.sign(&key, now, now + Duration::from_secs(30 * 86_400))?;
    let directory = Directory::verify(signed.clone(), &pinned(pki)?, &trust, &axis, Lane::Ordinary, now)?;
    Ok((signed, directory))
}

/// Makes the relay; gives its binding request.
pub(super) fn init_relay(pki: &Tree, folder: &Path) -> Result<Vec<u8>> {
    let (tls, node) = (pki.relay("tls"), pki.relay("node"));
    // The relay takes sub-CAs among the anchors.
    let anchors = pki.root.join("anchors-and-intermediates.pem");
    std::fs::write(&anchors, [std::fs::read(pki.anchors())?, std::fs::read(pki.intermediates())?].concat())?;
    let options = truc_relay::InitOptions {
        dir: folder.to_owned(),
        axis: AXIS.parse()?,
        lane: Lane::Ordinary,
        id: RELAY.parse()?,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: KeySource::Pem { certificate: tls.certificate, key: tls.key },
        node: KeySource::Pem { certificate: node.certificate, key: node.key },
        anchors,
        operator: pki.operator_certificate(),
        crls: pki.crls().to_vec(),
        now: now(),
    };
    Ok(truc_relay::init(&options)?.binding.bytes().to_vec())
}

/// Brings a version to the relay, with the relay's own TLS identity. `None` while the relay cannot be reached.
pub(super) async fn publish(
    pki: &Tree,
    signed: &SignedDirectory,
    directory: &Directory,
    address: SocketAddr,
) -> Option<Result<()>> {
    let connected = connect(pki, directory, address).await;
    let mut relay = RelayClient::new(match connected {
        Ok(channel) => channel,
        Err(error) if error.downcast_ref::<ConnectError>().is_some() => return None,
        Err(error) => return Some(Err(error)),
    });
    let head =
        DirectoryChunk { statement: signed.statement.clone(), cms: signed.cms.clone(), ..DirectoryChunk::default() };
    let entries = DirectoryChunk { entries: signed.entries.clone(), ..DirectoryChunk::default() };
    let reply = match relay.publish_directory(tokio_stream::iter([head, entries])).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return Some(Err(status.into())),
    };
    let taken = || {
        anyhow::ensure!(reply.refused.is_none(), "the relay refuses the directory: {:?}", reply.refused);
        directory.verify_logged(reply.logged.as_ref().context("the relay shows no proof")?)?;
        Ok(())
    };
    Some(taken())
}

async fn connect(pki: &Tree, directory: &Directory, address: SocketAddr) -> Result<tonic::transport::Channel> {
    let files = pki.relay("tls");
    let identity = Identity::from_pem(&std::fs::read(files.certificate)?, &std::fs::read(files.key)?)?;
    let trust = LinkTrust::from_pem(&std::fs::read(pki.anchors())?, &std::fs::read(pki.intermediates())?, &[])?;
    let entry = directory.relay().clone();
    let admission = move |fingerprint: &Digest| {
        let known = entry.certificates.iter().any(|certificate| certificate.sha256 == *fingerprint);
        if known { Ok(entry.id.clone()) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
    };
    let link = Link::new(Lane::Ordinary, identity, trust, admission);
    Ok(link.connect(&address.to_string(), &RELAY.parse()?, ConnectSettings::default()).await?.channel)
}
