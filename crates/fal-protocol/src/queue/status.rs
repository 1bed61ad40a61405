use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, Error, ErrorKind, ProtocolError};

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// `IN_QUEUE`
    InQueue,
    /// `IN_PROGRESS`
    InProgress,
    /// `COMPLETED`: with success, failure or cancel alike.
    Completed,
    /// A state that this version does not know; treated as not yet completed.
    Other(Box<str>),
}

impl State {
    fn new(text: &str) -> Self {
        match text {
            "IN_QUEUE" => Self::InQueue,
            "IN_PROGRESS" => Self::InProgress,
            "COMPLETED" => Self::Completed,
            other => Self::Other(other.into()),
        }
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InQueue => "IN_QUEUE",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One status, as polled or streamed.
///
/// Only `status` is required of the service, although it sends more: the official clients fail on
/// fields that are missing, this one does not.
///
/// Source: docs.fal.ai, status and status stream pages (documented).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Where the job is.
    pub state: State,
    /// Requests ahead of this one, from 0; while it waits.
    pub queue_position: Option<u64>,
    /// Log lines: all so far when polled, the new ones when streamed.
    pub logs: Vec<LogLine>,
    /// What the service measured, as it came. `inference_time` in seconds once completed.
    pub metrics: Value,
    /// Why the job failed, in words; once completed.
    pub error: Option<Box<str>>,
    /// Why the job failed, by name.
    pub error_type: Option<Box<str>>,
}

impl Status {
    /// Reads a status object.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is not an object with a text under `status`.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let wire: Wire<'_> =
            serde_json::from_slice(body).map_err(|e| ProtocolError::body("a status", e, body))?;
        let logs = match wire.logs {
            Value::Array(lines) => lines.into_iter().map(LogLine::read).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            state: State::new(&wire.status),
            queue_position: wire.queue_position.as_u64(),
            logs,
            metrics: wire.metrics,
            error: text_of(wire.error),
            error_type: text_of(wire.error_type),
        })
    }

    pub(crate) fn completed(&self, request_id: &str) -> Completed {
        let failure = (self.error.is_some() || self.error_type.is_some()).then(|| {
            ApiError::from_status(request_id, self.error.as_deref(), self.error_type.as_deref())
        });
        Completed { metrics: self.metrics.clone(), failure }
    }
}

/// Lenient: everything but `status` may be absent or of any type.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    status: std::borrow::Cow<'a, str>,
    #[serde(default)]
    queue_position: Value,
    #[serde(default)]
    logs: Value,
    #[serde(default)]
    metrics: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_type: Value,
}

/// The end of a job, as its status tells it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completed {
    /// What the service measured, as it came.
    pub metrics: Value,
    /// Set when the job failed or was cancelled: COMPLETED with an error is an error. The result
    /// replays the failure with all its fields.
    pub failure: Option<ApiError>,
}

impl Completed {
    /// How long the model ran, in seconds.
    #[must_use]
    pub fn inference_time(&self) -> Option<f64> {
        self.metrics.get("inference_time")?.as_f64()
    }

    /// The job's success, or its failure as an error.
    ///
    /// # Errors
    /// [`ErrorKind::Api`] when the job failed.
    pub fn into_result(self) -> Result<Self, Error> {
        match self.failure {
            Some(failure) => Err(ErrorKind::Api(failure).into()),
            None => Ok(self),
        }
    }
}

/// A line that the model logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogLine {
    /// The text.
    pub message: Box<str>,
    /// ISO 8601; without a zone it is UTC. As it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Box<str>>,
    /// `STDERR`, `STDOUT`, `ERROR`, `INFO`, `WARN`, `DEBUG`, or a name of tomorrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Box<str>>,
    /// Who logged, such as `USER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
}

impl LogLine {
    /// Level and source stand at the top or, in live answers, under `labels`.
    fn read(value: Value) -> Self {
        let Value::Object(mut line) = value else {
            let message = text_of(value).unwrap_or_default();
            return Self { message, timestamp: None, level: None, source: None };
        };
        let mut labels = line.remove("labels").unwrap_or_default();
        let mut field = |name: &str| {
            let top = line.remove(name).and_then(text_of);
            top.or_else(|| labels.get_mut(name).and_then(|label| text_of(label.take())))
        };
        let (level, source) = (field("level"), field("source"));
        let timestamp = line.remove("timestamp").and_then(text_of);
        let message = line.remove("message").and_then(text_of).unwrap_or_default();
        Self { message, timestamp, level, source }
    }
}

/// A text as it is, anything else but null as JSON.
fn text_of(value: Value) -> Option<Box<str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_is_required() {
        let status = Status::parse(br#"{"status":"IN_QUEUE"}"#).unwrap();
        assert_eq!((status.state, status.queue_position), (State::InQueue, None));
        for bad in ["", "[]", "{}", r#"{"status":1}"#, r#""COMPLETED""#] {
            Status::parse(bad.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn odd_fields_are_never_fatal() {
        let body = br#"{"status":"NEW_STATE","queue_position":"3","metrics":null,"error":7,"x":[1],
            "logs":[{"message":{"a":1},"labels":{"level":"INFO"}},"bare",{"level":"W","labels":[]}]}"#;
        let status = Status::parse(body).unwrap();
        assert_eq!(status.state.as_str(), "NEW_STATE");
        assert_eq!(status.error.as_deref(), Some("7"));
        let messages: Vec<&str> = status.logs.iter().map(|line| &*line.message).collect();
        assert_eq!(messages, [r#"{"a":1}"#, "bare", ""]);
        assert_eq!(status.logs[0].level.as_deref(), Some("INFO"));
        assert_eq!(status.logs[2].level.as_deref(), Some("W"));
    }

    #[test]
    fn completed_with_an_error_is_an_error() {
        let body = br#"{"status":"COMPLETED","metrics":{"inference_time":1.5},"error":"boom"}"#;
        let completed = Status::parse(body).unwrap().completed("r");
        assert_eq!(completed.inference_time(), Some(1.5));
        let error = completed.into_result().unwrap_err();
        let ErrorKind::Api(api) = error.kind() else { panic!("{error:?}") };
        assert_eq!((&*api.message, error.request_id()), ("boom", Some("r")));
        let fine = Status::parse(br#"{"status":"COMPLETED","error":null}"#).unwrap().completed("r");
        fine.into_result().unwrap();
    }
}
