//! The hyper shell: sockets, the real clock, and one timer around the worlds of all tenants.
//!
//! A request is parsed, the worlds are locked, asked and drained, and the lock released; no lock is held
//! across an await, and an idle request owns neither a task nor a timer.

mod accept;
mod backend;
mod body;
mod deliver;
mod events;
mod gate;
mod keeper;
mod pass;
mod pieces;
mod receive;
mod record;
mod ring;
mod shape;
mod shared;
mod spool;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use fal_protocol::wire;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::admin;
use crate::doors::{self, NoDoor, Way};
use crate::model::{self, Host};
use crate::page;
use crate::render;

use accept::{After, connection, tunnel};
pub(crate) use backend::work_all;
pub(crate) use body::Body;
pub(crate) use deliver::deliver_all;
pub(crate) use events::{LISTENERS_MAX, Listener};
pub(crate) use gate::Gate;
pub use gate::Refused;
pub(crate) use keeper::{Keeper, begin};
pub(crate) use receive::is_full;
use receive::{Received, collect, receive};
pub(crate) use record::Recording;
use shape::Line;
pub(crate) use shared::{Answer, Limits, Shared};
pub(crate) use spool::{Spool, blocks_of};

/// The whole body of an answer that the mock was given.
async fn whole(
    mut chunks: fal_transport_hyper::Chunks,
    bytes_max: usize,
) -> Result<Bytes, wire::Failure> {
    let mut whole = BytesMut::new();
    while let Some(bytes) = chunks.next().await {
        let bytes = bytes?;
        if bytes.len() > bytes_max - whole.len() {
            let why = format!("the answer is longer than {bytes_max} bytes");
            return Err(wire::Failure::read(wire::FailureKind::TooLarge, why));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

/// Accepts connections until dropped; dropping closes them all.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                // Out of descriptors, or the peer was faster: waiting a moment is all one can do.
                Err(error) if is_passing(&error) => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// The short way for what is asked most, polling: no body to collect, so no future to build either.
fn respond_now(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    way: Way,
    line: &Line,
) -> Option<Result<Response<Body>, Answering>> {
    let headers = request.headers();
    let is_plain = *request.method() == Method::GET && request.body().is_end_stream();
    // What has an authority may be for somebody else.
    if !is_plain || headers.contains_key(header::ORIGIN) || request.uri().authority().is_some() {
        return None;
    }
    if shared.gate().recording().is_some() {
        return None;
    }
    let entry = doors::enter(request.uri(), headers, shared.listening(), way).ok()?;
    if entry.host != Host::Queue {
        return None;
    }
    let request = model::Request::new(request.method(), entry.host, entry.path, headers)
        .with_query(entry.query)
        .with_door(entry.door);
    Some(match shared.exchange(request) {
        Answer::Now(mut response) => {
            response.body_mut().set_line(line);
            Ok(response)
        }
        Answer::Over(ended) => {
            let cut = ended.on(line);
            Err(Box::pin(async move { Err(cut) }))
        }
        Answer::Later(later) => {
            let line = line.clone();
            Err(Box::pin(async move {
                let mut response = later.await.map_err(|ended| ended.on(&line))?;
                response.body_mut().set_line(&line);
                Ok(response)
            }))
        }
    })
}

/// An answer that takes its time, on the short way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Cut>> + Send>>;

/// An answer on its way.
pub(crate) enum Responding<F> {
    /// `None` once taken.
    Now(Option<Response<Body>>),
    Waiting(Answering),
    Later(Pin<Box<F>>),
}

impl<F: Future<Output = Result<Response<Body>, Cut>>> Future for Responding<F> {
    type Output = Result<Response<Body>, Cut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => Poll::Ready(response.take().ok_or(Cut)),
            Self::Waiting(future) => future.as_mut().poll(cx),
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// Answers one request. `after` takes what the connection does once it has left HTTP.
///
/// What is rare has a box of its own in it, so that there is little to make room for at each submit.
async fn respond(
    shared: Arc<Shared>,
    mut request: Request<Incoming>,
    way: Way,
    after: After,
    line: Line,
) -> Result<Response<Body>, Cut> {
    if let Some(authority) = doors::foreign(request.uri(), shared.listening()) {
        let target = authority.to_string();
        return Ok(match shared.gate().passthrough() {
            true => Box::pin(pass::on(&shared, request, target, &after)).await,
            false => refuse(&shared, request.method(), &target),
        });
    }
    if request.method() == Method::CONNECT {
        return Ok(connect(&shared, request, &after, line));
    }
    let upgrade = websocket::is_handshake(&request).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    if parts.method == Method::OPTIONS {
        let response = doors::preflight(&parts.headers);
        shared.note(&parts.method, "", parts.uri.path(), response.status());
        return Ok(response.map(Body::whole));
    }
    let from_page = parts.headers.contains_key(header::ORIGIN);
    let entry = match doors::enter(&parts.uri, &parts.headers, shared.listening(), way) {
        Ok(entry) => entry,
        Err(NoDoor::Control) => return Box::pin(control(&shared, &parts, incoming)).await,
        // For the journal neither the page nor what it asks for is there.
        Err(NoDoor::Help) if page::is_wanted(&parts.headers) => {
            return Ok(page::answer(&parts.method, page::INDEX).map(Body::whole));
        }
        Err(NoDoor::UnknownPath) if page::has(parts.uri.path()) => {
            return Ok(page::answer(&parts.method, parts.uri.path()).map(Body::whole));
        }
        Err(no_door) => {
            let mut response = explain(&shared, &no_door, parts.uri.path());
            shared.note(&parts.method, "", parts.uri.path(), response.status());
            doors::allow_origin(&mut response);
            return Ok(response.map(Body::whole));
        }
    };
    if let Some(recording) = shared.gate().recording() {
        let mut response = match upgrade {
            Some(_) => json(StatusCode::NOT_IMPLEMENTED, record::NO_WEBSOCKETS).map(Body::whole),
            None => Box::pin(record::forward(&shared, recording, &parts, incoming, &entry)).await?,
        };
        shared.note(&parts.method, entry.host.name(), entry.path, response.status());
        isolate(&mut response);
        if from_page {
            doors::allow_origin(&mut response);
        }
        return Ok(response);
    }
    if let Some(upgrade) = upgrade {
        let request = model::Request::new(&parts.method, entry.host, entry.path, &parts.headers)
            .with_query(entry.query)
            .with_door(entry.door);
        return websocket::shake_hands(&shared, &after, upgrade, request, &line);
    }
    let receiving = shared.receiving();
    let received = match model::is_upload(&parts.method, entry.host, entry.path) {
        true => Box::pin(receive(incoming, &shared)).await,
        false => collect(incoming, shared.limits().body_bytes).await,
    };
    let received = match received {
        Ok(received) => received,
        Err(unread) => {
            let mut response = unread.answer(shared.spool()).ok_or(Cut)?;
            shared.note(&parts.method, entry.host.name(), entry.path, response.status());
            doors::allow_origin(&mut response);
            return Ok(response.map(Body::whole));
        }
    };
    if entry.host == Host::Cdn {
        Box::pin(make(&shared, entry.path)).await;
    }
    let request = model::Request::new(&parts.method, entry.host, entry.path, &parts.headers)
        .with_query(entry.query)
        .with_door(entry.door);
    let request = match received {
        Received::Memory(body) => request.with_body(body),
        Received::Spooled(body) => request.with_spooled(body),
    };
    let answer = shared.exchange(request);
    drop(receiving);
    let mut response = match answer {
        Answer::Now(response) => response,
        Answer::Over(ended) => return Err(ended.on(&line)),
        Answer::Later(later) => Box::pin(later).await.map_err(|ended| ended.on(&line))?,
    };
    response.body_mut().set_line(&line);
    if matches!(entry.host, Host::Cdn | Host::Gcs) {
        isolate(&mut response);
    }
    if from_page {
        doors::allow_origin(&mut response);
    }
    Ok(response)
}

/// Opened as a page, what somebody has uploaded or the real service has given must not be of this origin, whose pages may
/// use the control API.
fn isolate<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    let sandbox = header::HeaderValue::from_static("sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
}

/// Encodes the file that a download is about to ask for: that takes milliseconds, and others would wait
/// for the lock meanwhile.
pub(crate) async fn make(shared: &Arc<Shared>, path: &str) {
    let tenant = model::tenant_of_file(path).unwrap_or_default();
    let unmade = shared.with_world(tenant, |world, _| world.model.unmade(path)).flatten();
    let Some((key, media)) = unmade else { return };
    if let Ok(bytes) = tokio::task::spawn_blocking(move || media.make().into_boxed_slice()).await {
        shared.with_model(tenant, |model, now| model.handle_made(now, key, bytes.into()));
    }
}

/// Opens a tunnel that ends here: its target is a host of fal's, or this mock.
fn connect(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    after: &After,
    line: Line,
) -> Response<Body> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let way = Way { is_secure: false, named: doors::named(&authority) };
    shared.note(request.method(), &authority, "", StatusCode::OK);
    after.then(tunnel(hyper::upgrade::on(&mut request), way, Arc::clone(shared), line));
    Response::new(Body::whole(Bytes::new()))
}

/// Answers a call of the control API. It stands in no journal: that is for what clients do.
async fn control(
    shared: &Arc<Shared>,
    parts: &http::request::Parts,
    incoming: Incoming,
) -> Result<Response<Body>, Cut> {
    if let Some(why) = admin::refusal(&parts.headers, shared.listening()) {
        return Ok(json(StatusCode::FORBIDDEN, &why).map(Body::whole));
    }
    let body = match collect(incoming, admin::BODY_BYTES_MAX).await {
        Ok(Received::Memory(body)) => body,
        Ok(Received::Spooled(_)) => return Err(Cut),
        Err(unread) => return unread.answer(shared.spool()).ok_or(Cut).map(|r| r.map(Body::whole)),
    };
    let uri = &parts.uri;
    let (path, query) = (uri.path(), uri.query());
    let answer = admin::answer(shared, &parts.method, path, query, &parts.headers, &body).await;
    if parts.method != Method::GET {
        shared.settled().await;
    }
    Ok(answer)
}

/// The answer to what is for somebody else.
fn refuse(shared: &Shared, method: &Method, target: &str) -> Response<Body> {
    shared.gate().note_refused(target);
    let response = json(StatusCode::FORBIDDEN, &doors::refusal(target));
    shared.note(method, target, "", response.status());
    response.map(Body::whole)
}

fn explain(shared: &Shared, no_door: &NoDoor, path: &str) -> Response<Bytes> {
    let text = |content_type, text: String| {
        let mut response = Response::new(Bytes::from(text));
        let content_type = header::HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    };
    match no_door {
        NoDoor::Help => text("text/plain; charset=utf-8", doors::help(shared.listening())),
        NoDoor::UnknownPath | NoDoor::Control => json(no_door.status(), &doors::hint(path)),
        NoDoor::BadTarget(why) => json(no_door.status(), why),
        NoDoor::NotEmulated(what) => {
            json(no_door.status(), &format!("fal-mock does not emulate {what}"))
        }
    }
}

fn json(status: StatusCode, detail: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(render::detail(detail)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The connection is to be closed without (the rest of) an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Binds a listener.
pub(crate) async fn bind(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Connections open at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 50_000;

/// Until descriptors may be free again.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
