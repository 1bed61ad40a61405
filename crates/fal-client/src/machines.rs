//! The one face that the drive loop sees of every machine of the core.

use std::time::Instant;

use bytes::Bytes;
use fal_protocol::machine::{AttemptFailed, Output};
use fal_protocol::wire::{ExchangeId, Failure, Head, Response};
use fal_protocol::{Answer, Error, Token, platform, queue, run, stream, token, upload};

pub(crate) trait Machine: Send + Unpin {
    type Event;
    type Done;

    fn poll_output(&mut self) -> Output<Self::Event, Self::Done>;
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response);
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure);
    fn handle_timeout(&mut self, now: Instant);

    /// Only machines that ask for chunks get any.
    fn handle_head(&mut self, _now: Instant, _id: ExchangeId, _head: &Head) {}
    fn handle_chunk(&mut self, _now: Instant, _id: ExchangeId, _chunk: Bytes) {}
    fn handle_end(&mut self, _now: Instant, _id: ExchangeId) {}
    /// Only uploads want to know.
    fn handle_progress(&mut self, _now: Instant, _id: ExchangeId, _bytes: u64) {}
}

macro_rules! machine {
    ($type:ty, $event:ty, $done:ty, { $($more:item)* }) => {
        impl Machine for $type {
            type Event = $event;
            type Done = $done;

            fn poll_output(&mut self) -> Output<$event, $done> {
                <$type>::poll_output(self)
            }
            fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
                <$type>::handle_response(self, now, id, response);
            }
            fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
                <$type>::handle_failure(self, now, id, failure);
            }
            fn handle_timeout(&mut self, now: Instant) {
                <$type>::handle_timeout(self, now);
            }
            $($more)*
        }
    };
    (chunked $type:ty, $event:ty, $done:ty) => {
        machine!($type, $event, $done, {
            fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
                <$type>::handle_head(self, now, id, head);
            }
            fn handle_chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
                <$type>::handle_chunk(self, now, id, chunk);
            }
            fn handle_end(&mut self, now: Instant, id: ExchangeId) {
                <$type>::handle_end(self, now, id);
            }
        });
    };
}

machine!(platform::Ask, AttemptFailed, Answer, {});
machine!(run::Run, AttemptFailed, Answer, {});
machine!(queue::Submit, queue::Event, queue::Handle, {});
machine!(queue::Check, queue::Event, queue::Status, {});
machine!(queue::Fetch, queue::Event, Answer, {});
machine!(token::Mint, AttemptFailed, Token, {});
machine!(queue::Cancel, queue::Event, queue::CancelOutcome, {});
machine!(chunked stream::Stream, stream::Event, stream::Streamed);
machine!(chunked queue::Watch, queue::Event, queue::Completed);
machine!(chunked queue::Subscribe, queue::Event, queue::Finished);
machine!(upload::Upload, upload::Event, upload::Uploaded, {
    fn handle_progress(&mut self, now: Instant, id: ExchangeId, bytes: u64) {
        Self::handle_progress(self, now, id, bytes);
    }
});

#[cfg(feature = "webhook")]
machine!(fal_protocol::webhook::Verify, AttemptFailed, fal_protocol::webhook::Checked, {});

/// What a machine said, and nothing that its driver does itself.
#[derive(Debug)]
pub(crate) enum Step<E, T> {
    Event(E),
    Done(Result<T, Error>),
}
