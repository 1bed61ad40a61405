//! Machine: follow a job until it has completed.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Streaming | head | Polling | it is no event stream: a poll says why |
//! | Streaming | chunk | Streaming, StreamRest, Polling, Over | news is told; COMPLETED ends it, garbage breaks it |
//! | Streaming | end, timeout | StreamRest, Polling | it broke; the third time in a row it is polled instead |
//! | Streaming | failure | Streaming, StreamRest, Polling | the same, after the backup host was asked |
//! | Streaming | success | StreamRest, Polling, Over | a driver that does not stream: head, chunk and end in one |
//! | Streaming | redirect, refusal | Polling | likewise |
//! | StreamRest | timeout | Streaming | it is opened again |
//! | Polling | success | PollRest, Over | news is told; COMPLETED ends it, and so does garbage that goes on |
//! | Polling | redirect, refusal, failure, timeout | Polling, Over | as [`crate::retry`] says |
//! | PollRest | timeout | Polling | the next poll |
//! | Streaming, StreamRest, Polling, PollRest | deadline | Over | with an Abort of what is open |
//!
//! A comment on the stream proves that the connection lives; it is no news of the job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::ledger::LogLedger;
use super::{Completed, Event, Handle, State, Status};
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError};
use crate::machine::{AttemptFailed, Ids, Out, Output, after, earliest, is_due};
use crate::rand::SplitMix64;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::sse::{Decoder, Item, Limits};
use crate::wire::{ExchangeId, Expect, Failure, FailureKind, Head, Request, Response};

/// How to watch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchConfig {
    /// Asks for the model's log lines. Default true.
    pub logs: bool,
    /// Opens the status stream first, so that completion is seen when it happens. Default true;
    /// false polls.
    pub stream: bool,
    /// Rest between two polls. Default 500 ms, as the JS client.
    pub poll_interval: Duration,
    /// Rest between two polls once polling has gone on for 30 s. Default 2 s.
    pub poll_interval_max: Duration,
    /// Longest wait for the first event: a middlebox that collects the stream shows here, because the
    /// service sends the current status at once. Default 10 s.
    pub stream_first_event_timeout: Duration,
    /// Longest silence on the stream. Default 45 s: three of the service's comments.
    pub stream_idle_timeout: Duration,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            logs: true,
            stream: true,
            poll_interval: Duration::from_millis(500),
            poll_interval_max: Duration::from_secs(2),
            stream_first_event_timeout: Duration::from_secs(10),
            stream_idle_timeout: Duration::from_secs(45),
            deadline: None,
        }
    }
}

/// Follows one job. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Watch {
    handle: Handle,
    settings: Arc<Settings>,
    config: WatchConfig,
    jitter: SplitMix64,
    mode: Mode,
    /// Streams in a row that broke before they were of use.
    stream_failures: u32,
    /// Answers to polls in a row that were no status.
    malformed: u32,
    polling_since: Option<Instant>,
    told: Told,
    ledger: LogLedger,
    pub(super) ids: Ids,
    out: Out<Event, Completed>,
}

#[derive(Debug)]
enum Mode {
    Streaming(Box<Stream>),
    StreamRest { until: Option<Instant> },
    Polling(Box<Call>),
    PollRest { call: Box<Call>, until: Option<Instant> },
    Over,
}

/// One open status stream.
#[derive(Debug)]
struct Stream {
    id: ExchangeId,
    /// End of the current patience: connect, first event, or silence.
    until: Option<Instant>,
    opened: Instant,
    /// Set once the head has said that this is an event stream.
    decoder: Option<Decoder>,
    /// The answer came whole: there is nothing left to abort.
    is_over: bool,
    events: u64,
    /// Why the primary host could not be reached, when this is the backup's stream.
    primary_failure: Option<Failure>,
}

/// What the application already knows, so that it hears only news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Queued(Option<u64>),
    Started,
    Other(Box<str>),
}

impl Watch {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the handle gives no usable address.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: WatchConfig,
    ) -> Result<Self, InputError> {
        Self::with_told(now, seed, settings, handle, config, Ids::default(), Told::Nothing)
    }

    pub(super) fn with_told(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: WatchConfig,
        ids: Ids,
        told: Told,
    ) -> Result<Self, InputError> {
        // An address that cannot be built fails here, while nothing has been sent.
        handle.stream_uri(&settings.hosts, config.logs)?;
        let mut watch = Self {
            handle,
            settings: Arc::clone(settings),
            jitter: SplitMix64::new(seed),
            mode: Mode::Over,
            stream_failures: 0,
            malformed: 0,
            polling_since: None,
            told,
            ledger: LogLedger::default(),
            ids,
            out: Out::new(),
            config,
        };
        if watch.config.stream {
            watch.open_stream(now)
        } else {
            watch.poll(now)
        }
        Ok(watch)
    }

    /// The head of a streamed answer arrived.
    pub fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        let Mode::Streaming(stream) = &mut self.mode else { return };
        if stream.id != id {
            return;
        }
        let content_type =
            head.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_events = content_type.to_ascii_lowercase().starts_with(b"text/event-stream");
        if head.status().is_success() && is_events {
            stream.decoder =
                Some(Decoder::new(Limits::default().with_event_bytes_max(STATUS_BYTES_MAX)));
            stream.until = after(now, self.config.stream_first_event_timeout);
        } else {
            // Refused, or no stream at all: a poll says why, in a form that is whole.
            self.abort_stream();
            self.poll(now);
        }
    }

    /// A piece of a streamed answer arrived.
    pub fn handle_chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
        let Mode::Streaming(stream) = &mut self.mode else { return };
        let Some(decoder) = stream.decoder.as_mut().filter(|_| stream.id == id) else { return };
        decoder.push(chunk);
        if stream.events > 0 {
            stream.until = after(now, self.config.stream_idle_timeout);
        }
        loop {
            let Mode::Streaming(stream) = &mut self.mode else { return };
            let item = stream.decoder.as_mut().and_then(Decoder::next_event);
            let status = match item {
                None => return,
                Some(Ok(Item::Event(event))) => Status::parse(event.data.as_bytes()),
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(ProtocolError::body("status events", error, b"")),
            };
            match status {
                Ok(status) => {
                    // Only an event ends the wait for the first one: a middlebox that holds events
                    // back may well send comments of its own.
                    stream.events += 1;
                    stream.until = after(now, self.config.stream_idle_timeout);
                    self.tell(status);
                }
                Err(error) => {
                    self.abort_stream();
                    return self.lose_stream(now, ErrorKind::Protocol(error));
                }
            }
        }
    }

    /// A streamed answer ended in order. Before COMPLETED that is a loss, not a success.
    pub fn handle_end(&mut self, now: Instant, id: ExchangeId) {
        if self.is_streaming(id) {
            let failure =
                Failure::read(FailureKind::Closed, "the status stream ended before the job");
            self.lose_stream(now, ErrorKind::Transport(failure));
        }
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        if let Mode::Streaming(stream) = &mut self.mode
            && stream.id == id
        {
            stream.is_over = true;
            // A driver that did not stream: the body is a whole event stream, or an error.
            let (parts, body) = response.into_parts();
            self.handle_head(now, id, &http::Response::from_parts(parts, ()));
            self.handle_chunk(now, id, body);
            return self.handle_end(now, id);
        }
        let Mode::Polling(call) = &mut self.mode else { return };
        let settled = call.handle_response(now, &mut self.ids, id, response, &mut self.out);
        self.settle(now, settled);
    }

    /// An exchange ended without an answer, or a streamed one broke.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        if let Mode::Streaming(stream) = &mut self.mode {
            if stream.id != id {
                return;
            }
            let is_unreachable = failure.is_unreachable();
            let told = match stream.primary_failure.take() {
                None if is_unreachable => match self.backup_stream() {
                    Some(request) => return self.send_stream(now, request, Some(failure)),
                    None => failure,
                },
                Some(primary) if is_unreachable => primary,
                _ => failure,
            };
            return self.lose_stream(now, ErrorKind::Transport(told));
        }
        let Mode::Polling(call) = &mut self.mode else { return };
        let settled = call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
        self.settle(now, settled);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.mode, Mode::Over) {
            return;
        }
        if is_due(self.config.deadline, now) {
            let stopped = self.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            return self.finish(Err(ErrorKind::Deadline { aftermath: Aftermath::Left }.into()));
        }
        match &mut self.mode {
            Mode::Streaming(stream) if is_due(stream.until, now) => {
                let message = match stream.events {
                    0 => "the status stream sent nothing in time",
                    _ => "the status stream fell silent",
                };
                self.abort_stream();
                self.lose_stream(
                    now,
                    ErrorKind::Transport(Failure::read(FailureKind::Timeout, message)),
                );
            }
            Mode::StreamRest { until } if is_due(*until, now) => self.open_stream(now),
            Mode::PollRest { until, .. } if is_due(*until, now) => self.poll(now),
            Mode::Polling(call) => {
                let settled = call.handle_timeout(now, &mut self.ids, &mut self.out);
                self.settle(now, settled);
            }
            _ => {}
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Completed> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.mode {
            Mode::Streaming(_) => "Streaming",
            Mode::StreamRest { .. } => "StreamRest",
            Mode::Polling(_) => "Polling",
            Mode::PollRest { .. } => "PollRest",
            Mode::Over => "Over",
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        let next = match &self.mode {
            Mode::Streaming(stream) => stream.until,
            Mode::StreamRest { until } | Mode::PollRest { until, .. } => *until,
            Mode::Polling(call) => call.until(),
            Mode::Over => return None,
        };
        earliest(next, self.config.deadline)
    }

    /// Ends all local work; returns the exchange to abort.
    pub(super) fn stop(&mut self) -> Option<ExchangeId> {
        match std::mem::replace(&mut self.mode, Mode::Over) {
            Mode::Streaming(stream) => Some(stream.id),
            Mode::Polling(mut call) => call.stop(),
            _ => None,
        }
    }

    fn is_streaming(&self, id: ExchangeId) -> bool {
        matches!(&self.mode, Mode::Streaming(stream) if stream.id == id)
    }

    fn open_stream(&mut self, now: Instant) {
        match self.handle.stream_uri(&self.settings.hosts, self.config.logs) {
            Ok(uri) => {
                let request = self.stream_request(uri);
                self.send_stream(now, request, None);
            }
            Err(error) => self.finish(Err(ErrorKind::Input(error).into())),
        }
    }

    fn backup_stream(&self) -> Option<Request> {
        let uri = self.handle.stream_uri(&self.settings.hosts, self.config.logs).ok()?;
        Some(self.stream_request(self.settings.hosts.backup(&uri)?))
    }

    fn stream_request(&self, uri: Uri) -> Request {
        let mut request = Request::new(Method::GET, uri).with_expect(Expect::Chunks);
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        request.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.settings.sign(request)
    }

    fn send_stream(&mut self, now: Instant, request: Request, primary_failure: Option<Failure>) {
        let id = self.ids.next();
        self.ledger.begin_view();
        let until = after(now, self.config.stream_first_event_timeout);
        let stream = Stream {
            id,
            until,
            opened: now,
            decoder: None,
            is_over: false,
            events: 0,
            primary_failure,
        };
        self.mode = Mode::Streaming(Box::new(stream));
        self.out.push_back(Output::Send { id, request });
    }

    fn abort_stream(&mut self) {
        if let Mode::Streaming(stream) = &self.mode
            && !stream.is_over
        {
            self.out.push_back(Output::Abort { id: stream.id });
        }
    }

    /// The stream broke: rest and open it again, or poll from here on.
    fn lose_stream(&mut self, now: Instant, cause: ErrorKind) {
        let Mode::Streaming(stream) = &self.mode else { return };
        let lasted = now.saturating_duration_since(stream.opened);
        let was_useful = stream.events > 0 && lasted >= STREAM_USEFUL_MIN;
        self.stream_failures = if was_useful { 1 } else { self.stream_failures + 1 };
        if self.stream_failures >= STREAM_FAILURES_MAX || !self.settings.budget.withdraw() {
            return self.poll(now);
        }
        let rest = self.settings.retry.backoff(self.stream_failures, &mut self.jitter);
        let attempt = self.stream_failures;
        let failed = AttemptFailed { purpose: Purpose::Status, attempt, rest, cause };
        self.out.push_back(Output::Event(Event::AttemptFailed(failed)));
        self.mode = Mode::StreamRest { until: after(now, rest) };
    }

    fn poll(&mut self, now: Instant) {
        self.polling_since.get_or_insert(now);
        let mut call = match std::mem::replace(&mut self.mode, Mode::Over) {
            Mode::PollRest { call, .. } => call,
            _ => match self.handle.status_uri(&self.settings.hosts, self.config.logs) {
                Ok(uri) => {
                    let request =
                        json_request(&self.settings, Method::GET, uri, HeaderMap::new(), None);
                    let (seed, deadline) = (self.jitter.next_u64(), self.config.deadline);
                    Box::new(Call::new(&self.settings, Purpose::Status, request, seed, deadline))
                }
                Err(error) => return self.finish(Err(ErrorKind::Input(error).into())),
            },
        };
        call.restart(now, &mut self.ids, &mut self.out);
        self.mode = Mode::Polling(call);
    }

    /// A poll got its answer, or gave up.
    fn settle(&mut self, now: Instant, settled: Option<Settled>) {
        let response = match settled {
            None => return,
            Some(Ok(response)) => response,
            Some(Err(error)) => return self.finish(Err(error)),
        };
        match Status::parse(response.body()) {
            Ok(status) => {
                self.malformed = 0;
                self.ledger.begin_view();
                self.tell(status);
            }
            Err(error) => {
                // A page of a proxy, perhaps: the job is paid for, so it gets the patience of a read.
                self.malformed += 1;
                if self.malformed >= self.settings.retry.attempts(Purpose::Status) {
                    return self.finish(Err(ErrorKind::Protocol(error).into()));
                }
            }
        }
        let since = self.polling_since.unwrap_or(now);
        let long = now.saturating_duration_since(since) >= POLL_GROWTH_AFTER;
        let rest = if long { self.config.poll_interval_max } else { self.config.poll_interval };
        match std::mem::replace(&mut self.mode, Mode::Over) {
            Mode::Polling(call) => self.mode = Mode::PollRest { call, until: after(now, rest) },
            over => self.mode = over,
        }
    }

    /// Tells what is new in a status; ends with it when it is final.
    fn tell(&mut self, status: Status) {
        let news = match &status.state {
            State::InQueue => Told::Queued(status.queue_position),
            State::InProgress => Told::Started,
            State::Completed => self.told.clone(),
            State::Other(text) => Told::Other(text.clone()),
        };
        if news != self.told {
            self.out.push_back(Output::Event(match &news {
                Told::Queued(position) => Event::Queued { position: *position },
                Told::Other(text) => Event::UnknownStatus(text.clone()),
                Told::Nothing | Told::Started => Event::Started,
            }));
            self.told = news;
        }
        let completed =
            (status.state == State::Completed).then(|| status.completed(&self.handle.request_id));
        for line in status.logs {
            if self.ledger.admit(&line) {
                self.out.push_back(Output::Event(Event::Log(line)));
            }
        }
        if let Some(completed) = completed {
            self.abort_stream();
            self.out.push_back(Output::Event(Event::Completed(completed.clone())));
            self.finish(Ok(completed));
        }
    }

    fn finish(&mut self, result: Result<Completed, Error>) {
        self.mode = Mode::Over;
        let bind = |error: Error| error.with_handle(Some(self.handle.clone()));
        self.out.push_back(Output::Done(result.map_err(bind)));
    }
}

/// Streams that may break in a row before polling takes over.
pub(crate) const STREAM_FAILURES_MAX: u32 = 3;
/// A stream that lasted this long and sent an event was of use: 5 s.
const STREAM_USEFUL_MIN: Duration = Duration::from_secs(5);
/// Polls slow down after this time: 30 s.
const POLL_GROWTH_AFTER: Duration = Duration::from_secs(30);
/// Longest status event: 8 MiB, as a polled status.
const STATUS_BYTES_MAX: usize = crate::wire::ANSWER_BYTES_MAX;
