//! Uploads: the builder, an upload under way, and one file from opening to its address.

mod file;
mod source;
mod tokens;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fal_protocol::lifecycle::{Acl, Expires, Lifecycle};
use fal_protocol::upload::{Route, UploadState};
use futures_core::Stream;

pub use source::UploadSource;

use crate::client::Client;
use crate::drive::now;
use crate::error::Error;
use crate::event::Event;
use crate::input::FileInput;
use crate::plan::{OnUpdate, tell};
pub(crate) use file::{FileStep, FileUpload, Ways};
pub(crate) use tokens::Tokens;

/// An upload that has not begun; `.await` it for the file's public address.
///
/// A file of more than 90 MiB goes in parts, four at once, each repeated on its own. To stop such an upload
/// and go on later, from another process too, [`start`](Self::start) it and keep what
/// [`Uploading::pause`] leaves.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// use fal_client::{Acl, Decision};
///
/// let url = client
///     .upload(b"a picture".to_vec())
///     .named("a.png")
///     .expires("1d".parse()?)
///     .acl(Acl::new(Decision::Forbid).rule("acme", Decision::Allow))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Upload {
    client: Client,
    file: FileInput,
    ways: Ways,
    deadline: Duration,
    on_update: Option<OnUpdate>,
}

impl Upload {
    pub(crate) fn new(client: Client, source: UploadSource) -> Self {
        let deadline = UPLOAD_DEADLINE_DEFAULT;
        let (file, ways) = (FileInput::new(source), Ways::default());
        Self { client, file, ways, deadline, on_update: None }
    }

    /// Sets the name that the file gets. Default: its own; `upload` for bytes in memory.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.file = self.file.named(name);
        self
    }

    /// Sets the media type. Default: by the name's ending.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.file = self.file.content_type(content_type);
        self
    }

    /// Sets how long the file lives and who may read it. Default: as the account says.
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.file = self.file.lifecycle(lifecycle);
        self
    }

    /// Sets how long the file lives.
    pub fn expires(mut self, expires: Expires) -> Self {
        let lifecycle = self.file.lifecycle.take().unwrap_or_default();
        self.lifecycle(lifecycle.expires(expires))
    }

    /// Sets who may read the file. A model that is not allowed to cannot either.
    pub fn acl(mut self, acl: Acl) -> Self {
        let lifecycle = self.file.lifecycle.take().unwrap_or_default();
        self.lifecycle(lifecycle.acl(acl))
    }

    /// Goes this way alone. Default: [`Route::Initiate`].
    pub fn route(self, route: Route) -> Self {
        self.routes([route])
    }

    /// Goes the first of these ways, and each further one when those before it have failed for good;
    /// [`Route::CDN_THEN_GCS`] is what the official Python client does.
    pub fn routes(mut self, routes: impl Into<Vec<Route>>) -> Self {
        self.ways.routes = Some(routes.into());
        self
    }

    /// Sends files of more than this in parts. Default 90 MiB, by other routes than [`Route::Initiate`] 100.
    pub const fn multipart_over(mut self, bytes: u64) -> Self {
        self.ways.multipart_over = Some(bytes);
        self
    }

    /// Sets the size of a part. Default 10 MiB; the largest files get larger ones, because there are at most
    /// 10,000.
    pub const fn part_bytes(mut self, bytes: u64) -> Self {
        self.ways.part_bytes = Some(bytes);
        self
    }

    /// Sets how many parts go out at once, 1 to 32. Default 4.
    pub const fn parallel(mut self, parts: usize) -> Self {
        self.ways.parallel = Some(parts);
        self
    }

    /// Goes on with an upload that was paused or has failed: only what is missing is sent. Name, media type,
    /// route and part size are those of the state.
    ///
    /// A file must look as it did then (length and time of change); bytes in memory must have the same length,
    /// and that they are the same is the caller's word.
    pub fn resume(mut self, state: UploadState) -> Self {
        self.ways.resume = Some(state);
        self
    }

    /// Sets when to give up. Default: [`UPLOAD_DEADLINE_DEFAULT`].
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets who hears of the progress.
    pub fn on_update(mut self, on_update: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_update = Some(Box::new(on_update));
        self
    }

    /// Begins. The result is a `Stream` of events that can then be awaited for the address.
    pub fn start(self) -> Uploading {
        let deadline = now().checked_add(self.deadline);
        let upload = FileUpload::new(self.client, self.file, self.ways, deadline);
        Uploading { upload, result: None, on_update: self.on_update }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("file", &self.file).finish_non_exhaustive()
    }
}

impl IntoFuture for Upload {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().into_future()
    }
}

/// An upload under way: a `Stream` of its events; await it for the file's address.
///
/// Dropping it stops everything at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// use fal_client::Event;
///
/// let mut upload = client.upload(b"a picture".to_vec()).start();
/// while let Some(event) = upload.next_event().await {
///     if let Event::Uploading { sent, total, .. } = event {
///         println!("{sent} of {total}");
///     }
/// }
/// println!("{}", upload.await?);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it stops the upload"]
pub struct Uploading {
    upload: FileUpload,
    result: Option<Result<String, Error>>,
    on_update: Option<OnUpdate>,
}

impl Uploading {
    /// The next event; `None` once the upload has ended, and then awaiting gives the address at once.
    pub async fn next_event(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// What it takes to go on from here, if the file goes in parts and they have a place. Changes with every
    /// [`Event::PartUploaded`]; stays when the upload fails.
    ///
    /// It holds a signed address: see [`UploadState`].
    #[must_use]
    pub fn state(&self) -> Option<UploadState> {
        self.upload.state()
    }

    /// Stops everything now, and leaves what it takes to go on with [`Upload::resume`]; `None` if nothing has
    /// arrived that would be worth it. Parts that are under way are lost.
    #[must_use = "without it nobody can go on"]
    pub fn pause(self) -> Option<UploadState> {
        self.state()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.result.is_some() {
            return Poll::Ready(None);
        }
        match ready!(self.upload.poll_step(cx)) {
            FileStep::Event(event) => {
                tell(&mut self.on_update, &event);
                Poll::Ready(Some(event))
            }
            FileStep::Done(result) => {
                self.result = Some(result);
                Poll::Ready(None)
            }
        }
    }
}

impl Stream for Uploading {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl IntoFuture for Uploading {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            while self.next_event().await.is_some() {}
            self.result.unwrap_or_else(|| Err(Error::config("the address was taken already")))
        })
    }
}

impl fmt::Debug for Uploading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploading")
            .field("name", &self.upload.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Longest upload unless told otherwise: 6 hours.
pub const UPLOAD_DEADLINE_DEFAULT: Duration = Duration::from_secs(6 * 3600);
