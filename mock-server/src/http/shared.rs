//! The model behind its lock, those who wait for it, and its timer.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, StatusCode};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Cut;
use super::body::{Body, Piece};
use super::deliver::Letter;
use super::gate::Gate;
use super::spool::Spool;
use super::websocket::Said;
use crate::model::{Frame, Head, Model, Output, Request, Response};

/// What all connections and the timer share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the timer when something is due earlier than it knows.
    earlier: Notify,
    listening: Box<str>,
    body_bytes_max: usize,
    upload_bytes_max: u64,
    spool: Arc<Spool>,
    gate: Gate,
    message_bytes_max: usize,
}

#[derive(Debug)]
struct State {
    model: Model,
    last_exchange: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Deliveries to be made. The model has at most one for each that it remembers.
    post: mpsc::UnboundedSender<Letter>,
    /// When the timer wakes by itself.
    alarm: Option<Instant>,
    seen: VecDeque<Seen>,
    /// The number of the last entry.
    seen_last: u64,
}

/// Who waits for outputs of an exchange.
#[derive(Debug)]
enum Waiting {
    /// With the number of the request's entry in the list of those seen.
    Reply(oneshot::Sender<Response>, u64),
    Events(mpsc::Sender<Piece>),
    Frames(mpsc::Sender<Said>),
}

/// A request that the mock has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The host that it was for and its path: `queue.fal.run/fal-ai/flux/dev`. No query.
    pub address: String,
    /// The status of the answer; 0 while there is none.
    pub status: u16,
}

/// How a request is answered.
pub(crate) enum Answer<F> {
    Now(Response),
    /// A file whose bytes are not in one place.
    Pieces(http::Response<Vec<crate::model::Piece>>),
    /// Not at all.
    Cut,
    Stream(http::Response<Body>),
    Later(F),
}

/// How a handshake is answered.
pub(crate) enum Opening {
    Refused(Response),
    Accepted(mpsc::Receiver<Said>, Presence),
}

impl Shared {
    /// Also returns the deliveries that it wants made.
    pub(crate) fn new(
        model: Model,
        listening: String,
        gate: Gate,
        spool: Arc<Spool>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Letter>) {
        let (post, letters) = mpsc::unbounded_channel();
        let body_bytes_max = model.config().body_bytes_max;
        let upload_bytes_max = model.config().upload_bytes_max;
        let message_bytes_max = model.config().realtime.message_bytes_max;
        let state = State {
            model,
            last_exchange: 0,
            waiting: BTreeMap::new(),
            post,
            alarm: None,
            seen: VecDeque::new(),
            seen_last: 0,
        };
        let shared = Self {
            state: Mutex::new(state),
            earlier: Notify::new(),
            listening: listening.into(),
            body_bytes_max,
            upload_bytes_max,
            spool,
            gate,
            message_bytes_max,
        };
        (Arc::new(shared), letters)
    }

    /// Host and port that the server listens on.
    pub(crate) fn listening(&self) -> &str {
        &self.listening
    }

    /// What guards the ways in and out.
    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) const fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    pub(crate) const fn upload_bytes_max(&self) -> u64 {
        self.upload_bytes_max
    }

    /// Where long bodies are kept.
    pub(crate) const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Longest message of a client on a WebSocket.
    pub(crate) const fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// Asks the model for a WebSocket.
    pub(crate) fn open(self: &Arc<Self>, request: Request<'_>) -> Opening {
        let mut state = self.lock();
        state.last_exchange += 1;
        let id = state.last_exchange;
        state.note(request.method, request.host.name(), request.path, 0);
        state.model.handle_upgrade(now(), id, request);
        let mut own = Own::new(id);
        let is_earlier = state.drain(Some(&mut own));
        let number = state.seen_last;
        let opening = match (own.socket, own.reply) {
            (Some(said), _) => {
                state.answered(number, StatusCode::SWITCHING_PROTOCOLS);
                Opening::Accepted(said, Presence::new(self, id))
            }
            (None, Some(response)) => {
                state.answered(number, response.status());
                Opening::Refused(response)
            }
            (None, None) => unreachable!("a handshake is answered at once"),
        };
        drop(state);
        self.wake(is_earlier);
        opening
    }

    /// Gives the model a message of a client.
    pub(crate) fn hear(&self, id: u64, frame: Frame) {
        self.with_model(|model, now| model.handle_frame(now, id, frame));
    }

    /// Asks the model.
    pub(crate) fn exchange(
        self: &Arc<Self>,
        request: Request<'_>,
    ) -> Answer<impl Future<Output = Result<Response, Cut>> + use<>> {
        let mut state = self.lock();
        state.last_exchange += 1;
        let id = state.last_exchange;
        // Noted before the answer, so that requests stand in the order in which they came.
        state.note(request.method, request.host.name(), request.path, 0);
        state.model.handle_request(now(), id, request);
        let mut own = Own::new(id);
        let is_earlier = state.drain(Some(&mut own));
        let answer = match (own.reply, own.stream) {
            (Some(response), _) => {
                let number = state.seen_last;
                state.answered(number, response.status());
                Answer::Now(response)
            }
            (None, Some((head, pieces))) => {
                let number = state.seen_last;
                state.answered(number, head.status());
                let body = Body::Events { pieces, presence: Presence::new(self, id), ended: false };
                Answer::Stream(head.map(|()| body))
            }
            (None, None) if own.is_cut => Answer::Cut,
            (None, None) if own.pieces.is_some() => {
                let number = state.seen_last;
                let pieces = own.pieces.take().unwrap_or_default();
                state.answered(number, pieces.status());
                Answer::Pieces(pieces)
            }
            (None, None) => {
                let (sender, receiver) = oneshot::channel();
                let number = state.seen_last;
                state.waiting.insert(id, Waiting::Reply(sender, number));
                let mut presence = Presence::new(self, id);
                Answer::Later(async move {
                    let answer = receiver.await.map_err(|_| Cut);
                    presence.over();
                    answer
                })
            }
        };
        drop(state);
        self.wake(is_earlier);
        answer
    }

    /// Looks at the model or changes it, then sends what follows from that.
    pub(crate) fn with_model<T>(&self, f: impl FnOnce(&mut Model, Instant) -> T) -> T {
        let mut state = self.lock();
        let result = f(&mut state.model, now());
        let is_earlier = state.drain(None);
        drop(state);
        self.wake(is_earlier);
        result
    }

    /// Writes down a request that did not reach the model.
    pub(crate) fn note(&self, method: &Method, host: &str, path: &str, status: StatusCode) {
        self.lock().note(method, host, path, status.as_u16());
    }

    /// The last requests, the oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.iter().cloned().collect()
    }

    /// Sleeps until something is due, for ever.
    pub(crate) async fn run_timer(self: Arc<Self>) {
        loop {
            let alarm = {
                let mut state = self.lock();
                state.model.handle_timeout(now());
                // What is due next is where the alarm is set, so nothing is earlier than it.
                let _ = state.drain(None);
                state.alarm
            };
            let rest = async {
                match alarm {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rest => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    fn wake(&self, is_earlier: bool) {
        if is_earlier {
            self.earlier.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a bug of ours; other tests in the process may still finish.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the exchange that is being asked for gets at once.
struct Own {
    id: u64,
    reply: Option<Response>,
    stream: Option<(Head, mpsc::Receiver<Piece>)>,
    pieces: Option<http::Response<Vec<crate::model::Piece>>>,
    is_cut: bool,
    socket: Option<mpsc::Receiver<Said>>,
}

impl Own {
    const fn new(id: u64) -> Self {
        Self { id, reply: None, stream: None, pieces: None, is_cut: false, socket: None }
    }
}

impl State {
    /// Hands out everything that the model has to say. Returns whether the alarm moved to earlier.
    fn drain(&mut self, mut own: Option<&mut Own>) -> bool {
        loop {
            match self.model.poll_output() {
                Output::Reply { id, response } => match own.as_mut() {
                    Some(own) if own.id == id => own.reply = Some(response),
                    _ => {
                        if let Some(Waiting::Reply(sender, number)) = self.waiting.remove(&id) {
                            self.answered(number, response.status());
                            // Who has gone in this moment needs no answer.
                            let _ = sender.send(response);
                        }
                    }
                },
                Output::Stream { id, head } => {
                    let (sender, pieces) = mpsc::channel(EVENTS_MAX);
                    self.waiting.insert(id, Waiting::Events(sender));
                    if let Some(own) = own.as_mut() {
                        own.stream = Some((head, pieces));
                    }
                }
                Output::Event { id, bytes } => self.send(id, Piece::Event(bytes)),
                Output::End { id } => {
                    self.send(id, Piece::End);
                    self.waiting.remove(&id);
                }
                // Only asked for files, which are at hand or not there.
                Output::Serve { id, head, pieces } => {
                    if let Some(own) = own.as_mut().filter(|own| own.id == id) {
                        own.pieces = Some(head.map(|()| pieces));
                    }
                }
                Output::Cut { id } => match own.as_mut() {
                    Some(own) if own.id == id => own.is_cut = true,
                    _ => {
                        self.waiting.remove(&id);
                    }
                },
                Output::Accept { id } => {
                    let (sender, said) = mpsc::channel(FRAMES_MAX);
                    self.waiting.insert(id, Waiting::Frames(sender));
                    if let Some(own) = own.as_mut() {
                        own.socket = Some(said);
                    }
                }
                Output::Frame { id, frame } => self.say(id, Said::Frame(frame)),
                Output::Close { id, code, reason } => {
                    self.say(id, Said::Close { code, reason });
                    self.waiting.remove(&id);
                }
                Output::Deliver { id, url, headers, body, time_max } => {
                    // Without a postman the mock is being dropped.
                    let _ = self.post.send(Letter { id, url, headers, body, time_max });
                }
                Output::Wait { until } => {
                    let is_earlier =
                        until.is_some_and(|until| self.alarm.is_none_or(|alarm| until < alarm));
                    self.alarm = until;
                    return is_earlier;
                }
            }
        }
    }

    fn send(&mut self, id: u64, piece: Piece) {
        if let Some(Waiting::Events(sender)) = self.waiting.get(&id) {
            // Whoever is this far behind is cut: memory is bounded, and a stream can be opened again.
            if sender.try_send(piece).is_err() {
                self.waiting.remove(&id);
            }
        }
    }

    fn say(&mut self, id: u64, said: Said) {
        if let Some(Waiting::Frames(sender)) = self.waiting.get(&id) {
            // As with events: whoever is this far behind is cut.
            if sender.try_send(said).is_err() {
                self.waiting.remove(&id);
            }
        }
    }

    fn note(&mut self, method: &Method, host: &str, path: &str, status: u16) {
        // The oldest entry's buffer is used again, so a full list allocates nothing.
        let mut address = match self.seen.len() < SEEN_MAX {
            true => String::with_capacity(host.len() + path.len()),
            false => self.seen.pop_front().map(|seen| seen.address).unwrap_or_default(),
        };
        address.clear();
        address.push_str(host);
        address.push_str(path);
        self.seen_last += 1;
        self.seen.push_back(Seen { method: method.clone(), address, status });
    }

    /// Completes an entry, if it is still there.
    fn answered(&mut self, number: u64, status: StatusCode) {
        let from_end = usize::try_from(self.seen_last - number).unwrap_or(usize::MAX);
        let at = self.seen.len().checked_sub(1).and_then(|last| last.checked_sub(from_end));
        if let Some(seen) = at.and_then(|at| self.seen.get_mut(at)) {
            seen.status = status.as_u16();
        }
    }
}

/// Dropped when a waiting peer goes away, which the model is then told.
#[derive(Debug)]
pub(crate) struct Presence {
    shared: Arc<Shared>,
    id: u64,
    is_over: bool,
}

impl Presence {
    fn new(shared: &Arc<Shared>, id: u64) -> Self {
        Self { shared: Arc::clone(shared), id, is_over: false }
    }

    /// The exchange.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// The exchange has ended; the model knows.
    pub(crate) const fn over(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.shared.lock();
        state.waiting.remove(&self.id);
        state.model.handle_gone(now(), self.id);
        let is_earlier = state.drain(None);
        drop(state);
        self.shared.wake(is_earlier);
    }
}

/// The clock of the runtime: real, or paused by a test.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Events of one stream that wait for a slow reader.
const EVENTS_MAX: usize = 256;

/// Messages of one WebSocket that wait for a slow reader.
const FRAMES_MAX: usize = 256;

/// Requests that are remembered.
pub(crate) const SEEN_MAX: usize = 10_000;
