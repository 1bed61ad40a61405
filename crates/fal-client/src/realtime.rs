//! Realtime sessions: inputs and outputs in milliseconds over one connection. Behind the feature
//! `realtime`.
//!
//! ```no_run
//! # async fn run(client: fal_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use serde_json::json;
//!
//! let mut session = client.realtime("fal-ai/fast-lcm-diffusion").start()?;
//! session.send(&json!({ "prompt": "a cat", "seed": 7 })).await?;
//! while let Some(output) = session.recv().await {
//!     let output = output?;
//!     println!("{:?}", output.value()?);
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::error::{ErrorKind, InputError};
use fal_protocol::machine::{AttemptFailed, Output};
use fal_protocol::realtime::{self, Config, Session, decode, encode};
use fal_protocol::token::Token;
use fal_protocol::wire::{ExchangeId, Failure, Head, Message, Response};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use fal_protocol::realtime::{
    Closed, DecodeError, Ended, Meta, QUEUE_MESSAGES_DEFAULT, Queue, Traffic, Value, WhyDropped,
};
pub use fal_protocol::wire::Close;

use crate::client::{Client, new_seed};
use crate::error::Error;
use crate::socket::{CHANNEL_ROOM, Question, SocketMachine, poll_told, run};
use crate::{ApiError, ProtocolError};

/// A session to be configured; [`start`](Self::start) it.
#[must_use = "nothing happens until it is started"]
pub struct RealtimeBuilder {
    client: Client,
    config: Result<Config, InputError>,
    provider: Option<Provider>,
}

type Provider = Arc<dyn Fn(String) -> Question<Result<Token, Box<str>>> + Send + Sync>;

impl RealtimeBuilder {
    pub(crate) fn new(client: Client, endpoint: &str) -> Self {
        Self { client, config: EndpointId::parse(endpoint).map(Config::new), provider: None }
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// Sets what follows the id in the address, instead of `/realtime`; `""` for nothing.
    pub fn path(self, path: &str) -> Self {
        self.set(|config| config.path = Some(path.into()))
    }

    /// Sets what becomes of messages that cannot be sent yet. Default: only the newest is kept.
    pub fn queue(self, queue: Queue) -> Self {
        self.set(|config| config.queue = queue)
    }

    /// Sends at most one message in this time: the first at once, then always the newest. Default none;
    /// fal's JS client has 128 ms.
    pub fn throttle(self, interval: Duration) -> Self {
        self.set(|config| config.throttle = Some(interval))
    }

    /// Sets how many inputs the service keeps before it drops the oldest, 1 to 60. Default: the app's.
    pub fn max_buffering(self, inputs: u8) -> Self {
        self.set(|config| config.max_buffering = Some(inputs))
    }

    /// Takes tokens from somebody else, such as a server of one's own that has the key.
    ///
    /// The provider is called for each connection with what the token must allow, such as
    /// `fal-ai/fast-lcm-diffusion/realtime`.
    pub fn token_provider<F, T, E>(mut self, provider: F) -> Self
    where
        F: Fn(String) -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.provider = Some(Arc::new(move |app| {
            let token = provider(app);
            Box::pin(async move {
                let token = token.await.map_err(|error| error.to_string().into_boxed_str())?;
                Token::parse(&token).map_err(|error| error.to_string().into_boxed_str())
            })
        }));
        self.set(|config| config.auth = realtime::Auth::Provided { lifetime: None })
    }

    /// Sets how long a token is valid. Default 120 s; for those of a provider: unknown.
    pub fn token_lifetime(self, lifetime: Duration) -> Self {
        self.set(|config| match &mut config.auth {
            realtime::Auth::Provided { lifetime: old } => *old = Some(lifetime),
            realtime::Auth::Token { lifetime: old, .. } => *old = lifetime,
            _ => {}
        })
    }

    /// Asks for the next token before this one runs out, so that the next connection need not wait for
    /// it. Default: a new token for each connection.
    pub fn refresh_token(self) -> Self {
        self.set(|config| config.refresh = true)
    }

    /// Shows the key itself instead of a token. For servers alone.
    pub fn key_in_header(self) -> Self {
        self.set(|config| config.auth = realtime::Auth::Header)
    }

    /// Sets the longest wait for the answer to a handshake. Default 90 s.
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set(|config| config.handshake_timeout = timeout)
    }

    /// Sets the longest message taken. Default [`Builder::result_bytes_max`](crate::Builder::result_bytes_max).
    pub fn message_bytes_max(self, bytes: usize) -> Self {
        self.set(|config| config.message_bytes_max = Some(bytes))
    }

    /// Begins. Nothing is sent and nothing connects before the first message. Runs on a tokio runtime, in
    /// a task of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when the endpoint, the path or an option cannot be used.
    pub fn start(self) -> Result<Realtime, Error> {
        let settings = self.client.settings();
        let session = Session::new(new_seed(), settings, self.config?)?;
        let span = tracing::debug_span!("realtime", endpoint = %session.target());
        let machine = Machine { session, provider: self.provider };
        let (commands, inbox) = mpsc::channel(CHANNEL_ROOM);
        let (outbox, events) = mpsc::channel(CHANNEL_ROOM);
        let work = run(machine, self.client.transport(), inbox, outbox);
        let task = tokio::spawn(tracing::Instrument::instrument(work, span));
        Ok(Realtime { sender: RealtimeSender { commands }, events, task })
    }

    /// Opens a connection as a raw WebSocket: the same address and the same token, but nothing is read
    /// into its messages, nothing is connected again, and the path is empty unless one was set.
    ///
    /// # Errors
    /// As [`start`](Self::start); [`ErrorKind::Api`] when the service refuses the token or the
    /// handshake, and [`ErrorKind::Transport`] when there is no connection.
    pub async fn connect_raw(self) -> Result<RawSocket, Error> {
        let mut config = self.config?;
        config.path.get_or_insert_with(|| "".into());
        let target = realtime::target(&config.endpoint, config.path.as_deref())?;
        let mut is_second = false;
        loop {
            let token = match (&config.auth, &self.provider) {
                (realtime::Auth::Token { lifetime, route }, _) => {
                    let request = self.client.token([&target]).duration(*lifetime).route(*route);
                    Some(request.await?)
                }
                (realtime::Auth::Provided { .. }, Some(provider)) => {
                    let token = provider(target.to_string()).await;
                    Some(token.map_err(|problem| {
                        let name = "token provider".into();
                        Error::from(InputError::Option { name, problem })
                    })?)
                }
                _ => None,
            };
            let settings = self.client.settings();
            let bytes_max = config.message_bytes_max.unwrap_or(settings.result_bytes_max);
            let buffering = config.max_buffering;
            let request =
                realtime::handshake(settings, &target, token.as_ref(), buffering, bytes_max)?;
            let opening = self.client.transport().upgrade(request);
            let opened = tokio::time::timeout(config.handshake_timeout, opening).await;
            let opened = opened.unwrap_or_else(|_| {
                let message =
                    format!("no answer to the handshake within {:?}", config.handshake_timeout);
                Err(Failure::read(crate::FailureKind::Timeout, message))
            });
            match opened.map_err(ErrorKind::Transport)? {
                crate::transport::Upgrade::Open(_, socket) => {
                    return Ok(RawSocket { socket });
                }
                crate::transport::Upgrade::Refused(response) => {
                    let is_stale = response.status() == 401 && token.is_some();
                    if is_stale && !std::mem::replace(&mut is_second, true) {
                        continue;
                    }
                    let (status, headers) = (response.status(), response.headers());
                    let error = ApiError::parse(status, headers, response.body());
                    return Err(ErrorKind::Api(error).into());
                }
            }
        }
    }
}

impl fmt::Debug for RealtimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealtimeBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A session under way: messages go in by [`send`](Self::send), and come out by [`recv`](Self::recv), or
/// with all that happens by [`next_event`](Self::next_event) or as a `Stream`.
///
/// It connects when something is sent, and again after an end. Dropping it closes the connection in the
/// background, with 1000.
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub struct Realtime {
    sender: RealtimeSender,
    events: mpsc::Receiver<realtime::Event>,
    task: JoinHandle<Result<Closed, fal_protocol::Error>>,
}

impl Realtime {
    /// Sends an input as msgpack. Bytes inside it stay bytes; see [`fal_protocol::realtime`].
    ///
    /// Returns once the session has taken it, which waits while the connection takes no more. Whether it
    /// was dropped is told by [`RealtimeEvent::Dropped`].
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when it cannot be encoded, and [`Error::Config`] when the session is over.
    pub async fn send<T: Serialize + ?Sized>(&self, input: &T) -> Result<(), Error> {
        self.sender.send(input).await
    }

    /// Another way to send, for another task. The session goes on while any of them is left.
    #[must_use]
    pub fn sender(&self) -> RealtimeSender {
        self.sender.clone()
    }

    /// The next output. `None` when the connection has ended in order, or the session was closed; the
    /// next message connects again.
    ///
    /// # Errors
    /// What [`RealtimeEvent::Failed`], [`RealtimeEvent::PeerError`] and [`RealtimeEvent::Malformed`]
    /// tell. Other events are passed over.
    pub async fn recv(&mut self) -> Option<Result<RealtimeOutput, Error>> {
        loop {
            match self.next_event().await? {
                RealtimeEvent::Output(output) => return Some(Ok(output)),
                RealtimeEvent::Ended(_) => return None,
                RealtimeEvent::Failed { error, .. } => return Some(Err(error)),
                RealtimeEvent::PeerError { error, .. } => {
                    return Some(Err(ErrorKind::Api(error).into()));
                }
                RealtimeEvent::Malformed { error, .. } => {
                    return Some(Err(ErrorKind::Protocol(error).into()));
                }
                _ => {}
            }
        }
    }

    /// The next thing that happens; `None` once the session is over.
    pub async fn next_event(&mut self) -> Option<RealtimeEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Closes the session with 1000 and waits for the peer's close, 5 s at most. Outputs that still
    /// arrive are lost.
    ///
    /// # Errors
    /// [`Error::Config`] when the runtime has ended first.
    pub async fn close(mut self) -> Result<Closed, Error> {
        self.events.close();
        let ended = self.task.await.map_err(|_| Error::config("the runtime has ended"))?;
        ended.map_err(Error::from)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<RealtimeEvent>> {
        poll_told(&mut self.events, cx, RealtimeEvent::of)
    }
}

impl Stream for Realtime {
    type Item = RealtimeEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RealtimeEvent>> {
        self.poll_event(cx)
    }
}

/// Sends to a session.
#[derive(Clone, Debug)]
pub struct RealtimeSender {
    commands: mpsc::Sender<Command>,
}

impl RealtimeSender {
    /// As [`Realtime::send`].
    ///
    /// # Errors
    /// As [`Realtime::send`].
    pub async fn send<T: Serialize + ?Sized>(&self, input: &T) -> Result<(), Error> {
        self.send_message(Message::Binary(encode(input)?)).await
    }

    /// Sends bytes as they are, in a binary message: for an app with a codec of its own.
    ///
    /// # Errors
    /// [`Error::Config`] when the session is over.
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.send_message(Message::Binary(bytes.into())).await
    }

    /// Sends an input as JSON, in a text. Apps of fal's SDK end the session when they get one.
    ///
    /// # Errors
    /// As [`Realtime::send`].
    pub async fn send_json<T: Serialize + ?Sized>(&self, input: &T) -> Result<(), Error> {
        let json = serde_json::to_string(input)
            .map_err(|error| InputError::Body { problem: error.to_string().into() })?;
        self.send_message(Message::text(json)).await
    }

    async fn send_message(&self, message: Message) -> Result<(), Error> {
        let sent = self.commands.send(Command::Send(message)).await;
        sent.map_err(|_| Error::config("the session is over"))
    }
}

/// What happens during a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RealtimeEvent {
    /// A connection is open. Told each time.
    Connected,
    /// What the model made.
    Output(RealtimeOutput),
    /// A message about the session, such as how long the model took.
    Meta(Meta),
    /// The model or the service failed, and said so. Nearly always the end follows.
    PeerError {
        /// What it said.
        error: ApiError,
        /// The whole message.
        message: RealtimeOutput,
    },
    /// A message that is neither msgpack nor JSON. The session goes on.
    Malformed {
        /// What is wrong with it.
        error: ProtocolError,
        /// The message as it came.
        message: RealtimeOutput,
    },
    /// The connection ended in order: nothing was sent for a while, or a streaming model is done.
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
        /// Its number: 1 is the first that the session took.
        number: u64,
        /// Why.
        why: WhyDropped,
    },
    /// The next token could not be had ahead of time; it is tried again.
    RefreshFailed(Error),
    /// An exchange failed and is repeated.
    Retrying {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long the client rests before the next.
        rest: Duration,
        /// Why, for people.
        cause: Box<str>,
    },
}

impl RealtimeEvent {
    fn of(event: realtime::Event) -> Option<Self> {
        use realtime::Event;
        Some(match event {
            Event::Connected => Self::Connected,
            Event::Output(message) => Self::Output(RealtimeOutput { message }),
            Event::Meta(meta) => Self::Meta(meta),
            Event::PeerError { error, message } => {
                Self::PeerError { error, message: RealtimeOutput { message } }
            }
            Event::Malformed { error, message } => {
                Self::Malformed { error, message: RealtimeOutput { message } }
            }
            Event::Ended(ended) => Self::Ended(ended),
            Event::Failed { error, queued, traffic } => {
                Self::Failed { error: error.into(), queued, traffic }
            }
            Event::Dropped { number, why } => Self::Dropped { number, why },
            Event::RefreshFailed(error) => Self::RefreshFailed(error.into()),
            Event::AttemptFailed(AttemptFailed { attempt, rest, cause, .. }) => {
                Self::Retrying { attempt, rest, cause: cause.to_string().into() }
            }
            _ => return None,
        })
    }
}

/// A message of the service.
#[derive(Clone, PartialEq, Eq)]
pub struct RealtimeOutput {
    message: Message,
}

impl RealtimeOutput {
    /// Reads it as a type, which may borrow from it (`&str`, `&[u8]`).
    ///
    /// # Errors
    /// [`DecodeError`]: it is not of this type.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        decode(&self.message)
    }

    /// Reads it as a tree, in which bytes are bytes.
    ///
    /// # Errors
    /// [`DecodeError`]: it has too many values, or some that fal does not use.
    pub fn value(&self) -> Result<Value, DecodeError> {
        Value::of(&self.message)
    }

    /// The content as it came: msgpack or JSON.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.message.bytes()
    }

    /// Whether it came as a binary message, and not as a text.
    #[must_use]
    pub const fn is_binary(&self) -> bool {
        matches!(self.message, Message::Binary(_))
    }
}

/// Prints the length of the content only.
impl fmt::Debug for RealtimeOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// An open WebSocket to an app, without a codec.
pub struct RawSocket {
    socket: Box<dyn crate::transport::WebSocket>,
}

impl RawSocket {
    /// Sends a text, and waits until it was handed to the connection.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when the connection is over.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.send(Message::text(text)).await
    }

    /// Sends a binary message, and waits until it was handed to the connection.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when the connection is over.
    pub async fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// The next message; the last is a [`Message::Close`], if the peer says goodbye.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when the connection broke.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        let next = std::future::poll_fn(|cx| self.socket.poll_next(cx)).await;
        next.map(|next| next.map_err(|failure| ErrorKind::Transport(failure).into()))
    }

    /// Closes with 1000, and waits for the peer's close, 5 s at most. Messages that still arrive are lost.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when the connection broke first.
    pub async fn close(mut self) -> Result<(), Error> {
        self.send(Message::Close(Close::normal())).await?;
        let rest = async { while let Some(Ok(_)) = self.recv().await {} };
        // A peer that does not answer has nothing more to say.
        let _ = tokio::time::timeout(realtime::CLOSE_TIMEOUT_DEFAULT, rest).await;
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.start_send(message).map_err(ErrorKind::Transport)?;
        let flushed = std::future::poll_fn(|cx| self.socket.poll_flush(cx)).await;
        flushed.map_err(|failure| ErrorKind::Transport(failure).into())
    }
}

impl fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSocket").finish_non_exhaustive()
    }
}

/// What the caller says to the task.
#[derive(Debug)]
enum Command {
    Send(Message),
    Token(ExchangeId, Result<Token, Box<str>>),
}

struct Machine {
    session: Session,
    provider: Option<Provider>,
}

impl SocketMachine for Machine {
    type Event = realtime::Event;
    type Done = Closed;
    type Command = Command;

    fn poll_output(&mut self) -> Output<realtime::Event, Closed> {
        self.session.poll_output()
    }
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        self.session.handle_response(now, id, response);
    }
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        self.session.handle_failure(now, id, failure);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }
    fn handle_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        self.session.handle_head(now, id, head);
    }
    fn handle_message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        self.session.handle_message(now, id, message);
    }
    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Send(message) => {
                self.session.handle_send(now, message);
            }
            Command::Token(id, token) => self.session.handle_token(now, id, token),
        }
    }
    fn handle_close(&mut self, now: Instant) {
        self.session.handle_close(now);
    }
    fn question(&self, event: &realtime::Event) -> Option<Question<Command>> {
        let (realtime::Event::TokenWanted { id }, Some(provider)) = (event, &self.provider) else {
            return None;
        };
        let (id, token) = (*id, provider(self.session.target().to_string()));
        Some(Box::pin(async move { Command::Token(id, token.await) }))
    }
}
