//! Real sockets on loopback, fresh certificates, a gRPC health service behind the link.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use rustls::AlertDescription;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tonic::codegen::{Body, BoxFuture, Service, http};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use truc_certs_dev::{
    ExtendedKeyUsagePurpose, Issued, KeyKind, Pki, Profile, Request, RevocationReason, SoftHsm, Subject, Trick, now,
    wait::{Look, PATIENCE, until_async},
};
use truc_link::{
    AcceptRefusal, AcceptSettings, AdmissionList, ConnectError, ConnectSettings, Connected, Identity, Link, LinkServer,
    LinkTrust, NotAdmitted, OnRefused, Peer, PeerRefused, Revocation, WhyUnknown, lane_protocol,
};
use truc_proto::{Lane, NodeId};
use truc_signer::{Certificate, Pin, SignError, Token, TokenKey};
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3_600);

/// One relay and one node of one PKI.
struct World {
    pki: Pki,
    relay: Issued,
    node: Issued,
}

impl World {
    fn new() -> Self {
        let pki = Pki::new(KeyKind::P256, now()).unwrap();
        let tls = |id: &str| pki.issue(Profile::Tls, Subject::endpoint(id)).unwrap();
        Self { relay: tls("RELAY"), node: tls("H26"), pki }
    }

    fn trust(&self) -> LinkTrust {
        trust(&self.pki, &self.pki.crls_pem().unwrap())
    }

    fn admitted(&self) -> AdmissionList {
        admitted(&[(&self.relay, "RELAY"), (&self.node, "H26")])
    }

    fn relay_link(&self) -> Link {
        Link::new(Lane::Ordinary, identity(&self.relay), self.trust(), self.admitted())
    }

    fn node_link(&self) -> Link {
        Link::new(Lane::Ordinary, identity(&self.node), self.trust(), self.admitted())
    }
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

fn trust(pki: &Pki, crls: &str) -> LinkTrust {
    LinkTrust::from_pem(pki.anchors_pem.as_bytes(), pki.intermediates_pem.as_bytes(), crls.as_bytes()).unwrap()
}

fn admitted(list: &[(&Issued, &str)]) -> AdmissionList {
    list.iter().map(|(issued, name)| (issued.fingerprint(), id(name))).collect()
}

/// A relay that serves gRPC health, says why it refused whom, and can hold calls.
struct Serving {
    link: Link,
    server: Arc<LinkServer>,
    address: String,
    refusals: Arc<Mutex<Vec<String>>>,
    calls: Arc<Calls>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Calls announce themselves on `begun`, and wait for `release` when `holding`.
struct Calls {
    begun: Semaphore,
    release: Semaphore,
    peers: Mutex<Vec<Peer>>,
}

async fn serve(link: Link) -> Serving {
    serve_with(link, AcceptSettings::default(), false).await
}

async fn serve_with(link: Link, settings: AcceptSettings, holding: bool) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&refusals);
    let on_refused =
        OnRefused::new(move |_: SocketAddr, refusal: &AcceptRefusal| heard.lock().unwrap().push(refusal.to_string()));
    let (server, incoming) = link.listen(listener, AcceptSettings { on_refused: Some(on_refused), ..settings });
    let server = Arc::new(server);
    assert_eq!(server.address().unwrap().to_string(), address);

    let held = if holding { 0 } else { Semaphore::MAX_PERMITS };
    let calls = Arc::new(Calls { begun: Semaphore::new(0), release: Semaphore::new(held), peers: Mutex::default() });
    let layer_calls = Arc::clone(&calls);
    let layer = tower::layer::layer_fn(move |inner| Holding { inner, calls: Arc::clone(&layer_calls) });
    let (_, health) = tonic_health::server::health_reporter();
    let router = LinkServer::http().layer(layer).add_service(health);
    let task = tokio::spawn(router.serve_with_incoming_shutdown(incoming, server.draining()));
    Serving { link, server, address, refusals, calls, task }
}

#[derive(Clone)]
struct Holding<S> {
    inner: S,
    calls: Arc<Calls>,
}

impl<S, B> Service<http::Request<B>> for Holding<S>
where
    B: Body + Send + 'static,
    S: Service<http::Request<B>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let next = self.inner.clone();
        let (mut inner, calls) = (std::mem::replace(&mut self.inner, next), Arc::clone(&self.calls));
        Box::pin(async move {
            calls.peers.lock().unwrap().extend(request.extensions().get::<Peer>().cloned());
            calls.begun.add_permits(1);
            drop(calls.release.acquire().await);
            inner.call(request).await
        })
    }
}

impl Serving {
    async fn connect(&self, link: &Link) -> Result<Connected, ConnectError> {
        let patiently = ConnectSettings { timeout: PATIENCE, ..ConnectSettings::default() };
        link.connect(&self.address, &id("RELAY"), patiently).await
    }

    /// Waits until something was refused and says what.
    async fn refusal(&self) -> String {
        until("a refusal", || self.refusals.lock().unwrap().pop()).await
    }
}

async fn call(connected: &Connected) -> Result<(), tonic::Status> {
    HealthClient::new(connected.channel.clone()).check(HealthCheckRequest::default()).await.map(drop)
}

async fn until<L: Look>(what: &str, mut fact: impl FnMut() -> L) -> L::Found {
    until_async(what, || std::future::ready(fact())).await
}

#[track_caller]
fn refused(outcome: Result<Connected, ConnectError>) -> PeerRefused {
    match outcome {
        Err(ConnectError::Refused { source, .. }) => source,
        other => panic!("not refused by us: {other:?}"),
    }
}

#[track_caller]
fn refuses_us(outcome: Result<Connected, ConnectError>) -> AlertDescription {
    match outcome {
        Err(ConnectError::RefusesUs { alert, .. }) => alert,
        other => panic!("not refused by the peer: {other:?}"),
    }
}

#[tokio::test]
async fn both_sides_prove_themselves_and_agree_on_the_hybrid_group() {
    let world = World::new();
    let serving = serve(world.relay_link()).await;
    let node = world.node_link();
    let connected = serving.connect(&node).await.unwrap();
    call(&connected).await.unwrap();

    assert_eq!(connected.peer.name, id("RELAY"));
    assert_eq!(connected.peer.fingerprint, world.relay.fingerprint());
    assert_eq!((connected.peer.group.as_str(), connected.peer.revocation), ("X25519MLKEM768", Revocation::Good));
    let seen = serving.calls.peers.lock().unwrap().pop().unwrap();
    assert_eq!((seen.name, seen.lane, seen.revocation), (id("H26"), Lane::Ordinary, Revocation::Good));
    assert_eq!((seen.fingerprint, seen.group.as_str()), (world.node.fingerprint(), "X25519MLKEM768"));
    assert_eq!(
        (node.peers().len(), serving.link.peers().len(), serving.server.open()),
        (1, 1, 2),
        "one open, one waited for"
    );
}

#[tokio::test]
async fn certificates_that_are_not_for_this_are_refused_by_the_server() {
    let mut world = World::new();
    let revoked = world.pki.issue(Profile::Tls, Subject::endpoint("H26")).unwrap();
    world.pki.revoke(&revoked, world.pki.now().before(HOUR), RevocationReason::KeyCompromise);
    let stranger = Pki::unrelated(KeyKind::P256, now()).unwrap().issue(Profile::Tls, Subject::endpoint("H26")).unwrap();
    let request = || Request::new(Profile::Tls, KeyKind::P256, Subject::endpoint("H26"));
    let issue = |request| world.pki.issue_with(request).unwrap();
    let expired = issue(Request { not_after: Some(world.pki.now().before(HOUR)), ..request() });
    let service = issue(Request { profile: Profile::Service, ..request() });
    let no_use = issue(Request { extended_key_usages: Some(vec![]), ..request() });
    let server_only =
        issue(Request { extended_key_usages: Some(vec![ExtendedKeyUsagePurpose::ServerAuth]), ..request() });
    let sealing = issue(Request {
        profile: Profile::Sealing,
        extended_key_usages: Some(vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ..request()
    });
    let authority = issue(Request { authority: true, ..request() });
    let unlisted = issue(request());

    // All but the last are in the directory: nothing but the named check stands in their way.
    let cases = [
        (&revoked, AlertDescription::CertificateRevoked, "is revoked"),
        (&stranger, AlertDescription::UnknownCA, "no path leads to a trusted authority"),
        (&expired, AlertDescription::CertificateExpired, "expired on"),
        (&service, AlertDescription::UnsupportedCertificate, "clientAuth"),
        (&no_use, AlertDescription::UnsupportedCertificate, "clientAuth"),
        (&server_only, AlertDescription::UnsupportedCertificate, "clientAuth"),
        (&sealing, AlertDescription::UnsupportedCertificate, "digitalSignature"),
        (&authority, AlertDescription::UnsupportedCertificate, "the certificate of an authority"),
        (&unlisted, AlertDescription::AccessDenied, "lists no node or relay of this lane"),
    ];
    let listed: Vec<_> = cases.iter().take(8).map(|(issued, ..)| (*issued, "H26")).collect();
    let relay = Link::new(Lane::Ordinary, identity(&world.relay), world.trust(), admitted(&listed));
    let serving = serve(relay).await;
    for (issued, alert, reason) in cases {
        let node = Link::new(Lane::Ordinary, identity(issued), world.trust(), world.admitted());
        assert_eq!(refuses_us(serving.connect(&node).await), alert, "{reason}");
        let said = serving.refusal().await;
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(serving.link.peers(), []);
}

#[tokio::test]
async fn a_relay_that_is_revoked_unlisted_or_somebody_else_is_refused_by_the_client() {
    let mut world = World::new();
    let serving = serve(world.relay_link()).await;

    let unlisted = Link::new(Lane::Ordinary, identity(&world.node), world.trust(), admitted(&[]));
    let reason = refused(serving.connect(&unlisted).await);
    assert_eq!(reason, PeerRefused::NotAdmitted(NotAdmitted::Unlisted(world.relay.fingerprint())));

    let other = admitted(&[(&world.relay, "H37")]);
    let confused = Link::new(Lane::Ordinary, identity(&world.node), world.trust(), other);
    let reason = refused(serving.connect(&confused).await);
    assert_eq!(reason, PeerRefused::WrongPeer { expected: id("RELAY"), found: id("H37") });

    world.pki.revoke(&world.relay, world.pki.now(), RevocationReason::Superseded);
    assert_eq!(refused(serving.connect(&world.node_link()).await), PeerRefused::Revoked);
}

#[tokio::test]
async fn a_missing_or_stale_list_connects_as_unknown_and_still_refuses_whom_it_names() {
    let mut world = World::new();
    let serving = serve(world.relay_link()).await;
    let (old, older) = (world.pki.now().before(HOUR), world.pki.now().before(2 * HOUR));
    let connect = async |crls: &str| {
        let node = Link::new(Lane::Ordinary, identity(&world.node), trust(&world.pki, crls), world.admitted());
        serving.connect(&node).await
    };
    assert_eq!(connect("").await.unwrap().peer.revocation, Revocation::Unknown(WhyUnknown::NoList));
    // A delta list of NIST PKITS (tests/vectors/pkits), of another authority: it neither helps nor harms.
    let delta = include_str!("testdata/pkits-delta.crl.pem");
    assert_eq!(connect(delta).await.unwrap().peer.revocation, Revocation::Unknown(WhyUnknown::NoList));
    let whole = world.pki.crls_pem().unwrap();
    assert_eq!(connect(&format!("{whole}{delta}")).await.unwrap().peer.revocation, Revocation::Good);
    let stale = world.pki.crls_pem_between(older, old).unwrap();
    assert_eq!(connect(&stale).await.unwrap().peer.revocation, Revocation::Unknown(WhyUnknown::StaleList));
    let stranger = Pki::new(KeyKind::P256, now()).unwrap().crls_pem().unwrap();
    let outcome = connect(&stranger).await.unwrap().peer.revocation;
    assert_eq!(outcome, Revocation::Unknown(WhyUnknown::UnusableList), "same name, other key");

    world.pki.revoke(&world.relay, older, RevocationReason::KeyCompromise);
    let stale = world.pki.crls_pem_between(older, old).unwrap();
    let node = Link::new(Lane::Ordinary, identity(&world.node), trust(&world.pki, &stale), world.admitted());
    assert_eq!(refused(serving.connect(&node).await), PeerRefused::Revoked);
}

#[tokio::test]
async fn of_two_lists_of_one_issuer_the_newer_counts_in_whatever_order() {
    let mut world = World::new();
    let serving = serve(world.relay_link()).await;
    let now = world.pki.now();
    let before = world.pki.crls_pem_between(now.before(2 * HOUR), now + HOUR).unwrap();
    world.pki.revoke(&world.relay, now.before(HOUR), RevocationReason::KeyCompromise);
    let after = world.pki.crls_pem_between(now.before(HOUR), now + HOUR).unwrap();
    for crls in [format!("{before}{after}"), format!("{after}{before}")] {
        let node = Link::new(Lane::Ordinary, identity(&world.node), trust(&world.pki, &crls), world.admitted());
        assert_eq!(refused(serving.connect(&node).await), PeerRefused::Revoked);
    }
}

#[tokio::test]
async fn lanes_never_meet_and_both_sides_say_so() {
    let world = World::new();
    for (ours, theirs) in [(Lane::Ordinary, Lane::Classified), (Lane::Classified, Lane::Ordinary)] {
        let serving = serve(Link::new(ours, identity(&world.relay), world.trust(), world.admitted())).await;
        let node = Link::new(theirs, identity(&world.node), world.trust(), world.admitted());
        let error = serving.connect(&node).await.unwrap_err();
        assert!(matches!(&error, ConnectError::WrongLane { lane, .. } if *lane == theirs), "{error:?}");
        assert!(error.to_string().contains(&format!("does not serve the {theirs} lane")), "{error}");
        let said = serving.refusal().await;
        assert!(said.contains(&format!("the peer is on the {theirs} lane, this is the {ours} lane")), "{said}");
    }
}

/// A TLS client of somebody else's making; returns how its connection ended.
async fn foreign(
    serving: &Serving,
    world: &World,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[u8],
    certificate: Option<&Issued>,
) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.pki.root_der().to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = vec![issued.certificate_der.clone().into(), issued.issuer_der.clone().into()];
            let key = rustls_pki_types::PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.clone());
            builder.with_client_auth_cert(chain, key.into()).unwrap()
        }
    };
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let tcp = TcpStream::connect(&serving.address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("relay").unwrap();
    match tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
        Err(error) => error.to_string(),
        Ok(mut stream) => stream.read_u8().await.unwrap_err().to_string(),
    }
}

#[tokio::test]
async fn older_tls_no_certificate_and_no_lane_are_refused() {
    let world = World::new();
    let serving = serve(world.relay_link()).await;
    let lane = lane_protocol(Lane::Ordinary);
    let said = foreign(&serving, &world, &rustls::version::TLS12, lane, Some(&world.node)).await;
    assert!(said.contains("ProtocolVersion"), "{said}");
    assert_eq!(serving.refusal().await, "the TLS handshake failed");
    let said = foreign(&serving, &world, &rustls::version::TLS13, lane, None).await;
    assert!(said.contains("CertificateRequired"), "{said}");
    assert_eq!(serving.refusal().await, "the TLS handshake failed");
    // Even with a certificate that is admitted.
    foreign(&serving, &world, &rustls::version::TLS13, b"", Some(&world.node)).await;
    assert_eq!(serving.refusal().await, "the peer names no lane of this axis");
    foreign(&serving, &world, &rustls::version::TLS13, b"h2", Some(&world.node)).await;
    assert_eq!(serving.refusal().await, "the peer names no lane of this axis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_are_swapped_while_calls_run_and_none_fails() {
    let world = World::new();
    let again = |name: &str| world.pki.issue(Profile::Tls, Subject::endpoint(name)).unwrap();
    let (relay, node) = (again("RELAY"), again("H26"));
    let all = admitted(&[(&world.relay, "RELAY"), (&relay, "RELAY"), (&world.node, "H26"), (&node, "H26")]);
    let serving = Arc::new(serve(Link::new(Lane::Ordinary, identity(&world.relay), world.trust(), all.clone())).await);
    let client = Link::new(Lane::Ordinary, identity(&world.node), world.trust(), all);

    let mut tasks = Vec::new();
    for worker in 0..4 {
        let (serving, client) = (Arc::clone(&serving), client.clone());
        tasks.push(tokio::spawn(async move {
            let mut seen = std::collections::BTreeSet::new();
            let mut connected = serving.connect(&client).await.unwrap();
            for _ in 0..60 {
                call(&connected).await.unwrap();
                // One of the four connects anew for each call, the others go on.
                if worker == 0 {
                    connected = serving.connect(&client).await.unwrap();
                }
                seen.insert(connected.peer.fingerprint);
            }
            seen
        }));
    }
    let mut swaps = 0;
    while !tasks.iter().all(JoinHandle::is_finished) {
        let (relay_now, node_now) = if swaps % 2 == 0 { (&relay, &node) } else { (&world.relay, &world.node) };
        serving.link.replace_identity(identity(relay_now));
        client.replace_identity(identity(node_now));
        assert_eq!(serving.link.replace_trust(world.trust()) + client.replace_trust(world.trust()), 0);
        swaps += 1;
        tokio::task::yield_now().await;
    }
    let mut relays = std::collections::BTreeSet::new();
    for task in tasks {
        relays.extend(task.await.unwrap());
    }
    assert!(swaps > 2, "{swaps}");
    assert_eq!(relays, [world.relay.fingerprint(), relay.fingerprint()].into(), "both were met");
    assert_eq!(*serving.refusals.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_list_closes_the_connections_it_revokes_and_no_other() {
    let mut world = World::new();
    let other = world.pki.issue(Profile::Tls, Subject::endpoint("H37")).unwrap();
    let all = admitted(&[(&world.relay, "RELAY"), (&world.node, "H26"), (&other, "H37")]);
    let serving = serve(Link::new(Lane::Ordinary, identity(&world.relay), world.trust(), all)).await;
    let (node, bystander) =
        (world.node_link(), Link::new(Lane::Ordinary, identity(&other), world.trust(), world.admitted()));
    let revoked = serving.connect(&node).await.unwrap();
    let kept = serving.connect(&bystander).await.unwrap();
    call(&revoked).await.unwrap();

    world.pki.revoke(&world.node, world.pki.now(), RevocationReason::KeyCompromise);
    assert_eq!(serving.link.replace_trust(world.trust()), 1);
    until("the link to be closed", || node.peers().is_empty().then_some(())).await;
    call(&revoked).await.unwrap_err();
    assert!(serving.refusal().await.contains("is revoked"), "the channel dialled again and was refused");
    call(&kept).await.unwrap();

    // The same from the other end: the relay's own certificate.
    world.pki.revoke(&world.relay, world.pki.now(), RevocationReason::KeyCompromise);
    assert_eq!(bystander.replace_trust(world.trust()), 1);
    call(&kept).await.unwrap_err();
}

#[tokio::test]
async fn a_directory_that_drops_a_node_closes_its_connection() {
    let world = World::new();
    let serving = serve(world.relay_link()).await;
    let connected = serving.connect(&world.node_link()).await.unwrap();
    call(&connected).await.unwrap();
    assert_eq!(serving.link.review(), 0);
    assert_eq!(serving.link.replace_admission(admitted(&[(&world.relay, "RELAY")])), 1);
    call(&connected).await.unwrap_err();
    assert_eq!(serving.link.peers(), []);
}

#[tokio::test]
async fn a_certificate_that_is_not_presented_any_more_closes_its_connections_and_nobody_dials_with_it() {
    let world = World::new();
    let serving = serve(world.relay_link()).await;
    let client = world.node_link();
    let connected = serving.connect(&client).await.unwrap();
    call(&connected).await.unwrap();
    let stolen = std::collections::BTreeSet::from([world.node.fingerprint()]);
    assert_eq!(client.stop_presenting(stolen.clone()), 1);
    assert_eq!(client.stop_presenting(stolen), 0, "known already");
    // A channel dials again by itself: not with this.
    until("the link to be closed", || serving.link.peers().is_empty().then_some(())).await;
    call(&connected).await.unwrap_err();
    assert!(matches!(serving.connect(&client).await, Err(ConnectError::OwnStopped { .. })));
    assert!(serving.link.peers().is_empty());
    client.stop_presenting(std::collections::BTreeSet::new());
    call(&serving.connect(&client).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn idle_strangers_take_no_more_than_the_pending_places_and_only_for_a_while() {
    let world = World::new();
    let settings = AcceptSettings { pending_max: 2, ..AcceptSettings::default() };
    let serving = serve_with(world.relay_link(), settings, false).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(&serving.address).await.unwrap());
    }
    until("both places to be taken", || (serving.server.pending() == 2).then_some(())).await;
    let node = world.node_link();
    let connected = serving.connect(&node).await.unwrap();
    call(&connected).await.unwrap();
    assert!(serving.refusal().await.contains("no complete handshake within"));
    assert!(serving.server.pending() <= 2);
}

#[tokio::test]
async fn a_full_relay_lets_wait_and_takes_the_next_when_one_leaves() {
    let world = World::new();
    let settings = AcceptSettings { connections_max: 1, ..AcceptSettings::default() };
    let serving = serve_with(world.relay_link(), settings, false).await;
    let node = world.node_link();
    let first = serving.connect(&node).await.unwrap();
    let hasty = ConnectSettings { timeout: Duration::from_millis(100), ..ConnectSettings::default() };
    let error = node.connect(&serving.address, &id("RELAY"), hasty).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    drop(first);
    call(&serving.connect(&node).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn one_peer_cannot_take_all_places() {
    let world = World::new();
    let serving = serve(world.relay_link()).await;
    let node = world.node_link();
    let mut open = Vec::new();
    for _ in 0..truc_proto::limits::CONNECTIONS_PER_PEER_MAX {
        open.push(serving.connect(&node).await.unwrap());
    }
    serving.connect(&node).await.unwrap_err();
    assert!(serving.refusal().await.starts_with("H26 holds 32 connections already"));
    call(open.first().unwrap()).await.unwrap();
}

#[tokio::test]
async fn draining_lets_a_call_in_progress_finish_and_takes_nobody_new() {
    let world = World::new();
    let serving = serve_with(world.relay_link(), AcceptSettings::default(), true).await;
    let node = world.node_link();
    let connected = serving.connect(&node).await.unwrap();
    let running = tokio::spawn(async move { call(&connected).await });
    serving.calls.begun.acquire().await.unwrap().forget();

    let server = Arc::clone(&serving.server);
    let drained = tokio::spawn(async move { server.drain(Duration::from_secs(600)).await });
    serving.server.draining().await;
    until("nobody to be taken", || (serving.server.pending() == 0).then_some(())).await;
    let error = serving.connect(&node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(!drained.is_finished() && !running.is_finished());

    serving.calls.release.add_permits(1);
    running.await.unwrap().unwrap();
    assert_eq!(drained.await.unwrap(), 0);
    serving.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn draining_ends_even_when_a_call_never_does() {
    let world = World::new();
    let serving = serve_with(world.relay_link(), AcceptSettings::default(), true).await;
    let node = world.node_link();
    let connected = serving.connect(&node).await.unwrap();
    let running = tokio::spawn(async move { call(&connected).await });
    serving.calls.begun.acquire().await.unwrap().forget();
    assert_eq!(serving.server.drain(Duration::from_millis(50)).await, 1);
    running.await.unwrap().unwrap_err();
    serving.task.await.unwrap().unwrap();
}

#[test]
fn a_key_of_another_certificate_is_no_identity() {
    let world = World::new();
    let error = Identity::from_pem(world.relay.certificate_pem.as_bytes(), world.node.key_pem.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("do not belong together"), "{error}");
    Identity::from_pem(b"", world.node.key_pem.as_bytes()).unwrap_err();
    Identity::from_pem(world.node.certificate_pem.as_bytes(), b"").unwrap_err();
    assert!(!format!("{:?}", identity(&world.node)).contains("PRIVATE"));
    let error = LinkTrust::from_pem(b"", b"", b"").unwrap_err();
    assert!(error.to_string().contains("no certificate"), "{error}");
}

/// The key of a certificate in a token; whatever of it lay in a file is not used.
fn in_token(hsm: &SoftHsm, issued: &Issued, id: &str) -> Identity {
    hsm.import(&issued.key_pem, id, id).unwrap();
    let token = Token::shared(&hsm.module(), hsm.label(), Pin::new(&Zeroizing::new("135790".to_owned())));
    let mut chain = Certificate::from_pem(issued.certificate_pem.as_bytes()).unwrap().into_iter();
    let leaf = chain.next().unwrap();
    Identity::of_token(TokenKey::new(token, format!("id:{id}").parse().unwrap(), leaf, chain.collect())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_token_shake_hands_and_while_it_is_away_open_connections_go_on_and_new_ones_say_why() {
    for (number, kind) in [KeyKind::P256, KeyKind::Rsa2048].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let Some(hsm) = SoftHsm::or_skip(folder.path(), &format!("links {number}"), "135790") else { return };
        let pki = Pki::new(KeyKind::P256, now()).unwrap();
        let tls = |id: &str| pki.issue_with(Request::new(Profile::Tls, kind, Subject::endpoint(id))).unwrap();
        let world = World { relay: tls("RELAY"), node: tls("H26"), pki };
        let link = |identity: Identity| Link::new(Lane::Ordinary, identity, world.trust(), world.admitted());
        let serving = serve(link(in_token(&hsm, &world.relay, "01"))).await;
        let (in_file, node) = (serve(world.relay_link()).await, link(in_token(&hsm, &world.node, "02")));
        let open = serving.connect(&node).await.unwrap();
        call(&open).await.unwrap();
        assert!(serving.link.key_fault().is_none() && node.key_fault().is_none());

        hsm.play(Trick::Pulled).unwrap();
        call(&open).await.unwrap();
        // The relay's key: the node hears nothing of why, the relay says it.
        assert!(matches!(serving.connect(&world.node_link()).await, Err(ConnectError::Handshake { .. })));
        assert!(serving.refusal().await.contains("our own TLS key did not sign"));
        assert!(matches!(serving.link.key_fault(), Some(SignError::Away { .. })));
        // The node's own key.
        let refused = in_file.connect(&node).await.unwrap_err();
        assert!(matches!(refused, ConnectError::OwnKey { source: SignError::Away { .. }, .. }), "{refused:?}");
        assert!(matches!(node.key_fault(), Some(SignError::Away { .. })));
        call(&open).await.unwrap();

        hsm.undo(Trick::Pulled).unwrap();
        // A token that was away is left alone for a moment.
        let again = until_async("a connection", || serving.connect(&node)).await;
        call(&again).await.unwrap();
        assert!(serving.link.key_fault().is_none() && node.key_fault().is_none());
    }
}
