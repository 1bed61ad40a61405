//! Answers that browsers accept from a page of another origin.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::model::Response;

/// The answer to a preflight: everything is allowed.
///
/// The requested header names are repeated, because `*` does not cover `Authorization`.
pub(crate) fn preflight(request: &HeaderMap) -> Response {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"),
    );
    let names = match request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).map(HeaderValue::as_bytes)
    {
        Some(names) if !names.is_empty() => [b"*, ", names].concat(),
        _ => b"*".to_vec(),
    };
    let names = HeaderValue::try_from(names).unwrap_or(HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of any origin read an answer.
pub(crate) fn allow_origin<B>(response: &mut http::Response<B>) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "ETag, x-fal-request-id, x-fal-billable-units, x-fal-error-type, x-fal-needs-retry, \
             x-fal-retryable, x-fal-request-timeout-type",
        ),
    );
}
