//! What time is waited for, and what comes next.

use std::cmp::Reverse;
use std::time::Instant;

use super::id::RequestId;
use super::{Due, Model, Open};

/// Something that happens by itself at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// When.
    pub at: Instant,
    /// What.
    pub what: WaitKind,
    /// The job that it is about.
    pub request_id: Option<RequestId>,
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WaitKind {
    /// The queue time of a job is over; it starts if a runner is free.
    Start,
    /// A job that has not started by then fails.
    StartTimeout,
    /// A running job ends.
    Finish,
    /// The runner of a job is lost, by a scenario.
    RunnerLoss,
    /// A runner that was cold has started.
    RunnerStart,
    /// A sync run ends.
    Run,
    /// A model stream goes on.
    StreamEvent,
    /// A session makes an output.
    SessionOutput,
    /// A session without a new input ends, or its token does.
    SessionEnd,
    /// A status stream says something new, or that it is still there.
    StatusEvent,
    /// A delivery is tried again, or has taken too long.
    Delivery,
    /// An answer that a test holds back is given.
    LateAnswer,
    /// The oldest finished job is forgotten.
    JobExpiry,
    /// The oldest upload or file is over.
    FileExpiry,
}

impl WaitKind {
    /// Whether somebody waits for it: a job, a call or a delivery gets on by it. What only ends by it, and what only
    /// shows that a line is alive, is nothing to hurry for.
    #[must_use]
    pub const fn is_progress(self) -> bool {
        match self {
            Self::Start
            | Self::StartTimeout
            | Self::Finish
            | Self::RunnerLoss
            | Self::RunnerStart
            | Self::Run
            | Self::StreamEvent
            | Self::SessionOutput
            | Self::Delivery
            | Self::LateAnswer => true,
            Self::SessionEnd | Self::StatusEvent | Self::JobExpiry | Self::FileExpiry => false,
        }
    }

    /// The name in the control API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::StartTimeout => "start-timeout",
            Self::Finish => "finish",
            Self::RunnerLoss => "runner-loss",
            Self::RunnerStart => "runner-start",
            Self::Run => "run",
            Self::StreamEvent => "stream-event",
            Self::SessionOutput => "session-output",
            Self::SessionEnd => "session-end",
            Self::StatusEvent => "status-event",
            Self::Delivery => "delivery",
            Self::LateAnswer => "late-answer",
            Self::JobExpiry => "job-expiry",
            Self::FileExpiry => "file-expiry",
        }
    }
}

impl Model {
    /// The next moment at which a job, a call or a delivery gets on by itself. Looks at everything planned.
    #[must_use]
    pub fn next_progress(&self) -> Option<Instant> {
        self.planned().filter(|wait| wait.what.is_progress()).map(|wait| wait.at).min()
    }

    /// What happens by itself, the earliest first, at most so many.
    #[must_use]
    pub fn waits(&self, max: usize) -> Vec<Wait> {
        let expiry = |at: Option<Instant>, what| at.map(|at| Wait { at, what, request_id: None });
        let mut all: Vec<Wait> = self
            .planned()
            .chain(expiry(self.jobs.next_expiry(), WaitKind::JobExpiry))
            .chain(expiry(self.files.next_expiry(), WaitKind::FileExpiry))
            .collect();
        all.sort_by_key(|wait| (wait.at, wait.what, wait.request_id));
        all.truncate(max);
        all
    }

    /// Planned events that still mean something.
    fn planned(&self) -> impl Iterator<Item = Wait> {
        self.due.iter().filter_map(|Reverse((at, _, event))| {
            let job =
                |id: RequestId, epoch, what| self.is_current(id, epoch).then_some((what, Some(id)));
            let (what, request_id) = match *event {
                Due::Ready(id, epoch) => job(id, epoch, WaitKind::Start)?,
                Due::StartBy(id, epoch) => job(id, epoch, WaitKind::StartTimeout)?,
                Due::Finish(id, epoch) => job(id, epoch, WaitKind::Finish)?,
                Due::Lose(id, epoch) => job(id, epoch, WaitKind::RunnerLoss)?,
                Due::Warm(id, epoch) => job(id, epoch, WaitKind::RunnerStart)?,
                Due::Delivery(number, epoch) => {
                    let id = self.deliveries.job_of(number, epoch)?;
                    (WaitKind::Delivery, Some(id))
                }
                Due::Run(exchange) => (self.is_open(exchange, WaitKind::Run)?, None),
                Due::Begin(exchange) => (self.is_open(exchange, WaitKind::RunnerStart)?, None),
                Due::Feed(exchange) => (self.is_open(exchange, WaitKind::StreamEvent)?, None),
                Due::Resume(exchange) => {
                    let is_held = self.flights.contains_key(&exchange);
                    (is_held.then_some(WaitKind::LateAnswer)?, None)
                }
                Due::Late(exchange) => (self.is_open(exchange, WaitKind::LateAnswer)?, None),
                Due::Stream(exchange) => match self.open.get(&exchange)? {
                    Open::Stream(stream) => (WaitKind::StatusEvent, Some(stream.job)),
                    _ => return None,
                },
                Due::Session(exchange) => match self.open.get(&exchange)? {
                    Open::Session(session) if session.is_due(*at) => match session.is_working() {
                        true => (WaitKind::SessionOutput, None),
                        false => (WaitKind::SessionEnd, None),
                    },
                    _ => return None,
                },
            };
            Some(Wait { at: *at, what, request_id })
        })
    }

    fn is_open(&self, exchange: u64, what: WaitKind) -> Option<WaitKind> {
        self.open.contains_key(&exchange).then_some(what)
    }
}
