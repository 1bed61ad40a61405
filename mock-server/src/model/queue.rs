//! The queue host: submit, status, status stream, result, cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::endpoint::RESERVED_SEGMENT;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::answer::{Answer, Lasting};
use super::auth::{self, Denied};
use super::config::LARGE_RESULT_BYTES_MIN;
use super::control::HEADERS_MAX;
use super::exchange::{Door, Host, Request, Response};
use super::failure::Failure;
use super::id::RequestId;
use super::job::{Attempt, Job, Outcome, Priority, State};
use super::ledger::CallWay;
use super::lifecycle::Keep;
use super::plan::Plan;
use super::webhook::{self, Hook};
use super::{Due, Model, platform, reply};
use crate::{render, scenario};

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Status,
    Stream,
    Result,
    Cancel,
}

impl Model {
    /// Answers a call to the queue host; `None` if a stream was opened.
    pub(crate) fn queue(&mut self, exchange: u64, request: Request<'_>) -> Option<Response> {
        let path = request.path.trim_matches('/');
        match split_job_path(path) {
            Some((prefix, id, tail)) => self.job_call(exchange, &request, prefix, id, tail),
            None => Some(self.submit(request)),
        }
    }

    fn job_call(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        prefix: &str,
        id: &str,
        tail: &str,
    ) -> Option<Response> {
        let (operation, method, allow) = match tail {
            "status" => (Operation::Status, Method::GET, "GET"),
            "status/stream" => (Operation::Stream, Method::GET, "GET"),
            // The suffix stands in one documented example.
            "" | "response" => (Operation::Result, Method::GET, "GET"),
            "cancel" => (Operation::Cancel, Method::PUT, "PUT"),
            _ => return Some(reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), "Not Found")),
        };
        if *request.method != method {
            return Some(reply::wrong_method(self.mint_other(), allow));
        }
        let found = RequestId::parse(id)
            .and_then(|id| self.jobs.get(id).map(|job| (id, job)))
            .filter(|(_, job)| is_prefix_of(prefix, &job.endpoint));
        let app = found.map(|(_, job)| job.endpoint.app());
        let access = match found {
            // Browsers cannot set a header for a stream of events.
            Some((_, job)) if operation == Operation::Stream => {
                self.admit(request, &job.endpoint).map(drop)
            }
            _ => auth::check(&self.config, request, app.or(Some(prefix))),
        };
        match access {
            Ok(()) => {}
            // Without any key an unknown id is not found, with a bad one it is refused (observed).
            Err(Denied::Missing) if found.is_none() => {}
            Err(denied) => {
                let text = denied.text(app.or(Some(prefix)));
                return Some(reply::refuse(denied.status(), self.mint_other(), &text));
            }
        }
        let Some((id, job)) = found else {
            return Some(reply::unknown_request(self.mint_other()));
        };
        if let Some(keeping) = &mut self.keeping {
            keeping.asked_about(id);
        }
        if matches!(job.state, State::Done { outcome: Outcome::Unread, .. }) {
            self.read(id);
        }
        let Some(job) = self.jobs.get(id) else { return Some(reply::unknown_request(id)) };
        match operation {
            Operation::Status => Some(self.status(request, id, job)),
            Operation::Result => Some(self.result(&request.door, id)),
            Operation::Cancel => Some(self.cancel(id)),
            Operation::Stream => {
                if self.open.len() >= self.config.exchanges_max {
                    let detail = "Too many calls are open at once";
                    return Some(reply::refuse(StatusCode::TOO_MANY_REQUESTS, id, detail));
                }
                let mut addresses = Vec::with_capacity(400);
                push_addresses(&mut addresses, &request.door, job.endpoint.app(), id);
                self.open_stream(exchange, id, wants_logs(request), addresses);
                None
            }
        }
    }

    fn status(&self, request: &Request<'_>, id: RequestId, job: &Job) -> Response {
        let wants_logs = wants_logs(request);
        let mut body = Vec::with_capacity(if wants_logs { 2000 } else { 700 });
        let addresses =
            |out: &mut Vec<u8>| push_addresses(out, &request.door, job.endpoint.app(), id);
        self.push_status(&mut body, id, job, addresses, wants_logs.then_some(0));
        // A failed job is a completed one: 200 as well (documented).
        let status = if job.is_done() { StatusCode::OK } else { StatusCode::ACCEPTED };
        let mut response = reply::json(status, id, body);
        job.plan.stamp(response.headers_mut());
        response
    }

    /// Writes the status object. `logs_from` is the first log line wanted, if any are.
    pub(crate) fn push_status(
        &self,
        out: &mut Vec<u8>,
        id: RequestId,
        job: &Job,
        addresses: impl FnOnce(&mut Vec<u8>),
        logs_from: Option<usize>,
    ) {
        match job.state {
            State::Queued { .. } => {
                out.extend_from_slice(b"{\"status\":\"IN_QUEUE\",\"queue_position\":");
                render::push_number(out, self.position(job) as u64);
            }
            State::Running { .. } => out.extend_from_slice(b"{\"status\":\"IN_PROGRESS\""),
            State::Done { .. } => out.extend_from_slice(b"{\"status\":\"COMPLETED\""),
        }
        out.extend_from_slice(b",\"request_id\":\"");
        out.extend_from_slice(&id.to_text());
        out.extend_from_slice(b"\",");
        addresses(out);
        out.extend_from_slice(b",\"logs\":");
        match (&job.state, logs_from) {
            (State::Queued { .. }, from) if job.past.is_empty() || from.is_none() => {
                out.extend_from_slice(b"null")
            }
            (_, None) => out.extend_from_slice(b"null"),
            (_, Some(from)) => self.push_lines(out, job, from),
        }
        match &job.state {
            State::Done { run: Some(run), outcome } => {
                out.extend_from_slice(b",\"metrics\":{\"inference_time\":");
                render::push_seconds(out, run.until - run.since);
                out.push(b'}');
                push_failure(out, outcome);
            }
            State::Done { run: None, outcome } => {
                out.extend_from_slice(b",\"metrics\":{}");
                push_failure(out, outcome);
            }
            State::Queued { .. } | State::Running { .. } => {
                out.extend_from_slice(b",\"metrics\":{}")
            }
        }
        out.push(b'}');
    }

    fn push_lines(&self, out: &mut Vec<u8>, job: &Job, from: usize) {
        out.push(b'[');
        for (index, line) in job.lines(self.now).skip(from).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"message\":");
            render::push_string(out, line.message);
            out.extend_from_slice(b",\"level\":\"");
            out.extend_from_slice(line.level.as_bytes());
            out.extend_from_slice(b"\",\"source\":");
            render::push_string(out, line.source);
            out.extend_from_slice(b",\"timestamp\":\"");
            render::push_timestamp(out, self.wall(line.at));
            out.extend_from_slice(b"\",\"labels\":{}}");
        }
        out.push(b']');
    }

    /// How many stand ahead of a queued job; 0 for others.
    pub(crate) fn position(&self, job: &Job) -> usize {
        let State::Queued { since, ticket } = job.state else { return 0 };
        let shown = job.shown_position(since, self.now);
        if self.runners(job.endpoint.app()).is_none() {
            return shown;
        }
        let Some(app) = self.apps.get(job.endpoint.app()) else { return shown };
        let ahead = match job.priority {
            Priority::Normal => app.lines[0].ahead(ticket),
            Priority::Low => app.lines[0].len() + app.lines[1].ahead(ticket),
        };
        shown.max(ahead)
    }

    pub(crate) fn result(&mut self, door: &Door<'_>, id: RequestId) -> Response {
        let Some(job) = self.jobs.get(id) else { return reply::unknown_request(id) };
        match &job.state {
            State::Queued { .. } | State::Running { .. } => {
                reply::refuse(StatusCode::BAD_REQUEST, id, "Request is still in progress")
            }
            // Worked out before this is called.
            State::Done { outcome: Outcome::Unread, .. } => reply::unknown_request(id),
            State::Done { outcome: Outcome::Failed(failure), .. } => {
                let mut response = reply::failure(id, failure);
                job.plan.stamp(response.headers_mut());
                response
            }
            State::Done { outcome: Outcome::Made(answer), run } => {
                let time = run.map_or(Duration::ZERO, |run| run.until - run.since);
                let endpoint = job.endpoint.as_str();
                let made = run.map_or(self.now, |run| run.until);
                let lasting = job.keep.as_ref().map(|keep| Lasting::new(id, keep, made, self.now));
                let (files, age) = (&mut self.files, &mut self.age);
                let body = answer.publish(files, age, endpoint, door, time, lasting);
                let mut response = reply::json(StatusCode::OK, id, body);
                response
                    .headers_mut()
                    .insert(reply::BILLABLE_UNITS, HeaderValue::from(answer.units()));
                platform::stamp(response.headers_mut(), platform::hint_of(&job.headers));
                job.plan.stamp(response.headers_mut());
                response
            }
        }
    }

    pub(crate) fn cancel(&mut self, id: RequestId) -> Response {
        let (cancel_time, now) = (self.config.cancel_time, self.now);
        let Some(job) = self.jobs.get_mut(id) else { return reply::unknown_request(id) };
        let run_time = job.plan.pace.run_time;
        match job.state {
            State::Done { .. } => {
                let body = Bytes::from_static(b"{\"status\":\"ALREADY_COMPLETED\"}");
                reply::json(StatusCode::BAD_REQUEST, id, body)
            }
            State::Queued { .. } => {
                job.cancel_asked = true;
                self.counters.cancels += 1;
                self.fail(id, Arc::new(Failure::cancelled()));
                // `success` is what every published model document promises instead of `status`.
                reply::json(
                    StatusCode::OK,
                    id,
                    Bytes::from_static(b"{\"status\":\"OK\",\"success\":true}"),
                )
            }
            State::Running { since, .. } => {
                self.counters.cancels += 1;
                // A back end is told at once, and when it ends nobody knows.
                let is_worked = job.plan.backend.is_some();
                let heeded = if is_worked { Some(now) } else { now.checked_add(cancel_time) };
                let is_earlier =
                    |at: Instant| since.checked_add(run_time).is_none_or(|end| at < end);
                let in_time = heeded.filter(|at| is_worked || is_earlier(*at));
                if let Some(at) = in_time.filter(|_| !job.cancel_asked) {
                    job.doom = Some(Arc::new(Failure::cancelled()));
                    job.epoch += 1;
                    let event = Due::Finish(id, job.epoch);
                    self.plan(at, event);
                }
                if let Some(job) = self.jobs.get_mut(id) {
                    job.cancel_asked = true;
                }
                self.note_job(id);
                let body =
                    Bytes::from_static(b"{\"status\":\"CANCELLATION_REQUESTED\",\"success\":true}");
                reply::json(StatusCode::ACCEPTED, id, body)
            }
        }
    }

    fn submit(&mut self, request: Request<'_>) -> Response {
        let endpoint = match self.endpoint(&request) {
            Ok(endpoint) => endpoint,
            Err(refusal) => return *refusal,
        };
        if *request.method != Method::POST {
            return reply::wrong_method(self.mint_other(), "POST");
        }
        if let Err(denied) = auth::check(&self.config, &request, Some(endpoint.app())) {
            let text = denied.text(Some(endpoint.app()));
            return reply::refuse(denied.status(), self.mint_other(), &text);
        }
        if let Some(refusal) = self.unknown_app(&endpoint) {
            return refusal;
        }
        let start_timeout = match start_timeout(&request) {
            Ok(timeout) => timeout,
            Err(failure) => return reply::failure(self.mint_other(), &failure),
        };
        let keep = match self.keep_outputs(&request) {
            Ok(keep) => keep,
            Err(failure) => return reply::failure(self.mint_other(), &failure),
        };
        if request.query.is_some() {
            if let Some(Err(failure)) =
                request.parameter("fal_webhook").map(|url| webhook::check_url(&url))
            {
                return reply::failure(self.mint_other(), &failure);
            }
            if let Some(refusal) = self.queue_too_long(&request, &endpoint) {
                return refusal;
            }
        }
        match self.plan_call(scenario::Operation::Submit, &request, &endpoint) {
            Ok(plan) => self.accept(request, endpoint, start_timeout, keep, plan),
            Err(refusal) => *refusal,
        }
    }

    fn queue_too_long(&mut self, request: &Request<'_>, endpoint: &EndpointId) -> Option<Response> {
        let text = request.parameter("fal_max_queue_length")?;
        let Ok(max) = text.parse::<usize>() else {
            let failure = bad_request("fal_max_queue_length must be a whole number");
            return Some(reply::failure(self.mint_other(), &failure));
        };
        let waiting = self
            .apps
            .get(endpoint.app())
            .map_or(0, |app| app.lines.iter().map(super::Line::len).sum());
        (waiting > max).then(|| {
            let detail = format!("The queue of this endpoint is longer than {max}");
            reply::refuse(StatusCode::TOO_MANY_REQUESTS, self.mint_other(), &detail)
        })
    }

    fn accept(
        &mut self,
        request: Request<'_>,
        endpoint: EndpointId,
        start_timeout: Option<Duration>,
        keep: Option<Box<Keep>>,
        plan: Plan,
    ) -> Response {
        let id = RequestId::mint(&mut self.job_ids);
        self.counters.submits += 1;
        let (now, body) = (self.now, &request.body);
        let ledger = self.ledger.called(now, CallWay::Submit, &endpoint, id, body);
        self.age += 1;
        let hook = request
            .parameter("fal_webhook")
            .map(|url| Box::new(Hook { url: url.into(), door: request.door.clone().into_owned() }));
        let start_by = start_timeout.and_then(|timeout| self.now.checked_add(timeout));
        let job = Job {
            input: request.body,
            headers: kept_headers(request.headers),
            age: self.age,
            sent: self.now,
            priority: match request.headers.get(PRIORITY) {
                Some(value) if value.as_bytes().eq_ignore_ascii_case(b"low") => Priority::Low,
                _ => Priority::Normal,
            },
            start_by,
            doom: self
                .fail_next
                .pop_front()
                .or_else(|| plan.rule.as_ref().and_then(|rule| rule.error.clone())),
            epoch: 0,
            cancel_asked: false,
            past: Vec::new(),
            // Not in a line yet; both branches below decide where it stands.
            state: State::Queued { since: self.now, ticket: u64::MAX },
            ended: None,
            streams: Vec::new(),
            hook,
            keep,
            ledger,
            is_starting: false,
            effort: None,
            plan,
            endpoint,
        };
        if self.config.instant && job.plan.is_instant() {
            let response = accepted(&request.door, id, &job, 0);
            self.insert_completed(id, job);
            return response;
        }
        self.jobs.insert(id, job);
        self.enqueue(id, Duration::ZERO);
        let Some(job) = self.jobs.get(id) else { return reply::unknown_request(id) };
        accepted(&request.door, id, job, self.position(job))
    }

    /// Puts a job into the table that is over already. What came of it is worked out when somebody asks,
    /// unless the input is long: then its result may be, which decides how long it is kept.
    fn insert_completed(&mut self, id: RequestId, mut job: Job) {
        let outcome = match job.doom.take() {
            Some(failure) => Outcome::Failed(failure),
            None if job.input.len() <= UNREAD_BYTES_MAX
                && job.hook.is_none()
                && job.plan.rule.is_none() =>
            {
                Outcome::Unread
            }
            None => Outcome::of(self.prepare_job(id, &job)),
        };
        let large = outcome.bytes() >= LARGE_RESULT_BYTES_MIN;
        if !matches!(outcome, Outcome::Unread) {
            self.ledger.ended(job.ledger, &job.endpoint, outcome.units());
        }
        let run = Attempt { since: self.now, until: self.now };
        job.state = State::Done { run: Some(run), outcome };
        job.ended = Some(self.now);
        let (age, has_hook) = (job.age, job.hook.is_some());
        self.jobs.insert(id, job);
        self.retain(id, age, large);
        self.note_job(id);
        if has_hook {
            self.announce(id);
        }
    }

    /// What comes of a job: as its rule says, else as its input does.
    pub(crate) fn prepare_job(&self, id: RequestId, job: &Job) -> Result<Answer, Failure> {
        if let Some(backend) = &job.plan.backend {
            return self.check_input(backend, &job.endpoint, &job.input);
        }
        match &job.plan.rule {
            Some(rule) if rule.output != scenario::Output::Synthesised => {
                self.given(rule, id, job.endpoint.as_str(), job.input.clone())
            }
            _ => Answer::prepare(&self.config, &self.files, job.endpoint.as_str(), &job.input),
        }
    }

    /// Works out what came of a job, if that was put off.
    pub(crate) fn read(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        if !matches!(job.state, State::Done { outcome: Outcome::Unread, .. }) {
            return;
        }
        let read = Outcome::of(self.prepare_job(id, job));
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let State::Done { outcome, .. } = &mut job.state {
            *outcome = read;
            let bytes = outcome.bytes();
            self.ledger.ended(job.ledger, &job.endpoint, outcome.units());
            self.jobs.recount(0, bytes);
        }
    }
}

/// `prefix`, request id and operation of a path below a job, without outer slashes.
pub(crate) fn split_job_path(path: &str) -> Option<(&str, &str, &str)> {
    // The last `requests` counts: `acme/requests/requests/{id}` belongs to the app `acme/requests`. It
    // is followed by the id and at most two segments of an operation.
    let mut end = path.len();
    for _ in 0..=3 {
        let start = path.as_bytes()[..end].iter().rposition(|b| *b == b'/')?;
        if &path[start + 1..end] == RESERVED_SEGMENT && end < path.len() {
            let tail = &path[end + 1..];
            let (id, tail) = tail.split_once('/').unwrap_or((tail, ""));
            return Some((&path[..start], id, tail));
        }
        end = start;
    }
    None
}

/// Whether an address prefix means this endpoint: its app, or the app and any path below it.
///
/// Clients and documentation disagree on whether the path of an endpoint is repeated, so both work.
pub(super) fn is_prefix_of(prefix: &str, endpoint: &EndpointId) -> bool {
    let app = endpoint.app();
    match prefix.strip_prefix(app) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        // The legacy form has to be parsed to be compared.
        None => !prefix.contains('/') && EndpointId::parse(prefix).is_ok_and(|id| id.app() == app),
    }
}

/// Writes the three addresses of a job as JSON members.
pub(crate) fn push_addresses(out: &mut Vec<u8>, door: &Door<'_>, app: &str, id: RequestId) {
    out.extend_from_slice(b"\"response_url\":\"");
    let start = out.len();
    door.push_base(out, Host::Queue);
    out.push(b'/');
    out.extend_from_slice(app.as_bytes());
    out.extend_from_slice(b"/requests/");
    out.extend_from_slice(&id.to_text());
    let end = out.len();
    for (name, tail) in [(&b"status_url"[..], &b"/status"[..]), (b"cancel_url", b"/cancel")] {
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":\"");
        out.extend_from_within(start..end);
        out.extend_from_slice(tail);
    }
    out.push(b'"');
}

fn push_failure(out: &mut Vec<u8>, outcome: &Outcome) {
    if let Outcome::Failed(failure) = outcome {
        out.extend_from_slice(b",\"error\":");
        render::push_string(out, &failure.error);
        if let Some(error_type) = &failure.error_type {
            out.extend_from_slice(b",\"error_type\":");
            render::push_string(out, error_type);
        }
    }
}

/// Official clients write `1`, `0`, `true` and `false`; everything else means no.
fn wants_logs(request: &Request<'_>) -> bool {
    request
        .parameter("logs")
        .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// The caller's limit for the time until the start. The new name of the header wins.
///
/// Source: docs.fal.ai, submit page: decimal seconds above 0.1, 400 `bad_request` otherwise
/// (documented).
pub(crate) fn start_timeout(request: &Request<'_>) -> Result<Option<Duration>, Failure> {
    let Some(value) =
        request.headers.get(START_TIMEOUT).or_else(|| request.headers.get(START_TIMEOUT_OLD))
    else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .map(str::trim)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|seconds| *seconds > START_TIMEOUT_SECS_MIN)
        // A limit beyond what a clock can say is none.
        .map(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            bad_request("The start timeout must be a decimal number of seconds above 0.1")
        })
}

fn bad_request(detail: &str) -> Failure {
    Failure::request_error(StatusCode::BAD_REQUEST, "bad_request", detail)
}

/// The answer to an accepted submit.
fn accepted(door: &Door<'_>, id: RequestId, job: &Job, position: usize) -> Response {
    let mut body = Vec::with_capacity(640);
    body.extend_from_slice(b"{\"status\":\"IN_QUEUE\",\"request_id\":\"");
    body.extend_from_slice(&id.to_text());
    body.extend_from_slice(b"\",\"gateway_request_id\":\"");
    body.extend_from_slice(&id.to_text());
    body.extend_from_slice(b"\",\"queue_position\":");
    render::push_number(&mut body, position as u64);
    body.push(b',');
    push_addresses(&mut body, door, job.endpoint.app(), id);
    body.extend_from_slice(b",\"logs\":null,\"metrics\":{}}");
    let mut response = reply::json(StatusCode::OK, id, body);
    job.plan.stamp(response.headers_mut());
    response
}

/// Copies the headers worth keeping. Copies, because a value as received is a slice of the whole head.
fn kept_headers(headers: &http::HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let kept = |name: &HeaderName| {
        let name = name.as_str();
        (name.starts_with("x-fal-") || name.starts_with("x-app-fal-")) && name != "x-fal-target-url"
    };
    headers
        .iter()
        .filter(|(name, _)| kept(name))
        .take(HEADERS_MAX)
        .filter_map(|(name, value)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        })
        .collect()
}

const PRIORITY: HeaderName = HeaderName::from_static("x-fal-queue-priority");
const START_TIMEOUT: HeaderName = HeaderName::from_static("x-fal-request-start-timeout");
const START_TIMEOUT_OLD: HeaderName = HeaderName::from_static("x-fal-request-timeout");

/// Up to this length the input of an instant job is read late: neither its output nor four complaints that
/// repeat it can be a large result.
const UNREAD_BYTES_MAX: usize = 1024;

/// Start timeouts up to this are refused.
const START_TIMEOUT_SECS_MIN: f64 = 0.1;
