use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Denied, excerpt};
use crate::headers;
use crate::wire::display_status;

/// The service refused a call, or a job failed.
///
/// All documented bodies become this type: a list under `detail` (the model's own errors, by field),
/// a text with `error_type` (fal's infrastructure), and an object under `error` (the platform API). So do
/// older shapes, HTML pages of a proxy and empty bodies.
///
/// Source: docs.fal.ai/documentation/model-apis/errors and …/request-errors (documented).
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// The HTTP status. `None` when a completed job's status named the failure.
    pub status: Option<StatusCode>,
    /// The request id that the answer carried.
    pub request_id: Option<Box<str>>,
    /// The service's name for the failure: `error_type`, else the type of the first field problem.
    pub error_type: Option<ErrorType>,
    /// Whether a repeat may help, **as the service said**: `X-Fal-Needs-Retry`, else
    /// `X-Fal-Retryable`. Our own judgement is [`is_retryable`](Self::is_retryable).
    pub retryable: Option<bool>,
    /// For people; never empty, at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: Box<str>,
    /// Problems by input field, at most [`FIELDS_MAX`].
    pub fields: Vec<FieldError>,
    /// `user` when the caller's own start timeout ran out (`X-Fal-Request-Timeout-Type`).
    pub timeout_type: Option<Box<str>>,
    /// Units that are billed all the same, 0 or more, if the service told (`x-fal-billable-units`). A failure
    /// of the model may cost; fal says that 5xx never does.
    pub billable_units: Option<f64>,
    /// Which back end answered, if the service told (`X-Fal-Served-From`).
    pub served_from: Option<Box<str>>,
    /// The raw body, cut at [`RAW_BODY_BYTES_MAX`].
    pub body: Bytes,
}

impl ApiError {
    /// Reads an error answer. Total: whatever the body is, an error comes out.
    #[must_use]
    pub fn parse(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let mut error = Self {
            status: Some(status),
            request_id: header_text(headers, headers::REQUEST_ID),
            error_type: None,
            retryable: headers::retry_word(headers),
            message: "".into(),
            fields: Vec::new(),
            timeout_type: header_text(headers, headers::REQUEST_TIMEOUT_TYPE),
            billable_units: headers::billable_units(headers),
            served_from: header_text(headers, headers::SERVED_FROM),
            body: body.slice(..body.len().min(RAW_BODY_BYTES_MAX)),
        };
        let json = serde_json::from_slice::<Value>(body).ok();
        let message = match &json {
            Some(json) => error.read_json(json),
            None => read_text(headers, body),
        };
        if error.error_type.is_none() {
            error.error_type = header_text(headers, headers::ERROR_TYPE)
                .map(|name| ErrorType::new(name.as_ref()))
                .or_else(|| error.fields.first().map(|field| field.error_type.clone()));
        }
        error.message = shorten(message.unwrap_or_else(|| match &json {
            Some(_) => format!("the answer was {}", excerpt(body)),
            None => format!("the answer had no text ({})", display_status(status)),
        }));
        error
    }

    /// The failure that a COMPLETED status named.
    #[must_use]
    pub fn from_status(request_id: &str, message: Option<&str>, error_type: Option<&str>) -> Self {
        Self {
            status: None,
            request_id: Some(request_id.into()),
            error_type: error_type.map(ErrorType::new),
            retryable: None,
            message: shorten(message.or(error_type).unwrap_or("the job failed").to_owned()),
            fields: Vec::new(),
            timeout_type: None,
            billable_units: None,
            served_from: None,
            body: Bytes::new(),
        }
    }

    /// The failure that a message of an open connection told.
    #[cfg(feature = "realtime")]
    pub(crate) fn from_message(message: &str, body: Bytes) -> Self {
        let body = body.slice(..body.len().min(RAW_BODY_BYTES_MAX));
        let message = shorten(message.to_owned());
        Self { request_id: None, message, body, ..Self::from_status("", None, None) }
    }

    /// Whether the same request may succeed later: the service's word, else its error type, else the
    /// status: 408, 429 and 5xx may, but not 501 and 505, which say that the service cannot do this at all.
    ///
    /// Source of the last: RFC 9110, 15.6.2 and 15.6.6 (documented).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if self.timeout_type.as_deref() == Some("user") {
            return false;
        }
        self.retryable
            .or_else(|| self.error_type.as_ref().and_then(ErrorType::is_transient))
            .unwrap_or_else(|| {
                self.status.is_some_and(|status| match status.as_u16() {
                    408 | 429 => true,
                    501 | 505 => false,
                    _ => status.is_server_error(),
                })
            })
    }

    /// Whether a limit on simultaneous or queued requests was hit.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.status == Some(StatusCode::TOO_MANY_REQUESTS)
            || self.error_type.as_ref() == Some(&ErrorType::CONCURRENT_REQUESTS_LIMIT)
    }

    /// Why the service will not serve this caller, if that is what it says.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        Denied::of(self)
    }

    /// Fills type and fields; returns the message, if the shape has one.
    fn read_json(&mut self, json: &Value) -> Option<String> {
        let Value::Object(object) = json else {
            return json.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        };
        // The platform API puts all of it one level down.
        let inner = object.get("error");
        let text = |name: &str| inner?.get(name).and_then(Value::as_str);
        if let Some(name) =
            object.get("error_type").and_then(Value::as_str).or_else(|| text("type"))
        {
            self.error_type = Some(ErrorType::new(name));
        }
        if self.request_id.is_none() {
            self.request_id = text("request_id").filter(|id| !id.is_empty()).map(Into::into);
        }
        let named = match object.get("detail") {
            Some(Value::Array(items)) => {
                self.fields = items.iter().take(FIELDS_MAX).map(FieldError::read).collect();
                join_fields(&self.fields)
            }
            Some(Value::String(text)) => {
                if self.status == Some(StatusCode::UNPROCESSABLE_ENTITY)
                    && self.error_type.is_none()
                {
                    // Older apps: fal's JS client reads such a text as one problem of the whole body.
                    self.fields.push(FieldError::whole_body(text));
                }
                Some(text.clone())
            }
            Some(detail @ Value::Object(_)) => text_under(detail),
            _ => None,
        };
        named.or_else(|| text_under(json)).or_else(|| {
            let status = object.get("status").and_then(Value::as_str)?;
            Some(match status {
                "NOT_FOUND" => {
                    "the service does not know this request, or no longer (NOT_FOUND)".into()
                }
                other => format!("the service answered {other}"),
            })
        })
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{}: {}", display_status(status), self.message)?,
            None => write!(f, "the job failed: {}", self.message)?,
        }
        match &self.error_type {
            Some(name) if !self.message.contains(name.as_str()) => write!(f, " [{name}]"),
            _ => Ok(()),
        }
    }
}

/// Leaves the raw body out: it can hold the caller's input.
impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("error_type", &self.error_type)
            .field("retryable", &self.retryable)
            .field("message", &self.message)
            .field("fields", &self.fields)
            .field("timeout_type", &self.timeout_type)
            .field("billable_units", &self.billable_units)
            .field("served_from", &self.served_from)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

impl std::error::Error for ApiError {}

/// One problem with one input field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldError {
    /// Where: usually `body` first, then the field, then indexes. The wire's `loc`.
    pub loc: Vec<Loc>,
    /// For people. The wire's `msg`.
    pub message: Box<str>,
    /// Stable name, such as `missing` or `image_too_small`. The wire's `type`.
    pub error_type: ErrorType,
    /// Limits and the like, as the type defines. The wire's `ctx`.
    pub context: Option<Value>,
}

impl FieldError {
    fn read(item: &Value) -> Self {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let message = item.as_str().or_else(|| text("msg")).or_else(|| text("message"));
        Self {
            loc: item
                .get("loc")
                .and_then(Value::as_array)
                .map(|loc| loc.iter().take(LOC_MAX).map(Loc::read).collect())
                .unwrap_or_default(),
            message: shorten(message.unwrap_or("no message").to_owned()),
            error_type: ErrorType::new(text("type").unwrap_or("value_error")),
            context: item.get("ctx").filter(|ctx| !ctx.is_null()).cloned(),
        }
    }

    fn whole_body(message: &str) -> Self {
        Self {
            loc: vec![Loc::Name("body".into())],
            message: shorten(message.to_owned()),
            error_type: ErrorType::new("value_error"),
            context: None,
        }
    }

    /// The field's path without the leading `body`, such as `loras.0.path`; empty for the whole.
    #[must_use]
    pub fn path(&self) -> String {
        let skip =
            usize::from(matches!(self.loc.first(), Some(Loc::Name(name)) if &**name == "body"));
        let parts: Vec<Cow<'_, str>> = self.loc[skip..]
            .iter()
            .map(|loc| match loc {
                Loc::Name(name) => Cow::Borrowed(&**name),
                Loc::Index(index) => Cow::Owned(index.to_string()),
            })
            .collect();
        parts.join(".")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.error_type)
    }
}

/// One step of a field's path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loc {
    /// A member of an object.
    Name(Box<str>),
    /// An element of a list, from 0.
    Index(u64),
}

impl Loc {
    fn read(value: &Value) -> Self {
        match value {
            Value::String(name) => Self::Name(name.as_str().into()),
            other => {
                other.as_u64().map_or_else(|| Self::Name(other.to_string().into()), Self::Index)
            }
        }
    }
}

/// The name of a failure. An open set: an unknown name is kept as it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorType(Cow<'static, str>);

macro_rules! error_types {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $transient:expr;)*) => {
        impl ErrorType {
            $($(#[$doc])* pub const $constant: Self = Self(Cow::Borrowed($name));)*

            /// Whether the failure passes with time, where its name alone decides that.
            #[must_use]
            pub fn is_transient(&self) -> Option<bool> {
                match self.0.as_ref() {
                    $($name => $transient,)*
                    _ => None,
                }
            }
        }
    };
}

error_types! {
    /// Processing exceeded the app's timeout, or the caller's start timeout ran out. 504.
    REQUEST_TIMEOUT = "request_timeout", Some(true);
    /// The runner did not become ready in time. 504.
    STARTUP_TIMEOUT = "startup_timeout", Some(true);
    /// No runner could be allocated. 503.
    RUNNER_SCHEDULING_FAILURE = "runner_scheduling_failure", Some(true);
    /// Connecting to the runner timed out. 503.
    RUNNER_CONNECTION_TIMEOUT = "runner_connection_timeout", Some(true);
    /// The runner vanished during the request. 503.
    RUNNER_DISCONNECTED = "runner_disconnected", Some(true);
    /// The runner refused the connection. 503.
    RUNNER_CONNECTION_REFUSED = "runner_connection_refused", Some(true);
    /// Another failure of the connection to the runner. 503.
    RUNNER_CONNECTION_ERROR = "runner_connection_error", Some(true);
    /// The runner's answer was cut short. 502.
    RUNNER_INCOMPLETE_RESPONSE = "runner_incomplete_response", Some(true);
    /// The runner failed. 500.
    RUNNER_SERVER_ERROR = "runner_server_error", Some(true);
    /// fal failed. 500.
    INTERNAL_ERROR = "internal_error", Some(true);
    /// The caller closed the connection of a direct run. 499.
    CLIENT_DISCONNECTED = "client_disconnected", Some(false);
    /// The caller cancelled. 499.
    CLIENT_CANCELLED = "client_cancelled", Some(false);
    /// The request is malformed, such as a header value. 400.
    BAD_REQUEST = "bad_request", Some(false);
    /// Too many simultaneous requests of one account, on direct runs. 429.
    CONCURRENT_REQUESTS_LIMIT = "concurrent_requests_limit", Some(true);
    /// The platform API cannot do anything with these parameters. 400, 409, 422.
    VALIDATION_ERROR = "validation_error", Some(false);
    /// The platform API does not accept the key, or the key may not do this. 401, 403.
    AUTHORIZATION_ERROR = "authorization_error", Some(false);
    /// The platform API does not know this. 404.
    NOT_FOUND = "not_found", Some(false);
    /// Too many questions to the platform API. 429.
    RATE_LIMITED = "rate_limited", Some(true);
    /// The platform API failed. 500, 502.
    SERVER_ERROR = "server_error", Some(true);
    /// The platform API does not do this yet.
    NOT_IMPLEMENTED = "not_implemented", Some(false);
    /// A required field is absent. 422.
    MISSING = "missing", Some(false);
    /// A safety filter refused the input or the output. 422.
    CONTENT_POLICY_VIOLATION = "content_policy_violation", Some(false);
    /// The model made nothing. 422.
    NO_MEDIA_GENERATED = "no_media_generated", Some(false);
    /// A file of the input could not be downloaded. 422.
    FILE_DOWNLOAD_ERROR = "file_download_error", Some(false);
    /// An image of the input could not be decoded. 422.
    IMAGE_LOAD_ERROR = "image_load_error", Some(false);
    /// The model took too long; the service says whether a repeat helps. 504.
    GENERATION_TIMEOUT = "generation_timeout", None;
}

impl ErrorType {
    /// A type by its name on the wire.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Cow::Owned(shorten(name.to_owned()).into()))
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorType({})", self.0)
    }
}

/// The text of the shapes `{"msg"|"message"|"error": "…"}` and `{"error": {"message": "…"}}`.
fn text_under(json: &Value) -> Option<String> {
    let text = |name| json.get(name).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
    let direct = text("msg").or_else(|| text("message")).or_else(|| text("error"));
    direct.map(str::to_owned).or_else(|| text_under(json.get("error").filter(|e| e.is_object())?))
}

fn join_fields(fields: &[FieldError]) -> Option<String> {
    let shown: Vec<String> = fields.iter().take(5).map(ToString::to_string).collect();
    let more = fields.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| shown.join("; ") + &tail)
}

/// The title of an HTML page, else the start of the text.
fn read_text(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    if body.trim_ascii().is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(RAW_BODY_BYTES_MAX)]);
    if !is_html(headers, body) {
        return Some(excerpt(body.trim_ascii()).into());
    }
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|from| {
        let to = from + lower[from..].find("</title>")?;
        Some(text[from..to].trim().to_owned()).filter(|title| !title.is_empty())
    });
    Some(match title {
        Some(title) => format!("{title} (an HTML page, probably of a proxy)"),
        None => "an HTML page, probably of a proxy".to_owned(),
    })
}

/// Whether an answer is a web page rather than the protocol's.
pub(crate) fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let declared = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    declared || body.trim_ascii_start().starts_with(b"<")
}

fn header_text(headers: &HeaderMap, name: http::HeaderName) -> Option<Box<str>> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(HEADER_CHARS_MAX).collect::<String>().into())
}

fn shorten(mut text: String) -> Box<str> {
    if text.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text.into()
}

/// How much of an error's body is kept raw: 64 KiB.
pub const RAW_BODY_BYTES_MAX: usize = 64 << 10;
/// Longest message taken from a peer: 2 KiB.
pub const MESSAGE_BYTES_MAX: usize = 2 << 10;
/// Most field problems kept of one answer.
pub const FIELDS_MAX: usize = 100;
const LOC_MAX: usize = 32;
const HEADER_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests;
