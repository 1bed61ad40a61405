//! Peers written by hand, and requests to send them.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fal_protocol::wire::{Body, Expect, Failure, FailureKind, Phase, Request, Response, Sent};
use fal_transport_hyper::{Answer, Chunks, Config, Exchange, Transport};
use http::{Method, Uri};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A transport with the defaults.
pub(crate) fn transport() -> Transport {
    Transport::new(Config::default()).unwrap()
}

/// A peer that treats its first connections like `serve` says, each with its number from 0.
pub(crate) async fn peer<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

/// A peer that reads one request and says `answer`, then waits for the other side to close.
pub(crate) async fn says(answer: impl Into<Bytes>) -> SocketAddr {
    let answer = answer.into();
    peer(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            request(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
            until_closed(&mut stream).await;
        }
    })
    .await
}

/// A peer that reads one request, says `answer` and closes.
pub(crate) async fn says_and_closes(answer: impl Into<Bytes>) -> SocketAddr {
    let answer = answer.into();
    peer(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            request(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One request, head and body, as text; empty when the connection ended first.
pub(crate) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte).await, Ok(1)) {
            return String::new();
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// Waits until the other side has closed, by whatever means.
pub(crate) async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = [0; 4096];
    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
}

/// Closes a connection with a reset instead of an orderly end.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Request {
    let uri: Uri = format!("http://{address}{path}").parse().unwrap();
    Request::new(Method::GET, uri)
}

pub(crate) fn post(address: SocketAddr, body: impl Into<Bytes>) -> Request {
    let mut request = get(address, "/").with_body(Body::Bytes(body.into()));
    request.method = Method::POST;
    request
}

/// Performs a request whose answer is wanted whole. Nothing here may take longer than seconds.
pub(crate) async fn whole(
    transport: &Transport,
    exchange: impl Into<Exchange>,
) -> Result<Response, Failure> {
    match in_time(transport.send(exchange.into())).await? {
        Answer::Whole(response) => Ok(response),
        Answer::Chunks(..) => panic!("asked for a whole answer"),
    }
}

/// Performs a request whose answer is wanted in pieces.
pub(crate) async fn chunks(transport: &Transport, request: Request) -> Result<Chunks, Failure> {
    match in_time(transport.send(Exchange::new(request.with_expect(Expect::Chunks)))).await? {
        Answer::Chunks(_, chunks) => Ok(chunks),
        Answer::Whole(_) => panic!("asked for pieces"),
    }
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("hangs")
}

/// Lets the runtime see what has arrived on the sockets by now.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The result of a task of the test.
pub(crate) async fn joined<T>(task: JoinHandle<T>) -> T {
    in_time(task).await.unwrap()
}

#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(
    result: Result<T, Failure>,
    phase: Phase,
    sent: Sent,
    kind: FailureKind,
) -> Failure {
    let failure = result.expect_err("it failed");
    assert_eq!((failure.phase, failure.sent, failure.kind), (phase, sent, kind), "{failure}");
    failure
}

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
