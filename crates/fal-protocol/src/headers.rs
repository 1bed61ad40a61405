//! Names of fal's headers, and the few that are read.
//!
//! Source: docs.fal.ai/documentation/model-apis (documented), and the official JS and Python clients
//! (official client source).

use http::{HeaderMap, HeaderName};

/// Names a request in every answer that fal itself produced.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fal-request-id");
/// Billed units of a run or result.
pub const BILLABLE_UNITS: HeaderName = HeaderName::from_static("x-fal-billable-units");
/// The type of an infrastructure error.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-fal-error-type");
/// Whether a repeat may help: `1`/`0` or `true`/`false`. Wins over [`RETRYABLE`].
pub const NEEDS_RETRY: HeaderName = HeaderName::from_static("x-fal-needs-retry");
/// Whether a model error may pass: `true`/`false`.
pub const RETRYABLE: HeaderName = HeaderName::from_static("x-fal-retryable");
/// `user` when the caller's start timeout ran out.
pub const REQUEST_TIMEOUT_TYPE: HeaderName = HeaderName::from_static("x-fal-request-timeout-type");
/// Longest wait for a runner to start, in seconds.
pub const START_TIMEOUT: HeaderName = HeaderName::from_static("x-fal-request-start-timeout");
/// The older name of [`START_TIMEOUT`], which today's official clients still send.
pub const START_TIMEOUT_OLD: HeaderName = HeaderName::from_static("x-fal-request-timeout");
/// `normal` or `low`.
pub const QUEUE_PRIORITY: HeaderName = HeaderName::from_static("x-fal-queue-priority");
/// Affinity to runners that advertise this hint.
pub const RUNNER_HINT: HeaderName = HeaderName::from_static("x-fal-runner-hint");
/// The hints that the runner of an answer holds now, joined by commas.
pub const RUNNER_HINTS: HeaderName = HeaderName::from_static("x-fal-runner-hints");
/// Which back end answered; an open text.
pub const SERVED_FROM: HeaderName = HeaderName::from_static("x-fal-served-from");
/// `1`: the platform repeats nothing by itself.
pub const NO_RETRY: HeaderName = HeaderName::from_static("x-fal-no-retry");
/// How often the platform repeats, as JSON.
pub const RETRY_CONFIG: HeaderName = HeaderName::from_static("x-fal-retry-config");
/// Whether input and output are kept in the account's history: `1` or `0`.
pub const STORE_IO: HeaderName = HeaderName::from_static("x-fal-store-io");
/// `true` forbids other models to answer. Singular: a plural form circulates and is not documented.
pub const DISABLE_FALLBACK: HeaderName = HeaderName::from_static("x-app-fal-disable-fallback");
/// `key=value` pairs of the caller's own.
pub const TAGS: HeaderName = HeaderName::from_static("x-fal-tags");
/// Lifetime and readers of an uploaded file, as JSON.
pub const OBJECT_LIFECYCLE: HeaderName = HeaderName::from_static("x-fal-object-lifecycle");
/// The same for the files that a request makes; uploads send it too.
pub const OBJECT_LIFECYCLE_PREFERENCE: HeaderName =
    HeaderName::from_static("x-fal-object-lifecycle-preference");
/// Seconds to wait, on rate limits of the platform API.
pub const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The text of a header, if it has one that is not blank.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Billed units, 0 or more, if the service told a number that can be billed.
pub(crate) fn billable_units(headers: &HeaderMap) -> Option<f64> {
    let units: f64 = text(headers, &BILLABLE_UNITS)?.parse().ok()?;
    (units.is_finite() && units >= 0.0).then_some(units)
}

/// The service's word on a repeat: [`NEEDS_RETRY`] first, then [`RETRYABLE`].
pub(crate) fn retry_word(headers: &HeaderMap) -> Option<bool> {
    [NEEDS_RETRY, RETRYABLE].into_iter().find_map(|name| {
        match headers.get(name)?.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        }
    })
}
