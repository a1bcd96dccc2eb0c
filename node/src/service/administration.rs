//! What administrators do to this node stands in its ledger, with who and why.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use truc_ledger::merkle::leaf_hash;
use truc_proto::{
    AdminAction, AdminSubject, Administration, Administrator, Digest, Raw, Timestamp,
    limits::ADMINISTRATION_LOGGED_MAX,
    node_v1::{self, AdministrationEntry},
};

use super::{Error, roles::May};
use crate::{
    core::{Answer, Asked, Core, Deed, Input, Wish, WishState},
    shell::{Bodies, BodyError, Shell, blocking, clock},
    tokens::{Grant, LiveTokens, TokenError},
};

/// What settings may want two administrators for: what is asked of the running node. Who may write the node's files is bound by nothing here.
pub(crate) const WITH_TWO_PERSONS: &[AdminAction] = &[
    AdminAction::CertificateRequested,
    AdminAction::CertificateImported,
    AdminAction::CertificateRotated,
    AdminAction::CertificateRetired,
    AdminAction::CertificateRevoked,
    AdminAction::CertificateSuspended,
    AdminAction::CertificateRestored,
    AdminAction::TokenWithdrawn,
    AdminAction::PinGiven,
];
/// So many when the caller does not say.
const LOGGED: usize = 100;

/// Writes down what was done; gives back the position of its record, which is on the device then (I1). `note`: SHA-256 of the file that it was left as.
pub(crate) async fn record(shell: &Shell, deed: Deed, note: Option<Digest>) -> Result<u64, Error> {
    write(shell, deed, note, None).await
}

async fn write(shell: &Shell, deed: Deed, note: Option<Digest>, wish: Option<u64>) -> Result<u64, Error> {
    let deed = Box::new(deed);
    match shell.engine.call(|reply| Input::Administer { deed, note, wish, reply }).await? {
        Answer::Administered { position } => Ok(position),
        Answer::Unfit(why) => Err(unfit(&why)),
        other => Err(unexpected(&other)),
    }
}

fn unfit(why: &str) -> Error {
    Error::invalid(format!("{why} / Nội dung ghi sổ chưa đúng: {why}"))
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("an unexpected answer of the core: {answer:?}"))
}

/// What may be done now, and will stand in the ledger once it is.
#[derive(Debug)]
pub(crate) struct Permit {
    deed: Deed,
    /// The request that a second administrator approved; while it is carried out, nobody else carries it out.
    wish: Option<(u64, OwnedMutexGuard<()>)>,
}

impl Permit {
    /// As [`Permit::done`], now that it is known what it was done to. What was approved stands there as it was approved.
    pub(crate) async fn done_to(mut self, shell: &Shell, subject: AdminSubject) -> Result<u64, Error> {
        if self.wish.is_none() {
            self.deed.subject = subject;
        }
        self.done(shell).await
    }

    /// What will stand there.
    pub(crate) const fn deed(&self) -> &Deed {
        &self.deed
    }

    /// It was done. Gives back the position of its record, which is on the device then.
    pub(crate) async fn done(self, shell: &Shell) -> Result<u64, Error> {
        write(shell, self.deed, None, self.wish.as_ref().map(|(wish, _)| *wish)).await
    }
}

/// Whether this caller may do this now. Where settings want two administrators, the first call leaves a request and is refused with its number; once
/// another one has approved it, the same call by the same caller is let through, once.
pub(crate) async fn authorise(
    shell: &Shell,
    grant: &Grant,
    action: AdminAction,
    subject: AdminSubject,
    why: &str,
) -> Result<Permit, Error> {
    grant.need(May::Administer)?;
    let deed = Deed { action, subject, who: grant.administrator(), approved_by: None, why: why.to_owned(), done: None };
    deed.check(&shell.node).map_err(|error| unfit(&error.to_string()))?;
    if !shell.two_persons.contains(&action) {
        return Ok(Permit { deed, wish: None });
    }
    let turn = Arc::clone(&shell.administering).lock_owned().await;
    let wanted = Box::new(deed.clone());
    match shell.engine.call(|reply| Input::AskFor { deed: wanted, reply }).await? {
        Answer::Asked(Asked::Approved { wish, by }) => {
            Ok(Permit { deed: Deed { approved_by: Some(by), ..deed }, wish: Some((wish, turn)) })
        }
        Answer::Asked(Asked::Waits { wish, until, again }) => {
            let (english, vietnamese) =
                if again { ("still waits", "vẫn đang chờ") } else { ("waits", "đang chờ") };
            Err(Error::not_now(format!(
                "nothing was done yet: request {wish} {english} for a second administrator until {until}, with `truc admin approve {wish} --why TEXT` and a token of his own; give this command again behind that / Chưa thực hiện: đề nghị {wish} {vietnamese} người quản trị thứ hai chấp thuận đến {}, bằng `truc admin approve {wish} --why LÝ_DO` với thẻ của người đó; sau đó chạy lại lệnh này",
                until.in_vietnam()
            )))
        }
        Answer::Asked(Asked::Refused(answer, until)) => Err(Error::not_now(format!(
            "{} did not agree: {}; it can be asked for again from {until} on / {} không chấp thuận: {}; có thể đề nghị lại từ {}",
            answer.who.name,
            answer.why,
            answer.who.name,
            answer.why,
            until.in_vietnam()
        ))),
        other => Err(unexpected(&other)),
    }
}

/// What waits for a second administrator, and what became of what waited lately.
pub(crate) async fn pending(shell: &Shell, grant: &Grant) -> Result<node_v1::PendingApprovalsReply, Error> {
    grant.need(May::Log)?;
    let now = clock::now();
    let all = move |core: &Core| core.wishes().iter().map(|(number, wish)| pending_item(*number, wish, now)).collect();
    Ok(node_v1::PendingApprovalsReply { items: shell.engine.ask(all).await? })
}

fn pending_item(number: u64, wish: &Wish, now: Timestamp) -> node_v1::PendingApproval {
    let state = match wish.state(now) {
        WishState::Waits => "waits",
        WishState::Approved => "approved",
        WishState::Refused => "refused",
        WishState::Expired => "expired",
    };
    let Deed { action, subject, who, why, .. } = &wish.deed;
    let answer = wish.answer.as_ref();
    node_v1::PendingApproval {
        number,
        state: state.to_owned(),
        asked: wish.asked.to_string(),
        until: wish.until.to_string(),
        action: action.to_string(),
        english: action.english().to_owned(),
        vietnamese: action.vietnamese().to_owned(),
        subject: subject.name.clone(),
        subject_sha256: subject.sha256.map(|hash| hash.to_string()).unwrap_or_default(),
        who: who.name.clone(),
        why: why.clone(),
        answered_by: answer.map(|answer| answer.who.name.clone()).unwrap_or_default(),
        answer: answer.map(|answer| answer.why.clone()).unwrap_or_default(),
    }
}

/// A second administrator approves, or refuses; who asked may take it back.
pub(crate) async fn answer(
    shell: &Shell,
    grant: &Grant,
    request: node_v1::AnswerApprovalRequest,
) -> Result<node_v1::AnswerApprovalReply, Error> {
    grant.need(May::Administer)?;
    let node_v1::AnswerApprovalRequest { number: wish, approve: approved, why } = request;
    let who = grant.administrator();
    match shell.engine.call(|reply| Input::AnswerWish { wish, approved, who, why, reply }).await? {
        Answer::Administered { position } => Ok(node_v1::AnswerApprovalReply { position }),
        Answer::NotFound => Err(Error::not_found(
            "there is no such request; `truc admin pending` shows those there are / Không có đề nghị này; xem `truc admin pending`",
        )),
        Answer::NotNow(why) => Err(Error::not_now(why)),
        Answer::Unfit(why) => Err(unfit(&why)),
        other => Err(unexpected(&other)),
    }
}

/// Has a token let in no more.
pub(crate) async fn withdraw_token(
    shell: &Shell,
    tokens: &Arc<LiveTokens>,
    grant: &Grant,
    request: node_v1::WithdrawTokenRequest,
) -> Result<node_v1::WithdrawTokenReply, Error> {
    grant.need(May::Administer)?;
    let node_v1::WithdrawTokenRequest { name, why } = request;
    let unreadable = |error: TokenError| Error::internal(crate::chain(&error));
    if tokens.by_name(&name).map_err(unreadable)?.is_none() {
        return Err(no_such_token());
    }
    let permit = authorise(shell, grant, AdminAction::TokenWithdrawn, AdminSubject::named(&name), &why).await?;
    let tokens = Arc::clone(tokens);
    blocking("withdrawing a token", move || tokens.withdraw(&name)).await?.map_err(|error| match error {
        TokenError::Unknown { .. } => no_such_token(),
        error => unreadable(error),
    })?;
    Ok(node_v1::WithdrawTokenReply { position: permit.done(shell).await? })
}

fn no_such_token() -> Error {
    Error::not_found(
        "there is no token of this name; `truc-node token list` shows those there are / Không có thẻ truy cập tên này; xem `truc-node token list`",
    )
}

impl Grant {
    /// As the ledger names him.
    pub(crate) fn administrator(&self) -> Administrator {
        Administrator { name: self.name.clone(), role: self.role }
    }
}

/// What was done, the newest first.
pub(crate) async fn log(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::AdministrationLogRequest,
) -> Result<node_v1::AdministrationLogReply, Error> {
    grant.need(May::Log)?;
    let since = match request.since.as_str() {
        "" => Timestamp::EPOCH,
        text => text.parse().map_err(|error| {
            Error::invalid(format!(
                "`since`: {error} / `since` là thời điểm dạng RFC 3339, ví dụ 2026-11-22T00:00:00+07:00"
            ))
        })?,
    };
    let limit = match usize::try_from(request.limit) {
        Ok(0) | Err(_) => LOGGED,
        Ok(limit) => limit.min(ADMINISTRATION_LOGGED_MAX),
    };
    let newest = shell.engine.ask(|core| core.newest_deed()).await?;
    // A position that the caller made up leads to no record of this kind, or into the log.
    let from = match (request.from, newest) {
        (Some(from), Some(newest)) if from <= newest => Some(from),
        (Some(_), _) => return Err(no_such_place()),
        (None, newest) => newest,
    };
    let bodies = shell.bodies();
    let read = shell.work("reading the administrators' log", move || read(&bodies, from, since, limit)).await?;
    read.map_err(|error| match error {
        BodyError::Other { .. } => no_such_place(),
        error => Error::internal(crate::chain(&error)),
    })
}

fn no_such_place() -> Error {
    Error::invalid(
        "`from` is not what an earlier answer gave as `next` / `from` không phải là `next` của câu trả lời trước",
    )
}

fn read(
    bodies: &Bodies,
    from: Option<u64>,
    since: Timestamp,
    limit: usize,
) -> Result<node_v1::AdministrationLogReply, BodyError> {
    let (mut entries, mut next) = (Vec::new(), from);
    while let Some(position) = next {
        if entries.len() >= limit {
            break;
        }
        let (record, leaf) = bodies.administered(position)?;
        // Written later is not done later where the clock was set back: all that the chain has from here on is older or of that time.
        if leaf.time < since {
            next = None;
            break;
        }
        entries.push(entry(position, &leaf));
        next = record.previous;
    }
    Ok(node_v1::AdministrationLogReply { entries, next })
}

fn entry(position: u64, leaf: &Raw<Administration>) -> AdministrationEntry {
    let second = leaf.approved_by.as_ref();
    AdministrationEntry {
        position,
        leaf_hash: leaf_hash(leaf.bytes()).as_bytes().to_vec().into(),
        time: leaf.time.to_string(),
        done: leaf.done.map(|at| at.to_string()).unwrap_or_default(),
        action: leaf.action.to_string(),
        english: leaf.action.english().to_owned(),
        vietnamese: leaf.action.vietnamese().to_owned(),
        subject: leaf.subject.name.clone(),
        subject_sha256: leaf.subject.sha256.map(|hash| hash.to_string()).unwrap_or_default(),
        who: leaf.who.name.clone(),
        who_role: leaf.who.role.to_string(),
        approved_by: second.map(|second| second.name.clone()).unwrap_or_default(),
        approved_by_role: second.map(|second| second.role.to_string()).unwrap_or_default(),
        why: leaf.why.clone(),
    }
}
