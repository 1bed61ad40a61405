//! One job: where it stands, what it has said, how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::failure::Failure;
use super::lifecycle::Keep;
use super::webhook::Hook;

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
    pub(crate) fn lines(&self, now: Instant, run_time: Duration) -> impl Iterator<Item = Line> {
        let current = match self.state {
            State::Queued { .. } => None,
            State::Running { since, .. } => Some(Attempt { since, until: now }),
            State::Done { run, .. } => run,
        };
        self.past.iter().copied().chain(current).flat_map(move |run| {
            let at = move |(part, _): &(u32, _)| run.since + run_time * *part / LINE_PARTS;
            LINES
                .iter()
                .take_while(move |line| at(line) <= run.until)
                .map(move |line| Line { at: at(line), message: line.1 })
        })
    }

    /// When its status next changes by the mere passing of time, apart from starting and ending.
    pub(crate) fn next_change(
        &self,
        now: Instant,
        queue_time: Duration,
        run_time: Duration,
    ) -> Option<Instant> {
        match self.state {
            State::Queued { since, .. } => (1..POSITIONS)
                .map(|step| since + queue_time * step / POSITIONS)
                .find(|at| *at > now),
            State::Running { since, .. } => LINES
                .iter()
                .map(|(part, _)| since + run_time * *part / LINE_PARTS)
                .find(|at| *at > now),
            State::Done { .. } => None,
        }
    }

    /// The position that it shows although a runner is free, so that callers see it count down.
    pub(crate) fn shown_position(since: Instant, now: Instant, queue_time: Duration) -> usize {
        let passed = now.saturating_duration_since(since);
        (1..POSITIONS).filter(|step| queue_time * *step / POSITIONS > passed).count()
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
        JOB_BYTES + self.input.len() + headers + outcome + hook + keep
    }
}

/// One line of a job's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) message: &'static str,
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

/// Without anybody ahead a job shows 2, 1, 0 during its queue time.
const POSITIONS: u32 = 3;

/// What a job costs in the table and its lists, about.
pub(crate) const JOB_BYTES: usize = 500;
