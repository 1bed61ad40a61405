//! Servers: the input is posted, the answer is the output.

use std::fmt::Write as _;

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::sse::{Decoder, Item, Limits};
use fal_protocol::wire::{self, Expect, FailureKind};
use fal_transport_hyper::{Answer, Chunks, Exchange, Transport};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::{LINE_BYTES_MAX, OUTPUT_BYTES_MAX, Teller, failure, is_json, lost, server_error};
use crate::http::whole;
use crate::model::{Made, Work, WorkEvent, level};

/// Does one attempt. Dropping it closes the connection, which tells the server to stop.
pub(super) async fn run(
    work: &Work,
    base: &Uri,
    transport: &Transport,
    teller: &Teller,
) -> WorkEvent {
    let Some(uri) = address(work, base) else {
        return WorkEvent::Failed(server_error("the address of the back end cannot be built"));
    };
    let mut request = wire::Request::new(Method::POST, uri).with_expect(Expect::Chunks);
    request.headers = headers(work);
    let request = request.with_body(wire::Body::Bytes(work.input.clone()));
    let (head, chunks) = match transport.send(Exchange::new(request)).await {
        Ok(Answer::Chunks(head, chunks)) => (head, chunks),
        Ok(Answer::Whole(_)) => unreachable!("pieces were asked for"),
        Err(failure) => return unreached(&failure),
    };
    let kind = head.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if head.status().is_success() && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    {
        return events(work, head.headers(), chunks, teller).await;
    }
    let body = match whole(chunks, OUTPUT_BYTES_MAX).await {
        Ok(body) => body,
        Err(failure) => return cut(&failure),
    };
    if head.status().is_success() {
        return match is_json(&body) {
            true => done(head.headers(), body),
            false => {
                let kind = kind.unwrap_or("something without a type");
                let why = format!("The back end answered {kind}: give JSON");
                WorkEvent::Failed(server_error(&why))
            }
        };
    }
    refused(&head, body)
}

/// A base without a path is asked for that of the endpoint.
fn address(work: &Work, base: &Uri) -> Option<Uri> {
    if base.path() != "/" {
        return Some(base.clone());
    }
    let endpoint = EndpointId::parse(&work.endpoint).ok()?;
    let mut text = format!(
        "{}://{}/{}",
        base.scheme_str()?,
        base.authority()?,
        endpoint.path().unwrap_or_default()
    );
    if work.is_stream {
        if !text.ends_with('/') {
            text.push('/');
        }
        text.push_str("stream");
    }
    if let Some(query) = base.query() {
        let _ = write!(text, "?{query}");
    }
    text.parse().ok()
}

/// Nothing of the caller's own headers, so no key.
fn headers(work: &Work) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = match work.is_stream {
        true => "text/event-stream, application/json;q=0.9",
        false => "application/json, text/event-stream;q=0.9",
    };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("x-fal-request-id", &work.request_id.to_string());
    put("x-fal-endpoint", &work.endpoint);
    put("x-fal-mock-attempt", &work.attempt.to_string());
    headers
}

fn done(headers: &HeaderMap, output: Bytes) -> WorkEvent {
    let units = headers.get("x-fal-billable-units").and_then(|units| units.to_str().ok());
    let units = units.and_then(|units| units.trim().parse().ok());
    WorkEvent::Done(Made { output, files: Vec::new(), units })
}

/// An answer that is no success.
fn refused(head: &wire::Head, body: Bytes) -> WorkEvent {
    let error_type = head.headers().get("x-fal-error-type").and_then(|name| name.to_str().ok());
    let status = match head.status() {
        status if status.is_client_error() || status.is_server_error() => status,
        // Nobody waits for what a redirect leads to.
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut failure = failure(status, body, error_type);
    for name in KEPT_HEADERS {
        if let Some(value) = head.headers().get(name) {
            failure = failure.with_header(HeaderName::from_static(name), value.clone());
        }
    }
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => WorkEvent::Lost(failure),
        _ => WorkEvent::Failed(failure),
    }
}

/// There was no answer.
fn unreached(failure: &wire::Failure) -> WorkEvent {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let why = format!("The back end gave no answer: {failure}");
    match failure.kind {
        FailureKind::Refused => lost(unavailable, "runner_connection_refused", &why),
        FailureKind::Timeout => lost(unavailable, "runner_connection_timeout", &why),
        FailureKind::Closed => lost(unavailable, "runner_disconnected", &why),
        _ => lost(unavailable, "runner_connection_error", &why),
    }
}

/// An answer broke off.
fn cut(failure: &wire::Failure) -> WorkEvent {
    let why = format!("The answer of the back end broke off: {failure}");
    match failure.kind {
        FailureKind::TooLarge => WorkEvent::Failed(server_error(&why)),
        _ => lost(StatusCode::BAD_GATEWAY, "runner_incomplete_response", &why),
    }
}

/// `log` events are lines, `error` is the end, and of all others the last is the output.
async fn events(
    work: &Work,
    headers: &HeaderMap,
    mut chunks: Chunks,
    teller: &Teller,
) -> WorkEvent {
    let limits = Limits::default()
        .with_event_bytes_max(OUTPUT_BYTES_MAX)
        .with_field_bytes_max(OUTPUT_BYTES_MAX);
    let mut decoder = Decoder::new(limits);
    let mut last: Option<Bytes> = None;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => decoder.push(chunk),
            Err(failure) => return cut(&failure),
        }
        while let Some(item) = decoder.next_event() {
            let event = match item {
                Ok(Item::Event(event)) => event,
                Ok(_) => continue,
                Err(error) => {
                    let why = format!("The back end's stream cannot be read: {error}");
                    return WorkEvent::Failed(server_error(&why));
                }
            };
            let name = event.name.as_ref().map(|name| name.to_str()).unwrap_or_default();
            match &*name {
                "log" => say(&event.data.to_str(), teller),
                "error" => {
                    let body = event.data.into_bytes();
                    return WorkEvent::Failed(failure(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        body,
                        None,
                    ));
                }
                _ => {
                    let data = event.data.into_bytes();
                    if !is_json(&data) {
                        let why = "An event of the back end is no JSON";
                        return WorkEvent::Failed(server_error(why));
                    }
                    if work.is_stream {
                        teller.tell(WorkEvent::Piece(data.clone()));
                    }
                    last = Some(data);
                }
            }
        }
    }
    match last {
        // All was told already.
        Some(_) if work.is_stream => done(headers, Bytes::new()),
        Some(output) => done(headers, output),
        None => {
            let why = "The back end's stream ended without an event";
            lost(StatusCode::BAD_GATEWAY, "runner_incomplete_response", why)
        }
    }
}

/// A line: `{"message":…,"level":…}`, or a text.
fn say(data: &str, teller: &Teller) {
    let value: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let said = value["level"].as_str().and_then(level);
    let message = value["message"].as_str().or_else(|| value.as_str()).unwrap_or(data);
    let mut end = message.len().min(LINE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    teller.log(said.unwrap_or("INFO"), &message[..end]);
}

/// Headers of a failed answer that its caller gets.
const KEPT_HEADERS: [&str; 4] =
    ["x-fal-error-type", "x-fal-retryable", "x-fal-billable-units", "x-fal-needs-retry"];
