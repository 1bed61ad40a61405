//! Whole answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::exchange::Response;
use super::id::RequestId;
use crate::render;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, id: RequestId, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(REQUEST_ID, id_value(id));
    response
}

/// `{"detail":"…"}`.
pub(crate) fn refuse(status: StatusCode, id: RequestId, detail: &str) -> Response {
    json(status, id, render::detail(detail))
}

/// 405 with what would be right.
pub(crate) fn wrong_method(id: RequestId, allow: &'static str) -> Response {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, id, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 501 for what the real service has and this one has not.
pub(crate) fn not_emulated(id: RequestId, what: &str) -> Response {
    refuse(StatusCode::NOT_IMPLEMENTED, id, &format!("fal-mock does not emulate {what}"))
}

/// The answer of the queue to an id that it does not know (any more).
pub(crate) fn unknown_request(id: RequestId) -> Response {
    json(StatusCode::NOT_FOUND, id, Bytes::from_static(b"{\"status\":\"NOT_FOUND\"}"))
}

/// What a job's failure answers.
pub(crate) fn failure(id: RequestId, failure: &super::Failure) -> Response {
    let mut response = json(failure.status, id, failure.body.clone());
    for (name, value) in &failure.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

pub(crate) fn id_value(id: RequestId) -> HeaderValue {
    HeaderValue::from_bytes(&id.to_text()).expect("hexadecimal digits and dashes")
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-fal-request-id");
pub(crate) const BILLABLE_UNITS: HeaderName = HeaderName::from_static("x-fal-billable-units");
