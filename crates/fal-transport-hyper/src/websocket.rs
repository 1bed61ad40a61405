//! WebSockets: the handshake over the same connector as every exchange, and the messages after it.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use fal_protocol::wire::{
    ANSWER_BYTES_MAX, Close, Expect, Failure, FailureKind, Head, Message, Request, Response, Sent,
};
use futures_core::Stream as _;
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error as WsError, Utf8Bytes};

use crate::body::{Outgoing, Rest};
use crate::error::{broken, broken_body, explain_io, explain_rustls, find};
use crate::io::{Counted, Gauge, Stream};
use crate::origin::Origin;
use crate::transport::Transport;

/// What a peer answered to the handshake of a WebSocket.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every shape")]
pub enum Upgrade {
    /// It agreed: its 101, and the open connection.
    Open(Head, WebSocket),
    /// It did not: its whole answer.
    Refused(Response),
}

impl Transport {
    /// Opens a WebSocket, on a connection of its own.
    ///
    /// The request is one with [`Expect::WebSocket`]; its address is `https` or `http`. Dropping the
    /// future gives up. There is no time limit beyond the one for connecting; the caller sets it by
    /// dropping. Runs on a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`Failure`], as of [`send`](Self::send). A peer that agrees but breaks the rules of the handshake
    /// is [`FailureKind::Malformed`].
    pub async fn upgrade(&self, request: Request) -> Result<Upgrade, Failure> {
        let Expect::WebSocket { message_bytes_max } = request.expect else {
            let message = "this request asks for no WebSocket";
            return Err(Failure::connect(FailureKind::Other, message));
        };
        let origin = Origin::of(&request.uri)?;
        let stream = self.connector().connect_http1(&origin).await?;
        Handshake::new(stream).await?.perform(&origin, request, message_bytes_max).await
    }
}

/// A connection that carries nothing but a handshake.
///
/// The HTTP layer is hyper's and not tungstenite's: it takes a refusal's body whole, counts what has
/// left, and writes no key into a log.
struct Handshake {
    sender: http1::SendRequest<Outgoing>,
    connection: Option<http1::Connection<TokioIo<Counted>, Outgoing>>,
    gauge: Arc<Gauge>,
    ended: Option<hyper::Result<()>>,
}

impl Handshake {
    async fn new(stream: Stream) -> Result<Self, Failure> {
        let gauge = Arc::new(Gauge::default());
        let counted = TokioIo::new(Counted::new(stream, Arc::clone(&gauge)));
        // Some servers compare the names of these headers by case.
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true);
        let (sender, connection) = builder.handshake(counted).await.map_err(|e| {
            let (kind, message) = match find::<io::Error>(&e) {
                Some(e) => explain_io(e.kind()),
                None => (FailureKind::Other, e.to_string().into()),
            };
            Failure::connect(kind, message)
        })?;
        Ok(Self { sender, connection: Some(connection), gauge, ended: None })
    }

    async fn perform(
        mut self,
        origin: &Origin,
        request: Request,
        message_bytes_max: usize,
    ) -> Result<Upgrade, Failure> {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        self.gauge.begin();
        let request = self.request(origin, request, &key);
        let response = {
            let mut answer = pin!(self.sender.try_send_request(request));
            let (connection, ended) = (&mut self.connection, &mut self.ended);
            poll_fn(|cx| {
                drive(connection, ended, cx);
                answer.as_mut().poll(cx)
            })
            .await
        };
        let response = response.map_err(|e| broken(&self.gauge, &e.into_error()).failure)?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            let body = self.refusal(body).await;
            return Ok(Upgrade::Refused(Response::from_parts(parts, body)));
        }
        check(&parts.headers, &accept)?;
        drop(body);
        let inner = Box::new(self.into_websocket(message_bytes_max).await?);
        Ok(Upgrade::Open(Head::from_parts(parts, ()), WebSocket { inner, is_over: false }))
    }

    fn request(&self, origin: &Origin, request: Request, key: &str) -> http::Request<Outgoing> {
        let body = Outgoing::new(Rest::Bytes(Bytes::new()), Arc::clone(&self.gauge), None);
        let mut outgoing = http::Request::new(body);
        *outgoing.headers_mut() = request.headers;
        let path = request.uri.into_parts().path_and_query;
        *outgoing.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let headers = outgoing.headers_mut();
        headers.insert(HOST, origin.host_header());
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let key = HeaderValue::from_str(key).expect("base64 is visible ASCII");
        headers.insert(SEC_WEBSOCKET_KEY, key);
        outgoing
    }

    /// The body of an answer that is no agreement: what came of it, up to a limit. Its status counts.
    async fn refusal(&mut self, mut body: Incoming) -> Bytes {
        let mut whole = BytesMut::new();
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        while whole.len() < ANSWER_BYTES_MAX {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                drive(connection, ended, cx);
                Pin::new(&mut body).poll_frame(cx)
            });
            match frame.await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        let room = ANSWER_BYTES_MAX - whole.len();
                        whole.extend_from_slice(&data[..data.len().min(room)]);
                    }
                }
                Some(Err(_)) | None => break,
            }
        }
        whole.freeze()
    }

    /// Takes the connection out of the HTTP layer, with what it has read beyond the handshake.
    async fn into_websocket(
        mut self,
        message_bytes_max: usize,
    ) -> Result<WebSocketStream<Counted>, Failure> {
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        poll_fn(|cx| {
            drive(connection, ended, cx);
            if ended.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if let Some(Err(e)) = self.ended {
            return Err(broken_body(&e));
        }
        let parts = self.connection.expect("it was driven to its end here").into_parts();
        let config = WebSocketConfig::default()
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let (io, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
        let opening = WebSocketStream::from_partially_read(io, read, Role::Client, Some(config));
        Ok(opening.await)
    }
}

/// Lets the connection work until it has ended, or has been agreed to become something else.
fn drive(
    connection: &mut Option<http1::Connection<TokioIo<Counted>, Outgoing>>,
    ended: &mut Option<hyper::Result<()>>,
    cx: &mut Context<'_>,
) {
    if ended.is_none()
        && let Some(connection) = connection
        && let Poll::Ready(result) = connection.poll_without_shutdown(cx)
    {
        *ended = Some(result);
    }
}

/// Whether the peer has agreed to what it was asked, and to nothing else. RFC 6455, section 4.1.
fn check(headers: &HeaderMap, accept: &str) -> Result<(), Failure> {
    let has = |name: &http::HeaderName, token: &str| {
        let words = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        words.flat_map(|text| text.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    let refuse = |message: &str| Err(Failure::read(FailureKind::Malformed, message));
    if !has(&UPGRADE, "websocket") || !has(&CONNECTION, "upgrade") {
        return refuse("the peer switched to something that is no WebSocket");
    }
    if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.as_bytes() != accept.as_bytes()) {
        return refuse("the peer did not prove that it has read the handshake");
    }
    if headers.contains_key("sec-websocket-extensions")
        || headers.contains_key("sec-websocket-protocol")
    {
        return refuse("the peer agreed to an extension or a protocol that nobody asked for");
    }
    Ok(())
}

/// An open WebSocket. Pings are answered by themselves, as long as it is read.
///
/// Dropping it closes the connection without a word: send a [`Message::Close`] first, and read on
/// until the peer's.
pub struct WebSocket {
    inner: Box<WebSocketStream<Counted>>,
    /// The peer has closed: what becomes of the connection below tells nothing more.
    is_over: bool,
}

impl WebSocket {
    /// Takes a message to be sent. It leaves when [`poll_flush`](Self::poll_flush) is polled; until that
    /// is ready it is kept, however many there are.
    ///
    /// # Errors
    /// [`Failure`] when the connection is over, or a text is not UTF-8.
    pub fn start_send(&mut self, message: Message) -> Result<(), Failure> {
        let message = match message {
            Message::Text(bytes) => {
                let text = Utf8Bytes::try_from(bytes).map_err(|_| {
                    Failure::write(Sent::No, FailureKind::Source, "the text is not UTF-8")
                })?;
                tungstenite::Message::Text(text)
            }
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
            Message::Close(close) => tungstenite::Message::Close(close.code.map(|code| {
                let end = (0..=close.reason.len().min(REASON_BYTES_MAX)).rev();
                let end = end.into_iter().find(|end| close.reason.is_char_boundary(*end));
                let reason = &close.reason[..end.unwrap_or(0)];
                CloseFrame { code: code.into(), reason: Utf8Bytes::from(reason) }
            })),
            _ => {
                let message = "this kind of message is not supported";
                return Err(Failure::write(Sent::No, FailureKind::Other, message));
            }
        };
        futures_util::Sink::start_send(Pin::new(&mut *self.inner), message)
            .map_err(|e| write_failed(&e))
    }

    /// Ready once everything that was taken has been handed to the connection.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be. Why may be told by [`poll_next`](Self::poll_next): the end that
    /// the peer sent before it hung up.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        futures_util::Sink::poll_flush(Pin::new(&mut *self.inner), cx).map_err(|e| write_failed(&e))
    }

    /// The next message. `None` after a [`Message::Close`], or once both sides have closed.
    ///
    /// # Errors
    /// [`Failure`] when the connection broke, or what came breaks the rules; nothing comes after it.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Failure>>> {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            let Some(next) = ready!(Pin::new(&mut *self.inner).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            return Poll::Ready(match next {
                Ok(tungstenite::Message::Text(text)) => Some(Ok(Message::Text(Bytes::from(text)))),
                Ok(tungstenite::Message::Binary(bytes)) => Some(Ok(Message::Binary(bytes))),
                Ok(tungstenite::Message::Close(frame)) => {
                    // The answer to it, which nobody will ask for again. Most often it goes at once.
                    let _ = self.poll_flush(cx);
                    self.is_over = true;
                    Some(Ok(Message::Close(match frame {
                        Some(frame) => {
                            Close::new(Some(frame.code.into())).with_reason(frame.reason.as_str())
                        }
                        None => Close::new(None),
                    })))
                }
                Ok(_) => continue,
                Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => None,
                Err(e) => Some(Err(read_failed(&e))),
            });
        }
    }

    /// The next message; as [`poll_next`](Self::poll_next).
    pub async fn next(&mut self) -> Option<Result<Message, Failure>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Sends a message, and waits until it has been handed to the connection.
    ///
    /// # Errors
    /// As [`start_send`](Self::start_send) and [`poll_flush`](Self::poll_flush).
    pub async fn send(&mut self, message: Message) -> Result<(), Failure> {
        self.start_send(message)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}

fn read_failed(error: &WsError) -> Failure {
    let (kind, message) = explain(error);
    Failure::read(kind, message)
}

fn write_failed(error: &WsError) -> Failure {
    let (kind, message) = explain(error);
    Failure::write(Sent::Maybe, kind, message)
}

fn explain(error: &WsError) -> (FailureKind, Box<str>) {
    use tungstenite::error::ProtocolError as Broken;
    match error {
        WsError::Io(e) => match find::<rustls::Error>(e as &(dyn StdError + 'static)) {
            Some(tls) => explain_rustls(tls),
            None => explain_io(e.kind()),
        },
        WsError::ConnectionClosed | WsError::AlreadyClosed => {
            (FailureKind::Closed, "the connection is closed".into())
        }
        WsError::Protocol(Broken::ResetWithoutClosingHandshake) => {
            (FailureKind::Closed, "the peer closed the connection without a word".into())
        }
        WsError::Protocol(Broken::SendAfterClosing) => {
            (FailureKind::Closed, "the connection is being closed".into())
        }
        WsError::Capacity(e) => (FailureKind::TooLarge, e.to_string().into()),
        WsError::Protocol(e) => {
            (FailureKind::Malformed, format!("the peer broke the rules of WebSockets: {e}").into())
        }
        WsError::Utf8(_) => (FailureKind::Malformed, "a text of the peer is not UTF-8".into()),
        other => (FailureKind::Other, other.to_string().into()),
    }
}

/// Longest reason of a close: 123 bytes. A longer one is cut. RFC 6455, section 5.5.
const REASON_BYTES_MAX: usize = 123;
