//! Bodies of requests: JSON is collected in memory, files go to the spool as they come.

use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use super::Shared;
use super::json;
use super::spool::{Spool, Writer};
use crate::model::Spooled;

/// A whole body.
#[derive(Debug)]
pub(super) enum Received {
    Memory(Bytes),
    Spooled(Spooled),
}

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum Unread {
    TooLong,
    /// All room for long bodies is taken by what cannot be given up.
    NoRoom,
    /// The disk did not take it.
    Disk(io::Error),
    /// Its sender has gone.
    Broken,
}

/// The whole body in a buffer of its own: what hyper hands out are slices of its read buffer, which
/// would be kept alive by a body that is kept.
pub(super) async fn collect(mut incoming: Incoming, bytes_max: usize) -> Result<Received, Unread> {
    if incoming.is_end_stream() {
        return Ok(Received::Memory(Bytes::new()));
    }
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(Unread::TooLong);
    }
    // What is announced is not believed before it arrives.
    let mut whole = Vec::with_capacity(announced.min(BODY_BYTES_TRUSTED));
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(Unread::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Received::Memory(whole.into_boxed_slice().into()))
}

/// The body of a file. A short one stays in memory; of a long one at most two batches are in memory at once.
pub(super) async fn receive(
    mut incoming: Incoming,
    shared: &Arc<Shared>,
) -> Result<Received, Unread> {
    let bytes_max = shared.limits().upload_bytes;
    if incoming.size_hint().lower() > bytes_max {
        return Err(Unread::TooLong);
    }
    let mut file = FileBody::default();
    let mut problem = None;
    let mut total = 0u64;
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        total += data.len() as u64;
        if total > bytes_max {
            return Err(Unread::TooLong);
        }
        // After a problem the rest is read and dropped: who is still writing reads no answer.
        if problem.is_none()
            && let Err(found) = file.take(data, shared).await
        {
            file = FileBody::default();
            problem = Some(found);
        }
    }
    match problem {
        None => file.finish(shared).await,
        Some(problem) => Err(problem),
    }
}

/// What has arrived of a file.
#[derive(Debug, Default)]
struct FileBody {
    /// Not written yet.
    batch: Vec<Bytes>,
    batch_bytes: usize,
    /// The batch before, on its way to the disk.
    writing: Option<JoinHandle<(Writer, io::Result<()>)>>,
}

impl FileBody {
    async fn take(&mut self, data: Bytes, shared: &Arc<Shared>) -> Result<(), Unread> {
        self.batch_bytes += data.len();
        self.batch.push(data);
        if self.batch_bytes > BATCH_BYTES { self.write(shared).await } else { Ok(()) }
    }

    /// Sends the batch on its way, once the one before has arrived.
    async fn write(&mut self, shared: &Arc<Shared>) -> Result<(), Unread> {
        let mut writer = match self.written().await? {
            Some(writer) => writer,
            None => shared.spool().writer().map_err(Unread::Disk)?,
        };
        while writer.reserve(self.batch_bytes).is_err() {
            if !shared.make_room() {
                return Err(Unread::NoRoom);
            }
        }
        self.batch_bytes = 0;
        let batch = mem::take(&mut self.batch);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let result = writer.write(&batch);
            (writer, result)
        }));
        Ok(())
    }

    /// Waits until nothing is on its way.
    async fn written(&mut self) -> Result<Option<Writer>, Unread> {
        let Some(writing) = self.writing.take() else { return Ok(None) };
        // A write that panicked or was cancelled is one that the mock is being stopped in.
        let (writer, result) = writing.await.map_err(|_| Unread::Broken)?;
        result.map_err(Unread::Disk)?;
        Ok(Some(writer))
    }

    async fn finish(mut self, shared: &Arc<Shared>) -> Result<Received, Unread> {
        if self.writing.is_none() {
            let mut whole = Vec::with_capacity(self.batch_bytes);
            self.batch.iter().for_each(|data| whole.extend_from_slice(data));
            return Ok(Received::Memory(whole.into()));
        }
        if self.batch_bytes > 0 {
            self.write(shared).await?;
        }
        match self.written().await? {
            Some(writer) => Ok(Received::Spooled(writer.finish())),
            None => Err(Unread::Broken),
        }
    }
}

impl Unread {
    /// What the sender is told; `None` if there is none any more.
    pub(super) fn answer(&self, spool: &Spool) -> Option<Response<Bytes>> {
        let dir = spool.dir().display();
        let (status, detail) = match self {
            Self::Broken => return None,
            Self::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "The request body is too long".to_owned())
            }
            Self::NoRoom => (
                StatusCode::INSUFFICIENT_STORAGE,
                "fal-mock has no room for this upload: uploads that are not complete take all that \
                 spool_bytes_max (--spool-bytes) allows"
                    .to_owned(),
            ),
            Self::Disk(error) if is_full(error) => (
                StatusCode::INSUFFICIENT_STORAGE,
                format!("fal-mock has no room for this upload: the disk of {dir} is full (--spool-dir)"),
            ),
            Self::Disk(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("fal-mock cannot keep this upload in {dir} (--spool-dir): {error}"),
            ),
        };
        let mut response = json(status, &detail);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Some(response)
    }
}

/// Whether there is no room on a disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Room made for a body before its first byte has arrived.
const BODY_BYTES_TRUSTED: usize = 1 << 20;

/// Longest file that is kept in memory, and what is written to the disk at once: 1 MiB.
pub(super) const BATCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_with_the_disk_are_told_apart() {
        let spool = Spool::new("/where/it/is".into(), 0);
        let answer = |problem: Unread| {
            let response = problem.answer(&spool)?;
            Some((response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap()))
        };
        let full = answer(Unread::Disk(io::ErrorKind::StorageFull.into())).unwrap();
        assert!(full.0 == 507 && full.1.contains("/where/it/is"), "{full:?}");
        let denied = answer(Unread::Disk(io::ErrorKind::PermissionDenied.into())).unwrap();
        assert!(denied.0 == 500 && denied.1.contains("--spool-dir"), "{denied:?}");
        let taken = answer(Unread::NoRoom).unwrap();
        assert!(taken.0 == 507 && taken.1.contains("--spool-bytes"), "{taken:?}");
        assert_eq!(answer(Unread::TooLong).unwrap().0, 413);
        assert_eq!(answer(Unread::Broken), None);
    }
}
