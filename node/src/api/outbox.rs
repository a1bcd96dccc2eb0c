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
    let page = shell.engine.ask(move |core: &Core| {
        let visible = |sender: &truc_proto::AgencyId| {
            grant.allows(sender) && only.as_ref().is_none_or(|only| only == sender)
        };
        if let Some(envelope) = envelope {
            let found = core.sent_of(envelope).filter(|sent| visible(&sent.key.sender));
            return (found.map(|sent| (view::outbox_item(core, sent), sent.body)).collect::<Vec<_>>(), None);
        }
        let mut items = Vec::new();
        for (position, sent) in core.sent().range(from..) {
            if items.len() >= size {
                return (items, Some(*position));
            }
            if visible(&sent.key.sender) && (with_final || !sent.is_settled()) {
                items.push((view::outbox_item(core, sent), sent.body));
            }
        }
        (items, None)
    });
    let (found, next) = page.await.map_err(stopped)?;
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
    let items = items.map_err(|error| Status::internal(crate::chain(&error)))?;
    Ok(node_v1::ListOutboxReply { items, next_page_token: next.map(page_token).unwrap_or_default() })
}
