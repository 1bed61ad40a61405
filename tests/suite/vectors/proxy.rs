use bytes::Bytes;
use fal_conformance::vectors::Vector;
use fal_protocol::proxy::{Caller, Policy, Route};
use fal_protocol::wire::Request;
use fal_protocol::{Credentials, Hosts, Key};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

/// A proxy judges the call `given` as expected; or an answer goes back, or a request goes out, as expected.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let (given, expected) = (vector.part("given"), vector.part("expect"));
    if given.get("call").is_some() {
        judge(given, expected)
    } else if let Some(answer) = given.get("answer") {
        let is_decoded = answer["decoded"].as_bool().expect("the schema requires it");
        compare(expected, &Policy::answer_headers(&headers(&answer["headers"])?, is_decoded))
    } else {
        send(given, &expected["sent"])
    }
}

fn judge(given: &Value, expected: &Value) -> Result<(), String> {
    let policy = policy(&given["policy"])?;
    let caller = if given["caller"] == "anonymous" { Caller::Anonymous } else { Caller::Known };
    let key = match given.get("key") {
        Some(Value::Null) => None,
        Some(key) => Some(key.as_str().expect("the schema requires it")),
        None => Some("id:secret"),
    };
    let key = key.map(Key::parse).transpose().map_err(|e| e.to_string())?;
    let key = key.and_then(|key| Credentials::from(key).header());
    let call = &given["call"];
    match policy.judge(&method(call)?, &headers(&call["headers"])?, caller, key.as_ref()) {
        Ok(forward) => match expected.get("forward") {
            Some(wanted) => outgoing(wanted, &forward.request(Bytes::from_static(b"{}"))),
            None => Err(format!("it is forwarded to {}", forward.target())),
        },
        Err(refusal) => {
            let answer = policy.refuse(&refusal);
            serde_json::from_slice::<String>(answer.body())
                .map_err(|error| format!("the body is no JSON string: {error}"))?;
            match expected["status"].as_u64() {
                Some(status) if status == u64::from(answer.status().as_u16()) => Ok(()),
                _ => Err(format!("it is refused with {}: {refusal}", answer.status())),
            }
        }
    }
}

fn policy(given: &Value) -> Result<Policy, String> {
    let texts = |name: &str| {
        let list = given[name].as_array();
        list.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let flag = |name: &str| given[name].as_bool().unwrap_or(false);
    let wrong = |error: fal_protocol::proxy::PatternError| error.to_string();
    let mut policy = Policy::default()
        .with_anonymous(flag("anonymous"))
        .with_forward_client_auth(flag("forward_client_auth"))
        .with_documented_codes(flag("documented_codes"));
    if let Some(urls) = texts("urls") {
        policy = policy.with_urls(urls).map_err(wrong)?;
    }
    if let Some(endpoints) = texts("endpoints") {
        policy = policy.with_endpoints(endpoints).map_err(wrong)?;
    }
    Ok(if flag("tokens") { policy.with_tokens() } else { policy })
}

fn send(given: &Value, expected: &Value) -> Result<(), String> {
    let client = &given["client"];
    let wrong = |error: fal_protocol::InputError| error.to_string();
    let proxy = client["proxy"].as_str().expect("the schema requires it");
    let mut route = Route::parse(proxy)
        .and_then(|route| route.with_key(client["send_key"].as_bool().unwrap_or(false)))
        .map_err(wrong)?;
    for (name, value) in &headers(&client["headers"])? {
        route = route.with_header(name.clone(), value.clone());
    }
    let request = &given["request"];
    let uri: Uri =
        request["uri"].as_str().unwrap_or_default().parse().map_err(|e| format!("{e}"))?;
    let mut sent = Request::new(method(request)?, uri);
    sent.headers = headers(&request["headers"])?;
    let taken = route.take(&Hosts::fal(), sent.clone());
    if taken.method != sent.method {
        return Err(format!("the method became {}", taken.method));
    }
    outgoing(expected, &taken)
}

fn outgoing(expected: &Value, request: &Request) -> Result<(), String> {
    if expected["uri"] != request.uri.to_string() {
        return Err(format!("it goes to {}, expected {}", request.uri, expected["uri"]));
    }
    compare(expected, &request.headers)
}

fn compare(expected: &Value, found: &HeaderMap) -> Result<(), String> {
    for (name, value) in &headers(&expected["headers"])? {
        let values: Vec<_> = found.get_all(name).iter().collect();
        if values != [value] {
            return Err(format!("{name} is {values:?}, expected {value:?}"));
        }
    }
    for name in expected["headers_absent"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("the schema requires it");
        if found.contains_key(name) {
            return Err(format!("{name} is there"));
        }
    }
    Ok(())
}

fn method(call: &Value) -> Result<Method, String> {
    let method = call["method"].as_str().expect("the schema requires it");
    Method::try_from(method).map_err(|error| error.to_string())
}

fn headers(given: &Value) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        let value = value.as_str().expect("the schema requires it");
        headers.append(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
    }
    Ok(headers)
}
