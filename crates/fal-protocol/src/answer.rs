//! What a model answered.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::headers;
use crate::wire::Response;

/// The output of a model, as it came: status, headers and body.
///
/// The body is held once; [`json`](Self::json) borrows from it, so a 20 MB image inside a data URI
/// need not be copied.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The model's own status, 2xx.
    pub status: StatusCode,
    /// All headers of the answer.
    pub headers: HeaderMap,
    /// The body, usually JSON.
    pub body: Bytes,
}

impl Answer {
    /// An answer with these parts.
    #[must_use]
    pub const fn from_parts(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }

    pub(crate) fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// Reads the body as JSON. Types may borrow from it (`&str`, `&RawValue`).
    ///
    /// # Errors
    /// As `serde_json`: not JSON, or not of this type.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }

    /// The request id that the answer carried.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.header(headers::REQUEST_ID)
    }

    /// Billed units, 0 or more, if the service told.
    #[must_use]
    pub fn billable_units(&self) -> Option<f64> {
        headers::billable_units(&self.headers)
    }

    /// Which back end answered, if the service told; an open text.
    ///
    /// Source: docs.fal.ai, response headers (documented).
    #[must_use]
    pub fn served_from(&self) -> Option<&str> {
        headers::text(&self.headers, &headers::SERVED_FROM)
    }

    /// The hints that the runner holds now: what a later call may
    /// [ask for](crate::options::Options::hint).
    ///
    /// Source: `app.py` of fal's serverless SDK (official client source).
    pub fn runner_hints(&self) -> impl Iterator<Item = &str> {
        let all = headers::text(&self.headers, &headers::RUNNER_HINTS).unwrap_or_default();
        all.split(',').map(str::trim).filter(|hint| !hint.is_empty())
    }

    /// The media type, such as `application/json`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(header::CONTENT_TYPE)
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::new(response)
    }
}

/// Prints the body's length only.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}
