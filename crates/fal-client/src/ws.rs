//! Runs over one WebSocket: several inputs ahead, answered in order. Behind the feature `realtime`.
//!
//! ```no_run
//! # async fn run(client: fal_client::Client) -> Result<(), fal_client::Error> {
//! use fal_client::ws::WsEvent;
//! use serde_json::json;
//!
//! // One input:
//! let output = client.ws("fal-ai/any-llm").run(&json!({ "prompt": "hi" })).await?;
//! println!("{}", output.value()?);
//!
//! // Many:
//! let mut runs = client.ws("fal-ai/any-llm").path("stream").connect()?;
//! for prompt in ["hi", "ho"] {
//!     runs.send(&json!({ "prompt": prompt })).await?;
//! }
//! while let Some(event) = runs.next_event().await {
//!     if let WsEvent::Answered { number: 2, .. } = event { break }
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::answer::Answer;
use fal_protocol::error::{ErrorKind, InputError};
use fal_protocol::machine::{AttemptFailed, Output as MachineOutput};
use fal_protocol::wire::{ExchangeId, Failure, FailureKind, Head, Message, Response};
use fal_protocol::ws::{self, Config, Runs};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use fal_protocol::ws::{Closed, Start};

use crate::client::{Client, new_seed};
use crate::drive::now;
use crate::error::Error;
use crate::event::Event;
use crate::input::IntoInput;
use crate::output::Output;
use crate::plan::{OnUpdate, tell};
use crate::prepare::{Prepare, PrepareStep};
use crate::run::RUN_DEADLINE_DEFAULT;
use crate::socket::{CHANNEL_ROOM, SocketMachine, poll_told, run};
use crate::stream::StreamItem;

/// A connection to be configured.
#[must_use = "nothing happens until it is connected or run"]
pub struct WsBuilder {
    client: Client,
    config: Result<Config, InputError>,
    deadline: Option<Duration>,
    on_update: Option<OnUpdate>,
}

impl WsBuilder {
    pub(crate) fn new(client: Client, endpoint: &str) -> Self {
        let config = EndpointId::parse(endpoint).map(Config::new);
        Self { client, config, deadline: None, on_update: None }
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// Sets what follows the id in the address, such as `stream`. Default nothing.
    pub fn path(self, path: &str) -> Self {
        self.set(|config| config.path = Some(path.into()))
    }

    /// Gives up when an answer is silent for so long. Default: as a direct run.
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|config| config.idle_timeout = Some(timeout))
    }

    /// Sets when to give up all, counted from the start. Default: never for a connection, and 61 minutes
    /// for a single run.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets who hears what happens during a single [`run`](Self::run): uploads, and repeated handshakes. A
    /// connection tells by its events.
    pub fn on_update(mut self, on_update: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_update = Some(Box::new(on_update));
        self
    }

    /// Connects, in a task of its own on a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when the endpoint or the path cannot be used. What the service says to the
    /// handshake is told by the events of what was sent.
    pub fn connect(self) -> Result<WsRuns, Error> {
        let mut config = self.config?;
        config.deadline = self.deadline.and_then(|deadline| now().checked_add(deadline));
        WsRuns::open(&self.client, config)
    }

    /// Runs one input, which may hold files, and closes the connection.
    ///
    /// The output is the last event of an answer that is an event stream, else the whole body. Dropping the
    /// future closes the connection, which stops the model.
    ///
    /// # Errors
    /// Every [`ErrorKind`] of a [`Client::run`].
    pub async fn run(self, input: impl IntoInput) -> Result<Output, Error> {
        let Self { client, config, deadline, mut on_update } = self;
        let (mut config, input) = (config?, input.into_input()?);
        config.deadline = now().checked_add(deadline.unwrap_or(RUN_DEADLINE_DEFAULT));
        // Nothing is uploaded for what cannot run.
        config.endpoint.join(config.path.as_deref().unwrap_or_default())?;
        let mut prepare = Prepare::new(&client, input, Vec::new(), config.deadline);
        let json = loop {
            match std::future::poll_fn(|cx| prepare.poll_step(cx)).await {
                PrepareStep::Event(event) => tell(&mut on_update, &event),
                PrepareStep::Done(json) => break json?,
            }
        };
        let bytes_max = client.settings().result_bytes_max;
        let mut runs = WsRuns::open(&client, config)?;
        if let Err(error) = runs.send_json(json).await {
            // Why the connection is over says more than that it is.
            return Err(runs.close().await.err().unwrap_or(error));
        }
        let (mut start, mut body, mut last) = (None, Vec::new(), None);
        while let Some(event) = runs.next_event().await {
            match event {
                WsEvent::Started { start: begun, .. } => start = Some(begun),
                WsEvent::Item { item, .. } if item.is_event() => last = Some(item.into_bytes()),
                WsEvent::Item { item, .. } => {
                    if body.len() + item.bytes().len() > bytes_max {
                        let message = "the answer is longer than a result may be";
                        let failure = Failure::read(FailureKind::TooLarge, message);
                        return Err(ErrorKind::Transport(failure).into());
                    }
                    body.extend_from_slice(item.bytes());
                }
                WsEvent::Failed { error, .. } => return Err(of_single(error)),
                WsEvent::Retrying { attempt, rest, cause } => {
                    tell(&mut on_update, &Event::Retrying { attempt, rest, cause });
                }
                WsEvent::Answered { .. } => break,
                _ => {}
            }
        }
        let Some(Start { status, headers, request_id, .. }) = start else {
            return Err(Error::config("the connection ended without an answer"));
        };
        let mut response = http::Response::new(last.unwrap_or_else(|| Bytes::from(body)));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        if let Ok(id) = http::HeaderValue::from_str(&request_id) {
            response.headers_mut().entry(fal_protocol::headers::REQUEST_ID).or_insert(id);
        }
        Ok(Output::direct(Answer::from(response)))
    }
}

impl fmt::Debug for WsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WsBuilder");
        shown
            .field("config", &self.config)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The error of a single run. Its deadline is the caller's own, as that of a direct run: that the answer is
/// missing then goes without saying.
fn of_single(error: Error) -> Error {
    if let Error::Call(call) = &error
        && let ErrorKind::SubmitUnknown { cause } = call.kind()
        && matches!(**cause, ErrorKind::Deadline { .. })
    {
        let request_id = call.request_id().map(Into::into);
        return fal_protocol::Error::from((**cause).clone()).with_request_id(request_id).into();
    }
    error
}

/// An open connection. Dropping it closes it in the background, with 1000; what has no answer then is
/// stopped, and may have been paid for.
#[derive(Debug)]
#[must_use = "dropping it stops what runs"]
pub struct WsRuns {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<ws::Event>,
    task: JoinHandle<Result<Closed, fal_protocol::Error>>,
}

impl WsRuns {
    fn open(client: &Client, config: Config) -> Result<Self, Error> {
        let span = tracing::debug_span!("ws", endpoint = %config.endpoint);
        let runs = Runs::new(now(), new_seed(), client.settings(), config)?;
        let (commands, inbox) = mpsc::channel(CHANNEL_ROOM);
        let (outbox, events) = mpsc::channel(CHANNEL_ROOM);
        let work = run(Machine { runs }, client.transport(), inbox, outbox);
        let task = tokio::spawn(tracing::Instrument::instrument(work, span));
        Ok(Self { commands, events, task })
    }

    /// Sends an input, and returns its number, counted from 1: answers come in this order.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when it cannot be encoded or too many have no answer, and
    /// [`Error::Config`] when the connection is over.
    pub async fn send<T: Serialize + ?Sized>(&self, input: &T) -> Result<u64, Error> {
        let json = serde_json::to_vec(input)
            .map_err(|error| InputError::Body { problem: error.to_string().into() })?;
        self.send_json(json.into()).await
    }

    async fn send_json(&self, input: Bytes) -> Result<u64, Error> {
        let (reply, number) = oneshot::channel();
        let over = || Error::config("the connection is over");
        let command = Command { input, reply };
        self.commands.send(command).await.map_err(|_| over())?;
        Ok(number.await.map_err(|_| over())??)
    }

    /// The next thing that happens; `None` once the connection is over.
    pub async fn next_event(&mut self) -> Option<WsEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Closes with 1000 and waits for the peer's close, 5 s at most. Answers that still arrive are lost.
    ///
    /// # Errors
    /// How the connection had ended before, if not in order.
    pub async fn close(mut self) -> Result<Closed, Error> {
        self.events.close();
        let ended = self.task.await.map_err(|_| Error::config("the runtime has ended"))?;
        ended.map_err(Error::from)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<WsEvent>> {
        poll_told(&mut self.events, cx, WsEvent::of)
    }
}

impl Stream for WsRuns {
    type Item = WsEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WsEvent>> {
        self.poll_event(cx)
    }
}

/// What happens on a connection. `number` is what [`WsRuns::send`] returned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsEvent {
    /// The connection is open.
    Connected,
    /// An answer begins.
    Started {
        /// Which input is answered.
        number: u64,
        /// Status, headers and id of the answer.
        start: Start,
    },
    /// An event or a piece of an answer.
    Item {
        /// Which input is answered.
        number: u64,
        /// The event, or the bytes.
        item: StreamItem,
    },
    /// An answer is whole.
    Answered {
        /// Which input is answered.
        number: u64,
        /// How long the service waited for the first byte, in seconds, if it tells.
        time_to_first_byte: Option<f64>,
    },
    /// An input has no answer that is of use, and will have none.
    Failed {
        /// Which input.
        number: u64,
        /// Why.
        error: Error,
    },
    /// The handshake failed and is repeated.
    Retrying {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long the client rests before the next.
        rest: Duration,
        /// Why, for people.
        cause: Box<str>,
    },
}

impl WsEvent {
    fn of(event: ws::Event) -> Option<Self> {
        Some(match event {
            ws::Event::Connected => Self::Connected,
            ws::Event::Started { number, start } => Self::Started { number, start },
            ws::Event::Item { number, event } => {
                let name = event.name.map(|name| name.to_string());
                let item = StreamItem::new(event.data.into_bytes(), name, true);
                Self::Item { number, item }
            }
            ws::Event::Chunk { number, bytes } => {
                Self::Item { number, item: StreamItem::new(bytes, None, false) }
            }
            ws::Event::Answered { number, time_to_first_byte } => {
                Self::Answered { number, time_to_first_byte }
            }
            ws::Event::Failed { number, error } => Self::Failed { number, error: error.into() },
            ws::Event::AttemptFailed(AttemptFailed { attempt, rest, cause, .. }) => {
                Self::Retrying { attempt, rest, cause: cause.to_string().into() }
            }
            _ => return None,
        })
    }
}

/// An input, and who wants to know its number.
struct Command {
    input: Bytes,
    reply: oneshot::Sender<Result<u64, InputError>>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.input.len())
    }
}

struct Machine {
    runs: Runs,
}

impl SocketMachine for Machine {
    type Event = ws::Event;
    type Done = Closed;
    type Command = Command;

    fn poll_output(&mut self) -> MachineOutput<ws::Event, Closed> {
        self.runs.poll_output()
    }
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        self.runs.handle_response(now, id, response);
    }
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        self.runs.handle_failure(now, id, failure);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.runs.handle_timeout(now);
    }
    fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        self.runs.handle_head(now, id, head);
    }
    fn handle_message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        self.runs.handle_message(now, id, message);
    }
    fn handle_command(&mut self, now: Instant, command: Command) {
        // Who has stopped waiting for the number needs none.
        let _ = command.reply.send(self.runs.handle_send(now, command.input));
    }
    fn handle_close(&mut self, now: Instant) {
        self.runs.handle_close(now);
    }
}
