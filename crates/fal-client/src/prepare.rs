//! An input on its way to JSON: its files are uploaded first, a few at once.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use fal_protocol::schema::Finding;

use crate::client::Client;
use crate::error::Error;
use crate::event::Event;
use crate::input::{FileInput, Input};
use crate::upload::{FileStep, FileUpload, Ways};

pub(crate) struct Prepare {
    /// To be told before anything is done.
    warnings: VecDeque<Finding>,
    input: Option<Input>,
    waiting: VecDeque<(usize, FileUpload)>,
    active: Vec<(usize, FileUpload)>,
    /// The addresses of the files that are not the same as an earlier one.
    urls: Vec<String>,
    /// Which of them each place of the input gets.
    places: Vec<usize>,
}

pub(crate) enum PrepareStep {
    Event(Event),
    Done(Result<Bytes, Error>),
}

impl Prepare {
    pub(crate) fn new(
        client: &Client,
        input: Input,
        warnings: Vec<Finding>,
        deadline: Option<Instant>,
    ) -> Self {
        let mut files: Vec<FileInput> = Vec::new();
        let place = |file: FileInput| {
            let known = files.iter().position(|known| known.is_same(&file));
            known.unwrap_or_else(|| {
                files.push(file);
                files.len() - 1
            })
        };
        let places = input.files().into_iter().map(place).collect();
        let urls = vec![String::new(); files.len()];
        let upload = |file| FileUpload::new(client.clone(), file, Ways::default(), deadline);
        let waiting = files.into_iter().map(upload).enumerate().collect();
        let warnings = warnings.into();
        Self { warnings, input: Some(input), waiting, active: Vec::new(), urls, places }
    }

    /// The next event or the end. The first file that fails ends all.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<PrepareStep> {
        if let Some(warning) = self.warnings.pop_front() {
            return Poll::Ready(PrepareStep::Event(Event::InputWarning(warning)));
        }
        while self.active.len() < UPLOADS_AT_ONCE {
            let Some(next) = self.waiting.pop_front() else { break };
            self.active.push(next);
        }
        let mut at = 0;
        while at < self.active.len() {
            let (index, upload) = &mut self.active[at];
            match upload.poll_step(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(FileStep::Event(event)) => {
                    return Poll::Ready(PrepareStep::Event(event));
                }
                Poll::Ready(FileStep::Done(Err(error))) => {
                    return Poll::Ready(PrepareStep::Done(Err(error)));
                }
                Poll::Ready(FileStep::Done(Ok(url))) => {
                    let told = (!upload.is_inline()).then(|| Event::Uploaded {
                        name: upload.name().to_owned(),
                        url: url.clone(),
                    });
                    self.urls[*index] = url;
                    self.active.remove(at);
                    if let Some(next) = self.waiting.pop_front() {
                        self.active.push(next);
                    }
                    if let Some(event) = told {
                        return Poll::Ready(PrepareStep::Event(event));
                    }
                }
            }
        }
        if !self.active.is_empty() {
            return Poll::Pending;
        }
        let mut input = self.input.take().unwrap_or_default();
        input.fill(&mut self.places.iter().map(|place| self.urls[*place].clone()));
        Poll::Ready(PrepareStep::Done(input.encode().map_err(Error::from)))
    }
}

/// Files of one input that go out at once.
const UPLOADS_AT_ONCE: usize = 4;
