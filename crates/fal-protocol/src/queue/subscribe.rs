//! Machine: the whole life of a job under one deadline.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Submitting | success | Watching, Over | `Submitted` is told; `SubmitUnknown` if it names no request |
//! | Submitting | redirect, refusal, failure, timeout | Submitting, Over | as [`Submit`] says |
//! | Submitting | deadline, cancel | Rescuing, Over | an open submit may still be accepted; otherwise nothing exists |
//! | Watching | success | Watching, Fetching, Over | as [`Watch`] says; COMPLETED, well or not: the result is asked for |
//! | Watching | chunk | Watching, Fetching | likewise |
//! | Watching | head, end | Watching | likewise |
//! | Watching | redirect, refusal, failure, timeout | Watching, Over | likewise |
//! | Fetching | success, redirect, refusal, failure, timeout | Fetching, Over | as [`Fetch`] says |
//! | Watching, Fetching | cancel | Cancelling | the service is asked to cancel |
//! | Watching, Fetching | deadline | Cancelling, Over | the same, or the job is left |
//! | Rescuing | success | Cancelling, Over | what came to exist is cancelled |
//! | Rescuing | redirect, refusal, failure, timeout | Over | nothing more is submitted |
//! | Cancelling | redirect, refusal, failure, timeout | Cancelling, Over | as [`Cancel`] says, with a limit of its own |
//! | Cancelling | success | Over | `Deadline` or `Cancelled`, with what became of the job |

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::watch::Told;
use super::{
    Cancel, CancelOutcome, Completed, Event, Fetch, FetchConfig, Handle, Submit, SubmitConfig,
    Watch, WatchConfig,
};
use crate::answer::Answer;
use crate::error::{Aftermath, ApiError, Error, ErrorKind, InputError};
use crate::machine::{Ids, Out, Output, after, is_due};
use crate::rand::SplitMix64;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Failure, Head, Response};

/// What becomes of the job when the caller's deadline passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDeadline {
    /// The service is asked to cancel it.
    #[default]
    Cancel,
    /// It goes on; the error has its handle.
    Leave,
}

/// How to wait for a job.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SubscribeConfig {
    /// How to watch. Its own deadline is not used.
    pub watch: WatchConfig,
    /// When to give up, over submit, wait and result together.
    pub deadline: Option<Instant>,
    /// What becomes of the job then.
    pub on_deadline: OnDeadline,
}

/// A job that succeeded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// The job.
    pub handle: Handle,
    /// The model's output.
    pub answer: Answer,
    /// What the service measured, as its last status told.
    pub metrics: Value,
}

/// Submits a job, follows it, and takes its result. Does no I/O and reads no clock; see
/// [`crate::machine`] for the contract.
///
/// The result is fetched at once on completion, because the service keeps results of 10 KB and more
/// for only 6 minutes, and smaller ones for an hour (docs.fal.ai, result page, documented).
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Subscribe {
    settings: Arc<Settings>,
    config: SubscribeConfig,
    seeds: SplitMix64,
    stage: Stage,
    handle: Option<Handle>,
    position: Option<u64>,
    metrics: Value,
    /// What the status named, until the result tells it in full.
    failure: Option<ApiError>,
    out: Out<Event, Finished>,
}

#[derive(Debug)]
enum Stage {
    Submitting(Box<Submit>),
    Watching(Box<Watch>),
    Fetching(Box<Fetch>),
    Rescuing { submit: Box<Submit>, until: Option<Instant>, why: Why },
    Cancelling { cancel: Box<Cancel>, why: Why },
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Deadline,
    Cancelled,
}

impl Why {
    const fn kind(self, aftermath: Aftermath) -> ErrorKind {
        match self {
            Self::Deadline => ErrorKind::Deadline { aftermath },
            Self::Cancelled => ErrorKind::Cancelled { aftermath },
        }
    }
}

impl Subscribe {
    /// Begins with a new job. The deadline of `submit` is not used.
    ///
    /// # Errors
    /// [`InputError`] when the options cannot be sent.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        mut submit: SubmitConfig,
        config: SubscribeConfig,
    ) -> Result<Self, InputError> {
        let mut seeds = SplitMix64::new(seed);
        submit.deadline = config.deadline;
        let submit = Submit::new(now, seeds.next_u64(), settings, submit)?;
        let mut subscribe =
            Self::at(settings, config, seeds, Stage::Submitting(Box::new(submit)), None);
        subscribe.pump(now);
        Ok(subscribe)
    }

    /// Begins with a job that was submitted before.
    ///
    /// # Errors
    /// [`InputError`] when the handle gives no usable address.
    pub fn attach(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: SubscribeConfig,
    ) -> Result<Self, InputError> {
        let mut seeds = SplitMix64::new(seed);
        let watch = WatchConfig { deadline: config.deadline, ..config.watch.clone() };
        let watch = Watch::new(now, seeds.next_u64(), settings, handle.clone(), watch)?;
        let mut subscribe =
            Self::at(settings, config, seeds, Stage::Watching(Box::new(watch)), Some(handle));
        subscribe.pump(now);
        Ok(subscribe)
    }

    fn at(
        settings: &Arc<Settings>,
        config: SubscribeConfig,
        seeds: SplitMix64,
        stage: Stage,
        handle: Option<Handle>,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            config,
            seeds,
            stage,
            handle,
            position: None,
            metrics: Value::Null,
            failure: None,
            out: Out::new(),
        }
    }

    /// The head of a streamed answer arrived.
    pub fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        if let Stage::Watching(watch) = &mut self.stage {
            watch.handle_head(now, id, head);
        }
        self.pump(now);
    }

    /// A piece of a streamed answer arrived.
    pub fn handle_chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
        if let Stage::Watching(watch) = &mut self.stage {
            watch.handle_chunk(now, id, chunk);
        }
        self.pump(now);
    }

    /// A streamed answer ended in order.
    pub fn handle_end(&mut self, now: Instant, id: ExchangeId) {
        if let Stage::Watching(watch) = &mut self.stage {
            watch.handle_end(now, id);
        }
        self.pump(now);
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        match &mut self.stage {
            Stage::Submitting(submit) | Stage::Rescuing { submit, .. } => {
                submit.handle_response(now, id, response);
            }
            Stage::Watching(watch) => watch.handle_response(now, id, response),
            Stage::Fetching(fetch) => fetch.handle_response(now, id, response),
            Stage::Cancelling { cancel, .. } => cancel.handle_response(now, id, response),
            Stage::Over => {}
        }
        self.pump(now);
    }

    /// An exchange ended without an answer, or a streamed one broke.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        match &mut self.stage {
            Stage::Submitting(submit) | Stage::Rescuing { submit, .. } => {
                submit.handle_failure(now, id, failure);
            }
            Stage::Watching(watch) => watch.handle_failure(now, id, failure),
            Stage::Fetching(fetch) => fetch.handle_failure(now, id, failure),
            Stage::Cancelling { cancel, .. } => cancel.handle_failure(now, id, failure),
            Stage::Over => {}
        }
        self.pump(now);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let waits =
            matches!(self.stage, Stage::Submitting(_) | Stage::Watching(_) | Stage::Fetching(_));
        if waits && is_due(self.config.deadline, now) {
            return match self.config.on_deadline {
                OnDeadline::Cancel => self.give_up(now, Why::Deadline),
                OnDeadline::Leave => self.leave(Why::Deadline),
            };
        }
        match &mut self.stage {
            Stage::Submitting(submit) => submit.handle_timeout(now),
            Stage::Watching(watch) => watch.handle_timeout(now),
            Stage::Fetching(fetch) => fetch.handle_timeout(now),
            Stage::Cancelling { cancel, .. } => cancel.handle_timeout(now),
            Stage::Rescuing { until, .. } if is_due(*until, now) => return self.abandon_rescue(),
            Stage::Rescuing { .. } | Stage::Over => {}
        }
        self.pump(now);
    }

    /// The caller wants no result any more: asks the service to cancel the job, which takes at most
    /// [`Settings::cancel_timeout`]. Ends as [`ErrorKind::Cancelled`]. To leave the job running
    /// instead, drop the machine.
    pub fn handle_cancel(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Submitting(_) | Stage::Watching(_) | Stage::Fetching(_)) {
            self.give_up(now, Why::Cancelled);
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Finished> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    /// The job, as soon as the service has accepted it.
    #[must_use]
    pub const fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match &self.stage {
            Stage::Submitting(_) => "Submitting",
            Stage::Watching(_) => "Watching",
            Stage::Fetching(_) => "Fetching",
            Stage::Rescuing { .. } => "Rescuing",
            Stage::Cancelling { .. } => "Cancelling",
            Stage::Over => "Over",
        }
    }

    fn until(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Submitting(submit) => submit.solo.until(),
            Stage::Watching(watch) => watch.until(),
            Stage::Fetching(fetch) => fetch.solo.until(),
            Stage::Rescuing { until, .. } => *until,
            Stage::Cancelling { cancel, .. } => cancel.solo.until(),
            Stage::Over => None,
        }
    }

    /// Moves outputs of the current part outwards; when it is done, begins the next.
    fn pump(&mut self, now: Instant) {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            self.stage = match stage {
                Stage::Submitting(mut submit) => match self.drain(|| submit.poll_output()) {
                    None => return self.stage = Stage::Submitting(submit),
                    Some(Ok(handle)) => self.watch(now, handle, submit.solo.ids()),
                    Some(Err(error)) => self.finish(Err(error)),
                },
                Stage::Watching(mut watch) => match self.drain(|| watch.poll_output()) {
                    None => return self.stage = Stage::Watching(watch),
                    Some(Ok(completed)) => self.fetch(now, completed, watch.ids),
                    Some(Err(error)) => self.finish(Err(error)),
                },
                Stage::Fetching(mut fetch) => match self.drain(|| fetch.poll_output()) {
                    None => return self.stage = Stage::Fetching(fetch),
                    Some(result) => self.conclude(result),
                },
                Stage::Rescuing { mut submit, until, why } => match self
                    .drain(|| submit.poll_output())
                {
                    None => return self.stage = Stage::Rescuing { submit, until, why },
                    Some(Ok(handle)) => {
                        self.handle = Some(handle);
                        self.cancel(now, why, submit.solo.ids(), until)
                    }
                    Some(Err(error)) => {
                        let unknown = matches!(error.kind(), ErrorKind::SubmitUnknown { .. });
                        let aftermath =
                            if unknown { Aftermath::Unknown } else { Aftermath::NothingSubmitted };
                        self.finish(Err(why.kind(aftermath).into()))
                    }
                },
                Stage::Cancelling { mut cancel, why } => {
                    match self.drain(|| cancel.poll_output()) {
                        None => return self.stage = Stage::Cancelling { cancel, why },
                        Some(result) => self.finish(Err(why.kind(aftermath_of(result)).into())),
                    }
                }
                Stage::Over => return,
            };
        }
    }

    /// Takes a part's outputs over; its result, if it has one.
    fn drain<T>(&mut self, mut poll: impl FnMut() -> Output<Event, T>) -> Option<Result<T, Error>> {
        loop {
            match poll() {
                Output::Send { id, request } => self.out.push_back(Output::Send { id, request }),
                Output::Abort { id } => self.out.push_back(Output::Abort { id }),
                Output::Event(event) => {
                    if let Event::Queued { position } = &event {
                        self.position = *position;
                    }
                    self.out.push_back(Output::Event(event));
                }
                Output::Wait { .. } => return None,
                Output::Message { .. } => {} // None of its parts has a WebSocket.
                Output::Done(result) => return Some(result),
            }
        }
    }

    fn watch(&mut self, now: Instant, handle: Handle, ids: Ids) -> Stage {
        self.handle = Some(handle.clone());
        let config = WatchConfig { deadline: self.config.deadline, ..self.config.watch.clone() };
        let told = self.position.map_or(Told::Nothing, |position| Told::Queued(Some(position)));
        let seed = self.seeds.next_u64();
        match Watch::with_told(now, seed, &self.settings, handle, config, ids, told) {
            Ok(watch) => Stage::Watching(Box::new(watch)),
            Err(error) => self.finish(Err(ErrorKind::Input(error).into())),
        }
    }

    fn fetch(&mut self, now: Instant, completed: Completed, ids: Ids) -> Stage {
        self.metrics = completed.metrics;
        self.failure = completed.failure;
        let Some(handle) = self.handle.clone() else { return Stage::Over };
        let not_ready_interval = Some(self.config.watch.poll_interval);
        let config = FetchConfig { not_ready_interval, deadline: self.config.deadline };
        match Fetch::with_ids(now, self.seeds.next_u64(), &self.settings, handle, config, ids) {
            Ok(fetch) => Stage::Fetching(Box::new(fetch)),
            Err(error) => self.finish(Err(ErrorKind::Input(error).into())),
        }
    }

    /// A failed job's result tells its failure in full; if it does not, the status's word stands.
    fn conclude(&mut self, result: Result<Answer, Error>) -> Stage {
        let result = match (result, self.failure.take()) {
            (Err(error), Some(failure)) if !tells_failure(&error) => {
                Err(Error::new(ErrorKind::Api(failure)))
            }
            (Err(error), _) => Err(error),
            (Ok(_), Some(failure)) => Err(Error::new(ErrorKind::Api(failure))),
            (Ok(answer), None) => match self.handle.clone() {
                Some(handle) => {
                    Ok(Finished { handle, answer, metrics: std::mem::take(&mut self.metrics) })
                }
                None => return Stage::Over,
            },
        };
        self.finish(result)
    }

    /// Stops waiting and has the job cancelled.
    fn give_up(&mut self, now: Instant, why: Why) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Submitting(mut submit) if submit.solo.in_flight().is_some() => {
                submit.solo.expire(now);
                let until = after(now, self.settings.cancel_timeout);
                self.stage = Stage::Rescuing { submit, until, why };
            }
            Stage::Submitting(submit) => {
                self.stage = self.finish(Err(why.kind(submit.solo.aftermath()).into()));
            }
            Stage::Watching(mut watch) => {
                self.out.extend(watch.stop().map(|id| Output::Abort { id }));
                let until = after(now, self.settings.cancel_timeout);
                self.stage = self.cancel(now, why, watch.ids, until);
            }
            Stage::Fetching(mut fetch) => {
                self.out.extend(fetch.solo.stop().map(|id| Output::Abort { id }));
                let until = after(now, self.settings.cancel_timeout);
                self.stage = self.cancel(now, why, fetch.solo.ids(), until);
            }
            other => self.stage = other,
        }
        self.pump(now);
    }

    /// Stops waiting and lets the job go on.
    fn leave(&mut self, why: Why) {
        let (in_flight, aftermath) = match &mut self.stage {
            Stage::Submitting(submit) => (submit.solo.in_flight(), submit.solo.aftermath()),
            Stage::Watching(watch) => (watch.stop(), Aftermath::Left),
            Stage::Fetching(fetch) => (fetch.solo.stop(), Aftermath::Left),
            _ => return,
        };
        self.out.extend(in_flight.map(|id| Output::Abort { id }));
        self.stage = self.finish(Err(why.kind(aftermath).into()));
    }

    fn abandon_rescue(&mut self) {
        if let Stage::Rescuing { submit, why, .. } = std::mem::replace(&mut self.stage, Stage::Over)
        {
            self.out.extend(submit.solo.in_flight().map(|id| Output::Abort { id }));
            self.stage = self.finish(Err(why.kind(submit.solo.aftermath()).into()));
        }
    }

    fn cancel(&mut self, now: Instant, why: Why, ids: Ids, until: Option<Instant>) -> Stage {
        let Some(handle) = self.handle.clone() else { return Stage::Over };
        let seed = self.seeds.next_u64();
        match Cancel::with_ids(now, seed, &self.settings, handle, until, ids) {
            Ok(cancel) => Stage::Cancelling { cancel: Box::new(cancel), why },
            Err(error) => {
                let aftermath = Aftermath::CancelFailed(error.to_string().into());
                self.finish(Err(why.kind(aftermath).into()))
            }
        }
    }

    fn finish(&mut self, result: Result<Finished, Error>) -> Stage {
        let handle = self.handle.clone();
        self.out.push_back(Output::Done(result.map_err(|error| error.with_handle(handle))));
        Stage::Over
    }
}

/// Whether this error is the service's own answer, and not trouble on the way to it.
fn tells_failure(error: &Error) -> bool {
    let ErrorKind::Api(api) = error.kind() else { return false };
    let is_json = api.body.trim_ascii_start().starts_with(b"{");
    api.request_id.is_some() || api.error_type.is_some() || is_json
}

fn aftermath_of(result: Result<CancelOutcome, Error>) -> Aftermath {
    match result {
        Ok(outcome) => Aftermath::Asked(outcome),
        Err(error) => match error.kind() {
            ErrorKind::Deadline { aftermath } => aftermath.clone(),
            kind => Aftermath::CancelFailed(kind.to_string().into()),
        },
    }
}
