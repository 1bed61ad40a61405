//! What enters and leaves the model: requests, answers, doors, outputs.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use super::content::{Piece, Spooled};
use super::realtime::FrameDraft;
use super::work::Work;
use crate::render;

/// A whole answer.
pub type Response = http::Response<Bytes>;

/// Status and headers of a status stream; its events follow.
pub type Head = http::Response<()>;

/// One request, already routed to a host of the service.
///
/// Borrows what the shell has parsed anyway, because most requests are answered on the spot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host that it is for, whatever the socket was.
    pub host: Host,
    /// The path on that host, with its leading slash.
    pub path: &'a str,
    /// The query without `?`.
    pub query: Option<&'a str>,
    /// All headers as received.
    pub headers: &'a HeaderMap,
    /// The whole body, unless the shell keeps it elsewhere.
    pub body: Bytes,
    /// The whole body, if the shell keeps it outside of memory. `body` is empty then.
    pub spooled: Option<Spooled>,
    /// The way in, which is also the way back that addresses in the answer take.
    pub door: Door<'a>,
}

impl<'a> Request<'a> {
    /// A request without query or body that came through no door.
    #[must_use]
    pub const fn new(
        method: &'a Method,
        host: Host,
        path: &'a str,
        headers: &'a HeaderMap,
    ) -> Self {
        Self {
            method,
            host,
            path,
            query: None,
            headers,
            body: Bytes::new(),
            spooled: None,
            door: Door::Direct,
        }
    }

    /// Sets the query.
    #[must_use]
    pub const fn with_query(mut self, query: Option<&'a str>) -> Self {
        self.query = query;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Sets a body that the shell keeps outside of memory. Only uploads of files may come so.
    #[must_use]
    pub fn with_spooled(mut self, body: Spooled) -> Self {
        self.spooled = Some(body);
        self
    }

    /// Sets the door.
    #[must_use]
    pub fn with_door(mut self, door: Door<'a>) -> Self {
        self.door = door;
        self
    }

    /// The text of a header's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first value of a query parameter, percent-decoded only where that is needed.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        parameters(self.query?).find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// The hosts of the service that the model plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Host {
    /// `fal.run`: direct calls.
    Run,
    /// `queue.fal.run`: queued calls.
    Queue,
    /// `rest.fal.ai`: starts uploads.
    Rest,
    /// `v3.fal.media`: takes and serves files.
    Cdn,
    /// `storage.googleapis.com`: the same, for uploads that ask for it.
    Gcs,
    /// `api.fal.ai`: the platform API.
    Api,
    /// `fal.ai`: the documents of models.
    Site,
    /// `ws.fal.run`: HTTP over WebSocket.
    Ws,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Run, Self::Queue, Self::Rest, Self::Cdn, Self::Gcs, Self::Api, Self::Site, Self::Ws];

    /// The name under which addresses mention it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "fal.run",
            Self::Queue => "queue.fal.run",
            Self::Rest => "rest.fal.ai",
            Self::Cdn => "v3.fal.media",
            Self::Gcs => "storage.googleapis.com",
            Self::Api => "api.fal.ai",
            Self::Site => "fal.ai",
            Self::Ws => "ws.fal.run",
        }
    }
}

/// How a request came in, and so how addresses in its answer are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door<'a> {
    /// No door: addresses are those of the real service. For machines joined without sockets.
    Direct,
    /// The host by its own name, through a proxy or a table of names: addresses start with
    /// `https://{host}` or `http://{host}`, whichever the caller spoke.
    ///
    /// Google's storage is `gcs.fal.media` here: its own name belongs to others as well, and the mock's
    /// certificates speak for fal's domains only.
    Named {
        /// Whether the caller spoke TLS.
        is_secure: bool,
        /// The port that the caller named, unless it is the usual one.
        port: Option<u16>,
    },
    /// The host as first path segment: addresses start with `http://{authority}/{host}`.
    Prefix {
        /// Whether the caller spoke TLS; then they start with `https://`.
        is_secure: bool,
        /// Host and port that the caller used, such as `127.0.0.1:8787`.
        authority: Cow<'a, str>,
    },
    /// The header `x-fal-target-url`.
    ///
    /// Queue addresses are those of the real service, because a client that uses a proxy sends them
    /// through it again (the official JavaScript client rebuilds them so). File and upload addresses
    /// are written as for [`Door::Prefix`]: every client fetches and puts files directly, never
    /// through its proxy, so `https://v3.fal.media` would leave the machine.
    Proxy {
        /// Whether the caller spoke TLS.
        is_secure: bool,
        /// Host and port that the caller used.
        authority: Cow<'a, str>,
    },
}

impl Door<'_> {
    /// The same door, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Door<'static> {
        match self {
            Self::Direct => Door::Direct,
            Self::Named { is_secure, port } => Door::Named { is_secure, port },
            Self::Prefix { is_secure, authority } => {
                Door::Prefix { is_secure, authority: Cow::Owned(authority.into_owned()) }
            }
            Self::Proxy { is_secure, authority } => {
                Door::Proxy { is_secure, authority: Cow::Owned(authority.into_owned()) }
            }
        }
    }

    /// Writes the start of every address on `host`, without the slash of its path.
    pub(crate) fn push_base(&self, out: &mut Vec<u8>, host: Host) {
        let scheme: fn(bool) -> &'static [u8] =
            |is_secure| if is_secure { b"https://" } else { b"http://" };
        match (self, host) {
            (Self::Prefix { is_secure, authority }, _)
            | (Self::Proxy { is_secure, authority }, Host::Cdn | Host::Gcs) => {
                out.extend_from_slice(scheme(*is_secure));
                out.extend_from_slice(authority.as_bytes());
                out.push(b'/');
            }
            (Self::Named { is_secure, .. }, _) => out.extend_from_slice(scheme(*is_secure)),
            (Self::Direct | Self::Proxy { .. }, _) => out.extend_from_slice(scheme(true)),
        }
        let name = match (self, host) {
            (Self::Named { .. }, Host::Gcs) => GCS_NAMED,
            _ => host.name(),
        };
        out.extend_from_slice(name.as_bytes());
        if let Self::Named { port: Some(port), .. } = self {
            out.push(b':');
            render::push_number(out, u64::from(*port));
        }
    }
}

/// Google's storage by a name of fal's.
const GCS_NAMED: &str = "gcs.fal.media";

/// What the model wants next.
///
/// Exhaustive on purpose: a shell must handle every shape.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a shell must handle every shape")]
pub enum Output {
    /// The whole answer to an exchange, which is over: a file whose bytes are not in one place.
    Serve {
        /// The exchange.
        id: u64,
        /// Its head.
        head: Head,
        /// Its body, one piece after the other.
        pieces: Vec<Piece>,
    },
    /// The whole answer to an exchange, which is over.
    Reply {
        /// The exchange.
        id: u64,
        /// Its answer.
        response: Response,
    },
    /// A status stream begins.
    Stream {
        /// The exchange.
        id: u64,
        /// Its head.
        head: Head,
    },
    /// The next bytes of a status stream: one whole event or comment.
    Event {
        /// The exchange.
        id: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A status stream ends as it should.
    End {
        /// The exchange.
        id: u64,
    },
    /// The connection is to be closed without (the rest of) an answer.
    Cut {
        /// The exchange.
        id: u64,
    },
    /// The same without ceremony: TCP says so at once (RST).
    Reset {
        /// The exchange.
        id: u64,
    },
    /// Of the body of an answer that has a [`Wire`] with a gate so many bytes may have left by now.
    Release {
        /// The exchange.
        id: u64,
        /// Bytes since its beginning; `u64::MAX` is all.
        bytes: u64,
    },
    /// The handshake of a WebSocket succeeds.
    Accept {
        /// The exchange.
        id: u64,
    },
    /// A message on an accepted WebSocket.
    Frame {
        /// The exchange.
        id: u64,
        /// The message. Draw it where nobody else has to wait.
        frame: FrameDraft,
    },
    /// An accepted WebSocket is closed; the exchange is over.
    Close {
        /// The exchange.
        id: u64,
        /// The code, if there is to be one.
        code: Option<u16>,
        /// The reason; without a code it is not sent.
        reason: Box<str>,
    },
    /// News of a job: POST it, then call [`Model::handle_delivered`](super::Model::handle_delivered).
    Deliver {
        /// Names the attempt. These numbers are not those of exchanges.
        id: u64,
        /// Where to.
        url: Uri,
        /// All headers but those of HTTP itself.
        headers: HeaderMap,
        /// What it says.
        body: Bytes,
        /// After this time an answer does not count any more.
        time_max: Duration,
    },
    /// Somebody else shall do the work of a call; the model is told what comes of it.
    Work {
        /// Names the attempt. These numbers are not those of exchanges.
        id: u64,
        /// What is to be done, and by whom.
        work: Box<Work>,
    },
    /// Nobody wants this work any more: it is to be stopped, and its end to be told as any other.
    StopWork {
        /// The attempt.
        id: u64,
    },
    /// Drained: wait for a request or this instant.
    Wait {
        /// The next instant at which something happens by itself.
        until: Option<Instant>,
    },
}

/// What shall happen to the bytes of an answer on their way. Stands among the extensions of its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wire {
    /// After so many bytes of the body it ends like this, whatever length was announced.
    pub ending: Option<(u64, Ending)>,
    /// So many bytes may leave at first; [`Output::Release`] says when more may.
    pub gate: Option<u64>,
    /// At most so many bytes are written at once.
    pub split: Option<usize>,
}

/// How a body ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a shell must handle every shape")]
pub enum Ending {
    /// The connection is closed.
    Cut,
    /// The connection is reset.
    Reset,
}

/// The parameters of a query, decoded where they are encoded.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Undoes percent-encoding and `+`; what is not valid stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, hex(bytes.get(at)), hex(bytes.get(at + 1))) {
            (b'+', ..) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits"));
                at += 2;
            }
            _ => out.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "logs=1&fal_webhook=https%3A%2F%2Fa.test%2F%3Fb%3D1&x&&y=a+b%2";
        let all: Vec<(String, String)> =
            parameters(query).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let want =
            [("logs", "1"), ("fal_webhook", "https://a.test/?b=1"), ("x", ""), ("y", "a b%2")];
        assert_eq!(all, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn files_are_reached_directly_through_every_door() {
        let base = |door: Door<'_>, host| {
            let mut out = Vec::new();
            door.push_base(&mut out, host);
            String::from_utf8(out).unwrap()
        };
        let at = || Cow::Borrowed("localhost:1");
        for (door, host, want) in [
            (Door::Direct, Host::Cdn, "https://v3.fal.media"),
            (Door::Named { is_secure: true, port: None }, Host::Cdn, "https://v3.fal.media"),
            (Door::Named { is_secure: true, port: None }, Host::Gcs, "https://gcs.fal.media"),
            (Door::Named { is_secure: false, port: Some(8787) }, Host::Run, "http://fal.run:8787"),
            (
                Door::Prefix { is_secure: false, authority: at() },
                Host::Queue,
                "http://localhost:1/queue.fal.run",
            ),
            (
                Door::Prefix { is_secure: true, authority: at() },
                Host::Cdn,
                "https://localhost:1/v3.fal.media",
            ),
            (
                Door::Proxy { is_secure: false, authority: at() },
                Host::Queue,
                "https://queue.fal.run",
            ),
            (
                Door::Proxy { is_secure: false, authority: at() },
                Host::Cdn,
                "http://localhost:1/v3.fal.media",
            ),
        ] {
            assert_eq!(base(door, host), want);
        }
    }
}
