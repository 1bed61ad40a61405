//! What an account has asked for, and small things.

use serde_json::Value;

use super::{json, list, next_cursor, text, texts};
use crate::EndpointId;
use crate::error::ProtocolError;

/// Which requests. Needs at least one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestsQuery {
    /// Of these endpoints, 1 to [`IDS_MAX`](super::IDS_MAX).
    pub endpoint_ids: Vec<EndpointId>,
    /// Not before this time: ISO 8601, or a day as `YYYY-MM-DD`. Default: 24 hours ago, and 90 days ago
    /// when a request is named.
    pub start: Option<String>,
    /// Before this time. Default: now.
    pub end: Option<String>,
    /// `success`, `error` or `user_error`. Default: all.
    pub status: Option<String>,
    /// This one alone.
    pub request_id: Option<String>,
    /// Puts input and output in, where they are stored.
    pub payloads: bool,
    /// The order. Default: the service's.
    pub sort_by: Option<SortBy>,
    /// Requests on a page, 1 to [`HISTORY_LIMIT_MAX`]. Default: 50.
    pub limit: Option<u32>,
    /// Which page: what the one before said. `None`: the first.
    pub cursor: Option<Box<str>>,
}

/// The order of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SortBy {
    /// By the time at which they ended.
    EndedAt,
    /// By how long they took.
    Duration,
}

impl SortBy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::EndedAt => "ended_at",
            Self::Duration => "duration",
        }
    }
}

/// One page of requests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestsPage {
    /// The requests.
    pub requests: Vec<RequestRecord>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<Box<str>>,
}

impl RequestsPage {
    /// Reads a page. Entries without ids are passed over.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no object with a list of requests.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "a page of requests";
        let page = json(EXPECTED, body)?;
        let requests = list(&page, "items", EXPECTED, body)?;
        let requests = requests.iter().filter_map(RequestRecord::read).collect();
        Ok(Self { requests, next_cursor: next_cursor(&page) })
    }
}

/// One request of the past.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// Its id.
    pub request_id: Box<str>,
    /// The endpoint that it was for.
    pub endpoint_id: Box<str>,
    /// When it was sent, as ISO 8601.
    pub sent_at: Option<Box<str>>,
    /// When its run began.
    pub started_at: Option<Box<str>>,
    /// When its run ended.
    pub ended_at: Option<Box<str>>,
    /// The status of its answer.
    pub status_code: Option<u16>,
    /// How long it ran, in seconds.
    pub duration: Option<f64>,
    /// Its input, where it was asked for and is stored.
    pub input: Option<Value>,
    /// Its output, likewise.
    pub output: Option<Value>,
}

impl RequestRecord {
    fn read(value: &Value) -> Option<Self> {
        let payload = |name: &str| value.get(name).filter(|value| !value.is_null()).cloned();
        let status_code = value.get("status_code").and_then(Value::as_u64);
        Some(Self {
            request_id: text(value, "request_id")?,
            endpoint_id: text(value, "endpoint_id")?,
            sent_at: text(value, "sent_at"),
            started_at: text(value, "started_at"),
            ended_at: text(value, "ended_at"),
            status_code: status_code.and_then(|status| u16::try_from(status).ok()),
            duration: value.get("duration").and_then(Value::as_f64),
            input: payload("json_input"),
            output: payload("json_output"),
        })
    }
}

/// What became of the files of a request whose payloads were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// The files that it had made.
    pub files: Vec<DeletedFile>,
}

impl Deleted {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no object with a list of results.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "the result of a deletion";
        let value = json(EXPECTED, body)?;
        let file = |value: &Value| {
            Some(DeletedFile { url: text(value, "link")?, problem: text(value, "exception") })
        };
        let files = list(&value, "cdn_delete_results", EXPECTED, body)?;
        Ok(Self { files: files.iter().filter_map(file).collect() })
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedFile {
    /// Its address.
    pub url: Box<str>,
    /// Why it is still there; `None` when it is gone.
    pub problem: Option<Box<str>>,
}

/// How many requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSize {
    /// Requests that no runner has begun.
    pub queue_size: u64,
}

impl QueueSize {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it has no size.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "the size of a queue";
        let size = json(EXPECTED, body)?.get("queue_size").and_then(Value::as_u64);
        let queue_size =
            size.ok_or_else(|| ProtocolError::body(EXPECTED, "there is no queue_size", body))?;
        Ok(Self { queue_size })
    }
}

/// Facts about the service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The networks that webhooks come from, as CIDR, such as `203.0.113.7/32`.
    pub webhook_ip_ranges: Vec<Box<str>>,
}

impl Meta {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it has no networks: whoever lets only these in must not take none for all.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "the service's networks";
        let value = json(EXPECTED, body)?;
        let webhook_ip_ranges = texts(&value, "webhook_ip_ranges");
        if webhook_ip_ranges.is_empty() {
            return Err(ProtocolError::body(EXPECTED, "there are none", body));
        }
        Ok(Self { webhook_ip_ranges })
    }
}

/// Most requests on a page of the history (documented).
pub const HISTORY_LIMIT_MAX: u32 = 100;
