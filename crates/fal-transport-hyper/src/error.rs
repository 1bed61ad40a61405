//! From what the libraries say to what a caller can act on.

use std::error::Error as StdError;
use std::{fmt, io};

use fal_protocol::wire::{Failure, FailureKind, Sent};

use crate::io::Gauge;

/// A transport cannot be made from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The text given as an extra root certificate cannot be used.
    Root {
        /// What is wrong with it.
        problem: Box<str>,
    },
    /// The address of the proxy cannot be used. It is not shown, because it can hold a password.
    Proxy {
        /// What is wrong with it.
        problem: Box<str>,
    },
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { problem } => {
                write!(f, "the extra root certificate cannot be used: {problem}")
            }
            Self::Proxy { problem } => write!(f, "the proxy cannot be used: {problem}"),
        }
    }
}

impl StdError for TransportError {}

/// An exchange that failed before its answer began.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// Whether nothing of the request was written, so that another connection can carry it.
    pub(crate) is_untouched: bool,
}

/// An HTTP/1 exchange that ended without the head of an answer.
pub(crate) fn broken(gauge: &Gauge, error: &hyper::Error) -> Broken {
    if let Some(problem) = gauge.source_error() {
        let sent = if gauge.is_touched() { Sent::Maybe } else { Sent::No };
        let failure = Failure::write(sent, FailureKind::Source, problem);
        return Broken { failure, is_untouched: false };
    }
    let (kind, message) = explain(error);
    if !gauge.is_touched() {
        let failure = match gauge.is_answered() {
            true => {
                let message = "the peer spoke before it was asked";
                Failure::write(Sent::No, FailureKind::Malformed, message)
            }
            false => Failure::write(Sent::No, kind, message),
        };
        return Broken { failure, is_untouched: true };
    }
    let failure = if let Some(write_error) = gauge.write_error() {
        let (kind, message) = explain_io(write_error);
        Failure::write(Sent::Maybe, kind, message)
    } else if kind != FailureKind::Malformed && !gauge.is_request_done() {
        Failure::write(Sent::Maybe, kind, message)
    } else {
        Failure::read(kind, message)
    };
    Broken { failure, is_untouched: false }
}

/// An HTTP/2 exchange that ended without the head of an answer.
pub(crate) fn broken_stream(gauge: &Gauge, is_untouched: bool, error: &hyper::Error) -> Broken {
    if let Some(problem) = gauge.source_error() {
        let failure = Failure::write(Sent::Maybe, FailureKind::Source, problem);
        return Broken { failure, is_untouched: false };
    }
    let (kind, message) = explain(error);
    let sent = if is_untouched || is_disowned(error) { Sent::No } else { Sent::Maybe };
    let mut failure = match gauge.is_body_done() && !is_untouched {
        true => Failure::read(kind, message),
        false => Failure::write(sent, kind, message),
    };
    failure.sent = sent;
    Broken { failure, is_untouched }
}

/// A body that ended before its end.
pub(crate) fn broken_body(error: &hyper::Error) -> Failure {
    match explain(error) {
        // Only that the connection has ended, without a reason of its own.
        (FailureKind::Other, _) => cut_body(),
        (kind, message) => Failure::read(kind, message),
    }
}

/// A body that ended as if it were whole, before its end was marked.
pub(crate) fn cut_body() -> Failure {
    let (kind, message) = explain_io(io::ErrorKind::UnexpectedEof);
    Failure::read(kind, message)
}

/// Whether the peer has said that it did not and will not look at this stream.
///
/// Only streams above the last one that a GOAWAY names end with that GOAWAY as their error; those
/// below it end as the connection does. RFC 9113, sections 6.8 and 8.7.
fn is_disowned(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|e| {
        e.is_remote() && (e.is_go_away() || e.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The kind of an error of the HTTP layer, and a sentence for people.
fn explain(error: &hyper::Error) -> (FailureKind, Box<str>) {
    if error.is_parse() {
        // Names the part that is wrong and quotes nothing.
        return (FailureKind::Malformed, format!("the answer is not HTTP: {error}").into());
    }
    if let Some(e) = find::<h2::Error>(error) {
        return explain_h2(e);
    }
    if let Some(e) = find::<io::Error>(error) {
        return match find::<rustls::Error>(e) {
            Some(tls) => explain_rustls(tls),
            None => explain_io(e.kind()),
        };
    }
    if error.is_timeout() {
        return (FailureKind::Timeout, "the peer stopped answering pings".into());
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return explain_io(io::ErrorKind::UnexpectedEof);
    }
    let innermost = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    (FailureKind::Other, innermost.into())
}

fn explain_h2(error: &h2::Error) -> (FailureKind, Box<str>) {
    if let Some(e) = error.get_io() {
        return explain_io(e.kind());
    }
    let reason = error.reason().map_or_else(|| "no reason".to_owned(), |reason| reason.to_string());
    if error.is_remote() {
        let what =
            if error.is_go_away() { "is closing the connection" } else { "reset the stream" };
        return (FailureKind::Closed, format!("the peer {what}: {reason}").into());
    }
    (FailureKind::Malformed, format!("the peer broke the rules of HTTP/2: {reason}").into())
}

/// A TLS error after or during the handshake.
pub(crate) fn explain_rustls(error: &rustls::Error) -> (FailureKind, Box<str>) {
    use rustls::CertificateError as Problem;
    let problem = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            Problem::UnknownIssuer => "its issuer is unknown".to_owned(),
            Problem::Expired | Problem::ExpiredContext { .. } => "it has expired".to_owned(),
            Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
                "it is not valid yet".to_owned()
            }
            Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
                "it is for another host".to_owned()
            }
            other => other.to_string(),
        },
        other => return (FailureKind::Tls, format!("the TLS handshake failed: {other}").into()),
    };
    (FailureKind::Tls, format!("certificate not trusted: {problem}").into())
}

/// An error of the operating system.
pub(crate) fn explain_io(kind: io::ErrorKind) -> (FailureKind, Box<str>) {
    use io::ErrorKind as Io;
    match kind {
        Io::ConnectionRefused => (FailureKind::Refused, "connection refused".into()),
        Io::HostUnreachable => (FailureKind::Refused, "host unreachable".into()),
        Io::NetworkUnreachable => (FailureKind::Refused, "network unreachable".into()),
        Io::AddrNotAvailable => (FailureKind::Refused, "address not available".into()),
        Io::TimedOut => (FailureKind::Timeout, "timed out".into()),
        Io::ConnectionReset | Io::ConnectionAborted => {
            (FailureKind::Closed, "the peer reset the connection".into())
        }
        Io::BrokenPipe | Io::UnexpectedEof | Io::NotConnected | Io::WriteZero => {
            (FailureKind::Closed, "the peer closed the connection".into())
        }
        Io::InvalidData | Io::InvalidInput => {
            (FailureKind::Malformed, "the answer's framing is broken".into())
        }
        other => (FailureKind::Other, other.to_string().into()),
    }
}

/// The first error of this type among an error and its causes.
///
/// An [`io::Error`] is looked into as well: its own `source` skips what it wraps.
pub(crate) fn find<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
