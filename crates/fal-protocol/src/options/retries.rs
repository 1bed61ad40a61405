//! How often the platform repeats a queued request by itself.

use http::{HeaderMap, HeaderValue};

use crate::error::InputError;
use crate::headers;

/// What the platform does when an attempt of a queued request fails. Not this client's own repeats, which
/// [`RetryPolicy`](crate::retry::RetryPolicy) rules: those are about answers that were lost, these about runs.
///
/// Source: docs.fal.ai, retries page (documented).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformRetries {
    /// It fails at once: `X-Fal-No-Retry: 1`, which beats every other setting.
    Off,
    /// So many more attempts: `X-Fal-Retry-Config`. **The service takes it for apps of one's own only**, and
    /// ignores it elsewhere without a word.
    Budgets(RetryBudgets),
}

/// Additional attempts by what went wrong. Each condition has a budget of its own; together with the first
/// attempt there are never more than [`PLATFORM_ATTEMPTS_MAX`].
///
/// ```
/// use fal_protocol::options::RetryBudgets;
///
/// let mut budgets = RetryBudgets::default();
/// budgets.server_error = Some(2);
/// budgets.timeout = Some(0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudgets {
    /// The runner answered 503 or 504, vanished, or gave an answer that was cut. 0 to
    /// [`PLATFORM_ATTEMPTS_MAX`]; `None`: as the app says.
    pub server_error: Option<u8>,
    /// The app's own time limit ran out. As above.
    pub timeout: Option<u8>,
    /// The runner could not be reached. As above.
    pub connection_error: Option<u8>,
}

impl RetryBudgets {
    const fn conditions(self) -> [(&'static str, Option<u8>); 3] {
        [
            ("server_error", self.server_error),
            ("timeout", self.timeout),
            ("connection_error", self.connection_error),
        ]
    }

    /// Sets a budget by its name on the wire: `server_error`, `timeout` or `connection_error`.
    ///
    /// # Errors
    /// [`InputError::Option`] for another name, because the service would pass over it.
    pub fn set(&mut self, condition: &str, attempts: u8) -> Result<(), InputError> {
        let budget = match condition {
            "server_error" => &mut self.server_error,
            "timeout" => &mut self.timeout,
            "connection_error" => &mut self.connection_error,
            _ => {
                let problem = "a condition is server_error, timeout or connection_error";
                return Err(InputError::option("retry budget", problem));
            }
        };
        *budget = Some(attempts);
        Ok(())
    }
}

impl PlatformRetries {
    pub(super) fn add_to(self, map: &mut HeaderMap) -> Result<(), InputError> {
        let budgets = match self {
            Self::Off => {
                map.insert(headers::NO_RETRY, HeaderValue::from_static("1"));
                return Ok(());
            }
            Self::Budgets(budgets) => budgets,
        };
        // By hand, because a number in place of an object would be passed over (documented).
        let mut text = String::new();
        for (name, attempts) in budgets.conditions() {
            let Some(attempts) = attempts else { continue };
            if attempts > PLATFORM_ATTEMPTS_MAX {
                let problem = format_args!("{name} may be at most {PLATFORM_ATTEMPTS_MAX}");
                return Err(InputError::option("retry budget", problem));
            }
            let start = if text.is_empty() { '{' } else { ',' };
            text.push_str(&format!("{start}\"{name}\":{{\"retries\":{attempts}}}"));
        }
        if !text.is_empty() {
            text.push('}');
            let value = HeaderValue::try_from(text).expect("names and digits are visible ASCII");
            map.insert(headers::RETRY_CONFIG, value);
        }
        Ok(())
    }
}

/// Most attempts that the platform makes for one request.
///
/// Source: docs.fal.ai, retries page (documented).
pub const PLATFORM_ATTEMPTS_MAX: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retries: PlatformRetries) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        retries.add_to(&mut map).unwrap();
        map.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn each_kind_has_its_header() {
        let off = check(PlatformRetries::Off);
        assert_eq!(off, [("x-fal-no-retry".to_owned(), "1".to_owned())]);
        let mut budgets = RetryBudgets::default();
        assert!(check(PlatformRetries::Budgets(budgets)).is_empty());
        for (name, attempts) in [("server_error", 2), ("timeout", 0), ("connection_error", 10)] {
            budgets.set(name, attempts).unwrap();
        }
        let json = r#"{"server_error":{"retries":2},"timeout":{"retries":0},"connection_error":{"retries":10}}"#;
        let sent = check(PlatformRetries::Budgets(budgets));
        assert_eq!(sent, [("x-fal-retry-config".to_owned(), json.to_owned())]);
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }

    #[test]
    fn budgets_have_a_ceiling_and_known_names() {
        let mut budgets = RetryBudgets::default();
        budgets.set("everything", 1).unwrap_err();
        budgets.set("timeout", PLATFORM_ATTEMPTS_MAX + 1).unwrap();
        PlatformRetries::Budgets(budgets).add_to(&mut HeaderMap::new()).unwrap_err();
    }
}
