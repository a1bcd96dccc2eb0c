//! What one administrator asks for and a second one has to agree to, where settings want two: asked, answered, carried out or forgotten, all of it in
//! the journal. Which actions need two, and who may ask at all, is the service's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use truc_proto::{
    AdminAction, AdminSubject, Administration, Administrator, Raw, Timestamp,
    limits::{ADMINISTRATION_SUBJECT_CHARS_MAX, ADMINISTRATION_WISH_MS_MAX, ADMINISTRATION_WISHES_MAX},
};

use super::{Answer, Core, Deed, Token, administration::Step};
use crate::records::{self, Body, Place, RecordError};

/// Something that waits for a second administrator, or had to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// What is asked for, by whom, why.
    pub deed: Deed,
    /// When it was asked for.
    pub asked: Timestamp,
    /// Until then it can be approved; once it is, carried out.
    pub until: Timestamp,
    /// What the second administrator said.
    pub answer: Option<WishAnswer>,
}

/// What a second administrator said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WishAnswer {
    /// He agreed.
    pub approved: bool,
    /// Who.
    pub who: Administrator,
    /// Why.
    pub why: String,
}

/// Where a wish stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WishState {
    /// For a second administrator.
    Waits,
    /// To be carried out by who asked for it.
    Approved,
    /// Not to be carried out.
    Refused,
    /// Nobody answered, or nobody carried it out, in time.
    Expired,
}

impl Wish {
    /// Where it stands now.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> WishState {
        match &self.answer {
            Some(answer) if !answer.approved => WishState::Refused,
            _ if now >= self.until => WishState::Expired,
            Some(_) => WishState::Approved,
            None => WishState::Waits,
        }
    }

    /// It is shown as long again as it held, so that who asked sees what became of it.
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until + ttl()
    }

    fn is_for(&self, deed: &Deed) -> bool {
        let Deed { action, subject, who, .. } = &self.deed;
        *action == deed.action && *subject == deed.subject && who.name == deed.who.name
    }
}

fn ttl() -> std::time::Duration {
    std::time::Duration::from_millis(ADMINISTRATION_WISH_MS_MAX)
}

/// What whoever asks for something hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A second administrator has to agree.
    Waits {
        /// Its number.
        wish: u64,
        /// Until then.
        until: Timestamp,
        /// It was asked for before.
        again: bool,
    },
    /// It may be carried out.
    Approved {
        /// Its number.
        wish: u64,
        /// Who agreed.
        by: Administrator,
    },
    /// A second administrator did not agree.
    Refused(Box<WishAnswer>, Timestamp),
}

impl Core {
    /// What was asked for, by number; the oldest first.
    #[must_use]
    pub const fn wishes(&self) -> &BTreeMap<u64, Wish> {
        &self.wishes
    }

    /// One that is asked for again is the same, until it is over; behind that it is asked for anew.
    pub(super) fn ask_for(&mut self, now: Timestamp, deed: Deed, reply: Option<Token>) {
        if let Err(error) = deed.check(&self.policy.node) {
            return self.reply(reply, Answer::Unfit(error.to_string()));
        }
        let known = self.wishes.iter().rev().find(|(_, wish)| wish.is_for(&deed));
        let asked = known.and_then(|(number, wish)| match (wish.state(now), &wish.answer) {
            (WishState::Waits, _) => Some(Asked::Waits { wish: *number, until: wish.until, again: true }),
            (WishState::Approved, Some(answer)) => Some(Asked::Approved { wish: *number, by: answer.who.clone() }),
            (WishState::Refused, Some(answer)) if now < wish.until => {
                Some(Asked::Refused(Box::new(answer.clone()), wish.until))
            }
            _ => None,
        });
        if let Some(asked) = asked {
            return self.reply(reply, Answer::Asked(asked));
        }
        if self.wishes.values().filter(|wish| !wish.is_over(now)).count() >= ADMINISTRATION_WISHES_MAX {
            return self.reply(
                reply,
                Answer::NotNow("as many requests as may wait for a second administrator, or waited in the last two days, are there already; have them answered (`truc admin pending`) / Đã có quá nhiều đề nghị chờ người thứ hai; hãy xử lý bớt (`truc admin pending`)"),
            );
        }
        let until = now + ttl();
        let Ok(deed) = serde_json::to_vec(&deed) else {
            return self.reply(reply, Answer::Unfit("it cannot be written".to_owned()));
        };
        let record = records::Wished { deed, at_ms: now.unix_ms(), until_ms: until.unix_ms() };
        if let Some(place) = self.commit(Body::Wished(record), None) {
            self.reply(reply, Answer::Asked(Asked::Waits { wish: place.position, until, again: false }));
        }
    }

    pub(super) fn fold_wished(&mut self, place: Place, record: &records::Wished) -> Result<(), RecordError> {
        let deed = serde_json::from_slice(&record.deed).map_err(|e| RecordError::Inconsistent(e.to_string()))?;
        let (asked, until) = (Timestamp::from_unix_ms(record.at_ms), Timestamp::from_unix_ms(record.until_ms));
        self.wishes.retain(|_, wish| !wish.is_over(asked));
        self.wishes.insert(place.position, Wish { deed, asked, until, answer: None });
        Ok(())
    }

    /// A second administrator's word, with a leaf of its own. Nobody approves what he asked for himself; he may take it back.
    pub(super) fn answer_wish(
        &mut self,
        now: Timestamp,
        number: u64,
        approved: bool,
        (who, why): (Administrator, String),
        reply: Option<Token>,
    ) {
        let Some(wish) = self.wishes.get(&number) else { return self.reply(reply, Answer::NotFound) };
        let state = wish.state(now);
        let takes_back = !approved && state == WishState::Approved;
        if state != WishState::Waits && !takes_back {
            return self.reply(
                reply,
                Answer::NotNow("this request was answered already, or its time is over; see `truc admin pending` / Đề nghị này đã được trả lời hoặc đã hết hạn; xem `truc admin pending`"),
            );
        }
        if approved && wish.deed.who.name == who.name {
            return self.reply(
                reply,
                Answer::NotNow("nobody approves what he asked for himself; a second administrator has to, with a token of his own / Không ai được tự chấp thuận đề nghị của mình; cần người quản trị thứ hai, dùng thẻ của người đó"),
            );
        }
        let action = if approved { AdminAction::ApprovalGiven } else { AdminAction::ApprovalRefused };
        let name = format!("{number}: {} {}", wish.deed.action, wish.deed.subject.name);
        let subject = AdminSubject {
            name: name.chars().take(ADMINISTRATION_SUBJECT_CHARS_MAX).collect(),
            sha256: wish.deed.subject.sha256,
        };
        let deed = Deed { action, subject, who, approved_by: None, why, done: None };
        self.write_deed(now, deed, Step::Answered { wish: number, approved }, reply);
    }

    /// Carried out: it does not wait any more. Answered: by whom, says the leaf.
    pub(super) fn fold_step(&mut self, step: Step, leaf: Option<&[u8]>) -> Result<(), RecordError> {
        match step {
            Step::Done { wish: None, .. } => {}
            Step::Done { wish: Some(number), .. } => _ = self.wishes.remove(&number),
            Step::Answered { wish: number, approved } => {
                let leaf = leaf.ok_or_else(|| RecordError::Inconsistent("an answer's leaf is missing".into()))?;
                let leaf = Raw::<Administration>::parse(leaf.to_vec())
                    .map_err(|error| RecordError::Inconsistent(error.to_string()))?
                    .into_value();
                if let Some(wish) = self.wishes.get_mut(&number) {
                    if approved {
                        wish.until = leaf.time + ttl();
                    }
                    wish.answer = Some(WishAnswer { approved, who: leaf.who, why: leaf.why });
                }
            }
        }
        Ok(())
    }
}
