//! Work that somebody else does: an app's own back end in place of outputs that are made up.
//!
//! The model says [`Output::Work`] and is told what comes of it; a runner is taken until the work has ended, also where
//! nobody wants it any more.
//!
//! | Event | Queued job | Direct call, stream |
//! |---|---|---|
//! | done | completed | answered |
//! | failed | completed (failed) | failed |
//! | lost: no answer, 503, 504, killed, out of time | waits again with growing rests; completed (failed) after [`ATTEMPTS_MAX`](super::ATTEMPTS_MAX), or at once by `x-fal-no-retry` | failed |
//! | cancel, gone, failed by control | told to stop | told to stop |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderValue, StatusCode};

use super::answer::{Answer, Lasting, Store, push_address};
use super::content::Blob;
use super::exchange::{Door, Output};
use super::failure::Failure;
use super::files::FileKey;
use super::id::{RequestId, TenantId};
use super::job::{Job, Line, Outcome, State};
use super::keep::{LineRow, WorkRow};
use super::lifecycle::Keep;
use super::{Due, Model, Open, app_of};
use crate::scenario::Backend;

/// Work to be done.
#[derive(Debug)]
pub struct Work {
    pub(crate) backend: Arc<Backend>,
    pub(crate) request_id: RequestId,
    pub(crate) endpoint: Box<str>,
    pub(crate) input: Bytes,
    /// Counts from 1.
    pub(crate) attempt: usize,
    /// Whether the caller reads what comes piece by piece.
    pub(crate) is_stream: bool,
}

/// What is told of work. All but the first two are its end.
#[derive(Debug)]
pub(crate) enum WorkEvent {
    /// It has something to say.
    Log {
        level: &'static str,
        message: Box<str>,
    },
    /// A piece of what it makes, JSON.
    Piece(Bytes),
    Done(Made),
    /// It could not be done, and will not be if it is tried again.
    Failed(Failure),
    /// Nobody knows; it may be tried again. What is told where it is not.
    Lost(Failure),
    /// It was stopped, as was wanted.
    Stopped,
}

impl WorkEvent {
    pub(crate) const fn is_end(&self) -> bool {
        !matches!(self, Self::Log { .. } | Self::Piece(_))
    }
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// JSON. `{{file:NAME}}` in it is the address of a file.
    pub(crate) output: Bytes,
    pub(crate) files: Vec<(Box<str>, Blob)>,
    /// What is paid for; 1 where nothing is said.
    pub(crate) units: Option<u64>,
}

/// All work that is under way, and for whom it is done.
#[derive(Debug, Default)]
pub(crate) struct Works {
    all: BTreeMap<u64, Holder>,
    last: u64,
    /// Nothing is begun any more.
    is_over: bool,
}

#[derive(Clone, Debug)]
enum Holder {
    Job(RequestId),
    /// An exchange.
    Call(u64),
    /// Nobody, but a runner of this app is still busy.
    Nobody(EndpointId),
}

/// What a job knows of its work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effort {
    /// What is under way.
    pub(super) number: Option<u64>,
    pub(super) lines: Vec<Written>,
    bytes: usize,
}

/// A line that work has written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(super) at: Instant,
    pub(super) level: &'static str,
    pub(super) message: Box<str>,
}

impl Effort {
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().map(|line| Line {
            at: line.at,
            message: &line.message,
            level: line.level,
            source: "USER",
        })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What outlives the process of it, when its job is over.
    pub(super) fn row(
        &self,
        outcome: &Outcome,
        wall: impl Fn(Instant) -> SystemTime,
    ) -> (WorkRow, Bytes) {
        let worked = match outcome {
            Outcome::Made(answer) => match &**answer {
                Answer::Worked(worked) => Some(worked),
                _ => None,
            },
            _ => None,
        };
        let line = |line: &Written| LineRow {
            at: wall(line.at),
            level: line.level.into(),
            message: line.message.clone(),
        };
        let row = WorkRow {
            has_output: worked.is_some(),
            units: worked.map_or(0, |worked| worked.units),
            files: worked.map(|worked| worked.files.clone()).unwrap_or_default(),
            lines: self.lines.iter().map(line).collect(),
        };
        (row, worked.map(|worked| worked.output.clone()).unwrap_or_default())
    }

    /// The other way round.
    pub(super) fn restored(
        row: WorkRow,
        output: Bytes,
        past: impl Fn(SystemTime) -> Instant,
    ) -> (Self, Option<Worked>) {
        let mut effort = Self::default();
        for line in row.lines {
            effort.push(past(line.at), level(&line.level).unwrap_or("INFO"), line.message);
        }
        let worked = Worked { output, files: row.files, units: row.units };
        (effort, row.has_output.then_some(worked))
    }

    pub(super) fn push(&mut self, at: Instant, level: &'static str, message: Box<str>) {
        let len = self.lines.len();
        let (level, message) = match len {
            LINES_MAX => ("WARNING", "Further lines are not kept".into()),
            _ if len > LINES_MAX => return,
            _ => (level, message),
        };
        self.bytes += size_of::<Written>() + message.len();
        self.lines.push(Written { at, level, message });
    }
}

/// The level of a line by its name, in the words of the wire.
pub(crate) fn level(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TRACE" | "DEBUG" => "DEBUG",
        "INFO" => "INFO",
        "WARN" | "WARNING" => "WARNING",
        "ERROR" | "CRITICAL" | "FATAL" => "ERROR",
        "STDOUT" => "STDOUT",
        "STDERR" => "STDERR",
        _ => return None,
    })
}

/// An output that a back end has made. Its files are in the store.
#[derive(Clone, Debug)]
pub(crate) struct Worked {
    pub(super) output: Bytes,
    pub(super) files: Vec<(Box<str>, u128)>,
    pub(super) units: u64,
}

impl Worked {
    fn new(made: Made, id: RequestId, tenant: TenantId, store: &mut Store<'_>) -> Self {
        let put = |(name, blob): (Box<str>, Blob)| {
            let key = store.put_named(tenant, &name, blob, Some(id));
            (name, key.bits())
        };
        let files = made.files.into_iter().map(put).collect();
        Self { output: made.output, files, units: made.units.unwrap_or(1) }
    }

    pub(crate) const fn units(&self) -> u64 {
        self.units
    }

    pub(crate) fn bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|(name, _)| name.len() + 16).sum();
        self.output.len() + files
    }

    /// The body, with the addresses of its files.
    pub(crate) fn publish(&self, door: &Door<'_>) -> Vec<u8> {
        if self.files.is_empty() {
            return self.output.to_vec();
        }
        let mut out = Vec::with_capacity(self.output.len() + 100 * self.files.len());
        let mut rest = &self.output[..];
        while let Some((start, end, name)) = hole(rest) {
            out.extend_from_slice(&rest[..start]);
            match self.files.iter().find(|(other, _)| other.as_bytes() == name) {
                Some((name, key)) => {
                    push_address(&mut out, door, FileKey::new(*key), name);
                }
                None => out.extend_from_slice(&rest[start..end]),
            }
            rest = &rest[end..];
        }
        out.extend_from_slice(rest);
        out
    }
}

/// Where the first hole for a file begins and ends, and its name.
fn hole(text: &[u8]) -> Option<(usize, usize, &[u8])> {
    let start = text.windows(HOLE.len()).position(|window| window == HOLE)?;
    let name = start + HOLE.len();
    let len = text[name..].windows(2).position(|window| window == b"}}")?;
    Some((start, name + len + 2, &text[name..name + len]))
}

/// The files that an output names, each once.
pub(crate) fn files_named(output: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = output;
    while let Some((_, end, name)) = hole(rest) {
        let name = String::from_utf8_lossy(name).into_owned();
        if !names.contains(&name) {
            names.push(name);
        }
        rest = &rest[end..];
    }
    names
}

/// What a back end does for a call.
#[derive(Debug)]
pub(crate) enum Doing {
    /// Its runner has yet to start.
    Later(Box<Work>),
    /// The number of the work.
    Now(u64),
}

impl Model {
    /// Something has come of work. What is over or unknown changes nothing.
    pub(crate) fn handle_work(&mut self, now: Instant, number: u64, event: WorkEvent) {
        self.advance(now);
        let holder = match event.is_end() {
            true => self.works.all.remove(&number),
            false => self.works.all.get(&number).cloned(),
        };
        match holder {
            Some(Holder::Job(id)) => self.job_worked(id, event),
            Some(Holder::Call(exchange)) => self.call_worked(exchange, event),
            Some(Holder::Nobody(endpoint)) if event.is_end() => self.release(endpoint.app()),
            Some(Holder::Nobody(_)) | None => {}
        }
        self.settle(now);
    }

    /// Stops all work, and begins none any more: the service ends, or another takes its place.
    pub(crate) fn stop_works(&mut self) {
        self.works.is_over = true;
        let numbers: Vec<u64> = self.works.all.keys().copied().collect();
        self.out.extend(numbers.into_iter().map(|id| Output::StopWork { id }));
    }

    /// How many calls back ends are working on.
    pub(crate) fn works_under_way(&self) -> usize {
        self.works.all.len()
    }

    /// Whether the work on a job is done by a back end.
    pub(crate) fn has_backend(&self, id: RequestId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.plan.backend.is_some())
    }

    /// Whether an input may be worked on: JSON, and what the document says where there is one.
    pub(super) fn check_input(
        &self,
        backend: &Backend,
        endpoint: &EndpointId,
        input: &[u8],
    ) -> Result<Answer, Failure> {
        if let Some(why) = backend.refusal(self.config.far_backends) {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Failure::request_error(status, "runner_connection_error", &why));
        }
        Answer::check(&self.config, endpoint.as_str(), input).map(|()| Answer::empty())
    }

    fn work(&mut self, holder: Holder, work: Work) -> u64 {
        self.works.last += 1;
        let id = self.works.last;
        if !self.works.is_over {
            self.works.all.insert(id, holder);
            self.out.push_back(Output::Work { id, work: Box::new(work) });
        }
        id
    }

    /// Begins the work on a job that has just started.
    pub(super) fn begin_work(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        let Some(backend) = job.plan.backend.clone() else { return };
        let work = Work {
            backend,
            request_id: id,
            endpoint: job.endpoint.as_str().into(),
            input: job.input.clone(),
            attempt: job.past.len() + 1,
            is_stream: false,
        };
        let number = self.work(Holder::Job(id), work);
        if let Some(job) = self.jobs.get_mut(id) {
            job.effort.get_or_insert_default().number = Some(number);
        }
    }

    /// A running job leaves its runner, who is free at once or when the work has ended. Returns whether that is now.
    pub(super) fn vacate(&mut self, id: RequestId) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        let number = job.effort.as_mut().and_then(|effort| effort.number.take());
        let endpoint = job.endpoint.clone();
        match number {
            Some(number) => self.stop_work(number, endpoint),
            None => app_of(&mut self.apps, endpoint.app()).running -= 1,
        }
        number.is_none()
    }

    /// Nobody wants this work any more.
    fn stop_work(&mut self, number: u64, endpoint: EndpointId) {
        if let Some(holder) = self.works.all.get_mut(&number) {
            *holder = Holder::Nobody(endpoint);
            self.out.push_back(Output::StopWork { id: number });
        }
    }

    /// A call leaves its runner in the same way.
    pub(super) fn leave_call(&mut self, endpoint: &EndpointId, doing: Option<&Doing>) {
        match doing {
            Some(Doing::Now(number)) if self.works.all.contains_key(number) => {
                self.stop_work(*number, endpoint.clone());
            }
            _ => self.release(endpoint.app()),
        }
    }

    fn job_worked(&mut self, id: RequestId, event: WorkEvent) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let WorkEvent::Log { level, message } = event {
            let before = job.bytes();
            job.effort.get_or_insert_default().push(self.now, level, message);
            let after = job.bytes();
            self.jobs.recount(before, after);
            return self.changed(id);
        }
        if !event.is_end() {
            return;
        }
        if let Some(effort) = &mut job.effort {
            effort.number = None;
        }
        match event {
            WorkEvent::Done(made) => self.job_made(id, made),
            WorkEvent::Failed(failure) => self.fail(id, Arc::new(failure)),
            WorkEvent::Lost(failure) => {
                let rest = rest_after(job.past.len() + 1);
                let may_repeat = may_repeat(job);
                if !may_repeat || !self.requeue(id, false, rest) {
                    self.fail(id, Arc::new(failure));
                }
            }
            // It was stopped from outside: the mock ends.
            _ => _ = self.requeue(id, false, Duration::ZERO),
        }
    }

    fn job_made(&mut self, id: RequestId, made: Made) {
        let Some(keep) = self.jobs.get(id).map(|job| job.keep.clone()) else { return };
        let worked = self.worked(made, id, keep.as_deref());
        let Some(job) = self.jobs.get_mut(id) else { return };
        let before = job.bytes();
        if let State::Running { answer, .. } = &mut job.state {
            *answer = Arc::new(Answer::Worked(Box::new(worked)));
        }
        let after = job.bytes();
        self.jobs.recount(before, after);
        self.finish(id);
    }

    /// Begins the work on a direct call, once its runner has started.
    pub(super) fn begin_call(&mut self, exchange: u64, work: Work, cold: Duration) -> Doing {
        if cold.is_zero() {
            return Doing::Now(self.work(Holder::Call(exchange), work));
        }
        self.plan_after(cold, Due::Begin(exchange));
        Doing::Later(Box::new(work))
    }

    /// The runner of a call has started.
    pub(super) fn call_warmed(&mut self, exchange: u64) {
        let doing = self.doing(exchange);
        let later = doing.and_then(|doing| doing.take_if(|doing| matches!(doing, Doing::Later(_))));
        let Some(Doing::Later(work)) = later else { return };
        let number = self.work(Holder::Call(exchange), *work);
        if let Some(doing) = self.doing(exchange) {
            *doing = Some(Doing::Now(number));
        }
    }

    /// What a back end does for a call.
    fn doing(&mut self, exchange: u64) -> Option<&mut Option<Doing>> {
        match self.open.get_mut(&exchange)? {
            Open::Run(call) => Some(&mut call.work),
            Open::Relay(relay) => Some(&mut relay.work),
            _ => None,
        }
    }

    fn call_worked(&mut self, exchange: u64, event: WorkEvent) {
        if matches!(self.open.get(&exchange), Some(Open::Relay(_))) {
            return self.relay_worked(exchange, event);
        }
        if !event.is_end() {
            return;
        }
        let Some(Open::Run(call)) = self.open.remove(&exchange) else { return };
        let made = match event {
            WorkEvent::Done(made) => {
                let worked = self.worked(made, call.id, call.keep.as_deref());
                Ok(Answer::Worked(Box::new(worked)))
            }
            WorkEvent::Failed(failure) | WorkEvent::Lost(failure) => Err(failure),
            _ => Err(super::run::runner_lost()),
        };
        self.answer_call(exchange, call, made);
    }

    /// What was made, with its files in the store.
    pub(super) fn worked(&mut self, made: Made, id: RequestId, keep: Option<&Keep>) -> Worked {
        let lasting = keep.map(|keep| Lasting::new(id, keep, self.now, self.now));
        let mut store = Store { files: &mut self.files, age: &mut self.age, lasting };
        Worked::new(made, id, self.config.tenant, &mut store)
    }
}

/// Whether lost work on a job is tried again.
///
/// Source: docs.fal.ai, retries page, for the header and its values (documented).
fn may_repeat(job: &Job) -> bool {
    let no_retry = job.headers.iter().find(|(name, _)| name == "x-fal-no-retry");
    let means_yes = |value: &HeaderValue| {
        ["1", "true", "yes"].iter().any(|yes| value.as_bytes().eq_ignore_ascii_case(yes.as_bytes()))
    };
    !no_retry.is_some_and(|(_, value)| means_yes(value))
}

/// The rest after so many attempts: 1 s, doubled each time, at most a minute (inferred).
fn rest_after(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
    Duration::from_secs(1 << doublings).min(REST_MAX)
}

const HOLE: &[u8] = b"{{file:";

const REST_MAX: Duration = Duration::from_secs(60);

/// Lines that are kept of one job, all attempts together.
pub(crate) const LINES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_get_addresses_and_others_stay() {
        let worked = Worked {
            output: Bytes::from_static(b"{\"a\":\"{{file:x.png}}\",\"b\":\"{{file:no}} {{file:\"}"),
            files: vec![("x.png".into(), 7)],
            units: 1,
        };
        let text = String::from_utf8(worked.publish(&Door::Direct)).unwrap();
        assert!(text.starts_with("{\"a\":\"https://v3.fal.media/"), "{text}");
        assert!(text.ends_with("_x.png\",\"b\":\"{{file:no}} {{file:\"}"), "{text}");
        assert_eq!(files_named(&worked.output), ["x.png", "no"]);
    }

    #[test]
    fn rests_grow_and_end() {
        let rests: Vec<u64> = (1..=9).map(|n| rest_after(n).as_secs()).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn lines_are_limited() {
        let mut effort = Effort::default();
        let now = Instant::now();
        (0..LINES_MAX + 5).for_each(|_| effort.push(now, "INFO", "x".into()));
        assert_eq!(effort.lines.len(), LINES_MAX + 1);
        assert_eq!(&*effort.lines[LINES_MAX].message, "Further lines are not kept");
    }
}
