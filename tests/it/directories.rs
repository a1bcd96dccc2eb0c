//! The directory between relay and nodes: searched over the local API, brought up to date by differences.

use std::os::unix::fs::FileExt as _;

use truc_evidence::DirectoryAudit;
use truc_proto::{
    AgencyEntry, Digest, Entry, KeyUse, Lane, Route,
    node_v1::{AuditDirectoryRequest, SearchDirectoryRequest},
};

use crate::support::{Api, Letter, World, until, world::now};

fn agency(code: &str, name: &str) -> Entry {
    Entry::Agency(AgencyEntry {
        code: code.parse().unwrap(),
        names: vec![name.to_owned()],
        parent: None,
        old_codes: vec![format!("000.00.00.{code}").parse().unwrap()],
        valid_from: "2020-09-15T00:00:00+07:00".parse().unwrap(),
        valid_to: None,
        serves_until: None,
        successor: None,
        route: Route::Native,
        node: None,
        lanes: vec![Lane::Ordinary],
        certificates: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_finds_a_recipient_over_the_local_api() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.draft.put(agency("K47", "UBND tỉnh Đắk Lắk")).unwrap();
    world.draft.put(agency("K47.12", "Sở Y tế tỉnh Đắk Lắk")).unwrap();
    world.publish_to(&["N-G22"]).await;
    let api = world.api("N-G22");
    let search = |text: &str, under: &str| {
        let request = SearchDirectoryRequest { text: text.into(), under: under.into(), limit: 0 };
        let mut client = api.raw.clone();
        async move { client.search_directory(request).await.map(tonic::Response::into_inner) }
    };
    let reply = search("lak DAK so", "").await.unwrap();
    assert_eq!((reply.total, reply.directory_version), (1, 2));
    let entry = &reply.entries[0];
    assert_eq!((entry.code.as_str(), entry.parent.as_str(), entry.route.as_str()), ("K47.12", "K47", "native"));
    // Nobody serves it yet, and the clerk is told before writing.
    let unreachable = entry.unreachable.as_ref().unwrap();
    assert!(unreachable.english.contains("K47.12") && unreachable.vietnamese.contains("Chưa có nút"));
    let h26 = search("h26", "").await.unwrap();
    assert_eq!((h26.entries[0].code.as_str(), h26.entries[0].unreachable.as_ref()), ("H26", None));
    assert_eq!(search("000.00.00.K47", "").await.unwrap().entries[0].code, "K47");
    let below: Vec<_> = search("", "K47").await.unwrap().entries.into_iter().map(|entry| entry.code).collect();
    assert_eq!(below, ["K47", "K47.12"]);
    // What cannot be asked is told in both languages.
    let refused = search("", "k47").await.unwrap_err();
    assert!(refused.message().contains("`under`") && refused.message().contains("mã"), "{refused}");
    let refused = search(&"ha noi ".repeat(100), "").await.unwrap_err();
    assert!(refused.message().contains("200") && refused.message().contains("ký tự"), "{refused}");
    let mut stranger =
        truc_proto::node_v1::node_client::NodeClient::connect(format!("http://{}", world.node_address("N-G22")))
            .await
            .unwrap();
    let unknown = stranger.search_directory(SearchDirectoryRequest::default()).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_up_to_date_by_differences_and_by_the_whole_when_its_copy_is_damaged() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.draft.put(agency("K47", "UBND tỉnh Đắk Lắk")).unwrap();
    world.publish_to(&["N-G22", "N-H26"]).await;
    let copy =
        |world: &World, id: &str| std::fs::read(world.node_folder(id).join("directory/current.directory")).unwrap();
    let whole = |world: &World| truc_evidence::encode_directory(&world.directory().read_signed().unwrap());
    assert_eq!(copy(&world, "N-G22"), whole(&world));

    // Somebody changes the copy of one node, behind its back: an entry that the next version does not change.
    let path = world.node_folder("N-H26").join("directory/current.directory");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry = text.lines().nth(3).unwrap();
    let place = text.find(entry).unwrap() as u64 + 100;
    let other = if text.as_bytes()[usize::try_from(place).unwrap()] == b'A' { b"B" } else { b"A" };
    std::fs::File::options().write(true).open(&path).unwrap().write_all_at(other, place).unwrap();

    world.draft.put(agency("K48", "UBND tỉnh Đắk Nông")).unwrap();
    world.publish_to(&["N-G22", "N-H26"]).await;
    for id in ["N-G22", "N-H26"] {
        assert_eq!(copy(&world, id), whole(&world), "{id}");
        let left: Vec<_> = std::fs::read_dir(world.node_folder(id).join("directory")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    // The relay says what changed since the version held, after a restart too.
    world.stop_relay().await;
    world.serve_relay().await;
    let (sender, recipient) = (world.api("N-G22"), world.api("N-H26"));
    sender.until_connected().await;
    let envelope = sender.accepted(&Letter::new("after", "G22", &["H26"])).await;
    recipient.until_consigned(&envelope, "H26").await;
}

/// A version that binds G22's certificate to H26, and one that no longer does.
async fn bind_falsely_for_a_while(world: &mut World) -> Digest {
    let mut entries = world.directory().read_signed().unwrap().entries.into_iter();
    let parse = |bytes| truc_proto::Raw::<Entry>::parse(bytes).unwrap().into_value();
    let h26 = entries.find_map(|bytes| Some(parse(bytes)).filter(|entry| entry.key() == "agency/H26")).unwrap();
    let certificate = world.soft_key("G22.service").certificate().clone();
    let Entry::Agency(mut falsely) = h26.clone() else { panic!("an agency") };
    falsely.certificates.push(truc_evidence::bind_certificate(&certificate, vec![KeyUse::Service]));
    for entry in [Entry::Agency(falsely), h26] {
        world.draft.put(entry).unwrap();
        world.publish_to(&["N-G22"]).await;
    }
    certificate.sha256()
}

async fn fetch_audit(api: &Api, world: &World, code: &str) -> (DirectoryAudit, Vec<bytes::Bytes>) {
    // A new version is in use before the connection that brought it is.
    api.until_connected().await;
    let request = AuditDirectoryRequest { code: code.into() };
    let mut stream = api.raw.clone().audit_directory(request).await.unwrap().into_inner();
    let (mut text, mut own) = (Vec::new(), Vec::new());
    while let Some(reply) = stream.message().await.unwrap() {
        text.extend_from_slice(&reply.data);
        own.extend(reply.own_certificates);
    }
    (DirectoryAudit::verify(text.as_slice(), &world.pinned(), &world.trust(), now()).unwrap(), own)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_binding_that_came_and_went_while_its_owner_was_away_is_seen_and_proven() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.stop_node("N-H26").await;
    let falsely = bind_falsely_for_a_while(&mut world).await;
    world.serve_node("N-H26").await;
    let api = world.api("N-H26");
    until("it uses the newest version", || async { api.status().await.filter(|s| s.directory_version == 3) }).await;
    let said = api.until_alarm(&["directory 2 binds", &falsely.to_string()]).await;
    assert!(said.contains("H26") && said.contains("mã H26"), "{said}");
    let alarms = api.status().await.unwrap().alarms;
    assert!(!alarms.iter().any(|alarm| alarm.contains("without those between")), "{alarms:?}");

    let (audit, own) = fetch_audit(&api, &world, "H26").await;
    assert_eq!((audit.versions, audit.last_statement), (3, world.directory().statement().digest()));
    let told: Vec<_> = audit
        .bindings
        .iter()
        .filter(|bound| bound.binding.sha256 == falsely)
        .map(|bound| (bound.from, bound.until))
        .collect();
    let [(from, Some(until))] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((from.version, until.version), (2, 3));
    assert_eq!(audit.in_force_at(KeyUse::Service, from.issued).count(), 2);
    assert_eq!(audit.in_force_at(KeyUse::Service, until.issued).count(), 1);
    let held = |sha256: &Digest| own.iter().any(|own| own.as_ref() == sha256.as_bytes());
    assert!(audit.bindings.iter().all(|bound| held(&bound.binding.sha256) == (bound.binding.sha256 != falsely)));
    // A code that nobody has: proven to be in no version.
    let (none, _) = fetch_audit(&api, &world, "A01").await;
    assert!(none.bindings.is_empty() && none.versions == 3);
    let refused = api.raw.clone().audit_directory(AuditDirectoryRequest { code: "h26".into() }).await.unwrap_err();
    assert!(refused.code() == tonic::Code::InvalidArgument && refused.message().contains("mã"), "{refused}");
    world.stop_relay().await;
    api.until_disconnected().await;
    let away = api.raw.clone().audit_directory(AuditDirectoryRequest { code: "H26".into() }).await.unwrap_err();
    assert!(away.code() == tonic::Code::Unavailable && away.message().contains("trục"), "{away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_look_at_the_versions_between_says_so() {
    let mut world = World::start(&[("N-G22", &["G22"]), ("N-H26", &["H26"])]).await;
    world.stop_node("N-H26").await;
    bind_falsely_for_a_while(&mut world).await;
    // The relay has lost what changed, so that it sends the newest version whole.
    world.stop_relay().await;
    std::fs::remove_file(world.relay_folder().join("directory/3/changes")).unwrap();
    world.serve_relay().await;
    world.serve_node("N-H26").await;
    let api = world.api("N-H26");
    let said = api.until_alarm(&["from version 1 to 3 without those between"]).await;
    assert!(said.contains("truc directory audit") && said.contains("phiên bản"), "{said}");
    // The audit needs no differences.
    assert_eq!(fetch_audit(&api, &world, "H26").await.0.versions, 3);
}
