//! What a service is started with: timing, access, limits.

use std::sync::Arc;
use std::time::Duration;

use fal_protocol::schema::Mode;

use super::auth::KeyPrint;
use super::catalog::Catalog;
use super::id::TenantId;
use super::realtime::RealtimeConfig;
use super::webhook::{RetryProfile, WebhookHosts, WebhookLayout};
use crate::replay::Recordings;
use crate::scenario::Scenario;

/// How a [`Model`](super::Model) behaves. Change fields of [`Config::default`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whose service it is.
    pub tenant: TenantId,
    /// Everything that looks random follows from it: request ids, seeds of pictures, signatures.
    pub seed: u64,
    /// What the key that signs deliveries follows from. Default: `seed`. Tenants share it, since the set of keys
    /// is asked for without saying who asks.
    pub signing_seed: Option<u64>,
    /// How long a job waits in the queue even when a runner is free. Default: [`QUEUE_TIME`].
    pub queue_time: Duration,
    /// How long a run takes. Default: [`RUN_TIME`].
    pub run_time: Duration,
    /// How long a running job takes to heed a cancel. Default: [`CANCEL_TIME`].
    pub cancel_time: Duration,
    /// Jobs complete while they are being submitted, and runs answer at once.
    pub instant: bool,
    /// How many jobs of one app run at once. Default: no limit.
    pub runners: Option<usize>,
    /// Whether calls without a key are refused. Default: yes.
    pub require_key: bool,
    /// Apps (`owner/alias`) that answer without a key even so.
    pub public_models: Vec<String>,
    /// Apps (`owner/alias`) that are not for whoever calls: 403. Default: none.
    pub private_models: Vec<String>,
    /// Why the account behind every key is locked, such as `Exhausted balance`: nothing runs, 403. Default: it
    /// is not.
    pub locked: Option<Box<str>>,
    /// The keys (`id:secret`) that are accepted. Default: none listed, so every well-formed key is.
    pub keys: Vec<String>,
    /// The models whose documents it knows. Default: [`Catalog::bundled`].
    pub catalog: Arc<Catalog>,
    /// Whether endpoints that the catalog does not know are refused with 404. Default: no, they take and
    /// give what text-to-image models share.
    pub strict: bool,
    /// How inputs are held against the document of their model. Default: as fal does it.
    pub validation: Mode,
    /// How long a finished job can be read. Default: [`RETENTION`].
    pub retention: Duration,
    /// The same for results of [`LARGE_RESULT_BYTES_MIN`] and more. Default: [`RETENTION_LARGE`].
    pub retention_large: Duration,
    /// The silence after which a status stream carries a comment. Default: [`PING_INTERVAL`].
    pub ping_interval: Duration,
    /// How long a signed upload address is valid. Default: [`UPLOAD_TIME_MAX`].
    pub upload_time_max: Duration,
    /// How long a token for uploads is valid. Default: [`TOKEN_TIME`].
    pub token_time: Duration,
    /// Whether an upload to Google's must have the content type that it was started with. Default: yes.
    pub gcs_checks_content_type: bool,
    /// How webhooks are repeated. Default: [`RetryProfile::docs_2026`].
    pub webhook_retry: RetryProfile,
    /// Which addresses webhooks may call. Default: those of this machine.
    pub webhook_hosts: WebhookHosts,
    /// Whether a job that was cancelled before it started is news. Default: no (inferred).
    pub webhook_of_cancelled: bool,
    /// How the bodies of webhooks are written. Default: as one that was captured.
    pub webhook_layout: WebhookLayout,
    /// Whether webhooks about outputs have `"error": null`, as in a captured one and in old documentation.
    /// Default: no, as the documentation says now.
    pub webhook_null_error: bool,
    /// How sessions over WebSocket behave.
    pub realtime: RealtimeConfig,
    /// Jobs kept; beyond it the oldest goes, finished ones first. Default: [`JOBS_MAX`].
    pub jobs_max: usize,
    /// Bytes of inputs, results and files kept in memory, evicted likewise. Default: [`STORE_BYTES_MAX`].
    pub store_bytes_max: usize,
    /// Longest request body that is no file; 413 beyond it. Default: [`BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// Longest upload of a file or of one part; 413 beyond it. Default: [`UPLOAD_BYTES_MAX`].
    pub upload_bytes_max: u64,
    /// Bytes of files kept outside of memory; beyond it the oldest whole file goes. Default:
    /// [`SPOOL_BYTES_MAX`].
    pub spool_bytes_max: u64,
    /// The scenario that is played. Default: none.
    pub scenario: Option<Arc<Scenario>>,
    /// Whether calls that no rule of the scenario covers are refused with 404. Default: no.
    pub isolated: bool,
    /// Whether a scenario that comes by the control API may start programs (`exec`). Default: no.
    pub allow_exec: bool,
    /// Whether servers of a scenario (`http`) may be anywhere. Default: on this machine or in a private network only.
    pub far_backends: bool,
    /// Sync runs, streams and WebSockets open at once; 429 beyond it. Default: [`EXCHANGES_MAX`].
    pub exchanges_max: usize,
    /// The key that selects the tenant, which is accepted beside `keys`. Default: none.
    pub(crate) own_key: Option<KeyPrint>,
    /// Recordings that answer in place of the model. Default: none. Worlds look at it; a model alone does not.
    pub(crate) recordings: Option<Recordings>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tenant: TenantId::FIRST,
            seed: 0,
            signing_seed: None,
            queue_time: QUEUE_TIME,
            run_time: RUN_TIME,
            cancel_time: CANCEL_TIME,
            instant: false,
            runners: None,
            require_key: true,
            public_models: Vec::new(),
            private_models: Vec::new(),
            locked: None,
            keys: Vec::new(),
            catalog: Catalog::shared(),
            strict: false,
            validation: Mode::AsFal,
            retention: RETENTION,
            retention_large: RETENTION_LARGE,
            ping_interval: PING_INTERVAL,
            upload_time_max: UPLOAD_TIME_MAX,
            token_time: TOKEN_TIME,
            gcs_checks_content_type: true,
            webhook_retry: RetryProfile::default(),
            webhook_hosts: WebhookHosts::default(),
            webhook_of_cancelled: false,
            webhook_layout: WebhookLayout::default(),
            webhook_null_error: false,
            realtime: RealtimeConfig::default(),
            scenario: None,
            isolated: false,
            allow_exec: false,
            far_backends: false,
            jobs_max: JOBS_MAX,
            store_bytes_max: STORE_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            upload_bytes_max: UPLOAD_BYTES_MAX,
            spool_bytes_max: SPOOL_BYTES_MAX,
            exchanges_max: EXCHANGES_MAX,
            own_key: None,
            recordings: None,
        }
    }
}

impl Config {
    /// The same with every time inside what instants can be added to, and a ping interval above zero.
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.queue_time,
            &mut self.run_time,
            &mut self.cancel_time,
            &mut self.retention,
            &mut self.retention_large,
            &mut self.ping_interval,
            &mut self.upload_time_max,
            &mut self.token_time,
        ] {
            *time = (*time).min(TIME_MAX);
        }
        self.realtime = self.realtime.bounded(TIME_MAX);
        self.webhook_retry = self.webhook_retry.bounded(TIME_MAX);
        self.ping_interval = self.ping_interval.max(Duration::from_millis(1));
        self
    }

    /// What webhook keys follow from.
    pub(crate) fn signing_seed(&self) -> u64 {
        self.signing_seed.unwrap_or(self.seed)
    }
}

/// Longest time that can be configured: a year. Longer ones are cut to it.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Long enough to see every queue position, short enough not to be waited for.
pub const QUEUE_TIME: Duration = Duration::from_millis(200);

/// With [`QUEUE_TIME`] a whole job takes a second.
pub const RUN_TIME: Duration = Duration::from_millis(800);

/// A cancel of a running job is a request: it takes a moment, and the job may finish first.
pub const CANCEL_TIME: Duration = Duration::from_millis(50);

/// How long a finished job can be read: 1 hour.
///
/// Source: docs.fal.ai, result page (documented).
pub const RETENTION: Duration = Duration::from_secs(3600);

/// How long a large result can be read: 6 minutes.
///
/// Source: docs.fal.ai, result page (documented).
pub const RETENTION_LARGE: Duration = Duration::from_secs(360);

/// From here on a result is large: 10 KB.
///
/// Source: docs.fal.ai, result page (documented; whether KB means 1000 or 1024 is not said, we take 1024).
pub const LARGE_RESULT_BYTES_MIN: usize = 10 * 1024;

/// A status stream is never silent for longer.
///
/// Source: docs.fal.ai, status stream page (documented).
pub const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long a signed upload address is valid: 1 hour (inferred).
pub const UPLOAD_TIME_MAX: Duration = Duration::from_secs(3600);

/// How long a token for uploads is valid: 24 hours (inferred; the serverless SDK wants more than 1 hour).
pub const TOKEN_TIME: Duration = Duration::from_secs(24 * 3600);

/// Jobs kept. A finished one costs about 600 bytes plus its input.
pub const JOBS_MAX: usize = 500_000;

/// Bytes of inputs, results and files kept: 512 MiB.
pub const STORE_BYTES_MAX: usize = 512 << 20;

/// Longest request body that is no file: 100 MiB.
pub const BODY_BYTES_MAX: usize = 100 << 20;

/// Longest upload of a file or of one part: 5 GiB, as at S3 (inferred).
pub const UPLOAD_BYTES_MAX: u64 = 5 << 30;

/// Bytes of files kept outside of memory: 16 GiB.
pub const SPOOL_BYTES_MAX: u64 = 16 << 30;

/// Sync runs, streams and WebSockets open at once.
pub const EXCHANGES_MAX: usize = 50_000;

/// How often a job may be put back into the queue, its first attempt included.
///
/// Source: docs.fal.ai, retries page: up to 10 attempts in total (documented).
pub const ATTEMPTS_MAX: usize = 10;
