//! What officers count, and the duties that are due or late.

use std::{collections::HashMap, sync::Arc};

use truc_proto::{AgencyId, limits::DUTIES_LISTED_MAX, node_v1};

use super::{Error, roles::May};
use crate::{
    core::{Counters, OpenDuty},
    duties::{Duty, Standing},
    shell::{Shell, clock},
    tokens::Grant,
};

/// So many when the caller does not say.
const LISTED: usize = 500;

/// Who looks: the token's agencies, or one of them.
#[derive(Clone)]
pub(super) struct Viewer {
    grant: Grant,
    only: Option<AgencyId>,
}

impl Viewer {
    pub(super) fn new(grant: &Grant, code: &str) -> Result<Self, Error> {
        let only = if code.is_empty() { None } else { Some(super::code(grant, code, "code")?) };
        Ok(Self { grant: grant.clone(), only })
    }

    pub(super) fn sees(&self, code: &AgencyId) -> bool {
        self.grant.allows(code) && self.only.as_ref().is_none_or(|only| only == code)
    }
}

pub(crate) async fn counters(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::CountersRequest,
) -> Result<node_v1::CountersReply, Error> {
    grant.need(May::Duties)?;
    let viewer = Viewer::new(grant, &request.code)?;
    let of = viewer.clone();
    let mut counted = shell.engine.ask(move |core| core.counters(clock::now(), |code| of.sees(code))).await?;
    // Nothing to count is said, too.
    let own = shell.directory().map(|directory| directory.codes_of(&shell.node).to_vec()).unwrap_or_default();
    for code in own.into_iter().filter(|code| viewer.sees(code)) {
        counted.entry(code).or_default();
    }
    let mut whole = Counters::default();
    counted.values().for_each(|counters| whole.add(counters));
    let agencies = counted.iter().map(|(code, counters)| shown(code.as_str(), counters)).collect();
    Ok(node_v1::CountersReply { agencies, whole: Some(shown("", &whole)) })
}

fn shown(code: &str, counters: &Counters) -> node_v1::AgencyCounters {
    let Counters { unsent, failed, returned, withdrawn, late, unsent_late, waiting, waiting_late } = *counters;
    let code = code.to_owned();
    node_v1::AgencyCounters { code, unsent, failed, returned, withdrawn, late, unsent_late, waiting, waiting_late }
}

pub(crate) async fn list(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: node_v1::ListDutiesRequest,
) -> Result<node_v1::ListDutiesReply, Error> {
    grant.need(May::Duties)?;
    let viewer = Viewer::new(grant, &request.code)?;
    let sent = match request.r#box.as_str() {
        "" => None,
        "sent" => Some(true),
        "received" => Some(false),
        _ => {
            return Err(Error::invalid(
                "`box` is `sent`, `received` or empty / `box` là `sent` (đi), `received` (đến) hoặc để trống",
            ));
        }
    };
    let standing = match request.state.as_str() {
        "" => None,
        "due" => Some(Standing::Due),
        "late" => Some(Standing::Late),
        _ => {
            return Err(Error::invalid(
                "`state` is `due`, `late` or empty / `state` là `due` (sắp đến hạn), `late` (quá hạn) hoặc để trống",
            ));
        }
    };
    let limit = match usize::try_from(request.limit).unwrap_or(usize::MAX) {
        0 => LISTED,
        limit => limit.min(DUTIES_LISTED_MAX),
    };
    let mut open = shell.engine.ask(move |core| core.duties(clock::now(), |code| viewer.sees(code))).await?;
    open.retain(|duty| {
        sent.is_none_or(|sent| sent == (duty.duty != Duty::Receipt))
            && standing.is_none_or(|wanted| wanted == duty.standing)
    });
    let total = open.len() as u64;
    open.sort_by(|a, b| (a.deadline, &a.key, &a.recipient).cmp(&(b.deadline, &b.key, &b.recipient)));
    open.truncate(limit);
    let bodies = shell.bodies();
    let work = move || {
        let mut subjects: HashMap<u64, String> = HashMap::new();
        let item = |duty: OpenDuty| {
            let subject = match duty.body {
                Some(position) => match subjects.get(&position) {
                    Some(subject) => subject.clone(),
                    None => subjects.entry(position).or_insert(bodies.about(position)?.subject).clone(),
                },
                None => String::new(),
            };
            Ok(shown_duty(duty, subject))
        };
        open.into_iter().map(item).collect::<Result<Vec<_>, crate::shell::BodyError>>()
    };
    let items = shell.work("reading what is due", work).await?;
    let items = items.map_err(|error| Error::internal(crate::chain(&error)))?;
    Ok(node_v1::ListDutiesReply { items, total })
}

fn shown_duty(duty: OpenDuty, subject: String) -> node_v1::DutyItem {
    node_v1::DutyItem {
        envelope: duty.key.envelope.to_string(),
        sender: duty.key.sender.to_string(),
        recipient: duty.recipient.to_string(),
        r#box: if duty.duty == Duty::Receipt { "received" } else { "sent" }.into(),
        duty: duty.duty.as_str().into(),
        state: duty.standing.as_str().into(),
        since: duty.since.to_string(),
        deadline: duty.deadline.to_string(),
        priority: u32::from(duty.priority.value()),
        subject,
    }
}
