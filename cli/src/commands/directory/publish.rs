//! `truc directory publish`: brings the newest signed version to the relay, behind those that it does not have yet.
//!
//! The relay believes the operator's signature, not the connection; the connection only has to be one that it takes.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use truc_evidence::{Directory, DirectoryReadError};
use truc_link::{ConnectSettings, Identity, Link, LinkTrust, NotAdmitted};
use truc_proto::{
    Digest, NodeId,
    relay_v1::{DirectoryChunk, relay_client::RelayClient},
    wire_v1::Refusal,
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
    let (leaf, before) = block_on(async {
        let mut client = connect(&directory, identity, link_trust, &args.relay, &relay).await?;
        let held = match offer(&mut client, &directory).await? {
            Answer::Logged(leaf) => return Ok((leaf, Vec::new())),
            Answer::Refused { held, .. } if held.saturating_add(1) < directory.version() => held,
            Answer::Refused { refusal, .. } => return Err(not_taken(&refusal)),
        };
        // Versions follow one another: those that did not reach the relay when they were signed go first.
        let mut before = Vec::new();
        for version in held + 1..directory.version() {
            let missing = folder.version(version, &trust, now()).or_exit(Exit::Invalid, "read an earlier version")?;
            publish(&mut client, &Arc::new(missing)).await?;
            before.push(version);
        }
        Ok((publish(&mut client, &directory).await?, before))
    })?;
    let version = directory.version();
    output.show(&json!({ "version": version, "leaf": leaf, "before": before }), |o| {
        if let (Some(first), Some(last)) = (before.first(), before.last()) {
            o.line(format!(
                "published versions {first} to {last}, which the relay did not have / đã phát hành các phiên bản {first} đến {last} mà trục chưa có"
            ));
        }
        let text = format!("published version {version}; it is leaf {leaf} of the relay's ledger");
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
    let mut client = connect(directory, identity, trust, address, relay).await?;
    publish(&mut client, directory).await
}

async fn connect(
    directory: &Directory,
    identity: Identity,
    trust: LinkTrust,
    address: &str,
    relay: &NodeId,
) -> Result<RelayClient<Channel>, Failure> {
    // The relay is whom the version itself names: its TLS certificates, nobody else's.
    let entry = directory.relay().clone();
    let admission = move |fingerprint: &Digest| {
        let known = entry.certificates.iter().any(|c| c.sha256 == *fingerprint);
        if known { Ok(entry.id.clone()) } else { Err(NotAdmitted::Unlisted(*fingerprint)) }
    };
    let link = Link::new(directory.statement().lane, identity, trust, admission);
    let connected = link.connect(address, relay, ConnectSettings::default()).await;
    Ok(RelayClient::new(connected.or_exit(Exit::Unavailable, "connect to the relay")?.channel))
}

/// What the relay says to a version.
enum Answer {
    /// It is this leaf of its ledger.
    Logged(u64),
    /// It does not take it, and has version `held`.
    Refused { refusal: Box<Refusal>, held: u64 },
}

async fn publish(client: &mut RelayClient<Channel>, directory: &Arc<Directory>) -> Result<u64, Failure> {
    match offer(client, directory).await? {
        Answer::Logged(leaf) => Ok(leaf),
        Answer::Refused { refusal, .. } => Err(not_taken(&refusal)),
    }
}

fn not_taken(refusal: &Refusal) -> Failure {
    refused("the relay refuses the directory", refusal, Exit::Invalid)
}

async fn offer(client: &mut RelayClient<Channel>, directory: &Arc<Directory>) -> Result<Answer, Failure> {
    let (chunks, stream) = mpsc::channel(2);
    let reading = Arc::clone(directory);
    // Entries are read from the disk as they are sent.
    let read = tokio::task::spawn_blocking(move || send_chunks(&reading, &chunks));
    let reply = client.publish_directory(ReceiverStream::new(stream)).await;
    let read = read.await.or_exit(Exit::Unavailable, "read the directory")?;
    read.or_exit(Exit::BadData, "the operator's copy of the version cannot be read")?;
    let reply = reply.map_err(|s| failed("the relay does not take the directory", &s))?.into_inner();
    if let Some(refusal) = reply.refused {
        return Ok(Answer::Refused { refusal: Box::new(refusal), held: reply.held });
    }
    let logged = reply
        .logged
        .ok_or_else(|| Failure::new(Exit::BadData, anyhow!("the relay did not show the version in its ledger")))?;
    directory.verify_logged(&logged).or_exit(Exit::Invalid, "the relay's proof does not hold")?;
    Ok(Answer::Logged(logged.index))
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
