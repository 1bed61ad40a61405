use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::queue::{Cancel, Fetch, Submit, Subscribe, Watch};
use fal_protocol::run::Run;
use fal_protocol::stream::Stream;
use fal_protocol::token::Mint;
use fal_protocol::upload::Upload;
use fal_protocol::wire::{
    Body, ExchangeId, Expect, Failure, FailureKind, Head, Message, Phase, Request, Response, Sent,
};
use fal_protocol::{Output, Token, data_uri};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::config;
use super::describe::Describe;
use super::message;
use crate::vectors::Vector;

/// Plays a machine vector.
///
/// Outputs are compared in order. Events that no step expects are passed over, because a client need
/// not have them; anything else that is done and not expected fails.
///
/// # Errors
/// What differs, in words.
pub fn run(vector: &Vector) -> Result<(), String> {
    let text = |name: &str| vector.part(name).as_str().unwrap_or_default();
    let seed = vector.part("seed").as_u64().unwrap_or(1);
    let start = epoch();
    let machine = config::begin(text("machine"), seed, vector.part("config"), start)?;
    let mut player = Player { machine, start, now: start, sent: Vec::new(), done: VecDeque::new() };
    player.drain();
    let steps = vector.part("steps").as_array().map_or(&[][..], Vec::as_slice);
    for (index, step) in steps.iter().enumerate() {
        player.take(step).map_err(|problem| format!("step {}: {problem}", index + 1))?;
    }
    player.expect_nothing().map_err(|problem| format!("at the end: {problem}"))
}

/// What all machines have in common, as far as a vector can see.
pub(super) trait Machine {
    fn response(&mut self, now: Instant, id: ExchangeId, response: Response);
    fn failure(&mut self, now: Instant, id: ExchangeId, failure: Failure);
    fn timeout(&mut self, now: Instant);
    fn poll(&mut self) -> Output<Value, Value>;
    fn head(&mut self, _now: Instant, _id: ExchangeId, _head: &Head) {}
    fn chunk(&mut self, _now: Instant, _id: ExchangeId, _chunk: Bytes) {}
    fn end(&mut self, _now: Instant, _id: ExchangeId) {}
    fn progress(&mut self, _now: Instant, _id: ExchangeId, _bytes: u64) {}
    fn cancel(&mut self, _now: Instant) {}
    fn message(&mut self, _now: Instant, _id: ExchangeId, _message: Message) {}
    fn send(&mut self, _now: Instant, _message: Message) {}
    fn close(&mut self, _now: Instant) {}
    fn token(&mut self, _now: Instant, _token: Result<Token, Box<str>>) {}
}

macro_rules! machine {
    ($machine:ty $(, $optional:item)*) => {
        impl Machine for $machine {
            fn response(&mut self, now: Instant, id: ExchangeId, response: Response) {
                self.handle_response(now, id, response);
            }
            fn failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
                self.handle_failure(now, id, failure);
            }
            fn timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn poll(&mut self) -> Output<Value, Value> {
                match self.poll_output() {
                    Output::Send { id, request } => Output::Send { id, request },
                    Output::Abort { id } => Output::Abort { id },
                    Output::Message { id, message } => Output::Message { id, message },
                    Output::Event(event) => Output::Event(event.describe()),
                    Output::Wait { until } => Output::Wait { until },
                    Output::Done(result) => Output::Done(result.map(|value| value.describe())),
                }
            }
            $($optional)*
        }
    };
}

macro_rules! streaming_machine {
    ($machine:ty $(, $optional:item)*) => {
        machine!(
            $machine,
            fn head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
                self.handle_head(now, id, head);
            },
            fn chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
                self.handle_chunk(now, id, chunk);
            },
            fn end(&mut self, now: Instant, id: ExchangeId) {
                self.handle_end(now, id);
            }
            $(, $optional)*
        );
    };
}

machine!(Run);
machine!(Submit);
machine!(Fetch);
machine!(Mint);
machine!(Cancel);
machine!(
    Upload,
    fn progress(&mut self, now: Instant, id: ExchangeId, bytes: u64) {
        self.handle_progress(now, id, bytes);
    },
    fn cancel(&mut self, now: Instant) {
        self.handle_cancel(now);
    }
);
streaming_machine!(Watch);
streaming_machine!(Stream);
streaming_machine!(
    Subscribe,
    fn cancel(&mut self, now: Instant) {
        self.handle_cancel(now);
    }
);

struct Player {
    machine: Box<dyn Machine>,
    start: Instant,
    now: Instant,
    /// The exchanges in the order in which they were sent.
    sent: Vec<ExchangeId>,
    /// What was done and not yet expected; a `Wait` is last.
    done: VecDeque<Output<Value, Value>>,
}

impl Player {
    fn take(&mut self, step: &Value) -> Result<(), String> {
        let at = step["at_ms"].as_u64().ok_or("it has no time")?;
        let at = self.start + Duration::from_millis(at);
        if at < self.now {
            return Err("its time lies before that of the step before".into());
        }
        self.now = at;
        match (step.get("expect"), step.get("give")) {
            (Some(expected), None) => self.expect(expected),
            (None, Some(given)) => {
                self.expect_nothing()?;
                self.give(given)?;
                self.drain();
                Ok(())
            }
            _ => Err("it neither expects nor gives".into()),
        }
    }

    fn drain(&mut self) {
        self.done.clear();
        loop {
            let output = self.machine.poll();
            if let Output::Send { id, .. } = &output {
                self.sent.push(*id);
            }
            let is_last = matches!(output, Output::Wait { .. });
            self.done.push_back(output);
            if is_last {
                return;
            }
        }
    }

    /// Nothing but events and the wait is left.
    fn expect_nothing(&self) -> Result<(), String> {
        let more = |output: &&Output<Value, Value>| {
            !matches!(output, Output::Event(_) | Output::Wait { .. })
        };
        match self.done.iter().find(more) {
            Some(output) => Err(format!("it also did this: {output:?}")),
            None => Ok(()),
        }
    }

    fn expect(&mut self, expected: &Value) -> Result<(), String> {
        let kind = expected["event"]["kind"].as_str();
        loop {
            let output = self.done.pop_front().ok_or("it did nothing more")?;
            match (&output, kind) {
                (Output::Event(event), Some(kind)) if event["kind"] == kind => {
                    return members(&expected["event"], event, "event");
                }
                // The rest of the wait can be asked for again.
                (Output::Wait { .. }, _) => {
                    self.done.push_back(output.clone());
                    return self.compare(expected, &output);
                }
                (Output::Event(_), _) => {}
                _ => return self.compare(expected, &output),
            }
        }
    }

    fn compare(&self, expected: &Value, output: &Output<Value, Value>) -> Result<(), String> {
        let differs = || Err(format!("expected was {expected}, but it did this: {output:?}"));
        match output {
            Output::Send { request, .. } => match expected.get("send") {
                Some(wanted) => compare_request(wanted, request),
                None => differs(),
            },
            Output::Abort { id } => {
                let number = self.sent.iter().position(|sent| sent == id).map(|at| at as u64 + 1);
                if expected["abort"].as_u64() == number { Ok(()) } else { differs() }
            }
            Output::Wait { until } => match expected.get("wait_ms") {
                None => differs(),
                Some(Value::Null) if until.is_none() => Ok(()),
                Some(range) => {
                    let wait = until.map(|until| until.saturating_duration_since(self.now));
                    let limit = |at: usize| range[at].as_u64().map(Duration::from_millis);
                    let fits = wait.is_some_and(|wait| {
                        limit(0).is_some_and(|least| wait >= least)
                            && limit(1).is_some_and(|most| wait <= most)
                    });
                    if fits { Ok(()) } else { Err(format!("it waits {wait:?}, not {range}")) }
                }
            },
            Output::Done(result) => {
                let wanted = &expected["done"];
                match (result, wanted.get("ok"), wanted.get("error")) {
                    (Ok(value), Some(wanted), _) => members(wanted, value, "ok"),
                    (Err(error), _, Some(wanted)) => compare_error(wanted, &error.describe()),
                    _ => differs(),
                }
            }
            Output::Message { message, .. } => match expected.get("message") {
                Some(wanted) => message::compare(wanted, message),
                None => differs(),
            },
            Output::Event(_) => differs(),
        }
    }

    /// What the caller does, which concerns no exchange. The clock is nobody's either.
    fn command(&mut self, given: &Value) -> Result<bool, String> {
        let (now, machine) = (self.now, &mut self.machine);
        let command = &given["message"];
        if let Some(sent) = command.get("send") {
            machine.send(now, message::read(sent)?);
        } else if command.get("caller_close").is_some() {
            machine.close(now);
        } else if let Some(token) = command["token"].as_str() {
            let token = Token::parse(token).map_err(|error| error.to_string())?;
            machine.token(now, Ok(token));
        } else if let Some(problem) = command["no_token"].as_str() {
            machine.token(now, Err(problem.into()));
        } else if given.get("timeout").is_some() {
            machine.timeout(now);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn give(&mut self, given: &Value) -> Result<(), String> {
        if self.command(given)? {
            return Ok(());
        }
        let id = match given["exchange"].as_u64() {
            Some(number) => self.sent.get(number as usize - 1),
            None => self.sent.last(),
        };
        let id = *id.ok_or("there is no such exchange")?;
        let now = self.now;
        let machine = &mut self.machine;
        if let Some(response) = given.get("response") {
            let body = response.get("body").map(bytes_of).unwrap_or_default();
            machine.response(now, id, head_of(response)?.map(|()| body));
        } else if let Some(failure) = given.get("failure") {
            machine.failure(now, id, failure_of(failure)?);
        } else if let Some(head) = given.get("head") {
            machine.head(now, id, &head_of(head)?);
        } else if let Some(chunk) = given.get("chunk") {
            machine.chunk(now, id, bytes_of(chunk));
        } else if given.get("end").is_some() {
            machine.end(now, id);
        } else if given.get("cancel").is_some() {
            machine.cancel(now);
        } else if let Some(bytes) = given["message"]["sent_bytes"].as_u64() {
            machine.progress(now, id, bytes);
        } else if let Some(given) = given.get("message") {
            machine.message(now, id, message::read(given)?);
        } else {
            return Err(format!("nobody can be given {given}"));
        }
        Ok(())
    }
}

fn compare_request(wanted: &Value, request: &Request) -> Result<(), String> {
    let text = |name: &str| wanted[name].as_str();
    let same = |name: &str, found: &str| match text(name) {
        Some(wanted) if wanted != found => Err(format!("{name} is {found:?}, not {wanted:?}")),
        _ => Ok(()),
    };
    same("method", request.method.as_str())?;
    same("host", request.uri.authority().map_or("", |authority| authority.as_str()))?;
    same("path", request.uri.path())?;
    let shape = match request.expect {
        Expect::Chunks => "chunks",
        Expect::WebSocket { .. } => "websocket",
        _ => "whole",
    };
    same("expect", shape)?;
    if let Some(wanted) = wanted["query"].as_object() {
        let query = request.uri.query().unwrap_or_default();
        let found: BTreeMap<&str, &str> =
            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let wanted: BTreeMap<&str, &str> =
            wanted.iter().map(|(name, value)| (&**name, value.as_str().unwrap_or(""))).collect();
        if found != wanted {
            return Err(format!("the query is {found:?}, not {wanted:?}"));
        }
    }
    for (name, wanted) in wanted["headers"].as_object().into_iter().flatten() {
        let found = request.headers.get(name).and_then(|value| value.to_str().ok());
        if found != wanted.as_str() {
            return Err(format!("the header {name} is {found:?}, not {wanted}"));
        }
    }
    for name in wanted["headers_absent"].as_array().into_iter().flatten() {
        if name.as_str().is_some_and(|name| request.headers.contains_key(name)) {
            return Err(format!("it has the header {name}"));
        }
    }
    if let Some(wanted) = wanted["body_bytes"].as_u64().filter(|len| *len != request.body.len()) {
        return Err(format!("the body has {} bytes, not {wanted}", request.body.len()));
    }
    match (wanted.get("body"), &request.body) {
        (None, _) | (Some(Value::Null), Body::Empty) => Ok(()),
        (Some(wanted), Body::Bytes(found)) => {
            let is_same = match wanted.get("json") {
                Some(json) => {
                    serde_json::from_slice::<Value>(found).is_ok_and(|found| found == *json)
                }
                None => !wanted.is_null() && bytes_of(wanted) == *found,
            };
            if is_same { Ok(()) } else { Err(format!("the body is {found:?}, not {wanted}")) }
        }
        (Some(wanted), body) => Err(format!("the body is {body:?}, not {wanted}")),
    }
}

fn compare_error(wanted: &Value, found: &Value) -> Result<(), String> {
    let message = found["api"]["message"].as_str().unwrap_or_default();
    for words in wanted["api"]["message_has"].as_array().into_iter().flatten() {
        if !words.as_str().is_some_and(|words| message.contains(words)) {
            return Err(format!("the message lacks {words}: {message}"));
        }
    }
    let mut rest = wanted.clone();
    if let Some(api) = rest.get_mut("api").and_then(Value::as_object_mut) {
        api.remove("message_has");
    }
    members(&rest, found, "error")
}

/// Every member that is wanted is found so; objects are compared likewise, everything else whole.
fn members(wanted: &Value, found: &Value, place: &str) -> Result<(), String> {
    for (name, value) in wanted.as_object().into_iter().flatten() {
        let (inner, place) = (&found[name], format!("{place}.{name}"));
        if value.is_object() && inner.is_object() {
            members(value, inner, &place)?;
        } else if value != inner {
            return Err(format!("{place} is {inner}, not {value} (in {found})"));
        }
    }
    Ok(())
}

/// Bytes in one of the spellings of the format.
fn bytes_of(value: &Value) -> Bytes {
    if let Some(text) = value["text"].as_str() {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    if let Some(text) = value["base64"].as_str() {
        let decoded = data_uri::decode(&format!("data:;base64,{text}"));
        return decoded.map(|uri| uri.bytes).unwrap_or_default();
    }
    value.get("json").map(|json| Bytes::from(json.to_string())).unwrap_or_default()
}

fn head_of(given: &Value) -> Result<Head, String> {
    let status = given["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let mut head = Head::new(());
    *head.status_mut() =
        StatusCode::from_u16(status.ok_or("it has no status")?).map_err(|e| e.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in given["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value.as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    *head.headers_mut() = headers;
    Ok(head)
}

fn failure_of(given: &Value) -> Result<Failure, String> {
    let kind = match given["kind"].as_str().unwrap_or("other") {
        "dns" => FailureKind::Dns,
        "refused" => FailureKind::Refused,
        "tls" => FailureKind::Tls,
        "proxy" => FailureKind::Proxy,
        "timeout" => FailureKind::Timeout,
        "closed" => FailureKind::Closed,
        "malformed" => FailureKind::Malformed,
        "too-large" => FailureKind::TooLarge,
        "source" => FailureKind::Source,
        "other" => FailureKind::Other,
        other => return Err(format!("there is no failure {other:?}")),
    };
    let mut failure = Failure::read(kind, "it broke");
    failure.phase = match given["phase"].as_str() {
        Some("connect") => Phase::Connect,
        Some("write") => Phase::Write,
        Some("read") => Phase::Read,
        other => return Err(format!("there is no phase {other:?}")),
    };
    failure.sent = if given["sent"] == "no" { Sent::No } else { Sent::Maybe };
    Ok(failure)
}

/// Where model time starts. Only differences count.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
