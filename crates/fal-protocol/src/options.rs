//! What a caller may ask of the platform beside the model's input.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::error::InputError;
use crate::headers;

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

/// Options of a submit or run; each is sent only when set.
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
    headers: HeaderMap,
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

    /// The headers of a submit or run.
    ///
    /// # Errors
    /// [`InputError::Option`] for a start timeout or hint that the service would refuse.
    pub(crate) fn headers(&self) -> Result<HeaderMap, InputError> {
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
        Ok(map)
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
            let map = options.headers().unwrap();
            assert_eq!(map[headers::START_TIMEOUT], text);
            assert_eq!(map[headers::START_TIMEOUT_OLD], text);
        }
        let short =
            Options { start_timeout: Some(Duration::from_millis(100)), ..Options::default() };
        assert!(short.headers().unwrap_err().to_string().contains("0.1 s"));
    }

    #[test]
    fn own_headers_replace_without_case_and_cannot_break_the_call() {
        let mut options = Options::default();
        options.set_header("X-Trace", "1").unwrap();
        options.set_header("x-trace", "2").unwrap();
        assert_eq!(options.headers().unwrap().get_all("x-trace").iter().collect::<Vec<_>>(), ["2"]);
        for (name, value) in [("Authorization", "Key a:b"), ("a b", "x"), ("x", "a\r\nb")] {
            options.set_header(name, value).unwrap_err();
        }
    }

    #[test]
    fn nothing_is_sent_unless_set() {
        assert!(Options::default().headers().unwrap().is_empty());
        assert!(Options::default().query().unwrap().is_empty());
        let bad = Options { webhook: Some("/relative".into()), ..Options::default() };
        bad.query().unwrap_err();
        let hint = Options { hint: Some("ü".into()), ..Options::default() };
        hint.headers().unwrap_err();
    }
}
