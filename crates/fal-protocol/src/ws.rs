//! Machine: runs over one WebSocket, which `ws.fal.run` turns into HTTP. Several inputs may be sent
//! ahead; they are answered in order.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Connecting | open | Open | what waits is sent |
//! | Connecting | success, redirect | Over | this is no WebSocket |
//! | Connecting | refusal, failure, timeout | Connecting, Over | as [`crate::retry`] says |
//! | Connecting | close | Over | with an Abort of what is open |
//! | Open | send | Open | it goes out |
//! | Open | message | Open, Over | told; what breaks the order of answers ends all, with an Abort |
//! | Open | ended, failure | Over | inputs without an answer are told |
//! | Open | timeout | Over | the same after an Abort: an answer was silent for too long |
//! | Open | close | Ending | a close goes out |
//! | Ending | message | Ending, Over | answers that were still on their way |
//! | Ending | send | Ending | it is told that it was not sent |
//! | Ending | ended, failure, timeout | Over | an Abort first if it was the timeout |
//! | Connecting, Open, Ending | deadline | Over | with an Abort of what is open |
//!
//! Each input costs money like a run, so none is ever sent twice: one whose answer is missing fails as
//! [`ErrorKind::SubmitUnknown`]. Opening the connection costs nothing and is repeated.
//!
//! What the service sends for each input:
//!
//! | Message | Content |
//! |---|---|
//! | text | `{"type":"start","request_id":"…","status":200,"headers":{…}}` |
//! | any number of texts and binary messages | pieces of the body of the answer |
//! | text | `{"type":"end","request_id":"…","status":200,"time_to_first_byte_seconds":0.5}` |
//!
//! A body may hold JSON of the same form. A text is taken for a start only where one is due, and for an
//! end only with the id of the start.
//!
//! Source: docs.fal.ai, HTTP over WebSockets (documented), and `http_over_ws` of fal's serverless SDK
//! (official client source), which takes any text with both members for one of the two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::EndpointId;
use crate::call::Call;
use crate::error::{
    Aftermath, ApiError, Error, ErrorKind, InputError, ProtocolError, RAW_BODY_BYTES_MAX,
};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out, Output, after, earliest, is_due};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::sse::{self, Decoder, Item, Limits};
use crate::wire::{
    Close, ExchangeId, Expect, Failure, FailureKind, Head, Message, Phase, Request, Response, Sent,
};

/// What to connect to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// What follows its id in the address, such as `stream`. Default nothing.
    pub path: Option<Box<str>>,
    /// Longest wait for the answer to the handshake. Default [`HANDSHAKE_TIMEOUT_DEFAULT`].
    pub handshake_timeout: Duration,
    /// Longest silence while an answer is due. Default [`Settings::run_timeout`].
    pub idle_timeout: Option<Duration>,
    /// Longest wait for the peer's close. Default [`CLOSE_TIMEOUT_DEFAULT`].
    pub close_timeout: Duration,
    /// When to give up all.
    pub deadline: Option<Instant>,
}

impl Config {
    /// A connection with the defaults of all.
    #[must_use]
    pub const fn new(endpoint: EndpointId) -> Self {
        Self {
            endpoint,
            path: None,
            handshake_timeout: HANDSHAKE_TIMEOUT_DEFAULT,
            idle_timeout: None,
            close_timeout: CLOSE_TIMEOUT_DEFAULT,
            deadline: None,
        }
    }
}

/// What happens. `number` is that of the input, as [`handle_send`](Runs::handle_send) gave it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection is open.
    Connected,
    /// An answer begins, with a status of success.
    Started {
        /// Which input is answered.
        number: u64,
        /// Status, headers and id of the answer.
        start: Start,
    },
    /// An event of an answer that is an event stream.
    Item {
        /// Which input is answered.
        number: u64,
        /// The event.
        event: sse::Event,
    },
    /// A piece of an answer of any other type. Where it is cut means nothing.
    Chunk {
        /// Which input is answered.
        number: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// An answer is whole.
    Answered {
        /// Which input is answered.
        number: u64,
        /// How long the service waited for the first byte, in seconds, if it tells.
        time_to_first_byte: Option<f64>,
    },
    /// An input has no answer that is of use, and will have none.
    Failed {
        /// Which input.
        number: u64,
        /// Why: the service refused it, or the answer was cut or is missing.
        error: Error,
    },
    /// The handshake failed and is repeated.
    AttemptFailed(AttemptFailed),
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}

/// The beginning of an answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Start {
    /// The request id that the service gave the input.
    pub request_id: Box<str>,
    /// The status; 200 if the service named none.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

/// A connection that ended in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// How the peer closed; `None` if it was never asked, or did not in time.
    pub close: Option<Close>,
}

/// Holds one connection. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Runs {
    settings: Arc<Settings>,
    config: Config,
    /// Inputs that were not sent yet, with their numbers.
    queue: VecDeque<(u64, Bytes)>,
    /// Numbers of inputs that were sent and have no whole answer.
    unanswered: VecDeque<u64>,
    /// Inputs taken so far.
    number: u64,
    ids: Ids,
    state: State,
    out: Out<Event, Closed>,
}

#[derive(Debug)]
enum State {
    Connecting(Box<Call>),
    Open { id: ExchangeId, answer: Option<Box<Answer>>, until: Option<Instant> },
    Ending { id: ExchangeId, answer: Option<Box<Answer>>, until: Option<Instant> },
    Over,
}

/// An answer that has begun.
#[derive(Debug)]
struct Answer {
    number: u64,
    start: Start,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Events(Box<Decoder>),
    Bytes,
    /// What the service says instead of an answer.
    Refusal(Vec<u8>),
}

impl Runs {
    /// Begins to connect.
    ///
    /// # Errors
    /// [`InputError`] when the path cannot follow the id.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        let target = config.endpoint.join(config.path.as_deref().unwrap_or_default())?;
        let uri = settings.hosts.uri(Host::Ws, target.as_str(), &[])?;
        let message_bytes_max = settings.result_bytes_max;
        let request =
            Request::new(Method::GET, uri).with_expect(Expect::WebSocket { message_bytes_max });
        let request = settings.sign(request);
        let call = Call::new(settings, Purpose::Connect, request, seed, config.deadline);
        let mut runs = Self {
            settings: Arc::clone(settings),
            queue: VecDeque::new(),
            unanswered: VecDeque::new(),
            number: 0,
            ids: Ids::default(),
            state: State::Over,
            out: Out::new(),
            config,
        };
        let mut call = Box::new(call.with_timeout(runs.config.handshake_timeout));
        call.start(now, &mut runs.ids, &mut runs.out);
        runs.state = State::Connecting(call);
        Ok(runs)
    }

    /// Takes an input, JSON, and returns its number, counted from 1.
    ///
    /// # Errors
    /// [`InputError::Option`] when [`INPUTS_MAX`] wait already or the connection is over, and [`InputError::Body`] when it is no
    /// JSON. It has no number then.
    pub fn handle_send(&mut self, now: Instant, input: Bytes) -> Result<u64, InputError> {
        if matches!(self.state, State::Over) {
            return Err(InputError::option("inputs", "the connection is over"));
        }
        if self.queue.len() + self.unanswered.len() >= INPUTS_MAX {
            return Err(InputError::option("inputs", format!("{INPUTS_MAX} have no answer yet")));
        }
        let json: serde_json::Result<serde::de::IgnoredAny> = serde_json::from_slice(&input);
        json.map_err(|error| InputError::Body { problem: error.to_string().into() })?;
        self.number += 1;
        let number = self.number;
        match &mut self.state {
            State::Connecting(_) => self.queue.push_back((number, input)),
            State::Open { .. } => {
                self.queue.push_back((number, input));
                self.flush(now);
            }
            State::Ending { .. } => self.tell_unsent(number, None),
            State::Over => {}
        }
        Ok(number)
    }

    /// Ends the connection: with a close if it is open. Answers that are still on their way are told
    /// until the peer closes.
    pub fn handle_close(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Connecting(mut call) => {
                self.out.extend(call.stop().map(|id| Output::Abort { id }));
                self.finish(Ok(Closed { close: None }));
            }
            State::Open { id, answer, .. } => {
                let message = Message::Close(Close::normal());
                self.out.push_back(Output::Message { id, message });
                let until = after(now, self.config.close_timeout);
                self.state = State::Ending { id, answer, until };
            }
            other => self.state = other,
        }
    }

    /// The peer agreed to the handshake.
    pub fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        let State::Connecting(call) = &mut self.state else { return };
        if !call.is_asking(id) || head.status() != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        call.accept();
        self.out.push_back(Output::Event(Event::Connected));
        self.state = State::Open { id, answer: None, until: None };
        self.flush(now);
    }

    /// The peer did not agree to the handshake.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        let State::Connecting(call) = &mut self.state else { return };
        if !call.is_asking(id) {
            return;
        }
        let status = response.status();
        let problem = if status.is_success() {
            ProtocolError::body("a WebSocket", status, response.body())
        } else if status.is_redirection() {
            ProtocolError::Redirect { problem: "a WebSocket is not taken elsewhere".into() }
        } else {
            let settled = call.handle_response(now, &mut self.ids, id, response, &mut self.out);
            if let Some(Err(error)) = settled {
                self.finish(Err(error));
            }
            return;
        };
        self.finish(Err(ErrorKind::Protocol(problem).into()));
    }

    /// The handshake failed, or the connection broke.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, mut failure: Failure) {
        match &mut self.state {
            State::Connecting(call) => {
                let settled = call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
                if let Some(Err(error)) = settled {
                    self.finish(Err(error));
                }
            }
            State::Open { id: open, .. } if *open == id => {
                // Whatever the transport thinks: the handshake proves that the peer was reached.
                (failure.phase, failure.sent) = (Phase::Read, Sent::Maybe);
                self.finish(Err(ErrorKind::Transport(failure).into()));
            }
            State::Ending { id: open, .. } if *open == id => {
                self.finish(Ok(Closed { close: None }));
            }
            _ => {}
        }
    }

    /// A message arrived, or the end of the connection.
    pub fn handle_message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        let (is_ending, open) = match &self.state {
            State::Open { id, .. } => (false, *id),
            State::Ending { id, .. } => (true, *id),
            _ => return,
        };
        if open != id {
            return;
        }
        match message {
            Message::Close(close)
                if is_ending || close.is_clean() && self.unanswered.is_empty() =>
            {
                self.finish(Ok(Closed { close: Some(close) }));
            }
            Message::Close(close) => self.finish(Err(ErrorKind::Closed(close).into())),
            Message::Text(bytes) => self.receive(now, &bytes, true),
            Message::Binary(bytes) => self.receive(now, &bytes, false),
        }
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !matches!(self.state, State::Over) && is_due(self.config.deadline, now) {
            let aftermath = match &self.state {
                State::Connecting(_) => Aftermath::NothingSubmitted,
                _ if self.unanswered.is_empty() => Aftermath::NothingSubmitted,
                _ => Aftermath::Disconnected,
            };
            self.abort();
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        match &mut self.state {
            State::Connecting(call) => {
                let settled = call.handle_timeout(now, &mut self.ids, &mut self.out);
                if let Some(Err(error)) = settled {
                    self.finish(Err(error));
                }
            }
            State::Open { until, .. } if is_due(*until, now) => {
                self.abort();
                let message = format!("an answer was silent for {:?}", self.idle_timeout());
                let failure = Failure::read(FailureKind::Timeout, message);
                self.finish(Err(ErrorKind::Transport(failure).into()));
            }
            State::Ending { until, .. } if is_due(*until, now) => {
                self.abort();
                self.finish(Ok(Closed { close: None }));
            }
            _ => {}
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Closed> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match &self.state {
            State::Connecting(_) => "Connecting",
            State::Open { .. } => "Open",
            State::Ending { .. } => "Ending",
            State::Over => "Over",
        }
    }

    fn until(&self) -> Option<Instant> {
        let next = match &self.state {
            State::Over => return None,
            State::Connecting(call) => call.until(),
            State::Open { until, .. } | State::Ending { until, .. } => *until,
        };
        earliest(next, self.config.deadline)
    }

    fn idle_timeout(&self) -> Duration {
        self.config.idle_timeout.unwrap_or(self.settings.run_timeout)
    }

    /// Sends what waits.
    fn flush(&mut self, now: Instant) {
        let State::Open { id, .. } = self.state else { return };
        if self.queue.is_empty() {
            return;
        }
        for (number, input) in std::mem::take(&mut self.queue) {
            self.unanswered.push_back(number);
            self.out.push_back(Output::Message { id, message: Message::Text(input) });
        }
        self.touch(now);
    }

    /// Puts the limit of the silence off; there is none while no answer is due.
    fn touch(&mut self, now: Instant) {
        let limit = if self.unanswered.is_empty() { None } else { after(now, self.idle_timeout()) };
        if let State::Open { until, .. } = &mut self.state {
            *until = limit;
        }
    }

    /// A message of an open connection.
    fn receive(&mut self, now: Instant, bytes: &Bytes, is_text: bool) {
        let (State::Open { answer, .. } | State::Ending { answer, .. }) = &mut self.state else {
            return;
        };
        let meta = if is_text { Meta::parse(bytes) } else { None };
        let result = match (answer.take(), meta) {
            (None, Some(Meta::Start(start))) => match self.unanswered.front() {
                Some(number) => Ok(self.begin(*number, start)),
                None => Err("it answers an input that nobody has sent"),
            },
            (None, _) => Err("an answer does not begin with its start"),
            (Some(open), Some(Meta::End { request_id, status, time_to_first_byte }))
                if *request_id == *open.start.request_id =>
            {
                self.end(*open, status, time_to_first_byte);
                Ok(None)
            }
            (Some(open), _) => self.piece(open, bytes),
        };
        match result {
            Ok(next) => {
                if let State::Open { answer, .. } | State::Ending { answer, .. } = &mut self.state {
                    *answer = next;
                }
                self.touch(now);
            }
            Err(problem) => {
                self.abort();
                let error = ProtocolError::body("answers in order", problem, bytes);
                self.finish(Err(ErrorKind::Protocol(error).into()));
            }
        }
    }

    fn begin(&mut self, number: u64, start: Start) -> Option<Box<Answer>> {
        let body = if !start.status.is_success() {
            Body::Refusal(Vec::new())
        } else if is_events(&start.headers) {
            // The last event is the result, so it may be as long as one.
            let limits = Limits::default().with_event_bytes_max(self.settings.result_bytes_max);
            Body::Events(Box::new(Decoder::new(limits)))
        } else {
            Body::Bytes
        };
        if !matches!(body, Body::Refusal(_)) {
            let start = start.clone();
            self.out.push_back(Output::Event(Event::Started { number, start }));
        }
        Some(Box::new(Answer { number, start, body }))
    }

    /// A piece of the body of the answer.
    fn piece(
        &mut self,
        mut answer: Box<Answer>,
        bytes: &Bytes,
    ) -> Result<Option<Box<Answer>>, &'static str> {
        let number = answer.number;
        match &mut answer.body {
            Body::Refusal(body) => {
                // What is longer than an error keeps is not needed.
                let room = RAW_BODY_BYTES_MAX.saturating_sub(body.len());
                body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Body::Bytes if bytes.is_empty() => {}
            Body::Bytes => {
                self.out.push_back(Output::Event(Event::Chunk { number, bytes: bytes.clone() }));
            }
            Body::Events(decoder) => {
                decoder.push(bytes.clone());
                while let Some(item) = decoder.next_event() {
                    match item {
                        Ok(Item::Event(event)) => {
                            self.out.push_back(Output::Event(Event::Item { number, event }));
                        }
                        Ok(Item::Comment) => {}
                        Err(_) => return Err("an event is longer than a result may be"),
                    }
                }
            }
        }
        Ok(Some(answer))
    }

    fn end(&mut self, answer: Answer, status: Option<StatusCode>, time: Option<f64>) {
        self.unanswered.pop_front();
        let Answer { number, start, body } = answer;
        let refused = |status, body: Vec<u8>| {
            let error = ApiError::parse(status, &start.headers, &body.into());
            Some(ErrorKind::Api(error))
        };
        let problem = match body {
            Body::Refusal(body) => refused(start.status, body),
            // It began well and says at its end that it did not stay so (inferred).
            _ if status.is_some_and(|status| !status.is_success()) => {
                refused(status.unwrap_or_default(), Vec::new())
            }
            Body::Events(decoder) if decoder.is_mid_event() => {
                let message = "the answer ended inside an event";
                Some(ErrorKind::Transport(Failure::read(FailureKind::Closed, message)))
            }
            _ => None,
        };
        let event = match problem {
            Some(kind) => {
                let error = Error::from(kind).with_request_id(Some(start.request_id));
                Event::Failed { number, error }
            }
            None => Event::Answered { number, time_to_first_byte: time },
        };
        self.out.push_back(Output::Event(event));
    }

    /// An input that no byte of has left.
    fn tell_unsent(&mut self, number: u64, cause: Option<&Error>) {
        let error = cause.cloned().unwrap_or_else(|| {
            let message = "the connection was over before the input was sent";
            ErrorKind::Transport(Failure::connect(FailureKind::Closed, message)).into()
        });
        self.out.push_back(Output::Event(Event::Failed { number, error }));
    }

    fn abort(&mut self) {
        let open = match &mut self.state {
            State::Connecting(call) => call.stop(),
            State::Open { id, .. } | State::Ending { id, .. } => Some(*id),
            State::Over => None,
        };
        self.out.extend(open.map(|id| Output::Abort { id }));
    }

    /// The end: each input without an answer is told of, and whether it can have been paid for.
    fn finish(&mut self, result: Result<Closed, Error>) {
        let state = std::mem::replace(&mut self.state, State::Over);
        let mut request_id = match state {
            State::Open { answer, .. } | State::Ending { answer, .. } => {
                answer.map(|answer| answer.start.request_id)
            }
            _ => None,
        };
        let cause = match &result {
            Ok(closed) => {
                ErrorKind::Closed(closed.close.clone().unwrap_or_else(|| Close::new(None)))
            }
            Err(error) => error.kind().clone(),
        };
        for number in std::mem::take(&mut self.unanswered) {
            let kind = ErrorKind::SubmitUnknown { cause: Box::new(cause.clone()) };
            // Only the first of them can have begun.
            let error = Error::from(kind).with_request_id(request_id.take());
            self.out.push_back(Output::Event(Event::Failed { number, error }));
        }
        for (number, _) in std::mem::take(&mut self.queue) {
            self.tell_unsent(number, result.as_ref().err());
        }
        self.out.push_back(Output::Done(result));
    }
}

/// A message about an answer.
enum Meta {
    Start(Start),
    End { request_id: Box<str>, status: Option<StatusCode>, time_to_first_byte: Option<f64> },
}

impl Meta {
    /// Reads a text; `None` if it is a piece of a body.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > META_BYTES_MAX || !bytes.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let json: Value = serde_json::from_slice(bytes).ok()?;
        let request_id: Box<str> = json.get("request_id")?.as_str()?.into();
        let status = json.get("status").and_then(Value::as_u64).and_then(|status| {
            u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())
        });
        match json.get("type")?.as_str()? {
            "start" => {
                let mut headers = HeaderMap::new();
                for (name, value) in
                    json.get("headers").and_then(Value::as_object).into_iter().flatten()
                {
                    let name = HeaderName::try_from(name.as_str());
                    let value = value.as_str().map(HeaderValue::from_str);
                    // What cannot be a header is left out: an answer that was paid for is worth more.
                    if let (Ok(name), Some(Ok(value))) = (name, value) {
                        headers.append(name, value);
                    }
                }
                let status = status.unwrap_or(StatusCode::OK);
                Some(Self::Start(Start { request_id, status, headers }))
            }
            "end" => {
                let time = json.get("time_to_first_byte_seconds").and_then(Value::as_f64);
                Some(Self::End { request_id, status, time_to_first_byte: time })
            }
            _ => None,
        }
    }
}

/// Whether an answer is an event stream; the type may be followed by parameters.
fn is_events(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let name = value.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Most inputs without an answer at one time.
pub const INPUTS_MAX: usize = 1_000;

/// Longest text that is looked at as a start or an end: 64 KiB. A longer one is a piece of a body.
pub const META_BYTES_MAX: usize = 64 << 10;

/// Longest wait for the answer to a handshake: 90 s.
///
/// Source: `http_over_ws` of fal's serverless SDK (official client source).
pub const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(90);

/// Longest wait for the peer's close: 5 s.
pub const CLOSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
