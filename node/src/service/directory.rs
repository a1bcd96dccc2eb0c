//! Search in the directory in force: what a clerk picks a recipient with.

use std::sync::Arc;

use truc_evidence::DirectoryQuery;
use truc_proto::{
    AgencyId, ForeignCode,
    limits::{DIRECTORY_HITS_MAX, DIRECTORY_SEARCH_CHARS_MAX},
    node_v1,
};

use super::Error;
use crate::shell::{Shell, clock};

/// Entries of a reply where the caller does not say.
const HITS_DEFAULT: usize = 20;

pub(crate) async fn search(
    shell: &Arc<Shell>,
    request: node_v1::SearchDirectoryRequest,
) -> Result<node_v1::SearchDirectoryReply, Error> {
    let directory = shell.directory().ok_or_else(none_yet)?;
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
            entries: hits.iter().map(|hit| directory.described(hit.agency, at)).collect(),
            total: total as u64,
            directory_version: directory.version(),
        }
    };
    Ok(shell.work("searching the directory", found).await?)
}

/// One agency, by its code or an old form of it.
pub(crate) fn look_up(shell: &Shell, code: &str) -> Result<node_v1::DirectoryEntry, Error> {
    let directory = shell.directory().ok_or_else(none_yet)?;
    let agency = code.parse::<ForeignCode>().ok().and_then(|code| directory.agency_by_any_code(&code));
    let agency = agency.ok_or_else(|| {
        Error::not_found("the directory has no such code; search for it / Danh bạ không có mã này; hãy tìm theo tên")
    })?;
    Ok(directory.described(agency, clock::now()))
}

fn none_yet() -> Error {
    Error::not_now(
        "this node has no directory yet; it comes with the first connection to the relay / Nút chưa có danh bạ; danh bạ sẽ có sau lần kết nối trục đầu tiên",
    )
}
