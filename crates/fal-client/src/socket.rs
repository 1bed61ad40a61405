//! The loop between a machine that holds a WebSocket and the world: a task of its own, because messages
//! come and go while nobody waits for either.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use fal_protocol::machine::Output;
use fal_protocol::wire::{
    ExchangeId, Expect, Failure, Head, Message, Request, Response, display_without_query,
};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};

use crate::drive::now;
use crate::transport::{Answer, Exchange, Transport, Upgrade, WebSocket};

/// The face of a machine with a WebSocket.
pub(crate) trait SocketMachine: Send + Unpin + 'static {
    type Event: Send;
    type Done: Send;
    /// What the caller can say.
    type Command: Send;

    fn poll_output(&mut self) -> Output<Self::Event, Self::Done>;
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response);
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure);
    fn handle_timeout(&mut self, now: Instant);
    fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head);
    fn handle_message(&mut self, now: Instant, id: ExchangeId, message: Message);
    fn handle_command(&mut self, now: Instant, command: Self::Command);
    /// The caller wants no more, or is gone.
    fn handle_close(&mut self, now: Instant);
    /// Whether an event is a question, answered by a command.
    fn question(&self, _event: &Self::Event) -> Option<Question<Self::Command>> {
        None
    }
}

/// What answers a question of a machine.
pub(crate) type Question<C> = Pin<Box<dyn Future<Output = C> + Send>>;

/// Drives a machine to its end. Commands wait while the connection takes no more; messages are left to
/// the peer while events are not taken.
pub(crate) async fn run<M: SocketMachine>(
    machine: M,
    transport: Arc<dyn Transport>,
    mut commands: mpsc::Receiver<M::Command>,
    events: mpsc::Sender<M::Event>,
) -> Result<M::Done, fal_protocol::Error> {
    let mut driver = Driver::new(machine, transport);
    let mut waiting: VecDeque<M::Event> = VecDeque::new();
    let mut question: Option<Question<M::Command>> = None;
    let (mut is_closed, mut result) = (false, None);
    loop {
        if let Some(result) = result.take_if(|_| waiting.is_empty()) {
            return result;
        }
        let takes_commands = !is_closed && result.is_none() && driver.is_flushed();
        let reads = waiting.len() < EVENTS_WAITING_MAX;
        tokio::select! {
            biased;
            // Nobody listens any more.
            () = events.closed(), if !is_closed => {
                is_closed = true;
                waiting.clear();
                driver.machine.handle_close(now());
            }
            permit = events.reserve(), if !waiting.is_empty() => match permit {
                Ok(permit) => {
                    if let Some(event) = waiting.pop_front() {
                        permit.send(event);
                    }
                }
                Err(_) => waiting.clear(),
            },
            command = commands.recv(), if takes_commands => match command {
                Some(command) => driver.machine.handle_command(now(), command),
                None => {
                    is_closed = true;
                    driver.machine.handle_close(now());
                }
            },
            answer = answer_of(&mut question) => {
                question = None;
                driver.machine.handle_command(now(), answer);
            }
            step = std::future::poll_fn(|cx| driver.poll_step(cx, reads)), if result.is_none() => {
                match step {
                    Step::Event(event) => match driver.machine.question(&event) {
                        Some(asked) => question = Some(asked),
                        None if events.is_closed() => {}
                        None => waiting.push_back(event),
                    },
                    Step::Flushed => {}
                    Step::Done(done) => result = Some(done),
                }
            }
        }
    }
}

async fn answer_of<C>(question: &mut Option<Question<C>>) -> C {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

enum Step<E, T> {
    Event(E),
    /// The connection takes messages again.
    Flushed,
    Done(Result<T, fal_protocol::Error>),
}

struct Driver<M> {
    machine: M,
    transport: Arc<dyn Transport>,
    open: Vec<(ExchangeId, Open)>,
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

enum Open {
    Asking(Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>),
    Upgrading(Pin<Box<dyn Future<Output = Result<Upgrade, Failure>> + Send>>),
    Socket { socket: Box<dyn WebSocket>, is_flushed: bool },
}

/// What became of an open exchange.
enum Progress {
    Response(Response),
    Head(Head, Box<dyn WebSocket>),
    Message(Message),
    Failure(Failure),
    Flushed,
}

impl<M: SocketMachine> Driver<M> {
    const fn new(machine: M, transport: Arc<dyn Transport>) -> Self {
        Self { machine, transport, open: Vec::new(), timer: None, until: None }
    }

    /// Whether all messages have been handed to the connection.
    fn is_flushed(&self) -> bool {
        self.open.iter().all(|(_, open)| !matches!(open, Open::Socket { is_flushed: false, .. }))
    }

    /// The next thing that concerns others. Cancel safe: all that is under way stays in `self`.
    fn poll_step(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Step<M::Event, M::Done>> {
        loop {
            match self.machine.poll_output() {
                Output::Send { id, request } => self.send(id, request),
                Output::Abort { id } => self.open.retain(|(open, _)| *open != id),
                Output::Message { id, message } => self.transmit(id, message),
                Output::Event(event) => return Poll::Ready(Step::Event(event)),
                Output::Done(result) => return Poll::Ready(Step::Done(result)),
                Output::Wait { until } => match self.poll_open(cx, reads) {
                    Poll::Ready(true) => return Poll::Ready(Step::Flushed),
                    Poll::Ready(false) => {}
                    Poll::Pending => {
                        if self.poll_timer(cx, until).is_pending() {
                            return Poll::Pending;
                        }
                    }
                },
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
        let transport = Arc::clone(&self.transport);
        let open = match request.expect {
            Expect::WebSocket { .. } => Open::Upgrading(transport.upgrade(request)),
            _ => Open::Asking(transport.send(Exchange::new(request))),
        };
        self.open.push((id, open));
    }

    fn transmit(&mut self, id: ExchangeId, message: Message) {
        tracing::trace!(exchange = id.number(), ?message, "message out");
        let found = self.open.iter_mut().find(|(open, _)| *open == id);
        let Some((_, Open::Socket { socket, is_flushed })) = found else { return };
        match socket.start_send(message) {
            Ok(()) => *is_flushed = false,
            // Why is told when it is read: often there is a last word of the peer's.
            Err(failure) => tracing::debug!(exchange = id.number(), %failure, "not sent"),
        }
    }

    /// Ready when the machine was told something (`false`) or a connection takes messages again.
    fn poll_open(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<bool> {
        for at in 0..self.open.len() {
            let (id, open) = &mut self.open[at];
            let id = *id;
            let Poll::Ready(progress) = open.poll(cx, reads) else { continue };
            match progress {
                Progress::Flushed => return Poll::Ready(true),
                Progress::Response(response) => {
                    self.open.remove(at);
                    let status = response.status().as_u16();
                    tracing::debug!(exchange = id.number(), status, "answer");
                    self.machine.handle_response(now(), id, response);
                }
                Progress::Head(head, socket) => {
                    tracing::debug!(exchange = id.number(), "connected");
                    self.open[at].1 = Open::Socket { socket, is_flushed: true };
                    self.machine.handle_head(now(), id, &head);
                }
                Progress::Message(message) => {
                    tracing::trace!(exchange = id.number(), ?message, "message in");
                    if let Message::Close(close) = &message {
                        tracing::debug!(exchange = id.number(), %close, "closed");
                        self.open.remove(at);
                    }
                    self.machine.handle_message(now(), id, message);
                }
                Progress::Failure(failure) => {
                    self.open.remove(at);
                    tracing::debug!(exchange = id.number(), %failure, "failure");
                    self.machine.handle_failure(now(), id, failure);
                }
            }
            return Poll::Ready(false);
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
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until.into()),
                none => *none = Some(Box::pin(sleep_until(until.into()))),
            }
            self.until = Some(until);
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        std::task::ready!(timer.as_mut().poll(cx));
        self.until = None;
        self.machine.handle_timeout(now());
        Poll::Ready(())
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Progress> {
        match self {
            Self::Asking(answer) => answer.as_mut().poll(cx).map(|answer| match answer {
                Ok(Answer::Whole(response)) => Progress::Response(response),
                Ok(Answer::Chunks(head, _)) => {
                    Progress::Response(head.map(|()| bytes::Bytes::new()))
                }
                Err(failure) => Progress::Failure(failure),
            }),
            Self::Upgrading(upgrade) => upgrade.as_mut().poll(cx).map(|upgrade| match upgrade {
                Ok(Upgrade::Open(head, socket)) => Progress::Head(head, socket),
                Ok(Upgrade::Refused(response)) => Progress::Response(response),
                Err(failure) => Progress::Failure(failure),
            }),
            Self::Socket { socket, is_flushed } => {
                if !*is_flushed {
                    match socket.poll_flush(cx) {
                        Poll::Ready(Ok(())) => {
                            *is_flushed = true;
                            return Poll::Ready(Progress::Flushed);
                        }
                        // What reading tells is the better reason.
                        Poll::Ready(Err(_)) => *is_flushed = true,
                        Poll::Pending => {}
                    }
                }
                if !reads {
                    return Poll::Pending;
                }
                socket.poll_next(cx).map(|next| match next {
                    Some(Ok(message)) => Progress::Message(message),
                    Some(Err(failure)) => Progress::Failure(failure),
                    None => {
                        use fal_protocol::wire::FailureKind;
                        let message = "the connection ended without a close";
                        Progress::Failure(Failure::read(FailureKind::Closed, message))
                    }
                })
            }
        }
    }
}

/// The next event of the task that callers are told of; `None` once the task is over.
pub(crate) fn poll_told<E, T>(
    events: &mut mpsc::Receiver<E>,
    cx: &mut Context<'_>,
    told: impl Fn(E) -> Option<T>,
) -> Poll<Option<T>> {
    loop {
        let Some(event) = std::task::ready!(events.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        if let Some(event) = told(event) {
            return Poll::Ready(Some(event));
        }
    }
}

/// Events that wait for their taker in the task, besides those in the channel: what one message of the
/// peer leads to is seldom more than one.
const EVENTS_WAITING_MAX: usize = 8;

/// Room in the channels to and from the task.
pub(crate) const CHANNEL_ROOM: usize = 16;
