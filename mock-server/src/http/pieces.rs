//! Files on their way out, piece by piece; what is on disk is read one step ahead.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Cut;
use super::spool::Stored;
use crate::model::Piece;

/// The rest of a file.
#[derive(Debug)]
pub(crate) struct Pieces {
    queue: VecDeque<Piece>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Bytes that have yet to be handed out.
    left: u64,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        let left = pieces.iter().map(Piece::len).sum();
        Self { queue: pieces.into(), reading: None, left }
    }

    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.reading.is_none() {
            match self.queue.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Memory(bytes)) => return Poll::Ready(Some(Ok(self.hand_out(bytes)))),
                Some(spooled) => {
                    self.queue.push_front(spooled);
                    self.read_on();
                }
            }
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(Some(Err(Cut))) };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        match read {
            Ok(Ok(bytes)) if !bytes.is_empty() => {
                self.read_on();
                Poll::Ready(Some(Ok(self.hand_out(bytes))))
            }
            // The head has long gone, so all that is left is not to end well.
            _ => {
                self.queue.clear();
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }

    fn hand_out(&mut self, bytes: Bytes) -> Bytes {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        bytes
    }

    /// Begins to read the next stretch, if it is on disk.
    fn read_on(&mut self) {
        let Some(Piece::Spooled { body, from, to }) = self.queue.front_mut() else { return };
        let Some(stored) = Stored::of(body) else { return };
        let (start, end) = (*from, (*to).min(*from + super::spool::READ_BYTES));
        *from = end;
        if *from == *to {
            self.queue.pop_front();
        }
        self.reading = Some(tokio::task::spawn_blocking(move || stored.read(start, end)));
    }
}
