use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fal_protocol::error as core;
use fal_protocol::error::{Aftermath, ApiError, ErrorType, FieldError, InputError, ProtocolError};
use fal_protocol::queue::Handle;
use fal_protocol::wire::Failure;
use http::StatusCode;

use crate::output::Output;

/// Why a call ended without its result.
///
/// Whenever a job is known, [`handle`](Self::handle) has it: store it, and take the result later with
/// [`Client::attach`](crate::Client::attach).
#[derive(Clone, Debug)]
pub struct Error {
    kind: Box<ErrorKind>,
    handle: Option<Box<Handle>>,
    /// What the head of a stream named that broke later.
    request_id: Option<Box<str>>,
}

/// The causes of an [`Error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The service refused the call, or the job failed.
    Api(ApiError),
    /// No whole answer arrived, after every attempt that the policy allows.
    Transport(Failure),
    /// The service's answer breaks the protocol.
    Protocol(ProtocolError),
    /// The call itself is impossible. Nothing was sent.
    Input(InputError),
    /// A submit or run went out and its fate is unknown: repeating it could pay twice.
    SubmitUnknown {
        /// What arrived instead of an answer.
        cause: Box<core::ErrorKind>,
    },
    /// The result was asked for before the job had completed.
    NotReady,
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
    /// The output does not fit the caller's type. It is inside, whole.
    Decode(DecodeError),
    /// A local file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The environment or the builder does not make a client.
    Config {
        /// What is missing, and what to do.
        problem: Box<str>,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind: Box::new(kind), handle: None, request_id: None }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::File { path: path.into(), source: Arc::new(source) })
    }

    pub(crate) fn config(problem: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Config { problem: problem.into() })
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The job that this error is about, if one was accepted.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.handle.as_deref()
    }

    /// The HTTP status, if the service answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.api().and_then(|api| api.status)
    }

    /// The request id: of the job, else of the answer.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match (&self.handle, &*self.kind) {
            (Some(handle), _) => Some(&handle.request_id),
            (None, ErrorKind::Decode(e)) => e.output().request_id(),
            (None, _) => {
                let told = self.api().and_then(|api| api.request_id.as_deref());
                told.or(self.request_id.as_deref())
            }
        }
    }

    /// The service's name for the failure.
    #[must_use]
    pub fn error_type(&self) -> Option<&ErrorType> {
        self.api().and_then(|api| api.error_type.as_ref())
    }

    /// The problems by input field; empty unless the model named some.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        self.api().map_or(&[], |api| &api.fields)
    }

    /// Whether the same call may succeed later. `false` whenever repeating it could pay twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use fal_protocol::wire::Sent;
        match &*self.kind {
            ErrorKind::Api(api) => api.is_retryable(),
            ErrorKind::Transport(failure) => failure.sent == Sent::No || self.handle.is_some(),
            ErrorKind::NotReady => true,
            ErrorKind::Deadline { .. } => self.handle.is_some(),
            _ => false,
        }
    }

    fn api(&self) -> Option<&ApiError> {
        match &*self.kind {
            ErrorKind::Api(api) => Some(api),
            ErrorKind::SubmitUnknown { cause } => match &**cause {
                core::ErrorKind::Api(api) => Some(api),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<core::Error> for Error {
    fn from(error: core::Error) -> Self {
        let request_id = error.request_id().map(Into::into);
        let (kind, handle) = error.into_parts();
        let kind = match kind {
            core::ErrorKind::Api(e) => ErrorKind::Api(e),
            core::ErrorKind::Transport(e) => ErrorKind::Transport(e),
            core::ErrorKind::Protocol(e) => ErrorKind::Protocol(e),
            core::ErrorKind::Input(e) => ErrorKind::Input(e),
            core::ErrorKind::SubmitUnknown { cause } => ErrorKind::SubmitUnknown { cause },
            core::ErrorKind::NotReady => ErrorKind::NotReady,
            core::ErrorKind::Deadline { aftermath } => ErrorKind::Deadline { aftermath },
            core::ErrorKind::Cancelled { aftermath } => ErrorKind::Cancelled { aftermath },
            other => ErrorKind::Config { problem: other.to_string().into() },
        };
        Self { kind: Box::new(kind), handle: handle.map(Box::new), request_id }
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        Self::new(ErrorKind::Input(error))
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        let handle = error.output().handle().cloned().map(Box::new);
        Self { kind: Box::new(ErrorKind::Decode(error)), handle, request_id: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            ErrorKind::Api(e) => e.fmt(f)?,
            ErrorKind::Transport(e) => e.fmt(f)?,
            ErrorKind::Protocol(e) => e.fmt(f)?,
            ErrorKind::Input(e) => e.fmt(f)?,
            ErrorKind::Decode(e) => e.fmt(f)?,
            ErrorKind::File { path, source } => write!(f, "{}: {source}", path.display())?,
            ErrorKind::Config { problem } => f.write_str(problem)?,
            ErrorKind::SubmitUnknown { cause } => {
                core::ErrorKind::SubmitUnknown { cause: cause.clone() }.fmt(f)?;
            }
            ErrorKind::NotReady => core::ErrorKind::NotReady.fmt(f)?,
            ErrorKind::Deadline { aftermath } => write!(f, "the deadline passed; {aftermath}")?,
            ErrorKind::Cancelled { aftermath } => write!(f, "cancelled; {aftermath}")?,
        }
        match self.request_id() {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            ErrorKind::File { source, .. } => Some(&**source),
            ErrorKind::Decode(e) => Some(e),
            _ => None,
        }
    }
}

/// The output of a model that does not fit the caller's type.
#[derive(Clone, Debug)]
pub struct DecodeError {
    path: Box<str>,
    problem: Box<str>,
    output: Box<Output>,
}

impl DecodeError {
    pub(crate) fn new(
        error: &serde_path_to_error::Error<serde_json::Error>,
        output: &Output,
    ) -> Self {
        Self {
            path: error.path().to_string().into(),
            problem: error.inner().to_string().into(),
            output: Box::new(output.clone()),
        }
    }

    /// Where in the output the type did not fit, such as `images[0].width`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The output, whole: nothing that was paid for is lost.
    #[must_use]
    pub const fn output(&self) -> &Output {
        &self.output
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the output does not fit the type at `{}`: {}", self.path, self.problem)
    }
}

impl std::error::Error for DecodeError {}
