//! Search in the directory in force: what a clerk picks a recipient with.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use truc_evidence::DirectoryQuery;
use truc_proto::{
    AgencyId, AgencyIdError, ForeignCode,
    limits::{DIRECTORY_HITS_MAX, DIRECTORY_SEARCH_CHARS_MAX},
    node_v1, relay_v1,
};

use super::{Error, inbox::Replies};
use crate::shell::{Shell, clock, describe};

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

/// What was ever bound to a code, as the relay proves it; passed on as it comes, for whoever asks to verify.
pub(crate) async fn audit(
    shell: &Arc<Shell>,
    request: node_v1::AuditDirectoryRequest,
) -> Result<Replies<node_v1::AuditDirectoryReply>, Error> {
    let code: AgencyId = request
        .code
        .parse()
        .map_err(|error: AgencyIdError| Error::invalid(format!("{error} / {}", error.vietnamese())))?;
    let mut relay = shell.relay().ok_or_else(|| {
        Error::unavailable(
            "the relay, which keeps all versions of the directory, cannot be reached; try again when the node is connected / Chưa kết nối được trục, nơi lưu mọi phiên bản danh bạ; hãy thử lại khi nút đã kết nối",
        )
    })?;
    let request = relay_v1::AuditDirectoryRequest { code: code.to_string() };
    let unanswered = |status: &tonic::Status| {
        Error::unavailable(format!(
            "the relay does not give the audit: {} / Trục không trả được bản kiểm tra danh bạ; hãy thử lại sau",
            describe(status)
        ))
    };
    let mut chunks = relay.audit_directory(request).await.map_err(|status| unanswered(&status))?.into_inner();
    let own = shell.own_certificates().iter().map(|sha256| sha256.as_bytes().to_vec().into()).collect();
    let (sender, replies) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut own: Vec<Bytes> = own;
        loop {
            let reply = match chunks.message().await {
                Ok(None) => return,
                Ok(Some(chunk)) => {
                    Ok(node_v1::AuditDirectoryReply { data: chunk.data, own_certificates: std::mem::take(&mut own) })
                }
                Err(status) => Err(unanswered(&status)),
            };
            let failed = reply.is_err();
            if sender.send(reply).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(replies)
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
