//! Faults as a peer meets them on a socket.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::io::ErrorKind;
use std::time::Duration;

use fal_mock::scenario::Scenario;
use fal_mock::{ClockMode, MockFal};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::client::{call, get, open, post, send};
use crate::secure::{dial, shake, tunnel};

/// A mock whose clock stands still and whose jobs complete at once.
async fn playing(source: &str) -> MockFal {
    let scenario = Scenario::parse("test", source).unwrap_or_else(|problems| panic!("{problems}"));
    let builder = MockFal::builder().instant().clock(ClockMode::Virtual).scenario(scenario);
    builder.start().await.unwrap()
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
enum End {
    Closed,
    Reset,
}

/// Sends a request as it stands there, and reads until the connection ends.
async fn raw(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (String, End) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    let end = loop {
        match stream.read(&mut room).await {
            Ok(0) => break End::Closed,
            Ok(count) => answer.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Err(error) => panic!("{error}"),
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), end)
}

fn submit(host: &str) -> String {
    let body = r#"{"prompt":"x"}"#;
    format!(
        "POST /queue.fal.run/acme/app HTTP/1.1\r\nhost: {host}\r\nauthorization: Key id:secret\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Key id:secret\r\n\r\n")
}

async fn connect(mock: &MockFal) -> TcpStream {
    TcpStream::connect(mock.address()).await.unwrap()
}

/// The path of a job's status.
async fn status_of_job(mock: &MockFal) -> String {
    let answer = post(mock.port(), "/queue.fal.run/acme/app", r#"{"prompt":"x"}"#).await.json();
    let id = answer["request_id"].as_str().unwrap().to_owned();
    format!("/queue.fal.run/acme/app/requests/{id}/status")
}

#[tokio::test]
async fn refused_connections_are_reset_and_nothing_is_done() {
    let mock = playing("faults: [{ fault: refuse, on: submit, nth: 1 }]").await;
    assert_eq!(raw(connect(&mock).await, &submit("x")).await, (String::new(), End::Reset));
    assert_eq!(mock.submits(), 0);
    assert_eq!(mock.unmet(), [""; 0]);
}

#[tokio::test]
async fn answers_are_lost_by_every_way_in() {
    let mock = playing("faults: [{ fault: accept-then-reset, on: submit }]").await;
    let lost = (String::new(), End::Reset);
    assert_eq!(raw(connect(&mock).await, &submit("x")).await, lost);
    assert_eq!(mock.submits(), 1);
    let secure = shake(dial(mock.port()).await, mock.ca_pem(), "127.0.0.1").await.unwrap();
    assert_eq!(raw(secure, &submit("x")).await, lost);
    let own = mock.address().to_string();
    let plain = tunnel(mock.port(), &own).await.unwrap();
    assert_eq!(raw(plain, &submit("x")).await, lost);
    assert_eq!(mock.submits(), 3);
}

#[tokio::test]
async fn answers_end_before_their_length() {
    let mock = playing(
        r#"
faults:
  - { fault: truncate, on: status, nth: 1, after: { bytes: 10 } }
  - { fault: reset, on: status, nth: 2, after: { bytes: 10 } }
  - { fault: reset, on: status, nth: 3, after: { bytes: 0 } }
"#,
    )
    .await;
    let path = status_of_job(&mock).await;
    for (end, count) in [(End::Closed, 10), (End::Reset, 10), (End::Reset, 0)] {
        let (answer, found) = raw(connect(&mock).await, &read(&path)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert!(length.parse::<usize>().unwrap() > 100, "{head}");
        assert_eq!((body.len(), found), (count, end), "{body}");
    }
    assert!(get(mock.port(), &path).await.json()["status"].is_string());
    assert_eq!(mock.unmet(), [""; 0]);
}

#[tokio::test]
async fn files_are_cut_as_well() {
    let mock = playing("faults: [{ fault: truncate, on: download, after: { bytes: 100 } }]").await;
    let run = post(mock.port(), "/fal.run/acme/app", r#"{"prompt":"x"}"#).await.json();
    let url = run["images"][0]["url"].as_str().unwrap();
    let path = crate::client::path_of(url, mock.port());
    let (answer, end) = raw(connect(&mock).await, &read(&path)).await;
    assert_eq!(end, End::Closed);
    assert!(answer.contains("content-length: "), "{answer}");
    assert!(answer.len() < 1000);
    // A long upload, which is on the disk.
    let token = post(mock.port(), "/rest.fal.ai/storage/auth/token", "{}").await.json();
    let upload = http::Request::builder()
        .method(Method::POST)
        .uri("/v3.fal.media/files/upload")
        .header("authorization", format!("Bearer {}", token["token"].as_str().unwrap()));
    let stored = send(mock.port(), upload, vec![b'x'; 3 << 20]).await.json();
    let path = crate::client::path_of(stored["access_url"].as_str().unwrap(), mock.port());
    let (answer, _) = raw(connect(&mock).await, &read(&path)).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", 3 << 20)), "{head}");
    assert_eq!(body, "x".repeat(100));
}

#[tokio::test]
async fn answers_come_late_by_the_clock_of_the_world() {
    let mock = playing("faults: [{ fault: stall, for: 1s, on: run }]").await;
    let port = mock.port();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move { post(port, "/fal.run/acme/app", r#"{"prompt":"x"}"#).await })
        })
        .collect();
    while mock.requests().len() < 20 {
        tokio::task::yield_now().await;
    }
    assert!(calls.iter().all(|call| !call.is_finished()));
    mock.clock().advance(Duration::from_secs(1)).await;
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(mock.play().unwrap().faults[0].fired, 20);
}

#[tokio::test]
async fn bytes_come_late_and_slowly_by_the_clock_of_the_world() {
    let mock = playing(
        r#"
faults:
  - { fault: stall, for: 1m, on: status, nth: 1, after: { bytes: 20 } }
  - { fault: slow, bytes_per_second: 10, on: status, nth: 2 }
  - { fault: split, bytes: 3, on: status, nth: 3 }
"#,
    )
    .await;
    let path = status_of_job(&mock).await;
    let mut held = open(mock.port(), call(Method::GET, &path), "").await.unwrap();
    assert_eq!(held.next().await.unwrap().unwrap().len(), 20);
    mock.clock().advance(Duration::from_secs(60)).await;
    let rest = held.next().await.unwrap().unwrap();
    assert!(rest.ends_with(b"}"));
    assert!(held.next().await.unwrap().is_none());

    let mut slow = open(mock.port(), call(Method::GET, &path), "").await.unwrap();
    let length: usize = slow.head.headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut whole = Vec::new();
    while whole.len() < length {
        mock.clock().advance(Duration::from_secs(1)).await;
        let bytes = slow.next().await.unwrap().unwrap();
        assert!(bytes.len() <= length / 2, "{} at once", bytes.len());
        whole.extend_from_slice(&bytes);
    }
    assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());

    let split = get(mock.port(), &path).await;
    assert!(split.json()["status"].is_string());
    assert_eq!(mock.unmet(), [""; 0]);
}

#[tokio::test]
async fn streams_are_reset_in_the_middle() {
    let mock = playing("faults: [{ fault: reset, on: stream, after: { events: 2 } }]").await;
    let body = r#"{"prompt":"x"}"#;
    let request = format!(
        "POST /fal.run/acme/chat/stream HTTP/1.1\r\nhost: x\r\nauthorization: Key id:secret\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (answer, end) = raw(connect(&mock).await, &request).await;
    assert_eq!(end, End::Reset);
    assert_eq!(answer.matches("data: ").count(), 2, "{answer}");
}

#[tokio::test]
async fn sessions_are_reset_and_closed() {
    let session = async |mock: &MockFal| {
        let url = format!("ws://{}/fal.run/acme/app/realtime", mock.address());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", "Key id:secret".parse().unwrap());
        client_async(request, connect(mock).await).await
    };
    let mock = playing("faults: [{ fault: reset, on: frame }]").await;
    let (mut socket, _) = session(&mock).await.unwrap();
    socket.send(Message::text(r#"{"prompt":"x"}"#)).await.unwrap();
    let error = socket.next().await.unwrap().unwrap_err().to_string();
    assert!(error.to_lowercase().contains("reset"), "{error}");
    let mock = playing("faults: [{ fault: ws-close, code: 4123, reason: enough }]").await;
    let (mut socket, _) = session(&mock).await.unwrap();
    socket.send(Message::text(r#"{"prompt":"x"}"#)).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4123, "enough"));
    let mock = playing("faults: [{ fault: refuse, on: realtime }]").await;
    assert!(session(&mock).await.is_err());
    let mock = playing("faults: [{ fault: status, status: 503, on: realtime }]").await;
    let error = session(&mock).await.unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
}

#[tokio::test]
async fn whoever_leaves_a_held_answer_is_forgotten() {
    let mock = playing("faults: [{ fault: stall, on: status }]").await;
    let path = status_of_job(&mock).await;
    let mut stream = connect(&mock).await;
    stream.write_all(read(&path).as_bytes()).await.unwrap();
    while mock.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    // The mock still answers, and stops.
    assert_eq!(get(mock.port(), "/api.fal.ai/v1/models").await.status, 200);
    mock.stop().await;
}
