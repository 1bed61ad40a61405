//! The worlds of all tenants: for each a service of its own, with its clock and its journal.
//!
//! Pure like the model: real time is an argument. A request finds its world by its key; whatever names nobody is for
//! the first tenant, who is always there. [`Clock`] turns real time into that of the world, which is all that the
//! model knows.

mod clock;
mod find;
mod journal;
mod keep;
mod news;
mod scroll;
mod snapshot;
mod tenant;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::model::{
    Catalog, Config, DeliveryResult, Frame, Host, JobState, KEY_SET_PATH, KeyDigest, Model, Output,
    Piece, Request, RequestId, TenantId, WorkEvent,
};

use crate::replay::Player;
use crate::scenario::Scenario;

pub use clock::{ClockMode, SCALE_MAX, SCALE_MIN};
pub use journal::Seen;
pub(crate) use snapshot::SNAPSHOTS_MAX;
pub use tenant::{
    Settings, TENANT_IDLE_MAX, TENANTS_KEPT_IDLE, TENANTS_MAX, TenantError, TenantView,
};

pub(crate) use clock::Clock;
pub(crate) use journal::{Entry, Journal, Message};
pub(crate) use keep::TENANT;
pub(crate) use news::{News, What};

use journal::Said;
use news::{Heard, TenantNews};

/// The worlds of all tenants.
#[derive(Debug)]
pub(crate) struct Worlds {
    all: BTreeMap<TenantId, World>,
    /// By what keys are known again: they themselves are forgotten.
    keys: HashMap<KeyDigest, TenantId>,
    /// What further tenants start with.
    base: Config,
    base_mode: ClockMode,
    last: TenantId,
    /// When a world wants to be woken, in real time.
    alarms: BTreeSet<(Instant, TenantId)>,
    /// Tenants that came and went, if somebody wants to know.
    tenant_news: Option<Vec<TenantNews>>,
}

/// One tenant's world.
pub(crate) struct World {
    name: Box<str>,
    pub(crate) model: Model,
    /// Answers from recordings in place of the model, if there are any.
    player: Option<Player>,
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    /// The real time at which something last came from outside.
    last_input: Instant,
    /// The same for requests.
    last_request: Instant,
    /// Whether something may have been planned since it was last found that time brings nothing.
    may_progress: bool,
    deliveries_under_way: usize,
    /// Counts the services that this world has had: what a delivery of an earlier one comes to is nobody's news.
    generation: u32,
    /// What its scenario consists of: that of the command line, and one on top.
    scenario_base: Option<Arc<Scenario>>,
    scenario_layer: Option<Scenario>,
    snapshots: BTreeMap<Box<str>, (Model, Option<Player>)>,
    /// The exchange that is being asked for, and its number in the journal.
    current: Option<(u64, u64)>,
    /// The same for those that wait.
    waiting: BTreeMap<u64, u64>,
    alarm: Option<Instant>,
    /// The last second that an answer was dated, and how that is written.
    date: Option<(u64, HeaderValue)>,
    /// What is to be told, if somebody wants to know.
    heard: Option<Heard>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("name", &self.name).finish_non_exhaustive()
    }
}

impl World {
    fn new(name: &str, config: Config, mode: ClockMode, start: Start) -> Self {
        Self {
            name: name.into(),
            scenario_base: config.scenario.clone(),
            scenario_layer: None,
            player: Player::of(&config, start.real),
            model: Model::new(config, start.real, start.wall),
            clock: Clock::new(mode, start.real),
            journal: Journal::default(),
            last_input: start.real,
            last_request: start.real,
            may_progress: true,
            deliveries_under_way: 0,
            generation: 0,
            snapshots: BTreeMap::new(),
            current: None,
            waiting: BTreeMap::new(),
            alarm: None,
            date: None,
            heard: None,
        }
    }

    /// Something comes from outside: its time by the clock of this world.
    pub(crate) fn input(&mut self, real: Instant) -> Instant {
        self.last_input = real;
        self.may_progress = true;
        self.clock.at(real)
    }

    /// Lets what is due by now happen, without anything from outside.
    pub(crate) fn tick_to(&mut self, real: Instant) {
        self.pass(self.clock.at(real));
    }

    /// Lets what is due by an instant happen.
    fn pass(&mut self, now: Instant) {
        if let Some(player) = &mut self.player {
            player.handle_timeout(now);
            while let Some(news) = player.poll_news() {
                self.model.announce_result(now, news.id, &news.url, &news.response);
            }
        }
        self.model.handle_timeout(now);
    }

    /// Whether a job has yet to end; `None` if there is none of this id.
    pub(crate) fn is_open(&self, id: RequestId) -> Option<bool> {
        let job = self.model.job(id);
        let is_open = job.map(|job| matches!(job.state, JobState::Queued | JobState::Running));
        is_open.or_else(|| self.player.as_ref()?.is_open(id))
    }

    fn has_output(&self) -> bool {
        self.model.has_output() || self.player.as_ref().is_some_and(Player::has_output)
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let recorded = self.player.as_ref().and_then(Player::next_due);
        self.model.next_due().into_iter().chain(recorded).min()
    }

    /// The same where somebody gets on by it.
    pub(crate) fn next_progress(&self) -> Option<Instant> {
        let recorded = self.player.as_ref().and_then(Player::next_progress);
        self.model.next_progress().into_iter().chain(recorded).min()
    }

    /// Plays a scenario on top of that of the command line, or that one alone, from the start.
    pub(crate) fn set_scenario_layer(&mut self, real: Instant, layer: Option<Scenario>) {
        self.scenario_layer = layer;
        self.play_anew(real);
    }

    /// The same on top of what lies on top already.
    pub(crate) fn add_scenario_layer(&mut self, real: Instant, layer: Scenario) {
        let layer = match self.scenario_layer.take() {
            Some(below) => Scenario::layered([&below, &layer]),
            None => layer,
        };
        self.set_scenario_layer(real, Some(layer));
    }

    fn play_anew(&mut self, real: Instant) {
        self.input(real);
        self.tick_to(real);
        let scenario = match (&self.scenario_base, &self.scenario_layer) {
            (base, None) => base.clone(),
            (None, Some(layer)) => Some(Arc::new(layer.clone())),
            (Some(base), Some(layer)) => Some(Arc::new(Scenario::layered([&**base, layer]))),
        };
        self.model.set_scenario(scenario);
        // What the one before has done is counted no more.
        self.tell_reset();
    }

    /// What a clock on the wall would show.
    pub(crate) fn wall(&self, real: Instant) -> SystemTime {
        self.model.wall(self.clock.at(real).max(self.model.now()))
    }

    /// Names the service that it has now.
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether time has to wait for something outside: a delivery or the work of a back end.
    pub(crate) fn is_outside(&self) -> bool {
        self.deliveries_under_way > 0 || self.model.works_under_way() > 0
    }

    /// How many deliveries are being made.
    pub(crate) const fn deliveries_under_way(&self) -> usize {
        self.deliveries_under_way
    }

    fn answered(&mut self, id: u64, status: StatusCode, headers: &HeaderMap, said: Said<'_>) {
        let number = match self.current {
            Some((current, number)) if current == id => {
                self.current = None;
                Some(number)
            }
            _ => self.waiting.remove(&id),
        };
        if let Some(number) = number {
            let now = self.model.wall(self.model.now());
            self.journal.answered(number, now, status.as_u16(), headers, said);
            self.hear_request(number);
        }
    }

    /// Answers are of the time of their world, not of that of the machine, which the shell would put there.
    fn stamp(&mut self, headers: &mut HeaderMap) {
        let now = self.model.wall(self.model.now());
        let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let date = match &self.date {
            Some((at, date)) if *at == second => date.clone(),
            _ => {
                let shown = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(DATE_MAX));
                let date = HeaderValue::from_str(&httpdate::fmt_http_date(shown))
                    .expect("letters, digits and spaces");
                self.date.insert((second, date)).1.clone()
            }
        };
        headers.insert(header::DATE, date);
    }

    /// A request gets no answer.
    fn cut(&mut self, number: u64) {
        self.journal.cut(number);
        self.hear_request(number);
    }

    /// What to do next, written down on the way.
    fn poll_output(&mut self) -> Output {
        let recorded = self.player.as_mut().and_then(Player::poll_output);
        let mut output = match recorded.unwrap_or_else(|| self.model.poll_output()) {
            Output::Wait { .. } => Output::Wait { until: self.next_due() },
            output => output,
        };
        match &mut output {
            Output::Reply { response, .. } => self.stamp(response.headers_mut()),
            Output::Serve { head, .. } | Output::Stream { head, .. } => {
                self.stamp(head.headers_mut());
            }
            _ => {}
        }
        match &output {
            Output::Reply { id, response } => {
                let said = Said::Whole(response.body());
                self.answered(*id, response.status(), response.headers(), said);
            }
            Output::Serve { id, head, pieces } => {
                let said = Said::Unkept(pieces.iter().map(Piece::len).sum());
                self.answered(*id, head.status(), head.headers(), said);
            }
            Output::Stream { id, head } => {
                self.answered(*id, head.status(), head.headers(), Said::Unkept(0));
            }
            Output::Accept { id } => {
                let (status, none) = (StatusCode::SWITCHING_PROTOCOLS, HeaderMap::new());
                self.answered(*id, status, &none, Said::Unkept(0));
            }
            Output::Cut { id } | Output::Reset { id } => {
                let current = self.current.take_if(|(current, _)| current == id);
                let number = current.map(|(_, number)| number).or_else(|| self.waiting.remove(id));
                if let Some(number) = number {
                    self.cut(number);
                }
            }
            Output::Deliver { .. } => self.deliveries_under_way += 1,
            Output::Wait { .. } => {
                if let Some((id, number)) = self.current.take() {
                    self.waiting.insert(id, number);
                    self.hear_request(number);
                }
            }
            _ => {}
        }
        output
    }

    /// When it wants to be woken, in real time, if its next event is at `until`.
    fn alarm(&self, until: Option<Instant>) -> Option<Instant> {
        let due = until.and_then(|until| self.clock.real(until));
        let jump = match self.is_auto() && self.may_progress && !self.is_outside() {
            true => self.last_input.checked_add(AUTO_GRACE),
            false => None,
        };
        due.into_iter().chain(jump).min()
    }

    fn is_auto(&self) -> bool {
        self.clock.mode() == ClockMode::Auto && !self.clock.is_frozen()
    }

    /// Time has passed: what is due happens. Where time waits for nothing else it moves on.
    fn tick(&mut self, real: Instant, is_busy: bool) {
        self.pass(self.clock.at(real));
        let is_settled = real.saturating_duration_since(self.last_input) >= AUTO_GRACE;
        if !self.is_auto() || !is_settled || self.is_outside() {
            return;
        }
        if is_busy {
            self.last_input = real;
            return;
        }
        // What reaches nobody needs no rest after it.
        while !self.has_output() {
            let Some(next) = self.next_progress() else {
                self.may_progress = false;
                return;
            };
            self.clock.jump(real, next);
            self.pass(self.clock.at(real));
        }
        self.last_input = real;
    }

    /// Moves time to the next event or to `to`, whichever comes first. Returns whether that was `to`.
    fn step(&mut self, real: Instant, to: Instant) -> bool {
        let next = self.next_due().filter(|next| *next <= to);
        self.clock.jump(real, next.unwrap_or(to));
        self.pass(self.clock.at(real));
        self.may_progress = true;
        self.last_input = real;
        next.is_none()
    }
}

/// When a world begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) real: Instant,
    /// What a clock on the wall shows then.
    pub(crate) wall: SystemTime,
}

impl Worlds {
    /// With the world of the first tenant.
    pub(crate) fn new(config: Config, mode: ClockMode, start: Start) -> Self {
        let first = World::new(FIRST_NAME, config.clone(), mode, start);
        Self {
            all: BTreeMap::from([(TenantId::FIRST, first)]),
            keys: HashMap::new(),
            base: config,
            base_mode: mode,
            last: TenantId::FIRST,
            alarms: BTreeSet::new(),
            tenant_news: None,
        }
    }

    /// Lets a tenant know more models and prices; those of the first one are also for tenants that are made later.
    pub(crate) fn add_to_catalog(&mut self, tenant: TenantId, more: &Catalog) {
        if tenant == TenantId::FIRST {
            Arc::make_mut(&mut self.base.catalog).merge(more.clone());
        }
        if let Some(world) = self.all.get_mut(&tenant) {
            world.model.add_to_catalog(more);
        }
    }

    /// Lets the first tenant, and those who come from now on, play a scenario from its start.
    pub(crate) fn set_scenario(&mut self, real: Instant, scenario: Arc<Scenario>) {
        self.base.scenario = Some(Arc::clone(&scenario));
        if let Some(world) = self.all.get_mut(&TenantId::FIRST) {
            world.scenario_base = Some(scenario);
            world.play_anew(real);
        }
    }

    /// A tenant's world.
    pub(crate) fn get(&self, tenant: TenantId) -> Option<&World> {
        self.all.get(&tenant)
    }

    /// The same, to be changed. Drain it afterwards.
    pub(crate) fn get_mut(&mut self, tenant: TenantId) -> Option<&mut World> {
        self.all.get_mut(&tenant)
    }

    /// A request has arrived whole. Returns whose it is: drain that world.
    pub(crate) fn handle_request(
        &mut self,
        real: Instant,
        id: u64,
        request: Request<'_>,
    ) -> TenantId {
        if request.host == Host::Rest && self.all.len() > 1 && request.path == KEY_SET_PATH {
            self.gather_webhook_keys();
        }
        self.ask(real, id, request, |world, now, id, request| {
            match world.player.as_mut().filter(|player| player.takes(&request)) {
                Some(player) => {
                    player.handle_request(now, id, &request);
                    world.pass(now);
                }
                None => world.model.handle_request(now, id, request),
            }
        })
    }

    /// A handshake of a WebSocket has arrived. Returns whose it is: drain that world.
    pub(crate) fn handle_upgrade(
        &mut self,
        real: Instant,
        id: u64,
        request: Request<'_>,
    ) -> TenantId {
        self.ask(real, id, request, |world, now, id, request| match &mut world.player {
            Some(player) => player.handle_upgrade(now, id),
            None => world.model.handle_upgrade(now, id, request),
        })
    }

    fn ask(
        &mut self,
        real: Instant,
        id: u64,
        request: Request<'_>,
        handle: impl FnOnce(&mut World, Instant, u64, Request<'_>),
    ) -> TenantId {
        let tenant = self.find(&request);
        if let Some(world) = self.all.get_mut(&tenant) {
            let now = world.input(real);
            world.last_request = real;
            // Written down before it is answered, so that requests stand in the order in which they came.
            let number =
                world.journal.asked(world.model.wall(now.max(world.model.now())), &request);
            world.current = Some((id, number));
            handle(world, now, id, request);
        }
        tenant
    }

    /// A message has come on a WebSocket.
    pub(crate) fn handle_frame(&mut self, real: Instant, tenant: TenantId, id: u64, frame: Frame) {
        self.change(real, tenant, |model, now| model.handle_frame(now, id, frame));
    }

    /// The peer of an exchange has gone away.
    pub(crate) fn handle_gone(&mut self, real: Instant, tenant: TenantId, id: u64) {
        if let Some(world) = self.all.get_mut(&tenant) {
            if let Some(number) = world.waiting.remove(&id) {
                world.cut(number);
            }
            let now = world.clock.at(real);
            if let Some(player) = &mut world.player {
                player.handle_gone(now, id);
            }
        }
        self.change(real, tenant, |model, now| model.handle_gone(now, id));
    }

    /// An attempt to deliver has ended.
    pub(crate) fn handle_delivered(
        &mut self,
        real: Instant,
        whose: (TenantId, u32),
        id: u64,
        result: DeliveryResult,
    ) {
        let Some(world) = self.service(whose) else { return };
        world.deliveries_under_way = world.deliveries_under_way.saturating_sub(1);
        self.change(real, whose.0, |model, now| model.handle_delivered(now, id, result));
    }

    /// A tenant's world, if it has this service still.
    fn service(&mut self, (tenant, generation): (TenantId, u32)) -> Option<&mut World> {
        self.all.get_mut(&tenant).filter(|world| world.generation == generation)
    }

    /// Something has come of work.
    pub(crate) fn handle_work(
        &mut self,
        real: Instant,
        whose: (TenantId, u32),
        id: u64,
        event: WorkEvent,
    ) {
        if self.service(whose).is_some() {
            self.change(real, whose.0, |model, now| model.handle_work(now, id, event));
        }
    }

    fn change(
        &mut self,
        real: Instant,
        tenant: TenantId,
        change: impl FnOnce(&mut Model, Instant),
    ) {
        if let Some(world) = self.all.get_mut(&tenant) {
            let now = world.input(real);
            change(&mut world.model, now);
        }
    }

    /// Writes down a request that reached nobody's world.
    pub(crate) fn note(
        &mut self,
        real: Instant,
        method: &Method,
        host: &str,
        path: &str,
        status: StatusCode,
    ) {
        if let Some(world) = self.all.get_mut(&TenantId::FIRST) {
            let at = world.wall(real);
            let number = world.journal.noted(at, method, host, path, status.as_u16());
            world.hear_request(number);
        }
    }

    /// What a world wants to be done; [`Output::Wait`] when drained.
    pub(crate) fn poll_output(&mut self, tenant: TenantId) -> Output {
        let Some(world) = self.all.get_mut(&tenant) else { return Output::Wait { until: None } };
        let output = world.poll_output();
        if let Output::Wait { until } = output {
            let alarm = world.alarm(until);
            let before = std::mem::replace(&mut world.alarm, alarm);
            if before != alarm {
                before.inspect(|at| _ = self.alarms.remove(&(*at, tenant)));
                self.alarms.extend(alarm.map(|at| (at, tenant)));
            }
        }
        output
    }

    /// When the next world wants to be woken.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Lets the world whose alarm is due get on, and returns it: drain it, and call again until there is none.
    /// While requests are being received (`is_busy`) no clock jumps.
    pub(crate) fn handle_timeout(&mut self, real: Instant, is_busy: bool) -> Option<TenantId> {
        let (at, tenant) = *self.alarms.first().filter(|(at, _)| *at <= real)?;
        self.alarms.remove(&(at, tenant));
        let world = self.all.get_mut(&tenant)?;
        world.alarm = None;
        world.tick(real, is_busy);
        Some(tenant)
    }

    /// Moves the clock of a world to its next event, or to `to` if nothing happens before. Returns whether it has come
    /// there. Drain the world after each step: a delivery may have to be made before time goes on.
    pub(crate) fn step(&mut self, real: Instant, tenant: TenantId, to: Instant) -> bool {
        self.all.get_mut(&tenant).is_none_or(|world| world.step(real, to))
    }

    /// Gives up the oldest whole file that the shell keeps, of the tenant who has most. Returns whose it was.
    pub(crate) fn handle_spool_full(&mut self, real: Instant) -> Option<TenantId> {
        let most = self.all.iter().max_by_key(|(_, world)| world.model.spooled_bytes());
        let tenant = most.map(|(tenant, _)| *tenant)?;
        let world = self.all.get_mut(&tenant)?;
        let now = world.clock.at(real);
        world.model.handle_spool_full(now).then_some(tenant)
    }

    /// Lets the first tenant's set of keys hold those of all.
    fn gather_webhook_keys(&mut self) {
        let Some(mut first) = self.all.remove(&TenantId::FIRST) else { return };
        let own = first.model.webhook_keys();
        let mut others: Vec<[u8; 32]> = Vec::new();
        for key in self.all.values_mut().flat_map(|world| world.model.webhook_keys()) {
            if !own.contains(&key) && !others.contains(&key) && others.len() < OTHER_KEYS_MAX {
                others.push(key);
            }
        }
        first.model.show_other_keys(others);
        self.all.insert(TenantId::FIRST, first);
    }
}

/// The last second of the year 9999, which is the last that a date can name.
const DATE_MAX: u64 = 253_402_300_799;

/// What the first tenant is called.
pub(crate) const FIRST_NAME: &str = "default";

/// Time stands still for so long after the last thing that came from outside before it jumps: clients that go on at once,
/// do so before that.
pub(crate) const AUTO_GRACE: Duration = Duration::from_millis(2);

/// Keys of deliveries that further tenants add to the set of keys.
const OTHER_KEYS_MAX: usize = 1000;
