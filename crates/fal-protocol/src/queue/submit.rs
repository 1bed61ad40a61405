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
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError};
use crate::headers;
use crate::hosts::Host;
use crate::machine::{Ids, Out, Output};
use crate::options::{Options, Route};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Solo, solo_methods};
use crate::wire::Response;

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
    pub(super) solo: Solo<Accepted>,
}

#[derive(Debug)]
pub(super) struct Accepted {
    endpoint: EndpointId,
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
        let headers = config.options.headers(Route::Queue)?;
        let request = json_request(settings, Method::POST, uri, headers, Some(config.input));
        let call = Call::new(settings, Purpose::Submit, request, seed, config.deadline);
        let kind = Accepted { endpoint: config.endpoint };
        Ok(Self { solo: Solo::begin(now, kind, call, config.deadline, Ids::default()) })
    }

    solo_methods!(Event, Handle);
}

impl Kind for Accepted {
    type Event = Event;
    type Done = Handle;

    fn read(&mut self, response: Response, out: &mut Out<Event, Handle>) -> Result<Handle, Error> {
        let (handle, position) = read_handle(&self.endpoint, &response).map_err(|problem| {
            // Accepted, and nobody knows under which id: to be told, never to be repeated.
            let cause = Box::new(ErrorKind::Protocol(problem));
            Error::new(ErrorKind::SubmitUnknown { cause })
        })?;
        out.push_back(Output::Event(Event::Submitted(handle.clone())));
        if position.is_some() {
            out.push_back(Output::Event(Event::Queued { position }));
        }
        Ok(handle)
    }

    fn aftermath(&self, call: &Call) -> Aftermath {
        if call.in_flight().is_some() || call.is_unknown() {
            Aftermath::Unknown
        } else {
            Aftermath::NothingSubmitted
        }
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
