//! Model streams: what a model makes, piece by piece on the same connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue, header};

use super::answer::{Answer, Lasting, Store};
use super::exchange::{Door, Head, Output, Request, Response};
use super::id::RequestId;
use super::job::Outcome;
use super::ledger::CallWay;
use super::lifecycle::Keep;
use super::reply::{REQUEST_ID, id_value};
use super::script::{self, Kind, Script};
use super::stream::KEEP_ALIVE;
use super::{Due, Model, Open, StreamFailure, app_of, platform, reply, run};
use crate::scenario::Operation;

/// An open model stream.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) endpoint: EndpointId,
    id: RequestId,
    since: Instant,
    answer: Answer,
    door: Door<'static>,
    keep: Option<Box<Keep>>,
    /// What it sends, where that does not come from the answer.
    script: Option<Script>,
    frames: usize,
    sent: usize,
    failure: Option<StreamFailure>,
    /// Its number in the ledger.
    pub(super) ledger: u64,
    /// From its beginning to its last event.
    run_time: Duration,
    last_at: Instant,
    /// The planned event that counts; earlier ones are stale.
    due: Option<Instant>,
}

impl Model {
    /// Answers a call of a model's stream; `None` if it was opened. `endpoint` is without `/stream`.
    pub(crate) fn feed(
        &mut self,
        exchange: u64,
        request: Request<'_>,
        endpoint: EndpointId,
    ) -> Option<Response> {
        if !self.has_room(endpoint.app()) {
            return Some(reply::failure(self.mint_other(), &run::too_many()));
        }
        let keep = match self.keep_outputs(&request) {
            Ok(keep) => keep,
            Err(failure) => return Some(reply::failure(self.mint_other(), &failure)),
        };
        // A document can be that of the stream itself.
        let streamed = format!("{endpoint}/stream");
        let catalog = &self.config.catalog;
        let endpoint = match catalog.get(endpoint.as_str()).or_else(|| catalog.get(&streamed)) {
            Some(entry) => EndpointId::parse(&entry.id).unwrap_or(endpoint),
            None => endpoint,
        };
        let plan = match self.plan_call(Operation::Stream, &request, &endpoint) {
            Ok(plan) => plan,
            Err(refusal) => return Some(*refusal),
        };
        if let (Some(backend), true) = (plan.backend.clone(), self.fail_next.is_empty()) {
            return self.relay_work(exchange, request, endpoint, keep, &plan, backend);
        }
        let id = RequestId::mint(&mut self.job_ids);
        self.counters.model_streams += 1;
        let ledger = self.ledger.called(self.now, CallWay::Stream, &endpoint, id, &request.body);
        // What fails before the first byte fails as any call does.
        let doom = self.fail_next.pop_front().map(Outcome::Failed);
        let outcome = doom.unwrap_or_else(|| self.prepare(&plan, id, &endpoint, &request));
        let answer = match outcome {
            Outcome::Made(answer) => Answer::clone(&answer),
            Outcome::Failed(failure) => {
                self.ledger.ended(ledger, &endpoint, None);
                let mut response = reply::failure(id, &failure);
                plan.stamp(response.headers_mut());
                return Some(response);
            }
            // Calls are judged when they come in.
            Outcome::Unread => return Some(reply::unknown_request(id)),
        };
        let input = || serde_json::from_slice(&request.body).unwrap_or_default();
        let seed = answer.draw();
        let run_time = plan.pace.run_time;
        let is_given = matches!(answer, Answer::Given(_));
        let script = match Kind::of(&endpoint).filter(|_| !is_given) {
            None => None,
            Some(Kind::Sound) => Some(script::sound(seed, &input())),
            Some(Kind::Workflow) => {
                let (files, age, door) = (&mut self.files, &mut self.age, &request.door);
                let lasting = keep.as_ref().map(|keep| Lasting::new(id, keep, self.now, self.now));
                let time = run_time;
                let output = answer.publish(files, age, endpoint.as_str(), door, time, lasting);
                let input: serde_json::Value = input();
                let prompt = input["prompt"].as_str().unwrap_or("a text");
                Some(script::workflow(seed, prompt, &output))
            }
        };
        let frames = match &script {
            Some(script) => script.pieces.len(),
            None => answer.frames(endpoint.as_str()),
        };
        let mut head = head(id);
        if let Some(script) = &script {
            head.headers_mut().insert(header::CONTENT_TYPE, script.content_type.clone());
        }
        plan.stamp(head.headers_mut());
        self.out.push_back(Output::Stream { id: exchange, head });
        let requeue = plan.rule.as_ref().and_then(|rule| rule.timeline.requeue.first().copied());
        let lost =
            requeue.into_iter().chain(plan.lost_after).min().filter(|after| *after < run_time);
        let failure = self.break_next.pop_front();
        let failure = failure.or_else(|| lost.map(|_| StreamFailure::Failed(run::runner_lost())));
        let cold = self.take_runner(endpoint.app()).unwrap_or_default();
        app_of(&mut self.apps, endpoint.app()).running += 1;
        let feed = Feed {
            endpoint,
            id,
            // It begins when its runner has started.
            since: self.now + cold,
            answer,
            door: request.door.into_owned(),
            keep,
            script,
            frames,
            sent: 0,
            failure,
            run_time,
            ledger,
            last_at: self.now,
            due: None,
        };
        self.open.insert(exchange, Open::Feed(Box::new(feed)));
        self.feed_on(exchange);
        None
    }

    /// A planned event of a model stream has come.
    pub(crate) fn feed_due(&mut self, exchange: u64, at: Instant) {
        match self.open.get(&exchange) {
            Some(Open::Feed(feed)) if feed.due == Some(at) => self.feed_on(exchange),
            Some(Open::Relay(_)) => self.relay_due(exchange, at),
            _ => {}
        }
    }

    /// Sends what is ready, or a comment if it was silent for too long; then plans the next event.
    fn feed_on(&mut self, exchange: u64) {
        let Some(Open::Feed(feed)) = self.open.get_mut(&exchange) else { return };
        while feed.next_at().is_some_and(|at| at <= self.now) {
            if feed.sent == feed.breaks_at()
                && let Some(failure) = feed.failure.take()
            {
                let end = match failure {
                    StreamFailure::Cut => Output::Cut { id: exchange },
                    StreamFailure::Event(data) => {
                        let bytes = if feed.is_raw() { data } else { event(&data) };
                        self.out.push_back(Output::Event { id: exchange, bytes });
                        Output::End { id: exchange }
                    }
                    StreamFailure::Failed(failure) => {
                        let kind = feed.script.as_ref().map(|script| script.kind);
                        match script::failed(kind, &failure) {
                            Some(bytes) => {
                                self.out.push_back(Output::Event { id: exchange, bytes });
                                Output::End { id: exchange }
                            }
                            None => Output::Cut { id: exchange },
                        }
                    }
                };
                return self.feed_over(exchange, end);
            }
            feed.sent += 1;
            if let Some(script) = &feed.script {
                feed.last_at = self.now;
                let bytes = script.pieces[feed.sent - 1].clone();
                self.out.push_back(Output::Event { id: exchange, bytes });
                if feed.sent == feed.frames {
                    return self.feed_over(exchange, Output::End { id: exchange });
                }
                continue;
            }
            let time = self.now.saturating_duration_since(feed.since);
            let left = feed.frames - feed.sent;
            let keep = feed.keep.as_ref();
            let lasting = keep.map(|keep| Lasting::new(feed.id, keep, self.now, self.now));
            let mut store = Store { files: &mut self.files, age: &mut self.age, lasting };
            let endpoint = feed.endpoint.as_str();
            let data = feed.answer.publish_frame(&mut store, endpoint, &feed.door, time, left);
            feed.last_at = self.now;
            self.out.push_back(Output::Event { id: exchange, bytes: event(&data) });
            if feed.sent == feed.frames {
                return self.feed_over(exchange, Output::End { id: exchange });
            }
        }
        let is_raw = feed.is_raw();
        let silence = self.now.saturating_duration_since(feed.last_at);
        if !is_raw && silence >= self.config.ping_interval {
            feed.last_at = self.now;
            let bytes = Bytes::from_static(KEEP_ALIVE);
            self.out.push_back(Output::Event { id: exchange, bytes });
        }
        // Bytes have no place for comments.
        let ping = feed.last_at.checked_add(self.config.ping_interval).filter(|_| !is_raw);
        feed.due = feed.next_at().into_iter().chain(ping).min();
        if let Some(at) = feed.due {
            self.plan(at, Due::Feed(exchange));
        }
    }

    fn feed_over(&mut self, exchange: u64, end: Output) {
        let Some(Open::Feed(feed)) = self.open.remove(&exchange) else { return };
        let units = (feed.sent == feed.frames).then(|| feed.answer.units());
        self.ledger.ended(feed.ledger, &feed.endpoint, units);
        self.out.push_back(end);
        self.release(feed.endpoint.app());
    }
}

impl Feed {
    /// Whether it sends bytes and not events.
    fn is_raw(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.kind == Kind::Sound)
    }

    /// Before which frame it breaks off, if it does.
    fn breaks_at(&self) -> usize {
        self.script.as_ref().map_or(self.frames / 2, |script| script.kind.breaks_at(self.frames))
    }

    /// When the next frame is ready: they are spread evenly over the run time, the last at its end.
    fn next_at(&self) -> Option<Instant> {
        let nth = |n: usize| u32::try_from(n).expect("there are few frames");
        let time = self.run_time.checked_mul(nth(self.sent + 1))? / nth(self.frames);
        self.since.checked_add(time)
    }
}

/// One event of JSON on one line.
pub(super) fn event(data: &[u8]) -> Bytes {
    [b"data: ", data, b"\n\n"].concat().into()
}

pub(super) fn head(id: RequestId) -> Head {
    let mut head = Head::new(());
    let headers = head.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(REQUEST_ID, id_value(id));
    // The hint of a runner is not known to this route (documented).
    platform::stamp(headers, None);
    head
}
