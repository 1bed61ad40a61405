//! How a job can fail: what its result answers, and what its status says.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::render;

/// The outcome of a job that failed, replayed at its result as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The status of the result.
    pub status: StatusCode,
    /// The body of the result, JSON.
    pub body: Bytes,
    /// Further headers of the result, such as `x-fal-needs-retry`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The text under `error` in the status of the job.
    pub error: Box<str>,
    /// The name under `error_type` in the status of the job. Model errors have none.
    pub error_type: Option<Box<str>>,
}

impl Failure {
    /// A failure of the infrastructure: `{"detail":…,"error_type":…}` and `X-Fal-Error-Type`.
    #[must_use]
    pub fn request_error(status: StatusCode, error_type: &str, detail: &str) -> Self {
        let mut body = b"{\"detail\":".to_vec();
        render::push_string(&mut body, detail);
        body.extend_from_slice(b",\"error_type\":");
        render::push_string(&mut body, error_type);
        body.push(b'}');
        let failure = Self {
            status,
            body: body.into(),
            headers: Vec::new(),
            error: detail.into(),
            error_type: Some(error_type.into()),
        };
        match HeaderValue::try_from(error_type) {
            Ok(value) => failure.with_header(HeaderName::from_static("x-fal-error-type"), value),
            Err(_) => failure, // A name that no header can carry stands in the body alone.
        }
    }

    /// A failure of the model: one entry of `detail`, about the whole body.
    #[must_use]
    pub fn model_error(status: StatusCode, kind: &str, msg: &str) -> Self {
        let mut body = b"{\"detail\":[{\"loc\":[\"body\"],\"msg\":".to_vec();
        render::push_string(&mut body, msg);
        body.extend_from_slice(b",\"type\":");
        render::push_string(&mut body, kind);
        body.extend_from_slice(b",\"url\":");
        render::push_string(&mut body, &format!("https://docs.fal.ai/errors#{kind}"));
        body.extend_from_slice(b",\"input\":null}]}");
        Self { status, body: body.into(), headers: Vec::new(), error: msg.into(), error_type: None }
    }

    /// A failure with any body, and what the status says of it.
    #[must_use]
    pub fn new(
        status: StatusCode,
        body: impl Into<Bytes>,
        error: &str,
        error_type: Option<&str>,
    ) -> Self {
        Self {
            status,
            body: body.into(),
            headers: Vec::new(),
            error: error.into(),
            error_type: error_type.map(Into::into),
        }
    }

    /// Adds a header to the result.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The start timeout of the caller ran out.
    pub(crate) fn start_timeout() -> Self {
        let detail = "The request did not start within its start timeout";
        Self::request_error(StatusCode::GATEWAY_TIMEOUT, "request_timeout", detail).with_header(
            HeaderName::from_static("x-fal-request-timeout-type"),
            HeaderValue::from_static("user"),
        )
    }

    /// The caller cancelled.
    pub(crate) fn cancelled() -> Self {
        let status = StatusCode::from_u16(499).expect("three digits");
        Self::request_error(status, "client_cancelled", "The request was cancelled by its caller")
    }

    /// The input is not what the model takes.
    pub(crate) fn invalid(problems: &[super::input::Problem]) -> Self {
        let body = super::input::render_problems(problems);
        Self::unprocessable(body, &super::input::summary(problems))
    }

    /// 422 with a list under `detail`, for which nobody pays and which no repeat mends.
    pub(crate) fn unprocessable(body: Vec<u8>, summary: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, body, summary, None)
            .with_header(
                HeaderName::from_static("x-fal-billable-units"),
                HeaderValue::from_static("0"),
            )
            .with_header(
                HeaderName::from_static("x-fal-retryable"),
                HeaderValue::from_static("false"),
            )
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.error.len()
    }
}
