//! The smallest client: one connection for each call.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// An answer whose body is still open. Dropping it closes the connection.
pub(crate) struct Opened {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Opened {
    /// The next bytes, or `None` at the proper end; a cut is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        match self.body.frame().await {
            None => Ok(None),
            Some(frame) => Ok(Some(frame?.into_data().unwrap_or_default())),
        }
    }
}

/// A call with a key that is nobody's, and so of the first tenant.
pub(crate) fn call(method: Method, target: &str) -> http::request::Builder {
    call_as("id:secret", method, target)
}

/// A call of whoever has a key.
pub(crate) fn call_as(key: &str, method: Method, target: &str) -> http::request::Builder {
    let key = format!("Key {key}");
    Request::builder().method(method).uri(target).header("authorization", key)
}

/// Sends and waits for the head.
pub(crate) async fn open(
    port: u16,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Option<Opened> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the mock listens");
    let host = format!("127.0.0.1:{port}");
    open_on(stream, &host, request, body).await
}

/// The same on a connection that is there. `host` stands in the request if it names none.
pub(crate) async fn open_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Option<Opened> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a fresh connection");
    let connection = tokio::spawn(async move {
        // Its error is the sender's or the body's error as well.
        let _ = connection.await;
    });
    let mut request = request.body(Full::new(body.into())).expect("a valid request");
    if !request.headers().contains_key("host") {
        request.headers_mut().insert("host", host.parse().expect("an authority"));
    }
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    Some(Opened { head, body, connection })
}

/// Sends and reads the whole answer.
pub(crate) async fn send(
    port: u16,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    whole(open(port, request, body).await.expect("an answer")).await
}

/// Reads the whole answer.
pub(crate) async fn whole(mut opened: Opened) -> Answer {
    let mut whole = Vec::new();
    while let Some(bytes) = opened.next().await.expect("a whole body") {
        whole.extend_from_slice(&bytes);
    }
    Answer { status: opened.head.status, headers: opened.head.headers.clone(), body: whole.into() }
}

pub(crate) async fn get(port: u16, target: &str) -> Answer {
    send(port, call(Method::GET, target), "").await
}

pub(crate) async fn post(port: u16, target: &str, body: &str) -> Answer {
    send(port, call(Method::POST, target), body.to_owned()).await
}

/// The part of an address after its authority.
#[track_caller]
pub(crate) fn path_of(url: &str, port: u16) -> String {
    let base = format!("http://127.0.0.1:{port}");
    url.strip_prefix(&base).unwrap_or_else(|| panic!("{url} does not start with {base}")).to_owned()
}
