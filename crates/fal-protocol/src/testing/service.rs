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
    /// To upload in parts.
    Begin,
    CdnToken,
    /// The whole file for the CDN.
    Post,
    /// The wish to send the CDN parts.
    Create,
    /// Where the older store wants a part.
    Place,
    Put,
    Token,
    Complete,
    Platform,
}

pub(super) fn asked(request: &Request) -> Asked {
    let path = request.uri.path();
    let is_job = path.contains("/requests/");
    let is = |method: Method| request.method == method;
    match path {
        _ if is(Method::POST) && path.ends_with("/storage/upload/initiate") => Asked::Initiate,
        _ if is(Method::POST) && path.contains("/tokens/") => Asked::Token,
        _ if path.ends_with("/storage/upload/initiate-multipart") => Asked::Begin,
        _ if path.ends_with("/storage/auth/token") => Asked::CdnToken,
        _ if path.ends_with("/files/upload") => Asked::Post,
        _ if path.ends_with("/files/upload/multipart") => Asked::Create,
        _ if is(Method::POST) && path.ends_with("/complete") => Asked::Complete,
        _ if is(Method::POST) && is_number(path) => Asked::Place,
        _ if is(Method::PUT) && path.ends_with("/cancel") => Asked::Cancel,
        _ if path.starts_with("/v1/") => Asked::Platform,
        _ if is(Method::PUT) => Asked::Put,
        _ if path.ends_with("/status/stream") => Asked::Stream,
        _ if path.ends_with("/status") => Asked::Status,
        _ if is_job => Asked::Result,
        _ => Asked::Paid,
    }
}

fn is_number(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.parse::<u32>().is_ok())
}

/// The number of a part, if a request is about one.
pub(super) fn part_number(request: &Request) -> Option<u32> {
    let is_part = matches!(asked(request), Asked::Put | Asked::Place);
    request.uri.path().rsplit('/').next()?.parse().ok().filter(|_| is_part)
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
        Asked::Token => one_of(&TOKENS),
        Asked::Initiate | Asked::Begin => one_of(&INITIATED),
        Asked::CdnToken => one_of(&CDN_TOKENS),
        Asked::Post => one_of(&[
            (200, r#"{"access_url":"https://v3.fal.media/files/b.png"}"#),
            (201, r#"{"url":"https://v3.fal.media/files/b.png"}"#),
        ]),
        Asked::Create => one_of(&CREATED),
        Asked::Place => place(request, pick),
        Asked::Put => taken(request, pick),
        Asked::Complete => {
            one_of(&[(200, "{}"), (204, ""), (404, r#"{"detail":"unknown upload"}"#)])
        }
        Asked::Platform => one_of(&[(200, r#"{"models":[],"has_more":false}"#), (204, "")]),
    }
}

/// Where the older store wants a part.
fn place(request: &Request, pick: usize) -> Response {
    let number = part_number(request).unwrap_or_default();
    let text = match pick % 4 {
        0 | 1 => format!(
            r#"{{"upload_url":"https://storage.test/parts/{number}?signature={SIGNATURE}"}}"#
        ),
        2 => format!(
            r#"{{"upload_url":"http://storage.test/parts/{number}?signature={SIGNATURE}"}}"#
        ),
        _ => format!(r#""https://storage.test/parts/{number}?signature={SIGNATURE}""#),
    };
    answer(200, "").map(|_| Bytes::from(text))
}

/// The store has a file or a part of one: its name in the body, in the header, or nowhere.
fn taken(request: &Request, pick: usize) -> Response {
    let Some(number) = part_number(request) else {
        let (status, body) = [(200, ""), (201, "<ok/>"), (204, "")][pick % 3];
        return answer(status, body);
    };
    let etag = etag_of(number);
    let text = match pick % 5 {
        0 | 1 => serde_json::json!({ "partNumber": number, "etag": etag }).to_string(),
        _ => String::new(),
    };
    let mut response = answer(200, "").map(|_| Bytes::from(text));
    if pick % 5 < 4 {
        let value = header::HeaderValue::try_from(etag).expect("visible ASCII");
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// The store's name for a part.
pub(super) fn etag_of(number: u32) -> String {
    format!("\"e{number}\"")
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

/// A token that is good for a day.
pub(super) const CDN_TOKEN: &str = r#"{"token":"cdn-topsecret","token_type":"Bearer","base_url":"https://v3.fal.media",
    "expires_at":"1970-01-02T00:00:00+00:00","created_at":"1970-01-01T00:00:00+00:00"}"#;

const CDN_TOKENS: [(u16, &str); 4] = [
    (200, CDN_TOKEN),
    (200, r#"{"token":"cdn-topsecret","expires_at":"1970-01-01T00:01:00Z"}"#),
    (200, r#"{"token":"cdn-topsecret","base_url":"https://v3b.fal.media/"}"#),
    (200, r#""cdn-topsecret""#),
];

const CREATED: [(u16, &str); 4] = [
    (200, r#"{"access_url":"https://v3.fal.media/files/b.png","uploadId":"mp_77"}"#),
    (200, r#"{"access_url":"https://v3b.fal.media/files/b.png","uploadId":"mp/7 7"}"#),
    (200, r#"{"access_url":"https://evil.test/files/b.png","uploadId":"mp_77"}"#),
    (200, r#"{"access_url":"https://v3.fal.media/files/b.png"}"#),
];

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
