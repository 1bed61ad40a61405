use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fal_mock::model::{self, Control, Model};
use fal_protocol::auth::Key;
use fal_protocol::error::{Aftermath, Error, ErrorKind};
use fal_protocol::queue::{
    Event, Finished, Handle, LogLine, Status, SubmitConfig, Subscribe, SubscribeConfig,
};
use fal_protocol::wire::{Body, ExchangeId, Expect, Failure, FailureKind, Head, Request, Response};
use fal_protocol::{Output, Settings};
use http::{HeaderMap, Method, StatusCode, header};

use super::Rules;
use super::plan::{Exchange, Fault, Plan};

/// How a subscribe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With the result.
    Result,
    /// With an error.
    Error,
    /// Not at all.
    Never,
}

/// What came of one world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Jobs that the service accepted.
    pub jobs: u64,
    /// How the subscribe ended.
    pub ending: Ending,
    /// A job was accepted, and the end neither names it nor says that one may exist.
    pub is_lost: bool,
    /// Promises of this client that were broken, in words.
    pub problems: Vec<String>,
    /// Everything that the client said, in order: two runs of one plan agree on it.
    pub said: Vec<String>,
}

/// Plays one world to its end.
#[must_use]
pub fn run(plan: &Plan, rules: Rules) -> Report {
    let mut world = World::new(plan, rules);
    for _ in 0..STEPS_MAX {
        if world.done.is_some() || !world.step() {
            break;
        }
    }
    world.settle();
    world.report(rules)
}

struct World {
    plan: Plan,
    /// What the numbers of this client's exchanges are above those of the client before it.
    base: u64,
    start: Instant,
    now: Instant,
    client: Subscribe,
    client_until: Option<Instant>,
    model: Model,
    model_until: Option<Instant>,
    mail: BinaryHeap<Reverse<(Instant, u64)>>,
    letters: BTreeMap<u64, Letter>,
    written: u64,
    /// What becomes of the exchanges that the client has begun, by their number from 1.
    ways: BTreeMap<u64, Way>,
    down_until: Instant,
    events: Vec<Event>,
    done: Option<Result<Finished, Error>>,
    ended: Instant,
    said: Vec<String>,
}

struct Way {
    exchange: Exchange,
    /// Events of a stream that have been passed on.
    events: u32,
    /// Nothing more comes through.
    is_cut: bool,
    /// When the last letter to the client arrives: letters of one connection do not overtake.
    last: Instant,
}

/// Something on its way.
enum Letter {
    Request(ExchangeId, Box<Request>),
    Gone(ExchangeId),
    Response(ExchangeId, Response),
    Failure(ExchangeId, Failure),
    Head(ExchangeId, Head),
    Chunk(ExchangeId, Bytes),
    End(ExchangeId),
    Cancel,
    Restart(Duration),
    Requeue,
}

impl World {
    fn new(plan: &Plan, rules: Rules) -> Self {
        let start = epoch();
        let settings = Arc::new(settings(rules));
        let mut model_config = model::Config::default();
        model_config.seed = plan.seed;
        model_config.run_time = plan.run_time;
        let mut model = Model::new(model_config, start, SystemTime::UNIX_EPOCH);
        if plan.is_failing {
            model.handle_control(start, Control::FailNext(broken()));
        }
        let endpoint = "acme/paint".parse().expect("an endpoint id");
        let submit = SubmitConfig::new(endpoint, Bytes::from_static(br#"{"prompt":"a cat"}"#));
        let mut config = SubscribeConfig::default();
        config.watch.stream = plan.streams;
        config.deadline = plan.deadline.map(|deadline| start + deadline);
        let client = Subscribe::new(start, plan.seed, &settings, submit, config)
            .expect("nothing in this call is impossible");
        let mut world = Self {
            plan: plan.clone(),
            base: 0,
            start,
            now: start,
            client,
            client_until: None,
            model,
            model_until: None,
            mail: BinaryHeap::new(),
            letters: BTreeMap::new(),
            written: 0,
            ways: BTreeMap::new(),
            down_until: start,
            events: Vec::new(),
            done: None,
            ended: start,
            said: Vec::new(),
        };
        for (at, outage) in &plan.restarts {
            world.post(start + *at, Letter::Restart(*outage));
        }
        for at in &plan.requeues {
            world.post(start + *at, Letter::Requeue);
        }
        if let Some(at) = plan.cancel {
            world.post(start + at, Letter::Cancel);
        }
        world.drain_model();
        world.drain_client();
        world
    }

    /// Lets the next thing happen; false when nothing ever will.
    fn step(&mut self) -> bool {
        let mail = self.mail.peek().map(|Reverse((at, _))| *at);
        let Some(next) = [mail, self.model_until, self.client_until].into_iter().flatten().min()
        else {
            return false;
        };
        self.now = self.now.max(next);
        if mail.is_some_and(|at| at <= self.now) {
            let Some(Reverse((_, number))) = self.mail.pop() else { return false };
            if let Some(letter) = self.letters.remove(&number) {
                self.deliver(letter);
            }
        } else if self.model_until.is_some_and(|until| until <= self.now) {
            self.model.handle_timeout(self.now);
        } else {
            self.client.handle_timeout(self.now);
        }
        self.drain_model();
        self.drain_client();
        true
    }

    /// What was on its way when the client ended still arrives: a job may come to exist after the end.
    fn settle(&mut self) {
        while let Some(Reverse((at, number))) = self.mail.pop() {
            self.now = self.now.max(at);
            if let Some(letter @ (Letter::Request(..) | Letter::Gone(_))) =
                self.letters.remove(&number)
            {
                self.deliver(letter);
                self.drain_model();
            }
        }
    }

    /// Another client goes on with the job later, over a network without faults.
    fn resume(&mut self, handle: Handle) {
        for number in self.ways.keys() {
            self.model.handle_gone(self.now, self.base + number);
        }
        self.base += EXCHANGES_MAX;
        self.ways.clear();
        self.plan.exchanges.clear();
        self.down_until = self.now;
        self.done = None;
        let (config, settings) = (SubscribeConfig::default(), settings(Rules::Default));
        self.client =
            Subscribe::attach(self.now, self.plan.seed, &Arc::new(settings), handle, config)
                .expect("the handle was good before");
        self.drain_model();
        self.drain_client();
        for _ in 0..STEPS_MAX {
            if self.done.is_some() || !self.step() {
                break;
            }
        }
    }

    fn deliver(&mut self, letter: Letter) {
        let now = self.now;
        match letter {
            Letter::Request(id, request) => self.arrive(id, &request),
            Letter::Gone(id) => self.model.handle_gone(now, self.base + id.number()),
            Letter::Response(id, response) => self.client.handle_response(now, id, response),
            Letter::Failure(id, failure) => self.client.handle_failure(now, id, failure),
            Letter::Head(id, head) => self.client.handle_head(now, id, &head),
            Letter::Chunk(id, chunk) => self.client.handle_chunk(now, id, chunk),
            Letter::End(id) => self.client.handle_end(now, id),
            Letter::Cancel => self.client.handle_cancel(now),
            Letter::Restart(outage) => {
                self.down_until = now + outage;
                self.model.handle_control(now, Control::Restart);
            }
            Letter::Requeue => {
                for job in self.model.jobs() {
                    let request_id = job.request_id;
                    self.model.handle_control(now, Control::Requeue { request_id });
                }
            }
        }
    }

    /// A request reaches the service.
    fn arrive(&mut self, id: ExchangeId, request: &Request) {
        let host = match request.uri.host() {
            Some("queue.fal.run" | "queue.falrun.com") => model::Host::Queue,
            _ => model::Host::Run,
        };
        let body = match &request.body {
            Body::Bytes(bytes) => bytes.clone(),
            _ => Bytes::new(),
        };
        let asked =
            model::Request::new(&request.method, host, request.uri.path(), &request.headers)
                .with_query(request.uri.query())
                .with_body(body);
        self.model.handle_request(self.now, self.base + id.number(), asked);
    }

    fn drain_client(&mut self) {
        loop {
            let output = self.client.poll_output();
            if let Output::Wait { until } = output {
                self.client_until = until;
                return;
            }
            self.said.push(format!("{:?} {output:?}", self.now - self.start));
            match output {
                Output::Send { id, request } => self.send(id, request),
                Output::Abort { id } => {
                    let way = self.ways.get(&id.number()).map(|way| way.exchange.there);
                    self.post(self.now + way.unwrap_or_default(), Letter::Gone(id));
                }
                Output::Event(event) => self.events.push(event),
                Output::Done(result) => {
                    self.ended = self.now;
                    self.done = Some(result);
                }
                // A queue has no WebSockets.
                Output::Message { .. } | Output::Wait { .. } => {}
            }
        }
    }

    fn send(&mut self, id: ExchangeId, request: Request) {
        let exchange = self.plan.exchange(self.ways.len());
        let Exchange { fault, there, back } = exchange;
        let (arrival, return_at) = (self.now + there, self.now + there + back);
        let way = Way { exchange, events: 0, is_cut: false, last: return_at };
        self.ways.insert(id.number(), way);
        let is_down = self.now < self.down_until;
        let mut passes = !is_down;
        match fault {
            _ if is_down => {
                let failure = Failure::connect(FailureKind::Refused, "the service restarts");
                self.post(return_at, Letter::Failure(id, failure));
            }
            Fault::Refused => {
                let failure = Failure::connect(FailureKind::Refused, "refused");
                self.post(return_at, Letter::Failure(id, failure));
                passes = false;
            }
            Fault::RequestLost => {
                self.post(return_at, Letter::Failure(id, reset()));
                passes = false;
            }
            Fault::Ingress { passed_on } => {
                let page = Bytes::from_static(b"<html><center>nginx</center></html>");
                let mut response = Response::new(page);
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                self.answer(id, &request, return_at, response);
                passes = passed_on;
            }
            Fault::RateLimited => {
                let mut response = Response::new(Bytes::from_static(br#"{"detail":"slow down"}"#));
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert(header::RETRY_AFTER, 1.into());
                self.answer(id, &request, return_at, response);
                passes = false;
            }
            _ => {}
        }
        if let Some(way) = self.ways.get_mut(&id.number()) {
            way.is_cut = matches!(fault, Fault::Ingress { .. });
        }
        if passes {
            self.post(arrival, Letter::Request(id, Box::new(request)));
        }
    }

    /// An answer that is not the service's own, in the form in which the request wants it.
    fn answer(&mut self, id: ExchangeId, request: &Request, at: Instant, response: Response) {
        if request.expect == Expect::Chunks {
            let (parts, body) = response.into_parts();
            self.post(at, Letter::Head(id, Head::from_parts(parts, ())));
            self.post(at, Letter::Chunk(id, body));
            self.post(at, Letter::End(id));
        } else {
            self.post(at, Letter::Response(id, response));
        }
    }

    fn drain_model(&mut self) {
        loop {
            let output = self.model.poll_output();
            let number = match &output {
                model::Output::Wait { until } => {
                    self.model_until = *until;
                    return;
                }
                model::Output::Reply { id, .. }
                | model::Output::Stream { id, .. }
                | model::Output::Event { id, .. }
                | model::Output::End { id }
                | model::Output::Cut { id }
                | model::Output::Reset { id }
                | model::Output::Release { id, .. } => id.checked_sub(self.base),
                // No job of a simulation has a webhook or a back end, and nobody fetches files or opens a WebSocket.
                model::Output::Deliver { .. }
                | model::Output::Serve { .. }
                | model::Output::Accept { .. }
                | model::Output::Frame { .. }
                | model::Output::Close { .. }
                | model::Output::Work { .. }
                | model::Output::StopWork { .. } => None,
            };
            // Nobody is left to hear what was meant for an earlier client.
            let Some(id) = number.map(ExchangeId::new) else { continue };
            let is_lost = self.fault_of(id) == Some(Fault::AnswerLost);
            match output {
                model::Output::Reply { .. } | model::Output::Stream { .. } if is_lost => {
                    self.cut(id);
                }
                model::Output::Reply { response, .. } => {
                    if self.fault_of(id) == Some(Fault::AnswerTwice) {
                        self.return_letter(id, Letter::Response(id, response.clone()));
                    }
                    self.return_letter(id, Letter::Response(id, response));
                }
                model::Output::Stream { head, .. } => {
                    self.return_letter(id, Letter::Head(id, head));
                }
                model::Output::Event { bytes, .. } => self.pass_event(id, bytes),
                model::Output::End { .. } => self.return_letter(id, Letter::End(id)),
                model::Output::Cut { .. } | model::Output::Reset { .. } => self.cut(id),
                model::Output::Deliver { .. }
                | model::Output::Release { .. }
                | model::Output::Serve { .. }
                | model::Output::Accept { .. }
                | model::Output::Frame { .. }
                | model::Output::Close { .. }
                | model::Output::Work { .. }
                | model::Output::StopWork { .. }
                | model::Output::Wait { .. } => {}
            }
        }
    }

    fn pass_event(&mut self, id: ExchangeId, bytes: Bytes) {
        let Some(way) = self.ways.get_mut(&id.number()) else { return };
        if let Fault::StreamCut { after, in_order } = way.exchange.fault
            && way.events == after
        {
            if in_order {
                self.return_letter(id, Letter::End(id));
            } else {
                // The last event is torn.
                self.return_letter(id, Letter::Chunk(id, bytes.slice(..bytes.len() / 2)));
                self.return_letter(id, Letter::Failure(id, reset()));
            }
            if let Some(way) = self.ways.get_mut(&id.number()) {
                way.is_cut = true;
            }
            return self.post(self.now, Letter::Gone(id));
        }
        way.events += 1;
        self.return_letter(id, Letter::Chunk(id, bytes));
    }

    /// The connection of an exchange breaks.
    fn cut(&mut self, id: ExchangeId) {
        self.return_letter(id, Letter::Failure(id, reset()));
        if let Some(way) = self.ways.get_mut(&id.number()) {
            way.is_cut = true;
        }
        self.post(self.now, Letter::Gone(id));
    }

    /// Sends something back to the client, unless its connection is cut or silent.
    fn return_letter(&mut self, id: ExchangeId, letter: Letter) {
        let Some(way) = self.ways.get_mut(&id.number()) else { return };
        if way.is_cut || way.exchange.fault == Fault::Silence {
            return;
        }
        let at = way.last.max(self.now + way.exchange.back);
        way.last = at;
        self.post(at, letter);
    }

    fn fault_of(&self, id: ExchangeId) -> Option<Fault> {
        self.ways.get(&id.number()).map(|way| way.exchange.fault)
    }

    fn post(&mut self, at: Instant, letter: Letter) {
        self.written += 1;
        self.mail.push(Reverse((at, self.written)));
        self.letters.insert(self.written, letter);
    }

    fn report(mut self, rules: Rules) -> Report {
        let jobs = self.model.counters().submits;
        let ids: Vec<String> =
            self.model.jobs().iter().map(|job| job.request_id.to_string()).collect();
        let ending = match &self.done {
            None => Ending::Never,
            Some(Ok(_)) => Ending::Result,
            Some(Err(_)) => Ending::Error,
        };
        let is_lost = ids.iter().any(|id| !self.tells_of(id));
        let mut problems = Vec::new();
        if jobs > 1 && rules == Rules::Default {
            problems.push(format!("{jobs} jobs were made for one call"));
        }
        if is_lost {
            problems.push(format!("a job was made, and it ended as {:?}", self.done));
        }
        if ending == Ending::Never {
            problems.push("it never ended".to_owned());
        }
        problems.extend(self.check_time());
        problems.extend(self.check_events());
        if jobs == 1 && ending == Ending::Result {
            problems.extend(self.check_logs(&ids[0]));
        }
        problems.extend(self.check_return());
        Report { jobs, ending, is_lost, problems, said: self.said }
    }

    /// Whether the end names this job, or says that one may exist.
    fn tells_of(&self, id: &str) -> bool {
        let (handle, kind) = match &self.done {
            None => return false,
            Some(Ok(finished)) => (Some(&finished.handle), None),
            Some(Err(error)) => (error.handle(), Some(error.kind())),
        };
        let says_unknown = matches!(
            kind,
            Some(
                ErrorKind::SubmitUnknown { .. }
                    | ErrorKind::Deadline { aftermath: Aftermath::Unknown }
                    | ErrorKind::Cancelled { aftermath: Aftermath::Unknown }
            )
        );
        says_unknown || handle.is_some_and(|handle| *handle.request_id == *id)
    }

    /// The caller waits no longer than the deadline and the time for a cancel.
    fn check_time(&self) -> Option<String> {
        let limit = self.start + self.plan.deadline? + CANCEL_TIMEOUT;
        (self.ended > limit).then(|| format!("it ended {:?} past its limit", self.ended - limit))
    }

    fn check_events(&self) -> Option<String> {
        let submitted =
            |event: &&Event| matches!(event, Event::Submitted(_) | Event::AttemptFailed(_));
        let first = self.events.iter().position(|event| matches!(event, Event::Submitted(_)));
        let before = &self.events[..first.unwrap_or(self.events.len())];
        if !before.iter().all(|event| submitted(&event)) {
            return Some(format!("something was told before the handle: {before:?}"));
        }
        let mut seen = BTreeSet::new();
        let mut last = None;
        for line in self.log_lines() {
            let key = (line.timestamp.clone(), line.message.clone());
            if last.as_ref().is_some_and(|last| *last > key.0) {
                return Some(format!("a log line is out of order: {line:?}"));
            }
            last = Some(key.0.clone());
            if !seen.insert(key) {
                return Some(format!("a log line came twice: {line:?}"));
            }
        }
        None
    }

    /// After a success the application has every line of the log.
    fn check_logs(&mut self, id: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Key a:b".parse().expect("a header value"));
        let path = format!("/acme/paint/requests/{id}/status");
        let request = model::Request::new(&Method::GET, model::Host::Queue, &path, &headers)
            .with_query(Some("logs=1"));
        self.model.handle_request(self.now, u64::MAX, request);
        loop {
            match self.model.poll_output() {
                model::Output::Reply { id: u64::MAX, response } => {
                    let status = Status::parse(response.body()).ok()?;
                    let told: Vec<&LogLine> = self.log_lines().collect();
                    let all: Vec<&LogLine> = status.logs.iter().collect();
                    return (told != all)
                        .then(|| format!("the log was {all:?}, told was {told:?}"));
                }
                model::Output::Wait { .. } => return Some("the model does not answer".to_owned()),
                _ => {}
            }
        }
    }

    /// Whoever has the handle of an error can still take the result, unless the job was cancelled.
    fn check_return(&mut self) -> Option<String> {
        let Some(Err(error)) = &self.done else { return None };
        let handle = error.handle()?.clone();
        let job = self
            .model
            .jobs()
            .into_iter()
            .find(|job| job.request_id.to_string() == *handle.request_id)?;
        if job.cancel_asked || self.plan.is_failing {
            return None;
        }
        let why = error.to_string();
        self.resume(handle);
        let is_back = matches!(self.done, Some(Ok(_)));
        (!is_back).then(|| format!("after {why:?} the job ended as {:?}", self.done))
    }

    fn log_lines(&self) -> impl Iterator<Item = &LogLine> {
        self.events.iter().filter_map(|event| match event {
            Event::Log(line) => Some(line),
            _ => None,
        })
    }
}

fn settings(rules: Rules) -> Settings {
    let mut settings = Settings::default();
    settings.credentials = Key::parse("a:b").expect("a key").into();
    settings.retry = rules.policy();
    settings.attempt_timeout = rules.attempt_timeout();
    settings.cancel_timeout = CANCEL_TIMEOUT;
    settings
}

fn broken() -> model::Failure {
    model::Failure::request_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "runner_server_error",
        "it broke",
    )
}

fn reset() -> Failure {
    Failure::read(FailureKind::Closed, "connection reset")
}

/// Where model time starts. One instant for all, because only differences count.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Things that happen in one world before it is taken to hang.
const STEPS_MAX: usize = 20_000;
/// More than one client can begin.
const EXCHANGES_MAX: u64 = 1 << 32;
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
