//! A tenant in a Rust test: what can be seen of it and done to it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::http::Shared;
use crate::model::{
    Control, Counters, DeliveryView, Door, Failure, FileView, JobView, Model, RequestId,
    SessionView, TenantId, Wait,
};
use crate::scenario::{PlayView, Problems, Scenario, Verdict};
use crate::world::{ClockMode, Seen, TenantView, World};

/// One tenant of a running mock: a world of its own, which its key selects.
///
/// All but the first end when they are dropped: what is open is cut, and jobs and files are gone.
#[must_use]
pub struct Tenant {
    shared: Arc<Shared>,
    address: SocketAddr,
    id: TenantId,
    key: Option<String>,
}

impl Tenant {
    pub(crate) const fn new(
        shared: Arc<Shared>,
        address: SocketAddr,
        id: TenantId,
        key: Option<String>,
    ) -> Self {
        Self { shared, address, id, key }
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// The key that selects it, of the form `id:secret`. For the first one any key that is no other's.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or("any:key")
    }

    /// What can be seen of it; `None` once it has been ended by the control API.
    #[must_use]
    pub fn view(&self) -> Option<TenantView> {
        self.world(|world| world.view(self.id))
    }

    /// Every job that it keeps, the oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobView> {
        self.model(|model| model.jobs())
    }

    /// One job.
    #[must_use]
    pub fn job(&self, request_id: RequestId) -> Option<JobView> {
        self.model(|model| model.job(request_id))
    }

    /// The last deliveries to webhooks, the oldest first, up to 10,000.
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        self.model(|model| model.deliveries())
    }

    /// Every file that it keeps, the oldest first. Addresses lead through the door of the path.
    #[must_use]
    pub fn files(&self) -> Vec<FileView> {
        let door = Door::Prefix { is_secure: false, authority: self.address.to_string().into() };
        self.model(|model| model.files(&door))
    }

    /// The open sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        self.model(|model| model.sessions())
    }

    /// How many submits it has accepted.
    #[must_use]
    pub fn submits(&self) -> u64 {
        self.counters().submits
    }

    /// What has happened since it began.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.model(|model| model.counters().clone())
    }

    /// The last requests, the oldest first, up to 10,000 and 64 MiB.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.world(|world| world.journal.entries().map(Seen::from).collect()).unwrap_or_default()
    }

    /// Lets the next job or sync run that is accepted fail. Calls queue up.
    pub fn fail_next(&self, failure: Failure) {
        self.control(Control::FailNext(failure));
    }

    /// Does something to the service. Returns whether it named a job, a file or a session to which that could
    /// happen.
    pub fn control(&self, control: Control) -> bool {
        let done = self.shared.with_model(self.id, |model, now| model.handle_control(now, control));
        done.unwrap_or(false)
    }

    /// Plays a scenario from its start, on top of that which the mock was started with; or that one alone again. Calls
    /// that were made before go on as they were bound to.
    ///
    /// Its rules, apps but for their documents, faults and expectations count from now on; its seed counts for faults
    /// alone, and its clock does not, because both are settled when a world begins.
    pub fn set_scenario(&self, scenario: Option<Scenario>) {
        self.shared.with_world(self.id, |world, real| world.set_scenario_layer(real, scenario));
    }

    /// Plays a rule on top of what is played, from its start: what stands in the list `rules` of a scenario, such as
    /// `{ when: fal-ai/flux/**, error: { type: content_policy_violation } }`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn rule(&self, rule: &str) -> Result<(), Problems> {
        self.play_also("rules", rule)
    }

    /// The same for a fault: what stands in the list `faults`, such as `{ fault: reset, on: status, nth: 2 }`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn fault(&self, fault: &str) -> Result<(), Problems> {
        self.play_also("faults", fault)
    }

    fn play_also(&self, list: &str, entry: &str) -> Result<(), Problems> {
        // In a line of its own and indented, so that an entry of several lines stays one.
        let entry = entry.trim().replace('\n', "\n    ");
        let scenario = Scenario::parse("test", &format!("{list}:\n  - {entry}\n"))?;
        self.shared.with_world(self.id, |world, real| world.add_scenario_layer(real, scenario));
        Ok(())
    }

    /// Whether what stands under `expect` in a scenario has been asked, by the requests that are remembered, such as
    /// `{ requests: [{ operation: submit, count: 1 }], order: [submit, status, result] }`.
    ///
    /// # Errors
    /// Everything that is wrong with what is expected.
    pub fn verify(&self, expect: &str) -> Result<Verdict, Problems> {
        let expect = Scenario::parse_expect(expect)?;
        Ok(self.world(|world| world.verify(&expect)).unwrap_or_default())
    }

    /// What can be seen of the scenario that is being played.
    #[must_use]
    pub fn play(&self) -> Option<PlayView> {
        self.model(|model| model.play_view())
    }

    /// What the scenario expected and has not happened, one sentence each.
    #[must_use]
    pub fn unmet(&self) -> Vec<String> {
        self.play().map(|play| play.unmet).unwrap_or_default()
    }

    /// Its clock.
    pub const fn clock(&self) -> Clock<'_> {
        Clock { tenant: self }
    }

    fn world<T>(&self, look: impl FnOnce(&World) -> T) -> Option<T> {
        self.shared.with_world(self.id, |world, _| look(world))
    }

    /// What is seen after the end of a tenant is empty.
    fn model<T: Default>(&self, look: impl FnOnce(&Model) -> T) -> T {
        let seen = self.shared.with_world(self.id, |world, real| {
            world.tick_to(real);
            look(&world.model)
        });
        seen.unwrap_or_default()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.shared.end_tenant(self.id);
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The clock of a tenant: everything of it follows this one.
///
/// Calls of a tenant that has ended do nothing.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Clock<'a> {
    tenant: &'a Tenant,
}

/// What a clock shows, and what is planned by it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClockView {
    /// How it runs.
    pub mode: ClockMode,
    /// Whether it stands still by order.
    pub is_frozen: bool,
    /// What it shows.
    pub now: SystemTime,
    /// How many deliveries are being made: no clock jumps meanwhile.
    pub deliveries_under_way: usize,
    /// How many calls back ends are working on: no clock jumps meanwhile either.
    pub works_under_way: usize,
    /// What happens next, and when by this clock, the earliest first, up to 100.
    pub waits: Vec<(SystemTime, Wait)>,
}

impl Clock<'_> {
    /// What it shows, and what is planned.
    #[must_use]
    pub fn view(&self) -> Option<ClockView> {
        self.tenant.shared.with_world(self.tenant.id, |world, real| {
            world.tick_to(real);
            let waits = world.model.waits(WAITS_SHOWN);
            ClockView {
                mode: world.clock.mode(),
                is_frozen: world.clock.is_frozen(),
                now: world.wall(real),
                deliveries_under_way: world.deliveries_under_way(),
                works_under_way: world.model.works_under_way(),
                waits: waits.into_iter().map(|wait| (world.model.wall(wait.at), wait)).collect(),
            }
        })
    }

    /// Goes on from here in another way.
    pub fn set_mode(&self, mode: ClockMode) {
        self.change(|world, real| world.clock.set_mode(real, mode));
    }

    /// Stops it, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.change(|world, real| world.clock.freeze(real, is_frozen));
    }

    /// Moves it on, event by event. Deliveries are made on the way, and time waits for them. Returns how many events
    /// there were.
    pub async fn advance(&self, by: Duration) -> u64 {
        let (shared, id) = (&self.tenant.shared, self.tenant.id);
        let Some(to) = shared.with_world(id, |world, real| world.clock.at(real).checked_add(by))
        else {
            return 0;
        };
        shared.advance(id, |_, _| to, |_| false).await.unwrap_or(0)
    }

    /// Moves it on until a job has ended. Returns whether it has: nothing else may be planned, or there is no such
    /// job.
    pub async fn run_until_done(&self, request_id: RequestId) -> bool {
        let (shared, id) = (&self.tenant.shared, self.tenant.id);
        let is_over = |world: &World| world.is_open(request_id) != Some(true);
        shared.advance(id, |world, _| world.next_progress(), is_over).await;
        shared.with_world(id, |world, _| world.is_open(request_id)).flatten() == Some(false)
    }

    /// Moves it on until nothing is left that a job, a call or a delivery waits for. Returns how many events there
    /// were.
    pub async fn run_until_idle(&self) -> u64 {
        let (shared, id) = (&self.tenant.shared, self.tenant.id);
        shared.advance(id, |world, _| world.next_progress(), |_| false).await.unwrap_or(0)
    }

    fn change(&self, change: impl FnOnce(&mut World, std::time::Instant)) {
        self.tenant.shared.with_world(self.tenant.id, |world, real| {
            // What is due by now still happens in the old way.
            let now = world.input(real);
            world.model.handle_timeout(now);
            change(world, real);
        });
    }
}

/// Planned events that are shown.
pub(crate) const WAITS_SHOWN: usize = 100;
