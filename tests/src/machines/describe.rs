use fal_protocol::error::{Aftermath, Denied, Error, ErrorKind};
use fal_protocol::machine::AttemptFailed;
use fal_protocol::queue::{CancelOutcome, Completed, Event, Finished, Handle};
use fal_protocol::sse;
use fal_protocol::stream::{self, Streamed};
use fal_protocol::upload::{self, Uploaded};
use fal_protocol::{Answer, ApiError};
use serde_json::{Value, json};

/// What a machine tells, in the words of the vectors.
pub(super) trait Describe {
    fn describe(&self) -> Value;
}

impl Describe for AttemptFailed {
    fn describe(&self) -> Value {
        json!({
            "kind": "attempt-failed",
            "attempt": self.attempt,
            "rest_ms": u64::try_from(self.rest.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Describe for Event {
    fn describe(&self) -> Value {
        match self {
            Self::Submitted(handle) => {
                json!({"kind": "submitted", "request_id": handle.request_id})
            }
            Self::Queued { position } => json!({"kind": "queued", "position": position}),
            Self::Started => json!({"kind": "started"}),
            Self::Log(line) => {
                json!({"kind": "log", "message": line.message, "level": line.level})
            }
            Self::UnknownStatus(status) => json!({"kind": "unknown-status", "status": status}),
            Self::Completed(completed) => {
                let failure = completed.failure.as_ref();
                json!({
                    "kind": "completed",
                    "failed": failure.is_some(),
                    "error_type": failure.and_then(error_type),
                    "inference_time": completed.inference_time(),
                })
            }
            Self::NotReady => json!({"kind": "not-ready"}),
            Self::AttemptFailed(failed) => failed.describe(),
            _ => json!({"kind": "other"}),
        }
    }
}

impl Describe for upload::Event {
    fn describe(&self) -> Value {
        match self {
            Self::Sent { bytes, total } => json!({"kind": "sent", "bytes": bytes, "total": total}),
            Self::PartDone { number, done, parts } => {
                json!({"kind": "part-done", "number": number, "done": done, "parts": parts})
            }
            Self::PartFailed { number, failed } => {
                json!({"kind": "part-failed", "number": number, "attempt": failed.attempt})
            }
            Self::RouteFailed { route, next, .. } => {
                json!({"kind": "route-failed", "route": route.as_str(), "next": next.as_str()})
            }
            Self::AttemptFailed(failed) => failed.describe(),
            _ => json!({"kind": "other"}),
        }
    }
}

impl Describe for stream::Event {
    fn describe(&self) -> Value {
        match self {
            Self::Opened { headers } => {
                let request_id = headers.get("x-fal-request-id").and_then(|id| id.to_str().ok());
                json!({"kind": "opened", "request_id": request_id})
            }
            Self::Item(item) => json!({"kind": "item", "data": data(item)}),
            Self::Chunk(bytes) => {
                json!({"kind": "chunk", "text": String::from_utf8_lossy(bytes)})
            }
            Self::AttemptFailed(failed) => failed.describe(),
            _ => json!({"kind": "other"}),
        }
    }
}

impl Describe for Streamed {
    fn describe(&self) -> Value {
        json!({
            "last": self.last.as_ref().map(data),
            "events": self.events,
            "bytes": self.bytes,
            "status": self.status.as_u16(),
            "request_id": self.request_id(),
        })
    }
}

fn data(item: &sse::Event) -> Value {
    let text = || json!(item.data.to_str());
    serde_json::from_slice(item.data.as_bytes()).unwrap_or_else(|_| text())
}

impl Describe for Answer {
    fn describe(&self) -> Value {
        let output = self.json().unwrap_or_else(|_| json!(String::from_utf8_lossy(&self.body)));
        json!({
            "status": self.status.as_u16(),
            "output": output,
            "request_id": self.request_id(),
            "billable_units": self.billable_units(),
            "served_from": self.served_from(),
            "runner_hints": self.runner_hints().collect::<Vec<_>>(),
        })
    }
}

impl Describe for Handle {
    fn describe(&self) -> Value {
        json!({"request_id": self.request_id, "endpoint": self.endpoint.as_str()})
    }
}

impl Describe for Completed {
    fn describe(&self) -> Value {
        let failure = self.failure.as_ref();
        json!({
            "metrics": self.metrics,
            "failed": failure.is_some(),
            "error_type": failure.and_then(error_type),
        })
    }
}

impl Describe for CancelOutcome {
    fn describe(&self) -> Value {
        json!({"outcome": outcome(*self)})
    }
}

impl Describe for Finished {
    fn describe(&self) -> Value {
        let mut value = self.answer.describe();
        value["request_id"] = json!(self.handle.request_id);
        value["metrics"] = self.metrics.clone();
        value
    }
}

impl Describe for Uploaded {
    fn describe(&self) -> Value {
        json!({"url": self.url, "route": self.route.as_str(), "parts": self.parts})
    }
}

impl Describe for Error {
    fn describe(&self) -> Value {
        let (kind, aftermath) = match self.kind() {
            ErrorKind::Api(_) => ("api", None),
            ErrorKind::Transport(_) => ("transport", None),
            ErrorKind::Protocol(_) => ("protocol", None),
            ErrorKind::Input(_) => ("input", None),
            ErrorKind::SubmitUnknown { .. } => ("submit-unknown", None),
            ErrorKind::NotReady => ("not-ready", None),
            ErrorKind::Closed(_) => ("closed", None),
            ErrorKind::Deadline { aftermath } => ("deadline", Some(aftermath)),
            ErrorKind::Cancelled { aftermath } => ("cancelled", Some(aftermath)),
            _ => ("other", None),
        };
        let api = match self.kind() {
            ErrorKind::Api(api) => Some(api),
            ErrorKind::SubmitUnknown { cause } => match &**cause {
                ErrorKind::Api(api) => Some(api),
                _ => None,
            },
            _ => None,
        };
        let code = match self.kind() {
            ErrorKind::Closed(close) => close.code,
            _ => None,
        };
        json!({
            "kind": kind,
            "code": code,
            "api": api.map(describe_api),
            "request_id": self.request_id(),
            "retryable": self.is_retryable(),
            "aftermath": aftermath.map(describe_aftermath),
        })
    }
}

fn describe_api(api: &ApiError) -> Value {
    let fields: Vec<Value> = api
        .fields
        .iter()
        .map(|field| json!({"path": field.path(), "type": field.error_type.as_str()}))
        .collect();
    json!({
        "status": api.status.map(|status| status.as_u16()),
        "error_type": error_type(api),
        "request_id": api.request_id,
        "stated_retryable": api.retryable,
        "retryable": api.is_retryable(),
        "rate_limited": api.is_rate_limited(),
        "denied": api.denied().map(denied),
        "timeout_type": api.timeout_type,
        "billable_units": api.billable_units,
        "served_from": api.served_from,
        "fields": fields,
        "message": api.message,
    })
}

/// The word of the vectors for why a caller is not served.
#[must_use]
pub fn denied(denied: Denied) -> &'static str {
    match denied {
        Denied::Missing => "missing",
        Denied::Invalid => "invalid",
        Denied::Forbidden => "forbidden",
        Denied::Locked => "locked",
        Denied::UnknownApp => "unknown-app",
        _ => "other",
    }
}

fn describe_aftermath(aftermath: &Aftermath) -> &'static str {
    match aftermath {
        Aftermath::NothingSubmitted => "nothing-submitted",
        Aftermath::Left => "left",
        Aftermath::Asked(asked) => outcome(*asked),
        Aftermath::CancelFailed(_) => "cancel-failed",
        Aftermath::Unknown => "unknown",
        Aftermath::Disconnected => "disconnected",
        _ => "other",
    }
}

const fn outcome(outcome: CancelOutcome) -> &'static str {
    match outcome {
        CancelOutcome::Cancelled => "cancelled",
        CancelOutcome::Requested => "cancel-requested",
        CancelOutcome::AlreadyCompleted => "already-completed",
        CancelOutcome::NotFound => "not-found",
        _ => "other",
    }
}

fn error_type(api: &ApiError) -> Option<&str> {
    api.error_type.as_ref().map(|name| name.as_str())
}
