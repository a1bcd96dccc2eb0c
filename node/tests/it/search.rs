//! Documents found again by words, sent and received: while they are open, when they left memory, and with an index made anew.

use std::collections::BTreeSet;

use serde_json::Value;
use tonic::Code;
use truc_proto::node_v1::{
    DocumentFound, ListOutboxRequest, SearchDocumentsRequest, SendRequest, SetStatusRequest, WithdrawRequest,
    send_header::Form, send_request::Part,
};

use crate::{
    closed::a_month_later,
    flows::{accepted, confirm, reached},
    http::request,
    rest::get,
    world::{Client, World, code, document, until},
};

/// (number, notation, type, date, subject)
type Letter = (&'static str, &'static str, &'static str, &'static str, &'static str);

const DECREE: Letter = ("30", "2020/NĐ-CP", "Nghị định", "2020/03/05", "Về công tác văn thư");
const APPOINTMENT: Letter = ("15", "QĐ-UBND", "Quyết định", "2023/05/17", "Về việc bổ nhiệm cán bộ lãnh đạo, quản lý");
const LETTER: Letter = ("15", "VPCP-KSTT", "Công văn", "2026/11/22", "V/v triển khai Nghị định số 30/2020/NĐ-CP");

fn parts(key: &str, sender: &str, recipients: &[&str], letter: Letter) -> Vec<SendRequest> {
    let mut parts = document(key, sender, recipients, letter.4, &[("a.txt", b"a")]);
    if let Some(Part::Header(header)) = &mut parts[0].part
        && let Some(Form::Document(form)) = &mut header.form
    {
        (form.code_number, form.code_notation) = (letter.0.into(), letter.1.into());
        (form.type_name, form.promulgation_date) = (letter.2.into(), letter.3.into());
    }
    parts
}

fn words(text: &str) -> SearchDocumentsRequest {
    SearchDocumentsRequest { text: text.into(), ..SearchDocumentsRequest::default() }
}

/// All pages.
async fn search(world: &World, id: &str, client: &Client, mut asked: SearchDocumentsRequest) -> Vec<DocumentFound> {
    let mut items = Vec::new();
    loop {
        let reply = client.clone().search_documents(world.ask(id, asked.clone())).await.unwrap().into_inner();
        items.extend(reply.items);
        asked.page_token = reply.next_page_token;
        if asked.page_token.is_empty() {
            return items;
        }
    }
}

/// Waits for an index that is being built: it says so, and never that there is nothing.
async fn until_it_answers(world: &World, id: &str, client: &Client) {
    let asked = || async {
        let answer = client.clone().search_documents(world.ask(id, words("x"))).await;
        if let Err(error) = &answer {
            assert_eq!(error.code(), Code::Unavailable, "{error:?}");
            assert!(error.message().contains("dựng lại"), "{error:?}");
        }
        answer.is_ok()
    };
    until("the index answers", asked, |answered| *answered).await;
}

/// A document of one recipient that N-B sent.
async fn until_reached(world: &World, client: &Client, envelope: &str, state: &str) {
    let sent = || async {
        let request = ListOutboxRequest { envelope: envelope.into(), ..ListOutboxRequest::default() };
        let reply = client.clone().list_outbox(world.ask("N-B", request)).await.unwrap().into_inner();
        reply.items[0].recipients[0].state.clone()
    };
    until("the recipient has it", sent, |reached| reached == state).await;
}

fn ways(found: &[DocumentFound]) -> Vec<(&str, &str, &str)> {
    found.iter().map(|item| (item.direction.as_str(), item.number.as_str(), item.recipients[0].as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_found_by_words_when_open_when_closed_and_with_an_index_made_anew() {
    let mut world = World::start().await;
    let (mut a, mut b) = (world.client("N-A").await, world.client("N-B").await);
    let decree = accepted(&world, &mut a, parts("1", "G22", &["H26", "H37"], DECREE)).await;
    // From a code of that node to another one of it: sent and received there.
    let inside = tokio_stream::iter(parts("2", "H26", &["H26.18"], APPOINTMENT));
    let appointment = b.send(world.ask("N-B", inside)).await.unwrap().into_inner().envelope;
    until_reached(&world, &b, &appointment, "consigned").await;
    let letter = accepted(&world, &mut a, parts("3", "G22", &["H37"], LETTER)).await;
    for envelope in [&decree, &letter] {
        reached(&world, &a, envelope, "consigned").await;
    }
    for round in ["open", "handed over", "closed", "made anew"] {
        match round {
            "handed over" => {
                for (envelope, code) in [(&decree, "H26"), (&decree, "H37"), (&appointment, "H26.18"), (&letter, "H37")]
                {
                    confirm(&world, &b, envelope, code).await;
                }
                until_reached(&world, &b, &appointment, "handed-over").await;
                for envelope in [&decree, &letter] {
                    reached(&world, &a, envelope, "handed-over").await;
                }
                for id in ["N-A", "N-B"] {
                    world.until_all_is_told(id).await;
                }
            }
            "closed" => a_month_later(&mut world, false).await,
            "made anew" => a_month_later(&mut world, true).await,
            _ => {}
        }
        (a, b) = (world.client("N-A").await, world.client("N-B").await);
        until_it_answers(&world, "N-A", &a).await;
        until_it_answers(&world, "N-B", &b).await;

        let found = search(&world, "N-B", &b, words("nghi dinh 30 2020")).await;
        let wanted = [
            ("received", "15/VPCP-KSTT", "H37"),
            ("received", "30/2020/NĐ-CP", "H26"),
            ("received", "30/2020/NĐ-CP", "H37"),
        ];
        assert_eq!(ways(&found), wanted, "{round}: the letter names it; the newest first");
        let state = if round == "open" { "consigned" } else { "handed-over" };
        let expected = DocumentFound {
            direction: "received".into(),
            envelope: decree.clone(),
            sender: "G22".into(),
            recipients: vec!["H26".into()],
            recipient_count: 1,
            document_id: "G22,2020/03/05,30/2020/NĐ-CP".into(),
            number: "30/2020/NĐ-CP".into(),
            type_name: "Nghị định".into(),
            subject: DECREE.4.into(),
            date: "2020-03-05".into(),
            state: state.into(),
            time: found[1].time.clone(),
            legacy: false,
        };
        assert_eq!(found[1], expected, "{round}");
        assert!(!expected.time.is_empty());

        let ours = search(&world, "N-B", &b, words("quyet dinh bo nhiem can bo")).await;
        assert_eq!(ways(&ours), [("received", "15/QĐ-UBND", "H26.18"), ("sent", "15/QĐ-UBND", "H26.18")], "{round}");
        assert!(ours.iter().all(|item| item.envelope == appointment), "{round}");
        assert_eq!(ours[1].state, "final");
        let sent = search(&world, "N-A", &a, words("VĂN THƯ")).await;
        assert_eq!((ways(&sent), sent[0].recipient_count), (vec![("sent", "30/2020/NĐ-CP", "H26")], 2), "{round}");

        let of = |change: &dyn Fn(&mut SearchDocumentsRequest)| {
            let mut asked = words("15");
            change(&mut asked);
            let (world, b) = (&world, &b);
            async move { search(world, "N-B", b, asked).await.len() }
        };
        assert_eq!(of(&|_| ()).await, 3, "{round}");
        assert_eq!(of(&|asked| asked.page_size = 1).await, 3, "{round}, page by page");
        assert_eq!(of(&|asked| asked.direction = "sent".into()).await, 1, "{round}");
        assert_eq!(of(&|asked| asked.direction = "received".into()).await, 2, "{round}");
        assert_eq!(of(&|asked| asked.code = "H37".into()).await, 1, "{round}");
        assert_eq!(of(&|asked| asked.code = "H26".into()).await, 1, "{round}: as sender");
        assert_eq!(of(&|asked| (asked.from, asked.to) = ("2023".into(), "2023-05-17".into())).await, 2, "{round}");
        assert_eq!(of(&|asked| asked.from = "2023-06".into()).await, 1, "{round}");
        assert_eq!(of(&|asked| asked.text = "15/vpcp".into()).await, 1, "{round}");
        assert_eq!(of(&|asked| asked.text = "15 tuyen dung".into()).await, 0, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_shows_what_its_token_may_see_and_no_withdrawn_copy_unless_asked_for() {
    let world = World::start().await;
    let (mut a, b) = (world.client("N-A").await, world.client("N-B").await);
    let envelope = accepted(&world, &mut a, parts("1", "G22", &["H26", "H37"], LETTER)).await;
    reached(&world, &a, &envelope, "consigned").await;

    let now = truc_node::shell::clock::now();
    let tokens = &world.settings("N-B").tokens;
    let one = BTreeSet::from([code("H37")]);
    let token =
        truc_node::tokens::add_token(tokens, "one", truc_proto::CallerRole::Officer, one, Default::default(), now)
            .unwrap();
    let ask = |token: String, query: &'static str| {
        let rest = world.rest("N-B");
        async move {
            let bearer = format!("Bearer {token}");
            let path = format!("/api/v1/documents/search?{query}");
            request(rest, "GET", &path, &[("authorization", &bearer)], b"").await
        }
    };
    let codes = |answer: &Value| {
        let items = answer["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["recipients"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all =
        get(&world, "N-B", "/documents/search?text=trien%20khai%20ngh%E1%BB%8B%20%C4%91%E1%BB%8Bnh").await.ok(200);
    assert_eq!(codes(&all), ["H26", "H37"], "{all:#}");
    assert_eq!(all["items"][0]["number"], "15/VPCP-KSTT");
    assert_eq!(all["items"][0]["date"], "2026-11-22");
    let seen = ask(token.expose().to_owned(), "text=15/vpcp-kstt").await.ok(200);
    assert_eq!(codes(&seen), ["H37"], "only its own");
    assert_eq!(ask(token.expose().to_owned(), "text=15&code=H26").await.problem(403), "not-entitled");
    assert_eq!(ask("nobody".into(), "text=15").await.status, 401);
    for bad in [
        "",
        "text=%E2%80%93",
        "text=15&from=x",
        "text=15&from=2024&to=2023",
        "text=15&direction=out",
        "text=15&page_token=x",
    ] {
        assert_eq!(ask(token.expose().to_owned(), bad).await.problem(400), "invalid-request", "{bad}");
    }
    let long = "a".repeat(1_001);
    assert_eq!(get(&world, "N-B", &format!("/documents/search?text={long}")).await.problem(400), "invalid-request");

    let withdraw = WithdrawRequest {
        envelope: envelope.clone(),
        recipients: vec!["H37".into()],
        reason: "Gửi nhầm".into(),
        idempotency_key: "w".into(),
        ..WithdrawRequest::default()
    };
    a.withdraw(world.ask("N-A", withdraw)).await.unwrap();
    let agree = SetStatusRequest {
        envelope: envelope.clone(),
        from: "H37".into(),
        code: "15".into(),
        idempotency_key: "yes".into(),
        ..SetStatusRequest::default()
    };
    let agreed = || async { b.clone().set_status(world.ask("N-B", agree.clone())).await.is_ok() };
    until("H37 was asked and agrees", agreed, |agreed| *agreed).await;
    assert_eq!(search(&world, "N-B", &b, words("15")).await.len(), 1, "H26 has it still");
    let with = SearchDocumentsRequest { with_withdrawn: true, ..words("15") };
    let found = search(&world, "N-B", &b, with).await;
    let states: Vec<_> = found.iter().map(|item| (item.recipients[0].as_str(), item.state.as_str())).collect();
    assert_eq!(states, [("H26", "consigned"), ("H37", "withdrawn")]);
    // Its sender sees it as before.
    assert_eq!(search(&world, "N-A", &a, words("15")).await.len(), 1);
}
