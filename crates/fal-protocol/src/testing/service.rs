use bytes::Bytes;
use http::{Method, StatusCode, header};

use crate::headers;
use crate::wire::{Expect, Request, Response};

/// What an exchange asks for, by its method and path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A run or submit: it costs money.
    Paid,
    Status,
    Stream,
    Result,
    Cancel,
    Initiate,
    Put,
    Token,
}

pub(super) fn asked(request: &Request) -> Asked {
    let path = request.uri.path();
    let is_job = path.contains("/requests/");
    let is = |method: Method| request.method == method;
    match path {
        _ if is(Method::POST) && path.ends_with("/storage/upload/initiate") => Asked::Initiate,
        _ if is(Method::POST) && path.contains("/tokens/") => Asked::Token,
        _ if is(Method::PUT) && path.ends_with("/cancel") => Asked::Cancel,
        _ if is(Method::PUT) => Asked::Put,
        _ if path.ends_with("/status/stream") => Asked::Stream,
        _ if path.ends_with("/status") => Asked::Status,
        _ if is_job => Asked::Result,
        _ => Asked::Paid,
    }
}

/// The answer that brings the machine to its goal.
pub(super) fn well(request: &Request) -> Response {
    fitting(request, 0)
}

/// An answer that fits the question: `pick` 0 is the best there is, others are slower or worse.
pub(super) fn fitting(request: &Request, pick: usize) -> Response {
    let one_of = |bodies: &[(u16, &'static str)]| {
        let (status, body) = bodies[pick % bodies.len()];
        answer(status, body)
    };
    match asked(request) {
        // Models stream events or raw pieces.
        Asked::Paid if request.expect == Expect::Chunks && pick.is_multiple_of(2) => events(pick),
        Asked::Paid => one_of(&ACCEPTED),
        Asked::Status => {
            let body = STATUSES[pick % STATUSES.len()];
            answer(if body.contains("COMPLETED") { 200 } else { 202 }, body)
        }
        Asked::Stream => events(pick),
        Asked::Result => one_of(&RESULTS),
        Asked::Cancel => one_of(&CANCELS),
        Asked::Initiate => one_of(&INITIATED),
        Asked::Token => one_of(&TOKENS),
        Asked::Put => one_of(&[(200, ""), (201, "<ok/>"), (204, "")]),
    }
}

fn events(pick: usize) -> Response {
    let mut response = answer(200, "");
    let event = header::HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, event);
    *response.body_mut() = event_of(pick);
    response
}

/// A status event as it is streamed.
pub(super) fn event_of(pick: usize) -> Bytes {
    Bytes::from(format!("data: {}\n\n", STATUSES[pick % STATUSES.len()]))
}

pub(super) fn answer(status: u16, body: &'static str) -> Response {
    http::Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json")
        .header(headers::REQUEST_ID, "r1")
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

/// A secret of the client and one of the service; neither may ever be shown.
pub(super) const SECRET: &str = "topsecret";
pub(super) const SIGNATURE: &str = "signed-for-one-hour";

const ACCEPTED: [(u16, &str); 5] = [
    (
        200,
        r#"{"status":"IN_QUEUE","request_id":"r1","queue_position":2,
            "response_url":"https://queue.fal.run/fal-ai/flux/requests/r1",
            "status_url":"https://queue.fal.run/fal-ai/flux/requests/r1/status",
            "cancel_url":"https://queue.fal.run/fal-ai/flux/requests/r1/cancel","images":[]}"#,
    ),
    (201, r#"{"request_id":"r1"}"#),
    (
        200,
        r#"{"request_id":"r1","response_url":"https://evil.test/requests/r1",
            "status_url":"https://evil.test/requests/r1/status",
            "cancel_url":"http://queue.fal.run/fal-ai/flux/requests/r1/cancel"}"#,
    ),
    (200, r#"{"request_id":"r1","status_url":5,"response_url":null,"queue_position":"2"}"#),
    (202, "<html>accepted</html>"),
];

const STATUSES: [&str; 11] = [
    r#"{"status":"COMPLETED","metrics":{"inference_time":1.5},"logs":[{"message":"last"}]}"#,
    r#"{"status":"IN_QUEUE","queue_position":3}"#,
    r#"{"status":"IN_QUEUE","queue_position":0}"#,
    r#"{"status":"IN_PROGRESS","logs":null}"#,
    r#"{"status":"IN_PROGRESS","logs":[{"message":"first"}]}"#,
    r#"{"status":"IN_PROGRESS","logs":[{"message":"first"},{"message":"second"}]}"#,
    r#"{"status":"IN_QUEUE"}"#,
    r#"{"status":"MOVED_TO_MARS","queue_position":-1}"#,
    r#"{"status":"COMPLETED","error":"Invalid status code: 422"}"#,
    r#"{"status":"COMPLETED","error":"gone","error_type":"runner_disconnected","logs":[]}"#,
    "<html>patience</html>",
];

const RESULTS: [(u16, &str); 6] = [
    (200, r#"{"images":[{"url":"https://v3.fal.media/a.png"}]}"#),
    (400, r#"{"detail":"Request is still in progress"}"#),
    (202, r#"{"status":"IN_PROGRESS"}"#),
    (422, r#"{"detail":[{"loc":["body","prompt"],"msg":"no","type":"missing"}]}"#),
    (504, r#"{"detail":"late","error_type":"request_timeout"}"#),
    (404, r#"{"status":"NOT_FOUND"}"#),
];

const TOKENS: [(u16, &str); 6] = [
    (200, r#"{"token":"signed-for-one-hour"}"#),
    (200, r#""signed-for-one-hour""#),
    (200, r#"{"detail":"signed-for-one-hour"}"#),
    (404, r#"{"detail":"Not Found"}"#),
    (401, r#"{"detail":"No user found for Key ID and Secret"}"#),
    (200, r#"{"token":{"signed-for-one-hour":1}}"#),
];

const CANCELS: [(u16, &str); 5] = [
    (200, r#"{"status":"OK","success":true}"#),
    (202, r#"{"status":"CANCELLATION_REQUESTED"}"#),
    (400, r#"{"status":"ALREADY_COMPLETED"}"#),
    (404, r#"{"status":"NOT_FOUND"}"#),
    (200, ""),
];

const INITIATED: [(u16, &str); 5] = [
    (
        200,
        r#"{"file_url":"https://v3.fal.media/files/a.png",
            "upload_url":"https://v3.fal.media/files/a.png?signature=signed-for-one-hour"}"#,
    ),
    (
        200,
        r#"{"file_url":"https://v3.fal.media/files/a.png",
            "upload_url":"https://storage.test/a.png?signature=signed-for-one-hour"}"#,
    ),
    (
        200,
        r#"{"file_url":"x","upload_url":"http://storage.test/a.png?signature=signed-for-one-hour"}"#,
    ),
    (200, r#""https://v3.fal.media/files/a.png?signature=signed-for-one-hour""#),
    (200, r#"{"file_url":"x"}"#),
];
