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
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::machine::{Ids, Out};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Reading, Solo, solo_methods};
use crate::wire::{Expect, Response};

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
    pub(super) solo: Solo<Outcome>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    handle: Handle,
    not_ready_interval: Option<Duration>,
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
        ids: Ids,
    ) -> Result<Self, InputError> {
        let uri = handle.response_uri(&settings.hosts)?;
        let request = json_request(settings, Method::GET, uri, HeaderMap::new(), None)
            .with_expect(Expect::Whole { bytes_max: settings.result_bytes_max });
        let call = Call::new(settings, Purpose::Result, request, seed, config.deadline);
        let kind = Outcome { handle, not_ready_interval: config.not_ready_interval };
        Ok(Self { solo: Solo::begin(now, kind, call, config.deadline, ids) })
    }

    solo_methods!(Event, Answer);
}

impl Kind for Outcome {
    type Event = Event;
    type Done = Answer;

    fn intercept(&mut self, response: &Response) -> Option<Reading<Event, Answer>> {
        is_not_ready(response).then(|| match self.not_ready_interval {
            Some(rest) => Reading::Pause(Event::NotReady, rest),
            None => Reading::Done(Err(ErrorKind::NotReady.into())),
        })
    }

    fn read(&mut self, response: Response, _: &mut Out<Event, Answer>) -> Result<Answer, Error> {
        Ok(Answer::new(response))
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::Left
    }

    fn handle(&self) -> Option<&Handle> {
        Some(&self.handle)
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
