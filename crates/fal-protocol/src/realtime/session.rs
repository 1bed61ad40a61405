//! Machine: a realtime session. It connects when there is something to send, and again after an end.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Idle | send | Idle, Authorizing, Connecting | a token is asked for, unless one is at hand or none is needed |
//! | Idle | timeout | Authorizing, Connecting | the same for a message that the throttle held back |
//! | Idle | close | Over | `Done(Closed)` |
//! | Authorizing | success, token | Connecting, Idle | the handshake, with this token; Idle if there is none in it |
//! | Authorizing | redirect, refusal, failure | Authorizing, Idle | as [`crate::token`] says |
//! | Authorizing | timeout | Authorizing, Idle | the same, and the throttle |
//! | Authorizing | send | Authorizing | it waits in the queue |
//! | Authorizing | close | Over | with an Abort of what is open |
//! | Connecting | open | Active | what waits is sent |
//! | Connecting | success, redirect | Idle | this is no WebSocket |
//! | Connecting | refusal | Connecting, Authorizing, Idle | 401: once more with a fresh token; else as [`crate::retry`] says |
//! | Connecting | failure | Connecting, Idle | as [`crate::retry`] says, after the backup host was asked |
//! | Connecting | timeout | Connecting, Authorizing, Idle | the same, and the throttle, whose message begins anew |
//! | Connecting | send | Connecting | it waits in the queue |
//! | Connecting | close | Over | with an Abort of what is open |
//! | Active | send | Active | it goes out, or the throttle holds it back |
//! | Active | message | Active, Ending | told; the service's own end, and Unauthorized, lead to the end |
//! | Active | ended | Idle | `Ended`, or `Failed` for a code that is no end in order |
//! | Active | failure | Active, Idle | `Failed`; Active if it was the next token that failed |
//! | Active | success, redirect, refusal, token | Active | answers to the call for the next token |
//! | Active | timeout | Active | the next token, the throttle |
//! | Active | close | Ending | what the throttle holds goes out, then a close |
//! | Ending | message | Ending | outputs that were still on their way |
//! | Ending | ended, failure | Idle, Authorizing, Connecting, Over | over; or what has come meanwhile opens another connection |
//! | Ending | timeout | Ending, Idle, Authorizing, Connecting, Over | the same after an Abort; Ending: the throttle |
//! | Ending | send | Ending | it waits in the queue |
//! | Ending | close | Ending | a close, if none was sent |
//!
//! Nothing that was accepted is dropped in silence: [`Event::Dropped`] names each message that is not
//! sent, and [`Traffic`] what a lost connection had carried.
//!
//! Source: `realtime.ts` of `@fal-ai/client` 1.10.1 (official client source), of whose machine this one
//! keeps the lazy connection, the queue of one and the throttle. It differs where that one loses
//! things: a failed token is told, a refused socket is closed, one that opens too late is given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{Auth, Config, Queue, check_buffering, handshake, target};
use super::event::{Closed, Ended, Event, Traffic, WhyDropped};
use super::frame::Frame;
use super::wanted::Wanted;
use crate::EndpointId;
use crate::call::Call;
use crate::error::{ApiError, Error, ErrorKind, InputError, ProtocolError};
use crate::machine::{Ids, Out, Output, after, earliest, is_due};
use crate::rand::SplitMix64;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::token::{self, Mint, Token, check_lifetime};
use crate::wire::{Close, ExchangeId, Failure, FailureKind, Head, Message, Response};

/// Holds one realtime session. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
///
/// It ends only when its caller closes it.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Session {
    settings: Arc<Settings>,
    config: Config,
    target: EndpointId,
    seeds: SplitMix64,
    token: Option<Held>,
    /// Accepted and not sent.
    queue: VecDeque<Numbered>,
    throttle: Throttle,
    /// Messages accepted so far.
    number: u64,
    ids: Ids,
    state: State,
    out: Out<Event, Closed>,
}

/// A token, and when it was asked for.
#[derive(Debug)]
struct Held {
    token: Token,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Numbered {
    number: u64,
    message: Message,
}

/// Whether a token was refused already since the caller's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    First,
    Second,
}

#[derive(Debug)]
enum State {
    Idle,
    Authorizing { wanted: Wanted, attempt: Try },
    Connecting { call: Box<Call>, attempt: Try },
    Active(Box<Active>),
    Ending { id: ExchangeId, until: Option<Instant>, why: Why, traffic: Traffic },
    Over,
}

#[derive(Debug)]
struct Active {
    id: ExchangeId,
    attempt: Try,
    refresh: Refresh,
    traffic: Traffic,
    /// What went out before the service showed by any answer that it takes the token: if it does not,
    /// this is sent again. `None` once it has shown it.
    unproved: Option<VecDeque<Numbered>>,
}

#[derive(Debug)]
enum Refresh {
    Off,
    Due(Option<Instant>),
    Asking(Wanted),
}

/// Why a connection is about to end.
#[derive(Debug)]
enum Why {
    /// The service said so.
    Told(Box<str>),
    /// The token was not accepted. `number` is that of the last message sent before it was known.
    Unauthorized { error: Box<ApiError>, attempt: Try, number: u64 },
    /// The caller wants no more.
    Closed,
}

#[derive(Debug, Default)]
struct Throttle {
    last: Option<Instant>,
    held: Option<Numbered>,
}

impl Session {
    /// A session that connects when something is sent.
    ///
    /// # Errors
    /// [`InputError`] when the path cannot follow the id, or an option is out of its range.
    pub fn new(seed: u64, settings: &Arc<Settings>, config: Config) -> Result<Self, InputError> {
        let target = target(&config.endpoint, config.path.as_deref())?;
        config.max_buffering.map(check_buffering).transpose()?;
        config.auth.lifetime().map(check_lifetime).transpose()?;
        Ok(Self {
            settings: Arc::clone(settings),
            config,
            target,
            seeds: SplitMix64::new(seed),
            token: None,
            queue: VecDeque::new(),
            throttle: Throttle::default(),
            number: 0,
            ids: Ids::default(),
            state: State::Idle,
            out: Out::new(),
        })
    }

    /// What the session connects to: what a token for it must allow.
    #[must_use]
    pub const fn target(&self) -> &EndpointId {
        &self.target
    }

    /// Takes a message, and returns its number, counted from 1. A message that ends a connection is
    /// none: see [`handle_close`](Self::handle_close).
    pub fn handle_send(&mut self, now: Instant, message: Message) -> u64 {
        self.number += 1;
        let numbered = Numbered { number: self.number, message };
        if matches!(self.state, State::Over) {
            return self.number;
        }
        let is_end = matches!(numbered.message, Message::Close(_));
        if is_end || matches!(self.state, State::Ending { why: Why::Closed, .. }) {
            self.drop_message(self.number, WhyDropped::Closed);
            return self.number;
        }
        if let Some(older) = self.throttle.held.take() {
            self.drop_message(older.number, WhyDropped::Throttled);
        }
        match self.throttle_until() {
            Some(until) if until > now => self.throttle.held = Some(numbered),
            _ => self.accept(now, numbered),
        }
        self.number
    }

    /// Ends the session: closes an open connection with 1000, gives up one that is not open yet. What
    /// has not been sent is dropped, except what the throttle holds back from an open connection.
    pub fn handle_close(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => {}
            State::Idle => self.finish(None, Traffic::default()),
            State::Authorizing { wanted, .. } => {
                self.give_up(wanted);
                self.finish(None, Traffic::default());
            }
            State::Connecting { mut call, .. } => {
                self.out.extend(call.stop().map(|id| Output::Abort { id }));
                self.finish(None, Traffic::default());
            }
            State::Active(mut active) => {
                if let Some(held) = self.throttle.held.take() {
                    self.transmit(&mut active, held);
                }
                self.leave(now, *active, Why::Closed);
            }
            State::Ending { id, until, why, traffic } => {
                let mut until = until;
                if let Why::Told(_) = why {
                    self.out.push_back(Output::Message {
                        id,
                        message: Message::Close(Close::normal()),
                    });
                    until = after(now, self.config.close_timeout);
                }
                self.state = State::Ending { id, until, why: Why::Closed, traffic };
            }
        }
    }

    /// The token that was wanted, or why there is none, for people.
    pub fn handle_token(&mut self, now: Instant, id: ExchangeId, token: Result<Token, Box<str>>) {
        let token = token.map_err(|problem| {
            let name = "token provider".into();
            Error::from(ErrorKind::Input(InputError::Option { name, problem }))
        });
        match &self.state {
            State::Authorizing { wanted, attempt } if wanted.is_provider(id) => {
                let attempt = *attempt;
                self.authorized(now, token, attempt);
            }
            State::Active(active) => {
                if let Refresh::Asking(wanted) = &active.refresh
                    && wanted.is_provider(id)
                {
                    self.refreshed(now, token);
                }
            }
            _ => {}
        }
    }

    /// The peer agreed to the handshake.
    pub fn handle_head(&mut self, _: Instant, id: ExchangeId, head: &Head) {
        let State::Connecting { call, attempt } = &mut self.state else { return };
        if !call.is_asking(id) || head.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        call.accept();
        let attempt = *attempt;
        self.out.push_back(Output::Event(Event::Connected));
        let unproved = match self.config.auth {
            Auth::Header => None,
            _ => Some(VecDeque::new()),
        };
        let refresh = self.next_refresh(self.token.as_ref().map(|held| held.since));
        let traffic = Traffic::default();
        let mut active = Box::new(Active { id, attempt, refresh, traffic, unproved });
        while let Some(numbered) = self.queue.pop_front() {
            self.transmit(&mut active, numbered);
        }
        self.state = State::Active(active);
    }

    /// A whole answer arrived: to the call for a token, or to a handshake that the peer did not agree to.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        match &mut self.state {
            State::Authorizing { wanted: Wanted::Mint(mint), .. } => {
                mint.handle_response(now, id, response);
                self.pump(now);
            }
            State::Active(active) => {
                if let Refresh::Asking(Wanted::Mint(mint)) = &mut active.refresh {
                    mint.handle_response(now, id, response);
                    self.pump(now);
                }
            }
            State::Connecting { call, attempt } if call.is_asking(id) => {
                let attempt = *attempt;
                let status = response.status();
                if status.is_success() {
                    let expected = "a WebSocket";
                    let error = ProtocolError::body(expected, status, response.body());
                    return self.fail(ErrorKind::Protocol(error).into());
                }
                if status.is_redirection() {
                    // Inputs go where the caller said, and nowhere else.
                    let problem = "a WebSocket is not taken elsewhere".into();
                    let error = ProtocolError::Redirect { problem };
                    return self.fail(ErrorKind::Protocol(error).into());
                }
                let settled = call.handle_response(now, &mut self.ids, id, response, &mut self.out);
                match settled {
                    None | Some(Ok(_)) => {}
                    Some(Err(error)) if error.status() == Some(http::StatusCode::UNAUTHORIZED) => {
                        self.token = None;
                        if attempt == Try::First && !matches!(self.config.auth, Auth::Header) {
                            self.authorize(now, Try::Second);
                        } else {
                            self.fail(error);
                        }
                    }
                    Some(Err(error)) => self.fail(error),
                }
            }
            _ => {}
        }
    }

    /// An exchange failed, or a connection broke.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        match &mut self.state {
            State::Authorizing { wanted: Wanted::Mint(mint), .. } => {
                mint.handle_failure(now, id, failure);
                self.pump(now);
            }
            State::Connecting { call, .. } => {
                let settled = call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
                if let Some(Err(error)) = settled {
                    self.fail(error);
                }
            }
            State::Active(active) if active.id == id => {
                self.lost(ErrorKind::Transport(failure));
            }
            State::Active(active) => {
                if let Refresh::Asking(Wanted::Mint(mint)) = &mut active.refresh {
                    mint.handle_failure(now, id, failure);
                    self.pump(now);
                }
            }
            State::Ending { id: open, .. } if *open == id => self.ended(now, None),
            _ => {}
        }
    }

    /// A message arrived over an open connection, or its end.
    pub fn handle_message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        match &mut self.state {
            State::Active(active) if active.id == id => match message {
                Message::Close(close) if close.is_clean() => {
                    let traffic = self.disconnect();
                    let ended = Ended { reason: None, close: Some(close), traffic };
                    self.out.push_back(Output::Event(Event::Ended(ended)));
                }
                Message::Close(close) => self.lost(ErrorKind::Closed(close)),
                message => self.receive(now, message),
            },
            State::Ending { id: open, .. } if *open == id => match message {
                Message::Close(close) => self.ended(now, Some(close)),
                message => self.receive(now, message),
            },
            _ => {}
        }
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle | State::Over => {}
            State::Authorizing { wanted: Wanted::Mint(mint), .. } => {
                mint.handle_timeout(now);
                self.pump(now);
            }
            State::Authorizing { wanted: Wanted::Provider { until, .. }, .. } => {
                if is_due(*until, now) {
                    let error = self.no_token();
                    self.fail(error);
                }
            }
            State::Connecting { call, .. } => {
                let settled = call.handle_timeout(now, &mut self.ids, &mut self.out);
                if let Some(Err(error)) = settled {
                    self.fail(error);
                }
            }
            State::Active(active) => match &mut active.refresh {
                Refresh::Off => {}
                Refresh::Due(until) => {
                    if is_due(*until, now) {
                        let wanted = self.want(now);
                        if let State::Active(active) = &mut self.state {
                            match wanted {
                                Ok(wanted) => active.refresh = Refresh::Asking(wanted),
                                Err(_) => active.refresh = Refresh::Off,
                            }
                        }
                        self.pump(now);
                    }
                }
                Refresh::Asking(Wanted::Mint(mint)) => {
                    mint.handle_timeout(now);
                    self.pump(now);
                }
                Refresh::Asking(Wanted::Provider { until, .. }) => {
                    if is_due(*until, now) {
                        let error = self.no_token();
                        self.refreshed(now, Err(error));
                    }
                }
            },
            State::Ending { id, until, .. } => {
                if is_due(*until, now) {
                    self.out.push_back(Output::Abort { id: *id });
                    self.ended(now, None);
                }
            }
        }
        if is_due(self.throttle_until(), now)
            && let Some(held) = self.throttle.held.take()
        {
            self.accept(now, held);
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Closed> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match &self.state {
            State::Idle => "Idle",
            State::Authorizing { .. } => "Authorizing",
            State::Connecting { .. } => "Connecting",
            State::Active(_) => "Active",
            State::Ending { .. } => "Ending",
            State::Over => "Over",
        }
    }

    fn until(&self) -> Option<Instant> {
        let next = match &self.state {
            State::Over => return None,
            State::Idle => None,
            State::Authorizing { wanted, .. } => wanted.until(),
            State::Connecting { call, .. } => call.until(),
            State::Active(active) => match &active.refresh {
                Refresh::Off => None,
                Refresh::Due(until) => *until,
                Refresh::Asking(wanted) => wanted.until(),
            },
            State::Ending { until, .. } => *until,
        };
        let held = if self.throttle.held.is_some() { self.throttle_until() } else { None };
        earliest(next, held)
    }

    /// When the throttle lets the next message through.
    fn throttle_until(&self) -> Option<Instant> {
        after(self.throttle.last?, self.config.throttle?)
    }

    /// A message that the throttle has let through.
    fn accept(&mut self, now: Instant, numbered: Numbered) {
        self.throttle.last = Some(now);
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Active(mut active) => {
                self.transmit(&mut active, numbered);
                self.state = State::Active(active);
            }
            State::Idle => {
                self.enqueue(numbered);
                self.begin(now);
            }
            other => {
                self.state = other;
                self.enqueue(numbered);
            }
        }
    }

    fn enqueue(&mut self, numbered: Numbered) {
        if self.queue.len() < self.config.queue.room() {
            return self.queue.push_back(numbered);
        }
        match self.config.queue {
            Queue::Latest => {
                if let Some(older) = self.queue.pop_front() {
                    self.drop_message(older.number, WhyDropped::Replaced);
                }
                self.queue.push_back(numbered);
            }
            Queue::All { .. } => self.drop_message(numbered.number, WhyDropped::Full),
        }
    }

    fn drop_message(&mut self, number: u64, why: WhyDropped) {
        self.out.push_back(Output::Event(Event::Dropped { number, why }));
    }

    fn transmit(&mut self, active: &mut Active, numbered: Numbered) {
        active.traffic.sent += 1;
        let message = numbered.message.clone();
        self.out.push_back(Output::Message { id: active.id, message });
        if let Some(unproved) = &mut active.unproved {
            // No more than a queue may hold: an older one counts as lost with the connection.
            if unproved.len() >= self.config.queue.room() {
                unproved.pop_front();
            }
            unproved.push_back(numbered);
        }
    }

    /// Opens a connection, from no connection.
    fn begin(&mut self, now: Instant) {
        if matches!(self.config.auth, Auth::Header) || self.has_token(now) {
            self.connect(now, Try::First);
        } else {
            self.authorize(now, Try::First);
        }
    }

    /// Whether the token at hand has not run out.
    fn has_token(&self, now: Instant) -> bool {
        self.token.as_ref().is_some_and(|held| {
            let lifetime = self.config.auth.lifetime();
            lifetime.is_none_or(|lifetime| now.saturating_duration_since(held.since) < lifetime)
        })
    }

    fn authorize(&mut self, now: Instant, attempt: Try) {
        match self.want(now) {
            Ok(wanted) => {
                self.state = State::Authorizing { wanted, attempt };
                self.pump(now);
            }
            Err(error) => self.fail(ErrorKind::Input(error).into()),
        }
    }

    /// Asks for a token.
    fn want(&mut self, now: Instant) -> Result<Wanted, InputError> {
        let Auth::Token { lifetime, route } = self.config.auth else {
            let id = self.ids.next();
            self.out.push_back(Output::Event(Event::TokenWanted { id }));
            return Ok(Wanted::Provider { id, until: after(now, self.settings.attempt_timeout) });
        };
        let mut config = token::Config::new(vec![self.target.clone()]);
        (config.lifetime, config.route) = (lifetime, route);
        let seed = self.seeds.next_u64();
        let mint = Mint::begin(now, seed, &self.settings, &config, self.ids)?;
        Ok(Wanted::Mint(Box::new(mint)))
    }

    /// Moves the outputs of a call for a token outwards, and takes its result.
    fn pump(&mut self, now: Instant) {
        let mint = match &mut self.state {
            State::Authorizing { wanted: Wanted::Mint(mint), .. } => mint,
            State::Active(active) => match &mut active.refresh {
                Refresh::Asking(Wanted::Mint(mint)) => mint,
                _ => return,
            },
            _ => return,
        };
        loop {
            match mint.poll_output() {
                Output::Send { id, request } => self.out.push_back(Output::Send { id, request }),
                Output::Abort { id } => self.out.push_back(Output::Abort { id }),
                Output::Event(failed) => self.out.push_back(Output::Event(failed.into())),
                Output::Message { .. } => {}
                Output::Wait { .. } => return self.ids = mint.solo.ids(),
                Output::Done(token) => {
                    self.ids = mint.solo.ids();
                    return match self.state {
                        State::Authorizing { attempt, .. } => self.authorized(now, token, attempt),
                        _ => self.refreshed(now, token),
                    };
                }
            }
        }
    }

    fn authorized(&mut self, now: Instant, token: Result<Token, Error>, attempt: Try) {
        match token {
            Ok(token) => {
                self.token = Some(Held { token, since: now });
                self.connect(now, attempt);
            }
            Err(error) => self.fail(error),
        }
    }

    fn refreshed(&mut self, now: Instant, token: Result<Token, Error>) {
        let since = match token {
            Ok(token) => {
                self.token = Some(Held { token, since: now });
                Some(now)
            }
            Err(error) => {
                self.out.push_back(Output::Event(Event::RefreshFailed(error)));
                // As the JS client: a twentieth of the lifetime, and then the whole wait again.
                after(now, self.config.auth.lifetime().unwrap_or_default() / 20)
            }
        };
        let refresh = self.next_refresh(since);
        if let State::Active(active) = &mut self.state {
            active.refresh = refresh;
        }
    }

    /// When the next token is asked for, if one is at all: 90 % of the lifetime after `since`.
    fn next_refresh(&self, since: Option<Instant>) -> Refresh {
        match (self.config.auth.lifetime(), since) {
            (Some(lifetime), Some(since)) if self.config.refresh => {
                let wait = Duration::from_millis(round_ms(lifetime.mul_f64(0.9)));
                Refresh::Due(after(since, wait))
            }
            _ => Refresh::Off,
        }
    }

    fn connect(&mut self, now: Instant, attempt: Try) {
        let token = match self.config.auth {
            Auth::Header => None,
            _ => self.token.as_ref().map(|held| &held.token),
        };
        let bytes_max = self.config.message_bytes_max.unwrap_or(self.settings.result_bytes_max);
        let buffering = self.config.max_buffering;
        let request = match handshake(&self.settings, &self.target, token, buffering, bytes_max) {
            Ok(request) => request,
            Err(error) => return self.fail(ErrorKind::Input(error).into()),
        };
        let seed = self.seeds.next_u64();
        let call = Call::new(&self.settings, Purpose::Connect, request, seed, None);
        let mut call = Box::new(call.with_timeout(self.config.handshake_timeout));
        call.start(now, &mut self.ids, &mut self.out);
        self.state = State::Connecting { call, attempt };
    }

    /// A message of an open connection that is no close.
    fn receive(&mut self, now: Instant, message: Message) {
        let frame = Frame::of(&message);
        let traffic = match &mut self.state {
            State::Active(active) => {
                if !matches!(frame, Ok(Frame::Unauthorized(_))) {
                    active.unproved = None;
                }
                &mut active.traffic
            }
            State::Ending { traffic, .. } => traffic,
            _ => return,
        };
        let event = match frame {
            Ok(Frame::Output) => {
                traffic.received += 1;
                Event::Output(message)
            }
            Ok(Frame::Meta(meta)) => Event::Meta(meta),
            Ok(Frame::Error(error)) => Event::PeerError { error, message },
            Err(error) => Event::Malformed { error, message },
            Ok(Frame::End { reason }) => return self.end(now, Why::Told(reason)),
            Ok(Frame::Unauthorized(error)) => {
                let attempt = match &self.state {
                    State::Active(active) => active.attempt,
                    _ => Try::Second,
                };
                let number = self.number;
                let why = Why::Unauthorized { error: Box::new(error), attempt, number };
                return self.end(now, why);
            }
        };
        self.out.push_back(Output::Event(event));
    }

    /// The service ends the connection; said twice, the first word counts.
    fn end(&mut self, now: Instant, why: Why) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Active(active) => self.leave(now, *active, why),
            other => self.state = other,
        }
    }

    /// Waits for the end of an open connection; asks for it unless the service has announced it.
    fn leave(&mut self, now: Instant, active: Active, why: Why) {
        let Active { id, refresh, traffic, unproved, .. } = active;
        if let Refresh::Asking(wanted) = refresh {
            self.give_up(wanted);
        }
        match &why {
            Why::Told(_) => {}
            Why::Unauthorized { .. } => {
                self.token = None;
                self.requeue(unproved.unwrap_or_default());
                self.close_socket(id);
            }
            Why::Closed => self.close_socket(id),
        }
        let until = after(now, self.config.close_timeout);
        self.state = State::Ending { id, until, why, traffic };
    }

    fn close_socket(&mut self, id: ExchangeId) {
        self.out.push_back(Output::Message { id, message: Message::Close(Close::normal()) });
    }

    /// Puts what the service did not take before what waits, as far as the queue allows.
    fn requeue(&mut self, unproved: VecDeque<Numbered>) {
        let newer = std::mem::replace(&mut self.queue, unproved);
        for numbered in newer {
            self.enqueue(numbered);
        }
    }

    /// A connection that was to end has ended.
    fn ended(&mut self, now: Instant, close: Option<Close>) {
        let ending = std::mem::replace(&mut self.state, State::Idle);
        let State::Ending { why, traffic, .. } = ending else { return };
        match why {
            Why::Closed => self.finish(close, traffic),
            Why::Told(reason) => {
                if !self.config.refresh {
                    self.token = None;
                }
                let ended = Ended { reason: Some(reason), close, traffic };
                self.out.push_back(Output::Event(Event::Ended(ended)));
                if !self.queue.is_empty() {
                    self.begin(now);
                }
            }
            Why::Unauthorized { attempt: Try::First, .. }
                if !self.queue.is_empty() && !matches!(self.config.auth, Auth::Header) =>
            {
                self.authorize(now, Try::Second);
            }
            Why::Unauthorized { error, number, .. } => {
                let (error, queued) = (ErrorKind::Api(*error).into(), self.queue.len());
                self.out.push_back(Output::Event(Event::Failed { error, queued, traffic }));
                // Who sends after that tries again.
                if self.queue.back().is_some_and(|newest| newest.number > number) {
                    self.begin(now);
                }
            }
        }
    }

    /// The connection is gone, and not in order.
    fn lost(&mut self, cause: ErrorKind) {
        let traffic = self.disconnect();
        let (error, queued) = (cause.into(), self.queue.len());
        self.out.push_back(Output::Event(Event::Failed { error, queued, traffic }));
    }

    /// Leaves an open connection that is over already.
    fn disconnect(&mut self) -> Traffic {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let State::Active(active) = state else { return Traffic::default() };
        if let Refresh::Asking(wanted) = active.refresh {
            self.give_up(wanted);
        }
        if !self.config.refresh {
            self.token = None;
        }
        active.traffic
    }

    /// There is no connection. What waits goes on waiting: the next message tries again.
    fn fail(&mut self, error: Error) {
        self.state = State::Idle;
        let (queued, traffic) = (self.queue.len(), Traffic::default());
        self.out.push_back(Output::Event(Event::Failed { error, queued, traffic }));
    }

    fn no_token(&self) -> Error {
        let message = format!("nobody gave a token within {:?}", self.settings.attempt_timeout);
        ErrorKind::Transport(Failure::read(FailureKind::Timeout, message)).into()
    }

    /// Wants a token no more.
    fn give_up(&mut self, wanted: Wanted) {
        if let Wanted::Mint(mut mint) = wanted {
            self.out.extend(mint.solo.stop().map(|id| Output::Abort { id }));
        }
    }

    fn finish(&mut self, close: Option<Close>, traffic: Traffic) {
        self.state = State::Over;
        let queue = std::mem::take(&mut self.queue);
        for numbered in queue.into_iter().chain(self.throttle.held.take()) {
            self.drop_message(numbered.number, WhyDropped::Closed);
        }
        self.out.push_back(Output::Done(Ok(Closed { close, traffic })));
    }
}

/// Whole milliseconds, as timers of the JS client count.
fn round_ms(time: Duration) -> u64 {
    u64::try_from((time.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}
