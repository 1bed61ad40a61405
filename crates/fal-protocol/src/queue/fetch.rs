//! Machine: take the result of a job.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Pausing, Over | `Done(Answer)`; 202 is "not ready" |
//! | Asking | refusal | Pausing, Resting, Over | 400 may be "not ready", else as [`crate::retry`] says |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | timeout | Resting, Over | Abort, then as [`crate::retry`] says |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Pausing, Resting | timeout | Asking | it is asked for again |
//! | Asking, Pausing, Resting | deadline | Over | with an Abort of what is open |
//!
//! A failed job's error is stored and replayed here, so it is told at once and never asked for again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{Event, Handle};
use crate::answer::Answer;
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::machine::{Ids, Out, Output, after, earliest, is_due};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Expect, Failure, Response};

/// How to fetch. The default takes a result that must be ready, and waits without a deadline.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FetchConfig {
    /// How long to pause before asking again for a result that is not ready. Default `None`: that is
    /// an error, [`ErrorKind::NotReady`].
    pub not_ready_interval: Option<Duration>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// Fetches one result. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Fetch {
    handle: Handle,
    config: FetchConfig,
    call: Call,
    /// Set while it pauses because the result was not ready.
    pause: Option<Option<Instant>>,
    pub(super) ids: Ids,
    out: Out<Event, Answer>,
    over: bool,
}

impl Fetch {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the handle gives no usable address.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: FetchConfig,
    ) -> Result<Self, InputError> {
        Self::with_ids(now, seed, settings, handle, config, Ids::default())
    }

    pub(super) fn with_ids(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        config: FetchConfig,
        mut ids: Ids,
    ) -> Result<Self, InputError> {
        let uri = handle.response_uri(&settings.hosts)?;
        let request = json_request(settings, Method::GET, uri, HeaderMap::new(), None)
            .with_expect(Expect::Whole { bytes_max: settings.result_bytes_max });
        let mut call = Call::new(settings, Purpose::Result, request, seed, config.deadline);
        let mut out = Out::new();
        call.start(now, &mut ids, &mut out);
        Ok(Self { handle, config, call, pause: None, ids, out, over: false })
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        if !self.call.is_asking(id) {
            return;
        }
        if is_not_ready(&response) {
            self.call.stop();
            let Some(interval) = self.config.not_ready_interval else {
                return self.finish(Err(ErrorKind::NotReady.into()));
            };
            self.out.push_back(Output::Event(Event::NotReady));
            self.pause = Some(after(now, interval));
            return;
        }
        let settled = self.call.handle_response(now, &mut self.ids, id, response, &mut self.out);
        self.settle(settled);
    }

    /// An exchange ended without an answer.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        let settled = self.call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
        self.settle(settled);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.over && is_due(self.config.deadline, now) {
            let stopped = self.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            let aftermath = Aftermath::Left;
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        if self.pause.is_some_and(|until| is_due(until, now)) {
            self.pause = None;
            return self.call.restart(now, &mut self.ids, &mut self.out);
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(settled);
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Answer> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.pause {
            _ if self.over => "Over",
            Some(_) => "Pausing",
            None => self.call.state_name(),
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        let next = self.pause.unwrap_or_else(|| self.call.until());
        if self.over { None } else { earliest(next, self.config.deadline) }
    }

    /// Ends all local work; returns the exchange to abort.
    pub(super) fn stop(&mut self) -> Option<ExchangeId> {
        self.pause = None;
        self.call.stop()
    }

    fn settle(&mut self, settled: Option<Settled>) {
        if let Some(settled) = settled {
            self.finish(settled.map(Answer::new));
        }
    }

    fn finish(&mut self, result: Result<Answer, Error>) {
        self.over = true;
        let bind = |error: Error| error.with_handle(Some(self.handle.clone()));
        self.out.push_back(Output::Done(result.map_err(bind)));
    }
}

/// Whether the service says that the job goes on.
///
/// Source: an end-to-end test of fal's serverless SDK expects the 400 (official source); 202 is what
/// other implementations answer (observed).
fn is_not_ready(response: &Response) -> bool {
    match response.status() {
        StatusCode::ACCEPTED => true,
        StatusCode::BAD_REQUEST => {
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            let detail = body.get("detail").and_then(Value::as_str).unwrap_or_default();
            detail.to_ascii_lowercase().contains("still in progress")
        }
        _ => false,
    }
}
