//! What administrators do to a node stands in its ledger.

use truc_evidence::Leaf;
use truc_node::{
    administration::{at_the_machine, done, leave},
    records::Body,
};
use truc_proto::{AdminAction, AdminSubject, Administration};

use crate::world::{World, until};

/// The ledger's administration leaves, the newest first.
#[expect(clippy::panic, reason = "what a test helper cannot do fails the test")]
pub(crate) async fn log(world: &World, id: &str) -> Vec<Administration> {
    let shell = world.shell(id);
    let mut next = shell.engine.ask(|core| core.newest_deed()).await.unwrap();
    let mut found = Vec::new();
    while let Some(position) = next {
        let (body, leaf) = shell.bodies().body(position).unwrap();
        let Body::Administered(record) = body else { panic!("{body:?}") };
        let Leaf::Administration(leaf) = Leaf::parse(leaf.unwrap()).unwrap() else { panic!("another leaf") };
        found.push(leaf.into_value());
        next = record.previous;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_at_the_machine_is_a_leaf_once_the_node_runs_and_a_broken_note_is_put_aside() {
    let mut world = World::start().await;
    world.stop_node("N-A").await;
    let (notes, id) = (world.settings("N-A").notes(), world.settings("N-A").id.clone());
    let deed = |name: &str, at| {
        let who = at_the_machine(Some("lan".into()));
        done(AdminAction::TokenMade, AdminSubject::named(name), who, "phần mềm mới".into(), at)
    };
    let stopped = truc_node::shell::clock::now();
    leave(&notes, &id, &deed("first", stopped)).unwrap();
    std::fs::write(notes.join("00000000000000000000-a.note"), "{").unwrap();
    world.start_node("N-A").await;
    let written = until("the note is in the ledger", || log(&world, "N-A"), |log| !log.is_empty()).await;
    assert_eq!((written[0].subject.name.as_str(), written[0].done), ("first", Some(stopped)));
    assert_eq!((written[0].who.name.as_str(), &written[0].node), ("lan", &id));
    let left = || async {
        let names = std::fs::read_dir(&notes).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    until("what was written is removed", left, |left| *left == ["00000000000000000000-a.refused"]).await;
    // While it runs, too; and nothing is written twice.
    leave(&notes, &id, &deed("second", stopped)).unwrap();
    let written = until("the second is written", || log(&world, "N-A"), |log| log.len() > 1).await;
    let names: Vec<&str> = written.iter().map(|done| done.subject.name.as_str()).collect();
    assert_eq!(names, ["second", "first"]);
}
