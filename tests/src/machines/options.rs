use std::time::Duration;

use fal_protocol::lifecycle::{Acl, Lifecycle};
use fal_protocol::options::{Options, PlatformRetries, Priority, RetryBudgets};
use serde_json::Value;

/// The platform options that a config names.
pub(super) fn options(json: &Value) -> Result<Options, String> {
    let text = |name: &str| json[name].as_str();
    let members = |name: &str| json[name].as_object().into_iter().flatten();
    let wrong = |error: fal_protocol::InputError| error.to_string();
    let mut options = Options::default();
    options.start_timeout = json["start_timeout_ms"].as_u64().map(Duration::from_millis);
    options.webhook = text("webhook").map(str::to_owned);
    options.max_queue_length = json["max_queue_length"].as_u64().map(|length| length as u32);
    options.priority = match text("priority") {
        None => None,
        Some("low") => Some(Priority::Low),
        Some("normal") => Some(Priority::Normal),
        Some(other) => return Err(format!("there is no priority {other:?}")),
    };
    options.hint = text("hint").map(str::to_owned);
    options.store_io = json["store_io"].as_bool();
    options.disable_fallback = json["disable_fallback"].as_bool().unwrap_or(false);
    for (key, value) in members("tags") {
        options.tags.insert(key, value.as_str().unwrap_or_default()).map_err(wrong)?;
    }
    if json["no_retry"].as_bool() == Some(true) {
        options.platform_retries = Some(PlatformRetries::Off);
    }
    if json["retry_budgets"].is_object() {
        let mut budgets = RetryBudgets::default();
        for (condition, attempts) in members("retry_budgets") {
            let attempts = attempts.as_u64().and_then(|attempts| u8::try_from(attempts).ok());
            budgets.set(condition, attempts.ok_or("a budget is a small number")?).map_err(wrong)?;
        }
        options.platform_retries = Some(PlatformRetries::Budgets(budgets));
    }
    options.lifecycle = lifecycle(json)?.unwrap_or_default();
    Ok(options)
}

/// Lifetime and readers of files, if a config names some.
pub(super) fn lifecycle(json: &Value) -> Result<Option<Lifecycle>, String> {
    let wrong = |error: fal_protocol::InputError| error.to_string();
    let mut lifecycle = None::<Lifecycle>;
    if let Some(expires) = json["expires"].as_str() {
        let expires = expires.parse().map_err(wrong)?;
        lifecycle = Some(lifecycle.unwrap_or_default().expires(expires));
    }
    if let Some(decision) = json["acl"]["default"].as_str() {
        let mut acl = Acl::new(decision.parse().map_err(wrong)?);
        for rule in json["acl"]["rules"].as_array().into_iter().flatten() {
            let text = |name: &str| rule[name].as_str().unwrap_or_default();
            acl = acl.rule(text("user"), text("decision").parse().map_err(wrong)?);
        }
        lifecycle = Some(lifecycle.unwrap_or_default().acl(acl));
    }
    Ok(lifecycle)
}
