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
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, ErrorKind, InputError};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out, Output, earliest, is_due};
use crate::options::Options;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Expect, Failure, Response};

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
    /// Platform options. Priority and webhook have no effect on a direct run.
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
    call: Call,
    deadline: Option<Instant>,
    ids: Ids,
    out: Out<AttemptFailed, Answer>,
    over: bool,
}

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
        let request =
            json_request(settings, config.method, uri, config.options.headers()?, config.input)
                .with_expect(Expect::Whole { bytes_max: settings.result_bytes_max });
        let call = Call::new(settings, Purpose::Run, request, seed, config.deadline);
        let (ids, out) = (Ids::default(), Out::new());
        let mut run = Self { call, deadline: config.deadline, ids, out, over: false };
        if is_due(run.deadline, now) {
            // Nobody waits for this run any more, so nobody is to pay for it.
            let aftermath = Aftermath::NothingSubmitted;
            run.settle(Some(Err(ErrorKind::Deadline { aftermath }.into())));
        } else {
            run.call.start(now, &mut run.ids, &mut run.out);
        }
        Ok(run)
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
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
        if !self.over && is_due(self.deadline, now) {
            let unknown = self.call.is_unknown();
            let stopped = self.call.stop();
            let aftermath = match stopped {
                Some(_) => Aftermath::Disconnected,
                None if unknown => Aftermath::Unknown,
                None => Aftermath::NothingSubmitted,
            };
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            return self.settle(Some(Err(ErrorKind::Deadline { aftermath }.into())));
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(settled);
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<AttemptFailed, Answer> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        if self.over { "Over" } else { self.call.state_name() }
    }

    fn until(&self) -> Option<Instant> {
        if self.over { None } else { earliest(self.call.until(), self.deadline) }
    }

    fn settle(&mut self, settled: Option<Settled>) {
        if let Some(settled) = settled {
            self.over = true;
            self.out.push_back(Output::Done(settled.map(Answer::new)));
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
