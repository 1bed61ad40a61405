//! The worlds behind their lock, those who wait for them, and their timer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Cut;
use super::backend::Order;
use super::body::{Body, Piece};
use super::deliver::Letter;
use super::events::{Events, Listener};
use super::gate::Gate;
use super::keeper::Pending;
use super::shape::{Line, Shaped};
use super::spool::Spool;
use super::websocket::Said;
use crate::model::{
    Control, DeliveryResult, Door, Frame, Head, KEEP_ALIVE, Model, Output, Request, Response,
    TenantId, Wire, WorkEvent,
};
use crate::world::{Settings, Start, TenantError, World, Worlds};

/// What all connections and the timer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) state: Mutex<State>,
    /// Wakes the timer when something is due earlier than it knows.
    earlier: Notify,
    /// Tells those who move a clock that a delivery or work has ended.
    delivered: Notify,
    /// Requests whose bodies are being received.
    receiving: AtomicUsize,
    listening: Box<str>,
    limits: Limits,
    spool: Arc<Spool>,
    gate: Gate,
}

/// How long what comes in may be, whoever sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) upload_bytes: u64,
    pub(crate) message_bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) worlds: Worlds,
    /// What is written down, if anything is.
    pub(super) kept: Option<Box<Pending>>,
    last_exchange: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Those who are told how many bytes of an answer may leave.
    gates: BTreeMap<u64, mpsc::UnboundedSender<u64>>,
    /// Deliveries to be made. A model has at most one for each that it remembers.
    post: mpsc::UnboundedSender<Letter>,
    /// Work to be done, and those who can be told to stop it.
    work: mpsc::UnboundedSender<Order>,
    works: BTreeMap<((TenantId, u32), u64), oneshot::Sender<()>>,
    /// When the timer wakes by itself.
    alarm: Option<Instant>,
    /// What happens, for those who look on.
    events: Arc<Events>,
    /// Whether the worlds write down what happens: somebody looks on, or did a moment ago.
    is_watched: bool,
    /// Addresses in events lead through this one.
    door: Door<'static>,
}

/// Who waits for outputs of an exchange.
#[derive(Debug)]
enum Waiting {
    Reply(oneshot::Sender<Result<Coming, Ended>>),
    Events(mpsc::Sender<Piece>),
    Frames(mpsc::Sender<Said>),
}

/// An answer that came late.
#[derive(Debug)]
enum Coming {
    Whole(Answered),
    Stream(Opened),
}

/// How a request is answered.
pub(crate) enum Answer<F> {
    Now(http::Response<Body>),
    /// Not at all.
    Over(Ended),
    Later(F),
}

/// How an exchange ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The connection is closed.
    Cut,
    /// The connection is reset.
    Reset,
}

impl Ended {
    /// What it means for a connection.
    pub(crate) fn on(self, line: &Line) -> Cut {
        if self == Self::Reset {
            line.reset();
        }
        Cut
    }
}

/// A whole answer, and who says when its bytes may leave.
#[derive(Debug)]
struct Answered {
    response: http::Response<Content>,
    gate: Option<mpsc::UnboundedReceiver<u64>>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    /// A file whose bytes are not in one place.
    Pieces(Vec<crate::model::Piece>),
}

impl Content {
    /// The bytes, of all but files.
    fn whole(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Pieces(_) => Bytes::new(),
        }
    }
}

impl Answered {
    /// The answer with a body that does with its bytes what it shall. `presence` tells the model when it is dropped.
    fn shaped(self, presence: impl FnOnce() -> Presence) -> http::Response<Body> {
        let mut response = self.response.map(|content| match content {
            Content::Whole(bytes) => Body::whole(bytes),
            Content::Pieces(pieces) => Body::pieces(pieces),
        });
        if let Some(wire) = response.extensions_mut().remove::<Wire>() {
            let presence = self.gate.is_some().then(presence);
            response = response
                .map(|body| Body::Shaped(Box::new(Shaped::new(body, wire, self.gate, presence))));
        }
        response
    }
}

/// How a handshake is answered.
pub(crate) enum Opening {
    Refused(Response),
    /// Not at all: the connection is reset.
    Reset,
    Accepted(mpsc::Receiver<Said>, Presence),
}

impl Shared {
    /// Also returns the deliveries that it wants made, and the work that it wants done.
    pub(crate) fn new(
        worlds: Worlds,
        limits: Limits,
        listening: String,
        gate: Gate,
        spool: Arc<Spool>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Letter>, mpsc::UnboundedReceiver<Order>) {
        let (post, letters) = mpsc::unbounded_channel();
        let (work, orders) = mpsc::unbounded_channel();
        let state = State {
            worlds,
            kept: None,
            last_exchange: 0,
            waiting: BTreeMap::new(),
            gates: BTreeMap::new(),
            post,
            work,
            works: BTreeMap::new(),
            alarm: None,
            events: Events::new(),
            is_watched: false,
            door: Door::Prefix { is_secure: false, authority: listening.clone().into() },
        };
        let shared = Self {
            state: Mutex::new(state),
            earlier: Notify::new(),
            delivered: Notify::new(),
            receiving: AtomicUsize::new(0),
            listening: listening.into(),
            limits,
            spool,
            gate,
        };
        (Arc::new(shared), letters, orders)
    }

    /// Host and port that the server listens on.
    pub(crate) fn listening(&self) -> &str {
        &self.listening
    }

    /// What guards the ways in and out.
    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Where long bodies are kept.
    pub(crate) const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Holds clocks that jump, until dropped: a request is on its way.
    pub(crate) fn receiving(self: &Arc<Self>) -> Receiving {
        self.receiving.fetch_add(1, Ordering::Relaxed);
        Receiving(Arc::clone(self))
    }

    /// Asks for a WebSocket.
    pub(crate) fn open(self: &Arc<Self>, request: Request<'_>) -> Opening {
        let mut state = self.lock();
        state.last_exchange += 1;
        let id = state.last_exchange;
        let tenant = state.worlds.handle_upgrade(now(), id, request);
        let mut own = Own::new(id);
        let is_earlier = state.drain(tenant, Some(&mut own));
        let opening = match (own.socket, own.reply) {
            (Some(said), _) => Opening::Accepted(said, Presence::new(self, tenant, id)),
            (None, Some(answered)) => Opening::Refused(answered.response.map(Content::whole)),
            (None, None) if own.ended.is_some() => Opening::Reset,
            (None, None) => unreachable!("a handshake is answered at once"),
        };
        drop(state);
        self.wake(is_earlier);
        opening
    }

    /// Gives a model a message of a client.
    pub(crate) fn hear(&self, presence: &Presence, frame: Frame) {
        let tenant = presence.tenant;
        self.with_worlds(tenant, |worlds, real| {
            worlds.handle_frame(real, tenant, presence.id, frame);
        });
    }

    /// Says how an attempt to deliver has ended.
    pub(crate) fn was_delivered(&self, whose: (TenantId, u32), id: u64, result: DeliveryResult) {
        self.with_worlds(whose.0, |worlds, real| {
            worlds.handle_delivered(real, whose, id, result);
        });
        self.delivered.notify_waiters();
    }

    /// Says what has come of work.
    pub(crate) fn was_worked(&self, whose: (TenantId, u32), id: u64, event: WorkEvent) {
        let is_end = event.is_end();
        if is_end {
            self.lock().works.remove(&(whose, id));
        }
        self.with_worlds(whose.0, |worlds, real| worlds.handle_work(real, whose, id, event));
        if is_end {
            self.delivered.notify_waiters();
        }
    }

    /// Asks.
    pub(crate) fn exchange(
        self: &Arc<Self>,
        request: Request<'_>,
    ) -> Answer<impl Future<Output = Result<http::Response<Body>, Ended>> + Send + use<>> {
        let mut state = self.lock();
        state.last_exchange += 1;
        let id = state.last_exchange;
        let tenant = state.worlds.handle_request(now(), id, request);
        let mut own = Own::new(id);
        let is_earlier = state.drain(tenant, Some(&mut own));
        let answer = match (own.reply, own.stream, own.ended) {
            (Some(answered), ..) => {
                Answer::Now(answered.shaped(|| Presence::new(self, tenant, id)))
            }
            (None, Some(stream), _) => Answer::Now(self.stream(tenant, id, stream)),
            (None, None, Some(ended)) => Answer::Over(ended),
            (None, None, None) => {
                let (sender, receiver) = oneshot::channel();
                state.waiting.insert(id, Waiting::Reply(sender));
                let mut presence = Presence::new(self, tenant, id);
                let receiving = own.is_held.then(|| self.receiving());
                Answer::Later(async move {
                    let coming = receiver.await.unwrap_or(Err(Ended::Cut));
                    drop(receiving);
                    presence.over();
                    let shared = &presence.shared;
                    Ok(match coming? {
                        Coming::Whole(answered) => {
                            answered.shaped(|| Presence::new(shared, tenant, id))
                        }
                        Coming::Stream(stream) => shared.stream(tenant, id, stream),
                    })
                })
            }
        };
        drop(state);
        self.wake(is_earlier);
        answer
    }

    /// The answer to a stream that was opened.
    fn stream(self: &Arc<Self>, tenant: TenantId, id: u64, stream: Opened) -> http::Response<Body> {
        let Opened { mut head, pieces, gate } = stream;
        let presence = Presence::new(self, tenant, id);
        let wire = head.extensions_mut().remove::<Wire>();
        let line = Line::default();
        let body = Body::Events { pieces, presence, ended: false, line, is_resetting: false };
        match wire {
            Some(wire) => {
                head.map(|()| Body::Shaped(Box::new(Shaped::new(body, wire, gate, None))))
            }
            None => head.map(|()| body),
        }
    }

    /// Looks at a tenant's world or changes it, then sends what follows from that. `None` if the tenant has ended.
    pub(crate) fn with_world<T>(
        &self,
        tenant: TenantId,
        f: impl FnOnce(&mut World, Instant) -> T,
    ) -> Option<T> {
        self.with_worlds(tenant, |worlds, real| worlds.get_mut(tenant).map(|world| f(world, real)))
    }

    /// The same for the model in it, whose clock has come to now. What is changed so comes from outside.
    pub(crate) fn with_model<T>(
        &self,
        tenant: TenantId,
        f: impl FnOnce(&mut Model, Instant) -> T,
    ) -> Option<T> {
        self.with_world(tenant, |world, real| {
            let now = world.input(real);
            world.model.handle_timeout(now);
            f(&mut world.model, now)
        })
    }

    /// Looks at all worlds, and sends what follows in one of them.
    pub(crate) fn with_worlds<T>(
        &self,
        tenant: TenantId,
        f: impl FnOnce(&mut Worlds, Instant) -> T,
    ) -> T {
        let mut state = self.lock();
        let result = f(&mut state.worlds, now());
        let is_earlier = state.drain(tenant, None);
        drop(state);
        self.wake(is_earlier);
        result
    }

    /// Makes a tenant; returns who it is and its key.
    pub(crate) fn add_tenant(
        &self,
        settings: &Settings,
    ) -> Result<(TenantId, String), TenantError> {
        let start = Start { real: now(), wall: SystemTime::now() };
        let idle = self.lock().worlds.idle_tenants(start.real);
        for tenant in idle {
            self.end_tenant(tenant);
        }
        let mut state = self.lock();
        let made = state.worlds.add_tenant(settings, start, crate::environment::fresh_key)?;
        state.keep_tenant(made.0, settings);
        let is_earlier = state.drain(TenantId::FIRST, None);
        drop(state);
        self.wake(is_earlier);
        Ok(made)
    }

    /// Cuts everything that a tenant has open, and forgets it. Returns whether there was one that can end.
    pub(crate) fn end_tenant(&self, tenant: TenantId) -> bool {
        if tenant == TenantId::FIRST {
            return false;
        }
        self.cut_all(tenant);
        let mut state = self.lock();
        let Some(world) = state.worlds.remove_tenant(tenant) else { return false };
        state.end_tenant(tenant, world);
        let is_earlier = state.drain(tenant, None);
        drop(state);
        self.wake(is_earlier);
        true
    }

    /// Cuts everything that a tenant has open.
    pub(crate) fn cut_all(&self, tenant: TenantId) {
        self.with_model(tenant, |model, now| {
            model.handle_control(now, Control::Restart);
            model.stop_works();
        });
    }

    /// Makes room for an upload, at the cost of the oldest file of whoever has most.
    pub(crate) fn make_room(&self) -> bool {
        let mut state = self.lock();
        let Some(tenant) = state.worlds.handle_spool_full(now()) else { return false };
        let is_earlier = state.drain(tenant, None);
        drop(state);
        self.wake(is_earlier);
        true
    }

    /// Moves a clock on, event by event, until it shows `to` or `is_done` says so. Deliveries are made on the way, and
    /// time waits for them. Returns how many events there were; `None` if the tenant has ended.
    pub(crate) async fn advance(
        &self,
        tenant: TenantId,
        to: impl Fn(&World, Instant) -> Option<Instant>,
        is_done: impl Fn(&World) -> bool,
    ) -> Option<u64> {
        let mut events = 0;
        loop {
            let delivered = self.delivered.notified();
            let (steps, is_over) = {
                let mut state = self.lock();
                let real = now();
                let mut steps = 0;
                let is_over = loop {
                    let world = state.worlds.get(tenant)?;
                    if world.is_outside() {
                        break false;
                    }
                    let Some(to) = to(world, real).filter(|_| !is_done(world)) else { break true };
                    let is_there = state.worlds.step(real, tenant, to);
                    let is_earlier = state.drain(tenant, None);
                    self.wake(is_earlier);
                    if is_there {
                        break true;
                    }
                    steps += 1;
                    // Others may want the lock too.
                    if steps == STEPS_AT_ONCE {
                        break false;
                    }
                };
                (steps, is_over)
            };
            events += steps;
            if is_over {
                return Some(events);
            }
            match steps == STEPS_AT_ONCE {
                true => tokio::task::yield_now().await,
                false => delivered.await,
            }
        }
    }

    /// Writes down a request that reached nobody's world.
    pub(crate) fn note(&self, method: &Method, host: &str, path: &str, status: StatusCode) {
        let mut state = self.lock();
        state.worlds.note(now(), method, host, path, status);
        state.gather_requests(TenantId::FIRST);
        state.publish(TenantId::FIRST);
    }

    /// Somebody wants to see what happens, to one tenant or to all, and has read up to an event before. `None` if too
    /// many do.
    pub(crate) fn listen(
        &self,
        tenant: Option<TenantId>,
        last_id: Option<&str>,
    ) -> Option<Listener> {
        let mut state = self.lock();
        if !state.is_watched {
            state.worlds.watch(true);
            state.is_watched = true;
        }
        state.events.listen(tenant, last_id)
    }

    /// Sleeps until something is due, for ever.
    pub(crate) async fn run_timer(self: Arc<Self>) {
        loop {
            let alarm = {
                let mut state = self.lock();
                let real = now();
                let is_busy = self.receiving.load(Ordering::Relaxed) > 0;
                while let Some(tenant) = state.worlds.handle_timeout(real, is_busy) {
                    // What is due next is where the alarm is set, so nothing is earlier than it.
                    let _ = state.drain(tenant, None);
                }
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

    pub(super) fn wake(&self, is_earlier: bool) {
        if is_earlier {
            self.earlier.notify_one();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a bug of ours; other tests in the process may still finish.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the exchange that is being asked for gets at once.
pub(super) struct Own {
    pub(super) id: u64,
    reply: Option<Answered>,
    stream: Option<Opened>,
    ended: Option<Ended>,
    socket: Option<mpsc::Receiver<Said>>,
    /// Whether its answer comes when what it tells is safe.
    pub(super) is_held: bool,
}

/// A stream that was opened.
#[derive(Debug)]
struct Opened {
    head: Head,
    pieces: mpsc::Receiver<Piece>,
    gate: Option<mpsc::UnboundedReceiver<u64>>,
}

impl Own {
    const fn new(id: u64) -> Self {
        Self { id, reply: None, stream: None, ended: None, socket: None, is_held: false }
    }
}

impl State {
    /// Hands out everything that a world has to say. Returns whether the alarm moved to earlier.
    pub(super) fn drain(&mut self, tenant: TenantId, mut own: Option<&mut Own>) -> bool {
        loop {
            let output = self.next_output(tenant, own.as_deref_mut());
            if let Output::Wait { .. } = output {
                let next = self.worlds.next_alarm();
                let is_earlier =
                    next.is_some_and(|next| self.alarm.is_none_or(|alarm| next < alarm));
                self.alarm = next;
                self.publish(tenant);
                return is_earlier;
            }
            self.hand_out(tenant, output, own.as_deref_mut());
        }
    }

    /// Hands out one thing that a world says.
    pub(super) fn hand_out(&mut self, tenant: TenantId, output: Output, own: Option<&mut Own>) {
        match output {
            Output::Reply { id, response } => {
                self.answered(id, own, response.map(Content::Whole));
            }
            Output::Serve { id, head, pieces } => {
                self.answered(id, own, head.map(|()| Content::Pieces(pieces)));
            }
            Output::Stream { id, head } => {
                let (sender, pieces) = mpsc::channel(EVENTS_MAX);
                let gate = self.gate(id, head.extensions());
                let stream = Opened { head, pieces, gate };
                let waiter = self.waiting.insert(id, Waiting::Events(sender));
                match (own, waiter) {
                    (_, Some(Waiting::Reply(waiter))) => {
                        // Who has gone in this moment needs no answer.
                        let _ = waiter.send(Ok(Coming::Stream(stream)));
                    }
                    (Some(own), _) => own.stream = Some(stream),
                    (None, _) => {}
                }
            }
            Output::Event { id, bytes } => self.send(id, Piece::Event(bytes)),
            Output::End { id } => {
                self.send(id, Piece::End);
                self.waiting.remove(&id);
            }
            Output::Cut { id } => self.ended(id, own, Ended::Cut),
            Output::Reset { id } => self.ended(id, own, Ended::Reset),
            Output::Release { id, bytes } => {
                let is_all = bytes == u64::MAX;
                if let Some(gate) = self.gates.get(&id)
                    && (gate.send(bytes).is_err() || is_all)
                {
                    self.gates.remove(&id);
                }
            }
            Output::Accept { id } => {
                let (sender, said) = mpsc::channel(FRAMES_MAX);
                self.waiting.insert(id, Waiting::Frames(sender));
                if let Some(own) = own {
                    own.socket = Some(said);
                }
            }
            Output::Frame { id, frame } => self.say(id, Said::Frame(frame)),
            Output::Close { id, code, reason } => {
                self.say(id, Said::Close { code, reason });
                self.waiting.remove(&id);
            }
            Output::Deliver { id, url, headers, body, time_max } => {
                let whose = self.whose(tenant);
                // Without a postman the mock is being dropped.
                let _ = self.post.send(Letter { whose, id, url, headers, body, time_max });
            }
            Output::Work { id, work } => {
                let (stop, stopped) = oneshot::channel();
                let whose = self.whose(tenant);
                self.works.insert((whose, id), stop);
                // Without workers the mock is being dropped.
                let _ = self.work.send(Order { whose, id, work, stopped });
            }
            Output::StopWork { id } => {
                if let Some(stop) = self.works.remove(&(self.whose(tenant), id)) {
                    // It may have ended in this moment.
                    let _ = stop.send(());
                }
            }
            Output::Wait { .. } => {}
        }
    }

    /// A tenant, and which of its services it has now.
    pub(super) fn whose(&self, tenant: TenantId) -> (TenantId, u32) {
        (tenant, self.worlds.get(tenant).map_or(0, World::generation))
    }

    /// Tells those who look on what has changed in a world.
    fn publish(&mut self, tenant: TenantId) {
        if !self.is_watched {
            return;
        }
        let real = now();
        if !self.events.is_needed(real) {
            self.worlds.watch(false);
            self.is_watched = false;
            return;
        }
        let events = &self.events;
        self.worlds.tell_news(real, tenant, &self.door, |news| events.publish(&news));
    }

    /// Hands out a whole answer, to the request that is being asked or to one that waits.
    fn answered(&mut self, id: u64, own: Option<&mut Own>, response: http::Response<Content>) {
        let gate = self.gate(id, response.extensions());
        let answered = Answered { response, gate };
        match own {
            Some(own) if own.id == id => own.reply = Some(answered),
            _ => {
                if let Some(Waiting::Reply(sender)) = self.waiting.remove(&id) {
                    // Who has gone in this moment needs no answer.
                    let _ = sender.send(Ok(Coming::Whole(answered)));
                }
            }
        }
    }

    /// Who will say when the bytes of an answer may leave, if they may not yet.
    fn gate(
        &mut self,
        id: u64,
        extensions: &http::Extensions,
    ) -> Option<mpsc::UnboundedReceiver<u64>> {
        extensions.get::<Wire>()?.gate?;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.gates.insert(id, sender);
        Some(receiver)
    }

    fn ended(&mut self, id: u64, own: Option<&mut Own>, ended: Ended) {
        self.gates.remove(&id);
        match (own, self.waiting.remove(&id)) {
            (Some(own), None) if own.id == id => own.ended = Some(ended),
            // Without a word all of them take it for a cut.
            (_, Some(waiting)) if ended == Ended::Reset => match waiting {
                Waiting::Reply(sender) => _ = sender.send(Err(ended)),
                Waiting::Events(sender) => _ = sender.try_send(Piece::Reset),
                Waiting::Frames(sender) => _ = sender.try_send(Said::Reset),
            },
            _ => {}
        }
    }

    fn send(&mut self, id: u64, piece: Piece) {
        if let Some(Waiting::Events(sender)) = self.waiting.get(&id) {
            // A clock that jumps over an hour leaves hundreds of comments against a silence that nobody heard.
            let is_comment = matches!(&piece, Piece::Event(bytes) if *bytes == KEEP_ALIVE);
            if is_comment && sender.capacity() < EVENTS_MAX / 2 {
                return;
            }
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
}

/// Holds clocks that jump.
#[derive(Debug)]
pub(crate) struct Receiving(Arc<Shared>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Dropped when a waiting peer goes away, which the model is then told.
#[derive(Debug)]
pub(crate) struct Presence {
    shared: Arc<Shared>,
    tenant: TenantId,
    id: u64,
    is_over: bool,
}

impl Presence {
    fn new(shared: &Arc<Shared>, tenant: TenantId, id: u64) -> Self {
        Self { shared: Arc::clone(shared), tenant, id, is_over: false }
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
        state.gates.remove(&self.id);
        state.worlds.handle_gone(now(), self.tenant, self.id);
        let is_earlier = state.drain(self.tenant, None);
        drop(state);
        self.shared.wake(is_earlier);
    }
}

/// The clock of the runtime: real, or paused by a test.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Events of one stream that wait for a slow reader.
const EVENTS_MAX: usize = 256;

/// Messages of one WebSocket that wait for a slow reader.
const FRAMES_MAX: usize = 256;

/// Events that a clock passes before others get a turn.
const STEPS_AT_ONCE: u64 = 1000;
