//! The words that transports speak: one request, one answer or one failure.
//!
//! A transport performs a [`Request`] and reports either the answer or a [`Failure`]. It needs no
//! knowledge of fal: no retry, no redirect, no interpretation of a status.

mod location;
mod message;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

pub use location::location;
pub use message::{Close, Message};

use crate::auth::Credentials;

/// Names one exchange of one machine. A counter, not a random value, so replays stay comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(u64);

impl ExchangeId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this id.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// One HTTP request that a machine wants performed, once.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// An absolute `http` or `https` address.
    pub uri: Uri,
    /// Headers; credentials in them are marked sensitive.
    pub headers: HeaderMap,
    /// The body. Shared, so that repeating an attempt copies nothing.
    pub body: Body,
    /// How the answer is wanted.
    pub expect: Expect,
    /// Whether the driver is to [`authorize`](Self::authorize) it before it is sent, because only the driver
    /// knows who calls. Set only with [`Credentials::Deferred`], and only where credentials may go.
    pub wants_credentials: bool,
}

impl Request {
    /// A request without headers or body whose answer is wanted whole, up to [`ANSWER_BYTES_MAX`].
    #[must_use]
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: HeaderMap::new(),
            body: Body::Empty,
            expect: Expect::Whole { bytes_max: ANSWER_BYTES_MAX },
            wants_credentials: false,
        }
    }

    /// Adds the credentials that it [wants](Self::wants_credentials). A request that wants none stays as it
    /// is, and so does one that is given [`Credentials::Deferred`].
    pub fn authorize(&mut self, credentials: &Credentials) {
        if !self.wants_credentials || *credentials == Credentials::Deferred {
            return;
        }
        self.wants_credentials = false;
        if let Some(value) = credentials.header() {
            self.headers.insert(header::AUTHORIZATION, value);
        }
    }

    /// The same, telling nobody who calls.
    pub(crate) fn anonymous(mut self) -> Self {
        self.headers.remove(header::AUTHORIZATION);
        self.wants_credentials = false;
        self
    }

    /// Sets a header, replacing an earlier one of that name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sets how the answer is wanted.
    #[must_use]
    pub const fn with_expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

/// Prints no query, because signed addresses carry their secret there, and no body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("uri", &display_without_query(&self.uri))
            .field("headers", &self.headers)
            .field("body", &self.body)
            .field("expect", &self.expect)
            .field("wants_credentials", &self.wants_credentials)
            .finish()
    }
}

/// `uri` for a log line or an error: scheme, host and path, with the query replaced by `?…`.
#[must_use]
pub fn display_without_query(uri: &Uri) -> String {
    let mut text = String::new();
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        text.push_str(scheme);
        text.push_str("://");
        // User information is a credential.
        let host = authority.as_str();
        text.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
    }
    text.push_str(uri.path());
    if uri.query().is_some() {
        text.push_str("?…");
    }
    text
}

/// What a request carries.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// A range of something that only the shell can read, usually a file.
    Source {
        /// Byte offsets from the start of the source.
        range: Range<u64>,
    },
}

impl Body {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source { range } => range.end.saturating_sub(range.start),
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Prints the length only.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Source { range } => write!(f, "Source({range:?})"),
        }
    }
}

/// How an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// In one piece; enters the machine by `handle_response`.
    Whole {
        /// A longer body is a [`Failure`] with [`FailureKind::TooLarge`].
        bytes_max: usize,
    },
    /// Head first, then pieces as they arrive; enters by `handle_head`, `handle_chunk`, `handle_end`.
    Chunks,
    /// A WebSocket. The request is a GET without the headers of the handshake, which the transport adds.
    /// A peer that agrees enters by `handle_head` with its 101, and each message by `handle_message`;
    /// any other answer enters whole by `handle_response`, up to [`ANSWER_BYTES_MAX`].
    WebSocket {
        /// A longer message is a [`Failure`] with [`FailureKind::TooLarge`].
        message_bytes_max: usize,
    },
}

/// A whole answer.
pub type Response = http::Response<Bytes>;

/// Status and headers of an answer whose body follows in pieces.
pub type Head = http::Response<()>;

/// An exchange that ended without a whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// How far the exchange had come.
    pub phase: Phase,
    /// Whether any byte of the request can have reached the peer.
    pub sent: Sent,
    /// What kind of thing happened.
    pub kind: FailureKind,
    /// For people: what the operating system or the TLS library said. No address, no header.
    pub message: Box<str>,
}

impl Failure {
    /// A failure while connecting: no byte of the request has left.
    #[must_use]
    pub fn connect(kind: FailureKind, message: impl Into<Box<str>>) -> Self {
        Self { phase: Phase::Connect, sent: Sent::No, kind, message: message.into() }
    }

    /// No credentials were at hand: nothing was sent. `message` must not hold any.
    #[must_use]
    pub fn credentials(message: impl Into<Box<str>>) -> Self {
        Self::connect(FailureKind::Credentials, message)
    }

    /// Whether another host may have better luck: not one byte has left, and the way there was the trouble.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.phase == Phase::Connect
            && self.sent == Sent::No
            && self.kind != FailureKind::Credentials
    }

    /// A failure while the request was being written.
    #[must_use]
    pub fn write(sent: Sent, kind: FailureKind, message: impl Into<Box<str>>) -> Self {
        Self { phase: Phase::Write, sent, kind, message: message.into() }
    }

    /// A failure while the answer was awaited or read.
    #[must_use]
    pub fn read(kind: FailureKind, message: impl Into<Box<str>>) -> Self {
        Self { phase: Phase::Read, sent: Sent::Maybe, kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            _ if self.kind == FailureKind::Credentials => "there were no credentials to send",
            Phase::Connect => "could not connect",
            Phase::Write => "the connection failed while the request was being sent",
            Phase::Read => "the connection failed before the whole answer had arrived",
        };
        write!(f, "{phase}: {}", self.message)
    }
}

impl std::error::Error for Failure {}

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Name resolution, TCP, proxy or TLS: before the first byte of the request.
    Connect,
    /// The request was being written.
    Write,
    /// The request was written; the answer was awaited or being read.
    Read,
}

/// Whether the peer can have seen the request.
///
/// Only [`Sent::No`] makes it safe to repeat a request that costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Sent {
    /// No byte of this request has left this machine.
    No,
    /// Some or all of it may have arrived.
    Maybe,
}

/// What kind of thing ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The host name did not resolve.
    Dns,
    /// Nothing accepted the connection.
    Refused,
    /// The TLS handshake failed; repeating it seldom helps.
    Tls,
    /// The proxy refused the tunnel or could not be reached.
    Proxy,
    /// A time limit of the transport or of the machine ran out.
    Timeout,
    /// The peer closed or reset the connection, or the body ended early.
    Closed,
    /// What arrived is not HTTP.
    Malformed,
    /// The answer is longer than the request allowed.
    TooLarge,
    /// The request's own body could not be read.
    Source,
    /// The transport cannot do what the request asks for.
    Unsupported,
    /// The driver had no credentials to [authorize](Request::authorize) it with.
    Credentials,
    /// Something else.
    Other,
}

/// A status code with its canonical reason: `503 Service Unavailable`.
pub(crate) fn display_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Longest answer taken in one piece unless a request says otherwise: 8 MiB.
///
/// Precedent: the status answer with every log line of a long training job stays well below it.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let mut key = HeaderValue::from_static("Key id:secret");
        key.set_sensitive(true);
        let request = Request::new(
            Method::PUT,
            Uri::from_static("https://user:pw@v3.fal.media/files/a.png?signature=secret"),
        )
        .with_header(header::AUTHORIZATION, key)
        .with_body(Body::Bytes(Bytes::from_static(b"secret picture")));
        let text = format!("{request:?}");
        assert!(!text.contains("secret") && !text.contains("pw"), "{text}");
        assert!(text.contains("https://v3.fal.media/files/a.png?…"), "{text}");
    }

    #[test]
    fn only_what_wants_credentials_gets_them() {
        let key = Credentials::from(crate::auth::Key::parse("id:secret").unwrap());
        let mut request = Request::new(Method::GET, Uri::from_static("https://fal.run/a"));
        request.authorize(&key);
        assert!(request.headers.is_empty());
        request.wants_credentials = true;
        request.authorize(&Credentials::Deferred);
        assert!(request.wants_credentials && request.headers.is_empty());
        request.authorize(&key);
        assert_eq!(request.headers[header::AUTHORIZATION], "Key id:secret");
        assert!(!request.wants_credentials);
        assert!(request.anonymous().headers.is_empty());
    }

    #[test]
    fn source_length_is_the_range() {
        assert_eq!(Body::Source { range: 3..10 }.len(), 7);
        assert!(Body::Source { range: Range { start: 10, end: 3 } }.is_empty());
    }
}
