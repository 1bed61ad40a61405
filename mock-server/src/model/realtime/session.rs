//! One session: what waits, what is worked on, and how it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::HeaderMap;
use serde_json::Value;

use super::codec::{self, Codec};
use super::config::{OutputCodec, RealtimeConfig, RealtimeMode};
use super::output::{self, FrameDraft, Made};
use super::{Frame, MessageFailure, NORMAL, POLICY_VIOLATION, SessionView};
use crate::model::answer::{Answer, Store};
use crate::model::config::Config;
use crate::model::endpoint::is_text;
use crate::model::exchange::{Door, Output, Request};
use crate::model::media::Size;
use crate::model::plain::Plain;
use crate::model::{Due, Model, Open};
use crate::scenario;

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    /// With the whole path.
    pub(crate) endpoint: EndpointId,
    mode: RealtimeMode,
    /// How many inputs may wait; the oldest is dropped for a new one.
    buffering: Option<usize>,
    phase: Phase,
    waiting: VecDeque<Input>,
    /// At most one but in [`RealtimeMode::Bidi`].
    work: VecDeque<Work>,
    /// Bytes of all inputs that wait or are worked on.
    bytes: usize,
    last_input: Instant,
    /// When its token runs out, if that counts.
    expires: Option<Instant>,
    /// The planned event that counts; earlier ones are stale.
    due: Option<Instant>,
    inputs: u64,
    outputs: u64,
    dropped: u64,
    /// The way that its client came, which addresses in outputs lead back.
    door: Door<'static>,
    /// Headers of the handshake, for rules that look at them.
    headers: Arc<HeaderMap>,
    /// Its number in the ledger.
    ledger: u64,
    /// What its outputs cost.
    units: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nobody reads inputs any more; what has come is finished.
    Draining {
        until: Option<Instant>,
    },
}

/// An input that could be read.
#[derive(Debug)]
struct Input {
    codec: Codec,
    bytes: usize,
    reply: Reply,
    /// How long an output of it takes, where a rule says so.
    time: Option<Duration>,
    request_id: Option<Box<str>>,
    as_addresses: bool,
}

/// What comes of an input.
#[derive(Debug)]
enum Reply {
    /// Pictures or texts, in the form that sessions have for them.
    Usual(Plain),
    /// What a rule gives, or a document describes: as calls by HTTP have it.
    Body(Box<Answer>),
}

impl Reply {
    /// How many outputs it has in a session that streams them.
    fn frames(&self, model: &str) -> usize {
        match self {
            Self::Usual(plain) if is_text(model) => plain.tokens(model).count(),
            Self::Usual(_) => PICTURE_FRAMES,
            Self::Body(answer) => answer.frames(model),
        }
    }

    fn units(&self) -> u64 {
        match self {
            Self::Usual(plain) => plain.images(),
            Self::Body(answer) => answer.units(),
        }
    }
}

/// An input that is worked on.
#[derive(Debug)]
struct Work {
    input: Input,
    since: Instant,
    /// From the beginning to the last frame.
    time: Duration,
    frames: usize,
    sent: usize,
}

/// What a session begins with.
pub(super) struct Start<'a> {
    pub(super) request: &'a Request<'a>,
    /// How many inputs may wait, where the client says so.
    pub(super) max_buffering: Option<usize>,
    /// When its token runs out, if that counts.
    pub(super) expires: Option<Instant>,
    /// Its number in the ledger.
    pub(super) ledger: u64,
}

/// How a session ends by itself.
enum End {
    /// No inputs any more, or its stream is over.
    Finished,
    /// What was left took too long.
    Overdue,
    /// Its token has run out.
    Expired,
}

impl Session {
    pub(super) fn new(
        endpoint: EndpointId,
        config: &RealtimeConfig,
        start: Start<'_>,
        now: Instant,
    ) -> Self {
        let Start { request, max_buffering, expires, ledger } = start;
        let mode = config.mode(endpoint.as_str());
        Self {
            endpoint,
            mode,
            buffering: config.buffering.into_iter().chain(max_buffering).min(),
            phase: Phase::Open,
            waiting: VecDeque::new(),
            work: VecDeque::new(),
            bytes: 0,
            last_input: now,
            expires,
            due: None,
            inputs: 0,
            outputs: 0,
            dropped: 0,
            door: request.door.clone().into_owned(),
            headers: Arc::new(request.headers.clone()),
            ledger,
            units: 0,
        }
    }

    pub(super) fn view(&self, session: u64) -> SessionView {
        SessionView {
            session,
            endpoint: self.endpoint.as_str().to_owned(),
            mode: self.mode,
            inputs: self.inputs,
            outputs: self.outputs,
            dropped: self.dropped,
            waiting: self.waiting.len() + self.work.len(),
        }
    }

    /// Whether its planned event of this instant is still meant.
    pub(crate) fn is_due(&self, at: Instant) -> bool {
        self.due == Some(at)
    }

    /// Whether its next event is an output.
    pub(crate) fn is_working(&self) -> bool {
        !self.work.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.work.is_empty()
    }

    /// The endpoint as it is called without a session.
    fn model(&self) -> &str {
        let id = self.endpoint.as_str();
        id.strip_suffix("/realtime").unwrap_or(id)
    }

    /// The endpoint whose document judges the inputs: some documents are of the session's own path.
    fn judge(&self, config: &Config) -> &str {
        let id = self.endpoint.as_str();
        if config.catalog.document(id).is_some() { id } else { self.model() }
    }

    fn drop_oldest(&mut self) -> u64 {
        let Some(oldest) = self.waiting.pop_front() else { return 0 };
        self.bytes -= oldest.bytes;
        self.dropped += 1;
        1
    }

    /// Takes an input in; says how many were dropped for it.
    fn take(&mut self, input: Input, now: Instant, input_time: Duration) -> u64 {
        self.inputs += 1;
        self.last_input = now;
        self.bytes += input.bytes;
        match self.mode {
            RealtimeMode::Unary => {
                self.waiting.push_back(input);
                // With nothing under way the new one does not wait.
                let room = self.buffering.map(|room| room + usize::from(self.work.is_empty()));
                if room.is_some_and(|room| self.waiting.len() > room) {
                    return self.drop_oldest();
                }
            }
            RealtimeMode::ServerStreaming => self.begin(input, now, input_time),
            RealtimeMode::ClientStreaming => {
                // One output for all of them: that of the last.
                if let Some(before) = self.waiting.pop_front() {
                    self.bytes -= before.bytes;
                }
                self.waiting.push_back(input);
            }
            RealtimeMode::Bidi => self.begin(input, now, input_time),
        }
        0
    }

    fn begin(&mut self, input: Input, now: Instant, input_time: Duration) {
        let input_time = input.time.unwrap_or(input_time);
        let (frames, time) = match self.mode {
            RealtimeMode::Unary | RealtimeMode::ClientStreaming => (1, input_time),
            RealtimeMode::Bidi if matches!(input.reply, Reply::Body(_)) => (1, input_time),
            RealtimeMode::Bidi => (2, input_time),
            RealtimeMode::ServerStreaming => {
                let frames = input.reply.frames(self.model());
                let times = u32::try_from(frames).expect("there are few frames");
                (frames, input_time.saturating_mul(times))
            }
        };
        self.work.push_back(Work { input, since: now, time, frames, sent: 0 });
    }

    /// Begins what waits, as many at once as may share an output.
    fn begin_waiting(&mut self, now: Instant, input_time: Duration, batch_max: usize) {
        if self.mode != RealtimeMode::Unary || !self.work.is_empty() {
            return;
        }
        let batch = batch_max.min(self.waiting.len());
        for _ in 1..batch {
            if let Some(shared) = self.waiting.pop_front() {
                self.bytes -= shared.bytes;
            }
        }
        if let Some(input) = self.waiting.pop_front() {
            self.begin(input, now, input_time);
        }
    }

    /// Which of the inputs that are worked on has the next frame, and when.
    fn next_frame(&self) -> Option<(Instant, usize)> {
        let frames = self.work.iter().enumerate().filter_map(|(at, work)| {
            let nth = |n: usize| u32::try_from(n).expect("there are few frames");
            let time = work.time.checked_mul(nth(work.sent + 1))? / nth(work.frames);
            Some((work.since.checked_add(time)?, at))
        });
        frames.min()
    }

    /// The next frame of an input that is worked on, and how long that took if it was its last.
    fn make(
        &mut self,
        at: usize,
        now: Instant,
        config: &RealtimeConfig,
        store: &mut Store<'_>,
    ) -> (FrameDraft, Duration, bool) {
        let model: Box<str> = self.model().into();
        let work = &mut self.work[at];
        work.sent += 1;
        let is_last = work.sent == work.frames;
        let left = work.frames - work.sent;
        let time = now.saturating_duration_since(work.since);
        let codec = match config.output {
            OutputCodec::Mirror => work.input.codec,
            OutputCodec::Msgpack => Codec::Msgpack,
            OutputCodec::Json => Codec::Json,
        };
        let request_id = work.input.request_id.clone().filter(|_| config.echo_request_id);
        let made = match &work.input.reply {
            Reply::Body(answer) => {
                Made::Body(answer.publish_frame(store, &model, &self.door, time, left))
            }
            Reply::Usual(plain) if is_text(&model) => {
                let count = plain.tokens(&model).count() * work.sent / work.frames;
                let text = plain.tokens(&model).take(count).collect();
                Made::Text { text, is_partial: !is_last }
            }
            Reply::Usual(plain) => Made::Pictures {
                pictures: plain.draft(left).pictures(&model),
                as_addresses: work.input.as_addresses,
                seed: plain.seed(),
                prompt: plain.prompt().into(),
                time,
            },
        };
        let draft = FrameDraft::output(output::Output { codec, made, request_id });
        self.outputs += 1;
        if is_last {
            self.units += work.input.reply.units();
            self.done(at);
        }
        (draft, time, is_last)
    }

    /// Passes over the next frame of an input.
    fn skip(&mut self, at: usize) {
        self.work[at].sent += 1;
        if self.work[at].sent == self.work[at].frames {
            self.done(at);
        }
    }

    fn done(&mut self, at: usize) {
        if let Some(work) = self.work.remove(at) {
            self.bytes -= work.input.bytes;
        }
    }

    /// Whether it ends now; it may begin to drain instead, which drops what has no room.
    fn end(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        input_time: Duration,
    ) -> Option<End> {
        if self.expires.is_some_and(|at| at <= now) {
            return Some(End::Expired);
        }
        if let Phase::Draining { until } = self.phase {
            return match self.is_idle() {
                true => Some(End::Finished),
                false => until.filter(|until| *until <= now).map(|_| End::Overdue),
            };
        }
        if self.mode == RealtimeMode::ServerStreaming && self.inputs > 0 {
            return self.work.is_empty().then_some(End::Finished);
        }
        let is_over = self.idle_end(timeout).is_some_and(|at| at <= now);
        if !is_over {
            return None;
        }
        if self.is_idle() {
            return Some(End::Finished);
        }
        let until = match self.mode {
            RealtimeMode::Unary => {
                // The mark of the end waits in line as well, and makes room for itself.
                if self.buffering.is_some_and(|room| self.waiting.len() >= room) {
                    self.drop_oldest();
                }
                timeout.and_then(|timeout| now.checked_add(timeout))
            }
            RealtimeMode::ClientStreaming => {
                if let Some(input) = self.waiting.pop_front() {
                    self.begin(input, now, input_time);
                }
                None
            }
            RealtimeMode::ServerStreaming | RealtimeMode::Bidi => None,
        };
        self.phase = Phase::Draining { until };
        None
    }

    fn idle_end(&self, timeout: Option<Duration>) -> Option<Instant> {
        timeout.and_then(|timeout| self.last_input.checked_add(timeout))
    }

    /// When something happens by itself.
    fn next(&self, timeout: Option<Duration>) -> Option<Instant> {
        let end = match self.phase {
            Phase::Draining { until } => until,
            Phase::Open if self.mode == RealtimeMode::ServerStreaming && self.inputs > 0 => None,
            Phase::Open => self.idle_end(timeout),
        };
        let frame = self.next_frame().map(|(at, _)| at);
        end.into_iter().chain(frame).chain(self.expires).min()
    }
}

impl Model {
    fn input_time(&self) -> Duration {
        if self.config.instant { Duration::ZERO } else { self.config.realtime.input_time }
    }

    /// Takes a message of a client.
    pub(super) fn session_frame(&mut self, id: u64, frame: &Frame) {
        let input_time = self.input_time();
        let Some(Open::Session(session)) = self.open.get_mut(&id) else { return };
        let config = &self.config.realtime;
        let bytes = match frame {
            Frame::Close(code) => {
                // A close without a code would reach browsers as 1005, an error.
                let code = Some(code.unwrap_or(NORMAL));
                return self.session_over(id, Output::Close { id, code, reason: "".into() });
            }
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
        };
        let is_read = session.phase == Phase::Open
            && (session.mode != RealtimeMode::ServerStreaming || session.inputs == 0);
        if !is_read {
            return;
        }
        if config.strict_binary && matches!(frame, Frame::Text(_)) {
            return self.session_failed(id, "A message must be binary");
        }
        let (codec, value) = match codec::read(frame) {
            Ok(read) => read,
            Err(why) => return self.session_failed(id, &why),
        };
        let held = session.waiting.len() + session.work.len();
        if held >= INPUTS_WAITING_MAX || session.bytes + bytes > 2 * config.message_bytes_max {
            return self.session_failed(id, "Too many inputs wait");
        }
        let raw = match frame {
            Frame::Text(text) => text.as_bytes(),
            Frame::Binary(bytes) => bytes,
            Frame::Close(_) => &[],
        };
        let (endpoint, headers) = (session.endpoint.clone(), Arc::clone(&session.headers));
        let judge: Box<str> = session.judge(&self.config).into();
        let (reply, time) = match self.session_reply(&endpoint, &headers, &judge, raw, &value) {
            Ok(reply) => reply,
            Err(why) => return self.session_failed(id, &why),
        };
        let Some(Open::Session(session)) = self.open.get_mut(&id) else { return };
        let input = Input {
            codec,
            bytes,
            reply,
            time,
            request_id: value["request_id"].as_str().map(Into::into),
            as_addresses: value["sync_mode"] == true,
        };
        let dropped = session.take(input, self.now, input_time);
        self.counters.session_inputs += 1;
        self.counters.session_inputs_dropped += dropped;
        self.session_on(id);
    }

    /// What comes of an input, and how long it takes if a rule says so; or why the session fails.
    fn session_reply(
        &mut self,
        endpoint: &EndpointId,
        headers: &HeaderMap,
        judge: &str,
        raw: &[u8],
        value: &Value,
    ) -> Result<(Reply, Option<Duration>), String> {
        let rule = self.plan_input(endpoint, headers, value)?;
        if let Some(failure) = rule.as_ref().and_then(|rule| rule.error.as_ref()) {
            return Err(failure.error.to_string());
        }
        let time = rule.as_ref().and_then(|rule| rule.timeline.run_time);
        let given = rule.filter(|rule| rule.output != scenario::Output::Synthesised);
        let is_of_document = Answer::is_of_document(&self.config, judge);
        if given.is_none() && !is_of_document {
            let plain = Answer::prepare_message(&self.config, judge, raw, value, SIZE);
            let plain = plain.map_err(|failure| failure.error.to_string())?;
            return Ok((Reply::Usual(plain), time));
        }
        let json = Bytes::from(value.to_string());
        let answer = match given {
            Some(rule) => {
                let id = self.mint_other();
                self.given(&rule, id, judge, json)
            }
            None => Answer::prepare(&self.config, &self.files, judge, &json),
        };
        let answer = answer.map_err(|failure| failure.error.to_string())?;
        Ok((Reply::Body(Box::new(answer)), time))
    }

    /// A planned event of a session has come.
    pub(crate) fn session_due(&mut self, id: u64, at: Instant) {
        if let Some(Open::Session(session)) = self.open.get_mut(&id)
            && session.is_due(at)
        {
            session.due = None;
            self.session_on(id);
        }
    }

    /// Lets everything happen that is due in a session; then plans the next event.
    pub(super) fn session_on(&mut self, id: u64) {
        let input_time = self.input_time();
        let timeout = self.config.realtime.session_timeout;
        loop {
            let Some(Open::Session(session)) = self.open.get_mut(&id) else { return };
            session.begin_waiting(self.now, input_time, self.config.realtime.max_batch_size);
            if let Some((_, at)) = session.next_frame().filter(|(at, _)| *at <= self.now) {
                self.session_output(id, at);
                continue;
            }
            let (was, dropped) = (session.phase, session.dropped);
            let end = session.end(self.now, timeout, input_time);
            self.counters.session_inputs_dropped += session.dropped - dropped;
            let is_unchanged = session.phase == was;
            match end {
                Some(End::Finished) => return self.session_finished(id),
                // The SDK waits for what is left, and that wait fails without a word.
                Some(End::Overdue) => return self.session_failed(id, ""),
                Some(End::Expired) => {
                    self.say(id, output::unauthorized());
                    let (code, reason) = (Some(POLICY_VIOLATION), "Unauthorized".into());
                    return self.session_over(id, Output::Close { id, code, reason });
                }
                None if is_unchanged => break,
                None => {}
            }
        }
        let Some(Open::Session(session)) = self.open.get_mut(&id) else { return };
        let next = session.next(timeout);
        // An event that is planned already and comes earlier sees by itself that it has nothing to do:
        // every input moves the end of the session, and must not leave an event behind.
        if let Some(at) = next
            && session.due.is_none_or(|due| at < due)
        {
            session.due = next;
            self.plan(at, Due::Session(id));
        }
    }

    /// Sends the next frame of an input, or what a test has put in its place.
    fn session_output(&mut self, id: u64, at: usize) {
        let Some(Open::Session(session)) = self.open.get_mut(&id) else { return };
        let is_first = session.work[at].sent == 0;
        let failure = if is_first { self.fail_messages.pop_front() } else { None };
        match failure {
            None => {
                let (mode, config) = (session.mode, &self.config.realtime);
                let (files, age) = (&mut self.files, &mut self.age);
                let mut store = Store { files, age, lasting: None };
                let (draft, time, is_last) = session.make(at, self.now, config, &mut store);
                let has_timings = match mode {
                    RealtimeMode::Unary => config.timings,
                    RealtimeMode::ServerStreaming => config.timings && is_last,
                    RealtimeMode::ClientStreaming | RealtimeMode::Bidi => false,
                };
                self.counters.session_outputs += 1;
                self.say(id, draft);
                if has_timings {
                    self.say(id, output::timings(time));
                }
            }
            Some(MessageFailure::Error(reason)) => self.session_failed(id, &reason),
            Some(MessageFailure::Close { code, reason }) => {
                self.session_over(id, Output::Close { id, code, reason });
            }
            Some(MessageFailure::Drop) => self.session_over(id, Output::Cut { id }),
            Some(MessageFailure::Say(frame)) => {
                session.skip(at);
                self.session_say(id, frame);
            }
            Some(MessageFailure::Silence) => session.skip(at),
        }
    }

    /// Sends a message of a test as it is; a close ends the session.
    pub(crate) fn session_say(&mut self, id: u64, frame: Frame) {
        match frame {
            Frame::Close(code) => {
                self.session_over(id, Output::Close { id, code, reason: "".into() });
            }
            frame => self.say(id, FrameDraft::ready(frame)),
        }
    }

    fn say(&mut self, id: u64, frame: FrameDraft) {
        self.out.push_back(Output::Frame { id, frame });
    }

    fn session_finished(&mut self, id: u64) {
        self.say(id, output::ended(self.config.realtime.legacy_end));
        self.session_over(id, Output::Close { id, code: Some(NORMAL), reason: "".into() });
    }

    fn session_failed(&mut self, id: u64, reason: &str) {
        self.say(id, output::failed("INTERNAL_ERROR", reason));
        self.session_over(id, Output::Close { id, code: Some(NORMAL), reason: "".into() });
    }

    /// Ends a session with this output.
    pub(crate) fn session_over(&mut self, id: u64, end: Output) {
        let Some(Open::Session(session)) = self.open.remove(&id) else { return };
        self.out.push_back(end);
        self.session_gone(&session);
    }

    /// Frees what a session held whose entry has been taken out.
    pub(crate) fn session_gone(&mut self, session: &Session) {
        self.sessions_open -= 1;
        self.ledger.ended(session.ledger, &session.endpoint, Some(session.units));
        self.release(session.endpoint.app());
    }
}

/// Inputs of one session that wait or are worked on; the session fails beyond it.
pub const INPUTS_WAITING_MAX: usize = 1024;

/// Outputs of a stream of pictures.
const PICTURE_FRAMES: usize = 4;

/// The size of pictures where the input does not say: small, because they come many times a second.
const SIZE: Size = Size { width: 256, height: 256 };
