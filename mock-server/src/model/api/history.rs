//! What was asked of the queue: the requests of some endpoints, and how many wait.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::Model;
use super::super::answer::Lasting;
use super::super::exchange::Request;
use super::super::id::RequestId;
use super::super::job::{Job, Outcome, State};
use super::page::{self, Page};
use super::{Refusal, endpoint_ids, time, values};
use crate::render;

impl Model {
    /// The requests of some endpoints that run or are over, the latest first. Only queued ones, as long as
    /// their results are kept: an hour by default, where the service keeps ninety days.
    pub(super) fn list_requests(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let wanted = Wanted::read(request, self.wall(self.now))?;
        let page = Page::of(request, REQUESTS_DEFAULT, REQUESTS_MAX)?;
        // Instant jobs are worked out only now, which decides how they ended.
        let ids: Vec<RequestId> = self.jobs.by_age().into_iter().map(|(id, _)| id).collect();
        for id in ids {
            let is_wanted =
                |job: &Job| wanted.endpoints.iter().any(|name| *name == job.endpoint.as_str());
            if self.jobs.get(id).is_some_and(is_wanted) {
                self.read(id);
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        for (id, job) in self.jobs.by_age() {
            let Some(row) = Row::of(id, job) else { continue };
            let ended = self.wall(row.ended.unwrap_or(row.started));
            let is_wanted = wanted.endpoints.iter().any(|name| *name == job.endpoint.as_str())
                && wanted.request_id.is_none_or(|wanted| wanted == id)
                && wanted.status.is_none_or(|wanted| row.class() == Some(wanted))
                && (wanted.from..wanted.to).contains(&ended);
            if is_wanted {
                rows.push(row);
            }
        }
        match wanted.by_duration {
            true => rows.sort_by_key(|row| std::cmp::Reverse(row.duration())),
            false => rows.sort_by_key(|row| std::cmp::Reverse(row.ended)),
        }
        let mut out = b"{\"items\":[".to_vec();
        for (index, row) in page.cut(&rows).iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.push_row(&mut out, row, request, wanted.with_payloads);
        }
        out.extend_from_slice(b"],");
        page.push_next(&mut out, rows.len());
        out.push(b'}');
        Ok(out)
    }

    fn push_row(
        &mut self,
        out: &mut Vec<u8>,
        row: &Row,
        request: &Request<'_>,
        with_payloads: bool,
    ) {
        out.extend_from_slice(b"{\"request_id\":\"");
        out.extend_from_slice(&row.id.to_text());
        out.extend_from_slice(b"\",\"endpoint_id\":");
        let Some(job) = self.jobs.get(row.id) else { return out.extend_from_slice(b"null}") };
        render::push_string(out, job.endpoint.as_str());
        for (name, at) in [
            (&b",\"sent_at\":\""[..], Some(row.sent)),
            (b",\"started_at\":\"", Some(row.started)),
            (b",\"ended_at\":\"", row.ended),
        ] {
            if let Some(at) = at {
                out.extend_from_slice(name);
                render::push_timestamp(out, self.wall(at));
                out.push(b'"');
            }
        }
        if let Some(status) = row.status {
            out.extend_from_slice(b",\"status_code\":");
            render::push_number(out, u64::from(status));
        }
        if row.ended.is_some() {
            out.extend_from_slice(b",\"duration\":");
            render::push_seconds(out, row.duration());
        }
        if with_payloads {
            push_payload(out, b",\"json_input\":", &job.input);
            let output = match &job.state {
                State::Done { outcome: Outcome::Failed(failure), .. } => {
                    Some(failure.body.to_vec())
                }
                State::Done { outcome: Outcome::Made(answer), .. } => {
                    let (answer, endpoint) = (Arc::clone(answer), job.endpoint.clone());
                    let made = row.ended.unwrap_or(self.now);
                    let lasting =
                        job.keep.as_ref().map(|keep| Lasting::new(row.id, keep, made, self.now));
                    let (files, age) = (&mut self.files, &mut self.age);
                    Some(answer.publish(
                        files,
                        age,
                        endpoint.as_str(),
                        &request.door,
                        row.duration(),
                        lasting,
                    ))
                }
                _ => None,
            };
            if let Some(output) = output {
                push_payload(out, b",\"json_output\":", &output);
            }
        }
        out.push(b'}');
    }

    /// How many requests of an app wait.
    pub(super) fn queue_size(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let mut segments = request.path.split('/').skip(4);
        let (owner, name) =
            (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let app = format!("{owner}/{name}");
        let waiting = match self.apps.get(app.as_str()) {
            Some(app) => app.lines.iter().map(super::super::Line::len).sum(),
            // Nobody waits; in strict mode apps that are not known are not there.
            None if self.config.strict && !self.config.catalog.knows_app(&app) => {
                return Err(Refusal::not_found("Resource not found"));
            }
            None => 0,
        };
        Ok(format!("{{\"queue_size\":{waiting}}}").into_bytes())
    }
}

/// What a call asks for.
struct Wanted {
    endpoints: Vec<String>,
    request_id: Option<RequestId>,
    status: Option<Class>,
    from: SystemTime,
    /// Exclusive.
    to: SystemTime,
    by_duration: bool,
    with_payloads: bool,
}

impl Wanted {
    fn read(request: &Request<'_>, now: SystemTime) -> Result<Self, Refusal> {
        let endpoints = endpoint_ids(request)?;
        if endpoints.is_empty() {
            return Err(Refusal::invalid("endpoint_id: at least one value is required"));
        }
        if page::limit(request)?.is_some_and(|limit| limit > REQUESTS_MAX) {
            return Err(Refusal::invalid(format!("limit: at most {REQUESTS_MAX}")));
        }
        let request_id = match request.parameter("request_id") {
            Some(text) => {
                let id = RequestId::parse(&text);
                Some(id.ok_or_else(|| Refusal::invalid("request_id: must be a UUID"))?)
            }
            None => None,
        };
        let status = match request.parameter("status").as_deref() {
            None => None,
            Some("success") => Some(Class::Success),
            Some("user_error") => Some(Class::UserError),
            Some("error") => Some(Class::Error),
            Some(_) => {
                let message = "status: must be 'success', 'error' or 'user_error'";
                return Err(Refusal::invalid(message));
            }
        };
        let instant = |name: &str| match request.parameter(name) {
            Some(text) => match time::parse(&text) {
                Some(time) => Ok(Some(time)),
                None => {
                    Err(Refusal::invalid(format!("{name}: must be a date or a time of ISO 8601")))
                }
            },
            None => Ok(None),
        };
        let past = if request_id.is_some() { PAST_OF_ONE } else { PAST };
        // What ends in this very moment is over already.
        let to = instant("end")?.unwrap_or(now + Duration::from_nanos(1));
        let from = instant("start")?;
        let from = from.unwrap_or_else(|| to.checked_sub(past).unwrap_or(SystemTime::UNIX_EPOCH));
        let by_duration = match request.parameter("sort_by").as_deref() {
            None | Some("ended_at") => false,
            Some("duration") => true,
            Some(_) => return Err(Refusal::invalid("sort_by: must be 'ended_at' or 'duration'")),
        };
        let mut with_payloads = false;
        for name in values(request, "expand") {
            match name.as_str() {
                "payloads" => with_payloads = true,
                other => return Err(Refusal::invalid(format!("expand: unknown value {other:?}"))),
            }
        }
        Ok(Self { endpoints, request_id, status, from, to, by_duration, with_payloads })
    }
}

/// How a request ended, as searches name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Success,
    UserError,
    Error,
}

/// One request that has started.
struct Row {
    id: RequestId,
    sent: Instant,
    started: Instant,
    ended: Option<Instant>,
    status: Option<u16>,
}

impl Row {
    /// `None` while it waits.
    fn of(id: RequestId, job: &Job) -> Option<Self> {
        let (started, ended, status) = match &job.state {
            State::Queued { .. } => return None,
            State::Running { since, .. } => (*since, None, None),
            State::Done { run, outcome } => {
                let status = match outcome {
                    Outcome::Failed(failure) => failure.status.as_u16(),
                    Outcome::Made(_) | Outcome::Unread => 200,
                };
                // Who was cancelled in the line has neither begun nor ended a run.
                let (since, until) = run.map_or((job.sent, job.sent), |run| (run.since, run.until));
                (since, Some(until), Some(status))
            }
        };
        Some(Self { id, sent: job.sent, started, ended, status })
    }

    fn duration(&self) -> Duration {
        self.ended.map_or(Duration::ZERO, |ended| ended.saturating_duration_since(self.started))
    }

    fn class(&self) -> Option<Class> {
        Some(match self.status? {
            200..=299 => Class::Success,
            400..=499 => Class::UserError,
            _ => Class::Error,
        })
    }
}

/// Writes a payload if it is JSON; what is not cannot stand in JSON.
fn push_payload(out: &mut Vec<u8>, name: &[u8], payload: &[u8]) {
    if serde_json::from_slice::<&serde_json::value::RawValue>(payload).is_ok() {
        out.extend_from_slice(name);
        out.extend_from_slice(payload);
    }
}

/// Requests on one page at most, and where the call does not say.
///
/// Source: the platform's own OpenAPI document, also for the two times below (documented).
const REQUESTS_MAX: usize = 100;
const REQUESTS_DEFAULT: usize = 50;

/// How far back a search goes where the call does not say: 24 hours.
const PAST: Duration = Duration::from_secs(24 * 3600);

/// The same for a search by request id: 90 days.
const PAST_OF_ONE: Duration = Duration::from_secs(90 * 24 * 3600);
