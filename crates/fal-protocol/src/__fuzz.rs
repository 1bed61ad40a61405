//! Entry points for fuzzing: each takes any bytes and panics if a promise of totality is broken.
//!
//! The unit tests call them too, so that they work on stable and never rot.

mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::endpoint::EndpointId;
use crate::error::{ApiError, MESSAGE_BYTES_MAX, RAW_BODY_BYTES_MAX};
use crate::proxy::Target;
use crate::queue::{Handle, Status, SubmitConfig, Subscribe, SubscribeConfig};
use crate::rand::SplitMix64;
use crate::settings::Settings;
use crate::sse::{Decoder, Limits};
use crate::wire::{ExchangeId, Expect, Failure, FailureKind, Sent};
use crate::{Output, headers};

pub use upload::upload;

/// Decodes an event stream whole and in pieces of one byte: the items are the same.
pub fn sse(bytes: &[u8]) {
    let limits = Limits::default().with_event_bytes_max(1 << 10);
    let mut whole = Decoder::new(limits);
    whole.push(Bytes::copy_from_slice(bytes));
    let mut pieces = Decoder::new(limits);
    let mut items = Vec::new();
    for byte in bytes {
        pieces.push(Bytes::copy_from_slice(&[*byte]));
        items.extend(std::iter::from_fn(|| pieces.next_event()));
    }
    let at_once: Vec<_> = std::iter::from_fn(|| whole.next_event()).collect();
    assert_eq!(items, at_once);
}

/// Parses an endpoint id and a handle: what is accepted reads back as the same.
pub fn endpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<EndpointId>() {
        assert_eq!(id.as_str().parse().as_ref(), Ok(&id));
    }
    // Printed and read again, a handle names the same job; what an address holds beyond that is lost.
    if let Ok(handle) = text.parse::<Handle>() {
        let json = serde_json::to_string(&handle).expect("a handle is plain data");
        assert_eq!(json.parse().as_ref(), Ok(&handle));
    }
}

/// Reads an error answer: it always has a message, and is always bounded.
pub fn api_error(bytes: &[u8]) {
    let (status, headers, body) = answer(bytes);
    let error = ApiError::parse(status, &headers, &body);
    assert!(!error.message.is_empty() && error.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    assert!(error.body.len() <= RAW_BODY_BYTES_MAX);
    let _ = (error.is_retryable(), error.is_rate_limited(), error.to_string());
}

/// Reads a status.
pub fn status(bytes: &[u8]) {
    let _ = Status::parse(bytes);
}

/// Reads an address that a proxy is asked for: what is accepted reads back as the same, and no server can
/// read it as another.
pub fn target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(target) = Target::parse(text) else { return };
    let uri = target.uri();
    assert_eq!(Target::parse(&uri.to_string()).as_ref(), Ok(&target));
    assert_eq!(uri.host(), Some(target.host()));
    assert_eq!(uri.path_and_query().map(|path| path.as_str()), Some(target.path_and_query()));
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    assert!(target.path().starts_with('/') && !target.path().split('/').any(is_dots));
    assert!(!target.as_str().contains(['@', '\\', '#']) || target.path_and_query().contains('@'));
}

/// Drives a subscribe by the bytes, from any instant on: it keeps its contract and ends.
pub fn machine(start: Instant, bytes: &[u8]) {
    let deadline = Some(start + Duration::from_secs(600));
    let config = SubscribeConfig { deadline, ..SubscribeConfig::default() };
    let endpoint: EndpointId = "acme/paint".parse().expect("an endpoint id");
    let submit = SubmitConfig::new(endpoint, Bytes::from_static(b"{}"));
    let settings = Arc::new(Settings::default());
    let mut machine = Subscribe::new(start, 1, &settings, submit, config)
        .expect("nothing in this call is impossible");
    let (mut now, mut open, mut until) = (start, None, None);
    let mut is_done = drain(&mut machine, &mut open, &mut until);
    let mut rest = bytes;
    while let Some((step, tail)) = rest.split_first() {
        let len = tail.first().map_or(0, |len| usize::from(*len)).min(tail.len());
        let (piece, tail) = tail.split_at(len);
        rest = tail;
        let number = if step & 1 == 0 { open } else { None };
        let id = number.map_or_else(|| ExchangeId::new(u64::from(*step)), |(id, _)| id);
        match step >> 1 & 7 {
            0 => {
                let (status, headers, body) = answer(piece);
                let mut response = http::Response::new(body);
                (*response.status_mut(), *response.headers_mut()) = (status, headers);
                close(&mut open, id);
                machine.handle_response(now, id, response);
            }
            1 => {
                let mut failure = Failure::read(FailureKind::Closed, "broken");
                failure.sent = if piece.is_empty() { Sent::No } else { Sent::Maybe };
                close(&mut open, id);
                machine.handle_failure(now, id, failure);
            }
            2 => {
                let (status, headers, _) = answer(piece);
                let mut head = http::Response::new(());
                (*head.status_mut(), *head.headers_mut()) = (status, headers);
                machine.handle_head(now, id, &head);
            }
            3 => machine.handle_chunk(now, id, Bytes::copy_from_slice(piece)),
            4 => {
                if open.is_some_and(|(_, expect)| expect == Expect::Chunks) {
                    close(&mut open, id);
                }
                machine.handle_end(now, id);
            }
            5 => now += Duration::from_millis(100 * piece.len() as u64),
            6 if step & 16 != 0 => machine.handle_cancel(now),
            _ => {
                now = until.map_or(now, |until: Instant| until.max(now));
                machine.handle_timeout(now);
            }
        }
        let ends = drain(&mut machine, &mut open, &mut until);
        assert!(!(is_done && ends), "it ended twice");
        is_done |= ends;
    }
    while !is_done {
        now = now.max(until.expect("it waits without a limit"));
        machine.handle_timeout(now);
        is_done = drain(&mut machine, &mut open, &mut until);
        assert!(is_done || until > Some(now), "it waits for the past");
    }
}

/// Reads a message of a realtime session, binary or text as the first byte says: whatever can be read as a
/// tree means something, and survives being written again.
#[cfg(feature = "realtime")]
pub fn frames(bytes: &[u8]) {
    use crate::realtime::{Frame, Value, encode};
    use crate::wire::Message;

    let Some((kind, content)) = bytes.split_first() else { return };
    let content = Bytes::copy_from_slice(content);
    let message = if kind & 1 == 0 { Message::Binary(content) } else { Message::Text(content) };
    let frame = Frame::of(&message);
    let Ok(value) = Value::of(&message) else { return };
    assert!(frame.is_ok(), "a tree without a meaning: {frame:?}");
    let again = Message::Binary(encode(&value).expect("a tree can be written"));
    // By their text, because some numbers are not equal to themselves.
    assert_eq!(format!("{:?}", Value::of(&again)), format!("{:?}", Ok::<_, ()>(value)));
}

/// Answers three inputs over a WebSocket by the bytes, cut into messages at each zero: each input has one
/// end, whatever comes.
pub fn ws(start: Instant, bytes: &[u8]) {
    use crate::wire::{Head, Message};
    use crate::ws::{Config, Event, Runs};

    let config = Config::new("acme/paint".parse().expect("an endpoint id"));
    let settings = Arc::new(Settings::default());
    let mut runs = Runs::new(start, 1, &settings, config).expect("nothing in it is impossible");
    for _ in 0..3 {
        runs.handle_send(start, Bytes::from_static(b"{}")).expect("there is room");
    }
    let id = ExchangeId::new(1);
    let mut head = Head::new(());
    *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    runs.handle_head(start, id, &head);
    for (number, piece) in bytes.split(|byte| *byte == 0).enumerate() {
        let piece = Bytes::copy_from_slice(piece);
        let is_text = number % 4 < 3 && std::str::from_utf8(&piece).is_ok();
        let message = if is_text { Message::Text(piece) } else { Message::Binary(piece) };
        runs.handle_message(start, id, message);
    }
    runs.handle_failure(start, id, Failure::read(FailureKind::Closed, "broken"));
    let (mut ends, mut is_done) = ([0_u8; 3], false);
    loop {
        match runs.poll_output() {
            Output::Event(Event::Answered { number, .. } | Event::Failed { number, .. }) => {
                ends[usize::try_from(number - 1).expect("a small number")] += 1;
            }
            Output::Done(_) => is_done = true,
            Output::Wait { .. } => break,
            _ => assert!(!is_done, "something after the end"),
        }
    }
    assert!(is_done && ends == [1; 3], "each input has one end: {ends:?}");
}

fn close(open: &mut Option<(ExchangeId, Expect)>, id: ExchangeId) {
    *open = open.filter(|(open, _)| *open != id);
}

/// Takes all outputs; says whether the end was among them.
fn drain(
    machine: &mut Subscribe,
    open: &mut Option<(ExchangeId, Expect)>,
    until: &mut Option<Instant>,
) -> bool {
    let mut is_done = false;
    loop {
        match machine.poll_output() {
            Output::Send { id, request } => {
                assert!(open.replace((id, request.expect)).is_none(), "two exchanges are open");
            }
            Output::Abort { id } => {
                assert_eq!(open.take().map(|(id, _)| id), Some(id), "this was not open");
            }
            Output::Message { id, .. } => panic!("{id:?} is no WebSocket"),
            Output::Event(_) => assert!(!is_done, "an event after the end"),
            Output::Done(_) => {
                assert!(!is_done && open.is_none());
                is_done = true;
            }
            Output::Wait { until: next } => {
                *until = next;
                return is_done;
            }
        }
    }
}

/// Reads a saved delivery: lines of headers, an empty line, the body. What is verified was signed, and says
/// whom it is about.
#[cfg(feature = "webhook")]
pub fn webhook(bytes: &[u8]) {
    use crate::webhook::{Delivery, KeySet, SignedHeaders, verify};

    let at = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let mut map = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    // The public key of the first vector, and its time.
    let keys = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"oOAG42TdedR1oELGk-w4V9oR3QNhTx_Wi6coea_-qRg"}]}"#;
    let keys = KeySet::parse(keys).expect("a set of one key");
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    if let Ok(signed) = SignedHeaders::parse(&map) {
        assert!(signed.message(body).split(|byte| *byte == b'\n').count() >= 4);
    }
    if let Ok(verified) = verify(&map, body, &keys, now) {
        let id = map.get("x-fal-webhook-request-id").map(HeaderValue::as_bytes);
        assert_eq!(id, Some(verified.request_id.as_bytes()));
    }
    let _ = (KeySet::parse(body), Delivery::parse(&Bytes::copy_from_slice(body)));
}

/// An answer whose status and headers follow from the first two bytes.
fn answer(bytes: &[u8]) -> (StatusCode, HeaderMap, Bytes) {
    let mut rng = SplitMix64::new(bytes.iter().take(2).fold(0, |n, b| n << 8 | u64::from(*b)));
    let statuses = [200, 202, 302, 307, 400, 404, 422, 429, 500, 502, 503, 504];
    let status = statuses[rng.below(statuses.len() as u64) as usize];
    let mut map = HeaderMap::new();
    for (name, value) in [
        (headers::REQUEST_ID, "r1"),
        (headers::NEEDS_RETRY, "1"),
        (headers::ERROR_TYPE, "internal_error"),
        (http::header::RETRY_AFTER, "3"),
        (http::header::LOCATION, "/elsewhere"),
        (http::header::CONTENT_TYPE, "text/event-stream"),
    ] {
        if rng.below(2) == 0 {
            map.insert::<HeaderName>(name, HeaderValue::from_static(value));
        }
    }
    let status = StatusCode::from_u16(status).expect("all of them are statuses");
    (status, map, Bytes::copy_from_slice(bytes.get(2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Bytes, texts that look like the real thing, and mixtures.
    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let texts = proptest::sample::select(
            &[
                "data: {\"status\":\"COMPLETED\"}\n\n",
                "{\"request_id\":\"r1\"}",
                "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"no\",\"type\":\"missing\"}]}",
                "fal-ai/flux/dev",
                "/requests/r1",
                "https://queue.fal.run/",
                ":\r\nid: 1\r",
                "x-fal-webhook-request-id: r1\nx-fal-webhook-user-id: u\nx-fal-webhook-timestamp: 1767225600\n",
                "\n\n{\"status\":\"OK\",\"payload\":{}}",
            ][..],
        );
        let part = prop_oneof![
            texts.prop_map(|text| text.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in inputs()) {
            super::sse(&bytes);
            super::endpoint(&bytes);
            super::api_error(&bytes);
            super::status(&bytes);
            super::target(&bytes);
            #[cfg(feature = "webhook")]
            super::webhook(&bytes);
            super::machine(crate::testing::epoch(), &bytes);
            #[cfg(feature = "realtime")]
            super::frames(&bytes);
            super::ws(crate::testing::epoch(), &bytes);
            super::upload(crate::testing::epoch(), &bytes);
        }
    }

    /// What the fuzzer begins with also runs here, whole, cut short, and with a bit of each byte changed.
    fn seeds(target: &str, run: impl Fn(&[u8])) {
        let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for entry in std::fs::read_dir(folder).expect("the seeds are there") {
            let seed = std::fs::read(entry.expect("an entry").path()).expect("it can be read");
            for end in 0..=seed.len() {
                run(&seed[..end]);
            }
            for at in 0..seed.len() {
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                run(&changed);
            }
            count += 1;
        }
        assert!(count > 3, "there are too few seeds");
    }

    #[test]
    fn seeds_of_parsers() {
        seeds("sse", super::sse);
        seeds("endpoint", super::endpoint);
        seeds("api_error", super::api_error);
        seeds("status", super::status);
        seeds("target", super::target);
    }

    #[cfg(feature = "realtime")]
    #[test]
    fn seeds_of_frames() {
        seeds("frames", super::frames);
    }

    #[test]
    fn seeds_of_uploads() {
        seeds("upload", |bytes| super::upload(crate::testing::epoch(), bytes));
    }

    #[test]
    fn seeds_of_ws() {
        seeds("ws", |bytes| super::ws(crate::testing::epoch(), bytes));
    }

    #[cfg(feature = "webhook")]
    #[test]
    fn seeds_of_webhooks() {
        seeds("webhook", super::webhook);
    }
}
