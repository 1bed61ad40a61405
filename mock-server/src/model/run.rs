//! The run host: direct calls.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::answer::{Answer, Lasting};
use super::exchange::{Door, Output, Request, Response, parameters};
use super::failure::Failure;
use super::id::RequestId;
use super::job::Outcome;
use super::ledger::CallWay;
use super::lifecycle::Keep;
use super::plan::Plan;
use super::work::{Doing, Work};
use super::{Due, Model, Open, app_of, auth, platform, queue, reply};
use crate::scenario::Operation;

/// A direct call that runs.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: EndpointId,
    pub(super) id: RequestId,
    since: Instant,
    outcome: Outcome,
    door: Door<'static>,
    pub(super) keep: Option<Box<Keep>>,
    hint: Option<HeaderValue>,
    /// Its number in the ledger.
    pub(super) ledger: u64,
    plan: Plan,
    /// What its back end does for it.
    pub(super) work: Option<Doing>,
}

impl Model {
    /// Answers a direct call; `None` if it runs now.
    pub(crate) fn run(&mut self, exchange: u64, request: Request<'_>) -> Option<Response> {
        let endpoint = match self.endpoint(&request) {
            Ok(endpoint) => endpoint,
            Err(refusal) => return Some(*refusal),
        };
        // A token allows a stream, from browsers; a direct call needs a key.
        let access = match streamed(&endpoint) {
            Some(_) => self.admit(&request, &endpoint).map(drop),
            None => auth::check(&self.config, &request, Some(endpoint.app())),
        };
        if let Err(denied) = access {
            let text = denied.text(Some(endpoint.app()));
            return Some(reply::refuse(denied.status(), self.mint_other(), &text));
        }
        if let Some(refusal) = self.unknown_app(&endpoint) {
            return Some(refusal);
        }
        self.call(exchange, request, endpoint)
    }

    /// Answers a call that may be made; `None` if it runs now.
    pub(crate) fn call(
        &mut self,
        exchange: u64,
        request: Request<'_>,
        endpoint: EndpointId,
    ) -> Option<Response> {
        if endpoint.path().and_then(|path| path.rsplit('/').next()) == Some("realtime") {
            return Some(self.no_upgrade("This endpoint"));
        }
        if let Some(base) = streamed(&endpoint) {
            return match base {
                Some(base) => self.feed(exchange, request, base),
                None => {
                    let detail = format!("Application \"{endpoint}\" not found");
                    Some(reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), &detail))
                }
            };
        }
        // Checked for its form only: a call starts at once or not at all.
        if let Err(failure) = queue::start_timeout(&request) {
            return Some(reply::failure(self.mint_other(), &failure));
        }
        let keep = match self.keep_outputs(&request) {
            Ok(keep) => keep,
            Err(failure) => return Some(reply::failure(self.mint_other(), &failure)),
        };
        if !self.has_room(endpoint.app()) {
            return Some(reply::failure(self.mint_other(), &too_many()));
        }
        let plan = match self.plan_call(Operation::Run, &request, &endpoint) {
            Ok(plan) => plan,
            Err(refusal) => return Some(*refusal),
        };
        let id = RequestId::mint(&mut self.job_ids);
        self.counters.runs += 1;
        let body = match request.body.is_empty() {
            true => request.query.unwrap_or_default().as_bytes(),
            false => &request.body,
        };
        let ledger = self.ledger.called(self.now, CallWay::Run, &endpoint, id, body);
        let doom = self.fail_next.pop_front().map(Outcome::Failed);
        let backend = plan.backend.clone().filter(|_| doom.is_none());
        let input = match backend.is_some() {
            true => input_for_work(&request),
            false => Bytes::new(),
        };
        let is_doomed =
            doom.is_some() || plan.rule.as_ref().is_some_and(|rule| rule.error.is_some());
        let mut outcome = doom.unwrap_or_else(|| match &backend {
            Some(backend) => Outcome::of(self.check_input(backend, &endpoint, &input)),
            None => self.prepare(&plan, id, &endpoint, &request),
        });
        let is_invalid = !is_doomed && matches!(outcome, Outcome::Failed(_));
        let hint = request.headers.get(platform::RUNNER_HINT);
        // A copy, because a value as received is a slice of the whole head.
        let hint = hint.and_then(|hint| HeaderValue::from_bytes(hint.as_bytes()).ok());
        let door = request.door.into_owned();
        let mut time = plan.pace.run_time;
        // Nothing is queued again here: a call whose runner is lost fails.
        let requeue = plan.rule.as_ref().and_then(|rule| rule.timeline.requeue.first().copied());
        if let Some(after) = requeue.into_iter().chain(plan.lost_after).min()
            && (after < time || backend.is_some())
            && !is_invalid
        {
            outcome = Outcome::Failed(Arc::new(runner_lost()));
            time = after;
        }
        let is_lost = matches!(outcome, Outcome::Failed(_));
        let since = self.now;
        let mut call =
            Call { endpoint, id, since, outcome, door, keep, hint, ledger, plan, work: None };
        if self.config.instant && time.is_zero() && backend.is_none() || is_invalid {
            return Some(self.answer(&call));
        }
        let cold = self.take_runner(call.endpoint.app()).unwrap_or_default();
        app_of(&mut self.apps, call.endpoint.app()).running += 1;
        let is_worked = backend.is_some();
        call.work = backend.map(|backend| {
            let endpoint = call.endpoint.as_str().into();
            let work =
                Work { backend, request_id: id, endpoint, input, attempt: 1, is_stream: false };
            self.begin_call(exchange, work, cold)
        });
        self.open.insert(exchange, Open::Run(Box::new(call)));
        if !is_worked || is_lost {
            self.plan_after(time.saturating_add(cold), Due::Run(exchange));
        }
        None
    }

    /// Whether another call may begin at once.
    pub(crate) fn has_room(&self, app: &str) -> bool {
        self.has_runner(app) && self.open.len() < self.config.exchanges_max
    }

    pub(crate) fn judge(&self, request: &Request<'_>, endpoint: &EndpointId) -> Outcome {
        let (config, name) = (&self.config, endpoint.as_str());
        // Without a body the input stands in the query, which is how the official JavaScript client
        // sends the input of a GET.
        let in_query = request.body.is_empty() && *request.method != http::Method::POST;
        let prepared = if in_query {
            Answer::prepare_query(config, &self.files, name, request.query.unwrap_or_default())
        } else {
            Answer::prepare(config, &self.files, name, &request.body)
        };
        Outcome::of(prepared)
    }

    /// The run time of a call is over.
    pub(crate) fn finish_run(&mut self, exchange: u64) {
        let Some(Open::Run(call)) = self.open.remove(&exchange) else { return };
        let response = self.answer(&call);
        self.out.push_back(Output::Reply { id: exchange, response });
        self.leave_call(&call.endpoint, call.work.as_ref());
    }

    /// The back end of a call has done with it.
    pub(super) fn answer_call(
        &mut self,
        exchange: u64,
        mut call: Box<Call>,
        made: Result<Answer, Failure>,
    ) {
        call.outcome = Outcome::of(made);
        let response = self.answer(&call);
        self.out.push_back(Output::Reply { id: exchange, response });
        self.release(call.endpoint.app());
    }

    fn answer(&mut self, call: &Call) -> Response {
        self.ledger.ended(call.ledger, &call.endpoint, call.outcome.units());
        let mut response = match &call.outcome {
            // Calls are judged when they come in.
            Outcome::Unread => reply::unknown_request(call.id),
            Outcome::Failed(failure) => reply::failure(call.id, failure),
            Outcome::Made(answer) => {
                let time = self.now.saturating_duration_since(call.since);
                let endpoint = call.endpoint.as_str();
                let keep = call.keep.as_ref();
                let lasting = keep.map(|keep| Lasting::new(call.id, keep, self.now, self.now));
                let (files, age) = (&mut self.files, &mut self.age);
                let body = answer.publish(files, age, endpoint, &call.door, time, lasting);
                let mut response = reply::json(StatusCode::OK, call.id, body);
                response
                    .headers_mut()
                    .insert(reply::BILLABLE_UNITS, HeaderValue::from(answer.units()));
                platform::stamp(response.headers_mut(), call.hint.as_ref());
                response
            }
        };
        call.plan.stamp(response.headers_mut());
        response
    }
}

/// The input of a call as JSON, also where it stands in the query.
fn input_for_work(request: &Request<'_>) -> Bytes {
    if !request.body.is_empty() || *request.method == http::Method::POST {
        return request.body.clone();
    }
    let fields = parameters(request.query.unwrap_or_default())
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
    Value::Object(fields.collect()).to_string().into()
}

/// The endpoint whose stream this is, if it is one: `Some(None)` when `/stream` stands there twice, as
/// the Python client writes it for ids that end so already.
pub(super) fn streamed(endpoint: &EndpointId) -> Option<Option<EndpointId>> {
    let path = endpoint.path()?;
    if path != "stream" && !path.ends_with("/stream") {
        return None;
    }
    let base = endpoint.as_str().strip_suffix("/stream")?;
    let is_twice = path == "stream/stream" || path.ends_with("/stream/stream");
    Some(EndpointId::parse(base).ok().filter(|_| !is_twice))
}

/// The runner of a direct call is gone.
pub(super) fn runner_lost() -> Failure {
    let detail = "The runner went away";
    Failure::request_error(StatusCode::SERVICE_UNAVAILABLE, "runner_disconnected", detail)
}

/// All runners are busy, and a direct call does not wait.
///
/// Source: docs.fal.ai, concurrency page, names the type and the header (documented); that it stands
/// in the list form is inferred.
pub(super) fn too_many() -> Failure {
    let msg = "The limit of concurrent requests is reached";
    Failure::model_error(StatusCode::TOO_MANY_REQUESTS, "concurrent_requests_limit", msg)
        .with_header(HeaderName::from_static("x-fal-needs-retry"), HeaderValue::from_static("1"))
}
