//! WebSockets: the handshake, and one loop per connection that carries messages both ways.
//!
//! A session owns no task of its own: it runs in that of its connection, once hyper has let go of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::accept::After;
use super::body::Body;
use super::shape::Line;
use super::shared::{Opening, Presence, Shared};
use super::{Cut, json};
use crate::model::{self, Frame, FrameDraft};

/// What the model says on a WebSocket. A queue without [`Said::Close`] at its end was cut.
#[derive(Debug)]
pub(crate) enum Said {
    Frame(FrameDraft),
    /// The connection is reset.
    Reset,
    Close {
        code: Option<u16>,
        reason: Box<str>,
    },
}

/// An accepted WebSocket that begins when its connection has sent the handshake.
#[derive(Debug)]
struct Socket {
    upgrade: OnUpgrade,
    said: mpsc::Receiver<Said>,
    presence: Presence,
    line: Line,
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_handshake(request: &Request<Incoming>) -> bool {
    *request.method() == Method::GET
        && names(request.headers(), header::CONNECTION, "upgrade")
        && names(request.headers(), header::UPGRADE, "websocket")
}

/// Whether a header's list has a name in it.
fn names(headers: &HeaderMap, header: header::HeaderName, name: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(name))
}

/// Answers a handshake. What it becomes follows on the connection.
pub(super) fn shake_hands(
    shared: &Arc<Shared>,
    after: &After,
    upgrade: OnUpgrade,
    request: model::Request<'_>,
    line: &Line,
) -> Result<Response<Body>, Cut> {
    let headers = request.headers;
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response =
            json(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13").map(Body::whole);
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
        return Ok(response);
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes) else {
        return Ok(json(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing").map(Body::whole));
    };
    let accept = HeaderValue::try_from(derive_accept_key(key)).expect("base64 is visible text");
    match shared.open(request) {
        Opening::Refused(response) => Ok(response.map(Body::whole)),
        Opening::Reset => {
            line.reset();
            Err(Cut)
        }
        Opening::Accepted(said, presence) => {
            let socket = Socket { upgrade, said, presence, line: line.clone() };
            let shared = Arc::clone(shared);
            after.then(Box::pin(async move { socket.run(&shared).await }));
            let mut response = Response::new(Body::whole(Bytes::new()));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            Ok(response)
        }
    }
}

type Stream = WebSocketStream<TokioIo<Upgraded>>;

impl Socket {
    /// Carries messages until either end is done.
    async fn run(mut self, shared: &Shared) {
        let Ok(upgraded) = (&mut self.upgrade).await else { return };
        let config = config(shared.limits().message_bytes);
        let mut stream =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config))
                .await;
        // Whatever ends the loop early, `presence` tells the model.
        loop {
            tokio::select! {
                said = self.said.recv() => match said {
                    Some(Said::Frame(draft)) => {
                        let Ok(message) = draw(draft).await else { return };
                        if stream.send(message).await.is_err() {
                            return;
                        }
                    }
                    Some(Said::Reset) => {
                        self.presence.over();
                        return self.line.reset();
                    }
                    Some(Said::Close { code, reason }) => {
                        self.presence.over();
                        return close(stream, code, &reason).await;
                    }
                    None => return self.presence.over(),
                },
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        shared.hear(&self.presence, Frame::Text(text.as_str().to_owned()));
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        shared.hear(&self.presence, Frame::Binary(bytes));
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map(|frame| frame.code.into());
                        shared.hear(&self.presence, Frame::Close(code));
                        return self.answer_close(stream).await;
                    }
                    // Pings are answered on the way.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(error)) => {
                        let code = match error {
                            Error::Capacity(CapacityError::MessageTooLong { .. }) => TOO_BIG,
                            Error::Protocol(_) | Error::Utf8(_) => PROTOCOL_ERROR,
                            _ => return,
                        };
                        return close(stream, Some(code), "").await;
                    }
                    None => return,
                },
            }
        }
    }

    /// Answers the close of the client with the code that the model says.
    ///
    /// The library would repeat the client's frame, and one without a code reaches browsers as 1005, an
    /// error. So the frame is written here, past the library, which writes nothing without being polled.
    async fn answer_close(mut self, mut stream: Stream) {
        let code = loop {
            match self.said.recv().await {
                Some(Said::Close { code, .. }) => break code,
                // The client listens no more.
                Some(Said::Frame(_)) => {}
                Some(Said::Reset) => {
                    self.presence.over();
                    return self.line.reset();
                }
                None => return self.presence.over(),
            }
        };
        self.presence.over();
        let frame = match code.map(u16::to_be_bytes) {
            Some([high, low]) => vec![0x88, 2, high, low],
            None => vec![0x88, 0],
        };
        let io = stream.get_mut();
        let farewell = async {
            io.write_all(&frame).await?;
            io.shutdown().await
        };
        // A client that has gone already needs no answer.
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, farewell).await;
    }
}

/// Draws a message where nobody else has to wait for it.
async fn draw(draft: FrameDraft) -> Result<Message, Cut> {
    let frame = match draft.is_ready() {
        true => draft.render(),
        false => tokio::task::spawn_blocking(move || draft.render()).await.map_err(|_| Cut)?,
    };
    Ok(match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary(bytes) => Message::binary(bytes),
        Frame::Close(code) => Message::Close(code.map(|code| close_frame(code, ""))),
    })
}

/// Closes, and waits a moment for the client to do so too: a connection that is dropped before could lose
/// what was sent last.
async fn close(mut stream: Stream, code: Option<u16>, reason: &str) {
    let frame = code.map(|code| close_frame(code, reason));
    let farewell = async {
        if stream.close(frame).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIME_MAX, farewell).await;
}

fn close_frame(code: u16, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code: code.into(), reason: reason[..end].into() }
}

fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

/// How long either end of a close may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Every open connection has such a buffer.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Longest reason of a close, from RFC 6455.
const REASON_BYTES_MAX: usize = 123;

/// Close codes, from RFC 6455.
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;
