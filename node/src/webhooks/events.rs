//! What a webhook tells, out of the journal: names and states, no content. Whoever is told fetches the rest with its token.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use ring::hmac;
use serde::Serialize;
use serde_json::{Value, json};
use truc_ledger::{Position, ReadError, merkle::leaf_hash};
use truc_proto::{AgencyId, Digest, EnvelopeId, EnvelopeKind, Event, Raw, Timestamp, limits::WEBHOOK_STEP};

use super::{EventType, Hook};
use crate::{
    duties::Duty,
    records::{Body, DutyTold, NodeRecord, SentFailed},
    service::{self, Error},
    shell::Shell,
    tokens::Grant,
};

/// A message, signed as Standard Webhooks have it (<https://www.standardwebhooks.com>): HMAC-SHA256 over id, timestamp and body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The same for every attempt: what was taken before is known by it.
    pub id: String,
    /// When this attempt was signed, in seconds since 1970.
    pub timestamp: i64,
    /// `v1,` and the signature in base64.
    pub signature: String,
    /// JSON.
    pub body: Bytes,
}

impl Message {
    /// Signed for an attempt at this time.
    #[must_use]
    pub fn signed(id: String, body: Bytes, now: Timestamp, key: &hmac::Key) -> Self {
        let timestamp = now.unix_ms() / 1_000;
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(&body);
        let signature = format!("v1,{}", BASE64.encode(context.sign().as_ref()));
        Self { id, timestamp, signature, body }
    }
}

/// Something in the journal that webhooks may tell.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Where.
    pub(super) position: u64,
    /// Which of those that stand there.
    pub(super) n: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A document or status of others for one of our codes.
    Consigned(Box<Event>),
    /// What is attested about an envelope of ours, and the hash of the leaf.
    Evidence(Box<Event>, Digest),
    /// An envelope of ours that failed here; for all recipients when none is named.
    Failed { sender: AgencyId, envelope: EnvelopeId, reason: String, recipients: Vec<String>, at: Timestamp },
    /// A duty's deadline is near, or has passed.
    Duty(Box<DutyTold>, AgencyId, Duty),
}

/// The next records from `from` on; says where the next look begins. Blocks.
pub(super) fn look(ledger: &truc_ledger::Ledger, from: u64) -> Result<(Vec<Seen>, u64), ReadError> {
    let mut seen = Vec::new();
    let next = ledger.read_on(Position(from), WEBHOOK_STEP, |Position(position), _, record| {
        let Ok(body) = NodeRecord::read(&record.state) else { return };
        let told = said_by(body, record.leaf).into_iter().enumerate();
        seen.extend(told.filter_map(|(n, what)| Some(Seen { position, n, what: what? })));
    })?;
    Ok((seen, next.0))
}

/// What a record says; each thing has its number there, whether it is told or not.
fn said_by(body: Body, leaf: Option<Vec<u8>>) -> Vec<Option<What>> {
    let event = |leaf: Vec<u8>| Raw::<Event>::parse(leaf).ok().map(|event| Box::new((*event).clone()));
    let attested = |leaf: Vec<u8>| {
        let hash = leaf_hash(&leaf);
        event(leaf).map(|event| What::Evidence(event, hash))
    };
    match body {
        // From this axis, or through the gateway from today's.
        Body::Consigned(_) | Body::TakenOver(_) => vec![leaf.and_then(event).map(What::Consigned)],
        // Nobody else attests what goes to today's axis.
        Body::PassedOn(_) => vec![leaf.and_then(attested)],
        Body::Evidence(evidence) => {
            let leaves = evidence.items.into_iter().map(|item| item.leaf);
            leaves.map(|leaf| Some(leaf).filter(|leaf| !leaf.is_empty()).and_then(attested)).collect()
        }
        Body::SentFailed(SentFailed { sender, envelope, reason, at_ms, recipients, .. }) => {
            let parsed = sender.parse().ok().zip(envelope.parse().ok());
            let at = Timestamp::from_unix_ms(at_ms);
            vec![parsed.map(|(sender, envelope)| What::Failed { sender, envelope, reason, recipients, at })]
        }
        Body::DutyTold(told) => {
            let read = told.sender.parse().ok().zip(Duty::of_number(told.duty));
            vec![read.map(|(sender, duty)| What::Duty(Box::new(told), sender, duty))]
        }
        _ => Vec::new(),
    }
}

/// What a webhook says of it; none: nothing.
pub(super) async fn tell(
    shell: &Arc<Shell>,
    hook: &Hook,
    grant: &Grant,
    seen: &Seen,
) -> Result<Option<(EventType, Value)>, Error> {
    let about = |code: &AgencyId| grant.allows(code) && (hook.codes.is_empty() || hook.codes.contains(code));
    let told = match &seen.what {
        What::Consigned(event) => match (event.envelope, &event.recipient) {
            (Some(envelope), Some(code)) if about(code) => received(shell, grant, event, (envelope, code)).await?,
            _ => None,
        },
        What::Evidence(event, leaf) if about(&event.sender) => match event.envelope {
            Some(envelope) if is_document(shell, envelope, &event.sender).await? => {
                let mut data = json!({
                    "envelope": envelope.to_string(),
                    "sender": event.sender.as_str(),
                    "event": event.event.name(),
                    "role": event.actor.role.to_string(),
                    "time": event.time.to_string(),
                    "leaf_hash": leaf.to_string(),
                });
                if let Some(recipient) = &event.recipient {
                    put(&mut data, "recipient", recipient.as_str().into());
                }
                if let Some(reason) = event.reason {
                    put(&mut data, "reason", reason.as_str().into());
                }
                Some((EventType::DeliveryChanged, data))
            }
            _ => None,
        },
        What::Failed { sender, envelope, reason, recipients, at }
            if about(sender) && is_document(shell, *envelope, sender).await? =>
        {
            let mut data = json!({
                "envelope": envelope.to_string(), "sender": sender.as_str(), "event": "Failed", "role": "sender",
                "time": at.to_string(), "reason": reason,
            });
            if !recipients.is_empty() {
                put(&mut data, "recipients", recipients.clone().into());
            }
            Some((EventType::DeliveryChanged, data))
        }
        What::Duty(told, sender, duty) => {
            // Of what was sent it is the sender's duty to know, of what was received each code's own.
            let its = |code: &&String| told.sent || code.parse().is_ok_and(|code| about(&code));
            let recipients: Vec<String> = told.codes.iter().filter(its).cloned().collect();
            let kind = if told.late { EventType::DutyLate } else { EventType::DutyDue };
            let told_to = !recipients.is_empty() && (!told.sent || about(sender));
            told_to.then(|| (kind, duty_data(told, *duty, recipients)))
        }
        What::Evidence(..) | What::Failed { .. } => None,
    };
    Ok(told.filter(|(kind, _)| hook.events.contains(kind)))
}

fn duty_data(told: &DutyTold, duty: Duty, recipients: Vec<String>) -> Value {
    json!({
        "envelope": told.envelope, "sender": told.sender, "recipients": recipients, "duty": duty.as_str(),
        "box": if told.sent { "sent" } else { "received" },
        "deadline": Timestamp::from_unix_ms(told.deadline_ms).to_string(),
    })
}

async fn received(
    shell: &Arc<Shell>,
    grant: &Grant,
    event: &Event,
    (envelope, code): (EnvelopeId, &AgencyId),
) -> Result<Option<(EventType, Value)>, Error> {
    let found = service::found::received(shell, envelope).await?;
    let Some(received) = found.into_iter().find(|received| received.key.sender == event.sender) else {
        return Ok(None);
    };
    let is_status = received.kind == EnvelopeKind::Status;
    let shown = service::inbox::shown(&received, grant, Some(code), true);
    let Some(item) = service::inbox::fill(shell, shown).await?.into_iter().next() else { return Ok(None) };
    let mut data = json!({
        "envelope": item.envelope, "sender": item.sender, "recipient": item.recipient, "priority": item.priority,
        "level": item.level, "consigned_at": item.consigned_at,
    });
    match (is_status, item.status) {
        (true, Some(status)) => {
            put(&mut data, "code", status.code.into());
            put(&mut data, "document", status.document.into());
            put(&mut data, "sequence", status.sequence.into());
            Ok(Some((EventType::StatusReceived, data)))
        }
        (true, None) => Ok(None),
        (false, _) => Ok(Some((EventType::DocumentReceived, data))),
    }
}

fn put(data: &mut Value, name: &str, value: Value) {
    if let Some(fields) = data.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// Statuses are envelopes, too, whose way interests nobody.
async fn is_document(shell: &Arc<Shell>, envelope: EnvelopeId, sender: &AgencyId) -> Result<bool, Error> {
    let (sent, _) = service::found::sent(shell, envelope).await?;
    Ok(sent.iter().any(|sent| sent.key.sender == *sender && sent.kind == EnvelopeKind::Document))
}

/// A message's JSON.
pub(super) fn body(kind: impl Serialize, time: Timestamp, data: &Value) -> Bytes {
    json!({ "type": kind, "timestamp": time.to_string(), "data": data }).to_string().into()
}

#[cfg(test)]
mod tests {
    use truc_proto::{Actor, EventUri, Role};

    use super::*;
    use crate::records::{CodeFact, Evidence, EvidenceItem, PassedOn, TakenOver};

    fn event(uri: EventUri, role: Role) -> Vec<u8> {
        let actor = if role == Role::Sender { "G22" } else { "H26" };
        let event = Event {
            event: uri,
            actor: Actor { code: Some(actor.parse().unwrap()), node: "N-B".parse().unwrap(), role },
            time: Timestamp::from_unix_s(1_800_000_000),
            envelope: Some(EnvelopeId::new(Timestamp::from_unix_s(1_800_000_000), [7; 10])),
            sender: "G22".parse().unwrap(),
            recipient: Some("H26".parse().unwrap()),
            submission: (uri != EventUri::ReceivedFromNonErds).then(|| Digest::of(b"s")),
            preamble: Some(Digest::of(b"p")),
            payload: Some(Digest::of(b"l")),
            commitment: Some(Digest::of(b"c")),
            key_envelope: None,
            reason: None,
            details: None,
            request: None,
            successor: None,
        };
        Raw::write(event).unwrap().bytes().to_vec()
    }

    #[test]
    fn what_comes_and_goes_through_the_gateway_is_told_like_everything_else() {
        let told = |body: Body, leaf: Option<Vec<u8>>| format!("{:?}", said_by(body, leaf));
        let received = event(EventUri::ReceivedFromNonErds, Role::Recipient);
        assert!(told(Body::TakenOver(TakenOver::default()), Some(received)).starts_with("[Some(Consigned("));
        let consigned = event(EventUri::ContentConsignment, Role::Recipient);
        assert!(told(Body::Consigned(CodeFact::default()), Some(consigned.clone())).starts_with("[Some(Consigned("));
        let passed_on = event(EventUri::RelayToNonErds, Role::Sender);
        assert!(told(Body::PassedOn(PassedOn::default()), Some(passed_on)).starts_with("[Some(Evidence("));
        // A finalisation tells nothing new, and keeps its number.
        let items = [Vec::new(), consigned].map(|leaf| EvidenceItem { leaf, ..EvidenceItem::default() });
        let evidence = Body::Evidence(Evidence { items: items.into(), ..Evidence::default() });
        assert!(told(evidence, None).starts_with("[None, Some(Evidence("));
        let failed = SentFailed {
            sender: "G22".into(),
            envelope: "019373f0-5a00-7000-8000-000000000001".into(),
            recipients: vec!["H26".into()],
            ..SentFailed::default()
        };
        assert!(told(Body::SentFailed(failed), None).contains("recipients: [\"H26\"]"));
        assert_eq!(told(Body::Pushed(crate::records::Pushed::default()), None), "[]");
    }

    /// The example of the standard's reference libraries.
    #[test]
    fn a_message_is_signed_as_the_standard_has_it() {
        let secret = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let body = Bytes::from_static(br#"{"test": 2432232314}"#);
        let at = Timestamp::from_unix_s(1_614_265_330);
        let message = Message::signed("msg_p5jXN8AQM9LWM0D4loKWxJek".into(), body, at, &key);
        assert_eq!(message.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
