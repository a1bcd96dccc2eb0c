//! `truc directory publish`: brings the newest signed version to the relay.
//!
//! The relay believes the operator's signature, not the connection; the connection only has to be one that it takes.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use truc_evidence::{Directory, DirectoryReadError};
use truc_link::{ConnectSettings, Identity, Link, LinkTrust, NotAdmitted};
use truc_proto::{
    Digest, NodeId,
    relay_v1::{DirectoryChunk, relay_client::RelayClient},
};

use super::load_trust;
use crate::{
    args::PublishArgs,
    client::{block_on, failed, refused},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    operator::OperatorFolder,
    output::{Output, Tone},
    trust,
};

/// Entries per message; each is at most a few kilobytes.
const ENTRIES_PER_CHUNK: usize = 64;

pub(crate) fn run(args: &PublishArgs, output: &Output) -> Outcome {
    let trust = load_trust(&args.trust)?;
    let folder = OperatorFolder::open(&args.dir).or_exit(Exit::Unavailable, "open the operator's folder")?;
    let newest = folder.newest(&trust, now()).or_exit(Exit::Invalid, "the newest version does not verify")?;
    let directory = newest
        .ok_or_else(|| Failure::new(Exit::Usage, anyhow!("nothing is signed yet; `truc directory sign` first")))?;
    let identity = Identity::from_pem(&trust::read(&args.tls_certificate)?, &trust::read(&args.tls_key)?)
        .or_exit(Exit::BadData, "load the TLS certificate and key")?;
    let mut lists = Vec::new();
    for path in &args.trust.crl {
        lists.extend(trust::read(path)?);
    }
    let anchors = trust::read(&args.trust.trust)?;
    let link_trust = LinkTrust::from_pem(&anchors, &[], &lists).or_exit(Exit::BadData, "load the trust anchors")?;
    let relay = args.relay_id.clone().unwrap_or_else(|| directory.relay().id.clone());
    let directory = Arc::new(directory);
    let statement = directory.statement();
    let index = block_on(publish_to(&directory, identity, link_trust, &args.relay, &relay))?;
    output.show(&json!({ "version": statement.version, "leaf": index }), |o| {
        let text = format!("published version {}; it is leaf {index} of the relay's ledger", statement.version);
        o.line(o.paint(Tone::Good, text));
    });
    Ok(Exit::Good)
}

/// Publishes over a connection of its own. Gives the leaf index of the root statement in the relay's ledger.
pub(crate) async fn publish_to(
    directory: &Arc<Directory>,
    identity: Identity,
    trust: LinkTrust,
    address: &str,
    relay: &NodeId,
) -> Result<u64, Failure> {
    // The relay is whom the version itself names: its TLS certificates, nobody else's.
    let entry = directory.relay().clone();
    let admission = move |fingerprint: &Digest| {
        let known = entry.certificates.iter().any(|c| c.sha256 == *fingerprint);
        if known { Ok(entry.id.clone()) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
    };
    let link = Link::new(directory.statement().lane, identity, trust, admission);
    let connected = link.connect(address, relay, ConnectSettings::default()).await;
    let connected = connected.or_exit(Exit::Unavailable, "connect to the relay")?;
    let mut client = RelayClient::new(connected.channel);
    let (chunks, stream) = mpsc::channel(2);
    let reading = Arc::clone(directory);
    // Entries are read from the disk as they are sent.
    let read = tokio::task::spawn_blocking(move || send_chunks(&reading, &chunks));
    let reply = client.publish_directory(ReceiverStream::new(stream)).await;
    let read = read.await.or_exit(Exit::Unavailable, "read the directory")?;
    read.or_exit(Exit::BadData, "the operator's copy of the version cannot be read")?;
    let reply = reply.map_err(|s| failed("the relay does not take the directory", &s))?.into_inner();
    if let Some(refusal) = &reply.refused {
        return Err(refused("the relay refuses the directory", refusal, Exit::Invalid));
    }
    let logged = reply
        .logged
        .ok_or_else(|| Failure::new(Exit::BadData, anyhow!("the relay did not show the version in its ledger")))?;
    directory.verify_logged(&logged).or_exit(Exit::Invalid, "the relay's proof does not hold")?;
    Ok(logged.index)
}

fn send_chunks(directory: &Directory, to: &mpsc::Sender<DirectoryChunk>) -> Result<(), DirectoryReadError> {
    let (statement, cms) = (directory.statement().bytes().clone(), directory.cms().clone());
    let mut chunk = DirectoryChunk { statement, cms, ..DirectoryChunk::default() };
    for entry in directory.read_all() {
        chunk.entries.push(entry?);
        // When the relay does not listen any more, its answer says why.
        if chunk.entries.len() == ENTRIES_PER_CHUNK && to.blocking_send(std::mem::take(&mut chunk)).is_err() {
            return Ok(());
        }
    }
    _ = to.blocking_send(chunk);
    Ok(())
}
