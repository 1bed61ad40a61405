//! What a scenario decides about calls: their pace, their end, and whether they may be made at all.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fal_protocol::EndpointId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::answer::Answer;
use super::exchange::{Request, Response, parameters};
use super::failure::Failure;
use super::flight::Flight;
use super::given::Given;
use super::id::RequestId;
use super::job::Outcome;
use super::{Due, Model, reply};
use crate::scenario::{
    Backend, Facts, Input, LogLine, Operation, Output, Play, PlayView, Rule, Scenario,
};

/// How long a call waits and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) queue_time: Duration,
    pub(crate) run_time: Duration,
}

/// What was decided about a call.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rule: Option<Arc<Rule>>,
    pub(crate) pace: Pace,
    /// What the run writes, in place of the usual lines.
    pub(crate) logs: Option<Arc<[LogLine]>>,
    /// When the runner of the first attempt is lost.
    pub(crate) lost_after: Option<Duration>,
    /// Who does the work, if outputs are not made up.
    pub(crate) backend: Option<Arc<Backend>>,
}

/// Warm runners of an app that nobody uses: until when they are. `None` is for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warm(Vec<Option<Instant>>);

impl Model {
    /// Plays a scenario from its start, or none. What was decided before stays so.
    pub fn set_scenario(&mut self, scenario: Option<Arc<Scenario>>) {
        self.config.scenario.clone_from(&scenario);
        self.play = scenario.map(|scenario| Box::new(Play::new(scenario, self.config.seed)));
        self.warm.clear();
        self.flights.values_mut().for_each(Flight::forget);
    }

    /// What can be seen of the scenario that is being played.
    #[must_use]
    pub fn play_view(&self) -> Option<PlayView> {
        self.play.as_ref().map(|play| play.view(|at| self.wall(at)))
    }

    /// Decides how a call goes; refuses it where every call needs a rule and none fits.
    pub(crate) fn plan_call(
        &mut self,
        operation: Operation,
        request: &Request<'_>,
        endpoint: &EndpointId,
    ) -> Result<Plan, Box<Response>> {
        let config = &self.config;
        let mut pace = match config.instant {
            true => Pace { queue_time: Duration::ZERO, run_time: Duration::ZERO },
            false => Pace { queue_time: config.queue_time, run_time: config.run_time },
        };
        let lost_after = self.lost_after.take();
        let Some(play) = &mut self.play else {
            if config.isolated {
                return Err(Box::new(self.uncovered(operation, endpoint, "")));
            }
            return Ok(Plan { rule: None, pace, logs: None, lost_after, backend: None });
        };
        let name = endpoint.as_str();
        let input = input_of(request);
        let facts = Facts {
            operation,
            endpoint: name,
            headers: request.headers,
            input: &input,
            state: None,
        };
        let rule = play.rule(self.now, &facts);
        let backend = backend_of(play, rule.as_deref(), name);
        if rule.is_none() && config.isolated && backend.is_none() {
            let nearest = nearest(play, &facts);
            return Err(Box::new(self.uncovered(operation, endpoint, &nearest)));
        }
        if backend.is_some() {
            // It takes what it takes.
            pace = Pace { queue_time: Duration::ZERO, run_time: Duration::ZERO };
        }
        let timeline = rule.as_ref().map(|rule| &rule.timeline);
        let of_rule = timeline.and_then(|timeline| timeline.queue_time);
        let of_app = || play.of_endpoint(name, |app| app.queue_time);
        pace.queue_time = of_rule.or_else(of_app).unwrap_or(pace.queue_time);
        let of_rule = timeline.and_then(|timeline| timeline.run_time);
        let of_app = || play.of_endpoint(name, |app| app.run_time);
        pace.run_time = of_rule.or_else(of_app).unwrap_or(pace.run_time);
        let logs = timeline.and_then(|timeline| timeline.logs(pace.run_time));
        Ok(Plan { rule, pace, logs, lost_after, backend })
    }

    fn uncovered(
        &mut self,
        operation: Operation,
        endpoint: &EndpointId,
        nearest: &str,
    ) -> Response {
        let detail = no_rule(operation, endpoint, nearest);
        reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), &detail)
    }

    /// The rule that decides about an input of a session, or why it must not be answered.
    pub(super) fn plan_input(
        &mut self,
        endpoint: &EndpointId,
        headers: &HeaderMap,
        input: &Value,
    ) -> Result<Option<Arc<Rule>>, String> {
        let operation = Operation::Realtime;
        let Some(play) = &mut self.play else {
            return match self.config.isolated {
                true => Err(no_rule(operation, endpoint, "")),
                false => Ok(None),
            };
        };
        let (name, input) = (endpoint.as_str(), Input::of(input.clone()));
        let facts = Facts { operation, endpoint: name, headers, input: &input, state: None };
        match play.rule(self.now, &facts) {
            None if self.config.isolated => {
                Err(no_rule(operation, endpoint, &nearest(play, &facts)))
            }
            rule => Ok(rule),
        }
    }

    /// What comes of a call: as its rule says, else as its input does.
    pub(crate) fn prepare(
        &self,
        plan: &Plan,
        id: RequestId,
        endpoint: &EndpointId,
        request: &Request<'_>,
    ) -> Outcome {
        match &plan.rule {
            Some(rule) if rule.error.is_some() => match &rule.error {
                Some(failure) => Outcome::Failed(Arc::clone(failure)),
                None => Outcome::Unread,
            },
            Some(rule) if rule.output != Output::Synthesised => {
                Outcome::of(self.given(rule, id, endpoint.as_str(), request.body.clone()))
            }
            _ => self.judge(request, endpoint),
        }
    }

    /// What a rule gives, if the model's document takes the input. Without a document any input will do.
    pub(crate) fn given(
        &self,
        rule: &Arc<Rule>,
        id: RequestId,
        endpoint: &str,
        input: bytes::Bytes,
    ) -> Result<Answer, Failure> {
        if self.config.catalog.document(endpoint).is_some() {
            Answer::prepare(&self.config, &self.files, endpoint, &input)?;
        }
        Ok(Answer::Given(Box::new(Given::new(Arc::clone(rule), id, self.config.tenant, input))))
    }

    /// How many jobs of an app run at once.
    pub(crate) fn runners(&self, app: &str) -> Option<usize> {
        let of_app = self.play.as_ref().and_then(|play| play.of_app(app, |app| app.runners));
        // A back end of whom nothing is said does one thing after the other.
        let alone = || {
            let play = self.play.as_ref()?;
            play.of_app(app, |app| app.backend.as_ref().map(|_| 1))
        };
        of_app.or_else(alone).or(self.config.runners)
    }

    /// Whether another runner of an app may be taken.
    pub(crate) fn has_runner(&self, app: &str) -> bool {
        let busy = self.apps.get(app).map_or(0, |app| app.running + app.starting);
        self.runners(app).is_none_or(|runners| busy < runners)
    }

    /// How long a runner of an app takes to start, unless a warm one is there, which is taken.
    pub(crate) fn take_runner(&mut self, app: &str) -> Option<Duration> {
        let play = self.play.as_ref()?;
        let time = play.of_app(app, |app| app.cold_start).filter(|time| !time.is_zero())?;
        if let Some(Warm(warm)) = self.warm.get_mut(app) {
            warm.retain(|until| until.is_none_or(|until| until > self.now));
            let taken = warm.pop();
            if warm.is_empty() {
                self.warm.remove(app);
            }
            if taken.is_some() {
                return None;
            }
        }
        Some(time)
    }

    /// A runner of an app is free again, and stays warm for a while.
    pub(crate) fn leave_runner(&mut self, app: &str) {
        let Some(play) = &self.play else { return };
        if play.of_app(app, |app| app.cold_start).is_none() {
            return;
        }
        let until = match play.of_app(app, |app| app.keep_alive) {
            Some(time) => self.now.checked_add(time),
            None => None,
        };
        if self.warm.len() >= WARM_APPS_MAX && !self.warm.contains_key(app) {
            self.warm.pop_first();
        }
        let Warm(warm) = self.warm.entry(app.into()).or_default();
        if warm.len() < WARM_RUNNERS_MAX {
            warm.push(until);
        }
    }

    /// A runner that was cold has started.
    pub(super) fn warmed(&mut self, id: RequestId, epoch: u32) {
        let Some(job) = self.jobs.get(id).filter(|job| job.epoch == epoch) else { return };
        let endpoint = job.endpoint.clone();
        self.start(id);
        self.line_moved(endpoint.app());
        // A job whose input is invalid is over already, and its runner free.
        self.start_ready(endpoint.app());
    }

    /// Plans the loss of the runner of a job that has just started.
    pub(super) fn plan_loss(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        let attempt = job.past.len();
        let planned = job.plan.rule.as_ref().and_then(|rule| rule.timeline.requeue.get(attempt));
        let chance = job.plan.lost_after.filter(|_| attempt == 0);
        let after = planned.copied().into_iter().chain(chance).min();
        let (run_time, epoch) = (job.plan.pace.run_time, job.epoch);
        let is_worked = job.plan.backend.is_some();
        if let Some(after) = after.filter(|after| is_worked || *after < run_time) {
            self.plan_after(after, Due::Lose(id, epoch));
        }
    }
}

impl Plan {
    /// Tells an answer's reader which rule decided.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        if let Some(rule) = &self.rule
            && let Ok(name) = HeaderValue::from_str(&rule.name)
        {
            headers.insert(RULE, name);
        }
    }

    /// Whether the call is over at once, although a job could wait and run.
    pub(crate) fn is_instant(&self) -> bool {
        let has_losses = self.rule.as_ref().is_some_and(|rule| !rule.timeline.requeue.is_empty());
        self.backend.is_none()
            && self.pace.queue_time.is_zero()
            && self.pace.run_time.is_zero()
            && !has_losses
    }

    /// Queue positions, one after the other.
    pub(crate) fn positions(&self) -> &[usize] {
        let given = self.rule.as_ref().and_then(|rule| rule.timeline.positions.as_deref());
        given.unwrap_or(&POSITIONS)
    }
}

/// Which rules would nearly have decided.
fn nearest(play: &Play, facts: &Facts<'_>) -> String {
    let mut nearest = String::new();
    for miss in play.nearest(facts) {
        let lead = if nearest.is_empty() { ". Nearest: " } else { "; " };
        let _ = write!(nearest, "{lead}{miss}");
    }
    nearest
}

fn no_rule(operation: Operation, endpoint: &EndpointId, nearest: &str) -> String {
    format!("No rule of the scenario covers this {operation} of {endpoint}{nearest}")
}

/// Who does the work of a call: nobody where a rule says what comes of it.
pub(super) fn backend_of(play: &Play, rule: Option<&Rule>, endpoint: &str) -> Option<Arc<Backend>> {
    let is_open = |rule: &Rule| rule.error.is_none() && rule.output == Output::Synthesised;
    match rule.is_none_or(is_open) {
        true => play.of_endpoint(endpoint, |app| app.backend.clone()),
        false => None,
    }
}

/// The input of a call: its body, or its query where there is none.
pub(crate) fn input_of<'a>(request: &'a Request<'_>) -> Input<'a> {
    match request.query {
        Some(query) if request.body.is_empty() => {
            let field = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
                (name.into_owned(), Value::String(value.into_owned()))
            };
            Input::of(Value::Object(parameters(query).map(field).collect()))
        }
        _ => Input::new(&request.body),
    }
}

/// The rule that decided about a call.
pub(crate) const RULE: HeaderName = HeaderName::from_static("x-fal-mock-rule");

/// Without anybody ahead a job shows these during its queue time.
const POSITIONS: [usize; 3] = [2, 1, 0];

/// Apps whose warm runners are remembered.
const WARM_APPS_MAX: usize = 10_000;

/// Warm runners of one app.
const WARM_RUNNERS_MAX: usize = 1000;
