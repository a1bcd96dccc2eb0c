//! Uploads in pieces: begin, go on, and what a Send makes of them.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use truc_proto::{
    limits::{NAME_BYTES_MAX, PACKET_BYTES_MAX, STREAM_CHUNK_BYTES},
    node_v1::FileHeader,
};
use zeroize::Zeroizing;

use super::{Error, roles::May, send};
use crate::{
    pipeline::Part,
    quota::Measure,
    shell::{Shell, blocking},
    tokens::Grant,
    uploads::{About, CreateError, Place, Upload, UploadId, Uploads},
};

/// So many bytes are written between two looks at the disk's room, and between two syncs.
const SYNC_EVERY: u64 = 32 * 1024 * 1024;

/// Begins an upload of the caller.
pub(crate) async fn create(
    shell: &Shell,
    uploads: &Arc<Uploads>,
    grant: &Grant,
    (name, content_type): (String, String),
    length: u64,
) -> Result<Arc<Upload>, Error> {
    grant.need(May::Send)?;
    if length > PACKET_BYTES_MAX {
        return Err(Error::invalid(format!(
            "an upload has at most {PACKET_BYTES_MAX} bytes; split the file / Mỗi tệp tải lên dài tối đa {PACKET_BYTES_MAX} byte; hãy tách tệp"
        )));
    }
    if name.len() > NAME_BYTES_MAX || content_type.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a file's name and media type have at most {NAME_BYTES_MAX} bytes each / Tên tệp và kiểu nội dung dài tối đa {NAME_BYTES_MAX} byte"
        )));
    }
    room(shell, grant).await?;
    let (uploads, owner) = (Arc::clone(uploads), grant.name.clone());
    let create = move || uploads.create(About { owner, length, name, content_type });
    blocking("beginning an upload", create).await?.map_err(|error| match error {
        CreateError::TooMany => Error::busy(
            "too many uploads are open; finish or delete some first, those left alone go after 24 hours / Có quá nhiều tệp đang tải lên dở dang; hãy hoàn tất hoặc xóa bớt, tệp bỏ dở tự mất sau 24 giờ",
        ),
        error @ CreateError::About => Error::invalid(error.to_string()),
        CreateError::Io(error) => not_written(&error),
    })
}

/// The caller's upload of this id.
pub(crate) fn find(uploads: &Uploads, grant: &Grant, id: &str) -> Result<Arc<Upload>, Error> {
    let found = id.parse::<UploadId>().ok().and_then(|id| uploads.find(id, &grant.name));
    found.ok_or_else(|| {
        Error::not_found(
            "there is no such upload of this token; those that nobody goes on with are removed after 24 hours: begin it anew / Không có tệp tải lên này của thẻ truy cập; tệp bỏ dở bị xóa sau 24 giờ: hãy tải lên lại từ đầu",
        )
    })
}

/// How many bytes of it are on the device. A request that is still bringing some is ended: its client is the one that asks.
pub(crate) async fn received(upload: &Arc<Upload>) -> Result<u64, Error> {
    let _turn = upload.appending().await;
    at(upload).await
}

async fn at(upload: &Arc<Upload>) -> Result<u64, Error> {
    let inner = Arc::clone(upload);
    blocking("reading an upload", move || inner.received()).await?.map_err(|error| not_written(&error))
}

/// Appends a body, whatever comes of it; says how many bytes are on the device then. What a broken body has brought is kept.
pub(crate) async fn append(
    shell: &Shell,
    grant: &Grant,
    upload: &Arc<Upload>,
    offset: u64,
    mut body: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<(u64, Option<io::Error>), Error> {
    room(shell, grant).await?;
    let mut turn = upload.appending().await;
    let at = at(upload).await?;
    if at != offset {
        return Err(Error::not_now(format!(
            "{at} bytes of this upload are here, so it goes on at {at} and not at {offset} / Đã nhận {at} byte của tệp này, phải gửi tiếp từ {at} chứ không phải {offset}"
        )));
    }
    let left = upload.about().length - at;
    let (mut taken, mut synced, mut fault) = (0_u64, 0_u64, None);
    let mut buffer = Zeroizing::new(Vec::with_capacity(STREAM_CHUNK_BYTES));
    loop {
        let piece = tokio::select! {
            piece = body.next() => piece,
            () = turn.interrupted() => {
                fault = Some(io::Error::other("another request goes on with this upload"));
                None
            }
        };
        let mut piece = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => {
                fault = Some(error);
                break;
            }
            None => break,
        };
        taken += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if taken > left {
            return Err(Error::invalid(format!(
                "the body is longer than what is left of this upload, {left} bytes / Dữ liệu dài hơn phần còn lại của tệp, {left} byte"
            )));
        }
        while !piece.is_empty() {
            let room_left = STREAM_CHUNK_BYTES - buffer.len();
            buffer.extend_from_slice(&piece.split_to(piece.len().min(room_left)));
            if buffer.len() == STREAM_CHUNK_BYTES {
                let now = taken - synced >= SYNC_EVERY;
                if now {
                    synced = taken;
                    send::check_room(shell).await?;
                }
                buffer = write(upload, buffer, now).await?;
            }
        }
    }
    write(upload, buffer, true).await?;
    Ok((self::at(upload).await?, fault))
}

async fn write(upload: &Arc<Upload>, mut buffer: Zeroizing<Vec<u8>>, sync: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
    let upload = Arc::clone(upload);
    let work = move || {
        upload.append(&buffer)?;
        if sync {
            upload.sync()?;
        }
        buffer.clear();
        Ok(buffer)
    };
    blocking("writing an upload", work).await?.map_err(|error: io::Error| not_written(&error))
}

/// Removes an upload.
pub(crate) async fn remove(uploads: &Arc<Uploads>, upload: &Upload) -> Result<(), Error> {
    let (uploads, id) = (Arc::clone(uploads), upload.id());
    blocking("removing an upload", move || uploads.remove(id)).await?.map_err(|error| not_written(&error))
}

/// Passes uploads on as the files of a document, or as its packet; ends early when nobody wants them any more.
pub(crate) async fn pass_on(chosen: &[Arc<Upload>], as_files: bool, parts: &mpsc::Sender<io::Result<Part>>) {
    for upload in chosen {
        if as_files {
            let About { length, name, content_type, .. } = upload.about().clone();
            if parts.send(Ok(Part::File(FileHeader { name, content_type, length }))).await.is_err() {
                return;
            }
        }
        let mut at = Place::default();
        loop {
            let inner = Arc::clone(upload);
            let (part, next) = match blocking("reading an upload", move || inner.segment(at)).await {
                Ok(Ok(None)) => break,
                Ok(Ok(Some((mut plain, next)))) => (Ok(Part::Data(std::mem::take(&mut *plain).into())), Some(next)),
                Ok(Err(error)) => (Err(error), None),
                Err(failed) => (Err(io::Error::other(failed.to_string())), None),
            };
            if parts.send(part).await.is_err() {
                return;
            }
            match next {
                Some(next) => at = next,
                None => return,
            }
        }
    }
}

/// That an upload is whole, before a document is made of it.
pub(crate) async fn whole(upload: &Arc<Upload>) -> Result<(), Error> {
    let (there, length) = (at(upload).await?, upload.about().length);
    if there == length {
        return Ok(());
    }
    Err(Error::not_now(format!(
        "{there} of {length} bytes of the upload {} are here; send the rest first / Mới nhận {there} trên {length} byte của tệp tải lên {}; hãy gửi nốt phần còn lại",
        upload.id(),
        upload.id()
    )))
}

async fn room(shell: &Shell, grant: &Grant) -> Result<(), Error> {
    grant.meter.check(tokio::time::Instant::now(), Measure::Bytes)?;
    send::check_room(shell).await
}

fn not_written(error: &io::Error) -> Error {
    Error::unavailable(format!(
        "the upload cannot be written or read: {error}; try again, or delete it and begin anew / Không ghi hoặc đọc được tệp tải lên; hãy thử lại, hoặc xóa và tải lên lại từ đầu"
    ))
}
