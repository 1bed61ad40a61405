//! The body of an answer, piece by piece.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fal_protocol::wire::Failure;
use futures_core::Stream;
use http_body::Body;
use hyper::body::Incoming;

use crate::http1::Http1;
use crate::http2::Http2;
use crate::pool::Pool;

/// The body of an answer, in the pieces in which it arrives.
///
/// Ends with `None` only when the peer marked the end; a body that is cut ends with an error and then
/// `None`. Read to its end, the connection serves the next exchange; dropped before, an HTTP/1
/// connection is closed and an HTTP/2 stream is reset, unless nothing but the end was left and has
/// arrived already. Nothing is read ahead of the caller, beyond a buffer of the connection.
///
/// An answer without `Content-Length` and without chunked framing ends where the connection does, so
/// there the two cannot be told apart unless the connection is reset.
#[must_use = "an answer that is dropped closes its connection"]
pub struct Chunks {
    body: Incoming,
    carrier: Carrier,
}

/// The connection under a body.
pub(crate) enum Carrier {
    Http1(Box<Http1>, Arc<Pool>),
    Http2(#[expect(dead_code, reason = "counts as a user of the connection")] Http2),
    /// The body has ended and the connection has gone its way.
    Gone,
}

impl Chunks {
    pub(crate) const fn new(body: Incoming, carrier: Carrier) -> Self {
        Self { body, carrier }
    }

    /// The next piece, never an empty one; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// How many bytes are still to come, if the answer says so.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.carrier {
            Carrier::Gone => Some(0),
            _ => self.body.size_hint().exact(),
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let data = match &mut self.carrier {
            Carrier::Http1(http1, _) => http1.poll_data(&mut self.body, cx),
            Carrier::Http2(_) => Http2::poll_data(&mut self.body, cx),
            Carrier::Gone => return Poll::Ready(None),
        };
        match std::task::ready!(data) {
            Some(Ok(data)) => {
                if self.body.is_end_stream() {
                    self.release(cx);
                }
                Poll::Ready(Some(Ok(data)))
            }
            Some(Err(e)) => {
                self.carrier = Carrier::Gone;
                Poll::Ready(Some(Err(e)))
            }
            None => {
                self.release(cx);
                Poll::Ready(None)
            }
        }
    }

    /// Gives the connection back after the end of the body.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Carrier::Http1(mut http1, pool) = std::mem::replace(&mut self.carrier, Carrier::Gone)
            && http1.is_reusable(cx)
        {
            pool.park(http1);
        }
    }
}

/// Whoever has heard what it waited for drops a stream before its end, which often came in the same
/// packet. One look, without waiting, saves the next exchange a connection.
impl Drop for Chunks {
    fn drop(&mut self) {
        if matches!(self.carrier, Carrier::Http1(..)) {
            // At the end this parks the connection; whatever else it finds, the connection goes.
            let _ = self.poll_data(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_data(cx)
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}
