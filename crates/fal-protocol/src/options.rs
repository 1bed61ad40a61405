//! What a caller may ask of the platform beside the model's input.
//!
//! | Option | Run | Queue | Stream |
//! |---|---|---|---|
//! | headers of one's own, lifecycle, store-IO, fallback, tags | yes | yes | yes |
//! | start timeout, hint | yes | yes | |
//! | priority, platform retries, webhook, queue length | | yes | |
//!
//! What does not apply is refused, because the service would pass over it without a word.
//!
//! Source: docs.fal.ai, submit, sync run and streaming pages (documented; that a stream takes what a run takes
//! but for its start is inferred).

mod retries;
mod tags;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::error::InputError;
use crate::headers;
use crate::lifecycle::Lifecycle;

pub use retries::{PLATFORM_ATTEMPTS_MAX, PlatformRetries, RetryBudgets};
pub use tags::{TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_BYTES_MAX, TAGS_MAX, Tags};

/// Order among the waiting jobs of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// The default.
    #[default]
    Normal,
    /// Behind every `Normal`.
    Low,
}

impl Priority {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Options of a submit, run or stream; each is sent only when set.
///
/// ```
/// use std::time::Duration;
/// use fal_protocol::options::{Options, Priority};
///
/// let mut options = Options::default();
/// options.start_timeout = Some(Duration::from_secs(30));
/// options.priority = Some(Priority::Low);
/// options.set_header("x-my-trace", "42")?;
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Longest time the request may wait for a runner to *start*; the run itself is not bounded.
    ///
    /// Seconds on the wire, more than 0.1, as `X-Fal-Request-Start-Timeout` and as its older name
    /// `X-Fal-Request-Timeout`. Default: no limit.
    ///
    /// Source: docs.fal.ai, submit and sync run pages (documented); the official clients of 2026 send
    /// only the older name.
    pub start_timeout: Option<Duration>,
    /// `X-Fal-Queue-Priority`. Queue only. Source: docs.fal.ai, submit page (documented).
    pub priority: Option<Priority>,
    /// `X-Fal-Runner-Hint`: prefers runners that advertise this hint, such as a loaded LoRA. Visible
    /// ASCII. Source: docs.fal.ai, common parameters (documented).
    pub hint: Option<String>,
    /// `fal_webhook` in the query: an absolute address that the service calls on completion. Queue
    /// only. Source: docs.fal.ai, webhooks page (documented).
    pub webhook: Option<String>,
    /// `fal_max_queue_length` in the query: refuses with 429 when more requests wait already. Queue
    /// only. Source: docs.fal.ai, submit page (documented).
    pub max_queue_length: Option<u32>,
    /// How often the platform repeats a failed attempt by itself. Queue only. Default: as the app says.
    pub platform_retries: Option<PlatformRetries>,
    /// `X-Fal-Store-IO`: whether input and output are kept in the account's history. Without, the result is
    /// there for the queue's short time only. Default: as the account says. Source: docs.fal.ai, common
    /// parameters (documented).
    pub store_io: Option<bool>,
    /// `X-Fal-Object-Lifecycle-Preference`: lifetime and readers of the files that the model makes.
    /// Default: as the account says.
    pub lifecycle: Lifecycle,
    /// `x-app-fal-disable-fallback`: no other model may answer when this one fails. Default false: some
    /// models fall back. Source: docs.fal.ai, fallback page (documented).
    pub disable_fallback: bool,
    /// Words of one's own that the service keeps with the request.
    pub tags: Tags,
    headers: HeaderMap,
}

/// How a request goes in, which decides what may be asked of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Run,
    Queue,
    Stream,
}

impl Options {
    /// Adds a header of the caller's own, replacing an earlier one of that name in any case. It reaches the
    /// model's app.
    ///
    /// # Errors
    /// [`InputError::Option`] for a name or value that HTTP does not allow, and for a name that the
    /// protocol sets itself.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), InputError> {
        let refuse = |problem: &str| InputError::option(&format!("header {name:?}"), problem);
        let name = name.parse::<HeaderName>().map_err(|_| refuse("this is not a header name"))?;
        if RESERVED.contains(&name) {
            return Err(refuse("the client sets this header itself"));
        }
        let value = value
            .parse::<HeaderValue>()
            .map_err(|_| refuse("its value has a character that a header cannot carry"))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// The headers of a call.
    ///
    /// # Errors
    /// [`InputError::Option`] for what the service would refuse, or pass over on this route.
    pub(crate) fn headers(&self, route: Route) -> Result<HeaderMap, InputError> {
        self.check(route)?;
        let mut map = self.headers.clone();
        if let Some(timeout) = self.start_timeout {
            if timeout <= START_TIMEOUT_MIN {
                return Err(InputError::option("start timeout", "it must be more than 0.1 s"));
            }
            let value = seconds(timeout);
            map.insert(headers::START_TIMEOUT, value.clone());
            map.insert(headers::START_TIMEOUT_OLD, value);
        }
        if let Some(priority) = self.priority {
            map.insert(headers::QUEUE_PRIORITY, HeaderValue::from_static(priority.as_str()));
        }
        if let Some(hint) = &self.hint {
            let value = HeaderValue::from_str(hint).ok().filter(|_| hint.is_ascii());
            let value = value
                .ok_or_else(|| InputError::option("hint", "only visible ASCII can be sent"))?;
            map.insert(headers::RUNNER_HINT, value);
        }
        if let Some(retries) = self.platform_retries {
            retries.add_to(&mut map)?;
        }
        if let Some(store) = self.store_io {
            map.insert(headers::STORE_IO, HeaderValue::from_static(if store { "1" } else { "0" }));
        }
        map.extend(self.lifecycle.output_headers()?);
        if self.disable_fallback {
            map.insert(headers::DISABLE_FALLBACK, HeaderValue::from_static("true"));
        }
        if let Some(tags) = self.tags.header() {
            map.insert(headers::TAGS, tags);
        }
        Ok(map)
    }

    /// Refuses what the route does not know.
    fn check(&self, route: Route) -> Result<(), InputError> {
        let of_the_queue = [
            ("priority", self.priority.is_some()),
            ("platform retries", self.platform_retries.is_some()),
            ("webhook", self.webhook.is_some()),
            ("longest queue", self.max_queue_length.is_some()),
        ];
        let of_no_stream =
            [("start timeout", self.start_timeout.is_some()), ("hint", self.hint.is_some())];
        let refused = match route {
            Route::Queue => None,
            Route::Run => of_the_queue.iter().find(|(_, is_set)| *is_set),
            Route::Stream => of_the_queue.iter().chain(&of_no_stream).find(|(_, is_set)| *is_set),
        };
        match refused {
            None => Ok(()),
            Some((name, _)) if route == Route::Run => {
                Err(InputError::option(name, "a direct run has none, only the queue has"))
            }
            Some((name, _)) => Err(InputError::option(name, "a stream has none")),
        }
    }

    /// The query of a submit.
    ///
    /// # Errors
    /// [`InputError::Option`] for a webhook that is not an absolute address.
    pub(crate) fn query(&self) -> Result<Vec<(&'static str, String)>, InputError> {
        let mut query = Vec::new();
        if let Some(webhook) = &self.webhook {
            let uri: Option<Uri> = webhook.parse().ok();
            if !uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) {
                return Err(InputError::option(
                    "webhook",
                    "it must be an absolute http or https address",
                ));
            }
            query.push(("fal_webhook", webhook.clone()));
        }
        if let Some(length) = self.max_queue_length {
            query.push(("fal_max_queue_length", length.to_string()));
        }
        Ok(query)
    }
}

/// Decimal seconds without an exponent: `30`, `2.5`.
fn seconds(timeout: Duration) -> HeaderValue {
    let text = format!("{}.{:09}", timeout.as_secs(), timeout.subsec_nanos());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    HeaderValue::from_str(text).expect("digits and a point are visible ASCII")
}

/// The service refuses a start timeout that is not longer.
pub const START_TIMEOUT_MIN: Duration = Duration::from_millis(100);

const RESERVED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::HOST,
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::USER_AGENT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_timeout_goes_under_both_names() {
        for (timeout, text) in [
            (Duration::from_secs(30), "30"),
            (Duration::from_millis(2500), "2.5"),
            (Duration::from_millis(101), "0.101"),
            (Duration::from_secs(1_000_000_000), "1000000000"),
        ] {
            let options = Options { start_timeout: Some(timeout), ..Options::default() };
            let map = options.headers(Route::Run).unwrap();
            assert_eq!(map[headers::START_TIMEOUT], text);
            assert_eq!(map[headers::START_TIMEOUT_OLD], text);
        }
        let short =
            Options { start_timeout: Some(Duration::from_millis(100)), ..Options::default() };
        assert!(short.headers(Route::Run).unwrap_err().to_string().contains("0.1 s"));
    }

    #[test]
    fn own_headers_replace_without_case_and_cannot_break_the_call() {
        let mut options = Options::default();
        options.set_header("X-Trace", "1").unwrap();
        options.set_header("x-trace", "2").unwrap();
        assert_eq!(
            options.headers(Route::Run).unwrap().get_all("x-trace").iter().collect::<Vec<_>>(),
            ["2"]
        );
        for (name, value) in [("Authorization", "Key a:b"), ("a b", "x"), ("x", "a\r\nb")] {
            options.set_header(name, value).unwrap_err();
        }
    }

    #[test]
    fn nothing_is_sent_unless_set() {
        assert!(Options::default().headers(Route::Queue).unwrap().is_empty());
        assert!(Options::default().query().unwrap().is_empty());
        let bad = Options { webhook: Some("/relative".into()), ..Options::default() };
        bad.query().unwrap_err();
        let hint = Options { hint: Some("ü".into()), ..Options::default() };
        hint.headers(Route::Run).unwrap_err();
    }

    #[test]
    fn what_a_route_does_not_know_is_refused() {
        type Set = fn(&mut Options);
        let set: [(Set, [bool; 3]); 11] = [
            (|o| o.start_timeout = Some(Duration::from_secs(1)), [true, true, false]),
            (|o| o.hint = Some("x".into()), [true, true, false]),
            (|o| o.priority = Some(Priority::Low), [false, true, false]),
            (|o| o.platform_retries = Some(PlatformRetries::Off), [false, true, false]),
            (|o| o.webhook = Some("https://x.test/".into()), [false, true, false]),
            (|o| o.max_queue_length = Some(1), [false, true, false]),
            (|o| o.store_io = Some(false), [true; 3]),
            (|o| o.disable_fallback = true, [true; 3]),
            (|o| o.tags.insert("a", "b").unwrap(), [true; 3]),
            (|o| o.lifecycle.expires = Some("1d".parse().unwrap()), [true; 3]),
            (|o| o.set_header("x-own", "1").unwrap(), [true; 3]),
        ];
        for (index, (set, taken)) in set.iter().enumerate() {
            let mut options = Options::default();
            set(&mut options);
            let found = [Route::Run, Route::Queue, Route::Stream]
                .map(|route| options.headers(route).is_ok());
            assert_eq!(&found, taken, "option {index}");
        }
    }

    #[test]
    fn every_option_has_its_header() {
        let mut options = Options {
            store_io: Some(false),
            disable_fallback: true,
            lifecycle: Lifecycle::default().expires("1h".parse().unwrap()),
            platform_retries: Some(PlatformRetries::Off),
            ..Options::default()
        };
        options.tags.insert("team", "x").unwrap();
        options.set_header("x-fal-tags", "mine=1").unwrap();
        let map = options.headers(Route::Queue).unwrap();
        let mut sent: Vec<_> =
            map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        let expected = [
            ("x-app-fal-disable-fallback", "true"),
            ("x-fal-no-retry", "1"),
            ("x-fal-object-lifecycle-preference", r#"{"expiration_duration_seconds":3600}"#),
            ("x-fal-store-io", "0"),
            ("x-fal-tags", "team=x"),
        ];
        assert_eq!(sent, expected);
    }
}
