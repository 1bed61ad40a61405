//! Requests: found in the recordings, or told what comes nearest.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::library::{Given, Loaded, Stored};
use super::matching::Question;
use super::{Open, Player, ReplayMatch};
use crate::cassette::{Redactor, address, fill_id};
use crate::model::{self, Door, Host, Output, Piece, Range, Request, RequestId, Response};
use crate::render;

impl Player {
    /// A request has arrived whole, one that the player [takes](Self::takes).
    pub(crate) fn handle_request(&mut self, now: Instant, exchange: u64, request: &Request<'_>) {
        self.advance(now);
        match request.host {
            Host::Cdn | Host::Gcs => self.serve(exchange, request),
            Host::Queue => match model::split_job_path(request.path.trim_matches('/')) {
                Some((_, id, tail)) => self.ask_job(exchange, request, id, tail),
                None => self.ask(exchange, request),
            },
            _ => self.ask(exchange, request),
        }
    }

    /// A handshake of a WebSocket has arrived.
    pub(crate) fn handle_upgrade(&mut self, now: Instant, exchange: u64) {
        self.advance(now);
        let why = "fal-mock has no recordings of WebSockets: call the model without one, or without --replay";
        self.refuse(exchange, StatusCode::NOT_IMPLEMENTED, why);
    }

    fn ask(&mut self, exchange: u64, request: &Request<'_>) {
        let endpoint = EndpointId::parse(request.path.trim_matches('/')).ok();
        let app = endpoint.as_ref().map(EndpointId::app);
        if matches!(request.host, Host::Queue | Host::Run)
            && let Err(denied) = model::check_key(&self.config, request, app)
        {
            let text = denied.text(app);
            return self.refuse(exchange, denied.status(), &text);
        }
        let question = question_of(request);
        let Some((entry, distance)) = self.find(request, &question) else {
            let problem = self.unmatched(request, &question);
            let id = self.mint();
            return self.reply(exchange, plain(StatusCode::NOT_FOUND, id, problem));
        };
        let library = Arc::clone(&self.library);
        let loaded = &library.entries[entry];
        let id = self.mint();
        if loaded.entry.job.is_some() {
            return self.submit(exchange, request, entry, id, distance);
        }
        let door = request.door.clone().into_owned();
        let mut response = answer_of(loaded, &loaded.response, id, &door);
        mark(&mut response, loaded, distance);
        if loaded.entry.response.chunks.is_none() {
            let at = self.after(self.now, loaded.response.after_ms);
            return self.reply_at(exchange, at, response);
        }
        // The head comes at once: what counts is when the pieces do.
        self.out.push_back(Output::Stream { id: exchange, head: response.map(drop) });
        let open = Open::Chunks { entry, next: 0, since: self.now, id, door };
        self.open.insert(exchange, open);
        self.roll(exchange);
    }

    /// The entry that answers, and how far it is. The same question gets the answers in their order, then the last one.
    fn find(&mut self, request: &Request<'_>, question: &Question) -> Option<(usize, usize)> {
        let library = Arc::clone(&self.library);
        let candidates = library.at(request.method, request.host, request.path);
        let equal = candidates.iter().find(|at| library.entries[**at].question == *question);
        let (first, distance) = match (equal, self.matching) {
            (Some(first), _) => (*first, 0),
            (None, ReplayMatch::Strict) => return None,
            (None, ReplayMatch::Nearest) => candidates
                .iter()
                .map(|at| (*at, question.differences(&library.entries[*at].question).len()))
                .min_by_key(|(at, distance)| (*distance, *at))?,
        };
        let group = library.entries[first].group;
        let all = &library.groups[group];
        let given = self.given.entry(group).or_default();
        let entry = all[(*given).min(all.len() - 1)];
        *given += 1;
        Some((entry, distance))
    }

    /// What is told where no recording answers.
    fn unmatched(&self, request: &Request<'_>, question: &Question) -> Vec<u8> {
        let library = &self.library;
        let same = library.at(request.method, request.host, request.path);
        let mut nearest: Vec<(usize, usize, Vec<String>)> = same
            .iter()
            .map(|at| {
                let why = question.differences(&library.entries[*at].question);
                (why.len(), *at, why)
            })
            .collect();
        nearest.sort_by_key(|(distance, at, _)| (*distance, *at));
        if nearest.len() < NEAREST_SHOWN {
            let mut others: Vec<(f64, usize)> = (0..library.entries.len())
                .filter(|at| !same.contains(at))
                .map(|at| (unlike(request, &library.entries[at]), at))
                .collect();
            others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let others = others.into_iter().take(NEAREST_SHOWN - nearest.len());
            nearest.extend(
                others.map(|(_, at)| (0, at, vec![elsewhere(request, &library.entries[at])])),
            );
        }
        let shown = nearest.into_iter().take(NEAREST_SHOWN).map(|(_, at, mut why)| {
            let more = why.len().saturating_sub(REASONS_SHOWN);
            why.truncate(REASONS_SHOWN);
            if more > 0 {
                why.push(format!("and {more} more"));
            }
            let name = library.entries[at].name.to_str().unwrap_or_default();
            json!({ "cassette": name, "why_not": why })
        });
        let shown: Vec<Value> = shown.collect();
        let how = match self.matching {
            ReplayMatch::Strict => {
                "record it, or let the nearest recording answer with --replay-match nearest"
            }
            ReplayMatch::Nearest => "record it",
        };
        let detail = format!(
            "fal-mock has no recording of {} {}{} among its {}: {how}",
            request.method,
            request.host.name(),
            request.path,
            library.len()
        );
        json!({ "detail": detail, "nearest": shown }).to_string().into_bytes()
    }

    /// Serves a recorded file.
    fn serve(&mut self, exchange: u64, request: &Request<'_>) {
        let library = Arc::clone(&self.library);
        let Some(stored) = library.file(request.host, request.path) else { return };
        let len = stored.pieces.iter().map(Piece::len).sum();
        let mut head = http::Response::new(());
        let headers = head.headers_mut();
        headers.insert(header::CONTENT_TYPE, stored.content_type.clone());
        headers.insert(header::ETAG, stored.etag.clone());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let is_stale =
            request.headers.get(header::IF_RANGE).is_some_and(|etag| *etag != stored.etag);
        let range = match request.header("range") {
            Some(text) if !is_stale => model::parse_range(text, len),
            _ => Range::Whole,
        };
        let (status, from, to) = match range {
            Range::Whole => (StatusCode::OK, 0, len),
            Range::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
            Range::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        };
        let content_range = match status {
            StatusCode::PARTIAL_CONTENT => Some(format!("bytes {from}-{}/{len}", to - 1)),
            StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{len}")),
            _ => None,
        };
        if let Some(Ok(value)) = content_range.map(HeaderValue::try_from) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        if *request.method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
        }
        *head.status_mut() = status;
        let pieces = match *request.method {
            Method::HEAD => Vec::new(),
            _ => cut(stored, from, to),
        };
        self.out.push_back(match <[Piece; 1]>::try_from(pieces) {
            Ok([Piece::Memory(bytes)]) => {
                Output::Reply { id: exchange, response: head.map(|()| bytes) }
            }
            Ok([piece]) => Output::Serve { id: exchange, head, pieces: vec![piece] },
            Err(_) => Output::Reply { id: exchange, response: head.map(|()| Bytes::new()) },
        });
    }

    pub(super) fn refuse(&mut self, exchange: u64, status: StatusCode, why: &str) {
        let id = self.mint();
        self.reply(exchange, plain(status, id, render::detail(why)));
    }

    pub(super) fn reply(&mut self, exchange: u64, response: Response) {
        self.out.push_back(Output::Reply { id: exchange, response });
    }

    pub(super) fn reply_at(&mut self, exchange: u64, at: Instant, response: Response) {
        if at <= self.now {
            return self.reply(exchange, response);
        }
        self.open.insert(exchange, Open::Late(Box::new(response)));
        self.due.insert((at, exchange));
    }
}

/// What a request asks, with the secrets hidden and the addresses real as they are in recordings.
fn question_of(request: &Request<'_>) -> Question {
    let redactor = Redactor::of(request.headers, request.query);
    let query = redactor.query(request.query.unwrap_or_default());
    let body = match std::str::from_utf8(&request.body) {
        Ok(text) => {
            let real = address::to_real(text, &address::bases(&request.door));
            Bytes::from(redactor.text(&real).into_owned())
        }
        Err(_) => request.body.clone(),
    };
    Question::recorded(&query, &body)
}

/// A recorded answer for a call of this id.
pub(super) fn answer_of(
    loaded: &Loaded,
    given: &Given,
    id: RequestId,
    door: &Door<'_>,
) -> Response {
    let body = match std::str::from_utf8(&given.body) {
        Ok(text) => {
            Bytes::from(address::through(&fill_id(text, &id.to_string()), door).into_owned())
        }
        Err(_) => given.body.clone(),
    };
    let mut response = plain(given.status, id, body);
    for (name, value) in &given.headers {
        let value = fill_id(value, &id.to_string());
        if let Ok(value) = HeaderValue::try_from(address::through(&value, door).as_ref()) {
            response.headers_mut().insert(name.clone(), value);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id_value(id));
    mark(&mut response, loaded, 0);
    response
}

/// Says which recording answered, and how far it was from the question.
pub(super) fn mark<T>(response: &mut http::Response<T>, loaded: &Loaded, distance: usize) {
    response.headers_mut().insert(CASSETTE, loaded.name.clone());
    if distance > 0 {
        response.headers_mut().insert(DISTANCE, HeaderValue::from(distance));
    }
}

/// A JSON answer.
pub(super) fn plain(status: StatusCode, id: RequestId, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REQUEST_ID, id_value(id));
    response
}

pub(super) fn id_value(id: RequestId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("hexadecimal digits and dashes")
}

fn cut(stored: &Stored, from: u64, to: u64) -> Vec<Piece> {
    let cut = |piece: &Piece| match piece {
        Piece::Memory(bytes) => {
            let at = |n: u64| usize::try_from(n).expect("within bytes that are in memory");
            Piece::Memory(bytes.slice(at(from)..at(to)))
        }
        Piece::Spooled { body, .. } => Piece::Spooled { body: body.clone(), from, to },
    };
    // A file is one piece.
    if from < to { stored.pieces.iter().map(cut).collect() } else { Vec::new() }
}

/// How unlike the place of a recording is.
fn unlike(request: &Request<'_>, loaded: &Loaded) -> f64 {
    let path = strsim::normalized_levenshtein(request.path.trim_matches('/'), &loaded.path);
    let other = |differs: bool| if differs { 1.0 } else { 0.0 };
    1.0 - path + other(loaded.host != request.host) + other(loaded.method != *request.method)
}

fn elsewhere(request: &Request<'_>, loaded: &Loaded) -> String {
    format!(
        "it is of {} {}/{}, asked is {} {}{}",
        loaded.method,
        loaded.host.name(),
        loaded.path,
        request.method,
        request.host.name(),
        request.path
    )
}

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-fal-request-id");

/// Which recording answered: its cassette and its place there.
const CASSETTE: HeaderName = HeaderName::from_static("x-fal-mock-cassette");

/// In how many fields it differs from what was asked; absent where there is none.
const DISTANCE: HeaderName = HeaderName::from_static("x-fal-mock-distance");

/// Recordings that are shown where none answers.
const NEAREST_SHOWN: usize = 3;

/// Reasons that are shown of each.
const REASONS_SHOWN: usize = 5;
