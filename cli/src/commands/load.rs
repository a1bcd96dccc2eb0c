//! `truc load`: many small documents at an even pace, as a document system sends them, and whether each arrived with its receipts. For whoever exchanges
//! keys, restarts or restores a node and wants to see that mail goes on meanwhile.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::Code;
use truc_proto::{
    edxml::Date,
    node_v1::{
        DocumentForm, FileHeader, ListOutboxRequest, OutboxItem, SendHeader, SendReply, SendRequest, send_header::Form,
        send_reply::State, send_request::Part,
    },
};

use crate::{
    args::LoadArgs,
    client::{Node, block_on, connect},
    clock::now,
    exit::{Exit, ExitContext as _, Failure, Outcome},
    output::{Output, Tone},
};

/// Documents that may be on their way to the node at once; beyond it the pace is what the node allows.
const AT_ONCE: usize = 64;
/// Between two tries of what a node that is away did not answer, under the same key.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a node may be away.
const AWAY_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the outbox.
const GLANCE: Duration = Duration::from_millis(200);

/// Who sends what to whom, and how fast.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) node: Node,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Begins the idempotency keys: of each run another one.
    pub(crate) name: String,
    pub(crate) every: Duration,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) envelopes: Vec<String>,
    pub(crate) held: usize,
    /// Sent again, because the node did not answer.
    pub(crate) again: usize,
    /// Why what was not taken was not.
    pub(crate) refused: Vec<String>,
    pub(crate) longest: Duration,
    pub(crate) took: Duration,
}

impl Tally {
    /// Envelopes that stand for more than one document sent.
    pub(crate) fn doubled(&self) -> usize {
        self.envelopes.len() - self.envelopes.iter().collect::<BTreeSet<_>>().len()
    }
}

/// What has become of documents, as their sender's outbox says.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) arrived: usize,
    /// With every receipt final.
    pub(crate) proven: usize,
    /// What has not arrived: envelope and state.
    pub(crate) missing: Vec<String>,
    /// What has arrived, with receipts that are not final.
    pub(crate) provisional: Vec<String>,
}

impl Stream {
    /// Sends until `stop`, and waits for all answers.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Tally {
        let started = Instant::now();
        let (mut tally, mut sending) = (Tally::default(), JoinSet::new());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut pace = tokio::time::interval(self.every);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        tokio::pin!(stop);
        let mut number = 0_u64;
        loop {
            let place = tokio::select! {
                biased;
                () = &mut stop => break,
                place = async { pace.tick().await; Arc::clone(&places).acquire_owned().await } => place,
            };
            let Ok(place) = place else { break };
            number += 1;
            let (stream, number) = (self.clone(), number);
            sending.spawn(async move {
                let sent = stream.send(number).await;
                drop(place);
                sent
            });
            while let Some(sent) = sending.try_join_next() {
                tally.add(sent);
            }
        }
        while let Some(sent) = sending.join_next().await {
            tally.add(sent);
        }
        tally.took = started.elapsed();
        tally
    }

    /// One document.
    pub(crate) async fn one(self) -> Tally {
        let mut tally = Tally::default();
        tally.add(Ok(self.send(1).await));
        tally
    }

    /// One document, again under its key while the node is away.
    async fn send(mut self, number: u64) -> Sent {
        let started = Instant::now();
        let mut again = 0;
        loop {
            let answer = match self.node.send(tokio_stream::iter(self.letter(number))).await {
                Ok(reply) => Ok(reply.into_inner()),
                Err(status) if away(status.code()) && started.elapsed() < AWAY_MAX => {
                    again += 1;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(status) => Err(status.message().to_owned()),
            };
            return Sent { answer, again, took: started.elapsed() };
        }
    }

    fn letter(&self, number: u64) -> Vec<SendRequest> {
        let form = DocumentForm {
            subject: format!("Văn bản thử {} số {number}", self.name),
            code_number: number.to_string(),
            code_notation: "TT".into(),
            type_name: "Công văn".into(),
            promulgation_date: Date::of(now()).to_string(),
            ..DocumentForm::default()
        };
        let header = SendHeader {
            idempotency_key: format!("{}-{number}", self.name),
            sender: self.from.clone(),
            recipients: vec![self.to.clone()],
            level: "ordinary".into(),
            form: Some(Form::Document(form)),
            ..SendHeader::default()
        };
        with_a_file(header)
    }
}

/// A document of a few bytes.
pub(crate) fn with_a_file(header: SendHeader) -> Vec<SendRequest> {
    let body = b"Kinh gui: theo danh sach.\n".as_slice();
    let file = FileHeader { name: "cong-van.txt".into(), content_type: "text/plain".into(), length: body.len() as u64 };
    let parts = [Part::Header(header), Part::File(file), Part::Data(body.into())];
    parts.into_iter().map(|part| SendRequest { part: Some(part) }).collect()
}

/// The node, or the way to it, is not there now.
const fn away(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted
    )
}

struct Sent {
    answer: Result<SendReply, String>,
    again: usize,
    took: Duration,
}

impl Tally {
    fn add(&mut self, sent: Result<Sent, tokio::task::JoinError>) {
        let Ok(Sent { answer, again, took }) = sent else {
            return self.refused.push("the program broke off".to_owned());
        };
        self.again += again;
        match answer {
            Ok(SendReply { refused: Some(refusal), .. }) => self.refused.push(refusal.english),
            Ok(reply) => {
                self.held += usize::from(reply.state() == State::Held);
                self.envelopes.push(reply.envelope);
                self.longest = self.longest.max(took);
            }
            Err(why) => self.refused.push(why),
        }
    }
}

/// Looks at the sender's outbox until every document has arrived and its receipts are final, or patience is over.
pub(crate) async fn settle(node: &mut Node, envelopes: &[String], patience: Duration) -> anyhow::Result<Settled> {
    let started = Instant::now();
    let mut settled = Settled::default();
    for envelope in envelopes {
        loop {
            let item = find(node, envelope).await?;
            let there = |item: &OutboxItem| item.recipients.iter().all(|to| arrived(&to.state));
            let proven = |item: &OutboxItem| item.recipients.iter().all(|to| to.ladder.iter().all(|step| step.r#final));
            let (there, proven) = (item.as_ref().is_some_and(there), item.as_ref().is_some_and(proven));
            let over = started.elapsed() >= patience;
            if (there && proven) || over {
                settled.arrived += usize::from(there);
                settled.proven += usize::from(there && proven);
                if there && !proven {
                    settled.provisional.push(envelope.clone());
                }
                if !there {
                    let states = item.iter().flat_map(|item| &item.recipients).map(|to| to.state.as_str());
                    settled.missing.push(format!("{envelope} {}", states.collect::<Vec<_>>().join(" ")));
                }
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
    Ok(settled)
}

fn arrived(state: &str) -> bool {
    matches!(state, "consigned" | "handed-over")
}

/// A document in its sender's outbox.
pub(crate) async fn find(node: &mut Node, envelope: &str) -> anyhow::Result<Option<OutboxItem>> {
    let request = ListOutboxRequest { envelope: envelope.to_owned(), with_final: true, ..ListOutboxRequest::default() };
    let reply = node.list_outbox(request).await.context("read the outbox")?;
    Ok(reply.into_inner().items.into_iter().next())
}

pub(crate) fn run(args: &LoadArgs, output: &Output) -> Outcome {
    let (tally, settled) = block_on(load(args, output))?;
    let (count, refused) = (tally.envelopes.len(), tally.refused.len());
    let good = refused == 0 && tally.doubled() == 0 && settled.missing.is_empty() && settled.proven == count;
    output.show(&report(&tally, &settled), |o| {
        let seconds = tally.took.as_secs_f64();
        let tone = if good { Tone::Good } else { Tone::Bad };
        o.line(o.paint(tone, format!("{count} accepted in {seconds:.1} s ({:.0}/s), {} of them held first, {refused} refused / đã nhận {count}, giữ lại trước khi gửi {}, từ chối {refused}", count as f64 / seconds.max(0.001), tally.held, tally.held)));
        o.line(format!("longest acceptance {} ms; {} times the node did not answer and was asked again / lâu nhất {} ms; gửi lại {} lần vì nút chưa trả lời", tally.longest.as_millis(), tally.again, tally.longest.as_millis(), tally.again));
        o.line(o.paint(tone, format!("{} arrived, {} with every receipt final, {} twice, {} missing / đã đến {}, đủ biên nhận {}, trùng {}, thiếu {}", settled.arrived, settled.proven, tally.doubled(), settled.missing.len(), settled.arrived, settled.proven, tally.doubled(), settled.missing.len())));
        let refused: BTreeSet<_> = tally.refused.iter().collect();
        refused.iter().take(5).for_each(|why| o.line(format!("  refused: {why}")));
        settled.missing.iter().take(5).for_each(|what| o.line(format!("  missing: {what}")));
        settled.provisional.iter().take(5).for_each(|what| o.line(format!("  receipts not final: {what}")));
        if !settled.missing.is_empty() || !settled.provisional.is_empty() {
            o.line("`truc outbox ENVELOPE` says where it is, `truc status` of both nodes why / `truc outbox` cho biết văn bản đang ở đâu, `truc status` của hai nút cho biết lý do");
        }
    });
    Ok(if good { Exit::Good } else { Exit::Invalid })
}

async fn load(args: &LoadArgs, output: &Output) -> Result<(Tally, Settled), Failure> {
    let mut node = connect(&args.node).await?;
    let stream = Stream {
        node: node.clone(),
        from: args.from.to_string(),
        to: args.to.to_string(),
        name: format!("load-{}", now().unix_ms()),
        every: Duration::from_secs(1) / args.rate,
    };
    let end = Duration::from_secs(args.seconds);
    output.line(format!(
        "{} documents/s from {} to {} for {} s; Ctrl-C ends it earlier / {} văn bản/giây từ {} đến {} trong {} giây; Ctrl-C để dừng sớm",
        args.rate, args.from, args.to, args.seconds, args.rate, args.from, args.to, args.seconds
    ));
    let stop = async {
        // Whatever ends the wait ends the load.
        let _ = tokio::time::timeout(end, tokio::signal::ctrl_c()).await;
    };
    let tally = stream.run(stop).await;
    if tally.envelopes.is_empty() {
        let why = tally.refused.first().cloned().unwrap_or_else(|| "nothing was sent".to_owned());
        return Err(Failure::new(Exit::Invalid, anyhow!(why).context("the node took nothing")));
    }
    let settled = settle(&mut node, &tally.envelopes, Duration::from_secs(args.patience)).await;
    Ok((tally, settled.or_exit(Exit::Unavailable, "look whether all arrived")?))
}

fn report(tally: &Tally, settled: &Settled) -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "accepted": tally.envelopes.len(), "held": tally.held, "refused": tally.refused, "asked_again": tally.again,
        "longest_acceptance_ms": ms(tally.longest), "took_ms": ms(tally.took), "doubled": tally.doubled(),
        "arrived": settled.arrived, "receipts_final": settled.proven, "missing": settled.missing, "provisional": settled.provisional,
    })
}
