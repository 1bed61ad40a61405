//! Bodies of answers: whole, a stream of events, or what another server answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Cut;
use super::events::Listener;
use super::pieces::Pieces;
use super::shape::{Line, Shaped};
use super::shared::Presence;
use crate::model;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it; `None` once sent.
    Whole(Option<Bytes>),
    /// A file, piece by piece.
    Pieces(Box<Pieces>),
    /// Events as they come.
    Events {
        pieces: mpsc::Receiver<Piece>,
        /// Tells the model when the stream is dropped.
        presence: Presence,
        ended: bool,
        /// The connection that it leaves by.
        line: Line,
        /// The connection is reset as soon as what came before is on its way.
        is_resetting: bool,
    },
    /// The answer of the real service, as it is recorded.
    Relayed { pieces: mpsc::Receiver<Piece>, len: Option<u64>, ended: bool },
    /// The answer of another server, passed on.
    Passed(Box<Passed>),
    /// What happens in the mock, for ever.
    Listening(Listener),
    /// Any of them, with something that happens to its bytes.
    Shaped(Box<Shaped>),
}

/// The body of another server's answer, with the connection that it comes by.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(super) body: Incoming,
    /// Drives the connection; ends it when dropped.
    pub(super) _driver: JoinSet<()>,
}

/// What a status stream consists of. A stream without [`Piece::End`] was cut.
#[derive(Debug)]
pub(crate) enum Piece {
    Event(Bytes),
    End,
    /// The connection is reset.
    Reset,
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// Says which connection it leaves by.
    pub(crate) fn set_line(&mut self, own: &Line) {
        match self {
            Self::Events { line, .. } => *line = own.clone(),
            Self::Shaped(shaped) => shaped.set_line(own),
            Self::Whole(_)
            | Self::Pieces(_)
            | Self::Passed(_)
            | Self::Relayed { .. }
            | Self::Listening(_) => {}
        }
    }

    pub(crate) fn pieces(pieces: Vec<model::Piece>) -> Self {
        Self::Pieces(Box::new(Pieces::new(pieces)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => {
                pieces.poll_next(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)))
            }
            Self::Listening(listener) => {
                listener.poll_read(cx).map(|bytes| Some(Ok(Frame::data(bytes))))
            }
            Self::Passed(passed) => Pin::new(&mut passed.body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| Cut))),
            Self::Events { ended: true, .. } | Self::Relayed { ended: true, .. } => {
                Poll::Ready(None)
            }
            Self::Relayed { pieces, ended, len } => pieces.poll_recv(cx).map(|piece| match piece {
                Some(Piece::Event(bytes)) => {
                    *len = len.map(|len| len.saturating_sub(bytes.len() as u64));
                    Some(Ok(Frame::data(bytes)))
                }
                Some(Piece::End) => {
                    *ended = true;
                    None
                }
                Some(Piece::Reset) | None => {
                    *ended = true;
                    Some(Err(Cut))
                }
            }),
            Self::Shaped(shaped) => shaped.poll_next(cx),
            Self::Events { ended, line, is_resetting: true, .. } => {
                *ended = true;
                line.reset();
                Poll::Ready(Some(Err(Cut)))
            }
            Self::Events { pieces, presence, ended, is_resetting, .. } => {
                let piece = std::task::ready!(pieces.poll_recv(cx));
                Poll::Ready(match piece {
                    Some(Piece::Event(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(Piece::End) => {
                        *ended = true;
                        presence.over();
                        None
                    }
                    Some(Piece::Reset) => {
                        presence.over();
                        *is_resetting = true;
                        // Whoever writes this body flushes when it is not ready.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    None => {
                        *ended = true;
                        Some(Err(Cut))
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Pieces(pieces) => pieces.left() == 0,
            Self::Events { ended, .. } | Self::Relayed { ended, .. } => *ended,
            Self::Listening(_) => false,
            Self::Passed(passed) => passed.body.is_end_stream(),
            Self::Shaped(shaped) => shaped.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.left()),
            Self::Events { .. } | Self::Listening(_) | Self::Relayed { len: None, .. } => {
                SizeHint::default()
            }
            Self::Relayed { len: Some(len), .. } => SizeHint::with_exact(*len),
            Self::Shaped(shaped) => shaped.announced(),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}
