//! Revocation found out over real sockets: responders and publishers of lists that are honest, away, silent, slow, or lie; and what they bring to
//! connections that are open.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{
    sync::{
        Arc, Condvar, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle};
use truc_certs_dev::{
    Issued, KeyKind, OcspPlan, Pki, Profile, Request, Responder, RevocationReason, Subject, now,
    ocsp::{self, Asked, OcspServer, Status},
    server::{Answer, DevServer},
    wait::in_time,
};
use truc_link::{
    Learnt, RevocationFile, RevocationFolder, Revocations,
    endpoint::Endpoint,
    revocation::{AskOutcome, FolderError, ResponderOf, RevocationSettings},
};
use truc_proto::Timestamp;
use truc_signer::{
    Certificate, CertificateUse, Crl, TrustStore, Verdict, WhyUnknown,
    path::{ListKept, ListRefused},
    validate, validate_settled,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::new(KeyKind::P256, now()).unwrap());
static RESPONDER: LazyLock<Arc<Responder>> =
    LazyLock::new(|| Arc::new(Responder::new(&PKI.issue(Profile::Ocsp, Subject::new("OCSP")).unwrap()).unwrap()));

fn settings() -> RevocationSettings {
    let mut mistakes = Vec::new();
    let file: RevocationFile = toml_of("");
    let settings = file.read(std::path::Path::new("/"), &mut mistakes);
    assert_eq!(mistakes, Vec::<String>::new());
    // Nobody here waits for nothing, and a machine may be slow.
    RevocationSettings { budget: Duration::from_secs(60), ..settings }
}

fn toml_of(text: &str) -> RevocationFile {
    toml::from_str(text).unwrap()
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::clear_too(url).unwrap()
}

/// Only the root's list is there: what is known of the sub-CA's certificates comes from responders.
fn store(pki: &Pki, revocations: &Revocations) -> Arc<TrustStore> {
    let [root, _] = pki.crls(pki.now().before(DAY), pki.now() + DAY).unwrap();
    let read = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    let store =
        TrustStore::new(read(&pki.anchors_pem), read(&pki.intermediates_pem), vec![Crl::from_der(&root).unwrap()]);
    Arc::new(store.unwrap().with_answers(Arc::clone(revocations.answers())))
}

fn certificate(issued: &Issued) -> Certificate {
    Certificate::from_der(&issued.certificate_der).unwrap()
}

/// A certificate that says its responder is there.
fn issued(url: &str) -> Issued {
    let mut request = Request::new(Profile::Service, KeyKind::P256, Subject::new("x"));
    request.ocsp_address = Some(url.to_owned());
    PKI.issue_with(request).unwrap()
}

/// Whoever fetches and asks, running, and what it learnt.
struct Running {
    revocations: Arc<Revocations>,
    store: Arc<TrustStore>,
    learnt: mpsc::UnboundedReceiver<Learnt>,
    task: JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Running {
    fn new(settings: RevocationSettings) -> Self {
        Self::over(&PKI, settings)
    }

    fn over(pki: &Pki, settings: RevocationSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let revocations = Revocations::open(settings, &[], folder.path().join("revocation"), "truc-test").unwrap();
        let store = store(pki, &revocations);
        let (tell, learnt) = mpsc::unbounded_channel();
        let (running, in_force) = (Arc::clone(&revocations), Arc::clone(&store));
        let task = tokio::spawn(async move {
            running.run(move || Arc::clone(&in_force), move |what| _ = tell.send(what)).await;
        });
        Self { revocations, store, learnt, task, folder }
    }

    /// As content is judged: waits for whom is being asked.
    async fn judge(&self, issued: &Issued) -> Verdict {
        let (store, certificate) = (Arc::clone(&self.store), certificate(issued));
        let judge = move || validate_settled(&store, &certificate, &[], CertificateUse::Service, now());
        tokio::task::spawn_blocking(judge).await.unwrap().unwrap()
    }

    fn counted(&self, outcome: AskOutcome) -> u64 {
        self.revocations.outcomes()[&outcome]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A responder that answers what `plan` makes of the honest answer.
fn serving(plan: impl Fn(&mut OcspPlan) + Send + Sync + 'static) -> OcspServer {
    OcspServer::start(move |request| {
        let asked = Asked::read(request).unwrap();
        let mut honest = OcspPlan { nonce: asked.nonce, ..OcspPlan::at(now(), Status::Good) };
        plan(&mut honest);
        Answer::Reply(RESPONDER.answer(&asked.certificates[0], &honest).unwrap())
    })
    .unwrap()
}

fn allowing(server: &OcspServer) -> RevocationSettings {
    RevocationSettings { allowed: vec![endpoint(&server.url())], ..settings() }
}

#[tokio::test]
async fn a_responder_that_the_certificate_names_and_the_settings_allow_is_asked_once() {
    let server = serving(|_| {});
    let running = Running::new(allowing(&server));
    let issued = issued(&server.url());
    assert_eq!(running.judge(&issued).await, Verdict::Good);
    assert_eq!(running.judge(&issued).await, Verdict::Good);
    assert_eq!((server.asked(), running.counted(AskOutcome::Good)), (1, 1));

    // What was learnt outlives the process, and nobody is asked again.
    let again = Revocations::open(settings(), &[], running.folder.path().join("revocation"), "truc-test").unwrap();
    let store = store(&PKI, &again);
    assert_eq!(validate(&store, &certificate(&issued), CertificateUse::Service, now()), Ok(Verdict::Good));
}

#[tokio::test]
async fn nobody_is_called_whom_the_settings_do_not_name() {
    let server = serving(|_| {});
    let elsewhere = serving(|_| {});
    let running = Running::new(allowing(&elsewhere));
    let verdict = running.judge(&issued(&server.url())).await;
    assert!(matches!(verdict, Verdict::Unknown(WhyUnknown::MissingCrl { .. })), "{verdict:?}");
    let off = Running::new(RevocationSettings { ocsp: false, ..allowing(&server) });
    assert!(matches!(off.judge(&issued(&server.url())).await, Verdict::Unknown(_)));
    assert_eq!((server.asked(), elsewhere.asked()), (0, 0));

    // The settings' own responder for an authority is asked whatever the certificates say.
    let issuer = Certificate::from_der(PKI.sub_der()).unwrap().subject().to_owned();
    let responders = vec![ResponderOf { issuer, endpoint: endpoint(&elsewhere.url()) }];
    let running = Running::new(RevocationSettings { responders, ..settings() });
    assert_eq!(running.judge(&issued(&server.url())).await, Verdict::Good);
    assert_eq!((server.asked(), elsewhere.asked()), (0, 1));
}

#[tokio::test]
async fn every_lie_and_every_failure_leaves_the_verdict_unknown_and_says_why() {
    let answering = |answer: fn() -> Answer| OcspServer::start(move |_| answer()).unwrap();
    let stranger = Pki::unrelated(KeyKind::P256, now()).unwrap();
    let stranger = Responder::new(&stranger.issue(Profile::Ocsp, Subject::new("lạ")).unwrap()).unwrap();
    let foreign =
        OcspServer::start(move |request| Answer::Reply(stranger.reply(request, now(), |_| Status::Good).unwrap()));
    let other = PKI.issue(Profile::Service, Subject::new("y")).unwrap();
    let of_another = OcspServer::start(move |_| {
        let sub = Certificate::from_der(PKI.sub_der()).unwrap();
        let request = truc_signer::OcspRequest::new(certificate(&other), sub, None);
        Answer::Reply(RESPONDER.reply(&request.to_der(), now(), |_| Status::Good).unwrap())
    });
    let cases = [
        (serving(|plan| plan.nonce = Some(vec![1; 32])), "nonce", AskOutcome::Refused),
        (serving(|plan| plan.this_update = now() + DAY), "clock", AskOutcome::Refused),
        (serving(|plan| plan.next_update = Some(now().before(DAY))), "old one", AskOutcome::Refused),
        (foreign.unwrap(), "not signed by", AskOutcome::Refused),
        (of_another.unwrap(), "not about the certificate", AskOutcome::Refused),
        (answering(|| Answer::Reply(ocsp::refusal(3))), "tryLater", AskOutcome::Refused),
        (answering(|| Answer::Reply(b"<html>".to_vec())), "not a well-formed", AskOutcome::Refused),
        (answering(|| Answer::Reply(vec![0x30; 40_000])), "longer than", AskOutcome::Unreachable),
        (answering(|| Answer::Status(503)), "503", AskOutcome::Unreachable),
        (serving(|plan| plan.status = Status::Unknown), "does not know", AskOutcome::Unknown),
    ];
    for (server, wanted, outcome) in cases {
        let running = Running::new(allowing(&server));
        let verdict = running.judge(&issued(&server.url())).await;
        let Verdict::Unknown(why @ WhyUnknown::NoAnswer { .. }) = &verdict else { panic!("{wanted}: {verdict:?}") };
        assert!(why.to_string().contains(wanted), "{wanted}: {why}");
        assert_eq!(running.counted(outcome), 1, "{wanted}");
    }
    let strict = serving(|plan| plan.nonce = None);
    let running = Running::new(RevocationSettings { require_nonce: true, ..allowing(&strict) });
    assert!(matches!(running.judge(&issued(&strict.url())).await, Verdict::Unknown(WhyUnknown::NoAnswer { .. })));
}

/// Something that happens when the test says so.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_budget_and_what_comes_later_is_known_then() {
    let gate = Gate::default();
    let at = gate.clone();
    let server = serving(move |plan| {
        at.pass();
        plan.status = Status::Revoked(now().before(HOUR), RevocationReason::KeyCompromise);
    });
    let budget = Duration::from_millis(20);
    let mut running = Running::new(RevocationSettings { budget, ..allowing(&server) });
    let issued = issued(&server.url());
    assert!(matches!(running.judge(&issued).await, Verdict::Unknown(WhyUnknown::MissingCrl { .. })));
    gate.open();
    assert_eq!(in_time("the answer", running.learnt.recv()).await, Some(Learnt::Revoked));
    assert!(matches!(running.judge(&issued).await, Verdict::Revoked { .. }));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn who_is_silent_or_trickles_is_not_waited_for() {
    for answer in [Answer::Silence, Answer::Unfinished(vec![0x30; 100])] {
        let server = OcspServer::start(move |_| answer.clone()).unwrap();
        let budget = Duration::from_millis(20);
        let running = Running::new(RevocationSettings { budget, ..allowing(&server) });
        let verdict = running.judge(&issued(&server.url())).await;
        assert!(matches!(verdict, Verdict::Unknown(WhyUnknown::MissingCrl { .. })), "{verdict:?}");
    }
}

#[tokio::test]
async fn lists_are_fetched_where_the_settings_say_and_where_authorities_may_say_and_lie_in_the_folder() {
    let mut pki = Pki::new(KeyKind::P256, now()).unwrap();
    let issued = pki.issue(Profile::Service, Subject::new("x")).unwrap();
    pki.revoke(&issued, now().before(HOUR), RevocationReason::KeyCompromise);
    let [_, sub] = pki.crls(now().before(HOUR), now() + HOUR).unwrap();
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let server = DevServer::start("application/pkix-crl", move |received| match received.path.as_str() {
        _ if is_away.load(Ordering::SeqCst) => Answer::Status(503),
        "/sub.crl" => Answer::Reply(sub.clone()),
        _ => Answer::Status(404),
    });
    let server = server.unwrap();
    let lists = vec![endpoint(&server.url("/sub.crl")), endpoint(&server.url("/none.crl"))];
    let mut running = Running::over(&pki, RevocationSettings { lists, ..settings() });
    assert_eq!(in_time("the list", running.learnt.recv()).await, Some(Learnt::List));
    let folder = running.folder.path().join("revocation");
    let lists = RevocationFolder::lists(&folder);
    assert_eq!(lists.iter().map(Crl::revoked_count).collect::<Vec<_>>(), [1]);
    // A file that was damaged since is passed over.
    std::fs::write(folder.join("damaged.crl"), b"0\x03abc").unwrap();
    assert_eq!(RevocationFolder::lists(&folder).len(), 1);
}

#[test]
fn a_list_that_is_forged_foreign_stale_from_the_future_or_a_step_back_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = RevocationFolder::create(folder.path().join("revocation")).unwrap();
    let read = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    let now = PKI.now();
    let list = |from: Timestamp, to: Timestamp| PKI.crls(from, to).unwrap()[1].clone();
    let store = |lists: &[&Vec<u8>]| {
        let lists = lists.iter().map(|list| Crl::from_der(list).unwrap()).collect();
        TrustStore::new(read(&PKI.anchors_pem), read(&PKI.intermediates_pem), lists).unwrap()
    };
    let older = list(now.before(DAY), now + HOUR);
    let newer = list(now.before(HOUR), now + HOUR);
    let taken = folder.take(&newer, &store(&[&older]), now).unwrap();
    assert_eq!(taken.iter().map(|taken| taken.kept).collect::<Vec<_>>(), [ListKept::New]);
    let taken = folder.take(&newer, &store(&[&newer]), now).unwrap();
    assert_eq!(taken.iter().map(|taken| taken.kept).collect::<Vec<_>>(), [ListKept::Held]);

    let refused = |bytes: &[u8], held: &[&Vec<u8>]| match folder.take(bytes, &store(held), now) {
        Err(FolderError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(&older, &[&newer]), ListRefused::Older { .. }));
    assert!(matches!(refused(&list(now.before(DAY), now.before(HOUR)), &[]), ListRefused::Stale { .. }));
    assert!(matches!(refused(&list(now + HOUR, now + DAY), &[]), ListRefused::FromFuture { .. }));
    let forger = Pki::new(KeyKind::P256, now).unwrap();
    assert!(matches!(refused(&forger.crls(now, now + DAY).unwrap()[1], &[]), ListRefused::NotSigned { .. }));
    let stranger = Pki::unrelated(KeyKind::P256, now).unwrap();
    assert!(matches!(refused(&stranger.crls(now, now + DAY).unwrap()[1], &[]), ListRefused::UnknownIssuer));
    let mut unsigned = newer.clone();
    let last = unsigned.len() - 1;
    unsigned[last] ^= 1;
    assert!(matches!(refused(&unsigned, &[]), ListRefused::NotSigned { .. }));
    assert!(matches!(folder.take(b"<html>", &store(&[]), now), Err(FolderError::Read(_))));
}

#[test]
fn settings_are_read_with_all_that_is_wrong_and_written_back() {
    let mut mistakes = Vec::new();
    let text = "ocsp = false\nrequire_nonce = true\nlists = [\"http://crl.example/a.crl\"]\nallow = [\"http://ocsp.example/\"]\nbudget_ms = 500\n\
                responders = [{ issuer = \"CN=x\", url = \"http://ocsp.example/x\" }]\n";
    let read = toml_of(text).read(std::path::Path::new("/"), &mut mistakes);
    assert_eq!((mistakes.len(), read.ocsp, read.budget), (0, false, Duration::from_millis(500)));
    let written = toml::to_string(&RevocationFile::of(&read, std::path::Path::to_owned)).unwrap();
    assert_eq!(toml_of(&written).read(std::path::Path::new("/"), &mut mistakes), read);
    let wrong = "lists = [\"ftp://a/\"]\nallow = [\"x\"]\nbudget_ms = 60000\nanchors = \"none.pem\"\n";
    toml_of(wrong).read(std::path::Path::new("/nowhere"), &mut mistakes);
    for wanted in ["revocation.lists: ", "revocation.allow: ", "revocation.budget_ms: ", "revocation.anchors: "] {
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(wanted)), "{wanted}: {mistakes:?}");
    }
    assert!(toml::from_str::<RevocationFile>("colour = 1").is_err());
}
