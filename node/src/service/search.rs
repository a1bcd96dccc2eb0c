//! Documents found again, sent and received, however long ago: by words of number, type and subject.

use std::{collections::HashMap, sync::Arc};

use truc_ledger::index::Effort;
use truc_proto::{
    AgencyId,
    limits::{INDEX_BLOCKS_MAX, SEARCH_READ_MAX, SEARCH_RECIPIENTS_MAX},
    node_v1::{DocumentFound, SearchDocumentsReply, SearchDocumentsRequest},
};

use super::{Error, found::no_answer, pages, roles::May};
use crate::{
    archive::{Archive, Hit},
    core::{CodeState, Core, Key, Received, Sent},
    shell::Shell,
    tokens::Grant,
    words::DocumentQuery,
};

/// One page. It may be short, or empty, with more behind it: so much is looked at for one page and no more.
pub(crate) async fn search(
    shell: &Arc<Shell>,
    grant: &Grant,
    request: SearchDocumentsRequest,
) -> Result<SearchDocumentsReply, Error> {
    grant.need(May::List)?;
    let only = if request.code.is_empty() { None } else { Some(super::code(grant, &request.code, "code")?) };
    let viewer = Viewer { grant: grant.clone(), only, with_withdrawn: request.with_withdrawn };
    let query = DocumentQuery::read(&request.text, &request.from, &request.to, direction(&request.direction)?);
    let query = Arc::new(query.map_err(|error| Error::invalid(error.to_string()))?);
    let (mut below, size) = (pages::read_token(&request.page_token)?, pages::size(request.page_size));
    let (mut items, mut left) = (Vec::new(), Effort { hits: SEARCH_READ_MAX, blocks: INDEX_BLOCKS_MAX });
    loop {
        let (archive, asked) = (shell.archive.clone(), Arc::clone(&query));
        let effort = Effort { hits: left.hits.min(size - items.len()), ..left };
        let look = move || archive.search(&asked, below, effort);
        let page = shell.work("searching documents", look).await?.map_err(|error| no_answer(&error))?;
        left.hits = left.hits.saturating_sub(page.looked_at);
        left.blocks = left.blocks.saturating_sub(page.blocks);
        items.extend(shown(shell, &viewer, page.hits).await?);
        let Some(next) = page.next else {
            return Ok(SearchDocumentsReply { items, next_page_token: String::new() });
        };
        below = next;
        if items.len() >= size || left.hits == 0 || left.blocks == 0 {
            return Ok(SearchDocumentsReply { items, next_page_token: pages::token(below) });
        }
    }
}

fn direction(text: &str) -> Result<Option<bool>, Error> {
    match text {
        "" => Ok(None),
        "sent" => Ok(Some(true)),
        "received" => Ok(Some(false)),
        _ => Err(Error::invalid(
            "`direction` is `sent`, `received` or empty / `direction` là `sent` (đi), `received` (đến) hoặc để trống",
        )),
    }
}

/// Who looks.
#[derive(Clone)]
struct Viewer {
    grant: Grant,
    only: Option<AgencyId>,
    with_withdrawn: bool,
}

impl Viewer {
    fn sees(&self, code: &AgencyId) -> bool {
        self.grant.allows(code) && self.only.as_ref().is_none_or(|only| only == code)
    }
}

/// Where documents stand, by name: those in memory, then those that left it.
type Standing = HashMap<(bool, Key), Document>;

enum Document {
    Sent(Sent),
    Received(Received),
}

async fn shown(shell: &Arc<Shell>, viewer: &Viewer, hits: Vec<Hit>) -> Result<Vec<DocumentFound>, Error> {
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<(bool, Key)> = hits.iter().map(|hit| (hit.sent, hit.key.clone())).collect();
    let open = shell.engine.ask(move |core| {
        let look = |(sent, key): (bool, Key)| Some(((sent, key.clone()), of_core(core, sent, &key)?));
        names.into_iter().filter_map(look).collect::<Standing>()
    });
    let (open, archive, viewer) = (open.await?, shell.archive.clone(), viewer.clone());
    let work = move || items(&archive, &viewer, &open, &hits);
    Ok(shell.work("looking into the archive", work).await?)
}

fn of_core(core: &Core, sent: bool, key: &Key) -> Option<Document> {
    if sent {
        core.find_sent(key).cloned().map(Document::Sent)
    } else {
        core.find_received(key).cloned().map(Document::Received)
    }
}

fn items(archive: &Archive, viewer: &Viewer, open: &Standing, hits: &[Hit]) -> Vec<DocumentFound> {
    let mut items = Vec::new();
    for hit in hits {
        let name = (hit.sent, hit.key.clone());
        match open.get(&name) {
            Some(document) => items.extend(of_document(viewer, hit, document)),
            None => items.extend(closed(archive, hit).iter().flat_map(|document| of_document(viewer, hit, document))),
        }
    }
    items
}

/// What is not in memory may have left it this moment: then the index is waited for.
fn closed(archive: &Archive, hit: &Hit) -> Option<Document> {
    let look = || {
        if hit.sent {
            archive.sent(&hit.key).map(Document::Sent)
        } else {
            archive.received(&hit.key).map(Document::Received)
        }
    };
    look().or_else(|| {
        archive.catch_up();
        look()
    })
}

fn of_document(viewer: &Viewer, hit: &Hit, document: &Document) -> Vec<DocumentFound> {
    match document {
        // Of one that was held, the later record counts.
        Document::Sent(sent) if sent.body == hit.position && viewer.sees(&sent.key.sender) => vec![of_sent(hit, sent)],
        Document::Received(received) if received.content == Some(hit.position) => of_received(viewer, hit, received),
        _ => Vec::new(),
    }
}

fn of_sent(hit: &Hit, sent: &Sent) -> DocumentFound {
    DocumentFound {
        recipients: sent.pairs.keys().take(SEARCH_RECIPIENTS_MAX).map(ToString::to_string).collect(),
        recipient_count: u32::try_from(sent.pairs.len()).unwrap_or(u32::MAX),
        state: sent.state().into(),
        time: sent.accepted_at.to_string(),
        ..described(hit)
    }
}

/// One per code that the caller may see, as in the inbox.
fn of_received(viewer: &Viewer, hit: &Hit, received: &Received) -> Vec<DocumentFound> {
    let codes = received.codes.iter().filter(|(code, _)| viewer.sees(code));
    let shown = codes.filter_map(|(code, entry)| {
        let state = match entry.state {
            CodeState::Taken | CodeState::Failed => return None,
            // What was withdrawn is no current document.
            _ if entry.business.is_withdrawn() && !viewer.with_withdrawn => return None,
            _ if entry.business.is_withdrawn() => "withdrawn",
            CodeState::Consigned => "consigned",
            CodeState::HandedOver => "handed-over",
            CodeState::HandoverFailed => "handover-failed",
        };
        Some(DocumentFound {
            recipients: vec![code.to_string()],
            recipient_count: 1,
            state: state.into(),
            time: entry.consigned_at.map(|at| at.to_string()).unwrap_or_default(),
            legacy: received.origin.is_some(),
            ..described(hit)
        })
    });
    shown.collect()
}

fn described(hit: &Hit) -> DocumentFound {
    let described = hit.described();
    let (year, month, day) = described.day().parts();
    let particulars = hit.about.particulars.as_ref();
    DocumentFound {
        direction: if hit.sent { "sent" } else { "received" }.into(),
        envelope: hit.key.envelope.to_string(),
        sender: hit.key.sender.to_string(),
        document_id: hit.about.document_id.clone(),
        number: described.number(),
        type_name: particulars.map(|particulars| particulars.type_name.clone()).unwrap_or_default(),
        subject: hit.about.subject.clone(),
        date: format!("{year:04}-{month:02}-{day:02}"),
        ..DocumentFound::default()
    }
}
