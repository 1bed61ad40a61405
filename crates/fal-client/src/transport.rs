//! What a client needs of the network: one exchange at a time.
//!
//! With the default feature `hyper`, `fal_transport_hyper::Transport` implements [`Transport`].
//! Implement it for another HTTP stack, or for a fake, and hand it to
//! [`Builder::transport`](crate::Builder::transport).

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use fal_protocol::wire::{Failure, FailureKind, Head, Message, Request, Response};
use futures_core::Stream;

/// Performs exchanges. No retry, no redirect, no interpretation of a status: the machines do that.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Performs one exchange. Dropping the future cancels it.
    ///
    /// # Errors
    /// [`Failure`]; its `sent` must be [`Sent::No`](fal_protocol::wire::Sent::No) only when not one byte
    /// of the request can have reached the peer, because that allows a paid request to be repeated.
    async fn send(self: Arc<Self>, exchange: Exchange) -> Result<Answer, Failure>;

    /// Opens a WebSocket: performs the handshake that the request asks for by
    /// [`Expect::WebSocket`](fal_protocol::wire::Expect::WebSocket), adding the headers that belong to it.
    /// Dropping the future gives up.
    ///
    /// # Errors
    /// [`Failure`]. A transport without WebSockets, which this is unless it says otherwise, fails always.
    async fn upgrade(self: Arc<Self>, _request: Request) -> Result<Upgrade, Failure> {
        Err(Failure::connect(FailureKind::Unsupported, "this transport has no WebSockets"))
    }
}

/// What a peer answered to the handshake of a WebSocket.
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every shape")]
pub enum Upgrade {
    /// It agreed: its 101, and the open connection.
    Open(Head, Box<dyn WebSocket>),
    /// It did not: its whole answer.
    Refused(Response),
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(..) => f.write_str("Open"),
            Self::Refused(response) => write!(f, "Refused({})", response.status()),
        }
    }
}

/// An open WebSocket. Pings are its own business.
pub trait WebSocket: Send {
    /// Takes a message to be sent; it leaves when [`poll_flush`](Self::poll_flush) is polled. After a
    /// [`Message::Close`] nothing more is sent.
    ///
    /// # Errors
    /// [`Failure`] when the connection is over.
    fn start_send(&mut self, message: Message) -> Result<(), Failure>;

    /// Ready once everything that was taken has been handed to the connection.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>>;

    /// The next message. `None` after a [`Message::Close`].
    ///
    /// # Errors
    /// [`Failure`] when the connection broke; nothing comes after it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Failure>>>;
}

/// One request, and what it needs from the outside.
#[non_exhaustive]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// Where the bytes of [`Body::Source`](fal_protocol::wire::Body::Source) come from.
    pub source: Option<Source>,
    /// Told how many bytes of the body have gone out in all.
    pub on_sent: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Exchange {
    /// An exchange that needs nothing but its request.
    #[must_use]
    pub const fn new(request: Request) -> Self {
        Self { request, source: None, on_sent: None }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Something that an upload is read from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Source {
    /// A file, read as it goes out.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// An answer, in the shape that the request asked for.
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every shape")]
pub enum Answer {
    /// For [`Expect::Whole`](fal_protocol::wire::Expect::Whole).
    Whole(Response),
    /// For [`Expect::Chunks`](fal_protocol::wire::Expect::Chunks). A body that is cut must end with an
    /// error, never like a whole one.
    Chunks(Head, ChunkStream),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(response) => write!(f, "Whole({})", response.status()),
            Self::Chunks(head, _) => write!(f, "Chunks({})", head.status()),
        }
    }
}

/// The body of an answer, piece by piece.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;
