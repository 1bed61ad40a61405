//! The loop between a machine and the world: the only place that reads the clock and polls sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use fal_protocol::machine::Output;
use fal_protocol::wire::{
    Body, ExchangeId, Failure, Head, Request, Response, display_without_query,
};
use futures_util::task::AtomicWaker;
use tokio::time::{Sleep, sleep_until};

use crate::error::Error;
use crate::machines::{Machine, Step};
use crate::transport::{Answer, ChunkStream, Exchange, Source, Transport};

/// Drives one machine. Dropping it drops the open exchanges, which cancels them.
pub(crate) struct Driver<M> {
    machine: M,
    transport: Arc<dyn Transport>,
    source: Option<Source>,
    /// The exchange of a machine that has one at a time, which is nearly all of them.
    open: Option<Open>,
    /// Those that were opened while it was open.
    more: Vec<Open>,
    /// Made at the first wait that has an end, then moved: one timer for the machine's whole life.
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
    span: tracing::Span,
}

/// An exchange under way.
struct Open {
    id: ExchangeId,
    stage: Stage,
}

enum Stage {
    Asking { answer: AnswerFuture, sent: Option<Arc<Sent>> },
    Reading { chunks: ChunkStream },
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
        Self {
            machine,
            transport,
            source: None,
            open: None,
            more: Vec::new(),
            timer: None,
            until: None,
            span,
        }
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
                // WebSockets have a driver of their own, in `socket.rs`.
                Output::Message { .. } => {}
                Output::Abort { id } => self.close(id),
                Output::Event(event) => return Poll::Ready(Step::Event(event)),
                Output::Done(result) => return Poll::Ready(Step::Done(result)),
                Output::Wait { until } => {
                    // Answers first: one that is here beats a limit that has just run out.
                    if self.poll_exchanges(cx).is_pending()
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
        let open = Open { id, stage: Stage::Asking { answer, sent } };
        match &self.open {
            None => self.open = Some(open),
            Some(_) => self.more.push(open),
        }
    }

    fn close(&mut self, id: ExchangeId) {
        match &self.open {
            Some(open) if open.id == id => self.open = None,
            _ => self.more.retain(|open| open.id != id),
        }
    }

    /// Ready when the machine was told something.
    fn poll_exchanges(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(open) = &mut self.open {
            let said = open.poll(cx);
            if let Poll::Ready(said) = said {
                if said.is_last() {
                    self.open = None;
                }
                said.tell(&mut self.machine);
                return Poll::Ready(());
            }
        }
        for at in 0..self.more.len() {
            if let Poll::Ready(said) = self.more[at].poll(cx) {
                if said.is_last() {
                    self.more.remove(at);
                }
                said.tell(&mut self.machine);
                return Poll::Ready(());
            }
        }
        Poll::Pending
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

impl Open {
    /// What this exchange has to say. Progress is told before the answer, and each of them once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        let id = self.id;
        match &mut self.stage {
            Stage::Asking { answer, sent } => {
                if let Some(sent) = sent {
                    sent.waker.register(cx.waker());
                    let bytes = sent.bytes.load(Ordering::Relaxed);
                    if sent.told.swap(bytes, Ordering::Relaxed) != bytes {
                        return Poll::Ready(Said::Progress(id, bytes));
                    }
                }
                Poll::Ready(match ready!(answer.as_mut().poll(cx)) {
                    Ok(Answer::Whole(response)) => Said::Whole(id, response),
                    Ok(Answer::Chunks(head, chunks)) => {
                        self.stage = Stage::Reading { chunks };
                        Said::Head(id, head)
                    }
                    Err(failure) => Said::Failure(id, failure),
                })
            }
            Stage::Reading { chunks } => Poll::Ready(match ready!(chunks.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => Said::Chunk(id, chunk),
                Some(Err(failure)) => Said::Failure(id, failure),
                None => Said::End(id),
            }),
        }
    }
}

/// What an exchange says at once.
enum Said {
    Progress(ExchangeId, u64),
    Whole(ExchangeId, Response),
    Head(ExchangeId, Head),
    Chunk(ExchangeId, Bytes),
    End(ExchangeId),
    Failure(ExchangeId, Failure),
}

impl Said {
    /// Whether the exchange is over.
    const fn is_last(&self) -> bool {
        matches!(self, Self::Whole(..) | Self::End(_) | Self::Failure(..))
    }

    fn tell<M: Machine>(self, machine: &mut M) {
        let at = now();
        match self {
            Self::Progress(id, bytes) => machine.handle_progress(at, id, bytes),
            Self::Whole(id, response) => {
                let status = response.status().as_u16();
                tracing::debug!(exchange = id.number(), status, "answer");
                machine.handle_response(at, id, response);
            }
            Self::Head(id, head) => {
                let status = head.status().as_u16();
                tracing::debug!(exchange = id.number(), status, "stream");
                machine.handle_head(at, id, &head);
            }
            Self::Chunk(id, chunk) => machine.handle_chunk(at, id, chunk),
            Self::End(id) => machine.handle_end(at, id),
            Self::Failure(id, failure) => {
                tracing::debug!(exchange = id.number(), %failure, "failure");
                machine.handle_failure(at, id, failure);
            }
        }
    }
}

/// The runtime's clock, so that a test with paused time is in charge of it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
