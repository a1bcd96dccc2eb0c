//! Document systems that go on whatever happens to their nodes, and what must be true of all they did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use truc_proto::node_v1::{OutboxItem, send_reply::State};
use truc_tests::{
    network::{Layout, Network, Programs, client::Document},
    wait::{PATIENCE, until_async},
};

pub(crate) const SENDER: &str = "N-G22";
pub(crate) const RECIPIENT: &str = "N-H26";
const CODES: [&str; 2] = ["H26", "H37"];
/// So much of each log goes into a failure's message.
const LOG_LINES: usize = 300;

/// The relay and both nodes as processes.
pub(crate) fn layout() -> Layout {
    let programs =
        Programs { relay: env!("CARGO_BIN_EXE_relay-process").into(), node: env!("CARGO_BIN_EXE_node-process").into() };
    Layout::new(&[(SENDER, &["G22"]), (RECIPIENT, &CODES)]).of_processes(programs)
}

/// Everything that was acknowledged to document systems.
pub(crate) struct Mail {
    pub(crate) network: Network,
    total: usize,
    next: AtomicUsize,
    /// By number: the envelope that the sender's node said it had accepted.
    accepted: Mutex<BTreeMap<usize, String>>,
    /// By envelope and code: when the recipient's node said it was handed over.
    confirmed: Mutex<BTreeMap<(String, String), String>>,
    /// Confirmations that claimed to be the first.
    firsts: Mutex<Vec<(String, String)>>,
}

/// The documents of a run: to one code or both, most small (inline in the journal), some larger (a blob).
pub(crate) fn document(number: usize) -> Document {
    let recipients: &[&str] = if number.is_multiple_of(3) { &CODES } else { &CODES[..1] };
    let length = if number % 16 == 7 { 200_000 } else { 500 + number * 31 % 4_000 };
    Document::new(&format!("doc-{number}"), "G22", recipients, length)
}

impl Mail {
    pub(crate) fn new(network: Network, total: usize) -> Arc<Self> {
        Arc::new(Self {
            network,
            total,
            next: AtomicUsize::new(0),
            accepted: Mutex::default(),
            confirmed: Mutex::default(),
            firsts: Mutex::default(),
        })
    }

    /// How much has been acknowledged: sends and confirmations.
    pub(crate) fn progress(&self) -> usize {
        self.accepted.lock().unwrap().len() + self.confirmed.lock().unwrap().len()
    }

    /// What `progress` ends at.
    pub(crate) fn whole(&self) -> usize {
        (0..self.total).map(|number| 1 + document(number).recipients.len()).sum()
    }

    /// Starts the senders (several at once) and a recipient for each code.
    pub(crate) fn start(self: &Arc<Self>) -> tokio::task::JoinSet<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let mail = Arc::clone(self);
            tasks.spawn(async move { mail.send_on().await });
        }
        for code in CODES {
            let mail = Arc::clone(self);
            tasks.spawn(async move { mail.receive_on(code).await });
        }
        tasks
    }

    async fn send_on(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total {
                return;
            }
            let envelope = self.send(number).await;
            self.accepted.lock().unwrap().insert(number, envelope);
        }
    }

    /// Sends until the node says that it has accepted.
    async fn send(&self, number: usize) -> String {
        let (document, mut client) = (document(number), self.network.client("G22"));
        let start = Instant::now();
        loop {
            match client.send(&document).await {
                Ok(reply) if reply.state() == State::Accepted => return reply.envelope,
                Ok(reply) => panic!("document {number} is not accepted: {reply:?}"),
                Err(status) => assert!(start.elapsed() < PATIENCE, "document {number} cannot be sent: {status}"),
            }
            pause().await;
        }
    }

    async fn receive_on(&self, code: &str) {
        let mut client = self.network.client(code);
        let expected = (0..self.total).filter(|&number| document(number).recipients.iter().any(|r| r == code)).count();
        let (mut last_news, mut taken) = (Instant::now(), BTreeSet::new());
        while self.confirmed.lock().unwrap().keys().filter(|(_, to)| to == code).count() < expected {
            if last_news.elapsed() > PATIENCE {
                panic!("nothing arrives at {code} any more: {:#?}\n{}", self.missing(code).await, self.logs());
            }
            let Ok(items) = client.inbox(code, false).await else {
                pause().await;
                continue;
            };
            for item in items {
                // A break in the middle: the document stays in the inbox and is taken again.
                let Some(attachment) = item.attachments.first() else { panic!("no attachment: {item:?}") };
                let Ok(bytes) = client.attachment(&item.envelope, code, &attachment.name).await else { continue };
                let number: usize =
                    attachment.name.trim_start_matches("doc-").trim_end_matches(".pdf").parse().unwrap();
                assert!(bytes == document(number).file, "{} arrived changed at {code}", attachment.name);
                taken.insert(item.envelope);
            }
            // A confirmation whose answer got lost is asked for again: the document stands in the inbox no more.
            for envelope in std::mem::take(&mut taken) {
                match client.confirm(&envelope, code).await {
                    Ok(reply) => {
                        self.note_confirmed(&envelope, code, &reply.confirmed_at, reply.first);
                        last_news = Instant::now();
                    }
                    Err(_) => _ = taken.insert(envelope),
                }
            }
            pause().await;
        }
    }

    /// What was accepted for `code` and not confirmed by it, as the sender's node shows it, and as the recipient's.
    async fn missing(&self, code: &str) -> Vec<String> {
        let (accepted, confirmed) = (self.accepted.lock().unwrap().clone(), self.confirmed.lock().unwrap().clone());
        let mut missing = vec![format!("accepted {} of {}", accepted.len(), self.total)];
        missing.push(format!("{:?}", self.network.client(code).status().await));
        for (number, envelope) in accepted {
            let to_code = document(number).recipients.iter().any(|r| r == code);
            if to_code && !confirmed.contains_key(&(envelope.clone(), code.to_owned())) {
                missing.push(format!("{number}: {:?}", self.network.client("G22").sent(&envelope).await));
            }
        }
        missing
    }

    fn note_confirmed(&self, envelope: &str, code: &str, at: &str, first: bool) {
        let key = (envelope.to_owned(), code.to_owned());
        if first {
            let mut firsts = self.firsts.lock().unwrap();
            assert!(!firsts.contains(&key), "handed over twice: {key:?}");
            firsts.push(key.clone());
        }
        if let Some(before) = self.confirmed.lock().unwrap().insert(key, at.to_owned()) {
            assert_eq!(before, at, "{envelope} was handed over to {code} at two times");
        }
    }

    /// Everything that the sender's node acknowledged is in its outbox, and sent again it is the same envelope.
    pub(crate) async fn check_sender(&self) -> Vec<String> {
        let accepted = self.accepted.lock().unwrap().clone();
        let mut complaints = Vec::new();
        let known: BTreeSet<String> = self
            .patiently(|| async { self.network.client("G22").outbox("G22").await })
            .await
            .into_iter()
            .map(|i| i.envelope)
            .collect();
        for (number, envelope) in accepted {
            if !known.contains(&envelope) {
                complaints.push(format!("document {number} was accepted as {envelope} and is not in the outbox"));
            }
        }
        complaints
    }

    /// Everything that the recipient's node acknowledged stays handed over, at the same time, and never once more.
    pub(crate) async fn check_recipient(&self) -> Vec<String> {
        let confirmed = self.confirmed.lock().unwrap().clone();
        let mut complaints = Vec::new();
        for ((envelope, code), at) in confirmed {
            let reply = self.patiently(|| async { self.network.client(&code).confirm(&envelope, &code).await }).await;
            if reply.first || reply.confirmed_at != at {
                complaints.push(format!("{envelope} was handed over to {code} at {at}, and again: {reply:?}"));
            }
        }
        complaints
    }

    async fn patiently<T, F: Future<Output = Result<T, tonic::Status>>>(&self, mut call: impl FnMut() -> F) -> T {
        let start = Instant::now();
        loop {
            match call().await {
                Ok(reply) => return reply,
                Err(status) => assert!(start.elapsed() < PATIENCE, "no answer: {status}\n{}", self.logs()),
            }
            pause().await;
        }
    }

    pub(crate) fn logs(&self) -> String {
        let last = |id: &str| {
            let log = self.network.log(id);
            let lines: Vec<_> = log.lines().collect();
            format!("--- {id}\n{}\n", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
        };
        [truc_tests::network::RELAY, SENDER, RECIPIENT].map(last).concat()
    }

    /// After the run: nothing lost, nothing doubled, every receipt final and valid off line.
    pub(crate) async fn check_all(&self) {
        let accepted = self.accepted.lock().unwrap().clone();
        assert_eq!(accepted.len(), self.total);
        assert_eq!(accepted.values().collect::<BTreeSet<_>>().len(), self.total, "two documents became one envelope");
        let complaints = [self.check_sender().await, self.check_recipient().await].concat();
        assert!(complaints.is_empty(), "{complaints:#?}");
        // Sealing is what takes the time of this test: every fifth says enough.
        for (&number, envelope) in accepted.iter().step_by(5) {
            assert_eq!(&self.send(number).await, envelope, "document {number} sent again is another envelope");
        }
        let mut sender = self.network.client("G22");
        assert_eq!(sender.outbox("G22").await.unwrap().len(), self.total, "the outbox holds what nobody sent");
        for code in CODES {
            let inbox = self.network.client(code).inbox(code, true).await.unwrap();
            let got: Vec<_> = inbox.iter().map(|item| item.envelope.as_str()).collect();
            let expected: BTreeSet<_> = accepted
                .iter()
                .filter(|(number, _)| document(**number).recipients.iter().any(|r| r == code))
                .map(|(_, e)| e.as_str())
                .collect();
            assert_eq!(got.iter().copied().collect::<BTreeSet<_>>(), expected, "the inbox of {code}");
            assert_eq!(got.len(), expected.len(), "a document stands twice in the inbox of {code}");
        }
        for (&number, envelope) in &accepted {
            let item = self.wait_final(envelope).await;
            check_ladder(number, &item);
            let receipts = self.network.receipts("G22", envelope).await.unwrap();
            assert_eq!(
                receipts.len(),
                2 + 3 * document(number).recipients.len(),
                "receipts of document {number}: {receipts:#?}"
            );
            for (_, file) in receipts {
                self.network.assert_valid(&file);
            }
        }
        for id in [SENDER, RECIPIENT] {
            // Whoever was killed last may still be on its way back.
            until_async(&format!("{id} to be connected and without alarms"), || async {
                let status = self.network.client_of(id).status().await;
                let well = status.as_ref().is_ok_and(|status| status.connected && status.alarms.is_empty());
                if well { Ok(()) } else { Err(status) }
            })
            .await;
        }
    }

    async fn wait_final(&self, envelope: &str) -> OutboxItem {
        let handed_over = |item: &OutboxItem| {
            item.recipients
                .iter()
                .all(|r| r.state == "handed-over" && r.ladder.len() == 5 && r.ladder.iter().all(|step| step.r#final))
        };
        let start = Instant::now();
        loop {
            let item = self.patiently(|| async { self.network.client("G22").sent(envelope).await }).await;
            if let Some(item) = item.clone().filter(handed_over) {
                return item;
            }
            if start.elapsed() >= PATIENCE {
                let sender = self.network.client_of(SENDER).status().await;
                let recipient = self.network.client_of(RECIPIENT).status().await;
                panic!(
                    "not all receipts of {envelope} become final: {item:#?}\n{sender:#?}\n{recipient:#?}\n{}",
                    self.logs()
                );
            }
            pause().await;
        }
    }
}

/// Each recipient went through each state once.
fn check_ladder(number: usize, item: &OutboxItem) {
    assert_eq!(item.recipients.len(), document(number).recipients.len());
    for recipient in &item.recipients {
        let events: Vec<_> = recipient.ladder.iter().map(|step| (step.event.as_str(), step.role.as_str())).collect();
        let distinct: BTreeSet<_> = events.iter().collect();
        assert_eq!(distinct.len(), events.len(), "an event twice: {events:?}");
        assert!(!recipient.late && recipient.reason.is_empty(), "{recipient:?}");
    }
}

/// Between two questions of a document system.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}
