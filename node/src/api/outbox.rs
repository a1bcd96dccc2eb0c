//! The outbox: what was sent, and where it stands with each recipient.

use std::sync::Arc;

use tonic::Status;
use truc_proto::node_v1;

use super::{Api, broke_off, envelope_id, page_size, page_token, read_page_token, stopped, view};
use crate::{core::Core, records::Body, shell::Shell, tokens::Grant};

pub(super) async fn list(
    shell: &Arc<Shell>,
    grant: Grant,
    request: node_v1::ListOutboxRequest,
) -> Result<node_v1::ListOutboxReply, Status> {
    let only = if request.code.is_empty() { None } else { Some(Api::code(&grant, &request.code, "code")?) };
    let envelope = if request.envelope.is_empty() { None } else { Some(envelope_id(&request.envelope)?) };
    let (from, size) = (read_page_token(&request.page_token)?, page_size(request.page_size));
    let with_final = request.with_final;
    if let Some(envelope) = envelope {
        let (sent, own) = super::found::sent(shell, envelope).await?;
        let sent = sent.iter().filter(|sent| grant.allows(&sent.key.sender));
        let found = sent.map(|sent| (view::outbox_item(own, sent), sent.body)).collect();
        return Ok(node_v1::ListOutboxReply { items: fill(shell, found).await?, next_page_token: String::new() });
    }
    let page = shell.engine.ask(move |core: &Core| {
        let visible =
            |sender: &truc_proto::AgencyId| grant.allows(sender) && only.as_ref().is_none_or(|only| only == sender);
        let own = core.own_checkpoint();
        let mut items = Vec::new();
        for (position, sent) in core.sent().range(from..) {
            if items.len() >= size {
                return (items, Some(*position));
            }
            if visible(&sent.key.sender) && (with_final || !sent.is_settled()) {
                items.push((view::outbox_item(own, sent), sent.body));
            }
        }
        (items, None)
    });
    let (found, next) = page.await.map_err(stopped)?;
    Ok(node_v1::ListOutboxReply {
        items: fill(shell, found).await?,
        next_page_token: next.map(page_token).unwrap_or_default(),
    })
}

/// Adds what stands in the journal.
async fn fill(shell: &Arc<Shell>, found: Vec<(node_v1::OutboxItem, u64)>) -> Result<Vec<node_v1::OutboxItem>, Status> {
    let bodies = shell.bodies();
    let work = move || {
        let fill = |(mut item, position): (node_v1::OutboxItem, u64)| {
            let about = match bodies.body(position)?.0 {
                Body::Outgoing(outgoing) => Some(outgoing.about),
                Body::Held(held) => Some(held.about),
                _ => None,
            };
            item.subject = about.map(|about| about.subject).unwrap_or_default();
            Ok(item)
        };
        found.into_iter().map(fill).collect::<Result<Vec<_>, crate::shell::BodyError>>()
    };
    let items = shell.work("reading the outbox", work).await.map_err(broke_off)?;
    items.map_err(|error| Status::internal(crate::chain(&error)))
}
