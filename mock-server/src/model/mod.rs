//! The service as a machine: no I/O, no clock, no entropy.
//!
//! Call one `handle_*`, then drain [`Model::poll_output`] to [`Output::Wait`]. Same seed and same
//! inputs, same outputs.
//!
//! Moves of a job:
//!
//! | From | Event | To |
//! |---|---|---|
//! | (none) | submit | queued; completed in `instant` mode |
//! | queued | queue time over and a runner free | running; completed if the input is invalid |
//! | queued | start timeout, cancel | completed (failed) |
//! | queued, running | finish or fail by control | completed |
//! | running | run time over | completed |
//! | running | cancel heeded | completed (failed) |
//! | running | requeue by control, or its runner lost by a scenario | queued; completed if its start timeout has passed |
//! | completed | retention over, or evicted | (none) |

mod about;
mod answer;
mod api;
mod auth;
mod catalog;
mod change;
mod config;
mod content;
mod control;
mod detail;
mod endpoint;
mod exchange;
mod failure;
mod feed;
mod files;
mod flight;
mod front;
mod given;
mod id;
mod input;
mod job;
mod jobs;
pub(crate) mod keep;
mod ledger;
mod lifecycle;
mod line;
mod media;
mod plain;
mod plan;
mod platform;
mod queue;
mod realtime;
mod relay;
mod reply;
mod rest;
mod run;
mod script;
mod signer;
mod site;
mod snapshot;
mod spoil;
mod storage;
mod stream;
mod strict;
mod synth;
#[cfg(test)]
mod tests;
mod token;
mod verdict;
mod waits;
mod webhook;
mod work;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fal_protocol::EndpointId;
use fal_protocol::rand::SplitMix64;

pub use catalog::{Catalog, LoadError, Loaded, PricesError};
pub use config::{
    ATTEMPTS_MAX, BODY_BYTES_MAX, CANCEL_TIME, Config, EXCHANGES_MAX, JOBS_MAX,
    LARGE_RESULT_BYTES_MIN, PING_INTERVAL, QUEUE_TIME, RETENTION, RETENTION_LARGE, RUN_TIME,
    SPOOL_BYTES_MAX, STORE_BYTES_MAX, TIME_MAX, TOKEN_TIME, UPLOAD_BYTES_MAX, UPLOAD_TIME_MAX,
};
pub use content::{Piece, Spooled};
pub use control::{Control, Counters, HEADERS_MAX, JobState, JobView, StreamFailure};
pub use detail::{JobDetail, JobRow};
pub use exchange::{Door, Ending, Head, Host, Output, Request, Response, Wire};
pub use failure::Failure;
pub use id::{ParseRequestIdError, RequestId, TenantId};
pub use ledger::{CallWay, ENDPOINTS_MAX, LedgerRow, LedgerSum, OTHERS, Paid, ROWS_MAX, TWIN_TIME};
pub use lifecycle::{Acl, Decision};
pub use realtime::{
    Frame, FrameDraft, INPUT_TIME, INPUTS_WAITING_MAX, MESSAGE_BYTES_MAX, MessageFailure,
    OutputCodec, RealtimeConfig, RealtimeMode, SESSION_TIMEOUT, SESSIONS_MAX, SessionView,
    TokenRefusal,
};
pub use storage::{FileView, PARTS_MAX, UploadFailure, UploadStep};
pub use waits::{Wait, WaitKind};
pub use webhook::{
    DELIVERIES_MAX, DELIVERY_BYTES_MAX, DeliveryAttempt, DeliveryResult, DeliveryState,
    DeliveryView, RETRIES_MAX, RetryProfile, WebhookHosts, WebhookLayout,
};
pub use work::Work;

pub(crate) use api::time::parse as parse_time;
pub(crate) use auth::{KeyDigest, KeyPrint, check as check_key, digest as key_digest};
pub(crate) use catalog::CURRENCY;
pub(crate) use change::Change;
pub(crate) use content::Blob;
pub(crate) use exchange::parameters;
pub(crate) use files::tenant_of as tenant_of_file;
pub(crate) use id::Digest;
pub(crate) use queue::{push_addresses, split_job_path};
pub(crate) use rest::KEY_SET_PATH;
pub(crate) use signer::key_set;
pub(crate) use storage::{Range, is_upload, parse_range, tenant_of_upload_token};
pub(crate) use stream::KEEP_ALIVE;
pub(crate) use token::{PARAMETER as TOKEN_PARAMETER, tenant_of as tenant_of_run_token};
pub(crate) use webhook::check_url as check_webhook_url;
pub(crate) use work::{Made, WorkEvent, files_named, level};

use answer::Answer;
use files::Files;
use flight::Flight;
use job::{Attempt, Job, Outcome, Priority, State};
use jobs::Jobs;
use keep::End;
use line::Line;
use plan::Warm;
use storage::Storage;
use webhook::Deliveries;

use crate::scenario::Play;

/// The service. See the [module](self) for its contract.
#[derive(Debug)]
#[must_use]
pub struct Model {
    config: Config,
    /// The latest instant that anybody has named; time never runs back.
    now: Instant,
    /// An instant, and what the wall clock showed then.
    epoch: (Instant, SystemTime),
    /// Ids of jobs and runs. Apart from those of other answers, so that polling more often does not
    /// change which job gets which id.
    job_ids: SplitMix64,
    other_ids: SplitMix64,
    /// Counts everything that is stored or planned.
    age: u64,
    jobs: Jobs,
    files: Files,
    storage: Storage,
    /// Ids by the paths that named them, so that those of one endpoint are one and the same.
    endpoints: BTreeMap<Box<str>, EndpointId>,
    apps: BTreeMap<Box<str>, App>,
    due: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    /// Exchanges that wait for something.
    open: BTreeMap<u64, Open>,
    /// How the next jobs, runs and model streams shall fail.
    fail_next: VecDeque<Arc<Failure>>,
    /// How the next model streams shall break off.
    break_next: VecDeque<StreamFailure>,
    /// How the next handshakes shall be refused.
    refuse_next: VecDeque<Arc<Failure>>,
    /// What shall come in place of the next outputs of sessions.
    fail_messages: VecDeque<MessageFailure>,
    sessions_open: usize,
    /// Calls that belong to connections of HTTP over WebSocket.
    inner: front::Inner,
    deliveries: Deliveries,
    works: work::Works,
    counters: Counters,
    ledger: ledger::Ledger,
    changes: change::Changes,
    /// The scenario that is being played.
    play: Option<Box<Play>>,
    /// Runners that need no time to start, by app.
    warm: BTreeMap<Box<str>, Warm>,
    /// When the runner of the call is lost that is about to be decided.
    lost_after: Option<Duration>,
    /// Exchanges that the scenario watches.
    flights: BTreeMap<u64, Flight>,
    /// Whether somebody writes down what changes.
    keeping: Option<Box<keep::Keeping>>,
    out: VecDeque<Output>,
    /// How many of them have passed the faults.
    passed: usize,
}

/// What the jobs of one app share. Kept only while somebody waits, runs or watches.
#[derive(Clone, Debug, Default)]
struct App {
    running: usize,
    /// How many of those who wait have a runner that is still starting.
    starting: usize,
    /// Those who wait, by [`Priority`].
    lines: [Line; 2],
    /// Those of them whose queue time is over, in the order in which they may start.
    ready: BTreeSet<(Priority, u64, RequestId)>,
    /// Status streams of waiting jobs: they are told when those ahead leave.
    watchers: BTreeSet<u64>,
}

/// Something that happens by itself. The numbers of jobs are their epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Ready(RequestId, u32),
    StartBy(RequestId, u32),
    Finish(RequestId, u32),
    /// The runner of a job is lost.
    Lose(RequestId, u32),
    /// A runner that was cold has started for a job.
    Warm(RequestId, u32),
    Run(u64),
    /// The runner of a call with a back end has started.
    Begin(u64),
    Stream(u64),
    /// A delivery and its epoch.
    Delivery(u64, u32),
    Feed(u64),
    Late(u64),
    Session(u64),
    /// What was held back in an exchange, or some of it.
    Resume(u64),
}

/// An exchange that waits.
#[derive(Debug)]
enum Open {
    Run(Box<run::Call>),
    Stream(Box<stream::Stream>),
    Feed(Box<feed::Feed>),
    Relay(Box<relay::Relay>),
    /// An answer that a test wants to be late.
    Late(Box<Response>),
    Session(Box<realtime::Session>),
    Front(Box<front::Front>),
}

impl Model {
    /// A service that has just started. `wall` is what log lines show at `now`.
    pub fn new(config: Config, now: Instant, wall: SystemTime) -> Self {
        let config = config.bounded();
        let mut rng = SplitMix64::new(config.seed);
        Self {
            now,
            epoch: (now, wall),
            job_ids: SplitMix64::new(rng.next_u64()),
            other_ids: SplitMix64::new(rng.next_u64()),
            age: 0,
            endpoints: BTreeMap::new(),
            jobs: Jobs::default(),
            files: Files::default(),
            storage: Storage::default(),
            apps: BTreeMap::new(),
            due: BinaryHeap::new(),
            open: BTreeMap::new(),
            fail_next: VecDeque::new(),
            break_next: VecDeque::new(),
            refuse_next: VecDeque::new(),
            fail_messages: VecDeque::new(),
            sessions_open: 0,
            inner: front::Inner::default(),
            deliveries: Deliveries::default(),
            works: work::Works::default(),
            counters: Counters::default(),
            ledger: ledger::Ledger::default(),
            changes: change::Changes::default(),
            play: config
                .scenario
                .clone()
                .map(|scenario| Box::new(Play::new(scenario, config.seed))),
            warm: BTreeMap::new(),
            lost_after: None,
            flights: BTreeMap::new(),
            passed: 0,
            keeping: None,
            out: VecDeque::new(),
            config,
        }
    }

    /// What it was started with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A request has arrived whole. `id` names its exchange in the outputs and must be new; numbers from
    /// 2⁶³ on are the model's own where HTTP over WebSocket is used.
    ///
    /// A body that is kept should not be a small slice of a large buffer, which would be kept as well.
    pub fn handle_request(&mut self, now: Instant, id: u64, request: Request<'_>) {
        self.advance(now);
        if self.meet(id, &request, false) {
            return self.settle(now);
        }
        let response = match request.host {
            Host::Queue => self.queue(id, request),
            Host::Run => self.run(id, request),
            Host::Rest => self.rest(id, &request),
            Host::Cdn | Host::Gcs => self.cdn(id, &request),
            Host::Api => Some(self.api(&request)),
            Host::Site => Some(self.site(&request)),
            Host::Ws => Some(self.no_upgrade("ws.fal.run")),
        };
        if let Some(response) = response {
            self.out.push_back(Output::Reply { id, response });
        }
        self.lost_after = None;
        self.settle(now);
    }

    /// The peer of an exchange has gone away: its sync run or model stream is cancelled, its status
    /// stream forgotten, its session over.
    ///
    /// A queued job goes on. Exchanges that are over or unknown change nothing.
    pub fn handle_gone(&mut self, now: Instant, id: u64) {
        self.advance(now);
        self.flights.remove(&id);
        self.gone(id);
        self.settle(now);
    }

    fn gone(&mut self, id: u64) {
        match self.open.remove(&id) {
            Some(Open::Run(call)) => {
                self.counters.runs_abandoned += 1;
                self.ledger.ended(call.ledger, &call.endpoint, None);
                self.leave_call(&call.endpoint, call.work.as_ref());
            }
            Some(Open::Relay(relay)) => {
                self.counters.model_streams_abandoned += 1;
                self.ledger.ended(relay.ledger, &relay.endpoint, None);
                self.leave_call(&relay.endpoint, relay.work.as_ref());
            }
            Some(Open::Feed(feed)) => {
                self.counters.model_streams_abandoned += 1;
                self.ledger.ended(feed.ledger, &feed.endpoint, None);
                self.release(feed.endpoint.app());
            }
            Some(Open::Stream(stream)) => self.unwatch(id, &stream),
            Some(Open::Session(session)) => self.session_gone(&session),
            Some(Open::Front(front)) => self.front_gone(&front),
            Some(Open::Late(_)) | None => {}
        }
    }

    /// The instant of [`Output::Wait`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// What to do next; [`Output::Wait`] when drained.
    #[must_use]
    pub fn poll_output(&mut self) -> Output {
        self.passed = self.passed.saturating_sub(1);
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.next_due() })
    }

    /// Lets it know more models and prices.
    pub(crate) fn add_to_catalog(&mut self, more: &Catalog) {
        Arc::make_mut(&mut self.config.catalog).merge(more.clone());
    }

    /// Whether something was said that nobody has taken yet.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// The latest instant that anybody has named.
    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let event = self.due.peek().map(|Reverse((at, ..))| *at);
        event.into_iter().chain(self.jobs.next_expiry()).chain(self.files.next_expiry()).min()
    }

    /// Lets everything happen that follows from an input: what is due, what takes no time, and what the
    /// lack of room sets free.
    fn settle(&mut self, now: Instant) {
        loop {
            self.advance(now);
            self.relay();
            self.shrink();
            self.pass_outputs();
            if self.next_due().is_none_or(|at| at > self.now) {
                break;
            }
        }
    }

    /// Lets everything happen that is due, each at its own instant and not at `now`.
    fn advance(&mut self, now: Instant) {
        let now = now.max(self.now);
        while let Some(Reverse((at, _, event))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            self.now = self.now.max(at);
            match event {
                Due::Ready(id, epoch) => self.ready(id, epoch),
                Due::StartBy(id, epoch) => {
                    if self.is_current(id, epoch) {
                        self.fail(id, Arc::new(Failure::start_timeout()));
                    }
                }
                Due::Finish(id, epoch) => {
                    if self.is_current(id, epoch) {
                        self.finish(id);
                    }
                }
                Due::Lose(id, epoch) => {
                    if self.is_current(id, epoch) {
                        self.requeue(id, false, Duration::ZERO);
                    }
                }
                Due::Warm(id, epoch) => self.warmed(id, epoch),
                Due::Run(exchange) => self.finish_run(exchange),
                Due::Begin(exchange) => self.call_warmed(exchange),
                Due::Delivery(number, epoch) => self.delivery_due(number, epoch),
                Due::Stream(exchange) => self.stream_due(exchange, at),
                Due::Feed(exchange) => self.feed_due(exchange, at),
                Due::Late(exchange) => self.late_due(exchange),
                Due::Session(exchange) => self.session_due(exchange, at),
                Due::Resume(exchange) => self.resume(exchange),
            }
            self.relay();
            self.pass_outputs();
        }
        self.now = now;
        while let Some(id) = self.jobs.expire_one(now) {
            self.note_job_gone(id);
        }
        self.files.expire(now);
    }

    fn plan(&mut self, at: Instant, event: Due) {
        // Start timeouts of jobs that have long started stay in the heap: sweep before they dominate.
        let live = self.jobs.len() + self.open.len() + self.deliveries.len() + self.flights.len();
        if self.due.len() > 4 * live + DUE_SWEEP_MIN {
            let (jobs, open, deliveries) = (&self.jobs, &self.open, &self.deliveries);
            let flights = &self.flights;
            let current = |id, epoch| jobs.get(id).is_some_and(|job: &Job| job.epoch == epoch);
            self.due.retain(|Reverse((at, _, event))| match event {
                Due::Ready(id, epoch)
                | Due::StartBy(id, epoch)
                | Due::Finish(id, epoch)
                | Due::Lose(id, epoch)
                | Due::Warm(id, epoch) => current(*id, *epoch),
                Due::Delivery(number, epoch) => deliveries.is_current(*number, *epoch),
                Due::Run(exchange)
                | Due::Begin(exchange)
                | Due::Stream(exchange)
                | Due::Feed(exchange)
                | Due::Late(exchange) => open.contains_key(exchange),
                Due::Resume(exchange) => flights.contains_key(exchange),
                Due::Session(exchange) => {
                    matches!(open.get(exchange), Some(Open::Session(session)) if session.is_due(*at))
                }
            });
        }
        self.age += 1;
        self.due.push(Reverse((at, self.age, event)));
    }

    /// The same after a time; a time beyond what the clock can say never comes.
    fn plan_after(&mut self, time: Duration, event: Due) {
        if let Some(at) = self.now.checked_add(time) {
            self.plan(at, event);
        }
    }

    fn is_current(&self, id: RequestId, epoch: u32) -> bool {
        self.jobs.get(id).is_some_and(|job| job.epoch == epoch)
    }

    /// Puts a job that is in the table at the end of its line, where it waits this long at least.
    fn enqueue(&mut self, id: RequestId, rest: Duration) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let app = app_of(&mut self.apps, job.endpoint.app());
        let ticket = app.lines[job.priority as usize].join();
        job.state = State::Queued { since: self.now, ticket };
        job.epoch += 1;
        let (epoch, start_by, queue_time) = (job.epoch, job.start_by, job.plan.pace.queue_time);
        self.plan_after(queue_time.max(rest), Due::Ready(id, epoch));
        if let Some(at) = start_by {
            self.plan(at, Due::StartBy(id, epoch));
        }
        self.changed(id);
    }

    /// The queue time of a job is over.
    fn ready(&mut self, id: RequestId, epoch: u32) {
        let Some(job) = self.jobs.get(id).filter(|job| job.epoch == epoch) else { return };
        let State::Queued { ticket, .. } = job.state else { return };
        let (endpoint, priority) = (job.endpoint.clone(), job.priority);
        app_of(&mut self.apps, endpoint.app()).ready.insert((priority, ticket, id));
        self.start_ready(endpoint.app());
    }

    /// Starts whoever may, while runners are free.
    fn start_ready(&mut self, name: &str) {
        let mut started = false;
        while self.has_runner(name) {
            let Some(app) = self.apps.get_mut(name) else { break };
            let Some((_, _, id)) = app.ready.pop_first() else { break };
            if let Some(time) = self.take_runner(name) {
                app_of(&mut self.apps, name).starting += 1;
                let Some(job) = self.jobs.get_mut(id) else { continue };
                job.is_starting = true;
                let event = Due::Warm(id, job.epoch);
                self.plan_after(time, event);
                continue;
            }
            started = true;
            self.start(id);
        }
        if started {
            self.line_moved(name);
        }
        self.drop_idle(name);
    }

    /// Starts a queued job; an invalid input ends it on the spot.
    fn start(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        let before = job.bytes();
        let prepared = self.prepare_job(id, job);
        self.leave_line(id);
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.epoch += 1;
        let run = Attempt { since: self.now, until: self.now };
        let (doomed, is_worked) = (job.doom.is_some(), job.plan.backend.is_some());
        match prepared {
            Err(failure) if !doomed => {
                let outcome = Outcome::Failed(Arc::new(failure));
                let endpoint = job.endpoint.clone();
                self.complete(id, before, Some(run), outcome);
                self.leave_runner(endpoint.app());
            }
            prepared => {
                // What is doomed anyway may have any input; its answer is never read.
                let answer = prepared.unwrap_or_else(|_| Answer::empty());
                job.state = State::Running { since: self.now, answer: Arc::new(answer) };
                let (epoch, after, run_time) = (job.epoch, job.bytes(), job.plan.pace.run_time);
                self.jobs.recount(before, after);
                if let Some(job) = self.jobs.get(id) {
                    app_of(&mut self.apps, job.endpoint.app()).running += 1;
                }
                if is_worked && !doomed {
                    self.begin_work(id);
                } else {
                    self.plan_after(run_time, Due::Finish(id, epoch));
                }
                self.plan_loss(id);
                self.changed(id);
            }
        }
    }

    /// Ends a running job as it was bound to end: doomed, cancelled or well.
    fn finish(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        let State::Running { since, answer } = &job.state else { return };
        let outcome = match &job.doom {
            Some(failure) => Outcome::Failed(Arc::clone(failure)),
            None => Outcome::Made(Arc::clone(answer)),
        };
        let run = Attempt { since: *since, until: self.now };
        self.end(id, Some(run), outcome);
    }

    /// Ends a queued or running job as failed.
    fn fail(&mut self, id: RequestId, failure: Arc<Failure>) {
        let run = match self.jobs.get(id).map(|job| &job.state) {
            Some(State::Queued { .. }) => None,
            Some(State::Running { since, .. }) => Some(Attempt { since: *since, until: self.now }),
            Some(State::Done { .. }) | None => return,
        };
        self.end(id, run, Outcome::Failed(failure));
    }

    /// Ends a job and gives its place to the next one.
    fn end(&mut self, id: RequestId, run: Option<Attempt>, outcome: Outcome) {
        let Some(job) = self.jobs.get(id) else { return };
        let (before, endpoint) = (job.bytes(), job.endpoint.clone());
        let was_running = matches!(job.state, State::Running { .. });
        if was_running {
            if self.vacate(id) {
                self.leave_runner(endpoint.app());
            }
        } else {
            self.leave_line(id);
            self.line_moved(endpoint.app());
        }
        self.complete(id, before, run, outcome);
        self.start_ready(endpoint.app());
    }

    /// Writes down the end of a job that neither waits nor runs any more.
    fn complete(&mut self, id: RequestId, before: usize, run: Option<Attempt>, outcome: Outcome) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.epoch += 1;
        let large = outcome.bytes() >= LARGE_RESULT_BYTES_MIN;
        self.ledger.ended(job.ledger, &job.endpoint, outcome.units());
        job.state = State::Done { run, outcome };
        job.ended = Some(self.now);
        let (after, age) = (job.bytes(), job.age);
        self.jobs.recount(before, after);
        self.retain(id, age, large);
        self.changed(id);
        self.announce(id);
    }

    /// Keeps a finished job for its time.
    fn retain(&mut self, id: RequestId, job_age: u64, is_large: bool) {
        self.counters.completed += 1;
        let retention = if is_large { self.config.retention_large } else { self.config.retention };
        self.age += 1;
        let until = self.now.checked_add(retention);
        self.jobs.finish(id, job_age, End { until, is_large, age: self.age });
    }

    /// Takes a queued job out of its line.
    fn leave_line(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let State::Queued { ticket, .. } = job.state {
            let app = app_of(&mut self.apps, job.endpoint.app());
            app.starting -= usize::from(std::mem::take(&mut job.is_starting));
            app.lines[job.priority as usize].leave(ticket);
            app.ready.remove(&(job.priority, ticket, id));
        }
    }

    /// Frees a runner.
    fn release(&mut self, name: &str) {
        app_of(&mut self.apps, name).running -= 1;
        self.leave_runner(name);
        self.start_ready(name);
    }

    /// Forgets an app that nobody uses, so that endpoint names do not pile up.
    fn drop_idle(&mut self, name: &str) {
        let idle = |app: &App| {
            app.running == 0
                && app.lines.iter().all(|line| line.len() == 0)
                && app.watchers.is_empty()
        };
        if self.apps.get(name).is_some_and(idle) {
            self.apps.remove(name);
        }
    }

    /// Evicts the oldest until everything fits, finished jobs and files before unfinished jobs.
    fn shrink(&mut self) {
        while self.jobs.len() > self.config.jobs_max {
            if self.jobs.oldest_finished().is_some() {
                self.evict_finished();
            } else {
                self.evict_unfinished();
            }
            self.counters.evicted += 1;
        }
        while self.jobs.bytes() + self.files.bytes() > self.config.store_bytes_max {
            match (self.jobs.oldest_finished(), self.files.oldest()) {
                (Some(job), file) if file.is_none_or(|file| job < file) => self.evict_finished(),
                (_, Some(_)) => self.files.remove_oldest(),
                _ if self.jobs.len() > 0 => self.evict_unfinished(),
                _ => break,
            }
            self.counters.evicted += 1;
        }
        while self.files.spooled_bytes() > self.config.spool_bytes_max
            && self.files.remove_oldest_spooled()
        {
            self.counters.evicted += 1;
        }
    }

    fn evict_finished(&mut self) {
        if let Some(id) = self.jobs.remove_oldest_finished() {
            self.note_job_gone(id);
        }
    }

    fn evict_unfinished(&mut self) {
        let Some(id) = self.jobs.oldest_unfinished() else { return };
        let Some(job) = self.jobs.get(id) else { return };
        let endpoint = job.endpoint.clone();
        if matches!(job.state, State::Running { .. }) {
            self.vacate(id);
        }
        self.leave_line(id);
        if let Some(job) = self.jobs.remove_unfinished(id) {
            self.note_job_gone(id);
            for exchange in job.streams {
                self.open.remove(&exchange);
                app_of(&mut self.apps, endpoint.app()).watchers.remove(&exchange);
                self.out.push_back(Output::Cut { id: exchange });
            }
        }
        self.line_moved(endpoint.app());
        self.start_ready(endpoint.app());
    }

    /// What a clock on the wall shows at an instant.
    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        let (start, wall) = self.epoch;
        wall + at.saturating_duration_since(start)
    }

    fn mint_other(&mut self) -> RequestId {
        RequestId::mint(&mut self.other_ids)
    }
}

/// The entry of an app, made if need be.
fn app_of<'a>(apps: &'a mut BTreeMap<Box<str>, App>, name: &str) -> &'a mut App {
    if !apps.contains_key(name) {
        apps.insert(name.into(), App::default());
    }
    apps.get_mut(name).expect("just inserted")
}

/// Below this many planned events nothing is swept.
const DUE_SWEEP_MIN: usize = 1024;
