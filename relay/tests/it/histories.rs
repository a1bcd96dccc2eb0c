//! A node's ledger only grows, and the relay has it proven: two histories are found out even where no two checkpoints have one size.

use truc_certs_dev::wait::until_async;
use truc_evidence::{ForkFile, ForkKind, fork_file_name};
use truc_ledger::Position;
use truc_proto::Checkpoint;
use truc_relay::{records::Body, store::Store as _};

use crate::{
    client::{Draft, draft},
    flows::{accepted, offer, reason},
    world::World,
};

fn size_of(note: &[u8]) -> u64 {
    Checkpoint::parse_note(note).unwrap().1.size
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_proves_once_that_all_its_checkpoints_are_of_one_history() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, client) = (&nodes[0], &mut clients[0]);
    for n in 1..=3 {
        accepted(offer(client, &a.offer(&draft(n, &["H26"], b"x".to_vec()))).await);
    }
    a.append(b"not shown to anybody");
    let wanted = client.prove_history(a.history(&[])).await.unwrap().into_inner().wanted;
    assert_eq!(wanted, [1, 2, 3], "every checkpoint under an offer");
    let partly = client.prove_history(a.history(&[1, 3])).await.unwrap().into_inner().wanted;
    assert_eq!(partly, [2]);
    assert!(client.prove_history(a.history(&wanted)).await.unwrap().into_inner().wanted.is_empty());
    assert!(client.prove_history(a.history(&[])).await.unwrap().into_inner().wanted.is_empty(), "once is enough");

    // Over a restart: what was proven is, and what comes next is proven from there on.
    world.stop().await;
    world.start().await;
    let mut clients = world.greet(&nodes).await;
    let client = &mut clients[0];
    let wanted = client.prove_history(a.history(&[])).await.unwrap().into_inner().wanted;
    assert_eq!(wanted, [3], "Hello showed the newest one");
    assert!(client.prove_history(a.history(&wanted)).await.unwrap().into_inner().wanted.is_empty());
    // Somebody else's checkpoint, and one that is none.
    let foreign = client.prove_history(nodes[1].history(&[])).await.unwrap_err();
    assert_eq!(reason(&foreign), "invalid");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_two_histories_cannot_prove_them_and_is_heard_no_more() {
    let (mut world, mut nodes, mut clients) = World::ready().await;
    accepted(offer(&mut clients[0], &nodes[0].offer(&draft(1, &["H26"], b"one".to_vec()))).await);
    let first = nodes[0].ledger.head().note.to_string().into_bytes();

    // Another ledger under the same key, grown past the first: no two checkpoints that it shows have one size.
    nodes[0].forget(&world.folder.path().join("another"));
    for n in 0..5_u8 {
        nodes[0].append(&[n]);
    }
    accepted(offer(&mut clients[0], &nodes[0].offer(&draft(2, &["H26"], b"two".to_vec()))).await);
    let client = &mut clients[0];
    let wanted = client.prove_history(nodes[0].history(&[])).await.unwrap().into_inner().wanted;
    assert_eq!(wanted, [1]);
    let shown = nodes[0].history(&wanted);
    let refused = client.prove_history(shown.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "forked");
    assert!(refused.message().contains("hai lịch sử"), "in both languages: {}", refused.message());
    let refused = client.offer(nodes[0].offer(&draft(3, &["H26"], b"three".to_vec()))).await.unwrap_err();
    assert_eq!(reason(&refused), "forked", "nothing more is accepted from it");
    let other = Draft { sender: "H26".into(), ..draft(4, &["G22"], b"four".to_vec()) };
    accepted(offer(&mut clients[1], &nodes[1].offer(&other)).await); // others go on

    // Also after a restart; and both checkpoints are in the journal.
    drop(clients);
    world.stop().await;
    world.start().await;
    let mut client = world.connect(&nodes[0].tls).await;
    assert_eq!(reason(&client.hello(nodes[0].hello()).await.unwrap_err()), "forked");
    drop(client);
    // And in a file that can be handed on, made at the latest at the start.
    let key = nodes[0].ledger.public_key().clone();
    let file = world.folder.path().join("relay/store/forks").join(fork_file_name(key.name()));
    let bytes = until_async("the file", || async { std::fs::read(&file) }).await;
    let proven = ForkFile::parse(&bytes).unwrap().judge(&key).unwrap();
    assert_eq!(proven.kind, ForkKind::Unproven, "no two have one size: to others it proves that both were signed");
    world.stop().await;
    let store = world.store();
    let records = (0..store.recovered().next_position.0).map(|at| store.read(Position(at)).unwrap().body);
    let forks: Vec<_> =
        records.filter_map(|body| if let Body::Forked(fork) = body { Some(fork) } else { None }).collect();
    let [fork] = &forks[..] else { panic!("{} proofs of a fork", forks.len()) };
    assert_eq!((fork.node.as_str(), &fork.shown), ("N-A", &shown.checkpoint));
    let Body::Accepted(held) = store.read(Position(fork.held_at)).unwrap().body else { panic!("the offer") };
    let body: truc_relay::records::AcceptedBody = prost::Message::decode(held.body).unwrap();
    let held = body.submission.unwrap().checkpoint;
    assert_eq!((size_of(&held), held.as_ref()), (1, first.as_slice()));
    store.close();
}
