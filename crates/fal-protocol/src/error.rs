//! What can go wrong, sorted by whose fault it is.
//!
//! | Type | Whose |
//! |---|---|
//! | [`ApiError`] | the service refused or failed |
//! | [`ProtocolError`] | the peer broke the contract |
//! | [`InputError`] | the caller asked for something impossible |
//! | [`Failure`] | the network or the transport |
//! | [`Error`] | how a machine ended: one of these, with the handle of the job |

mod api;
mod denied;

use std::fmt;

pub use api::{
    ApiError, ErrorType, FIELDS_MAX, FieldError, Loc, MESSAGE_BYTES_MAX, RAW_BODY_BYTES_MAX,
};
pub use denied::Denied;

use http::StatusCode;

use crate::queue::{CancelOutcome, Handle};
use crate::wire::{Close, Failure, Sent};

/// How a machine ended without its result.
///
/// Carries the [`Handle`] of the job whenever one is known, so that nothing paid for is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    kind: Box<ErrorKind>,
    handle: Option<Box<Handle>>,
    /// What the head of a stream named that broke later.
    request_id: Option<Box<str>>,
}

impl Error {
    /// An error of this kind, not bound to a job.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind: Box::new(kind), handle: None, request_id: None }
    }

    /// The same error, bound to a job.
    #[must_use]
    pub fn with_handle(mut self, handle: Option<Handle>) -> Self {
        self.handle = handle.map(Box::new).or(self.handle);
        self
    }

    /// The same error, with the request id of an answer that had begun. `None` changes nothing.
    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<Box<str>>) -> Self {
        self.request_id = request_id.or(self.request_id);
        self
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What happened, and the job.
    #[must_use]
    pub fn into_parts(self) -> (ErrorKind, Option<Handle>) {
        (*self.kind, self.handle.map(|handle| *handle))
    }

    /// The job that this error is about: store it, and ask again later.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.handle.as_deref()
    }

    /// The HTTP status, if the service answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.kind.api().and_then(|api| api.status)
    }

    /// The request id: of the job, else of the answer.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match &self.handle {
            Some(handle) => Some(&handle.request_id),
            None => {
                let told = self.kind.api().and_then(|api| api.request_id.as_deref());
                told.or(self.request_id.as_deref())
            }
        }
    }

    /// The service's name for the failure.
    #[must_use]
    pub fn error_type(&self) -> Option<&ErrorType> {
        self.kind.api().and_then(|api| api.error_type.as_ref())
    }

    /// The problems by input field; empty unless the model named some.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        self.kind.api().map_or(&[], |api| &api.fields)
    }

    /// Why the service will not serve this caller, if that is what happened.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        self.kind.api().and_then(ApiError::denied)
    }

    /// Whether the same call may succeed later. `false` whenever repeating it could pay twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &*self.kind {
            ErrorKind::Api(api) => api.is_retryable(),
            ErrorKind::Transport(failure) => failure.sent == Sent::No || self.handle.is_some(),
            ErrorKind::NotReady => true,
            ErrorKind::Deadline { .. } => self.handle.is_some(),
            _ => false,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(ErrorKind::Protocol(error))
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        Self::new(ErrorKind::Input(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.request_id() {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

/// The message is whole, so there is no source to print after it: [`kind`](Error::kind) has the cause.
impl std::error::Error for Error {}

/// The causes of [`Error`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The service refused, or the job failed.
    Api(ApiError),
    /// No whole answer arrived, after every attempt that the policy allows.
    Transport(Failure),
    /// The peer's answer breaks the contract.
    Protocol(ProtocolError),
    /// The call itself is impossible.
    Input(InputError),
    /// A submit or run went out and its fate is unknown: the service may or may not have accepted it.
    ///
    /// Repeating it could pay twice, so that is left to the caller. Opt-in:
    /// [`RetryPolicy::repeat_unknown_submits`](crate::retry::RetryPolicy::repeat_unknown_submits).
    SubmitUnknown {
        /// What arrived instead of an answer.
        cause: Box<Self>,
    },
    /// The result was asked for before the job had completed.
    NotReady,
    /// The peer ended a WebSocket, and not in order.
    Closed(Close),
    /// The caller's deadline passed.
    Deadline {
        /// What became of the job.
        aftermath: Aftermath,
    },
    /// The caller cancelled.
    Cancelled {
        /// What became of the job.
        aftermath: Aftermath,
    },
}

impl ErrorKind {
    fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(api) => Some(api),
            Self::SubmitUnknown { cause } => cause.api(),
            _ => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(e) => e.fmt(f),
            Self::Transport(e) => e.fmt(f),
            Self::Protocol(e) => e.fmt(f),
            Self::Input(e) => e.fmt(f),
            Self::SubmitUnknown { cause } => write!(
                f,
                "the request was sent, but whether the service accepted it is unknown, so it was \
                 not repeated: {cause}"
            ),
            Self::NotReady => f.write_str("the job has not completed yet"),
            Self::Closed(close) => write!(f, "the service closed the connection: {close}"),
            Self::Deadline { aftermath } => write!(f, "the deadline passed; {aftermath}"),
            Self::Cancelled { aftermath } => write!(f, "cancelled; {aftermath}"),
        }
    }
}

/// What is known of the job when the caller stopped waiting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aftermath {
    /// No job was accepted.
    NothingSubmitted,
    /// The job goes on, as the caller's policy says.
    Left,
    /// The service was asked to cancel it, and said this.
    Asked(CancelOutcome),
    /// The cancel got no usable answer: the job may go on.
    CancelFailed(Box<str>),
    /// The answer to the submit was still missing: a job may exist that nobody can name.
    Unknown,
    /// The connection of a direct run was closed, which tells the service to stop the model.
    ///
    /// Source: docs.fal.ai, request errors and cancellation pages (documented).
    Disconnected,
}

impl fmt::Display for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSubmitted => f.write_str("nothing had been submitted"),
            Self::Left => f.write_str("the job was left running"),
            Self::Asked(outcome) => outcome.fmt(f),
            Self::CancelFailed(why) => {
                write!(
                    f,
                    "the service could not be asked to cancel the job, which may go on: {why}"
                )
            }
            Self::Unknown => f.write_str(
                "the submit was still unanswered, so a job may exist that has no known id",
            ),
            Self::Disconnected => f.write_str("the connection was closed, which stops the run"),
        }
    }
}

/// The peer broke the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A body is not what its place requires.
    Body {
        /// What was expected there, such as `a submit answer`.
        expected: &'static str,
        /// What is wrong with it.
        problem: Box<str>,
        /// The start of the body, at most [`EXCERPT_BYTES_MAX`] bytes.
        excerpt: Box<str>,
    },
    /// A redirect that must not be followed, or one too many.
    Redirect {
        /// Why it was not followed.
        problem: Box<str>,
    },
}

impl ProtocolError {
    pub(crate) fn body(expected: &'static str, problem: impl fmt::Display, body: &[u8]) -> Self {
        Self::Body { expected, problem: problem.to_string().into(), excerpt: excerpt(body) }
    }

    /// The same of a body that holds a secret: it is not shown.
    pub(crate) fn secret_body(expected: &'static str, problem: impl fmt::Display) -> Self {
        Self::body(expected, problem, b"(not shown: it may hold a secret)")
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body { expected, problem, excerpt } => {
                write!(f, "the service did not send {expected}: {problem}; it sent: {excerpt}")
            }
            Self::Redirect { problem } => write!(f, "the redirect was not followed: {problem}"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The caller asked for something impossible. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The endpoint id breaks the grammar of [`EndpointId`](crate::EndpointId).
    EndpointId {
        /// The id as given, shortened.
        text: Box<str>,
        /// The rule that it breaks.
        problem: Box<str>,
    },
    /// The key has no usable form. Its text is not kept.
    Key {
        /// What is wrong with it.
        problem: Box<str>,
    },
    /// An address is not a usable `http` or `https` base.
    Address {
        /// The address without its query.
        text: Box<str>,
        /// What is wrong with it.
        problem: Box<str>,
    },
    /// A header or option has a value that the protocol does not allow.
    Option {
        /// The option's name.
        name: Box<str>,
        /// What is wrong with it.
        problem: Box<str>,
    },
    /// The model's input has no form on the wire (JSON; msgpack in realtime sessions), or no place in this call.
    Body {
        /// What the encoder said, or what the call takes instead.
        problem: Box<str>,
    },
    /// A field of a typed input is not within the limits of the model's document.
    Field {
        /// The field, with the way to it: `loras[0].scale`.
        field: Box<str>,
        /// What is wrong with it, and what is allowed.
        problem: Box<str>,
    },
    /// A stored handle cannot be read.
    Handle {
        /// What is wrong with it.
        problem: Box<str>,
    },
}

impl InputError {
    pub(crate) fn endpoint_id(text: &str, problem: &str) -> Self {
        Self::EndpointId { text: excerpt(text.as_bytes()), problem: problem.into() }
    }

    pub(crate) fn key(problem: &str) -> Self {
        Self::Key { problem: problem.into() }
    }

    pub(crate) fn address(text: &str, problem: &str) -> Self {
        let text = text.split(['?', '#']).next().unwrap_or_default();
        // A user name before the host is a credential, and so is what stands after it.
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let host = rest.split('/').next().unwrap_or_default();
        let text = match host.rsplit_once('@') {
            Some((user, _)) => format!("{scheme}://…{}", &rest[user.len()..]),
            None => text.to_owned(),
        };
        Self::Address { text: excerpt(text.as_bytes()), problem: problem.into() }
    }

    pub(crate) fn option(name: &str, problem: impl fmt::Display) -> Self {
        Self::Option { name: name.into(), problem: problem.to_string().into() }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndpointId { text, problem } => {
                write!(f, "{text:?} is not an endpoint id: {problem}")
            }
            Self::Key { problem } => write!(f, "the API key cannot be used: {problem}"),
            Self::Address { text, problem } => {
                write!(f, "{text:?} is not a usable address: {problem}")
            }
            Self::Option { name, problem } => write!(f, "{name}: {problem}"),
            Self::Body { problem } => write!(f, "the input cannot be sent: {problem}"),
            Self::Field { field, problem } => write!(f, "{field}: {problem}"),
            Self::Handle { problem } => write!(f, "this is not a handle: {problem}"),
        }
    }
}

impl std::error::Error for InputError {}

/// The start of `bytes` as text for an error message, cut at a character.
pub(crate) fn excerpt(bytes: &[u8]) -> Box<str> {
    if bytes.is_empty() {
        return "(nothing)".into();
    }
    let cut = &bytes[..bytes.len().min(EXCERPT_BYTES_MAX)];
    let mut text: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if bytes.len() > EXCERPT_BYTES_MAX {
        while text.ends_with('\u{fffd}') {
            text.pop();
        }
        text.push('…');
    }
    text.into()
}

/// How much of an unexpected body an error message shows: 300 bytes.
pub const EXCERPT_BYTES_MAX: usize = 300;
