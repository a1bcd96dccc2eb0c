//! The main job over real sockets: send, consign, fetch, confirm, receipts.

use truc_proto::node_v1::fetch_request::What;

use crate::support::{Letter, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_from_one_node_to_another_and_all_its_receipts_verify_offline() {
    let world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    let letter = Letter::new("first", "G22", &["H26"]);

    let envelope = sender.accepted(&letter).await;
    let item = recipient.until_consigned(&envelope, "H26").await;
    assert_eq!((item.sender.as_str(), item.subject.as_str()), ("G22", letter.subject.as_str()));
    assert_eq!((item.verdict.as_str(), item.confirmed), ("good", false), "{item:?}");

    let (name, bytes) = &letter.files[0];
    assert_eq!(&recipient.attachment(&envelope, "H26", name).await, bytes);
    let container = recipient.fetch(&envelope, "H26", What::Container(true)).await.unwrap();
    assert_eq!(container.len() as u64, item.container_length);

    assert!(recipient.confirm(&envelope, "H26").await.first);
    assert!(!recipient.confirm(&envelope, "H26").await.first, "a second confirmation is not a second hand-over");
    sender.until_state(&envelope, "H26", "handed-over").await;

    let at_sender = world.all_receipts_valid("N-G22", &envelope, 5).await;
    let names: Vec<_> = at_sender.iter().map(|(event, role, _)| (event.as_str(), role.as_str())).collect();
    let expected = [
        ("ContentConsignment", "recipient"),
        ("ContentHandover", "recipient"),
        ("RelayAcceptance", "recipient"),
        ("RelayAcceptance", "relay"),
        ("SubmissionAcceptance", "sender"),
    ];
    assert_eq!(names, expected);
}
