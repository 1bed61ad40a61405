//! Machine: one direct run. The answer arrives on the same connection, when the model is done.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Answer)` |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;

use crate::EndpointId;
use crate::answer::Answer;
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, InputError};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out};
use crate::options::{Options, Route};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Solo, solo_methods};
use crate::wire::{Expect, Response};

/// What to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Default POST. Other methods reach the model's app too.
    pub method: Method,
    /// JSON of the model's input; shared by all attempts.
    pub input: Option<Bytes>,
    /// Platform options, without those of the queue.
    pub options: Options,
    /// When to give up. The service notices the closed connection and stops the model.
    pub deadline: Option<Instant>,
}

impl Config {
    /// A POST of this input, without options or deadline.
    #[must_use]
    pub fn new(endpoint: EndpointId, input: Bytes) -> Self {
        let options = Options::default();
        Self { endpoint, method: Method::POST, input: Some(input), options, deadline: None }
    }
}

/// Performs one direct run. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Run {
    solo: Solo<Direct>,
}

#[derive(Debug)]
struct Direct;

impl Run {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the options cannot be sent.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        let uri = settings.hosts.uri(Host::Run, config.endpoint.as_str(), &[])?;
        let request = json_request(
            settings,
            config.method,
            uri,
            config.options.headers(Route::Run)?,
            config.input,
        )
        .with_expect(Expect::Whole { bytes_max: settings.result_bytes_max });
        let call = Call::new(settings, Purpose::Run, request, seed, config.deadline);
        Ok(Self { solo: Solo::begin(now, Direct, call, config.deadline, Ids::default()) })
    }

    solo_methods!(AttemptFailed, Answer);
}

impl Kind for Direct {
    type Event = AttemptFailed;
    type Done = Answer;

    fn read(
        &mut self,
        response: Response,
        _: &mut Out<AttemptFailed, Answer>,
    ) -> Result<Answer, Error> {
        Ok(Answer::new(response))
    }

    fn aftermath(&self, call: &Call) -> Aftermath {
        match call.in_flight() {
            Some(_) => Aftermath::Disconnected,
            None if call.is_unknown() => Aftermath::Unknown,
            None => Aftermath::NothingSubmitted,
        }
    }
}

/// The body of an input, encoded once.
///
/// # Errors
/// [`InputError::Body`] when the value cannot be JSON, such as a map with keys that are not text.
pub fn encode_input<T: serde::Serialize + ?Sized>(input: &T) -> Result<Bytes, InputError> {
    serde_json::to_vec(input)
        .map(Bytes::from)
        .map_err(|e| InputError::Body { problem: e.to_string().into() })
}
