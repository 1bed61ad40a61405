//! What a scenario does to bytes: bodies that end early, come slowly, or in small pieces; connections that are reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Cut;
use super::body::Body;
use super::shared::Presence;
use crate::model::{Ending, Wire};

/// A connection, as far as those know it who answer on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<AtomicBool>);

impl Line {
    /// From now on nothing is written, and the connection is reset when it is dropped.
    pub(crate) fn reset(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_reset(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The socket of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    line: Line,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, line: Line) -> Self {
        Self { stream, line }
    }

    fn refusal(&self) -> Option<io::Error> {
        self.line.is_reset().then(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.line.is_reset() {
            // Where that cannot be set the connection is merely closed.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.refusal() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.refusal() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.line.is_reset() {
            // A farewell would come before the reset.
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.refusal() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A body whose bytes do not simply leave.
#[derive(Debug)]
pub(crate) struct Shaped {
    body: Body,
    wire: Wire,
    /// How many bytes may have left by now, told from time to time.
    gate: Option<mpsc::UnboundedReceiver<u64>>,
    /// Told that this body is no longer wanted, unless it ends as it should.
    presence: Option<Presence>,
    line: Line,
    /// What the body has given and has not left.
    rest: Bytes,
    sent: u64,
    /// Lets go what was written before, once.
    is_pausing: bool,
    /// The end has come, and what came before it was let go.
    is_ending: bool,
}

impl Shaped {
    pub(crate) fn new(
        body: Body,
        wire: Wire,
        gate: Option<mpsc::UnboundedReceiver<u64>>,
        presence: Option<Presence>,
    ) -> Self {
        let (line, rest) = (Line::default(), Bytes::new());
        Self {
            body,
            wire,
            gate,
            presence,
            line,
            rest,
            sent: 0,
            is_pausing: false,
            is_ending: false,
        }
    }

    pub(crate) fn set_line(&mut self, line: &Line) {
        self.line = line.clone();
        self.body.set_line(line);
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if std::mem::take(&mut self.is_pausing) {
            // Whoever writes this body flushes when it is not ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some((bytes, ending)) = self.wire.ending
            && self.sent >= bytes
        {
            if !std::mem::replace(&mut self.is_ending, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if ending == Ending::Reset {
                self.line.reset();
            }
            return Poll::Ready(Some(Err(Cut)));
        }
        while self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => {
                    self.presence.as_mut().map(Presence::over);
                    return Poll::Ready(None);
                }
            }
        }
        let mut len = self.rest.len() as u64;
        if let Some((bytes, _)) = self.wire.ending {
            len = len.min(bytes - self.sent);
        }
        if let Some(split) = self.wire.split {
            len = len.min(split as u64);
            self.is_pausing = true;
        }
        if let Some(allowed) = &mut self.wire.gate {
            while let Some(gate) = &mut self.gate
                && *allowed <= self.sent
            {
                match std::task::ready!(gate.poll_recv(cx)) {
                    Some(more) => *allowed = more,
                    // Nobody will ever say that more may leave.
                    None => return Poll::Ready(Some(Err(Cut))),
                }
            }
            len = len.min(allowed.saturating_sub(self.sent));
        }
        let bytes = self.rest.split_to(usize::try_from(len).unwrap_or(usize::MAX));
        self.sent += len;
        if self.rest.is_empty() && self.body.is_end_stream() && self.wire.ending.is_none() {
            self.presence.as_mut().map(Presence::over);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream() && self.wire.ending.is_none()
    }

    /// What is announced is the whole body, whatever becomes of it.
    pub(super) fn announced(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + rest),
            None => hint.set_lower(hint.lower() + rest),
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces that leave until it ends, rests, or waits: after how many polls that were not ready, and how.
    fn drain(shaped: &mut Shaped, polls: usize) -> (Vec<Bytes>, Option<Result<(), Cut>>) {
        let mut pieces = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..polls {
            match shaped.poll_next(&mut cx) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(frame))) => pieces.extend(frame.into_data()),
                Poll::Ready(Some(Err(cut))) => return (pieces, Some(Err(cut))),
                Poll::Ready(None) => return (pieces, Some(Ok(()))),
            }
        }
        (pieces, None)
    }

    fn shaped(body: &'static [u8], wire: impl FnOnce(&mut Wire)) -> Shaped {
        let mut own = Wire::default();
        wire(&mut own);
        Shaped::new(Body::whole(Bytes::from_static(body)), own, None, None)
    }

    #[test]
    fn bodies_end_early_below_their_announced_length() {
        for (bytes, ending) in [(0, Ending::Cut), (4, Ending::Cut), (4, Ending::Reset)] {
            let mut body = shaped(b"hello world", |wire| wire.ending = Some((bytes, ending)));
            let line = Line::default();
            body.set_line(&line);
            assert_eq!(body.announced().exact(), Some(11));
            let (pieces, end) = drain(&mut body, 9);
            assert_eq!((pieces.concat().len() as u64, end), (bytes, Some(Err(Cut))));
            assert_eq!(line.is_reset(), ending == Ending::Reset);
        }
    }

    #[test]
    fn what_came_before_an_end_leaves_first() {
        let mut body = shaped(b"hello", |wire| wire.ending = Some((2, Ending::Reset)));
        let line = Line::default();
        body.set_line(&line);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(body.poll_next(&mut cx).is_ready());
        assert!(body.poll_next(&mut cx).is_pending(), "a chance to flush");
        assert!(!line.is_reset());
        assert!(body.poll_next(&mut cx).is_ready() && line.is_reset());
    }

    #[test]
    fn gates_let_through_what_they_are_told() {
        let (gate, receiver) = mpsc::unbounded_channel();
        let wire = Wire { gate: Some(2), ..Wire::default() };
        let body = Body::whole(Bytes::from_static(b"hello world"));
        let mut body = Shaped::new(body, wire, Some(receiver), None);
        assert_eq!(drain(&mut body, 5).0.concat(), b"he");
        gate.send(1).unwrap();
        gate.send(5).unwrap();
        assert_eq!(drain(&mut body, 5).0.concat(), b"llo");
        gate.send(u64::MAX).unwrap();
        let (pieces, end) = drain(&mut body, 5);
        assert_eq!((pieces.concat(), end), (b" world".to_vec(), Some(Ok(()))));
        let (gate, receiver) = mpsc::unbounded_channel::<u64>();
        let body = Body::whole(Bytes::from_static(b"hello"));
        let mut body = Shaped::new(body, wire, Some(receiver), None);
        drop(gate);
        assert_eq!(drain(&mut body, 5).1, Some(Err(Cut)), "nobody will open it any more");
    }

    proptest! {
        #[test]
        fn small_pieces_are_small_and_whole(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            split in 1..50_usize,
            end in proptest::option::of(0..200_u64),
        ) {
            let wire = Wire { split: Some(split), ending: end.map(|end| (end, Ending::Cut)), gate: None };
            let bytes = Bytes::from(body.clone());
            let mut shaped = Shaped::new(Body::whole(bytes), wire, None, None);
            let (pieces, ended) = drain(&mut shaped, 1000);
            prop_assert!(pieces.iter().all(|piece| (1..=split).contains(&piece.len())));
            let count = end.map_or(body.len(), |end| body.len().min(end as usize));
            prop_assert_eq!(pieces.concat(), &body[..count]);
            let is_early = end.is_some_and(|end| end <= body.len() as u64);
            prop_assert_eq!(ended, Some(if is_early { Err(Cut) } else { Ok(()) }));
        }
    }
}
