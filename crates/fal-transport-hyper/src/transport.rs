//! One exchange, from looking for a connection to the answer.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fal_protocol::wire::{Body, Expect, Failure, FailureKind, Head, Sent};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::body::{Blocks, Outgoing, Rest};
use crate::chunks::{Carrier, Chunks};
use crate::config::Config;
use crate::connect::Connector;
use crate::error::{Broken, TransportError};
use crate::exchange::{Answer, Exchange, OnSent};
use crate::io::Gauge;
use crate::origin::Origin;
use crate::pool::{Pool, Pooled};
use crate::source::{FileBlocks, Kind, Source, SourceError};

/// Performs exchanges over HTTP/1.1 and HTTP/2 and keeps connections for the next ones.
///
/// Cloning it is cheap and shares the connections.
#[derive(Clone)]
pub struct Transport {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
}

impl Transport {
    /// A transport that connects as `config` says. Opens nothing and reads no file yet.
    ///
    /// # Errors
    /// [`TransportError`] when an extra root or the proxy's address cannot be used.
    pub fn new(config: Config) -> Result<Self, TransportError> {
        let connector = Arc::new(Connector::new(&config)?);
        Ok(Self { connector, pool: Arc::new(Pool::new(&config)) })
    }

    /// Performs one exchange, on a connection at rest if there is one.
    ///
    /// Dropping the future cancels the exchange: it closes the HTTP/1 connection or resets the HTTP/2
    /// stream. There is no time limit beyond the one for connecting; the caller sets it by dropping.
    /// Runs on a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`Failure`], which says how far the exchange came. [`Sent::No`] is said only when no byte of the
    /// request was written, or when the peer of an HTTP/2 connection says that it ignored the stream.
    pub async fn send(&self, exchange: Exchange) -> Result<Answer, Failure> {
        let origin = Origin::of(&exchange.request.uri)?;
        let expect = exchange.request.expect;
        let mut outbound = Outbound::new(exchange)?;
        let mut reused = 0;
        let result = loop {
            let at_rest = if reused < REUSE_TRIES_MAX { self.pool.take(&origin) } else { None };
            let (connection, headers) = match at_rest {
                Some(connection) => (connection, Headers::Keep),
                None => (self.connect(&origin).await?, Headers::Give),
            };
            match self.attempt(connection, &origin, &mut outbound, headers).await {
                // It died at rest. Nothing was written, so another one can carry the request.
                Err(broken) if broken.is_untouched && headers == Headers::Keep => reused += 1,
                result => break result,
            }
        };
        let (head, chunks) = result.map_err(|broken| broken.failure)?;
        match expect {
            Expect::Chunks => Ok(Answer::Chunks(head, chunks)),
            Expect::Whole { bytes_max } => {
                let body = collect(chunks, bytes_max).await?;
                Ok(Answer::Whole(head.map(|()| body)))
            }
            _ => {
                let message = "this shape of answer is not supported";
                Err(Failure::read(FailureKind::Other, message))
            }
        }
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    async fn connect(&self, origin: &Origin) -> Result<Pooled, Failure> {
        Ok(match self.connector.connect(origin).await? {
            Pooled::Http2(http2) => Pooled::Http2(self.pool.share(origin, http2)),
            http1 @ Pooled::Http1(_) => http1,
        })
    }

    async fn attempt(
        &self,
        connection: Pooled,
        origin: &Origin,
        outbound: &mut Outbound,
        headers: Headers,
    ) -> Result<(Head, Chunks), Broken> {
        match connection {
            Pooled::Http1(mut http1) => {
                let gauge = http1.begin();
                let request = outbound.http1(http1.host(), gauge, headers);
                let (parts, body) = http1.send(request).await?.into_parts();
                let carrier = Carrier::Http1(http1, Arc::clone(&self.pool));
                Ok((Head::from_parts(parts, ()), Chunks::new(body, carrier)))
            }
            Pooled::Http2(mut http2) => {
                let gauge = Arc::new(Gauge::default());
                let request = outbound.http2(origin, Arc::clone(&gauge), headers);
                match http2.send(request, &gauge).await {
                    Ok(answer) => {
                        let (parts, body) = answer.into_parts();
                        let chunks = Chunks::new(body, Carrier::Http2(http2));
                        Ok((Head::from_parts(parts, ()), chunks))
                    }
                    Err(broken) => {
                        if broken.is_untouched || http2.is_closed() {
                            self.pool.forget(origin, &http2);
                        }
                        Err(broken)
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// Whether a request may be needed again after this attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headers {
    Keep,
    Give,
}

/// A request in parts, from which each attempt makes its own.
struct Outbound {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    body: OutboundBody,
    on_sent: Option<OnSent>,
}

enum OutboundBody {
    Bytes(Bytes),
    Range { source: Source, start: u64, end: u64 },
}

impl Outbound {
    fn new(exchange: Exchange) -> Result<Self, Failure> {
        let Exchange { request, source, on_sent } = exchange;
        let broken = |e: SourceError| Failure::write(Sent::No, FailureKind::Source, e.to_string());
        let body = match request.body {
            Body::Empty => OutboundBody::Bytes(Bytes::new()),
            Body::Bytes(bytes) => OutboundBody::Bytes(bytes),
            Body::Source { range } => match source {
                None => return Err(broken(SourceError::Missing)),
                Some(Source(Kind::Bytes(bytes))) => OutboundBody::Bytes(
                    slice(&bytes, range).ok_or(SourceError::Short).map_err(broken)?,
                ),
                Some(source) => OutboundBody::Range { source, start: range.start, end: range.end },
            },
            _ => {
                let message = "this kind of body is not supported";
                return Err(Failure::write(Sent::No, FailureKind::Other, message));
            }
        };
        let mut headers = request.headers;
        // The framing is what is really sent, whatever the caller thought.
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        let may_have_body = request.method == Method::POST
            || request.method == Method::PUT
            || request.method == Method::PATCH;
        if may_have_body && body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let path = request.uri.into_parts().path_and_query;
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { method: request.method, path, headers, body, on_sent })
    }

    fn http1(
        &mut self,
        host: &HeaderValue,
        gauge: Arc<Gauge>,
        use_of: Headers,
    ) -> http::Request<Outgoing> {
        let mut request = http::Request::new(self.outgoing(gauge));
        *request.uri_mut() = Uri::from(self.path.clone());
        self.set_head(&mut request, use_of);
        request.headers_mut().entry(HOST).or_insert_with(|| host.clone());
        request
    }

    fn http2(
        &mut self,
        origin: &Origin,
        gauge: Arc<Gauge>,
        use_of: Headers,
    ) -> http::Request<Outgoing> {
        let mut request = http::Request::new(self.outgoing(gauge));
        *request.uri_mut() = origin.uri(self.path.clone());
        *request.version_mut() = Version::HTTP_2;
        self.set_head(&mut request, use_of);
        request
    }

    fn set_head(&mut self, request: &mut http::Request<Outgoing>, use_of: Headers) {
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = match use_of {
            Headers::Keep => self.headers.clone(),
            Headers::Give => std::mem::take(&mut self.headers),
        };
    }

    fn outgoing(&self, gauge: Arc<Gauge>) -> Outgoing {
        let rest = match &self.body {
            OutboundBody::Bytes(bytes) => Rest::Bytes(bytes.clone()),
            OutboundBody::Range { source, start, end } => Rest::Blocks(match &source.0 {
                Kind::File(path) => {
                    Blocks::new(Arc::new(FileBlocks::new(Arc::clone(path))), *start, *end)
                }
                Kind::Custom(custom) => Blocks::new(Arc::clone(custom), *start, *end),
                Kind::Bytes(_) => unreachable!("bytes in memory were cut to the range before"),
            }),
        };
        Outgoing::new(rest, gauge, self.on_sent.clone())
    }
}

impl OutboundBody {
    const fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Range { start, end, .. } => *end <= *start,
        }
    }
}

fn slice(bytes: &Bytes, range: std::ops::Range<u64>) -> Option<Bytes> {
    let start = usize::try_from(range.start).ok()?;
    let end = usize::try_from(range.end).ok()?.max(start);
    (end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// The whole body, in one piece of memory; a body of one piece is not copied.
async fn collect(mut chunks: Chunks, bytes_max: usize) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("the answer is longer than the {bytes_max} bytes that were allowed");
        Failure::read(FailureKind::TooLarge, message)
    };
    let declared = match chunks.remaining().map(usize::try_from) {
        None => 0,
        Some(Ok(declared)) if declared <= bytes_max => declared,
        Some(_) => return Err(too_large()),
    };
    let Some(first) = chunks.next().await.transpose()? else {
        return Ok(Bytes::new());
    };
    if first.len() > bytes_max {
        return Err(too_large());
    }
    let Some(second) = chunks.next().await.transpose()? else {
        return Ok(first);
    };
    let mut whole = BytesMut::with_capacity(declared.min(PRESIZE_BYTES_MAX).max(first.len()));
    whole.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if piece.len() > bytes_max - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
        next = chunks.next().await.transpose()?;
    }
    Ok(whole.freeze())
}

const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Transport>();
    is_send_and_sync::<Config>();
    is_send_and_sync::<Exchange>();
    is_send_and_sync::<Source>();
    is_send_and_sync::<TransportError>();
    is_send::<Answer>(); // Not `Sync`: it can hold the reader of an upload, which is polled by one.
};

/// How many connections at rest are tried before a new one is opened.
///
/// A server that restarts closes all of them at once; more tries would only find more dead ones.
const REUSE_TRIES_MAX: usize = 3;

/// How much memory a `Content-Length` is trusted with in advance: 16 MiB. The rest grows as it comes.
const PRESIZE_BYTES_MAX: usize = 16 << 20;
