//! The model alone, in virtual time.

mod feed;
mod front;
mod jobs;
mod keep;
mod lifecycle;
mod limits;
mod parts;
mod platform;
mod properties;
mod realtime;
mod scenario;
mod scenario_faults;
mod sockets;
mod storage;
mod webhook;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::*;

/// A model, its clock, and everything that it has said.
struct World {
    model: Model,
    now: Instant,
    last_exchange: u64,
    replies: BTreeMap<u64, Response>,
    /// The text of each stream so far, and whether it has ended.
    streams: BTreeMap<u64, (String, bool)>,
    /// The headers of each stream, and its pieces as bytes.
    heads: BTreeMap<u64, HeaderMap>,
    raw: BTreeMap<u64, Vec<Bytes>>,
    cut: Vec<u64>,
    reset: Vec<u64>,
    released: Vec<(u64, u64)>,
    /// What was said on each WebSocket so far, a close included.
    said: BTreeMap<u64, Vec<Said>>,
    letters: Vec<Letter>,
    /// Work that was wanted, and work that was not any more.
    works: Vec<(u64, Work)>,
    stopped: Vec<u64>,
    until: Option<Instant>,
}

/// What was said on a WebSocket, drawn.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Frame(Frame),
    Close(Option<u16>),
}

/// A delivery to be made.
#[derive(Clone, Debug)]
struct Letter {
    id: u64,
    url: http::Uri,
    headers: HeaderMap,
    body: Bytes,
    time_max: Duration,
}

/// One call to be made.
#[derive(Clone, Debug)]
struct Call<'a> {
    method: Method,
    host: Host,
    target: &'a str,
    headers: Vec<(&'static str, &'a str)>,
    body: Bytes,
}

impl World {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let model = Model::new(config, now, wall);
        Self {
            model,
            now,
            last_exchange: 0,
            replies: BTreeMap::new(),
            streams: BTreeMap::new(),
            heads: BTreeMap::new(),
            raw: BTreeMap::new(),
            cut: Vec::new(),
            reset: Vec::new(),
            released: Vec::new(),
            said: BTreeMap::new(),
            letters: Vec::new(),
            works: Vec::new(),
            stopped: Vec::new(),
            until: None,
        }
    }

    /// Makes a call with a key and returns its exchange.
    fn send(&mut self, call: &Call<'_>) -> u64 {
        self.give(call, |model, now, id, request| model.handle_request(now, id, request))
    }

    /// Asks for a WebSocket and returns its exchange.
    fn upgrade(&mut self, call: &Call<'_>) -> u64 {
        self.give(call, |model, now, id, request| model.handle_upgrade(now, id, request))
    }

    fn give(
        &mut self,
        call: &Call<'_>,
        handle: impl FnOnce(&mut Model, Instant, u64, Request<'_>),
    ) -> u64 {
        self.last_exchange += 1;
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Key id:secret"));
        for (name, value) in &call.headers {
            let value = HeaderValue::from_str(value).unwrap();
            match value.is_empty() {
                true => drop(headers.remove(*name)),
                false => drop(headers.insert(HeaderName::from_static(name), value)),
            }
        }
        let (path, query) = match call.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (call.target, None),
        };
        let request = Request::new(&call.method, call.host, path, &headers)
            .with_query(query)
            .with_body(call.body.clone());
        handle(&mut self.model, self.now, self.last_exchange, request);
        self.drain();
        self.last_exchange
    }

    /// Makes a call that is answered at once.
    #[track_caller]
    fn ask(&mut self, call: &Call<'_>) -> Response {
        let exchange = self.send(call);
        self.replies.remove(&exchange).expect("an immediate answer")
    }

    #[track_caller]
    fn get(&mut self, target: &str) -> Response {
        self.ask(&Call::get(target))
    }

    /// Submits and returns the id.
    #[track_caller]
    fn submit(&mut self, call: &Call<'_>) -> RequestId {
        let response = self.ask(call);
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        json(&response)["request_id"].as_str().unwrap().parse().unwrap()
    }

    /// Lets time pass, waking the model whenever it wants.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.until.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.model.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn control(&mut self, control: Control) -> bool {
        let done = self.model.handle_control(self.now, control);
        self.drain();
        done
    }

    fn drain(&mut self) {
        loop {
            match self.model.poll_output() {
                Output::Reply { id, response } => {
                    assert!(
                        self.replies.insert(id, response).is_none(),
                        "one answer for each exchange"
                    );
                }
                Output::Stream { id, head } => {
                    assert_eq!(head.status(), StatusCode::OK);
                    assert!(self.streams.insert(id, (String::new(), false)).is_none());
                    self.heads.insert(id, head.headers().clone());
                    self.raw.insert(id, Vec::new());
                }
                Output::Event { id, bytes } => {
                    let (text, ended) =
                        self.streams.get_mut(&id).expect("a stream begins before its events");
                    assert!(!*ended, "nothing follows the end");
                    text.push_str(&String::from_utf8_lossy(&bytes));
                    self.raw.entry(id).or_default().push(bytes);
                }
                Output::End { id } => {
                    self.streams.get_mut(&id).expect("a stream ends once").1 = true
                }
                Output::Serve { id, head, pieces } => {
                    let mut body = Vec::new();
                    for piece in pieces {
                        match piece {
                            Piece::Memory(bytes) => body.extend_from_slice(&bytes),
                            Piece::Spooled { body: spooled, from, to } => {
                                let bytes = spooled.keeper().downcast_ref::<Bytes>().unwrap();
                                body.extend_from_slice(&bytes[from as usize..to as usize]);
                            }
                        }
                    }
                    assert!(self.replies.insert(id, head.map(|()| body.into())).is_none());
                }
                Output::Cut { id } => self.cut.push(id),
                Output::Reset { id } => self.reset.push(id),
                Output::Release { id, bytes } => self.released.push((id, bytes)),
                Output::Accept { id } => {
                    assert!(self.said.insert(id, Vec::new()).is_none(), "accepted once");
                }
                Output::Frame { id, frame } => self.say(id, Said::Frame(frame.render())),
                Output::Close { id, code, .. } => self.say(id, Said::Close(code)),
                Output::Deliver { id, url, headers, body, time_max } => {
                    self.letters.push(Letter { id, url, headers, body, time_max });
                }
                Output::Work { id, work } => self.works.push((id, *work)),
                Output::StopWork { id } => self.stopped.push(id),
                Output::Wait { until } => {
                    assert!(
                        until.is_none_or(|until| until > self.now),
                        "no deadline lies in the past"
                    );
                    self.until = until;
                    return;
                }
            }
        }
    }

    fn say(&mut self, id: u64, said: Said) {
        let before = self.said.get_mut(&id).expect("a WebSocket is accepted before it speaks");
        assert!(!matches!(before.last(), Some(Said::Close(_))), "nothing follows a close");
        before.push(said);
    }

    /// Status of a job with logs.
    #[track_caller]
    fn status(&mut self, id: RequestId) -> (StatusCode, Value) {
        let response = self.get(&format!("/acme/app/requests/{id}/status?logs=1"));
        assert_eq!(response.headers()["x-fal-request-id"], id.to_string().as_str());
        (response.status(), json(&response))
    }

    #[track_caller]
    fn result(&mut self, id: RequestId) -> Response {
        self.get(&format!("/acme/app/requests/{id}"))
    }

    #[track_caller]
    fn cancel(&mut self, id: RequestId) -> (StatusCode, Value) {
        let response = self.ask(&Call::put(&format!("/acme/app/requests/{id}/cancel")));
        (response.status(), json(&response))
    }

    /// The events of a stream, decoded; `None` is a comment.
    fn events(&self, exchange: u64) -> Vec<Option<Value>> {
        let (text, _) = &self.streams[&exchange];
        text.split("\n\n")
            .filter(|block| !block.is_empty())
            .map(|block| match block.strip_prefix("data: ") {
                Some(data) => Some(serde_json::from_str(data).unwrap()),
                None => {
                    assert_eq!(block, ": keep-alive");
                    None
                }
            })
            .collect()
    }
}

impl<'a> Call<'a> {
    fn new(method: Method, target: &'a str) -> Self {
        Self { method, host: Host::Queue, target, headers: Vec::new(), body: Bytes::new() }
    }

    fn get(target: &'a str) -> Self {
        Self::new(Method::GET, target)
    }

    fn put(target: &'a str) -> Self {
        Self::new(Method::PUT, target)
    }

    fn post(target: &'a str, body: &str) -> Self {
        Self::new(Method::POST, target).with_body(body)
    }

    fn with_body(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self
    }

    fn on(mut self, host: Host) -> Self {
        self.host = host;
        self
    }

    fn with(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A submit of a valid input.
fn submit() -> Call<'static> {
    Call::post("/acme/app/sub", r#"{"prompt":"a cat"}"#)
}

#[track_caller]
fn json(response: &Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(response.body())
        .unwrap_or_else(|error| panic!("{error}: {:?}", response.body()))
}
