//! Asks today's axis for mail, takes it over, and says so there: `done` only once it is on the device (I1), `fail` when it is refused.
//!
//! What that axis lists again, under the same name or another, is taken over once: by its name, and by what it is (DocumentId, agencies,
//! subject, attachments), so that a code that has just moved and its old mailbox show a document once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tracing::{info, warn};
use truc_proto::{
    AgencyId, EnvelopeId, ForeignCode, Reason,
    limits::SDK_LIST_ITEMS_MAX,
    sdk::{MessageType, Progress, client::Item, client::is_doc_id},
};

use super::{CallFailed, Gateway};
use crate::{
    core::{Alarm, Answer, Input},
    pipe::Spool,
    pipeline::{Listed, PipelineError, Refusal},
    records::{About, TakenOver},
    service::found,
    shell::{Shell, clock},
};

/// Longest wait between two polls of an axis in trouble.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// An axis in trouble is asked so many times less often at most.
const SLOWER_MAX: u32 = 10;
/// A packet that could not be read so often is refused: it will not become another.
const DAMAGED_MAX: u32 = 5;
/// Most such packets that are remembered.
const DAMAGED_KEPT_MAX: usize = 1_000;

/// Runs until the node stops.
pub(crate) async fn run(shell: Arc<Shell>) {
    let Some(gateway) = shell.gateway.clone() else { return };
    let mut stopping = shell.stopping.clone();
    let (mut failures, mut damaged) = (0_u32, BTreeMap::new());
    loop {
        let wait = gateway.settings.poll.saturating_mul((1 << failures.min(10)).min(SLOWER_MAX));
        let wait = wait.min(WAIT_MAX.max(gateway.settings.poll));
        // Between half and the whole of it, so that nodes do not come together.
        let jitter = (wait / 2).mul_f64(f64::from(clock::jitter()) / f64::from(u32::MAX));
        tokio::select! {
            () = tokio::time::sleep(wait / 2 + jitter) => {}
            _ = stopping.changed() => return,
        }
        let mut poll = Poll { shell: &shell, gateway: &gateway, damaged: &mut damaged };
        let outcome = tokio::select! {
            outcome = poll.all() => outcome,
            _ = stopping.changed() => return,
        };
        let text = match outcome {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(why) => {
                failures = failures.saturating_add(1);
                warn!(why, failures, "no mail from today's axis");
                Some(format!("today's axis gives no mail: {why}; tried again by itself"))
            }
        };
        if shell.engine.tell(Input::Alarm { alarm: Alarm::GatewayMail, text }).await.is_err() {
            return;
        }
    }
}

pub(super) struct Poll<'p> {
    pub(super) shell: &'p Arc<Shell>,
    pub(super) gateway: &'p Gateway,
    damaged: &'p mut BTreeMap<String, u32>,
}

/// What becomes of one item; an error ends the poll, which comes back.
pub(super) enum Taken {
    /// On the device.
    Yes,
    /// Refused for good, in words.
    No(String),
    /// Neither now.
    Later(String),
}

impl Poll<'_> {
    async fn all(&mut self) -> Result<(), String> {
        // Documents first: a status may be about one of them.
        self.list(MessageType::Document).await?;
        self.list(MessageType::Status).await
    }

    async fn list(&mut self, message: MessageType) -> Result<(), String> {
        loop {
            let items = self.gateway.axis.received(message).await.map_err(told)?;
            let full = items.len() >= SDK_LIST_ITEMS_MAX;
            let mut seen = BTreeSet::new();
            let mut taken = 0_usize;
            for item in items {
                if seen.insert((item.text("docId"), item.text("to"))) && self.one(&item, message).await? {
                    taken += 1;
                }
            }
            if !full || taken == 0 {
                return Ok(());
            }
        }
    }

    /// True when it will not be listed again.
    async fn one(&mut self, item: &Item, message: MessageType) -> Result<bool, String> {
        let doc_id = item.text("docId");
        if !is_doc_id(&doc_id) {
            warn!("today's axis lists something under a name that cannot be said back; it is passed over");
            return Ok(false);
        }
        let Some(to) = self.own_code(&item.text("to")) else {
            warn!(
                doc_id,
                to = item.text("to"),
                "today's axis lists mail for a code that this gateway does not speak for"
            );
            return Ok(false);
        };
        // Documents and statuses may be named alike there.
        let name = match message {
            MessageType::Document => doc_id.clone(),
            MessageType::Status => format!("status:{doc_id}"),
        };
        let listed = Listed { doc_id: name, from: item.text("from"), to };
        let outcome = match message {
            _ if self.is_known(&listed).await? => Taken::Yes,
            MessageType::Document => self.take(&listed).await?,
            MessageType::Status => self.take_status(&listed, &doc_id).await?,
        };
        let progress = match outcome {
            Taken::Yes => Progress::Done,
            Taken::No(why) => {
                warn!(doc_id, from = listed.from, why, "mail from today's axis refused");
                let what = if message == MessageType::Status { "status" } else { "document" };
                let text = format!("the {what} {doc_id} of {} from today's axis was refused: {why}", listed.from);
                let alarm = Input::Alarm { alarm: Alarm::GatewayRefused, text: Some(text) };
                self.shell.engine.tell(alarm).await.map_err(|error| error.to_string())?;
                Progress::Fail
            }
            Taken::Later(why) => {
                warn!(doc_id, why, "mail from today's axis not taken yet");
                return Ok(false);
            }
        };
        self.damaged.remove(&doc_id);
        self.gateway.axis.update(message, &doc_id, progress).await.map_err(told)?;
        Ok(true)
    }

    /// The code of this gateway that the axis means, in whatever form.
    fn own_code(&self, written: &str) -> Option<AgencyId> {
        let code = written.parse::<ForeignCode>().ok()?;
        let code = match self.shell.directory() {
            Some(directory) => directory.present_code(&code),
            None => code.as_agency(),
        }?;
        self.gateway.settings.codes.contains(&code).then_some(code)
    }

    /// Whether it was taken over before, however long ago.
    pub(super) async fn is_known(&self, listed: &Listed) -> Result<bool, String> {
        let (doc_id, to) = (listed.doc_id.clone(), listed.to.clone());
        let known = self.shell.engine.ask(move |core| core.taken_over(&doc_id, &to).is_some());
        if known.await.map_err(|error| error.to_string())? {
            return Ok(true);
        }
        let (archive, doc_id, to) = (self.shell.archive.clone(), listed.doc_id.clone(), listed.to.clone());
        let look = move || archive.taken_over(&doc_id, &to);
        let found = self.shell.work("looking for a document", look).await.map_err(|error| error.to_string())?;
        found.map_err(|error| error.to_string())
    }

    async fn take(&mut self, listed: &Listed) -> Result<Taken, String> {
        if self.shell.engine.is_full() {
            return Err("too much is open on this node".to_owned());
        }
        let directory = self.shell.directory().ok_or("there is no directory yet")?;
        let mut file = Spool::new(&self.gateway.spool);
        match self.gateway.axis.edoc(MessageType::Document, &listed.doc_id, &mut file).await {
            Ok(()) => {}
            Err(error @ (CallFailed::Way(_) | CallFailed::Answer { .. })) => return Err(told(error)),
            Err(error @ CallFailed::TooLong) => return Ok(Taken::No(told(error))),
            Err(error @ CallFailed::Refused(_)) => return Ok(Taken::Later(told(error))),
            Err(error @ CallFailed::Packet(_)) => return Ok(self.is_damaged(&listed.doc_id, told(error))),
        }
        let mut packet = file.store().map_err(|error| error.to_string())?;
        let (pipeline, wanted) = (Arc::clone(&self.shell.pipeline), listed.clone());
        let work = move || pipeline.take_over(&mut packet, &wanted, &directory, clock::moment());
        let record = match self.shell.work("taking a document over", work).await.map_err(|error| error.to_string())? {
            Ok(record) => record,
            Err(PipelineError::Refused(refusal)) => return Ok(Taken::No(words(&refusal))),
            Err(error) => return Err(crate::chain(&error)),
        };
        if let Some(other) = self.double_of(&record, &listed.to).await? {
            info!(doc_id = listed.doc_id, %other, "today's axis lists a document that is here already");
            return Ok(Taken::Yes);
        }
        self.ask_back(&record, listed).await?;
        let input = |reply| Input::TakeOver { record: Box::new(record), reply };
        match self.shell.engine.call(input).await.map_err(|error| error.to_string())? {
            Answer::Accepted { key, first } => {
                info!(doc_id = listed.doc_id, envelope = %key.envelope, first, "taken over from today's axis");
                Ok(Taken::Yes)
            }
            Answer::Busy => Err("too much is open on this node".to_owned()),
            other => Err(format!("an unexpected answer of the core: {other:?}")),
        }
    }

    pub(super) fn is_damaged(&mut self, doc_id: &str, why: String) -> Taken {
        if self.damaged.len() >= DAMAGED_KEPT_MAX {
            self.damaged.clear();
        }
        let times = self.damaged.entry(doc_id.to_owned()).or_default();
        *times += 1;
        if *times >= DAMAGED_MAX { Taken::No(why) } else { Taken::Later(why) }
    }

    /// The envelope, from wherever it came, with the same document for the same code: then its old mailbox holds it, too. Another packet under the
    /// same number is another document.
    async fn double_of(&self, record: &TakenOver, to: &AgencyId) -> Result<Option<EnvelopeId>, String> {
        let about = &record.content.about;
        let Ok(sender) = record.content.sender.parse::<AgencyId>() else { return Ok(None) };
        if about.document_id.is_empty() {
            return Ok(None);
        }
        let found = found::by_document_id(self.shell, false, &sender, &about.document_id).await;
        for envelope in found.map_err(|error| error.text().to_owned())? {
            let received = found::received(self.shell, envelope).await;
            for received in received.map_err(|error| error.text().to_owned())? {
                let has = received.codes.get(to).is_some_and(|code| code.consigned_at.is_some());
                let Some(content) = received.content.filter(|_| has && received.key.sender == sender) else { continue };
                let other = found::about(self.shell, content).await.map_err(|error| error.text().to_owned())?;
                if same(&other, about) {
                    return Ok(Some(envelope));
                }
            }
        }
        Ok(None)
    }
}

/// Whether two packets of one sender, for one code, are one document.
fn same(one: &About, other: &About) -> bool {
    let files = |about: &About| about.attachments.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>();
    (&one.document_id, one.subject.trim()) == (&other.document_id, other.subject.trim())
        // A revocation bears the number of what it revokes.
        && one.change.as_ref().map(|change| change.kind) == other.change.as_ref().map(|change| change.kind)
        && files(one) == files(other)
}

fn words(refusal: &Refusal) -> String {
    let vietnamese = if refusal.reason == Reason::Invalid { "" } else { refusal.vietnamese.as_str() };
    format!("{}: {} / {vietnamese}", refusal.reason, refusal.english)
}

pub(super) fn told(error: CallFailed) -> String {
    crate::chain(&error)
}
