use super::frame::Meta;
use crate::error::{ApiError, Error, ProtocolError};
use crate::machine::AttemptFailed;
use crate::wire::{Close, ExchangeId, Message};

/// What happens during a [`Session`](super::Session).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open, and what waited goes out. Told each time.
    Connected,
    /// What the model made, as it came; [`decode`](super::decode) reads it.
    Output(Message),
    /// A message about the session, such as how long the model took.
    Meta(Meta),
    /// The model or the service failed, and said so. Nearly always the end of the connection follows.
    PeerError {
        /// What it said.
        error: ApiError,
        /// The whole message: in an older dialect an output can look the same.
        message: Message,
    },
    /// A message that is neither msgpack nor JSON. The session goes on.
    Malformed {
        /// What is wrong with it.
        error: ProtocolError,
        /// The message as it came.
        message: Message,
    },
    /// The connection ended in order. The next message opens another one.
    Ended(Ended),
    /// There is no connection, or none any more. The next message tries again.
    Failed {
        /// Why.
        error: Error,
        /// Messages that wait for the next connection.
        queued: usize,
        /// What the connection had carried.
        traffic: Traffic,
    },
    /// A message was not sent, and will not be.
    Dropped {
        /// Its number, as [`handle_send`](super::Session::handle_send) gave it.
        number: u64,
        /// Why.
        why: WhyDropped,
    },
    /// A token is wanted: answer by [`handle_token`](super::Session::handle_token).
    TokenWanted {
        /// Names the question.
        id: ExchangeId,
    },
    /// The next token could not be had ahead of time. The connection stays; it is tried again.
    RefreshFailed(Error),
    /// An exchange failed and is repeated.
    AttemptFailed(AttemptFailed),
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyDropped {
    /// A newer one took its place in a queue that keeps only the newest.
    Replaced,
    /// A newer one took its place before the throttle let it through.
    Throttled,
    /// The queue was full.
    Full,
    /// The caller closed the session first.
    Closed,
}

/// A connection that ended in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// What the service said before: that no input had come, or that a streaming model was done.
    pub reason: Option<Box<str>>,
    /// How the peer closed; `None` if it was waited for in vain.
    pub close: Option<Close>,
    /// What the connection had carried.
    pub traffic: Traffic,
}

/// What a connection has carried. In a session where each input has one output, a difference is what was
/// lost with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages sent.
    pub sent: u64,
    /// Outputs received.
    pub received: u64,
}

/// A session that its caller closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// How the peer answered; `None` if there was no connection, or no answer in time.
    pub close: Option<Close>,
    /// What the last connection had carried.
    pub traffic: Traffic,
}
