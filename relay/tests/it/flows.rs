use std::time::Duration;

use prost::Message as _;
use tokio_stream::StreamExt as _;
use truc_certs_dev::wait::PATIENCE;
use truc_evidence::{Leaf, verify_batch, verify_leaf};
use truc_proto::{
    Arrival, Digest, Entry, EnvelopeId, EventUri, Lane, NoteKey, Raw, Reason, SignedNote, UndeliveredStatement,
    WireLevel, relay_v1 as wire,
    relay_v1::relay_client::RelayClient,
    relay_v1::{offer_reply, upload_reply, watch_event::Event as Seen},
    wire_v1,
};
use truc_relay::clock;

use crate::{
    client::{Draft, Node, draft},
    world::{Channel, World},
};

pub(crate) type Client = RelayClient<Channel>;

#[track_caller]
pub(crate) fn accepted(reply: wire::OfferReply) -> wire_v1::ProvenLeaf {
    match reply.outcome.unwrap() {
        offer_reply::Outcome::Accepted(leaf) => leaf,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(reply: wire::OfferReply) -> wire_v1::Refusal {
    match reply.outcome.unwrap() {
        offer_reply::Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn reason(status: &tonic::Status) -> String {
    wire_v1::Refusal::decode(status.details()).unwrap().reason
}

pub(crate) async fn offer(client: &mut Client, offer: &wire::OfferRequest) -> wire::OfferReply {
    client.offer(offer.clone()).await.unwrap().into_inner()
}

fn big() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).take(3_000_000).collect()
}

fn upload_chunks(draft: &Draft, from: usize, to: usize) -> Vec<wire::UploadChunk> {
    let mut chunks: Vec<wire::UploadChunk> = draft.payload[from..to]
        .chunks(1 << 20)
        .map(|data| wire::UploadChunk { data: data.to_vec().into(), ..Default::default() })
        .collect();
    if chunks.is_empty() {
        chunks.push(wire::UploadChunk::default());
    }
    chunks[0].sender = draft.sender.clone();
    chunks[0].envelope = draft.envelope.to_string();
    chunks[0].offset = from as u64;
    chunks
}

async fn upload(client: &mut Client, draft: &Draft, from: usize, to: usize) -> upload_reply::Outcome {
    let chunks = upload_chunks(draft, from, to);
    client.upload(tokio_stream::iter(chunks)).await.unwrap().into_inner().outcome.unwrap()
}

pub(crate) async fn seen(client: &mut Client, mut enough: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
    let mut stream = client.watch(wire::WatchRequest {}).await.unwrap().into_inner();
    let mut all = Vec::new();
    // One end for the whole: statements come as long as anybody listens.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let next = tokio::time::timeout_at(end, stream.next()).await;
        let next = next.unwrap_or_else(|_| panic!("this came, and not what was waited for: {all:?}"));
        let event = next.unwrap().unwrap().event.unwrap();
        let stop = enough(&event);
        all.push(event);
        if stop {
            return all;
        }
    }
}

pub(crate) fn lease_of(draft: &Draft) -> wire::LeaseRequest {
    wire::LeaseRequest { sender: draft.sender.clone(), envelope: draft.envelope.to_string() }
}

pub(crate) async fn take_keys(
    client: &mut Client,
    draft: &Draft,
    acceptances: wire_v1::EvidenceBatch,
) -> Result<wire::TakeKeysReply, tonic::Status> {
    let request = wire::TakeKeysRequest {
        sender: draft.sender.clone(),
        envelope: draft.envelope.to_string(),
        acceptances: Some(acceptances),
    };
    client.take_keys(request).await.map(tonic::Response::into_inner)
}

pub(crate) async fn push(client: &mut Client, batch: wire_v1::EvidenceBatch) -> Vec<wire::RejectedItem> {
    let request = wire::PushEvidenceRequest { batches: vec![batch] };
    client.push_evidence(request).await.unwrap().into_inner().rejected
}

async fn undelivered(client: &mut Client) -> (usize, UndeliveredStatement, SignedNote) {
    let reply = client.undelivered(wire::UndeliveredRequest::default()).await.unwrap().into_inner();
    let note = SignedNote::parse(&reply.statement).unwrap();
    let text = note.text().trim_end().as_bytes().to_vec();
    (reply.envelopes.len(), Raw::<UndeliveredStatement>::parse(text).unwrap().into_value(), note)
}

/// The recipient's part up to the consignment.
pub(crate) async fn consign(client: &mut Client, node: &Node, draft: &Draft, offered: &wire::OfferRequest, code: &str) {
    client.lease(lease_of(draft)).await.unwrap();
    let keys = take_keys(client, draft, node.says(offered, code, EventUri::RelayAcceptance)).await.unwrap();
    assert_eq!(keys.key_envelopes.len(), 1);
    assert!(push(client, node.says(offered, code, EventUri::ContentConsignment)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_all_the_way_and_every_piece_of_evidence_is_proven() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, b) = (&nodes[0], &nodes[1]);
    let draft = draft(1, &["H26", "H37"], b"sealed bytes".to_vec());
    let offered = a.offer(&draft);
    let acceptance = accepted(offer(&mut clients[0], &offered).await);
    let proven = verify_leaf(&acceptance, &world.directory, None, clock()).unwrap();
    assert_eq!(proven.leaf.event(), Some(EventUri::RelayAcceptance));
    assert_eq!(accepted(offer(&mut clients[0], &offered).await).index, acceptance.index, "again: the one acceptance");

    let waiting = seen(&mut clients[1], |event| matches!(event, Seen::Waiting(_))).await;
    assert!(matches!(waiting.last(), Some(Seen::Waiting(w)) if w.envelope == draft.envelope.to_string()));
    let (count, statement, note) = undelivered(&mut clients[1]).await;
    let ids = [*draft.envelope.as_bytes()];
    assert_eq!((count, statement.count, statement.root), (1, 1, truc_ledger::merkle::MemTree::of(ids).root()));
    let Entry::Relay(relay) = &world.relay_entry else { panic!("the relay") };
    NoteKey::new(relay.origin.as_str(), relay.ledger_key).unwrap().verify(&note).unwrap();

    let lease = clients[1].lease(lease_of(&draft)).await.unwrap().into_inner();
    assert_eq!((lease.recipients.len(), lease.payload.as_ref()), (2, b"sealed bytes".as_slice()));
    assert_eq!(lease.preamble, offered.preamble);
    for code in ["H26", "H37"] {
        consign(&mut clients[1], b, &draft, &offered, code).await;
    }
    assert_eq!(undelivered(&mut clients[1]).await.1.count, 0);
    assert!(push(&mut clients[1], b.says(&offered, "H26", EventUri::ContentHandover)).await.is_empty());
    let second = push(&mut clients[1], b.says(&offered, "H26", EventUri::ContentHandover)).await;
    assert_eq!(second.len(), 1, "another hand-over of the same document is refused");

    // The sender's node hears of everything, and the relay's own acceptance becomes final.
    let (mut events, mut finals, mut numbers) = (0, 0, Vec::new());
    seen(&mut clients[0], |event| {
        if let Seen::Evidence(delivery) = event {
            let batch = delivery.batch.as_ref().unwrap();
            let proven = verify_batch(
                batch,
                &world.directory,
                Some(&delivery.from.parse().unwrap()),
                Some(&world.trust()),
                clock(),
            )
            .unwrap();
            numbers.push(delivery.number);
            for item in proven.items {
                match item.unwrap().leaf {
                    Some(Leaf::Event(_)) => events += 1,
                    None if proven.cms => finals += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        (events, finals) == (5, 1)
    })
    .await;
    clients[0].acknowledge_evidence(wire::AcknowledgeEvidenceRequest { numbers }).await.unwrap();
    let again = seen(&mut clients[0], |event| matches!(event, Seen::Undelivered(_))).await;
    assert!(!again.iter().any(|event| matches!(event, Seen::Evidence(_))), "acknowledged: nothing comes twice");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_is_uploaded_in_parts_resumed_over_a_restart_and_gone_when_delivered() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let draft = draft(1, &["H26"], big());
    let offered = nodes[0].offer(&draft);
    let need = offer(&mut clients[0], &offered).await.outcome.unwrap();
    assert_eq!(need, offer_reply::Outcome::NeedFrom(0));
    let part = upload(&mut clients[0], &draft, 0, 1 << 20).await;
    assert_eq!(part, upload_reply::Outcome::NeedFrom(1 << 20));
    world.stop().await;

    world.start().await;
    let mut clients = world.greet(&nodes).await;
    let status = clients[0].upload(tokio_stream::iter(upload_chunks(&draft, 1 << 20, 3_000_000))).await.unwrap_err();
    assert_eq!(reason(&status), "offer-first");
    let need = offer(&mut clients[0], &offered).await.outcome.unwrap();
    assert_eq!(need, offer_reply::Outcome::NeedFrom(1 << 20), "what came before the restart is not sent again");
    let wrong = upload(&mut clients[0], &draft, 5, 10).await;
    assert_eq!(wrong, upload_reply::Outcome::NeedFrom(1 << 20));
    let done = upload(&mut clients[0], &draft, 1 << 20, 3_000_000).await;
    assert!(matches!(done, upload_reply::Outcome::Accepted(_)), "{done:?}");

    clients[1].lease(lease_of(&draft)).await.unwrap();
    let request = wire::PayloadRequest {
        sender: draft.sender.clone(),
        envelope: draft.envelope.to_string(),
        offset: 1_000_000,
        length: 0,
    };
    let mut stream = clients[1].payload(request).await.unwrap().into_inner();
    let mut got = Vec::new();
    while let Some(chunk) = stream.next().await {
        got.extend_from_slice(&chunk.unwrap().data);
    }
    assert_eq!(got, draft.payload[1_000_000..]);
    let blob = world
        .relay_dir()
        .join("store/b")
        .join(&Digest::of(&draft.payload).to_string()[..2])
        .join(Digest::of(&draft.payload).to_string());
    assert!(blob.exists());
    consign(&mut clients[1], &nodes[1], &draft, &offered, "H26").await;
    world.stop().await;
    assert!(!blob.exists(), "nobody needs the payload any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_the_same_id_is_refused_with_evidence() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let first = draft(1, &["H26"], b"one".to_vec());
    accepted(offer(&mut clients[0], &nodes[0].offer(&first)).await);
    let second = Draft { payload: b"two".to_vec(), ..first };
    let refusal = refused(offer(&mut clients[0], &nodes[0].offer(&second)).await);
    assert_eq!(refusal.reason, Reason::IdReused.as_str());
    let proven = verify_leaf(&refusal.evidence.unwrap(), &world.directory, None, clock()).unwrap();
    assert_eq!(proven.leaf.event(), Some(EventUri::RelayRejection));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_travel_is_refused_and_says_why() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, client) = (&nodes[0], &mut clients[0]);
    let good = |n| draft(n, &["H26"], b"x".to_vec());
    let day = Duration::from_secs(86_400);

    let refusal = refused(offer(client, &a.offer(&draft(1, &["H02"], b"x".to_vec()))).await);
    assert_eq!((refusal.reason.as_str(), refusal.successor.as_str()), ("closed-code", "H05"));
    assert!(refusal.evidence.is_some());
    let refusal = refused(offer(client, &a.offer(&draft(2, &["H27"], b"x".to_vec()))).await);
    assert_eq!(refusal.reason, "unknown-code");
    assert!(refusal.nearest.contains(&"H26".to_owned()), "{:?}", refusal.nearest);
    let refusal = refused(offer(client, &a.offer(&Draft { lane: Lane::Classified, ..good(3) })).await);
    assert_eq!((refusal.reason.as_str(), refusal.evidence), ("wrong-lane", None));
    for (n, level) in [(4, WireLevel::TuyetMat), (5, WireLevel::Mat)] {
        let refusal = refused(offer(client, &a.offer(&Draft { level, ..good(n) })).await);
        assert_eq!(refusal.reason, "level-refused");
        assert!(refusal.evidence.is_some());
    }
    let past = clock().before(day);
    let old = Draft { created: past, envelope: EnvelopeId::new(past, [6; 10]), ..good(6) };
    let refusal = refused(offer(client, &a.offer(&old)).await);
    assert_eq!(refusal.reason, "expired");
    assert!(refusal.evidence.is_some());
    let past = clock().before(day * 31);
    let old = Draft { created: past, envelope: EnvelopeId::new(past, [7; 10]), life: day * 30, ..good(7) };
    assert_eq!(refused(offer(client, &a.offer(&old)).await).reason, "too-old");
    let ahead = clock() + day;
    let early = Draft { created: ahead, envelope: EnvelopeId::new(ahead, [8; 10]), ..good(8) };
    assert_eq!(refused(offer(client, &a.offer(&early)).await).reason, "from-future");
    // A code of another node; another node's submission; a swapped key envelope; another payload; another preamble.
    let stolen = Draft { sender: "H37".into(), ..good(9) };
    assert_eq!(refused(offer(client, &a.offer(&stolen)).await).reason, "not-entitled");
    let foreign = nodes[1].offer(&Draft { sender: "H26".into(), recipients: vec!["G22".into()], ..good(10) });
    assert_eq!(refused(offer(client, &foreign).await).reason, "not-entitled");
    let mut swapped = a.offer(&draft(11, &["H26", "H37"], b"x".to_vec()));
    swapped.key_envelopes[1].cms = swapped.key_envelopes[0].cms.clone();
    assert_eq!(refused(offer(client, &swapped).await).reason, "invalid");
    let mut other = a.offer(&good(12));
    other.payload = b"y".to_vec().into();
    assert_eq!(refused(offer(client, &other).await).reason, "invalid");
    let mut other = a.offer(&good(13));
    other.preamble = a.offer(&good(14)).preamble;
    assert_eq!(refused(offer(client, &other).await).reason, "invalid");
    assert_eq!(undelivered(&mut clients[1]).await.1.count, 0, "nothing of it waits for anybody");
    let found = std::fs::read_dir(world.relay_dir().join("store/b")).map_or(0, Iterator::count);
    assert_eq!(found, 0, "nothing of it is kept");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_envelopes_are_handed_out_against_the_right_acceptance_alone() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, b) = (&nodes[0], &nodes[1]);
    let first = draft(1, &["H26", "H37"], b"x".to_vec());
    let offered = a.offer(&first);
    accepted(offer(&mut clients[0], &offered).await);
    let nothing = take_keys(&mut clients[1], &first, wire_v1::EvidenceBatch::default()).await.unwrap_err();
    assert_eq!(reason(&nothing), "invalid");
    let wrong_event = b.says(&offered, "H26", EventUri::ContentConsignment);
    assert_eq!(reason(&take_keys(&mut clients[1], &first, wrong_event).await.unwrap_err()), "invalid");
    let other_key =
        b.says_with(&offered, "H26", EventUri::RelayAcceptance, |event| event.key_envelope = Some(Digest::of(b"?")));
    assert_eq!(reason(&take_keys(&mut clients[1], &first, other_key).await.unwrap_err()), "invalid");
    let other_content =
        b.says_with(&offered, "H26", EventUri::RelayAcceptance, |event| event.payload = Some(Digest::of(b"?")));
    assert_eq!(reason(&take_keys(&mut clients[1], &first, other_content).await.unwrap_err()), "invalid");
    let stranger = a.says_with(&offered, "G22", EventUri::RelayAcceptance, |event| event.key_envelope = None);
    assert_eq!(reason(&take_keys(&mut clients[0], &first, stranger).await.unwrap_err()), "not-waiting");
    let keys = take_keys(&mut clients[1], &first, b.says(&offered, "H26", EventUri::RelayAcceptance)).await.unwrap();
    assert_eq!(
        keys.key_envelopes,
        [wire::KeyEnvelope { recipient: "H26".into(), cms: b"key for H26".to_vec().into() }]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_before_hello_and_to_nobody_that_is_not_listed() {
    let (mut world, nodes, _) = World::ready().await;
    let mut client = world.connect(&nodes[0].tls).await;
    let status = client.checkpoint(wire::CheckpointRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (tonic::Code::FailedPrecondition, "hello-first"));
    let wrong = wire::HelloRequest { lane: "classified".into(), ..nodes[0].hello() };
    assert_eq!(reason(&client.hello(wrong).await.unwrap_err()), "wrong-lane");
    let other = wire::HelloRequest { node: "N-B".into(), ..nodes[0].hello() };
    assert_eq!(reason(&client.hello(other).await.unwrap_err()), "not-entitled");
    let mine = nodes[1].hello().mine; // the checkpoint of another ledger
    assert_eq!(reason(&client.hello(wire::HelloRequest { mine, ..nodes[0].hello() }).await.unwrap_err()), "invalid");
    client.hello(nodes[0].hello()).await.unwrap();
    client.checkpoint(wire::CheckpointRequest::default()).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_store_falls_silent_when_a_node_shows_what_it_holds() {
    let (mut world, nodes, clients) = World::ready().await;
    drop(clients);
    world.stop().await;
    let copy = world.folder.path().join("copy");
    copy_dir(&world.relay_dir().join("store"), &copy);
    world.start().await;
    let mut clients = world.greet(&nodes).await;
    let held = accepted(offer(&mut clients[0], &nodes[0].offer(&draft(1, &["H26"], b"x".to_vec()))).await).checkpoint;
    drop(clients);
    world.stop().await;
    std::fs::remove_dir_all(world.relay_dir().join("store")).unwrap();
    copy_dir(&copy, &world.relay_dir().join("store"));
    world.start().await;
    let mut client = world.connect(&nodes[0].tls).await;
    let status = client.hello(wire::HelloRequest { held_of_you: held, ..nodes[0].hello() }).await.unwrap_err();
    assert_eq!(reason(&status), "relay-behind");
    let mut other = world.connect(&nodes[1].tls).await;
    other.hello(nodes[1].hello()).await.unwrap_err();
    world.stop().await;
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_index_and_snapshots_keeps_everything() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, b) = (&nodes[0], &nodes[1]);
    let (open, done) = (draft(1, &["H26"], b"open".to_vec()), draft(2, &["H37"], b"done".to_vec()));
    let (open_offer, done_offer) = (a.offer(&open), a.offer(&done));
    let first = accepted(offer(&mut clients[0], &open_offer).await);
    let second = accepted(offer(&mut clients[0], &done_offer).await);
    consign(&mut clients[1], b, &done, &done_offer, "H37").await;
    drop(clients);
    world.stop().await;
    for lost in ["index", "store/snapshots"] {
        let _ = std::fs::remove_dir_all(world.relay_dir().join(lost));
    }
    world.start().await;
    let mut clients = world.greet(&nodes).await;
    assert_eq!(accepted(offer(&mut clients[0], &open_offer).await).index, first.index);
    assert_eq!(accepted(offer(&mut clients[0], &done_offer).await).index, second.index);
    assert_eq!(undelivered(&mut clients[1]).await.1.count, 1);
    let key = |draft: &Draft| wire::EnvelopeKey { sender: "G22".into(), envelope: draft.envelope.to_string() };
    let strange = draft(9, &["H26"], b"x".to_vec());
    let request = wire::ReconcileRequest { open: vec![key(&open), key(&done), key(&strange)] };
    let unknown = clients[0].reconcile(request).await.unwrap().into_inner().unknown;
    assert_eq!(unknown, [key(&strange)]);
    world.stop().await;
    truc_relay::reindex(&world.settings()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn finalisations_go_to_the_other_side_and_only_under_the_certificate() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, b) = (&nodes[0], &nodes[1]);
    let sent = draft(1, &["H26"], b"x".to_vec());
    let offered = a.offer(&sent);
    accepted(offer(&mut clients[0], &offered).await);
    let submission = offered.submission.as_ref().unwrap();
    let unsigned = {
        let mut batch = a.finalise(&submission.leaf, submission.index, sent.envelope);
        batch.checkpoint = a.ledger.head().note.to_string().into_bytes().into();
        batch
    };
    let rejected = push(&mut clients[0], unsigned).await;
    assert_eq!(rejected[0].refusal.as_ref().unwrap().reason, "certificate-refused");
    let batch = a.finalise(&submission.leaf, submission.index, sent.envelope);
    assert!(push(&mut clients[0], batch.clone()).await.is_empty());
    let seen = seen(&mut clients[1], |event| matches!(event, Seen::Evidence(_))).await;
    assert!(
        matches!(seen.last(), Some(Seen::Evidence(delivery)) if delivery.batch.as_ref() == Some(&batch) && delivery.from == "N-A")
    );
    let strange = a.finalise(&submission.leaf, submission.index, EnvelopeId::new(clock(), [99; 10]));
    assert_eq!(push(&mut clients[0], strange).await.len(), 1, "an envelope that nobody knows");
    let not_ours = b.batch(Arrival {
        leaf: Digest::of(b"x"),
        node: b.id.clone(),
        envelope: sent.envelope,
        time: clock(),
        late: false,
    });
    assert_eq!(push(&mut clients[1], not_ours).await.len(), 1, "a node writes no arrivals");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_follows_is_served_proven_and_a_forged_one_is_refused() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let mut forged = world.next_directory(|_| ()).read_signed().unwrap();
    forged.cms = world.directory.cms().clone();
    assert_eq!(world.publish(forged).await.refused.unwrap().reason, "invalid");
    let waiting = draft(1, &["H37"], b"x".to_vec());
    accepted(offer(&mut clients[0], &nodes[0].offer(&waiting)).await);
    let node = nodes[0].id.clone();
    let second = world.next_directory(|entries| entries.push(crate::world::agency("H53", Some(&node), clock())));
    let reply = world.publish(second.read_signed().unwrap()).await;
    second.verify_logged(&reply.logged.unwrap()).unwrap();
    let mut stream = clients[1].directory(wire::DirectoryRequest::default()).await.unwrap().into_inner();
    let (mut entries, mut logged) = (Vec::new(), None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        entries.extend(chunk.entries);
        logged = chunk.logged.or(logged);
    }
    assert_eq!(entries, second.read_signed().unwrap().entries);
    second.verify_logged(&logged.unwrap()).unwrap();
    let stale = world.publish(world.directory.read_signed().unwrap()).await;
    assert!(stale.refused.is_some(), "an older version does not come back");
    assert_eq!(stale.held, 2, "its operator is told which one the next must follow");
    assert_eq!(differences(&mut clients[1], 1).await, (1, vec!["agency/H53".to_owned()], vec![]));
    world.stop().await;
    world.start().await;
    let mut clients = world.greet(&nodes).await;
    let step = |held| wire::DirectoryRequest { version: 0, held, step: true };
    assert_eq!(fetched(&mut clients[1], step(1)).await, (1, vec!["agency/H53".to_owned()], vec![]));
    // What changed is known after a restart, too; from a version that never was, the whole is sent.
    assert_eq!(differences(&mut clients[1], 1).await, (1, vec!["agency/H53".to_owned()], vec![]));
    for held in [0, 2, 9] {
        let (base, entries, removed) = differences(&mut clients[1], held).await;
        assert_eq!((base, entries.len(), removed.len()), (0, second.size(), 0), "{held}");
    }
    accepted(
        offer(&mut clients[1], &nodes[1].offer(&Draft { sender: "H26".into(), ..draft(2, &["H53"], b"x".to_vec()) }))
            .await,
    );
    world.stop().await;
}

/// Base, keys of the entries sent, keys said to be gone.
async fn differences(
    client: &mut wire::relay_client::RelayClient<tonic::transport::Channel>,
    held: u64,
) -> (u64, Vec<String>, Vec<String>) {
    fetched(client, wire::DirectoryRequest { version: 0, held, step: false }).await
}

async fn fetched(
    client: &mut wire::relay_client::RelayClient<tonic::transport::Channel>,
    request: wire::DirectoryRequest,
) -> (u64, Vec<String>, Vec<String>) {
    let mut stream = client.directory(request).await.unwrap().into_inner();
    let (mut base, mut entries, mut removed) = (0, Vec::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        base = base.max(chunk.base);
        let keys =
            chunk.entries.into_iter().map(|bytes| truc_proto::Raw::<truc_proto::Entry>::parse(bytes).unwrap().key());
        entries.extend(keys);
        removed.extend(chunk.removed);
    }
    (base, entries, removed)
}
