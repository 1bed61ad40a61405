//! Webhooks: one news for each job that asked for it, signed, and repeated until it is taken.
//!
//! | From | Event | To |
//! |---|---|---|
//! | (none) | the job ends | in flight; refused if its address may not be called |
//! | in flight | 2xx | delivered |
//! | in flight | 3xx | given up |
//! | in flight | anything else, or no answer in time | resting; given up when no attempt is left |
//! | resting | rest over | in flight |
//! | any but refused | redeliver by control | in flight, with all attempts anew |

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use super::about::About;
use super::answer::Lasting;
use super::config::{Config, LARGE_RESULT_BYTES_MIN};
use super::exchange::{Door, Output, Response};
use super::failure::Failure;
use super::id::RequestId;
use super::input::Problem;
use super::job::{Outcome, State};
use super::signer::{Signer, message, signature_value};
use super::{Due, Model};
use crate::render;
use crate::scenario::{Action, Operation, Webhook};

/// Where a job reports its end.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) url: Box<str>,
    /// The way in of the submit, which addresses in the news take too.
    pub(crate) door: Door<'static>,
}

/// How deliveries are repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryProfile {
    /// Attempts after the first, at most [`RETRIES_MAX`].
    pub retries: u32,
    /// How long the first attempt may take.
    pub first_timeout: Duration,
    /// How long each further attempt may take.
    pub retry_timeout: Duration,
    /// After this time no attempt begins. `None`: as long as the result of the job can be read.
    pub window: Option<Duration>,
    /// The rest before the second attempt; doubles with each one.
    pub backoff_base: Duration,
    /// The longest rest.
    pub backoff_max: Duration,
}

impl RetryProfile {
    /// What the documentation says in 2026, and the default: 31 retries while the result can be read.
    ///
    /// Source: docs.fal.ai, webhooks page (documented; the rests between attempts are inferred).
    #[must_use]
    pub const fn docs_2026() -> Self {
        Self {
            retries: 31,
            first_timeout: Duration::from_secs(15),
            retry_timeout: Duration::from_secs(120),
            window: None,
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(120),
        }
    }

    /// What it said in 2024: 10 retries within 2 hours.
    ///
    /// Source: docs.fal.ai of 2024, webhooks page (documented; the rests are inferred: the last attempt
    /// begins within the two hours).
    #[must_use]
    pub const fn docs_2024() -> Self {
        Self {
            retries: 10,
            first_timeout: Duration::from_secs(15),
            retry_timeout: Duration::from_secs(15),
            window: Some(Duration::from_secs(2 * 3600)),
            backoff_base: Duration::from_secs(5),
            backoff_max: Duration::from_secs(1800),
        }
    }

    /// The same inside what instants can be added to.
    pub(crate) fn bounded(mut self, time_max: Duration) -> Self {
        self.retries = self.retries.min(RETRIES_MAX);
        for time in [
            &mut self.first_timeout,
            &mut self.retry_timeout,
            &mut self.backoff_base,
            &mut self.backoff_max,
        ] {
            *time = (*time).min(time_max);
        }
        // An attempt that may take no time could never succeed.
        self.first_timeout = self.first_timeout.max(Duration::from_millis(1));
        self.retry_timeout = self.retry_timeout.max(Duration::from_millis(1));
        self
    }

    const fn timeout(&self, attempt: u32) -> Duration {
        if attempt <= 1 { self.first_timeout } else { self.retry_timeout }
    }

    /// The rest after that many attempts.
    fn rest(&self, attempts: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1).min(31));
        self.backoff_base.saturating_mul(factor).min(self.backoff_max)
    }
}

impl Default for RetryProfile {
    fn default() -> Self {
        Self::docs_2026()
    }
}

/// Which addresses deliveries may call. Only plain `http` is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookHosts {
    /// This machine: `localhost`, `127.0.0.0/8` and `[::1]`. The real service calls everything but these.
    #[default]
    Loopback,
    /// Every host.
    Any,
}

impl WebhookHosts {
    /// Why an address is not called, if so.
    pub(super) fn refusal(self, uri: &Uri) -> Option<&'static str> {
        if uri.scheme_str() != Some("http") {
            return Some("only plain http is spoken");
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        (self == Self::Loopback && !is_loopback).then_some("it is not on this machine")
    }
}

/// How the body of a delivery is written. Receivers must not care: what is signed is the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookLayout {
    /// Members sorted, with a space behind commas and colons: as in a delivery that third parties captured.
    #[default]
    Captured,
    /// Without spaces, in the order of the documentation.
    Compact,
}

/// How an attempt to deliver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryResult {
    /// With an answer of this status.
    Answered(StatusCode),
    /// Without an answer, for this reason.
    Failed(Box<str>),
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryState {
    /// An attempt is in flight.
    InFlight,
    /// The next attempt comes by itself.
    Resting,
    /// The receiver has taken it.
    Delivered,
    /// No attempt follows.
    GivenUp,
    /// Its address is never called, for this reason.
    Refused(&'static str),
}

/// What can be seen of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryView {
    /// Counts up from 1; a delivery that is made anew by hand gets a new one.
    pub number: u64,
    /// The job that it is about.
    pub request_id: RequestId,
    /// Where it goes.
    pub url: String,
    /// What it says, the same in every attempt.
    pub body: Bytes,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its attempts, the oldest first.
    pub attempts: Vec<DeliveryAttempt>,
}

/// One attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// When it began, which is also what was signed.
    pub at: SystemTime,
    /// How it ended; `None` while it is in flight.
    pub result: Option<DeliveryResult>,
    /// What it was signed with.
    pub signature: [u8; 64],
    /// How much of the body was sent: all of it, unless a fault has cut it off.
    pub bytes: usize,
}

/// All deliveries, and who signs them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries {
    pub(super) all: BTreeMap<u64, Delivery>,
    /// The exchange of each attempt in flight.
    in_flight: BTreeMap<u64, u64>,
    pub(super) last: u64,
    last_exchange: u64,
    pub(super) bytes: usize,
    pub(crate) signer: Signer,
    /// Keys of other tenants that the set of keys shows too.
    pub(crate) other_keys: Vec<[u8; 32]>,
    /// The next output is said to be one that no news can carry.
    pub(crate) withhold_next: bool,
    /// Those that shall come after the next one.
    overtaken: Vec<u64>,
    /// What has changed since it was written down, and whether it is new; if anybody writes it down.
    pub(super) log: Option<BTreeMap<u64, bool>>,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) request_id: RequestId,
    pub(super) url: Uri,
    pub(super) body: Bytes,
    pub(super) state: DeliveryState,
    pub(super) attempts: Vec<DeliveryAttempt>,
    /// Attempts since it was begun or begun anew.
    pub(super) tries: u32,
    /// Counts moves, so that events planned before a move are known to be stale.
    pub(super) epoch: u32,
    pub(super) exchange: u64,
    pub(super) until: Option<Instant>,
    /// What the rule of its job wants to go wrong, once.
    pub(super) planned: Webhook,
    /// What goes wrong with the next attempt, where that was decided before it was put off.
    pub(super) put_off: Option<Webhook>,
    /// When the next attempt begins, while it rests.
    pub(super) next: Option<Instant>,
}

impl Delivery {
    fn view(&self, number: u64) -> DeliveryView {
        DeliveryView {
            number,
            request_id: self.request_id,
            url: self.url.to_string(),
            body: self.body.clone(),
            state: self.state.clone(),
            attempts: self.attempts.clone(),
        }
    }
}

impl Deliveries {
    fn add(&mut self, delivery: Delivery) -> u64 {
        self.last += 1;
        self.bytes += delivery.body.len();
        self.all.insert(self.last, delivery);
        if let Some(log) = &mut self.log {
            log.insert(self.last, true);
        }
        self.last
    }

    /// Forgets the oldest if there are too many; says which.
    fn evict_one(&mut self) -> Option<u64> {
        // The newest stays even where it alone is too large.
        let is_too_large = self.bytes > DELIVERY_BYTES_MAX && self.all.len() > 1;
        if self.all.len() <= DELIVERIES_MAX && !is_too_large {
            return None;
        }
        let (number, oldest) = self.all.pop_first()?;
        self.bytes -= oldest.body.len();
        self.in_flight.remove(&oldest.exchange);
        Some(number)
    }

    /// A delivery has changed, has come or has gone.
    pub(super) fn moved(&mut self, number: u64) {
        if let Some(log) = &mut self.log {
            log.entry(number).or_insert(false);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The job that a planned event is about, if it still means something.
    pub(crate) fn job_of(&self, number: u64, epoch: u32) -> Option<RequestId> {
        self.all.get(&number).filter(|one| one.epoch == epoch).map(|one| one.request_id)
    }

    /// Whether an event still means something.
    pub(crate) fn is_current(&self, number: u64, epoch: u32) -> bool {
        self.all.get(&number).is_some_and(|delivery| delivery.epoch == epoch)
    }
}

impl DeliveryView {
    /// What an attempt is signed with, as its headers say it: job, account, time, signature. The signed message is the
    /// first three and the SHA-256 of the body in lines.
    #[must_use]
    pub fn signed(&self, attempt: &DeliveryAttempt) -> Vec<(String, String)> {
        let since = attempt.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let signature: String =
            attempt.signature.iter().map(|byte| format!("{byte:02x}")).collect();
        let signed = [
            (REQUEST_ID, self.request_id.to_string()),
            (USER_ID, USER.to_owned()),
            (TIMESTAMP, since.as_secs().to_string()),
            (SIGNATURE, signature),
        ];
        signed.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

impl Model {
    /// Whether a receiver would believe an attempt by the keys that are shown now.
    pub(crate) fn signature_holds(
        &mut self,
        view: &DeliveryView,
        attempt: &DeliveryAttempt,
    ) -> bool {
        let signed = view.signed(attempt);
        let [request_id, user, timestamp] = [0, 1, 2].map(|at| signed[at].1.as_bytes());
        let message = message(request_id, user, timestamp, &view.body[..attempt.bytes]);
        self.deliveries.signer.holds(self.config.signing_seed(), &message, &attempt.signature)
    }

    /// An attempt to deliver has ended. Attempts that are over or unknown change nothing.
    pub fn handle_delivered(&mut self, now: Instant, id: u64, result: DeliveryResult) {
        self.advance(now);
        if let Some(number) = self.deliveries.in_flight.get(&id).copied() {
            self.delivered(number, result);
        }
        self.settle(now);
    }

    /// The last deliveries, the oldest first, up to [`DELIVERIES_MAX`].
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        self.deliveries.all.iter().map(|(number, one)| one.view(*number)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn delivery(&self, number: u64) -> Option<DeliveryView> {
        self.deliveries.all.get(&number).map(|one| one.view(number))
    }

    /// Tells of the end of a job, if that was wanted.
    pub(crate) fn announce(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(id) else { return };
        let (Some(hook), State::Done { outcome, run }) = (&job.hook, &job.state) else { return };
        let is_silent = run.is_none() && job.cancel_asked && !self.config.webhook_of_cancelled;
        let Some(url) = hook.url.parse().ok().filter(|_| !is_silent) else { return };
        let large = outcome.bytes() >= LARGE_RESULT_BYTES_MIN;
        let body = match outcome.clone() {
            // An instant job with a hook is never left unread.
            Outcome::Unread => return,
            Outcome::Failed(failure) => News::failure(&failure).render(id, &self.config),
            Outcome::Made(_) if std::mem::take(&mut self.deliveries.withhold_next) => {
                News::without_payload().render(id, &self.config)
            }
            Outcome::Made(answer) => {
                let time = run.map_or(Duration::ZERO, |run| run.until - run.since);
                let endpoint = job.endpoint.as_str();
                let lasting =
                    job.keep.as_ref().map(|keep| Lasting::new(id, keep, self.now, self.now));
                let (files, age) = (&mut self.files, &mut self.age);
                let output = answer.publish(files, age, endpoint, &hook.door, time, lasting);
                News::output(output).render(id, &self.config)
            }
        };
        let planned = job.plan.rule.as_ref().map(|rule| rule.webhook.clone()).unwrap_or_default();
        self.post(id, url, body, large, planned);
    }

    /// Tells of the end of a job that the model does not have: its result is this answer.
    pub(crate) fn announce_result(
        &mut self,
        now: Instant,
        id: RequestId,
        url: &str,
        result: &Response,
    ) {
        self.advance(now);
        if let Ok(url) = url.parse() {
            let body = result.body();
            let news = match result.status().is_success() {
                true => News::output(body.to_vec()),
                false => News::failure(&Failure::new(result.status(), body.clone(), "", None)),
            };
            let large = body.len() >= LARGE_RESULT_BYTES_MIN;
            self.post(id, url, news.render(id, &self.config), large, Webhook::default());
        }
        self.settle(now);
    }

    /// Begins to deliver.
    fn post(&mut self, id: RequestId, url: Uri, body: Vec<u8>, large: bool, planned: Webhook) {
        let retention = if large { self.config.retention_large } else { self.config.retention };
        let window = self.config.webhook_retry.window.unwrap_or(retention);
        let refusal = self.config.webhook_hosts.refusal(&url);
        let number = self.add_delivery(Delivery {
            request_id: id,
            url,
            body: body.into(),
            state: refusal.map_or(DeliveryState::Resting, DeliveryState::Refused),
            attempts: Vec::new(),
            tries: 0,
            epoch: 0,
            exchange: 0,
            until: self.now.checked_add(window),
            planned,
            put_off: None,
            next: None,
        });
        match refusal {
            None => self.deliver(number),
            Some(_) => self.note_delivery(number),
        }
    }

    fn add_delivery(&mut self, delivery: Delivery) -> u64 {
        let number = self.deliveries.add(delivery);
        while let Some(gone) = self.deliveries.evict_one() {
            self.note_delivery_gone(gone);
        }
        number
    }

    /// Begins the next attempt, or puts it off where a scenario wants that.
    pub(crate) fn deliver(&mut self, number: u64) {
        let Some(delivery) = self.deliveries.all.get_mut(&number) else { return };
        let spoilt = match delivery.put_off.take() {
            Some(spoilt) => spoilt,
            None => self.spoil_delivery(number),
        };
        if spoilt.late > Duration::ZERO || spoilt.reorder {
            return self.put_off(number, spoilt);
        }
        let wall = self.wall(self.now);
        let deliveries = &mut self.deliveries;
        let Some(delivery) = deliveries.all.get_mut(&number) else { return };
        delivery.tries += 1;
        delivery.epoch += 1;
        delivery.state = DeliveryState::InFlight;
        deliveries.last_exchange += 1;
        delivery.exchange = deliveries.last_exchange;
        deliveries.in_flight.insert(delivery.exchange, number);
        // Signed anew, because receivers refuse what was signed long ago (inferred).
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(header::CONTENT_TYPE, super::reply::JSON);
        let user = HeaderValue::from_static(USER);
        let request_id = super::reply::id_value(delivery.request_id);
        let signed_at = match spoilt.expired {
            true => wall.checked_sub(EXPIRED_AGE).unwrap_or(SystemTime::UNIX_EPOCH),
            false => wall,
        };
        let seed = self.config.signing_seed();
        let signer = &mut deliveries.signer;
        let key = if spoilt.wrong_key { Signer::stranger(seed) } else { signer.key(seed).clone() };
        let (seconds, signature) =
            Signer::sign(&key, &request_id, &user, signed_at, &delivery.body);
        headers.insert(REQUEST_ID, request_id);
        headers.insert(USER_ID, user);
        headers.insert(TIMESTAMP, seconds);
        headers.insert(SIGNATURE, signature_value(&signature));
        let time_max = self.config.webhook_retry.timeout(delivery.tries);
        let event = Due::Delivery(number, delivery.epoch);
        let body = match spoilt.truncated {
            true => delivery.body.slice(..delivery.body.len() / 2),
            false => delivery.body.clone(),
        };
        let bytes = body.len();
        delivery.attempts.push(DeliveryAttempt { at: signed_at, result: None, signature, bytes });
        // Only the answer to the first copy counts.
        for copy in 0..=u64::from(spoilt.duplicate) {
            self.out.push_back(Output::Deliver {
                id: delivery.exchange + copy,
                url: delivery.url.clone(),
                headers: headers.clone(),
                body: body.clone(),
                time_max,
            });
        }
        deliveries.last_exchange += u64::from(spoilt.duplicate);
        self.plan_after(time_max, event);
        self.note_delivery(number);
        for other in std::mem::take(&mut self.deliveries.overtaken) {
            self.deliver(other);
        }
    }

    /// What goes wrong with the next attempt: as the rule of its job wants for the first, and as faults want.
    fn spoil_delivery(&mut self, number: u64) -> Webhook {
        let Some(delivery) = self.deliveries.all.get_mut(&number) else {
            return Webhook::default();
        };
        let planned = std::mem::take(&mut delivery.planned);
        let id = delivery.request_id;
        let Some(play) = self.play.as_mut().filter(|play| play.is_watching()) else {
            return planned;
        };
        let Some(job) = self.jobs.get(id) else { return planned };
        let about = About::job(Operation::Webhook, id, job);
        let Some(effect) = about.with(|facts| play.fault(facts)) else { return planned };
        let number = play.fired(self.now, &effect, &about.whom());
        self.note_fault(&effect, number, &about);
        match &effect.fault.action {
            Action::Webhook(webhook) => planned.and(webhook),
            _ => planned,
        }
    }

    /// Lets an attempt be later, or after the next one of another delivery.
    fn put_off(&mut self, number: u64, spoilt: Webhook) {
        let Some(delivery) = self.deliveries.all.get_mut(&number) else { return };
        let time = if spoilt.reorder { spoilt.late.max(OVERTAKE_TIME) } else { spoilt.late };
        if spoilt.reorder {
            self.deliveries.overtaken.push(number);
        }
        delivery.put_off = Some(Webhook { late: Duration::ZERO, reorder: false, ..spoilt });
        delivery.state = DeliveryState::Resting;
        delivery.epoch += 1;
        let event = Due::Delivery(number, delivery.epoch);
        self.plan_after(time, event);
        self.note_delivery(number);
    }

    /// An attempt has taken too long, or a rest is over.
    pub(crate) fn delivery_due(&mut self, number: u64, epoch: u32) {
        let Some(delivery) = self.deliveries.all.get(&number) else { return };
        if delivery.epoch != epoch {
            return;
        }
        match delivery.state {
            DeliveryState::InFlight => {
                let time = self.config.webhook_retry.timeout(delivery.tries);
                let why = format!("no answer within {time:?}");
                self.delivered(number, DeliveryResult::Failed(why.into()));
            }
            DeliveryState::Resting => {
                self.deliveries.overtaken.retain(|other| *other != number);
                self.deliver(number);
            }
            _ => {}
        }
    }

    pub(super) fn delivered(&mut self, number: u64, result: DeliveryResult) {
        self.note_answer(number, &result);
        let profile = &self.config.webhook_retry;
        let Some(delivery) = self.deliveries.all.get_mut(&number) else { return };
        self.deliveries.in_flight.remove(&delivery.exchange);
        let next = self.now.checked_add(profile.rest(delivery.tries));
        let in_time = next.filter(|next| delivery.until.is_none_or(|until| *next < until));
        let (state, next) = match &result {
            DeliveryResult::Answered(status) if status.is_success() => {
                (DeliveryState::Delivered, None)
            }
            DeliveryResult::Answered(status) if status.is_redirection() => {
                (DeliveryState::GivenUp, None)
            }
            _ if delivery.tries > profile.retries => (DeliveryState::GivenUp, None),
            _ if in_time.is_none() => (DeliveryState::GivenUp, None),
            _ => (DeliveryState::Resting, in_time),
        };
        delivery.state = state;
        delivery.next = next;
        delivery.epoch += 1;
        if let Some(attempt) = delivery.attempts.last_mut() {
            attempt.result = Some(result);
        }
        let event = Due::Delivery(number, delivery.epoch);
        if let Some(at) = next {
            self.plan(at, event);
        }
        self.note_delivery(number);
    }

    fn note_answer(&mut self, number: u64, result: &DeliveryResult) {
        if !self.play.as_ref().is_some_and(|play| play.is_watching()) {
            return;
        }
        let Some(delivery) = self.deliveries.all.get(&number) else { return };
        let Some(job) = self.jobs.get(delivery.request_id) else { return };
        let about = About::job(Operation::Webhook, delivery.request_id, job);
        let status = match result {
            DeliveryResult::Answered(status) => Some(*status),
            DeliveryResult::Failed(_) => None,
        };
        self.note(&about, status);
    }

    /// Delivers the news of a job once more, with all attempts anew.
    pub(crate) fn redeliver(&mut self, id: RequestId) -> bool {
        let until =
            self.now.checked_add(self.config.webhook_retry.window.unwrap_or(self.config.retention));
        let mut all = self.deliveries.all.iter_mut().rev();
        let Some((&number, delivery)) = all.find(|(_, delivery)| delivery.request_id == id) else {
            return false;
        };
        if matches!(delivery.state, DeliveryState::Refused(_)) {
            return false;
        }
        self.deliveries.in_flight.remove(&delivery.exchange);
        delivery.attempts.clear();
        delivery.tries = 0;
        delivery.until = until;
        let delivery = self.deliveries.all.remove(&number).expect("just found");
        self.deliveries.bytes -= delivery.body.len();
        self.note_delivery_gone(number);
        let number = self.add_delivery(delivery);
        self.deliver(number);
        true
    }
}

/// The address of a submit's `fal_webhook`, if it can be one.
pub(crate) fn check_url(text: &str) -> Result<(), Failure> {
    let input = serde_json::Value::from(text);
    let refuse = |kind, msg: &str| {
        Err(Failure::invalid(&[Problem::new(&["query", "fal_webhook"], kind, msg, &input)]))
    };
    let Ok(uri) = text.parse::<Uri>() else {
        return refuse("url_parsing", "Input should be a valid URL");
    };
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        Some("http" | "https") => refuse("url_parsing", "Input should be a valid URL with a host"),
        Some(_) => refuse("url_scheme", "URL scheme should be 'http' or 'https'"),
        None => refuse("url_parsing", "Input should be a valid URL, relative URL without a base"),
    }
}

/// What a delivery says, before it is written.
struct News {
    is_ok: bool,
    error: Option<String>,
    /// JSON.
    payload: Bytes,
    has_payload_error: bool,
}

impl News {
    fn output(output: Vec<u8>) -> Self {
        Self { is_ok: true, error: None, payload: output.into(), has_payload_error: false }
    }

    const fn without_payload() -> Self {
        Self { is_ok: true, error: None, payload: NULL, has_payload_error: true }
    }

    fn failure(failure: &Failure) -> Self {
        // A test may give a failure any body; what is no JSON cannot be told.
        let is_json = serde_json::from_slice::<serde_json::Value>(&failure.body).is_ok();
        Self {
            is_ok: false,
            error: Some(format!("Invalid status code: {}", failure.status.as_u16())),
            payload: if is_json { failure.body.clone() } else { NULL },
            has_payload_error: false,
        }
    }

    fn render(&self, id: RequestId, config: &Config) -> Vec<u8> {
        let mut error = Vec::new();
        match &self.error {
            Some(text) => render::push_string(&mut error, text),
            None if config.webhook_null_error => error.extend_from_slice(b"null"),
            None => {}
        }
        let mut problem = Vec::new();
        if self.has_payload_error {
            render::push_string(&mut problem, PAYLOAD_ERROR);
        }
        let mut name = vec![b'"'];
        name.extend_from_slice(&id.to_text());
        name.push(b'"');
        let status: &[u8] = if self.is_ok { b"\"OK\"" } else { b"\"ERROR\"" };
        // Empty values are members that are not there.
        let members: [(&str, &[u8]); 6] = [
            ("error", &error),
            ("gateway_request_id", &name),
            ("payload", &self.payload),
            ("payload_error", &problem),
            ("request_id", &name),
            ("status", status),
        ];
        let (order, comma, colon): ([usize; 6], &[u8], &[u8]) = match config.webhook_layout {
            WebhookLayout::Captured => ([0, 1, 2, 3, 4, 5], b", ", b"\": "),
            WebhookLayout::Compact => ([4, 1, 5, 2, 0, 3], b",", b"\":"),
        };
        let mut out = Vec::with_capacity(self.payload.len() * 5 / 4 + 256);
        out.push(b'{');
        for (key, value) in order.map(|at| members[at]) {
            if value.is_empty() {
                continue;
            }
            if out.len() > 1 {
                out.extend_from_slice(comma);
            }
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(colon);
            match config.webhook_layout {
                WebhookLayout::Captured => push_spaced(&mut out, value),
                WebhookLayout::Compact => out.extend_from_slice(value),
            }
        }
        out.push(b'}');
        out
    }
}

/// Writes JSON with a space behind every comma and colon that is not inside a text.
fn push_spaced(out: &mut Vec<u8>, json: &[u8]) {
    let (mut in_text, mut is_escaped) = (false, false);
    for (at, &byte) in json.iter().enumerate() {
        out.push(byte);
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b':' if !in_text && json.get(at + 1) != Some(&b' ') => out.push(b' '),
            _ => {}
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-fal-webhook-request-id");
const USER_ID: HeaderName = HeaderName::from_static("x-fal-webhook-user-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-fal-webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-fal-webhook-signature");

const NULL: Bytes = Bytes::from_static(b"null");

const PAYLOAD_ERROR: &str = "Response payload is not JSON serializable: fetch the result";

/// The account behind every key.
const USER: &str = "user_fal_mock";

/// How old the timestamp of a delivery is that shall be refused: twice what receivers accept.
///
/// Source: docs.fal.ai, webhooks page: five minutes (documented).
const EXPIRED_AGE: Duration = Duration::from_secs(600);

/// A delivery that shall be overtaken waits so long for another one.
const OVERTAKE_TIME: Duration = Duration::from_secs(5);

/// Most attempts after the first that a profile may ask for.
pub const RETRIES_MAX: u32 = 100;

/// Deliveries that are remembered; the oldest is dropped, also where an attempt would follow.
pub const DELIVERIES_MAX: usize = 10_000;

/// Bytes of bodies of deliveries that are remembered: 64 MiB.
pub const DELIVERY_BYTES_MAX: usize = 64 << 20;
