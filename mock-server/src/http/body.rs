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
    },
    /// The answer of another server, passed on.
    Passed(Box<Passed>),
    /// What happens in the mock, for ever.
    Listening(Listener),
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
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
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
            Self::Events { ended: true, .. } => Poll::Ready(None),
            Self::Events { pieces, presence, ended } => {
                pieces.poll_recv(cx).map(|piece| match piece {
                    Some(Piece::Event(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(Piece::End) => {
                        *ended = true;
                        presence.over();
                        None
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
            Self::Events { ended, .. } => *ended,
            Self::Listening(_) => false,
            Self::Passed(passed) => passed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.left()),
            Self::Events { .. } | Self::Listening(_) => SizeHint::default(),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}
