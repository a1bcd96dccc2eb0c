//! Search in the directory in force: what a clerk picks a recipient with.

use std::sync::Arc;

use truc_evidence::{Agency, Directory, DirectoryQuery, ResolveError};
use truc_proto::{
    AgencyId, Timestamp,
    limits::{DIRECTORY_HITS_MAX, DIRECTORY_SEARCH_CHARS_MAX},
    node_v1, wire_v1,
};

use super::{Error, broke_off};
use crate::shell::{Shell, clock};

/// Entries of a reply where the caller does not say.
const HITS_DEFAULT: usize = 20;

pub(crate) async fn search(
    shell: &Arc<Shell>,
    request: node_v1::SearchDirectoryRequest,
) -> Result<node_v1::SearchDirectoryReply, Error> {
    let directory = shell.directory().ok_or_else(|| {
        Error::not_now(
            "this node has no directory yet; it comes with the first connection to the relay / Nút chưa có danh bạ; danh bạ sẽ có sau lần kết nối trục đầu tiên",
        )
    })?;
    if request.text.chars().nth(DIRECTORY_SEARCH_CHARS_MAX).is_some() {
        return Err(Error::invalid(format!(
            "a search has at most {DIRECTORY_SEARCH_CHARS_MAX} characters; use fewer words / Nội dung tìm dài quá {DIRECTORY_SEARCH_CHARS_MAX} ký tự; hãy dùng ít từ hơn"
        )));
    }
    let under = Some(request.under.as_str()).filter(|under| !under.is_empty());
    let under = under.map(str::parse::<AgencyId>).transpose();
    let under = under.map_err(|error| Error::invalid(format!("`under`: {error} / {}", error.vietnamese())))?;
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit != 0).unwrap_or(HITS_DEFAULT);
    let found = move || {
        let at = clock::now();
        let limit = limit.min(DIRECTORY_HITS_MAX);
        let query = DirectoryQuery { text: &request.text, under: under.as_ref(), limit, at };
        let (hits, total) = directory.search(&query);
        node_v1::SearchDirectoryReply {
            entries: hits.iter().map(|hit| entry(&directory, hit.agency, at)).collect(),
            total: total as u64,
            directory_version: directory.version(),
        }
    };
    shell.work("searching the directory", found).await.map_err(broke_off)
}

fn entry(directory: &Directory, agency: &Agency, at: Timestamp) -> node_v1::DirectoryEntry {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    node_v1::DirectoryEntry {
        code: agency.code.to_string(),
        names: agency.names.iter().map(ToString::to_string).collect(),
        parent: agency.superior().map(|code| code.to_string()).unwrap_or_default(),
        old_codes: agency.old_codes.iter().map(ToString::to_string).collect(),
        valid_from: agency.valid_from.to_string(),
        valid_to: time(agency.valid_to),
        serves_until: time(agency.serves_until),
        successor: agency.successor.as_ref().map(ToString::to_string).unwrap_or_default(),
        route: agency.route.to_string(),
        node: agency.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        unreachable: directory.resolve(&agency.code, at).err().map(|error| refusal(&error)),
    }
}

fn refusal(error: &ResolveError) -> wire_v1::Refusal {
    let successor = match error {
        ResolveError::Closed { successor, .. } => successor.as_ref(),
        _ => None,
    };
    wire_v1::Refusal {
        reason: error.reason().as_str().to_owned(),
        english: error.to_string(),
        vietnamese: error.vietnamese(),
        successor: successor.map(ToString::to_string).unwrap_or_default(),
        ..wire_v1::Refusal::default()
    }
}
