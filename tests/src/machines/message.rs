use std::time::Instant;

use bytes::Bytes;
use fal_protocol::realtime::{Closed, Event, Session, WhyDropped, decode, encode};
use fal_protocol::token::Token;
use fal_protocol::wire::{Close, ExchangeId, Failure, Head, Message, Response};
use fal_protocol::{Output, data_uri, ws};
use serde_json::{Value, json};

use super::describe::Describe;
use super::play::Machine;

/// A message in one of the spellings of the format.
pub(super) fn read(given: &Value) -> Result<Message, String> {
    if let Some(text) = given["text"].as_str() {
        return Ok(Message::text(text));
    }
    if let Some(value) = given.get("json") {
        return Ok(Message::text(value.to_string()));
    }
    if let Some(value) = given.get("msgpack") {
        return encode(value).map(Message::Binary).map_err(|error| error.to_string());
    }
    if let Some(text) = given["base64"].as_str() {
        let decoded = data_uri::decode(&format!("data:;base64,{text}"));
        return decoded.map(|uri| Message::Binary(uri.bytes)).map_err(|error| error.to_string());
    }
    match &given["close"] {
        Value::Number(code) => {
            let code = code.as_u64().and_then(|code| u16::try_from(code).ok());
            let code = code.ok_or("a code has 16 bits")?;
            Ok(Message::Close(Close::new(Some(code))))
        }
        Value::Null if given.get("close").is_some() => Ok(Message::Close(Close::new(None))),
        _ => Err(format!("this is no message: {given}")),
    }
}

/// Whether a message is what was wanted; JSON and msgpack stand for any rendering of their value.
pub(super) fn compare(wanted: &Value, found: &Message) -> Result<(), String> {
    let is_same = match (wanted.get("json"), wanted.get("msgpack"), found) {
        (Some(value), _, Message::Text(_)) | (_, Some(value), Message::Binary(_)) => {
            decode::<Value>(found).is_ok_and(|found| found == *value)
        }
        (Some(_), _, _) | (_, Some(_), _) => false,
        _ => read(wanted)? == *found,
    };
    if is_same { Ok(()) } else { Err(format!("it sent {found:?}, not {wanted}")) }
}

/// A session, and the token that it last wanted of its caller.
#[derive(Debug)]
pub(super) struct Realtime {
    session: Session,
    wanted: Option<ExchangeId>,
}

impl Realtime {
    pub(super) const fn new(session: Session) -> Self {
        Self { session, wanted: None }
    }
}

impl Machine for Realtime {
    fn response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        self.session.handle_response(now, id, response);
    }
    fn failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        self.session.handle_failure(now, id, failure);
    }
    fn timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }
    fn head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        self.session.handle_head(now, id, head);
    }
    fn message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        self.session.handle_message(now, id, message);
    }
    fn send(&mut self, now: Instant, message: Message) {
        self.session.handle_send(now, message);
    }
    fn close(&mut self, now: Instant) {
        self.session.handle_close(now);
    }
    fn token(&mut self, now: Instant, token: Result<Token, Box<str>>) {
        if let Some(id) = self.wanted {
            self.session.handle_token(now, id, token);
        }
    }
    fn poll(&mut self) -> Output<Value, Value> {
        match self.session.poll_output() {
            Output::Send { id, request } => Output::Send { id, request },
            Output::Abort { id } => Output::Abort { id },
            Output::Message { id, message } => Output::Message { id, message },
            Output::Event(event) => {
                if let Event::TokenWanted { id } = &event {
                    self.wanted = Some(*id);
                }
                Output::Event(event.describe())
            }
            Output::Wait { until } => Output::Wait { until },
            Output::Done(result) => Output::Done(result.map(|closed| closed.describe())),
        }
    }
}

/// Runs over one connection.
#[derive(Debug)]
pub(super) struct Ws(pub(super) ws::Runs);

impl Machine for Ws {
    fn response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        self.0.handle_response(now, id, response);
    }
    fn failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        self.0.handle_failure(now, id, failure);
    }
    fn timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }
    fn head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
        self.0.handle_head(now, id, head);
    }
    fn message(&mut self, now: Instant, id: ExchangeId, message: Message) {
        self.0.handle_message(now, id, message);
    }
    fn send(&mut self, now: Instant, message: Message) {
        // A refused input is nothing that a vector has.
        let input = Bytes::copy_from_slice(message.bytes());
        let _ = self.0.handle_send(now, input);
    }
    fn close(&mut self, now: Instant) {
        self.0.handle_close(now);
    }
    fn poll(&mut self) -> Output<Value, Value> {
        match self.0.poll_output() {
            Output::Send { id, request } => Output::Send { id, request },
            Output::Abort { id } => Output::Abort { id },
            Output::Message { id, message } => Output::Message { id, message },
            Output::Event(event) => Output::Event(event.describe()),
            Output::Wait { until } => Output::Wait { until },
            Output::Done(result) => Output::Done(result.map(|closed| closed.describe())),
        }
    }
}

impl Describe for ws::Event {
    fn describe(&self) -> Value {
        match self {
            Self::Connected => json!({ "kind": "connected" }),
            Self::Started { number, start } => json!({
                "kind": "started",
                "number": number,
                "request_id": start.request_id,
                "status": start.status.as_u16(),
            }),
            Self::Item { number, event } => {
                let data = event.data.as_bytes();
                let text = || json!(String::from_utf8_lossy(data));
                let data = serde_json::from_slice(data).unwrap_or_else(|_| text());
                json!({ "kind": "item", "number": number, "data": data })
            }
            Self::Chunk { number, bytes } => {
                let text = String::from_utf8_lossy(bytes);
                json!({ "kind": "chunk", "number": number, "text": text })
            }
            Self::Answered { number, time_to_first_byte } => json!({
                "kind": "answered",
                "number": number,
                "time_to_first_byte": time_to_first_byte,
            }),
            Self::Failed { number, error } => {
                json!({ "kind": "failed", "number": number, "error": error.describe() })
            }
            Self::AttemptFailed(failed) => failed.describe(),
            _ => json!({ "kind": "other" }),
        }
    }
}

impl Describe for ws::Closed {
    fn describe(&self) -> Value {
        json!({ "code": self.close.as_ref().and_then(|close| close.code) })
    }
}

impl Describe for Event {
    fn describe(&self) -> Value {
        match self {
            Self::Connected => json!({ "kind": "connected" }),
            Self::Output(message) => json!({ "kind": "output", "value": value(message) }),
            Self::Meta(meta) => {
                json!({ "kind": "meta", "action": meta.action, "timing": meta.timing })
            }
            Self::PeerError { error, message } => json!({
                "kind": "peer-error",
                "error_type": error.error_type.as_ref().map(|name| name.as_str()),
                "message": error.message,
                "value": value(message),
            }),
            Self::Malformed { .. } => json!({ "kind": "malformed" }),
            Self::Ended(ended) => json!({
                "kind": "ended",
                "reason": ended.reason,
                "code": ended.close.as_ref().and_then(|close| close.code),
                "sent": ended.traffic.sent,
                "received": ended.traffic.received,
            }),
            Self::Failed { error, queued, traffic } => json!({
                "kind": "failed",
                "error": error.describe(),
                "queued": queued,
                "sent": traffic.sent,
                "received": traffic.received,
            }),
            Self::Dropped { number, why } => json!({
                "kind": "dropped",
                "number": number,
                "why": match why {
                    WhyDropped::Replaced => "replaced",
                    WhyDropped::Throttled => "throttled",
                    WhyDropped::Full => "full",
                    WhyDropped::Closed => "closed",
                    _ => "other",
                },
            }),
            Self::TokenWanted { .. } => json!({ "kind": "token-wanted" }),
            Self::RefreshFailed(error) => {
                json!({ "kind": "refresh-failed", "error": error.describe() })
            }
            Self::AttemptFailed(failed) => failed.describe(),
            _ => json!({ "kind": "other" }),
        }
    }
}

impl Describe for Closed {
    fn describe(&self) -> Value {
        json!({
            "code": self.close.as_ref().and_then(|close| close.code),
            "sent": self.traffic.sent,
            "received": self.traffic.received,
        })
    }
}

impl Describe for Token {
    fn describe(&self) -> Value {
        json!({ "token": self.as_str() })
    }
}

/// The content as JSON, or its length where it has none.
fn value(message: &Message) -> Value {
    decode(message).unwrap_or_else(|_| json!({ "bytes": message.bytes().len() }))
}
