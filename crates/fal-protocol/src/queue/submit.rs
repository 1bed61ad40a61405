//! Machine: put a job into the queue, once.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Handle)`; `SubmitUnknown` if it names no request |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{Event, Handle};
use crate::EndpointId;
use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError};
use crate::headers;
use crate::hosts::Host;
use crate::machine::{Ids, Out, Output, earliest, is_due};
use crate::options::Options;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Failure, Response};

/// What to submit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubmitConfig {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// JSON of the model's input; shared by all attempts.
    pub input: Bytes,
    /// Platform options.
    pub options: Options,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl SubmitConfig {
    /// This input, without options or deadline.
    #[must_use]
    pub fn new(endpoint: EndpointId, input: Bytes) -> Self {
        Self { endpoint, input, options: Options::default(), deadline: None }
    }
}

/// Submits one job. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Submit {
    endpoint: EndpointId,
    call: Call,
    deadline: Option<Instant>,
    pub(super) ids: Ids,
    out: Out<Event, Handle>,
    over: bool,
}

impl Submit {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError`] when the options cannot be sent.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: SubmitConfig,
    ) -> Result<Self, InputError> {
        let query = config.options.query()?;
        let query: Vec<(&str, &str)> =
            query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let uri = settings.hosts.uri(Host::Queue, config.endpoint.as_str(), &query)?;
        let request = json_request(
            settings,
            Method::POST,
            uri,
            config.options.headers()?,
            Some(config.input),
        );
        let call = Call::new(settings, Purpose::Submit, request, seed, config.deadline);
        let mut submit = Self {
            endpoint: config.endpoint,
            call,
            deadline: config.deadline,
            ids: Ids::default(),
            out: Out::new(),
            over: false,
        };
        if is_due(submit.deadline, now) {
            // Nobody waits for this job any more, so nobody is to pay for it.
            let aftermath = Aftermath::NothingSubmitted;
            submit.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        } else {
            submit.call.start(now, &mut submit.ids, &mut submit.out);
        }
        Ok(submit)
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
            let aftermath = self.aftermath();
            let stopped = self.call.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(settled);
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Handle> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        if self.over { "Over" } else { self.call.state_name() }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        if self.over { None } else { earliest(self.call.until(), self.deadline) }
    }

    /// What may exist at the service if everything stops now.
    pub(super) const fn aftermath(&self) -> Aftermath {
        if self.call.in_flight().is_some() || self.call.is_unknown() {
            Aftermath::Unknown
        } else {
            Aftermath::NothingSubmitted
        }
    }

    /// Waits for the answer to what is open, and sends nothing more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.call.expire(now);
    }

    pub(super) const fn in_flight(&self) -> Option<ExchangeId> {
        self.call.in_flight()
    }

    fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            None => {}
            Some(Err(error)) => self.finish(Err(error)),
            Some(Ok(response)) => match read_handle(&self.endpoint, &response) {
                Ok((handle, position)) => {
                    self.finish_with(handle, position);
                }
                // Accepted, and nobody knows under which id: to be told, never to be repeated.
                Err(problem) => {
                    let cause = Box::new(ErrorKind::Protocol(problem));
                    self.finish(Err(ErrorKind::SubmitUnknown { cause }.into()));
                }
            },
        }
    }

    fn finish_with(&mut self, handle: Handle, position: Option<u64>) {
        self.out.push_back(Output::Event(Event::Submitted(handle.clone())));
        if position.is_some() {
            self.out.push_back(Output::Event(Event::Queued { position }));
        }
        self.finish(Ok(handle));
    }

    fn finish(&mut self, result: Result<Handle, Error>) {
        self.over = true;
        self.out.push_back(Output::Done(result));
    }
}

/// Lenient: a field of an unexpected type must not cost the handle of a job that is paid for.
#[derive(Deserialize)]
struct Submitted {
    #[serde(default)]
    request_id: Value,
    #[serde(default)]
    status_url: Value,
    #[serde(default)]
    response_url: Value,
    #[serde(default)]
    cancel_url: Value,
    #[serde(default)]
    queue_position: Value,
}

/// The job that a submit's answer names. Without a usable body the header still names it.
fn read_handle(
    endpoint: &EndpointId,
    response: &Response,
) -> Result<(Handle, Option<u64>), ProtocolError> {
    let body: Result<Submitted, _> = serde_json::from_slice(response.body());
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(Box::from);
    let named = body.as_ref().ok().and_then(|body| text(&body.request_id));
    let header = || {
        let id = response.headers().get(headers::REQUEST_ID)?.to_str().ok()?.trim();
        (!id.is_empty()).then(|| Box::from(id))
    };
    let Some(request_id) = named.or_else(header) else {
        let problem =
            body.err().map_or_else(|| "it has no request_id".to_owned(), |e| e.to_string());
        return Err(ProtocolError::body("a submit answer", problem, response.body()));
    };
    let mut handle = Handle::new(endpoint.clone(), request_id);
    let mut position = None;
    if let Ok(body) = body {
        (handle.status_url, handle.response_url, handle.cancel_url) =
            (text(&body.status_url), text(&body.response_url), text(&body.cancel_url));
        position = body.queue_position.as_u64();
    }
    Ok((handle, position))
}
