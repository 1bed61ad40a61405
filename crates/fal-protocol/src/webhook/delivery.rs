//! What a delivery says.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::error::{ApiError, ProtocolError};

/// The news that a job has ended, and how.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The request that it is about.
    pub request_id: Box<str>,
    /// The attempt that ended, if fal told: another id than `request_id` once fal has repeated the
    /// request by itself.
    pub gateway_request_id: Option<Box<str>>,
    /// What the queue would give for the job, as far as a delivery can hold it.
    pub outcome: Result<Payload, ApiError>,
}

/// What a job that ended well has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// The model's output; read it with [`Answer::json`]. It has the status 200 and no headers.
    Output(Answer),
    /// There is an output that no delivery can carry: fetch it from the queue.
    NotIncluded {
        /// Why, in the service's words.
        problem: Box<str>,
    },
}

impl Delivery {
    /// Reads the body of a delivery. [Verify](super::verify) it first: anybody can send this.
    ///
    /// The output is a slice of the body, not a copy. Members that are unknown are passed over; every
    /// status but `OK` counts as a failure.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no JSON object with a request id and a status.
    pub fn parse(body: &Bytes) -> Result<Self, ProtocolError> {
        let wire: Wire<'_> = serde_json::from_slice(body)
            .map_err(|error| ProtocolError::body("a webhook delivery", error, body))?;
        let payload =
            wire.payload.map(|raw| body.slice_ref(raw.get().as_bytes())).filter(|p| p != "null");
        let outcome = if wire.status != "OK" {
            Err(wire.failure(payload))
        } else if let Some(problem) = wire.payload_error.as_ref().and_then(text_of) {
            Ok(Payload::NotIncluded { problem: problem.into() })
        } else {
            let output = payload.unwrap_or_else(|| Bytes::from_static(b"null"));
            Ok(Payload::Output(Answer::new(Response::new(output))))
        };
        Ok(Self {
            request_id: wire.request_id.into(),
            gateway_request_id: wire.gateway_request_id.map(Into::into),
            outcome,
        })
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    gateway_request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    payload_error: Option<Value>,
}

impl Wire<'_> {
    fn failure(&self, payload: Option<Bytes>) -> ApiError {
        let error = self.error.as_ref().and_then(text_of);
        let Some(payload) = payload else {
            let unknown = format!("its webhook says {}", self.status);
            let message = error.unwrap_or_else(|| unknown.into());
            let mut failure = ApiError::from_status(&self.request_id, Some(&message), None);
            failure.status = status_in(&message);
            return failure;
        };
        let status = error.as_deref().and_then(status_in);
        let assumed = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut failure = ApiError::parse(assumed, &HeaderMap::new(), &payload);
        failure.status = status;
        failure.request_id = Some(self.request_id.as_ref().into());
        failure
    }
}

/// A text as it is, anything else as JSON; nothing for null.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// The status at the end of `Invalid status code: 422`.
fn status_in(error: &str) -> Option<StatusCode> {
    let (_, digits) = error.rsplit_once(' ')?;
    let code: u16 = digits.parse().ok()?;
    StatusCode::from_u16(code).ok().filter(|status| status.as_u16() >= 400)
}
