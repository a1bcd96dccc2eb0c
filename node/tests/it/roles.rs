//! What each role may do, asked as its user would.

use std::collections::BTreeMap;

use tonic::{Code, Request, Status};
use truc_node::{
    administration::{at_the_machine, done, leave},
    quota::Quota,
    tokens::add_token,
};
use truc_proto::{
    AdminAction, AdminSubject, CallerRole,
    node_v1::{self, AdministrationLogRequest, oversight_client::OversightClient},
};

use crate::{
    administration::log,
    http::request,
    world::{Client, World, document, until},
};

/// A token of each role at `N-A`.
fn tokens(world: &World) -> BTreeMap<CallerRole, String> {
    let path = &world.settings("N-A").tokens;
    let made = CallerRole::ALL.iter().map(|role| {
        let now = truc_node::shell::clock::now();
        let text = add_token(path, &format!("of-{role}"), *role, Default::default(), Quota::default(), now).unwrap();
        (*role, text.expose().to_owned())
    });
    made.collect()
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// `is_asked`: the node went on to what was asked, whatever came of it.
fn is_asked<T>(answer: Result<T, Status>) -> bool {
    match answer {
        Ok(_) => true,
        Err(status) if status.code() == Code::PermissionDenied => {
            let text = status.message();
            assert!(
                text.contains("--role") && text.contains(" / Thẻ"),
                "who makes such a token, in both languages: {text}"
            );
            false
        }
        Err(_) => true,
    }
}

async fn sends(a: &mut Client, token: &str) -> bool {
    is_asked(a.send(with(token, tokio_stream::iter(document("k", "G22", &["H26"], "x", &[])))).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_what_the_table_says_and_is_told_who_may_where_it_may_not() {
    let world = World::start().await;
    let tokens = tokens(&world);
    let mut a = world.client("N-A").await;
    let mut oversight = OversightClient::new(world.channel("N-A").await);
    let mut seen = Vec::new();
    for (role, token) in &tokens {
        let envelope = "01890000-0000-7000-8000-000000000000".to_owned();
        let fetch = node_v1::FetchRequest { envelope: envelope.clone(), recipient: "G22".into(), ..Default::default() };
        let receipts = node_v1::ListReceiptsRequest { envelope, ..Default::default() };
        let days =
            node_v1::StatisticsRequest { from: "2026-11-01".into(), to: "2026-11-02".into(), ..Default::default() };
        let asked = [
            sends(&mut a, token).await,
            is_asked(a.fetch(with(token, fetch)).await),
            is_asked(a.list_outbox(with(token, node_v1::ListOutboxRequest::default())).await),
            is_asked(a.list_receipts(with(token, receipts)).await),
            is_asked(a.statistics(with(token, days)).await),
            is_asked(a.list_groups(with(token, node_v1::ListGroupsRequest::default())).await),
            is_asked(oversight.administration_log(with(token, AdministrationLogRequest::default())).await),
            is_asked(a.status(with(token, node_v1::StatusRequest::default())).await),
        ];
        seen.push((role.as_str(), asked.map(|asked| if asked { 'x' } else { '-' }).iter().collect::<String>()));
        // The same over REST.
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        for (path, told) in [("outbox", asked[2]), ("groups", asked[5]), ("status", true)] {
            let answer = request(world.rest("N-A"), "GET", &format!("/api/v1/{path}"), &headers, b"").await;
            assert_eq!(answer.status, if told { 200 } else { 403 }, "{role} {path}");
            if !told {
                assert_eq!(answer.json()["type"], "urn:truc:problem:wrong-role");
            }
        }
        let own = request(world.rest("N-A"), "GET", "/api/v1/token", &headers, b"").await;
        assert_eq!(own.json()["role"], role.as_str());
    }
    let expected =
        [("system", "xxx----x"), ("officer", "xxxxxx-x"), ("cipher-admin", "------xx"), ("auditor", "--xxx-xx")];
    assert_eq!(seen, expected.map(|(role, asked)| (role, asked.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auditors_read_what_was_done_page_by_page_and_since_when() {
    let world = World::start().await;
    let auditor = tokens(&world).remove(&CallerRole::Auditor).unwrap();
    let (notes, id) = (world.settings("N-A").notes(), &world.settings("N-A").id);
    for n in 0..3 {
        let who = at_the_machine(Some("lan".into()));
        let now = truc_node::shell::clock::now();
        leave(&notes, id, &done(AdminAction::TokenMade, AdminSubject::named(format!("t{n}")), who, "thử".into(), now))
            .unwrap();
    }
    let oversight = OversightClient::new(world.channel("N-A").await);
    let ask = |request: AdministrationLogRequest| {
        let (mut oversight, token) = (oversight.clone(), auditor.clone());
        async move { oversight.administration_log(with(&token, request)).await.map(tonic::Response::into_inner) }
    };
    let all = || async { ask(AdministrationLogRequest::default()).await.unwrap().entries };
    let all = until("all three are written down", all, |entries| entries.len() == 3).await;
    let first = ask(AdministrationLogRequest { limit: 2, ..Default::default() }).await.unwrap();
    assert_eq!(first.entries, all[..2]);
    let rest = ask(AdministrationLogRequest { from: first.next, ..Default::default() }).await.unwrap();
    assert_eq!((rest.entries.as_slice(), rest.next), (&all[2..], None));
    assert_eq!(
        (all[0].who.as_str(), all[0].who_role.as_str(), all[0].action.as_str()),
        ("lan", "cipher-admin", "token-made")
    );
    assert!(!all[0].done.is_empty() && all[0].leaf_hash.len() == 32 && all[0].vietnamese.contains("thẻ"));
    let none = ask(AdministrationLogRequest { since: "2100-01-01T00:00:00Z".into(), ..Default::default() }).await;
    assert_eq!(none.unwrap(), node_v1::AdministrationLogReply::default());
    // A place that no answer gave leads nowhere.
    for from in [0, u64::MAX] {
        let refused = ask(AdministrationLogRequest { from: Some(from), ..Default::default() }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let bad = ask(AdministrationLogRequest { since: "yesterday".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_persons_are_wanted_a_second_one_approves_and_the_same_command_is_carried_out_once() {
    let mut world = World::start().await;
    world.stop_node("N-A").await;
    world.two_persons("N-A", &[AdminAction::TokenWithdrawn]);
    world.start_node("N-A").await;
    let add = |name: &str, role| {
        let now = truc_node::shell::clock::now();
        let path = &world.settings("N-A").tokens;
        add_token(path, name, role, Default::default(), Quota::default(), now).unwrap().expose().to_owned()
    };
    let (lan, minh) = (add("lan", CallerRole::CipherAdmin), add("minh", CallerRole::CipherAdmin));
    let (lost, other) = (add("lost", CallerRole::System), add("other", CallerRole::Officer));
    let oversight = OversightClient::new(world.channel("N-A").await);
    let withdraw = |token: &str| {
        let message = node_v1::WithdrawTokenRequest { name: "lost".into(), why: "máy bị mất".into() };
        let (mut oversight, request) = (oversight.clone(), with(token, message));
        async move { oversight.withdraw_token(request).await.map(|_| ()) }
    };
    let answer = |token: &str, number, approve| {
        let message = node_v1::AnswerApprovalRequest { number, approve, why: "đã gọi hỏi".into() };
        let (mut oversight, request) = (oversight.clone(), with(token, message));
        async move { oversight.answer_approval(request).await.map(|_| ()) }
    };
    let pending = || {
        let (mut oversight, request) = (oversight.clone(), with(&minh, node_v1::PendingApprovalsRequest {}));
        async move { oversight.pending_approvals(request).await.unwrap().into_inner().items }
    };
    let lets_in = async |token: &str| {
        let mut a = world.client("N-A").await;
        a.list_outbox(with(token, node_v1::ListOutboxRequest::default())).await.is_ok()
    };

    let waits = withdraw(&lan).await.unwrap_err();
    assert_eq!(waits.code(), Code::FailedPrecondition);
    let items = pending().await;
    let number = items[0].number;
    assert!(waits.message().contains(&format!("truc admin approve {number}")), "{waits:?}");
    assert!(waits.message().contains(" / Chưa thực hiện"), "{waits:?}");
    assert_eq!((items[0].state.as_str(), items[0].who.as_str(), items[0].subject.as_str()), ("waits", "lan", "lost"));
    assert!(lets_in(&lost).await, "nothing was done yet");
    // Neither he himself, nor who is no administrator; and somebody else's wish is not his to carry out.
    assert_eq!(answer(&lan, number, true).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(answer(&other, number, true).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(answer(&minh, number + 1_000, true).await.unwrap_err().code(), Code::NotFound);
    answer(&minh, number, true).await.unwrap();
    assert!(lets_in(&lost).await, "an approval carries nothing out by itself");
    withdraw(&lan).await.unwrap();
    assert!(!lets_in(&lost).await);
    assert_eq!(pending().await, []);
    assert_eq!(withdraw(&lan).await.unwrap_err().code(), Code::NotFound, "it is withdrawn");

    let done = log(&world, "N-A").await;
    let told: Vec<_> = done.iter().map(|done| (done.action, done.who.name.as_str(), done.why.as_str())).collect();
    let wanted =
        [(AdminAction::TokenWithdrawn, "lan", "máy bị mất"), (AdminAction::ApprovalGiven, "minh", "đã gọi hỏi")];
    assert_eq!(told, wanted);
    assert_eq!(done[0].approved_by.as_ref().map(|second| second.name.as_str()), Some("minh"));
    assert!(done[1].subject.name.contains("token-withdrawn lost"), "{}", done[1].subject.name);
}
