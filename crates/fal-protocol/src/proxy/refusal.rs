//! Why a call is not forwarded.

use std::fmt;

use http::StatusCode;

use super::target::TargetError;

/// A call that is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The method is none of GET, POST, PUT and DELETE.
    Method,
    /// The header `x-fal-target-url` is missing.
    TargetMissing,
    /// The header is there more than once, so that two readers could read two targets.
    TargetRepeated,
    /// The header holds no usable address.
    TargetMalformed(TargetError),
    /// No pattern allows the address.
    TargetNotAllowed {
        /// Whether it lies on one of fal's hosts all the same.
        is_fal: bool,
    },
    /// Nobody knows who calls.
    CallerUnknown,
    /// The endpoint is not on the list.
    EndpointNotAllowed,
    /// The server has no key. Better no call than one with a broken key.
    NoKey,
    /// With documented codes: the body of a POST is not said to be JSON.
    ContentType,
    /// The body is longer than [`Policy::body_bytes_max`](super::Policy::body_bytes_max).
    BodyTooLong,
}

impl Refusal {
    /// The status of the answer.
    ///
    /// `documented` takes the codes of the formula that the documentation gives to authors of proxies;
    /// otherwise those of fal's own library.
    ///
    /// Source: `@fal-ai/server-proxy` 1.2.1 (official client source); docs.fal.ai, older server-side
    /// integration page (documented).
    #[must_use]
    pub const fn status(&self, documented: bool) -> StatusCode {
        match self {
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CallerUnknown | Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::Method if documented => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType if documented => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TargetMalformed(_) | Self::TargetNotAllowed { is_fal: false } if documented => {
                StatusCode::PRECONDITION_FAILED
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What the caller reads. Says nothing of the lists, nor of the server.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("Invalid request: the method is not forwarded"),
            Self::TargetMissing => f.write_str("Invalid request: x-fal-target-url is missing"),
            Self::TargetRepeated => f.write_str("Invalid request: x-fal-target-url is repeated"),
            Self::TargetMalformed(why) => {
                write!(f, "Invalid request: x-fal-target-url cannot be used: {why}")
            }
            Self::TargetNotAllowed { .. } => {
                f.write_str("Invalid request: this address is not allowed")
            }
            Self::EndpointNotAllowed => {
                f.write_str("Invalid request: this endpoint is not allowed")
            }
            Self::ContentType => f.write_str("Invalid request: the body must be JSON"),
            Self::CallerUnknown => f.write_str("Unauthorized: sign in first"),
            Self::NoKey => f.write_str("Unauthorized: the proxy has no key"),
            Self::BodyTooLong => f.write_str("Invalid request: the body is too long"),
        }
    }
}

impl std::error::Error for Refusal {}
