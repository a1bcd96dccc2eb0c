//! Webhooks of a caller: what may be registered, and by whom it may be changed.

use std::{collections::BTreeSet, sync::Arc};

use truc_link::endpoint::Endpoint;
use truc_proto::limits::{NODE_AGENCIES_MAX, WEBHOOK_URL_BYTES_MAX};

use super::{Error, roles::May};
use crate::{
    shell::{blocking, clock},
    tokens::Grant,
    webhooks::{EventType, Hook, Outcome, Progress, Secret, StoreError, Webhooks},
};

/// Registers a webhook of the caller; without events it tells all.
pub(crate) async fn register(
    webhooks: &Arc<Webhooks>,
    grant: &Grant,
    url: &str,
    events: BTreeSet<EventType>,
    codes: &[String],
) -> Result<(Hook, Secret), Error> {
    grant.need(May::Webhooks)?;
    if url.len() > WEBHOOK_URL_BYTES_MAX || codes.len() > NODE_AGENCIES_MAX {
        return Err(Error::invalid(
            "the address is too long, or there are too many codes / Địa chỉ quá dài, hoặc quá nhiều mã",
        ));
    }
    let endpoint: Endpoint = url.parse().map_err(|error| {
        Error::invalid(format!("`url`: {error} / `url`: cần địa chỉ https, hoặc http trên chính máy chạy nút"))
    })?;
    if !webhooks.allows(&endpoint) {
        return Err(Error::forbidden(
            "the settings of this node do not allow webhooks to that address; its administrator adds it to `rest.webhooks` / Cấu hình của nút chưa cho phép gọi tới địa chỉ này; quản trị viên thêm vào `rest.webhooks`",
        ));
    }
    let codes = codes.iter().map(|code| super::code(grant, code, "codes")).collect::<Result<_, _>>()?;
    let events = if events.is_empty() { BTreeSet::from(EventType::ALL) } else { events };
    let hook = Hook {
        id: String::new(),
        url: endpoint.to_string(),
        owner: grant.name.clone(),
        codes,
        events,
        secret: String::new(),
        created: clock::now(),
        from: 0,
    };
    let webhooks = Arc::clone(webhooks);
    files(move || webhooks.add(hook)).await
}

pub(crate) async fn list(webhooks: &Arc<Webhooks>, grant: &Grant) -> Result<Vec<(Hook, Progress)>, Error> {
    grant.need(May::Webhooks)?;
    let (webhooks, owner) = (Arc::clone(webhooks), grant.name.clone());
    files(move || webhooks.list(&owner)).await
}

pub(crate) async fn remove(webhooks: &Arc<Webhooks>, grant: &Grant, id: &str) -> Result<(), Error> {
    let hook = find(webhooks, grant, id).await?;
    let webhooks = Arc::clone(webhooks);
    files(move || webhooks.remove(&hook.id)).await.map(|_| ())
}

pub(crate) async fn resume(webhooks: &Arc<Webhooks>, grant: &Grant, id: &str) -> Result<(), Error> {
    let hook = find(webhooks, grant, id).await?;
    let webhooks = Arc::clone(webhooks);
    files(move || webhooks.resume(&hook)).await
}

pub(crate) async fn ping(webhooks: &Arc<Webhooks>, grant: &Grant, id: &str) -> Result<Outcome, Error> {
    let hook = find(webhooks, grant, id).await?;
    webhooks.ping(&hook).await.map_err(failed)
}

async fn find(webhooks: &Arc<Webhooks>, grant: &Grant, id: &str) -> Result<Hook, Error> {
    let found = list(webhooks, grant).await?.into_iter().find(|(hook, _)| hook.id == id);
    found.map(|(hook, _)| hook).ok_or_else(|| {
        Error::not_found("this token has no such webhook; list them to see the ids / Thẻ truy cập không có webhook này; hãy xem danh sách")
    })
}

/// Changes, or reads, the files of webhooks.
async fn files<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, Error> {
    blocking("changing webhooks", work).await?.map_err(failed)
}

fn failed(error: StoreError) -> Error {
    match error {
        StoreError::TooMany => Error::not_now(format!("{error} / Đã có quá nhiều webhook; hãy xóa bớt")),
        error => Error::internal(crate::chain(&error)),
    }
}
