//! Status streams: each change once, log lines as deltas, comments against silence.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, header};

use super::exchange::{Head, Output};
use super::id::RequestId;
use super::job::{Job, State};
use super::reply::{REQUEST_ID, id_value};
use super::{Due, Model, Open, app_of};

/// One open status stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) job: RequestId,
    wants_logs: bool,
    /// The three addresses, as the door of the stream writes them.
    addresses: Box<[u8]>,
    /// What it was told last: state and position.
    told: Option<(u8, usize)>,
    lines_sent: usize,
    last_at: Instant,
    /// The planned event that counts; earlier ones are stale.
    due: Option<Instant>,
}

impl Model {
    /// Opens a stream and sends the current status at once.
    pub(crate) fn open_stream(
        &mut self,
        exchange: u64,
        id: RequestId,
        wants_logs: bool,
        addresses: Vec<u8>,
    ) {
        let mut head = Head::new(());
        let headers = head.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REQUEST_ID, id_value(id));
        self.out.push_back(Output::Stream { id: exchange, head });
        self.counters.streams += 1;
        let stream = Stream {
            job: id,
            wants_logs,
            addresses: addresses.into(),
            told: None,
            lines_sent: 0,
            last_at: self.now,
            due: None,
        };
        let is_limited = self.is_limited(id);
        if let Some(job) = self.jobs.get_mut(id) {
            job.streams.push(exchange);
            if matches!(job.state, State::Queued { .. }) && is_limited {
                app_of(&mut self.apps, job.endpoint.app()).watchers.insert(exchange);
            }
        }
        self.open.insert(exchange, Open::Stream(Box::new(stream)));
        self.tell(exchange);
    }

    /// Whether jobs stand in each other's way where this one waits.
    fn is_limited(&self, id: RequestId) -> bool {
        self.jobs.get(id).is_some_and(|job| self.runners(job.endpoint.app()).is_some())
    }

    /// Something about a job has changed: all its streams are told.
    pub(crate) fn changed(&mut self, id: RequestId) {
        self.note_job(id);
        let Some(job) = self.jobs.get(id) else { return };
        if job.streams.is_empty() {
            return;
        }
        let queued = matches!(job.state, State::Queued { .. });
        let (streams, endpoint) = (job.streams.clone(), job.endpoint.clone());
        let is_limited = self.is_limited(id);
        for exchange in streams {
            if queued && is_limited {
                app_of(&mut self.apps, endpoint.app()).watchers.insert(exchange);
            } else if let Some(app) = self.apps.get_mut(endpoint.app()) {
                app.watchers.remove(&exchange);
            }
            self.tell(exchange);
        }
    }

    /// Somebody has left a line: those behind move up.
    pub(crate) fn line_moved(&mut self, name: &str) {
        // Without a limit of runners nobody stands in anybody's way, and nobody watches.
        let watchers = self.apps.get(name).map(|app| app.watchers.clone()).unwrap_or_default();
        for exchange in watchers {
            self.tell(exchange);
        }
    }

    /// A planned event of a stream has come: a change by the passing of time, or silence.
    pub(crate) fn stream_due(&mut self, exchange: u64, at: Instant) {
        let current = matches!(self.open.get(&exchange), Some(Open::Stream(stream)) if stream.due == Some(at));
        if current {
            self.tell(exchange);
        }
    }

    /// Forgets a stream whose entry has been taken out.
    pub(crate) fn unwatch(&mut self, exchange: u64, stream: &Stream) {
        let Some(job) = self.jobs.get_mut(stream.job) else { return };
        job.streams.retain(|other| *other != exchange);
        let name = job.endpoint.clone();
        if let Some(app) = self.apps.get_mut(name.app()) {
            app.watchers.remove(&exchange);
        }
        self.drop_idle(name.app());
    }

    /// Sends what is new, or a comment if it was silent for too long; then plans the next event.
    fn tell(&mut self, exchange: u64) {
        let Some(Open::Stream(stream)) = self.open.get(&exchange) else { return };
        let id = stream.job;
        let Some(job) = self.jobs.get(id) else { return };
        let status = (job.state_number(), self.position(job));
        let lines = if stream.wants_logs { job.lines(self.now).count() } else { 0 };
        let is_done = job.is_done();
        let change = job.next_change(self.now);
        let bytes = if stream.told != Some(status) || lines > stream.lines_sent {
            let from = stream.wants_logs.then_some(stream.lines_sent);
            let mut event = Vec::with_capacity(640);
            event.extend_from_slice(b"data: ");
            let addresses = |out: &mut Vec<u8>| out.extend_from_slice(&stream.addresses);
            self.push_status(&mut event, id, job, addresses, from);
            event.extend_from_slice(b"\n\n");
            Some(Bytes::from(event))
        } else if self.now.saturating_duration_since(stream.last_at) >= self.config.ping_interval {
            Some(Bytes::from_static(KEEP_ALIVE))
        } else {
            None
        };
        let sent = bytes.is_some();
        self.out.extend(bytes.map(|bytes| Output::Event { id: exchange, bytes }));
        if is_done {
            self.open.remove(&exchange);
            if let Some(job) = self.jobs.get_mut(id) {
                job.streams.retain(|other| *other != exchange);
            }
            self.out.push_back(Output::End { id: exchange });
            return;
        }
        let Some(Open::Stream(stream)) = self.open.get_mut(&exchange) else { return };
        stream.told = Some(status);
        stream.lines_sent = lines;
        if sent {
            stream.last_at = self.now;
        }
        let ping = stream.last_at.checked_add(self.config.ping_interval);
        let next = change.into_iter().chain(ping).min();
        if next != stream.due {
            stream.due = next;
            if let Some(at) = next {
                self.plan(at, Due::Stream(exchange));
            }
        }
    }
}

impl Job {
    const fn state_number(&self) -> u8 {
        match self.state {
            State::Queued { .. } => 0,
            State::Running { .. } => 1,
            State::Done { .. } => 2,
        }
    }
}

/// A comment against silence.
///
/// Source: docs.fal.ai, status stream page (documented; the word is observed).
pub(crate) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
