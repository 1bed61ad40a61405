//! Machine: ask the service to cancel a job.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(CancelOutcome)` |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal | Resting, Over | an outcome if it names one, else as [`crate::retry`] says |
//! | Asking | timeout | Resting, Over | Abort, then as [`crate::retry`] says |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{Event, Handle};
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, InputError};
use crate::machine::{Ids, Out};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Reading, Solo, solo_methods};
use crate::wire::Response;

/// What the service said to a cancel. All of these are answers, none an error.
///
/// Source: docs.fal.ai, cancel page (documented); which status goes with `OK` is inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// It was still waiting, and will never run.
    Cancelled,
    /// It runs; the runner was told, and may finish all the same.
    Requested,
    /// Too late: there is a result.
    AlreadyCompleted,
    /// The service does not know the job, or no longer.
    NotFound,
}

impl fmt::Display for CancelOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the job was cancelled before it ran",
            Self::Requested => "the running job was told to stop and may still finish",
            Self::AlreadyCompleted => "the job had already completed; its result can be fetched",
            Self::NotFound => "the service does not know the job",
        })
    }
}

/// Cancels one job. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Cancel {
    pub(super) solo: Solo<Outcome>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    handle: Handle,
}

impl Cancel {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the handle gives no usable address.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        deadline: Option<Instant>,
    ) -> Result<Self, InputError> {
        Self::with_ids(now, seed, settings, handle, deadline, Ids::default())
    }

    pub(super) fn with_ids(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        handle: Handle,
        deadline: Option<Instant>,
        ids: Ids,
    ) -> Result<Self, InputError> {
        let uri = handle.cancel_uri(&settings.hosts)?;
        let request = json_request(settings, Method::PUT, uri, HeaderMap::new(), None);
        let call = Call::new(settings, Purpose::Cancel, request, seed, deadline);
        Ok(Self { solo: Solo::begin(now, Outcome { handle }, call, deadline, ids) })
    }

    solo_methods!(Event, CancelOutcome);
}

impl Kind for Outcome {
    type Event = Event;
    type Done = CancelOutcome;

    /// Refusals name outcomes too.
    fn intercept(&mut self, response: &Response) -> Option<Reading<Event, CancelOutcome>> {
        read_outcome(response).map(|outcome| Reading::Done(Ok(outcome)))
    }

    fn read(
        &mut self,
        _: Response,
        _: &mut Out<Event, CancelOutcome>,
    ) -> Result<CancelOutcome, Error> {
        Ok(CancelOutcome::Requested)
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::CancelFailed("no answer in time".into())
    }

    fn handle(&self) -> Option<&Handle> {
        Some(&self.handle)
    }
}

/// The outcome that an answer names; `None` for an error.
///
/// Three eras of the service answer differently: a `status` of four values, `{"success": true}`, and
/// an error text for what has completed. All are read.
fn read_outcome(response: &Response) -> Option<CancelOutcome> {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let word = body.get("status").and_then(Value::as_str);
    let detail = body.get("detail").and_then(Value::as_str).unwrap_or_default();
    match response.status() {
        StatusCode::NOT_FOUND => Some(CancelOutcome::NotFound),
        StatusCode::BAD_REQUEST => {
            let late = word == Some("ALREADY_COMPLETED")
                || detail.to_ascii_lowercase().contains("completed");
            late.then_some(CancelOutcome::AlreadyCompleted)
        }
        status if status.is_success() => Some(match word {
            Some("OK") => CancelOutcome::Cancelled,
            Some("ALREADY_COMPLETED") => CancelOutcome::AlreadyCompleted,
            Some("NOT_FOUND") => CancelOutcome::NotFound,
            None if status == StatusCode::OK && body["success"] == true => CancelOutcome::Cancelled,
            _ => CancelOutcome::Requested,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn table_of_outcomes() {
        use CancelOutcome::{AlreadyCompleted, Cancelled, NotFound, Requested};
        for (status, body, outcome) in [
            (200, r#"{"status":"OK"}"#, Some(Cancelled)),
            (200, r#"{"success":true}"#, Some(Cancelled)),
            (200, r#"{"success":false}"#, Some(Requested)),
            (200, r#"{"status":"CANCELLATION_REQUESTED","success":true}"#, Some(Requested)),
            (202, r#"{"status":"CANCELLATION_REQUESTED"}"#, Some(Requested)),
            (202, "", Some(Requested)),
            (400, r#"{"status":"ALREADY_COMPLETED"}"#, Some(AlreadyCompleted)),
            (400, r#"{"detail":"Request already completed"}"#, Some(AlreadyCompleted)),
            (400, r#"{"detail":"bad header"}"#, None),
            (404, r#"{"status":"NOT_FOUND"}"#, Some(NotFound)),
            (401, "", None),
            (500, "", None),
        ] {
            let response =
                http::Response::builder().status(status).body(Bytes::from(body)).unwrap();
            assert_eq!(read_outcome(&response), outcome, "{status} {body}");
        }
    }
}
