//! Answers of the service: kept, with addresses that lead back through the door of the call.

use std::time::Instant;

use bytes::Bytes;
use fal_protocol::wire;
use fal_transport_hyper::Chunks;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::super::body::Body;
use super::super::{Cut, json, pass};
use super::{Call, Kind, Operation, endpoint_of, files, keep_body, now, relay, text_of};
use crate::cassette::{Answered, address, hole_id, millis};
use crate::record::Trace;

/// Gives the caller an answer.
pub(super) async fn give(
    call: Call,
    head: wire::Head,
    chunks: Chunks,
) -> Result<Response<Body>, Cut> {
    let content_type = text_of(head.headers(), &header::CONTENT_TYPE).to_ascii_lowercase();
    let is_success = head.status().is_success();
    if content_type.starts_with("text/event-stream") {
        return Ok(relay::events(call, head, chunks));
    }
    let is_raw = match &call.kind {
        Kind::File => true,
        Kind::Run(_, is_stream) => *is_stream && is_success && !content_type.contains("json"),
        _ => false,
    };
    if is_raw {
        return Ok(relay::bytes(call, head, chunks));
    }
    let body = match super::super::whole(chunks, ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(failure) => {
            let why = format!("fal-mock could not record {}: {failure}", call.name);
            return Ok(json(StatusCode::BAD_GATEWAY, &why).map(Body::whole));
        }
    };
    let real = match std::str::from_utf8(&body) {
        Ok(text) => Bytes::from(call.real(text).into_owned()),
        Err(_) => body,
    };
    let at = now();
    keep(&call, &head, &real, at).await;
    let shown = match std::str::from_utf8(&real) {
        Ok(text) => Bytes::from(address::through(text, &call.door).into_owned()),
        Err(_) => real,
    };
    Ok(head_for_caller(&call, head).map(|()| Body::whole(shown)))
}

/// Keeps an answer that is there as a whole.
async fn keep(call: &Call, head: &wire::Head, body: &Bytes, at: Instant) {
    let recorder = call.recorder();
    let text = std::str::from_utf8(body).unwrap_or_default();
    match &call.kind {
        Kind::Submit(endpoint) => {
            let id = id_in(text).filter(|_| head.status().is_success());
            let Some(asked) = call.asked.clone() else { return };
            match id {
                Some(id) => {
                    let mut trace = Trace::new(call.since);
                    trace.status(0, text, false);
                    let answered = answered(
                        call,
                        head,
                        body,
                        millis(at.saturating_duration_since(call.since)),
                        &id,
                    );
                    recorder.add_job(endpoint.as_str(), &id, asked, answered, trace);
                }
                None => {
                    recorder.add(endpoint.as_str(), asked, answered_now(call, head, body, at));
                }
            }
        }
        Kind::Job(id, operation) if recorder.is_followed(id) => {
            let status = head.status();
            match operation {
                Operation::Status if status.is_success() => {
                    let text = call.redactor.text(text);
                    recorder.follow(id, |trace| trace.status(trace.at(at), &text, false));
                }
                Operation::Result => {
                    files::fetch(call, text).await;
                    let answered = answered(call, head, body, 0, id);
                    let mut is_news = false;
                    let mut paid = None;
                    recorder.follow(id, |trace| {
                        let after_ms = trace.at(at);
                        is_news = trace.result(Answered { after_ms, ..answered });
                        is_news
                    });
                    if is_news {
                        paid = units(head.headers());
                    }
                    if let (Some(units), Some(endpoint)) = (paid, recorder.endpoint_of(id)) {
                        recorder.billed(&endpoint, units);
                    }
                }
                Operation::Cancel => {
                    let answered = answered(call, head, body, 0, id);
                    recorder.follow(id, |trace| {
                        let after_ms = trace.at(at);
                        trace.cancel(Answered { after_ms, ..answered })
                    });
                }
                Operation::Status | Operation::Other => {}
            }
        }
        Kind::Run(endpoint, _) => {
            files::fetch(call, text).await;
            bill(call, head.headers());
            if let Some(asked) = call.asked.clone() {
                recorder.add(endpoint.as_str(), asked, answered_now(call, head, body, at));
            }
        }
        Kind::Other => {
            if let Some(asked) = call.asked.clone() {
                recorder.add(&call.path, asked, answered_now(call, head, body, at));
            }
        }
        Kind::Upload if head.status().is_success() => files::uploaded(call, text),
        Kind::Job(..) | Kind::Upload | Kind::File | Kind::Storage => {}
    }
}

/// Counts what a direct call has come to.
pub(super) fn bill(call: &Call, headers: &HeaderMap) {
    if let (Some(endpoint), Some(units)) = (call.kind.paid(), units(headers)) {
        call.recorder().billed(endpoint_of(endpoint), units);
    }
}

fn units(headers: &HeaderMap) -> Option<f64> {
    headers.get("x-fal-billable-units")?.to_str().ok()?.trim().parse().ok()
}

fn answered_now(call: &Call, head: &wire::Head, body: &Bytes, at: Instant) -> Answered {
    let id = text_of(head.headers(), &REQUEST_ID);
    answered(call, head, body, millis(at.saturating_duration_since(call.since)), id)
}

/// An answer as it is kept.
fn answered(call: &Call, head: &wire::Head, body: &Bytes, after_ms: u64, id: &str) -> Answered {
    let content_type = text_of(head.headers(), &header::CONTENT_TYPE);
    let body = match std::str::from_utf8(body) {
        Ok(text) => Bytes::from(hole_id(text, id).into_owned()),
        Err(_) => body.clone(),
    };
    let body = match call.method {
        Method::HEAD => None,
        _ => keep_body(call.recorder(), &call.redactor, &body, content_type),
    };
    Answered {
        after_ms,
        status: head.status().as_u16(),
        headers: headers_kept(call, head.headers(), id),
        body,
        chunks: None,
    }
}

/// The headers of an answer as they are kept.
pub(super) fn headers_kept(
    call: &Call,
    headers: &HeaderMap,
    id: &str,
) -> std::collections::BTreeMap<String, String> {
    let kept = call.redactor.headers(headers).into_iter();
    kept.map(|(name, value)| {
        let value = hole_id(&call.real(&value), id).into_owned();
        (name, value)
    })
    .collect()
}

/// The head of an answer without what is between the mock and the service.
pub(super) fn head_for_caller(call: &Call, head: wire::Head) -> Response<()> {
    let mut head = head;
    let headers = head.headers_mut();
    pass::drop_hops(headers);
    for name in [
        header::CONTENT_LENGTH,
        header::ALT_SVC,
        header::STRICT_TRANSPORT_SECURITY,
        header::SET_COOKIE,
    ] {
        headers.remove(name);
    }
    let location =
        headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(|location| {
            HeaderValue::try_from(address::through(&call.real(location), &call.door).into_owned())
        });
    if let Some(Ok(location)) = location {
        headers.insert(header::LOCATION, location);
    }
    head
}

fn id_in(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(value["request_id"].as_str().filter(|id| !id.is_empty())?.to_owned())
}

pub(super) const REQUEST_ID: header::HeaderName =
    header::HeaderName::from_static("x-fal-request-id");

/// Longest answer that is no file and no stream: 256 MiB.
const ANSWER_BYTES_MAX: usize = 256 << 20;
