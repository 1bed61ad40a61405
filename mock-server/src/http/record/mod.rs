//! Recording: every call is sent to the real service, and what comes back is kept on its way to the caller.

mod answer;
mod files;
mod relay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::wire;
use fal_transport_hyper::{Answer, Config, Exchange, Transport};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, request};
use hyper::body::Incoming;

use super::body::Body;
use super::receive::{Received, collect};
use super::{Cut, Shared, doors, json, pass, whole};
use crate::cassette::{Asked, Content, Encoded, Redactor, address};
use crate::model::{self, Door, Host};
use crate::record::{Record, Recorded, Recorder};

/// A recording that is being made, and the way to the service.
#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Recorder,
    transport: Transport,
}

impl Recording {
    /// # Errors
    /// `InvalidData`, when the directory or the address of the service cannot be used.
    pub(crate) fn start(record: &Record, prices: &model::Catalog) -> std::io::Result<Self> {
        let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let transport = Transport::new(Config::from_env()).map_err(invalid)?;
        Ok(Self { recorder: Recorder::start(record, prices)?, transport })
    }

    pub(crate) fn recorded(&self) -> Recorded {
        self.recorder.recorded()
    }

    pub(crate) async fn problem(&self) -> String {
        self.recorder.problem().await
    }

    /// Where a host is.
    fn base(&self, name: &str) -> String {
        match self.recorder.upstream() {
            Some(base) => format!("{base}/{name}"),
            None => format!("https://{name}"),
        }
    }

    /// Sends a request whose answer comes in pieces.
    async fn send(
        &self,
        request: wire::Request,
    ) -> Result<(wire::Head, fal_transport_hyper::Chunks), wire::Failure> {
        let request = request.with_expect(wire::Expect::Chunks);
        let sending = self.transport.send(Exchange::new(request));
        match tokio::time::timeout(ANSWER_TIME_MAX, sending).await {
            Ok(Ok(Answer::Chunks(head, chunks))) => Ok((head, chunks)),
            Ok(Ok(Answer::Whole(_))) => unreachable!("pieces were asked for"),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                let why = format!("no answer within {ANSWER_TIME_MAX:?}");
                Err(wire::Failure::read(wire::FailureKind::Timeout, why))
            }
        }
    }

    /// Asks the service what one unit of an endpoint costs, in US dollars.
    async fn ask_price(&self, endpoint: &str, key: Option<&HeaderValue>) -> Option<f64> {
        let uri = format!("{}/v1/models/pricing?endpoint_id={endpoint}", self.base("api.fal.ai"));
        let mut request = wire::Request::new(Method::GET, uri.parse().ok()?);
        request.headers.extend(key.map(|key| (header::AUTHORIZATION, key.clone())));
        let (head, chunks) = self.send(request).await.ok()?;
        let body = whole(chunks, PRICES_BYTES_MAX).await.ok()?;
        if !head.status().is_success() {
            return None;
        }
        let table: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let price =
            table["prices"].as_array()?.iter().find(|price| price["endpoint_id"] == endpoint)?;
        let is_usd = price.get("currency").is_none_or(|currency| currency == model::CURRENCY);
        price["unit_price"].as_f64().filter(|_| is_usd)
    }
}

/// What a call is, and so what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A submit to the queue.
    Submit(EndpointId),
    /// A call about a job.
    Job(String, Operation),
    /// A direct call, and whether its answer is a stream.
    Run(EndpointId, bool),
    /// A download.
    File,
    /// The content of a file.
    Upload,
    /// What is sent on and not kept: tokens, the beginning and the end of uploads.
    Storage,
    /// What else is asked: models, prices, documents.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Status,
    Result,
    Cancel,
    Other,
}

impl Kind {
    fn of(method: &Method, host: Host, path: &str) -> Self {
        let inner = path.trim_matches('/');
        match host {
            Host::Queue => match model::split_job_path(inner) {
                Some((_, id, tail)) => Self::Job(
                    id.to_owned(),
                    match tail {
                        "status" | "status/stream" => Operation::Status,
                        "" | "response" => Operation::Result,
                        "cancel" => Operation::Cancel,
                        _ => Operation::Other,
                    },
                ),
                None => match EndpointId::parse(inner) {
                    Ok(endpoint) if *method == Method::POST => Self::Submit(endpoint),
                    _ => Self::Other,
                },
            },
            Host::Run | Host::Ws => match EndpointId::parse(inner) {
                Ok(endpoint) => {
                    let is_stream = endpoint.as_str().ends_with("/stream");
                    Self::Run(endpoint, is_stream)
                }
                Err(_) => Self::Other,
            },
            Host::Cdn | Host::Gcs => match *method {
                Method::GET | Method::HEAD => Self::File,
                _ => Self::Upload,
            },
            Host::Rest => Self::Storage,
            Host::Api | Host::Site => Self::Other,
        }
    }

    /// The endpoint that is paid for.
    const fn paid(&self) -> Option<&EndpointId> {
        match self {
            Self::Submit(endpoint) | Self::Run(endpoint, _) => Some(endpoint),
            _ => None,
        }
    }
}

/// A call on its way.
struct Call {
    recording: Arc<Recording>,
    kind: Kind,
    method: Method,
    /// The host as the service calls it.
    name: String,
    path: String,
    asked: Option<Asked>,
    redactor: Redactor,
    door: Door<'static>,
    /// When it was sent.
    since: Instant,
    /// The content of an upload.
    content: Option<(String, Bytes)>,
}

impl Call {
    fn recorder(&self) -> &Recorder {
        &self.recording.recorder
    }

    /// A text with real addresses, of one from the service.
    fn real<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        let bases: Vec<String> =
            self.recorder().upstream().map(str::to_owned).into_iter().collect();
        address::to_real(text, &bases)
    }
}

/// Sends a call to the service and its answer to the caller.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    recording: &Arc<Recording>,
    parts: &request::Parts,
    incoming: Incoming,
    entry: &doors::Entry<'_>,
) -> Result<Response<Body>, Cut> {
    let via = format!("1.1 fal-mock-{}", shared.listening().replace(':', "-"));
    if parts.headers.get_all(header::VIA).iter().any(|value| value.as_bytes() == via.as_bytes()) {
        let why = "fal-mock records what it sent itself: its own HTTPS_PROXY leads back to it";
        return Ok(json(StatusCode::LOOP_DETECTED, why).map(Body::whole));
    }
    let kind = Kind::of(&parts.method, entry.host, entry.path);
    let bytes_max = match kind {
        Kind::Upload => UPLOAD_BYTES_MAX,
        _ => shared.limits().body_bytes,
    };
    let body = match collect(incoming, bytes_max).await {
        Ok(Received::Memory(body)) => body,
        Ok(Received::Spooled(_)) => return Err(Cut),
        Err(unread) => return unread.answer(shared.spool()).ok_or(Cut).map(|r| r.map(Body::whole)),
    };
    let name = doors::name_of(&parts.uri, &parts.headers, entry);
    let name = address::real_name(&name).to_owned();
    let redactor = Redactor::of(&parts.headers, entry.query);
    let door = entry.door.clone().into_owned();
    let (asked, sent, content) = match kind {
        Kind::Upload => {
            let content_type = text_of(&parts.headers, &header::CONTENT_TYPE).to_owned();
            (None, body.clone(), Some((content_type, body)))
        }
        Kind::File | Kind::Storage | Kind::Job(..) => {
            (None, to_service(recording, &door, body).1, None)
        }
        _ => {
            let (real, sent) = to_service(recording, &door, body);
            let body = keep_body(
                &recording.recorder,
                &redactor,
                &real,
                text_of(&parts.headers, &header::CONTENT_TYPE),
            );
            let asked = Asked {
                method: parts.method.to_string(),
                host: name.clone(),
                path: entry.path.to_owned(),
                query: entry.query.map(|query| redactor.query(query)).unwrap_or_default(),
                headers: redactor.headers(&parts.headers),
                body,
            };
            (Some(asked), sent, None)
        }
    };
    let path_and_query = match entry.query {
        Some(query) => format!("{}?{query}", entry.path),
        None => entry.path.to_owned(),
    };
    let Ok(uri) = format!("{}{path_and_query}", recording.base(&name)).parse::<Uri>() else {
        return Ok(json(StatusCode::BAD_REQUEST, "this address cannot be sent on").map(Body::whole));
    };
    if let Some(endpoint) = kind.paid() {
        let endpoint = endpoint_of(endpoint);
        let recorder = &recording.recorder;
        if recorder.wants_price(endpoint) {
            let key = parts.headers.get(header::AUTHORIZATION);
            recorder.priced(endpoint, recording.ask_price(endpoint, key).await);
        }
        if let Err(refusal) = recorder.admit(endpoint) {
            let mut response = json(StatusCode::FORBIDDEN, &refusal.to_string());
            let headers = response.headers_mut();
            headers.insert("x-fal-retryable", HeaderValue::from_static("false"));
            return Ok(response.map(Body::whole));
        }
    }
    let mut request = wire::Request::new(parts.method.clone(), uri);
    request.headers = headers_for_service(&parts.headers, &name, &via);
    if !sent.is_empty() {
        request.body = wire::Body::Bytes(sent);
    }
    let call = Call {
        recording: Arc::clone(recording),
        kind,
        method: parts.method.clone(),
        name,
        path: entry.path.to_owned(),
        asked,
        redactor,
        door,
        since: now(),
        content,
    };
    match recording.send(request).await {
        Ok((head, chunks)) => answer::give(call, head, chunks).await,
        Err(failure) => {
            if let (Some(endpoint), wire::Sent::No) = (call.kind.paid(), failure.sent) {
                call.recorder().unsent(endpoint_of(endpoint));
            }
            let why = format!("fal-mock could not record {}: {failure}", call.name);
            Ok(json(StatusCode::BAD_GATEWAY, &why).map(Body::whole))
        }
    }
}

/// What is paid for: a stream costs what its endpoint does.
fn endpoint_of(endpoint: &EndpointId) -> &str {
    let id = endpoint.as_str();
    id.strip_suffix("/stream").unwrap_or(id)
}

/// A body with real addresses, and as it is sent to the service.
fn to_service(recording: &Recording, door: &Door<'_>, body: Bytes) -> (Bytes, Bytes) {
    let Ok(text) = std::str::from_utf8(&body) else { return (body.clone(), body) };
    let real = address::to_real(text, &address::bases(door)).into_owned();
    let sent = match recording.recorder.upstream() {
        Some(base) => Bytes::from(address::below(&real, base).into_owned()),
        None => Bytes::from(real.clone()),
    };
    (real.into(), sent)
}

/// A body as it is kept.
fn keep_body(
    recorder: &Recorder,
    redactor: &Redactor,
    body: &Bytes,
    content_type: &str,
) -> Option<Content> {
    if body.is_empty() {
        return None;
    }
    recorder.keep(match std::str::from_utf8(body) {
        Ok(text) => Encoded::text(&redactor.text(text), content_type),
        Err(_) => Encoded::file(body.clone(), content_type),
    })
}

/// What the service gets: the caller's own key, and nothing that is between the caller and the mock.
fn headers_for_service(headers: &HeaderMap, name: &str, via: &str) -> HeaderMap {
    let mut headers = headers.clone();
    pass::drop_hops(&mut headers);
    let own = [
        "x-fal-target-url",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    own.iter().for_each(|name| _ = headers.remove(*name));
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::COOKIE,
        header::ORIGIN,
        header::REFERER,
        header::EXPECT,
    ] {
        headers.remove(name);
    }
    if name == "storage.googleapis.com" {
        headers.remove(header::AUTHORIZATION);
    }
    // What is compressed could be neither read nor rewritten.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.extend(HeaderValue::from_str(via).ok().map(|via| (header::VIA, via)));
    headers
}

fn text_of<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a handshake is answered.
pub(super) const NO_WEBSOCKETS: &str =
    "fal-mock does not record WebSockets: call the model without one, or without --record";

/// Until the head of an answer has come. Runs take minutes, and trainings are queued.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3600);

/// Longest upload that is sent on: 256 MiB, for it is held in memory.
const UPLOAD_BYTES_MAX: usize = 256 << 20;

/// Longest table of prices.
const PRICES_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart() {
        let kind = |method: Method, host, path: &str| Kind::of(&method, host, path);
        let id = |text: &str| EndpointId::parse(text).unwrap();
        assert_eq!(kind(Method::POST, Host::Queue, "/a/b/c"), Kind::Submit(id("a/b/c")));
        for (path, operation) in [
            ("/a/b/requests/7/status/stream", Operation::Status),
            ("/a/b/requests/7/status/", Operation::Status),
            ("/a/b/requests/7", Operation::Result),
            ("/a/b/requests/7/cancel", Operation::Cancel),
            ("/a/b/requests/7/x", Operation::Other),
        ] {
            assert_eq!(kind(Method::GET, Host::Queue, path), Kind::Job("7".into(), operation));
        }
        assert_eq!(kind(Method::POST, Host::Run, "/a/b/stream"), Kind::Run(id("a/b/stream"), true));
        assert_eq!(kind(Method::GET, Host::Cdn, "/files/x"), Kind::File);
        assert_eq!(kind(Method::PUT, Host::Gcs, "/files/x"), Kind::Upload);
        assert_eq!(kind(Method::GET, Host::Queue, "/a/b"), Kind::Other);
    }

    #[test]
    fn the_service_gets_what_is_the_callers_and_no_more() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "cookie",
            "x-fal-target-url",
            "connection",
            "origin",
            "x-fal-no-retry",
        ] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let sent = headers_for_service(&headers, "fal.run", "1.1 me");
        let names: Vec<&str> = sent.keys().map(|name| name.as_str()).collect();
        for there in ["authorization", "x-fal-no-retry", "accept-encoding", "via"] {
            assert!(names.contains(&there), "{names:?}");
        }
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(
            !headers_for_service(&headers, "storage.googleapis.com", "")
                .contains_key("authorization")
        );
    }
}
