//! What is new in the inbox, by a cursor: for those who ask again and again instead of holding a stream.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use truc_proto::{AgencyId, limits::WATCH_SCAN_MAX, node_v1};

use super::{Error, inbox, pages, roles::May};
use crate::{
    core::{CodeState, Core, Key, Received},
    shell::Shell,
    tokens::Grant,
};

/// Entries, oldest first, and where the next look begins.
pub(crate) struct Found {
    pub(crate) items: Vec<node_v1::InboxItem>,
    pub(crate) cursor: String,
}

/// What was consigned behind `cursor` and is not confirmed; waits for it as long as `wait`. An empty cursor: from the beginning.
pub(crate) async fn after(
    shell: &Arc<Shell>,
    grant: &Grant,
    code: &str,
    cursor: &str,
    size: u32,
    wait: Duration,
) -> Result<Found, Error> {
    grant.need(May::List)?;
    let only = if code.is_empty() { None } else { Some(super::code(grant, code, "code")?) };
    let mut cursor = if cursor.is_empty() { 0 } else { pages::read_token(cursor)? };
    let size = pages::size(size);
    let until = Instant::now() + wait;
    // Listened to before the core is asked, so that nothing falls between.
    let mut arrivals = shell.arrivals.subscribe();
    let mut stopping = shell.stopping.clone();
    loop {
        let (items, next) = look(shell, grant, only.as_ref(), cursor, size).await?;
        cursor = next;
        if !items.is_empty() {
            return Ok(Found { items, cursor: pages::token(cursor) });
        }
        loop {
            let arrival = tokio::select! {
                arrival = arrivals.recv() => arrival,
                () = tokio::time::sleep_until(until) => return Ok(Found { items, cursor: pages::token(cursor) }),
                _ = stopping.changed() => return Ok(Found { items, cursor: pages::token(cursor) }),
            };
            match arrival {
                Ok((_, code)) if !(grant.allows(&code) && only.as_ref().is_none_or(|only| *only == code)) => {}
                Err(RecvError::Closed) => return Ok(Found { items, cursor: pages::token(cursor) }),
                Ok(_) | Err(RecvError::Lagged(_)) => break, // whatever it was, the core has it
            }
        }
    }
}

/// The oldest `size` envelopes behind the cursor, by where their content stands in the journal: the order in which they were opened. In
/// steps, so that the core does other things between.
async fn look(
    shell: &Arc<Shell>,
    grant: &Grant,
    only: Option<&AgencyId>,
    cursor: u64,
    size: usize,
) -> Result<(Vec<node_v1::InboxItem>, u64), Error> {
    let (mut from, mut end, mut found) = (0, None, Vec::<(u64, Key)>::new());
    loop {
        let (granted, code, ceiling) = (grant.clone(), only.cloned(), end);
        let step = shell.engine.ask(move |core| step(core, &granted, code.as_ref(), from, (cursor, ceiling)));
        let (some, next, ceiling) = step.await?;
        // What is opened while this looks is for the next look, or something older could be passed over.
        end = Some(ceiling);
        found.extend(some);
        found.sort_unstable_by_key(|(content, _)| *content);
        found.truncate(size);
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    let cursor = match found.last() {
        Some((content, _)) if found.len() >= size => *content,
        _ => end.map_or(cursor, |end| end.saturating_sub(1).max(cursor)),
    };
    let (granted, code) = (grant.clone(), only.cloned());
    let entries = shell.engine.ask(move |core| {
        let received = found.iter().filter_map(|(_, key)| core.find_received(key));
        received.flat_map(|received| inbox::shown(received, &granted, code.as_ref(), false)).collect::<Vec<_>>()
    });
    Ok((inbox::fill(shell, entries.await?).await?, cursor))
}

type Step = (Vec<(u64, Key)>, Option<u64>, u64);

fn step(core: &Core, grant: &Grant, only: Option<&AgencyId>, from: u64, (cursor, ceiling): (u64, Option<u64>)) -> Step {
    let ceiling = ceiling.unwrap_or_else(|| core.next_position());
    let wanted = |received: &Received| {
        let open = |(code, entry): (&AgencyId, &crate::core::Code)| {
            matches!(entry.state, CodeState::Consigned | CodeState::HandoverFailed)
                && grant.allows(code)
                && only.is_none_or(|only| only == code)
        };
        received.codes.iter().any(open)
    };
    let mut found = Vec::new();
    for (looked, (position, received)) in core.received().range(from..).enumerate() {
        if looked >= WATCH_SCAN_MAX {
            return (found, Some(*position), ceiling);
        }
        let content = received.content.filter(|content| *content > cursor && *content < ceiling);
        found.extend(content.filter(|_| wanted(received)).map(|content| (content, received.key.clone())));
    }
    (found, None, ceiling)
}
