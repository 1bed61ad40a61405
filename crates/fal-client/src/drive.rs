//! The loop between a machine and the world: the only place that reads the clock and polls sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use fal_protocol::machine::Output;
use fal_protocol::wire::{Body, ExchangeId, Failure, Request, display_without_query};
use futures_util::task::AtomicWaker;
use tokio::time::{Sleep, sleep_until};

use crate::error::Error;
use crate::machines::{Machine, Step};
use crate::transport::{Answer, ChunkStream, Exchange, Source, Transport};

/// Drives one machine. Dropping it drops the open exchange, which cancels it.
pub(crate) struct Driver<M> {
    machine: M,
    transport: Arc<dyn Transport>,
    source: Option<Source>,
    open: Option<Open>,
    /// Made at the first wait that has an end, then moved: one timer for the machine's whole life.
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
    span: tracing::Span,
}

/// The exchange under way.
enum Open {
    Asking { id: ExchangeId, answer: AnswerFuture, sent: Option<Arc<Sent>> },
    Reading { id: ExchangeId, chunks: ChunkStream },
}

type AnswerFuture = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

/// How much of a body has gone out, told by the transport from wherever it runs.
#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    told: AtomicU64,
    waker: AtomicWaker,
}

impl<M: Machine> Driver<M> {
    pub(crate) const fn new(
        machine: M,
        transport: Arc<dyn Transport>,
        span: tracing::Span,
    ) -> Self {
        Self { machine, transport, source: None, open: None, timer: None, until: None, span }
    }

    pub(crate) fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) const fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    pub(crate) const fn machine(&self) -> &M {
        &self.machine
    }

    /// The next event or the end. Cancel safe: all that is under way stays in `self`.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<M::Event, M::Done>> {
        let span = self.span.clone();
        let _entered = span.enter();
        loop {
            match self.machine.poll_output() {
                Output::Send { id, request } => self.send(id, request),
                Output::Abort { .. } => self.open = None,
                // WebSockets have a driver of their own, in `socket.rs`.
                Output::Message { .. } => {}
                Output::Event(event) => return Poll::Ready(Step::Event(event)),
                Output::Done(result) => return Poll::Ready(Step::Done(result)),
                Output::Wait { until } => {
                    // Answers first: one that is here beats a limit that has just run out.
                    if self.poll_exchange(cx).is_pending()
                        && self.poll_timer(cx, until).is_pending()
                    {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Drives to the end; events go to `on_event`.
    pub(crate) async fn finish(
        mut self,
        mut on_event: impl FnMut(M::Event),
    ) -> Result<M::Done, Error> {
        loop {
            match std::future::poll_fn(|cx| self.poll_step(cx)).await {
                Step::Event(event) => on_event(event),
                Step::Done(result) => return result.map_err(Error::from),
            }
        }
    }

    fn send(&mut self, id: ExchangeId, request: Request) {
        tracing::debug!(
            exchange = id.number(),
            method = %request.method,
            address = %display_without_query(&request.uri),
            "send"
        );
        let is_upload = matches!(request.body, Body::Source { .. });
        let mut exchange = Exchange::new(request);
        let mut sent = None;
        if is_upload {
            let progress = Arc::new(Sent::default());
            let report = Arc::clone(&progress);
            exchange.source = self.source.clone();
            exchange.on_sent = Some(Arc::new(move |bytes| {
                report.bytes.store(bytes, Ordering::Relaxed);
                report.waker.wake();
            }));
            sent = Some(progress);
        }
        let answer = Arc::clone(&self.transport).send(exchange);
        self.open = Some(Open::Asking { id, answer, sent });
    }

    /// Ready when the machine was told something.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.open {
            None => Poll::Pending,
            Some(Open::Asking { id, answer, sent }) => {
                let id = *id;
                if let Some(sent) = sent {
                    sent.waker.register(cx.waker());
                    let bytes = sent.bytes.load(Ordering::Relaxed);
                    if sent.told.swap(bytes, Ordering::Relaxed) != bytes {
                        self.machine.handle_progress(now(), id, bytes);
                        return Poll::Ready(());
                    }
                }
                match ready!(answer.as_mut().poll(cx)) {
                    Ok(Answer::Whole(response)) => {
                        self.open = None;
                        tracing::debug!(
                            exchange = id.number(),
                            status = response.status().as_u16(),
                            "answer"
                        );
                        self.machine.handle_response(now(), id, response);
                    }
                    Ok(Answer::Chunks(head, chunks)) => {
                        tracing::debug!(
                            exchange = id.number(),
                            status = head.status().as_u16(),
                            "stream"
                        );
                        self.open = Some(Open::Reading { id, chunks });
                        self.machine.handle_head(now(), id, &head);
                    }
                    Err(failure) => {
                        self.open = None;
                        tracing::debug!(exchange = id.number(), %failure, "failure");
                        self.machine.handle_failure(now(), id, failure);
                    }
                }
                Poll::Ready(())
            }
            Some(Open::Reading { id, chunks }) => {
                let id = *id;
                match ready!(chunks.as_mut().poll_next(cx)) {
                    Some(Ok(chunk)) => self.machine.handle_chunk(now(), id, chunk),
                    Some(Err(failure)) => {
                        self.open = None;
                        tracing::debug!(exchange = id.number(), %failure, "stream broke");
                        self.machine.handle_failure(now(), id, failure);
                    }
                    None => {
                        self.open = None;
                        self.machine.handle_end(now(), id);
                    }
                }
                Poll::Ready(())
            }
        }
    }

    /// Ready when the instant has come and the machine was told so.
    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        let Some(until) = until else {
            self.until = None;
            return Poll::Pending;
        };
        if self.until != Some(until) {
            // Due at once, as a poll without a rest: the timer would round up to its next tick.
            if until <= now() {
                self.until = None;
                self.machine.handle_timeout(now());
                return Poll::Ready(());
            }
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until.into()),
                none => *none = Some(Box::pin(sleep_until(until.into()))),
            }
            self.until = Some(until);
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        self.until = None;
        self.machine.handle_timeout(now());
        Poll::Ready(())
    }
}

/// The runtime's clock, so that a test with paused time is in charge of it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
