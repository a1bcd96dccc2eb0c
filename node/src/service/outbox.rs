//! The outbox: what was sent, and where it stands with each recipient.

use std::sync::Arc;

use truc_proto::{AgencyId, node_v1};

use super::{
    Error, envelope_id, links, pages,
    roles::May,
    view::{self, Statuses},
};
use crate::{
    core::{Core, Counted, Key, Sent},
    records::Body,
    shell::{Shell, clock},
    tokens::Grant,
};

pub(crate) async fn list(
    shell: &Arc<Shell>,
    grant: Grant,
    request: node_v1::ListOutboxRequest,
) -> Result<node_v1::ListOutboxReply, Error> {
    grant.need(May::List)?;
    let only = if request.code.is_empty() { None } else { Some(super::code(&grant, &request.code, "code")?) };
    let envelope = if request.envelope.is_empty() { None } else { Some(envelope_id(&request.envelope)?) };
    links::catch_up(shell).await?;
    let (before, size) = (pages::read_token(&request.page_token)?, pages::size(request.page_size));
    let with_final = request.with_final;
    let counted = counted(&request.counted)?;
    if let Some(envelope) = envelope {
        let (sent, own) = super::found::sent(shell, envelope).await?;
        let sent = sent.iter().filter(|sent| grant.allows(&sent.key.sender));
        let found = sent
            .map(|sent| Found {
                details: view::details_of_recipients(sent),
                ..Found::new(view::outbox_item(own, sent), sent.body)
            })
            .collect();
        return Ok(node_v1::ListOutboxReply { items: fill(shell, found).await?, next_page_token: String::new() });
    }
    let (granted, code) = (grant.clone(), only.clone());
    let now = clock::now();
    let open = shell.engine.ask(move |core: &Core| {
        let own = core.own_checkpoint();
        let entries = |sent: &Sent| {
            let fits = match counted {
                Some(counted) => sent.pairs.iter().any(|(code, pair)| core.counts(now, counted, sent, code, pair)),
                None => with_final || !sent.is_settled(),
            };
            let wanted = visible(&granted, code.as_ref(), &sent.key) && fits;
            if wanted { vec![Found::new(view::outbox_item(own, sent), sent.body)] } else { Vec::new() }
        };
        (pages::open(core.sent(), before, size, entries), own)
    });
    let (open, own) = open.await?;
    // What left memory is final.
    let closed = if with_final && counted.is_none() {
        let archive = shell.archive.clone();
        let entries = move |key: &Key| {
            let sent = Some(key).filter(|key| visible(&grant, only.as_ref(), key)).and_then(|key| archive.sent(key));
            sent.map(|sent| Found::new(view::outbox_item(own, &sent), sent.body)).into_iter().collect()
        };
        Some(pages::closed(shell, true, before, size, entries).await?)
    } else {
        None
    };
    let (found, next) = pages::merge(open, closed, size);
    Ok(node_v1::ListOutboxReply {
        items: fill(shell, found).await?,
        next_page_token: next.map(pages::token).unwrap_or_default(),
    })
}

fn counted(word: &str) -> Result<Option<Counted>, Error> {
    let known = Counted::ALL.into_iter().find(|counted| counted.as_str() == word);
    if word.is_empty() || known.is_some() {
        return Ok(known);
    }
    let words = Counted::ALL.map(Counted::as_str).join(", ");
    Err(Error::invalid(format!(
        "`counted` is one of {words}, or empty / `counted` là một trong {words}, hoặc để trống"
    )))
}

fn visible(grant: &Grant, only: Option<&AgencyId>, key: &Key) -> bool {
    grant.allows(&key.sender) && only.is_none_or(|only| *only == key.sender)
}

/// An entry and where its body stands; with what is told of each recipient, where that is wanted.
struct Found {
    item: node_v1::OutboxItem,
    body: u64,
    details: Vec<(Statuses, Option<u64>)>,
}

impl Found {
    const fn new(item: node_v1::OutboxItem, body: u64) -> Self {
        Self { item, body, details: Vec::new() }
    }
}

/// Adds what stands in the journal.
async fn fill(shell: &Arc<Shell>, found: Vec<Found>) -> Result<Vec<node_v1::OutboxItem>, Error> {
    let bodies = shell.bodies();
    let work = move || {
        let fill = |Found { mut item, body, details }: Found| {
            let about = bodies.about(body)?;
            (item.subject, item.document_id, item.warnings) = (about.subject, about.document_id, about.warnings);
            item.change = about.change.map(view::shown_change);
            for (recipient, (statuses, words)) in item.recipients.iter_mut().zip(details) {
                recipient.statuses = statuses.read(&bodies)?;
                if let Some(Body::SentFailed(failed)) = words.map(|at| bodies.body(at)).transpose()?.map(|read| read.0)
                    && !failed.text.is_empty()
                {
                    recipient.text = format!("{}: {}", recipient.text, failed.text);
                }
            }
            Ok(item)
        };
        found.into_iter().map(fill).collect::<Result<Vec<_>, crate::shell::BodyError>>()
    };
    let items = shell.work("reading the outbox", work).await?;
    let mut items = items.map_err(|error| Error::internal(crate::chain(&error)))?;
    links::of_sent(shell, &mut items).await?;
    Ok(items)
}
