//! The server: takes calls, and forwards those that may pass.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::proxy::{Policy, Refusal, TARGET_URL};
use fal_protocol::wire::{Failure, FailureKind, Sent};
use fal_transport_hyper::{Answer, Chunks, Exchange, Transport};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::gate::Gate;
use super::pages::Pages;
use super::tell::{Record, Telling};

/// What all connections share.
pub(super) struct Server {
    pub(super) policy: Policy,
    pub(super) key: Option<HeaderValue>,
    pub(super) gate: Gate,
    pub(super) pages: Pages,
    pub(super) transport: Transport,
    pub(super) teller: mpsc::Sender<Record>,
}

/// Takes connections until told to stop, then waits for those that are in a call.
pub(super) async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, Arc::clone(&server), stopping.clone());
                    connections.spawn(connection);
                }
                // Out of descriptors, or the peer was faster: waiting a moment is all one can do.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, server: Arc<Server>, mut stopping: watch::Receiver<bool>) {
    // Pieces of a stream are small and shall not wait for each other. Without it they only come later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is its peer's business; what matters was told call by call.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Server {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let mut telling = Telling::new(parts.method.clone(), self.teller.clone());
        if parts.method == Method::OPTIONS {
            let response = self.pages.preflight(&parts.headers);
            telling.set_status(response.status());
            return response.map(|()| Body::whole(Bytes::new(), telling));
        }
        if let Err(why) = self.pages.check(&parts.headers) {
            return whole(Policy::tell(StatusCode::FORBIDDEN, why), why, telling);
        }
        let mut response = self.forward(&parts, incoming, telling).await;
        self.pages.allow(&parts.headers, response.headers_mut());
        response
    }

    async fn forward(
        &self,
        parts: &http::request::Parts,
        incoming: Incoming,
        mut telling: Telling,
    ) -> Response<Body> {
        let refuse = |refusal: Refusal, telling| {
            whole(self.policy.refuse(&refusal), &refusal.to_string(), telling)
        };
        if !parts.headers.contains_key(TARGET_URL) {
            // Nobody needs to be asked about a call to nowhere.
            return refuse(Refusal::TargetMissing, telling);
        }
        let caller = self.gate.caller(&parts.method, &parts.headers, &self.transport).await;
        let caller = match caller {
            Ok(caller) => caller,
            Err(problem) => {
                let answer =
                    Policy::tell(StatusCode::BAD_GATEWAY, "The caller could not be checked");
                return whole(not_done(answer), &problem, telling);
            }
        };
        let judged = self.policy.judge(&parts.method, &parts.headers, caller, self.key.as_ref());
        let forward = match judged {
            Ok(forward) => forward,
            Err(refusal) => return refuse(refusal, telling),
        };
        telling.set_target(forward.target().to_string());
        let body = if forward.takes_body() {
            let limited = Limited::new(incoming, self.policy.body_bytes_max()).collect();
            match timeout(BODY_WAIT_MAX, limited).await {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) if error.is::<LengthLimitError>() => {
                    let mut response = refuse(Refusal::BodyTooLong, telling);
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                    return response;
                }
                Ok(Err(_)) | Err(_) => {
                    let why = "Invalid request: the body did not arrive";
                    return whole(Policy::tell(StatusCode::REQUEST_TIMEOUT, why), why, telling);
                }
            }
        } else {
            Bytes::new()
        };
        let exchange = Exchange::new(forward.request(body));
        match timeout(ANSWER_WAIT_MAX, self.transport.send(exchange)).await {
            Ok(Ok(Answer::Chunks(head, chunks))) => {
                telling.set_status(head.status());
                let mut response = Response::new(Body::chunks(chunks, telling));
                *response.status_mut() = head.status();
                // The transport passes bytes on as they came, so their encoding is still what it was.
                *response.headers_mut() = Policy::answer_headers(head.headers(), false);
                response
            }
            Ok(Ok(Answer::Whole(_))) => {
                unreachable!("a forwarded request asks for its answer in pieces")
            }
            Ok(Err(failure)) => broken(&failure, telling),
            Err(_) => broken(&Failure::read(FailureKind::Timeout, "no answer in time"), telling),
        }
    }
}

/// The answer to a call that was forwarded and got none.
fn broken(failure: &Failure, telling: Telling) -> Response<Body> {
    let status = match failure.kind {
        FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let answer = Policy::tell(status, &format!("The service could not be reached: {failure}"));
    let answer = if failure.sent == Sent::No { not_done(answer) } else { answer };
    whole(answer, &failure.to_string(), telling)
}

/// Says that no work was done, so that a client may repeat what costs money. Without this word it may not.
fn not_done(mut answer: Response<Bytes>) -> Response<Bytes> {
    let name = fal_protocol::headers::NEEDS_RETRY;
    answer.headers_mut().insert(name, HeaderValue::from_static("1"));
    answer
}

fn whole(answer: Response<Bytes>, problem: &str, mut telling: Telling) -> Response<Body> {
    telling.set_problem(problem.to_owned());
    telling.set_status(answer.status());
    answer.map(|bytes| Body::whole(bytes, telling))
}

/// The body of an answer.
pub(super) struct Body {
    rest: Rest,
    telling: Telling,
}

enum Rest {
    /// All of it; `None` once sent.
    Whole(Option<Bytes>),
    /// The service's, piece by piece, with the limit of its silence.
    Chunks {
        chunks: Chunks,
        silence: Pin<Box<Sleep>>,
        last: Instant,
    },
    Over,
}

impl Body {
    fn whole(bytes: Bytes, telling: Telling) -> Self {
        Self { rest: Rest::Whole((!bytes.is_empty()).then_some(bytes)), telling }
    }

    fn chunks(chunks: Chunks, telling: Telling) -> Self {
        let silence = Box::pin(sleep(SILENCE_MAX));
        Self { rest: Rest::Chunks { chunks, silence, last: Instant::now() }, telling }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        match &mut self.rest {
            Rest::Over => Poll::Ready(None),
            Rest::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Rest::Chunks { chunks, silence, last } => {
                let next = std::pin::pin!(chunks.next());
                if let Poll::Ready(piece) = next.poll(cx) {
                    *last = Instant::now();
                    return Poll::Ready(piece);
                }
                // One timer for the whole answer: it is put off when it rings, not with every piece.
                while silence.as_mut().poll(cx).is_ready() {
                    let rest = SILENCE_MAX.saturating_sub(last.elapsed());
                    if rest.is_zero() {
                        let message = "the service fell silent";
                        let failure = Failure::read(FailureKind::Timeout, message);
                        return Poll::Ready(Some(Err(failure)));
                    }
                    silence.set(sleep(rest));
                }
                Poll::Pending
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let body = self.get_mut();
        let piece = std::task::ready!(body.poll_piece(cx));
        match &piece {
            Some(Ok(bytes)) => body.telling.add_bytes(bytes.len()),
            Some(Err(failure)) => {
                body.telling.set_problem(failure.to_string());
                body.rest = Rest::Over;
            }
            None => body.rest = Rest::Over,
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.rest {
            Rest::Whole(bytes) => bytes.is_none(),
            Rest::Chunks { chunks, .. } => chunks.remaining() == Some(0),
            Rest::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Rest::Chunks { chunks, .. } => {
                chunks.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Rest::Over => SizeHint::with_exact(0),
        }
    }
}

/// Connections open at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;

/// Until descriptors may be free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Longest wait for the head of a call.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// Longest wait for the body of a call.
const BODY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Longest wait for the head of an answer: fal ends a direct run after 60 minutes unless its app says otherwise.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(61 * 60);

/// Longest wait between two pieces of an answer.
const SILENCE_MAX: Duration = ANSWER_WAIT_MAX;
