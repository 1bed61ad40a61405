//! The connection's bytes, counted.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What is known of the exchange that a connection is carrying.
///
/// Shared by the connection's two ends and the request's body. The flags order nothing, so every
/// access is relaxed.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    written: AtomicU64,
    read: AtomicU64,
    body_done: AtomicBool,
    request_done: AtomicBool,
    // Never cleared: a connection that has seen one of these is not used again.
    write_error: OnceLock<io::ErrorKind>,
    source_error: OnceLock<Box<str>>,
}

impl Gauge {
    /// Starts counting for the next exchange.
    pub(crate) fn begin(&self) {
        self.written.store(0, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
        self.body_done.store(false, Ordering::Relaxed);
        self.request_done.store(false, Ordering::Relaxed);
    }

    /// The body has handed over its last byte.
    pub(crate) fn end_body(&self) {
        self.body_done.store(true, Ordering::Relaxed);
    }

    /// The body could not be read, for this reason.
    pub(crate) fn fail_body(&self, problem: impl Into<Box<str>>) {
        self.source_error.get_or_init(|| problem.into());
    }

    /// Why the body could not be read, if it could not.
    ///
    /// Kept here because the HTTP/2 layer tells the peer of it and nobody else.
    pub(crate) fn source_error(&self) -> Option<&str> {
        self.source_error.get().map(|problem| &**problem)
    }

    /// Whether the body has handed over its last byte.
    pub(crate) fn is_body_done(&self) -> bool {
        self.body_done.load(Ordering::Relaxed)
    }

    /// Whether any byte of the request was taken by the socket or the TLS layer.
    pub(crate) fn is_touched(&self) -> bool {
        self.written.load(Ordering::Relaxed) > 0
    }

    /// Whether any byte of an answer has arrived.
    pub(crate) fn is_answered(&self) -> bool {
        self.read.load(Ordering::Relaxed) > 0
    }

    /// Whether the whole request was taken by the socket.
    pub(crate) fn is_request_done(&self) -> bool {
        self.request_done.load(Ordering::Relaxed)
    }

    /// Why writing failed, if it did.
    pub(crate) fn write_error(&self) -> Option<io::ErrorKind> {
        self.write_error.get().copied()
    }
}

/// A TCP or TLS stream that keeps a [`Gauge`] up to date.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: Stream,
    gauge: Arc<Gauge>,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Socket>>),
}

impl Counted {
    pub(crate) const fn new(stream: Stream, gauge: Arc<Gauge>) -> Self {
        Self { stream, gauge }
    }

    /// Writes and keeps account of it.
    fn write_with(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Stream, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.gauge.write_error().is_some() {
            return Poll::Pending;
        }
        let before = self.stream.socket_written();
        let result = write(&mut self.stream, cx);
        let count = match &result {
            Poll::Ready(Ok(count)) => *count as u64,
            Poll::Ready(Err(_)) => self.stream.socket_written() - before,
            Poll::Pending => 0,
        };
        self.gauge.written.fetch_add(count, Ordering::Relaxed);
        self.postpone(cx, result)
    }

    /// Postpones the news that the peer takes no more.
    ///
    /// A server that refuses an upload answers early and closes, so the write fails while the answer
    /// waits in the receive buffer. The failed write is therefore left pending: reading goes on to
    /// the answer, or to the end of the stream, which then ends the exchange.
    fn postpone<T>(&self, cx: &Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(e)) if self.gauge.is_touched() => {
                self.gauge.write_error.get_or_init(|| e.kind());
                if !is_hang_up(e.kind()) {
                    return Poll::Ready(Err(e));
                }
                cx.waker().wake_by_ref(); // The end may have arrived after reading was last tried.
                Poll::Pending
            }
            other => other,
        }
    }
}

impl Stream {
    /// What the socket was given under TLS, handshake included; without TLS nothing is hidden.
    fn socket_written(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.get_ref().0.written,
        }
    }
}

/// A TCP stream under TLS that counts what it was given.
///
/// The TLS layer may write one part, fail with the next, and report the failure alone. Taken for a
/// request that never left, that would be repeated and paid for twice.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    written: u64,
}

impl Socket {
    pub(crate) const fn new(tcp: TcpStream) -> Self {
        Self { tcp, written: 0 }
    }

    fn note(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &result {
            self.written += *count as u64;
        }
        result
    }
}

/// Whether the peer has closed its side, so that reading ends as well, sooner or later.
const fn is_hang_up(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Io;
    matches!(kind, Io::BrokenPipe | Io::ConnectionReset | Io::ConnectionAborted)
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        };
        let count = buf.filled().len() - before;
        if count > 0 {
            self.gauge.read.fetch_add(count as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream, cx| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream, cx| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gauge.write_error().is_some() {
            return Poll::Pending;
        }
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        };
        match result {
            Poll::Ready(Ok(())) => {
                // The HTTP layer flushes when its own buffer is empty.
                if self.gauge.is_body_done() {
                    self.gauge.request_done.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Ok(()))
            }
            failed_or_pending => self.postpone(cx, failed_or_pending),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
