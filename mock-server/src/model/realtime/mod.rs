//! Sessions: a WebSocket for each, inputs in, outputs out, until nobody sends any more.
//!
//! Moves of a session:
//!
//! | From | Event | To |
//! |---|---|---|
//! | (none) | handshake with a good key or token | open |
//! | (none) | handshake with a bad token, refused inside the session | (none): accepted, told, closed |
//! | open | no input for the session timeout, nothing to finish | (none): told, closed with 1000 |
//! | open | the same, with inputs to finish | draining |
//! | open | the last output of a stream | (none): told, closed with 1000 |
//! | draining | the last output | (none): told, closed with 1000 |
//! | draining | another session timeout, in unary mode | (none): told of a failure, closed with 1000 |
//! | open, draining | an input that is none or is invalid | (none): told of a failure, closed with 1000 |
//! | open, draining | the token runs out, if that cuts | (none): told, closed with 1008 |
//! | open, draining | the client closes | (none): closed with the same code, 1000 if it has none |
//! | open, draining | the client is gone, restart | (none) |

mod codec;
mod config;
mod output;
mod session;

use std::time::Instant;

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::StatusCode;

use super::auth::Denied;
use super::exchange::{Host, Request, Response};
use super::ledger::CallWay;
use super::plan::backend_of;
use super::{Model, Open, app_of, reply, run};
use crate::scenario::Play;

pub use config::{
    INPUT_TIME, MESSAGE_BYTES_MAX, OutputCodec, RealtimeConfig, RealtimeMode, SESSION_TIMEOUT,
    SESSIONS_MAX, TokenRefusal,
};
pub use output::FrameDraft;
pub use session::INPUTS_WAITING_MAX;
pub(crate) use session::Session;

use session::Start;

/// One message of a WebSocket, whole.
///
/// Exhaustive on purpose: a shell must handle every shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a shell must handle every shape")]
pub enum Frame {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The peer is done; with its code, if it gave one.
    Close(Option<u16>),
}

/// What happens to the next input of any session in place of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageFailure {
    /// The app fails: `INTERNAL_ERROR` with this reason, and the session is closed with 1000.
    Error(Box<str>),
    /// The session is closed; without a code a client sees 1005.
    Close {
        /// Such as 1011.
        code: Option<u16>,
        /// Up to 123 bytes; more is cut off.
        reason: Box<str>,
    },
    /// The connection is dropped without a word; a client sees 1006.
    Drop,
    /// This comes in place of the output, such as a message of an unknown kind.
    Say(Frame),
    /// Nothing comes.
    Silence,
}

/// What can be seen of an open session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionView {
    /// Its number, for [`Control`](super::Control)s.
    pub session: u64,
    /// The endpoint with its whole path, such as `acme/app/realtime`.
    pub endpoint: String,
    /// Its mode.
    pub mode: RealtimeMode,
    /// Inputs that came.
    pub inputs: u64,
    /// Outputs that went out.
    pub outputs: u64,
    /// Inputs that were dropped for newer ones.
    pub dropped: u64,
    /// Inputs that wait or are worked on.
    pub waiting: usize,
}

impl Model {
    /// A request for a WebSocket has arrived. `id` names its exchange in the outputs and must be new.
    ///
    /// It is answered by [`Output::Reply`](super::Output::Reply), which refuses it, or by
    /// [`Output::Accept`](super::Output::Accept).
    pub fn handle_upgrade(&mut self, now: Instant, id: u64, request: Request<'_>) {
        self.advance(now);
        if self.meet(id, &request, true) {
            return self.settle(now);
        }
        let refused = match request.host {
            Host::Run => self.open_session(id, &request),
            Host::Ws => self.open_front(id, &request),
            Host::Queue | Host::Rest | Host::Cdn | Host::Gcs | Host::Api | Host::Site => {
                let detail = "There is no WebSocket here";
                Some(reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), detail))
            }
        };
        if let Some(response) = refused {
            self.out.push_back(super::Output::Reply { id, response });
        }
        self.settle(now);
    }

    /// A message has arrived on an accepted WebSocket. Those that crossed its end change nothing.
    pub fn handle_frame(&mut self, now: Instant, id: u64, frame: Frame) {
        self.advance(now);
        match self.open.get(&id) {
            Some(Open::Session(_)) => self.session_frame(id, &frame),
            Some(Open::Front(_)) => self.front_frame(id, frame),
            _ => {}
        }
        self.settle(now);
    }

    /// The open sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        let session = |(id, open): (&u64, &Open)| match open {
            Open::Session(session) => Some(session.view(*id)),
            _ => None,
        };
        self.open.iter().filter_map(session).collect()
    }

    /// Answers a handshake on the run host; `None` if it was accepted.
    fn open_session(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        let path = request.path.trim_matches('/');
        // The Python client doubles the word for ids that end so already.
        let is_doubled = path.ends_with("/realtime/realtime");
        let Some(endpoint) = EndpointId::parse(path).ok().filter(|_| !is_doubled) else {
            let detail = format!("Application \"{path}\" not found");
            return Some(reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), &detail));
        };
        if endpoint.path().is_some_and(|path| path == "webrtc" || path.ends_with("/webrtc")) {
            return Some(reply::not_emulated(self.mint_other(), "WebRTC signalling"));
        }
        if let Some(refusal) = self.unknown_app(&endpoint) {
            return Some(refusal);
        }
        let play = self.play.as_ref();
        let is_worked = |play: &Play| backend_of(play, None, endpoint.as_str()).is_some();
        if play.is_some_and(|play| is_worked(play)) {
            let what = "realtime sessions in front of a back end of one's own (http, exec)";
            return Some(reply::not_emulated(self.mint_other(), what));
        }
        if let Some(failure) = self.refuse_next.pop_front() {
            return Some(reply::failure(self.mint_other(), &failure));
        }
        let expires = match self.admit(request, &endpoint) {
            Ok(expires) => expires.filter(|_| self.config.realtime.cut_expired),
            Err(denied) => return self.refuse_session(exchange, &endpoint, denied),
        };
        let max_buffering = match request.parameter("max_buffering") {
            None => None,
            Some(text) => match text.parse().ok().filter(|n| (1..=BUFFERING_MAX).contains(n)) {
                Some(n) => Some(n),
                None => {
                    let detail =
                        format!("max_buffering must be a whole number from 1 to {BUFFERING_MAX}");
                    let status = StatusCode::UNPROCESSABLE_ENTITY;
                    return Some(reply::refuse(status, self.mint_other(), &detail));
                }
            },
        };
        let has_room = self.sessions_open < self.config.realtime.sessions_max;
        if !has_room || !self.has_room(endpoint.app()) {
            return Some(reply::failure(self.mint_other(), &run::too_many()));
        }
        self.counters.sessions += 1;
        self.sessions_open += 1;
        app_of(&mut self.apps, endpoint.app()).running += 1;
        self.out.push_back(super::Output::Accept { id: exchange });
        let id = self.mint_other();
        let ledger = self.ledger.opened(self.now, CallWay::Realtime, &endpoint, id);
        let start = Start { request, max_buffering, expires, ledger };
        let session = Session::new(endpoint, &self.config.realtime, start, self.now);
        self.open.insert(exchange, Open::Session(Box::new(session)));
        self.session_on(exchange);
        None
    }

    /// Refuses a session as the switch says; a header that is no credential always before it begins.
    fn refuse_session(
        &mut self,
        exchange: u64,
        endpoint: &EndpointId,
        denied: Denied,
    ) -> Option<Response> {
        let status = denied.status();
        let is_of_token = matches!(denied, Denied::Token | Denied::Missing);
        if is_of_token && self.config.realtime.refusal == TokenRefusal::InSession {
            self.out.push_back(super::Output::Accept { id: exchange });
            self.out
                .push_back(super::Output::Frame { id: exchange, frame: output::unauthorized() });
            let reason = "Unauthorized".into();
            let code = Some(POLICY_VIOLATION);
            self.out.push_back(super::Output::Close { id: exchange, code, reason });
            return None;
        }
        let text = match is_of_token {
            true => Denied::Token.text(None),
            false => denied.text(Some(endpoint.app())),
        };
        Some(reply::refuse(status, self.mint_other(), &text))
    }
}

/// The largest value of `max_buffering`.
///
/// Source: `realtime.ts` of `@fal-ai/client` 1.10.1 (official client source).
const BUFFERING_MAX: usize = 60;

/// Close codes, from RFC 6455.
pub(crate) const NORMAL: u16 = 1000;
pub(crate) const POLICY_VIOLATION: u16 = 1008;
