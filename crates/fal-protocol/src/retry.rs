//! Whether, when and how often an exchange is repeated.
//!
//! | Asked in this order | Answer |
//! |---|---|
//! | the user's [`RetryPolicy`] | may force or forbid a status |
//! | the service's word | `X-Fal-Needs-Retry`, then `X-Fal-Retryable` |
//! | the error type | infrastructure failures pass, refusals do not |
//! | the status | 429 and an ingress's 502/503/504 |
//!
//! A request that costs money ([`Purpose::is_paid`]) is repeated only when the service cannot have
//! seen it, or says itself that it did no work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::ErrorType;
use crate::headers;
use crate::rand::SplitMix64;
use crate::wire::{Failure, FailureKind, Response, Sent};

/// What an exchange is for: it decides what a repeat would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// A direct run.
    Run,
    /// A streamed run.
    Stream,
    /// Putting a job into the queue.
    Submit,
    /// Reading a status.
    Status,
    /// Reading a result, which may replay a stored failure.
    Result,
    /// Cancelling: asking twice is harmless.
    Cancel,
    /// Asking where to upload: an address not used costs nothing.
    Initiate,
    /// Writing a file, or a part of one, to its address: the same bytes again change nothing.
    Put,
    /// Putting the parts of a file together: what is done stays done.
    Complete,
    /// Reading the keys with which webhooks are signed.
    Keys,
    /// Reading or setting what the platform API holds: asking twice is harmless.
    Platform,
    /// Asking for a short-lived token: one that is not used costs nothing.
    Token,
    /// Opening a WebSocket: nothing is paid for before an input goes over it.
    Connect,
}

impl Purpose {
    /// Whether repeating it could make the caller pay twice.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Run | Self::Stream | Self::Submit)
    }
}

/// The caller's rules for repeats.
///
/// ```
/// use fal_protocol::retry::RetryPolicy;
///
/// let patient = RetryPolicy::default().with_attempts_read(20);
/// assert_eq!((patient.attempts_paid, patient.attempts_read), (4, 20));
/// assert_eq!(RetryPolicy::never().attempts_read, 1);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts for a submit or run, the first included. Default 4, as the JS client.
    pub attempts_paid: u32,
    /// Attempts for everything else. Default 8: with the default backoff, an outage of a minute.
    pub attempts_read: u32,
    /// Rest before the second attempt. Default 500 ms; doubles with each attempt.
    pub backoff_base: Duration,
    /// Longest rest that the backoff reaches, jitter included. Default 30 s.
    pub backoff_max: Duration,
    /// Longest `Retry-After` that is honoured; a longer one is cut to it. Default 5 min.
    pub retry_after_max: Duration,
    /// Repeats a submit or run although the service may have accepted it. **It may pay twice.**
    /// Default false.
    pub repeat_unknown_submits: bool,
    /// Repeats a submit or run that an ingress answered with 502, 503 or 504 and no request id: the
    /// service has probably not seen it. Default false.
    pub repeat_ingress_submits: bool,
    /// Statuses with a rule of the user's: `true` repeats, `false` does not. Default none.
    pub status_rules: Vec<(StatusCode, bool)>,
}

impl RetryPolicy {
    /// One attempt for everything.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts_paid: 1, attempts_read: 1, ..Self::default() }
    }

    /// Sets [`attempts_paid`](Self::attempts_paid); 0 counts as 1.
    #[must_use]
    pub fn with_attempts_paid(mut self, attempts: u32) -> Self {
        self.attempts_paid = attempts.max(1);
        self
    }

    /// Sets [`attempts_read`](Self::attempts_read); 0 counts as 1.
    #[must_use]
    pub fn with_attempts_read(mut self, attempts: u32) -> Self {
        self.attempts_read = attempts.max(1);
        self
    }

    /// Sets the range of the rests between attempts.
    #[must_use]
    pub const fn with_backoff(mut self, base: Duration, max: Duration) -> Self {
        self.backoff_base = base;
        self.backoff_max = max;
        self
    }

    /// Sets [`repeat_unknown_submits`](Self::repeat_unknown_submits).
    #[must_use]
    pub const fn with_repeat_unknown_submits(mut self, repeat: bool) -> Self {
        self.repeat_unknown_submits = repeat;
        self
    }

    /// Sets [`repeat_ingress_submits`](Self::repeat_ingress_submits).
    #[must_use]
    pub const fn with_repeat_ingress_submits(mut self, repeat: bool) -> Self {
        self.repeat_ingress_submits = repeat;
        self
    }

    /// Adds a rule for one status, which wins over everything that the service says.
    #[must_use]
    pub fn with_status_rule(mut self, status: StatusCode, repeat: bool) -> Self {
        self.status_rules.insert(0, (status, repeat));
        self
    }

    /// Attempts for this purpose, the first included.
    #[must_use]
    pub const fn attempts(&self, purpose: Purpose) -> u32 {
        if purpose.is_paid() { self.attempts_paid } else { self.attempts_read }
    }

    /// The rest before attempt `attempt + 1`, with `attempt` counted from 1.
    ///
    /// Doubles from the base, spread by ±25 %, never above the maximum.
    pub fn backoff(&self, attempt: u32, jitter: &mut SplitMix64) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1).min(20));
        let rest = self.backoff_base.saturating_mul(factor).min(self.backoff_max);
        rest.mul_f64(0.75 + 0.5 * jitter.unit()).min(self.backoff_max)
    }

    /// Whether an answer other than 2xx or 3xx is worth another attempt.
    #[must_use]
    pub fn judge_response(&self, purpose: Purpose, response: &Response) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        if let Some((_, repeat)) = self.status_rules.iter().find(|(code, _)| *code == status) {
            return if *repeat { self.retry(headers) } else { Verdict::Final };
        }
        match status.as_u16() {
            504 if headers.contains_key(headers::REQUEST_TIMEOUT_TYPE) => {
                // `user` is the caller's own limit. Other values: the JS client repeats, the Python
                // client does not; a read is harmless, anything else is not.
                let own = headers[headers::REQUEST_TIMEOUT_TYPE].as_bytes() == b"user";
                let read = matches!(purpose, Purpose::Status) && !own;
                if read { self.retry(headers) } else { Verdict::Final }
            }
            _ if purpose == Purpose::Result => self.judge_result(response),
            _ => match headers::retry_word(headers) {
                Some(true) => self.retry(headers),
                Some(false) => Verdict::Final,
                None => self.judge_status(purpose, response),
            },
        }
    }

    /// Failures are stored and replayed here, so only an answer that fal did not make can change.
    fn judge_result(&self, response: &Response) -> Verdict {
        let transient = matches!(response.status().as_u16(), 408 | 429 | 502..=504);
        if transient && is_ingress(response) {
            self.retry(response.headers())
        } else {
            Verdict::Final
        }
    }

    fn judge_status(&self, purpose: Purpose, response: &Response) -> Verdict {
        let ingress = is_ingress(response);
        match response.status().as_u16() {
            429 => self.retry(response.headers()),
            502..=504 if purpose.is_paid() && ingress => {
                if self.repeat_ingress_submits {
                    self.retry(response.headers())
                } else {
                    Verdict::Unknown
                }
            }
            _ if purpose.is_paid() => Verdict::Final,
            408 | 502..=504 => self.retry(response.headers()),
            // fal's JS client repeats a status read after a 500; for uploads the Python SDK does.
            500 if matches!(purpose, Purpose::Status | Purpose::Put | Purpose::Complete) => {
                self.retry(response.headers())
            }
            _ => {
                let passes = error_type(response).and_then(|name| name.is_transient());
                if passes == Some(true) { self.retry(response.headers()) } else { Verdict::Final }
            }
        }
    }

    /// Whether an exchange without a whole answer is worth another attempt.
    #[must_use]
    pub const fn judge_failure(&self, purpose: Purpose, failure: &Failure) -> Verdict {
        match failure.kind {
            FailureKind::TooLarge | FailureKind::Source | FailureKind::Unsupported => {
                Verdict::Final
            }
            // Without credentials nothing begins; but what has begun outlives a moment without them.
            FailureKind::Credentials if purpose.is_paid() => Verdict::Final,
            // A certificate does not get better by itself.
            FailureKind::Tls if matches!(failure.sent, Sent::No) => Verdict::Final,
            _ if matches!(failure.sent, Sent::No)
                || !purpose.is_paid()
                || self.repeat_unknown_submits =>
            {
                Verdict::Retry { after: None }
            }
            _ => Verdict::Unknown,
        }
    }

    fn retry(&self, headers: &HeaderMap) -> Verdict {
        Verdict::Retry { after: retry_after(headers).map(|rest| rest.min(self.retry_after_max)) }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_paid: 4,
            attempts_read: 8,
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(300),
            repeat_unknown_submits: false,
            repeat_ingress_submits: false,
            status_rules: Vec::new(),
        }
    }
}

/// What becomes of an attempt that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It stands.
    Final,
    /// It stands, and the service may have accepted a paid request.
    Unknown,
    /// Another attempt, if any is left.
    Retry {
        /// How long the service asked to wait.
        after: Option<Duration>,
    },
}

/// Whether an answer was made by something in front of fal: no request id, and no error of fal's form.
///
/// Source: `client.py` of `fal-client` 1.0.3 looks for a missing `x-fal-request-id` and the word
/// `nginx` (official client source). Any body but fal's JSON counts here, because other ingresses
/// write other pages.
#[must_use]
pub fn is_ingress(response: &Response) -> bool {
    let headers = response.headers();
    let fal =
        headers.contains_key(headers::REQUEST_ID) || headers.contains_key(headers::ERROR_TYPE);
    !fal && fal_body(response).is_none()
}

fn error_type(response: &Response) -> Option<ErrorType> {
    let header = response.headers().get(headers::ERROR_TYPE).and_then(|value| value.to_str().ok());
    let body: Option<Value> = serde_json::from_slice(response.body()).ok();
    // The platform API has it one level down.
    let name = body.as_ref().and_then(|body| {
        body.get("error_type").or_else(|| body.get("error")?.get("type"))?.as_str()
    });
    name.or(header).map(ErrorType::new)
}

/// The body, if it is JSON in a form that fal's own errors have.
fn fal_body(response: &Response) -> Option<Value> {
    let body: Value = serde_json::from_slice(response.body()).ok()?;
    (body.get("error_type").is_some() || body.get("detail").is_some()).then_some(body)
}

/// Seconds from `Retry-After` or `x-ratelimit-reset`. A date is ignored: the core has no clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    [http::header::RETRY_AFTER, headers::RATE_LIMIT_RESET].into_iter().find_map(|name| {
        let seconds: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    })
}

/// A store of retries that all machines of a client draw from, so that an outage is not made worse.
///
/// Each retry takes [`RETRY_COST`] tokens, each success gives one back. When the store is empty, paid
/// requests are not repeated, and reads (whose job is paid for) rest for the longest backoff instead.
///
/// Precedent: the standard retry mode of the AWS SDKs (capacity 500, cost 5, refund 1).
#[derive(Clone, Debug)]
pub struct RetryBudget {
    tokens: Arc<AtomicU32>,
    capacity: u32,
}

impl RetryBudget {
    /// A full store of this many tokens.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self { tokens: Arc::new(AtomicU32::new(capacity)), capacity }
    }

    /// Takes the cost of one retry, if that much is left.
    pub fn withdraw(&self) -> bool {
        let take = |tokens: u32| tokens.checked_sub(RETRY_COST);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives one token back after a success.
    pub fn deposit(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.capacity {
            let give = |tokens: u32| (tokens < self.capacity).then_some(tokens + 1);
            // Full meanwhile: nothing to give.
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
        }
    }

    /// Tokens left.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(RETRY_BUDGET_TOKENS)
    }
}

/// Tokens in a new [`RetryBudget`].
pub const RETRY_BUDGET_TOKENS: u32 = 500;
/// Tokens that one retry takes.
pub const RETRY_COST: u32 = 5;

#[cfg(test)]
mod tests;
