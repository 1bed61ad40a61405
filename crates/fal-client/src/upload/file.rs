use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use fal_protocol::InputError;
use fal_protocol::upload::{self, CdnToken, Route, UploadState};
use fal_protocol::wire::Body;

use super::source::{Look, UploadSource};
use crate::client::{Client, new_seed};
use crate::content_type::content_type_of;
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::event::Event;
use crate::input::FileInput;
use crate::machines::Step;
use crate::transport::Source;

/// How a file goes out, where it differs from the core's defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways {
    pub(crate) routes: Option<Vec<Route>>,
    pub(crate) multipart_over: Option<u64>,
    pub(crate) part_bytes: Option<u64>,
    pub(crate) parallel: Option<usize>,
    pub(crate) resume: Option<UploadState>,
}

/// One file on its way: opened, then driven, then looked at again; or read into a data URI.
pub(crate) struct FileUpload {
    client: Client,
    file: FileInput,
    ways: Ways,
    name: String,
    deadline: Option<Instant>,
    /// What the file looked like when it was opened.
    look: Option<Look>,
    /// The token that the machine was given.
    lent: Option<CdnToken>,
    /// What the machine left that has ended.
    left: Option<UploadState>,
    stage: Stage,
}

enum Stage {
    Opening(Pin<Box<dyn Future<Output = Result<Opened, Error>> + Send>>),
    Sending(Box<Driver<upload::Upload>>),
    /// All bytes are there: is it still the same file?
    Looking {
        url: String,
        looking: Pin<Box<dyn Future<Output = Result<Look, Error>> + Send>>,
    },
    Over,
}

enum Opened {
    File(Look),
    Bytes(u64),
    Inline(String),
}

pub(crate) enum FileStep {
    Event(Event),
    Done(Result<String, Error>),
}

impl FileUpload {
    pub(crate) fn new(
        client: Client,
        file: FileInput,
        ways: Ways,
        deadline: Option<Instant>,
    ) -> Self {
        let own = match &file.source {
            UploadSource::File(path) => {
                path.file_name().map(|name| name.to_string_lossy().into_owned())
            }
            UploadSource::Bytes(_) => None,
        };
        let kept = ways.resume.as_ref().map(|state| state.file_name().to_owned());
        let name = kept.or_else(|| file.name.clone()).or(own).unwrap_or_else(|| "upload".into());
        let stage = Stage::Opening(Box::pin(open(file.clone(), content_type(&file, &name))));
        let (look, lent, left) = (None, None, None);
        Self { client, file, ways, name, deadline, look, lent, left, stage }
    }

    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<FileStep> {
        loop {
            let done = match &mut self.stage {
                Stage::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(Opened::Inline(uri)) => Ok(uri),
                    Ok(Opened::File(look)) => {
                        let length = look.len();
                        self.look = Some(look);
                        match self.start(length) {
                            Ok(()) => continue,
                            Err(error) => Err(error),
                        }
                    }
                    Ok(Opened::Bytes(length)) => match self.start(length) {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                },
                Stage::Sending(driver) => match ready!(driver.poll_step(cx)) {
                    Step::Event(event) => match Event::of_upload(&self.name, event) {
                        Some(event) => return Poll::Ready(FileStep::Event(event)),
                        None => continue,
                    },
                    Step::Done(result) => {
                        let (lent, token) = (self.lent.as_ref(), driver.machine().token());
                        self.client.upload_tokens().store(lent, token);
                        self.left = driver.machine().state().cloned();
                        match (result, &self.file.source) {
                            (Ok(uploaded), UploadSource::File(path)) => {
                                let looking = Box::pin(look(path.clone()));
                                self.stage = Stage::Looking { url: uploaded.url, looking };
                                continue;
                            }
                            (Ok(uploaded), UploadSource::Bytes(_)) => Ok(uploaded.url),
                            (Err(error), _) => Err(Error::from(error)),
                        }
                    }
                },
                Stage::Looking { url, looking } => match ready!(looking.as_mut().poll(cx)) {
                    Ok(look) if Some(&look) == self.look.as_ref() => Ok(std::mem::take(url)),
                    Ok(_) => Err(self.changed("it has changed while it was uploaded")),
                    Err(error) => Err(error),
                },
                Stage::Over => Err(Error::config("the upload has ended")),
            };
            self.stage = Stage::Over;
            return Poll::Ready(FileStep::Done(done));
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn is_inline(&self) -> bool {
        self.file.inline
    }

    /// What it takes to go on from here.
    pub(crate) fn state(&self) -> Option<UploadState> {
        let state = match &self.stage {
            Stage::Sending(driver) => driver.machine().state().cloned(),
            Stage::Opening(_) => self.ways.resume.clone(),
            Stage::Looking { .. } | Stage::Over => self.left.clone(),
        };
        Some(match (state?, &self.look) {
            (state, Some(look)) => state.with_source(look.note()),
            (state, None) => state,
        })
    }

    fn start(&mut self, length: u64) -> Result<(), Error> {
        let body = Body::Source { range: 0..length };
        let mut config =
            upload::Config::new(self.name.clone(), content_type(&self.file, &self.name), body);
        let ways = &self.ways;
        config.routes = ways.routes.clone().unwrap_or(config.routes);
        config.multipart_over = ways.multipart_over;
        config.part_bytes = ways.part_bytes.unwrap_or(config.part_bytes);
        config.parallel = ways.parallel.unwrap_or(config.parallel);
        config.lifecycle = self.file.lifecycle.clone();
        config.deadline = self.deadline;
        let wall = SystemTime::now();
        self.lent = self.client.upload_tokens().load(wall);
        (config.wall, config.token) = (Some(wall), self.lent.clone());
        let (now, seed, settings) = (now(), new_seed(), self.client.settings());
        let machine = match ways.resume.clone() {
            None => upload::Upload::new(now, seed, settings, config)?,
            Some(state) => {
                let is_same = match (state.source(), &self.look) {
                    (Some(noted), Some(look)) => noted == look.note(),
                    // Bytes in memory leave no trace of what they were.
                    _ => true,
                };
                if !is_same {
                    return Err(self.changed("it has changed since the upload began"));
                }
                upload::Upload::resume(now, seed, settings, config, state)?
            }
        };
        let source = match &self.file.source {
            UploadSource::File(path) => Source::File(path.clone()),
            UploadSource::Bytes(bytes) => Source::Bytes(bytes.clone()),
        };
        let span = tracing::debug_span!("upload", bytes = length);
        let driver = Driver::new(machine, self.client.transport(), span).with_source(source);
        self.stage = Stage::Sending(Box::new(driver));
        Ok(())
    }

    fn changed(&self, problem: &str) -> Error {
        match &self.file.source {
            UploadSource::File(path) => Error::file(path, std::io::Error::other(problem)),
            UploadSource::Bytes(_) => InputError::Body { problem: problem.into() }.into(),
        }
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
        (UploadSource::Bytes(bytes), false) => Ok(Opened::Bytes(bytes.len() as u64)),
        (UploadSource::File(path), true) => match tokio::fs::read(&path).await {
            Ok(bytes) => Ok(inline(&bytes)),
            Err(error) => Err(Error::file(path, error)),
        },
        (UploadSource::File(path), false) => look(path).await.map(Opened::File),
    }
}

async fn look(path: PathBuf) -> Result<Look, Error> {
    match tokio::fs::metadata(&path).await {
        Ok(found) if found.is_file() => Ok(Look::of(&found)),
        Ok(_) => Err(Error::file(path, std::io::Error::other("this is not a file"))),
        Err(error) => Err(Error::file(path, error)),
    }
}
