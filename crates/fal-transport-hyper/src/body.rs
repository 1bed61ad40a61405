//! The request's body as the HTTP layer takes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::exchange::OnSent;
use crate::io::Gauge;
use crate::source::{BLOCK_BYTES, BlockFuture, ReadAt, SourceError};

/// A body on its way out.
pub(crate) struct Outgoing {
    rest: Rest,
    gauge: Arc<Gauge>,
    progress: Option<(u64, OnSent)>,
}

/// What is still to be handed over.
pub(crate) enum Rest {
    Bytes(Bytes),
    Blocks(Blocks),
}

impl Outgoing {
    pub(crate) fn new(rest: Rest, gauge: Arc<Gauge>, on_sent: Option<OnSent>) -> Self {
        if rest.len() == 0 {
            gauge.end_body();
        }
        Self { rest, gauge, progress: on_sent.map(|on_sent| (0, on_sent)) }
    }

    /// Keeps account of a piece that leaves.
    fn note(&mut self, piece: &Bytes) {
        if self.rest.len() == 0 {
            self.gauge.end_body();
        }
        if let Some((sent, on_sent)) = &mut self.progress {
            *sent += piece.len() as u64;
            on_sent(*sent);
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let is_watched = self.progress.is_some();
        let piece = match &mut self.rest {
            rest if rest.len() == 0 => return Poll::Ready(None),
            // In one piece unless somebody wants to see it shrink.
            Rest::Bytes(bytes) if is_watched => bytes.split_to(bytes.len().min(BLOCK_BYTES)),
            Rest::Bytes(bytes) => std::mem::take(bytes),
            Rest::Blocks(blocks) => match ready!(blocks.poll_next(cx)) {
                Ok(block) => block,
                Err(e) => {
                    self.gauge.fail_body(e.to_string());
                    return Poll::Ready(Some(Err(e)));
                }
            },
        };
        self.note(&piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len())
    }
}

impl Rest {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blocks(blocks) => blocks.end - blocks.offset,
        }
    }
}

/// A range of a source, read block by block.
pub(crate) struct Blocks {
    source: Arc<dyn ReadAt>,
    /// Up to here the range was handed over.
    offset: u64,
    end: u64,
    /// The block at `offset`, started while the one before it is being written.
    next: Option<BlockFuture>,
}

impl Blocks {
    /// The range from `start` to `end`; nothing is read before the first poll.
    pub(crate) fn new(source: Arc<dyn ReadAt>, start: u64, end: u64) -> Self {
        Self { source, offset: start, end: end.max(start), next: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, SourceError>> {
        let mut reading = self.next.take().unwrap_or_else(|| self.start_block());
        let block = match reading.as_mut().poll(cx) {
            Poll::Ready(Ok(block)) => block,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(SourceError::Io(e))),
            Poll::Pending => {
                self.next = Some(reading);
                return Poll::Pending;
            }
        };
        if block.is_empty() {
            return Poll::Ready(Err(SourceError::Short));
        }
        if block.len() > self.block_len() {
            let problem = "the source gave more than it was asked for";
            return Poll::Ready(Err(SourceError::Io(io::Error::other(problem))));
        }
        self.offset += block.len() as u64;
        if self.offset < self.end {
            self.next = Some(self.start_block());
        }
        Poll::Ready(Ok(block))
    }

    fn start_block(&self) -> BlockFuture {
        self.source.read_at(self.offset, self.block_len())
    }

    fn block_len(&self) -> usize {
        usize::try_from(self.end - self.offset).map_or(BLOCK_BYTES, |rest| rest.min(BLOCK_BYTES))
    }
}
