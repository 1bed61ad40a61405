//! Tenants come and go.

use std::time::{Duration, Instant, SystemTime};

use super::{ClockMode, Start, TenantNews, World, Worlds};
use crate::model::{Config, KeyPrint, TenantId};

/// What a tenant is to have. What is not given is as for the first one.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// 1 to 64 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`. Default: its number after a `t`.
    pub name: Option<String>,
    /// The key that selects it, of the form `id:secret`. Default: a fresh one.
    pub key: Option<String>,
    /// What everything that looks random follows from. Default: the seed of the first one, so that every test sees
    /// the same.
    pub seed: Option<u64>,
    /// How its time passes.
    pub clock: Option<ClockMode>,
    /// What the wall shows when it begins. Default: the real time.
    pub start: Option<SystemTime>,
    /// How long a job waits although a runner is free.
    pub queue_time: Option<Duration>,
    /// How long a run takes.
    pub run_time: Option<Duration>,
    /// How many jobs of one app run at once.
    pub runners: Option<usize>,
    /// Jobs complete while they are being submitted.
    pub instant: Option<bool>,
}

impl Settings {
    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how its time passes.
    #[must_use]
    pub const fn clock(mut self, mode: ClockMode) -> Self {
        self.clock = Some(mode);
        self
    }

    /// Sets what the wall shows when it begins.
    #[must_use]
    pub const fn start(mut self, wall: SystemTime) -> Self {
        self.start = Some(wall);
        self
    }

    /// Sets how long a job waits although a runner is free.
    #[must_use]
    pub const fn queue_time(mut self, time: Duration) -> Self {
        self.queue_time = Some(time);
        self
    }

    /// Sets how long a run takes.
    #[must_use]
    pub const fn run_time(mut self, time: Duration) -> Self {
        self.run_time = Some(time);
        self
    }

    /// Sets how many jobs of one app run at once.
    #[must_use]
    pub const fn runners(mut self, runners: usize) -> Self {
        self.runners = Some(runners);
        self
    }

    /// Lets jobs complete while they are being submitted.
    #[must_use]
    pub const fn instant(mut self) -> Self {
        self.instant = Some(true);
        self
    }

    fn apply(&self, config: &mut Config) {
        let Self { seed, queue_time, run_time, runners, instant, .. } = self;
        if let Some(seed) = *seed {
            config.signing_seed = Some(config.signing_seed());
            config.seed = seed;
        }
        config.queue_time = queue_time.unwrap_or(config.queue_time);
        config.run_time = run_time.unwrap_or(config.run_time);
        config.runners = runners.or(config.runners);
        config.instant = instant.unwrap_or(config.instant);
    }
}

/// What can be seen of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantView {
    /// Who it is.
    pub id: TenantId,
    /// What it is called.
    pub name: String,
    /// Jobs that it keeps.
    pub jobs: usize,
    /// Files that it keeps.
    pub files: usize,
    /// Requests that it was asked.
    pub requests: u64,
    /// Bytes of inputs, results and files in memory.
    pub stored_bytes: usize,
}

/// Why a tenant cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TenantError {
    /// Its name is taken, empty, too long, or has other characters.
    Name(String),
    /// Its key is taken or has another form than `id:secret`.
    Key,
    /// There are [`TENANTS_MAX`].
    TooMany,
}

impl std::fmt::Display for TenantError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(why) => write!(f, "the name {why}"),
            Self::Key => f.write_str("the key is taken, or has not the form id:secret"),
            Self::TooMany => write!(f, "there are {TENANTS_MAX} tenants: end those that are done"),
        }
    }
}

impl std::error::Error for TenantError {}

impl Worlds {
    /// Makes a tenant; `start` is now. Returns who it is and its key.
    pub(crate) fn add_tenant(
        &mut self,
        settings: &Settings,
        start: Start,
        fresh_key: impl FnOnce() -> String,
    ) -> Result<(TenantId, String), TenantError> {
        if self.all.len() > TENANTS_MAX {
            return Err(TenantError::TooMany);
        }
        let tenant = self.last.next().ok_or(TenantError::TooMany)?;
        let name = settings.name.clone().unwrap_or_else(|| format!("t{tenant}"));
        self.check_name(&name)?;
        let key = settings.key.clone().unwrap_or_else(fresh_key);
        let is_key = matches!(key.split_once(':'), Some((id, secret)) if !id.is_empty() && !secret.is_empty());
        if !is_key || key.len() > KEY_BYTES_MAX || self.by_key(&key).is_some() {
            return Err(TenantError::Key);
        }
        let start = Start { wall: settings.start.unwrap_or(start.wall), ..start };
        self.last = tenant;
        self.begin(tenant, &name, KeyPrint::of(&key), settings, start);
        self.hear_of_tenant(TenantNews::Made(tenant));
        Ok((tenant, key))
    }

    /// The world of a tenant who comes, or comes back.
    pub(super) fn begin(
        &mut self,
        tenant: TenantId,
        name: &str,
        key: KeyPrint,
        settings: &Settings,
        start: Start,
    ) -> &mut World {
        let mut config = self.base.clone();
        config.tenant = tenant;
        config.jobs_max = config.jobs_max.min(TENANT_JOBS_MAX);
        config.store_bytes_max = config.store_bytes_max.min(TENANT_STORE_BYTES_MAX);
        self.keys.insert(key.digest, tenant);
        config.own_key = Some(key);
        settings.apply(&mut config);
        let mode = settings.clock.unwrap_or(self.base_mode);
        self.all.entry(tenant).or_insert_with(|| World::new(name, config, mode, start))
    }

    fn check_name(&self, name: &str) -> Result<(), TenantError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let why = if name.is_empty() || name.len() > NAME_CHARS_MAX {
            format!("must have 1 to {NAME_CHARS_MAX} characters")
        } else if !name.chars().all(is_plain) {
            "may have letters, digits and . _ - only".to_owned()
        } else if self.by_name(name).is_some() {
            format!("{name:?} is taken")
        } else {
            return Ok(());
        };
        Err(TenantError::Name(why))
    }

    /// Takes a tenant out, with all that it held. The first one stays. What is open must have been cut before.
    pub(crate) fn remove_tenant(&mut self, tenant: TenantId) -> Option<World> {
        if tenant == TenantId::FIRST {
            return None;
        }
        let world = self.all.remove(&tenant)?;
        let key = world.model.config().own_key.as_ref();
        key.inspect(|key| _ = self.keys.remove(&key.digest));
        world.alarm.inspect(|at| _ = self.alarms.remove(&(*at, tenant)));
        self.hear_of_tenant(TenantNews::Ended(tenant, world.name.clone()));
        Some(world)
    }

    /// Tenants beyond [`TENANTS_KEPT_IDLE`] whom nobody has asked anything for [`TENANT_IDLE_MAX`]: their test is long
    /// over. Those who were asked last stay.
    pub(crate) fn idle_tenants(&self, real: Instant) -> Vec<TenantId> {
        let others = || self.all.iter().skip(1);
        let many = others().count().saturating_sub(TENANTS_KEPT_IDLE);
        if many == 0 {
            return Vec::new();
        }
        let is_idle =
            |world: &World| real.saturating_duration_since(world.last_request) >= TENANT_IDLE_MAX;
        let idle = others().filter(|(_, world)| is_idle(world));
        let mut idle: Vec<_> = idle.map(|(tenant, world)| (world.last_request, *tenant)).collect();
        idle.sort_unstable();
        idle.into_iter().take(many).map(|(_, tenant)| tenant).collect()
    }

    /// Who there is, the oldest first.
    pub(crate) fn ids(&self) -> Vec<TenantId> {
        self.all.keys().copied().collect()
    }

    /// Who is called so.
    pub(crate) fn by_name(&self, name: &str) -> Option<TenantId> {
        self.all.iter().find(|(_, world)| &*world.name == name).map(|(tenant, _)| *tenant)
    }

    /// Every tenant, the oldest first.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantView> {
        self.all.iter().map(|(tenant, world)| world.view(*tenant))
    }
}

impl World {
    pub(crate) fn view(&self, id: TenantId) -> TenantView {
        TenantView {
            id,
            name: self.name.to_string(),
            jobs: self.model.job_count(),
            files: self.model.file_count(),
            requests: self.journal.total(),
            stored_bytes: self.model.stored_bytes(),
        }
    }
}

/// Tenants beside the first.
pub const TENANTS_MAX: usize = 10_000;

/// So many tenants stay whether anybody asks them anything or not.
pub const TENANTS_KEPT_IDLE: usize = 100;

/// Of more than [`TENANTS_KEPT_IDLE`], those whom nobody asks anything for so long are ended when another one is made: 1 hour
/// of real time.
pub const TENANT_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Longest name of a tenant.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// Longest key of a tenant.
const KEY_BYTES_MAX: usize = 256;

/// Jobs that a tenant keeps beside the first.
const TENANT_JOBS_MAX: usize = 50_000;

/// Bytes that a tenant keeps beside the first: 64 MiB.
const TENANT_STORE_BYTES_MAX: usize = 64 << 20;
