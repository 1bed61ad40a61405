//! Connections: plain or TLS by their first byte, HTTP on both, and what follows HTTP.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use super::shape::{Line, Socket};
use super::{Responding, Shared, respond, respond_now};
use crate::doors::{self, Way};
use crate::tls::{Subject, is_tls};

/// Serves one connection to its end.
pub(super) async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Events are small and shall not wait for each other. Without it they only come later.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    let line = Line::default();
    match stream.peek(&mut first).await {
        Ok(1) if is_tls(first[0]) => {
            let address = stream.local_addr().map(|address| address.ip());
            let socket = Socket::new(stream, line.clone());
            // In a box, so that connections without TLS have no room for it.
            Box::pin(secure(socket, Way::default(), address.ok(), shared, line)).await;
        }
        Ok(1) => {
            let socket = Socket::new(stream, line.clone());
            speak(TokioIo::new(socket), Way::default(), shared, line).await;
        }
        // It was closed without a word.
        _ => {}
    }
}

/// What follows the answer to a `CONNECT` whose target is here.
pub(super) fn tunnel(upgrade: OnUpgrade, way: Way, shared: Arc<Shared>, line: Line) -> BoxFuture {
    Box::pin(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut first = [0];
        let Ok(1) = stream.read(&mut first).await else { return };
        let stream = Started { first: Some(first[0]), stream };
        match is_tls(first[0]) {
            true => secure(stream, way, None, shared, line).await,
            false => speak(TokioIo::new(stream), way, shared, line).await,
        }
    })
}

/// Serves what speaks TLS. `address` is the one that a client without SNI must mean.
async fn secure<S>(stream: S, way: Way, address: Option<IpAddr>, shared: Arc<Shared>, line: Line)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = tokio::time::timeout(HANDSHAKE_TIME_MAX, shake_hands(stream, address, &shared));
    // A client that does not trust the certificate leaves here, and knows why.
    let Ok(Ok(stream)) = handshake.await else { return };
    let name = stream.get_ref().1.server_name();
    let named = name.and_then(doors::named).or(way.named);
    speak(TokioIo::new(stream), Way { is_secure: true, named }, shared, line).await;
}

async fn shake_hands<S>(
    stream: S,
    address: Option<IpAddr>,
    shared: &Shared,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let subject = match start.client_hello().server_name() {
        // Nobody else's name is ever vouched for.
        Some(name) if doors::named(name).is_some() => {
            Subject::Name(name.to_ascii_lowercase().into())
        }
        _ => Subject::Address(address.unwrap_or(LOOPBACK).to_canonical()),
    };
    let config = shared.gate().tls().config(subject, Instant::now())?;
    start.into_stream(config).await
}

/// Speaks HTTP, and then what was agreed on in it.
async fn speak<I>(io: I, way: Way, shared: Arc<Shared>, line: Line)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let after = After::default();
    let service = service_fn(|request| match respond_now(&shared, &request, way, &line) {
        Some(Ok(response)) => Responding::Now(Some(response)),
        Some(Err(later)) => Responding::Waiting(later),
        None => {
            let (shared, after) = (Arc::clone(&shared), after.clone());
            Responding::Later(Box::pin(respond(shared, request, way, after, line.clone())))
        }
    });
    // How a connection ends is its peer's business; what matters was told to the model already.
    let _ = http1::Builder::new()
        .header_read_timeout(None)
        // One write for head and body. (`pipeline_flush` does that too, but then hyper takes in bodies without
        // limit while their reader is slow.)
        .writev(false)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    if let Some(next) = after.take() {
        next.await;
    }
}

/// What a connection does once it has left HTTP: a tunnel, a WebSocket.
///
/// It goes on in the task of the connection, so it counts as one and ends with the server. What is given
/// here usually starts by awaiting `hyper::upgrade::on`.
#[derive(Clone, Default)]
pub(super) struct After(Arc<Mutex<Option<BoxFuture>>>);

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl After {
    /// Sets it. The last one counts.
    pub(super) fn then(&self, next: BoxFuture) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    fn take(&self) -> Option<BoxFuture> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("After").finish_non_exhaustive()
    }
}

/// A stream whose first byte was read already.
#[derive(Debug)]
struct Started<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Started<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() > 0
            && let Some(first) = this.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Started<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// From the first byte of a handshake to its last.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn looking_at_the_first_byte_loses_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 1..100),
            sizes in proptest::collection::vec(0_usize..9, 1..200),
        ) {
            let mut started = Started { first: Some(bytes[0]), stream: &bytes[1..] };
            let mut read = Vec::new();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for size in sizes {
                let mut room = [0; 9];
                let mut buf = ReadBuf::new(&mut room[..size]);
                let poll = Pin::new(&mut started).poll_read(&mut cx, &mut buf);
                prop_assert!(matches!(poll, Poll::Ready(Ok(()))));
                read.extend_from_slice(buf.filled());
            }
            prop_assert_eq!(&read[..], &bytes[..read.len()]);
        }
    }
}
