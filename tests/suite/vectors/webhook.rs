use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fal_conformance::vectors::Vector;
use fal_protocol::retry::RetryPolicy;
use fal_protocol::webhook::{
    CachedKeys, Checked, Delivery, KeySet, Payload, Verified, Verify, VerifyConfig, WebhookError,
};
use fal_protocol::wire::{Failure, FailureKind, Response};
use fal_protocol::{Error, Output, ProtocolError, Settings};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{bytes_of, errors, expect};

/// The delivery `given` is judged and read as expected, with the keys that the service has.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let (given, expected) = (vector.part("given"), vector.part("expect"));
    let body = bytes_of(&given["body"]);
    let (result, asked) = verify(given, &body)?;
    expect(expected, "asked", asked)?;
    expect(expected, "result", name(&result))?;
    let Ok(Checked { result: Ok(verified), .. }) = &result else { return Ok(()) };
    expect(expected, "request_id", &*verified.request_id)?;
    expect(expected, "user_id", &*verified.user_id)?;
    match expected.get("delivery") {
        Some(wanted) => compare(wanted, verified, &body),
        None => Ok(()),
    }
}

/// Drives the machine to its end; also says whether it asked for keys.
fn verify(given: &Value, body: &Bytes) -> Result<(Result<Checked, Error>, bool), String> {
    let wall = SystemTime::UNIX_EPOCH
        + Duration::from_secs(given["now"].as_u64().expect("the schema requires it"));
    let mut config = VerifyConfig::new(headers(&given["headers"])?, body.clone());
    if let Some(cached) = given.get("cached") {
        let keys = KeySet::parse(&encode(&cached["keys"])).map_err(|e| e.to_string())?;
        let age = Duration::from_secs(cached["age_s"].as_u64().expect("the schema requires it"));
        config.keys = Some(CachedKeys::new(keys, wall - age));
    }
    let mut settings = Settings::default();
    settings.retry = RetryPolicy::never();
    let now = Instant::now();
    let mut machine =
        Verify::new(now, wall, 0, &Arc::new(settings), config).map_err(|e| e.to_string())?;
    let mut asked = false;
    loop {
        match machine.poll_output() {
            Output::Send { id, request } => {
                if asked {
                    return Err("it asks for keys twice".into());
                }
                asked = true;
                if request.uri != "https://rest.fal.ai/.well-known/jwks.json" {
                    return Err(format!("it asks {}", request.uri));
                }
                match given.get("keys") {
                    Some(keys) => {
                        machine.handle_response(now, id, Response::new(encode(keys)));
                    }
                    None => {
                        let failure = Failure::connect(FailureKind::Refused, "nobody listens");
                        machine.handle_failure(now, id, failure);
                    }
                }
            }
            Output::Done(result) => return Ok((result, asked)),
            Output::Wait { .. } => return Err("it waits for nothing".into()),
            _ => {}
        }
    }
}

fn name(result: &Result<Checked, Error>) -> &'static str {
    match result.as_ref().map(|checked| &checked.result) {
        Err(_) => "keys-unavailable",
        Ok(Ok(_)) => "verified",
        Ok(Err(WebhookError::HeaderMissing { .. })) => "header-missing",
        Ok(Err(WebhookError::HeaderRepeated { .. })) => "header-repeated",
        Ok(Err(WebhookError::HeaderMalformed { .. })) => "header-malformed",
        Ok(Err(WebhookError::Stale { .. })) => "stale",
        Ok(Err(WebhookError::Future { .. })) => "future",
        Ok(Err(WebhookError::Signature)) => "wrong-signature",
        Ok(Err(_)) => "other",
    }
}

fn compare(wanted: &Value, verified: &Verified, body: &Bytes) -> Result<(), String> {
    let delivery: Result<Delivery, ProtocolError> = verified.delivery(body);
    let Ok(delivery) = delivery else { return expect(wanted, "outcome", "malformed") };
    expect(wanted, "gateway_request_id", delivery.gateway_request_id.as_deref())?;
    match &delivery.outcome {
        Ok(Payload::Output(output)) => {
            expect(wanted, "outcome", "output")?;
            expect(wanted, "payload", output.json::<Value>().map_err(|e| e.to_string())?)
        }
        Ok(Payload::NotIncluded { problem }) => {
            expect(wanted, "outcome", "not-included")?;
            let words = wanted["problem_has"].as_array().into_iter().flatten();
            match words.filter_map(Value::as_str).find(|word| !problem.contains(word)) {
                Some(word) => Err(format!("the problem lacks {word:?}: {problem}")),
                None => Ok(()),
            }
        }
        Ok(_) => Err("an outcome that this test does not know".into()),
        Err(error) => {
            expect(wanted, "outcome", "failed")?;
            expect(&wanted["error"], "status", error.status.map(|status| status.as_u16()))?;
            errors::compare(&wanted["error"], error)
        }
    }
}

fn headers(given: &Value) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).map_err(|e| e.to_string())?;
        let value = value.as_str().expect("the schema requires it");
        headers.append(name, HeaderValue::try_from(value).map_err(|e| e.to_string())?);
    }
    Ok(headers)
}

fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a value is JSON").into()
}
