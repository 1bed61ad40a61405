//! One HTTP/1.1 connection.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fal_protocol::wire::Failure;
use http::HeaderValue;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::body::Outgoing;
use crate::error::{Broken, broken, broken_body};
use crate::io::{Counted, Gauge, Stream};
use crate::origin::Origin;

/// A connection that carries one exchange at a time.
///
/// It is driven by whoever polls its exchange, not by a task of its own: no hand-over between threads
/// for each piece, and dropping the exchange closes the socket at once. While it rests nobody drives
/// it; that its peer has hung up is noticed by the first poll of the next exchange, which reads before
/// it writes.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Outgoing>,
    // Dropped as soon as it has ended: only that ends a request that it had not taken up yet.
    connection: Option<http1::Connection<TokioIo<Counted>, Outgoing>>,
    gauge: Arc<Gauge>,
    origin: Origin,
    host: HeaderValue,
}

impl Http1 {
    pub(crate) async fn new(stream: Stream, origin: Origin) -> hyper::Result<Self> {
        let gauge = Arc::new(Gauge::default());
        let counted = TokioIo::new(Counted::new(stream, Arc::clone(&gauge)));
        let (sender, connection) = http1::Builder::new().handshake(counted).await?;
        let host = origin.host_header();
        Ok(Self { sender, connection: Some(connection), gauge, origin, host })
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The value of the `Host` header.
    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// What the body of the next exchange must report to. Starts the count.
    pub(crate) fn begin(&self) -> Arc<Gauge> {
        self.gauge.begin();
        Arc::clone(&self.gauge)
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<Outgoing>,
    ) -> Result<http::Response<Incoming>, Broken> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let result = poll_fn(|cx| {
            // First the connection: it does the work that the answer waits for.
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await;
        result.map_err(|e| broken(&self.gauge, &e.into_error()))
    }

    /// The next piece of the answer's body; trailers are skipped.
    pub(crate) fn poll_data(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        let mut is_driven = false;
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    _ => {}
                },
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Some(Err(broken_body(&e)))),
                Poll::Ready(None) => return Poll::Ready(None),
                // The connection reads on only after the body was found wanting.
                Poll::Pending if is_driven => return Poll::Pending,
                Poll::Pending => {
                    self.drive(cx);
                    is_driven = true;
                }
            }
        }
    }

    /// After the end of an answer: whether another exchange can follow on this connection.
    pub(crate) fn is_reusable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx); // Lets it see for itself that the exchange is over.
        self.connection.is_some() && self.sender.is_ready() && self.gauge.write_error().is_none()
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None; // How it ended is told by the answer or its body.
        }
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("origin", &self.origin).finish_non_exhaustive()
    }
}
