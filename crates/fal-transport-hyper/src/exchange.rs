//! What goes into a transport and what comes out.

use std::fmt;
use std::sync::Arc;

use fal_protocol::wire::{Head, Request, Response};

use crate::chunks::Chunks;
use crate::source::Source;

/// One request to perform, and what it needs from the outside.
#[non_exhaustive]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// Where the bytes of [`Body::Source`](fal_protocol::wire::Body::Source) come from.
    pub source: Option<Source>,
    /// Told how much of the body has left.
    pub on_sent: Option<OnSent>,
}

/// Called with the total of body bytes handed to the connection so far.
///
/// It runs inside the exchange, so it must return at once. A request that moves to another
/// connection before a byte of it was written counts from the start again.
pub type OnSent = Arc<dyn Fn(u64) + Send + Sync>;

impl Exchange {
    /// An exchange that needs nothing but its request.
    #[must_use]
    pub const fn new(request: Request) -> Self {
        Self { request, source: None, on_sent: None }
    }

    /// Sets where the bytes of a [`Body::Source`](fal_protocol::wire::Body::Source) come from.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets who is told how much of the body has left.
    #[must_use]
    pub fn with_on_sent(mut self, on_sent: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.on_sent = Some(Arc::new(on_sent));
        self
    }
}

impl From<Request> for Exchange {
    fn from(request: Request) -> Self {
        Self::new(request)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("request", &self.request)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// What a request was answered with, in the shape that it asked for.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every shape")]
pub enum Answer {
    /// For [`Expect::Whole`](fal_protocol::wire::Expect::Whole).
    Whole(Response),
    /// For [`Expect::Chunks`](fal_protocol::wire::Expect::Chunks).
    Chunks(Head, Chunks),
}
