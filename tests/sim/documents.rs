//! The document systems at a node: they send, ask again when no answer came, take what is in the inbox, and set statuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use truc_ledger::SpaceLeft;
use truc_node::core::{Answer, Input, Key, StatusRequest, Token, Withdrawing};
use truc_proto::{AgencyId, BusinessStatus, Digest, EnvelopeKind, Raw, StatusCode, Timestamp};

use crate::{
    context::Context,
    node::{Draft, Node},
    store::Dead,
};

/// After so long without an answer they ask again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most requests of one node that wait at once.
const OPEN_MAX: usize = 12;

#[derive(Clone)]
enum Wish {
    Send { letter: Letter, reuses: bool },
    Confirm { key: Key, code: AgencyId, refused: bool },
    Status(StatusRequest),
    Withdraw { key: Key, recipients: Vec<AgencyId> },
}

/// What a request says; the same each time it is made.
#[derive(Clone)]
struct Letter {
    sender: AgencyId,
    recipients: Vec<AgencyId>,
    priority: u8,
    life_ms: u64,
    content: Vec<u8>,
    inline: bool,
    idempotency: String,
    request_hash: Digest,
}

struct Open {
    wish: Wish,
    asked_at: Timestamp,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Office {
    open: BTreeMap<Token, Open>,
    tokens: u64,
    letters: u64,
    inbox: BTreeSet<(Key, AgencyId)>,
    /// Answered letters, to be repeated now and then.
    done: Vec<Letter>,
}

impl Office {
    pub(crate) fn arrived(&mut self, key: Key, code: AgencyId) {
        self.inbox.insert((key, code));
    }

    /// Whoever waited for an answer asks again.
    pub(crate) fn system_restarted(&mut self) {
        self.open.values_mut().for_each(|open| open.asked_at = Timestamp::EPOCH);
    }

    /// Requests without an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.open.len()
    }

    /// The node answers; a reserved status is now to be sealed.
    pub(crate) fn answered(&mut self, cx: &mut Context, machine: usize, token: Token, answer: Answer) -> Option<Draft> {
        let Open { wish, .. } = self.open.remove(&token)?;
        cx.say(format_args!("node {machine} answers {token:?}: {answer:?}"));
        match (wish, answer) {
            (wish, Answer::Busy) => {
                self.open.insert(token, Open { wish, asked_at: cx.now });
            }
            (Wish::Send { letter, reuses }, Answer::Accepted { key, .. } | Answer::Held { key, .. }) => {
                if reuses {
                    cx.book.violated(format!(
                        "I4: {} took another request under a key of idempotency that was used",
                        letter.sender
                    ));
                }
                cx.book.answered(&letter.sender, &letter.idempotency, &key);
                self.done.push(letter);
            }
            (Wish::Send { reuses: true, .. }, Answer::RequestReused) => {}
            (Wish::Confirm { key, code, refused }, Answer::Confirmed { .. }) => {
                if !refused {
                    cx.book.was_confirmed(machine, key.clone(), code.clone());
                    let times = cx.book.hand_overs(machine, &key, &code);
                    if times != 1 {
                        cx.book.violated(format!(
                            "I3: the hand-over of {key} to {code} was confirmed and stands in the journal {times} times"
                        ));
                    }
                }
            }
            (Wish::Confirm { .. }, Answer::NotNow(_)) => {}
            (Wish::Status(request), Answer::StatusReserved { sequence, to, .. }) => {
                let draft = status(cx, &request, to, sequence);
                self.open.insert(token, Open { wish: Wish::Status(request), asked_at: cx.now });
                return Some(draft);
            }
            (
                Wish::Status(request),
                Answer::Accepted { key, .. } | Answer::Held { key, .. } | Answer::StatusKnown { key, .. },
            ) => {
                cx.book.answered(&request.from, &request.idempotency_key, &key);
            }
            (Wish::Status(_), Answer::StatusRefused(_)) => {}
            (Wish::Withdraw { key, .. }, Answer::Withdrawing(outcomes)) => {
                let here = outcomes.into_iter().filter(|(_, outcome)| *outcome == Withdrawing::Withdrawn);
                here.for_each(|(code, _)| cx.book.was_withdrawn(key.clone(), code));
            }
            // It left memory meanwhile.
            (Wish::Withdraw { .. }, Answer::NotFound) => {}
            (_, other) => cx.book.violated(format!("I1: node {machine} answers {other:?}, which nobody expected")),
        }
        None
    }

    fn wish(&mut self, wish: Wish) {
        self.tokens += 1;
        self.open.insert(Token(self.tokens), Open { wish, asked_at: Timestamp::EPOCH });
    }
}

fn status(cx: &mut Context, request: &StatusRequest, to: AgencyId, sequence: u64) -> Draft {
    let status = Raw::write(BusinessStatus {
        status: request.code.uri(),
        code: request.code,
        from: request.from.clone(),
        to: to.clone(),
        document: request.document,
        document_id: None,
        reason: Some("lý do".into()),
        staff: None,
        sequence,
        time: cx.now,
    });
    Draft {
        sender: request.from.clone(),
        recipients: vec![to],
        kind: EnvelopeKind::Status,
        priority: 1,
        life_ms: 3_600_000,
        content: status.expect("a status of checked values").bytes().to_vec(),
        inline: true,
        supersedes: None,
        idempotency: request.idempotency_key.clone(),
        request_hash: request.request_hash,
    }
}

impl Node {
    /// New wishes while the world is not healed; and what has no answer is asked (again).
    pub(crate) fn office_hour(&mut self, cx: &mut Context) -> Result<(), Dead> {
        if !cx.healed && self.office.open.len() < OPEN_MAX {
            self.new_wish(cx);
        } else if cx.healed
            && let Some((key, code)) = self.office.inbox.pop_first()
        {
            self.office.wish(Wish::Confirm { key, code, refused: false });
        }
        if self.live.is_none() {
            return Ok(());
        }
        let due = self.office.open.iter_mut().filter(|(_, open)| open.asked_at + PATIENCE <= cx.now);
        let due: Vec<(Token, Wish)> = due
            .map(|(token, open)| {
                open.asked_at = cx.now;
                (*token, open.wish.clone())
            })
            .collect();
        for (token, wish) in due {
            self.ask(cx, token, wish)?;
        }
        Ok(())
    }

    fn ask(&mut self, cx: &mut Context, token: Token, wish: Wish) -> Result<(), Dead> {
        let reply = Some(token);
        match wish {
            Wish::Send { letter, .. } => {
                // Below a tenth of the disk new work is refused by the API.
                if self.live.as_ref().is_some_and(|live| live.store.ledger.space() == SpaceLeft::Low) {
                    return Ok(());
                }
                let Letter { sender, recipients, priority, life_ms, content, inline, idempotency, request_hash } =
                    letter;
                let kind = EnvelopeKind::Document;
                let draft = Draft {
                    sender,
                    recipients,
                    kind,
                    priority,
                    life_ms,
                    content,
                    inline,
                    supersedes: None,
                    idempotency,
                    request_hash,
                };
                self.send_draft(cx, draft, reply)
            }
            Wish::Confirm { key, code, refused } => {
                let refused = refused.then(|| "không đúng thẩm quyền".to_owned());
                self.input(cx, Input::Confirm { key, code, refused, reply })
            }
            Wish::Status(request) => self.input(cx, Input::ReserveStatus { request, reply }),
            Wish::Withdraw { key, recipients } => {
                self.input(cx, Input::Withdraw { key, recipients, text: "gửi nhầm".into(), reply })
            }
        }
    }

    fn new_wish(&mut self, cx: &mut Context) {
        match cx.random.below(12) {
            0..=4 => self.wish_to_send(cx),
            5 if !self.office.done.is_empty() => {
                let mut letter = self.office.done[cx.index(self.office.done.len())].clone();
                let reuses = cx.random.below(2) == 0;
                if reuses {
                    letter.request_hash = Digest::of(b"another request");
                }
                self.office.wish(Wish::Send { letter, reuses });
            }
            6..=8 => {
                if let Some((key, code)) = self.any_of_inbox(cx) {
                    let refused = cx.random.below(6) == 0;
                    // Impatient people press twice.
                    for _ in 0..=cx.random.below(3) / 2 {
                        self.office.wish(Wish::Confirm { key: key.clone(), code: code.clone(), refused });
                    }
                }
            }
            9 if cx.random.below(2) == 0 => self.wish_to_withdraw(cx),
            _ => self.wish_for_status(cx),
        }
    }

    /// One of the newest documents, which may not have left: from all, or from some of its recipients.
    fn wish_to_withdraw(&mut self, cx: &mut Context) {
        let Some(live) = &self.live else { return };
        let newest = live.store.core.sent().values().rev().filter(|sent| sent.kind == EnvelopeKind::Document).take(3);
        let newest: Vec<(Key, Vec<AgencyId>)> =
            newest.map(|sent| (sent.key.clone(), sent.pairs.keys().cloned().collect())).collect();
        if newest.is_empty() {
            return;
        }
        let (key, mut recipients) = newest[cx.index(newest.len())].clone();
        if cx.random.below(3) == 0 {
            recipients.clear(); // all
        } else {
            recipients.retain(|_| cx.random.below(2) == 0);
        }
        self.office.wish(Wish::Withdraw { key, recipients });
    }

    fn any_of_inbox(&self, cx: &mut Context) -> Option<(Key, AgencyId)> {
        let length = self.office.inbox.len();
        if length == 0 {
            return None;
        }
        let nth = cx.index(length);
        self.office.inbox.iter().nth(nth).cloned()
    }

    fn wish_to_send(&mut self, cx: &mut Context) {
        let ours: Vec<AgencyId> =
            cx.map.codes_of(self.id).into_iter().filter(|code| cx.map.is_open(self.id, code, self.clock(cx))).collect();
        let sender = ours[cx.index(ours.len())].clone();
        let others: Vec<AgencyId> = cx.map.codes.keys().filter(|code| **code != sender).cloned().collect();
        let mut recipients = BTreeSet::new();
        for _ in 0..=cx.random.below(4) {
            recipients.insert(others[cx.index(others.len())].clone());
        }
        if cx.random.below(12) == 0 && !cx.map.codes.contains_key(&cx.map.closed.0) {
            recipients.insert(cx.map.closed.0.clone());
        }
        let life_ms = if cx.random.below(4) == 0 {
            20_000 + cx.random.below(120_000)
        } else {
            3_600_000 + cx.random.below(86_400_000)
        };
        self.office.letters += 1;
        let content: Vec<u8> = (0..20 + cx.random.below(400)).map(|_| cx.bytes::<1>()[0]).collect();
        let letter = Letter {
            idempotency: format!("{}-{}", self.id, self.office.letters),
            request_hash: Digest::of(&content),
            priority: u8::try_from(cx.random.below(5)).expect("below 5"),
            inline: cx.random.below(3) > 0,
            recipients: recipients.into_iter().collect(),
            sender,
            life_ms,
            content,
        };
        self.office.wish(Wish::Send { letter, reuses: false });
    }

    fn wish_for_status(&mut self, cx: &mut Context) {
        use StatusCode as C;
        let codes = [
            C::Arrived,
            C::Refused,
            C::Accepted,
            C::Assigned,
            C::InProgress,
            C::Done,
            C::WithdrawalAgreed,
            C::WithdrawalRefused,
        ];
        let withdraws = cx.random.below(4) == 0;
        let (document, from, code) = if withdraws {
            let Some(live) = &self.live else { return };
            let sent: Vec<&Key> = live
                .store
                .core
                .sent()
                .values()
                .filter(|sent| sent.kind == EnvelopeKind::Document)
                .map(|sent| &sent.key)
                .collect();
            if sent.is_empty() {
                return;
            }
            let key = sent[cx.index(sent.len())];
            (key.envelope, key.sender.clone(), C::WithdrawalRequested)
        } else {
            let Some((key, code)) = self.any_of_inbox(cx) else { return };
            (key.envelope, code, codes[cx.index(codes.len())])
        };
        self.office.letters += 1;
        let idempotency_key = format!("{}-{}", self.id, self.office.letters);
        let request_hash = Digest::of(idempotency_key.as_bytes());
        self.office.wish(Wish::Status(StatusRequest {
            document,
            sender: None,
            from,
            to: None,
            code,
            idempotency_key,
            request_hash,
        }));
    }
}
