//! What the events of a workflow's stream say.
//!
//! | `type` | Means |
//! |---|---|
//! | `submit` | a step was put into a queue |
//! | `completion` | a step has finished |
//! | `output` | all of it has finished; the last event |
//! | `error` | a step has failed; the last event |
//!
//! A failure comes inside a stream whose status is 200, so whoever takes events as plain data takes it for a
//! result.
//!
//! Source: docs.fal.ai, workflows page (documented).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{ApiError, ProtocolError};

/// One event of a workflow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkflowEvent {
    /// A step was put into the queue of its app.
    Submitted {
        /// The step.
        node_id: Box<str>,
        /// The app that does it, an endpoint id; empty if not told.
        app_id: Box<str>,
        /// Its request; empty if not told.
        request_id: Box<str>,
    },
    /// A step has finished.
    Completed {
        /// The step.
        node_id: Box<str>,
        /// What it made, JSON: a slice of the event. `null` if not told.
        output: Bytes,
    },
    /// The whole workflow has finished.
    Output {
        /// What it made, JSON: a slice of the event. `null` if not told.
        output: Bytes,
    },
    /// A step has failed, and so has the workflow.
    Failed {
        /// The step; empty if not told.
        node_id: Box<str>,
        /// How, as if the step had been called by itself.
        error: ApiError,
    },
    /// Something that this version does not know.
    Other {
        /// Its type; empty if not told.
        kind: Box<str>,
    },
}

impl WorkflowEvent {
    /// Reads the data of an event.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no JSON object with texts where texts belong.
    pub fn parse(data: &Bytes) -> Result<Self, ProtocolError> {
        let wire: Wire<'_> = serde_json::from_slice(data)
            .map_err(|error| ProtocolError::body("an event of a workflow", error, data))?;
        let output = || {
            let raw = wire.output.map(|raw| data.slice_ref(raw.get().as_bytes()));
            raw.unwrap_or_else(|| Bytes::from_static(b"null"))
        };
        let text = |text: &Option<Cow<'_, str>>| Box::from(text.as_deref().unwrap_or_default());
        Ok(match wire.kind.as_deref() {
            Some("submit") => Self::Submitted {
                node_id: text(&wire.node_id),
                app_id: text(&wire.app_id),
                request_id: text(&wire.request_id),
            },
            Some("completion") => {
                Self::Completed { node_id: text(&wire.node_id), output: output() }
            }
            Some("output") => Self::Output { output: output() },
            Some("error") => {
                Self::Failed { node_id: text(&wire.node_id), error: wire.failure(data) }
            }
            kind => Self::Other { kind: kind.unwrap_or_default().into() },
        })
    }

    /// Whether no event may follow.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Output { .. } | Self::Failed { .. })
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    node_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    app_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The member `error` of a failure: the answer of the step.
#[derive(Deserialize)]
struct StepAnswer<'a> {
    #[serde(default)]
    status: Option<u16>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

impl Wire<'_> {
    fn failure(&self, data: &Bytes) -> ApiError {
        let answer =
            self.error.and_then(|raw| serde_json::from_str::<StepAnswer<'_>>(raw.get()).ok());
        let told = answer.as_ref().and_then(|answer| answer.status);
        let status = told
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| status.as_u16() >= 400);
        let body = answer.as_ref().and_then(|answer| answer.body);
        let mut error = match body.filter(|body| body.get() != "null") {
            Some(body) => {
                let assumed = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                ApiError::parse(assumed, &HeaderMap::new(), &data.slice_ref(body.get().as_bytes()))
            }
            None => {
                ApiError::from_status("", self.message.as_deref().or(Some("a step failed")), None)
            }
        };
        error.status = status;
        // The step's own request is not named.
        error.request_id = None;
        error
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn outputs_are_slices_of_the_event() {
        let data = Bytes::from_static(br#"{"type":"output","output":{"a":[1, 2]}}"#);
        let Ok(WorkflowEvent::Output { output }) = WorkflowEvent::parse(&data) else { panic!() };
        assert_eq!(output, r#"{"a":[1, 2]}"#);
        assert!(data.as_ptr_range().contains(&output.as_ptr()));
    }

    #[test]
    fn only_two_events_are_the_last() {
        let is_last = |text: &'static str| {
            WorkflowEvent::parse(&Bytes::from_static(text.as_bytes())).unwrap().is_last()
        };
        assert!(is_last(r#"{"type":"output"}"#) && is_last(r#"{"type":"error"}"#));
        assert!(!is_last(r#"{"type":"completion"}"#) && !is_last(r#"{"type":"submit"}"#));
        assert!(!is_last("{}"));
    }

    proptest! {
        #[test]
        fn any_data_is_judged(data in "\\PC{0,40}|\\{\"type\":\"(error|output|submit)\"(,\"(error|output|message|node_id)\":(\\{\"status\":[0-9]{1,6}(,\"body\":(null|\\[\\]|\"x\"))?\\}|null|\"x\"|7))?\\}") {
            let _ = WorkflowEvent::parse(&Bytes::from(data));
        }
    }
}
