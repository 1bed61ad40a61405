//! Machine: one streamed run. What the model makes arrives piece by piece on the same connection.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | head | Reading, Refused | 2xx: the stream has begun; else the body says why not |
//! | Asking | success | Over | a driver that does not stream: head, chunk and end in one |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal | Resting, Over | as [`crate::retry`] says |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Asking | end, timeout | Resting, Over | the same; an Abort goes before, if it was the timeout |
//! | Refused | end, failure, timeout | Asking, Resting, Over | the head and what came of the body are judged |
//! | Refused | success, redirect, refusal | Asking, Resting, Over | the rest of the body in one piece |
//! | Reading | chunk | Reading, Over | each event is told; one beyond its limit ends all |
//! | Reading | end | Over | `Done(Streamed)`, unless an event was cut |
//! | Reading | failure, timeout | Over | a stream that has begun is never repeated |
//! | Reading | success, redirect, refusal | Over | the rest of the stream in one piece |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Refused, Reading, Resting | deadline | Over | with an Abort of what is open |
//!
//! A stream costs money like a run, so it is repeated only while nothing can have been paid for. The
//! head of a 2xx answer ends that: what breaks afterwards is told as it is.

pub mod workflow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::EndpointId;
use crate::answer::Answer;
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError, RAW_BODY_BYTES_MAX};
use crate::headers;
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out, Output, after, earliest, is_due};
use crate::options::{Options, Route};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::sse::{self, Decoder, Item, Limits};
use crate::token::Token;
use crate::wire::{ExchangeId, Expect, Failure, FailureKind, Head, Phase, Response, Sent};

/// What to stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The endpoint, with or without `/stream` at its end.
    pub endpoint: EndpointId,
    /// Default POST. Other methods reach the model's app too.
    pub method: Method,
    /// JSON of the model's input; shared by all attempts.
    pub input: Option<Bytes>,
    /// Platform options, without those of the queue and those about the start.
    pub options: Options,
    /// Parameters of the query, for models that read some: names and values as they are, to be encoded.
    pub query: Vec<(String, String)>,
    /// A token for this model in place of the settings' credentials: it goes into the query, and no
    /// `Authorization` is sent. What programs use that must not hold a key.
    ///
    /// Source: `streaming.ts` of `@fal-ai/client` 1.10.1, connection mode `client` (official client source).
    pub token: Option<Token>,
    /// Longest silence once the stream has begun. Any byte ends it, comments too. Default: none but
    /// [`Settings::run_timeout`], because a model may think for long and fal documents no comments on
    /// these streams.
    ///
    /// Precedent: the Python client has no limit; the JS client names 15 s and never enforces it.
    pub idle_timeout: Option<Duration>,
    /// When to give up. The service notices the closed connection and stops the model.
    pub deadline: Option<Instant>,
}

impl Config {
    /// A POST of this input, without options or limits of its own.
    #[must_use]
    pub fn new(endpoint: EndpointId, input: Bytes) -> Self {
        Self {
            endpoint,
            method: Method::POST,
            input: Some(input),
            options: Options::default(),
            query: Vec::new(),
            token: None,
            idle_timeout: None,
            deadline: None,
        }
    }
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The service accepted the call, and what the model makes follows. Comes first, once.
    Opened {
        /// All headers of the answer.
        headers: HeaderMap,
    },
    /// An event of an event stream. Its data is nearly always JSON, and whole: not a patch of the one
    /// before.
    Item(sse::Event),
    /// A piece of a stream of another media type, such as audio. Where it is cut means nothing.
    Chunk(Bytes),
    /// An attempt failed and another follows. Only before `Opened`.
    AttemptFailed(AttemptFailed),
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}

/// A stream that came to its end.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Streamed {
    /// The status, 2xx.
    pub status: StatusCode,
    /// All headers of the answer.
    pub headers: HeaderMap,
    /// The last event, which holds the final result. `None` if there was none, and after raw chunks.
    pub last: Option<sse::Event>,
    /// Events told.
    pub events: u64,
    /// Bytes of the body, comments included.
    pub bytes: u64,
}

impl Streamed {
    /// The request id that the head carried.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.headers.get(headers::REQUEST_ID)?.to_str().ok()
    }

    /// The media type, such as `text/event-stream`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }

    /// Whether it was an event stream, not raw chunks.
    #[must_use]
    pub fn is_events(&self) -> bool {
        is_events(&self.headers)
    }

    /// The same as an answer with this body: the data of the last event, or all chunks in one.
    #[must_use]
    pub fn into_answer(self, body: Bytes) -> Answer {
        Answer { status: self.status, headers: self.headers, body }
    }
}

/// Performs one streamed run. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
///
/// use fal_protocol::stream::{Config, Event, Stream};
/// use fal_protocol::{Output, Settings};
///
/// let now = Instant::now();
/// let config = Config::new("fal-ai/any-llm".parse()?, r#"{"prompt":"hi"}"#.into());
/// let mut stream = Stream::new(now, 1, &Arc::new(Settings::default()), config)?;
/// let Output::Send { id, request } = stream.poll_output() else { panic!("it begins with a request") };
/// assert_eq!(request.uri, "https://fal.run/fal-ai/any-llm/stream");
///
/// let head = http::Response::builder().header("content-type", "text/event-stream").body(())?;
/// stream.handle_head(now, id, &head);
/// stream.handle_chunk(now, id, "data: {\"output\":\"hello\"}\n\n".into());
/// let Output::Event(Event::Opened { .. }) = stream.poll_output() else { panic!("it has begun") };
/// let Output::Event(Event::Item(item)) = stream.poll_output() else { panic!("an event is whole") };
/// assert_eq!(item.data, r#"{"output":"hello"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Stream {
    settings: Arc<Settings>,
    idle_timeout: Duration,
    deadline: Option<Instant>,
    call: Call,
    /// What has come of the current answer.
    answer: Option<Body>,
    ids: Ids,
    out: Out<Event, Streamed>,
    over: bool,
}

/// An answer whose head has arrived.
#[derive(Debug)]
enum Body {
    Refused(Refused),
    Reading(Box<Reading>),
}

/// An answer other than 2xx, whose body is being collected.
#[derive(Debug)]
struct Refused {
    id: ExchangeId,
    head: Head,
    body: Vec<u8>,
    until: Option<Instant>,
}

/// A stream that has begun.
#[derive(Debug)]
struct Reading {
    id: ExchangeId,
    /// `None` reads raw chunks.
    decoder: Option<Decoder>,
    streamed: Streamed,
    until: Option<Instant>,
    /// The answer came whole: there is nothing left to abort.
    is_over: bool,
}

impl Stream {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the options cannot be sent.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        if config.query.iter().any(|(name, _)| name == TOKEN_PARAMETER) {
            let problem = "a token in it would end up in logs; give it separately";
            return Err(InputError::option("query", problem));
        }
        let mut query: Vec<(&str, &str)> =
            config.query.iter().map(|(name, value)| (&**name, &**value)).collect();
        query.extend(config.token.as_ref().map(|token| (TOKEN_PARAMETER, token.as_str())));
        let uri = settings.hosts.uri(Host::Run, &config.endpoint.stream_path(), &query)?;
        let mut request = json_request(
            settings,
            config.method,
            uri,
            config.options.headers(Route::Stream)?,
            config.input,
        )
        .with_expect(Expect::Chunks);
        if config.token.is_some() {
            request = request.anonymous();
        }
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        request.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let call = Call::new(settings, Purpose::Stream, request, seed, config.deadline);
        let mut stream = Self {
            settings: Arc::clone(settings),
            idle_timeout: config.idle_timeout.unwrap_or(settings.run_timeout),
            deadline: config.deadline,
            call,
            answer: None,
            ids: Ids::default(),
            out: Out::new(),
            over: false,
        };
        if stream.call.is_too_late(now) {
            // Nobody waits for this any more, so nobody is to pay for it.
            let aftermath = Aftermath::NothingSubmitted;
            stream.finish(Err(ErrorKind::Deadline { aftermath }));
        } else {
            stream.call.start(now, &mut stream.ids, &mut stream.out);
        }
        Ok(stream)
    }

    /// The head of the answer arrived.
    pub fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        if !self.call.is_asking(id) || self.answer.is_some() {
            return;
        }
        if head.status().is_success() {
            return self.open(now, id, head.status(), head.headers());
        }
        let until = after(now, self.settings.attempt_timeout);
        let refused = Refused { id, head: head.clone(), body: Vec::new(), until };
        self.answer = Some(Body::Refused(refused));
    }

    /// A piece of the answer arrived.
    pub fn handle_chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
        match &mut self.answer {
            Some(Body::Refused(refused)) if refused.id == id => {
                // What is longer than an error keeps is not needed.
                let room = RAW_BODY_BYTES_MAX.saturating_sub(refused.body.len());
                refused.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Some(Body::Reading(reading)) if reading.id == id => {
                reading.until = after(now, self.idle_timeout);
                reading.streamed.bytes += chunk.len() as u64;
                match &mut reading.decoder {
                    Some(decoder) => {
                        decoder.push(chunk);
                        self.tell_events();
                    }
                    None if chunk.is_empty() => {}
                    None => self.out.push_back(Output::Event(Event::Chunk(chunk))),
                }
            }
            _ => {}
        }
    }

    /// The answer ended in order.
    pub fn handle_end(&mut self, now: Instant, id: ExchangeId) {
        match &mut self.answer {
            Some(Body::Refused(refused)) if refused.id == id => self.judge_refused(now),
            Some(Body::Reading(reading)) if reading.id == id => {
                // Official clients drop an event that nothing ends, and call the one before the result.
                // A stream that stops inside an event has lost its result, so it did not succeed.
                if reading.decoder.as_ref().is_some_and(Decoder::is_mid_event) {
                    let message = "the stream ended inside an event";
                    let failure = Failure::read(FailureKind::Closed, message);
                    return self.finish(Err(ErrorKind::Transport(failure)));
                }
                let streamed = reading.streamed.clone();
                self.finish(Ok(streamed));
            }
            _ => {
                let failure =
                    Failure::read(FailureKind::Closed, "the answer ended before its head");
                self.handle_failure(now, id, failure);
            }
        }
    }

    /// An answer arrived whole: from a driver that did not stream. After a head it is the rest.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        if self.answer.is_none() {
            if !self.call.is_asking(id) {
                return;
            }
            if !response.status().is_success() {
                let settled =
                    self.call.handle_response(now, &mut self.ids, id, response, &mut self.out);
                return self.settle(settled);
            }
            self.open(now, id, response.status(), response.headers());
        }
        match &mut self.answer {
            Some(Body::Reading(reading)) if reading.id == id => reading.is_over = true,
            _ => {}
        }
        self.handle_chunk(now, id, response.into_body());
        self.handle_end(now, id);
    }

    /// The exchange ended without an answer, or broke.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, mut failure: Failure) {
        match &self.answer {
            // The status says enough.
            Some(Body::Refused(refused)) if refused.id == id => self.judge_refused(now),
            Some(Body::Reading(reading)) if reading.id == id => {
                // Whatever the transport thinks: an answer proves that the request has arrived.
                (failure.phase, failure.sent) = (Phase::Read, Sent::Maybe);
                self.finish(Err(ErrorKind::Transport(failure)));
            }
            _ => {
                let settled =
                    self.call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
                self.settle(settled);
            }
        }
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if is_due(self.deadline, now) {
            let aftermath = match self.open_id() {
                Some(_) => Aftermath::Disconnected,
                None if self.call.is_unknown() => Aftermath::Unknown,
                None => Aftermath::NothingSubmitted,
            };
            self.abort();
            return self.finish(Err(ErrorKind::Deadline { aftermath }));
        }
        match &self.answer {
            Some(Body::Refused(refused)) if is_due(refused.until, now) => {
                self.abort();
                self.judge_refused(now);
            }
            Some(Body::Reading(reading)) if is_due(reading.until, now) => {
                self.abort();
                let message = format!("the stream was silent for {:?}", self.idle_timeout);
                let failure = Failure::read(FailureKind::Timeout, message);
                self.finish(Err(ErrorKind::Transport(failure)));
            }
            Some(_) => {}
            None => {
                let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
                self.settle(settled);
            }
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Streamed> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match &self.answer {
            _ if self.over => "Over",
            Some(Body::Refused(_)) => "Refused",
            Some(Body::Reading(_)) => "Reading",
            None => self.call.state_name(),
        }
    }

    fn until(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let next = match &self.answer {
            Some(Body::Refused(refused)) => refused.until,
            Some(Body::Reading(reading)) => reading.until,
            None => self.call.until(),
        };
        earliest(next, self.deadline)
    }

    /// The exchange that is under way.
    fn open_id(&self) -> Option<ExchangeId> {
        match &self.answer {
            Some(Body::Reading(reading)) => (!reading.is_over).then_some(reading.id),
            _ => self.call.in_flight(),
        }
    }

    fn abort(&mut self) {
        if let Some(id) = self.open_id() {
            self.out.push_back(Output::Abort { id });
        }
    }

    /// The stream has begun: from here on nothing is repeated.
    fn open(&mut self, now: Instant, id: ExchangeId, status: StatusCode, headers: &HeaderMap) {
        self.call.accept();
        let headers = headers.clone();
        // The last event is the result, so it may be as long as one.
        let limits = Limits::default().with_event_bytes_max(self.settings.result_bytes_max);
        let decoder = is_events(&headers).then(|| Decoder::new(limits));
        let streamed =
            Streamed { status, headers: headers.clone(), last: None, events: 0, bytes: 0 };
        let until = after(now, self.idle_timeout);
        let reading = Reading { id, decoder, streamed, until, is_over: false };
        self.answer = Some(Body::Reading(Box::new(reading)));
        self.out.push_back(Output::Event(Event::Opened { headers }));
    }

    /// Tells all events that are whole.
    fn tell_events(&mut self) {
        let Some(Body::Reading(reading)) = &mut self.answer else { return };
        let Some(decoder) = &mut reading.decoder else { return };
        while let Some(item) = decoder.next_event() {
            match item {
                Ok(Item::Event(event)) => {
                    reading.streamed.events += 1;
                    reading.streamed.last = Some(event.clone());
                    self.out.push_back(Output::Event(Event::Item(event)));
                }
                Ok(Item::Comment) => {}
                Err(error) => {
                    self.abort();
                    let error = ProtocolError::body("events of the model", error, b"");
                    return self.finish(Err(ErrorKind::Protocol(error)));
                }
            }
        }
    }

    /// All that will come of a refusal has come.
    fn judge_refused(&mut self, now: Instant) {
        let Some(Body::Refused(refused)) = self.answer.take() else { return };
        let response = refused.head.map(|()| Bytes::from(refused.body));
        let settled =
            self.call.handle_response(now, &mut self.ids, refused.id, response, &mut self.out);
        self.settle(settled);
    }

    fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            // A 2xx answer never gets this far.
            None | Some(Ok(_)) => {}
            Some(Err(error)) => self.finish_with(Err(error)),
        }
    }

    fn finish(&mut self, result: Result<Streamed, ErrorKind>) {
        self.finish_with(result.map_err(Error::from));
    }

    fn finish_with(&mut self, result: Result<Streamed, Error>) {
        let request_id = match &self.answer {
            Some(Body::Reading(reading)) => reading.streamed.request_id().map(Into::into),
            _ => None,
        };
        self.over = true;
        self.call.stop();
        self.answer = None;
        let bind = |error: Error| error.with_request_id(request_id);
        self.out.push_back(Output::Done(result.map_err(bind)));
    }
}

/// The parameter of a query that carries a token.
///
/// Source: docs.fal.ai, realtime page (documented).
const TOKEN_PARAMETER: &str = "fal_jwt_token";

/// Whether an answer is an event stream; the type may be followed by parameters.
fn is_events(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let name = value.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}
