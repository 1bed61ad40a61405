//! One job: where it stands, what it has said, how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::failure::Failure;
use super::lifecycle::Keep;
use super::plan::Plan;
use super::webhook::Hook;
use super::work::Effort;

/// One accepted job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) endpoint: EndpointId,
    pub(crate) input: Bytes,
    /// Headers that say something about the job.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Counts up over all jobs and files: who is older.
    pub(crate) age: u64,
    /// When it was submitted.
    pub(crate) sent: Instant,
    pub(crate) priority: Priority,
    /// When it must have started.
    pub(crate) start_by: Option<Instant>,
    /// How it shall fail, decided before it ran.
    pub(crate) doom: Option<Arc<Failure>>,
    /// Counts moves, so that events planned before a move are known to be stale.
    pub(crate) epoch: u32,
    pub(crate) cancel_asked: bool,
    /// Runs before the current one, which ended by being put back.
    pub(crate) past: Vec<Attempt>,
    pub(crate) state: State,
    /// When it was over.
    pub(crate) ended: Option<Instant>,
    /// The status streams that watch it.
    pub(crate) streams: Vec<u64>,
    /// Who wants to hear of its end.
    pub(crate) hook: Option<Box<Hook>>,
    /// What its files get that are not public for ever.
    pub(crate) keep: Option<Box<Keep>>,
    /// Its number in the ledger.
    pub(crate) ledger: u64,
    /// How it goes.
    pub(crate) plan: Plan,
    /// What its back end has done for it, if it has one.
    pub(crate) effort: Option<Box<Effort>>,
    /// A runner starts for it, although it is still in line.
    pub(crate) is_starting: bool,
}

/// Where a job stands.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Queued { since: Instant, ticket: u64 },
    Running { since: Instant, answer: Arc<Answer> },
    Done { run: Option<Attempt>, outcome: Outcome },
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) since: Instant,
    pub(crate) until: Instant,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// As its input says, but nobody has asked yet. Only for short inputs of instant jobs.
    Unread,
    Made(Arc<Answer>),
    Failed(Arc<Failure>),
}

impl Outcome {
    /// What the model makes of an input.
    pub(crate) fn of(prepared: Result<Answer, Failure>) -> Self {
        match prepared {
            Ok(answer) => Self::Made(Arc::new(answer)),
            Err(failure) => Self::Failed(Arc::new(failure)),
        }
    }

    /// What is paid for; `None` if nothing is.
    pub(crate) fn units(&self) -> Option<u64> {
        match self {
            Self::Made(answer) => Some(answer.units()),
            Self::Unread | Self::Failed(_) => None,
        }
    }

    /// The size of the result, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Unread => 0,
            Self::Made(answer) => answer.bytes(),
            Self::Failed(failure) => failure.bytes(),
        }
    }
}

/// The two classes of waiting; `normal` goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Normal,
    Low,
}

impl Job {
    /// The lines that the job has written by `now`, in order.
    pub(crate) fn lines(&self, now: Instant) -> impl Iterator<Item = Line<'_>> {
        let current = match self.state {
            State::Queued { .. } => None,
            State::Running { since, .. } => Some(Attempt { since, until: now }),
            State::Done { run, .. } => run,
        };
        let written = self.effort.iter().flat_map(|effort| effort.lines());
        let made_up = self.past.iter().copied().chain(current).flat_map(move |run| {
            (0..self.line_count())
                .map(move |number| self.line(number, run.since))
                .take_while(move |line| line.at <= run.until)
        });
        made_up.chain(written)
    }

    /// How many lines a whole run writes.
    fn line_count(&self) -> usize {
        if self.plan.backend.is_some() {
            return 0;
        }
        self.plan.logs.as_ref().map_or(LINES.len(), |logs| logs.len())
    }

    /// A line of a run that began at `since`.
    fn line(&self, number: usize, since: Instant) -> Line<'_> {
        let run_time = self.plan.pace.run_time;
        match &self.plan.logs {
            Some(logs) => {
                let line = &logs[number];
                let at = since + line.at.since_start(run_time);
                Line { at, message: &line.message, level: line.level, source: &line.source }
            }
            None => {
                let (part, message) = LINES[number];
                let at = since + run_time * part / LINE_PARTS;
                Line { at, message, level: "INFO", source: "USER" }
            }
        }
    }

    /// When its status next changes by the mere passing of time, apart from starting and ending.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Queued { since, .. } => {
                let count = self.plan.positions().len();
                (1..count).map(|step| since + self.step(step, count)).find(|at| *at > now)
            }
            State::Running { since, .. } => {
                (0..self.line_count()).map(|n| self.line(n, since).at).find(|at| *at > now)
            }
            State::Done { .. } => None,
        }
    }

    /// The position that it shows although a runner is free, so that callers see it count down.
    pub(crate) fn shown_position(&self, since: Instant, now: Instant) -> usize {
        let passed = now.saturating_duration_since(since);
        let positions = self.plan.positions();
        let count = positions.len();
        let at = (1..count).take_while(|step| self.step(*step, count) <= passed).count();
        positions.get(at).copied().unwrap_or_default()
    }

    /// After which part of the queue time a position is shown.
    fn step(&self, step: usize, count: usize) -> Duration {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.plan.pace.queue_time * number(step) / number(count)
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// What it costs to keep, apart from the fixed part of the table.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let outcome = match &self.state {
            State::Done { outcome, .. } => outcome.bytes(),
            State::Running { answer, .. } => answer.bytes(),
            State::Queued { .. } => 0,
        };
        let hook = self.hook.as_ref().map_or(0, |hook| size_of::<Hook>() + hook.url.len());
        let keep = self.keep.as_ref().map_or(0, |keep| size_of::<Keep>() + keep.acl.bytes());
        let effort = self.effort.as_ref().map_or(0, |effort| effort.bytes());
        JOB_BYTES + self.input.len() + headers + outcome + hook + keep + effort
    }
}

/// One line of a job's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) at: Instant,
    pub(crate) message: &'a str,
    pub(crate) level: &'a str,
    pub(crate) source: &'a str,
}

/// What every run writes, and after which part of its time.
const LINES: [(u32, &str); 5] = [
    (0, "The input is accepted"),
    (20, "Step 1 of 3"),
    (45, "Step 2 of 3"),
    (70, "Step 3 of 3"),
    (95, "Encoding the output"),
];
const LINE_PARTS: u32 = 100;

/// What a job costs in the table and its lists, about.
pub(crate) const JOB_BYTES: usize = 600;
