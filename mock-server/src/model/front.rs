//! HTTP over WebSocket: one connection, many inputs, each answered as a call of its own, in order.
//!
//! An answer is a text that starts it, the pieces of its body as they come, and a text that ends it. The
//! calls are those of the run host, under numbers of their own: what they put out is told on the
//! connection instead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderMap, Method, StatusCode, header};

use super::exchange::{Door, Host, Output, Request, Response};
use super::realtime::{Frame, FrameDraft, NORMAL, POLICY_VIOLATION};
use super::reply::REQUEST_ID;
use super::{Model, Open, reply, run};
use crate::render;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Front {
    endpoint: EndpointId,
    headers: Arc<HeaderMap>,
    door: Door<'static>,
    /// Inputs that came before those ahead of them were answered.
    waiting: VecDeque<Bytes>,
    /// Their bytes.
    bytes: usize,
    current: Option<Current>,
}

/// The call that is being answered.
#[derive(Debug)]
struct Current {
    inner: u64,
    since: Instant,
    head: Option<Head>,
}

/// What has been told of its head.
#[derive(Debug)]
struct Head {
    request_id: Box<str>,
    status: StatusCode,
    /// Whether its body is text, piece by piece.
    is_text: bool,
    /// After this time.
    after: Duration,
}

/// The calls that belong to connections, and to which one.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    fronts: BTreeMap<u64, u64>,
    last: u64,
}

impl Model {
    /// Answers a handshake; `None` if it was accepted.
    pub(super) fn open_front(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        let endpoint = match self.endpoint(request) {
            Ok(endpoint) => endpoint,
            Err(refusal) => return Some(*refusal),
        };
        if let Some(failure) = self.refuse_next.pop_front() {
            return Some(reply::failure(self.mint_other(), &failure));
        }
        // Its inputs need no credentials of their own.
        if let Err(denied) = self.admit(request, &endpoint) {
            let text = denied.text(Some(endpoint.app()));
            return Some(reply::refuse(StatusCode::UNAUTHORIZED, self.mint_other(), &text));
        }
        if let Some(refusal) = self.unknown_app(&endpoint) {
            return Some(refusal);
        }
        if self.open.len() >= self.config.exchanges_max {
            return Some(reply::failure(self.mint_other(), &run::too_many()));
        }
        self.counters.fronts += 1;
        self.out.push_back(Output::Accept { id: exchange });
        let front = Front {
            endpoint,
            headers: Arc::new(request.headers.clone()),
            door: request.door.clone().into_owned(),
            waiting: VecDeque::new(),
            bytes: 0,
            current: None,
        };
        self.open.insert(exchange, Open::Front(Box::new(front)));
        None
    }

    /// Answers a call that should have asked for a WebSocket.
    pub(super) fn no_upgrade(&mut self, what: &str) -> Response {
        let detail = format!("{what} takes WebSocket connections only");
        let mut response = reply::refuse(StatusCode::UPGRADE_REQUIRED, self.mint_other(), &detail);
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
        response
    }

    /// Takes an input, or the end of the connection.
    pub(super) fn front_frame(&mut self, id: u64, frame: Frame) {
        let input = match frame {
            Frame::Text(text) => Bytes::from(text),
            Frame::Binary(bytes) => bytes,
            Frame::Close(code) => {
                let code = Some(code.unwrap_or(NORMAL));
                return self.front_over(id, Output::Close { id, code, reason: "".into() });
            }
        };
        let bytes_max = self.config.body_bytes_max;
        let Some(Open::Front(front)) = self.open.get_mut(&id) else { return };
        if front.waiting.len() >= INPUTS_AHEAD_MAX || front.bytes + input.len() > bytes_max {
            let reason = "Too many inputs are ahead of their answers".into();
            let code = Some(POLICY_VIOLATION);
            return self.front_over(id, Output::Close { id, code, reason });
        }
        front.bytes += input.len();
        front.waiting.push_back(input);
        self.front_next(id);
    }

    /// Makes the call of the next input, unless one is under way.
    fn front_next(&mut self, id: u64) {
        let Some(Open::Front(front)) = self.open.get_mut(&id) else { return };
        if front.current.is_some() {
            return;
        }
        let Some(body) = front.waiting.pop_front() else { return };
        front.bytes -= body.len();
        self.inner.last += 1;
        let inner = INNER | self.inner.last;
        front.current = Some(Current { inner, since: self.now, head: None });
        self.inner.fronts.insert(inner, id);
        let (endpoint, headers) = (front.endpoint.clone(), Arc::clone(&front.headers));
        let path = format!("/{}", endpoint.as_str());
        let request = Request::new(&Method::POST, Host::Run, &path, &headers)
            .with_body(body)
            .with_door(front.door.clone());
        if let Some(response) = self.call(inner, request, endpoint) {
            self.out.push_back(Output::Reply { id: inner, response });
        }
    }

    /// Tells on their connections what the calls of inputs have put out since the last time.
    pub(super) fn relay(&mut self) {
        while self.inner.last > 0 && self.out.iter().any(|output| inner_of(output).is_some()) {
            for output in std::mem::take(&mut self.out) {
                match inner_of(&output) {
                    Some(inner) => self.relay_one(inner, output),
                    None => self.out.push_back(output),
                }
            }
        }
    }

    fn relay_one(&mut self, inner: u64, output: Output) {
        // Without a connection nobody waits for it any more.
        let Some(&id) = self.inner.fronts.get(&inner) else { return };
        match output {
            Output::Reply { response, .. } => {
                self.front_started(id, response.status(), response.headers());
                if !response.body().is_empty() {
                    self.front_body(id, response.into_body());
                }
                self.front_ended(id);
            }
            Output::Stream { head, .. } => self.front_started(id, head.status(), head.headers()),
            Output::Event { bytes, .. } => self.front_body(id, bytes),
            Output::End { .. } => self.front_ended(id),
            // There is no word for a body that breaks off.
            _ => self.front_over(id, Output::Cut { id }),
        }
    }

    fn front_started(&mut self, id: u64, status: StatusCode, headers: &HeaderMap) {
        let Some(Open::Front(front)) = self.open.get_mut(&id) else { return };
        let Some(current) = &mut front.current else { return };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(REQUEST_ID).unwrap_or_default();
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let mut start = b"{\"type\":\"start\",\"request_id\":".to_vec();
        render::push_string(&mut start, request_id);
        start.extend_from_slice(b",\"status\":");
        render::push_number(&mut start, status.as_u16().into());
        start.extend_from_slice(b",\"headers\":{");
        let mut is_first = true;
        for (name, value) in headers {
            let Ok(value) = value.to_str() else { continue };
            if !is_first {
                start.push(b',');
            }
            is_first = false;
            render::push_string(&mut start, name.as_str());
            start.push(b':');
            render::push_string(&mut start, value);
        }
        start.extend_from_slice(b"}}");
        current.head = Some(Head {
            request_id: request_id.into(),
            status,
            is_text: kind.starts_with("text/") || kind.starts_with("application/json"),
            after: self.now.saturating_duration_since(current.since),
        });
        self.front_say(id, text_frame(start));
    }

    fn front_body(&mut self, id: u64, bytes: Bytes) {
        let Some(Open::Front(front)) = self.open.get(&id) else { return };
        let head = front.current.as_ref().and_then(|current| current.head.as_ref());
        let frame = match std::str::from_utf8(&bytes) {
            Ok(text) if head.is_some_and(|head| head.is_text) => Frame::Text(text.to_owned()),
            _ => Frame::Binary(bytes),
        };
        self.front_say(id, frame);
    }

    fn front_ended(&mut self, id: u64) {
        let Some(Open::Front(front)) = self.open.get_mut(&id) else { return };
        let Some(current) = front.current.take() else { return };
        self.inner.fronts.remove(&current.inner);
        if let Some(head) = current.head {
            let mut end = b"{\"type\":\"end\",\"request_id\":".to_vec();
            render::push_string(&mut end, &head.request_id);
            end.extend_from_slice(b",\"status\":");
            render::push_number(&mut end, head.status.as_u16().into());
            end.extend_from_slice(b",\"time_to_first_byte_seconds\":");
            render::push_seconds(&mut end, head.after);
            end.push(b'}');
            self.front_say(id, text_frame(end));
        }
        self.front_next(id);
    }

    fn front_say(&mut self, id: u64, frame: Frame) {
        self.out.push_back(Output::Frame { id, frame: FrameDraft::ready(frame) });
    }

    fn front_over(&mut self, id: u64, end: Output) {
        let Some(Open::Front(front)) = self.open.remove(&id) else { return };
        self.out.push_back(end);
        self.front_gone(&front);
    }

    /// Cancels the call of a connection whose entry has been taken out.
    pub(super) fn front_gone(&mut self, front: &Front) {
        if let Some(current) = &front.current {
            self.inner.fronts.remove(&current.inner);
            self.gone(current.inner);
        }
    }
}

/// The call of a connection that an output belongs to.
const fn inner_of(output: &Output) -> Option<u64> {
    match output {
        Output::Reply { id, .. }
        | Output::Stream { id, .. }
        | Output::Event { id, .. }
        | Output::End { id }
        | Output::Cut { id }
            if *id & INNER != 0 =>
        {
            Some(*id)
        }
        _ => None,
    }
}

fn text_frame(text: Vec<u8>) -> Frame {
    Frame::Text(String::from_utf8(text).expect("made of texts"))
}

/// Marks the numbers of calls that belong to connections; those of the shell count up from one.
const INNER: u64 = 1 << 63;

/// Inputs of one connection that wait for their turn; the connection is closed with 1008 beyond it.
const INPUTS_AHEAD_MAX: usize = 64;
