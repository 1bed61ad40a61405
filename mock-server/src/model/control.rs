//! The hand of the test: what is done to the service from outside, and what can be seen of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::config::{ATTEMPTS_MAX, Config};
use super::exchange::Output;
use super::failure::Failure;
use super::files::Files;
use super::id::RequestId;
use super::job::{Attempt, Job, Outcome, Priority, State};
use super::realtime::{Frame, MessageFailure};
use super::storage::{UploadFailure, UploadStep};
use super::{Model, Open};

/// Something that a test does to the service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Control {
    /// The next job, sync run or model stream that is accepted fails so: after its run time, a stream
    /// before its first byte.
    FailNext(Failure),
    /// The next model stream that begins breaks off so, after half of its events.
    BreakNextStream(StreamFailure),
    /// An unfinished job fails now.
    Fail {
        /// The job.
        request_id: RequestId,
        /// How it fails.
        failure: Failure,
    },
    /// An unfinished job ends now as it would have ended; not one of which only its back end knows that.
    Finish {
        /// The job.
        request_id: RequestId,
    },
    /// A running job goes back to the end of its line, as when its runner was lost.
    Requeue {
        /// The job.
        request_id: RequestId,
    },
    /// The cancel of a job is asked for, as its caller would.
    Cancel {
        /// The job.
        request_id: RequestId,
    },
    /// The news of a job is delivered once more, with all attempts anew.
    Redeliver {
        /// The job.
        request_id: RequestId,
    },
    /// The next job with a webhook that ends well has an output that no delivery can carry.
    WithholdNextPayload,
    /// Deliveries are signed with a new key from now on; the one before stays in the set of keys.
    RotateWebhookKey,
    /// The next calls of this kind that an upload makes fail so. Plans queue up.
    FailUploads {
        /// The kind of call.
        step: UploadStep,
        /// How many of them; `u32::MAX` is all.
        times: u32,
        /// What happens to each.
        failure: UploadFailure,
    },
    /// A file is over now, or its upload.
    ExpireFile {
        /// Its address: that of the service, or through any door.
        url: String,
    },
    /// All tokens for uploads that were given out are over now.
    ExpireTokens,
    /// The next handshake of a WebSocket that names an endpoint is answered so and not accepted.
    RefuseNextHandshake(Failure),
    /// This happens to the next input of any session in place of its output.
    FailNextMessage(MessageFailure),
    /// Something is said in a session, or in all of them; [`Frame::Close`] closes it.
    Say {
        /// Its number; `None` means every open session.
        session: Option<u64>,
        /// The message.
        frame: Frame,
    },
    /// A session is closed with a code, or all of them are.
    CloseSession {
        /// Its number; `None` means every open session.
        session: Option<u64>,
        /// Such as 1001; without one a client sees 1005.
        code: Option<u16>,
        /// Up to 123 bytes; more is cut off.
        reason: Box<str>,
    },
    /// The connection of a session is dropped without a word, or those of all of them.
    DropSession {
        /// Its number; `None` means every open session.
        session: Option<u64>,
    },
    /// The account behind every key is locked for this reason, or, with `None`, is not any more.
    Lock(Option<Box<str>>),
    /// All open exchanges are cut; jobs and files stay.
    Restart,
}

/// How a model stream breaks off after it has begun, when its status is long out.
///
/// fal defines no form for this: apps send an event of their own, or the connection is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamFailure {
    /// The connection is closed without the end of the body.
    Cut,
    /// One last event, then the end. The data stands on one line, such as `{"error":"out of memory"}`. In a
    /// stream of raw bytes it is the last of them.
    Event(Bytes),
    /// The model fails, and its last event says so: a step of a workflow has an event for that, others
    /// give the failure's body under `error`. A stream of raw bytes is cut.
    Failed(Failure),
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It failed or was cancelled.
    Failed,
}

/// What can be seen of a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobView {
    /// Its id.
    pub request_id: RequestId,
    /// The endpoint id, in its slash form.
    pub endpoint: String,
    /// Where it stands.
    pub state: JobState,
    /// The body of its submit.
    pub input: Bytes,
    /// The headers of its submit that start with `x-fal-` or `x-app-fal-`, up to [`HEADERS_MAX`].
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether it was submitted with low priority.
    pub is_low_priority: bool,
    /// Whether its cancel was asked for.
    pub cancel_asked: bool,
    /// How often it was started.
    pub attempts: usize,
    /// The rule of the scenario that decided how it goes.
    pub rule: Option<String>,
}

/// What has happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Submits accepted.
    pub submits: u64,
    /// Sync runs accepted.
    pub runs: u64,
    /// Sync runs whose caller went away.
    pub runs_abandoned: u64,
    /// Model streams accepted.
    pub model_streams: u64,
    /// Model streams whose caller went away.
    pub model_streams_abandoned: u64,
    /// Jobs that ended, well or not.
    pub completed: u64,
    /// Cancels that found an unfinished job.
    pub cancels: u64,
    /// Status streams opened.
    pub streams: u64,
    /// Tokens for sessions and streams minted.
    pub run_tokens: u64,
    /// Sessions accepted.
    pub sessions: u64,
    /// Inputs of sessions that could be read.
    pub session_inputs: u64,
    /// Those of them that were dropped for newer ones.
    pub session_inputs_dropped: u64,
    /// Outputs of sessions.
    pub session_outputs: u64,
    /// Connections of HTTP over WebSocket accepted.
    pub fronts: u64,
    /// Uploads taken, in one piece or completed.
    pub uploads: u64,
    /// Parts of uploads taken, repeated ones included.
    pub parts: u64,
    /// Tokens for uploads given out.
    pub tokens: u64,
    /// Downloads served, whole or in part.
    pub downloads: u64,
    /// Jobs and files dropped for lack of room.
    pub evicted: u64,
}

impl Model {
    /// Does something to the service. Returns whether it named a job, a file or a session to which that could
    /// happen.
    pub fn handle_control(&mut self, now: Instant, control: Control) -> bool {
        self.advance(now);
        let done = self.apply(control);
        self.settle(now);
        done
    }

    fn apply(&mut self, control: Control) -> bool {
        match control {
            Control::FailNext(failure) => {
                self.fail_next.push_back(Arc::new(failure));
                true
            }
            Control::BreakNextStream(failure) => {
                self.break_next.push_back(failure);
                true
            }
            Control::Fail { request_id, failure } => {
                let possible = self.job_is(request_id, |job| !job.is_done());
                if possible {
                    self.fail(request_id, Arc::new(failure));
                }
                possible
            }
            Control::Finish { request_id } => self.finish_now(request_id),
            Control::Requeue { request_id } => self.requeue(request_id, true, Duration::ZERO),
            Control::Cancel { request_id } => {
                let possible = self.job_is(request_id, |job| !job.is_done());
                if possible {
                    self.cancel(request_id);
                }
                possible
            }
            Control::Redeliver { request_id } => self.redeliver(request_id),
            Control::WithholdNextPayload => {
                self.deliveries.withhold_next = true;
                true
            }
            Control::RotateWebhookKey => {
                let seed = self.config.signing_seed();
                self.deliveries.signer.rotate(seed, self.config.tenant);
                true
            }
            Control::FailUploads { step, times, failure } => {
                self.plan_upload_failure(step, times, failure);
                true
            }
            Control::ExpireFile { url } => self.expire_file(&url),
            Control::ExpireTokens => {
                self.expire_tokens();
                true
            }
            Control::RefuseNextHandshake(failure) => {
                self.refuse_next.push_back(Arc::new(failure));
                true
            }
            Control::FailNextMessage(failure) => {
                self.fail_messages.push_back(failure);
                true
            }
            Control::Say { session, frame } => {
                self.each_session(session, |model, id| model.session_say(id, frame.clone()))
            }
            Control::CloseSession { session, code, reason } => {
                self.each_session(session, |model, id| {
                    model.session_over(id, Output::Close { id, code, reason: reason.clone() });
                })
            }
            Control::DropSession { session } => self.each_session(session, |model, id| {
                model.session_over(id, Output::Cut { id });
            }),
            Control::Lock(reason) => {
                self.config.locked = reason;
                true
            }
            Control::Restart => {
                self.restart();
                true
            }
        }
    }

    /// Does something to one open session or to all. Returns whether there was any.
    fn each_session(&mut self, session: Option<u64>, mut act: impl FnMut(&mut Self, u64)) -> bool {
        let is_meant = |id: u64| session.is_none_or(|session| session == id);
        let ids: Vec<u64> = self
            .open
            .iter()
            .filter(|(id, open)| matches!(open, Open::Session(_)) && is_meant(**id))
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            act(self, *id);
        }
        !ids.is_empty()
    }

    /// Every job, the oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobView> {
        self.jobs
            .by_age()
            .into_iter()
            .map(|(id, job)| view(id, &self.config, &self.files, job))
            .collect()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, request_id: RequestId) -> Option<JobView> {
        self.jobs.get(request_id).map(|job| view(request_id, &self.config, &self.files, job))
    }

    /// What has happened since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes of inputs, results and files that are kept in memory, by its own account.
    #[must_use]
    pub const fn stored_bytes(&self) -> usize {
        self.jobs.bytes() + self.files.bytes()
    }

    /// Bytes of files that the shell keeps outside of memory.
    #[must_use]
    pub const fn spooled_bytes(&self) -> u64 {
        self.files.spooled_bytes()
    }

    /// How many jobs are kept.
    #[must_use]
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// How many files are kept.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    fn job_is(&self, id: RequestId, test: impl FnOnce(&Job) -> bool) -> bool {
        self.jobs.get(id).is_some_and(test)
    }

    fn finish_now(&mut self, id: RequestId) -> bool {
        // Only its back end knows how it would have ended.
        if self.has_backend(id) {
            return false;
        }
        if self.job_is(id, |job| matches!(job.state, State::Queued { .. })) {
            // It starts beside the line, whether a runner is free or not.
            let app = self.jobs.get(id).map(|job| job.endpoint.clone());
            self.start(id);
            if let Some(app) = app {
                self.line_moved(app.app());
                self.drop_idle(app.app());
            }
            self.finish(id);
            return true;
        }
        let possible = self.job_is(id, |job| !job.is_done());
        self.finish(id);
        possible
    }

    /// Puts a running job back, to wait for `rest` at least. Its runner stays warm unless it was lost.
    pub(super) fn requeue(&mut self, id: RequestId, stays_warm: bool, rest: Duration) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        let State::Running { since, .. } = job.state else { return false };
        if job.past.len() + 1 >= ATTEMPTS_MAX {
            return false;
        }
        if job.cancel_asked {
            self.fail(id, Arc::new(Failure::cancelled()));
            return true;
        }
        if job.start_by.is_some_and(|start_by| start_by <= self.now) {
            self.fail(id, Arc::new(Failure::start_timeout()));
            return true;
        }
        let before = job.bytes();
        job.past.push(Attempt { since, until: self.now });
        let endpoint = job.endpoint.clone();
        if self.vacate(id) && stays_warm {
            self.leave_runner(endpoint.app());
        }
        self.enqueue(id, rest);
        if let Some(after) = self.jobs.get(id).map(Job::bytes) {
            self.jobs.recount(before, after);
        }
        self.start_ready(endpoint.app());
        true
    }

    fn restart(&mut self) {
        while let Some(id) = self.open.first_key_value().map(|(id, _)| *id) {
            self.gone(id);
            self.out.push_back(Output::Cut { id });
        }
        self.cut_flights();
    }
}

fn view(request_id: RequestId, config: &Config, files: &Files, job: &Job) -> JobView {
    let (state, current) = match &job.state {
        State::Queued { .. } => (JobState::Queued, false),
        State::Running { .. } => (JobState::Running, true),
        State::Done { outcome: Outcome::Made(_), run } => (JobState::Succeeded, run.is_some()),
        State::Done { outcome: Outcome::Failed(_), run } => (JobState::Failed, run.is_some()),
        State::Done { outcome: Outcome::Unread, run } => {
            // What a rule gave ended well whatever the input.
            let is_valid = job.plan.rule.is_some()
                || Answer::prepare(config, files, job.endpoint.as_str(), &job.input).is_ok();
            (if is_valid { JobState::Succeeded } else { JobState::Failed }, run.is_some())
        }
    };
    JobView {
        request_id,
        endpoint: job.endpoint.as_str().to_owned(),
        state,
        input: job.input.clone(),
        headers: job.headers.clone(),
        is_low_priority: job.priority == Priority::Low,
        cancel_asked: job.cancel_asked,
        attempts: job.past.len() + usize::from(current),
        rule: job.plan.rule.as_ref().map(|rule| rule.name.to_string()),
    }
}

/// Headers kept with a job.
pub const HEADERS_MAX: usize = 16;
