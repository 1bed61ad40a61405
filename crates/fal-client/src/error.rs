use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fal_protocol::EndpointId;
use fal_protocol::error as core;
use fal_protocol::error::{Denied, ErrorKind, ErrorType, FieldError, InputError};
use fal_protocol::queue::Handle;
use http::StatusCode;

use crate::model::CheckError;
use crate::output::Output;

/// Why a call ended without its result.
///
/// Whenever a job is known, [`handle`](Self::handle) has it: store it, and take the result later with
/// [`Client::attach`](crate::Client::attach).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The call failed at the service, on the way, or because the caller stopped it: its
    /// [`ErrorKind`] says which.
    Call(core::Error),
    /// The output does not fit the caller's type. It is inside, whole.
    Decode(DecodeError),
    /// A local file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The input does not fit what the model's document says. Nothing was sent.
    Check(Box<CheckError>),
    /// There is no document of a model, or none that can be used.
    Document {
        /// The model.
        endpoint: EndpointId,
        /// Why there is none.
        problem: Box<str>,
    },
    /// The environment or the builder does not make a client, or a call was used twice.
    Config {
        /// What is missing, and what to do.
        problem: Box<str>,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { path: path.into(), source: Arc::new(source) }
    }

    pub(crate) fn document(endpoint: &EndpointId, problem: impl Into<Box<str>>) -> Self {
        Self::Document { endpoint: endpoint.clone(), problem: problem.into() }
    }

    pub(crate) fn config(problem: impl Into<Box<str>>) -> Self {
        Self::Config { problem: problem.into() }
    }

    /// What happened to the call; `None` when it failed in this program, before or after it.
    #[must_use]
    pub fn kind(&self) -> Option<&ErrorKind> {
        self.call().map(core::Error::kind)
    }

    /// The job that this error is about, if one was accepted.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Call(e) => e.handle(),
            Self::Decode(e) => e.output().handle(),
            _ => None,
        }
    }

    /// The HTTP status, if the service refused.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.call().and_then(core::Error::status)
    }

    /// The request id: of the job, else of the answer.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Call(e) => e.request_id(),
            Self::Decode(e) => e.output().request_id(),
            _ => None,
        }
    }

    /// The service's name for the failure.
    #[must_use]
    pub fn error_type(&self) -> Option<&ErrorType> {
        self.call().and_then(core::Error::error_type)
    }

    /// The problems by input field; empty unless the model, or a check by its document, named some.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        if let Self::Check(e) = self {
            return e.fields();
        }
        self.call().map_or(&[], core::Error::fields)
    }

    /// Why the service will not serve this caller, if that is what happened.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        self.call().and_then(core::Error::denied)
    }

    /// Whether the same call may succeed later. `false` whenever repeating it could pay twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.call().is_some_and(core::Error::is_retryable)
    }

    const fn call(&self) -> Option<&core::Error> {
        match self {
            Self::Call(e) => Some(e),
            _ => None,
        }
    }
}

impl From<core::Error> for Error {
    fn from(error: core::Error) -> Self {
        Self::Call(error)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::Call(kind.into())
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        ErrorKind::Input(error).into()
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(e) => e.fmt(f),
            Self::Decode(e) => e.fmt(f),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Check(e) => e.fmt(f),
            Self::Document { endpoint, problem } => {
                write!(f, "no document of {endpoint}: {problem}")
            }
            Self::Config { problem } => f.write_str(problem),
        }
    }
}

/// The message is whole, so there is no source to print after it: the causes are in the variants.
impl std::error::Error for Error {}

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
