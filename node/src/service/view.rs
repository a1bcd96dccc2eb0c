//! Shows the core's documents in the words of the local API.

use truc_proto::{AgencyId, EventUri, Reason, Role, StatusCode, node_v1};

use crate::{
    core::{
        Business, Code, CodeState, Key, OwnCheckpoint, Pair, PairState, Received, Sent, StatusNote, Step, is_final,
    },
    records::{About, Body, Change, ChangeReceiver, Content},
    shell::{Bodies, BodyError},
};

/// The ladder of one recipient.
fn ladder(own: Option<OwnCheckpoint>, sent: &Sent, recipient: &AgencyId) -> Vec<node_v1::LadderStep> {
    // What the relay says is not about those who are reached through today's axis.
    let legacy = sent.pairs.get(recipient).is_some_and(|pair| pair.passage.is_some());
    let of_it =
        |step: &&Step| step.recipient.as_ref().is_none_or(|r| r == recipient) && !(legacy && step.role == Role::Relay);
    let mut steps: Vec<&Step> = sent.steps.iter().filter(of_it).collect();
    steps.sort_by_key(|step| step.time);
    let shown = |step: &Step| node_v1::LadderStep {
        event: step.event.name().into(),
        role: step.role.to_string(),
        time: step.time.to_string(),
        reason: step.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        text: step.event.vietnamese(step.role).into(),
        reason_text: step
            .reason
            .map(|reason| format!("{} / {}", reason.english(), reason.vietnamese()))
            .unwrap_or_default(),
        r#final: is_final(own, step, &sent.finals),
        leaf_hash: step.leaf.as_bytes().to_vec().into(),
    };
    steps.into_iter().map(shown).collect()
}

/// Words in both languages for an event at the border to today's axis.
pub(super) fn border(event: EventUri) -> String {
    event.border().map(|(english, vietnamese)| format!("{english} / {vietnamese}")).unwrap_or_default()
}

fn recipient(own: Option<OwnCheckpoint>, sent: &Sent, code: &AgencyId, pair: &Pair) -> node_v1::RecipientState {
    let mut text = pair.reason.map(Reason::vietnamese).unwrap_or_default().to_owned();
    let passage = pair.passage.as_ref();
    if let Some(passage) = passage {
        let detail = if passage.detail.is_empty() { &passage.last_error } else { &passage.detail };
        text = match pair.state {
            PairState::PassedOn => border(EventUri::RelayToNonErds),
            PairState::Failed => format!("{text} {detail}").trim().to_owned(),
            _ if detail.is_empty() => "waits for today's axis / Chờ chuyển sang trục hiện hành".to_owned(),
            _ => format!("waits for today's axis / Chờ chuyển sang trục hiện hành: {detail}"),
        };
    }
    if let Some(successor) = &pair.successor {
        text = format!("{text} ({successor})");
    }
    let with_successor = || pair.successor.as_ref().filter(|_| pair.reason == Some(Reason::ClosedCode));
    if let Some(envelope) = pair.superseded_by.or_else(|| sent.has(with_successor()?)) {
        text = format!("{text} → {envelope}");
    }
    node_v1::RecipientState {
        recipient: code.to_string(),
        state: pair.state.as_str().into(),
        reason: pair.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        text,
        late: pair.late,
        business_status: pair.business.current.map(|code| code.to_string()).unwrap_or_default(),
        ladder: ladder(own, sent, code),
        legacy: passage.is_some(),
        legacy_doc_id: passage.map(|passage| passage.doc_id.clone()).unwrap_or_default(),
        statuses: Vec::new(),
        withdrawal: pair.business.withdrawal.as_str().into(),
        change: pair.business.change.as_str().into(),
    }
}

/// The statuses of each recipient, and where the words of its failure stand, in the order of [`recipients`].
pub(super) fn details_of_recipients(sent: &Sent) -> Vec<(Statuses, Option<u64>)> {
    let of = |(code, pair): (&AgencyId, &Pair)| {
        (Statuses::of(&pair.business, &sent.key, code), pair.words.filter(|_| pair.state == PairState::Failed))
    };
    sent.pairs.iter().map(of).collect()
}

/// Business statuses as they are shown, and where their words stand in the journal.
#[derive(Default)]
pub(super) struct Statuses {
    notes: Vec<node_v1::StatusNote>,
    positions: Vec<u64>,
}

impl Statuses {
    /// Between the sender of `document` and `recipient`.
    pub(super) fn of(business: &Business, document: &Key, recipient: &AgencyId) -> Self {
        let shown = |note: &StatusNote| {
            let to = if note.from == document.sender { recipient } else { &document.sender };
            node_v1::StatusNote {
                code: note.code.to_string(),
                from: note.from.to_string(),
                to: to.to_string(),
                time: note.time.to_string(),
                reason: String::new(),
                document: document.envelope.to_string(),
                sequence: note.sequence,
                late: note.late,
                text: note.code.vietnamese().into(),
                english: note.code.english().into(),
                staff: String::new(),
                envelope: note.envelope.to_string(),
            }
        };
        Self {
            notes: business.notes.iter().map(shown).collect(),
            positions: business.notes.iter().map(|note| note.position).collect(),
        }
    }

    /// Adds their words. Blocks.
    pub(super) fn read(self, bodies: &Bodies) -> Result<Vec<node_v1::StatusNote>, BodyError> {
        let add = |(mut note, position): (node_v1::StatusNote, u64)| {
            let status = match bodies.body(position)?.0 {
                Body::Outgoing(outgoing) => outgoing.status,
                Body::Content(content) => content.status,
                Body::TakenOver(taken) => taken.content.status,
                _ => Vec::new(),
            };
            let said = status_of(&status).unwrap_or_default();
            (note.reason, note.staff) = (said.reason, said.staff);
            Ok(note)
        };
        self.notes.into_iter().zip(self.positions).map(add).collect()
    }
}

/// The words of the last request to withdraw, and when it was agreed to.
pub(super) fn withdrawal_words(statuses: &[node_v1::StatusNote]) -> (String, String) {
    let last = |code: StatusCode| statuses.iter().rev().find(|note| note.code == code.as_str() && !note.late);
    let reason = last(StatusCode::WithdrawalRequested).map(|note| note.reason.clone());
    let agreed = last(StatusCode::WithdrawalAgreed).map(|note| note.time.clone());
    (reason.unwrap_or_default(), agreed.unwrap_or_default())
}

pub(super) fn recipients(own: Option<OwnCheckpoint>, sent: &Sent) -> Vec<node_v1::RecipientState> {
    sent.pairs.iter().map(|(code, pair)| recipient(own, sent, code, pair)).collect()
}

/// An entry of the outbox but for what stands in its body.
pub(super) fn outbox_item(own: Option<OwnCheckpoint>, sent: &Sent) -> node_v1::OutboxItem {
    node_v1::OutboxItem {
        envelope: sent.key.envelope.to_string(),
        sender: sent.key.sender.to_string(),
        kind: sent.kind.to_string(),
        accepted_at: sent.accepted_at.to_string(),
        subject: String::new(),
        state: sent.state().into(),
        recipients: recipients(own, sent),
        last_error: sent.last_error.clone(),
        bytes_sent: sent.bytes_sent,
        payload_length: sent.payload_length,
        ..node_v1::OutboxItem::default()
    }
}

/// An entry of the inbox but for what stands in its body.
pub(super) fn inbox_item(received: &Received, code: &AgencyId, entry: &Code) -> node_v1::InboxItem {
    let confirmed = entry.state == CodeState::HandedOver;
    node_v1::InboxItem {
        envelope: received.key.envelope.to_string(),
        sender: received.key.sender.to_string(),
        recipient: code.to_string(),
        kind: received.kind.to_string(),
        priority: u32::from(received.priority.value()),
        consigned_at: entry.consigned_at.map(|at| at.to_string()).unwrap_or_default(),
        confirmed,
        confirmed_at: entry.confirmed_at.filter(|_| confirmed).map(|at| at.to_string()).unwrap_or_default(),
        legacy: received.origin.is_some(),
        legacy_doc_id: received.origin.as_ref().map(|origin| origin.doc_id.clone()).unwrap_or_default(),
        payload_removed_at: received.removed.map(|removal| removal.at.to_string()).unwrap_or_default(),
        withdrawal: entry.business.withdrawal.as_str().into(),
        change: Some(node_v1::Change { answer: entry.business.change.as_str().into(), ..Default::default() }),
        ..node_v1::InboxItem::default()
    }
}

/// The word for BussinessDocType.
pub(super) const fn kind_of_change(change: &Change) -> &'static str {
    match change.kind {
        1 => "revokes",
        2 => "updates",
        _ => "replaces",
    }
}

pub(super) fn shown_change(change: Change) -> node_v1::Change {
    let kind = kind_of_change(&change).to_owned();
    let Change { document_ids, reason, receivers, .. } = change;
    let receiver = |receiver: ChangeReceiver| node_v1::ChangeReceiver {
        code: receiver.code,
        what: receiver.added.map_or("", |added| if added { "added" } else { "dropped" }).to_owned(),
    };
    let receivers = receivers.into_iter().map(receiver).collect();
    node_v1::Change { kind, document_ids, reason, receivers, ..node_v1::Change::default() }
}

/// Adds what the opened content says.
pub(super) fn add_content(item: &mut node_v1::InboxItem, content: &Content, level: String) {
    let About { subject, document_id, attachments, container_length, warnings, change, particulars: _ } =
        content.about.clone();
    // Where it stands was known before what it is.
    let answer = item.change.take().map(|change| change.answer).unwrap_or_default();
    item.change = change.map(|change| node_v1::Change { answer, ..shown_change(change) });
    item.subject = subject;
    item.document_id = document_id;
    item.container_length = container_length;
    item.warnings = warnings;
    item.level = level;
    item.verdict.clone_from(&content.verdict);
    item.verdict_text.clone_from(&content.verdict_text);
    item.attachments = attachments
        .into_iter()
        .map(|a| node_v1::Attachment { name: a.name, length: a.length, sha256: a.sha256.into() })
        .collect();
    item.status = status_of(&content.status);
}

/// What a `status.json` says.
pub(super) fn status_of(bytes: &[u8]) -> Option<node_v1::StatusNote> {
    let status = truc_proto::Raw::<truc_proto::BusinessStatus>::parse(bytes.to_vec()).ok()?;
    Some(node_v1::StatusNote {
        code: status.code.to_string(),
        from: status.from.to_string(),
        to: status.to.to_string(),
        time: status.time.to_string(),
        reason: status.reason.clone().unwrap_or_default(),
        document: status.document.to_string(),
        sequence: status.sequence,
        late: false,
        text: status.code.vietnamese().into(),
        english: status.code.english().into(),
        staff: status.staff.clone().unwrap_or_default(),
        envelope: String::new(),
    })
}
