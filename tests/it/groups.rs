//! Receiver groups over the local API: kept by the node, bound to codes, meant as they are when a document is sent.

use tonic::Code;
use truc_proto::{
    Entry, Route,
    node_v1::{
        DeleteGroupRequest, ListGroupsRequest, PutGroupReply, PutGroupRequest, ReceiverGroup, send_reply::State,
    },
};

use crate::support::{Api, Letter, World, until, world::now};

const NODES: [(&str, &[&str]); 3] = [("N-G22", &["G22"]), ("N-H02", &["H02", "H05"]), ("N-H26", &["H26", "H26.18"])];

async fn put(api: &Api, owner: &str, name: &str, codes: &[&str]) -> Result<PutGroupReply, tonic::Status> {
    let codes = codes.iter().map(|&code| code.into()).collect();
    let request = PutGroupRequest { owner: owner.into(), name: name.into(), codes };
    Ok(api.raw.clone().put_group(request).await?.into_inner())
}

async fn list(api: &Api, owner: &str, name: &str) -> Result<Vec<ReceiverGroup>, tonic::Status> {
    let request = ListGroupsRequest { owner: owner.into(), name: name.into() };
    Ok(api.raw.clone().list_groups(request).await?.into_inner().groups)
}

fn to_group(key: &str, name: &str) -> Letter {
    Letter { groups: vec![name.into()], ..Letter::new(key, "G22", &[]) }
}

#[track_caller]
fn check_says(refused: &tonic::Status, code: Code, words: &[&str]) {
    assert_eq!(refused.code(), code, "{refused:?}");
    for words in words {
        assert!(refused.message().contains(words), "{words}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circular_goes_to_whoever_is_in_the_group_when_it_is_first_sent() {
    let mut world = World::start(&NODES).await;
    let api = world.api("N-G22");
    // The sender's own code may stand in its list; nothing is sent to it.
    let made = put(&api, "G22", " Tỉnh và thành ", &["H26", "H02", "G22", "H26"]).await.unwrap();
    let group = made.group.unwrap();
    assert!(made.created && group.count == 3, "{group:?}");
    assert_eq!(group.members.iter().map(|m| m.code.as_str()).collect::<Vec<_>>(), ["G22", "H02", "H26"]);
    let circular = Letter { recipients: vec!["H02".into(), "H05".into()], ..to_group("circular", "Tỉnh và thành") };
    let envelope = api.accepted(&circular).await;
    let sent = api.sent(&envelope).await.unwrap();
    assert_eq!(sent.recipients.iter().map(|r| r.recipient.as_str()).collect::<Vec<_>>(), ["H02", "H05", "H26"]);
    for (node, code) in [("N-H02", "H02"), ("N-H02", "H05"), ("N-H26", "H26")] {
        world.api(node).until_consigned(&envelope, code).await;
    }
    // The same letters in another Unicode form are the same name. Changed: meant as it is from now on.
    let other_form = "Ti\u{309}nh va\u{300} tha\u{300}nh";
    assert!(!put(&api, "G22", other_form, &["H26.18"]).await.unwrap().created);
    assert_eq!(api.accepted(&circular).await, envelope, "asked again it is what it was");
    let second = api.accepted(&to_group("second", "Tỉnh và thành")).await;
    assert_eq!(api.sent(&second).await.unwrap().recipients.len(), 1);
    world.api("N-H26").until_consigned(&second, "H26.18").await;
    // It outlives a restart.
    world.stop_node("N-G22").await;
    world.serve_node("N-G22").await;
    let api = world.api("N-G22");
    api.until_connected().await;
    let listed = list(&api, "", "").await.unwrap();
    assert_eq!((listed.len(), listed[0].count, listed[0].members.len()), (1, 1, 0));
    let one = list(&api, "G22", "Tỉnh và thành").await.unwrap();
    assert_eq!(one[0].members[0].code, "H26.18");
    assert!(!one[0].members[0].agency_name.is_empty() && one[0].members[0].unreachable.is_none());
    let gone = DeleteGroupRequest { owner: "G22".into(), name: "Tỉnh và thành".into() };
    assert!(api.raw.clone().delete_group(gone.clone()).await.unwrap().into_inner().existed);
    assert!(!api.raw.clone().delete_group(gone).await.unwrap().into_inner().existed);
    assert_eq!(api.accepted(&to_group("second", "Tỉnh và thành")).await, second, "asked again, the group is gone");
    let refused = api.send(&to_group("third", "Tỉnh và thành")).await.unwrap_err();
    check_says(&refused, Code::NotFound, &["G22 has no group", "không có nhóm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_may_not_be_is_refused_in_both_languages() {
    let world = World::start(&NODES).await;
    let (api, other) = (world.api("N-G22"), world.api("N-H26"));
    let long = "x".repeat(101);
    for name in ["", "  ", "hai\ndòng", &long] {
        check_says(&put(&api, "G22", name, &["H26"]).await.unwrap_err(), Code::InvalidArgument, &["100", "Tên nhóm"]);
    }
    check_says(&put(&api, "G22", "a", &[]).await.unwrap_err(), Code::InvalidArgument, &["1 to 1000", "xóa nhóm"]);
    let many: Vec<&str> = vec!["H26"; 1_001];
    check_says(&put(&api, "G22", "a", &many).await.unwrap_err(), Code::InvalidArgument, &["1 to 1000"]);
    let unknown = put(&api, "G22", "a", &["H26", "H27"]).await.unwrap_err();
    check_says(&unknown, Code::InvalidArgument, &["H27", "did you mean H26", "danh bạ"]);
    assert!(put(&api, "G22", "a", &["không phải mã"]).await.is_err());
    // Whose group: of the node's own codes, and of the token's.
    check_says(&put(&api, "H26", "a", &["H02"]).await.unwrap_err(), Code::PermissionDenied, &["does not serve H26"]);
    assert_eq!(list(&api, "G22", "").await.unwrap(), []);
    put(&other, "H26", "a", &["H02"]).await.unwrap();
    let codes = std::collections::BTreeSet::from(["H26.18".parse().unwrap()]);
    let path = world.node_folder("N-H26").join("keys/tokens");
    let text = truc_node::tokens::add_token(
        &path,
        "department",
        truc_proto::CallerRole::Officer,
        codes,
        truc_node::quota::Quota::default(),
        now(),
    );
    let department = Api::new(world.node_address("N-H26"), Some(text.unwrap().expose()));
    assert_eq!(list(&department, "", "").await.unwrap(), []);
    for refused in [
        list(&department, "H26", "").await.map(|_| ()).unwrap_err(),
        put(&department, "H26", "b", &["H02"]).await.map(|_| ()).unwrap_err(),
    ] {
        check_says(&refused, Code::PermissionDenied, &["may not act for H26"]);
    }
    check_says(&list(&api, "", "a").await.unwrap_err(), Code::InvalidArgument, &["`name` needs `owner`"]);
    // Another agency's group is nobody else's.
    let refused = api.send(&to_group("foreign", "a")).await.unwrap_err();
    check_says(&refused, Code::NotFound, &["G22 has no group"]);
    let many = Letter { groups: vec!["a".into(); 21], ..Letter::new("many", "G22", &[]) };
    check_says(&api.send(&many).await.unwrap_err(), Code::InvalidArgument, &["at most 20 groups", "nhóm"]);
    put(&api, "G22", "only me", &["G22"]).await.unwrap();
    let refused = api.send(&to_group("mine", "only me")).await.unwrap().refused.unwrap();
    assert!(refused.english.contains("no member but G22") && refused.vietnamese.contains("chính G22"));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_have_closed_are_all_named_with_their_successors() {
    let mut world = World::start(&NODES).await;
    let api = world.api("N-G22");
    put(&api, "G22", "tỉnh", &["H02", "H05", "H26", "H26.18"]).await.unwrap();
    for closes in ["H02", "H26.18"] {
        let mut entry = world
            .draft
            .entries()
            .filter_map(Entry::as_agency)
            .find(|agency| agency.code.as_str() == closes)
            .unwrap()
            .clone();
        entry.valid_to = Some(now());
        entry.successor = Some("H05".parse().unwrap());
        world.draft.put(Entry::Agency(entry)).unwrap();
    }
    world.publish_to(&["N-G22"]).await;
    let reply = until("both have closed", || async {
        let reply = api.send(&to_group("circular", "tỉnh")).await.unwrap();
        (reply.state() == State::Refused).then_some(reply)
    })
    .await;
    let refused = reply.refused.unwrap();
    assert_eq!((refused.reason.as_str(), refused.successor.as_str()), ("closed-code", "H05"));
    for words in ["H02 closed", "H26.18 closed", "change the group"] {
        assert!(refused.english.contains(words), "{words}: {}", refused.english);
    }
    assert!(refused.vietnamese.contains("hãy sửa nhóm") && refused.vietnamese.contains("H26.18"));
    let shown = list(&api, "G22", "tỉnh").await.unwrap();
    let unreachable: Vec<&str> =
        shown[0].members.iter().filter(|m| m.unreachable.is_some()).map(|m| m.code.as_str()).collect();
    assert_eq!(unreachable, ["H02", "H26.18"]);
    // A member on today's axis is not the group's matter: only a gateway passes on to it, and this node is none.
    let mut legacy = world.draft.entries().filter_map(Entry::as_agency).next().unwrap().clone();
    (legacy.code, legacy.route, legacy.node) = ("K47".parse().unwrap(), Route::Legacy, None);
    legacy.certificates.clear();
    world.draft.put(Entry::Agency(legacy)).unwrap();
    world.publish_to(&["N-G22"]).await;
    put(&api, "G22", "tỉnh", &["H05", "H26", "K47"]).await.unwrap();
    let refused = api.send(&to_group("circular", "tỉnh")).await.unwrap().refused.unwrap();
    assert!(refused.english.contains("K47") && !refused.english.contains("change the group"), "{refused:?}");
    put(&api, "G22", "tỉnh", &["H05", "H26"]).await.unwrap();
    let envelope = api.accepted(&to_group("circular", "tỉnh")).await;
    world.api("N-H26").until_consigned(&envelope, "H26").await;
}
