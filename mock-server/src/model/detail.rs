//! All that can be seen of one job, for people.

use std::time::SystemTime;

use super::control::JobView;
use super::exchange::{Door, Response};
use super::id::RequestId;
use super::job::{Outcome, State};
use super::{JobState, Model};

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobRow {
    /// Its id.
    pub request_id: RequestId,
    /// The endpoint id, in its slash form.
    pub endpoint: String,
    /// Where it stands.
    pub state: JobState,
    /// When it was submitted.
    pub submitted: SystemTime,
    /// When its last run began.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// How many stand ahead of a queued job.
    pub queue_position: Option<usize>,
    /// Whether its cancel was asked for.
    pub cancel_asked: bool,
    /// The text under `error` in its status.
    pub error: Option<String>,
}

/// All that can be seen of one job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobDetail {
    /// What its list says.
    pub row: JobRow,
    /// Input, headers, attempts.
    pub view: JobView,
    /// Its runs: when each began, and when it ended.
    pub runs: Vec<(SystemTime, Option<SystemTime>)>,
    /// What it has written so far, and when.
    pub logs: Vec<(SystemTime, String)>,
    /// Where it reports its end.
    pub webhook: Option<String>,
    /// What its result answers; `None` while it is unfinished.
    pub result: Option<Response>,
}

impl Model {
    /// Every job, the oldest first.
    #[must_use]
    pub fn job_rows(&self) -> Vec<JobRow> {
        self.jobs.by_age().into_iter().filter_map(|(id, _)| self.job_row(id)).collect()
    }

    /// One job as its list says it.
    #[must_use]
    pub fn job_row(&self, request_id: RequestId) -> Option<JobRow> {
        let job = self.jobs.get(request_id)?;
        let (state, run) = match &job.state {
            State::Queued { .. } => (JobState::Queued, None),
            State::Running { since, .. } => (JobState::Running, Some(*since)),
            State::Done { outcome, run } => {
                let state = match outcome {
                    Outcome::Made(_) => JobState::Succeeded,
                    Outcome::Failed(_) => JobState::Failed,
                    // Nobody has asked for it yet, so it was never worked out.
                    Outcome::Unread => self.job(request_id)?.state,
                };
                (state, run.map(|run| run.since))
            }
        };
        let error = match &job.state {
            State::Done { outcome: Outcome::Failed(failure), .. } => {
                Some(failure.error.to_string())
            }
            _ => None,
        };
        Some(JobRow {
            request_id,
            endpoint: job.endpoint.as_str().to_owned(),
            state,
            submitted: self.wall(job.sent),
            started: run.map(|since| self.wall(since)),
            ended: job.ended.map(|ended| self.wall(ended)),
            queue_position: (state == JobState::Queued).then(|| self.position(job)),
            cancel_asked: job.cancel_asked,
            error,
        })
    }

    /// All that can be seen of one job. Addresses in its result lead through `door`.
    pub fn job_detail(&mut self, request_id: RequestId, door: &Door<'_>) -> Option<JobDetail> {
        self.read(request_id);
        let (row, view) = (self.job_row(request_id)?, self.job(request_id)?);
        let job = self.jobs.get(request_id)?;
        let current = match &job.state {
            State::Queued { .. } => None,
            State::Running { since, .. } => Some((*since, None)),
            State::Done { run, .. } => run.map(|run| (run.since, Some(run.until))),
        };
        let past = job.past.iter().map(|run| (run.since, Some(run.until)));
        let runs = past
            .chain(current)
            .map(|(since, until)| (self.wall(since), until.map(|until| self.wall(until))))
            .collect();
        let logs =
            job.lines(self.now).map(|line| (self.wall(line.at), line.message.to_owned())).collect();
        let webhook = job.hook.as_ref().map(|hook| hook.url.to_string());
        let result = job.is_done().then(|| self.result(door, request_id));
        Some(JobDetail { row, view, runs, logs, webhook, result })
    }
}
