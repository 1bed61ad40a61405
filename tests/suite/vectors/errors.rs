use fal_conformance::machines::denied;
use fal_conformance::vectors::Vector;
use fal_protocol::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{bytes_of, expect};

/// The answer `given` is understood as expected.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let (given, expected) = (vector.part("given"), vector.part("expect"));
    let status = given["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status =
        StatusCode::from_u16(status.expect("the schema requires it")).map_err(|e| e.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in given["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).map_err(|e| e.to_string())?;
        let value = value.as_str().expect("the schema requires it");
        headers.append(name, HeaderValue::try_from(value).map_err(|e| e.to_string())?);
    }
    let error = ApiError::parse(status, &headers, &bytes_of(&given["body"]));
    compare(expected, &error)
}

/// The error is as expected.
pub(super) fn compare(expected: &Value, error: &ApiError) -> Result<(), String> {
    if error.message.is_empty() || error.to_string().is_empty() {
        return Err("it has no message".into());
    }
    for wanted in expected["message_has"].as_array().into_iter().flatten().filter_map(Value::as_str)
    {
        if !error.message.contains(wanted) {
            return Err(format!("the message lacks {wanted:?}: {}", error.message));
        }
    }
    expect(expected, "error_type", error.error_type.as_ref().map(|name| name.as_str()))?;
    expect(expected, "request_id", error.request_id.as_deref())?;
    expect(expected, "stated_retryable", error.retryable)?;
    expect(expected, "retryable", error.is_retryable())?;
    expect(expected, "rate_limited", error.is_rate_limited())?;
    expect(expected, "denied", error.denied().map(denied))?;
    expect(expected, "timeout_type", error.timeout_type.as_deref())?;
    expect(expected, "billable_units", error.billable_units)?;
    expect(expected, "served_from", error.served_from.as_deref())?;
    let fields: Vec<Value> = error
        .fields
        .iter()
        .map(|field| match &field.context {
            Some(context) => {
                json!({"path": field.path(), "type": field.error_type.as_str(), "context": context})
            }
            None => json!({"path": field.path(), "type": field.error_type.as_str()}),
        })
        .collect();
    expect(expected, "fields", fields)
}
