//! Queued requests: a fresh id, states and log as they were recorded, the recorded result.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use super::ask::{REQUEST_ID, answer_of, id_value, mark, plain};
use super::library::Loaded;
use super::{News, Open, Player, ReplayTiming, Watch};
use crate::cassette::fill_id;
use crate::model::{self, Door, Failure, Output, Request, RequestId, Response};
use crate::render;

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    entry: usize,
    since: Instant,
    /// The app, for its addresses.
    app: Box<str>,
    /// When it was cancelled, if its recording was not.
    cancelled: Option<Instant>,
    /// Where its end is reported, and through which door addresses in it lead.
    hook: Option<(Box<str>, Door<'static>)>,
}

/// What is known of a job at a moment.
struct View<'a> {
    status: &'a str,
    position: Option<u64>,
    is_done: bool,
    /// Lines of its log.
    lines: usize,
}

impl Player {
    /// Answers a submit from a recorded job.
    pub(super) fn submit(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        entry: usize,
        id: RequestId,
        distance: usize,
    ) {
        let library = Arc::clone(&self.library);
        let loaded = &library.entries[entry];
        if loaded.entry.job.as_ref().is_none_or(|job| job.end.is_none()) {
            let name = loaded.name.to_str().unwrap_or_default();
            let why = format!(
                "fal-mock cannot replay {name}: the recording ended before the job did; record it again"
            );
            return self.refuse(exchange, StatusCode::CONFLICT, &why);
        }
        let hook = match request.parameter("fal_webhook") {
            None => None,
            Some(url) => match model::check_webhook_url(&url) {
                Ok(()) => Some((url.into(), request.door.clone().into_owned())),
                Err(failure) => return self.reply(exchange, failed(id, &failure)),
            },
        };
        let app = fal_protocol::EndpointId::parse(&loaded.path);
        let app = app.map_or_else(|_| loaded.path.as_str().into(), |id| id.app().into());
        if self.jobs.len() >= JOBS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.jobs.remove(&oldest);
            self.turns.retain(|(_, id)| *id != oldest);
        }
        let job = Job { entry, since: self.now, app, cancelled: None, hook };
        let turn = self.next_change(&job).unwrap_or(self.now);
        self.turns.insert((turn, id));
        self.jobs.insert(id, job);
        self.order.push_back(id);
        let mut response = answer_of(loaded, &loaded.response, id, &request.door);
        mark(&mut response, loaded, distance);
        let at = self.after(self.now, loaded.response.after_ms);
        self.reply_at(exchange, at, response);
        self.advance(self.now);
    }

    /// Answers a call about a job.
    pub(super) fn ask_job(&mut self, exchange: u64, request: &Request<'_>, id: &str, tail: &str) {
        let job = RequestId::parse(id).and_then(|id| Some((id, self.jobs.get(&id)?)));
        let Some((id, job)) = job else {
            let other = self.mint();
            let body = Bytes::from_static(b"{\"status\":\"NOT_FOUND\"}");
            return self.reply(exchange, plain(StatusCode::NOT_FOUND, other, body));
        };
        let method = if tail == "cancel" { Method::PUT } else { Method::GET };
        if *request.method != method {
            return self.refuse(exchange, StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        if tail != "status/stream"
            && let Err(denied) = model::check_key(&self.config, request, Some(&job.app))
        {
            let text = denied.text(Some(&job.app));
            return self.refuse(exchange, denied.status(), &text);
        }
        let wants_logs = request
            .parameter("logs")
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
        match tail {
            "status" => {
                let view = self.view(job);
                let body = self.status(id, job, &request.door, &view, wants_logs.then_some(0));
                let status = if view.is_done { StatusCode::OK } else { StatusCode::ACCEPTED };
                self.reply(exchange, plain(status, id, body));
            }
            "" | "response" => {
                let response = self.result(id, job, &request.door);
                self.reply(exchange, response);
            }
            "cancel" => self.cancel(exchange, id, &request.door),
            "status/stream" => {
                let mut head = http::Response::new(());
                head.headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                head.headers_mut()
                    .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                head.headers_mut().insert(REQUEST_ID, id_value(id));
                mark(&mut head, &self.library.entries[job.entry], 0);
                self.out.push_back(Output::Stream { id: exchange, head });
                let door = request.door.clone().into_owned();
                let watch =
                    Watch { job: id, wants_logs, door, told: None, lines: 0, last: self.now };
                self.open.insert(exchange, Open::Watch(watch));
                self.tell(exchange);
            }
            _ => self.refuse(exchange, StatusCode::NOT_FOUND, "Not Found"),
        }
    }

    fn cancel(&mut self, exchange: u64, id: RequestId, door: &Door<'_>) {
        let library = Arc::clone(&self.library);
        let Some(job) = self.jobs.get(&id) else { return };
        let loaded = &library.entries[job.entry];
        let is_done = self.view(job).is_done;
        let response = match &loaded.cancel {
            // What came of it is in the recording as well.
            Some(given) => answer_of(loaded, given, id, door),
            None if is_done => plain(
                StatusCode::BAD_REQUEST,
                id,
                Bytes::from_static(b"{\"status\":\"ALREADY_COMPLETED\"}"),
            ),
            None => {
                let now = self.now;
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.cancelled = Some(now);
                }
                self.turns.retain(|(_, other)| *other != id);
                self.turns.insert((now, id));
                let body =
                    Bytes::from_static(b"{\"status\":\"CANCELLATION_REQUESTED\",\"success\":true}");
                plain(StatusCode::ACCEPTED, id, body)
            }
        };
        self.reply(exchange, response);
        let watchers: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open, Open::Watch(watch) if watch.job == id))
            .map(|(exchange, _)| *exchange)
            .collect();
        for exchange in watchers {
            self.tell(exchange);
        }
        self.advance(self.now);
    }

    /// Tells a status stream what is new, and plans its next event.
    pub(super) fn tell(&mut self, exchange: u64) {
        let Some(Open::Watch(watch)) = self.open.get(&exchange) else { return };
        self.due.retain(|(_, other)| *other != exchange);
        let Some(job) = self.jobs.get(&watch.job) else {
            self.open.remove(&exchange);
            self.out.push_back(Output::Cut { id: exchange });
            return;
        };
        let view = self.view(job);
        let told = (view.status.to_owned(), view.position);
        let lines = if watch.wants_logs { view.lines } else { 0 };
        let is_done = view.is_done;
        let bytes = if watch.told.as_ref() != Some(&told) || lines > watch.lines {
            let from = watch.wants_logs.then_some(watch.lines);
            let mut event = b"data: ".to_vec();
            event.extend_from_slice(&self.status(watch.job, job, &watch.door, &view, from));
            event.extend_from_slice(b"\n\n");
            Some(Bytes::from(event))
        } else if self.now.saturating_duration_since(watch.last) >= self.config.ping_interval {
            Some(Bytes::from_static(b": keep-alive\n\n"))
        } else {
            None
        };
        let change = self.next_change(job);
        let is_news = bytes.is_some();
        self.out.extend(bytes.map(|bytes| Output::Event { id: exchange, bytes }));
        if is_done {
            self.open.remove(&exchange);
            self.out.push_back(Output::End { id: exchange });
            return;
        }
        let now = self.now;
        if let Some(Open::Watch(watch)) = self.open.get_mut(&exchange) {
            (watch.told, watch.lines) = (Some(told), lines);
            if is_news {
                watch.last = now;
            }
            let ping = watch.last.checked_add(self.config.ping_interval);
            self.due.extend(change.into_iter().chain(ping).min().map(|at| (at, exchange)));
        }
    }

    /// The status of a job changes. At its end whoever wants to hear of it does.
    pub(super) fn turn(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let Some(next) = self.next_change(job) {
            self.turns.insert((next, id));
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some((url, door)) = job.hook.take() else { return };
        let Some(job) = self.jobs.get(&id) else { return };
        let response = self.result(id, job, &door);
        self.news.push_back(News { id, url, response });
    }

    fn loaded(&self, job: &Job) -> &Loaded {
        &self.library.entries[job.entry]
    }

    /// When a job ends.
    pub(super) fn end_of(&self, job: &Job) -> Instant {
        let end = self.loaded(job).entry.job.as_ref().and_then(|job| job.end.as_ref());
        let end = self.after(job.since, end.map_or(0, |end| end.after_ms));
        job.cancelled.map_or(end, |at| at.min(end))
    }

    /// What is known of a job now.
    fn view(&self, job: &Job) -> View<'_> {
        let recorded = self.loaded(job).entry.job.as_ref();
        let is_done = self.end_of(job) <= self.now;
        let has_come = |ms: u64| self.after(job.since, ms) <= self.now;
        let logs = recorded.map_or(&[][..], |job| &job.logs);
        let lines = match is_done && job.cancelled.is_none() {
            true => logs.len(),
            false => logs.iter().take_while(|line| has_come(line.after_ms)).count(),
        };
        let steps = recorded.map_or(&[][..], |job| &job.steps);
        let step = steps.iter().take_while(|step| has_come(step.after_ms)).last();
        match step {
            _ if is_done => View { status: COMPLETED, position: None, is_done, lines },
            Some(step) => {
                View { status: &step.status, position: step.queue_position, is_done, lines }
            }
            None => View { status: IN_QUEUE, position: Some(0), is_done, lines },
        }
    }

    /// When the status of a job next changes.
    pub(super) fn next_change(&self, job: &Job) -> Option<Instant> {
        let end = self.end_of(job);
        if end <= self.now || self.timing == ReplayTiming::Instant {
            return None;
        }
        let recorded = self.loaded(job).entry.job.as_ref()?;
        let steps = recorded.steps.iter().map(|step| step.after_ms);
        let lines = recorded.logs.iter().map(|line| line.after_ms);
        let next =
            steps.chain(lines).map(|ms| self.after(job.since, ms)).filter(|at| *at > self.now);
        Some(next.chain([end]).min().unwrap_or(end).min(end))
    }

    /// Writes the status object. `from` is the first line wanted, if any are.
    fn status(
        &self,
        id: RequestId,
        job: &Job,
        door: &Door<'_>,
        view: &View<'_>,
        from: Option<usize>,
    ) -> Vec<u8> {
        let recorded = self.loaded(job).entry.job.as_ref();
        let mut out = b"{\"status\":".to_vec();
        render::push_string(&mut out, view.status);
        if let Some(position) = view.position {
            out.extend_from_slice(b",\"queue_position\":");
            render::push_number(&mut out, position);
        }
        out.extend_from_slice(b",\"request_id\":");
        render::push_string(&mut out, &id.to_string());
        out.push(b',');
        model::push_addresses(&mut out, door, &job.app, id);
        out.extend_from_slice(b",\"logs\":");
        let lines = recorded.map_or(&[][..], |job| &job.logs);
        match from.filter(|_| view.lines > 0 || view.status != IN_QUEUE) {
            None => out.extend_from_slice(b"null"),
            Some(from) => {
                out.push(b'[');
                for (at, line) in lines.iter().take(view.lines).skip(from).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    let text = fill_id(line.line.get(), &id.to_string());
                    out.extend_from_slice(text.as_bytes());
                }
                out.push(b']');
            }
        }
        out.extend_from_slice(b",\"metrics\":");
        let end = recorded
            .and_then(|job| job.end.as_ref())
            .filter(|_| view.is_done && job.cancelled.is_none());
        match end.and_then(|end| end.metrics.as_ref()) {
            Some(metrics) => out.extend_from_slice(metrics.get().as_bytes()),
            None => out.extend_from_slice(b"{}"),
        }
        let cancelled = Failure::cancelled();
        let failure = match end {
            Some(end) => (end.error.as_deref(), end.error_type.as_deref()),
            None if view.is_done => (Some(&*cancelled.error), cancelled.error_type.as_deref()),
            None => (None, None),
        };
        for (name, text) in [("error", failure.0), ("error_type", failure.1)] {
            if let Some(text) = text {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                render::push_string(&mut out, text);
            }
        }
        out.push(b'}');
        out
    }

    fn result(&self, id: RequestId, job: &Job, door: &Door<'_>) -> Response {
        let loaded = self.loaded(job);
        if !self.view(job).is_done {
            return plain(
                StatusCode::BAD_REQUEST,
                id,
                render::detail("Request is still in progress"),
            );
        }
        if job.cancelled.is_some() {
            return failed(id, &Failure::cancelled());
        }
        match &loaded.result {
            Some(given) => answer_of(loaded, given, id, door),
            None => {
                let name = loaded.name.to_str().unwrap_or_default();
                let why = format!(
                    "fal-mock has no result of {name}: nobody asked for it while it was recorded"
                );
                plain(StatusCode::NOT_FOUND, id, render::detail(&why))
            }
        }
    }
}

fn failed(id: RequestId, failure: &Failure) -> Response {
    let mut response = plain(failure.status, id, failure.body.clone());
    response.headers_mut().extend(failure.headers.iter().cloned());
    response
}

const COMPLETED: &str = "COMPLETED";
const IN_QUEUE: &str = "IN_QUEUE";

/// Jobs that are remembered; the oldest is forgotten.
const JOBS_MAX: usize = 10_000;
