//! A mock in a Rust test: started on a free port, stopped when dropped.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fal_protocol::schema::Mode;
use tokio::task::JoinHandle;

use crate::environment::Environment;
use crate::http::{self, Gate, Keeper, Limits, Recording, Refused, Shared, Spool};
use crate::load::Source;
use crate::model::{
    Catalog, Config, Control, Counters, DeliveryView, Failure, FileView, JobView, Loaded,
    RealtimeConfig, RequestId, RetryProfile, SessionView, TenantId, WebhookHosts, WebhookLayout,
};
use crate::record::{Record, Recorded};
use crate::replay::{Library, Recordings, Replay};
use crate::scenario::{PlayView, Problems, Scenario, Verdict};
use crate::tenant::Tenant;
use crate::world::{ClockMode, Seen, Settings, Start, TenantError, Worlds};

/// A running mock. Everything is its own: mocks in one process do not meet.
///
/// It runs on the tokio runtime that started it, and stops when it is dropped.
pub struct MockFal {
    shared: Arc<Shared>,
    /// The first one.
    tenant: Tenant,
    address: SocketAddr,
    catalog: Arc<Catalog>,
    loaded: Loaded,
    server: JoinHandle<()>,
    timer: JoinHandle<()>,
    postman: JoinHandle<()>,
    /// Has the work of apps done that have a back end of their own.
    foreman: JoinHandle<()>,
    /// Writes down what changes, if that is wanted. Dropping it waits for that.
    keeper: Option<Keeper>,
}

impl MockFal {
    /// Starts a mock with default settings on a free port of the loopback interface.
    ///
    /// # Panics
    /// When the loopback interface has no free port; [`Builder::start`] reports that instead.
    pub async fn start() -> Self {
        Self::builder().start().await.expect("the loopback interface has a free port")
    }

    /// Settings of a mock.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            clock: None,
            start: None,
            seed: None,
            scenarios: Vec::new(),
            documents: Vec::new(),
            prices: Vec::new(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            ca_dir: None,
            spool_dir: None,
            state: None,
            passthrough: false,
            record: None,
            replay: None,
        }
    }

    /// The base address, such as `http://127.0.0.1:40123`. Hosts of the service stand below it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The models whose documents it knows.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What was found in the sources of [`Builder::openapi`].
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Every job that it keeps, the oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobView> {
        self.tenant.jobs()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, request_id: RequestId) -> Option<JobView> {
        self.tenant.job(request_id)
    }

    /// The last deliveries to webhooks, the oldest first, up to 10,000.
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        self.tenant.deliveries()
    }

    /// Every file that it keeps, the oldest first. Addresses lead through the door of the path.
    #[must_use]
    pub fn files(&self) -> Vec<FileView> {
        self.tenant.files()
    }

    /// The open sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        self.tenant.sessions()
    }

    /// How many submits it has accepted.
    #[must_use]
    pub fn submits(&self) -> u64 {
        self.tenant.submits()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tenant.counters()
    }

    /// The last requests, the oldest first, up to 10,000. What was for none of fal's hosts is among them.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.tenant.requests()
    }

    /// Its clock.
    pub const fn clock(&self) -> crate::Clock<'_> {
        self.tenant.clock()
    }

    /// Whoever calls with a key that is no other tenant's. The methods of the mock about jobs, files, requests and
    /// time are about this one.
    pub const fn first_tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Makes a tenant, as [`Self::tenant_with`] does, that differs from the first one by its key alone.
    ///
    /// # Panics
    /// When there are [`TENANTS_MAX`](crate::TENANTS_MAX).
    pub fn tenant(&self) -> Tenant {
        self.tenant_with(&Settings::default()).expect("there are few tenants")
    }

    /// Makes a tenant: its key selects a world of its own, with jobs, files, clock and journal, so that tests which share
    /// a mock do not meet. It ends when it is dropped.
    ///
    /// # Errors
    /// When name or key are taken or have a wrong form, or there are too many tenants.
    pub fn tenant_with(&self, settings: &Settings) -> Result<Tenant, TenantError> {
        let (id, key) = self.shared.add_tenant(settings)?;
        Ok(Tenant::new(Arc::clone(&self.shared), self.address, id, Some(key)))
    }

    /// The certificate, as PEM, that clients must trust to reach the mock by TLS.
    ///
    /// Unless [`Builder::ca_dir`] was given it belongs to this mock alone, is made when it is first needed,
    /// and is gone with the mock. It can vouch for fal's hosts and for this machine and for nobody else.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.shared.gate().tls().ca_pem()
    }

    /// Settings under which an unmodified program reaches this mock with `key`, of the form `id:secret`.
    ///
    /// # Errors
    /// When the files that the settings name cannot be written.
    pub fn environment(&self, key: &str) -> io::Result<Environment> {
        Environment::temporary(&self.url(), self.ca_pem(), key)
    }

    /// Whom it refused to connect to, in alphabetical order: what would have left the machine. Up to 1,000
    /// targets; [`Self::refused_connects`] counts all.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.shared.gate().refused()
    }

    /// How often it refused to connect to a host that is not fal's.
    #[must_use]
    pub fn refused_connects(&self) -> u64 {
        self.shared.gate().refused_total()
    }

    /// Plays scenarios from their start, as one; later ones come first. Their documents are added to those that are
    /// there. Tenants that were made before go on with what they have.
    ///
    /// # Errors
    /// As [`io::ErrorKind::InvalidData`], when a document that they name cannot be read or used. Then nothing changes.
    pub fn set_scenarios(&self, layers: &[Scenario]) -> io::Result<()> {
        let scenario = Arc::new(Scenario::layered(layers));
        let may_be_far =
            self.shared.with_model(TenantId::FIRST, |model, _| model.config().far_backends);
        if let Some(why) = scenario.backend_refusal(true, may_be_far.unwrap_or_default()) {
            return Err(unusable(why));
        }
        let mut catalog = Catalog::empty();
        for path in scenario.documents() {
            Source::from(path).add_to(&mut catalog)?;
        }
        self.shared.with_worlds(TenantId::FIRST, |worlds, real| {
            worlds.add_to_catalog(TenantId::FIRST, &catalog);
            worlds.set_scenario(real, scenario);
        });
        Ok(())
    }

    /// Plays a rule on top of what is played; see [`Tenant::rule`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn rule(&self, rule: &str) -> Result<(), Problems> {
        self.tenant.rule(rule)
    }

    /// Plays a fault on top of what is played; see [`Tenant::fault`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn fault(&self, fault: &str) -> Result<(), Problems> {
        self.tenant.fault(fault)
    }

    /// Whether something has been asked; see [`Tenant::verify`].
    ///
    /// # Errors
    /// Everything that is wrong with what is expected.
    pub fn verify(&self, expect: &str) -> Result<Verdict, Problems> {
        self.tenant.verify(expect)
    }

    /// What can be seen of the scenario that is being played.
    #[must_use]
    pub fn play(&self) -> Option<PlayView> {
        self.tenant.play()
    }

    /// What the scenario expected and has not happened, one sentence each.
    #[must_use]
    pub fn unmet(&self) -> Vec<String> {
        self.tenant.unmet()
    }

    /// What its recording has come to, if it makes one.
    #[must_use]
    pub fn recorded(&self) -> Option<Recorded> {
        self.shared.gate().recording().map(|recording| recording.recorded())
    }

    /// Waits until something cannot be written of its recording, and says what; for ever if it makes none.
    pub async fn recording_problem(&self) -> String {
        match self.shared.gate().recording() {
            Some(recording) => recording.problem().await,
            None => std::future::pending().await,
        }
    }

    /// Lets the next job or sync run that is accepted fail. Calls queue up.
    pub fn fail_next(&self, failure: Failure) {
        self.control(Control::FailNext(failure));
    }

    /// Does something to the service. Returns whether it named a job, a file or a session to which that could
    /// happen.
    pub fn control(&self, control: Control) -> bool {
        self.tenant.control(control)
    }

    /// Stops it and waits until its port is free.
    pub async fn stop(mut self) {
        self.server.abort();
        self.timer.abort();
        self.postman.abort();
        self.foreman.abort();
        // All were aborted, so all errors say just that.
        let _ = (&mut self.server).await;
        let _ = (&mut self.timer).await;
        let _ = (&mut self.postman).await;
        let _ = (&mut self.foreman).await;
        let keeper = self.keeper.take();
        let _ = tokio::task::spawn_blocking(move || drop(keeper)).await;
    }
}

impl Drop for MockFal {
    fn drop(&mut self) {
        self.server.abort();
        self.timer.abort();
        self.postman.abort();
        self.foreman.abort();
    }
}

impl fmt::Debug for MockFal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockFal").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Settings of a mock. Start it with [`Builder::start`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    config: Config,
    clock: Option<ClockMode>,
    start: Option<SystemTime>,
    seed: Option<u64>,
    scenarios: Vec<Scenario>,
    documents: Vec<Source>,
    prices: Vec<Source>,
    host: IpAddr,
    port: u16,
    ca_dir: Option<PathBuf>,
    spool_dir: Option<PathBuf>,
    state: Option<PathBuf>,
    passthrough: bool,
    record: Option<Record>,
    replay: Option<Replay>,
}

impl Builder {
    /// Replaces all settings of the service.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Everything that looks random follows from it. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a scenario. Several are played as one; later ones come first. What is set here by hand counts for more than
    /// the seed and the clock of a scenario, and what a scenario says of an app or a call for more than what is set
    /// here for all.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenarios.push(scenario);
        self
    }

    /// Whether calls that no rule of the scenario covers are refused, with 404 and the rules that came nearest.
    /// Default: no.
    pub fn isolated(mut self, isolated: bool) -> Self {
        self.config.isolated = isolated;
        self
    }

    /// How time passes, for further tenants too. Default: as everywhere.
    pub fn clock(mut self, mode: ClockMode) -> Self {
        self.clock = Some(mode);
        self
    }

    /// What the wall shows when it starts. Default: the real time.
    pub fn start_time(mut self, wall: SystemTime) -> Self {
        self.start = Some(wall);
        self
    }

    /// How long a job waits in the queue. Default: 200 ms.
    pub fn queue_time(mut self, time: Duration) -> Self {
        self.config.queue_time = time;
        self
    }

    /// How long a run takes. Default: 800 ms.
    pub fn run_time(mut self, time: Duration) -> Self {
        self.config.run_time = time;
        self
    }

    /// How many jobs of one app run at once. Default: no limit.
    pub fn runners(mut self, runners: usize) -> Self {
        self.config.runners = Some(runners);
        self
    }

    /// Jobs complete while they are being submitted, and runs answer at once.
    pub fn instant(mut self) -> Self {
        self.config.instant = true;
        self
    }

    /// Whether a scenario that comes by the control API may start programs (`exec`). Default: no.
    pub fn allow_exec(mut self, allow: bool) -> Self {
        self.config.allow_exec = allow;
        self
    }

    /// Whether servers of a scenario (`http`) may be anywhere. Default: on this machine or in a private network only.
    pub fn far_backends(mut self, allow: bool) -> Self {
        self.config.far_backends = allow;
        self
    }

    /// Whether calls without a key are refused. Default: yes.
    pub fn require_key(mut self, require: bool) -> Self {
        self.config.require_key = require;
        self
    }

    /// Adds model documents: a file, a folder, or the bytes of a document or of a list of models. Calls add
    /// up; a later document of an endpoint replaces an earlier one, also one that came with the mock.
    ///
    /// They are read by [`start`](Self::start), which fails if a source cannot be read or a file is
    /// neither. In folders and lists what cannot be used is skipped: [`MockFal::loaded`] says what.
    pub fn openapi(mut self, source: impl Into<Source>) -> Self {
        self.documents.push(source.into());
        self
    }

    /// Adds a table of prices; see [`Catalog::add_prices`].
    pub fn prices(mut self, source: impl Into<Source>) -> Self {
        self.prices.push(source.into());
        self
    }

    /// Whether endpoints without a document are refused. Default: no.
    pub fn strict(mut self, strict: bool) -> Self {
        self.config.strict = strict;
        self
    }

    /// How inputs are held against the document of their model. Default: as fal does it.
    pub fn validation(mut self, mode: Mode) -> Self {
        self.config.validation = mode;
        self
    }

    /// Which addresses webhooks may call. Default: those of this machine.
    pub fn webhook_hosts(mut self, hosts: WebhookHosts) -> Self {
        self.config.webhook_hosts = hosts;
        self
    }

    /// How sessions over WebSocket behave.
    pub fn realtime(mut self, realtime: RealtimeConfig) -> Self {
        self.config.realtime = realtime;
        self
    }

    /// How webhooks are repeated. Default: [`RetryProfile::docs_2026`].
    pub fn webhook_retry(mut self, profile: RetryProfile) -> Self {
        self.config.webhook_retry = profile;
        self
    }

    /// How the bodies of webhooks are written, and whether those about outputs have `"error": null`. Default: as
    /// one that was captured, without it.
    pub fn webhook_layout(mut self, layout: WebhookLayout, has_null_error: bool) -> Self {
        self.config.webhook_layout = layout;
        self.config.webhook_null_error = has_null_error;
        self
    }

    /// The account behind every key is locked for this reason, such as `Exhausted balance`.
    pub fn locked(mut self, reason: &str) -> Self {
        self.config.locked = Some(reason.into());
        self
    }

    /// Adds an app (`owner/alias`) that answers without a key.
    pub fn public_model(mut self, app: &str) -> Self {
        self.config.public_models.push(app.to_owned());
        self
    }

    /// Adds an app (`owner/alias`) that is not for whoever calls.
    pub fn private_model(mut self, app: &str) -> Self {
        self.config.private_models.push(app.to_owned());
        self
    }

    /// Adds a key (`id:secret`); once one is listed, no other is accepted.
    pub fn key(mut self, key: &str) -> Self {
        self.config.keys.push(key.to_owned());
        self
    }

    /// The interface to listen on. Default: loopback.
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// The port to listen on. Default: 0, any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps the certificate authority for TLS in a directory, and makes it there if there is none: `ca.pem`
    /// for clients, and `ca-key.pem`, which only its owner may read. Default: one for this mock, in memory.
    pub fn ca_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.ca_dir = Some(dir.into());
        self
    }

    /// Whether requests that use the mock as their proxy reach other hosts than fal's. Those of fal are
    /// answered by the mock in any case. Default: no, they are refused with 403.
    pub fn passthrough(mut self, passthrough: bool) -> Self {
        self.passthrough = passthrough;
        self
    }

    /// Sends every call to the real service, with the key of its caller, and keeps what comes back. See [`Record`].
    pub fn record(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    /// Answers models from recordings. See [`Replay`].
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = Some(replay);
        self
    }

    /// Where uploads of more than 1 MiB are kept, in a file without a name. Default: the system's folder for
    /// temporary files.
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool_dir = Some(dir.into());
        self
    }

    /// How many bytes of uploads are kept there; beyond it the oldest file goes. Default: 16 GiB.
    pub fn spool_bytes(mut self, bytes: u64) -> Self {
        self.config.spool_bytes_max = bytes;
        self
    }

    /// Keeps jobs, files, deliveries and requests of all tenants in a file, and goes on with what is there: what was
    /// accepted outlives the process, however that ends. A [`Tenant`] ends with its handle and not with the mock, so
    /// one whose handle is dropped last is there again. Long uploads are kept beside it, in a file with `.files` at the
    /// end of its name, and not in [`Self::spool_dir`]. Default: nothing outlives the mock.
    ///
    /// One mock at a time can use it. Stopping or dropping the mock waits until all is written.
    pub fn state(mut self, path: impl Into<PathBuf>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// Starts the mock on the caller's tokio runtime.
    ///
    /// # Errors
    /// When the port is taken or may not be used; and, as [`io::ErrorKind::InvalidData`], when a source of
    /// documents or prices cannot be read or used, or the folder for uploads or recordings or the state cannot. When
    /// the certificate authority can neither be read nor made.
    pub async fn start(mut self) -> io::Result<MockFal> {
        let mut loaded = Loaded::default();
        let mut mode = self.clock;
        if !self.scenarios.is_empty() {
            let scenario = Scenario::layered(&self.scenarios);
            if let Some(why) = scenario.backend_refusal(true, self.config.far_backends) {
                return Err(unusable(why));
            }
            self.seed = self.seed.or(scenario.seed);
            mode = mode.or(scenario.clock.mode);
            self.start = self.start.or(scenario.clock.start);
            self.documents.extend(scenario.documents().map(Source::from));
            self.config.scenario = Some(Arc::new(scenario));
        }
        self.config.seed = self.seed.unwrap_or(self.config.seed);
        if !self.documents.is_empty() || !self.prices.is_empty() {
            let catalog = Arc::make_mut(&mut self.config.catalog);
            for source in &self.documents {
                loaded.merge(source.add_to(catalog)?);
            }
            for source in &self.prices {
                source.add_prices_to(catalog)?;
            }
        }
        if self.replay.is_some() && self.record.is_some() {
            return Err(unusable("a mock records or replays, not both".to_owned()));
        }
        if self.replay.is_some() && self.state.is_some() {
            let why = "a replay needs no state: what it answers stands in its recordings";
            return Err(unusable(why.to_owned()));
        }
        let catalog = Arc::clone(&self.config.catalog);
        let (listener, address) = http::bind(SocketAddr::new(self.host, self.port)).await?;
        let start = Start {
            real: tokio::time::Instant::now().into_std(),
            wall: self.start.unwrap_or_else(SystemTime::now),
        };
        let limits = Limits {
            body_bytes: self.config.body_bytes_max,
            upload_bytes: self.config.upload_bytes_max,
            message_bytes: self.config.realtime.message_bytes_max,
        };
        let mode = mode.unwrap_or_default();
        let (worlds, spool, store) = match &self.state {
            Some(path) => {
                let begun = http::begin(path, self.config, mode, start)
                    .map_err(|error| unusable(error.to_string()))?;
                (begun.worlds, begun.spool, Some(begun.store))
            }
            None => {
                let dir = self.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
                let spool = Spool::new(dir, self.config.spool_bytes_max);
                if self.spool_dir.is_some()
                    && let Err(error) = spool.open()
                {
                    let dir = spool.dir().display();
                    return Err(unusable(format!("cannot keep uploads in {dir}: {error}")));
                }
                if let Some(replay) = &self.replay {
                    self.config.recordings = Some(Recordings {
                        library: Arc::new(Library::load(&replay.dir, &spool)?),
                        matching: replay.matching,
                        timing: replay.timing,
                    });
                }
                (Worlds::new(self.config, mode, start), spool, None)
            }
        };
        let mut gate = Gate::new(self.ca_dir.as_deref(), self.passthrough)?;
        if let Some(record) = &self.record {
            gate.record(Recording::start(record, &catalog)?);
        }
        let (shared, letters, orders) =
            Shared::new(worlds, limits, address.to_string(), gate, spool);
        let keeper = store.map(|store| Keeper::start(&shared, store)).transpose()?;
        // What a state goes on with may have something to do at once.
        for tenant in shared.with_worlds(TenantId::FIRST, |worlds, _| worlds.ids()) {
            shared.with_worlds(tenant, |_, _| {});
        }
        let server = tokio::spawn(http::serve(listener, Arc::clone(&shared)));
        let timer = tokio::spawn(Arc::clone(&shared).run_timer());
        let postman = tokio::spawn(http::deliver_all(Arc::clone(&shared), letters));
        let foreman = tokio::spawn(http::work_all(Arc::clone(&shared), orders));
        let tenant = Tenant::new(Arc::clone(&shared), address, TenantId::FIRST, None);
        Ok(MockFal {
            shared,
            tenant,
            address,
            catalog,
            loaded,
            server,
            timer,
            postman,
            foreman,
            keeper,
        })
    }
}

fn unusable(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
