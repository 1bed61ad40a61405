use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::upload;
use fal_protocol::wire::Body;

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::event::Event;
use crate::input::FileInput;
use crate::machines::Step;
use crate::media::content_type_of;
use crate::plan::{OnUpdate, tell};
use crate::transport::Source;

/// Where the content of a file comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum UploadSource {
    /// A local file, read as it goes out: memory stays flat.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl fmt::Debug for UploadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl From<PathBuf> for UploadSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&str> for UploadSource {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&std::path::Path> for UploadSource {
    fn from(path: &std::path::Path) -> Self {
        Self::File(path.into())
    }
}

impl From<Bytes> for UploadSource {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for UploadSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// An upload that has not begun; `.await` it for the file's public address.
#[must_use = "nothing happens until it is awaited"]
pub struct Upload {
    client: Client,
    file: FileInput,
    deadline: Duration,
    on_update: Option<OnUpdate>,
}

impl Upload {
    pub(crate) fn new(client: Client, source: UploadSource) -> Self {
        let deadline = UPLOAD_DEADLINE_DEFAULT;
        Self { client, file: FileInput::new(source), deadline, on_update: None }
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
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("file", &self.file).finish_non_exhaustive()
    }
}

impl IntoFuture for Upload {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let deadline = now().checked_add(self.deadline);
            let mut upload = FileUpload::new(self.client, self.file, deadline);
            loop {
                match std::future::poll_fn(|cx| upload.poll_step(cx)).await {
                    FileStep::Event(event) => tell(&mut self.on_update, &event),
                    FileStep::Done(result) => return result,
                }
            }
        })
    }
}

/// One file on its way: opened, then driven; or read into a data URI.
pub(crate) struct FileUpload {
    client: Client,
    file: FileInput,
    name: String,
    deadline: Option<Instant>,
    stage: Stage,
}

enum Stage {
    Opening(Pin<Box<dyn Future<Output = Result<Opened, Error>> + Send>>),
    Sending(Box<Driver<upload::Upload>>),
}

enum Opened {
    Length(u64),
    Inline(String),
}

pub(crate) enum FileStep {
    Event(Event),
    Done(Result<String, Error>),
}

impl FileUpload {
    pub(crate) fn new(client: Client, file: FileInput, deadline: Option<Instant>) -> Self {
        let own = match &file.source {
            UploadSource::File(path) => {
                path.file_name().map(|name| name.to_string_lossy().into_owned())
            }
            UploadSource::Bytes(_) => None,
        };
        let name = file.name.clone().or(own).unwrap_or_else(|| "upload".into());
        let stage = Stage::Opening(Box::pin(open(file.clone(), content_type(&file, &name))));
        Self { client, file, name, deadline, stage }
    }

    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<FileStep> {
        loop {
            match &mut self.stage {
                Stage::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(Opened::Inline(uri)) => return Poll::Ready(FileStep::Done(Ok(uri))),
                    Ok(Opened::Length(length)) => match self.start(length) {
                        Ok(driver) => self.stage = Stage::Sending(Box::new(driver)),
                        Err(error) => return Poll::Ready(FileStep::Done(Err(error))),
                    },
                    Err(error) => return Poll::Ready(FileStep::Done(Err(error))),
                },
                Stage::Sending(driver) => match ready!(driver.poll_step(cx)) {
                    Step::Event(event) => {
                        if let Some(event) = Event::of_upload(&self.name, event) {
                            return Poll::Ready(FileStep::Event(event));
                        }
                    }
                    Step::Done(result) => {
                        let url = result.map(|uploaded| uploaded.url).map_err(Error::from);
                        return Poll::Ready(FileStep::Done(url));
                    }
                },
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn is_inline(&self) -> bool {
        self.file.inline
    }

    fn start(&self, length: u64) -> Result<Driver<upload::Upload>, Error> {
        let body = Body::Source { range: 0..length };
        let mut config =
            upload::Config::new(self.name.clone(), content_type(&self.file, &self.name), body);
        config.deadline = self.deadline;
        let machine = upload::Upload::new(now(), new_seed(), self.client.settings(), config)?;
        let source = match &self.file.source {
            UploadSource::File(path) => Source::File(path.clone()),
            UploadSource::Bytes(bytes) => Source::Bytes(bytes.clone()),
        };
        let span = tracing::debug_span!("upload", bytes = length);
        Ok(Driver::new(machine, self.client.transport(), span).with_source(source))
    }
}

fn content_type(file: &FileInput, name: &str) -> String {
    file.content_type.clone().unwrap_or_else(|| content_type_of(name).to_owned())
}

async fn open(file: FileInput, content_type: String) -> Result<Opened, Error> {
    let inline =
        |bytes: &[u8]| Opened::Inline(fal_protocol::data_uri::encode(&content_type, bytes));
    match (file.source, file.inline) {
        (UploadSource::Bytes(bytes), true) => Ok(inline(&bytes)),
        (UploadSource::Bytes(bytes), false) => Ok(Opened::Length(bytes.len() as u64)),
        (UploadSource::File(path), true) => match tokio::fs::read(&path).await {
            Ok(bytes) => Ok(inline(&bytes)),
            Err(error) => Err(Error::file(path, error)),
        },
        (UploadSource::File(path), false) => match tokio::fs::metadata(&path).await {
            Ok(found) if found.is_file() => Ok(Opened::Length(found.len())),
            Ok(_) => Err(Error::file(path, std::io::Error::other("this is not a file"))),
            Err(error) => Err(Error::file(path, error)),
        },
    }
}

/// Longest upload unless told otherwise: 6 hours.
pub const UPLOAD_DEADLINE_DEFAULT: Duration = Duration::from_secs(6 * 3600);
