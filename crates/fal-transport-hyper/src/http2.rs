//! One HTTP/2 connection, shared.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fal_protocol::wire::Failure;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::body::Outgoing;
use crate::error::{Broken, broken_body, broken_stream, cut_body};
use crate::io::{Counted, Gauge, Stream};

/// A connection that carries many exchanges at once. Cloning it shares it.
///
/// Its one task ends when the last clone is dropped and the last exchange is over.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    // Counts the clones: one for the pool, one for each exchange.
    users: Arc<()>,
}

impl Http2 {
    pub(crate) async fn new(stream: Stream) -> hyper::Result<Self> {
        let counted = TokioIo::new(Counted::new(stream, Arc::new(Gauge::default())));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(counted)
            .await?;
        // How it ends is told to each of its exchanges.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, users: Arc::new(()) })
    }

    /// Whether the peer or the network has ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it carries an exchange now; asked by the pool, which holds a clone itself.
    pub(crate) fn is_busy(&self) -> bool {
        Arc::strong_count(&self.users) > 1
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.users, &other.users)
    }

    /// Sends a request and waits for the head of its answer. Dropping the future resets the stream.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<Outgoing>,
        gauge: &Gauge,
    ) -> Result<http::Response<Incoming>, Broken> {
        self.sender.try_send_request(request).await.map_err(|mut e| {
            let is_untouched = e.take_message().is_some();
            broken_stream(gauge, is_untouched, &e.into_error())
        })
    }

    /// The next piece of an answer's body; trailers are skipped.
    pub(crate) fn poll_data(
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    _ => {}
                },
                Some(Err(e)) => return Poll::Ready(Some(Err(broken_body(&e)))),
                None if body.is_end_stream() => return Poll::Ready(None),
                // A reset without an error, which the library takes for an end wherever it comes.
                None => return Poll::Ready(Some(Err(cut_body()))),
            }
        }
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Longest head taken over HTTP/2, counted as its specification says: 64 KiB.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// A connection with exchanges on it is pinged when it has been silent for this long.
///
/// Otherwise one whose network has gone away would swallow every exchange until its user gives up.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A ping that is not answered within this time ends the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
