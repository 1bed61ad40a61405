//! Refusals of the control API, as RFC 9457 wants them.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(super) status: StatusCode,
    /// What is wrong, and what to do.
    pub(super) detail: String,
    /// Each of them, where there are several with places of their own.
    problems: Vec<Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), problems: Vec::new() }
    }

    /// 400: the call is not understood.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404: what it is about is not there.
    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it cannot be done as things are.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub(super) fn with_problems(mut self, problems: Vec<Value>) -> Self {
        self.problems = problems;
        self
    }

    pub(super) fn to_json(&self) -> Value {
        let mut value = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.problems.is_empty() {
            value["problems"] = self.problems.as_slice().into();
        }
        value
    }
}
