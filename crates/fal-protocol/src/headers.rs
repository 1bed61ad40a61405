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
/// Lifetime and readers of an uploaded file, as JSON.
pub const OBJECT_LIFECYCLE: HeaderName = HeaderName::from_static("x-fal-object-lifecycle");
/// The same for the files that a request makes; uploads send it too.
pub const OBJECT_LIFECYCLE_PREFERENCE: HeaderName =
    HeaderName::from_static("x-fal-object-lifecycle-preference");
/// Seconds to wait, on rate limits of the platform API.
pub const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

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
