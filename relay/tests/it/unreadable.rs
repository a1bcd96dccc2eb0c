//! A disk that does not give back what was written: what the relay cannot look up it does not refuse for good.

use std::{
    fs,
    path::{Path, PathBuf},
};

use truc_proto::{EventUri, Reason, relay_v1::watch_event::Event as Seen};

use crate::{
    client::draft,
    flows::{accepted, consign, offer, push, seen},
    world::World,
};

/// The file below `folder` that holds `bytes`, and where.
fn place_of(folder: &Path, bytes: &[u8]) -> Option<(PathBuf, usize)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            return place_of(&path, bytes);
        }
        let file = fs::read(&path).unwrap();
        Some((path, file.windows(bytes.len()).position(|window| window == bytes)?))
    })
}

fn turn_over(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let at = u64::try_from(at).unwrap();
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_proof_whose_envelope_cannot_be_read_is_asked_for_again_and_passed_on_then() {
    let (mut world, nodes, mut clients) = World::ready().await;
    let (a, b) = (&nodes[0], &nodes[1]);
    let document = draft(1, &["H26"], b"sealed bytes".to_vec());
    let offered = a.offer(&document);
    accepted(offer(&mut clients[0], &offered).await);
    consign(&mut clients[1], b, &document, &offered, "H26").await;
    let handed_over = b.says(&offered, "H26", EventUri::ContentHandover);
    let (leaf, index) = (handed_over.items[0].leaf.clone(), handed_over.items[0].index);
    assert!(push(&mut clients[1], handed_over).await.is_empty());

    // Complete now: whose it was stands in the journal alone.
    let (journal, at) = place_of(&world.relay_dir(), &offered.preamble).expect("the relay journals the preamble");
    turn_over(&journal, at);
    let finally = b.finalise(&leaf, index, document.envelope);
    let refused = push(&mut clients[1], finally.clone()).await;
    let reason = refused[0].refusal.clone().unwrap().reason;
    assert!(reason.parse::<Reason>().is_err(), "a word of the closed list would end it for ever: {reason}");

    turn_over(&journal, at);
    assert!(push(&mut clients[1], finally).await.is_empty());
    let of_b = |event: &Seen| match event {
        Seen::Evidence(delivery) if delivery.from == b.id.as_str() => {
            delivery.batch.as_ref().is_some_and(|batch| batch.items.iter().any(|item| item.leaf.is_empty()))
        }
        _ => false,
    };
    seen(&mut clients[0], of_b).await;
    drop(clients);
    world.stop().await;
}
