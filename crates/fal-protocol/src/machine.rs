//! What all machines have in common: their only output, and the events that any of them can have.
//!
//! A machine never does anything itself. It is told what happened by its `handle_*` methods, and says
//! what it wants by `poll_output`, which is drained after every input until it answers
//! [`Output::Wait`] or [`Output::Done`]:
//!
//! ```text
//! Send    perform this request, answer with the same id by handle_response or handle_failure
//!         (or handle_head, handle_chunk, handle_end where Expect::Chunks was asked for)
//! Abort   the answer to this id is no longer wanted: cancel the exchange
//! Message send this over the WebSocket with this id; what arrives there enters by handle_message
//! Event   tell the application
//! Wait    drained; nothing to do until an answer or this instant (then handle_timeout)
//! Done    the result, once; the machine is inert from here on
//! ```
//!
//! Each machine's own page has a table of its moves. A test compares it with what random runs do. The
//! inputs in it are these:
//!
//! ```text
//! success   2xx by handle_response          head      handle_head
//! redirect  3xx by handle_response          chunk     handle_chunk
//! refusal   4xx, 5xx by handle_response     end       handle_end
//! failure   handle_failure                  progress  handle_progress
//! deadline  handle_timeout, once the caller's deadline has passed
//! timeout   handle_timeout, before that     cancel    handle_cancel
//! send      handle_send                     close     handle_close
//! open      handle_head of a WebSocket      message   handle_message
//! ended     handle_message of a close       token     handle_token
//! ```
//!
//! `now` is an argument everywhere and never goes back. Any input in any order is safe: answers to
//! unknown or aborted ids and early timeouts change nothing.
//!
//! At most one exchange is open at a time, unless a machine's page names another limit: a WebSocket and the
//! call for its next token can be open together, and an [`Upload`](crate::upload::Upload) has up to
//! [`Config::parallel`](crate::upload::Config::parallel) open while it sends parts. A `Send` opens one; its
//! whole answer, its failure, its `end` or an `Abort` closes it. Answers may come in any order, and a driver
//! that handles several must tell each by its id. Before `Done` all are closed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::retry::Purpose;
use crate::wire::{ExchangeId, Message, Request};

/// What a machine wants next. Exhaustive on purpose: a driver must handle every shape.
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every shape")]
#[expect(
    clippy::large_enum_variant,
    reason = "a request is moved once, to the transport; a box would cost more"
)]
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an output that is dropped is work that never happens"]
pub enum Output<E, T> {
    /// Perform this exchange and answer with the same id.
    Send {
        /// Names the exchange.
        id: ExchangeId,
        /// What to send.
        request: Request,
    },
    /// The answer to this exchange is no longer wanted.
    Abort {
        /// Names the exchange.
        id: ExchangeId,
    },
    /// Send this over an open WebSocket. One that ends it is the last for that id.
    Message {
        /// Names the exchange that opened it.
        id: ExchangeId,
        /// What to send.
        message: Message,
    },
    /// Something that the application may want to know.
    Event(E),
    /// Drained: wait for an answer, or for this instant; `None` waits for an answer only.
    Wait {
        /// When to call `handle_timeout`.
        until: Option<Instant>,
    },
    /// The end, once.
    Done(Result<T, Error>),
}

/// An attempt failed and another follows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AttemptFailed {
    /// What the exchange was for.
    pub purpose: Purpose,
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// How long the machine rests before the next.
    pub rest: Duration,
    /// Why it failed.
    pub cause: ErrorKind,
}

/// Outputs not yet polled.
pub(crate) type Out<E, T> = VecDeque<Output<E, T>>;

/// Counts exchanges. One counter runs through all parts of a composed machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    pub(crate) fn next(&mut self) -> ExchangeId {
        self.0 += 1;
        ExchangeId::new(self.0)
    }
}

/// `now + rest`; a sum beyond the clock's range means no limit.
pub(crate) fn after(now: Instant, rest: Duration) -> Option<Instant> {
    now.checked_add(rest)
}

/// The earlier of two limits, either of which may be absent.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether a limit has been reached.
pub(crate) fn is_due(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| until <= now)
}
