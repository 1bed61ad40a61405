//! What a job's headers ask of the platform, and what the platform's headers answer.
//!
//! Where the real service passes over what is malformed without a word, so does this one, and what is left can
//! be seen here.
//!
//! Source: docs.fal.ai, common parameters and retries pages (documented); newer code of the official clients for
//! tags (official client source).

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::control::JobView;

impl JobView {
    /// `X-Fal-Tags`, without the pairs that the service drops: keys that are not 1 to 64 of `a-z`, `0-9`, `.`,
    /// `_`, `-` or begin with `fal.`; values that are not 1 to 256 printable ASCII; all beyond the tenth. A
    /// header of more than 1024 bytes has none (inferred).
    #[must_use]
    pub fn tags(&self) -> Vec<(String, String)> {
        let text = self.header("x-fal-tags").unwrap_or_default();
        if text.len() > TAGS_BYTES_MAX {
            return Vec::new();
        }
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()));
        let is_key = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let is_good = |(key, value): &(String, &str)| {
            (1..=64).contains(&key.len())
                && key.bytes().all(is_key)
                && !key.starts_with("fal.")
                && (1..=256).contains(&value.len())
                && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        };
        let good = pairs.filter(is_good).take(TAGS_MAX);
        good.map(|(key, value)| (key, value.to_owned())).collect()
    }

    /// `X-Fal-Store-IO`: whether input and output are to be kept in the history; `None` if it is absent or
    /// neither `0` nor `1`.
    #[must_use]
    pub fn store_io(&self) -> Option<bool> {
        match self.header("x-fal-store-io")?.trim() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// `X-Fal-No-Retry`: `1`, `true` or `yes`. This service never repeats by itself.
    #[must_use]
    pub fn is_never_retried(&self) -> bool {
        let value = self.header("x-fal-no-retry").unwrap_or_default().trim().to_ascii_lowercase();
        matches!(&*value, "1" | "true" | "yes")
    }

    /// `X-Fal-Retry-Config`: additional attempts by condition. Unknown names and numbers without an object
    /// around them are passed over; text that is no JSON has none.
    #[must_use]
    pub fn retry_budgets(&self) -> Vec<(&'static str, u64)> {
        let text = self.header("x-fal-retry-config").unwrap_or_default();
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let budget = |name: &'static str| Some((name, json.get(name)?.get("retries")?.as_u64()?));
        ["server_error", "timeout", "connection_error"].into_iter().filter_map(budget).collect()
    }

    /// `x-app-fal-disable-fallback`: `true` or `1`. The plural that circulates is no name of it.
    #[must_use]
    pub fn is_fallback_disabled(&self) -> bool {
        let value = self.header("x-app-fal-disable-fallback").unwrap_or_default().trim();
        value == "1" || value.eq_ignore_ascii_case("true")
    }

    /// `X-Fal-Runner-Hint`.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.header("x-fal-runner-hint")
    }

    /// `X-Fal-Object-Lifecycle-Preference`, or its other name, as JSON.
    #[must_use]
    pub fn lifecycle(&self) -> Option<Value> {
        let names = ["x-fal-object-lifecycle-preference", "x-fal-object-lifecycle"];
        serde_json::from_str(names.into_iter().find_map(|name| self.header(name))?).ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name)?.1.to_str().ok()
    }
}

/// Adds what the platform says of a result: who made it, and what hint the runner holds now: the one that was
/// asked for.
///
/// Source: docs.fal.ai, response headers (documented); `app.py` of fal's serverless SDK for the hints (official
/// client source).
pub(super) fn stamp(headers: &mut HeaderMap, hint: Option<&HeaderValue>) {
    headers.insert(SERVED_FROM, HeaderValue::from_static("fal-mock"));
    if let Some(hint) = hint {
        headers.insert(RUNNER_HINTS, hint.clone());
    }
}

/// The hint among the headers that a job keeps.
pub(super) fn hint_of(headers: &[(HeaderName, HeaderValue)]) -> Option<&HeaderValue> {
    headers.iter().find(|(name, _)| *name == RUNNER_HINT).map(|(_, value)| value)
}

pub(super) const RUNNER_HINT: HeaderName = HeaderName::from_static("x-fal-runner-hint");
const RUNNER_HINTS: HeaderName = HeaderName::from_static("x-fal-runner-hints");
const SERVED_FROM: HeaderName = HeaderName::from_static("x-fal-served-from");

const TAGS_MAX: usize = 10;
const TAGS_BYTES_MAX: usize = 1024;
